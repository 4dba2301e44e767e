//! The shape of the configuration file: one struct for each table, nothing checked beyond types.
//!
//! A field that is `None` here has a default that depends on the role; [`super::settings`] knows it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::record::Container;
#[cfg(feature = "publish")]
use super::settings::Takeover;
use super::settings::{FileSeek, Join, LogFormat, Role};
use super::value::{Grace, List, MaxSize, Merge, Metadata, Most, Size, Span, Threads};

/// The whole file.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    pub(super) role: Option<Role>,
    pub(super) applications: Option<List>,
    pub(super) aliases: BTreeMap<String, String>,
    pub(super) listen: Listen,
    pub(super) tls: Tls,
    #[cfg(feature = "publish")]
    pub(super) publish: Publish,
    pub(super) play: Play,
    pub(super) master: Master,
    pub(super) mirror: Mirror,
    pub(super) cluster: Cluster,
    pub(super) relay: Relay,
    pub(super) hls: Hls,
    pub(super) files: Files,
    pub(super) record: Record,
    /// Tables of their own ([`super::remote`]) wherever they are right.
    pub(super) pull: Option<IgnoredAny>,
    pub(super) push: Option<IgnoredAny>,
    pub(super) limits: Limits,
    pub(super) log: Log,
    pub(super) server: Server,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Listen {
    pub(super) rtmp: Option<List>,
    pub(super) http: Option<List>,
    pub(super) rtmps: Option<List>,
    pub(super) https: Option<List>,
    pub(super) control: Option<PathBuf>,
    pub(super) cli: Option<List>,
    pub(super) liveflv: Vec<Way>,
    pub(super) ts: Vec<Way>,
    pub(super) rtsp: Vec<Way>,
}

/// The lists of tables in [`Listen`].
pub(super) struct Ways {
    pub(super) liveflv: Vec<Way>,
    pub(super) ts: Vec<Way>,
    pub(super) rtsp: Vec<Way>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Way {
    pub(super) address: Option<String>,
    pub(super) application: Option<String>,
    pub(super) stream: Option<String>,
    pub(super) wait_for_metadata: Option<bool>,
    pub(super) networks: Option<List>,
    pub(super) interface: Option<String>,
    pub(super) source: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Tls {
    pub(super) certificate: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
}

#[cfg(feature = "publish")]
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Publish {
    pub(super) users: Option<PathBuf>,
    pub(super) keys: Option<PathBuf>,
    pub(super) takeover: Option<Takeover>,
    pub(super) networks: Option<List>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Play {
    pub(super) networks: Option<List>,
    pub(super) wait: Option<Span>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Master {
    pub(super) secret_file: Option<PathBuf>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Mirror {
    pub(super) master: Option<String>,
    pub(super) secret_file: Option<PathBuf>,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) streams: Option<List>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Cluster {
    pub(super) host: Option<String>,
    pub(super) metadata: Option<Metadata>,
    pub(super) rtmp_port: Option<u16>,
    pub(super) http_port: Option<u16>,
    pub(super) https_port: Option<u16>,
    pub(super) weight: Option<u16>,
    pub(super) allow: Option<List>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Relay {
    pub(super) log_bytes: Option<Size>,
    pub(super) log_time: Option<Span>,
    pub(super) log_frames: Option<usize>,
    pub(super) grace: Option<Grace>,
    pub(super) join: Option<Join>,
    pub(super) join_max: Option<Span>,
    pub(super) latency: Option<Merge>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Hls {
    pub(super) enabled: Option<bool>,
    pub(super) segment: Option<Span>,
    pub(super) window: Option<usize>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Files {
    pub(super) folders: Option<List>,
    pub(super) ahead: Option<Span>,
    pub(super) seek: Option<FileSeek>,
    pub(super) list: Option<bool>,
    pub(super) cache_dir: Option<PathBuf>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Record {
    pub(super) streams: Option<List>,
    pub(super) publishers: Option<bool>,
    pub(super) replace: Option<bool>,
    pub(super) folder: Option<PathBuf>,
    pub(super) format: Option<Container>,
    pub(super) name: Option<String>,
    pub(super) length: Option<Grace>,
    pub(super) size: Option<MaxSize>,
    pub(super) min_free: Option<Size>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Limits {
    pub(super) max_connections: Option<usize>,
    pub(super) max_pending_per_address: Option<usize>,
    pub(super) max_pending: Option<usize>,
    pub(super) handshake_timeout: Option<Span>,
    pub(super) connect_timeout: Option<Span>,
    pub(super) idle_timeout: Option<Span>,
    pub(super) publish_timeout: Option<Span>,
    pub(super) ping_after: Option<Span>,
    pub(super) silence_timeout: Option<Span>,
    pub(super) send_timeout: Option<Span>,
    pub(super) min_chunk_size: Option<u32>,
    pub(super) max_audio: Option<Size>,
    pub(super) max_video: Option<Size>,
    pub(super) max_streams: Option<usize>,
    pub(super) max_viewers: Option<Most>,
    pub(super) max_mbit_s: Option<Most>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Log {
    pub(super) level: Option<String>,
    pub(super) format: Option<LogFormat>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Server {
    pub(super) threads: Option<Threads>,
    pub(super) stop_grace: Option<Span>,
    pub(super) state: Option<PathBuf>,
}
