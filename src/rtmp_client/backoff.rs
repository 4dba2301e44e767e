//! How long to wait before a server is tried again.

use std::time::Duration;

/// Delays that double from 100 ms up to a ceiling, and never end. Jitter keeps those who lost the same
/// server from knocking at the same moment.
#[derive(Debug, Clone)]
pub struct Backoff {
    next: Duration,
}

/// The first delay, before jitter.
const FIRST: Duration = Duration::from_millis(100);

impl Default for Backoff {
    fn default() -> Self {
        Self { next: FIRST }
    }
}

impl Backoff {
    /// Back to the first delay: the last try worked.
    pub const fn reset(&mut self) {
        self.next = FIRST;
    }

    /// The next delay, at most `ceiling`. `random` is any number; the delay lies between half and the
    /// whole of the step.
    pub fn delay(&mut self, ceiling: Duration, random: u64) -> Duration {
        let step = self.next.min(ceiling);
        self.next = step.saturating_mul(2).min(ceiling);
        let half = step / 2;
        let millis = u64::try_from(half.as_millis()).unwrap_or(u64::MAX);
        half.saturating_add(Duration::from_millis(random % millis.saturating_add(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_to_its_ceiling_and_no_further() {
        let mut b = Backoff::default();
        let ceiling = Duration::from_secs(5);
        let mut last = Duration::ZERO;
        for _ in 0..20 {
            last = b.delay(ceiling, u64::MAX);
            assert!(last <= ceiling, "{last:?}");
        }
        assert!(last >= ceiling / 2);
        let low = Duration::from_millis(400);
        assert!(b.delay(low, u64::MAX) <= low);
        b.reset();
        assert!(b.delay(ceiling, u64::MAX) <= FIRST);
    }

    #[test]
    fn jitter_stays_between_half_and_whole() {
        for random in 0..1000 {
            let d = Backoff::default().delay(Duration::from_secs(1), random);
            assert!(d >= FIRST / 2 && d <= FIRST, "{d:?}");
        }
    }
}
