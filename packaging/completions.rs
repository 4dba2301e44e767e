//! Writes the completions for bash, zsh and fish into a folder:
//! `cargo run --example completions -- FOLDER`.

use std::process::ExitCode;

use clap_complete::{Shell, generate_to};

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1) else {
        return ExitCode::from(64);
    };
    let mut command = crtmpserver::cli::command();
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        if generate_to(shell, &mut command, "crtmpserver", &folder).is_err() {
            return ExitCode::from(74);
        }
    }
    ExitCode::SUCCESS
}
