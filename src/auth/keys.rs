//! Stream keys while the server runs: the file, read again when it changes, who publishes by which key,
//! and which encoders log in instead.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use super::failures::{Failures, site};
use super::files::Stamp;
use super::stream_keys::{StreamKey, StreamKeys, Verifier};
use super::{Applications, FileError};
use crate::limits::{LOGIN_MEMORY, MAX_LOGIN_SITES};
use crate::media::StreamName;
use crate::telemetry::logging::limited;

/// The keys that hold now.
pub(super) struct Keys {
    path: PathBuf,
    known: Mutex<Known>,
    /// Outlives an exchange of the rules.
    book: Arc<Mutex<Book>>,
}

struct Known {
    keys: StreamKeys,
    /// The version of the file that was looked at last, good or bad.
    stamp: Option<Stamp>,
}

/// What is known of those who come.
#[derive(Default)]
struct Book {
    failures: Failures,
    /// Where encoders logged in of late.
    log_in: HashMap<IpAddr, Instant>,
}

/// A publisher's key, for as long as it publishes. It tells when the key is no more.
pub struct HeldKey(Arc<Held>);

struct Held {
    verifier: Verifier,
    revoked: AtomicBool,
    /// Called once it is.
    tell: Box<dyn Fn() + Send + Sync>,
}

/// Everyone who publishes by a key.
#[derive(Default)]
pub(super) struct Holders(Mutex<Vec<Weak<Held>>>);

impl HeldKey {
    /// Whether the key was revoked since.
    #[must_use]
    pub fn is_revoked(&self) -> bool {
        self.0.revoked.load(Ordering::Acquire)
    }

    /// Says that who published by it is ended for that.
    pub fn log_revoked(stream: &StreamName, peer: SocketAddr) {
        limited("key-revoked", Instant::now(), || {
            tracing::warn!(
                %stream, %peer, code = "key-revoked", "the publisher's stream key was revoked"
            );
        });
    }
}

impl Holders {
    /// One more; `tell` is called from any thread, once, when its key is revoked.
    pub(super) fn hold(&self, verifier: Verifier, tell: Box<dyn Fn() + Send + Sync>) -> HeldKey {
        let held = Arc::new(Held {
            verifier,
            revoked: AtomicBool::new(false),
            tell,
        });
        let mut all = lock(&self.0);
        all.retain(|held| held.strong_count() > 0);
        all.push(Arc::downgrade(&held));
        HeldKey(held)
    }

    /// Tells those whose keys are not among these.
    pub(super) fn settle(&self, keys: Option<&Keys>) {
        let all: Vec<Arc<Held>> = lock(&self.0).iter().filter_map(Weak::upgrade).collect();
        for held in all {
            let is_good = keys.is_some_and(|keys| lock(&keys.known).keys.has(&held.verifier));
            if !is_good && !held.revoked.swap(true, Ordering::AcqRel) {
                (held.tell)();
            }
        }
    }
}

impl Keys {
    /// Reads the file; `before` are the keys that these take the place of.
    pub(super) fn open(path: &Path, before: Option<&Self>) -> Result<Self, FileError> {
        // What this warns of was among the warnings of the configuration.
        let (keys, _, stamp) = StreamKeys::read_stamped(path)?;
        Ok(Self {
            path: path.to_owned(),
            known: Mutex::new(Known {
                keys,
                stamp: Some(stamp),
            }),
            book: before.map_or_else(Arc::default, |before| Arc::clone(&before.book)),
        })
    }

    /// Whether the same keys are there.
    pub(super) fn has_same_keys(&self, other: &Self) -> bool {
        std::ptr::eq(self, other) || {
            let here = lock(&self.known);
            here.keys == lock(&other.known).keys
        }
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        lock(&self.known).keys.len()
    }

    /// Reads the file again when it changed; a bad one keeps the keys there were. Says whether there
    /// are others now.
    pub(super) fn refresh(&self) -> bool {
        let mut known = lock(&self.known);
        let stamp = Stamp::read(&self.path);
        if stamp == known.stamp {
            return false;
        }
        known.stamp = stamp;
        let (keys, warning, stamp) = match StreamKeys::read_stamped(&self.path) {
            Ok(read) => read,
            Err(e) => {
                tracing::error!(code = "keys", "the stream keys stay as they were: {e}");
                return false;
            }
        };
        if let Some(warning) = warning {
            tracing::warn!(code = "keys", "{warning}");
        }
        tracing::info!(
            code = "keys",
            keys = keys.len(),
            "read {} again",
            self.path.display()
        );
        known.stamp = Some(stamp);
        known.keys = keys;
        true
    }

    /// The key that a name is, if it publishes in this application. Its public name may begin with an
    /// alias; what is given back does not.
    pub(super) fn find(&self, (app, of): App<'_>, name: &str) -> Option<StreamKey> {
        let known = lock(&self.known);
        let mut key = known.keys.find(name)?.clone();
        key.stream = of.meant(&key.stream);
        (key.stream.app() == app).then_some(key)
    }

    /// Whether a key publishes in this application.
    fn serves(&self, (app, of): App<'_>, wall_ms: u64) -> bool {
        let known = lock(&self.known);
        let mut keys = known.keys.iter();
        keys.any(|key| key.is_good(wall_ms) && of.meant(&key.stream).app() == app)
    }

    /// Whether an encoder that shows no login is connected all the same, as it may have a key. Encoders
    /// log in only after they were refused, and those with a key give up when they are: where one logged
    /// in before, the next is asked to, once. `asked` says that it wants to be taken for one with a key.
    pub(super) fn lets_in(&self, app: App<'_>, from: IpAddr, asked: bool, now: Seen) -> bool {
        let logs_in = || lock(&self.book).take_login(from, now.at);
        self.serves(app, now.wall_ms) && (asked || !logs_in())
    }

    /// An encoder logged in, or would have had to.
    pub(super) fn note_login(&self, from: IpAddr, now: Instant) {
        lock(&self.book).note_login(from, now);
    }

    /// A right key came.
    pub(super) fn succeeded(&self, from: IpAddr) {
        let mut book = lock(&self.book);
        book.log_in.remove(&site(from));
        book.failures.succeeded(from, "");
    }

    /// What was no key came; how many of them there were from there of late. Nobody is kept waiting for
    /// that: 130 bits are not guessed, and the right encoder may be behind the same address.
    pub(super) fn failed(&self, from: IpAddr, now: Instant) -> u32 {
        lock(&self.book).failures.failed(from, "", now).1
    }
}

/// An application, one of these.
pub(super) type App<'a> = (&'a str, &'a Applications);

/// Now, by both clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    pub(super) at: Instant,
    /// Unix time.
    pub(super) wall_ms: u64,
}

impl Book {
    fn note_login(&mut self, from: IpAddr, now: Instant) {
        let from = site(from);
        if !self.log_in.contains_key(&from) && self.log_in.len() >= MAX_LOGIN_SITES {
            let oldest = self.log_in.iter().min_by_key(|(_, at)| **at);
            if let Some(oldest) = oldest.map(|(from, _)| *from) {
                self.log_in.remove(&oldest);
            }
        }
        self.log_in.insert(from, now);
    }

    /// Whether an encoder logged in there of late; it is forgotten unless it does again.
    fn take_login(&mut self, from: IpAddr, now: Instant) -> bool {
        let at = self.log_in.remove(&site(from));
        at.is_some_and(|at| now.saturating_duration_since(at) < LOGIN_MEMORY)
    }
}

/// By what right somebody publishes.
pub enum Grant {
    /// A login or its address: under the name that it gave.
    Named,
    /// A stream key: under the name that is the key's.
    Key {
        /// The key.
        key: KeyGrant,
        /// What it publishes.
        stream: StreamName,
    },
}

/// A key that was right.
pub struct KeyGrant {
    /// What the operator calls it.
    pub label: Arc<str>,
    pub(super) verifier: Verifier,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change is complete before anything that could panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::time::Duration;

    use super::super::stream_keys::verifier;
    use super::*;

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 9));

    fn line(label: &str, key: &str) -> String {
        let hex: String = verifier(key).iter().map(|b| format!("{b:02x}")).collect();
        format!("{label} live/event sha256:{hex}\n")
    }

    #[test]
    fn a_file_that_changes_is_read_again_and_a_bad_one_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys");
        std::fs::write(&path, line("a", "sk_one")).unwrap();
        let keys = Keys::open(&path, None).unwrap();
        let holders = Holders::default();
        let told = Arc::new(AtomicUsize::new(0));
        let tell = || -> Box<dyn Fn() + Send + Sync> {
            let told = Arc::clone(&told);
            Box::new(move || {
                told.fetch_add(1, Ordering::Relaxed);
            })
        };
        let one = holders.hold(verifier("sk_one"), tell());
        assert!(
            !keys.refresh()
                && keys
                    .find(("live", &Applications::default()), "sk_one")
                    .is_some()
        );
        assert!(
            keys.find(("vod", &Applications::default()), "sk_one")
                .is_none(),
            "of another application"
        );
        std::fs::write(&path, "nonsense\n").unwrap();
        assert!(!keys.refresh() && !keys.refresh());
        std::fs::write(&path, line("a", "sk_one") + &line("b", "sk_two")).unwrap();
        assert!(keys.refresh());
        holders.settle(Some(&keys));
        let two = holders.hold(verifier("sk_two"), tell());
        assert!(!one.is_revoked() && told.load(Ordering::Relaxed) == 0);
        std::fs::write(&path, line("b", "sk_two")).unwrap();
        assert!(keys.refresh());
        holders.settle(Some(&keys));
        holders.settle(Some(&keys));
        assert!(one.is_revoked() && !two.is_revoked());
        assert_eq!(told.load(Ordering::Relaxed), 1, "told once");
        drop(one);
        holders.settle(None);
        assert!(two.is_revoked());
    }

    #[test]
    fn where_encoders_log_in_the_next_is_asked_to_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys");
        std::fs::write(&path, line("a", "sk_one")).unwrap();
        let keys = Keys::open(&path, None).unwrap();
        let seen = Seen {
            at: Instant::now(),
            wall_ms: 0,
        };
        let lets_in = |app: &str, asked: bool| {
            keys.lets_in((app, &Applications::default()), PEER, asked, seen)
        };
        assert!(lets_in("live", false) && !lets_in("vod", true));
        keys.note_login(PEER, seen.at);
        assert!(
            lets_in("live", true),
            "who says that it has a key is let in"
        );
        assert!(!lets_in("live", false) && lets_in("live", false));
        keys.note_login(PEER, seen.at);
        keys.succeeded(PEER);
        assert!(lets_in("live", false), "a key came from there since");
        keys.note_login(PEER, seen.at);
        let later = Seen {
            at: seen.at + LOGIN_MEMORY,
            ..seen
        };
        assert!(
            keys.lets_in(("live", &Applications::default()), PEER, false, later),
            "long ago"
        );
        for n in 0..=MAX_LOGIN_SITES {
            let n = u32::try_from(n).unwrap();
            let at = seen.at + Duration::from_millis(n.into());
            keys.note_login(IpAddr::V4((0x0a00_0000 + n).into()), at);
        }
        assert_eq!(lock(&keys.book).log_in.len(), MAX_LOGIN_SITES);
        assert_eq!(keys.failed(PEER, seen.at), 1);
        assert_eq!(keys.failed(PEER, seen.at), 2);
    }
}
