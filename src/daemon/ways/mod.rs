//! Listeners for encoders that speak no RTMP: bound at the start, exchanged by a reload.
//!
//! A listener is known by what is spoken there and its address. A reload that leaves these alone changes
//! only where its streams go and who may send, for those who come from then on.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::StartError;
use super::activation::ActivationError;
use super::table::Service;
use crate::auth::Policy;
use crate::config::{Problem, Settings, Way, WayInterface, WayKind};
use crate::ingest::{self, Datagrams, Form, Interface, Route, Routing};
use crate::net::{BindError, Bound, Door, Listener};
use crate::relay::Hub;

/// A socket that is bound, and takes nothing yet.
pub(super) enum Socket {
    Tcp(Listener),
    Udp(Datagrams),
}

/// A listener that could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum WayError {
    /// Of connections.
    #[error("{0}")]
    Bind(#[from] BindError),
    /// Of datagrams.
    #[error("{0}")]
    Datagrams(#[from] ingest::DatagramError),
}

impl WayError {
    /// Whether this process may have no socket of this family at all, now or later.
    pub(super) fn is_forbidden(&self) -> bool {
        match self {
            Self::Bind(error) => error.is_forbidden(),
            Self::Datagrams(error) => error.is_forbidden(),
        }
    }

    pub(super) fn errno(&self) -> Option<i32> {
        match self {
            Self::Bind(error) => error.source.raw_os_error(),
            Self::Datagrams(error) => error.source.raw_os_error(),
        }
    }
}

impl Socket {
    fn address(&self) -> SocketAddr {
        match self {
            Self::Tcp(listener) => listener.address(),
            Self::Udp(datagrams) => datagrams.address(),
        }
    }

    fn open(way: &Way, others: &[&Bound]) -> Result<Self, WayError> {
        if way.kind.is_udp() {
            let interface = way.interface.as_ref().map(|interface| match interface {
                WayInterface::Name(name) => Interface::Name(name.clone()),
                WayInterface::Address(address) => Interface::Address(*address),
            });
            let datagrams = Datagrams::bind(way.address, interface.as_ref(), way.source)?;
            return Ok(Self::Udp(datagrams));
        }
        let mut opened = Listener::rebind(&[way.address], &[], others)?.opened;
        opened.pop().map(Self::Tcp).ok_or_else(|| {
            // One address that nobody has is one listener.
            let source = io::Error::other("no socket was made");
            WayError::Bind(BindError {
                address: way.address,
                source,
            })
        })
    }
}

/// Binds them all, or takes them from those that were passed to this process.
pub(super) fn open(
    settings: &Settings,
    mut passed: Vec<(&'static str, Listener)>,
) -> Result<Vec<(Way, Socket)>, StartError> {
    let mut all = Vec::new();
    for way in &settings.ways {
        let fits = |(name, listener): &(&str, Listener)| {
            !way.kind.is_udp()
                && *name == way.kind.name()
                && listener.address().port() == way.address.port()
        };
        let socket = match passed.iter().position(fits) {
            Some(at) => Socket::Tcp(passed.swap_remove(at).1),
            None => Socket::open(way, &[])?,
        };
        all.push((way.clone(), socket));
    }
    match passed.first() {
        Some((name, listener)) => Err(StartError::Activation(ActivationError::NoWay {
            name,
            address: listener.address(),
        })),
        None => Ok(all),
    }
}

/// Their rows in the table at the start.
pub(super) fn services(ways: &[(Way, Socket)]) -> impl Iterator<Item = Service> {
    ways.iter().map(|(way, socket)| Service {
        carrier: if way.kind.is_udp() { "udp" } else { "tcp" },
        address: socket.address(),
        protocol: way.kind.inbound(),
        application: way.app.to_string(),
    })
}

fn route(way: &Way) -> Route {
    Route {
        form: match way.kind {
            WayKind::LiveFlv => Form::LiveFlv,
            WayKind::TcpTs | WayKind::UdpTs => Form::Ts,
            WayKind::Rtsp => Form::Rtsp,
        },
        app: Arc::clone(&way.app),
        applications: way.applications.clone(),
        stream: way.stream.clone(),
        wait_for_metadata: way.wait_for_metadata,
        networks: way.networks.clone(),
        source: way.source,
    }
}

/// Whether one socket serves both: how it is bound is the same.
fn same_socket(one: &Way, other: &Way) -> bool {
    let of = |way: &Way| (way.kind, way.address);
    let joined = |way: &Way| {
        way.kind
            .is_udp()
            .then(|| (way.interface.clone(), way.source))
    };
    of(one) == of(other) && joined(one) == joined(other)
}

/// One that serves until this is dropped.
struct Open {
    way: Way,
    address: SocketAddr,
    routing: Arc<Routing>,
    /// Of connections.
    bound: Option<Bound>,
    _close: oneshot::Sender<()>,
}

/// Those that serve.
#[derive(Default)]
pub(super) struct Ways {
    open: Vec<Open>,
}

/// The listeners as they are to be.
pub(super) struct Exchange {
    /// Of those there are, in their order: what they are from now on.
    kept: Vec<Option<Way>>,
    opened: Vec<(Way, Socket)>,
}

impl Ways {
    /// Serves one from now on.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(super) fn serve(
        &mut self,
        (way, socket): (Way, Socket),
        door: &Door,
        (hub, policy): (&Arc<Hub>, &Arc<Policy>),
        tasks: &mut JoinSet<io::Result<()>>,
    ) -> io::Result<()> {
        let routing = Routing::new(route(&way));
        let (close, closed) = oneshot::channel::<()>();
        let closed = async move {
            let _ = closed.await;
        };
        let address = socket.address();
        let (hub, policy) = (Arc::clone(hub), Arc::clone(policy));
        let of_task = Arc::clone(&routing);
        let bound = match socket {
            Socket::Tcp(listener) => {
                let bound = listener.bound()?;
                let protocol = of_task.route().form.protocol();
                tasks.spawn(door.clone().open(
                    protocol,
                    listener,
                    move |shard, incoming| {
                        let inside = (Arc::clone(&hub), Arc::clone(&policy));
                        ingest::serve(inside, of_task.route(), shard, incoming)
                    },
                    closed,
                ));
                Some(bound)
            }
            Socket::Udp(datagrams) => {
                let shards = Arc::clone(&door.shards);
                tasks.spawn(async move {
                    let (tell, told) = oneshot::channel::<()>();
                    let made = shards.spawn(shards.choose(), move |shard| async move {
                        ingest::serve_datagrams(hub, of_task, (shard, datagrams), closed).await;
                        drop(tell);
                    });
                    made.await.map_err(io::Error::other)?;
                    let _ = told.await; // it is dropped at the end, whatever that is
                    Ok(())
                });
                None
            }
        };
        self.open.push(Open {
            way,
            address,
            routing,
            bound,
            _close: close,
        });
        Ok(())
    }

    /// Opens what is new; nothing else changes yet.
    ///
    /// # Errors
    /// One that cannot be opened.
    pub(super) fn prepare(
        &self,
        wanted: &[Way],
        others: &[&Bound],
    ) -> Result<Exchange, Vec<Problem>> {
        let mut kept: Vec<Option<Way>> = self.open.iter().map(|_| None).collect();
        let mut opened = Vec::new();
        let own = self.open.iter().filter_map(|open| open.bound.as_ref());
        let all: Vec<&Bound> = own.chain(others.iter().copied()).collect();
        for way in wanted {
            let mut pairs = self.open.iter().zip(&mut kept);
            let before = pairs.find(|(open, kept)| kept.is_none() && same_socket(&open.way, way));
            match before {
                Some((_, kept)) => *kept = Some(way.clone()),
                None => {
                    let socket = Socket::open(way, &all)
                        .map_err(|e| vec![Problem::of(way.kind.key(), e.to_string())])?;
                    opened.push((way.clone(), socket));
                }
            }
        }
        Ok(Exchange { kept, opened })
    }

    /// The new ones serve before the old ones end. Sockets that were passed to this process stay.
    pub(super) fn exchange(
        &mut self,
        exchange: Exchange,
        door: &Door,
        inside: (&Arc<Hub>, &Arc<Policy>),
        tasks: &mut JoinSet<io::Result<()>>,
    ) {
        let before = std::mem::take(&mut self.open);
        let mut gone = Vec::new();
        for (mut open, kept) in before.into_iter().zip(exchange.kept) {
            match kept {
                Some(way) => {
                    if open.way != way {
                        open.routing.set(route(&way));
                        open.way = way;
                    }
                    self.open.push(open);
                }
                None => gone.push(open),
            }
        }
        for way in exchange.opened {
            let place = way.0.place();
            if let Err(error) = self.serve(way, door, inside, tasks) {
                tracing::error!(
                    code = "reload",
                    listener = place,
                    "cannot be served: {error}"
                );
            }
        }
        drop(gone);
    }

    /// Name and address of each, for people.
    pub(super) fn addresses(&self) -> impl Iterator<Item = (String, String)> {
        self.open.iter().map(|open| {
            let scheme = if open.way.kind.is_udp() { "udp://" } else { "" };
            let name = open.way.kind.name().to_owned();
            (name, format!("{scheme}{}", open.address))
        })
    }

    /// Ends them; who is connected is served on.
    pub(super) fn close(&mut self) {
        self.open.clear();
    }

    /// What a list of addresses sees of them.
    pub(super) fn bound(&self) -> impl Iterator<Item = &Bound> {
        self.open.iter().filter_map(|open| open.bound.as_ref())
    }
}
