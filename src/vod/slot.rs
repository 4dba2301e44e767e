//! An answer that comes from another thread: put down once, and the task that waits for it is woken.

use std::sync::{Arc, Mutex, PoisonError};

use crate::relay::Wake;

/// Where the answer will be.
#[derive(Debug)]
pub struct Slot<T>(Arc<Mutex<Option<T>>>);

/// Who gives the answer.
pub struct Filler<T> {
    place: Arc<Mutex<Option<T>>>,
    bell: Arc<dyn Wake>,
}

/// A place for an answer; `bell` is rung when it is there, and when it will never be.
#[must_use]
pub fn slot<T>(bell: Arc<dyn Wake>) -> (Filler<T>, Slot<T>) {
    let place = Arc::<Mutex<Option<T>>>::default();
    let filler = Filler {
        place: Arc::clone(&place),
        bell,
    };
    (filler, Slot(place))
}

impl<T> Slot<T> {
    /// The answer, once.
    #[must_use]
    pub fn take(&self) -> Option<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Whether nobody will answer any more: what was to answer has been lost.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        let empty = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        empty.is_none() && Arc::strong_count(&self.0) == 1
    }
}

impl<T> Filler<T> {
    /// Gives the answer.
    pub fn fill(self, answer: T) {
        *self.place.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
        // Dropping rings.
    }

    /// Whether nobody waits any more.
    #[must_use]
    pub fn is_unwanted(&self) -> bool {
        Arc::strong_count(&self.place) == 1
    }
}

impl<T> Drop for Filler<T> {
    fn drop(&mut self) {
        // Whoever is woken must find that this is the end of it.
        self.place = Arc::default();
        self.bell.wake();
    }
}

impl<T> std::fmt::Debug for Filler<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Filler")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(&self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn an_answer_comes_once_or_is_known_to_be_lost() {
        let bell = Arc::new(Count::default());
        let rung = || bell.0.load(Ordering::Relaxed);
        let (filler, place) = slot::<u8>(Arc::clone(&bell) as _);
        assert!(place.take().is_none() && !place.is_lost() && !filler.is_unwanted());
        filler.fill(5);
        assert_eq!((rung(), place.is_lost(), place.take()), (1, false, Some(5)));
        assert!(place.is_lost());
        let (filler, place) = slot::<u8>(Arc::clone(&bell) as _);
        drop(filler);
        assert!(place.is_lost() && rung() == 2);
        let (filler, place) = slot::<u8>(Arc::clone(&bell) as _);
        drop(place);
        assert!(filler.is_unwanted());
    }
}
