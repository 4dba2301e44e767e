//! The server's side.

use bytes::{Bytes, BytesMut};

use super::digest::{self, HALF, Random, Scheme, Side};
use super::{
    Collect, HandshakeError, Step, VERSION, check_version, first_byte, first_half, is_simple,
};

/// What S1 names as the server's version when it has a digest; clients skip digests below 3.
const SERVER_VERSION: [u8; 4] = [4, 5, 0, 1];

/// Answers C0 and C1 in the form in which they came, then waits for C2. C2 is not looked into: there
/// are clients that send anything.
#[derive(Debug)]
pub struct ServerHandshake {
    random: Random,
    time: u32,
    state: State,
    output: BytesMut,
    scheme: Option<Scheme>,
}

#[derive(Debug)]
enum State {
    C0,
    C1(Collect),
    C2 { missing: usize },
    Done,
    Failed(HandshakeError),
}

impl ServerHandshake {
    /// `seed` is expanded into all random bytes; `time` is what S1 gives as time, ms.
    #[must_use]
    pub fn new(seed: [u8; 32], time: u32) -> Self {
        Self {
            random: Random::new(seed),
            time,
            state: State::C0,
            output: BytesMut::new(),
            scheme: None,
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
                State::C0 => {
                    let Some(version) = first_byte(input) else {
                        return Ok(Step::More);
                    };
                    self.state = match check_version(version) {
                        Ok(()) => State::C1(Collect::default()),
                        Err(error) => State::Failed(error),
                    };
                }
                State::C1(collect) => {
                    let Some(c1) = collect.feed(input) else {
                        return Ok(Step::More);
                    };
                    self.answer(&c1);
                    self.state = State::C2 { missing: HALF };
                }
                State::C2 { missing } => {
                    let taken = input.len().min(*missing);
                    *input = input.get(taken..).unwrap_or_default();
                    *missing = missing.saturating_sub(taken);
                    if *missing > 0 {
                        return Ok(Step::More);
                    }
                    self.state = State::Done;
                }
                State::Done => return Ok(Step::Done),
                State::Failed(error) => return Err(*error),
            }
        }
    }

    /// What is to be sent since the last call; empty if nothing.
    pub fn output(&mut self) -> Bytes {
        std::mem::take(&mut self.output).freeze()
    }

    /// The scheme of the client's digest; `None` for a simple handshake or before C1 is read.
    #[must_use]
    pub const fn scheme(&self) -> Option<Scheme> {
        self.scheme
    }

    /// Sends S0, S1 and S2.
    fn answer(&mut self, c1: &[u8; HALF]) {
        let found = if is_simple(c1) {
            None
        } else {
            digest::find(c1, Side::Client)
        };
        self.output.reserve(1 + 2 * HALF);
        self.output.extend_from_slice(&[VERSION]);
        if let Some((scheme, client_digest)) = found {
            self.scheme = Some(scheme);
            let mut s1 = first_half(&mut self.random, self.time, SERVER_VERSION);
            digest::sign(&mut s1, Side::Server, scheme);
            let mut s2 = self.random.half();
            digest::sign_answer(&mut s2, Side::Server, &client_digest);
            self.output.extend_from_slice(s1.as_slice());
            self.output.extend_from_slice(s2.as_slice());
        } else {
            let s1 = first_half(&mut self.random, self.time, [0; 4]);
            self.output.extend_from_slice(s1.as_slice());
            self.output.extend_from_slice(c1);
        }
    }
}
