//! `crtmpserver status`.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::asking::{AskingArgs, EX_NOT_WELL, Failure, json_line, pause};
use super::{output, tables};
use crate::control::model::Answer;

/// Between two pictures of `--watch`.
const EVERY: Duration = Duration::from_millis(1500);

/// What to show.
#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    asking: AskingArgs,
    /// Again and again, until Ctrl-C
    #[arg(long)]
    watch: bool,
}

pub(super) fn run(args: &StatusArgs) -> ExitCode {
    loop {
        let exit = once(&args.asking, args.watch);
        if !args.watch {
            return exit;
        }
        pause(EVERY);
    }
}

/// Shows how the server is; 0 when it is healthy.
pub(super) fn once(asking: &AskingArgs, over: bool) -> ExitCode {
    let answer = match look(asking) {
        Ok(answer) => answer,
        Err(failure) => return failure.tell(asking.json),
    };
    if asking.json {
        json_line(&answer);
    } else {
        let lines = tables::overview(&answer);
        if over && std::io::stdout().is_terminal() {
            output::again(&lines);
        } else {
            lines.iter().for_each(|line| output::line(line));
        }
    }
    let healthy = answer.health.is_some_and(|health| health.healthy);
    if healthy {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(EX_NOT_WELL)
    }
}

fn look(asking: &AskingArgs) -> Result<Answer, Failure> {
    asking.connect()?.overview()
}
