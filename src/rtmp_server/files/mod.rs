//! Viewers of files: message streams that play a part of one after the other, each at its own pace.
//!
//! What is due when is for [`Feed`], reading for the threads of [`Library`]; here the two are brought
//! together with the machine and the outlet. There is one batch of each play on its way to the socket,
//! and one more being read.

mod list;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use self::list::{Coming, Item, List, Through};
use super::connection::Connection;
use crate::cluster::Place;
use crate::index::{Due, Feed, Wanted};
use crate::limits::{FILE_PATIENCE, MAX_FILE_PLAYS, MAX_LENGTH_CALLS};
use crate::media::StreamName;
use crate::net::PlaysFile;
use crate::relay::Wake;
use crate::rtmp::status::code;
use crate::telemetry::logging::Escaped;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::repeats::repeated;
use crate::vod::{Answer, FileName, Filler, Library, OpenError, Opened, Slot, slot};

/// A play whose `start` is not negative wants a recording and nothing else; these two want what is live
/// and nothing else. The first is in seconds, as the specification has it, the second in milliseconds,
/// as players send it.
const LIVE_ONLY: [f64; 2] = [-1.0, -1000.0];

/// The files of one connection. Most have none.
#[derive(Default)]
pub(super) struct Files {
    some: Option<Box<Active>>,
    /// What the player said that its buffer holds, ms.
    buffer: u32,
}

/// Those of a connection that has some.
struct Active {
    plays: Vec<Play>,
    lengths: Vec<(f64, Slot<Answer>)>,
    /// When the player took or said something last.
    heard: Instant,
}

/// One message stream that plays a file, or is about to.
struct Play {
    stream: u32,
    state: State,
    list: List,
    /// Its places among the viewers, once it plays.
    seat: Option<Seat>,
}

/// What counts a viewer for as long as it plays.
struct Seat {
    metrics: Arc<Metrics>,
    /// As of its first file, whatever its list goes on with.
    _place: Place,
    listed: Option<PlaysFile>,
}

impl Seat {
    fn take(metrics: &Arc<Metrics>, place: Place, listed: PlaysFile) -> Self {
        metrics.file_viewers.inc();
        metrics.file_joins.inc();
        Self {
            metrics: Arc::clone(metrics),
            _place: place,
            listed: Some(listed),
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.metrics.file_viewers.dec();
    }
}

enum State {
    Opens(Box<Opens>),
    Plays(Box<Plays>),
}

/// The first file, which is being opened.
struct Opens {
    slot: Slot<Answer>,
    /// What to play instead when there is no such file.
    live: Option<StreamName>,
    paused: bool,
}

/// A file that is being played.
struct Plays {
    opened: Arc<Opened>,
    feed: Feed,
    reads: Option<Slot<io::Result<Bytes>>>,
    rests: Option<Instant>,
    /// The player has been told that it is over.
    over: bool,
    /// Another file of the list.
    coming: Option<Coming>,
    /// It cannot be read any further, and something follows.
    broken: bool,
}

/// What becomes of a play.
enum Next {
    /// It goes on.
    Stays,
    /// It is over; the peer has been told.
    Gone,
    /// There is no such file: what is live of that name, or will be.
    Live(StreamName, f64),
}

impl Files {
    /// The message streams that play.
    pub(super) fn playing(&self) -> impl Iterator<Item = u32> {
        let plays = self.some.iter().flat_map(|some| &some.plays);
        let playing = plays.filter(|play| matches!(play.state, State::Plays(_)));
        playing.map(|play| play.stream)
    }

    fn of(&mut self, stream: u32) -> Option<&mut State> {
        let some = self.some.as_mut()?;
        let play = some.plays.iter_mut().find(|play| play.stream == stream)?;
        Some(&mut play.state)
    }

    fn some(&mut self) -> &mut Active {
        self.some.get_or_insert_with(|| {
            Box::new(Active {
                plays: Vec::new(),
                lengths: Vec::new(),
                heard: Instant::now(),
            })
        })
    }
}

impl Connection {
    fn library(&self) -> Option<&Arc<Library>> {
        self.server.files.get().filter(|files| files.has_folders())
    }

    /// Whether a play of this name may be one of a file. Mirrors pull what is live.
    pub(super) fn may_be_file(&self, name: &str, start: f64) -> bool {
        self.library().is_some()
            && !self.identity.is_mirror()
            && !LIVE_ONLY.contains(&start)
            && FileName::asked(name).is_ok()
    }

    /// A place for an answer from another thread.
    fn answer<T>(&self) -> (Filler<T>, Slot<T>) {
        let bell: Arc<dyn Wake> = Arc::clone(&self.bell) as _;
        slot(bell)
    }

    /// Opens a file to play it. `live` is the same as the name of a live stream, if it can be one;
    /// `part` is the start and the length, ms.
    pub(super) fn open_file(
        &mut self,
        stream: u32,
        asked: &str,
        live: Option<StreamName>,
        part: (f64, f64),
    ) {
        self.stop_play(stream);
        self.stop_file(stream);
        let (Ok(name), Some(library)) = (FileName::asked(asked), self.library().cloned()) else {
            return; // `may_be_file` said that there is
        };
        let some = self.files.some();
        if some.plays.len() >= MAX_FILE_PLAYS {
            let why = format!("No more than {MAX_FILE_PLAYS} files on one connection.");
            return self.machine.reject_play(stream, code::PLAY_FAILED, &why);
        }
        // A player that waits has finished its login.
        self.admitted.login_done();
        self.agent = None;
        let (filler, slot) = self.answer();
        library.open(name, filler);
        self.files.some().plays.push(Play {
            stream,
            state: State::Opens(Box::new(Opens {
                slot,
                live,
                paused: false,
            })),
            list: List::of(Item::new(asked.to_owned(), part)),
            seat: None,
        });
    }

    pub(super) fn pause_file(&mut self, stream: u32, on: bool, position_ms: f64) {
        let now = Instant::now();
        let outlet = &self.outlet;
        match self.files.of(stream) {
            Some(State::Opens(opens)) => opens.paused = on,
            Some(State::Plays(plays)) if on => plays.feed.pause(now),
            Some(State::Plays(plays)) => {
                plays.rests = None;
                if plays.feed.resume(whole(position_ms), now) {
                    plays.reads = None;
                    outlet.forget_queued(stream);
                }
            }
            None => {}
        }
    }

    pub(super) fn seek_file(&mut self, stream: u32, position_ms: f64) {
        let now = Instant::now();
        let Some(mut some) = self.files.some.take() else {
            return;
        };
        let play = some.plays.iter_mut().find(|play| play.stream == stream);
        if let Some(Play {
            state: State::Plays(plays),
            list,
            ..
        }) = play
        {
            // One that was not done yet gives way, and has its answer.
            if let Some(sought) = plays.coming.take().and_then(|coming| coming.sought) {
                self.machine.seeked(stream, sought);
            }
            let at = self.seek_in_list(list, plays, whole(position_ms), now);
            plays.reads = None;
            plays.rests = None;
            plays.over = false;
            plays.broken = false;
            self.outlet.forget_queued(stream);
            if let Some(at) = at {
                self.machine.seeked(stream, at);
            }
        }
        self.files.some = Some(some);
    }

    pub(super) fn receive_file(&mut self, stream: u32, video: Option<bool>, audio: Option<bool>) {
        if let Some(State::Plays(plays)) = self.files.of(stream) {
            plays.feed.receive(audio, video);
        }
    }

    pub(super) fn stop_file(&mut self, stream: u32) {
        if let Some(some) = &mut self.files.some {
            some.plays.retain(|play| play.stream != stream);
            self.outlet.forget_queued(stream);
        }
    }

    /// The server stops: viewers hear that their files end.
    pub(super) fn end_files(&mut self) {
        let playing: Vec<u32> = self.files.playing().collect();
        for stream in playing {
            self.stop_file(stream);
            self.machine.end_play(stream);
        }
    }

    pub(super) fn set_buffer(&mut self, ms: u32) {
        self.files.buffer = self.files.buffer.max(ms);
        let holds = self.holds();
        if let Some(some) = &mut self.files.some {
            for play in &mut some.plays {
                if let State::Plays(plays) = &mut play.state {
                    plays.feed.set_holds(holds);
                    plays.rests = None;
                }
            }
        }
    }

    fn holds(&self) -> Duration {
        Duration::from_millis(self.files.buffer.into())
    }

    /// Answers `getStreamLength`, now or when the file was opened.
    pub(super) fn file_length(&mut self, transaction: f64, asked: &str) {
        let library = self.library().cloned();
        let name = FileName::asked(asked);
        let full = self
            .files
            .some
            .as_ref()
            .is_some_and(|some| some.lengths.len() >= MAX_LENGTH_CALLS);
        let allowed = self.server.policy.may_play(&self.identity, self.peer.ip());
        match (library, name) {
            (Some(library), Ok(name)) if !full && allowed.is_ok() => {
                let (filler, slot) = self.answer();
                library.open(name, filler);
                self.files.some().lengths.push((transaction, slot));
            }
            _ => self.machine.result(transaction, vec![0.0.into()]),
        }
    }

    /// When there is something to do for a file.
    pub(super) fn files_deadline(&self) -> Option<Instant> {
        let plays = self.files.some.iter().flat_map(|some| &some.plays);
        let rests = plays.filter_map(|play| match &play.state {
            State::Plays(plays) => plays.rests,
            State::Opens(_) => None,
        });
        rests.min()
    }

    /// The player took something.
    pub(super) fn files_progress(&mut self, now: Instant) {
        if let Some(some) = &mut self.files.some {
            some.heard = now;
        }
    }

    /// Whether the silence of a player is that of one who paused a film.
    pub(super) fn has_patient_files(&self, now: Instant) -> bool {
        let since = |some: &Active| now.saturating_duration_since(some.heard.max(self.heard));
        let some = self.files.some.as_ref();
        some.is_some_and(|some| !some.plays.is_empty() && since(some) < FILE_PATIENCE)
    }

    /// Does for the files what can be done now; whether it made the machine write.
    pub(super) fn drive_files(&mut self) -> bool {
        let Some(mut some) = self.files.some.take() else {
            return false;
        };
        let now = Instant::now();
        let mut wrote = false;
        let mut live = Vec::new();
        some.lengths.retain(|(transaction, slot)| {
            let answer = slot.take();
            if answer.is_none() && !slot.is_lost() {
                return true;
            }
            let opened = answer.and_then(Result::ok);
            let ms = opened.map_or(0, |opened| opened.index.duration);
            self.machine.result(*transaction, vec![seconds(ms).into()]);
            wrote = true;
            false
        });
        some.plays.retain_mut(|play| {
            let next = match &mut play.state {
                State::Opens(opens) => match opened(&opens.slot) {
                    None => Next::Stays,
                    Some(answer) => {
                        wrote = true;
                        self.begin_file(play, answer, now)
                    }
                },
                State::Plays(_) => self.go_on(play, now, &mut wrote),
            };
            match next {
                Next::Stays => true,
                Next::Gone => false,
                Next::Live(name, start) => {
                    live.push((play.stream, name, start));
                    false
                }
            }
        });
        if !some.plays.is_empty() || !some.lengths.is_empty() {
            self.files.some = Some(some);
        }
        for (stream, name, start) in live {
            self.begin_play(stream, name, start);
        }
        wrote
    }

    /// The file was opened, or cannot be.
    fn begin_file(&mut self, play: &mut Play, answer: Answer, now: Instant) -> Next {
        let State::Opens(opens) = &mut play.state else {
            return Next::Stays;
        };
        let stream = play.stream;
        let Some(Item {
            asked,
            start,
            length,
            ..
        }) = play.list.current()
        else {
            return Next::Gone; // there is always one
        };
        let (start, length) = (*start, *length);
        let opened = match answer {
            Ok(opened) => opened,
            Err(OpenError::NotFound) if opens.live.is_some() && !play.list.has_next() => {
                let live = opens.live.take();
                return live.map_or(Next::Gone, |live| Next::Live(live, start));
            }
            Err(error) => {
                self.log_unplayed(asked, &error, now);
                let text = format!("{asked}: {error}.");
                if play.list.has_next() {
                    self.machine
                        .skip_play(stream, asked, status_of(&error), &text);
                    return self.begin_with_next(play);
                }
                self.machine.reject_play(stream, status_of(&error), &text);
                return Next::Gone;
            }
        };
        match self
            .server
            .cluster
            .admit(opened.kbit_per_second(), self.via)
        {
            Ok(place) => {
                let listed = self.registered.plays_file(stream, opened.name.as_str());
                play.seat = Some(Seat::take(self.shard.metrics(), place, listed));
            }
            Err(refused) => {
                self.send_elsewhere(stream, &refused);
                return Next::Gone;
            }
        }
        let config = self.library().map(|library| library.config());
        let Some(config) = config else {
            return Next::Gone; // it was there a moment ago
        };
        let wanted = Wanted {
            start: whole(start),
            length: (length >= 0.0).then(|| whole(length)),
            seek: config.seek,
            ahead: config.ahead,
            holds: self.holds(),
        };
        let mut feed = Feed::new(Arc::clone(&opened.index), wanted, now);
        if opens.paused {
            feed.pause(now);
        }
        self.machine.accept_recorded(stream);
        tracing::debug!(
            peer = %self.peer, file = %Escaped(opened.name.as_str()), start = wanted.start,
            "playing a file"
        );
        play.state = State::Plays(Box::new(Plays {
            opened,
            feed,
            reads: None,
            rests: None,
            over: false,
            coming: None,
            broken: false,
        }));
        Next::Stays
    }

    /// The first file of a list cannot be played: the list begins with the next one.
    fn begin_with_next(&mut self, play: &mut Play) -> Next {
        let (Some(item), Some(library)) = (play.list.leave_out(), self.library().cloned()) else {
            return Next::Gone;
        };
        let Ok(name) = FileName::asked(&item.asked) else {
            return Next::Gone; // it was looked at when it was put there
        };
        self.machine.play_instead(play.stream, &item.asked);
        let (filler, slot) = self.answer();
        library.open(name, filler);
        if let State::Opens(opens) = &mut play.state {
            opens.slot = slot;
            opens.live = None;
        }
        Next::Stays
    }

    fn log_unplayed(&self, asked: &str, error: &OpenError, now: Instant) {
        repeated(error.code(), self.peer.ip(), now, || {
            tracing::info!(
                peer = %self.peer, code = error.code(), file = %Escaped(asked),
                "play refused: {error}"
            );
        });
    }

    /// Sends what was read, reads what is due.
    fn go_on(&mut self, play: &mut Play, now: Instant, wrote: &mut bool) -> Next {
        let stream = play.stream;
        let mut through = Through {
            stream,
            list: &mut play.list,
            seat: &mut play.seat,
        };
        let State::Plays(plays) = &mut play.state else {
            return Next::Stays;
        };
        if let Some(slot) = &plays.reads {
            match slot.take() {
                Some(Ok(bytes)) => {
                    plays.reads = None;
                    self.outlet.send(stream, bytes);
                }
                Some(Err(error)) => return self.broken(plays, &through, &error, wrote),
                None if slot.is_lost() => {
                    let error = io::Error::other("too much waits for the disks");
                    return self.broken(plays, &through, &error, wrote);
                }
                None => return Next::Stays,
            }
        }
        // One batch waits for the socket, at most.
        if self.outlet.has_queued() {
            return Next::Stays;
        }
        plays.rests = None;
        if self.go_through_list(plays, &mut through, now, wrote) || plays.over {
            return Next::Stays;
        }
        match plays.feed.poll(now) {
            Due::Batch(batch) => {
                let Some(library) = self.server.files.get() else {
                    return Next::Gone;
                };
                let (filler, slot) = self.answer();
                library.read(&plays.opened, batch, stream, filler);
                plays.reads = Some(slot);
            }
            Due::At(until) => plays.rests = Some(until),
            Due::Paused => {}
            Due::End => {
                plays.over = true;
                let (seconds, bytes) = plays.feed.totals();
                self.machine.complete_play(stream, seconds, bytes);
                *wrote = true;
            }
        }
        Next::Stays
    }

    /// The file cannot be read any further.
    fn broken(
        &mut self,
        plays: &mut Plays,
        through: &Through<'_>,
        error: &io::Error,
        wrote: &mut bool,
    ) -> Next {
        let (stream, list) = (through.stream, &*through.list);
        repeated("file-broken", self.peer.ip(), Instant::now(), || {
            tracing::warn!(
                peer = %self.peer, code = "file-broken", file = %Escaped(plays.opened.name.as_str()),
                "a file cannot be read any further: {error}"
            );
        });
        *wrote = true;
        let text = "The file cannot be read any further.";
        if let (Some(item), true) = (list.current(), list.has_next()) {
            self.machine
                .skip_play(stream, &item.asked, code::PLAY_FAILED, text);
            plays.reads = None;
            plays.broken = true;
            return Next::Stays;
        }
        self.machine.fail_play(stream, text);
        Next::Gone
    }
}

/// The answer, once it is there or will never be.
fn opened(slot: &Slot<Answer>) -> Option<Answer> {
    let answer = slot.take();
    if answer.is_none() && slot.is_lost() {
        return Some(Err(OpenError::Busy));
    }
    answer
}

/// What a player is told of a file that it does not get.
const fn status_of(error: &OpenError) -> &'static str {
    match error {
        OpenError::NotFound => code::PLAY_STREAM_NOT_FOUND,
        _ => code::PLAY_FAILED,
    }
}

/// A peer's milliseconds: what is negative or no number is 0.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast from a float saturates"
)]
const fn whole(ms: f64) -> u64 {
    ms as u64
}

fn seconds(ms: u64) -> f64 {
    f64::from(u32::try_from(ms).unwrap_or(u32::MAX)) / 1000.0
}
