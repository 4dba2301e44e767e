//! From bytes to tags: what a connection or a source of datagrams sends.

use std::net::SocketAddr;

use super::{Form, Route};
use crate::amf::amf0;
use crate::flv::{Reader, ReaderLimits, SCRIPT, Tag};
use crate::limits::Limits;
use crate::media::{NameError, StreamName};
use crate::telemetry::metrics::{Metrics, Protocol};
use crate::ts::{Demuxer, Figures, Output};

/// One machine.
pub(super) enum Source {
    /// Bare FLV.
    Flv(Box<Reader>),
    /// MPEG-TS, and what was counted of it so far.
    Ts(Box<Demuxer>, Figures),
}

/// What a machine gives.
pub(super) enum Given {
    Tag(Tag),
    /// Something that is not passed on, for the log.
    LeftOut(String),
}

impl Source {
    pub(super) fn new(form: Form, limits: &Limits) -> Self {
        let limits = ReaderLimits::from(limits);
        match form {
            Form::LiveFlv => Self::Flv(Box::new(Reader::new(limits))),
            // RTSP has a machine of its own, and is never given to this one.
            Form::Ts | Form::Rtsp => Self::Ts(Box::new(Demuxer::new(limits)), Figures::default()),
        }
    }

    /// Takes bytes of a connection and shows what they complete.
    ///
    /// # Errors
    /// Why they are not what they should be; the connection is of no use any more.
    pub(super) fn feed(&mut self, bytes: &[u8], mut take: impl FnMut(Given)) -> Result<(), String> {
        match self {
            Self::Flv(reader) => {
                let mut rest = bytes;
                while let Some(tag) = reader.feed(&mut rest).map_err(|e| e.to_string())? {
                    take(Given::Tag(tag));
                }
            }
            Self::Ts(demuxer, _) => {
                demuxer.feed(bytes);
                drain(demuxer, take);
            }
        }
        Ok(())
    }

    /// Takes one datagram.
    pub(super) fn datagram(&mut self, bytes: &[u8], take: impl FnMut(Given)) {
        if let Self::Ts(demuxer, _) = self {
            demuxer.datagram(bytes);
            drain(demuxer, take);
        }
    }

    /// Shows what was not known to be whole before the end.
    pub(super) fn finish(&mut self, take: impl FnMut(Given)) {
        if let Self::Ts(demuxer, _) = self {
            demuxer.finish();
            drain(demuxer, take);
        }
    }

    /// Counts what went wrong since the last time.
    pub(super) fn count(&mut self, metrics: &Metrics) {
        let Self::Ts(demuxer, before) = self else {
            return;
        };
        let now = demuxer.figures();
        let new = now.since(*before);
        *before = now;
        for (kind, count) in [
            ("gap", new.gaps),
            ("sync", new.lost),
            ("unreadable", new.unreadable),
            ("broken", new.broken),
        ] {
            metrics.media_errors(Protocol::Ts, kind, count);
        }
    }
}

fn drain(demuxer: &mut Demuxer, mut take: impl FnMut(Given)) {
    while let Some(output) = demuxer.poll() {
        take(match output {
            Output::Tag(tag) => Given::Tag(tag),
            Output::LeftOut(kind, name) => {
                let name = name.map(|name| String::from_utf8_lossy(&name).into_owned());
                let name = name.map_or_else(String::new, |name| format!(" ({name:?})"));
                Given::LeftOut(format!("a stream of type {kind:#04x}{name}"))
            }
        });
    }
}

/// The stream that a source goes to that begins with this tag.
///
/// # Errors
/// The name that it gives itself is none, and is given back.
pub(super) fn name(
    route: &Route,
    peer: SocketAddr,
    first: &Tag,
) -> Result<StreamName, (String, NameError)> {
    let own = route
        .wait_for_metadata
        .then(|| stream_name(first))
        .flatten();
    if let Some(own) = own {
        return StreamName::new(&route.app, &own).map_err(|error| (own, error));
    }
    if let Some(stream) = &route.stream {
        return Ok(stream.clone());
    }
    // As the original has it; an IPv6 address has colons, which names have not.
    let ip = peer.ip().to_string().replace(':', "-");
    let text = format!("{ip}_{}", peer.port());
    StreamName::new(&route.app, &text).map_err(|error| (text, error))
}

/// `streamName` of `onMetaData`.
fn stream_name(tag: &Tag) -> Option<String> {
    if tag.kind != SCRIPT {
        return None;
    }
    let values = amf0::decode_all(&tag.payload).ok()?;
    let at = values
        .iter()
        .position(|value| value.as_str() == Some("onMetaData"))?;
    let metadata = values.get(at.checked_add(1)?)?;
    let name = metadata.get("streamName")?.as_str()?;
    Some(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amf::{Value, ecma_array};
    use crate::auth::Networks;
    use bytes::Bytes;

    fn route(stream: Option<&str>, wait: bool) -> Route {
        Route {
            form: Form::LiveFlv,
            app: "live".into(),
            applications: crate::auth::Applications::default(),
            stream: stream.map(|name| StreamName::new("live", name).unwrap()),
            wait_for_metadata: wait,
            networks: Networks::loopback(),
            source: None,
        }
    }

    fn metadata(name: &str) -> Tag {
        let mut payload = Vec::new();
        let fields = [("streamName", Value::from(name))];
        let values = [Value::from("onMetaData"), ecma_array(fields)];
        amf0::encode_all(&mut payload, &values);
        Tag {
            kind: SCRIPT,
            timestamp: 0,
            payload: Bytes::from(payload),
        }
    }

    #[test]
    fn a_stream_has_its_name_from_metadata_configuration_or_address() {
        let peer = "192.0.2.7:4711".parse().unwrap();
        let of = |route: &Route, tag: &Tag| name(route, peer, tag).map(|n| n.to_string());
        let sound = Tag {
            kind: 8,
            timestamp: 0,
            payload: Bytes::from_static(b"\xaf\x01x"),
        };
        let own = metadata("studio");
        assert_eq!(of(&route(None, true), &own).unwrap(), "live/studio");
        assert_eq!(of(&route(Some("a"), true), &own).unwrap(), "live/studio");
        assert_eq!(of(&route(Some("a"), false), &own).unwrap(), "live/a");
        assert_eq!(of(&route(Some("a"), true), &sound).unwrap(), "live/a");
        let by_address = of(&route(None, true), &sound).unwrap();
        assert_eq!(by_address, "live/192.0.2.7_4711");
        let six = "[2001:db8::1]:5".parse().unwrap();
        let by_address = name(&route(None, false), six, &sound).unwrap();
        assert_eq!(by_address.to_string(), "live/2001-db8--1_5");
        let (text, _) = name(&route(None, true), peer, &metadata("../x")).unwrap_err();
        assert_eq!(text, "../x");
    }
}
