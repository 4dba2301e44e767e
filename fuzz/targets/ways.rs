//! What encoders send that speak no RTMP.

use std::time::Instant;

use crtmpserver::bridge;
use crtmpserver::flv::{ReaderLimits, Tag};
use crtmpserver::rtsp;
use crtmpserver::ts::{Demuxer, Output};

use super::{Choices, pieces};

/// A session in which everything is allowed: the same however it is cut, its answers are answers, and its
/// tags are what they say they are.
pub fn rtsp(data: &[u8]) {
    let mut choices = Choices(data);
    let (seed, refuse) = (choices.byte(), choices.byte());
    let input = choices.0;
    let limits = ReaderLimits {
        audio: 4096,
        video: 16_384,
        other: 0,
    };
    if refuse & 4 == 4 {
        return rtsp_client(input, (seed, refuse), limits);
    }
    let begin = Instant::now();
    let run = |cut: Option<u8>| {
        let mut machine = rtsp::Server::new(limits, 7, begin);
        let mut out = Vec::new();
        let mut over = false;
        let whole = cut.is_none().then_some(input);
        let cut = cut.into_iter().flat_map(|seed| pieces(input, seed));
        for piece in whole.into_iter().chain(cut) {
            machine.feed(piece, begin);
            while !over {
                match machine.poll() {
                    Ok(None) => break,
                    Ok(Some(output)) => {
                        match &output {
                            rtsp::Output::Announce(_) if refuse & 1 == 1 => machine.refuse(403),
                            rtsp::Output::Announce(_) => machine.accept(),
                            rtsp::Output::Setup(..) => machine.datagrams([4, 5]),
                            _ => {}
                        }
                        out.push(output);
                    }
                    Err(_) => over = true,
                }
            }
        }
        if !over && refuse & 2 == 2 {
            for piece in pieces(input, seed) {
                machine.datagram(usize::from(seed & 1), seed & 2 == 2, piece, begin);
            }
        }
        machine.finish();
        while let Ok(Some(output)) = machine.poll() {
            out.push(output);
        }
        out
    };
    let whole = run(None);
    assert_eq!(whole, run(Some(seed)), "cut elsewhere");
    for output in whole {
        match output {
            rtsp::Output::Tag(tag) => {
                let parts = bridge::inspect(tag.kind, tag.timestamp, tag.payload);
                assert!(parts.is_ok_and(|parts| !parts.extended), "no tag");
            }
            rtsp::Output::Write(bytes) => {
                assert!(bytes.starts_with(b"RTSP/1.0 ") && bytes.ends_with(b"\r\n\r\n"));
            }
            _ => {}
        }
    }
}

/// The same of a pull, to which the bytes are answers.
fn rtsp_client(input: &[u8], (seed, choice): (u8, u8), limits: ReaderLimits) {
    let begin = Instant::now();
    let run = |cut: Option<u8>| {
        let login = || ("ann".to_owned(), "pw".to_owned());
        let order = rtsp::Order {
            url: "rtsp://h:554/a".to_owned(),
            login: (choice & 8 == 8).then(login),
            plain: choice & 16 == 16,
            datagrams: choice & 32 == 32,
            agent: "fuzz".to_owned(),
            limits,
            chance: 7,
        };
        let mut machine = rtsp::Client::new(order, begin);
        let mut out = Vec::new();
        let mut failed = None;
        let mut drain = |machine: &mut rtsp::Client| {
            loop {
                match machine.poll() {
                    Ok(None) => break,
                    Ok(Some(rtsp::Event::Ports(_))) => machine.ports([4, 5]),
                    Ok(Some(event)) => out.push(event),
                    Err(error) => assert_eq!(failed.replace(error), None, "it failed twice"),
                }
            }
        };
        let whole = cut.is_none().then_some(input);
        let cut = cut.into_iter().flat_map(|seed| pieces(input, seed));
        for piece in whole.into_iter().chain(cut) {
            machine.feed(piece, begin);
            drain(&mut machine);
        }
        for piece in pieces(input, seed) {
            machine.datagram(usize::from(seed & 1), seed & 2 == 2, piece, begin);
            drain(&mut machine);
        }
        if let Some(at) = machine.next_timeout() {
            machine.timeout(at);
        }
        machine.teardown();
        drain(&mut machine);
        (out, failed)
    };
    let whole = run(None);
    assert_eq!(whole, run(Some(seed)), "cut elsewhere");
    for event in whole.0 {
        match event {
            rtsp::Event::Tag(tag) => {
                let parts = bridge::inspect(tag.kind, tag.timestamp, tag.payload);
                assert!(parts.is_ok_and(|parts| !parts.extended), "no tag");
            }
            rtsp::Event::Write(bytes) => {
                assert!(bytes.ends_with(b"\r\n\r\n"));
                let empty = bytes.windows(4).filter(|w| *w == b"\r\n\r\n");
                assert_eq!(empty.count(), 1, "one message");
            }
            _ => {}
        }
    }
}

/// Tags are the same however the stream is cut, are what they say they are, and are no larger than what
/// came; datagrams are taken, too.
pub fn mpegts(data: &[u8]) {
    let mut choices = Choices(data);
    let seed = choices.byte();
    let input = choices.0;
    let limits = ReaderLimits {
        audio: 4096,
        video: 16_384,
        other: 0,
    };
    let read = |cut: Option<u8>| {
        let mut demuxer = Demuxer::new(limits);
        match cut {
            Some(seed) => pieces(input, seed).for_each(|piece| demuxer.feed(piece)),
            None => demuxer.feed(input),
        }
        demuxer.finish();
        let mut tags: Vec<Tag> = Vec::new();
        while let Some(output) = demuxer.poll() {
            if let Output::Tag(tag) = output {
                tags.push(tag);
            }
        }
        (tags, demuxer.figures())
    };
    let whole = read(None);
    assert_eq!(whole, read(Some(seed)), "cut elsewhere");
    let (tags, _) = whole;
    for tag in &tags {
        let parts = bridge::inspect(tag.kind, tag.timestamp, tag.payload.clone());
        assert!(parts.is_ok_and(|parts| !parts.extended), "no tag");
    }
    let size: usize = tags.iter().map(|tag| tag.payload.len()).sum();
    // A frame costs its head and its units' sizes.
    assert!(size <= 8 * input.len() + 512, "{size} of {}", input.len());
    let mut demuxer = Demuxer::new(limits);
    for datagram in pieces(input, seed) {
        demuxer.datagram(datagram);
        while demuxer.poll().is_some() {}
    }
}
