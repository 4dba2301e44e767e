//! `crtmpserver check [FILE]`.

use std::process::ExitCode;

use super::{SettingsArgs, load, output, refuse};

/// Prints every problem, or what the configuration comes to.
pub(super) fn run(args: &SettingsArgs) -> ExitCode {
    match load(args) {
        Err(problems) => refuse(&problems),
        Ok(loaded) => {
            for warning in &loaded.warnings {
                output::error(&format!("warning: {warning}"));
            }
            for (name, what) in loaded.summary() {
                output::line(&format!("{name:<13}{what}"));
            }
            for (key, place) in &loaded.origins {
                output::line(&format!("{:<13}{key} by {place}", "set"));
            }
            ExitCode::SUCCESS
        }
    }
}
