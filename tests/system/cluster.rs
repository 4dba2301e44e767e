//! Master and mirrors, of ours and of others.

use std::process::Command;
use std::time::Duration;

use crate::daemon::{Cluster, Server, master_keys, mirror_binary, mirror_keys, secret, users};
use crate::media::{Packets, programme};
use crate::programs::{
    gstreamer, make_enhanced, newer_ffmpeg, nginx, publish, publish_with, rtmpdump, watch,
    watch_with, watched,
};
use crate::viewer::Viewer;
use crate::world::{World, free_ports, get, pause, wait_for};

pub(crate) fn two_mirrors_pass_every_packet(world: &World) {
    let source = Packets::of_file(world, "ffmpeg", "source", &programme());
    let cluster = Cluster::start(world, 2);
    let _encoder = publish(
        world,
        "encoder",
        &programme(),
        &cluster.master.login_url("live/event"),
    );
    let mut viewers = Vec::new();
    for (n, mirror) in cluster.mirrors.iter().enumerate() {
        mirror.wait_live("live/event");
        let rtmp = mirror.rtmp_url("live/event");
        viewers.push(watch(world, &format!("rtmp-{n}"), &rtmp));
        viewers.push(watch(
            world,
            &format!("flv-{n}"),
            &mirror.flv_url("live/event"),
        ));
    }
    let [one, two] = &cluster.mirrors[..] else {
        panic!("two mirrors")
    };
    rtmpdump(world, "rtmpdump", &one.rtmp_url("live/event"), 4).assert_part_of(&source, 50);
    gstreamer(world, "gst", &two.rtmp_url("live/event"), 4).assert_part_of(&source, 50);
    for viewer in &viewers {
        watched(viewer, 150).assert_part_of(&source, 150);
    }
    // One pull each, however many watch there.
    let pulls = cluster.master.metric("crtmpserver_viewers", "");
    assert!((pulls - 2.0).abs() < 0.1, "{pulls} pulls");
}

fn enhanced(world: &World, codec: &str) {
    let ffmpeg = newer_ffmpeg();
    let file = make_enhanced(world, codec);
    let source = Packets::of_file(world, &ffmpeg, "source", &file);
    let cluster = Cluster::start(world, 1);
    let url = cluster.master.login_url("live/event");
    let _encoder = publish_with(world, &ffmpeg, "encoder", &file, &url);
    let mirror = &cluster.mirrors[0];
    mirror.wait_live("live/event");
    let rtmp = watch_with(world, &ffmpeg, "rtmp", &mirror.rtmp_url("live/event"));
    let flv = watch_with(world, &ffmpeg, "flv", &mirror.flv_url("live/event"));
    watched(&rtmp, 80).assert_part_of(&source, 80);
    watched(&flv, 80).assert_part_of(&source, 80);
}

pub(crate) fn hevc_passes(world: &World) {
    enhanced(world, "hevc");
}

pub(crate) fn av1_passes(world: &World) {
    enhanced(world, "av1");
}

pub(crate) fn a_mirror_refuses_publishers(world: &World) {
    let cluster = Cluster::start(world, 1);
    let mirror = &cluster.mirrors[0];
    let mut encoder = publish(
        world,
        "encoder",
        &programme(),
        &mirror.rtmp_url("live/event"),
    );
    assert!(!encoder.wait(Duration::from_secs(30)).success());
    assert!(
        encoder.stderr().contains("NetStream.Publish.BadName")
            || encoder.stderr().contains("Server error"),
        "{}",
        encoder.stderr()
    );
    // And it says so in its log, in words.
    assert!(mirror.process.said().to_lowercase().contains("publish"));
}

pub(crate) fn a_mirrors_binary_cannot_publish(_world: &World) {
    let binary = mirror_binary();
    let version = Command::new(&binary).arg("--version").output().unwrap();
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    assert!(version.contains("without publishing"), "{version}");
    let help = Command::new(&binary).arg("--help").output().unwrap();
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    assert!(help.contains("check"), "{help}");
    assert!(!help.contains("passwd") && !help.contains("demo"), "{help}");
}

pub(crate) fn a_master_plays_to_mirrors_alone(world: &World) {
    let secret = secret(world, "secret");
    let keys = master_keys(&users(world), &secret).replace("[\"loopback\"]", "[\"192.0.2.0/24\"]");
    let binary = crate::daemon::binary();
    let master = Server::launch(world, "master", &binary, &keys);
    crate::world::wait_port(master.rtmp);
    let mirror = Server::start(world, "mirror", &mirror_keys(master.rtmp, &secret));
    let _encoder = publish(
        world,
        "encoder",
        &programme(),
        &master.login_url("live/event"),
    );
    mirror.wait_live("live/event");
    // An unlisted network sees neither stream nor page, while the mirror gets everything.
    let mut stranger = watch(world, "stranger", &master.rtmp_url("live/event"));
    assert!(!stranger.wait(Duration::from_secs(30)).success());
    assert_eq!(get(master.http, "/live/event.flv").unwrap().0, 403);
    assert_eq!(get(master.http, "/").unwrap().0, 403);
    let viewer = Viewer::open(world, "viewer", mirror.http, "live/event");
    viewer.wait_pictures(50);
    viewer.assert_sane();
}

pub(crate) fn a_wrong_secret_is_no_mirror(world: &World) {
    let keys = master_keys(&users(world), &secret(world, "secret"));
    let master = Server::start(world, "master", &keys);
    let other = secret(world, "other-secret");
    let mirror = Server::launch(
        world,
        "mirror",
        &mirror_binary(),
        &mirror_keys(master.rtmp, &other),
    );
    let (status, body) = wait_for("the mirror answers", || get(mirror.http, "/healthz"));
    assert_eq!(status, 503, "{body}");
    pause(2000);
    let (status, body) = get(mirror.http, "/healthz").unwrap();
    assert_eq!(status, 503, "{body}");
    assert!(body.len() > 10, "no reason: {body:?}");
}

pub(crate) fn a_mirror_of_a_mirror(world: &World) {
    let source = Packets::of_file(world, "ffmpeg", "source", &programme());
    let cluster = Cluster::start(world, 1);
    let keys = mirror_keys(cluster.mirrors[0].rtmp, &world.path("secret"));
    let far = Server::start(world, "mirror-of-mirror", &keys);
    let url = cluster.master.login_url("live/event");
    let _encoder = publish(world, "encoder", &programme(), &url);
    far.wait_live("live/event");
    let viewer = watch(world, "viewer", &far.rtmp_url("live/event"));
    watched(&viewer, 100).assert_part_of(&source, 100);
}

pub(crate) fn nginx_as_master(world: &World) {
    let source = Packets::of_file(world, "ffmpeg", "source", &programme());
    let [port] = free_ports();
    let mut foreign = nginx(world, port, "application live { live on; }");
    let master = format!("rtmp://127.0.0.1:{port}/live/event");
    let keys = format!(
        "role = \"mirror\"
[mirror]
master = \"rtmp://127.0.0.1:{port}\"
streams = [\"live/event\"]
[relay]
grace = \"unlimited\"
"
    );
    let mirror = Server::launch(world, "mirror", &mirror_binary(), &keys);
    let mut encoder = publish(world, "encoder", &programme(), &master);
    mirror.wait_live("live/event");
    let viewer = Viewer::open(world, "viewer", mirror.http, "live/event");
    let rtmp = watch(world, "rtmp", &mirror.rtmp_url("live/event"));
    watched(&rtmp, 100).assert_part_of(&source, 100);
    drop(rtmp);
    // Its master is restarted, and the encoder with it: the viewer stays.
    encoder.kill();
    foreign.kill();
    pause(1500);
    let _foreign = nginx(world, port, "application live { live on; }");
    let _encoder = publish(world, "encoder-again", &programme(), &master);
    viewer.wait_more(60);
    viewer.assert_sane();
    viewer.numbers(world);
}

pub(crate) fn nginx_pulls_from_us(world: &World) {
    let source = Packets::of_file(world, "ffmpeg", "source", &programme());
    let server = crate::daemon::standalone(world, "30s");
    let ours = server.rtmp_url("live/event");
    let _encoder = publish(world, "encoder", &programme(), &ours);
    server.wait_live("live/event");
    let [port] = free_ports();
    let _nginx = nginx(
        world,
        port,
        &format!(
            "application live {{ live on; wait_key on; pull rtmp://127.0.0.1:{} app=live name=event static; }}",
            server.rtmp
        ),
    );
    let viewer = watch(
        world,
        "viewer",
        &format!("rtmp://127.0.0.1:{port}/live/event"),
    );
    watched(&viewer, 100).assert_part_of(&source, 100);
}
