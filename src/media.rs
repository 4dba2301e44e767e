//! What the relay carries: frames, and the names of streams.

use std::fmt;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::limits::{MAX_NAME, MAX_NAME_SEGMENTS};

/// The kind of a frame, as RTMP and FLV tell them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Audio message, FLV tag type 8.
    Audio,
    /// Video message, FLV tag type 9.
    Video,
    /// Data message (AMF0), FLV tag type 18.
    Data,
    /// Made by the server for viewers: the stream waits for its source. Never cached.
    Notice,
}

/// What the relay must know of a frame; everything else in it is passed through unread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// State that a later viewer needs before anything else; the newest of each slot is cached.
    Header(Slot),
    /// Video that can be decoded without what came before it: a join point.
    Key,
    /// Everything else.
    Inter,
}

impl Role {
    /// Whether it says how to decode what follows, and shows nothing itself.
    #[must_use]
    pub const fn is_header(self) -> bool {
        matches!(self, Self::Header(_))
    }
}

/// The cache slot of a header frame. The order is the order in which a new viewer gets them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Slot {
    /// `onMetaData`.
    Metadata,
    /// Video sequence start of a track.
    VideoSequence(u8),
    /// Video `Metadata` (colour information) of a track, Enhanced RTMP.
    VideoColor(u8),
    /// Audio sequence start of a track.
    AudioSequence(u8),
    /// Audio `MultichannelConfig` of a track, Enhanced RTMP.
    AudioChannels(u8),
}

/// One codec, by its `FourCC`; legacy FLV codec numbers are mapped to one (AVC is `avc1`, AAC `mp4a`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FourCc(pub [u8; 4]);

impl fmt::Display for FourCc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for b in self.0 {
            let c = if b.is_ascii_graphic() {
                char::from(b)
            } else {
                '?'
            };
            write!(f, "{c}")?;
        }
        Ok(())
    }
}

/// The forms in which a frame goes over a wire. Each is made once and shared by all its viewers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rendition {
    /// RTMP chunks on message stream 1, the frame as the encoder sent it.
    Rtmp = 0,
    /// An FLV tag with the size that follows it, the frame as the encoder sent it.
    Flv = 1,
    /// Like `Rtmp` for viewers that declared neither multitrack nor `ModEx`: track 0, unwrapped.
    RtmpPlain = 2,
    /// Like `Flv` for the same viewers.
    FlvPlain = 3,
}

/// One audio, video or data message with its place on the stream's timeline.
#[derive(Debug)]
pub struct Frame {
    /// Audio, video or data.
    pub kind: Kind,
    /// What the relay must know of it.
    pub role: Role,
    /// Codec, where the payload tells one.
    pub codec: Option<FourCc>,
    /// Whether the plain renditions differ from the others (multitrack, `ModEx`).
    pub extended: bool,
    /// Milliseconds on the timeline of the stream; it does not wrap, and never goes back for `Video`
    /// and `Audio` of one stream by more than the encoder's own interleaving.
    pub time: u64,
    /// The message's payload, which is an FLV tag's body too.
    pub payload: Bytes,
    renditions: [OnceLock<Bytes>; 4],
}

impl Frame {
    /// A frame that has no rendition yet.
    #[must_use]
    pub const fn new(kind: Kind, role: Role, time: u64, payload: Bytes) -> Self {
        Self {
            kind,
            role,
            codec: None,
            extended: false,
            time,
            payload,
            renditions: [const { OnceLock::new() }; 4],
        }
    }

    /// The wire bytes in one form; `make` runs for the first caller only. Empty bytes mean that this
    /// frame has nothing for such a viewer.
    pub fn rendition(&self, form: Rendition, make: impl FnOnce(&Self) -> Bytes) -> &Bytes {
        // `form as usize` is below 4 by the definition of `Rendition`; the fallback is unreachable.
        match self.renditions.get(form as usize) {
            Some(cell) => cell.get_or_init(|| make(self)),
            None => &self.payload,
        }
    }

    /// The same frame with one rendition made, of which its payload is a part: what is kept for a
    /// while is then there once.
    #[must_use]
    pub fn within(mut self, form: Rendition, rendition: Bytes, payload: Bytes) -> Self {
        if let Some(cell) = self.renditions.get_mut(form as usize) {
            *cell = OnceLock::from(rendition);
            self.payload = payload;
        }
        self
    }

    /// The same frame at another time, without its renditions.
    #[must_use]
    pub fn at(&self, time: u64) -> Self {
        Self {
            codec: self.codec,
            extended: self.extended,
            ..Self::new(self.kind, self.role, time, self.payload.clone())
        }
    }
}

/// What a source hands to the relay: a [`Frame`] before it has a place on the stream's timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameParts {
    /// Audio, video or data.
    pub kind: Kind,
    /// What the relay must know of it.
    pub role: Role,
    /// Codec, where the payload tells one.
    pub codec: Option<FourCc>,
    /// Whether the plain renditions differ from the others (multitrack, `ModEx`).
    pub extended: bool,
    /// The message's own timestamp, milliseconds, wrapping at 2^32.
    pub timestamp: u32,
    /// The message's payload.
    pub payload: Bytes,
}

impl FrameParts {
    /// The frame at `time` milliseconds of the stream's timeline.
    #[must_use]
    pub fn into_frame(self, time: u64) -> Frame {
        Frame {
            kind: self.kind,
            role: self.role,
            codec: self.codec,
            extended: self.extended,
            time,
            payload: self.payload,
            renditions: [const { OnceLock::new() }; 4],
        }
    }
}

/// Why a name was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing before the query.
    #[error("the name is empty")]
    Empty,
    /// More than [`MAX_NAME`] bytes or [`MAX_NAME_SEGMENTS`] segments.
    #[error("the name is too long")]
    TooLong,
    /// A character other than letters, digits and `. _ ~ -`, or a segment that is empty or begins
    /// with a dot.
    #[error("the name has a character or segment that is not allowed")]
    Forbidden,
}

/// `app/name`, checked: 1 to 255 bytes each, segments of `[A-Za-z0-9._~-]` split at '/', none empty,
/// none beginning with a dot. No other text from a peer ever becomes part of a path or a key.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamName {
    app: Arc<str>,
    name: Arc<str>,
}

impl StreamName {
    /// Checks both parts; what follows a `?` must have been split off.
    ///
    /// # Errors
    /// [`NameError`] says which rule is broken.
    pub fn new(app: &str, name: &str) -> Result<Self, NameError> {
        check_name(app)?;
        check_name(name)?;
        Ok(Self {
            app: app.into(),
            name: name.into(),
        })
    }

    /// The application.
    #[must_use]
    pub fn app(&self) -> &str {
        &self.app
    }

    /// The stream within the application.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.app, self.name)
    }
}

impl fmt::Debug for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Checks one part of a stream's name.
///
/// # Errors
/// [`NameError`] says which rule is broken.
pub fn check_name(text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > MAX_NAME || text.split('/').count() > MAX_NAME_SEGMENTS {
        return Err(NameError::TooLong);
    }
    let good = |segment: &str| {
        !segment.is_empty()
            && !segment.starts_with('.')
            && segment
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"._~-".contains(&b))
    };
    if text.split('/').all(good) {
        Ok(())
    } else {
        Err(NameError::Forbidden)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_only_ever_names() {
        assert!(StreamName::new("live", "event").is_ok());
        assert!(StreamName::new("live/sub", "a-b_c.d~e/2").is_ok());
        for bad in [
            "..", "a/../b", ".hidden", "a//b", "/a", "a/", "a b", "a\n", "é", "a\\b", "a%2f",
        ] {
            assert_eq!(
                StreamName::new("live", bad),
                Err(NameError::Forbidden),
                "{bad:?}"
            );
        }
        assert_eq!(StreamName::new("", "x"), Err(NameError::Empty));
        assert!(StreamName::new("live", &"x".repeat(255)).is_ok());
        assert_eq!(
            StreamName::new("live", &"x".repeat(256)),
            Err(NameError::TooLong)
        );
        assert_eq!(
            StreamName::new("live", "a/b/c/d/e/f/g/h/i"),
            Err(NameError::TooLong)
        );
    }

    #[test]
    fn parts_become_the_frame_they_describe() {
        let parts = FrameParts {
            kind: Kind::Video,
            role: Role::Key,
            codec: Some(FourCc(*b"hvc1")),
            extended: true,
            timestamp: u32::MAX,
            payload: Bytes::from_static(b"x"),
        };
        let frame = parts.into_frame(1 << 40);
        assert_eq!((frame.kind, frame.role), (Kind::Video, Role::Key));
        assert_eq!(frame.codec, Some(FourCc(*b"hvc1")));
        assert!(frame.extended);
        assert_eq!(frame.time, 1 << 40);
        assert_eq!(&frame.payload[..], b"x");
    }

    #[test]
    fn a_rendition_is_made_once() {
        let frame = Frame::new(Kind::Audio, Role::Inter, 5, Bytes::from_static(b"x"));
        let first = frame
            .rendition(Rendition::Flv, |f| f.payload.clone())
            .clone();
        let again = frame.rendition(Rendition::Flv, |_| unreachable!("made twice"));
        assert_eq!(&first, again);
    }
}
