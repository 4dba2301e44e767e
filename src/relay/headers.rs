//! The newest header of each slot, and the prelude a joining viewer gets made from them.

use std::sync::Arc;

use crate::limits::{MAX_CACHED_HEADER, MAX_TRACKS};
use crate::media::{Frame, Kind, Slot};

/// One cached header.
#[derive(Debug, Clone)]
pub(super) struct Header {
    pub(super) slot: Slot,
    /// Its sequence number in the log: who read past it has it.
    pub(super) seq: u64,
    pub(super) frame: Arc<Frame>,
}

/// Headers in the order of their slots. Shared between the log and its join point; copied only when
/// one changes.
#[derive(Debug, Clone, Default)]
pub(super) struct HeaderSet {
    items: Vec<Header>,
}

impl HeaderSet {
    /// Takes a header as the newest of its slot. One that is too large, or of one track too many, is
    /// not kept, and neither is the one that it replaced.
    pub(super) fn set(&mut self, slot: Slot, seq: u64, frame: &Arc<Frame>) {
        self.items.retain(|h| h.slot != slot);
        let same = |h: &&Header| std::mem::discriminant(&h.slot) == std::mem::discriminant(&slot);
        if frame.payload.len() > MAX_CACHED_HEADER
            || self.items.iter().filter(same).count() >= MAX_TRACKS
        {
            return;
        }
        let at = self.items.partition_point(|h| h.slot < slot);
        self.items.insert(
            at,
            Header {
                slot,
                seq,
                frame: Arc::clone(frame),
            },
        );
    }

    /// Whether the slot holds just these bytes.
    pub(super) fn has(&self, slot: Slot, payload: &[u8]) -> bool {
        self.items
            .iter()
            .any(|h| h.slot == slot && h.frame.payload == payload)
    }

    /// Each with its number in the log.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Arc<Frame>)> {
        self.items.iter().map(|h| (h.seq, &h.frame))
    }

    /// The headers at the time of a join point: `time` for metadata and video, `audio` for audio,
    /// which may be a little behind.
    pub(super) fn prelude(&self, time: u64, audio: u64) -> Prelude {
        let at = |h: &Header| {
            let time = if h.frame.kind == Kind::Audio {
                audio
            } else {
                time
            };
            (h.seq, Arc::new(h.frame.at(time)))
        };
        Prelude {
            items: self.items.iter().map(at).collect(),
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }
}

/// The headers of one join point at its time, made once for all who join there.
#[derive(Debug)]
pub(super) struct Prelude {
    /// Each with the sequence number of the header it repeats.
    pub(super) items: Vec<(u64, Arc<Frame>)>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::Role;
    use bytes::Bytes;

    fn frame(slot: Slot, size: usize) -> Arc<Frame> {
        Arc::new(Frame::new(
            Kind::Video,
            Role::Header(slot),
            7,
            Bytes::from(vec![0; size]),
        ))
    }

    #[test]
    fn a_header_too_large_is_not_kept_nor_what_it_replaced() {
        let mut set = HeaderSet::default();
        set.set(Slot::Metadata, 1, &frame(Slot::Metadata, MAX_CACHED_HEADER));
        assert_eq!(set.len(), 1);
        set.set(
            Slot::Metadata,
            2,
            &frame(Slot::Metadata, MAX_CACHED_HEADER + 1),
        );
        assert_eq!(set.len(), 0);
    }

    #[test]
    fn tracks_are_bounded_for_each_kind() {
        let mut set = HeaderSet::default();
        for track in 0..=u8::MAX {
            let slot = Slot::VideoSequence(track);
            set.set(slot, 1, &frame(slot, 1));
            let limit = MAX_TRACKS.min(usize::from(track) + 1);
            assert_eq!(set.len(), limit);
        }
        set.set(Slot::AudioSequence(0), 2, &frame(Slot::AudioSequence(0), 1));
        assert_eq!(set.len(), MAX_TRACKS + 1);
    }

    #[test]
    fn the_prelude_is_in_the_order_of_the_slots_and_at_the_join_points_time() {
        let mut set = HeaderSet::default();
        for (seq, slot) in [
            Slot::AudioSequence(0),
            Slot::VideoColor(0),
            Slot::VideoSequence(0),
            Slot::Metadata,
        ]
        .into_iter()
        .enumerate()
        {
            set.set(slot, seq as u64, &frame(slot, 1));
        }
        let prelude = set.prelude(100, 90);
        let roles: Vec<_> = prelude.items.iter().map(|(_, f)| f.role).collect();
        assert_eq!(
            roles,
            [
                Role::Header(Slot::Metadata),
                Role::Header(Slot::VideoSequence(0)),
                Role::Header(Slot::VideoColor(0)),
                Role::Header(Slot::AudioSequence(0)),
            ]
        );
        assert!(prelude.items.iter().all(|(_, f)| f.time == 100));
    }
}
