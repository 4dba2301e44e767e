//! Waking one task, and waiting for a time, at little cost: a viewer's connection has one of each, and
//! a publisher's passes here for every message.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;

use tokio::time::Sleep;

use crate::relay::Wake;

/// Wakes one task from any thread; rings in the meantime are not lost, and count once.
#[derive(Debug, Default)]
pub struct Bell {
    rung: AtomicBool,
    waits: Mutex<Option<Waker>>,
}

impl Bell {
    /// Ready when it was rung since the last time; for the one task that waits, whose waker is kept.
    pub fn poll_rung(&self, cx: &Context<'_>) -> Poll<()> {
        if self.rung.swap(false, Ordering::AcqRel) {
            return Poll::Ready(());
        }
        {
            let mut waits = self.waits.lock().unwrap_or_else(PoisonError::into_inner);
            if !waits.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
                *waits = Some(cx.waker().clone());
            }
        }
        // It may have been rung before the waker was there.
        if self.rung.swap(false, Ordering::AcqRel) {
            return Poll::Ready(());
        }
        Poll::Pending
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

/// Ready at a time that may be another one at each call. Deadlines mostly move away, with every
/// message: the timer is not moved along, but looked at again when it is over.
pub fn poll_until(mut timer: Pin<&mut Sleep>, at: Instant, cx: &mut Context<'_>) -> Poll<()> {
    let at = tokio::time::Instant::from_std(at);
    loop {
        if timer.deadline() > at || timer.is_elapsed() {
            timer.as_mut().reset(at);
        }
        ready!(timer.as_mut().poll(cx));
        if timer.deadline() >= at {
            return Poll::Ready(());
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
        let mut timer = std::pin::pin!(sleep_until(start));
        let mut wait = async |ms: u64| {
            let at = start + Duration::from_millis(ms);
            poll_fn(|cx| poll_until(timer.as_mut(), at.into_std(), cx)).await;
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
