//! What one message costs in the parsers and writers: `cargo bench --bench micro [NAME]`.
//!
//! Time depends on the machine; instructions hardly do. `benches/instructions` counts those: it runs
//! this program under valgrind as `micro --count NAME TIMES`, which runs a case so often and does
//! nothing else, so that the difference of two counts is free of preparation.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program of its own; a case that fails shall end it"
)]

use std::hint::black_box;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use criterion::{Criterion, Throughput};
use crtmpserver::amf::{Value, amf0};
use crtmpserver::flv;
use crtmpserver::rtmp::chunk::{
    ChunkReader, ChunkWriter, ReaderLimits, ReaderPhase, write_absolute,
};
use crtmpserver::rtmp::message::Message;
use crtmpserver::stress::{Programme, Synthetic};

/// A case: its name, how many messages and bytes it handles, and how.
struct Case {
    name: &'static str,
    messages: usize,
    bytes: usize,
    run: Box<dyn FnMut()>,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["--names"] => {
            for case in cases() {
                println!("{}\t{}", case.name, case.messages);
            }
        }
        ["--count", name, times] => {
            for mut case in cases().into_iter().filter(|c| c.name == *name) {
                for _ in 0..times.parse().unwrap() {
                    (case.run)();
                }
            }
        }
        _ => {
            let mut criterion = Criterion::default().configure_from_args();
            for mut case in cases() {
                let mut group = criterion.benchmark_group(case.name);
                group.throughput(Throughput::ElementsAndBytes {
                    elements: case.messages as u64,
                    bytes: case.bytes as u64,
                });
                group.bench_function("messages", |b| b.iter(&mut case.run));
                group.finish();
            }
            criterion.final_summary();
        }
    }
}

/// Ten seconds of a programme of 1 Mbit/s.
fn messages() -> Vec<Message> {
    let synthetic = Synthetic {
        bitrate: 1_000_000,
        fps: 25,
        gop: Duration::from_secs(2),
        audio: 64_000,
    };
    let programme = Programme::synthetic(&synthetic).unwrap();
    programme
        .play()
        .take_while(|due| due.at < Duration::from_secs(10))
        .map(|due| Message {
            chunk_stream: if due.kind == flv::VIDEO { 6 } else { 4 },
            kind: due.kind,
            timestamp: due.timestamp(),
            stream: 1,
            payload: due.payload(0),
        })
        .collect()
}

fn cases() -> Vec<Case> {
    let messages = messages();
    let count = messages.len();
    let payload = messages.iter().map(|m| m.payload.len()).sum();
    let mut all = Vec::new();
    for (name, size) in [("chunk reader 128", 128), ("chunk reader 4096", 4096)] {
        all.push(case(name, count, payload, chunk_reader(&messages, size)));
    }
    for (name, size) in [("chunk writer 128", 128), ("chunk writer 4096", 4096)] {
        let messages = messages.clone();
        let mut out = BytesMut::new();
        let run = move || {
            let mut writer = ChunkWriter::new();
            writer.set_chunk_size(size);
            out.clear();
            for message in &messages {
                writer.write(&mut out, message);
            }
            black_box(&out);
        };
        all.push(case(name, count, payload, run));
    }
    let shared = messages.clone();
    let rendition = move || {
        for message in &shared {
            let mut out = BytesMut::new();
            write_absolute(&mut out, 65_536, message);
            black_box(out.freeze());
        }
    };
    all.push(case("rendition", count, payload, rendition));
    all.push(case("flv reader", count, payload, flv_reader(&messages)));
    let connect = connect();
    let length = connect.len();
    let decode = move || drop(black_box(amf0::decode_all(&connect).unwrap()));
    all.push(case("amf0 decode connect", 1, length, decode));
    let values = amf0::decode_all(&self::connect()).unwrap();
    let encode = move || {
        let mut out = BytesMut::new();
        amf0::encode_all(&mut out, &values);
        black_box(out);
    };
    all.push(case("amf0 encode connect", 1, length, encode));
    all
}

fn case(name: &'static str, messages: usize, bytes: usize, run: impl FnMut() + 'static) -> Case {
    let run = Box::new(run);
    Case {
        name,
        messages,
        bytes,
        run,
    }
}

/// Reads in pieces of 16 KiB, as they come from a socket.
fn chunk_reader(messages: &[Message], size: u32) -> impl FnMut() + 'static {
    let (mut writer, mut bytes) = (ChunkWriter::new(), BytesMut::new());
    writer.set_chunk_size(size);
    for message in messages {
        writer.write(&mut bytes, message);
    }
    let expected = messages.len();
    move || {
        let mut reader = ChunkReader::new(ReaderLimits::default());
        reader.set_phase(ReaderPhase::Publishing);
        reader.set_chunk_size(size).unwrap();
        let mut count = 0;
        for mut piece in bytes.chunks(16 * 1024) {
            while let Some(message) = reader.feed(&mut piece).unwrap() {
                black_box(message);
                count += 1;
            }
        }
        assert_eq!(count, expected);
    }
}

fn flv_reader(messages: &[Message]) -> impl FnMut() + 'static {
    let header = flv::FileHeader {
        audio: true,
        video: true,
    };
    let mut bytes = header.encode().to_vec();
    for m in messages {
        flv::put_tag(&mut bytes, m.kind, m.timestamp, &m.payload).unwrap();
    }
    let expected = messages.len();
    move || {
        let mut reader = flv::Reader::new(flv::ReaderLimits::default());
        let mut count = 0;
        for mut piece in bytes.chunks(16 * 1024) {
            while let Some(tag) = reader.feed(&mut piece).unwrap() {
                black_box(tag);
                count += 1;
            }
        }
        assert_eq!(count, expected);
    }
}

/// The `connect` of an encoder.
fn connect() -> Bytes {
    let text = |s: &str| Value::String(s.to_owned());
    let fields = [
        ("app", text("live")),
        ("type", text("nonprivate")),
        ("flashVer", text("FMLE/3.0 (compatible; FMSc/1.0)")),
        ("swfUrl", text("rtmp://master.example.org/live")),
        ("tcUrl", text("rtmp://master.example.org/live")),
        ("fpad", Value::Boolean(false)),
        ("capabilities", Value::Number(15.0)),
        ("audioCodecs", Value::Number(4071.0)),
        ("videoCodecs", Value::Number(252.0)),
        ("videoFunction", Value::Number(1.0)),
        ("objectEncoding", Value::Number(0.0)),
    ];
    let object = fields.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
    let values = [text("connect"), Value::Number(1.0), Value::Object(object)];
    let mut out = BytesMut::new();
    amf0::encode_all(&mut out, &values);
    out.freeze()
}
