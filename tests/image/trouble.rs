//! What goes wrong when a machine starts: it comes up, says what is wrong, and heals.

use std::process::Command;

use crate::daemon::secret;
use crate::lab::{Lab, host};
use crate::machine::{Machine, Start};
use crate::media::{Packets, programme};
use crate::programs::{publish, watch, watched};
use crate::recipe::{Images, MASTER};
use crate::world::World;

pub(crate) fn one_after_the_other(world: &World) {
    let images = Images::get();
    let image = images.mirror();
    let lab = Lab::new(world);
    // No network: the cable is not in the switch.
    let machine = Machine::start(&lab, "mirror", image, &Start::Kernel(""), &[]);
    lab.plug(machine.number, false);
    machine.wait_console(&["no link to the master, trying on", "unreachable"]);
    // The network is there, and no master.
    lab.plug(machine.number, true);
    machine.wait_health(503, "master");
    machine.wait_health(503, "refused");
    machine.wait_console(&["Connection refused"]);
    // A master with another secret.
    let other = secret(world, "other-secret");
    let stranger = lab.master("stranger", MASTER, &images.users, &other);
    machine.wait_health(503, "secret");
    machine.wait_console(&["secret"]);
    drop(stranger);
    // The right one.
    let master = lab.master("master", MASTER, &images.users, &images.secret);
    let source = Packets::of_file(world, "ffmpeg", "source", &programme());
    let _encoder = publish(
        world,
        "encoder",
        &programme(),
        &master.login_url("live/event"),
    );
    machine.wait_health(200, "true");
    machine.wait_live("live/event");
    let watcher = watch(world, "watcher", &machine.rtmp_url("live/event"));
    watched(&watcher, 50).assert_part_of(&source, 50);
}

pub(crate) fn a_full_disk(world: &World) {
    let images = Images::get();
    let image = images.mirror();
    let lab = Lab::new(world);
    let master = lab.master("master", MASTER, &images.users, &images.secret);
    let source = Packets::of_file(world, "ffmpeg", "source", &programme());
    let _encoder = publish(
        world,
        "encoder",
        &programme(),
        &master.login_url("live/event"),
    );
    // A disk that is no larger than the image, with not a block left.
    let (raw, disk) = (world.path("full.raw"), world.path("mirror.qcow2"));
    let (raw_name, mount) = (raw.display(), world.path("mount"));
    host(&format!(
        "qemu-img convert -O raw {} {raw_name}",
        image.qcow2.display()
    ));
    let start = host(&format!(
        "sfdisk --json {raw_name} | python3 -c 'import json, sys; print(json.load(sys.stdin)[\"partitiontable\"][\"partitions\"][2][\"start\"] * 512)'"
    ));
    // In a name space of mounts: nothing is left behind, whatever happens.
    let inside = |script: &str| {
        let mounted = format!(
            "mkdir -p {0}; mount -o loop,offset={1} {raw_name} {0}; cd {0}/var; {script}; cd /; umount {0}",
            mount.display(),
            start.trim()
        );
        let done = Command::new("unshare")
            .args(["--mount", "sh", "-ec", &mounted])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{said}");
    };
    inside(
        "dd if=/dev/zero of=full bs=1M 2>/dev/null || true
         dd if=/dev/zero of=fuller bs=4k 2>/dev/null || true
         if dd if=/dev/zero of=fullest bs=4k count=1 conv=fsync 2>/dev/null; then exit 1; fi",
    );
    host(&format!(
        "qemu-img convert -O qcow2 {raw_name} {}; rm {raw_name}",
        disk.display()
    ));
    let mut machine = Machine::start(&lab, "mirror", image, &Start::Kernel(""), &[]);
    machine.wait_health(200, "true");
    machine.wait_live("live/event");
    machine.wait_console(&["No space left on device", "there is no room left"]);
    machine.wait_health(200, "disk: there is no room left");
    let watcher = watch(world, "watcher", &machine.rtmp_url("live/event"));
    watched(&watcher, 50).assert_part_of(&source, 50);
    drop(watcher);
    // Somebody makes room. Nobody there hears the power button: logind wants to write.
    machine.unplug();
    host(&format!(
        "qemu-img convert -O raw {} {raw_name}",
        disk.display()
    ));
    inside("rm full fuller");
    host(&format!(
        "qemu-img convert -O qcow2 {raw_name} {}; rm {raw_name}",
        disk.display()
    ));
    machine.boot();
    machine.wait_live("live/event");
    machine.wait_well("disk");
}
