//! A track, and how its samples are framed as messages: the legacy form where the codec has one, else
//! that of Enhanced RTMP (v2, "Enhanced Video" and "Enhanced Audio").

use bytes::{BufMut, Bytes, BytesMut};

use super::{Sample, is_reordered};
use crate::media::FourCc;
use crate::wire::put_u24;

/// The longest [`Head`]: enhanced video with a composition time.
const MAX_HEAD: usize = 8;

/// One track of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Track {
    /// The codec.
    pub codec: FourCc,
    /// What a decoder must know: a configuration record as MP4 has it, an `AudioSpecificConfig`, an
    /// identification header of Opus; empty where the codec needs none.
    pub configuration: Bytes,
    /// Width and height, pixels; 0 for sound, or when it is not known.
    pub size: (u32, u32),
    /// Hz; 0 for pictures, or when it is not known.
    pub rate: u32,
    /// Channels of sound; 0 when it is not known.
    pub channels: u8,
}

/// The bytes between a message's header and a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    bytes: [u8; MAX_HEAD],
    used: u8,
}

impl Head {
    /// No byte.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            bytes: [0; MAX_HEAD],
            used: 0,
        }
    }

    fn of(parts: &[&[u8]]) -> Self {
        let mut head = Self::none();
        let all = parts.iter().flat_map(|part| part.iter());
        for (place, byte) in head.bytes.iter_mut().zip(all) {
            *place = *byte;
            head.used = head.used.saturating_add(1);
        }
        head
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.used)).unwrap_or_default()
    }
}

/// The first byte of FLV sound: the rest of it is said by the configuration.
const AAC: u8 = 0xaf;
/// MP3, 44 kHz, 16 bits, stereo; a decoder reads what it is from the frames.
const MP3: u8 = 0x2f;
/// Enhanced sound; the packet type is in the low half.
const ENHANCED_SOUND: u8 = 0x90;
const ENHANCED_PICTURE: u8 = 0x80;
const AVC: u8 = 7;
const KEY: u8 = 1 << 4;
const INTER: u8 = 2 << 4;

const START: u8 = 0;
const FRAMES: u8 = 1;
/// Frames without a composition time.
const FRAMES_X: u8 = 3;

impl Track {
    /// Whether it has pictures.
    #[must_use]
    pub const fn is_video(&self) -> bool {
        matches!(&self.codec.0, b"avc1" | b"hvc1" | b"av01" | b"vp09")
    }

    pub(super) fn head(&self, sample: Sample) -> Head {
        let frame = if sample.is_key() { KEY } else { INTER };
        let composition = sample.composition();
        let [_, a, b, c] = composition.to_be_bytes();
        match &self.codec.0 {
            b"avc1" => Head::of(&[&[frame | AVC, 1, a, b, c]]),
            b"mp4a" => Head::of(&[&[AAC, 1]]),
            b".mp3" => Head::of(&[&[MP3]]),
            codec if !self.is_video() => Head::of(&[&[ENHANCED_SOUND | FRAMES], codec]),
            codec if !is_reordered(self.codec) => {
                Head::of(&[&[ENHANCED_PICTURE | frame | FRAMES], codec])
            }
            codec if composition == 0 => Head::of(&[&[ENHANCED_PICTURE | frame | FRAMES_X], codec]),
            codec => Head::of(&[&[ENHANCED_PICTURE | frame | FRAMES], codec, &[a, b, c]]),
        }
    }

    /// The message that configures a decoder; `None` where there is nothing to say.
    #[must_use]
    pub fn configuration(&self) -> Option<Bytes> {
        let mut out = BytesMut::with_capacity(MAX_HEAD.saturating_add(self.configuration.len()));
        match &self.codec.0 {
            b"avc1" => {
                out.put_slice(&[KEY | AVC, START]);
                put_u24(&mut out, 0);
            }
            b"mp4a" => out.put_slice(&[AAC, START]),
            b".mp3" => return None,
            codec => {
                out.put_u8(if self.is_video() {
                    ENHANCED_PICTURE | KEY | START
                } else {
                    ENHANCED_SOUND | START
                });
                out.put_slice(codec);
            }
        }
        out.put_slice(&self.configuration);
        Some(out.freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::Found;
    use super::*;
    use crate::codec::{self, Body};
    use crate::media::{Kind, Role, Slot};

    fn track(codec: &[u8; 4]) -> Track {
        Track {
            codec: FourCc(*codec),
            configuration: Bytes::from_static(&[1, 2, 3, 4]),
            size: (0, 0),
            rate: 0,
            channels: 0,
        }
    }

    fn sample(kind: Kind, key: bool, composition: i64) -> Sample {
        Sample::new(&Found {
            time: 0,
            offset: 0,
            size: 1,
            kind,
            key,
            header: false,
            composition,
        })
        .unwrap()
    }

    /// What the relay reads from a message is what was put into it.
    #[test]
    fn the_relay_understands_every_frame() {
        for name in [b"avc1", b"hvc1", b"av01", b"vp09"] {
            let track = track(name);
            let configuration = track.configuration().unwrap();
            let facts = codec::video(&configuration).unwrap();
            assert_eq!(facts.role, Role::Header(Slot::VideoSequence(0)));
            let inside = codec::body(Kind::Video, &configuration);
            let record = Bytes::from_static(&[1, 2, 3, 4]);
            assert_eq!(inside, Some(Body::Configuration(FourCc(*name), record)));
            for (key, composition) in [(true, 0), (false, 80), (false, -40)] {
                let reordered = is_reordered(FourCc(*name));
                let sample = sample(Kind::Video, key, composition);
                let message = [track.head(sample).bytes(), b"picture"].concat();
                let message = Bytes::from(message);
                let facts = codec::video(&message).unwrap();
                assert_eq!(facts.role == Role::Key, key);
                let Some(Body::Media {
                    codec,
                    data,
                    composition: shown,
                }) = codec::body(Kind::Video, &message)
                else {
                    panic!("no picture");
                };
                assert_eq!((codec, &data[..]), (FourCc(*name), &b"picture"[..]));
                let expected = if reordered { composition } else { 0 };
                assert_eq!(i64::from(shown), expected);
            }
        }
        for name in [b"mp4a", b".mp3", b"Opus"] {
            let track = track(name);
            let message = [track.head(sample(Kind::Audio, false, 0)).bytes(), b"sound"].concat();
            let Some(Body::Media { codec, data, .. }) =
                codec::body(Kind::Audio, &Bytes::from(message))
            else {
                panic!("no sound");
            };
            assert_eq!((codec, &data[..]), (FourCc(*name), &b"sound"[..]));
            assert_eq!(track.configuration().is_some(), name != b".mp3");
        }
    }
}
