//! The head of an HTTP/1 request, as far as the shard needs it to route the connection.

use super::via::via_of;
use crate::auth::RESERVED;
use crate::cluster::Via;
use crate::limits::{MAX_HTTP_HEAD, MAX_HTTP_HEADERS};
use crate::media::{NameError, StreamName};

/// What may be done with a stream.
pub(super) const METHODS: &str = "GET, HEAD, OPTIONS";

/// What a request wants done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Head,
    Options,
    Other,
}

/// A whole head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) method: Method,
    /// The path without query, as it was sent.
    pub(super) path: String,
    pub(super) via: Via,
}

/// Why a head is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadHead {
    #[error("the head of the request is longer than {MAX_HTTP_HEAD} bytes")]
    TooLong,
    #[error("the request has more than {MAX_HTTP_HEADERS} header fields")]
    TooManyFields,
    #[error("this is RTMP, and the port speaks HTTP")]
    Rtmp,
    #[error("this is TLS, and the port speaks plain HTTP")]
    Tls,
    #[error("this is not HTTP")]
    Syntax,
}

impl BadHead {
    /// The status to answer with; `None` to answer nothing, to a peer that would not understand it.
    pub(super) const fn status(self) -> Option<u16> {
        match self {
            Self::TooLong | Self::TooManyFields => Some(431),
            Self::Syntax => Some(400),
            Self::Rtmp | Self::Tls => None,
        }
    }

    /// The label of the metrics and the field of the log.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::TooLong | Self::TooManyFields => "head-too-large",
            Self::Rtmp => "rtmp-on-http",
            Self::Tls => "tls-on-http",
            Self::Syntax => "bad-request",
        }
    }
}

/// Reads a head from everything that has arrived so far; `None` while it is not complete.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<Head>, BadHead> {
    match bytes.first() {
        Some(0x03) => return Err(BadHead::Rtmp),
        Some(0x16) => return Err(BadHead::Tls),
        _ => {}
    }
    let mut fields = [httparse::EMPTY_HEADER; MAX_HTTP_HEADERS];
    let mut request = httparse::Request::new(&mut fields);
    let status = request.parse(bytes).map_err(|e| match e {
        httparse::Error::TooManyHeaders => BadHead::TooManyFields,
        _ => BadHead::Syntax,
    })?;
    let length = match status {
        httparse::Status::Complete(length) => length,
        httparse::Status::Partial if bytes.len() >= MAX_HTTP_HEAD => return Err(BadHead::TooLong),
        httparse::Status::Partial => return Ok(None),
    };
    if length > MAX_HTTP_HEAD {
        return Err(BadHead::TooLong);
    }
    let (Some(method), Some(target)) = (request.method, request.path) else {
        return Err(BadHead::Syntax);
    };
    Ok(Some(Head {
        method: method_of(method),
        path: path_of(target).to_owned(),
        via: via_of(request.headers),
    }))
}

/// Methods are case-sensitive (RFC 9110 section 9.1).
pub(super) fn method_of(text: &str) -> Method {
    match text {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "OPTIONS" => Method::Options,
        _ => Method::Other,
    }
}

/// The path of a request target in origin or absolute form (RFC 9112 section 3.2).
fn path_of(target: &str) -> &str {
    let rest = match target.split_once("://") {
        Some((scheme, rest)) if !scheme.contains('/') => {
            rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/")
        }
        _ => target,
    };
    rest.split('?').next().unwrap_or(rest)
}

/// The stream that `/APP/STREAM.flv` names; `None` for every other path.
pub(super) fn flv_stream(path: &str) -> Option<Result<StreamName, NameError>> {
    let (app, name) = path
        .strip_suffix(".flv")?
        .strip_prefix('/')?
        .split_once('/')?;
    if RESERVED.contains(&app) {
        return None;
    }
    Some(StreamName::new(app, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: &[u8] =
        b"GET /live/event.flv?token=x HTTP/1.1\r\nHost: a.example:8080\r\nX: y\r\n\r\nrest";

    #[test]
    fn a_head_is_read_wherever_it_is_cut() {
        let whole = REQUEST.len() - b"rest".len();
        for cut in 0..=REQUEST.len() {
            let head = parse(&REQUEST[..cut]).unwrap();
            assert_eq!(head.is_some(), cut >= whole, "cut at {cut}");
        }
        let head = parse(REQUEST).unwrap().unwrap();
        assert_eq!(head.method, Method::Get);
        assert_eq!(head.path, "/live/event.flv");
    }

    #[test]
    fn the_bounds_hold_at_the_limit_and_not_before() {
        let with_fields = |n: usize| {
            let fields: String = (0..n).map(|i| format!("F{i}: x\r\n")).collect();
            parse(format!("GET / HTTP/1.1\r\n{fields}\r\n").as_bytes())
        };
        assert!(with_fields(MAX_HTTP_HEADERS).unwrap().is_some());
        assert_eq!(
            with_fields(MAX_HTTP_HEADERS + 1),
            Err(BadHead::TooManyFields)
        );

        let with_length = |n: usize| {
            let frame = "GET / HTTP/1.1\r\nF: \r\n\r\n".len();
            parse(format!("GET / HTTP/1.1\r\nF: {}\r\n\r\n", "x".repeat(n - frame)).as_bytes())
        };
        assert!(with_length(MAX_HTTP_HEAD).unwrap().is_some());
        assert_eq!(with_length(MAX_HTTP_HEAD + 1), Err(BadHead::TooLong));
        let endless = vec![b'x'; MAX_HTTP_HEAD];
        assert_eq!(parse(&endless[..MAX_HTTP_HEAD - 1]), Ok(None));
        assert_eq!(parse(&endless), Err(BadHead::TooLong));
    }

    #[test]
    fn other_protocols_are_named() {
        assert_eq!(parse(&[3, 0, 0, 0, 0]), Err(BadHead::Rtmp));
        assert_eq!(parse(&[0x16, 3, 1]), Err(BadHead::Tls));
        assert_eq!(parse(b"\x00\x01garbage\r\n\r\n"), Err(BadHead::Syntax));
        assert_eq!(parse(b"GET / HTTP/9.9\r\n\r\n"), Err(BadHead::Syntax));
    }

    #[test]
    fn paths_name_streams_or_not() {
        let good = |path| flv_stream(path).unwrap().unwrap().to_string();
        assert_eq!(good("/live/event.flv"), "live/event");
        assert_eq!(good("/live/a/b.flv"), "live/a/b");
        for bad in ["/live/a%20b.flv", "/live/.flv", "/live/../x.flv", "//x.flv"] {
            assert!(flv_stream(bad).unwrap().is_err(), "{bad}");
        }
        for other in [
            "/",
            "/live/event",
            "/event.flv",
            "/watch/x.flv",
            "live/x.flv",
        ] {
            assert_eq!(flv_stream(other), None, "{other}");
        }
        assert_eq!(path_of("http://a.example/live/x.flv?y"), "/live/x.flv");
        assert_eq!(path_of("http://a.example"), "/");
        assert_eq!(path_of("/a?u=http://b/c"), "/a");
        assert_eq!(path_of("*"), "*");
    }
}
