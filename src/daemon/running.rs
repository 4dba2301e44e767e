//! What serves: the listeners, the link to the master, and all that a reload changes while they go on.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::{oneshot, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;

use super::reload::{Order, Outcome};
use crate::auth::{NewRules, Policy};
use crate::cluster::address::Rules;
use crate::cluster::{Capacity, Cluster, Link, Standing};
use crate::config::{self, Change, Effect, Lack, Metadata, Problem, Role, Settings};
use crate::control::{Control, Reload};
use crate::edge::{Cloud, Edge, EdgeConfig, MASTER};
use crate::http::{self, Hls, HlsConfig, LastList, Missing, Web};
use crate::limits::RESERVED_DESCRIPTORS;
use crate::net::{Admission, AdmissionLimits, Bound, Door, Latency, Listener, Shards};
use crate::relay::Hub;
use crate::rtmp::mirror::host::Announcement;
use crate::rtmp_server::{RtmpServer, Viewers};
use crate::system;
use crate::telemetry::health::Health;
use crate::telemetry::logging;
use crate::telemetry::metrics::{Metrics, Protocol};
use crate::telemetry::words::count;
#[cfg(feature = "publish")]
use crate::{
    config::FileSeek,
    index::Seek,
    vod::{Library, LibraryConfig},
};

/// When to ask again a mirror that has no link to its master.
const RETRY_AFTER: Duration = Duration::from_secs(2);
/// How long the listeners may take to end, of a stop's grace.
const LISTENERS_END: Duration = Duration::from_secs(1);

/// What all of it shares.
#[derive(Clone)]
pub(super) struct Parts {
    pub(super) hub: Arc<Hub>,
    pub(super) cluster: Arc<Cluster>,
    pub(super) policy: Arc<Policy>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) health: Arc<Health>,
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
            missing: watch::Sender::default(),
            hub,
        }
    }
}

/// See the module.
pub(super) struct Running {
    /// What runs; of what waits for a restart, what it was at the start.
    settings: Settings,
    /// Said already.
    warnings: Vec<String>,
    parts: Parts,
    pub(super) shards: Arc<Shards>,
    door: Door,
    rtmp: Arc<RtmpServer>,
    /// Of a standalone.
    #[cfg(feature = "publish")]
    files: Option<Arc<Library>>,
    web: Arc<Web>,
    /// For the links of the start page; 0 is none.
    rtmp_port: Arc<AtomicU16>,
    listeners: Vec<Listening>,
    tasks: JoinSet<io::Result<()>>,
    edge: Option<Arc<Edge>>,
    work: JoinSet<()>,
    /// What the control socket answers from, once there is one.
    asked: Option<Arc<Control>>,
}

/// A listener that serves until this is dropped; then it takes whoever is connected and ends.
struct Listening {
    protocol: Protocol,
    address: SocketAddr,
    bound: Bound,
    _close: oneshot::Sender<()>,
}

/// The listeners of a protocol as they are to be.
struct Exchange {
    /// Of those there are, in their order.
    kept: Vec<bool>,
    opened: Vec<(Bound, Listener)>,
}

impl Running {
    /// Starts the shards. Nothing is accepted yet.
    ///
    /// # Errors
    /// The system gives no threads or no event queue.
    pub(super) fn start(
        settings: Settings,
        warnings: Vec<String>,
        parts: Parts,
    ) -> io::Result<Self> {
        let threads = settings
            .server
            .threads
            .or_else(|| std::thread::available_parallelism().ok());
        let shards = Shards::start(
            threads.map_or(1, usize::from),
            settings.limits,
            latency(&settings),
            &parts.metrics,
        )?;
        let door = Door {
            shards: Arc::clone(&shards),
            admission: Admission::new(admission(&settings)?),
            metrics: Arc::clone(&parts.metrics),
        };
        let rtmp = Arc::new(RtmpServer::new(
            Arc::clone(&parts.hub),
            Arc::clone(&parts.policy),
            Arc::clone(&parts.cluster),
            viewers(&settings),
        ));
        #[cfg(feature = "publish")]
        let files = (settings.role == Role::Standalone).then(|| {
            let files = Arc::new(Library::new(library(&settings)));
            rtmp.set_files(Arc::clone(&files));
            files
        });
        let rtmp_port = Arc::new(AtomicU16::new(0));
        let web = web(&parts, &rtmp, &rtmp_port, hls(&settings));
        #[cfg(feature = "publish")]
        let web = Web {
            files: files.clone(),
            ..web
        };
        let web = Arc::new(web);
        Ok(Self {
            settings,
            warnings,
            parts,
            shards,
            door,
            rtmp,
            #[cfg(feature = "publish")]
            files,
            web,
            rtmp_port,
            listeners: Vec::new(),
            tasks: JoinSet::new(),
            edge: None,
            work: JoinSet::new(),
            asked: None,
        })
    }

    /// Accepts, and links to the master.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(super) fn serve(&mut self, rtmp: Vec<Listener>, http: Vec<Listener>) -> io::Result<()> {
        for (protocol, listeners) in [(Protocol::Rtmp, rtmp), (Protocol::Http, http)] {
            for listener in listeners {
                let bound = listener.bound()?;
                self.listen(protocol, listener, bound);
            }
        }
        self.note_port();
        self.link();
        Ok(())
    }

    /// Why it cannot go on: a listener ends by itself only when the system took its event queue away.
    pub(super) async fn failed(&mut self) -> io::Error {
        loop {
            match self.tasks.join_next().await {
                Some(Ok(Ok(()))) => {} // closed by a reload
                Some(Ok(Err(error))) => return error,
                Some(Err(error)) => return JoinError::into(error),
                None => return io::Error::other("no listener is left"),
            }
        }
    }

    /// How long the connections may take to end.
    pub(super) const fn grace(&self) -> Duration {
        self.settings.server.stop_grace
    }

    /// Ends all of it, the connections within the grace time. Gives how many were dropped.
    pub(super) async fn finish(mut self) -> usize {
        // Each listener ends on its shard once it has taken those who are connected already.
        self.listeners.clear();
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        // A shard that is stuck ends nothing, and must not hold up the end.
        let _ = timeout(LISTENERS_END, ended).await;
        self.work.shutdown().await;
        self.shards.finish(self.grace()).await
    }

    fn listen(&mut self, protocol: Protocol, listener: Listener, bound: Bound) {
        let address = listener.address();
        let (close, closed) = oneshot::channel::<()>();
        let closed = async move {
            let _ = closed.await;
        };
        let door = self.door.clone();
        if protocol == Protocol::Rtmp {
            let rtmp = Arc::clone(&self.rtmp);
            self.tasks.spawn(door.open(
                protocol,
                listener,
                move |shard, incoming| Arc::clone(&rtmp).serve(shard, incoming),
                closed,
            ));
        } else {
            let web = Arc::clone(&self.web);
            self.tasks.spawn(door.open(
                protocol,
                listener,
                move |shard, incoming| http::connection(shard, incoming, Arc::clone(&web)),
                closed,
            ));
        }
        self.listeners.push(Listening {
            protocol,
            address,
            bound,
            _close: close,
        });
    }

    fn note_port(&self) {
        let port = |protocol| {
            let mut all = self.listeners.iter();
            all.find(|l| l.protocol == protocol)
                .map(|l| l.address.port())
        };
        let rtmp = port(Protocol::Rtmp);
        self.rtmp_port.store(rtmp.unwrap_or(0), Ordering::Relaxed);
        let standing = standing(&self.settings, rtmp, port(Protocol::Http));
        self.parts.cluster.set_standing(standing);
        if let Some(control) = &self.asked {
            control.listens(self.addresses());
        }
    }

    /// Protocol and address of each listener, for people.
    fn addresses(&self) -> Vec<(String, String)> {
        let all = self.listeners.iter();
        all.map(|l| (l.protocol.label().to_owned(), l.address.to_string()))
            .collect()
    }

    /// What can be asked of it while it runs.
    pub(super) fn control(&mut self, started: Instant, reload: Reload) -> Arc<Control> {
        let control = Arc::new(Control {
            hub: Arc::clone(&self.parts.hub),
            cluster: Arc::clone(&self.parts.cluster),
            metrics: Arc::clone(&self.parts.metrics),
            health: Arc::clone(&self.parts.health),
            shards: Arc::clone(&self.shards),
            others: {
                let hls = Arc::clone(&self.web.hls);
                Box::new(move |wanted| hls.viewers(wanted))
            },
            admission: Arc::clone(&self.door.admission),
            role: self.settings.role.as_str(),
            listeners: Mutex::new(self.addresses()),
            started,
            reload,
        });
        self.asked = Some(Arc::clone(&control));
        control
    }

    /// Sees to it that there is the link that the settings ask for, and no other.
    fn link(&mut self) {
        let lack = self.settings.lack();
        let mirror = self.settings.mirror.as_ref().filter(|_| lack.is_none());
        let wanted = mirror.map(|mirror| EdgeConfig {
            master: mirror.master.address(),
            secret: self.parts.policy.secret(),
            streams: mirror.streams.clone(),
            limits: self.settings.limits,
            cloud: match &self.settings.cluster.metadata {
                Metadata::Auto => Cloud::Usual,
                Metadata::Off => Cloud::Silent,
                Metadata::At(address) => Cloud::At(address.clone()),
            },
        });
        if let (Some(edge), Some(config)) = (&self.edge, &wanted)
            && edge.change(config)
        {
            return;
        }
        if let Some(edge) = self.edge.take() {
            edge.end();
        }
        while self.work.try_join_next().is_some() {}
        let (now, cluster) = (Instant::now(), &self.parts.cluster);
        let mut missing = None;
        let name = self.settings.mirror.as_ref().map(|m| m.master.to_string());
        if let Some(lack) = lack {
            let why = lack.to_string();
            if let Lack::SecretFile(path) = lack {
                missing = Some(path);
            }
            cluster.set_master(name, Some(&why), now);
            self.parts.health.trouble(MASTER, why);
        } else if let Some(config) = wanted {
            // A foreign master announces nothing: each of its streams is pulled by itself.
            let link = config.secret.as_ref().map(|_| "not tried yet");
            cluster.set_master(name, link, now);
            let edge = Edge::new(
                config,
                (Arc::clone(&self.parts.hub), Arc::clone(cluster)),
                Arc::clone(&self.shards),
                (
                    Arc::clone(&self.parts.metrics),
                    Arc::clone(&self.parts.health),
                ),
            );
            self.work.spawn(Arc::clone(&edge).run());
            self.edge = Some(edge);
        }
        self.parts.missing.send_replace(missing);
    }

    /// Does what an order wants, or nothing of it.
    pub(super) fn obey(&mut self, order: Order) {
        let Order {
            loaded,
            rules,
            answer,
        } = order;
        let outcome = self.change(loaded.settings, rules, &loaded.warnings);
        // Whoever asked may be gone.
        drop(answer.send(outcome));
    }

    fn change(&mut self, mut new: Settings, rules: NewRules, warnings: &[String]) -> Outcome {
        if new.role != self.settings.role {
            return Err(vec![Problem::of(
                "role",
                format!(
                    "a running server stays what it is, a {}; as a {} it begins with `systemctl restart crtmpserver`",
                    self.settings.role, new.role
                ),
            )]);
        }
        let mut changes = config::changes(&self.settings, &new);
        let rtmp = self.rebind(Protocol::Rtmp, &new.listen.rtmp)?;
        let http = self.rebind(Protocol::Http, &new.listen.http)?;
        let system = |e: io::Error| vec![Problem::of("", format!("the system refuses: {e}"))];
        let admission = admission(&new).map_err(system)?;
        // From here on nothing can fail.
        self.door.admission.set_limits(admission);
        self.shards.set_bounds(new.limits, latency(&new));
        self.parts.hub.set_config(new.hub());
        self.rtmp.set_viewers(viewers(&new));
        self.web.hls.set_config(hls(&new));
        #[cfg(feature = "publish")]
        if let Some(files) = &self.files {
            files.set_config(library(&new));
        }
        if new.log.level != self.settings.log.level
            && let Err(message) = logging::set_filter(&new.log.level)
        {
            tracing::warn!(code = "reload", "log.level: {message}");
        }
        let contents = self.parts.policy.adopt(rules);
        changes.extend(read_again(contents, &new));
        for (protocol, rebound) in [(Protocol::Rtmp, rtmp), (Protocol::Http, http)] {
            match rebound {
                Some(exchange) => self.exchange(protocol, exchange),
                None => changes.iter_mut().for_each(|c| {
                    let passed = matches!(
                        (protocol, c.key.as_str()),
                        (Protocol::Rtmp, "listen.rtmp") | (Protocol::Http, "listen.http")
                    );
                    if passed {
                        c.effect = Effect::Passed;
                    }
                }),
            }
        }
        // What waits for the restart differs until then, and is told at each reload.
        new.log.format = self.settings.log.format;
        new.listen.control = self.settings.listen.control.clone();
        new.server.threads = self.settings.server.threads;
        self.settings = new;
        self.note_port();
        self.link();
        for warning in warnings.iter().filter(|w| !self.warnings.contains(w)) {
            tracing::warn!(code = "configuration", "{warning}");
        }
        self.warnings = warnings.to_vec();
        Ok(changes)
    }

    /// `None` when the sockets were passed to this process: they stay.
    fn rebind(
        &self,
        protocol: Protocol,
        addresses: &[SocketAddr],
    ) -> Result<Option<Exchange>, Vec<Problem>> {
        let of = |same: bool| {
            let all = self.listeners.iter();
            all.filter(move |l| (l.protocol == protocol) == same)
                .map(|l| &l.bound)
                .collect::<Vec<_>>()
        };
        let own = of(true);
        if own.iter().any(|bound| bound.is_inherited()) {
            return Ok(None);
        }
        let key = match protocol {
            Protocol::Rtmp => "listen.rtmp",
            _ => "listen.http",
        };
        let rebound = Listener::rebind(addresses, &own, &of(false))
            .map_err(|e| vec![Problem::of(key, e.to_string())])?;
        let with_bound = |listener: Listener| Ok((listener.bound()?, listener));
        let opened: io::Result<Vec<_>> = rebound.opened.into_iter().map(with_bound).collect();
        Ok(Some(Exchange {
            kept: rebound.kept,
            opened: opened.map_err(|e| vec![Problem::of(key, e.to_string())])?,
        }))
    }

    /// The new listeners accept before the old ones end.
    fn exchange(&mut self, protocol: Protocol, exchange: Exchange) {
        let mut kept = exchange.kept.into_iter();
        let before = std::mem::take(&mut self.listeners);
        let (stay, go): (Vec<_>, Vec<_>) = before
            .into_iter()
            .partition(|l| l.protocol != protocol || kept.next().unwrap_or(true));
        self.listeners = stay;
        for (bound, listener) in exchange.opened {
            self.listen(protocol, listener, bound);
        }
        drop(go);
    }
}

/// The files with secrets have other contents, under the same names.
fn read_again(contents: crate::auth::Contents, settings: &Settings) -> Vec<Change> {
    let change = |key: &str, what: String| Change {
        key: key.to_owned(),
        effect: Effect::ForNew,
        what,
    };
    let secret = if settings.role.is_mirror() {
        "mirror.secret_file"
    } else {
        "master.secret_file"
    };
    let secret = contents
        .secret
        .then(|| change(secret, "has another secret".to_owned()));
    let users = contents.users.map(|users| {
        let users = count(users, "user");
        change("publish.users", format!("has changed: {users}"))
    });
    secret.into_iter().chain(users).collect()
}

fn latency(settings: &Settings) -> Latency {
    settings.relay.latency.map_or(Latency::Auto, Latency::Fixed)
}

const fn viewers(settings: &Settings) -> Viewers {
    Viewers {
        join: settings.join_mode(),
        wait: settings.play.wait,
    }
}

/// What the server is to the public, with these ports.
fn standing(settings: &Settings, rtmp: Option<u16>, http: Option<u16>) -> Standing {
    let cluster = &settings.cluster;
    let public = settings.role != Role::Master;
    Standing {
        role: settings.role.as_str(),
        public,
        announcement: Announcement {
            // A master's own is for its mirrors.
            host: if public {
                cluster.host.clone()
            } else {
                String::new()
            },
            ip: None,
            rtmp: rtmp.map(|port| cluster.rtmp_port.unwrap_or(port)),
            http: http.map(|port| cluster.http_port.unwrap_or(port)),
            https: cluster.https_port,
        },
        capacity: Capacity {
            viewers: settings.limits.max_viewers,
            kbit: settings.limits.max_mbit_s.map(|n| n.saturating_mul(1000)),
            weight: cluster.weight,
        },
        rules: Rules {
            host: cluster.host.clone(),
            allow: cluster.allow.clone(),
        },
    }
}

/// How many descriptors this process may have, once it has raised its limit as far as it may.
pub(super) fn descriptors(settings: &Settings) -> io::Result<usize> {
    let wanted = settings
        .limits
        .max_connections
        .saturating_add(RESERVED_DESCRIPTORS);
    let descriptors = system::raise_descriptor_limit(wanted as u64)?;
    Ok(usize::try_from(descriptors).unwrap_or(usize::MAX))
}

/// The bounds, as far as this process may have descriptors for them.
fn admission(settings: &Settings) -> io::Result<AdmissionLimits> {
    let limits = settings.limits;
    Ok(AdmissionLimits {
        connections: limits
            .max_connections
            .min(descriptors(settings)?.saturating_sub(RESERVED_DESCRIPTORS)),
        pending: limits.max_pending,
        pending_per_address: limits.max_pending_per_address,
    })
}

#[cfg(feature = "publish")]
fn library(settings: &Settings) -> LibraryConfig {
    LibraryConfig {
        folders: settings.files.folders.clone(),
        seek: match settings.files.seek {
            FileSeek::Key => Seek::Key,
            FileSeek::Exact => Seek::Exact,
        },
        ahead: settings.files.ahead,
        list: settings.files.list,
    }
}

const fn hls(settings: &Settings) -> HlsConfig {
    HlsConfig {
        enabled: settings.hls.enabled,
        window: settings.hls.window,
    }
}

fn web(parts: &Parts, rtmp: &Arc<RtmpServer>, rtmp_port: &Arc<AtomicU16>, hls: HlsConfig) -> Web {
    let policy = Arc::clone(&parts.policy);
    let cluster = Arc::clone(&parts.cluster);
    let rtmp = Arc::clone(rtmp);
    let rtmp_port = Arc::clone(rtmp_port);
    Web {
        hub: Arc::clone(&parts.hub),
        cluster: Arc::clone(&parts.cluster),
        last_list: LastList::default(),
        metrics: Arc::clone(&parts.metrics),
        health: Arc::clone(&parts.health),
        access: Box::new(move |peer| policy.may_read(peer)),
        missing: Box::new(move |_| match cluster.link() {
            Link::Down { .. } => Missing::NoMaster {
                retry_after: RETRY_AFTER,
            },
            Link::None | Link::Up { .. } => Missing::NotLive,
        }),
        hls: Hls::new(&parts.hub, &parts.metrics, hls),
        #[cfg(feature = "publish")]
        files: None,
        join: Box::new(move || rtmp.viewers().join),
        rtmp_port: Box::new(move || Some(rtmp_port.load(Ordering::Relaxed)).filter(|p| *p > 0)),
    }
}
