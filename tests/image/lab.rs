//! A network for machines: a name space with a bridge in it, an address for each machine by DHCP, and what
//! runs beside the machines, such as their master.

use std::cell::Cell;
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sched::{CloneFlags, setns};

use crate::daemon::binary;
use crate::world::{Process, World, get, wait_for};

/// The host, as its machines see it.
pub(crate) const HOST: &str = "10.99.0.1";
/// Another address of the host, which a firewall can tell from the first.
pub(crate) const STRANGER: &str = "10.99.0.2";
/// A third one, which no firewall knows of.
pub(crate) const OUTSIDER: &str = "10.99.0.3";

/// The network of one test; this thread is in it, and what it starts.
pub(crate) struct Lab<'a> {
    pub(crate) world: &'a World,
    name: String,
    _addresses: Process,
    machines: Cell<u8>,
}

impl<'a> Lab<'a> {
    pub(crate) fn new(world: &'a World) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("crimg-{}-{number}", std::process::id());
        host(&format!(
            "ip netns add {name}; ip -n {name} link set lo up
             ip -n {name} link add bridge type bridge forward_delay 0
             ip -n {name} addr add {HOST}/24 dev bridge; ip -n {name} addr add {STRANGER}/24 dev bridge
             ip -n {name} addr add {OUTSIDER}/24 dev bridge
             ip -n {name} link set bridge up"
        ));
        let network = File::open(format!("/run/netns/{name}")).unwrap();
        setns(network, CloneFlags::CLONE_NEWNET).unwrap();
        let hosts = (1..=99).map(|n| format!("--dhcp-host={},{}", mac(n), address(n)));
        let mut command = Command::new("dnsmasq");
        command
            .args([
                "--keep-in-foreground",
                "--conf-file=/dev/null",
                "--user=root",
            ])
            .args(["--port=0", "--interface=bridge", "--bind-dynamic"])
            .args([
                "--dhcp-range=10.99.0.11,10.99.0.199,1h",
                "--dhcp-authoritative",
            ])
            .arg(format!("--dhcp-option=option:ntp-server,{HOST}"))
            .args(["--pid-file=", "--log-dhcp", "--log-facility=-"])
            .arg(format!(
                "--dhcp-leasefile={}",
                world.path("leases").display()
            ))
            .args(hosts);
        Self {
            world,
            name,
            _addresses: world.start("dhcp", &mut command),
            machines: Cell::new(0),
        }
    }

    /// A cable for the next machine: its number.
    pub(crate) fn cable(&self) -> u8 {
        let number = self.machines.get() + 1;
        self.machines.set(number);
        host(&format!(
            "ip tuntap add tap{number} mode tap; ip link set tap{number} master bridge up"
        ));
        number
    }

    /// Pulls a machine's cable out, or puts it in again.
    pub(crate) fn plug(&self, number: u8, inside: bool) {
        let way = if inside { "master bridge" } else { "nomaster" };
        host(&format!("ip link set tap{number} {way}"));
    }

    /// The time server that machines hear of, from now on: it has this host's time.
    pub(crate) fn clock(&self) -> Process {
        // SNTP (RFC 4330): the client's time of sending comes back, beside that of now, twice.
        let script = format!(
            "import socket, struct, time
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind((\"{HOST}\", 123))
while True:
    asked, client = server.recvfrom(512)
    now = int((time.time() + 2208988800) * 2**32)
    head = struct.pack(\"!BBbbII4s\", 0x24, 1, 6, -20, 0, 0, b\"TEST\")
    server.sendto(head + struct.pack(\"!Q\", now) + asked[40:48] + struct.pack(\"!QQ\", now, now), client)
"
        );
        let mut command = Command::new("python3");
        command.args(["-c", &script]);
        self.world.start("clock", &mut command)
    }

    /// A master on this host, at this port of [`HOST`], HTTP on the next one, for this test alone.
    pub(crate) fn master(&self, name: &str, port: u16, users: &Path, secret: &Path) -> Master<'_> {
        let text = format!(
            "role = \"master\"
[listen]
rtmp = [\"{HOST}:{port}\"]
http = [\"127.0.0.1:{}\"]
control = \"\"
[log]
level = \"debug\"
format = \"text\"
[publish]
users = {users:?}
[master]
secret_file = {secret:?}
[play]
networks = [\"loopback\"]
",
            port + 1
        );
        let file = self.world.write(&format!("{name}.toml"), &text);
        let mut command = Command::new(binary());
        command.arg("--allow-root").arg(file).env("NO_COLOR", "1");
        let master = Master {
            process: self.world.start(name, &mut command),
            port,
            _lab: self,
        };
        wait_for("the master is ready", || {
            assert!(!master.process.ended(), "{}", master.process.said());
            (get(port + 1, "/healthz")?.0 == 200).then_some(())
        });
        master
    }
}

impl Drop for Lab<'_> {
    fn drop(&mut self) {
        let _ = Command::new("ip")
            .args(["netns", "del", &self.name])
            .output();
    }
}

/// A master on the host.
pub(crate) struct Master<'a> {
    pub(crate) process: Process,
    port: u16,
    _lab: &'a Lab<'a>,
}

impl Master<'_> {
    /// Where the user of these tests publishes.
    pub(crate) fn login_url(&self, stream: &str) -> String {
        use crate::daemon::{PASSWORD, USER};
        format!("rtmp://{USER}:{PASSWORD}@{HOST}:{}/{stream}", self.port)
    }

    /// The mirrors that it lists for players.
    pub(crate) fn mirrors(&self) -> usize {
        get(self.port + 1, "/cluster.json").map_or(0, |(_, body)| {
            let list: serde_json::Value = serde_json::from_str(&body).unwrap_or_default();
            list["hosts"].as_array().map_or(0, Vec::len)
        })
    }

    /// What its mirrors pull.
    pub(crate) fn pulls(&self) -> usize {
        let metrics = get(self.port + 1, "/metrics").map_or_else(String::new, |(_, body)| body);
        metrics
            .lines()
            .filter(|line| line.starts_with("crtmpserver_viewers{"))
            .filter_map(|line| line.rsplit_once(' ')?.1.parse::<usize>().ok())
            .sum()
    }
}

/// The address of a machine.
pub(crate) fn address(number: u8) -> IpAddr {
    Ipv4Addr::new(10, 99, 0, 100 + number).into()
}

/// A port of a machine.
pub(crate) fn at(number: u8, port: u16) -> SocketAddr {
    (address(number), port).into()
}

/// The hardware address of a machine.
pub(crate) fn mac(number: u8) -> String {
    format!("52:54:00:99:00:{number:02x}")
}

/// Runs a script on this host that must succeed; tells what it said.
pub(crate) fn host(script: &str) -> String {
    let done = Command::new("sh").args(["-ec", script]).output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "$ {script}\n{said}");
    String::from_utf8_lossy(&done.stdout).into_owned()
}
