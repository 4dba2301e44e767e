//! What both machines share: the input, the outputs, control messages, acknowledgements and pings.

pub mod caps;
mod flood;
pub(crate) mod media;
pub mod reason;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::chunk::{ChunkReader, ChunkWriter, ReaderLimits, ReaderPhase};
use super::command::Command;
use super::message::{Message, kind};
use crate::amf::Value;
use crate::limits::{
    ACK_INTERVAL, Limits, MAX_SESSION_INPUT, MIN_ACK_INTERVAL, PING_ANSWER_INTERVAL,
};
use crate::wire::Reader;
use flood::Flood;
use reason::CloseReason;

/// The largest input buffer that is kept for the next input while media comes in.
const MAX_KEPT_INPUT: usize = 64 * 1024;
/// Written bytes that become an output even when there is more input to read.
const WRITE_PIECE: usize = 8 * 1024;

/// What a machine wants done, in this order.
#[derive(Debug, Clone, PartialEq)]
pub enum Output<E> {
    /// Send these bytes.
    Write(Bytes),
    /// Know this, or answer it.
    Event(E),
    /// Send what was written before, then close. The machine does nothing more.
    Close(CloseReason),
}

/// Chunk streams that the machines write on. Media of the server does not pass through its machine,
/// and a chunk stream's header compression needs one writer; so a server never writes on 4 to 6.
pub(crate) mod csid {
    /// Protocol control and user control messages (required, RTMP 1.0 section 5.4).
    pub(crate) const CONTROL: u32 = 2;
    /// Commands and status.
    pub(crate) const COMMAND: u32 = 3;
    /// A client's audio.
    pub(crate) const AUDIO: u32 = 4;
    /// A client's data.
    pub(crate) const DATA: u32 = 5;
    /// A client's video.
    pub(crate) const VIDEO: u32 = 6;
}

/// User control event types (RTMP 1.0 section 7.1.7).
pub(crate) mod user_control {
    /// A stream becomes functional.
    pub(crate) const STREAM_BEGIN: u16 = 0;
    /// A stream has no more data.
    pub(crate) const STREAM_EOF: u16 = 1;
    /// The client's buffer, ms.
    pub(crate) const SET_BUFFER_LENGTH: u16 = 3;
    /// A stream is a recording.
    pub(crate) const STREAM_IS_RECORDED: u16 = 4;
    /// Answer with the same time.
    pub(crate) const PING_REQUEST: u16 = 6;
    /// That answer.
    pub(crate) const PING_RESPONSE: u16 = 7;
}

/// A message that the link does not deal with itself.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// Not a protocol control message.
    Message(Message),
    /// A user control event on a message stream; `length` is of a player's buffer, ms.
    Control {
        event: u16,
        stream: u32,
        length: Option<u32>,
    },
}

/// One side of a connection, below commands.
#[derive(Debug)]
pub(crate) struct Link<E> {
    limits: Arc<Limits>,
    pub(crate) now: Instant,
    pub(crate) reader: ChunkReader,
    writer: ChunkWriter,
    input: BytesMut,
    /// Media comes in: the input's buffer is needed again at once.
    streams_media: bool,
    outputs: VecDeque<Output<E>>,
    pending: BytesMut,
    closed: bool,
    /// The peer speaks AMF3: commands go to it as type 17.
    amf3: bool,
    epoch: Instant,
    received: u64,
    reported: u64,
    ack_every: u64,
    peer_acked: u32,
    last_life: Instant,
    last_ping: Instant,
    last_pong: Option<Instant>,
    flood: Flood,
}

impl<E> Link<E> {
    pub(crate) fn new(limits: Arc<Limits>, now: Instant) -> Self {
        Self {
            now,
            reader: ChunkReader::new(ReaderLimits::from(&*limits)),
            limits,
            writer: ChunkWriter::new(),
            input: BytesMut::new(),
            streams_media: false,
            outputs: VecDeque::new(),
            pending: BytesMut::new(),
            closed: false,
            amf3: false,
            epoch: now,
            received: 0,
            reported: 0,
            ack_every: ACK_INTERVAL,
            peer_acked: 0,
            last_life: now,
            last_ping: now,
            last_pong: None,
            flood: Flood::new(now),
        }
    }

    /// Takes what arrived; [`Link::next`] and the handshake consume it.
    pub(crate) fn take_in(&mut self, bytes: &[u8], now: Instant) {
        self.now = now;
        if self.closed || bytes.is_empty() {
            return;
        }
        self.last_life = now;
        self.received = self.received.wrapping_add(bytes.len() as u64);
        if self.input.len().saturating_add(bytes.len()) > MAX_SESSION_INPUT {
            self.close(CloseReason::Overrun);
            return;
        }
        self.input.extend_from_slice(bytes);
    }

    /// Bytes held of messages that are not complete, and of input that is not read yet.
    pub(crate) fn buffered(&self) -> usize {
        self.reader.buffered().saturating_add(self.input.len())
    }

    /// Whether more input has room while an answer is pending.
    pub(crate) fn has_room(&self) -> bool {
        self.input.len() < MAX_SESSION_INPUT / 2
    }

    /// Lets `consume` take from the front of the input.
    pub(crate) fn consume<T>(&mut self, consume: impl FnOnce(&mut &[u8]) -> T) -> T {
        let mut rest: &[u8] = &self.input;
        let result = consume(&mut rest);
        let used = self.input.len().saturating_sub(rest.len());
        self.drop_input(used);
        result
    }

    fn drop_input(&mut self, used: usize) {
        self.input.advance(used);
        if self.input.is_empty() {
            if self.streams_media && self.input.capacity() <= MAX_KEPT_INPUT {
                self.input.clear();
            } else {
                // An idle connection keeps no buffer.
                self.input = BytesMut::new();
            }
        }
    }

    /// The next message that is not about the link itself; `None` when the input is used up or the
    /// link is closed.
    pub(crate) fn next(&mut self) -> Option<Incoming> {
        while !self.closed {
            let mut rest: &[u8] = &self.input;
            let thrown_away = self.reader.discarded();
            let read = self.reader.feed(&mut rest);
            let unwanted = self.reader.discarded().saturating_sub(thrown_away);
            let used = self.input.len().saturating_sub(rest.len());
            self.drop_input(used);
            match read {
                Ok(Some(message)) => {
                    let counts = u64::from(!carries_media(message.kind));
                    self.count_unwanted(unwanted.saturating_add(counts));
                    if self.closed {
                        return None;
                    }
                    if let Some(incoming) = self.control(message) {
                        return Some(incoming);
                    }
                }
                Ok(None) => {
                    self.count_unwanted(unwanted);
                    self.acknowledge();
                    return None;
                }
                Err(error) => self.close(CloseReason::Chunk(error)),
            }
        }
        None
    }

    /// So many messages came that are no media that somebody wanted.
    pub(crate) fn count_unwanted(&mut self, count: u64) {
        if count > 0 && self.flood.messages(count, self.now) {
            self.close(CloseReason::Flood);
        }
    }

    /// So many bytes came of a peer that does not publish.
    pub(crate) fn count_idle_bytes(&mut self, count: usize) {
        if self.flood.bytes(count, self.now) {
            self.close(CloseReason::Flood);
        }
    }

    /// Acts on protocol control messages, passes on the others.
    fn control(&mut self, message: Message) -> Option<Incoming> {
        let body = &message.payload;
        match message.kind {
            kind::USER_CONTROL => return self.user_control(body),
            kind::SET_CHUNK_SIZE
            | kind::ABORT
            | kind::ACK
            | kind::WINDOW_ACK
            | kind::PEER_BANDWIDTH => {}
            _ => return Some(Incoming::Message(message)),
        }
        // Peer bandwidth has one byte more; some senders leave it out.
        let most = if message.kind == kind::PEER_BANDWIDTH {
            5
        } else {
            4
        };
        let value = match Reader::new(body).u32() {
            Ok(value) if body.len() <= most => value,
            _ => {
                self.close(CloseReason::Control(message.kind));
                return None;
            }
        };
        match message.kind {
            kind::SET_CHUNK_SIZE => {
                if let Err(error) = self.reader.set_chunk_size(value) {
                    self.close(CloseReason::Chunk(error));
                }
            }
            kind::ABORT => self.reader.abort(value),
            kind::ACK => self.peer_acked = value,
            // Half of the window, so that a peer which waits for us never has to.
            kind::WINDOW_ACK => {
                self.ack_every = u64::from((value / 2).max(MIN_ACK_INTERVAL));
            }
            // We never wait for acknowledgements, so a smaller window for us changes nothing.
            _ => {}
        }
        None
    }

    fn user_control(&mut self, body: &[u8]) -> Option<Incoming> {
        let mut input = Reader::new(body);
        let Ok(event) = input.u16() else {
            self.close(CloseReason::Control(kind::USER_CONTROL));
            return None;
        };
        let value = input.u32();
        match event {
            user_control::STREAM_BEGIN
            | user_control::STREAM_EOF
            | user_control::SET_BUFFER_LENGTH
            | user_control::PING_REQUEST => {
                let Ok(value) = value else {
                    self.close(CloseReason::Control(kind::USER_CONTROL));
                    return None;
                };
                if event == user_control::PING_REQUEST {
                    self.pong(value);
                    return None;
                }
                Some(Incoming::Control {
                    event,
                    stream: value,
                    length: input.u32().ok(),
                })
            }
            // A ping response is life like any byte; others (SWF verification, buffer states) concern
            // no one here.
            _ => None,
        }
    }

    /// Answers a ping, but no flood of them.
    fn pong(&mut self, time: u32) {
        let since = |last: Instant| self.now.saturating_duration_since(last);
        if self
            .last_pong
            .is_none_or(|last| since(last) >= PING_ANSWER_INTERVAL)
        {
            self.last_pong = Some(self.now);
            self.write_user_control(user_control::PING_RESPONSE, time);
        }
    }

    /// Reports what arrived, wrapping at 2^32, once per interval.
    fn acknowledge(&mut self) {
        if self.received.wrapping_sub(self.reported) >= self.ack_every {
            self.reported = self.received;
            #[expect(clippy::cast_possible_truncation, reason = "the field wraps")]
            let total = self.received as u32;
            self.write_control(kind::ACK, &total.to_be_bytes());
        }
    }

    /// What the peer last acknowledged.
    pub(crate) const fn acknowledged(&self) -> u32 {
        self.peer_acked
    }

    /// The peer showed life in a way that the machine does not see.
    pub(crate) fn progress(&mut self, now: Instant) {
        self.now = now;
        self.last_life = now;
    }

    /// When [`Link::check_life`] has something to do.
    pub(crate) fn life_deadline(&self) -> Instant {
        let ping = self.last_life.max(self.last_ping) + self.limits.ping_after;
        ping.min(self.last_life + self.limits.silence_timeout)
    }

    /// Pings a silent peer, closes a dead one.
    pub(crate) fn check_life(&mut self, pings: bool) {
        let silent = self.now.saturating_duration_since(self.last_life);
        if silent >= self.limits.silence_timeout {
            self.close(CloseReason::Silent);
        } else if self.now >= self.last_life.max(self.last_ping) + self.limits.ping_after {
            self.last_ping = self.now;
            if pings {
                let time = self.clock();
                self.write_user_control(user_control::PING_REQUEST, time);
            }
        }
    }

    /// Milliseconds since the machine was made, wrapping.
    fn clock(&self) -> u32 {
        let elapsed: Duration = self.now.saturating_duration_since(self.epoch);
        #[expect(clippy::cast_possible_truncation, reason = "RTMP's clock wraps")]
        let time = elapsed.as_millis() as u32;
        time
    }

    // ---- output ----

    pub(crate) fn poll(&mut self) -> Option<Output<E>> {
        self.outputs.pop_front()
    }

    /// The written bytes, once they are worth a write of their own: a driver whose queue is full may
    /// stop polling there, and the answers to one input never pile up.
    pub(crate) fn flush_large(&mut self) -> Option<Output<E>> {
        (self.pending.len() >= WRITE_PIECE).then(|| self.flush())?
    }

    /// The written bytes that no output holds yet.
    pub(crate) fn flush(&mut self) -> Option<Output<E>> {
        if self.pending.is_empty() {
            return None;
        }
        Some(Output::Write(std::mem::take(&mut self.pending).freeze()))
    }

    /// Lets go of the memory of outputs, which have all been polled: thousands of players say nothing
    /// more after their login.
    pub(crate) fn release(&mut self) {
        if self.outputs.is_empty() {
            self.outputs = VecDeque::new();
        }
    }

    fn push(&mut self, output: Output<E>) {
        if let Some(write) = self.flush() {
            self.outputs.push_back(write);
        }
        self.outputs.push_back(output);
    }

    pub(crate) const fn is_closed(&self) -> bool {
        self.closed
    }

    /// Bytes that were written and not polled.
    pub(crate) fn queued(&self) -> usize {
        let bytes = |output: &Output<E>| match output {
            Output::Write(bytes) => bytes.len(),
            _ => 0,
        };
        self.outputs.iter().map(bytes).sum::<usize>() + self.pending.len()
    }

    pub(crate) fn event(&mut self, event: E) {
        if !self.closed {
            self.push(Output::Event(event));
        }
    }

    pub(crate) fn close(&mut self, reason: CloseReason) {
        if !self.closed {
            self.closed = true;
            self.input = BytesMut::new();
            self.push(Output::Close(reason));
        }
    }

    pub(crate) fn write_raw(&mut self, bytes: &[u8]) {
        if !self.closed {
            self.pending.extend_from_slice(bytes);
        }
    }

    pub(crate) fn write(&mut self, message: &Message) {
        if !self.closed {
            self.writer.write(&mut self.pending, message);
        }
    }

    pub(crate) fn write_control(&mut self, kind: u8, body: &[u8]) {
        self.write(&Message {
            chunk_stream: csid::CONTROL,
            kind,
            timestamp: 0,
            stream: 0,
            payload: Bytes::copy_from_slice(body),
        });
    }

    pub(crate) fn write_user_control(&mut self, event: u16, value: u32) {
        let mut body = BytesMut::with_capacity(6);
        body.put_u16(event);
        body.put_u32(value);
        self.write_control(kind::USER_CONTROL, &body);
    }

    /// Announces and uses a chunk size.
    pub(crate) fn announce_chunk_size(&mut self, size: u32) {
        self.write_control(kind::SET_CHUNK_SIZE, &size.to_be_bytes());
        self.writer.set_chunk_size(size);
    }

    pub(crate) fn write_command(&mut self, stream: u32, command: &Command) {
        let kind = if self.amf3 {
            kind::COMMAND_AMF3
        } else {
            kind::COMMAND_AMF0
        };
        self.write(&Message {
            chunk_stream: csid::COMMAND,
            kind,
            timestamp: 0,
            stream,
            payload: command.encode(kind),
        });
    }

    /// Reads a command message; an unreadable one closes the link.
    pub(crate) fn read_command(&mut self, message: &Message) -> Option<Command> {
        match Command::decode(message.kind, &message.payload) {
            Ok(command) => {
                self.amf3 |= message.kind == kind::COMMAND_AMF3;
                Some(command)
            }
            Err(error) => {
                self.close(CloseReason::Command(error));
                None
            }
        }
    }

    pub(crate) fn set_phase(&mut self, phase: ReaderPhase) {
        self.streams_media = phase == ReaderPhase::Publishing;
        self.reader.set_phase(phase);
    }
}

const fn carries_media(kind: u8) -> bool {
    matches!(
        kind,
        kind::AUDIO | kind::VIDEO | kind::AGGREGATE | kind::DATA_AMF0 | kind::DATA_AMF3
    )
}

/// Splits a name at the first `?`.
pub(crate) fn split_query(text: &str) -> (String, Option<String>) {
    match text.split_once('?') {
        Some((name, query)) => (name.to_owned(), Some(query.to_owned())),
        None => (text.to_owned(), None),
    }
}

/// A field of an object, when it is text.
pub(crate) fn text_field(object: &Value, name: &str) -> Option<String> {
    object.get(name).and_then(Value::as_str).map(str::to_owned)
}
