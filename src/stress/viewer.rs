//! One viewer: a socket, and as little as must be known of what comes over it.
//!
//! Until its first key frame everything is read and understood; from then on only a checked viewer
//! goes on so. Of the others the bytes are counted and thrown away, in the kernel where it can.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use mio::net::TcpStream;
use nix::sys::socket::recv;

use super::check::{Check, Findings, Timing};
use super::clock::Clock;
use super::parser::{Parser, is_key};
use crate::limits::READ_TURN;
use crate::system::THROW_AWAY;

/// A player acknowledges this often at the latest, so that the server hears of it.
const ACK_INTERVAL: Duration = Duration::from_secs(15);
/// And after so many bytes.
const ACK_WINDOW: u64 = 2_500_000;
/// So many bytes a second and fewer are no media, but pings, and words to keep the connection of who waits for a
/// stream. A stream's name may stand in them.
const NOISE: u64 = 300;

/// How a viewer reads once it has its first picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// What comes.
    Full,
    /// Bytes a second.
    Slow(u64),
    /// Nothing any more.
    Stalled,
}

/// What all viewers share.
pub(super) struct Shared {
    pub(super) buffer: Vec<u8>,
    pub(super) clock: Clock,
    pub(super) findings: Findings,
    pub(super) timing: Timing,
    /// Whether the figures are taken now.
    pub(super) measuring: bool,
}

pub(super) struct Viewer {
    socket: TcpStream,
    pub(super) began: Instant,
    parser: Option<Parser>,
    unsent: VecDeque<Bytes>,
    acknowledges: bool,
    acknowledged: (u64, Instant),
    pace: Pace,
    allowance: u64,
    check: Option<Box<Check>>,
    /// Bytes as of the last time that media had come, and when that was seen.
    seen: (u64, Instant),
    /// The last frame of a checked viewer.
    frame: Option<Instant>,
    noise: u64,
    /// Whether it was found without media while the figures are taken.
    pub(super) starved: bool,
    /// Bytes that came.
    pub(super) received: u64,
    /// First frame of audio or video.
    pub(super) first: Option<Instant>,
    /// First key frame, or first bytes where nothing is understood.
    pub(super) key: Option<Instant>,
}

impl Viewer {
    pub(super) fn new(
        socket: TcpStream,
        (parser, request): (Parser, Bytes),
        (pace, checked): (Pace, bool),
        began: Instant,
    ) -> Self {
        let noise = match &parser {
            Parser::Rtmp { name, .. } => NOISE.saturating_add(2 * name.len() as u64),
            Parser::Flv(_) | Parser::Raw => NOISE,
        };
        Self {
            socket,
            began,
            acknowledges: matches!(parser, Parser::Rtmp { .. }),
            acknowledged: (0, began),
            parser: Some(parser),
            unsent: VecDeque::from([request]),
            pace,
            allowance: 0,
            check: checked.then(Box::default),
            seen: (0, began),
            frame: None,
            noise,
            starved: false,
            received: 0,
            first: None,
            key: None,
        }
    }

    pub(super) const fn pace(&self) -> Pace {
        self.pace
    }

    /// Reads and writes what can be.
    ///
    /// # Errors
    /// Why it is over.
    pub(super) fn ready(&mut self, shared: &mut Shared, closing: bool) -> Result<(), String> {
        if self.parser.is_some() {
            self.understand(shared)?;
            if self.parser.is_some() {
                return Ok(());
            }
        }
        if self.pace == Pace::Full || closing {
            self.discard(shared, u64::MAX, closing)?;
        }
        Ok(())
    }

    /// A slow viewer reads what it may for this long.
    ///
    /// # Errors
    /// Why it is over.
    pub(super) fn tick(&mut self, shared: &mut Shared, passed: Duration) -> Result<(), String> {
        let Pace::Slow(rate) = self.pace else {
            return Ok(());
        };
        if self.parser.is_some() {
            return Ok(());
        }
        let more = rate.saturating_mul(super::check::micros(passed)) / 1_000_000;
        self.allowance = self.allowance.saturating_add(more).min(rate.max(1));
        let read = self.discard(shared, self.allowance, false)?;
        self.allowance = self.allowance.saturating_sub(read);
        Ok(())
    }

    fn understand(&mut self, shared: &mut Shared) -> Result<(), String> {
        if self.received == 0 {
            self.take(0, shared)?; // a client speaks first
        }
        self.flush()?;
        while self.parser.is_some() {
            let room = shared.buffer.get_mut(..READ_TURN).unwrap_or_default();
            match self.socket.read(room) {
                Ok(0) => return Err("the server closed the connection".to_owned()),
                Ok(n) => {
                    self.received = self.received.saturating_add(n as u64);
                    self.take(n, shared)?;
                    self.flush()?;
                    if n < READ_TURN {
                        return Ok(());
                    }
                }
                Err(e) if is_idle(&e) => return Ok(()),
                Err(e) => return Err(e.to_string()),
            }
        }
        Ok(())
    }

    /// Gives what was read to the parser.
    fn take(&mut self, read: usize, shared: &mut Shared) -> Result<(), String> {
        let Some(parser) = &mut self.parser else {
            return Ok(());
        };
        let now = Instant::now();
        let bytes = shared.buffer.get(..read).unwrap_or_default();
        let (first, key) = (&mut self.first, &mut self.key);
        if matches!(parser, Parser::Raw) && read > 0 {
            *first = first.or(Some(now));
            *key = key.or(Some(now));
        }
        let clock = &shared.clock;
        let findings = &mut shared.findings;
        let mut timing = shared.measuring.then_some(&mut shared.timing);
        let (check, last) = (&mut self.check, &mut self.frame);
        let mut media = |frame: super::parser::Media| {
            if first.is_none() && frame.0 != crate::flv::SCRIPT {
                *first = Some(now);
            }
            if key.is_none() && is_key(&frame) {
                *key = Some(now);
            }
            if let Some(check) = check {
                if frame.0 != crate::flv::SCRIPT {
                    *last = Some(now);
                }
                let frame = (frame.0, frame.1, &*frame.2);
                let meters = (&mut *findings, timing.as_deref_mut());
                check.frame(frame, (now, *key), clock, meters);
            }
        };
        let unsent = &mut self.unsent;
        parser.feed(bytes, now, &mut media, &mut |bytes| unsent.push_back(bytes))?;
        if self.key.is_some() && self.check.is_none() && self.unsent.is_empty() {
            self.parser = None;
            self.unsent = VecDeque::new();
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), String> {
        while let Some(front) = self.unsent.front_mut() {
            if front.is_empty() {
                self.unsent.pop_front();
                continue;
            }
            match self.socket.write(front) {
                Ok(n) => front.advance(n),
                Err(e) if is_idle(&e) => return Ok(()),
                Err(e) => return Err(e.to_string()),
            }
        }
        Ok(())
    }

    /// Throws away up to `most` bytes; gives how many there were.
    fn discard(&mut self, shared: &mut Shared, most: u64, closing: bool) -> Result<u64, String> {
        let mut left = most;
        while left > 0 {
            let size = usize::try_from(left).unwrap_or(usize::MAX);
            let size = size.min(shared.buffer.len());
            let room = shared.buffer.get_mut(..size).unwrap_or_default();
            match recv(self.socket.as_raw_fd(), room, THROW_AWAY) {
                Ok(0) => return Err("the server closed the connection".to_owned()),
                Ok(n) => {
                    self.received = self.received.saturating_add(n as u64);
                    left = left.saturating_sub(n as u64);
                    if n < size && !closing {
                        break;
                    }
                }
                Err(e) if is_idle(&e.into()) => break,
                Err(e) => return Err(io::Error::from(e).to_string()),
            }
        }
        Ok(most.saturating_sub(left))
    }

    /// For how long no media came since `begin`; to be asked often. Of most viewers no more is known than how many bytes
    /// there were.
    pub(super) fn silence(&mut self, begin: Instant, now: Instant) -> Duration {
        let (bytes, at) = self.seen;
        let seconds = now.saturating_duration_since(at).as_secs();
        let noise = self.noise.saturating_mul(seconds.saturating_add(1));
        if self.received.saturating_sub(bytes) > noise {
            self.seen = (self.received, now);
        }
        let last = match self.frame {
            Some(frame) => frame,
            None => self.seen.1,
        };
        now.saturating_duration_since(last.max(begin))
    }

    /// Acknowledges what was received, as players do, when it is time.
    pub(super) fn acknowledge(&mut self, now: Instant) {
        let (total, at) = self.acknowledged;
        let due = self.received.saturating_sub(total) >= ACK_WINDOW
            || now.saturating_duration_since(at) >= ACK_INTERVAL;
        if !due || !self.acknowledges || self.parser.is_some() {
            return;
        }
        self.acknowledged = (self.received, now);
        // Type 3 of four bytes, on chunk stream 2, spelled out.
        let mut message = [2, 0, 0, 0, 0, 0, 4, 3, 0, 0, 0, 0, 0, 0, 0, 0];
        if let Some((_, total)) = message.split_last_chunk_mut::<4>() {
            let wrapped = self.received & u64::from(u32::MAX);
            *total = u32::try_from(wrapped).unwrap_or_default().to_be_bytes();
        }
        // A socket that is broken is found by reading it.
        let _ = self.socket.write(&message);
    }
}

fn is_idle(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted | io::ErrorKind::NotConnected
    )
}
