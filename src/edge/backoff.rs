//! How patient a mirror is with its master.

use std::time::Duration;

/// The ceiling while somebody waits.
const HASTE: Duration = Duration::from_millis(400);
/// The ceiling for an outage that nobody watches.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long an outage counts as fresh.
const FRESH: Duration = Duration::from_secs(600);

/// The longest pause between two tries: short while somebody waits for the picture (the first ten minutes
/// of an outage, or as long as there are viewers), longer after that.
pub(super) fn ceiling(down_for: Duration, watched: bool) -> Duration {
    if watched || down_for < FRESH {
        HASTE
    } else {
        PATIENCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_hurries_while_somebody_waits() {
        let long = Duration::from_secs(3600);
        assert_eq!(ceiling(Duration::ZERO, false), HASTE);
        assert_eq!(ceiling(long, false), PATIENCE);
        assert_eq!(ceiling(long, true), HASTE);
    }
}
