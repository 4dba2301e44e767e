//! Stream keys: publishing by one, and that nobody else ever reads it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::daemon::{Server, binary, master_keys, mirror_binary, mirror_keys, secret, users};
use crate::media::programme;
use crate::programs::{publish, watch, watched};
use crate::ways::send;
use crate::world::{World, free_ports, get, wait_for, wait_port};

/// Runs `crtmpserver key`; what it wrote.
fn key(file: &Path, words: &[&str]) -> String {
    let mut command = Command::new(binary());
    command.arg("key").args(words).arg("--file").arg(file);
    let output = command.output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "key {words:?}: {said}");
    String::from_utf8(output.stdout).expect("text")
}

/// A new key for `live/event`.
fn add(file: &Path, label: &str) -> String {
    let shown = key(file, &["add", "live/event", "--label", label]);
    let found = shown.lines().find_map(|l| l.strip_prefix("Stream key:  "));
    found.expect("the key").to_owned()
}

fn keys_file(world: &World) -> (PathBuf, String) {
    let file = world.path("keys");
    let key = add(&file, "studio");
    (file, key)
}

/// A server whose control socket can be asked.
struct Asked {
    server: Server,
    /// The system's address of a socket has no room for the folder of the logs.
    folder: tempfile::TempDir,
}

impl std::ops::Deref for Asked {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

fn launch(world: &World, name: &str, binary: &Path, keys: &str) -> Asked {
    let folder = tempfile::tempdir().unwrap();
    let socket = format!("control = {:?}", folder.path().join("c.sock"));
    Asked {
        server: Server::launch_with(world, name, binary, keys, &socket),
        folder,
    }
}

fn start(world: &World, keys: &str) -> Asked {
    let asked = launch(world, "standalone", &binary(), keys);
    asked.server.wait_ready();
    asked
}

/// Everything that the server says to anybody.
fn everything(asked: &Asked) -> String {
    let pages = [
        "/",
        "/live/event",
        "/live/event.json",
        "/metrics",
        "/healthz",
        "/cluster.json",
    ];
    let bodies = pages.iter().filter_map(|page| get(asked.http, page));
    let mut all: String = bodies.map(|(_, body)| body).collect();
    let socket = asked.folder.path().join("c.sock");
    for (program, verb) in [
        ("status", None),
        ("ctl", Some("streams")),
        ("ctl", Some("viewers")),
        ("ctl", Some("mirrors")),
        ("ctl", Some("remotes")),
        ("ctl", Some("recordings")),
        ("ctl", Some("health")),
        ("ctl", Some("listConnections")),
        ("ctl", Some("listStreams")),
        ("ctl", Some("listConfig")),
    ] {
        for form in [None, Some("--json")] {
            let mut command = Command::new(binary());
            command.arg(program).arg("--socket").arg(&socket);
            let output = command.args(form).args(verb).output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout);
            let wrong = String::from_utf8_lossy(&output.stderr);
            let answered = !wrong.contains("no server answers");
            let asked = output.status.code() != Some(64);
            assert!(answered && asked, "{program} {verb:?}: {wrong}");
            all = all + &said + &wrong;
        }
    }
    all + &asked.process.said()
}

fn is_refused(world: &World, name: &str, url: &str) -> String {
    let mut encoder = publish(world, name, &programme(), url);
    let ended = encoder.wait(Duration::from_secs(60));
    assert!(!ended.success(), "{name} came in");
    encoder.stderr()
}

/// A part of a key that no other text has by chance.
fn part(key: &str) -> &str {
    &key[3..13]
}

pub(crate) fn a_key_publishes_and_is_shown_nowhere(world: &World) {
    let (file, right) = keys_file(world);
    let server = start(world, &format!("[publish]\nkeys = {file:?}\n"));
    // What is no key is refused: a wrong one, one with a slip, a plain name, the key in another
    // application.
    let wrong = format!("sk_{}", "abcdefghij".repeat(2));
    let slip = right.replace("sk_", "");
    let refused = |name: &str, url: &str| is_refused(world, name, &server.rtmp_url(url));
    let said = [
        refused("wrong", &format!("live/{wrong}")),
        refused("slip", &format!("live/{slip}")),
        refused("plain", "live/event"),
    ];
    for said in said {
        assert!(said.contains("needs a stream key"), "{said}");
    }
    // In the encoder's other field: whatever stands there is the application.
    refused("other-field", &format!("live/{right}/event"));
    let hint = "belongs into the encoder's field for the stream key";
    assert!(server.process.said().contains(hint), "{hint}");
    refused("elsewhere", &format!("nowhere/{right}"));
    assert!(!server.metrics().contains("live/event"));
    // The right one publishes, with whatever an encoder puts behind it.
    let url = server.rtmp_url(&format!("live/{right}?bandwidth=1"));
    let mut encoder = publish(world, "encoder", &programme(), &url);
    server.wait_live("live/event");
    let viewer = watch(world, "viewer", &server.rtmp_url("live/event"));
    watched(&viewer, 40);
    // A player gets nothing by the key.
    let mut player = watch(world, "player", &server.rtmp_url(&format!("live/{right}")));
    assert!(!player.wait(Duration::from_secs(60)).success());
    assert_eq!(
        get(server.http, &format!("/live/{right}.flv")).map(|(s, _)| s),
        Some(404)
    );
    let all = everything(&server);
    assert!(
        all.contains("user=key:studio") && all.contains("crtmpserver_") && all.contains("SUCCESS"),
        "{all}"
    );
    // A second encoder with the same key waits for the first to fall silent.
    let second = is_refused(world, "second", &url);
    assert!(second.contains("live/event is not available"), "{second}");
    encoder.signal(Signal::SIGINT);
    encoder.wait(Duration::from_secs(30));
    wait_for("its end", || {
        server.process.said().contains("unpublished").then_some(())
    });
    let all = everything(&server);
    for secret in [&right, &wrong] {
        assert!(!all.contains(part(secret)), "a key in\n{all}");
    }
    assert!(!encoder.stderr().contains("Stream sk_"), "told back");
}

pub(crate) fn revoked_keys_end_their_publishers(world: &World) {
    let (file, first) = keys_file(world);
    let server = start(world, &format!("[publish]\nkeys = {file:?}\n"));
    // One that is made while the server runs counts at once.
    let second = add(&file, "truck");
    let url = |key: &str| server.rtmp_url(&format!("live/{key}"));
    let mut encoder = publish(world, "encoder", &programme(), &url(&second));
    server.wait_live("live/event");
    key(&file, &["revoke", "studio"]);
    is_refused(world, "revoked", &url(&first));
    assert!(encoder.running(), "the other key is good");
    key(&file, &["revoke", "truck"]);
    assert!(!encoder.wait(Duration::from_secs(30)).success());
    let said = server.process.said();
    assert!(
        said.contains("code=\"key-revoked\"") || said.contains("key-revoked"),
        "{said}"
    );
    assert!(
        !said.contains(part(&first)) && !said.contains(part(&second)),
        "{said}"
    );
    // Nor does a key become a name where everybody may publish.
    let mut asked = server;
    let rtmp = asked.rtmp;
    asked
        .server
        .reload(world, "[publish]\nnetworks = [\"any\"]\n", rtmp);
    let server = asked;
    wait_for("the reload", || {
        server
            .process
            .said()
            .contains("configuration read again")
            .then_some(())
    });
    let said = is_refused(world, "open", &url_of(&server, &second));
    assert!(said.contains("no such stream key"), "{said}");
    assert!(!everything(&server).contains(part(&second)));
}

fn url_of(server: &Server, key: &str) -> String {
    server.rtmp_url(&format!("live/{key}"))
}

pub(crate) fn keys_and_logins_live_beside_each_other(world: &World) {
    let (file, right) = keys_file(world);
    let secret = secret(world, "secret");
    let keys = master_keys(&users(world), &secret)
        .replace("[publish]\n", &format!("[publish]\nkeys = {file:?}\n"));
    let keys = keys.replace("networks = [\"loopback\"]", "networks = []");
    // Its pages are closed to this machine, too.
    let master = launch(world, "master", &binary(), &keys);
    wait_port(master.rtmp);
    let mirror = mirror_keys(master.rtmp, &secret);
    let mirror = launch(world, "mirror", &mirror_binary(), &mirror);
    mirror.wait_ready();
    let published = |by: &str, times: usize| {
        wait_for(by, || {
            let said = master.process.said();
            (said.matches(&format!("user={by} ")).count() >= times).then_some(())
        });
    };
    // No login where users exist; on a master that is closed to strangers.
    let mut encoder = publish(world, "by-key", &programme(), &url_of(&master, &right));
    published("key:studio", 1);
    mirror.wait_live("live/event");
    encoder.signal(Signal::SIGINT);
    encoder.wait(Duration::from_secs(30));
    // Who would have to log in is told at its second try.
    let said = is_refused(world, "no-login", &master.rtmp_url("live/event"));
    assert!(said.contains("a stream key, or a user"), "{said}");
    let said = is_refused(world, "no-login-2", &master.rtmp_url("live/event"));
    assert!(said.contains("auth"), "{said}");
    is_refused(world, "login-1", &master.login_url("live/event"));
    let mut encoder = publish(
        world,
        "login",
        &programme(),
        &master.login_url("live/event"),
    );
    published("ann", 1);
    // One with a key at the same address says so; the stream is the other's.
    let beside = master.rtmp_url(&format!("live?key/{right}"));
    let said = is_refused(world, "beside", &beside);
    assert!(said.contains("is not available"), "{said}");
    encoder.signal(Signal::SIGINT);
    encoder.wait(Duration::from_secs(30));
    let by_key = publish(world, "by-key-again", &programme(), &beside);
    published("key:studio", 2);
    let viewer = watch(world, "viewer", &mirror.rtmp_url("live/event"));
    watched(&viewer, 40);
    // An encoder that was pointed at a mirror by mistake.
    is_refused(world, "at-the-mirror", &url_of(&mirror, &right));
    drop(by_key);
    for server in [&master, &mirror] {
        let all = everything(server);
        assert!(!all.contains(part(&right)), "a key in\n{all}");
    }
}

/// An encoder without RTMP has no login, and needs no network when it has a key.
pub(crate) fn a_key_publishes_over_rtsp(world: &World) {
    let (file, first) = keys_file(world);
    let second = add(&file, "truck");
    let [port] = free_ports();
    let listener = format!("[[listen.rtsp]]\naddress = \"127.0.0.1:{port}\"\nnetworks = []\n");
    let server = start(world, &format!("{listener}[publish]\nkeys = {file:?}\n"));
    let send = |name: &str, path: &str| {
        let form = ["-f", "rtsp", "-rtsp_transport", "tcp"];
        let url = format!("rtsp://127.0.0.1:{port}/{path}");
        send(world, name, &programme(), &form, &url)
    };
    let wrong = format!("sk_{}", "abcdefghij".repeat(2));
    let slip = first.replace("sk_", "");
    let elsewhere = format!("nowhere/{first}");
    for path in [
        "live/event",
        &format!("live/{wrong}"),
        &format!("live/{slip}"),
        &elsewhere,
    ] {
        let mut refused = send("refused", path);
        assert!(!refused.wait(Duration::from_secs(60)).success(), "{path}");
        assert!(
            refused.stderr().contains("403"),
            "{path}: {}",
            refused.stderr()
        );
    }
    let mut encoder = send("encoder", &format!("live/{second}"));
    server.wait_live("live/event");
    let viewer = watch(world, "viewer", &server.rtmp_url("live/event"));
    watched(&viewer, 40);
    let all = everything(&server);
    assert!(all.contains("user=key:truck"), "{all}");
    key(&file, &["revoke", "truck"]);
    assert!(!encoder.wait(Duration::from_secs(30)).success());
    wait_for("the reason", || {
        server.process.said().contains("key-revoked").then_some(())
    });
    let all = everything(&server);
    for secret in [&first, &second, &wrong] {
        assert!(!all.contains(part(secret)), "a key in\n{all}");
    }
}
