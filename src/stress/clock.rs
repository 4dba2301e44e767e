//! One clock for publishers and viewers, in one process or in several of a machine.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Nanoseconds since 1970 as of the start of the process, and from there on monotonic.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    wall: u64,
    start: Instant,
}

impl Clock {
    pub(super) fn new() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            wall: wall.map_or(0, |t| u64::try_from(t.as_nanos()).unwrap_or(u64::MAX)),
            start: Instant::now(),
        }
    }

    pub(super) fn now(&self) -> u64 {
        self.at(Instant::now())
    }

    pub(super) fn at(&self, instant: Instant) -> u64 {
        let since = instant.saturating_duration_since(self.start).as_nanos();
        self.wall
            .saturating_add(u64::try_from(since).unwrap_or(u64::MAX))
    }
}
