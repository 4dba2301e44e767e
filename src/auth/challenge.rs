//! Challenges of a login: they cost nothing until they are answered, live 30 s, and an answer is
//! accepted once.
//!
//! A challenge is `base64(time | random | HMAC-SHA-256(key; time, random, user, address)[..12])`; the
//! key is made anew at each start. Nothing is kept when one is issued, so a flood of them holds no
//! memory. It uses the URL-safe alphabet without padding, which survives clients that encode `+`,
//! `/` and `=`; no client decodes it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::limits::{CHALLENGE_LIFETIME, MAX_SPENT_CHALLENGES};
use crate::wire::Reader;

/// Bytes of the tag that are sent.
const TAG: usize = 12;
/// Bytes of a challenge before base64.
const LENGTH: usize = 4 + 16 + TAG;

/// Why an answer does not count, whatever it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum ChallengeError {
    /// Not one of ours for this user and address.
    #[error("it answers no challenge that this user got at this address")]
    Unknown,
    /// Older than [`CHALLENGE_LIFETIME`].
    #[error("it answers a challenge that has expired")]
    Expired,
    /// Accepted before: a replay.
    #[error("it answers a challenge that was used before")]
    Used,
    /// [`MAX_SPENT_CHALLENGES`] are remembered already.
    #[error("too many logins within {} s", CHALLENGE_LIFETIME.as_secs())]
    Full,
}

/// A challenge that is ours and in time; it is spent by [`Challenges::spend`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket {
    random: [u8; 16],
    expires: Instant,
}

/// Issues and checks challenges.
pub(super) struct Challenges {
    key: [u8; 32],
    start: Instant,
    spent: HashMap<[u8; 16], Instant>,
}

impl Challenges {
    pub(super) fn new(key: [u8; 32], start: Instant) -> Self {
        Self {
            key,
            start,
            spent: HashMap::new(),
        }
    }

    /// A challenge for this user at this address.
    pub(super) fn issue(&self, user: &str, peer: IpAddr, random: [u8; 16], now: Instant) -> String {
        let time = self.seconds(now).to_be_bytes();
        let tag = self.tag(time, random, user, peer);
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&time);
        bytes.extend_from_slice(&random);
        bytes.extend_from_slice(&tag);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Whether `text` is a challenge that can still be answered by this user at this address.
    pub(super) fn check(
        &self,
        text: &str,
        user: &str,
        peer: IpAddr,
        now: Instant,
    ) -> Result<Ticket, ChallengeError> {
        let unknown = ChallengeError::Unknown;
        let mut buffer = [0; LENGTH];
        let length = URL_SAFE_NO_PAD
            .decode_slice(text, &mut buffer)
            .map_err(|_| unknown)?;
        if length != LENGTH {
            return Err(unknown);
        }
        let mut reader = Reader::new(&buffer);
        let time: [u8; 4] = reader.array().map_err(|_| unknown)?;
        let random: [u8; 16] = reader.array().map_err(|_| unknown)?;
        let right = self.tag(time, random, user, peer);
        if !bool::from(right.ct_eq(reader.rest())) {
            return Err(unknown);
        }
        let issued = Duration::from_secs(u32::from_be_bytes(time).into());
        let expires = self
            .start
            .checked_add(issued.saturating_add(CHALLENGE_LIFETIME))
            .ok_or(unknown)?;
        if now >= expires {
            return Err(ChallengeError::Expired);
        }
        if self.spent.contains_key(&random) {
            return Err(ChallengeError::Used);
        }
        Ok(Ticket { random, expires })
    }

    /// Uses a challenge up. Only right answers do: a wrong one proves nothing when it is sent again,
    /// so nobody fills this memory without a password.
    pub(super) fn spend(&mut self, ticket: Ticket, now: Instant) -> Result<(), ChallengeError> {
        if self.spent.contains_key(&ticket.random) {
            return Err(ChallengeError::Used);
        }
        if self.spent.len() >= MAX_SPENT_CHALLENGES {
            self.spent.retain(|_, expires| *expires > now);
        }
        if self.spent.len() >= MAX_SPENT_CHALLENGES {
            return Err(ChallengeError::Full);
        }
        self.spent.insert(ticket.random, ticket.expires);
        Ok(())
    }

    fn seconds(&self, now: Instant) -> u32 {
        let seconds = now.saturating_duration_since(self.start).as_secs();
        u32::try_from(seconds).unwrap_or(u32::MAX)
    }

    fn tag(&self, time: [u8; 4], random: [u8; 16], user: &str, peer: IpAddr) -> [u8; TAG] {
        let mut tag = [0; TAG];
        // HMAC takes a key of any length, so this is always a real tag.
        if let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.key) {
            mac.update(&time);
            mac.update(&random);
            mac.update(&canonical(peer));
            mac.update(user.as_bytes());
            let full = mac.finalize().into_bytes();
            tag.iter_mut().zip(full).for_each(|(t, f)| *t = f);
        }
        tag
    }
}

/// One form for an IPv4 address, however it arrived.
fn canonical(ip: IpAddr) -> [u8; 16] {
    match ip.to_canonical() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_challenge_is_for_one_user_at_one_address_for_30_seconds() {
        let t0 = Instant::now();
        let c = Challenges::new([7; 32], t0);
        let now = t0 + Duration::from_secs(1000);
        let text = c.issue("ann", PEER, [1; 16], now);
        assert!(
            text.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
        );
        assert!(c.check(&text, "ann", PEER, now).is_ok());
        assert!(c.check(&text, "ann", ip("::ffff:192.0.2.1"), now).is_ok());
        let late = now + Duration::from_millis(29_999);
        assert!(c.check(&text, "ann", PEER, late).is_ok());
        let over = now + CHALLENGE_LIFETIME;
        assert_eq!(
            c.check(&text, "ann", PEER, over),
            Err(ChallengeError::Expired)
        );
        let unknown = Err(ChallengeError::Unknown);
        assert_eq!(c.check(&text, "bob", PEER, now), unknown);
        assert_eq!(c.check(&text, "ann", ip("192.0.2.2"), now), unknown);
        let other = Challenges::new([8; 32], t0);
        assert_eq!(other.check(&text, "ann", PEER, now), unknown);
    }

    #[test]
    fn ten_thousand_forged_ones_are_unknown() {
        let t0 = Instant::now();
        let c = Challenges::new([7; 32], t0);
        let text = c.issue("ann", PEER, [1; 16], t0);
        let bytes = URL_SAFE_NO_PAD.decode(&text).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut forged = bytes.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            let forged = URL_SAFE_NO_PAD.encode(forged);
            assert_eq!(
                c.check(&forged, "ann", PEER, t0),
                Err(ChallengeError::Unknown)
            );
        }
        for n in 0..10_000u32 {
            let forged = URL_SAFE_NO_PAD.encode([&n.to_be_bytes()[..], &[9; 28]].concat());
            assert_eq!(
                c.check(&forged, "ann", PEER, t0),
                Err(ChallengeError::Unknown)
            );
        }
        for cut in 0..text.len() {
            assert_eq!(
                c.check(&text[..cut], "ann", PEER, t0),
                Err(ChallengeError::Unknown)
            );
        }
        for bad in ["vgoAAA==", "", "\u{e9}", &"A".repeat(5000)] {
            assert_eq!(c.check(bad, "ann", PEER, t0), Err(ChallengeError::Unknown));
        }
    }

    #[test]
    fn an_answer_counts_once_and_the_memory_is_bounded() {
        let t0 = Instant::now();
        let mut c = Challenges::new([7; 32], t0);
        let ticket = |c: &Challenges, n: usize, now| {
            let mut random = [0; 16];
            random[..8].copy_from_slice(&n.to_be_bytes());
            let text = c.issue("ann", PEER, random, now);
            c.check(&text, "ann", PEER, now)
        };
        let first = ticket(&c, 0, t0).unwrap();
        assert_eq!(c.spend(first, t0), Ok(()));
        assert_eq!(c.spend(first, t0), Err(ChallengeError::Used));
        assert_eq!(ticket(&c, 0, t0), Err(ChallengeError::Used));
        for n in 1..MAX_SPENT_CHALLENGES {
            let t = ticket(&c, n, t0).unwrap();
            assert_eq!(c.spend(t, t0), Ok(()), "{n}");
        }
        let one_more = ticket(&c, MAX_SPENT_CHALLENGES, t0).unwrap();
        assert_eq!(c.spend(one_more, t0), Err(ChallengeError::Full));
        let later = t0 + CHALLENGE_LIFETIME;
        let fresh = ticket(&c, MAX_SPENT_CHALLENGES, later).unwrap();
        assert_eq!(c.spend(fresh, later), Ok(()));
        assert_eq!(c.spent.len(), 1, "what has expired is forgotten");
    }
}
