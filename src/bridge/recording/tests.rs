//! Recordings of the demo's programme, read back with the project's own reader of files.

use std::sync::Arc;

use proptest::prelude::*;

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

fn look(format: Format, file: &[u8]) -> Option<End> {
    let read = |at: u64, into: &mut [u8]| {
        let at = usize::try_from(at).unwrap();
        into.copy_from_slice(&file[at..at + into.len()]);
        Ok::<_, std::convert::Infallible>(())
    };
    whole(format, file.len() as u64, read).unwrap()
}

/// As a start does it with what a crash left.
fn mended(format: Format, file: &[u8]) -> Option<(End, Vec<u8>)> {
    let end = look(format, file)?;
    let kept = file[..usize::try_from(end.length).unwrap()].to_vec();
    let kept = patched(kept, &end.patches);
    Some((end, kept))
}

#[test]
fn a_file_that_was_cut_anywhere_is_mended_to_the_last_whole_piece() {
    for format in [Format::Flv, Format::Mp4] {
        let frames = programme(0);
        let (_, out, whole) = record(format, &frames[..150]);
        assert!(whole.len() > 5, "{format:?}");
        for garbage in [0, 5000] {
            for cut in (0..out.len()).step_by(509).chain([out.len()]) {
                let mut file = out[..cut].to_vec();
                file.resize(cut + garbage, 0);
                let Some((end, kept)) = mended(format, &file) else {
                    assert!(cut < whole[0], "{format:?} at {cut}");
                    continue;
                };
                // Of media that was never written nobody can tell that it is none.
                let most = if garbage == 0 { cut } else { file.len() };
                assert!(kept.len() <= most.min(out.len()), "{format:?} at {cut}");
                let last = whole.iter().rfind(|end| **end <= cut).copied();
                assert!(kept.len() >= last.unwrap_or(0), "{format:?} at {cut}");
                let again = look(format, &kept).unwrap();
                assert_eq!(again, end, "{format:?} at {cut}");
                if last.is_some() {
                    assert!(!Index::of(&kept).cut, "{format:?} at {cut}");
                }
            }
        }
    }
}

#[test]
fn what_is_no_recording_is_not_touched_where_it_matters() {
    assert_eq!(look(Format::Flv, b""), None);
    assert_eq!(
        look(Format::Flv, b"FLV\x01\x05\0\0\0\x04\0\0\0\0\x12"),
        None
    );
    assert_eq!(look(Format::Mp4, b"\0\0\0\x08free"), None);
    // A name in the media is not where a duration is.
    let frames = programme(0);
    let (_, out, _) = record(Format::Mp4, &frames[..150]);
    let begin = out.windows(4).position(|w| w == b"mdat").unwrap();
    let mut film = out.clone();
    let head = film.windows(4).position(|w| w == b"mehd").unwrap();
    film[head..head + 4].copy_from_slice(b"free");
    film[begin + 40..begin + 44].copy_from_slice(b"mehd");
    let (end, kept) = mended(Format::Mp4, &film).unwrap();
    assert!(end.patches.is_empty() && kept == film);
    // Nor is it at the end of a head that has no room for it.
    let mut short = b"\0\0\0\x10moov\0\0\0\0mehd".to_vec();
    assert_eq!(mended(Format::Mp4, &short).unwrap().1, short);
    short.splice(0..0, *b"\0\0\0\x08ftyp");
    assert_eq!(mended(Format::Mp4, &short).unwrap().1, short);
}

#[test]
fn a_file_goes_on_where_it_ended() {
    for format in [Format::Flv, Format::Mp4] {
        let frames = programme(0);
        let (mut muxer, mut out, _) = record(format, &frames);
        let patches = muxer.finish(&mut out).unwrap();
        let file = patched(out, &patches);
        let (end, mut file) = mended(format, &file).unwrap();
        let later = programme(1 << 33);
        let (headers, rest) = split(&later);
        let mut more = Vec::new();
        let mut muxer = Muxer::resume(format, &headers, rest[0].time, &end, &mut more);
        for frame in &rest {
            muxer.feed(frame, &mut more).unwrap();
        }
        let patches = muxer.finish(&mut more).unwrap();
        file.extend_from_slice(&more);
        let file = patched(file, &patches);
        let index = Index::of(&file);
        assert_eq!(count(&index), (400, 750), "{format:?}");
        assert!((15_900..16_200).contains(&index.duration), "{format:?}");
        assert!((15_900..16_200).contains(&muxer.duration()), "{format:?}");
        let all = (0..index.len()).filter_map(|at| index.sample(at));
        let of = all.filter(|s| s.kind() == Kind::Video && !s.is_header());
        let times: Vec<u32> = of.map(|s| s.time()).collect();
        let steps = times.windows(2).map(|w| w[1] - w[0]);
        let (least, most) = (steps.clone().min(), steps.max());
        assert!(least > Some(0) && most < Some(200), "{least:?} {most:?}");
        let number = b"mfhd\0\0\0\0";
        let last = file.windows(number.len()).rposition(|w| w == number);
        if let (Some(at), Format::Mp4) = (last, format) {
            let number = u32::from_be_bytes(file[at + 8..at + 12].try_into().unwrap());
            assert!(number > end.fragments, "they are counted on");
        }
    }
}

#[test]
fn a_head_tells_whether_a_file_can_go_on() {
    let (headers, _) = split(&programme(0));
    let (head, duration) = mp4_head(&headers).unwrap();
    let (_, out, _) = record(Format::Mp4, &programme(0));
    assert!(out.starts_with(&head), "it is written as it is told");
    assert!(duration.offset + 4 <= head.len() as u64);
    let video = |f: &&Arc<Frame>| f.role == Role::Header(Slot::VideoSequence(0));
    let alone: Vec<_> = headers.iter().filter(video).map(Arc::clone).collect();
    assert_ne!(mp4_head(&alone).unwrap().0, head);
    assert_eq!(mp4_head(&[]), None);
}

/// Whatever is in a file: it never grows, what is written lies within what is kept, and mending it again
/// changes nothing of that.
fn check_mending(format: Format, file: &[u8]) {
    let Some((end, kept)) = mended(format, file) else {
        return;
    };
    assert!(kept.len() <= file.len());
    let again = look(format, &kept).unwrap();
    assert_eq!(again.length, end.length);
}

proptest! {
    #[test]
    fn nothing_is_mended_into_something_else(
        changes in prop::collection::vec((0_usize..20_000, any::<u8>()), 0..40),
        cut in 0_usize..20_000,
        garbage in 0_usize..300,
    ) {
        for format in [Format::Flv, Format::Mp4] {
            let (_, mut file, _) = record(format, &programme(0)[..60]);
            file.truncate(cut);
            file.resize(file.len() + garbage, 0);
            let length = file.len().max(1);
            for (at, byte) in &changes {
                if let Some(place) = file.get_mut(at % length) {
                    *place = *byte;
                }
            }
            check_mending(format, &file);
        }
    }

    #[test]
    fn any_bytes_are_looked_at(file in prop::collection::vec(any::<u8>(), 0..2000)) {
        for (format, head) in [(Format::Flv, &b"FLV\x01\x05\0\0\0\x09\0\0\0\0"[..]), (Format::Mp4, b"\0\0\0\x08ftyp")] {
            check_mending(format, &file);
            check_mending(format, &[head, &file].concat());
        }
    }
}
