//! RTP packets and their sender reports (RFC 3550), and what of them belongs together.

use crate::wire::Reader;

/// One packet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Packet<'a> {
    pub(super) kind: u8,
    pub(super) marker: bool,
    pub(super) sequence: u16,
    pub(super) time: u32,
    pub(super) payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// RFC 3550 section 5.1.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut r = Reader::new(bytes);
        let [first, second] = r.array().ok()?;
        if first >> 6 != 2 {
            return None;
        }
        let (sequence, time, _source) = (r.u16().ok()?, r.u32().ok()?, r.u32().ok()?);
        r.take(usize::from(first & 15) * 4).ok()?;
        if first & 0x10 != 0 {
            r.u16().ok()?;
            let words = usize::from(r.u16().ok()?);
            r.take(words * 4).ok()?;
        }
        let mut payload = r.rest();
        if first & 0x20 != 0 {
            let padding = usize::from(*payload.last()?);
            payload = payload.get(..payload.len().checked_sub(padding.max(1))?)?;
        }
        Some(Self {
            kind: second & 0x7f,
            marker: second & 0x80 != 0,
            sequence,
            time,
            payload,
        })
    }
}

/// What a sender report says: that this wall-clock time (NTP, 32 bits of seconds and 32 of their parts)
/// is this time of the packets.
pub(super) fn sender_report(bytes: &[u8]) -> Option<(u64, u32)> {
    let mut r = Reader::new(bytes);
    let [first, kind] = r.array().ok()?;
    if first >> 6 != 2 || kind != 200 {
        return None;
    }
    r.u16().ok()?;
    r.u32().ok()?;
    let (high, low, time) = (r.u32().ok()?, r.u32().ok()?, r.u32().ok()?);
    Some((u64::from(high) << 32 | u64::from(low), time))
}

/// Whether a packet of reports says that its sender is done (RFC 3550 section 6.6).
pub(super) fn is_goodbye(bytes: &[u8]) -> bool {
    let mut r = Reader::new(bytes);
    while let (Ok([first, kind]), Ok(words)) = (r.array::<2>(), r.u16()) {
        if first >> 6 != 2 {
            return false;
        }
        if kind == 203 {
            return true;
        }
        if r.take(usize::from(words) * 4).is_err() {
            return false;
        }
    }
    false
}

/// What a packet's number says of those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Follows {
    Yes,
    /// Packets are missing before it.
    Gap,
    /// It is one that came before, or comes too late.
    Late,
}

/// Numbers in a row.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sequence(Option<u16>);

impl Sequence {
    pub(super) fn next(&mut self, number: u16) -> Follows {
        let step = self.0.map_or(1, |last| number.wrapping_sub(last));
        // Less than half of the numbers ahead is ahead; a sender that began anew is taken up, too.
        let follows = match step {
            1 => Follows::Yes,
            0 | 0xff00.. => return Follows::Late,
            _ => Follows::Gap,
        };
        self.0 = Some(number);
        follows
    }
}

/// The times of one track on the line of the session, 90 kHz.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    rate: i64,
    /// The last time on the wire, and where that is on the line.
    last: Option<(u32, i64)>,
    /// The wire's time less what the first report said, for the parts of a tick that are lost.
    rest: i64,
}

impl Clock {
    pub(super) const fn new(rate: u32) -> Self {
        Self {
            rate: if rate == 0 { 90_000 } else { rate as i64 },
            last: None,
            rest: 0,
        }
    }

    /// Whether it knows where it is.
    pub(super) const fn is_set(&self) -> bool {
        self.last.is_some()
    }

    /// This time on the wire is there on the line.
    pub(super) const fn set(&mut self, time: u32, at: i64) {
        self.last = Some((time, at));
        self.rest = 0;
    }

    /// Where a time is; `None` before [`Clock::set`].
    pub(super) fn of(&mut self, time: u32) -> Option<i64> {
        let (last, at) = self.last?;
        let step = i64::from(time.wrapping_sub(last).cast_signed());
        let scaled = step.saturating_mul(90_000).saturating_add(self.rest);
        let now = at.saturating_add(scaled.div_euclid(self.rate));
        self.rest = scaled.rem_euclid(self.rate);
        self.last = Some((time, now));
        Some(now)
    }
}

/// When pictures are decoded, of a stream that tells when they are shown alone: in the order of their
/// coming, and none before its time. Until the depth of the encoder's reordering is seen a picture may be
/// decoded after it is shown; from then on they are in order.
#[derive(Debug, Default)]
pub(super) struct Reorder {
    /// Times of pictures that are not given out as one to decode at yet, in order.
    waiting: Vec<i64>,
    depth: usize,
    last: Option<i64>,
}

/// The deepest reordering that H.264 and H.265 have.
const MAX_DEPTH: usize = 16;

impl Reorder {
    pub(super) fn decoded(&mut self, shown: i64) -> i64 {
        // A jump is no reordering.
        const JUMP: i64 = 90_000 * 5;
        if self
            .last
            .is_some_and(|last| shown.saturating_sub(last).abs() > JUMP)
        {
            *self = Self::default();
        }
        if self.last.is_some_and(|last| shown < last) && self.depth < MAX_DEPTH {
            self.depth = self.depth.saturating_add(1);
        }
        let place = self.waiting.partition_point(|time| *time <= shown);
        self.waiting.insert(place, shown);
        let time = if self.waiting.len() > self.depth {
            self.waiting.remove(0)
        } else {
            self.waiting.first().copied().unwrap_or(shown)
        };
        let time = self.last.map_or(time, |last| time.max(last));
        self.last = Some(time);
        time
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::hex;

    #[test]
    fn headers_are_read_to_their_end() {
        let bytes = hex("b1e000070000000100000002000000039abc0001deadbeef 6501 02"
            .replace(' ', "")
            .as_str());
        let packet = Packet::read(&bytes).unwrap();
        assert_eq!((packet.kind, packet.marker), (96, true));
        assert_eq!((packet.sequence, packet.time), (7, 1));
        assert_eq!(packet.payload, [0x65], "without its padding of two");
        for end in 0..bytes.len() {
            let _ = Packet::read(&bytes[..end]);
        }
        assert!(Packet::read(&hex("40e00007000000010000000265")).is_none());
        let report = hex("80c80006000000010000000280000000000000630000000100000001");
        assert_eq!(sender_report(&report), Some((0x2_8000_0000, 99)));
        assert!(!is_goodbye(&report));
        let end = [&report[..], &hex("81cb000100000001")].concat();
        assert!(is_goodbye(&end));
        for cut in 0..report.len() + 4 {
            assert!(!is_goodbye(&end[..cut]));
        }
    }

    #[test]
    fn numbers_in_a_row() {
        let mut sequence = Sequence::default();
        let told: Vec<Follows> = [65_534u16, 65_535, 0, 2, 1, 2, 3]
            .map(|n| sequence.next(n))
            .to_vec();
        use Follows::{Gap, Late, Yes};
        assert_eq!(told, [Yes, Yes, Yes, Gap, Late, Late, Yes]);
    }

    #[test]
    fn times_lose_nothing_to_rounding() {
        let mut clock = Clock::new(44_100);
        assert_eq!(clock.of(5), None);
        clock.set(u32::MAX - 10, 0);
        let mut last = 0;
        for n in 1..=44_100u32 {
            last = clock.of((u32::MAX - 10).wrapping_add(n * 1024)).unwrap();
        }
        assert_eq!(last, 1024 * 90_000);
    }

    #[test]
    fn pictures_are_decoded_in_their_order() {
        let mut reorder = Reorder::default();
        let plain: Vec<i64> = (0..5).map(|n| reorder.decoded(n * 10)).collect();
        assert_eq!(plain, [0, 10, 20, 30, 40]);
        // I P B B P B B ...
        let shown = [50, 80, 60, 70, 110, 90, 100, 140, 120, 130, 170, 150, 160];
        let decoded: Vec<i64> = shown.iter().map(|time| reorder.decoded(*time)).collect();
        assert!(decoded.windows(2).all(|w| w[0] <= w[1]), "{decoded:?}");
        let late = decoded.iter().zip(shown).skip(6);
        assert!(late.clone().all(|(d, s)| *d <= s), "{decoded:?}");
        assert_eq!(reorder.decoded(10_000_000), 10_000_000);
    }
}
