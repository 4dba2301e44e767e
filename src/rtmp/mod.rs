//! RTMP 1.0 and Enhanced RTMP v2, free of I/O.
//!
//! The contract of both machines, [`server::Server`] and [`client::Client`]: `feed(bytes, now)`,
//! then `poll()` until it gives `None` (drain it before feeding again), `next_timeout()` for when
//! to call `timeout(now)`. Policy is outside: a machine asks by an event and the driver answers. Why a
//! connection ended is a [`session::reason::CloseReason`], what a peer declared of Enhanced RTMP are
//! its [`session::caps::Caps`].

pub mod adobe;
pub mod chunk;
pub mod client;
pub mod command;
pub mod handshake;
pub mod message;
pub mod mirror;
#[cfg(test)]
mod pair;
pub mod server;
pub mod session;
pub mod status;
