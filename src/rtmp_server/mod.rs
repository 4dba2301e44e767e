//! Drives [`crate::rtmp`] server machines over sockets: viewers, publishers, and mirrors.
//!
//! One task a connection reads, feeds the machine, answers its questions by [`Policy`] and
//! [`Hub`], and hands control bytes to the connection's outlet. Media goes past it: the shard's
//! fan-out writes it straight from the stream's log.

mod budget;
mod connection;
mod elsewhere;
mod events;
#[cfg(feature = "publish")]
mod files;
#[cfg(not(feature = "publish"))]
#[path = "files/none.rs"]
mod files;
mod mirrors;
#[cfg(feature = "publish")]
mod publishing;
#[cfg(feature = "publish")]
mod recording;
mod viewing;

use std::collections::VecDeque;
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

/// Mirrors with a wrong secret that are remembered.
const MAX_WRONG: usize = 256;

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
    /// Media files; a standalone has some.
    #[cfg(feature = "publish")]
    files: std::sync::OnceLock<Arc<crate::vod::Library>>,
    /// What records for publishers.
    #[cfg(feature = "publish")]
    recorder: std::sync::OnceLock<Arc<crate::record::Recorder>>,
    /// Mirrors that showed a wrong secret, the last ones: each is told of once, however often it tries.
    wrong: Mutex<VecDeque<String>>,
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
            #[cfg(feature = "publish")]
            files: std::sync::OnceLock::new(),
            #[cfg(feature = "publish")]
            recorder: std::sync::OnceLock::new(),
            wrong: Mutex::default(),
        }
    }

    /// Plays these files too, from now on.
    #[cfg(feature = "publish")]
    pub fn set_files(&self, files: Arc<crate::vod::Library>) {
        let _ = self.files.set(files); // they are said once
    }

    /// Records for publishers, from now on.
    #[cfg(feature = "publish")]
    pub fn set_recorder(&self, recorder: Arc<crate::record::Recorder>) {
        let _ = self.recorder.set(recorder); // it is said once
    }

    #[cfg(feature = "publish")]
    fn recorder(&self) -> Option<Arc<crate::record::Recorder>> {
        self.recorder.get().map(Arc::clone)
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

    /// Whether it is the first time that this mirror shows a wrong secret.
    fn is_new_wrong(&self, mirror: &str) -> bool {
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        if wrong.iter().any(|id| id == mirror) {
            return false;
        }
        if wrong.len() >= MAX_WRONG {
            wrong.pop_front();
        }
        wrong.push_back(mirror.to_owned());
        true
    }

    /// It shows the right one now.
    fn is_right(&self, mirror: &str) {
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        wrong.retain(|id| id != mirror);
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
