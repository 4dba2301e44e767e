//! The client machine: players, encoders and pulls.
//!
//! `connect` goes out by itself; after [`Event::Connected`] any number of streams (up to
//! [`MAX_MESSAGE_STREAMS`]) is played or published. The server is a stranger too: it meets the same
//! limits as a client does, and what it leaves out or adds is tolerated.

mod commands;
mod event;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::chunk::ReaderPhase;
use super::command::Command;
use super::handshake::{ClientHandshake, ClientMode, Step};
use super::message::{Message, kind};
use super::server::PublishKind;
use super::session::reason::CloseReason;
use super::session::{self, Incoming, Link, csid, media, user_control};
use super::status::enhanced_answer;
use crate::amf::{Fields, Value};
use crate::limits::{Limits, MAX_MESSAGE_STREAMS, MAX_PENDING_CALLS};

pub use event::Event;

/// What a client machine wants done.
pub type Output = session::Output<Event>;

/// The buffer that a player announces, ms. Servers of recordings send this much ahead.
const BUFFER_LENGTH_MS: u32 = 3000;

/// How a client machine behaves.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// Deadlines and sizes: the handshake's and `connect`'s, and after how long a server that sends
    /// nothing is pinged and given up.
    pub limits: Limits,
    /// Application, with the query if there is one.
    pub app: String,
    /// `rtmp://host:port/app`.
    pub tc_url: String,
    /// What we call ourselves.
    pub flash_ver: String,
    /// `swfUrl`, for servers that want one.
    pub swf_url: Option<String>,
    /// `pageUrl`, for servers that want one.
    pub page_url: Option<String>,
    /// More fields of the command object.
    pub extra: Fields,
    /// An encoder's `connect` (with `type=nonprivate`) instead of a player's.
    pub encoder: bool,
    /// Declares Enhanced RTMP as a relay does: every codec, multitrack, `ModEx`, reconnect.
    pub relay: bool,
    /// Sends `FCSubscribe` before `play`; some content networks want it.
    pub subscribe: bool,
    /// Chunk size of what we send.
    pub chunk_size: u32,
    /// Window acknowledgement size that we announce, bytes.
    pub window: u32,
    /// With or without digests; servers understand both.
    pub handshake: ClientMode,
    /// Random bytes for the handshake; a new draw for each connection.
    pub random: [u8; 32],
}

/// One connection, from its first byte.
#[derive(Debug)]
pub struct Client {
    link: Link<Event>,
    config: ClientConfig,
    phase: Phase,
    deadline: Instant,
    transaction: u32,
    pending: Vec<Pending>,
    streams: Vec<Stream>,
}

#[derive(Debug)]
enum Phase {
    Handshake(Box<ClientHandshake>),
    /// `connect` was sent.
    Connecting,
    Open,
}

/// A call that awaits its answer.
#[derive(Debug)]
struct Pending {
    transaction: u32,
    since: Instant,
    what: Asked,
}

#[derive(Debug)]
enum Asked {
    Connect,
    /// `createStream`, and what to do with the stream.
    Create(Intent),
    /// A call of the driver.
    Call,
}

#[derive(Debug, Clone)]
enum Intent {
    Play { name: String, start: f64 },
    Publish { name: String, kind: PublishKind },
}

/// One message stream.
#[derive(Debug)]
struct Stream {
    id: u32,
    intent: Intent,
    /// The server said that it began.
    started: bool,
}

impl Client {
    /// A machine whose first output is the handshake; its deadline runs from `now`.
    #[must_use]
    pub fn new(config: ClientConfig, now: Instant) -> Self {
        let mut shake = ClientHandshake::new(config.random, 0, config.handshake);
        let mut link = Link::new(Arc::new(config.limits), now);
        link.write_raw(&shake.output());
        Self {
            link,
            phase: Phase::Handshake(Box::new(shake)),
            deadline: now + config.limits.handshake_timeout,
            transaction: 0,
            pending: Vec::new(),
            streams: Vec::new(),
            config,
        }
    }

    /// Takes bytes from the server, at most [`crate::limits::READ_TURN`] at once; call
    /// [`Client::poll`] until it gives `None` afterwards.
    pub fn feed(&mut self, bytes: &[u8], now: Instant) {
        self.link.take_in(bytes, now);
    }

    /// The next thing to do; `None` when more input, an order or the time is needed.
    pub fn poll(&mut self) -> Option<Output> {
        loop {
            let output = self.link.poll().or_else(|| self.link.flush_large());
            if output.is_some() {
                return output;
            }
            if self.link.is_closed() || !self.step() {
                return self.link.flush();
            }
        }
    }

    /// When to call [`Client::timeout`] at the latest; `None` once closed.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        if self.link.is_closed() {
            return None;
        }
        let life = self.link.life_deadline();
        Some(self.setup_deadline().map_or(life, |(at, _)| at.min(life)))
    }

    /// Does what is due at `now`; poll afterwards.
    pub fn timeout(&mut self, now: Instant) {
        self.link.now = now;
        match self.setup_deadline() {
            Some((at, reason)) if now >= at => self.link.close(reason),
            _ => self.link.check_life(matches!(self.phase, Phase::Open)),
        }
    }

    /// Tells that the server took bytes, as TCP acknowledged them.
    pub fn progress(&mut self, now: Instant) {
        self.link.progress(now);
    }

    /// Bytes that were written and not polled yet.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.link.queued()
    }

    /// The total that the server acknowledged last, wrapping at 2^32. Nothing waits for it.
    #[must_use]
    pub const fn acknowledged(&self) -> u32 {
        self.link.acknowledged()
    }

    /// Whether `connect` was accepted and the connection lives.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open) && !self.link.is_closed()
    }

    /// Plays a stream. `start` is -2 for live or else recorded, -1 for live, or a time; what unit a
    /// time has is between the driver and its server. `None` when the connection is not open or
    /// has all the streams it may have.
    pub fn play(&mut self, name: &str, start: f64) -> Option<u32> {
        let name = name.to_owned();
        self.create_stream(Intent::Play { name, start })
    }

    /// Publishes a stream; `None` as in [`Client::play`].
    pub fn publish(&mut self, name: &str, kind: PublishKind) -> Option<u32> {
        let name = name.to_owned();
        self.create_stream(Intent::Publish { name, kind })
    }

    /// Sends audio (8), video (9) or data (18) on a stream that publishes; `onMetaData` is wrapped
    /// in `@setDataFrame`. False, and nothing is sent, before [`Event::PublishStarted`] or on
    /// another stream.
    pub fn send_media(&mut self, stream: u32, kind: u8, timestamp: u32, payload: &Bytes) -> bool {
        let publishes =
            |s: &Stream| s.id == stream && s.started && matches!(s.intent, Intent::Publish { .. });
        let chunk_stream = match kind {
            kind::AUDIO => csid::AUDIO,
            kind::VIDEO => csid::VIDEO,
            kind::DATA_AMF0 => csid::DATA,
            _ => return false,
        };
        if !self.is_open() || !self.streams.iter().any(publishes) {
            return false;
        }
        let payload = if kind == kind::DATA_AMF0 {
            media::published_data(payload)
        } else {
            payload.clone()
        };
        self.link.write(&Message {
            chunk_stream,
            kind,
            timestamp,
            stream,
            payload,
        });
        true
    }

    /// Ends a stream of ours: `FCUnpublish` if it published, `deleteStream`.
    pub fn delete_stream(&mut self, stream: u32) {
        let Some(at) = self.streams.iter().position(|s| s.id == stream) else {
            return;
        };
        let ended = self.streams.swap_remove(at);
        if let Intent::Publish { name, .. } = ended.intent {
            self.ask("FCUnpublish", vec![name.into()]);
        }
        self.ask("deleteStream", vec![stream.into()]);
        self.choose_phase();
    }

    /// Calls the server; its answer comes as [`Event::Result`] or [`Event::Error`]. `None`, and
    /// nothing is sent, when the connection is not open or [`MAX_PENDING_CALLS`] await an answer.
    pub fn call(&mut self, name: &str, args: Vec<Value>) -> Option<u32> {
        if !self.is_open() || self.pending.len() >= MAX_PENDING_CALLS {
            return None;
        }
        let transaction = self.ask(name, args);
        self.expect(transaction, Asked::Call);
        Some(transaction)
    }

    /// Calls the server without wanting an answer; a server that does not know the procedure says nothing.
    /// False, and nothing is sent, when the connection is not open.
    pub fn notice(&mut self, name: &str, args: Vec<Value>) -> bool {
        let open = self.is_open();
        if open {
            let command = Command::notice(name, args);
            self.link.write_command(0, &command);
        }
        open
    }

    /// Answers a call of the server well; transaction 0 wants no answer and gets none.
    pub fn result(&mut self, transaction: f64, values: Vec<Value>) {
        if transaction != 0.0 {
            let result = super::status::result(transaction, Value::Null, values);
            self.link.write_command(0, &result);
        }
    }

    /// Answers a call of the server with a failure.
    pub fn error(&mut self, transaction: f64, info: Value) {
        if transaction != 0.0 {
            let error = super::status::error(transaction, info);
            self.link.write_command(0, &error);
        }
    }

    /// Ends every stream as [`Client::delete_stream`] does, then the connection.
    pub fn close(&mut self, reason: CloseReason) {
        while let Some(id) = self.streams.first().map(|s| s.id) {
            self.delete_stream(id);
        }
        self.link.close(reason);
    }

    /// The deadline of the handshake, of `connect`, of the oldest `createStream`. A `play` may wait
    /// for its stream as long as it likes.
    fn setup_deadline(&self) -> Option<(Instant, CloseReason)> {
        match self.phase {
            Phase::Handshake(_) => Some((self.deadline, CloseReason::HandshakeTimeout)),
            Phase::Connecting => Some((self.deadline, CloseReason::AnswerTimeout)),
            Phase::Open => {
                let creates = self
                    .pending
                    .iter()
                    .filter(|p| matches!(p.what, Asked::Create(_)));
                let oldest = creates.map(|p| p.since).min()?;
                let deadline = oldest + self.config.limits.connect_timeout;
                Some((deadline, CloseReason::AnswerTimeout))
            }
        }
    }

    /// Reads on; false when nothing more can be read now.
    fn step(&mut self) -> bool {
        if let Phase::Handshake(shake) = &mut self.phase {
            let read = self.link.consume(|input| shake.feed(input));
            self.link.write_raw(&shake.output());
            match read {
                Ok(Step::More) => return false,
                Ok(Step::Done) => self.connect(),
                Err(error) => self.link.close(CloseReason::Handshake(error)),
            }
            return true;
        }
        match self.link.next() {
            None => return self.link.is_closed(),
            Some(Incoming::Control { event, stream, .. }) => {
                if event == user_control::STREAM_EOF && self.streams.iter().any(|s| s.id == stream)
                {
                    self.link.event(Event::StreamEof { stream });
                }
            }
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
            kind::AUDIO | kind::VIDEO | kind::AGGREGATE | kind::DATA_AMF0 | kind::DATA_AMF3 => {
                self.media(message);
            }
            _ => {}
        }
    }

    fn media(&mut self, message: Message) {
        // Media of a stream that we just deleted is on its way for a while.
        let Some(at) = self.attribute(message.stream) else {
            return;
        };
        let Some(stream) = self.streams.get_mut(at) else {
            return;
        };
        if !matches!(stream.intent, Intent::Play { .. }) {
            return;
        }
        let id = stream.id;
        let data = matches!(message.kind, kind::DATA_AMF0 | kind::DATA_AMF3);
        // Not every server says that it starts; data may come before it does.
        if !data && !std::mem::replace(&mut stream.started, true) {
            self.link.event(Event::PlayStarted { stream: id });
        }
        let link = &mut self.link;
        let whole = media::frames(message, |frame| {
            link.event(Event::Media {
                stream: id,
                kind: frame.kind,
                timestamp: frame.timestamp,
                payload: frame.payload,
            });
        });
        if !whole {
            link.close(CloseReason::Aggregate);
        }
    }

    /// The place of the stream that a message is about. Some servers send on message stream 0 what
    /// concerns the only stream there is.
    fn attribute(&self, id: u32) -> Option<usize> {
        let exact = self.streams.iter().position(|s| s.id == id);
        exact.or_else(|| (id == 0 && self.streams.len() == 1).then_some(0))
    }

    fn connect(&mut self) {
        let config = &self.config;
        let mut object: Fields = vec![("app".to_owned(), config.app.as_str().into())];
        let mut set = |name: &str, value: Value| object.push((name.to_owned(), value));
        if config.encoder {
            set("type", "nonprivate".into());
        }
        set("flashVer", config.flash_ver.as_str().into());
        if let Some(url) = &config.swf_url {
            set("swfUrl", url.as_str().into());
        }
        set("tcUrl", config.tc_url.as_str().into());
        if !config.encoder {
            // What librtmp says of itself: no proxy, every codec of Flash.
            set("fpad", false.into());
            set("capabilities", 15.0.into());
            set("audioCodecs", 4071.0.into());
            set("videoCodecs", 252.0.into());
            set("videoFunction", 1.0.into());
        }
        if let Some(url) = &config.page_url {
            set("pageUrl", url.as_str().into());
        }
        set("objectEncoding", 0.0.into());
        if config.relay {
            object.extend(enhanced_answer());
        }
        object.extend(config.extra.iter().cloned());
        self.phase = Phase::Connecting;
        self.deadline = self.link.now + self.config.limits.connect_timeout;
        let transaction = self.next_transaction();
        self.expect(transaction, Asked::Connect);
        let command = Command {
            name: "connect".to_owned(),
            transaction: transaction.into(),
            object: Value::Object(object),
            args: vec![],
        };
        self.link.write_command(0, &command);
    }

    fn create_stream(&mut self, intent: Intent) -> Option<u32> {
        let creates = self
            .pending
            .iter()
            .filter(|p| matches!(p.what, Asked::Create(_)));
        let full = self.streams.len() + creates.count() >= MAX_MESSAGE_STREAMS;
        if !self.is_open() || full || self.pending.len() >= MAX_PENDING_CALLS {
            return None;
        }
        if let Intent::Publish { name, .. } = &intent {
            let name = name.clone();
            self.ask("releaseStream", vec![name.as_str().into()]);
            self.ask("FCPublish", vec![name.into()]);
        }
        let transaction = self.ask("createStream", vec![]);
        self.expect(transaction, Asked::Create(intent));
        Some(transaction)
    }

    fn next_transaction(&mut self) -> u32 {
        // Never 0, which wants no answer.
        self.transaction = self.transaction.checked_add(1).unwrap_or(1);
        self.transaction
    }

    /// Sends a call without a command object.
    fn ask(&mut self, name: &str, args: Vec<Value>) -> u32 {
        let transaction = self.next_transaction();
        let command = Command::call(name, transaction.into(), args);
        self.link.write_command(0, &command);
        transaction
    }

    fn expect(&mut self, transaction: u32, what: Asked) {
        self.pending.push(Pending {
            transaction,
            since: self.link.now,
            what,
        });
    }

    fn choose_phase(&mut self) {
        let plays = |s: &Stream| matches!(s.intent, Intent::Play { .. });
        let phase = if self.streams.iter().any(plays) {
            ReaderPhase::Publishing
        } else {
            ReaderPhase::Idle
        };
        self.link.set_phase(phase);
    }
}
