//! The master's profile and the firewall.

use crate::machine::{INSIDE, Machine, other_server};
use crate::media::{Packets, programme};
use crate::programs::{publish_with, watch_with, watched};
use crate::world::{World, wait_for};

const MASTER: &str = "role = \"master\"
[publish]
users = \"/etc/crtmpserver/users\"
[master]
secret_file = \"/etc/crtmpserver/secret\"
[play]
networks = [\"10.99.0.0/24\"]
";

pub(crate) fn a_master_connects_to_nowhere(world: &World) {
    let machine = Machine::with(world, "crtmpserver");
    let password = machine
        .ok("crtmpserver secret /etc/crtmpserver/secret && crtmpserver passwd --generate ann");
    machine.write("/etc/crtmpserver/conf.d/master.toml", MASTER);
    // As the manual says.
    machine.ok(
        "mkdir -p /etc/systemd/system/crtmpserver.service.d
         ln -s /usr/share/crtmpserver/profiles/master.conf /etc/systemd/system/crtmpserver.service.d/
         systemctl daemon-reload
         systemctl restart crtmpserver.service",
    );
    machine.ok("systemd-analyze security --no-pager --threshold=3 crtmpserver.service");
    let pid = machine.ok("systemctl show -P MainPID crtmpserver.service");
    // Its network has nothing in it but a loopback of its own.
    let links = machine.ok(&format!("nsenter -t {pid} -n ip -br link"));
    assert!(
        links.lines().count() == 1 && links.starts_with("lo"),
        "{links}"
    );
    // It serves all the same, encoders and viewers from elsewhere, on the sockets that it was given.
    let source = Packets::of_file(world, "ffmpeg", "source", &programme());
    let ffmpeg = machine.ffmpeg_outside();
    let url = format!("rtmp://ann:{password}@{INSIDE}/live/event");
    let _encoder = publish_with(world, &ffmpeg, "encoder", &programme(), &url);
    wait_for("it is live", || {
        machine
            .ok("crtmpserver status")
            .contains("live/event")
            .then_some(())
    });
    for (name, url) in [
        ("rtmp", format!("rtmp://{INSIDE}/live/event")),
        ("http", format!("http://{INSIDE}:8080/live/event.flv")),
    ] {
        let watcher = watch_with(world, &ffmpeg, name, &url);
        watched(&watcher, 40).assert_part_of(&source, 40);
    }
    // A reload reaches it, and is answered.
    machine.ok("systemctl reload crtmpserver.service");
    machine.write("/etc/crtmpserver/conf.d/wrong.toml", "nothing = 1\n");
    machine.ok("! systemctl reload crtmpserver.service");
    machine.wait_status(&["active (running)", "wrong.toml"]);
    machine.ok("rm /etc/crtmpserver/conf.d/wrong.toml && systemctl reload crtmpserver.service");
    assert_eq!(
        machine.ok("systemd-analyze verify crtmpserver.service 2>&1"),
        ""
    );
    // A listener that it was not given is an error there, and `systemctl status` says so.
    machine.ok("systemctl stop crtmpserver.service crtmpserver-http.socket && systemctl disable crtmpserver-http.socket");
    machine.run("systemctl start crtmpserver.service");
    machine.wait_status(&["8080"]);
    machine.ok("systemctl enable --now crtmpserver-http.socket");
    machine.wait_ok("systemctl is-active crtmpserver.service");
}

pub(crate) fn the_firewall_opens_the_ports_of_the_role(world: &World) {
    let machine = Machine::with(world, "crtmpserver");
    let _stranger = machine.start_script("other-server", &format!("exec {}", other_server(9000)));
    wait_for("another server", || machine.reachable(9000).then_some(()));
    assert!(machine.reachable(1935) && machine.reachable(8080));
    for (role, http) in [("master", false), ("mirror", true), ("standalone", true)] {
        machine.ok(&format!(
            "systemctl enable --now crtmpserver-firewall@{role}.service"
        ));
        assert!(machine.reachable(1935), "{role}");
        assert_eq!(machine.reachable(8080), http, "{role}");
        assert!(!machine.reachable(9000), "{role}");
        // A viewer takes no place in the kernel's table of connections, which is small.
        assert_eq!(
            machine.ok("awk '/sport=1935|dport=1935/' /proc/net/nf_conntrack 2>/dev/null"),
            ""
        );
        // The machine itself is not shut out of its own services.
        machine
            .ok("python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", 9000), 5)'");
        machine.ok(&format!(
            "systemctl disable --now crtmpserver-firewall@{role}.service"
        ));
        assert!(machine.reachable(9000), "{role}");
    }
    // A copy of one's own counts instead.
    machine.ok("mkdir /etc/crtmpserver/nftables && sed 's/{ 22 }/{ 22, 9000 }/' /usr/share/crtmpserver/nftables/master.nft >/etc/crtmpserver/nftables/master.nft");
    machine.ok("systemctl start crtmpserver-firewall@master.service");
    assert!(machine.reachable(9000) && !machine.reachable(8080));
}
