//! Waking one task, and waiting for a time, at little cost: a viewer's connection has one of each, and
//! a publisher's passes here for every message.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use tokio::sync::Notify;
use tokio::time::Sleep;

use crate::relay::Wake;

/// Wakes one task from any thread; rings in the meantime are not lost, and count once.
#[derive(Debug, Default)]
pub struct Bell {
    rung: AtomicBool,
    /// Whoever waits has left its waker.
    waited: AtomicBool,
    waits: Mutex<Option<Waker>>,
}

impl Bell {
    /// Ready when it was rung since the last time; for the one task that waits. Its waker is taken at
    /// the first call and kept: a task has the same for as long as it lives.
    pub fn poll_rung(&self, cx: &Context<'_>) -> Poll<()> {
        if !self.waited.load(Ordering::Relaxed) {
            *self.waits.lock().unwrap_or_else(PoisonError::into_inner) = Some(cx.waker().clone());
            self.waited.store(true, Ordering::Relaxed);
        }
        // The waker is there before this look: a ring that it misses wakes the task.
        if self.rung.load(Ordering::Acquire) && self.rung.swap(false, Ordering::AcqRel) {
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

#[cfg(feature = "publish")]
impl Bell {
    /// Whether it was rung since the last time, for who looks by himself.
    pub fn take(&self) -> bool {
        self.rung.swap(false, Ordering::AcqRel)
    }
}

impl Wake for Bell {
    fn wake(&self) {
        if self.rung.swap(true, Ordering::AcqRel) {
            return; // whoever rang before has woken it
        }
        let waits = self.waits.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(waker) = waits.as_ref() {
            waker.wake_by_ref();
        }
    }
}

/// For tasks that do not pass here for every message, and wait in an `async fn`.
impl Wake for Notify {
    fn wake(&self) {
        self.notify_one();
    }
}

/// Wakes one task of the same thread.
#[derive(Debug, Default)]
pub(super) struct LocalBell {
    rung: Cell<bool>,
    waits: RefCell<Option<Waker>>,
}

impl LocalBell {
    pub(super) fn ring(&self) {
        if !self.rung.replace(true)
            && let Some(waker) = self.waits.borrow().as_ref()
        {
            waker.wake_by_ref();
        }
    }

    /// Ready when it was rung since the last time.
    pub(super) fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        if self.rung.take() {
            return Poll::Ready(());
        }
        let mut waits = self.waits.borrow_mut();
        if !waits.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
            *waits = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

/// Waits for a time that may be another one at each look. Deadlines mostly move away, with every
/// message: the timer is not moved along, but looked at again when it is over.
pub struct Timer<'a> {
    sleep: Pin<&'a mut Sleep>,
    /// The runtime knows when it is over, and whom to wake then.
    armed: bool,
}

impl<'a> Timer<'a> {
    /// On a timer of the runtime, whatever it is set to.
    #[must_use]
    pub const fn new(sleep: Pin<&'a mut Sleep>) -> Self {
        Self {
            sleep,
            armed: false,
        }
    }

    /// Ready at `at`; for one task.
    pub fn poll_until(&mut self, at: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let at = tokio::time::Instant::from_std(at);
        loop {
            let elapsed = self.sleep.is_elapsed();
            if self.sleep.deadline() > at || elapsed {
                self.sleep.as_mut().reset(at);
            } else if self.armed {
                return Poll::Pending;
            }
            self.armed = false;
            if self.sleep.as_mut().poll(cx).is_pending() {
                self.armed = true;
                return Poll::Pending;
            }
            if self.sleep.deadline() >= at {
                return Poll::Ready(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::time::{self, sleep, sleep_until, timeout};

    use super::*;

    #[tokio::test]
    async fn rings_are_heard_once_and_not_lost() {
        let bell = Arc::new(Bell::default());
        let rung = || poll_fn(|cx| bell.poll_rung(cx));
        bell.wake();
        bell.wake();
        rung().await;
        assert!(timeout(Duration::from_millis(20), rung()).await.is_err());
        let other = Arc::clone(&bell);
        let thread = std::thread::spawn(move || other.wake());
        rung().await;
        thread.join().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_that_moves_is_met_where_it_is_last() {
        let start = time::Instant::now();
        let runtime_timer = std::pin::pin!(sleep_until(start));
        let mut timer = Timer::new(runtime_timer);
        let mut wait = async |ms: u64| {
            let at = start + Duration::from_millis(ms);
            poll_fn(|cx| timer.poll_until(at.into_std(), cx)).await;
            start.elapsed().as_millis()
        };
        assert_eq!(wait(100).await, 100);
        assert_eq!(wait(90).await, 100, "over already");
        let until = |ms: u64| sleep(Duration::from_millis(ms));
        tokio::select! {
            _ = wait(200) => panic!("too early"),
            () = until(50) => {}
        }
        // Farther, with a timer that stands at 200; then nearer.
        assert_eq!(wait(300).await, 300);
        tokio::select! {
            _ = wait(1000) => panic!("too early"),
            () = until(50) => {}
        }
        assert_eq!(wait(400).await, 400);
    }
}
