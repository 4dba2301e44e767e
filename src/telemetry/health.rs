//! Whether the server is ready, and if not, why.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// What keeps the server from being ready, one sentence for each part that has trouble.
///
/// A part names itself with a fixed key and sets or clears its own trouble; the number of entries is
/// the number of such keys in the source.
#[derive(Debug)]
pub struct Health {
    troubles: Mutex<BTreeMap<&'static str, String>>,
}

impl Default for Health {
    fn default() -> Self {
        Self::new()
    }
}

impl Health {
    /// Not ready yet: [`Health::clear`] `"start"` once everything listens.
    #[must_use]
    pub fn new() -> Self {
        Self {
            troubles: Mutex::new(BTreeMap::from([("start", "starting".to_owned())])),
        }
    }

    /// `part` cannot do its work because of `why`, one sentence for an operator.
    pub fn trouble(&self, part: &'static str, why: impl Into<String>) {
        self.lock().insert(part, why.into());
    }

    /// `part` works.
    pub fn clear(&self, part: &'static str) {
        self.lock().remove(part);
    }

    /// Every trouble there is, `part: sentence`; empty means ready.
    #[must_use]
    pub fn troubles(&self) -> Vec<String> {
        self.lock()
            .iter()
            .map(|(part, why)| format!("{part}: {why}"))
            .collect()
    }

    /// The trouble of one part.
    #[must_use]
    pub fn trouble_of(&self, part: &'static str) -> Option<String> {
        self.lock().get(part).cloned()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<&'static str, String>> {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_means_that_nothing_is_wrong() {
        let health = Health::new();
        assert_eq!(health.troubles(), ["start: starting"]);
        health.trouble("master", "not reachable");
        health.clear("start");
        assert_eq!(health.troubles(), ["master: not reachable"]);
        assert_eq!(
            health.trouble_of("master").as_deref(),
            Some("not reachable")
        );
        health.clear("master");
        assert!(health.troubles().is_empty());
    }
}
