//! A drain from its beginning to its end: viewers are asked to move, again now and then, and those who are
//! still there at the deadline are ended.
//!
//! The server stays up behind it, without viewers and not ready, unless whoever drains it wants it to end:
//! a service manager would start it again at once, and take what it serves back into its cluster.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use super::parts::Parts;
use crate::cluster::Drain;
use crate::limits::SHARD_ANSWER;
use crate::net::{Shards, Wish};
use crate::telemetry::words::count;

/// The keys of the troubles.
const DRAIN: &str = "drain";
const SOURCE: &str = "source";
/// How often to look whether everybody has left.
const LOOK: Duration = Duration::from_millis(200);
/// Viewers who are still there are asked again this often: the server that they went to may have been
/// full.
const REMIND: Duration = Duration::from_secs(10);

/// Cares for drains for ever; `over` becomes true when the server should end behind one.
pub(super) async fn care(parts: Parts, shards: Arc<Shards>, over: watch::Sender<bool>) {
    let bell = Arc::new(Notify::new());
    let watch = parts.cluster.watch(bell.clone());
    let mut care = Care {
        parts,
        shards,
        over,
        now: None,
        asked: None,
    };
    loop {
        if care.is_busy() {
            // Whether something rang or not.
            let _ = timeout(LOOK, bell.notified()).await;
        } else {
            bell.notified().await;
        }
        watch.looks();
        care.turn(Instant::now()).await;
    }
}

/// What is known of the drain that goes on.
struct Underway {
    drain: Drain,
    reminded: Instant,
    /// Nobody watches any more, or those who did were ended; it has been said.
    done: bool,
}

struct Care {
    parts: Parts,
    shards: Arc<Shards>,
    over: watch::Sender<bool>,
    now: Option<Underway>,
    /// When viewers were asked to move because the server above is drained.
    asked: Option<Instant>,
}

impl Care {
    fn is_busy(&self) -> bool {
        let cluster = &self.parts.cluster;
        let busy = cluster.draining().is_some() || cluster.source_goes();
        busy || self.now.is_some() || self.asked.is_some()
    }

    /// The server above is drained: viewers should move while they still have a picture.
    async fn mind_source(&mut self, now: Instant) {
        if !self.parts.cluster.source_goes() {
            if self.asked.take().is_some() {
                self.parts.health.clear(SOURCE);
                tracing::info!(code = "undrained", "the server above is drained no more");
            }
            return;
        }
        let recently = |at: Instant| now.saturating_duration_since(at) < REMIND;
        if self.asked.is_some_and(recently) {
            return;
        }
        let is_new = self.asked.replace(now).is_none();
        let told = self.tell(Wish::Move).await;
        if is_new {
            let why = "the server that this one pulls from is drained";
            self.parts.health.trouble(SOURCE, why);
            tracing::warn!(
                code = "source-drained",
                "{why}: {} asked to move",
                count(told, "viewer")
            );
        }
    }

    async fn turn(&mut self, now: Instant) {
        let drain = self.parts.cluster.draining();
        let Some(drain) = drain else {
            if self.now.take().is_some() {
                self.parts.health.clear(DRAIN);
                tracing::info!(code = "undrained", "the server takes viewers again");
            }
            return self.mind_source(now).await;
        };
        let is_new = self.now.as_ref().is_none_or(|n| n.drain != drain);
        if is_new {
            let seconds = drain.left(now).as_secs();
            let told = self.tell(Wish::Move).await;
            tracing::warn!(
                code = "drain",
                exit = drain.exit,
                "the server is drained: {} asked to move within {seconds} s, new ones go elsewhere",
                count(told, "viewer")
            );
            self.now = Some(Underway {
                drain,
                reminded: now,
                done: false,
            });
        }
        let viewers = usize::try_from(self.parts.cluster.load().viewers).unwrap_or(usize::MAX);
        let left = drain.left(now);
        self.parts.health.trouble(
            DRAIN,
            if viewers > 0 {
                format!(
                    "the server is drained, {} have {} s to move",
                    count(viewers, "viewer"),
                    left.as_secs()
                )
            } else {
                "the server is drained, and nobody watches any more".to_owned()
            },
        );
        let Some(underway) = &mut self.now else {
            return;
        };
        if underway.done {
            return;
        }
        if viewers == 0 || left.is_zero() {
            underway.done = true;
            self.end(drain, viewers).await;
        } else if now.saturating_duration_since(underway.reminded) >= REMIND {
            underway.reminded = now;
            self.tell(Wish::Move).await;
        }
    }

    async fn end(&self, drain: Drain, viewers: usize) {
        if viewers > 0 {
            // Told before they go: whoever sees nobody left sees why.
            let counted = u32::try_from(viewers).unwrap_or(u32::MAX);
            self.parts.cluster.note_ended(counted);
            self.tell(Wish::Leave).await;
            tracing::warn!(
                code = "drained",
                ended = viewers,
                "the server is drained: its time is over, {} ended",
                count(viewers, "viewer")
            );
        } else {
            tracing::info!(
                code = "drained",
                "the server is drained: nobody watches any more"
            );
        }
        if drain.exit {
            self.over.send_replace(true);
        }
    }

    /// Tells the viewers of all shards; how many there are.
    async fn tell(&self, wish: Wish) -> usize {
        let mut told = 0_usize;
        for index in 0..self.shards.count() {
            let question = move |shard: std::rc::Rc<crate::net::Shard>| async move {
                shard.tell_viewers(wish).await
            };
            // One that does not answer has its own line in the log.
            let answer = self.shards.ask(index, SHARD_ANSWER, question).await;
            told = told.saturating_add(answer.unwrap_or(0));
        }
        told
    }
}
