//! What the client machine tells its driver.

use bytes::Bytes;

use crate::amf::Value;
use crate::rtmp::session::caps::Caps;

/// What happened. `stream` is a message stream id, `ticket` what `play` or `publish` returned.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// `connect` was accepted.
    Connected {
        /// First part of the answer: the server's version and the like.
        properties: Value,
        /// Second part: the status object.
        info: Value,
        /// What the server declared of Enhanced RTMP.
        caps: Caps,
    },
    /// `connect` was refused; the machine closes.
    Rejected {
        /// Empty when the server gave none.
        code: String,
        /// Empty when the server gave none; carries the challenge of an Adobe login.
        description: String,
        /// Where to go instead.
        redirect: Option<String>,
        /// The object that says more.
        ex: Option<Value>,
    },
    /// The message stream is there, `play` or `publish` was sent on it.
    StreamReady {
        /// Whose.
        ticket: u32,
        /// Which.
        stream: u32,
    },
    /// The server gave no message stream.
    StreamFailed {
        /// Whose.
        ticket: u32,
        /// Status code, empty when there is none.
        code: String,
        /// For people.
        description: String,
    },
    /// Media follows: the server said so, or sent it.
    PlayStarted {
        /// Which.
        stream: u32,
    },
    /// `play` was refused, or failed later.
    PlayFailed {
        /// Which.
        stream: u32,
        /// Status code.
        code: String,
        /// For people.
        description: String,
    },
    /// Send media now.
    PublishStarted {
        /// Which.
        stream: u32,
    },
    /// `publish` was refused, or failed later.
    PublishFailed {
        /// Which.
        stream: u32,
        /// Status code.
        code: String,
        /// For people.
        description: String,
    },
    /// Media of a stream that we play: aggregates are split, data is AMF0 without `@setDataFrame`.
    Media {
        /// Which.
        stream: u32,
        /// 8 audio, 9 video, 18 data.
        kind: u8,
        /// Milliseconds, wrapping at 2^32.
        timestamp: u32,
        /// The body; audio may be empty.
        payload: Bytes,
    },
    /// Any other `onStatus`, such as `NetStream.Play.UnpublishNotify`.
    Status {
        /// 0 when it is about the connection.
        stream: u32,
        /// The status object, or whatever the server sent instead.
        info: Value,
    },
    /// The server says that a stream has no more data.
    StreamEof {
        /// Which.
        stream: u32,
    },
    /// The server asks us to connect anew; it serves on until we go.
    ReconnectRequest {
        /// Where to; absolute or relative, not checked.
        tc_url: Option<String>,
        /// For people.
        description: String,
    },
    /// The server calls us. Answer a `transaction` other than 0 with `result` or `error`.
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
    /// A call of ours was answered.
    Result {
        /// As `call` returned it.
        transaction: u32,
        /// First part of the answer.
        object: Value,
        /// The rest.
        values: Vec<Value>,
    },
    /// A call of ours failed.
    Error {
        /// As `call` returned it.
        transaction: u32,
        /// The status object, or whatever the server sent instead.
        info: Value,
    },
}
