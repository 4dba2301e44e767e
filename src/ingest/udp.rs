//! Datagrams: a socket, and the one source that is listened to at a time.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};
use tokio::task::yield_now;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::publishing::{End, Publishing, Who, bad_name, left_out, not_listed};
use super::source::{Given, Source, name};
use super::{Route, Routing};
use crate::limits::{ACCEPT_PAUSE, DATAGRAM_BUFFER, DATAGRAM_PAUSE, DATAGRAM_SILENCE, READ_BUFFER};
use crate::net::{Bell, Registered, Shard, canonical};
use crate::relay::{Hub, Takeover};
use crate::telemetry::repeats::repeated;

/// How long the reading keeps the shard before others get their turn.
const READ_SLICE: Duration = Duration::from_millis(1);
/// How often silence is looked for.
const LOOK: Duration = Duration::from_millis(250);
/// A source whose stream is another one's asks again after this long.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// By which interface a group is joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Interface {
    /// Its name.
    Name(String),
    /// Its IPv4 address.
    Address(Ipv4Addr),
}

/// A socket that could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot take datagrams on {address}: {source}{}", hint(.address, .source))]
pub struct DatagramError {
    /// What was asked for.
    pub address: SocketAddr,
    /// What the system answered.
    pub source: io::Error,
}

impl DatagramError {
    /// Whether this process may have no socket of this family at all, now or later.
    #[must_use]
    pub fn is_forbidden(&self) -> bool {
        self.source.raw_os_error() == Some(nix::errno::Errno::EAFNOSUPPORT as i32)
    }
}

fn hint(address: &SocketAddr, error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "; another program has this port",
        io::ErrorKind::AddrNotAvailable if !address.ip().is_multicast() => {
            "; this machine does not have that address"
        }
        _ if error.raw_os_error() == Some(nix::errno::Errno::EAFNOSUPPORT as i32) => {
            "; this service may open no network socket itself (RestrictAddressFamilies=), as under the profile for masters"
        }
        _ if error.raw_os_error() == Some(nix::errno::Errno::ENODEV as i32) => {
            "; no interface leads to this group: name one with interface"
        }
        _ => "",
    }
}

/// A bound socket, in its group if the address is one's.
#[derive(Debug)]
pub struct Datagrams {
    socket: UdpSocket,
    address: SocketAddr,
}

impl Datagrams {
    /// Binds, and joins the group that a multicast address is; with a source the group of that source
    /// alone, where the system can (IPv4).
    ///
    /// # Errors
    /// [`DatagramError`] with the address and the system's reason.
    pub fn bind(
        address: SocketAddr,
        interface: Option<&Interface>,
        source: Option<IpAddr>,
    ) -> Result<Self, DatagramError> {
        Self::try_bind(address, interface, source)
            .map_err(|source| DatagramError { address, source })
    }

    fn try_bind(
        address: SocketAddr,
        interface: Option<&Interface>,
        source: Option<IpAddr>,
    ) -> io::Result<Self> {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::DGRAM,
            Some(Protocol::UDP),
        )?;
        let multicast = address.ip().is_multicast();
        // Several programs may listen to a group; to an address only one.
        socket.set_reuse_address(multicast)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        // What the system does not give costs datagrams when the machine is busy, and nothing else.
        let _ = socket.set_recv_buffer_size(DATAGRAM_BUFFER);
        match (address.ip(), source) {
            (IpAddr::V4(group), Some(IpAddr::V4(source))) if multicast => {
                let local = match interface {
                    Some(Interface::Address(address)) => *address,
                    Some(Interface::Name(_)) => {
                        // The system's call for one source takes no index; the source is looked at
                        // again with each datagram.
                        socket.join_multicast_v4_n(&group, &index(interface)?)?;
                        return Self::of(socket);
                    }
                    None => Ipv4Addr::UNSPECIFIED,
                };
                socket.join_ssm_v4(&source, &group, &local)?;
            }
            (IpAddr::V4(group), _) if multicast => {
                socket.join_multicast_v4_n(&group, &index(interface)?)?;
            }
            (IpAddr::V6(group), _) if multicast => {
                let index = match interface {
                    Some(Interface::Name(name)) => index_of(name)?,
                    _ => 0,
                };
                socket.join_multicast_v6(&group, index)?;
            }
            _ => {}
        }
        Self::of(socket)
    }

    fn of(socket: Socket) -> io::Result<Self> {
        let socket = UdpSocket::from(socket);
        let address = socket.local_addr()?;
        Ok(Self { socket, address })
    }

    /// The address that it really has: the port is never 0.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

fn index(interface: Option<&Interface>) -> io::Result<InterfaceIndexOrAddress> {
    Ok(match interface {
        None => InterfaceIndexOrAddress::Address(Ipv4Addr::UNSPECIFIED),
        Some(Interface::Address(address)) => InterfaceIndexOrAddress::Address(*address),
        Some(Interface::Name(name)) => InterfaceIndexOrAddress::Index(index_of(name)?),
    })
}

fn index_of(name: &str) -> io::Result<u32> {
    nix::net::if_::if_nametoindex(name).map_err(|error| {
        io::Error::new(
            io::Error::from(error).kind(),
            format!("there is no interface {name:?}"),
        )
    })
}

/// The source that is listened to.
struct Current {
    who: Who,
    source: Source,
    publishing: Option<Publishing>,
    registered: Option<Registered>,
    kicked: Arc<Bell>,
    displaced: Arc<Bell>,
    /// Its last datagram.
    heard: Instant,
    /// When its stream may be asked for again.
    ask: Instant,
}

struct Listener {
    hub: Arc<Hub>,
    routing: Arc<Routing>,
    route: Arc<Route>,
    shard: Rc<Shard>,
    local: SocketAddr,
    current: Option<Box<Current>>,
    /// Whom an operator ended, and until when it is not heard.
    barred: Option<(SocketAddr, Instant)>,
}

/// Serves a socket until `close` is ready or the server stops.
pub(super) async fn serve(
    hub: Arc<Hub>,
    routing: Arc<Routing>,
    shard: Rc<Shard>,
    datagrams: Datagrams,
    close: impl Future<Output = ()>,
) {
    let Ok(socket) = tokio::net::UdpSocket::from_std(datagrams.socket) else {
        tracing::error!(
            listener = %datagrams.address, code = "accept",
            "the system gives no event queue; datagrams are not taken"
        );
        return;
    };
    let mut listener = Listener {
        hub,
        route: routing.route(),
        routing,
        shard: Rc::clone(&shard),
        local: datagrams.address,
        current: None,
        barred: None,
    };
    let mut buffer = vec![0; READ_BUFFER];
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut close = std::pin::pin!(close);
    let mut stopping = std::pin::pin!(shard.stopping());
    loop {
        tokio::select! {
            biased;
            () = &mut stopping => return listener.end("stopping", End::Stopping),
            () = &mut close => return listener.end("closed", End::Cut),
            _ = look.tick() => listener.look(Instant::now()),
            read = socket.recv_from(&mut buffer) => {
                if read.is_err() {
                    sleep(ACCEPT_PAUSE).await; // whatever it is may pass
                }
                let begun = Instant::now();
                let mut read = read;
                while let Ok((size, from)) = read {
                    let bytes = buffer.get(..size).unwrap_or_default();
                    listener.datagram(bytes, canonical(from), Instant::now());
                    if begun.elapsed() >= READ_SLICE {
                        yield_now().await;
                        break;
                    }
                    read = socket.try_recv_from(&mut buffer);
                }
            }
        }
    }
}

impl Listener {
    fn datagram(&mut self, bytes: &[u8], from: SocketAddr, now: Instant) {
        let who = Who {
            protocol: self.route.form.protocol(),
            peer: from,
        };
        if !self.route.admits(from.ip()) {
            return not_listed(who, &self.local);
        }
        if self
            .barred
            .is_some_and(|(peer, until)| peer == from && now < until)
        {
            return;
        }
        let shard = Rc::clone(&self.shard);
        let metrics = shard.metrics();
        let other = self.current.as_ref().is_some_and(|c| c.who.peer != from);
        if other && !self.gives_way(now) {
            return repeated("second-source", from.ip(), now, || {
                tracing::warn!(
                    peer = %from, listener = %self.local, code = "second-source",
                    "datagrams left out: another source is being listened to"
                );
            });
        }
        if other {
            self.end("replaced", End::Cut);
        }
        let traffic = metrics.traffic(who.protocol);
        traffic.bytes_in.inc_by(bytes.len() as u64);
        let (route, limits) = (&self.route, shard.limits());
        let current = self.current.get_or_insert_with(|| {
            traffic.accepted.inc();
            traffic.connections.inc();
            Box::new(Current {
                who,
                source: Source::new(route.form, &limits),
                publishing: None,
                registered: None,
                kicked: Arc::default(),
                displaced: Arc::default(),
                heard: now,
                ask: now,
            })
        });
        current.heard = now;
        let mut given = Vec::new();
        current.source.datagram(bytes, |what| given.push(what));
        current.source.count(metrics);
        for what in given {
            if let Err((code, end)) = self.take(what, now) {
                return self.end(code, end);
            }
        }
    }

    /// Whether the source that there is has been silent for as long as a second publisher waits.
    fn gives_way(&self, now: Instant) -> bool {
        let config = self.hub.config();
        let silence = self
            .current
            .as_ref()
            .map(|c| now.saturating_duration_since(c.heard));
        config.takeover != Takeover::Never
            && silence.is_none_or(|silence| silence >= config.silent_after)
    }

    fn take(&mut self, given: Given, now: Instant) -> Result<(), (&'static str, End)> {
        let Some(current) = &mut self.current else {
            return Ok(());
        };
        let tag = match given {
            Given::Tag(tag) => tag,
            Given::LeftOut(what) => {
                left_out(current.who, &what);
                return Ok(());
            }
        };
        if current.publishing.is_none() && now >= current.ask {
            current.ask = now.checked_add(ASK_AGAIN).unwrap_or(now);
            let name = name(&self.route, current.who.peer, &tag).map_err(|(text, error)| {
                bad_name(current.who, (&text, false), error);
                ("bad-name", End::Cut)
            })?;
            let metrics = self.shard.metrics();
            let displaced = Arc::clone(&current.displaced);
            // It may be another one's for now: the source keeps sending, and asks again.
            if let Ok(publishing) =
                Publishing::begin(&self.hub, metrics, &name, (current.who, None), displaced)
            {
                let encoder = self.route.form.encoder();
                let kicked = Arc::clone(&current.kicked);
                let registered = self
                    .shard
                    .register_source(current.who.peer, encoder, kicked);
                registered.publishes(0, &name, encoder);
                current.registered = Some(registered);
                current.publishing = Some(publishing);
            }
        }
        match &mut current.publishing {
            Some(publishing) => publishing
                .push(tag, now)
                .map_err(|_| ("displaced", End::Displaced)),
            None => Ok(()),
        }
    }

    /// A time came: a source may be silent, kicked or displaced, or the route be another one.
    fn look(&mut self, now: Instant) {
        let route = self.routing.route();
        let elsewhere = !Arc::ptr_eq(&route, &self.route) && !route.leads_where(&self.route);
        self.route = route;
        let Some(current) = &self.current else { return };
        let peer = current.who.peer;
        let taken = current.publishing.as_ref();
        if current.kicked.take() {
            self.barred = Some((peer, now.checked_add(DATAGRAM_PAUSE).unwrap_or(now)));
            return self.end("kicked", End::Clean);
        }
        if taken.is_some_and(Publishing::is_displaced) {
            return self.end("displaced", End::Displaced);
        }
        if elsewhere || !self.route.admits(peer.ip()) {
            return self.end("closed", End::Cut);
        }
        if now.saturating_duration_since(current.heard) >= DATAGRAM_SILENCE {
            self.end("silent", End::Cut);
        }
    }

    fn end(&mut self, code: &'static str, end: End) {
        let Some(mut current) = self.current.take() else {
            return;
        };
        let traffic = self.shard.metrics().traffic(current.who.protocol);
        traffic.closed(code);
        traffic.connections.dec();
        tracing::debug!(
            peer = %current.who.peer, listener = %self.local, code, "source of datagrams gone"
        );
        drop(current.registered.take());
        if let Some(publishing) = current.publishing.take() {
            publishing.end(end);
        }
    }
}
