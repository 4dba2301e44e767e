//! What the process does for itself while it serves: it looks whether every thread makes progress,
//! feeds the watchdog only then, and tells how things stand.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval};

use super::notify::Notifier;
use super::status::Status;
use crate::limits::{STANDSTILL, STATUS_EVERY};
use crate::net::Shards;
use crate::telemetry::health::Health;

/// The key of its trouble.
const THREADS: &str = "threads";

/// A number that grows as long as a loop goes round.
#[derive(Debug, Clone, Default)]
pub(super) struct Beat(Arc<AtomicU64>);

impl Beat {
    /// One round.
    pub(super) fn beat(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Watches the shards and the control loop from the runtime of the latter.
pub(super) struct Care {
    shards: Arc<Shards>,
    control: Beat,
    notifier: Notifier,
    health: Arc<Health>,
    status: Status,
    /// The beats when all had last made progress, and when that was.
    seen: Vec<u64>,
    since: Instant,
    told: Option<Instant>,
    /// After this long without progress it is told.
    patience: Duration,
}

impl Care {
    pub(super) fn new(
        shards: Arc<Shards>,
        control: Beat,
        notifier: Notifier,
        health: Arc<Health>,
        status: Status,
    ) -> Self {
        let patience = notifier
            .watchdog()
            .map_or(STANDSTILL, |limit| STANDSTILL.min(limit / 2));
        let now = Instant::now();
        let mut care = Self {
            shards,
            control,
            notifier,
            health,
            status,
            seen: Vec::new(),
            since: now,
            told: None,
            patience,
        };
        care.seen = care.beats();
        care
    }

    /// How often to look: several times within what the watchdog allows.
    fn period(&self) -> Duration {
        match self.notifier.watchdog() {
            Some(limit) => (limit / 4).clamp(Duration::from_millis(10), STATUS_EVERY),
            None => STATUS_EVERY,
        }
    }

    /// Cares for ever.
    pub(super) async fn run(mut self) {
        let mut turns = interval(self.period());
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            turns.tick().await;
            self.turn(Instant::now());
        }
    }

    fn beats(&self) -> Vec<u64> {
        let control = std::iter::once(self.control.count());
        self.shards.beats().chain(control).collect()
    }

    fn turn(&mut self, now: Instant) {
        let beats = self.beats();
        let stuck: Vec<usize> = beats
            .iter()
            .zip(&self.seen)
            .enumerate()
            .filter(|(_, (now, then))| now == then)
            .map(|(index, _)| index)
            .collect();
        if stuck.is_empty() {
            self.seen = beats;
            self.since = now;
            self.notifier.alive();
            if self.health.trouble_of(THREADS).is_some() {
                self.health.clear(THREADS);
                tracing::info!(code = "standstill", "every thread makes progress again");
            }
        } else if now.saturating_duration_since(self.since) >= self.patience {
            self.complain(&stuck, now);
        }
        let due = |told| now.saturating_duration_since(told) >= STATUS_EVERY;
        if self.told.is_none_or(due) {
            self.told = Some(now);
            self.notifier.status(&self.status.line(now));
        }
    }

    fn complain(&self, stuck: &[usize], now: Instant) {
        let names: Vec<String> = stuck
            .iter()
            .map(|index| {
                if *index < self.shards.count() {
                    format!("shard-{index}")
                } else {
                    "the control loop".to_owned()
                }
            })
            .collect();
        let names = names.join(", ");
        let seconds = now.saturating_duration_since(self.since).as_secs();
        if self.health.trouble_of(THREADS).is_none() {
            tracing::error!(
                code = "standstill",
                "no progress for {seconds} s: {names}; the watchdog is not fed"
            );
        }
        self.health
            .trouble(THREADS, format!("no progress of {names}"));
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;
    use crate::config::Role;
    use crate::daemon::notify::listening::Manager;
    use crate::daemon::parts::Parts;
    use crate::limits::Limits;
    use crate::net::Latency;
    use crate::telemetry::metrics::Metrics;

    const FED: &str = "WATCHDOG=1";

    fn care(shards: &Arc<Shards>, manager: &Manager) -> (Care, Beat, Arc<Health>) {
        let parts = Parts::alone();
        let (control, health) = (Beat::default(), Arc::clone(&parts.health));
        health.clear("start");
        let status = Status::new(Role::Standalone, &parts);
        let care = Care::new(
            Arc::clone(shards),
            control.clone(),
            manager.notifier(Some(Duration::from_secs(8))),
            Arc::clone(&health),
            status,
        );
        (care, control, health)
    }

    /// Waits until a shard has gone round this many times more.
    async fn rounds(shards: &Shards, index: usize, count: u64) {
        let of = || shards.beats().nth(index).unwrap();
        let until = of() + count;
        while of() < until {
            sleep(Duration::from_millis(5)).await;
        }
    }

    fn fed(manager: &Manager) -> bool {
        manager.heard().iter().any(|text| text == FED)
    }

    #[tokio::test]
    async fn a_stuck_shard_stops_the_feeding_until_it_goes_on() {
        let metrics = Arc::new(Metrics::default());
        let shards = Shards::start(2, Limits::default(), Latency::default(), &metrics).unwrap();
        let manager = Manager::new();
        let (mut care, control, health) = care(&shards, &manager);
        let begun = Instant::now();

        // Both go round, and the control loop too: fed.
        rounds(&shards, 0, 1).await;
        rounds(&shards, 1, 1).await;
        control.beat();
        care.turn(begun);
        assert!(fed(&manager));

        // Shard 1 gets stuck in a task that blocks its thread.
        let (release, blocked) = std::sync::mpsc::channel::<()>();
        let (tell, told) = tokio::sync::oneshot::channel();
        let stuck = |_| async move {
            tell.send(()).unwrap_or_default();
            blocked.recv().unwrap_or_default();
        };
        shards.spawn(1, stuck).await.unwrap();
        told.await.unwrap();
        // What it had counted before may still be told once.
        care.turn(begun);
        manager.heard();
        for _ in 0..3 {
            rounds(&shards, 0, 1).await;
            control.beat();
            care.turn(begun);
            assert!(!fed(&manager), "fed although shard 1 is stuck");
        }
        assert!(health.troubles().is_empty(), "not yet");
        care.turn(begun + Duration::from_secs(4));
        assert_eq!(health.troubles(), ["threads: no progress of shard-1"]);
        let heard = manager.heard();
        assert!(
            heard
                .iter()
                .any(|text| text.contains("no progress of shard-1")),
            "{heard:?}"
        );

        // It goes on, and so does the feeding.
        drop(release);
        rounds(&shards, 1, 1).await;
        rounds(&shards, 0, 1).await;
        care.turn(begun + Duration::from_secs(5));
        assert!(fed(&manager));
        assert!(health.troubles().is_empty());
    }

    #[tokio::test]
    async fn a_stuck_control_loop_stops_the_feeding() {
        let metrics = Arc::new(Metrics::default());
        let shards = Shards::start(1, Limits::default(), Latency::default(), &metrics).unwrap();
        let manager = Manager::new();
        let (mut care, control, health) = care(&shards, &manager);
        let begun = Instant::now();
        rounds(&shards, 0, 1).await;
        care.turn(begun + Duration::from_secs(4));
        assert!(!fed(&manager));
        assert_eq!(
            health.troubles(),
            ["threads: no progress of the control loop"]
        );
        control.beat();
        care.turn(begun + Duration::from_secs(4));
        assert!(fed(&manager));
    }

    #[tokio::test]
    async fn the_feeding_keeps_well_within_the_limit() {
        let metrics = Arc::new(Metrics::default());
        let shards = Shards::start(1, Limits::default(), Latency::default(), &metrics).unwrap();
        let manager = Manager::new();
        let (care, ..) = care(&shards, &manager);
        assert_eq!(care.period(), Duration::from_secs(1));
        assert_eq!(care.patience, Duration::from_secs(4));
    }
}
