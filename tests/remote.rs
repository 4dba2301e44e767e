//! Pulls and pushes of the program, against servers that misbehave in ways no real one does on demand:
//! that send elsewhere, hang, refuse. What real ones make of them is for the system tests.

#![cfg(feature = "publish")]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may panic outside its test functions too"
)]

#[path = "remote/figures.rs"]
mod figures;
#[path = "remote/stalled.rs"]
mod stalled;
#[path = "remote/tls.rs"]
mod tls;
#[path = "remote/verbs.rs"]
mod verbs;
#[path = "remote/wire.rs"]
mod wire;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Program, Stdio};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use crtmpserver::limits::Limits;
use crtmpserver::rtmp::chunk::ChunkWriter;
use crtmpserver::rtmp::command::Command;
use crtmpserver::rtmp::message::{Message, kind};
use crtmpserver::rtmp::server::{self, ServerConfig};
use crtmpserver::rtmp::status;
use serde_json::Value;

/// No step of a test may take longer; none takes nearly as long.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running program that ends with this.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn program() -> Program {
    let mut program = Program::new(env!("CARGO_BIN_EXE_crtmpserver"));
    program
        .env_remove("RUNTIME_DIRECTORY")
        .env_remove("STATE_DIRECTORY")
        .env_remove("XDG_RUNTIME_DIR")
        .env_remove("CREDENTIALS_DIRECTORY")
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    program
}

struct Server {
    _process: Running,
    dir: PathBuf,
    name: String,
}

impl Server {
    /// Starts one; `keys` follow `[listen]`.
    fn start(dir: &Path, name: &str, rtmp: u16, keys: &str) -> Self {
        Self::start_with(dir, name, rtmp, "", keys)
    }

    /// The same with more lines of `[listen]`.
    fn start_with(dir: &Path, name: &str, rtmp: u16, listen: &str, keys: &str) -> Self {
        let server = Self {
            _process: launch(dir, name, rtmp, listen, keys),
            dir: dir.to_owned(),
            name: name.to_owned(),
        };
        server.until("it answers", |answer| answer["ok"] == true);
        server
    }

    /// What a verb came to.
    fn verb(&self, words: &[&str]) -> Value {
        let socket = self.dir.join(format!("{}.sock", self.name));
        let mut program = program();
        program.args(["ctl", "--json", "--socket"]);
        program.arg(socket).args(words);
        let output = program.stdout(Stdio::piped()).output().unwrap();
        let done: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let good = done["status"] == "SUCCESS";
        let code = output.status.code();
        assert_eq!(code, Some(i32::from(!good)), "{words:?}: {done}");
        done
    }

    /// What one came to that is done.
    fn done(&self, words: &[&str]) -> Value {
        let done = self.verb(words);
        assert_eq!(done["status"], "SUCCESS", "{words:?}: {done}");
        done
    }

    /// Waits until `ctl streams` says what is wanted.
    fn until_streams(&self, what: &str, right: impl Fn(&str) -> bool) {
        let begun = Instant::now();
        loop {
            let (_, streams) = self.ask(&["streams"]);
            if right(&streams) {
                return;
            }
            let log = self.log();
            assert!(begun.elapsed() < PATIENCE, "{what}: {streams}\n{log}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn ask(&self, words: &[&str]) -> (Option<i32>, String) {
        let output = program()
            .arg("ctl")
            .args(words)
            .arg("--socket")
            .arg(self.dir.join(format!("{}.sock", self.name)))
            .stdout(Stdio::piped())
            .output()
            .unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
        )
    }

    fn json(&self, words: &[&str]) -> Value {
        let (_, out) = self.ask(&[words, &["--json"]].concat());
        serde_json::from_str(&out).unwrap_or_default()
    }

    /// Waits until `ctl remotes` says what is wanted.
    fn until(&self, what: &str, right: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let answer = self.json(&["remotes"]);
            if right(&answer) {
                return answer;
            }
            let log = self.log();
            assert!(begun.elapsed() < PATIENCE, "{what}: {answer}\n{log}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until the pull or push of this stream is in this state, or had this trouble.
    fn until_one(&self, stream: &str, key: &str, value: &str) -> Value {
        let answer = self.until(&format!("{stream}: {key} {value}"), |answer| {
            one(answer, stream)[key] == value
        });
        one(&answer, stream).clone()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.join(format!("{}.log", self.name))).unwrap()
    }
}

fn one<'a>(answer: &'a Value, stream: &str) -> &'a Value {
    let rows = answer["remotes"].as_array();
    let row = rows.and_then(|rows| rows.iter().find(|row| row["stream"] == stream));
    row.unwrap_or(&Value::Null)
}

fn launch(dir: &Path, name: &str, rtmp: u16, listen: &str, keys: &str) -> Running {
    let file = dir.join(format!("{name}.toml"));
    let http = if listen.contains("http = ") {
        ""
    } else {
        "http = []\n"
    };
    let text = format!(
        "[listen]\nrtmp = [\"127.0.0.1:{rtmp}\"]\n{http}control = \"{name}.sock\"\n{listen}\n[log]\nlevel = \"debug\"\n{keys}"
    );
    fs::write(&file, text).unwrap();
    spawn(dir, name, &file, &[])
}

fn spawn(dir: &Path, name: &str, file: &Path, more: &[&str]) -> Running {
    let log = File::options()
        .create(true)
        .append(true)
        .open(dir.join(format!("{name}.log")));
    let child = program()
        .arg(file)
        .arg("--allow-root")
        .args(more)
        .stderr(log.unwrap())
        .spawn()
        .unwrap();
    Running(child)
}

/// An encoder in a loop.
fn encoder(port: u16) -> Running {
    let child = program()
        .arg("stress")
        .arg(format!("rtmp://127.0.0.1:{port}/live/source"))
        .args(["--publishers", "1", "-n", "1", "--duration", "10m"])
        .args([
            "--file",
            concat!(env!("CARGO_MANIFEST_DIR"), "/src/demo/programme.flv"),
        ])
        .stderr(Stdio::null())
        .spawn();
    Running(child.unwrap())
}

fn free() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// The server's side of a connection, for a fake.
fn server_machine() -> server::Server {
    let config = ServerConfig {
        limits: Limits::default().into(),
        chunk_size: 4096,
        window: 2_500_000,
        random: [7; 32],
        client: 1,
    };
    server::Server::new(config, Instant::now())
}

/// Serves whoever comes, each in a thread of its own; its port.
fn fake(serve: impl Fn(TcpStream) + Send + Clone + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let (socket, serve) = (socket.unwrap(), serve.clone());
            std::thread::spawn(move || serve(socket));
        }
    });
    port
}

/// Answers `connect` with this.
fn answer(mut socket: TcpStream, command: &Command) -> Option<()> {
    let mut hello = vec![0; 1 + 1536];
    socket.read_exact(&mut hello).ok()?;
    let mut reply = vec![3];
    reply.extend([0; 1536]);
    reply.extend(&hello[1..]);
    socket.write_all(&reply).ok()?;
    let mut rest = vec![0; 1536];
    socket.read_exact(&mut rest).ok()?;
    let mut connect = [0; 4096];
    // How much of it has come is all the same.
    let _some = socket.read(&mut connect).ok()?;
    let mut out = BytesMut::new();
    let message = Message {
        chunk_stream: 3,
        kind: kind::COMMAND_AMF0,
        timestamp: 0,
        stream: 0,
        payload: command.encode(kind::COMMAND_AMF0),
    };
    ChunkWriter::new().write(&mut out, &message);
    socket.write_all(&out).ok()?;
    let _end = socket.read(&mut connect);
    Some(())
}

fn refusal(description: &str, to: Option<String>) -> Command {
    let ex = to.map(|to| status::redirect(&to));
    status::connect_rejected(1.0, "NetConnection.Connect.Rejected", description, ex)
}

/// What pulls come to.
const EACH: [(&str, &str, &str); 7] = [
    ("good", "state", "live"),
    ("moved", "state", "live"),
    ("circle", "code", "remote-moved"),
    ("nonsense", "code", "remote-moved"),
    ("refused", "code", "remote-refused"),
    ("hung", "code", "remote-lost"),
    ("nobody", "code", "remote-unreachable"),
];

#[test]
fn each_keeps_to_itself() {
    let dir = tempfile::tempdir().unwrap();
    let (origin, here, http) = (free(), free(), free());
    let _origin = Server::start(dir.path(), "origin", origin, "");
    let _encoder = encoder(origin);

    let moves = fake(move |socket| {
        let to = format!("rtmp://127.0.0.1:{origin}/live");
        let _ = answer(socket, &refusal("elsewhere", Some(to)));
    });
    let circles = free();
    let listener = TcpListener::bind(("127.0.0.1", circles)).unwrap();
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let to = format!("rtmp://127.0.0.1:{circles}/live");
            let _ = answer(socket.unwrap(), &refusal("elsewhere", Some(to)));
        }
    });
    let nonsense = fake(|socket| {
        let _ = answer(socket, &refusal("elsewhere", Some("http://x/".into())));
    });
    let refuses = fake(|socket| {
        let _ = answer(socket, &refusal("not you, keyword-77", None));
    });
    let hangs = fake(|mut socket| {
        let mut bytes = [0; 1024];
        while socket.read(&mut bytes).is_ok_and(|n| n > 0) {}
    });
    let mut keys = String::from("[limits]\nhandshake_timeout = \"1s\"\n");
    for (name, port) in [
        ("good", origin),
        ("moved", moves),
        ("circle", circles),
        ("nonsense", nonsense),
        ("refused", refuses),
        ("hung", hangs),
        ("nobody", free()),
    ] {
        keys += &format!(
            "[[pull]]\nstream = \"live/{name}\"\nuri = \"rtmp://127.0.0.1:{port}/live/source?keyword-77\"\n"
        );
    }
    keys += &format!(
        "[[push]]\nstream = \"live/good\"\nuri = \"rtmp://127.0.0.1:{origin}/live/pushed\"\n"
    );
    keys +=
        &format!("[[push]]\nstream = \"live/moved\"\nuri = \"rtmp://127.0.0.1:{hangs}/live\"\n");
    let listen = format!("http = [\"127.0.0.1:{http}\"]");
    let server = Server::start_with(dir.path(), "here", here, &listen, &keys);
    for (name, key, value) in EACH {
        let row = server.until_one(&format!("live/{name}"), key, value);
        assert_eq!(row["direction"], "pull");
    }
    // The push arrives where the pull begins.
    let pushes = |answer: &Value, state: &str| {
        let rows = answer["remotes"].as_array().cloned().unwrap_or_default();
        rows.iter()
            .filter(|row| row["direction"] == "push" && row["state"] == state)
            .count()
    };
    server.until("the push is live", |answer| pushes(answer, "live") == 1);
    let (_, streams) = _origin.ask(&["streams"]);
    assert!(streams.contains("live/pushed"), "{streams}");
    // All of this goes on, and nobody's trouble was another's.
    let answer = server.until("many tries", |answer| {
        one(answer, "live/nobody")["failures"].as_u64() > Some(3)
    });
    for name in ["good", "moved"] {
        let row = one(&answer, &format!("live/{name}"));
        assert_eq!(
            (&row["failures"], &row["state"]),
            (&0.into(), &"live".into()),
            "{row}"
        );
    }
    figures::assert_told(&figures::page(http), &EACH);
    let log = server.log();
    for code in [
        "remote-moved",
        "remote-refused",
        "remote-lost",
        "remote-unreachable",
    ] {
        assert!(log.contains(code), "{code} is not in\n{log}");
    }
    // What another server repeats of a secret is left out.
    let shown = answer.to_string();
    assert!(
        !log.contains("keyword-77") && !shown.contains("keyword-77"),
        "{log}\n{shown}"
    );
    assert!(shown.contains("not you, ***"), "{shown}");
}

/// What a source of RTSP says to a method: status and fields, and what follows them. Nothing ends it.
type Said = Option<(String, Vec<u8>)>;

/// A source of RTSP.
fn source(say: impl Fn(&str) -> Said + Send + Clone + 'static) -> u16 {
    fake(move |socket| {
        let _ = answers(socket, &say);
    })
}

fn answers(socket: impl Read + Write, say: &dyn Fn(&str) -> Said) -> Option<()> {
    let mut socket = BufReader::new(socket);
    loop {
        let (mut method, mut cseq) = (String::new(), String::new());
        loop {
            let line = socket.by_ref().lines().next()?.ok()?;
            if line.is_empty() {
                break;
            }
            if method.is_empty() {
                line.split(' ').next()?.clone_into(&mut method);
            }
            if let Some(number) = line.strip_prefix("CSeq: ") {
                number.clone_into(&mut cseq);
            }
        }
        let (head, rest) = say(&method)?;
        let (status, fields) = head.split_once('\n').unwrap_or((&head, ""));
        let socket = socket.get_mut();
        write!(socket, "RTSP/1.0 {status}\r\nCSeq: {cseq}\r\n{fields}\r\n").ok()?;
        socket.write_all(&rest).ok()?;
        socket.flush().ok()?;
    }
}

const H264: &str = "v=0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:1\r\n\
    a=fmtp:96 sprop-parameter-sets=Z2QAKKzZQHgCJ+XARAAAAwAEAAADAMg8YMZY,aOvjyyLA\r\n";
const JPEG: &str = "v=0\r\nm=video 0 RTP/AVP 26\r\na=control:1\r\n";

/// A camera that has one picture, and behind it this.
fn plays(method: &str, description: &str, behind: &[u8]) -> Said {
    let ok = |fields: &str, rest: &[u8]| Some((format!("200 OK\n{fields}"), rest.to_vec()));
    let transport = "Session: 7\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n";
    let picture = [
        &b"$\0\0\x0e\x80\xe0\0\x01\0\0\0\0\0\0\0\x09"[..],
        &[0x65, 1],
    ];
    match method {
        "DESCRIBE" => ok(
            &format!("Content-Length: {}\r\n", description.len()),
            description.as_bytes(),
        ),
        "SETUP" => ok(transport, &[]),
        "PLAY" => ok("", &[&picture.concat()[..], behind].concat()),
        _ => ok("", &[]),
    }
}

#[test]
fn sources_of_rtsp_keep_to_themselves_too() {
    let dir = tempfile::tempdir().unwrap();
    let no = |status: &str, fields: String| Some((format!("{status}\n{fields}"), Vec::new()));
    let good = source(|method| plays(method, H264, &[]));
    let moves = source(move |_| {
        no(
            "302 Moved",
            format!("Location: rtsp://127.0.0.1:{good}/live\r\n"),
        )
    });
    let circles = free();
    let listener = TcpListener::bind(("127.0.0.1", circles)).unwrap();
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let to = format!("Location: rtsp://127.0.0.1:{circles}/x\r\n");
            let _ = answers(socket.unwrap(), &|_| no("301 Moved", to.clone()));
        }
    });
    let out = source(move |_| no("302 Moved", "Location: http://x/\r\n".into()));
    let refuses = source(move |_| no("404 No such keyword-77", String::new()));
    let asks = source(move |_| {
        let offer = "WWW-Authenticate: Digest realm=\"cam\", nonce=\"n\"\r\n";
        no("401 Unauthorized", offer.into())
    });
    let jpeg = source(|method| plays(method, JPEG, &[]));
    let no_tcp = source(move |method| match method {
        "SETUP" => no("461 Unsupported Transport", String::new()),
        other => plays(other, H264, &[]),
    });
    let goodbye = source(|method| plays(method, H264, b"$\x01\0\x08\x81\xcb\0\x01\0\0\0\x09"));
    let rubbish = fake(|mut socket| {
        let _ = socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        let _ = socket.read(&mut [0; 64]);
    });
    let hangs = fake(|mut socket| {
        let mut bytes = [0; 1024];
        while socket.read(&mut bytes).is_ok_and(|n| n > 0) {}
    });
    let cases = [
        ("good", good, "state", "live"),
        ("moved", moves, "state", "live"),
        ("circle", circles, "code", "remote-moved"),
        ("out", out, "code", "remote-moved"),
        ("refused", refuses, "code", "remote-refused"),
        ("login", asks, "code", "remote-login"),
        ("jpeg", jpeg, "code", "remote-media"),
        ("no-tcp", no_tcp, "code", "remote-refused"),
        ("goodbye", goodbye, "code", "remote-lost"),
        ("rubbish", rubbish, "code", "remote-lost"),
        ("hung", hangs, "code", "remote-silent"),
        ("nobody", free(), "code", "remote-unreachable"),
    ];
    let tables: String = cases
        .iter()
        .map(|(name, port, ..)| {
            format!(
                "[[pull]]\nstream = \"live/{name}\"\nuri = \"rtsp://ann:hunter2@127.0.0.1:{port}/live?keyword-77\"\n"
            )
        })
        .collect();
    let keys = format!("[limits]\npublish_timeout = \"5m\"\n{tables}");
    let server = Server::start(dir.path(), "here", free(), &keys);
    for (name, _, key, value) in cases {
        server.until_one(&format!("live/{name}"), key, value);
    }
    let answer = server.json(&["remotes"]);
    for (name, said) in [
        ("jpeg", "no track this server can take: JPEG"),
        ("no-tcp", "transport"),
        ("login", "does not take this user and password"),
        ("hung", "does not answer OPTIONS"),
    ] {
        let row = one(&answer, &format!("live/{name}")).to_string();
        assert!(row.contains(said), "{row}");
    }
    for name in ["good", "moved"] {
        let row = one(&answer, &format!("live/{name}"));
        assert_eq!(row["failures"], 0, "{row}");
    }
    let shown = server.log() + &answer.to_string();
    for secret in ["hunter2", "keyword-77"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    assert!(shown.contains("404 No such ***"), "{shown}");
}

#[test]
fn a_reload_touches_only_what_changed() {
    let dir = tempfile::tempdir().unwrap();
    let (origin, here) = (free(), free());
    let _origin = Server::start(dir.path(), "origin", origin, "");
    let _encoder = encoder(origin);
    let pull = |name: &str| {
        format!(
            "[[pull]]\nstream = \"live/{name}\"\nuri = \"rtmp://127.0.0.1:{origin}/live/source\"\n"
        )
    };
    let server = Server::start(dir.path(), "here", here, &(pull("a") + &pull("b")));
    let stays = server.until_one("live/a", "state", "live");
    server.until_one("live/b", "state", "live");
    let file = dir.path().join("here.toml");
    let text = fs::read_to_string(&file).unwrap();
    let (head, _) = text.split_once("[[pull]]").unwrap();
    fs::write(&file, format!("{head}{}{}", pull("c"), pull("a"))).unwrap();
    let (code, said) = server.ask(&["reload"]);
    assert!(code == Some(0) && said.contains("pull ["), "{said}");
    server.until_one("live/c", "state", "live");
    let answer = server.json(&["remotes"]);
    assert!(one(&answer, "live/b").is_null(), "{answer}");
    let still = one(&answer, "live/a");
    assert_eq!(still["id"], stays["id"]);
    // It is the connection of before: none was lost, and none made.
    for (key, times) in [("connections", 1), ("failures", 0)] {
        assert_eq!(still[key], times, "{still}");
    }
    // A broken one changes nothing.
    fs::write(&file, format!("{head}[[pull]]\nstream = \"live/x\"\n")).unwrap();
    let (code, _) = server.ask(&["reload"]);
    assert_eq!(code, Some(1));
    server.until_one("live/c", "state", "live");
}

#[test]
fn a_push_of_all_follows_the_streams() {
    let dir = tempfile::tempdir().unwrap();
    let (origin, target) = (free(), free());
    let there = Server::start(dir.path(), "target", target, "");
    let keys = format!(
        "[relay]\ngrace = \"1s\"\n[[push]]\nstream = \"live/*\"\nuri = \"rtmp://127.0.0.1:{target}/live\"\n"
    );
    let here = Server::start(dir.path(), "origin", origin, &keys);
    assert_eq!(here.until_one("live/*", "state", "each")["failures"], 0);
    let encoder = encoder(origin);
    let row = here.until_one("live/source", "state", "live");
    assert_eq!((&row["origin"], &row["of"]), (&"each".into(), &1.into()));
    let (_, streams) = there.ask(&["streams"]);
    assert!(streams.contains("live/source"), "{streams}");
    drop(encoder);
    here.until("it goes with its stream", |answer| {
        one(answer, "live/source").is_null()
    });
}
