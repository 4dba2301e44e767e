//! Audio and video tags as Adobe FLV 10.1, annex E.4.2 and E.4.3 have them.

use super::body::signed;
use super::{Facts, Malformed};
use crate::media::{FourCc, Role, Slot};
use crate::wire::Reader;

const AAC: u8 = 10;
const AVC: u8 = 7;
/// Never in the specification, but what encoders and players agreed on before Enhanced RTMP; framed
/// like AVC.
const HEVC: u8 = 12;
/// The same for AV1.
const AV1: u8 = 13;

const KEY_FRAME: u8 = 1;
const COMMAND_FRAME: u8 = 5;

/// The packet type byte of AAC and AVC: 0 is the sequence header, 1 media, 2 the end of a sequence.
const SEQUENCE_HEADER: u8 = 0;
const MEDIA: u8 = 1;

/// Reads a payload that is not empty and whose sound format is not the enhanced one.
pub(super) fn audio(payload: &[u8]) -> Result<Facts, Malformed> {
    let mut r = Reader::new(payload);
    let format = r.u8()? >> 4;
    let mut facts = Facts::inter(sound(format));
    // A header without a configuration configures nothing, and must not replace one that does.
    if format == AAC && r.u8()? == SEQUENCE_HEADER && !r.is_empty() {
        facts.role = Role::Header(Slot::AudioSequence(0));
    }
    Ok(facts)
}

/// Reads a payload that is not empty and whose enhanced bit is clear.
pub(super) fn video(payload: &[u8]) -> Result<Facts, Malformed> {
    let mut r = Reader::new(payload);
    let head = r.u8()?;
    let (frame, id) = (head >> 4, head & 15);
    if frame == COMMAND_FRAME {
        r.u8()?;
        return Ok(Facts::inter(None));
    }
    let mut facts = Facts::inter(picture(id));
    let packet = if matches!(id, AVC | HEVC | AV1) {
        let packet = r.u8()?;
        if packet == SEQUENCE_HEADER || packet == MEDIA {
            r.take(3)?; // composition time
        }
        packet
    } else {
        MEDIA
    };
    if packet == SEQUENCE_HEADER && !r.is_empty() {
        facts.role = Role::Header(Slot::VideoSequence(0));
    } else if packet == MEDIA && frame == KEY_FRAME {
        facts.role = Role::Key;
    }
    Ok(facts)
}

/// The `FourCC` by which containers that have one know the sound format.
const fn sound(format: u8) -> Option<FourCc> {
    Some(FourCc(match format {
        0 => *b"lpcm",
        1 => *b"swfa",
        2 | 14 => *b".mp3",
        3 => *b"sowt",
        4..=6 => *b"nmos",
        7 => *b"alaw",
        8 => *b"ulaw",
        AAC => *b"mp4a",
        11 => *b"spex",
        _ => return None,
    }))
}

/// The same for pictures.
const fn picture(id: u8) -> Option<FourCc> {
    Some(FourCc(match id {
        1 => *b"jpeg",
        2 => *b"FLV1",
        3 => *b"FSV1",
        4 => *b"VP6F",
        5 => *b"VP6A",
        6 => *b"FSV2",
        AVC => *b"avc1",
        HEVC => *b"hvc1",
        AV1 => *b"av01",
        _ => return None,
    }))
}

/// The sequence header's configuration record, when the payload is one.
pub(super) fn configuration(is_video: bool, payload: &[u8]) -> Option<&[u8]> {
    payload.get(if is_video { 5 } else { 2 }..)
}

/// The coded frame of a payload and its composition time, ms, when the payload has one.
pub(super) fn frame(is_video: bool, payload: &[u8]) -> Option<(&[u8], i32)> {
    let mut r = Reader::new(payload);
    let head = r.u8().ok()?;
    if !is_video {
        let is_media = head >> 4 != AAC || r.u8().ok()? == MEDIA;
        return is_media.then(|| (r.rest(), 0));
    }
    if head >> 4 == COMMAND_FRAME {
        return None;
    }
    if !matches!(head & 15, AVC | HEVC | AV1) {
        return Some((r.rest(), 0));
    }
    let is_media = r.u8().ok()? == MEDIA;
    let composition = signed(r.array().ok()?);
    is_media.then(|| (r.rest(), composition))
}
