//! The program with sockets that somebody else bound, as systemd starts it.

#![expect(
    clippy::unwrap_used,
    reason = "a test may panic outside its test functions too"
)]

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long anything may take that should take a moment; the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// The program with up to three sockets as descriptors 3, 4 and 5, its words in a file.
struct Daemon {
    child: Child,
    log: PathBuf,
    _dir: tempfile::TempDir,
}

/// How to start it.
struct Start<'a> {
    /// `LISTEN_FDNAMES`
    names: &'a str,
    /// `LISTEN_FDS`; how many sockets there are, unless a test lies
    count: usize,
    /// `LISTEN_PID`; the program's own, unless a test lies
    pid: &'a str,
    arguments: &'a [&'a str],
}

impl Daemon {
    fn start(sockets: Vec<OwnedFd>, how: &Start<'_>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        // A shell moves its own three descriptors to where the protocol has them: only the program that
        // is run by exec knows its own number.
        let moves: String = (0..sockets.len())
            .map(|n| format!("exec {}<&{n}; ", n + 3))
            .collect();
        let script = format!(
            "{moves} exec 0</dev/null 1>\"$LOG\" 2>&1; LISTEN_PID={} exec \"$0\" \"$@\"",
            how.pid
        );
        let mut sockets = sockets.into_iter().map(Stdio::from);
        let mut next = || sockets.next().unwrap_or_else(Stdio::null);
        let child = Command::new("sh")
            .args(["-c", &script, env!("CARGO_BIN_EXE_crtmpserver")])
            .args(how.arguments)
            .env("LOG", &log)
            .env("LISTEN_FDS", how.count.to_string())
            .env("LISTEN_FDNAMES", how.names)
            .stdin(next())
            .stdout(next())
            .stderr(next())
            .spawn()
            .unwrap();
        Self {
            child,
            log,
            _dir: dir,
        }
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn wait_for(&mut self, word: &str) -> String {
        let begun = Instant::now();
        loop {
            let said = self.said();
            if said.contains(word) {
                return said;
            }
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "it ended without {word:?}: {said}");
            assert!(begun.elapsed() < PATIENCE, "no {word:?} in {said}");
            pause();
        }
    }

    /// Its exit code and what it said.
    fn end(mut self) -> (Option<i32>, String) {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status.code(), self.said());
            }
            assert!(begun.elapsed() < PATIENCE, "it runs on: {}", self.said());
            pause();
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[expect(clippy::disallowed_methods, reason = "there is no runtime here")]
fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}

fn socket() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

fn port(socket: &TcpListener) -> u16 {
    socket.local_addr().unwrap().port()
}

fn named(names: &str) -> Start<'_> {
    Start {
        names,
        count: names.split(':').count(),
        pid: "$$",
        arguments: &["--rtmp", "127.0.0.1:0", "--http", "127.0.0.1:0"],
    }
}

fn is_up(mut asked: TcpStream) -> bool {
    asked.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answer = String::new();
    asked.read_to_string(&mut answer).unwrap();
    answer.starts_with("HTTP/1.1 200")
}

#[test]
fn a_connection_that_came_before_the_program_is_served() {
    let (rtmp, http) = (socket(), socket());
    let dir = tempfile::tempdir().unwrap();
    let control = UnixListener::bind(dir.path().join("control.sock")).unwrap();
    let (rtmp_port, http_port) = (port(&rtmp), port(&http));
    let mut early = TcpStream::connect(("127.0.0.1", http_port)).unwrap();
    early
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .unwrap();
    let sockets = vec![http.into(), rtmp.into(), control.into()];
    let mut daemon = Daemon::start(sockets, &named("http:rtmp:control"));
    assert!(is_up(early));
    let said = daemon.wait_for("ready");
    for port in [rtmp_port, http_port] {
        assert!(said.contains(&format!("|{port:>5}|")), "{port}: {said}");
    }
    // What was said of other addresses does not count, and how to change that is told, once for each.
    for unit in ["crtmpserver.socket", "crtmpserver-http.socket"] {
        assert_eq!(
            said.matches(&format!("systemctl edit {unit}`")).count(),
            1,
            "{said}"
        );
    }
}

#[test]
fn what_was_not_passed_is_bound() {
    let rtmp = socket();
    let rtmp_port = port(&rtmp);
    let how = Start {
        arguments: &["--http", "127.0.0.1:0"],
        ..named("rtmp")
    };
    let mut daemon = Daemon::start(vec![rtmp.into()], &how);
    let said = daemon.wait_for("ready");
    assert!(said.contains(&format!("|{rtmp_port:>5}|")), "{said}");
    assert!(said.contains("inboundHttpFlv"), "{said}");
    assert!(!said.contains("systemctl edit"), "{said}");
}

#[test]
fn descriptors_that_are_meant_for_another_process_are_left_alone() {
    let other = socket();
    let other_port = port(&other);
    let how = Start {
        pid: "1",
        ..named("rtmp")
    };
    let mut daemon = Daemon::start(vec![other.into()], &how);
    let said = daemon.wait_for("ready");
    assert!(!said.contains(&format!("|{other_port:>5}|")), "{said}");
}

#[test]
fn what_is_wrong_with_a_socket_is_one_sentence_and_78() {
    let udp = || OwnedFd::from(std::net::UdpSocket::bind("127.0.0.1:0").unwrap());
    let tcp = || OwnedFd::from(socket());
    for (sockets, how, words) in [
        (
            vec![tcp()],
            named("rtmq"),
            ["\"rtmq\"", "rtmp, http or control"],
        ),
        (
            vec![tcp()],
            named("https"),
            ["no TLS", "disable --now crtmpserver-https.socket"],
        ),
        (vec![udp()], named("rtmp"), ["rtmp", "ListenStream="]),
        (vec![tcp()], named("control"), ["control", "with a path"]),
        (
            vec![tcp()],
            Start {
                arguments: &[],
                ..named("unknown")
            },
            ["without a name", "FileDescriptorName="],
        ),
        (
            vec![tcp()],
            Start {
                count: 2,
                ..named("rtmp")
            },
            ["LISTEN_FDS=2", "descriptor 4"],
        ),
    ] {
        let (code, said) = Daemon::start(sockets, &how).end();
        assert_eq!((code, said.lines().count()), (Some(78), 1), "{said}");
        for word in words {
            assert!(said.contains(word), "{word} in {said}");
        }
    }
}
