//! Servers in network namespaces, each with addresses of its own, as machines have them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};
use serde_json::Value;

use crate::daemon::{binary, mirror_binary, secret};
use crate::media::programme;
use crate::viewer::{Tag, Viewer};
use crate::world::{Process, World, get_at, wait_for, wait_within};

/// Whether namespaces can be made here; that takes root, and `ip`.
pub(crate) fn namespaces() -> bool {
    // Once: whoever asked at the same time would find the name taken.
    static MADE: OnceLock<bool> = OnceLock::new();
    *MADE.get_or_init(|| {
        let name = format!("crt-{}-probe", std::process::id());
        let made = ip(&["netns", "add", &name]);
        if made {
            ip(&["netns", "del", &name]);
        }
        made
    })
}

fn ip(arguments: &[&str]) -> bool {
    let status = Command::new("/usr/sbin/ip")
        .args(arguments)
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

fn must_ip(arguments: &[&str]) {
    assert!(ip(arguments), "ip {}", arguments.join(" "));
}

/// One machine: a namespace that goes with this.
struct Machine(String);

impl Machine {
    fn new(name: &str) -> Self {
        let name = format!("crt-{}-{name}", std::process::id());
        must_ip(&["netns", "add", &name]);
        must_ip(&["-n", &name, "link", "set", "lo", "up"]);
        Self(name)
    }

    /// A cable to another machine: the names of its ends are those of the machines, the addresses are in
    /// one network of four.
    fn link(&self, here: (&str, &str), other: &Self, there: (&str, &str)) {
        let (near, far) = (here.0, there.0);
        must_ip(&[
            "-n", &self.0, "link", "add", near, "type", "veth", "peer", "name", far, "netns",
            &other.0,
        ]);
        for (of, (name, address)) in [(self, here), (other, there)] {
            let address = format!("{address}/30");
            must_ip(&["-n", &of.0, "addr", "add", &address, "dev", name]);
            must_ip(&["-n", &of.0, "link", "set", name, "up"]);
        }
    }

    fn set_link(&self, name: &str, state: &str) {
        must_ip(&["-n", &self.0, "link", "set", name, state]);
    }

    /// Runs something on a thread that is on this machine.
    fn on<T: Send + 'static>(&self, what: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        let file = std::fs::File::open(format!("/run/netns/{}", self.0)).expect("a namespace");
        std::thread::spawn(move || {
            setns(file, CloneFlags::CLONE_NEWNET).expect("into the namespace");
            what()
        })
    }

    /// The hosts that the server of this machine lists.
    fn hosts(&self, address: &str) -> Option<Vec<String>> {
        Some(hosts(&self.list(address)?))
    }

    fn list(&self, address: &str) -> Option<Value> {
        let address = format!("{address}:8080").parse().expect("an address");
        let asked = self.on(move || get_at(address, "/cluster.json"));
        let (status, body) = asked.join().expect("a thread")?;
        assert_eq!(status, 200, "{body}");
        Some(serde_json::from_str(&body).expect("a list"))
    }

    /// Somebody on this machine who watches what its server has.
    fn viewer(&self, world: &World, name: &str, address: &str) -> Viewer {
        let address: SocketAddr = format!("{address}:8080").parse().expect("an address");
        wait_for(&format!("{name} finds the stream"), || {
            let asked = self.on(move || get_at(address, "/live/event.json"));
            let (status, _) = asked.join().expect("a thread")?;
            (status == 200).then_some(())
        });
        let socket = self.on(move || TcpStream::connect(address));
        let socket = socket.join().expect("a thread").expect("a connection");
        Viewer::over(world, name, socket, "live/event")
    }

    /// Publishes to the server of this machine.
    fn encoder(&self, world: &World) -> Process {
        let mut command = Command::new("/usr/sbin/ip");
        command
            .args(["netns", "exec", &self.0, "ffmpeg", "-hide_banner", "-re"])
            .args(["-stream_loop", "-1", "-i"])
            .arg(programme())
            .args(["-t", "300", "-c", "copy", "-f", "flv"])
            .arg("rtmp://127.0.0.1/live/event");
        world.start("encoder", &mut command)
    }

    fn server(&self, world: &World, name: &str, binary: &Path, keys: &str) -> Process {
        let text = format!(
            "{keys}\n[listen]\ncontrol = \"\"\n[log]\nlevel = \"info\"\nformat = \"text\"\n"
        );
        let file = world.write(&format!("{name}.toml"), &text);
        let mut command = Command::new("/usr/sbin/ip");
        command
            .args(["netns", "exec", &self.0])
            .arg(binary)
            .arg("--allow-root")
            .arg(file)
            .env("NO_COLOR", "1");
        world.start(name, &mut command)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        ip(&["netns", "del", &self.0]);
    }
}

/// The HTTP addresses of a list, in order of the text.
fn hosts(list: &Value) -> Vec<String> {
    let all = list["hosts"].as_array().expect("hosts").iter();
    let mut all: Vec<String> = all
        .map(|h| h["http"].as_str().unwrap_or_default().to_owned())
        .collect();
    all.sort();
    all
}

/// A metadata service as EC2 has it, for a machine whose public address is this.
fn metadata_service(on: &Machine, public: &'static str) {
    must_ip(&[
        "-n",
        &on.0,
        "addr",
        "add",
        "169.254.169.254/32",
        "dev",
        "lo",
    ]);
    let (ready, is_ready) = std::sync::mpsc::channel();
    on.on(move || {
        let listener = TcpListener::bind("169.254.169.254:80").expect("its address");
        ready.send(()).expect("the test waits");
        for mut socket in listener.incoming().flatten() {
            let mut request = Vec::new();
            let mut byte = [0];
            while !request.ends_with(b"\r\n\r\n") && socket.read(&mut byte).is_ok_and(|n| n == 1) {
                request.extend_from_slice(&byte);
            }
            let request = String::from_utf8_lossy(&request).into_owned();
            let body = if request.starts_with("PUT /latest/api/token ") {
                "a-token"
            } else if request.contains("metadata-token: a-token\r\n") {
                public
            } else {
                ""
            };
            let length = body.len();
            let _ = write!(
                socket,
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}"
            );
        }
    });
    is_ready.recv().expect("it listens");
}

/// ```text
///   public 203.0.113.2  A ----- 203.0.113.1   M   10.0.1.1 ----- B 10.0.1.2  (its cloud: 198.51.100.7)
///          10.0.3.2     D --- A               M   10.0.2.1 ----- C 10.0.2.2  (a template for names)
/// ```
pub(crate) fn machines_list_each_other(world: &World) {
    let [m, a, b, c, d] = ["m", "a", "b", "c", "d"].map(Machine::new);
    m.link(("to-a", "203.0.113.1"), &a, ("to-m", "203.0.113.2"));
    m.link(("to-b", "10.0.1.1"), &b, ("to-m", "10.0.1.2"));
    m.link(("to-c", "10.0.2.1"), &c, ("to-m", "10.0.2.2"));
    a.link(("to-d", "10.0.3.1"), &d, ("to-a", "10.0.3.2"));
    metadata_service(&b, "198.51.100.7");

    let (key, wrong) = (secret(world, "secret"), secret(world, "other-secret"));
    let mirror = |master: &str, key: &Path, more: &str| {
        format!(
            "role = \"mirror\"\n[mirror]\nmaster = \"rtmp://{master}\"\nsecret_file = \"{}\"\n{more}",
            key.display()
        )
    };
    let master = format!(
        "role = \"master\"\n[publish]\nnetworks = [\"loopback\"]\n[play]\nnetworks = [\"10.0.0.0/8\", \"203.0.113.0/24\"]\n[master]\nsecret_file = \"{}\"\n",
        key.display()
    );
    let program = mirror_binary();
    let master = m.server(world, "m", &binary(), &master);
    let _a = a.server(world, "a", &program, &mirror("203.0.113.1", &key, ""));
    let _b = b.server(world, "b", &program, &mirror("10.0.1.1", &key, ""));
    let template = "[cluster]\nhost = \"{ip-dashed}.m.example.org\"\n";
    let mut c_process = c.server(world, "c", &program, &mirror("10.0.2.1", &key, template));
    // Behind a mirror that its master sees on a public address, on a network of its own.
    let _d = d.server(world, "d", &program, &mirror("10.0.3.1", &key, ""));

    let everywhere = [
        "http://10-0-2-2.m.example.org:8080",
        "http://198.51.100.7:8080",
        "http://203.0.113.2:8080",
    ];
    let with_d = [
        "http://10-0-2-2.m.example.org:8080",
        "http://10.0.3.2:8080",
        "http://198.51.100.7:8080",
        "http://203.0.113.2:8080",
    ];
    let until = |machine: &Machine, address: &'static str, wanted: &[&str]| {
        wait_for(&format!("{} lists {wanted:?}", machine.0), || {
            (machine.hosts(address)? == wanted).then_some(())
        });
    };
    until(&m, "10.0.1.1", &everywhere);
    until(&b, "10.0.1.2", &everywhere);
    until(&c, "10.0.2.2", &everywhere);
    // Who is on D's network knows it.
    until(&a, "203.0.113.2", &with_d);
    until(&d, "10.0.3.2", &with_d);
    assert_eq!(count(&master, "mirror-address"), 1, "of D, once");

    let _encoder = m.encoder(world);
    let at_b = b.viewer(world, "viewer-b", "10.0.1.2");
    let at_d = d.viewer(world, "viewer-d", "10.0.3.2");
    at_b.wait_pictures(25);
    at_d.wait_pictures(25);

    // B is cut off without a word: it is in no list within seconds, and knows that its own is old.
    m.set_link("to-b", "down");
    let cut = Instant::now();
    let without_b = [
        "http://10-0-2-2.m.example.org:8080",
        "http://203.0.113.2:8080",
    ];
    until(&m, "203.0.113.1", &without_b);
    until(&c, "10.0.2.2", &without_b);
    let took = cut.elapsed();
    // Six, on a machine that has nothing else to do.
    assert!(took < Duration::from_secs(20), "{took:?}");
    wait_for("B knows that its list is old", || {
        b.list("10.0.1.2")?["stale"].as_u64()
    });
    assert_eq!(
        b.hosts("10.0.1.2").unwrap(),
        everywhere,
        "the last good one"
    );

    // Its viewer hears that the stream waits, and stays; whoever watches behind A has missed nothing.
    wait_for("the viewer of B hears that it waits", || {
        (at_b.count(Tag::is_notice) > 0).then_some(())
    });
    assert_eq!(at_b.ended(), None);
    at_d.wait_more(25);

    // C is killed: its connection breaks, and it is out at once.
    c_process.kill();
    until(&m, "203.0.113.1", &["http://203.0.113.2:8080"]);

    // Somebody tries with a wrong secret, again and again, and the master says so once.
    let e = c.server(world, "e", &program, &mirror("10.0.2.1", &wrong, ""));
    wait_within(Duration::from_secs(60), "it has tried many times", || {
        let list = c.list("10.0.2.2")?;
        (list["stale"].as_u64()? >= 12).then_some(())
    });
    assert_eq!(count(&master, "mirror-secret"), 1);
    drop(e);

    // B is there again.
    m.set_link("to-b", "up");
    until(
        &m,
        "203.0.113.1",
        &["http://198.51.100.7:8080", "http://203.0.113.2:8080"],
    );
    // And so is the picture, on the same connection.
    at_b.wait_more(25);
    for viewer in [at_b, at_d] {
        assert_eq!(viewer.ended(), None);
        viewer.assert_sane();
    }
}

/// Lines of a log with this code.
fn count(process: &Process, code: &str) -> usize {
    let said = process.said();
    said.lines().filter(|line| line.contains(code)).count()
}

/// A machine that has just begun has an address of its link alone, and gets its own one seconds later.
pub(crate) fn a_mirror_is_listed_once_it_has_an_address(world: &World) {
    let [m, a] = ["master", "mirror"].map(Machine::new);
    m.link(("to-a", "192.168.9.1"), &a, ("to-m", "192.168.9.2"));
    // The master answers behind its link, too, as a machine does that routes.
    must_ip(&[
        "-n",
        &m.0,
        "addr",
        "add",
        "fd99::1/64",
        "dev",
        "to-a",
        "nodad",
    ]);
    let all = ["-n", &a.0, "-6", "route", "add", "fd99::/64", "dev", "to-m"];
    wait_for("the link's own addresses", || ip(&all).then_some(()));
    let key = secret(world, "secret");
    let master = format!(
        "role = \"master\"\n[publish]\nnetworks = [\"loopback\"]\n[play]\nnetworks = [\"192.168.9.0/24\"]\n[master]\nsecret_file = \"{}\"\n",
        key.display()
    );
    let mirror = format!(
        "role = \"mirror\"\n[mirror]\nmaster = \"rtmp://[fd99::1]\"\nsecret_file = \"{}\"\n",
        key.display()
    );
    let master = m.server(world, "m", &binary(), &master);
    let mirror = a.server(world, "a", &mirror_binary(), &mirror);
    wait_for("the link", || {
        mirror.said().contains("linked to the master").then_some(())
    });
    wait_for("a word of it", || {
        master
            .said()
            .contains("which viewers cannot reach")
            .then_some(())
    });
    must_ip(&[
        "-n",
        &a.0,
        "addr",
        "add",
        "fd99::2/64",
        "dev",
        "to-m",
        "nodad",
    ]);
    wait_for("it is listed", || {
        let hosts = a.hosts("127.0.0.1")?;
        (hosts == ["http://[fd99::2]:8080"]).then_some(())
    });
    assert!(!master.said().contains("http://[fe80"));
}
