//! Whole events in one process: real servers, real sockets, no other program. Encoders and viewers
//! are the project's own client machine; what they see is checked frame by frame.

#![cfg(feature = "publish")]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may fail loudly"
)]

mod cluster;
mod control;
mod elsewhere;
mod network;
mod reload;
mod survival;
mod thousand;
mod trust;
mod world;
