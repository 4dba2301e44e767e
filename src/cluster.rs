//! What one server knows of the others: its own id, the path up to the topmost master, its link to
//! its master, and the mirrors connected to it now.
//!
//! Nothing here is stored: a mirror is in the table for as long as its control connection lives.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::relay::Wake;

/// Mirrors connected to one master at once; one more is refused.
pub const MAX_MIRRORS: usize = 4096;

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

/// See the module.
pub struct Cluster {
    id: String,
    version: AtomicU64,
    state: Mutex<State>,
}

struct State {
    master: Option<String>,
    link: Link,
    above: Vec<String>,
    mirrors: BTreeMap<String, (u64, Mirror)>,
    wakers: Vec<(u64, Arc<dyn Wake>)>,
    /// Numbers of wakers and memberships.
    next: u64,
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
            state: Mutex::new(State {
                master: None,
                link,
                above: Vec::new(),
                mirrors: BTreeMap::new(),
                wakers: Vec::new(),
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

    fn changed(&self, state: &State) {
        self.version.fetch_add(1, Ordering::AcqRel);
        for (_, waker) in &state.wakers {
            waker.wake();
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
        state.mirrors.insert(id.to_owned(), (number, mirror));
        self.changed(&state);
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

    /// Wakes `waker` at each change until the guard is dropped.
    pub fn watch(self: &Arc<Self>, waker: Arc<dyn Wake>) -> Watch {
        let mut state = self.lock();
        let key = state.number();
        state.wakers.push((key, waker));
        Watch {
            cluster: Arc::clone(self),
            key,
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
            self.cluster.changed(&state);
        }
    }
}

/// Keeps a waker registered.
pub struct Watch {
    cluster: Arc<Cluster>,
    key: u64,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.cluster.lock().wakers.retain(|(k, _)| *k != self.key);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(&self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn mirror() -> Mirror {
        Mirror {
            peer: "127.0.0.1:4000".parse().unwrap(),
            since: Instant::now(),
        }
    }

    #[test]
    fn a_mirror_is_there_as_long_as_its_connection() {
        let cluster = Cluster::new("m".into(), false, Instant::now());
        let count = Arc::new(Count::default());
        let watch = cluster.watch(count.clone());
        let member = cluster.join("a", mirror()).unwrap();
        assert!(!member.is_replaced());
        let again = cluster.join("a", mirror()).unwrap();
        assert!(member.is_replaced(), "the newer connection has its place");
        drop(member);
        assert_eq!(cluster.mirrors().len(), 1);
        drop(again);
        assert!(cluster.mirrors().is_empty());
        assert_eq!(count.0.load(Ordering::Relaxed), 3);
        drop(watch);
        let _again = cluster.join("a", mirror()).unwrap();
        assert_eq!(
            count.0.load(Ordering::Relaxed),
            3,
            "nobody watches any more"
        );
    }

    #[test]
    fn the_table_is_bounded() {
        let cluster = Cluster::new("m".into(), false, Instant::now());
        let members: Vec<_> = (0..MAX_MIRRORS)
            .map(|n| cluster.join(&n.to_string(), mirror()).unwrap())
            .collect();
        assert_eq!(cluster.join("one more", mirror()).err(), Some(Full));
        drop(members);
        assert!(cluster.join("one more", mirror()).is_ok());
    }

    #[test]
    fn a_server_that_is_its_own_master_is_noticed() {
        let cluster = Cluster::new("b".into(), true, Instant::now());
        assert!(!cluster.set_above(&["a".into()]));
        assert_eq!(cluster.path(), ["a", "b"]);
        assert!(cluster.set_above(&["a".into(), "b".into()]));
        assert_eq!(cluster.path(), ["a", "b"], "a loop changes nothing");
    }

    #[test]
    fn another_master_has_said_nothing_yet() {
        let start = Instant::now();
        let cluster = Cluster::new("b".into(), true, start);
        cluster.set_above(&["a".into()]);
        cluster.link_up(start);
        let version = cluster.version();
        cluster.set_master(None, None, start);
        assert_eq!(
            (cluster.link(), cluster.path()),
            (Link::None, vec!["b".to_owned()])
        );
        assert_ne!(cluster.version(), version, "the mirrors below are told");
        cluster.set_master(Some("rtmp://c".into()), Some("not tried yet"), start);
        assert!(matches!(cluster.link(), Link::Down { .. }));
        assert_eq!(cluster.master().as_deref(), Some("rtmp://c"));
    }

    #[test]
    fn an_outage_keeps_its_beginning() {
        let start = Instant::now();
        let cluster = Cluster::new("b".into(), true, start);
        let later = start + std::time::Duration::from_secs(5);
        cluster.link_down(later, "refused");
        assert_eq!(
            cluster.link(),
            Link::Down {
                since: start,
                error: "refused".into()
            }
        );
        cluster.link_up(later);
        assert_eq!(cluster.link(), Link::Up { since: later });
    }
}
