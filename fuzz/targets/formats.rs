//! Handshake, FLV and codec tags.

use bytes::Bytes;
use crtmpserver::codec;
use crtmpserver::flv;
use crtmpserver::media::{Kind, Role};
use crtmpserver::rtmp::handshake::{ClientHandshake, ClientMode, ServerHandshake, Step};

use super::{Choices, pieces};

/// Takes the handshake off the front, in pieces; tells how it ended, what was sent and what is left.
fn shake(
    mut feed: impl FnMut(&mut &[u8]) -> Result<Step, String>,
    input: &[u8],
    seed: Option<u8>,
) -> (Result<Step, String>, Vec<u8>) {
    let mut left = Vec::new();
    let mut last = Ok(Step::More);
    let whole = seed.is_none().then_some(input);
    let cut = seed.into_iter().flat_map(|seed| pieces(input, seed));
    for piece in whole.into_iter().chain(cut) {
        let mut rest = piece;
        last = feed(&mut rest);
        match last {
            Ok(Step::More) => assert!(rest.is_empty(), "asked for more with input left"),
            Ok(Step::Done) => left.extend_from_slice(rest),
            Err(_) => return (last, Vec::new()),
        }
    }
    (last, left)
}

/// Both sides, whole and cut: the same end, the same answer, nothing of what follows lost.
pub fn handshake(data: &[u8]) {
    let mut choices = Choices(data);
    let first = choices.byte();
    let seed = choices.byte();
    let input = choices.0;
    let server = |seed| {
        let mut machine = ServerHandshake::new([7; 32], 1);
        let mut output = machine.output().to_vec();
        let end = shake(
            |rest| {
                let step = machine.feed(rest).map_err(|e| e.to_string());
                output.extend_from_slice(&machine.output());
                step
            },
            input,
            seed,
        );
        (end, output)
    };
    let client = |seed| {
        let mode = if first & 2 == 0 {
            ClientMode::Simple
        } else {
            ClientMode::Digest
        };
        let mut machine = ClientHandshake::new([7; 32], 1, mode);
        let mut output = machine.output().to_vec();
        let end = shake(
            |rest| {
                let step = machine.feed(rest).map_err(|e| e.to_string());
                output.extend_from_slice(&machine.output());
                step
            },
            input,
            seed,
        );
        (end, output)
    };
    let ((end, left), output) = if first & 1 == 0 {
        let whole = server(None);
        assert_eq!(whole, server(Some(seed)));
        whole
    } else {
        let whole = client(None);
        assert_eq!(whole, client(Some(seed)));
        whole
    };
    assert!(output.len() <= 1 + 2 * 1536);
    if end == Ok(Step::Done) {
        assert_eq!(left.len(), input.len() - 1 - 2 * 1536);
    }
}

/// Tags come out the same however the file is cut, and those that are written are read again.
pub fn flv(data: &[u8]) {
    let mut choices = Choices(data);
    let seed = choices.byte();
    let strict = choices.byte() & 1 == 1;
    let read = |input: &[u8], seed: Option<u8>| {
        let mut reader = flv::Reader::new(flv::ReaderLimits::default());
        if strict {
            reader = reader.strict();
        }
        let mut tags = Vec::new();
        let whole = seed.is_none().then_some(input);
        let cut = seed.into_iter().flat_map(|seed| pieces(input, seed));
        for piece in whole.into_iter().chain(cut) {
            let mut rest = piece;
            loop {
                match reader.feed(&mut rest) {
                    Ok(Some(tag)) => tags.push(tag),
                    Ok(None) => break assert!(rest.is_empty()),
                    Err(error) => return (tags, Some(error)),
                }
            }
        }
        (tags, None)
    };
    let whole = read(choices.0, None);
    assert_eq!(whole, read(choices.0, Some(seed)));
    let (tags, _) = whole;
    let mut again = flv::FileHeader {
        audio: true,
        video: true,
    }
    .encode()
    .to_vec();
    for tag in &tags {
        assert!(flv::put_tag(&mut again, tag.kind, tag.timestamp, &tag.payload).is_ok());
    }
    let (copy, error) = read(&again, Some(seed));
    assert_eq!(error, None);
    assert_eq!(tags, copy);
}

/// Whatever the payload: a classification or an error, and a plain form that is plain.
pub fn codec(data: &[u8]) {
    let mut choices = Choices(data);
    let video = choices.byte() & 1 == 0;
    let payload = Bytes::copy_from_slice(choices.0);
    let (kind, facts) = if video {
        (Kind::Video, codec::video(&payload))
    } else {
        (Kind::Audio, codec::audio(&payload))
    };
    let _ = codec::describe(kind, &payload);
    let plain = codec::unwrap_plain(kind, &payload);
    let Ok(facts) = facts else { return };
    if !video {
        assert_ne!(facts.role, Role::Key, "audio has no key frames");
    }
    if !facts.extended {
        assert_eq!(plain.as_ref(), Some(&payload), "plain already");
    } else if let Some(plain) = plain {
        let again = if video {
            codec::video(&plain)
        } else {
            codec::audio(&plain)
        };
        assert!(again.is_ok_and(|facts| !facts.extended), "not plain");
        assert!(plain.len() <= payload.len() + 8);
    }
}
