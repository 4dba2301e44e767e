//! The client's side.

use bytes::{Bytes, BytesMut};

use super::digest::{self, DIGEST, HALF, Random, Scheme, Side};
use super::{
    Collect, HandshakeError, Step, VERSION, check_version, first_byte, first_half, is_simple,
};

/// What C1 names as the client's version when it has a digest: that of a Flash Player.
const CLIENT_VERSION: [u8; 4] = [9, 0, 124, 2];

/// How C1 is made. A server that knows no digests answers either in the simple form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClientMode {
    /// Version zero and no digest.
    Simple,
    /// With a digest.
    #[default]
    Digest,
    /// With a digest in the scheme that few clients use.
    DigestSchemeOne,
}

/// Sends C0 and C1 at once, and C2 as soon as S1 is there.
#[derive(Debug)]
pub struct ClientHandshake {
    random: Random,
    /// The digest of our C1, which S2 answers.
    digest: Option<[u8; DIGEST]>,
    state: State,
    output: BytesMut,
    scheme: Option<Scheme>,
    verified: bool,
}

#[derive(Debug)]
enum State {
    S0,
    S1(Collect),
    S2(Collect),
    Done,
    Failed(HandshakeError),
}

impl ClientHandshake {
    /// `seed` is expanded into all random bytes; `time` is what C1 gives as time, ms.
    #[must_use]
    pub fn new(seed: [u8; 32], time: u32, mode: ClientMode) -> Self {
        let mut random = Random::new(seed);
        let (scheme, version) = match mode {
            ClientMode::Simple => (None, [0; 4]),
            ClientMode::Digest => (Some(Scheme::Zero), CLIENT_VERSION),
            ClientMode::DigestSchemeOne => (Some(Scheme::One), CLIENT_VERSION),
        };
        let mut c1 = first_half(&mut random, time, version);
        let digest = scheme.map(|scheme| digest::sign(&mut c1, Side::Client, scheme));
        let mut output = BytesMut::with_capacity(1 + HALF);
        output.extend_from_slice(&[VERSION]);
        output.extend_from_slice(c1.as_slice());
        Self {
            random,
            digest,
            state: State::S0,
            output,
            scheme: None,
            verified: false,
        }
    }

    /// Takes what belongs to the handshake off the front of `input`. Once it is [`Step::Done`] it
    /// takes nothing more.
    ///
    /// # Errors
    /// [`HandshakeError`]; every later call then gives the same.
    pub fn feed(&mut self, input: &mut &[u8]) -> Result<Step, HandshakeError> {
        loop {
            match &mut self.state {
                State::S0 => {
                    let Some(version) = first_byte(input) else {
                        return Ok(Step::More);
                    };
                    self.state = match check_version(version) {
                        Ok(()) => State::S1(Collect::default()),
                        Err(error) => State::Failed(error),
                    };
                }
                State::S1(collect) => {
                    let Some(s1) = collect.feed(input) else {
                        return Ok(Step::More);
                    };
                    self.answer(&s1);
                    self.state = State::S2(Collect::default());
                }
                State::S2(collect) => {
                    let Some(s2) = collect.feed(input) else {
                        return Ok(Step::More);
                    };
                    let good = |ours| digest::is_answer(&s2, Side::Server, ours);
                    self.verified = self.scheme.is_some() && self.digest.as_ref().is_some_and(good);
                    self.state = State::Done;
                }
                State::Done => return Ok(Step::Done),
                State::Failed(error) => return Err(*error),
            }
        }
    }

    /// What is to be sent since the last call; empty if nothing. C0 and C1 are there from the start.
    pub fn output(&mut self) -> Bytes {
        std::mem::take(&mut self.output).freeze()
    }

    /// The scheme of the server's digest; `None` for a simple handshake or before S1 is read.
    #[must_use]
    pub const fn scheme(&self) -> Option<Scheme> {
        self.scheme
    }

    /// Whether the digests of S1 and S2 are both right. It is for the log: as the keys are public it
    /// proves nothing, and servers exist that get it wrong.
    #[must_use]
    pub const fn verified(&self) -> bool {
        self.verified
    }

    /// Sends C2.
    fn answer(&mut self, s1: &[u8; HALF]) {
        let found = if self.digest.is_none() || is_simple(s1) {
            None
        } else {
            digest::find(s1, Side::Server)
        };
        if let Some((scheme, server_digest)) = found {
            self.scheme = Some(scheme);
            let mut c2 = self.random.half();
            digest::sign_answer(&mut c2, Side::Client, &server_digest);
            self.output.extend_from_slice(c2.as_slice());
        } else {
            self.output.extend_from_slice(s1);
        }
    }
}
