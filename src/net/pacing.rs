//! Latency against cost: how long a shard lets frames collect before it writes them.
//!
//! A write costs per call, hardly per byte. At the lowest latency each picture is written to each
//! viewer at once; with a merge time each viewer is written to once in that time, and the viewers
//! take turns, so that the work is spread evenly.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::limits::MAX_MERGE;
use crate::system::thread_cpu_time;
use crate::telemetry::metrics::Metrics;

/// What the operator chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Latency {
    /// The lowest while the shard has time to spare; more as it nears its limit.
    #[default]
    Auto,
    /// Always this; zero is the lowest latency. At most [`MAX_MERGE`] counts.
    Fixed(Duration),
}

/// Merge times of [`Latency::Auto`], each about half as many writes as the one before.
const LEVELS: [Duration; 4] = [
    Duration::ZERO,
    Duration::from_millis(80),
    Duration::from_millis(160),
    MAX_MERGE,
];
/// A shard that is busier than this takes the next level.
const BUSY: f64 = 0.80;
/// One goes back that would be less busy than this then.
const ROOM: f64 = 0.65;
/// How many times as dear a level is as the next one, where nothing else is known. It depends on the
/// stream: the more pictures a second, the dearer.
const DEARER: f64 = 2.0;
/// What is believed at most.
const DEAREST: f64 = 8.0;
/// So much of what was learnt is left with each look, half of it after a minute: then the viewers or the
/// stream may be others, and it is tried anew.
const FADES: f64 = 0.995;
/// How often a shard looks at itself.
const SAMPLE: Duration = Duration::from_millis(500);
/// A look that comes later than this means that the machine, if not the shard, is out of time.
const STARVED: Duration = Duration::from_millis(100);

/// The merge time of one shard, now.
#[derive(Debug)]
pub(super) struct Pacing {
    latency: Cell<Latency>,
    level: Cell<usize>,
    /// How many times as dear each level was as the next one.
    dearer: Cell<[f64; LEVELS.len()]>,
    /// How busy the shard was when it took this level, until it is known what that saved.
    before: Cell<Option<f64>>,
}

impl Pacing {
    pub(super) const fn new(latency: Latency) -> Self {
        Self {
            latency: Cell::new(latency),
            level: Cell::new(0),
            dearer: Cell::new([DEARER; LEVELS.len()]),
            before: Cell::new(None),
        }
    }

    /// The operator chose anew.
    pub(super) fn set(&self, latency: Latency) {
        self.latency.set(latency);
    }

    /// How long frames may collect; zero writes each at once.
    pub(super) fn merge(&self) -> Duration {
        match self.latency.get() {
            Latency::Fixed(time) => time.min(MAX_MERGE),
            Latency::Auto => LEVELS.get(self.level.get()).copied().unwrap_or(MAX_MERGE),
        }
    }

    /// Takes note of how busy the shard was, as a part of 1.
    fn observe(&self, busy: f64) {
        let level = self.level.get();
        let mut dearer = self.dearer.get();
        let below = level.saturating_sub(1);
        if let Some(below) = dearer.get_mut(below) {
            *below = match self.before.take() {
                Some(before) => (before / busy.max(0.01)).clamp(DEARER, DEAREST),
                None => DEARER + (*below - DEARER) * FADES,
            };
        }
        self.dearer.set(dearer);
        let then = busy * dearer.get(below).copied().unwrap_or(DEARER);
        if busy > BUSY && level.saturating_add(1) < LEVELS.len() {
            self.level.set(level.saturating_add(1));
            self.before.set(Some(busy));
        } else if level > 0 && then < ROOM {
            self.level.set(below);
        }
    }

    /// Watches the shard whose thread polls this, for ever; `beat` counts how often it looked.
    pub(super) async fn watch(&self, shard: usize, metrics: &Metrics, beat: &AtomicU64) {
        let (mut at, mut cpu) = (Instant::now(), thread_cpu_time());
        loop {
            sleep(SAMPLE).await;
            beat.fetch_add(1, Ordering::Relaxed);
            let (now, used) = (Instant::now(), thread_cpu_time());
            let wall = now.saturating_duration_since(at);
            let busy = if wall > SAMPLE.saturating_add(STARVED) {
                1.0
            } else {
                used.saturating_sub(cpu).as_secs_f64() / wall.as_secs_f64().max(0.001)
            };
            (at, cpu) = (now, used);
            // Both are of the time that has passed.
            metrics.shard(shard, busy, self.merge());
            self.observe(busy);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merges_more_as_the_shard_nears_its_limit_and_less_when_it_is_over() {
        let pacing = Pacing::new(Latency::Auto);
        assert_eq!(pacing.merge(), Duration::ZERO);
        pacing.observe(0.79);
        assert_eq!(pacing.merge(), Duration::ZERO);
        for level in LEVELS.iter().skip(1) {
            pacing.observe(0.9);
            assert_eq!(pacing.merge(), *level);
        }
        pacing.observe(1.0);
        assert_eq!(pacing.merge(), MAX_MERGE, "there is no more");
        pacing.observe(0.5);
        assert_eq!(pacing.merge(), MAX_MERGE, "neither busy nor idle");
        for _ in 0..10 {
            pacing.observe(0.1);
        }
        assert_eq!(pacing.merge(), Duration::ZERO);
    }

    #[test]
    fn a_level_is_kept_whatever_it_saves() {
        const LOOKS: usize = 240; // two minutes
        for saves in [1.5, 2.0, 3.0, 5.0, 7.5] {
            for load in [0.3, 0.7, 0.9, 1.0, 1.5, 2.5, 6.0] {
                let pacing = Pacing::new(Latency::Auto);
                let busy = |pacing: &Pacing| {
                    let level = i32::try_from(pacing.level.get()).unwrap();
                    (load / f64::powi(saves, level)).min(1.0)
                };
                let (mut changes, mut over) = (0, 0);
                for _ in 0..LOOKS {
                    let (level, is) = (pacing.level.get(), busy(&pacing));
                    pacing.observe(is);
                    changes += usize::from(level != pacing.level.get());
                    over += usize::from(is > BUSY && level + 1 < LEVELS.len());
                }
                // It may try a few times whether less is enough by now.
                assert!(
                    changes <= 9 && over <= 6,
                    "{saves} {load}: {changes} {over}"
                );
                // And whoever leaves takes the latency along.
                let quiet = 0.02;
                (0..LOOKS).for_each(|_| pacing.observe(quiet));
                assert_eq!(pacing.merge(), Duration::ZERO, "{saves} {load}");
            }
        }
    }

    #[test]
    fn what_the_operator_chose_stays() {
        let fixed = |ms| Pacing::new(Latency::Fixed(Duration::from_millis(ms)));
        let pacing = fixed(100);
        for _ in 0..5 {
            pacing.observe(1.0);
        }
        assert_eq!(pacing.merge(), Duration::from_millis(100));
        assert_eq!(fixed(0).merge(), Duration::ZERO);
        pacing.set(Latency::Auto);
        assert_ne!(
            pacing.merge(),
            Duration::from_millis(100),
            "until it is chosen anew"
        );
        assert_eq!(fixed(60_000).merge(), MAX_MERGE);
    }
}
