//! The server machine against hand-made messages.

mod bounds;
mod commands;
mod recorded;

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use super::*;
use crate::amf::{Value, object};
use crate::limits::{
    ACK_INTERVAL, FLOOD_WINDOW, MAX_FLOOD_BYTES, MAX_FLOOD_MESSAGES, MAX_MESSAGE_STREAMS,
    MAX_SESSION_INPUT, READ_TURN,
};
use crate::rtmp::chunk::{ChunkReader, ChunkWriter, ReaderLimits};
use crate::rtmp::command::Command;
use crate::rtmp::status::{code, code_of};

/// A server, and a peer that says what a test wants it to say.
struct Peer {
    server: Server,
    writer: ChunkWriter,
    reader: ChunkReader,
    now: Instant,
    /// What the server wrote since the test last looked.
    written: Vec<Message>,
    bytes: usize,
    events: Vec<Event>,
    closed: Option<CloseReason>,
    answer: bool,
}

fn config() -> ServerConfig {
    ServerConfig {
        limits: Limits::default().into(),
        chunk_size: 65_536,
        window: 2_500_000,
        random: [1; 32],
        client: 1,
    }
}

impl Peer {
    fn new() -> Self {
        let now = Instant::now();
        let mut peer = Self {
            server: Server::new(config(), now),
            writer: ChunkWriter::new(),
            reader: ChunkReader::new(ReaderLimits::default()),
            now,
            written: vec![],
            bytes: 0,
            events: vec![],
            closed: None,
            answer: true,
        };
        let mut hello = vec![3; 1 + 1536];
        hello[1..9].fill(0);
        hello.extend_from_slice(&[0; 1536]);
        peer.server.feed(&hello, now);
        let Some(Output::Write(answer)) = peer.server.poll() else {
            panic!("no handshake");
        };
        assert_eq!(answer.len(), 1 + 2 * 1536);
        assert_eq!(peer.server.poll(), None);
        peer
    }

    fn connected() -> Self {
        let mut peer = Self::new();
        peer.connect(vec![]);
        peer.written.clear();
        peer.events.clear();
        peer
    }

    fn connect(&mut self, extra: Vec<(String, Value)>) {
        let mut fields = vec![("app".to_owned(), "live".into())];
        fields.extend(extra);
        let command = Command {
            object: Value::Object(fields),
            ..Command::call("connect", 1.0, vec![])
        };
        self.say(0, &command);
    }

    fn stream(&mut self) -> u32 {
        self.say(0, &Command::call("createStream", 2.0, vec![]));
        let made = self.commands();
        assert_eq!(made[0].name, "_result");
        let id = made[0].number(0).unwrap();
        (1..=16).find(|n| f64::from(*n) == id).unwrap()
    }

    fn say(&mut self, stream: u32, command: &Command) {
        self.send(
            kind::COMMAND_AMF0,
            stream,
            0,
            command.encode(kind::COMMAND_AMF0),
        );
    }

    fn send(&mut self, kind: u8, stream: u32, timestamp: u32, payload: impl Into<Bytes>) {
        let mut out = BytesMut::new();
        let chunk_stream = if kind < 7 { 2 } else { 3 };
        let payload = payload.into();
        let message = Message {
            chunk_stream,
            kind,
            timestamp,
            stream,
            payload,
        };
        self.writer.write(&mut out, &message);
        self.feed(&out);
    }

    fn feed(&mut self, bytes: &[u8]) {
        self.server.feed(bytes, self.now);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.server.poll() {
            match output {
                Output::Write(bytes) => self.read(&bytes),
                Output::Event(event) => {
                    if self.answer {
                        match &event {
                            Event::Connect(_) => self.server.accept_connect(vec![]),
                            Event::Publish { stream, .. } => self.server.accept_publish(*stream),
                            Event::Play { stream, .. } => self.server.accept_play(*stream),
                            _ => {}
                        }
                    }
                    self.events.push(event);
                }
                Output::Close(reason) => self.closed = Some(reason),
            }
        }
    }

    fn read(&mut self, mut bytes: &[u8]) {
        self.bytes += bytes.len();
        while let Some(message) = self.reader.feed(&mut bytes).unwrap() {
            if message.kind == kind::SET_CHUNK_SIZE {
                let size = u32::from_be_bytes(message.payload[..].try_into().unwrap());
                self.reader.set_chunk_size(size).unwrap();
            }
            self.written.push(message);
        }
    }

    /// The commands written since the last look.
    fn commands(&mut self) -> Vec<Command> {
        let command = |m: Message| Command::decode(m.kind, &m.payload);
        let written = std::mem::take(&mut self.written).into_iter();
        let commands = written.filter(|m| matches!(m.kind, 17 | 20));
        commands.map(command).collect::<Result<_, _>>().unwrap()
    }

    fn codes(&mut self) -> Vec<String> {
        let code = |c: &Command| code_of(c.args.first().unwrap_or(&Value::Null)).to_owned();
        self.commands().iter().map(code).collect()
    }

    fn ask(&mut self, stream: u32, name: &str, args: Vec<Value>) -> Vec<Command> {
        self.say(stream, &Command::call(name, 9.0, args));
        self.commands()
    }

    fn tick(&mut self, time: Duration) {
        self.now += time;
        self.server.timeout(self.now);
        self.drain();
    }
}
