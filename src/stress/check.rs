//! Frame by frame: is everything there, once, in order, unchanged and in time?

use std::time::{Duration, Instant};

use serde::Serialize;

use super::clock::Clock;
use super::histogram::Histogram;
use super::stamp::Stamp;
use crate::flv;

/// What the checked viewers found, all together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(into = "Told")]
pub struct Findings {
    /// Viewers that are checked, and have had a frame.
    pub viewers: u64,
    /// Frames that came.
    pub frames: u64,
    /// Frames that never came, between two that did.
    pub missing: u64,
    /// Places where frames are missing.
    pub gaps: u64,
    /// Frames that came twice, or after a later one.
    pub disordered: u64,
    /// Frames that are not what was sent.
    pub damaged: u64,
    /// Frames without a stamp; a programme of someone else's has nothing else.
    pub unstamped: u64,
    /// Frames whose time is before that of one of their kind.
    pub backwards: u64,
}

/// [`Findings`] as JSON has them: what nobody could look at is null, as 0 would say that all is well.
#[derive(Serialize)]
struct Told {
    viewers: u64,
    frames: u64,
    missing: Option<u64>,
    gaps: Option<u64>,
    disordered: Option<u64>,
    damaged: Option<u64>,
    unstamped: u64,
    backwards: u64,
}

impl From<Findings> for Told {
    fn from(f: Findings) -> Self {
        let known = |figure| (!f.is_blind()).then_some(figure);
        Self {
            viewers: f.viewers,
            frames: f.frames,
            missing: known(f.missing),
            gaps: known(f.gaps),
            disordered: known(f.disordered),
            damaged: known(f.damaged),
            unstamped: f.unstamped,
            backwards: f.backwards,
        }
    }
}

impl Findings {
    /// Whether frames came, and none had a stamp: loss, order, damage and lateness cannot be told.
    #[must_use]
    pub const fn is_blind(&self) -> bool {
        self.frames > 0 && self.unstamped == self.frames
    }

    /// Whether anything is not as it was sent.
    #[must_use]
    pub const fn is_bad(&self) -> bool {
        self.missing > 0 || self.disordered > 0 || self.damaged > 0 || self.backwards > 0
    }
}

/// Lateness and evenness, µs; counted while the figures are taken.
#[derive(Debug, Default)]
pub(super) struct Timing {
    pub(super) video: Histogram,
    pub(super) audio: Histogram,
    /// Between two pictures.
    pub(super) between: Histogram,
}

/// One checked viewer.
#[derive(Debug, Default)]
pub(super) struct Check {
    expected: Option<u64>,
    audio: Option<u32>,
    video: Option<u32>,
    last_picture: Option<Instant>,
}

impl Check {
    /// Looks at a frame. `since` is when the viewer had its first picture: what was sent before has
    /// been waiting for it, and is not late.
    pub(super) fn frame(
        &mut self,
        frame: (u8, u32, &[u8]),
        (now, since): (Instant, Option<Instant>),
        clock: &Clock,
        (findings, timing): (&mut Findings, Option<&mut Timing>),
    ) {
        let (kind, timestamp, payload) = frame;
        // Headers and metadata are sent again as the server sees fit.
        let media = matches!(
            (kind, payload),
            (flv::VIDEO, [first, second, ..]) if first & 0x80 != 0 || *second != 0
        ) || matches!(
            (kind, payload),
            (flv::AUDIO, [first, second, ..]) if first >> 4 != 10 || *second != 0
        );
        if !media {
            return;
        }
        findings.viewers += u64::from(self.audio.is_none() && self.video.is_none());
        findings.frames += 1;
        let last = if kind == flv::VIDEO {
            &mut self.video
        } else {
            &mut self.audio
        };
        let back = last.is_some_and(|last| timestamp.wrapping_sub(last) > u32::MAX / 2);
        findings.backwards += u64::from(back);
        *last = Some(timestamp);
        let picture = if kind == flv::VIDEO {
            self.last_picture.replace(now)
        } else {
            None
        };
        let mut meters = timing.zip(since);
        if let (Some((timing, _)), Some(before)) = (&mut meters, picture) {
            timing
                .between
                .add(micros(now.saturating_duration_since(before)));
        }
        let Some((stamp, whole)) = Stamp::find(payload) else {
            findings.unstamped += 1;
            return;
        };
        findings.damaged += u64::from(!whole);
        // Some servers send audio at once and video from the next key frame on.
        if since.is_some() {
            self.order(stamp.sequence, findings);
        }
        let Some((timing, since)) = meters else {
            return;
        };
        if stamp.nanos > clock.at(since) {
            let late = clock.at(now).saturating_sub(stamp.nanos) / 1000;
            if kind == flv::VIDEO {
                timing.video.add(late);
            } else {
                timing.audio.add(late);
            }
        }
    }

    fn order(&mut self, sequence: u64, findings: &mut Findings) {
        let next = Some(sequence.wrapping_add(1));
        match self.expected {
            Some(expected) if sequence < expected => {
                // A publisher that begins anew counts from 0.
                if sequence == 0 {
                    self.expected = next;
                } else {
                    findings.disordered += 1;
                }
            }
            Some(expected) => {
                let missing = sequence.saturating_sub(expected);
                findings.missing += missing;
                findings.gaps += u64::from(missing > 0);
                self.expected = next;
            }
            None => self.expected = next,
        }
    }
}

/// Microseconds.
pub(super) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stress::programme::{Programme, Synthetic};

    fn look(order: &[usize], spoil: Option<usize>) -> Findings {
        let programme = Programme::synthetic(&Synthetic {
            bitrate: 300_000,
            fps: 25,
            gop: Duration::from_secs(1),
            audio: 64_000,
        })
        .unwrap();
        let clock = Clock::new();
        let frames: Vec<_> = programme
            .play()
            .take(100)
            .map(|d| (d.kind, d.timestamp(), d.payload(clock.now())))
            .collect();
        let (mut check, mut findings) = (Check::default(), Findings::default());
        for &n in order {
            let (kind, time, payload) = &frames[n];
            let mut payload = payload.to_vec();
            if spoil == Some(n) {
                *payload.last_mut().unwrap() ^= 1;
            }
            let times = (Instant::now(), Some(Instant::now()));
            check.frame(
                (*kind, *time, &payload),
                times,
                &clock,
                (&mut findings, None),
            );
        }
        findings
    }

    #[test]
    fn what_is_whole_passes_from_anywhere() {
        let all: Vec<usize> = (17..100).collect();
        let found = look(&all, None);
        assert!(!found.is_bad());
        assert_eq!((found.viewers, found.frames, found.unstamped), (1, 83, 0));
        // Who had no frame was not checked.
        assert_eq!(look(&[], None).viewers, 0);
    }

    #[test]
    fn without_stamps_only_evenness_is_told() {
        let (clock, now) = (Clock::new(), Instant::now());
        let (mut check, mut findings) = (Check::default(), Findings::default());
        let mut timing = Timing::default();
        for (time, at) in [(0, 0), (40, 40), (80, 90)] {
            let now = now + Duration::from_millis(at);
            let frame = (flv::VIDEO, time, &[0x17_u8, 1, 0, 0, 0, 9][..]);
            let meters = (&mut findings, Some(&mut timing));
            check.frame(frame, (now, Some(now)), &clock, meters);
        }
        assert!(findings.is_blind() && !findings.is_bad());
        assert_eq!(timing.between.summary(1000.0).max, 50.0);
        assert_eq!(timing.video.summary(1000.0).count, 0);
        let json = serde_json::to_value(findings).unwrap();
        assert!(json["missing"].is_null() && json["damaged"].is_null());
        assert_eq!(
            (&json["frames"], &json["backwards"]),
            (&3.into(), &0.into())
        );
        // Who checked nothing, as nobody asked, has nothing to hide.
        let json = serde_json::to_value(Findings::default()).unwrap();
        assert_eq!(json["missing"], 0);
    }

    #[test]
    fn loss_repetition_and_damage_are_found() {
        let mut lost: Vec<usize> = (0..100).collect();
        lost.drain(40..43);
        let found = look(&lost, None);
        assert_eq!((found.missing, found.gaps, found.disordered), (3, 1, 0));
        assert!(found.is_bad());
        assert_eq!(look(&[0, 1, 2, 2, 3], None).disordered, 1);
        let swapped = look(&[10, 12, 11, 13], None);
        assert_eq!((swapped.disordered, swapped.missing), (1, 1));
        assert_eq!(look(&[0, 1, 2], Some(1)).damaged, 1);
        let back: Vec<usize> = (50..60).chain(20..22).collect();
        assert_eq!(look(&back, None).backwards, 2);
    }
}
