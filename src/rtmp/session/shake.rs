//! The simple handshake, until the whole one is there.
use bytes::{Bytes, BytesMut};

/// Not a handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// Version.
    #[error("the first byte is no RTMP version")]
    Version,
}

#[derive(Debug)]
pub(crate) struct Shake {
    seen: usize,
    client: bool,
    random: [u8; 32],
    out: BytesMut,
    peer: Vec<u8>,
}

impl Shake {
    pub(crate) fn new(client: bool, random: [u8; 32]) -> Self {
        let mut shake = Self {
            seen: 0,
            client,
            random,
            out: BytesMut::new(),
            peer: Vec::new(),
        };
        if client {
            shake.hello();
        }
        shake
    }
    fn hello(&mut self) {
        self.out.extend_from_slice(&[3, 0, 0, 0, 0, 0, 0, 0, 0]);
        for _ in 0..1528 / 8 {
            let eight: Vec<u8> = self.random.iter().copied().take(8).collect();
            self.out.extend_from_slice(&eight);
        }
    }
    pub(crate) fn feed(&mut self, input: &mut &[u8]) -> Result<bool, HandshakeError> {
        while let Some((first, rest)) = input.split_first() {
            if self.seen == 0 && *first != 3 {
                return Err(HandshakeError::Version);
            }
            *input = rest;
            self.seen += 1;
            if (2..=1537).contains(&self.seen) {
                self.peer.push(*first);
            }
            if self.seen == 1537 {
                if !self.client {
                    self.hello();
                }
                self.out.extend_from_slice(&self.peer);
            }
            if self.seen == 3073 {
                return Ok(true);
            }
        }
        Ok(false)
    }
    pub(crate) fn output(&mut self) -> Bytes {
        self.out.split().freeze()
    }
}
