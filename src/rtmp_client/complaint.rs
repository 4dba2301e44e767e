//! Saying of a connection that is tried for ever what is wrong with it, once.

use std::time::{Duration, Instant};

/// How soon after a complaint another one may follow: a lost connection and the refused ones behind it
/// are one matter.
const NEXT_COMPLAINT: Duration = Duration::from_secs(10);

/// Says what is wrong once, and again only when it is something else.
#[derive(Debug, Default)]
pub struct Complaint {
    said: Option<(String, Instant)>,
    since: Option<Instant>,
    worked: bool,
}

impl Complaint {
    /// Whether this failure deserves a line.
    pub fn is_new(&mut self, what: &str, now: Instant) -> bool {
        self.begin(now);
        let heard = |(said, at): &(String, Instant)| {
            said == what || now.saturating_duration_since(*at) < NEXT_COMPLAINT
        };
        if self.said.as_ref().is_some_and(heard) {
            return false;
        }
        self.said = Some((what.to_owned(), now));
        true
    }

    /// It fails from now on, if it did not before.
    pub fn begin(&mut self, now: Instant) {
        self.since.get_or_insert(now);
    }

    /// It works; how long it did not, if it ever worked before.
    pub fn over(&mut self, now: Instant) -> Option<Duration> {
        self.said = None;
        let since = self.since.take();
        let again = std::mem::replace(&mut self.worked, true);
        since
            .filter(|_| again)
            .map(|since| now.saturating_duration_since(since))
    }

    /// How long it has not worked.
    #[must_use]
    pub fn lasts(&self, now: Instant) -> Duration {
        self.since
            .map_or(Duration::ZERO, |s| now.saturating_duration_since(s))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_is_said_once_and_the_next_one_not_at_once() {
        let mut complaint = Complaint::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(complaint.is_new("lost", at(0)));
        assert!(!complaint.is_new("refused", at(1)));
        assert!(!complaint.is_new("lost", at(20)));
        assert!(complaint.is_new("refused", at(20)));
        assert_eq!(complaint.lasts(at(21)), Duration::from_secs(21));
        assert_eq!(complaint.over(at(22)), None, "it never worked before");
        assert!(complaint.is_new("refused", at(23)), "it is another outage");
        assert_eq!(complaint.over(at(30)), Some(Duration::from_secs(7)));
        assert_eq!(complaint.over(at(31)), None);
    }
}
