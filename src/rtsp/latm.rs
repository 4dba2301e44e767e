//! AAC as `MP4A-LATM` (RFC 6416), which GStreamer sends unless it is told otherwise: its configuration
//! (`StreamMuxConfig`, ISO/IEC 14496-3 section 1.7.3) comes with the description, its frames each behind
//! their size.

use bytes::{BufMut, Bytes, BytesMut};

use super::rtp::Packet;
use crate::codec::{Bits, object_and_frequency};
use crate::limits::MAX_AAC_UNITS;
use crate::wire::Reader;

/// What says that more of an `AudioSpecificConfig` follows, and that still more does.
const SPECTRAL_BANDS: u32 = 0x2b7;
const PARAMETRIC_STEREO: u32 = 0x548;

/// The `AudioSpecificConfig` in a `StreamMuxConfig` of one programme with one layer, and the frequency
/// that its frames are counted by, Hz. `None` when it is of another kind.
pub(super) fn configuration(multiplex: &[u8]) -> Option<(Bytes, u32)> {
    let mut b = Bits::new(multiplex);
    // Version 0; all streams have the same times; frames, programmes and layers, less one each. How many
    // frames there are is seen by their sizes: not every sender counts right.
    if b.bits(2)? != 1 {
        return None;
    }
    b.skip(6)?;
    if b.bits(7)? != 0 {
        return None;
    }
    let begin = b.position();
    let frequency = specific(&mut b)?;
    let end = b.position();
    // The kind of the sizes and a level follow, and whether other data do; GStreamer leaves off what is
    // zero at the end.
    let kind = b.bits(3).unwrap_or(0);
    let _level = b.skip(8);
    if kind != 0 || b.flag().unwrap_or(false) {
        return None;
    }
    let mut bits = Bits::new(multiplex);
    bits.skip(begin)?;
    let mut left = u32::try_from(end.checked_sub(begin)?).ok()?;
    let mut bytes = BytesMut::new();
    while left > 0 {
        let some = left.min(8);
        let byte = bits.bits(some)? << 8u32.saturating_sub(some);
        bytes.put_u8(u8::try_from(byte).ok()?);
        left = left.saturating_sub(some);
    }
    Some((bytes.freeze(), frequency))
}

/// Passes over an `AudioSpecificConfig` (section 1.6.2.1), which does not say where it ends.
fn specific(b: &mut Bits<'_>) -> Option<u32> {
    let (mut object, frequency) = object_and_frequency(b)?;
    let channels = b.bits(4)?;
    if matches!(object, 5 | 29) {
        object = object_and_frequency_behind(b)?;
    }
    // Main, LC, SSR, LTP; the others have more fields, and channels of their own have a list of them.
    if !(1..=4).contains(&object) || channels == 0 {
        return None;
    }
    let _short_frames = b.flag()?;
    if b.flag()? {
        b.skip(14)?; // the delay of a core coder
    }
    if b.flag()? {
        return None;
    }
    follows(b, SPECTRAL_BANDS, |b| {
        let present = b.bits(5)? == 5 && b.flag()?;
        if present {
            frequency_alone(b)?;
            follows(b, PARAMETRIC_STEREO, |b| b.flag().map(drop));
        }
        Some(())
    });
    Some(frequency)
}

/// Of an extended object type: the frequency of the extension, then the type of what is extended.
fn object_and_frequency_behind(b: &mut Bits<'_>) -> Option<u32> {
    frequency_alone(b)?;
    b.bits(5)
}

fn frequency_alone(b: &mut Bits<'_>) -> Option<()> {
    match b.bits(4)? {
        15 => b.skip(24),
        _ => Some(()),
    }
}

/// Reads on behind these 11 bits, where they and what belongs to them are there.
fn follows(b: &mut Bits<'_>, word: u32, read: impl Fn(&mut Bits<'_>) -> Option<()>) {
    let mut ahead = b.clone();
    if ahead.bits(11) == Some(word) && read(&mut ahead).is_some() {
        *b = ahead;
    }
}

/// The frames of a packet, or of several of which the last has the mark (RFC 6416 section 6): each
/// behind its size. `None` when they do not fit their sizes, as when the first part of them was lost.
pub(super) fn units(
    packet: &Packet<'_>,
    (partial, limit): (&mut BytesMut, usize),
    mut take: impl FnMut(&[u8]),
) -> Option<()> {
    if partial.len().saturating_add(packet.payload.len()) > limit {
        partial.clear();
        return None;
    }
    partial.put_slice(packet.payload);
    if !packet.marker {
        return Some(());
    }
    let element = partial.split();
    let count = sizes(&element, |_| {})?;
    if count == 0 || count > MAX_AAC_UNITS {
        return None;
    }
    sizes(&element, |unit| take(unit)).map(drop)
}

/// Goes through the frames; how many there are.
fn sizes(element: &[u8], mut take: impl FnMut(&[u8])) -> Option<usize> {
    let mut r = Reader::new(element);
    let mut count = 0usize;
    while !r.is_empty() {
        let mut size = 0usize;
        loop {
            let part = r.u8().ok()?;
            size = size.saturating_add(usize::from(part));
            if part != 255 {
                break;
            }
        }
        let unit = r.take(size).ok()?;
        if !unit.is_empty() {
            take(unit);
        }
        count = count.saturating_add(1);
    }
    Some(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::hex;

    fn read(text: &str) -> Option<(Vec<u8>, u32)> {
        configuration(&hex(text)).map(|(bytes, rate)| (bytes.to_vec(), rate))
    }

    #[test]
    fn configurations_are_taken_out() {
        // As GStreamer has it, without its end; as RFC 6416 and ffmpeg have it.
        let extended = hex("118856e500");
        assert_eq!(read("40002310adca00"), Some((extended.to_vec(), 48_000)));
        assert_eq!(read("400026203fc0"), Some((vec![0x13, 0x10], 24_000)));
        assert_eq!(read("400023203fc0"), Some((vec![0x11, 0x90], 48_000)));
        // Spectral bands, told first: five, 24 kHz, two channels, 48 kHz, LC.
        let (bytes, rate) = read("40005623101fe0").expect("it is LC below");
        assert_eq!((bytes, rate), (hex("2b118800"), 24_000));
        for other in ["", "40", "80002320", "400223203fc0", "4000fc203fc0"] {
            assert_eq!(read(other), None, "{other}");
        }
        // Another kind of sizes, other data behind each.
        assert_eq!(read("400023207fc0"), None);
        assert_eq!(read("400023203fe0"), None);
        let whole = hex("40002310adca00");
        for end in 0..whole.len() {
            let _ = configuration(&whole[..end]);
        }
    }

    fn taken(partial: &mut BytesMut, marker: bool, payload: &[u8]) -> Option<Vec<usize>> {
        let packet = Packet {
            kind: 96,
            marker,
            sequence: 0,
            time: 0,
            payload,
        };
        let mut found = Vec::new();
        units(&packet, (partial, 2000), |unit| found.push(unit.len())).map(|()| found)
    }

    #[test]
    fn frames_are_found_by_their_sizes() {
        let mut partial = BytesMut::new();
        assert_eq!(
            taken(&mut partial, true, &[2, 8, 9, 1, 7]),
            Some(vec![2, 1])
        );
        let long = [&[255, 45][..], &[7; 300]].concat();
        assert_eq!(taken(&mut partial, false, &long[..100]), Some(vec![]));
        assert_eq!(taken(&mut partial, true, &long[100..]), Some(vec![300]));
        // Nothing of what does not fit.
        assert_eq!(taken(&mut partial, true, &[1, 8, 9, 1, 7]), None);
        assert_eq!(taken(&mut partial, true, &[]), None);
        assert_eq!(taken(&mut partial, true, &[255; 255]), None);
        assert_eq!(taken(&mut partial, true, &[0; 1000]), None);
        assert_eq!(taken(&mut partial, false, &[0; 2001]), None);
        assert!(partial.is_empty());
    }
}
