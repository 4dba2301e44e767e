//! What a service manager is told.

use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use crate::world::{Daemon, PATIENCE, Start};

/// What listens in the service manager's stead.
struct Manager {
    socket: UnixDatagram,
    dir: tempfile::TempDir,
}

impl Manager {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(dir.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, dir }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("notify")
    }

    /// The next datagram; an assignment a line.
    fn next(&self) -> Vec<String> {
        let mut buffer = [0; 4096];
        let n = self.socket.recv(&mut buffer).expect("a notice");
        let text = String::from_utf8(buffer[..n].to_vec()).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    /// Passes over what has come so far.
    fn forget(&self) {
        self.socket.set_nonblocking(true).unwrap();
        while self.socket.recv(&mut [0; 4096]).is_ok() {}
        self.socket.set_nonblocking(false).unwrap();
    }

    /// The next datagram with a line that begins so.
    fn wait_for(&self, line: &str) -> Vec<String> {
        loop {
            let notice = self.next();
            if notice.iter().any(|l| l.starts_with(line)) {
                return notice;
            }
        }
    }
}

fn a_life_is_told(with: &[&str], status: &str) {
    let manager = Manager::new();
    let path = manager.path();
    let arguments = [
        &[
            "--allow-root",
            "--rtmp",
            "127.0.0.1:0",
            "--http",
            "127.0.0.1:0",
        ],
        with,
    ]
    .concat();
    let mut daemon = Daemon::start(Start {
        arguments,
        notify: Some(&path),
        watchdog: Some(Duration::from_secs(30)),
        ..Start::default()
    });
    assert_eq!(manager.next(), ["READY=1"], "first of all");
    let line = manager.wait_for("STATUS=").concat();
    assert!(line.starts_with(&format!("STATUS={status}")), "{line}");
    // What was told is true: each address of the table is served.
    let said = daemon.wait_for("ready");
    let ports: Vec<u16> = said
        .lines()
        .filter_map(|line| {
            line.split("|tcp|")
                .nth(1)?
                .split('|')
                .nth(1)?
                .trim()
                .parse()
                .ok()
        })
        .collect();
    assert_eq!(ports.len(), 2, "{said}");
    for port in ports {
        TcpStream::connect(("127.0.0.1", port)).unwrap();
    }
    for _ in 0..3 {
        manager.wait_for("WATCHDOG=1");
    }
    let pid = Pid::from_raw(i32::try_from(daemon.pid()).unwrap());
    kill(pid, Signal::SIGTERM).unwrap();
    let notice = manager.wait_for("STOPPING=1");
    assert!(
        notice.iter().any(|l| l.starts_with("EXTEND_TIMEOUT_USEC=")),
        "{notice:?}"
    );
    assert_eq!(daemon.end().0, Some(0));
}

/// A debugger holds one thread of the program, as a defect would; the others go on.
pub(crate) fn a_thread_that_stands_still_is_told_and_stops_the_feeding() {
    let manager = Manager::new();
    let path = manager.path();
    let daemon = Daemon::start(Start {
        arguments: vec![
            "--allow-root",
            "--rtmp=127.0.0.1:0",
            "--http=127.0.0.1:0",
            "--set=server.threads=2",
        ],
        notify: Some(&path),
        watchdog: Some(Duration::from_secs(4)),
        ..Start::default()
    });
    manager.wait_for("WATCHDOG=1");
    let shard = daemon.thread("shard-1");
    ptrace::seize(shard, ptrace::Options::empty()).expect("the thread of a child");
    ptrace::interrupt(shard).unwrap();
    waitpid(shard, Some(WaitPidFlag::__WALL)).unwrap();
    manager.forget();
    // What the thread had counted before may be told once more.
    let mut fed = 0;
    loop {
        let notice = manager.next().concat();
        fed += usize::from(notice == "WATCHDOG=1");
        if notice.contains("threads: no progress of shard-1") {
            break;
        }
    }
    assert!(fed <= 1, "fed {fed} times by a shard that stands still");
    let said = daemon.said();
    assert!(said.contains("shard-1; the watchdog is not fed"), "{said}");
    ptrace::detach(shard, None).unwrap();
    manager.wait_for("WATCHDOG=1");
}

#[cfg(feature = "publish")]
pub(crate) fn a_standalone_tells_its_life() {
    a_life_is_told(
        &["--role=standalone"],
        "standalone: 0 streams live, 0 viewers, 0.0 Mbit/s out",
    );
}

pub(crate) fn a_mirror_is_ready_without_its_master() {
    // Nobody listens there: it was free a moment ago.
    let gone = TcpListener::bind("127.0.0.1:0").unwrap();
    let master = format!("rtmp://{}", gone.local_addr().unwrap());
    drop(gone);
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    std::fs::write(&secret, "0123456789abcdefghijklmnopqrstuvwxyz\n").unwrap();
    let secret = format!("mirror.secret_file={}", secret.display());
    a_life_is_told(
        &["--role=mirror", "--master", &master, "--set", &secret],
        &format!("mirror: 0 streams live, 0 viewers, 0.0 Mbit/s out, no link to {master}: "),
    );
}

pub(crate) fn a_start_that_fails_leaves_its_reason() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let manager = Manager::new();
    let path = manager.path();
    let start = |arguments: Vec<&'static str>| Start {
        arguments,
        notify: Some(&path),
        ..Start::default()
    };
    let in_use = Start {
        arguments: vec!["--allow-root", "--rtmp", &address, "--http", "127.0.0.1:0"],
        notify: Some(&path),
        ..Start::default()
    };
    for (how, exit, words, errno) in [
        (
            in_use,
            71,
            [address.as_str(), "another program"],
            Some("ERRNO=98"),
        ),
        (
            start(vec!["--allow-root", "--set", "relay.grase=1s"]),
            78,
            ["--set: relay.grase: ", "what is known"],
            None,
        ),
        (
            start(vec!["--allow-root", "--role=boss", "--log=loud"]),
            78,
            ["role: ", "(the first of "],
            None,
        ),
    ] {
        let (code, said) = Daemon::start(how).end();
        assert_eq!(code, Some(exit), "{said}");
        let notice = manager.next();
        let status = notice[0].strip_prefix("STATUS=").unwrap();
        for word in words {
            assert!(status.contains(word), "{word} in {status}");
        }
        assert_eq!(notice.get(1).map(String::as_str), errno);
        let told = status.split(" (the first").next().unwrap();
        assert!(said.contains(told), "{said} tells other than {status}");
    }
}

pub(crate) fn journald_gets_a_priority_with_the_reason() {
    let start = |journal| Start {
        arguments: vec!["--allow-root", "--set", "relay.grase=1s"],
        journal,
        ..Start::default()
    };
    for (journal, begins) in [
        (true, "<3>--set: relay.grase"),
        (false, "crtmpserver: --set"),
    ] {
        let (code, said) = Daemon::start(start(journal)).end();
        assert_eq!(code, Some(78), "{said}");
        assert!(said.starts_with(begins), "{said}");
    }
}
