//! One sample, in 16 bytes: a film has half a million of them.

use crate::media::Kind;

/// The largest offset that a sample may have: 1 TiB.
const MAX_OFFSET: u64 = 1 << 40;
const SIZE: u32 = 0x00ff_ffff;
const VIDEO: u32 = 1 << 24;
const DATA: u32 = 1 << 25;
const KEY: u32 = 1 << 26;
const HEADER: u32 = 1 << 27;

/// One sample of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    time: u32,
    /// The low 32 bits of the offset.
    low: u32,
    /// Size, and what it is.
    word: u32,
    /// The high 8 bits of the offset, then the composition time.
    tail: u32,
}

/// What a sample is, as the readers find it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    /// When it is decoded, ms.
    pub(super) time: u64,
    /// From the beginning of the file.
    pub(super) offset: u64,
    /// Bytes.
    pub(super) size: u64,
    pub(super) kind: Kind,
    /// A picture that can be begun with.
    pub(super) key: bool,
    /// A sequence header of FLV.
    pub(super) header: bool,
    /// When it is shown, after when it is decoded, ms.
    pub(super) composition: i64,
}

impl Sample {
    /// `None` where the file is beyond what a sample can tell: 49 days, 1 TiB, 16 MiB.
    pub(super) fn new(found: &Found) -> Option<Self> {
        let size = u32::try_from(found.size)
            .ok()
            .filter(|size| *size <= SIZE)?;
        if found.offset >= MAX_OFFSET {
            return None;
        }
        let mut word = size;
        match found.kind {
            Kind::Audio => {}
            Kind::Video => word |= VIDEO,
            Kind::Data | Kind::Notice => word |= DATA,
        }
        if found.key {
            word |= KEY;
        }
        if found.header {
            word |= HEADER;
        }
        let composition = found.composition.clamp(-0x80_0000, 0x7f_ffff);
        let composition = u32::try_from(composition & 0x00ff_ffff).ok()?;
        let high = u32::try_from(found.offset >> 32).ok()?;
        Some(Self {
            time: u32::try_from(found.time).ok()?,
            low: u32::try_from(found.offset & u64::from(u32::MAX)).ok()?,
            word,
            tail: high << 24 | composition,
        })
    }

    /// As it is in memory, whatever machine this is.
    pub(super) fn to_bytes(self) -> [u8; 16] {
        let words = [self.time, self.low, self.word, self.tail];
        let mut bytes = [0; 16];
        let all = words.into_iter().flat_map(u32::to_be_bytes);
        bytes
            .iter_mut()
            .zip(all)
            .for_each(|(place, byte)| *place = byte);
        bytes
    }

    /// `None` for what no sample is.
    pub(super) fn from_bytes(bytes: [u8; 16]) -> Option<Self> {
        let mut words = bytes
            .chunks_exact(4)
            .map(|word| word.try_into().map(u32::from_be_bytes));
        let mut next = || words.next()?.ok();
        let sample = Self {
            time: next()?,
            low: next()?,
            word: next()?,
            tail: next()?,
        };
        let known = SIZE | VIDEO | DATA | KEY | HEADER;
        (sample.word & !known == 0 && sample.word & (VIDEO | DATA) != VIDEO | DATA)
            .then_some(sample)
    }

    /// When it is decoded, ms from the beginning of the file.
    #[must_use]
    pub const fn time(&self) -> u32 {
        self.time
    }

    /// From the beginning of the file.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        (self.tail as u64 >> 24) << 32 | self.low as u64
    }

    /// Bytes.
    #[must_use]
    pub const fn size(&self) -> usize {
        (self.word & SIZE) as usize
    }

    /// Audio, video or data.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self.word & (VIDEO | DATA) {
            0 => Kind::Audio,
            VIDEO => Kind::Video,
            _ => Kind::Data,
        }
    }

    /// Whether it is a picture that can be begun with.
    #[must_use]
    pub const fn is_key(&self) -> bool {
        self.word & KEY != 0
    }

    /// Whether it is a sequence header of an FLV file.
    #[must_use]
    pub const fn is_header(&self) -> bool {
        self.word & HEADER != 0
    }

    /// When it is shown, after when it is decoded, ms.
    #[must_use]
    pub const fn composition(&self) -> i32 {
        let [_, a, b, c] = self.tail.to_be_bytes();
        i32::from_be_bytes([a, b, c, 0]) >> 8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_keeps_what_was_found() {
        let found = Found {
            time: 4_000_000_000,
            offset: (1 << 40) - 7,
            size: 0x00ff_fffe,
            kind: Kind::Video,
            key: true,
            header: false,
            composition: -80,
        };
        let sample = Sample::new(&found).unwrap();
        assert_eq!(size_of::<Sample>(), 16);
        assert_eq!(u64::from(sample.time()), found.time);
        assert_eq!(sample.offset(), found.offset);
        assert_eq!(sample.size() as u64, found.size);
        assert_eq!(sample.kind(), Kind::Video);
        assert!(sample.is_key() && !sample.is_header());
        assert_eq!(sample.composition(), -80);
        let audio = Found {
            kind: Kind::Audio,
            key: false,
            header: true,
            composition: 1 << 30,
            ..found
        };
        let sample = Sample::new(&audio).unwrap();
        assert_eq!(sample.kind(), Kind::Audio);
        assert!(!sample.is_key() && sample.is_header());
        assert_eq!(sample.composition(), 0x7f_ffff);
        for beyond in [
            Found {
                time: 1 << 32,
                ..found
            },
            Found {
                offset: 1 << 40,
                ..found
            },
            Found {
                size: 1 << 24,
                ..found
            },
        ] {
            assert_eq!(Sample::new(&beyond), None);
        }
    }
}
