//! The very disk, started by its own boot loaders.

use crate::lab::Lab;
use crate::machine::{Machine, Start};
use crate::media::{Packets, programme};
use crate::programs::{publish, watch, watched};
use crate::recipe::{Images, MASTER};
use crate::world::World;

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
    let machine = Machine::start(&lab, "mirror", images.mirror(), start, &[]);
    machine.wait_health(200, "true");
    machine.wait_live("live/event");
    let watcher = watch(world, "watcher", &machine.rtmp_url("live/event"));
    watched(&watcher, 50).assert_part_of(&source, 50);
}

pub(crate) fn boots_by_uefi(world: &World) {
    boots(world, &Start::Uefi);
}

pub(crate) fn boots_by_bios(world: &World) {
    boots(world, &Start::Bios);
}
