//! Parameter sets as an encoder sends them in the picture's own stream, collected into the record that
//! FLV and MP4 have in front of it (ISO/IEC 14496-15 sections 5.3.3.1 and 8.3.3.1).

use bytes::{BufMut, Bytes, BytesMut};

use super::sps::{Bits, HIGH_PROFILES, unescape};
use crate::limits::{MAX_PARAMETER_SETS, MAX_SPS};

/// The kind of a NAL unit, as far as packaging goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nal {
    /// A parameter set: it goes into the record. The place among the lists of [`Sets`].
    Set(usize),
    /// Part of a picture from which decoding can begin.
    Key,
    /// Part of any other picture.
    Picture,
    /// Says that decoding can begin here, though the picture itself does not say so.
    Recovery,
    /// Belongs to a picture without being one: it stays.
    Other,
    /// Has a meaning in the encoder's container alone: delimiters, filling, ends.
    Left,
}

/// H.264 or H.265.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// H.264
    Avc,
    /// H.265
    Hevc,
}

/// Lists of H.265: video, sequence and picture parameter sets. H.264 has the last two.
const VIDEO: usize = 0;
const SEQUENCE: usize = 1;
const PICTURE: usize = 2;

impl Coding {
    /// What a NAL unit is (H.264 table 7-1, H.265 table 7-1).
    #[must_use]
    pub fn nal(self, nal: &[u8]) -> Nal {
        let Some(head) = nal.first() else {
            return Nal::Left;
        };
        match self {
            Self::Avc => match head & 31 {
                5 => Nal::Key,
                1..=4 => Nal::Picture,
                6 if is_recovery_point(nal.get(1..).unwrap_or_default()) => Nal::Recovery,
                7 => Nal::Set(SEQUENCE),
                8 => Nal::Set(PICTURE),
                0 | 9..=12 | 24..=31 => Nal::Left,
                _ => Nal::Other,
            },
            Self::Hevc => match head >> 1 & 63 {
                16..=23 => Nal::Key,
                0..=15 | 24..=31 => Nal::Picture,
                32 => Nal::Set(VIDEO),
                33 => Nal::Set(SEQUENCE),
                34 => Nal::Set(PICTURE),
                35..=38 | 48..=63 => Nal::Left,
                _ => Nal::Other,
            },
        }
    }
}

/// Whether a message of supplemental information says that decoding can begin at this very picture
/// (H.264 section D.1.8). Messages behind one that is malformed are not looked at.
fn is_recovery_point(messages: &[u8]) -> bool {
    const RECOVERY_POINT: usize = 6;
    let mut rest = messages;
    while rest.len() > 2 {
        let mut number = || {
            let mut sum = 0usize;
            loop {
                let (first, after) = rest.split_first()?;
                rest = after;
                sum = sum.checked_add(usize::from(*first))?;
                if *first != 0xff {
                    return Some(sum);
                }
            }
        };
        let (Some(kind), Some(size)) = (number(), number()) else {
            return false;
        };
        if kind == RECOVERY_POINT {
            // The first bit alone is the number 0: no picture goes before.
            return rest.first().is_some_and(|first| first & 0x80 != 0);
        }
        rest = rest.get(size..).unwrap_or_default();
    }
    false
}

/// One list: the sets by their numbers, the newest of each.
type List = Vec<(u32, Bytes)>;

/// The parameter sets that an encoder has sent so far.
#[derive(Debug)]
pub struct Sets {
    coding: Coding,
    lists: [List; 3],
}

impl Sets {
    /// None yet.
    #[must_use]
    pub fn new(coding: Coding) -> Self {
        Self {
            coding,
            lists: [const { Vec::new() }; 3],
        }
    }

    /// Takes a set; whether the record is another one now. One that is too long, or too many, is left
    /// out.
    pub fn put(&mut self, list: usize, nal: &[u8]) -> bool {
        if nal.len() > MAX_SPS {
            return false;
        }
        let Some(id) = self.id(list, nal) else {
            return false;
        };
        let Some(list) = self.lists.get_mut(list) else {
            return false;
        };
        let room = list.len() < MAX_PARAMETER_SETS;
        match list.iter_mut().find(|(known, _)| *known == id) {
            Some((_, known)) if known == nal => false,
            Some((_, known)) => {
                *known = Bytes::copy_from_slice(nal);
                true
            }
            None if room => {
                list.push((id, Bytes::copy_from_slice(nal)));
                true
            }
            None => false,
        }
    }

    /// The number by which slices and other sets name it.
    fn id(&self, list: usize, nal: &[u8]) -> Option<u32> {
        match (self.coding, list) {
            (Coding::Avc, SEQUENCE) => {
                let bytes = unescape(nal.get(1..)?)?;
                let mut b = Bits::new(&bytes);
                b.skip(24)?;
                b.ue()
            }
            (Coding::Avc, _) => Bits::new(nal.get(1..)?).ue(),
            (Coding::Hevc, VIDEO) => Bits::new(nal.get(2..)?).bits(4),
            (Coding::Hevc, SEQUENCE) => Hevc::read(nal).map(|sps| sps.id),
            (Coding::Hevc, _) => Bits::new(nal.get(2..)?).ue(),
        }
    }

    /// The record, once there is what it needs.
    #[must_use]
    pub fn record(&self) -> Option<Bytes> {
        let [video, sequence, picture] = &self.lists;
        let (_, first) = sequence.first()?;
        if picture.is_empty() {
            return None;
        }
        match self.coding {
            Coding::Avc => avc_record(first, sequence, picture),
            Coding::Hevc => hevc_record(first, [video, sequence, picture]),
        }
    }
}

/// `AVCDecoderConfigurationRecord`.
fn avc_record(first: &[u8], sequence: &List, picture: &List) -> Option<Bytes> {
    let head: [u8; 3] = first.get(1..4)?.try_into().ok()?;
    let [profile, ..] = head;
    let mut out = BytesMut::new();
    out.put_u8(1);
    out.put_slice(&head);
    out.put_u8(0xff); // sizes of 4 bytes
    out.put_u8(0xe0 | count(sequence)?);
    put_all(&mut out, sequence)?;
    out.put_u8(count(picture)?);
    put_all(&mut out, picture)?;
    // Decoders have the colour format from the set itself; the record repeats it for these.
    if matches!(profile, 100 | 110 | 122 | 144 | 244)
        && let Some((chroma, luma_depth, chroma_depth)) = avc_depths(first)
    {
        out.put_u8(0xfc | chroma);
        out.put_u8(0xf8 | luma_depth);
        out.put_u8(0xf8 | chroma_depth);
        out.put_u8(0);
    }
    Some(out.freeze())
}

/// Chroma format, and bits of luma and chroma beyond eight.
fn avc_depths(nal: &[u8]) -> Option<(u8, u8, u8)> {
    let bytes = unescape(nal.get(1..)?)?;
    let mut b = Bits::new(&bytes);
    let profile = b.bits(8)?;
    b.skip(16)?;
    b.ue()?;
    if !HIGH_PROFILES.contains(&profile) {
        return Some((1, 0, 0));
    }
    let chroma = b.ue()?;
    if chroma == 3 {
        b.skip(1)?;
    }
    small(chroma, b.ue()?, b.ue()?)
}

/// As the records have them: two bits, and three each.
fn small(chroma: u32, luma_depth: u32, chroma_depth: u32) -> Option<(u8, u8, u8)> {
    let fits = |n: u32, most: u8| u8::try_from(n).ok().filter(|n| *n <= most);
    Some((
        fits(chroma, 3)?,
        fits(luma_depth, 7)?,
        fits(chroma_depth, 7)?,
    ))
}

/// What the record repeats of an H.265 sequence parameter set.
struct Hevc {
    id: u32,
    layers: u32,
    nested: bool,
    /// Profile, its compatibility and constraints, and the level.
    general: [u8; 12],
    depths: (u8, u8, u8),
}

impl Hevc {
    /// H.265 section 7.3.2.2.1.
    fn read(nal: &[u8]) -> Option<Self> {
        let bytes = unescape(nal.get(2..)?)?;
        let mut b = Bits::new(&bytes);
        b.skip(4)?;
        let layers = b.bits(3)?;
        let nested = b.flag()?;
        let general = bytes.get(1..13)?.try_into().ok()?;
        b.skip(96)?;
        let mut present = 0usize;
        if layers > 0 {
            for layer in 0..8 {
                let (profile, level) = (b.flag()?, b.flag()?);
                if layer < layers {
                    present += if profile { 88 } else { 0 } + if level { 8 } else { 0 };
                }
            }
        }
        b.skip(present)?;
        let id = b.ue()?;
        let chroma = b.ue()?;
        if chroma == 3 {
            b.skip(1)?;
        }
        b.ue()?;
        b.ue()?;
        if b.flag()? {
            for _ in 0..4 {
                b.ue()?;
            }
        }
        Some(Self {
            id,
            layers,
            nested,
            general,
            depths: small(chroma, b.ue()?, b.ue()?)?,
        })
    }
}

/// `HEVCDecoderConfigurationRecord`.
fn hevc_record(first: &[u8], lists: [&List; 3]) -> Option<Bytes> {
    const KINDS: [u8; 3] = [32, 33, 34];
    let sps = Hevc::read(first)?;
    let (chroma, luma_depth, chroma_depth) = sps.depths;
    let mut out = BytesMut::new();
    out.put_u8(1);
    out.put_slice(&sps.general);
    out.put_u16(0xf000); // how far slices may reach: not told
    out.put_u8(0xfc); // nor how it may be decoded in parallel
    out.put_u8(0xfc | chroma);
    out.put_u8(0xf8 | luma_depth);
    out.put_u8(0xf8 | chroma_depth);
    out.put_u16(0); // nor the rate
    let layers = u8::try_from(sps.layers).ok()?.saturating_add(1) & 7;
    out.put_u8(layers << 3 | u8::from(sps.nested) << 2 | 3); // sizes of 4 bytes
    let used = lists.iter().filter(|list| !list.is_empty()).count();
    out.put_u8(u8::try_from(used).ok()?);
    for (kind, list) in KINDS.into_iter().zip(lists) {
        if !list.is_empty() {
            out.put_u8(0x80 | kind);
            out.put_u16(u16::from(count(list)?));
            put_all(&mut out, list)?;
        }
    }
    Some(out.freeze())
}

fn count(list: &List) -> Option<u8> {
    u8::try_from(list.len()).ok().filter(|n| *n < 32)
}

fn put_all(out: &mut BytesMut, list: &List) -> Option<()> {
    for (_, nal) in list {
        out.put_u16(u16::try_from(nal.len()).ok()?);
        out.put_slice(nal);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::describe;
    use crate::media::Kind;
    use crate::wire::hex;

    /// 1920x1080, high profile, as x264 writes it.
    const SPS: &str = "67640028acd940780227e5c044000003000400000300c83c60c658";
    const PPS: &str = "68ebe3cb22c0";
    /// The record that ffmpeg makes of the two.
    const AVC: &str = "01640028ffe1001b67640028acd940780227e5c044000003000400000300c83c60c65801000668ebe3cb22c0fdf8f800";
    /// The sets of x265, and ffmpeg's record; ours says besides that no set comes later.
    const HEVC_SETS: [&str; 3] = [
        "40010c01ffff016000000300900000030000030078959809",
        "42010101600000030090000003000003\
         0078a003c08010e596566924caf0168080000003008000000c84",
        "4401c172b46240",
    ];
    const HEVC: &str = "01016000000090000000000078f000fcfdf8f800000f03";

    #[test]
    fn h264_becomes_a_record() {
        let mut sets = Sets::new(Coding::Avc);
        assert!(sets.record().is_none());
        assert!(sets.put(SEQUENCE, &hex(SPS)));
        assert!(sets.record().is_none(), "half of it");
        assert!(sets.put(PICTURE, &hex(PPS)));
        assert!(!sets.put(PICTURE, &hex(PPS)), "the same again");
        assert_eq!(sets.record().unwrap(), hex(AVC));
    }

    #[test]
    fn h265_becomes_a_record() {
        let mut sets = Sets::new(Coding::Hevc);
        for (list, nal) in HEVC_SETS.into_iter().enumerate() {
            assert!(sets.record().is_none());
            assert_eq!(Coding::Hevc.nal(&hex(nal)), Nal::Set(list));
            assert!(sets.put(list, &hex(nal)), "{list}");
        }
        let record = sets.record().unwrap();
        assert!(record.starts_with(&hex(HEVC)));
        let tag = [&hex("9068766331")[..], &record].concat();
        let shown = describe(Kind::Video, &tag).map(|told| told.to_string());
        let expected = "hvc1 profile 1 level 4.0 1920x1080";
        assert_eq!(shown.as_deref(), Some(expected));
    }

    #[test]
    fn sets_are_bounded_and_replaced_by_their_number() {
        let mut sets = Sets::new(Coding::Avc);
        // Picture parameter sets 0 to 40: their numbers are all that is looked at.
        let pps = |n: u32, more: u8| {
            let bits = 2 * (32 - (n + 1).leading_zeros()) - 1;
            let value = u64::from(n + 1) << (64 - bits);
            let mut nal = vec![0x68];
            nal.extend_from_slice(&value.to_be_bytes());
            nal.push(more);
            nal
        };
        let taken = (0..41).filter(|n| sets.put(PICTURE, &pps(*n, 1))).count();
        assert_eq!(taken, MAX_PARAMETER_SETS);
        assert!(
            sets.put(PICTURE, &pps(7, 2)),
            "another one of a known number"
        );
        assert!(!sets.put(SEQUENCE, &vec![0x67; MAX_SPS + 1]));
        assert!(!sets.put(SEQUENCE, &[0x67]) && !sets.put(3, &[0x67, 1, 2, 3, 0x80]));
    }

    #[test]
    fn nal_units_are_told_apart() {
        let avc = |nal: &str| Coding::Avc.nal(&hex(nal));
        assert_eq!(avc("65"), Nal::Key);
        assert_eq!(avc("41"), Nal::Picture);
        assert_eq!(avc("0910"), Nal::Left);
        assert_eq!(avc("06052c"), Nal::Other);
        assert_eq!(avc("060601c480"), Nal::Recovery);
        assert_eq!(avc("0601010006018480"), Nal::Recovery, "behind another one");
        assert_eq!(avc("0606014480"), Nal::Other, "only after some pictures");
        let hevc = |nal: &str| Coding::Hevc.nal(&hex(nal));
        assert_eq!(hevc("2601"), Nal::Key);
        assert_eq!(hevc("0201"), Nal::Picture);
        assert_eq!(hevc("4001"), Nal::Set(VIDEO));
        assert_eq!(hevc("4601"), Nal::Left);
        assert_eq!(hevc("4e01"), Nal::Other);
        assert_eq!(Coding::Hevc.nal(&[]), Nal::Left);
    }
}
