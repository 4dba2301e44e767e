//! The package that is a mirror and nothing else.

use crate::image::programs;
use crate::machine::{INSIDE, Machine};
use crate::media::{Packets, programme};
use crate::programs::{publish, publish_with, watch_with, watched};
use crate::world::{PATIENCE, World};

/// Words that the code for publishers writes, and nothing else does.
const PUBLISHING: [&str; 3] = [
    "adobe1:",
    "rtmp_server::publishing",
    "rtmp_server/publishing.rs",
];

pub(crate) fn it_cannot_publish(world: &World) {
    let whole = std::fs::read(programs().join("crtmpserver")).unwrap();
    let has = |bytes: &[u8], word: &str| bytes.windows(word.len()).any(|w| w == word.as_bytes());
    for word in PUBLISHING {
        assert!(has(&whole, word), "{word} would prove nothing");
    }
    let machine = Machine::boot(world);
    machine.install("crtmpserver-mirror");
    for word in PUBLISHING {
        machine.ok(&format!("! grep -aqF '{word}' /usr/bin/crtmpserver"));
    }
    // Without a master it runs, and says what is missing.
    machine.wait_serving();
    machine.wait_status(&["mirror.master"]);
    machine.ok("! crtmpserver status");
    // Publishers are refused, on this machine and outside.
    for (name, ffmpeg, host) in [
        ("here", "ffmpeg".to_owned(), "127.0.0.1"),
        ("outside", machine.ffmpeg_outside(), INSIDE),
    ] {
        let mut encoder = publish_with(
            world,
            &ffmpeg,
            name,
            &programme(),
            &format!("rtmp://{host}/live/event"),
        );
        assert!(!encoder.wait(PATIENCE).success());
    }
    machine.ok("! crtmpserver passwd --generate ann");
}

/// The master's address by each of the ways that there are for it; one machine is master for the other.
pub(crate) fn its_one_setting(world: &World) {
    let machine = Machine::with(world, "crtmpserver");
    machine.ok("crtmpserver secret /etc/crtmpserver/secret && install -m 640 -g crtmpserver /etc/crtmpserver/secret /root/secret");
    // A second server on this machine is the master: a mirror needs one, wherever it is.
    machine.write(
        "/root/master.toml",
        "role = \"master\"\n[listen]\nrtmp = [\"127.0.0.1:1945\"]\nhttp = []\n[publish]\nnetworks = [\"loopback\"]\n[master]\nsecret_file = \"/root/secret\"\n[play]\nnetworks = [\"loopback\"]\n",
    );
    machine
        .ok("cp /usr/bin/crtmpserver /root/master && chgrp crtmpserver /root && chmod 710 /root");
    let _master = machine.start_script("master", "exec setpriv --reuid=crtmpserver --regid=crtmpserver --clear-groups /root/master /root/master.toml");
    machine.install("crtmpserver-mirror");
    machine.wait_serving();
    let source = Packets::of_file(world, "ffmpeg", "source", &programme());
    let _encoder = publish(
        world,
        "encoder",
        &programme(),
        "rtmp://127.0.0.1:1945/live/event",
    );
    let ffmpeg = machine.ffmpeg_outside();
    let master = "rtmp://127.0.0.1:1945";
    let ways = [
        (
            "conf",
            "/etc/crtmpserver/conf.d/master.toml",
            format!("[mirror]\nmaster = \"{master}\"\n"),
        ),
        (
            "credential",
            "/etc/credstore/crtmpserver.master",
            master.to_owned(),
        ),
        (
            "environment",
            "/etc/default/crtmpserver",
            format!("CRTMPSERVER_MIRROR__MASTER={master}\n"),
        ),
    ];
    for (name, path, text) in ways {
        machine.write(path, &text);
        machine.ok("systemctl restart crtmpserver.service");
        machine.wait_serving();
        machine.wait_ok("crtmpserver status");
        let watcher = watch_with(world, &ffmpeg, name, &format!("rtmp://{INSIDE}/live/event"));
        watched(&watcher, 30).assert_part_of(&source, 30);
        machine.ok(&format!("rm {path}"));
    }
    // And both as credentials, as an image has them.
    machine.ok("install -D -m 600 /etc/crtmpserver/secret /etc/credstore/crtmpserver.secret");
    machine.ok("rm /etc/crtmpserver/secret");
    machine.write("/etc/credstore/crtmpserver.master", master);
    machine.ok("systemctl restart crtmpserver.service");
    machine.wait_serving();
    machine.wait_ok("crtmpserver status");
    let watcher = watch_with(
        world,
        &ffmpeg,
        "credentials",
        &format!("rtmp://{INSIDE}/live/event"),
    );
    watched(&watcher, 30).assert_part_of(&source, 30);
}
