//! As whom the program serves, as /proc tells it.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use crate::world::{Daemon, Start};

const LOCAL: [&str; 4] = ["--rtmp", "127.0.0.1:0", "--http", "127.0.0.1:0"];

fn with<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&LOCAL, more].concat()
}

/// `/proc/PID/status`, of each thread.
fn threads(pid: u32) -> Vec<BTreeMap<String, String>> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let of = |path: &Path| {
        // A thread that only did something for another may be gone by now.
        let text = fs::read_to_string(path.join("status")).ok()?;
        let fields = text.lines().filter_map(|line| line.split_once(':'));
        let fields = fields.map(|(name, value)| {
            let words: Vec<&str> = value.split_whitespace().collect();
            (name.to_owned(), words.join(" "))
        });
        Some(fields.collect())
    };
    tasks.filter_map(|task| of(&task.ok()?.path())).collect()
}

/// Every thread is this user and group four times over, and nothing else.
fn is_nothing_but(daemon: &Daemon, uid: u32, gid: u32) {
    let threads = threads(daemon.pid());
    assert!(threads.len() > 1, "its shards run");
    for thread in threads {
        let is = |name: &str| thread[name].as_str();
        assert_eq!(is("Uid"), four(uid));
        assert_eq!(is("Gid"), four(gid));
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            assert_eq!(is(set), "0000000000000000", "{set}");
        }
        assert_eq!(is("NoNewPrivs"), "1");
    }
}

/// Real, effective, saved, and that of the file system.
fn four(id: u32) -> String {
    vec![id.to_string(); 4].join(" ")
}

/// A port that only root may take.
fn low_port() -> String {
    let port = (700..1024)
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a free port below 1024");
    format!("127.0.0.1:{port}")
}

fn id(of: &[&str]) -> u32 {
    let output = Command::new("id").args(of).output().unwrap();
    String::from_utf8(output.stdout)
        .unwrap()
        .trim()
        .parse()
        .unwrap()
}

pub(crate) fn a_named_user_takes_ports_as_root_and_is_that_user_then() {
    let port = low_port();
    let mut daemon = Daemon::start(Start {
        arguments: vec!["--uid=nobody", "--rtmp", &port, "--http", "127.0.0.1:0"],
        ..Start::default()
    });
    let said = daemon.wait_for("ready");
    assert!(said.contains("runs as nobody"), "{said}");
    is_nothing_but(&daemon, id(&["-u", "nobody"]), id(&["-g", "nobody"]));
    let status = &threads(daemon.pid())[0];
    assert_eq!(status["Groups"], "");
    assert_eq!(status["CapBnd"], "0000000000000000");
    let limits = fs::read_to_string(format!("/proc/{}/limits", daemon.pid())).unwrap();
    let files = limits
        .lines()
        .find(|l| l.starts_with("Max open files"))
        .unwrap();
    let files: Vec<&str> = files.split_whitespace().collect();
    // 16384 connections and some, or what the hard limit of this machine allows.
    let soft: u64 = files[3].parse().unwrap();
    let hard: u64 = files[4].parse().unwrap();
    assert!(soft == hard.min(16_512) || soft > 16_384, "{files:?}");
    // What is not dumpable belongs to root in /proc.
    let owned = fs::metadata(format!("/proc/{}/environ", daemon.pid())).unwrap();
    assert_eq!(owned.uid(), 0);
}

pub(crate) fn numbers_need_no_entry() {
    for (arguments, uid, gid) in [
        (vec!["--uid=3999999999"], 3_999_999_999, 3_999_999_999),
        (vec!["--uid=3999999999", "--gid=4242"], 3_999_999_999, 4242),
        (
            vec!["--uid=nobody", "--gid=daemon"],
            id(&["-u", "nobody"]),
            id(&["-g", "daemon"]),
        ),
    ] {
        let mut daemon = Daemon::start(Start {
            arguments: with(&arguments),
            ..Start::default()
        });
        daemon.wait_for("ready");
        is_nothing_but(&daemon, uid, gid);
    }
}

pub(crate) fn root_is_refused_and_what_is_to_be_typed_works() {
    let (code, said) = Daemon::start(Start {
        arguments: LOCAL.to_vec(),
        ..Start::default()
    })
    .end();
    assert_eq!((code, said.lines().count()), (Some(78), 1), "{said}");
    let line = said
        .split("type: ")
        .nth(1)
        .unwrap()
        .split(" (")
        .next()
        .unwrap();
    let typed: Vec<&str> = line.split(' ').collect();
    assert_eq!(typed[0], env!("CARGO_BIN_EXE_crtmpserver"));
    assert!(typed[1].starts_with("--uid="), "{line}");
    let mut daemon = Daemon::start(Start {
        arguments: typed[1..].to_vec(),
        ..Start::default()
    });
    daemon.wait_for("ready");
    let user = typed[1].trim_start_matches("--uid=");
    is_nothing_but(&daemon, id(&["-u", user]), id(&["-g", user]));
}

pub(crate) fn root_that_is_allowed_is_told_loudly() {
    let mut daemon = Daemon::start(Start {
        arguments: with(&["--allow-root"]),
        ..Start::default()
    });
    let said = daemon.wait_for("ready");
    assert!(said.contains(" WARN RUNS AS ROOT"), "{said}");
    assert_eq!(threads(daemon.pid())[0]["Uid"], "0 0 0 0");
}

pub(crate) fn a_wrong_name_is_one_line_and_leaves_nothing_bound() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    for (wrong, words) in [
        ("--uid=no-such-user", "no such user"),
        ("--uid=root", "--allow-root"),
        ("--gid=no-such-group", "no such group"),
    ] {
        let mut arguments = vec!["--rtmp", &address, "--http", "127.0.0.1:0", wrong];
        if wrong.starts_with("--gid") {
            arguments.push("--uid=nobody");
        }
        let (code, said) = Daemon::start(Start {
            arguments,
            ..Start::default()
        })
        .end();
        assert_eq!((code, said.lines().count()), (Some(78), 1), "{said}");
        assert!(said.contains(words), "{said}");
        TcpListener::bind(&address).expect("nothing is bound there");
    }
}

pub(crate) fn files_that_cannot_be_read_again_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    fs::write(&secret, "0123456789abcdefghijklmnopqrstuvwxyz\n").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let set = format!("mirror.secret_file={}", secret.display());
    let mut daemon = Daemon::start(Start {
        arguments: with(&[
            "--uid=nobody",
            "--role=mirror",
            "--master=rtmp://127.0.0.1:1",
            "--set",
            &set,
        ]),
        ..Start::default()
    });
    let said = daemon.wait_for("ready");
    let line = said.lines().find(|l| l.contains("nobody cannot read it"));
    assert!(line.is_some_and(|l| l.contains("chmod 0640")), "{said}");
}

pub(crate) fn another_user_than_root_is_only_itself() {
    const SOMEBODY: u32 = 3_999_999_998;
    let start = |more: &[&'static str]| Start {
        arguments: with(more),
        user: Some(SOMEBODY),
        ..Start::default()
    };
    for wrong in ["--uid=nobody", "--uid=root"] {
        let (code, said) = Daemon::start(start(&[wrong])).end();
        assert_eq!((code, said.lines().count()), (Some(78), 1), "{said}");
        assert!(said.contains("only root"), "{said}");
    }
    for right in [&[][..], &["--allow-root"], &["--uid=3999999998"]] {
        let mut daemon = Daemon::start(start(right));
        let said = daemon.wait_for("ready");
        assert!(!said.contains("ROOT"), "{said}");
        is_nothing_but(&daemon, SOMEBODY, SOMEBODY);
    }
}

/// As systemd does with `User=` and `AmbientCapabilities=CAP_NET_BIND_SERVICE`.
pub(crate) fn a_capability_for_a_port_is_given_up_after_it() {
    let port = low_port();
    let mut daemon = Daemon::start(Start {
        arguments: vec!["--rtmp", &port, "--http", "127.0.0.1:0"],
        before: &[
            "setpriv",
            "--reuid=3999999998",
            "--regid=3999999998",
            "--clear-groups",
            "--inh-caps=+net_bind_service",
            "--ambient-caps=+net_bind_service",
        ],
        ..Start::default()
    });
    daemon.wait_for("ready");
    is_nothing_but(&daemon, 3_999_999_998, 3_999_999_998);
}
