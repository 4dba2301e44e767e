//! Chunks into messages.

use bytes::Bytes;

use super::bounds::{ChunkError, Overhead, ReaderLimits, ReaderPhase, admit, exceeds, to_usize};
use super::header::{self, Form, Header};
use super::pending::{Carry, HeaderBytes};
use crate::limits::{
    MAX_CHUNK_SIZE, MAX_CHUNK_STREAMS, MAX_DATA, MAX_REASSEMBLY_IDLE, MAX_TIME_JUMP,
    REASSEMBLY_SLACK, REASSEMBLY_START,
};
use crate::rtmp::message::Message;

/// What the peer sends with until it said otherwise (section 5.4.1).
const DEFAULT_CHUNK_SIZE: u32 = 128;

/// Reads the chunk stream of one direction of a connection.
///
/// It does not act on Set Chunk Size and Abort messages; its owner does, before it feeds on.
#[derive(Debug)]
pub struct ChunkReader {
    limits: ReaderLimits,
    phase: ReaderPhase,
    pub(super) chunk_size: u32,
    streams: Vec<ChunkStream>,
    state: State,
    header: HeaderBytes,
    /// Bytes that looked like a repeated extended timestamp and were none; read before the input.
    carry: Carry,
    /// Received bytes of all partial messages.
    pub(super) partial: usize,
    overhead: Overhead,
    discarded: u64,
    failed: Option<ChunkError>,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// Within a header.
    Header,
    /// Behind a type 3 header that may have an extended timestamp; so many of its bytes matched.
    Repeated {
        at: usize,
        left: usize,
        matched: usize,
    },
    /// Within the payload of a chunk.
    Payload { at: usize, left: usize },
}

/// One chunk stream: its last header and its partial message.
#[derive(Debug)]
struct ChunkStream {
    id: u32,
    timestamp: u32,
    /// What a type 3 header that begins a message adds to the timestamp.
    delta: u32,
    /// The extended timestamp of the last header that had a time, if it had one.
    extended: Option<u32>,
    length: u32,
    kind: u8,
    stream: u32,
    message: Option<Partial>,
}

#[derive(Debug, Default)]
struct Partial {
    received: usize,
    buffer: Vec<u8>,
    discard: bool,
}

impl ChunkReader {
    /// A reader at the chunk size that both sides begin with, 128.
    #[must_use]
    pub fn new(limits: ReaderLimits) -> Self {
        Self {
            limits,
            phase: ReaderPhase::BeforeConnect,
            chunk_size: DEFAULT_CHUNK_SIZE,
            streams: Vec::new(),
            state: State::Header,
            header: HeaderBytes::default(),
            carry: Carry::default(),
            partial: 0,
            overhead: Overhead::default(),
            discarded: 0,
            failed: None,
        }
    }

    /// Reads up to the end of the next message and takes what it read off the front of `input`.
    /// `None` means that all of `input` is read and more is needed.
    ///
    /// # Errors
    /// [`ChunkError`]; every later call then gives the same.
    pub fn feed(&mut self, input: &mut &[u8]) -> Result<Option<Message>, ChunkError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        self.advance(input).inspect_err(|e| self.failed = Some(*e))
    }

    /// The size of the peer's chunks from now on, also in messages that have begun; the number of a
    /// Set Chunk Size message. Above [`MAX_CHUNK_SIZE`] it is taken for that.
    ///
    /// # Errors
    /// [`ChunkError::ChunkSize`] for zero, with the first bit set, or below the minimum.
    pub fn set_chunk_size(&mut self, n: u32) -> Result<(), ChunkError> {
        let min = self.limits.min_chunk_size.max(1);
        if n < min || n >> 31 != 0 {
            return Err(ChunkError::ChunkSize { size: n, min });
        }
        self.chunk_size = n.min(MAX_CHUNK_SIZE);
        Ok(())
    }

    /// Forgets the partial message of a chunk stream; the number of an Abort message.
    pub fn abort(&mut self, chunk_stream: u32) {
        let found = self.streams.iter_mut().find(|s| s.id == chunk_stream);
        if let Some(message) = found.and_then(|s| s.message.take()) {
            self.partial = self.partial.saturating_sub(message.buffer.len());
        }
    }

    /// Which sizes are accepted from now on. When media is no longer expected, partial media messages
    /// that are too large become discarded ones.
    pub fn set_phase(&mut self, phase: ReaderPhase) {
        self.phase = phase;
        for stream in &mut self.streams {
            let unwanted =
                phase == ReaderPhase::Idle && exceeds(stream.length, MAX_REASSEMBLY_IDLE);
            if let Some(message) = stream.message.as_mut().filter(|_| unwanted) {
                message.discard = true;
                self.partial = self.partial.saturating_sub(message.buffer.len());
                message.buffer = Vec::new();
            }
        }
    }

    /// Bytes of memory that partial messages hold.
    #[must_use]
    pub fn buffered(&self) -> usize {
        let held = |s: &ChunkStream| s.message.as_ref().map_or(0, |m| m.buffer.capacity());
        self.streams.iter().map(held).sum()
    }

    /// How many messages were read and thrown away: unknown types, and media that no one expects.
    #[must_use]
    pub const fn discarded(&self) -> u64 {
        self.discarded
    }

    /// Every turn of the loop consumes input, or ends a state that did, or returns.
    fn advance(&mut self, input: &mut &[u8]) -> Result<Option<Message>, ChunkError> {
        loop {
            match self.state {
                State::Header => {
                    // Most headers come in one piece.
                    if self.header.len() == 0
                        && self.carry.is_empty()
                        && let Some((header, used)) = header::whole(input)
                    {
                        *input = input.get(used..).unwrap_or_default();
                        self.state = self.begin_chunk(&header, used)?;
                        continue;
                    }
                    while self.header.missing() {
                        let Some(byte) = self.next_byte(input) else {
                            return Ok(None);
                        };
                        self.header.push(byte);
                    }
                    let used = self.header.len();
                    if let Ok(header) = self.header.take() {
                        self.state = self.begin_chunk(&header, used)?;
                    }
                }
                State::Repeated { at, left, matched } => {
                    if !self.compare(input, at, left, matched) {
                        return Ok(None);
                    }
                }
                State::Payload { at, left } => {
                    let (taken, message) = self.take_payload(input, at, left)?;
                    let left = left.saturating_sub(taken);
                    if left > 0 {
                        self.state = State::Payload { at, left };
                        if taken == 0 {
                            return Ok(None);
                        }
                    } else {
                        self.state = State::Header;
                        if message.is_some() {
                            return Ok(message);
                        }
                    }
                }
            }
        }
    }

    /// Applies a whole header to its chunk stream and opens the message if there is none.
    fn begin_chunk(&mut self, header: &Header, used: usize) -> Result<State, ChunkError> {
        let at = self.position(header)?;
        let Some(stream) = self.streams.get_mut(at) else {
            return Ok(State::Header); // `position` gives no other
        };
        if stream.message.is_none() {
            stream.begin(header);
            let discard = admit(&self.limits, self.phase, stream.kind, stream.length)?;
            stream.message = Some(Partial {
                discard,
                ..Partial::default()
            });
        } else if header.form != Form::Same {
            return Err(ChunkError::HeaderInMessage {
                chunk_stream: stream.id,
            });
        }
        let received = stream.message.as_ref().map_or(0, |m| m.received);
        let left = to_usize(stream.length)
            .saturating_sub(received)
            .min(to_usize(self.chunk_size));
        let repeated = header.form == Form::Same && stream.extended.is_some();
        self.overhead.count(used, left)?;
        Ok(if repeated {
            let matched = 0;
            State::Repeated { at, left, matched }
        } else {
            State::Payload { at, left }
        })
    }

    /// Finds the chunk stream of a header, or makes it if the header may be a first one.
    fn position(&mut self, header: &Header) -> Result<usize, ChunkError> {
        let id = header.chunk_stream;
        if let Some(at) = self.streams.iter().position(|s| s.id == id) {
            return Ok(at);
        }
        // librtmp begins with type 1 on a chunk stream that it used on an earlier connection.
        if matches!(header.form, Form::SameShape | Form::Same) {
            return Err(ChunkError::NoEarlierHeader {
                chunk_stream: id,
                form: header.form.number(),
            });
        }
        if self.streams.len() >= MAX_CHUNK_STREAMS {
            return Err(ChunkError::TooManyChunkStreams);
        }
        self.streams.reserve_exact(1); // there are few
        self.streams.push(ChunkStream {
            id,
            timestamp: 0,
            delta: 0,
            extended: None,
            length: 0,
            kind: 0,
            stream: 0,
            message: None,
        });
        Ok(self.streams.len() - 1)
    }

    /// Skips the extended timestamp behind a type 3 header, if there is one: not all peers repeat it.
    /// Four bytes that are not the last one are payload. `false` when the input does not tell yet.
    fn compare(&mut self, input: &mut &[u8], at: usize, left: usize, mut matched: usize) -> bool {
        let last = self.streams.get(at).and_then(|s| s.extended);
        let expected = last.unwrap_or_default().to_be_bytes();
        while let Some(wanted) = expected.get(matched) {
            match self.peek(input) {
                None => {
                    self.state = State::Repeated { at, left, matched };
                    return false;
                }
                Some(byte) if byte == *wanted => {
                    self.next_byte(input);
                    matched += 1;
                }
                Some(_) => {
                    self.carry
                        .unread(expected.get(..matched).unwrap_or_default());
                    break;
                }
            }
        }
        if matched == expected.len() {
            self.overhead.header += matched;
        }
        self.state = State::Payload { at, left };
        true
    }

    /// Takes what is there of a chunk's payload: how many bytes, and the message if it is complete.
    fn take_payload(
        &mut self,
        input: &mut &[u8],
        at: usize,
        left: usize,
    ) -> Result<(usize, Option<Message>), ChunkError> {
        let carried = self.carry.take(left);
        let carried = carried.as_slice();
        let (fresh, rest) = input
            .split_at_checked(left.saturating_sub(carried.len()))
            .unwrap_or((input, &[]));
        *input = rest;
        let taken = carried.len() + fresh.len();
        let limit = self.reassembly_limit();
        let Some(stream) = self.streams.get_mut(at) else {
            return Ok((taken, None)); // the state holds no other
        };
        let length = to_usize(stream.length);
        let Some(message) = stream.message.as_mut() else {
            return Ok((taken, None)); // aborted within the chunk
        };
        message.received += taken;
        if !message.discard && self.partial + taken > limit {
            return Err(ChunkError::Reassembly { limit });
        }
        let complete = message.received >= length;
        if message.discard {
            if complete {
                stream.message = None;
                self.discarded += 1;
            }
            return Ok((taken, None));
        }
        let payload = if complete && fresh.len() == length {
            Bytes::copy_from_slice(fresh) // all in one piece: the only copy
        } else {
            let arrived = message.buffer.len() + taken + rest.len();
            make_room(&mut message.buffer, length, arrived);
            message.buffer.extend_from_slice(carried);
            message.buffer.extend_from_slice(fresh);
            self.partial += taken;
            if !complete {
                return Ok((taken, None));
            }
            self.partial = self.partial.saturating_sub(message.buffer.len());
            Bytes::from(std::mem::take(&mut message.buffer))
        };
        stream.message = None;
        let message = Message {
            chunk_stream: stream.id,
            kind: stream.kind,
            timestamp: stream.timestamp,
            stream: stream.stream,
            payload,
        };
        Ok((taken, Some(message)))
    }

    fn reassembly_limit(&self) -> usize {
        match self.phase {
            ReaderPhase::BeforeConnect | ReaderPhase::Idle => MAX_REASSEMBLY_IDLE,
            ReaderPhase::Publishing => {
                let largest = self.limits.max_audio.max(self.limits.max_video);
                largest.max(MAX_DATA).saturating_add(REASSEMBLY_SLACK)
            }
        }
    }

    fn peek(&self, input: &[u8]) -> Option<u8> {
        self.carry.first().or_else(|| input.first().copied())
    }

    fn next_byte(&mut self, input: &mut &[u8]) -> Option<u8> {
        self.carry.pop().or_else(|| {
            let (first, rest) = input.split_first()?;
            *input = rest;
            Some(*first)
        })
    }
}

impl ChunkStream {
    /// Begins a message by its first header.
    fn begin(&mut self, header: &Header) {
        match header.form {
            Form::Full => {
                self.timestamp = header.time;
                self.stream = header.stream;
                // Section 5.3.1.2.4 lets a type 3 behind a type 0 repeat the time as delta, and
                // ffmpeg means it; nginx-rtmp and librtmp mean the same time again. Doubling a time
                // that is far from zero cannot be meant.
                let doubled = u64::from(header.time) <= MAX_TIME_JUMP;
                self.delta = if doubled { header.time } else { 0 };
            }
            Form::SameStream | Form::SameShape => {
                self.delta = header.time;
                self.timestamp = self.timestamp.wrapping_add(header.time);
            }
            Form::Same => self.timestamp = self.timestamp.wrapping_add(self.delta),
        }
        if header.form != Form::Same {
            self.extended = header.extended.then_some(header.time);
        }
        if matches!(header.form, Form::Full | Form::SameStream) {
            self.length = header.length;
            self.kind = header.kind;
        }
    }
}

/// Makes room in the buffer of a message of `length` bytes for those that have `arrived`, some of
/// which may belong to what follows it. The buffer at least doubles, never by what is only announced,
/// and ends with the exact length, so that it becomes [`Bytes`] without a copy and nobody keeps its
/// slack.
fn make_room(buffer: &mut Vec<u8>, length: usize, arrived: usize) {
    let needed = arrived.min(length);
    if needed > buffer.capacity() {
        let roomy = needed.max(buffer.capacity() * 2).max(REASSEMBLY_START);
        buffer.reserve_exact(roomy.min(length).max(needed) - buffer.len());
    }
}
