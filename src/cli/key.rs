//! `crtmpserver key`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::{EX_IOERR, output};
use crate::auth::{FileError, StreamKeys, keyfile};
use crate::calendar;
use crate::system::{CONFIGURATION, wall_ms};

/// What `key` is to do.
#[derive(Debug, Args)]
pub(super) struct KeyArgs {
    #[command(subcommand)]
    what: What,
    /// The file of stream keys
    #[arg(long, global = true, default_value_os_t = keys())]
    file: PathBuf,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Make a key that publishes as APP/NAME, and show it, once
    Add {
        /// The public name, such as live/event
        #[arg(value_name = "APP/NAME")]
        stream: String,
        /// What to call the key; without it, after the stream
        #[arg(long, value_name = "LABEL")]
        label: Option<String>,
        /// The last day of the key, such as 2026-12-31, or its end, such as 2026-12-31T20:00Z (UTC)
        #[arg(long, value_name = "DATE", value_parser = end)]
        until: Option<u64>,
    },
    /// Show which keys there are, without the keys themselves
    List,
    /// Take a key out; whoever publishes by it is ended
    Revoke {
        /// What `list` calls it
        label: String,
    },
}

/// Where the packages' configurations look for it.
fn keys() -> PathBuf {
    Path::new(CONFIGURATION).join("keys")
}

/// The moment at which a key ends, Unix time in ms; a day ends with its midnight.
fn end(text: &str) -> Result<u64, String> {
    const DAY: u64 = 24 * 60 * 60 * 1000;
    let begins = calendar::parse(text).ok_or("write 2026-12-31 or 2026-12-31T20:00Z")?;
    let is_day = !text.contains('T');
    Ok(begins.saturating_add(if is_day { DAY } else { 0 }))
}

pub(super) fn run(args: &KeyArgs) -> ExitCode {
    let done = match &args.what {
        What::Add {
            stream,
            label,
            until,
        } => add(&args.file, stream, label.as_deref(), *until),
        What::List => list(&args.file),
        What::Revoke { label } => revoke(&args.file, label),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            output::error(&e.to_string());
            ExitCode::from(EX_IOERR)
        }
    }
}

fn add(
    path: &Path,
    stream: &str,
    label: Option<&str>,
    until: Option<u64>,
) -> Result<(), FileError> {
    let is_new = !path.exists();
    let made = keyfile::add(path, stream, label, until)?;
    // Encoders ask for two things; who serves them knows the address better than this machine.
    let app = stream.split('/').next().unwrap_or_default();
    output::line(&format!("Server:      rtmp://HOST/{app}"));
    output::line(&format!("Stream key:  {}", made.key));
    let path = path.display();
    output::error(&format!(
        "{} added to {path}; the key is not shown again. HOST is the address of this server.",
        made.label
    ));
    if is_new {
        output::error(&format!(
            "The server reads the file once its configuration has keys = \"{path}\" under [publish]."
        ));
    }
    Ok(())
}

fn list(path: &Path) -> Result<(), FileError> {
    let (keys, warning) = StreamKeys::read(path)?;
    if let Some(warning) = warning {
        output::error(&warning);
    }
    let now = wall_ms();
    let mut rows = vec![["LABEL", "PUBLISHES", "MADE", "UNTIL"].map(str::to_owned)];
    rows.extend(keys.iter().map(|key| {
        let until = key.until.map_or_else(|| "-".to_owned(), calendar::rfc3339);
        let ended = if key.is_good(now) { "" } else { " (over)" };
        [
            key.label.to_string(),
            key.stream.to_string(),
            calendar::rfc3339(key.made),
            until + ended,
        ]
    }));
    let widths = |at: usize| {
        rows.iter()
            .filter_map(move |row| row.get(at))
            .map(String::len)
    };
    let widths: Vec<usize> = (0..4).map(|at| widths(at).max().unwrap_or(0)).collect();
    for row in &rows {
        let cells = row.iter().zip(&widths);
        let line: String = cells
            .map(|(cell, width)| format!("{cell:width$}  "))
            .collect();
        output::line(line.trim_end());
    }
    Ok(())
}

fn revoke(path: &Path, label: &str) -> Result<(), FileError> {
    keyfile::revoke(path, label)?;
    output::error(&format!(
        "{label} revoked in {}; a server that runs ends who publishes by it within a second",
        path.display()
    ));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_ends_with_its_midnight() {
        let day = end("2026-11-22").unwrap();
        assert_eq!(calendar::rfc3339(day), "2026-11-23T00:00:00Z");
        let moment = end("2026-11-22T18:30Z").unwrap();
        assert_eq!(calendar::rfc3339(moment), "2026-11-22T18:30:00Z");
        assert!(end("tomorrow").is_err());
    }
}
