//! `crtmpserver stress`.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::{EX_IOERR, output};
use crate::stress::{self, Options, Report, Stop, Synthetic};

/// sysexits: what the system did not give, and a file that cannot be made.
const EX_OSERR: u8 = 71;
const EX_CANTCREAT: u8 = 73;

/// How much load, and of what kind.
#[derive(Debug, Args)]
pub(super) struct StressArgs {
    /// What to watch: rtmp://HOST[:PORT]/APP/STREAM or http://HOST[:PORT]/APP/STREAM.flv
    url: String,
    /// How many viewers
    #[arg(long, short = 'n', default_value_t = 100)]
    viewers: usize,
    /// How many publishers; more than one publish STREAM-1, STREAM-2 and so on
    #[arg(long, default_value_t = 0)]
    publishers: usize,
    /// Where they publish, when it is not where the viewers watch
    #[arg(long, value_name = "URL")]
    publish: Option<String>,
    /// Watch STREAM-1 to STREAM-N, which somebody else publishes
    #[arg(long, default_value_t = 1)]
    streams: usize,
    /// Viewers that connect in a second
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    ramp: u32,
    /// How long to measure, once everybody watches
    #[arg(long, default_value = "30s", value_parser = duration)]
    duration: Duration,
    /// How long to wait before that
    #[arg(long, default_value = "3s", value_parser = duration)]
    settle: Duration,
    /// The publishers' bit/s, such as 1M
    #[arg(long, default_value = "1M", value_parser = amount)]
    bitrate: u64,
    /// Of it audio, bit/s; 0 for none
    #[arg(long, default_value = "64k", value_parser = amount)]
    audio: u64,
    /// Pictures a second
    #[arg(long, default_value_t = 25)]
    fps: u32,
    /// From one key picture to the next
    #[arg(long, default_value = "2s", value_parser = duration)]
    gop: Duration,
    /// An FLV file (H.264, AAC) to publish in a loop instead
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Of the viewers, how many read slowly
    #[arg(long, default_value_t = 0)]
    slow: usize,
    /// How slowly, bit/s
    #[arg(long, default_value = "200k", value_parser = amount)]
    slow_rate: u64,
    /// Of the viewers, how many stop reading after the first picture
    #[arg(long, default_value_t = 0)]
    stalled: usize,
    /// How many viewers are checked frame by frame
    #[arg(long, default_value_t = 8)]
    check: usize,
    /// The pause between two looks at the sockets: longer costs less, and blurs times by as much
    #[arg(long, default_value = "5ms", value_parser = duration)]
    pause: Duration,
    /// A process of the server, to tell its CPU time and memory; may be repeated
    #[arg(long, value_name = "PID")]
    pid: Vec<u32>,
    /// The report as JSON, to a file, or - for standard output
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Load a machine that is not this one
    #[arg(long)]
    allow_remote: bool,
}

pub(super) fn run(args: &StressArgs) -> ExitCode {
    // Before the run: it would be a pity to find out behind it.
    let mut json = match args.json.as_deref().map(Json::open).transpose() {
        Ok(json) => json,
        Err(message) => {
            output::error(&message);
            return ExitCode::from(EX_CANTCREAT);
        }
    };
    let stop = match Stop::on_signals() {
        Ok(stop) => stop,
        Err(error) => {
            output::error(&format!("the system takes no handler of signals: {error}"));
            return ExitCode::from(EX_OSERR);
        }
    };
    let report = match stress::run_until(&args.options(), &stop) {
        Ok(report) => report,
        Err(error) => {
            json.iter().for_each(Json::forget);
            output::error(&error.to_string());
            return ExitCode::from(error.exit_code());
        }
    };
    if let Err(message) = tell(&report, json.as_mut()) {
        output::error(&message);
        return ExitCode::from(EX_IOERR);
    }
    if let Some(signal) = stop.signal() {
        return ExitCode::from(signal.saturating_add(128));
    }
    let faults = report.faults();
    if faults.is_empty() {
        return ExitCode::SUCCESS;
    }
    output::error(&format!(
        "not everybody got everything: {}",
        faults.join("; ")
    ));
    ExitCode::FAILURE
}

/// Where the report goes as JSON.
struct Json {
    path: PathBuf,
    /// None is standard output.
    file: Option<File>,
    is_new: bool,
}

impl Json {
    fn open(path: &Path) -> Result<Self, String> {
        let is_new = !path.exists();
        let file = if path == Path::new("-") {
            None
        } else {
            // What is in it stays until there is a report.
            let file = File::options()
                .write(true)
                .create(true)
                .truncate(false)
                .open(path);
            Some(file.map_err(|e| {
                format!(
                    "--json {}: cannot be written: {e}: name another file",
                    path.display()
                )
            })?)
        };
        Ok(Self {
            path: path.to_owned(),
            file,
            is_new,
        })
    }

    /// Leaves nothing behind when there is no report.
    fn forget(&self) {
        if self.file.is_some() && self.is_new {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn tell(report: &Report, json: Option<&mut Json>) -> Result<(), String> {
    let Some(json) = json else {
        output::line(report.to_string().trim_end());
        return Ok(());
    };
    let text = serde_json::to_string_pretty(report).map_err(|e| e.to_string())?;
    let Some(file) = &mut json.file else {
        output::line(&text);
        return Ok(());
    };
    output::line(report.to_string().trim_end());
    let cut = match file.metadata() {
        // A pipe or a device has no end to cut.
        Ok(about) if about.is_file() => file.set_len(0),
        _ => Ok(()),
    };
    cut.and_then(|()| writeln!(file, "{text}"))
        .map_err(|e| format!("{}: cannot be written: {e}", json.path.display()))
}

impl StressArgs {
    fn options(&self) -> Options {
        Options {
            url: self.url.clone(),
            publish: self.publish.clone(),
            viewers: self.viewers,
            publishers: self.publishers,
            streams: self.streams,
            ramp: self.ramp,
            settle: self.settle,
            duration: self.duration,
            programme: Synthetic {
                bitrate: self.bitrate,
                fps: self.fps,
                gop: self.gop,
                audio: self.audio,
            },
            file: self.file.clone(),
            slow: self.slow,
            slow_rate: self.slow_rate,
            stalled: self.stalled,
            check: self.check,
            pause: self.pause,
            allow_remote: self.allow_remote,
            pids: self.pid.clone(),
            terminal: stress::is_terminal(),
        }
    }
}

/// A number with a unit behind it, as a multiple of the unit that is 1.
fn scaled(text: &str, units: &[(&str, u64)], wrong: &str) -> Result<u64, String> {
    let at = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let scale = units.iter().find(|(name, _)| *name == unit);
    let number = number.parse::<u64>().ok();
    let scaled = number
        .zip(scale)
        .and_then(|(n, (_, scale))| n.checked_mul(*scale));
    scaled.ok_or_else(|| wrong.to_owned())
}

fn amount(text: &str) -> Result<u64, String> {
    let units = [("", 1), ("k", 1000), ("M", 1_000_000), ("G", 1_000_000_000)];
    scaled(text, &units, "write a number such as 800k or 4M")
}

fn duration(text: &str) -> Result<Duration, String> {
    let units = [
        ("", 1000),
        ("ms", 1),
        ("s", 1000),
        ("m", 60_000),
        ("h", 3_600_000),
    ];
    scaled(text, &units, "write a time such as 500ms, 30s or 2m").map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_units() {
        assert_eq!(amount("4M"), Ok(4_000_000));
        assert_eq!(amount("64000"), Ok(64_000));
        assert_eq!(duration("350ms"), Ok(Duration::from_millis(350)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(duration("3"), Ok(Duration::from_secs(3)));
        for bad in ["", "M", "-1", "1.5M", "1T", "99999999999999999999"] {
            assert!(amount(bad).is_err() && duration(bad).is_err(), "{bad}");
        }
    }
}
