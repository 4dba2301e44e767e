//! How long a mirror waits before it tries its master again.

use std::time::Duration;

/// Delays that double from 100 ms up to a ceiling. The ceiling is low while somebody waits for the
/// picture (the first ten minutes of an outage, or as long as there are viewers) and 5 s after that;
/// it never gives up. Jitter keeps the mirrors of one image from knocking at the same moment.
#[derive(Debug, Clone)]
pub(super) struct Backoff {
    next: Duration,
}

/// The first delay, before jitter.
const FIRST: Duration = Duration::from_millis(100);
/// The ceiling while somebody waits.
const HASTE: Duration = Duration::from_millis(400);
/// The ceiling for an outage that nobody watches.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long an outage counts as fresh.
const FRESH: Duration = Duration::from_secs(600);

impl Default for Backoff {
    fn default() -> Self {
        Self { next: FIRST }
    }
}

impl Backoff {
    /// Back to the first delay: the last try worked.
    pub(super) const fn reset(&mut self) {
        self.next = FIRST;
    }

    /// The next delay. `down_for` is how long the source has been away, `watched` whether viewers
    /// wait for it, `random` any number; the delay lies between half and the whole of the step.
    pub(super) fn delay(&mut self, down_for: Duration, watched: bool, random: u64) -> Duration {
        let ceiling = if watched || down_for < FRESH {
            HASTE
        } else {
            PATIENCE
        };
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
        let at_most = |b: &mut Backoff, down, watched| b.delay(down, watched, u64::MAX / 2);
        for _ in 0..20 {
            let d = at_most(&mut b, Duration::ZERO, false);
            assert!(d >= Duration::from_millis(50) && d <= HASTE, "{d:?}");
        }
        let long = Duration::from_secs(3600);
        for _ in 0..20 {
            at_most(&mut b, long, false);
        }
        assert!(at_most(&mut b, long, false) >= PATIENCE / 2);
        assert!(at_most(&mut b, long, true) <= HASTE, "viewers wait");
        b.reset();
        assert!(at_most(&mut b, long, false) <= FIRST);
    }

    #[test]
    fn jitter_stays_between_half_and_whole() {
        for random in 0..1000 {
            let d = Backoff::default().delay(Duration::ZERO, true, random);
            assert!(d >= FIRST / 2 && d <= FIRST, "{d:?}");
        }
    }
}
