//! Elementary streams as other containers carry them, made the bodies of FLV tags: H.264 and H.265 with
//! start codes or as loose NAL units, AAC in ADTS or bare, MP3, Opus.
//!
//! A [`Video`] or an audio machine takes what arrived, with its times, and gives [`Tag`]s: a sequence
//! header whenever the decoder's configuration is another one, then the frame. What cannot be
//! understood is dropped and counted ([`Counted`]).

mod adts;
mod audio;
mod mp3;
mod opening;
#[cfg(test)]
mod tests;
mod video;

use bytes::{BufMut, Bytes, BytesMut};

pub use self::adts::Adts;
pub use self::audio::{Aac, opus, opus_header};
pub use self::mp3::Mp3;
pub(crate) use self::opening::Opening;
pub use self::video::{Video, nal_units};
pub use crate::codec::Coding;
use crate::flv::{self, Tag};

/// What could not be passed on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counted {
    /// Frames whose own framing is wrong.
    pub malformed: u64,
    /// Frames of a kind that has no place in FLV.
    pub unsupported: u64,
    /// Frames that came before their configuration.
    pub early: u64,
}

/// Ticks of the clock of MPEG-TS and RTP video in a millisecond.
pub const TICKS: i64 = 90;

/// A time in 90 kHz as an FLV tag has it: milliseconds, wrapping.
#[must_use]
pub fn flv_time(ticks: i64) -> u32 {
    let ms = ticks.div_euclid(TICKS).rem_euclid(1 << 32);
    u32::try_from(ms).unwrap_or_default() // it is below 2^32
}

fn tag(kind: u8, timestamp: u32, head: &[u8], body: &[u8]) -> Option<Tag> {
    let size = head.len().saturating_add(body.len());
    if size > flv::MAX_BODY {
        return None;
    }
    let mut payload = BytesMut::with_capacity(size);
    payload.put_slice(head);
    payload.put_slice(body);
    Some(Tag {
        kind,
        timestamp,
        payload: payload.freeze(),
    })
}

/// The configuration that was sent last, so that only another one is sent.
#[derive(Debug, Default)]
struct Sent(Option<Bytes>);

impl Sent {
    /// Whether `configuration` is another one than before; it counts as sent then.
    fn is_new(&mut self, configuration: &Bytes) -> bool {
        if self.0.as_ref() == Some(configuration) {
            return false;
        }
        self.0 = Some(configuration.clone());
        true
    }
}
