//! The handshake: simple, and digest in both schemes, for both sides.
