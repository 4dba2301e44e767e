//! Pulls and pushes: streams taken from other servers (RTMP, RTSP) and given to others (RTMP), each kept alive
//! for ever.
//!
//! ```text
//! configuration, verbs --Wish--> Spec --> Board <-- keep: one task for each, on a shard
//!                                           |         pull: a publisher of the hub
//!                                     rows, figures   push: a reader of a stream's log
//! ```
//!
//! The tasks know nothing of each other: one whose server refuses, hangs or sends nonsense disturbs
//! nobody else. What is secret (passwords, stream keys, queries) is in no log, no row and no figure.

mod address;
mod board;
mod connect;
mod figures;
mod keep;
#[cfg(feature = "publish")]
mod pull;
mod push;
#[cfg(feature = "publish")]
mod rtsp;
mod secret;
mod store;
mod trouble;
mod wish;

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;
use tokio::task::spawn_blocking;

pub use address::Address;
pub use board::{Board, Failure, Origin, Phase, Progress, Row};
pub use figures::Figures;
pub use secret::Password;
pub use wish::{Direction, Hidden, Local, Spec, Wish, Wrong};

use crate::auth::Applications;
use crate::limits::MAX_REMOTES;
use crate::net::Shards;
use crate::relay::{Hub, State};
use store::{Entry, Store};

/// Reads what a [`Spec`] names and does not have in itself: for who checks it.
///
/// # Errors
/// The key, and what is wrong with its file.
pub fn inspect(spec: &Spec) -> Result<(), Wrong> {
    let of = |key| {
        move |trouble: trouble::Trouble| Wrong {
            key,
            message: trouble.to_string(),
        }
    };
    if let Some((_, Hidden::File(path))) = &spec.login {
        connect::first_line(path).map_err(of("password_file"))?;
    }
    if let Some(path) = &spec.wish.ca_file {
        connect::authorities(Some(path)).map_err(of("ca_file"))?;
    }
    Ok(())
}

/// Why one is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There are too many.
    #[error("there are {MAX_REMOTES} pulls and pushes already")]
    Full,
    /// Another pull has the name.
    #[error("{0} is pulled already")]
    Twice(Local),
    /// A mirror takes its streams from its master.
    #[error("this server takes no streams in: it is a mirror, or built without publishing")]
    NoPulls,
    /// Nobody has this number.
    #[error("there is no pull or push {0}")]
    Unknown(u32),
    /// It is the configuration's.
    #[error("{0} is from the configuration: take it out there, and reload")]
    FromFile(u32),
    /// It is one of many of another one.
    #[error("{0} is one of those of {1}: remove that")]
    OneOf(u32, u32),
}

/// What the tasks use of the server.
pub(crate) struct Context {
    hub: Arc<Hub>,
    shards: Arc<Shards>,
}

/// All pulls and pushes of a server.
pub struct Remotes {
    board: Arc<Board>,
    context: Context,
    /// Streams may be made here.
    pulls: bool,
    /// Something is to be started or ended.
    changed: Notify,
    store: Mutex<Option<Store>>,
    /// What was stored and is of no use as things are; it is stored again.
    useless: Mutex<Vec<Entry>>,
    /// One writes at a time, and what is written last is what holds.
    writing: tokio::sync::Mutex<()>,
}

impl fmt::Debug for Remotes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Remotes({:?})", self.board)
    }
}

impl Remotes {
    /// None yet. `pulls` says whether streams may be made here.
    #[must_use]
    pub fn new(board: Arc<Board>, hub: Arc<Hub>, shards: Arc<Shards>, pulls: bool) -> Arc<Self> {
        Arc::new(Self {
            board,
            context: Context { hub, shards },
            pulls: pulls && cfg!(feature = "publish"),
            changed: Notify::new(),
            store: Mutex::default(),
            useless: Mutex::default(),
            writing: tokio::sync::Mutex::default(),
        })
    }

    /// What there is.
    #[must_use]
    pub const fn board(&self) -> &Arc<Board> {
        &self.board
    }

    /// Those of the configuration are these from now on; the ones that stay the same are not touched.
    pub fn configure(&self, specs: &[Spec]) {
        let mut table = self.board.table();
        let file: Vec<u32> = table
            .jobs
            .values()
            .filter(|job| job.origin == Origin::File)
            .map(|job| job.id)
            .collect();
        let mut wanted: Vec<&Spec> = specs.iter().collect();
        for id in file {
            let stays = table.jobs.get(&id).and_then(|job| {
                let same = |spec: &&Spec| **spec == job.spec;
                wanted.iter().position(same)
            });
            match stays {
                Some(at) => drop(wanted.swap_remove(at)),
                None => drop(table.remove(id)),
            }
        }
        // In the order in which they are written.
        for spec in specs {
            if wanted.iter().any(|left| std::ptr::eq(*left, spec)) {
                table.insert(Origin::File, true, spec.clone());
            }
        }
        drop(table);
        self.changed.notify_one();
    }

    /// Takes up those that were asked for before the server was started, and keeps them in this folder.
    pub fn remember(&self, folder: &Path, known: &Applications) {
        let store = Store::new(folder);
        let mut useless = Vec::new();
        let mut table = self.board.table();
        for entry in store.load() {
            match self.spec_of(&entry, known) {
                Ok(spec) if !table.jobs.contains_key(&entry.id) && entry.id != 0 => {
                    table.put(entry.id, Origin::Runtime, entry.keep, spec);
                }
                Ok(spec) => drop(table.insert(Origin::Runtime, entry.keep, spec)),
                Err(why) => {
                    tracing::warn!(
                        code = "remotes-state",
                        id = entry.id,
                        "a {} that was asked for at run time is left out: {why}",
                        entry.direction
                    );
                    useless.push(entry);
                }
            }
        }
        let newest = table.jobs.keys().next_back().copied().unwrap_or(0);
        table.next = table.next.max(newest.wrapping_add(1));
        drop(table);
        *lock(&self.useless) = useless;
        *lock(&self.store) = Some(store);
        self.changed.notify_one();
    }

    fn spec_of(&self, entry: &Entry, known: &Applications) -> Result<Spec, String> {
        let direction = match entry.direction.as_str() {
            "pull" if self.pulls => Direction::Pull,
            "pull" => return Err(Refused::NoPulls.to_string()),
            "push" => Direction::Push,
            _ => return Err("it is neither a pull nor a push".to_owned()),
        };
        Spec::new(direction, entry.wish.clone(), known).map_err(|e| e.to_string())
    }

    /// Takes one more, asked for at run time. With `keep` it is tried for ever, and survives a restart.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn add(&self, spec: Spec, keep: bool) -> Result<u32, Refused> {
        if spec.direction == Direction::Pull && !self.pulls {
            return Err(Refused::NoPulls);
        }
        let id = {
            let mut table = self.board.table();
            if table.jobs.len() >= MAX_REMOTES {
                return Err(Refused::Full);
            }
            let twice = |job: &&Arc<board::Job>| {
                spec.direction == Direction::Pull
                    && job.spec.direction == Direction::Pull
                    && job.spec.local == spec.local
            };
            if table.jobs.values().find(twice).is_some() {
                return Err(Refused::Twice(spec.local));
            }
            table.insert(Origin::Runtime, keep, spec)
        };
        self.changed.notify_one();
        self.save().await;
        Ok(id)
    }

    /// Lets go one that was asked for at run time.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn remove(&self, id: u32) -> Result<Spec, Refused> {
        let spec = {
            let mut table = self.board.table();
            let job = table.jobs.get(&id).ok_or(Refused::Unknown(id))?;
            match job.origin {
                Origin::File => return Err(Refused::FromFile(id)),
                Origin::Each(of) => return Err(Refused::OneOf(id, of)),
                Origin::Runtime => {}
            }
            let job = table.remove(id).ok_or(Refused::Unknown(id))?;
            job.spec.clone()
        };
        self.changed.notify_one();
        self.save().await;
        Ok(spec)
    }

    /// Ends the connection of one and lets it begin anew.
    ///
    /// # Errors
    /// [`Refused::Unknown`].
    pub fn again(&self, id: u32) -> Result<(), Refused> {
        let table = self.board.table();
        let job = table.jobs.get(&id).ok_or(Refused::Unknown(id))?;
        job.again.notify_one();
        Ok(())
    }

    /// Starts what is wanted, for as long as it is polled.
    pub async fn run(self: Arc<Self>) {
        let bell = Arc::<Notify>::default();
        let _watch = self.context.hub.watch(Arc::clone(&bell) as _);
        loop {
            self.spread();
            self.start().await;
            tokio::select! {
                () = self.changed.notified() => {}
                () = bell.notified() => {}
            }
        }
    }

    /// One that was to be tried once has been.
    fn gone(&self, id: u32) {
        self.board.table().remove(id);
    }

    /// A push for each stream of those who push all of an application, and none for those that are gone.
    fn spread(&self) {
        let mut table = self.board.table();
        let all: Vec<(u32, String, Spec)> = table
            .jobs
            .values()
            .filter_map(|job| match &job.spec.local {
                Local::All(app) => Some((job.id, app.clone(), job.spec.clone())),
                Local::One(_) => None,
            })
            .collect();
        if all.is_empty() {
            return;
        }
        let streams = self.context.hub.streams();
        for (id, app, spec) in all {
            if let Some(job) = table.jobs.get(&id) {
                job.enter(Phase::Each);
            }
            let mut there = BTreeSet::new();
            for stream in streams.iter().filter(|s| s.name().app() == app) {
                // Which waits may be pushed on, but is not begun with.
                there.insert(stream.name().clone());
                let has = |job: &&Arc<board::Job>| {
                    job.origin == Origin::Each(id)
                        && job.spec.local == Local::One(stream.name().clone())
                };
                let known = table.jobs.values().any(|job| has(&job));
                if !known && stream.state() == State::Live {
                    if table.jobs.len() >= MAX_REMOTES {
                        crate::telemetry::logging::limited(
                            "remote-full",
                            std::time::Instant::now(),
                            || {
                                tracing::warn!(
                                    stream = %stream.name(), code = "remote-full",
                                    "the stream is not pushed: there are {MAX_REMOTES} pulls and pushes already"
                                );
                            },
                        );
                        continue;
                    }
                    let name = stream.name().clone();
                    let one = Spec {
                        name: Some(name.name().to_owned()),
                        local: Local::One(name),
                        ..spec.clone()
                    };
                    table.insert(Origin::Each(id), true, one);
                }
            }
            let over: Vec<u32> = table
                .jobs
                .values()
                .filter(|job| job.origin == Origin::Each(id))
                .filter(|job| !matches!(&job.spec.local, Local::One(name) if there.contains(name)))
                .map(|job| job.id)
                .collect();
            for id in over {
                table.remove(id);
            }
        }
    }

    async fn start(self: &Arc<Self>) {
        let jobs: Vec<Arc<board::Job>> = {
            let table = self.board.table();
            let fresh = |job: &&Arc<board::Job>| !job.started.swap(true, Ordering::Relaxed);
            table.jobs.values().filter(fresh).map(Arc::clone).collect()
        };
        for job in jobs {
            let remotes = Arc::clone(self);
            let shards = &self.context.shards;
            let task = move |shard| keep::keep(remotes, shard, job);
            if shards.spawn(shards.choose(), task).await.is_err() {
                return; // the server stops
            }
        }
    }

    /// Writes what was asked for at run time, off the event loop.
    async fn save(&self) {
        let _turn = self.writing.lock().await;
        let Some(store) = lock(&self.store).clone() else {
            return;
        };
        let mut entries = lock(&self.useless).clone();
        let rows = self.board.rows();
        let runtime = rows
            .into_iter()
            .filter(|row| row.origin == Origin::Runtime && row.keep);
        entries.extend(runtime.map(|row| Entry {
            id: row.id,
            direction: row.spec.direction.as_str().to_owned(),
            keep: row.keep,
            wish: row.spec.wish,
        }));
        let saved = spawn_blocking(move || store.save(entries)).await;
        if let Err(error) = saved.unwrap_or_else(|e| Err(io::Error::other(e))) {
            tracing::error!(
                code = "remotes-state",
                "pulls and pushes that are asked for now do not survive a restart: {error}"
            );
        }
    }

    /// Whether what is asked for at run time survives a restart.
    #[must_use]
    pub fn remembers(&self) -> bool {
        lock(&self.store).is_some()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
