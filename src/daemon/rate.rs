//! What goes out, from a counter of bytes.

use std::time::{Duration, Instant};

/// Shorter times tell nothing: a few bytes of a login would come out as a flood.
const LEAST: Duration = Duration::from_millis(500);

/// What a counter of bytes grows by, over the last few seconds: a viewer that joins gets seconds of its
/// stream at once, and is no reason to turn the next one away.
#[derive(Debug)]
pub(super) struct Rate {
    bytes: u64,
    at: Instant,
    kbit: u64,
}

impl Rate {
    pub(super) const fn new(bytes: u64, at: Instant) -> Self {
        Self { bytes, at, kbit: 0 }
    }

    /// Kilobits a second; to be asked about once a second.
    pub(super) fn kbit(&mut self, bytes: u64, now: Instant) -> u32 {
        let time = now.saturating_duration_since(self.at);
        if time >= LEAST {
            let bits = u128::from(bytes.saturating_sub(self.bytes)).saturating_mul(8);
            // A bit for each millisecond is a kilobit a second.
            let last = bits.checked_div(time.as_millis()).unwrap_or(0);
            let last = u64::try_from(last).unwrap_or(u64::MAX);
            let before = self.kbit.saturating_mul(2);
            self.kbit = before.saturating_add(last) / 3;
            (self.bytes, self.at) = (bytes, now);
        }
        u32::try_from(self.kbit).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_follows_within_seconds_and_no_burst_is_a_rate() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut rate = Rate::new(1_000_000, start);
        assert_eq!(rate.kbit(1_100_000, at(1)), 0, "too soon to tell");
        // 125 000 bytes a second are a megabit.
        let mut bytes = 1_000_000;
        let mut found = 0;
        for second in 1..=12 {
            bytes += 125_000;
            found = rate.kbit(bytes, at(1000 * second));
        }
        assert!((980..=1000).contains(&found), "{found}");
        bytes += 125_000 + 250_000;
        let burst = rate.kbit(bytes, at(13_000));
        assert!(burst < 1700, "{burst}");
        for second in 14..30 {
            found = rate.kbit(bytes, at(1000 * second));
        }
        assert!(found < 5, "{found}");
        assert!(rate.kbit(0, at(40_000)) < 5, "a counter never goes back");
    }
}
