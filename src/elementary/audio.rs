//! AAC without a frame around it, and Opus.

use bytes::{BufMut, Bytes, BytesMut};

use super::{Sent, flv_time, tag};
use crate::flv::{self, Tag};

/// AAC whose configuration is known from elsewhere.
#[derive(Debug, Default)]
pub struct Aac {
    sent: Sent,
}

impl Aac {
    /// Passes on one frame at a time in 90 kHz, behind its `AudioSpecificConfig` when that is another
    /// one than before.
    pub fn frame(
        &mut self,
        configuration: &Bytes,
        frame: &[u8],
        ticks: i64,
        mut out: impl FnMut(Tag),
    ) {
        let time = flv_time(ticks);
        if self.sent.is_new(configuration) {
            tag(flv::AUDIO, time, &[0xaf, 0], configuration).map(&mut out);
        }
        tag(flv::AUDIO, time, &[0xaf, 1], frame).map(out);
    }
}

/// A packet of Opus at a time in 90 kHz.
pub fn opus(packet: &[u8], ticks: i64, out: impl FnMut(Tag)) {
    tag(flv::AUDIO, flv_time(ticks), b"\x91Opus", packet).map(out);
}

/// The sequence header of Opus: its identification header (RFC 7845 section 5.1) with one mapping of
/// one or two channels, and no gap to skip, as a live stream has none.
pub fn opus_header(channels: u8, ticks: i64, out: impl FnMut(Tag)) {
    let mut head = BytesMut::with_capacity(19);
    head.put_slice(b"OpusHead\x01");
    head.put_u8(channels.clamp(1, 2));
    head.put_u16_le(0);
    head.put_u32_le(48_000);
    head.put_u16_le(0);
    head.put_u8(0);
    tag(flv::AUDIO, flv_time(ticks), b"\x90Opus", &head).map(out);
}
