//! Acceptors: where the server listens, and for what.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::rules::{ACCEPTOR, COMMAND_LINE, ENCODERS, PROTOCOLS, Way};
use super::writer::{Scope, Writer};
use super::{Item, applications};
use crate::lua::{Table, Value};

/// The key of the command line.
const CLI: &str = "listen.cli";

/// `acceptors`
pub(super) fn acceptors(writer: &mut Writer<'_>, value: &Value, at: &str, scope: &Scope) {
    for (place, acceptor) in writer.each(value, at) {
        accept(writer, acceptor, &place, scope);
    }
}

fn accept(writer: &mut Writer<'_>, acceptor: &Table, at: &str, scope: &Scope) {
    let Some(protocol) = acceptor.text("protocol") else {
        return writer.without(at, "has no protocol: left out");
    };
    let known = PROTOCOLS.iter().find(|(name, _)| *name == protocol);
    let key = match known.map(|(_, way)| way) {
        None => {
            return writer.without(
                at,
                format!(
                    "{protocol:?} is no protocol of an acceptor; the original left it out as well"
                ),
            );
        }
        Some(Way::Nothing(why)) => return writer.without(at, format!("{protocol}: {why}")),
        Some(Way::Takes(key, scheme)) => {
            return takes(writer, acceptor, key, scheme, (at, scope));
        }
        Some(Way::CommandLine) => return command_line(writer, acceptor, at, scope),
        Some(Way::Instead(key, why)) => {
            writer.without(at, *why);
            key
        }
        Some(Way::Listen(key)) => key,
    };
    let Some(address) = address(writer, acceptor, at) else {
        return;
    };
    if !takes_address(writer, address, key, at) {
        return;
    }
    writer.add(key, &address.to_string(), at);
    if protocol == "inboundRtmp" && scope.application != "appselector" {
        writer.otherwise(
            at,
            format!(
                "there whoever connected was given to {name}, whatever application it named; here it names {name} or one of its aliases",
                name = scope.application
            ),
        );
    }
    writer.walk(acceptor, ACCEPTOR, at, scope);
}

/// Whether nobody has this address yet; this key has it from then on.
fn takes_address(
    writer: &mut Writer<'_>,
    address: SocketAddr,
    key: &'static str,
    at: &str,
) -> bool {
    if let Some((_, other)) = writer.taken.iter().find(|(taken, _)| *taken == address) {
        let text = format!("{address} is taken by {other} already: left out");
        writer.without(at, text);
        return false;
    }
    writer.taken.push((address, key));
    true
}

/// Port 1112, for this machine alone.
fn command_line(writer: &mut Writer<'_>, acceptor: &Table, at: &str, scope: &Scope) {
    let Some(mut address) = address(writer, acceptor, at) else {
        return;
    };
    if address.ip().is_unspecified() {
        // Scripts on this machine find it where they always did.
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
        let text = format!(
            "was open to whoever reached this machine, and is on {address} alone: programs elsewhere cannot reach it (docs/verbs.md)"
        );
        writer.without(at, text);
    }
    if !address.ip().is_loopback() {
        let text = format!(
            "whoever reaches {address} could do everything, so that the command line is on addresses of this machine alone: left out; `crtmpserver ctl` has the same verbs, and {CLI} = [\"127.0.0.1:{}\"] the port (docs/verbs.md)",
            address.port()
        );
        return writer.without(at, text);
    }
    if takes_address(writer, address, CLI, at) {
        writer.add(CLI, &address.to_string(), at);
        writer.walk(acceptor, COMMAND_LINE, at, scope);
    }
}

/// Encoders that speak no RTMP, and cannot log in.
fn takes(
    writer: &mut Writer<'_>,
    acceptor: &Table,
    key: &'static str,
    scheme: &str,
    (at, scope): (&str, &Scope),
) {
    let Some(address) = address(writer, acceptor, at) else {
        return;
    };
    let is_udp = scheme.starts_with("udp");
    if let Some((_, other)) = writer
        .taken
        .iter()
        .find(|(taken, _)| *taken == address && !is_udp)
    {
        let text = format!("{address} is taken by {other} already: left out");
        return writer.without(at, text);
    }
    let mut row = vec![("address", Item::Text(format!("{scheme}{address}")))];
    if applications::has_streams(writer, scope) {
        row.push(("application", Item::Text(scope.application.clone())));
    }
    let is_rtsp = key == "listen.rtsp";
    let given = acceptor
        .text("localStreamName")
        .filter(|name| !name.is_empty() && !is_rtsp);
    let needs = key == "listen.ts";
    let stream = given
        .map(str::to_owned)
        .or_else(|| needs.then(|| format!("ts-{}", address.port())));
    if let Some(stream) = stream {
        if given.is_none() {
            let text = format!(
                "has no localStreamName, and is {stream:?}; the original made up another name each time"
            );
            writer.otherwise(at, text);
        }
        row.push(("stream", Item::Text(stream)));
    }
    if acceptor.get("waitForMetadata") == Some(&Value::Flag(true)) && key == "listen.liveflv" {
        row.push(("wait_for_metadata", Item::Flag(true)));
    }
    if writer.row(key, row, at) {
        if !is_udp {
            writer.taken.push((address, key));
        }
        if is_rtsp {
            let text = "takes encoders, under the name of their address and not of their description; nothing is played over RTSP here";
            writer.without(at, text);
        }
        if !address.ip().is_loopback() {
            let text = format!(
                "there everybody could publish, here this machine alone: networks = [\"any\"], or those of the encoders, in the [[{key}]] that `crtmpserver import` writes"
            );
            writer.without(at, text);
        }
        writer.walk(acceptor, ENCODERS, at, scope);
    }
}

fn address(writer: &mut Writer<'_>, acceptor: &Table, at: &str) -> Option<SocketAddr> {
    let ip = match acceptor.get("ip") {
        Some(Value::Text(ip)) => ip.parse::<IpAddr>().ok(),
        _ => None,
    };
    let port = match acceptor.get("port") {
        Some(Value::Number(port)) => port_of(*port),
        Some(Value::Text(port)) => port.parse().ok().filter(|port| *port != 0),
        _ => None,
    };
    if ip.is_none() {
        writer.without(at, "has no numeric address in `ip`: left out");
    }
    if port.is_none() {
        writer.without(at, "has no port from 1 to 65535: left out");
    }
    Some(SocketAddr::new(ip?, port?))
}

fn port_of(number: f64) -> Option<u16> {
    let is_port = (1.0..=65535.0).contains(&number) && number.fract() == 0.0;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "looked at just before"
    )]
    is_port.then_some(number as u16)
}

/// `sslKey`
pub(super) fn key(writer: &mut Writer<'_>, value: &Value, at: &str, scope: &Scope) {
    file(writer, "tls.key", value, at, scope);
}

/// `sslCert`
pub(super) fn certificate(writer: &mut Writer<'_>, value: &Value, at: &str, scope: &Scope) {
    file(writer, "tls.certificate", value, at, scope);
}

fn file(writer: &mut Writer<'_>, key: &'static str, value: &Value, at: &str, scope: &Scope) {
    match value {
        Value::Text(path) if path.is_empty() => {}
        Value::Text(path) => writer.set(key, Item::File(applications::places(path, scope)), at),
        other => writer.wrong(at, other, "the name of a file"),
    }
}

/// HTTP is where RTMP is, when nothing said so; and what no key of the original names.
pub(super) fn finish(writer: &mut Writer<'_>) {
    const HTTP: u16 = 8080;
    // Nobody streams over the command line.
    let others = |(_, key): &&(SocketAddr, &'static str)| *key != CLI;
    let streams: Vec<_> = writer.taken.iter().filter(others).copied().collect();
    let rtmp: Vec<SocketAddr> = (streams.iter())
        .filter(|(_, key)| *key == "listen.rtmp")
        .map(|(address, _)| *address)
        .collect();
    if rtmp.is_empty() && !streams.is_empty() {
        writer.set("listen.rtmp", Item::List(Vec::new()), "acceptors");
    }
    if !rtmp.is_empty() {
        writer.without(
            "inboundRtmp",
            "RTMPE, which the original took on the same port, and shared objects are not here; rtmps:// and HTTPS are (docs/tls.md)",
        );
    }
    if streams.is_empty() || writer.find("listen.http").is_some() {
        return;
    }
    let is_taken = writer
        .taken
        .iter()
        .any(|(address, _)| address.port() == HTTP);
    if is_taken {
        writer.set("listen.http", Item::List(Vec::new()), "acceptors");
        return writer.otherwise(
            "acceptors",
            "HTTP (pages, HTTP-FLV, HLS) has no port, as 8080 is taken: name one in listen.http",
        );
    }
    let mut all: Vec<IpAddr> = rtmp.iter().map(SocketAddr::ip).collect();
    if all.is_empty() {
        all.extend(streams.iter().map(|(address, _)| address.ip()));
    }
    // What listens everywhere leaves no room beside it.
    if let Some(everywhere) = all.iter().find(|ip| ip.is_unspecified()).copied() {
        all = vec![everywhere];
    }
    for ip in all {
        let address = SocketAddr::new(ip, HTTP).to_string();
        writer.add("listen.http", &address, "acceptors");
    }
    writer.otherwise(
        "acceptors",
        "HTTP answers on port 8080, on the addresses of RTMP: pages, HTTP-FLV, HLS (listen.http)",
    );
}
