//! The files below a stream's address.

use std::fmt;

/// The media playlist's name.
const MEDIA: &str = "media.m3u8";

/// A file that never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Name {
    /// `EPOCH-NUMBER.m4s`: what the master gave, so that a name means the same bytes on every mirror.
    Segment {
        /// The epoch's id.
        epoch: u64,
        /// Media sequence number.
        number: u64,
    },
    /// `EPOCH-iHASH.mp4`: a hash of the file, as an epoch may change its codecs.
    Init {
        /// The epoch's id.
        epoch: u64,
        /// The first bytes of the file's SHA-256.
        hash: u64,
    },
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Segment { epoch, number } => write!(f, "{epoch:016x}-{number}.m4s"),
            Self::Init { epoch, hash } => write!(f, "{epoch:016x}-i{hash:016x}.mp4"),
        }
    }
}

impl Name {
    /// Reads what [`Name`] writes, and nothing else: a file has one name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (epoch, rest) = text.split_once('-')?;
        let epoch = u64::from_str_radix(epoch, 16).ok()?;
        let name = if let Some(hash) = rest.strip_prefix('i') {
            let hash = u64::from_str_radix(hash.strip_suffix(".mp4")?, 16).ok()?;
            Self::Init { epoch, hash }
        } else {
            let number = rest.strip_suffix(".m4s")?.parse().ok()?;
            Self::Segment { epoch, number }
        };
        (name.to_string() == text).then_some(name)
    }

    /// The MIME type.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        "video/mp4"
    }
}

/// A path of HLS, after the application's and stream's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum File {
    /// `STREAM.m3u8`
    Multivariant,
    /// `STREAM/media.m3u8`
    Media,
    /// `STREAM/FILE`
    Fixed(Name),
}

/// Splits the path of a request, without its leading `/`, into the stream's (`APP/STREAM`) and the
/// file's part; `None` when it is none of HLS.
#[must_use]
pub fn file(path: &str) -> Option<(&str, File)> {
    let (folder, last) = path.rsplit_once('/')?;
    let below = folder.contains('/'); // an application and a stream come first
    if below && last == MEDIA {
        return Some((folder, File::Media));
    }
    if below && let Some(name) = Name::parse(last) {
        return Some((folder, File::Fixed(name)));
    }
    Some((path.strip_suffix(".m3u8")?, File::Multivariant))
}
