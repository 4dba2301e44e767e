//! What goes wrong ends in a clear state, and is over when its cause is gone.

use std::collections::BTreeMap;

use crate::live::encoder;
use crate::machine::{Machine, other_server};
use crate::viewer::Viewer;
use crate::world::{World, wait_for};

pub(crate) fn two_services_on_one_port(world: &World) {
    let machine = Machine::boot(world);
    // Somebody has port 8080 already.
    machine.ok(&format!("systemd-run --unit=other {}", other_server(8080)));
    machine.wait_ok("ss -ltn | grep -q ':8080 '");
    machine.install("crtmpserver");
    // Why is in the service's words: those of the socket are its helper's, which may be gone before its
    // line is told apart.
    machine.ok("! systemctl is-active --quiet crtmpserver-http.socket");
    let status = machine.wait_status(&["8080", "in use"]);
    assert!(!status.contains("active (running)"), "{status}");
    // RTMP waits in its socket.
    machine.ok("systemctl is-active crtmpserver.socket");
    // Before each start its socket is tried, and then it tries itself. A port that becomes free between
    // the two is the server's own until its next restart, so it is let go while the server holds on.
    let tries = || {
        let entries = machine.journal("");
        let of = |e: &BTreeMap<String, String>| e["MESSAGE"].contains("cannot listen");
        entries.iter().filter(|entry| of(entry)).count()
    };
    let before = tries();
    wait_for("the next try", || (tries() > before).then_some(()));
    machine.ok("systemctl stop other.service");
    machine.wait_serving();
    machine.ok("! systemctl --failed --no-legend | grep .");
}

pub(crate) fn files_that_cannot_be_read(world: &World) {
    let machine = Machine::with(world, "crtmpserver");
    // Users that the service may not read.
    machine.ok("crtmpserver passwd --generate ann && chmod 600 /etc/crtmpserver/users && chown root:root /etc/crtmpserver/users");
    machine.write(
        "/etc/crtmpserver/conf.d/users.toml",
        "[publish]\nusers = \"/etc/crtmpserver/users\"\n",
    );
    machine.run("systemctl restart crtmpserver.service");
    machine.wait_status(&["/etc/crtmpserver/users", "chgrp crtmpserver"]);
    machine.ok("systemctl is-active crtmpserver.socket");
    machine.ok("chgrp crtmpserver /etc/crtmpserver/users && chmod 640 /etc/crtmpserver/users");
    machine.wait_serving();
    machine.ok("rm /etc/crtmpserver/conf.d/users.toml");

    // A credential whose file is not there: the start goes on without it.
    machine.write(
        "/etc/systemd/system/crtmpserver.service.d/credential.conf",
        "[Service]\nLoadCredential=crtmpserver.users:/etc/crtmpserver/nobody-made-it\n",
    );
    machine.ok("systemctl daemon-reload && systemctl restart crtmpserver.service");
    machine.wait_serving();
    machine.ok("rm -r /etc/systemd/system/crtmpserver.service.d && systemctl daemon-reload");
    // One that is no file of users: said, and mended.
    machine.write(
        "/etc/credstore/crtmpserver.users",
        "this is no file of users\n",
    );
    machine.run("systemctl restart crtmpserver.service");
    machine.wait_status(&["crtmpserver.users"]);
    machine.ok("cp /etc/crtmpserver/users /etc/credstore/crtmpserver.users");
    machine.wait_serving();
    // The users count, of whom an image may have brought the file.
    let said = machine.ok("journalctl -u crtmpserver.service -n 20");
    assert!(said.contains("crtmpserver.users (1)"), "{said}");
    machine.ok("rm /etc/credstore/crtmpserver.users && systemctl restart crtmpserver.service");
    machine.wait_serving();
}

pub(crate) fn a_full_disk(world: &World) {
    let machine = Machine::with(world, "crtmpserver");
    // Both the state and the configuration are on disks of their own that are full.
    machine.ok("systemctl stop crtmpserver.service");
    machine.ok("crtmpserver passwd --generate ann");
    for folder in ["/etc/crtmpserver", "/var/lib/crtmpserver", "/var/log"] {
        machine.ok(&format!(
            "cp -a {folder} /root/saved && mount -t tmpfs -o size=256k,mode=755 small {folder} &&
             cp -a /root/saved/. {folder}/ 2>/dev/null; rm -rf /root/saved;
             ! dd if=/dev/zero of={folder}/full bs=4k 2>/dev/null"
        ));
    }
    machine.ok("systemctl start crtmpserver.service");
    machine.wait_serving();
    let _encoder = encoder(world, "encoder");
    let viewer = Viewer::open(world, "viewer", 8080, "live/event");
    viewer.wait_pictures(50);
    // Users are not lost to a file that cannot be written.
    let before = machine.ok("cat /etc/crtmpserver/users");
    let refused = machine.run("crtmpserver passwd --generate bob");
    assert!(
        !refused.status.success() && refused.err.contains("No space left"),
        "{}",
        refused.err
    );
    assert_eq!(machine.ok("cat /etc/crtmpserver/users"), before);
    machine.ok("rm /etc/crtmpserver/full");
    machine.ok("crtmpserver passwd --generate bob");
    viewer.wait_more(25);
    viewer.assert_sane();
}
