//! docs/event-from-zero.md, as somebody follows it: a master and a mirror, each a machine with a network of
//! its own, an encoder and viewers outside of them.

use crate::machine::{INSIDE, Machine};
use crate::media::programme;
use crate::programs::present;
use crate::world::{Process, World, wait_for};

/// Where the mirror finds its master.
const MASTER: &str = "10.98.0.1";

/// The blocks of shell in their order: on which machine, and what is typed there.
fn blocks() -> Vec<(String, String)> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/event-from-zero.md");
    let text = std::fs::read_to_string(path).unwrap();
    let blocks = text.split("```sh ").skip(1);
    blocks
        .map(|rest| {
            let (place, rest) = rest.split_once('\n').unwrap();
            (
                place.to_owned(),
                rest.split("```").next().unwrap().to_owned(),
            )
        })
        .collect()
}

/// What the document calls things, as they are here.
fn here(block: &str) -> String {
    block
        .replace("https://apt.example.org", "file:/srv/repository")
        .replace(
            "crtmpserver.gpg /usr",
            "/srv/repository/crtmpserver.gpg /usr",
        )
        .replace("apt ", "apt-get -q -y ")
        .replace("--deadline=5m", "--deadline=2s")
}

/// A machine that has only what a provider gives it.
fn bare(world: &World) -> Machine<'_> {
    let machine = Machine::boot(world);
    machine.forget_repository();
    // Of Debian's, which cannot be had from in there.
    machine.write("/usr/local/bin/curl", CURL);
    machine.ok("chmod 755 /usr/local/bin/curl");
    machine
}

/// `curl -f URL`, for a machine without it.
const CURL: &str = "#!/usr/bin/python3
import socket, sys
assert sys.argv[1] == '-f'
where, path = sys.argv[2].removeprefix('http://').split('/', 1)
host, port = where.split(':')
with socket.create_connection((host, int(port)), 20) as server:
    server.sendall(f'GET /{path} HTTP/1.1\\r\\nHost: {where}\\r\\nConnection: close\\r\\n\\r\\n'.encode())
    answer = b''.join(iter(lambda: server.recv(65536), b''))
print(answer.decode())
sys.exit(0 if answer.startswith(b'HTTP/1.1 200') else 22)
";

pub(crate) fn from_zero_to_teardown(world: &World) {
    let [on_master, on_mirror] =
        ["master", "mirror"].map(|name| World::new(&format!("appliance-event-{name}")));
    let master = bare(&on_master);
    let mirror = bare(&on_mirror);
    master.join(MASTER, &mirror, "10.98.0.2");
    mirror.ok(&format!(
        "printf '127.0.0.1 localhost\\n{MASTER} master.example.org\\n' >/etc/hosts"
    ));

    let (mut password, mut encoder): (String, Option<Process>) = (String::new(), None);
    let mut typed = 0;
    for (place, block) in blocks() {
        let block = here(&block);
        match place.as_str() {
            // No provider is here: tests/scale-out looks at what these use.
            "cloud" => continue,
            "master" => {
                let said = follow(&master, &block);
                if block.contains("passwd --generate") {
                    password = said.lines().next().unwrap().to_owned();
                    let secret = master.ok("cat /etc/crtmpserver/secret");
                    mirror.write("/root/secret", &secret);
                }
            }
            "mirror" => drop(follow(&mirror, &block)),
            "encoder" => encoder = Some(publish(world, &master, &block, &password)),
            "viewer" => {
                for line in block.lines().filter(|line| !line.is_empty()) {
                    view(&mirror, line);
                }
            }
            other => panic!("nothing is called {other}"),
        }
        typed += 1;
    }
    assert!(typed > 12, "{typed} blocks");
    drop(encoder);
    master.ok("! test -e /etc/crtmpserver && ! test -e /usr/bin/crtmpserver");
}

/// Types a block on a machine. What a server says of itself there, it may need a moment to say.
fn follow(machine: &Machine<'_>, block: &str) -> String {
    let script = format!("set -e; cd /root; {block}");
    let asks = |line: &str| {
        let looks = ["status", "ctl streams", "ctl mirrors"];
        looks
            .iter()
            .any(|word| line.starts_with(&format!("crtmpserver {word}")))
            || line.starts_with("curl ")
    };
    if !block.lines().all(asks) {
        return machine.ok(&script);
    }
    wait_for(block, || {
        let ended = machine.run(&script);
        // A list without anything in it is no answer yet.
        let empty = block.contains(" ctl ") && ended.out.lines().any(|l| l.starts_with("no "));
        (ended.status.success() && !empty).then_some(ended.out)
    })
}

fn publish(world: &World, master: &Machine<'_>, block: &str, password: &str) -> Process {
    let script = block
        .replace("FILE", &programme().display().to_string())
        .replace("PASSWORD", password)
        .replace("master.example.org", INSIDE);
    assert!(script.starts_with("ffmpeg ") && script.lines().count() == 1);
    let mut command = master.outside_command(&format!("exec {script}"));
    let mut encoder = world.start("encoder", &mut command);
    wait_for("the encoder publishes", || {
        let streams = master.run("crtmpserver ctl streams").out;
        assert!(encoder.running(), "{}", encoder.said());
        streams.contains("live/event").then_some(())
    });
    encoder
}

/// Runs a line beside the mirror; it must find there what it looks for.
fn view(mirror: &Machine<'_>, line: &str) {
    // Built without npm, the pages have no player.
    if line.contains("/player/") && !present("npm") {
        return;
    }
    let program = env!("CARGO_BIN_EXE_crtmpserver");
    let script = line
        .replace("mirror1.example.org", INSIDE)
        .replace("crtmpserver stress", &format!("{program} stress"));
    wait_for(line, || {
        let ended = mirror.outside(&script);
        let said = format!("{}{}", ended.out, ended.err);
        if line.starts_with("crtmpserver stress") {
            assert!(ended.status.success(), "{said}");
        }
        ended.status.success().then_some(())
    });
}
