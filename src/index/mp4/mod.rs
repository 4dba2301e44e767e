//! MP4 and its kin (ISO/IEC 14496-12: mov, m4v, f4v), whole or in fragments.
//!
//! A walk of its own and not a decoder of boxes: of the tables of a film, some megabytes, nothing is
//! copied, they are walked once where they are; and a box that a program wrote in its own way costs
//! that box alone.

mod boxes;
mod entry;
mod fragment;
mod movie;
mod tables;

use self::boxes::header;
use self::fragment::Fragments;
use self::movie::Movie;
use super::sample::Sample;
use super::{Format, Index, IndexError, Step};
use crate::limits::{MAX_FILE_BOXES, MAX_FILE_FRAGMENT, MAX_FILE_INDEX};

/// The longest head of a box: size, kind, large size.
const BOX_HEAD: usize = 16;

/// Whether a file's first bytes are a box that an MP4 file may begin with.
pub(super) fn begins(bytes: &[u8]) -> bool {
    const FIRST: [&[u8]; 9] = [
        b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"styp", b"pnot", b"uuid",
    ];
    bytes.get(4..8).is_some_and(|kind| FIRST.contains(&kind))
}

#[derive(Debug)]
pub(super) struct Reader {
    length: u64,
    /// Where the box that is looked at begins.
    at: u64,
    boxes: usize,
    state: State,
    movie: Option<Movie>,
    fragments: Fragments,
    samples: Vec<Sample>,
    cut: bool,
}

#[derive(Debug)]
enum State {
    /// The next step begins with a box.
    Between,
    Head,
    /// The content of a `moov`; the box ends there.
    Movie(u64),
    /// The content of a `moof`; the box ends there.
    Fragment(u64),
}

impl Reader {
    pub(super) fn new(length: u64) -> Self {
        Self {
            length,
            at: 0,
            boxes: 0,
            state: State::Between,
            movie: None,
            fragments: Fragments::default(),
            samples: Vec::new(),
            cut: false,
        }
    }

    pub(super) fn step(&mut self, bytes: &[u8]) -> Result<Step, IndexError> {
        match self.state {
            State::Between => {}
            State::Head => {
                if let Some(step) = self.head(bytes)? {
                    return Ok(step);
                }
            }
            State::Movie(end) => {
                let mut movie = movie::read(bytes)?;
                let whole = !movie.is_fragmented();
                self.cut |= movie.samples(bytes, self.length, &mut self.samples)?;
                self.movie = Some(movie);
                if whole {
                    return self.finish();
                }
                self.at = end;
            }
            State::Fragment(end) => {
                if let Some(movie) = &self.movie {
                    let place = fragment::Place {
                        movie,
                        begin: self.at,
                        length: self.length,
                    };
                    self.cut |= self.fragments.read(bytes, place, &mut self.samples)?;
                }
                self.at = end;
            }
        }
        self.next_box()
    }

    fn next_box(&mut self) -> Result<Step, IndexError> {
        let left = self.length.saturating_sub(self.at);
        if left < 8 {
            return self.finish();
        }
        self.boxes = self.boxes.saturating_add(1);
        if self.boxes > MAX_FILE_BOXES {
            return Err(IndexError::TooMuch("more than a million boxes"));
        }
        self.state = State::Head;
        let length = usize::try_from(left).unwrap_or(BOX_HEAD).min(BOX_HEAD);
        Ok(Step::Read {
            offset: self.at,
            length,
        })
    }

    /// Looks at a box's head; `None` when the box is of no interest and was stepped over.
    fn head(&mut self, bytes: &[u8]) -> Result<Option<Step>, IndexError> {
        let left = self.length.saturating_sub(self.at);
        let head = header(bytes, left).ok_or(IndexError::Damaged("the size of a box"))?;
        let end = self.at.saturating_add(head.size);
        let content = head.size.saturating_sub(head.length);
        let (most, state) = match &head.kind {
            b"moov" if self.movie.is_none() => (MAX_FILE_INDEX, State::Movie(end)),
            b"moof" if self.movie.is_some() => (MAX_FILE_FRAGMENT, State::Fragment(end)),
            // What was put in front of its index would be walked in vain.
            b"moof" => return Err(IndexError::Damaged("a fragment before its moov")),
            _ => {
                if end > self.length {
                    self.cut = true;
                    return self.finish().map(Some);
                }
                self.at = end;
                return Ok(None);
            }
        };
        if end > self.length {
            if self.samples.is_empty() {
                return Err(IndexError::Truncated);
            }
            self.cut = true;
            return self.finish().map(Some);
        }
        let length = usize::try_from(content).ok().filter(|n| *n <= most);
        let length = length.ok_or(IndexError::TooMuch("an index of more than 64 MiB"))?;
        if length == 0 {
            return Err(IndexError::Damaged("an empty moov or moof"));
        }
        self.state = state;
        let offset = self.at.saturating_add(head.length);
        Ok(Some(Step::Read { offset, length }))
    }

    fn finish(&mut self) -> Result<Step, IndexError> {
        let Some(movie) = self.movie.take() else {
            return Err(IndexError::Truncated);
        };
        let samples = std::mem::take(&mut self.samples);
        let end = self.fragments.end().max(movie.end);
        let mut index = Index::new(Format::Mp4, samples, end)?;
        index.video = movie.video.map(|track| track.track);
        index.audio = movie.audio.map(|track| track.track);
        index.cut = self.cut;
        Ok(Step::Done(Box::new(index)))
    }
}
