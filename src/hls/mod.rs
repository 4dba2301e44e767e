//! HTTP Live Streaming (RFC 8216): names of segments, the window of them that is kept, playlists.
//!
//! Nothing here depends on who asks or when: two servers with the same segments write the same
//! playlists. How a segment comes to be is [`crate::bridge::Packager`]'s matter.

mod name;
mod playlist;
#[cfg(test)]
mod tests;
mod window;

use std::sync::Arc;

use bytes::Bytes;

pub use name::{File, Name, file};
pub use playlist::{CONTENT_TYPE, Pathway, media, multivariant};
pub use window::{Bounds, Window};

/// An initialization segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Init {
    /// Its name, which tells epoch and content apart.
    pub name: Name,
    /// The file.
    pub bytes: Bytes,
    /// Codecs as in RFC 6381, video first.
    pub codecs: Vec<String>,
    /// Width and height, pixels.
    pub size: Option<(u16, u16)>,
}

/// A media segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Its epoch.
    pub epoch: u64,
    /// Media sequence number: one more than the segment before it.
    pub number: u64,
    /// Discontinuity sequence number: the same within an epoch.
    pub discontinuity: u64,
    /// Date of its first frame, Unix time, ms.
    pub date: u64,
    /// How long it is, ms.
    pub duration: u64,
    /// The longest segment of the stream up to this one, ms.
    pub longest: u64,
    /// How long segments are to be at least, ms.
    pub target: u64,
    /// Pictures in it; 0 without video.
    pub pictures: u32,
    /// What a decoder has to read first.
    pub init: Arc<Init>,
    /// The file.
    pub bytes: Bytes,
}

impl Segment {
    /// Its name.
    #[must_use]
    pub const fn name(&self) -> Name {
        Name::Segment {
            epoch: self.epoch,
            number: self.number,
        }
    }
}
