//! The client machine against a hostile server: a mirror's master is input like any other.

use std::time::{Duration, Instant};

use bytes::Bytes;
use crtmpserver::limits::{Limits, READ_TURN};
use crtmpserver::rtmp::client::{Client, ClientConfig, Event, Output};
use crtmpserver::rtmp::handshake::ClientMode;
use crtmpserver::rtmp::server::PublishKind;

use super::{Choices, pieces};

/// A driver that plays or publishes as soon as it can, and checks what the machine tells it.
struct Driver {
    client: Client,
    publishes: bool,
    received: usize,
    sent: usize,
    written: usize,
    closed: bool,
}

impl Driver {
    fn feed(&mut self, bytes: &[u8], now: Instant) {
        for piece in bytes.chunks(READ_TURN) {
            if self.closed {
                return;
            }
            self.received += piece.len();
            self.client.feed(piece, now);
            self.drain();
        }
    }

    fn drain(&mut self) {
        for turn in 0.. {
            assert!(turn < 200_000, "the machine never ends");
            let Some(output) = self.client.poll() else {
                break;
            };
            assert!(!self.closed, "{output:?} after the end");
            match output {
                Output::Write(bytes) => {
                    assert!(!bytes.is_empty(), "an empty write");
                    self.written += bytes.len();
                }
                Output::Close(_) => self.closed = true,
                Output::Event(event) => self.answer(event),
            }
        }
        // No amplifier: what a session sends of its own accord aside, a small multiple of what came.
        let allowed = 32_768 + self.sent + 16 * self.received;
        assert!(
            self.written <= allowed,
            "{} for {}",
            self.written,
            self.received
        );
    }

    fn answer(&mut self, event: Event) {
        match event {
            Event::Connected { .. } if self.publishes => {
                self.client.publish("event", PublishKind::Live);
            }
            Event::Connected { .. } => {
                self.client.play("event", -2.0);
            }
            Event::PublishStarted { stream } => {
                self.sent += 200;
                let payload = Bytes::from_static(&[0x17; 100]);
                self.client.send_media(stream, 9, 0, &payload);
            }
            Event::Media { kind, payload, .. } => {
                assert!(matches!(kind, 8 | 9 | 18));
                assert!(payload.len() <= 8 << 20);
            }
            Event::Call { transaction, .. } => self.client.result(transaction, Vec::new()),
            _ => {}
        }
    }
}

fn config(first: u8) -> ClientConfig {
    ClientConfig {
        limits: Limits::default(),
        app: "live".to_owned(),
        tc_url: "rtmp://127.0.0.1/live".to_owned(),
        flash_ver: "fuzz".to_owned(),
        swf_url: None,
        page_url: None,
        extra: Vec::new(),
        encoder: first & 2 == 2,
        relay: first & 4 == 4,
        subscribe: first & 8 == 8,
        chunk_size: 65_536,
        window: 2_500_000,
        handshake: ClientMode::Simple,
        random: [5; 32],
    }
}

/// Arbitrary bytes of a server, behind a handshake or not, in arbitrary pieces.
pub fn client_bytes(data: &[u8]) {
    let mut choices = Choices(data);
    let first = choices.byte();
    let seed = choices.byte();
    let mut now = Instant::now();
    let config = config(first);
    let mut driver = Driver {
        publishes: config.encoder,
        client: Client::new(config, now),
        received: 0,
        sent: 0,
        written: 0,
        closed: false,
    };
    driver.drain();
    if first & 1 == 1 {
        let mut handshake = vec![0; 1 + 2 * 1536];
        handshake[0] = 3;
        driver.feed(&handshake, now);
        assert!(!driver.closed, "a good handshake was refused");
    }
    for piece in pieces(choices.0, seed) {
        driver.feed(piece, now);
    }
    // A server that falls silent is given up.
    for _ in 0..100 {
        let Some(at) = driver.client.next_timeout() else {
            break;
        };
        now = now.max(at) + Duration::from_millis(1);
        driver.client.timeout(now);
        driver.drain();
    }
    assert!(driver.closed, "a silent server is never given up");
}
