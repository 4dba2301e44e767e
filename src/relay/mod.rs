//! Streams: one writer, a bounded log of frames, many cursors.
//!
//! ```text
//! Publisher --push--> Stream (log under a lock) --refresh--> Tail (one per shard) <--- Cursor (one per viewer)
//! ```
//!
//! A [`Hub`] holds the streams. [`Hub::publish`] gives the single [`Publisher`] of a stream; it maps
//! wire timestamps to the stream's timeline, which never goes back, and appends to the log. A shard
//! that has viewers of a stream keeps one [`Tail`], a copy of the log (of references, not of bytes)
//! that is brought up to date once a wake-up. A viewer is a [`Cursor`] into that copy: reading takes
//! no lock, no allocation and no reference count.
//!
//! An *epoch* is one continuous run of a source. The log lives through epochs; a join never mixes
//! the headers of one with the frames of another.
//!
//! Pure: the time is an argument, random numbers too, and whoever must be woken hands in a [`Wake`].

mod cursor;
mod headers;
mod hub;
mod inner;
mod log;
mod publisher;
mod segments;
mod stats;
mod stream;
mod tail;
mod takeover;
#[cfg(test)]
mod tests;
mod timeline;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub use cursor::{Cursor, JoinMode};
pub use hub::{Hub, Watch};
pub use publisher::Publisher;
pub use stats::{Protocol, StreamInfo, Viewers, Viewing};
pub use stream::Stream;
pub use tail::{Change, Logged, Next, Tail, Upcoming};
pub use takeover::Takeover;

use crate::limits;

/// A shard's or a driver's notifier. It is called from whatever thread moved the stream: it must be
/// cheap, must not block, and one call may stand for many changes.
pub trait Wake: Send + Sync {
    /// Something changed; look again.
    fn wake(&self);
}

/// Nobody to wake: for claims and watches whose owner looks by himself.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoWake;

impl Wake for NoWake {
    fn wake(&self) {}
}

/// How streams are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HubConfig {
    /// Payload bytes in the log of one stream.
    pub log_bytes: usize,
    /// Time between the oldest and the newest frame of a log.
    pub log_time: Duration,
    /// Frames in the log of one stream.
    pub log_frames: usize,
    /// How long a stream whose source was cut waits; `None` is for ever (a mirror).
    pub grace: Option<Duration>,
    /// How long a stream waits after a clean unpublish.
    pub clean_grace: Duration,
    /// When a second publisher wins.
    pub takeover: Takeover,
    /// A publisher that sent no media for this long counts as silent.
    pub silent_after: Duration,
    /// Streams at once, waiting ones included.
    pub max_streams: usize,
    /// How long a segment of an epoch is to be that has no source to say so; see [`Segment`].
    pub segment: Duration,
}

impl Default for HubConfig {
    fn default() -> Self {
        Self {
            log_bytes: limits::LOG_BYTES,
            log_time: limits::LOG_TIME,
            log_frames: limits::LOG_FRAMES,
            grace: Some(limits::GRACE),
            clean_grace: limits::GRACE,
            takeover: Takeover::Silent,
            silent_after: limits::SILENT_AFTER,
            max_streams: limits::Limits::default().max_streams,
            segment: limits::SEGMENT,
        }
    }
}

/// What a master tells of an epoch, on a pull alone; mirrors of one master have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EpochInfo {
    /// Random, made by whoever took the publisher.
    pub id: u64,
    /// Wall-clock time (Unix, ms) of time 0 of the timeline the frames are sent with: a frame's date
    /// is `wall_ms + frame.time`, on the master and on every mirror.
    pub wall_ms: u64,
    /// Number of the key frame this is told of or, between two, of the next one; the first of an
    /// epoch is 0.
    pub ordinal: u64,
    /// Where it is in the segments; `None` when the source does not tell.
    pub segment: Option<Segment>,
    /// Another number than before: frames may be missing in between. Each server counts for itself.
    pub run: u64,
}

/// One of the stretches that a stream is cut into for packagers, as of one of its frames. Mirrors of
/// one master have the same: it is told on a pull.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Segment {
    /// Goes up by one with each segment of the stream, also over epochs; 0 before the first.
    pub number: u64,
    /// Goes up by one with each epoch that has a segment; 0 before the first.
    pub discontinuity: u64,
    /// Date (Unix, ms) of its first frame; `None` when the epoch has had no segment yet, and the
    /// numbers are those of the last one before.
    pub begun: Option<u64>,
    /// The longest segment of the stream so far, ms, those that an epoch's end cut short apart.
    pub longest: u64,
    /// How long a segment is to be at least, ms.
    pub target: u64,
}

/// What a publisher says of itself when it asks for a stream.
#[derive(Clone)]
pub struct Claim {
    /// The user it logged in as; `None` without credentials.
    pub identity: Option<String>,
    /// Where it comes from, for people (an address, the URL of a pull).
    pub source: String,
    /// Woken when another publisher took the stream: the next push fails then.
    pub displaced: Arc<dyn Wake>,
    /// A random number, the id of the epoch when `epoch` does not give one.
    pub id: u64,
    /// Given by a master on a pull. With the id of the stream's present epoch the publisher resumes
    /// it: what the stream already has is dropped instead of repeated.
    pub epoch: Option<EpochInfo>,
}

#[cfg(test)]
impl Claim {
    /// Of somebody in a test, whom nobody displaces.
    pub(crate) fn of_a_test(id: u64) -> Self {
        Self {
            identity: None,
            source: "test".to_owned(),
            displaced: Arc::new(NoWake),
            id,
            epoch: None,
        }
    }
}

/// Whether a stream has a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It has a publisher.
    Live,
    /// Its publisher went; viewers stay.
    Waiting {
        /// When it went (for a publisher that was merely dropped: to the second).
        since: Instant,
    },
    /// It is over and no longer in the hub. A later publisher makes a new stream of the same name.
    Ended,
}

/// Why a publisher does not get a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// It has a publisher that this one may not displace.
    #[error("the stream has a publisher")]
    Busy,
    /// [`HubConfig::max_streams`].
    #[error("too many streams")]
    TooManyStreams,
}

impl PublishError {
    /// Its code in the log, and what is to be said of it there and to the peer.
    #[must_use]
    pub const fn reason(self) -> (&'static str, &'static str) {
        match self {
            Self::Busy => ("busy", "it has a publisher already"),
            Self::TooManyStreams => ("too-many-streams", "limits.max_streams is reached"),
        }
    }
}

/// Another publisher took the stream, or the stream was ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the stream has another publisher or was ended")]
pub struct Displaced;

/// Locks; a panic of another holder left nothing half-done that the next push would not mend.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Milliseconds, saturating.
#[must_use]
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
