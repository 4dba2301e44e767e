//! A shard's copy of a stream's log, which its viewers read without a lock.

use std::cell::OnceCell;
use std::collections::{VecDeque, vec_deque};
use std::fmt;
use std::slice;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::limits::MAX_LAG;
use crate::media::{Frame, Kind};

use super::cursor::{Cursor, JoinMode, Place};
use super::headers::{HeaderSet, Prelude};
use super::log::{Entry, JoinPoint};
use super::stream::Registration;
use super::{EpochInfo, Segment, State, Stream, Wake, millis};

/// What a refresh brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Change {
    /// New frames in the log.
    pub frames: usize,
    /// Something that is worth a flush of its own: video, data, a notice, another state, or audio
    /// that no video goes with. Other audio can ride along with the next picture.
    pub flush: bool,
    /// The state changed.
    pub state: bool,
}

/// What a viewer gets next.
#[derive(Debug)]
pub enum Next<'a> {
    /// This frame; then [`Cursor::advance`].
    Frame(&'a Arc<Frame>),
    /// Nothing now.
    Idle,
    /// Nothing ever more: the stream is over and the viewer has had all of it.
    Ended,
}

/// An entry of the log as a packager sees it.
#[derive(Debug, Clone, Copy)]
pub struct Logged<'a> {
    /// Its number; they have no gaps.
    pub seq: u64,
    /// The frame.
    pub frame: &'a Arc<Frame>,
    /// Id of its epoch.
    pub epoch: u64,
    /// When it was (Unix, ms): the same on all mirrors of a master.
    pub date: u64,
    /// The segment it belongs to.
    pub segment: &'a Segment,
    /// The segment begins with it.
    pub begins: bool,
    /// Another number than before: frames may be missing in between.
    pub run: u64,
}

/// A copy of a stream's log (of references to the same frames) for one shard.
///
/// [`Tail::refresh`] after each wake-up; [`Tail::join`] for each viewer; then [`Tail::current`] and
/// [`Cursor::advance`], frame by frame, or [`Tail::settle`] and [`Tail::upcoming`] to look at
/// several frames for one vectored write.
pub struct Tail {
    stream: Arc<Stream>,
    registration: Arc<Registration>,
    entries: VecDeque<Entry>,
    start: u64,
    state: State,
    begun: bool,
    /// When the newest media came.
    came: Option<Instant>,
    join: Option<JoinPoint>,
    headers: Arc<HeaderSet>,
    /// Viewers may join without a key frame.
    sound: bool,
    latest: u64,
    /// Earliest times of what follows.
    audio: u64,
    video: u64,
    notices: u64,
    notice: Option<Arc<Frame>>,
    at_join: OnceCell<Arc<Prelude>>,
    at_end: OnceCell<Arc<Prelude>>,
}

impl fmt::Debug for Tail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Tail({}, {} frames)",
            self.stream.name(),
            self.entries.len()
        )
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        let mut inner = self.stream.lock();
        let others = inner
            .tails
            .iter()
            .filter(|r| !Arc::ptr_eq(r, &self.registration))
            .map(Arc::clone)
            .collect();
        inner.tails = Arc::new(others);
    }
}

impl Tail {
    /// A copy as of now. `waker` is woken once when something changes, and then not before the next
    /// refresh.
    #[must_use]
    pub fn new(stream: Arc<Stream>, waker: Arc<dyn Wake>) -> Self {
        let (registration, state) = {
            let mut inner = stream.lock();
            let registration = Arc::new(Registration::new(waker, inner.seen));
            let mut tails: Vec<_> = inner.tails.iter().map(Arc::clone).collect();
            tails.push(Arc::clone(&registration));
            inner.tails = Arc::new(tails);
            (registration, inner.state)
        };
        let mut tail = Self {
            stream,
            registration,
            entries: VecDeque::new(),
            start: 0,
            state,
            begun: false,
            came: None,
            join: None,
            headers: Arc::default(),
            sound: false,
            latest: 0,
            audio: 0,
            video: 0,
            notices: 0,
            notice: None,
            at_join: OnceCell::new(),
            at_end: OnceCell::new(),
        };
        tail.refresh();
        tail
    }

    /// The stream it is a copy of.
    #[must_use]
    pub fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }

    /// The stream's state as of the last refresh.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Whether the log has media of the publisher that has the stream, or had it last, as of the last
    /// refresh; else what it has is of those before.
    #[must_use]
    pub fn is_begun(&self) -> bool {
        self.begun
    }

    /// Whether the source of what the log has is away: it went, or another one has sent nothing yet.
    #[must_use]
    pub fn is_between(&self) -> bool {
        !self.begun || matches!(self.state, State::Waiting { .. })
    }

    /// Whether it has been away for longer than `max`, by its last media: the time of a stream that waits
    /// stands still, so that what it has does not look old.
    #[must_use]
    pub fn is_stale(&self, max: Duration, now: Instant) -> bool {
        let old = |came| now.saturating_duration_since(came) > max;
        self.is_between() && self.came.is_some_and(old)
    }

    /// Takes over what changed since the last time.
    pub fn refresh(&mut self) -> Change {
        self.registration.clear();
        let inner = self.stream.lock();
        let log = &inner.log;
        let mut change = Change {
            state: inner.state != self.state,
            ..Change::default()
        };
        while self.start < log.start() && self.entries.pop_front().is_some() {
            self.start = self.start.saturating_add(1);
        }
        if self.entries.is_empty() {
            self.start = self.start.max(log.start());
        }
        let old_end = self.end();
        let sound = inner.is_sound();
        for entry in log.since(old_end) {
            change.frames = change.frames.saturating_add(1);
            change.flush |= entry.frame.kind != Kind::Audio || inner.is_alone(entry.frame.time);
            self.entries.push_back(entry.clone());
        }
        let join = log.join.as_ref().map(|j| j.seq);
        if self.join.as_ref().map(|j| j.seq) != join {
            self.join.clone_from(&log.join);
            self.at_join = OnceCell::new();
        }
        let headers = &log.headers;
        if change.frames > 0 || !Arc::ptr_eq(headers, &self.headers) {
            self.headers = Arc::clone(headers);
            self.at_end = OnceCell::new();
        }
        self.latest = inner.timeline.latest();
        self.came = inner.timeline.came();
        self.begun = inner.is_begun();
        self.audio = inner.audio_floor(self.latest);
        self.video = inner.video_floor();
        self.sound = sound;
        self.state = inner.state;
        if self.notices != inner.notices {
            self.notices = inner.notices;
            change.flush = true;
        }
        self.notice.clone_from(&inner.notice);
        change.flush |= change.state;
        change
    }

    /// Its owner looks again soon by himself: until the next refresh, audio that may wait for a
    /// picture wakes him no more.
    pub fn ride(&self) {
        self.registration.ride();
    }

    /// When the first audio came that did not wake its owner because of [`Tail::ride`]; `None` when
    /// there is none since the last refresh.
    #[must_use]
    pub fn aboard(&self) -> Option<Instant> {
        self.registration.aboard()
    }

    /// Its owner looks again soon by himself: until the next refresh nothing wakes him.
    pub fn doze(&self) {
        self.registration.doze();
    }

    /// A new viewer. It has nothing to read before there is a place to join (see [`JoinMode`]);
    /// without video that is the present end. While the source is away it begins with what comes next,
    /// when what there is is too old or not wanted.
    #[must_use]
    pub fn join(&self, mode: JoinMode, now: Instant) -> Cursor {
        let afresh = match mode {
            JoinMode::Gop { max } => self.is_stale(max, now),
            JoinMode::Keyframe => self.is_between(),
        };
        let newest = match (mode, &self.join) {
            (JoinMode::Gop { max }, Some(join))
                if !afresh && self.latest.saturating_sub(join.time) <= millis(max) =>
            {
                join.seq
            }
            _ => self.end(),
        };
        Cursor {
            pos: newest,
            awaits: Some(newest),
            new: true,
            afresh,
            prelude: None,
            // Whoever joins while the stream waits hears so at once.
            notices: self.notices.saturating_sub(1),
            showing: None,
            skipped: 0,
            jumps: 0,
        }
    }

    /// The frame a viewer gets next.
    pub fn current<'a>(&'a self, cursor: &'a mut Cursor) -> Next<'a> {
        if !self.settle(cursor) {
            return if self.state == State::Ended {
                Next::Ended
            } else {
                Next::Idle
            };
        }
        match self.upcoming(cursor).next() {
            Some(frame) => Next::Frame(frame),
            None => Next::Idle,
        }
    }

    /// Brings a cursor to where it reads next: lets it join, or skip when it is too far behind.
    /// Whether there is something to read; if not, the viewer is idle, or at the end when
    /// [`Tail::state`] says so. To be called between frames.
    pub fn settle(&self, cursor: &mut Cursor) -> bool {
        cursor.showing = None;
        if cursor.prelude.is_some() {
            return true;
        }
        if cursor.awaits.is_none() {
            self.keep_up(cursor);
        }
        if let Some(awaited) = cursor.awaits {
            self.try_join(cursor, awaited);
        }
        if cursor.prelude.is_some() || (cursor.awaits.is_none() && cursor.pos < self.end()) {
            return true;
        }
        if matches!(self.state, State::Waiting { .. })
            && self.notice.is_some()
            && cursor.notices < self.notices
        {
            cursor.showing = Some(self.notices);
            return true;
        }
        false
    }

    /// The frames that a settled cursor has before it, the current one first. Call
    /// [`Cursor::advance`] for each that is taken.
    #[must_use]
    pub fn upcoming<'a>(&'a self, cursor: &'a Cursor) -> Upcoming<'a> {
        let notice = cursor.showing.and(self.notice.as_ref());
        let (prelude, known): (&[_], _) = match &cursor.prelude {
            Some(place) => (
                place.prelude.items.get(place.index..).unwrap_or_default(),
                place.known,
            ),
            None => (&[], 0),
        };
        let readable = notice.is_none() && cursor.awaits.is_none() && cursor.pos >= self.start;
        let from = if readable {
            self.index(cursor.pos)
        } else {
            self.entries.len()
        };
        Upcoming {
            prelude: prelude.iter(),
            known,
            log: self.entries.range(from..),
            notice,
        }
    }

    /// Epoch and ordinal of the frame of the log that a cursor is at, or will be at behind its
    /// prelude; `None` at the end (but for who has yet to get the headers there) and before the join. For a pull, which tells it when it differs
    /// from what it told, and when [`Cursor::jumps`] went up.
    #[must_use]
    pub fn epoch(&self, cursor: &Cursor) -> Option<EpochInfo> {
        if cursor.awaits.is_some() || cursor.pos < self.start {
            return None;
        }
        let entry = self.entries.get(self.index(cursor.pos));
        // Without video a viewer joins at the end, and its headers are of the epoch of the newest frame.
        let newest = || self.entries.back().filter(|_| cursor.prelude.is_some());
        entry.or_else(newest).map(Entry::info)
    }

    /// How far a cursor is behind the newest frame, ms.
    #[must_use]
    pub fn behind(&self, cursor: &Cursor) -> u64 {
        let entry = self.entries.get(self.index(cursor.pos));
        entry.map_or(0, |e| self.latest.saturating_sub(e.frame.time))
    }

    /// Frames that a cursor has before it, and how far the first of them is behind the newest, ms.
    #[must_use]
    pub fn lag(&self, cursor: &Cursor) -> (u64, u64) {
        if cursor.awaits.is_some() {
            return (0, 0);
        }
        // What fell out of the log is told as long as the rest of it, frame by frame.
        let gone = self.start.saturating_sub(cursor.pos);
        let first = self.entries.front().map_or(self.latest, |e| e.frame.time);
        let span = self.latest.saturating_sub(first);
        let each = span
            .saturating_mul(gone)
            .checked_div(self.entries.len() as u64);
        let behind = self.behind(cursor).saturating_add(each.unwrap_or_default());
        (self.end().saturating_sub(cursor.pos), behind)
    }

    /// The log's entries from number `from` on, for a packager: with what it needs to make the same of
    /// them as all other servers do. The first of them has a higher number when those before are gone.
    pub fn logged(&self, from: u64) -> impl Iterator<Item = Logged<'_>> {
        let first = from.max(self.start);
        let entries = self.entries.range(self.index(first)..);
        (first..).zip(entries).map(|(seq, entry)| Logged {
            seq,
            frame: &entry.frame,
            epoch: entry.epoch.id,
            date: entry.date,
            segment: &entry.segment,
            begins: entry.begins,
            run: entry.run,
        })
    }

    /// The newest header of each slot, with its number in the log (it may have left it).
    pub fn headers(&self) -> impl Iterator<Item = (u64, &Arc<Frame>)> {
        self.headers.iter()
    }

    /// The number of the frame that comes next.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.start.saturating_add(self.entries.len() as u64)
    }

    /// Index of number `pos` among the entries, at most their count.
    fn index(&self, pos: u64) -> usize {
        usize::try_from(pos.saturating_sub(self.start))
            .unwrap_or(usize::MAX)
            .min(self.entries.len())
    }

    /// Skips when the cursor fell out of the log or is too far behind.
    fn keep_up(&self, cursor: &mut Cursor) {
        cursor.pos = cursor.pos.min(self.end());
        let join = self.join.as_ref().filter(|join| join.seq > cursor.pos);
        let behind = self.behind(cursor);
        let late = match join {
            _ if cursor.pos < self.start => true,
            Some(join) => behind > MAX_LAG && behind > join.gop,
            None => self.sound && behind > MAX_LAG,
        };
        if late {
            cursor.awaits = Some(join.map_or_else(|| self.end(), |join| join.seq));
        }
    }

    fn try_join(&self, cursor: &mut Cursor, awaited: u64) {
        let (seq, prelude) = match &self.join {
            Some(join) if join.seq >= awaited => (join.seq, self.prelude_at_join(join)),
            _ if self.sound && (!cursor.afresh || self.end() > awaited) => {
                (self.end(), self.prelude_at_end())
            }
            _ => return,
        };
        let known = if cursor.new { 0 } else { cursor.pos };
        if !cursor.new {
            let skipped = seq.saturating_sub(cursor.pos);
            cursor.skipped = cursor.skipped.saturating_add(skipped);
            self.stream.skipped.fetch_add(skipped, Ordering::Relaxed);
        }
        cursor.new = false;
        cursor.afresh = false;
        cursor.awaits = None;
        cursor.jumps = cursor.jumps.saturating_add(1);
        cursor.pos = seq;
        cursor.prelude = Place::first(prelude, known);
    }

    fn prelude_at_join(&self, join: &JoinPoint) -> &Arc<Prelude> {
        self.at_join
            .get_or_init(|| Arc::new(join.headers.prelude(join.time, join.audio)))
    }

    fn prelude_at_end(&self) -> &Arc<Prelude> {
        self.at_end
            .get_or_init(|| Arc::new(self.headers.prelude(self.video, self.audio)))
    }
}

/// Frames before a cursor.
#[derive(Debug)]
pub struct Upcoming<'a> {
    prelude: slice::Iter<'a, (u64, Arc<Frame>)>,
    known: u64,
    log: vec_deque::Iter<'a, Entry>,
    notice: Option<&'a Arc<Frame>>,
}

impl Upcoming<'_> {
    /// How many there are, at most.
    #[must_use]
    pub fn most(&self) -> usize {
        let notice = usize::from(self.notice.is_some());
        self.prelude.len() + self.log.len() + notice
    }
}

impl<'a> Iterator for Upcoming<'a> {
    type Item = &'a Arc<Frame>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(notice) = self.notice.take() {
            return Some(notice);
        }
        let known = self.known;
        if let Some((_, frame)) = self.prelude.find(|(seq, _)| *seq >= known) {
            return Some(frame);
        }
        self.log.next().map(|entry| &entry.frame)
    }
}
