//! The sending side of a connection: control bytes, and the streams it plays.
//!
//! Control bytes (answers, pings, the head of an HTTP response) wait in a small queue and go out
//! between frames. Frames are never queued: a [`super::player::Player`] is a cursor into the log,
//! and what is kept of a frame that the socket took in part is a reference to its shared bytes.
//!
//! Who writes: as long as a connection is up to date the fan-out does, in its walk over the viewers
//! ([`Outlet::turn`]). Once the socket is full, or more than one write is due, the connection's own
//! task goes on in [`Outlet::drive`] until it has caught up.

mod ending;
mod farewell;
mod own;
mod playing;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::{Buf, Bytes};
use tokio::task::yield_now;
use tokio::time::{Sleep, sleep_until};

use super::bell::LocalBell;
pub use ending::Ending;
use own::Own;
pub use playing::Playing;

use super::player::{Play, Player, Sent};
use super::shards::Shard;
use super::socket::{canonical, forget_on_close};
use crate::limits::{MAX_CONTROL_BACKLOG, MAX_CONTROL_QUEUE, MAX_MESSAGE_STREAMS};
use crate::relay::Stream;
use crate::telemetry::logging::limited;
use crate::telemetry::metrics::{Protocol, Traffic};
use crate::transport::Socket;

/// Control messages in one vectored write.
const CONTROL_BATCH: usize = 16;
/// Bytes that one connection may write before the others of its shard get their turn.
const TURN: usize = 256 * 1024;

/// What the connection's task must know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutletEvent {
    /// The stream on this message stream is over, and the viewer has all of it. Comes once.
    Ended {
        /// [`Play::message_stream`].
        message_stream: u32,
    },
    /// The control queue has room again; comes after [`Outlet::has_room`] said no.
    Room,
    /// All that [`Outlet::send`] was given is on its way. Comes once each time.
    Sent,
    /// Nothing will be sent any more.
    Closed(Ending),
    /// Somebody wants something of the connection. Comes once.
    Wished(Wish),
}

/// What an operator may want of a connection. Of several the greatest counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wish {
    /// That the viewer goes to another server, in its own time.
    Move,
    /// That the viewer goes now, as the server will not be there any more.
    Leave,
    /// That the connection ends.
    Kick,
}

/// More streams on one connection than [`MAX_MESSAGE_STREAMS`], or the connection is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the connection cannot play one more stream")]
pub struct CannotPlay;

/// How a connection does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// Everything there was has been sent; the fan-out brings what comes next.
    Current,
    /// There is more to send, and its own task sends it.
    Behind,
    /// Its socket is full.
    Blocked {
        /// Since then it took nothing.
        since: Instant,
        /// Since then it is in the middle of the same frame, or took nothing.
        midway: Instant,
    },
}

impl Pace {
    /// From now on.
    const fn blocked(now: Instant) -> Self {
        Self::Blocked {
            since: now,
            midway: now,
        }
    }
}

/// What was sent in the life of a connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Bytes that the socket took.
    pub bytes: u64,
    /// Frames that were begun.
    pub frames: u64,
    /// Frames that were left out because the viewer was late.
    pub skipped: u64,
}

#[derive(Debug)]
struct State {
    control: VecDeque<Bytes>,
    control_bytes: usize,
    /// The rest of a frame of which the socket has a part.
    rest: [Bytes; 2],
    /// What its own task sends beside the players: media of files.
    own: Option<Box<Own>>,
    players: Vec<Player>,
    /// Whose turn it is among the players.
    next: usize,
    pace: Pace,
    ending: Option<Ending>,
    wish: Option<Wish>,
    ended: VecDeque<u32>,
    was_full: bool,
    /// No frame goes out any more.
    finishing: bool,
    ids: u64,
    totals: Totals,
}

/// The sending side of one connection; shared on its shard by the connection's task and the fan-out.
#[derive(Debug)]
pub struct Outlet {
    socket: Socket,
    shard: Rc<Shard>,
    protocol: Protocol,
    state: RefCell<State>,
    /// Rung when [`Outlet::drive`] has something to do.
    bell: LocalBell,
    /// When a socket that stays full ends the connection; only while it is full, because thousands
    /// of viewers never need it.
    patience: RefCell<Option<Pin<Box<Sleep>>>>,
}

impl Outlet {
    /// Takes over a socket; `protocol` is what it counts as.
    #[must_use]
    pub fn new(socket: Socket, shard: &Rc<Shard>, protocol: Protocol) -> Rc<Self> {
        Rc::new(Self {
            socket,
            shard: Rc::clone(shard),
            protocol,
            state: RefCell::new(State {
                control: VecDeque::new(),
                control_bytes: 0,
                rest: [Bytes::new(), Bytes::new()],
                own: None,
                players: Vec::new(),
                next: 0,
                pace: Pace::Current,
                ending: None,
                wish: None,
                ended: VecDeque::new(),
                was_full: false,
                finishing: false,
                ids: 0,
                totals: Totals::default(),
            }),
            bell: LocalBell::default(),
            patience: RefCell::default(),
        })
    }

    /// The socket, for reading. Only the outlet writes.
    #[must_use]
    pub const fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Ready when there may be something to read.
    ///
    /// # Errors
    /// The socket is broken.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_readable(cx)
    }

    /// The shard that this connection is on.
    #[must_use]
    pub const fn shard(&self) -> &Rc<Shard> {
        &self.shard
    }

    /// Whether it is over; [`Outlet::drive`] says why.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.state.borrow().ending.is_some()
    }

    /// What was sent so far.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.state.borrow().totals
    }

    /// Queues control bytes, whole messages: they go out between frames, in order. The caller stops
    /// reading its peer while [`Outlet::has_room`] says no; a connection that goes far past the
    /// bound all the same is ended.
    pub fn control(&self, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        let mut state = self.state.borrow_mut();
        state.control_bytes = state.control_bytes.saturating_add(bytes.len());
        state.control.push_back(bytes);
        if state.control_bytes > MAX_CONTROL_BACKLOG {
            state.end(Ending::Overflow);
        }
        self.hand_over(&mut state);
    }

    /// Whether the control queue is below [`MAX_CONTROL_QUEUE`].
    #[must_use]
    pub fn has_room(&self) -> bool {
        let mut state = self.state.borrow_mut();
        let room = state.control_bytes < MAX_CONTROL_QUEUE;
        state.was_full |= !room;
        room
    }

    /// Begins to play a stream behind the control bytes that are queued; dropping the answer ends
    /// it, at the latest behind the frame that is on its way.
    ///
    /// # Errors
    /// [`CannotPlay`] when the connection plays as many streams as it may, or is over.
    pub fn play(self: &Rc<Self>, stream: &Arc<Stream>, play: Play) -> Result<Playing, CannotPlay> {
        let mut state = self.state.borrow_mut();
        if state.players.len() >= MAX_MESSAGE_STREAMS || state.ending.is_some() {
            return Err(CannotPlay);
        }
        state.ids = state.ids.wrapping_add(1);
        let id = state.ids;
        let watching = play.watching;
        let fan = self.shard.fanout().fan(&self.shard, stream);
        let place = fan.enter(self);
        state.players.reserve_exact(1); // one is the rule; growing would begin with four
        state.players.push(Player::new(id, fan, place, play));
        self.traffic().joins.inc();
        self.shard.metrics().viewers(watching).inc();
        self.hand_over(&mut state);
        drop(state);
        Ok(Playing {
            outlet: Rc::clone(self),
            id,
            watching,
        })
    }

    /// Ends the connection; [`Outlet::drive`] tells its task. The first reason stays.
    pub fn end(&self, ending: Ending) {
        self.state.borrow_mut().end(ending);
        self.bell.ring();
    }

    /// Tells the connection's task ([`OutletEvent::Wished`]).
    pub(super) fn wish(&self, wish: Wish) {
        let mut state = self.state.borrow_mut();
        state.wish = state.wish.max(Some(wish));
        drop(state);
        self.bell.ring();
    }

    /// Whether its socket is full.
    pub(super) fn is_slow(&self) -> bool {
        matches!(self.state.borrow().pace, Pace::Blocked { .. })
    }

    /// Shows what it plays.
    pub(super) fn each_player(&self, look: impl FnMut(&Player)) {
        self.state.borrow().players.iter().for_each(look);
    }

    /// The connection's own part of sending; returns when there is something to know. To be polled
    /// all the time, beside reading (`select!`); losing a poll loses nothing.
    pub async fn drive(&self) -> OutletEvent {
        poll_fn(|cx| self.poll_drive(cx)).await
    }

    /// [`Outlet::drive`], for a task that polls several things itself.
    pub fn poll_drive(&self, cx: &mut Context<'_>) -> Poll<OutletEvent> {
        loop {
            if let Some(event) = self.event() {
                return Poll::Ready(event);
            }
            ready!(self.poll_step(cx));
        }
    }

    /// Sends one turn's worth, or waits until there is something to do.
    fn poll_step(&self, cx: &mut Context<'_>) -> Poll<()> {
        let pace = self.state.borrow().pace;
        match pace {
            Pace::Current => {
                if self.patience.borrow().is_some() {
                    *self.patience.borrow_mut() = None;
                }
                self.bell.poll(cx)
            }
            Pace::Behind => {
                let mut state = self.state.borrow_mut();
                self.pump(&mut state, Instant::now());
                if state.pace != Pace::Behind || state.ending.is_some() {
                    return Poll::Ready(());
                }
                // The others' turn: this wakes the task again behind them.
                pin!(yield_now()).poll(cx)
            }
            // A frame is not kept for whoever takes a byte of it now and then.
            Pace::Blocked { midway, .. } => self.poll_socket(midway, cx),
        }
    }

    /// Brings a viewer that is up to date what is new; the fan-out calls it for each new frame.
    pub(super) fn turn(&self, now: Instant) {
        let mut state = self.state.borrow_mut();
        if state.pace == Pace::Current && state.ending.is_none() {
            state.pace = Pace::Behind;
            self.pump(&mut state, now);
            if state.pace != Pace::Current || state.ending.is_some() || !state.ended.is_empty() {
                self.bell.ring();
            }
        }
    }

    /// Ends the connection because serving it panicked.
    pub(super) fn defect(&self) {
        self.shard.metrics().panics.inc();
        self.end(Ending::Defect);
    }

    fn traffic(&self) -> &Traffic {
        self.shard.metrics().traffic(self.protocol)
    }

    /// Leaves the next write to the connection's task.
    fn hand_over(&self, state: &mut State) {
        if state.pace == Pace::Current {
            state.pace = Pace::Behind;
        }
        self.bell.ring();
    }

    fn event(&self) -> Option<OutletEvent> {
        let mut state = self.state.borrow_mut();
        if let Some(ending) = state.ending {
            if matches!(ending, Ending::TooSlow | Ending::Overflow) {
                // It does not read; whatever the kernel holds for it is of no use any more.
                forget_on_close(&self.socket);
            }
            return Some(OutletEvent::Closed(ending));
        }
        if let Some(wish) = state.wish.take() {
            return Some(OutletEvent::Wished(wish));
        }
        if let Some(message_stream) = state.ended.pop_front() {
            return Some(OutletEvent::Ended { message_stream });
        }
        if state.own.as_mut().is_some_and(|own| own.take_sent()) {
            return Some(OutletEvent::Sent);
        }
        if state.was_full && state.control_bytes < MAX_CONTROL_QUEUE {
            state.was_full = false;
            return Some(OutletEvent::Room);
        }
        None
    }

    /// Writes until the socket is full, nothing is left, or the turn is over.
    fn pump(&self, state: &mut State, now: Instant) {
        let before = state.totals.bytes;
        loop {
            self.write(state, now);
            let sent = state.totals.bytes.saturating_sub(before);
            if state.pace != Pace::Behind || state.ending.is_some() || sent >= TURN as u64 {
                return;
            }
        }
    }

    /// Goes on when the socket, full since then, takes bytes again, or when the bell rings; ends the
    /// connection when its time is over. Small and without a timer of its own: this is part of the
    /// future of every connection.
    fn poll_socket(&self, since: Instant, cx: &mut Context<'_>) -> Poll<()> {
        if self.bell.poll(cx).is_ready() {
            return Poll::Ready(()); // an event, or more to send later
        }
        match self.socket.poll_writable(cx) {
            Poll::Ready(Ok(())) => {
                self.pump(&mut self.state.borrow_mut(), Instant::now());
                return Poll::Ready(());
            }
            Poll::Ready(Err(_)) => {
                self.state.borrow_mut().end(Ending::Gone);
                return Poll::Ready(());
            }
            Poll::Pending => {}
        }
        let Some(until) = since.checked_add(self.allowed_silence()) else {
            return Poll::Pending;
        };
        let until = tokio::time::Instant::from_std(until);
        let mut patience = self.patience.borrow_mut();
        let timer = patience.get_or_insert_with(|| Box::pin(sleep_until(until)));
        if timer.deadline() != until {
            timer.as_mut().reset(until);
        }
        timer.as_mut().poll(cx).map(|()| {
            self.state.borrow_mut().end(Ending::TooSlow);
        })
    }

    /// One write: what is begun and control bytes first, else the frames of one player.
    fn write(&self, state: &mut State, now: Instant) {
        if state.ending.is_some() {
            return;
        }
        state.begin_own();
        let (taken, whole) = if state.is_flushed() {
            match self.write_frames(state, now) {
                Some(written) => written,
                None => {
                    state.pace = match self.socket.flush() {
                        Ok(()) => Pace::Current,
                        Err(e) if e.kind() == io::ErrorKind::WouldBlock => Pace::blocked(now),
                        Err(_) => return state.end(Ending::Gone),
                    };
                    return;
                }
            }
        } else {
            match state.write_queue(&self.socket) {
                Ok(written) => written,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => (0, false),
                Err(_) => return state.end(Ending::Gone),
            }
        };
        state.totals.bytes = state.totals.bytes.saturating_add(taken as u64);
        self.traffic().bytes_out.inc_by(taken as u64);
        state.pace = match state.pace {
            _ if whole => Pace::Behind, // there may be more; the next write finds out
            Pace::Blocked { .. } if taken == 0 => state.pace,
            Pace::Blocked { midway, .. } if state.is_midway() => {
                Pace::Blocked { since: now, midway }
            }
            _ => Pace::blocked(now),
        };
    }

    /// Once a viewer; that it goes on skipping is in the metrics and in its last line.
    fn tell_of_skip(&self, player: &Player, skipped: u64, now: Instant) {
        let peer = self.socket.peer_addr().ok().map(canonical);
        limited("slow-viewer", now, || {
            tracing::info!(
                stream = %player.now().stream, peer = peer.map(tracing::field::display),
                protocol = self.protocol.label(), skipped, code = "slow-viewer",
                "a viewer takes less than its stream has, and skips to the newest key frame"
            );
        });
    }

    /// Bytes written and whether the socket took all; `None` when no player has anything to send.
    fn write_frames(&self, state: &mut State, now: Instant) -> Option<(usize, bool)> {
        let players = if state.finishing {
            0
        } else {
            state.players.len()
        };
        for _ in 0..players {
            let turn = state.next.checked_rem(players)?;
            state.next = turn.wrapping_add(1);
            let player = state.players.get_mut(turn)?;
            let sent = player.send(&self.socket, now);
            let figures = player.take_figures();
            let message_stream = player.message_stream();
            let traffic = self.traffic();
            traffic.frames_out.inc_by(figures.frames);
            if figures.skipped > 0 {
                traffic.frames_skipped.inc_by(figures.skipped);
            }
            if let Some(after) = figures.joined {
                traffic.join_seconds.observe(after.as_secs_f64());
            }
            let totals = &mut state.totals;
            if totals.skipped == 0 && figures.skipped > 0 {
                self.tell_of_skip(player, figures.skipped, now);
            }
            totals.frames = totals.frames.saturating_add(figures.frames);
            totals.skipped = totals.skipped.saturating_add(figures.skipped);
            match sent {
                Sent::Idle => {}
                Sent::Ended => state.ended.push_back(message_stream),
                Sent::First(bytes) => {
                    // Its frames follow at once: it has the next turn too.
                    state.next = turn;
                    state.control_bytes = state.control_bytes.saturating_add(bytes.len());
                    state.control.push_back(bytes);
                    return Some((0, true));
                }
                Sent::All(taken) => return Some((taken, true)),
                Sent::Part(taken, rest) => {
                    if taken == 0 {
                        state.next = turn; // it has not had its turn
                    }
                    state.rest = rest.unwrap_or_default();
                    return Some((taken, false));
                }
                Sent::Broken => {
                    state.end(Ending::Gone);
                    return Some((0, false));
                }
            }
        }
        None
    }
}

impl State {
    fn end(&mut self, ending: Ending) {
        self.ending.get_or_insert(ending);
    }

    /// The socket has a part of a frame.
    fn is_midway(&self) -> bool {
        self.rest.iter().any(|rest| !rest.is_empty())
    }

    /// Nothing is begun and no control bytes wait: a frame may go out.
    fn is_flushed(&self) -> bool {
        self.control.is_empty() && !self.is_midway()
    }

    /// Bytes written and whether the socket took all that it was given.
    fn write_queue(&mut self, socket: &Socket) -> io::Result<(usize, bool)> {
        let mut slices = [IoSlice::new(&[]); CONTROL_BATCH];
        let parts = self.rest.iter().chain(&self.control);
        let mut used = 0_usize;
        for (slice, part) in slices.iter_mut().zip(parts.filter(|p| !p.is_empty())) {
            *slice = IoSlice::new(part);
            used = used.saturating_add(1);
        }
        let slices = slices.get(..used).unwrap_or_default();
        let total: usize = slices.iter().map(|s| s.len()).sum();
        let taken = socket.send(slices)?;
        let mut left = taken;
        for rest in &mut self.rest {
            let n = left.min(rest.len());
            rest.advance(n);
            left = left.saturating_sub(n);
            if rest.is_empty() {
                *rest = Bytes::new(); // lets go of the frame
            }
        }
        self.control_bytes = self.control_bytes.saturating_sub(left);
        while let Some(front) = self.control.front_mut() {
            let n = left.min(front.len());
            front.advance(n);
            left = left.saturating_sub(n);
            if !front.is_empty() {
                break;
            }
            self.control.pop_front();
        }
        if self.control.is_empty() {
            self.control = VecDeque::new(); // players hear little after their login
        }
        Ok((taken, taken == total))
    }
}
