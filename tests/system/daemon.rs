//! The program itself: its roles, started with generated configurations.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;

use crate::world::{Process, World, free_ports, get, wait_for};

pub(crate) const USER: &str = "ann";
pub(crate) const PASSWORD: &str = "correct-horse-7";

/// The whole program: the one just built, or the one that `TEST_BIN` names.
pub(crate) fn binary() -> PathBuf {
    std::env::var_os("TEST_BIN").map_or_else(
        || PathBuf::from(env!("CARGO_BIN_EXE_crtmpserver")),
        PathBuf::from,
    )
}

/// The program without publishing, when `tests/run` has built it; else the whole one.
pub(crate) fn mirror_binary() -> PathBuf {
    std::env::var_os("TEST_MIRROR_BIN")
        .map(PathBuf::from)
        .filter(|path| path.exists())
        .unwrap_or_else(binary)
}

/// One running server.
pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) rtmp: u16,
    pub(crate) http: u16,
    listen: String,
    name: String,
    binary: PathBuf,
    file: PathBuf,
}

impl Server {
    /// Starts a server with these keys, on free ports, and waits until it is ready.
    pub(crate) fn start(world: &World, name: &str, keys: &str) -> Self {
        let server = Self::launch(world, name, &binary(), keys);
        server.wait_ready();
        server
    }

    /// Starts a server without waiting. `keys` is the configuration less `[listen]` and `[log]`.
    pub(crate) fn launch(world: &World, name: &str, binary: &Path, keys: &str) -> Self {
        Self::launch_with(world, name, binary, keys, "")
    }

    /// The same with more lines of `[listen]`.
    pub(crate) fn launch_with(
        world: &World,
        name: &str,
        binary: &Path,
        keys: &str,
        listen: &str,
    ) -> Self {
        let [rtmp, http] = free_ports();
        let text = with_listeners(keys, rtmp, http, listen);
        let file = world.write(&format!("{name}.toml"), &text);
        Self {
            process: run(world, name, binary, &file),
            rtmp,
            http,
            listen: listen.to_owned(),
            name: name.to_owned(),
            binary: binary.to_owned(),
            file,
        }
    }

    /// Starts a server with a file that has these ports, and waits until it is ready.
    pub(crate) fn start_file(world: &World, name: &str, file: &Path, rtmp: u16, http: u16) -> Self {
        let server = Self {
            process: run(world, name, &binary(), file),
            rtmp,
            http,
            listen: String::new(),
            name: name.to_owned(),
            binary: binary(),
            file: file.to_owned(),
        };
        server.wait_ready();
        server
    }

    /// Waits until `/healthz` says ready.
    pub(crate) fn wait_ready(&self) {
        wait_for(&format!("{} is ready", self.name), || {
            assert!(!self.process.ended(), "it ended:\n{}", self.process.said());
            (get(self.http, "/healthz")?.0 == 200).then_some(())
        });
    }

    /// Kills it and starts it again on the same ports.
    pub(crate) fn kill_and_restart(&mut self, world: &World) {
        self.process.kill();
        self.process = run(world, &self.name, &self.binary, &self.file);
    }

    /// Another configuration, and the signal to read it; from now on on this port for RTMP.
    pub(crate) fn reload(&mut self, world: &World, keys: &str, rtmp: u16) {
        let text = with_listeners(keys, rtmp, self.http, &self.listen);
        world.write(&format!("{}.toml", self.name), &text);
        self.rtmp = rtmp;
        self.process.signal(Signal::SIGHUP);
    }

    pub(crate) fn rtmp_url(&self, stream: &str) -> String {
        format!("rtmp://127.0.0.1:{}/{stream}", self.rtmp)
    }

    /// With the right user and password, as ffmpeg takes them.
    pub(crate) fn login_url(&self, stream: &str) -> String {
        format!("rtmp://{USER}:{PASSWORD}@127.0.0.1:{}/{stream}", self.rtmp)
    }

    pub(crate) fn flv_url(&self, stream: &str) -> String {
        format!("http://127.0.0.1:{}/{stream}.flv", self.http)
    }

    /// The `/metrics` text.
    pub(crate) fn metrics(&self) -> String {
        get(self.http, "/metrics").map_or_else(String::new, |(_, body)| body)
    }

    /// The sum of a metric over those of its label sets that contain `label`.
    pub(crate) fn metric(&self, name: &str, label: &str) -> f64 {
        self.metrics()
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.rsplit_once(' '))
            .filter(|(key, _)| key.split('{').next() == Some(name) && key.contains(label))
            .filter_map(|(_, value)| value.parse::<f64>().ok())
            .sum()
    }

    /// Waits until a stream is live, as a viewer sees it.
    pub(crate) fn wait_live(&self, stream: &str) {
        wait_for(&format!("{stream} is live on {}", self.name), || {
            let (status, body) = get(self.http, "/")?;
            (status == 200 && body.contains(stream)).then_some(())
        });
    }
}

/// The whole configuration.
fn with_listeners(keys: &str, rtmp: u16, http: u16, listen: &str) -> String {
    let (before, tables) = split_tables(keys);
    let control = if listen.contains("control = ") {
        ""
    } else {
        "control = \"\""
    };
    format!(
        "{before}
[listen]
rtmp = [\"127.0.0.1:{rtmp}\", \"[::1]:{rtmp}\"]
http = [\"127.0.0.1:{http}\", \"[::1]:{http}\"]
{control}
{listen}
[log]
level = \"debug\"
format = \"text\"
{tables}"
    )
}

fn run(world: &World, name: &str, binary: &Path, file: &Path) -> Process {
    let mut command = Command::new(binary);
    command.arg("--allow-root").arg(file).env("NO_COLOR", "1");
    world.start(name, &mut command)
}

/// Keys in front of the first table, and the rest: tables that follow each other may not be split.
fn split_tables(keys: &str) -> (&str, &str) {
    keys.split_at(keys.find('[').unwrap_or(keys.len()))
}

/// A file of users with the one of these tests.
pub(crate) fn users(world: &World) -> PathBuf {
    let file = world.path("users");
    set_password(&file, PASSWORD);
    let text = std::fs::read_to_string(&file).expect("the file of users");
    assert!(!text.contains(PASSWORD), "a clear password on disk");
    file
}

/// Gives the user of these tests a password.
pub(crate) fn set_password(file: &Path, password: &str) {
    let mut child = Command::new(binary())
        .args(["passwd", "--file"])
        .arg(file)
        .arg(USER)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("passwd starts");
    writeln!(child.stdin.take().expect("its input"), "{password}").expect("it reads");
    assert!(child.wait().expect("it ends").success(), "passwd failed");
}

/// A shared secret.
pub(crate) fn secret(world: &World, name: &str) -> PathBuf {
    let file = world.path(name);
    let made = Command::new(binary())
        .arg("secret")
        .arg(&file)
        .stderr(Stdio::null())
        .status();
    assert!(made.expect("it runs").success(), "secret failed");
    file
}

/// Everything on one machine, viewers kept for `grace` when the encoder is gone.
pub(crate) fn standalone(world: &World, grace: &str) -> Server {
    Server::start(
        world,
        "standalone",
        &format!("[relay]\ngrace = \"{grace}\"\n"),
    )
}

/// A master with one user, and mirrors with its secret, all linked.
pub(crate) struct Cluster {
    pub(crate) master: Server,
    pub(crate) mirrors: Vec<Server>,
}

impl Cluster {
    pub(crate) fn start(world: &World, mirrors: usize) -> Self {
        let secret = secret(world, "secret");
        let keys = master_keys(&users(world), &secret);
        let master = Server::start(world, "master", &keys);
        let mirrors: Vec<Server> = (1..=mirrors)
            .map(|n| {
                let keys = mirror_keys(master.rtmp, &secret);
                Server::launch(world, &format!("mirror-{n}"), &mirror_binary(), &keys)
            })
            .collect();
        for mirror in &mirrors {
            mirror.wait_ready();
        }
        Self { master, mirrors }
    }
}

pub(crate) fn master_keys(users: &Path, secret: &Path) -> String {
    format!(
        "role = \"master\"
[publish]
users = {users:?}
[master]
secret_file = {secret:?}
[play]
networks = [\"loopback\"]
"
    )
}

pub(crate) fn mirror_keys(master: u16, secret: &Path) -> String {
    format!(
        "role = \"mirror\"
[mirror]
master = \"rtmp://127.0.0.1:{master}\"
secret_file = {secret:?}
[relay]
grace = \"unlimited\"
"
    )
}
