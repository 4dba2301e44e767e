//! What a relay must know of a payload: sequence header, key frame, codec, track; legacy and Enhanced RTMP.
//!
//! A payload is the body of an RTMP audio or video message, which is an FLV tag's body too. It is
//! read only as far as its framing goes and always passed on as it came. What the framing says wrong
//! is a [`Malformed`] value; what it says that this code does not know (a reserved packet type, a
//! codec of tomorrow) is passed on as an ordinary frame, because a mirror is built months before the
//! encoder that feeds it.

mod body;
mod config;
mod enhanced;
mod legacy;
mod sets;
mod sps;
#[cfg(test)]
mod tests;

use bytes::Bytes;

pub use self::body::{AudioClock, Body, body};
pub(crate) use self::config::object_and_frequency;
pub use self::config::{Description, describe};
pub use self::sets::{Coding, Nal, Sets};
pub(crate) use self::sps::Bits;
use crate::media::{FourCc, Kind, Role};
use crate::wire::Short;

/// What the relay must know of a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// Header, key frame or neither.
    pub role: Role,
    /// The codec, where the payload tells one; of several tracks, the one with the lowest number.
    pub codec: Option<FourCc>,
    /// Whether a viewer without multitrack and `ModEx` needs [`unwrap_plain`].
    pub extended: bool,
}

impl Facts {
    const fn inter(codec: Option<FourCc>) -> Self {
        Self {
            role: Role::Inter,
            codec,
            extended: false,
        }
    }
}

/// Why a payload is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It ends inside its own framing, or a track's size points behind its end.
    #[error("the tag ends inside its header")]
    Short,
    /// More than [`crate::limits::MAX_MODEX`] `ModEx` prefixes.
    #[error("the tag has too many ModEx prefixes")]
    TooManyModEx,
    /// More than [`crate::limits::MAX_TRACKS`] tracks.
    #[error("the tag has too many tracks")]
    TooManyTracks,
    /// Multitrack without a track.
    #[error("the multitrack tag has no track")]
    NoTrack,
    /// Multitrack or `ModEx` inside multitrack, which the specification rules out.
    #[error("the multitrack tag nests another one")]
    Nested,
}

impl From<Short> for Malformed {
    fn from(_: Short) -> Self {
        Self::Short
    }
}

/// Reads the framing of an audio payload. An empty one is legal: it is silence.
///
/// # Errors
/// [`Malformed`] says what is wrong; such a payload is no use to anyone and is counted.
pub fn audio(payload: &[u8]) -> Result<Facts, Malformed> {
    match payload.first() {
        None => Ok(Facts::inter(None)),
        Some(b) if b >> 4 == enhanced::AUDIO_EX => {
            enhanced::facts(enhanced::Medium::Audio, payload)
        }
        Some(_) => legacy::audio(payload),
    }
}

/// Reads the framing of a video payload. `Key` is said of track 0 alone, for that is the track that
/// every viewer decodes; a key frame of another track is no place to join.
///
/// # Errors
/// [`Malformed`] says what is wrong; such a payload is no use to anyone and is counted.
pub fn video(payload: &[u8]) -> Result<Facts, Malformed> {
    match payload.first() {
        None => Err(Malformed::Short),
        Some(b) if b & enhanced::VIDEO_EX != 0 => enhanced::facts(enhanced::Medium::Video, payload),
        Some(_) => legacy::video(payload),
    }
}

/// The payload for viewers that declared neither multitrack nor `ModEx`: track 0, unwrapped, without
/// prefixes. None when there is nothing for them in it (another track, a form of tomorrow). Payloads
/// that are plain already, and those that are no audio or video, come back as they are.
#[must_use]
pub fn unwrap_plain(kind: Kind, payload: &Bytes) -> Option<Bytes> {
    let medium = match kind {
        Kind::Audio => enhanced::Medium::Audio,
        Kind::Video => enhanced::Medium::Video,
        Kind::Data | Kind::Notice => return Some(payload.clone()),
    };
    if medium.is_enhanced(payload) {
        enhanced::plain(medium, payload)
    } else {
        Some(payload.clone())
    }
}
