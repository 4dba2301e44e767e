//! The port's Makefile, evaluated and followed under `bsd.port.mk` beside this file.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{port, read, root, run};

/// bmake, in a folder with the Makefile of a port.
fn bmake(folder: &Path) -> Command {
    let mut command = Command::new("bmake");
    command
        .arg("-m")
        .arg(root().join("tests/port"))
        .args(["-m", "/usr/share/mk"])
        .current_dir(folder);
    command
}

fn value(name: &str, flavor: &str) -> String {
    let mut command = bmake(&port(""));
    command.arg(format!("FLAVOR={flavor}")).args(["-V", name]);
    run(&mut command).trim().to_owned()
}

pub(crate) fn it_says_what_the_framework_wants() {
    assert_eq!(value("DISTVERSION", "default"), env!("CARGO_PKG_VERSION"));
    assert_eq!(value("LICENSE", "default"), "APACHE20 MIT");
    assert_eq!(value("USERS", "default"), "crtmpserver");
    assert_eq!(value("FLAVORS", "default"), "default mirror");
    assert_eq!(value("CARGO_FEATURES", "default"), "");
    assert_eq!(value("CARGO_FEATURES", "mirror"), "--no-default-features");
    let crates = value("CARGO_CRATES", "default");
    assert!(
        crates.split(' ').any(|c| c.starts_with("tokio-1.")),
        "{crates}"
    );
    for license in value("LICENSE", "default").split(' ') {
        let file = value(&format!("${{LICENSE_FILE_{license}:T}}"), "default");
        assert!(root().join(&file).is_file(), "{license}: {file}");
    }
    let text = read(&port("pkg-descr"));
    assert!(text.lines().all(|line| line.len() <= 80));
}

pub(crate) fn what_is_wrong_is_seen() {
    let makefile = read(&port("Makefile"));
    for (good, bad, told) in [
        ("COMMENT=\tLive", "#COMMENT=\tLive", "COMMENT is not set"),
        ("COMMENT=\tLive", "COMMENT=\tlive", "small letter"),
        (
            "CATEGORIES=\tmultimedia",
            "CATEGORIES=\ttoys",
            "no category toys",
        ),
        ("USES=\t\tcargo", "USES=\t\tgmake", "framework of cargo"),
        ("cargo tar:xz", "cargo", ".tar.xz"),
        (
            "USE_RC_SUBR=\tcrtmpserver",
            "USE_RC_SUBR=\tother",
            "files/other.in",
        ),
    ] {
        assert!(makefile.contains(good), "{good}");
        let folder = tempfile::tempdir().unwrap();
        fs::write(
            folder.path().join("Makefile"),
            makefile.replacen(good, bad, 1),
        )
        .unwrap();
        for name in ["Makefile.crates", "files"] {
            std::os::unix::fs::symlink(port(name), folder.path().join(name)).unwrap();
        }
        let done = bmake(folder.path())
            .args(["-V", "COMMENT"])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(
            !done.status.success() && said.contains(told),
            "{bad}: {said}"
        );
    }
}

/// Does what the framework does with the sources of a release, and gives the folder that it fills.
fn stage(folder: &Path) -> PathBuf {
    let (sources, stage) = (folder.join("work"), folder.join("stage"));
    fs::create_dir_all(&sources).unwrap();
    for name in [
        "man",
        "etc",
        "docs",
        "packaging",
        "README.md",
        "CHANGELOG.md",
    ] {
        run(Command::new("cp")
            .arg("-R")
            .arg(root().join(name))
            .arg(&sources));
    }
    // What a release's archive has besides, and the framework has its own of.
    for name in [".cargo", "vendor"] {
        fs::create_dir(sources.join(name)).unwrap();
    }
    let given = |name: &str, path: &Path| format!("{name}={}", path.display());
    let program = Path::new(env!("CARGO_BIN_EXE_crtmpserver"));
    let mut command = bmake(&port(""));
    command
        .arg(given("WRKSRC", &sources))
        .arg(given("STAGEDIR", &stage))
        .arg(given("PROGRAM", program))
        .arg("stage");
    run(&mut command);
    assert!(!sources.join(".cargo").exists() && !sources.join("vendor").exists());
    stage
}

/// What is below a folder and of this type (`find`'s), by its name in it.
fn below(folder: &Path, kind: &str) -> BTreeSet<String> {
    let listed = run(Command::new("find").arg(folder).args([
        "-mindepth",
        "1",
        "-type",
        kind,
        "-printf",
        "%P\n",
    ]));
    listed.lines().map(str::to_owned).collect()
}

pub(crate) fn the_list_of_files_is_what_is_installed() {
    let folder = tempfile::tempdir().unwrap();
    let stage = stage(folder.path());
    let prefix = stage.join("usr/local");
    let plist = read(&port("pkg-plist"));
    let (folders, files): (Vec<&str>, _) = plist.lines().partition(|l| l.starts_with("@dir"));
    // What the server's user may write to, which nobody else makes.
    let own = |line: &str| {
        let path = line.strip_prefix("@dir(crtmpserver,crtmpserver,750) /var/");
        path.unwrap_or_else(|| panic!("{line}")).to_owned()
    };
    let mut kept: BTreeSet<String> = folders.into_iter().map(own).collect();
    assert!(kept.contains("db/crtmpserver"));
    kept.insert("db".to_owned());
    assert_eq!(below(&stage.join("var"), "d"), kept);
    let system = read(&root().join("src/system/freebsd.rs"));
    for folder in ["media", "recordings"] {
        assert!(kept.contains(&format!("db/crtmpserver/{folder}")));
        assert!(system.contains(&format!("\"/var/db/crtmpserver/{folder}\"")));
    }
    let named = files.into_iter().map(|line| {
        let line = line.replace("%%ETCDIR%%", "etc/crtmpserver");
        line.trim_start_matches("@sample ").to_owned()
    });
    // What the framework lists by itself.
    let own = |name: &&String| {
        name.starts_with("share/doc/crtmpserver/")
            || name.starts_with("share/examples/crtmpserver/")
            || *name == "etc/rc.d/crtmpserver"
    };
    let staged = below(&prefix, "f");
    let listed: BTreeSet<String> = named.collect();
    let expected: BTreeSet<String> = staged.iter().filter(|n| !own(n)).cloned().collect();
    assert_eq!(listed, expected);
    for own in [
        "etc/rc.d/crtmpserver",
        "share/doc/crtmpserver/README.md",
        "share/doc/crtmpserver/docs/freebsd.md",
        "share/examples/crtmpserver/mirror.toml",
    ] {
        assert!(staged.contains(own), "{own}");
    }
    // What is Linux's alone is left nowhere that the port installs but in the documents.
    for name in expected.iter().filter(|n| !n.starts_with("bin/")) {
        let shown = run(Command::new("sh")
            .args(["-c", "zcat -f \"$1\"", "sh"])
            .arg(prefix.join(name)));
        let foreign = |line: &&str| {
            let line = line
                .replace("/usr/local/etc/crtmpserver", "")
                .replace("/var/run/crtmpserver", "");
            [
                "/etc/crtmpserver",
                "/run/crtmpserver",
                "/var/lib/",
                "/usr/share/doc/",
                "/etc/default",
                "systemctl",
                "nftables",
                ".service",
            ]
            .iter()
            .any(|name| line.contains(name))
        };
        assert_eq!(shown.lines().find(foreign), None, "{name}");
    }
    let page = run(Command::new("zcat").arg(prefix.join("share/man/man8/crtmpserver.8.gz")));
    for own in [
        ".Sh SERVICE",
        "sysrc crtmpserver_enable=YES",
        ".Sh ENVIRONMENT",
    ] {
        assert_eq!(page.lines().filter(|l| l.contains(own)).count(), 1, "{own}");
    }
    let sample = prefix.join("etc/crtmpserver/crtmpserver.toml.sample");
    run(Command::new(env!("CARGO_BIN_EXE_crtmpserver"))
        .arg("check")
        .arg(sample));
}
