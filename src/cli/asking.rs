//! Asking a running server over its control socket; what `status` and `ctl` share.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::output;
use crate::control::model::{Answer, Rates, Viewer};
use crate::control::protocol::{Refusal, Request};
use crate::control::{Client, Unreachable, find, usual_places};

/// sysexits: no server, or none that lets this user in.
const EX_UNAVAILABLE: u8 = 69;
/// sysexits: try again.
const EX_TEMPFAIL: u8 = 75;
/// sysexits: the other end is something else.
const EX_PROTOCOL: u8 = 76;
/// The server is not healthy, or did not do what was asked.
pub(super) const EX_NOT_WELL: u8 = 1;

/// Between the two looks that a rate is taken from.
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);
/// Parts of a list that are asked for at most: a million entries.
const MAX_PAGES: usize = 2_000;

/// How to reach the server, and how to say what it said.
#[derive(Debug, Args)]
pub(super) struct AskingArgs {
    /// The control socket (listen.control); without it the usual places are tried
    #[arg(long, value_name = "PATH", global = true)]
    pub(super) socket: Option<PathBuf>,
    /// One line of JSON, for programs
    #[arg(long, global = true)]
    pub(super) json: bool,
}

/// Why there is no good answer.
#[derive(Debug)]
pub(super) enum Failure {
    Unreachable(Unreachable),
    Refused(Refusal),
}

impl From<Unreachable> for Failure {
    fn from(why: Unreachable) -> Self {
        Self::Unreachable(why)
    }
}

impl Failure {
    /// Says it, and gives the exit code.
    pub(super) fn tell(&self, json: bool) -> ExitCode {
        let (refusal, exit) = match self {
            Self::Refused(refusal) if refusal.code == "busy" => (refusal.clone(), EX_TEMPFAIL),
            Self::Refused(refusal) => (refusal.clone(), EX_NOT_WELL),
            Self::Unreachable(why) => {
                let (code, exit) = match why {
                    Unreachable::Odd(..) => ("protocol", EX_PROTOCOL),
                    _ => ("unreachable", EX_UNAVAILABLE),
                };
                (Refusal::new(code, why.to_string()), exit)
            }
        };
        if json {
            json_line(&Answer::refused(refusal));
        } else {
            output::error(&refusal.message);
        }
        ExitCode::from(exit)
    }
}

/// An answer as a program reads it.
pub(super) fn json_line(answer: &Answer) {
    // Plain data is always JSON.
    output::line(&serde_json::to_string(answer).unwrap_or_default());
}

impl AskingArgs {
    /// Finds the server.
    pub(super) fn connect(&self) -> Result<Asking, Failure> {
        let places = match &self.socket {
            Some(path) => vec![path.clone()],
            None => usual_places(|name| std::env::var_os(name)),
        };
        Ok(Asking(find(&places)?))
    }
}

/// A server that answers.
pub(super) struct Asking(Client);

impl Asking {
    /// One question; a refusal is a failure.
    pub(super) fn ask(&mut self, request: &Request) -> Result<Answer, Failure> {
        let answer = self.0.ask(request)?;
        match answer.error {
            Some(refusal) => Err(Failure::Refused(refusal)),
            None => Ok(answer),
        }
    }

    /// A whole list, part after part: the last answer with the entries of all.
    fn whole(
        &mut self,
        mut request: Request,
        mut put: impl FnMut(&mut Answer),
    ) -> Result<Answer, Failure> {
        for _ in 1..MAX_PAGES {
            let mut answer = self.ask(&request)?;
            put(&mut answer);
            match answer.next.take() {
                Some(next) => request.after = Some(next),
                None => return Ok(answer),
            }
        }
        let mut answer = self.ask(&request)?;
        put(&mut answer);
        Ok(answer)
    }

    /// All streams.
    pub(super) fn streams(&mut self) -> Result<Answer, Failure> {
        let mut all = Vec::new();
        let answer = self.whole(Request::new("streams"), |answer| {
            all.extend(answer.streams.take().unwrap_or_default());
        })?;
        Ok(Answer {
            streams: Some(all),
            ..answer
        })
    }

    /// All pulls and pushes; none from a server that is older than they are.
    pub(super) fn remotes(&mut self) -> Result<Answer, Failure> {
        match self.ask(&Request::new("remotes")) {
            Err(Failure::Refused(refusal)) if refusal.code == "bad-verb" => Ok(Answer::default()),
            answer => answer,
        }
    }

    /// All mirrors.
    pub(super) fn mirrors(&mut self) -> Result<Answer, Failure> {
        let mut all = Vec::new();
        let answer = self.whole(Request::new("mirrors"), |answer| {
            all.extend(answer.mirrors.take().unwrap_or_default());
        })?;
        Ok(Answer {
            mirrors: Some(all),
            ..answer
        })
    }

    /// All viewers, of one stream or of all, with the rates of the last moment.
    pub(super) fn viewers(&mut self, stream: Option<&str>) -> Result<Answer, Failure> {
        let mut request = Request::new("viewers");
        request.stream = stream.map(str::to_owned);
        // What each connection had been sent at the first look, and when that was.
        let mut before: HashMap<u64, (u64, u64)> = HashMap::new();
        self.whole(request.clone(), |answer| {
            for viewer in answer.viewers.take().unwrap_or_default() {
                before.insert(viewer.id, (viewer.bytes, answer.uptime_ms));
            }
        })?;
        if !before.is_empty() {
            pause(BETWEEN_LOOKS);
        }
        let mut all: Vec<Viewer> = Vec::new();
        let answer = self.whole(request, |answer| {
            for mut viewer in answer.viewers.take().unwrap_or_default() {
                viewer.kbit_per_second = before
                    .get(&viewer.id)
                    .and_then(|(bytes, at)| rate((*bytes, *at), (viewer.bytes, answer.uptime_ms)));
                all.push(viewer);
            }
        })?;
        Ok(Answer {
            viewers: Some(all),
            ..answer
        })
    }

    /// The server as a whole: its state, its rates, its streams and its mirrors.
    pub(super) fn overview(&mut self) -> Result<Answer, Failure> {
        let first = self.ask(&Request::new("status"))?;
        pause(BETWEEN_LOOKS);
        let second = self.ask(&Request::new("status"))?;
        let look = |answer: &Answer| Some((answer.status.as_ref()?.bytes_out, answer.uptime_ms));
        let streams = self.streams()?.streams.unwrap_or_default();
        let sources = streams.iter().map(|s| s.kbit_per_second);
        let rates = Rates {
            in_kbit_per_second: Some(sources.fold(0, u64::saturating_add)),
            out_kbit_per_second: look(&first)
                .zip(look(&second))
                .and_then(|(before, after)| rate(before, after)),
        };
        Ok(Answer {
            rates: Some(rates),
            streams: Some(streams),
            mirrors: self.mirrors()?.mirrors,
            remotes: self.remotes()?.remotes,
            ..second
        })
    }
}

/// Kilobits a second between two looks at bytes and milliseconds.
fn rate(before: (u64, u64), after: (u64, u64)) -> Option<u64> {
    let time = after.1.checked_sub(before.1)?;
    let bytes = after.0.saturating_sub(before.0);
    bytes.saturating_mul(8).checked_div(time)
}

#[expect(
    clippy::disallowed_methods,
    reason = "a client of one connection; there is no runtime here"
)]
pub(super) fn pause(time: Duration) {
    std::thread::sleep(time);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_needs_time_and_never_goes_below_nothing() {
        assert_eq!(rate((0, 0), (125_000, 500)), Some(2000));
        assert_eq!(rate((10, 5), (10, 5)), None);
        assert_eq!(rate((10, 6), (10, 5)), None);
        assert_eq!(rate((10, 5), (0, 6)), Some(0));
    }
}
