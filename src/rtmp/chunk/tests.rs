use bytes::{Bytes, BytesMut};

use super::*;
use crate::limits::*;
use crate::rtmp::message::{Message, kind};

pub(super) fn message(chunk_stream: u32, kind: u8, timestamp: u32, payload: &[u8]) -> Message {
    Message {
        chunk_stream,
        kind,
        timestamp,
        stream: 1,
        payload: Bytes::copy_from_slice(payload),
    }
}

pub(super) fn reader() -> ChunkReader {
    let mut reader = ChunkReader::new(ReaderLimits {
        min_chunk_size: 1,
        ..ReaderLimits::default()
    });
    reader.set_phase(ReaderPhase::Publishing);
    reader
}

/// Feeds `pieces` and acts on Set Chunk Size and Abort messages as an owner does.
pub(super) fn drain<'a>(
    reader: &mut ChunkReader,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Vec<Message>, ChunkError> {
    let mut out = Vec::new();
    for mut piece in pieces {
        while let Some(m) = reader.feed(&mut piece)? {
            let number = || u32::from_be_bytes(m.payload[..4].try_into().unwrap());
            match m.kind {
                kind::SET_CHUNK_SIZE => reader.set_chunk_size(number())?,
                kind::ABORT => reader.abort(number()),
                _ => {}
            }
            out.push(m);
        }
        assert!(piece.is_empty(), "`None` means that the input is used up");
    }
    Ok(out)
}

/// Reads `bytes` at once, byte by byte, and cut in two at every place: all must agree.
fn read(bytes: &[u8]) -> Result<Vec<Message>, ChunkError> {
    let whole = drain(&mut reader(), [bytes]);
    assert_eq!(drain(&mut reader(), bytes.chunks(1)), whole);
    for at in 0..bytes.len().min(2000) {
        let (a, b) = bytes.split_at(at);
        assert_eq!(drain(&mut reader(), [a, b]), whole, "cut at {at}");
    }
    whole
}

pub(super) fn written(messages: &[Message], chunk_size: u32) -> BytesMut {
    let mut writer = ChunkWriter::new();
    let mut out = BytesMut::new();
    let size = Bytes::copy_from_slice(&chunk_size.to_be_bytes());
    writer.write(&mut out, &message(2, kind::SET_CHUNK_SIZE, 0, &size));
    writer.set_chunk_size(chunk_size);
    for m in messages {
        writer.write(&mut out, m);
    }
    out
}

const AUDIO_AT_1000: [u8; 14] = [
    0x04, 0, 0x03, 0xe8, 0, 0, 2, 8, 1, 0, 0, 0, 0xaf, 1, // type 0
];

#[test]
fn each_header_form_is_read() {
    let mut bytes = AUDIO_AT_1000.to_vec();
    bytes.extend([0x44, 0, 0, 20, 0, 0, 3, 8, 1, 2, 3]); // type 1: +20, 3 bytes
    bytes.extend([0x84, 0, 0, 30, 4, 5, 6]); // type 2: +30
    bytes.extend([0xc4, 7, 8, 9]); // type 3: +30 again
    let got = read(&bytes).unwrap();
    let want = [
        message(4, 8, 1000, &[0xaf, 1]),
        message(4, 8, 1020, &[1, 2, 3]),
        message(4, 8, 1050, &[4, 5, 6]),
        message(4, 8, 1080, &[7, 8, 9]),
    ];
    assert_eq!(got, want);
}

#[test]
fn each_form_is_written() {
    let mut writer = ChunkWriter::new();
    let mut bytes = |m: Message| {
        let mut out = BytesMut::new();
        writer.write(&mut out, &m);
        out.to_vec()
    };
    assert_eq!(bytes(message(4, 8, 1000, &[0xaf, 1])), AUDIO_AT_1000);
    assert_eq!(
        bytes(message(4, 8, 1020, &[1, 2, 3])),
        [0x44, 0, 0, 20, 0, 0, 3, 8, 1, 2, 3]
    );
    assert_eq!(
        bytes(message(4, 8, 1050, &[4, 5, 6])),
        [0x84, 0, 0, 30, 4, 5, 6]
    );
    assert_eq!(bytes(message(4, 8, 1080, &[7, 8, 9])), [0xc4, 7, 8, 9]);
    // Backwards, and to another message stream: absolute.
    assert_eq!(bytes(message(4, 8, 1079, &[7, 8, 9]))[..4], [4, 0, 4, 0x37]);
    let other = Message {
        stream: 2,
        ..message(4, 8, 1079, &[7, 8, 9])
    };
    assert_eq!(bytes(other)[0], 4);
}

#[test]
fn a_type_3_behind_a_type_0_is_not_written_unless_all_read_it_alike() {
    let first_byte = |a: u32, b: u32| {
        let out = written(&[message(4, 8, a, b"x"), message(4, 8, b, b"y")], 128);
        out[out.len() - 1 - if b == 0 { 1 } else { 4 }]
    };
    assert_eq!(first_byte(0, 0), 0xc4);
    assert_eq!(first_byte(500, 1000), 0x84);
    assert_eq!(first_byte(500, 500), 0x84);
}

#[test]
fn the_writer_crosses_2_to_the_24_and_2_to_the_32() {
    let times = [
        0x00ff_fff0,
        0x0100_0010,
        0x01ff_ffff,
        0xffff_fff0,
        0x10,
        0x20,
    ];
    let list = times.map(|t| message(6, 9, t, &[1; 200]));
    let mut writer = ChunkWriter::new();
    let mut all = BytesMut::new();
    let forms = list.each_ref().map(|m| {
        let start = all.len();
        writer.write(&mut all, m);
        all[start] >> 6
    });
    // Absolute where the delta would not fit in three bytes; the last two are +32 and +16.
    assert_eq!(forms, [0, 2, 2, 0, 2, 2]);
    assert_eq!(read(&all).unwrap(), list);
    // A delta of 0xfffffe still fits, one more is the mark of an extended timestamp.
    for (delta, form) in [(0x00ff_fffe, 2), (0x00ff_ffff, 0)] {
        let mut writer = ChunkWriter::new();
        let mut out = BytesMut::new();
        writer.write(&mut out, &message(6, 9, 5, b"x"));
        let start = out.len();
        let m = message(6, 9, 5 + delta, b"y");
        writer.write(&mut out, &m);
        assert_eq!(out[start] >> 6, form);
        assert_eq!(read(&out).unwrap()[1], m);
    }
}

#[test]
fn chunk_stream_ids_have_one_to_three_bytes() {
    for (id, basic) in [
        (2, vec![2]),
        (63, vec![63]),
        (64, vec![0, 0]),
        (319, vec![0, 255]),
        (320, vec![1, 0, 1]),
        (65_599, vec![1, 255, 255]),
    ] {
        let m = message(id, 9, 7, &[1; 200]);
        let mut out = BytesMut::new();
        write_absolute(&mut out, 128, &m);
        assert_eq!(out[..basic.len()], basic, "{id}");
        assert_eq!(read(&out).unwrap(), [m]);
    }
    // The longer form of a short id is the same chunk stream.
    let long = [1, 0, 0, 0, 0, 0, 0, 0, 1, 8, 1, 0, 0, 0, 0xaa];
    assert_eq!(read(&long).unwrap(), [message(64, 8, 0, &[0xaa])]);
}

#[test]
fn interleaved_chunk_streams_are_kept_apart() {
    let (a, v) = ([0xa0; 200], [0xb0; 300]);
    let mut bytes = vec![4, 0, 0, 1, 0, 0, 200, 8, 1, 0, 0, 0];
    bytes.extend(&a[..128]);
    bytes.extend([6, 0, 0, 2, 0, 1, 44, 9, 1, 0, 0, 0]);
    bytes.extend(&v[..128]);
    bytes.push(0xc4);
    bytes.extend(&a[128..]);
    bytes.push(0xc6);
    bytes.extend(&v[128..256]);
    bytes.push(0xc6);
    bytes.extend(&v[256..]);
    let want = [message(4, 8, 1, &a), message(6, 9, 2, &v)];
    assert_eq!(read(&bytes).unwrap(), want);
}

#[test]
fn the_chunk_size_changes_while_messages_are_partial() {
    let v = [0xb0; 300];
    let mut bytes = vec![6, 0, 0, 2, 0, 1, 44, 9, 1, 0, 0, 0];
    bytes.extend(&v[..128]);
    bytes.extend([2, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0, 0, 0, 0, 100]);
    bytes.push(0xc6);
    bytes.extend(&v[128..228]);
    bytes.extend([0xc2, 0, 0, 4, 0]);
    bytes.push(0xc6);
    bytes.extend(&v[228..]);
    assert_eq!(read(&bytes).unwrap()[2], message(6, 9, 2, &v));
}

#[test]
fn an_aborted_message_leaves_nothing_behind() {
    let mut bytes = vec![6, 0, 0, 2, 0, 1, 44, 9, 1, 0, 0, 0];
    bytes.extend([0xbb; 128]);
    bytes.extend([2, 0, 0, 0, 0, 0, 4, 2, 0, 0, 0, 0, 0, 0, 0, 6]);
    bytes.extend([0x46, 0, 0, 5, 0, 0, 1, 9, 0xcc]);
    let got = read(&bytes).unwrap();
    assert_eq!(got[1], message(6, 9, 7, &[0xcc]));
    let mut r = reader();
    drain(&mut r, [&bytes[..140]]).unwrap();
    assert!(r.buffered() >= 128);
    r.abort(6);
    r.abort(7);
    assert_eq!((r.buffered(), r.partial), (0, 0));
}

#[test]
fn extended_timestamps_repeat_on_type_3_or_do_not() {
    for time in [0x00ff_ffff, 0x0100_0000, 0xffff_fffe] {
        let m = message(6, 9, time, &[0xb1; 300]);
        let mut out = BytesMut::new();
        write_absolute(&mut out, 128, &m);
        assert_eq!(out.len(), 12 + 300 + 2 + 3 * 4);
        assert_eq!(out[1..4], [0xff; 3]);
        assert_eq!(out[12..16], time.to_be_bytes());
        assert_eq!(out[16 + 128 + 1..][..4], time.to_be_bytes());
        assert_eq!(read(&out).unwrap(), std::slice::from_ref(&m));
        let mut bare = out[..16 + 128 + 1].to_vec();
        bare.extend(&m.payload[128..256]);
        bare.push(0xc6);
        bare.extend(&m.payload[256..]);
        assert_eq!(read(&bare).unwrap(), [m]);
    }
    let mut out = BytesMut::new();
    write_absolute(&mut out, 128, &message(6, 9, 0x00ff_fffe, &[1; 300]));
    assert_eq!(out.len(), 12 + 300 + 2);
}

#[test]
fn payload_that_begins_like_the_timestamp_is_still_payload() {
    // Chunks of 2 bytes, not repeated: the comparison runs over the end of a chunk into the next
    // headers before it fails.
    let payload = [9, 9, 0x01, 0xc6, 0x01, 0xc6, 0x01, 0x02, 0x01];
    let mut bytes = vec![2, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0, 0, 0, 0, 2];
    bytes.extend([6, 0xff, 0xff, 0xff, 0, 0, 9, 9, 1, 0, 0, 0]);
    bytes.extend([0x01, 0xc6, 0xc6, 0x02]);
    bytes.extend(&payload[..2]);
    for part in payload[2..].chunks(2) {
        bytes.push(0xc6);
        bytes.extend(part);
    }
    bytes.extend([4, 0, 0, 0, 0, 0, 1, 8, 1, 0, 0, 0, 0xee]);
    let want = [
        message(6, 9, 0x01c6_c602, &payload),
        message(4, 8, 0, &[0xee]),
    ];
    assert_eq!(read(&bytes).unwrap()[1..], want);
}

#[test]
fn deltas_may_be_extended_and_wrap() {
    let mut bytes = AUDIO_AT_1000.to_vec();
    bytes.extend([0x44, 0xff, 0xff, 0xff, 0, 0, 2, 8, 1, 0, 0, 0, 1, 1]);
    bytes.extend([0x84, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 2]);
    bytes.extend([0xc4, 0xff, 0xff, 0xff, 0xff, 3, 3]);
    bytes.extend([0xc4, 4, 4]);
    let times: Vec<u32> = read(&bytes).unwrap().iter().map(|m| m.timestamp).collect();
    let far = 1000 + 0x0100_0000;
    assert_eq!(times, [1000, far, far - 1, far - 2, far - 3]);
}

#[test]
fn a_type_3_behind_a_type_0_repeats_its_time_only_near_zero() {
    let second = |time: u32| {
        let mut out = BytesMut::new();
        write_absolute(&mut out, 128, &message(4, 8, time, b"x"));
        out.extend_from_slice(&[0xc4, b'y']);
        read(&out).unwrap()[1].timestamp
    };
    assert_eq!(second(0), 0);
    assert_eq!(second(23), 46);
    assert_eq!(second(10_000), 20_000);
    assert_eq!(second(10_001), 10_001);
    assert_eq!(second(0x0200_0000), 0x0200_0000);
}

#[test]
fn messages_may_be_empty() {
    let mut bytes = vec![4, 0, 0, 1, 0, 0, 0, 8, 1, 0, 0, 0];
    bytes.extend([0x84, 0, 0, 2, 0xc4]);
    let times: Vec<u32> = read(&bytes).unwrap().iter().map(|m| m.timestamp).collect();
    assert_eq!(times, [1, 3, 5]);
    let m = message(4, 8, 9, b"");
    assert_eq!(read(&written(std::slice::from_ref(&m), 128)).unwrap()[1], m);
}

#[test]
fn fresh_chunk_streams_begin_with_type_0_or_1() {
    let got = read(&[0x44, 0, 0, 20, 0, 0, 1, 8, 0xaa]).unwrap();
    let want = Message {
        stream: 0,
        ..message(4, 8, 20, &[0xaa])
    };
    assert_eq!(got, [want]);
    for (first, form) in [(0x84, 2), (0xc4, 3)] {
        let chunk_stream = 4;
        let refused = ChunkError::NoEarlierHeader { chunk_stream, form };
        assert_eq!(read(&[first, 0, 0, 0, 0, 0]), Err(refused));
    }
    // What makes another server crash.
    assert!(read(&[0xc0, 0xff]).is_err());
}

#[test]
fn a_header_in_the_middle_of_a_message_is_refused_for_good() {
    for header in [
        &[6, 0, 0, 2, 0, 1, 44, 9, 1, 0, 0, 0][..],
        &[0x46, 0, 0, 2, 0, 1, 44, 9],
        &[0x86, 0, 0, 2],
    ] {
        let mut bytes = vec![6, 0, 0, 2, 0, 1, 44, 9, 1, 0, 0, 0];
        bytes.extend([0xbb; 128]);
        bytes.extend(header);
        let refused = Err(ChunkError::HeaderInMessage { chunk_stream: 6 });
        assert_eq!(read(&bytes), refused);
        let mut r = reader();
        drain(&mut r, [&bytes[..]]).unwrap_err();
        assert_eq!(drain(&mut r, [&AUDIO_AT_1000[..]]), refused, "it is final");
    }
}

/// Only the header of a message: it must be refused, or not, by that alone.
fn announce(phase: ReaderPhase, kind: u8, length: usize) -> Result<ChunkReader, ChunkError> {
    let mut r = reader();
    r.set_phase(phase);
    let [_, a, b, c] = u32::try_from(length).unwrap().to_be_bytes();
    let header = [6, 0, 0, 0, a, b, c, kind, 1, 0, 0, 0];
    drain(&mut r, [&header[..]]).map(|_| r)
}

#[test]
fn lengths_are_refused_at_the_header() {
    use ReaderPhase::{BeforeConnect, Idle, Publishing};
    let limits = ReaderLimits::default();
    for (phase, kind, limit) in [
        (
            BeforeConnect,
            kind::COMMAND_AMF0,
            MAX_MESSAGE_BEFORE_CONNECT,
        ),
        (BeforeConnect, kind::VIDEO, MAX_MESSAGE_BEFORE_CONNECT),
        (BeforeConnect, kind::DATA_AMF0, MAX_MESSAGE_BEFORE_CONNECT),
        (BeforeConnect, kind::ACK, MAX_CONTROL),
        (Idle, kind::USER_CONTROL, MAX_CONTROL),
        (Idle, kind::COMMAND_AMF3, MAX_COMMAND),
        (Idle, kind::DATA_AMF0, MAX_DATA),
        (Idle, kind::VIDEO, limits.max_video),
        (Publishing, kind::PEER_BANDWIDTH, MAX_CONTROL),
        (Publishing, kind::SHARED_OBJECT_AMF0, MAX_COMMAND),
        (Publishing, kind::SHARED_OBJECT_AMF3, MAX_COMMAND),
        (Publishing, kind::DATA_AMF3, MAX_DATA),
        (Publishing, kind::AUDIO, limits.max_audio),
        (Publishing, kind::VIDEO, limits.max_video),
        (Publishing, kind::AGGREGATE, limits.max_video),
    ] {
        let r = announce(phase, kind, limit).unwrap();
        assert_eq!(r.buffered(), 0, "nothing is allocated for an announcement");
        let refused = announce(phase, kind, limit + 1).unwrap_err();
        let length = u32::try_from(limit + 1).unwrap();
        let why = ChunkError::TooLong {
            kind,
            length,
            limit,
        };
        assert_eq!(refused, why, "{phase:?}");
    }
}

#[test]
fn unknown_types_and_unexpected_media_pass_unbuffered() {
    for (phase, kind, length) in [
        (ReaderPhase::Publishing, 7, 0x00ff_ffff),
        (ReaderPhase::BeforeConnect, 0, 100_000),
        (ReaderPhase::Idle, kind::VIDEO, MAX_REASSEMBLY_IDLE + 1),
    ] {
        let mut r = announce(phase, kind, length).unwrap();
        r.set_chunk_size(0x7fff_ffff).unwrap(); // stands for 2^24 - 1
        let mut rest = length - 128;
        assert_eq!(drain(&mut r, [&[0; 128][..], &[0xc6]]), Ok(vec![]));
        while rest > 0 {
            let n = rest.min(60_000);
            assert_eq!(drain(&mut r, [&vec![0; n][..]]), Ok(vec![]));
            assert_eq!(r.buffered(), 0);
            rest -= n;
        }
        assert_eq!(r.discarded(), 1);
        assert_eq!(drain(&mut r, [&AUDIO_AT_1000[..]]).unwrap().len(), 1);
    }
    let mut r = announce(ReaderPhase::Idle, kind::VIDEO, MAX_REASSEMBLY_IDLE).unwrap();
    drain(&mut r, [&[0; 100][..]]).unwrap();
    assert!(r.buffered() > 0);
}

#[test]
fn the_end_of_publishing_lets_go_of_partial_media() {
    let mut r = announce(ReaderPhase::Publishing, kind::VIDEO, 200_000).unwrap();
    drain(&mut r, [&[0; 128][..]]).unwrap();
    r.set_phase(ReaderPhase::Idle);
    assert_eq!((r.buffered(), r.partial), (0, 0));
    let mut bytes = Vec::new();
    while bytes.len() < (200_000 - 128usize).div_ceil(128) * 129 {
        bytes.push(0xc6);
        bytes.extend([0; 128]);
    }
    bytes.truncate(200_000 - 128 + (200_000 - 128usize).div_ceil(128));
    bytes.extend(AUDIO_AT_1000);
    let got = drain(&mut r, [&bytes[..]]).unwrap();
    assert_eq!((got.len(), r.discarded()), (1, 1));
}

#[test]
fn partial_messages_together_are_bounded() {
    let mut r = reader();
    r.set_phase(ReaderPhase::Idle);
    r.set_chunk_size(65_536).unwrap();
    let part = vec![0; 65_536];
    for id in [4, 5] {
        drain(&mut r, [&[id, 0, 0, 0, 1, 0, 1, 9, 1, 0, 0, 0], &part[..]]).unwrap();
    }
    assert_eq!(r.partial, MAX_REASSEMBLY_IDLE);
    drain(&mut r, [&[6, 0, 0, 0, 1, 0, 1, 9, 1, 0, 0, 0][..]]).unwrap();
    let limit = MAX_REASSEMBLY_IDLE;
    let full = Err(ChunkError::Reassembly { limit });
    assert_eq!(drain(&mut r, [&[0u8][..]]), full);
}

#[test]
fn chunk_streams_are_counted() {
    let mut r = reader();
    let last = u8::try_from(MAX_CHUNK_STREAMS).unwrap() - 1;
    for id in 0..=last {
        drain(&mut r, [&[0, id, 0, 0, 0, 0, 0, 0, 8, 1, 0, 0, 0][..]]).unwrap();
    }
    let next = [0, last + 1, 0, 0, 0, 0, 0, 0, 8, 1, 0, 0, 0];
    let many = Err(ChunkError::TooManyChunkStreams);
    assert_eq!(drain(&mut r, [&next[..]]), many);
}

#[test]
fn a_writer_remembers_no_more_chunk_streams_than_a_reader() {
    let mut writer = ChunkWriter::new();
    let mut out = BytesMut::new();
    for id in 2..200 {
        writer.write(&mut out, &message(id, 8, 0, b"x"));
        writer.write(&mut out, &message(id, 8, 0, b"x"));
    }
    assert_eq!(writer.sent_len(), MAX_CHUNK_STREAMS);
}

#[test]
fn chunk_sizes_have_bounds() {
    let mut r = ChunkReader::new(ReaderLimits::default());
    let min = 128;
    for size in [0, 1, 127, 0x8000_0000, u32::MAX] {
        let refused = Err(ChunkError::ChunkSize { size, min });
        assert_eq!(r.set_chunk_size(size), refused);
    }
    for (size, taken) in [(128, 128), (MAX_CHUNK_SIZE + 1, MAX_CHUNK_SIZE)] {
        assert_eq!(r.set_chunk_size(size), Ok(()));
        assert_eq!(r.chunk_size, taken);
    }
    let mut any = reader();
    assert_eq!(any.set_chunk_size(1), Ok(()));
    let size = 0;
    let refused = Err(ChunkError::ChunkSize { size, min: 1 });
    assert_eq!(any.set_chunk_size(size), refused);
}

#[test]
fn headers_without_payload_are_a_flood() {
    let mut empty = vec![4, 0, 0, 1, 0, 0, 0, 8, 1, 0, 0, 0];
    empty.resize(OVERHEAD_WINDOW - 1, 0xc4);
    let mut r = reader();
    assert!(drain(&mut r, [&empty[..]]).is_ok());
    assert_eq!(drain(&mut r, [&[0xc4][..]]), Err(ChunkError::Overhead));
    // Chunks of one byte are wasteful and legal.
    let out = written(&[message(4, 9, 1, &[7; 100_000])], 1);
    assert_eq!(drain(&mut reader(), [&out[..]]).unwrap().len(), 2);
}

#[test]
fn memory_grows_with_what_arrives_and_ends_exact() {
    let m = message(6, 9, 0, &[5; 100_000]);
    let out = written(std::slice::from_ref(&m), 4096);
    let mut r = reader();
    for (i, byte) in out.chunks(1).enumerate() {
        drain(&mut r, [byte]).unwrap();
        assert!(r.buffered() <= 2 * i + REASSEMBLY_START, "after {i}");
        assert!(r.buffered() <= 100_000);
    }
    assert_eq!(r.buffered(), 0);
}

#[test]
fn a_payload_that_no_header_can_announce_is_not_written() {
    let mut out = BytesMut::new();
    let largest = message(6, 9, 0, &vec![0; 0x00ff_ffff]);
    write_absolute(&mut out, MAX_CHUNK_SIZE, &largest);
    assert_eq!(out.len(), 12 + 0x00ff_ffff);
    out.clear();
    let over = message(6, 9, 0, &vec![0; 0x0100_0000]);
    write_absolute(&mut out, MAX_CHUNK_SIZE, &over);
    ChunkWriter::new().write(&mut out, &over);
    assert!(out.is_empty());
}
