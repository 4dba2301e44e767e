//! A viewer's place in a stream.

use std::sync::Arc;
use std::time::Duration;

use crate::limits::MAX_JOIN_GOP;

use super::headers::Prelude;

/// Where a viewer begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JoinMode {
    /// At the newest key frame, when it is at most `max` old; else at the next one. Of a source that
    /// went, when its last frame came at most `max` ago.
    Gop {
        /// The longest cached GOP that is sent.
        max: Duration,
    },
    /// At the next key frame.
    Keyframe,
}

impl Default for JoinMode {
    fn default() -> Self {
        Self::Gop { max: MAX_JOIN_GOP }
    }
}

/// A viewer's place; [`super::Tail::join`] makes it, and it belongs to that stream's tails.
#[derive(Debug, Clone)]
pub struct Cursor {
    /// Number of the next frame of the log.
    pub(super) pos: u64,
    /// Waits for a join point that is at this number or later.
    pub(super) awaits: Option<u64>,
    /// Never sent a frame of the log.
    pub(super) new: bool,
    /// What is there is of a source that went, and not for it: it joins behind something that is new.
    pub(super) afresh: bool,
    pub(super) prelude: Option<Place>,
    /// The newest notice it has had.
    pub(super) notices: u64,
    /// The notice that is current.
    pub(super) showing: Option<u64>,
    pub(super) skipped: u64,
    pub(super) jumps: u64,
}

/// A place in a prelude.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) prelude: Arc<Prelude>,
    pub(super) index: usize,
    /// Headers numbered lower are known.
    pub(super) known: u64,
}

impl Place {
    /// The first header of a prelude that is not known.
    pub(super) fn first(prelude: &Arc<Prelude>, known: u64) -> Option<Self> {
        Self {
            prelude: Arc::clone(prelude),
            index: 0,
            known,
        }
        .or_next()
    }

    /// This one, or the next that is not known.
    fn or_next(mut self) -> Option<Self> {
        let rest = self.prelude.items.get(self.index..)?;
        let ahead = rest.iter().position(|(seq, _)| *seq >= self.known)?;
        self.index = self.index.saturating_add(ahead);
        Some(self)
    }

    fn next(mut self) -> Option<Self> {
        self.index = self.index.saturating_add(1);
        self.or_next()
    }
}

impl Cursor {
    /// Steps over the frame that is current: to be called once for each frame that
    /// [`super::Tail::current`] or [`super::Tail::upcoming`] gave and that was sent, or whose bytes
    /// the viewer holds for sending.
    pub fn advance(&mut self) {
        if let Some(notice) = self.showing.take() {
            self.notices = notice;
        } else if let Some(place) = self.prelude.take() {
            self.prelude = place.next();
        } else if self.awaits.is_none() {
            self.pos = self.pos.saturating_add(1);
        }
    }

    /// Whether it waits for a key frame: it has never had a frame, or fell out of the log.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.awaits.is_some()
    }

    /// Frames skipped so far.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Goes up whenever the frames are not the continuation of those before: at the join and at each
    /// skip. A pull tells its epoch anew then.
    #[must_use]
    pub fn jumps(&self) -> u64 {
        self.jumps
    }
}
