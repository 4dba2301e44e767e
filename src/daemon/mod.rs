//! Start order and stop order, readable from top to bottom.
//!
//! [`Server::open`] reads the secrets and binds every listener, so that whatever is wrong is said
//! before anything runs; [`Server::serve`] accepts, ticks and, on a mirror, keeps the link to the
//! master until it is told to stop.

pub mod activation;
mod care;
mod control;
mod drain;
mod machine;
pub mod notify;
mod of_settings;
mod parts;
pub mod privileges;
mod rate;
mod recording;
pub mod reload;
mod room;
mod running;
mod signals;
mod stack;
mod status;
pub mod table;
#[cfg(feature = "publish")]
mod ways;
#[cfg(not(feature = "publish"))]
#[path = "ways/none.rs"]
mod ways;

pub use room::{Shortage, shortage};
pub use signals::stop as stop_signal;
pub use stack::Stack;
pub use ways::WayError;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::unistd::{AccessFlags, access};
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::auth::{FileError, Policy};
use crate::bridge;
use crate::cluster::{Cluster, HostFigures};
use crate::config::{Loaded, Settings, Sources, Way};
use crate::control::{ControlSocket, SocketError};
use crate::net::{Admission, BindError, Listener};
use crate::relay::Hub;
use crate::remote::{self, Board};
use crate::rtmp::mirror::new_id;
use crate::system::{self, PrivilegeError};
use crate::telemetry::logging::tell_suppressed;
use crate::telemetry::metrics::Metrics;
use activation::{ActivationError, Inherited};
use care::{Beat, Care};
use notify::Notifier;
use parts::Parts;
use privileges::{Wish, WishError};
use rate::Rate;
use reload::{NewTls, Order, Reloader};
use room::Room;
use running::Running;
use status::Status;
use table::Service;

/// Waiting streams hear of it, and those that waited long enough end, this often.
const TICK: Duration = Duration::from_secs(1);
/// What a stop may take beyond its grace before the service manager loses its patience.
const STOP_LATER: Duration = Duration::from_secs(10);

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
    /// A listener for encoders that speak no RTMP.
    #[error("{0}")]
    Way(#[from] WayError),
    /// As whom to run.
    #[error("{0}")]
    Wish(#[from] WishError),
    /// Privileges that would not go.
    #[error("{0}")]
    Privileges(#[from] PrivilegeError),
    /// A socket that was passed to this process.
    #[error("{0}")]
    Activation(#[from] ActivationError),
    /// The control socket.
    #[error("{0}")]
    Control(#[from] SocketError),
    /// A file with secrets.
    #[error("{0}")]
    File(#[from] FileError),
    /// The limit of open files leaves room for next to nobody.
    #[error("{0}")]
    Descriptors(#[from] Shortage),
    /// The system gives no threads, no random bytes or no event queue.
    #[error("the system refuses: {0}")]
    System(#[from] io::Error),
}

impl StartError {
    /// The exit code of sysexits: 78 for what the administrator wrote, 71 for what the system refused.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            // Nor does time raise a limit: it is in the unit, or in the shell that starts the server.
            Self::Wish(_) | Self::File(_) | Self::Activation(_) | Self::Descriptors(_) => EX_CONFIG,
            // Nothing that time could mend: this service may have no network socket of its own.
            Self::Bind(e) if e.is_forbidden() => EX_CONFIG,
            Self::Way(e) if e.is_forbidden() => EX_CONFIG,
            Self::Bind(_)
            | Self::Way(_)
            | Self::Control(_)
            | Self::Privileges(_)
            | Self::System(_) => EX_OSERR,
        }
    }

    /// The system's number of what is wrong, where it was the system.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Bind(e) => e.source.raw_os_error(),
            Self::Way(e) => e.errno(),
            Self::Control(e) => e.errno(),
            Self::System(e) => e.raw_os_error(),
            Self::Privileges(PrivilegeError::Refused { source, .. }) => source.raw_os_error(),
            Self::Wish(_)
            | Self::Privileges(_)
            | Self::Activation(_)
            | Self::File(_)
            | Self::Descriptors(_) => None,
        }
    }
}

/// A server whose listeners are bound. There may be several in one process.
pub struct Server {
    settings: Settings,
    listeners: Vec<(Stack, Listener)>,
    ways: Vec<(Way, ways::Socket)>,
    tls: NewTls,
    control: Vec<ControlSocket>,
    /// The command line.
    lines: Vec<Listener>,
    started: Instant,
    parts: Parts,
    state: Option<PathBuf>,
    sources: Option<Sources>,
    warnings: Vec<String>,
    orders: (mpsc::Sender<Order>, mpsc::Receiver<Order>),
    turn: Arc<Mutex<()>>,
    notifier: Notifier,
}

impl Server {
    /// Reads the files with secrets, binds all listeners and raises the limit of descriptors. Nothing
    /// is accepted yet, and no thread is started.
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
        inherited.check(&settings.tls)?;
        let tls = NewTls::read(&settings).map_err(|(_, error)| error)?;
        let mut listeners = inherited.listeners;
        for stack in Stack::ALL {
            if listeners.iter().all(|(given, _)| *given != stack) {
                let bound = Listener::bind_all(stack.of(&settings.listen))?;
                listeners.extend(bound.into_iter().map(|listener| (stack, listener)));
            }
        }
        let ways = ways::open(&settings, inherited.ways)?;
        let control = control::open(inherited.control, &settings.listen.control)?;
        let lines = Listener::bind_all(&settings.listen.cli)?;
        let hub = Hub::new(settings.hub());
        // Again when it serves; but only root may raise the hard limit, and root may be gone then.
        Room::make(&settings)?.suffices()?;
        let id = system::random().map_err(io::Error::from)?;
        let cluster = Cluster::new(new_id(id), false, now);
        let figures = Box::new(HostFigures(Arc::clone(&cluster)));
        let board = Arc::<Board>::default();
        let remote_figures = Box::new(remote::Figures(Arc::clone(&board)));
        let metrics = Arc::new(Metrics::with(&hub, vec![figures, remote_figures]));
        Ok(Self {
            state: settings.server.state.clone(),
            settings,
            listeners,
            ways,
            tls,
            control,
            lines,
            started: now,
            parts: Parts {
                hub,
                cluster,
                policy: Arc::new(policy),
                metrics,
                health: Arc::default(),
                board,
                missing: watch::Sender::default(),
            },
            sources: None,
            warnings: Vec::new(),
            orders: mpsc::channel(1),
            turn: Arc::default(),
            notifier: Notifier::default(),
        })
    }

    /// Where RTMP is served; the ports are real.
    #[must_use]
    pub fn rtmp_addresses(&self) -> Vec<SocketAddr> {
        self.addresses(Stack::Rtmp)
    }

    /// Where HTTP is served; the ports are real.
    #[must_use]
    pub fn http_addresses(&self) -> Vec<SocketAddr> {
        self.addresses(Stack::Http)
    }

    /// Where this is served; the ports are real.
    #[must_use]
    pub fn addresses(&self, stack: Stack) -> Vec<SocketAddr> {
        let all = self.listeners.iter().filter(|(of, _)| *of == stack);
        all.map(|(_, listener)| listener.address()).collect()
    }

    /// The streams.
    #[must_use]
    pub const fn hub(&self) -> &Arc<Hub> {
        &self.parts.hub
    }

    /// The counters.
    #[must_use]
    pub const fn metrics(&self) -> &Arc<Metrics> {
        &self.parts.metrics
    }

    /// Tells this service manager from now on.
    pub fn tell(&mut self, notifier: Notifier) {
        self.notifier = notifier;
    }

    /// Keeps what outlives the process where services have it, when nobody says where: in systemd's
    /// `StateDirectory=`, or in the packages' folder. For the one server of a process.
    pub fn use_usual_state(&mut self) {
        if self.state.is_some() {
            return;
        }
        let given = std::env::var_os("STATE_DIRECTORY");
        let given = given.and_then(|all| all.to_str()?.split(':').next().map(PathBuf::from));
        let usual = || Path::new(system::MEDIA).parent().map(Path::to_owned);
        let folder = given.filter(|folder| folder.is_absolute()).or_else(usual);
        self.state = folder.filter(|folder| access(folder, AccessFlags::W_OK).is_ok());
    }

    /// The rows of the start table.
    #[must_use]
    pub fn services(&self) -> Vec<Service> {
        let applications = self.parts.policy.applications();
        let names: Vec<&str> = applications.names().map(|n| &**n).collect();
        let row = |stack: Stack| {
            let application = names.join(", ");
            let addresses = self.addresses(stack).into_iter();
            addresses.map(move |address| Service {
                carrier: "tcp",
                address,
                protocol: stack.inbound(),
                application: application.clone(),
            })
        };
        let stacks = Stack::ALL.into_iter().flat_map(row);
        let lines = self.lines.iter().map(|listener| Service {
            carrier: "tcp",
            address: listener.address(),
            protocol: "inboundJsonCli",
            application: "admin".to_owned(),
        });
        let ways = ways::services(&self.ways);
        stacks.chain(ways).chain(lines).collect()
    }

    /// What makes it read its configuration again.
    #[must_use]
    pub fn reloader(&self) -> Reloader {
        Reloader::new(
            self.sources.clone(),
            Arc::clone(&self.parts.policy),
            self.orders.0.clone(),
            Arc::clone(&self.turn),
            self.notifier.clone(),
        )
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
        let role = self.settings.role;
        let reloader = self.reloader();
        let (orderer, mut orders) = self.orders;
        drop(orderer);
        let mut running = Running::start(self.settings, self.warnings, self.parts.clone())?;
        running.serve(self.listeners, self.ways, self.tls, self.state.as_deref())?;
        let lines = self.lines.iter().map(Listener::address).collect();
        let answers = running.control(self.started, control::reload(reloader), lines);
        let mut asked = control::serve(self.control, self.lines, &answers);
        let mut care = JoinSet::new();
        let control = Beat::default();
        let admission = running.admission();
        care.spawn(tick(self.parts.clone(), admission, control.clone()));
        let observer = Care::new(
            Arc::clone(&running.shards),
            control,
            self.notifier.clone(),
            Arc::clone(&self.parts.health),
            Status::new(role, &self.parts),
        );
        care.spawn(observer.run());
        care.spawn(machine::care(Arc::clone(&self.parts.health)));
        let (over, mut drained) = watch::channel(false);
        let shards = Arc::clone(&running.shards);
        care.spawn(drain::care(self.parts.clone(), shards, over));
        self.parts.health.clear("start");
        self.notifier.ready();
        ready();

        let mut stop = std::pin::pin!(stop);
        let failed = loop {
            tokio::select! {
                () = &mut stop => break None,
                Ok(_) = drained.wait_for(|over| *over) => break None,
                error = running.failed() => break Some(error),
                Some(order) = orders.recv() => running.obey(order),
            }
        };
        // Whoever orders something now is told that the server stops.
        drop(orders);
        self.notifier
            .stopping(running.grace().saturating_add(STOP_LATER));
        let dropped = running.finish().await;
        // Only now: the watchdog is to be fed until the last connection ends.
        care.shutdown().await;
        asked.shutdown().await;
        if dropped > 0 {
            tracing::warn!(dropped, code = "stop", "connections did not end in time");
        }
        failed.map_or(Ok(()), Err)
    }
}

async fn tick(parts: Parts, admission: Arc<Admission>, beat: Beat) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut sent = Rate::new(parts.metrics.bytes_out(), Instant::now());
    loop {
        ticks.tick().await;
        beat.beat();
        let now = Instant::now();
        let kbit = sent.kbit(parts.metrics.bytes_out(), now);
        let (used, most) = admission.open();
        parts.cluster.set_connections(used, most);
        parts.cluster.tick(kbit, now);
        #[cfg(feature = "publish")]
        parts.policy.tick();
        for stream in parts
            .hub
            .tick(now, &|_, waited| Some(bridge::waiting(waited)))
        {
            tracing::info!(
                %stream, code = "ended", "the stream has ended: its source did not come back in time"
            );
        }
        tell_suppressed(now);
    }
}

/// What the command line and the environment say of the process, beside the configuration.
#[derive(Debug)]
pub struct Process {
    /// As whom to serve.
    pub wish: Wish,
    /// Whom to tell.
    pub notifier: Notifier,
    /// The line to type, from the user that it should name.
    pub line: fn(&str) -> String,
}

/// Runs the daemon until a signal ends it. The configuration and the files with secrets are read; what
/// follows is in this order: names of users, inherited sockets, binding and the limit of descriptors,
/// privileges, threads.
///
/// # Errors
/// [`StartError`]; it has an exit code.
pub fn run(mut loaded: Loaded, process: &Process) -> Result<(), StartError> {
    let role = loaded.settings.role;
    let plan = privileges::plan(&process.wish, process.line)?;
    let notes = loaded.notes();
    let of_the_machine = loaded.sources.note();
    let inherited = Inherited::take(&loaded.settings.listen)?;
    let overruled = inherited.overruled(&loaded);
    let refused = inherited.refused_by_browsers(&loaded.settings);
    loaded.warnings.extend(refused);
    let mut server = Server::open_with(loaded.settings, inherited)?;
    let few = shortage(&server.settings);
    loaded.warnings.extend(few.map(|few| few.to_string()));
    server.use_usual_control();
    server.use_usual_state();
    server.sources = Some(loaded.sources);
    server.warnings.clone_from(&loaded.warnings);
    server.tell(process.notifier.clone());
    server.give_control(&plan);
    plan.apply()?;
    for warning in loaded.warnings.into_iter().chain(overruled) {
        tracing::warn!(code = "configuration", "{warning}");
    }
    for warning in plan.unreadable(&server.settings) {
        tracing::warn!(code = "unreadable", "{warning}");
    }
    for line in table::render(&server.services()).lines() {
        tracing::info!("{line}");
    }
    for note in notes {
        tracing::info!("{note}");
    }
    machine::tell(&server.parts.health, of_the_machine);
    match plan.note() {
        Ok(note) => note.iter().for_each(|note| tracing::info!("{note}")),
        Err(warning) => tracing::warn!(code = "root", "{warning}"),
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let stop = signals::stop()?;
        signals::outlive_file_size()?;
        tokio::spawn(reload::on_hangup(server.reloader())?);
        let missing = server.parts.missing.subscribe();
        tokio::spawn(reload::when_found(server.reloader(), missing));
        let ready = || tracing::info!(%role, pid = std::process::id(), "ready");
        server.serve(ready, stop).await
    })?;
    tracing::info!("stopped");
    Ok(())
}
