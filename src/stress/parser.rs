//! What a viewer must understand to find the frames in what a server sends.

use std::time::Instant;

use bytes::Bytes;

use super::target::Protocol;
use crate::flv;
use crate::rtmp::client::{Client, ClientConfig, Event, Output};

/// The longest head of an HTTP answer that is taken.
const MAX_HEAD: usize = 16 * 1024;

/// The protocol side of one viewer.
pub(super) enum Parser {
    Rtmp { machine: Box<Client>, name: String },
    Flv(Http),
    Raw,
}

/// The answer to a GET.
pub(super) enum Http {
    Head(Vec<u8>),
    Body(flv::Reader),
}

/// What a frame is, and its payload.
pub(super) type Media = (u8, u32, Bytes);

impl Parser {
    /// The parser, and what to send at once.
    pub(super) fn new(
        protocol: Protocol,
        config: impl FnOnce() -> ClientConfig,
        name: String,
        request: impl FnOnce() -> Bytes,
    ) -> (Self, Bytes) {
        match protocol {
            Protocol::Rtmp => {
                let machine = Box::new(Client::new(config(), Instant::now()));
                (Self::Rtmp { machine, name }, Bytes::new())
            }
            Protocol::Flv => (Self::Flv(Http::Head(Vec::new())), request()),
            Protocol::Raw => (Self::Raw, Bytes::new()),
        }
    }

    /// Takes bytes; gives frames to `media` and bytes for the server to `write`.
    ///
    /// # Errors
    /// Why this viewer gets nothing more.
    pub(super) fn feed(
        &mut self,
        bytes: &[u8],
        now: Instant,
        media: &mut impl FnMut(Media),
        write: &mut impl FnMut(Bytes),
    ) -> Result<(), String> {
        match self {
            Self::Rtmp { machine, name } => rtmp(machine, name, (bytes, now), media, write),
            Self::Flv(http) => http.feed(bytes, media),
            Self::Raw => Ok(()),
        }
    }
}

fn rtmp(
    machine: &mut Client,
    name: &str,
    (bytes, now): (&[u8], Instant),
    media: &mut impl FnMut(Media),
    write: &mut impl FnMut(Bytes),
) -> Result<(), String> {
    machine.feed(bytes, now);
    while let Some(output) = machine.poll() {
        let event = match output {
            Output::Write(bytes) => {
                write(bytes);
                continue;
            }
            Output::Close(reason) => return Err(format!("{}: {reason}", reason.code())),
            Output::Event(event) => event,
        };
        match event {
            Event::Connected { .. } => {
                machine.play(name, -2.0);
            }
            Event::Media {
                kind,
                timestamp,
                payload,
                ..
            } => media((kind, timestamp, payload)),
            Event::Rejected {
                code, description, ..
            }
            | Event::PlayFailed {
                code, description, ..
            }
            | Event::StreamFailed {
                code, description, ..
            } => return Err(format!("the server refuses: {code} {description}")),
            Event::StreamEof { .. } => return Err("the stream ended".to_owned()),
            _ => {}
        }
    }
    Ok(())
}

impl Http {
    fn feed(&mut self, mut bytes: &[u8], media: &mut impl FnMut(Media)) -> Result<(), String> {
        if let Self::Head(head) = self {
            head.extend_from_slice(bytes);
            let Some(end) = head.windows(4).position(|w| w == b"\r\n\r\n") else {
                return if head.len() > MAX_HEAD {
                    Err("the head of the answer has no end".to_owned())
                } else {
                    Ok(())
                };
            };
            let (text, body) = head.split_at(end + 4);
            accept(&String::from_utf8_lossy(text))?;
            let body = body.to_vec();
            *self = Self::Body(flv::Reader::new(flv::ReaderLimits::default()));
            return self.feed(&body, media);
        }
        if let Self::Body(reader) = self {
            while let Some(tag) = reader.feed(&mut bytes).map_err(|e| e.to_string())? {
                media((tag.kind, tag.timestamp, tag.payload));
            }
        }
        Ok(())
    }
}

/// An error unless the answer is 200 with a plain body.
fn accept(head: &str) -> Result<(), String> {
    let status = head.lines().next().unwrap_or_default();
    if status.split_whitespace().nth(1) != Some("200") {
        return Err(format!("the server refuses: {status}"));
    }
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding:");
    if chunked {
        return Err("the answer is chunked, which this does not read".to_owned());
    }
    Ok(())
}

/// Whether a frame of a kind begins a picture that needs no other.
pub(super) fn is_key((kind, _, payload): &Media) -> bool {
    match (*kind, payload.as_ref()) {
        // Enhanced RTMP: coded frames, with or without a composition time.
        (flv::VIDEO, [first, ..]) if first & 0x80 != 0 => {
            first >> 4 & 7 == 1 && matches!(first & 15, 1 | 3)
        }
        (flv::VIDEO, [first, second, ..]) => first >> 4 == 1 && (first & 15 != 7 || *second == 1),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_however_it_is_cut() {
        let mut answer = b"HTTP/1.1 200 OK\r\nContent-Type: video/x-flv\r\n\r\n".to_vec();
        answer.extend(
            flv::FileHeader {
                audio: true,
                video: true,
            }
            .encode(),
        );
        for (time, body) in [(0, [0x17, 0, 0]), (1, [0x17, 1, 0]), (2, [0x27, 1, 0])] {
            flv::put_tag(&mut answer, flv::VIDEO, time, &body).unwrap();
        }
        for cut in 0..answer.len() {
            let mut http = Http::Head(Vec::new());
            let mut found = Vec::new();
            for part in [&answer[..cut], &answer[cut..]] {
                http.feed(part, &mut |m| found.push((m.1, is_key(&m))))
                    .unwrap();
            }
            assert_eq!(found, [(0, false), (1, true), (2, false)]);
        }
    }

    #[test]
    fn a_refusal_is_told() {
        for bad in [
            "HTTP/1.1 404 Not Found\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "nonsense\r\n\r\n",
        ] {
            let mut http = Http::Head(Vec::new());
            assert!(http.feed(bad.as_bytes(), &mut |_| {}).is_err(), "{bad}");
        }
        let mut http = Http::Head(Vec::new());
        assert!(http.feed(&[b'x'; MAX_HEAD + 1], &mut |_| {}).is_err());
    }
}
