//! One task for each stream on a shard: woken once for new frames, it walks the stream's viewers.
//!
//! The walk goes in slices of about half a millisecond, with accepting, reading and other streams in
//! between, and begins elsewhere each time. It serves only viewers that are up to date; one whose
//! socket is full, or that has much to catch up with, is continued by its own connection's task
//! ([`Outlet::drive`]) and comes back here when it has caught up.

use std::cell::{Cell, Ref, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::task::yield_now;
use tokio::time::sleep_until;

use super::bell::{Bell, Timer};
use super::outlet::{Ending, Outlet};
use super::shards::Shard;
use crate::relay::{Stream, Tail, Wake};

/// How long a walk keeps the shard before others get their turn.
const SLICE: Duration = Duration::from_micros(500);
/// Audio of a stream with video rides along with the next picture, if that comes this soon.
const RIDE: Duration = Duration::from_millis(40);
/// With a merge time that is longer than that, the viewers take turns within it: so many groups at most,
/// evenly spread.
const TURNS: u32 = 8;
/// From one turn to the next, at least: each costs a look at all places.
const STEP: Duration = Duration::from_millis(10);

/// How many turns there are in a merge time.
fn turns_of(merge: Duration) -> u32 {
    let fit = merge.as_millis().checked_div(STEP.as_millis());
    let fit = fit.and_then(|fit| u32::try_from(fit).ok());
    fit.unwrap_or(TURNS).clamp(1, TURNS)
}

/// The streams that have viewers on this shard.
#[derive(Debug, Default)]
pub(super) struct Fanout {
    /// By the address of the stream, which each [`Fan`] keeps alive.
    fans: RefCell<HashMap<usize, Rc<Fan>>>,
}

impl Fanout {
    /// The fan of a stream; its task begins when it is the first viewer's.
    pub(super) fn fan(&self, shard: &Rc<Shard>, stream: &Arc<Stream>) -> Rc<Fan> {
        let key = Arc::as_ptr(stream).addr();
        if let Some(fan) = self.fans.borrow().get(&key) {
            return Rc::clone(fan);
        }
        let bell = Arc::new(Bell::default());
        let waker: Arc<dyn Wake> = Arc::clone(&bell) as _;
        let fan = Rc::new(Fan {
            tail: RefCell::new(Tail::new(Arc::clone(stream), waker)),
            viewers: RefCell::default(),
            bell,
            first: Cell::new(0),
            turn: Cell::new(0),
        });
        self.fans.borrow_mut().insert(key, Rc::clone(&fan));
        let shard_of_task = Rc::downgrade(shard);
        let ruined = Rc::clone(&fan);
        let shard_of_ruin = Rc::downgrade(shard);
        let run = Rc::clone(&fan);
        shard.run_or(
            async move {
                run.run(&shard_of_task).await;
                forget(&shard_of_task, key);
            },
            move || {
                ruined.end_all(Ending::Defect);
                forget(&shard_of_ruin, key);
            },
        );
        fan
    }

    /// Streams that have viewers here.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.fans.borrow().len()
    }
}

fn forget(shard: &Weak<Shard>, key: usize) {
    if let Some(shard) = shard.upgrade() {
        shard.fanout().fans.borrow_mut().remove(&key);
    }
}

/// One stream on one shard.
#[derive(Debug)]
pub(super) struct Fan {
    tail: RefCell<Tail>,
    viewers: RefCell<Viewers>,
    bell: Arc<Bell>,
    /// Where the next walk begins.
    first: Cell<usize>,
    /// Which group of viewers had the last turn.
    turn: Cell<u32>,
}

/// Places that keep their number for as long as they are taken.
#[derive(Debug, Default)]
struct Viewers {
    places: Vec<Option<Rc<Outlet>>>,
    free: Vec<usize>,
}

impl Fan {
    /// The shard's copy of the stream. Must not be kept across an `await`.
    pub(super) fn tail(&self) -> Ref<'_, Tail> {
        self.tail.borrow()
    }

    /// Takes what the stream has by now. Its viewers are not woken for that: whoever calls this sends
    /// it, and each of them does.
    pub(super) fn refresh(&self) {
        self.tail.borrow_mut().refresh();
    }

    /// Adds a viewer; the number is for [`Fan::leave`].
    pub(super) fn enter(&self, outlet: &Rc<Outlet>) -> usize {
        let mut viewers = self.viewers.borrow_mut();
        let taken = Some(Rc::clone(outlet));
        if let Some(place) = viewers.free.pop()
            && let Some(free) = viewers.places.get_mut(place)
        {
            *free = taken;
            return place;
        }
        viewers.places.push(taken);
        viewers.places.len().saturating_sub(1)
    }

    /// Removes a viewer; with the last one the task ends.
    pub(super) fn leave(&self, place: usize) {
        let mut viewers = self.viewers.borrow_mut();
        if let Some(taken) = viewers.places.get_mut(place)
            && taken.take().is_some()
        {
            viewers.free.push(place);
        }
        if viewers.is_empty() {
            self.bell.wake();
        }
    }

    async fn run(&self, shard: &Weak<Shard>) {
        // When it looks again by itself: what waits then goes out, if nothing worth a flush of its
        // own came first.
        let mut due: Option<Instant> = None;
        let sleep = pin!(sleep_until(Instant::now().into()));
        let mut timer = Timer::new(sleep);
        // Of the turns of a merge time, those that still have something to send.
        let mut turns = 0;
        // It has seen audio that waits for the next picture.
        let mut waits = false;
        loop {
            let rung = poll_fn(|cx| {
                if self.bell.poll_rung(cx).is_ready() {
                    return Poll::Ready(true);
                }
                let due = due.map_or(Poll::Pending, |due| timer.poll_until(due, cx));
                due.map(|()| false)
            })
            .await;
            if self.viewers.borrow().is_empty() {
                return;
            }
            let merge = shard.upgrade().map_or(Duration::ZERO, |s| s.merge());
            // Audio rides along with a picture that waits for so short a time.
            let short = merge < RIDE;
            let now = Instant::now();
            if !rung && !waits && short {
                let since = self.tail().aboard();
                let until = since.and_then(|since| since.checked_add(RIDE));
                if until.is_some_and(|until| until > now) {
                    due = until;
                    continue;
                }
            }
            let change = self.tail.borrow_mut().refresh();
            let is_due = due.is_some_and(|due| due <= now);
            waits |= change.frames > 0;
            let at_once = merge.is_zero() && change.flush;
            if change.state || (short && (at_once || (is_due && waits))) {
                (due, turns, waits) = (None, 0, false);
                if short {
                    due = now.checked_add(RIDE);
                    self.tail().ride();
                }
                self.walk(1, 0).await;
            } else if short {
                due = due.filter(|_| waits);
                if change.flush {
                    let soon = now.checked_add(merge);
                    due = due.min(soon).or(soon);
                    self.tail().doze();
                } else if waits {
                    due = due.or_else(|| now.checked_add(RIDE));
                    self.tail().ride();
                }
            } else {
                let all = turns_of(merge);
                if change.frames > 0 || change.flush {
                    turns = all;
                }
                let step = merge.checked_div(all).unwrap_or(merge);
                if is_due {
                    turns = turns.saturating_sub(1);
                    due = None;
                    let turn = self.turn.get().wrapping_add(1);
                    self.turn.set(turn);
                    self.walk(all as usize, turn as usize).await;
                }
                if turns > 0 {
                    due = due.or_else(|| now.checked_add(step));
                    self.tail().doze();
                }
            }
        }
    }

    /// Serves every viewer whose place is `turn` modulo `turns`.
    async fn walk(&self, turns: usize, turn: usize) {
        let places = self.viewers.borrow().places.len();
        let first = self.first.get();
        self.first.set(first.wrapping_add(1));
        let mut now = Instant::now();
        let mut slice = now;
        for step in 0..places {
            let place = first.wrapping_add(step).checked_rem(places).unwrap_or(0);
            if turns > 1 && place % turns != turn % turns {
                continue;
            }
            let outlet = self.viewers.borrow().at(place);
            let Some(outlet) = outlet else { continue };
            // What goes wrong in the machinery of one viewer must not cost the others theirs.
            if catch_unwind(AssertUnwindSafe(|| outlet.turn(now))).is_err() {
                outlet.defect();
            }
            now = Instant::now();
            if now.saturating_duration_since(slice) >= SLICE {
                yield_now().await;
                now = Instant::now();
                slice = now;
            }
        }
    }

    fn end_all(&self, ending: Ending) {
        let all: Vec<_> = self
            .viewers
            .borrow()
            .places
            .iter()
            .flatten()
            .cloned()
            .collect();
        for outlet in all {
            outlet.end(ending);
        }
    }
}

impl Viewers {
    fn at(&self, place: usize) -> Option<Rc<Outlet>> {
        self.places.get(place)?.clone()
    }

    const fn is_empty(&self) -> bool {
        self.places.len() == self.free.len()
    }
}
