//! The other programs: publishers, receivers, and nginx as somebody else's server.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::media::{FRAME_HASHES, Packets, wait_packets};
use crate::world::{Process, World, pause, wait_for, wait_port};

/// Whether a program is on this machine.
pub(crate) fn present(program: &str) -> bool {
    if program.contains('/') {
        return Path::new(program).exists();
    }
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).exists()))
        || Path::new("/usr/sbin").join(program).exists()
}

/// A newer ffmpeg than Debian's, which `tests/run` gets from PyPI.
pub(crate) fn newer_ffmpeg() -> String {
    std::env::var("TEST_NEWER_FFMPEG")
        .unwrap_or_else(|_| format!("{}/target/newer-ffmpeg/ffmpeg", env!("CARGO_MANIFEST_DIR")))
}

/// ffmpeg publishes a file's packets as they are, in real time, in a loop.
pub(crate) fn publish(world: &World, name: &str, file: &Path, url: &str) -> Process {
    publish_with(world, "ffmpeg", name, file, url)
}

pub(crate) fn publish_with(
    world: &World,
    ffmpeg: &str,
    name: &str,
    file: &Path,
    url: &str,
) -> Process {
    let mut command = Command::new(ffmpeg);
    command
        .args([
            "-hide_banner",
            "-loglevel",
            "verbose",
            "-re",
            "-stream_loop",
            "-1",
            "-i",
        ])
        .arg(file)
        // No process outlives a broken test run for long.
        .args(["-t", "900", "-c", "copy", "-f", "flv", url]);
    world.start(name, &mut command)
}

/// A receiver of `framehash` lines: ffmpeg on any URL.
pub(crate) fn watch(world: &World, name: &str, url: &str) -> Process {
    watch_with(world, "ffmpeg", name, url)
}

pub(crate) fn watch_with(world: &World, ffmpeg: &str, name: &str, url: &str) -> Process {
    let mut command = Command::new(ffmpeg);
    command
        .args(["-hide_banner", "-loglevel", "verbose", "-i", url])
        .args(FRAME_HASHES)
        .arg("-");
    world.start(name, &mut command)
}

/// Waits until a [`watch`] has `least` pictures.
pub(crate) fn watched(watcher: &Process, least: usize) -> Packets {
    wait_packets("ffmpeg", least, || watcher.stdout())
}

/// rtmpdump receives for some seconds; its file's packets.
pub(crate) fn rtmpdump(world: &World, name: &str, url: &str, seconds: u64) -> Packets {
    let file = world.path(&format!("{name}.flv"));
    let mut command = Command::new("rtmpdump");
    command
        .args([
            "--verbose",
            "--live",
            "--timeout",
            "20",
            "--rtmp",
            url,
            "--flv",
        ])
        .arg(&file);
    let mut process = world.start(name, &mut command);
    wait_for("rtmpdump receives", || file_grows(&file));
    pause(seconds * 1000);
    process.signal(Signal::SIGINT);
    process.wait(Duration::from_secs(30));
    Packets::of_file(world, "ffmpeg", &format!("{name}-packets"), &file)
}

/// GStreamer's own RTMP client receives for some seconds; its file's packets.
pub(crate) fn gstreamer(world: &World, name: &str, url: &str, seconds: u64) -> Packets {
    let file = world.path(&format!("{name}.flv"));
    let mut command = Command::new("gst-launch-1.0");
    command
        .args([
            "-e",
            "rtmp2src",
            &format!("location={url}"),
            "!",
            "filesink",
        ])
        .args([
            "buffer-mode=unbuffered",
            &format!("location={}", file.display()),
        ]);
    let mut process = world.start(name, &mut command);
    wait_for("GStreamer receives", || file_grows(&file));
    pause(seconds * 1000);
    process.signal(Signal::SIGINT);
    pause(1000);
    process.kill();
    Packets::of_file(world, "ffmpeg", &format!("{name}-packets"), &file)
}

fn file_grows(file: &Path) -> Option<()> {
    (std::fs::metadata(file).ok()?.len() > 20_000).then_some(())
}

/// nginx with its RTMP module; `applications` are its `application` blocks.
pub(crate) fn nginx(world: &World, port: u16, applications: &str) -> Process {
    let dir = world.path("");
    let dir = dir.display();
    let configuration = world.write(
        "nginx.conf",
        &format!(
            "load_module /usr/lib/nginx/modules/ngx_rtmp_module.so;
daemon off;
master_process off;
worker_processes 1;
pid {dir}/nginx.pid;
error_log stderr info;
events {{ worker_connections 256; }}
rtmp {{
    access_log {dir}/nginx-access.log;
    server {{
        listen 127.0.0.1:{port};
        chunk_size 4096;
        {applications}
    }}
}}
"
        ),
    );
    let mut command = nginx_program();
    command
        .arg("-p")
        .arg(world.path(""))
        .arg("-c")
        .arg(configuration);
    let process = world.start("nginx", &mut command);
    wait_port(port);
    process
}

/// Where Debian has it, which is in no user's path.
pub(crate) fn nginx_program() -> Command {
    let usual = Path::new("/usr/sbin/nginx");
    Command::new(if usual.exists() {
        usual
    } else {
        Path::new("nginx")
    })
}

/// 4 s of HEVC or AV1 with AAC, a key frame each 25 pictures, in Enhanced RTMP's FLV.
pub(crate) fn make_enhanced(world: &World, codec: &str) -> PathBuf {
    let file = world.path(&format!("{codec}.flv"));
    let encoder: &[&str] = match codec {
        "hevc" => &[
            "libx265",
            "-preset",
            "ultrafast",
            "-x265-params",
            "keyint=25:min-keyint=25:scenecut=0:bframes=0:open-gop=0:log-level=error",
        ],
        "av1" => &[
            "libaom-av1",
            "-cpu-used",
            "8",
            "-lag-in-frames",
            "0",
            "-g",
            "25",
        ],
        other => panic!("no recipe for {other}"),
    };
    let mut command = Command::new(newer_ffmpeg());
    command
        .args([
            "-hide_banner",
            "-y",
            "-f",
            "lavfi",
            "-i",
            "testsrc2=s=320x180:r=25:d=4",
        ])
        .args([
            "-f",
            "lavfi",
            "-i",
            "sine=440:r=48000:d=4",
            "-pix_fmt",
            "yuv420p",
            "-c:v",
        ])
        .args(encoder)
        .args(["-c:a", "aac", "-b:a", "64k", "-f", "flv"])
        .arg(&file);
    let made = world.run("make", &mut command, Duration::from_secs(120));
    assert!(made.status.success(), "no {codec} file:\n{}", made.err);
    file
}

/// 16 s of AV1 with Opus, a key frame each 25 pictures: ffmpeg cannot send such a file in a loop.
pub(crate) fn make_opus(world: &World) -> PathBuf {
    let file = world.path("opus.flv");
    let mut command = Command::new(newer_ffmpeg());
    command
        .args(["-hide_banner", "-y"])
        .args(["-f", "lavfi", "-i", "testsrc2=s=320x180:r=25:d=16"])
        .args(["-f", "lavfi", "-i", "sine=440:r=48000:d=16"])
        .args(["-pix_fmt", "yuv420p", "-c:v", "libaom-av1"])
        .args(["-cpu-used", "8", "-lag-in-frames", "0", "-g", "25"])
        .args(["-c:a", "libopus", "-b:a", "64k", "-f", "flv"])
        .arg(&file);
    let made = world.run("make", &mut command, Duration::from_secs(120));
    assert!(made.status.success(), "no file with Opus:\n{}", made.err);
    file
}

/// librtmp publishes a file in real time, by GStreamer's older element; `location` has librtmp's options.
pub(crate) fn librtmp_publish(world: &World, name: &str, file: &Path, location: &str) -> Process {
    let shim = world.path("librtmp-nul.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/system/librtmp-nul.c");
    let mut compile = Command::new("cc");
    compile
        .args(["-shared", "-fPIC", "-O2", "-o"])
        .arg(&shim)
        .arg(source);
    let made = world.run("shim", &mut compile, Duration::from_secs(60));
    assert!(made.status.success(), "{}", made.err);
    let mut command = Command::new("gst-launch-1.0");
    command
        .env("LD_PRELOAD", shim)
        .args([
            "-q",
            "filesrc",
            &format!("location={}", file.display()),
            "!",
        ])
        .args([
            "flvdemux",
            "name=in",
            "flvmux",
            "name=out",
            "streamable=true",
            "!",
        ])
        .args(["rtmpsink", "sync=true", &format!("location={location}")])
        .args(["in.video", "!", "queue", "!", "out.video"])
        .args(["in.audio", "!", "queue", "!", "out.audio"]);
    world.start(name, &mut command)
}
