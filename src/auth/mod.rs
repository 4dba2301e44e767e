//! Who may publish and who may play: Adobe/FMLE logins, stream keys, the mirrors' shared secret, listed
//! networks.
//!
//! [`Policy`] is what a driver asks. Everything under it is pure (the time and random bytes are
//! arguments) but for reading the files that hold secrets.

mod apps;
#[cfg(feature = "publish")]
mod challenge;
#[cfg(feature = "publish")]
mod edit;
#[cfg(feature = "publish")]
mod failures;
mod files;
#[cfg(feature = "publish")]
pub mod keyfile;
#[cfg(feature = "publish")]
mod keys;
#[cfg(feature = "publish")]
mod login;
mod masked;
mod mirror;
mod networks;
#[cfg(feature = "publish")]
pub mod passwd;
mod policy;
#[cfg(feature = "publish")]
mod stream_keys;
#[cfg(feature = "publish")]
mod users;

pub use apps::{Applications, RESERVED};
pub use files::{FileError, PrivateFile, give_to_server, read_private};
#[cfg(feature = "publish")]
pub use keys::{Grant, HeldKey, KeyGrant};
pub use masked::{is_key, masked, masked_app, masked_refused, masked_stream};
pub use mirror::{Secret, new_secret};
pub use networks::Networks;
pub use policy::{
    Connect, Contents, Decision, Identity, NewRules, Policy, PolicyConfig, Publishers, Reason,
    Refusal,
};
#[cfg(feature = "publish")]
pub use stream_keys::{StreamKey, StreamKeys};
#[cfg(feature = "publish")]
pub use users::{Users, UsersError, read_logins};
