//! Status objects as Flash-era clients, librtmp, ffmpeg, GStreamer and OBS expect them.
//!
//! What clients act on is `level` and `code`; `description` is for people, except in a rejected
//! `connect`, where it carries Adobe authentication. Texts of a peer come back cut to
//! [`MAX_NAME`] bytes; `clientid` is a number we count, as text, never an address of anything.

use bytes::Bytes;

use super::command::{Command, data};
use crate::amf::{Fields, Value, ecma_array, object};
use crate::limits::MAX_NAME;

/// The values of `code`.
pub mod code {
    /// `connect` was accepted.
    pub const CONNECT_SUCCESS: &str = "NetConnection.Connect.Success";
    /// `connect` was refused: credentials, address, redirect.
    pub const CONNECT_REJECTED: &str = "NetConnection.Connect.Rejected";
    /// `connect` named an application that is not there.
    pub const CONNECT_INVALID_APP: &str = "NetConnection.Connect.InvalidApp";
    /// The server goes down.
    pub const CONNECT_APP_SHUTDOWN: &str = "NetConnection.Connect.AppShutdown";
    /// The server ends the connection.
    pub const CONNECT_CLOSED: &str = "NetConnection.Connect.Closed";
    /// The client should connect anew (Enhanced RTMP v2, "Reconnect Request").
    pub const RECONNECT_REQUEST: &str = "NetConnection.Connect.ReconnectRequest";
    /// A call to a procedure that is not there, or that failed.
    pub const CALL_FAILED: &str = "NetConnection.Call.Failed";
    /// `publish` was accepted.
    pub const PUBLISH_START: &str = "NetStream.Publish.Start";
    /// `publish` was refused: the name is bad, taken or not allowed.
    pub const PUBLISH_BAD_NAME: &str = "NetStream.Publish.BadName";
    /// The publisher's stream ended as asked.
    pub const UNPUBLISH_SUCCESS: &str = "NetStream.Unpublish.Success";
    /// The recording that the publisher asked for began.
    pub const RECORD_START: &str = "NetStream.Record.Start";
    /// It ended.
    pub const RECORD_STOP: &str = "NetStream.Record.Stop";
    /// It cannot go on.
    pub const RECORD_FAILED: &str = "NetStream.Record.Failed";
    /// It is not allowed, or cannot begin.
    pub const RECORD_NO_ACCESS: &str = "NetStream.Record.NoAccess";
    /// A new play list begins.
    pub const PLAY_RESET: &str = "NetStream.Play.Reset";
    /// `play` was accepted.
    pub const PLAY_START: &str = "NetStream.Play.Start";
    /// Playing ended.
    pub const PLAY_STOP: &str = "NetStream.Play.Stop";
    /// A publisher began to send to the stream that is played.
    pub const PLAY_PUBLISH_NOTIFY: &str = "NetStream.Play.PublishNotify";
    /// The publisher of the stream that is played left.
    pub const PLAY_UNPUBLISH_NOTIFY: &str = "NetStream.Play.UnpublishNotify";
    /// There is no stream of that name.
    pub const PLAY_STREAM_NOT_FOUND: &str = "NetStream.Play.StreamNotFound";
    /// `play` was refused.
    pub const PLAY_FAILED: &str = "NetStream.Play.Failed";
    /// A list goes on with its next recording.
    pub const PLAY_SWITCH: &str = "NetStream.Play.Switch";
    /// A recording was played to its end.
    pub const PLAY_COMPLETE: &str = "NetStream.Play.Complete";
    /// `pause(true)` was done.
    pub const PAUSE_NOTIFY: &str = "NetStream.Pause.Notify";
    /// `pause(false)` was done.
    pub const UNPAUSE_NOTIFY: &str = "NetStream.Unpause.Notify";
    /// `seek` was done.
    pub const SEEK_NOTIFY: &str = "NetStream.Seek.Notify";
    /// `seek` is not possible here.
    pub const SEEK_FAILED: &str = "NetStream.Seek.Failed";
    /// Media data follows.
    pub const DATA_START: &str = "NetStream.Data.Start";
    /// The general failure of a stream.
    pub const STREAM_FAILED: &str = "NetStream.Failed";
}

/// What `fmsVer` claims: clients switch features by it, and this is what crtmpserver always said.
const FMS_VERSION: &str = "FMS/3,0,1,123";
/// Of `capabilities`: everything a media server of that version had.
const CAPABILITIES: f64 = 31.0;
/// `capsEx` (Enhanced RTMP v2): reconnect, multitrack, `ModEx`, nanosecond offset.
pub const CAPS_EX: u32 = 0x0f;
/// In a FourCC map (Enhanced RTMP v2): can forward, neither decode nor encode.
pub const FOURCC_CAN_FORWARD: u32 = 4;
/// What the original announced in `onBWDone`, kbit/s.
const BANDWIDTH: f64 = 8192.0;

/// Whether something went well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// It did.
    Status,
    /// It did, but.
    Warning,
    /// It did not; clients give up.
    Error,
}

impl Level {
    /// The value of `level`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// A status object of three fields.
#[must_use]
pub fn info(level: Level, code: &str, description: &str) -> Value {
    Value::Object(three(level, code, description))
}

fn three(level: Level, code: &str, description: &str) -> Fields {
    vec![
        ("level".to_owned(), level.as_str().into()),
        ("code".to_owned(), code.into()),
        ("description".to_owned(), description.into()),
    ]
}

/// The `code` of a peer's status object, or nothing.
#[must_use]
pub fn code_of(info: &Value) -> &str {
    info.get("code").and_then(Value::as_str).unwrap_or_default()
}

/// Whether a peer's status object reports a failure.
#[must_use]
pub fn is_error(info: &Value) -> bool {
    info.get("level").and_then(Value::as_str) == Some("error")
}

/// `_result` of a call: `object` and `args` are its two parts (null and the return value, mostly).
#[must_use]
pub fn result(transaction: f64, object: Value, args: Vec<Value>) -> Command {
    Command {
        name: "_result".to_owned(),
        transaction,
        object,
        args,
    }
}

/// `_error` of a call.
#[must_use]
pub fn error(transaction: f64, info: Value) -> Command {
    Command::call("_error", transaction, vec![info])
}

/// `onStatus` with a status object.
#[must_use]
pub fn on_status(info: Value) -> Command {
    Command::notice("onStatus", vec![info])
}

/// `_result` of `connect`. `object_encoding` repeats what the client asked for; `enhanced` adds the
/// Enhanced RTMP answer of a relay, which forwards every codec.
#[must_use]
pub fn connect_success(
    transaction: f64,
    object_encoding: f64,
    enhanced: bool,
    extra: Fields,
) -> Command {
    let properties = object([
        ("fmsVer", FMS_VERSION.into()),
        ("capabilities", CAPABILITIES.into()),
        ("mode", 1.0.into()),
    ]);
    let success = code::CONNECT_SUCCESS;
    let mut fields = three(Level::Status, success, "Connection succeeded");
    fields.push(("objectEncoding".to_owned(), object_encoding.into()));
    if enhanced {
        fields.extend(enhanced_answer());
    }
    fields.extend(extra);
    result(transaction, properties, vec![Value::Object(fields)])
}

/// What a relay can do with codecs, for a `connect` or its answer (Enhanced RTMP v2, "Enhancing
/// NetConnection connect Command"; `fourCcList` is v1).
#[must_use]
pub fn enhanced_answer() -> Fields {
    let any = || object([("*", FOURCC_CAN_FORWARD.into())]);
    vec![
        ("capsEx".to_owned(), CAPS_EX.into()),
        ("videoFourCcInfoMap".to_owned(), any()),
        ("audioFourCcInfoMap".to_owned(), any()),
        (
            "fourCcList".to_owned(),
            Value::StrictArray(vec!["*".into()]),
        ),
    ]
}

/// `_error` of `connect`. `code` is [`code::CONNECT_REJECTED`] or a sibling; `ex` is the object that
/// says more, see [`redirect`].
#[must_use]
pub fn connect_rejected(
    transaction: f64,
    code: &str,
    description: &str,
    ex: Option<Value>,
) -> Command {
    let mut fields = three(Level::Error, code, description);
    if let Some(ex) = ex {
        fields.push(("ex".to_owned(), ex));
    }
    error(transaction, Value::Object(fields))
}

/// The `ex` of a rejected `connect` that sends the client to another server.
#[must_use]
pub fn redirect(tc_url: &str) -> Value {
    object([("code", 302.0.into()), ("redirect", tc_url.into())])
}

/// `onStatus` that asks the client to connect anew, to `tc_url` if given. Only for clients that
/// declared the Reconnect bit of `capsEx`; the old connection serves on until they leave.
#[must_use]
pub fn reconnect_request(tc_url: Option<&str>, description: &str) -> Command {
    let mut fields = three(Level::Status, code::RECONNECT_REQUEST, description);
    if let Some(url) = tc_url {
        fields.push(("tcUrl".to_owned(), url.into()));
    }
    on_status(Value::Object(fields))
}

/// `_error` of a procedure that is not there.
#[must_use]
pub fn call_failed(transaction: f64, procedure: &str) -> Command {
    let description = format!("call to function {} failed", cut(procedure));
    error(
        transaction,
        info(Level::Error, code::CALL_FAILED, &description),
    )
}

/// `onBWDone`: no bandwidth is measured, and clients that wait for it may go on.
#[must_use]
pub fn on_bw_done() -> Command {
    Command::notice("onBWDone", vec![BANDWIDTH.into()])
}

/// `onFCPublish`, which FMLE waits for before it publishes.
#[must_use]
pub fn on_fc_publish(name: &str) -> Command {
    on_fc("onFCPublish", code::PUBLISH_START, name)
}

/// `onFCUnpublish`, which FMLE waits for before it closes.
#[must_use]
pub fn on_fc_unpublish(name: &str) -> Command {
    on_fc("onFCUnpublish", code::UNPUBLISH_SUCCESS, name)
}

/// `onFCSubscribe`, which clients of content networks wait for before they play.
#[must_use]
pub fn on_fc_subscribe(name: &str) -> Command {
    on_fc("onFCSubscribe", code::PLAY_START, name)
}

fn on_fc(procedure: &str, code: &str, name: &str) -> Command {
    Command::notice(procedure, vec![info(Level::Status, code, cut(name))])
}

/// Whose stream an `onStatus` is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subject<'a> {
    /// The name as the client gave it.
    pub name: &'a str,
    /// `clientid`: a counted number of the connection.
    pub client: u64,
}

impl Subject<'_> {
    /// `onStatus` with any code.
    #[must_use]
    pub fn status(self, level: Level, code: &str, description: &str) -> Command {
        let mut fields = three(level, code, description);
        fields.push(("details".to_owned(), cut(self.name).into()));
        fields.push(("clientid".to_owned(), self.client.to_string().into()));
        on_status(Value::Object(fields))
    }

    fn good(self, code: &str, sentence: &str) -> Command {
        self.status(Level::Status, code, &sentence.replace("{}", cut(self.name)))
    }

    /// `publish` was accepted.
    #[must_use]
    pub fn publish_start(self) -> Command {
        self.good(code::PUBLISH_START, "Stream {} is now published")
    }

    /// `publish` was refused; `description` says why and what to do.
    #[must_use]
    pub fn publish_bad_name(self, description: &str) -> Command {
        self.status(Level::Error, code::PUBLISH_BAD_NAME, description)
    }

    /// The publisher's stream ended as asked.
    #[must_use]
    pub fn unpublish_success(self) -> Command {
        self.good(
            code::UNPUBLISH_SUCCESS,
            "Stream {} is not published any more",
        )
    }

    /// First answer to `play` with the reset flag.
    #[must_use]
    pub fn play_reset(self) -> Command {
        self.good(code::PLAY_RESET, "Playing and resetting {}")
    }

    /// `play` was accepted.
    #[must_use]
    pub fn play_start(self) -> Command {
        self.good(code::PLAY_START, "Started playing {}")
    }

    /// Playing ended.
    #[must_use]
    pub fn play_stop(self) -> Command {
        self.good(code::PLAY_STOP, "Stopped playing {}")
    }

    /// A publisher came.
    #[must_use]
    pub fn play_publish_notify(self) -> Command {
        self.good(code::PLAY_PUBLISH_NOTIFY, "{} is now published")
    }

    /// The publisher left.
    #[must_use]
    pub fn play_unpublish_notify(self) -> Command {
        self.good(code::PLAY_UNPUBLISH_NOTIFY, "{} is now unpublished")
    }

    /// There is no stream of that name.
    #[must_use]
    pub fn play_stream_not_found(self, description: &str) -> Command {
        self.status(Level::Error, code::PLAY_STREAM_NOT_FOUND, description)
    }

    /// `play` was refused.
    #[must_use]
    pub fn play_failed(self, description: &str) -> Command {
        self.status(Level::Error, code::PLAY_FAILED, description)
    }

    /// `pause` was done: on, or off again.
    #[must_use]
    pub fn pause_notify(self, on: bool) -> Command {
        if on {
            self.good(code::PAUSE_NOTIFY, "Pausing {}")
        } else {
            self.good(code::UNPAUSE_NOTIFY, "Unpausing {}")
        }
    }

    /// `seek` was done, to `position_ms`.
    #[must_use]
    pub fn seek_notify(self, position_ms: u64) -> Command {
        let sentence = format!("Seeking {position_ms} ms in {{}}");
        self.good(code::SEEK_NOTIFY, &sentence)
    }

    /// A live stream cannot be sought.
    #[must_use]
    pub fn seek_failed(self, description: &str) -> Command {
        self.status(Level::Error, code::SEEK_FAILED, description)
    }
}

/// Data message `|RtmpSampleAccess`: whether a Flash player may read raw audio and video.
#[must_use]
pub fn sample_access(audio: bool, video: bool) -> Bytes {
    data(&["|RtmpSampleAccess".into(), audio.into(), video.into()])
}

/// Data message `onStatus` with `NetStream.Data.Start`: metadata and media follow.
#[must_use]
pub fn data_start() -> Bytes {
    let info = object([("code", code::DATA_START.into())]);
    data(&["onStatus".into(), info])
}

/// Data message `onPlayStatus` at the end of a recording: seconds and bytes that were played.
#[must_use]
pub fn play_complete(duration: f64, bytes: f64) -> Bytes {
    play_status(code::PLAY_COMPLETE, duration, bytes)
}

/// Data message `onPlayStatus` between two recordings of a list: seconds and bytes of the first.
#[must_use]
pub fn play_switch(duration: f64, bytes: f64) -> Bytes {
    play_status(code::PLAY_SWITCH, duration, bytes)
}

fn play_status(code: &str, duration: f64, bytes: f64) -> Bytes {
    let info = object([
        ("level", Level::Status.as_str().into()),
        ("code", code.into()),
        ("duration", duration.into()),
        ("bytes", bytes.into()),
    ]);
    data(&["onPlayStatus".into(), info])
}

/// Data message `onMetaData`.
#[must_use]
pub fn on_metadata(fields: Fields) -> Bytes {
    data(&["onMetaData".into(), ecma_array(fields)])
}

/// A text of the peer, short enough to be sent back.
fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(MAX_NAME))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
