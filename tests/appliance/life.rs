//! Upgrade, switch, remove, purge.

use crate::image::PREVIOUS;
use crate::live::encoder;
use crate::machine::{Knocking, Machine};
use crate::world::{World, pause};

const CONFIGURATION: &str = "/etc/crtmpserver/crtmpserver.toml";

/// Installs the version before this one.
fn install_previous(machine: &Machine<'_>) {
    machine.install(&format!(
        "crtmpserver={PREVIOUS} crtmpserver-common={PREVIOUS}"
    ));
    machine.wait_serving();
    machine.ok(&format!(
        "grep -q 'As it was in the version before' {CONFIGURATION}"
    ));
}

pub(crate) fn an_upgrade_keeps_edits_and_refuses_nobody(world: &World) {
    let machine = Machine::boot(world);
    install_previous(&machine);
    machine.ok(&format!("echo '# an edit' >>{CONFIGURATION}"));
    machine.ok("crtmpserver passwd --generate ann");
    machine.ok("systemctl disable --now crtmpserver-control.socket");
    let before = machine.ok("systemctl show -P MainPID crtmpserver.service");
    let knocking = Knocking::start();
    pause(300);
    // As it goes without questions: what was edited stays.
    machine.ok("apt-get -q -y -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold install crtmpserver");
    machine.wait_serving();
    pause(300);
    let knocks = knocking.stop();
    assert!(knocks.made > 50 && knocks.refused.is_empty(), "{knocks:?}");
    assert_ne!(
        machine.ok("systemctl show -P MainPID crtmpserver.service"),
        before,
        "the old one runs on"
    );
    machine.ok(&format!("grep -q '# an edit' {CONFIGURATION}"));
    machine
        .ok("dpkg-query -W -f '${Version}\\n' crtmpserver crtmpserver-common | grep -qvF alpha.0");
    machine.ok("test -s /etc/crtmpserver/users");
    // What somebody disabled stays so.
    assert_eq!(
        machine
            .run("systemctl is-enabled crtmpserver-control.socket")
            .out
            .trim(),
        "disabled"
    );
    machine.ok("dpkg --verify crtmpserver");
}

pub(crate) fn a_configuration_that_became_wrong(world: &World) {
    let machine = Machine::boot(world);
    install_previous(&machine);
    // A key that the next version does not know any more, say.
    machine.write("/etc/crtmpserver/conf.d/old.toml", "[relay]\nold_key = 1\n");
    machine.install("crtmpserver");
    let status = machine.wait_status(&["old.toml", "relay.old_key"]);
    assert!(!status.contains("active (running)"), "{status}");
    // The packages are installed all the same, and their sockets wait.
    machine.ok("dpkg -l crtmpserver | grep -q ^ii");
    machine.ok("systemctl is-active crtmpserver.socket crtmpserver-http.socket");
    // It tries again, without haste: two or three times in ten seconds.
    let restarts = || -> u32 {
        machine
            .ok("systemctl show -P NRestarts crtmpserver.service")
            .parse()
            .unwrap()
    };
    let first = restarts();
    pause(10_000);
    let more = restarts() - first;
    assert!((1..=6).contains(&more), "{more} restarts in ten seconds");
    // And comes back by itself.
    machine.ok("rm /etc/crtmpserver/conf.d/old.toml");
    machine.wait_serving();
}

pub(crate) fn one_takes_the_place_of_the_other(world: &World) {
    let machine = Machine::with(world, "crtmpserver");
    machine.ok(&format!("echo '# an edit' >>{CONFIGURATION}"));
    machine.write(
        "/etc/crtmpserver/conf.d/mine.toml",
        "[relay]\nlog_time = \"10s\"\n[publish]\nnetworks = [\"loopback\"]\n",
    );
    machine.install("crtmpserver-mirror");
    machine.ok("crtmpserver --version | grep -q 'without publishing'");
    machine.ok("dpkg -l crtmpserver | grep -q ^rc");
    machine.wait_serving();
    let kept = || {
        machine.ok(&format!(
            "grep -q '# an edit' {CONFIGURATION} && test -e /etc/crtmpserver/conf.d/mine.toml"
        ));
        for unit in [
            "crtmpserver.service",
            "crtmpserver.socket",
            "crtmpserver-http.socket",
        ] {
            machine.ok(&format!(
                "systemctl is-enabled {unit} && systemctl is-active {unit}"
            ));
        }
    };
    kept();
    // What is left of the one goes, and the other is not touched.
    machine.ok("apt-get -q -y purge crtmpserver");
    kept();
    machine.ok("systemctl restart crtmpserver.service");
    machine.wait_serving();
    // And back.
    machine.install("crtmpserver");
    machine.wait_serving();
    kept();
    machine.ok("apt-get -q -y purge crtmpserver-mirror");
    kept();
    let _encoder = encoder(world, "encoder");
}

pub(crate) fn removed_and_purged(world: &World) {
    let machine = Machine::with(world, "crtmpserver");
    machine.ok(&format!("echo '# an edit' >>{CONFIGURATION}"));
    machine
        .ok("crtmpserver passwd --generate ann && touch /var/lib/crtmpserver/recordings/event.flv");
    machine.ok("apt-get -q -y remove crtmpserver");
    machine.ok("! pgrep -x crtmpserver");
    machine.ok("! systemctl list-sockets --no-legend | grep crtmpserver");
    machine.ok("! systemctl --failed --no-legend | grep .");
    machine.ok(&format!(
        "test -e {CONFIGURATION} && test -e /etc/crtmpserver/users"
    ));
    // It comes back as it was.
    machine.install("crtmpserver");
    machine.wait_serving();
    machine.ok(&format!("grep -q '# an edit' {CONFIGURATION}"));

    machine.ok("apt-get -q -y purge crtmpserver crtmpserver-common");
    machine.ok("! pgrep -x crtmpserver");
    let left = machine.run(
        "find / -xdev -name '*crtmpserver*' -not -path '/srv/*' -not -path '/var/log/*' \
         -not -path '/usr/share/keyrings/*' -not -path '/etc/apt/*' -not -path '/var/lib/apt/*' \
         -not -path '/var/cache/*' -not -path '/proc/*' -not -path '/sys/*'; \
         find /etc/systemd /run -name '*crtmpserver*'",
    );
    assert_eq!(left.out.trim(), "");
    // The user stays, as Debian advises: files elsewhere may be its own.
    machine.ok("id crtmpserver");
    machine.ok("! systemctl --failed --no-legend | grep .");
}
