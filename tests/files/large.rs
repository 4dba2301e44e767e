//! A film of two hours and 4 GB: what it takes to open it, and to seek in it.
//!
//! How long that takes is told and not judged: `cargo test --release --test files large -- --nocapture`.

use std::io::{BufWriter, Seek, SeekFrom};

use super::*;

const SECONDS: u32 = 7200;
const PICTURES: u32 = 30 * SECONDS;
/// 1024 samples each, 48 kHz.
const SOUNDS: u32 = SECONDS * 375 / 8;
/// What lies together in the file: 8 s of pictures, then 8 s of sound.
const PICTURES_AT_ONCE: u32 = 240;
const SOUNDS_AT_ONCE: u32 = 375;

const fn picture_size(number: u32) -> u32 {
    17_500 + number % 1999
}

const fn sound_size(number: u32) -> u32 {
    330 + number % 31
}

fn boxed(kind: &[u8; 4], parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let size = u32::try_from(body.len() + 8).unwrap();
    [&size.to_be_bytes()[..], kind, &body].concat()
}

fn numbers(all: impl IntoIterator<Item = u32>) -> Vec<u8> {
    all.into_iter().flat_map(u32::to_be_bytes).collect()
}

/// A table: its version and flags, how many there are, and those.
fn table(kind: &[u8; 4], count: u32, entries: &[u8]) -> Vec<u8> {
    boxed(kind, &[&numbers([0, count]), entries])
}

/// What is the same of both tracks.
fn track(id: u32, handler: &[u8; 4], scale: u32, entry: &[u8], tables: &[Vec<u8>]) -> Vec<u8> {
    let head = [numbers([7, 0, 0, id, 0, SECONDS * 1000]), vec![0; 60]].concat();
    let media = numbers([0, 0, 0, scale, SECONDS * scale, 0x55c4_0000]);
    let handler = [&numbers([0, 0])[..], handler, &[0; 13]].concat();
    let about = table(b"stsd", 1, entry);
    let tables = boxed(b"stbl", &[&about, &tables.concat()]);
    let inside = boxed(b"minf", &[&tables]);
    let parts = [
        boxed(b"mdhd", &[&media]),
        boxed(b"hdlr", &[&handler]),
        inside,
    ];
    let media = boxed(b"mdia", &[&parts.concat()]);
    boxed(b"trak", &[&boxed(b"tkhd", &[&head]), &media])
}

/// The decoder's configuration of the programme's track of this kind.
fn configuration(kind: u8) -> Vec<u8> {
    let mut reader = flv::Reader::new(flv::ReaderLimits::default());
    let mut rest = PROGRAMME;
    while let Some(tag) = reader.feed(&mut rest).unwrap() {
        if tag.kind == kind && tag.payload[1] == 0 {
            return tag.payload[if kind == 9 { 5 } else { 2 }..].to_vec();
        }
    }
    panic!("none")
}

/// `moov`, of media that begins there; and where it ends.
fn movie(begins: u64) -> (Vec<u8>, u64) {
    let (mut at, mut pictures, mut sounds) = (begins, Vec::new(), Vec::new());
    for chunk in 0..PICTURES / PICTURES_AT_ONCE {
        pictures.extend(at.to_be_bytes());
        let first = chunk * PICTURES_AT_ONCE;
        let sizes = (first..first + PICTURES_AT_ONCE).map(picture_size);
        at += u64::from(sizes.sum::<u32>());
        sounds.extend(at.to_be_bytes());
        let first = chunk * SOUNDS_AT_ONCE;
        let sizes = (first..first + SOUNDS_AT_ONCE).map(sound_size);
        at += u64::from(sizes.sum::<u32>());
    }
    let chunks = PICTURES / PICTURES_AT_ONCE;
    let sizes = |count: u32, size: fn(u32) -> u32| {
        boxed(
            b"stsz",
            &[&numbers([0, 0, count]), &numbers((0..count).map(size))],
        )
    };
    let later = (0..PICTURES).flat_map(|n| [1, n % 3 * 1000]);
    let keys = (0..PICTURES / 60).map(|n| n * 60 + 1);
    let avcc = boxed(b"avcC", &[&configuration(9)]);
    let mut picture = vec![0; 78];
    picture[7] = 1; // where its media is: in this file
    picture[24..28].copy_from_slice(&[2, 128, 1, 104]); // 640 x 360
    let video = track(
        1,
        b"vide",
        30_000,
        &boxed(b"avc1", &[&picture, &avcc]),
        &[
            table(b"stts", 1, &numbers([PICTURES, 1000])),
            table(b"ctts", PICTURES, &numbers(later)),
            table(b"stss", PICTURES / 60, &numbers(keys)),
            table(b"stsc", 1, &numbers([1, PICTURES_AT_ONCE, 1])),
            sizes(PICTURES, picture_size),
            table(b"co64", chunks, &pictures),
        ],
    );
    let specific = configuration(8);
    let describes =
        |tag: u8, body: &[u8]| [&[tag, u8::try_from(body.len()).unwrap()][..], body].concat();
    let decoder = [&[0x40, 0x15][..], &[0; 11], &describes(5, &specific)].concat();
    let stream = [&[0, 0, 0][..], &describes(4, &decoder), &describes(6, &[2])].concat();
    let esds = boxed(b"esds", &[&[0; 4], &describes(3, &stream)]);
    let mut sound = vec![0; 28];
    sound[7] = 1;
    sound[17] = 2;
    sound[19] = 16;
    sound[24..26].copy_from_slice(&48_000_u16.to_be_bytes());
    let audio = track(
        2,
        b"soun",
        48_000,
        &boxed(b"mp4a", &[&sound, &esds]),
        &[
            table(b"stts", 1, &numbers([SOUNDS, 1024])),
            table(b"stsc", 1, &numbers([1, SOUNDS_AT_ONCE, 1])),
            sizes(SOUNDS, sound_size),
            table(b"co64", chunks, &sounds),
        ],
    );
    let head = [numbers([0, 0, 0, 1000, SECONDS * 1000]), vec![0; 80]].concat();
    let movie = boxed(b"moov", &[&boxed(b"mvhd", &[&head]), &video, &audio]);
    (movie, at)
}

/// Its media is a hole, which takes no room.
fn make(path: &std::path::Path) {
    let kind = boxed(b"ftyp", &[b"isom\0\0\0\0isom"]);
    let (movie_, _) = movie(0);
    let begins = (kind.len() + movie_.len() + 16) as u64;
    let (movie, end) = movie(begins);
    assert_eq!(movie.len(), movie_.len());
    let mut file = BufWriter::new(File::create(path).unwrap());
    file.write_all(&kind).unwrap();
    file.write_all(&movie).unwrap();
    let length = end - begins + 16;
    file.write_all(b"\0\0\0\x01mdat").unwrap();
    file.write_all(&length.to_be_bytes()).unwrap();
    file.seek(SeekFrom::Start(end)).unwrap();
    let file = file.into_inner().unwrap();
    file.set_len(end).unwrap();
    assert!(end > 4_000_000_000, "{end}");
}

/// Resident memory at its highest, KiB.
fn highest_memory(daemon: &Daemon) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.child.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number.and_then(|n| n.parse().ok()).unwrap()
}

#[test]
fn a_large_film_is_opened_in_little_memory_and_sought_in_at_once() {
    let daemon = Daemon::start("ahead = \"2s\"\n");
    make(&daemon.dir.path().join("large.mp4"));
    let mut player = Player::new(&daemon);
    let mut length = |name: &str, transaction: f64| {
        let call = Command::call("getStreamLength", transaction, vec![name.into()]);
        let begun = Instant::now();
        player.say(0, &call);
        let seconds = player.answer(transaction).number(0).unwrap();
        (seconds, begun.elapsed())
    };
    length("film", 10.0);
    let before = highest_memory(&daemon);
    let (seconds, took) = length("mp4:large", 11.0);
    let grown = highest_memory(&daemon).saturating_sub(before);
    println!("opened in {took:?} with {grown} KiB");
    assert!((seconds - f64::from(SECONDS)).abs() < 0.2, "{seconds}");
    assert!(grown < 16 << 10, "{grown} KiB");

    player.play(vec!["mp4:large".into()]);
    player.until(code::PLAY_START);
    let mut all = Vec::new();
    for number in 0..200_u32 {
        // Here and there: a step that has nothing in common with the length.
        let to = number * 2_654_435 % (SECONDS * 1000 - 20_000);
        let begun = Instant::now();
        player.tell("seek", vec![f64::from(to).into()]);
        player.codes.push(String::new());
        player.until(code::SEEK_NOTIFY);
        player.media.clear();
        let begins = |m: &Message| m.kind == kind::VIDEO && m.payload[1] == 1;
        while !player.media.iter().any(begins) {
            let message = player.next(PATIENCE).expect("a picture");
            player.take(message);
        }
        all.push(begun.elapsed());
        let first = player.media.iter().find(|m| begins(m)).unwrap();
        assert_eq!(first.payload[0], 0x17, "a key frame");
        assert_eq!(first.timestamp, to / 2000 * 2000, "the one before {to}");
    }
    all.sort();
    println!(
        "sought in {:?} at the median, {:?} at most",
        all[100], all[199]
    );
    let grown = highest_memory(&daemon).saturating_sub(before);
    assert!(grown < 32 << 10, "{grown} KiB with a play");
}
