//! `ExAudioTagHeader` and `ExVideoTagHeader` (Enhanced RTMP v2, "Enhanced Audio" and "Enhanced Video").
//!
//! Both have one shape: a first byte whose low half is the packet type, any number of `ModEx` prefixes,
//! then either a `FourCC` and a body, or the multitrack form with its tracks.

use bytes::{BufMut, Bytes, BytesMut};

use super::{Facts, Malformed};
use crate::limits::{MAX_MODEX, MAX_TRACKS};
use crate::media::{FourCc, Role, Slot};
use crate::wire::Reader;

/// The sound format that announces an enhanced audio tag.
pub(super) const AUDIO_EX: u8 = 9;
/// The bit in the first byte that announces an enhanced video tag.
pub(super) const VIDEO_EX: u8 = 0x80;

const KEY_FRAME: u8 = 1;
const COMMAND_FRAME: u8 = 5;

/// Multitrack types: one track, many of one codec (1), many of many codecs.
const ONE_TRACK: u8 = 0;
const MANY_CODECS: u8 = 2;

/// Codecs whose empty sequence start configures nothing. It must not replace one that does in a
/// cache. (An empty one is legal for Opus.)
const NEEDS_CONFIGURATION: [&[u8; 4]; 5] = [b"avc1", b"hvc1", b"vvc1", b"mp4a", b"fLaC"];
/// Codecs whose `CodedFrames` begin with a composition time.
const HAS_COMPOSITION_TIME: [&[u8; 4]; 3] = [b"avc1", b"hvc1", b"vvc1"];

/// Audio or video: the two number their packet types differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Medium {
    Audio,
    Video,
}

/// What the low half of the first byte says, once the prefixes are off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packet {
    SequenceStart,
    Frames,
    SequenceEnd,
    /// Video `Metadata`: colour information.
    Color,
    /// Audio `MultichannelConfig`.
    Channels,
    Multitrack,
    ModEx,
    Reserved,
}

impl Medium {
    /// Whether the payload has an enhanced header.
    pub(super) fn is_enhanced(self, payload: &[u8]) -> bool {
        payload.first().is_some_and(|b| match self {
            Self::Audio => b >> 4 == AUDIO_EX,
            Self::Video => b & VIDEO_EX != 0,
        })
    }

    const fn packet(self, number: u8) -> Packet {
        match (self, number) {
            (_, 0) | (Self::Video, 5) => Packet::SequenceStart, // 5: for MPEG-2 TS
            (_, 1) | (Self::Video, 3) => Packet::Frames,        // 3: composition time 0
            (_, 2) => Packet::SequenceEnd,
            (Self::Video, 4) => Packet::Color,
            (Self::Audio, 4) => Packet::Channels,
            (Self::Video, 6) | (Self::Audio, 5) => Packet::Multitrack,
            (_, 7) => Packet::ModEx,
            _ => Packet::Reserved,
        }
    }
}

/// One track of a tag; a tag without multitrack is track 0.
#[derive(Debug, Clone, Copy)]
pub(super) struct Track<'a> {
    id: u8,
    pub(super) codec: FourCc,
    pub(super) body: &'a [u8],
}

#[derive(Debug, Clone, Copy)]
enum Content<'a> {
    /// The track with the lowest number; the others were walked and found sound.
    Track(Track<'a>),
    /// A command frame: no codec, no media. What is left after the prefixes.
    Command(&'a [u8]),
    /// A packet or multitrack type that has no meaning yet: nothing behind it can be told.
    Unknown,
}

/// A tag whose framing was read to its end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tag<'a> {
    /// The first byte's high half, in place.
    head: u8,
    /// The packet type, as its number.
    number: u8,
    medium: Medium,
    /// Whether `ModEx` or multitrack was there.
    wrapped: bool,
    content: Content<'a>,
}

impl<'a> Tag<'a> {
    /// Reads a tag for which [`Medium::is_enhanced`] holds.
    pub(super) fn read(medium: Medium, payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut r = Reader::new(payload);
        let first = r.u8()?;
        let mut tag = Self {
            head: first & 0xf0,
            number: first & 15,
            medium,
            wrapped: false,
            content: Content::Unknown,
        };
        let mut prefixes = 0;
        while medium.packet(tag.number) == Packet::ModEx {
            prefixes += 1;
            if prefixes > MAX_MODEX {
                return Err(Malformed::TooManyModEx);
            }
            tag.wrapped = true;
            tag.number = skip_mod_ex(&mut r)?;
        }
        tag.read_content(&mut r)?;
        tag.check_composition_time()?;
        Ok(tag)
    }

    fn read_content(&mut self, r: &mut Reader<'a>) -> Result<(), Malformed> {
        let packet = self.medium.packet(self.number);
        if packet != Packet::Color && self.frame_type() == Some(COMMAND_FRAME) {
            self.content = Content::Command(r.rest());
            r.u8()?;
        } else if packet == Packet::Multitrack {
            self.wrapped = true;
            let b = r.u8()?;
            self.number = b & 15;
            if matches!(
                self.medium.packet(self.number),
                Packet::Multitrack | Packet::ModEx
            ) {
                return Err(Malformed::Nested);
            }
            // A packet type without meaning stays one without meaning inside multitrack.
            if b >> 4 <= MANY_CODECS && self.medium.packet(self.number) != Packet::Reserved {
                self.content = Content::Track(lowest_track(b >> 4, r)?);
            }
        } else if packet != Packet::Reserved {
            self.content = Content::Track(Track {
                id: 0,
                codec: FourCc(r.array()?),
                body: r.rest(),
            });
        }
        Ok(())
    }

    fn check_composition_time(&self) -> Result<(), Malformed> {
        match self.content {
            Content::Track(Track { codec, body, .. })
                if self.medium == Medium::Video
                    && self.number == 1
                    && HAS_COMPOSITION_TIME.contains(&&codec.0)
                    && body.len() < 3 =>
            {
                Err(Malformed::Short)
            }
            _ => Ok(()),
        }
    }

    const fn frame_type(&self) -> Option<u8> {
        match self.medium {
            Medium::Audio => None,
            Medium::Video => Some((self.head >> 4) & 7),
        }
    }

    fn role(&self) -> Role {
        let Content::Track(track) = self.content else {
            return Role::Inter;
        };
        match (self.medium, self.medium.packet(self.number)) {
            (_, Packet::SequenceStart)
                if track.body.is_empty() && NEEDS_CONFIGURATION.contains(&&track.codec.0) =>
            {
                Role::Inter
            }
            (Medium::Video, Packet::SequenceStart) => Role::Header(Slot::VideoSequence(track.id)),
            (Medium::Video, Packet::Color) => Role::Header(Slot::VideoColor(track.id)),
            (Medium::Audio, Packet::SequenceStart) => Role::Header(Slot::AudioSequence(track.id)),
            (Medium::Audio, Packet::Channels) => Role::Header(Slot::AudioChannels(track.id)),
            (Medium::Video, Packet::Frames)
                if track.id == 0 && self.frame_type() == Some(KEY_FRAME) =>
            {
                Role::Key
            }
            _ => Role::Inter,
        }
    }

    /// What a tag with coded frames has of track 0, and whether a composition time comes first.
    pub(super) fn coded(&self) -> Option<(&'a [u8], bool)> {
        match self.content {
            Content::Track(Track { id: 0, codec, body })
                if self.medium.packet(self.number) == Packet::Frames =>
            {
                let timed = self.medium.is_timed(self.number);
                Some((body, timed && HAS_COMPOSITION_TIME.contains(&&codec.0)))
            }
            _ => None,
        }
    }

    /// The track with the lowest number, when the tag is the start of a sequence.
    pub(super) fn sequence_start(&self) -> Option<Track<'a>> {
        match self.content {
            Content::Track(track) if self.medium.packet(self.number) == Packet::SequenceStart => {
                Some(track)
            }
            _ => None,
        }
    }
}

/// Skips one prefix and returns the packet type behind it.
fn skip_mod_ex(r: &mut Reader<'_>) -> Result<u8, Malformed> {
    let mut size = usize::from(r.u8()?) + 1;
    if size == 256 {
        size = usize::from(r.u16()?) + 1;
    }
    r.take(size)?;
    Ok(r.u8()? & 15) // the high half is the kind of prefix, which does not matter here
}

/// Walks all tracks and returns the one with the lowest number, the first of equals.
fn lowest_track<'a>(form: u8, r: &mut Reader<'a>) -> Result<Track<'a>, Malformed> {
    let mut codec = FourCc([0; 4]);
    if form != MANY_CODECS {
        codec = FourCc(r.array()?);
    }
    if form == ONE_TRACK {
        return Ok(Track {
            id: r.u8()?,
            codec,
            body: r.rest(),
        });
    }
    let mut lowest: Option<Track<'a>> = None;
    let mut count = 0;
    while !r.is_empty() {
        count += 1;
        if count > MAX_TRACKS {
            return Err(Malformed::TooManyTracks);
        }
        if form == MANY_CODECS {
            codec = FourCc(r.array()?);
        }
        let id = r.u8()?;
        let size = usize::try_from(r.u24()?).map_err(|_| Malformed::Short)?;
        let body = r.take(size)?;
        if lowest.is_none_or(|t| id < t.id) {
            lowest = Some(Track { id, codec, body });
        }
    }
    lowest.ok_or(Malformed::NoTrack)
}

pub(super) fn facts(medium: Medium, payload: &[u8]) -> Result<Facts, Malformed> {
    let tag = Tag::read(medium, payload)?;
    Ok(Facts {
        role: tag.role(),
        codec: match tag.content {
            Content::Track(track) => Some(track.codec),
            Content::Command(_) | Content::Unknown => None,
        },
        extended: tag.wrapped || matches!(tag.content, Content::Unknown),
    })
}

pub(super) fn plain(medium: Medium, payload: &Bytes) -> Option<Bytes> {
    let tag = Tag::read(medium, payload).ok()?;
    let (codec, body) = match tag.content {
        Content::Unknown => return None,
        Content::Track(track) if track.id != 0 => return None,
        _ if !tag.wrapped => return Some(payload.clone()),
        Content::Track(track) => (Some(track.codec), track.body),
        Content::Command(rest) => (None, rest),
    };
    let mut out = BytesMut::with_capacity(5 + body.len());
    out.put_u8(tag.head | tag.number);
    if let Some(FourCc(name)) = codec {
        out.put_slice(&name);
    }
    out.put_slice(body);
    Some(out.freeze())
}
