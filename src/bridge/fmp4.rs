//! Frames to segments of fragmented MP4.
//!
//! A packager is fed the log's entries in their order, from anywhere on. It makes a segment of all the
//! frames from one that begins it up to the next one that does, and of nothing else: neither of what
//! was before nor of when it began to look. The headers are those that are in force where the segment
//! begins. So servers with the same log make the same bytes, and one that lacks a frame makes none.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::timing::{audio_run, video_run};
use crate::codec::{self, AudioClock, Body, Description};
use crate::hls::{self, Init, Name};
use crate::limits::MAX_SEGMENT_BYTES;
use crate::media::{FourCc, Frame, Kind, Role, Slot};
use crate::mp4::{self, Entry, Run, Track, Unsupported};
use crate::relay::Logged;

/// Milliseconds, as RTMP has them.
const VIDEO_SCALE: u32 = 1000;
const VIDEO_TRACK: u32 = 1;
const AUDIO_TRACK: u32 = 2;

/// Why there is no segment of some frames.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoSegment {
    /// Frames are missing among them: the source was cut, or this server fell behind.
    #[error("frames of it are missing")]
    Incomplete,
    /// More than [`MAX_SEGMENT_BYTES`].
    #[error(
        "it has more than {MAX_SEGMENT_BYTES} bytes; let the encoder send key frames more often"
    )]
    TooLarge,
    /// Its codec cannot be packaged.
    #[error("{0}")]
    Unsupported(String),
}

impl From<Unsupported> for NoSegment {
    fn from(why: Unsupported) -> Self {
        Self::Unsupported(why.to_string())
    }
}

/// A decoder's configuration as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Configuration {
    pub(super) codec: FourCc,
    pub(super) record: Bytes,
    description: Option<Description>,
}

impl Configuration {
    /// What a header says; `None` when it is none of track 0.
    pub(super) fn of(frame: &Frame) -> Option<Self> {
        match codec::body(frame.kind, &frame.payload)? {
            Body::Configuration(codec, record) => Some(Self {
                codec,
                record,
                description: codec::describe(frame.kind, &frame.payload),
            }),
            Body::Media { .. } => None,
        }
    }
}

/// A frame without its wrapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    /// Unix time, ms.
    pub(super) date: u64,
    pub(super) composition: i32,
    pub(super) key: bool,
    pub(super) data: Bytes,
}

/// The segment that is being collected.
#[derive(Debug)]
struct Open {
    epoch: u64,
    run: u64,
    segment: crate::relay::Segment,
    video: Option<Configuration>,
    audio: Option<Configuration>,
    pictures: Vec<Piece>,
    sounds: Vec<Piece>,
    bytes: usize,
    /// Why it comes to nothing.
    spoilt: Option<NoSegment>,
}

/// Codecs of a stream, as a playlist's `CODECS` has them (RFC 6381); `None` for those that cannot be
/// packaged.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Codecs {
    /// Of the pictures.
    pub video: Option<String>,
    /// Of the sound.
    pub audio: Option<String>,
}

/// The codecs that these headers tell.
#[must_use]
pub fn codecs(headers: &[Arc<Frame>]) -> Codecs {
    let mut packager = Packager::default();
    for frame in headers {
        packager.header(frame);
    }
    let video = packager.video.as_ref().and_then(|v| video_entry(v).ok());
    let audio = packager.audio.as_ref().and_then(audio_entry);
    Codecs {
        video: video.and_then(|entry| entry.codec()),
        audio: audio.and_then(|entry| entry.codec()),
    }
}

/// The initialization segment for these headers, in this epoch.
///
/// # Errors
/// Nothing of it can be packaged.
pub fn init(headers: &[Frame], epoch: u64) -> Result<Arc<Init>, NoSegment> {
    let mut packager = Packager::default();
    for frame in headers {
        packager.header(frame);
    }
    let open = packager.begin(epoch, 0, crate::relay::Segment::default());
    packager.init(&open)
}

/// Makes segments of a log's entries.
#[derive(Debug, Default)]
pub struct Packager {
    video: Option<Configuration>,
    audio: Option<Configuration>,
    epoch: Option<u64>,
    open: Option<Open>,
    init: Option<(Vec<Configuration>, Arc<Init>)>,
}

impl Packager {
    /// A header that was in force before the first entry.
    pub fn header(&mut self, frame: &Frame) {
        match frame.role {
            Role::Header(Slot::VideoSequence(0)) => self.video = Configuration::of(frame),
            Role::Header(Slot::AudioSequence(0)) => self.audio = Configuration::of(frame),
            _ => {}
        }
    }

    /// The entry that comes next in the log. The answer is the segment that ended before it, or why
    /// there is none.
    pub fn feed(&mut self, entry: &Logged<'_>) -> Option<Result<hls::Segment, NoSegment>> {
        let mut made = None;
        if self.open.as_ref().is_some_and(|open| open.run != entry.run) {
            made = self.drop_open(NoSegment::Incomplete);
        }
        let before = self.epoch.replace(entry.epoch);
        if before.is_some_and(|before| before != entry.epoch) {
            made = self.close(None, None).or(made);
            // The headers of an epoch are not those of the next.
            (self.video, self.audio) = (None, None);
        }
        if entry.begins {
            made = self.close(Some(entry.date), Some(entry)).or(made);
            self.open = Some(self.begin(entry.epoch, entry.run, *entry.segment));
        }
        match entry.frame.role {
            Role::Header(_) => self.header(entry.frame),
            Role::Key | Role::Inter => self.take(entry),
        }
        made
    }

    /// Entries are missing before the next one: whoever reads the log fell behind.
    pub fn lost(&mut self) -> Option<NoSegment> {
        self.drop_open(NoSegment::Incomplete)?.err()
    }

    /// The stream is over, and all of it was fed.
    pub fn finish(&mut self) -> Option<Result<hls::Segment, NoSegment>> {
        self.close(None, None)
    }

    /// A segment that begins now.
    fn begin(&self, epoch: u64, run: u64, segment: crate::relay::Segment) -> Open {
        Open {
            epoch,
            run,
            segment,
            video: self.video.clone(),
            audio: self.audio.clone(),
            pictures: Vec::new(),
            sounds: Vec::new(),
            bytes: 0,
            spoilt: None,
        }
    }

    fn drop_open(&mut self, why: NoSegment) -> Option<Result<hls::Segment, NoSegment>> {
        self.open.take().map(|open| Err(open.spoilt.unwrap_or(why)))
    }

    fn take(&mut self, entry: &Logged<'_>) {
        let Some(open) = self.open.as_mut().filter(|open| open.spoilt.is_none()) else {
            return;
        };
        let frame = entry.frame;
        // What is for a header that came within the segment waits for the next one.
        let in_force = match frame.kind {
            Kind::Video => open.video == self.video,
            Kind::Audio => open.audio.is_some() && open.audio == self.audio,
            Kind::Data | Kind::Notice => return,
        };
        if !in_force {
            return;
        }
        let Some(Body::Media {
            codec,
            data,
            composition,
        }) = codec::body(frame.kind, &frame.payload)
        else {
            return;
        };
        let configuration = match frame.kind {
            Kind::Video => &open.video,
            _ => &open.audio,
        };
        if configuration.as_ref().is_some_and(|c| c.codec != codec) {
            return;
        }
        open.bytes = open.bytes.saturating_add(data.len());
        if open.bytes > MAX_SEGMENT_BYTES {
            open.spoilt = Some(NoSegment::TooLarge);
            (open.pictures, open.sounds) = (Vec::new(), Vec::new());
            return;
        }
        let piece = Piece {
            date: entry.date,
            composition,
            key: frame.role == Role::Key || frame.kind == Kind::Audio,
            data,
        };
        if frame.kind == Kind::Video {
            if open.video.is_none() {
                let text = format!("video in {codec} without a sequence header");
                open.spoilt = Some(NoSegment::Unsupported(text));
                return;
            }
            open.pictures.push(piece);
        } else {
            open.sounds.push(piece);
        }
    }

    /// Makes the segment that is open; it ends at `end`, or with its epoch.
    fn close(
        &mut self,
        end: Option<u64>,
        next: Option<&Logged<'_>>,
    ) -> Option<Result<hls::Segment, NoSegment>> {
        let open = self.open.take()?;
        if let Some(why) = open.spoilt {
            return Some(Err(why));
        }
        Some(self.make(open, end, next))
    }

    fn make(
        &mut self,
        open: Open,
        end: Option<u64>,
        next: Option<&Logged<'_>>,
    ) -> Result<hls::Segment, NoSegment> {
        let begun = open.segment.begun.unwrap_or_default();
        let init = self.init(&open)?;
        let mut runs: Vec<Run> = Vec::with_capacity(2);
        let mut until = end.unwrap_or(begun);
        let pictures = u32::try_from(open.pictures.len()).unwrap_or(u32::MAX);
        if open.video.is_some() {
            let (run, last) = video_run(VIDEO_TRACK, &open.pictures, end);
            until = until.max(last);
            runs.extend(run);
        }
        let clock = open
            .audio
            .as_ref()
            .and_then(|audio| AudioClock::of(audio.codec, &audio.record));
        if let Some(clock) = clock {
            let (run, last) = audio_run(AUDIO_TRACK, &open.sounds, clock);
            if end.is_none() && open.video.is_none() {
                until = until.max(last);
            }
            runs.extend(run);
        }
        if runs.is_empty() {
            return Err(NoSegment::Unsupported("it has no media".to_owned()));
        }
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the low half will do: readers only want it to go up"
        )]
        let bytes =
            mp4::fragment(open.segment.number as u32, &runs).map_err(|_| NoSegment::TooLarge)?;
        let duration = until.saturating_sub(begun).max(1);
        let longest = next.map_or(open.segment.longest, |next| next.segment.longest);
        Ok(hls::Segment {
            epoch: open.epoch,
            number: open.segment.number,
            discontinuity: open.segment.discontinuity,
            date: begun,
            duration,
            longest,
            target: open.segment.target,
            pictures,
            init,
            bytes,
        })
    }

    /// The initialization segment for these configurations; the one before, when they are the same.
    fn init(&mut self, open: &Open) -> Result<Arc<Init>, NoSegment> {
        let audio = open.audio.as_ref().filter(|a| is_supported_audio(a));
        let wanted: Vec<Configuration> = open.video.iter().chain(audio).cloned().collect();
        if let Some((made, init)) = &self.init
            && *made == wanted
            && matches!(init.name, Name::Init { epoch, .. } if epoch == open.epoch)
        {
            return Ok(Arc::clone(init));
        }
        let video = open.video.as_ref().map(video_entry).transpose()?;
        let audio = audio.and_then(|audio| Some((audio_entry(audio)?, clock_rate(audio)?)));
        let mut tracks = Vec::with_capacity(2);
        if let Some(entry) = &video {
            tracks.push(Track {
                id: VIDEO_TRACK,
                timescale: VIDEO_SCALE,
                entry,
            });
        }
        if let Some((entry, timescale)) = &audio {
            tracks.push(Track {
                id: AUDIO_TRACK,
                timescale: *timescale,
                entry,
            });
        }
        if tracks.is_empty() {
            let codec = open.audio.as_ref().map(|a| a.codec.to_string());
            return Err(NoSegment::Unsupported(codec.map_or_else(
                || "the stream has neither video nor audio with a sequence header".to_owned(),
                |codec| format!("audio in {codec} cannot be packaged"),
            )));
        }
        let bytes = mp4::init(&tracks)?;
        let hash = Sha256::digest(&bytes);
        let hash = hash
            .first_chunk()
            .map_or(0, |head| u64::from_be_bytes(*head));
        let init = Arc::new(Init {
            name: Name::Init {
                epoch: open.epoch,
                hash,
            },
            bytes,
            codecs: tracks.iter().filter_map(|t| t.entry.codec()).collect(),
            size: video.as_ref().and_then(Entry::size),
        });
        self.init = Some((wanted, Arc::clone(&init)));
        Ok(init)
    }
}

pub(super) fn video_entry(video: &Configuration) -> Result<Entry, NoSegment> {
    let size = match video.description {
        Some(Description::Video { size, .. }) => size,
        _ => None,
    };
    match &video.codec.0 {
        b"avc1" => Ok(Entry::avc(&video.record, size)?),
        b"hvc1" => Ok(Entry::hevc(&video.record, size)?),
        b"av01" => Ok(Entry::av1(&video.record)?),
        _ => Err(NoSegment::Unsupported(format!(
            "video in {} cannot be packaged",
            video.codec
        ))),
    }
}

/// Audio that cannot be packaged is left out: pictures without sound are better than none.
pub(super) fn is_supported_audio(audio: &Configuration) -> bool {
    audio_entry(audio).is_some() && clock_rate(audio).is_some()
}

pub(super) fn audio_entry(audio: &Configuration) -> Option<Entry> {
    match (&audio.codec.0, audio.description) {
        (
            b"mp4a",
            Some(Description::Audio {
                sample_rate,
                channels,
                ..
            }),
        ) => Entry::aac(&audio.record, sample_rate, channels).ok(),
        (b"Opus", _) => Entry::opus(&audio.record).ok(),
        _ => None,
    }
}

pub(super) fn clock_rate(audio: &Configuration) -> Option<u32> {
    AudioClock::of(audio.codec, &audio.record).map(AudioClock::rate)
}
