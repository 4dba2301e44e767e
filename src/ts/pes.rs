//! PES packets: put together, with their times (ISO/IEC 13818-1 section 2.4.3.6).

use crate::wire::Reader;

/// The times' field is this wide, bits.
const WIDTH: u32 = 33;

/// What arrives of one PES packet. Its memory is that packet, and grows with what arrived.
#[derive(Debug)]
pub(super) struct Assembly {
    partial: Vec<u8>,
    begun: bool,
    /// Bytes of the packet when it tells them.
    size: Option<usize>,
    limit: usize,
    /// Packets that were longer than the limit, or no PES packets.
    pub(super) broken: u64,
}

impl Assembly {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            partial: Vec::new(),
            begun: false,
            size: None,
            limit,
            broken: 0,
        }
    }

    /// A packet is missing: what was begun is given up.
    pub(super) fn cut(&mut self) {
        self.partial = Vec::new();
        self.begun = false;
    }

    /// Takes a payload and shows the PES packets that are whole.
    pub(super) fn feed(&mut self, payload: &[u8], begins: bool, take: &mut impl FnMut(&[u8])) {
        if begins {
            self.finish(take);
            self.begun = true;
            self.size = None;
        }
        if !self.begun {
            return;
        }
        let room = self.limit.saturating_sub(self.partial.len());
        if payload.len() > room {
            self.broken = self.broken.saturating_add(1);
            return self.cut();
        }
        self.partial.extend_from_slice(payload);
        if self.size.is_none()
            && let Some([0, 0, 1, _, high, low]) = self.partial.first_chunk::<6>()
            && (*high, *low) != (0, 0)
        {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            self.size = Some(length.saturating_add(6));
        }
        if self.size.is_some_and(|size| self.partial.len() >= size) {
            self.finish(take);
        }
    }

    /// What there is counts as whole.
    pub(super) fn finish(&mut self, take: &mut impl FnMut(&[u8])) {
        if !self.begun {
            return;
        }
        self.begun = false;
        let packet = std::mem::take(&mut self.partial);
        let whole = match self.size {
            Some(size) => packet.get(..size),
            None => Some(packet.as_slice()),
        };
        match whole {
            Some(whole) if whole.starts_with(&[0, 0, 1]) => take(whole),
            _ => self.broken = self.broken.saturating_add(1),
        }
        // The next one is likely as long.
        self.partial = packet;
        self.partial.clear();
    }
}

/// What a PES packet carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pes<'a> {
    /// When it is shown, 90 kHz, 33 bits.
    pub(super) pts: Option<u64>,
    /// When it is decoded, where that is another time.
    pub(super) dts: Option<u64>,
    pub(super) data: &'a [u8],
}

impl<'a> Pes<'a> {
    /// Reads a whole packet; `None` for what has no media.
    pub(super) fn read(packet: &'a [u8]) -> Option<Self> {
        let mut r = Reader::new(packet);
        let [_, _, _, stream, _, _] = r.array().ok()?;
        // Padding, maps and private data have no such header.
        if !matches!(stream, 0xbd | 0xc0..=0xef | 0xfd) {
            return None;
        }
        let [marks, flags, length] = r.array().ok()?;
        if marks & 0xc0 != 0x80 {
            return None;
        }
        let mut head = Reader::new(r.take(usize::from(length)).ok()?);
        let pts = if flags & 0x80 != 0 {
            Some(time(head.array().ok()?))
        } else {
            None
        };
        let dts = if flags & 0xc0 == 0xc0 {
            Some(time(head.array().ok()?))
        } else {
            None
        };
        Some(Self {
            pts,
            dts,
            data: r.rest(),
        })
    }
}

/// A time in its five bytes; the marks between its parts are not checked.
fn time([a, b, c, d, e]: [u8; 5]) -> u64 {
    u64::from(a >> 1 & 7) << 30
        | u64::from(u16::from_be_bytes([b, c]) >> 1) << 15
        | u64::from(u16::from_be_bytes([d, e]) >> 1)
}

/// Times of 33 bits on a line that does not wrap.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Unrolled {
    /// The last time, and where the line begins.
    last: Option<(i64, i64)>,
}

/// Where the first time lies on the line: what belongs before it may come after it. 5 s.
pub(super) const FIRST: i64 = 5 * 90_000;

impl Unrolled {
    /// The time nearest to the one before that has these low bits.
    pub(super) fn of(&mut self, time: u64) -> i64 {
        let wrap = 1i64 << WIDTH;
        let time = i64::try_from(time & ((1 << WIDTH) - 1)).unwrap_or_default();
        let (last, base) = *self.last.get_or_insert((time, time.saturating_sub(FIRST)));
        let step = time.saturating_sub(last).rem_euclid(wrap);
        let step = if step >= wrap / 2 { step - wrap } else { step };
        let now = last.saturating_add(step);
        self.last = Some((now, base));
        now.saturating_sub(base)
    }
}
