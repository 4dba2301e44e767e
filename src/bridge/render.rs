//! Frames to wire bytes.

use bytes::{BufMut, Bytes, BytesMut};

use super::notice::ON_STATUS;
use crate::codec;
use crate::flv;
use crate::media::{Frame, Kind, Rendition, Role, Slot};
use crate::rtmp::chunk::{Envelope, write_payload};
use crate::rtmp::message::kind;

/// The chunk size of all RTMP renditions; every viewer is told it before any media. With it most
/// frames are one chunk.
pub const OUT_CHUNK_SIZE: u32 = 65_536;

/// The message stream of the shared RTMP renditions: the one that a player's first `createStream`
/// gets.
const SHARED_STREAM: u32 = 1;

/// The chunk streams of the renditions. Nothing else may be written on them on a viewer's
/// connection, as a writer that compresses headers does not see what goes past it.
pub mod chunk_stream {
    /// Audio.
    pub const AUDIO: u32 = 4;
    /// Data and notices.
    pub const DATA: u32 = 5;
    /// Video.
    pub const VIDEO: u32 = 6;
}

/// Bytes in front of an RTMP rendition that name its message stream: a basic header of one byte and a
/// type 0 message header.
pub const RTMP_HEADER: usize = 12;

/// The frame's bytes in one form; empty when it has nothing for such viewers. Frames that are plain
/// already, metadata apart, have the same bytes in both forms, made once.
pub fn render(frame: &Frame, form: Rendition) -> &Bytes {
    let same = !frame.extended && !is_metadata(frame);
    let form = match form {
        Rendition::RtmpPlain if same => Rendition::Rtmp,
        Rendition::FlvPlain if same => Rendition::Flv,
        form => form,
    };
    frame.rendition(form, |frame| make(frame, form))
}

/// A new frame with its RTMP rendition made and its payload within that, where it is in one piece
/// there: a log of seconds then holds it once. For [`crate::relay::Publisher::push_shaped`].
#[must_use]
pub fn shape(frame: Frame) -> Frame {
    let length = frame.payload.len();
    let one_chunk = length <= OUT_CHUNK_SIZE as usize;
    if !one_chunk || !matches!(frame.kind, Kind::Audio | Kind::Video) {
        return frame;
    }
    let rendition = make(&frame, Rendition::Rtmp);
    let payload = rendition.slice(rendition.len().saturating_sub(length)..);
    frame.within(Rendition::Rtmp, rendition, payload)
}

fn make(frame: &Frame, form: Rendition) -> Bytes {
    let plain = match form {
        Rendition::Rtmp | Rendition::Flv => None,
        Rendition::RtmpPlain | Rendition::FlvPlain => {
            match codec::unwrap_plain(frame.kind, &frame.payload) {
                None => return Bytes::new(),
                plain => plain,
            }
        }
    };
    let payload = plain.as_ref().unwrap_or(&frame.payload);
    // Metadata later than 0 is a track of subtitles to ffmpeg, which it would wait for. Whoever
    // relays on gets its true time, which belongs to the epoch.
    let time = match form {
        Rendition::RtmpPlain | Rendition::FlvPlain if is_metadata(frame) => 0,
        _ => wire_time(frame.time),
    };
    match form {
        Rendition::Rtmp | Rendition::RtmpPlain => rtmp(frame.kind, time, payload),
        Rendition::Flv | Rendition::FlvPlain => flv_tag(frame.kind, time, payload),
    }
}

fn is_metadata(frame: &Frame) -> bool {
    frame.role == Role::Header(Slot::Metadata)
}

fn rtmp(frame: Kind, timestamp: u32, payload: &[u8]) -> Bytes {
    let command;
    let payload = match frame {
        Kind::Notice => {
            command = status_command(payload);
            &command
        }
        Kind::Audio | Kind::Video | Kind::Data => payload,
    };
    let envelope = Envelope {
        chunk_stream: match frame {
            Kind::Audio => chunk_stream::AUDIO,
            Kind::Video => chunk_stream::VIDEO,
            Kind::Data | Kind::Notice => chunk_stream::DATA,
        },
        kind: message_kind(frame),
        timestamp,
        stream: SHARED_STREAM,
    };
    let mut out = BytesMut::new();
    write_payload(&mut out, OUT_CHUNK_SIZE, &envelope, payload);
    out.freeze()
}

/// Script data `onStatus` as a command: behind the name come a transaction (0) and a null object.
/// A notice that is anything else comes out empty, which no client takes for a command.
fn status_command(script: &[u8]) -> Bytes {
    let Some(info) = script.strip_prefix(ON_STATUS) else {
        return Bytes::new();
    };
    let mut out = BytesMut::with_capacity(script.len() + 10);
    out.put_slice(ON_STATUS);
    out.put_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 5]);
    out.put_slice(info);
    out.freeze()
}

pub(super) fn flv_tag(frame: Kind, timestamp: u32, payload: &[u8]) -> Bytes {
    let kind = match frame {
        Kind::Audio => flv::AUDIO,
        Kind::Video => flv::VIDEO,
        Kind::Data | Kind::Notice => flv::SCRIPT,
    };
    let mut out = BytesMut::with_capacity(flv::TAG_HEADER + payload.len() + flv::TAG_TRAILER);
    match flv::put_tag(&mut out, kind, timestamp, payload) {
        Ok(()) => out.freeze(),
        Err(flv::TooLong) => Bytes::new(), // no message that came over RTMP is that long
    }
}

/// The RTMP message type that carries such frames.
#[must_use]
pub const fn message_kind(frame: Kind) -> u8 {
    match frame {
        Kind::Audio => kind::AUDIO,
        Kind::Video => kind::VIDEO,
        Kind::Data => kind::DATA_AMF0,
        Kind::Notice => kind::COMMAND_AMF0,
    }
}

/// The timestamp on the wire, which wraps at 2^32 (after 49 days).
#[must_use]
pub fn wire_time(time: u64) -> u32 {
    u32::try_from(time & u64::from(u32::MAX)).unwrap_or_default()
}

/// For a viewer on another message stream than 1: what to send instead of the first [`RTMP_HEADER`]
/// bytes of a rendition, and the shared bytes behind them (further chunks do not name the message
/// stream). None for an empty rendition.
#[must_use]
pub fn rtmp_header_for_stream(rendition: &[u8], stream: u32) -> Option<([u8; RTMP_HEADER], &[u8])> {
    let (head, rest) = rendition.split_first_chunk::<RTMP_HEADER>()?;
    let mut head = *head;
    let (_, id) = head.split_last_chunk_mut::<4>()?;
    *id = stream.to_le_bytes();
    Some((head, rest))
}

/// The start of an FLV stream. Announce both audio and video when it is not known what will come.
#[must_use]
pub fn flv_file_header(audio: bool, video: bool) -> Bytes {
    Bytes::copy_from_slice(&flv::FileHeader { audio, video }.encode())
}
