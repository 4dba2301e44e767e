//! `/APP/STREAM.json`: what a player asks when it gets nothing: is the stream live, does it wait for
//! its source, or is it not there at all.

use std::time::Instant;

use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use super::{Missing, Web};
use crate::auth::RESERVED;
use crate::bridge;
use crate::media::{NameError, StreamName};
use crate::relay::{State, millis};

/// The stream whose state a path is; `None` for every other path.
pub(super) fn asked(path: &str) -> Option<Result<StreamName, NameError>> {
    let (app, name) = path
        .strip_suffix(".json")?
        .strip_prefix('/')?
        .split_once('/')?;
    (!RESERVED.contains(&app)).then(|| StreamName::new(app, name))
}

/// The answer's status and body.
pub(super) fn state(web: &Web, name: &StreamName, now: Instant) -> (StatusCode, String) {
    let mut fields = Map::new();
    fields.insert("stream".to_owned(), name.to_string().into());
    // Over HLS nothing else tells a player that knows no list of mirrors.
    if web.cluster.draining().is_some() || web.cluster.source_goes() {
        fields.insert("draining".to_owned(), true.into());
    }
    let Some(stream) = web.hub.get(name) else {
        let (status, state) = match (web.missing)(name) {
            Missing::NotLive => (StatusCode::NOT_FOUND, "offline"),
            // It may well be live: this server cannot know.
            Missing::NoMaster { .. } => (StatusCode::SERVICE_UNAVAILABLE, "unknown"),
        };
        fields.insert("state".to_owned(), state.into());
        return (status, Value::Object(fields).to_string());
    };
    let (state, since) = match stream.state() {
        State::Live => ("live", stream.info(now).since),
        State::Waiting { since } => ("waiting", since),
        State::Ended => ("offline", now),
    };
    fields.insert("state".to_owned(), state.into());
    let since = millis(now.saturating_duration_since(since));
    fields.insert("since_ms".to_owned(), since.into());
    let codecs = bridge::codecs(&stream.headers());
    for (name, codec) in [("video", codecs.video), ("audio", codecs.audio)] {
        if let Some(codec) = codec {
            fields.insert(name.to_owned(), codec.into());
        }
    }
    if let Some(interval) = stream.key_interval() {
        fields.insert("key_interval_ms".to_owned(), json!(interval));
    }
    (StatusCode::OK, Value::Object(fields).to_string())
}
