//! What an accept loop has to say, which peers could have it say a thousand times a second.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use super::admission::Refusal;
use crate::limits::REFUSAL_LOG;

/// Lets one log line pass in [`REFUSAL_LOG`] and counts the others.
#[derive(Debug, Default)]
struct Seldom {
    last: Option<Instant>,
    unsaid: u64,
}

impl Seldom {
    /// `Some` when a line may be written: how many were not since the last one.
    fn say(&mut self, now: Instant) -> Option<u64> {
        let quiet = self
            .last
            .is_none_or(|last| now.saturating_duration_since(last) >= REFUSAL_LOG);
        if quiet {
            self.last = Some(now);
            return Some(std::mem::take(&mut self.unsaid));
        }
        self.unsaid = self.unsaid.saturating_add(1);
        None
    }

    /// When what is unsaid may be said; `None` when there is nothing.
    fn due(&self) -> Option<Instant> {
        let last = self.last.filter(|_| self.unsaid > 0)?;
        Some(last.checked_add(REFUSAL_LOG).unwrap_or(last))
    }

    /// What is unsaid and due by then.
    fn rest(&mut self, by: Option<Instant>, now: Instant) -> Option<u64> {
        let due = self.due()?;
        if by.is_some_and(|by| due > by) {
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.unsaid))
    }
}

/// The log lines of one accept loop about those who did not get in.
#[derive(Debug)]
pub(super) struct Complaints {
    listener: SocketAddr,
    /// One for each reason that there was: a flood for one must not hide another.
    refusals: Vec<(Refusal, Seldom)>,
    errors: Seldom,
}

impl Complaints {
    pub(super) const fn new(listener: SocketAddr) -> Self {
        Self {
            listener,
            refusals: Vec::new(),
            errors: Seldom {
                last: None,
                unsaid: 0,
            },
        }
    }

    /// A connection was refused.
    pub(super) fn refused(&mut self, refusal: Refusal, peer: IpAddr, now: Instant) {
        let known = self.refusals.iter().position(|(of, _)| *of == refusal);
        let index = known.unwrap_or_else(|| {
            self.refusals.push((refusal, Seldom::default()));
            self.refusals.len().saturating_sub(1)
        });
        let seldom = self.refusals.get_mut(index).map(|(_, seldom)| seldom);
        if let Some(unsaid) = seldom.and_then(|seldom| seldom.say(now)) {
            tracing::warn!(
                listener = %self.listener, %peer, unsaid, code = refusal.label(),
                "connection refused: {refusal}"
            );
        }
    }

    /// None could be accepted.
    pub(super) fn failed(&mut self, error: &io::Error, now: Instant) {
        if let Some(unsaid) = self.errors.say(now) {
            tracing::error!(
                listener = %self.listener, unsaid, code = "accept",
                "accept failed, trying again: {error}"
            );
        }
    }

    /// When there is something to be said that was not.
    pub(super) fn due(&self) -> Option<Instant> {
        let refusals = self.refusals.iter().map(|(_, seldom)| seldom);
        refusals.chain([&self.errors]).filter_map(Seldom::due).min()
    }

    /// Says how many lines were left out, of what is due; without `by` all of it, as nothing follows.
    pub(super) fn say_rest(&mut self, by: Option<Instant>, now: Instant) {
        let listener = self.listener;
        for (refusal, seldom) in &mut self.refusals {
            if let Some(more) = seldom.rest(by, now) {
                tracing::warn!(
                    %listener, refused = more, code = refusal.label(),
                    "{more} more connections were refused: {refusal}"
                );
            }
        }
        if let Some(more) = self.errors.rest(by, now) {
            tracing::error!(
                %listener, failed = more, code = "accept", "accept failed {more} more times"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_flood_of_refusals_is_a_line_in_ten_seconds() {
        let mut seldom = Seldom::default();
        let start = Instant::now();
        assert_eq!(seldom.say(start), Some(0));
        for n in 0..500 {
            assert_eq!(seldom.say(start + Duration::from_millis(n)), None);
        }
        assert_eq!(seldom.say(start + REFUSAL_LOG), Some(500));
    }

    #[test]
    fn the_rest_of_a_flood_is_said_when_it_is_over() {
        let mut seldom = Seldom::default();
        let start = Instant::now();
        assert_eq!(seldom.due(), None);
        seldom.say(start);
        assert_eq!(seldom.due(), None, "there is nothing unsaid");
        for _ in 0..50 {
            seldom.say(start);
        }
        let due = seldom.due().unwrap();
        assert_eq!(due, start + REFUSAL_LOG);
        let early = due - Duration::from_millis(1);
        assert_eq!(seldom.rest(Some(early), early), None);
        assert_eq!(seldom.rest(Some(due), due), Some(50));
        assert_eq!((seldom.due(), seldom.rest(None, due)), (None, None));
        // That was a line, too.
        assert_eq!(seldom.say(due), None);
        assert_eq!(seldom.rest(None, due), Some(1), "nothing follows");
    }

    #[test]
    fn each_reason_has_lines_of_its_own() {
        let mut complaints = Complaints::new("127.0.0.1:1935".parse().unwrap());
        let (peer, now) = (IpAddr::from([192, 0, 2, 1]), Instant::now());
        for refusal in [Refusal::Full, Refusal::PendingAddress, Refusal::Full] {
            complaints.refused(refusal, peer, now);
        }
        let unsaid = complaints.refusals.iter().map(|(_, seldom)| seldom.unsaid);
        assert_eq!(unsaid.collect::<Vec<_>>(), [1, 0]);
        assert_eq!(complaints.due(), Some(now + REFUSAL_LOG));
        complaints.say_rest(complaints.due(), now + REFUSAL_LOG);
        assert_eq!(complaints.due(), None);
    }
}
