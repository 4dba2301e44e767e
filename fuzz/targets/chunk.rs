//! The chunk stream, read and written.

use bytes::{Bytes, BytesMut};
use crtmpserver::limits::{MAX_CHUNK_STREAMS, MAX_DATA};
use crtmpserver::rtmp::chunk::{ChunkError, ChunkReader, ChunkWriter, ReaderLimits, ReaderPhase};
use crtmpserver::rtmp::message::{Message, kind};

use super::{Choices, pieces};

fn read(phase: ReaderPhase, input: &[u8], seed: Option<u8>) -> (Vec<Message>, Option<ChunkError>) {
    let mut reader = ChunkReader::new(ReaderLimits::default());
    reader.set_phase(phase);
    let mut messages = Vec::new();
    let mut received = 0;
    let whole = seed.is_none().then_some(input);
    let cut = seed.into_iter().flat_map(|seed| pieces(input, seed));
    for piece in whole.into_iter().chain(cut) {
        received += piece.len();
        let mut rest = piece;
        loop {
            match reader.feed(&mut rest) {
                Err(error) => return (messages, Some(error)),
                Ok(None) => {
                    assert!(rest.is_empty(), "asked for more with input left");
                    break;
                }
                Ok(Some(message)) => {
                    // The session's part of these two control messages.
                    let number = message
                        .payload
                        .first_chunk::<4>()
                        .map(|b| u32::from_be_bytes(*b));
                    if let (kind::SET_CHUNK_SIZE, Some(size)) = (message.kind, number)
                        && let Err(error) = reader.set_chunk_size(size)
                    {
                        return (messages, Some(error));
                    }
                    if let (kind::ABORT, Some(id)) = (message.kind, number) {
                        reader.abort(id);
                    }
                    messages.push(message);
                    // Each has a header of at least one byte.
                    assert!(messages.len() <= received, "a message out of nothing");
                }
            }
            // Memory grows with what arrived, never with what was announced.
            assert!(reader.buffered() <= 2 * received + 4096 * MAX_CHUNK_STREAMS);
        }
    }
    (messages, None)
}

/// The same messages and the same end, however the bytes are cut.
pub fn reader(data: &[u8]) {
    let mut choices = Choices(data);
    let phase = match choices.byte() % 3 {
        0 => ReaderPhase::BeforeConnect,
        1 => ReaderPhase::Idle,
        _ => ReaderPhase::Publishing,
    };
    let seed = choices.byte();
    let whole = read(phase, choices.0, None);
    let cut = read(phase, choices.0, Some(seed));
    assert_eq!(whole, cut);
}

/// What the writer writes the reader reads, byte for byte.
pub fn pair(data: &[u8]) {
    let mut choices = Choices(data);
    let seed = choices.byte();
    let mut writer = ChunkWriter::new();
    let mut wire = BytesMut::new();
    let mut sent = Vec::new();
    while !choices.done() && sent.len() < 200 {
        if choices.byte() % 16 == 0 {
            let size = choices.word() % 70_000 + 128;
            let message = Message {
                chunk_stream: 2,
                kind: kind::SET_CHUNK_SIZE,
                timestamp: 0,
                stream: 0,
                payload: Bytes::copy_from_slice(&size.to_be_bytes()),
            };
            writer.write(&mut wire, &message);
            writer.set_chunk_size(size);
            sent.push(message);
        }
        let kinds = [
            kind::AUDIO,
            kind::VIDEO,
            kind::DATA_AMF0,
            kind::COMMAND_AMF0,
        ];
        let selector = choices.byte();
        let kind = kinds[usize::from(selector % 4)];
        let timestamp = match selector >> 6 {
            0 => choices.word(),
            1 => 0x00ff_fffe + u32::from(choices.byte() % 4),
            _ => u32::from(choices.pair()),
        };
        let size = usize::from(choices.pair()) % (MAX_DATA / 8);
        let fill = choices.byte();
        let chunk_stream = match selector >> 4 & 3 {
            0 => 3 + u32::from(choices.byte() % 20),
            1 => 64 + u32::from(choices.byte() % 8),
            _ => 320 + u32::from(choices.byte() % 8),
        };
        let message = Message {
            chunk_stream,
            kind,
            timestamp,
            stream: u32::from(selector >> 2 & 3),
            payload: Bytes::from(vec![fill; size]),
        };
        writer.write(&mut wire, &message);
        sent.push(message);
    }
    let (got, error) = read(ReaderPhase::Publishing, &wire, Some(seed));
    assert_eq!(error, None);
    assert_eq!(got.len(), sent.len());
    for (got, sent) in got.iter().zip(&sent) {
        assert_eq!(got, sent);
    }
}
