//! What a status page says of a stream, from its sequence headers: never needed for relaying.

use std::fmt;

use super::enhanced::{Medium, Tag};
use super::sps::{self, Bits};
use super::{audio, legacy, video};
use crate::media::{FourCc, Kind, Role, Slot};
use crate::wire::Reader;

/// What a sequence header says of its track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Description {
    /// H.264 (`avc1`) or H.265 (`hvc1`).
    Video {
        /// The codec.
        codec: FourCc,
        /// The codec's profile number.
        profile: u8,
        /// The level times ten: 41 is level 4.1.
        level: u8,
        /// Width and height, pixels, when the parameter set could be read.
        size: Option<(u32, u32)>,
    },
    /// AAC.
    Audio {
        /// The codec.
        codec: FourCc,
        /// The audio object type (2 is LC, 5 HE-AAC).
        profile: u8,
        /// Hz.
        sample_rate: u32,
        /// Channels; 0 when the header leaves it to the frames.
        channels: u8,
    },
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Video {
                codec,
                profile,
                level,
                size,
            } => {
                let (whole, tenth) = (level / 10, level % 10);
                write!(f, "{codec} profile {profile} level {whole}.{tenth}")?;
                size.map_or(Ok(()), |(w, h)| write!(f, " {w}x{h}"))
            }
            Self::Audio {
                codec,
                profile,
                sample_rate,
                channels,
            } => write!(
                f,
                "{codec} profile {profile} {sample_rate} Hz, {channels} channels"
            ),
        }
    }
}

/// Reads a sequence header of track 0 in AVC, HEVC or AAC; None for everything else.
#[must_use]
pub fn describe(kind: Kind, payload: &[u8]) -> Option<Description> {
    let (medium, facts) = match kind {
        Kind::Audio => (Medium::Audio, audio(payload)),
        Kind::Video => (Medium::Video, video(payload)),
        Kind::Data | Kind::Notice => return None,
    };
    let facts = facts.ok()?;
    if !matches!(
        facts.role,
        Role::Header(Slot::VideoSequence(0) | Slot::AudioSequence(0))
    ) {
        return None;
    }
    let codec = facts.codec?;
    let record = if medium.is_enhanced(payload) {
        Tag::read(medium, payload).ok()?.sequence_start()?.body
    } else {
        legacy::configuration(medium == Medium::Video, payload)?
    };
    match &codec.0 {
        b"avc1" => avc(codec, record),
        b"hvc1" => hevc(codec, record),
        b"mp4a" => aac(codec, record),
        _ => None,
    }
}

/// `AVCDecoderConfigurationRecord` (ISO/IEC 14496-15 section 5.3.3.1).
fn avc(codec: FourCc, record: &[u8]) -> Option<Description> {
    let mut r = Reader::new(record);
    let [_version, profile, _compatibility, level, _length] = r.array().ok()?;
    let first_set = || {
        let mut r = r;
        if r.u8().ok()? & 31 == 0 {
            return None;
        }
        let size = r.u16().ok()?;
        sps::avc(r.take(size.into()).ok()?)
    };
    Some(Description::Video {
        codec,
        profile,
        level,
        size: first_set(),
    })
}

/// `HEVCDecoderConfigurationRecord` (ISO/IEC 14496-15 section 8.3.3.1).
fn hevc(codec: FourCc, record: &[u8]) -> Option<Description> {
    const SEQUENCE_PARAMETER_SET: u8 = 33;
    let mut r = Reader::new(record);
    let [_version, profile] = r.array().ok()?;
    r.take(10).ok()?;
    let level = r.u8().ok()?;
    let first_set = || {
        let mut r = r;
        r.take(9).ok()?;
        for _ in 0..r.u8().ok()? {
            let kind = r.u8().ok()? & 63;
            for _ in 0..r.u16().ok()? {
                let size = r.u16().ok()?;
                let nal = r.take(size.into()).ok()?;
                if kind == SEQUENCE_PARAMETER_SET {
                    return sps::hevc(nal);
                }
            }
        }
        None
    };
    Some(Description::Video {
        codec,
        profile: profile & 31,
        level: level / 3, // stored as thirty times the level
        size: first_set(),
    })
}

/// `AudioSpecificConfig` (ISO/IEC 14496-3 section 1.6.2.1).
fn aac(codec: FourCc, record: &[u8]) -> Option<Description> {
    let mut b = Bits::new(record);
    let (profile, mut sample_rate) = object_and_frequency(&mut b)?;
    let channels = match b.bits(4)? {
        7 => 8,
        n => n,
    };
    if matches!(profile, 5 | 29) {
        sample_rate = sampling_frequency(&mut b)?; // the one of the spectral band replication
    }
    Some(Description::Audio {
        codec,
        profile: u8::try_from(profile).ok()?,
        sample_rate,
        channels: u8::try_from(channels).ok()?,
    })
}

/// The audio object type, and the sampling frequency that its frames are counted by.
pub(crate) fn object_and_frequency(b: &mut Bits<'_>) -> Option<(u32, u32)> {
    let mut object = b.bits(5)?;
    if object == 31 {
        object = b.bits(6)? + 32;
    }
    Some((object, sampling_frequency(b)?))
}

fn sampling_frequency(b: &mut Bits<'_>) -> Option<u32> {
    const TABLE: [u32; 13] = [
        96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025,
        8_000, 7_350,
    ];
    match b.bits(4)? {
        15 => b.bits(24),
        n => TABLE.get(usize::try_from(n).ok()?).copied(),
    }
}
