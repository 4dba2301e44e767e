//! H.264 and H.265: access units to FLV video tags.

use bytes::{BufMut, BytesMut};

use super::{Counted, Sent, TICKS, flv_time, tag};
use crate::codec::{Coding, Nal, Sets};
use crate::flv::{self, Tag};
use crate::wire::put_u24;

/// Bytes in front of a frame, at most.
const HEAD: usize = 8;

/// One picture track. Its memory is its parameter sets.
#[derive(Debug)]
pub struct Video {
    coding: Coding,
    sets: Sets,
    /// A set came that the record does not have yet.
    changed: bool,
    /// Bytes that came since the last sequence header: one is not made of less than it has itself.
    since: usize,
    sent: Sent,
    /// Frames that were not passed on.
    pub counted: Counted,
}

impl Video {
    /// A track of which nothing is known yet.
    #[must_use]
    pub fn new(coding: Coding) -> Self {
        Self {
            coding,
            sets: Sets::new(coding),
            changed: false,
            since: usize::MAX,
            sent: Sent::default(),
            counted: Counted::default(),
        }
    }

    /// Takes parameter sets that came beside the stream (in an SDP).
    pub fn set(&mut self, nal: &[u8]) {
        if let Nal::Set(list) = self.coding.nal(nal) {
            self.changed |= self.sets.put(list, nal);
        }
    }

    /// Takes one access unit, its NAL units in order, with its times in 90 kHz. Puts a sequence header
    /// in front when the parameter sets changed. Units of filling and delimiters are left out, and
    /// parameter sets are in the header alone.
    pub fn unit<'a>(
        &mut self,
        nals: impl Iterator<Item = &'a [u8]>,
        (decoded, shown): (i64, i64),
        mut out: impl FnMut(Tag),
    ) {
        let mut body = BytesMut::new();
        body.put_bytes(0, HEAD);
        let (mut key, mut picture, mut recovery, mut sets) = (false, false, false, false);
        for nal in nals {
            self.since = self.since.saturating_add(nal.len());
            match self.coding.nal(nal) {
                Nal::Set(list) => {
                    sets = true;
                    self.changed |= self.sets.put(list, nal);
                    continue;
                }
                Nal::Left => continue,
                Nal::Key => key = true,
                Nal::Picture => picture = true,
                Nal::Recovery => recovery = true,
                Nal::Other => {}
            }
            let Ok(size) = u32::try_from(nal.len()) else {
                continue;
            };
            body.put_u32(size);
            body.put_slice(nal);
        }
        let time = flv_time(decoded);
        if !key && !picture {
            // Parameter sets alone are no frame, and no mistake.
            if !sets {
                self.counted.malformed = self.counted.malformed.saturating_add(1);
            }
            return;
        }
        // Whoever repeats its parameter sets with such a picture means it to be begun with.
        key |= recovery && sets;
        if self.changed
            && let Some(record) = self.sets.record()
            && record.len() <= self.since
        {
            self.changed = false;
            self.since = 0;
            if self.sent.is_new(&record) {
                let head: &[u8] = match self.coding {
                    Coding::Avc => &[0x17, 0, 0, 0, 0],
                    Coding::Hevc => b"\x90hvc1",
                };
                tag(flv::VIDEO, time, head, &record).map(&mut out);
            }
        }
        if self.sent.0.is_none() {
            self.counted.early = self.counted.early.saturating_add(1);
            return;
        }
        let later = shown
            .saturating_sub(decoded)
            .div_euclid(TICKS)
            .clamp(-(1 << 23), (1 << 23) - 1);
        match self.finish(body, key, later) {
            Some(payload) => out(Tag {
                kind: flv::VIDEO,
                timestamp: time,
                payload: payload.freeze(),
            }),
            None => self.counted.malformed = self.counted.malformed.saturating_add(1),
        }
    }

    /// Writes the head into the room in front of the NAL units; `None` when they are too long.
    fn finish(&self, body: BytesMut, key: bool, later: i64) -> Option<BytesMut> {
        let mut body = body;
        let frame: u8 = if key { 1 } else { 2 };
        // Two's complement in 24 bits is what the field has.
        let later = u32::try_from(later.rem_euclid(1 << 24)).ok()?;
        let mut head = Vec::with_capacity(HEAD);
        match self.coding {
            Coding::Avc => {
                head.put_slice(&[frame << 4 | 7, 1]);
                put_u24(&mut head, later);
            }
            Coding::Hevc => {
                head.put_u8(0x80 | frame << 4 | 1);
                head.put_slice(b"hvc1");
                put_u24(&mut head, later);
            }
        }
        let mut payload = body.split_off(HEAD.checked_sub(head.len())?);
        payload.get_mut(..head.len())?.copy_from_slice(&head);
        (payload.len() <= flv::MAX_BODY).then_some(payload)
    }
}

/// The NAL units of a byte stream with start codes (H.264 annex B): what is between two of them, less
/// the zeros at its end. Bytes in front of the first start code are none.
pub fn nal_units(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = start_code(bytes).and_then(|at| bytes.get(at.saturating_add(3)..));
    std::iter::from_fn(move || {
        let from = rest?;
        let (nal, after) = match start_code(from) {
            Some(at) => (from.get(..at)?, from.get(at.saturating_add(3)..)),
            None => (from, None),
        };
        rest = after;
        let end = nal.iter().rposition(|b| *b != 0);
        nal.get(..end.map_or(0, |at| at.saturating_add(1)))
    })
    .filter(|nal| !nal.is_empty())
}

/// Where the next `00 00 01` begins.
fn start_code(bytes: &[u8]) -> Option<usize> {
    let mut at = 0usize;
    loop {
        // Of three bytes in a row the last is looked at first: most are above 1.
        match bytes.get(at..)?.get(..3)? {
            [0, 0, 1] => return Some(at),
            [_, _, last] if *last > 1 => at = at.saturating_add(3),
            _ => at = at.saturating_add(1),
        }
    }
}
