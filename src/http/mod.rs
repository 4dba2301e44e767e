//! HTTP: FLV streams from the engine, everything else by axum.
//!
//! The shard reads the head of the first request itself. `/APP/STREAM.flv` stays in the engine: the
//! connection becomes an [`crate::net::Outlet`]. Any other request goes to hyper with the bytes read
//! so far; a later request for a stream on the same connection comes back from there.

mod assets;
mod cluster;
#[cfg(feature = "publish")]
mod files;
mod flv;
mod head;
mod hls;
mod page;
mod pages;
mod prefixed;
mod refused;
mod state;
#[cfg(test)]
mod tests;
mod via;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use tokio::time::timeout_at;

pub use self::cluster::LastList;
use self::head::{BadHead, Head, Method, flv_stream};
pub use self::hls::{Hls, HlsConfig};
use self::pages::After;
use crate::cluster::{Cluster, Via};
use crate::limits::{HTTP_FAREWELL, HTTP_HEAD_TIMEOUT};
use crate::media::StreamName;
use crate::net::{Admitted, Incoming, Outlet, Shard};
use crate::relay::{Hub, JoinMode};
use crate::telemetry::health::Health;
use crate::telemetry::metrics::{Metrics, Protocol};
use crate::telemetry::repeats::repeated;
use crate::transport::Socket;

/// Why a stream cannot be watched just now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// Nobody publishes it: 404.
    NotLive,
    /// It is not known, because the link to the master is down: 503.
    NoMaster {
        /// When to ask again.
        retry_after: Duration,
    },
}

/// What HTTP is served from.
pub struct Web {
    /// The streams.
    pub hub: Arc<Hub>,
    /// What is counted, and the page of it.
    pub metrics: Arc<Metrics>,
    /// The servers of the cluster.
    pub cluster: Arc<Cluster>,
    /// What players were told of them last.
    pub last_list: LastList,
    /// Whether the server is ready.
    pub health: Arc<Health>,
    /// Who may use HTTP at all; on a master listed networks alone. Others get 403.
    pub access: Box<dyn Fn(IpAddr) -> bool + Send + Sync>,
    /// The stream that a name means: an address may begin with an alias.
    pub meant: Box<dyn Fn(&StreamName) -> StreamName + Send + Sync>,
    /// Asked for a stream that the hub does not have.
    pub missing: Box<dyn Fn(&StreamName) -> Missing + Send + Sync>,
    /// Where viewers begin.
    pub join: Box<dyn Fn() -> JoinMode + Send + Sync>,
    /// HLS of the streams.
    pub hls: Arc<Hls>,
    /// Media files; a standalone has some.
    #[cfg(feature = "publish")]
    pub files: Option<Arc<crate::vod::Library>>,
    /// The port of RTMP for the links of the start page; `None` where RTMP is not served.
    pub rtmp_port: Box<dyn Fn() -> Option<u16> + Send + Sync>,
}

impl Web {
    /// What keeps the server from being ready, for everybody's eyes: where the master is, is none of the
    /// public's business, which would only come there by the wrong way.
    pub(crate) fn troubles(&self) -> Vec<String> {
        let troubles = self.health.troubles();
        match self.cluster.master() {
            Some(master) => troubles.iter().map(|told| unnamed(told, &master)).collect(),
            None => troubles,
        }
    }

    /// Whether everybody is shown which media files there are.
    #[cfg(feature = "publish")]
    pub(crate) fn lists_files(&self) -> bool {
        self.files.as_ref().is_some_and(|library| {
            let config = library.config();
            config.list && !config.folders.is_empty()
        })
    }

    /// There are none.
    #[cfg(not(feature = "publish"))]
    #[expect(clippy::unused_self, reason = "a program with files looks at them")]
    pub(crate) const fn lists_files(&self) -> bool {
        false
    }
}

/// What is told, without the address of the master, a URL.
fn unnamed(told: &str, master: &str) -> String {
    const SHOWN: &str = "the master";
    let place = master.split_once("://").map_or(master, |(_, place)| place);
    let told = told.replace(master, SHOWN).replace(place, SHOWN);
    // A certificate is for a host without its port. One that is a mere word may stand for itself.
    match place.rsplit_once(':') {
        Some((host, _)) if host.contains(['.', ':']) => {
            told.replace(host.trim_matches(['[', ']']), SHOWN)
        }
        _ => told,
    }
}

impl fmt::Debug for Web {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Web({:?})", self.hub)
    }
}

/// Serves one connection, for [`crate::net::Listener::serve`].
pub async fn connection(shard: Rc<Shard>, incoming: Incoming, web: Arc<Web>) {
    let Incoming {
        socket,
        peer,
        local,
        at,
        admitted,
    } = incoming;
    let connection = Connection {
        shard,
        web,
        peer,
        local,
        admitted: Rc::new(admitted),
        secure: socket.is_secure(),
    };
    let (protocol, reason) = connection.run(socket, at).await;
    connection.web.metrics.traffic(protocol).closed(reason);
    tracing::debug!(protocol = protocol.label(), peer = %connection.peer, reason, "connection closed");
}

/// What stays the same in the life of a connection.
struct Connection {
    shard: Rc<Shard>,
    web: Arc<Web>,
    peer: SocketAddr,
    local: SocketAddr,
    admitted: Rc<Admitted>,
    /// It came in TLS.
    secure: bool,
}

/// How a connection ended: what it spoke and why it closed.
type Closed = (Protocol, &'static str);

impl Connection {
    async fn run(&self, socket: Socket, at: Instant) -> Closed {
        let deadline = at.checked_add(HTTP_HEAD_TIMEOUT).unwrap_or(at);
        let read = timeout_at(deadline.into(), self.read_head(&socket));
        let (head, bytes) = match read.await {
            Ok(Ok(read)) => read,
            Ok(Err(Unread::Gone)) => return (Protocol::Http, "peer-gone"),
            Ok(Err(Unread::Stop)) => return (Protocol::Http, "stopping"),
            Ok(Err(Unread::Bad(bad))) => return self.refuse_head(socket, bad).await,
            Err(_late) => return (Protocol::Http, "head-timeout"),
        };
        self.admitted.login_done();
        if !(self.web.access)(self.peer.ip()) {
            let answer = flv::plain(
                403,
                &[flv::ANY_ORIGIN],
                "This server answers the networks that its operator listed, and no others.\n",
                head.method,
            );
            return self.answer(socket, answer, "forbidden").await;
        }
        if let Some(name) = flv_stream(&head.path) {
            let wanted = flv::Wanted {
                method: head.method,
                via: if self.secure { Via::Https } else { head.via },
                name,
            };
            return self.flv(socket, wanted).await;
        }
        match pages::serve(self, bytes, socket).await {
            After::Closed(reason) => (Protocol::Http, reason),
            After::Flv(socket, wanted) => self.flv(socket, wanted).await,
        }
    }

    /// The head and everything that was read, head included.
    async fn read_head(&self, socket: &Socket) -> Result<(Head, Bytes), Unread> {
        let mut bytes = BytesMut::new();
        let mut stopping = std::pin::pin!(self.shard.stopping());
        loop {
            tokio::select! {
                ready = socket.readable() => ready.map_err(|_| Unread::Gone)?,
                () = &mut stopping => return Err(Unread::Stop),
            }
            let read = self.shard.read(socket, |read| {
                // At most a read more than a head may have: the next look at it ends this.
                bytes.extend_from_slice(read);
                read.len()
            });
            match read {
                Ok(0) => return Err(Unread::Gone),
                Ok(n) => self.count_in(n),
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => continue,
                Err(_) => return Err(Unread::Gone),
            }
            if let Some(head) = head::parse(&bytes).map_err(Unread::Bad)? {
                return Ok((head, bytes.freeze()));
            }
        }
    }

    async fn refuse_head(&self, socket: Socket, bad: BadHead) -> Closed {
        repeated(bad.label(), self.peer.ip(), Instant::now(), || {
            tracing::info!(
                peer = %self.peer, listener = %self.local, code = bad.label(),
                "request refused: {bad}"
            );
        });
        match bad.status() {
            Some(status) => {
                let answer = flv::plain(status, &[], &format!("{bad}\n"), Method::Get);
                self.answer(socket, answer, bad.label()).await
            }
            None => (Protocol::Http, bad.label()),
        }
    }

    async fn flv(&self, socket: Socket, wanted: flv::Wanted) -> Closed {
        let via = wanted.via;
        match flv::decide(&self.web, wanted, &self.admitted, self.peer.ip()) {
            flv::Decision::Answer(answer, reason) => self.answer(socket, answer, reason).await,
            flv::Decision::Play(stream, place) => {
                let reason = self.watch(socket, &stream, via).await;
                drop(place);
                (Protocol::Flv, reason)
            }
        }
    }

    /// Sends a whole answer and closes.
    async fn answer(&self, socket: Socket, answer: Bytes, reason: &'static str) -> Closed {
        let outlet = Outlet::new(socket, &self.shard, Protocol::Http);
        outlet.control(answer);
        outlet.finish(HTTP_FAREWELL).await;
        (Protocol::Http, reason)
    }

    fn count_in(&self, bytes: usize) {
        self.web
            .metrics
            .traffic(Protocol::Http)
            .bytes_in
            .inc_by(bytes as u64);
    }
}

/// Why no head was read.
enum Unread {
    Gone,
    Stop,
    Bad(BadHead),
}
