//! The container images, without a container engine: umoci unpacks them and runc starts them, both as an
//! ordinary user whose containers have a range of users of their own, as engines without root do.

use std::cell::Cell;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sched::{CloneFlags, unshare};
use serde_json::{Value, json};

use crate::image::{Image, files, programs, run};
use crate::live::wait_live;
use crate::media::{Packets, programme};
use crate::programs::{publish, watch, watched};
use crate::world::{Ended, PATIENCE, Process, World, get, wait_for, wait_port};

/// What these tests need besides the others' programs.
pub(crate) const NEEDS: [&str; 4] = ["runc", "umoci", "skopeo", "newuidmap"];
/// Who starts the containers.
const NOBODY: u32 = 65534;
/// The first of the users that the containers have, of which number 0 is who starts them.
const FIRST: u32 = 200_000;
/// The image's own user.
const USER: u32 = 65532;

/// Runs `$2...` as nobody, who has a range of users in this mount namespace alone.
const AS_NOBODY: &str = "echo nobody:200000:65536 >\"$1/range\"
    for file in subuid subgid; do
        [ -e /etc/$file ] || : >/etc/$file
        mount --bind \"$1/range\" /etc/$file
    done
    HOME=$1 XDG_RUNTIME_DIR=$1/run; export HOME XDG_RUNTIME_DIR; shift
    exec setpriv --reuid=65534 --regid=65534 --clear-groups \"$@\"";

/// A folder that is nobody's own, with an image unpacked in it.
struct Bundle<'a> {
    world: &'a World,
    folder: tempfile::TempDir,
    config: Value,
    /// What an engine would ask for the health.
    health: Vec<String>,
    commands: Cell<u32>,
}

impl<'a> Bundle<'a> {
    /// Makes the image of a package, and unpacks it; the thread has a network of its own from then on.
    fn new(world: &'a World, package: &str) -> Self {
        let archive = image(world, package);
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        let mut up = Command::new("ip");
        run(world, "lo", up.args(["link", "set", "lo", "up"]));
        // Its sums and descriptors are right in the eyes of who serves images.
        let mut copy = Command::new("skopeo");
        copy.arg("copy")
            .arg(format!("oci-archive:{}", archive.display()));
        copy.arg(format!("dir:{}", world.path("copy").display()));
        run(world, "skopeo", copy.arg("--insecure-policy"));

        let folder = tempfile::tempdir().unwrap();
        let layout = folder.path().join("layout");
        for part in [&layout, &folder.path().join("run")] {
            fs::create_dir(part).unwrap();
            chown(part, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        chown(folder.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        let mut tar = Command::new("tar");
        tar.args(["--no-same-owner", "-x", "-C"]).arg(&layout);
        run(world, "layout", tar.arg("-f").arg(&archive));
        let health = files(&layout.join("blobs/sha256"))
            .iter()
            .filter_map(|blob| serde_json::from_slice::<Value>(&fs::read(blob).unwrap()).ok())
            .find_map(|blob| Some(blob["config"].get("Healthcheck")?["Test"].clone()))
            .unwrap();
        let mut health: Vec<String> = serde_json::from_value(health).unwrap();
        assert_eq!(health.remove(0), "CMD");

        let mut bundle = Self {
            world,
            folder,
            config: Value::Null,
            health,
            commands: Cell::new(0),
        };
        let version = env!("CARGO_PKG_VERSION");
        let from = format!("{}:{version}", layout.display());
        let at = bundle.path("bundle").display().to_string();
        bundle.ok(&["umoci", "unpack", "--rootless", "--image", &from, &at]);
        bundle.config =
            serde_json::from_slice(&fs::read(bundle.path("bundle/config.json")).unwrap()).unwrap();
        bundle.as_an_engine();
        bundle
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What engines add to what the image says: no rights, nothing to write on, a range of users, and the
    /// volume of the image in memory.
    fn as_an_engine(&mut self) {
        let process = &mut self.config["process"];
        assert_eq!(process["user"]["uid"], json!(USER));
        process["terminal"] = json!(false);
        process["capabilities"] = json!({});
        process["rlimits"] = json!([]);
        self.config["root"]["readonly"] = json!(true);
        let users = json!([
            {"containerID": 0, "hostID": NOBODY, "size": 1},
            {"containerID": 1, "hostID": FIRST, "size": 65535},
        ]);
        self.config["linux"]["uidMappings"] = users.clone();
        self.config["linux"]["gidMappings"] = users;
        let mounts = self.config["mounts"].as_array_mut().unwrap();
        assert!(
            mounts
                .iter()
                .any(|m| m["destination"] == "/run/crtmpserver")
        );
        // The names of this machine are none of its business.
        mounts.retain(|m| m["destination"] != "/etc/resolv.conf");
    }

    /// Puts a folder into the container.
    fn mount(&mut self, from: &Path, to: &str, how: &str) {
        let mounts = self.config["mounts"].as_array_mut().unwrap();
        mounts.retain(|m| m["destination"] != to);
        mounts.push(
            json!({"destination": to, "type": "bind", "source": from, "options": ["bind", how]}),
        );
    }

    /// A folder with a file that the image's user may read, as an engine hands out its secrets.
    fn secret(&self, folder: &str, name: &str, text: &[u8]) -> PathBuf {
        let folder = self.path(folder);
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join(name);
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o440)).unwrap();
        chown(&file, Some(NOBODY), Some(FIRST + USER - 1)).unwrap();
        folder
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-ec", AS_NOBODY, "sh"]);
        command.arg(self.folder.path()).args(words);
        command
    }

    fn run(&self, words: &[&str]) -> Ended {
        let number = self.commands.get() + 1;
        self.commands.set(number);
        let name = format!("rootless-{number:02}");
        self.world.run(&name, &mut self.command(words), PATIENCE)
    }

    fn ok(&self, words: &[&str]) -> String {
        let ended = self.run(words);
        assert!(
            ended.status.success(),
            "{words:?}: {}{}",
            ended.out,
            ended.err
        );
        ended.out
    }

    /// The words of the command line behind the program, which is the image's own.
    fn arguments(&mut self, words: &[&str]) {
        let all = self.config["process"]["args"].as_array_mut().unwrap();
        assert_eq!(all[0], "/usr/bin/crtmpserver");
        all.truncate(1);
        all.extend(words.iter().map(|word| json!(word)));
    }

    /// Starts it under a name.
    fn start(&self, name: &str) -> Container<'_> {
        let text = serde_json::to_vec_pretty(&self.config).unwrap();
        fs::write(self.path("bundle/config.json"), text).unwrap();
        let at = self.path("bundle").display().to_string();
        let mut command = self.command(&["runc", "--rootless=true", "run", "-b", &at, name]);
        Container {
            bundle: self,
            name: name.to_owned(),
            process: self.world.start(name, &mut command),
        }
    }
}

struct Container<'a> {
    bundle: &'a Bundle<'a>,
    name: String,
    process: Process,
}

impl Container<'_> {
    /// Runs a command in it, as `exec` of an engine does.
    fn exec(&self, words: &[&str]) -> Ended {
        let words = [&["runc", "exec", &self.name], words].concat();
        self.bundle.run(&words)
    }

    /// What the kernel says of its process 1.
    fn about(&self, file: &str) -> String {
        let state = self.bundle.ok(&["runc", "state", &self.name]);
        let state: Value = serde_json::from_str(&state).unwrap();
        fs::read_to_string(format!("/proc/{}/{file}", state["pid"])).unwrap()
    }

    fn stop(mut self) {
        self.bundle.ok(&["runc", "kill", &self.name, "TERM"]);
        assert!(self.process.wait(PATIENCE).success());
    }
}

/// The image of a package.
fn image(world: &World, package: &str) -> PathBuf {
    let archive = world.path(&format!("{package}.tar"));
    let recipe = Path::new(env!("CARGO_MANIFEST_DIR")).join("image/oci/build");
    let mut command = Command::new(recipe);
    command.arg(package).arg("--packages");
    command.arg(&Image::get().packages);
    run(world, "image", command.arg("--output").arg(&archive));
    archive
}

pub(crate) fn closed_until_there_are_users(world: &World) {
    let mut bundle = Bundle::new(world, "crtmpserver");
    let open = bundle.start("open");
    wait_port(8080);
    assert_eq!(get(8080, "/healthz").unwrap().0, 200);
    // Not even to this machine: behind the port of an engine everybody looks like it.
    let mut stranger = publish(
        world,
        "stranger",
        &programme(),
        "rtmp://127.0.0.1/live/event",
    );
    assert!(!stranger.wait(PATIENCE).success());
    assert!(stranger.said().contains("Publishing is not open"));

    let health: Vec<&str> = bundle.health.iter().map(String::as_str).collect();
    // The document says the same to those engines that do not look into the image.
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/containers.md");
    let wanted = format!("--health-cmd '{health:?}'");
    assert!(fs::read_to_string(document).unwrap().contains(&wanted));
    let asked = open.exec(&health);
    assert!(asked.status.success(), "{}{}", asked.out, asked.err);
    let status = open.about("status");
    let of = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        line.unwrap()
            .split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let user = (FIRST + USER - 1).to_string();
    assert!(
        of("Uid:").iter().chain(&of("Gid:")).all(|id| *id == user),
        "{status}"
    );
    assert_eq!(of("CapEff:"), ["0000000000000000"]);
    assert_eq!(of("NoNewPrivs:"), ["1"]);
    let mounts = open.about("mountinfo");
    let root = mounts
        .lines()
        .find(|line| line.contains(" / / ") || line.contains("/rootfs / "));
    assert!(root.unwrap().contains(" / ro,"), "{mounts}");
    let written = open.exec(&["/usr/bin/crtmpserver", "passwd", "--generate", "ann"]);
    assert!(
        written.err.contains("Read-only file system"),
        "{}",
        written.err
    );
    open.stop();

    // The users' file is made by the image itself, on a folder of who starts it.
    let here = bundle.path("here");
    fs::create_dir(&here).unwrap();
    chown(&here, Some(NOBODY), Some(NOBODY)).unwrap();
    bundle.mount(&here, "/here", "rw");
    bundle.arguments(&["passwd", "--generate", "--file", "/here/users", "ann"]);
    // As an engine starts user 0: with the right to give a file away, among others.
    let rights = json!(["CAP_CHOWN", "CAP_FOWNER"]);
    bundle.config["process"]["user"] = json!({"uid": 0, "gid": 0});
    bundle.config["process"]["capabilities"] =
        json!({"bounding": rights, "effective": rights, "permitted": rights});
    let mut making = bundle.start("making");
    assert!(making.process.wait(PATIENCE).success());
    let password = making.process.stdout().trim().to_owned();
    let users = fs::read(here.join("users")).unwrap();

    bundle.config["process"]["user"] = json!({"uid": USER, "gid": USER});
    bundle.config["process"]["capabilities"] = json!({});
    bundle.arguments(&["/etc/crtmpserver/crtmpserver.toml"]);
    let secrets = bundle.secret("secrets", "crtmpserver.users", &users);
    bundle.mount(&secrets, "/run/secrets", "ro");
    let closed = bundle.start("closed");
    wait_port(8080);
    let mut stranger = publish(
        world,
        "stranger-again",
        &programme(),
        "rtmp://127.0.0.1/live/event",
    );
    assert!(!stranger.wait(PATIENCE).success());
    let source = Packets::of_file(world, "ffmpeg", "source", &programme());
    let url = format!("rtmp://ann:{password}@127.0.0.1/live/event");
    let encoder = publish(world, "encoder", &programme(), &url);
    wait_live("live/event");
    for (name, url) in [
        ("rtmp", "rtmp://127.0.0.1/live/event"),
        ("http", "http://127.0.0.1:8080/live/event.flv"),
    ] {
        watched(&watch(world, name, url), 30).assert_part_of(&source, 30);
    }
    drop(encoder);
    closed.stop();
}

/// The words behind `args:` of the deployment.
fn arguments_in_kubernetes(manifest: &str) -> Vec<String> {
    let rest = manifest.split("          args:\n").nth(1).unwrap();
    rest.lines()
        .take_while(|line| line.starts_with("            "))
        .filter_map(|line| line.trim().strip_prefix("- ").map(str::to_owned))
        .collect()
}

pub(crate) fn a_mirror_as_kubernetes_starts_it(world: &World) {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("image/kubernetes/mirror.yaml");
    let manifest = fs::read_to_string(manifest).unwrap();
    let version = env!("CARGO_PKG_VERSION");
    for line in [
        format!("image: registry.example.org/crtmpserver-mirror:{version}"),
        format!("runAsUser: {USER}"),
        "readOnlyRootFilesystem: true".to_owned(),
        "mountPath: /run/crtmpserver".to_owned(),
    ] {
        assert!(manifest.contains(&line), "{line}");
    }
    assert!(!manifest.contains("command:\n"), "the image has it");

    let mut bundle = Bundle::new(world, "crtmpserver-mirror");
    let secret = bundle.secret("secret", "secret", &[b's'; 40]);
    let configuration = world.write(
        "master.toml",
        &format!(
            "role = \"master\"\n[listen]\nrtmp = [\"127.0.0.1:1945\"]\nhttp = []\ncontrol = \"\"\n\
             [publish]\nnetworks = [\"loopback\"]\n[master]\nsecret_file = \"{}\"\n",
            secret.join("secret").display()
        ),
    );
    let master = programs().join("crtmpserver");
    let start_master = |name: &str| {
        let mut command = Command::new(&master);
        world.start(name, command.arg("--allow-root").arg(&configuration))
    };
    let first = start_master("master");
    wait_port(1945);

    let words = arguments_in_kubernetes(&manifest);
    let words: Vec<String> = words
        .iter()
        .map(|word| word.replace("rtmp://master.example.org", "rtmp://127.0.0.1:1945"))
        .collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    assert!(words.contains(&"--master=rtmp://127.0.0.1:1945"));
    bundle.arguments(&words);
    bundle.mount(&secret, "/run/secrets/crtmpserver", "ro");
    let mirror = bundle.start("mirror");
    // As its probes ask: alive by the port, ready by /healthz, which follows the master.
    wait_port(8080);
    let ready = |wanted: u16| {
        wait_for(&format!("/healthz says {wanted}"), || {
            (get(8080, "/healthz")?.0 == wanted).then_some(())
        });
    };
    ready(200);
    let source = Packets::of_file(world, "ffmpeg", "source", &programme());
    let encoder = publish(
        world,
        "encoder",
        &programme(),
        "rtmp://127.0.0.1:1945/live/event",
    );
    let viewer = watch(world, "viewer", "rtmp://127.0.0.1/live/event");
    watched(&viewer, 30).assert_part_of(&source, 30);
    drop((encoder, first));
    ready(503);
    wait_port(8080);
    let _second = start_master("master-again");
    ready(200);
    drop(viewer);

    // What the pod does before it ends.
    let line = manifest.lines().find(|line| line.contains("command: ["));
    let line = line.unwrap().split(['[', ']']).nth(1).unwrap();
    let drain: Vec<&str> = line.split(", ").collect();
    let drained = mirror.exec(&drain);
    assert!(drained.status.success(), "{}{}", drained.out, drained.err);
    mirror.stop();
}

pub(crate) fn the_same_packages_make_the_same_bytes(world: &World) {
    let both = ["first", "second"].map(|name| {
        let archive = image(world, "crtmpserver-mirror");
        let kept = world.path(name);
        fs::rename(archive, &kept).unwrap();
        fs::read(kept).unwrap()
    });
    assert!(both[0] == both[1]);
    // What has no package says so.
    let recipe = Path::new(env!("CARGO_MANIFEST_DIR")).join("image/oci/build");
    let mut command = Command::new(recipe);
    command.arg("--packages").arg(world.path(""));
    let failed = world.run("none", &mut command, PATIENCE);
    assert_eq!(failed.status.code(), Some(66), "{}", failed.err);
    assert!(failed.err.contains("build-debs"), "{}", failed.err);
}
