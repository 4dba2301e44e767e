//! What all connections together hold of messages that are not complete yet.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The sum over all connections, and its bound.
#[derive(Debug)]
pub(super) struct Budget {
    used: AtomicUsize,
    limit: usize,
}

impl Budget {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            used: AtomicUsize::new(0),
            limit,
        })
    }

    /// A new connection, which holds nothing yet.
    pub(super) fn share(self: &Arc<Self>) -> Share {
        Share {
            budget: Arc::clone(self),
            held: 0,
        }
    }
}

/// One connection's part; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    budget: Arc<Budget>,
    held: usize,
}

impl Share {
    /// The connection holds this many bytes now. Whether that is more than before while all of them
    /// together hold more than they may.
    pub(super) fn exceeds(&mut self, bytes: usize) -> bool {
        let grown = bytes.saturating_sub(self.held);
        let shrunk = self.held.saturating_sub(bytes);
        self.held = bytes;
        let used = &self.budget.used;
        if grown == 0 {
            used.fetch_sub(shrunk, Ordering::Relaxed);
            return false;
        }
        let before = used.fetch_add(grown, Ordering::Relaxed);
        before.saturating_add(grown) > self.budget.limit
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.held, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_grows_past_the_bound_is_told() {
        let budget = Budget::new(100);
        let (mut a, mut b) = (budget.share(), budget.share());
        assert!(!a.exceeds(60));
        assert!(!b.exceeds(40), "at the limit");
        assert!(b.exceeds(41), "limit + 1");
        assert!(!a.exceeds(60), "it did not grow");
        assert!(!a.exceeds(10));
        assert!(!b.exceeds(90));
        drop(a);
        assert!(!b.exceeds(100));
        drop(b);
        assert_eq!(budget.used.load(Ordering::Relaxed), 0);
    }
}
