//! FLV: the heads of the tags, one behind the other.
//!
//! An FLV file has no index of its own that could be trusted, so its tags are walked: of each only the
//! head is read, and of the first sequence headers and the metadata the body.

use bytes::Bytes;

use super::sample::{Found, Sample};
use super::{Format, Index, IndexError, Step, Track, check_size};
use crate::codec::{self, Body};
use crate::flv::{AUDIO, SCRIPT, TAG_HEADER, TAG_TRAILER, TagHeader, VIDEO};
use crate::limits::{MAX_CACHED_HEADER, MAX_DATA, MAX_FILE_SAMPLES, MAX_FLV_HEADER};
use crate::media::{Kind, Role};
use crate::wire;

/// What is read at once: the heads of small tags in a row.
const WINDOW: usize = 8 * 1024;
/// Bytes of a body that say what it is: Enhanced RTMP with a few prefixes.
const LOOK: usize = 48;
/// A file whose first frame is later than this, ms, was cut out of something longer.
const LIVE: u32 = 1000;
/// AMF0 text `onMetaData`.
const ON_METADATA: &[u8] = b"\x02\x00\x0aonMetaData";

#[derive(Debug)]
pub(super) struct Reader {
    length: u64,
    /// Where the next tag begins.
    at: u64,
    /// Where the bytes that were asked for begin.
    asked: u64,
    samples: Vec<Sample>,
    tags: usize,
    video: Option<Track>,
    audio: Option<Track>,
    metadata: Option<Bytes>,
    /// Where its clock begins, ms.
    first: Option<u32>,
    last: [Option<u32>; 2],
    step: u32,
    cut: bool,
}

/// What became of a tag.
enum Tag {
    Read,
    /// So many bytes from the tag's beginning are needed.
    Needs(usize),
    End,
}

impl Reader {
    /// `bytes` are the first of the file.
    pub(super) fn begin(length: u64, bytes: &[u8]) -> Result<Self, IndexError> {
        let mut r = wire::Reader::new(bytes);
        let size = r.take(5).and_then(|_| r.u32());
        let size = size.map_err(|_| IndexError::Truncated)?;
        if !(9..=MAX_FLV_HEADER).contains(&size) {
            return Err(IndexError::Damaged("the length of its header"));
        }
        Ok(Self {
            length,
            at: u64::from(size).saturating_add(TAG_TRAILER as u64),
            asked: 0,
            samples: Vec::new(),
            tags: 0,
            video: None,
            audio: None,
            metadata: None,
            first: None,
            last: [None; 2],
            step: 0,
            cut: false,
        })
    }

    pub(super) fn step(&mut self, bytes: &[u8]) -> Result<Step, IndexError> {
        loop {
            let begins = self.at.checked_sub(self.asked);
            let begins = begins.and_then(|n| usize::try_from(n).ok());
            let rest = begins.and_then(|n| bytes.get(n..)).unwrap_or_default();
            match self.tag(rest)? {
                Tag::Read => {}
                Tag::Needs(length) => {
                    self.asked = self.at;
                    let left = self.length.saturating_sub(self.at);
                    let length = usize::try_from(left).unwrap_or(length).min(length);
                    return Ok(Step::Read {
                        offset: self.at,
                        length,
                    });
                }
                Tag::End => return self.finish().map(|index| Step::Done(Box::new(index))),
            }
        }
    }

    /// Reads the tag that `bytes` begin with, if they have as much of it as it takes.
    fn tag(&mut self, bytes: &[u8]) -> Result<Tag, IndexError> {
        let left = self.length.saturating_sub(self.at);
        if left < TAG_HEADER as u64 {
            self.cut |= left > 0;
            return Ok(Tag::End);
        }
        let mut r = wire::Reader::new(bytes);
        let Ok(head) = TagHeader::decode(&mut r) else {
            return Ok(Tag::Needs(WINDOW));
        };
        let size = head.size as usize;
        let whole = (TAG_HEADER as u64).saturating_add(u64::from(head.size));
        if whole > left {
            self.cut = true; // it is still being written, or was cut off
            return Ok(Tag::End);
        }
        if head.filtered {
            return Err(IndexError::Encrypted);
        }
        self.tags = self.tags.saturating_add(1);
        let look = size.min(LOOK);
        let wanted = match head.kind {
            SCRIPT if self.metadata.is_none() && size <= MAX_DATA => size,
            AUDIO | VIDEO => look,
            _ => 0,
        };
        let needs = |n: usize| Ok(Tag::Needs(TAG_HEADER.saturating_add(n).max(WINDOW)));
        let Some(body) = r.rest().get(..wanted) else {
            return needs(wanted);
        };
        if let AUDIO | VIDEO = head.kind {
            let is_video = head.kind == VIDEO;
            let facts = if is_video {
                codec::video(body)
            } else {
                codec::audio(body)
            };
            let role = facts.map_or(Role::Inter, |facts| facts.role);
            let header = role.is_header();
            let known = if is_video { &self.video } else { &self.audio };
            if header && known.is_none() && size <= MAX_CACHED_HEADER {
                let Some(body) = r.rest().get(..size) else {
                    return needs(size);
                };
                self.describe(is_video, body);
            }
            self.media(head, is_video, role)?;
        } else if head.kind == SCRIPT && body.starts_with(ON_METADATA) {
            self.metadata = Some(Bytes::copy_from_slice(body));
        }
        if self.tags > MAX_FILE_SAMPLES.saturating_mul(2) {
            return Err(IndexError::TooMuch("more tags"));
        }
        self.at = self
            .at
            .saturating_add(whole)
            .saturating_add(TAG_TRAILER as u64);
        Ok(Tag::Read)
    }

    fn media(&mut self, head: TagHeader, is_video: bool, role: Role) -> Result<(), IndexError> {
        if head.size == 0 {
            return Ok(());
        }
        check_size(head.size.into())?;
        if self.samples.len() >= MAX_FILE_SAMPLES {
            return Err(IndexError::TooMuch("more than four million frames"));
        }
        let header = role.is_header();
        // A recording of a live stream may begin anywhere: its clock begins with its first frame.
        let begins = |time: u32| if time > LIVE { time } else { 0 };
        let first = match self.first {
            Some(first) => first,
            None if header => begins(head.timestamp),
            None => *self.first.insert(begins(head.timestamp)),
        };
        let time = head.timestamp.saturating_sub(first);
        if !header {
            let [video, audio] = &mut self.last;
            let last = if is_video { video } else { audio };
            if let Some(before) = last.replace(time) {
                self.step = time.saturating_sub(before).min(1000);
            }
        }
        let sample = Sample::new(&Found {
            time: time.into(),
            offset: self.at.saturating_add(TAG_HEADER as u64),
            size: head.size.into(),
            kind: if is_video { Kind::Video } else { Kind::Audio },
            key: role == Role::Key,
            header,
            composition: 0,
        });
        self.samples
            .push(sample.ok_or(IndexError::TooMuch("media beyond 1 TiB"))?);
        Ok(())
    }

    /// Keeps what the first sequence header says.
    fn describe(&mut self, is_video: bool, body: &[u8]) {
        let kind = if is_video { Kind::Video } else { Kind::Audio };
        let inside = codec::body(kind, &Bytes::copy_from_slice(body));
        let Some(Body::Configuration(codec, configuration)) = inside else {
            return;
        };
        let mut track = Track {
            codec,
            configuration,
            size: (0, 0),
            rate: 0,
            channels: 0,
        };
        match codec::describe(kind, body) {
            Some(codec::Description::Video {
                size: Some(size), ..
            }) => track.size = size,
            Some(codec::Description::Audio {
                sample_rate,
                channels,
                ..
            }) => {
                track.rate = sample_rate;
                track.channels = channels;
            }
            _ => {}
        }
        let known = if is_video {
            &mut self.video
        } else {
            &mut self.audio
        };
        *known = Some(track);
    }

    fn finish(&mut self) -> Result<Index, IndexError> {
        let samples = std::mem::take(&mut self.samples);
        let last = self.last.iter().flatten().max().copied();
        let end = u64::from(last.unwrap_or(0)).saturating_add(self.step.into());
        let mut index = Index::new(Format::Flv, samples, end)?;
        index.video = self.video.take();
        index.audio = self.audio.take();
        index.metadata = self.metadata.take();
        index.cut = self.cut;
        Ok(index)
    }
}
