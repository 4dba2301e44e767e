//! The task that follows a stream's log and makes segments of it.

use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};

use super::{Hls, Live};
use crate::bridge::{Following, NoSegment};
use crate::hls::Segment;
use crate::limits::HLS_IDLE;
use crate::net::Shard;
use crate::relay::{State, Tail, Wake};
use crate::telemetry::logging::limited;
use crate::telemetry::metrics::HlsFigures;

/// After this long without a frame it looks whether anybody still asks.
const LOOK: Duration = Duration::from_secs(1);
/// Frames that come within this time are looked at together; a segment is late by as much at most.
const COLLECT: Duration = Duration::from_millis(20);
/// Others get their turn on the shard after so many entries: making a segment is a copy of them.
const TURN: usize = 256;

/// Takes the packaging off the list, however its task ends.
struct Listed(Arc<Hls>, Arc<Live>);

impl Listed {
    fn new(hls: Arc<Hls>, live: Arc<Live>) -> Self {
        hls.counters.metrics.hls.streams.inc();
        Self(hls, live)
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        let Self(hls, live) = self;
        hls.forget(live);
        let figures = &hls.counters.metrics.hls;
        figures.streams.dec();
        let mut state = live.lock();
        state.over = true;
        state.caught_up = true;
        state.viewers.clear();
        figures.bytes.dec_by(signed(state.window.bytes()));
        drop(state);
        live.changed.notify_waiters();
    }
}

fn signed(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// Begins the packaging of a stream on this shard.
pub(super) fn begin(hls: Arc<Hls>, shard: &Rc<Shard>, live: Arc<Live>) {
    let listed = Listed::new(hls, live);
    let on = Rc::clone(shard);
    shard.run(async move {
        let Listed(hls, live) = &listed;
        let work = follow(live, &hls.counters.metrics.hls);
        tokio::select! {
            () = work => {}
            () = on.stopping() => {}
        }
    });
}

async fn follow(live: &Live, figures: &HlsFigures) {
    let bell = Arc::new(Notify::new());
    let mut tail = Tail::new(Arc::clone(&live.stream), Arc::clone(&bell) as Arc<dyn Wake>);
    let mut following = Following::default();
    let mut making = Making {
        live,
        figures,
        told: HashSet::new(),
    };
    tracing::debug!(stream = %live.stream.name(), "packaging begins");
    loop {
        tail.refresh();
        while following.turn(&tail, TURN, |made| making.note(made)) {
            yield_now().await;
        }
        let ended = tail.state() == State::Ended;
        let idle = {
            let now = Instant::now();
            let mut state = live.lock();
            let longest = state.window.newest().map_or(0, |s| s.longest);
            state.viewers.tick(Duration::from_millis(longest), now);
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
        if timeout(LOOK, bell.notified()).await.is_ok() {
            sleep(COLLECT).await;
        }
    }
}

/// What comes of the segments.
struct Making<'a> {
    live: &'a Live,
    figures: &'a HlsFigures,
    /// Said already.
    told: HashSet<&'static str>,
}

impl Making<'_> {
    fn note(&mut self, made: Result<Segment, NoSegment>) {
        let (live, figures) = (self.live, self.figures);
        let stream = live.stream.name();
        let mut state = live.lock();
        match made {
            Ok(segment) => {
                state.trouble = None;
                let before = signed(state.window.bytes());
                state.window.push(Arc::new(segment));
                let change = signed(state.window.bytes()).saturating_sub(before);
                figures.bytes.inc_by(change);
                figures.segments.inc();
            }
            Err(why) => {
                figures.lost.inc();
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
