//! What the server itself says to viewers between the frames.
//!
//! A notice is the payload of a [`crate::media::Kind::Notice`] frame: AMF0 script data `onStatus` with
//! a status object. FLV viewers get it as it is, RTMP viewers as the command of the same name.

use std::time::Duration;

use bytes::Bytes;

use crate::amf::{Value, object};
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

/// A notice with any status object.
#[must_use]
pub fn on_status(info: Value) -> Bytes {
    command::data(&["onStatus".into(), info])
}
