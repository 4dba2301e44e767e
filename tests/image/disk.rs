//! The very disk, started by its own boot loaders.

use std::time::{Duration, Instant};

use crate::lab::Lab;
use crate::machine::{Machine, Start};
use crate::media::{Packets, programme};
use crate::programs::{publish, watch, watched};
use crate::recipe::{Images, MASTER};
use crate::world::{World, pause};

/// By itself the kernel waits 30 s for an NVMe disk's answer, and resets the disk after as much again.
const LONG: Duration = Duration::from_secs(100);

fn boots(world: &World, start: &Start<'_>) {
    let images = Images::get();
    let lab = Lab::new(world);
    let master = lab.master("master", MASTER, &images.users, &images.secret);
    let source = Packets::of_file(world, "ffmpeg", "source", &programme());
    let _encoder = publish(
        world,
        "encoder",
        &programme(),
        &master.login_url("live/event"),
    );
    let mut machine = Machine::start(&lab, "mirror", images.mirror(), start, &[]);
    machine.wait_health(200, "true");
    machine.wait_live("live/event");
    let watcher = watch(world, "watcher", &machine.rtmp_url("live/event"));
    watched(&watcher, 50).assert_part_of(&source, 50);
    drop(watcher);
    // A provider's disk that hangs takes nothing from the viewers, and is waited for.
    machine.hang_disk(true);
    let begun = Instant::now();
    let mut round = 0;
    while begun.elapsed() < LONG {
        round += 1;
        let watcher = watch(
            world,
            &format!("meanwhile-{round}"),
            &machine.rtmp_url("live/event"),
        );
        watched(&watcher, 50).assert_part_of(&source, 50);
        pause(5000);
    }
    machine.hang_disk(false);
    machine.power_off();
    let said = machine.console();
    for trouble in ["timeout, ", "I/O error", "IO failure"] {
        assert!(!said.contains(trouble), "{trouble}: {said}");
    }
}

pub(crate) fn boots_by_uefi(world: &World) {
    boots(world, &Start::Uefi);
}

pub(crate) fn boots_by_bios(world: &World) {
    boots(world, &Start::Bios);
}
