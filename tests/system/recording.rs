//! Recordings: what is in the files, however they ended, and what the stream noticed (nothing).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use crtmpserver::flv;
use crtmpserver::limits::Limits;
use crtmpserver::rtmp::client::{ClientConfig, Event};
use crtmpserver::rtmp::handshake::ClientMode;
use crtmpserver::rtmp::server::PublishKind;
use crtmpserver::rtmp_client::Session;
use nix::sys::signal::Signal;

use crate::daemon::{Server, binary};
use crate::media::{Packets, programme};
use crate::programs::{publish, watch, watched};
use crate::viewer::{Tag, Viewer};
use crate::world::{World, get, pause, wait_for};

const LIMIT: Duration = Duration::from_secs(60);

/// A server that records into a folder, which is one of its media folders, too.
fn recording(world: &World, name: &str, more: &str) -> (Server, PathBuf) {
    let folder = world.path("recordings");
    fs::create_dir_all(&folder).unwrap();
    (Server::start(world, name, &keys(&folder, more)), folder)
}

pub(crate) fn keys(folder: &Path, more: &str) -> String {
    format!(
        "[relay]\ngrace = \"2s\"\n[files]\nfolders = [{folder:?}]\n[record]\nfolder = {folder:?}\nmin_free = \"0B\"\n{more}"
    )
}

/// The files of a folder that are seen, by name.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let hidden = entry.file_name().to_string_lossy().starts_with('.');
        let path = entry.path();
        match path.is_dir() {
            true if !hidden => found.extend(files(&path)),
            false if !hidden => found.push(path),
            _ => {}
        }
    }
    found.sort();
    found
}

fn until_recorded(server: &Server, bytes: f64) {
    wait_for("something is recorded", || {
        (server.metric("crtmpserver_recorded_bytes_total", "") >= bytes).then_some(())
    });
}

fn until_finished(server: &Server) {
    wait_for("no recording goes on", || {
        (server.metric("crtmpserver_recordings", "") == 0.0).then_some(())
    });
}

/// What ffprobe says that a file lasts, seconds.
fn duration(world: &World, file: &Path) -> f64 {
    let mut command = Command::new("ffprobe");
    command
        .args(["-v", "error", "-show_entries", "format=duration"])
        .args(["-of", "csv=p=0"])
        .arg(file);
    let ended = world.run("ffprobe", &mut command, LIMIT);
    assert!(ended.status.success(), "{}: {}", file.display(), ended.err);
    // Its log has what it said of other files, too.
    let last = ended.out.lines().last().unwrap_or_default();
    last.trim().parse().unwrap_or_default()
}

/// All of the sent packets from the first one on.
fn assert_from_the_beginning(file: &Packets, source: &Packets, least: usize) {
    file.assert_part_of(source, least);
    assert_eq!(file.video.packets[0], source.video.packets[0]);
}

pub(crate) fn the_rule_records_every_packet(world: &World) {
    let source = Packets::of_file(world, "ffmpeg", "source", &programme());
    for format in ["flv", "mp4"] {
        let rule = format!(
            "streams = [\"live/*\"]\nformat = {format:?}\nname = \"{{app}}/{{stream}}-{format}\"\n"
        );
        let (mut server, folder) = recording(world, format, &rule);
        let url = server.rtmp_url("live/event");
        let mut encoder = publish(world, &format!("encoder-{format}"), &programme(), &url);
        server.wait_live("live/event");
        let viewer = watch(world, &format!("viewer-{format}"), &url);
        let file = folder.join(format!("live/event-{format}.{format}"));
        // It can be played while it is being made.
        until_recorded(&server, 100_000.0);
        let name = format!("while-{format}");
        Packets::of_file(world, "ffmpeg", &name, &file).assert_part_of(&source, 50);
        let seen = watched(&viewer, 220).video.packets.len();
        encoder.signal(Signal::SIGINT);
        encoder.wait(LIMIT);
        until_finished(&server);
        let packets = Packets::of_file(world, "ffmpeg", &format!("done-{format}"), &file);
        assert_from_the_beginning(&packets, &source, seen);
        #[expect(clippy::cast_precision_loss, reason = "some hundreds")]
        let seconds = packets.video.packets.len() as f64 / 25.0;
        let told = duration(world, &file);
        assert!(
            (told - seconds).abs() < 0.3,
            "{told} for {seconds} s of {format}"
        );
        // The recordings are media files.
        let played = watch(
            world,
            &format!("played-{format}"),
            &server.rtmp_url(&format!("vod/{format}:live/event-{format}")),
        );
        watched(&played, seen).assert_part_of(&source, seen);
        server.process.signal(Signal::SIGTERM);
        server.process.wait(LIMIT);
    }
}

/// When each picture of a file is decoded, ms, as ffprobe finds them.
pub(crate) fn probe(world: &World, name: &str, file: &Path) -> Vec<i64> {
    let mut command = Command::new("ffprobe");
    command
        .args(["-v", "error", "-select_streams", "v"])
        .args(["-show_entries", "packet=dts_time", "-of", "csv=p=0"])
        .arg(file);
    let ended = world.run(name, &mut command, LIMIT);
    let seconds = |line: &str| line.trim_end_matches(',').parse::<f64>().ok();
    #[expect(clippy::cast_possible_truncation, reason = "some seconds")]
    let ms = |seconds: f64| (seconds * 1000.0).round() as i64;
    let times: Vec<i64> = ended.out.lines().filter_map(seconds).map(ms).collect();
    assert!(
        ended.status.success() && !times.is_empty(),
        "{}: {}",
        file.display(),
        ended.err
    );
    times
}

/// A small generator, so that a failure can be had again.
pub(crate) struct Dice(u64);

impl Dice {
    /// Of `TEST_SEED`, or any.
    pub(crate) fn new() -> (Self, u64) {
        let seed = std::env::var("TEST_SEED").ok().and_then(|s| s.parse().ok());
        let seed = seed.unwrap_or(u64::from(std::process::id()));
        (Self(seed), seed)
    }

    pub(crate) fn roll(&mut self, below: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % below
    }
}

/// The time of the newest picture.
pub(crate) fn newest(tags: Vec<Tag>) -> u32 {
    let pictures = tags.into_iter().filter(Tag::is_picture);
    pictures.map(|t| t.time).max().unwrap_or_default()
}

pub(crate) fn killed_at_any_moment(world: &World) {
    let source = Packets::of_file(world, "ffmpeg", "source", &programme());
    let (mut dice, seed) = Dice::new();
    let folder = world.path("recordings");
    for round in 0..8 {
        let format = if round % 2 == 0 { "flv" } else { "mp4" };
        let rule =
            format!("streams = [\"*\"]\nformat = {format:?}\nname = \"{{stream}}-{round}\"\n");
        let (mut server, _) = recording(world, &format!("server-{round}"), &rule);
        let name = format!("encoder-{round}");
        let _encoder = publish(world, &name, &programme(), &server.rtmp_url("live/event"));
        server.wait_live("live/event");
        let viewer = Viewer::open(world, &format!("viewer-{round}"), server.http, "live/event");
        viewer.wait_pictures(30);
        pause(dice.roll(4000));
        // What a viewer has had by now was sent more than a moment ago.
        let sent = newest(viewer.tags());
        server.process.kill();
        let file = folder.join(format!("event-{round}.{format}"));
        let check = |what: &str| {
            let name = format!("{what}-{round}");
            let packets = Packets::of_file(world, "ffmpeg", &name, &file);
            let pictures = packets.video.packets.len();
            let last = u32::try_from(*packets.video.times.last().unwrap()).unwrap();
            assert!(
                last + 1000 >= sent,
                "seed {seed}, {what} of round {round}: {last} ms of {sent} ms are there"
            );
            (packets, pictures)
        };
        let (_, before) = check("killed");
        // It opens before anybody mended it, with what was written of its length.
        probe(world, &format!("probed-{round}"), &file);
        // The next start makes it whole to the last byte, and tells how long it is.
        let mut server = Server::start(world, &format!("again-{round}"), &keys(&folder, ""));
        wait_for("it is mended", || {
            server
                .process
                .said()
                .contains("recording-mended")
                .then_some(())
        });
        let (packets, pictures) = check("mended");
        assert!(pictures + 1 >= before, "{pictures} of {before}");
        assert_from_the_beginning(&packets, &source, 25);
        let told = duration(world, &file);
        let last = *packets.video.times.last().unwrap();
        #[expect(clippy::cast_precision_loss, reason = "some seconds")]
        let last = last as f64 / 1000.0;
        assert!(
            (told - last).abs() < 0.3,
            "{told} s, and the last picture at {last} s"
        );
        server.process.kill();
    }
}

pub(crate) fn a_full_disk_stops_the_recording_alone(world: &World) {
    let folder = world.path("disk");
    fs::create_dir_all(&folder).unwrap();
    // The floor below, and the very end of the disk.
    for (name, floor, code) in [
        ("floor", "256KiB", "recording-disk-full"),
        ("end", "0B", "recording-disk-full"),
    ] {
        let keys =
            format!("[record]\nfolder = {folder:?}\nstreams = [\"*\"]\nmin_free = {floor:?}\n");
        // The server is alone with a disk of one megabyte.
        let script = world.write(
            &format!("{name}.sh"),
            &format!(
                "#!/bin/sh\nmount -t tmpfs -o size=1m tmpfs {} && exec {} \"$@\"\n",
                folder.display(),
                binary().display()
            ),
        );
        let wrapper = world.write(
            &format!("{name}-unshare.sh"),
            &format!(
                "#!/bin/sh\nexec unshare -m sh {} \"$@\"\n",
                script.display()
            ),
        );
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(&wrapper, mode).unwrap();
        let server = Server::launch(world, name, &wrapper, &keys);
        server.wait_ready();
        let url = server.rtmp_url("live/event");
        let _encoder = publish(world, &format!("encoder-{name}"), &programme(), &url);
        server.wait_live("live/event");
        let viewer = Viewer::open(world, &format!("viewer-{name}"), server.http, "live/event");
        crate::world::wait_within(Duration::from_secs(180), "the disk is full", || {
            (server.metric("crtmpserver_recordings_failing", "") > 0.0).then_some(())
        });
        // Nobody who watches noticed, and the server is well.
        viewer.wait_more(50);
        viewer.assert_sane();
        let numbers = viewer.numbers(world);
        assert!(numbers.windows(2).all(|w| w[1] == (w[0] + 1) % 200));
        assert_eq!(get(server.http, "/healthz").unwrap().0, 200);
        let said = server.process.said();
        assert!(said.contains(code), "{said}");
        // What is there is whole.
        let root = PathBuf::from(format!("/proc/{}/root", server.process.pid()));
        let inside = root.join(folder.strip_prefix("/").unwrap()).join("live");
        let recorded = files(&inside);
        let source = Packets::of_file(world, "ffmpeg", &format!("source-{name}"), &programme());
        let packets = Packets::of_file(world, "ffmpeg", &format!("{name}-file"), &recorded[0]);
        assert_from_the_beginning(&packets, &source, 400);
        // There is room again, and it goes on by itself in another file.
        for file in &recorded {
            fs::remove_file(file).unwrap();
        }
        wait_for("it records again", || {
            (server.metric("crtmpserver_recordings", "") == 1.0
                && server.metric("crtmpserver_recordings_failing", "") == 0.0)
                .then_some(())
        });
    }
}

/// The program with a library of `tests/system` in front of the system's, which finds a path in a variable.
pub(crate) fn preloaded(world: &World, library: &str, variable: &str, path: &Path) -> PathBuf {
    let shim = world.path(&format!("{library}.so"));
    let source = format!("tests/system/{library}.c");
    let mut compile = Command::new("cc");
    compile
        .args(["-shared", "-fPIC", "-O2", "-o"])
        .arg(&shim)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(source))
        .arg("-ldl");
    let made = world.run("shim", &mut compile, LIMIT);
    assert!(made.status.success(), "{}", made.err);
    let wrapper = world.write(
        &format!("{library}.sh"),
        &format!(
            "#!/bin/sh\nexport LD_PRELOAD={} {variable}={}\nexec {} \"$@\"\n",
            shim.display(),
            path.display(),
            binary().display()
        ),
    );
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&wrapper, mode).unwrap();
    wrapper
}

/// A server whose disk stands still for as long as a file is there: the answer's second part.
fn with_still_disk(world: &World, keys: &str) -> (Server, PathBuf) {
    let flag = world.path("still");
    let wrapper = preloaded(world, "still-disk", "STILL_FLAG", &flag);
    let server = Server::launch(world, "server", &wrapper, keys);
    server.wait_ready();
    (server, flag)
}

pub(crate) fn a_disk_that_stands_still_costs_its_recording_alone(world: &World) {
    let folder = world.path("recordings");
    fs::create_dir_all(&folder).unwrap();
    let keys = format!(
        "[relay]\nlog_time = \"5s\"\n[record]\nfolder = {folder:?}\nmin_free = \"0B\"\nstreams = [\"*\"]\n"
    );
    let (mut server, flag) = with_still_disk(world, &keys);
    let url = server.rtmp_url("live/event");
    let encoder = publish(world, "encoder", &programme(), &url);
    server.wait_live("live/event");
    let viewer = Viewer::open(world, "viewer", server.http, "live/event");
    until_recorded(&server, 200_000.0);
    let written = |server: &Server| server.metric("crtmpserver_recorded_bytes_total", "");
    let memory = server.process.memory();
    fs::write(&flag, "").unwrap();
    viewer.wait_more(15); // what was on its way to the disk
    let before = written(&server);
    // Twice as long as the log reaches back: the stream goes on, and nothing piles up.
    viewer.wait_more(250);
    assert!(
        (written(&server) - before).abs() < 1.0,
        "it was to stand still"
    );
    viewer.assert_sane();
    let numbers = viewer.numbers(world);
    assert!(numbers.windows(2).all(|w| w[1] == (w[0] + 1) % 200));
    assert_eq!(get(server.http, "/healthz").unwrap().0, 200);
    let grown = server.process.memory().saturating_sub(memory);
    assert!(grown < 16 << 10, "{grown} KiB more");
    fs::remove_file(&flag).unwrap();
    wait_for("what is lost is told", || {
        (server.metric("crtmpserver_recording_frames_lost_total", "") > 0.0).then_some(())
    });
    let said = server.process.said();
    assert!(said.contains("recording-late"), "{said}");
    until_recorded(&server, before + 200_000.0);
    // The same file goes on with a key frame, and is whole.
    drop(encoder);
    let first = files(&folder.join("live")).remove(0);
    // A server that is to stop does not wait for such a disk either.
    fs::write(&flag, "").unwrap();
    server.process.signal(Signal::SIGTERM);
    assert!(server.process.wait(LIMIT).success());
    let recorded = Packets::of_file(world, "ffmpeg", "file", &first);
    let source = Packets::of_file(world, "ffmpeg", "source", &programme());
    assert_eq!(recorded.video.packets[0], source.video.packets[0]);
    let gap = duration(world, &first);
    assert!(
        gap > 12.0,
        "its time goes on as the clock on the wall: {gap}"
    );
}

/// A publisher of the Flash era: it says how it wants to be kept, sends the programme once, as fast as it
/// can, and ends well. The answer are the codes that it was told.
fn publisher(server: &Server, name: &'static str, kind: PublishKind) -> Vec<String> {
    let address = format!("127.0.0.1:{}", server.rtmp);
    let (tell, told) = mpsc::channel();
    let thread: JoinHandle<()> = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let codes = runtime.block_on(publish_once(&address, name, kind));
        tell.send(codes).unwrap();
    });
    let codes = told.recv_timeout(LIMIT).expect("the publisher ends");
    thread.join().unwrap();
    codes
}

async fn publish_once(address: &str, name: &str, kind: PublishKind) -> Vec<String> {
    let config = ClientConfig {
        limits: Limits::default(),
        app: "live".to_owned(),
        tc_url: format!("rtmp://{address}/live"),
        flash_ver: "WIN 10,0,0,1".to_owned(),
        swf_url: None,
        page_url: None,
        extra: Vec::new(),
        encoder: false,
        relay: false,
        subscribe: false,
        chunk_size: 4096,
        window: 2_500_000,
        handshake: ClientMode::Digest,
        random: crtmpserver::system::random().unwrap(),
    };
    let mut session = Session::dial(address, config).await.unwrap();
    let mut codes = Vec::new();
    let mut stream = None;
    let mut sent = false;
    let more = Duration::from_millis(1500);
    loop {
        let event = match tokio::time::timeout(more, session.next()).await {
            Ok(Ok(event)) => event,
            Ok(Err(_)) => return codes,
            Err(_) if sent => return codes,
            Err(_) => {
                // Whatever was to be said of the beginning has been said.
                let Some(stream) = stream.take() else {
                    continue;
                };
                session.machine().delete_stream(stream);
                sent = true;
                continue;
            }
        };
        match event {
            Event::Connected { .. } => {
                session.machine().publish(name, kind).unwrap();
            }
            Event::PublishStarted { stream: id } => {
                stream = Some(id);
                let mut input: &[u8] = &fs::read(programme()).unwrap();
                let mut reader = flv::Reader::new(flv::ReaderLimits::default());
                while let Some(tag) = reader.feed(&mut input).unwrap() {
                    session
                        .machine()
                        .send_media(id, tag.kind, tag.timestamp, &tag.payload);
                }
            }
            Event::Status { info, .. } => {
                let code = info.get("code").and_then(|code| code.as_str());
                codes.push(code.unwrap_or_default().to_owned());
            }
            Event::PublishFailed { code, .. } => codes.push(format!("failed: {code}")),
            _ => {}
        }
    }
}

pub(crate) fn publishers_may_ask_for_it(world: &World) {
    let source = Packets::of_file(world, "ffmpeg", "source", &programme());
    publishers_ask(world, "flv", &source);
    publishers_ask(world, "mp4", &source);

    let (closed, folder) = recording(world, "closed", "");
    let before = files(&folder);
    let codes = publisher(&closed, "other", PublishKind::Record);
    assert!(
        codes.iter().any(|c| c == "NetStream.Record.NoAccess"),
        "{codes:?}"
    );
    assert!(!codes.iter().any(|c| c.starts_with("failed")), "{codes:?}");
    assert_eq!(files(&folder), before);
}

fn publishers_ask(world: &World, format: &str, source: &Packets) {
    let keys = format!("publishers = true\nformat = {format:?}\n");
    let (server, folder) = recording(world, &format!("open-{format}"), &keys);
    let pictures = |turn: i32, path: &Path| {
        let log = format!("{turn}-{}", path.file_name().unwrap().to_str().unwrap());
        let packets = Packets::of_file(world, "ffmpeg", &log, path);
        packets.assert_part_of(source, 200);
        packets.video.packets.len()
    };
    for (turn, kind, expected) in [
        (1, PublishKind::Record, &[("event", 200)][..]),
        // What was there is kept.
        (2, PublishKind::Record, &[("event.1", 200), ("event", 200)]),
        (3, PublishKind::Append, &[("event.1", 200), ("event", 400)]),
        (4, PublishKind::Live, &[("event.1", 200), ("event", 400)]),
    ] {
        let codes = publisher(&server, "event", kind);
        let began = codes.iter().any(|c| c == "NetStream.Record.Start");
        let ended = codes.iter().any(|c| c == "NetStream.Record.Stop");
        let wanted = kind != PublishKind::Live;
        assert_eq!((began, ended), (wanted, wanted), "turn {turn}: {codes:?}");
        until_finished(&server);
        let mut found = files(&folder);
        found.retain(|path| path.extension().is_some_and(|end| end == format));
        let names: Vec<PathBuf> = expected
            .iter()
            .map(|(name, _)| folder.join(format!("{name}.{format}")))
            .collect();
        assert_eq!(found, names, "turn {turn}");
        for (path, (_, count)) in found.iter().zip(expected) {
            assert_eq!(pictures(turn, path), *count, "{path:?} in turn {turn}");
        }
        // The stream is over before the next one: this is another recording.
        wait_for("the stream is over", || {
            let (_, page) = get(server.http, "/")?;
            (!page.contains("live/event")).then_some(())
        });
    }
    let name = format!("flvplayback/{format}:event");
    let played = watch(world, &format!("played-{format}"), &server.rtmp_url(&name));
    watched(&played, 390).assert_part_of(source, 390);
}

pub(crate) fn a_reload_changes_the_rule_and_no_stream(world: &World) {
    let (mut server, folder) = recording(world, "server", "");
    let url = server.rtmp_url("live/event");
    let _encoder = publish(world, "encoder", &programme(), &url);
    server.wait_live("live/event");
    let viewer = Viewer::open(world, "viewer", server.http, "live/event");
    viewer.wait_pictures(25);
    assert!(files(&folder).is_empty());
    let rtmp = server.rtmp;
    for (keys_, name) in [
        (
            "streams = [\"live/event\"]\nname = \"{stream}\"\n",
            "event.flv",
        ),
        (
            "streams = [\"live/event\"]\nname = \"{stream}\"\nformat = \"mp4\"\n",
            "event.mp4",
        ),
    ] {
        server.reload(world, &keys(&folder, keys_), rtmp);
        wait_for("the next file", || {
            (fs::metadata(folder.join(name)).ok()?.len() > 50_000).then_some(())
        });
    }
    server.reload(world, &keys(&folder, ""), rtmp);
    until_finished(&server);
    viewer.wait_more(25);
    viewer.assert_sane();
    let numbers = viewer.numbers(world);
    assert!(numbers.windows(2).all(|w| w[1] == (w[0] + 1) % 200));
    // The two files have all of it, and nothing twice.
    let of = |name: &str| Packets::of_file(world, "ffmpeg", name, &folder.join(name)).video;
    let (first, second) = (of("event.flv").packets, of("event.mp4").packets);
    let source = Packets::of_file(world, "ffmpeg", "source", &programme()).video;
    let at = |packet: &String| source.packets.iter().position(|p| p == packet).unwrap();
    let (last, next) = (at(first.last().unwrap()), at(&second[0]));
    assert_eq!(next, (last + 1) % source.packets.len());
}
