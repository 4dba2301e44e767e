//! Listening sockets and the accept loop, which nothing ends.

use std::fs::File;
use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use socket2::{Domain, Protocol as SocketProtocol, SockRef, Socket, Type};
use tokio::time::timeout;

use super::admission::{Admission, Admitted};
use super::outlet::Ending;
use super::shards::{Shard, Shards};
use super::socket::{canonical, prepare};
use crate::limits::{ACCEPT_PAUSE, LISTEN_BACKLOG, REFUSAL_LOG};
use crate::telemetry::metrics::{Metrics, Protocol};

/// A socket that could not be made to listen.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}{}", hint(.address, .source))]
pub struct BindError {
    /// What was asked for.
    pub address: SocketAddr,
    /// What the system answered.
    pub source: io::Error,
}

impl BindError {
    /// Whether this process may have no socket of this family at all, now or later.
    #[must_use]
    pub fn is_forbidden(&self) -> bool {
        self.source.raw_os_error() == Some(Errno::EAFNOSUPPORT as i32)
    }
}

fn hint(address: &SocketAddr, error: &io::Error) -> &'static str {
    if error.raw_os_error() == Some(Errno::EAFNOSUPPORT as i32) {
        return if address.is_ipv6() && !address.ip().is_unspecified() {
            "; this machine has no IPv6, or this service may open no network socket itself"
        } else {
            "; this service may open no network socket itself (RestrictAddressFamilies=): enable the unit that passes it one, crtmpserver.socket for listen.rtmp or crtmpserver-http.socket for listen.http, or write [] there"
        };
    }
    match error.kind() {
        io::ErrorKind::AddrInUse => "; another program has this port (see: ss -ltnp)",
        io::ErrorKind::PermissionDenied => "; ports below 1024 need CAP_NET_BIND_SERVICE",
        io::ErrorKind::AddrNotAvailable => "; this machine does not have that address",
        _ => "",
    }
}

/// A socket that listens already, but accepts nothing before [`Listener::serve`].
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

/// A connection that was let in.
#[derive(Debug)]
pub struct Incoming {
    /// Not blocking, its options set; for [`tokio::net::TcpStream::from_std`].
    pub socket: TcpStream,
    /// The other side; an IPv4 peer of a dual-stack socket is IPv4.
    pub peer: SocketAddr,
    /// Our side.
    pub local: SocketAddr,
    /// When it was accepted: absolute deadlines count from here.
    pub at: Instant,
    /// Its place; to be kept as long as the connection.
    pub admitted: Admitted,
}

/// What the accept loops share.
#[derive(Debug, Clone)]
pub struct Door {
    /// Where connections run.
    pub shards: Arc<Shards>,
    /// Who may come in.
    pub admission: Arc<Admission>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// `TCP_USER_TIMEOUT` of what is accepted.
    pub vanished: Duration,
}

impl Listener {
    /// Binds and listens. `[::]` takes IPv4 too unless `v6_only`; on a machine without IPv6 it is
    /// `0.0.0.0`.
    ///
    /// # Errors
    /// [`BindError`] with the address and the system's reason.
    pub fn bind(address: SocketAddr, v6_only: bool) -> Result<Self, BindError> {
        let made = match Self::try_bind(address, v6_only) {
            Err(e)
                if e.raw_os_error() == Some(Errno::EAFNOSUPPORT as i32)
                    && address.is_ipv6()
                    && address.ip().is_unspecified()
                    && !v6_only =>
            {
                Self::try_bind((Ipv4Addr::UNSPECIFIED, address.port()).into(), false)
            }
            other => other,
        };
        made.map_err(|source| BindError { address, source })
    }

    /// Binds all, or none: `[::]:P` is IPv6 only where `0.0.0.0:P` is in the list too.
    ///
    /// # Errors
    /// [`BindError`] of the first that failed.
    pub fn bind_all(addresses: &[SocketAddr]) -> Result<Vec<Self>, BindError> {
        addresses
            .iter()
            .map(|a| {
                let v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, a.port()));
                let v6_only = a.is_ipv6() && a.port() != 0 && addresses.contains(&v4);
                Self::bind(*a, v6_only)
            })
            .collect()
    }

    /// Takes over a socket that another process bound (systemd's socket activation).
    ///
    /// # Errors
    /// When it is no listening TCP socket.
    pub fn inherit(fd: OwnedFd) -> io::Result<Self> {
        let socket = Socket::from(fd);
        if socket.r#type()? != Type::STREAM || !socket.is_listener()? {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the inherited descriptor is no listening TCP socket",
            ));
        }
        socket.set_cloexec(true)?;
        Self::ready(socket)
    }

    /// The address that it really has: the port is never 0.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    fn try_bind(address: SocketAddr, v6_only: bool) -> io::Result<Self> {
        let domain = Domain::for_address(address);
        let socket = Socket::new(domain, Type::STREAM, Some(SocketProtocol::TCP))?;
        if address.is_ipv6() {
            socket.set_only_v6(v6_only)?;
        }
        // A restart must not wait for old connections to time out. Not SO_REUSEPORT: a second
        // server on the same port shall fail loudly.
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(LISTEN_BACKLOG)?;
        Self::ready(socket)
    }

    fn ready(socket: Socket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let socket = TcpListener::from(socket);
        let address = socket.local_addr()?;
        Ok(Self { socket, address })
    }

    /// Accepts for ever; each connection becomes a task of the least loaded shard. Dropping the
    /// future stops accepting. The handler counts why its connection closed
    /// ([`crate::telemetry::metrics::Traffic::closed`]); a panic in it is counted here.
    ///
    /// # Errors
    /// Only when the runtime has no event queue.
    pub async fn serve<H, T>(
        self,
        protocol: Protocol,
        door: Door,
        handler: H,
    ) -> io::Result<std::convert::Infallible>
    where
        H: Fn(Rc<Shard>, Incoming) -> T + Clone + Send + 'static,
        T: Future<Output = ()> + 'static,
    {
        let socket = tokio::net::TcpListener::from_std(self.socket)?;
        let mut spare = spare();
        let mut refusals = Seldom::default();
        let mut errors = Seldom::default();
        loop {
            let accepted = match socket.accept().await {
                // From here it belongs to the event queue of its shard.
                Ok((stream, peer)) => stream.into_std().map(|stream| (stream, peer)),
                Err(e) => Err(e),
            };
            let now = Instant::now();
            let error = match accepted {
                Ok((stream, peer)) => {
                    let peer = canonical(peer);
                    match door.admission.admit(peer.ip()) {
                        Ok(admitted) => {
                            if let Some(incoming) = incoming(&door, stream, peer, admitted) {
                                door.hand_over(protocol, incoming, handler.clone()).await;
                            }
                        }
                        Err(refusal) => {
                            drop(stream);
                            door.metrics.refused(refusal.label());
                            if let Some(unsaid) = refusals.say(now) {
                                tracing::warn!(
                                    listener = %self.address, peer = %peer.ip(), unsaid,
                                    code = refusal.label(), "connection refused: {refusal}"
                                );
                            }
                        }
                    }
                    continue;
                }
                Err(error) => error,
            };
            match after(&error) {
                After::Next => {}
                After::Shed => {
                    // One waiting connection is taken with the spare descriptor and closed: its
                    // peer learns at once, and the queue in the kernel does not stand still.
                    spare = None;
                    if let Ok(Ok(_closed)) = timeout(ACCEPT_PAUSE, socket.accept()).await {
                        door.metrics.refused("descriptors");
                    }
                    complain(&mut errors, &door.metrics, self.address, &error, now);
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
                After::Pause => {
                    complain(&mut errors, &door.metrics, self.address, &error, now);
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
            if spare.is_none() {
                spare = self::spare();
            }
        }
    }
}

impl Door {
    async fn hand_over<H, T>(&self, protocol: Protocol, incoming: Incoming, handler: H)
    where
        H: Fn(Rc<Shard>, Incoming) -> T + Send + 'static,
        T: Future<Output = ()> + 'static,
    {
        self.metrics.traffic(protocol).accepted.inc();
        let metrics = Arc::clone(&self.metrics);
        let spawned = self.shards.spawn(self.shards.choose(), move |shard| {
            let mut open = Open::new(metrics, protocol);
            async move {
                handler(shard, incoming).await;
                open.done();
            }
        });
        // An error means that the process ends; the connection was closed by being dropped.
        let _ = spawned.await;
    }
}

/// `None` when the peer is gone already: there is nothing to keep.
fn incoming(
    door: &Door,
    socket: TcpStream,
    peer: SocketAddr,
    admitted: Admitted,
) -> Option<Incoming> {
    prepare(&socket, door.vanished).ok()?;
    let local = SockRef::from(&socket).local_addr().ok()?.as_socket()?;
    Some(Incoming {
        socket,
        peer,
        local: canonical(local),
        at: Instant::now(),
        admitted,
    })
}

/// One in the gauge of open connections. The handler counts why it closed; when it could not, this
/// does.
struct Open {
    metrics: Arc<Metrics>,
    protocol: Protocol,
    closed: bool,
}

impl Open {
    fn new(metrics: Arc<Metrics>, protocol: Protocol) -> Self {
        metrics.traffic(protocol).connections.inc();
        Self {
            metrics,
            protocol,
            closed: false,
        }
    }

    /// The handler counted the reason. (A method, so that the task takes all of this along.)
    const fn done(&mut self) {
        self.closed = true;
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let traffic = self.metrics.traffic(self.protocol);
        traffic.connections.dec();
        if !self.closed {
            traffic.closed(if std::thread::panicking() {
                Ending::Defect.label()
            } else {
                "dropped"
            });
        }
    }
}

/// A descriptor to give up when there is no other left.
fn spare() -> Option<File> {
    File::open("/dev/null").ok()
}

fn complain(
    errors: &mut Seldom,
    metrics: &Metrics,
    listener: SocketAddr,
    error: &io::Error,
    now: Instant,
) {
    metrics.accept_errors.inc();
    if let Some(unsaid) = errors.say(now) {
        tracing::error!(%listener, unsaid, code = "accept", "accept failed, trying again: {error}");
    }
}

/// What an error of `accept` asks for.
#[derive(Debug, PartialEq, Eq)]
enum After {
    /// It was about one connection only.
    Next,
    /// No descriptor is left.
    Shed,
    /// Something else that may pass.
    Pause,
}

fn after(error: &io::Error) -> After {
    match error.raw_os_error().map(Errno::from_raw) {
        // accept(2): errors that are pending on the new socket are to be treated like EAGAIN.
        Some(
            Errno::ECONNABORTED
            | Errno::EINTR
            | Errno::EAGAIN
            | Errno::EPROTO
            | Errno::ENOPROTOOPT
            | Errno::ENETDOWN
            | Errno::EHOSTDOWN
            | Errno::ENONET
            | Errno::EHOSTUNREACH
            | Errno::ENETUNREACH
            | Errno::EPERM,
        ) => After::Next,
        Some(Errno::EMFILE | Errno::ENFILE) => After::Shed,
        _ => After::Pause,
    }
}

/// Lets one log line pass in [`REFUSAL_LOG`] and counts the others.
#[derive(Debug, Default)]
struct Seldom {
    last: Option<Instant>,
    unsaid: u64,
}

impl Seldom {
    /// `Some` when a line may be written: how many were not since the last one.
    fn say(&mut self, now: Instant) -> Option<u64> {
        let quiet = self
            .last
            .is_none_or(|last| now.saturating_duration_since(last) >= REFUSAL_LOG);
        if quiet {
            self.last = Some(now);
            return Some(std::mem::take(&mut self.unsaid));
        }
        self.unsaid = self.unsaid.saturating_add(1);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use crate::net::admission::AdmissionLimits;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn echo(_shard: Rc<Shard>, incoming: Incoming) {
        let mut socket = tokio::net::TcpStream::from_std(incoming.socket).unwrap();
        let mut bytes = [0; 16];
        while let Ok(n @ 1..) = socket.read(&mut bytes).await {
            socket.write_all(&bytes[..n]).await.unwrap();
        }
    }

    fn open(connections: usize) -> (SocketAddr, Door) {
        let listener = Listener::bind("[::]:0".parse().unwrap(), false).unwrap();
        let address = listener.address();
        let metrics = Arc::new(Metrics::default());
        let door = Door {
            shards: Shards::start(
                2,
                Limits::default(),
                crate::net::Latency::default(),
                &metrics,
            )
            .unwrap(),
            admission: Admission::new(AdmissionLimits {
                connections,
                pending: 100,
                pending_per_address: 100,
            }),
            metrics,
            vanished: Duration::from_secs(20),
        };
        tokio::spawn(listener.serve(Protocol::Http, door.clone(), echo));
        (address, door)
    }

    async fn exchange(address: SocketAddr) -> io::Result<tokio::net::TcpStream> {
        let mut client = tokio::net::TcpStream::connect(address).await?;
        client.write_all(b"hello").await?;
        let mut answer = [0; 5];
        client.read_exact(&mut answer).await?;
        assert_eq!(&answer, b"hello");
        Ok(client)
    }

    #[tokio::test]
    async fn ipv4_and_ipv6_reach_one_listener_and_loads_are_spread() {
        let (address, door) = open(10);
        let _a = exchange(([127, 0, 0, 1], address.port()).into())
            .await
            .unwrap();
        let open = || door.metrics.traffic(Protocol::Http).connections.get();
        assert_eq!(open(), 1);
        // A machine without IPv6 can only show the first half.
        if let Ok(_v6) = exchange(format!("[::1]:{}", address.port()).parse().unwrap()).await {
            assert_eq!((door.shards.load(0), door.shards.load(1)), (1, 1));
            assert_eq!(open(), 2);
        }
    }

    #[tokio::test]
    async fn one_more_than_the_limit_is_closed_and_the_next_is_served() {
        let (address, door) = open(1);
        let to = SocketAddr::from(([127, 0, 0, 1], address.port()));
        let first = exchange(to).await.unwrap();
        assert!(exchange(to).await.is_err());
        assert_eq!(door.metrics.refusals("max_connections"), 1);
        drop(first);
        while door.admission.connections() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        exchange(to).await.unwrap();
    }

    #[tokio::test]
    async fn a_handler_that_panics_is_counted_and_costs_one_connection() {
        let (_, door) = open(10);
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), false).unwrap();
        let to = listener.address();
        tokio::spawn(
            listener.serve(Protocol::Rtmp, door.clone(), |_, incoming| async move {
                drop(incoming.socket);
                panic!("on purpose");
            }),
        );
        assert!(exchange(to).await.is_err());
        let rtmp = door.metrics.traffic(Protocol::Rtmp);
        let start = Instant::now();
        while rtmp.connections.get() > 0 || rtmp.closes("defect") == 0 {
            assert!(start.elapsed() < Duration::from_secs(10));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(door.metrics.panics.get(), 1);
        assert!(exchange(to).await.is_err(), "the listener goes on");
        assert_eq!(rtmp.accepted.get(), 2);
    }

    #[test]
    fn a_port_in_use_is_named() {
        let first = Listener::bind("127.0.0.1:0".parse().unwrap(), false).unwrap();
        let error = Listener::bind(first.address(), false).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(&first.address().to_string()), "{text}");
        assert!(text.contains("another program"), "{text}");
    }

    #[test]
    fn a_service_without_the_network_is_told_what_to_enable() {
        let error = |address: &str| BindError {
            address: address.parse().unwrap(),
            source: io::Error::from_raw_os_error(Errno::EAFNOSUPPORT as i32),
        };
        let everywhere = error("[::]:1935");
        assert!(everywhere.is_forbidden());
        assert!(everywhere.to_string().contains("crtmpserver.socket"));
        assert!(error("[::1]:1935").to_string().contains("no IPv6"));
    }

    #[test]
    fn both_wildcards_can_be_listed() {
        let port = Listener::bind("127.0.0.1:0".parse().unwrap(), false)
            .unwrap()
            .address()
            .port();
        let both = [
            SocketAddr::from(([0, 0, 0, 0], port)),
            format!("[::]:{port}").parse().unwrap(),
        ];
        assert_eq!(Listener::bind_all(&both).unwrap().len(), 2);
    }

    #[test]
    fn only_a_listening_socket_is_inherited() {
        let good = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = good.local_addr().unwrap();
        assert_eq!(Listener::inherit(good.into()).unwrap().address(), address);
        let file = File::open("/dev/null").unwrap();
        assert!(Listener::inherit(file.into()).is_err());
        let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(Listener::inherit(udp.into()).is_err());
    }

    #[test]
    fn no_error_of_accept_ends_the_loop() {
        let of = |e: Errno| after(&io::Error::from_raw_os_error(e as i32));
        assert_eq!(of(Errno::ECONNABORTED), After::Next);
        assert_eq!(of(Errno::EMFILE), After::Shed);
        assert_eq!(of(Errno::ENFILE), After::Shed);
        assert_eq!(of(Errno::ENOMEM), After::Pause);
        assert_eq!(after(&io::Error::other("strange")), After::Pause);
    }

    #[test]
    fn a_flood_of_refusals_is_a_line_in_ten_seconds() {
        let mut seldom = Seldom::default();
        let start = Instant::now();
        assert_eq!(seldom.say(start), Some(0));
        for n in 0..500 {
            assert_eq!(seldom.say(start + Duration::from_millis(n)), None);
        }
        assert_eq!(seldom.say(start + REFUSAL_LOG), Some(500));
    }
}
