//! A histogram of fixed size: exact below 32, then within 1/32 of the value.

use serde::Serialize;

/// Values below `2^BITS` have a bucket of their own, and each doubling above has as many buckets.
const BITS: u32 = 5;
/// Buckets for every `u64`.
const BUCKETS: usize = (64 - BITS as usize + 1) << BITS;

/// Counts of whole numbers, such as microseconds.
#[derive(Debug, Clone)]
pub struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    max: u64,
    min: u64,
}

/// What a histogram comes to; every figure 0 when nothing was counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Summary {
    /// How many values.
    pub count: u64,
    /// The smallest.
    pub min: f64,
    /// All but a hundredth are not below this.
    pub p1: f64,
    /// Half of the values are not above this.
    pub p50: f64,
    /// Nine tenths are not.
    pub p90: f64,
    /// All but a hundredth are not.
    pub p99: f64,
    /// The largest.
    pub max: f64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            buckets: vec![0; BUCKETS],
            count: 0,
            max: 0,
            min: u64::MAX,
        }
    }
}

impl Histogram {
    /// Counts a value.
    pub fn add(&mut self, value: u64) {
        if let Some(bucket) = self.buckets.get_mut(index(value)) {
            *bucket = bucket.saturating_add(1);
        }
        self.count = self.count.saturating_add(1);
        self.max = self.max.max(value);
        self.min = self.min.min(value);
    }

    /// The value that `share` (0 to 1) of all values do not exceed; the top of its bucket, and never
    /// more than the largest value.
    #[must_use]
    pub fn quantile(&self, share: f64) -> u64 {
        let mut left = rank(self.count, share);
        for (at, count) in self.buckets.iter().enumerate() {
            left = left.saturating_sub(*count);
            if left == 0 && *count > 0 {
                return top(at).clamp(self.min, self.max);
            }
        }
        self.max
    }

    /// All figures, each divided by `unit`.
    #[must_use]
    pub fn summary(&self, unit: f64) -> Summary {
        if self.count == 0 {
            return Summary::default();
        }
        let scale = |value: u64| (as_f64(value) / unit * 1000.0).round() / 1000.0;
        Summary {
            count: self.count,
            min: scale(self.min),
            p1: scale(self.quantile(0.01)),
            p50: scale(self.quantile(0.5)),
            p90: scale(self.quantile(0.9)),
            p99: scale(self.quantile(0.99)),
            max: scale(self.max),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
pub(super) const fn as_f64(value: u64) -> f64 {
    value as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of a count lies between 1 and the count"
)]
fn rank(count: u64, share: f64) -> u64 {
    ((as_f64(count) * share).ceil() as u64).clamp(1, count.max(1))
}

fn index(value: u64) -> usize {
    let shift = (u64::BITS - BITS).saturating_sub(value.leading_zeros().saturating_add(1));
    let doubling = if value >> BITS == 0 {
        0
    } else {
        shift.saturating_add(1)
    };
    let within = value >> doubling.saturating_sub(1) & ((1 << BITS) - 1);
    let at = u64::from(doubling) << BITS | within;
    usize::try_from(at).unwrap_or(BUCKETS)
}

fn top(at: usize) -> u64 {
    let within = at as u64 & ((1 << BITS) - 1);
    match u32::try_from(at >> BITS).unwrap_or(0) {
        0 => within,
        doubling => {
            let from = (1 << BITS | within) << (doubling - 1);
            from | ((1 << (doubling - 1)) - 1)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_in_its_bucket() {
        for value in [0, 1, 31, 32, 33, 63, 64, 65, 1000, 123_456_789, u64::MAX] {
            let at = index(value);
            assert!(at < BUCKETS, "{value}");
            assert!(top(at) >= value, "{value}");
            assert!(top(at) - value <= value / 32, "{value}: {}", top(at));
            assert!(at == 0 || top(at - 1) < value, "{value}");
        }
    }

    #[test]
    fn the_figures_are_within_a_32nd() {
        let mut h = Histogram::default();
        assert_eq!(h.summary(1.0), Summary::default());
        for value in 1..=10_000 {
            h.add(value);
        }
        let s = h.summary(1.0);
        assert_eq!((s.count, s.min, s.max), (10_000, 1.0, 10_000.0));
        for (is, should) in [(s.p50, 5000.0), (s.p90, 9000.0), (s.p99, 9900.0)] {
            assert!(is >= should && is <= should * 33.0 / 32.0, "{is} {should}");
        }
    }
}
