//! Sockets that somebody else bound.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;

use crate::world::{Daemon, PATIENCE, Start};

const ARGUMENTS: &[&str] = &[
    "--allow-root",
    "--rtmp",
    "127.0.0.1:0",
    "--http",
    "127.0.0.1:0",
];

fn socket() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

fn port(socket: &TcpListener) -> u16 {
    socket.local_addr().unwrap().port()
}

/// `LISTEN_FDNAMES`, and how many sockets that are.
fn named(names: &str, sockets: Vec<OwnedFd>) -> Start<'_> {
    Start {
        names: Some(names),
        count: names.split(':').count(),
        sockets,
        arguments: ARGUMENTS.to_vec(),
        ..Start::default()
    }
}

fn is_up(mut asked: TcpStream) -> bool {
    asked.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answer = String::new();
    asked.read_to_string(&mut answer).unwrap();
    answer.starts_with("HTTP/1.1 200")
}

pub(crate) fn a_connection_that_came_before_the_program_is_served() {
    let (rtmp, http) = (socket(), socket());
    let dir = tempfile::tempdir().unwrap();
    let control = UnixListener::bind(dir.path().join("control.sock")).unwrap();
    let (rtmp_port, http_port) = (port(&rtmp), port(&http));
    let mut early = TcpStream::connect(("127.0.0.1", http_port)).unwrap();
    early
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .unwrap();
    let sockets = vec![http.into(), rtmp.into(), control.into()];
    let mut daemon = Daemon::start(named("http:rtmp:control", sockets));
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

pub(crate) fn what_was_not_passed_is_bound() {
    let rtmp = socket();
    let rtmp_port = port(&rtmp);
    let mut daemon = Daemon::start(Start {
        arguments: vec!["--allow-root", "--http", "127.0.0.1:0"],
        ..named("rtmp", vec![rtmp.into()])
    });
    let said = daemon.wait_for("ready");
    assert!(said.contains(&format!("|{rtmp_port:>5}|")), "{said}");
    assert!(said.contains("inboundHttpFlv"), "{said}");
    assert!(!said.contains("systemctl edit"), "{said}");
}

pub(crate) fn descriptors_that_are_meant_for_another_process_are_left_alone() {
    let other = socket();
    let other_port = port(&other);
    let mut daemon = Daemon::start(Start {
        pid: Some("1"),
        ..named("rtmp", vec![other.into()])
    });
    let said = daemon.wait_for("ready");
    assert!(!said.contains(&format!("|{other_port:>5}|")), "{said}");
}

pub(crate) fn what_is_wrong_with_a_socket_is_one_sentence_and_78() {
    let udp = || OwnedFd::from(std::net::UdpSocket::bind("127.0.0.1:0").unwrap());
    let tcp = || OwnedFd::from(socket());
    let unnamed = Start {
        arguments: vec!["--allow-root"],
        ..named("unknown", vec![tcp()])
    };
    let too_few = Start {
        count: 2,
        ..named("rtmp", vec![tcp()])
    };
    for (how, words) in [
        (
            named("rtmq", vec![tcp()]),
            ["\"rtmq\"", "rtmp, http, rtmps, https or control"],
        ),
        (
            named("https", vec![tcp()]),
            ["no certificate", "disable --now crtmpserver-https.socket"],
        ),
        (named("rtmp", vec![udp()]), ["rtmp", "ListenStream="]),
        (named("control", vec![tcp()]), ["control", "with a path"]),
        (unnamed, ["without a name", "FileDescriptorName="]),
        (too_few, ["LISTEN_FDS=2", "descriptor 4"]),
    ] {
        let (code, said) = Daemon::start(how).end();
        assert_eq!((code, said.lines().count()), (Some(78), 1), "{said}");
        for word in words {
            assert!(said.contains(word), "{word} in {said}");
        }
    }
}
