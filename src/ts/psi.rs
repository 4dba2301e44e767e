//! Tables: which programme there is, and of which streams it consists (ISO/IEC 13818-1 section 2.4.4).

use crate::limits::{MAX_TS_SECTION, MAX_TS_STREAMS};
use crate::wire::Reader;

/// Table of programmes, and its PID.
const PAT: u8 = 0;
/// Table of the streams of a programme.
const PMT: u8 = 2;

/// What arrives of a section. Its memory is one section.
#[derive(Debug, Default)]
pub(super) struct Sections {
    partial: Vec<u8>,
    /// Sections whose checksum or length is wrong.
    pub(super) broken: u64,
}

impl Sections {
    /// A packet is missing: what was begun is given up.
    pub(super) fn cut(&mut self) {
        self.partial.clear();
    }

    /// Takes a packet's payload and shows the sections that it completes, checked.
    pub(super) fn feed(&mut self, payload: &[u8], begins: bool, mut take: impl FnMut(&[u8])) {
        let mut rest = payload;
        if begins {
            let Some((pointer, after)) = payload.split_first() else {
                return;
            };
            let (end, next) = after.split_at(usize::from(*pointer).min(after.len()));
            if !self.partial.is_empty() {
                self.partial.extend_from_slice(end);
                self.drain(&mut take);
            }
            self.partial.clear();
            rest = next;
        } else if self.partial.is_empty() {
            return;
        }
        self.partial.extend_from_slice(rest);
        self.drain(&mut take);
    }

    fn drain(&mut self, take: &mut impl FnMut(&[u8])) {
        loop {
            let mut r = Reader::new(&self.partial);
            let Ok([table, high, low]) = r.array() else {
                return;
            };
            if table == 0xff {
                return self.partial.clear(); // filling
            }
            let length = usize::from(u16::from_be_bytes([high & 15, low]));
            let size = length.saturating_add(3);
            if size > MAX_TS_SECTION {
                self.broken = self.broken.saturating_add(1);
                return self.partial.clear();
            }
            let Some((section, _)) = self.partial.split_at_checked(size) else {
                return;
            };
            if crc(section) == 0 {
                take(section);
            } else {
                self.broken = self.broken.saturating_add(1);
            }
            self.partial.drain(..size);
        }
    }
}

/// The checksum of MPEG's sections, that of itself included: 0 when nothing is wrong.
pub(super) fn crc(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte) << 24, |crc, _| {
            crc << 1 ^ if crc >> 31 == 1 { 0x04c1_1db7 } else { 0 }
        })
    })
}

/// The body of a table that holds now: its version, and what lies between its head and its checksum.
fn body(section: &[u8], table: u8) -> Option<(u8, Reader<'_>)> {
    let mut r = Reader::new(section.get(..section.len().checked_sub(4)?)?);
    let [found, _, _, _, _, version, _, _] = r.array().ok()?;
    (found == table && version & 1 == 1).then_some((version >> 1 & 31, r))
}

/// The PID of the first programme's table.
pub(super) fn programme(section: &[u8]) -> Option<u16> {
    let (_, mut r) = body(section, PAT)?;
    loop {
        let (number, pid) = (r.u16().ok()?, r.u16().ok()? & 0x1fff);
        if number != 0 {
            return Some(pid);
        }
    }
}

/// One stream of a programme.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stream {
    pub(super) pid: u16,
    /// `stream_type`.
    pub(super) kind: u8,
    /// What a registration descriptor calls it.
    pub(super) registered: Option<[u8; 4]>,
    /// Channels that an extension descriptor of Opus tells.
    pub(super) channels: Option<u8>,
}

/// The streams of a programme, and the version of its table.
pub(super) fn streams(section: &[u8]) -> Option<(u8, Vec<Stream>)> {
    let (version, mut r) = body(section, PMT)?;
    r.u16().ok()?; // where the clock is
    let info = usize::from(r.u16().ok()? & 0x0fff);
    r.take(info).ok()?;
    let mut streams = Vec::new();
    while !r.is_empty() && streams.len() < MAX_TS_STREAMS {
        let kind = r.u8().ok()?;
        let pid = r.u16().ok()? & 0x1fff;
        let length = usize::from(r.u16().ok()? & 0x0fff);
        let mut descriptors = Reader::new(r.take(length).ok()?);
        let mut stream = Stream {
            pid,
            kind,
            registered: None,
            channels: None,
        };
        while let (Ok(tag), Ok(size)) = (descriptors.u8(), descriptors.u8()) {
            let Ok(value) = descriptors.take(usize::from(size)) else {
                break;
            };
            match (tag, value) {
                (0x05, [a, b, c, d, ..]) => stream.registered = Some([*a, *b, *c, *d]),
                (0x7f, [0x80, channels, ..]) => stream.channels = Some(*channels),
                _ => {}
            }
        }
        streams.push(stream);
    }
    Some((version, streams))
}
