//! The client machine against servers that leave things out, add things, or mean ill.

use std::time::Instant;

use bytes::BytesMut;
use proptest::prelude::*;

use super::*;
use crate::amf::object;
use crate::rtmp::chunk::{ChunkReader, ChunkWriter, ReaderLimits};
use crate::rtmp::status::{self, Level, code};

/// A client, and a server that says what a test wants it to say.
struct Foreign {
    client: Client,
    writer: ChunkWriter,
    reader: ChunkReader,
    now: Instant,
    heard: Vec<Command>,
    events: Vec<Event>,
    closed: Option<CloseReason>,
}

impl Foreign {
    fn new() -> Self {
        let now = Instant::now();
        let mut foreign = Self {
            client: Client::new(crate::rtmp::pair::client_config(), now),
            writer: ChunkWriter::new(),
            reader: ChunkReader::new(ReaderLimits::default()),
            now,
            heard: vec![],
            events: vec![],
            closed: None,
        };
        let Some(Output::Write(hello)) = foreign.client.poll() else {
            panic!("no handshake");
        };
        assert_eq!(hello.len(), 1 + 1536);
        let mut answer = vec![0; 1 + 2 * 1536];
        answer[0] = 3;
        foreign.client.feed(&answer, now);
        let Some(Output::Write(bytes)) = foreign.client.poll() else {
            panic!("no connect");
        };
        foreign.hear(&bytes[1536..]);
        assert_eq!(foreign.heard.remove(0).name, "connect");
        foreign
    }

    fn connected() -> Self {
        let mut foreign = Self::new();
        foreign.say(0, &status::result(1.0, Value::Null, vec![]));
        assert!(matches!(foreign.events.remove(0), Event::Connected { .. }));
        foreign
    }

    fn playing() -> Self {
        let mut foreign = Self::connected();
        let ticket = foreign.client.play("event", -1.0).unwrap();
        foreign.drain();
        assert_eq!(foreign.heard.remove(0).name, "createStream");
        let stream = vec![5.0.into()];
        foreign.say(0, &status::result(ticket.into(), Value::Null, stream));
        assert_eq!(foreign.heard.remove(0).name, "play");
        let ready = Event::StreamReady { ticket, stream: 5 };
        assert_eq!(foreign.events.remove(0), ready);
        foreign
    }

    fn say(&mut self, stream: u32, command: &Command) {
        let payload = command.encode(kind::COMMAND_AMF0);
        self.send(kind::COMMAND_AMF0, stream, payload);
    }

    fn send(&mut self, kind: u8, stream: u32, payload: impl Into<Bytes>) {
        let mut out = BytesMut::new();
        let message = Message {
            chunk_stream: 3,
            kind,
            timestamp: 0,
            stream,
            payload: payload.into(),
        };
        self.writer.write(&mut out, &message);
        self.client.feed(&out, self.now);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.client.poll() {
            match output {
                Output::Write(bytes) => self.hear(&bytes),
                Output::Event(event) => self.events.push(event),
                Output::Close(reason) => self.closed = Some(reason),
            }
        }
    }

    fn hear(&mut self, mut bytes: &[u8]) {
        while let Some(message) = self.reader.feed(&mut bytes).unwrap() {
            if message.kind == kind::SET_CHUNK_SIZE {
                let size = u32::from_be_bytes(message.payload[..].try_into().unwrap());
                self.reader.set_chunk_size(size).unwrap();
            }
            if message.kind == kind::COMMAND_AMF0 {
                let command = Command::decode(message.kind, &message.payload);
                self.heard.push(command.unwrap());
            }
        }
    }
}

fn notice(name: &str, args: Vec<Value>) -> Command {
    Command::notice(name, args)
}

#[test]
fn what_is_missing_in_an_answer_is_tolerated() {
    let mut foreign = Foreign::playing();
    foreign.say(5, &notice("onStatus", vec![]));
    foreign.say(
        5,
        &notice("onStatus", vec![object([("level", "status".into())])]),
    );
    foreign.say(0, &notice("onFCSubscribe", vec![]));
    foreign.say(0, &status::result(77.0, Value::Null, vec![]));
    foreign.say(0, &notice("_error", vec![]));
    assert_eq!(foreign.events.len(), 2);
    assert!(
        foreign
            .events
            .iter()
            .all(|e| matches!(e, Event::Status { stream: 5, .. }))
    );
    // Not found, without a level, on message stream 0.
    foreign.events.clear();
    let info = object([("code", code::PLAY_STREAM_NOT_FOUND.into())]);
    foreign.say(0, &notice("onStatus", vec![info]));
    let failed = Event::PlayFailed {
        stream: 5,
        code: code::PLAY_STREAM_NOT_FOUND.into(),
        description: String::new(),
    };
    assert_eq!(foreign.events, [failed]);
}

#[test]
fn calls_of_the_server_are_answered_or_handed_on() {
    let mut foreign = Foreign::connected();
    foreign.say(0, &status::on_bw_done());
    foreign.say(0, &Command::call("onBWCheck", 3.0, vec!["x".into()]));
    assert_eq!(
        (&*foreign.heard[0].name, foreign.heard[0].transaction),
        ("_result", 3.0)
    );
    assert!(foreign.events.is_empty());
    foreign.say(0, &Command::call("whoAreYou", 4.0, vec![]));
    assert!(matches!(&foreign.events[0], Event::Call { transaction, .. } if *transaction == 4.0));
    foreign.client.result(4.0, vec!["me".into()]);
    foreign.client.error(0.0, Value::Null);
    foreign.drain();
    assert_eq!(foreign.heard.len(), 2);
    assert_eq!(foreign.heard[1].text(0), Some("me"));
    foreign.say(0, &notice("close", vec![]));
    assert_eq!(foreign.closed, Some(CloseReason::ByPeer));
}

#[test]
fn a_refusal_in_any_form_is_one() {
    let info = || status::info(Level::Error, code::CONNECT_INVALID_APP, "no such app");
    let forms = [
        status::error(1.0, info()),
        status::result(1.0, Value::Null, vec![info()]),
        notice("onStatus", vec![info()]),
    ];
    for form in forms {
        let mut foreign = Foreign::new();
        foreign.say(0, &form);
        assert!(
            matches!(&foreign.events[..], [Event::Rejected { code, .. }] if code == code::CONNECT_INVALID_APP),
            "{form:?}"
        );
        assert_eq!(foreign.closed.unwrap().code(), "connect-rejected");
    }
    let mut foreign = Foreign::new();
    foreign.say(0, &notice("_error", vec![]));
    assert_eq!(foreign.closed, None, "an answer to nothing");
    foreign.say(0, &Command::call("_error", 1.0, vec![]));
    assert!(matches!(&foreign.events[..], [Event::Rejected { code, .. }] if code.is_empty()));
}

#[test]
fn a_stream_without_a_usable_id_fails() {
    for id in [
        vec![],
        vec![Value::Null],
        vec![0.0.into()],
        vec![f64::NAN.into()],
        vec![1e10.into()],
        vec![1.5.into()],
    ] {
        let mut foreign = Foreign::connected();
        let ticket = foreign.client.play("event", -1.0).unwrap();
        foreign.drain();
        foreign.say(0, &status::result(ticket.into(), Value::Null, id.clone()));
        assert!(
            matches!(&foreign.events[..], [Event::StreamFailed { ticket: failed, .. }] if *failed == ticket),
            "{id:?}"
        );
    }
    let mut foreign = Foreign::connected();
    let ticket = foreign.client.publish("event", PublishKind::Live).unwrap();
    foreign.drain();
    foreign.say(0, &status::call_failed(ticket.into(), "createStream"));
    assert!(
        matches!(&foreign.events[..], [Event::StreamFailed { code, .. }] if code == code::CALL_FAILED)
    );
    // Two streams of one id would mix.
    let mut foreign = Foreign::playing();
    let ticket = foreign.client.play("other", -1.0).unwrap();
    foreign.drain();
    foreign.say(
        0,
        &status::result(ticket.into(), Value::Null, vec![5.0.into()]),
    );
    assert!(matches!(&foreign.events[..], [Event::StreamFailed { .. }]));
}

#[test]
fn media_that_was_not_asked_for_is_dropped() {
    let mut foreign = Foreign::playing();
    foreign.send(kind::VIDEO, 9, &b"v"[..]);
    assert!(foreign.events.is_empty());
    foreign.send(kind::VIDEO, 5, &b"v"[..]);
    assert_eq!(foreign.events.len(), 2);
    foreign.client.delete_stream(5);
    foreign.send(kind::VIDEO, 5, &b"v"[..]);
    assert_eq!(foreign.events.len(), 2);
    assert_eq!(foreign.closed, None);
}

#[test]
fn a_hostile_server_meets_the_limits() {
    let code = |kind: u8, payload: &[u8]| {
        let mut foreign = Foreign::playing();
        foreign.send(kind, 5, payload.to_vec());
        foreign.closed.map(|reason| reason.code())
    };
    let mut nested = b"\x02\x00\x01x\x00\0\0\0\0\0\0\0\0".to_vec();
    nested.extend(b"\x0a\x00\x00\x00\x01".repeat(10_000));
    assert_eq!(code(kind::COMMAND_AMF0, &nested), Some("bad-command"));
    assert_eq!(code(kind::SET_CHUNK_SIZE, &[0; 4]), Some("bad-chunk"));
    assert_eq!(code(kind::AGGREGATE, &[9; 12]), Some("bad-aggregate"));
    let foreign = &mut Foreign::playing();
    // 16 MiB claimed in 12 bytes.
    let claim = [4u8, 0, 0, 0, 0xff, 0xff, 0xff, 9, 5, 0, 0, 0];
    foreign.client.feed(&claim, foreign.now);
    foreign.drain();
    assert_eq!(foreign.closed.as_ref().unwrap().code(), "bad-chunk");
}

proptest! {
    #[test]
    fn any_bytes_of_a_server_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
        let mut foreign = Foreign::playing();
        foreign.client.feed(&bytes, foreign.now);
        foreign.drain();
        prop_assert!(foreign.events.len() <= bytes.len());
    }

    #[test]
    fn any_messages_of_a_server_are_survived(
        messages in prop::collection::vec((1u8..23, 0u32..7, prop::collection::vec(0u8..20, 0..40)), 0..40)
    ) {
        let mut foreign = Foreign::playing();
        for (kind, stream, payload) in messages {
            if kind == kind::SET_CHUNK_SIZE {
                continue;
            }
            foreign.send(kind, stream, payload);
        }
    }
}
