//! The connections of one shard, for whoever asks who is there.
//!
//! A connection enters when it begins and leaves when it ends. Nothing here is on the way of a frame:
//! what a connection plays and how far it is behind is read from its [`Outlet`] when somebody asks,
//! on the shard's own thread, a few hundred connections at a time.

use std::cell::RefCell;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tokio::task::yield_now;

use super::bell::Bell;
use super::outlet::{Outlet, Totals, Wish};
use super::player::Player;
use super::shards::Shard;
use crate::media::StreamName;
use crate::relay::{Protocol as Watching, Wake};

/// Connections that are looked at before the others of the shard get their turn.
const SLICE: usize = 256;

/// The numbers of all connections of a process; its shards draw from the same.
pub(super) type Numbers = Arc<AtomicU64>;

/// Who is connected to one shard.
#[derive(Debug)]
pub(super) struct Registry {
    numbers: Numbers,
    places: RefCell<Places>,
}

/// Places that keep their index for as long as they are taken.
#[derive(Debug, Default)]
struct Places {
    entries: Vec<Option<Entry>>,
    free: Vec<u32>,
}

/// One connection. There may be tens of thousands: see the test of its size.
#[derive(Debug)]
struct Entry {
    id: u64,
    /// None for a source that has no connection, such as one of datagrams.
    outlet: Option<Rc<Outlet>>,
    ip: IpAddr,
    port: u16,
    /// What it publishes, and which files it plays; nothing for a viewer of what is live.
    does: Option<Box<Does>>,
}

/// What one connection does beside watching what is live.
#[derive(Debug, Default)]
struct Does {
    encoder: Box<str>,
    /// What it publishes, by message stream.
    streams: Vec<(u32, StreamName)>,
    /// The files that it plays, by message stream, and since when.
    files: Vec<(u32, Box<str>, Instant)>,
    /// Rung when a source without a connection is to end.
    kicked: Option<Arc<Bell>>,
}

/// What a viewer watches.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Watched {
    /// What is live.
    Stream(StreamName),
    /// A media file.
    File(Box<str>),
}

impl fmt::Display for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stream(name) => name.fmt(f),
            Self::File(name) => f.write_str(name),
        }
    }
}

/// One stream that a connection plays, at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewerNow {
    /// The connection's number; it plays several streams when there are several of the same number.
    pub id: u64,
    /// Its address.
    pub peer: SocketAddr,
    /// What it plays.
    pub what: Watched,
    /// How.
    pub watching: Watching,
    /// When it asked for the stream.
    pub since: Instant,
    /// How it does.
    pub state: ViewerState,
    /// What was sent to the connection so far.
    pub totals: Totals,
    /// Frames that the stream has and that were not given to the socket yet.
    pub lag_frames: u64,
    /// How far the next of them is behind the newest, ms.
    pub lag_ms: u64,
}

/// How a viewer does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ViewerState {
    /// It gets frames as they come.
    Playing,
    /// It waits for a key frame to begin, or to go on, with.
    Waiting,
    /// It asked for a pause.
    Paused,
    /// Its socket is full: it reads slower than the stream runs.
    Slow,
}

/// One stream that a connection publishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublisherNow {
    /// The connection's number.
    pub id: u64,
    /// Its address.
    pub peer: SocketAddr,
    /// What it publishes.
    pub stream: StreamName,
    /// What the encoder calls itself.
    pub encoder: Box<str>,
}

/// A connection that was told to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KickedNow {
    /// Its number.
    pub id: u64,
    /// Its address.
    pub peer: SocketAddr,
    /// What it published.
    pub published: Vec<StreamName>,
    /// What it played.
    pub played: Vec<Watched>,
}

/// Whom to kick.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The connection of this number.
    Connection(u64),
    /// Whoever publishes this stream.
    Publisher(StreamName),
}

/// Which viewers are wanted.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Of this stream alone.
    pub stream: Option<StreamName>,
    /// Those with higher numbers than this.
    pub after: u64,
    /// So many connections at most, those with the lowest numbers.
    pub limit: usize,
}

/// Keeps a connection in the registry of its shard.
#[derive(Debug)]
pub struct Registered {
    shard: Rc<Shard>,
    place: u32,
}

impl Registry {
    pub(super) fn new(numbers: Numbers) -> Self {
        Self {
            numbers,
            places: RefCell::default(),
        }
    }

    fn number(&self) -> u64 {
        let before = self.numbers.fetch_add(1, Ordering::Relaxed);
        before.saturating_add(1)
    }

    fn enter(&self, outlet: Option<Rc<Outlet>>, peer: SocketAddr, does: Option<Box<Does>>) -> u32 {
        let mut places = self.places.borrow_mut();
        let entry = Some(Entry {
            id: self.number(),
            outlet,
            ip: peer.ip(),
            port: peer.port(),
            does,
        });
        if let Some(place) = places.free.pop()
            && let Some(free) = places.entries.get_mut(place as usize)
        {
            *free = entry;
            return place;
        }
        places.entries.push(entry);
        u32::try_from(places.entries.len().saturating_sub(1)).unwrap_or(u32::MAX)
    }

    fn leave(&self, place: u32) {
        let mut places = self.places.borrow_mut();
        if let Some(taken) = places.entries.get_mut(place as usize)
            && taken.take().is_some()
        {
            places.free.push(place);
        }
    }

    fn with<T>(&self, place: u32, what: impl FnOnce(&mut Entry) -> T) -> Option<T> {
        let mut places = self.places.borrow_mut();
        let entry = places.entries.get_mut(place as usize)?.as_mut()?;
        Some(what(entry))
    }

    /// Shows all entries to `what`, a slice at a time.
    async fn each(&self, mut what: impl FnMut(u32, &Entry)) {
        let mut next = 0_usize;
        loop {
            {
                let places = self.places.borrow();
                let rest = places.entries.iter().enumerate().skip(next).take(SLICE);
                for (place, entry) in rest {
                    if let (Ok(place), Some(entry)) = (u32::try_from(place), entry) {
                        what(place, entry);
                    }
                }
                next = next.saturating_add(SLICE);
                if next >= places.entries.len() {
                    return;
                }
            }
            yield_now().await;
        }
    }
}

impl Entry {
    fn peer(&self) -> SocketAddr {
        SocketAddr::new(self.ip, self.port)
    }

    fn published(&self) -> impl Iterator<Item = &StreamName> {
        let all = self.does.iter().flat_map(|does| does.streams.iter());
        all.map(|(_, name)| name)
    }

    /// A row for each stream that it plays, of the wanted one alone.
    fn viewers(&self, stream: Option<&StreamName>, mut row: impl FnMut(ViewerNow)) {
        let Some(outlet) = &self.outlet else { return };
        let slow = outlet.is_slow();
        let totals = outlet.totals();
        outlet.each_player(|player: &Player| {
            let now = player.now();
            if stream.is_some_and(|wanted| *wanted != now.stream) {
                return;
            }
            row(ViewerNow {
                id: self.id,
                peer: self.peer(),
                what: Watched::Stream(now.stream),
                watching: now.watching,
                since: now.asked,
                state: match (player.paused, now.waits, slow) {
                    (true, ..) => ViewerState::Paused,
                    (_, true, _) => ViewerState::Waiting,
                    (_, _, true) => ViewerState::Slow,
                    _ => ViewerState::Playing,
                },
                totals,
                lag_frames: now.lag_frames,
                lag_ms: now.lag_ms,
            });
        });
        if stream.is_some() {
            return;
        }
        for (_, name, since) in self.does.iter().flat_map(|does| &does.files) {
            row(ViewerNow {
                id: self.id,
                peer: self.peer(),
                what: Watched::File(name.clone()),
                watching: Watching::Rtmp,
                since: *since,
                state: if slow {
                    ViewerState::Slow
                } else {
                    ViewerState::Playing
                },
                totals,
                lag_frames: 0,
                lag_ms: 0,
            });
        }
    }

    fn kick(&self) -> KickedNow {
        let mut played = Vec::new();
        self.viewers(None, |viewer| played.push(viewer.what));
        if let Some(outlet) = &self.outlet {
            outlet.wish(Wish::Kick);
        }
        if let Some(bell) = self.does.as_ref().and_then(|does| does.kicked.as_ref()) {
            bell.wake();
        }
        KickedNow {
            id: self.id,
            peer: self.peer(),
            published: self.published().cloned().collect(),
            played,
        }
    }
}

impl Shard {
    /// A number as connections have one, for a viewer that is none.
    #[must_use]
    pub fn new_number(&self) -> u64 {
        self.registry().number()
    }

    /// The viewers of this shard, by number.
    pub async fn viewers(&self, wanted: Wanted) -> Vec<ViewerNow> {
        let registry = self.registry();
        let stream = wanted.stream.as_ref();
        let mut found: Vec<(u64, u32)> = Vec::new();
        registry
            .each(|place, entry| {
                let mut any = false;
                if entry.id > wanted.after {
                    entry.viewers(stream, |_| any = true);
                }
                if any {
                    found.push((entry.id, place));
                    if found.len() > wanted.limit.saturating_mul(2).max(SLICE) {
                        found.sort_unstable();
                        found.truncate(wanted.limit);
                    }
                }
            })
            .await;
        found.sort_unstable();
        found.truncate(wanted.limit);
        let mut rows = Vec::new();
        for (id, place) in found {
            // It may have gone meanwhile, and another one have its place.
            registry.with(place, |entry| {
                if entry.id == id {
                    entry.viewers(stream, |row| rows.push(row));
                }
            });
        }
        rows
    }

    /// The publishers of this shard; never more than there may be streams.
    pub async fn publishers(&self) -> Vec<PublisherNow> {
        let mut rows = Vec::new();
        self.registry()
            .each(|_, entry| {
                let Some(does) = &entry.does else {
                    return;
                };
                rows.extend(does.streams.iter().map(|(_, stream)| PublisherNow {
                    id: entry.id,
                    peer: entry.peer(),
                    stream: stream.clone(),
                    encoder: does.encoder.clone(),
                }));
            })
            .await;
        rows
    }

    /// Tells every viewer of this shard, but not the servers that pull; how many there are.
    pub async fn tell_viewers(&self, wish: Wish) -> usize {
        let mut told = 0_usize;
        self.registry()
            .each(|_, entry| {
                let mut watches = false;
                let Some(outlet) = &entry.outlet else { return };
                outlet.each_player(|player| {
                    watches |= player.now().watching != Watching::Mirror;
                });
                if watches {
                    told = told.saturating_add(1);
                    outlet.wish(wish);
                }
            })
            .await;
        told
    }

    /// Ends a connection as if its peer had been told to go; `None` when it is not on this shard.
    pub async fn kick(&self, target: Target) -> Option<KickedNow> {
        let mut kicked = None;
        self.registry()
            .each(|_, entry| {
                let is_meant = match &target {
                    Target::Connection(id) => entry.id == *id,
                    Target::Publisher(stream) => entry.published().any(|name| name == stream),
                };
                if is_meant && kicked.is_none() {
                    kicked = Some(entry.kick());
                }
            })
            .await;
        kicked
    }
}

#[cfg(feature = "publish")]
impl Shard {
    /// Makes a source known that has no connection, under a number of its own, until the answer is
    /// dropped. `kicked` is rung when an operator ends it.
    #[must_use]
    pub fn register_source(
        self: &Rc<Self>,
        peer: SocketAddr,
        encoder: &str,
        kicked: Arc<Bell>,
    ) -> Registered {
        let does = Box::new(Does {
            encoder: encoder.into(),
            kicked: Some(kicked),
            ..Does::default()
        });
        Registered {
            shard: Rc::clone(self),
            place: self.registry().enter(None, peer, Some(does)),
        }
    }
}

impl Outlet {
    /// Makes the connection known under a number of its own until the answer is dropped.
    #[must_use]
    pub fn register(self: &Rc<Self>, peer: SocketAddr) -> Registered {
        let shard = Rc::clone(self.shard());
        let place = shard.registry().enter(Some(Rc::clone(self)), peer, None);
        Registered { shard, place }
    }
}

impl Registered {
    fn with<T>(&self, what: impl FnOnce(&mut Entry) -> T) -> Option<T> {
        self.shard.registry().with(self.place, what)
    }

    /// The connection's number, unique in the process.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.with(|entry| entry.id).unwrap_or_default()
    }

    /// It publishes `name` on this message stream; `encoder` is what it calls itself.
    #[cfg(feature = "publish")]
    pub fn publishes(&self, message_stream: u32, name: &StreamName, encoder: &str) {
        self.with(|entry| {
            let does = entry.does.get_or_insert_default();
            if does.encoder.is_empty() {
                does.encoder = encoder.into();
            }
            does.streams.push((message_stream, name.clone()));
        });
    }

    /// It publishes no more on this message stream.
    #[cfg(feature = "publish")]
    pub fn unpublishes(&self, message_stream: u32) {
        self.with(|entry| {
            if let Some(does) = &mut entry.does {
                does.streams.retain(|(id, _)| *id != message_stream);
            }
        });
    }

    /// It plays a file on this message stream, for as long as the answer is kept.
    #[cfg(feature = "publish")]
    #[must_use]
    pub fn plays_file(&self, message_stream: u32, name: &str) -> PlaysFile {
        self.with(|entry| {
            let does = entry.does.get_or_insert_default();
            does.files
                .push((message_stream, name.into(), Instant::now()));
        });
        PlaysFile {
            shard: Rc::clone(&self.shard),
            place: self.place,
            message_stream,
        }
    }
}

/// See [`Registered::plays_file`].
#[cfg(feature = "publish")]
#[derive(Debug)]
pub struct PlaysFile {
    shard: Rc<Shard>,
    place: u32,
    message_stream: u32,
}

#[cfg(feature = "publish")]
impl Drop for PlaysFile {
    fn drop(&mut self) {
        // Whose place it is now has no message stream of this number with a file: it has just begun.
        self.shard.registry().with(self.place, |entry| {
            if let Some(does) = &mut entry.does {
                does.files.retain(|(id, ..)| *id != self.message_stream);
            }
        });
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.shard.registry().leave(self.place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_small() {
        assert!(size_of::<Option<Entry>>() <= 48);
        assert!(size_of::<Registered>() <= 16);
    }
}
