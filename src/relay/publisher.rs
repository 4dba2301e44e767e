//! The single writer of a stream.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use crate::media::{Frame, FrameParts, Kind};

use super::stream::{wake_all, wake_to_ride};
use super::{Displaced, EpochInfo, Hub, Stream, millis};

/// The right to write a stream. Dropping it is a cut: the stream waits for another one.
pub struct Publisher {
    hub: Arc<Hub>,
    stream: Arc<Stream>,
    token: u64,
    /// When it was made, on both clocks.
    made: (Instant, u64),
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Publisher({})", self.stream.name())
    }
}

impl Publisher {
    pub(super) fn new(
        hub: Arc<Hub>,
        stream: Arc<Stream>,
        token: u64,
        made: (Instant, u64),
    ) -> Self {
        Self {
            hub,
            stream,
            token,
            made,
        }
    }

    /// What it writes.
    #[must_use]
    pub fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }

    /// Appends a frame and wakes the tails that sleep. Video before the epoch's first key frame is
    /// dropped, and so is what a resumed pull repeats.
    ///
    /// # Errors
    /// [`Displaced`]: another publisher has the stream, or it was ended; nothing was written.
    pub fn push(&mut self, parts: FrameParts, now: Instant) -> Result<(), Displaced> {
        self.push_shaped(parts, now, |frame| frame)
    }

    /// The same; the frame is kept as `shape` makes it of one that is new, such as with its payload
    /// within a rendition. It runs under the stream's lock.
    ///
    /// # Errors
    /// As for [`Publisher::push`].
    pub fn push_shaped(
        &mut self,
        parts: FrameParts,
        now: Instant,
        shape: fn(Frame) -> Frame,
    ) -> Result<(), Displaced> {
        let (instant, wall_ms) = self.made;
        let wall_ms = wall_ms.saturating_add(millis(now.saturating_duration_since(instant)));
        let audio = parts.kind == Kind::Audio;
        let (tails, began, rides) = {
            let mut inner = self.stream.lock();
            if inner.owner.as_ref().is_none_or(|o| o.token != self.token) {
                return Err(Displaced);
            }
            let began = inner.push(parts, now, wall_ms, shape);
            let rides = audio && !began && !inner.is_alone(inner.timeline.latest());
            (Arc::clone(&inner.tails), began, rides)
        };
        if rides {
            wake_to_ride(&tails, now);
        } else {
            wake_all(&tails);
        }
        if began {
            self.stream.changes.bump();
        }
        Ok(())
    }

    /// On a pull: what the master told of the frames that follow. Another id begins a new epoch with
    /// the next frame; the same one corrects the count of key frames (the master skipped some).
    ///
    /// # Errors
    /// [`Displaced`], as for [`Publisher::push`].
    pub fn epoch(&mut self, info: EpochInfo) -> Result<(), Displaced> {
        let mut inner = self.stream.lock();
        if inner.owner.as_ref().is_none_or(|o| o.token != self.token) {
            return Err(Displaced);
        }
        inner.announce(info);
        Ok(())
    }

    /// On a pull, before the first push: it goes on on the connection of the publisher before it, so
    /// nothing of the source was lost in between.
    pub fn goes_on(&mut self) {
        let mut inner = self.stream.lock();
        if inner.owner.as_ref().is_some_and(|o| o.token == self.token) {
            inner.goes_on();
        }
    }

    /// Whether it still has the stream: after [`super::Claim::displaced`] was woken.
    #[must_use]
    pub fn is_displaced(&self) -> bool {
        let inner = self.stream.lock();
        inner.owner.as_ref().is_none_or(|o| o.token != self.token)
    }

    /// A clean unpublish: the stream waits [`super::HubConfig::clean_grace`], then it is over.
    pub fn finish(self, now: Instant) {
        self.stream.release(self.token, true, Some(now));
    }

    /// A cut at a known time; dropping it is the same to the second.
    pub fn cut(self, now: Instant) {
        self.stream.release(self.token, false, Some(now));
    }

    /// The stream is over now: a master said so.
    pub fn end(self) {
        if !self.is_displaced() {
            self.hub.remove(&self.stream);
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.stream.release(self.token, false, None);
    }
}
