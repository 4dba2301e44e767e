//! The program as its users start it: exit codes, and which stream says what.

#![expect(
    clippy::unwrap_used,
    reason = "a test may panic outside its test functions too"
)]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn run(folder: &Path, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_crtmpserver"))
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that does not read it may be gone already.
    drop(child.stdin.take().unwrap().write_all(input.as_bytes()));
    child.wait_with_output().unwrap()
}

/// Exit code, standard output, standard error.
fn said(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = run(folder, arguments, "");
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn a_bad_configuration_is_told_and_ends_with_78() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join("bad.toml"),
        "role = \"mirror\"\n[mirror]\nmaster = \"http://x\"\n[relay]\ngrace = 5\nx = 1\n",
    )
    .unwrap();
    for arguments in [&["check", "bad.toml"][..], &["bad.toml"]] {
        let (code, out, err) = said(dir.path(), arguments);
        assert_eq!((code, out.as_str()), (Some(78), ""));
        assert_eq!(err.lines().count(), 3, "{err}");
        for line in [
            "crtmpserver: bad.toml:5: relay.grace: ",
            "crtmpserver: bad.toml:6: relay.x: ",
            "crtmpserver: bad.toml:3: mirror.master: ",
        ] {
            assert!(err.lines().any(|l| l.starts_with(line)), "{line} in {err}");
        }
    }
    let (code, _, err) = said(dir.path(), &["nothing.toml"]);
    assert_eq!((code, err.lines().count()), (Some(78), 1), "{err}");
}

/// What a shell with so few open files says of `crtmpserver ARGUMENTS`; nothing where it may have more all
/// the same, as root may.
fn said_with(files: u32, folder: &Path, arguments: &str) -> Option<(Option<i32>, String)> {
    let shell = |line: &str| {
        let mut shell = Command::new("sh");
        shell.args(["-c", line]).current_dir(folder);
        shell.output().unwrap()
    };
    let more = shell(&format!("ulimit -n {files} && ulimit -n 20000"));
    if more.status.success() {
        return None;
    }
    let binary = env!("CARGO_BIN_EXE_crtmpserver");
    let done = shell(&format!("ulimit -n {files} && exec {binary} {arguments}"));
    Some((done.status.code(), String::from_utf8(done.stderr).unwrap()))
}

#[test]
fn too_few_open_files_are_told_before_anybody_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join("c.toml"),
        "[listen]\nrtmp = [\"127.0.0.1:0\"]\nhttp = [\"127.0.0.1:0\"]\ncontrol = \"\"\n",
    )
    .unwrap();
    let Some((code, err)) = said_with(250, dir.path(), "check c.toml") else {
        return;
    };
    assert_eq!(code, Some(0), "{err}");
    assert!(
        err.contains("there is room for 122 connections, and limits.max_connections is 16384"),
        "{err}"
    );
    let (code, err) = said_with(100, dir.path(), "--allow-root c.toml").unwrap();
    assert_eq!(code, Some(78), "{err}");
    assert!(err.contains("there is room for no connection"), "{err}");
    assert!(err.contains("LimitNOFILE="), "{err}");
}

#[test]
fn a_usage_error_is_64_and_help_is_none() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(said(dir.path(), &["--bogus"]).0, Some(64));
    assert_eq!(said(dir.path(), &["check", "a", "b"]).0, Some(64));
    let (code, out, _) = said(dir.path(), &["--help"]);
    assert!(code == Some(0) && out.contains("check"));
    let (code, out, _) = said(dir.path(), &["--version"]);
    assert!(code == Some(0) && out.starts_with("crtmpserver 2."));
    assert_eq!(
        out.contains("without publishing"),
        !cfg!(feature = "publish")
    );
    assert_eq!(out.contains("features: publish"), cfg!(feature = "publish"));
}

#[test]
fn a_mirror_is_summed_up() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(said(dir.path(), &["secret", "secret"]).0, Some(0));
    assert_eq!(
        said(dir.path(), &["secret", "secret"]).0,
        Some(74),
        "never overwritten"
    );
    let text = include_str!("../etc/mirror.toml").replace("/etc/crtmpserver/", "");
    std::fs::write(dir.path().join("mirror.toml"), text).unwrap();
    let (code, out, err) = said(dir.path(), &["check", "mirror.toml"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.contains("rtmp://master.example.org:1935") && out.contains("publish      nobody"));
}

#[cfg(feature = "publish")]
#[test]
fn users_are_made_and_a_master_is_summed_up() {
    let dir = tempfile::tempdir().unwrap();
    let passwd = |more: &[&str], input| {
        let arguments = [&["passwd", "--file", "users"], more].concat();
        let output = run(dir.path(), &arguments, input);
        let out = String::from_utf8(output.stdout).unwrap();
        (output.status.code(), out)
    };
    let (code, generated) = passwd(&["--generate", "ann"], "");
    assert!(
        code == Some(0) && generated.trim().len() == 20,
        "{generated}"
    );
    assert_eq!(passwd(&["bob"], "a password\n"), (Some(0), String::new()));
    assert_eq!(passwd(&["bob"], "short\n").0, Some(64));
    assert_eq!(passwd(&["bo:b"], "a password\n").0, Some(64));
    assert_eq!(passwd(&["--delete", "eve"], "").0, Some(74));
    let file = std::fs::read_to_string(dir.path().join("users")).unwrap();
    assert!(!file.contains(generated.trim()) && !file.contains("a password"));
    assert_eq!(said(dir.path(), &["secret", "secret"]).0, Some(0));
    let text = include_str!("../etc/master.toml").replace("/etc/crtmpserver/", "");
    std::fs::write(dir.path().join("master.toml"), text).unwrap();
    let (code, out, err) = said(dir.path(), &["check", "master.toml"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(
        out.contains("the users of users (2)") && out.contains("mirrors with the secret in secret")
    );
}

#[cfg(feature = "publish")]
#[test]
fn stream_keys_are_made_listed_and_revoked() {
    let dir = tempfile::tempdir().unwrap();
    let key = |more: &[&str]| said(dir.path(), &[&["key", "--file", "keys"], more].concat());
    let shown = |out: &str| {
        let line = out.lines().find_map(|l| l.strip_prefix("Stream key:  "));
        line.unwrap_or_else(|| panic!("no key in {out}")).to_owned()
    };
    let (code, out, err) = key(&["add", "live/event"]);
    assert_eq!(code, Some(0), "{err}");
    assert!(out.starts_with("Server:      rtmp://HOST/live\n"), "{out}");
    assert!(
        err.contains("event added to keys") && err.contains("keys = \"keys\""),
        "{err}"
    );
    let first = shown(&out);
    let (code, out, err) = key(&[
        "add",
        "live/event",
        "--label",
        "truck",
        "--until",
        "2026-01-31",
    ]);
    assert!(code == Some(0) && !err.contains("[publish]"), "{err}");
    let second = shown(&out);
    assert!(first.starts_with("sk_") && first.len() == 29 && first != second);
    let (code, out, _) = key(&["list"]);
    assert_eq!(code, Some(0));
    let rows: Vec<Vec<&str>> = out
        .lines()
        .map(|l| l.split_whitespace().collect())
        .collect();
    assert_eq!(rows[0], ["LABEL", "PUBLISHES", "MADE", "UNTIL"]);
    assert_eq!(
        (rows[1][..2].join(" "), rows[1][3]),
        ("event live/event".into(), "-")
    );
    assert_eq!(rows[2][3..], ["2026-02-01T00:00:00Z", "(over)"]);
    let file = std::fs::read_to_string(dir.path().join("keys")).unwrap();
    for secret in [&first, &second] {
        // Nothing of a key is kept or shown: not even its end.
        assert!(
            ![&out, &file]
                .iter()
                .any(|text| text.contains(&secret[3..9]))
        );
        assert!(
            ![&out, &file]
                .iter()
                .any(|text| text.contains(&secret[23..]))
        );
    }
    for (wrong, code) in [
        (&["add", "event"][..], 74),
        (&["add", "live/event", "--label", "truck"], 74),
        (&["add", "live/event", "--until", "soon"], 64),
        (&["revoke", "eve"], 74),
    ] {
        assert_eq!(key(wrong).0, Some(code), "{wrong:?}");
    }
    assert_eq!(
        std::fs::read_to_string(dir.path().join("keys")).unwrap(),
        file
    );
    std::fs::write(dir.path().join("c.toml"), "[publish]\nkeys = \"keys\"\n").unwrap();
    let (code, out, err) = said(dir.path(), &["check", "c.toml"]);
    assert!(
        code == Some(0) && out.contains("the stream keys of keys (2)"),
        "{out}{err}"
    );
    assert!((out + &err).contains("the key truck has come to its end"));
    assert_eq!(key(&["revoke", "event"]).0, Some(0));
    assert!(!key(&["list"]).1.contains("\nevent"));
}

#[cfg(not(feature = "publish"))]
#[test]
fn what_publishes_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("x.lua"), "configuration = {}").unwrap();
    let (code, _, err) = said(dir.path(), &["check", "x.lua"]);
    assert!(
        code == Some(78) && err.contains("without publishing"),
        "{err}"
    );
    for command in ["passwd", "demo", "  key", "import"] {
        let (_, help, _) = said(dir.path(), &["--help"]);
        assert!(!help.contains(command), "{command} in {help}");
    }
    let (code, _, err) = said(
        dir.path(),
        &["--role", "master", "--set", "play.networks=any"],
    );
    assert!(
        code == Some(78) && err.contains("without publishing"),
        "{err}"
    );
}

/// A copy of a folder of `tests/original`, to be changed.
#[cfg(feature = "publish")]
fn original(name: &str) -> tempfile::TempDir {
    fn copy(from: &Path, to: &Path) {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let path = entry.unwrap().path();
            let to = to.join(path.file_name().unwrap());
            if path.is_dir() {
                copy(&path, &to);
            } else {
                std::fs::copy(&path, &to).unwrap();
            }
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/original");
    copy(&from.join(name), dir.path());
    dir
}

#[cfg(feature = "publish")]
#[test]
fn the_original_s_configurations_are_imported() {
    use std::os::unix::fs::PermissionsExt;

    for (layout, users) in [("single", 2), ("debian", 1)] {
        let dir = original(layout);
        let (cert, key) = (dir.path().join("server.crt"), dir.path().join("server.key"));
        let tls = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls");
        std::fs::copy(tls.join("server.pem"), cert).unwrap();
        std::fs::copy(tls.join("server.key"), key).unwrap();
        let (code, out, err) = said(dir.path(), &["import", "crtmpserver.lua"]);
        assert_eq!(code, Some(0), "{err}");
        for line in [
            "users: ",
            "crtmpserver.toml: ",
            "crtmpserver check crtmpserver.toml",
        ] {
            assert!(out.contains(line), "{out}");
        }
        assert!(
            err.lines()
                .all(|line| line.starts_with("crtmpserver: warning: ")),
            "{err}"
        );
        assert!(err.contains("RTMPE"), "{err}");
        for name in ["crtmpserver.toml", "users"] {
            let meta = std::fs::metadata(dir.path().join(name)).unwrap();
            assert_eq!(meta.permissions().mode() & 0o037, 0, "{name}");
        }
        let text = std::fs::read_to_string(dir.path().join("crtmpserver.toml")).unwrap();
        let verifiers = std::fs::read_to_string(dir.path().join("users")).unwrap();
        assert!(!verifiers.contains("password of ann") && !text.contains("password of ann"));
        assert_eq!(verifiers.lines().count(), users + 1);
        // Both come to the same.
        let (code, out, err) = said(dir.path(), &["check", "crtmpserver.toml"]);
        assert_eq!(code, Some(0), "{err}");
        let summary = |out: &str, users: &str| -> Vec<String> {
            let lines = out.lines().filter(|line| !line.starts_with("set "));
            lines.map(|line| line.replace(users, "USERS")).collect()
        };
        let (code, from_lua, err) = said(dir.path(), &["check", "crtmpserver.lua"]);
        assert_eq!(code, Some(0), "{err}");
        assert!(
            from_lua.contains("crtmpserver.lua: applications."),
            "{from_lua}"
        );
        let lua = if layout == "single" {
            "users.lua"
        } else {
            "conf.d/users.lua"
        };
        assert_eq!(
            summary(&out, "users ("),
            summary(&from_lua, &format!("{lua} ("))
        );
        assert!(out.contains(&format!("users ({users})")), "{out}");
        // What is there stays.
        let (code, _, err) = said(dir.path(), &["import", "crtmpserver.lua"]);
        assert!(code == Some(74) && err.contains("--force"), "{err}");
        assert_eq!(
            said(dir.path(), &["import", "crtmpserver.lua", "--force"]).0,
            Some(0)
        );
        let other = [
            "import",
            "crtmpserver.lua",
            "--output",
            "o/c.toml",
            "--users",
            "o/u",
        ];
        assert_eq!(
            said(dir.path(), &other).0,
            Some(74),
            "there is no such folder"
        );
        std::fs::create_dir(dir.path().join("o")).unwrap();
        assert_eq!(said(dir.path(), &other).0, Some(0));
        assert_eq!(said(dir.path(), &["check", "o/c.toml"]).0, Some(0));
        assert_eq!(std::fs::read_dir(dir.path().join("o")).unwrap().count(), 2);
    }
}

#[cfg(feature = "publish")]
#[test]
fn a_hostile_program_is_told_and_ends_with_78() {
    let dir = tempfile::tempdir().unwrap();
    for (program, wanted) in [
        ("while true do end", "x.lua:1: it is not done after"),
        (
            "local s = 'x'\nwhile true do s = s .. s end",
            "MiB of memory",
        ),
        (
            "\n\nos.execute('touch ran')",
            "x.lua:3: os.execute is not there",
        ),
        (
            "io.open('/etc/shadow')",
            "x.lua:1: io.open: /etc/shadow: lies outside",
        ),
        ("io.open('new', 'w')", "may only read"),
        ("configuration = 7", "a number, not a table"),
        ("applications = {}", "no table `configuration`"),
        ("configuration = {", "x.lua:1: "),
    ] {
        std::fs::write(dir.path().join("x.lua"), program).unwrap();
        for arguments in [&["check", "x.lua"][..], &["x.lua"], &["import", "x.lua"]] {
            let (code, out, err) = said(dir.path(), arguments);
            assert_eq!((code, out.as_str()), (Some(78), ""), "{program}: {err}");
            assert!(
                err.contains(wanted) && err.lines().count() == 1,
                "{program}: {err}"
            );
        }
    }
    assert_eq!(
        std::fs::read_dir(dir.path()).unwrap().count(),
        1,
        "nothing was made"
    );
    let (code, _, err) = said(dir.path(), &["check", "none.lua"]);
    assert!(
        code == Some(78) && err.contains("none.lua: cannot be read"),
        "{err}"
    );
}
