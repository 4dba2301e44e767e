//! The program reads its configuration again at SIGHUP, as `systemctl reload` asks it to.

#![cfg(feature = "publish")]
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may panic outside its test functions too"
)]

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long anything may take that should take a moment; the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(30);

struct Daemon {
    child: Child,
    dir: tempfile::TempDir,
    http: u16,
}

fn free_port() -> u16 {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap().port()
}

impl Daemon {
    /// Starts with these keys; `files` are beside the configuration.
    fn start(keys: &str, files: &[(&str, &str)], environment: &[(&str, &str)]) -> Self {
        Self::start_as("--allow-root", keys, files, environment)
    }

    fn start_as(
        who: &str,
        keys: &str,
        files: &[(&str, &str)],
        environment: &[(&str, &str)],
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            write(&dir.path().join(name), text);
        }
        let http = free_port();
        let config = dir.path().join("c.toml");
        fs::write(&config, with_listeners(keys, "127.0.0.1:0", http)).unwrap();
        let log = File::create(dir.path().join("log")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_crtmpserver"));
        command
            .arg(&config)
            .arg(who)
            .env_remove("CREDENTIALS_DIRECTORY")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        for (name, value) in environment {
            command.env(name, value.replace("DIR", dir.path().to_str().unwrap()));
        }
        let daemon = Self {
            child: command.spawn().unwrap(),
            dir,
            http,
        };
        daemon.wait_for("pid=");
        daemon
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn said(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Waits for a line with all of these words, and gives it.
    fn wait_for(&self, words: &str) -> String {
        let begun = Instant::now();
        loop {
            let said = self.said();
            let fits = |line: &&str| words.split('&').all(|word| line.contains(word.trim()));
            if let Some(line) = said.lines().find(fits) {
                return line.to_owned();
            }
            assert!(begun.elapsed() < PATIENCE, "no {words:?} in\n{said}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).unwrap();
        kill(Pid::from_raw(pid), signal).unwrap();
    }

    /// New keys; what it says to them has all of these words.
    fn reload(&self, keys: &str, words: &str) -> String {
        fs::write(self.path("log"), "").unwrap();
        let config = with_listeners(keys, "127.0.0.1:0", self.http);
        fs::write(self.path("c.toml"), config).unwrap();
        self.signal(Signal::SIGHUP);
        self.wait_for(words)
    }

    fn health(&self) -> String {
        get(self.http, "/healthz")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Keys in front of the tables, then listeners, then the tables.
fn with_listeners(keys: &str, rtmp: &str, http: u16) -> String {
    let (before, tables) = keys.split_at(keys.find('[').unwrap_or(keys.len()));
    format!("{before}\n[listen]\nrtmp = [{rtmp:?}]\nhttp = [\"127.0.0.1:{http}\"]\n{tables}")
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o640)).unwrap();
}

fn get(port: u16, path: &str) -> String {
    ask(TcpStream::connect(("127.0.0.1", port)).unwrap(), path)
}

fn ask(mut socket: TcpStream, path: &str) -> String {
    write!(
        socket,
        "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn good_configurations_are_taken_over_and_bad_ones_are_not() {
    let daemon = Daemon::start("[log]\nlevel = \"info\"\n", &[("users", "# nobody\n")], &[]);
    daemon.reload(
        "",
        "code=\"reload\" & configuration read again, nothing changed",
    );
    let line = daemon.reload(
        "[relay]\ngrace = \"1m\"\n[publish]\nusers = \"users\"\n",
        "code=\"reload\" & relay.grace 30s -> 1m",
    );
    assert!(line.contains("publish.users none -> "), "{line}");
    assert!(!line.contains(" WARN"), "{line}");
    daemon.wait_for("has no user");

    // Every reason has a line, and nothing of it is taken over.
    let bad = "rol = 1\n[relay]\ngrace = 5\n[play]\nnetworks = []\n";
    daemon.reload(bad, "ERROR & code=\"reload\" & c.toml:1: rol");
    daemon.wait_for("ERROR & code=\"reload\" & c.toml & relay.grace");
    assert!(daemon.health().starts_with("HTTP/1.1 200"), "still open");

    let line = daemon.reload("role = \"mirror\"\n", "code=\"reload\" & refused & role");
    assert!(line.contains("systemctl restart crtmpserver"), "{line}");
    let line = daemon.reload(
        "[server]\nthreads = 7\n",
        "WARN & code=\"reload\" & server.threads",
    );
    assert!(line.contains("systemctl restart crtmpserver"), "{line}");

    // The level of the log is one of those that change at once.
    daemon.reload("[log]\nlevel = \"debug\"\n", "log.level info -> debug");
    daemon.health();
    daemon.wait_for("DEBUG");
}

#[test]
fn a_file_that_cannot_be_read_is_refused_with_what_to_do() {
    let users = "[publish]\nusers = \"users\"\n";
    let daemon = Daemon::start(users, &[("users", "# nobody\n")], &[]);
    let path = daemon.path("users");
    fs::remove_file(&path).unwrap();
    daemon.reload(
        users,
        "ERROR & code=\"reload\" & publish.users & crtmpserver passwd",
    );
    write(&path, "ann:secret\n");
    let line = daemon.reload(users, "ERROR & code=\"reload\" & publish.users & line 1");
    assert!(!line.contains("secret"), "{line}");
    write(&path, "# nobody\n");
    daemon.reload(users, "configuration read again");
}

#[test]
fn a_file_that_is_closed_to_the_server_is_refused_with_the_line_to_type() {
    if !nix::unistd::geteuid().is_root() {
        return; // only root can give itself up
    }
    let users = "[publish]\nusers = \"users\"\n";
    let daemon = Daemon::start_as("--uid=65534", users, &[("users", "# nobody\n")], &[]);
    let open = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    // What root read at the start is closed to whom it has become.
    let line = daemon.reload(
        users,
        "ERROR & code=\"reload\" & c.toml & Permission denied",
    );
    assert!(
        line.contains("`chgrp ") && line.contains("&& chmod 0640 "),
        "{line}"
    );
    open(daemon.dir.path(), 0o755);
    open(&daemon.path("c.toml"), 0o644);
    open(&daemon.path("users"), 0o600);
    let line = daemon.reload(
        users,
        "ERROR & code=\"reload\" & publish.users & Permission denied",
    );
    assert!(
        line.contains("`chgrp ") && line.contains("users` lets the server read it"),
        "{line}"
    );
    assert!(daemon.health().starts_with("HTTP/1.1 200"));
    open(&daemon.path("users"), 0o644);
    daemon.reload(users, "configuration read again");
}

#[test]
fn a_listener_moves_and_one_that_cannot_be_bound_does_not() {
    let daemon = Daemon::start("", &[], &[]);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let there = taken.local_addr().unwrap().port();
    let kept = TcpStream::connect(("127.0.0.1", daemon.http)).unwrap();
    let move_there = |daemon: &Daemon| {
        fs::write(daemon.path("log"), "").unwrap();
        let config = with_listeners("", "127.0.0.1:0", there);
        fs::write(daemon.path("c.toml"), config).unwrap();
        daemon.signal(Signal::SIGHUP);
    };
    move_there(&daemon);
    let line = daemon.wait_for("ERROR & code=\"reload\" & listen.http");
    assert!(line.contains("another program has this port"), "{line}");
    assert!(daemon.health().starts_with("HTTP/1.1 200"));

    drop(taken);
    move_there(&daemon);
    daemon.wait_for("configuration read again: listen.http");
    assert!(get(there, "/healthz").starts_with("HTTP/1.1 200"));
    let begun = Instant::now();
    while TcpStream::connect(("127.0.0.1", daemon.http)).is_ok() {
        assert!(begun.elapsed() < PATIENCE, "the old one still listens");
    }
    // Whoever was connected is still served.
    let answer = ask(kept, "/healthz");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    // Narrower on the same port: both overlap for a moment.
    let wide = with_listeners("", "127.0.0.1:0", there)
        .replace(&format!("127.0.0.1:{there}"), &format!("0.0.0.0:{there}"));
    fs::write(daemon.path("c.toml"), wide).unwrap();
    fs::write(daemon.path("log"), "").unwrap();
    daemon.signal(Signal::SIGHUP);
    daemon.wait_for("configuration read again: listen.http");
    assert!(get(there, "/healthz").starts_with("HTTP/1.1 200"));
}

#[test]
fn a_mirror_that_knows_nothing_runs_and_is_told_by_a_reload() {
    let credentials = [("CREDENTIALS_DIRECTORY", "DIR/given")];
    let keys = "role = \"mirror\"\n[mirror]\nsecret_file = \"secret\"\n";
    let empty = [("given/crtmpserver.master", "")];
    let daemon = Daemon::start(keys, &empty, &credentials);
    assert_eq!(daemon.said().matches("no master yet").count(), 1);
    let health = daemon.health();
    assert!(
        health.starts_with("HTTP/1.1 503") && health.contains("this mirror has no master yet"),
        "{health}"
    );

    let master = format!("{keys}master = \"rtmp://127.0.0.1:9\"\n");
    daemon.reload(&master, "no secret to show & secret & 0640");
    assert!(daemon.health().contains("no secret to show"));
    write(&daemon.path("secret"), "0123456789abcdef\n");
    // The file alone is enough: nobody has to say that it is there.
    daemon.wait_for("code=\"reload\" & secret is there now");
    daemon.wait_for("no link to the master & code=\"master-lost\"");
    assert!(daemon.health().contains("master"));
}

#[test]
fn credentials_tell_a_mirror_its_master() {
    let daemon = Daemon::start(
        "role = \"mirror\"\n",
        &[
            ("given/crtmpserver.master", "rtmp://127.0.0.1:9\n"),
            ("given/crtmpserver.secret", "0123456789abcdef\n"),
        ],
        &[("CREDENTIALS_DIRECTORY", "DIR/given")],
    );
    daemon.wait_for("no link to the master & 127.0.0.1:9");
    let check = Command::new(env!("CARGO_BIN_EXE_crtmpserver"))
        .arg("check")
        .arg(daemon.path("c.toml"))
        .env("CREDENTIALS_DIRECTORY", daemon.path("given"))
        .output()
        .unwrap();
    let out = String::from_utf8(check.stdout).unwrap();
    assert!(
        out.contains("mirror.master by credential crtmpserver.master"),
        "{out}"
    );
    assert!(!out.contains("0123456789abcdef"), "{out}");
}

#[test]
fn a_reload_while_it_stops_is_left_out() {
    let mut daemon = Daemon::start("[server]\nstop_grace = \"20s\"\n", &[], &[]);
    // Somebody who does not go: a request whose head does not end would, so it is one that is answered
    // and then not read.
    let metrics = TcpStream::connect(("127.0.0.1", daemon.http)).unwrap();
    daemon.signal(Signal::SIGTERM);
    daemon.wait_for("stopping");
    daemon.signal(Signal::SIGHUP);
    drop(metrics);
    let status = daemon.child.wait().unwrap();
    assert!(status.success(), "{status}: {}", daemon.said());
    assert!(!daemon.said().contains("read again"), "{}", daemon.said());
}

#[test]
fn a_full_disk_behind_the_log_ends_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let http = free_port();
    let config = dir.path().join("c.toml");
    let keys = with_listeners("[log]\nlevel = \"trace\"\n", "127.0.0.1:0", http);
    fs::write(&config, keys).unwrap();
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_crtmpserver"))
        .arg(&config)
        .arg("--allow-root")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(full)
        .spawn()
        .unwrap();
    let mut daemon = Daemon { child, dir, http };
    let begun = Instant::now();
    while TcpStream::connect(("127.0.0.1", http)).is_err() {
        assert!(begun.elapsed() < PATIENCE, "it does not serve");
        assert!(daemon.child.try_wait().unwrap().is_none(), "it ended");
        std::thread::sleep(Duration::from_millis(10));
    }
    for _ in 0..20 {
        assert!(daemon.health().starts_with("HTTP/1.1 200"));
    }
    daemon.signal(Signal::SIGHUP);
    assert!(daemon.health().starts_with("HTTP/1.1 200"));
    assert!(get(http, "/metrics").contains("crtmpserver_panics_total 0"));
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.child.wait().unwrap().success());
}
