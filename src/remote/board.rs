//! What is to be pulled and pushed, and how each of them does: shared by the tasks that do it and by
//! everybody who asks.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::{Notify, watch};

use super::wish::{Direction, Spec};

/// Who wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The configuration.
    File,
    /// Somebody who asked while the server runs; kept over a restart.
    Runtime,
    /// A push of all streams of an application: the number of that.
    Each(u32),
}

/// How far one of them is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// There is nothing to do yet: the stream of a push is not there, or the name of a pull is taken.
    Waiting,
    /// The other server is asked.
    Connecting,
    /// The other server has agreed; of a pull, its stream may be silent.
    Connected,
    /// Media flows.
    Live,
    /// It failed, and is tried again soon.
    Retrying,
    /// A push of many streams: each of them has a row of its own.
    Each,
}

impl Phase {
    /// Those that one stream goes through: a push of many has none of them.
    pub const OF_ONE: [Self; 5] = [
        Self::Waiting,
        Self::Connecting,
        Self::Connected,
        Self::Live,
        Self::Retrying,
    ];

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Live => "live",
            Self::Retrying => "retrying",
            Self::Each => "each",
        }
    }
}

/// What went wrong last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Stable, for programs.
    pub code: &'static str,
    /// A sentence for people, without secrets.
    pub text: String,
    /// When.
    pub at: Instant,
}

/// How one of them does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// How far it is.
    pub phase: Phase,
    /// Since when.
    pub since: Instant,
    /// What went wrong last, even if all is well now.
    pub failure: Option<Failure>,
    /// No media has flowed since that.
    pub failing: bool,
    /// Tries that failed, and connections that were lost.
    pub failures: u64,
    /// Times that media flowed.
    pub connections: u64,
    /// Payload bytes that went over.
    pub bytes: u64,
    /// Frames that went over.
    pub frames: u64,
    /// Frames that a slow target was not given.
    pub skipped: u64,
}

/// A pull or a push.
pub(super) struct Job {
    pub(super) id: u32,
    pub(super) origin: Origin,
    /// Tried for ever; else it goes with its first connection.
    pub(super) keep: bool,
    pub(super) spec: Spec,
    progress: Mutex<Progress>,
    /// It has a task.
    pub(super) started: AtomicBool,
    /// It is not wanted any more.
    pub(super) over: watch::Sender<bool>,
    /// End the connection, and begin anew at once.
    pub(super) again: Notify,
}

impl Job {
    pub(super) fn new(id: u32, origin: Origin, keep: bool, spec: Spec, now: Instant) -> Self {
        let progress = Progress {
            phase: Phase::Waiting,
            since: now,
            failure: None,
            failing: false,
            failures: 0,
            connections: 0,
            bytes: 0,
            frames: 0,
            skipped: 0,
        };
        Self {
            id,
            origin,
            keep,
            spec,
            progress: Mutex::new(progress),
            started: AtomicBool::new(false),
            over: watch::Sender::new(false),
            again: Notify::new(),
        }
    }

    pub(super) fn progress(&self) -> MutexGuard<'_, Progress> {
        // Every change leaves it whole.
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn enter(&self, phase: Phase) {
        let mut progress = self.progress();
        if progress.phase != phase {
            progress.phase = phase;
            progress.since = Instant::now();
            if phase == Phase::Live {
                progress.failing = false;
                progress.connections = progress.connections.saturating_add(1);
            }
        }
    }

    /// Notes one more failure.
    pub(super) fn failed(&self, failure: Failure) {
        let mut progress = self.progress();
        progress.failures = progress.failures.saturating_add(1);
        progress.phase = Phase::Retrying;
        progress.since = failure.at;
        progress.failure = Some(failure);
        progress.failing = true;
    }

    /// Notes why it waits.
    pub(super) fn waits(&self, failure: Failure) {
        self.enter(Phase::Waiting);
        let mut progress = self.progress();
        progress.failure = Some(failure);
        progress.failing = true;
    }

    /// Notes frames that went over.
    pub(super) fn carried(&self, frames: u64, bytes: u64, skipped: u64) {
        let mut progress = self.progress();
        progress.frames = progress.frames.saturating_add(frames);
        progress.bytes = progress.bytes.saturating_add(bytes);
        progress.skipped = progress.skipped.saturating_add(skipped);
    }
}

/// One of them at one moment.
#[derive(Debug, Clone)]
pub struct Row {
    /// Its number, for as long as it is wanted.
    pub id: u32,
    /// Who wants it.
    pub origin: Origin,
    /// Whether it is tried for ever.
    pub keep: bool,
    /// What it is.
    pub spec: Spec,
    /// How it does.
    pub progress: Progress,
}

impl Row {
    /// As whom the stream of a pull is published; `id` is the pull's. No user has such a name: neither does
    /// a pull displace an encoder, nor one a pull.
    #[must_use]
    pub fn identity(id: u32) -> String {
        format!(":pull-{id}")
    }
}

/// All of them.
pub(super) struct Table {
    /// The number that the next one gets.
    pub(super) next: u32,
    pub(super) jobs: BTreeMap<u32, Arc<Job>>,
}

/// See the module.
pub struct Board {
    table: Mutex<Table>,
}

impl Default for Board {
    fn default() -> Self {
        Self {
            table: Mutex::new(Table {
                next: 1,
                jobs: BTreeMap::new(),
            }),
        }
    }
}

impl fmt::Debug for Board {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Board({})", self.table().jobs.len())
    }
}

impl Board {
    pub(super) fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of them, by their numbers.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        let jobs: Vec<Arc<Job>> = self.table().jobs.values().map(Arc::clone).collect();
        let row = |job: &Arc<Job>| Row {
            id: job.id,
            origin: job.origin,
            keep: job.keep,
            spec: job.spec.clone(),
            progress: job.progress().clone(),
        };
        jobs.iter().map(row).collect()
    }

    /// How many are there of one direction.
    #[must_use]
    pub fn count(&self, direction: Direction) -> usize {
        let table = self.table();
        let of = |job: &&Arc<Job>| job.spec.direction == direction;
        table.jobs.values().filter(of).count()
    }
}

impl Table {
    /// Takes one in and gives its number.
    pub(super) fn insert(&mut self, origin: Origin, keep: bool, spec: Spec) -> u32 {
        while self.jobs.contains_key(&self.next) || self.next == 0 {
            self.next = self.next.wrapping_add(1);
        }
        let id = self.next;
        self.put(id, origin, keep, spec);
        self.next = self.next.wrapping_add(1);
        id
    }

    /// Takes one in that has a number.
    pub(super) fn put(&mut self, id: u32, origin: Origin, keep: bool, spec: Spec) {
        let job = Job::new(id, origin, keep, spec, Instant::now());
        self.jobs.insert(id, Arc::new(job));
    }

    /// Lets one go, and those that are there because of it.
    pub(super) fn remove(&mut self, id: u32) -> Option<Arc<Job>> {
        let job = self.jobs.remove(&id)?;
        job.over.send_replace(true);
        self.jobs.retain(|_, other| {
            let stays = other.origin != Origin::Each(id);
            if !stays {
                other.over.send_replace(true);
            }
            stays
        });
        Some(job)
    }
}
