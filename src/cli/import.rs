//! `crtmpserver import`.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::{EX_IOERR, EX_USAGE, output};
use crate::auth::{self, give_to_server};
use crate::config::Original;
use crate::daemon::EX_CONFIG;
use crate::original::{Item, toml};

/// What `import` is to do.
#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// The original's configuration: its one file, or the loader of Debian's package
    file: PathBuf,
    /// The configuration to write; without it, FILE with the ending .toml
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The file of users to write; without it, `users` beside the configuration
    #[arg(long, value_name = "FILE")]
    users: Option<PathBuf>,
    /// Take the place of files that are there
    #[arg(long)]
    force: bool,
}

/// A file to be written.
struct New {
    path: PathBuf,
    text: String,
    what: String,
}

pub(super) fn run(args: &ImportArgs) -> ExitCode {
    let original = match Original::read(&args.file) {
        Ok(original) => original,
        Err(problem) => {
            output::error(&problem.to_string());
            return ExitCode::from(EX_CONFIG);
        }
    };
    let configuration = match &args.output {
        Some(path) => path.clone(),
        None => args.file.with_extension("toml"),
    };
    if configuration == args.file {
        output::error("--output names the file that is read");
        return ExitCode::from(EX_USAGE);
    }
    let files = match files(args, &original, &configuration) {
        Ok(files) => files,
        Err(message) => {
            output::error(&message);
            return ExitCode::from(EX_CONFIG);
        }
    };
    for warning in original.translation.warnings() {
        output::error(&format!("warning: {warning}"));
    }
    // Nothing is written when one of them cannot be.
    let there = files
        .iter()
        .find(|new| !args.force && new.path.symlink_metadata().is_ok());
    if let Some(new) = there {
        output::error(&format!(
            "{} is there already, and nothing was written: --force takes its place, --output and --users name others",
            new.path.display()
        ));
        return ExitCode::from(EX_IOERR);
    }
    for new in &files {
        if let Err(e) = write(&new.path, &new.text, args.force) {
            output::error(&format!("{}: cannot be written: {e}", new.path.display()));
            return ExitCode::from(EX_IOERR);
        }
        output::line(&format!("wrote   {}: {}", new.path.display(), new.what));
    }
    let path = configuration.display();
    output::line(&format!("check   crtmpserver check {path}"));
    output::line(&format!("start   crtmpserver {path}"));
    ExitCode::SUCCESS
}

/// The files, or why there are none. Warnings of users are told at once.
fn files(args: &ImportArgs, original: &Original, configuration: &Path) -> Result<Vec<New>, String> {
    let mut settings = original.settings();
    let mut files = Vec::new();
    let users = settings.iter_mut().find(|s| s.key == "publish.users");
    if let Some(setting) = users
        && let Item::Text(given) = &mut setting.value
    {
        let source = PathBuf::from(&given);
        let path = match &args.users {
            Some(path) => path.clone(),
            None => configuration.with_file_name("users"),
        };
        let (logins, wrong) = auth::read_logins(&source).map_err(|e| e.to_string())?;
        let (text, more) = auth::passwd::file_of(&logins)?;
        for warning in wrong.into_iter().chain(more) {
            output::error(&format!("warning: {warning}"));
        }
        let lines = text.lines().count().saturating_sub(1);
        *given = std::path::absolute(&path)
            .unwrap_or_else(|_| path.clone())
            .display()
            .to_string();
        files.push(New {
            path,
            text,
            what: format!("{lines} users, their passwords as verifiers"),
        });
    }
    let head = [
        format!("Made by `crtmpserver import` of {}.", args.file.display()),
        "Every key: docs/configuration.md; what became of the original's: docs/from-crtmpserver.md.".to_owned(),
    ];
    files.push(New {
        path: configuration.to_owned(),
        text: toml(&head, &settings, &original.translation.notes),
        what: "the configuration".to_owned(),
    });
    Ok(files)
}

/// Writes a file for its owner and the server alone; one that is there gives way to it whole.
fn write(path: &Path, text: &str, force: bool) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let put = || {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(text.as_bytes())?;
        give_to_server(&file)?;
        file.sync_all()?;
        if force {
            fs::rename(&temporary, path)
        } else {
            // Unlike a rename, this takes nobody's place who came meanwhile.
            fs::hard_link(&temporary, path)?;
            fs::remove_file(&temporary)
        }
    };
    put().inspect_err(|_| {
        // It may not even exist; the error before this one is what matters.
        drop(fs::remove_file(&temporary));
    })
}
