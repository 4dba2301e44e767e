//! The relay as its users see it.

mod epochs;
mod hub;
mod properties;
mod threads;
mod viewers;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::*;
use crate::media::{FourCc, Frame, FrameParts, Kind, Role, Slot, StreamName};

/// Wall-clock time at the start of each test.
const WALL: u64 = 1_800_000_000_000;

/// A hub with a clock of its own.
struct Rig {
    hub: Arc<Hub>,
    start: Instant,
    now: Instant,
}

impl Rig {
    fn new() -> Self {
        Self::with(HubConfig::default())
    }

    fn with(config: HubConfig) -> Self {
        let start = Instant::now();
        Self {
            hub: Hub::new(config),
            start,
            now: start,
        }
    }

    fn pass(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
    }

    fn wall(&self) -> u64 {
        WALL + millis(self.now - self.start)
    }

    fn try_publish(&self, claim: Claim) -> Result<Publisher, PublishError> {
        self.hub.publish(&name(), claim, self.now, self.wall())
    }

    fn publish(&self) -> Publisher {
        self.try_publish(claim(Some("user"), 1)).unwrap()
    }

    fn pull(&self, epoch: EpochInfo) -> Publisher {
        let epoch = Some(epoch);
        self.try_publish(Claim {
            epoch,
            ..claim(Some("pull"), 0)
        })
        .unwrap()
    }

    fn tail(&self) -> Tail {
        Tail::new(self.hub.get(&name()).unwrap(), Arc::new(NoWake))
    }

    fn quiet_tick(&self) {
        self.hub.tick(self.now, &|_, _| None);
    }

    fn tick(&self) {
        self.hub.tick(self.now, &|_, waited| {
            Some(Bytes::from(format!("{}", millis(waited))))
        });
    }
}

fn name() -> StreamName {
    StreamName::new("live", "event").unwrap()
}

fn claim(identity: Option<&str>, id: u64) -> Claim {
    Claim {
        identity: identity.map(str::to_owned),
        source: "192.0.2.1:5".to_owned(),
        displaced: Arc::new(NoWake),
        id,
        epoch: None,
    }
}

fn parts(kind: Kind, role: Role, timestamp: u32, payload: &str) -> FrameParts {
    FrameParts {
        kind,
        role,
        codec: match kind {
            Kind::Audio => Some(FourCc(*b"mp4a")),
            Kind::Video => Some(FourCc(*b"avc1")),
            _ => None,
        },
        extended: false,
        timestamp,
        payload: Bytes::copy_from_slice(payload.as_bytes()),
    }
}

fn key(timestamp: u32, payload: &str) -> FrameParts {
    parts(Kind::Video, Role::Key, timestamp, payload)
}

fn inter(timestamp: u32, payload: &str) -> FrameParts {
    parts(Kind::Video, Role::Inter, timestamp, payload)
}

fn audio(timestamp: u32, payload: &str) -> FrameParts {
    parts(Kind::Audio, Role::Inter, timestamp, payload)
}

fn data(timestamp: u32, payload: &str) -> FrameParts {
    parts(Kind::Data, Role::Inter, timestamp, payload)
}

fn header(slot: Slot, timestamp: u32, payload: &str) -> FrameParts {
    let kind = match slot {
        Slot::Metadata => Kind::Data,
        Slot::VideoSequence(_) | Slot::VideoColor(_) => Kind::Video,
        Slot::AudioSequence(_) | Slot::AudioChannels(_) => Kind::Audio,
    };
    parts(kind, Role::Header(slot), timestamp, payload)
}

/// The three headers that every encoder sends; their payloads end in `mark`.
fn headers(timestamp: u32, mark: &str) -> [FrameParts; 3] {
    [
        header(Slot::AudioSequence(0), timestamp, &format!("A{mark}")),
        header(Slot::VideoSequence(0), timestamp, &format!("V{mark}")),
        header(Slot::Metadata, timestamp, &format!("M{mark}")),
    ]
}

/// All that a viewer can read now, as `payload@time`.
fn drain(tail: &Tail, cursor: &mut Cursor) -> Vec<String> {
    let mut seen = Vec::new();
    while let Next::Frame(frame) = tail.current(cursor) {
        seen.push(text(frame));
        cursor.advance();
    }
    seen
}

fn text(frame: &Frame) -> String {
    format!("{}@{}", String::from_utf8_lossy(&frame.payload), frame.time)
}

/// Counts how often it was woken.
#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Bell {
    fn rings(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}
