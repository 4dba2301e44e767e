//! Shards, listeners and the fan-out: everything between a socket and a protocol.

mod admission;
mod listener;
mod shards;
mod socket;

pub use admission::{Admission, AdmissionLimits, Admitted, Refusal};
pub use listener::{BindError, Door, Incoming, Listener};
pub use shards::{Shard, Shards, Stopped};
pub use socket::{canonical, owner};
