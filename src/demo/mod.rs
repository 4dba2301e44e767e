//! `crtmpserver demo`: a master, two mirrors and an encoder in one process.

use std::process::ExitCode;

/// Shows the topology at work until it is interrupted.
#[must_use]
pub fn run() -> ExitCode {
    ExitCode::FAILURE
}
