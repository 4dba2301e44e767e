//! Media files, played by other people's players: every packet of the file, from where it was asked for.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::daemon::Server;
use crate::media::{FRAME_HASHES, Packets, programme};
use crate::programs::{make_enhanced, newer_ffmpeg, publish};
use crate::viewer::Viewer;
use crate::world::{World, connect, get, wait_for};

const LIMIT: Duration = Duration::from_secs(60);

/// A server with one folder of files.
fn serving(world: &World) -> (Server, PathBuf) {
    let folder = world.path("media");
    fs::create_dir_all(&folder).unwrap();
    let keys = format!("[files]\nfolders = [{:?}]\n", folder.display().to_string());
    (Server::start(world, "server", &keys), folder)
}

/// The same packets in another container.
fn remux(world: &World, ffmpeg: &str, from: &Path, to: &Path, options: &[&str]) {
    let mut command = Command::new(ffmpeg);
    command
        .args(["-hide_banner", "-loglevel", "warning", "-y", "-i"])
        .arg(from)
        .args(["-c", "copy"])
        .args(options)
        .arg(to);
    let ended = world.run("remux", &mut command, LIMIT);
    assert!(ended.status.success(), "{}", ended.err);
}

/// What ffmpeg gets of an address, to its end; `before` goes in front of it.
pub(crate) fn watched(
    world: &World,
    ffmpeg: &str,
    name: &str,
    before: &[&str],
    url: &str,
) -> Packets {
    let mut command = Command::new(ffmpeg);
    command
        .args(["-hide_banner", "-loglevel", "verbose"])
        .args(before)
        .args(["-i", url])
        .args(FRAME_HASHES)
        .arg("-");
    let ended = world.run(name, &mut command, LIMIT);
    assert!(ended.status.success(), "{name}: {}", ended.err);
    Packets::parse(&ended.out)
}

/// All of it, and nothing else.
pub(crate) fn assert_same(got: &Packets, source: &Packets, name: &str) {
    for (what, got, source) in [
        ("video", &got.video, &source.video),
        ("audio", &got.audio, &source.audio),
    ] {
        assert_eq!(got.configuration, source.configuration, "{name}: {what}");
        assert_eq!(got.packets.len(), source.packets.len(), "{name}: {what}");
        assert_eq!(got.packets, source.packets, "{name}: {what}");
        got.assert_never_back(what);
    }
}

pub(crate) fn every_player_gets_every_packet(world: &World) {
    let (server, folder) = serving(world);
    let source = Packets::of_file(world, "ffmpeg", "source", &programme());
    fs::copy(programme(), folder.join("film.flv")).unwrap();
    let make = |name: &str, options: &[&str]| {
        remux(world, "ffmpeg", &programme(), &folder.join(name), options);
    };
    make("film.mp4", &[]);
    make("fast.mp4", &["-movflags", "+faststart"]);
    make(
        "parts.mp4",
        &["-movflags", "+frag_keyframe+empty_moov+default_base_moof"],
    );
    make("old.mov", &["-movflags", "+frag_keyframe"]);
    make("other.m4v", &["-f", "mp4"]);
    fs::create_dir(folder.join("sub")).unwrap();
    make("sub/film.f4v", &["-f", "mp4"]);
    for name in [
        "flvplayback/film",
        "vod/flv:film",
        "live/film.flv",
        "flvplayback/mp4:film.mp4",
        "flvplayback/mp4:film",
        "vod/fast.mp4",
        "vod/parts.mp4",
        "vod/mov:old",
        "vod/other.m4v",
        "vod/f4v:sub/film",
    ] {
        let url = server.rtmp_url(name);
        let log = name.replace(['/', ':', ' '], "-");
        let got = watched(world, "ffmpeg", &log, &[], &url);
        assert_same(&got, &source, name);
    }
    for name in ["flvplayback/film", "vod/mp4:film"] {
        let log = name.replace(['/', ':'], "-");
        let got = rtmpdump(
            world,
            &format!("rtmpdump-{log}"),
            &server.rtmp_url(name),
            &[],
        );
        assert_same(&got, &source, name);
        let got = gstreamer(world, &format!("gst-{log}"), &server.rtmp_url(name));
        assert_same(&got, &source, name);
    }
    let seconds = duration(world, &server.rtmp_url("vod/mp4:film"));
    assert!((7.9..8.1).contains(&seconds), "{seconds}");
    wait_for("nobody watches", || {
        (server.metric("crtmpserver_viewers", "file") == 0.0).then_some(())
    });
    assert!(server.metric("crtmpserver_joins_total", "file") >= 15.0);
}

/// What ffprobe says that it lasts.
fn duration(world: &World, url: &str) -> f64 {
    let mut command = Command::new("ffprobe");
    command.args([
        "-v",
        "error",
        "-show_entries",
        "format=duration",
        "-of",
        "csv=p=0",
        url,
    ]);
    let ended = world.run("ffprobe", &mut command, LIMIT);
    ended.out.trim().parse().unwrap_or_default()
}

/// rtmpdump plays to the end; its file's packets.
fn rtmpdump(world: &World, name: &str, url: &str, options: &[&str]) -> Packets {
    let file = world.path(&format!("{name}.flv"));
    let mut command = Command::new("rtmpdump");
    command
        .args(["--verbose", "--timeout", "20", "--rtmp", url, "--flv"])
        .arg(&file)
        .args(options);
    world.run(name, &mut command, LIMIT);
    Packets::of_file(world, "ffmpeg", &format!("{name}-packets"), &file)
}

/// GStreamer plays to the end; its file's packets.
fn gstreamer(world: &World, name: &str, url: &str) -> Packets {
    let file = world.path(&format!("{name}.flv"));
    let mut command = Command::new("gst-launch-1.0");
    command.args(["-e", "rtmp2src", &format!("location={url}"), "!"]);
    command.args(["filesink", &format!("location={}", file.display())]);
    let ended = world.run(name, &mut command, LIMIT);
    assert!(ended.status.success(), "{name}: {}", ended.err);
    Packets::of_file(world, "ffmpeg", &format!("{name}-packets"), &file)
}

/// From a key frame of the source on, gapless, to its end or for so many pictures.
fn assert_begins(got: &Packets, source: &Packets, key: usize, pictures: usize) {
    let expected = &source.video.packets[key..key + pictures];
    assert_eq!(got.video.configuration, source.video.configuration);
    assert_eq!(got.video.packets.len(), pictures);
    assert_eq!(got.video.packets, expected);
    let first = got.audio.assert_run(&source.audio, "audio");
    let (heard, seen) = (source.audio.times[first], source.video.times[key]);
    assert!(
        (heard - seen).abs() < 60,
        "sound from {heard} ms, pictures from {seen} ms"
    );
}

pub(crate) fn players_seek(world: &World) {
    let (server, folder) = serving(world);
    let source = Packets::of_file(world, "ffmpeg", "source", &programme());
    fs::copy(programme(), folder.join("film.flv")).unwrap();
    remux(world, "ffmpeg", &programme(), &folder.join("film.mp4"), &[]);
    for name in ["vod/film", "vod/mp4:film"] {
        let url = server.rtmp_url(name);
        let log = name.replace(['/', ':'], "-");
        // Key frames are a second apart: 3.5 s is played from 3 s on.
        let got = watched(
            world,
            "ffmpeg",
            &format!("seek-{log}"),
            &["-ss", "3.5"],
            &url,
        );
        assert_begins(&got, &source, 75, 125);
        let part = ["--start", "3", "--stop", "5"];
        let got = rtmpdump(world, &format!("part-{log}"), &url, &part);
        assert_begins(&got, &source, 75, 50);
    }
}

/// GStreamer asks for the part of a file that it seeks to; the moov of an MP4 tells it where that is.
pub(crate) fn gstreamer_seeks_over_http(world: &World) {
    let (server, folder) = serving(world);
    let file = folder.join("film.mp4");
    remux(world, "ffmpeg", &programme(), &file, &[]);
    let source = Packets::of_file(world, "ffmpeg", "source", &file);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/system/seek.py");
    let url = format!("http://127.0.0.1:{}/files/film.mp4", server.http);
    let mut command = Command::new("/usr/bin/python3");
    command.arg(script).args([&url, "3.5"]);
    let ended = world.run("gstreamer", &mut command, LIMIT);
    assert!(ended.status.success(), "{}", ended.err);
    let seen: Vec<&str> = ended.out.lines().collect();
    assert_eq!(seen, source.video.packets[75..]);
}

pub(crate) fn other_codecs(world: &World) {
    let (server, folder) = serving(world);
    let ffmpeg = newer_ffmpeg();
    for codec in ["hevc", "av1"] {
        let made = make_enhanced(world, codec);
        let file = folder.join(format!("{codec}.mp4"));
        remux(
            world,
            &ffmpeg,
            &made,
            &file,
            &["-tag:v", if codec == "hevc" { "hvc1" } else { "av01" }],
        );
        fs::copy(&made, folder.join(format!("{codec}.flv"))).unwrap();
        // The two frame AV1 differently, so each is held to itself.
        for (name, file) in [
            (format!("vod/mp4:{codec}"), &file),
            (format!("vod/{codec}"), &made),
        ] {
            let log = name.replace(['/', ':'], "-");
            let source = Packets::of_file(world, &ffmpeg, &format!("{log}-file"), file);
            let got = watched(world, &ffmpeg, &log, &[], &server.rtmp_url(&name));
            assert!(got.video.packets == source.video.packets, "{name}: video");
            assert!(got.audio.packets == source.audio.packets, "{name}: audio");
        }
    }
    // Sound alone, in two more codecs.
    for (codec, encoder) in [("mp3", "libmp3lame"), ("opus", "libopus")] {
        let file = folder.join(format!("{codec}.mp4"));
        let options = ["-vn", "-c:a", encoder, "-ar", "48000"];
        remux(world, &ffmpeg, &programme(), &file, &options);
        let source = Packets::of_file(world, &ffmpeg, codec, &file);
        let url = server.rtmp_url(&format!("vod/mp4:{codec}"));
        let got = watched(world, &ffmpeg, &format!("play-{codec}"), &[], &url);
        assert!(got.audio.packets == source.audio.packets, "{codec}");
    }
}

pub(crate) fn bad_files_are_refused_and_hurt_nobody(world: &World) {
    let (server, folder) = serving(world);
    fs::copy(programme(), folder.join("film.flv")).unwrap();
    let _encoder = publish(
        world,
        "encoder",
        &programme(),
        &server.rtmp_url("live/event"),
    );
    server.wait_live("live/event");
    let viewer = Viewer::open(world, "viewer", server.http, "live/event");
    viewer.wait_pictures(25);

    remux(world, "ffmpeg", &programme(), &folder.join("film.mp4"), &[]);
    let whole = fs::read(folder.join("film.mp4")).unwrap();
    let put = |name: &str, bytes: &[u8]| fs::write(folder.join(name), bytes).unwrap();
    put("cut.mp4", &whole[..whole.len() / 2]);
    put("empty.flv", b"");
    put("noise.flv", &[0x55; 100_000]);
    put("header.flv", b"FLV\x01\x05\0\0\0\x09\0\0\0\0");
    put(
        "size.mp4",
        b"\0\0\0\x01moov\xff\xff\xff\xff\xff\xff\xff\xff",
    );
    put("small.mp4", b"\0\0\0\x10ftypisom\0\0\0\0\0\0\0\x02moov");
    // A terabyte that is not there.
    let file = fs::File::create(folder.join("huge.mp4")).unwrap();
    file.set_len(1 << 40).unwrap();
    let file = fs::File::create(folder.join("hole.flv")).unwrap();
    Write::write_all(&mut &file, b"FLV\x01\x05\0\0\0\x09\0\0\0\0").unwrap();
    file.set_len(1 << 34).unwrap();
    // Every byte of the tables of a good one changed in turn, a few at a time.
    let moov = whole.windows(4).position(|w| w == b"moov").unwrap();
    for turn in 0..20 {
        let mut changed = whole.clone();
        for at in (moov + turn..changed.len()).step_by(97) {
            changed[at] ^= 0x80;
        }
        put(&format!("changed{turn}.mp4"), &changed);
    }
    fs::create_dir(folder.join("folder.flv")).unwrap();
    fs::write(world.path("outside.flv"), fs::read(programme()).unwrap()).unwrap();
    std::os::unix::fs::symlink("../outside.flv", folder.join("link.flv")).unwrap();
    std::os::unix::fs::symlink("..", folder.join("up")).unwrap();

    let refused = |name: &str| {
        let mut command = Command::new("ffmpeg");
        let url = server.rtmp_url(name);
        command.args([
            "-hide_banner",
            "-loglevel",
            "verbose",
            "-rw_timeout",
            "20000000",
            "-i",
        ]);
        command.args([&url, "-c", "copy", "-f", "null", "-"]);
        let log = name.replace(['/', ':', '.', '%'], "-");
        world.run(&log, &mut command, LIMIT)
    };
    for name in [
        "cut.mp4",
        "empty",
        "noise",
        "header",
        "size.mp4",
        "small.mp4",
        "huge.mp4",
        "hole",
        "folder",
        "link",
        "up/outside",
        "../outside",
        "%2e%2e/outside",
        "nothing",
    ] {
        let ended = refused(&format!("vod/{name}"));
        assert!(!ended.status.success(), "{name} was played:\n{}", ended.err);
    }
    for turn in 0..20 {
        refused(&format!("vod/mp4:changed{turn}")); // whatever comes of it
    }
    bad_files_over_http(&server);
    let said = server.process.said();
    assert!(said.contains("file-bad"), "the operator is told");
    assert!(!said.contains("code=\"defect\""), "nothing was lost");
    assert!(
        server.process.memory() < 200 * 1024,
        "{} KiB",
        server.process.memory()
    );

    // The folder goes while somebody plays, and comes back.
    let away = world.path("away");
    fs::rename(&folder, &away).unwrap();
    assert!(!refused("vod/film").status.success());
    fs::rename(&away, &folder).unwrap();
    assert!(refused("vod/film").status.success());
    viewer.wait_pictures(25);
    viewer.assert_sane();
    assert_eq!(get(server.http, "/healthz").unwrap().0, 200);
}

/// The same files, asked for by a browser or a player of HLS.
fn bad_files_over_http(server: &Server) {
    let ask = |path: &str| get(server.http, &format!("/files/{path}")).expect("an answer");
    for name in [
        "cut.mp4",
        "empty.flv",
        "noise.flv",
        "header.flv",
        "size.mp4",
        "small.mp4",
        "huge.mp4",
        "hole.flv",
    ] {
        let (status, said) = ask(&format!("{name}.m3u8"));
        assert_eq!(status, 422, "{name}: {said}");
        assert!(said.len() > 20, "{name}: a sentence");
        assert_eq!(ask(&format!("{name}?play")).0, 200, "{name} has its page");
    }
    for turn in 0..20 {
        let name = format!("changed{turn}.mp4");
        let (status, list) = ask(&format!("{name}.m3u8"));
        assert!([200, 422].contains(&status), "{name}: {status}");
        for segment in list.lines().filter(|line| line.ends_with(".m4s")) {
            let (status, _) = ask(segment); // its media may be anywhere by now
            assert!([200, 404, 422, 500].contains(&status), "{name}: {status}");
        }
    }
    for name in [
        "folder.flv",
        "link.flv",
        "up/outside.flv",
        "..%2foutside.flv",
        "%2e%2e/outside.flv",
    ] {
        for more in ["", "?play", ".m3u8"] {
            let (status, _) = ask(&format!("{name}{more}"));
            assert_eq!(status, 404, "{name}{more}");
        }
    }
    // A part of a terabyte is as much as was asked for.
    let mut socket = connect(server.http);
    let ask = b"GET /files/huge.mp4 HTTP/1.1\r\nHost: x\r\nRange: bytes=1099511627700-\r\nConnection: close\r\n\r\n";
    socket.write_all(ask).unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 206 "), "{answer}");
    assert!(
        answer.contains("bytes 1099511627700-1099511627775/1099511627776"),
        "{answer}"
    );
    assert!(answer.ends_with(&"\0".repeat(76)), "{answer}");
}

pub(crate) fn hls_has_every_packet(world: &World) {
    let (server, folder) = serving(world);
    // 32 s, so that there are several segments.
    let long = folder.join("long.flv");
    let mut command = Command::new("ffmpeg");
    command
        .args([
            "-hide_banner",
            "-loglevel",
            "warning",
            "-y",
            "-stream_loop",
            "3",
            "-i",
        ])
        .arg(programme())
        .args(["-c", "copy"])
        .arg(&long);
    assert!(world.run("loop", &mut command, LIMIT).status.success());
    remux(world, "ffmpeg", &long, &folder.join("two words.mp4"), &[]);
    let parts = ["-movflags", "+frag_keyframe+empty_moov"];
    remux(world, "ffmpeg", &long, &folder.join("parts.mp4"), &parts);
    fs::create_dir(folder.join("sub")).unwrap();
    remux(
        world,
        "ffmpeg",
        &long,
        &folder.join("sub/sound.m4a"),
        &["-vn"],
    );
    let source = Packets::of_file(world, "ffmpeg", "source", &long);
    let path = |name: &str| format!("/files/{name}.m3u8");
    let url = |name: &str| format!("http://127.0.0.1:{}{}", server.http, path(name));
    for name in ["long.flv", "two%20words.mp4", "parts.mp4"] {
        let log = name.replace('%', "-");
        let got = watched(world, "ffmpeg", &log, &[], &url(name));
        assert_eq!(got.video.packets, source.video.packets, "{name}");
        assert_eq!(got.audio.packets, source.audio.packets, "{name}");
        let (status, list) = get(server.http, &path(name)).unwrap();
        assert!(
            status == 200 && list.contains("#EXT-X-PLAYLIST-TYPE:VOD\n"),
            "{list}"
        );
        assert!(list.ends_with("#EXT-X-ENDLIST\n"), "{list}");
        let lengths = list.lines().filter_map(|l| l.strip_prefix("#EXTINF:"));
        let lengths: Vec<f64> = lengths
            .map(|l| l.trim_end_matches(',').parse().unwrap())
            .collect();
        let all: f64 = lengths.iter().sum();
        assert!(lengths.len() >= 4 && (31.5..32.5).contains(&all), "{list}");
        // What a name has stays what it is; another state of the file has other names.
        let segment = list.lines().find(|l| l.ends_with("-1.m4s")).unwrap();
        let segment = format!("/files/{segment}");
        let first = get_bytes(world, &server, &segment);
        assert!(first.len() > 10_000 && first == get_bytes(world, &server, &segment));
        let none = segment.replace("-1.m4s", "-99.m4s");
        assert_eq!(get(server.http, &none).unwrap().0, 404);
    }
    let sound = watched(world, "ffmpeg", "sound", &[], &url("sub/sound.m4a"));
    assert_eq!(sound.audio.packets, source.audio.packets);
    for path in [
        "/files/none.flv.m3u8",
        "/files/..%2fserver.toml.m3u8",
        "/files/long.flv/0000000000000000-0.m4s",
        "/files/long.flv/0000000000000000-i0000000000000000.mp4",
        "/files/long.m3u8",
    ] {
        assert_eq!(get(server.http, path).unwrap().0, 404, "{path}");
    }
    fs::write(
        folder.join("bad.mp4"),
        b"\0\0\0\x18ftypisom\0\0\0\0isommp42\0\0\0\x08free",
    )
    .unwrap();
    assert_eq!(get(server.http, "/files/bad.mp4.m3u8").unwrap().0, 422);
}

/// The bytes at a path of the server, as ffmpeg's library of protocols has them.
fn get_bytes(world: &World, server: &Server, path: &str) -> Vec<u8> {
    let to = world.path("got");
    let mut command = Command::new("ffmpeg");
    let url = format!("http://127.0.0.1:{}{path}", server.http);
    command
        .args([
            "-hide_banner",
            "-loglevel",
            "warning",
            "-y",
            "-f",
            "data",
            "-i",
            &url,
        ])
        .args(["-map", "0", "-c", "copy", "-f", "data"])
        .arg(&to);
    let ended = world.run("get", &mut command, LIMIT);
    assert!(ended.status.success(), "{path}: {}", ended.err);
    fs::read(&to).unwrap()
}

pub(crate) fn http_serves_parts(world: &World) {
    let (server, folder) = serving(world);
    remux(
        world,
        "ffmpeg",
        &programme(),
        &folder.join("two words.mp4"),
        &[],
    );
    fs::copy(programme(), folder.join("film.flv")).unwrap();
    let url = |path: &str| format!("http://127.0.0.1:{}{path}", server.http);
    let source = Packets::of_file(world, "ffmpeg", "source", &programme());
    for path in [
        "/files/two%20words.mp4",
        "/files/film.flv",
        "/files/film.flv?indexed",
    ] {
        let got = watched(
            world,
            "ffmpeg",
            &path.replace(['/', '%'], "-"),
            &[],
            &url(path),
        );
        assert_same(&got, &source, path);
    }
    // MP4 is sought by the index at its end, in parts.
    let got = watched(
        world,
        "ffmpeg",
        "http-seek",
        &["-ss", "3.5"],
        &url("/files/two%20words.mp4"),
    );
    assert_eq!(got.video.packets, source.video.packets[75..]);
    // FLV by the index that the server puts in front of it.
    let got = watched(
        world,
        "ffmpeg",
        "http-seek-flv",
        &["-ss", "3.5"],
        &url("/files/film.flv?indexed"),
    );
    assert_eq!(got.video.packets, source.video.packets[75..]);
    assert_eq!(
        get(server.http, "/files/two%20words.mp4?indexed")
            .unwrap()
            .0,
        404
    );
    let (status, page) = get(server.http, "/files").unwrap();
    assert_eq!(status, 200);
    assert!(page.contains("/files/two%20words.mp4?play") && page.contains("film.flv"));
    let (status, page) = get(server.http, "/files/two%20words.mp4?play").unwrap();
    assert!(status == 200 && page.contains("<video controls"));
    for path in [
        "/files/nothing.mp4",
        "/files/../server.toml",
        "/files/%2e%2e%2fserver.toml",
        "/files/..%2f..%2fx.mp4",
        "/files/media",
        "/files/.",
        "/files/%00.mp4",
        "/files/film",
    ] {
        assert_eq!(get(server.http, path).unwrap().0, 404, "{path}");
    }
}
