//! `crtmpserver check [FILE]`.

use std::process::ExitCode;

use super::{SettingsArgs, load, output, refuse};
use crate::daemon::shortage;

/// Prints every problem, or what the configuration comes to.
pub(super) fn run(args: &SettingsArgs) -> ExitCode {
    match load(args) {
        Err(problems) => refuse(&problems),
        Ok(loaded) => {
            for warning in &loaded.warnings {
                output::error(&format!("warning: {warning}"));
            }
            if let Some(few) = shortage(&loaded.settings) {
                output::error(&format!("warning: started from here, {few}"));
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
