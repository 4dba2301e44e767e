//! Failed logins, slowed down for each pair of address and user. No name is ever locked out: that
//! would be a weapon against its owner.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use crate::limits::{
    FREE_LOGIN_FAILURES, LOGIN_FAILURE_MEMORY, MAX_LOGIN_FAILURES, MAX_LOGIN_PAUSE, MAX_USER,
};

struct Entry {
    failures: u32,
    last: Instant,
    /// Tries before this are not looked at.
    until: Instant,
}

/// The memory of failed logins.
#[derive(Default)]
pub(super) struct Failures {
    entries: HashMap<(IpAddr, Box<str>), Entry>,
}

impl Failures {
    /// How long this pair must still wait; a try before that is refused without a look at it, and
    /// does not make the pause longer.
    pub(super) fn pause(&self, peer: IpAddr, user: &str, now: Instant) -> Option<Duration> {
        let entry = self.entries.get(&key(peer, user))?;
        entry
            .until
            .checked_duration_since(now)
            .filter(|d| !d.is_zero())
    }

    /// Notes a failure; says how long the next try must wait, and how many there have been.
    pub(super) fn failed(&mut self, peer: IpAddr, user: &str, now: Instant) -> (Duration, u32) {
        let key = key(peer, user);
        if !self.entries.contains_key(&key) && self.entries.len() >= MAX_LOGIN_FAILURES {
            self.make_room();
        }
        let entry = self.entries.entry(key).or_insert(Entry {
            failures: 0,
            last: now,
            until: now,
        });
        if now.saturating_duration_since(entry.last) >= LOGIN_FAILURE_MEMORY {
            entry.failures = 0;
        }
        entry.failures = entry.failures.saturating_add(1);
        entry.last = now;
        let pause = pause_after(entry.failures);
        entry.until = now.checked_add(pause).unwrap_or(now);
        (pause, entry.failures)
    }

    /// A right password clears the pair.
    pub(super) fn succeeded(&mut self, peer: IpAddr, user: &str) {
        self.entries.remove(&key(peer, user));
    }

    /// Forgets the pair that failed longest ago.
    fn make_room(&mut self) {
        let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.last);
        if let Some(key) = oldest.map(|(key, _)| key.clone()) {
            self.entries.remove(&key);
        }
    }
}

/// Nothing for the first failures, then 1 s, doubling.
fn pause_after(failures: u32) -> Duration {
    match failures.checked_sub(FREE_LOGIN_FAILURES + 1) {
        None => Duration::ZERO,
        Some(doublings) => Duration::from_secs(1)
            .saturating_mul(1 << doublings.min(16))
            .min(MAX_LOGIN_PAUSE),
    }
}

/// One IPv4 address, or the /64 that one site has in IPv6. A user's name longer than any real one
/// is cut, so that an entry has a bounded size.
fn key(peer: IpAddr, user: &str) -> (IpAddr, Box<str>) {
    let end = user.floor_char_boundary(MAX_USER);
    (site(peer), user.get(..end).unwrap_or_default().into())
}

/// What counts as one address.
pub(super) fn site(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from(u128::from(v6) & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    #[test]
    fn five_are_free_then_the_pause_doubles_to_a_minute() {
        let mut f = Failures::default();
        let mut now = Instant::now();
        let mut pauses = Vec::new();
        for _ in 0..14 {
            assert_eq!(f.pause(PEER, "ann", now), None);
            let (pause, _) = f.failed(PEER, "ann", now);
            pauses.push(pause.as_secs());
            if !pause.is_zero() {
                let shortly_before = now + pause - Duration::from_millis(1);
                assert!(f.pause(PEER, "ann", shortly_before).is_some());
            }
            now += pause;
        }
        assert_eq!(pauses, [0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(pause_after(u32::MAX), MAX_LOGIN_PAUSE);
    }

    #[test]
    fn others_are_not_slowed_down() {
        let mut f = Failures::default();
        let now = Instant::now();
        for _ in 0..10 {
            f.failed(PEER, "ann", now);
        }
        assert!(f.pause(PEER, "ann", now).is_some());
        assert_eq!(f.pause(PEER, "bob", now), None);
        assert_eq!(f.pause("192.0.2.2".parse().unwrap(), "ann", now), None);
        f.succeeded(PEER, "ann");
        assert_eq!(f.pause(PEER, "ann", now), None);
        assert_eq!(f.failed(PEER, "ann", now).1, 1);
    }

    #[test]
    fn one_64_is_one_peer_and_time_forgives() {
        let mut f = Failures::default();
        let now = Instant::now();
        for n in 0..6u16 {
            f.failed(IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, n]), "ann", now);
        }
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        assert!(f.pause(ip("2001:db8:0:1::99"), "ann", now).is_some());
        assert_eq!(f.pause(ip("2001:db8:0:2::1"), "ann", now), None);
        let (pause, failures) = f.failed(ip("2001:db8:0:1::1"), "ann", now + LOGIN_FAILURE_MEMORY);
        assert_eq!((pause, failures), (Duration::ZERO, 1));
    }

    #[test]
    fn the_memory_is_bounded_and_the_oldest_goes() {
        let mut f = Failures::default();
        let t0 = Instant::now();
        for n in 0..MAX_LOGIN_FAILURES {
            f.failed(
                PEER,
                &n.to_string(),
                t0 + Duration::from_millis(n.try_into().unwrap()),
            );
        }
        assert_eq!(f.entries.len(), MAX_LOGIN_FAILURES);
        let now = t0 + Duration::from_secs(100);
        f.failed(PEER, "one more", now);
        assert_eq!(f.entries.len(), MAX_LOGIN_FAILURES);
        assert_eq!(
            f.failed(PEER, "1", now).1,
            2,
            "the second oldest is still there"
        );
        assert_eq!(f.failed(PEER, "0", now).1, 1, "the oldest was forgotten");
        f.failed(PEER, &"é".repeat(1000), now);
        assert!(f.entries.keys().all(|(_, user)| user.len() <= MAX_USER));
    }
}
