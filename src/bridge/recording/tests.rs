//! Recordings of the demo's programme, read back with the project's own reader of files.

use std::sync::Arc;

use super::*;
use crate::bridge::inspect;
use crate::flv;
use crate::index::Index;
use crate::media::{Kind, Role, Slot};

/// The frames of the programme, `shift` ms later.
fn programme(shift: u64) -> Vec<Arc<Frame>> {
    let mut input: &[u8] = include_bytes!("../../demo/programme.flv");
    let mut reader = flv::Reader::new(flv::ReaderLimits::default());
    let mut frames = Vec::new();
    while let Some(tag) = reader.feed(&mut input).unwrap() {
        let time = u64::from(tag.timestamp) + shift;
        let parts = inspect(tag.kind, tag.timestamp, tag.payload).unwrap();
        frames.push(Arc::new(parts.into_frame(time)));
    }
    frames
}

/// The headers in front, and the rest.
fn split(frames: &[Arc<Frame>]) -> (Vec<Arc<Frame>>, Vec<Arc<Frame>>) {
    let is_header = |frame: &&Arc<Frame>| frame.role.is_header();
    let (headers, rest): (Vec<_>, Vec<_>) = frames.iter().partition(is_header);
    let owned = |frames: Vec<&Arc<Frame>>| frames.into_iter().map(Arc::clone).collect();
    (owned(headers), owned(rest))
}

fn media(index: &Index) -> Vec<(Kind, bool, usize)> {
    let all = (0..index.len()).filter_map(|at| index.sample(at));
    let media = all.filter(|s| !s.is_header());
    media.map(|s| (s.kind(), s.is_key(), s.size())).collect()
}

fn count(index: &Index) -> (usize, usize) {
    let of = |kind| media(index).iter().filter(|(k, ..)| *k == kind).count();
    (of(Kind::Video), of(Kind::Audio))
}

fn patched(mut bytes: Vec<u8>, patches: &[Patch]) -> Vec<u8> {
    for patch in patches {
        let at = usize::try_from(patch.offset).unwrap();
        bytes[at..at + patch.bytes.len()].copy_from_slice(&patch.bytes);
    }
    bytes
}

fn record(format: Format, frames: &[Arc<Frame>]) -> (Muxer, Vec<u8>, Vec<usize>) {
    let (headers, rest) = split(frames);
    let mut out = Vec::new();
    let base = rest.first().unwrap().time;
    let mut muxer = Muxer::begin(format, &headers, base, &mut out);
    let mut whole = Vec::new();
    for frame in &rest {
        let before = out.len();
        muxer.feed(frame, &mut out).unwrap();
        if out.len() > before {
            whole.push(out.len());
        }
    }
    (muxer, out, whole)
}

#[test]
fn a_whole_recording_has_every_frame() {
    for format in [Format::Flv, Format::Mp4] {
        let frames = programme(1 << 40);
        let (mut muxer, mut out, _) = record(format, &frames);
        let patches = muxer.finish(&mut out).unwrap();
        let file = patched(out, &patches);
        let index = Index::of(&file);
        assert_eq!(count(&index), (200, 375), "{format:?}");
        assert_eq!(index.keys(), 8, "{format:?}");
        assert!(
            (7950..=8050).contains(&index.duration),
            "{}",
            index.duration
        );
        assert!(!index.cut);
        if format == Format::Flv {
            let at = usize::try_from(DURATION_AT).unwrap();
            assert_eq!(&file[at - 11..at], b"\0\x08duration\0");
            let seconds = f64::from_be_bytes(file[at..at + 8].try_into().unwrap());
            assert!((7.9..8.1).contains(&seconds), "{seconds}");
        } else {
            let at = file.windows(4).position(|w| w == b"mehd").unwrap() + 8;
            let ms = u32::from_be_bytes(file[at..at + 4].try_into().unwrap());
            assert!((7950..=8050).contains(&ms), "{ms}");
        }
    }
}

/// Wherever it ends, nothing that was written before is lost, and no more than a moment is not there.
#[test]
fn a_recording_is_whole_behind_every_piece() {
    for format in [Format::Flv, Format::Mp4] {
        let frames = programme(0);
        let (_, out, whole) = record(format, &frames);
        let (_, rest) = split(&frames);
        let all = Index::of(&out);
        for (at, end) in whole.iter().enumerate().filter(|(at, _)| at % 17 == 3) {
            let part = Index::of(&out[..*end]);
            assert!(!part.cut, "{format:?} at {at}");
            for kind in [Kind::Video, Kind::Audio] {
                let of = |index| {
                    let all = media(index).into_iter();
                    all.filter(|(k, ..)| *k == kind).collect::<Vec<_>>()
                };
                let (got, all) = (of(&part), of(&all));
                assert!(all.starts_with(&got), "{format:?} at {at}");
            }
        }
        if format == Format::Mp4 {
            // What was fed and is in no fragment yet is less than two of them.
            let written = Index::of(&out).duration;
            let fed = rest.last().unwrap().time;
            assert!(fed - written < 500, "{fed} {written}");
        }
    }
}

#[test]
fn another_codec_or_size_needs_another_file() {
    let frames = programme(0);
    let (headers, _) = split(&frames);
    let sequence = headers
        .iter()
        .find(|f| f.role == Role::Header(Slot::VideoSequence(0)))
        .unwrap();
    let mut payload = sequence.payload.to_vec();
    *payload.last_mut().unwrap() ^= 1;
    let other = inspect(flv::VIDEO, 0, payload.into())
        .unwrap()
        .into_frame(1);
    let hevc = inspect(flv::VIDEO, 0, Bytes::from_static(b"\x90hvc1\x01\x02\x03"))
        .unwrap()
        .into_frame(1);
    let (mut mp4, mut out, _) = record(Format::Mp4, &frames);
    let before = out.len();
    assert_eq!(mp4.feed(sequence, &mut out), Ok(()), "the same again");
    assert_eq!(mp4.feed(&other, &mut out), Err(NotFed::Split));
    assert_eq!(out.len(), before);
    let (mut flv, mut out, _) = record(Format::Flv, &frames);
    assert_eq!(flv.feed(&other, &mut out), Ok(()), "FLV has it in between");
    assert_eq!(flv.feed(&hevc, &mut out), Err(NotFed::Split));
}

#[test]
fn what_cannot_be_in_mp4_is_said() {
    let raw = inspect(flv::VIDEO, 0, Bytes::from_static(b"\x12\x00\x00"))
        .unwrap()
        .into_frame(0);
    let mut out = Vec::new();
    let mut muxer = Muxer::begin(Format::Mp4, &[], 0, &mut out);
    let refused = muxer.feed(&raw, &mut out);
    assert!(refused.is_err() || out.is_empty(), "{refused:?}");
    assert_eq!(muxer.finish(&mut out).unwrap_or_default(), []);
    assert!(out.is_empty());
}
