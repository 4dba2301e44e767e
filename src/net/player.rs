//! One stream that a connection plays: a cursor, and how its frames go into one vectored write.

use std::io::{self, IoSlice};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::fanout::Fan;
use crate::bridge::{RTMP_HEADER, render, rtmp_header_for_stream};
use crate::media::{Frame, Kind, Rendition, Role, StreamName};
use crate::relay::{Cursor, EpochInfo, JoinMode, Protocol as Watching, State, Tail, Viewing};
use crate::transport::Socket;

/// Frames in one vectored write.
const BATCH: usize = 64;
/// Frames in one vectored write of a viewer that is up to date: what is made ready for a call costs
/// in proportion to the most it can hold.
const SMALL_BATCH: usize = 8;
/// Bytes in one vectored write, roughly: the frame that passes it is the last one.
const BATCH_BYTES: usize = 256 * 1024;
/// The message stream of the shared RTMP renditions.
const SHARED_STREAM: u32 = 1;

/// Makes the message that tells a pulling server of the epoch of the frames that follow it.
pub type Announce = Box<dyn Fn(&EpochInfo) -> Bytes>;

/// How a connection plays a stream.
pub struct Play {
    /// The form of the frames.
    pub form: Rendition,
    /// The RTMP message stream; 1 for anything but RTMP.
    pub message_stream: u32,
    /// Where it begins.
    pub join: JoinMode,
    /// What it counts as.
    pub watching: Watching,
    /// When it was asked for: the join time counts from here.
    pub asked: Instant,
    /// For a pull of another server: goes out before the first frame, after each skip and whenever a
    /// new epoch begins.
    pub announce: Option<Announce>,
}

impl std::fmt::Debug for Play {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Play({:?}, message stream {})",
            self.form, self.message_stream
        )
    }
}

/// Which frames are wanted (RTMP's receiveAudio, receiveVideo).
#[derive(Debug, Clone, Copy)]
struct Filter {
    audio: bool,
    video: bool,
    /// Video waits for a key frame: it was switched on again, or the viewer joined without any.
    awaits_key: bool,
}

impl Filter {
    fn pass(&mut self, frame: &Frame) -> bool {
        match (frame.kind, frame.role) {
            (_, Role::Header(_)) => true,
            (Kind::Audio, _) => self.audio,
            (Kind::Video, _) if !self.video => false,
            (Kind::Video, Role::Key) => {
                self.awaits_key = false;
                true
            }
            (Kind::Video, _) => !self.awaits_key,
            (Kind::Data | Kind::Notice, _) => true,
        }
    }
}

/// A player at one moment.
pub(super) struct PlayerNow {
    pub(super) stream: StreamName,
    pub(super) watching: Watching,
    pub(super) asked: Instant,
    /// For a key frame, to begin or to go on with.
    pub(super) waits: bool,
    pub(super) lag_frames: u64,
    pub(super) lag_ms: u64,
}

/// What a player did with its turn.
#[derive(Debug)]
pub(super) enum Sent {
    /// There is nothing to send now.
    Idle,
    /// The stream is over, and all of it has been sent.
    Ended,
    /// This must go out first.
    First(Bytes),
    /// The socket took everything it was given: bytes.
    All(usize),
    /// The socket took this many bytes; the rest of the frame it is in the middle of, if any.
    Part(usize, Option<[Bytes; 2]>),
    /// The socket is broken.
    Broken,
}

/// Counted since the last time it was asked for.
#[derive(Debug, Default)]
pub(super) struct Figures {
    pub(super) frames: u64,
    pub(super) skipped: u64,
    /// The first key frame went out, this long after it was asked for.
    pub(super) joined: Option<Duration>,
}

pub(super) struct Player {
    pub(super) id: u64,
    fan: Rc<Fan>,
    place: usize,
    cursor: Cursor,
    play: Play,
    filter: Filter,
    pub(super) paused: bool,
    pub(super) ended: bool,
    joined: bool,
    /// Of the cursor's jumps, those that were seen.
    jumps: u64,
    told: Option<(u64, EpochInfo)>,
    figures: Figures,
    /// Of the skipped frames, those that were asked for already.
    counted: u64,
    _viewing: Viewing,
}

impl std::fmt::Debug for Player {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Player({}, {:?})", self.id, self.play)
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        self.fan.leave(self.place);
    }
}

impl Player {
    /// `place` is the viewer's place in the fan, which is left when this is dropped.
    pub(super) fn new(id: u64, fan: Rc<Fan>, place: usize, play: Play) -> Self {
        let (cursor, viewing) = {
            let tail = fan.tail();
            (
                tail.join(play.join, Instant::now()),
                tail.stream().viewing(play.watching),
            )
        };
        Self {
            id,
            fan,
            place,
            cursor,
            play,
            filter: Filter {
                audio: true,
                video: true,
                awaits_key: true,
            },
            paused: false,
            ended: false,
            joined: false,
            jumps: 0,
            told: None,
            figures: Figures::default(),
            counted: 0,
            _viewing: viewing,
        }
    }

    /// Looks what there is of the stream, without waiting to be woken for it.
    pub(super) fn refresh(&self) {
        self.fan.refresh();
    }

    /// For who asks; not on the way of a frame.
    pub(super) fn now(&self) -> PlayerNow {
        let tail = self.fan.tail();
        let (lag_frames, lag_ms) = tail.lag(&self.cursor);
        PlayerNow {
            stream: tail.stream().name().clone(),
            watching: self.play.watching,
            asked: self.play.asked,
            waits: self.cursor.is_waiting(),
            lag_frames,
            lag_ms,
        }
    }

    pub(super) const fn message_stream(&self) -> u32 {
        self.play.message_stream
    }

    pub(super) const fn set_audio(&mut self, on: bool) {
        self.filter.audio = on;
    }

    pub(super) const fn set_video(&mut self, on: bool) {
        self.filter.awaits_key |= on && !self.filter.video;
        self.filter.video = on;
    }

    pub(super) fn take_figures(&mut self) -> Figures {
        let skipped = self.cursor.skipped();
        self.figures.skipped = skipped.saturating_sub(self.counted);
        self.counted = skipped;
        std::mem::take(&mut self.figures)
    }

    /// Sends the frames before the cursor with at most one system call, and steps over what went.
    pub(super) fn send(&mut self, socket: &Socket, now: Instant) -> Sent {
        if self.ended {
            return Sent::Idle;
        }
        let fan = Rc::clone(&self.fan);
        let tail = fan.tail();
        if self.paused {
            // A stream that is over does not wait for whoever paused it: he would keep its whole log.
            self.ended = tail.state() == State::Ended;
            return if self.ended { Sent::Ended } else { Sent::Idle };
        }
        loop {
            let ready = tail.settle(&mut self.cursor);
            if !ready {
                self.ended = tail.state() == State::Ended;
                return if self.ended { Sent::Ended } else { Sent::Idle };
            }
            // It may go on without video that went, and has none of it then but from a key frame on.
            let jumps = self.cursor.jumps();
            self.filter.awaits_key |= std::mem::replace(&mut self.jumps, jumps) != jumps;
            if let Some(first) = self.announcement(&tail) {
                return Sent::First(first);
            }
            let most = if self.play.announce.is_some() {
                1
            } else {
                tail.upcoming(&self.cursor).most()
            };
            let Written {
                frames,
                total,
                taken,
            } = if most <= SMALL_BATCH {
                self.write::<SMALL_BATCH>(&tail, most, socket)
            } else {
                self.write::<BATCH>(&tail, most, socket)
            };
            match taken {
                Ok(taken) => {
                    let rest = self.step(&tail, frames, taken, now);
                    if total == 0 {
                        continue; // nothing in these frames was for this viewer
                    }
                    return if taken == total {
                        Sent::All(taken)
                    } else {
                        Sent::Part(taken, rest)
                    };
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Sent::Part(0, None),
                Err(_) => return Sent::Broken,
            }
        }
    }

    /// One system call for up to `most` frames, at most N of them.
    fn write<const N: usize>(&self, tail: &Tail, most: usize, socket: &Socket) -> Written {
        let mut batch = Batch::<N>::new(self.play.message_stream);
        let mut filter = self.filter;
        for frame in tail.upcoming(&self.cursor).take(most.min(N)) {
            batch.push(body(frame, self.play.form, &mut filter));
            if batch.bytes >= BATCH_BYTES {
                break;
            }
        }
        let taken = if batch.bytes == 0 {
            Ok(0)
        } else {
            batch.write(socket)
        };
        Written {
            frames: batch.frames,
            total: batch.bytes,
            taken,
        }
    }

    /// The epoch message, when the frames that come next are not the continuation of what was told.
    fn announcement(&mut self, tail: &Tail) -> Option<Bytes> {
        let announce = self.play.announce.as_ref()?;
        let now = tail.epoch(&self.cursor)?;
        let jumps = self.cursor.jumps();
        let same = self.told.is_some_and(|(at, told)| {
            at == jumps && told.id == now.id && told.wall_ms == now.wall_ms && told.run == now.run
        });
        if same {
            return None;
        }
        self.told = Some((jumps, now));
        Some(announce(&now))
    }

    /// Steps over up to `frames` frames of which the socket took `taken` bytes together.
    fn step(
        &mut self,
        tail: &Tail,
        frames: usize,
        taken: usize,
        now: Instant,
    ) -> Option<[Bytes; 2]> {
        let mut left = taken;
        for _ in 0..frames {
            let mut filter = self.filter;
            let frame = tail.upcoming(&self.cursor).next()?;
            let body = body(frame, self.play.form, &mut filter);
            let length = body.map_or(0, Bytes::len);
            if left == 0 && length > 0 {
                return None;
            }
            let key = frame.role == Role::Key;
            let rest = match body {
                Some(body) if left < length => Some(rest_of(body, left, self.play.message_stream)),
                _ => None,
            };
            left = left.saturating_sub(length);
            self.filter = filter;
            self.cursor.advance();
            if length > 0 {
                self.figures.frames = self.figures.frames.saturating_add(1);
                if key && !self.joined {
                    self.joined = true;
                    self.figures.joined = Some(now.saturating_duration_since(self.play.asked));
                }
            }
            if rest.is_some() {
                return rest;
            }
        }
        None
    }
}

/// The bytes of a frame for such a viewer; none when it does not get this one.
fn body<'a>(frame: &'a Arc<Frame>, form: Rendition, filter: &mut Filter) -> Option<&'a Bytes> {
    if !filter.pass(frame) {
        return None;
    }
    let bytes = render(frame, form);
    (!bytes.is_empty()).then_some(bytes)
}

/// What follows the first `taken` bytes of a frame, `taken` being less than its length.
fn rest_of(body: &Bytes, taken: usize, stream: u32) -> [Bytes; 2] {
    match rtmp_header_for_stream(body, stream) {
        Some((header, _)) if stream != SHARED_STREAM && taken < RTMP_HEADER => [
            Bytes::copy_from_slice(header.get(taken..).unwrap_or_default()),
            body.slice(RTMP_HEADER..),
        ],
        _ => [body.slice(taken..), Bytes::new()],
    }
}

/// What became of a [`Batch`].
struct Written {
    frames: usize,
    total: usize,
    taken: io::Result<usize>,
}

/// The bytes of one write, borrowed from the log.
struct Batch<'a, const N: usize> {
    stream: u32,
    headers: [[u8; RTMP_HEADER]; N],
    bodies: [&'a [u8]; N],
    used: usize,
    /// Frames looked at, with those that have nothing for this viewer.
    frames: usize,
    bytes: usize,
}

impl<'a, const N: usize> Batch<'a, N> {
    const fn new(stream: u32) -> Self {
        Self {
            stream,
            headers: [[0; RTMP_HEADER]; N],
            bodies: [&[]; N],
            used: 0,
            frames: 0,
            bytes: 0,
        }
    }

    fn push(&mut self, body: Option<&'a Bytes>) {
        self.frames = self.frames.saturating_add(1);
        let Some(body) = body else { return };
        let mut rest: &[u8] = body;
        if self.stream != SHARED_STREAM
            && let Some((header, behind)) = rtmp_header_for_stream(body, self.stream)
            && let Some(place) = self.headers.get_mut(self.used)
        {
            *place = header;
            rest = behind;
        }
        if let Some(place) = self.bodies.get_mut(self.used) {
            *place = rest;
            self.used = self.used.saturating_add(1);
            self.bytes = self.bytes.saturating_add(body.len());
        }
    }

    fn write(&self, socket: &Socket) -> io::Result<usize> {
        let bodies = self.bodies.iter().take(self.used);
        if self.stream == SHARED_STREAM {
            let mut slices = [IoSlice::new(&[]); N];
            for (slice, body) in slices.iter_mut().zip(bodies) {
                *slice = IoSlice::new(body);
            }
            socket.send(slices.get(..self.used).unwrap_or_default())
        } else {
            let mut slices = [[IoSlice::new(&[]); 2]; N];
            let pairs = self.headers.iter().zip(bodies);
            for (pair, (header, body)) in slices.iter_mut().zip(pairs) {
                *pair = [IoSlice::new(header), IoSlice::new(body)];
            }
            let used = slices.get(..self.used).unwrap_or_default();
            socket.send(used.as_flattened())
        }
    }
}
