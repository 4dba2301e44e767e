//! When a second publisher takes a stream from the first.

use std::time::{Duration, Instant};

/// The operator's choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Takeover {
    /// The same user wins once the first has sent no media for [`super::HubConfig::silent_after`].
    #[default]
    Silent,
    /// The same user wins at once.
    Always,
    /// The first stays until it goes.
    Never,
}

/// What counts of a publisher that has the stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct Holder<'a> {
    pub(super) identity: Option<&'a str>,
    /// Its last media, or when it came.
    pub(super) heard: Instant,
}

/// Whether `claimant` displaces `holder`. One without credentials never displaces a live one, and
/// nobody displaces another user.
pub(super) fn displaces(
    policy: Takeover,
    silent_after: Duration,
    holder: Holder<'_>,
    claimant: Option<&str>,
    now: Instant,
) -> bool {
    let silent = now.saturating_duration_since(holder.heard) >= silent_after;
    match policy {
        Takeover::Never => false,
        _ if holder.identity != claimant => false,
        Takeover::Silent => silent,
        Takeover::Always => silent || claimant.is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_user_and_only_when_the_first_is_silent() {
        let start = Instant::now();
        let limit = Duration::from_secs(1);
        let under = start + Duration::from_millis(999);
        let at = start + limit;
        let holder = |identity| Holder {
            identity,
            heard: start,
        };
        let ask =
            |policy, held, claimant, now| displaces(policy, limit, holder(held), claimant, now);
        let (a, b) = (Some("a"), Some("b"));
        for (policy, held, claimant, now, wins) in [
            (Takeover::Silent, a, a, under, false),
            (Takeover::Silent, a, a, at, true),
            (Takeover::Silent, a, b, at, false),
            (Takeover::Silent, a, None, at, false),
            (Takeover::Silent, None, a, at, false),
            (Takeover::Silent, None, None, under, false),
            (Takeover::Silent, None, None, at, true),
            (Takeover::Always, a, a, start, true),
            (Takeover::Always, a, b, at, false),
            (Takeover::Always, a, None, at, false),
            (Takeover::Always, None, None, under, false),
            (Takeover::Always, None, None, at, true),
            (Takeover::Never, a, a, at, false),
            (Takeover::Never, None, None, at, false),
        ] {
            assert_eq!(
                ask(policy, held, claimant, now),
                wins,
                "{policy:?} {held:?} {claimant:?} {:?}",
                now - start
            );
        }
    }
}
