//! What a peer may cost that is not media: requests, pings, acknowledgements, and whatever it sends
//! while it does not publish. Nobody logs in for these, and all of a shard's viewers pay for them.

use std::time::Instant;

use crate::limits::{FLOOD_WINDOW, MAX_FLOOD_BYTES, MAX_FLOOD_MESSAGES};

/// Counts within one [`FLOOD_WINDOW`] after the other.
#[derive(Debug)]
pub(super) struct Flood {
    since: Instant,
    messages: u64,
    bytes: usize,
}

impl Flood {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            since: now,
            messages: 0,
            bytes: 0,
        }
    }

    /// So many messages more; whether that is too many.
    pub(super) fn messages(&mut self, count: u64, now: Instant) -> bool {
        self.turn(now);
        self.messages = self.messages.saturating_add(count);
        self.messages > MAX_FLOOD_MESSAGES
    }

    /// So many bytes more; whether that is too much.
    pub(super) fn bytes(&mut self, count: usize, now: Instant) -> bool {
        self.turn(now);
        self.bytes = self.bytes.saturating_add(count);
        self.bytes > MAX_FLOOD_BYTES
    }

    fn turn(&mut self, now: Instant) {
        if now.saturating_duration_since(self.since) >= FLOOD_WINDOW {
            *self = Self::new(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_bounds_hold_at_the_limit_and_are_new_in_the_next_window() {
        let start = Instant::now();
        let mut flood = Flood::new(start);
        for _ in 0..2 {
            let now = flood.since;
            assert!((0..MAX_FLOOD_MESSAGES).all(|_| !flood.messages(1, now)));
            assert!(flood.messages(1, now));
            assert!(!flood.bytes(MAX_FLOOD_BYTES, now));
            assert!(flood.bytes(1, now));
            assert!(!flood.messages(1, now + FLOOD_WINDOW));
            flood = Flood::new(now + FLOOD_WINDOW);
        }
    }
}
