//! An image with what is there for the asking: somebody may log in to it, it keeps itself up to date, and
//! it speaks HTTPS.

use std::fs;
use std::process::Command;

use crate::lab::{Lab, address, host};
use crate::machine::{Files, Machine, Start};
use crate::recipe::{Images, MASTER};
use crate::world::World;

pub(crate) fn for_who_has_the_key(world: &World) {
    let key = world.path("key");
    host(&format!(
        "ssh-keygen -q -t ed25519 -N '' -f {}",
        key.display()
    ));
    let images = Images::get();
    let image = images.with_everything(world, &key.with_extension("pub"));
    let files = Files::of(&image.qcow2, world.path("image.raw"));
    let keys = files.stat("/root/.ssh/authorized_keys");
    assert!(
        keys.contains("Mode:  0600") && keys.contains("User:     0"),
        "{keys}"
    );
    assert!(
        !files.has("/etc/ssh/ssh_host_ed25519_key"),
        "each makes its own"
    );
    assert!(
        files
            .text("/etc/apt/apt.conf.d/52crtmpserver-upgrades")
            .contains("Unattended-Upgrade \"1\"")
    );
    let key_file = files.stat("/usr/lib/credstore/crtmpserver.key");
    assert!(key_file.contains("Mode:  0600"), "{key_file}");
    drop(files);

    let lab = Lab::new(world);
    let _master = lab.master("master", MASTER, &images.users, &images.secret);
    let machines =
        ["one", "two"].map(|name| Machine::start(&lab, name, &image, &Start::Kernel(""), &[]));
    let mut told = Vec::new();
    for (machine, name) in machines.iter().zip(["one", "two"]) {
        machine.wait_port(22);
        let ssh = |options: &str, what: &str| {
            let line = format!(
                "ssh -F none -o BatchMode=yes -o IdentitiesOnly=yes -o ConnectTimeout=60 -o StrictHostKeyChecking=accept-new \
                 -o UserKnownHostsFile={}-{name} {options} root@{} '{what}'",
                world.path("known").display(),
                machine.at(22).ip(),
            );
            Command::new("sh").args(["-c", &line]).output().unwrap()
        };
        // Who has no key has no password either.
        assert!(!ssh("-o PubkeyAuthentication=no", "true").status.success());
        let with_key = format!("-i {}", key.display());
        let done = ssh(
            &with_key,
            // A machine with eleven beside it may be slow to answer.
            "for try in 1 2 3 4 5 6; do state=$(systemctl is-system-running --wait) && break; sleep 10; done; \
             echo $state; systemctl --failed --no-legend; \
             systemctl --root=/ is-enabled apt-daily-upgrade.timer; cat /etc/machine-id",
        );
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        assert!(
            done.status.success(),
            "{said}{}",
            String::from_utf8_lossy(&done.stderr)
        );
        let lines: Vec<&str> = said.lines().collect();
        assert!(
            matches!(lines[..], ["running", "enabled", id] if id.len() == 32),
            "{said}"
        );
        let known = fs::read_to_string(world.path(&format!("known-{name}"))).unwrap();
        let host_key = known.split_whitespace().last().unwrap().to_owned();
        told.push((lines[2].to_owned(), host_key));
        // In TLS it says who it is, by the name that its address has.
        machine.wait_health(200, "true");
        let name = format!("{}.m.example.org", address(machine.number)).replacen('.', "-", 3);
        let list = over_https(&address(machine.number).to_string());
        assert!(list.contains(&format!("https://{name}:8443")), "{list}");
        assert!(machine.is_silent(443));
    }
    assert!(told[0].0 != told[1].0 && told[0].1 != told[1].1, "{told:?}");
    drop(machines);
    drop(fs::remove_dir_all(world.path("image")));
}

/// What a machine answers over HTTPS, whose certificate must be the one that it was given.
fn over_https(machine: &str) -> String {
    let authority = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tls/ca.pem");
    host(&format!(
        "python3 -c 'import socket, ssl
trusted = ssl.create_default_context(cafile=\"{authority}\")
plain = socket.create_connection((\"{machine}\", 8443), 60)
with trusted.wrap_socket(plain, server_hostname=\"localhost\") as server:
    server.sendall(b\"GET /cluster.json HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n\")
    print(b\"\".join(iter(lambda: server.recv(65536), b\"\")).decode())
'"
    ))
}
