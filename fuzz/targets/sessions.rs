//! The machines as wholes: bytes of a hostile peer, and sequences of legal operations in any order.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use crtmpserver::amf::{Value, object};
use crtmpserver::limits::{Limits, READ_TURN};
use crtmpserver::rtmp::chunk::ChunkWriter;
use crtmpserver::rtmp::command::Command;
use crtmpserver::rtmp::message::{Message, kind};
use crtmpserver::rtmp::server::{Event, Output, Server, ServerConfig};

use super::{Choices, pieces};

/// A complete simple handshake of a client.
fn handshake() -> Vec<u8> {
    let mut bytes = vec![0; 1 + 2 * 1536];
    bytes[0] = 3;
    bytes
}

/// A driver that decides by chance, and checks what the machine tells it.
struct Driver {
    server: Server,
    now: Instant,
    received: usize,
    written: usize,
    closed: bool,
    /// Message streams that publish with our consent.
    publishing: BTreeMap<u32, bool>,
    /// Bit by bit: how to answer what is asked next.
    mood: u32,
}

impl Driver {
    fn new(mood: u32) -> Self {
        let now = Instant::now();
        let config = ServerConfig {
            limits: Limits::default().into(),
            chunk_size: 65_536,
            window: 2_500_000,
            random: [9; 32],
            client: 1,
        };
        Self {
            server: Server::new(config, now),
            now,
            received: 0,
            written: 0,
            closed: false,
            publishing: BTreeMap::new(),
            mood,
        }
    }

    fn yes(&mut self) -> bool {
        self.mood = self.mood.rotate_left(1);
        // Mostly yes, or nothing interesting happens.
        self.mood & 3 != 3
    }

    fn feed(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(READ_TURN) {
            if self.closed {
                return;
            }
            self.received += piece.len();
            self.server.feed(piece, self.now);
            self.drain();
        }
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        // The machine is woken when it asked to be, as a driver does.
        for _ in 0..100 {
            match self.server.next_timeout() {
                Some(at) if at <= end && !self.closed => {
                    self.now = self.now.max(at);
                    self.server.timeout(self.now);
                    self.drain();
                }
                _ => break,
            }
        }
        self.now = end;
    }

    fn drain(&mut self) {
        for turn in 0.. {
            assert!(turn < 200_000, "the machine never ends");
            let Some(output) = self.server.poll() else {
                break;
            };
            assert!(!self.closed, "{output:?} after the end");
            match output {
                Output::Write(bytes) => {
                    assert!(!bytes.is_empty(), "an empty write");
                    self.written += bytes.len();
                }
                Output::Event(event) => self.answer(event),
                Output::Close(_) => self.closed = true,
            }
        }
        // No amplifier: handshake and answer of connect aside, a small multiple of what came.
        let allowed = 16_384 + 16 * self.received;
        assert!(
            self.written <= allowed,
            "{} for {}",
            self.written,
            self.received
        );
    }

    fn answer(&mut self, event: Event) {
        let yes = self.yes();
        match event {
            Event::Connect(request) => {
                assert!(!request.app.contains('?'));
                if yes {
                    self.server.accept_connect(Vec::new());
                } else {
                    self.server
                        .reject_connect("NetConnection.Connect.Rejected", "no", None);
                }
            }
            Event::Publish { stream, .. } => {
                assert!(!self.publishing.contains_key(&stream), "published twice");
                #[cfg(feature = "publish")]
                if yes {
                    self.server.accept_publish(stream);
                    self.publishing.insert(stream, true);
                    return;
                }
                self.server
                    .reject_publish(stream, "NetStream.Publish.BadName", "no");
            }
            Event::Unpublish { stream } => {
                assert!(self.publishing.remove(&stream).is_some(), "never published");
            }
            Event::Play { stream, .. } => {
                if yes && stream.is_multiple_of(2) {
                    self.server.accept_recorded(stream);
                } else if yes {
                    self.server.accept_play(stream);
                } else {
                    self.server
                        .reject_play(stream, "NetStream.Play.StreamNotFound", "no");
                }
            }
            Event::PlayNext { stream, name, .. } => {
                if yes {
                    self.server.switch_play(stream, &name, Some((1.0, 1000.0)));
                } else if self.mood & 4 == 0 {
                    self.server.play_instead(stream, &name);
                    self.server.accept_recorded(stream);
                } else {
                    self.server
                        .skip_play(stream, &name, "NetStream.Play.Failed", "no");
                }
            }
            Event::Media {
                stream,
                kind,
                payload,
                ..
            } => {
                assert!(self.publishing.contains_key(&stream), "media of nobody");
                assert!(matches!(kind, 8 | 9 | 18));
                assert!(payload.len() <= 8 << 20);
            }
            Event::Call {
                transaction, name, ..
            } => {
                if yes {
                    self.server.unknown_call(transaction, &name);
                } else {
                    self.server.result(transaction, vec![Value::Null]);
                }
            }
            _ => {}
        }
    }
}

/// Arbitrary bytes, behind a handshake or not, in arbitrary pieces, with time passing between them.
pub fn server_bytes(data: &[u8]) {
    let mut choices = Choices(data);
    let first = choices.byte();
    let seed = choices.byte();
    let mut driver = Driver::new(choices.word());
    if first & 1 == 1 {
        driver.feed(&handshake());
        assert!(!driver.closed, "a good handshake was refused");
    }
    for piece in pieces(choices.0, seed) {
        driver.feed(piece);
        if first & 2 == 2 {
            driver.pass(Duration::from_millis(700));
        }
    }
    driver.pass(Duration::from_secs(200));
    if !driver.closed && driver.publishing.is_empty() {
        // A peer that stays silent is closed in the end, unless it plays: then by its silence too.
        driver.pass(Duration::from_secs(600));
        assert!(driver.closed, "a silent peer stays for ever");
    }
}

/// Sequences of messages as a client's library would send them, but in any order.
pub fn server_ops(data: &[u8]) {
    let mut choices = Choices(data);
    let seed = choices.byte();
    let mut driver = Driver::new(choices.word());
    driver.feed(&handshake());
    let mut writer = ChunkWriter::new();
    let mut count = 0;
    if seed & 1 == 0 {
        let fields = object([
            ("app", Value::from("live")),
            ("tcUrl", "rtmp://h/live".into()),
        ]);
        let mut connect = Command::call("connect", 1.0, Vec::new());
        connect.object = fields;
        send(&mut driver, &mut writer, command(0, &connect), seed);
    }
    while !choices.done() && !driver.closed && count < 300 {
        count += 1;
        let operation = choices.byte();
        let stream = u32::from(choices.byte() % 5);
        let message = match operation % 24 {
            0 => {
                let fields = object([
                    ("app", Value::from("live?x=1")),
                    ("objectEncoding", 3.0.into()),
                ]);
                let mut connect = Command::call("connect", 1.0, Vec::new());
                connect.object = fields;
                command(0, &connect)
            }
            1..=3 => command(0, &Command::call("createStream", f64::from(count), vec![])),
            4..=6 => {
                let args = vec!["event".into(), "live".into()];
                command(stream, &Command::call("publish", f64::from(count), args))
            }
            7..=8 => {
                let mut args = vec!["event?t=1".into(), Value::Number(-2.0)];
                if operation % 24 == 8 {
                    args.extend([Value::Number(-1.0), false.into()]);
                }
                command(stream, &Command::call("play", f64::from(count), args))
            }
            9 => {
                let args = vec![Value::Number(f64::from(stream))];
                command(0, &Command::call("deleteStream", f64::from(count), args))
            }
            10 => command(stream, &Command::call("closeStream", 0.0, vec![])),
            11 => command(0, &Command::call("FCUnpublish", 3.0, vec!["event".into()])),
            12 => command(stream, &Command::call("publish", 0.0, vec![false.into()])),
            13 => {
                let args = vec![(operation > 127).into(), 40.0.into()];
                command(stream, &Command::call("pause", 0.0, args))
            }
            14 => command(stream, &Command::call("seek", 0.0, vec![80.0.into()])),
            15 => command(
                stream,
                &Command::call("receiveVideo", 0.0, vec![false.into()]),
            ),
            16 => command(
                0,
                &Command::call("frobnicate", f64::from(count), vec![Value::Null]),
            ),
            17 => {
                let size = u32::from(choices.pair()) + 128;
                let message = control(kind::SET_CHUNK_SIZE, size);
                send(&mut driver, &mut writer, message, seed);
                writer.set_chunk_size(size);
                continue;
            }
            18 => control(kind::WINDOW_ACK, choices.word()),
            19 => control(kind::ABORT, u32::from(choices.byte())),
            20 => {
                driver.pass(Duration::from_millis(u64::from(choices.pair())));
                continue;
            }
            21 => media(kind::AGGREGATE, stream, &mut choices),
            22 => media(kind::DATA_AMF0, stream, &mut choices),
            _ => media(kind::AUDIO + (operation >> 7), stream, &mut choices),
        };
        send(&mut driver, &mut writer, message, seed);
    }
    driver.pass(Duration::from_secs(200));
}

fn send(driver: &mut Driver, writer: &mut ChunkWriter, message: Message, seed: u8) {
    let mut wire = BytesMut::new();
    writer.write(&mut wire, &message);
    for piece in pieces(&wire, seed) {
        driver.feed(piece);
    }
}

fn command(stream: u32, command: &Command) -> Message {
    Message {
        chunk_stream: 3,
        kind: kind::COMMAND_AMF0,
        timestamp: 0,
        stream,
        payload: command.encode(kind::COMMAND_AMF0),
    }
}

fn control(kind: u8, number: u32) -> Message {
    Message {
        chunk_stream: 2,
        kind,
        timestamp: 0,
        stream: 0,
        payload: Bytes::copy_from_slice(&number.to_be_bytes()),
    }
}

fn media(kind: u8, stream: u32, choices: &mut Choices<'_>) -> Message {
    let timestamp = choices.word();
    let size = usize::from(choices.byte());
    Message {
        chunk_stream: 4 + stream,
        kind,
        timestamp,
        stream,
        payload: Bytes::copy_from_slice(choices.bytes(size)),
    }
}
