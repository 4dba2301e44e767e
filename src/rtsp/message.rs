//! Requests and interleaved packets out of bytes that arrive in any pieces, and answers (RFC 2326).

use std::fmt::Write as _;

use bytes::Bytes;

use crate::limits::{MAX_RTSP_BODY, MAX_RTSP_HEAD, MAX_RTSP_HEADERS};

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) url: String,
    pub(super) cseq: u32,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: String,
}

impl Request {
    /// The first header of this name.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut all = self.headers.iter();
        let found = all.find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        Some(found.1.as_str())
    }

    /// The URL's path without the slash in front of it, and without its query.
    pub(super) fn path(&self) -> &str {
        let rest = self.url.split_once("://").map_or("", |(_, rest)| rest);
        let path = rest.split_once('/').map_or("", |(_, path)| path);
        path.split(['?', '#']).next().unwrap_or_default()
    }
}

/// What a connection brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Item {
    Request(Request),
    /// A packet on a channel.
    Packet(u8, Bytes),
    /// The other side's answer to something: nothing was asked.
    Answer,
}

/// Why the bytes are no RTSP. The connection is of no use after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RtspError {
    /// No request line, no `CSeq`, or bytes that are no text.
    #[error("this is no RTSP request")]
    NotRtsp,
    /// More than [`MAX_RTSP_HEAD`], [`MAX_RTSP_HEADERS`] or [`MAX_RTSP_BODY`].
    #[error("a request is too long")]
    TooLong,
}

/// Reads one item off the front of `bytes`, which is no line end; `None`: it is not whole yet. Gives how many bytes it took.
pub(super) fn read(bytes: &[u8]) -> Result<Option<(Item, usize)>, RtspError> {
    match bytes {
        [] => return Ok(None),
        [b'$', channel, high, low, rest @ ..] => {
            let size = usize::from(u16::from_be_bytes([*high, *low]));
            let packet = rest.get(..size);
            return Ok(packet.map(|packet| {
                let item = Item::Packet(*channel, Bytes::copy_from_slice(packet));
                (item, size.saturating_add(4))
            }));
        }
        [b'$', ..] => return Ok(None),
        _ => {}
    }
    let window = bytes.get(..MAX_RTSP_HEAD).unwrap_or(bytes);
    let head = window.windows(4).position(|w| w == b"\r\n\r\n");
    // The same whether it is whole yet or not.
    let text = window
        .get(..head.unwrap_or(window.len()))
        .unwrap_or_default();
    let is_text = |b: &u8| matches!(b, b'\r' | b'\n' | b'\t' | 32..=126);
    if !text.iter().all(is_text) {
        return Err(RtspError::NotRtsp);
    }
    let Some(head) = head else {
        let room = bytes.len() < MAX_RTSP_HEAD;
        return if room {
            Ok(None)
        } else {
            Err(RtspError::TooLong)
        };
    };
    let text = std::str::from_utf8(text).map_err(|_| RtspError::NotRtsp)?;
    let mut lines = text.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let mut headers = Vec::new();
    for line in lines {
        if headers.len() >= MAX_RTSP_HEADERS {
            return Err(RtspError::TooLong);
        }
        let (name, value) = line.split_once(':').ok_or(RtspError::NotRtsp)?;
        headers.push((name.trim().to_owned(), value.trim().to_owned()));
    }
    let mut request = Request {
        method: String::new(),
        url: String::new(),
        cseq: 0,
        headers,
        body: String::new(),
    };
    let size = match request.header("Content-Length") {
        Some(text) => text.parse::<usize>().map_err(|_| RtspError::NotRtsp)?,
        None => 0,
    };
    if size > MAX_RTSP_BODY {
        return Err(RtspError::TooLong);
    }
    let begin = head.saturating_add(4);
    let end = begin.saturating_add(size);
    let Some(body) = bytes.get(begin..end) else {
        return Ok(None);
    };
    if first.starts_with("RTSP/") {
        return Ok(Some((Item::Answer, end)));
    }
    let mut words = first.split(' ');
    let (Some(method), Some(url), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(RtspError::NotRtsp);
    };
    if !version.starts_with("RTSP/1.") {
        return Err(RtspError::NotRtsp);
    }
    let cseq = request.header("CSeq").and_then(|text| text.parse().ok());
    request.cseq = cseq.ok_or(RtspError::NotRtsp)?;
    request.method = method.to_owned();
    request.url = url.to_owned();
    request.body = String::from_utf8_lossy(body).into_owned();
    Ok(Some((Item::Request(request), end)))
}

/// An answer.
pub(super) fn answer(status: u16, cseq: u32, fields: &[(&str, &str)]) -> Bytes {
    let phrase = match status {
        200 => "OK",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        415 => "Unsupported Media Type",
        454 => "Session Not Found",
        455 => "Method Not Valid in This State",
        461 => "Unsupported Transport",
        503 => "Service Unavailable",
        _ => "Error",
    };
    let mut out = format!("RTSP/1.0 {status} {phrase}\r\nCSeq: {cseq}\r\nServer: crtmpserver\r\n");
    for (name, value) in fields {
        // Writing to a String cannot fail.
        let _ = write!(out, "{name}: {value}\r\n");
    }
    out.push_str("\r\n");
    Bytes::from(out)
}
