//! The newest segments of a stream: those that the playlist names, and some that it no longer does.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Init, Name, Segment};

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Segments that the playlist names.
    pub listed: usize,
    /// Segments that are kept behind it, for players that read the playlist a while ago.
    pub grace: usize,
    /// Bytes of all of them; the newest is kept whatever it has.
    pub bytes: usize,
}

/// Segments in the order of their numbers, the newest last.
#[derive(Debug)]
pub struct Window {
    bounds: Bounds,
    segments: VecDeque<Arc<Segment>>,
    bytes: usize,
}

impl Window {
    /// An empty one.
    #[must_use]
    pub const fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            segments: VecDeque::new(),
            bytes: 0,
        }
    }

    /// Adds the newest segment and drops what is over the bounds. One whose number is not higher than
    /// all before it is of another count (the clock of a master went back): those before it go.
    pub fn push(&mut self, segment: Arc<Segment>) {
        if self.newest().is_some_and(|n| n.number >= segment.number) {
            self.segments.clear();
            self.bytes = 0;
        }
        self.bytes = self.bytes.saturating_add(segment.bytes.len());
        self.segments.push_back(segment);
        let most = self.bounds.listed.saturating_add(self.bounds.grace).max(1);
        while self.segments.len() > 1
            && (self.segments.len() > most || self.bytes > self.bounds.bytes)
        {
            if let Some(gone) = self.segments.pop_front() {
                self.bytes = self.bytes.saturating_sub(gone.bytes.len());
            }
        }
    }

    /// What the playlist names: the newest ones, without a number missing between them.
    #[must_use]
    pub fn listed(&self) -> Vec<Arc<Segment>> {
        let mut list: Vec<Arc<Segment>> = Vec::with_capacity(self.bounds.listed);
        for segment in self.segments.iter().rev().take(self.bounds.listed.max(1)) {
            let follows = |next: &Arc<Segment>| {
                let step = next.discontinuity.saturating_sub(segment.discontinuity);
                next.number == segment.number.saturating_add(1) && step <= 1
            };
            if list.last().is_some_and(|next| !follows(next)) {
                break;
            }
            list.push(Arc::clone(segment));
        }
        list.reverse();
        list
    }

    /// The newest segment.
    #[must_use]
    pub fn newest(&self) -> Option<&Arc<Segment>> {
        self.segments.back()
    }

    /// A segment by its name.
    #[must_use]
    pub fn segment(&self, name: Name) -> Option<&Arc<Segment>> {
        self.segments.iter().rev().find(|s| s.name() == name)
    }

    /// The initialization segment of a segment that is kept.
    #[must_use]
    pub fn init(&self, name: Name) -> Option<&Arc<Init>> {
        let inits = self.segments.iter().rev().map(|s| &s.init);
        inits.into_iter().find(|init| init.name == name)
    }

    /// Segments that are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.segments.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Bytes of the segments that are kept.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }
}
