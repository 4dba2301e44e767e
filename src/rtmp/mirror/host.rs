//! Hosts: the servers that the public may watch on, as mirrors and masters tell each other on a control
//! connection with the command [`HOSTS`].
//!
//! A mirror tells its master what it is itself ([`Announcement`], its load) and which hosts are below it;
//! the master tells its mirrors all hosts. Both tell only what changed: the first message of a connection
//! has `start`, and the one behind which nothing is missing has `whole`.

use std::net::IpAddr;

use bytes::{Bytes, BytesMut};

use super::{VERSION, id_field, id_list};
use crate::amf::Value;
use crate::rtmp::chunk::{Envelope, write_payload};
use crate::rtmp::command::Command;
use crate::rtmp::message::kind;

/// Command of both sides: [`Hosts`]. Transaction 0, so that a side that does not know it stays silent.
pub const HOSTS: &str = "crtmpHosts";
/// The largest [`Load::weight`].
pub const MAX_WEIGHT: u16 = 1000;
/// Hosts in one message.
pub const MAX_HOSTS_TOLD: usize = 100;
/// Bytes of all hosts in one message ([`Host::cost`]), so that it fits into
/// [`MAX_COMMAND`](crate::limits::MAX_COMMAND) beside the ids of those that left.
pub const MAX_HOSTS_BYTES: usize = 32 * 1024;
/// Ids of hosts that left in one message.
pub const MAX_GONE_TOLD: usize = 500;
/// Bytes of a host's name, or of the template that it is made by: what DNS has room for.
pub const MAX_HOST_NAME: usize = 253;
/// The chunk stream of [`Hosts::message`]. Nothing else is written on it, as a writer that compresses
/// headers does not see what goes past it.
const CHUNK_STREAM: u32 = 7;
/// Bytes of a base URL.
const MAX_BASE: usize = 300;

/// Whether a host takes viewers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, PartialOrd, Ord)]
pub enum HostState {
    /// It does.
    #[default]
    Ready,
    /// It has as many as it can carry.
    Full,
    /// It is about to go, and asks its viewers to move.
    Draining,
}

impl HostState {
    /// As it is on the wire and in `/cluster.json`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Full => "full",
            Self::Draining => "draining",
        }
    }

    /// A state that a later release invents is none to send viewers to.
    fn parse(text: Option<&str>) -> Self {
        match text {
            None | Some("ready") => Self::Ready,
            Some("draining") => Self::Draining,
            Some(_) => Self::Full,
        }
    }
}

/// What a host carries, and what it can.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    /// Whether it takes viewers.
    pub state: HostState,
    /// Its share of new viewers, relative to the others; at most [`MAX_WEIGHT`].
    pub weight: u16,
    /// Who watches there; pulls of other servers do not count.
    pub viewers: u32,
    /// What goes out, kbit/s.
    pub kbit: u32,
    /// Viewers that it can carry, when that is bounded.
    pub max_viewers: Option<u32>,
    /// What it can send, kbit/s, when that is bounded.
    pub max_kbit: Option<u32>,
}

/// Base URLs without a trailing slash, of the protocols that a host serves.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Urls {
    /// `rtmp://HOST:PORT`
    pub rtmp: Option<String>,
    /// `http://HOST:PORT`
    pub http: Option<String>,
    /// `https://HOST:PORT`
    pub https: Option<String>,
}

impl Urls {
    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rtmp.is_none() && self.http.is_none() && self.https.is_none()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        let all = [&self.rtmp, &self.http, &self.https];
        all.into_iter().flatten().map(String::as_str)
    }
}

/// A server that the public may watch on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Its id, made anew at each of its starts.
    pub id: String,
    /// Where it is.
    pub urls: Urls,
    /// What it carries.
    pub load: Load,
}

impl Host {
    /// Bytes that it takes in a message at most.
    #[must_use]
    pub fn cost(&self) -> usize {
        let urls = self
            .urls
            .iter()
            .map(str::len)
            .fold(0, usize::saturating_add);
        // Its id, its numbers, and the names of the fields.
        urls.saturating_add(220)
    }
}

/// Where a mirror says that the public finds it. Its master makes [`Urls`] of it: it knows the address
/// that the mirror's connection comes from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Announcement {
    /// A name, an address, or a template for a name such as `{ip-dashed}.m.example.org`; empty when the
    /// address will do.
    pub host: String,
    /// The public address, when the mirror learned it from its cloud.
    pub ip: Option<IpAddr>,
    /// Ports by protocol.
    pub rtmp: Option<u16>,
    /// See `rtmp`.
    pub http: Option<u16>,
    /// See `rtmp`.
    pub https: Option<u16>,
}

/// The argument of [`HOSTS`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hosts {
    /// What was told on this connection before does not count any more.
    pub start: bool,
    /// Nothing is missing behind this message.
    pub whole: bool,
    /// The sender itself, to its master.
    pub own: Option<(Announcement, Load)>,
    /// Hosts that are new, or changed.
    pub hosts: Vec<Host>,
    /// Hosts that left.
    pub gone: Vec<String>,
}

impl Hosts {
    /// As the argument of [`HOSTS`]; at most [`MAX_HOSTS_TOLD`] and [`MAX_GONE_TOLD`] entries.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let hosts = self.hosts.iter().take(MAX_HOSTS_TOLD).map(host_value);
        let gone = self.gone.iter().take(MAX_GONE_TOLD);
        let mut fields = vec![
            ("v".to_owned(), VERSION.into()),
            ("start".to_owned(), self.start.into()),
            ("whole".to_owned(), self.whole.into()),
            ("hosts".to_owned(), Value::StrictArray(hosts.collect())),
            (
                "gone".to_owned(),
                Value::StrictArray(gone.map(|id| id.as_str().into()).collect()),
            ),
        ];
        if let Some((announcement, load)) = &self.own {
            fields.push(("own".to_owned(), own_value(announcement, load)));
        }
        Value::Object(fields)
    }

    /// The command in one piece for every peer with this chunk size, whatever it was sent before.
    #[must_use]
    pub fn message(&self, chunk_size: u32) -> Bytes {
        let call = Command::notice(HOSTS, vec![self.to_value()]);
        let envelope = Envelope {
            chunk_stream: CHUNK_STREAM,
            kind: kind::COMMAND_AMF0,
            timestamp: 0,
            stream: 0,
        };
        let payload = call.encode(envelope.kind);
        let mut out = BytesMut::with_capacity(payload.len().saturating_add(32));
        write_payload(&mut out, chunk_size, &envelope, &payload);
        out.freeze()
    }

    /// Reads the argument of [`HOSTS`]; entries that make no sense are left out.
    #[must_use]
    pub fn from_value(value: &Value) -> Option<Self> {
        let Some(Value::StrictArray(hosts)) = value.get("hosts") else {
            return None;
        };
        let flag = |key| value.get(key).and_then(Value::as_bool).unwrap_or(false);
        let own = value.get("own").map(|own| (announced(own), load_of(own)));
        Some(Self {
            start: flag("start"),
            whole: flag("whole"),
            own,
            hosts: hosts
                .iter()
                .take(MAX_HOSTS_TOLD)
                .filter_map(host_of)
                .collect(),
            gone: id_list(value, "gone", MAX_GONE_TOLD),
        })
    }
}

fn own_value(announcement: &Announcement, load: &Load) -> Value {
    let mut fields = load_fields(load);
    if !announcement.host.is_empty() {
        fields.push(("host".to_owned(), announcement.host.as_str().into()));
    }
    if let Some(ip) = announcement.ip {
        fields.push(("ip".to_owned(), ip.to_string().into()));
    }
    for (key, port) in [
        ("rtmp", announcement.rtmp),
        ("http", announcement.http),
        ("https", announcement.https),
    ] {
        if let Some(port) = port {
            fields.push((key.to_owned(), f64::from(port).into()));
        }
    }
    Value::Object(fields)
}

fn announced(value: &Value) -> Announcement {
    let text = |key| value.get(key).and_then(Value::as_str);
    let port = |key| u16::try_from(number(value, key)?).ok().filter(|p| *p > 0);
    let host = text("host").unwrap_or_default();
    Announcement {
        host: if host.len() <= MAX_HOST_NAME {
            host.to_owned()
        } else {
            String::new()
        },
        ip: text("ip").and_then(|ip| ip.parse().ok()),
        rtmp: port("rtmp"),
        http: port("http"),
        https: port("https"),
    }
}

fn load_fields(load: &Load) -> Vec<(String, Value)> {
    let mut fields: Vec<(String, Value)> = vec![
        ("state".to_owned(), load.state.as_str().into()),
        ("weight".to_owned(), f64::from(load.weight).into()),
        ("viewers".to_owned(), f64::from(load.viewers).into()),
        ("kbit".to_owned(), f64::from(load.kbit).into()),
    ];
    for (key, bound) in [("maxViewers", load.max_viewers), ("maxKbit", load.max_kbit)] {
        if let Some(bound) = bound {
            fields.push((key.to_owned(), f64::from(bound).into()));
        }
    }
    fields
}

/// Whatever a host says of itself, it is within bounds behind this.
fn load_of(value: &Value) -> Load {
    let whole = |key| number(value, key);
    let weight = whole("weight").unwrap_or(0).min(u32::from(MAX_WEIGHT));
    Load {
        state: HostState::parse(value.get("state").and_then(Value::as_str)),
        weight: u16::try_from(weight).unwrap_or(MAX_WEIGHT),
        viewers: whole("viewers").unwrap_or(0),
        kbit: whole("kbit").unwrap_or(0),
        max_viewers: whole("maxViewers"),
        max_kbit: whole("maxKbit"),
    }
}

fn host_value(host: &Host) -> Value {
    let mut fields = vec![("id".to_owned(), host.id.as_str().into())];
    fields.extend(load_fields(&host.load));
    for (key, url) in [
        ("rtmp", &host.urls.rtmp),
        ("http", &host.urls.http),
        ("https", &host.urls.https),
    ] {
        if let Some(url) = url {
            fields.push((key.to_owned(), url.as_str().into()));
        }
    }
    Value::Object(fields)
}

fn host_of(value: &Value) -> Option<Host> {
    let url = |key: &'static str| {
        let text = value.get(key)?.as_str()?;
        is_base(key, text).then(|| text.to_owned())
    };
    let id = id_field(value, "id")?;
    Some(Host {
        id,
        urls: Urls {
            rtmp: url("rtmp"),
            http: url("http"),
            https: url("https"),
        },
        load: load_of(value),
    })
}

/// A number from 0 to what 32 bits hold; more is that much.
fn number(value: &Value, key: &str) -> Option<u32> {
    let number = value.get(key)?.as_f64()?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the cast saturates, and NaN is left out"
    )]
    (number >= 0.0).then_some(number as u32)
}

/// Whether `text` is `SCHEME://HOST[:PORT]`, nothing more, with a plain host: it is shown to browsers.
#[must_use]
pub fn is_base(scheme: &str, text: &str) -> bool {
    host_in(scheme, text).is_some()
}

/// The host of a base URL, IPv6 without its brackets.
#[must_use]
pub fn host_in<'a>(scheme: &str, text: &'a str) -> Option<&'a str> {
    if text.len() > MAX_BASE {
        return None;
    }
    let rest = text.strip_prefix(scheme)?.strip_prefix("://")?;
    let (host, port, valid) = match rest.strip_prefix('[') {
        Some(rest) => {
            let (ip, port) = rest.split_once(']')?;
            (ip, port, ip.parse::<std::net::Ipv6Addr>().is_ok())
        }
        None => {
            let end = rest.find(':').unwrap_or(rest.len());
            let (host, port) = rest.split_at_checked(end)?;
            (host, port, is_name(host))
        }
    };
    let port_valid = port.is_empty()
        || port
            .strip_prefix(':')
            .and_then(|p| p.parse::<u16>().ok())
            .is_some_and(|p| p > 0);
    (valid && port_valid).then_some(host)
}

/// Whether `text` is a name of DNS or an IPv4 address, as far as its characters tell.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let label = |l: &str| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        (1..=63).contains(&l.len())
            && l.bytes().all(plain)
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    text.len() <= MAX_HOST_NAME && text.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::super::ID_LENGTH;
    use super::*;
    use crate::amf::object;

    fn id(c: char) -> String {
        c.to_string().repeat(ID_LENGTH)
    }

    fn host(c: char) -> Host {
        Host {
            id: id(c),
            urls: Urls {
                rtmp: Some("rtmp://203.0.113.5:1935".into()),
                http: Some("http://[2001:db8::5]:8080".into()),
                https: Some("https://203-0-113-5.m.example.org".into()),
            },
            load: Load {
                state: HostState::Full,
                weight: 7,
                viewers: 12,
                kbit: 34_500,
                max_viewers: Some(1000),
                max_kbit: None,
            },
        }
    }

    fn whole() -> Hosts {
        Hosts {
            start: true,
            whole: true,
            own: Some((
                Announcement {
                    host: "{ip-dashed}.m.example.org".into(),
                    ip: Some("203.0.113.5".parse().unwrap()),
                    rtmp: Some(1935),
                    http: Some(8080),
                    https: None,
                },
                host('a').load,
            )),
            hosts: vec![host('b'), host('c')],
            gone: vec![id('d')],
        }
    }

    #[test]
    fn everything_survives_the_journey() {
        let told = whole();
        assert_eq!(Hosts::from_value(&told.to_value()), Some(told));
        let nothing = Hosts::default();
        assert_eq!(Hosts::from_value(&nothing.to_value()), Some(nothing));
        assert_eq!(Hosts::from_value(&Value::Null), None);
    }

    #[test]
    fn what_is_strange_is_left_out_and_what_is_too_much_is_cut() {
        let entry = |fields: &[(&'static str, Value)]| object(fields.to_vec());
        let value = object([
            (
                "hosts",
                Value::StrictArray(vec![
                    Value::Null,
                    entry(&[("id", "short".into())]),
                    entry(&[
                        ("id", id('a').into()),
                        ("state", "dancing".into()),
                        ("weight", 1e9.into()),
                        ("viewers", (-5.0).into()),
                        ("kbit", f64::NAN.into()),
                        ("maxViewers", 1e300.into()),
                        ("http", "javascript://x".into()),
                        ("rtmp", "rtmp://a b".into()),
                        ("https", "https://ok.example/path".into()),
                        ("colour", "blue".into()),
                    ]),
                ]),
            ),
            ("gone", Value::StrictArray(vec!["x".into(), id('b').into()])),
        ]);
        let told = Hosts::from_value(&value).unwrap();
        assert_eq!(told.gone, [id('b')]);
        let [host] = &told.hosts[..] else {
            panic!("{told:?}")
        };
        assert!(host.urls.is_empty(), "{host:?}");
        assert_eq!(
            host.load,
            Load {
                state: HostState::Full,
                weight: MAX_WEIGHT,
                viewers: 0,
                kbit: 0,
                max_viewers: Some(u32::MAX),
                max_kbit: None,
            }
        );
    }

    #[test]
    fn a_full_message_fits_into_a_command() {
        let told = Hosts {
            hosts: vec![host('a'); MAX_HOSTS_TOLD + 1],
            gone: vec![id('b'); MAX_GONE_TOLD + 1],
            ..whole()
        };
        let call = Command::notice(HOSTS, vec![told.to_value()]);
        let bytes = call.encode(kind::COMMAND_AMF0);
        // As many bytes as are allowed may be more than these hosts have.
        assert!(
            bytes.len() + MAX_HOSTS_BYTES < crate::limits::MAX_COMMAND + 100 * host('a').cost(),
            "{}",
            bytes.len()
        );
        let one = Hosts {
            hosts: vec![host('a')],
            ..Hosts::default()
        };
        let of = |told: &Hosts| {
            let call = Command::notice(HOSTS, vec![told.to_value()]);
            call.encode(kind::COMMAND_AMF0).len()
        };
        let cost = of(&one) - of(&Hosts::default());
        assert!(cost <= host('a').cost(), "{cost}");
        let back = Hosts::from_value(&told.to_value()).unwrap();
        assert_eq!(
            (back.hosts.len(), back.gone.len()),
            (MAX_HOSTS_TOLD, MAX_GONE_TOLD)
        );
    }

    #[test]
    fn a_base_is_a_scheme_a_host_and_a_port() {
        for good in [
            "http://a",
            "http://a.example:80",
            "http://203.0.113.5:8080",
            "http://[::1]:1",
            "http://[2001:db8::1]",
        ] {
            assert!(is_base("http", good), "{good}");
        }
        for bad in [
            "",
            "http://",
            "https://a",
            "http://a/",
            "http://a:0",
            "http://a:x",
            "http://a:1:2",
            "http://u@a",
            "http://a?b",
            "http://-a",
            "http://a..b",
            "http://[::1",
            "http://[x]",
            "http://[::1]x",
            "http://a\"",
            "http://a b",
        ] {
            assert!(!is_base("http", bad), "{bad}");
        }
        assert!(!is_base("http", &format!("http://{}", "a.".repeat(200))));
        assert_eq!(host_in("http", "http://[::1]:80"), Some("::1"));
    }
}
