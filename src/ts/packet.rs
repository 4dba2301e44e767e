//! Packets: finding them in a stream of bytes, and their headers (ISO/IEC 13818-1 section 2.4.3).

use crate::wire::Reader;

/// Bytes of a packet.
pub(super) const PACKET: usize = 188;
/// What packets are spaced by: alone, with parity of 16 or 20 bytes behind, or with a time of 4 in front.
const SPACINGS: [usize; 4] = [188, 204, 192, 208];
/// The first byte of each.
pub(super) const SYNC: u8 = 0x47;
/// Packets in a row that are to begin rightly before they are believed.
const IN_A_ROW: usize = 3;
/// Bytes that are looked at to find the first one: a whole spacing, and what follows it.
const WINDOW: usize = 208 * (IN_A_ROW + 1);

/// Cuts a stream of bytes into packets. Its memory is less than five of them.
#[derive(Debug, Default)]
pub(super) struct Framer {
    spacing: Option<usize>,
    /// Bytes that are no packet yet.
    partial: Vec<u8>,
    /// Bytes between the packet before and the next one that are still to come.
    skip: usize,
    /// How often the packets' beginnings were lost.
    pub(super) lost: u64,
}

impl Framer {
    /// Shows each packet that `input` completes to `take`.
    pub(super) fn feed(&mut self, input: &[u8], mut take: impl FnMut(&[u8; PACKET])) {
        let mut input = input;
        loop {
            let Some(spacing) = self.spacing else {
                let more = WINDOW.saturating_sub(self.partial.len()).min(input.len());
                let (used, rest) = input.split_at(more);
                self.partial.extend_from_slice(used);
                input = rest;
                if !self.search() && input.is_empty() {
                    return;
                }
                continue;
            };
            let known = self.skip.min(self.partial.len());
            self.partial.drain(..known);
            let (skipped, rest) = input.split_at((self.skip - known).min(input.len()));
            self.skip = self.skip.saturating_sub(known + skipped.len());
            input = rest;
            // Packets that lie whole in the input need not be copied.
            if self.partial.is_empty()
                && let Some((packet, rest)) = input.split_first_chunk::<PACKET>()
            {
                input = rest;
                if packet.first() == Some(&SYNC) {
                    take(packet);
                    self.skip = spacing.saturating_sub(PACKET);
                } else {
                    self.partial.extend_from_slice(packet);
                    self.lose();
                }
                continue;
            }
            let missing = PACKET.saturating_sub(self.partial.len());
            let (used, rest) = input.split_at(missing.min(input.len()));
            self.partial.extend_from_slice(used);
            input = rest;
            match self.partial.first_chunk::<PACKET>() {
                None => return,
                Some(packet) if packet.first() == Some(&SYNC) => {
                    take(packet);
                    self.partial.drain(..PACKET);
                    self.skip = spacing.saturating_sub(PACKET);
                }
                Some(_) => self.lose(),
            }
        }
    }

    fn lose(&mut self) {
        self.lost = self.lost.saturating_add(1);
        self.spacing = None;
        self.skip = 0;
    }

    /// Drops what was begun: the input goes on elsewhere, with a packet.
    pub(super) fn begin(&mut self) {
        if self.spacing.is_some() {
            self.partial.clear();
            self.skip = 0;
        }
    }

    fn forget(&mut self, bytes: usize) {
        self.partial.drain(..bytes.min(self.partial.len()));
    }

    /// Looks for packets in a row in what is there; drops bytes that cannot begin one.
    fn search(&mut self) -> bool {
        let byte = |at: usize| self.partial.get(at).copied();
        for at in 0..self.partial.len() {
            if byte(at) != Some(SYNC) {
                continue;
            }
            let mut undecided = false;
            for spacing in SPACINGS {
                let mut next = (1..IN_A_ROW).map(|n| byte(at.saturating_add(n * spacing)));
                match next.find(|b| *b != Some(SYNC)) {
                    None => {
                        self.spacing = Some(spacing);
                        self.forget(at);
                        return true;
                    }
                    Some(None) => undecided = true,
                    Some(Some(_)) => {}
                }
            }
            if undecided {
                self.forget(at);
                return false;
            }
        }
        self.partial.clear();
        false
    }
}

/// What the header of a packet says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Packet<'a> {
    pub(super) pid: u16,
    /// A unit (a section, a PES packet) begins in the payload.
    pub(super) begins: bool,
    /// The counter of packets with a payload.
    pub(super) counter: u8,
    /// The counter, or the clock, may be another one from here on.
    pub(super) discontinuity: bool,
    pub(super) payload: Option<&'a [u8]>,
}

impl<'a> Packet<'a> {
    /// `None` for packets that the sender marked as broken, that are scrambled, or whose lengths are wrong.
    pub(super) fn read(bytes: &'a [u8; PACKET]) -> Option<Self> {
        let mut r = Reader::new(bytes);
        let [_sync, high, low, flags] = r.array().ok()?;
        if high & 0x80 != 0 || flags & 0xc0 != 0 {
            return None;
        }
        let mut discontinuity = false;
        if flags & 0x20 != 0 {
            let length = usize::from(r.u8().ok()?);
            let field = r.take(length).ok()?;
            discontinuity = field.first().is_some_and(|b| b & 0x80 != 0);
        }
        Some(Self {
            pid: u16::from_be_bytes([high & 0x1f, low]),
            begins: high & 0x40 != 0,
            counter: flags & 15,
            discontinuity,
            payload: (flags & 0x10 != 0).then(|| r.rest()),
        })
    }
}

/// Whether packets of one PID follow each other.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Continuity(Option<u8>);

/// What a counter says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Follows {
    Yes,
    /// The same packet once more.
    Repeated,
    /// Packets are missing before it.
    Gap,
}

impl Continuity {
    pub(super) fn next(&mut self, packet: &Packet<'_>) -> Follows {
        if packet.payload.is_none() {
            return Follows::Yes;
        }
        let before = self.0.replace(packet.counter);
        match before {
            Some(before) if !packet.discontinuity => {
                if packet.counter == (before.wrapping_add(1) & 15) {
                    Follows::Yes
                } else if packet.counter == before {
                    Follows::Repeated
                } else {
                    Follows::Gap
                }
            }
            _ => Follows::Yes,
        }
    }
}
