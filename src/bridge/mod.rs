//! Messages to frames, frames to wire bytes: the only place where a format meets [`crate::media`].
//!
//! [`inspect`] looks at a message once, on its way in; [`render`] makes the bytes of each wire form
//! once, for the first viewer that wants it, and all others share them. Nothing here depends on a
//! viewer but [`rtmp_header_for_stream`].

mod fmp4;
mod following;
mod notice;
pub mod recording;
mod render;
#[cfg(test)]
mod tests;
mod timing;

use bytes::Bytes;

pub use self::fmp4::{Codecs, NoSegment, Packager, codecs, init};
pub use self::following::Following;
pub use self::notice::{MOVE, WAITING, flv_notice, moving, on_status, waiting};
pub use self::render::{
    OUT_CHUNK_SIZE, RTMP_HEADER, chunk_stream, flv_file_header, message_kind, render,
    rtmp_header_for_stream, shape, wire_time,
};
use crate::codec::{self, Facts, Malformed};
use crate::media::{FrameParts, Kind, Role, Slot};
use crate::rtmp::message::kind;

/// `@setDataFrame`, as AMF0 has it: the wrapping in which encoders send metadata.
const SET_DATA_FRAME: &[u8] = b"\x02\x00\x0d@setDataFrame";
/// `onMetaData`, as AMF0 has it.
const ON_METADATA: &[u8] = b"\x02\x00\x0aonMetaData";

/// Why a message is no frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InspectError {
    /// Neither audio nor video nor AMF0 data.
    #[error("message type {0} carries no media")]
    NotMedia(u8),
    /// The payload's own framing is wrong.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

/// Looks at an audio, video or AMF0 data message (or an FLV tag: the types are the same) with its
/// timestamp in milliseconds. The payload stays as it is, except that `@setDataFrame` comes off.
///
/// # Errors
/// [`InspectError`]; the message is then dropped and counted.
pub fn inspect(
    message_kind: u8,
    timestamp: u32,
    payload: Bytes,
) -> Result<FrameParts, InspectError> {
    let (frame_kind, facts, payload) = match message_kind {
        kind::AUDIO => (Kind::Audio, codec::audio(&payload)?, payload),
        kind::VIDEO => (Kind::Video, codec::video(&payload)?, payload),
        kind::DATA_AMF0 => {
            let payload = unwrap_data(payload);
            (Kind::Data, data(&payload), payload)
        }
        other => return Err(InspectError::NotMedia(other)),
    };
    Ok(FrameParts {
        kind: frame_kind,
        role: facts.role,
        codec: facts.codec,
        extended: facts.extended,
        timestamp,
        payload,
    })
}

fn unwrap_data(payload: Bytes) -> Bytes {
    if payload.starts_with(SET_DATA_FRAME) {
        payload.slice(SET_DATA_FRAME.len()..)
    } else {
        payload
    }
}

fn data(payload: &[u8]) -> Facts {
    Facts {
        role: if payload.starts_with(ON_METADATA) {
            Role::Header(Slot::Metadata)
        } else {
            Role::Inter
        },
        codec: None,
        extended: false,
    }
}
