//! Ways in beside RTMP: bare FLV over TCP, MPEG-TS over TCP and UDP, RTSP. Compiled out of a mirror.
//!
//! None of them has a login: who may send is a matter of networks ([`Route::networks`]), or over RTSP of a
//! stream key, and a name is taken from another source by the same rules as over RTMP. A connection, or a source of datagrams, has
//! a machine that makes FLV tags of its bytes (`source`), and publishes one stream of them.

mod connection;
mod publishing;
mod rtsp;
mod source;
mod udp;

use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

pub use udp::{DatagramError, Datagrams, Interface};

use crate::auth::{Applications, Networks, Policy};
use crate::media::StreamName;
use crate::net::{Incoming, Shard};
use crate::relay::Hub;
use crate::telemetry::metrics::Protocol;

/// What comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// FLV, as in a file.
    LiveFlv,
    /// An MPEG transport stream.
    Ts,
    /// RTSP, and RTP within it or beside it.
    Rtsp,
}

impl Form {
    /// What it counts as.
    #[must_use]
    pub const fn protocol(self) -> Protocol {
        match self {
            Self::LiveFlv => Protocol::LiveFlv,
            Self::Ts => Protocol::Ts,
            Self::Rtsp => Protocol::Rtsp,
        }
    }

    /// What `status` calls an encoder that says nothing of itself.
    const fn encoder(self) -> &'static str {
        match self {
            Self::LiveFlv => "liveFLV",
            Self::Ts => "MPEG-TS",
            Self::Rtsp => "RTSP",
        }
    }
}

/// Who may send, and to which stream it goes.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// What comes in.
    pub form: Form,
    /// The application.
    pub app: Arc<str>,
    /// What a source may name as one, with the names that stand for them.
    pub applications: Applications,
    /// The stream; `None`: the source names it, or its address does.
    pub stream: Option<StreamName>,
    /// Whether a name in the source's metadata comes before `stream`.
    pub wait_for_metadata: bool,
    /// Who may send.
    pub networks: Networks,
    /// The one address that may, of datagrams.
    pub source: Option<IpAddr>,
}

impl Route {
    fn admits(&self, ip: IpAddr) -> bool {
        let only = self.source.is_none_or(|source| source == ip.to_canonical());
        only && self.networks.contains(ip)
    }

    /// Whether what comes goes to the same place as by the other.
    fn leads_where(&self, other: &Self) -> bool {
        let of = |route: &Self| (route.form, route.app.clone(), route.stream.clone());
        of(self) == of(other)
    }
}

/// A route that a reload may exchange; it holds for those who come from then on.
#[derive(Debug)]
pub struct Routing(Mutex<Arc<Route>>);

impl Routing {
    /// Begins with this one.
    #[must_use]
    pub fn new(route: Route) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Arc::new(route))))
    }

    /// The one that holds now.
    #[must_use]
    pub fn route(&self) -> Arc<Route> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on this one holds.
    pub fn set(&self, route: Route) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(route);
    }
}

/// Serves one connection until it ends.
pub fn serve(
    (hub, policy): (Arc<Hub>, Arc<Policy>),
    route: Arc<Route>,
    shard: Rc<Shard>,
    incoming: Incoming,
) -> Pin<Box<dyn Future<Output = ()>>> {
    match route.form {
        Form::LiveFlv | Form::Ts => Box::pin(connection::serve(hub, route, shard, incoming)),
        Form::Rtsp => Box::pin(rtsp::serve((hub, policy), route, shard, incoming)),
    }
}

/// Serves a socket of datagrams until `close` is ready or the server stops.
pub async fn serve_datagrams(
    hub: Arc<Hub>,
    routing: Arc<Routing>,
    (shard, socket): (Rc<Shard>, Datagrams),
    close: impl Future<Output = ()>,
) {
    Box::pin(udp::serve(hub, routing, shard, socket, close)).await;
}
