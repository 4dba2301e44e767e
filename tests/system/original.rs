//! A configuration of the original, in the layout of Debian's package, started as it is.

use std::fs;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::daemon::{PASSWORD, Server, USER};
use crate::media::{Packets, programme};
use crate::programs::{publish, watch, watched};
use crate::world::{World, free_ports, wait_for};

/// Debian's folder with these ports, and a user. `conf.d` beside it says what the original did not know.
fn folder(world: &World, rtmp: u16, http: u16) -> std::path::PathBuf {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/original/debian");
    for name in [
        "crtmpserver.lua",
        "enabled_applications.conf",
        "log_appenders.lua",
        "applications/appselector.lua",
        "applications/flvplayback.lua",
    ] {
        let text = fs::read_to_string(from.join(name)).unwrap();
        let text = text.replace("ip = \"0.0.0.0\"", "ip = \"127.0.0.1\"");
        put(world, name, &text.replace("1935", &rtmp.to_string()));
    }
    put(
        world,
        "conf.d/test.toml",
        &format!(
            "[listen]\nhttp = [\"127.0.0.1:{http}\"]\ncontrol = \"\"\n[log]\nformat = \"text\"\n"
        ),
    );
    user(world, PASSWORD);
    world.path("etc/crtmpserver.lua")
}

fn put(world: &World, name: &str, text: &str) {
    let path = world.path(&format!("etc/{name}"));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn user(world: &World, password: &str) {
    let text = format!("users = {{ {USER} = \"{password}\", }}\n");
    put(world, "conf.d/users.lua", &text);
}

pub(crate) fn debians_folder_serves_with_its_users(world: &World) {
    let source = Packets::of_file(world, "ffmpeg", "source", &programme());
    let [rtmp, http] = free_ports();
    let file = folder(world, rtmp, http);
    let server = Server::start_file(world, "original", &file, rtmp, http);
    let said = server.process.said();
    for wanted in [
        "inboundRtmp|",
        "flvplayback|",
        "RTMPE",
        "inboundLiveFlv",
        "code=\"configuration\"",
    ] {
        assert!(said.contains(wanted), "{wanted} in {said}");
    }
    let _encoder = publish(
        world,
        "encoder",
        &programme(),
        &server.login_url("flvplayback/event"),
    );
    server.wait_live("flvplayback/event");
    // Played by a name that an alias gives it, and over HTTP.
    let viewer = watch(world, "viewer", &server.rtmp_url("live/event"));
    let flv = watch(world, "flv", &server.flv_url("flvplayback/event"));
    watched(&viewer, 40).assert_part_of(&source, 40);
    watched(&flv, 40).assert_part_of(&source, 40);
    let wrong = format!("rtmp://{USER}:incorrect@127.0.0.1:{rtmp}/live/other");
    let mut wrong = publish(world, "wrong-password", &programme(), &wrong);
    assert!(!wrong.wait(Duration::from_secs(60)).success(), "it came in");

    // Another password in the file counts without a word to the server.
    user(world, "another-horse-8");
    let url = format!("rtmp://{USER}:another-horse-8@127.0.0.1:{rtmp}/live/second");
    let _second = publish(world, "second", &programme(), &url);
    server.wait_live("flvplayback/second");

    // A file that runs in a loop is refused, and what ran goes on; a good one is taken up.
    let application = world.path("etc/applications/flvplayback.lua");
    let good = fs::read_to_string(&application).unwrap();
    put(world, "applications/flvplayback.lua", "while true do end");
    server.process.signal(Signal::SIGHUP);
    wait_for("the refusal", || {
        let said = server.process.said();
        said.contains("reload refused, what ran goes on")
            .then_some(())
    });
    assert!(server.process.said().contains("does it run in a loop?"));
    put(
        world,
        "applications/flvplayback.lua",
        &good.replace("\"vod\"", "\"cinema\""),
    );
    server.process.signal(Signal::SIGHUP);
    wait_for("the reload", || {
        server
            .process
            .said()
            .contains("configuration read again: ")
            .then_some(())
    });
    let cinema = watch(world, "cinema", &server.rtmp_url("cinema/event"));
    watched(&cinema, 40).assert_part_of(&source, 40);
    let said = server.process.said();
    assert!(
        !said.contains(PASSWORD) && !said.contains("another-horse"),
        "a password in the log"
    );
}
