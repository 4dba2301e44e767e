//! HLS, as other people's players and parsers see it.

pub(super) mod mirrors;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::daemon::{Cluster, Server, mirror_binary, mirror_keys, secret, standalone};
use crate::media::{Packets, programme};
use crate::programs::{
    make_enhanced, make_opus, newer_ffmpeg, publish, publish_with, watch, watch_with, watched,
};
use crate::world::{World, connect, pause, wait_for, wait_within};

/// The python that has the m3u8 package, which `tests/run` gets from PyPI.
pub(crate) fn parser() -> String {
    std::env::var("TEST_M3U8")
        .unwrap_or_else(|_| format!("{}/target/m3u8/bin/python", env!("CARGO_MANIFEST_DIR")))
}

impl Server {
    fn hls_url(&self, stream: &str) -> String {
        format!("http://127.0.0.1:{}/{stream}.m3u8", self.http)
    }
}

/// An answer: status, head, body.
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// In small letters.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

fn ask(port: u16, method: &str, path: &str, fields: &str) -> Option<Answer> {
    let mut stream = connect(port);
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n{fields}\r\n"
    )
    .ok()?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).ok()?;
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
    Some(Answer {
        status: head.split(' ').nth(1)?.parse().ok()?,
        body: bytes[end + 4..].to_vec(),
        head,
    })
}

pub(crate) fn fetch(port: u16, path: &str) -> Answer {
    ask(port, "GET", path, "").expect("an answer")
}

/// A media playlist as these tests need it.
#[derive(Debug, Clone, Default)]
struct Playlist {
    text: String,
    first: u64,
    discontinuity: u64,
    /// Milliseconds.
    target: i64,
    /// Initialization segment and segment of each.
    segments: Vec<(String, String)>,
}

impl Playlist {
    fn read(port: u16) -> Option<Self> {
        let answer = ask(port, "GET", "/live/event/media.m3u8", "")?;
        let text = String::from_utf8(answer.body).ok()?;
        let value = |tag: &str| text.lines().find_map(|l| l.strip_prefix(tag)?.parse().ok());
        let mut list = Self {
            first: value("#EXT-X-MEDIA-SEQUENCE:")?,
            discontinuity: value("#EXT-X-DISCONTINUITY-SEQUENCE:")?,
            target: i64::try_from(value("#EXT-X-TARGETDURATION:")?).ok()? * 1000,
            ..Self::default()
        };
        let mut init = String::new();
        for line in text.lines() {
            if let Some(map) = line.strip_prefix("#EXT-X-MAP:URI=\"") {
                map.trim_end_matches('"').clone_into(&mut init);
            } else if !line.starts_with('#') && !line.is_empty() {
                list.segments.push((init.clone(), line.to_owned()));
            }
        }
        list.text = text;
        Some(list)
    }

    /// How far the end of its last segment is behind the clock on the wall, milliseconds.
    fn behind(&self) -> Option<i64> {
        let last = |tag: &str| self.text.lines().rev().find_map(|l| l.strip_prefix(tag));
        let mut command = Command::new("date");
        command.args(["-d", last("#EXT-X-PROGRAM-DATE-TIME:")?, "+%s%3N"]);
        let begun = command.output().ok()?.stdout;
        let begun: i64 = String::from_utf8(begun).ok()?.trim().parse().ok()?;
        let length: f64 = last("#EXTINF:")?.trim_end_matches(',').parse().ok()?;
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        #[expect(clippy::cast_possible_truncation, reason = "a few seconds")]
        let end = begun + (length * 1000.0) as i64;
        Some(i64::try_from(now.ok()?.as_millis()).ok()? - end)
    }

    fn last(&self) -> u64 {
        self.first + self.segments.len() as u64
    }
}

/// No more than two segments behind: what the encoder sends now is in the one after the next.
fn wait_near(port: u16) {
    wait_for("a playlist that is near", || {
        let list = Playlist::read(port)?;
        (list.behind()? < 2 * list.target).then_some(())
    });
}

/// Everything that a server was seen to serve, by name.
type Files = BTreeMap<String, Vec<u8>>;

/// Takes what the playlist names and is not there yet.
fn collect(port: u16, files: &mut Files) -> Playlist {
    let list = wait_for("a playlist", || Playlist::read(port));
    for (init, segment) in &list.segments {
        for name in [init, segment] {
            if !files.contains_key(name) {
                let answer = fetch(port, &format!("/live/event/{name}"));
                if answer.status == 200 {
                    files.insert(name.clone(), answer.body);
                }
            }
        }
    }
    list
}

/// How many segments two servers were both seen to serve; panics when one differs.
fn compare(one: &Files, other: &Files) -> usize {
    let mut same = 0;
    for (name, bytes) in one {
        if let Some(theirs) = other.get(name) {
            assert!(bytes == theirs, "{name} differs");
            same += usize::from(name.ends_with(".m4s"));
        }
    }
    same
}

pub(crate) fn ffmpeg_and_gstreamer_play_it(world: &World) {
    let source = Packets::of_file(world, "ffmpeg", "source", &programme());
    let server = standalone(world, "30s");
    let _encoder = publish(
        world,
        "encoder",
        &programme(),
        &server.rtmp_url("live/event"),
    );
    server.wait_live("live/event");
    // Nobody has waited for a segment yet: the playlist does.
    let url = server.hls_url("live/event");
    let ffmpeg = watch(world, "ffmpeg", &url);
    let (pictures, sounds) = (world.path("pictures.raw"), world.path("sounds.raw"));
    let into = |file: &Path| format!("location={}", file.display());
    let mut command = Command::new("gst-launch-1.0");
    command
        .args(["-q", "uridecodebin", "name=in", &format!("uri={url}")])
        .args([
            "in.",
            "!",
            "queue",
            "!",
            "videoconvert",
            "!",
            "videoscale",
            "!",
        ])
        .args(["video/x-raw,format=I420,width=64,height=36", "!"])
        .args(["filesink", "buffer-mode=unbuffered", &into(&pictures)])
        .args(["in.", "!", "queue", "!", "audioconvert", "!"])
        .args(["audio/x-raw,format=S16LE,channels=1", "!"])
        .args(["filesink", "buffer-mode=unbuffered", &into(&sounds)]);
    let gstreamer = world.start("gst", &mut command);
    let packets = watched(&ffmpeg, 250);
    packets.assert_part_of(&source, 250);
    assert!(packets.audio.packets.len() > 400);
    wait_within(Duration::from_secs(60), "GStreamer decodes both", || {
        let size = |file: &Path| std::fs::metadata(file).map_or(0, |m| m.len());
        let (picture, second) = (64 * 36 * 3 / 2, 48_000 * 2);
        (size(&pictures) >= 200 * picture && size(&sounds) >= 8 * second).then_some(())
    });
    // Both are viewers, and the page of figures says so.
    let viewers = server.metric("crtmpserver_viewers", "hls");
    assert!((viewers - 2.0).abs() < 0.1, "{viewers} viewers");
    let streams = server.metric("crtmpserver_hls_streams", "");
    assert!((streams - 1.0).abs() < 0.1, "packaged {streams} times");
    wait_near(server.http);
    drop((ffmpeg, gstreamer));
    wait_within(Duration::from_secs(60), "they are gone", || {
        (server.metric("crtmpserver_viewers", "hls") < 0.1).then_some(())
    });
    // And nothing is made for nobody.
    wait_within(Duration::from_secs(60), "packaging ends", || {
        let streams = server.metric("crtmpserver_hls_streams", "");
        let bytes = server.metric("crtmpserver_hls_bytes", "");
        (streams < 0.1 && bytes < 0.1).then_some(())
    });
}

/// What `playlists.py` found.
fn parsed(world: &World, name: &str, url: &str) -> Vec<Vec<String>> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/system/playlists.py");
    let mut command = Command::new(parser());
    command.arg(script).arg(url);
    let ended = world.run(name, &mut command, Duration::from_secs(60));
    assert!(ended.status.success(), "{}", ended.err);
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect();
    ended.out.lines().map(words).collect()
}

fn value<'a>(found: &'a [Vec<String>], name: &str) -> &'a str {
    let line = found.iter().find(|line| line[0] == name);
    line.map_or("", |line| &line[1])
}

/// Packets of a file as ffprobe reads them: kind, decoding time and duration in seconds, key or not.
fn probe(world: &World, name: &str, file: &Path) -> Vec<(String, f64, f64, bool)> {
    let mut command = Command::new("ffprobe");
    command
        .args(["-v", "error", "-show_entries"])
        .arg("packet=codec_type,dts_time,duration_time,flags")
        .args(["-of", "csv=p=0"])
        .arg(file);
    let ended = world.run(name, &mut command, Duration::from_secs(60));
    let complaints = ended.err.lines().filter(|l| !l.starts_with("$ ")).count();
    assert_eq!(complaints, 0, "{}", ended.err);
    let line = |line: &str| {
        let fields: Vec<&str> = line.split(',').collect();
        let number = |at: usize| fields[at].parse().unwrap();
        (
            fields[0].to_owned(),
            number(1),
            number(2),
            fields[3].starts_with('K'),
        )
    };
    ended.out.lines().map(line).collect()
}

pub(crate) fn independent_parsers_agree(world: &World) {
    let server = standalone(world, "30s");
    let url = server.rtmp_url("live/event");
    let mut encoder = publish(world, "encoder", &programme(), &url);
    server.wait_live("live/event");
    let found = parsed(world, "parser", &server.hls_url("live/event"));
    let codecs = value(&found, "codecs");
    assert!(
        codecs.starts_with("avc1.") && codecs.ends_with(",mp4a.40.2"),
        "{codecs}"
    );
    assert_eq!(value(&found, "resolution"), "640x360");
    assert_eq!(value(&found, "steering"), "../steering.json");
    assert_eq!(value(&found, "target"), "2");
    assert_eq!(value(&found, "over"), "False");
    // Each segment by itself: it begins with a key frame, and what the playlist says is in it.
    let segments: Vec<_> = found.iter().filter(|l| l[0] == "segment").collect();
    assert!(!segments.is_empty());
    let mut ends: BTreeMap<String, f64> = BTreeMap::new();
    for (n, line) in segments.iter().enumerate() {
        let mut bytes = fetch(server.http, &format!("/live/event/{}", line[2])).body;
        bytes.extend(fetch(server.http, &format!("/live/event/{}", line[1])).body);
        let file = world.path(&format!("segment-{n}.mp4"));
        std::fs::write(&file, bytes).unwrap();
        let packets = probe(world, &format!("probe-{n}"), &file);
        let pictures: Vec<_> = packets.iter().filter(|p| p.0 == "video").collect();
        assert!(pictures[0].3, "no key frame first");
        let length: f64 = pictures.iter().map(|p| p.2).sum();
        let told: f64 = line[3].parse().unwrap();
        assert!((length - told).abs() < 0.002, "{length} is not {told}");
        // One segment goes on where the one before ended: pictures to the millisecond, sound to one
        // and a half (the encoder rounds, too).
        for kind in ["video", "audio"] {
            let of_kind: Vec<_> = packets.iter().filter(|p| p.0 == kind).collect();
            let (first, last) = (of_kind[0], of_kind[of_kind.len() - 1]);
            if let Some(end) = ends.insert(kind.to_owned(), last.1 + last.2) {
                assert!((first.1 - end).abs() < 0.0015, "{kind}: {end} {}", first.1);
            }
        }
    }
    // The encoder comes back: two epochs in one playlist.
    encoder.kill();
    pause(1000);
    let _encoder = publish(world, "encoder-2", &programme(), &url);
    let both = wait_within(Duration::from_secs(40), "a discontinuity", || {
        let found = parsed(world, "parser-2", &server.hls_url("live/event"));
        found
            .iter()
            .any(|l| l[0] == "segment" && l[4] == "1")
            .then_some(found)
    });
    assert!(both.len() > 8);
}

pub(crate) fn answers_are_for_caches_and_pages(world: &World) {
    let server = standalone(world, "2s");
    let nothing = fetch(server.http, "/live/event.m3u8");
    assert_eq!(nothing.status, 404);
    assert!(nothing.head.contains("no-store"), "{}", nothing.head);
    let state = fetch(server.http, "/live/event.json");
    assert_eq!(state.status, 404);
    assert!(String::from_utf8_lossy(&state.body).contains("\"state\":\"offline\""));
    let mut encoder = publish(
        world,
        "encoder",
        &programme(),
        &server.rtmp_url("live/event"),
    );
    server.wait_live("live/event");
    let state = wait_for("its codecs are known", || {
        let state = fetch(server.http, "/live/event.json");
        let text = String::from_utf8_lossy(&state.body).into_owned();
        text.contains("mp4a").then_some(state)
    });
    let text = String::from_utf8_lossy(&state.body).into_owned();
    for part in ["\"live\"", "\"avc1.", "\"mp4a.40.2\""] {
        assert!(text.contains(part), "no {part} in {text}");
    }
    assert!(
        state.head.contains("no-store") && state.head.contains("access-control-allow-origin: *")
    );
    let top = fetch(server.http, "/live/event.m3u8");
    assert_eq!(top.status, 200, "it waits for the first segment");
    for field in [
        "content-type: application/vnd.apple.mpegurl",
        "cache-control: public, max-age=1",
        "access-control-allow-origin: *",
    ] {
        assert!(top.head.contains(field), "no {field} in {}", top.head);
    }
    let mut files = Files::new();
    let list = collect(server.http, &mut files);
    let (_, name) = list.segments.last().unwrap();
    let path = format!("/live/event/{name}");
    let whole = fetch(server.http, &path);
    let tag = format!("etag: \"{name}\"");
    for field in [
        "immutable",
        "max-age=31536000",
        "content-type: video/mp4",
        &tag,
    ] {
        assert!(whole.head.contains(field), "no {field} in {}", whole.head);
    }
    let length = whole.body.len();
    let known = ask(
        server.http,
        "GET",
        &path,
        &format!("If-None-Match: \"{name}\"\r\n"),
    )
    .unwrap();
    assert_eq!((known.status, known.body.len()), (304, 0));
    let head = ask(server.http, "HEAD", &path, "").unwrap();
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert!(
        head.head.contains(&format!("content-length: {length}\r\n")),
        "{}",
        head.head
    );
    for (range, from, to) in [
        ("0-99", 0, 100),
        ("100-", 100, length),
        ("-7", length - 7, length),
    ] {
        let part = ask(
            server.http,
            "GET",
            &path,
            &format!("Range: bytes={range}\r\n"),
        )
        .unwrap();
        assert_eq!(part.status, 206, "{range}");
        assert_eq!(part.body, whole.body[from..to], "{range}");
    }
    let beyond = ask(server.http, "GET", &path, "Range: bytes=99999999-\r\n").unwrap();
    assert_eq!(beyond.status, 416);
    let asked = ask(server.http, "OPTIONS", &path, "Origin: http://x\r\n").unwrap();
    assert_eq!(asked.status, 204);
    assert_eq!(ask(server.http, "PUT", &path, "").unwrap().status, 405);
    let never = format!("/live/event/{}", name.replace(".m4s", "0.m4s"));
    assert_eq!(fetch(server.http, &never).status, 404);
    // The end: the last playlist says so, then the stream is gone.
    encoder.kill();
    wait_for("it waits", || {
        let state = fetch(server.http, "/live/event.json");
        String::from_utf8_lossy(&state.body)
            .contains("\"waiting\"")
            .then_some(())
    });
    wait_for("the playlist ends", || {
        let list = Playlist::read(server.http)?;
        list.text.contains("#EXT-X-ENDLIST").then_some(())
    });
    let state = fetch(server.http, "/live/event.json");
    assert!(String::from_utf8_lossy(&state.body).contains("\"offline\""));
}

fn enhanced(world: &World, file: &Path, codecs: &[&str]) {
    let ffmpeg = newer_ffmpeg();
    let source = Packets::of_file(world, &ffmpeg, "source", file);
    let cluster = Cluster::start(world, 1);
    let url = cluster.master.login_url("live/event");
    let _encoder = publish_with(world, &ffmpeg, "encoder", file, &url);
    let mirror = &cluster.mirrors[0];
    mirror.wait_live("live/event");
    let viewer = watch_with(world, &ffmpeg, "viewer", &mirror.hls_url("live/event"));
    let packets = watched(&viewer, 150);
    packets.video.assert_run(&source.video, "video");
    packets.audio.assert_run(&source.audio, "audio");
    let top = fetch(mirror.http, "/live/event.m3u8");
    let text = String::from_utf8_lossy(&top.body).into_owned();
    for codec in codecs {
        assert!(text.contains(codec), "no {codec} in {text}");
    }
    assert!(text.contains("RESOLUTION=320x180"), "{text}");
}

pub(crate) fn hevc(world: &World) {
    let file = make_enhanced(world, "hevc");
    enhanced(world, &file, &["hvc1.1.", "mp4a.40.2"]);
}

pub(crate) fn av1_and_opus(world: &World) {
    let file = make_opus(world);
    enhanced(world, &file, &["av01.0.", "Opus"]);
}

/// A thousand players of one stream: each segment is made once, and sent to all.
pub(crate) fn a_thousand_players(world: &World) {
    const PLAYERS: usize = 1000;
    let server = standalone(world, "30s");
    let _encoder = publish(
        world,
        "encoder",
        &programme(),
        &server.rtmp_url("live/event"),
    );
    server.wait_live("live/event");
    let mut files = Files::new();
    let list = collect(server.http, &mut files);
    let (_, name) = list.segments.last().unwrap().clone();
    let size = files[&name].len();
    let memory = server.process.memory();
    let begun = Instant::now();
    let mut players: Vec<TcpStream> = (0..PLAYERS)
        .map(|n| {
            let mut player = connect(server.http);
            write!(
                player,
                "GET /live/event/media.m3u8?s={n:016x} HTTP/1.1\r\nHost: x\r\n\r\n\
                 GET /live/event/{name} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            )
            .unwrap();
            // Requests that have not arrived yet are bounded for each address.
            player.peek(&mut [0]).unwrap();
            player
        })
        .collect();
    let expected = &files[&name];
    for player in &mut players {
        let mut bytes = Vec::new();
        player.read_to_end(&mut bytes).unwrap();
        assert!(bytes.ends_with(expected), "{} bytes", bytes.len());
    }
    let took = begun.elapsed();
    let grew = server.process.memory().saturating_sub(memory);
    let made = server.metric("crtmpserver_hls_segments_total", "");
    let viewers = server.metric("crtmpserver_viewers", "hls");
    // The collector above is one more, by its address.
    assert!((viewers - 1001.0).abs() < 1.1, "{viewers} viewers");
    assert!(made < 40.0, "{made} segments were made");
    // Not a copy of the segment for each: those would be `size` times a thousand.
    let copies = (size * PLAYERS / 1024) as u64;
    assert!(
        grew < copies / 2,
        "{grew} KiB more, copies would be {copies} KiB"
    );
    assert!(took < Duration::from_secs(30), "{took:?}");
}

/// What is wrong with the secret file or the cluster is for other tests; this one is for the seam with
/// the rest: a mirror whose link is down says that it cannot know.
pub(crate) fn a_mirror_without_its_master_cannot_know(world: &World) {
    let [nobody] = crate::world::free_ports();
    let keys = mirror_keys(nobody, &secret(world, "secret"));
    let mirror = Server::launch(world, "mirror", &mirror_binary(), &keys);
    crate::world::wait_port(mirror.http);
    let state = fetch(mirror.http, "/live/event.json");
    assert_eq!(state.status, 503);
    assert!(String::from_utf8_lossy(&state.body).contains("\"unknown\""));
    let list = fetch(mirror.http, "/live/event.m3u8");
    assert_eq!(list.status, 503);
    assert!(list.head.contains("retry-after"), "{}", list.head);
}
