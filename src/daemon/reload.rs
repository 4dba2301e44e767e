//! Reading the configuration again while the server runs: all of it is taken over, or nothing.
//!
//! [`Reloader::reload`] reads the same sources as the start did, and every file with users or secrets.
//! Whatever may fail comes first (reading, checking, binding new listeners); then what runs is changed
//! in one go, without a pause for anyone who is connected.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio::time::sleep;

use super::notify::Notifier;
use crate::auth::{Contents, FileError, NewRules, Policy};
use crate::config::{self, Change, Effect, Loaded, Problem, Settings, Sources, Wrong};
use crate::telemetry::words::count;
use crate::transport::{Certificate, Connector};

/// What changed, with the keys that wait for a restart among it; or why nothing did.
pub type Outcome = Result<Vec<Change>, Vec<Problem>>;

/// Everything that could fail before the server itself is asked has not.
pub(super) struct Order {
    pub(super) loaded: Loaded,
    pub(super) rules: NewRules,
    pub(super) tls: NewTls,
    pub(super) answer: oneshot::Sender<Outcome>,
}

/// What the files of TLS have now.
#[derive(Default)]
pub(super) struct NewTls {
    pub(super) certificate: Option<Certificate>,
    pub(super) connector: Option<Connector>,
}

impl NewTls {
    pub(super) fn read(settings: &Settings) -> Result<Self, Wrong> {
        Ok(Self {
            certificate: settings.certificate()?.map(|(certificate, _)| certificate),
            connector: settings.connector()?,
        })
    }
}

/// Makes a server read its configuration again; for whoever is told to: a signal, a control socket.
#[derive(Clone)]
pub struct Reloader {
    sources: Option<Sources>,
    policy: Arc<Policy>,
    orders: mpsc::Sender<Order>,
    /// One at a time, so that the one that is read last is the one that holds.
    turn: Arc<Mutex<()>>,
    notifier: Notifier,
}

impl Reloader {
    pub(super) fn new(
        sources: Option<Sources>,
        policy: Arc<Policy>,
        orders: mpsc::Sender<Order>,
        turn: Arc<Mutex<()>>,
        notifier: Notifier,
    ) -> Self {
        Self {
            sources,
            policy,
            orders,
            turn,
            notifier,
        }
    }

    /// Reads the configuration again and takes it over. The log tells the outcome in any case.
    ///
    /// # Errors
    /// Every problem there is; what ran goes on as it was.
    pub async fn reload(&self) -> Outcome {
        let _turn = self.turn.lock().await;
        self.notifier.reloading();
        let outcome = match self.read().await {
            Ok(loaded) => self.order(loaded).await,
            Err(problems) => Err(problems),
        };
        tell(&outcome);
        // Whether it worked or not: what runs is ready.
        self.notifier.ready();
        outcome
    }

    /// Takes over settings that are not read from anywhere.
    ///
    /// # Errors
    /// As [`Reloader::reload`].
    pub async fn apply(&self, loaded: Loaded) -> Outcome {
        let _turn = self.turn.lock().await;
        let outcome = self.order(loaded).await;
        tell(&outcome);
        outcome
    }

    async fn read(&self) -> Result<Loaded, Vec<Problem>> {
        let Some(sources) = self.sources.clone() else {
            return Err(alone("this server was given its settings by a program"));
        };
        // A file system that hangs must not hold up the accept loops.
        tokio::task::spawn_blocking(move || config::load(&sources))
            .await
            .unwrap_or_else(|e| Err(alone(format!("it could not be read: {e}"))))
    }

    async fn order(&self, loaded: Loaded) -> Outcome {
        let prepared = {
            let (settings, policy) = (loaded.settings.clone(), Arc::clone(&self.policy));
            tokio::task::spawn_blocking(move || {
                let tls = NewTls::read(&settings).map_err(|(_, error)| error)?;
                let (config, _) = settings.policy()?;
                Ok((policy.prepare(config, Instant::now())?, tls))
            })
            .await
        };
        let (rules, tls) = match prepared {
            Ok(Ok(prepared)) => prepared,
            Ok(Err(error)) => return Err(alone(FileError::to_string(&error))),
            Err(error) => return Err(alone(error.to_string())),
        };
        let (answer, answered) = oneshot::channel();
        let order = Order {
            loaded,
            rules,
            tls,
            answer,
        };
        let stops = || alone(STOPS);
        self.orders.send(order).await.map_err(|_| stops())?;
        answered.await.unwrap_or_else(|_| Err(stops()))
    }
}

/// Why nothing is read any more.
const STOPS: &str = "the server stops";

/// A problem of no key.
fn alone(message: impl Into<String>) -> Vec<Problem> {
    vec![Problem::of("", message)]
}

/// One line for what changed, one for what waits, or one for each problem.
fn tell(outcome: &Outcome) {
    let changes = match outcome {
        Ok(changes) => changes,
        Err(problems) if problems.iter().any(|p| p.message == STOPS) => {
            tracing::warn!(code = "reload", "reload left out: {STOPS}");
            return;
        }
        Err(problems) => {
            for problem in problems {
                tracing::error!(
                    code = "reload",
                    "reload refused, what ran goes on: {problem}"
                );
            }
            return;
        }
    };
    let with = |effects: &[Effect]| {
        let of = changes.iter().filter(|c| effects.contains(&c.effect));
        of.map(ToString::to_string).collect::<Vec<_>>()
    };
    let done = with(&[Effect::AtOnce, Effect::ForNew, Effect::Listener]);
    if done.is_empty() {
        tracing::info!(code = "reload", "configuration read again, nothing changed");
    } else {
        tracing::info!(
            code = "reload",
            "configuration read again: {}",
            done.join("; ")
        );
    }
    let waits = with(&[Effect::Restart]);
    if !waits.is_empty() {
        tracing::warn!(
            code = "reload",
            "this waits for `systemctl restart crtmpserver`: {}",
            waits.join("; ")
        );
    }
    let passed = with(&[Effect::Passed]);
    if !passed.is_empty() {
        tracing::warn!(
            code = "reload",
            "this has no effect, its socket is held by its socket unit: {}",
            passed.join("; ")
        );
    }
}

/// How often to look for a file that is missing.
const LOOK: Duration = Duration::from_secs(2);

/// Reloads when the file is there that the server lacks, and again when that was of no use and the file
/// is another one; for ever.
pub(super) async fn when_found(reloader: Reloader, mut missing: watch::Receiver<Option<PathBuf>>) {
    let mut tried = None;
    while missing.wait_for(Option::is_some).await.is_ok() {
        sleep(LOOK).await;
        let path = missing.borrow().clone();
        let Some((path, meta)) = path.and_then(|p| p.metadata().ok().map(|m| (p, m))) else {
            continue;
        };
        let version = (meta.ino(), meta.len(), meta.ctime(), meta.ctime_nsec());
        if tried != Some(version) {
            tried = Some(version);
            tracing::info!(code = "reload", "{} is there now", path.display());
            drop(reloader.reload().await);
        }
    }
}

/// A future that reloads at each SIGHUP, for ever. From this call on the signal ends nothing.
///
/// # Errors
/// The system takes no handler.
pub fn on_hangup(reloader: Reloader) -> io::Result<impl Future<Output = ()>> {
    let mut hangups = signal(SignalKind::hangup())?;
    Ok(async move {
        while hangups.recv().await.is_some() {
            // What came of it is in the log.
            drop(reloader.reload().await);
        }
    })
}

/// The files with secrets have other contents, under the same names.
pub(super) fn read_again(contents: Contents, settings: &Settings) -> Vec<Change> {
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
    let keys = contents.keys.map(|keys| {
        let keys = count(keys, "stream key");
        change("publish.keys", format!("has changed: {keys}"))
    });
    secret.into_iter().chain(users).chain(keys).collect()
}
