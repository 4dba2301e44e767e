//! A cloud's stock server with a package on it, saved as an image, and what is started from that.

use std::collections::BTreeSet;

use crate::image::Image;
use crate::machine::Machine;
use crate::world::{World, get, wait_for};

/// What a provider tells the machine with this name: cloud-init finds it on the machine's own disk.
pub(crate) fn told(machine: &Machine<'_>, instance: &str, user_data: &str) {
    let folder = "/var/lib/cloud/seed/nocloud";
    let meta = format!("instance-id: {instance}\nlocal-hostname: {instance}\n");
    machine.write(&format!("{folder}/meta-data"), &meta);
    machine.write(&format!("{folder}/user-data"), user_data);
    // The network is there already, and locales are not.
    machine.write(
        "/etc/cloud/cloud.cfg.d/99-test.cfg",
        "network: {config: disabled}\nlocale: false\n",
    );
}

/// User-data of somebody who wants nothing.
const NOTHING: &str = "#cloud-config\n{}\n";

/// What no two machines may share.
#[derive(Debug, PartialEq, Eq)]
struct Identity {
    machine: String,
    keys: BTreeSet<String>,
    mirror: String,
}

impl Identity {
    fn of(machine: &Machine<'_>) -> Self {
        machine.wait_ok("systemctl is-active cloud-final.service ssh.service");
        machine.wait_serving();
        let keys = machine.ok("cat /etc/ssh/ssh_host_*_key.pub | cut -d' ' -f2");
        let mirror = wait_for("a list of hosts", || {
            let (_, body) = get(8080, "/cluster.json")?;
            let list: serde_json::Value = serde_json::from_str(&body).ok()?;
            list["id"].as_str().map(str::to_owned)
        });
        let found = Self {
            machine: machine.ok("cat /etc/machine-id"),
            keys: keys.lines().map(str::to_owned).collect(),
            mirror,
        };
        assert_eq!(found.machine.len(), 32, "{found:?}");
        assert!(found.keys.len() >= 2, "{found:?}");
        found
    }

    fn assert_unlike(&self, other: &Self) {
        assert_ne!(self.machine, other.machine);
        assert!(self.keys.is_disjoint(&other.keys), "{self:?} {other:?}");
        assert_ne!(self.mirror, other.mirror);
    }
}

/// What all of them must share.
fn settings(machine: &Machine<'_>) -> String {
    machine.ok(
        "find /etc/crtmpserver /etc/default/crtmpserver -type f -exec sha256sum {} + | sort
         systemctl list-unit-files --no-legend 'crtmpserver*' | awk '{ print $1, $2 }'
         dpkg-query -W",
    )
}

pub(crate) fn a_saved_server_started_twice(world: &World) {
    let root = Image::of_a_cloud();
    let server = Machine::boot_on(world, root, None, |m| told(m, "server", NOTHING));
    server.install("crtmpserver-mirror");
    server.write(
        "/etc/crtmpserver/conf.d/mirror.toml",
        "[mirror]\nmaster = \"rtmp://127.0.0.1:1945\"\n",
    );
    let secret = "0123456789abcdef".repeat(4);
    server.ok(&format!(
        "umask 027 && echo {secret} >/etc/crtmpserver/secret && chgrp crtmpserver /etc/crtmpserver/secret
         systemctl restart crtmpserver.service"
    ));
    let (first, shared) = (Identity::of(&server), settings(&server));
    // As the document says.
    let document = include_str!("../../docs/images.md");
    let command = document
        .lines()
        .find(|line| line.starts_with("cloud-init clean"))
        .unwrap();
    server.ok(command);
    let event = include_str!("../../docs/event-from-zero.md");
    assert!(event.contains(command), "the event does it another way");
    let saved = server.save();
    let clones = ["clone-1", "clone-2"].map(|name| {
        let clone = Machine::boot_on(world, root, Some(&saved.0), |m| told(m, name, NOTHING));
        let identity = Identity::of(&clone);
        identity.assert_unlike(&first);
        assert_eq!(settings(&clone), shared, "{name}");
        assert_eq!(clone.ok("hostname"), name);
        identity
    });
    clones[0].assert_unlike(&clones[1]);
}
