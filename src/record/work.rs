//! The thread of one recording: it looks at the stream's log every now and then, and writes what came.
//!
//! The log is its queue: it holds seconds of the stream, and a disk that stands still for longer costs the
//! recording the frames that fell out of it, and nobody else anything.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use super::file::OutFile;
use super::recording::{News, Recording, State, Why};
use super::rule::{Begin, Plan};
use super::source::{Source, may_begin};
use super::trouble::Trouble;
use crate::bridge::recording::{Format, Muxer, NotFed, mp4_head};
use crate::limits::{
    MAX_RECORDING_TIME, RECORDING_RETRY, RECORDING_SYNC, RECORDING_TURN, RECORDING_WRITE,
};
use crate::media::{Frame, Kind, StreamName};
use crate::relay::{self, NoWake, Tail, millis};
use crate::system::wall_ms;
use crate::telemetry::recordings::{Gauge, RecordFigures};

/// What the thread works with.
pub(super) struct Work {
    pub(super) recording: Arc<Recording>,
    pub(super) figures: RecordFigures,
    /// Called when it does something else than before.
    pub(super) changed: Box<dyn Fn() + Send>,
}

/// The file that is being made.
struct Sink {
    file: OutFile,
    muxer: Muxer,
    plan: Arc<Plan>,
    /// Its time 0 on the stream's timeline.
    base: u64,
    buffer: Vec<u8>,
    looked: Instant,
}

impl Work {
    /// Records until the stream is over or it is told to stop.
    pub(super) fn run(&self) {
        let stream = Arc::clone(&self.recording.stream);
        let mut tail = Tail::new(stream, Arc::new(NoWake));
        // Whoever says that a stream is to be recorded does not mean what was before.
        let newest = self.recording.why == Why::Operator;
        let mut source = Source::begin(&tail, newest, Instant::now());
        let mut sink = None;
        let mut part = 0;
        loop {
            // Asked before the log is read: what came before the word to stop is recorded.
            let stopped = self.recording.is_stopped();
            tail.refresh();
            let ended = tail.state() == relay::State::Ended;
            let turned = self.turn(&tail, &mut source, &mut sink, &mut part);
            if let Err(trouble) = turned {
                self.fail(sink.take(), &trouble);
                if stopped || ended {
                    return;
                }
                if self.recording.why != Why::Rule {
                    return self.linger(&mut tail);
                }
                source.awaits = true;
                self.recording.pause(RECORDING_RETRY);
                continue;
            }
            if stopped || ended {
                if let Some(Err(trouble)) = sink.take().map(|sink| self.end(sink)) {
                    self.fail(None, &trouble);
                }
                return;
            }
            // It looks again by itself.
            tail.doze();
            self.recording.pause(RECORDING_TURN);
        }
    }

    /// What failed is shown for as long as there is something that should be recorded.
    fn linger(&self, tail: &mut Tail) {
        while !self.recording.is_stopped() && tail.state() != relay::State::Ended {
            tail.doze();
            self.recording.pause(RECORDING_SYNC);
            tail.refresh();
        }
    }

    /// The thread ends.
    pub(super) fn over(&self) {
        self.set_state(State::Over);
    }

    /// Gives the state before.
    fn set_state(&self, state: State) -> State {
        let gauge = |state: &State| match state {
            State::Recording => Some(&self.figures.active),
            State::Failed(_) => Some(&self.figures.failing),
            State::Waiting | State::Over => None,
        };
        let before = {
            let mut shared = self.recording.shared();
            gauge(&state).map(Gauge::inc);
            let before = std::mem::replace(&mut shared.state, state);
            gauge(&before).map(Gauge::dec);
            before
        };
        (self.changed)();
        before
    }

    fn name(&self) -> &StreamName {
        self.recording.stream.name()
    }

    /// Writes what came.
    fn turn(
        &self,
        tail: &Tail,
        source: &mut Source,
        sink: &mut Option<Sink>,
        part: &mut u64,
    ) -> Result<(), Trouble> {
        let sound_alone = source.sound_alone(tail);
        loop {
            let missing = source.missing(tail);
            if missing > 0 && !source.awaits {
                self.lost(missing);
                source.awaits = true;
            }
            if source.awaits && !source.find(tail, sound_alone) {
                break;
            }
            let Some(entry) = tail.logged(source.at()).next() else {
                break;
            };
            let frame = entry.frame;
            let begins = may_begin(frame, sound_alone);
            if begins
                && sink
                    .as_ref()
                    .is_some_and(|sink| sink.is_full(frame, &self.recording))
            {
                sink.take().map_or(Ok(()), |sink| self.end(sink))?;
            }
            if sink.is_none() && begins {
                *part += 1;
                *sink = Some(self.begin(source, frame, *part)?);
            }
            let Some(open) = sink.as_mut() else {
                source.awaits = true;
                continue;
            };
            match open.muxer.feed(frame, &mut open.buffer) {
                Ok(()) => source.took(&entry),
                Err(NotFed::Split) => {
                    tracing::info!(
                        stream = %self.name(), code = "recording-split",
                        "the stream has another codec or picture size; its recording goes on in another file"
                    );
                    // The file that follows begins with this header in force, at the next key frame.
                    source.took(&entry);
                    sink.take().map_or(Ok(()), |sink| self.end(sink))?;
                }
                Err(NotFed::Unsupported(why)) => return Err(Trouble::Unsupported(why)),
            }
            if let Some(open) = sink.as_mut()
                && open.buffer.len() >= RECORDING_WRITE
            {
                self.write(open)?;
            }
        }
        match sink.as_mut() {
            Some(open) => self.write(open).and_then(|()| self.look(open)),
            None => Ok(()),
        }
    }

    /// Opens the next file.
    fn begin(&self, source: &Source, frame: &Frame, part: u64) -> Result<Sink, Trouble> {
        let plan = self.recording.plan();
        let base = frame.time;
        let path = plan.name.path(self.name(), wall_ms(), part);
        let headers = source.headers();
        let mut buffer = Vec::new();
        let folder = |error| Trouble::at(&plan.folder, error);
        let begin = if part == 1 { plan.begin } else { Begin::New };
        let (file, end) = match begin {
            Begin::New => (OutFile::create(&plan.folder, &path, plan.format), None),
            Begin::InPlace { keep } => {
                let made = OutFile::in_place(&plan.folder, &path, plan.format, keep);
                (made, None)
            }
            Begin::Append => {
                let head = match plan.format {
                    Format::Flv => None,
                    Format::Mp4 => mp4_head(&headers),
                };
                match OutFile::append(&plan.folder, &path, plan.format, head.as_ref()) {
                    Ok((file, end)) => (Ok(file), end),
                    Err(error) => (Err(error), None),
                }
            }
        };
        let file = file.map_err(folder)?;
        if begin == Begin::Append && end.is_none() && file.is_numbered(&path) {
            tracing::info!(
                stream = %self.name(), code = "recording-split", file = %file.path,
                "the file that is there is no recording with the same codecs and picture size: this is a new one"
            );
        }
        let free = file.free();
        if free.as_ref().is_ok_and(|free| *free < plan.min_free) {
            let _ = file.finish(&[]);
            return Err(Trouble::Full(plan.min_free));
        }
        let muxer = match end {
            Some(end) => Muxer::resume(plan.format, &headers, base, &end, &mut buffer),
            None => Muxer::begin(plan.format, &headers, base, &mut buffer),
        };
        tracing::info!(
            stream = %self.name(), code = "recording", file = %file.path,
            why = self.recording.why.as_str(), "recording begins"
        );
        self.figures.files.inc();
        {
            let mut shared = self.recording.shared();
            shared.file = Some(file.path.clone());
            shared.files = shared.files.saturating_add(1);
        }
        if part == 1 {
            self.recording.tell(News::Started);
        }
        // Whoever sees that it records finds the file and the news.
        self.set_state(State::Recording);
        Ok(Sink {
            file,
            muxer,
            plan,
            base,
            buffer,
            looked: Instant::now(),
        })
    }

    fn write(&self, sink: &mut Sink) -> Result<(), Trouble> {
        let written = sink.file.write(&sink.buffer);
        written.map_err(|error| Trouble::at(&sink.plan.folder, error))?;
        let bytes = sink.buffer.len() as u64;
        self.figures.bytes.inc_by(bytes);
        self.recording.shared().bytes += bytes;
        sink.buffer.clear();
        Ok(())
    }

    /// Makes it safe, and looks at the disk.
    fn look(&self, sink: &mut Sink) -> Result<(), Trouble> {
        let now = Instant::now();
        let at = |error| Trouble::at(&sink.plan.folder, error);
        sink.file.sync(now).map_err(at)?;
        if now.saturating_duration_since(sink.looked) < RECORDING_SYNC {
            return Ok(());
        }
        sink.looked = now;
        let least = self.recording.plan().min_free;
        if sink.file.free().is_ok_and(|free| free < least) {
            return Err(Trouble::Full(least));
        }
        if !sink.file.is_there(&sink.plan.folder) {
            let gone = io::Error::from(io::ErrorKind::NotFound);
            return Err(Trouble::at(&sink.plan.folder, gone));
        }
        Ok(())
    }

    /// Finishes a file.
    fn end(&self, mut sink: Sink) -> Result<(), Trouble> {
        let patches = match sink.muxer.finish(&mut sink.buffer) {
            Ok(patches) => patches,
            Err(NotFed::Split) => Vec::new(),
            Err(NotFed::Unsupported(why)) => return Err(Trouble::Unsupported(why)),
        };
        let written = self.write(&mut sink);
        let (duration, bytes) = (sink.muxer.duration(), sink.file.length);
        let path = sink.file.path.clone();
        let finished = sink.file.finish(&patches);
        tracing::info!(
            stream = %self.name(), code = "recorded", file = %path, ms = duration, bytes,
            "a recording is finished"
        );
        let folder = &sink.plan.folder;
        written.and_then(|()| finished.map_err(|error| Trouble::at(folder, error)))
    }

    /// It cannot go on. What is whole of the file stays.
    fn fail(&self, sink: Option<Sink>, trouble: &Trouble) {
        let mut whole = None;
        if let Some(mut sink) = sink {
            whole = Some(sink.file.path.clone());
            let mut rest = Vec::new();
            let patches = sink.muxer.finish(&mut rest).unwrap_or_default();
            let _ = sink.file.finish(&patches);
        }
        let text = trouble.to_string();
        let before = self.set_state(State::Failed(text.clone()));
        let again = matches!(before, State::Failed(_));
        // Each try that fails the same way is no news.
        if !again {
            self.figures.failed(trouble.code());
            tracing::error!(
                stream = %self.name(), code = trouble.code(), file = whole.as_deref().unwrap_or("-"),
                "recording stopped, the stream goes on: {text}"
            );
        }
        self.recording.tell(match whole {
            None if !again => News::NoAccess(text),
            _ => News::Failed(text),
        });
    }

    fn lost(&self, frames: u64) {
        self.figures.lost.inc_by(frames);
        self.recording.shared().lost += frames;
        tracing::warn!(
            stream = %self.name(), code = "recording-late", frames,
            "the disk is too slow: {frames} frames are not in the recording, which goes on with the next key frame"
        );
    }
}

impl Sink {
    /// Whether the next file begins with this frame.
    fn is_full(&self, frame: &Frame, recording: &Recording) -> bool {
        let plan = recording.plan();
        let age = frame.time.saturating_sub(self.base);
        let longest = plan.length.unwrap_or(MAX_RECORDING_TIME);
        let written = self.file.length.saturating_add(self.buffer.len() as u64);
        let pictures = frame.kind == Kind::Video;
        plan.wants_another_file(&self.plan)
            || age >= millis(longest.min(MAX_RECORDING_TIME))
            || (plan.size.is_some_and(|most| written >= most) && (pictures || age > 0))
    }
}
