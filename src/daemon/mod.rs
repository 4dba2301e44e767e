//! Start order and stop order, readable from top to bottom.
//!
//! [`Server::open`] reads the secrets and binds every listener, so that whatever is wrong is said
//! before anything runs; [`Server::serve`] accepts, ticks and, on a mirror, keeps the link to the
//! master until it is told to stop.

pub mod activation;
mod signals;
pub mod table;

pub use signals::stop as stop_signal;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::auth::{FileError, Policy};
use crate::bridge;
use crate::cluster::{Cluster, Link};
use crate::config::{Loaded, Settings};
use crate::edge::{Edge, EdgeConfig};
use crate::http::{self, Missing, Web};
use crate::limits::RESERVED_DESCRIPTORS;
use crate::net::{Admission, AdmissionLimits, BindError, Door, Latency, Listener, Shards};
use crate::relay::{Hub, JoinMode};
use crate::rtmp::mirror::new_id;
use crate::rtmp_server::RtmpServer;
use crate::system;
use crate::telemetry::health::Health;
use crate::telemetry::logging::tell_suppressed;
use crate::telemetry::metrics::{Metrics, Protocol};
use activation::{ActivationError, Inherited};
use table::Service;

/// Waiting streams hear of it, and those that waited long enough end, this often.
const TICK: Duration = Duration::from_secs(1);
/// When to ask again a mirror that has no link to its master.
const RETRY_AFTER: Duration = Duration::from_secs(2);
/// The kernel gives up a peer that takes nothing this much later than we do, so that the log and the
/// metrics say that the peer was too slow rather than that its connection broke.
const VANISHED_LATER: Duration = Duration::from_secs(5);

/// sysexits: the system refuses something, such as a port in use.
pub const EX_OSERR: u8 = 71;
/// sysexits: ended before everything was done; a second signal.
pub const EX_TEMPFAIL: u8 = 75;
/// sysexits: the configuration is wrong.
pub const EX_CONFIG: u8 = 78;

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener.
    #[error("{0}")]
    Bind(#[from] BindError),
    /// A socket that was passed to this process.
    #[error("{0}")]
    Activation(#[from] ActivationError),
    /// A file with secrets.
    #[error("{0}")]
    File(#[from] FileError),
    /// The system gives no threads, no random bytes or no event queue.
    #[error("the system refuses: {0}")]
    System(#[from] io::Error),
}

impl StartError {
    /// The exit code of sysexits: 78 for what the administrator wrote, 71 for what the system refused.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::File(_) | Self::Activation(_) => EX_CONFIG,
            // Nothing that time could mend: this service may have no network socket of its own.
            Self::Bind(e) if e.is_forbidden() => EX_CONFIG,
            Self::Bind(_) | Self::System(_) => EX_OSERR,
        }
    }
}

/// A server whose listeners are bound. There may be several in one process.
pub struct Server {
    settings: Settings,
    rtmp: Vec<Listener>,
    http: Vec<Listener>,
    hub: Arc<Hub>,
    cluster: Arc<Cluster>,
    policy: Arc<Policy>,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
}

impl Server {
    /// Reads the files with secrets and binds all listeners. Nothing is accepted yet.
    ///
    /// # Errors
    /// [`StartError`]; nothing stays bound then.
    pub fn open(settings: Settings) -> Result<Self, StartError> {
        Self::open_with(settings, Inherited::default())
    }

    /// The same with sockets that are bound already; they count instead of what the settings say
    /// for their protocol.
    ///
    /// # Errors
    /// [`StartError`]; nothing stays bound then.
    pub fn open_with(settings: Settings, inherited: Inherited) -> Result<Self, StartError> {
        let now = Instant::now();
        // What it warns of was among the warnings of the configuration.
        let (policy, _) = settings.policy()?;
        let policy = Policy::new(policy, now)?;
        let or_bind = |given: Vec<Listener>, said: &[SocketAddr]| {
            if given.is_empty() {
                Listener::bind_all(said)
            } else {
                Ok(given)
            }
        };
        let rtmp = or_bind(inherited.rtmp, &settings.listen.rtmp)?;
        let http = or_bind(inherited.http, &settings.listen.http)?;
        let hub = Hub::new(settings.hub());
        let id = system::random().map_err(io::Error::from)?;
        // A foreign master announces nothing: each of its streams is pulled by itself.
        let has_link = settings.mirror.is_some() && settings.secret_file.is_some();
        let cluster = Cluster::new(new_id(id), has_link, now);
        let metrics = Arc::new(Metrics::of(&hub));
        Ok(Self {
            settings,
            rtmp,
            http,
            hub,
            cluster,
            policy: Arc::new(policy),
            metrics,
            health: Arc::default(),
        })
    }

    /// Where RTMP is served; the ports are real.
    #[must_use]
    pub fn rtmp_addresses(&self) -> Vec<SocketAddr> {
        self.rtmp.iter().map(Listener::address).collect()
    }

    /// Where HTTP is served; the ports are real.
    #[must_use]
    pub fn http_addresses(&self) -> Vec<SocketAddr> {
        self.http.iter().map(Listener::address).collect()
    }

    /// The streams.
    #[must_use]
    pub const fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// The counters.
    #[must_use]
    pub const fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// The rows of the start table.
    #[must_use]
    pub fn services(&self) -> Vec<Service> {
        let names: Vec<&str> = self.policy.applications().names().map(|n| &**n).collect();
        let row = |protocol| {
            let application = names.join(", ");
            move |listener: &Listener| Service {
                address: listener.address(),
                protocol,
                application: application.clone(),
            }
        };
        let rtmp = self.rtmp.iter().map(row("inboundRtmp"));
        let http = self.http.iter().map(row("inboundHttpFlv"));
        rtmp.chain(http).collect()
    }

    fn web(&self, join: JoinMode) -> Web {
        let policy = Arc::clone(&self.policy);
        let cluster = Arc::clone(&self.cluster);
        Web {
            hub: Arc::clone(&self.hub),
            metrics: Arc::clone(&self.metrics),
            health: Arc::clone(&self.health),
            access: Box::new(move |peer| policy.may_read(peer)),
            missing: Box::new(move |_| match cluster.link() {
                Link::Down { .. } => Missing::NoMaster {
                    retry_after: RETRY_AFTER,
                },
                Link::None | Link::Up { .. } => Missing::NotLive,
            }),
            join,
            rtmp_port: self.rtmp.first().map(|l| l.address().port()),
        }
    }

    /// Serves until `stop` is ready, then ends every connection within the grace time. `ready` is
    /// called once everything is accepted.
    ///
    /// # Errors
    /// The system gives no threads or no event queue.
    pub async fn serve(
        self,
        ready: impl FnOnce(),
        stop: impl Future<Output = ()>,
    ) -> io::Result<()> {
        let settings = &self.settings;
        let wanted = settings
            .limits
            .max_connections
            .saturating_add(RESERVED_DESCRIPTORS);
        let descriptors = system::raise_descriptor_limit(wanted as u64)?;
        let descriptors = usize::try_from(descriptors).unwrap_or(usize::MAX);
        let limits = settings.limits;
        let threads = settings
            .server
            .threads
            .or_else(|| std::thread::available_parallelism().ok());
        let shards = Shards::start(
            threads.map_or(1, usize::from),
            limits,
            settings.relay.latency.map_or(Latency::Auto, Latency::Fixed),
            &self.metrics,
        )?;
        let admission = Admission::new(AdmissionLimits {
            connections: limits
                .max_connections
                .min(descriptors.saturating_sub(RESERVED_DESCRIPTORS)),
            pending: limits.max_pending,
            pending_per_address: limits.max_pending_per_address,
        });
        let door = Door {
            shards: Arc::clone(&shards),
            admission: Arc::clone(&admission),
            metrics: Arc::clone(&self.metrics),
            vanished: limits.send_timeout.saturating_add(VANISHED_LATER),
        };
        let join = settings.join_mode();
        let rtmp = Arc::new(RtmpServer::new(
            Arc::clone(&self.hub),
            Arc::clone(&self.policy),
            Arc::clone(&self.cluster),
            join,
            settings.play.wait,
        ));
        let web = Arc::new(self.web(join));

        let mut tasks = JoinSet::new();
        for listener in self.rtmp {
            let rtmp = Arc::clone(&rtmp);
            tasks.spawn(
                listener.serve(Protocol::Rtmp, door.clone(), move |shard, incoming| {
                    Arc::clone(&rtmp).serve(shard, incoming)
                }),
            );
        }
        for listener in self.http {
            let web = Arc::clone(&web);
            tasks.spawn(
                listener.serve(Protocol::Http, door.clone(), move |shard, incoming| {
                    http::connection(shard, incoming, Arc::clone(&web))
                }),
            );
        }
        let mut work = JoinSet::new();
        work.spawn(tick(Arc::clone(&self.hub)));
        if let Some(mirror) = &settings.mirror {
            let edge = Edge::new(
                EdgeConfig {
                    master: mirror.master.address(),
                    secret: self.policy.secret().cloned(),
                    streams: mirror.streams.clone(),
                    limits,
                },
                (Arc::clone(&self.hub), Arc::clone(&self.cluster)),
                Arc::clone(&shards),
                (Arc::clone(&self.metrics), Arc::clone(&self.health)),
            );
            work.spawn(edge.run());
        }
        self.health.clear("start");
        ready();

        let failed = tokio::select! {
            () = stop => None,
            // A listener ends only when the system took its event queue away: that is fatal.
            ended = tasks.join_next() => ended,
        };
        tasks.shutdown().await;
        work.shutdown().await;
        let dropped = shards.finish(settings.server.stop_grace).await;
        if dropped > 0 {
            tracing::warn!(dropped, code = "stop", "connections did not end in time");
        }
        match failed {
            Some(Ok(Err(error))) => Err(error),
            Some(Err(error)) => Err(io::Error::other(error)),
            Some(Ok(Ok(never))) => match never {},
            None => Ok(()),
        }
    }
}

async fn tick(hub: Arc<Hub>) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let now = Instant::now();
        for stream in hub.tick(now, &|_, waited| Some(bridge::waiting(waited))) {
            tracing::info!(
                %stream, code = "ended", "the stream has ended: its source did not come back in time"
            );
        }
        tell_suppressed(now);
    }
}

/// Runs the daemon until a signal ends it.
///
/// # Errors
/// [`StartError`]; it has an exit code.
pub fn run(loaded: Loaded) -> Result<(), StartError> {
    let role = loaded.settings.role;
    let notes = loaded.notes();
    let inherited = Inherited::take(&loaded.settings.listen)?;
    let overruled = inherited.overruled(&loaded);
    let server = Server::open_with(loaded.settings, inherited)?;
    for warning in loaded.warnings.into_iter().chain(overruled) {
        tracing::warn!("{warning}");
    }
    for line in table::render(&server.services()).lines() {
        tracing::info!("{line}");
    }
    for note in notes {
        tracing::info!("{note}");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let stop = signals::stop()?;
        let ready = || tracing::info!(%role, pid = std::process::id(), "ready");
        server.serve(ready, stop).await
    })?;
    tracing::info!("stopped");
    Ok(())
}
