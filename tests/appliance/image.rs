//! What every test stands on, made once: the root of a Debian, the packages, a repository of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use crate::world::World;

/// The programs that go into the packages.
pub(crate) const PROGRAMS: [&str; 4] = [
    "crtmpserver",
    "crtmpserver-mirror",
    "completions",
    "completions-mirror",
];

/// The version before this one, made of it.
pub(crate) const PREVIOUS: &str = "2.0.0~alpha.0-1";

/// How the root is made; another recipe makes another root.
const RECIPE: &[&str] = &[
    "--variant=minbase",
    "--include=systemd,systemd-sysv,dbus,init-system-helpers,iproute2,procps,python3-minimal,nftables,man-db",
    "--aptopt=Acquire::Languages \"none\"",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-include=/usr/share/man/man[158]/crtmpserver*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    "--customize-hook=rm -f \"$1\"/etc/apt/sources.list \"$1\"/etc/apt/sources.list.d/*",
];

/// What a cloud's stock Debian has besides.
const OF_A_CLOUD: &str = "--include=cloud-init,openssh-server";

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

/// What is made once in a run.
pub(crate) struct Image {
    /// The root, to be laid under each machine's own.
    pub(crate) root: PathBuf,
    /// The packages of this version.
    pub(crate) packages: PathBuf,
    /// A repository of this version and of [`PREVIOUS`].
    pub(crate) repository: PathBuf,
}

impl Image {
    /// Makes it, or waits until another test has.
    pub(crate) fn get() -> &'static Self {
        static IMAGE: OnceLock<Image> = OnceLock::new();
        IMAGE.get_or_init(|| Self::make(&World::new("appliance-image")))
    }

    /// The root of a cloud's stock server, made once, too.
    pub(crate) fn of_a_cloud() -> &'static Path {
        static ROOT: OnceLock<PathBuf> = OnceLock::new();
        ROOT.get_or_init(|| {
            let recipe = [RECIPE, &[OF_A_CLOUD]].concat();
            let world = World::new("appliance-image-of-a-cloud");
            root(&world, Self::get().root.parent().unwrap(), &recipe)
        })
    }

    fn make(world: &World) -> Self {
        let folder = target().join("appliance");
        fs::create_dir_all(&folder).unwrap();
        sweep(&folder);
        let packages = folder.join("packages");
        let repository = folder.join("repository");
        for stale in [&packages, &repository] {
            drop(fs::remove_dir_all(stale));
        }
        build(world, &packages);
        let mut all = files(&packages);
        all.extend(previous(world, &packages, &folder));
        let mut command = Command::new(project().join("packaging/apt-repository"));
        command.arg(&repository).args(&all);
        run(world, "repository", &mut command);
        Self {
            root: root(world, &folder, RECIPE),
            packages,
            repository,
        }
    }
}

/// Takes away what machines of a run left behind that was killed.
fn sweep(folder: &Path) {
    for left in files(folder) {
        let name = left.file_name().unwrap().to_str().unwrap().to_owned();
        let Some(run) = name
            .strip_prefix("crtmp-")
            .and_then(|n| n.split('-').next())
        else {
            continue;
        };
        if !Path::new("/proc").join(run).exists() {
            let script = "umount -l \"$1/root\"; rm -rf --one-file-system \"$1\"
                          ip netns del \"$2\"; ip netns del \"$2-out\"";
            let mut command = Command::new("sh");
            command.args(["-c", script, "sh"]).arg(&left).arg(&name);
            drop(command.output());
        }
    }
}

/// Runs a program that must succeed.
pub(crate) fn run(world: &World, name: &str, command: &mut Command) -> String {
    let ended = world.run(name, command, Duration::from_secs(600));
    assert!(
        ended.status.success(),
        "{name}: {}\n{}",
        ended.out,
        ended.err
    );
    ended.out
}

/// The files of a folder.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|e| e.unwrap().path()).collect();
    files.sort();
    files
}

fn build(world: &World, packages: &Path) {
    let mut command = Command::new(project().join("packaging/build-debs"));
    command
        .arg("--output")
        .arg(packages)
        .arg("--binaries")
        .arg(programs())
        // They are not kept: packing them well would be for nothing.
        .env("DPKG_DEB_COMPRESSOR_TYPE", "gzip")
        .env("DPKG_DEB_COMPRESSOR_LEVEL", "1");
    run(world, "packages", &mut command);
    assert_eq!(files(packages).len(), 3);
}

/// A version before this one: the same, with another number and other words in its configuration.
fn previous(world: &World, packages: &Path, folder: &Path) -> Vec<PathBuf> {
    let output = folder.join("previous");
    let tree = folder.join("tree");
    drop(fs::remove_dir_all(&output));
    fs::create_dir_all(&output).unwrap();
    for package in files(packages) {
        drop(fs::remove_dir_all(&tree));
        let script = "dpkg-deb -R \"$1\" \"$2\" && cd \"$2\" &&
            version=$(sed -n 's/^Version: //p' DEBIAN/control) &&
            sed -i \"s/$version/$4/\" DEBIAN/control &&
            if [ -e etc/crtmpserver/crtmpserver.toml ]; then
                sed -i '1i # As it was in the version before.' etc/crtmpserver/crtmpserver.toml
            fi &&
            dpkg-deb --root-owner-group -Zgzip -z1 -b . \"$3\"";
        let mut command = Command::new("sh");
        command.args(["-ec", script, "sh"]);
        command.args([&package, &tree, &output]).arg(PREVIOUS);
        run(world, "previous", &mut command);
    }
    drop(fs::remove_dir_all(&tree));
    files(&output)
}

/// The root of a Debian, from the archives that this machine uses itself.
fn root(world: &World, folder: &Path, recipe: &[&str]) -> PathBuf {
    let text = recipe.join("\n").into_bytes();
    // FNV-1a: told apart is all that it must be.
    let sum = text.iter().fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let root = folder.join(format!("root-{sum:016x}"));
    if root.exists() {
        return root;
    }
    let sources = [
        "/etc/apt/sources.list.d/debian.sources",
        "/etc/apt/sources.list",
    ];
    let sources = sources.iter().find(|s| Path::new(s).exists());
    let tar = folder.join("root.tar");
    let part = folder.join("root.part");
    let mut command = Command::new("mmdebstrap");
    command.args(recipe).arg("bookworm").arg(&tar);
    command.args(sources);
    run(world, "root", &mut command);
    drop(fs::remove_dir_all(&part));
    fs::create_dir_all(&part).unwrap();
    let mut command = Command::new("tar");
    command.arg("xf").arg(&tar).arg("-C").arg(&part);
    run(world, "unpack", &mut command);
    fs::remove_file(&tar).unwrap();
    fs::rename(&part, &root).unwrap();
    root
}
