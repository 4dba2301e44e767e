//! Whatever an encoder sends: segments of sound framing, and the same from a packager that begins later.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use crtmpserver::bridge::{Following, inspect};
use crtmpserver::hls::{Segment, media};
use crtmpserver::media::StreamName;
use crtmpserver::relay::{Claim, Hub, HubConfig, NoWake, Publisher, Tail};
use crtmpserver::rtmp::message::kind;

use super::Choices;

/// Configurations to begin with, so that not every input has to find one.
const AVC: &[u8] =
    b"\x17\0\0\0\0\x01\x42\xc0\x15\xff\xe1\0\x05\x67\x42\xc0\x15\xda\x01\0\x04\x68\xce\x3c\x80";
const AAC: &[u8] = b"\xaf\0\x12\x10";
const OPUS: &[u8] = b"\x90Opus";

/// Segments of one packager, by number.
type Made = BTreeMap<u64, Segment>;

fn follow(tail: &mut Tail, following: &mut Following, made: &mut Made) {
    tail.refresh();
    let mut more = true;
    while more {
        more = following.turn(tail, 16, |segment| {
            let Ok(segment) = segment else { return };
            check(&segment);
            made.insert(segment.number, segment);
        });
    }
}

/// Boxes of which the sizes add up, and a playlist that names it.
fn check(segment: &Segment) {
    for (file, kinds) in [
        (&segment.bytes, [b"moof", b"mdat"]),
        (&segment.init.bytes, [b"ftyp", b"moov"]),
    ] {
        let mut rest: &[u8] = file;
        for kind in kinds {
            let (size, tail) = rest.split_first_chunk::<4>().expect("a box");
            assert_eq!(&tail[..4], kind);
            rest = &rest[usize::try_from(u32::from_be_bytes(*size)).expect("32 bits")..];
        }
        assert!(rest.is_empty(), "something behind the boxes");
    }
    assert!(segment.duration > 0);
    let name = segment.name().to_string();
    assert!(media(&[Arc::new(segment.clone())], true).contains(&name));
}

/// A packager with what it reads and what it made.
struct Packaging {
    tail: Tail,
    following: Following,
    made: Made,
}

impl Packaging {
    fn new(publisher: &Publisher) -> Self {
        Self {
            tail: Tail::new(Arc::clone(publisher.stream()), Arc::new(NoWake)),
            following: Following::default(),
            made: Made::new(),
        }
    }

    fn follow(&mut self) {
        follow(&mut self.tail, &mut self.following, &mut self.made);
    }
}

/// An encoder, as far as the hub knows.
struct Encoder {
    hub: Arc<Hub>,
    name: StreamName,
    id: u64,
    wire: u32,
    now: Instant,
    headers: &'static [(u8, &'static [u8])],
}

impl Encoder {
    /// Comes, or comes back.
    fn publish(&mut self) -> Option<Publisher> {
        self.id += 1;
        let claim = Claim {
            identity: None,
            source: String::new(),
            displaced: Arc::new(NoWake),
            id: self.id,
            epoch: None,
        };
        let published = self
            .hub
            .publish(&self.name, claim, self.now, 1_790_000_000_000);
        let mut publisher = published.ok()?;
        for (message, payload) in self.headers {
            self.push(&mut publisher, *message, payload);
        }
        Some(publisher)
    }

    fn push(&self, publisher: &mut Publisher, message: u8, payload: &[u8]) {
        if let Ok(parts) = inspect(message, self.wire, Bytes::copy_from_slice(payload)) {
            let _ = publisher.push(parts, self.now);
        }
    }
}

/// Messages with their times, reconnects, and a second packager that begins anywhere.
pub fn packager(data: &[u8]) {
    let mut choices = Choices(data);
    let Ok(name) = StreamName::new("live", "x") else {
        return;
    };
    let start = choices.byte();
    let mut encoder = Encoder {
        hub: Hub::new(HubConfig::default()),
        name,
        id: 0,
        wire: 0,
        now: Instant::now(),
        headers: match start & 3 {
            0 => &[(kind::VIDEO, AVC), (kind::AUDIO, AAC)],
            1 => &[(kind::AUDIO, AAC)],
            2 => &[(kind::VIDEO, AVC), (kind::AUDIO, OPUS)],
            _ => &[],
        },
    };
    let Some(mut publisher) = encoder.publish() else {
        return;
    };
    let mut first = Packaging::new(&publisher);
    let mut late: Option<Packaging> = None;
    while !choices.done() {
        let what = choices.byte();
        let step = u32::from(choices.byte()) * 16;
        encoder.wire = encoder.wire.wrapping_add(step);
        encoder.now += Duration::from_millis(step.into());
        let length = usize::from(choices.byte() & 31);
        match what & 7 {
            0 | 1 => {
                let head = if what & 8 == 0 { 0x27 } else { 0x17 };
                let tag = [&[head, 1, 0, 0, what][..], choices.bytes(length)].concat();
                encoder.push(&mut publisher, kind::VIDEO, &tag);
            }
            2 | 3 => {
                let head: &[u8] = if start & 2 == 0 {
                    b"\xaf\x01"
                } else {
                    b"\x91Opus"
                };
                let tag = [head, choices.bytes(length)].concat();
                encoder.push(&mut publisher, kind::AUDIO, &tag);
            }
            4 => encoder.push(&mut publisher, kind::VIDEO, choices.bytes(length)),
            5 => encoder.push(&mut publisher, kind::AUDIO, choices.bytes(length)),
            6 => {
                late.get_or_insert_with(|| Packaging::new(&publisher));
            }
            _ => {
                // The stream outlives its publisher.
                drop(publisher);
                let Some(next) = encoder.publish() else {
                    return;
                };
                publisher = next;
            }
        }
        first.follow();
        if let Some(late) = &mut late {
            late.follow();
        }
    }
    for (number, segment) in late.iter().flat_map(|late| &late.made) {
        let other = first.made.get(number);
        assert!(
            other.is_none_or(|o| o == segment),
            "{number} has two contents"
        );
    }
}
