//! `crtmpserver status` and `crtmpserver ctl` against the real program: what they say, how they end,
//! and that `docs/operating.md` shows what they really print.

#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]
#![cfg_attr(
    feature = "publish",
    expect(
        clippy::indexing_slicing,
        clippy::panic,
        reason = "a test may fail loudly"
    )
)]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

#[cfg(feature = "publish")]
#[path = "control/shown.rs"]
mod shown;

/// No step of a test may take longer; none takes nearly as long.
const PATIENCE: Duration = Duration::from_secs(30);

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_crtmpserver"));
    // No test may meet the server of the machine that it runs on.
    command
        .env_remove("RUNTIME_DIRECTORY")
        .env_remove("XDG_RUNTIME_DIR")
        .stdin(Stdio::null());
    command
}

/// Exit code, standard output, standard error.
fn run(command: &mut Command) -> (Option<i32>, String, String) {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

/// A server that ends with this.
struct Server {
    child: Child,
    dir: PathBuf,
    socket: PathBuf,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// Starts one on free ports; its socket and its log have this name in the folder.
    fn start(dir: &Path, name: &str, arguments: &[&str]) -> Self {
        let socket = dir.join(format!("{name}.sock"));
        let server = Self::launch(dir, name, &socket, arguments);
        server.wait();
        server
    }

    fn launch(dir: &Path, name: &str, socket: &Path, arguments: &[&str]) -> Self {
        let log = std::fs::File::create(dir.join(format!("{name}.log"))).unwrap();
        let child = program()
            .args(["--allow-root", "--rtmp", "127.0.0.1:0"])
            .args(["--http", "127.0.0.1:0"])
            .args(["--set", &format!("listen.control={}", socket.display())])
            .args(arguments)
            .current_dir(dir)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Self {
            child,
            dir: dir.to_owned(),
            socket: socket.to_owned(),
        }
    }

    fn wait(&self) {
        self.until("it answers", &["ctl", "version"], |code, _| code == Some(0));
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = program();
        command
            .args(words)
            .arg("--socket")
            .arg(&self.socket)
            .current_dir(&self.dir);
        command
    }

    fn say(&self, words: &[&str]) -> (Option<i32>, String, String) {
        run(&mut self.command(words))
    }

    fn json(&self, words: &[&str]) -> Value {
        let (_, out, err) = self.say(&[words, &["--json"]].concat());
        assert_eq!(out.lines().count(), 1, "one line: {out} {err}");
        serde_json::from_str(&out).unwrap()
    }

    /// Repeats a command until its exit code and output are right.
    fn until(&self, what: &str, words: &[&str], right: impl Fn(Option<i32>, &str) -> bool) {
        let begun = Instant::now();
        loop {
            let (code, out, err) = self.say(words);
            if right(code, &out) {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{what}: {code:?} {out} {err}");
        }
    }

    /// The address that `status` tells of this protocol.
    #[cfg(feature = "publish")]
    fn address(&self, protocol: &str) -> std::net::SocketAddr {
        let answer = self.json(&["status"]);
        let all = answer["status"]["listeners"].as_array().unwrap().clone();
        let found = all.iter().find(|l| l["protocol"] == protocol).unwrap();
        found["address"].as_str().unwrap().parse().unwrap()
    }
}

/// What starts without a file in either build; where only mirrors are built, one without its master.
fn role() -> &'static [&'static str] {
    if cfg!(feature = "publish") {
        &[]
    } else {
        lonely()
    }
}

/// A mirror whose master is not there.
fn lonely() -> &'static [&'static str] {
    &[
        "--role",
        "mirror",
        "--master",
        "rtmp://127.0.0.1:1",
        "--set",
        "mirror.streams=live/event",
    ]
}

#[test]
fn without_a_server_it_is_69_and_every_place_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("no.sock");
    let missing = missing.to_str().unwrap();
    for words in [
        &["status", "--socket", missing][..],
        &["ctl", "--socket", missing, "streams"],
        &["ctl", "viewers", "--socket", missing],
    ] {
        let (code, out, err) = run(program().args(words));
        assert_eq!((code, out.as_str()), (Some(69), ""), "{err}");
        assert!(
            err.contains("not running") && err.contains(missing),
            "{err}"
        );
        assert_eq!(err.lines().count(), 1, "{err}");
    }
    let (code, out, err) = run(program().args(["status", "--json", "--socket", missing]));
    let answer: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, err.as_str()), (Some(69), ""));
    assert_eq!(answer["ok"], false);
    assert_eq!(answer["error"]["code"], "unreachable");
    // Without a place the usual ones are tried, in order.
    let (runtime, own) = (dir.path().join("runtime"), dir.path().join("own"));
    let (code, _, err) = run(program()
        .arg("status")
        .env("RUNTIME_DIRECTORY", &runtime)
        .env("XDG_RUNTIME_DIR", &own));
    let at = |text: String| err.find(&text).unwrap_or_else(|| panic!("{text} in {err}"));
    if code == Some(69) {
        let first = at(format!("{}/control.sock", runtime.display()));
        let last = at(format!("{}/crtmpserver/control.sock", own.display()));
        assert!(first < at("/run/crtmpserver/control.sock".into()) && first < last);
    }
}

#[test]
fn usage_is_64() {
    for words in [
        &["ctl"][..],
        &["ctl", "dance"],
        &["ctl", "kick"],
        &["status", "now"],
        &["ctl", "viewers", "a/b", "c/d"],
    ] {
        assert_eq!(run(program().args(words)).0, Some(64), "{words:?}");
    }
    let (code, out, _) = run(program().args(["ctl", "help"]));
    assert_eq!(code, Some(0));
    for verb in ["streams", "viewers", "mirrors", "kick", "reload", "health"] {
        assert!(out.contains(verb), "{verb} in {out}");
    }
}

#[test]
fn an_unhealthy_server_is_1_and_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), "mirror", lonely());
    let (code, out, _) = server.say(&["status"]);
    assert_eq!(code, Some(1), "{out}");
    let first = out.lines().next().unwrap();
    assert!(first.ends_with("NOT HEALTHY"), "{out}");
    assert!(out.lines().any(|l| l.starts_with("trouble     master: ")));
    let (code, out, _) = server.say(&["ctl", "health"]);
    assert!(code == Some(1) && out.starts_with("master: "), "{out}");
    let answer = server.json(&["status"]);
    assert_eq!(answer["ok"], true, "it was answered");
    assert_eq!(answer["health"]["healthy"], false);
    assert_eq!(answer["status"]["master"]["state"], "none");
}

#[test]
fn what_is_not_done_is_1_with_a_sentence() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), "server", role());
    for (words, part) in [
        (&["ctl", "kick", "4711"][..], "no connection 4711"),
        (&["ctl", "kick", "live/nobody"], "no stream live/nobody"),
        (&["ctl", "kick", "nonsense"], "APP/STREAM"),
        (&["ctl", "viewers", "live/nobody"], "no stream live/nobody"),
    ] {
        let (code, out, err) = server.say(words);
        assert_eq!((code, out.as_str()), (Some(1), ""), "{words:?}");
        assert!(err.contains(part) && err.lines().count() == 1, "{err}");
        let answer = server.json(words);
        assert!(answer["error"]["message"].as_str().unwrap().contains(part));
    }
    let (code, out, _) = server.say(&["ctl", "mirrors"]);
    assert_eq!((code, out.as_str()), (Some(0), "no mirrors\n"));
    let (code, out, _) = server.say(&["ctl", "version"]);
    assert!(code == Some(0) && out.starts_with(env!("CARGO_PKG_VERSION")));
    assert_eq!(out.contains("mirror only"), !cfg!(feature = "publish"));
}

#[test]
fn a_socket_is_replaced_when_its_server_is_dead_and_not_while_it_lives() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = Server::start(dir.path(), "first", role());
    let mode = std::fs::metadata(&first.socket).unwrap().permissions();
    assert_eq!(mode.mode() & 0o7777, 0o660);
    let mut second = Server::launch(dir.path(), "second", &first.socket, role());
    assert_eq!(second.child.wait().unwrap().code(), Some(71));
    let said = std::fs::read_to_string(dir.path().join("second.log")).unwrap();
    assert!(said.contains("belongs to a server that runs"), "{said}");
    first.wait();
    // As kill -9 leaves it.
    first.child.kill().unwrap();
    first.child.wait().unwrap();
    let (code, _, err) = first.say(&["status"]);
    assert_eq!(code, Some(69));
    assert!(err.contains("left of a server that ended"), "{err}");
    let third = Server::launch(dir.path(), "third", &first.socket, role());
    third.wait();
    // A folder that is not there, and a file that is no socket.
    for (path, why) in [
        ("gone/c.sock", "folder is not there"),
        ("third.log", "no socket"),
    ] {
        let path = dir.path().join(path);
        let mut refused = Server::launch(dir.path(), "refused", &path, role());
        assert_eq!(refused.child.wait().unwrap().code(), Some(71));
        let said = std::fs::read_to_string(dir.path().join("refused.log")).unwrap();
        assert!(said.contains(why), "{said}");
    }
}

#[test]
fn reload_says_what_changed_or_why_not() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("c.toml");
    let base = if cfg!(feature = "publish") {
        String::new()
    } else {
        "role = \"mirror\"\n[mirror]\nmaster = \"rtmp://127.0.0.1:1\"\nstreams = [\"live/x\"]\n"
            .to_owned()
    };
    let write = |more: &str| std::fs::write(&file, format!("{base}{more}")).unwrap();
    write("");
    let server = Server::launch(
        dir.path(),
        "server",
        &dir.path().join("c.sock"),
        &[file.to_str().unwrap()],
    );
    server.wait();
    let (code, out, err) = server.say(&["ctl", "reload"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert_eq!(out, "read again; nothing has changed\n");
    write("[relay]\ngrace = \"77s\"\n[server]\nthreads = 3\n");
    let (code, out, err) = server.say(&["ctl", "reload"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(
        out.lines()
            .any(|l| l.starts_with("relay.grace ") && l.ends_with(" (at once)"))
    );
    assert!(
        out.lines()
            .any(|l| l.starts_with("server.threads ") && l.ends_with(" (restart)"))
    );
    write("[relay]\ngrase = \"77s\"\n");
    let (code, out, err) = server.say(&["ctl", "reload"]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(
        err.contains("relay.grase") && err.contains("c.toml:"),
        "{err}"
    );
    assert_eq!(
        server.json(&["ctl", "reload"])["error"]["code"],
        "reload-refused"
    );
    server.wait();
}

/// As `ExecReload=` of a unit has it: the log tells, and the exit code.
#[test]
fn a_service_manager_is_told_whether_a_reload_worked() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("c.toml");
    let write = |grace: &str| {
        let mirror = "role = \"mirror\"\n[mirror]\nmaster = \"rtmp://127.0.0.1:1\"\nstreams = [\"live/x\"]\n";
        std::fs::write(&file, format!("{mirror}[relay]\n{grace} = \"77s\"\n")).unwrap();
    };
    write("grace");
    let start = |name: &str| {
        let socket = dir.path().join(format!("{name}.sock"));
        let server = Server::launch(dir.path(), name, &socket, &[file.to_str().unwrap()]);
        server.wait();
        server
    };
    let (one, other) = (start("one"), start("other"));
    let log = |name: &str| std::fs::read_to_string(dir.path().join(format!("{name}.log"))).unwrap();
    let reload = |of: &Server, socket: &Path| {
        let pid = format!("--main-pid={}", of.child.id());
        let asked = ["ctl", "reload", pid.as_str(), "--socket"];
        run(program().args(asked).arg(socket))
    };
    let nothing = (String::new(), String::new());
    let (code, out, err) = reload(&one, &one.socket);
    assert_eq!((code, (out, err)), (Some(0), nothing.clone()));
    assert!(log("one").contains("configuration read again"));
    write("grase");
    let (code, out, err) = reload(&one, &one.socket);
    assert_eq!((code, (out, err)), (Some(1), nothing.clone()));
    let said = log("one");
    assert_eq!(said.matches("relay.grase").count(), 1, "{said}");
    // Without a socket of its own, and when it is another's, it gets a signal.
    for socket in [&one.socket, &dir.path().join("nobody.sock")] {
        let before = log("other").matches("relay.grase").count();
        let (code, out, err) = reload(&other, socket);
        assert_eq!((code, (out, err)), (Some(0), nothing.clone()));
        other.until("it reloads", &["ctl", "version"], |_, _| {
            log("other").matches("relay.grase").count() > before
        });
    }
    assert_eq!(log("one").matches("relay.grase").count(), 1);
    // What is no process of a server is let alone.
    for pid in ["0", "1", "4294967295"] {
        let (code, _, err) = run(program()
            .args(["ctl", "reload", "--main-pid", pid, "--socket"])
            .arg(dir.path().join("nobody.sock")));
        assert_eq!(code, Some(1), "{err}");
        assert!(err.contains("SIGHUP"), "{err}");
    }
}

#[test]
fn a_clean_stop_takes_the_socket_away() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path(), "server", role());
    let pid = nix::unistd::Pid::from_raw(i32::try_from(server.child.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
    assert!(!server.socket.exists());
}

#[test]
fn the_usual_place_is_used_once_and_not_needed() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = dir.path().join("runtime");
    std::fs::create_dir(&runtime).unwrap();
    let start = |name: &str| {
        let log = std::fs::File::create(dir.path().join(name)).unwrap();
        let child = program()
            .args(["--allow-root", "--rtmp", "127.0.0.1:0"])
            .args(["--http", "127.0.0.1:0"])
            .args(role())
            .env("RUNTIME_DIRECTORY", &runtime)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Server {
            child,
            dir: dir.path().to_owned(),
            socket: runtime.join("control.sock"),
        }
    };
    let first = start("first");
    first.wait();
    let (_, out, _) = run(program()
        .args(["status", "--json"])
        .env("RUNTIME_DIRECTORY", &runtime));
    let answer: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(answer["program"]["pid"], first.child.id());
    let mut second = start("second");
    let begun = Instant::now();
    loop {
        let said = std::fs::read_to_string(dir.path().join("second")).unwrap();
        if said.contains(" ready ") {
            assert!(
                said.contains("another server has the usual place"),
                "{said}"
            );
            break;
        }
        assert!(second.child.try_wait().unwrap().is_none(), "{said}");
        assert!(begun.elapsed() < PATIENCE, "{said}");
    }
    drop(second);
    first.wait();
}

#[test]
fn others_may_not_talk_to_it() {
    // Only root can be somebody else for a moment.
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(dir.path(), open).unwrap();
    let server = Server::start(dir.path(), "server", role());
    // Where the other user may read and execute it.
    let copy = dir.path().join("crtmpserver");
    std::fs::copy(env!("CARGO_BIN_EXE_crtmpserver"), &copy).unwrap();
    for words in [&["status"][..], &["ctl", "kick", "1"]] {
        use std::os::unix::process::CommandExt;
        let mut command = Command::new(&copy);
        command
            .args(words)
            .arg("--socket")
            .arg(&server.socket)
            .current_dir("/")
            .uid(65_534)
            .gid(65_534);
        let (code, out, err) = run(&mut command);
        assert_eq!((code, out.as_str()), (Some(69), ""), "{err}");
        assert!(err.contains("permission denied"), "{err}");
        assert_eq!(err.lines().count(), 1, "{err}");
    }
}
