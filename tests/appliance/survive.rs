//! It dies, it stops, a part of it hangs: it comes back, and nobody is refused.

use crate::live::encoder;
use crate::machine::{Knocking, Machine};
use crate::viewer::Viewer;
use crate::world::{Process, World, wait_within};

/// A machine with an encoder and viewers. The watchdog is impatient, to shorten the test.
fn loaded(world: &World) -> (Machine<'_>, Process, Vec<Viewer>) {
    let machine = Machine::with(world, "crtmpserver");
    machine.write(
        "/etc/systemd/system/crtmpserver.service.d/watchdog.conf",
        "[Service]\nWatchdogSec=3s\n",
    );
    machine.ok("systemctl daemon-reload && systemctl restart crtmpserver.service");
    let encoder = encoder(world, "encoder");
    let viewers = (0..20)
        .map(|n| Viewer::open(world, &format!("viewer-{n}"), 8080, "live/event"))
        .collect();
    (machine, encoder, viewers)
}

/// Breaks the server under load, and waits until it serves again: nobody was refused meanwhile.
fn broken_by(world: &World, reason: &str, harm: impl FnOnce(&Machine<'_>) -> Option<Process>) {
    let (machine, encoder, viewers) = loaded(world);
    for viewer in &viewers {
        viewer.wait_pictures(25);
    }
    let before = machine.ok("systemctl show -P MainPID crtmpserver.service");
    let knocking = Knocking::start();
    let _keep = harm(&machine);
    wait_within(
        std::time::Duration::from_secs(60),
        "another process serves",
        || {
            let now = machine.ok("systemctl show -P MainPID -P ActiveState crtmpserver.service");
            let (pid, state) = now.split_once('\n')?;
            (pid != before && pid != "0" && state == "active").then_some(())
        },
    );
    machine.wait_serving();
    let knocks = knocking.stop();
    assert!(knocks.refused.is_empty(), "{knocks:?}");
    assert!(knocks.answered > 20, "{knocks:?}");
    for socket in [
        "crtmpserver.socket",
        "crtmpserver-http.socket",
        "crtmpserver-control.socket",
    ] {
        machine.ok(&format!("systemctl is-active {socket}"));
    }
    let journal = machine.ok("journalctl --no-pager -u crtmpserver.service");
    assert!(journal.contains(reason), "no {reason} in:\n{journal}");
    drop(encoder);
    // It is a whole server: publish and watch.
    let _encoder = crate::live::encoder(world, "encoder-again");
    let viewer = Viewer::open(world, "viewer-again", 8080, "live/event");
    viewer.wait_pictures(25);
    viewer.assert_sane();
}

pub(crate) fn killed_under_load(world: &World) {
    broken_by(world, "status=9/KILL", |machine| {
        machine.ok("systemctl kill -s KILL --kill-who=main crtmpserver.service");
        None
    });
}

pub(crate) fn stopped_under_load(world: &World) {
    broken_by(world, "Watchdog timeout", |machine| {
        machine.ok("systemctl kill -s STOP --kill-who=main crtmpserver.service");
        None
    });
}

/// One thread stops, and the others go on.
const HOLD: &str = r"
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
SEIZE, INTERRUPT = 0x4206, 0x4207
pid = sys.argv[1]
def name(thread):
    try:
        return open(f'/proc/{pid}/task/{thread}/comm').read()
    except OSError:
        return '' # gone since it was listed
for thread in os.listdir(f'/proc/{pid}/task'):
    if name(thread).startswith(sys.argv[2]):
        assert libc.ptrace(SEIZE, int(thread), None, None) == 0, ctypes.get_errno()
        assert libc.ptrace(INTERRUPT, int(thread), None, None) == 0, ctypes.get_errno()
        os.waitpid(int(thread), 0x40000000)
        print('held', thread, flush=True)
        # Until it is killed: whoever holds a thread must see it die, or the process does not end.
        os.waitpid(int(thread), 0x40000000)
        sys.exit(0)
sys.exit('no such thread')
";

pub(crate) fn a_shard_hangs(world: &World) {
    broken_by(world, "Watchdog timeout", |machine| {
        let mut command = std::process::Command::new("python3");
        command.args(["-c", HOLD, &machine.main_pid().to_string(), "shard-0"]);
        let process = world.start("hold", &mut command);
        wait_within(crate::world::PATIENCE, "a thread is held", || {
            assert!(!process.ended(), "{}", process.said());
            process.stdout().contains("held").then_some(())
        });
        Some(process)
    });
}
