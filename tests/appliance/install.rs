//! `apt install crtmpserver`, and it holds.

use std::fs;
use std::process::Command;

use crate::image::{Image, files, run};
use crate::live::{encoder, outside};
use crate::machine::{INSIDE, Machine};
use crate::media::{Packets, programme};
use crate::programs::{publish, publish_with, watched};
use crate::world::{World, wait_for};

pub(crate) fn lintian_has_no_complaint(world: &World) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/lint-debs");
    let mut command = Command::new(script);
    command.args(files(&Image::get().packages));
    let said = run(world, "lintian", &mut command);
    assert_eq!(said.trim(), "");
    // Each override has its reason above it.
    for name in ["crtmpserver", "crtmpserver-common"] {
        let path = format!(
            "{}/packaging/debian/{name}.lintian-overrides",
            env!("CARGO_MANIFEST_DIR")
        );
        let text = fs::read_to_string(path).unwrap();
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            assert!(line.starts_with("# "), "no reason: {line}");
            assert!(lines.next().is_some_and(|l| !l.starts_with('#')));
        }
    }
}

pub(crate) fn by_name_and_it_serves(world: &World) {
    let machine = Machine::with(world, "crtmpserver");
    for unit in [
        "crtmpserver.service",
        "crtmpserver.socket",
        "crtmpserver-http.socket",
        "crtmpserver-control.socket",
    ] {
        machine.ok(&format!(
            "systemctl is-enabled {unit} && systemctl is-active {unit}"
        ));
    }
    machine.ok("! systemctl --failed --no-legend | grep .");
    without_privileges(&machine);
    units_hold(&machine);

    // An encoder on the machine itself, viewers outside.
    let source = Packets::of_file(world, "ffmpeg", "source", &programme());
    let _encoder = encoder(world, "encoder");
    let [rtmp, http] = outside(world, &machine);
    watched(&rtmp, 60).assert_part_of(&source, 60);
    watched(&http, 60).assert_part_of(&source, 60);

    // `systemctl status` tells what it does.
    machine.wait_status(&["standalone", "1 stream", "2 viewers"]);
    // Somebody without a privilege who is in the group sees it too, and finds the program.
    machine.ok("useradd --groups crtmpserver olga && useradd emil");
    let seen = machine.ok("su olga -c 'crtmpserver status'");
    assert!(seen.contains("live/event"), "{seen}");
    machine.ok("! su emil -c 'crtmpserver status'");
    let answer = machine.ok("crtmpserver status --json");
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["health"]["healthy"], true, "{answer}");
    machine.ok(
        "cd /usr/share && test -s bash-completion/completions/crtmpserver &&
         test -s zsh/vendor-completions/_crtmpserver && test -s fish/vendor_completions.d/crtmpserver.fish &&
         test -s doc/crtmpserver-common/README.md && cd doc/crtmpserver-common/examples &&
         for role in master mirror; do crtmpserver check $role.toml 2>&1 | grep -q $role; done",
    );
    assert!(
        machine
            .ok("man -w 8 crtmpserver; man -w 5 crtmpserver.toml; man -w 1 crtmpserver-ctl")
            .lines()
            .count()
            == 3
    );
}

/// What `ps` and `/proc` show of the service.
fn without_privileges(machine: &Machine<'_>) {
    let pid = machine.ok("systemctl show -P MainPID crtmpserver.service");
    let seen = machine.ok(&format!("ps -o user:20=,group:20=,supgrp:40= -p {pid}"));
    let words: Vec<&str> = seen.split_whitespace().collect();
    assert_eq!(words[..2], ["crtmpserver", "crtmpserver"], "{seen}");
    assert!(
        matches!(words.get(2), None | Some(&("-" | "crtmpserver"))),
        "{seen}"
    );
    let status = machine.ok(&format!("cat /proc/{pid}/status"));
    let field = |name: &str| {
        let line = status.lines().find(|l| l.starts_with(name)).unwrap();
        line.split_once(':')
            .unwrap()
            .1
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    };
    let ids = machine.ok("id -u crtmpserver; id -g crtmpserver");
    let (uid, gid) = ids.split_once('\n').unwrap();
    assert_ne!(uid, "0");
    assert_eq!(field("Uid:"), [uid; 4].join(" "));
    assert_eq!(field("Gid:"), [gid; 4].join(" "));
    assert!(matches!(field("Groups:"), g if g.is_empty() || g == gid));
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        assert_eq!(field(set), "0000000000000000", "{set}");
    }
    assert_eq!(field("NoNewPrivs:"), "1");
    assert_eq!(field("Seccomp:"), "2");
    // It sees its own folder and no other to write in.
    let inside = |script: &str| {
        machine.run(&format!(
            "nsenter -t {pid} -m -S {uid} -G {gid} -- {script}"
        ))
    };
    assert!(!inside("/usr/bin/touch /etc/crtmpserver/x").status.success());
    assert!(
        inside("/usr/bin/true").status.code() != Some(0),
        "it may run other programs"
    );
    let limit = machine.ok(&format!("grep 'Max open files' /proc/{pid}/limits"));
    let soft: u32 = limit.split_whitespace().nth(3).unwrap().parse().unwrap();
    assert!(soft >= 16384, "{limit}");
}

/// The scores, and what `systemd-analyze verify` says.
fn units_hold(machine: &Machine<'_>) {
    let score = machine
        .ok("systemd-analyze security --no-pager --threshold=11 crtmpserver.service | tail -n 1");
    assert!(score.contains("exposure level"), "{score}");
    machine.ok("systemd-analyze security --no-pager --threshold=11 crtmpserver.service");
    // What it complains of it writes, and says no more with its exit code than that it could.
    let verify = "systemd-analyze verify crtmpserver.service crtmpserver.socket crtmpserver-http.socket \
                  crtmpserver-control.socket crtmpserver-rtmps.socket crtmpserver-https.socket \
                  crtmpserver-firewall@master.service 2>&1";
    assert_eq!(machine.ok(verify), "");
}

/// As an operator hosts them: with a key of one's own, a file or one of the user's ring.
pub(crate) fn a_repository_has_the_key_that_it_is_given(world: &World) {
    // The path of its agent's socket has to be short.
    let folder = tempfile::tempdir().unwrap();
    let ring = folder.path();
    let key = world.path("key.asc");
    let script = "chmod 700 \"$GNUPGHOME\"
        gpg --batch --quiet --passphrase '' --quick-generate-key 'me <me@example.org>' ed25519 sign 1d
        gpg --batch --quiet --armor --export-secret-keys >\"$1\"
        gpg --batch --list-keys --with-colons | awk -F: '$1 == \"fpr\" { print $10; exit }'";
    let mut command = Command::new("sh");
    command.args(["-ec", script, "sh"]).arg(&key);
    let fingerprint = run(world, "key", command.env("GNUPGHOME", ring));
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/apt-repository");
    for (name, key, ring) in [
        ("named", fingerprint.trim(), ring),
        ("file", key.to_str().unwrap(), &folder.path().join("none")),
    ] {
        let folder = world.path(name);
        let mut command = Command::new(program);
        command
            .arg(&folder)
            .args(["--key", key, "--suite", "event"])
            .args(files(&Image::get().packages))
            .env("GNUPGHOME", ring);
        let line = run(world, name, &mut command);
        assert!(line.trim().ends_with(" event main"), "{line}");
        let script = "gpgv --keyring ./crtmpserver.gpg --status-fd 1 dists/event/InRelease
            gpgv --keyring ./crtmpserver.gpg dists/event/Release.gpg dists/event/Release";
        let mut command = Command::new("sh");
        command.args(["-ec", script]).current_dir(&folder);
        let said = run(world, "verify", &mut command);
        assert!(said.contains(fingerprint.trim()), "{said}");
    }
    // What is refused leaves the repository as it was.
    let repository = world.path("named");
    let sums = |name: &str| {
        let mut command = Command::new("sh");
        command
            .args(["-ec", "find . -type f -exec sha256sum {} + | sort"])
            .current_dir(&repository);
        run(world, name, &mut command)
    };
    let before = sums("before");
    assert!(before.contains("InRelease"), "{before}");
    let packages = files(&Image::get().packages);
    let package = packages[0].to_str().unwrap();
    let missing = "missing_1_amd64.deb";
    for (name, key, package, reason) in [
        ("wrong-key", "no-key.asc", package, "no secret key"),
        ("missing", fingerprint.trim(), missing, missing),
    ] {
        let mut command = Command::new(program);
        command
            .arg(&repository)
            .args(["--key", key, "--suite", "event", package])
            .env("GNUPGHOME", ring);
        let ended = world.run(name, &mut command, crate::world::PATIENCE);
        assert_eq!(ended.status.code(), Some(64), "{}", ended.err);
        assert!(ended.err.contains(reason), "{}", ended.err);
        assert_eq!(sums(&format!("after-{name}")), before);
    }
    let mut command = Command::new("gpgconf");
    command.args(["--kill", "all"]).env("GNUPGHOME", ring);
    run(world, "end", &mut command);
}

pub(crate) fn users_come_and_the_door_opens(world: &World) {
    let machine = Machine::with(world, "crtmpserver");
    let ffmpeg = machine.ffmpeg_outside();
    let url = |login: &str| format!("rtmp://{login}{INSIDE}/live/event");
    // Nobody outside may publish before there are users.
    let mut refused = publish_with(world, &ffmpeg, "stranger", &programme(), &url(""));
    assert!(!refused.wait(crate::world::PATIENCE).success());
    // The journal has it under the stream, with who it was and why, each in a field of its own.
    let entries = machine.journal("STREAM=live/event");
    let entry = entries.last().unwrap();
    let field = |name: &str| entry.get(name).map_or("", String::as_str);
    assert!(field("PEER").starts_with("10.99.0.1:"), "{entry:?}");
    assert!(
        !field("CODE").contains([' ', '"']) && field("CODE").len() > 3,
        "{entry:?}"
    );
    assert!(
        field("REASON").contains("publish live/event refused"),
        "{entry:?}"
    );
    assert_eq!(field("PRIORITY"), "4");
    assert!(field("MESSAGE").starts_with(field("REASON")), "{entry:?}");
    assert!(field("_EXE").ends_with("/crtmpserver"), "{entry:?}");

    let password = machine.ok("crtmpserver passwd --generate ann");
    assert_eq!(
        machine.ok("stat -c '%U:%G %a' /etc/crtmpserver/users"),
        "root:crtmpserver 640"
    );
    machine.write(
        "/etc/crtmpserver/conf.d/users.toml",
        "[publish]\nusers = \"/etc/crtmpserver/users\"\n",
    );
    machine.ok("systemctl reload crtmpserver.service");
    let _encoder = wait_for("ann may publish", || {
        let mut encoder = publish_with(
            world,
            &ffmpeg,
            "ann",
            &programme(),
            &url(&format!("ann:{password}@")),
        );
        let live =
            || crate::world::get(8080, "/").is_some_and(|(_, page)| page.contains("live/event"));
        for _ in 0..40 {
            if live() {
                return Some(encoder);
            }
            if !encoder.running() {
                return None;
            }
            crate::world::pause(100);
        }
        None
    });
    // A wrong password is found as docs/configuration.md shows.
    let wrong = url("ann:wrong@");
    let mut refused = publish_with(world, &ffmpeg, "wrong", &programme(), &wrong);
    assert!(!refused.wait(crate::world::PATIENCE).success());
    let entries = machine.journal("CODE=login-failed");
    let entry = entries.last().unwrap();
    assert_eq!(entry["REASON"], "login failed: wrong password");
    assert_eq!(entry["USER"], "ann");
    // The door is shut for those without a login, on this machine too.
    let mut refused = publish(
        world,
        "local-stranger",
        &programme(),
        "rtmp://127.0.0.1/live/other",
    );
    assert!(!refused.wait(crate::world::PATIENCE).success());
}
