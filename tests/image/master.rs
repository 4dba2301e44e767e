//! The master's image at work.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};

use crate::daemon::{PASSWORD, USER, mirror_binary};
use crate::lab::{HOST, Lab, OUTSIDER, STRANGER, host};
use crate::machine::{BOOT, Machine, Start};
use crate::media::{Packets, programme};
use crate::programs::{publish, watch, watched};
use crate::recipe::Images;
use crate::world::{World, get, wait_within};

/// A connection from one of the host's addresses.
fn connect_from(address: &str, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    let source: Ipv4Addr = address.parse().unwrap();
    socket.bind(&SockAddr::from(SocketAddr::from((source, 0))))?;
    socket.connect_timeout(&SockAddr::from(to), Duration::from_secs(4))?;
    Ok(socket.into())
}

pub(crate) fn takes_a_publisher(world: &World) {
    let images = Images::get();
    let image = images.master();
    let lab = Lab::new(world);
    // What somebody types for its secret and its users is left out: the baked in ones count, below.
    let words = "\"systemd.set_credential=crtmpserver.users:# nobody\" \
                 systemd.set-credential='crtmpserver.secret:0123456789abcdef0123456789abcdef'";
    let machine = Machine::start(&lab, "master", image, &Start::Kernel(words), &[]);
    machine.wait_port(1935);
    machine.wait_console(&["users on the kernel's command", "a secret on the kernel's"]);
    // RTMP, for the networks that it was told; nothing else.
    for port in [22, 443, 5355, 8080, 9000] {
        assert!(machine.is_silent(port), "port {port} answers");
    }
    assert!(connect_from(OUTSIDER, machine.at(1935)).is_err());
    // Publishers come from one address, mirrors from another.
    for address in [HOST, STRANGER] {
        drop(connect_from(address, machine.at(1935)).unwrap());
    }
    // A mirror on the host, whose link comes from the address that only the mirrors' list has.
    let address = machine.at(1935).ip();
    host(&format!(
        "ip route add {address}/32 dev bridge src {STRANGER}"
    ));
    let keys = format!(
        "role = \"mirror\"
[listen]
rtmp = [\"127.0.0.1:1935\"]
http = [\"127.0.0.1:8080\"]
control = \"\"
[mirror]
master = \"rtmp://{}\"
secret_file = {:?}
",
        machine.at(1935),
        images.secret
    );
    let file = world.write("mirror.toml", &keys);
    let mut command = Command::new(mirror_binary());
    command.arg("--allow-root").arg(file);
    let _mirror = world.start("mirror", &mut command);
    wait_within(BOOT, "the mirror has its master", || {
        (get(8080, "/healthz")?.0 == 200).then_some(())
    });
    let links = |from: &str| {
        host(&format!(
            "ss --no-header --tcp --numeric state established src {from} dst {address}:1935"
        ))
    };
    assert!(!links(STRANGER).is_empty() && links(HOST).is_empty());
    // The encoder's connection comes from where publishers are.
    host(&format!("ip route del {address}/32 dev bridge"));
    // Who has no password, or a wrong one, does not come in.
    for (name, login) in [
        ("nobody", String::new()),
        ("wrong", format!("{USER}:wrong@")),
    ] {
        let url = format!("rtmp://{login}{}/live/event", machine.at(1935));
        let mut encoder = publish(world, name, &programme(), &url);
        assert!(!encoder.wait(BOOT).success(), "{name}");
    }
    let source = Packets::of_file(world, "ffmpeg", "source", &programme());
    let url = format!("rtmp://{USER}:{PASSWORD}@{}/live/event", machine.at(1935));
    let _encoder = publish(world, "encoder", &programme(), &url);
    wait_within(BOOT, "the stream is on the mirror", || {
        get(8080, "/")?.1.contains("live/event").then_some(())
    });
    let watcher = watch(world, "watcher", "rtmp://127.0.0.1:1935/live/event");
    watched(&watcher, 100).assert_part_of(&source, 100);
}
