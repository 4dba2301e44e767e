//! SIGHUP, with viewers watching.

use crate::live::{encoder, outside};
use crate::machine::{INSIDE, Machine};
use crate::media::{Packets, programme};
use crate::programs::watched;
use crate::viewer::Viewer;
use crate::world::{World, wait_for};

pub(crate) fn good_and_bad_without_a_lost_packet(world: &World) {
    let machine = Machine::with(world, "crtmpserver");
    let source = Packets::of_file(world, "ffmpeg", "source", &programme());
    let _encoder = encoder(world, "encoder");
    let [rtmp, http] = outside(world, &machine);
    let viewer = Viewer::open(world, "viewer", 8080, "live/event");
    viewer.wait_pictures(25);
    let pid = machine.ok("systemctl show -P MainPID crtmpserver.service");

    // Good ones: they count at once.
    machine.write(
        "/etc/crtmpserver/conf.d/test.toml",
        "[limits]\nmax_streams = 2\n[relay]\ngrace = \"10s\"\n",
    );
    reload(&machine);
    viewer.wait_more(25);
    machine.write(
        "/etc/crtmpserver/conf.d/test.toml",
        "[play]\nnetworks = [\"127.0.0.0/8\", \"::1\"]\n",
    );
    reload(&machine);
    let script = format!(
        "python3 -c 'import urllib.request as r; r.urlopen(\"http://{INSIDE}:8080/live/event.flv\", timeout=9)'"
    );
    let refused = machine.outside(&script).err;
    assert!(refused.contains("403"), "{refused}");
    // Bad ones: each is refused with its reason, and what ran goes on.
    for (text, reason) in [
        ("[play]\nwait = 5\n", "play.wait"),
        ("[listen\n", "test.toml"),
        ("nothing = 1\n", "nothing"),
    ] {
        machine.write("/etc/crtmpserver/conf.d/test.toml", text);
        let entries = machine.journal("CODE=reload").len();
        machine.ok("! systemctl reload crtmpserver.service");
        // It is known when the command ends, and said once.
        let said = machine.journal("CODE=reload").split_off(entries);
        let [entry] = said.as_slice() else {
            panic!("{said:?}")
        };
        assert!(entry["REASON"].contains(reason), "{entry:?}");
        let status = machine.status();
        assert!(
            status.contains("active (running)") && status.contains(reason),
            "the reason is not in:\n{status}"
        );
        viewer.wait_more(25);
    }
    machine.ok("rm /etc/crtmpserver/conf.d/test.toml");
    reload(&machine);
    wait_for("viewers outside are let in again", || {
        machine.reachable(8080).then_some(())
    });

    assert_eq!(
        machine.ok("systemctl show -P MainPID crtmpserver.service"),
        pid
    );
    viewer.wait_more(50);
    viewer.assert_sane();
    let numbers = viewer.numbers(world);
    assert!(
        numbers.windows(2).all(|w| w[1] == (w[0] + 1) % 200),
        "{numbers:?}"
    );
    let least = numbers.len() / 2;
    watched(&rtmp, least).assert_part_of(&source, least);
    watched(&http, least).assert_part_of(&source, least);
}

fn reload(machine: &Machine<'_>) {
    machine.ok("systemctl reload crtmpserver.service");
    machine.ok("systemctl is-active crtmpserver.service");
}
