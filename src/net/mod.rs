//! Shards, listeners and the fan-out: everything between a socket and a protocol.
//!
//! ```text
//! Listener --accept, Admission--> Shards --spawn--> a connection's task (reads, answers)
//!                                   |                    |  owns
//!                                   |                  Outlet (writes) --play--> Player: a cursor
//!                                   '--> Fan: one task for each stream and shard --turn--> Outlet
//! ```
//!
//! A driver makes an [`Outlet`] of the socket, then runs a loop of `select!` over
//! [`Outlet::drive`], [`Outlet::poll_readable`] (while [`Outlet::has_room`]), its own timers and
//! [`Shard::stopping`]. It reads with [`Shard::read`], answers with [`Outlet::control`], and plays
//! with [`Outlet::play`], which returns a [`Playing`] to keep.

mod admission;
mod bell;
mod bind;
mod fanout;
mod listener;
mod outlet;
mod pacing;
#[cfg(feature = "publish")]
mod pairs;
mod player;
mod registry;
mod secure;
mod seldom;
mod shards;
mod socket;
#[cfg(test)]
mod tests;

pub use admission::{Admission, AdmissionLimits, Admitted, Refusal};
pub use bell::{Bell, Timer};
pub use bind::{BindError, Bound, Listener, Rebound};
pub use listener::{Door, Incoming, until};
pub use outlet::{CannotPlay, Ending, Outlet, OutletEvent, Playing, Totals, Wish};
pub use pacing::Latency;
#[cfg(feature = "publish")]
pub use pairs::{Came, Pair, poll_pairs};
pub use player::{Announce, Play};
#[cfg(feature = "publish")]
pub use registry::PlaysFile;
pub use registry::{
    KickedNow, PublisherNow, Registered, Target, ViewerNow, ViewerState, Wanted, Watched,
};
pub use shards::{Shard, Shards, Stopped};
pub use socket::{canonical, owner};
