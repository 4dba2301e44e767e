//! A recording in fragmented MP4.
//!
//! A fragment is written as soon as it has [`FRAGMENT`] of media, and in front of each key frame, so
//! that little is lost when the file ends without warning. The last sample of each track is held back
//! until the next one tells how long it is shown.

use std::sync::Arc;

use bytes::Bytes;

use super::super::fmp4::{Configuration, audio_entry, clock_rate, is_supported_audio, video_entry};
use super::{End, NotFed, Patch};
use crate::codec::{self, AudioClock, Body};
use crate::limits::MAX_RECORDED_FRAGMENT;
use crate::media::{Frame, Kind, Role, Slot};
use crate::mp4::{self, Run, Sample, Track as Head};

/// How much a fragment has, ms.
const FRAGMENT: u64 = 250;
/// Milliseconds, as RTMP has them.
const VIDEO_SCALE: u32 = 1000;
const VIDEO: u32 = 1;
const AUDIO: u32 = 2;
/// A last picture that has no other to compare with, ms.
const ONE_PICTURE: u32 = 40;
/// Sound is counted in samples as long as its times agree to this, ms: encoders round them.
const REGULAR: u64 = 40;

/// See the module.
#[derive(Debug)]
pub struct Mp4File {
    /// The beginning, on the stream's timeline, and in the file, ms.
    base: u64,
    offset: u64,
    video: Track,
    audio: Track,
    /// Where the duration is, once the head of the file is written.
    duration_at: Option<u64>,
    /// Fragments that were written.
    fragments: u32,
    /// When the fragment that is collected began, ms.
    begun: Option<u64>,
    bytes: usize,
    last: u64,
}

#[derive(Debug, Default)]
struct Track {
    configuration: Option<Configuration>,
    samples: Vec<Timed>,
    /// How long the last sample was whose length is known, in the track's units.
    step: u32,
}

/// A sample and when it is decoded, in the track's units.
#[derive(Debug)]
struct Timed {
    at: u64,
    sample: Sample,
}

impl Track {
    /// Appends a sample; the one before it lasts until then.
    fn push(&mut self, at: u64, sample: Sample) {
        let before = self.samples.last().map_or(0, |last| last.at);
        let at = at.max(before);
        if let Some(last) = self.samples.last_mut() {
            last.sample.duration = u32::try_from(at.saturating_sub(last.at)).unwrap_or(u32::MAX);
            self.step = last.sample.duration;
        }
        self.samples.push(Timed { at, sample });
    }

    /// Takes out all samples but the newest so many.
    fn take(&mut self, id: u32, keep: usize) -> Option<Run> {
        let end = self.samples.len().saturating_sub(keep);
        let begin = self.samples.first()?.at;
        let samples: Vec<Sample> = self
            .samples
            .drain(..end)
            .map(|timed| timed.sample)
            .collect();
        (!samples.is_empty()).then_some(Run {
            track: id,
            begin,
            samples,
        })
    }

    fn clock(&self) -> Option<AudioClock> {
        let configuration = self.configuration.as_ref()?;
        AudioClock::of(configuration.codec, &configuration.record)
    }
}

impl Mp4File {
    pub(super) fn begin(headers: &[Arc<Frame>], base: u64) -> Self {
        let mut file = Self {
            base,
            offset: 0,
            video: Track::default(),
            audio: Track::default(),
            duration_at: None,
            fragments: 0,
            begun: None,
            bytes: 0,
            last: 0,
        };
        for frame in headers {
            // Nothing is written yet, so nothing can be another one.
            let _ = file.configure(frame);
        }
        file
    }

    /// A file with the same head goes on behind its end.
    pub(super) fn resume(headers: &[Arc<Frame>], base: u64, end: &End) -> Self {
        let mut file = Self::begin(headers, base);
        file.offset = end.last;
        file.last = end.last;
        file.fragments = end.fragments;
        file.duration_at = file.head().ok().map(|(_, at)| at);
        file
    }

    pub(super) fn feed(&mut self, frame: &Frame, out: &mut Vec<u8>) -> Result<(), NotFed> {
        if frame.role.is_header() {
            return self.configure(frame);
        }
        let is_video = frame.kind == Kind::Video;
        if !is_video && (frame.kind != Kind::Audio || frame.time < self.base) {
            return Ok(()); // sound from before the first picture would be late for good
        }
        let Some(Body::Media {
            codec,
            data,
            composition,
        }) = codec::body(frame.kind, &frame.payload)
        else {
            return Ok(());
        };
        let track = if is_video { &self.video } else { &self.audio };
        let Some(configuration) = &track.configuration else {
            if is_video {
                let why = format!("video in {codec} without a sequence header");
                return Err(NotFed::Unsupported(why));
            }
            return Ok(());
        };
        if configuration.codec != codec {
            return Err(NotFed::Split);
        }
        let time = frame.time.saturating_sub(self.base);
        let time = time.saturating_add(self.offset);
        let key = frame.role == Role::Key;
        self.bytes = self.bytes.saturating_add(data.len());
        let sample = Sample {
            duration: 0,
            composition,
            key: key || !is_video,
            data,
        };
        if is_video {
            self.video.push(time, sample);
        } else if !self.sound(time, sample) {
            return Ok(());
        }
        self.last = self.last.max(time);
        let begun = *self.begun.get_or_insert(time);
        let full = time.saturating_sub(begun) >= FRAGMENT || self.bytes >= MAX_RECORDED_FRAGMENT;
        if full || (key && is_video) {
            self.flush(1, out)?;
            self.begun = Some(time);
        }
        Ok(())
    }

    /// Whether the sound is of a codec that the file can have; it is left out otherwise.
    fn sound(&mut self, time: u64, sample: Sample) -> bool {
        let Some(clock) = self.audio.clock() else {
            return false;
        };
        let rate = u64::from(clock.rate().max(1));
        let placed = time.saturating_mul(rate) / 1000;
        let far = rate.saturating_mul(REGULAR) / 1000;
        let at = match self.audio.samples.last() {
            Some(last) => {
                let due = u64::from(clock.samples(&last.sample.data)).saturating_add(last.at);
                if due.abs_diff(placed) <= far {
                    due
                } else {
                    placed.max(last.at.saturating_add(1))
                }
            }
            None => placed,
        };
        self.audio.push(at, sample);
        true
    }

    fn configure(&mut self, frame: &Frame) -> Result<(), NotFed> {
        let track = match frame.role {
            Role::Header(Slot::VideoSequence(0)) => &mut self.video,
            Role::Header(Slot::AudioSequence(0)) => &mut self.audio,
            _ => return Ok(()),
        };
        // Sound that cannot be put there is left out: pictures without sound are better than none.
        let new = Configuration::of(frame)
            .filter(|new| frame.kind == Kind::Video || is_supported_audio(new));
        if new.is_none() || new == track.configuration {
            return Ok(());
        }
        if self.duration_at.is_some() || !track.samples.is_empty() {
            return Err(NotFed::Split);
        }
        track.configuration = new;
        Ok(())
    }

    /// Writes what was collected, but for the newest `keep` samples of each track.
    fn flush(&mut self, keep: usize, out: &mut Vec<u8>) -> Result<(), NotFed> {
        let runs = [self.video.take(VIDEO, keep), self.audio.take(AUDIO, keep)];
        let runs: Vec<Run> = runs.into_iter().flatten().collect();
        if runs.is_empty() {
            return Ok(());
        }
        let unsupported = |why: &dyn std::fmt::Display| NotFed::Unsupported(why.to_string());
        if self.duration_at.is_none() {
            let (head, at) = self.head()?;
            out.extend_from_slice(&head);
            self.duration_at = Some(at);
        }
        self.fragments = self.fragments.saturating_add(1);
        let fragment = mp4::fragment(self.fragments, &runs).map_err(|e| unsupported(&e))?;
        out.extend_from_slice(&fragment);
        let held = [&self.video, &self.audio];
        let held = held.iter().flat_map(|track| &track.samples);
        self.bytes = held.map(|timed| timed.sample.data.len()).sum();
        Ok(())
    }

    pub(super) fn head(&self) -> Result<(Bytes, u64), NotFed> {
        let unsupported = |why: &dyn std::fmt::Display| NotFed::Unsupported(why.to_string());
        let video = self.video.configuration.as_ref();
        let video = video.map(video_entry).transpose();
        let video = video.map_err(|e| unsupported(&e))?;
        let audio = self.audio.configuration.as_ref();
        let audio = audio.and_then(|audio| Some((audio_entry(audio)?, clock_rate(audio)?)));
        let mut tracks = Vec::with_capacity(2);
        if let Some(entry) = &video {
            tracks.push(Head {
                id: VIDEO,
                timescale: VIDEO_SCALE,
                entry,
            });
        }
        if let Some((entry, timescale)) = &audio {
            tracks.push(Head {
                id: AUDIO,
                timescale: *timescale,
                entry,
            });
        }
        mp4::file_head(&tracks).map_err(|e| unsupported(&e))
    }

    pub(super) fn finish(&mut self, out: &mut Vec<u8>) -> Result<Vec<Patch>, NotFed> {
        let clock = self.audio.clock();
        let step = match self.video.step {
            0 => ONE_PICTURE,
            step => step,
        };
        if let Some(last) = self.video.samples.last_mut() {
            last.sample.duration = step;
        }
        if let (Some(last), Some(clock)) = (self.audio.samples.last_mut(), clock) {
            last.sample.duration = clock.samples(&last.sample.data);
        }
        self.flush(0, out)?;
        let Some(offset) = self.duration_at else {
            return Ok(Vec::new()); // nothing came
        };
        let ms = u32::try_from(self.duration()).unwrap_or(u32::MAX);
        Ok(vec![Patch {
            offset,
            bytes: Bytes::copy_from_slice(&ms.to_be_bytes()),
        }])
    }

    pub(super) fn duration(&self) -> u64 {
        let step = u64::from(self.video.step.min(1000));
        self.last.saturating_add(step)
    }
}
