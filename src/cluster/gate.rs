//! Admission: how many viewers, and how much traffic, this server takes. Whoever watches already is never
//! touched; it is the next one who is told to go elsewhere.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::rtmp::mirror::host::{HostState, Load, MAX_WEIGHT};

/// What a server can carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capacity {
    /// Viewers.
    pub viewers: Option<u32>,
    /// What goes out, kbit/s.
    pub kbit: Option<u32>,
    /// Its share of new viewers as long as it is empty; without it, what `kbit` says.
    pub weight: Option<u16>,
}

impl Capacity {
    /// The share of an empty server: 100, or one for each 10 Mbit/s.
    fn base(self) -> u16 {
        let of_kbit = || {
            let tens = self.kbit.map_or(100, |kbit| kbit / 10_000);
            u16::try_from(tens).unwrap_or(MAX_WEIGHT)
        };
        self.weight.unwrap_or_else(of_kbit).clamp(1, MAX_WEIGHT)
    }
}

/// Why a viewer is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// As many viewers, or as much traffic, as the server can carry.
    #[error("this server carries as much as it can")]
    Full,
    /// The server is about to go.
    #[error("this server is about to go")]
    Draining,
}

impl Refusal {
    /// As answers and metrics have it.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Draining => "draining",
        }
    }
}

/// A drain that goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drain {
    /// Since when.
    pub since: Instant,
    /// When the viewers who are still there are ended.
    pub deadline: Instant,
    /// Whether the server should end behind it.
    pub exit: bool,
}

impl Drain {
    /// How much time is left.
    #[must_use]
    pub fn left(&self, now: Instant) -> Duration {
        self.deadline.saturating_duration_since(now)
    }
}

#[derive(Debug, Default)]
struct State {
    capacity: Capacity,
    viewers: u32,
    /// What the streams of all viewers have together, kbit/s.
    promised: u64,
    /// What went out in the last second, kbit/s.
    sent: u32,
    drain: Option<Drain>,
    /// How many viewers that drain's deadline ended.
    ended: u32,
    /// The server that this one pulls from is about to go.
    source_goes: bool,
    /// Connections, and how many there may be before viewers are turned away.
    connections: Option<(u64, u64)>,
    /// It was full, and has not become much emptier since.
    full: bool,
}

impl State {
    fn traffic(&self) -> u64 {
        self.promised.max(u64::from(self.sent))
    }

    fn is_full(&self) -> bool {
        let viewers = self.capacity.viewers;
        let kbit = self.capacity.kbit;
        viewers.is_some_and(|max| self.viewers >= max)
            || kbit.is_some_and(|max| self.traffic() >= u64::from(max))
    }

    /// Whether nobody can come any more. Who comes is turned away where connections are counted; here is
    /// what the list says.
    fn is_closed(&self) -> bool {
        self.is_full() || self.connections.is_some_and(|(used, max)| used >= max)
    }

    /// Whether enough has become free that the list should say so: 2 %.
    fn has_room_again(&self) -> bool {
        let below = |used: u64, max: u64| used < max && used <= max.saturating_sub(max / 50);
        let bounded = |used: u64, max: Option<u32>| max.is_none_or(|max| below(used, max.into()));
        bounded(u64::from(self.viewers), self.capacity.viewers)
            && bounded(self.traffic(), self.capacity.kbit)
            && self.connections.is_none_or(|(used, max)| below(used, max))
    }

    /// Parts in a thousand that are free.
    fn free(&self) -> u64 {
        let part = |used: u64, max: Option<u32>| {
            let Some(max) = max else { return 1000 };
            let free = u64::from(max).saturating_sub(used);
            free.saturating_mul(1000)
                .checked_div(u64::from(max))
                .unwrap_or(0)
        };
        part(u64::from(self.viewers), self.capacity.viewers)
            .min(part(self.traffic(), self.capacity.kbit))
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Gate {
    state: Mutex<State>,
}

impl Gate {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Numbers, whole at any time.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another capacity, for those who come from now on.
    pub fn set_capacity(&self, capacity: Capacity) {
        self.lock().capacity = capacity;
    }

    /// What went out in the last second.
    pub fn set_sent(&self, kbit: u32) {
        self.lock().sent = kbit;
    }

    /// How many connections there are, and how many there may be before viewers are turned away.
    pub fn set_connections(&self, used: usize, most: usize) {
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        self.lock().connections = Some((count(used), count(most)));
    }

    /// Takes one more viewer, of a stream of so many kbit/s, until the place is dropped.
    ///
    /// # Errors
    /// [`Refusal`]; nothing is counted then.
    pub fn admit(self: &Arc<Self>, kbit: u32) -> Result<Place, Refusal> {
        let mut state = self.lock();
        if state.drain.is_some() {
            return Err(Refusal::Draining);
        }
        if state.is_full() {
            return Err(Refusal::Full);
        }
        state.viewers = state.viewers.saturating_add(1);
        state.promised = state.promised.saturating_add(u64::from(kbit));
        Ok(Place {
            gate: Arc::clone(self),
            kbit,
        })
    }

    /// Takes nobody any more. A deadline that is set anew counts.
    pub fn drain(&self, deadline: Instant, exit: bool, now: Instant) {
        let mut state = self.lock();
        if state.drain.is_none() {
            state.ended = 0;
        }
        let since = state.drain.map_or(now, |drain| drain.since);
        state.drain = Some(Drain {
            since,
            deadline,
            exit,
        });
    }

    /// Takes viewers again; whether it had not.
    pub fn undrain(&self) -> bool {
        self.lock().drain.take().is_some()
    }

    /// The drain that goes on.
    #[must_use]
    pub fn draining(&self) -> Option<Drain> {
        self.lock().drain
    }

    /// The deadline ended so many viewers.
    pub fn note_ended(&self, viewers: u32) {
        let mut state = self.lock();
        state.ended = state.ended.saturating_add(viewers);
    }

    /// How many viewers the deadline of the drain ended.
    #[must_use]
    pub fn ended(&self) -> u32 {
        self.lock().ended
    }

    /// Whether the server that this one pulls from is about to go: then it is no place to come to, but
    /// whoever comes all the same has a picture for as long as there is one. True when that is new.
    pub fn set_source_goes(&self, goes: bool) -> bool {
        std::mem::replace(&mut self.lock().source_goes, goes) != goes
    }

    /// See [`Gate::set_source_goes`].
    #[must_use]
    pub fn source_goes(&self) -> bool {
        self.lock().source_goes
    }

    /// Who watches.
    #[must_use]
    pub fn viewers(&self) -> u32 {
        self.lock().viewers
    }

    /// What to tell of it.
    #[must_use]
    pub fn load(&self) -> Load {
        let mut state = self.lock();
        state.full = state.is_closed() || (state.full && !state.has_room_again());
        let goes = state.drain.is_some() || state.source_goes;
        let (host_state, weight) = match (goes, state.full) {
            (true, _) => (HostState::Draining, 0),
            (false, true) => (HostState::Full, 0),
            (false, false) => {
                let base = u64::from(state.capacity.base());
                // As long as it takes somebody it has some weight.
                let weight = base.saturating_mul(state.free()).div_ceil(1000).max(1);
                (
                    HostState::Ready,
                    u16::try_from(weight).unwrap_or(MAX_WEIGHT),
                )
            }
        };
        Load {
            state: host_state,
            weight,
            viewers: state.viewers,
            kbit: state.sent,
            max_viewers: state.capacity.viewers,
            max_kbit: state.capacity.kbit,
        }
    }
}

/// A viewer's place; free again when this is dropped.
#[derive(Debug)]
pub struct Place {
    gate: Arc<Gate>,
    kbit: u32,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.gate.lock();
        state.viewers = state.viewers.saturating_sub(1);
        state.promised = state.promised.saturating_sub(u64::from(self.kbit));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(viewers: Option<u32>, kbit: Option<u32>) -> Arc<Gate> {
        let gate = Arc::new(Gate::default());
        gate.set_capacity(Capacity {
            viewers,
            kbit,
            weight: None,
        });
        gate
    }

    #[test]
    fn the_last_place_is_the_last() {
        let gate = gate(Some(2), None);
        let a = gate.admit(1000).unwrap();
        let _b = gate.admit(1000).unwrap();
        assert_eq!(gate.admit(0).unwrap_err(), Refusal::Full);
        assert_eq!(gate.viewers(), 2);
        drop(a);
        assert!(gate.admit(0).is_ok());
        gate.set_capacity(Capacity::default());
        let _many: Vec<_> = (0..1000).map(|_| gate.admit(5000).unwrap()).collect();
    }

    #[test]
    fn traffic_counts_as_it_is_and_as_it_will_be() {
        let gate = gate(None, Some(10_000));
        let places: Vec<_> = (0..4).map(|_| gate.admit(2500).unwrap()).collect();
        assert_eq!(
            gate.admit(2500).unwrap_err(),
            Refusal::Full,
            "nothing was sent yet, but it will be"
        );
        drop(places);
        gate.set_sent(10_000);
        assert_eq!(gate.admit(2500).unwrap_err(), Refusal::Full);
        gate.set_sent(9_000);
        let place = gate.admit(2500).unwrap();
        gate.set_sent(20_000);
        // Who is there stays.
        drop(place);
        assert_eq!(gate.viewers(), 0);
    }

    #[test]
    fn the_list_tells_how_much_is_free() {
        let gate = gate(Some(100), Some(1_000_000));
        assert_eq!(
            (gate.load().weight, gate.load().state),
            (100, HostState::Ready)
        );
        let mut places: Vec<_> = (0..50).map(|_| gate.admit(0).unwrap()).collect();
        assert_eq!(gate.load().weight, 50);
        gate.set_sent(900_000);
        assert_eq!(gate.load().weight, 10);
        gate.set_sent(0);
        places.extend((0..50).map(|_| gate.admit(0).unwrap()));
        let load = gate.load();
        assert_eq!((load.weight, load.state), (0, HostState::Full));
        assert_eq!((load.viewers, load.max_viewers), (100, Some(100)));
        places.pop();
        assert_eq!(gate.load().state, HostState::Full, "not for one place");
        places.push(gate.admit(0).unwrap());
        places.truncate(98);
        assert_eq!(
            (gate.load().weight, gate.load().state),
            (2, HostState::Ready)
        );
    }

    #[test]
    fn a_server_that_is_out_of_connections_is_listed_as_full() {
        let gate = gate(None, None);
        let state = |used| {
            gate.set_connections(used, 200);
            let load = gate.load();
            assert_eq!(load.weight == 0, load.state == HostState::Full);
            load.state
        };
        assert_eq!(state(199), HostState::Ready);
        assert_eq!(state(200), HostState::Full);
        assert!(
            gate.admit(0).is_ok(),
            "it is not here that it is turned away"
        );
        assert_eq!(state(197), HostState::Full, "not for a few");
        assert_eq!(state(196), HostState::Ready);
        assert_eq!(state(199), HostState::Ready);
    }

    #[test]
    fn weights_are_bounded_whatever_the_capacity() {
        let of = |capacity: Capacity| {
            let gate = Gate::default();
            gate.set_capacity(capacity);
            gate.load().weight
        };
        let kbit = |kbit| Capacity {
            kbit: Some(kbit),
            ..Capacity::default()
        };
        assert_eq!(of(Capacity::default()), 100);
        assert_eq!(of(kbit(1_000_000)), 100);
        assert_eq!(of(kbit(u32::MAX)), MAX_WEIGHT);
        assert_eq!(of(kbit(5)), 1);
        let own = Capacity {
            weight: Some(7),
            ..kbit(1_000_000)
        };
        assert_eq!(of(own), 7);
    }

    #[test]
    fn a_drain_takes_nobody_and_can_be_taken_back() {
        let gate = gate(None, None);
        let now = Instant::now();
        let _there = gate.admit(0).unwrap();
        gate.drain(now + Duration::from_secs(5), false, now);
        gate.drain(
            now + Duration::from_secs(9),
            true,
            now + Duration::from_secs(1),
        );
        let drain = gate.draining().unwrap();
        assert!(drain.exit);
        assert_eq!(drain.since, now);
        assert_eq!(drain.deadline, now + Duration::from_secs(9));
        assert_eq!(drain.left(now), Duration::from_secs(9));
        assert_eq!(drain.left(now + Duration::from_secs(10)), Duration::ZERO);
        assert_eq!(gate.admit(0).unwrap_err(), Refusal::Draining);
        assert_eq!(
            (gate.load().weight, gate.load().state),
            (0, HostState::Draining)
        );
        assert_eq!(gate.viewers(), 1, "who is there stays");
        gate.note_ended(1);
        gate.drain(now, true, now);
        assert_eq!(gate.ended(), 1, "it is the same drain");
        assert!(gate.undrain() && !gate.undrain());
        assert!(gate.admit(0).is_ok());
        gate.drain(now, false, now);
        assert_eq!(gate.ended(), 0, "it is another drain");
        gate.undrain();
        // While its source is drained it is none to come to, but turns nobody away.
        assert!(gate.set_source_goes(true) && !gate.set_source_goes(true));
        assert_eq!(gate.load().state, HostState::Draining);
        assert!(gate.admit(0).is_ok());
        assert!(gate.set_source_goes(false));
        assert_eq!(gate.load().state, HostState::Ready);
    }
}
