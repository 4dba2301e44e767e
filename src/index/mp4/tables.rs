//! The tables of a track (ISO/IEC 14496-12 sections 8.6 and 8.7), walked where they are.

use super::boxes::{child, full};
use crate::wire::Reader;

/// A sample as the tables have it, in the track's own time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    /// When it is decoded, ticks.
    pub(super) time: i64,
    /// Ticks until the next one.
    pub(super) duration: i64,
    /// When it is shown, after that, ticks.
    pub(super) composition: i64,
    pub(super) offset: u64,
    pub(super) size: u32,
    /// It can be begun with.
    pub(super) key: bool,
}

/// Rows of `N` bytes.
#[derive(Debug, Clone, Copy)]
struct Rows<'a, const N: usize>(&'a [u8]);

impl<'a, const N: usize> Rows<'a, N> {
    /// Of a box that says how many there are; as many as are there.
    fn of(content: &'a [u8]) -> Option<Self> {
        let (_, _, mut r) = full(content)?;
        let count = r.u32().ok()?;
        Some(Self::counted(r.rest(), count))
    }

    fn counted(rest: &'a [u8], count: u32) -> Self {
        let whole = usize::try_from(count)
            .unwrap_or(usize::MAX)
            .saturating_mul(N);
        Self(rest.get(..whole).unwrap_or(rest))
    }

    fn len(self) -> usize {
        self.0.len().checked_div(N).unwrap_or(0)
    }

    fn next(&mut self) -> Option<[u8; N]> {
        let (row, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*row)
    }

    fn first(self) -> Option<[u8; N]> {
        self.0.first_chunk::<N>().copied()
    }
}

/// Two numbers of 32 bits.
const fn pair([a, b, c, d, e, f, g, h]: [u8; 8]) -> (u32, u32) {
    (
        u32::from_be_bytes([a, b, c, d]),
        u32::from_be_bytes([e, f, g, h]),
    )
}

#[derive(Debug, Clone, Copy)]
enum Sizes<'a> {
    /// All have this one; so many.
    Same(u32, u32),
    Each(Rows<'a, 4>),
    Short(Rows<'a, 2>),
    Bytes(Rows<'a, 1>),
}

#[derive(Debug, Clone, Copy)]
enum Chunks<'a> {
    Short(Rows<'a, 4>),
    Long(Rows<'a, 8>),
}

/// What there is of a track.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tables<'a> {
    times: Rows<'a, 8>,
    compositions: Option<Rows<'a, 8>>,
    in_chunks: Rows<'a, 12>,
    sizes: Sizes<'a>,
    chunks: Chunks<'a>,
    /// `None`: every sample can be begun with.
    keys: Option<Rows<'a, 4>>,
}

impl<'a> Tables<'a> {
    /// Of the content of a `stbl`; `None` when one is missing that must be there.
    pub(super) fn read(stbl: &'a [u8]) -> Option<Self> {
        let sizes = match (child(stbl, b"stsz"), child(stbl, b"stz2")) {
            (Some(content), _) => {
                let (_, _, mut r) = full(content)?;
                let same = r.u32().ok()?;
                let count = r.u32().ok()?;
                if same == 0 {
                    Sizes::Each(Rows::counted(r.rest(), count))
                } else {
                    Sizes::Same(same, count)
                }
            }
            (None, Some(content)) => {
                let (_, _, mut r) = full(content)?;
                let bits = r.u32().ok()? & 0xff;
                let count = r.u32().ok()?;
                match bits {
                    8 => Sizes::Bytes(Rows::counted(r.rest(), count)),
                    16 => Sizes::Short(Rows::counted(r.rest(), count)),
                    _ => return None,
                }
            }
            (None, None) => return None,
        };
        let chunks = match (child(stbl, b"stco"), child(stbl, b"co64")) {
            (Some(content), _) => Chunks::Short(Rows::of(content)?),
            (None, Some(content)) => Chunks::Long(Rows::of(content)?),
            (None, None) => return None,
        };
        Some(Self {
            times: Rows::of(child(stbl, b"stts")?)?,
            compositions: child(stbl, b"ctts").and_then(Rows::of),
            in_chunks: Rows::of(child(stbl, b"stsc")?)?,
            sizes,
            chunks,
            keys: child(stbl, b"stss").and_then(Rows::of),
        })
    }
}

/// Walks the tables, one sample after the other. Every turn uses up a row, or one of the samples that
/// are counted.
#[derive(Debug, Clone)]
pub(super) struct Cursor<'a> {
    tables: Tables<'a>,
    /// The number of the next sample; they count from 1.
    number: u32,
    time: i64,
    /// Samples left of this duration, ticks.
    duration: (u32, u32),
    composition: (u32, i32),
    /// The number of the chunk; 0 before the first.
    chunk: u32,
    in_chunk: u32,
    /// Samples that each chunk has from here on.
    each: u32,
    offset: u64,
}

impl<'a> Cursor<'a> {
    pub(super) const fn new(tables: Tables<'a>) -> Self {
        Self {
            tables,
            number: 1,
            time: 0,
            duration: (0, 0),
            composition: (0, 0),
            chunk: 0,
            in_chunk: 0,
            each: 0,
            offset: 0,
        }
    }

    /// Samples whose sizes are listed one by one.
    pub(super) fn listed(&self) -> usize {
        match self.tables.sizes {
            Sizes::Same(..) => 0,
            Sizes::Each(rows) => rows.len(),
            Sizes::Short(rows) => rows.len(),
            Sizes::Bytes(rows) => rows.len(),
        }
    }

    /// The next sample; `None` behind the last, or where one of the tables ends.
    pub(super) fn next(&mut self) -> Option<Found> {
        let size = self.size()?;
        while self.duration.0 == 0 {
            self.duration = pair(self.tables.times.next()?);
        }
        self.duration.0 = self.duration.0.saturating_sub(1);
        let offset = self.place(size)?;
        let found = Found {
            time: self.time,
            duration: self.duration.1.into(),
            composition: self.composition(),
            offset,
            size,
            key: self.is_key(),
        };
        self.time = self.time.saturating_add(self.duration.1.into());
        self.number = self.number.checked_add(1)?;
        Some(found)
    }

    fn size(&mut self) -> Option<u32> {
        match &mut self.tables.sizes {
            Sizes::Same(size, left) => {
                *left = left.checked_sub(1)?;
                Some(*size)
            }
            Sizes::Each(rows) => rows.next().map(u32::from_be_bytes),
            Sizes::Short(rows) => rows.next().map(|n| u16::from_be_bytes(n).into()),
            Sizes::Bytes(rows) => rows.next().map(|[n]| n.into()),
        }
    }

    fn composition(&mut self) -> i64 {
        let Some(rows) = &mut self.tables.compositions else {
            return 0;
        };
        while self.composition.0 == 0 {
            let Some(row) = rows.next() else { return 0 };
            let (count, offset) = pair(row);
            // Version 0 has no sign, but programs wrote one all the same.
            self.composition = (count, offset.cast_signed());
        }
        self.composition.0 = self.composition.0.saturating_sub(1);
        self.composition.1.into()
    }

    fn place(&mut self, size: u32) -> Option<u64> {
        while self.in_chunk == 0 {
            self.offset = match &mut self.tables.chunks {
                Chunks::Short(rows) => u32::from_be_bytes(rows.next()?).into(),
                Chunks::Long(rows) => u64::from_be_bytes(rows.next()?),
            };
            self.chunk = self.chunk.checked_add(1)?;
            while let Some([a, b, c, d, e, f, g, h, ..]) = self.tables.in_chunks.first() {
                let (first, each) = pair([a, b, c, d, e, f, g, h]);
                if first > self.chunk {
                    break;
                }
                self.each = each;
                self.tables.in_chunks.next();
            }
            self.in_chunk = self.each;
        }
        self.in_chunk = self.in_chunk.saturating_sub(1);
        let offset = self.offset;
        self.offset = self.offset.checked_add(size.into())?;
        Some(offset)
    }

    fn is_key(&mut self) -> bool {
        let Some(rows) = &mut self.tables.keys else {
            return true;
        };
        while let Some(row) = rows.first() {
            let number = u32::from_be_bytes(row);
            if number >= self.number {
                return number == self.number;
            }
            rows.next();
        }
        false
    }
}

/// Reads a number of 32 bits, when a flag says that it is there.
pub(super) fn optional(r: &mut Reader<'_>, there: bool) -> Option<Option<u32>> {
    if there {
        r.u32().ok().map(Some)
    } else {
        Some(None)
    }
}
