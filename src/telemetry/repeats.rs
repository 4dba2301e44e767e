//! Log lines of peers that try again and again: an encoder with a wrong name, a mirror with a wrong
//! secret.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::logging::{Pass, limited};
use crate::limits::{LOG_REPEAT, MAX_LOG_PEERS};

/// When each peer had its last line for a reason, and how many it has not had since.
#[derive(Debug, Default)]
pub struct Repeats {
    last: HashMap<(&'static str, IpAddr), (Instant, u64)>,
}

impl Repeats {
    /// Asks for one more line for `reason` and `peer`. Peers beyond [`MAX_LOG_PEERS`] are not held
    /// apart: they get their lines.
    pub fn pass(&mut self, reason: &'static str, peer: IpAddr, now: Instant) -> Pass {
        let key = (reason, peer.to_canonical());
        let recent = |at: Instant| now.saturating_duration_since(at) < LOG_REPEAT;
        if let Some((at, suppressed)) = self.last.get_mut(&key) {
            if recent(*at) {
                *suppressed = suppressed.saturating_add(1);
                return Pass::No;
            }
            *at = now;
            return match std::mem::take(suppressed) {
                0 => Pass::Yes,
                n => Pass::After(n),
            };
        }
        if self.last.len() >= MAX_LOG_PEERS {
            self.last.retain(|_, (at, _)| recent(*at));
        }
        if self.last.len() < MAX_LOG_PEERS {
            self.last.insert(key, (now, 0));
        }
        Pass::Yes
    }
}

/// One for the process, as all lines go to one place.
static REPEATS: Mutex<Option<Repeats>> = Mutex::new(None);

/// Writes a line (by calling `write`) unless this peer had one for this reason within the last
/// [`LOG_REPEAT`]; the next one is preceded by how many were left out. All peers together are
/// [`limited`].
pub fn repeated(reason: &'static str, peer: IpAddr, now: Instant, write: impl FnOnce()) {
    let pass = REPEATS
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get_or_insert_default()
        .pass(reason, peer, now);
    match pass {
        Pass::Yes => limited(reason, now, write),
        Pass::After(suppressed) => limited(reason, now, || {
            tracing::warn!(code = "suppressed", reason, %peer, suppressed, "suppressed {suppressed} lines");
            write();
        }),
        Pass::No => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn peer(n: u32) -> IpAddr {
        Ipv4Addr::from(n).into()
    }

    #[test]
    fn a_peer_that_tries_again_has_a_line_now_and_then() {
        let mut repeats = Repeats::default();
        let now = Instant::now();
        assert_eq!(repeats.pass("a", peer(1), now), Pass::Yes);
        assert_eq!(repeats.pass("a", peer(1), now), Pass::No);
        let mapped = Ipv4Addr::from(1).to_ipv6_mapped().into();
        assert_eq!(repeats.pass("a", mapped, now), Pass::No);
        assert_eq!(repeats.pass("a", peer(2), now), Pass::Yes);
        assert_eq!(repeats.pass("b", peer(1), now), Pass::Yes);
        let later = now + LOG_REPEAT;
        assert_eq!(repeats.pass("a", peer(1), later), Pass::After(2));
        assert_eq!(repeats.pass("a", peer(1), later), Pass::No);
        assert_eq!(repeats.pass("a", peer(2), later), Pass::Yes);
    }

    #[test]
    fn the_number_of_peers_is_bounded() {
        let mut repeats = Repeats::default();
        let now = Instant::now();
        for n in 0..=u32::try_from(MAX_LOG_PEERS).unwrap() {
            assert_eq!(repeats.pass("a", peer(n), now), Pass::Yes);
        }
        assert_eq!(repeats.last.len(), MAX_LOG_PEERS);
        let last = u32::try_from(MAX_LOG_PEERS).unwrap();
        assert_eq!(repeats.pass("a", peer(last), now), Pass::Yes, "not held");
        assert_eq!(repeats.pass("a", peer(last), now + LOG_REPEAT), Pass::Yes);
        assert_eq!(repeats.last.len(), 1, "the old ones made room");
    }
}
