//! The control socket: what is live, who watches, and an operator's word to a connection.
//!
//! ```text
//! crtmpserver status, ctl --Client--> unix socket --protocol--> Service --> Control --> hub, cluster,
//!                                                                                       shards, health
//! ```
//!
//! A request is a line of JSON, and so is its answer: [`protocol`] knows the lines and has no I/O,
//! [`model`] is what an answer holds. Who may connect is decided by the socket's mode and group alone.

pub mod model;
pub mod protocol;
pub mod verbs;

mod attend;
mod client;
mod drain;
mod facts;
mod recording;
mod rows;
mod service;
mod socket;

pub use client::{Client, Unreachable, find, usual_places};
pub use facts::{Control, KnownApplications, Others, Reload};
pub use service::serve;
pub use socket::{ControlSocket, SocketError, usual};
