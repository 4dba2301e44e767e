//! What serves: the listeners, the link to the master, and all that a reload changes while they go on.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;

#[cfg(feature = "publish")]
use super::of_settings::library;
use super::of_settings::{admission, hls, latency, standing, viewers, web};
use super::parts::Parts;
use super::recording::{end, recorder};
use super::reload::{NewTls, Order, Outcome, read_again};
use super::room::shortage;
use super::stack::Stack;
use super::ways::{Socket, Ways};
use crate::auth::NewRules;
#[cfg(feature = "publish")]
use crate::config::Role;
use crate::config::{self, Change, Effect, Lack, Metadata, Problem, Settings, Way};
use crate::control::verbs::Ids;
use crate::control::{Control, Reload};
use crate::edge::{Cloud, Edge, EdgeConfig, MASTER};
use crate::http::{self, Web};
use crate::net::{Admission, Bound, Door, Listener, Shards};
use crate::record::Recorder;
use crate::remote::Remotes;
use crate::rtmp_server::RtmpServer;
use crate::telemetry::logging;
use crate::telemetry::metrics::Protocol;
use crate::transport::{Acceptor, Connector};
#[cfg(feature = "publish")]
use crate::vod::Library;

/// How long the listeners may take to end, of a stop's grace.
const LISTENERS_END: Duration = Duration::from_secs(1);

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
    recorder: Arc<Recorder>,
    /// Of a standalone.
    #[cfg(feature = "publish")]
    files: Option<Arc<Library>>,
    web: Arc<Web>,
    /// What TLS shows, once it shows something.
    tls: Option<Acceptor>,
    /// Whom a mirror believes that it is its master.
    connector: Option<Connector>,
    /// For the links of the start page; 0 is none.
    rtmp_port: Arc<AtomicU16>,
    listeners: Vec<Listening>,
    /// For encoders that speak no RTMP.
    ways: Ways,
    tasks: JoinSet<io::Result<()>>,
    edge: Option<Arc<Edge>>,
    remotes: Arc<Remotes>,
    work: JoinSet<()>,
    /// What the control socket answers from, once there is one.
    asked: Option<Arc<Control>>,
    /// Where the command line is.
    lines: Vec<SocketAddr>,
}

/// A listener that serves until this is dropped; then it takes whoever is connected and ends.
struct Listening {
    stack: Stack,
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
        let recorder = recorder(&settings, &parts);
        #[cfg(feature = "publish")]
        rtmp.set_recorder(Arc::clone(&recorder));
        let rtmp_port = Arc::new(AtomicU16::new(0));
        let web = web(&parts, &rtmp, &rtmp_port, hls(&settings));
        #[cfg(feature = "publish")]
        let web = Web {
            files: files.clone(),
            ..web
        };
        let web = Arc::new(web);
        let remotes = Remotes::new(
            Arc::clone(&parts.board),
            Arc::clone(&parts.hub),
            Arc::clone(&shards),
            !settings.role.is_mirror(),
        );
        Ok(Self {
            settings,
            warnings,
            parts,
            shards,
            door,
            rtmp,
            recorder,
            #[cfg(feature = "publish")]
            files,
            web,
            tls: None,
            connector: None,
            rtmp_port,
            listeners: Vec::new(),
            ways: Ways::default(),
            tasks: JoinSet::new(),
            edge: None,
            remotes,
            work: JoinSet::new(),
            asked: None,
            lines: Vec::new(),
        })
    }

    /// Accepts, links to the master, pulls and pushes. `state` is the folder of what outlives the
    /// process.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(super) fn serve(
        &mut self,
        listeners: Vec<(Stack, Listener)>,
        ways: Vec<(Way, Socket)>,
        tls: NewTls,
        state: Option<&Path>,
    ) -> io::Result<()> {
        self.tls = tls.certificate.as_ref().map(Acceptor::new).transpose()?;
        self.connector = tls.connector;
        for (stack, listener) in listeners {
            let bound = listener.bound()?;
            self.listen(stack, listener, bound);
        }
        for way in ways {
            self.ways.serve(
                way,
                &self.door,
                (&self.parts.hub, &self.parts.policy),
                &mut self.tasks,
            )?;
        }
        self.note_port();
        self.work.spawn(Arc::clone(&self.recorder).run());
        self.link();
        if let Some(folder) = state {
            let applications = self.parts.policy.applications();
            self.remotes.remember(folder, &applications);
        }
        self.remotes.configure(&self.settings.remotes);
        self.work.spawn(Arc::clone(&self.remotes).run());
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
        self.ways.close();
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        // A shard that is stuck ends nothing, and must not hold up the end.
        let _ = timeout(LISTENERS_END, ended).await;
        self.work.shutdown().await;
        let dropped = self.shards.finish(self.grace()).await;
        end(&self.recorder).await;
        dropped
    }

    fn listen(&mut self, stack: Stack, listener: Listener, bound: Bound) {
        let (address, protocol) = (listener.address(), stack.protocol());
        let (close, closed) = oneshot::channel::<()>();
        let closed = async move {
            let _ = closed.await;
        };
        let door = self.door.clone();
        let (rtmp, web) = (Arc::clone(&self.rtmp), Arc::clone(&self.web));
        let tls = self.tls.clone().filter(|_| stack.is_tls());
        match (protocol, tls) {
            (Protocol::Rtmp, None) => self.tasks.spawn(door.open(
                protocol,
                listener,
                move |shard, incoming| Arc::clone(&rtmp).serve(shard, incoming),
                closed,
            )),
            (Protocol::Rtmp, Some(tls)) => self.tasks.spawn(door.open(
                protocol,
                listener,
                move |shard, incoming| {
                    let (rtmp, tls) = (Arc::clone(&rtmp), tls.clone());
                    async move {
                        if let Some(incoming) = incoming.secured(&shard, &tls, protocol).await {
                            rtmp.serve(shard, incoming).await;
                        }
                    }
                },
                closed,
            )),
            (_, None) => self.tasks.spawn(door.open(
                protocol,
                listener,
                move |shard, incoming| http::connection(shard, incoming, Arc::clone(&web)),
                closed,
            )),
            (_, Some(tls)) => {
                let tls = tls.speaking("http/1.1");
                self.tasks.spawn(door.open(
                    protocol,
                    listener,
                    move |shard, incoming| {
                        let (web, tls) = (Arc::clone(&web), tls.clone());
                        async move {
                            if let Some(incoming) = incoming.secured(&shard, &tls, protocol).await {
                                http::connection(shard, incoming, web).await;
                            }
                        }
                    },
                    closed,
                ))
            }
        };
        self.listeners.push(Listening {
            stack,
            address,
            bound,
            _close: close,
        });
    }

    fn note_port(&self) {
        let port = |stack| {
            let mut all = self.listeners.iter();
            all.find(|l| l.stack == stack).map(|l| l.address.port())
        };
        let rtmp = port(Stack::Rtmp);
        self.rtmp_port.store(rtmp.unwrap_or(0), Ordering::Relaxed);
        let standing = standing(&self.settings, port);
        self.parts.cluster.set_standing(standing);
        if let Some(control) = &self.asked {
            control.listens(self.addresses());
        }
    }

    /// Protocol and address of each listener, for people.
    fn addresses(&self) -> Vec<(String, String)> {
        let all = self.listeners.iter();
        all.map(|l| (l.stack.name().to_owned(), l.address.to_string()))
            .chain(self.ways.addresses())
            .chain(self.lines.iter().map(|a| ("cli".to_owned(), a.to_string())))
            .collect()
    }

    /// What is connected.
    pub(super) fn admission(&self) -> Arc<Admission> {
        Arc::clone(&self.door.admission)
    }

    /// What can be asked of it while it runs.
    pub(super) fn control(
        &mut self,
        started: Instant,
        reload: Reload,
        lines: Vec<SocketAddr>,
    ) -> Arc<Control> {
        self.lines = lines;
        let control = Arc::new(Control {
            hub: Arc::clone(&self.parts.hub),
            recorder: Arc::clone(&self.recorder),
            cluster: Arc::clone(&self.parts.cluster),
            metrics: Arc::clone(&self.parts.metrics),
            health: Arc::clone(&self.parts.health),
            shards: Arc::clone(&self.shards),
            others: {
                let hls = Arc::clone(&self.web.hls);
                Box::new(move |wanted| hls.viewers(wanted))
            },
            admission: self.admission(),
            remotes: Arc::clone(&self.remotes),
            applications: {
                let policy = Arc::clone(&self.parts.policy);
                Box::new(move || policy.applications())
            },
            ids: Ids::default(),
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
            connector: self.connector.clone(),
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
            tls,
            answer,
        } = order;
        let outcome = self.change(loaded.settings, rules, tls, loaded.warnings);
        // Whoever asked may be gone.
        drop(answer.send(outcome));
    }

    fn change(
        &mut self,
        mut new: Settings,
        rules: NewRules,
        tls: NewTls,
        mut warnings: Vec<String>,
    ) -> Outcome {
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
        let passed = self.listeners.iter().filter(|l| l.bound.is_inherited());
        if let Some(needs) = passed.map(|l| l.stack).find(|stack| stack.is_tls())
            && tls.certificate.is_none()
        {
            return Err(vec![Problem::of(
                "tls.certificate",
                format!("the socket for {} needs one", needs.name()),
            )]);
        }
        warnings.extend(self.refused_by_browsers(&new, &tls));
        warnings.extend(shortage(&new).map(|few| few.to_string()));
        let system = |e: io::Error| vec![Problem::of("", format!("the system refuses: {e}"))];
        let acceptor = match (&self.tls, &tls.certificate) {
            (None, Some(certificate)) => Some(Acceptor::new(certificate).map_err(system)?),
            _ => None,
        };
        let mut rebound = Vec::new();
        for stack in Stack::ALL {
            rebound.push((stack, self.rebind(stack, stack.of(&new.listen))?));
        }
        let others: Vec<&Bound> = self.listeners.iter().map(|l| &l.bound).collect();
        let ways = self.ways.prepare(&new.ways, &others)?;
        let admission = admission(&new).map_err(system)?;
        // From here on nothing can fail.
        self.door.admission.set_limits(admission);
        self.shards.set_bounds(new.limits, latency(&new));
        self.parts.hub.set_config(new.hub());
        self.rtmp.set_viewers(viewers(&new));
        self.web.hls.set_config(hls(&new));
        self.recorder.set_config(new.record.clone());
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
        changes.extend(self.renew(&tls));
        self.tls = self.tls.take().or(acceptor);
        self.connector = tls.connector;
        for (stack, rebound) in rebound {
            match rebound {
                Some(exchange) => self.exchange(stack, exchange),
                None => changes
                    .iter_mut()
                    .filter(|change| change.key == stack.key())
                    .for_each(|change| change.effect = Effect::Passed),
            }
        }
        self.ways.exchange(
            ways,
            &self.door,
            (&self.parts.hub, &self.parts.policy),
            &mut self.tasks,
        );
        // What waits for the restart differs until then, and is told at each reload.
        new.log.format = self.settings.log.format;
        new.listen.control = self.settings.listen.control.clone();
        new.listen.cli.clone_from(&self.settings.listen.cli);
        new.server.threads = self.settings.server.threads;
        new.server.state.clone_from(&self.settings.server.state);
        self.settings = new;
        self.note_port();
        self.link();
        self.remotes.configure(&self.settings.remotes);
        for warning in warnings.iter().filter(|w| !self.warnings.contains(w)) {
            tracing::warn!(code = "configuration", "{warning}");
        }
        self.warnings = warnings;
        Ok(changes)
    }

    /// As at the start, of a socket for HTTPS of which the configuration knows nothing.
    fn refused_by_browsers(&self, new: &Settings, tls: &NewTls) -> Option<String> {
        let passed = |l: &Listening| l.stack == Stack::Https && l.bound.is_inherited();
        let unknown = new.listen.https.is_empty() && self.listeners.iter().any(passed);
        let certificate = tls.certificate.as_ref().filter(|_| unknown)?;
        new.refused_by_browsers(certificate)
    }

    /// `None` when the sockets were passed to this process: they stay.
    fn rebind(
        &self,
        stack: Stack,
        addresses: &[SocketAddr],
    ) -> Result<Option<Exchange>, Vec<Problem>> {
        let of = |same: bool| {
            let all = self.listeners.iter();
            all.filter(move |l| (l.stack == stack) == same)
                .map(|l| &l.bound)
                .collect::<Vec<_>>()
        };
        let own = of(true);
        let others: Vec<&Bound> = of(false).into_iter().chain(self.ways.bound()).collect();
        if own.iter().any(|bound| bound.is_inherited()) {
            return Ok(None);
        }
        let key = stack.key();
        let rebound = Listener::rebind(addresses, &own, &others)
            .map_err(|e| vec![Problem::of(key, e.to_string())])?;
        let with_bound = |listener: Listener| Ok((listener.bound()?, listener));
        let opened: io::Result<Vec<_>> = rebound.opened.into_iter().map(with_bound).collect();
        Ok(Some(Exchange {
            kept: rebound.kept,
            opened: opened.map_err(|e| vec![Problem::of(key, e.to_string())])?,
        }))
    }

    /// The new listeners accept before the old ones end.
    fn exchange(&mut self, stack: Stack, exchange: Exchange) {
        let mut kept = exchange.kept.into_iter();
        let before = std::mem::take(&mut self.listeners);
        let (stay, go): (Vec<_>, Vec<_>) = before
            .into_iter()
            .partition(|l| l.stack != stack || kept.next().unwrap_or(true));
        self.listeners = stay;
        for (bound, listener) in exchange.opened {
            self.listen(stack, listener, bound);
        }
        drop(go);
    }

    /// Shows the certificate that there is now to those who come from now on.
    fn renew(&self, tls: &NewTls) -> Option<Change> {
        let (acceptor, certificate) = (self.tls.as_ref()?, tls.certificate.as_ref()?);
        acceptor.renew(certificate).then(|| Change {
            key: "tls.certificate".to_owned(),
            effect: Effect::ForNew,
            what: format!("is another one: {}", certificate.summary()),
        })
    }
}
