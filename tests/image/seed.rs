//! What a provider hands over: user-data, on a second disk.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::daemon::{secret, users};
use crate::lab::{HOST, Lab, host};
use crate::machine::{BOOT, Machine, Start};
use crate::media::{Packets, programme};
use crate::mirror::smbios;
use crate::programs::{publish, watch, watched};
use crate::recipe::{Images, MASTER};
use crate::world::{World, wait_within};

/// A disk with user-data on it.
fn seed(world: &World, instance: &str, user_data: &[u8]) -> PathBuf {
    let disk = world.path("seed.img");
    std::fs::write(world.path("user-data"), user_data).unwrap();
    world.write(
        "meta-data",
        &format!("instance-id: {instance}\nlocal-hostname: mirror-of-a-test\n"),
    );
    host(&format!(
        "rm -f {0}; truncate -s 2M {0}; mkfs.vfat -n CIDATA {0} >/dev/null; mcopy -i {0} {1}user-data {1}meta-data ::",
        disk.display(),
        world.path("").display()
    ));
    disk
}

fn drive(disk: &std::path::Path) -> String {
    format!(
        "file={},if=none,id=seed,format=raw,readonly=on",
        disk.display()
    )
}

pub(crate) fn user_data_names_the_master(world: &World) {
    let images = Images::get();
    let lab = Lab::new(world);
    let (other_users, other_secret) = (users(world), secret(world, "other-secret"));
    let master = lab.master("other", 2935, &other_users, &other_secret);
    let source = Packets::of_file(world, "ffmpeg", "source", &programme());
    let _encoder = publish(
        world,
        "encoder",
        &programme(),
        &master.login_url("live/event"),
    );
    // The project's own file, with what is of this test put in.
    let shown = include_str!("../../image/cloud-init/override.yaml");
    let secret = STANDARD.encode(std::fs::read(&other_secret).unwrap());
    let shown = shown
        .replace("rtmp://other.example.org", &format!("rtmp://{HOST}:2935"))
        .replace("U0VDUkVULU9GLVRIRS1NQVNURVI=", &secret);
    assert!(shown.contains(HOST) && shown.contains(&secret), "{shown}");
    let disk = seed(world, "test-1", shown.as_bytes());
    let further = [
        "-drive",
        &drive(&disk),
        "-device",
        "virtio-blk-pci,drive=seed,serial=2",
    ];
    let mut machine = Machine::start(
        &lab,
        "mirror",
        images.mirror(),
        &Start::Kernel(""),
        &further,
    );
    machine.wait_health(200, "true");
    machine.wait_live("live/event");
    let watcher = watch(world, "watcher", &machine.rtmp_url("live/event"));
    watched(&watcher, 50).assert_part_of(&source, 50);
    machine.power_off();
    let files = machine.files();
    assert_eq!(files.text("/etc/hostname").trim(), "mirror-of-a-test");
    // Whoever runs the hypervisor counts more: another master's address, and of the user-data what is left.
    let told = lab.master("told", 3935, &other_users, &other_secret);
    let mut further = further.to_vec();
    let address = smbios("crtmpserver.master", &format!("rtmp://{HOST}:3935"));
    further.extend(["-smbios", &address]);
    let image = images.mirror();
    let _machine = Machine::start(&lab, "told", image, &Start::Kernel(""), &further);
    wait_within(BOOT, "the master that was told last lists it", || {
        (told.mirrors() == 1).then_some(())
    });
    assert_eq!(master.mirrors(), 0);
}

pub(crate) fn user_data_that_is_none(world: &World) {
    let images = Images::get();
    let lab = Lab::new(world);
    let _master = lab.master("master", MASTER, &images.users, &images.secret);
    let disk = seed(
        world,
        "test-1",
        b"#cloud-config\nwrite_files: [\xff\xfe{ nothing: that, is\n\tyaml\n",
    );
    let further = [
        "-drive",
        &drive(&disk),
        "-device",
        "virtio-blk-pci,drive=seed,serial=2",
    ];
    let mut machine = Machine::start(
        &lab,
        "mirror",
        images.mirror(),
        &Start::Kernel(""),
        &further,
    );
    // It is what the image says that it is, and somebody who looks at the console sees why.
    machine.wait_health(200, "true");
    machine.wait_console(&["cloud-config", "the user-data cannot be read"]);
    machine.wait_health(200, "machine: the user-data cannot be read");
    // Good ones, as of a new machine, are taken, and nothing is wrong any more.
    let other = lab.master("other", 2935, &images.users, &images.secret);
    machine.power_off();
    let good = format!(
        "#cloud-config\nwrite_files:\n  - path: /etc/credstore/crtmpserver.master\n    content: rtmp://{HOST}:2935\n"
    );
    seed(world, "test-2", good.as_bytes());
    machine.boot();
    machine.wait_health(200, "true");
    machine.wait_well("user-data");
    wait_within(BOOT, "the other master lists it", || {
        (other.mirrors() == 1).then_some(())
    });
    // YAML that is none of cloud-init's is told, too: this is no list.
    machine.power_off();
    let map = b"#cloud-config\nwrite_files:\n  path: /etc/credstore/crtmpserver.master\n";
    seed(world, "test-3", map);
    machine.boot();
    machine.wait_health(200, "machine: the files in the user-data (write_files)");
}

/// The provider is recognized, and its network is not there at the start.
pub(crate) fn user_data_that_never_comes(world: &World) {
    let images = Images::get();
    let lab = Lab::new(world);
    let provider = ["-smbios", "type=1,product=OpenStack Compute"];
    let machine = Machine::start(
        &lab,
        "mirror",
        images.mirror(),
        &Start::Kernel(""),
        &provider,
    );
    lab.plug(machine.number, false);
    machine.wait_console(&["no link to the master, trying on"]);
    // When systemd said so is on the console beside it.
    world.write("console", &machine.console());
    lab.plug(machine.number, true);
    let _master = lab.master("master", MASTER, &images.users, &images.secret);
    machine.wait_health(200, "machine: the provider (OpenStack) did not answer");
}
