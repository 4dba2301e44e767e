//! Whether the server is ready, and if not, why; and what else somebody should look after.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// What keeps the server from being ready, one sentence for each part that has trouble; and, as *notes*,
/// what is wrong with its machine while it serves all the same.
///
/// A part names itself with a fixed key and sets or clears its own trouble; the number of entries is
/// the number of such keys in the source.
#[derive(Debug)]
pub struct Health {
    troubles: Mutex<BTreeMap<&'static str, String>>,
    notes: Mutex<BTreeMap<&'static str, String>>,
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
            notes: Mutex::default(),
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

    /// Something of the machine is wrong, which keeps nobody from being served: one sentence for an
    /// operator, or `None` when it is right. True when that is news.
    pub fn note(&self, part: &'static str, why: Option<String>) -> bool {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        match why {
            Some(why) => notes.insert(part, why).is_none(),
            None => notes.remove(part).is_some(),
        }
    }

    /// Every note there is, `part: sentence`.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        let line = |(part, why): (&&str, &String)| format!("{part}: {why}");
        notes.iter().map(line).collect()
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

    #[test]
    fn a_note_keeps_nobody_away() {
        let health = Health::new();
        health.clear("start");
        assert!(health.note("clock", Some("8 years off".into())));
        assert!(!health.note("clock", Some("9 years off".into())));
        assert_eq!(health.notes(), ["clock: 9 years off"]);
        assert!(health.troubles().is_empty());
        assert!(health.note("clock", None) && !health.note("clock", None));
        assert!(health.notes().is_empty());
    }
}
