//! Pulls and pushes from and to somebody else's server, and to ours with logins and in TLS; with kills on
//! both sides.

use std::fs;
use std::path::PathBuf;

use nix::sys::signal::Signal;

use crate::daemon::{PASSWORD, Server, USER, binary, users};
use crate::media::{Packets, programme};
use crate::programs::{nginx, publish, watch, watched};
use crate::world::{World, free_ports, wait_for, wait_within};

const LIVE: &str = "application live { live on; wait_key on; }";

/// Waits until a pull or a push is live, or is not.
pub(crate) fn wait_state(server: &Server, stream: &str, live: bool) {
    let limit = std::time::Duration::from_secs(60);
    let what = format!("{stream} is {}live", if live { "" } else { "not " });
    let label = format!("stream=\"{stream}\"");
    wait_within(limit, &what, || {
        let page = server.metrics();
        let line = page
            .lines()
            .find(|l| l.starts_with("crtmpserver_remote_live{") && l.contains(&label))?;
        (line.ends_with(" 1") == live).then_some(())
    });
}

pub(crate) fn a_pull_comes_back_whoever_was_killed(world: &World) {
    let source = Packets::of_file(world, "ffmpeg", "source", &programme());
    let [port] = free_ports();
    let url = format!("rtmp://127.0.0.1:{port}/live/event");
    let keys = format!("[[pull]]\nstream = \"live/copy\"\nuri = \"{url}\"\n");
    // It is there before its source is.
    let mut server = Server::start(world, "standalone", &keys);
    wait_for("a word about the source", || {
        server
            .process
            .said()
            .contains("remote-unreachable")
            .then_some(())
    });
    let mut origin = nginx(world, port, LIVE);
    let mut encoder = publish(world, "encoder", &programme(), &url);
    wait_state(&server, "live/copy", true);
    let viewer = watch(world, "viewer", &server.rtmp_url("live/copy"));
    watched(&viewer, 60).assert_part_of(&source, 60);

    // Its source is killed and comes back; whoever watches stays.
    origin.kill();
    encoder.kill();
    wait_state(&server, "live/copy", false);
    let before = watched(&viewer, 1).video.packets.len();
    let _origin = nginx(world, port, LIVE);
    let _encoder = publish(world, "encoder-again", &programme(), &url);
    wait_state(&server, "live/copy", true);
    let after = watched(&viewer, before + 50);
    after.video.assert_never_back("video");
    after.audio.assert_never_back("audio");

    // It is killed itself.
    server.kill_and_restart(world);
    wait_state(&server, "live/copy", true);
    let viewer = watch(world, "viewer-again", &server.rtmp_url("live/copy"));
    watched(&viewer, 60).assert_part_of(&source, 60);
}

pub(crate) fn a_push_comes_back_whoever_was_killed(world: &World) {
    let source = Packets::of_file(world, "ffmpeg", "source", &programme());
    let [port, second] = free_ports();
    let keys = format!(
        "[[push]]\nstream = \"live/event\"\nuri = \"rtmp://127.0.0.1:{port}/live/first-copy\"\n\
         [[push]]\nstream = \"live/event\"\nuri = \"rtmp://127.0.0.1:{second}/live\"\ntarget = \"nobody-hears\"\n"
    );
    let mut server = Server::start(world, "standalone", &keys);
    let mut target = nginx(world, port, LIVE);
    let mut encoder = publish(
        world,
        "encoder",
        &programme(),
        &server.rtmp_url("live/event"),
    );
    let there = format!("rtmp://127.0.0.1:{port}/live/first-copy");
    let viewer = watch(world, "viewer", &there);
    watched(&viewer, 60).assert_part_of(&source, 60);

    // Its target is killed and comes back; who watches here notices nothing of either.
    let here = watch(world, "here", &server.rtmp_url("live/event"));
    watched(&here, 20);
    target.kill();
    // Not remote-unreachable, which is the other push's from the beginning.
    wait_for("a word about the target", || {
        server.process.said().contains("remote-lost").then_some(())
    });
    let _target = nginx(world, port, LIVE);
    let viewer = watch(world, "viewer-again", &there);
    watched(&viewer, 60).assert_part_of(&source, 60);
    watched(&here, 150).assert_part_of(&source, 150);

    // It is killed itself.
    server.kill_and_restart(world);
    server.wait_ready();
    encoder.kill();
    let _encoder = publish(
        world,
        "encoder-again",
        &programme(),
        &server.rtmp_url("live/event"),
    );
    let viewer = watch(world, "viewer-at-last", &there);
    watched(&viewer, 60).assert_part_of(&source, 60);
    assert!(
        !server.process.said().contains("nobody-hears"),
        "a stream key in the log"
    );
}

/// While the encoder is away the target hears nothing, and goes on with the next pictures when it is back.
pub(crate) fn a_push_goes_on_behind_a_pause(world: &World) {
    let source = Packets::of_file(world, "ffmpeg", "source", &programme());
    let [port] = free_ports();
    let keys =
        format!("[[push]]\nstream = \"live/event\"\nuri = \"rtmp://127.0.0.1:{port}/live\"\n");
    let server = Server::start(world, "standalone", &keys);
    let _target = nginx(world, port, LIVE);
    let url = server.rtmp_url("live/event");
    let mut encoder = publish(world, "encoder", &programme(), &url);
    let there = format!("rtmp://127.0.0.1:{port}/live/event");
    let viewer = watch(world, "viewer", &there);
    watched(&viewer, 60).assert_part_of(&source, 60);

    encoder.kill();
    wait_for("the pause", || {
        server
            .process
            .said()
            .contains("its viewers wait")
            .then_some(())
    });
    let before = watched(&viewer, 1).video.packets.len();
    // Longer than nothing: what was not sent until now is not sent any more.
    crate::world::pause(3000);
    let still = watched(&viewer, 1).video.packets.len();
    let _encoder = publish(world, "encoder-again", &programme(), &url);
    let after = watched(&viewer, still + 60);
    assert!(still - before < crate::media::GOP, "{before} {still}");
    after.video.assert_never_back("video");
    after.audio.assert_never_back("audio");
    // ffmpeg keeps a picture or two until it knows what comes next.
    let first = &source.video.packets[0];
    let next = after.video.packets[still..].iter().take(3);
    let goes_on = next.take_while(|packet| *packet != first).count();
    assert!(
        goes_on < 3,
        "it does not go on with the encoder's first picture"
    );
    // Nobody was sent away for it.
    assert!(!server.process.said().contains("remote-lost"));
}

pub(crate) fn a_push_logs_in(world: &World) {
    let source = Packets::of_file(world, "ffmpeg", "source", &programme());
    let target = Server::start(
        world,
        "target",
        &format!("[publish]\nusers = {:?}\n", users(world)),
    );
    let word = world.write("word", &format!("{PASSWORD}\n"));
    let push = |name: &str, login: &str, more: &str| {
        format!(
            "[[push]]\nstream = \"live/event\"\nuri = \"rtmp://{login}127.0.0.1:{}/live\"\ntarget = \"{name}\"\n{more}",
            target.rtmp
        )
    };
    let keys = push("in-uri", &format!("{USER}:{PASSWORD}@"), "")
        + &push(
            "in-file",
            "",
            &format!("user = \"{USER}\"\npassword_file = {word:?}\n"),
        )
        + &push("wrong", &format!("{USER}:incorrect-horse@"), "")
        + &push("without", "", "");
    let server = Server::start(world, "standalone", &keys);
    let _encoder = publish(
        world,
        "encoder",
        &programme(),
        &server.rtmp_url("live/event"),
    );
    for name in ["in-uri", "in-file"] {
        target.wait_live(&format!("live/{name}"));
        let viewer = watch(world, name, &target.rtmp_url(&format!("live/{name}")));
        watched(&viewer, 60).assert_part_of(&source, 60);
    }
    wait_for("a word about the others", || {
        let said = server.process.said();
        let both = ["does not take this user", "wants a login"];
        both.iter().all(|part| said.contains(part)).then_some(())
    });
    let said = server.process.said() + &server.metrics();
    for secret in [PASSWORD, "incorrect-horse", "in-file"] {
        assert!(!said.contains(secret), "{secret} is shown");
    }
}

/// Puts a certificate where the server looks for it.
fn show(world: &World, name: &str) {
    for end in ["pem", "key"] {
        let text = fs::read_to_string(fixture(&format!("{name}.{end}"))).unwrap();
        world.write(&format!("shown.{end}"), &text);
    }
}

pub(crate) fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/tls")
        .join(name)
}

pub(crate) fn a_pull_in_tls_checks_its_source(world: &World) {
    let source = Packets::of_file(world, "ffmpeg", "source", &programme());
    let [rtmps] = free_ports();
    show(world, "ended");
    let listen = format!("rtmps = [\"127.0.0.1:{rtmps}\"]");
    let tls = "[tls]\ncertificate = \"shown.pem\"\nkey = \"shown.key\"\n";
    let origin = Server::launch_with(world, "origin", &binary(), tls, &listen);
    origin.wait_ready();
    let _encoder = publish(
        world,
        "encoder",
        &programme(),
        &origin.rtmp_url("live/event"),
    );
    let pull = |name: &str, more: &str| {
        format!(
            "[[pull]]\nstream = \"live/{name}\"\nuri = \"rtmps://localhost:{rtmps}/live/event\"\n{more}"
        )
    };
    let ca = format!("ca_file = {:?}\n", fixture("ca.pem"));
    let keys = pull("copy", &ca) + &pull("stranger", "");
    let server = Server::start(world, "standalone", &keys);
    let said = |what: &str| {
        wait_for(what, || server.process.said().contains(what).then_some(()));
    };
    said("remote-tls");
    said("expired");
    // One for another name is no better.
    show(world, "other");
    origin.process.signal(Signal::SIGHUP);
    said("other.example.org");
    show(world, "server");
    origin.process.signal(Signal::SIGHUP);
    wait_state(&server, "live/copy", true);
    let viewer = watch(world, "viewer", &server.rtmp_url("live/copy"));
    watched(&viewer, 60).assert_part_of(&source, 60);
    // Nobody the system knows vouches for it.
    wait_state(&server, "live/stranger", false);
}

pub(crate) fn a_mirror_pushes(world: &World) {
    let source = Packets::of_file(world, "ffmpeg", "source", &programme());
    let [port] = free_ports();
    let secret = crate::daemon::secret(world, "secret");
    let keys = crate::daemon::master_keys(&users(world), &secret);
    let master = Server::start(world, "master", &keys);
    let _target = nginx(world, port, LIVE);
    let keys = crate::daemon::mirror_keys(master.rtmp, &secret)
        + &format!("[[push]]\nstream = \"live/*\"\nuri = \"rtmp://127.0.0.1:{port}/live\"\n");
    let mirror = Server::launch(world, "mirror", &crate::daemon::mirror_binary(), &keys);
    mirror.wait_ready();
    let _encoder = publish(
        world,
        "encoder",
        &programme(),
        &master.login_url("live/event"),
    );
    wait_state(&mirror, "live/event", true);
    let viewer = watch(
        world,
        "viewer",
        &format!("rtmp://127.0.0.1:{port}/live/event"),
    );
    watched(&viewer, 60).assert_part_of(&source, 60);
}
