//! Files in memory, written box by box and tag by tag; what ffmpeg writes is for the system tests.

use bytes::{BufMut, Bytes, BytesMut};
use proptest::prelude::*;

use super::*;
use crate::flv::{self, FileHeader};
use crate::limits::{MAX_FILE_INDEX, MAX_FILE_SAMPLES};
use crate::mp4 as writer;

/// Reads the index of a file as its reader would, and counts the bytes that were wanted.
fn read(file: &[u8]) -> (Result<Index, IndexError>, usize) {
    let mut indexer = Indexer::new(file.len() as u64);
    let mut given: &[u8] = &[];
    let mut wanted = 0;
    let mut steps = 0;
    loop {
        steps += 1;
        assert!(steps < 2 * file.len() + 10, "no end");
        match indexer.step(given) {
            Ok(Step::Read { offset, length }) => {
                let begin = usize::try_from(offset).unwrap();
                assert!(length > 0 && length <= MAX_FILE_INDEX);
                given = &file[begin..begin + length];
                wanted += length;
            }
            Ok(Step::Done(index)) => return (Ok(*index), wanted),
            Err(error) => return (Err(error), wanted),
        }
    }
}

fn index(file: &[u8]) -> Index {
    read(file).0.unwrap()
}

impl Index {
    /// Of a whole file, for the tests of whoever has an index.
    pub(crate) fn of(file: &[u8]) -> Self {
        index(file)
    }
}

fn error(file: &[u8]) -> IndexError {
    read(file).0.map(|_| ()).unwrap_err()
}

/// Everything that must hold of any index.
fn check(file: &[u8], index: &Index) {
    for sample in &index.samples {
        let end = sample.offset() + sample.size() as u64;
        assert!(end <= file.len() as u64, "{sample:?} is outside");
        assert!(sample.size() > 0);
    }
    for time in [0, 1, index.duration / 2, index.duration, u64::MAX] {
        for seek in [Seek::Key, Seek::Exact] {
            let at = index.position(time, seek);
            assert!(at < index.len());
            for header in index.headers_at(at) {
                assert!(header < at);
            }
        }
    }
    let per_sample = size_of::<Sample>() + 2 * size_of::<u32>();
    assert!(index.memory() <= 2 * (file.len() + index.len() * per_sample) + 1024);
}

fn boxed(kind: &[u8; 4], parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = u32::try_from(length + 8).unwrap().to_be_bytes().to_vec();
    out.extend_from_slice(kind);
    parts.iter().for_each(|part| out.extend_from_slice(part));
    out
}

fn numbers(all: &[u32]) -> Vec<u8> {
    all.iter().flat_map(|n| n.to_be_bytes()).collect()
}

/// Version and flags 0, a count, and rows.
fn table(kind: &[u8; 4], columns: usize, rows: &[u32]) -> Vec<u8> {
    let count = u32::try_from(rows.len() / columns).unwrap();
    boxed(kind, &[&numbers(&[0, count]), &numbers(rows)])
}

const AVCC: &[u8] = b"\x01\x42\xc0\x15\xff\xe1\0\x04\x67\x42\xc0\x15\x01\0\x04\x68\xce\x3c\x80";

fn avc_entry() -> Vec<u8> {
    let mut fields = vec![0; 78];
    fields[24..28].copy_from_slice(b"\x02\x80\x01\x68"); // 640x360
    boxed(b"avc1", &[&fields, &boxed(b"avcC", &[AVCC])])
}

fn aac_entry() -> Vec<u8> {
    let mut fields = vec![0; 28];
    fields[16..20].copy_from_slice(b"\0\x02\0\x10");
    fields[24..26].copy_from_slice(&44_100_u16.to_be_bytes());
    let esds = b"\0\0\0\0\x03\x16\0\x01\0\x04\x11\x40\x15\0\0\0\0\0\0\0\0\0\0\0\x05\x02\x12\x10";
    boxed(b"mp4a", &[&fields, &boxed(b"esds", &[esds])])
}

/// The tables of a track and what is around them.
#[derive(Clone)]
struct Track<'a> {
    id: u32,
    handler: &'a [u8; 4],
    scale: u32,
    entry: Vec<u8>,
    tables: Vec<Vec<u8>>,
    edits: Option<Vec<u8>>,
}

impl Track<'_> {
    fn trak(&self) -> Vec<u8> {
        let stsd = boxed(b"stsd", &[&numbers(&[0, 1]), &self.entry]);
        let stbl = boxed(b"stbl", &[&stsd, &self.tables.concat()]);
        let mdhd = boxed(b"mdhd", &[&numbers(&[0, 0, 0, self.scale, 0, 0])]);
        let hdlr = boxed(b"hdlr", &[&numbers(&[0, 0]), self.handler, &[0; 13]]);
        let media = boxed(b"mdia", &[&mdhd, &hdlr, &boxed(b"minf", &[&stbl])]);
        let tkhd = boxed(b"tkhd", &[&numbers(&[7, 0, 0, self.id, 0, 0])]);
        let edts = self.edits.as_ref().map(|list| boxed(b"edts", &[list]));
        boxed(b"trak", &[&tkhd, &edts.unwrap_or_default(), &media])
    }
}

/// Where the media is in the files below: the first byte of `mdat`'s content.
const MEDIA: u32 = 24;

/// Four pictures of 10 to 13 bytes, the third is the second key frame, shown in another order; three
/// frames of sound; in two chunks each.
fn film() -> (Track<'static>, Track<'static>) {
    let video = Track {
        id: 1,
        handler: b"vide",
        scale: 12_800,
        entry: avc_entry(),
        tables: vec![
            table(b"stts", 2, &[4, 512]),
            table(b"ctts", 2, &[1, 1024, 1, 2048, 2, 0]),
            table(b"stsc", 3, &[1, 2, 1]),
            boxed(b"stsz", &[&numbers(&[0, 0, 4, 10, 11, 12, 13])]),
            table(b"stco", 1, &[MEDIA, MEDIA + 100]),
            table(b"stss", 1, &[1, 3]),
        ],
        edits: None,
    };
    let audio = Track {
        id: 2,
        handler: b"soun",
        scale: 44_100,
        entry: aac_entry(),
        tables: vec![
            table(b"stts", 2, &[3, 1024]),
            table(b"stsc", 3, &[1, 2, 1, 2, 1, 1]),
            boxed(b"stsz", &[&numbers(&[0, 5, 3])]),
            table(b"stco", 1, &[MEDIA + 50, MEDIA + 150]),
        ],
        edits: None,
    };
    (video, audio)
}

fn file(tracks: &[Track<'_>], media: usize) -> Vec<u8> {
    let mvhd = boxed(b"mvhd", &[&numbers(&[0, 0, 0, 1000, 0])]);
    let traks: Vec<u8> = tracks.iter().flat_map(Track::trak).collect();
    let moov = boxed(b"moov", &[&mvhd, &traks]);
    [
        boxed(b"ftyp", &[b"isomiso2"]),
        boxed(b"mdat", &[&vec![0xee; media]]),
        moov,
    ]
    .concat()
}

/// What the assertions look at: kind, time, offset behind the media's first byte, size, key,
/// composition.
type Row = (Kind, u32, u64, usize, bool, i32);

fn rows(index: &Index) -> Vec<Row> {
    let row = |s: &Sample| {
        (
            s.kind(),
            s.time(),
            s.offset() - u64::from(MEDIA),
            s.size(),
            s.is_key(),
            s.composition(),
        )
    };
    index.samples.iter().map(row).collect()
}

#[test]
fn the_tables_of_a_film_become_samples_in_order() {
    let (video, audio) = film();
    let file = file(&[video, audio], 200);
    let index = index(&file);
    check(&file, &index);
    let (v, a) = (Kind::Video, Kind::Audio);
    assert_eq!(
        rows(&index),
        [
            (v, 0, 0, 10, true, 80),
            (a, 0, 50, 5, false, 0),
            (a, 23, 55, 5, false, 0),
            (v, 40, 10, 11, false, 160),
            (a, 46, 150, 5, false, 0),
            (v, 80, 100, 12, true, 0),
            (v, 120, 112, 13, false, 0),
        ]
    );
    assert_eq!(index.duration, 160);
    assert_eq!(index.keys(), 2);
    let video = index.video.as_ref().unwrap();
    assert_eq!((video.codec.0, video.size), (*b"avc1", (640, 360)));
    let audio = index.audio.as_ref().unwrap();
    assert_eq!((audio.rate, audio.channels), (44_100, 2));
    assert_eq!(&audio.configuration[..], [0x12, 0x10]);
    let said: Vec<_> = index.configurations().collect();
    assert_eq!(said[0].1, [b"\x17\0\0\0\0", AVCC].concat());
    assert_eq!(said[1], (a, Bytes::from_static(b"\xaf\0\x12\x10")));
    assert_eq!(index.head(index.samples[3]).bytes(), b"\x27\x01\0\0\xa0");
    // Seeking: to the key frame before, or exactly there.
    let at = |time, seek| index.position(time, seek);
    assert_eq!([at(0, Seek::Key), at(79, Seek::Key)], [0, 0]);
    assert_eq!([at(80, Seek::Key), at(10_000, Seek::Key)], [5, 5]);
    assert_eq!([at(41, Seek::Exact), at(46, Seek::Exact)], [4, 4]);
    assert_eq!(at(10_000, Seek::Exact), 6);
}

#[test]
fn little_of_a_film_is_read() {
    let (video, audio) = film();
    let film = file(&[video, audio], 1 << 20);
    let (index, wanted) = read(&film);
    assert_eq!(index.unwrap().len(), 7);
    assert!(wanted < 2000, "{wanted}");
}

#[test]
fn edit_lists_keep_sound_and_pictures_together() {
    let (mut video, mut audio) = film();
    // Two pictures are decoded before the first is shown; sound begins with 1024 samples that are not
    // heard, and 40 ms late.
    video.edits = Some(table(b"elst", 3, &[160, 1024, 0x1_0000]));
    audio.edits = Some(table(
        b"elst",
        3,
        &[40, u32::MAX, 0x1_0000, 100, 1024, 0x1_0000],
    ));
    let file = file(&[video, audio.clone()], 200);
    let index = index(&file);
    let first = |kind| {
        let mut all = index.samples.iter();
        let sample = all.find(|s| s.kind() == kind).unwrap();
        i64::from(sample.time()) + i64::from(sample.composition())
    };
    // Shown at 80 ms, with everything moved by 80; heard at 80 + 40 - 23.
    assert_eq!(first(Kind::Video), 80);
    assert_eq!(first(Kind::Audio), 97);
    // Sound that comes before the first picture is not left out.
    audio.edits = Some(table(b"elst", 3, &[100, 4410, 0x1_0000]));
    let (video, _) = film();
    let file = self::file(&[video, audio], 200);
    let index = self::index(&file);
    assert_eq!(index.sample(0).unwrap().kind(), Kind::Audio);
    assert_eq!(index.position(0, Seek::Key), 0);
    assert_eq!(
        index.position(50, Seek::Key),
        index.position(50, Seek::Exact)
    );
    assert_eq!(index.position(110, Seek::Key), index.key_from(0));
}

#[test]
fn sizes_come_in_four_forms() {
    for (form, kind) in [(8, b"stz2"), (16, b"stz2"), (32, b"stsz")] {
        let (mut video, audio) = film();
        let sizes = [10_u32, 11, 12, 13];
        let rows: Vec<u8> = sizes
            .iter()
            .flat_map(|n| n.to_be_bytes()[4 - form / 8..].to_vec())
            .collect();
        let head = if kind == b"stz2" {
            u32::try_from(form).unwrap()
        } else {
            0
        };
        video.tables[3] = boxed(kind, &[&numbers(&[0, head, 4]), &rows]);
        assert_eq!(index(&file(&[video, audio], 200)).len(), 7, "{form} bits");
    }
    let (mut video, audio) = film();
    let long: Vec<u8> = [24_u64, 124].iter().flat_map(|n| n.to_be_bytes()).collect();
    video.tables[4] = boxed(b"co64", &[&numbers(&[0, 2]), &long]);
    video.tables.remove(5);
    let index = index(&file(&[video, audio], 200));
    assert_eq!(index.keys(), 4, "without stss every picture is a key frame");
}

#[test]
fn what_points_outside_is_left_out() {
    let (video, audio) = film();
    let whole = file(&[video, audio], 200);
    let (mut video, audio) = film();
    video.tables[4] = table(b"stco", 1, &[MEDIA, u32::MAX - 3]);
    let file = file(&[video, audio], 200);
    let index = index(&file);
    check(&file, &index);
    assert!(index.cut);
    assert_eq!(index.len(), 5);
    assert_eq!(error(&whole[..whole.len() - 1]), IndexError::Truncated);
    assert_eq!(error(&whole[..100]), IndexError::Truncated);
    assert_eq!(error(&whole[..7]), IndexError::Unknown);
}

#[test]
fn numbers_alone_cost_nothing() {
    // One size for four thousand million samples, all of them in one chunk, all of one duration.
    let endless = |size: u32| {
        let (mut video, _) = film();
        video.tables[0] = table(b"stts", 2, &[u32::MAX, 1]);
        video.tables[1] = table(b"ctts", 2, &[u32::MAX, 0]);
        video.tables[2] = table(b"stsc", 3, &[1, u32::MAX, 1]);
        video.tables[3] = boxed(b"stsz", &[&numbers(&[0, size, u32::MAX])]);
        file(&[video], 1000)
    };
    let small = endless(1);
    let (result, _) = read(&small);
    if let Ok(index) = result {
        check(&small, &index);
        assert!(index.len() <= small.len());
    }
    assert_eq!(error(&endless(0x0100_0000)), IndexError::NothingToPlay);
    // Counts that the box does not have.
    let (mut video, audio) = film();
    video.tables[3] = boxed(b"stsz", &[&numbers(&[0, 0, u32::MAX, 10, 11])]);
    let short = file(&[video, audio], 200);
    assert_eq!(index(&short).len(), 5);
}

#[test]
fn a_large_film_is_compact() {
    // A picture and a half of sound 30 times a second for two hours.
    let many = 216_000_u32;
    let (mut video, mut audio) = film();
    video.tables[0] = table(b"stts", 2, &[many, 427]);
    video.tables[1] = table(b"ctts", 2, &[many, 0]);
    video.tables[2] = table(b"stsc", 3, &[1, many, 1]);
    video.tables[3] = boxed(
        b"stsz",
        &[&numbers(&[0, 0, many]), &numbers(&vec![3; many as usize])],
    );
    video.tables[4] = table(b"stco", 1, &[MEDIA]);
    audio.tables[0] = table(b"stts", 2, &[340_000, 1024]);
    audio.tables[1] = table(b"stsc", 3, &[1, 340_000, 1]);
    audio.tables[2] = boxed(b"stsz", &[&numbers(&[0, 1, 340_000])]);
    audio.tables[3] = table(b"stco", 1, &[MEDIA]);
    let file = file(&[video, audio], 4 << 20);
    let index = index(&file);
    assert_eq!(index.len(), 556_000);
    assert!(index.memory() < 9_500_000, "{}", index.memory());
    assert!(index.samples.is_sorted_by_key(Sample::time));
}

#[test]
fn what_cannot_be_played_is_said() {
    let with = |entry: Vec<u8>| {
        let (mut video, _) = film();
        video.entry = entry;
        file(&[video], 200)
    };
    let other = |kind| with(boxed(kind, &[&[0; 78]]));
    assert_eq!(error(&other(b"encv")), IndexError::Encrypted);
    assert_eq!(error(&other(b"mjpg")), IndexError::NothingToPlay);
    assert_eq!(error(&file(&[], 10)), IndexError::NothingToPlay);
    assert_eq!(error(b"RIFF\0\0\0\0AVI LIST"), IndexError::Unknown);
    let no_movie = boxed(b"ftyp", &[b"isom"]);
    assert_eq!(error(&no_movie), IndexError::Truncated);
    let lies = [
        boxed(b"ftyp", &[b"isom"]),
        b"\0\0\0\x03moov\0\0\0\0".to_vec(),
    ]
    .concat();
    assert!(matches!(error(&lies), IndexError::Damaged(_)));
}

#[test]
fn fragments_are_walked_one_by_one() {
    let (video, audio) = (
        writer::Entry::avc(AVCC, Some((640, 360))).unwrap(),
        writer::Entry::aac(&[0x12, 0x10], 44_100, 2).unwrap(),
    );
    let track = |id, timescale, entry| writer::Track {
        id,
        timescale,
        entry,
    };
    let mut file = writer::init(&[track(1, 1000, &video), track(2, 44_100, &audio)])
        .unwrap()
        .to_vec();
    for turn in 0..3_u64 {
        let sample = |duration, key, composition, data: &'static [u8]| writer::Sample {
            duration,
            composition,
            key,
            data: Bytes::from_static(data),
        };
        let runs = [
            writer::Run {
                track: 1,
                begin: turn * 80,
                samples: vec![sample(40, true, 40, b"key"), sample(40, false, 0, b"inter")],
            },
            writer::Run {
                track: 2,
                begin: turn * 3528,
                samples: vec![sample(1024, true, 0, b"one"), sample(2504, true, 0, b"two")],
            },
        ];
        let number = u32::try_from(turn + 1).unwrap();
        file.extend_from_slice(&writer::fragment(number, &runs).unwrap());
    }
    let whole = index(&file);
    check(&file, &whole);
    assert_eq!(whole.len(), 12);
    assert_eq!(whole.keys(), 3);
    assert_eq!(whole.duration, 240);
    let text = |sample: &Sample| {
        let at = usize::try_from(sample.offset()).unwrap();
        (
            sample.time(),
            sample.composition(),
            String::from_utf8_lossy(&file[at..at + sample.size()]).into_owned(),
        )
    };
    let first: Vec<_> = whole.samples.iter().take(5).map(text).collect();
    let expected = [
        (0, 40, "key"),
        (0, 0, "one"),
        (23, 0, "two"),
        (40, 0, "inter"),
        (80, 40, "key"),
    ];
    assert_eq!(first, expected.map(|(t, c, s)| (t, c, s.to_owned())));
    // Cut inside the last fragment: what is whole is there.
    let cut = index(&file[..file.len() - 1]);
    assert!(cut.cut);
    assert!(cut.len() >= 8 && cut.len() < 12, "{}", cut.len());
}

fn tag(out: &mut BytesMut, kind: u8, time: u32, body: &[u8]) {
    flv::put_tag(out, kind, time, body).unwrap();
}

fn recording(begin: u32) -> Bytes {
    let mut out = BytesMut::new();
    let header = FileHeader {
        audio: true,
        video: true,
    };
    out.put_slice(&header.encode());
    tag(&mut out, 18, 0, b"\x02\0\x0aonMetaData\x08\0\0\0\0\0\0\x09");
    tag(&mut out, 9, begin, &[b"\x17\0\0\0\0", AVCC].concat());
    tag(&mut out, 8, begin, b"\xaf\0\x12\x10");
    for n in 0..50 {
        let head: &[u8] = if n % 25 == 0 {
            b"\x17\x01\0\0\0"
        } else {
            b"\x27\x01\0\0\0"
        };
        tag(&mut out, 9, begin + n * 40, &[head, &[7; 9000]].concat());
        tag(&mut out, 8, begin + n * 40 + 1, b"\xaf\x01sound");
        if n == 30 {
            tag(&mut out, 8, begin + n * 40 + 1, b"\xaf\0\x11\x90");
        }
    }
    out.freeze()
}

#[test]
fn the_tags_of_a_recording_become_samples() {
    for begin in [0, 7_200_000] {
        let file = recording(begin);
        let (index, wanted) = read(&file);
        let index = index.unwrap();
        check(&file, &index);
        assert_eq!(index.len(), 103);
        assert_eq!((index.keys(), index.duration), (2, 2001));
        assert!(index.metadata.is_some() && !index.cut);
        assert_eq!(index.video.as_ref().unwrap().configuration, AVCC);
        assert_eq!(index.audio.as_ref().unwrap().rate, 44_100);
        assert!(
            index.configurations().next().is_none(),
            "they are in the file"
        );
        assert!(wanted < file.len(), "{wanted} of {}", file.len());
        let key = index.position(1500, Seek::Key);
        assert_eq!(index.sample(key).unwrap().time(), 1000);
        assert_eq!(index.headers_at(key), [0, 1]);
        let late = index.position(1900, Seek::Exact);
        assert_eq!(
            index.headers_at(late),
            [0, 64],
            "the configuration that holds there"
        );
        assert_eq!(index.headers_at(0), [] as [usize; 0]);
        let sample = index.sample(2).unwrap();
        assert_eq!((sample.time(), sample.size()), (0, 9005));
        let at = usize::try_from(sample.offset()).unwrap();
        assert_eq!(&file[at..at + 2], b"\x17\x01");
        assert_eq!(index.head(sample).bytes(), b"");
    }
}

#[test]
fn a_recording_that_grows_ends_with_its_last_whole_tag() {
    let file = recording(0);
    for cut in (0..file.len()).rev().step_by(997) {
        let part = &file[..cut];
        if let (Ok(index), _) = read(part) {
            check(part, &index);
            assert!(index.len() <= 103);
        }
    }
    let nearly = read(&file[..file.len() - 5]).0.unwrap();
    assert_eq!(nearly.len(), 102);
    assert!(nearly.cut);
    assert_eq!(error(&file[..13]), IndexError::NothingToPlay);
    let mut encrypted = file.to_vec();
    encrypted[13] |= 0x20;
    assert_eq!(error(&encrypted), IndexError::Encrypted);
}

#[test]
fn the_number_of_samples_is_bounded() {
    let (mut video, _) = film();
    let many = u32::try_from(MAX_FILE_SAMPLES + 1).unwrap();
    video.tables[0] = table(b"stts", 2, &[many, 1]);
    video.tables[1] = table(b"ctts", 2, &[many, 0]);
    video.tables[2] = table(b"stsc", 3, &[1, many, 1]);
    video.tables[3] = boxed(b"stsz", &[&numbers(&[0, 1, many])]);
    video.tables[4] = table(b"stco", 1, &[MEDIA]);
    let file = file(&[video], MAX_FILE_SAMPLES + 10);
    assert!(matches!(error(&file), IndexError::TooMuch(_)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is changed in a file: an answer, and nothing outside the file.
    #[test]
    fn any_file_ends_in_an_answer(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
        movie: bool,
    ) {
        let mut file = if movie {
            let (video, audio) = film();
            file(&[video, audio], 200)
        } else {
            recording(0).slice(..20_000).to_vec()
        };
        for (at, value) in changes {
            let at = at.index(file.len());
            file[at] = value;
        }
        for part in [&file[..], &file[..cut.index(file.len())]] {
            if let (Ok(index), _) = read(part) {
                check(part, &index);
            }
        }
    }
}
