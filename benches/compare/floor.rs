//! The least that a sender can cost: the chunks of a programme, made beforehand, to every socket that
//! connects. No protocol, no joining, no care for the slow; a comparison for the real servers.
//!
//! `floor ADDRESS frame|MILLISECONDS [BITRATE]`: one `send` for each viewer and message, or for what
//! gathered in so many milliseconds.

#![expect(
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a program of its own, with one thread"
)]

use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use crtmpserver::rtmp::chunk::write_absolute;
use crtmpserver::rtmp::message::Message;
use crtmpserver::stress::{Programme, Synthetic};

/// Length of the loop.
const LOOP: Duration = Duration::from_secs(20);
/// New viewers in one turn, so that a ramp does not delay those that are there.
const ACCEPTS: usize = 8;

/// When so much of the loop is due.
struct Mark {
    at: Duration,
    end: usize,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        [address, every] => run(address, every, "1000000"),
        [address, every, bitrate] => run(address, every, bitrate),
        _ => Err(io::Error::other(
            "floor ADDRESS frame|MILLISECONDS [BITRATE]",
        )),
    };
    if let Err(error) = done {
        eprintln!("floor: {error}");
        std::process::exit(64);
    }
}

fn run(address: &str, every: &str, bitrate: &str) -> io::Result<()> {
    let bitrate = bitrate.parse().map_err(io::Error::other)?;
    let (bytes, marks) = programme(bitrate)?;
    let marks = match every {
        "frame" => marks,
        every => gather(
            &marks,
            Duration::from_millis(every.parse().map_err(io::Error::other)?),
        ),
    };
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let mut viewers: Vec<(TcpStream, usize)> = Vec::new();
    let mut begin = Instant::now();
    loop {
        let mut from = 0_usize;
        for mark in &marks {
            loop {
                for _ in 0..ACCEPTS {
                    let Ok((socket, _)) = listener.accept() else {
                        break;
                    };
                    socket.set_nodelay(true)?;
                    socket.set_nonblocking(true)?;
                    viewers.push((socket, from));
                }
                let left = (begin + mark.at).saturating_duration_since(Instant::now());
                if left.is_zero() {
                    break;
                }
                std::thread::sleep(left.min(Duration::from_millis(5)));
            }
            viewers.retain_mut(|(socket, at)| send(socket, at, &bytes, mark.end));
            from = mark.end;
        }
        begin += LOOP;
        for (_, at) in &mut viewers {
            *at = 0; // who is behind loses the rest
        }
    }
}

/// Whether the viewer is still there.
fn send(socket: &mut TcpStream, at: &mut usize, bytes: &[u8], end: usize) -> bool {
    let due = bytes.get(*at..end).unwrap_or_default();
    if due.is_empty() {
        return true;
    }
    match socket.write(due) {
        Ok(n) => {
            *at += n;
            true
        }
        Err(e) => e.kind() == io::ErrorKind::WouldBlock,
    }
}

/// The programme as chunks, and when each message is due.
fn programme(bitrate: u64) -> io::Result<(BytesMut, Vec<Mark>)> {
    let synthetic = Synthetic {
        bitrate,
        fps: 25,
        gop: Duration::from_secs(2),
        audio: 64_000,
    };
    let programme = Programme::synthetic(&synthetic).map_err(io::Error::other)?;
    let (mut bytes, mut marks) = (BytesMut::new(), Vec::new());
    for due in programme.play().take_while(|due| due.at < LOOP) {
        let message = Message {
            chunk_stream: if due.kind == 9 { 6 } else { 4 },
            kind: due.kind,
            timestamp: due.timestamp(),
            stream: 1,
            payload: due.payload(0),
        };
        write_absolute(&mut bytes, 65_536, &message);
        marks.push(Mark {
            at: due.at,
            end: bytes.len(),
        });
    }
    Ok((bytes, marks))
}

/// The same at the end of each interval.
fn gather(marks: &[Mark], every: Duration) -> Vec<Mark> {
    let mut gathered: Vec<Mark> = Vec::new();
    let mut at = every;
    let mut end = 0;
    for mark in marks {
        while mark.at >= at {
            gathered.push(Mark { at, end });
            at += every;
        }
        end = mark.end;
    }
    gathered.push(Mark { at: LOOP, end });
    gathered
}
