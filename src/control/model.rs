//! What an answer of the control socket holds. The names of the fields are a promise: programs read
//! them (`docs/operating.md`). Times called `..._ms` that are no durations are Unix time.

use serde::{Deserialize, Serialize};

use super::protocol::{Refusal, VERSION};

/// One answer; of the parts those that were asked for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Answer {
    /// [`VERSION`]
    pub v: u32,
    /// Whether it was done.
    pub ok: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Refusal>,
    /// The server's clock.
    pub at_ms: u64,
    /// How long the server has run; rates are taken from two answers by this.
    pub uptime_ms: u64,
    /// Of a list: what to go on behind, when there is more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// Shards that did not answer in time; what they know is missing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub silent_shards: Vec<usize>,
    /// `status`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// `health`, and with `status`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// `version`, and with `status`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub program: Option<Program>,
    /// Since the answer before; by the client, from two of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rates: Option<Rates>,
    /// `streams`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub streams: Option<Vec<Stream>>,
    /// `viewers`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub viewers: Option<Vec<Viewer>>,
    /// `mirrors`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mirrors: Option<Vec<Mirror>>,
    /// `remotes`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remotes: Option<Vec<Remote>>,
    /// `kick`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kicked: Option<Kicked>,
    /// `drain`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain: Option<Drain>,
    /// `recordings`; with `record`, those of the stream
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recordings: Option<Vec<Recording>>,
    /// `line`: what a verb of the command line came to
    #[serde(skip_serializing_if = "Option::is_none")]
    pub done: Option<Done>,
    /// `reload`: what is different now, a sentence each
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reloaded: Option<Vec<String>>,
}

impl Answer {
    /// It was not done.
    #[must_use]
    pub fn refused(error: Refusal) -> Self {
        Self {
            v: VERSION,
            error: Some(error),
            ..Self::default()
        }
    }
}

/// What a verb of the command line came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Done {
    /// What there is to say beside it.
    pub data: serde_json::Value,
    /// A sentence.
    pub description: String,
    /// `SUCCESS` or `FAIL`
    pub status: String,
}

/// A pull from another server, or a push to one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Remote {
    /// Its number.
    pub id: u32,
    /// `pull` or `push`
    pub direction: String,
    /// The stream here; `APP/*` is each stream of an application.
    pub stream: String,
    /// The other server, without what is secret.
    pub remote: String,
    /// `file` (the configuration), `runtime`, or `each`: one of the streams of `APP/*`
    pub origin: String,
    /// Of one of the streams of `APP/*`: the number of that
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of: Option<u32>,
    /// `waiting`, `connecting`, `connected`, `live`, `retrying`, or `each` for `APP/*`
    pub state: String,
    /// Since when.
    pub since_ms: u64,
    /// The code of what went wrong last, even if all is well now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The sentence for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// When that was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_ms: Option<u64>,
    /// Tries that failed, and connections that were lost.
    pub failures: u64,
    /// Times that media began to flow.
    pub connections: u64,
    /// Frames that went over.
    pub frames: u64,
    /// Payload bytes that went over.
    pub bytes: u64,
    /// Frames that a slow target was not given.
    pub skipped: u64,
}

/// The program that runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Program {
    /// Its version.
    pub version: String,
    /// Whether it was built with publishing; a mirror's own binary is not.
    pub publish: bool,
    /// Its process.
    pub pid: u32,
}

/// What goes in and out of the server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rates {
    /// What all sources sent in the last seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_kbit_per_second: Option<u64>,
    /// What all peers took between the two answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub out_kbit_per_second: Option<u64>,
}

/// Whether the server does its work.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Health {
    /// Nothing is wrong.
    pub healthy: bool,
    /// A sentence for each thing that is, with the part that it is about in front: `master: ...`.
    pub troubles: Vec<String>,
    /// The same of what is wrong with the machine while the server does its work.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// The server as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// `standalone`, `master` or `mirror`
    pub role: String,
    /// Its name among the servers of a cluster, made anew at each start.
    pub server_id: String,
    /// When it started.
    pub started_ms: u64,
    /// Where it listens.
    pub listeners: Vec<Listener>,
    /// A mirror's link to its master.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub master: Option<Master>,
    /// Streams with a source.
    pub live: usize,
    /// Streams whose source is away, with their viewers.
    pub waiting: usize,
    /// Connections that publish.
    pub publishers: usize,
    /// Streams that are pulled from the master.
    pub pulls: usize,
    /// Who watches.
    pub viewers: Watching,
    /// Mirrors whose control connection is up.
    pub mirrors: usize,
    /// `ready`, `full` or `draining`: whether new viewers are taken.
    pub state: String,
    /// The drain that goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain: Option<Drain>,
    /// Viewers that it takes (limits.max_viewers).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_viewers: Option<u32>,
    /// What it sends before it takes no more (limits.max_mbit_s).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_kbit_per_second: Option<u32>,
    /// Connections in all.
    pub connections: usize,
    /// Bytes that came in over accepted connections; pulls are none.
    pub bytes_in: u64,
    /// Bytes that went out.
    pub bytes_out: u64,
    /// Per thread: connections, and whether it answers.
    pub shards: Vec<Shard>,
}

/// A drain that goes on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Drain {
    /// Since when.
    pub since_ms: u64,
    /// When the viewers who are still there are ended.
    pub deadline_ms: u64,
    /// How many there are.
    pub viewers: u32,
    /// How many have been ended then.
    pub ended: u32,
    /// Whether the server ends behind it.
    pub exit: bool,
}

impl Drain {
    /// Whether nobody watches any more: those who had not moved in time get nothing, though players that
    /// ask again and again count for some seconds more.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.viewers == 0 || self.ended > 0
    }
}

/// One thread that serves connections.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Shard {
    /// Which.
    pub index: usize,
    /// Connections there.
    pub connections: usize,
    /// Whether it answered in time.
    pub answers: bool,
}

/// Where the server listens.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Listener {
    /// `rtmp` or `http`
    pub protocol: String,
    /// Address and port.
    pub address: String,
}

/// A mirror's link to its master.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Master {
    /// Where it is.
    pub url: String,
    /// `up`, `down`, or `none` for a foreign master, each of whose streams is pulled by itself
    pub state: String,
    /// Since when that is so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since_ms: Option<u64>,
    /// What the last try met.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Viewers by protocol.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Watching {
    /// RTMP players.
    pub rtmp: usize,
    /// HTTP-FLV players.
    pub flv: usize,
    /// HLS players.
    pub hls: usize,
    /// Pulls of other servers.
    pub mirror: usize,
}

impl Watching {
    /// All of them.
    #[must_use]
    pub const fn total(&self) -> usize {
        self.rtmp
            .saturating_add(self.flv)
            .saturating_add(self.hls)
            .saturating_add(self.mirror)
    }
}

/// A stream.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Stream {
    /// `APP/STREAM`
    pub name: String,
    /// `live`, or `waiting` for its source to come back
    pub state: String,
    /// When its present or last source came.
    pub since_ms: u64,
    /// Since when it waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting_since_ms: Option<u64>,
    /// Where it comes from: `rtmp ADDRESS` or `pull URL`.
    pub source: String,
    /// The number of the connection that publishes it, for `kick`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub publisher_id: Option<u64>,
    /// The address of the publisher.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// The user it logged in as.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// What the encoder calls itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoder: Option<String>,
    /// Video codec, a `FourCC`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub video: Option<String>,
    /// Audio codec, a `FourCC`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audio: Option<String>,
    /// Pictures a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fps: Option<f64>,
    /// What the source sent in the last seconds.
    pub kbit_per_second: u64,
    /// Frames that came.
    pub frames: u64,
    /// Payload bytes that came.
    pub bytes: u64,
    /// Video frames dropped because no key frame had come.
    pub dropped: u64,
    /// Frames that late viewers were not given.
    pub skipped: u64,
    /// Sources that it has had.
    pub epochs: u64,
    /// Time since the last audio or video.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub silent_ms: Option<u64>,
    /// Who watches.
    pub viewers: Watching,
}

/// A viewer: a stream that a connection plays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Viewer {
    /// The number of its connection, for `kick`.
    pub id: u64,
    /// `rtmp`, `http-flv`, `hls` or `mirror`; `file` for a media file over RTMP
    pub protocol: String,
    /// Its address.
    pub peer: String,
    /// What it plays.
    pub stream: String,
    /// Since when.
    pub since_ms: u64,
    /// `playing`; `waiting` for a key frame; `slow`: its socket is full; `paused`
    pub state: String,
    /// Bytes sent to the connection.
    pub bytes: u64,
    /// What was sent since the answer before; by the client, from two answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kbit_per_second: Option<u64>,
    /// Frames sent to the connection.
    pub frames: u64,
    /// Frames that it was not given because it was late.
    pub skipped: u64,
    /// How far the next frame for it is behind the newest.
    pub lag_ms: u64,
    /// Frames that it has before it.
    pub lag_frames: u64,
}

/// A mirror that is connected.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Mirror {
    /// Its name, made anew at each of its starts.
    pub id: String,
    /// Its address.
    pub peer: String,
    /// When it proved itself.
    pub since_ms: u64,
    /// `up`: its control connection is there; one that is lost is no longer listed.
    pub link: String,
    /// `ready`, `full` or `draining`; nothing of a mirror that does not announce itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Where the public finds it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// Its share of new viewers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<u16>,
    /// Who watches there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub viewers: Option<u32>,
    /// Viewers that it takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_viewers: Option<u32>,
    /// What it sends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kbit_per_second: Option<u32>,
    /// What it can send.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_kbit_per_second: Option<u32>,
}

/// A stream that is written into a file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Recording {
    /// Its number.
    pub id: u64,
    /// `APP/STREAM`
    pub stream: String,
    /// Who wants it: `rule`, `publisher` or `operator`.
    pub why: String,
    /// `waiting` for a picture to begin with, `recording`, `failed`, or `over`
    pub state: String,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The present file within the folder (record.folder), or the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// When it began.
    pub since_ms: u64,
    /// Bytes that were written, to all its files.
    pub bytes: u64,
    /// Files that it has had.
    pub files: u64,
    /// Frames that it has not because the disk was too slow.
    pub lost: u64,
}

/// Who was told to go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Kicked {
    /// The number of the connection.
    pub id: u64,
    /// Its address.
    pub peer: String,
    /// What it published.
    pub published: Vec<String>,
    /// What it played.
    pub played: Vec<String>,
}
