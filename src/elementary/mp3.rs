//! MPEG audio, layer III, whose frames may lie across packets (ISO/IEC 11172-3 section 2.4.2.3).

use super::{Counted, flv_time, tag};
use crate::flv::{self, Tag};

/// Bytes of a frame's header.
const HEADER: usize = 4;
/// Kbit/s of layer III, MPEG-1 and then MPEG-2, by their index.
const BITRATES: [[u32; 15]; 2] = [
    [
        0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320,
    ],
    [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
];

struct Header {
    size: usize,
    rate: u32,
    samples: u32,
    /// The first byte of the tag.
    sound: u8,
}

enum Read {
    Short,
    None,
    /// A frame of another layer: MP2 has no place in FLV.
    Other,
    Header(Header),
}

impl Header {
    fn read(bytes: &[u8]) -> Read {
        let Some(&[a, b, c, d]) = bytes.first_chunk::<HEADER>() else {
            return match bytes {
                [] | [0xff] => Read::Short,
                [0xff, second, ..] if second & 0xe0 == 0xe0 => Read::Short,
                _ => Read::None,
            };
        };
        let (version, layer) = (b >> 3 & 3, b >> 1 & 3);
        if a != 0xff || b & 0xe0 != 0xe0 || version == 1 || layer == 0 {
            return Read::None;
        }
        if layer != 1 {
            return Read::Other;
        }
        let first = version == 3;
        let (base, samples) = if first { (44_100, 1152) } else { (22_050, 576) };
        let rate = match c >> 2 & 3 {
            0 => base,
            1 => base / 441 * 480,
            2 => base / 441 * 320,
            _ => return Read::None,
        };
        let rate = if version == 0 { rate / 2 } else { rate };
        let [one, two] = &BITRATES;
        let table = if first { one } else { two };
        let kbit = table.get(usize::from(c >> 4)).copied().unwrap_or_default();
        if kbit == 0 {
            return Read::None;
        }
        let size = samples / 8 * kbit * 1000 / rate + u32::from(c >> 1 & 1);
        // FLV has a number for 44.1, 22.05 and 11.025 kHz; the others are told by the frame itself.
        let speed: u8 = match rate {
            32_001.. => 3,
            16_001.. => 2,
            _ => 1,
        };
        let stereo = u8::from(d >> 6 != 3);
        match usize::try_from(size) {
            Ok(size) if size > HEADER => Read::Header(Self {
                size,
                rate,
                samples,
                sound: 0x22 | speed << 2 | stereo,
            }),
            _ => Read::None,
        }
    }
}

/// One sound track. Its memory is the frame that is not whole yet: below 2 KiB.
#[derive(Debug, Default)]
pub struct Mp3 {
    rest: Vec<u8>,
    base: i64,
    frames: i64,
    lost: bool,
    /// Frames that were not passed on.
    pub counted: Counted,
}

impl Mp3 {
    /// Takes what a packet has, and when the first frame that begins in it is heard, 90 kHz, where it
    /// says so.
    pub fn packet(&mut self, bytes: &[u8], ticks: Option<i64>, mut out: impl FnMut(Tag)) {
        let fresh = self.rest.len();
        let mut joined = std::mem::take(&mut self.rest);
        joined.extend_from_slice(bytes);
        let mut input = joined.as_slice();
        let mut told = ticks;
        loop {
            let begun = joined.len().saturating_sub(input.len());
            if begun >= fresh
                && let Some(ticks) = told.take()
            {
                self.base = ticks;
                self.frames = 0;
            }
            match Header::read(input) {
                Read::Header(header) => match input.split_at_checked(header.size) {
                    Some((frame, after)) => {
                        self.pass(&header, frame, &mut out);
                        input = after;
                    }
                    None => break,
                },
                Read::Short => break,
                found @ (Read::None | Read::Other) => {
                    self.lose(matches!(found, Read::Other));
                    input = input.get(1..).unwrap_or_default();
                }
            }
        }
        self.rest = input.to_vec();
    }

    fn pass(&mut self, header: &Header, frame: &[u8], out: &mut impl FnMut(Tag)) {
        self.lost = false;
        let ticks = i64::from(header.samples) * 90_000 / i64::from(header.rate.max(1));
        let since = self.frames.saturating_mul(ticks);
        self.frames = self.frames.saturating_add(1);
        let time = flv_time(self.base.saturating_add(since));
        tag(flv::AUDIO, time, &[header.sound], frame).map(out);
    }

    fn lose(&mut self, unsupported: bool) {
        if !self.lost {
            self.lost = true;
            let count = if unsupported {
                &mut self.counted.unsupported
            } else {
                &mut self.counted.malformed
            };
            *count = count.saturating_add(1);
        }
    }

    /// A part of the input is missing: what began is given up.
    pub fn cut(&mut self) {
        self.rest.clear();
    }
}
