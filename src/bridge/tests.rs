//! What goes in comes out: every rendition is read back with the project's own readers.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::amf::{self, Value, amf0};
use crate::flv;
use crate::limits::{Limits, MAX_CHUNK_SIZE};
use crate::media::{FourCc, Frame, Rendition};
use crate::rtmp::chunk::{ChunkReader, ReaderLimits, ReaderPhase};
use crate::rtmp::command::Command;
use crate::rtmp::message::Message;

fn frame(message_kind: u8, time: u64, payload: &[u8]) -> Frame {
    inspect(message_kind, 0, Bytes::copy_from_slice(payload))
        .unwrap()
        .into_frame(time)
}

fn read_rtmp(bytes: &[u8]) -> Vec<Message> {
    let mut reader = ChunkReader::new(ReaderLimits {
        max_video: usize::MAX,
        ..ReaderLimits::from(&Limits::default())
    });
    reader.set_phase(ReaderPhase::Publishing);
    reader.set_chunk_size(OUT_CHUNK_SIZE).unwrap();
    let mut input = bytes;
    let mut out = Vec::new();
    while let Some(message) = reader.feed(&mut input).unwrap() {
        out.push(message);
    }
    assert_eq!(reader.buffered(), 0);
    out
}

fn read_flv(bytes: &[u8]) -> Vec<flv::Tag> {
    let mut reader = flv::Reader::new(flv::ReaderLimits {
        video: usize::MAX,
        ..flv::ReaderLimits::default()
    })
    .strict();
    let file = [&flv_file_header(true, true)[..], bytes].concat();
    let mut input = &file[..];
    let mut out = Vec::new();
    while let Some(tag) = reader.feed(&mut input).unwrap() {
        out.push(tag);
    }
    assert!(reader.at_boundary());
    out
}

/// Reads a frame's renditions back and checks all but the payload.
fn read_back(frame: &Frame, plain: bool) -> Option<Bytes> {
    let (rtmp, flv) = if plain {
        (Rendition::RtmpPlain, Rendition::FlvPlain)
    } else {
        (Rendition::Rtmp, Rendition::Flv)
    };
    let messages = read_rtmp(render(frame, rtmp));
    let tags = read_flv(render(frame, flv));
    assert_eq!(messages.len(), tags.len());
    let (message, tag) = (messages.into_iter().next()?, tags.into_iter().next()?);
    assert_eq!(message.kind, message_kind(frame.kind));
    assert_eq!(tag.kind, message.kind);
    let metadata = frame.role == Role::Header(Slot::Metadata);
    let time = if plain && metadata { 0 } else { frame.time };
    assert_eq!(u64::from(message.timestamp), time % (1 << 32));
    assert_eq!(tag.timestamp, message.timestamp);
    assert_eq!(message.stream, 1);
    assert_eq!(tag.payload, message.payload);
    Some(message.payload)
}

#[test]
fn messages_are_told_apart() {
    let look = |kind, payload: &[u8]| {
        let parts = inspect(kind, 7, Bytes::copy_from_slice(payload)).unwrap();
        assert_eq!(parts.timestamp, 7);
        assert_eq!(&parts.payload[..], payload);
        (parts.kind, parts.role, parts.codec, parts.extended)
    };
    assert_eq!(
        look(8, b"\xaf\x00\x12\x08"),
        (
            Kind::Audio,
            Role::Header(Slot::AudioSequence(0)),
            Some(FourCc(*b"mp4a")),
            false
        )
    );
    assert_eq!(look(8, b""), (Kind::Audio, Role::Inter, None, false));
    assert_eq!(
        look(9, b"\x96\x01av01\x00x"),
        (Kind::Video, Role::Key, Some(FourCc(*b"av01")), true)
    );
    assert_eq!(
        look(18, b"\x02\x00\x0aonMetaData\x08"),
        (Kind::Data, Role::Header(Slot::Metadata), None, false)
    );
    assert_eq!(
        look(18, b"\x02\x00\x0aonCuePoint\x05"),
        (Kind::Data, Role::Inter, None, false)
    );
    assert_eq!(look(18, b"").1, Role::Inter);
    assert_eq!(
        inspect(9, 0, Bytes::new()),
        Err(InspectError::Malformed(Malformed::Short))
    );
    for kind in (0..=255).filter(|kind| ![8, 9, 18].contains(kind)) {
        assert_eq!(
            inspect(kind, 0, Bytes::new()),
            Err(InspectError::NotMedia(kind))
        );
    }
}

#[test]
fn metadata_loses_its_wrapping() {
    let wrapped = b"\x02\x00\x0d@setDataFrame\x02\x00\x0aonMetaData\x05";
    let parts = inspect(18, 0, Bytes::from_static(wrapped)).unwrap();
    assert_eq!(&parts.payload[..], b"\x02\x00\x0aonMetaData\x05");
    assert_eq!(parts.role, Role::Header(Slot::Metadata));
}

#[test]
fn renditions_are_read_back() {
    for time in [
        0,
        1,
        0x00ff_fffe,
        0x00ff_ffff, // from here on the timestamp is extended
        0x0100_0000,
        0xffff_fffe,
        0xffff_ffff,
        0x1_0000_0000,
        0x1_0000_0001,
        u64::MAX,
    ] {
        for size in [0, 1, 65_530, 65_531, 65_532, 131_066, 131_067, 200_000] {
            let payload = [&b"\x27\x01\0\0\0"[..], &vec![7; size]].concat();
            let video = frame(9, time, &payload);
            assert_eq!(read_back(&video, false).as_deref(), Some(&payload[..]));
        }
        let audio = frame(8, time, b"\xaf\x01abc");
        assert_eq!(
            read_back(&audio, false).as_deref(),
            Some(&b"\xaf\x01abc"[..])
        );
        assert!(read_back(&frame(8, time, b""), false).unwrap().is_empty());
        let data = frame(18, time, b"\x02\x00\x01x");
        assert_eq!(
            read_back(&data, false).as_deref(),
            Some(&b"\x02\x00\x01x"[..])
        );
    }
}

#[test]
fn a_stream_of_renditions_crosses_both_limits_of_time() {
    for start in [0x00ff_ffff_u64 - 50, 0xffff_ffff - 50] {
        let mut bytes = Vec::new();
        for i in 0..10 {
            bytes.extend(render(
                &frame(9, start + i * 10, b"\x22xy"),
                Rendition::Rtmp,
            ));
            bytes.extend(render(
                &frame(8, start + i * 10 + 5, b"\x2fz"),
                Rendition::Rtmp,
            ));
        }
        let times: Vec<u32> = read_rtmp(&bytes).iter().map(|m| m.timestamp).collect();
        let expected: Vec<u32> = (0..20).map(|i| wire_time(start + i * 5)).collect();
        assert_eq!(times, expected);
    }
}

#[test]
fn plain_viewers_get_track_0_unwrapped() {
    let both = frame(9, 40, b"\x96\x11avc1\x01\0\0\x04\0\0\0b\x00\0\0\x04\0\0\0a");
    let sent = read_back(&both, false).unwrap();
    assert_eq!(sent, both.payload);
    let plain = read_back(&both, true).unwrap();
    assert_eq!(&plain[..], b"\x91avc1\0\0\0a");

    let other = frame(9, 40, b"\x96\x03avc1\x01b");
    assert!(read_back(&other, false).is_some());
    assert!(render(&other, Rendition::RtmpPlain).is_empty());
    assert!(render(&other, Rendition::FlvPlain).is_empty());
    assert_eq!(rtmp_header_for_stream(&[], 2), None);
}

#[test]
fn frames_that_are_plain_are_rendered_once() {
    let legacy = frame(9, 40, b"\x17\x01\0\0\0x");
    for (form, plain) in [
        (Rendition::Rtmp, Rendition::RtmpPlain),
        (Rendition::Flv, Rendition::FlvPlain),
    ] {
        assert_eq!(
            render(&legacy, form).as_ptr(),
            render(&legacy, plain).as_ptr()
        );
    }
}

/// ffmpeg takes metadata at any other time for a track of subtitles.
#[test]
fn metadata_is_at_time_0_for_viewers() {
    let metadata = frame(18, 40_000, b"\x02\0\x0aonMetaData\x08\0\0\0\0\0\0\x09");
    let of = |form| read_rtmp(render(&metadata, form))[0].timestamp;
    assert_eq!((of(Rendition::RtmpPlain), of(Rendition::Rtmp)), (0, 40_000));
    let of = |form| read_flv(render(&metadata, form))[0].timestamp;
    assert_eq!((of(Rendition::FlvPlain), of(Rendition::Flv)), (0, 40_000));
    let cue = frame(18, 40_000, b"\x02\0\x05onCue\x05");
    assert_eq!(
        read_flv(render(&cue, Rendition::FlvPlain))[0].timestamp,
        40_000
    );
}

#[test]
fn another_message_stream_changes_the_header_alone() {
    let payload = [&b"\x27\x01\0\0\0"[..], &vec![7; 150_000]].concat();
    for time in [5, 0x0123_4567] {
        let video = frame(9, time, &payload);
        let shared = render(&video, Rendition::Rtmp);
        for stream in [0, 1, 2, 0x0403_0201] {
            let (head, rest) = rtmp_header_for_stream(shared, stream).unwrap();
            let bytes = [&head[..], rest].concat();
            if stream == 1 {
                assert_eq!(&bytes[..], &shared[..]);
            }
            let messages = read_rtmp(&bytes);
            assert_eq!(messages.len(), 1);
            assert_eq!(messages[0].stream, stream);
            assert_eq!(u64::from(messages[0].timestamp), time);
            assert_eq!(&messages[0].payload[..], &payload[..]);
        }
    }
}

#[test]
fn a_notice_is_a_command_here_and_script_data_there() {
    let notice = Frame::new(
        Kind::Notice,
        Role::Inter,
        77,
        waiting(Duration::from_millis(2900)),
    );
    for (rtmp, flv) in [
        (Rendition::Rtmp, Rendition::Flv),
        (Rendition::RtmpPlain, Rendition::FlvPlain),
    ] {
        let messages = read_rtmp(render(&notice, rtmp));
        let [message] = &messages[..] else {
            panic!("{messages:?}");
        };
        assert_eq!(
            (message.kind, message.stream, message.timestamp),
            (20, 1, 77)
        );
        let command = Command::decode(message.kind, &message.payload).unwrap();
        assert_eq!(command.name, "onStatus");
        assert!(command.transaction.abs() < f64::EPSILON);
        assert!(command.object.is_nothing());
        let info = &command.args[0];
        assert_eq!(info.get("level").and_then(Value::as_str), Some("status"));
        assert_eq!(info.get("code").and_then(Value::as_str), Some(WAITING));
        assert_eq!(info.get("waited").and_then(Value::as_f64), Some(2.0));

        let tags = read_flv(render(&notice, flv));
        assert_eq!((tags.len(), tags[0].kind, tags[0].timestamp), (1, 18, 77));
        let values = amf0::decode_all(&tags[0].payload).unwrap();
        assert_eq!(values, ["onStatus".into(), info.clone()]);
    }
}

#[test]
fn a_notice_of_something_else_is_no_command() {
    let odd = Frame::new(Kind::Notice, Role::Inter, 0, Bytes::from_static(b"odd"));
    assert!(
        read_rtmp(render(&odd, Rendition::Rtmp))[0]
            .payload
            .is_empty()
    );
    let info = amf::object([("code", "x".into())]);
    let payload = on_status(info.clone());
    let notice = Frame::new(Kind::Notice, Role::Inter, 0, payload);
    let message = &read_rtmp(render(&notice, Rendition::Rtmp))[0];
    assert_eq!(Command::decode(20, &message.payload).unwrap().args, [info]);
}

#[test]
fn the_longest_message_has_all_forms() {
    let size = usize::try_from(MAX_CHUNK_SIZE).unwrap();
    let payload = [&b"\x27\x01\0\0\0"[..], &vec![7; size - 5]].concat();
    assert_eq!(
        read_back(&frame(9, 0, &payload), false).map(|p| p.len()),
        Some(size)
    );
    let longer = [&payload[..], &[0]].concat();
    assert_eq!(read_back(&frame(9, 0, &longer), false), None);
}

proptest! {
    #[test]
    fn any_message_is_rendered(
        kind in prop::sample::select(vec![8u8, 9, 18]),
        head in prop::sample::select(vec![0x17u8, 0x27, 0x90, 0x91, 0x95, 0x96, 0x97, 0xaf]),
        rest in proptest::collection::vec(any::<u8>(), 0..300),
        time in any::<u64>(),
    ) {
        let payload = Bytes::from([&[head][..], &rest].concat());
        if let Ok(parts) = inspect(kind, 0, payload.clone()) {
            let frame = parts.into_frame(time);
            prop_assert_eq!(read_back(&frame, false), Some(payload));
            let plain = read_back(&frame, true);
            prop_assert!(frame.extended || plain == Some(frame.payload.clone()));
        }
    }
}

/// A file that another program wrote.
#[test]
fn the_demo_programme_is_understood_and_written_back() {
    const FILE: &[u8] = include_bytes!("../demo/programme.flv");
    let mut reader = flv::Reader::new(flv::ReaderLimits::default()).strict();
    let mut input = FILE;
    let (mut headers, mut keys, mut inter) = (Vec::new(), 0, 0);
    let mut said = Vec::new();
    let mut written = Vec::new();
    while let Some(tag) = reader.feed(&mut input).unwrap() {
        let parts = inspect(tag.kind, tag.timestamp, tag.payload).unwrap();
        assert!(!parts.extended);
        match parts.role {
            Role::Header(slot) => headers.push(slot),
            Role::Key => keys += 1,
            Role::Inter => inter += 1,
        }
        said.extend(codec::describe(parts.kind, &parts.payload).map(|d| d.to_string()));
        let time = parts.timestamp.into();
        written.extend(render(&parts.into_frame(time), Rendition::Flv));
    }
    assert!(reader.at_boundary());
    headers.sort();
    assert_eq!(
        headers,
        [
            Slot::Metadata,
            Slot::VideoSequence(0),
            Slot::AudioSequence(0)
        ]
    );
    assert!(keys > 1 && inter > 10 * keys, "{keys} {inter}");
    assert!(said.iter().any(|d| d.starts_with("avc1 ")), "{said:?}");
    assert!(said.iter().any(|d| d.starts_with("mp4a ")), "{said:?}");
    let header = reader.header().unwrap();
    assert_eq!([&header.encode()[..], &written].concat(), FILE);
}

#[test]
fn a_shaped_frame_is_the_same_and_held_once() {
    let most = OUT_CHUNK_SIZE as usize;
    for (length, time) in [
        (0, 0),
        (10, 5),
        (most, 7),
        (most, 0x0100_0000),
        (most + 1, 9),
    ] {
        let payload: Vec<u8> = (0..length).map(|n| n.to_le_bytes()[0]).collect();
        let make = || Frame::new(Kind::Video, Role::Key, time, payload.clone().into());
        let (plain, shaped) = (make(), shape(make()));
        assert_eq!(plain.payload, shaped.payload, "{length} at {time}");
        for form in [
            Rendition::Rtmp,
            Rendition::RtmpPlain,
            Rendition::Flv,
            Rendition::FlvPlain,
        ] {
            assert_eq!(render(&plain, form), render(&shaped, form));
        }
        let whole = render(&shaped, Rendition::Rtmp).as_ptr_range();
        let held_once = whole.contains(&shaped.payload.as_ptr());
        assert_eq!(
            held_once,
            (1..=most).contains(&length),
            "{length} at {time}"
        );
    }
}
