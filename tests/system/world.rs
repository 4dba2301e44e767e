//! What every system test stands on: a folder for its logs, free ports, child processes that end with
//! it, and waiting with a limit.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

/// How long anything may take that should take a moment; the machine may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// One test's surroundings. Its folder stays behind for who wants to know what happened.
pub(crate) struct World {
    dir: PathBuf,
}

impl World {
    pub(crate) fn new(name: &str) -> Self {
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
            || Path::new(env!("CARGO_MANIFEST_DIR")).join("target"),
            PathBuf::from,
        );
        let dir = target.join("test-logs/system").join(name);
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).expect("the folder of logs");
        Self { dir }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).expect("a file of the test");
        path
    }

    /// Starts a program whose output goes to `NAME.out` and `NAME.err`.
    pub(crate) fn start(&self, name: &str, command: &mut Command) -> Process {
        let file = |end: &str| {
            File::options()
                .create(true)
                .append(true)
                .open(self.path(&format!("{name}.{end}")))
                .expect("a log")
        };
        writeln!(file("err"), "$ {command:?}").expect("a log");
        let child = command
            .stdin(Stdio::null())
            .stdout(file("out"))
            .stderr(file("err"))
            .process_group(0)
            .spawn()
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        Process {
            name: name.to_owned(),
            out: self.path(&format!("{name}.out")),
            err: self.path(&format!("{name}.err")),
            child,
        }
    }

    /// Runs a program to its end, within `limit`.
    pub(crate) fn run(&self, name: &str, command: &mut Command, limit: Duration) -> Ended {
        let mut process = self.start(name, command);
        let status = process.wait(limit);
        Ended {
            status,
            out: process.stdout(),
            err: process.stderr(),
        }
    }
}

/// A program that ended.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// A child process; it and its own children are killed when this goes.
pub(crate) struct Process {
    name: String,
    out: PathBuf,
    err: PathBuf,
    child: Child,
}

impl Process {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let _ = kill(raw_pid(&self.child), signal);
    }

    /// `kill -9`, and gone when this returns.
    pub(crate) fn kill(&mut self) {
        let _ = killpg(raw_pid(&self.child), Signal::SIGKILL);
        let _ = self.child.wait();
    }

    pub(crate) fn running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Whether it has ended, for who may not wait for it.
    pub(crate) fn ended(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap_or_default();
        let state = stat.rsplit_once(") ").map_or("Z", |(_, rest)| rest);
        state.starts_with('Z')
    }

    pub(crate) fn wait(&mut self, limit: Duration) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                return status;
            }
            assert!(
                begun.elapsed() < limit,
                "{} did not end within {limit:?}; it said:\n{}",
                self.name,
                tail(&self.stderr())
            );
            pause(20);
        }
    }

    pub(crate) fn stdout(&self) -> String {
        lossy(&self.out)
    }

    pub(crate) fn stderr(&self) -> String {
        lossy(&self.err)
    }

    /// Both outputs, for what a program says on either.
    pub(crate) fn said(&self) -> String {
        self.stdout() + &self.stderr()
    }

    /// Resident memory, KiB.
    pub(crate) fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        status
            .lines()
            .find_map(|l| l.strip_prefix("VmRSS:"))
            .and_then(|l| l.split_whitespace().next()?.parse().ok())
            .unwrap_or(0)
    }

    /// Open descriptors.
    pub(crate) fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).map_or(0, Iterator::count)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn raw_pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).expect("a process id"))
}

fn lossy(path: &Path) -> String {
    let mut bytes = Vec::new();
    if let Ok(mut file) = File::open(path) {
        let _ = file.read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The end of a long text.
pub(crate) fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test thread may sleep; there is no runtime here"
)]
pub(crate) fn pause(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
}

/// Waits until `what` happens; panics with its name when it does not within [`PATIENCE`].
pub(crate) fn wait_for<T>(what: &str, probe: impl FnMut() -> Option<T>) -> T {
    wait_within(PATIENCE, what, probe)
}

pub(crate) fn wait_within<T>(
    limit: Duration,
    what: &str,
    mut probe: impl FnMut() -> Option<T>,
) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(begun.elapsed() < limit, "within {limit:?} not: {what}");
        pause(25);
    }
}

/// Ports of 127.0.0.1 and ::1 that were free a moment ago. They are below those that the kernel gives
/// to connections, and none is given twice, so that nobody takes one before a server binds it.
pub(crate) fn free_ports<const N: usize>() -> [u16; N] {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    std::array::from_fn(|_| {
        loop {
            let step = NEXT.fetch_add(1, Ordering::Relaxed);
            // Runs beside each other begin at different places.
            let port = 10_000 + (std::process::id() * 97 + step) % 20_000;
            let port = u16::try_from(port).expect("below 30000");
            let free = |ip: &str| TcpListener::bind((ip, port)).is_ok();
            if free("127.0.0.1") && free("::1") {
                return port;
            }
        }
    })
}

pub(crate) fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// A connection to a port of this machine with a read limit.
pub(crate) fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect_timeout(&local(port), PATIENCE).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
    stream.set_nodelay(true).expect("no delay");
    stream
}

/// Waits until something listens there.
pub(crate) fn wait_port(port: u16) {
    wait_for(&format!("something listens on port {port}"), || {
        TcpStream::connect_timeout(&local(port), Duration::from_secs(1)).ok()
    });
}

/// A plain HTTP/1.1 GET: status and body.
pub(crate) fn get(port: u16, path: &str) -> Option<(u16, String)> {
    get_at(local(port), path)
}

/// The same from another address.
pub(crate) fn get_at(address: SocketAddr, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5)).ok()?;
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .ok()?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )
    .ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}
