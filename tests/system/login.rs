//! Who may publish: right and wrong passwords, with ffmpeg and with librtmp.

use std::time::Duration;

use crate::daemon::{PASSWORD, Server, USER, users};
use crate::media::programme;
use crate::programs::{librtmp_publish, publish, watch, watched};
use crate::world::{World, pause, wait_for};

fn server(world: &World) -> Server {
    let users = users(world);
    Server::start(
        world,
        "standalone",
        &format!("[publish]\nusers = {users:?}\n"),
    )
}

pub(crate) fn ffmpeg_with_the_right_password(world: &World) {
    let server = server(world);
    let _encoder = publish(
        world,
        "encoder",
        &programme(),
        &server.login_url("live/event"),
    );
    server.wait_live("live/event");
    let viewer = watch(world, "viewer", &server.rtmp_url("live/event"));
    watched(&viewer, 40);
    assert!(
        !server.process.said().contains(PASSWORD),
        "a password in the log"
    );
}

pub(crate) fn ffmpeg_with_wrong_passwords(world: &World) {
    let server = server(world);
    let refused = |name: &str, login: &str| {
        let url = format!("rtmp://{login}127.0.0.1:{}/live/event", server.rtmp);
        let mut encoder = publish(world, name, &programme(), &url);
        assert!(
            !encoder.wait(Duration::from_secs(60)).success(),
            "{name} came in"
        );
        encoder.stderr()
    };
    let said = refused("wrong-password", "ann:incorrect@");
    assert!(said.contains("authfailed"), "{said}");
    // An unknown user is told the same.
    let said = refused("unknown-user", "bob:incorrect@");
    assert!(said.contains("authfailed"), "{said}");
    let said = refused("no-password", "");
    assert!(said.contains("authmod") || said.contains("auth"), "{said}");
    assert!(!server.metrics().contains("live/event"));
    // The right one passes after that, though failures slow down.
    let _encoder = publish(
        world,
        "right",
        &programme(),
        &server.login_url("live/event"),
    );
    server.wait_live("live/event");
}

pub(crate) fn librtmp_with_the_right_password(world: &World) {
    let server = server(world);
    let location = format!(
        "{} pubUser={USER} pubPasswd={PASSWORD} live=1",
        server.rtmp_url("live/event")
    );
    let _encoder = librtmp_publish(world, "encoder", &programme(), &location);
    server.wait_live("live/event");
    let viewer = watch(world, "viewer", &server.rtmp_url("live/event"));
    watched(&viewer, 40);
}

pub(crate) fn librtmp_with_the_wrong_password(world: &World) {
    let server = server(world);
    let location = format!(
        "{} pubUser={USER} pubPasswd=incorrect live=1",
        server.rtmp_url("live/event")
    );
    let mut encoder = librtmp_publish(world, "encoder", &programme(), &location);
    assert!(
        !encoder.wait(Duration::from_secs(60)).success(),
        "it came in"
    );
    wait_for("the server's word", || {
        server
            .process
            .said()
            .contains("wrong password")
            .then_some(())
    });
}

pub(crate) fn without_users_and_networks_nobody_publishes(world: &World) {
    let server = Server::start(world, "standalone", "[publish]\nnetworks = []\n");
    let mut encoder = publish(
        world,
        "encoder",
        &programme(),
        &server.rtmp_url("live/event"),
    );
    assert!(!encoder.wait(Duration::from_secs(30)).success());
    pause(200);
    assert!(
        server.process.said().contains("publish"),
        "no word about it"
    );
}
