//! One thread and one event queue for all viewers.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Socket, Type};

use super::check::{Findings, Timing, micros};
use super::clock::Clock;
use super::histogram::{Histogram, as_f64};
use super::parser::Parser;
use super::publisher::{Published, client};
use super::report::{Publishing, Report, Server};
use super::target::{Protocol, Target, source};
use super::usage::{Usage, own_cpu};
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
    options: &'o Options,
    target: Target,
    streams: usize,
    poll: Poll,
    viewers: Vec<Option<Viewer>>,
    shared: Shared,
    reasons: BTreeMap<String, u64>,
    ended: Ended,
    join: Histogram,
    key: Histogram,
    pauses: Histogram,
    published: Option<std::sync::Arc<Published>>,
    usage: Usages,
}

/// Viewers that are no more.
#[derive(Default)]
struct Ended {
    failed: usize,
    disconnected: usize,
    /// Viewers that had media.
    connected: usize,
    without_key_frame: usize,
    bytes: u64,
}

#[derive(Default)]
struct Usages {
    before: Usage,
    begin: Usage,
    most: Usage,
}

/// When the figures began.
struct Window {
    begin: Instant,
    own_cpu: Duration,
    /// Bytes of each viewer.
    received: Vec<u64>,
    total: u64,
}

impl<'o> Load<'o> {
    pub(super) fn new(
        options: &'o Options,
        target: Target,
        clock: Clock,
        published: Option<std::sync::Arc<Published>>,
    ) -> io::Result<Self> {
        Ok(Self {
            options,
            target,
            streams: options.streams.max(options.publishers).max(1),
            poll: Poll::new()?,
            viewers: Vec::new(),
            shared: Shared {
                buffer: vec![0; BUFFER],
                clock,
                findings: Findings::default(),
                timing: Timing::default(),
                measuring: false,
            },
            reasons: BTreeMap::new(),
            ended: Ended::default(),
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
        let options = self.options;
        self.usage.before = Usage::of(&options.pids);
        let start = Instant::now();
        let mut window: Option<Window> = None;
        let mut complete: Option<Instant> = None;
        let mut last = Turns::new(start);
        let mut events = Events::with_capacity(EVENTS);
        loop {
            let now = Instant::now();
            self.connect(start, now)?;
            if complete.is_none() && self.viewers.len() >= options.viewers && self.all_in() {
                complete = Some(now);
            }
            let settled =
                complete.is_some_and(|at| now.saturating_duration_since(at) >= options.settle);
            if settled && window.is_none() {
                window = Some(self.open_window(now));
            }
            if let Some(w) = &window
                && now.saturating_duration_since(w.begin) >= options.duration
            {
                return Ok(self.report(w, now));
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
            }
            let since = now.saturating_duration_since(last.told);
            let often = if options.terminal { 1 } else { 5 };
            if since >= Duration::from_secs(often) {
                last.told = now;
                self.progress(start, since, &mut last.bytes);
            }
        }
    }

    /// One look at what is ready.
    fn turn(&mut self, events: &mut Events) -> Result<(), StressError> {
        let pause = self.options.pause;
        let before = Instant::now();
        let wait = if !pause.is_zero() {
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
                let from = if pause.is_zero() { begun } else { before };
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
        if let Err(reason) = done {
            let (had, received) = (viewer.first.is_some(), viewer.received);
            *place = None;
            self.ended.bytes = self.ended.bytes.saturating_add(received);
            if had {
                self.ended.disconnected += 1;
                self.ended.connected += 1;
            } else {
                self.ended.failed += 1;
            }
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
    fn connect(&mut self, start: Instant, now: Instant) -> Result<(), StressError> {
        let passed = micros(now.saturating_duration_since(start));
        let due = u128::from(passed) * u128::from(self.options.ramp) / 1_000_000 + 1;
        let due = usize::try_from(due).unwrap_or(usize::MAX);
        for _ in 0..CONNECTS {
            let index = self.viewers.len();
            if index >= due.min(self.options.viewers) {
                break;
            }
            match self.one(index) {
                Ok(viewer) => self.viewers.push(Some(viewer)),
                Err(e) => {
                    self.viewers.push(None);
                    self.ended.failed += 1;
                    self.note(e.to_string());
                }
            }
        }
        Ok(())
    }

    fn one(&mut self, index: usize) -> io::Result<Viewer> {
        let began = Instant::now();
        // The checked ones are the first, the odd ones the last.
        let from_end = self.options.viewers.saturating_sub(index + 1);
        let pace = if from_end < self.options.stalled {
            Pace::Stalled
        } else if from_end < self.options.stalled.saturating_add(self.options.slow) {
            Pace::Slow(self.options.slow_rate / 8)
        } else {
            Pace::Full
        };
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
        let checked =
            index < options.check && pace == Pace::Full && target.protocol != Protocol::Raw;
        Ok(Viewer::new(socket, parser, (pace, checked), began))
    }

    /// Whether all viewers have got their first picture or have given up.
    fn all_in(&self) -> bool {
        self.viewers.iter().flatten().all(|v| v.key.is_some())
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
        let nobody = self.viewers.iter().all(Option::is_none) && self.ended.connected == 0;
        if nobody && self.ended.failed > 0 && self.options.viewers > 0 {
            let first = self.reasons.keys().next().cloned().unwrap_or_default();
            return Err(StressError::NobodyIn {
                host: self.target.host.clone(),
                reason: first,
            });
        }
        if self.options.viewers == 0
            && let Some(failure) = self.published.as_ref().and_then(|p| failure_of(p))
        {
            return Err(StressError::Publisher(failure));
        }
        Ok(())
    }

    fn open_window(&mut self, now: Instant) -> Window {
        self.usage.begin = Usage::of(&self.options.pids);
        self.shared.measuring = true;
        let received: Vec<u64> = self
            .viewers
            .iter()
            .map(|v| v.as_ref().map_or(0, |v| v.received))
            .collect();
        Window {
            begin: now,
            own_cpu: own_cpu(),
            total: received
                .iter()
                .sum::<u64>()
                .saturating_add(self.ended.bytes),
            received,
        }
    }

    fn received(&self) -> u64 {
        let now: u64 = self.viewers.iter().flatten().map(|v| v.received).sum();
        now.saturating_add(self.ended.bytes)
    }

    fn progress(&mut self, start: Instant, since: Duration, bytes: &mut u64) {
        let usage = Usage::of(&self.options.pids);
        let most = &mut self.usage.most;
        most.pss_kib = most.pss_kib.max(usage.pss_kib);
        most.tcp_kib = most.tcp_kib.max(usage.tcp_kib);
        let all = self.received();
        let rate = megabits(all.saturating_sub(*bytes), since);
        *bytes = all;
        let with_picture = self.viewers.iter().flatten().filter(|v| v.key.is_some());
        let text = format!(
            "{:>4} s  {} of {} viewers watch, {} failed, {} disconnected, {rate:.1} Mbit/s{}",
            start.elapsed().as_secs(),
            with_picture.count(),
            self.options.viewers,
            self.ended.failed,
            self.ended.disconnected,
            if self.shared.measuring {
                ", measuring"
            } else {
                ""
            },
        );
        let mut out = io::stderr().lock();
        // Nobody may be there to read it.
        let _ = if self.options.terminal {
            write!(out, "\r\x1b[K{text}").and_then(|()| out.flush())
        } else {
            writeln!(out, "{text}")
        };
    }

    fn report(&mut self, window: &Window, now: Instant) -> Report {
        let time = now.saturating_duration_since(window.begin);
        let own = own_cpu().saturating_sub(window.own_cpu);
        let end = Usage::of(&self.options.pids);
        let bytes = self.received().saturating_sub(window.total);
        let mut each = Histogram::default();
        for (viewer, before) in self.viewers.iter().zip(&window.received) {
            if let Some(viewer) = viewer.as_ref().filter(|v| v.pace() == Pace::Full) {
                let bits = viewer.received.saturating_sub(*before).saturating_mul(8);
                let micros = micros(time).max(1);
                let rate = u128::from(bits) * 1_000_000 / u128::from(micros);
                each.add(u64::try_from(rate).unwrap_or(u64::MAX));
            }
        }
        let living = || self.viewers.iter().flatten();
        let (ms, seconds) = (1000.0, time.as_secs_f64().max(1e-6));
        let gbit = as_f64(bytes) * 8.0 / 1e9;
        let alive = living().filter(|v| v.key.is_some()).count();
        let server = (!self.options.pids.is_empty()).then(|| {
            let cpu = end.cpu.saturating_sub(self.usage.begin.cpu).as_secs_f64();
            let grown = as_f64(end.pss_kib) - as_f64(self.usage.before.pss_kib);
            Server {
                cpu_seconds: cpu,
                cpu_percent: 100.0 * cpu / seconds,
                cpu_seconds_per_gbit: if gbit > 0.0 { cpu / gbit } else { 0.0 },
                before: self.usage.before,
                begin: self.usage.begin,
                end,
                most: Usage {
                    pss_kib: self.usage.most.pss_kib.max(end.pss_kib),
                    tcp_kib: self.usage.most.tcp_kib.max(end.tcp_kib),
                    cpu: Duration::ZERO,
                },
                kib_per_viewer: grown / as_f64(alive.max(1) as u64),
            }
        });
        if self.options.terminal {
            let _ = io::stderr().lock().write_all(b"\r\x1b[K");
        }
        let without = living()
            .filter(|v| v.first.is_some() && v.key.is_none())
            .count();
        Report {
            viewers: self.options.viewers,
            connected: living().filter(|v| v.first.is_some()).count() + self.ended.connected,
            failed: self.ended.failed + living().filter(|v| v.first.is_none()).count(),
            disconnected: self.ended.disconnected,
            without_key_frame: without + self.ended.without_key_frame,
            reasons: self.reasons.clone(),
            seconds,
            mbit_per_second: megabits(bytes, time),
            viewer_mbit_per_second: each.summary(1e6),
            join_ms: self.join.summary(ms),
            key_frame_ms: self.key.summary(ms),
            video_late_ms: self.shared.timing.video.summary(ms),
            audio_late_ms: self.shared.timing.audio.summary(ms),
            between_pictures_ms: self.shared.timing.between.summary(ms),
            checked: self.shared.findings,
            publishers: self
                .published
                .as_deref()
                .map(publishing)
                .unwrap_or_default(),
            own_cpu_percent: 100.0 * own.as_secs_f64() / seconds,
            own_pause_ms: self.pauses.summary(ms),
            server,
        }
    }
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

fn failure_of(published: &Published) -> Option<String> {
    published
        .failure
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone()
}

fn publishing(published: &Published) -> Publishing {
    Publishing {
        started: published.started.load(Ordering::Relaxed),
        ended: published.ended.load(Ordering::Relaxed),
        failure: failure_of(published),
        frames: published.frames.load(Ordering::Relaxed),
        held: published.held.load(Ordering::Relaxed),
        late_ms: published
            .late
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .summary(1000.0),
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

fn megabits(bytes: u64, time: Duration) -> f64 {
    as_f64(bytes) * 8.0 / 1e6 / time.as_secs_f64().max(1e-6)
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
