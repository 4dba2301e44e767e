//! The server machine: one connection of a player or an encoder.
//!
//! It asks its driver by [`Event`] and reads nothing more while a `connect` or `publish` awaits its
//! answer; so what a client pipelines behind them is judged after the answer, not before. Media to
//! viewers does not pass through it: the driver writes shared bytes between this machine's own
//! writes, which never use the chunk streams of media.

mod answers;
mod commands;
mod event;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Instant;

use super::chunk::ReaderPhase;
use super::handshake::{ServerHandshake, Step};
use super::message::{Message, kind};
use super::session::caps::Caps;
use super::session::reason::CloseReason;
use super::session::{self, Incoming, Link, media, user_control};
use crate::limits::{LATE_MEDIA, Limits};

pub use event::{ConnectRequest, Event, PublishKind};

/// What a server machine wants done.
pub type Output = session::Output<Event>;

/// How a server machine behaves.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Deadlines and sizes; all connections share them.
    pub limits: Arc<Limits>,
    /// Chunk size of everything that we send once `connect` is accepted, shared media included.
    pub chunk_size: u32,
    /// Window acknowledgement size and peer bandwidth that we announce, bytes.
    pub window: u32,
    /// Random bytes for the handshake; a new draw for each connection.
    pub random: [u8; 32],
    /// A counted number of the connection, shown to the client as `clientid`.
    pub client: u64,
}

/// One connection, from its first byte.
#[derive(Debug)]
pub struct Server {
    link: Link<Event>,
    config: ServerConfig,
    phase: Phase,
    caps: Caps,
    /// Whether `connect` named a `swfUrl`, as Flash Player does.
    flash: bool,
    /// Of the handshake, then of `connect`, then of the first play or publish.
    deadline: Instant,
    /// Something played or published, or the driver lets the connection be idle.
    settled: bool,
    streams: Vec<Stream>,
    last_media: Instant,
    late_until: Option<Instant>,
}

#[derive(Debug)]
enum Phase {
    Handshake(Box<ServerHandshake>),
    /// Only `connect` may come.
    Connect,
    /// The driver decides on `connect`.
    Asked {
        transaction: f64,
        encoding: u8,
    },
    Open,
}

/// One message stream.
#[derive(Debug)]
struct Stream {
    id: u32,
    role: Role,
    /// As last played or published, without its query.
    name: String,
    /// What we call it in our answers, when that is another name.
    called: Option<Box<str>>,
    /// Whether the pending `play` replaces what plays.
    reset: bool,
    /// What plays is a recording.
    recorded: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Idle,
    PublishAsked,
    Publishing,
    PlayAsked,
    Playing,
}

impl Server {
    /// A machine that awaits the first byte; the handshake's deadline runs from `now`.
    #[must_use]
    pub fn new(config: ServerConfig, now: Instant) -> Self {
        Self {
            link: Link::new(Arc::clone(&config.limits), now),
            phase: Phase::Handshake(Box::new(ServerHandshake::new(config.random, 0))),
            caps: Caps::default(),
            flash: false,
            deadline: now + config.limits.handshake_timeout,
            settled: false,
            streams: Vec::new(),
            last_media: now,
            late_until: None,
            config,
        }
    }

    /// Takes bytes from the peer, at most [`crate::limits::READ_TURN`] at once; call
    /// [`Server::poll`] until it gives `None` afterwards.
    pub fn feed(&mut self, bytes: &[u8], now: Instant) {
        self.link.take_in(bytes, now);
        if !self.publishes() {
            self.link.count_idle_bytes(bytes.len());
        }
    }

    /// Whether to read from the socket. False while an answer of the driver is pending and enough
    /// input waits behind it: feeding on would end in [`CloseReason::Overrun`].
    #[must_use]
    pub fn wants_input(&self) -> bool {
        !self.is_asking() || self.link.has_room()
    }

    /// The next thing to do; `None` when more input, an answer or the time is needed.
    pub fn poll(&mut self) -> Option<Output> {
        loop {
            let output = self.link.poll().or_else(|| self.link.flush_large());
            if output.is_some() {
                return output;
            }
            if self.link.is_closed() || !self.step() {
                if !self.publishes() {
                    self.link.release();
                }
                return self.link.flush();
            }
        }
    }

    /// When to call [`Server::timeout`] at the latest; `None` once closed.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        if self.link.is_closed() {
            return None;
        }
        let life = self.link.life_deadline();
        let publisher = self.media_deadline().unwrap_or(life);
        let deadline = self.setup_deadline().map_or(life, |(at, _)| at);
        Some(life.min(publisher).min(deadline))
    }

    /// Does what is due at `now`; poll afterwards.
    pub fn timeout(&mut self, now: Instant) {
        self.link.now = now;
        match self.setup_deadline() {
            Some((at, reason)) if now >= at => return self.link.close(reason),
            _ => {}
        }
        if self.media_deadline().is_some_and(|at| now >= at) {
            return self.link.close(CloseReason::PublisherSilent);
        }
        self.link.check_life(matches!(self.phase, Phase::Open));
    }

    /// Tells that the peer took bytes, as TCP acknowledged them: some viewers never answer a ping.
    pub fn progress(&mut self, now: Instant) {
        self.link.progress(now);
    }

    /// What the peer declared of Enhanced RTMP.
    #[must_use]
    pub const fn caps(&self) -> &Caps {
        &self.caps
    }

    /// The total that the peer acknowledged last, wrapping at 2^32. Nothing waits for it.
    #[must_use]
    pub const fn acknowledged(&self) -> u32 {
        self.link.acknowledged()
    }

    /// Bytes held of messages that are not complete, and of input that is not read yet.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.link.buffered()
    }

    /// Messages that were read and thrown away unseen.
    #[must_use]
    pub const fn discarded(&self) -> u64 {
        self.link.reader.discarded()
    }

    fn is_asking(&self) -> bool {
        matches!(self.phase, Phase::Asked { .. })
            || self.streams.iter().any(|s| s.role == Role::PublishAsked)
    }

    /// The deadline of what a peer must do before it plays or publishes.
    fn publishes(&self) -> bool {
        self.streams.iter().any(|s| s.role == Role::Publishing)
    }

    fn setup_deadline(&self) -> Option<(Instant, CloseReason)> {
        let reason = match self.phase {
            Phase::Handshake(_) => CloseReason::HandshakeTimeout,
            Phase::Connect => CloseReason::ConnectTimeout,
            Phase::Asked { .. } => return None,
            Phase::Open => {
                let busy = self.streams.iter().any(|s| s.role != Role::Idle);
                if self.settled || busy {
                    return None;
                }
                CloseReason::IdleTimeout
            }
        };
        Some((self.deadline, reason))
    }

    fn media_deadline(&self) -> Option<Instant> {
        self.publishes()
            .then(|| self.last_media + self.config.limits.publish_timeout)
    }

    /// Reads on; false when nothing more can be read now.
    fn step(&mut self) -> bool {
        if let Phase::Handshake(handshake) = &mut self.phase {
            let read = self.link.consume(|input| handshake.feed(input));
            self.link.write_raw(&handshake.output());
            match read {
                Ok(Step::More) => return false,
                Ok(Step::Done) => {
                    self.phase = Phase::Connect;
                    self.deadline = self.link.now + self.config.limits.connect_timeout;
                }
                Err(error) => self.link.close(CloseReason::Handshake(error)),
            }
            return true;
        }
        if self.is_asking() {
            return false;
        }
        match self.link.next() {
            None => return self.link.is_closed(),
            Some(Incoming::Control {
                event: user_control::SET_BUFFER_LENGTH,
                length: Some(ms),
                ..
            }) => self.link.event(Event::Buffer { ms }),
            Some(Incoming::Control { .. }) => {}
            Some(Incoming::Message(message)) => self.message(message),
        }
        true
    }

    fn message(&mut self, message: Message) {
        match message.kind {
            kind::COMMAND_AMF0 | kind::COMMAND_AMF3 => {
                if let Some(command) = self.link.read_command(&message) {
                    self.command(message.stream, command);
                }
            }
            _ if !matches!(self.phase, Phase::Open) => self.link.close(CloseReason::BeforeConnect),
            kind::AUDIO | kind::VIDEO | kind::AGGREGATE | kind::DATA_AMF0 | kind::DATA_AMF3 => {
                self.media(message);
            }
            // Shared objects: nobody here has any.
            _ => {}
        }
    }

    fn media(&mut self, message: Message) {
        let role = self.stream(message.stream).map(|s| s.role);
        if role != Some(Role::Publishing) {
            let data = matches!(message.kind, kind::DATA_AMF0 | kind::DATA_AMF3);
            let late = self.late_until.is_some_and(|until| self.link.now < until);
            if !data && !late {
                self.link.close(CloseReason::NotPublishing);
            }
            return self.link.count_unwanted(1);
        }
        self.last_media = self.link.now;
        let link = &mut self.link;
        let stream = message.stream;
        let whole = media::frames(message, |frame| {
            link.event(Event::Media {
                stream,
                kind: frame.kind,
                timestamp: frame.timestamp,
                payload: frame.payload,
            });
        });
        if !whole {
            link.close(CloseReason::Aggregate);
        }
    }

    fn stream(&mut self, id: u32) -> Option<&mut Stream> {
        self.streams.iter_mut().find(|s| s.id == id)
    }

    /// Ends what a message stream does, on the peer's wish, and tells the driver.
    fn stop(&mut self, id: u32) {
        let Some(stream) = self.stream(id) else {
            return;
        };
        let role = std::mem::replace(&mut stream.role, Role::Idle);
        stream.recorded = false;
        match role {
            Role::Publishing => {
                self.expect_late_media();
                let status = self.subject(id).map(|subject| subject.unpublish_success());
                if let Some(status) = status {
                    self.link.write_command(id, &status);
                }
                self.link.event(Event::Unpublish { stream: id });
            }
            Role::Playing | Role::PlayAsked => self.link.event(Event::StopPlay { stream: id }),
            Role::Idle | Role::PublishAsked => {}
        }
    }

    fn expect_late_media(&mut self) {
        self.late_until = Some(self.link.now + LATE_MEDIA);
        if !self.publishes() {
            self.link.set_phase(ReaderPhase::Idle);
        }
    }
}
