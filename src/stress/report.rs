//! What came out of a run, for people and for programs.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::check::Findings;
use super::histogram::Summary;
use super::usage::Usage;

/// Viewers that read in the same way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Crowd {
    /// Viewers that tried.
    pub asked: usize,
    /// Viewers that got media.
    pub connected: usize,
    /// Viewers that never did.
    pub failed: usize,
    /// Viewers that had it and lost their connection.
    pub disconnected: usize,
    /// Viewers that had media, and no key frame.
    pub without_key_frame: usize,
}

impl Crowd {
    /// Both together.
    #[must_use]
    pub const fn and(&self, more: &Self) -> Self {
        Self {
            asked: self.asked.saturating_add(more.asked),
            connected: self.connected.saturating_add(more.connected),
            failed: self.failed.saturating_add(more.failed),
            disconnected: self.disconnected.saturating_add(more.disconnected),
            without_key_frame: self
                .without_key_frame
                .saturating_add(more.without_key_frame),
        }
    }
}

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
    /// Viewers that had media, and no key frame.
    pub without_key_frame: usize,
    /// Of the viewers those that read slowly.
    pub slow: Crowd,
    /// Of the viewers those that stop reading.
    pub stalled: Crowd,
    /// Viewers at full speed that got nothing for long while the figures were taken.
    pub starved: usize,
    /// The longest time of that, s; 0 when there was none.
    pub longest_silence_s: f64,
    /// Why the run ended before its time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_early: Option<String>,
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
    /// From the publisher to a checked viewer, pictures; none where no frame has a stamp.
    pub video_late_ms: Option<Summary>,
    /// From the publisher to a checked viewer, audio; none where no frame has a stamp.
    pub audio_late_ms: Option<Summary>,
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
    pub fn is_good(&self) -> bool {
        self.faults().is_empty()
    }

    /// What was not as it should be. That a slow or a stalled viewer is closed is none of it: it is what such viewers
    /// are there for.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let dropped = self.disconnected - self.odd().disconnected.min(self.disconnected);
        let mut faults = Vec::new();
        let mut say = |count: usize, what: &str| {
            if count > 0 {
                faults.push(format!("{count} of {} viewers {what}", self.viewers));
            }
        };
        say(self.failed, "got no media");
        say(self.without_key_frame, "got no key frame");
        say(dropped, "lost their connection");
        if self.starved > 0 {
            say(
                self.starved,
                &format!("got nothing for up to {:.1} s", self.longest_silence_s),
            );
        } else if self.seconds > 0.0
            && self.viewers > self.odd().asked
            && self.mbit_per_second <= 0.0
        {
            faults.push("nothing was delivered".to_owned());
        }
        if self.publishers.ended > 0 {
            faults.push(format!("{} publishers ended early", self.publishers.ended));
        }
        let c = &self.checked;
        for (count, what) in [
            (c.missing, "missing"),
            (c.disordered, "out of order"),
            (c.damaged, "damaged"),
            (c.backwards, "back in time"),
        ] {
            if count > 0 {
                faults.push(format!("{count} frames are {what}"));
            }
        }
        faults
    }

    /// Viewers that do not read at full speed.
    const fn odd(&self) -> Crowd {
        self.slow.and(&self.stalled)
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

/// How many there were, those that do not read as they should apart.
fn crowds(f: &mut fmt::Formatter<'_>, report: &Report) -> fmt::Result {
    let odd = report.odd();
    let full = Crowd {
        asked: report.viewers.saturating_sub(odd.asked),
        connected: report.connected.saturating_sub(odd.connected),
        failed: report.failed.saturating_sub(odd.failed),
        disconnected: report.disconnected.saturating_sub(odd.disconnected),
        without_key_frame: 0,
    };
    for (name, crowd) in [
        ("viewers", &full),
        ("slow viewers", &report.slow),
        ("stalled viewers", &report.stalled),
    ] {
        if crowd.asked > 0 || name == "viewers" {
            writeln!(
                f,
                "{name:<22} {} asked, {} connected, {} failed, {} disconnected",
                crowd.asked, crowd.connected, crowd.failed, crowd.disconnected
            )?;
        }
    }
    if report.without_key_frame > 0 {
        writeln!(f, "no key frame           {}", report.without_key_frame)?;
    }
    if report.starved > 0 {
        writeln!(
            f,
            "starved                {} viewers got nothing for a while, up to {:.1} s",
            report.starved, report.longest_silence_s
        )?;
    }
    Ok(())
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(why) = &self.ended_early {
            writeln!(f, "ended early            {why}")?;
        }
        crowds(f, self)?;
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
        for (name, late) in [
            ("video late", &self.video_late_ms),
            ("audio late", &self.audio_late_ms),
        ] {
            if let Some(late) = late {
                row(f, name, late, "ms")?;
            }
        }
        row(f, "between pictures", &self.between_pictures_ms, "ms")?;
        let c = &self.checked;
        if c.is_blind() {
            writeln!(
                f,
                "checked                {} viewers, {} frames: {} back in time; what is missing, out of order, \
                 damaged or late cannot be told, as the frames carry no stamp: publish with --publishers for that",
                c.viewers, c.frames, c.backwards
            )?;
        } else if c.viewers > 0 {
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
            "this program           {:.1} % of a core, left its viewers waiting up to {:.1} ms",
            self.own_cpu_percent, self.own_pause_ms.max
        )
    }
}
