//! The one place that writes to the terminal.

use std::io::{self, Write};

use crate::telemetry::logging::journal_reads_stderr;

/// A line for people or programs on standard output.
///
/// A reader that went away (`| head`) is no error.
pub(super) fn line(text: &str) {
    drop(writeln!(io::stdout().lock(), "{text}"));
}

/// Lines that take the place of what a terminal showed.
pub(super) fn again(lines: &[String]) {
    let text = lines.join("\x1b[K\n");
    let mut stdout = io::stdout().lock();
    drop(write!(stdout, "\x1b[H{text}\x1b[K\n\x1b[J").and_then(|()| stdout.flush()));
}

/// A line on standard error; journald knows the program's name, and wants a priority.
pub(super) fn error(text: &str) {
    let name = if journal_reads_stderr() {
        "<3>"
    } else {
        "crtmpserver: "
    };
    drop(writeln!(io::stderr().lock(), "{name}{text}"));
}

/// A question on standard error, without an end of line.
#[cfg(feature = "publish")]
pub(super) fn ask(text: &str) {
    let mut stderr = io::stderr().lock();
    drop(write!(stderr, "{text}").and_then(|()| stderr.flush()));
}
