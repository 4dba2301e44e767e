//! AAC in ADTS (ISO/IEC 13818-7 section 6.2), whose frames may lie across packets.

use bytes::Bytes;

use super::{Aac, Counted};
use crate::flv::Tag;

/// Sampling frequencies by their index, Hz.
const RATES: [i64; 13] = [
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000,
    7_350,
];
/// Samples of a frame.
const SAMPLES: i64 = 1024;
/// Bytes of a header without its checksum.
const HEADER: usize = 7;

/// A frame's header.
struct Header {
    /// Bytes of the frame, the header's own included.
    size: usize,
    /// Bytes in front of the frame's data.
    head: usize,
    rate: i64,
    configuration: Bytes,
}

enum Read {
    /// It may be a header, but there are too few bytes to say.
    Short,
    /// It is none.
    None,
    Header(Header),
}

impl Header {
    fn read(bytes: &[u8]) -> Read {
        let Some(&[a, b, c, d, e, f, _]) = bytes.first_chunk::<HEADER>() else {
            let begins = match bytes {
                [] | [0xff] => true,
                [0xff, second, ..] => second & 0xf6 == 0xf0,
                _ => false,
            };
            return if begins { Read::Short } else { Read::None };
        };
        if a != 0xff || b & 0xf6 != 0xf0 {
            return Read::None;
        }
        let head = if b & 1 == 1 { HEADER } else { HEADER + 2 };
        let object = (c >> 6) + 1;
        let frequency = c >> 2 & 15;
        let channels = (c & 1) << 2 | d >> 6;
        let size = usize::from(d & 3) << 11 | usize::from(e) << 3 | usize::from(f >> 5);
        let Some(rate) = RATES.get(usize::from(frequency)).copied() else {
            return Read::None;
        };
        if size < head || channels == 0 {
            return Read::None;
        }
        Read::Header(Self {
            size,
            head,
            rate,
            configuration: Bytes::copy_from_slice(&[
                object << 3 | frequency >> 1,
                frequency << 7 | channels << 3,
            ]),
        })
    }
}

/// One sound track. Its memory is the frame that is not whole yet: below 8 KiB, as its size has 13 bits.
#[derive(Debug, Default)]
pub struct Adts {
    aac: Aac,
    /// The beginning of a frame.
    rest: Vec<u8>,
    /// When that is heard, 90 kHz, and the frames since the last time that was told.
    base: i64,
    frames: i64,
    /// Bytes that are no frame are one mistake, however many.
    lost: bool,
    /// Frames that were not passed on.
    pub counted: Counted,
}

impl Adts {
    /// Takes what a packet has, and when the first frame that begins in it is heard, 90 kHz, where it
    /// says so.
    pub fn packet(&mut self, bytes: &[u8], ticks: Option<i64>, mut out: impl FnMut(Tag)) {
        let mut input = bytes;
        if !self.rest.is_empty() {
            // What began before is of the time before.
            self.complete(&mut input, &mut out);
        }
        if let Some(ticks) = ticks {
            self.base = ticks;
            self.frames = 0;
        }
        loop {
            match Header::read(input) {
                Read::Header(header) => match input.split_at_checked(header.size) {
                    Some((frame, after)) => {
                        self.pass(&header, frame, &mut out);
                        input = after;
                    }
                    None => break,
                },
                Read::Short => break,
                Read::None => {
                    self.lose();
                    input = input.get(1..).unwrap_or_default();
                }
            }
        }
        self.rest.extend_from_slice(input);
    }

    /// Fills up the frame that began in the packet before.
    fn complete(&mut self, input: &mut &[u8], out: &mut impl FnMut(Tag)) {
        loop {
            let wanted = match Header::read(&self.rest) {
                Read::Short => HEADER,
                Read::None => {
                    self.lose();
                    return self.rest.clear();
                }
                Read::Header(header) if self.rest.len() == header.size => {
                    let frame = std::mem::take(&mut self.rest);
                    return self.pass(&header, &frame, out);
                }
                Read::Header(header) => header.size,
            };
            let missing = wanted.saturating_sub(self.rest.len()).max(1);
            let (used, after) = input.split_at(missing.min(input.len()));
            self.rest.extend_from_slice(used);
            *input = after;
            if used.len() < missing {
                return;
            }
        }
    }

    fn pass(&mut self, header: &Header, frame: &[u8], out: &mut impl FnMut(Tag)) {
        self.lost = false;
        let since = self.frames.saturating_mul(SAMPLES * 90_000) / header.rate;
        self.frames = self.frames.saturating_add(1);
        let data = frame.get(header.head..).unwrap_or_default();
        if !data.is_empty() {
            let ticks = self.base.saturating_add(since);
            self.aac.frame(&header.configuration, data, ticks, out);
        }
    }

    fn lose(&mut self) {
        if !self.lost {
            self.lost = true;
            self.counted.malformed = self.counted.malformed.saturating_add(1);
        }
    }

    /// A part of the input is missing: what began is given up.
    pub fn cut(&mut self) {
        self.rest.clear();
    }
}
