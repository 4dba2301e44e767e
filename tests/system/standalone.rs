//! One server, everything on it.

use std::fs;
use std::time::Duration;

use crate::daemon::{Server, standalone};
use crate::files;
use crate::media::{Packets, programme};
use crate::programs::{
    gstreamer, make_enhanced, newer_ffmpeg, publish, publish_with, rtmpdump, watch, watch_with,
    watched,
};
use crate::viewer::{Tag, Viewer};
use crate::world::{World, get};

pub(crate) fn every_receiver_gets_every_packet(world: &World) {
    let source = Packets::of_file(world, "ffmpeg", "source", &programme());
    let server = standalone(world, "30s");
    let url = server.rtmp_url("live/event");
    let _encoder = publish(world, "encoder", &programme(), &url);
    server.wait_live("live/event");
    let rtmp = watch(world, "ffmpeg-rtmp", &url);
    let flv = watch(world, "ffmpeg-flv", &server.flv_url("live/event"));
    let six = watch(
        world,
        "ffmpeg-ipv6",
        &format!("rtmp://[::1]:{}/live/event", server.rtmp),
    );
    rtmpdump(world, "rtmpdump", &url, 4).assert_part_of(&source, 50);
    gstreamer(world, "gst", &url, 4).assert_part_of(&source, 50);
    watched(&rtmp, 150).assert_part_of(&source, 150);
    watched(&flv, 150).assert_part_of(&source, 150);
    watched(&six, 150).assert_part_of(&source, 150);
}

pub(crate) fn the_first_picture_comes_at_once(world: &World) {
    let server = standalone(world, "30s");
    let url = server.rtmp_url("live/event");
    let _encoder = publish(world, "encoder", &programme(), &url);
    server.wait_live("live/event");
    let first = Viewer::open(world, "first", server.http, "live/event");
    first.wait_pictures(40);
    // Whoever had to wait for a key frame would begin later than what is known to be there already;
    // a key frame that comes just then is no fault, so not each of them must.
    let at_once = (0..7).filter(|n| {
        let there = first
            .tags()
            .iter()
            .filter(|t| t.is_picture())
            .map(|t| t.time)
            .max();
        let viewer = Viewer::open(world, &format!("viewer-{n}"), server.http, "live/event");
        viewer.wait_pictures(30);
        viewer.assert_sane();
        let tags = viewer.tags();
        tags.iter().find(|t| t.is_key()).map(|t| t.time) <= there
    });
    assert!(at_once.count() >= 3, "the cached pictures are not sent");
    first.assert_sane();
    let numbers = first.numbers(world);
    assert!(numbers.len() >= 40);
    assert!(
        numbers.windows(2).all(|w| w[1] == (w[0] + 1) % 200),
        "{numbers:?}"
    );
}

fn enhanced(world: &World, codec: &str) {
    let ffmpeg = newer_ffmpeg();
    let file = make_enhanced(world, codec);
    let source = Packets::of_file(world, &ffmpeg, "source", &file);
    let server = standalone(world, "30s");
    let url = server.rtmp_url("live/event");
    let _encoder = publish_with(world, &ffmpeg, "encoder", &file, &url);
    server.wait_live("live/event");
    let rtmp = watch_with(world, &ffmpeg, "rtmp", &url);
    let flv = watch_with(world, &ffmpeg, "flv", &server.flv_url("live/event"));
    watched(&rtmp, 80).assert_part_of(&source, 80);
    watched(&flv, 80).assert_part_of(&source, 80);
}

pub(crate) fn hevc_passes(world: &World) {
    enhanced(world, "hevc");
}

pub(crate) fn av1_passes(world: &World) {
    enhanced(world, "av1");
}

pub(crate) fn pages_answer(world: &World) {
    let server = standalone(world, "30s");
    let (status, page) = get(server.http, "/").unwrap();
    assert_eq!(status, 200);
    assert!(!page.contains("live/event"));
    assert_eq!(get(server.http, "/live/nothing.flv").unwrap().0, 404);
    assert_eq!(get(server.http, "/../etc/passwd").unwrap().0, 404);
    let url = server.rtmp_url("live/event");
    let _encoder = publish(world, "encoder", &programme(), &url);
    server.wait_live("live/event");
    let viewer = Viewer::open(world, "viewer", server.http, "live/event");
    viewer.wait_pictures(10);
    assert_eq!(get(server.http, "/healthz").unwrap().0, 200);
    let metrics = server.metrics();
    assert!(metrics.contains("# TYPE"), "{metrics}");
    assert!(metrics.contains("crtmpserver_"), "{metrics}");
}

/// Times beyond 2^24 ms need the extended field on every chunk.
pub(crate) fn time_passes_the_field_of_24_bits(world: &World) {
    let server = standalone(world, "30s");
    let url = server.rtmp_url("live/event");
    let source = Packets::of_file(world, "ffmpeg", "source", &programme());
    let mut command = std::process::Command::new("ffmpeg");
    command
        .args(["-hide_banner", "-re", "-stream_loop", "-1", "-i"])
        .arg(programme())
        .args([
            "-t",
            "300",
            "-c",
            "copy",
            "-output_ts_offset",
            "16773",
            "-f",
            "flv",
            &url,
        ]);
    let _encoder = world.start("encoder", &mut command);
    server.wait_live("live/event");
    let viewer = watch(world, "viewer", &url);
    let flv = Viewer::open(world, "flv", server.http, "live/event");
    watched(&viewer, 200).assert_part_of(&source, 200);
    flv.wait_pictures(200);
    flv.assert_sane();
    assert_eq!(flv.count(Tag::is_notice), 0);
}

/// The server's own configuration as a newcomer has it: nothing but ports.
pub(crate) fn wrong_names_are_answered(world: &World) {
    let server = Server::start(world, "standalone", "[play]\nwait = \"1s\"\n");
    for (name, stream) in [
        ("no-app", "nowhere/event"),
        ("no-stream", "live/nothing"),
        ("no-name", "live/..%2f..%2fetc"),
    ] {
        let mut viewer = watch(world, name, &server.rtmp_url(stream));
        let status = viewer.wait(Duration::from_secs(30));
        assert!(!status.success(), "{name} succeeded");
    }
    assert_eq!(get(server.http, "/healthz").unwrap().0, 200);
}

/// Without a list each file is there for who knows its name.
pub(crate) fn no_list(world: &World) {
    let folder = world.path("media");
    fs::create_dir_all(&folder).unwrap();
    fs::copy(programme(), folder.join("film.flv")).unwrap();
    let keys = format!("[files]\nfolders = [{folder:?}]\nlist = false\n");
    let server = Server::start(world, "server", &keys);
    for path in ["/files", "/files/"] {
        let (status, page) = get(server.http, path).unwrap();
        assert!(status == 404 && !page.contains("film"), "{path}: {page}");
    }
    let source = Packets::of_file(world, "ffmpeg", "source", &programme());
    for (name, url) in [
        (
            "http",
            format!("http://127.0.0.1:{}/files/film.flv", server.http),
        ),
        ("rtmp", server.rtmp_url("vod/film")),
    ] {
        let got = files::watched(world, "ffmpeg", name, &[], &url);
        files::assert_same(&got, &source, name);
    }
    assert_eq!(get(server.http, "/files/film.flv?play").unwrap().0, 200);
}
