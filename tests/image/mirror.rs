//! The mirror's image at work.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::daemon::{secret, users};
use crate::lab::{HOST, Lab};
use crate::machine::{BOOT, Machine, Start};
use crate::media::{GOP, Packets, programme};
use crate::programs::{publish, watch, watched};
use crate::recipe::{Images, MASTER};
use crate::world::{World, wait_within};

/// How a credential is given by the firmware, SMBIOS; text of any kind.
pub(crate) fn smbios(name: &str, text: &str) -> String {
    format!(
        "type=11,value=io.systemd.credential.binary:{name}={}",
        STANDARD.encode(text)
    )
}

/// Fails unless a watcher by RTMP and one by HTTP get what was published.
fn assert_serves(world: &World, name: &str, machine: &Machine<'_>, source: &Packets) {
    let rtmp = watch(
        world,
        &format!("{name}-rtmp"),
        &machine.rtmp_url("live/event"),
    );
    let flv = watch(
        world,
        &format!("{name}-flv"),
        &machine.flv_url("live/event"),
    );
    watched(&rtmp, 100).assert_part_of(source, 100);
    watched(&flv, 100).assert_part_of(source, 100);
}

pub(crate) fn two_of_the_same_file(world: &World) {
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
    let mut one = Machine::start(&lab, "one", image, &Start::Kernel(""), &[]);
    // The other one's clock is years off.
    let mut two = Machine::start(
        &lab,
        "two",
        image,
        &Start::Kernel(""),
        &["-rtc", "base=2031-02-03T04:05:06"],
    );
    for machine in [&one, &two] {
        machine.wait_health(200, "true");
        machine.wait_live("live/event");
    }
    assert_serves(world, "one", &one, &source);
    assert_serves(world, "two", &two, &source);
    // Where there was nobody to ask for the time, a mirror serves, and says that its clock is wrong; until
    // it is right.
    two.wait_health(200, "clock: this machine's clock is");
    two.wait_console(&["days ahead of its master's"]);
    one.wait_well("clock");
    let _clock = lab.clock();
    two.wait_well("clock");
    // The same bytes on the disk, and yet two mirrors for the master.
    wait_within(BOOT, "the master lists two mirrors", || {
        (master.mirrors() == 2).then_some(())
    });
    // Each pulls once, however many watch there.
    assert_eq!(master.pulls(), 2);
    // What the firewall lets in: two ports. Everything else is not even refused.
    for (machine, name) in [(&one, "one"), (&two, "two")] {
        for port in [22, 111, 443, 5355, 8443, 9000] {
            assert!(machine.is_silent(port), "{name}: port {port} answers");
        }
        assert!(
            !machine.is_silent(1935) && !machine.is_silent(8080),
            "{name}"
        );
    }
    // A reboot, after which it is there again by itself, and is the same machine.
    two.power_off();
    let before = two.files().text("/etc/machine-id");
    two.boot();
    two.wait_health(200, "true");
    two.wait_live("live/event");
    assert_serves(world, "two-again", &two, &source);
    one.power_off();
    two.power_off();
    let (first, second) = (one.files(), two.files());
    let (id, other) = (
        first.text("/etc/machine-id"),
        second.text("/etc/machine-id"),
    );
    assert_eq!(other, before);
    assert!(
        id.trim().len() == 32 && other.trim().len() == 32,
        "{id} {other}"
    );
    assert_ne!(id, other);
    // The root file system is as large as the disk lets it be: 3 GiB less the boot partitions.
    for files in [&first, &second] {
        let size = files.size();
        assert!(size > 2800, "{size} MiB");
    }
}

pub(crate) fn told_another_master(world: &World) {
    let images = Images::get();
    let image = images.mirror();
    let lab = Lab::new(world);
    let source = Packets::of_file(world, "ffmpeg", "source", &programme());
    let (other_users, other_secret) = (users(world), secret(world, "other-secret"));
    // Two masters, neither of them the one in the image, with a secret that is not in the image either.
    let told = lab.master("told", 2935, &other_users, &other_secret);
    let typed = lab.master("typed", 3935, &other_users, &other_secret);
    let _encoders = [&told, &typed]
        .map(|m| publish(world, "encoder", &programme(), &m.login_url("live/event")));
    let secret = std::fs::read_to_string(&other_secret).unwrap();
    // By the firmware: more than what is in the image. A secret that somebody types is not taken.
    let by_firmware = [
        "-smbios",
        &format!("type=11,value=io.systemd.credential:crtmpserver.master=rtmp://{HOST}:2935"),
        "-smbios",
        &smbios("crtmpserver.secret", &secret),
    ];
    let one = Machine::start(&lab, "firmware", image, &Start::Kernel(""), &by_firmware);
    // On the command line: more than by the firmware, whose other way is used for the secret.
    let file = format!(
        "name=opt/io.systemd.credentials/crtmpserver.secret,file={}",
        other_secret.display()
    );
    let by_both = ["-smbios", by_firmware[1], "-fw_cfg", &file];
    let words = format!("crtmpserver.master=rtmp://{HOST}:3935");
    let two = Machine::start(
        &lab,
        "command-line",
        image,
        &Start::Kernel(&words),
        &by_both,
    );
    one.wait_live("live/event");
    two.wait_live("live/event");
    assert_serves(world, "firmware", &one, &source);
    assert_serves(world, "command-line", &two, &source);
    wait_within(BOOT, "each of the masters lists one mirror", || {
        (told.mirrors() == 1 && typed.mirrors() == 1).then_some(())
    });
    drop((one, two));
    // A secret on the command line, and an address that is none, are left out, and that is said.
    let own = lab.master("own", MASTER, &images.users, &images.secret);
    // However it is written: to systemd - is _ here, and quotes may be anywhere (tests/command_line.rs).
    let words = format!(
        "systemd.set-credential=\"crtmpserver.secret:{}\" crtmpserver.master=\"$(reboot)\"",
        secret.trim()
    );
    let three = Machine::start(&lab, "typed-secret", image, &Start::Kernel(&words), &[]);
    three.wait_health(200, "true");
    three.wait_console(&["a secret on the kernel's command line", "is no address"]);
    wait_within(BOOT, "its master lists it", || {
        (own.mirrors() == 1).then_some(())
    });
}

/// Fails unless all pictures are the source's, in its order; a machine that is too slow for its viewers has them
/// jump, but to nothing else than a key frame.
fn assert_whole_groups(seen: &Packets, source: &Packets) {
    let all = &source.video.packets;
    let mut next = None;
    for (n, packet) in seen.video.packets.iter().enumerate() {
        if next.is_none_or(|at: usize| all[at % all.len()] != *packet) {
            let at = all.iter().position(|p| p == packet);
            assert!(
                at.is_some_and(|at| at % GOP == 0),
                "packet {n} is at {at:?}"
            );
            next = at;
        }
        next = next.map(|at| at + 1);
    }
}

/// As many as the machine carries: each is slow, so that they are slower together.
pub(crate) fn ten_at_once(world: &World) {
    let images = Images::get();
    let image = images.mirror();
    let lab = Lab::new(world);
    let master = lab.master("master", MASTER, &images.users, &images.secret);
    let source = Packets::of_file(world, "ffmpeg", "source", &programme());
    let machines: Vec<Machine<'_>> = (0..10)
        .map(|n| Machine::start(&lab, &format!("mirror-{n}"), image, &Start::Kernel(""), &[]))
        .collect();
    wait_within(BOOT * 4, "ten mirrors are listed", || {
        (master.mirrors() == 10).then_some(())
    });
    // An encoder of these tests ends after a quarter of an hour: not before they are there.
    let _encoder = publish(
        world,
        "encoder",
        &programme(),
        &master.login_url("live/event"),
    );
    for (n, machine) in machines.iter().enumerate() {
        machine.wait_live("live/event");
        let url = machine.rtmp_url("live/event");
        let watcher = watch(world, &format!("watcher-{n}"), &url);
        assert_whole_groups(&watched(&watcher, 25), &source);
    }
    // And all of them from the one file.
    let ids: std::collections::BTreeSet<String> = machines
        .into_iter()
        .map(|mut machine| {
            machine.power_off();
            machine.files().text("/etc/machine-id")
        })
        .collect();
    assert_eq!(ids.len(), 10, "{ids:?}");
}
