//! FLV: file header, tags, reader and writer (Adobe FLV 10.1, annex E).
//!
//! A file is a header, then tags, each followed by its size (`PreviousTagSize`). A tag's body is the
//! payload of the RTMP message of the same type.

mod reader;
#[cfg(test)]
mod tests;

use bytes::{BufMut, Bytes};

pub use self::reader::{FlvError, Reader, ReaderLimits};
use crate::wire::{self, Short, put_u24};

/// Tag type of audio.
pub const AUDIO: u8 = 8;
/// Tag type of video.
pub const VIDEO: u8 = 9;
/// Tag type of script data (AMF0).
pub const SCRIPT: u8 = 18;

/// Bytes of a tag's header.
pub const TAG_HEADER: usize = 11;
/// Bytes of the size behind a tag.
pub const TAG_TRAILER: usize = 4;
/// Bytes of a file's header, the size field in front of the first tag included.
pub const FILE_HEADER: usize = 13;
/// The longest body that a tag's header can tell, bytes.
pub const MAX_BODY: usize = 0x00ff_ffff;

/// What the file's header announces. Players take it as a hint, some as a promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileHeader {
    /// There are audio tags.
    pub audio: bool,
    /// There are video tags.
    pub video: bool,
}

impl FileHeader {
    /// The header with the size field (0) that stands in front of the first tag.
    #[must_use]
    pub const fn encode(self) -> [u8; FILE_HEADER] {
        let flags = if self.audio { 4 } else { 0 } | if self.video { 1 } else { 0 };
        [b'F', b'L', b'V', 1, flags, 0, 0, 0, 9, 0, 0, 0, 0]
    }
}

/// One tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// [`AUDIO`], [`VIDEO`], [`SCRIPT`], or a type that is none of them and should be skipped.
    pub kind: u8,
    /// Milliseconds, wrapping at 2^32 as RTMP's do.
    pub timestamp: u32,
    /// The body.
    pub payload: Bytes,
}

/// The eleven bytes in front of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TagHeader {
    /// Tag type: the low five bits of the first byte.
    pub kind: u8,
    /// The body is encrypted (the filter bit).
    pub filtered: bool,
    /// Bytes of the body, up to [`MAX_BODY`].
    pub size: u32,
    /// Milliseconds: 24 bits, then the 8 above them.
    pub timestamp: u32,
}

impl TagHeader {
    /// Reads a header.
    ///
    /// # Errors
    /// [`Short`] when there are fewer than [`TAG_HEADER`] bytes.
    pub fn decode(r: &mut wire::Reader<'_>) -> Result<Self, Short> {
        let mut head = wire::Reader::new(r.take(TAG_HEADER)?);
        let first = head.u8()?;
        let size = head.u24()?;
        let low = head.u24()?;
        let high = u32::from(head.u8()?);
        Ok(Self {
            kind: first & 0x1f,
            filtered: first & 0x20 != 0,
            size,
            timestamp: high << 24 | low,
        })
    }

    /// Appends the header. Stream id 0, as the specification wants it.
    pub fn encode(self, out: &mut impl BufMut) {
        out.put_u8(self.kind & 0x1f | if self.filtered { 0x20 } else { 0 });
        put_u24(out, self.size);
        put_u24(out, self.timestamp);
        let [high, ..] = self.timestamp.to_be_bytes();
        out.put_u8(high);
        put_u24(out, 0);
    }
}

/// A body longer than [`MAX_BODY`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the body is too long for an FLV tag")]
pub struct TooLong;

/// Appends a tag and the size behind it.
///
/// # Errors
/// [`TooLong`]; nothing is appended then.
pub fn put_tag(
    out: &mut impl BufMut,
    kind: u8,
    timestamp: u32,
    payload: &[u8],
) -> Result<(), TooLong> {
    let size = u32::try_from(payload.len())
        .ok()
        .filter(|size| *size <= 0x00ff_ffff)
        .ok_or(TooLong)?;
    let header = TagHeader {
        kind,
        filtered: false,
        size,
        timestamp,
    };
    header.encode(out);
    out.put_slice(payload);
    out.put_u32(size + 11); // the body has at most 2^24 bytes
    Ok(())
}
