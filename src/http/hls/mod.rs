//! HLS: who asks for a stream's segments sets its packaging going, once for all who ask.
//!
//! [`Live`] is one stream's packaging: a task on the shard of whoever asked first, which follows the
//! log as a viewer does, and what it has made. It begins with what the log still holds, so that the
//! first playlist comes at once, and ends [`HLS_IDLE`] after the last request.

mod answer;
mod packaging;
mod viewers;

use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::time::timeout_at;

pub(super) use self::answer::{Request, answer, asked, preflight, refuse};
use self::viewers::{Counters, Viewers};
use crate::bridge::NoSegment;
use crate::hls::{Bounds, Window};
use crate::limits::{HLS_BYTES, HLS_GRACE_SEGMENTS};
use crate::media::StreamName;
use crate::net::{Shard, ViewerNow, Wanted};
use crate::relay::{Hub, Stream};
use crate::telemetry::metrics::Metrics;

/// What the configuration says of HLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HlsConfig {
    /// Whether there is any.
    pub enabled: bool,
    /// Segments that a playlist names.
    pub window: usize,
}

/// HLS of all streams. One to a process.
pub struct Hls {
    hub: Arc<Hub>,
    config: Mutex<HlsConfig>,
    streams: Mutex<HashMap<StreamName, Arc<Live>>>,
    counters: Counters,
}

impl fmt::Debug for Hls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hls({} streams)", lock(&self.streams).len())
    }
}

impl Hls {
    /// Of the streams of a hub.
    #[must_use]
    pub fn new(hub: &Arc<Hub>, metrics: &Arc<Metrics>, config: HlsConfig) -> Arc<Self> {
        Arc::new(Self {
            hub: Arc::clone(hub),
            config: Mutex::new(config),
            streams: Mutex::default(),
            counters: Counters {
                all: Arc::default(),
                metrics: Arc::clone(metrics),
            },
        })
    }

    /// Another configuration: for packaging that begins from now on.
    pub fn set_config(&self, config: HlsConfig) {
        *lock(&self.config) = config;
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> HlsConfig {
        *lock(&self.config)
    }

    /// The packaging of a stream, begun now when there is none; `None` when there is no such stream
    /// (and none was asked for a moment ago).
    fn live(self: &Arc<Self>, shard: &Rc<Shard>, name: &StreamName) -> Option<Arc<Live>> {
        let stream = self.hub.get(name);
        let mut streams = lock(&self.streams);
        let there = streams.get(name).filter(|live| {
            let same = |stream: &Arc<Stream>| Arc::ptr_eq(stream, &live.stream);
            stream.as_ref().is_none_or(same)
        });
        if let Some(live) = there {
            live.lock().asked = Instant::now();
            return Some(Arc::clone(live));
        }
        let live = Arc::new(Live::new(stream?, self.config(), self.counters.clone()));
        streams.insert(name.clone(), Arc::clone(&live));
        drop(streams);
        packaging::begin(Arc::clone(self), shard, Arc::clone(&live));
        Some(live)
    }

    /// Who watches over HLS, with the numbers of connections though they are none.
    #[must_use]
    pub fn viewers(&self, wanted: &Wanted) -> Vec<ViewerNow> {
        let lives: Vec<Arc<Live>> = lock(&self.streams).values().cloned().collect();
        let mut found = Vec::new();
        for live in lives {
            let name = live.stream.name();
            if wanted.stream.as_ref().is_some_and(|of| of != name) {
                continue;
            }
            let state = live.lock();
            found.extend(state.viewers.now(name).filter(|row| row.id > wanted.after));
        }
        found.sort_by_key(|row| row.id);
        found.truncate(wanted.limit);
        found
    }

    fn forget(&self, live: &Arc<Live>) {
        let mut streams = lock(&self.streams);
        let name = live.stream.name();
        if streams.get(name).is_some_and(|l| Arc::ptr_eq(l, live)) {
            streams.remove(name);
        }
    }
}

/// One stream's packaging.
struct Live {
    stream: Arc<Stream>,
    state: Mutex<State>,
    changed: Notify,
}

/// What has been made so far.
struct State {
    window: Window,
    /// All that the log held at the beginning was looked at.
    caught_up: bool,
    /// No more will come.
    over: bool,
    /// Why the last segment was none.
    trouble: Option<NoSegment>,
    asked: Instant,
    viewers: Viewers,
}

impl Live {
    fn new(stream: Arc<Stream>, config: HlsConfig, counters: Counters) -> Self {
        let bounds = Bounds {
            listed: config.window,
            grace: HLS_GRACE_SEGMENTS,
            bytes: HLS_BYTES,
        };
        Self {
            stream,
            state: Mutex::new(State {
                window: Window::new(bounds),
                caught_up: false,
                over: false,
                trouble: None,
                asked: Instant::now(),
                viewers: Viewers::new(counters),
            }),
            changed: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// What `look` finds, as soon as it finds something, or within that time.
    async fn until<T>(
        &self,
        within: Duration,
        mut look: impl FnMut(&State) -> Option<T>,
    ) -> Option<T> {
        let now = Instant::now();
        let deadline = now.checked_add(within).unwrap_or(now);
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable(); // before the look: what changes from here on is noticed
            if let Some(found) = look(&self.lock()) {
                return Some(found);
            }
            timeout_at(deadline.into(), changed).await.ok()?;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
