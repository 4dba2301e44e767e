//! Building the images, and what is in them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use crate::daemon::{secret, users};
use crate::lab::{HOST, STRANGER, host};
use crate::machine::Files;
use crate::world::{Ended, World};

/// The programs that go into the packages.
pub(crate) const PROGRAMS: [&str; 4] = [
    "crtmpserver",
    "crtmpserver-mirror",
    "completions",
    "completions-mirror",
];
/// Where the master of the mirrors' image is.
pub(crate) const MASTER: u16 = 1935;
/// No image may be larger, as qcow2.
const LARGEST: u64 = 250 * 1000 * 1000;

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| project().join("target"), PathBuf::from)
}

/// Where the programs are, which `tests/run` builds.
pub(crate) fn programs() -> PathBuf {
    target().join("test-bin")
}

/// An image that was built.
pub(crate) struct Image {
    pub(crate) qcow2: PathBuf,
    pub(crate) kernel: PathBuf,
    pub(crate) initrd: PathBuf,
    manifest: PathBuf,
}

/// What all tests share: packages, the secret and the users that are baked in, and the images.
pub(crate) struct Images {
    packages: PathBuf,
    pub(crate) secret: PathBuf,
    pub(crate) users: PathBuf,
    mirror: OnceLock<Image>,
    master: OnceLock<Image>,
}

impl Images {
    /// The packages, made once; an image is made when the first test asks for it.
    pub(crate) fn get() -> &'static Self {
        static IMAGES: OnceLock<Images> = OnceLock::new();
        IMAGES.get_or_init(|| {
            let world = World::new("image-packages");
            let packages = target().join("image/test/packages");
            drop(fs::remove_dir_all(&packages));
            fs::create_dir_all(&packages).unwrap();
            let mut command = Command::new(project().join("packaging/build-debs"));
            command.arg("--output").arg(&packages);
            command.arg("--binaries").arg(programs());
            let ended = world.run("packages", &mut command, Duration::from_secs(600));
            assert!(ended.status.success(), "{}{}", ended.out, ended.err);
            Self {
                packages,
                secret: secret(&world, "secret"),
                users: users(&world),
                mirror: OnceLock::new(),
                master: OnceLock::new(),
            }
        })
    }

    /// That of a mirror whose master is this host of the tests' networks.
    pub(crate) fn mirror(&'static self) -> &'static Image {
        self.mirror.get_or_init(|| {
            let master = format!("rtmp://{HOST}:{MASTER}");
            self.built(
                "mirror",
                &["--master", &master, "--secret-file", &text(&self.secret)],
                &target().join("image/test"),
            )
        })
    }

    /// That of a master to which publishers come from this host, and mirrors from its second address.
    pub(crate) fn master(&'static self) -> &'static Image {
        self.master.get_or_init(|| {
            let (secret, users) = (text(&self.secret), text(&self.users));
            self.built(
                "master",
                &[
                    "--users",
                    &users,
                    "--secret-file",
                    &secret,
                    "--publishers",
                    &format!("{HOST}/32,2001:db8::/32"),
                    "--mirrors",
                    &format!("{STRANGER}/32"),
                ],
                &target().join("image/test"),
            )
        })
    }

    /// One of a mirror with all that may be asked for: it lets in who has the key of this public one, keeps
    /// itself up to date, and speaks HTTPS under a name of its own.
    pub(crate) fn with_everything(&self, world: &World, login: &Path) -> Image {
        let (master, secret) = (format!("rtmp://{HOST}:{MASTER}"), text(&self.secret));
        let tls = project().join("tests/tls");
        let (certificate, key) = (text(&tls.join("server.pem")), text(&tls.join("server.key")));
        let login = text(login);
        let arguments = [
            "--master",
            &master,
            "--secret-file",
            &secret,
            "--login",
            &login,
            "--upgrades",
            "--certificate",
            &certificate,
            "--key",
            &key,
            "--host",
            "{ip-dashed}.m.example.org",
        ];
        self.built_in(world, "mirror", &arguments, &world.path("image"))
    }

    fn built(&self, role: &str, arguments: &[&str], output: &Path) -> Image {
        let world = World::new(&format!("image-{role}"));
        self.built_in(&world, role, arguments, output)
    }

    fn built_in(&self, world: &World, role: &str, arguments: &[&str], output: &Path) -> Image {
        let ended = self.build(world, role, arguments, output);
        assert!(ended.status.success(), "{}\n{}", ended.out, ended.err);
        let file = |end: &str| output.join(format!("crtmpserver-{role}.{end}"));
        Image {
            qcow2: file("qcow2"),
            kernel: file("vmlinuz"),
            initrd: file("initrd"),
            manifest: file("manifest"),
        }
    }

    fn build(&self, world: &World, role: &str, arguments: &[&str], output: &Path) -> Ended {
        let mut command = Command::new(project().join("image/build"));
        command.arg(role);
        command.arg("--packages").arg(&self.packages);
        command.arg("--output").arg(output);
        // The last one counts.
        command.args(arguments);
        world.run("build", &mut command, Duration::from_secs(1200))
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// What a mirror needs, and a master less its networks; words in capitals are files of the test.
const MIRROR: &str = "mirror --master rtmp://h --secret-file SECRET";
const MASTER_OF: &str = "master --users USERS --secret-file SECRET";

/// What is refused: what is typed behind one of those, and a part of what is said to it.
const REFUSED: &[(&str, &str, &str)] = &[
    ("mirror", "", "--master rtmp://HOST"),
    ("mirror", "--secret-file SECRET", "--master rtmp://HOST"),
    ("mirror", "--master rtmp://h", "--secret-file FILE"),
    (
        "mirror",
        "--master http://h --secret-file SECRET",
        "rtmp://",
    ),
    (MIRROR, "--secret-file /nonexistent", "/nonexistent"),
    (MIRROR, "--certificate CERTIFICATE", "--key FILE"),
    (MIRROR, "--key OTHER_KEY", "--certificate FILE"),
    (
        MIRROR,
        "--certificate CERTIFICATE --key OTHER_KEY",
        "other.key",
    ),
    (MIRROR, "--host http://x", "cluster.host"),
    (MIRROR, "--host x\"\n[limits]\nmax_viewers=1#", "no quotes"),
    (MIRROR, "--login OTHER_KEY", "a private key"),
    (MIRROR, "--login CERTIFICATE", "no public key"),
    ("master", "--secret-file SECRET", "--users FILE"),
    (MASTER_OF, "", "--publishers NETWORKS"),
    (MASTER_OF, "--publishers any", "--mirrors NETWORKS"),
    (
        MASTER_OF,
        "--users WRONG --publishers any --mirrors any",
        "wrong",
    ),
    (MASTER_OF, "--publishers anyone --mirrors any", "anyone"),
    (
        MASTER_OF,
        "--publishers any --mirrors 192.0.2.0/33",
        "192.0.2.0/33",
    ),
    (
        MASTER_OF,
        "--publishers any --mirrors 2001:db8::/129",
        "2001:db8::/129",
    ),
    (
        MASTER_OF,
        "--publishers ::ffff:192.0.2.1 --mirrors any",
        "::ffff:192.0.2.1",
    ),
    (
        MASTER_OF,
        "--publishers fe80::1%eth0 --mirrors any",
        "has a zone",
    ),
    (
        MASTER_OF,
        "--users EMPTY --publishers any --mirrors any",
        "has no users",
    ),
    (MIRROR, "--output EMPTY", "is no folder"),
    (MIRROR, "--output EMPTY/image", "is no folder"),
    (
        MASTER_OF,
        "--publishers 192.0.2.1, --mirrors any",
        "192.0.2.0/24",
    ),
];

pub(crate) fn what_is_missing_is_said(world: &World) {
    let images = Images::get();
    let output = world.path("output");
    let tls = project().join("tests/tls");
    let files = [
        ("SECRET", text(&images.secret)),
        ("USERS", text(&images.users)),
        ("WRONG", text(&world.write("wrong", "no verifier\n"))),
        ("EMPTY", text(&world.write("empty", "# nobody\n"))),
        ("EMPTY/image", text(&world.path("empty/image"))),
        ("CERTIFICATE", text(&tls.join("server.pem"))),
        ("OTHER_KEY", text(&tls.join("other.key"))),
    ];
    let here = |word: &str| {
        let file = files.iter().find(|(name, _)| *name == word);
        file.map_or_else(|| word.to_owned(), |(_, path)| path.clone())
    };
    for (before, typed, wanted) in REFUSED {
        let line = format!("{before} {typed}");
        let words: Vec<String> = line
            .split(' ')
            .filter(|w| !w.is_empty())
            .map(here)
            .collect();
        let arguments: Vec<&str> = words[1..].iter().map(String::as_str).collect();
        let ended = images.build(world, &words[0], &arguments, &output);
        let said = &ended.err;
        assert_eq!(ended.status.code(), Some(64), "{line}: {said}");
        assert!(said.contains(wanted), "{line}: {said}");
        assert!(!output.exists(), "{line} made something");
    }
}

/// Fails unless settings that a boot would not miss are on the disk.
fn assert_its_own(files: &Files, role: &str) {
    let link = |path: &str, to: &str| {
        let stat = files.stat(path);
        assert!(
            stat.contains(&format!("link dest: \"{to}\"")),
            "{role}: {path}: {stat}"
        );
    };
    let has = |path: &str, wanted: &str| {
        let text = files.text(path);
        assert!(
            text.lines().any(|line| line == wanted),
            "{role}: {path} has no {wanted}: {text}"
        );
    };
    let journal = "/usr/lib/systemd/journald.conf.d/crtmpserver.conf";
    has(journal, "SystemMaxUse=64M");
    has(journal, "RuntimeMaxUse=16M");
    // The service of a master has no network but the sockets that it is given.
    let profile = "/etc/systemd/system/crtmpserver.service.d/master.conf";
    if role == "master" {
        let of_the_package = "/usr/share/crtmpserver/profiles/master.conf";
        link(profile, of_the_package);
        has(of_the_package, "PrivateNetwork=yes");
        has(of_the_package, "RestrictAddressFamilies=AF_UNIX");
    } else {
        assert!(!files.has(profile));
    }
    // What a command line says is left out in favour of these (tests/command_line.rs).
    let script = "/usr/lib/systemd/system-generators/crtmpserver-command-line";
    assert!(files.stat(script).contains("Mode:  0755"), "{role}");
    for folder in ["/etc/credstore", "/usr/lib/credstore"] {
        assert!(
            files.stat(folder).contains("Mode:  0700"),
            "{role}: {folder}"
        );
        for name in ["secret", "users", "certificate", "key"] {
            let file = format!("crtmpserver.{name}");
            link(&format!("{folder}/{file}.kept"), &file);
        }
    }
}

pub(crate) fn what_is_on_the_disk(world: &World) {
    let images = Images::get();
    for (image, role) in [(images.mirror(), "mirror"), (images.master(), "master")] {
        let about = fs::metadata(&image.qcow2).unwrap();
        let size = about.len();
        assert_eq!(about.permissions().mode() & 0o777, 0o600, "{role}");
        assert!(size < LARGEST, "{role}: {size} bytes");
        world.write(&format!("{role}-size"), &format!("{size}\n"));
        let files = Files::of(&image.qcow2, world.path(&format!("{role}.raw")));
        let boot = files.boot_partition();
        assert!(!boot.contains("Warning"), "{role}: {boot}");
        for file in ["EFI/BOOT/BOOTX64.EFI", "grub/grub.cfg", "/vmlinuz"] {
            assert!(boot.contains(file), "{role}: no {file} in {boot}");
        }
        for told in files.boot_loaders() {
            let lines = told.lines().filter(|line| line.contains("root=PARTUUID="));
            let lines: Vec<&str> = lines.collect();
            let patient = |l: &&str| l.contains("nvme_core.io_timeout=4294967295");
            assert!(
                !lines.is_empty() && lines.iter().all(patient),
                "{role}: {told}"
            );
        }
        // Each machine makes its own.
        assert_eq!(files.text("/etc/machine-id").trim(), "");
        for file in [
            "/etc/ssh/ssh_host_ed25519_key",
            "/var/lib/systemd/random-seed",
            "/usr/bin/gcc",
            "/usr/bin/ld",
            "/usr/sbin/sshd",
        ] {
            assert!(!files.has(file), "{role}: {file}");
        }
        // root alone reads what is secret, and nobody has a password.
        let secret = files.stat("/usr/lib/credstore/crtmpserver.secret");
        assert!(
            secret.contains("Mode:  0600") && secret.contains("User:     0"),
            "{secret}"
        );
        assert_eq!(
            files.text("/usr/lib/credstore/crtmpserver.secret").trim(),
            fs::read_to_string(&images.secret).unwrap().trim()
        );
        assert_its_own(&files, role);
        let shadow = files.text("/etc/shadow");
        let password = |line: &str| line.split(':').nth(1).map(str::to_owned);
        assert!(
            shadow
                .lines()
                .filter_map(password)
                .all(|p| p.starts_with(['!', '*'])),
            "{role}: {shadow}"
        );
        assert_eq!(
            files.has("/usr/lib/credstore/crtmpserver.master"),
            role == "mirror"
        );
        assert_eq!(
            files.has("/usr/lib/credstore/crtmpserver.users"),
            role == "master"
        );
        let manifest = fs::read_to_string(&image.manifest).unwrap();
        let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
        let packages: Vec<&str> = manifest["packages"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|p| p["name"].as_str())
            .collect();
        let ours = if role == "mirror" {
            "crtmpserver-mirror"
        } else {
            "crtmpserver"
        };
        assert!(packages.contains(&ours), "{packages:?}");
        for package in [
            "gcc",
            "build-essential",
            "openssh-server",
            "unattended-upgrades",
        ] {
            let has = packages
                .iter()
                .any(|p| p.starts_with(package) && !p.ends_with("-base"));
            assert!(!has, "{role} has {package}");
        }
    }
}

/// Two builds from nothing, one after the other.
pub(crate) fn the_same_bytes_again(world: &World) {
    let images = Images::get();
    let master = format!("rtmp://{HOST}:{MASTER}");
    let secret = text(&images.secret);
    let arguments = [
        "--master",
        &master,
        "--secret-file",
        &secret,
        "--no-qcow2",
        "--fresh",
    ];
    let sums = ["first", "second"].map(|name| {
        let output = world.path(name);
        let ended = images.build(world, "mirror", &arguments, &output);
        assert!(ended.status.success(), "{}", ended.err);
        let raw = output.join("crtmpserver-mirror.raw");
        let sum = host(&format!("sha256sum <{}", raw.display()));
        drop(fs::remove_dir_all(&output));
        sum
    });
    assert_eq!(sums[0], sums[1], "another image of the same recipe");
}
