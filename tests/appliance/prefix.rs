//! `packaging/install.sh`, for who has no packages.

use std::fs;
use std::process::Command;

use crate::image::{files, programs, run};
use crate::live::encoder;
use crate::machine::Machine;
use crate::world::World;

pub(crate) fn there_and_away_again(world: &World) {
    // The programs, as cargo leaves them.
    let built = world.path("built");
    fs::create_dir_all(built.join("examples")).unwrap();
    fs::copy(programs().join("crtmpserver"), built.join("crtmpserver")).unwrap();
    fs::copy(
        programs().join("completions"),
        built.join("examples/completions"),
    )
    .unwrap();
    let mut strip = Command::new("strip");
    run(world, "strip", strip.arg(built.join("crtmpserver")));
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/install.sh");
    let install = |destination: &str, arguments: &[&str]| {
        let mut command = Command::new(script);
        command
            .args(arguments)
            .env("PROGRAMS", &built)
            .env("DESTDIR", world.path(destination));
        run(world, destination, &mut command)
    };

    // Under a folder, and away again, without a trace.
    install("stage", &["/usr/local"]);
    let program = world.path("stage/usr/local/bin/crtmpserver");
    let mut command = Command::new(program);
    let configuration = world.path("stage/usr/local/etc/crtmpserver/crtmpserver.toml");
    run(world, "check", command.arg("check").arg(&configuration));
    install("stage", &["/usr/local", "--remove"]);
    assert_eq!(
        files(&world.path("stage/usr/local")),
        Vec::<std::path::PathBuf>::new()
    );
    // What was edited stays.
    install("stage", &["/usr/local"]);
    fs::write(&configuration, "# an edit\n").unwrap();
    let said = install("stage", &["/usr/local"]);
    assert!(said.contains("kept, since it was edited"), "{said}");
    install("stage", &["/usr/local", "--remove"]);
    assert_eq!(fs::read_to_string(&configuration).unwrap(), "# an edit\n");

    // On a machine: what it says to type makes a service of it.
    let said = install("machine", &["/opt/crtmpserver"]);
    let machine = Machine::boot(world);
    machine.copy(&world.path("machine/opt/crtmpserver"), "/opt/crtmpserver");
    let lines: Vec<&str> = said
        .lines()
        .filter_map(|l| l.strip_prefix("    "))
        .collect();
    assert!(lines.len() >= 4, "{said}");
    machine.ok(&lines.join(" && "));
    machine.wait_serving();
    machine.ok("systemd-analyze security --no-pager --threshold=11 crtmpserver.service");
    assert!(
        machine
            .ok("ps -o user=,args= -C crtmpserver")
            .contains("/opt/crtmpserver/bin/crtmpserver")
    );
    let _encoder = encoder(world, "encoder");
}
