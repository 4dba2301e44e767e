//! The task that follows a stream's log and makes segments of it.

use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};

use super::{Hls, Live};
use crate::bridge::{NoSegment, Packager};
use crate::hls::Segment;
use crate::limits::HLS_IDLE;
use crate::media::{Frame, Role, Slot};
use crate::net::Shard;
use crate::relay::{State, Tail, Wake};
use crate::telemetry::logging::limited;

/// After this long without a frame it looks whether anybody still asks.
const LOOK: Duration = Duration::from_secs(1);
/// Frames that come within this time are looked at together; a segment is late by as much at most.
const COLLECT: Duration = Duration::from_millis(20);
/// Others get their turn on the shard after so many entries: making a segment is a copy of them.
const TURN: usize = 256;

#[derive(Default)]
struct Bell(Notify);

impl Wake for Bell {
    fn wake(&self) {
        self.0.notify_one();
    }
}

/// Takes the packaging off the list, however its task ends.
struct Listed(Arc<Hls>, Arc<Live>);

impl Drop for Listed {
    fn drop(&mut self) {
        self.0.forget(&self.1);
        self.1.lock().over = true;
        self.1.changed.notify_waiters();
    }
}

/// Begins the packaging of a stream on this shard.
pub(super) fn begin(hls: Arc<Hls>, shard: &Rc<Shard>, live: Arc<Live>) {
    let listed = Listed(hls, live);
    let on = Rc::clone(shard);
    shard.run(async move {
        let work = follow(&listed.1);
        tokio::select! {
            () = work => {}
            () = on.stopping() => {}
        }
    });
}

async fn follow(live: &Live) {
    let bell = Arc::new(Bell::default());
    let mut tail = Tail::new(Arc::clone(&live.stream), Arc::clone(&bell) as Arc<dyn Wake>);
    let mut reading = Reading::default();
    tracing::debug!(stream = %live.stream.name(), "packaging begins");
    loop {
        tail.refresh();
        while reading.turn(&tail, live) {
            yield_now().await;
        }
        let ended = tail.state() == State::Ended;
        let idle = {
            let mut state = live.lock();
            if ended && !state.over {
                state.over = true;
            }
            let first = !std::mem::replace(&mut state.caught_up, true);
            if first || ended {
                live.changed.notify_waiters();
            }
            state.asked.elapsed()
        };
        if idle >= HLS_IDLE {
            tracing::debug!(stream = %live.stream.name(), "packaging ends, nobody asks");
            return;
        }
        if timeout(LOOK, bell.0.notified()).await.is_ok() {
            sleep(COLLECT).await;
        }
    }
}

/// Where it is in the log.
#[derive(Default)]
struct Reading {
    packager: Packager,
    /// The number of the entry that comes next; `None` before a place to begin was found.
    next: Option<u64>,
    finished: bool,
    /// Said already.
    told: HashSet<&'static str>,
}

impl Reading {
    /// Takes some entries of the log; whether there may be more.
    fn turn(&mut self, tail: &Tail, live: &Live) -> bool {
        if self.next.is_none() {
            self.next = self.place(tail);
        }
        let Some(from) = self.next else {
            return false;
        };
        let mut taken = 0;
        for entry in tail.logged(from).take(TURN) {
            if self.next != Some(entry.seq)
                && let Some(why) = self.packager.lost()
            {
                self.note(live, Err(why));
            }
            self.next = Some(entry.seq.saturating_add(1));
            taken += 1;
            if let Some(made) = self.packager.feed(&entry) {
                self.note(live, made);
            }
        }
        let over = taken == 0 && tail.state() == State::Ended;
        if over
            && !std::mem::replace(&mut self.finished, true)
            && let Some(made) = self.packager.finish()
        {
            self.note(live, made);
        }
        taken == TURN
    }

    /// The oldest entry that begins a segment of the present epoch and whose headers are known: they
    /// are in the log before it, or have not changed since.
    fn place(&mut self, tail: &Tail) -> Option<u64> {
        let epoch = tail.logged(0).last()?.epoch;
        let newest: Vec<(u64, &Arc<Frame>)> = tail.headers().collect();
        let media = |slot| matches!(slot, Slot::VideoSequence(0) | Slot::AudioSequence(0));
        let mut seen: Vec<(Slot, &Arc<Frame>)> = Vec::new();
        for entry in tail.logged(0).filter(|entry| entry.epoch == epoch) {
            if let Role::Header(slot) = entry.frame.role {
                seen.retain(|(s, _)| *s != slot);
                seen.push((slot, entry.frame));
            }
            if !entry.begins {
                continue;
            }
            let mut headers = seen.clone();
            let mut known = true;
            for (seq, frame) in &newest {
                let Role::Header(slot) = frame.role else {
                    continue;
                };
                if !media(slot) || seen.iter().any(|(s, _)| *s == slot) {
                    continue;
                }
                // It was replaced since, by what nobody knows here.
                known &= *seq < entry.seq;
                headers.push((slot, frame));
            }
            if known {
                for (_, frame) in headers {
                    self.packager.header(frame);
                }
                return Some(entry.seq);
            }
        }
        None
    }

    fn note(&mut self, live: &Live, made: Result<Segment, NoSegment>) {
        let stream = live.stream.name();
        let mut state = live.lock();
        match made {
            Ok(segment) => {
                state.trouble = None;
                state.window.push(Arc::new(segment));
            }
            Err(why) => {
                if let Some(code) = code(&why)
                    && self.told.insert(code)
                {
                    limited(code, Instant::now(), || {
                        tracing::warn!(%stream, code, "a segment for HLS could not be made: {why}");
                    });
                }
                state.trouble = Some(why);
            }
        }
        drop(state);
        live.changed.notify_waiters();
    }
}

/// The stable code of a log line; nothing is said of what the source's own lines explain.
const fn code(why: &NoSegment) -> Option<&'static str> {
    match why {
        NoSegment::Incomplete => None,
        NoSegment::TooLarge => Some("hls-segment-too-large"),
        NoSegment::Unsupported(_) => Some("hls-unsupported"),
    }
}
