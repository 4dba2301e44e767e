//! The handshake: simple (RTMP 1.0 section 5.2) and with digests in both schemes, for both sides.
//!
//! The digests are what Flash Player 9 and later ask for before they play H.264; they prove nothing,
//! as the keys are public. RTMPE, which begins the same way, is refused.

mod client;
mod digest;
mod server;

pub use client::{ClientHandshake, ClientMode};
pub use digest::Scheme;
pub use server::ServerHandshake;

use digest::{HALF, Random};

/// Version byte of plain RTMP (C0 and S0).
const VERSION: u8 = 3;
/// Version bytes of RTMPE.
const ENCRYPTED: [u8; 3] = [6, 8, 9];
/// How TLS begins: a handshake record.
const TLS: u8 = 0x16;
/// How HTTP begins: CONNECT, DELETE, GET, HEAD and HTTP/1.1, OPTIONS, PATCH, POST and PUT, TRACE.
const HTTP: &[u8] = b"CDGHOPT";

/// Whether the chunk stream may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// All input is used up and more is needed.
    More,
    /// The peer's part is complete. What is left in the input is its chunk stream.
    Done,
}

/// Why there is no handshake with this peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// The peer wants RTMPE.
    #[error("RTMPE (handshake version {0}) is not supported, use RTMP or RTMPS")]
    Encrypted(u8),
    /// The first letter of an HTTP request or answer.
    #[error("the other side speaks HTTP, not RTMP: most likely it has the wrong port")]
    Http,
    /// The first byte of TLS.
    #[error("the other side speaks TLS (RTMPS or HTTPS), and this is a port for plain RTMP")]
    Tls,
    /// The peer's first byte is no RTMP version that exists: another protocol.
    #[error("not RTMP: the first byte is {0:#04x}")]
    Version(u8),
}

/// Checks C0 or S0.
fn check_version(byte: u8) -> Result<(), HandshakeError> {
    match byte {
        VERSION => Ok(()),
        v if ENCRYPTED.contains(&v) => Err(HandshakeError::Encrypted(v)),
        TLS => Err(HandshakeError::Tls),
        v if HTTP.contains(&v) => Err(HandshakeError::Http),
        v => Err(HandshakeError::Version(v)),
    }
}

/// C1 or S1 before its digest: time, version, random bytes.
fn first_half(random: &mut Random, time: u32, version: [u8; 4]) -> Box<[u8; HALF]> {
    let mut half = random.half();
    let [a, b, c, d] = time.to_be_bytes();
    let [e, f, g, h] = version;
    for (slot, byte) in half.iter_mut().zip([a, b, c, d, e, f, g, h]) {
        *slot = byte;
    }
    half
}

/// Whether C1 or S1 comes from a side that knows no digests: its version is zero.
fn is_simple(half: &[u8; HALF]) -> bool {
    half.get(4..8) == Some(&[0; 4])
}

/// Collects one half of 1536 bytes.
#[derive(Debug, Default)]
struct Collect(Vec<u8>);

impl Collect {
    /// Takes what is missing off the front of `input`; the half, once it is whole.
    fn feed(&mut self, input: &mut &[u8]) -> Option<Box<[u8; HALF]>> {
        let missing = HALF.saturating_sub(self.0.len());
        let (head, rest) = input.split_at_checked(missing).unwrap_or((input, &[]));
        self.0.extend_from_slice(head);
        *input = rest;
        if self.0.len() < HALF {
            return None;
        }
        let whole = std::mem::take(&mut self.0);
        whole.into_boxed_slice().try_into().ok()
    }
}

/// Takes the first byte off `input`.
fn first_byte(input: &mut &[u8]) -> Option<u8> {
    let (first, rest) = input.split_first()?;
    *input = rest;
    Some(*first)
}

#[cfg(test)]
mod tests;
