//! All streams of the process.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::media::StreamName;

use super::publisher::Publisher;
use super::stats::StreamInfo;
use super::stream::Stream;
use super::takeover::{Holder, displaces};
use super::{Claim, HubConfig, PublishError, State, Wake, lock};

/// Who wants to know that the set of streams, a state or an epoch changed.
#[derive(Default)]
pub(super) struct Changes {
    version: AtomicU64,
    watchers: Mutex<Vec<(u64, Arc<dyn Wake>)>>,
    ids: AtomicU64,
}

impl Changes {
    /// Never called with a stream's lock held.
    pub(super) fn bump(&self) {
        self.version.fetch_add(1, Ordering::AcqRel);
        for (_, waker) in lock(&self.watchers).iter() {
            waker.wake();
        }
    }
}

/// Woken on changes for as long as it is kept.
pub struct Watch {
    changes: Arc<Changes>,
    id: u64,
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Watch({})", self.id)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        lock(&self.changes.watchers).retain(|(id, _)| *id != self.id);
    }
}

/// The streams, by name. One to a process.
///
/// Locks are taken in the order hub, stream, and none is held while somebody is woken but the
/// watchers' own: a [`Wake`] must not call into the relay.
pub struct Hub {
    config: Mutex<HubConfig>,
    streams: Mutex<HashMap<StreamName, Arc<Stream>>>,
    changes: Arc<Changes>,
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hub({} streams)", lock(&self.streams).len())
    }
}

impl Hub {
    /// A hub without streams.
    #[must_use]
    pub fn new(config: HubConfig) -> Arc<Self> {
        Arc::new(Self {
            config: Mutex::new(config),
            streams: Mutex::default(),
            changes: Arc::default(),
        })
    }

    /// Replaces the configuration. The bounds of logs that are there follow with the next
    /// [`Hub::tick`] and frame.
    pub fn set_config(&self, config: HubConfig) {
        *lock(&self.config) = config;
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> HubConfig {
        *lock(&self.config)
    }

    /// Takes a stream for writing, and makes it when it is not there. `wall_ms` is the Unix time.
    ///
    /// # Errors
    /// [`PublishError::Busy`] when it has a publisher that the takeover rule protects,
    /// [`PublishError::TooManyStreams`].
    pub fn publish(
        self: &Arc<Self>,
        name: &StreamName,
        claim: Claim,
        now: Instant,
        wall_ms: u64,
    ) -> Result<Publisher, PublishError> {
        let config = self.config();
        let (stream, token, displaced) = {
            let mut streams = lock(&self.streams);
            let stream = match streams.get(name) {
                Some(stream) => Arc::clone(stream),
                None if streams.len() >= config.max_streams => {
                    return Err(PublishError::TooManyStreams);
                }
                None => {
                    let changes = Arc::clone(&self.changes);
                    let stream = Arc::new(Stream::new(name.clone(), &config, changes, now));
                    streams.insert(name.clone(), Arc::clone(&stream));
                    stream
                }
            };
            let mut inner = stream.lock();
            if let Some(owner) = &inner.owner {
                let holder = Holder {
                    identity: owner.identity.as_deref(),
                    heard: owner.heard,
                };
                let claimant = claim.identity.as_deref();
                if !displaces(config.takeover, config.silent_after, holder, claimant, now) {
                    return Err(PublishError::Busy);
                }
            }
            let (token, displaced) = inner.take(claim, now);
            drop(inner);
            (stream, token, displaced)
        };
        if let Some(owner) = displaced {
            owner.displaced.wake();
        }
        self.changes.bump();
        Ok(Publisher::new(
            Arc::clone(self),
            stream,
            token,
            (now, wall_ms),
        ))
    }

    /// A stream that is live or waits.
    #[must_use]
    pub fn get(&self, name: &StreamName) -> Option<Arc<Stream>> {
        lock(&self.streams).get(name).map(Arc::clone)
    }

    /// Who stood in the way of a [`Hub::publish`] that was refused, for the log: the source of the stream's
    /// publisher, or `-` where nobody did.
    #[must_use]
    pub fn holder(&self, name: &StreamName, error: PublishError, now: Instant) -> String {
        let stream = match error {
            PublishError::Busy => self.get(name),
            PublishError::TooManyStreams => None,
        };
        stream.map_or_else(|| "-".to_owned(), |stream| stream.info(now).source)
    }

    /// All streams that are live or wait, in no order.
    #[must_use]
    pub fn streams(&self) -> Vec<Arc<Stream>> {
        lock(&self.streams).values().map(Arc::clone).collect()
    }

    /// Figures of all streams, by name.
    #[must_use]
    pub fn list(&self, now: Instant) -> Vec<StreamInfo> {
        let mut list: Vec<_> = self.streams().iter().map(|s| s.info(now)).collect();
        list.sort_by(|a, b| a.name.cmp(&b.name));
        list
    }

    /// Goes up with each change of the set of streams, of a state or of an epoch.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.changes.version.load(Ordering::Acquire)
    }

    /// Wakes `waker` whenever [`Hub::version`] went up, until the answer is dropped.
    #[must_use]
    pub fn watch(&self, waker: Arc<dyn Wake>) -> Watch {
        let id = self.changes.ids.fetch_add(1, Ordering::Relaxed);
        lock(&self.changes.watchers).push((id, waker));
        Watch {
            changes: Arc::clone(&self.changes),
            id,
        }
    }

    /// Ends a stream for its viewers, and for its publisher if it has one.
    pub fn end(&self, name: &StreamName) {
        if let Some(stream) = self.get(name) {
            self.remove(&stream);
        }
    }

    /// To be called once a second: ends streams that waited long enough, and shows the viewers of
    /// the others that wait what `notice` makes of the time waited so far. Gives the names of those
    /// that ended.
    pub fn tick(
        &self,
        now: Instant,
        notice: &dyn Fn(&Stream, Duration) -> Option<Bytes>,
    ) -> Vec<StreamName> {
        let config = self.config();
        let mut ended = Vec::new();
        for stream in self.streams() {
            let Some((waited, over)) = stream.lock().waited(&config, now) else {
                continue;
            };
            if over {
                if self.end_waiting(&stream) {
                    ended.push(stream.name().clone());
                }
            } else if let Some(payload) = notice(&stream, waited) {
                stream.notify(payload);
            }
        }
        ended
    }

    /// Ends a stream unless a publisher came meanwhile: publishing needs the same lock.
    fn end_waiting(&self, stream: &Arc<Stream>) -> bool {
        let mut streams = lock(&self.streams);
        let waits = matches!(stream.state(), State::Waiting { .. });
        if waits {
            streams.remove(stream.name());
            drop(streams);
            self.over(stream);
        }
        waits
    }

    /// Ends a stream in any state.
    pub(super) fn remove(&self, stream: &Arc<Stream>) {
        {
            let mut streams = lock(&self.streams);
            let held = streams.get(stream.name());
            if held.is_some_and(|held| Arc::ptr_eq(held, stream)) {
                streams.remove(stream.name());
            }
        }
        self.over(stream);
    }

    fn over(&self, stream: &Arc<Stream>) {
        stream.end();
        self.changes.bump();
    }
}
