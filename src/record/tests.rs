//! A recorder on streams of the demo's programme.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use super::*;
use crate::bridge::inspect;
use crate::bridge::recording::Format;
use crate::flv;
use crate::index::Index;
use crate::media::{Kind, StreamName};
use crate::relay::{Claim, HubConfig, NoWake, Publisher};
use crate::telemetry::health::Health;

struct World {
    dir: tempfile::TempDir,
    hub: Arc<Hub>,
    health: Arc<Health>,
    recorder: Arc<Recorder>,
}

impl World {
    fn new(change: impl FnOnce(&mut RecordConfig)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let hub = Hub::new(HubConfig::default());
        let health = Arc::new(Health::new());
        let mut config = RecordConfig::nothing(dir.path().to_owned());
        config.min_free = 0;
        change(&mut config);
        let recorder = Recorder::new(&hub, RecordFigures::default(), &health, config);
        Self {
            dir,
            hub,
            health,
            recorder,
        }
    }

    fn publish(&self) -> Publisher {
        let claim = Claim::of_a_test(1);
        let name = name();
        self.hub.publish(&name, claim, Instant::now(), 0).unwrap()
    }

    /// What a publisher that says so is told.
    fn asks(&self, publisher: &Publisher, asked: Asked) -> Handle {
        let published = self
            .recorder
            .published(publisher.stream(), asked, Arc::new(NoWake));
        match published {
            Published::Recording(handle) => handle,
            other => panic!("{other:?}"),
        }
    }

    /// Ends all that goes on.
    fn finish(&self) {
        assert_eq!(self.recorder.finish(Duration::from_secs(30)), 0);
    }

    fn files(&self) -> Vec<String> {
        let mut found = Vec::new();
        walk(self.dir.path(), self.dir.path(), &mut found);
        found.sort();
        found
    }

    fn index(&self, file: &str) -> Index {
        Index::of(&fs::read(self.dir.path().join(file)).unwrap())
    }

    fn until(&self, what: &str, is: impl Fn(&[RecordingNow]) -> bool) {
        let begun = Instant::now();
        while !is(&self.recorder.list()) {
            assert!(begun.elapsed() < Duration::from_secs(30), "{what}");
            std::thread::yield_now();
        }
    }
}

fn name() -> StreamName {
    StreamName::new("live", "event").unwrap()
}

fn walk(root: &Path, folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(root, &path, found);
        } else {
            let name = path.strip_prefix(root).unwrap();
            found.push(name.to_str().unwrap().to_owned());
        }
    }
}

fn pictures(index: &Index) -> usize {
    let all = (0..index.len()).filter_map(|at| index.sample(at));
    all.filter(|s| s.kind() == Kind::Video && !s.is_header())
        .count()
}

/// Sends the programme, `shift` ms later, all at once.
fn send(publisher: &mut Publisher, shift: u32) {
    let mut input: &[u8] = include_bytes!("../demo/programme.flv");
    let mut reader = flv::Reader::new(flv::ReaderLimits::default());
    while let Some(tag) = reader.feed(&mut input).unwrap() {
        let parts = inspect(tag.kind, tag.timestamp + shift, tag.payload).unwrap();
        publisher.push(parts, Instant::now()).unwrap();
    }
}

#[test]
fn the_rule_records_what_it_means_and_nothing_else() {
    for format in [Format::Flv, Format::Mp4] {
        let world = World::new(|config| {
            config.streams = vec!["live/ev*".parse().unwrap()];
            config.format = format;
            config.name = "{app}/{stream}".parse().unwrap();
        });
        let mut publisher = world.publish();
        let other = StreamName::new("live", "other").unwrap();
        let claim = Claim::of_a_test(2);
        let _other = world.hub.publish(&other, claim, Instant::now(), 0);
        send(&mut publisher, 0);
        world.recorder.look();
        world.recorder.look();
        assert_eq!(world.recorder.list().len(), 1);
        world.finish();
        let file = format!("live/event.{}", format.as_str());
        assert_eq!(world.files(), [&*file]);
        let index = world.index(&file);
        assert_eq!(pictures(&index), 200, "{format:?}");
        assert!((7900..8100).contains(&index.duration));
    }
}

#[test]
fn names_that_are_taken_get_numbers() {
    let world = World::new(|config| config.publishers = true);
    fs::write(world.dir.path().join("event.flv"), "somebody's").unwrap();
    fs::write(world.dir.path().join("event.1.flv"), "somebody else's").unwrap();
    let mut publisher = world.publish();
    send(&mut publisher, 0);
    let handle = world.asks(&publisher, Asked::File);
    world.until("it records", |all| all[0].state == State::Recording);
    assert_eq!(handle.news(), [News::Started]);
    assert!(handle.finish());
    world.finish();
    assert_eq!(world.files(), ["event.1.flv", "event.2.flv", "event.flv"]);
    let read = |file: &str| fs::read(world.dir.path().join(file)).unwrap();
    assert_eq!(read("event.1.flv"), b"somebody else's");
    assert_eq!(read("event.2.flv"), b"somebody's");
    assert_eq!(pictures(&world.index("event.flv")), 200);
}

#[test]
fn a_publisher_that_comes_back_goes_on_in_its_file() {
    let world = World::new(|config| config.publishers = true);
    let mut publisher = world.publish();
    send(&mut publisher, 0);
    let handle = world.asks(&publisher, Asked::File);
    world.until("it records", |all| all[0].state == State::Recording);
    // Cut off, and back.
    drop((handle, publisher));
    let mut publisher = world.publish();
    let handle = world.asks(&publisher, Asked::File);
    send(&mut publisher, 60_000);
    assert_eq!(world.recorder.list().len(), 1);
    assert!(handle.finish());
    world.finish();
    assert_eq!(world.files(), ["event.flv"]);
    assert_eq!(pictures(&world.index("event.flv")), 400);
}

#[test]
fn a_publisher_that_records_again_has_its_own_session_alone() {
    let world = World::new(|config| config.publishers = true);
    for id in 1..=2 {
        // The stream waits in between, and its log has the first session.
        let claim = Claim::of_a_test(id);
        let publisher = world.hub.publish(&name(), claim, Instant::now(), 0);
        let mut publisher = publisher.unwrap();
        let handle = world.asks(&publisher, Asked::File);
        // As a rule it looks before the first frame comes, a moment later.
        let asked = Instant::now();
        while asked.elapsed() < Duration::from_millis(50) {
            std::thread::yield_now();
        }
        send(&mut publisher, 0);
        world.until("it records", |all| all[0].state == State::Recording);
        assert!(handle.finish());
        world.until("it ends", <[_]>::is_empty);
    }
    assert_eq!(world.files(), ["event.1.flv", "event.flv"]);
    for file in ["event.1.flv", "event.flv"] {
        assert_eq!(pictures(&world.index(file)), 200, "{file}");
    }
}

/// One after the other, as publishers that append.
fn append(world: &World) {
    let mut publisher = world.publish();
    send(&mut publisher, 0);
    let handle = world.asks(&publisher, Asked::Append);
    world.until("it records", |all| all[0].state == State::Recording);
    assert!(handle.finish());
    publisher.end();
    world.until("it ends", <[_]>::is_empty);
}

#[test]
fn append_goes_on_behind_what_is_there_whole_or_not() {
    for (format, cut) in [Format::Flv, Format::Mp4]
        .into_iter()
        .flat_map(|format| [0, 1, 777].map(|cut| (format, cut)))
    {
        let world = World::new(|config| {
            config.publishers = true;
            config.format = format;
        });
        append(&world);
        let name = format!("event.{}", format.as_str());
        let path = world.dir.path().join(&name);
        let length = fs::metadata(&path).unwrap().len();
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_len(length - cut).unwrap();
        append(&world);
        assert_eq!(world.files(), [&*name], "{cut}");
        let index = world.index(&name);
        assert!(!index.cut, "{cut}");
        let lost = match (format, cut) {
            (_, 0) => 0,
            (Format::Flv, _) => 1,
            (Format::Mp4, _) => 8, // a fragment of a quarter of a second
        };
        let pictures = pictures(&index);
        assert!((400 - lost..=400).contains(&pictures), "{cut}: {pictures}");
        let times: Vec<u32> = (0..index.len())
            .filter_map(|at| index.sample(at))
            .filter(|s| s.kind() == Kind::Video)
            .map(|s| s.time())
            .collect();
        assert!(times.is_sorted(), "{cut}");
        assert!(
            (15_600..16_200).contains(&index.duration),
            "{}",
            index.duration
        );
    }
}

#[test]
fn a_publisher_gets_the_format_of_the_configuration() {
    let world = World::new(|config| {
        config.publishers = true;
        config.format = Format::Mp4;
    });
    let mut publisher = world.publish();
    send(&mut publisher, 0);
    let handle = world.asks(&publisher, Asked::File);
    world.until("it records", |all| all[0].state == State::Recording);
    assert!(handle.finish());
    world.finish();
    assert_eq!(world.files(), ["event.mp4"]);
    assert_eq!(pictures(&world.index("event.mp4")), 200);
}

#[test]
fn append_leaves_alone_what_it_cannot_go_on_with() {
    let world = World::new(|config| {
        config.publishers = true;
        config.format = Format::Mp4;
    });
    fs::write(world.dir.path().join("event.mp4"), "somebody's film").unwrap();
    append(&world);
    append(&world);
    assert_eq!(
        world.files(),
        ["event.1.mp4", "event.2.mp4", "event.mp4"],
        "each is whole by itself"
    );
    let film = fs::read(world.dir.path().join("event.mp4")).unwrap();
    assert_eq!(film, b"somebody's film");
    for file in ["event.1.mp4", "event.2.mp4"] {
        assert_eq!(pictures(&world.index(file)), 200);
    }
}

#[test]
fn nothing_is_recorded_for_a_publisher_unless_it_may() {
    let world = World::new(|_| ());
    let publisher = world.publish();
    let stream = publisher.stream();
    let published = world
        .recorder
        .published(stream, Asked::File, Arc::new(NoWake));
    assert!(matches!(published, Published::Refused(_)), "{published:?}");
    assert!(world.files().is_empty());
}

#[test]
fn files_end_with_their_length() {
    let world = World::new(|config| {
        config.streams = vec!["*".parse().unwrap()];
        config.name = "{stream}.{part}".parse().unwrap();
        config.length = Some(Duration::from_secs(3));
    });
    let mut publisher = world.publish();
    send(&mut publisher, 0);
    world.recorder.look();
    let third = world.dir.path().join("event.3.flv");
    let has_all = |bytes: &Vec<u8>| bytes.len() > 1000 && pictures(&Index::of(bytes)) == 50;
    world.until("all is written", |all| {
        all[0].files == 3 && fs::read(&third).is_ok_and(|bytes| has_all(&bytes))
    });
    // Another format from the next key frame on.
    let mut config = (*world.recorder.config()).clone();
    config.format = Format::Mp4;
    world.recorder.set_config(config);
    world.recorder.look();
    send(&mut publisher, 8000);
    world.finish();
    let files = world.files();
    assert_eq!(files[..3], ["event.1.flv", "event.2.flv", "event.3.flv"]);
    assert_eq!(files[3..], ["event.4.mp4", "event.5.mp4", "event.6.mp4"]);
    let of: Vec<usize> = files.iter().map(|f| pictures(&world.index(f))).collect();
    assert_eq!(of, [75, 75, 50, 75, 75, 50]);
}

#[test]
fn files_end_with_their_size() {
    for format in [Format::Flv, Format::Mp4] {
        let most = 90_000;
        let world = World::new(|config| {
            config.streams = vec!["*".parse().unwrap()];
            config.format = format;
            config.name = "{stream}.{part}".parse().unwrap();
            config.size = Some(most);
        });
        let mut publisher = world.publish();
        send(&mut publisher, 0);
        send(&mut publisher, 8000);
        world.recorder.look();
        world.finish();
        let files = world.files();
        assert!(files.len() > 2, "{files:?}");
        let mut all = 0;
        for (at, file) in files.iter().enumerate() {
            let number = at + 1;
            assert_eq!(*file, format!("event.{number}.{}", format.as_str()));
            let index = world.index(file);
            let first = (0..index.len()).filter_map(|at| index.sample(at));
            let first = first
                .into_iter()
                .find(|s| s.kind() == Kind::Video && !s.is_header());
            assert!(first.unwrap().is_key(), "{file}");
            all += pictures(&index);
            // To the key frame behind it, which comes each second.
            let length = fs::metadata(world.dir.path().join(file)).unwrap().len();
            let is_last = number == files.len();
            assert!(is_last || length >= most, "{file}: {length}");
            assert!(length < most + 60_000, "{file}: {length}");
        }
        assert_eq!(all, 400, "none is lost, and none there twice");
    }
}

#[test]
fn a_publisher_replaces_its_file_where_that_is_wanted() {
    for (replace, left) in [
        (true, &["event.flv"][..]),
        (false, &["event.1.flv", "event.flv"]),
    ] {
        let world = World::new(|config| {
            config.publishers = true;
            config.replace = replace;
        });
        fs::write(world.dir.path().join("event.flv"), "the one before").unwrap();
        let mut publisher = world.publish();
        send(&mut publisher, 0);
        let handle = world.asks(&publisher, Asked::File);
        world.until("it records", |all| all[0].state == State::Recording);
        assert!(handle.finish());
        world.finish();
        assert_eq!(world.files(), left, "replace = {replace}");
        assert_eq!(pictures(&world.index("event.flv")), 200);
    }
}

#[test]
fn a_folder_that_is_not_there_is_told_and_the_stream_goes_on() {
    let world = World::new(|config| {
        config.streams = vec!["*".parse().unwrap()];
        config.folder.push("gone");
    });
    let mut publisher = world.publish();
    send(&mut publisher, 0);
    world.recorder.look();
    world.until("it failed", |all| matches!(all[0].state, State::Failed(_)));
    let begun = Instant::now();
    while world.health.notes().is_empty() && begun.elapsed() < Duration::from_secs(30) {}
    let notes = world.health.notes();
    assert!(notes[0].starts_with("recording: live/event: "), "{notes:?}");
    send(&mut publisher, 8000);
    world.finish();
    assert!(world.health.notes().is_empty());
}

#[test]
fn a_folder_that_takes_no_file_is_told_before_there_is_one() {
    let of = |folder: &Path, publishers| {
        let mut config = RecordConfig::nothing(folder.to_owned());
        config.publishers = publishers;
        config
            .trouble()
            .map(|trouble| (trouble.code(), trouble.to_string()))
    };
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(of(dir.path(), true), None);
    let gone = dir.path().join("gone");
    assert_eq!(of(&gone, false), None, "nobody wants any");
    let (code, told) = of(&gone, true).unwrap();
    assert_eq!(code, "recording-folder-missing");
    assert!(
        told.contains("gone: ") && told.contains("record.folder"),
        "{told}"
    );
    // Whoever runs this: nobody makes files there.
    let (code, told) = of(Path::new("/proc/self"), true).unwrap();
    assert_eq!(code, "recording-denied", "{told}");
}

#[test]
fn the_floor_of_free_space_is_kept() {
    let world = World::new(|config| {
        config.publishers = true;
        config.min_free = u64::MAX;
    });
    let mut publisher = world.publish();
    send(&mut publisher, 0);
    let handle = world.asks(&publisher, Asked::File);
    world.until("it failed", |all| matches!(all[0].state, State::Failed(_)));
    let begun = Instant::now();
    let mut news = handle.news();
    while news.is_empty() && begun.elapsed() < Duration::from_secs(30) {
        news = handle.news();
    }
    assert!(matches!(&news[..], [News::NoAccess(_)]), "{news:?}");
    assert!(!handle.finish());
    world.finish();
    assert!(world.files().is_empty(), "{:?}", world.files());
}

#[test]
fn what_a_crash_left_is_mended_at_the_next_start() {
    for format in [Format::Flv, Format::Mp4] {
        let world = World::new(|config| {
            config.streams = vec!["*".parse().unwrap()];
            config.format = format;
            config.name = "{stream}".parse().unwrap();
        });
        let mut publisher = world.publish();
        send(&mut publisher, 0);
        world.recorder.look();
        world.finish();
        let name = format!("event.{}", format.as_str());
        let path = world.dir.path().join(&name);
        let whole = fs::read(&path).unwrap();
        let unfinished = world.dir.path().join(".unfinished");
        for cut in [0, 1, 100, 9000, whole.len() - 40_000] {
            for garbage in [0, 5000] {
                let mut bytes = whole[..whole.len() - cut].to_vec();
                bytes.resize(bytes.len() + garbage, 0);
                if format == Format::Flv {
                    let at = usize::try_from(crate::bridge::recording::DURATION_AT).unwrap();
                    bytes[at..at + 8].fill(0);
                }
                fs::write(&path, &bytes).unwrap();
                fs::create_dir_all(&unfinished).unwrap();
                fs::write(unfinished.join("1"), &name).unwrap();
                fs::write(unfinished.join("2"), "../outside.flv").unwrap();
                unfinished::mend_all(world.dir.path());
                assert_eq!(fs::read_dir(&unfinished).unwrap().count(), 0);
                let mended = fs::read(&path).unwrap();
                assert!(
                    mended.len() <= whole.len(),
                    "what is beyond was never its own"
                );
                let index = Index::of(&mended);
                assert!(!index.cut, "{format:?} {cut} {garbage}");
                if format == Format::Flv && index.duration > 0 {
                    let at = usize::try_from(crate::bridge::recording::DURATION_AT).unwrap();
                    let seconds = f64::from_be_bytes(mended[at..at + 8].try_into().unwrap());
                    #[expect(clippy::cast_precision_loss, reason = "a few seconds")]
                    let expected = index.duration as f64 / 1000.0;
                    assert!((seconds - expected).abs() < 0.1, "{seconds} {expected}");
                }
            }
        }
    }
}
