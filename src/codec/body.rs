//! What is inside a payload, for packagers: a decoder's configuration, or media without its framing.

use bytes::Bytes;

use super::enhanced::{Medium, Tag};
use super::sps::Bits;
use super::{audio, config, legacy, unwrap_plain, video};
use crate::media::{FourCc, Kind, Role, Slot};

/// The inside of an audio or video payload's track 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// A decoder's configuration: a configuration record as MP4 has it, an `AudioSpecificConfig`, an
    /// identification header of Opus. It may be empty where the codec needs none.
    Configuration(FourCc, Bytes),
    /// A coded frame.
    Media {
        /// The codec.
        codec: FourCc,
        /// The frame as MP4 has it.
        data: Bytes,
        /// When it is shown, after when it is decoded, ms.
        composition: i32,
    },
}

/// Looks inside; `None` for what is neither (the end of a sequence, another track, silence, a form of
/// tomorrow) and for what is malformed.
#[must_use]
pub fn body(kind: Kind, payload: &Bytes) -> Option<Body> {
    let (medium, facts) = match kind {
        Kind::Audio => (Medium::Audio, audio(payload)),
        Kind::Video => (Medium::Video, video(payload)),
        Kind::Data | Kind::Notice => return None,
    };
    let facts = facts.ok()?;
    let codec = facts.codec?;
    let plain = unwrap_plain(kind, payload)?;
    let configuration = matches!(
        facts.role,
        Role::Header(Slot::VideoSequence(0) | Slot::AudioSequence(0))
    );
    if medium.is_enhanced(&plain) {
        let tag = Tag::read(medium, &plain).ok()?;
        if configuration {
            let record = tag.sequence_start()?.body;
            return Some(Body::Configuration(codec, plain.slice_ref(record)));
        }
        let (data, composition) = tag.frame()?;
        return media(codec, plain.slice_ref(data), composition);
    }
    if configuration {
        let record = legacy::configuration(medium == Medium::Video, &plain)?;
        return Some(Body::Configuration(codec, plain.slice_ref(record)));
    }
    let (data, composition) = legacy::frame(medium == Medium::Video, &plain)?;
    media(codec, plain.slice_ref(data), composition)
}

fn media(codec: FourCc, data: Bytes, composition: i32) -> Option<Body> {
    (!data.is_empty()).then_some(Body::Media {
        codec,
        data,
        composition,
    })
}

/// A signed number of 24 bits.
pub(super) const fn signed([a, b, c]: [u8; 3]) -> i32 {
    i32::from_be_bytes([a, b, c, 0]) >> 8
}

/// How the samples of a codec are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AudioClock {
    /// Each frame has so many samples of this rate, Hz.
    Fixed {
        /// Samples a second, as the coder counts them.
        rate: u32,
        /// Samples of a frame.
        samples: u32,
    },
    /// Each packet of Opus says how many samples of 48 kHz it has.
    Opus,
}

impl AudioClock {
    /// The clock of an AAC or Opus configuration.
    #[must_use]
    pub fn of(codec: FourCc, record: &[u8]) -> Option<Self> {
        match &codec.0 {
            b"mp4a" => {
                let mut b = Bits::new(record);
                let (_, rate) = config::object_and_frequency(&mut b)?;
                (rate > 0).then_some(Self::Fixed {
                    rate,
                    samples: 1024,
                })
            }
            b"Opus" => Some(Self::Opus),
            _ => None,
        }
    }

    /// Samples a second.
    #[must_use]
    pub const fn rate(self) -> u32 {
        match self {
            Self::Fixed { rate, .. } => rate,
            Self::Opus => 48_000,
        }
    }

    /// Samples of this frame.
    #[must_use]
    pub fn samples(self, frame: &[u8]) -> u32 {
        match self {
            Self::Fixed { samples, .. } => samples,
            Self::Opus => opus_samples(frame),
        }
    }
}

/// Samples at 48 kHz of an Opus packet, by its table of contents (RFC 6716 section 3.1).
fn opus_samples(packet: &[u8]) -> u32 {
    const TENTH_MS: u32 = 48; // ten of them are a millisecond at 48 kHz: 4.8 samples, times ten
    let Some(head) = packet.first() else { return 0 };
    let tenths = match head >> 3 {
        0..=11 => [100, 200, 400, 600].get(usize::from(head >> 3 & 3)),
        12..=15 => [100, 200].get(usize::from(head >> 3 & 1)),
        _ => [25, 50, 100, 200].get(usize::from(head >> 3 & 3)),
    };
    let frames = match head & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(packet.get(1).map_or(0, |b| b & 63)),
    };
    let tenths = tenths.copied().unwrap_or_default() * frames;
    tenths.min(1200) * TENTH_MS / 10 // a packet has at most 120 ms
}

impl<'a> Tag<'a> {
    /// The frame of track 0 and its composition time, ms, when the tag has one.
    pub(super) fn frame(&self) -> Option<(&'a [u8], i32)> {
        let (body, timed) = self.coded()?;
        if !timed {
            return Some((body, 0));
        }
        let (time, data) = body.split_first_chunk::<3>()?;
        Some((data, signed(*time)))
    }
}

impl Medium {
    /// Whether the packet of this number, of a codec that has one, begins with a composition time.
    pub(super) fn is_timed(self, number: u8) -> bool {
        self == Self::Video && number == 1
    }
}
