//! An encoder that publishes over RTSP: its connection, and the ports that its datagrams come to.

use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::task::yield_now;
use tokio::time::sleep_until;

use super::Route;
use super::publishing::{End, Publishing, Who, bad_name, left_out, not_listed};
use crate::auth::{Grant, HeldKey, Identity, KeyGrant, Policy, is_key};
use crate::flv::{ReaderLimits, Tag};
use crate::limits::{Limits, MAX_RTP, MAX_RTSP_TRACKS, READ_BUFFER, READ_TURN};
use crate::media::{NameError, StreamName};
use crate::net::{
    Admitted, Bell, Came, Incoming, Outlet, OutletEvent, Pair, Registered, Shard, Wish, canonical,
    poll_pairs,
};
use crate::relay::{Hub, Wake};
use crate::rtsp::{Figures, Output, Server};
use crate::system::random;
use crate::telemetry::logging::{Escaped, limited};
use crate::telemetry::metrics::Protocol;
use crate::telemetry::repeats::repeated;

/// How long the last words to a peer may take.
const GOODBYE: Duration = Duration::from_secs(1);
/// Datagrams that are taken before others get their turn.
const DATAGRAMS_AT_ONCE: usize = 64;

struct Connection {
    hub: Arc<Hub>,
    policy: Arc<Policy>,
    route: Arc<Route>,
    shard: Rc<Shard>,
    limits: Arc<Limits>,
    outlet: Rc<Outlet>,
    who: Who,
    local: SocketAddr,
    admitted: Admitted,
    registered: Registered,
    bell: Arc<Bell>,
    machine: Server,
    counted: Figures,
    /// The ports of tracks.
    pairs: Vec<(usize, Pair)>,
    name: Option<StreamName>,
    publishing: Option<Publishing>,
    /// What it publishes by, when that is not its address.
    key: Option<HeldKey>,
    /// When its last media came, or when it was accepted.
    heard: Instant,
}

type Over = (&'static str, End);

/// Serves one connection until it ends, and counts how it ended.
pub(super) async fn serve(
    (hub, policy): (Arc<Hub>, Arc<Policy>),
    route: Arc<Route>,
    shard: Rc<Shard>,
    incoming: Incoming,
) {
    let limits = shard.limits();
    let outlet = Outlet::new(incoming.socket, &shard, Protocol::Rtsp);
    // A session's number keeps nobody out: media count only on its own connection, or from its peer.
    let session = random().map_or(1, u64::from_be_bytes);
    let mut connection = Connection {
        hub,
        policy,
        route,
        registered: outlet.register(incoming.peer),
        machine: Server::new(ReaderLimits::from(&*limits), session, incoming.at),
        limits,
        outlet,
        who: Who {
            protocol: Protocol::Rtsp,
            peer: incoming.peer,
        },
        local: incoming.local,
        admitted: incoming.admitted,
        bell: Arc::default(),
        counted: Figures::default(),
        pairs: Vec::new(),
        name: None,
        publishing: None,
        key: None,
        heard: incoming.at,
        shard,
    };
    let (code, end) = connection.run().await;
    connection.finish(code, end);
}

impl Connection {
    async fn run(&mut self) -> Over {
        let (outlet, shard) = (Rc::clone(&self.outlet), Rc::clone(&self.shard));
        let bell = Arc::clone(&self.bell);
        let mut stopping = std::pin::pin!(shard.stopping());
        let mut buffer = vec![0; MAX_RTP];
        loop {
            let due = self.deadline();
            let over = tokio::select! {
                biased;
                () = &mut stopping => Err(("stopping", End::Stopping)),
                event = outlet.drive() => match event {
                    OutletEvent::Closed(ending) => Err((ending.label(), End::Cut)),
                    OutletEvent::Wished(Wish::Kick) => Err(("kicked", End::Clean)),
                    _ => Ok(()),
                },
                () = poll_fn(|cx| bell.poll_rung(cx)) => self.rung(),
                ready = poll_fn(|cx| outlet.poll_readable(cx)), if outlet.has_room() => {
                    match ready {
                        Ok(()) => self.read().await,
                        Err(_) => Err(("connection-broken", End::Cut)),
                    }
                }
                came = poll_fn(|cx| poll_pairs(pairs(&self.pairs), &mut buffer, cx)) => {
                    self.datagrams(came, &mut buffer).await
                }
                () = sleep_until(due.into()) => {
                    limited("silent", Instant::now(), || {
                        tracing::warn!(
                            peer = %self.who.peer, protocol = "rtsp", code = "silent",
                            "connection closed: it sends no media"
                        );
                    });
                    Err(("silent", End::Cut))
                }
            };
            if let Err(over) = over {
                if over.0 != "peer-gone" {
                    Box::pin(outlet.finish(GOODBYE)).await;
                }
                return over;
            }
        }
    }

    fn deadline(&self) -> Instant {
        let patience = if self.publishing.is_some() {
            self.limits.publish_timeout
        } else {
            self.limits.idle_timeout
        };
        self.heard.checked_add(patience).unwrap_or(self.heard)
    }

    /// Perhaps another publisher took the stream, or the key was revoked.
    fn rung(&self) -> Result<(), Over> {
        let Some(publishing) = &self.publishing else {
            return Ok(());
        };
        if publishing.is_displaced() {
            return Err(("displaced", End::Displaced));
        }
        if self.key.as_ref().is_some_and(HeldKey::is_revoked) {
            HeldKey::log_revoked(publishing.name(), self.who.peer);
            return Err(("key-revoked", End::Clean));
        }
        Ok(())
    }

    /// Reads at most one turn.
    async fn read(&mut self) -> Result<(), Over> {
        let (shard, outlet) = (Rc::clone(&self.shard), Rc::clone(&self.outlet));
        let traffic = shard.metrics().traffic(Protocol::Rtsp);
        let mut left = READ_TURN;
        while left > 0 && outlet.has_room() {
            let now = Instant::now();
            let read = shard.read(outlet.socket(), |bytes| {
                self.machine.feed(bytes, now);
                bytes.len()
            });
            match read {
                Ok(0) => return Err(("peer-closed", End::Clean)),
                Ok(n) => {
                    left = left.saturating_sub(n);
                    traffic.bytes_in.inc_by(n as u64);
                    self.drain(now)?;
                    if n < READ_BUFFER {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Err(("connection-broken", End::Cut)),
            }
        }
        yield_now().await;
        Ok(())
    }

    /// Takes a datagram that came, and those behind it.
    async fn datagrams(&mut self, mut came: Came, buffer: &mut [u8]) -> Result<(), Over> {
        for _ in 1..DATAGRAMS_AT_ONCE {
            self.datagram(came, buffer)?;
            let all = &self.pairs;
            let next = poll_fn(|cx| {
                Poll::Ready(match poll_pairs(pairs(all), buffer, cx) {
                    Poll::Ready(came) => Some(came),
                    Poll::Pending => None,
                })
            });
            match next.await {
                Some(next) => came = next,
                None => return Ok(()),
            }
        }
        self.datagram(came, buffer)?;
        yield_now().await;
        Ok(())
    }

    /// Only what comes from where the connection comes from is its own.
    fn datagram(&mut self, came: Came, buffer: &[u8]) -> Result<(), Over> {
        let own = canonical(came.from).ip() == self.who.peer.ip();
        let track = self.pairs.get(came.pair).map(|(track, _)| *track);
        let (true, Some(track)) = (own, track) else {
            return Ok(());
        };
        let traffic = self.shard.metrics().traffic(Protocol::Rtsp);
        traffic.bytes_in.inc_by(came.size as u64);
        let now = Instant::now();
        let bytes = buffer.get(..came.size).unwrap_or_default();
        self.machine.datagram(track, came.rtcp, bytes, now);
        self.drain(now)
    }

    /// Does what the machine wants until it wants nothing more.
    fn drain(&mut self, now: Instant) -> Result<(), Over> {
        loop {
            let output = match self.machine.poll() {
                Ok(Some(output)) => output,
                Ok(None) => break,
                Err(error) => {
                    limited("malformed", now, || {
                        tracing::warn!(
                            peer = %self.who.peer, protocol = "rtsp", code = "malformed",
                            "connection closed: {error}"
                        );
                    });
                    return Err(("malformed", End::Cut));
                }
            };
            match output {
                Output::Write(bytes) => self.outlet.control(bytes),
                Output::Announce(path) => match self.announced(&path) {
                    Ok(()) => self.machine.accept(),
                    Err(status) => self.machine.refuse(status),
                },
                Output::Setup(track, _) => match self.open_pair(track) {
                    Ok(ports) => self.machine.datagrams(ports),
                    Err(error) => {
                        tracing::warn!(
                            peer = %self.who.peer, protocol = "rtsp", code = "ports",
                            "no ports for its datagrams: {error}"
                        );
                        self.machine.refuse(503);
                    }
                },
                Output::LeftOut(what) => left_out(self.who, &what),
                Output::Tag(tag) => self.tag(tag, now)?,
                Output::Close => return Err(("closed-by-peer", End::Clean)),
            }
        }
        let figures = self.machine.figures();
        let before = std::mem::replace(&mut self.counted, figures);
        let metrics = self.shard.metrics();
        let new = |now: u64, before: u64| now.saturating_sub(before);
        metrics.media_errors(Protocol::Rtsp, "gap", new(figures.gaps, before.gaps));
        metrics.media_errors(Protocol::Rtsp, "broken", new(figures.broken, before.broken));
        Ok(())
    }

    /// Whether it may publish what it announces: `APP/STREAM`, or a stream of the listener's
    /// application. The status of the refusal.
    fn announced(&mut self, path: &str) -> Result<(), u16> {
        let (name, key) = if is_key(path) {
            let (name, key) = self.by_key(path)?;
            (name, Some(key))
        } else if self.route.admits(self.who.peer.ip()) {
            let name = self.named(path).map_err(|error| {
                bad_name(self.who, (path, self.policy.has_keys()), error);
                404u16
            })?;
            (name, None)
        } else {
            not_listed(self.who, &self.local);
            return Err(403);
        };
        let metrics = Arc::clone(self.shard.metrics());
        // Another description on the same connection is another beginning.
        if let Some(before) = self.publishing.take() {
            self.registered.unpublishes(0);
            before.end(End::Clean);
        }
        let bell = Arc::clone(&self.bell);
        self.key = None;
        match Publishing::begin(&self.hub, &metrics, &name, (self.who, key.as_ref()), bell) {
            Ok(publishing) => {
                self.key = key.map(|key| {
                    let bell = Arc::clone(&self.bell);
                    self.policy.hold(&key, Box::new(move || bell.wake()))
                });
                self.admitted.login_done();
                self.registered.publishes(0, &name, "RTSP");
                self.publishing = Some(publishing);
                self.name = Some(name);
                self.heard = Instant::now();
                Ok(())
            }
            Err("busy" | "bad-name") => Err(403),
            Err(_) => Err(503),
        }
    }

    /// What a path with a stream key in it publishes. A key that is none has its line in the log.
    fn by_key(&self, path: &str) -> Result<(StreamName, KeyGrant), u16> {
        let (ip, now) = (self.who.peer.ip(), Instant::now());
        let asked = self.parts(path);
        match self.policy.grant(&Identity::Nobody, asked, ip, now) {
            Ok(Grant::Key { key, stream }) => Ok((stream, key)),
            // It never becomes a name.
            Ok(Grant::Named) => Err(403),
            Err(_) => {
                if !self.policy.has_keys() {
                    repeated("no-key", ip, now, || {
                        tracing::warn!(
                            peer = %self.who.peer, protocol = "rtsp", code = "no-key",
                            "publish refused: it came with a stream key, and there are none here \
                             (publish.keys)"
                        );
                    });
                }
                Err(403)
            }
        }
    }

    fn named(&self, path: &str) -> Result<StreamName, NameError> {
        let (app, name) = self.parts(path);
        StreamName::new(app, name)
    }

    /// The application of a path, and what is behind it.
    fn parts<'a>(&'a self, path: &'a str) -> (&'a str, &'a str) {
        if let Some((app, name)) = path.split_once('/')
            && let Some(app) = self.route.applications.resolve(app)
        {
            return (&**app, name);
        }
        (&*self.route.app, path)
    }

    /// The ports of a track.
    fn open_pair(&mut self, track: usize) -> io::Result<[u16; 2]> {
        self.pairs.retain(|(known, _)| *known != track);
        if self.pairs.len() >= MAX_RTSP_TRACKS {
            return Err(io::Error::other("too many tracks"));
        }
        let pair = Pair::open(self.local.ip())?;
        let ports = pair.ports();
        self.pairs.push((track, pair));
        Ok(ports)
    }

    fn tag(&mut self, tag: Tag, now: Instant) -> Result<(), Over> {
        self.heard = now;
        match &mut self.publishing {
            Some(publishing) => publishing
                .push(tag, now)
                .map_err(|_| ("displaced", End::Displaced)),
            None => Ok(()),
        }
    }

    fn finish(mut self, code: &'static str, end: End) {
        let (mut code, mut end) = (code, end);
        if end != End::Displaced {
            self.machine.finish();
            if let Err(over) = self.drain(Instant::now()) {
                (code, end) = over;
            }
        }
        self.shard.metrics().traffic(Protocol::Rtsp).closed(code);
        let name = self.name.as_ref().map(ToString::to_string);
        tracing::debug!(
            id = self.registered.id(), peer = %self.who.peer, protocol = "rtsp", code,
            stream = %Escaped(name.as_deref().unwrap_or("-")), "connection closed"
        );
        if let Some(publishing) = self.publishing.take() {
            publishing.end(end);
        }
    }
}

fn pairs(all: &[(usize, Pair)]) -> impl Iterator<Item = &Pair> {
    all.iter().map(|(_, pair)| pair)
}
