//! One thread with a single-threaded runtime per core; a connection stays on the one it was given to.
//!
//! What a connection shares with the others of its shard needs no lock, and a stream wakes a shard
//! once for all its viewers there. A task that panics ends alone: it is counted and logged.

#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::LocalSet;
use tokio::time::{sleep, timeout};

use super::fanout::Fanout;
use super::pacing::{Latency, Pacing};
use super::registry::{Numbers, Registry};
use crate::limits::{Limits, READ_BUFFER, SHARD_QUEUE};
use crate::telemetry::metrics::Metrics;
use crate::transport::Socket;

/// How much of a stop's grace is kept for the last words of each connection, at most.
const LAST_WORDS: Duration = Duration::from_secs(1);

type Job = Box<dyn FnOnce(&Rc<Shard>) + Send>;

/// The shard's thread is gone; only after [`Shards::finish`], or when the process is out of order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the shard has stopped")]
pub struct Stopped;

/// How far stopping has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    /// Connections are asked to end, and may give until then what is due.
    Stopping(Instant),
    /// What is left is dropped.
    Over,
}

/// All shards of the process.
#[derive(Debug)]
pub struct Shards {
    handles: Vec<Handle>,
    phase: watch::Sender<Phase>,
    bounds: watch::Sender<Bounds>,
}

/// What a reload changes.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    limits: Limits,
    latency: Latency,
}

#[derive(Debug)]
struct Handle {
    jobs: mpsc::Sender<Job>,
    load: Arc<AtomicUsize>,
    beat: Arc<AtomicU64>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the tasks of one shard share; lives on its thread alone.
#[derive(Debug)]
pub struct Shard {
    index: usize,
    limits: RefCell<Arc<Limits>>,
    metrics: Arc<Metrics>,
    /// Set when the process stops: until when; `stop` tells those who wait for it.
    stops: Cell<Option<Instant>>,
    stop: Notify,
    buffer: RefCell<Vec<u8>>,
    fanout: Fanout,
    pacing: Pacing,
    registry: Registry,
}

impl Shards {
    /// Starts `count` threads (at least one).
    ///
    /// # Errors
    /// When the system gives no thread or no event queue.
    pub fn start(
        count: usize,
        limits: Limits,
        latency: Latency,
        metrics: &Arc<Metrics>,
    ) -> io::Result<Arc<Self>> {
        let (phase, _) = watch::channel(Phase::Running);
        let (bounds, _) = watch::channel(Bounds { limits, latency });
        let mut handles = Vec::new();
        let numbers = Numbers::default();
        for index in 0..count.max(1) {
            let (jobs, mut queue) = mpsc::channel::<Job>(SHARD_QUEUE);
            let metrics = Arc::clone(metrics);
            let beat = Arc::<AtomicU64>::default();
            let beating = Arc::clone(&beat);
            let numbers = Arc::clone(&numbers);
            let mut phases = phase.subscribe();
            let mut new_bounds = bounds.subscribe();
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                // A turn of the runtime is up to 61 tasks of the set: sockets and timers are looked at
                // after each. With the default, 61 turns, tasks that are always ready (a pipelined
                // flood of requests) hold back everybody else's events for seconds.
                .event_interval(1)
                .build()?;
            let thread = std::thread::Builder::new()
                .name(format!("shard-{index}"))
                .spawn(move || {
                    let shard = Rc::new(Shard {
                        index,
                        limits: RefCell::new(Arc::new(limits)),
                        metrics,
                        stops: Cell::new(None),
                        stop: Notify::new(),
                        buffer: RefCell::new(vec![0; READ_BUFFER]),
                        fanout: Fanout::default(),
                        pacing: Pacing::new(latency),
                        registry: Registry::new(numbers),
                    });
                    LocalSet::new().block_on(&runtime, async move {
                        let watched = Rc::clone(&shard);
                        shard.run(async move {
                            let pacing = &watched.pacing;
                            pacing.watch(index, &watched.metrics, &beating).await;
                        });
                        loop {
                            tokio::select! {
                                job = queue.recv() => match job {
                                    Some(job) => job(&shard),
                                    None => break,
                                },
                                changed = phases.changed() => {
                                    let phase = *phases.borrow_and_update();
                                    if changed.is_err() || phase == Phase::Over {
                                        break;
                                    }
                                    if let Phase::Stopping(until) = phase {
                                        shard.stops.set(Some(until));
                                        shard.stop.notify_waiters();
                                    }
                                }
                                Ok(()) = new_bounds.changed() => {
                                    shard.set_bounds(*new_bounds.borrow_and_update());
                                }
                            }
                        }
                    });
                })?;
            handles.push(Handle {
                jobs,
                load: Arc::default(),
                beat,
                thread: Mutex::new(Some(thread)),
            });
        }
        Ok(Arc::new(Self {
            handles,
            phase,
            bounds,
        }))
    }

    /// New bounds: deadlines of sending and the latency at once, the others for connections that come
    /// from now on. Each shard takes them at its next turn.
    pub fn set_bounds(&self, limits: Limits, latency: Latency) {
        self.bounds.send_replace(Bounds { limits, latency });
    }

    /// The bounds that hold now.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.bounds.borrow().limits
    }

    /// How many there are; at least one.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.handles.len()
    }

    /// For each shard a number that grows twice a second as long as its thread makes progress.
    pub fn beats(&self) -> impl Iterator<Item = u64> {
        self.handles.iter().map(|h| h.beat.load(Ordering::Relaxed))
    }

    /// The shard with the fewest connections.
    #[must_use]
    pub fn choose(&self) -> usize {
        self.handles
            .iter()
            .enumerate()
            .min_by_key(|(_, h)| h.load.load(Ordering::Relaxed))
            .map_or(0, |(index, _)| index)
    }

    /// Connections on one shard.
    #[must_use]
    pub fn load(&self, index: usize) -> usize {
        self.handles
            .get(index)
            .map_or(0, |h| h.load.load(Ordering::Relaxed))
    }

    /// Makes and runs a future on a shard (`index` modulo their number). Waits while the shard's
    /// queue is full. A panic in `make` or in its future is caught, counted and logged.
    ///
    /// # Errors
    /// [`Stopped`] after [`Shards::finish`].
    pub async fn spawn<F, T>(&self, index: usize, make: F) -> Result<(), Stopped>
    where
        F: FnOnce(Rc<Shard>) -> T + Send + 'static,
        T: Future<Output = ()> + 'static,
    {
        let handle = self
            .handles
            .get(index.checked_rem(self.handles.len()).unwrap_or(0))
            .ok_or(Stopped)?;
        let place = Place::take(&handle.load);
        let job: Job = Box::new(move |shard| {
            let inner = Rc::clone(shard);
            match catch_unwind(AssertUnwindSafe(|| make(inner))) {
                Ok(task) => {
                    let task = Box::pin(task);
                    shard.run(async move {
                        let _place = place;
                        task.await;
                    });
                }
                Err(_) => lost(shard.index, &shard.metrics),
            }
        });
        handle.jobs.send(job).await.map_err(|_| Stopped)
    }

    /// Lets a shard answer a question on its own thread. `None` when it does not within that time: it
    /// is stuck, overloaded, or has stopped.
    pub async fn ask<F, A, T>(&self, index: usize, within: Duration, question: F) -> Option<T>
    where
        F: FnOnce(Rc<Shard>) -> A + Send + 'static,
        A: Future<Output = T> + 'static,
        T: Send + 'static,
    {
        let handle = self.handles.get(index)?;
        // What a stuck shard never answers must not take the places of connections.
        if handle.jobs.capacity() < SHARD_QUEUE / 2 {
            return None;
        }
        let (tell, told) = oneshot::channel();
        let job: Job = Box::new(move |shard| {
            let inner = Rc::clone(shard);
            shard.run(async move { drop(tell.send(question(inner).await)) });
        });
        let answer = async {
            handle.jobs.send(job).await.ok()?;
            told.await.ok()
        };
        timeout(within, answer).await.ok().flatten()
    }

    /// Asks every connection to end ([`Shard::stopping`]); new ones still start, and end at once.
    fn request_stop(&self, grace: Duration) {
        // Some of the time is for the last words.
        let words = LAST_WORDS.min(grace / 4);
        let now = Instant::now();
        let until = now.checked_add(grace.saturating_sub(words)).unwrap_or(now);
        self.phase.send_if_modified(|p| {
            let first = *p == Phase::Running;
            if first {
                *p = Phase::Stopping(until);
            }
            first
        });
    }

    /// Asks every connection to end, waits for them up to `grace`, drops the rest and ends the
    /// threads. Returns how many connections had to be dropped.
    pub async fn finish(&self, grace: Duration) -> usize {
        self.request_stop(grace);
        let left = || (0..self.count()).map(|i| self.load(i)).sum::<usize>();
        let _ = timeout(grace, async {
            while left() > 0 {
                sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        let dropped = left();
        self.phase.send_replace(Phase::Over);
        for handle in &self.handles {
            let thread = handle
                .thread
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take();
            let Some(thread) = thread else { continue };
            // The thread leaves its loop at its next turn. One that is stuck is left behind after a
            // second: it must not keep the process, whose end is its end.
            let _ = timeout(Duration::from_secs(1), async {
                while !thread.is_finished() {
                    sleep(Duration::from_millis(1)).await;
                }
            })
            .await;
            if thread.is_finished() {
                let _ = thread.join();
            }
        }
        dropped
    }
}

impl Shard {
    /// Which of the shards this is.
    #[must_use]
    pub const fn index(&self) -> usize {
        self.index
    }

    /// The bounds that the configuration set.
    #[must_use]
    pub fn limits(&self) -> Arc<Limits> {
        Arc::clone(&self.limits.borrow())
    }

    fn set_bounds(&self, bounds: Bounds) {
        *self.limits.borrow_mut() = Arc::new(bounds.limits);
        self.pacing.set(bounds.latency);
    }

    /// The process's counters.
    #[must_use]
    pub const fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// The streams that have viewers on this shard.
    pub(super) const fn fanout(&self) -> &Fanout {
        &self.fanout
    }

    /// Who is connected here.
    pub(super) const fn registry(&self) -> &Registry {
        &self.registry
    }

    /// How long this shard lets frames collect.
    pub(super) fn merge(&self) -> Duration {
        self.pacing.merge()
    }

    /// Whether the process stops.
    pub fn is_stopping(&self) -> bool {
        self.stops.get().is_some()
    }

    /// Returns once the process stops; at once when it does already.
    pub async fn stopping(&self) {
        // One thread: nothing can change between the look and the wait.
        while self.stops.get().is_none() {
            self.stop.notified().await;
        }
    }

    /// When a connection that the process ends must be done with what is due to its peer.
    #[must_use]
    pub fn due_until(&self) -> Instant {
        self.stops.get().unwrap_or_else(Instant::now)
    }

    /// Reads what a socket has, at most the shard's buffer, and shows it to `take`; `take` must not
    /// call this again. `Ok` of an empty slice is the end of the stream.
    ///
    /// # Errors
    /// As [`Socket::try_read`]; `WouldBlock` when there is nothing to read.
    pub fn read<T>(&self, socket: &Socket, take: impl FnOnce(&[u8]) -> T) -> io::Result<T> {
        let mut own;
        let mut shared = self.buffer.try_borrow_mut();
        let buffer = match shared {
            Ok(ref mut buffer) => buffer.as_mut_slice(),
            // Only if `take` reads again, against what is written above.
            Err(_) => {
                own = vec![0; READ_BUFFER];
                own.as_mut_slice()
            }
        };
        let n = socket.try_read(buffer)?;
        Ok(take(buffer.get(..n).unwrap_or_default()))
    }

    /// Runs a task on this shard that is no connection. A panic in it is caught, counted and logged.
    pub fn run(&self, task: impl Future<Output = ()> + 'static) {
        self.run_or(task, || ());
    }

    /// Like [`Shard::run`]; `ruined` runs after a panic.
    pub(super) fn run_or(
        &self,
        task: impl Future<Output = ()> + 'static,
        ruined: impl FnOnce() + 'static,
    ) {
        let metrics = Arc::clone(&self.metrics);
        let index = self.index;
        let guarded = Guarded(Box::pin(task));
        tokio::task::spawn_local(async move {
            if let Err(Panicked) = guarded.await {
                lost(index, &metrics);
                ruined();
            }
        });
    }
}

fn lost(shard: usize, metrics: &Metrics) {
    metrics.panics.inc();
    tracing::error!(shard, code = "defect", "a task was lost to a defect");
}

/// One connection in the load of its shard.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(load: &Arc<AtomicUsize>) -> Self {
        load.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(load))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Panicked;

/// A future whose panics end it instead of unwinding further.
struct Guarded<T>(Pin<Box<T>>);

impl<T: Future<Output = ()>> Future for Guarded<T> {
    type Output = Result<(), Panicked>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // The future is never polled again after a panic, so nobody sees what it left half done;
        // what it shares with others are cells whose guards are released by unwinding.
        match catch_unwind(AssertUnwindSafe(|| self.0.as_mut().poll(cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(())) => Poll::Ready(Ok(())),
            Err(_) => Poll::Ready(Err(Panicked)),
        }
    }
}
