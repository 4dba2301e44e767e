//! Frames to the bytes of a file, which is whole up to the last bytes that were written.
//!
//! A [`Muxer`] is fed frames in the order of the log and appends to a buffer: whole FLV tags, or whole
//! fragments of MP4. A file that ends behind any of them, however that came, can be played to there.
//! What a reader would like to know in front (how long it is) is put there at the end, by
//! [`Muxer::finish`]; a file without it is whole too.

mod flv;
mod mp4;
#[cfg(test)]
mod tests;
mod whole;

use std::sync::Arc;

use bytes::Bytes;

pub use self::flv::{DURATION_AT, FlvFile};
pub use self::mp4::Mp4File;
pub use self::whole::{End, whole};
use crate::media::Frame;

/// The container of a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Format {
    /// FLV: whatever the encoder sends, byte for byte.
    #[default]
    Flv,
    /// Fragmented MP4: what HLS has too.
    Mp4,
}

impl Format {
    /// As the configuration and a file's name have it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Flv => "flv",
            Self::Mp4 => "mp4",
        }
    }
}

impl std::str::FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "flv" => Ok(Self::Flv),
            "mp4" => Ok(Self::Mp4),
            _ => Err(format!("{text:?} is none of flv, mp4")),
        }
    }
}

/// Why a frame is not in the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotFed {
    /// It needs a file of its own: the decoder's configuration is another one from here on.
    #[error("the stream changed to another configuration")]
    Split,
    /// The container cannot have it; in words.
    #[error("{0}")]
    Unsupported(String),
}

/// Bytes that replace as many that were written, so far from the beginning of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch {
    /// From the beginning of the file.
    pub offset: u64,
    /// As many as are replaced.
    pub bytes: Bytes,
}

/// The head of an MP4 file that begins with these headers, without its duration, which is the [`Patch`] of it;
/// `None` when there is no such file.
#[must_use]
pub fn mp4_head(headers: &[Arc<Frame>]) -> Option<(Bytes, Patch)> {
    Mp4File::begin(headers, 0)
        .head()
        .ok()
        .map(|(head, offset)| {
            let nothing = Bytes::from_static(&[0; 4]);
            let patch = Patch {
                offset,
                bytes: nothing,
            };
            (head, patch)
        })
}

/// One file that is being made.
#[derive(Debug)]
pub enum Muxer {
    /// FLV.
    Flv(FlvFile),
    /// MP4.
    Mp4(Box<Mp4File>),
}

impl Muxer {
    /// A new file whose time 0 is `base` of the stream's timeline; `headers` are those that are in force
    /// there. Its first bytes go to `out`.
    #[must_use]
    pub fn begin(format: Format, headers: &[Arc<Frame>], base: u64, out: &mut Vec<u8>) -> Self {
        match format {
            Format::Flv => Self::Flv(FlvFile::begin(headers, base, out)),
            Format::Mp4 => Self::Mp4(Box::new(Mp4File::begin(headers, base))),
        }
    }

    /// A file that is there and ends like this goes on, with times that do. An MP4 file must have been begun
    /// with the same headers ([`mp4_head`]).
    #[must_use]
    pub fn resume(
        format: Format,
        headers: &[Arc<Frame>],
        base: u64,
        end: &End,
        out: &mut Vec<u8>,
    ) -> Self {
        match format {
            Format::Flv => Self::Flv(FlvFile::resume(headers, base, end.last, end.has, out)),
            Format::Mp4 => Self::Mp4(Box::new(Mp4File::resume(headers, base, end))),
        }
    }

    /// The next frame. What it makes whole goes to `out`.
    ///
    /// # Errors
    /// [`NotFed`]; nothing was appended.
    pub fn feed(&mut self, frame: &Frame, out: &mut Vec<u8>) -> Result<(), NotFed> {
        match self {
            Self::Flv(file) => file.feed(frame, out),
            Self::Mp4(file) => file.feed(frame, out),
        }
    }

    /// No frame follows: the last bytes go to `out`, and the answer is what to write in front.
    ///
    /// # Errors
    /// [`NotFed::Unsupported`]: nothing of it could be put into the file.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Result<Vec<Patch>, NotFed> {
        match self {
            Self::Flv(file) => Ok(file.finish()),
            Self::Mp4(file) => file.finish(out),
        }
    }

    /// How long it is so far, ms.
    #[must_use]
    pub fn duration(&self) -> u64 {
        match self {
            Self::Flv(file) => file.duration(),
            Self::Mp4(file) => file.duration(),
        }
    }
}
