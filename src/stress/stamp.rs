//! The clock that a publisher puts into each frame, where decoders expect strangers' data.
//!
//! In H.264 it is the payload of an SEI message of type 5 (`user_data_unregistered`, H.264 annex D),
//! in AAC a `data_stream_element` (ISO 14496-3 section 4.5.2.1). Its bytes all have the top bit set,
//! so that it never needs emulation prevention.

/// Tells a stamp from anything else; it is the UUID of the SEI message as well.
const MAGIC: [u8; 16] = [
    0xd6, 0x9a, 0xc3, 0xf1, 0x8e, 0xb7, 0xcd, 0x93, 0xa5, 0xe2, 0xbc, 0x91, 0xf7, 0x88, 0xcd, 0xe9,
];
/// Bytes of a stamp: magic, time, sequence number, sum of the rest of the payload, length of the
/// payload.
pub(super) const STAMP: usize = 16 + 10 + 10 + 5 + 5;
/// How far into a payload a stamp is looked for: behind the tag's head and short NAL units.
const SEARCH: usize = 128;

/// What a publisher says of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    /// When it was sent, ns on the clock of [`super::clock`].
    pub(super) nanos: u64,
    /// Counts the stamped frames of a stream, of both kinds, from 0.
    pub(super) sequence: u64,
    /// [`sum`] of the payload around the stamp.
    pub(super) sum: u32,
    /// Bytes of the payload, the stamp included.
    pub(super) length: u32,
}

impl Stamp {
    pub(super) fn encode(self) -> [u8; STAMP] {
        let mut out = [0x80; STAMP];
        let (magic, rest) = out.split_at_mut(16);
        magic.copy_from_slice(&MAGIC);
        let numbers = [
            (self.nanos, 10),
            (self.sequence, 10),
            (self.sum.into(), 5),
            (self.length.into(), 5),
        ];
        let mut places = rest.iter_mut();
        for (mut number, digits) in numbers {
            for place in places.by_ref().take(digits) {
                *place = 0x80 | u8::try_from(number & 0x7f).unwrap_or_default();
                number >>= 7;
            }
        }
        out
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut digits = bytes.strip_prefix(&MAGIC)?.iter();
        let mut number = |count| {
            let digits = digits.by_ref().take(count).enumerate();
            digits.fold(0_u64, |sum, (i, byte)| {
                sum | u64::from(byte & 0x7f).wrapping_shl(u32::try_from(i * 7).unwrap_or_default())
            })
        };
        Some(Self {
            nanos: number(10),
            sequence: number(10),
            sum: u32::try_from(number(5)).ok()?,
            length: u32::try_from(number(5)).ok()?,
        })
    }

    /// The stamp of a payload, and whether the payload is what was sent.
    pub(super) fn find(payload: &[u8]) -> Option<(Self, bool)> {
        let at = payload
            .get(..payload.len().min(SEARCH))?
            .windows(MAGIC.len())
            .position(|w| w == MAGIC)?;
        let (before, stamp) = payload.split_at_checked(at)?;
        let (stamp, behind) = stamp.split_at_checked(STAMP)?;
        let stamp = Self::decode(stamp)?;
        let whole = usize::try_from(stamp.length) == Ok(payload.len())
            && stamp.sum == sum(sum(SUM, before), behind);
        Some((stamp, whole))
    }
}

/// Where [`sum`] begins.
pub(super) const SUM: u32 = 0x811c_9dc5;

/// FNV-1a over words of four bytes, which is fast enough to make and check in passing.
pub(super) fn sum(before: u32, bytes: &[u8]) -> u32 {
    let step = |sum: u32, word: u32| (sum ^ word).wrapping_mul(0x0100_0193).rotate_left(5);
    let (words, rest) = bytes.as_chunks::<4>();
    let sum = words
        .iter()
        .fold(before, |sum, word| step(sum, u32::from_be_bytes(*word)));
    rest.iter().fold(sum, |sum, byte| step(sum, (*byte).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(before: &[u8], behind: &[u8]) -> (Stamp, Vec<u8>) {
        let stamp = Stamp {
            nanos: u64::MAX - 5,
            sequence: 0x0123_4567_89ab_cdef,
            sum: sum(sum(SUM, before), behind),
            length: u32::try_from(before.len() + STAMP + behind.len()).unwrap(),
        };
        (stamp, [before, &stamp.encode(), behind].concat())
    }

    #[test]
    fn a_stamp_is_found_again_and_needs_no_emulation_prevention() {
        let (stamp, payload) = frame(&[0x17, 1, 0, 0, 0], &[0xff; 1000]);
        assert_eq!(Stamp::find(&payload), Some((stamp, true)));
        assert!(stamp.encode().iter().all(|b| *b >= 0x80));
        let zero = Stamp {
            nanos: 0,
            sequence: 0,
            sum: 0,
            length: 0,
        };
        assert!(zero.encode().iter().all(|b| *b >= 0x80));
    }

    #[test]
    fn whatever_changed_is_noticed_and_cuts_do_no_harm() {
        let (_, payload) = frame(&[1, 2, 3, 4, 5], b"a picture");
        for at in 0..payload.len() {
            let mut bad = payload.clone();
            bad[at] ^= 0x41;
            assert!(
                Stamp::find(&bad)
                    .is_none_or(|(s, whole)| { !whole || s != Stamp::find(&payload).unwrap().0 })
            );
            let cut = Stamp::find(&payload[..at]);
            assert!(cut.is_none_or(|(_, whole)| !whole), "{at}");
        }
    }
}
