//! The control socket of a service: passed by its manager, or made by root for whom it will be.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::world::{Daemon, PATIENCE, Start};

/// Some user without an entry in any list.
const UID: u32 = 3_999_999_998;

fn answer(mut asked: &UnixStream) -> String {
    asked.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut line = String::new();
    BufReader::new(&mut asked).read_line(&mut line).unwrap();
    line
}

pub(crate) fn a_question_that_came_before_the_program_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("passed.sock");
    let other = dir.path().join("other.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let mut early = UnixStream::connect(&path).unwrap();
    early.write_all(b"{\"verb\":\"version\"}\n").unwrap();
    let key = format!("listen.control={}", other.display());
    let mut daemon = Daemon::start(Start {
        names: Some("control"),
        count: 1,
        sockets: vec![listener.into()],
        arguments: vec![
            "--allow-root",
            "--rtmp=127.0.0.1:0",
            "--http=127.0.0.1:0",
            "--set",
            &key,
        ],
        ..Start::default()
    });
    let said = daemon.wait_for("ready");
    let version = env!("CARGO_PKG_VERSION");
    assert!(answer(&early).contains(version));
    // What is passed counts, once with a word, and is not this program's to take away.
    assert!(!other.exists());
    let told = "systemctl edit crtmpserver-control.socket`";
    assert_eq!(said.matches(told).count(), 1, "{said}");
    terminate(daemon);
    assert!(path.exists());
}

fn terminate(daemon: Daemon) {
    let pid = Pid::from_raw(i32::try_from(daemon.pid()).unwrap());
    kill(pid, Signal::SIGTERM).unwrap();
    assert_eq!(daemon.end().0, Some(0));
}

fn status(socket: &Path) -> Option<i32> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_crtmpserver"));
    let done = command.args(["ctl", "version", "--socket"]).arg(socket);
    done.output().unwrap().status.code()
}

pub(crate) fn it_belongs_to_whom_the_server_becomes() {
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(dir.path(), Some(UID), Some(UID)).unwrap();
    let path = dir.path().join("c.sock");
    let uid = format!("--uid={UID}");
    let key = format!("listen.control={}", path.display());
    let start = || {
        let mut daemon = Daemon::start(Start {
            arguments: vec![
                &uid,
                "--rtmp=127.0.0.1:0",
                "--http=127.0.0.1:0",
                "--set",
                &key,
            ],
            ..Start::default()
        });
        daemon.wait_for("ready");
        daemon
    };
    let daemon = start();
    let meta = std::fs::metadata(&path).unwrap();
    assert_eq!((meta.uid(), meta.gid()), (UID, UID));
    assert_eq!(meta.permissions().mode() & 0o7777, 0o660);
    assert_eq!(status(&path), Some(0), "root may, too");
    terminate(daemon);
    assert!(!path.exists(), "it could take it away");
    // kill -9 leaves it; the next one is not kept from starting.
    let daemon = start();
    drop(daemon);
    assert!(path.exists());
    assert_eq!(status(&path), Some(69));
    let _daemon = start();
    assert_eq!(status(&path), Some(0));
}
