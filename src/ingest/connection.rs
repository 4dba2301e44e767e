//! A connection that brings bytes of a container, and gets no answer.

use std::future::poll_fn;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::yield_now;
use tokio::time::sleep_until;

use super::Route;
use super::publishing::{End, Publishing, Who, bad_name, left_out, not_listed};
use super::source::{Given, Source, name};
use crate::flv::{SCRIPT, Tag};
use crate::limits::{Limits, READ_BUFFER, READ_TURN};
use crate::net::{Admitted, Bell, Incoming, Outlet, OutletEvent, Registered, Shard, Wish};
use crate::relay::Hub;
use crate::telemetry::logging::{Escaped, limited};

/// How long the reading of one socket keeps the shard before others get their turn.
const READ_SLICE: Duration = Duration::from_millis(1);

struct Connection {
    hub: Arc<Hub>,
    route: Arc<Route>,
    shard: Rc<Shard>,
    limits: Arc<Limits>,
    outlet: Rc<Outlet>,
    who: Who,
    local: SocketAddr,
    admitted: Admitted,
    registered: Registered,
    /// Rung when another publisher took the stream.
    bell: Arc<Bell>,
    source: Source,
    publishing: Option<Publishing>,
    /// When its last audio or video came, or when it was accepted.
    heard: Instant,
}

/// Serves one connection until it ends, and counts how it ended.
pub(super) async fn serve(hub: Arc<Hub>, route: Arc<Route>, shard: Rc<Shard>, incoming: Incoming) {
    let protocol = route.form.protocol();
    let limits = shard.limits();
    let outlet = Outlet::new(incoming.socket, &shard, protocol);
    let mut connection = Connection {
        hub,
        registered: outlet.register(incoming.peer),
        source: Source::new(route.form, &limits),
        route,
        limits,
        outlet,
        who: Who {
            protocol,
            peer: incoming.peer,
        },
        local: incoming.local,
        admitted: incoming.admitted,
        bell: Arc::default(),
        publishing: None,
        heard: incoming.at,
        shard,
    };
    let (code, end) = connection.run().await;
    connection.finish(code, end);
}

impl Connection {
    /// Why it ended, and how.
    async fn run(&mut self) -> (&'static str, End) {
        if !self.route.admits(self.who.peer.ip()) {
            not_listed(self.who, &self.local);
            return ("not-listed", End::Cut);
        }
        let (outlet, shard) = (Rc::clone(&self.outlet), Rc::clone(&self.shard));
        let bell = Arc::clone(&self.bell);
        let mut stopping = std::pin::pin!(shard.stopping());
        loop {
            let due = self.deadline();
            tokio::select! {
                biased;
                () = &mut stopping => return ("stopping", End::Stopping),
                event = outlet.drive() => match event {
                    OutletEvent::Closed(ending) => return (ending.label(), End::Cut),
                    OutletEvent::Wished(Wish::Kick) => return ("kicked", End::Clean),
                    _ => {}
                },
                () = poll_fn(|cx| bell.poll_rung(cx)) => {
                    if self.publishing.as_ref().is_some_and(Publishing::is_displaced) {
                        return ("displaced", End::Displaced);
                    }
                }
                ready = poll_fn(|cx| outlet.poll_readable(cx)) => {
                    if ready.is_err() {
                        return ("connection-broken", End::Cut);
                    }
                    match self.read() {
                        Ok(true) => {}
                        Ok(false) => yield_now().await,
                        Err(over) => return over,
                    }
                }
                () = sleep_until(due.into()) => {
                    limited("silent", Instant::now(), || {
                        tracing::warn!(
                            peer = %self.who.peer, protocol = self.who.protocol.label(),
                            code = "silent", "connection closed: it sends no media"
                        );
                    });
                    return ("silent", End::Cut);
                }
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

    /// Reads at most one turn; whether that was all there is.
    fn read(&mut self) -> Result<bool, (&'static str, End)> {
        let (shard, outlet) = (Rc::clone(&self.shard), Rc::clone(&self.outlet));
        let traffic = shard.metrics().traffic(self.who.protocol);
        let mut left = READ_TURN;
        let begun = Instant::now();
        while left > 0 {
            let mut fed = Ok(());
            let mut given = Vec::new();
            let read = shard.read(outlet.socket(), |bytes| {
                fed = self.source.feed(bytes, |what| given.push(what));
                bytes.len()
            });
            match read {
                Ok(0) => return Err(("peer-closed", End::Clean)),
                Ok(n) => {
                    left = left.saturating_sub(n);
                    traffic.bytes_in.inc_by(n as u64);
                    self.source.count(shard.metrics());
                    for what in given {
                        self.take(what)?;
                    }
                    if let Err(error) = fed {
                        self.log_malformed(&error);
                        return Err(("malformed", End::Cut));
                    }
                    if n < READ_BUFFER {
                        return Ok(true);
                    }
                    if begun.elapsed() >= READ_SLICE {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Err(("connection-broken", End::Cut)),
            }
        }
        Ok(false)
    }

    fn log_malformed(&self, error: &str) {
        limited("malformed", Instant::now(), || {
            tracing::warn!(
                peer = %self.who.peer, protocol = self.who.protocol.label(), code = "malformed",
                "connection closed: {}", Escaped(error)
            );
        });
    }

    fn take(&mut self, given: Given) -> Result<(), (&'static str, End)> {
        match given {
            Given::Tag(tag) => self.tag(tag),
            Given::LeftOut(what) => {
                left_out(self.who, &what);
                Ok(())
            }
        }
    }

    fn tag(&mut self, tag: Tag) -> Result<(), (&'static str, End)> {
        let now = Instant::now();
        if self.publishing.is_none() {
            self.begin(&tag)?;
        }
        if tag.kind != SCRIPT {
            self.heard = now;
        }
        let Some(publishing) = &mut self.publishing else {
            return Ok(());
        };
        publishing
            .push(tag, now)
            .map_err(|_| ("displaced", End::Displaced))
    }

    /// The first tag: only now its stream is taken.
    fn begin(&mut self, first: &Tag) -> Result<(), (&'static str, End)> {
        let name = name(&self.route, self.who.peer, first).map_err(|(text, error)| {
            bad_name(self.who, (&text, false), error);
            ("bad-name", End::Cut)
        })?;
        let metrics = Arc::clone(self.shard.metrics());
        let bell = Arc::clone(&self.bell);
        let begun = Publishing::begin(&self.hub, &metrics, &name, (self.who, None), bell);
        let publishing = begun.map_err(|code| (code, End::Cut))?;
        self.admitted.login_done();
        self.registered
            .publishes(0, &name, self.route.form.encoder());
        self.publishing = Some(publishing);
        Ok(())
    }

    fn finish(mut self, code: &'static str, end: End) {
        let (mut code, mut end) = (code, end);
        if end != End::Displaced {
            let mut given = Vec::new();
            self.source.finish(|what| given.push(what));
            for what in given {
                // What is begun only now is of no use to anyone.
                if self.publishing.is_some()
                    && let Err(over) = self.take(what)
                {
                    (code, end) = over;
                    break;
                }
            }
        }
        let traffic = self.shard.metrics().traffic(self.who.protocol);
        traffic.closed(code);
        tracing::debug!(
            id = self.registered.id(), peer = %self.who.peer,
            protocol = self.who.protocol.label(), code, "connection closed"
        );
        if let Some(publishing) = self.publishing.take() {
            publishing.end(end);
        }
    }
}
