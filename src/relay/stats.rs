//! Figures of a stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crate::media::{FourCc, FrameParts, Kind, StreamName};

use super::{EpochInfo, State, Stream};

/// How a viewer watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// An RTMP player.
    Rtmp = 0,
    /// An HTTP-FLV player.
    Flv = 1,
    /// Another server's pull.
    Mirror = 2,
    /// An HLS player.
    Hls = 3,
}

/// Viewers of a stream by protocol; the drivers keep it with [`Stream::viewing`].
#[derive(Debug, Default)]
pub struct Viewers {
    counts: [AtomicUsize; 4],
}

impl Viewers {
    /// Viewers over one protocol.
    #[must_use]
    pub fn count(&self, protocol: Protocol) -> usize {
        self.counts
            .get(protocol as usize)
            .map_or(0, |n| n.load(Ordering::Relaxed))
    }

    /// Viewers in all.
    #[must_use]
    pub fn total(&self) -> usize {
        self.counts.iter().map(|n| n.load(Ordering::Relaxed)).sum()
    }
}

/// Counts one viewer for as long as it is kept.
#[derive(Debug)]
pub struct Viewing {
    stream: Arc<Stream>,
    protocol: Protocol,
}

impl Viewing {
    pub(super) fn new(stream: Arc<Stream>, protocol: Protocol) -> Self {
        if let Some(n) = stream.viewers().counts.get(protocol as usize) {
            n.fetch_add(1, Ordering::Relaxed);
        }
        Self { stream, protocol }
    }
}

impl Drop for Viewing {
    fn drop(&mut self) {
        if let Some(n) = self.stream.viewers().counts.get(self.protocol as usize) {
            n.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// A stream at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamInfo {
    /// Its name.
    pub name: StreamName,
    /// Whether it has a source.
    pub state: State,
    /// When its present or last publisher came.
    pub since: Instant,
    /// [`super::Claim::source`] of its present or last publisher.
    pub source: String,
    /// [`super::Claim::identity`] of its present or last publisher.
    pub identity: Option<String>,
    /// Frames that its publishers sent.
    pub frames: u64,
    /// Payload bytes that its publishers sent.
    pub bytes: u64,
    /// Video frames dropped because no key frame of their epoch had come.
    pub dropped: u64,
    /// Frames that a resumed pull repeated.
    pub repeated: u64,
    /// Frames that viewers skipped, all viewers together.
    pub skipped: u64,
    /// Payload of the last seconds.
    pub kbit_per_second: u64,
    /// Newest video codec.
    pub video: Option<FourCc>,
    /// Newest audio codec.
    pub audio: Option<FourCc>,
    /// The last audio or video.
    pub last_media: Option<Instant>,
    /// The present epoch with the ordinal of the next key frame; `None` before the first frame.
    pub epoch: Option<EpochInfo>,
    /// Epochs so far.
    pub epochs: u64,
    /// RTMP players.
    pub rtmp_viewers: usize,
    /// HTTP-FLV players.
    pub flv_viewers: usize,
    /// Pulls of other servers.
    pub mirror_viewers: usize,
    /// HLS players.
    pub hls_viewers: usize,
}

/// What arrived.
#[derive(Debug)]
pub(super) struct Stats {
    pub(super) frames: u64,
    pub(super) bytes: u64,
    pub(super) dropped: u64,
    pub(super) repeated: u64,
    pub(super) video: Option<FourCc>,
    pub(super) audio: Option<FourCc>,
    pub(super) last_media: Option<Instant>,
    rate: Rate,
}

impl Stats {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            frames: 0,
            bytes: 0,
            dropped: 0,
            repeated: 0,
            video: None,
            audio: None,
            last_media: None,
            rate: Rate::new(now),
        }
    }

    pub(super) fn count(&mut self, parts: &FrameParts, now: Instant) {
        let bytes = parts.payload.len() as u64;
        self.frames = self.frames.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
        self.rate.add(bytes, now);
        match parts.kind {
            Kind::Video => self.video = parts.codec.or(self.video),
            Kind::Audio => self.audio = parts.codec.or(self.audio),
            Kind::Data | Kind::Notice => return,
        }
        self.last_media = Some(now);
    }

    pub(super) fn kbit_per_second(&self, now: Instant) -> u64 {
        self.rate.kbit_per_second(now)
    }
}

/// Whole seconds that the rate is taken over.
const WINDOW: u64 = 5;
/// Slots of a second: the window, the present second, and one more.
const SLOTS: usize = 7;

/// Bytes by the second, of the last seconds.
#[derive(Debug)]
struct Rate {
    begin: Instant,
    /// Each slot's second and its bytes.
    slots: [(u64, u64); SLOTS],
}

impl Rate {
    fn new(begin: Instant) -> Self {
        Self {
            begin,
            slots: [(0, 0); SLOTS],
        }
    }

    fn second(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.begin).as_secs()
    }

    fn add(&mut self, bytes: u64, now: Instant) {
        let second = self.second(now);
        let at = usize::try_from(second).unwrap_or(0) % SLOTS;
        if let Some(slot) = self.slots.get_mut(at) {
            if slot.0 != second {
                *slot = (second, 0);
            }
            slot.1 = slot.1.saturating_add(bytes);
        }
    }

    /// Over the last whole seconds, fewer when there were fewer.
    fn kbit_per_second(&self, now: Instant) -> u64 {
        let second = self.second(now);
        let seconds = second.clamp(1, WINDOW);
        let bytes: u64 = self
            .slots
            .iter()
            .filter(|(at, _)| *at < second.max(1) && at.saturating_add(WINDOW) >= second)
            .map(|(_, bytes)| *bytes)
            .sum();
        bytes.saturating_mul(8) / 1000 / seconds
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_rate_is_of_the_last_whole_seconds() {
        let begin = Instant::now();
        let at = |ms| begin + Duration::from_millis(ms);
        let mut rate = Rate::new(begin);
        assert_eq!(rate.kbit_per_second(begin), 0);
        for tenth in 0..100 {
            rate.add(12_500, at(tenth * 100));
            if tenth >= 10 {
                assert_eq!(rate.kbit_per_second(at(tenth * 100)), 1000, "at {tenth}");
            }
        }
        assert_eq!(rate.kbit_per_second(at(12_000)), 600);
        assert_eq!(rate.kbit_per_second(at(15_000)), 0);
        assert_eq!(rate.kbit_per_second(at(1_000_000)), 0);
    }
}
