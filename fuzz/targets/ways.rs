//! What encoders send that speak no RTMP.

use crtmpserver::bridge;
use crtmpserver::flv::{ReaderLimits, Tag};
use crtmpserver::ts::{Demuxer, Output};

use super::{Choices, pieces};

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
