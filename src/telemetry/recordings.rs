//! The figures of recordings.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
pub use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// What is counted of recordings; copies count the same.
#[derive(Debug, Clone, Default)]
pub struct RecordFigures {
    /// Recordings that write now.
    pub active: Gauge,
    /// Recordings that should write now and cannot.
    pub failing: Gauge,
    /// Bytes that were written.
    pub bytes: Counter,
    /// Files that were begun.
    pub files: Counter,
    /// Frames that are in no file because the disk was too slow.
    pub lost: Counter,
    failures: Family<[(&'static str, &'static str); 1], Counter>,
}

impl RecordFigures {
    /// All at zero, on the page.
    pub(super) fn register(registry: &mut Registry) -> Self {
        let this = Self::default();
        let gauges = [
            ("recordings", "Recordings that write", &this.active),
            (
                "recordings_failing",
                "Recordings that should write and cannot",
                &this.failing,
            ),
        ];
        for (name, help, gauge) in gauges {
            registry.register(name, help, gauge.clone());
        }
        let counters = [
            ("recorded_bytes", "Bytes written to recordings", &this.bytes),
            ("recorded_files", "Files of recordings begun", &this.files),
            (
                "recording_frames_lost",
                "Frames that no recording has because the disk was too slow",
                &this.lost,
            ),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.clone());
        }
        registry.register(
            "recording_failures",
            "Recordings that could not go on, by reason",
            this.failures.clone(),
        );
        this
    }

    /// Counts one that could not go on.
    pub fn failed(&self, reason: &'static str) {
        self.failures.get_or_create(&[("reason", reason)]).inc();
    }
}
