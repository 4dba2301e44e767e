//! The bounded log of one stream.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::media::{Frame, Kind, Role};

use super::headers::HeaderSet;
use super::{EpochInfo, HubConfig, Segment, millis};

/// The rate of pictures is taken over so many frames,
const RATE_FRAMES: usize = 1024;
/// and over this time, ms, whichever is less;
const RATE_TIME: u64 = 3_000;
/// less than this, ms, is too little to tell.
const RATE_LEAST: u32 = 400;

/// One continuous run of a source, as the log's entries refer to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Epoch {
    pub(super) id: u64,
    pub(super) wall_ms: u64,
}

/// A frame and what a pull is told of it.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) frame: Arc<Frame>,
    pub(super) epoch: Arc<Epoch>,
    /// Ordinal of this key frame, or of the next one.
    pub(super) ordinal: u64,
    /// When it was (Unix, ms): the same on all mirrors, whatever became of its time here.
    pub(super) date: u64,
    /// The segment it belongs to.
    pub(super) segment: Arc<Segment>,
    /// The segment begins with it.
    pub(super) begins: bool,
    /// Another number than before: frames may be missing in between.
    pub(super) run: u64,
}

impl Entry {
    pub(super) fn info(&self) -> EpochInfo {
        EpochInfo {
            id: self.epoch.id,
            // As its time may have been moved here and its date was not.
            wall_ms: self.date.saturating_sub(self.frame.time),
            ordinal: self.ordinal,
            segment: Some(*self.segment),
            run: self.run,
        }
    }
}

/// The newest key frame of the present epoch, and the headers that were current there.
#[derive(Debug, Clone)]
pub(super) struct JoinPoint {
    pub(super) seq: u64,
    pub(super) time: u64,
    /// Time for audio headers: not later than any audio that follows.
    pub(super) audio: u64,
    /// How long the GOP before it was, ms; 0 for the first of an epoch.
    pub(super) gop: u64,
    pub(super) headers: Arc<HeaderSet>,
}

/// How much a log holds: whichever comes first.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) bytes: usize,
    pub(super) frames: usize,
    /// Milliseconds.
    pub(super) time: u64,
}

impl From<&HubConfig> for Bounds {
    fn from(config: &HubConfig) -> Self {
        Self {
            bytes: config.log_bytes,
            frames: config.log_frames,
            time: millis(config.log_time),
        }
    }
}

/// Frames in the order in which they came, numbered without a gap.
#[derive(Debug)]
pub(super) struct Log {
    entries: VecDeque<Entry>,
    /// Number of the oldest entry.
    start: u64,
    /// Payload bytes of all entries.
    bytes: usize,
    bounds: Bounds,
    /// The newest header of each slot in the present epoch.
    pub(super) headers: Arc<HeaderSet>,
    pub(super) join: Option<JoinPoint>,
}

impl Log {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            entries: VecDeque::new(),
            start: 0,
            bytes: 0,
            bounds,
            headers: Arc::default(),
            join: None,
        }
    }

    /// Takes effect with the next frame.
    pub(super) fn set_bounds(&mut self, bounds: Bounds) {
        self.bounds = bounds;
    }

    pub(super) fn start(&self) -> u64 {
        self.start
    }

    /// The number that the next frame gets.
    pub(super) fn end(&self) -> u64 {
        self.start.saturating_add(self.entries.len() as u64)
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Entries from number `seq` on.
    pub(super) fn since(&self, seq: u64) -> impl Iterator<Item = &Entry> {
        let skip = usize::try_from(seq.saturating_sub(self.start)).unwrap_or(usize::MAX);
        self.entries.range(skip.min(self.entries.len())..)
    }

    /// Pictures a second of the newest ones; `None` when there are too few to tell.
    pub(super) fn frame_rate(&self) -> Option<f64> {
        let is_picture = |e: &&Entry| e.frame.kind == Kind::Video && !e.frame.role.is_header();
        let newest = self.entries.iter().rev().take(RATE_FRAMES);
        let mut times = newest.filter(is_picture).map(|e| e.frame.time);
        let last = times.next()?;
        let (mut pictures, mut first) = (0_u32, last);
        for time in times.take_while(|time| last.saturating_sub(*time) <= RATE_TIME) {
            pictures = pictures.saturating_add(1);
            first = first.min(time);
        }
        let span = u32::try_from(last.saturating_sub(first)).ok()?;
        (span >= RATE_LEAST).then(|| f64::from(pictures) * 1000.0 / f64::from(span))
    }

    /// Nothing of the epoch before is offered to a joining viewer any more.
    pub(super) fn begin_epoch(&mut self) {
        self.headers = Arc::default();
        self.join = None;
    }

    /// Appends a frame, keeps it if it is a header or a join point, and drops what is over the
    /// bounds. `audio` is the time for audio headers should this become the join point, `gop` the
    /// length of the GOP that ends here.
    pub(super) fn append(&mut self, entry: Entry, audio: u64, gop: u64) {
        let seq = self.end();
        let frame = &entry.frame;
        match (frame.kind, frame.role) {
            (_, Role::Header(slot)) => Arc::make_mut(&mut self.headers).set(slot, seq, frame),
            (Kind::Video, Role::Key) => {
                self.join = Some(JoinPoint {
                    seq,
                    time: frame.time,
                    audio,
                    gop,
                    headers: Arc::clone(&self.headers),
                });
            }
            _ => {}
        }
        self.bytes = self.bytes.saturating_add(frame.payload.len());
        let newest = frame.time;
        self.entries.push_back(entry);
        self.trim(newest);
    }

    fn trim(&mut self, newest: u64) {
        while let Some(oldest) = self.entries.front() {
            let within = self.bytes <= self.bounds.bytes
                && self.entries.len() <= self.bounds.frames
                && newest.saturating_sub(oldest.frame.time) <= self.bounds.time;
            if within {
                break;
            }
            self.bytes = self.bytes.saturating_sub(oldest.frame.payload.len());
            self.entries.pop_front();
            self.start = self.start.saturating_add(1);
        }
        if self.join.as_ref().is_some_and(|j| j.seq < self.start) {
            self.join = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn entry(role: Role, time: u64, size: usize) -> Entry {
        Entry {
            frame: Arc::new(Frame::new(
                Kind::Video,
                role,
                time,
                Bytes::from(vec![0; size]),
            )),
            epoch: Arc::new(Epoch { id: 1, wall_ms: 0 }),
            ordinal: 0,
            date: time,
            segment: Arc::default(),
            begins: false,
            run: 0,
        }
    }

    fn log() -> Log {
        Log::new(Bounds {
            bytes: 100,
            frames: 10,
            time: 1000,
        })
    }

    #[test]
    fn bounded_by_bytes() {
        let mut log = log();
        log.append(entry(Role::Key, 0, 60), 0, 0);
        log.append(entry(Role::Inter, 1, 40), 0, 0);
        assert_eq!((log.start(), log.end(), log.bytes()), (0, 2, 100));
        assert!(log.join.is_some());
        log.append(entry(Role::Inter, 2, 1), 0, 0);
        assert_eq!((log.start(), log.end(), log.bytes()), (1, 3, 41));
        assert!(log.join.is_none(), "a GOP without its key frame is no GOP");
    }

    #[test]
    fn bounded_by_frames() {
        let mut log = log();
        for time in 0..10 {
            log.append(entry(Role::Inter, time, 0), 0, 0);
        }
        assert_eq!((log.start(), log.end()), (0, 10));
        log.append(entry(Role::Inter, 10, 0), 0, 0);
        assert_eq!((log.start(), log.end()), (1, 11));
        assert_eq!(log.since(0).count(), 10);
        assert_eq!(log.since(10).count(), 1);
        assert_eq!(log.since(11).count(), 0);
        assert_eq!(log.since(u64::MAX).count(), 0);
    }

    #[test]
    fn bounded_by_time() {
        let mut log = log();
        log.append(entry(Role::Inter, 5, 1), 0, 0);
        log.append(entry(Role::Inter, 1005, 1), 0, 0);
        assert_eq!(log.start(), 0);
        log.append(entry(Role::Inter, 1006, 1), 0, 0);
        assert_eq!(log.start(), 1);
    }

    #[test]
    fn a_frame_over_the_bound_leaves_an_empty_log() {
        let mut log = log();
        log.append(entry(Role::Key, 0, 101), 0, 0);
        assert_eq!((log.start(), log.end(), log.bytes()), (1, 1, 0));
        assert!(log.join.is_none());
    }
}
