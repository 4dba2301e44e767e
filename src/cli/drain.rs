//! `crtmpserver ctl drain`, and waiting for its end.

use std::time::Duration;

use super::asking::{AskingArgs, Failure, pause};
use crate::control::model::{Answer, Drain};
use crate::control::protocol::{Refusal, Request};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(500);

/// How old what was seen last may be when the server ends, ms: a look, and the time it takes.
const LOOKED_MS: u64 = 1000;

/// What became of a drain whose server ended: whoever was there when its time was over was ended.
const fn gone(last: Drain, at_ms: u64) -> Drain {
    let left = if at_ms >= last.deadline_ms {
        last.viewers
    } else {
        0
    };
    // Those who are told of as ended may be counted for some seconds more.
    let ended = if last.ended > 0 { last.ended } else { left };
    Drain {
        viewers: 0,
        ended,
        ..last
    }
}

/// Asks for it, and waits if that is wanted. The answer tells the drain as it is then.
pub(super) fn ask(
    asking: &AskingArgs,
    time: Duration,
    exit: bool,
    wait: bool,
) -> Result<Answer, Failure> {
    let mut request = Request::new("drain");
    request.deadline_ms = Some(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    request.exit = Some(exit);
    let mut server = asking.connect()?;
    let answer = server.ask(&request)?;
    if !wait {
        return Ok(answer);
    }
    let mut last = answer;
    loop {
        // One that ends behind it is waited for, where that takes any time.
        if last
            .drain
            .is_some_and(|drain| drain.viewers == 0 || (drain.is_over() && !exit))
        {
            return Ok(last);
        }
        pause(LOOK);
        // One connection for a look: it may be minutes until the next one that matters.
        let status = asking
            .connect()
            .and_then(|mut server| server.ask(&Request::new("status")));
        match status {
            Ok(answer) => {
                let drain = answer.status.as_ref().and_then(|status| status.drain);
                let Some(drain) = drain else {
                    let why =
                        "it takes viewers again: somebody ended the drain, or it was restarted";
                    return Err(Failure::Refused(Refusal::new("undrained", why)));
                };
                last.drain = Some(drain);
                last.at_ms = answer.at_ms;
            }
            // It ended, as it should.
            Err(Failure::Unreachable(_)) if exit => {
                let at = last.at_ms.saturating_add(LOOKED_MS);
                let gone = last.drain.map(|drain| gone(drain, at));
                return Ok(Answer {
                    drain: gone,
                    ..last
                });
            }
            Err(failure) => return Err(failure),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::tables;

    #[test]
    fn who_had_not_moved_in_time_is_told() {
        let last = Drain {
            deadline_ms: 60_000,
            viewers: 3,
            exit: true,
            ..Drain::default()
        };
        let told = |at| tables::drain(Some(&gone(last, at)), at).concat();
        assert_eq!(
            told(60_200),
            "drained: nobody watches here, 3 viewers had not moved in time and got no more; then it ends"
        );
        assert_eq!(told(20_000), "drained: nobody watches here; then it ends");
        // One of them is counted still, as players of HLS are.
        let last = Drain {
            ended: 3,
            viewers: 1,
            ..last
        };
        assert_eq!(gone(last, 60_200).ended, 3);
    }
}
