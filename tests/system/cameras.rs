//! Pulls over RTSP, from GStreamer's server: on the connection and in datagrams, with logins, with kills.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::daemon::Server;
use crate::media::Packets;
use crate::programs::{newer_ffmpeg, watch, watch_with, watched};
use crate::remote::{fixture, wait_state};
use crate::ways::make;
use crate::world::{Process, World, free_ports, wait_for, wait_port};

/// Debian's, which has the bindings; another one may come first in the path.
const PYTHON: &str = "/usr/bin/python3";

/// Whether GStreamer's RTSP server is on this machine, for Python.
pub(crate) fn present() -> bool {
    let asks = "import gi; gi.require_version('GstRtspServer', '1.0')";
    let mut command = Command::new(PYTHON);
    let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
    quiet.args(["-c", asks]).status().is_ok_and(|s| s.success())
}

/// A file as long as a test may take.
fn long(world: &World, file: &Path) -> PathBuf {
    let whole = world.path("long.flv");
    let mut command = Command::new("ffmpeg");
    command
        .args(["-hide_banner", "-y", "-stream_loop", "30", "-i"])
        .arg(file)
        .args(["-c", "copy"])
        .arg(&whole);
    let made = world.run("long", &mut command, Duration::from_secs(120));
    assert!(made.status.success(), "{}", made.err);
    whole
}

fn camera(world: &World, name: &str, port: u16, file: &Path, login: &[&str]) -> Process {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/system/camera.py");
    let mut command = Command::new(PYTHON);
    command.args([script, &port.to_string()]).arg(file);
    let process = world.start(name, command.args(login));
    wait_port(port);
    process
}

fn said(server: &Server, what: &str) {
    wait_for(&format!("{what} in the log"), || {
        server.process.said().contains(what).then_some(())
    });
}

pub(crate) fn a_camera_is_pulled_on_its_connection(world: &World) {
    let (file, source) = make(world);
    let file = long(world, &file);
    let [port] = free_ports();
    let pull = |name: &str, login: &str, rest: &str| {
        format!(
            "[[pull]]\nstream = \"live/{name}\"\nuri = \"rtsp://{login}127.0.0.1:{port}/{rest}\"\n"
        )
    };
    let word = world.write("word", "correct-horse\n");
    let in_file = format!("user = \"ann\"\npassword_file = {word:?}\n");
    let keys = pull("camera", "ann:correct-horse@", "live?token=battery")
        + &pull("in-file", "", "live")
        + &in_file
        + &pull("wrong", "ann:incorrect-horse@", "live")
        + &pull("without", "", "live")
        + &pull("none", "ann:correct-horse@", "nothing-there");
    // It is there before its source is.
    let server = Server::start(world, "standalone", &keys);
    said(&server, "remote-unreachable");
    let login = ["digest", "ann", "correct-horse"];
    let mut first = camera(world, "camera", port, &file, &login);
    wait_state(&server, "live/camera", true);
    wait_state(&server, "live/in-file", true);
    let viewer = watch(world, "viewer", &server.rtmp_url("live/camera"));
    // Longer than a session lasts that nobody asks about.
    watched(&viewer, 300).assert_part_of(&source, 300);
    said(&server, "does not take this user and password");
    said(&server, "asks for a login");
    said(&server, "refused DESCRIBE: 404");
    wait_state(&server, "live/wrong", false);

    // The camera loses its power; whoever watches stays.
    first.kill();
    wait_state(&server, "live/camera", false);
    let before = watched(&viewer, 1).video.packets.len();
    let again = camera(world, "camera-again", port, &file, &login);
    wait_state(&server, "live/camera", true);
    let after = watched(&viewer, before + 100);
    after.video.assert_never_back("video");
    after.audio.assert_never_back("audio");
    let shown = server.process.said() + &server.metrics();
    for secret in ["correct-horse", "battery"] {
        assert!(!shown.contains(secret), "{secret} is shown");
    }
    // It takes its leave.
    server.process.signal(Signal::SIGTERM);
    wait_for("a TEARDOWN", || {
        again.said().contains("TEARDOWN").then_some(())
    });
}

pub(crate) fn a_camera_is_pulled_in_datagrams(world: &World) {
    let (file, source) = make(world);
    let file = long(world, &file);
    let [port] = free_ports();
    let keys = format!(
        "[[pull]]\nstream = \"live/camera\"\nuri = \"rtsp://ann:correct-horse@127.0.0.1:{port}/live\"\ntransport = \"udp\"\n"
    );
    let login = ["basic", "ann", "correct-horse"];
    let mut first = camera(world, "camera", port, &file, &login);
    let server = Server::start(world, "standalone", &keys);
    wait_state(&server, "live/camera", true);
    let viewer = watch(world, "viewer", &server.rtmp_url("live/camera"));
    let flv = watch(world, "flv", &server.flv_url("live/camera"));
    watched(&viewer, 300).assert_part_of(&source, 300);
    watched(&flv, 100).assert_part_of(&source, 100);
    let broken = server.metric("crtmpserver_media_errors_total", "");
    assert!(broken.abs() < 0.5, "{}", server.metrics());
    first.kill();
    wait_state(&server, "live/camera", false);
    let again = camera(world, "camera-again", port, &file, &login);
    wait_state(&server, "live/camera", true);
    // The new one's, from its beginning.
    let later = watch(world, "later", &server.rtmp_url("live/camera"));
    watched(&later, 60).assert_part_of(&source, 60);
    server.process.signal(Signal::SIGTERM);
    wait_for("a TEARDOWN", || {
        again.said().contains("TEARDOWN").then_some(())
    });
    assert!(!server.process.said().contains("correct-horse"));
}

pub(crate) fn a_camera_in_tls_is_pulled(world: &World) {
    let (file, source) = make(world);
    let file = long(world, &file);
    let [port] = free_ports();
    let [ca, stranger, shown, key] =
        ["ca.pem", "vain.pem", "server.pem", "server.key"].map(fixture);
    let pull = |name: &str, ca: &Path| {
        format!(
            "[[pull]]\nstream = \"live/{name}\"\nuri = \"rtsps://ann:correct-horse@localhost:{port}/live\"\nca_file = {ca:?}\n"
        )
    };
    let login = ["digest", "ann", "correct-horse"];
    let tls = [&shown, &key].map(|file| file.to_str().unwrap());
    let _camera = camera(world, "camera", port, &file, &[&login[..], &tls].concat());
    let keys = pull("camera", &ca) + &pull("stranger", &stranger);
    let server = Server::start(world, "standalone", &keys);
    wait_state(&server, "live/camera", true);
    let viewer = watch(world, "viewer", &server.rtmp_url("live/camera"));
    watched(&viewer, 100).assert_part_of(&source, 100);
    said(&server, "remote-tls");
    said(&server, "authority that is not known");
    wait_state(&server, "live/stranger", false);
    assert!(!server.process.said().contains("correct-horse"));
}

pub(crate) fn a_camera_of_h265_is_pulled(world: &World) {
    let file = world.path("hevc.mp4");
    let mut make = Command::new("ffmpeg");
    make.args(["-hide_banner", "-y", "-f", "lavfi", "-i"])
        .args(["testsrc2=s=320x180:r=25:d=60", "-f", "lavfi", "-i"])
        .args([
            "sine=440:r=48000:d=60",
            "-c:a",
            "aac",
            "-pix_fmt",
            "yuv420p",
        ])
        .args(["-c:v", "libx265", "-preset", "ultrafast", "-x265-params"])
        .arg("keyint=25:min-keyint=25:scenecut=0:bframes=0:open-gop=0:log-level=error")
        .arg(&file);
    let made = world.run("make", &mut make, Duration::from_secs(120));
    assert!(made.status.success(), "{}", made.err);
    let [port] = free_ports();
    let keys =
        format!("[[pull]]\nstream = \"live/camera\"\nuri = \"rtsp://127.0.0.1:{port}/live\"\n");
    let _camera = camera(world, "camera", port, &file, &[]);
    let server = Server::start(world, "standalone", &keys);
    wait_state(&server, "live/camera", true);
    let source = Packets::of_file(world, &newer_ffmpeg(), "source", &file);
    let url = server.flv_url("live/camera");
    let viewer = watch_with(world, &newer_ffmpeg(), "viewer", &url);
    let packets = watched(&viewer, 60);
    packets.video.assert_never_back("video");
    let all = &source.video.packets;
    let strange = packets.video.packets.iter().position(|p| !all.contains(p));
    assert_eq!(strange, None, "a picture is none of the source");
    packets.audio.assert_run(&source.audio, "audio");
    assert!(viewer.stdout().contains("hevc"), "{}", viewer.stdout());
}
