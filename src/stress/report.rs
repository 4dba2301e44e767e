//! What came out of a run, for people and for programs.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::check::Findings;
use super::histogram::Summary;
use super::usage::Usage;

/// The figures of a run. Times are milliseconds.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// Viewers that were asked for.
    pub viewers: usize,
    /// Viewers that got media.
    pub connected: usize,
    /// Viewers that never did.
    pub failed: usize,
    /// Viewers that had it and lost their connection.
    pub disconnected: usize,
    /// Viewers with media at the end that had no key frame.
    pub without_key_frame: usize,
    /// Why viewers failed or were disconnected, and how many.
    pub reasons: BTreeMap<String, u64>,
    /// How long the figures were taken, s.
    pub seconds: f64,
    /// Delivered to all viewers.
    pub mbit_per_second: f64,
    /// Of each viewer that reads at full speed, Mbit/s.
    pub viewer_mbit_per_second: Summary,
    /// From connecting to the first audio or video.
    pub join_ms: Summary,
    /// From connecting to the first key frame.
    pub key_frame_ms: Summary,
    /// From the publisher to a checked viewer, pictures.
    pub video_late_ms: Summary,
    /// From the publisher to a checked viewer, audio.
    pub audio_late_ms: Summary,
    /// Between two pictures at a checked viewer.
    pub between_pictures_ms: Summary,
    /// What the checked viewers found.
    pub checked: Findings,
    /// The publishers of this run.
    pub publishers: Publishing,
    /// CPU of this process while the figures were taken, percent of one core.
    pub own_cpu_percent: f64,
    /// The longest that this process left its viewers waiting.
    pub own_pause_ms: Summary,
    /// The processes given with `--pid`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<Server>,
}

/// What the publishers did.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Publishing {
    /// Publishers that the server accepted.
    pub started: usize,
    /// Publishers that ended early.
    pub ended: usize,
    /// Why the first of them did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// Frames that were sent.
    pub frames: u64,
    /// Frames that could not be, as the server took none.
    pub held: u64,
    /// How late frames left, ms: what this machine could not do.
    pub late_ms: Summary,
}

/// What the server cost.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Server {
    /// While the figures were taken, s.
    pub cpu_seconds: f64,
    /// Percent of one core.
    pub cpu_percent: f64,
    /// For each delivered Gbit, s.
    pub cpu_seconds_per_gbit: f64,
    /// Before the first viewer.
    pub before: Usage,
    /// When the figures began.
    pub begin: Usage,
    /// At the end.
    pub end: Usage,
    /// The most there was of each.
    pub most: Usage,
    /// Growth since before the first viewer, for each viewer at the end.
    pub kib_per_viewer: f64,
}

impl Report {
    /// Whether everybody got everything.
    #[must_use]
    pub const fn is_good(&self) -> bool {
        self.failed == 0
            && self.disconnected == 0
            && self.without_key_frame == 0
            && self.publishers.ended == 0
            && !self.checked.is_bad()
    }
}

fn row(f: &mut fmt::Formatter<'_>, name: &str, s: &Summary, unit: &str) -> fmt::Result {
    if s.count == 0 {
        return Ok(());
    }
    writeln!(
        f,
        "{name:<22} p50 {:>9.3}  p90 {:>9.3}  p99 {:>9.3}  max {:>9.3} {unit}",
        s.p50, s.p90, s.p99, s.max
    )
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "viewers                {} asked, {} connected, {} failed, {} disconnected",
            self.viewers, self.connected, self.failed, self.disconnected
        )?;
        if self.without_key_frame > 0 {
            writeln!(f, "no key frame           {}", self.without_key_frame)?;
        }
        for (reason, count) in &self.reasons {
            writeln!(f, "  {count} x {reason}")?;
        }
        writeln!(
            f,
            "delivered              {:.1} Mbit/s over {:.1} s",
            self.mbit_per_second, self.seconds
        )?;
        let each = &self.viewer_mbit_per_second;
        if each.count > 0 {
            writeln!(
                f,
                "each viewer            slowest {:.3}, p50 {:.3}, fastest {:.3} Mbit/s",
                each.min, each.p50, each.max
            )?;
        }
        row(f, "join", &self.join_ms, "ms")?;
        row(f, "first key frame", &self.key_frame_ms, "ms")?;
        row(f, "video late", &self.video_late_ms, "ms")?;
        row(f, "audio late", &self.audio_late_ms, "ms")?;
        row(f, "between pictures", &self.between_pictures_ms, "ms")?;
        let c = &self.checked;
        if c.viewers > 0 {
            writeln!(
                f,
                "checked                {} viewers, {} frames: {} missing in {} gaps, {} out of order, \
                 {} damaged, {} back in time, {} without a stamp",
                c.viewers,
                c.frames,
                c.missing,
                c.gaps,
                c.disordered,
                c.damaged,
                c.backwards,
                c.unstamped
            )?;
        }
        let p = &self.publishers;
        if p.started > 0 {
            writeln!(
                f,
                "publishers             {} started, {} ended, {} frames sent, {} held back",
                p.started, p.ended, p.frames, p.held
            )?;
            row(f, "  sent late", &p.late_ms, "ms")?;
        }
        if let Some(failure) = &p.failure {
            writeln!(f, "  {failure}")?;
        }
        if let Some(s) = &self.server {
            writeln!(
                f,
                "server                 {:.1} % of a core, {:.4} CPU-s per Gbit, {} KiB, {:.2} KiB a viewer, \
                 TCP {} KiB",
                s.cpu_percent,
                s.cpu_seconds_per_gbit,
                s.end.pss_kib,
                s.kib_per_viewer,
                s.end.tcp_kib
            )?;
        }
        writeln!(
            f,
            "this program           {:.1} % of a core",
            self.own_cpu_percent
        )
    }
}
