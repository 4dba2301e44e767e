//! The lines of the control socket: bytes in, requests out.
//!
//! A request is one line of JSON, at most [`MAX_CONTROL_REQUEST`] bytes, its answer is one line too.
//! Fields that are not known are ignored, so that an older and a newer program understand each other.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::limits::{DRAIN_TIME, MAX_CONTROL_PAGE, MAX_CONTROL_REQUEST, MAX_DRAIN};

/// The version of the protocol. It changes when a field changes its meaning; new fields do not count.
pub const VERSION: u32 = 1;

/// A request as it is on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// [`VERSION`]
    #[serde(default = "version")]
    pub v: u32,
    /// What is wanted.
    pub verb: String,
    /// The number of a connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// `APP/STREAM`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// Go on behind this: `next` of the answer before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// So many entries at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// So long a drain may take, ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u64>,
    /// Whether the server should end behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<bool>,
    /// How a stream is to be recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<RecordAs>,
    /// A line of the command line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<String>,
}

const fn version() -> u32 {
    VERSION
}

impl Request {
    /// A request without anything but its verb.
    #[must_use]
    pub fn new(verb: &str) -> Self {
        Self {
            v: VERSION,
            verb: verb.to_owned(),
            id: None,
            stream: None,
            after: None,
            limit: None,
            deadline_ms: None,
            exit: None,
            record: None,
            line: None,
        }
    }
}

/// How a stream is to be recorded; what is not said is as in the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RecordAs {
    /// Its recording is to end.
    pub stop: bool,
    /// `flv` or `mp4`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// A pattern, as record.name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How long a file gets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub length_ms: Option<u64>,
    /// How large a file gets, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
}

/// A request that can be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verb {
    /// The server as a whole.
    Status,
    /// What is wrong.
    Health,
    /// The program.
    Version,
    /// The streams.
    Streams(Page),
    /// The viewers, of one stream or of all.
    Viewers(Option<String>, Page),
    /// The mirrors that are connected.
    Mirrors(Page),
    /// The pulls and pushes.
    Remotes,
    /// End one connection.
    KickConnection(u64),
    /// End the connection that publishes this stream.
    KickPublisher(String),
    /// Send the viewers elsewhere within this time, and end behind it or not.
    Drain(Duration, bool),
    /// Take viewers again.
    Undrain,
    /// Read the configuration again.
    Reload,
    /// What is recorded.
    Recordings,
    /// Record this stream, or no longer.
    Record(String, RecordAs),
    /// A line of the command line.
    Line(String),
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// What was the last one of the part before.
    pub after: Option<String>,
    /// At least 1, at most [`MAX_CONTROL_PAGE`].
    pub limit: usize,
}

/// Why a request is not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// Stable, for programs.
    pub code: String,
    /// A sentence for people.
    pub message: String,
}

impl Refusal {
    /// Puts one together.
    #[must_use]
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self {
            code: code.to_owned(),
            message: message.into(),
        }
    }
}

/// [`Refusal::code`] of a configuration that was not taken over; the server's log says why.
pub const REFUSED: &str = "reload-refused";

/// Every verb of [`Request::verb`].
pub const VERBS: &[&str] = &[
    "status",
    "health",
    "version",
    "streams",
    "viewers",
    "mirrors",
    "remotes",
    "kick",
    "drain",
    "undrain",
    "reload",
    "recordings",
    "record",
    "line",
];

/// Reads one line.
///
/// # Errors
/// [`Refusal`], to be sent as it is.
pub fn parse(line: &[u8]) -> Result<Verb, Refusal> {
    let request: Request = serde_json::from_slice(line).map_err(|e| {
        let why = format!("this is no request ({e}); write {{\"verb\": \"status\"}}");
        Refusal::new("bad-request", why)
    })?;
    if request.v != VERSION {
        let why = format!(
            "this server speaks version {VERSION} of the control protocol, not {}",
            request.v
        );
        return Err(Refusal::new("version", why));
    }
    let page = Page {
        after: request.after,
        limit: request
            .limit
            .unwrap_or(MAX_CONTROL_PAGE)
            .clamp(1, MAX_CONTROL_PAGE),
    };
    Ok(match request.verb.as_str() {
        "status" => Verb::Status,
        "health" => Verb::Health,
        "version" => Verb::Version,
        "streams" => Verb::Streams(page),
        "viewers" => Verb::Viewers(request.stream, page),
        "mirrors" => Verb::Mirrors(page),
        "remotes" => Verb::Remotes,
        "reload" => Verb::Reload,
        "recordings" => Verb::Recordings,
        "line" => Verb::Line(request.line.unwrap_or_default()),
        "record" => Verb::Record(
            request.stream.unwrap_or_default(),
            request.record.unwrap_or_default(),
        ),
        "drain" => {
            let time = request
                .deadline_ms
                .map_or(DRAIN_TIME, Duration::from_millis);
            Verb::Drain(time.min(MAX_DRAIN), request.exit.unwrap_or(false))
        }
        "undrain" => Verb::Undrain,
        "kick" => match (request.id, request.stream) {
            (Some(id), None) => Verb::KickConnection(id),
            (None, Some(stream)) => Verb::KickPublisher(stream),
            _ => {
                let why = "kick whom? Give the id of a connection or the name of a stream";
                return Err(Refusal::new("bad-request", why));
            }
        },
        _ => {
            let why = format!("no such verb; there are {}", VERBS.join(", "));
            return Err(Refusal::new("bad-verb", why));
        }
    })
}

/// Cuts what arrives into lines.
#[derive(Debug, Default)]
pub struct Lines {
    bytes: Vec<u8>,
    /// Bytes since the last end of a line.
    line: usize,
    overlong: bool,
}

/// A line longer than [`MAX_CONTROL_REQUEST`]: nothing that follows can be told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a request has at most {MAX_CONTROL_REQUEST} bytes")]
pub struct TooLong;

impl Lines {
    /// Takes what arrived; what is too long is not kept. The lines are to be taken out before it is
    /// called again.
    pub fn feed(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if self.overlong {
                return;
            }
            self.bytes.push(byte);
            self.line = if byte == b'\n' {
                0
            } else {
                self.line.saturating_add(1)
            };
            self.overlong = self.line > MAX_CONTROL_REQUEST;
        }
    }

    /// The next whole line, without its end; empty ones are left out.
    ///
    /// # Errors
    /// [`TooLong`], for ever from then on.
    pub fn next_line(&mut self) -> Result<Option<Vec<u8>>, TooLong> {
        while let Some(end) = self.bytes.iter().position(|b| *b == b'\n') {
            let rest = self.bytes.split_off(end.saturating_add(1));
            let mut line = std::mem::replace(&mut self.bytes, rest);
            while line.last().is_some_and(u8::is_ascii_whitespace) {
                line.pop();
            }
            if !line.is_empty() {
                return Ok(Some(line));
            }
        }
        if self.overlong {
            return Err(TooLong);
        }
        Ok(None)
    }

    /// Bytes that are held.
    #[must_use]
    pub const fn held(&self) -> usize {
        self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(line: &str) -> String {
        parse(line.as_bytes()).unwrap_err().code
    }

    #[test]
    fn every_verb_is_understood_and_what_is_unknown_ignored() {
        let page = |after: Option<&str>, limit| Page {
            after: after.map(str::to_owned),
            limit,
        };
        for (line, verb) in [
            (r#"{"verb":"status"}"#, Verb::Status),
            (r#"{"v":1,"verb":"health","colour":"blue"}"#, Verb::Health),
            (r#"{"verb":"version"}"#, Verb::Version),
            (r#"{"verb":"reload"}"#, Verb::Reload),
            (r#"{"verb":"remotes"}"#, Verb::Remotes),
            (
                r#"{"verb":"line","line":"pullStream uri=x"}"#,
                Verb::Line("pullStream uri=x".into()),
            ),
            (r#"{"verb":"drain"}"#, Verb::Drain(DRAIN_TIME, false)),
            (
                r#"{"verb":"drain","deadline_ms":18446744073709551615,"exit":true}"#,
                Verb::Drain(MAX_DRAIN, true),
            ),
            (r#"{"verb":"undrain"}"#, Verb::Undrain),
            (r#"{"verb":"kick","id":7}"#, Verb::KickConnection(7)),
            (
                r#"{"verb":"kick","stream":"live/a"}"#,
                Verb::KickPublisher("live/a".into()),
            ),
            (
                r#"{"verb":"streams"}"#,
                Verb::Streams(page(None, MAX_CONTROL_PAGE)),
            ),
            (
                r#"{"verb":"mirrors","after":"x","limit":3}"#,
                Verb::Mirrors(page(Some("x"), 3)),
            ),
            (
                r#"{"verb":"viewers","stream":"live/a","limit":999999999}"#,
                Verb::Viewers(Some("live/a".into()), page(None, MAX_CONTROL_PAGE)),
            ),
        ] {
            assert_eq!(parse(line.as_bytes()), Ok(verb), "{line}");
        }
        for verb in VERBS {
            let line = format!(r#"{{"verb":"{verb}","id":1}}"#);
            assert!(parse(line.as_bytes()).is_ok(), "{verb}");
        }
    }

    #[test]
    fn what_is_wrong_is_told() {
        for line in [
            "",
            "{",
            "[]",
            "7",
            r#"{"id":1}"#,
            "\u{fffd}",
            r#"{"verb":7}"#,
        ] {
            assert_eq!(refused(line), "bad-request", "{line}");
        }
        assert_eq!(refused(r#"{"verb":"kick"}"#), "bad-request");
        assert_eq!(refused(r#"{"verb":"kick","id":-1}"#), "bad-request");
        assert_eq!(
            refused(r#"{"verb":"kick","id":1,"stream":"a/b"}"#),
            "bad-request"
        );
        assert_eq!(refused(r#"{"verb":"dance"}"#), "bad-verb");
        assert_eq!(refused(r#"{"v":2,"verb":"status"}"#), "version");
    }

    #[test]
    fn lines_arrive_in_any_pieces() {
        let text = b"{\"verb\":\"status\"}\r\n\n  \n{\"verb\":\"health\"}\n{\"ver";
        for size in 1..text.len() {
            let mut lines = Lines::default();
            let mut found = Vec::new();
            for piece in text.chunks(size) {
                lines.feed(piece);
                while let Some(line) = lines.next_line().unwrap() {
                    found.push(parse(&line).unwrap());
                }
            }
            assert_eq!(found, [Verb::Status, Verb::Health], "{size}");
            assert_eq!(lines.held(), 5);
        }
    }

    #[test]
    fn a_line_without_end_is_not_kept() {
        let mut lines = Lines::default();
        lines.feed(b"{\"verb\":\"status\"}\n");
        for _ in 0..10 {
            lines.feed(&[b'x'; MAX_CONTROL_REQUEST]);
        }
        assert!(lines.held() <= MAX_CONTROL_REQUEST + 100);
        assert!(lines.next_line().unwrap().is_some(), "what came before it");
        assert_eq!(lines.next_line(), Err(TooLong));
        lines.feed(b"\n{\"verb\":\"status\"}\n");
        assert_eq!(lines.next_line(), Err(TooLong));
    }

    #[test]
    fn a_request_survives_the_wire() {
        let mut request = Request::new("viewers");
        request.stream = Some("live/a".into());
        let line = serde_json::to_vec(&request).unwrap();
        assert_eq!(
            parse(&line).unwrap(),
            Verb::Viewers(
                Some("live/a".into()),
                Page {
                    after: None,
                    limit: MAX_CONTROL_PAGE
                }
            )
        );
    }
}
