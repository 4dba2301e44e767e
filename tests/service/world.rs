//! The program as a service manager starts it, or a script that stands for one.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::unistd::Pid;

/// How long anything may take that should take a moment; the machine may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A role that every build has, and that needs no file; its master is not there.
const MIRROR: [&str; 4] = [
    "--role=mirror",
    "--master=rtmp://127.0.0.1:1",
    "--set",
    "mirror.streams=live/x",
];

/// How to start it.
#[derive(Default)]
pub(crate) struct Start<'a> {
    pub(crate) arguments: Vec<&'a str>,
    /// Descriptors 3, 4 and 5.
    pub(crate) sockets: Vec<OwnedFd>,
    /// `LISTEN_FDNAMES`
    pub(crate) names: Option<&'a str>,
    /// `LISTEN_FDS`; how many sockets there are, unless a test lies
    pub(crate) count: usize,
    /// `LISTEN_PID`; the program's own, unless a test lies
    pub(crate) pid: Option<&'a str>,
    /// `NOTIFY_SOCKET`
    pub(crate) notify: Option<&'a Path>,
    /// `WATCHDOG_USEC`
    pub(crate) watchdog: Option<Duration>,
    /// Whether `JOURNAL_STREAM` says that journald reads its words.
    pub(crate) journal: bool,
    /// Another user than that of the test, and its group.
    pub(crate) user: Option<u32>,
    /// A program in front, with its arguments.
    pub(crate) before: &'a [&'a str],
}

/// The running program; it ends with this.
pub(crate) struct Daemon {
    child: Child,
    log: PathBuf,
    _dir: tempfile::TempDir,
}

impl Daemon {
    pub(crate) fn start(how: Start<'_>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        // A shell moves its own three descriptors to where the protocol has them: only the program that
        // is run by exec knows its own number.
        let moves: String = (0..how.sockets.len())
            .map(|n| format!("exec {}<&{n}; ", n + 3))
            .collect();
        let variables = match how.names {
            Some(_) => format!("LISTEN_PID={} ", how.pid.unwrap_or("$$")),
            None => String::new(),
        };
        let journal = if how.journal {
            "JOURNAL_STREAM=$(stat -Lc %d:%i \"$LOG\") "
        } else {
            ""
        };
        let script =
            format!("{moves}exec 0</dev/null 1>>\"$LOG\" 2>&1; {journal}{variables}exec \"$@\"");
        let has_role = how.arguments.iter().any(|a| a.starts_with("--role"));
        let mut sockets = how.sockets.into_iter().map(Stdio::from);
        let mut next = || sockets.next().unwrap_or_else(Stdio::null);
        fs::write(&log, "").unwrap();
        let mut command = Command::new("sh");
        command
            .args(["-c", &script, "sh"])
            .args(how.before)
            .arg(env!("CARGO_BIN_EXE_crtmpserver"))
            .args(&how.arguments)
            .args(if has_role { &[][..] } else { &MIRROR })
            .env_remove("NOTIFY_SOCKET")
            .env_remove("JOURNAL_STREAM")
            .env("LOG", &log)
            .stdin(next())
            .stdout(next())
            .stderr(next());
        if let Some(names) = how.names {
            command
                .env("LISTEN_FDS", how.count.to_string())
                .env("LISTEN_FDNAMES", names);
        }
        if let Some(path) = how.notify {
            command.env("NOTIFY_SOCKET", path);
        }
        if let Some(limit) = how.watchdog {
            command.env("WATCHDOG_USEC", limit.as_micros().to_string());
        }
        if let Some(user) = how.user {
            command.uid(user).gid(user);
            let open = |path: &Path, mode| {
                use std::os::unix::fs::PermissionsExt;
                fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
            };
            open(dir.path(), 0o755);
            open(&log, 0o666);
        }
        Self {
            child: command.spawn().unwrap(),
            log,
            _dir: dir,
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A thread by its name.
    pub(crate) fn thread(&self, name: &str) -> Pid {
        let of = |task: &Path| {
            let comm = fs::read_to_string(task.join("comm")).ok()?;
            let number = task.file_name()?.to_str()?.parse().ok()?;
            (comm.trim() == name).then(|| Pid::from_raw(number))
        };
        fs::read_dir(format!("/proc/{}/task", self.pid()))
            .unwrap()
            .find_map(|task| of(&task.unwrap().path()))
            .expect("a thread of that name")
    }

    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until it says a word, and gives all that it said.
    pub(crate) fn wait_for(&mut self, word: &str) -> String {
        wait_for(&format!("{word:?}"), || {
            let said = self.said();
            if said.contains(word) {
                return Some(said);
            }
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "it ended without {word:?}: {said}");
            None
        })
    }

    /// Its exit code and what it said.
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        let status = wait_for("the end", || self.child.try_wait().unwrap());
        (status.code(), self.said())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until `what` happens; panics with its name when it does not within [`PATIENCE`].
#[expect(clippy::disallowed_methods, reason = "there is no runtime here")]
pub(crate) fn wait_for<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "this did not come: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
