//! The accept loop, which no error ends.

use std::fs::File;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use socket2::SockRef;
use tokio::sync::oneshot;
use tokio::time::{sleep_until, timeout};

use super::admission::{Admission, Admitted, Refusal};
use super::bind::Listener;
use super::outlet::Ending;
use super::seldom::Complaints;
use super::shards::{Shard, Shards};
use super::socket::{canonical, prepare};
use crate::limits::ACCEPT_PAUSE;
use crate::system::is_peers_network;
use crate::telemetry::metrics::{Metrics, Protocol};
use crate::transport::Socket;

/// The kernel gives up a peer that takes nothing this much later than we do, so that the log and the
/// metrics say that the peer was too slow rather than that its connection broke.
const VANISHED_LATER: Duration = Duration::from_secs(5);

/// A connection that was let in, on its shard.
#[derive(Debug)]
pub struct Incoming {
    /// Its options are set.
    pub socket: Socket,
    /// The other side; an IPv4 peer of a dual-stack socket is IPv4.
    pub peer: SocketAddr,
    /// Our side.
    pub local: SocketAddr,
    /// When it was accepted: absolute deadlines count from here.
    pub at: Instant,
    /// Its place; to be kept as long as the connection.
    pub admitted: Admitted,
}

/// One on its way to its shard: its socket waits by the means of no thread yet.
struct Accepted {
    socket: TcpStream,
    peer: SocketAddr,
    local: SocketAddr,
    at: Instant,
    admitted: Admitted,
}

impl Accepted {
    /// `None` when the runtime ends.
    fn arrive(self) -> Option<Incoming> {
        let socket = tokio::net::TcpStream::from_std(self.socket).ok()?;
        Some(Incoming {
            socket: socket.into(),
            peer: self.peer,
            local: self.local,
            at: self.at,
            admitted: self.admitted,
        })
    }
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
}

impl Listener {
    /// Accepts until `close` is ready, and then takes those who were connected by then; each connection
    /// becomes a task of the least loaded shard and outlives the listener. The handler counts why its connection closed
    /// ([`crate::telemetry::metrics::Traffic::closed`]); a panic in it is counted here.
    ///
    /// # Errors
    /// Only when the runtime has no event queue.
    pub async fn serve<H, T>(
        self,
        protocol: Protocol,
        door: Door,
        handler: H,
        close: impl Future<Output = ()>,
    ) -> io::Result<()>
    where
        H: Fn(Rc<Shard>, Incoming) -> T + Clone + Send + 'static,
        T: Future<Output = ()> + 'static,
    {
        let mut close = std::pin::pin!(close);
        let address = self.address();
        let socket = tokio::net::TcpListener::from_std(self.into_socket())?;
        let mut spare = spare();
        let mut complaints = Complaints::new(address);
        loop {
            let accepted = tokio::select! {
                accepted = socket.accept() => accepted,
                () = &mut close => break,
                () = until(complaints.due()) => {
                    let now = Instant::now();
                    complaints.say_rest(Some(now), now);
                    continue;
                }
            };
            let now = Instant::now();
            // From here it belongs to the event queue of its shard.
            let error = match accepted.and_then(|(stream, peer)| Ok((stream.into_std()?, peer))) {
                Ok((stream, peer)) => {
                    match door.admit(stream, peer) {
                        Ok(Some(incoming)) => {
                            door.hand_over(protocol, incoming, handler.clone()).await;
                        }
                        Ok(None) => {}
                        Err(refusal) => complaints.refused(refusal, canonical(peer).ip(), now),
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
                    door.metrics.accept_errors.inc();
                    complaints.failed(&error, now);
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
                After::Pause => {
                    door.metrics.accept_errors.inc();
                    complaints.failed(&error, now);
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
            if spare.is_none() {
                spare = self::spare();
            }
        }
        complaints.say_rest(None, Instant::now());
        // Whoever the kernel connected already would be reset by closing.
        let socket = socket.into_std()?;
        while let Ok((stream, peer)) = socket.accept() {
            if stream.set_nonblocking(true).is_ok()
                && let Ok(Some(incoming)) = door.admit(stream, peer)
            {
                door.hand_over(protocol, incoming, handler.clone()).await;
            }
        }
        Ok(())
    }
}

impl Door {
    /// [`Listener::serve`] on the first shard's thread: a thread of its own would wait for the
    /// processor behind a walk over thousands of viewers, where a shard lets others in between.
    ///
    /// # Errors
    /// When the runtime has no event queue, or the shards have stopped.
    pub async fn open<H, T>(
        self,
        protocol: Protocol,
        listener: Listener,
        handler: H,
        close: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<()>
    where
        H: Fn(Rc<Shard>, Incoming) -> T + Clone + Send + 'static,
        T: Future<Output = ()> + 'static,
    {
        let shards = Arc::clone(&self.shards);
        let (tell, told) = oneshot::channel();
        shards
            .spawn(0, move |_| async move {
                // Whoever waits for it may be gone.
                drop(tell.send(listener.serve(protocol, self, handler, close).await));
            })
            .await
            .map_err(io::Error::other)?;
        told.await.map_err(io::Error::other)?
    }

    /// `None` when the peer is gone already: there is nothing to keep.
    fn admit(&self, socket: TcpStream, peer: SocketAddr) -> Result<Option<Accepted>, Refusal> {
        let peer = canonical(peer);
        match self.admission.admit(peer.ip()) {
            Ok(admitted) => Ok(accepted(self, socket, peer, admitted)),
            Err(refusal) => {
                self.metrics.refused(refusal.label());
                Err(refusal)
            }
        }
    }

    async fn hand_over<H, T>(&self, protocol: Protocol, accepted: Accepted, handler: H)
    where
        H: Fn(Rc<Shard>, Incoming) -> T + Send + 'static,
        T: Future<Output = ()> + 'static,
    {
        self.metrics.traffic(protocol).accepted.inc();
        let metrics = Arc::clone(&self.metrics);
        let spawned = self.shards.spawn(self.shards.choose(), move |shard| {
            let mut open = Open::new(metrics, protocol);
            // In a box of its own: moved into another future it would take its place twice.
            let task = accepted.arrive();
            let task = task.map(|incoming| Box::pin(handler(shard, incoming)));
            async move {
                if let Some(task) = task {
                    task.await;
                }
                open.done();
            }
        });
        // An error means that the process ends; the connection was closed by being dropped.
        let _ = spawned.await;
    }
}

fn accepted(
    door: &Door,
    socket: TcpStream,
    peer: SocketAddr,
    admitted: Admitted,
) -> Option<Accepted> {
    let vanished = door.shards.limits().send_timeout;
    prepare(&socket, vanished.saturating_add(VANISHED_LATER)).ok()?;
    let local = SockRef::from(&socket).local_addr().ok()?.as_socket()?;
    Some(Accepted {
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

/// Returns then; never, when there is nothing to wait for.
pub async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due.into()).await,
        None => std::future::pending().await,
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
            | Errno::EHOSTUNREACH
            | Errno::ENETUNREACH
            | Errno::EPERM,
        ) => After::Next,
        Some(error) if is_peers_network(error) => After::Next,
        Some(Errno::EMFILE | Errno::ENFILE) => After::Shed,
        _ => After::Pause,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use crate::net::admission::AdmissionLimits;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn echo(_shard: Rc<Shard>, incoming: Incoming) {
        let mut socket = incoming.socket;
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
                descriptors: usize::MAX,
                pending: 100,
                pending_per_address: 100,
            }),
            metrics,
        };
        tokio::spawn(listener.serve(Protocol::Http, door.clone(), echo, std::future::pending()));
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
    async fn whoever_was_connected_before_the_end_is_served() {
        let (_, door) = open(10);
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), false).unwrap();
        let address = listener.address();
        // The kernel has connected them; nobody has accepted them yet.
        let mut early = Vec::new();
        for _ in 0..3 {
            early.push(tokio::net::TcpStream::connect(address).await.unwrap());
        }
        let closed = std::future::ready(());
        let served = listener.serve(Protocol::Http, door.clone(), echo, closed);
        served.await.unwrap();
        for mut client in early {
            client.write_all(b"hello").await.unwrap();
            let mut answer = [0; 5];
            client.read_exact(&mut answer).await.unwrap();
        }
        assert!(tokio::net::TcpStream::connect(address).await.is_err());
    }

    #[tokio::test]
    async fn all_refusals_are_said_in_the_end() {
        let (_, door) = open(0);
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), false).unwrap();
        let (to, log) = (listener.address(), tempfile::NamedTempFile::new().unwrap());
        let writer = std::sync::Mutex::new(log.reopen().unwrap());
        let lines = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(writer)
            .finish();
        let _guard = tracing::subscriber::set_default(lines);
        for _ in 0..51 {
            let _refused = tokio::net::TcpStream::connect(to).await.unwrap();
        }
        let metrics = Arc::clone(&door.metrics);
        let all = async {
            while metrics.refusals("max_connections") < 51 {
                tokio::task::yield_now().await;
            }
        };
        let served = listener.serve(Protocol::Http, door, echo, all);
        timeout(Duration::from_secs(10), served)
            .await
            .unwrap()
            .unwrap();
        let log = std::fs::read_to_string(log.path()).unwrap();
        let told: Vec<_> = log.lines().collect();
        assert_eq!(told.len(), 2, "{log}");
        assert!(told[0].contains("connection refused: "), "{log}");
        assert!(
            told[1].contains("50 more connections were refused: "),
            "{log}"
        );
    }

    #[tokio::test]
    async fn a_handler_that_panics_is_counted_and_costs_one_connection() {
        let (_, door) = open(10);
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), false).unwrap();
        let to = listener.address();
        let handler = |_, incoming: Incoming| async move {
            drop(incoming.socket);
            panic!("on purpose");
        };
        tokio::spawn(listener.serve(
            Protocol::Rtmp,
            door.clone(),
            handler,
            std::future::pending(),
        ));
        assert!(exchange(to).await.is_err());
        let rtmp = door.metrics.traffic(Protocol::Rtmp);
        let start = Instant::now();
        // Its end is counted while the panic unwinds, the panic behind that.
        while door.metrics.panics.get() == 0 || rtmp.closes("defect") == 0 {
            assert!(start.elapsed() < Duration::from_secs(10));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!((door.metrics.panics.get(), rtmp.connections.get()), (1, 0));
        assert!(exchange(to).await.is_err(), "the listener goes on");
        assert_eq!(rtmp.accepted.get(), 2);
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
}
