//! Peers that mean no good, while a viewer watches: they are closed by a limit, memory stays flat, and
//! the viewer does not notice.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use crtmpserver::amf::{Value, object};
use crtmpserver::rtmp::chunk::ChunkWriter;
use crtmpserver::rtmp::command::Command as Rtmp;
use crtmpserver::rtmp::message::{Message, kind};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::daemon::{Server, binary};
use crate::media::programme;
use crate::programs::publish;
use crate::viewer::{Tag, Viewer};
use crate::world::{Process, World, connect, get, local, pause, wait_for};

/// A server with a live stream and a viewer who must not be disturbed.
struct Scene {
    server: Server,
    viewer: Viewer,
    memory: u64,
    descriptors: usize,
    _encoder: Process,
}

impl Scene {
    fn start(world: &World) -> Self {
        let keys = "[limits]\nhandshake_timeout = \"2s\"\nconnect_timeout = \"2s\"\nidle_timeout = \"3s\"\n";
        let server = Server::start(world, "standalone", keys);
        let encoder = publish(
            world,
            "encoder",
            &programme(),
            &server.rtmp_url("live/event"),
        );
        server.wait_live("live/event");
        let viewer = Viewer::open(world, "viewer", server.http, "live/event");
        viewer.wait_pictures(220); // once round: the log has its size
        Self {
            memory: server.process.memory(),
            descriptors: server.process.descriptors(),
            server,
            viewer,
            _encoder: encoder,
        }
    }

    /// Everything is as it was before.
    fn end(self, world: &World) {
        self.viewer.wait_more(30);
        let memory = self.server.process.memory();
        assert!(
            memory < self.memory + 24 * 1024,
            "memory grew from {} to {memory} KiB",
            self.memory
        );
        wait_for("all descriptors are back", || {
            (self.server.process.descriptors() <= self.descriptors + 4).then_some(())
        });
        self.viewer.assert_sane();
        assert_eq!(self.viewer.count(Tag::is_notice), 0);
        let numbers = self.viewer.numbers(world);
        assert!(
            numbers.windows(2).all(|w| w[1] == (w[0] + 1) % 200),
            "the viewer lost pictures: {numbers:?}"
        );
    }
}

/// Waits until the server closes the connection, and tells what it sent before.
fn closed_within(stream: &mut TcpStream, limit: Duration, what: &str) -> Vec<u8> {
    let begun = Instant::now();
    let mut got = Vec::new();
    let mut buffer = [0; 4096];
    stream
        .set_read_timeout(Some(Duration::from_millis(200)))
        .expect("a limit");
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return got,
            Ok(n) => got.extend_from_slice(&buffer[..n]),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return got, // reset
        }
        assert!(
            begun.elapsed() < limit,
            "{what}: not closed within {limit:?}"
        );
    }
}

/// A connection whose handshake is done.
fn shaken(port: u16) -> TcpStream {
    let mut stream = connect(port);
    let mut hello = vec![0; 1537];
    hello[0] = 3;
    stream.write_all(&hello).expect("C0 and C1");
    let mut answer = vec![0; 1 + 2 * 1536];
    stream.read_exact(&mut answer).expect("S0, S1 and S2");
    stream.write_all(&answer[1..1537]).expect("C2");
    stream
}

fn command(command: &Rtmp) -> Message {
    Message {
        chunk_stream: 3,
        kind: kind::COMMAND_AMF0,
        timestamp: 0,
        stream: 0,
        payload: command.encode(kind::COMMAND_AMF0),
    }
}

/// A connection that the server has accepted as a player's.
fn connected(port: u16) -> TcpStream {
    let mut stream = shaken(port);
    let mut connect = Rtmp::call("connect", 1.0, Vec::new());
    connect.object = object([
        ("app", Value::from("live")),
        ("tcUrl", format!("rtmp://127.0.0.1:{port}/live").into()),
    ]);
    let mut wire = BytesMut::new();
    ChunkWriter::new().write(&mut wire, &command(&connect));
    stream.write_all(&wire).expect("connect");
    let mut got = Vec::new();
    let mut buffer = [0; 4096];
    while !got.windows(25).any(|w| w == b"NetConnection.Connect.Suc") {
        let n = stream.read(&mut buffer).expect("the answer to connect");
        assert!(n > 0, "closed instead of an answer");
        got.extend_from_slice(&buffer[..n]);
    }
    stream
}

const SOON: Duration = Duration::from_secs(5);

pub(crate) fn broken_handshakes(world: &World) {
    let scene = Scene::start(world);
    let port = scene.server.rtmp;
    // Half a handshake, and silence: closed by the handshake's deadline.
    let mut half = connect(port);
    half.write_all(&[3; 700]).unwrap();
    // One byte now and then does not move that deadline.
    let mut drip = connect(port);
    drip.write_all(&[3]).unwrap();
    let begun = Instant::now();
    let mut dropped = false;
    while begun.elapsed() < SOON && !dropped {
        dropped = drip.write_all(&[0]).is_err();
        pause(100);
    }
    assert!(dropped, "a dripping handshake is kept");
    closed_within(&mut half, SOON, "half a handshake");
    for (what, bytes) in [
        ("text", b"hello, is this RTMP?\r\n\r\n".to_vec()),
        ("encrypted", vec![6; 1537]),
        ("zeros", vec![0; 4000]),
        ("ones", vec![0xff; 4000]),
    ] {
        let mut stream = connect(port);
        let _ = stream.write_all(&bytes);
        closed_within(&mut stream, SOON, what);
    }
    let mut stream = shaken(port);
    let noise: Vec<u8> = (0..60_000u32)
        .map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[1])
        .collect();
    let _ = stream.write_all(&noise);
    closed_within(&mut stream, SOON, "noise behind a handshake");
    let mut stream = shaken(port);
    closed_within(&mut stream, SOON, "silence behind a handshake");
    let mut stream = connected(port);
    closed_within(
        &mut stream,
        Duration::from_secs(8),
        "silence behind connect",
    );
    scene.end(world);
}

pub(crate) fn hostile_chunks(world: &World) {
    let scene = Scene::start(world);
    let port = scene.server.rtmp;
    // A claim of 16 MiB costs a header and nothing else.
    for kind in [20, 18, 8, 9, 1, 4] {
        let mut stream = connected(port);
        let _ = stream.write_all(&[3, 0, 0, 0, 0xff, 0xff, 0xff, kind, 0, 0, 0, 0]);
        let _ = stream.write_all(&[0; 64]);
        closed_within(&mut stream, SOON, &format!("16 MiB of type {kind}"));
    }
    for size in [0, 1, 1 << 31, u32::MAX] {
        let mut stream = connected(port);
        let mut bytes = vec![2, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0];
        bytes.extend_from_slice(&u32::to_be_bytes(size));
        let _ = stream.write_all(&bytes);
        closed_within(&mut stream, SOON, &format!("a chunk size of {size}"));
    }
    // 1,000 messages that begin and never end, each on a chunk stream of its own.
    let mut stream = connected(port);
    for n in 0..1000u16 {
        // The two-byte form of an id: low byte first.
        let [low, high] = n.to_le_bytes();
        let mut bytes = vec![1, low, high, 0, 0, 0, 0, 0x20, 0, 20];
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&[0; 128]);
        if stream.write_all(&bytes).is_err() {
            break;
        }
    }
    closed_within(&mut stream, SOON, "1,000 half-open messages");
    scene.end(world);
}

pub(crate) fn hostile_values(world: &World) {
    let scene = Scene::start(world);
    let port = scene.server.rtmp;
    let nested = |depth: usize| {
        let mut payload = Rtmp::call("connect", 1.0, Vec::new())
            .encode(kind::COMMAND_AMF0)
            .to_vec();
        for _ in 0..depth {
            payload.extend_from_slice(&[0x0a, 0, 0, 0, 1]);
        }
        payload.push(5);
        payload
    };
    let many_keys = {
        let mut payload = Rtmp::call("call", 2.0, Vec::new())
            .encode(kind::COMMAND_AMF0)
            .to_vec();
        payload.push(3);
        for n in 0..9000u32 {
            payload.extend_from_slice(&[0, 4]);
            payload.extend_from_slice(format!("{n:04}").as_bytes());
            payload.push(5);
        }
        payload.extend_from_slice(&[0, 0, 9]);
        payload
    };
    // An array that claims 2^32 - 1 elements and has none.
    let mut liar = Rtmp::call("call", 2.0, Vec::new())
        .encode(kind::COMMAND_AMF0)
        .to_vec();
    liar.extend_from_slice(&[0x0a, 0xff, 0xff, 0xff, 0xff]);
    for (what, before, payload) in [
        ("10,000 nested arrays", false, nested(10_000)),
        ("6,000 nested arrays before connect", true, nested(6_000)),
        ("10,000 nested arrays after connect", false, nested(10_000)),
        ("33 nested arrays", false, nested(33)),
        ("9,000 keys", false, many_keys),
        ("a liar's array", false, liar),
    ] {
        let mut stream = if before {
            shaken(port)
        } else {
            connected(port)
        };
        let mut wire = BytesMut::new();
        let message = Message {
            payload: payload.into(),
            ..command(&Rtmp::call("x", 0.0, Vec::new()))
        };
        ChunkWriter::new().write(&mut wire, &message);
        let _ = stream.write_all(&wire);
        closed_within(&mut stream, SOON, what);
    }
    scene.end(world);
}

pub(crate) fn floods(world: &World) {
    let scene = Scene::start(world);
    let port = scene.server.rtmp;
    let call = |name: &str, stream: u32, args: Vec<Value>| Message {
        stream,
        ..command(&Rtmp::call(name, 2.0, args))
    };
    let ping = Message {
        chunk_stream: 2,
        kind: kind::USER_CONTROL,
        payload: vec![0, 6, 0, 0, 0, 1].into(),
        ..call("x", 0, Vec::new())
    };
    let play = call("play", 1, vec!["no such name!".into()]);
    for (what, message) in [
        ("pings", ping),
        ("calls", call("createStream", 0, Vec::new())),
        ("refused plays", play),
    ] {
        let mut stream = connected(port);
        let mut reader = stream.try_clone().expect("a clone");
        let answers = std::thread::spawn(move || {
            let mut buffer = [0; 65536];
            while matches!(reader.read(&mut buffer), Ok(1..)) {}
        });
        let mut wire = BytesMut::new();
        let mut writer = ChunkWriter::new();
        writer.write(
            &mut wire,
            &command(&Rtmp::call("createStream", 2.0, Vec::new())),
        );
        for _ in 0..500 {
            writer.write(&mut wire, &message);
        }
        let begun = Instant::now();
        while stream.write_all(&wire).is_ok() {
            assert!(begun.elapsed() < SOON, "a flood of {what} goes on");
            wire.clear();
            for _ in 0..500 {
                writer.write(&mut wire, &message);
            }
        }
        answers.join().expect("the reader");
    }
    // 1,000 connections that are refused one after the other are not 1,000 lines.
    for _ in 0..1000 {
        let mut stream = connect(scene.server.http);
        let _ = stream.write_all(b"\0garbage\r\n\r\n");
        closed_within(&mut stream, SOON, "garbage to HTTP");
    }
    let said = scene.server.process.said();
    let lines = said.lines().filter(|l| !l.contains(" DEBUG ")).count();
    assert!(lines < 250, "{lines} lines in the log");
    scene.end(world);
}

/// A connection from another address of this machine, so that limits per address hit it alone.
fn connect_from(last: u8, port: u16) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SockAddr::from(std::net::SocketAddr::from((
        [127, 0, 0, last],
        0,
    ))))?;
    socket.connect_timeout(&SockAddr::from(local(port)), Duration::from_secs(5))?;
    Ok(socket.into())
}

pub(crate) fn a_thousand_silent_connections(world: &World) {
    let scene = Scene::start(world);
    for port in [scene.server.rtmp, scene.server.http] {
        let mut silent: Vec<TcpStream> = (0..1000)
            .filter_map(|_| connect_from(9, port).ok())
            .collect();
        assert!(silent.len() > 900, "only {}", silent.len());
        // Most are closed at once: one address may have 64 unfinished logins.
        wait_for("most are closed at once", || {
            let open = silent.iter().filter(|s| is_open(s)).count();
            (open <= 64).then_some(())
        });
        // Who comes from elsewhere is served meanwhile.
        let other = Viewer::open(world, "other", scene.server.http, "live/event");
        other.wait_pictures(10);
        // And the rest by the deadline.
        for stream in &mut silent {
            closed_within(stream, Duration::from_secs(20), "a silent connection");
        }
    }
    scene.end(world);
}

/// A master that means no good: the mirror drops it, tries on at its own pace, and keeps its size.
pub(crate) fn a_hostile_master(world: &World) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its address").port();
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&calls);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let n = counter.fetch_add(1, Ordering::Relaxed);
            if let Ok(mut stream) = stream {
                std::thread::spawn(move || misbehave(&mut stream, n));
            }
        }
    });
    let keys = format!(
        "role = \"mirror\"\n[mirror]\nmaster = \"rtmp://127.0.0.1:{port}\"\nstreams = [\"live/event\"]\n"
    );
    let mirror = Server::launch(world, "mirror", &crate::daemon::mirror_binary(), &keys);
    wait_for("a few calls", || {
        (calls.load(Ordering::Relaxed) >= 6).then_some(())
    });
    let memory = mirror.process.memory();
    let (before, begun) = (calls.load(Ordering::Relaxed), Instant::now());
    pause(8000);
    let rate = (calls.load(Ordering::Relaxed) - before) as f64 / begun.elapsed().as_secs_f64();
    assert!(rate > 0.2, "it gave up");
    assert!(rate < 12.0, "{rate} calls a second");
    assert!(mirror.process.memory() < memory + 16 * 1024, "memory grows");
    assert!(get(mirror.http, "/healthz").is_some(), "it does not answer");
    assert!(
        mirror.process.said().lines().count() < 400,
        "it fills the log"
    );
}

/// What the `n`th caller of the hostile master gets.
fn misbehave(stream: &mut TcpStream, n: usize) {
    let noise = vec![0x5a; 200_000];
    if n.is_multiple_of(5) {
        return; // closed at once
    }
    if n % 5 == 1 {
        let _ = stream.write_all(&noise);
        return;
    }
    let mut hello = vec![0; 1 + 2 * 1536];
    hello[0] = 3;
    let _ = stream.write_all(&hello);
    let _ = stream.read_exact(&mut hello);
    let claim = [3, 0, 0, 0, 0xff, 0xff, 0xff, 20, 0, 0, 0, 0];
    let _ = match n % 5 {
        2 => stream.write_all(&noise),
        3 => stream.write_all(&claim),
        _ => Ok(()), // never says anything again
    };
    let _ = std::io::copy(stream, &mut std::io::sink());
}

fn is_open(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).expect("a flag");
    let mut byte = [0];
    let open = matches!(stream.peek(&mut byte), Err(e) if e.kind() == ErrorKind::WouldBlock);
    stream.set_nonblocking(false).expect("a flag");
    open
}

pub(crate) fn descriptors_run_out(world: &World) {
    let scene = Scene::start(world);
    let pid = scene.server.process.pid().to_string();
    let limit = |n: &str| {
        let done = Command::new("prlimit")
            .args(["--pid", &pid, &format!("--nofile={n}:")])
            .status();
        assert!(done.is_ok_and(|s| s.success()), "prlimit");
    };
    limit(&(scene.descriptors + 3).to_string());
    let waiting: Vec<TcpStream> = (0..20)
        .filter_map(|_| connect_from(8, scene.server.rtmp).ok())
        .collect();
    pause(1500);
    limit("1024");
    drop(waiting);
    // The listener is still there, and did not fill the log meanwhile.
    wait_for("a login after that", || {
        let mut stream = connect_from(7, scene.server.rtmp).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
        let mut hello = vec![0; 1537];
        hello[0] = 3;
        stream.write_all(&hello).ok()?;
        stream.read_exact(&mut [0; 1]).ok()?;
        stream.shutdown(Shutdown::Both).ok()
    });
    let said = scene.server.process.said();
    let lines = said
        .lines()
        .filter(|l| l.to_lowercase().contains("accept"))
        .count();
    assert!(lines < 20, "{lines} lines about it");
    scene.end(world);
}

pub(crate) fn viewers_that_take_too_little_are_told_of_once(world: &World) {
    let server = Server::start(world, "standalone", "[limits]\nsend_timeout = \"2s\"\n");
    let publisher = server.rtmp_url("live/event");
    for (protocol, url) in [
        ("rtmp", publisher.clone()),
        ("flv", server.flv_url("live/event")),
    ] {
        let lines = |code: &str| {
            let said = server.process.said();
            let of = |l: &&str| {
                l.contains(&format!("code=\"{code}\"")) && l.contains(" stream=live/event")
            };
            said.lines()
                .filter(of)
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let before = ["too-slow", "slow-viewer"].map(|code| lines(code).len());
        let mut command = Command::new(binary());
        command.args(["stress", &url, "--publish", &publisher]);
        command.args(["--publishers", "1", "--bitrate", "6M", "--gop", "1s"]);
        command.args(["-n", "4", "--stalled", "1"]);
        command.args(["--slow", "1", "--slow-rate", "1500k"]);
        command.args(["--settle", "0s", "--duration", "15s"]);
        let name = format!("stress-{protocol}");
        let ended = world.run(&name, &mut command, Duration::from_secs(120));
        assert!(ended.status.success(), "{}{}", ended.out, ended.err);
        let label = format!("protocol=\"{protocol}\",reason=\"too-slow\"");
        assert!(server.metric("crtmpserver_closes_total", &label) >= 1.0);
        for (code, before) in ["too-slow", "slow-viewer"].into_iter().zip(before) {
            let lines = lines(code);
            let new = lines.get(before..).unwrap();
            assert!(!new.is_empty(), "{protocol}: nothing of {code}");
            // At most one for the slow one and one for the stalled one.
            assert!(new.len() <= 2, "{protocol}: {new:?}");
            for line in new {
                assert!(
                    line.contains(" peer=") && line.contains(" skipped="),
                    "{line}"
                );
            }
        }
    }
}
