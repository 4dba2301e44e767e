//! What a reader accepts.

use crate::limits::{
    Limits, MAX_CHUNK_OVERHEAD, MAX_CHUNK_STREAMS, MAX_COMMAND, MAX_CONTROL, MAX_DATA,
    MAX_MESSAGE_BEFORE_CONNECT, MAX_REASSEMBLY_IDLE, OVERHEAD_WINDOW,
};
use crate::rtmp::message::kind;

/// Why a chunk stream cannot be read on. Each is final: where the next chunk begins is not known or
/// not worth knowing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// A message is announced that is longer than its type may be at this time.
    #[error("a message of type {kind} announces {length} bytes, the limit is {limit}")]
    TooLong {
        /// Message type id.
        kind: u8,
        /// Announced bytes.
        length: u32,
        /// Allowed bytes.
        limit: usize,
    },
    /// A header other than type 3 while the chunk stream's message is not complete.
    #[error("length or type changed in a message on chunk stream {chunk_stream}")]
    HeaderInMessage {
        /// Where.
        chunk_stream: u32,
    },
    /// The first header of a chunk stream leaves out what only an earlier one could tell.
    #[error("chunk stream {chunk_stream} begins with a type {form} header")]
    NoEarlierHeader {
        /// Where.
        chunk_stream: u32,
        /// 2 or 3.
        form: u8,
    },
    /// More chunk streams than [`MAX_CHUNK_STREAMS`].
    #[error("more than {MAX_CHUNK_STREAMS} chunk streams")]
    TooManyChunkStreams,
    /// All partial messages together are too large.
    #[error("partial messages exceed {limit} bytes together")]
    Reassembly {
        /// Allowed bytes.
        limit: usize,
    },
    /// A chunk size that is zero, negative or below the minimum.
    #[error("chunk size {size} is not allowed, the smallest is {min}")]
    ChunkSize {
        /// Asked for.
        size: u32,
        /// Allowed.
        min: u32,
    },
    /// Hardly anything but headers for [`OVERHEAD_WINDOW`] bytes.
    #[error("more than {MAX_CHUNK_OVERHEAD} header bytes for each byte of payload")]
    Overhead,
}

/// The limits of a reader that the configuration can move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReaderLimits {
    /// Largest audio message, bytes.
    pub max_audio: usize,
    /// Largest video or aggregate message, bytes.
    pub max_video: usize,
    /// Smallest chunk size that the peer may set.
    pub min_chunk_size: u32,
}

impl From<&Limits> for ReaderLimits {
    fn from(limits: &Limits) -> Self {
        Self {
            max_audio: limits.max_audio,
            max_video: limits.max_video,
            min_chunk_size: limits.min_chunk_size,
        }
    }
}

impl Default for ReaderLimits {
    fn default() -> Self {
        Self::from(&Limits::default())
    }
}

/// What the peer may send, which decides the sizes that are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReaderPhase {
    /// `connect` was not answered: no message above [`MAX_MESSAGE_BEFORE_CONNECT`].
    #[default]
    BeforeConnect,
    /// No media is expected: audio, video, aggregate and data messages above
    /// [`MAX_REASSEMBLY_IDLE`] are discarded unread, as no one would take them.
    Idle,
    /// Media is expected, from a publisher or from the server that a client plays from.
    Publishing,
}

/// Whether a message may be received at all, and if so, whether it is read only to be discarded.
pub(super) fn admit(
    limits: &ReaderLimits,
    phase: ReaderPhase,
    id: u8,
    length: u32,
) -> Result<bool, ChunkError> {
    let limit = match id {
        kind::SET_CHUNK_SIZE..=kind::PEER_BANDWIDTH => MAX_CONTROL,
        kind::AUDIO => limits.max_audio,
        kind::VIDEO | kind::AGGREGATE => limits.max_video,
        kind::DATA_AMF0 | kind::DATA_AMF3 => MAX_DATA,
        kind::COMMAND_AMF0
        | kind::COMMAND_AMF3
        | kind::SHARED_OBJECT_AMF0
        | kind::SHARED_OBJECT_AMF3 => MAX_COMMAND,
        _ => return Ok(true),
    };
    let limit = match phase {
        ReaderPhase::BeforeConnect => limit.min(MAX_MESSAGE_BEFORE_CONNECT),
        ReaderPhase::Idle | ReaderPhase::Publishing => limit,
    };
    if exceeds(length, limit) {
        return Err(ChunkError::TooLong {
            kind: id,
            length,
            limit,
        });
    }
    Ok(phase == ReaderPhase::Idle && exceeds(length, MAX_REASSEMBLY_IDLE))
}

pub(super) fn exceeds(length: u32, limit: usize) -> bool {
    to_usize(length) > limit
}

pub(super) fn to_usize(n: u32) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

/// Header bytes against payload bytes, so that tiny chunks and empty messages cost their sender more
/// than us.
#[derive(Debug, Default)]
pub(super) struct Overhead {
    pub(super) header: usize,
    payload: usize,
}

impl Overhead {
    pub(super) fn count(&mut self, header: usize, payload: usize) -> Result<(), ChunkError> {
        self.header = self.header.saturating_add(header);
        self.payload = self.payload.saturating_add(payload);
        if self.header.saturating_add(self.payload) >= OVERHEAD_WINDOW {
            if self.header > self.payload.saturating_mul(MAX_CHUNK_OVERHEAD) {
                return Err(ChunkError::Overhead);
            }
            *self = Self::default();
        }
        Ok(())
    }
}
