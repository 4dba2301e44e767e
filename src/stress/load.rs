//! One thread and one event queue for all viewers.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Socket, Type};

use super::check::{Findings, Timing, micros};
use super::clock::Clock;
use super::figures::{Usages, Window, failure_of};
use super::histogram::Histogram;
use super::parser::Parser;
use super::publisher::{Published, client};
use super::report::{Crowd, Report};
use super::stop::Stop;
use super::target::{Protocol, Target, source};
use super::usage::Usage;
use super::viewer::{Pace, Shared, Viewer};
use super::{Options, StressError};

/// Events of one look.
const EVENTS: usize = 1024;
/// One read, and what the kernel throws away in one call.
const BUFFER: usize = 1 << 20;
/// A viewer without media for this long has failed.
const PATIENCE: Duration = Duration::from_secs(10);
/// Slow viewers read this often.
const SLOW_TICK: Duration = Duration::from_millis(50);
/// Time-outs and acknowledgements are looked at this often.
const CHORES: Duration = Duration::from_millis(250);
/// Different reasons that are told apart.
const MAX_REASONS: usize = 32;
/// The receive buffer of viewers that are slow or stalled, bytes; the kernel takes twice as much.
const SLOW_BUFFER: usize = 32 * 1024;
/// Viewers that one turn of the loop connects.
const CONNECTS: usize = 64;

/// All viewers, and what is known of them.
pub(super) struct Load<'o> {
    pub(super) options: &'o Options,
    stop: &'o Stop,
    pub(super) target: Target,
    streams: usize,
    poll: Poll,
    pub(super) viewers: Vec<Option<Viewer>>,
    /// Viewers that have yet to get their first picture.
    joining: usize,
    /// Viewers that are there.
    living: usize,
    /// When the last one went.
    gone: Instant,
    pub(super) shared: Shared,
    pub(super) reasons: BTreeMap<String, u64>,
    pub(super) ended: Ended,
    pub(super) starved: Starved,
    pub(super) join: Histogram,
    pub(super) key: Histogram,
    pub(super) pauses: Histogram,
    pub(super) published: Option<std::sync::Arc<Published>>,
    pub(super) usage: Usages,
}

/// Viewers that are no more, by how they read.
#[derive(Default)]
pub(super) struct Ended {
    pub(super) full: Crowd,
    pub(super) slow: Crowd,
    pub(super) stalled: Crowd,
    pub(super) bytes: u64,
}

impl Ended {
    pub(super) const fn of(&mut self, pace: Pace) -> &mut Crowd {
        match pace {
            Pace::Full => &mut self.full,
            Pace::Slow(_) => &mut self.slow,
            Pace::Stalled => &mut self.stalled,
        }
    }

    fn connected(&self) -> usize {
        self.full.connected + self.slow.connected + self.stalled.connected
    }
}

/// Viewers that read and got nothing for long, while the figures were taken.
#[derive(Default)]
pub(super) struct Starved {
    pub(super) viewers: usize,
    pub(super) longest: Duration,
}

impl<'o> Load<'o> {
    pub(super) fn new(
        (options, stop): (&'o Options, &'o Stop),
        target: Target,
        clock: Clock,
        published: Option<std::sync::Arc<Published>>,
    ) -> io::Result<Self> {
        Ok(Self {
            options,
            stop,
            target,
            streams: options.streams.max(options.publishers).max(1),
            poll: Poll::new()?,
            viewers: Vec::new(),
            joining: 0,
            living: 0,
            gone: Instant::now(),
            shared: Shared {
                buffer: vec![0; BUFFER],
                clock,
                findings: Findings::default(),
                timing: Timing::default(),
                measuring: false,
            },
            reasons: BTreeMap::new(),
            ended: Ended::default(),
            starved: Starved::default(),
            join: Histogram::default(),
            key: Histogram::default(),
            pauses: Histogram::default(),
            published,
            usage: Usages::default(),
        })
    }

    /// Connects everybody, waits, measures.
    ///
    /// # Errors
    /// [`StressError`] when nobody at all gets in.
    pub(super) fn run(mut self) -> Result<Report, StressError> {
        let done = self.go();
        if self.options.terminal {
            // What comes next takes the place of the progress.
            let _ = io::stderr().lock().write_all(b"\r\x1b[K");
        }
        done
    }

    fn go(&mut self) -> Result<Report, StressError> {
        let options = self.options;
        self.usage.before = Usage::of(&options.pids);
        let start = Instant::now();
        let mut window: Option<Window> = None;
        let mut complete: Option<Instant> = None;
        let mut last = Turns::new(start);
        let mut events = Events::with_capacity(EVENTS);
        loop {
            let now = Instant::now();
            if let Some((at, early)) = self.over((start, now), window.as_ref()) {
                let window = window.unwrap_or_else(|| self.open_window(at));
                return Ok(self.report(&window, at, early));
            }
            self.connect(start, now);
            if complete.is_none() && !self.is_joining() {
                complete = Some(now);
            }
            let settled =
                complete.is_some_and(|at| now.saturating_duration_since(at) >= options.settle);
            if settled && window.is_none() {
                window = Some(self.open_window(now));
            }
            self.turn(&mut events)?;
            let now = Instant::now();
            if now.saturating_duration_since(last.slow) >= SLOW_TICK {
                self.slow(now.saturating_duration_since(last.slow));
                last.slow = now;
            }
            if now.saturating_duration_since(last.chores) >= CHORES {
                last.chores = now;
                self.chores(now)?;
                if let Some(w) = &window {
                    self.look_for_starved(w.begin, now);
                }
            }
            let since = now.saturating_duration_since(last.told);
            let often = if options.terminal { 1 } else { 5 };
            if since >= Duration::from_secs(often) {
                last.told = now;
                self.progress(start, since, &mut last.bytes);
            }
        }
    }

    /// Whether the run is over, when it was, and why when that is before its time.
    fn over(
        &self,
        (start, now): (Instant, Instant),
        window: Option<&Window>,
    ) -> Option<(Instant, Option<String>)> {
        let after = |at: Instant| at.saturating_duration_since(start).as_secs();
        if self.stop.signal().is_some() {
            return Some((now, Some(format!("interrupted after {} s", after(now)))));
        }
        let passed = window.map(|w| now.saturating_duration_since(w.begin));
        if passed.is_some_and(|passed| passed >= self.options.duration) {
            return Some((now, None));
        }
        let all_came = self.options.viewers > 0 && self.viewers.len() >= self.options.viewers;
        let nobody = all_came && self.living == 0 && self.ended.connected() > 0;
        nobody.then(|| {
            let text = format!("no viewer was left after {} s", after(self.gone));
            (self.gone, Some(text))
        })
    }

    /// Whether viewers have yet to get their first picture, or to give up.
    const fn is_joining(&self) -> bool {
        self.viewers.len() < self.options.viewers || self.joining > 0
    }

    /// One look at what is ready.
    fn turn(&mut self, events: &mut Events) -> Result<(), StressError> {
        let pause = self.options.pause;
        let before = Instant::now();
        // Who joins makes several round trips, and would wait for the pause in each: it would be most of what is
        // told of joining.
        let sleeps = !pause.is_zero() && !self.is_joining();
        let wait = if sleeps {
            sleep(pause);
            Duration::ZERO
        } else if self.viewers.len() < self.options.viewers {
            Duration::from_millis(1) // the next one is soon due
        } else {
            Duration::from_millis(20)
        };
        loop {
            match self.poll.poll(events, Some(wait)) {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e.into()),
            }
            let begun = Instant::now();
            let mut count = 0_usize;
            for event in events.iter() {
                count = count.saturating_add(1);
                let Token(index) = event.token();
                let closing = event.is_read_closed() || event.is_error();
                self.visit(index, |viewer, shared| viewer.ready(shared, closing));
            }
            if self.shared.measuring {
                let from = if sleeps { before } else { begun };
                self.pauses.add(micros(from.elapsed()));
            }
            if count < EVENTS {
                return Ok(());
            }
        }
    }

    /// Lets a viewer do something, and notes what became of it.
    fn visit(
        &mut self,
        index: usize,
        act: impl FnOnce(&mut Viewer, &mut Shared) -> Result<(), String>,
    ) {
        let Some(place) = self.viewers.get_mut(index) else {
            return;
        };
        let Some(viewer) = place else { return };
        let (had_media, had_key) = (viewer.first.is_some(), viewer.key.is_some());
        let done = act(viewer, &mut self.shared);
        if let Some(first) = viewer.first.filter(|_| !had_media) {
            self.join
                .add(micros(first.saturating_duration_since(viewer.began)));
        }
        if let Some(key) = viewer.key.filter(|_| !had_key) {
            self.key
                .add(micros(key.saturating_duration_since(viewer.began)));
        }
        if viewer.key.is_some() && !had_key {
            self.joining = self.joining.saturating_sub(1);
        }
        if let Err(reason) = done {
            let crowd = self.ended.of(viewer.pace());
            match (viewer.first, viewer.key) {
                (None, _) => crowd.failed += 1,
                (Some(_), None) => crowd.without_key_frame += 1,
                (Some(_), Some(_)) => crowd.disconnected += 1,
            }
            crowd.connected += usize::from(viewer.first.is_some());
            self.ended.bytes = self.ended.bytes.saturating_add(viewer.received);
            if viewer.key.is_none() {
                self.joining = self.joining.saturating_sub(1);
            }
            *place = None;
            self.living = self.living.saturating_sub(1);
            self.gone = Instant::now();
            self.note(reason);
        }
    }

    fn note(&mut self, reason: String) {
        let known = self.reasons.contains_key(&reason);
        let name = if known || self.reasons.len() < MAX_REASONS {
            reason
        } else {
            "something else".to_owned()
        };
        *self.reasons.entry(name).or_default() += 1;
    }

    /// Connects those whose time has come.
    fn connect(&mut self, start: Instant, now: Instant) {
        let passed = micros(now.saturating_duration_since(start));
        let due = u128::from(passed) * u128::from(self.options.ramp) / 1_000_000 + 1;
        let due = usize::try_from(due).unwrap_or(usize::MAX);
        for _ in 0..CONNECTS {
            let index = self.viewers.len();
            if index >= due.min(self.options.viewers) {
                break;
            }
            let pace = self.pace(index);
            self.ended.of(pace).asked += 1;
            match self.one(index, pace) {
                Ok(viewer) => {
                    self.viewers.push(Some(viewer));
                    self.joining += 1;
                    self.living += 1;
                }
                Err(e) => {
                    self.viewers.push(None);
                    self.ended.of(pace).failed += 1;
                    self.note(e.to_string());
                }
            }
        }
    }

    /// The odd ones are the last.
    const fn pace(&self, index: usize) -> Pace {
        let from_end = self.options.viewers.saturating_sub(index + 1);
        if from_end < self.options.stalled {
            Pace::Stalled
        } else if from_end < self.options.stalled.saturating_add(self.options.slow) {
            Pace::Slow(self.options.slow_rate / 8)
        } else {
            Pace::Full
        }
    }

    fn one(&mut self, index: usize, pace: Pace) -> io::Result<Viewer> {
        let began = Instant::now();
        let socket = dial(&self.target.address, index, pace)?;
        let mut socket = TcpStream::from_std(socket.into());
        let both = Interest::READABLE | Interest::WRITABLE;
        self.poll
            .registry()
            .register(&mut socket, Token(index), both)?;
        let (target, options) = (&self.target, self.options);
        let stream = index.checked_rem(self.streams).unwrap_or(0);
        let name = target.stream(stream, self.streams);
        let random = crate::system::random().map_err(io::Error::from)?;
        let config = || crate::rtmp::client::ClientConfig {
            random,
            ..client(
                &target.app,
                &format!("rtmp://{}/{}", target.host, target.app),
            )
        };
        let request = || {
            Bytes::from(format!(
                "GET /{}/{name}.flv{} HTTP/1.1\r\nHost: {}\r\n\r\n",
                target.app, target.query, target.host
            ))
        };
        let full = format!("{name}{}", target.query);
        let parser = Parser::new(target.protocol, config, full, request);
        let odd = options.slow.saturating_add(options.stalled);
        let watched = self.streams.min(options.viewers.saturating_sub(odd));
        let checked = is_sample(index, options.check, watched)
            && pace == Pace::Full
            && target.protocol != Protocol::Raw;
        Ok(Viewer::new(socket, parser, (pace, checked), began))
    }

    fn slow(&mut self, passed: Duration) {
        if self.options.slow == 0 {
            return;
        }
        for index in 0..self.viewers.len() {
            let place = self.viewers.get(index).and_then(Option::as_ref);
            if place.is_some_and(|v| matches!(v.pace(), Pace::Slow(_))) {
                self.visit(index, |viewer, shared| viewer.tick(shared, passed));
            }
        }
    }

    fn chores(&mut self, now: Instant) -> Result<(), StressError> {
        for index in 0..self.viewers.len() {
            self.visit(index, |viewer, _| {
                viewer.acknowledge(now);
                let waited = now.saturating_duration_since(viewer.began);
                if viewer.key.is_none() && waited >= PATIENCE {
                    let what = if viewer.first.is_some() {
                        "key frame"
                    } else {
                        "media"
                    };
                    return Err(format!("no {what} within {} s", PATIENCE.as_secs()));
                }
                Ok(())
            });
        }
        let nobody = self.living == 0 && self.ended.connected() == 0;
        if nobody && !self.reasons.is_empty() && self.options.viewers > 0 {
            let most = self.reasons.iter().max_by_key(|(_, count)| **count);
            return Err(StressError::NobodyIn {
                host: self.target.host.clone(),
                reason: most.map_or_else(String::new, |(reason, _)| reason.clone()),
            });
        }
        if self.options.viewers == 0
            && let Some(failure) = self.published.as_ref().and_then(|p| failure_of(p))
        {
            return Err(StressError::Publisher(failure));
        }
        Ok(())
    }
}

/// Whether viewer `index` is one of the `check` that are looked at frame by frame: the first, and where there are
/// more streams than that, those of streams that lie evenly apart.
fn is_sample(index: usize, check: usize, streams: usize) -> bool {
    if check >= streams {
        return index < check;
    }
    let place = |n: usize| n.saturating_mul(streams).checked_div(check);
    // The first of the samples that is not before this viewer.
    let n = index.saturating_mul(check).div_ceil(streams.max(1));
    n < check && place(n) == Some(index)
}

/// When things were done last.
struct Turns {
    slow: Instant,
    chores: Instant,
    told: Instant,
    bytes: u64,
}

impl Turns {
    const fn new(now: Instant) -> Self {
        Self {
            slow: now,
            chores: now,
            told: now,
            bytes: 0,
        }
    }
}

/// Begins to connect; the answer comes as an event.
fn dial(address: &SocketAddr, index: usize, pace: Pace) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(*address), Type::STREAM, None)?;
    if pace != Pace::Full {
        // What waits shall wait at the server.
        socket.set_recv_buffer_size(SLOW_BUFFER)?;
    }
    socket.set_nonblocking(true)?;
    if let Some(source) = source(address, index) {
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    socket.set_tcp_nodelay(true)?;
    match socket.connect(&(*address).into()) {
        Ok(()) => Ok(socket),
        Err(e) if e.raw_os_error() == Some(nix::errno::Errno::EINPROGRESS as i32) => Ok(socket),
        Err(e) => Err(e),
    }
}

/// Lets events gather, so that one look finds many.
#[expect(
    clippy::disallowed_methods,
    reason = "this thread has nothing else to do; it is no shard"
)]
pub(super) fn sleep(time: Duration) {
    std::thread::sleep(time);
}

/// Whether progress can overwrite itself: standard error is a terminal.
#[must_use]
pub fn is_terminal() -> bool {
    io::stderr().is_terminal()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_is_spread_over_the_streams() {
        let all = |check, streams| {
            (0..1000)
                .filter(|index| is_sample(*index, check, streams))
                .collect::<Vec<_>>()
        };
        assert_eq!(all(8, 500), [0, 62, 125, 187, 250, 312, 375, 437]);
        assert_eq!(all(3, 4), [0, 1, 2]);
        // As many of each stream as can be: viewer 0 to 7 watch stream 1, 2, 1, 2 and so on.
        assert_eq!(all(8, 2), (0..8).collect::<Vec<_>>());
        assert_eq!(all(0, 5), Vec::<usize>::new());
        for (check, streams) in [(7, 500), (499, 500), (500, 500), (8, 9)] {
            let all = all(check, streams);
            assert_eq!(all.len(), check);
            assert!(all.iter().all(|index| *index < streams));
        }
    }
}
