//! The mirror's side: the control connection to its master and one pull for each stream.
//!
//! ```text
//!            control: which streams are there     +--------+
//! master  ------------------------------------->  |  Edge  |  starts and stops
//!         ------------------------------------->  |  pull  |  one task a stream, writes the hub
//!            frames of one stream                 +--------+
//! ```
//!
//! Neither ever gives up. A pull that breaks leaves its stream waiting with its viewers connected.
//! A foreign master (any RTMP server) is not asked for its streams: the configuration names them.

mod backoff;
mod control;
mod login;
mod metadata;
mod pull;
mod uplink;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};

pub use metadata::Cloud;

use crate::auth::Secret;
use crate::cluster::Cluster;
use crate::limits::Limits;
use crate::media::StreamName;
use crate::net::Shards;
use crate::relay::Hub;
use crate::rtmp::client::ClientConfig;
use crate::rtmp::handshake::ClientMode;
use crate::rtmp::mirror::MAX_LISTED;
use crate::system::random;
use crate::telemetry::health::Health;
use crate::telemetry::metrics::Metrics;
use crate::transport::Connector;

/// The part of [`Health`] that the edge speaks for.
pub const MASTER: &str = "master";
/// What a mirror calls itself.
const AGENT: &str = concat!("crtmpserver/", env!("CARGO_PKG_VERSION"));
/// Chunk size of the little that a mirror sends.
const CHUNK_SIZE: u32 = 4096;
/// A master that sent nothing for this long is asked whether it is there.
const PING_AFTER: Duration = Duration::from_secs(2);
/// The window that a mirror announces, bytes.
const WINDOW: u32 = 2_500_000;

/// What a mirror is made of.
#[derive(Clone)]
pub struct EdgeConfig {
    /// `host:port` of the master.
    pub master: String,
    /// Whom it believes that the master is itself; `None`: nobody is asked, the link is not in TLS.
    pub connector: Option<Connector>,
    /// The secret shared with it; `None` for a foreign master.
    pub secret: Option<Secret>,
    /// The streams of a foreign master.
    pub streams: Vec<StreamName>,
    /// Deadlines and sizes: a hostile master is bad input, too.
    pub limits: Limits,
    /// Whom to ask for the public address.
    pub cloud: Cloud,
}

/// What a reload changes without ending anything.
struct Changeable {
    connector: Option<Connector>,
    secret: Option<Secret>,
    streams: Vec<StreamName>,
    limits: Limits,
    cloud: Cloud,
}

/// A mirror's link to its master. There is one in a mirror.
pub struct Edge {
    /// `host:port` of the master.
    master: String,
    /// The master is a crtmpserver: it knows the secret, and announces its streams.
    is_ours: bool,
    /// The link is in TLS.
    is_secure: bool,
    changeable: Mutex<Changeable>,
    /// A foreign master's streams are others.
    renamed: Notify,
    over: watch::Sender<bool>,
    hub: Arc<Hub>,
    cluster: Arc<Cluster>,
    shards: Arc<Shards>,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    pulls: Mutex<HashMap<StreamName, Arc<Wanted>>>,
    /// Of a foreign master's streams, those whose pull has no connection, and why.
    lost: Mutex<BTreeMap<StreamName, String>>,
}

/// What a pull's task and the control connection share.
#[derive(Debug)]
struct Wanted {
    /// Whether the master still lists the stream.
    listed: AtomicBool,
    /// Whether somebody publishes it there.
    live: AtomicBool,
    /// Something changed: do not wait any longer.
    changed: Notify,
    /// The configuration names the stream no longer: end it.
    dismissed: Notify,
}

/// Why a try failed, in words for the operator.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("{0}")]
    Ended(#[from] crate::rtmp_client::Ended),
    #[error("the master refused: {description} ({code})")]
    Rejected { code: String, description: String },
    #[error(
        "the master is no crtmpserver, or has no secret_file; for another vendor's server, name its streams with mirror.streams and leave secret_file out"
    )]
    Foreign,
    #[error("the master does not know the secret: compare secret_file on both machines")]
    Secret,
    #[error("this server is its own master, perhaps through others: check mirror.master")]
    Loop,
    #[error(
        "there are more than {} servers above this one",
        crate::rtmp::mirror::MAX_DEPTH
    )]
    Depth,
    #[error("this machine has an address by now that viewers can reach, and tells the master so")]
    Moved,
    #[error("the master has been silent for {} s", control::SILENCE.as_secs())]
    Silent,
    #[error("{0}")]
    Play(String),
}

impl Edge {
    /// Puts the parts together; [`Edge::run`] starts.
    #[must_use]
    pub fn new(
        config: EdgeConfig,
        (hub, cluster): (Arc<Hub>, Arc<Cluster>),
        shards: Arc<Shards>,
        (metrics, health): (Arc<Metrics>, Arc<Health>),
    ) -> Arc<Self> {
        let EdgeConfig {
            master,
            connector,
            secret,
            streams,
            limits,
            cloud,
        } = config;
        Arc::new(Self {
            master,
            is_ours: secret.is_some(),
            is_secure: connector.is_some(),
            changeable: Mutex::new(Changeable {
                connector,
                secret,
                streams,
                limits,
                cloud,
            }),
            renamed: Notify::new(),
            over: watch::Sender::new(false),
            hub,
            cluster,
            shards,
            metrics,
            health,
            pulls: Mutex::default(),
            lost: Mutex::default(),
        })
    }

    /// Keeps the link and the pulls until [`Edge::end`], or for as long as it is polled.
    pub async fn run(self: Arc<Self>) {
        let mut over = self.over.subscribe();
        let work = async {
            if self.is_ours {
                self.keep_control().await;
            } else {
                self.keep_streams().await;
            }
        };
        tokio::select! {
            // What is over has nothing to say of its link any more.
            biased;
            _ = over.wait_for(|over| *over) => {}
            () = work => {}
        }
    }

    /// Ends the link and every pull; the streams wait with their viewers, for another one.
    pub fn end(&self) {
        let lost = self.lost();
        self.over.send_replace(true);
        self.health.clear(MASTER);
        drop(lost);
        self.metrics.master_up.set(0);
    }

    /// Takes over what can change while the link holds: the secret and the limits for connections to
    /// come, a foreign master's streams at once. False when it is another master, or one of another
    /// kind: that takes another edge.
    #[must_use]
    pub fn change(&self, config: &EdgeConfig) -> bool {
        if config.master != self.master
            || config.secret.is_some() != self.is_ours
            || config.connector.is_some() != self.is_secure
        {
            return false;
        }
        let mut changeable = self.changeable();
        changeable.connector.clone_from(&config.connector);
        changeable.secret.clone_from(&config.secret);
        changeable.limits = config.limits;
        changeable.cloud.clone_from(&config.cloud);
        let renamed = changeable.streams != config.streams;
        changeable.streams.clone_from(&config.streams);
        drop(changeable);
        if renamed {
            self.renamed.notify_one();
        }
        true
    }

    fn changeable(&self) -> MutexGuard<'_, Changeable> {
        // Every change leaves it whole.
        self.changeable
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// A foreign master's streams are those that the configuration names.
    async fn keep_streams(self: &Arc<Self>) {
        loop {
            let streams = self.changeable().streams.clone();
            self.dismiss_others(&streams);
            // A mirror has no other stream but those that it pulls, now or before this link.
            for stream in self.hub.streams() {
                if !streams.contains(stream.name()) {
                    self.hub.end(stream.name());
                }
            }
            for name in &streams {
                if !self.pulls().contains_key(name) {
                    self.foreign_link(name, Err("not connected to the master yet".to_owned()));
                }
                self.want(name, true).await;
            }
            self.renamed.notified().await;
        }
    }

    fn lost(&self) -> MutexGuard<'_, BTreeMap<StreamName, String>> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pulls(&self) -> MutexGuard<'_, HashMap<StreamName, Arc<Wanted>>> {
        self.pulls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the pulls and the streams that the configuration names no longer.
    fn dismiss_others(&self, named: &[StreamName]) {
        self.forget_others(named);
        for (name, wanted) in self.pulls().iter() {
            if !named.contains(name) {
                wanted.dismissed.notify_one();
            }
        }
    }

    /// Without a control connection, the server is ready when every pull has its own.
    fn foreign_link(&self, name: &StreamName, link: Result<(), String>) {
        let mut lost = self.lost();
        if self.is_ours || *self.over.borrow() {
            return;
        }
        match link {
            Ok(()) => drop(lost.remove(name)),
            Err(why) => drop(lost.insert(name.clone(), why)),
        }
        match lost.first_key_value() {
            Some((name, why)) => self.health.trouble(MASTER, format!("{name}: {why}")),
            None => self.health.clear(MASTER),
        }
    }

    /// Whether somebody here waits for a picture.
    fn is_watched(&self) -> bool {
        self.hub.streams().iter().any(|s| s.viewers().total() > 0)
    }

    /// Sees to it that a stream is pulled.
    async fn want(self: &Arc<Self>, name: &StreamName, live: bool) {
        let wanted = {
            let mut pulls = self.pulls();
            if let Some(wanted) = pulls.get(name) {
                wanted.listed.store(true, Ordering::Relaxed);
                let was = wanted.live.swap(live, Ordering::Relaxed);
                if live && !was {
                    wanted.changed.notify_one();
                }
                return;
            }
            if pulls.len() >= MAX_LISTED {
                return;
            }
            let wanted = Arc::new(Wanted {
                listed: AtomicBool::new(true),
                live: AtomicBool::new(live),
                changed: Notify::new(),
                dismissed: Notify::new(),
            });
            pulls.insert(name.clone(), Arc::clone(&wanted));
            wanted
        };
        let edge = Arc::clone(self);
        let name = name.clone();
        let started = self
            .shards
            .spawn(self.shards.choose(), move |shard| {
                pull::keep(edge, shard, name, wanted)
            })
            .await;
        if started.is_err() {
            tracing::debug!("no pull is started any more: the server stops");
        }
    }

    /// The master lists exactly these streams.
    fn forget_others(&self, listed: &[StreamName]) {
        let pulls = self.pulls();
        for (name, wanted) in pulls.iter() {
            if !listed.contains(name) {
                wanted.listed.store(false, Ordering::Relaxed);
                wanted.changed.notify_one();
            }
        }
    }

    /// Ends a pull's place in the table, unless it was listed again meanwhile.
    fn retire(&self, name: &StreamName, wanted: &Arc<Wanted>) -> bool {
        let mut pulls = self.pulls();
        if wanted.listed.load(Ordering::Relaxed) {
            return false;
        }
        pulls.remove(name);
        true
    }

    /// How every connection to the master begins.
    fn client_config(&self, app: &str) -> Result<ClientConfig, getrandom::Error> {
        let mut limits = self.changeable().limits;
        if self.is_ours {
            // A crtmpserver answers pings: a link that is dead without saying so is found soon.
            limits.ping_after = PING_AFTER;
            limits.silence_timeout = control::SILENCE;
        }
        Ok(ClientConfig {
            limits,
            app: app.to_owned(),
            tc_url: format!("rtmp://{}/{app}", self.master),
            flash_ver: AGENT.to_owned(),
            swf_url: None,
            page_url: None,
            extra: Vec::new(),
            encoder: false,
            relay: true,
            subscribe: false,
            chunk_size: CHUNK_SIZE,
            window: WINDOW,
            handshake: ClientMode::Digest,
            random: random()?,
        })
    }
}
