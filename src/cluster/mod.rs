//! What one server knows of the others: its own id, the path up to the topmost master, its link to
//! its master, the mirrors connected to it now, and the hosts that the public may watch on.
//!
//! Nothing here is stored: a mirror is in the tables for as long as its control connection lives.
//!
//! ```text
//!             what the master tells          +---------+
//! master  ------------------------------->   |  Table  |  -> /cluster.json, steering, siblings
//!         <-------------------------------   |         |
//!             this server and those below    +---------+
//!                                              ^     |
//!                     what mirrors announce    |     v    all hosts
//! ```

pub mod address;
mod board;
mod gate;
mod hosts;
pub mod list;
mod metrics;
mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::limits::MAX_MIRRORS;
use crate::relay::Wake;
use crate::rtmp::mirror::host::Urls;

pub use board::{Encode, Reader};
pub use gate::{Capacity, Drain, Gate, Place, Refusal};
pub use hosts::{Refused, Sibling, Standing, Via};
pub use metrics::HostFigures;
pub use table::Told;

/// The state of a mirror's link to its master.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// This server has no master.
    None,
    /// Not connected; `error` says what the last try met.
    Down {
        /// When it was lost, or when the server started.
        since: Instant,
        /// The last try's failure, in words.
        error: String,
    },
    /// Connected.
    Up {
        /// Since when.
        since: Instant,
    },
}

/// A mirror that is connected to this server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// Its address as this server sees it.
    pub peer: SocketAddr,
    /// When its control connection proved itself.
    pub since: Instant,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Cluster({})", self.id)
    }
}

/// See the module.
pub struct Cluster {
    id: String,
    version: AtomicU64,
    gate: Arc<Gate>,
    /// Numbers for the choice of a sibling.
    picks: AtomicU64,
    state: Mutex<State>,
}

struct State {
    master: Option<String>,
    link: Link,
    above: Vec<String>,
    mirrors: BTreeMap<String, (u64, Mirror)>,
    standing: Standing,
    /// The address by which the master lists this server.
    placed: Option<Urls>,
    table: table::Table,
    board: board::Board,
    watchers: Vec<Watcher>,
    /// Numbers of watchers and memberships.
    next: u64,
}

struct Watcher {
    key: u64,
    waker: Arc<dyn Wake>,
    /// It was rung for the hosts, and has not looked at them yet.
    rung: Arc<AtomicBool>,
}

/// [`MAX_MIRRORS`] are connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many mirrors are connected")]
pub struct Full;

impl State {
    const fn number(&mut self) -> u64 {
        self.next = self.next.wrapping_add(1);
        self.next
    }
}

impl Cluster {
    /// `id` is made anew at each start. `has_master` tells whether there is a link to watch.
    #[must_use]
    pub fn new(id: String, has_master: bool, now: Instant) -> Arc<Self> {
        let link = if has_master {
            Link::Down {
                since: now,
                error: "not tried yet".into(),
            }
        } else {
            Link::None
        };
        Arc::new(Self {
            id,
            version: AtomicU64::new(0),
            gate: Arc::default(),
            picks: AtomicU64::new(0),
            state: Mutex::new(State {
                master: None,
                link,
                above: Vec::new(),
                mirrors: BTreeMap::new(),
                standing: Standing::default(),
                placed: None,
                table: table::Table::default(),
                board: board::Board::default(),
                watchers: Vec::new(),
                next: 0,
            }),
        })
    }

    /// The server has another master from now on, or none: what the last one said is forgotten. `down`
    /// says why there is no link to it yet; `None` when there never is one to watch.
    pub fn set_master(&self, master: Option<String>, down: Option<&str>, now: Instant) {
        let mut state = self.lock();
        state.master = master;
        state.link = match down {
            Some(error) => Link::Down {
                since: now,
                error: error.to_owned(),
            },
            None => Link::None,
        };
        state.table.lose_master(now);
        if !std::mem::take(&mut state.above).is_empty() {
            self.changed(&state);
        }
    }

    /// The address of the master, where there is one.
    #[must_use]
    pub fn master(&self) -> Option<String> {
        self.lock().master.clone()
    }

    /// This server's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// A number that changes with everything that a listing shows.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while the lock was held leaves plain data that is still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a listing shows is different.
    fn changed(&self, state: &State) {
        self.version.fetch_add(1, Ordering::AcqRel);
        Self::wake(state);
    }

    fn wake(state: &State) {
        for watcher in &state.watchers {
            watcher.waker.wake();
        }
    }

    /// There is news of the hosts. Whoever was told so and has not looked yet is not told again: while a
    /// thousand mirrors come, each of them would hear of every other one.
    fn ring(state: &State) {
        for watcher in &state.watchers {
            if !watcher.rung.swap(true, Ordering::AcqRel) {
                watcher.waker.wake();
            }
        }
    }

    /// The ids from the topmost master down to this server.
    #[must_use]
    pub fn path(&self) -> Vec<String> {
        let mut path = self.lock().above.clone();
        path.push(self.id.clone());
        path
    }

    /// What the master said of the servers above, itself included. True when this server is one of
    /// them: it has been pointed at itself, perhaps through others.
    pub fn set_above(&self, above: &[String]) -> bool {
        let looped = above.contains(&self.id);
        let mut state = self.lock();
        if !looped && state.above != above {
            state.above = above.to_vec();
            self.changed(&state);
        }
        looped
    }

    /// The link to the master.
    #[must_use]
    pub fn link(&self) -> Link {
        self.lock().link.clone()
    }

    /// The link works.
    pub fn link_up(&self, now: Instant) {
        self.lock().link = Link::Up { since: now };
    }

    /// The link does not work; keeps the time since when.
    pub fn link_down(&self, now: Instant, error: &str) {
        let mut state = self.lock();
        let since = match state.link {
            Link::Down { since, .. } => since,
            Link::Up { .. } | Link::None => now,
        };
        state.link = Link::Down {
            since,
            error: error.to_owned(),
        };
    }

    /// A mirror has proved itself. It is in the table until the guard is dropped. One that is there
    /// already takes its own place: its older connection died without a word.
    ///
    /// # Errors
    /// [`Full`].
    pub fn join(self: &Arc<Self>, id: &str, mirror: Mirror) -> Result<Membership, Full> {
        let mut state = self.lock();
        if state.mirrors.len() >= MAX_MIRRORS && !state.mirrors.contains_key(id) {
            return Err(Full);
        }
        let number = state.number();
        let before = state.mirrors.insert(id.to_owned(), (number, mirror));
        if before.is_some() {
            // Its older connection learns that another one has its place.
            Self::wake(&state);
        }
        Ok(Membership {
            cluster: Arc::clone(self),
            id: id.to_owned(),
            number,
        })
    }

    /// The mirrors that are connected now, by id.
    #[must_use]
    pub fn mirrors(&self) -> Vec<(String, Mirror)> {
        let state = self.lock();
        let pairs = state.mirrors.iter();
        pairs.map(|(id, (_, m))| (id.clone(), m.clone())).collect()
    }

    /// Wakes `waker` at each change until the guard is dropped; of those of the hosts once until
    /// [`Watch::looks`].
    pub fn watch(self: &Arc<Self>, waker: Arc<dyn Wake>) -> Watch {
        let mut state = self.lock();
        let key = state.number();
        let rung = Arc::new(AtomicBool::new(false));
        state.watchers.push(Watcher {
            key,
            waker,
            rung: Arc::clone(&rung),
        });
        Watch {
            cluster: Arc::clone(self),
            key,
            rung,
        }
    }
}

/// Keeps a mirror in the table.
pub struct Membership {
    cluster: Arc<Cluster>,
    id: String,
    number: u64,
}

impl Membership {
    /// Whether a newer connection of the same mirror took its place.
    #[must_use]
    pub fn is_replaced(&self) -> bool {
        let state = self.cluster.lock();
        state
            .mirrors
            .get(&self.id)
            .is_none_or(|(number, _)| *number != self.number)
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let mut state = self.cluster.lock();
        let held = state.mirrors.get(&self.id);
        if held.is_some_and(|(number, _)| *number == self.number) {
            state.mirrors.remove(&self.id);
        }
        if state.table.drop_via(self.number) {
            Cluster::ring(&state);
        }
    }
}

/// Keeps a waker registered.
pub struct Watch {
    cluster: Arc<Cluster>,
    key: u64,
    rung: Arc<AtomicBool>,
}

impl Watch {
    /// To be called before a look at the hosts: what changes from here on rings again.
    pub fn looks(&self) {
        self.rung.store(false, Ordering::Release);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut state = self.cluster.lock();
        state.watchers.retain(|watcher| watcher.key != self.key);
    }
}
