//! What the server machine asks and tells its driver.

use bytes::Bytes;

use crate::amf::Value;
use crate::rtmp::session::caps::Caps;

/// A `connect` that awaits [`accept_connect`](super::Server::accept_connect) or
/// [`reject_connect`](super::Server::reject_connect).
#[derive(Debug, Clone, PartialEq)]
pub struct ConnectRequest {
    /// The application without its query and without slashes at either end.
    pub app: String,
    /// What followed the first `?` of the application.
    pub query: Option<String>,
    /// The whole address, as the client wrote it.
    pub tc_url: Option<String>,
    /// The client's program.
    pub flash_ver: Option<String>,
    /// The player's file.
    pub swf_url: Option<String>,
    /// The page around the player.
    pub page_url: Option<String>,
    /// 0 or 3; other numbers count as 0.
    pub object_encoding: u8,
    /// `type`: `nonprivate` is what encoders send.
    pub connect_type: Option<String>,
    /// Enhanced RTMP.
    pub caps: Caps,
    /// The whole command object.
    pub object: Value,
    /// What followed the command object.
    pub arguments: Vec<Value>,
}

/// How a publisher wants its stream to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PublishKind {
    /// Not recorded.
    Live,
    /// Recorded into a new file.
    Record,
    /// Recorded behind what is there.
    Append,
}

impl PublishKind {
    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Record => "record",
            Self::Append => "append",
        }
    }

    /// Reads the word on the wire; what is unknown or missing is live.
    #[must_use]
    pub fn parse(word: Option<&str>) -> Self {
        match word {
            Some("record") => Self::Record,
            Some("append" | "appendWithGap") => Self::Append,
            _ => Self::Live,
        }
    }
}

/// What the driver must answer or know. `stream` is always a message stream id.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Answer with `accept_connect` or `reject_connect`; nothing more is read until then.
    Connect(Box<ConnectRequest>),
    /// Answer with `accept_publish` or `reject_publish`; nothing more is read until then.
    Publish {
        /// Message stream.
        stream: u32,
        /// Name without its query, as sent.
        name: String,
        /// What followed the `?`.
        query: Option<String>,
        /// Kept how.
        kind: PublishKind,
    },
    /// A publisher ended its stream in an orderly way.
    Unpublish {
        /// Message stream.
        stream: u32,
    },
    /// Answer with `accept_play` or `reject_play`, now or later.
    Play {
        /// Message stream.
        stream: u32,
        /// Name without its query, as sent, a prefix such as `mp4:` included.
        name: String,
        /// What followed the `?`.
        query: Option<String>,
        /// As sent; -2 (live, else recorded) when absent.
        start: f64,
        /// As sent; -1 (to the end) when absent.
        duration: f64,
        /// Whether it begins a new list.
        reset: bool,
    },
    /// A `play` that keeps the list, while a recording plays or a play awaits its answer: it is to be
    /// played behind that. Nothing is answered yet, and nothing changes, unless by `switch_play`,
    /// `skip_play` or `play_instead`.
    PlayNext {
        /// Message stream.
        stream: u32,
        /// As in `Play`.
        name: String,
        /// As in `Play`.
        query: Option<String>,
        /// As in `Play`.
        start: f64,
        /// As in `Play`.
        duration: f64,
    },
    /// A viewer wants no more of this stream.
    StopPlay {
        /// Message stream.
        stream: u32,
    },
    /// A viewer pauses or goes on; it has been told so.
    Pause {
        /// Message stream.
        stream: u32,
        /// Pause or go on.
        on: bool,
        /// Where the viewer is, as sent.
        position_ms: f64,
    },
    /// A viewer seeks. Of a live stream it has been told so; answer that of a recording with `seeked`.
    Seek {
        /// Message stream.
        stream: u32,
        /// As sent.
        position_ms: f64,
    },
    /// The viewer's buffer holds so much; said of the whole connection, before or while it plays.
    Buffer {
        /// As sent.
        ms: u32,
    },
    /// `getStreamLength`: answer with `result`, in seconds; 0 for what is live or not there.
    StreamLength {
        /// What the answer must repeat; not 0.
        transaction: f64,
        /// Name without its query, as sent.
        name: String,
    },
    /// A viewer switches a medium on or off.
    Receive {
        /// Message stream.
        stream: u32,
        /// `receiveVideo`.
        video: Option<bool>,
        /// `receiveAudio`.
        audio: Option<bool>,
    },
    /// Media of an accepted publisher: aggregates are split, AMF3 data has become AMF0, the marker
    /// `@setDataFrame` is gone.
    Media {
        /// Message stream.
        stream: u32,
        /// 8 audio, 9 video, 18 data.
        kind: u8,
        /// Milliseconds, wrapping at 2^32.
        timestamp: u32,
        /// The body; audio may be empty.
        payload: Bytes,
    },
    /// Any other command. Answer a `transaction` other than 0 with `result` or `error`.
    Call {
        /// Message stream; 0 is the connection.
        stream: u32,
        /// The procedure.
        name: String,
        /// What the answer must repeat.
        transaction: f64,
        /// Command object, mostly null.
        object: Value,
        /// Arguments.
        args: Vec<Value>,
    },
}
