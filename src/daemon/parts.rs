//! What all parts of a server share.

use std::path::PathBuf;
use std::sync::Arc;
#[cfg(test)]
use std::time::Instant;

use tokio::sync::watch;

use crate::auth::Policy;
use crate::cluster::Cluster;
#[cfg(test)]
use crate::config::Settings;
use crate::relay::Hub;
use crate::remote::Board;
use crate::telemetry::health::Health;
use crate::telemetry::metrics::Metrics;

/// See the module.
#[derive(Clone)]
pub(super) struct Parts {
    pub(super) hub: Arc<Hub>,
    pub(super) cluster: Arc<Cluster>,
    pub(super) policy: Arc<Policy>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) health: Arc<Health>,
    /// What is pulled and pushed.
    pub(super) board: Arc<Board>,
    /// The file that a mirror waits for.
    pub(super) missing: watch::Sender<Option<PathBuf>>,
}

#[cfg(test)]
impl Parts {
    /// Of a server that serves nothing.
    pub(super) fn alone() -> Self {
        let settings = Settings::default();
        let hub = Hub::new(settings.hub());
        let (config, _) = settings.policy().unwrap();
        Self {
            cluster: Cluster::new("x".to_owned(), false, Instant::now()),
            policy: Arc::new(Policy::new(config, Instant::now()).unwrap()),
            metrics: Arc::new(Metrics::of(&hub)),
            health: Arc::default(),
            board: Arc::default(),
            missing: watch::Sender::default(),
            hub,
        }
    }
}
