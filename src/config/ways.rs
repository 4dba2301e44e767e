//! `[[listen.liveflv]]`, `[[listen.ts]]`, `[[listen.rtsp]]`: listeners for encoders that speak no RTMP.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use super::build::Build;
use super::file;
use super::settings::{Role, Settings};
use crate::auth::{Applications, Networks};
use crate::limits::MAX_WAYS;
use crate::media::{StreamName, check_name};

/// What an encoder speaks there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WayKind {
    /// Bare FLV over TCP
    LiveFlv,
    /// MPEG-TS over TCP
    TcpTs,
    /// MPEG-TS over UDP
    UdpTs,
    /// RTSP
    Rtsp,
}

impl WayKind {
    /// As the configuration, units and people call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::LiveFlv => "liveflv",
            Self::TcpTs | Self::UdpTs => "ts",
            Self::Rtsp => "rtsp",
        }
    }

    /// The key of its tables.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::LiveFlv => "listen.liveflv",
            Self::TcpTs | Self::UdpTs => "listen.ts",
            Self::Rtsp => "listen.rtsp",
        }
    }

    /// In the table at the start.
    #[must_use]
    pub const fn inbound(self) -> &'static str {
        match self {
            Self::LiveFlv => "inboundLiveFlv",
            Self::TcpTs => "inboundTcpTs",
            Self::UdpTs => "inboundUdpTs",
            Self::Rtsp => "inboundRtsp",
        }
    }

    /// Whether it takes datagrams.
    #[must_use]
    pub const fn is_udp(self) -> bool {
        matches!(self, Self::UdpTs)
    }
}

/// By which interface a multicast group is joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WayInterface {
    /// Its name
    Name(String),
    /// Its IPv4 address
    Address(Ipv4Addr),
}

impl fmt::Display for WayInterface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// One listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// What is spoken
    pub kind: WayKind,
    /// Where; a multicast address is a group to join
    pub address: SocketAddr,
    /// The application of its streams
    pub app: Arc<str>,
    /// The applications that an encoder may name, with their aliases
    pub applications: Applications,
    /// The stream that it is; `None`: the encoder's metadata or address names it
    pub stream: Option<StreamName>,
    /// Whether a name in the encoder's metadata counts
    pub wait_for_metadata: bool,
    /// Who may publish there
    pub networks: Networks,
    /// By which interface the group is joined
    pub interface: Option<WayInterface>,
    /// The one address that may send datagrams
    pub source: Option<IpAddr>,
}

impl Way {
    /// Where it listens, as the configuration has it.
    #[must_use]
    pub fn place(&self) -> String {
        match self.kind {
            WayKind::LiveFlv | WayKind::Rtsp => self.address.to_string(),
            WayKind::TcpTs => format!("tcp://{}", self.address),
            WayKind::UdpTs => format!("udp://{}", self.address),
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (place, app) = (self.place(), &self.app);
        match &self.stream {
            Some(stream) => write!(f, "{place} to {stream}")?,
            None => write!(f, "{place} to {app}")?,
        }
        if self.wait_for_metadata {
            f.write_str(" (or as it says)")?;
        }
        if self.networks.is_empty() {
            f.write_str(" by stream key")?;
        } else {
            write!(f, " from {}", self.networks)?;
        }
        if let Some(source) = self.source {
            write!(f, " ({source})")?;
        }
        let interface = self.interface.as_ref();
        interface.map_or(Ok(()), |interface| write!(f, " by {interface}"))
    }
}

/// Where the documents have an administrator put the profile for masters, under which a process may
/// open no network socket.
const MASTER_PROFILE: &str = "/etc/systemd/system/crtmpserver.service.d/master.conf";

impl Build<'_> {
    pub(super) fn ways(&mut self, ways: file::Ways, settings: &mut Settings) {
        let keys = ["listen.liveflv", "listen.ts", "listen.rtsp"];
        if settings.role == Role::Mirror {
            for key in keys {
                if self.says(key) {
                    self.wrong(
                        key,
                        "has no meaning on a mirror, which takes no publisher; remove it",
                    );
                }
            }
            return;
        }
        let file::Ways { liveflv, ts, rtsp } = ways;
        let rtsp = rtsp.into_iter().map(|way| (WayKind::Rtsp, way));
        let liveflv = liveflv.into_iter().map(|way| (WayKind::LiveFlv, way));
        let ts = ts.into_iter().map(|way| (WayKind::TcpTs, way));
        for (kind, way) in liveflv.chain(ts).chain(rtsp) {
            match self.way(kind, way, settings) {
                Ok(way) => settings.ways.push(way),
                Err(message) => self.wrong(kind.key(), message),
            }
        }
        if settings.ways.len() > MAX_WAYS {
            self.wrong("listen", format!("has more than {MAX_WAYS} such tables"));
        }
        self.ways_apart(settings);
        self.ways_of_a_master(settings, Path::new(MASTER_PROFILE));
    }

    fn way(&mut self, kind: WayKind, way: file::Way, settings: &Settings) -> Result<Way, String> {
        let right = match kind {
            WayKind::LiveFlv => "address = \"[::]:6666\"",
            WayKind::Rtsp => "address = \"[::]:8554\"",
            _ => "address = \"tcp://[::]:9999\" or address = \"udp://239.1.2.3:5000\"",
        };
        let Some(text) = way.address else {
            return Err(format!("a table has no address; write {right}"));
        };
        let (kind, place) = match kind {
            WayKind::LiveFlv | WayKind::Rtsp => (kind, text.as_str()),
            _ => match (text.strip_prefix("tcp://"), text.strip_prefix("udp://")) {
                (Some(place), _) => (WayKind::TcpTs, place),
                (_, Some(place)) => (WayKind::UdpTs, place),
                _ => return Err(format!("{text:?} is no address; write {right}")),
            },
        };
        let address: SocketAddr = place
            .parse()
            .map_err(|_| format!("{text:?} is no address and port; write {right}"))?;
        let wrong = |what: String| format!("{text}: {what}");
        let multicast = address.ip().is_multicast();
        if multicast && (!kind.is_udp() || address.port() == 0) {
            return Err(wrong("a multicast group needs udp:// and a port".into()));
        }
        let app = match &way.application {
            Some(name) => settings.applications.resolve(name).cloned(),
            None => settings.applications.names().next().cloned(),
        };
        let app = app.ok_or_else(|| {
            let name = way.application.as_deref().unwrap_or_default();
            wrong(format!(
                "application {name:?} is not in `applications`; add it there"
            ))
        })?;
        let stream =
            match &way.stream {
                Some(name) => Some(StreamName::new(&app, name).map_err(|e| {
                    wrong(format!("stream {name:?}: {e}; write stream = \"event\""))
                })?),
                None => None,
            };
        if stream.is_some() && kind == WayKind::Rtsp {
            return Err(wrong(
                "the encoder's URL names the stream; remove stream".into(),
            ));
        }
        if stream.is_none() && matches!(kind, WayKind::TcpTs | WayKind::UdpTs) {
            return Err(wrong(
                "an encoder cannot say which stream it is; write stream = \"event\"".into(),
            ));
        }
        if way.wait_for_metadata.is_some() && kind != WayKind::LiveFlv {
            return Err(wrong(
                "wait_for_metadata is for [[listen.liveflv]] alone".into(),
            ));
        }
        let mut networks = Networks::none();
        match &way.networks {
            Some(list) => {
                for item in &list.0 {
                    networks
                        .add(item)
                        .map_err(|e| wrong(format!("networks: {e}")))?;
                }
            }
            None => networks = Networks::loopback(),
        }
        let by_key = kind == WayKind::Rtsp && settings.publish.keys.is_some();
        if networks.is_empty() && !by_key {
            let and = if kind == WayKind::Rtsp {
                ", give it stream keys (publish.keys)"
            } else {
                ""
            };
            return Err(wrong(format!(
                "nobody may publish there; write networks = [\"10.0.0.0/8\"]{and}, or remove the table"
            )));
        }
        Ok(Way {
            kind,
            address,
            wait_for_metadata: kind == WayKind::LiveFlv
                && way.wait_for_metadata.unwrap_or(stream.is_none()),
            app,
            applications: settings.applications.clone(),
            stream,
            networks,
            interface: interface(way.interface.as_deref(), address).map_err(wrong)?,
            source: source(way.source.as_deref(), kind, address).map_err(wrong)?,
        })
    }

    /// No two listeners at one place.
    fn ways_apart(&mut self, settings: &Settings) {
        let listen = &settings.listen;
        let lists = [&listen.rtmp, &listen.http, &listen.rtmps, &listen.https];
        for (i, way) in settings.ways.iter().enumerate() {
            if way.address.port() == 0 {
                continue;
            }
            let place = |other: &Way| (other.kind.is_udp(), other.address);
            let taken = settings.ways.iter().take(i).any(|o| place(o) == place(way));
            let of_list = !way.kind.is_udp() && lists.iter().any(|l| l.contains(&way.address));
            if taken || of_list {
                let message = format!("{} is an address of another listener already", way.place());
                self.wrong(way.kind.key(), message);
            }
        }
    }

    /// Under the profile for masters every socket is passed by a socket unit, and none for datagrams.
    fn ways_of_a_master(&mut self, settings: &Settings, profile: &Path) {
        let udp = settings.ways.iter().find(|way| way.kind.is_udp());
        if let Some(way) = udp
            && settings.role == Role::Master
            && profile.exists()
        {
            let message = format!(
                "{}: the profile for masters ({}) allows no datagrams; take them by TCP, or remove the profile",
                way.place(),
                profile.display()
            );
            self.wrong(way.kind.key(), message);
        }
    }

    /// What is allowed but should be known.
    pub(super) fn inspect_ways(settings: &Settings, warnings: &mut Vec<String>) {
        for way in &settings.ways {
            let (key, place) = (way.kind.key(), way.place());
            if way.networks.is_any() && way.source.is_none() {
                warnings.push(format!(
                    "{key}: {place}: everyone who reaches it may publish, as there is no login"
                ));
            }
            let outside = way.source.is_some_and(|ip| !way.networks.contains(ip));
            if outside {
                warnings.push(format!(
                    "{key}: {place}: nobody may publish there, as source is in none of networks"
                ));
            }
        }
    }
}

fn interface(text: Option<&str>, address: SocketAddr) -> Result<Option<WayInterface>, String> {
    let Some(text) = text else { return Ok(None) };
    if !address.ip().is_multicast() {
        return Err("interface is for multicast groups alone; remove it".into());
    }
    if let Ok(ip) = text.parse::<Ipv4Addr>() {
        return if address.is_ipv4() {
            Ok(Some(WayInterface::Address(ip)))
        } else {
            Err(format!(
                "interface {text:?} is an IPv4 address; name it, such as \"eth0\""
            ))
        };
    }
    // The longest name that Linux and FreeBSD give is 15 bytes; nothing else is a part of it.
    let named = text.len() <= 15 && !text.contains('/') && check_name(text).is_ok();
    if named {
        Ok(Some(WayInterface::Name(text.to_owned())))
    } else {
        Err(format!(
            "interface {text:?} is none; write \"eth0\", or its IPv4 address"
        ))
    }
}

fn source(
    text: Option<&str>,
    kind: WayKind,
    address: SocketAddr,
) -> Result<Option<IpAddr>, String> {
    let Some(text) = text else { return Ok(None) };
    if !kind.is_udp() {
        return Err("source is for udp:// alone; write networks".into());
    }
    let ip: IpAddr = text
        .parse()
        .map_err(|_| format!("source {text:?} is no address; write one such as \"10.0.0.7\""))?;
    if ip.is_ipv4() == address.is_ipv4() || address.ip().is_unspecified() {
        Ok(Some(ip))
    } else {
        Err(format!(
            "source {text:?} is of another family than the address"
        ))
    }
}

#[cfg(test)]
#[cfg(feature = "publish")]
mod tests {
    use super::*;
    use crate::config::{Sources, changes, load};

    fn with(text: &str) -> Result<(Settings, Vec<String>), Vec<String>> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("crtmpserver.toml");
        std::fs::write(&file, text).unwrap();
        let sources = Sources {
            file: Some(file),
            ..Sources::default()
        };
        match load(&sources) {
            Ok(loaded) => Ok((loaded.settings, loaded.warnings)),
            Err(problems) => Err(problems.iter().map(ToString::to_string).collect()),
        }
    }

    #[test]
    fn each_way_in_has_a_table() {
        let (settings, warnings) = with(
            "applications = [\"live\", \"tv\"]\n\
             [[listen.liveflv]]\naddress = \"127.0.0.1:6666\"\n\
             [[listen.liveflv]]\naddress = \"127.0.0.1:6667\"\nstream = \"a\"\n\
             [[listen.ts]]\naddress = \"tcp://[::]:9999\"\napplication = \"tv\"\nstream = \"b\"\nnetworks = [\"10.0.0.0/8\"]\n\
             [[listen.ts]]\naddress = \"udp://239.1.2.3:5000\"\nstream = \"c\"\nnetworks = [\"any\"]\n\
             interface = \"eth0\"\nsource = \"10.0.0.7\"\n",
        )
        .unwrap();
        let shown: Vec<String> = settings.ways.iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [
                "127.0.0.1:6666 to live (or as it says) from loopback",
                "127.0.0.1:6667 to live/a from loopback",
                "tcp://[::]:9999 to tv/b from 10.0.0.0/8",
                "udp://239.1.2.3:5000 to live/c from everyone (10.0.0.7) by eth0",
            ]
        );
        assert!(warnings.is_empty(), "{warnings:?}");
        let (_, warnings) = with(
            "[[listen.ts]]\naddress = \"udp://[::]:5000\"\nstream = \"c\"\nnetworks = [\"any\"]\n",
        )
        .unwrap();
        assert!(
            warnings.iter().any(|w| w.contains("no login")),
            "{warnings:?}"
        );
        let differ = changes(&Settings::default(), &settings);
        let keys: Vec<&str> = differ.iter().map(|c| c.key.as_str()).collect();
        assert_eq!(keys, ["applications", "listen.liveflv", "listen.ts"]);
    }

    #[test]
    fn nonsense_is_named() {
        let ts = |rest: &str| format!("[[listen.ts]]\n{rest}");
        let flv = |rest: &str| format!("[[listen.liveflv]]\n{rest}");
        let udp = |rest: &str| {
            ts(&format!(
                "address = \"udp://239.1.2.3:5000\"\nstream = \"a\"\n{rest}"
            ))
        };
        for (text, part) in [
            (ts("stream = \"a\""), "listen.ts: a table has no address"),
            (
                ts("address = \"[::]:1\"\nstream = \"a\""),
                "\"[::]:1\" is no address",
            ),
            (
                ts("address = \"udp://here\"\nstream = \"a\""),
                "is no address and port",
            ),
            (
                ts("address = \"tcp://239.1.2.3:5\"\nstream = \"a\""),
                "needs udp://",
            ),
            (ts("address = \"tcp://[::]:1\""), "stream = \"event\""),
            (
                ts("address = \"tcp://[::]:1\"\nstream = \"../x\""),
                "is not allowed",
            ),
            (ts("address = \"tcp://[::]:1\"\nadress = 1"), "is not known"),
            (
                flv("address = \"tcp://[::]:1\""),
                "write address = \"[::]:6666\"",
            ),
            (flv("address = \"[::]:1935\""), "another listener already"),
            (
                flv("address = \"[::]:1\"\napplication = \"tv\""),
                "\"tv\" is not in",
            ),
            (
                flv("address = \"[::]:1\"\nnetworks = [\"x\"]"),
                "networks: \"x\"",
            ),
            (
                flv("address = \"[::]:1\"\nnetworks = []"),
                "nobody may publish",
            ),
            (
                "[[listen.rtsp]]\naddress = \"[::]:1\"\nnetworks = []\n".to_owned(),
                "give it stream keys (publish.keys)",
            ),
            (
                flv("address = \"[::]:1\"\nsource = \"::1\""),
                "for udp:// alone",
            ),
            (
                flv("address = \"[::]:1\"\ninterface = \"lo\""),
                "multicast groups alone",
            ),
            (
                udp("wait_for_metadata = true"),
                "for [[listen.liveflv]] alone",
            ),
            (udp("interface = \"a/b\""), "is none"),
            (
                "[[listen.rtsp]]\naddress = \"[::]:1\"\nstream = \"a\"".to_owned(),
                "names the stream",
            ),
            (udp("source = \"::1\""), "another family"),
            (udp("source = \"camera\""), "is no address"),
            (
                format!("{}\n{}", udp(""), udp("")),
                "another listener already",
            ),
        ] {
            let told = with(&text).unwrap_err();
            assert!(told.iter().any(|t| t.contains(part)), "{part}: {told:?}");
        }
        let mirror = format!("role = \"mirror\"\n{}", flv("address = \"[::]:1\""));
        let told = with(&mirror).unwrap_err();
        assert!(
            told.iter().any(|t| t.contains("takes no publisher")),
            "{told:?}"
        );
    }
}
