//! The hosts that the public may watch on: what this server is among them, and what it knows of them.

use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;

use super::address::{self, Rules};
use super::list::{self, Page};
use super::table::Toward;
use super::{
    Capacity, Cluster, Drain, Encode, Link, Membership, Place, Reader, Refusal, State, Told,
};
use crate::rtmp::mirror::host::{Announcement, Host, HostState, Hosts, Load, Urls};

/// What a server is to the public.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    /// `standalone`, `master` or `mirror`
    pub role: &'static str,
    /// Whether the public watches here; not on a master.
    pub public: bool,
    /// Where it is.
    pub announcement: Announcement,
    /// What it can carry.
    pub capacity: Capacity,
    /// Where the mirrors below may be.
    pub rules: Rules,
}

/// How a viewer comes, and so how it has to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// RTMP.
    Rtmp,
    /// RTMP in TLS. Hosts do not tell that they speak it, and nobody who came so is sent to one in the clear.
    Rtmps,
    /// Plain HTTP.
    Http,
    /// HTTPS, with something in front: a page that came so may not load anything over plain HTTP.
    Https,
}

impl Via {
    /// The base URL of a host for such viewers.
    #[must_use]
    pub fn base(self, urls: &Urls) -> Option<&str> {
        match self {
            Self::Rtmp => urls.rtmp.as_deref(),
            Self::Rtmps => None,
            // One that speaks HTTPS alone is better than none.
            Self::Http => urls.http.as_deref().or(urls.https.as_deref()),
            Self::Https => urls.https.as_deref(),
        }
    }
}

/// Another host that takes viewers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sibling {
    /// Its id.
    pub id: String,
    /// The base URL of the protocol that was asked for.
    pub base: String,
}

/// A viewer who is not taken, and where to go instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Refused {
    /// Why.
    pub why: Refusal,
    /// When there is one.
    pub sibling: Option<Sibling>,
}

impl State {
    /// Whether the server above is about to go, as the list has it.
    fn source_goes(&self) -> bool {
        let master = self.above.last().and_then(|id| self.table.get(id));
        master.is_some_and(|host| host.load.state == HostState::Draining)
    }

    /// Puts this server into the table as it is now.
    fn refresh_own(&mut self, id: &str, load: Load) -> bool {
        let own = self.standing.public.then(|| Host {
            id: id.to_owned(),
            // What the master made of it is what all others see.
            urls: self
                .placed
                .clone()
                .or_else(|| own_urls(&self.standing.announcement))
                .unwrap_or_default(),
            load,
        });
        self.table.set_own(own)
    }
}

/// Where a server is that nobody else looks at.
fn own_urls(announcement: &Announcement) -> Option<Urls> {
    let literal = announcement.host.parse().ok();
    address::urls(announcement, literal.or(announcement.ip))
}

impl Cluster {
    /// What this server is to the public from now on.
    pub fn set_standing(&self, mut standing: Standing) {
        self.gate.set_capacity(standing.capacity);
        let mut state = self.lock();
        // What the cloud told is no setting.
        standing.announcement.ip = state.standing.announcement.ip;
        if state.standing.announcement != standing.announcement {
            state.placed = None;
        }
        state.standing = standing;
        self.refresh(&mut state);
    }

    /// The public address, as the cloud tells it.
    pub fn set_public_ip(&self, ip: Option<IpAddr>) {
        let mut state = self.lock();
        if state.standing.announcement.ip != ip {
            state.standing.announcement.ip = ip;
            state.placed = None;
            self.refresh(&mut state);
        }
    }

    /// How many connections there are, and how many there may be before viewers are turned away. The next
    /// [`Cluster::tick`] tells it.
    pub fn set_connections(&self, used: usize, most: usize) {
        self.gate.set_connections(used, most);
    }

    /// What went out in the last second, kbit/s; to be called about once a second.
    pub fn tick(&self, sent_kbit: u32, now: Instant) {
        self.gate.set_sent(sent_kbit);
        let mut state = self.lock();
        if state.table.tick(now) {
            Self::ring(&state);
        }
        self.gate.set_source_goes(state.source_goes());
        self.refresh(&mut state);
    }

    fn refresh(&self, state: &mut State) {
        if state.refresh_own(&self.id, self.gate.load()) {
            Self::ring(state);
        }
    }

    /// What this server announces to its master.
    #[must_use]
    pub fn own(&self) -> (Announcement, Load) {
        (self.lock().standing.announcement.clone(), self.gate.load())
    }

    /// This server as the list has it; nothing on a master.
    #[must_use]
    pub fn own_host(&self) -> Option<Host> {
        self.lock().table.get(&self.id).cloned()
    }

    /// One host.
    #[must_use]
    pub fn host(&self, id: &str) -> Option<Host> {
        self.lock().table.get(id).cloned()
    }

    /// All hosts of which it is known where they are, those that take viewers first.
    #[must_use]
    pub fn hosts(&self) -> Vec<Host> {
        let state = self.lock();
        let known = state.table.hosts().filter(|h| !h.urls.is_empty());
        let mut hosts: Vec<Host> = known.cloned().collect();
        drop(state);
        list::sort(&mut hosts);
        hosts
    }

    /// How many hosts there are, whether it is known where they are or not.
    #[must_use]
    pub fn host_count(&self) -> usize {
        self.lock().table.len()
    }

    /// A number that changes with the hosts.
    #[must_use]
    pub fn hosts_version(&self) -> u64 {
        self.lock().table.version()
    }

    /// The body of `/cluster.json`. `here` is where whoever asks has found this server, for one that does
    /// not know it.
    #[must_use]
    pub fn render(&self, here: Option<&Urls>, wall_ms: u64, now: Instant) -> String {
        let mut hosts = self.hosts();
        let own = self.own_host().filter(|own| own.urls.is_empty());
        if let (Some(own), Some(here)) = (own, here) {
            hosts.push(Host {
                urls: here.clone(),
                ..own
            });
            list::sort(&mut hosts);
        }
        let stale = match self.link() {
            Link::Down { since, .. } => Some(now.saturating_duration_since(since).as_secs()),
            Link::None | Link::Up { .. } => None,
        };
        let role = self.lock().standing.role;
        list::render(&Page {
            id: &self.id,
            role,
            wall_ms,
            stale,
            hosts: &hosts,
        })
    }

    /// The steering document for an HLS player; see [`list::steering`].
    #[must_use]
    pub fn steering(&self, pathway: Option<&str>, via: Via) -> String {
        let mut hosts = self.hosts();
        if let Some(own) = self.own_host().filter(|own| own.urls.is_empty()) {
            hosts.push(own);
        }
        let secure = via == Via::Https;
        list::steering(&hosts, &self.id, pathway, secure, |rest| {
            self.pick(rest.iter().map(|h| h.load.weight)).unwrap_or(0)
        })
    }

    /// The role, as the configuration spells it.
    #[must_use]
    pub fn role(&self) -> &'static str {
        self.lock().standing.role
    }

    /// Another host that takes such viewers, drawn by weight.
    #[must_use]
    pub fn sibling(&self, via: Via) -> Option<Sibling> {
        let state = self.lock();
        let ready = |h: &&Host| h.load.state == HostState::Ready && h.id != self.id;
        let others = state.table.hosts().filter(ready);
        let others: Vec<(&Host, &str)> = others
            .filter_map(|host| Some((host, via.base(&host.urls)?)))
            .collect();
        let index = self.pick(others.iter().map(|(host, _)| host.load.weight))?;
        others.get(index).map(|(host, base)| Sibling {
            id: host.id.clone(),
            base: (*base).to_owned(),
        })
    }

    fn refused(&self, why: Refusal, via: Via) -> Refused {
        Refused {
            why,
            sibling: self.sibling(via),
        }
    }

    /// Draws an index by weight. Not random enough for secrets; even enough for viewers.
    fn pick(&self, weights: impl Iterator<Item = u16> + Clone) -> Option<usize> {
        let total: u64 = weights.clone().map(u64::from).sum();
        let mut left = mix(self.picks.fetch_add(1, Ordering::Relaxed)).checked_rem(total)?;
        for (index, weight) in weights.enumerate() {
            match left.checked_sub(u64::from(weight)) {
                Some(rest) => left = rest,
                None => return Some(index),
            }
        }
        None
    }

    /// Takes one more viewer, of a stream of so many kbit/s, until the place is dropped.
    ///
    /// # Errors
    /// [`Refused`]: why not, and who takes viewers instead.
    pub fn admit(&self, kbit: u64, via: Via) -> Result<Place, Refused> {
        let kbit = u32::try_from(kbit).unwrap_or(u32::MAX);
        let place = self.gate.admit(kbit);
        place.map_err(|why| self.refused(why, via))
    }

    /// Whether a viewer would be taken now.
    ///
    /// # Errors
    /// As [`Cluster::admit`].
    pub fn would_admit(&self, via: Via) -> Result<(), Refused> {
        self.admit(0, via).map(drop)
    }

    /// The deadline of a drain has passed: nobody is served any more.
    ///
    /// # Errors
    /// [`Refused`], for a viewer who is still there.
    pub fn is_over(&self, via: Via, now: Instant) -> Result<(), Refused> {
        match self.gate.draining() {
            Some(drain) if drain.left(now).is_zero() => Err(self.refused(Refusal::Draining, via)),
            _ => Ok(()),
        }
    }

    /// Takes no new viewers, and tells so. A deadline that is set anew counts.
    pub fn drain(&self, deadline: Instant, exit: bool, now: Instant) {
        self.gate.drain(deadline, exit, now);
        let mut state = self.lock();
        self.refresh(&mut state);
        // A deadline that is set anew changes nothing in the table.
        Self::wake(&state);
    }

    /// Takes viewers again; whether it had not.
    pub fn undrain(&self) -> bool {
        let was = self.gate.undrain();
        self.refresh(&mut self.lock());
        was
    }

    /// The drain that goes on.
    #[must_use]
    pub fn draining(&self) -> Option<Drain> {
        self.gate.draining()
    }

    /// The deadline of the drain ended so many viewers.
    pub fn note_ended(&self, viewers: u32) {
        self.gate.note_ended(viewers);
    }

    /// How many viewers the deadline of the drain ended.
    #[must_use]
    pub fn ended(&self) -> u32 {
        self.gate.ended()
    }

    /// Whether the server that this one pulls from is drained.
    #[must_use]
    pub fn source_goes(&self) -> bool {
        self.gate.source_goes()
    }

    /// What the server carries.
    #[must_use]
    pub fn load(&self) -> Load {
        self.gate.load()
    }

    /// One message of what is new to the master, which was told up to there; there may be more. Changes of
    /// load alone are left out unless `loads`.
    #[must_use]
    pub fn news(&self, told: &mut Told, loads: bool) -> Option<Hosts> {
        self.lock().table.news(told, Toward::Master, loads)
    }

    /// One message for a mirror that was told up to there; there may be more. The bytes are the same for
    /// all mirrors, made when the first of them asks.
    pub fn part(&self, reader: &mut Reader, now: Instant, encode: Encode) -> Option<Bytes> {
        let state = &mut *self.lock();
        state.board.part(&mut state.table, reader, now, encode)
    }

    /// When to ask for the next one.
    #[must_use]
    pub fn part_due(&self, now: Instant) -> Instant {
        let state = self.lock();
        state.board.due(&state.table, now)
    }

    /// What the master tells of the hosts. Nothing of it changes what comes from below.
    pub fn take_hosts(&self, told: &Hosts, now: Instant) {
        let mut state = self.lock();
        let master = state.above.last().cloned();
        let (urgent, placed) = state.table.take(told, master.as_deref(), now);
        if urgent {
            Self::ring(&state);
        }
        let mut news = self.gate.set_source_goes(state.source_goes());
        if let Some(placed) = placed
            && state.placed.as_ref() != Some(&placed)
        {
            state.placed = Some(placed);
            news = true;
        }
        if news {
            self.refresh(&mut state);
        }
    }
}

impl Membership {
    /// What the mirror of this connection tells of itself and of the hosts below it; `seen` is where it
    /// comes from. Gives what was not taken over, in words for the log, at most one.
    pub fn take_hosts(&self, told: &Hosts, seen: IpAddr) -> Option<String> {
        let seen = seen.to_canonical();
        let mut state = self.cluster.lock();
        let mut urgent = false;
        let mut objection = None;
        if told.start {
            urgent |= state.table.drop_via(self.number);
        }
        for id in &told.gone {
            urgent |= state.table.drop_below(id, self.number);
        }
        if let Some((announcement, load)) = &told.own {
            let placed = address::place(announcement, seen, &state.standing.rules);
            objection = placed.objection;
            urgent |= match placed.urls {
                Some(urls) => {
                    let host = Host {
                        id: self.id.clone(),
                        urls,
                        load: *load,
                    };
                    state.table.put_below(host, self.number)
                }
                None => state.table.drop_below(&self.id, self.number),
            };
        }
        for host in told.hosts.iter().filter(|h| h.id != self.id) {
            match address::passes(&host.urls, seen, &state.standing.rules) {
                Ok(()) if host.urls.is_empty() => {}
                Ok(()) => urgent |= state.table.put_below(host.clone(), self.number),
                Err(why) => {
                    urgent |= state.table.drop_below(&host.id, self.number);
                    objection.get_or_insert(why);
                }
            }
        }
        if urgent {
            Cluster::ring(&state);
        }
        objection
    }
}

/// The finishing step of `SplitMix64`: neighbouring numbers come out far from each other.
const fn mix(n: u64) -> u64 {
    let n = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}
