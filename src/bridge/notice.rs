//! What the server itself says to viewers between the frames.
//!
//! A notice is the payload of a [`crate::media::Kind::Notice`] frame: AMF0 script data `onStatus` with
//! a status object. FLV viewers get it as it is, RTMP viewers as the command of the same name.

use std::time::Duration;

use bytes::Bytes;

use super::render::flv_tag;
use crate::amf::{Value, object};
use crate::media::Kind;
use crate::rtmp::command;

/// The status code of [`waiting`]. RTMP players ignore codes that they do not know; ours shows the
/// sentence and does not reconnect.
pub const WAITING: &str = "NetStream.Play.Waiting";

/// `onStatus`, as AMF0 has it.
pub(super) const ON_STATUS: &[u8] = b"\x02\x00\x08onStatus";

/// The stream's source has been away for `waited`, and the viewer should wait too.
#[must_use]
pub fn waiting(waited: Duration) -> Bytes {
    on_status(object([
        ("level", Value::from("status")),
        ("code", WAITING.into()),
        (
            "description",
            "The source of this stream is away. It goes on as soon as the source is back.".into(),
        ),
        ("waited", waited.as_secs_f64().floor().into()), // whole seconds
    ]))
}

/// The status code of [`moving`]. Ours goes to another server; others ignore what they do not know.
pub const MOVE: &str = "NetStream.Play.Move";

/// This server is about to go, and the viewer should go to another one within `left`, if it is known how much
/// time there is; `redirect` is the base URL of one. As a status object.
#[must_use]
pub fn moving(redirect: Option<&str>, left: Option<Duration>) -> Value {
    let mut fields: Vec<(String, Value)> = [
        ("level", Value::from("status")),
        ("code", MOVE.into()),
        (
            "description",
            "This server is about to go. Please watch on another one.".into(),
        ),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into();
    if let Some(left) = left {
        let seconds = left.as_secs_f64().floor();
        fields.push(("left".to_owned(), seconds.into()));
    }
    if let Some(url) = redirect {
        fields.push(("redirect".to_owned(), url.into()));
    }
    Value::Object(fields)
}

/// A notice as one FLV tag, for one viewer. Its time is 0, as that of metadata: nothing is to be shown at
/// it.
#[must_use]
pub fn flv_notice(info: Value) -> Bytes {
    flv_tag(Kind::Notice, 0, &on_status(info))
}

/// A notice with any status object.
#[must_use]
pub fn on_status(info: Value) -> Bytes {
    command::data(&["onStatus".into(), info])
}
