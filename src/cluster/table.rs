//! The hosts that a server knows: itself, those that came up from the mirrors below it, those that its
//! master told it. Each change has a number, so that whoever was told up to some number is told the rest.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::time::{Duration, Instant};

use crate::limits::MAX_MIRRORS;
use crate::rtmp::mirror::host::{
    Host, Hosts, MAX_GONE_TOLD, MAX_HOSTS_BYTES, MAX_HOSTS_TOLD, Urls,
};

/// Another master than before, or one that was started anew, knows only the mirrors that have come back
/// to it: what the last one told counts for this long.
const HOLD: Duration = Duration::from_secs(10);
/// Hosts that left and that somebody may not know of yet. Whoever missed more is told everything anew.
const MAX_GONE: usize = 2 * MAX_MIRRORS;

/// Up to where somebody was told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Told {
    begun: bool,
    whole: bool,
    urgent: u64,
    all: u64,
    gone: u64,
}

/// Whom to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Toward {
    /// The master: the hosts below this server.
    Master,
    /// A mirror: all hosts.
    Mirror,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Table {
    own: Option<Host>,
    /// With the number of the connection that it came over.
    below: BTreeMap<String, (Host, u64)>,
    above: BTreeMap<String, Above>,
    /// Of the three the one that counts.
    rows: BTreeMap<String, Row>,
    by_urgent: BTreeMap<u64, String>,
    by_version: BTreeMap<u64, String>,
    gone: Gone,
    gone_below: Gone,
    version: u64,
    /// The id of the master that told what is above.
    told_by: Option<String>,
    forget_at: Option<Instant>,
}

#[derive(Debug)]
struct Above {
    host: Host,
    /// The master that there is now has told it.
    confirmed: bool,
}

#[derive(Debug)]
struct Row {
    host: Host,
    below: bool,
    /// The number of the last change that must be told at once.
    urgent: u64,
    /// The number of the last change.
    version: u64,
    /// The number of the change that [`Table::loads`] gave last.
    shown: u64,
}

/// Who left, with the number of that change.
#[derive(Debug, Default)]
struct Gone {
    ids: VecDeque<(u64, String)>,
    /// Those up to here are not remembered.
    floor: u64,
}

impl Gone {
    fn push(&mut self, version: u64, id: &str) {
        if self.ids.len() >= MAX_GONE
            && let Some((oldest, _)) = self.ids.pop_front()
        {
            self.floor = oldest;
        }
        self.ids.push_back((version, id.to_owned()));
    }
}

/// Whether a change is more than a host's load.
fn is_urgent(old: &Host, new: &Host) -> bool {
    old.urls != new.urls
        || old.load.state != new.load.state
        || old.load.max_viewers != new.load.max_viewers
        || old.load.max_kbit != new.load.max_kbit
}

impl Table {
    /// Every host that counts, this server first if it is one, in no other order.
    pub(super) fn hosts(&self) -> impl Iterator<Item = &Host> {
        self.rows.values().map(|row| &row.host)
    }

    /// The number of the last change.
    pub(super) const fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn get(&self, id: &str) -> Option<&Host> {
        self.rows.get(id).map(|row| &row.host)
    }

    /// Sees what counts for an id now. True when that is news that must be told at once.
    fn refresh(&mut self, id: &str) -> bool {
        let own = self.own.as_ref().filter(|own| own.id == id);
        let below = self.below.get(id).map(|(host, _)| host);
        let is_below = own.is_none() && below.is_some();
        let host = own
            .or(below)
            .or_else(|| self.above.get(id).map(|above| &above.host));
        let old = self.rows.get(id);
        let (host, urgent) = match (host, old) {
            (None, None) => return false,
            (None, Some(_)) => return self.leave(id),
            (Some(host), None) => (host.clone(), true),
            (Some(host), Some(row)) if row.host == *host && row.below == is_below => return false,
            (Some(host), Some(row)) => {
                let urgent = row.below != is_below || is_urgent(&row.host, host);
                (host.clone(), urgent)
            }
        };
        self.version = self.version.saturating_add(1);
        let version = self.version;
        let mut row = Row {
            host,
            below: is_below,
            urgent: version,
            version,
            shown: 0,
        };
        if let Some(old) = self.rows.remove(id) {
            self.by_version.remove(&old.version);
            row.shown = old.shown;
            if urgent {
                self.by_urgent.remove(&old.urgent);
            } else {
                row.urgent = old.urgent;
            }
            if old.below && !is_below {
                self.gone_below.push(version, id);
            }
        }
        self.by_version.insert(version, id.to_owned());
        if urgent {
            self.by_urgent.insert(version, id.to_owned());
        }
        self.rows.insert(id.to_owned(), row);
        urgent
    }

    fn leave(&mut self, id: &str) -> bool {
        let Some(row) = self.rows.remove(id) else {
            return false;
        };
        self.version = self.version.saturating_add(1);
        self.by_version.remove(&row.version);
        self.by_urgent.remove(&row.urgent);
        self.gone.push(self.version, id);
        if row.below {
            self.gone_below.push(self.version, id);
        }
        true
    }

    fn refresh_all(&mut self, ids: impl IntoIterator<Item = String>) -> bool {
        let mut urgent = false;
        for id in ids {
            urgent |= self.refresh(&id);
        }
        urgent
    }

    /// This server itself.
    pub(super) fn set_own(&mut self, own: Option<Host>) -> bool {
        let before = std::mem::replace(&mut self.own, own);
        let ids: Vec<String> = before
            .iter()
            .chain(&self.own)
            .map(|h| h.id.clone())
            .collect();
        self.refresh_all(ids)
    }

    /// A host below, which came over the connection of this number.
    pub(super) fn put_below(&mut self, host: Host, via: u64) -> bool {
        let id = host.id.clone();
        let is_own = self.own.as_ref().is_some_and(|own| own.id == id);
        let has_room = self.below.contains_key(&id) || self.below.len() < MAX_MIRRORS;
        if is_own || !has_room {
            return false;
        }
        self.below.insert(id.clone(), (host, via));
        self.refresh(&id)
    }

    /// A host below left, as that connection says.
    pub(super) fn drop_below(&mut self, id: &str, via: u64) -> bool {
        if self.below.get(id).is_none_or(|(_, of)| *of != via) {
            return false;
        }
        self.below.remove(id);
        self.refresh(id)
    }

    /// All that came over a connection is gone with it.
    pub(super) fn drop_via(&mut self, via: u64) -> bool {
        let of = self.below.iter().filter(|(_, (_, of))| *of == via);
        let ids: Vec<String> = of.map(|(id, _)| id.clone()).collect();
        for id in &ids {
            self.below.remove(id);
        }
        self.refresh_all(ids)
    }

    /// What the master tells; `master` is its id. Gives the URLs by which it lists this server, if it
    /// said anything of that.
    pub(super) fn take(
        &mut self,
        told: &Hosts,
        master: Option<&str>,
        now: Instant,
    ) -> (bool, Option<Urls>) {
        let mut urgent = false;
        let mut placed = None;
        let same = self.told_by.as_deref() == master;
        if told.start {
            self.above.values_mut().for_each(|a| a.confirmed = false);
        }
        for id in &told.gone {
            self.above.remove(id);
            urgent |= self.refresh(id);
        }
        for host in told.hosts.iter().filter(|h| !h.urls.is_empty()) {
            if self.own.as_ref().is_some_and(|own| own.id == host.id) {
                placed = Some(host.urls.clone());
                continue;
            }
            if self.above.contains_key(&host.id) || self.above.len() < MAX_MIRRORS {
                let above = Above {
                    host: host.clone(),
                    confirmed: true,
                };
                self.above.insert(host.id.clone(), above);
                urgent |= self.refresh(&host.id);
            }
        }
        if told.whole {
            self.told_by = master.map(str::to_owned);
            if same {
                urgent |= self.forget_unconfirmed();
            } else {
                self.forget_at = now.checked_add(HOLD);
            }
        }
        (urgent, placed)
    }

    /// There is no master any more, or another one: what the last one told counts a little while.
    pub(super) fn lose_master(&mut self, now: Instant) {
        self.told_by = None;
        self.above.values_mut().for_each(|a| a.confirmed = false);
        self.forget_at = now.checked_add(HOLD);
    }

    /// Lets go of what was only kept for a while.
    pub(super) fn tick(&mut self, now: Instant) -> bool {
        match self.forget_at {
            Some(at) if now >= at => self.forget_unconfirmed(),
            _ => false,
        }
    }

    fn forget_unconfirmed(&mut self) -> bool {
        self.forget_at = None;
        let old = self.above.iter().filter(|(_, a)| !a.confirmed);
        let ids: Vec<String> = old.map(|(id, _)| id.clone()).collect();
        for id in &ids {
            self.above.remove(id);
        }
        self.refresh_all(ids)
    }

    /// Hosts that have changed since they were given here last, at most `most` of them, in turn: the one
    /// behind `turn` is the first.
    pub(super) fn loads(&mut self, turn: &mut String, most: usize) -> Vec<Host> {
        let is_new = |row: &&Row| row.version > row.shown && !row.host.urls.is_empty();
        let behind = (Bound::Excluded(turn.as_str()), Bound::Unbounded);
        let rest = self.rows.range::<str, _>(behind).map(|(_, row)| row);
        let start = (Bound::Unbounded, Bound::Included(turn.as_str()));
        let start = self.rows.range::<str, _>(start).map(|(_, row)| row);
        let hosts: Vec<Host> = rest
            .chain(start)
            .filter(is_new)
            .take(most)
            .map(|row| row.host.clone())
            .collect();
        for host in &hosts {
            if let Some(row) = self.rows.get_mut(&host.id) {
                row.shown = row.version;
            }
        }
        if let Some(last) = hosts.last() {
            turn.clone_from(&last.id);
        }
        hosts
    }

    /// Whether there is something for a mirror that was told up to there, loads apart.
    pub(super) fn has_news(&self, told: &Told) -> bool {
        let behind = (Bound::Excluded(told.urgent), Bound::Unbounded);
        let left = self.gone.ids.back();
        !told.whole
            || left.is_some_and(|(version, _)| *version > told.gone)
            || self.by_urgent.range(behind).next().is_some()
    }

    /// One message of what is new to somebody; `None` when nothing is. Changes of load alone are left out
    /// unless `loads`. There may be more: call it again.
    pub(super) fn news(&self, told: &mut Told, toward: Toward, loads: bool) -> Option<Hosts> {
        let gone = match toward {
            Toward::Master => &self.gone_below,
            Toward::Mirror => &self.gone,
        };
        if told.begun && told.gone < gone.floor {
            *told = Told::default();
        }
        let mut message = Hosts {
            start: !told.begun,
            ..Hosts::default()
        };
        if !told.begun {
            told.begun = true;
            // Everything is told once, in the order of its last urgent change; loads from here on.
            told.gone = self.version;
            told.all = self.version;
        }
        let wanted = |row: &Row| {
            let is_ours = match toward {
                Toward::Master => row.below,
                Toward::Mirror => true,
            };
            is_ours && !row.host.urls.is_empty()
        };
        let mut all_gone = true;
        for (version, id) in &gone.ids {
            if *version <= told.gone {
                continue;
            }
            if message.gone.len() >= MAX_GONE_TOLD {
                all_gone = false;
                break;
            }
            told.gone = *version;
            // It may be back.
            if !self.rows.get(id).is_some_and(wanted) {
                message.gone.push(id.clone());
            }
        }
        let (index, cursor) = if loads && told.whole {
            (&self.by_version, &mut told.all)
        } else {
            (&self.by_urgent, &mut told.urgent)
        };
        let mut room = MAX_HOSTS_BYTES;
        let mut all_hosts = true;
        for (version, id) in index.range((Bound::Excluded(*cursor), Bound::Unbounded)) {
            let row = self.rows.get(id).filter(|row| wanted(row));
            if let Some(row) = row {
                let Some(left) = room.checked_sub(row.host.cost()) else {
                    all_hosts = false;
                    break;
                };
                if message.hosts.len() >= MAX_HOSTS_TOLD {
                    all_hosts = false;
                    break;
                }
                room = left;
                message.hosts.push(row.host.clone());
            }
            *cursor = *version;
        }
        if all_hosts {
            *cursor = self.version;
            // Whoever was told every change was told the urgent ones.
            told.urgent = self.version;
        }
        if all_gone {
            told.gone = self.version;
        }
        if all_gone && all_hosts && !told.whole {
            told.whole = true;
            message.whole = true;
        }
        let nothing = message.hosts.is_empty() && message.gone.is_empty();
        (!nothing || message.start || message.whole).then_some(message)
    }
}

impl Told {
    /// Whether there may be anything to tell.
    #[must_use]
    pub const fn is_behind(&self, version: u64) -> bool {
        !self.whole || self.urgent < version || self.gone < version
    }
}
