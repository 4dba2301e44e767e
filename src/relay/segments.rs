//! Where a stream is cut into segments, for whoever packages it (HLS).
//!
//! The server that takes the publisher decides it, frame by frame, and tells it on a pull: a segment
//! begins with the epoch's first key frame, and then with each key frame that is at least the target
//! after the beginning of the last one. An epoch without video is cut at its audio in the same way.
//! Every mirror goes on from what it was told by the same rule over the same frames, so that all of
//! them have the same segments with the same numbers, whenever they began to look.

use super::Segment;

/// Numbers of a stream that nobody has told of begin with the seconds since then (1 January 2026):
/// a later run of a master without memory begins higher than any number of the one before, as a
/// segment is longer than a second.
const BEGIN: u64 = 1_767_225_600;

/// Discontinuity numbers begin below this: hls.js keeps an array up to the number and copies it, which
/// takes a browser a second for some ten millions. It is 18 hours of seconds, so that two runs of a
/// master still do not share one.
const DISCONTINUITIES: u64 = 1 << 16;

/// A key frame this part of the target early is taken all the same: 2 s of pictures are 1999 ms now
/// and then, and must not become 4 s.
const SLACK: u64 = 10;

/// The rule's state.
#[derive(Debug, Clone, Copy)]
pub(super) struct Segments {
    now: Segment,
    /// It was told with the frame that comes next, which may be the one that begins the segment.
    told: bool,
}

impl Segments {
    /// Of a stream that nothing is known of; `target` in ms.
    pub(super) fn new(target: u64) -> Self {
        Self {
            now: Segment {
                target,
                ..Segment::default()
            },
            told: false,
        }
    }

    /// The segment that the frames belong to now.
    pub(super) const fn now(&self) -> Segment {
        self.now
    }

    /// The frames that follow are of another epoch, which is cut with this target.
    pub(super) fn begin_epoch(&mut self, target: u64) {
        self.now.begun = None;
        self.now.target = target;
        self.told = false;
    }

    /// The source said where the next frame is.
    pub(super) fn tell(&mut self, segment: Segment) {
        self.now = segment;
        self.told = true;
    }

    /// The next audio or video, of this date (Unix, ms); `place` is whether a segment may begin with
    /// it. The answer is whether one does.
    pub(super) fn step(&mut self, date: u64, place: bool) -> bool {
        let told = std::mem::take(&mut self.told);
        if !place {
            return false;
        }
        match self.now.begun {
            Some(begun) if told && begun == date => true,
            Some(begun) => {
                let length = date.saturating_sub(begun);
                let target = self.now.target;
                if length.saturating_add(target / SLACK) < target.max(1) {
                    return false;
                }
                self.now.longest = self.now.longest.max(length);
                self.open(date, self.now.discontinuity);
                true
            }
            None => {
                let discontinuity = match self.now.discontinuity {
                    0 => (next(0, date) % DISCONTINUITIES).max(1),
                    last => last.saturating_add(1),
                };
                self.open(date, discontinuity);
                true
            }
        }
    }

    fn open(&mut self, date: u64, discontinuity: u64) {
        self.now.number = next(self.now.number, date);
        self.now.discontinuity = discontinuity;
        self.now.begun = Some(date);
    }
}

/// The number behind `last`; after none, one that only the date gives.
fn next(last: u64, date: u64) -> u64 {
    if last == 0 {
        (date / 1000).saturating_sub(BEGIN).max(1)
    } else {
        last.saturating_add(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: u64 = (BEGIN + 1_000_000) * 1000;

    /// Offsets of the key frames that begin a segment.
    fn cuts(segments: &mut Segments, keys: &[u64]) -> Vec<u64> {
        let begins = |k: &&u64| segments.step(DATE + **k, true);
        keys.iter().filter(begins).copied().collect()
    }

    #[test]
    fn a_segment_is_at_least_the_target_long_give_or_take_a_rounding() {
        let mut s = Segments::new(2000);
        let keys = [0, 1000, 1999, 3999, 4500, 5300, 6299, 20_000];
        assert_eq!(cuts(&mut s, &keys), [0, 1999, 3999, 6299, 20_000]);
        assert_eq!(s.now().longest, 13_701);
        assert_eq!(s.now().number, 1_000_004);
        assert_eq!(s.now().discontinuity, 1_000_000 % DISCONTINUITIES);
    }

    #[test]
    fn whoever_is_told_at_any_frame_goes_on_alike() {
        let keys: Vec<u64> = (0..200).map(|n| n * 700 + (n * n) % 600).collect();
        let mut all = Segments::new(2000);
        let mut states = Vec::new();
        for key in &keys {
            let begins = all.step(DATE + key, true);
            states.push((begins, all.now()));
        }
        for (from, key) in keys.iter().enumerate() {
            let mut late = Segments::new(5000);
            late.tell(states[from].1);
            assert_eq!(
                late.step(DATE + key, true),
                states[from].0,
                "told at {from}"
            );
            for (at, key) in keys.iter().enumerate().skip(from + 1) {
                assert_eq!(late.step(DATE + key, true), states[at].0, "{from} at {at}");
                assert_eq!(late.now(), states[at].1, "{from} at {at}");
            }
        }
    }

    #[test]
    fn numbers_go_on_through_epochs_and_epochs_without_a_segment_do_not_count() {
        let mut s = Segments::new(2000);
        assert!(s.step(DATE, true));
        let first = s.now();
        s.begin_epoch(2000);
        assert!(!s.step(DATE + 10, false), "no place to begin");
        s.begin_epoch(3000);
        assert!(s.step(DATE + 20, true));
        assert_eq!(s.now().number, first.number + 1);
        assert_eq!(s.now().discontinuity, first.discontinuity + 1);
        assert_eq!(s.now().target, 3000);
    }

    #[test]
    fn another_run_of_a_master_numbers_higher_and_is_a_discontinuity() {
        let mut before = Segments::new(1000);
        let mut at = DATE;
        for _ in 0..10_000 {
            at += 1000;
            assert!(before.step(at, true));
        }
        let mut after = Segments::new(1000);
        assert!(after.step(at + 1000, true));
        assert!(after.now().number > before.now().number);
        assert_ne!(after.now().discontinuity, before.now().discontinuity);
    }
}
