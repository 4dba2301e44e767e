//! What the rest of the program gets: checked values, no strings left to parse.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::tls::Tls;
use super::value::{MasterUrl, Metadata};
use super::ways::Way;
use crate::auth::{Applications, FileError, Networks, PolicyConfig, Publishers, Secret};
use crate::cluster::address::Allowed;
use crate::limits::{
    FILE_AHEAD, GRACE, HLS_WINDOW, LOG_BYTES, LOG_FRAMES, LOG_TIME, Limits, MAX_JOIN_GOP, SEGMENT,
};
use crate::media::StreamName;
use crate::record::RecordConfig;
use crate::relay;
use crate::remote::Spec;
use crate::system::{MEDIA, RECORDINGS};
use crate::telemetry::logging;

/// What this process is in the topology.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Publishers and viewers on one machine.
    Standalone,
    /// Takes publishers, serves mirrors.
    Master,
    /// Pulls from a master or another mirror, serves viewers, refuses publishers.
    Mirror,
}

impl Role {
    /// As the configuration spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Standalone => "standalone",
            Self::Master => "master",
            Self::Mirror => "mirror",
        }
    }
}

impl Default for Role {
    /// Standalone; without publishing there is only one role left.
    fn default() -> Self {
        if cfg!(feature = "publish") {
            Self::Standalone
        } else {
            Self::Mirror
        }
    }
}

impl Role {
    /// Whether it has a master, and takes no publisher.
    #[must_use]
    pub const fn is_mirror(self) -> bool {
        matches!(self, Self::Mirror)
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What happens to a second publisher of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Takeover {
    /// It wins when it has the same credentials and the first has been silent for 1 s.
    #[default]
    Silent,
    /// It wins when it has the same credentials.
    Always,
    /// It is refused.
    Never,
}

impl From<LogFormat> for logging::Form {
    fn from(format: LogFormat) -> Self {
        match format {
            LogFormat::Auto => Self::Auto,
            LogFormat::Text => Self::Text,
            LogFormat::Journal => Self::Journal,
        }
    }
}

/// Where a viewer begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Join {
    /// At the key frame of the cached group of pictures, when that is not older than `join_max`.
    #[default]
    Gop,
    /// At the next key frame.
    Keyframe,
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For journald when it reads standard error, else for people.
    #[default]
    Auto,
    /// Time, level, text; coloured on a terminal.
    Text,
    /// Fields for journald, or lines with a priority prefix where it cannot be reached.
    Journal,
}

/// The checked configuration. [`Settings::default`] is what runs without a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// `role`
    pub role: Role,
    /// `listen`
    pub listen: Listen,
    /// `listen.liveflv`, `listen.ts` and `listen.rtsp`; none on a mirror
    pub ways: Vec<Way>,
    /// `tls`
    pub tls: Tls,
    /// `applications` and `aliases`
    pub applications: Applications,
    /// `publish`; nobody on a mirror
    pub publish: Publish,
    /// `play`
    pub play: Play,
    /// The file with the secret shared by master and mirrors: `master.secret_file` where mirrors
    /// are served, `mirror.secret_file` on a mirror (which serves other mirrors with the same one).
    pub secret_file: Option<PathBuf>,
    /// `mirror`; `Some` when the role is [`Role::Mirror`] and it has a master
    pub mirror: Option<Mirror>,
    /// `cluster`
    pub cluster: Cluster,
    /// What a mirror lacks beside that
    pub lack: Option<Lack>,
    /// `relay`
    pub relay: Relay,
    /// `hls`
    pub hls: Hls,
    /// `files`; none but on a standalone
    pub files: Files,
    /// `record`
    pub record: RecordConfig,
    /// `pull` and `push`
    pub remotes: Vec<Spec>,
    /// `limits`
    pub limits: Limits,
    /// `log`
    pub log: Log,
    /// `server`
    pub server: Server,
}

/// Addresses to listen on; `[::]` serves IPv4 too; port 0 lets the system choose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// RTMP
    pub rtmp: Vec<SocketAddr>,
    /// HTTP
    pub http: Vec<SocketAddr>,
    /// RTMP in TLS
    pub rtmps: Vec<SocketAddr>,
    /// HTTP in TLS
    pub https: Vec<SocketAddr>,
    /// `status` and `ctl`
    pub control: ControlAt,
    /// The command line over TCP; on addresses of this machine alone
    pub cli: Vec<SocketAddr>,
}

/// Where the control socket is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ControlAt {
    /// Where `status` and `ctl` look for it, if that place is free and can be written.
    #[default]
    Usual,
    /// Nowhere.
    Off,
    /// Here, or the server does not start.
    Path(PathBuf),
}

/// Who may publish, and what happens to a second publisher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// The file of users; made by `crtmpserver passwd`
    pub users: Option<PathBuf>,
    /// The file of stream keys; made by `crtmpserver key`
    pub keys: Option<PathBuf>,
    /// A second publisher of the same name
    pub takeover: Takeover,
    /// Who may publish without a login: loopback when there are neither users nor keys, else nobody,
    /// unless said
    pub networks: Networks,
}

/// Who may play, and how long a player waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Play {
    /// Who may play and read over HTTP: everyone, but on a master nobody unless said
    pub networks: Networks,
    /// How long a player waits for a stream that is not there yet
    pub wait: Duration,
}

/// A mirror's source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// Where the master is
    pub master: MasterUrl,
    /// The authorities that an `rtmps://` master is believed by; `None`: those of the system
    pub ca_file: Option<PathBuf>,
    /// Streams to pull from a foreign master; empty: the master announces them
    pub streams: Vec<StreamName>,
}

/// What a mirror lacks for the link to its master. It serves all the same, without being ready, until
/// it is told; in words for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Lack {
    /// Nobody said where the master is.
    #[error(
        "this mirror has no master yet: write master = \"rtmp://HOST\" under [mirror] and reload, or give it by the credential crtmpserver.master or CRTMPSERVER_MIRROR__MASTER and restart"
    )]
    Master,
    /// Neither a secret nor the streams of a foreign master.
    #[error(
        "this mirror has no secret to show to its master yet: name the file that has it with mirror.secret_file, or, for a foreign master, its streams with mirror.streams, and reload"
    )]
    Secret,
    /// The file of the secret is not there.
    #[error(
        "this mirror has no secret to show to its master yet: copy that of the master to {} (root:crtmpserver, mode 0640) and reload",
        .0.display()
    )]
    SecretFile(PathBuf),
}

/// What the public is told of this server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cluster {
    /// A name, an address or a template; on a master that of mirrors that announce none
    pub host: String,
    /// Where a mirror asks for its public address
    pub metadata: Metadata,
    /// The public's port of RTMP, when it is not that of the listener
    pub rtmp_port: Option<u16>,
    /// The public's port of HTTP, when it is not that of the listener
    pub http_port: Option<u16>,
    /// The port where something in front of this server speaks HTTPS
    pub https_port: Option<u16>,
    /// The share of new viewers
    pub weight: Option<u16>,
    /// What mirrors may announce
    pub allow: Vec<Allowed>,
}

/// The log of a stream and how viewers join it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relay {
    /// Most bytes of a stream's log
    pub log_bytes: usize,
    /// Most time in a stream's log
    pub log_time: Duration,
    /// Most frames in a stream's log
    pub log_frames: usize,
    /// How long a stream outlives its source; `None`: for ever
    pub grace: Option<Duration>,
    /// Where a viewer begins
    pub join: Join,
    /// A cached group of pictures that is longer is not sent to a joining viewer
    pub join_max: Duration,
    /// How long frames may collect before they are written; `None`: as the load asks
    pub latency: Option<Duration>,
}

/// HLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hls {
    /// Whether there is any
    pub enabled: bool,
    /// How long a segment is at least; on a mirror the master says it
    pub segment: Duration,
    /// Segments that a playlist names
    pub window: usize,
}

/// Where a play of a file begins when its player seeks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileSeek {
    /// At the key frame before.
    #[default]
    Key,
    /// Exactly there; the picture is whole from the next key frame on.
    Exact,
}

/// Media files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// Where they are; the first folder that has one of a name counts
    pub folders: Vec<PathBuf>,
    /// How far a play runs ahead of its player
    pub ahead: Duration,
    /// Where a seek begins
    pub seek: FileSeek,
    /// Whether everybody who may watch is shown which there are
    pub list: bool,
    /// Where indexes of files are kept over a restart
    pub cache_dir: Option<PathBuf>,
}

/// Logging.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// `error`, `warn`, `info`, `debug`, `trace`, or a filter such as `info,crtmpserver::edge=debug`
    pub level: String,
    /// The form of the lines
    pub format: LogFormat,
}

/// The process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Threads that serve connections; `None`: one for each core
    pub threads: Option<NonZeroUsize>,
    /// How long a stop waits for connections to end
    pub stop_grace: Duration,
    /// The folder of what outlives the process; `None`: the usual one, where there is one
    pub state: Option<PathBuf>,
}

impl Settings {
    /// What [`auth::Policy`](crate::auth::Policy) is made of; reads the secret, and gives a warning
    /// when others may read that too.
    ///
    /// # Errors
    /// The secret cannot be read.
    pub fn policy(&self) -> Result<(PolicyConfig, Option<String>), FileError> {
        let (secret, warning) = match &self.secret_file {
            Some(path) => {
                let (secret, warning) = Secret::read(path)?;
                (Some(secret), warning)
            }
            None => (None, None),
        };
        let publishers = (self.role != Role::Mirror).then(|| Publishers {
            users: self.publish.users.clone(),
            keys: self.publish.keys.clone(),
            networks: self.publish.networks.clone(),
        });
        let config = PolicyConfig {
            applications: self.applications.clone(),
            publishers,
            play: self.play.networks.clone(),
            closed: self.role == Role::Master,
            secret,
        };
        Ok((config, warning))
    }

    /// What keeps this server from a link to its master; `None` when nothing does, or there is none to
    /// be.
    #[must_use]
    pub fn lack(&self) -> Option<Lack> {
        let no_master = self.role.is_mirror() && self.mirror.is_none();
        no_master
            .then_some(Lack::Master)
            .or_else(|| self.lack.clone())
    }

    /// How the hub keeps streams.
    #[must_use]
    pub fn hub(&self) -> relay::HubConfig {
        relay::HubConfig {
            log_bytes: self.relay.log_bytes,
            log_time: self.relay.log_time,
            log_frames: self.relay.log_frames,
            grace: self.relay.grace,
            // Whoever stopped on purpose may come back too, but not for ever.
            clean_grace: self.relay.grace.unwrap_or(GRACE),
            takeover: match self.publish.takeover {
                Takeover::Silent => relay::Takeover::Silent,
                Takeover::Always => relay::Takeover::Always,
                Takeover::Never => relay::Takeover::Never,
            },
            max_streams: self.limits.max_streams,
            segment: self.hls.segment,
            ..relay::HubConfig::default()
        }
    }

    /// Where viewers begin.
    #[must_use]
    pub const fn join_mode(&self) -> relay::JoinMode {
        match self.relay.join {
            Join::Gop => relay::JoinMode::Gop {
                max: self.relay.join_max,
            },
            Join::Keyframe => relay::JoinMode::Keyframe,
        }
    }

    /// The role's defaults; a [`Role::Mirror`] made by this has no master yet.
    #[must_use]
    pub fn for_role(role: Role) -> Self {
        let everywhere = |port| SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, port));
        Self {
            role,
            listen: Listen {
                rtmp: vec![everywhere(1935)],
                http: vec![everywhere(8080)],
                rtmps: Vec::new(),
                https: Vec::new(),
                control: ControlAt::Usual,
                cli: Vec::new(),
            },
            ways: Vec::new(),
            tls: Tls::default(),
            applications: match role {
                Role::Standalone => Applications::usual(),
                Role::Master | Role::Mirror => Applications::default(),
            },
            publish: Publish {
                users: None,
                keys: None,
                takeover: Takeover::Silent,
                networks: match role {
                    Role::Mirror => Networks::none(),
                    Role::Standalone | Role::Master => Networks::loopback(),
                },
            },
            play: Play {
                networks: match role {
                    Role::Master => Networks::none(),
                    Role::Standalone | Role::Mirror => Networks::any(),
                },
                wait: Duration::from_secs(5),
            },
            secret_file: None,
            mirror: None,
            cluster: Cluster::default(),
            lack: None,
            relay: Relay {
                log_bytes: LOG_BYTES,
                log_time: LOG_TIME,
                log_frames: LOG_FRAMES,
                grace: match role {
                    Role::Mirror => None,
                    Role::Standalone | Role::Master => Some(GRACE),
                },
                join: Join::Gop,
                join_max: MAX_JOIN_GOP,
                latency: None,
            },
            hls: Hls {
                enabled: true,
                segment: SEGMENT,
                window: HLS_WINDOW,
            },
            files: Files {
                folders: match role {
                    Role::Standalone => vec![MEDIA.into()],
                    Role::Master | Role::Mirror => Vec::new(),
                },
                ahead: FILE_AHEAD,
                seek: FileSeek::Key,
                list: true,
                cache_dir: None,
            },
            record: RecordConfig::nothing(RECORDINGS.into()),
            remotes: Vec::new(),
            limits: Limits::default(),
            log: Log {
                level: "info".to_owned(),
                format: LogFormat::Auto,
            },
            server: Server {
                threads: None,
                stop_grace: Duration::from_secs(5),
                state: None,
            },
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self::for_role(Role::default())
    }
}
