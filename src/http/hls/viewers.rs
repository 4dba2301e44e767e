//! Who watches a stream over HLS: whoever reads its playlist again and again.
//!
//! The multivariant playlist gives each viewer a token, which comes back with the media playlist's
//! address. A viewer that was sent here by another mirror brings that one's. Whoever has none is
//! known by its address.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::cluster::address::is_public;
use crate::cluster::{Cluster, Place, Refused, Via};
use crate::limits::{HLS_VIEWER_SILENCE, MAX_HLS_TOKENS, MAX_HLS_VIEWERS};
use crate::media::StreamName;
use crate::net::{Totals, ViewerNow, ViewerState, Watched, owner};
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
    /// Where it came from first, as [`Viewers::owners`] has it.
    owner: IpAddr,
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
    /// How many of them each site has; none has 0.
    owners: HashMap<IpAddr, usize>,
}

impl Viewers {
    pub(super) fn new(counters: Counters) -> Self {
        Self {
            counters,
            list: HashMap::new(),
            owners: HashMap::new(),
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
            mut key,
            peer,
            via,
            now,
        } = visit;
        if !self.list.contains_key(&key) && self.has_many(peer.ip()) {
            key = Key::Address(peer.ip().to_canonical());
        }
        if let Some(viewer) = self.list.get_mut(&key) {
            viewer.seen = now;
            viewer.peer = peer;
            return Ok(());
        }
        if self.counters.all.load(Ordering::Relaxed) >= MAX_HLS_VIEWERS {
            return cluster.would_admit(via);
        }
        let place = cluster.admit(stream.info(now).kbit_per_second, via)?;
        let owner = owner(peer.ip());
        let of_it = self.owners.entry(owner).or_default();
        *of_it = of_it.saturating_add(1);
        self.list.insert(
            key,
            Viewer {
                number: number(),
                peer,
                owner,
                since: now,
                seen: now,
                _viewing: stream.viewing(Protocol::Hls),
                _place: place,
                _counted: Counted::new(self.counters.clone()),
            },
        );
        Ok(())
    }

    /// Whether no more viewers of this address are told apart. Behind a private one is a proxy of the
    /// operator's, with everybody.
    fn has_many(&self, ip: IpAddr) -> bool {
        let of_it = self.owners.get(&owner(ip)).copied();
        is_public(ip) && of_it.unwrap_or_default() >= MAX_HLS_TOKENS
    }

    /// Forgets those who have gone. `longest` is how long a segment may be: no player is silent for
    /// longer than a few of them.
    pub(super) fn tick(&mut self, longest: Duration, now: Instant) {
        let silence = HLS_VIEWER_SILENCE.max(longest.saturating_mul(3));
        let owners = &mut self.owners;
        self.list.retain(|_, viewer| {
            let stays = now.saturating_duration_since(viewer.seen) < silence;
            if !stays && let Entry::Occupied(mut of_it) = owners.entry(viewer.owner) {
                *of_it.get_mut() = of_it.get().saturating_sub(1);
                if *of_it.get() == 0 {
                    of_it.remove();
                }
            }
            stays
        });
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
        self.owners.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::{Claim, Hub, HubConfig};

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

    #[test]
    fn made_up_tokens_take_few_places() {
        let now = Instant::now();
        let hub = Hub::new(HubConfig::default());
        let name = StreamName::new("live", "x").unwrap();
        let publisher = hub.publish(&name, Claim::of_a_test(1), now, 0).unwrap();
        let cluster = Cluster::new("c".repeat(32), false, now);
        let all = Arc::new(AtomicUsize::new(0));
        let metrics = Arc::new(Metrics::of(&hub));
        let mut viewers = Viewers::new(Counters {
            all: Arc::clone(&all),
            metrics,
        });
        let mut come = |ip: &str, tokens: std::ops::Range<u64>| {
            for token in tokens {
                let visit = Visit {
                    key: Key::Token(token),
                    peer: SocketAddr::new(ip.parse().unwrap(), 1),
                    via: Via::Http,
                    now,
                };
                let taken = viewers.saw(visit, publisher.stream(), &cluster, || token);
                assert!(taken.is_ok());
            }
            all.load(Ordering::Relaxed)
        };
        let most = MAX_HLS_TOKENS;
        assert_eq!(come("203.0.113.5", 0..1000), most + 1);
        // Those who are known stay what they are, and others have their own.
        assert_eq!(come("203.0.113.5", 0..10), most + 1);
        assert_eq!(come("203.0.113.6", 1000..1010), most + 11);
        // One site has a whole /64.
        assert_eq!(come("2001:db8::1", 2000..2040), most + 51);
        assert_eq!(come("2001:db8::2", 3000..3040), 2 * most + 12);
        // Behind a proxy of one's own is everybody.
        assert_eq!(come("10.0.0.1", 5000..5100), 2 * most + 112);
        // Whoever goes on elsewhere leaves no room for more where it began.
        assert_eq!(come("203.0.113.9", 0..64), 2 * most + 112);
        assert_eq!(come("203.0.113.5", 6000..6100), 2 * most + 112);
    }
}
