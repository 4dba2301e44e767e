//! The verbs of the command line over TCP, with other people's programs at both ends.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::Value;

use crate::daemon::{Server, binary, master_keys, mirror_binary, mirror_keys, secret, users};
use crate::media::{Packets, programme};
use crate::programs::{nginx, publish, watch, watched};
use crate::world::{World, free_ports, wait_for};

const LIVE: &str = "application live { live on; wait_key on; }";

/// A line, and what came of it.
fn say(port: u16, line: &str) -> Value {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    // The end of the connection is the end of the answers.
    socket
        .write_all(format!("{line}\r\nquit\r\n").as_bytes())
        .unwrap();
    let mut text = String::new();
    socket.read_to_string(&mut text).unwrap();
    let (answer, bye) = text.split_once("\r\n\r\n").unwrap();
    assert!(bye.contains("Bye!"), "{text}");
    serde_json::from_str(answer).unwrap()
}

fn done(port: u16, line: &str) -> Value {
    let answer = say(port, line);
    assert_eq!(answer["status"], "SUCCESS", "{line}: {answer}");
    answer["data"].clone()
}

pub(crate) fn a_pull_and_a_push_survive_a_kill(world: &World) {
    let source = Packets::of_file(world, "ffmpeg", "source", &programme());
    let [port, cli] = free_ports();
    let state = world.path("state");
    fs::create_dir_all(&state).unwrap();
    let keys = format!("[server]\nstate = {state:?}\n");
    let listen = format!("cli = [\"127.0.0.1:{cli}\"]");
    let mut server = Server::launch_with(world, "standalone", &binary(), &keys, &listen);
    server.wait_ready();
    let target = Server::start(world, "target", "");
    let url = format!("rtmp://127.0.0.1:{port}/live/event");
    let _origin = nginx(world, port, LIVE);
    let _encoder = publish(world, "encoder", &programme(), &url);

    let pull = done(cli, &format!("pullStream uri={url} localStreamName=copy"));
    let there = format!("rtmp://127.0.0.1:{}/live", target.rtmp);
    let push = done(
        cli,
        &format!("pushStream uri={there} localStreamName=copy targetStreamName=again"),
    );
    server.wait_live("live/copy");
    target.wait_live("live/again");
    for (name, url) in [
        ("copy", server.rtmp_url("live/copy")),
        ("again", target.rtmp_url("live/again")),
    ] {
        let viewer = watch(world, name, &url);
        watched(&viewer, 60).assert_part_of(&source, 60);
    }

    server.kill_and_restart(world);
    server.wait_live("live/copy");
    target.wait_live("live/again");
    let viewer = watch(world, "copy-of-the-second", &server.rtmp_url("live/copy"));
    watched(&viewer, 60).assert_part_of(&source, 60);
    let viewer = watch(world, "again-of-the-second", &target.rtmp_url("live/again"));
    watched(&viewer, 60).assert_part_of(&source, 60);
    let list = done(cli, "listConfig");
    for (way, config) in [("pull", &pull), ("push", &push)] {
        assert_eq!(list[way][0]["configId"], config["configId"], "{list}");
    }

    // What is removed is gone, for whoever watches and after the next start.
    for config in [&pull, &push] {
        done(cli, &format!("removeConfig id={}", config["configId"]));
    }
    wait_for("the stream is gone", || {
        let running = done(cli, "isStreamRunning localStreamName=copy");
        (running["isRunning"] == false).then_some(())
    });
    server.kill_and_restart(world);
    server.wait_ready();
    let list = done(cli, "listConfig");
    for way in ["pull", "push"] {
        assert_eq!(list[way].as_array().map(Vec::len), Some(0), "{list}");
    }
}

pub(crate) fn a_mirror_pushes_and_pulls_nothing(world: &World) {
    let source = Packets::of_file(world, "ffmpeg", "source", &programme());
    let secret = secret(world, "secret");
    let master = Server::start(world, "master", &master_keys(&users(world), &secret));
    let [cli] = free_ports();
    let keys = mirror_keys(master.rtmp, &secret);
    let listen = format!("cli = [\"127.0.0.1:{cli}\"]");
    let mirror = Server::launch_with(world, "mirror", &mirror_binary(), &keys, &listen);
    mirror.wait_ready();
    let _encoder = publish(
        world,
        "encoder",
        &programme(),
        &master.login_url("live/event"),
    );
    mirror.wait_live("live/event");
    let target = Server::start(world, "target", "");

    let refused = say(cli, "pullStream uri=rtmp://127.0.0.1:1/live/x");
    assert_eq!(refused["status"], "FAIL");
    assert!(
        refused["description"].to_string().contains("mirror"),
        "{refused}"
    );
    let there = format!("rtmp://127.0.0.1:{}/live", target.rtmp);
    done(
        cli,
        &format!("pushStream uri={there} localStreamName=event"),
    );
    target.wait_live("live/event");
    let viewer = watch(world, "viewer", &target.rtmp_url("live/event"));
    watched(&viewer, 60).assert_part_of(&source, 60);
    let ended = say(cli, "shutdownStream localStreamName=event");
    assert_eq!(ended["status"], "FAIL", "it is the master's");
    assert!(
        ended["description"].to_string().contains("master"),
        "{ended}"
    );
}
