//! Sockets that systemd holds.

use crate::machine::{Knocking, Machine};
use crate::world::{World, get, pause, wait_for};

pub(crate) fn from_cold(world: &World) {
    let machine = Machine::with(world, "crtmpserver");
    machine.ok("systemctl stop crtmpserver.service");
    assert_eq!(
        machine
            .run("systemctl is-active crtmpserver.service")
            .out
            .trim(),
        "inactive"
    );
    // Who comes first starts it, and is served.
    let page = machine.outside("exec python3 -c 'import urllib.request as r; print(r.urlopen(\"http://10.99.0.2:8080/\", timeout=30).status)'");
    assert_eq!(page.out.trim(), "200", "{}", page.err);
    machine.ok("systemctl is-active crtmpserver.service");

    machine.ok("systemctl stop crtmpserver.service");
    assert!(machine.reachable(1935));
    machine.wait_serving();

    machine.ok("systemctl stop crtmpserver.service");
    machine.ok("crtmpserver status");

    // No restart is noticed by who knocks.
    let knocking = Knocking::start();
    for _ in 0..3 {
        pause(300);
        machine.ok("systemctl restart crtmpserver.service");
    }
    let knocks = knocking.stop();
    assert!(knocks.made > 50 && knocks.refused.is_empty(), "{knocks:?}");

    // Stopped with its sockets it is gone, whoever knocks.
    machine.ok("systemctl stop crtmpserver.service 'crtmpserver*.socket'");
    assert!(!machine.reachable(1935) && !machine.reachable(8080));
    machine.ok("! systemctl is-active crtmpserver.service && ! crtmpserver status");
    machine.ok("systemctl start crtmpserver.service");
    machine.wait_serving();
    machine.ok("crtmpserver status");

    // After a boot it runs by itself: a mirror must find its master without a viewer.
    machine.ok("systemctl is-enabled crtmpserver.service");
}

pub(crate) fn whatever_subset(world: &World) {
    let machine = Machine::with(world, "crtmpserver");
    // HTTP is bound by the server itself, where the configuration says.
    machine.write(
        "/etc/crtmpserver/conf.d/http.toml",
        "[listen]\nhttp = [\"[::]:8888\"]\n",
    );
    machine.ok("systemctl stop crtmpserver.service crtmpserver-http.socket
         systemctl disable crtmpserver-http.socket
         systemctl start crtmpserver.service");
    assert_eq!(get(8888, "/").map(|(status, _)| status), Some(200));
    assert!(machine.reachable(1935) && !machine.reachable(8080));

    // The socket unit wins over the configuration, with a word on what changes it.
    machine.ok("systemctl stop crtmpserver.service
         systemctl enable --now crtmpserver-http.socket
         systemctl start crtmpserver.service");
    machine.wait_serving();
    assert!(!machine.reachable(8888));
    let said = machine.ok("journalctl --no-pager -u crtmpserver.service -n 30");
    assert!(
        said.contains("systemctl edit crtmpserver-http.socket"),
        "{said}"
    );

    // What it says to type works.
    let (_, typed) = said.split_once("lines [Socket] ").unwrap();
    let (lines, typed) = typed.split_once(", then `").unwrap();
    let (commands, _) = typed.split_once('`').unwrap();
    let lines = lines.replace(' ', "\n");
    machine.write(
        "/etc/systemd/system/crtmpserver-http.socket.d/override.conf",
        &format!("[Socket]\n{lines}\n"),
    );
    machine.ok(&format!("systemctl daemon-reload; {commands}"));
    assert!(machine.reachable(8888) && !machine.reachable(8080));
    machine.ok("systemctl is-active crtmpserver-http.socket");

    // Without any socket unit it is a server as any other.
    machine.ok(
        "systemctl stop crtmpserver.service crtmpserver.socket crtmpserver-http.socket crtmpserver-control.socket
         systemctl disable crtmpserver.socket crtmpserver-http.socket crtmpserver-control.socket
         systemctl start crtmpserver.service && systemctl is-active crtmpserver.service",
    );
    assert!(machine.reachable(1935) && machine.reachable(8888));
    machine.ok("crtmpserver status");
    // It reloads over its own control socket, and without one by a signal.
    let reloads = || machine.journal("CODE=reload").len();
    machine.ok("systemctl reload crtmpserver.service");
    assert_eq!(reloads(), 1);
    machine.write(
        "/etc/crtmpserver/conf.d/control.toml",
        "[listen]\ncontrol = \"\"\n",
    );
    machine.ok("systemctl restart crtmpserver.service && ! crtmpserver status");
    machine.ok("systemctl reload crtmpserver.service");
    wait_for("the signal", || (reloads() == 2).then_some(()));
}

pub(crate) fn a_name_that_nobody_knows(world: &World) {
    let machine = Machine::with(world, "crtmpserver");
    machine.write(
        "/etc/systemd/system/mine.socket",
        "[Socket]\nService=crtmpserver.service\nFileDescriptorName=rtpm\nListenStream=1999\n",
    );
    machine.ok("systemctl stop crtmpserver.service && systemctl daemon-reload && systemctl start mine.socket");
    machine.run("systemctl start crtmpserver.service");
    machine.wait_status(&["rtpm", "FileDescriptorName="]);
    // Neither the sockets nor the service give up.
    machine.ok("systemctl is-active crtmpserver.socket crtmpserver-http.socket");
    machine.ok("systemctl stop mine.socket");
    machine.wait_serving();

    // TLS needs a certificate; it says what to name, or which unit to disable, and heals with one.
    machine.ok("systemctl stop crtmpserver.service && systemctl start crtmpserver-https.socket");
    machine.run("systemctl start crtmpserver.service");
    machine.wait_status(&["crtmpserver-https.socket", "tls.certificate"]);
    for (name, text) in [
        ("fullchain.pem", include_str!("../tls/server.pem")),
        ("privkey.pem", include_str!("../tls/server.key")),
    ] {
        machine.write(&format!("/etc/crtmpserver/{name}"), text);
    }
    machine.ok("cd /etc/crtmpserver && chgrp crtmpserver *.pem && chmod 640 *.pem");
    machine.write(
        "/etc/crtmpserver/conf.d/tls.toml",
        "[tls]\ncertificate = \"/etc/crtmpserver/fullchain.pem\"\nkey = \"/etc/crtmpserver/privkey.pem\"\n",
    );
    machine.ok("systemctl restart crtmpserver.service");
    machine.wait_serving();
    let said = machine.ok("crtmpserver status");
    assert!(said.contains("https"), "{said}");
    machine.ok("systemctl disable --now crtmpserver-https.socket");
    machine.wait_serving();
}
