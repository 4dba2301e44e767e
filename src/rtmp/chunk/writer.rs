//! Messages into chunks.

use bytes::{BufMut, BytesMut};

use super::header::{self, EXTENDED, Form, Header, MAX_HEADER};
use crate::limits::{MAX_CHUNK_SIZE, MAX_CHUNK_STREAMS};
use crate::rtmp::message::Message;

/// What a side sends with until it said otherwise (section 5.4.1).
const DEFAULT_CHUNK_SIZE: u32 = 128;

/// Writes messages of one connection, each with the shortest header that the one before it on the
/// same chunk stream allows.
///
/// It must be the only one that writes on its chunk streams: bytes of [`write_absolute`] go between
/// its messages on other chunk streams.
#[derive(Debug)]
pub struct ChunkWriter {
    chunk_size: u32,
    sent: Vec<Sent>,
}

/// What the peer remembers of a chunk stream.
#[derive(Debug)]
struct Sent {
    chunk_stream: u32,
    kind: u8,
    stream: u32,
    timestamp: u32,
    length: usize,
    /// The delta that a type 3 header would repeat; `None` where readers disagree about it.
    delta: Option<u32>,
}

impl Default for ChunkWriter {
    fn default() -> Self {
        Self::new()
    }
}

impl ChunkWriter {
    /// A writer at the chunk size that both sides begin with, 128.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            chunk_size: DEFAULT_CHUNK_SIZE,
            sent: Vec::new(),
        }
    }

    /// The size of all chunks from now on, for the messages behind a Set Chunk Size message. It is
    /// brought into 1 to [`MAX_CHUNK_SIZE`].
    pub const fn set_chunk_size(&mut self, n: u32) {
        self.chunk_size = clamp_chunk_size(n);
    }

    /// Appends a whole message.
    ///
    /// A payload of more than [`MAX_CHUNK_SIZE`] bytes has no representation on the wire and is not
    /// written; a chunk stream id that cannot be written becomes the nearest that can.
    pub fn write(&mut self, out: &mut BytesMut, msg: &Message) {
        let full = self.sent.len() >= MAX_CHUNK_STREAMS;
        let known = self
            .sent
            .iter_mut()
            .find(|s| s.chunk_stream == msg.chunk_stream);
        let (form, time) = known
            .as_ref()
            .map_or((Form::Full, msg.timestamp), |last| choose(last, msg));
        let Some(header) = Envelope::of(msg).header(form, time, msg.payload.len()) else {
            return;
        };
        let now = Sent {
            chunk_stream: msg.chunk_stream,
            kind: msg.kind,
            stream: msg.stream,
            timestamp: msg.timestamp,
            length: msg.payload.len(),
            // The specification repeats the time of a type 0 header as delta, others take none:
            // only zero means the same to all.
            delta: (form != Form::Full || time == 0).then_some(time),
        };
        match known {
            Some(last) => *last = now,
            None if full => {} // not remembered: this chunk stream goes without compression
            None => {
                self.sent.reserve_exact(1); // there are few
                self.sent.push(now);
            }
        }
        put_message(out, self.chunk_size, &header, [&msg.payload, &[]]);
    }

    #[cfg(test)]
    pub(super) const fn sent_len(&self) -> usize {
        self.sent.len()
    }
}

/// The form for `msg` behind `last` on the same chunk stream, and what its time field says.
fn choose(last: &Sent, msg: &Message) -> (Form, u32) {
    let delta = msg.timestamp.wrapping_sub(last.timestamp);
    // Backwards is a delta beyond 2^31. A delta that needs an extended timestamp is taken for an
    // absolute time by some readers, so it is sent as one.
    if delta >= EXTENDED || msg.stream != last.stream {
        return (Form::Full, msg.timestamp);
    }
    let form = if msg.kind != last.kind || msg.payload.len() != last.length {
        Form::SameStream
    } else if last.delta != Some(delta) {
        Form::SameShape
    } else {
        Form::Same
    };
    (form, delta)
}

/// Appends a whole message with a type 0 header; further chunks have type 3 headers and repeat the
/// extended timestamp. It depends on nothing that was sent before, so the bytes suit every peer with
/// this chunk size (of 1 to [`MAX_CHUNK_SIZE`], else the nearest).
///
/// What [`ChunkWriter::write`] says of overlong payloads holds here too.
pub fn write_absolute(out: &mut BytesMut, chunk_size: u32, msg: &Message) {
    write_payload(out, chunk_size, &Envelope::of(msg), &msg.payload);
}

/// [`write_absolute`] of a payload that somebody else has.
pub fn write_payload(out: &mut BytesMut, chunk_size: u32, envelope: &Envelope, payload: &[u8]) {
    write_joined(out, chunk_size, envelope, payload, &[]);
}

/// [`write_payload`] of one that is in two places.
pub fn write_joined(
    out: &mut BytesMut,
    chunk_size: u32,
    envelope: &Envelope,
    head: &[u8],
    body: &[u8],
) {
    let length = head.len().saturating_add(body.len());
    let header = envelope.header(Form::Full, envelope.timestamp, length);
    if let Some(header) = header {
        put_message(out, clamp_chunk_size(chunk_size), &header, [head, body]);
    }
}

/// A [`Message`] but for its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Envelope {
    /// Chunk stream.
    pub chunk_stream: u32,
    /// Message type.
    pub kind: u8,
    /// Milliseconds, wrapping at 2^32.
    pub timestamp: u32,
    /// Message stream.
    pub stream: u32,
}

impl Envelope {
    const fn of(msg: &Message) -> Self {
        Self {
            chunk_stream: msg.chunk_stream,
            kind: msg.kind,
            timestamp: msg.timestamp,
            stream: msg.stream,
        }
    }

    /// The header in front of a payload, if one can announce its length.
    fn header(&self, form: Form, time: u32, length: usize) -> Option<Header> {
        let length = u32::try_from(length).ok();
        Some(Header {
            form,
            chunk_stream: self.chunk_stream,
            time,
            extended: time >= EXTENDED,
            length: length.filter(|n| *n <= MAX_CHUNK_SIZE)?,
            kind: self.kind,
            stream: self.stream,
        })
    }
}

const fn clamp_chunk_size(n: u32) -> u32 {
    match n {
        0 => 1,
        1..=MAX_CHUNK_SIZE => n,
        _ => MAX_CHUNK_SIZE,
    }
}

fn put_message(out: &mut BytesMut, size: u32, header: &Header, payload: [&[u8]; 2]) {
    let size = usize::try_from(size).unwrap_or(usize::MAX).max(1);
    let length: usize = payload.iter().map(|part| part.len()).sum();
    let further = length.saturating_sub(1) / size;
    let mut head = [0; MAX_HEADER];
    let mut room = head.as_mut_slice();
    header::put(&mut room, header);
    let used = MAX_HEADER - room.len();
    // To the byte for a message of one chunk: buffers that become shared have no slack then.
    out.reserve(used + length + further * (3 + 4));
    out.extend_from_slice(head.get(..used).unwrap_or_default());
    let mut left = size;
    for part in payload {
        let mut rest = part;
        while !rest.is_empty() {
            if left == 0 {
                header::put_basic(out, Form::Same, header.chunk_stream);
                if header.extended {
                    out.put_u32(header.time);
                }
                left = size;
            }
            let (now, later) = rest.split_at(left.min(rest.len()));
            out.put_slice(now);
            left -= now.len();
            rest = later;
        }
    }
}
