//! Drives [`crate::rtmp`] server machines over sockets: viewers, publishers, and mirrors.
//!
//! One task a connection reads, feeds the machine, answers its questions by [`Policy`] and
//! [`Hub`], and hands control bytes to the connection's outlet. Media goes past it: the shard's
//! fan-out writes it straight from the stream's log.

mod budget;
mod connection;
mod events;
mod mirrors;
#[cfg(feature = "publish")]
mod publishing;
mod viewing;

use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use budget::Budget;

use crate::auth::Policy;
use crate::cluster::Cluster;
use crate::limits::MAX_REASSEMBLY_TOTAL;
use crate::net::{Incoming, Shard};
use crate::relay::{Hub, JoinMode};

/// How viewers are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Viewers {
    /// Where a viewer begins.
    pub join: JoinMode,
    /// How long a player waits for a stream that is not there yet.
    pub wait: Duration,
}

/// What all RTMP connections of a server share.
pub struct RtmpServer {
    /// The streams.
    pub hub: Arc<Hub>,
    /// Who may do what.
    pub policy: Arc<Policy>,
    /// The servers above and below this one.
    pub cluster: Arc<Cluster>,
    viewers: Mutex<Viewers>,
    connections: AtomicU64,
    budget: Arc<Budget>,
}

impl RtmpServer {
    /// Puts the parts together.
    #[must_use]
    pub fn new(
        hub: Arc<Hub>,
        policy: Arc<Policy>,
        cluster: Arc<Cluster>,
        viewers: Viewers,
    ) -> Self {
        Self {
            hub,
            policy,
            cluster,
            viewers: Mutex::new(viewers),
            connections: AtomicU64::new(1),
            budget: Budget::new(MAX_REASSEMBLY_TOTAL),
        }
    }

    /// How a viewer is served who begins now.
    #[must_use]
    pub fn viewers(&self) -> Viewers {
        *self.viewers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How viewers are served who begin from now on.
    pub fn set_viewers(&self, viewers: Viewers) {
        *self.viewers.lock().unwrap_or_else(PoisonError::into_inner) = viewers;
    }

    /// Serves one connection until it ends.
    pub fn serve(
        self: Arc<Self>,
        shard: Rc<Shard>,
        incoming: Incoming,
    ) -> impl Future<Output = ()> + 'static {
        let number = self.connections.fetch_add(1, Ordering::Relaxed);
        connection::serve(self, shard, incoming, number)
    }
}
