//! Digests and random bytes of the handshake.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// C1, C2, S1 and S2 all have this size.
pub(super) const HALF: usize = 1536;
/// Bytes of a digest.
pub(super) const DIGEST: usize = 32;
/// The random part of C2 and S2; a digest over it follows.
const ANSWER: usize = HALF - DIGEST;

/// What both sides' keys end with.
const TAIL: [u8; 32] = [
    0xf0, 0xee, 0xc2, 0x4a, 0x80, 0x68, 0xbe, 0xe8, 0x2e, 0x00, 0xd0, 0xd1, 0x02, 0x9e, 0x7e, 0x57,
    0x6e, 0xec, 0x5d, 0x2d, 0x29, 0x80, 0x6f, 0xab, 0x93, 0xb8, 0xe6, 0x36, 0xcf, 0xeb, 0x31, 0xae,
];

/// Whose digest it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Server,
}

impl Side {
    /// The key of the digest in C1 or S1. With [`TAIL`] behind it, it is the key of the answers.
    const fn key(self) -> &'static [u8] {
        match self {
            Self::Client => b"Genuine Adobe Flash Player 001",
            Self::Server => b"Genuine Adobe Flash Media Server 001",
        }
    }
}

/// Where in C1 and S1 the digest is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Between bytes 12 and 771, by bytes 8 to 11.
    Zero,
    /// Between bytes 776 and 1535, by bytes 772 to 775.
    One,
}

impl Scheme {
    /// The place of the digest in a C1 or S1.
    fn offset(self, half: &[u8; HALF]) -> usize {
        let start = match self {
            Self::Zero => 8,
            Self::One => 772,
        };
        let bytes = half.get(start..start + 4).unwrap_or_default();
        bytes.iter().map(|b| usize::from(*b)).sum::<usize>() % 728 + start + 4
    }
}

/// HMAC-SHA256 over all parts in turn.
pub(super) fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; DIGEST] {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        return [0; DIGEST]; // HMAC takes a key of any length
    };
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// A C1 or S1 split around its digest.
fn around(half: &[u8; HALF], scheme: Scheme) -> (&[u8], &[u8], &[u8]) {
    let (before, rest) = half.split_at(scheme.offset(half));
    let (digest, after) = rest.split_at_checked(DIGEST).unwrap_or_default();
    (before, digest, after)
}

/// Writes the digest into a C1 or S1 and returns it.
pub(super) fn sign(half: &mut [u8; HALF], side: Side, scheme: Scheme) -> [u8; DIGEST] {
    let (before, _, after) = around(half, scheme);
    let digest = hmac(side.key(), &[before, after]);
    let at = scheme.offset(half);
    if let Some(place) = half.get_mut(at..at + DIGEST) {
        place.copy_from_slice(&digest);
    }
    digest
}

/// Looks for a valid digest in a C1 or S1.
pub(super) fn find(half: &[u8; HALF], side: Side) -> Option<(Scheme, [u8; DIGEST])> {
    [Scheme::Zero, Scheme::One].into_iter().find_map(|scheme| {
        let (before, digest, after) = around(half, scheme);
        let good = hmac(side.key(), &[before, after]);
        (digest == good).then_some((scheme, good))
    })
}

/// The digest at the end of an answer: over its random part, with a key from the digest it answers.
fn answer_digest(side: Side, answered: &[u8; DIGEST], random: &[u8]) -> [u8; DIGEST] {
    let key = hmac(&[side.key(), &TAIL].concat(), &[answered]);
    hmac(&key, &[random])
}

/// Makes a C2 or S2 out of random bytes.
pub(super) fn sign_answer(half: &mut [u8; HALF], side: Side, answered: &[u8; DIGEST]) {
    let (random, place) = half.split_at_mut(ANSWER);
    place.copy_from_slice(&answer_digest(side, answered, random));
}

/// Checks the digest of a C2 or S2.
pub(super) fn is_answer(half: &[u8; HALF], side: Side, answered: &[u8; DIGEST]) -> bool {
    let (random, place) = half.split_at(ANSWER);
    place == answer_digest(side, answered, random)
}

/// Random bytes grown from a seed: SHA-256 of the seed and a counter.
#[derive(Debug)]
pub(super) struct Random {
    seed: [u8; 32],
    counter: u64,
}

impl Random {
    pub(super) const fn new(seed: [u8; 32]) -> Self {
        Self { seed, counter: 0 }
    }

    /// The next 1536 bytes.
    pub(super) fn half(&mut self) -> Box<[u8; HALF]> {
        let mut half = Box::new([0; HALF]);
        for block in half.chunks_mut(DIGEST) {
            let mut hash = Sha256::new();
            hash.update(self.seed);
            hash.update(self.counter.to_be_bytes());
            self.counter = self.counter.wrapping_add(1);
            for (slot, byte) in block.iter_mut().zip(hash.finalize()) {
                *slot = byte;
            }
        }
        half
    }
}
