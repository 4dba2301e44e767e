//! A machine: a container whose process 1 is systemd, with a network of its own, and a second network
//! that stands for the world outside.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::image::Image;
use crate::world::{Ended, Process, World, get, pause, wait_for, wait_within};

/// The machine, as it is seen from outside.
pub(crate) const INSIDE: &str = "10.99.0.2";
/// How long a command in the machine may take.
const COMMAND: Duration = Duration::from_secs(120);

/// A machine that runs until it is dropped. The thread that boots it is in its network from then on,
/// and so is what that thread starts: for them 127.0.0.1 is the machine.
pub(crate) struct Machine<'a> {
    pub(crate) world: &'a World,
    name: String,
    folder: PathBuf,
    container: Option<Process>,
    leader: u32,
    commands: Cell<u32>,
}

impl<'a> Machine<'a> {
    /// Boots a fresh Debian that knows the repository of the packages.
    pub(crate) fn boot(world: &'a World) -> Self {
        let image = Image::get();
        Self::boot_on(world, &image.root, None, |_| ())
    }

    /// Boots one on another root, or what was [saved](Self::save) of a machine on it; `prepare` sees it
    /// before it starts.
    pub(crate) fn boot_on(
        world: &'a World,
        root: &Path,
        saved: Option<&Path>,
        prepare: impl FnOnce(&Self),
    ) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let image = Image::get();
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("crtmp-{}-{number}", std::process::id());
        // An overlay on an overlay would be refused: not in the folder of the logs.
        let folder = image.root.with_file_name(&name);
        let mut machine = Self {
            world,
            name,
            folder,
            container: None,
            leader: 0,
            commands: Cell::new(0),
        };
        machine.lay(image, root, saved);
        prepare(&machine);
        machine.connect();
        machine.start(image);
        machine
    }

    /// Switches it off, and tells where its disk is: what it changed of its root. That is gone when
    /// [`Saved`] is.
    pub(crate) fn save(mut self) -> Saved {
        self.run("systemctl poweroff");
        self.container.take().unwrap().wait(COMMAND);
        let saved = self.folder.with_file_name(format!("{}-saved", self.name));
        host(&format!(
            "cp -a {}/upper {}",
            self.folder.display(),
            saved.display()
        ));
        Saved(saved)
    }

    /// Boots one with a package installed, and waits until it serves.
    pub(crate) fn with(world: &'a World, package: &str) -> Self {
        let machine = Self::boot(world);
        machine.install(package);
        machine.wait_serving();
        machine
    }

    /// The root, with the machine's own changes above it.
    fn lay(&self, image: &Image, lower: &Path, saved: Option<&Path>) {
        for part in ["work", "root"] {
            fs::create_dir_all(self.folder.join(part)).unwrap();
        }
        match saved {
            None => fs::create_dir_all(self.folder.join("upper")).unwrap(),
            Some(saved) => {
                host(&format!(
                    "cp -a {} {}/upper",
                    saved.display(),
                    self.folder.display()
                ));
            }
        }
        let at = |part: &str| self.folder.join(part).display().to_string();
        let options = format!(
            "lowerdir={},upperdir={},workdir={}",
            lower.display(),
            at("upper"),
            at("work")
        );
        host(&format!(
            "mount -t overlay overlay -o {options} {}",
            at("root")
        ));
        let root = self.root();
        fs::create_dir_all(root.join("usr/share/keyrings")).unwrap();
        fs::copy(
            image.repository.join("crtmpserver.gpg"),
            root.join("usr/share/keyrings/crtmpserver.gpg"),
        )
        .unwrap();
        let list = "deb [signed-by=/usr/share/keyrings/crtmpserver.gpg] file:/srv/repository stable main\n";
        fs::write(root.join("etc/apt/sources.list.d/crtmpserver.list"), list).unwrap();
    }

    fn root(&self) -> PathBuf {
        self.folder.join("root")
    }

    fn outside_name(&self) -> String {
        format!("{}-out", self.name)
    }

    /// Two networks and a cable between them; this thread goes into the machine's.
    fn connect(&self) {
        let (inside, outside) = (&self.name, self.outside_name());
        host(&format!(
            "ip netns add {inside}; ip netns add {outside};
             ip -n {outside} link add outer type veth peer name eth0 netns {inside};
             ip -n {outside} addr add 10.99.0.1/24 dev outer; ip -n {inside} addr add {INSIDE}/24 dev eth0;
             ip -n {outside} link set lo up; ip -n {inside} link set lo up;
             ip -n {outside} link set outer up; ip -n {inside} link set eth0 up"
        ));
        let network = File::open(format!("/run/netns/{inside}")).unwrap();
        setns(network, CloneFlags::CLONE_NEWNET).unwrap();
    }

    fn start(&mut self, image: &Image) {
        // In a control group of its own: without one, all machines would share theirs, and what one of
        // them kills or shuts off would be so in all.
        let enter =
            "for mount in $CGROUPS; do mkdir -p $mount/$1; echo $$ >$mount/$1/cgroup.procs; done
                     shift; exec systemd-nspawn \"$@\"";
        let mut command = Command::new("sh");
        command
            .env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1")
            .env("CGROUPS", control_groups().join(" "))
            .args(["-ec", enter, "sh", &self.name])
            .arg("-D")
            .arg(self.root())
            .arg(format!("--machine={}", self.name))
            .arg(format!("--network-namespace-path=/run/netns/{}", self.name))
            .arg(format!(
                "--bind-ro={}:/srv/repository",
                image.repository.display()
            ))
            .args([
                "--register=no",
                "--keep-unit",
                "--boot",
                "--console=read-only",
            ])
            .args(["--kill-signal=SIGRTMIN+3", "--system-call-filter=bpf"])
            .arg("--capability=CAP_BPF,CAP_NET_ADMIN,CAP_PERFMON");
        let container = self.world.start("container", &mut command);
        let parent = container.pid();
        self.container = Some(container);
        // The first child of systemd-nspawn is not process 1 yet.
        wait_within(Duration::from_secs(60), "systemd is up", || {
            self.leader = child_of(parent)?;
            let state = self.run("systemctl is-system-running").out;
            matches!(state.trim(), "running" | "degraded").then_some(())
        });
    }

    /// Runs a shell script in the machine, as root.
    pub(crate) fn run(&self, script: &str) -> Ended {
        self.world
            .run(&self.log(), &mut self.command(script), COMMAND)
    }

    /// A name for the log of the next command.
    fn log(&self) -> String {
        let number = self.commands.get() + 1;
        self.commands.set(number);
        // A test may have several machines.
        let machine = self.name.rsplit('-').next().unwrap_or_default();
        format!("machine-{machine}-command-{number:03}")
    }

    fn command(&self, script: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["-t", &self.leader.to_string()])
            .args([
                "-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w", "--", "env", "-i",
            ])
            .arg("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .args([
                "HOME=/root",
                "LANG=C.UTF-8",
                "DEBIAN_FRONTEND=noninteractive",
            ])
            .args([
                "SYSTEMD_PAGER=",
                "SYSTEMD_COLORS=0",
                "COLUMNS=200",
                "sh",
                "-c",
                script,
            ]);
        command
    }

    /// Starts a script that goes on.
    pub(crate) fn start_script(&self, name: &str, script: &str) -> Process {
        self.world.start(name, &mut self.command(script))
    }

    /// Runs a script that must succeed, and tells what it said.
    pub(crate) fn ok(&self, script: &str) -> String {
        let ended = self.run(script);
        assert!(
            ended.status.success(),
            "$ {script}\n{}{}",
            ended.out,
            ended.err
        );
        ended.out.trim().to_owned()
    }

    /// Waits until a script succeeds.
    pub(crate) fn wait_ok(&self, script: &str) -> String {
        wait_for(script, || {
            let ended = self.run(script);
            ended.status.success().then_some(ended.out)
        })
    }

    /// Writes a file in the machine.
    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.root().join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Copies a folder of this machine into that one.
    pub(crate) fn copy(&self, from: &Path, to: &str) {
        let to = self.root().join(to.trim_start_matches('/'));
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        host(&format!("cp -a {} {}", from.display(), to.display()));
    }

    /// Makes it one that knows no repository, as a provider's is.
    pub(crate) fn forget_repository(&self) {
        for path in [
            "usr/share/keyrings/crtmpserver.gpg",
            "etc/apt/sources.list.d/crtmpserver.list",
        ] {
            fs::remove_file(self.root().join(path)).unwrap();
        }
    }

    /// `apt install`, as somebody types it.
    pub(crate) fn install(&self, packages: &str) -> String {
        self.ok(&format!(
            "apt-get -q update && apt-get -q -y install {packages}"
        ))
    }

    /// Waits until it is active and healthy.
    pub(crate) fn wait_serving(&self) {
        self.wait_ok("systemctl is-active crtmpserver.service");
        wait_for("it serves", || {
            get(8080, "/").filter(|(status, _)| *status == 200)
        });
    }

    /// What journald has of the service that matches: the fields of each entry.
    pub(crate) fn journal(&self, matching: &str) -> Vec<BTreeMap<String, String>> {
        // What was said is there only when journald has read it.
        let entries = self.ok(&format!(
            "journalctl --sync && journalctl -o json -u crtmpserver.service {matching}"
        ));
        let fields = |line: &str| serde_json::from_str(line).unwrap();
        entries
            .lines()
            .map(fields)
            .map(|entry: BTreeMap<String, serde_json::Value>| {
                let text = |value: serde_json::Value| value.as_str().unwrap_or_default().to_owned();
                entry.into_iter().map(|(k, v)| (k, text(v))).collect()
            })
            .collect()
    }

    /// What `systemctl status` shows.
    pub(crate) fn status(&self) -> String {
        self.run("systemctl status --no-pager --lines=20 --full crtmpserver.service")
            .out
    }

    /// Waits until `systemctl status` shows each of `words`.
    pub(crate) fn wait_status(&self, words: &[&str]) -> String {
        let mut last = String::new();
        for _ in 0..120 {
            last = self.status();
            if words.iter().all(|word| last.contains(word)) {
                return last;
            }
            pause(250);
        }
        panic!("not all of {words:?} in:\n{last}");
    }

    /// The main process of the service, as it is seen from here.
    pub(crate) fn main_pid(&self) -> u32 {
        let inside = self.ok("systemctl show -P MainPID crtmpserver.service");
        let seen = |pid: u32| -> Option<String> {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            let line = status.lines().find_map(|l| l.strip_prefix("NSpid:"))?;
            let inner = line.split_whitespace().last()?.to_owned();
            let root = fs::read_link(format!("/proc/{pid}/ns/pid")).ok()?;
            let machine = fs::read_link(format!("/proc/{}/ns/pid", self.leader)).ok()?;
            (root == machine).then_some(inner)
        };
        let pids = fs::read_dir("/proc").unwrap();
        pids.filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok())
            .find(|pid| seen(*pid).as_ref() == Some(&inside))
            .unwrap_or_else(|| panic!("no process {inside} in the machine"))
    }

    /// A program to run in place of ffmpeg that is ffmpeg outside the machine.
    pub(crate) fn ffmpeg_outside(&self) -> String {
        let text = format!(
            "#!/bin/sh\nexec ip netns exec {} ffmpeg \"$@\"\n",
            self.outside_name()
        );
        let path = self.world.write("ffmpeg-outside", &text);
        host(&format!("chmod +x {}", path.display()));
        path.display().to_string()
    }

    /// A shell script outside the machine, on a host beside it.
    pub(crate) fn outside(&self, script: &str) -> Ended {
        let mut command = self.outside_command(script);
        self.world.run(&self.log(), &mut command, COMMAND)
    }

    /// The command of such a script.
    pub(crate) fn outside_command(&self, script: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.outside_name(), "sh", "-c", script]);
        command
    }

    /// A cable to another machine, with an address at each end of it.
    pub(crate) fn join(&self, address: &str, other: &Self, others: &str) {
        let (ours, theirs) = (&self.name, &other.name);
        host(&format!(
            "ip -n {ours} link add cable type veth peer name cable netns {theirs};
             ip -n {ours} addr add {address}/24 dev cable; ip -n {theirs} addr add {others}/24 dev cable;
             ip -n {ours} link set cable up; ip -n {theirs} link set cable up"
        ));
    }

    /// Whether somebody outside can connect to a port.
    pub(crate) fn reachable(&self, port: u16) -> bool {
        let script = format!(
            "exec python3 -c 'import socket; socket.create_connection((\"{INSIDE}\", {port}), 2)'"
        );
        self.outside(&script).status.success()
    }
}

impl Drop for Machine<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Where the logs are, for who wants to know what happened.
            self.run("journalctl --no-pager -n 200 -u 'crtmpserver*'");
        }
        if let Some(mut container) = self.container.take() {
            let leader = Pid::from_raw(i32::try_from(self.leader).unwrap_or(0));
            if self.leader != 0 {
                // SIGKILL to process 1 of a container ends all of it; nothing in it is worth a clean end.
                let _ = kill(leader, Signal::SIGKILL);
            }
            let begun = Instant::now();
            while container.running() && begun.elapsed() < Duration::from_secs(10) {
                pause(20);
            }
        }
        let (root, folder) = (self.root(), &self.folder);
        let (root, folder) = (root.display(), folder.display());
        let (inside, outside) = (&self.name, self.outside_name());
        let groups: String = control_groups()
            .iter()
            .map(|mount| format!("find {mount}/{inside} -depth -type d -exec rmdir {{}} +; "))
            .collect();
        let script = format!(
            "{groups}umount {root} || umount -l {root}; rm -rf --one-file-system {folder}; ip netns del {inside}; ip netns del {outside}"
        );
        let _ = Command::new("sh").args(["-c", &script]).status();
    }
}

/// What was saved of a machine.
pub(crate) struct Saved(pub(crate) PathBuf);

impl Drop for Saved {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A program for somebody else's server on a port.
pub(crate) fn other_server(port: u16) -> String {
    format!(
        "python3 -c 'import socket, time; s = socket.create_server((\"\", {port})); time.sleep(600)'"
    )
}

/// Where the hierarchies of control groups are that systemd uses.
fn control_groups() -> Vec<String> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let of_systemd = |line: &str| -> Option<String> {
        let mut words = line.split(' ');
        let (_, place, kind, options) =
            (words.next()?, words.next()?, words.next()?, words.next()?);
        let wanted = kind == "cgroup2" || (kind == "cgroup" && options.contains("name=systemd"));
        wanted.then(|| place.to_owned())
    };
    mounts.lines().filter_map(of_systemd).collect()
}

/// Runs a script on this machine that must succeed.
fn host(script: &str) {
    let done = Command::new("sh").args(["-ec", script]).output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "$ {script}\n{said}");
}

/// The first child of a process.
fn child_of(parent: u32) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

/// Connects again and again until it is dropped, from inside the machine; counts what was refused.
pub(crate) struct Knocking {
    stop: std::sync::Arc<std::sync::atomic::AtomicBool>,
    threads: Vec<std::thread::JoinHandle<Knocks>>,
}

/// What came of knocking.
#[derive(Debug, Default)]
pub(crate) struct Knocks {
    /// Connections that were made.
    pub(crate) made: u32,
    /// Those of them that were answered.
    pub(crate) answered: u32,
    /// Connections that were refused.
    pub(crate) refused: Vec<String>,
}

impl Knocking {
    pub(crate) fn start() -> Self {
        let stop = std::sync::Arc::<std::sync::atomic::AtomicBool>::default();
        let threads = (0..4)
            .map(|_| {
                let stop = std::sync::Arc::clone(&stop);
                std::thread::spawn(move || {
                    let mut knocks = Knocks::default();
                    while !stop.load(Ordering::Relaxed) {
                        knock(&mut knocks);
                        pause(5);
                    }
                    knocks
                })
            })
            .collect();
        Self { stop, threads }
    }

    /// What came of it, all together.
    pub(crate) fn stop(self) -> Knocks {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Knocks::default();
        for thread in self.threads {
            let knocks = thread.join().unwrap();
            all.made += knocks.made;
            all.answered += knocks.answered;
            all.refused.extend(knocks.refused);
        }
        all
    }
}

fn knock(knocks: &mut Knocks) {
    use std::io::{Read, Write};
    match TcpStream::connect_timeout(&crate::world::local(8080), Duration::from_secs(30)) {
        Err(e) => knocks.refused.push(e.to_string()),
        Ok(mut stream) => {
            knocks.made += 1;
            let mut answer = [0; 8];
            let asked = stream
                .set_read_timeout(Some(Duration::from_secs(30)))
                .and_then(|()| {
                    stream
                        .write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                })
                .and_then(|()| stream.read_exact(&mut answer));
            knocks.answered += u32::from(asked.is_ok());
        }
    }
}
