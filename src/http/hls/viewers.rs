//! Who watches a stream over HLS: whoever reads its playlist again and again.
//!
//! The multivariant playlist gives each viewer a token, which comes back with the media playlist's
//! address. A viewer that was sent here by another mirror brings that one's. Whoever has none is
//! known by its address.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::cluster::{Cluster, Place, Refused, Via};
use crate::limits::{HLS_VIEWER_SILENCE, MAX_HLS_VIEWERS};
use crate::media::StreamName;
use crate::net::{Totals, ViewerNow, ViewerState, Watched};
use crate::relay::{Protocol, Stream, Viewing};
use crate::system::random;
use crate::telemetry::metrics::Metrics;

/// One viewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Key {
    Token(u64),
    Address(IpAddr),
}

impl Key {
    /// A new token.
    pub(super) fn new() -> Option<Self> {
        random()
            .ok()
            .map(|bytes| Self::Token(u64::from_be_bytes(bytes)))
    }

    /// By the query of a media playlist's address.
    pub(super) fn of(query: Option<&str>, peer: IpAddr) -> Self {
        let mut pairs = query.unwrap_or_default().split('&');
        let token = pairs.find_map(|pair| pair.strip_prefix("s="));
        let token = token.filter(|t| t.len() == 16);
        match token.and_then(|t| u64::from_str_radix(t, 16).ok()) {
            Some(token) => Self::Token(token),
            None => Self::Address(peer.to_canonical()),
        }
    }

    /// What to put behind the media playlist's address.
    pub(super) fn query(self) -> String {
        match self {
            Self::Token(token) => format!("?s={token:016x}"),
            Self::Address(_) => String::new(),
        }
    }
}

/// The process's count of viewers.
#[derive(Debug, Clone)]
pub(super) struct Counters {
    pub(super) all: Arc<AtomicUsize>,
    pub(super) metrics: Arc<Metrics>,
}

/// A request for the playlist.
pub(super) struct Visit {
    pub(super) key: Key,
    pub(super) peer: SocketAddr,
    pub(super) via: Via,
    pub(super) now: Instant,
}

/// A counted viewer; what it holds is given back when it is dropped.
struct Viewer {
    /// As connections have one.
    number: u64,
    /// Where it came from last.
    peer: SocketAddr,
    since: Instant,
    seen: Instant,
    _viewing: Viewing,
    _place: Place,
    _counted: Counted,
}

struct Counted(Counters);

impl Counted {
    fn new(counters: Counters) -> Self {
        counters.all.fetch_add(1, Ordering::Relaxed);
        counters.metrics.viewers(Protocol::Hls).inc();
        counters.metrics.hls.joins.inc();
        Self(counters)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.all.fetch_sub(1, Ordering::Relaxed);
        self.0.metrics.viewers(Protocol::Hls).dec();
    }
}

/// The viewers of one stream.
pub(super) struct Viewers {
    counters: Counters,
    list: HashMap<Key, Viewer>,
}

impl Viewers {
    pub(super) fn new(counters: Counters) -> Self {
        Self {
            counters,
            list: HashMap::new(),
        }
    }

    /// A viewer read the playlist.
    ///
    /// # Errors
    /// It is a new one, and the server takes none.
    pub(super) fn saw(
        &mut self,
        visit: Visit,
        stream: &Arc<Stream>,
        cluster: &Cluster,
        number: impl FnOnce() -> u64,
    ) -> Result<(), Refused> {
        let Visit {
            key,
            peer,
            via,
            now,
        } = visit;
        if let Some(viewer) = self.list.get_mut(&key) {
            viewer.seen = now;
            viewer.peer = peer;
            return Ok(());
        }
        if self.counters.all.load(Ordering::Relaxed) >= MAX_HLS_VIEWERS {
            return cluster.would_admit(via);
        }
        let place = cluster.admit(stream.info(now).kbit_per_second, via)?;
        self.list.insert(
            key,
            Viewer {
                number: number(),
                peer,
                since: now,
                seen: now,
                _viewing: stream.viewing(Protocol::Hls),
                _place: place,
                _counted: Counted::new(self.counters.clone()),
            },
        );
        Ok(())
    }

    /// Forgets those who have gone. `longest` is how long a segment may be: no player is silent for
    /// longer than a few of them.
    pub(super) fn tick(&mut self, longest: Duration, now: Instant) {
        let silence = HLS_VIEWER_SILENCE.max(longest.saturating_mul(3));
        self.list
            .retain(|_, viewer| now.saturating_duration_since(viewer.seen) < silence);
    }

    /// Who watches. What each of them was sent is not known: segments are the same for all.
    pub(super) fn now(&self, stream: &StreamName) -> impl Iterator<Item = ViewerNow> {
        self.list.values().map(|viewer| ViewerNow {
            id: viewer.number,
            peer: viewer.peer,
            what: Watched::Stream(stream.clone()),
            watching: Protocol::Hls,
            since: viewer.since,
            state: ViewerState::Playing,
            totals: Totals::default(),
            lag_frames: 0,
            lag_ms: 0,
        })
    }

    /// Nobody watches any more.
    pub(super) fn clear(&mut self) {
        self.list.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_back_as_it_went() {
        let peer: IpAddr = "::ffff:192.0.2.1".parse().unwrap();
        for token in [0, 1, u64::MAX] {
            let key = Key::Token(token);
            let query = key.query();
            assert_eq!(Key::of(query.strip_prefix('?'), peer), key);
            let more = format!("x=y&{}&z", query.trim_start_matches('?'));
            assert_eq!(Key::of(Some(&more), peer), key);
        }
        let address = Key::Address("192.0.2.1".parse().unwrap());
        for query in [
            None,
            Some(""),
            Some("s="),
            Some("s=12"),
            Some("s=xxxxxxxxxxxxxxxx"),
        ] {
            assert_eq!(Key::of(query, peer), address, "{query:?}");
        }
    }
}
