//! What the mirrors of this server are told of the hosts, made into bytes once for all of them: the whole
//! list for whoever comes, and part by part what has changed since.
//!
//! A thousand mirrors that come at once change the list a thousand times. They are told twice a second,
//! each time the same bytes; so it costs as much as they are many, not as much as its square.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::table::{Table, Told, Toward};
use crate::limits::MAX_HOST_NEWS;
use crate::rtmp::mirror::host::Hosts;

/// Changes that come faster than this are told together, and a whole list is used for this long.
const PAUSE: Duration = Duration::from_millis(500);
/// Loads are told this often,
const LOADS: Duration = Duration::from_secs(1);
/// so many at once, in turn: what a mirror is told of a thousand hosts is 50 kbit/s, all the time.
const LOADS_AT_ONCE: usize = 25;

/// Makes the bytes of one message. All readers have the same.
pub type Encode = fn(&Hosts) -> Bytes;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Board {
    /// Up to where the parts tell.
    told: Told,
    parts: VecDeque<Bytes>,
    bytes: usize,
    /// The number of the first part.
    first: u64,
    whole: Option<Whole>,
    /// No part before this, whatever changes.
    soonest: Option<Instant>,
    /// When loads are due.
    loads: Option<Instant>,
    /// The host whose load was told last.
    turn: String,
}

/// The whole list as it was.
#[derive(Debug)]
struct Whole {
    parts: Arc<[Bytes]>,
    /// The part to go on with.
    next: u64,
    made: Instant,
}

/// Up to where a mirror was told. It begins with the whole list.
#[derive(Debug, Default)]
pub struct Reader {
    /// Parts of the whole list, and how many of them it has.
    whole: Option<(Arc<[Bytes]>, usize)>,
    /// The part to go on with.
    next: Option<u64>,
}

fn is_due(at: Option<Instant>, now: Instant) -> bool {
    at.is_none_or(|at| now >= at)
}

impl Board {
    /// The next part for this reader, if there is one.
    pub(super) fn part(
        &mut self,
        table: &mut Table,
        reader: &mut Reader,
        now: Instant,
        encode: Encode,
    ) -> Option<Bytes> {
        self.collect(table, now, encode);
        if let Some((parts, given)) = &mut reader.whole {
            if let Some(part) = parts.get(*given) {
                *given = given.saturating_add(1);
                return Some(part.clone());
            }
            reader.whole = None;
        }
        let offset = reader.next.and_then(|next| next.checked_sub(self.first));
        if let Some(offset) = offset {
            let part = self.parts.get(usize::try_from(offset).ok()?)?;
            reader.next = reader.next.map(|next| next.saturating_add(1));
            return Some(part.clone());
        }
        // It has just come, or missed too much.
        let whole = self.whole(table, now, encode);
        reader.next = Some(whole.next);
        reader.whole = Some((Arc::clone(&whole.parts), 1));
        whole.parts.first().cloned()
    }

    /// When there may be a part that nobody has yet.
    pub(super) fn due(&self, table: &Table, now: Instant) -> Instant {
        let loads = self.loads.unwrap_or(now);
        match self.soonest {
            Some(soonest) if table.has_news(&self.told) => loads.min(soonest),
            None if table.has_news(&self.told) => now,
            _ => loads,
        }
    }

    fn collect(&mut self, table: &mut Table, now: Instant, encode: Encode) {
        if is_due(self.soonest, now) {
            let mut any = false;
            while let Some(news) = table.news(&mut self.told, Toward::Mirror, false) {
                self.keep(encode(&news));
                any = true;
            }
            if any {
                self.soonest = now.checked_add(PAUSE);
            }
        }
        if is_due(self.loads, now) {
            self.loads = now.checked_add(LOADS);
            let hosts = table.loads(&mut self.turn, LOADS_AT_ONCE);
            if !hosts.is_empty() {
                let news = Hosts {
                    hosts,
                    ..Hosts::default()
                };
                self.keep(encode(&news));
            }
        }
    }

    fn keep(&mut self, part: Bytes) {
        self.bytes = self.bytes.saturating_add(part.len());
        self.parts.push_back(part);
        while self.bytes > MAX_HOST_NEWS {
            let Some(gone) = self.parts.pop_front() else {
                break;
            };
            self.bytes = self.bytes.saturating_sub(gone.len());
            self.first = self.first.saturating_add(1);
        }
    }

    fn whole(&mut self, table: &Table, now: Instant, encode: Encode) -> &Whole {
        let first = self.first;
        let fresh = |whole: &Whole| {
            whole.next >= first && now.saturating_duration_since(whole.made) < PAUSE
        };
        let old = self.whole.take().filter(fresh);
        self.whole.insert(old.unwrap_or_else(|| {
            let mut told = Told::default();
            let mut parts = Vec::new();
            while let Some(news) = table.news(&mut told, Toward::Mirror, false) {
                parts.push(encode(&news));
            }
            // What the list has already and the next parts have as well is told twice; it is the same.
            let count = u64::try_from(self.parts.len()).unwrap_or(u64::MAX);
            Whole {
                parts: parts.into(),
                next: first.saturating_add(count),
                made: now,
            }
        }))
    }
}
