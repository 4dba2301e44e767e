//! image/cloud-init: user-data that makes a master, or a mirror, of a cloud's stock server.

use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::clone::told;
use crate::image::{Image, run};
use crate::machine::{INSIDE, Machine, other_server};
use crate::media::{Packets, programme};
use crate::programs::{publish_with, watch_with, watched};
use crate::world::{World, wait_for, wait_within};

/// Where the mirror finds its master.
const MASTER: &str = "10.98.0.1";

/// Puts what is of this test into one of the project's files, and leaves nothing in it that is not.
fn filled(shown: &str, values: &[(&str, &str)]) -> String {
    values.iter().fold(shown.to_owned(), |text, (mark, value)| {
        assert!(text.contains(mark), "{mark} is not in\n{shown}");
        text.replace(mark, value)
    })
}

/// A stock server that knows nothing but its user-data.
fn server<'a>(world: &'a World, name: &str, user_data: &str) -> Machine<'a> {
    Machine::boot_on(world, Image::of_a_cloud(), None, |machine| {
        machine.forget_repository();
        told(machine, name, user_data);
    })
}

/// Waits until cloud-init has done all of it, without a complaint.
fn wait_made(machine: &Machine<'_>, role: &str) {
    wait_within(
        std::time::Duration::from_secs(240),
        "cloud-init is done",
        || {
            let said = machine.run("cloud-init status --long").out;
            assert!(!said.contains("status: error"), "{said}");
            said.contains("status: done").then_some(())
        },
    );
    machine.wait_ok(&format!(
        "systemctl is-active crtmpserver.service crtmpserver-firewall@{role}.service"
    ));
    // The secret is root's alone, and the service has it all the same.
    assert_eq!(
        machine.ok("stat -c '%U %a' /etc/credstore/crtmpserver.secret"),
        "root 600"
    );
    let _stranger = machine.start_script("other-server", &format!("exec {}", other_server(9000)));
    machine
        .wait_ok("python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", 9000), 5)'");
    assert!(machine.reachable(1935) && machine.reachable(22), "{role}");
    assert!(!machine.reachable(9000), "{role}");
}

pub(crate) fn stock_servers_become_master_and_mirror(world: &World) {
    let [on_master, on_mirror] =
        ["master", "mirror"].map(|name| World::new(&format!("appliance-cloud-{name}")));
    let program = env!("CARGO_BIN_EXE_crtmpserver");
    // As docs/scale-out.md has it.
    let (users, secret) = (world.path("users"), world.path("secret"));
    let mut passwd = Command::new(program);
    passwd
        .args(["passwd", "--generate", "ann", "--file"])
        .arg(&users);
    let password = run(world, "passwd", &mut passwd);
    run(
        world,
        "secret",
        Command::new(program).arg("secret").arg(&secret),
    );
    let encoded = |path: &std::path::Path| STANDARD.encode(std::fs::read(path).unwrap());
    let secret = encoded(&secret);
    let key = encoded(&Image::get().repository.join("crtmpserver.gpg"));
    let everywhere = [
        ("https://apt.example.org", "file:/srv/repository"),
        ("UkVQT1NJVE9SWS1LRVk=", &key),
        ("U0VDUkVULU9GLVRIRS1NQVNURVI=", &secret),
    ];
    let encoded_users = encoded(&users);
    let of_master = filled(
        include_str!("../../image/cloud-init/master.yaml"),
        &everywhere,
    );
    let of_master = filled(
        &of_master,
        &[("VVNFUlMtT0YtVEhFLU1BU1RFUg==", &encoded_users)],
    );
    let of_mirror = filled(
        include_str!("../../image/cloud-init/mirror.yaml"),
        &everywhere,
    );
    let address = format!("rtmp://{MASTER}");
    let of_mirror = filled(&of_mirror, &[("rtmp://master.example.org", &address)]);

    let master = server(&on_master, "master", &of_master);
    let mirror = server(&on_mirror, "mirror", &of_mirror);
    master.join(MASTER, &mirror, "10.98.0.2");
    wait_made(&master, "master");
    wait_made(&mirror, "mirror");
    assert!(!master.reachable(8080) && mirror.reachable(8080));
    let source = Packets::of_file(world, "ffmpeg", "source", &programme());
    let url = format!("rtmp://ann:{}@{INSIDE}/live/event", password.trim());
    let _encoder = publish_with(
        world,
        &master.ffmpeg_outside(),
        "encoder",
        &programme(),
        &url,
    );
    wait_for("the mirror has it", || {
        let said = mirror.run("crtmpserver status").out;
        said.contains("live/event").then_some(())
    });
    for (name, url) in [
        ("rtmp", format!("rtmp://{INSIDE}/live/event")),
        ("http", format!("http://{INSIDE}:8080/live/event.flv")),
    ] {
        let watcher = watch_with(world, &mirror.ffmpeg_outside(), name, &url);
        watched(&watcher, 40).assert_part_of(&source, 40);
    }
    // The master can connect to nowhere, as its user-data says.
    let pid = master.ok("systemctl show -P MainPID crtmpserver.service");
    let links = master.ok(&format!("nsenter -t {pid} -n ip -br link"));
    assert_eq!(links.lines().count(), 1, "{links}");
}
