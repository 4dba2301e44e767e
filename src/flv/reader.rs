//! Tags out of bytes that arrive in any pieces.

use bytes::{BufMut, Bytes, BytesMut};

use super::{AUDIO, FileHeader, TAG_HEADER, TAG_TRAILER, Tag, TagHeader, VIDEO};
use crate::limits::{Limits, MAX_DATA, MAX_FLV_HEADER};
use crate::wire;

/// The largest bodies that a [`Reader`] takes, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReaderLimits {
    /// Audio.
    pub audio: usize,
    /// Video.
    pub video: usize,
    /// Script data and everything else.
    pub other: usize,
}

impl From<&Limits> for ReaderLimits {
    fn from(limits: &Limits) -> Self {
        Self {
            audio: limits.max_audio,
            video: limits.max_video,
            other: MAX_DATA,
        }
    }
}

impl Default for ReaderLimits {
    fn default() -> Self {
        Self::from(&Limits::default())
    }
}

/// Why the bytes are no FLV. The reader is of no use after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FlvError {
    /// The first bytes are not `FLV`, or announce a header of less than 9 bytes or more than
    /// [`MAX_FLV_HEADER`].
    #[error("this is not an FLV file")]
    NotFlv,
    /// A tag larger than [`ReaderLimits`].
    #[error("a tag of type {kind} has {size} bytes, more than are taken")]
    TooLarge {
        /// The tag's type.
        kind: u8,
        /// What its header says.
        size: u32,
    },
    /// The body of a tag is encrypted.
    #[error("a tag is encrypted")]
    Encrypted,
    /// The size behind a tag is not the tag's ([`Reader::strict`] only).
    #[error("the size behind a tag is {found}, not {expected}")]
    Trailer {
        /// What the tag has.
        expected: u32,
        /// What is there.
        found: u32,
    },
}

/// What comes next, and what is left of it.
#[derive(Debug)]
enum State {
    /// Nine bytes.
    FileHeader,
    /// Bytes between the file's header and its first tag's size field, which nobody defined.
    Padding(usize),
    /// The size behind the tag before (0 at first), bytes.
    Trailer(u32),
    TagHeader,
    Body(TagHeader),
    Failed(FlvError),
}

/// An incremental reader. Its memory is the tag that is arriving, and grows with what arrived.
#[derive(Debug)]
pub struct Reader {
    limits: ReaderLimits,
    strict: bool,
    state: State,
    header: Option<FileHeader>,
    /// What has arrived of the thing that `state` names.
    partial: BytesMut,
}

impl Reader {
    /// A reader at the start of a file.
    #[must_use]
    pub fn new(limits: ReaderLimits) -> Self {
        Self {
            limits,
            strict: false,
            state: State::FileHeader,
            header: None,
            partial: BytesMut::new(),
        }
    }

    /// Checks the size behind each tag, which players ignore and some programs write wrong.
    #[must_use]
    pub fn strict(mut self) -> Self {
        self.strict = true;
        self
    }

    /// The file's header, once it has arrived.
    #[must_use]
    pub const fn header(&self) -> Option<FileHeader> {
        self.header
    }

    /// Whether the input may end here: behind a tag, with or without its size field.
    #[must_use]
    pub fn at_boundary(&self) -> bool {
        self.partial.is_empty() && matches!(self.state, State::Trailer(_) | State::TagHeader)
    }

    /// Bytes that are held for the tag that is arriving.
    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.partial.capacity()
    }

    /// Reads on. Takes what it uses from the front of `input`; `None` means that all was used and the
    /// next tag is not whole yet.
    ///
    /// # Errors
    /// [`FlvError`], again at each further call.
    pub fn feed(&mut self, input: &mut &[u8]) -> Result<Option<Tag>, FlvError> {
        match self.advance(input) {
            Err(error) => {
                self.state = State::Failed(error);
                self.partial = BytesMut::new();
                Err(error)
            }
            tag => tag,
        }
    }

    fn advance(&mut self, input: &mut &[u8]) -> Result<Option<Tag>, FlvError> {
        loop {
            match self.state {
                State::FileHeader => {
                    let Some(bytes) = self.gather(input, 9) else {
                        return Ok(None);
                    };
                    self.state = State::Padding(self.file_header(&bytes)?);
                }
                State::Padding(left) => {
                    let (used, rest) = input.split_at(left.min(input.len()));
                    *input = rest;
                    if used.len() < left {
                        self.state = State::Padding(left - used.len());
                        return Ok(None);
                    }
                    self.state = State::Trailer(0);
                }
                State::Trailer(expected) => {
                    let Some(bytes) = self.gather(input, TAG_TRAILER) else {
                        return Ok(None);
                    };
                    let found = wire::Reader::new(&bytes).u32().unwrap_or_default();
                    if self.strict && found != expected {
                        return Err(FlvError::Trailer { expected, found });
                    }
                    self.state = State::TagHeader;
                }
                State::TagHeader => {
                    let Some(bytes) = self.gather(input, TAG_HEADER) else {
                        return Ok(None);
                    };
                    self.state = State::Body(self.tag_header(&bytes)?);
                }
                State::Body(header) => {
                    let size = usize::try_from(header.size).unwrap_or(usize::MAX);
                    let Some(payload) = self.gather(input, size) else {
                        return Ok(None);
                    };
                    self.state = State::Trailer(header.size + 11); // a size has 24 bits
                    return Ok(Some(Tag {
                        kind: header.kind,
                        timestamp: header.timestamp,
                        payload,
                    }));
                }
                State::Failed(error) => return Err(error),
            }
        }
    }

    /// Moves bytes from `input` until there are `size` of them.
    fn gather(&mut self, input: &mut &[u8], size: usize) -> Option<Bytes> {
        let missing = size.saturating_sub(self.partial.len());
        let (used, rest) = input.split_at(missing.min(input.len()));
        self.partial.put_slice(used);
        *input = rest;
        (used.len() == missing).then(|| self.partial.split().freeze())
    }

    fn file_header(&mut self, bytes: &[u8]) -> Result<usize, FlvError> {
        let mut r = wire::Reader::new(bytes);
        let (Ok(signature), Ok([_version, flags]), Ok(size)) = (r.array::<3>(), r.array(), r.u32())
        else {
            return Err(FlvError::NotFlv);
        };
        if &signature != b"FLV" || !(9..=MAX_FLV_HEADER).contains(&size) {
            return Err(FlvError::NotFlv);
        }
        self.header = Some(FileHeader {
            audio: flags & 4 != 0,
            video: flags & 1 != 0,
        });
        Ok(usize::try_from(size - 9).unwrap_or_default())
    }

    fn tag_header(&self, bytes: &[u8]) -> Result<TagHeader, FlvError> {
        let header =
            TagHeader::decode(&mut wire::Reader::new(bytes)).map_err(|_| FlvError::NotFlv)?;
        let limit = match header.kind {
            AUDIO => self.limits.audio,
            VIDEO => self.limits.video,
            _ => self.limits.other,
        };
        if header.filtered {
            return Err(FlvError::Encrypted);
        }
        if usize::try_from(header.size).is_ok_and(|size| size <= limit) {
            Ok(header)
        } else {
            Err(FlvError::TooLarge {
                kind: header.kind,
                size: header.size,
            })
        }
    }
}
