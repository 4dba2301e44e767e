//! `drain`, `undrain`, and what is told of them.

use std::time::{Duration, Instant};

use super::facts::Control;
use super::model::{Answer, Drain};
use super::protocol::Refusal;
use super::rows::Clock;
use crate::relay::millis;

impl Control {
    /// The drain that goes on.
    pub(super) fn draining(&self, clock: Clock) -> Option<Drain> {
        let drain = self.cluster.draining()?;
        let left = drain.left(clock.now);
        let deadline_ms = if left.is_zero() {
            clock.date(drain.deadline)
        } else {
            clock.wall.saturating_add(millis(left))
        };
        Some(Drain {
            since_ms: clock.date(drain.since),
            deadline_ms,
            viewers: self.cluster.load().viewers,
            ended: self.cluster.ended(),
            exit: drain.exit,
        })
    }

    /// New viewers go elsewhere from now on, and those who are here are asked to.
    pub(super) fn drain(
        &self,
        answer: Answer,
        clock: Clock,
        time: Duration,
        exit: bool,
    ) -> Result<Answer, Refusal> {
        if self.cluster.own_host().is_none() {
            let why = "a master has no viewers who could move; drain its mirrors";
            return Err(Refusal::new("role", why));
        }
        let now = Instant::now();
        let deadline = now.checked_add(time).unwrap_or(now);
        self.cluster.drain(deadline, exit, now);
        Ok(Answer {
            drain: self.draining(clock),
            ..answer
        })
    }

    /// Takes viewers again.
    pub(super) fn undrain(&self, answer: Answer) -> Result<Answer, Refusal> {
        if self.cluster.undrain() {
            Ok(answer)
        } else {
            let why = "this server is not being drained; it takes viewers";
            Err(Refusal::new("not-draining", why))
        }
    }
}
