//! The figures of a run: while it goes on, and at its end.

use std::io::{self, Write};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::check::micros;
use super::histogram::{Histogram, as_f64};
use super::load::Load;
use super::publisher::Published;
use super::report::{Crowd, Publishing, Report, Server};
use super::usage::{Usage, own_cpu};
use super::viewer::{Pace, Viewer};

/// A viewer that gets nothing for this long while the figures are taken is starved: servers merge up to 350 ms, and the
/// rarest pictures come once a second.
const MOST_SILENCE: Duration = Duration::from_secs(2);
/// What is measured for less than that is no shorter than this.
const LEAST_SILENCE: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(super) struct Usages {
    pub(super) before: Usage,
    begin: Usage,
    most: Usage,
}

/// When the figures began.
pub(super) struct Window {
    pub(super) begin: Instant,
    own_cpu: Duration,
    /// Bytes of each viewer.
    received: Vec<u64>,
    total: u64,
}

impl Load<'_> {
    pub(super) fn open_window(&mut self, now: Instant) -> Window {
        self.usage.begin = Usage::of(&self.options.pids);
        self.shared.measuring = true;
        let received: Vec<u64> = self
            .viewers
            .iter()
            .map(|v| v.as_ref().map_or(0, |v| v.received))
            .collect();
        Window {
            begin: now,
            own_cpu: own_cpu(),
            total: received
                .iter()
                .sum::<u64>()
                .saturating_add(self.ended.bytes),
            received,
        }
    }

    fn received(&self) -> u64 {
        let now: u64 = self.viewers.iter().flatten().map(|v| v.received).sum();
        now.saturating_add(self.ended.bytes)
    }

    pub(super) fn progress(&mut self, start: Instant, since: Duration, bytes: &mut u64) {
        let usage = Usage::of(&self.options.pids);
        let most = &mut self.usage.most;
        most.pss_kib = most.pss_kib.max(usage.pss_kib);
        most.tcp_kib = most.tcp_kib.max(usage.tcp_kib);
        let all = self.received();
        let rate = megabits(all.saturating_sub(*bytes), since);
        *bytes = all;
        let with_picture = self.viewers.iter().flatten().filter(|v| v.key.is_some());
        let all_ended = self
            .ended
            .full
            .and(&self.ended.slow)
            .and(&self.ended.stalled);
        let text = format!(
            "{:>4} s  {} of {} viewers watch, {} failed, {} disconnected, {rate:.1} Mbit/s{}{}",
            start.elapsed().as_secs(),
            with_picture.count(),
            self.options.viewers,
            all_ended.failed,
            all_ended.disconnected,
            if self.starved.viewers > 0 {
                format!(", {} got nothing for a while", self.starved.viewers)
            } else {
                String::new()
            },
            if self.shared.measuring {
                ", measuring"
            } else {
                ""
            },
        );
        let mut out = io::stderr().lock();
        // Nobody may be there to read it.
        let _ = if self.options.terminal {
            write!(out, "\r\x1b[K{text}").and_then(|()| out.flush())
        } else {
            writeln!(out, "{text}")
        };
    }

    pub(super) fn report(
        &mut self,
        window: &Window,
        now: Instant,
        early: Option<String>,
    ) -> Report {
        let time = now.saturating_duration_since(window.begin);
        let own = own_cpu().saturating_sub(window.own_cpu);
        let end = Usage::of(&self.options.pids);
        let bytes = self.received().saturating_sub(window.total);
        let mut each = Histogram::default();
        for (viewer, before) in self.viewers.iter().zip(&window.received) {
            if let Some(viewer) = viewer.as_ref().filter(|v| v.pace() == Pace::Full) {
                let bits = viewer.received.saturating_sub(*before).saturating_mul(8);
                let micros = micros(time).max(1);
                let rate = u128::from(bits) * 1_000_000 / u128::from(micros);
                if !time.is_zero() {
                    each.add(u64::try_from(rate).unwrap_or(u64::MAX));
                }
            }
        }
        self.look_for_starved(window.begin, now);
        let (full, slow, stalled) = self.crowds(early.is_none());
        let all = full.and(&slow).and(&stalled);
        let blind = self.shared.findings.is_blind();
        let living = || self.viewers.iter().flatten();
        let (ms, seconds) = (1000.0, time.as_secs_f64().max(1e-6));
        let late = |histogram: &Histogram| (!blind).then(|| histogram.summary(ms));
        let gbit = as_f64(bytes) * 8.0 / 1e9;
        let alive = living().filter(|v| v.key.is_some()).count();
        let server = (!self.options.pids.is_empty()).then(|| {
            let cpu = end.cpu.saturating_sub(self.usage.begin.cpu).as_secs_f64();
            let grown = as_f64(end.pss_kib) - as_f64(self.usage.before.pss_kib);
            Server {
                cpu_seconds: cpu,
                cpu_percent: 100.0 * cpu / seconds,
                cpu_seconds_per_gbit: if gbit > 0.0 { cpu / gbit } else { 0.0 },
                before: self.usage.before,
                begin: self.usage.begin,
                end,
                most: Usage {
                    pss_kib: self.usage.most.pss_kib.max(end.pss_kib),
                    tcp_kib: self.usage.most.tcp_kib.max(end.tcp_kib),
                    cpu: Duration::ZERO,
                },
                kib_per_viewer: grown / as_f64(alive.max(1) as u64),
            }
        });
        Report {
            viewers: self.options.viewers,
            connected: all.connected,
            failed: all.failed,
            disconnected: all.disconnected,
            without_key_frame: all.without_key_frame,
            slow,
            stalled,
            starved: self.starved.viewers,
            longest_silence_s: self.starved.longest.as_secs_f64(),
            ended_early: early,
            reasons: self.reasons.clone(),
            seconds: time.as_secs_f64(),
            mbit_per_second: megabits(bytes, time),
            viewer_mbit_per_second: each.summary(1e6),
            join_ms: self.join.summary(ms),
            key_frame_ms: self.key.summary(ms),
            video_late_ms: late(&self.shared.timing.video),
            audio_late_ms: late(&self.shared.timing.audio),
            between_pictures_ms: self.shared.timing.between.summary(ms),
            checked: self.shared.findings,
            publishers: self
                .published
                .as_deref()
                .map(publishing)
                .unwrap_or_default(),
            own_cpu_percent: 100.0 * own.as_secs_f64() / seconds,
            own_pause_ms: self.pauses.summary(ms),
            server,
        }
    }

    /// Counts who reads and gets nothing; to be asked often while the figures are taken.
    pub(super) fn look_for_starved(&mut self, begin: Instant, now: Instant) {
        let patience = self.options.duration.clamp(LEAST_SILENCE, MOST_SILENCE);
        let reads = |v: &&mut Viewer| v.pace() == Pace::Full && v.key.is_some();
        for viewer in self.viewers.iter_mut().flatten().filter(reads) {
            let silence = viewer.silence(begin, now);
            if silence < patience {
                continue;
            }
            self.starved.longest = self.starved.longest.max(silence);
            if !std::mem::replace(&mut viewer.starved, true) {
                self.starved.viewers += 1;
            }
        }
    }

    /// All viewers by how they read. Whoever has no media at the end of a run has `failed`; of one that was cut short
    /// nobody knows.
    fn crowds(&self, whole: bool) -> (Crowd, Crowd, Crowd) {
        let count = |ended: &Crowd, is: fn(Pace) -> bool| {
            let mut crowd = *ended;
            for viewer in self.viewers.iter().flatten().filter(|v| is(v.pace())) {
                let (first, key) = (viewer.first.is_some(), viewer.key.is_some());
                crowd.connected += usize::from(first);
                crowd.failed += usize::from(whole && !first);
                crowd.without_key_frame += usize::from(whole && first && !key);
            }
            crowd
        };
        (
            count(&self.ended.full, |pace| pace == Pace::Full),
            count(&self.ended.slow, |pace| matches!(pace, Pace::Slow(_))),
            count(&self.ended.stalled, |pace| pace == Pace::Stalled),
        )
    }
}

pub(super) fn failure_of(published: &Published) -> Option<String> {
    published
        .failure
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone()
}

fn publishing(published: &Published) -> Publishing {
    Publishing {
        started: published.started.load(Ordering::Relaxed),
        ended: published.ended.load(Ordering::Relaxed),
        failure: failure_of(published),
        frames: published.frames.load(Ordering::Relaxed),
        held: published.held.load(Ordering::Relaxed),
        late_ms: published
            .late
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .summary(1000.0),
    }
}

fn megabits(bytes: u64, time: Duration) -> f64 {
    as_f64(bytes) * 8.0 / 1e6 / time.as_secs_f64().max(1e-6)
}
