//! Where a recording is in the log of its stream, and which headers are in force there.

use std::sync::Arc;

use crate::limits::AUDIO_ONLY_AFTER;
use crate::media::{Frame, Kind, Role, Slot};
use crate::relay::{Logged, Tail};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Source {
    /// The number of the entry that comes next.
    next: u64,
    /// Whether the entries from there on are looked at for a place to begin.
    pub(super) awaits: bool,
    headers: Vec<(Slot, Arc<Frame>)>,
    epoch: Option<u64>,
}

/// Whether a file may begin with this frame: a key frame, or sound where there are no pictures.
pub(super) fn may_begin(frame: &Frame, sound_alone: bool) -> bool {
    match (frame.kind, frame.role) {
        (Kind::Video, Role::Key) => true,
        (Kind::Audio, Role::Inter | Role::Key) => sound_alone,
        _ => false,
    }
}

impl Source {
    /// Begins with what the log has of the present epoch, or with its newest key frame.
    pub(super) fn begin(tail: &Tail, newest: bool) -> Self {
        let epoch = tail.logged(0).last().map(|entry| entry.epoch);
        let of_epoch = || tail.logged(0).filter(|entry| Some(entry.epoch) == epoch);
        let keys = || of_epoch().filter(|entry| entry.frame.role == Role::Key);
        let from = match newest {
            true => keys().last().or_else(|| of_epoch().last()),
            false => of_epoch().next(),
        };
        Self {
            next: from.map_or(0, |entry| entry.seq),
            awaits: true,
            headers: Vec::new(),
            epoch,
        }
    }

    /// The headers that are in force.
    pub(super) fn headers(&self) -> Vec<Arc<Frame>> {
        self.headers
            .iter()
            .map(|(_, frame)| Arc::clone(frame))
            .collect()
    }

    /// Whether the epoch has had sound for a while and no picture.
    pub(super) fn sound_alone(&self, tail: &Tail) -> bool {
        let Some(last) = tail.logged(0).last() else {
            return false;
        };
        let mut first = None;
        for entry in tail.logged(0).filter(|entry| entry.epoch == last.epoch) {
            if entry.frame.kind == Kind::Video {
                return false;
            }
            first.get_or_insert(entry.frame.time);
        }
        let pictures = |(_, frame): (u64, &Arc<Frame>)| frame.kind == Kind::Video;
        let time = last.frame.time.saturating_sub(first.unwrap_or_default());
        time >= AUDIO_ONLY_AFTER && !tail.headers().any(pictures)
    }

    /// Goes to where a file may begin, if the log has such a place; the headers are those of there.
    pub(super) fn find(&mut self, tail: &Tail, sound_alone: bool) -> bool {
        let found = tail
            .logged(self.next)
            .find(|entry| may_begin(entry.frame, sound_alone));
        let Some(found) = found else { return false };
        self.headers.clear();
        self.epoch = Some(found.epoch);
        // Those that left the log, then those in it before this place.
        for (seq, frame) in tail.headers().filter(|(seq, _)| *seq < found.seq) {
            let _ = seq;
            self.note(frame);
        }
        for entry in tail.logged(0).take_while(|entry| entry.seq < found.seq) {
            if entry.epoch == found.epoch {
                self.note(entry.frame);
            }
        }
        self.next = found.seq;
        self.awaits = false;
        true
    }

    /// The entries that come next. If some are missing before them, the place is lost: the answer is how
    /// many.
    pub(super) fn missing(&self, tail: &Tail) -> u64 {
        let first = tail.logged(self.next).next();
        first.map_or(0, |entry| entry.seq.saturating_sub(self.next))
    }

    /// The number of the entry that comes next.
    pub(super) const fn at(&self) -> u64 {
        self.next
    }

    /// The entry was taken.
    pub(super) fn took(&mut self, entry: &Logged<'_>) {
        if self.epoch.replace(entry.epoch) != Some(entry.epoch) {
            // What an epoch does not say anew is none of it; the metadata of the file stays.
            self.headers.retain(|(slot, _)| *slot == Slot::Metadata);
        }
        self.note(entry.frame);
        self.next = entry.seq.saturating_add(1);
    }

    fn note(&mut self, frame: &Arc<Frame>) {
        let Role::Header(slot) = frame.role else {
            return;
        };
        self.headers.retain(|(known, _)| *known != slot);
        let at = self.headers.partition_point(|(known, _)| *known < slot);
        self.headers.insert(at, (slot, Arc::clone(frame)));
    }
}
