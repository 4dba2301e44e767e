//! What differs between two configurations, key by key, and when a difference takes effect.

use std::fmt;

use super::settings::{
    Cluster, ControlAt, FileSeek, Files, Hls, Join, Listen, Log, LogFormat, Mirror, Play, Publish,
    Relay, Server, Settings, Takeover,
};
use super::tls::Tls;
use super::value::{Size, Span};
use super::ways::WayKind;
use crate::limits::Limits;
use crate::record::RecordConfig;
use crate::remote::Direction;

/// When a key that was changed takes effect without a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// With the reload, for what is there too.
    AtOnce,
    /// With the reload, for connections, players and streams that come from then on.
    ForNew,
    /// A socket is opened or closed; its connections stay.
    Listener,
    /// With the next start.
    Restart,
    /// Never: another process bound the socket. Only said of a change, never of a key.
    Passed,
}

impl Effect {
    /// As the documents spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AtOnce => "at once",
            Self::ForNew => "for who comes",
            Self::Listener => "new before old",
            Self::Restart => "restart",
            Self::Passed => "never",
        }
    }
}

/// A key of the configuration.
pub struct Key {
    /// With dots, as the file has it.
    pub name: &'static str,
    /// When a change of it takes effect.
    pub effect: Effect,
    value: fn(&Settings) -> String,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: String,
    /// When it takes effect.
    pub effect: Effect,
    /// From what to what, in words.
    pub what: String,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.key, self.what)
    }
}

/// The keys whose values differ, in the order of the documents. Never a secret: those are in files, and
/// the keys name only the files.
#[must_use]
pub fn changes(old: &Settings, new: &Settings) -> Vec<Change> {
    // A setting that is added is not forgotten below.
    let Settings {
        role: _,
        listen:
            Listen {
                rtmp: _,
                http: _,
                rtmps: _,
                https: _,
                control: _,
                cli: _,
            },
        ways: _,
        tls: Tls {
            certificate: _,
            key: _,
        },
        applications: _,
        publish:
            Publish {
                users: _,
                keys: _,
                takeover: _,
                networks: _,
            },
        play: Play {
            networks: _,
            wait: _,
        },
        secret_file: _,
        mirror: _,
        cluster:
            Cluster {
                host: _,
                metadata: _,
                rtmp_port: _,
                http_port: _,
                https_port: _,
                weight: _,
                allow: _,
            },
        relay:
            Relay {
                log_bytes: _,
                log_time: _,
                log_frames: _,
                grace: _,
                join: _,
                join_max: _,
                latency: _,
            },
        hls: Hls {
            enabled: _,
            segment: _,
            window: _,
        },
        files:
            Files {
                folders: _,
                ahead: _,
                seek: _,
                list: _,
                cache_dir: _,
            },
        record,
        remotes: _,
        limits:
            Limits {
                max_connections: _,
                max_pending_per_address: _,
                max_pending: _,
                handshake_timeout: _,
                connect_timeout: _,
                idle_timeout: _,
                publish_timeout: _,
                ping_after: _,
                silence_timeout: _,
                send_timeout: _,
                min_chunk_size: _,
                max_audio: _,
                max_video: _,
                max_streams: _,
                max_viewers: _,
                max_mbit_s: _,
            },
        log: Log {
            level: _,
            format: _,
        },
        server:
            Server {
                threads: _,
                stop_grace: _,
                state: _,
            },
        lack: _,
    } = new;
    known(new.mirror.as_ref());
    no_more(record);
    KEYS.iter().filter_map(|key| key.change(old, new)).collect()
}

/// A setting of recordings that is added is not forgotten below.
const fn no_more(record: &RecordConfig) {
    let RecordConfig {
        streams: _,
        publishers: _,
        replace: _,
        folder: _,
        format: _,
        name: _,
        length: _,
        size: _,
        min_free: _,
    } = record;
}

/// A mirror's setting that is added is not forgotten either.
const fn known(mirror: Option<&Mirror>) {
    if let Some(Mirror {
        master: _,
        ca_file: _,
        streams: _,
    }) = mirror
    {}
}

impl Key {
    fn change(&self, old: &Settings, new: &Settings) -> Option<Change> {
        let (from, to) = ((self.value)(old), (self.value)(new));
        (from != to).then(|| Change {
            key: self.name.to_owned(),
            effect: self.effect,
            what: format!("{from} -> {to}"),
        })
    }
}

const fn at_once(name: &'static str, value: fn(&Settings) -> String) -> Key {
    key(name, Effect::AtOnce, value)
}

const fn for_new(name: &'static str, value: fn(&Settings) -> String) -> Key {
    key(name, Effect::ForNew, value)
}

const fn key(name: &'static str, effect: Effect, value: fn(&Settings) -> String) -> Key {
    Key {
        name,
        effect,
        value,
    }
}

/// Every key there is.
pub const KEYS: &[Key] = &[
    key("role", Effect::Restart, |s| s.role.to_string()),
    for_new("applications", |s| {
        list(s.applications.names().map(|n| &**n))
    }),
    for_new("aliases", |s| {
        list(s.applications.aliases().map(|(a, n)| format!("{a}={n}")))
    }),
    key("listen.rtmp", Effect::Listener, |s| list(&s.listen.rtmp)),
    key("listen.http", Effect::Listener, |s| list(&s.listen.http)),
    key("listen.rtmps", Effect::Listener, |s| list(&s.listen.rtmps)),
    key("listen.https", Effect::Listener, |s| list(&s.listen.https)),
    key("listen.control", Effect::Restart, |s| {
        match &s.listen.control {
            ControlAt::Usual => "the usual place".to_owned(),
            ControlAt::Off => none(),
            ControlAt::Path(path) => path.display().to_string(),
        }
    }),
    key("listen.cli", Effect::Restart, |s| list(&s.listen.cli)),
    key("listen.liveflv", Effect::Listener, |s| {
        ways(s, &[WayKind::LiveFlv])
    }),
    key("listen.ts", Effect::Listener, |s| {
        ways(s, &[WayKind::TcpTs, WayKind::UdpTs])
    }),
    key("listen.rtsp", Effect::Listener, |s| {
        ways(s, &[WayKind::Rtsp])
    }),
    for_new("tls.certificate", |s| file(s.tls.certificate.as_ref())),
    for_new("tls.key", |s| file(s.tls.key.as_ref())),
    for_new("publish.users", |s| file(s.publish.users.as_ref())),
    for_new("publish.keys", |s| file(s.publish.keys.as_ref())),
    for_new("publish.networks", |s| s.publish.networks.to_string()),
    for_new("publish.takeover", |s| {
        match s.publish.takeover {
            Takeover::Silent => "silent",
            Takeover::Always => "always",
            Takeover::Never => "never",
        }
        .to_owned()
    }),
    for_new("play.networks", |s| s.play.networks.to_string()),
    for_new("play.wait", |s| Span(s.play.wait).to_string()),
    for_new("master.secret_file", |s| {
        file(s.secret_file.as_ref().filter(|_| !s.role.is_mirror()))
    }),
    at_once("mirror.master", |s| {
        let master = s.mirror.as_ref().map(|m| m.master.to_string());
        master.unwrap_or_else(none)
    }),
    for_new("mirror.secret_file", |s| {
        file(s.secret_file.as_ref().filter(|_| s.role.is_mirror()))
    }),
    at_once("mirror.ca_file", |s| {
        file(s.mirror.as_ref().and_then(|m| m.ca_file.as_ref()))
    }),
    at_once("mirror.streams", |s| {
        list(s.mirror.iter().flat_map(|m| &m.streams))
    }),
    at_once("cluster.host", |s| {
        if s.cluster.host.is_empty() {
            none()
        } else {
            s.cluster.host.clone()
        }
    }),
    at_once("cluster.metadata", |s| s.cluster.metadata.to_string()),
    at_once("cluster.rtmp_port", |s| port(s.cluster.rtmp_port)),
    at_once("cluster.http_port", |s| port(s.cluster.http_port)),
    at_once("cluster.https_port", |s| {
        let port = s.cluster.https_port.map(|p| p.to_string());
        port.unwrap_or_else(none)
    }),
    at_once("cluster.weight", |s| {
        let weight = s.cluster.weight.map(|w| w.to_string());
        weight.unwrap_or_else(auto)
    }),
    for_new("cluster.allow", |s| list(&s.cluster.allow)),
    at_once("relay.log_bytes", |s| size(s.relay.log_bytes)),
    at_once("relay.log_time", |s| Span(s.relay.log_time).to_string()),
    at_once("relay.log_frames", |s| s.relay.log_frames.to_string()),
    at_once("relay.grace", |s| {
        let grace = s.relay.grace.map(|d| Span(d).to_string());
        grace.unwrap_or_else(|| "unlimited".to_owned())
    }),
    for_new("relay.join", |s| {
        match s.relay.join {
            Join::Gop => "gop",
            Join::Keyframe => "keyframe",
        }
        .to_owned()
    }),
    at_once("relay.latency", |s| {
        let latency = s.relay.latency.map(|d| Span(d).to_string());
        latency.unwrap_or_else(auto)
    }),
    for_new("relay.join_max", |s| Span(s.relay.join_max).to_string()),
    at_once("hls.enabled", |s| s.hls.enabled.to_string()),
    for_new("hls.segment", |s| Span(s.hls.segment).to_string()),
    for_new("hls.window", |s| s.hls.window.to_string()),
    for_new("files.folders", |s| {
        list(s.files.folders.iter().map(|folder| folder.display()))
    }),
    for_new("files.ahead", |s| Span(s.files.ahead).to_string()),
    for_new("files.seek", |s| {
        match s.files.seek {
            FileSeek::Key => "key",
            FileSeek::Exact => "exact",
        }
        .to_owned()
    }),
    at_once("files.list", |s| s.files.list.to_string()),
    at_once("files.cache_dir", |s| file(s.files.cache_dir.as_ref())),
    at_once("record.streams", |s| list(&s.record.streams)),
    for_new("record.publishers", |s| s.record.publishers.to_string()),
    for_new("record.replace", |s| s.record.replace.to_string()),
    at_once("record.folder", |s| s.record.folder.display().to_string()),
    at_once("record.format", |s| s.record.format.as_str().to_owned()),
    at_once("record.name", |s| s.record.name.to_string()),
    at_once("record.length", |s| {
        let length = s.record.length.map(|d| Span(d).to_string());
        length.unwrap_or_else(|| "unlimited".to_owned())
    }),
    at_once("record.size", |s| {
        let size = s.record.size.map(|n| Size(n).to_string());
        size.unwrap_or_else(|| "unlimited".to_owned())
    }),
    at_once("record.min_free", |s| Size(s.record.min_free).to_string()),
    at_once("pull", |s| remotes(s, Direction::Pull)),
    at_once("push", |s| remotes(s, Direction::Push)),
    for_new("limits.max_connections", |s| {
        s.limits.max_connections.to_string()
    }),
    for_new("limits.max_pending_per_address", |s| {
        s.limits.max_pending_per_address.to_string()
    }),
    for_new("limits.max_pending", |s| s.limits.max_pending.to_string()),
    for_new("limits.max_streams", |s| s.limits.max_streams.to_string()),
    for_new("limits.max_viewers", |s| most(s.limits.max_viewers)),
    for_new("limits.max_mbit_s", |s| most(s.limits.max_mbit_s)),
    for_new("limits.handshake_timeout", |s| {
        Span(s.limits.handshake_timeout).to_string()
    }),
    for_new("limits.connect_timeout", |s| {
        Span(s.limits.connect_timeout).to_string()
    }),
    for_new("limits.idle_timeout", |s| {
        Span(s.limits.idle_timeout).to_string()
    }),
    for_new("limits.publish_timeout", |s| {
        Span(s.limits.publish_timeout).to_string()
    }),
    for_new("limits.ping_after", |s| {
        Span(s.limits.ping_after).to_string()
    }),
    for_new("limits.silence_timeout", |s| {
        Span(s.limits.silence_timeout).to_string()
    }),
    at_once("limits.send_timeout", |s| {
        Span(s.limits.send_timeout).to_string()
    }),
    for_new("limits.min_chunk_size", |s| {
        s.limits.min_chunk_size.to_string()
    }),
    for_new("limits.max_audio", |s| size(s.limits.max_audio)),
    for_new("limits.max_video", |s| size(s.limits.max_video)),
    at_once("log.level", |s| s.log.level.clone()),
    key("log.format", Effect::Restart, |s| {
        match s.log.format {
            LogFormat::Auto => "auto",
            LogFormat::Text => "text",
            LogFormat::Journal => "journal",
        }
        .to_owned()
    }),
    key("server.threads", Effect::Restart, |s| {
        let threads = s.server.threads.map(|n| n.to_string());
        threads.unwrap_or_else(auto)
    }),
    at_once("server.stop_grace", |s| {
        Span(s.server.stop_grace).to_string()
    }),
    key("server.state", Effect::Restart, |s| {
        file(s.server.state.as_ref())
    }),
];

/// Without what is secret; a password that changed is not told.
fn remotes(settings: &Settings, direction: Direction) -> String {
    let all = settings.remotes.iter();
    list(all.filter(|spec| spec.direction == direction))
}

fn ways(settings: &Settings, kinds: &[WayKind]) -> String {
    list(settings.ways.iter().filter(|way| kinds.contains(&way.kind)))
}

fn none() -> String {
    "none".to_owned()
}

fn auto() -> String {
    "auto".to_owned()
}

/// That of the listener, when none is said.
fn port(port: Option<u16>) -> String {
    port.map_or_else(auto, |port| port.to_string())
}

fn most(bound: Option<u32>) -> String {
    bound.map_or_else(|| "unlimited".to_owned(), |most| most.to_string())
}

fn size(bytes: usize) -> String {
    Size(u64::try_from(bytes).unwrap_or(u64::MAX)).to_string()
}

fn file(path: Option<&std::path::PathBuf>) -> String {
    path.map_or_else(none, |path| path.display().to_string())
}

fn list<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    format!("[{}]", items.join(", "))
}
