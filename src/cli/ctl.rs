//! `crtmpserver ctl`: looking into a running server, and a word to it.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::asking::{AskingArgs, EX_NOT_WELL, Failure, json_line};
use super::recordings::{self, RecordArgs};
use super::{drain, output, remotes, status, tables, verbs};
use crate::config::Span;
use crate::control::Unreachable;
use crate::control::model::Answer;
use crate::control::protocol::{REFUSED, Request};

/// What to ask.
#[derive(Debug, Args)]
#[command(
    after_help = "The verbs of crtmpserver's command line are commands, too: crtmpserver ctl pullStream uri=rtmp://HOST/live/event (docs/verbs.md)"
)]
pub(super) struct CtlArgs {
    #[command(flatten)]
    asking: AskingArgs,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// The whole server, as `crtmpserver status`
    Status,
    /// What is live: state, source, rates, viewers
    Streams,
    /// Who watches: since when, what was sent, how far behind
    Viewers {
        /// Of this stream alone
        #[arg(value_name = "APP/STREAM")]
        stream: Option<String>,
    },
    /// The mirrors that are connected
    Mirrors,
    /// What is pulled from other servers and pushed to them
    Remotes,
    /// End a connection: a viewer or a publisher by its ID, or the publisher of APP/STREAM
    Kick {
        /// An ID that `streams` or `viewers` shows, or the name of a stream
        #[arg(value_name = "ID|APP/STREAM")]
        target: String,
    },
    /// Send the viewers to other servers: new ones at once, those who watch as soon as they go
    Drain {
        /// How long they may take; then those who are still there are ended
        #[arg(long, value_name = "TIME", default_value = "5m")]
        deadline: Span,
        /// Wait until nobody watches any more
        #[arg(long)]
        wait: bool,
        /// End the server behind it; a service manager may start it again at once
        #[arg(long)]
        exit: bool,
    },
    /// Take viewers again
    Undrain,
    /// Read the configuration again, as SIGHUP does, and say what changed
    Reload {
        /// For ExecReload= of a unit: the server's process. Says nothing that is in its log, and sends it SIGHUP where it has no control socket
        #[arg(long, value_name = "PID")]
        main_pid: Option<u32>,
    },
    /// What is recorded: by whom, since when, into which file
    Recordings,
    /// Record a stream from now on, or end its recording
    Record(RecordArgs),
    /// What is wrong, if anything; the exit code is 1 then
    Health,
    /// The version of the server that runs
    Version,
    /// A verb of crtmpserver's command line, such as pullStream, with key=value for each of its keys
    #[command(external_subcommand)]
    Line(Vec<String>),
}

pub(super) fn run(args: &CtlArgs) -> ExitCode {
    let json = args.asking.json;
    match &args.verb {
        Verb::Line(words) => return verbs::run(&args.asking, words),
        Verb::Record(record) if record.is_line() => {
            return verbs::run(&args.asking, &record.line());
        }
        _ => {}
    }
    if matches!(args.verb, Verb::Status) {
        return status::once(&args.asking, false);
    }
    if let Verb::Reload {
        main_pid: Some(pid),
    } = args.verb
    {
        return match reload_of(&args.asking, pid) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => failure,
        };
    }
    let asked = match args.verb {
        Verb::Drain {
            deadline,
            wait,
            exit,
        } => drain::ask(&args.asking, deadline.0, exit, wait),
        _ => ask(args),
    };
    match asked {
        Ok(answer) => {
            if json {
                json_line(&answer);
            } else {
                lines(&args.verb, &answer)
                    .iter()
                    .for_each(|line| output::line(line));
            }
            let sick = answer.health.is_some_and(|health| !health.healthy);
            if sick {
                ExitCode::from(EX_NOT_WELL)
            } else {
                ExitCode::SUCCESS
            }
        }
        Err(failure) => failure.tell(json),
    }
}

fn ask(args: &CtlArgs) -> Result<Answer, Failure> {
    let mut asking = args.asking.connect()?;
    match &args.verb {
        Verb::Status => asking.overview(),
        Verb::Streams => asking.streams(),
        Verb::Viewers { stream } => asking.viewers(stream.as_deref()),
        Verb::Mirrors => asking.mirrors(),
        Verb::Remotes => asking.ask(&Request::new("remotes")),
        Verb::Kick { target } => asking.ask(&kick(target)),
        // With its waiting it has a module of its own.
        Verb::Drain { .. } => asking.ask(&Request::new("drain")),
        Verb::Undrain => asking.ask(&Request::new("undrain")),
        Verb::Reload { .. } => asking.ask(&Request::new("reload")),
        Verb::Recordings => asking.ask(&Request::new("recordings")),
        Verb::Record(record) => asking.ask(&record.request()),
        Verb::Health => asking.ask(&Request::new("health")),
        // Lines of the command line have a module of their own.
        Verb::Version | Verb::Line(_) => asking.ask(&Request::new("version")),
    }
}

/// Lets the server with this process read its configuration again, for a service manager that wants to
/// know whether it did: what came of it is in the server's log.
fn reload_of(asking: &AskingArgs, pid: u32) -> Result<(), ExitCode> {
    let told = |failure: Failure| failure.tell(asking.json);
    let mut server = match asking.connect() {
        Ok(server) => server,
        Err(Failure::Unreachable(Unreachable::Nobody(_))) => return hang_up(pid),
        Err(failure) => return Err(told(failure)),
    };
    let version = server.ask(&Request::new("version")).map_err(told)?;
    // Where this one has no socket, another may answer.
    if version.program.is_none_or(|program| program.pid != pid) {
        return hang_up(pid);
    }
    match server.ask(&Request::new("reload")) {
        Ok(_) => Ok(()),
        Err(Failure::Refused(refusal)) if refusal.code == REFUSED => {
            Err(ExitCode::from(EX_NOT_WELL))
        }
        Err(failure) => Err(told(failure)),
    }
}

/// SIGHUP, which has no answer.
fn hang_up(pid: u32) -> Result<(), ExitCode> {
    // 0 and 1, and what would be negative, are no server's: they mean many processes, or the first.
    let pid = i32::try_from(pid).ok().filter(|pid| *pid > 1);
    let sent = match pid {
        Some(pid) => kill(Pid::from_raw(pid), Signal::SIGHUP),
        None => Err(Errno::ESRCH),
    };
    sent.map_err(|error| {
        output::error(&format!("SIGHUP cannot be sent: {}", error.desc()));
        ExitCode::from(EX_NOT_WELL)
    })
}

fn kick(target: &str) -> Request {
    let mut request = Request::new("kick");
    match target.parse() {
        Ok(id) => request.id = Some(id),
        Err(_) => request.stream = Some(target.to_owned()),
    }
    request
}

fn lines(verb: &Verb, answer: &Answer) -> Vec<String> {
    let now = answer.at_ms;
    let mut lines = match verb {
        Verb::Status => tables::overview(answer),
        Verb::Streams => tables::streams(answer.streams.as_deref().unwrap_or_default(), now),
        Verb::Viewers { stream } => {
            let viewers = answer.viewers.as_deref().unwrap_or_default();
            tables::viewers(viewers, stream.is_some(), now)
        }
        Verb::Mirrors => tables::mirrors(answer.mirrors.as_deref().unwrap_or_default(), now),
        Verb::Remotes => remotes::table(answer.remotes.as_deref().unwrap_or_default(), now),
        Verb::Kick { .. } => answer.kicked.iter().map(tables::kicked).collect(),
        Verb::Drain { .. } => tables::drain(answer.drain.as_ref(), now),
        Verb::Undrain => vec!["it takes viewers again".to_owned()],
        Verb::Reload { .. } => match answer.reloaded.as_deref().unwrap_or_default() {
            [] => vec!["read again; nothing has changed".to_owned()],
            changes => changes.to_vec(),
        },
        Verb::Recordings | Verb::Record(_) => {
            recordings::table(answer.recordings.as_deref().unwrap_or_default(), now)
        }
        Verb::Health => answer.health.iter().flat_map(tables::health).collect(),
        Verb::Version | Verb::Line(_) => {
            let program = answer.program.clone().unwrap_or_default();
            let publish = if program.publish {
                ""
            } else {
                " (a mirror only, built without publishing)"
            };
            vec![format!("{}{publish}", program.version)]
        }
    };
    if !answer.silent_shards.is_empty() && !matches!(verb, Verb::Health | Verb::Status) {
        lines.push("not all: a thread of the server does not answer; see ctl health".to_owned());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_a_connection_and_anything_else_a_stream() {
        assert_eq!(kick("17").id, Some(17));
        assert_eq!(kick("live/17").stream.as_deref(), Some("live/17"));
        assert_eq!(kick("-1").stream.as_deref(), Some("-1"));
    }
}
