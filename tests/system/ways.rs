//! Encoders that speak no RTMP: bare FLV over TCP, MPEG-TS over TCP and UDP, RTSP.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::daemon::{Server, binary, master_keys, mirror_binary, mirror_keys, secret, users};
use crate::media::{Packets, programme};
use crate::programs::{watch, watched};
use crate::world::{Process, World, free_ports, pause, wait_for, wait_port};

/// A server with these tables in front of all others.
fn server(world: &World, tables: &str) -> Server {
    let listen = format!("\n{tables}");
    let server = Server::launch_with(world, "standalone", &binary(), "", &listen);
    server.wait_ready();
    server
}

/// ffmpeg sends a file's packets as they are, in real time, in a loop.
pub(crate) fn send(world: &World, name: &str, file: &Path, form: &[&str], url: &str) -> Process {
    let mut command = Command::new("ffmpeg");
    command
        .args(["-hide_banner", "-loglevel", "verbose", "-re"])
        .args(["-stream_loop", "-1", "-i"])
        .arg(file)
        .args(["-t", "300", "-c", "copy"])
        .args(form)
        .arg(url);
    world.start(name, &mut command)
}

/// 8 s of H.264 in high profile with AAC, a key frame each 25 pictures, and parameter sets nowhere but in
/// front of all: other containers have them in the stream, from where they are taken out again.
pub(crate) fn make(world: &World) -> (PathBuf, Packets) {
    let file = world.path("source.flv");
    let mut make = Command::new("ffmpeg");
    make.args(["-hide_banner", "-y", "-f", "lavfi", "-i"])
        .args(["testsrc2=s=320x180:r=25:d=8", "-f", "lavfi", "-i"])
        .args(["sine=440:r=48000:d=8", "-pix_fmt", "yuv420p"])
        .args(["-c:v", "libx264", "-preset", "veryfast", "-bf", "0"])
        .args(["-g", "25", "-sc_threshold", "0", "-c:a", "aac"])
        .args(["-b:a", "96k", "-f", "flv"])
        .arg(&file);
    let made = world.run("make", &mut make, Duration::from_secs(120));
    assert!(made.status.success(), "{}", made.err);
    let packets = Packets::of_file(world, "ffmpeg", "source", &file);
    (file, packets)
}

/// The same behind ADTS, which has no more of the sound's configuration than the two bytes 11 88.
fn make_for_ts(world: &World) -> (PathBuf, Packets) {
    let (file, mut packets) = make(world);
    packets.audio.configuration = Some("cdd1cabd6a1c62444654c1c92a85b2bf".to_owned());
    (file, packets)
}

/// GStreamer sends a file in real time, five times over: `sink` are the elements behind its two tracks,
/// of which the one named `out` takes both.
fn launch(world: &World, name: &str, file: &Path, sink: &[&str]) -> Process {
    let long = world.path(&format!("{name}.flv"));
    let mut make = Command::new("ffmpeg");
    make.args(["-hide_banner", "-y", "-stream_loop", "4", "-i"])
        .arg(file)
        .args(["-c", "copy"])
        .arg(&long);
    let made = world.run("make-longer", &mut make, Duration::from_secs(60));
    assert!(made.status.success(), "{}", made.err);
    let mut command = Command::new("gst-launch-1.0");
    command
        .args(["-q", "filesrc"])
        .arg(format!("location={}", long.display()))
        .args(["!", "flvdemux", "name=in"])
        .args(sink)
        .args(["in.video", "!", "queue", "!", "h264parse", "!", "out."])
        .args(["in.audio", "!", "queue", "!", "aacparse", "!", "out."]);
    world.start(name, &mut command)
}

/// Every protocol gives what the source has, packet for packet.
fn assert_played(world: &World, server: &Server, stream: &str, source: &Packets, least: usize) {
    server.wait_live(stream);
    let name = stream.replace('/', "-");
    let hls = format!("http://127.0.0.1:{}/{stream}.m3u8", server.http);
    let watchers = [
        watch(world, &format!("{name}-rtmp"), &server.rtmp_url(stream)),
        watch(world, &format!("{name}-flv"), &server.flv_url(stream)),
        watch(world, &format!("{name}-hls"), &hls),
    ];
    for watcher in &watchers {
        watched(watcher, least).assert_part_of(source, least);
    }
}

/// What a stream's row of `status` says of its source.
fn said(server: &Server, word: &str) {
    wait_for(&format!("{word} in the log"), || {
        server.process.said().contains(word).then_some(())
    });
}

pub(crate) fn live_flv_is_passed_on(world: &World) {
    let source = Packets::of_file(world, "ffmpeg", "source", &programme());
    let [named, free, closed] = free_ports();
    let tables = format!(
        "[[listen.liveflv]]\naddress = \"127.0.0.1:{named}\"\nstream = \"event\"\n\
         [[listen.liveflv]]\naddress = \"127.0.0.1:{free}\"\n\
         [[listen.liveflv]]\naddress = \"127.0.0.1:{closed}\"\nstream = \"closed\"\nnetworks = [\"192.0.2.0/24\"]\n"
    );
    let server = server(world, &tables);
    let to = |port: u16| format!("tcp://127.0.0.1:{port}");
    let mut encoder = send(world, "encoder", &programme(), &["-f", "flv"], &to(named));
    assert_played(world, &server, "live/event", &source, 120);
    // The encoder's metadata name the other one.
    let own = ["-metadata", "streamName=studio", "-f", "flv"];
    let _second = send(world, "named-by-itself", &programme(), &own, &to(free));
    assert_played(world, &server, "live/studio", &source, 60);
    let _refused = send(world, "refused", &programme(), &["-f", "flv"], &to(closed));
    said(&server, "not-listed");
    // The name is taken.
    let _late = send(world, "late", &programme(), &["-f", "flv"], &to(named));
    said(&server, "code=\"busy\"");
    let publishers = server.metric("crtmpserver_publishers", "");
    assert!((publishers - 2.0).abs() < 0.5, "{publishers}");
    assert!(server.metric("crtmpserver_bytes_in_total", "liveflv") > 100_000.0);
    encoder.kill();
    said(&server, "unpublished");
}

pub(crate) fn mpeg_ts_over_tcp(world: &World) {
    let (file, source) = make_for_ts(world);
    let [ffmpeg, gstreamer] = free_ports();
    let tables = format!(
        "[[listen.ts]]\naddress = \"tcp://127.0.0.1:{ffmpeg}\"\nstream = \"ffmpeg\"\n\
         [[listen.ts]]\naddress = \"tcp://127.0.0.1:{gstreamer}\"\nstream = \"gstreamer\"\n"
    );
    let server = server(world, &tables);
    let url = format!("tcp://127.0.0.1:{ffmpeg}");
    let _encoder = send(world, "encoder", &file, &["-f", "mpegts"], &url);
    let port = format!("port={gstreamer}");
    let sink = ["mpegtsmux", "name=out", "!", "identity", "sync=true", "!"];
    let sink = [&sink[..], &["tcpclientsink", "host=127.0.0.1", &port]].concat();
    let _other = launch(world, "gstreamer", &file, &sink);
    assert_played(world, &server, "live/gstreamer", &source, 80);
    assert_played(world, &server, "live/ffmpeg", &source, 150);
    let broken = server.metric("crtmpserver_media_errors_total", "");
    assert!(broken.abs() < 0.5, "{}", server.metrics());
}

pub(crate) fn mpeg_ts_over_udp(world: &World) {
    let (file, source) = make_for_ts(world);
    let [port, group, gstreamer] = free_ports();
    let tables = format!(
        "[[listen.ts]]\naddress = \"udp://127.0.0.1:{port}\"\nstream = \"one\"\n\
         [[listen.ts]]\naddress = \"udp://127.0.0.1:{gstreamer}\"\nstream = \"gstreamer\"\n\
         [[listen.ts]]\naddress = \"udp://239.255.7.7:{group}\"\nstream = \"group\"\n\
         interface = \"127.0.0.1\"\nnetworks = [\"any\"]\nsource = \"127.0.0.1\"\n"
    );
    let server = server(world, &tables);
    let other = format!("port={gstreamer}");
    let sink = ["mpegtsmux", "name=out", "alignment=7", "!", "udpsink"];
    let sink = [&sink[..], &["host=127.0.0.1", &other]].concat();
    let _other = launch(world, "gstreamer", &file, &sink);
    let url = format!("udp://127.0.0.1:{port}?pkt_size=1316");
    let mut encoder = send(world, "encoder", &file, &["-f", "mpegts"], &url);
    let url = format!("udp://239.255.7.7:{group}?pkt_size=1316&localaddr=127.0.0.1");
    let _group = send(world, "group", &file, &["-f", "mpegts"], &url);
    assert_played(world, &server, "live/gstreamer", &source, 100);
    assert_played(world, &server, "live/one", &source, 100);
    assert_played(world, &server, "live/group", &source, 60);
    // A second source waits until the first is silent, and goes on with the stream.
    let url = format!("udp://127.0.0.1:{port}?pkt_size=1316");
    let _second = send(world, "second", &file, &["-f", "mpegts"], &url);
    said(&server, "second-source");
    let viewer = watch(world, "viewer", &server.rtmp_url("live/one"));
    watched(&viewer, 20);
    encoder.kill();
    watched(&viewer, 150);
    assert!(server.process.said().contains("code=\"cut\""));
}

pub(crate) fn hevc_over_mpeg_ts(world: &World) {
    let [port] = free_ports();
    let ts = world.path("hevc.ts");
    let mut make = Command::new("ffmpeg");
    make.args(["-hide_banner", "-y", "-f", "lavfi", "-i"])
        .args(["testsrc2=s=320x180:r=25:d=8", "-f", "lavfi", "-i"])
        .args(["sine=440:r=44100:d=8", "-pix_fmt", "yuv420p"])
        .args(["-c:v", "libx265", "-preset", "ultrafast", "-x265-params"])
        .arg("keyint=25:min-keyint=25:scenecut=0:bframes=2:open-gop=0:log-level=error")
        .args(["-c:a", "libmp3lame", "-f", "mpegts"])
        .arg(&ts);
    let made = world.run("make", &mut make, Duration::from_secs(120));
    assert!(made.status.success(), "{}", made.err);
    let table = format!("[[listen.ts]]\naddress = \"tcp://127.0.0.1:{port}\"\nstream = \"hevc\"\n");
    let server = server(world, &table);
    let url = format!("tcp://127.0.0.1:{port}");
    let _encoder = send(world, "encoder", &ts, &["-f", "mpegts"], &url);
    server.wait_live("live/hevc");
    let ffmpeg = crate::programs::newer_ffmpeg();
    let viewer =
        crate::programs::watch_with(world, &ffmpeg, "viewer", &server.flv_url("live/hevc"));
    let packets = watched(&viewer, 60);
    assert!(packets.audio.packets.len() > 20);
    packets.video.assert_never_back("video");
    let text = viewer.stdout();
    assert!(text.contains("hevc") && text.contains("mp3"), "{text}");
}

pub(crate) fn operators_kick_and_reload_them(world: &World) {
    let [port, later, control] = free_ports();
    let socket = world.path(&format!("{control}.sock"));
    let table = |stream: &str, port: u16| {
        format!("[[listen.ts]]\naddress = \"udp://127.0.0.1:{port}\"\nstream = \"{stream}\"\n")
    };
    let keys = |tables: &str| format!("[listen]\ncontrol = {socket:?}\n{tables}");
    let whole = |tables: &str, server: [u16; 2]| {
        let [rtmp, http] = server;
        format!(
            "{}\n[log]\nformat = \"text\"\n",
            keys(tables).replace(
                "[listen]\n",
                &format!(
                    "[listen]\nrtmp = [\"127.0.0.1:{rtmp}\"]\nhttp = [\"127.0.0.1:{http}\"]\n"
                )
            )
        )
    };
    let ports = free_ports();
    let file = world.write("standalone.toml", &whole(&table("one", port), ports));
    let mut command = Command::new(binary());
    command.arg("--allow-root").arg(&file).env("NO_COLOR", "1");
    let process = world.start("standalone", &mut command);
    let [_, http] = ports;
    wait_port(http);
    let ctl = |name: &str, words: &[&str]| {
        let mut command = Command::new(binary());
        command.args(words).arg("--socket").arg(&socket);
        world.run(name, &mut command, Duration::from_secs(20)).out
    };
    let url = format!("udp://127.0.0.1:{port}?pkt_size=1316");
    let _encoder = send(world, "encoder", &programme(), &["-f", "mpegts"], &url);
    wait_for("status shows the source", || {
        let shown = ctl("status", &["status"]);
        let all = [
            "live/one",
            "ts 127.0.0.1:",
            "MPEG-TS",
            &format!("ts udp://127.0.0.1:{port}"),
        ];
        all.iter().all(|word| shown.contains(word)).then_some(())
    });
    // The name changes with the next reload, the socket stays; another one opens.
    let tables = table("two", port) + &table("three", later);
    world.write("standalone.toml", &whole(&tables, ports));
    process.signal(nix::sys::signal::Signal::SIGHUP);
    wait_for("the stream has its new name", || {
        ctl("streams", &["ctl", "streams"])
            .contains("live/two")
            .then_some(())
    });
    let kicked = ctl("kick", &["ctl", "kick", "live/two"]);
    assert!(kicked.contains("live/two"), "{kicked}");
    wait_for("it is kicked", || {
        process.said().contains("unpublished").then_some(())
    });
    pause(1500);
    let shown = ctl("after", &["ctl", "streams", "--json"]);
    assert!(
        shown.contains("\"waiting\"") && !shown.contains("\"live\""),
        "{shown}"
    );
    let url = format!("udp://127.0.0.1:{later}?pkt_size=1316");
    let _other = send(world, "other", &programme(), &["-f", "mpegts"], &url);
    wait_for("the new listener's stream", || {
        ctl("streams", &["ctl", "streams"])
            .contains("live/three")
            .then_some(())
    });
}

pub(crate) fn rubbish_hurts_nobody(world: &World) {
    let source = Packets::of_file(world, "ffmpeg", "source", &programme());
    let [flv, tcp, udp] = free_ports();
    let tables = format!(
        "[[listen.liveflv]]\naddress = \"127.0.0.1:{flv}\"\nstream = \"event\"\n\
         [[listen.ts]]\naddress = \"tcp://127.0.0.1:{tcp}\"\nstream = \"tcp\"\n\
         [[listen.ts]]\naddress = \"udp://127.0.0.1:{udp}\"\nstream = \"udp\"\n"
    );
    let server = server(world, &tables);
    let url = format!("tcp://127.0.0.1:{flv}");
    let _encoder = send(world, "encoder", &programme(), &["-f", "flv"], &url);
    server.wait_live("live/event");
    let viewer = watch(world, "viewer", &server.rtmp_url("live/event"));
    watched(&viewer, 10);
    let before = server.process.memory();
    let mut state = 7u32;
    let mut noise = vec![0u8; 1 << 20];
    for byte in &mut noise {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *byte = state.to_be_bytes()[0];
    }
    for (at, byte) in noise.iter_mut().enumerate().step_by(188) {
        *byte = if at % 5 == 0 { 1 } else { 0x47 };
    }
    let datagrams = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    for round in 0..5 {
        for port in [flv, tcp] {
            let mut stream = crate::world::connect(port);
            // It may be closed before all of it is there.
            let _ = std::io::Write::write_all(&mut stream, &noise);
            let _ = stream.shutdown(std::net::Shutdown::Write);
        }
        for part in noise.chunks(1316) {
            let _ = datagrams.send_to(&part[round..], ("127.0.0.1", udp));
        }
    }
    said(&server, "this is not an FLV file");
    watched(&viewer, 100).assert_part_of(&source, 100);
    let grown = server.process.memory().saturating_sub(before);
    assert!(grown < 24 * 1024, "{grown} KiB more");
    assert!(server.metric("crtmpserver_panics_total", "").abs() < 0.5);
    assert!(server.metric("crtmpserver_media_errors_total", "unreadable") > 0.0);
}

pub(crate) fn rtsp_announce(world: &World) {
    let (file, source) = make(world);
    let [port] = free_ports();
    let server = server(
        world,
        &format!("[[listen.rtsp]]\naddress = \"127.0.0.1:{port}\"\n"),
    );
    let to = |path: &str| format!("rtsp://127.0.0.1:{port}/{path}");
    let tcp = ["-rtsp_transport", "tcp", "-f", "rtsp"];
    let encoder = send(world, "tcp", &file, &tcp, &to("live/tcp"));
    let udp = ["-rtsp_transport", "udp", "-f", "rtsp"];
    let _datagrams = send(world, "udp", &file, &udp, &to("flvplayback/udp"));
    assert_played(world, &server, "live/tcp", &source, 150);
    assert_played(world, &server, "live/udp", &source, 60);
    // The name is taken; nothing is played here; a name is only ever a name.
    let mut late = send(world, "late", &file, &tcp, &to("live/tcp"));
    assert!(!late.wait(Duration::from_secs(30)).success());
    assert!(late.stderr().contains("403"), "{}", late.stderr());
    let mut player = watch(world, "player", &to("live/tcp"));
    assert!(!player.wait(Duration::from_secs(30)).success());
    assert!(player.stderr().contains("405"), "{}", player.stderr());
    let mut odd = send(world, "odd", &file, &tcp, &to("live/../x"));
    assert!(!odd.wait(Duration::from_secs(30)).success());
    encoder.signal(nix::sys::signal::Signal::SIGINT);
    said(&server, "unpublished");
    let broken = server.metric("crtmpserver_media_errors_total", "broken");
    assert!(broken.abs() < 0.5, "{}", server.metrics());
}

/// Whether GStreamer can publish over RTSP.
pub(crate) fn has_rtsp_client() -> bool {
    let mut inspect = Command::new("gst-inspect-1.0");
    let found = inspect.args(["--exists", "rtspclientsink"]).status();
    found.is_ok_and(|status| status.success())
}

/// GStreamer as it is without any option but where to and by what.
pub(crate) fn rtsp_announce_by_gstreamer(world: &World) {
    let (file, source) = make(world);
    let [port] = free_ports();
    let server = server(
        world,
        &format!("[[listen.rtsp]]\naddress = \"127.0.0.1:{port}\"\n"),
    );
    let encoders = ["tcp", "udp"].map(|by| {
        let url = format!("location=rtsp://127.0.0.1:{port}/live/{by}");
        let by_it = format!("protocols={by}");
        let sink = ["rtspclientsink", "name=out", &url, &by_it];
        launch(world, by, &file, &sink)
    });
    assert_played(world, &server, "live/tcp", &source, 150);
    assert_played(world, &server, "live/udp", &source, 100);
    let wrong = server.metric("crtmpserver_media_errors_total", "");
    assert!(wrong.abs() < 0.5, "{}", server.metrics());
    for encoder in &encoders {
        encoder.signal(nix::sys::signal::Signal::SIGINT);
    }
    wait_for("both are gone", || {
        (server.metric("crtmpserver_publishers", "") == 0.0).then_some(())
    });
}

/// What comes in goes into files and to mirrors, as what comes over RTMP does.
pub(crate) fn all_is_recorded_and_mirrored(world: &World) {
    let (file, source) = make(world);
    let (_, of_ts) = make_for_ts(world);
    let [ts, rtsp] = free_ports();
    let (secret, folder) = (secret(world, "secret"), world.path("recordings"));
    std::fs::create_dir_all(&folder).unwrap();
    let keys = master_keys(&users(world), &secret);
    let keys = format!(
        "{keys}[relay]\ngrace = \"2s\"\n[record]\nstreams = [\"*\"]\nfolder = {folder:?}\nmin_free = \"0B\"\n\
         name = \"{{stream}}\"\n"
    );
    let tables = format!(
        "[[listen.ts]]\naddress = \"tcp://127.0.0.1:{ts}\"\nstream = \"ts\"\n\
         [[listen.rtsp]]\naddress = \"127.0.0.1:{rtsp}\"\n"
    );
    let master = Server::launch_with(world, "master", &binary(), &keys, &tables);
    master.wait_ready();
    let mirror = mirror_keys(master.rtmp, &secret);
    let mirror = Server::launch(world, "mirror", &mirror_binary(), &mirror);
    mirror.wait_ready();
    let url = format!("tcp://127.0.0.1:{ts}");
    let by_ts = send(world, "ts", &file, &["-f", "mpegts"], &url);
    let url = format!("rtsp://127.0.0.1:{rtsp}/live/rtsp");
    let form = ["-rtsp_transport", "tcp", "-f", "rtsp"];
    let by_rtsp = send(world, "rtsp", &file, &form, &url);
    assert_played(world, &mirror, "live/ts", &of_ts, 100);
    assert_played(world, &mirror, "live/rtsp", &source, 100);
    for encoder in [&by_ts, &by_rtsp] {
        encoder.signal(nix::sys::signal::Signal::SIGINT);
    }
    wait_for("both are unpublished", || {
        (master.metric("crtmpserver_publishers", "") == 0.0).then_some(())
    });
    wait_for("no recording goes on", || {
        (master.metric("crtmpserver_recordings", "") == 0.0).then_some(())
    });
    for (name, source) in [("ts", of_ts), ("rtsp", source)] {
        let recorded = folder.join(format!("{name}.flv"));
        let packets = Packets::of_file(world, "ffmpeg", &format!("{name}-recorded"), &recorded);
        packets.assert_part_of(&source, 100);
        assert_eq!(packets.video.packets[0], source.video.packets[0], "{name}");
    }
}

pub(crate) fn rtsp_with_reordered_pictures(world: &World) {
    let [port] = free_ports();
    let file = world.path("reordered.mp4");
    let mut make = Command::new("ffmpeg");
    make.args(["-hide_banner", "-y", "-f", "lavfi", "-i"])
        .args(["testsrc2=s=320x180:r=25:d=8", "-f", "lavfi", "-i"])
        .args(["sine=440:r=48000:d=8", "-pix_fmt", "yuv420p"])
        .args(["-c:v", "libx264", "-preset", "veryfast", "-g", "25"])
        .args(["-bf", "2", "-sc_threshold", "0", "-c:a", "aac"])
        .arg(&file);
    let made = world.run("make", &mut make, Duration::from_secs(120));
    assert!(made.status.success(), "{}", made.err);
    let source = Packets::of_file(world, "ffmpeg", "source", &file);
    let server = server(
        world,
        &format!("[[listen.rtsp]]\naddress = \"127.0.0.1:{port}\"\n"),
    );
    let url = format!("rtsp://127.0.0.1:{port}/live/event");
    let form = ["-rtsp_transport", "tcp", "-f", "rtsp"];
    let _encoder = send(world, "encoder", &file, &form, &url);
    assert_played(world, &server, "live/event", &source, 60);
}
