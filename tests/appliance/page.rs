//! docs/packages.md, and what docs/tls.md says of mirrors, as somebody follows them.

use crate::live::wait_live;
use crate::machine::Machine;
use crate::media::programme;
use crate::programs::publish;
use crate::world::{World, wait_for};

/// The blocks of shell of a document, in their order.
fn blocks(document: &str) -> Vec<String> {
    let path = format!("{}/docs/{document}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let blocks = text.split("```sh\n").skip(1);
    blocks
        .map(|rest| rest.split("```").next().unwrap().to_owned())
        .collect()
}

pub(crate) fn what_it_shows_works(world: &World) {
    let machine = Machine::boot(world);
    // The repository is on a disk here; nobody is asked.
    let follow = |block: &str| {
        let script = block
            .replace("https://apt.example.org", "file:/srv/repository")
            .replace(
                "crtmpserver.gpg /usr",
                "/srv/repository/crtmpserver.gpg /usr",
            )
            .replace("apt ", "apt-get -q -y ")
            .replace("rtmp://master.example.org", "rtmp://192.0.2.1");
        machine.ok(&format!("set -e; cd /root; {script}"))
    };
    let blocks = blocks("packages.md");
    let [install, users, mirror, port, master, firewall, remove] = &blocks[..] else {
        panic!("{} blocks", blocks.len());
    };
    machine.ok("rm /etc/apt/sources.list.d/* /usr/share/keyrings/crtmpserver.gpg");
    follow(install);
    machine.wait_serving();
    let said = follow(users);
    let password = said.lines().next().unwrap();
    let url = format!("rtmp://ann:{password}@127.0.0.1/live/event");
    let encoder = wait_for("ann may publish", || {
        let mut encoder = publish(world, "encoder", &programme(), &url);
        crate::world::pause(2000);
        encoder.running().then_some(encoder)
    });
    wait_live("live/event");
    drop(encoder);

    follow(port);
    wait_for("port 80", || machine.reachable(80).then_some(()));
    assert!(!machine.reachable(8080));
    machine.ok("rm -r /etc/systemd/system/crtmpserver-http.socket.d && systemctl daemon-reload");
    machine.ok("systemctl stop crtmpserver.service crtmpserver-http.socket && systemctl start crtmpserver.service");
    machine.wait_serving();
    follow(firewall);
    assert!(machine.reachable(1935) && machine.reachable(8080));
    follow(master);
    machine.wait_serving();
    machine.ok("systemd-analyze security --no-pager --threshold=3 crtmpserver.service");
    machine
        .ok("rm /etc/systemd/system/crtmpserver.service.d/master.conf && systemctl daemon-reload");

    // What was configured for publishers has no place on a mirror, and its service says so.
    machine.ok("rm /etc/crtmpserver/conf.d/users.toml && crtmpserver secret /root/secret");
    follow(mirror);
    machine.wait_status(&["active (running)", "192.0.2.1"]);
    machine.install("crtmpserver");
    let [keep, leave] = remove.lines().collect::<Vec<_>>()[..] else {
        panic!("{remove}");
    };
    machine.ok("rm /etc/crtmpserver/conf.d/mirror.toml");
    follow(keep);
    machine.ok("test -e /etc/crtmpserver/crtmpserver.toml");
    follow(leave);
    machine.ok("! test -e /etc/crtmpserver && ! test -e /var/lib/crtmpserver");
}

/// A mirror that speaks HTTPS, before it is saved as an image.
pub(crate) fn a_mirror_with_a_certificate(world: &World) {
    let machine = Machine::with(world, "crtmpserver-mirror");
    for (name, text) in [
        ("fullchain.pem", include_str!("../tls/server.pem")),
        ("privkey.pem", include_str!("../tls/server.key")),
    ] {
        machine.write(&format!("/root/{name}"), text);
    }
    assert!(!machine.reachable(8443));
    let [block] = &blocks("tls.md")[..] else {
        panic!("there is one block");
    };
    machine.ok(&format!("set -e; cd /root; {block}"));
    machine.wait_serving();
    for port in [1935, 8080, 8443] {
        assert!(machine.reachable(port), "{port}");
    }
    assert!(!machine.reachable(443));
    // It has no master here, and says so.
    let said = machine.run("crtmpserver status").out;
    assert!(said.contains("https [::]:8443"), "{said}");
    let said = machine.ok("journalctl --sync && journalctl -u crtmpserver.service");
    assert!(said.contains("certificate: for localhost"), "{said}");
    // The certificate of these tests is not for the hosts of the document.
    assert!(said.contains("browsers refuse it"), "{said}");
}
