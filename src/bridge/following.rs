//! A packager that follows a stream's log, from whatever the log holds when it begins.

use std::sync::Arc;

use super::fmp4::{NoSegment, Packager};
use crate::hls::Segment;
use crate::media::{Frame, Role, Slot};
use crate::relay::{State, Tail};

/// See the module.
#[derive(Debug, Default)]
pub struct Following {
    packager: Packager,
    /// The number of the entry that comes next; `None` before a place to begin was found.
    next: Option<u64>,
    finished: bool,
}

impl Following {
    /// Takes up to `most` entries of the log as of its last refresh. What they made goes to `made`, in
    /// order; the answer is whether there may be more entries.
    pub fn turn(
        &mut self,
        tail: &Tail,
        most: usize,
        mut made: impl FnMut(Result<Segment, NoSegment>),
    ) -> bool {
        if self.next.is_none() {
            self.next = self.place(tail);
        }
        let mut taken = 0;
        if let Some(from) = self.next {
            for entry in tail.logged(from).take(most) {
                if self.next != Some(entry.seq)
                    && let Some(why) = self.packager.lost()
                {
                    made(Err(why));
                }
                self.next = Some(entry.seq.saturating_add(1));
                taken += 1;
                if let Some(segment) = self.packager.feed(&entry) {
                    made(segment);
                }
            }
        }
        let over = taken == 0 && tail.state() == State::Ended;
        if over
            && !std::mem::replace(&mut self.finished, true)
            && let Some(segment) = self.packager.finish()
        {
            made(segment);
        }
        taken == most && taken > 0
    }

    /// The oldest entry that begins a segment of the present epoch and whose headers are known: they
    /// are in the log before it, or have not changed since.
    fn place(&mut self, tail: &Tail) -> Option<u64> {
        let epoch = tail.logged(0).last()?.epoch;
        let newest: Vec<(u64, &Arc<Frame>)> = tail.headers().collect();
        let mut seen: Vec<(Slot, &Arc<Frame>)> = Vec::new();
        for entry in tail.logged(0).filter(|entry| entry.epoch == epoch) {
            if let Role::Header(slot) = entry.frame.role {
                seen.retain(|(s, _)| *s != slot);
                seen.push((slot, entry.frame));
            }
            if !entry.begins {
                continue;
            }
            let mut headers = seen.clone();
            let mut known = true;
            for (seq, frame) in &newest {
                let Role::Header(slot) = frame.role else {
                    continue;
                };
                let matters = matches!(slot, Slot::VideoSequence(0) | Slot::AudioSequence(0));
                if !matters || seen.iter().any(|(s, _)| *s == slot) {
                    continue;
                }
                // One that came later may have replaced one that nobody knows here.
                known &= *seq < entry.seq;
                headers.push((slot, frame));
            }
            if known {
                for (_, frame) in headers {
                    self.packager.header(frame);
                }
                return Some(entry.seq);
            }
        }
        None
    }
}
