//! What an image's machine takes from its kernel's command line (docs/images.md, "Who says which master"): the
//! image's own script, run on many lines without a machine. What systemd makes of its drop-ins is seen by
//! `mirror::told_another_master` and `master::takes_a_publisher` in `tests/image`.
#![expect(
    clippy::unwrap_used,
    reason = "a test may panic outside its test functions too"
)]

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

/// The generator, as it is in the images of both roles.
const SCRIPT: &str = include_str!(
    "../image/common/mkosi.extra/usr/lib/systemd/system-generators/crtmpserver-command-line"
);

/// What came of a command line: the lines of the drop-ins, and what the console says.
struct Outcome {
    lines: Vec<String>,
    said: String,
}

/// Runs the script as systemd would, on a mirror or on a master.
fn on(role: &str, line: &str) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::write(path("cmdline"), format!("{line}\n")).unwrap();
    fs::write(path("kmsg"), "").unwrap();
    fs::create_dir(path("credstore")).unwrap();
    if role == "mirror" {
        fs::write(path("credstore/crtmpserver.master"), "rtmp://baked.in\n").unwrap();
    }
    let mut script = SCRIPT.to_owned();
    for (there, here) in [
        ("/proc/cmdline", path("cmdline")),
        (">/dev/kmsg", format!(">>{}", path("kmsg"))),
        (
            "credstore=/usr/lib/credstore",
            format!("credstore={}", path("credstore")),
        ),
    ] {
        assert_eq!(script.matches(there).count(), 1, "{there}");
        script = script.replace(there, &here);
    }
    fs::write(path("script"), script).unwrap();
    let done = Command::new("sh")
        .arg(path("script"))
        .args(["normal", "early", "late"].map(path))
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success() && error.is_empty(), "{line}: {error}");
    let mut drop_ins = BTreeMap::new();
    let units = folder.path().join("normal/crtmpserver.service.d");
    for entry in fs::read_dir(units).into_iter().flatten() {
        let file = entry.unwrap().path();
        let text = fs::read_to_string(&file).unwrap();
        let setting = text.strip_prefix("[Service]\n").unwrap().trim_end();
        // The folder of the files is the test's own; elsewhere it has this name.
        let setting = setting.replace(&path("credstore"), "/usr/lib/credstore");
        drop_ins.insert(file, setting);
    }
    Outcome {
        lines: drop_ins.into_values().collect(),
        said: fs::read_to_string(path("kmsg")).unwrap(),
    }
}

/// The line that gives the service what files say, not what somebody typed.
fn of_files(name: &str) -> String {
    format!("LoadCredential=crtmpserver.{name}:crtmpserver.{name}.kept")
}

#[test]
fn a_mirrors_master_may_be_typed() {
    let typed = |address: &str| vec![format!("Environment=CRTMPSERVER_MIRROR__MASTER={address}")];
    for (line, wanted) in [
        (
            "quiet crtmpserver.master=rtmp://a.example.org rw",
            typed("rtmp://a.example.org"),
        ),
        (
            "crtmpserver.master=\"rtmp://[2001:db8::1]:1936\"",
            typed("rtmp://[2001:db8::1]:1936"),
        ),
        ("'crtmpserver.master=rtmps://a-b_c'", typed("rtmps://a-b_c")),
        (
            "crtmpserver.master=rtmp://192.0.2.1:65535/",
            typed("rtmp://192.0.2.1:65535/"),
        ),
        (
            "crtmpserver.master=rtmp://[::ffff:192.0.2.1]",
            typed("rtmp://[::ffff:192.0.2.1]"),
        ),
        (
            "crtmpserver.master=rtmps://[1:2:3:4:5:6:7:8]:443",
            typed("rtmps://[1:2:3:4:5:6:7:8]:443"),
        ),
        // The last one counts.
        (
            "crtmpserver.master=rtmp://a crtmpserver.master=rtmp://b",
            typed("rtmp://b"),
        ),
        ("crtmpserver.master= quiet", vec![]),
        ("xcrtmpserver.master=rtmp://a", vec![]),
        // A word inside another one is none.
        (
            "note=\"crtmpserver.master=rtmp://a crtmpserver.master=rtmp://b\"",
            vec![],
        ),
        ("", vec![]),
    ] {
        let outcome = on("mirror", line);
        assert_eq!(outcome.lines, wanted, "{line}");
        assert_eq!(outcome.said, "", "{line}");
    }
}

#[test]
fn what_is_no_address_is_left_out() {
    for line in [
        "crtmpserver.master=\"$(reboot)\"",
        "crtmpserver.master=\"rtmp://a ExecStart=/bin/sh\"",
        "crtmpserver.master=rtmp://a%h",
        "crtmpserver.master=rtmp://a\\nExecStart=",
        "crtmpserver.master='*'",
        // With these the server would not start, though a good address is in the image.
        "crtmpserver.master=master.example.org",
        "crtmpserver.master=http://h",
        "crtmpserver.master=xrtmp://h",
        "crtmpserver.master=rtmp://",
        "crtmpserver.master=rtmp:///",
        "crtmpserver.master=rtmp://a:b",
        "crtmpserver.master=rtmp://a:",
        "crtmpserver.master=rtmp://a:0",
        "crtmpserver.master=rtmp://a:65536",
        "crtmpserver.master=rtmp://a:000001",
        "crtmpserver.master=rtmp://a/live",
        "crtmpserver.master=rtmp://a//",
        "crtmpserver.master=rtmp://u@a",
        "crtmpserver.master=rtmp://2001:db8::1",
        "crtmpserver.master=rtmp://[2001:db8::1",
        "crtmpserver.master=rtmp://[2001:db8::1]:x",
        "crtmpserver.master=rtmp://[2001:db8::1]x",
        "crtmpserver.master=rtmp://[]",
        "crtmpserver.master=rtmp://[:]",
        "crtmpserver.master=rtmp://[:::]",
        "crtmpserver.master=rtmp://[1:2:3]",
        "crtmpserver.master=rtmp://[1:2:3:4:5:6:7:8:9]",
        "crtmpserver.master=rtmp://[::1::2]",
        "crtmpserver.master=rtmp://[::12345]",
        "crtmpserver.master=rtmp://[::192.0.2.256]",
        "crtmpserver.master=rtmp://[fe80::1-eth0]",
    ] {
        let outcome = on("mirror", line);
        assert!(outcome.lines.is_empty(), "{line}: {:?}", outcome.lines);
        assert!(
            outcome.said.contains("is no address"),
            "{line}: {}",
            outcome.said
        );
    }
    let master = on("master", "crtmpserver.master=rtmp://a.example.org");
    assert!(master.lines.is_empty(), "{:?}", master.lines);
    assert!(master.said.contains("left out"), "{}", master.said);
}

#[test]
fn no_secret_is_taken_however_it_is_typed() {
    // All of these are one word to systemd, and the same one (proc-cmdline.c: quotes go, - is _ in a key).
    for line in [
        "systemd.set_credential=crtmpserver.secret:hush",
        "systemd.set-credential=crtmpserver.secret:hush",
        "systemd.set_credential=\"crtmpserver.secret:hush\"",
        "systemd.set-credential='crtmpserver.secret:hush hush'",
        "\"systemd.set_credential=crtmpserver.secret:hush\"",
        "'systemd.set-credential=crtmpserver.secret:hush'",
        "sys\"temd.set\"_cre'dent'ial=crtmp\"server\".secret:hush",
        "\"\"systemd.set_credential=crtmpserver.secret:hush",
        "systemd.set_credential=\"crtmpserver.secret:a quote that is not closed",
        "a='\"' systemd.set_credential=crtmpserver.secret:hush b=\"'\"",
        "a=\\\" b\" systemd.set_credential=crtmpserver.secret:hush",
        "quiet\tsystemd.set_credential=crtmpserver.secret:hush\trw",
        "rw -- systemd.set_credential=crtmpserver.secret:aHVzaA== init",
        "systemd.set_credential_binary=crtmpserver.secret:aHVzaA==",
        "systemd.set-credential-binary=\"crtmpserver.secret:aHVzaA==\"",
    ] {
        for role in ["mirror", "master"] {
            let outcome = on(role, line);
            assert_eq!(outcome.lines, [of_files("secret")], "{role}: {line}");
            assert!(
                outcome.said.contains("a secret on the kernel's"),
                "{line}: {}",
                outcome.said
            );
            assert!(!outcome.said.contains("hush"), "{line}: {}", outcome.said);
        }
    }
}

#[test]
fn nor_users_a_certificate_or_a_key() {
    for (name, what) in [
        ("users", "users"),
        ("certificate", "a certificate"),
        ("key", "a key"),
    ] {
        for role in ["mirror", "master"] {
            let line = format!("quiet systemd.set-credential=\"crtmpserver.{name}:some thing\"");
            let outcome = on(role, &line);
            assert_eq!(outcome.lines, [of_files(name)], "{role}: {line}");
            let said = format!("<4>crtmpserver: {what} on the kernel's command line");
            assert!(outcome.said.contains(&said), "{line}: {}", outcome.said);
        }
    }
    let all = on(
        "mirror",
        "systemd.set_credential=crtmpserver.users:u systemd.set_credential=crtmpserver.master:rtmp://a \
         crtmpserver.master=rtmp://b systemd.set_credential=crtmpserver.key:k",
    );
    let address = "Environment=CRTMPSERVER_MIRROR__MASTER=rtmp://b".to_owned();
    assert_eq!(all.lines, [of_files("key"), address, of_files("users")]);
    // Nor the other name of the files, with which somebody might undo the undoing.
    let both = on(
        "master",
        "systemd.set_credential=crtmpserver.users:u systemd.set_credential=crtmpserver.users.kept:u",
    );
    let baked_in = "LoadCredential=crtmpserver.users:/usr/lib/credstore/crtmpserver.users";
    assert_eq!(both.lines, [baked_in]);
}

#[test]
fn what_systemd_does_not_take_needs_no_undoing() {
    for (line, said) in [
        // Of the initial file system, in which no systemd is.
        ("rd.systemd.set_credential=crtmpserver.secret:hush", false),
        ("systemd.set_credential=crtmpserver.secret", false),
        ("systemd.set_credential=other.secret:hush", false),
        ("systemd.set_credential", false),
        (
            "note=\"systemd.set_credential=crtmpserver.secret:hush\"",
            false,
        ),
        ("systemd.set_credential\\=crtmpserver.secret:hush", false),
        // The server itself never looks for these, but somebody thinks that it does.
        ("crtmpserver.secret=hush", true),
        ("\"crtmpserver.users=ann\"", true),
    ] {
        let outcome = on("mirror", line);
        assert!(outcome.lines.is_empty(), "{line}: {:?}", outcome.lines);
        assert_eq!(!outcome.said.is_empty(), said, "{line}: {}", outcome.said);
        assert!(!outcome.said.contains("hush"), "{line}: {}", outcome.said);
    }
}
