//! Requests, answers and interleaved packets (RFC 2326): out of bytes that arrive in any pieces, and into them.

use std::fmt::Write as _;

use bytes::Bytes;

use crate::limits::{MAX_RTSP_BODY, MAX_RTSP_HEAD, MAX_RTSP_HEADERS};

/// The header fields of a message, at most [`MAX_RTSP_HEADERS`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Headers(Vec<(String, String)>);

impl Headers {
    /// The first of this name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// All of this name.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        let all = self.0.iter();
        all.filter(move |(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) url: String,
    pub(super) cseq: u32,
    pub(super) headers: Headers,
    pub(super) body: String,
}

/// What the other side says to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    /// 0 when there is none that can be read.
    pub(super) status: u16,
    /// What it says in words, the first [`MAX_PHRASE`] characters.
    pub(super) phrase: String,
    pub(super) cseq: Option<u32>,
    pub(super) headers: Headers,
    pub(super) body: String,
}

/// Characters of an answer's words that are kept, to be shown.
const MAX_PHRASE: usize = 100;

impl Request {
    /// The first header of this name.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)
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
    Answer(Answer),
}

/// Why the bytes are no RTSP. The connection is of no use after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RtspError {
    /// No first line, no `CSeq`, or bytes that are no text.
    #[error("what it sends is no RTSP")]
    NotRtsp,
    /// More than [`MAX_RTSP_HEAD`], [`MAX_RTSP_HEADERS`] or [`MAX_RTSP_BODY`].
    #[error("a message is too long")]
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
    let mut headers = Headers::default();
    for line in lines {
        if headers.0.len() >= MAX_RTSP_HEADERS {
            return Err(RtspError::TooLong);
        }
        let (name, value) = line.split_once(':').ok_or(RtspError::NotRtsp)?;
        let (name, value) = (name.trim().to_owned(), value.trim().to_owned());
        headers.0.push((name, value));
    }
    let size = match headers.get("Content-Length") {
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
    let body = String::from_utf8_lossy(body).into_owned();
    let item = if first.starts_with("RTSP/") {
        Item::Answer(answered(first, headers, body))
    } else {
        Item::Request(asked(first, headers, body)?)
    };
    Ok(Some((item, end)))
}

fn asked(first: &str, headers: Headers, body: String) -> Result<Request, RtspError> {
    let mut words = first.split(' ');
    let (Some(method), Some(url), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(RtspError::NotRtsp);
    };
    if !version.starts_with("RTSP/1.") {
        return Err(RtspError::NotRtsp);
    }
    let cseq = headers.get("CSeq").and_then(|text| text.parse().ok());
    Ok(Request {
        method: method.to_owned(),
        url: url.to_owned(),
        cseq: cseq.ok_or(RtspError::NotRtsp)?,
        headers,
        body,
    })
}

fn answered(first: &str, headers: Headers, body: String) -> Answer {
    let mut words = first.splitn(3, ' ').skip(1);
    let status = words.next().and_then(|word| word.parse().ok());
    let phrase = words.next().unwrap_or_default();
    Answer {
        status: status.unwrap_or(0),
        phrase: phrase.trim().chars().take(MAX_PHRASE).collect(),
        cseq: headers.get("CSeq").and_then(|text| text.parse().ok()),
        headers,
        body,
    }
}

/// Two numbers of a `Transport`: `name=4-5`, or the first of them alone.
pub(super) fn pair(parts: &[&str], name: &str) -> Option<[u16; 2]> {
    let mut all = parts.iter();
    let value = all.find_map(|part| part.strip_prefix(name)?.strip_prefix('='))?;
    let (first, second) = value.split_once('-').unwrap_or((value, ""));
    let first: u16 = first.trim().parse().ok()?;
    let second = second.trim().parse();
    Some([first, second.unwrap_or(first.saturating_add(1))])
}

/// A request.
pub(super) fn request(method: &str, url: &str, cseq: u32, fields: &[(&str, &str)]) -> Bytes {
    let mut out = format!("{method} {url} RTSP/1.0\r\nCSeq: {cseq}\r\n");
    put_fields(&mut out, fields);
    Bytes::from(out)
}

fn put_fields(out: &mut String, fields: &[(&str, &str)]) {
    for (name, value) in fields {
        // Writing to a String cannot fail.
        let _ = write!(out, "{name}: {value}\r\n");
    }
    out.push_str("\r\n");
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
    put_fields(&mut out, fields);
    Bytes::from(out)
}
