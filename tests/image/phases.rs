//! How long what takes, from the start of a machine, or of the program, to the first picture. Nothing is
//! held to a time here: the figures are written down, for docs/images.md.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::daemon::mirror_binary;
use crate::lab::{HOST, Lab};
use crate::machine::{BOOT, Machine, Start};
use crate::media::programme;
use crate::programs::publish;
use crate::recipe::{Images, MASTER};
use crate::world::{PATIENCE, Process, World, get, pause, wait_within};

/// Messages of all levels go to the console: they have the times of the phases.
const TALK: &str = "systemd.journald.max_level_console=info systemd.log_target=kmsg";

/// The phases, and what the console says at the end of each.
const PHASES: [(&str, &str); 8] = [
    ("kernel", "running in system mode"),
    ("systemd has its units", "systemd[1]: Created slice"),
    (
        "the partition is grown",
        "systemd[1]: Finished systemd-repart.service",
    ),
    (
        "clock service started",
        "systemd[1]: Started systemd-timesyncd.service",
    ),
    (
        "firewall closed",
        "systemd[1]: Finished crtmpserver-firewall@mirror.service",
    ),
    (
        "the sockets listen; who connects waits",
        "systemd[1]: Listening on crtmpserver.socket",
    ),
    (
        "the service is started",
        "systemd[1]: Starting crtmpserver.service",
    ),
    (
        "the service is ready",
        "systemd[1]: Started crtmpserver.service",
    ),
];

/// Asks for the stream, and reads on to the first picture; false when it is not there yet.
fn sees_a_picture(server: SocketAddr) -> bool {
    let Ok(mut viewer) = TcpStream::connect_timeout(&server, Duration::from_millis(200)) else {
        pause(1);
        return false;
    };
    viewer.set_read_timeout(Some(PATIENCE)).unwrap();
    let asked = viewer.write_all(b"GET /live/event.flv HTTP/1.1\r\nHost: mirror\r\n\r\n");
    if asked.is_err() {
        return false;
    }
    let (mut seen, mut part) = (Vec::new(), [0; 4096]);
    // A key frame of AVC that is no sequence header.
    while !seen.windows(2).any(|w| w == [0x17, 0x01]) {
        match viewer.read(&mut part) {
            Ok(n) if n > 0 => seen.extend_from_slice(&part[..n]),
            _ => return false,
        }
    }
    true
}

/// An encoder whose stream is live on the master.
fn encoder(world: &World, url: &str) -> Process {
    let encoder = publish(world, "encoder", &programme(), url);
    wait_within(BOOT, "the stream is live", || {
        get(MASTER + 1, "/")?.1.contains("live/event").then_some(())
    });
    encoder
}

/// The kernel's time that stands on a line of the console, s.
fn stamp(line: &str) -> Option<f64> {
    let mut parts = line.split('[');
    parts.find_map(|part| part.split_once(']')?.0.trim().parse().ok())
}

/// From the start of the kernel, without hardware acceleration.
pub(crate) fn of_a_boot(world: &World) {
    let images = Images::get();
    let lab = Lab::new(world);
    let master = lab.master("master", MASTER, &images.users, &images.secret);
    let _encoder = encoder(world, &master.login_url("live/event"));
    let image = images.mirror();
    let machine = Machine::start(&lab, "mirror", image, &Start::Kernel(TALK), &[]);
    let begun = Instant::now();
    // How much later this clock began than the machine's: less than by any line that is seen here.
    let mut ahead = f64::INFINITY;
    while !sees_a_picture(machine.at(8080)) {
        let said = machine.console();
        if let Some(last) = said.lines().rev().find_map(stamp) {
            ahead = ahead.min(begun.elapsed().as_secs_f64() - last);
        }
        assert!(begun.elapsed() < BOOT, "no picture; its console:\n{said}");
    }
    let picture = begun.elapsed().as_secs_f64() - ahead;
    machine.wait_console(&PHASES.map(|(_, said)| said));
    let said = machine.console();
    let mut ends: Vec<(&str, f64)> = PHASES
        .iter()
        .map(|&(what, mark)| {
            let line = said.lines().find(|line| line.contains(mark)).unwrap();
            (what, stamp(line).unwrap_or_else(|| panic!("{line}")))
        })
        .collect();
    ends.push(("the first picture of the re-broadcast", picture));
    assert!(ends.iter().all(|&(_, at)| at <= picture + 1.0), "{ends:?}");
    let rows: String = ends
        .iter()
        .map(|(what, at)| format!("| {what} | {at:.1} s |\n"))
        .collect();
    world.write("phases", &rows);
}

/// From the start of the program, on this host and with nothing in between.
pub(crate) fn of_the_program(world: &World) {
    let images = Images::get();
    let lab = Lab::new(world);
    let master = lab.master("master", MASTER, &images.users, &images.secret);
    let _encoder = encoder(world, &master.login_url("live/event"));
    let server = format!("{HOST}:8080");
    let file = world.write(
        "mirror.toml",
        &format!(
            "role = \"mirror\"\n[listen]\nrtmp = []\nhttp = [\"{server}\"]\ncontrol = \"\"\n
             [mirror]\nmaster = \"rtmp://{HOST}:{MASTER}\"\nsecret_file = {:?}\n",
            images.secret
        ),
    );
    let mut times = Vec::new();
    for round in 0..5 {
        let mut command = Command::new(mirror_binary());
        command.arg("--allow-root").arg(&file);
        let begun = Instant::now();
        let _mirror = world.start(&format!("mirror-{round}"), &mut command);
        // Whoever comes before it has its master is told to come again.
        while !sees_a_picture(server.parse().unwrap()) {
            assert!(begun.elapsed() < PATIENCE);
        }
        times.push(format!(
            "{:.1} ms\n",
            begun.elapsed().as_secs_f64() * 1000.0
        ));
    }
    world.write("times", &times.concat());
}
