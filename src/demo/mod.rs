//! `crtmpserver demo`: a master, two mirrors and an encoder in one process, on free loopback ports.
//!
//! Nothing is simulated: the encoder logs in to the master with the Adobe login, the mirrors prove
//! the shared secret to it, and what is printed can be watched with any player.

mod encoder;
mod folder;

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep, timeout};

use crate::auth::{Networks, new_secret, passwd};
use crate::config::{MasterUrl, Mirror, Role, Settings};
use crate::daemon::{EX_CONFIG, Server, StartError};
use crate::media::StreamName;
use crate::relay::Hub;
use crate::telemetry::logging;
use crate::telemetry::metrics::{Metrics, Protocol};
use crate::telemetry::words::count;
use folder::Folder;

/// The stream's application and name.
const APP: &str = "live";
const NAME: &str = "demo";
/// The encoder's user.
const USER: &str = "encoder";
/// How many mirrors there are.
const MIRRORS: usize = 2;
/// How long the addresses are held back until the picture is there.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the encoder may take to unpublish.
const ENCODER_END: Duration = Duration::from_secs(1);

/// Runs the demo until Ctrl-C.
#[must_use]
pub fn run() -> ExitCode {
    let level = std::env::var("CRTMPSERVER_LOG__LEVEL").unwrap_or_else(|_| "warn".to_owned());
    if let Err(message) = logging::init(&level, logging::Form::Auto) {
        put(&format!("{message}\n"));
        return ExitCode::from(EX_CONFIG);
    }
    match try_run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(code = "demo", "{error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn try_run() -> Result<(), StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let folder = Folder::new()?;
    let password = new_secret().map_err(io::Error::from)?;
    passwd::set(&folder.path().join("users"), USER, &password)?;
    folder.write("secret", &new_secret().map_err(io::Error::from)?)?;
    runtime.block_on(watch_it(folder.path(), password))
}

fn settings(role: Role, folder: &Path) -> Settings {
    let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let mut settings = Settings::for_role(role);
    settings.listen.rtmp = vec![free];
    settings.listen.http = vec![free];
    settings.secret_file = Some(folder.join("secret"));
    settings.server.threads = std::num::NonZeroUsize::new(1);
    settings
}

/// One mirror, as the figures need it.
struct Watched {
    hub: Arc<Hub>,
    metrics: Arc<Metrics>,
    bytes: u64,
}

async fn watch_it(folder: &Path, password: String) -> Result<(), StartError> {
    let mut master = settings(Role::Master, folder);
    master.publish.users = Some(folder.join("users"));
    master.publish.networks = Networks::none();
    let master = Server::open(master)?;
    let address = first(&master.rtmp_addresses())?;

    let mut lines = String::new();
    let mut watched = Vec::new();
    let mut mirrors = Vec::new();
    for n in 1..=MIRRORS {
        let mut settings = settings(Role::Mirror, folder);
        settings.mirror = Some(Mirror {
            master: MasterUrl {
                host: address.ip().to_string(),
                port: address.port(),
                tls: false,
            },
            ca_file: None,
            streams: Vec::new(),
        });
        let mirror = Server::open(settings)?;
        let (rtmp, http) = (
            first(&mirror.rtmp_addresses())?,
            first(&mirror.http_addresses())?,
        );
        // Writing to a String cannot fail.
        let _ = writeln!(lines, "page mirror-{n} http://{http}/");
        let _ = writeln!(lines, "watch mirror-{n} rtmp://{rtmp}/{APP}/{NAME}");
        let _ = writeln!(lines, "watch mirror-{n} http://{http}/{APP}/{NAME}.flv");
        watched.push(Watched {
            hub: Arc::clone(mirror.hub()),
            metrics: Arc::clone(mirror.metrics()),
            bytes: 0,
        });
        mirrors.push(mirror);
    }

    let mut master = Running::start([master]);
    let mut mirrors = Running::start(mirrors);
    let target = encoder::Target {
        address: address.to_string(),
        app: APP.to_owned(),
        name: NAME.to_owned(),
        user: USER.to_owned(),
        password,
    };
    let (stop, stopped) = watch::channel(false);
    let encoder = tokio::spawn(encoder::run(target, stopped));

    let end = crate::daemon::stop_signal()?;
    tokio::select! {
        () = end => {}
        () = show(&lines, &mut watched) => {}
    }
    if io::stdout().is_terminal() {
        put("\n");
    }
    // From the source to the viewers' side, then back to the master: so nobody misses anybody.
    stop.send_replace(true);
    let abort = encoder.abort_handle();
    if timeout(ENCODER_END, encoder).await.is_err() {
        abort.abort();
    }
    mirrors.stop().await?;
    master.stop().await
}

/// Servers that stop together.
struct Running {
    stop: watch::Sender<bool>,
    tasks: JoinSet<io::Result<()>>,
}

impl Running {
    fn start(servers: impl IntoIterator<Item = Server>) -> Self {
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        for server in servers {
            let mut stopped = stopped.clone();
            tasks.spawn(server.serve(|| {}, async move { encoder::told(&mut stopped).await }));
        }
        Self { stop, tasks }
    }

    async fn stop(&mut self) -> Result<(), StartError> {
        self.stop.send_replace(true);
        while let Some(ended) = self.tasks.join_next().await {
            ended.map_err(io::Error::other)??;
        }
        Ok(())
    }
}

fn first(addresses: &[SocketAddr]) -> io::Result<SocketAddr> {
    addresses
        .first()
        .copied()
        .ok_or_else(|| io::Error::other("the demo's server has no listener"))
}

/// Prints the addresses once every mirror has the picture, then a line of figures for ever.
async fn show(lines: &str, watched: &mut [Watched]) {
    let begin = Instant::now();
    let has_picture = |w: &Watched| {
        StreamName::new(APP, NAME)
            .ok()
            .and_then(|name| w.hub.get(&name))
            .is_some_and(|stream| stream.info(Instant::now()).frames > 0)
    };
    while !watched.iter().all(has_picture) && begin.elapsed() < PATIENCE {
        sleep(Duration::from_millis(20)).await;
    }
    put(lines);
    put(
        "Open a page in a browser, or a watch address in ffplay, VLC or mpv. Ctrl-C ends the demo.\n",
    );
    put("Below: viewers, and kbit/s in/out.\n");
    let terminal = io::stdout().is_terminal();
    let mut ticks = interval(Duration::from_secs(if terminal { 1 } else { 5 }));
    let mut last = Instant::now();
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let now = Instant::now();
        let seconds = now.saturating_duration_since(last).as_secs_f64().max(0.001);
        last = now;
        let mut text = format!("{} s", begin.elapsed().as_secs());
        for (n, mirror) in (1..).zip(watched.iter_mut()) {
            let list = mirror.hub.list(now);
            let input: u64 = list.iter().map(|s| s.kbit_per_second).sum();
            let viewers: usize = list
                .iter()
                .map(|s| s.rtmp_viewers + s.flv_viewers + s.hls_viewers)
                .sum();
            let bytes = mirror.metrics.traffic(Protocol::Rtmp).bytes_out.get()
                + mirror.metrics.traffic(Protocol::Flv).bytes_out.get();
            let output = rate(bytes.saturating_sub(mirror.bytes), seconds);
            mirror.bytes = bytes;
            // As short as fits a terminal of 80 columns: a line that wraps cannot be written over.
            let viewers = count(viewers, "viewer");
            let _ = write!(text, " | mirror-{n}: {viewers}, {input}/{output:.0} kbit/s");
        }
        if terminal {
            // The cursor goes back, so that a log line takes the place of the figures.
            put(&format!("\r\x1b[K{text}\r"));
        } else {
            put(&format!("{text}\n"));
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn rate(bytes: u64, seconds: f64) -> f64 {
    bytes as f64 * 8.0 / 1000.0 / seconds
}

/// Standard output may be a closed pipe: the demo runs on.
fn put(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
