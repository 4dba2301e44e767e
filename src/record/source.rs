//! Where a recording is in the log of its stream, and which headers are in force there.

use std::sync::Arc;
use std::time::Instant;

use crate::limits::{AUDIO_ONLY_AFTER, MAX_JOIN_GOP};
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
    /// Begins with what the log has of the present epoch, or with its newest key frame; with what comes
    /// when there is none yet, or, for who wants the newest, when it is of a source that is long gone.
    pub(super) fn begin(tail: &Tail, newest: bool, now: Instant) -> Self {
        let of_others = match newest {
            true => tail.is_stale(MAX_JOIN_GOP, now),
            false => !tail.is_begun(),
        };
        if of_others {
            return Self {
                next: tail.end(),
                awaits: true,
                ..Self::default()
            };
        }
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;
    use crate::media::{FrameParts, StreamName};
    use crate::relay::{Claim, Hub, HubConfig, NoWake, Publisher};

    /// A hub with a clock of its own.
    struct Rig {
        hub: Arc<Hub>,
        now: Instant,
    }

    impl Rig {
        fn new() -> Self {
            Self {
                hub: Hub::new(HubConfig::default()),
                now: Instant::now(),
            }
        }

        fn publish(&self, id: u64) -> Publisher {
            let name = StreamName::new("live", "event").unwrap();
            let claim = Claim::of_a_test(id);
            self.hub.publish(&name, claim, self.now, 0).unwrap()
        }

        fn send(&self, publisher: &mut Publisher, mark: &'static str) {
            let slot = Slot::VideoSequence(0);
            for (timestamp, role) in [
                (0, Role::Header(slot)),
                (0, Role::Key),
                (40, Role::Inter),
                (80, Role::Key),
                (120, Role::Inter),
            ] {
                let parts = FrameParts {
                    kind: Kind::Video,
                    role,
                    codec: None,
                    extended: false,
                    timestamp,
                    payload: Bytes::from_static(mark.as_bytes()),
                };
                publisher.push(parts, self.now).unwrap();
            }
        }

        /// What a source that begins now has of the tail, in the end, and the headers there.
        fn found(source: &mut Source, tail: &Tail) -> (u64, Vec<Bytes>) {
            assert!(source.find(tail, false));
            let headers = source.headers();
            let headers = headers.iter().map(|frame| frame.payload.clone());
            (source.at(), headers.collect())
        }
    }

    fn tail(publisher: &Publisher) -> Tail {
        Tail::new(Arc::clone(publisher.stream()), Arc::new(NoWake))
    }

    #[test]
    fn who_wants_the_newest_gets_nothing_that_is_long_gone() {
        let mut rig = Rig::new();
        let mut publisher = rig.publish(1);
        rig.send(&mut publisher, "1");
        let mut tail = tail(&publisher);
        rig.now += Duration::from_mins(1);
        let mut silent = Source::begin(&tail, true, rig.now);
        assert_eq!(Rig::found(&mut silent, &tail).0, 3, "it may go on");
        publisher.cut(rig.now);
        tail.refresh();
        rig.now -= Duration::from_mins(1);
        rig.now += MAX_JOIN_GOP;
        let mut soon = Source::begin(&tail, true, rig.now);
        assert_eq!(Rig::found(&mut soon, &tail).0, 3);
        rig.now += Duration::from_millis(1);
        let mut late = Source::begin(&tail, true, rig.now);
        assert!(!late.find(&tail, false));
        let mut publisher = rig.publish(2);
        tail.refresh();
        let mut later = Source::begin(&tail, true, rig.now);
        rig.send(&mut publisher, "2");
        tail.refresh();
        for source in [&mut late, &mut later] {
            let found = Rig::found(source, &tail);
            assert_eq!(found, (6, vec![Bytes::from_static(b"2")]));
        }
    }

    #[test]
    fn what_a_publisher_wants_is_nothing_of_the_one_before() {
        let rig = Rig::new();
        let mut publisher = rig.publish(1);
        rig.send(&mut publisher, "1");
        let mut tail = tail(&publisher);
        let mut first = Source::begin(&tail, false, rig.now);
        assert_eq!(Rig::found(&mut first, &tail).0, 1);
        publisher.cut(rig.now);
        tail.refresh();
        let mut short = Source::begin(&tail, false, rig.now);
        assert_eq!(
            Rig::found(&mut short, &tail).0,
            1,
            "it was over before it was looked at"
        );
        let mut publisher = rig.publish(2);
        tail.refresh();
        let mut early = Source::begin(&tail, false, rig.now);
        assert!(!early.find(&tail, false), "nothing of it is there yet");
        rig.send(&mut publisher, "2");
        tail.refresh();
        let mut later = Source::begin(&tail, false, rig.now);
        for source in [&mut early, &mut later] {
            let found = Rig::found(source, &tail);
            assert_eq!(found, (6, vec![Bytes::from_static(b"2")]));
        }
    }
}
