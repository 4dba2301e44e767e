//! An image that somebody may log in to, because that was asked for, and that keeps itself up to date.

use std::fs;
use std::process::Command;

use crate::lab::{Lab, host};
use crate::machine::{Files, Machine, Start};
use crate::recipe::Images;
use crate::world::World;

pub(crate) fn for_who_has_the_key(world: &World) {
    let key = world.path("key");
    host(&format!(
        "ssh-keygen -q -t ed25519 -N '' -f {}",
        key.display()
    ));
    let image = Images::get().with_login(world, &key.with_extension("pub"));
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
    drop(files);

    let lab = Lab::new(world);
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
            "systemctl is-system-running --wait >/dev/null; systemctl --failed --no-legend; \
             systemctl is-enabled apt-daily-upgrade.timer; cat /etc/machine-id",
        );
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        assert!(
            done.status.success(),
            "{said}{}",
            String::from_utf8_lossy(&done.stderr)
        );
        let lines: Vec<&str> = said.lines().collect();
        assert!(
            matches!(lines[..], ["enabled", id] if id.len() == 32),
            "{said}"
        );
        let known = fs::read_to_string(world.path(&format!("known-{name}"))).unwrap();
        let host_key = known.split_whitespace().last().unwrap().to_owned();
        told.push((lines[1].to_owned(), host_key));
    }
    assert!(told[0].0 != told[1].0 && told[0].1 != told[1].1, "{told:?}");
    drop(machines);
    drop(fs::remove_dir_all(world.path("image")));
}
