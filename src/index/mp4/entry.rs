//! Sample entries: the codec of a track, and what its decoder must know (ISO/IEC 14496-12 section
//! 8.5.2, 14496-14, 14496-15, AV1 and Opus in ISOBMFF, and what QuickTime does otherwise).

use bytes::{BufMut, Bytes, BytesMut};

use super::super::{IndexError, Track};
use super::boxes::{Boxes, child, full};
use crate::limits::MAX_CACHED_HEADER;
use crate::media::FourCc;
use crate::wire::{Reader, Short};

/// Bytes of a visual sample entry in front of its boxes.
const VISUAL: usize = 78;
/// Of an audio sample entry; QuickTime's version 1 and 2 have more.
const SOUND: usize = 28;
/// `objectTypeIndication`: AAC, its MPEG-2 forms, and MP3.
const AAC: u8 = 0x40;
const AAC_MPEG2: [u8; 3] = [0x66, 0x67, 0x68];
const MP3: [u8; 2] = [0x69, 0x6b];

/// The track of the first entry of a `stsd` box; `None` for a codec that cannot be sent.
pub(super) fn read(stsd: &[u8]) -> Result<Option<Track>, IndexError> {
    let Some((_, _, mut r)) = full(stsd) else {
        return Ok(None);
    };
    if r.u32().is_err() {
        return Ok(None);
    }
    let Some((kind, content)) = Boxes::of(r.rest()).next() else {
        return Ok(None);
    };
    let track = match &kind {
        b"encv" | b"enca" => return Err(IndexError::Encrypted),
        b"avc1" | b"avc3" => picture(content, b"avc1", b"avcC"),
        b"hvc1" | b"hev1" => picture(content, b"hvc1", b"hvcC"),
        b"av01" => picture(content, b"av01", b"av1C"),
        b"vp09" => picture(content, b"vp09", b"vpcC"),
        b"mp4a" | b".mp3" | b"ms\0U" | b"Opus" => sound(kind, content),
        _ => None,
    };
    Ok(track.filter(|track| track.configuration.len() <= MAX_CACHED_HEADER))
}

fn picture(content: &[u8], codec: &[u8; 4], record: &[u8; 4]) -> Option<Track> {
    let mut r = Reader::new(content);
    r.take(24).ok()?;
    let size = (u32::from(r.u16().ok()?), u32::from(r.u16().ok()?));
    let boxes = content.get(VISUAL..)?;
    let mut configuration = child(boxes, record)?;
    if codec == b"vp09" {
        // Enhanced RTMP has the record, MP4 a full box around it.
        configuration = configuration.get(4..)?;
    }
    Some(Track {
        codec: FourCc(*codec),
        configuration: Bytes::copy_from_slice(configuration),
        size,
        rate: 0,
        channels: 0,
    })
}

fn sound(kind: [u8; 4], content: &[u8]) -> Option<Track> {
    let mut r = Reader::new(content);
    r.take(8).ok()?;
    let version = r.u16().ok()?;
    r.take(6).ok()?;
    let channels = u8::try_from(r.u16().ok()?).unwrap_or(0);
    r.take(6).ok()?;
    let rate = r.u32().ok()? >> 16;
    let more = match version {
        1 => 16,
        2 => 36,
        _ => 0,
    };
    let boxes = content.get(SOUND.checked_add(more)?..).unwrap_or_default();
    let (codec, configuration) = match &kind {
        b"Opus" => (*b"Opus", opus(child(boxes, b"dOps")?)?),
        b"mp4a" => {
            let inside = child(boxes, b"wave").unwrap_or_default();
            let esds = child(boxes, b"esds").or_else(|| child(inside, b"esds"))?;
            let (object, specific) = decoder(esds)?;
            match object {
                AAC => (*b"mp4a", Bytes::copy_from_slice(specific)),
                _ if AAC_MPEG2.contains(&object) && !specific.is_empty() => {
                    (*b"mp4a", Bytes::copy_from_slice(specific))
                }
                _ if MP3.contains(&object) => (*b".mp3", Bytes::new()),
                _ => return None,
            }
        }
        _ => (*b".mp3", Bytes::new()),
    };
    if codec == *b"mp4a" && configuration.is_empty() {
        return None;
    }
    Some(Track {
        codec: FourCc(codec),
        configuration,
        size: (0, 0),
        rate,
        channels,
    })
}

/// The object type and the specific information of a decoder (ISO/IEC 14496-1 section 7.2.6).
fn decoder(esds: &[u8]) -> Option<(u8, &[u8])> {
    let (_, _, r) = full(esds)?;
    let mut es = descriptor(r.rest(), 3)?;
    es.u16().ok()?;
    let flags = es.u8().ok()?;
    if flags & 0x80 != 0 {
        es.u16().ok()?;
    }
    if flags & 0x40 != 0 {
        let url = es.u8().ok()?;
        es.take(url.into()).ok()?;
    }
    if flags & 0x20 != 0 {
        es.u16().ok()?;
    }
    let mut config = descriptor(es.rest(), 4)?;
    let object = config.u8().ok()?;
    config.take(12).ok()?;
    let specific = descriptor(config.rest(), 5).map_or(&[][..], |r| r.rest());
    Some((object, specific))
}

/// The content of the first descriptor of this tag.
fn descriptor(bytes: &[u8], wanted: u8) -> Option<Reader<'_>> {
    let mut r = Reader::new(bytes);
    loop {
        let tag = r.u8().ok()?;
        let length = length(&mut r).ok()?;
        // Some programs write a length that is too large for what is there.
        let content = r.take(length.min(r.remaining())).ok()?;
        if tag == wanted {
            return Some(Reader::new(content));
        }
    }
}

/// A length in up to four bytes of seven bits.
fn length(r: &mut Reader<'_>) -> Result<usize, Short> {
    let mut length = 0;
    for _ in 0..4 {
        let byte = r.u8()?;
        length = length << 7 | usize::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            break;
        }
    }
    Ok(length)
}

/// An identification header (RFC 7845 section 5.1) out of a `dOps` box.
fn opus(dops: &[u8]) -> Option<Bytes> {
    let mut r = Reader::new(dops);
    let _version = r.u8().ok()?;
    let channels = r.u8().ok()?;
    let skip = r.u16().ok()?;
    let rate = r.u32().ok()?;
    let gain = r.i16().ok()?;
    let mut out = BytesMut::new();
    out.put_slice(b"OpusHead\x01");
    out.put_u8(channels);
    out.put_u16_le(skip);
    out.put_u32_le(rate);
    out.put_i16_le(gain);
    out.put_slice(r.rest()); // the family, and its table
    (!r.is_empty()).then(|| out.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decoder_is_found_among_its_descriptors() {
        // Lengths in four bytes, as QuickTime writes them, and the flags that add fields.
        let esds = b"\0\0\0\0\x03\x80\x80\x80\x24\0\x01\xe0\0\x02\x03abc\0\x03\
            \x04\x80\x80\x80\x14\x40\x15\0\0\0\0\0\0\0\0\0\0\0\x05\x02\x12\x10\x06\x01\x02";
        assert_eq!(decoder(esds), Some((0x40, &[0x12, 0x10][..])));
        for cut in 0..40 {
            let _ = decoder(&esds[..cut]);
        }
    }

    #[test]
    fn opus_changes_its_order_of_bytes() {
        let head = opus(b"\0\x02\x01\x38\0\0\xbb\x80\0\0\0").unwrap();
        assert_eq!(&head[..], b"OpusHead\x01\x02\x38\x01\x80\xbb\0\0\0\0\0");
        assert_eq!(opus(b"\0\x02\x01\x38\0\0\xbb\x80\0\0"), None);
    }
}
