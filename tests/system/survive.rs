//! Sources come and go; viewers stay.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::daemon::{Cluster, Server, standalone, users};
use crate::media::programme;
use crate::programs::{publish, watch, watched};
use crate::viewer::{Tag, Viewer};
use crate::world::{World, pause, wait_for, wait_within};

pub(crate) fn the_master_is_killed_and_restarted(world: &World) {
    let mut cluster = Cluster::start(world, 2);
    let url = cluster.master.login_url("live/event");
    let mut encoder = publish(world, "encoder", &programme(), &url);
    for mirror in &cluster.mirrors {
        mirror.wait_live("live/event");
    }
    let viewers: Vec<Viewer> = cluster
        .mirrors
        .iter()
        .enumerate()
        .map(|(n, m)| Viewer::open(world, &format!("viewer-{n}"), m.http, "live/event"))
        .collect();
    let rtmp = watch(world, "rtmp", &cluster.mirrors[0].rtmp_url("live/event"));
    for viewer in &viewers {
        viewer.wait_pictures(50);
    }
    watched(&rtmp, 25);
    for round in 0..2 {
        cluster.master.kill_and_restart(world);
        cluster.master.wait_ready();
        encoder.kill();
        encoder = publish(world, &format!("encoder-{round}"), &programme(), &url);
        for viewer in &viewers {
            viewer.wait_more(60);
            viewer.assert_sane();
        }
    }
    for viewer in &viewers {
        viewer.numbers(world);
    }
    let packets = watched(&rtmp, 150);
    packets.video.assert_never_back("rtmp video");
    packets.audio.assert_never_back("rtmp audio");
}

pub(crate) fn the_encoder_is_cut_and_comes_back(world: &World) {
    let server = standalone(world, "30s");
    let url = server.rtmp_url("live/event");
    let mut encoder = publish(world, "encoder", &programme(), &url);
    server.wait_live("live/event");
    let viewer = Viewer::open(world, "viewer", server.http, "live/event");
    let rtmp = watch(world, "rtmp", &url);
    viewer.wait_pictures(40);
    watched(&rtmp, 25);
    for round in 0..3 {
        encoder.kill();
        let notices = viewer.count(Tag::is_notice);
        pause(2500);
        assert!(
            viewer.count(Tag::is_notice) > notices,
            "no word that the stream waits"
        );
        encoder = publish(world, &format!("encoder-{round}"), &programme(), &url);
        viewer.wait_more(40);
    }
    viewer.assert_sane();
    viewer.numbers(world);
    watched(&rtmp, 100).video.assert_never_back("rtmp");
}

pub(crate) fn a_clean_end_is_an_end_after_the_grace(world: &World) {
    let server = standalone(world, "2s");
    let url = server.rtmp_url("live/event");
    let mut encoder = publish(world, "encoder", &programme(), &url);
    server.wait_live("live/event");
    let viewer = Viewer::open(world, "viewer", server.http, "live/event");
    let mut rtmp = watch(world, "rtmp", &url);
    viewer.wait_pictures(40);
    watched(&rtmp, 25);
    encoder.signal(Signal::SIGINT); // ffmpeg unpublishes
    encoder.wait(Duration::from_secs(10));
    pause(1000);
    assert_eq!(viewer.ended(), None, "it ended before the grace");
    wait_within(Duration::from_secs(10), "the stream ends", || {
        viewer.ended()
    });
    assert!(rtmp.wait(Duration::from_secs(10)).success());
    viewer.assert_sane();
}

fn with_users(world: &World, more: &str) -> Server {
    let users = users(world);
    Server::start(
        world,
        "standalone",
        &format!("[publish]\nusers = {users:?}\n{more}\n"),
    )
}

pub(crate) fn a_second_encoder_waits_for_the_first_to_fall_silent(world: &World) {
    let server = with_users(world, "");
    let url = server.login_url("live/event");
    let mut first = publish(world, "first", &programme(), &url);
    server.wait_live("live/event");
    let viewer = Viewer::open(world, "viewer", server.http, "live/event");
    viewer.wait_pictures(30);
    // While the first one sends, the second is told that the name is taken.
    let mut second = publish(world, "second", &programme(), &url);
    assert!(
        !second.wait(Duration::from_secs(30)).success(),
        "it took a live stream"
    );
    viewer.wait_more(30);
    assert_eq!(viewer.count(Tag::is_notice), 0, "the viewer was disturbed");
    // The first one hangs with its connection open: no byte, no end.
    first.signal(Signal::SIGSTOP);
    pause(1500);
    let mut third = publish(world, "third", &programme(), &url);
    viewer.wait_more(60);
    assert!(third.running());
    // When the first one wakes up it has lost its stream, and the viewer does not notice.
    first.signal(Signal::SIGCONT);
    wait_for("the first one is told", || (!first.running()).then_some(()));
    viewer.wait_more(30);
    viewer.assert_sane();
    viewer.numbers(world);
}

pub(crate) fn a_half_open_encoder_is_found(world: &World) {
    let server = with_users(world, "[limits]\npublish_timeout = \"3s\"");
    let url = server.login_url("live/event");
    let first = publish(world, "first", &programme(), &url);
    server.wait_live("live/event");
    let viewer = Viewer::open(world, "viewer", server.http, "live/event");
    viewer.wait_pictures(30);
    first.signal(Signal::SIGSTOP);
    wait_for("viewers hear that the stream waits", || {
        (viewer.count(Tag::is_notice) > 0).then_some(())
    });
    let _again = publish(world, "again", &programme(), &url);
    viewer.wait_more(40);
    viewer.assert_sane();
    viewer.numbers(world);
}

/// A viewer that reads nothing is skipped ahead or closed; the one beside it loses nothing.
pub(crate) fn a_viewer_that_hangs_hurts_nobody(world: &World) {
    let server = Server::start(world, "standalone", "[limits]\nsend_timeout = \"3s\"\n");
    let url = server.rtmp_url("live/event");
    let _encoder = publish(world, "encoder", &programme(), &url);
    server.wait_live("live/event");
    let viewer = Viewer::open(world, "viewer", server.http, "live/event");
    let hanging: Vec<_> = (0..20)
        .map(|n| {
            watch(
                world,
                &format!("hanging-{n}"),
                &server.flv_url("live/event"),
            )
        })
        .collect();
    viewer.wait_pictures(50);
    for process in &hanging {
        process.signal(Signal::SIGSTOP);
    }
    viewer.wait_more(150);
    viewer.assert_sane();
    let numbers = viewer.numbers(world);
    assert!(
        numbers.windows(2).all(|w| w[1] == (w[0] + 1) % 200),
        "{numbers:?}"
    );
}
