//! The index of a media file: when each sample is due, where it is, how large it is.
//!
//! A file is read by somebody else: an [`Indexer`] says which bytes it wants next ([`Step::Read`]), is
//! given them, and in the end there is an [`Index`]. It never wants the media itself, only the boxes of
//! MP4 that describe it and the heads of FLV's tags. What a file says of itself is believed as far as
//! the file's real bytes go: nothing points outside, nothing is reserved for a number that is only
//! written down.
//!
//! A sample becomes the payload of an RTMP message, which is an FLV tag's body too: what is in front of
//! its bytes is [`Index::head`].

mod feed;
mod flv;
mod mp4;
mod sample;
mod stored;
#[cfg(test)]
mod tests;
mod track;

use bytes::Bytes;

pub use self::feed::{Batch, Due, Feed, Wanted};
pub use self::sample::Sample;
pub use self::track::{Head, Track};
use crate::limits::MAX_FILE_FRAME;
use crate::media::{FourCc, Kind};

/// Bytes that tell one format from the other.
const MAGIC: usize = 16;

/// Why a file has no index; in words for whoever put it there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// Neither FLV nor MP4.
    #[error("this is neither FLV nor MP4")]
    Unknown,
    /// It ends before what describes it is whole.
    #[error("the file ends before its index: it was cut off, or is still being written")]
    Truncated,
    /// A box or a tag says what cannot be.
    #[error("the file is damaged: {0}")]
    Damaged(&'static str),
    /// It has more of something than is taken.
    #[error("the file has {0}, more than is taken")]
    TooMuch(&'static str),
    /// Its media is encrypted.
    #[error("the media of this file is encrypted")]
    Encrypted,
    /// There is nothing in it that can be played.
    #[error("the file has no track in a codec that can be sent")]
    NothingToPlay,
}

/// What an [`Indexer`] wants.
#[derive(Debug)]
pub enum Step {
    /// These bytes of the file, which lie within its length; all of them are given at the next step.
    Read {
        /// From the beginning of the file.
        offset: u64,
        /// Bytes, more than 0 and no more than [`crate::limits::MAX_FILE_INDEX`].
        length: usize,
    },
    /// Nothing more.
    Done(Box<Index>),
}

/// Reads the index of one file.
#[derive(Debug)]
pub struct Indexer {
    length: u64,
    state: State,
}

#[derive(Debug)]
enum State {
    Begin,
    Magic,
    Flv(Box<flv::Reader>),
    Mp4(Box<mp4::Reader>),
}

impl Indexer {
    /// Of a file of so many bytes.
    #[must_use]
    pub const fn new(length: u64) -> Self {
        Self {
            length,
            state: State::Begin,
        }
    }

    /// Takes the bytes that the last step wanted (none at first) and says what comes next.
    ///
    /// # Errors
    /// [`IndexError`]; the indexer is of no further use.
    pub fn step(&mut self, bytes: &[u8]) -> Result<Step, IndexError> {
        match &mut self.state {
            State::Begin => {
                let length = usize::try_from(self.length).unwrap_or(MAGIC).min(MAGIC);
                if length < 8 {
                    return Err(IndexError::Unknown);
                }
                self.state = State::Magic;
                Ok(Step::Read { offset: 0, length })
            }
            State::Magic if bytes.starts_with(b"FLV") => {
                let mut reader = Box::new(flv::Reader::begin(self.length, bytes)?);
                let first = reader.step(&[]);
                self.state = State::Flv(reader);
                first
            }
            State::Magic if mp4::begins(bytes) => {
                let mut reader = Box::new(mp4::Reader::new(self.length));
                let first = reader.step(&[]);
                self.state = State::Mp4(reader);
                first
            }
            State::Magic => Err(IndexError::Unknown),
            State::Flv(reader) => reader.step(bytes),
            State::Mp4(reader) => reader.step(bytes),
        }
    }
}

/// How a file frames its samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Samples are whole tag bodies.
    Flv,
    /// Samples are bare; [`Index::head`] goes in front.
    Mp4,
}

/// What is known of a file.
#[derive(Debug)]
pub struct Index {
    /// How samples are framed.
    pub format: Format,
    /// In the order in which they are sent.
    samples: Vec<Sample>,
    /// Positions of the pictures that can be begun with.
    keys: Vec<u32>,
    /// Positions of FLV's sequence headers.
    headers: Vec<u32>,
    /// Pictures, if it has any.
    pub video: Option<Track>,
    /// Sound, if it has any.
    pub audio: Option<Track>,
    /// How long it plays, ms.
    pub duration: u64,
    /// The body of an FLV file's own `onMetaData`.
    pub metadata: Option<Bytes>,
    /// The file ends earlier than it says; what is there is indexed.
    pub cut: bool,
}

/// Where a play begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seek {
    /// At the last picture up to there that can be begun with; before the first of them, exactly there.
    Key,
    /// At the first sample that is due then or later.
    Exact,
}

impl Index {
    /// Puts an index together: counts the key frames, which the readers need not.
    fn new(format: Format, mut samples: Vec<Sample>, duration: u64) -> Result<Self, IndexError> {
        if !samples.is_sorted_by_key(Sample::time) && format == Format::Mp4 {
            samples.sort_by_key(Sample::time);
        }
        samples.shrink_to_fit();
        let of = |wanted: fn(&Sample) -> bool| {
            let all = samples.iter().enumerate();
            let found = all.filter(|(_, sample)| wanted(sample));
            found.filter_map(|(at, _)| u32::try_from(at).ok()).collect()
        };
        let keys = of(|s| s.is_key());
        let headers = of(|s| s.is_header());
        if samples.iter().all(Sample::is_header) {
            return Err(IndexError::NothingToPlay);
        }
        Ok(Self {
            format,
            keys,
            headers,
            samples,
            video: None,
            audio: None,
            duration,
            metadata: None,
            cut: false,
        })
    }

    /// How many samples there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Whether there is none; an index that was read has some.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// The sample at a position.
    #[must_use]
    pub fn sample(&self, position: usize) -> Option<Sample> {
        self.samples.get(position).copied()
    }

    /// How many pictures can be begun with.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.keys.len()
    }

    /// The position of the first picture from there on that can be begun with; behind all samples when
    /// there is none.
    #[must_use]
    pub fn key_from(&self, position: usize) -> usize {
        let before = |key: &u32| (*key as usize) < position;
        let key = self.keys.get(self.keys.partition_point(before)).copied();
        key.map_or(self.samples.len(), |key| key as usize)
    }

    /// The position to begin at for a time, ms; within the samples.
    #[must_use]
    pub fn position(&self, time: u64, seek: Seek) -> usize {
        let before = |position: &u32| {
            let sample = self.sample(*position as usize);
            sample.is_some_and(|sample| u64::from(sample.time()) <= time)
        };
        if time == 0 {
            return 0; // sound may come before the first picture
        }
        if seek == Seek::Key {
            let later = self.keys.partition_point(before);
            let key = later.checked_sub(1).and_then(|at| self.keys.get(at));
            if let Some(key) = key {
                return *key as usize;
            }
        }
        let due = |sample: &Sample| u64::from(sample.time()) < time;
        let first = self.samples.partition_point(due);
        first.min(self.samples.len().saturating_sub(1))
    }

    /// The positions of the sequence headers that hold at a position, in the order of the file: the last
    /// of each kind before it. FLV alone has any; MP4 has one for each track ([`Index::head`]).
    #[must_use]
    pub fn headers_at(&self, position: usize) -> Vec<usize> {
        let end = self
            .headers
            .partition_point(|header| (*header as usize) < position);
        let before = self.headers.get(..end).unwrap_or_default();
        let last = |kind: Kind| {
            let mut back = before.iter().rev().map(|header| *header as usize);
            back.find(|at| self.sample(*at).is_some_and(|s| s.kind() == kind))
        };
        let mut found: Vec<usize> = [Kind::Video, Kind::Audio]
            .into_iter()
            .filter_map(last)
            .collect();
        found.sort_unstable();
        found
    }

    /// What stands in front of a sample's bytes in its message.
    #[must_use]
    pub fn head(&self, sample: Sample) -> Head {
        let track = match (self.format, sample.kind()) {
            (Format::Mp4, Kind::Video) => self.video.as_ref(),
            (Format::Mp4, Kind::Audio) => self.audio.as_ref(),
            _ => None,
        };
        track.map_or_else(Head::none, |track| track.head(sample))
    }

    /// The messages that tell a decoder what MP4's tracks are, each with its kind.
    pub fn configurations(&self) -> impl Iterator<Item = (Kind, Bytes)> {
        let tracks = match self.format {
            Format::Mp4 => [
                (Kind::Video, self.video.as_ref()),
                (Kind::Audio, self.audio.as_ref()),
            ],
            Format::Flv => [(Kind::Video, None), (Kind::Audio, None)],
        };
        let with = |(kind, track): (Kind, Option<&Track>)| Some((kind, track?.configuration()?));
        tracks.into_iter().filter_map(with)
    }

    /// Bytes of memory, roughly.
    #[must_use]
    pub fn memory(&self) -> usize {
        let samples = self.samples.capacity().saturating_mul(size_of::<Sample>());
        let positions = self
            .keys
            .capacity()
            .saturating_add(self.headers.capacity())
            .saturating_mul(size_of::<u32>());
        let track =
            |track: &Option<Track>| track.as_ref().map_or(0, |track| track.configuration.len());
        samples
            .saturating_add(positions)
            .saturating_add(track(&self.video))
            .saturating_add(track(&self.audio))
            .saturating_add(self.metadata.as_ref().map_or(0, Bytes::len))
    }
}

/// A sample of a size that a message may have.
const fn check_size(size: u64) -> Result<(), IndexError> {
    if size > MAX_FILE_FRAME {
        return Err(IndexError::TooMuch("a frame of more than 8 MiB"));
    }
    Ok(())
}

/// Whether a codec's pictures are shown in another order than they are decoded, so that its message
/// has a composition time.
const fn is_reordered(codec: FourCc) -> bool {
    matches!(&codec.0, b"avc1" | b"hvc1")
}
