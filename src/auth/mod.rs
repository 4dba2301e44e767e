//! Who may publish and who may play: Adobe/FMLE logins, the mirrors' shared secret, listed networks.
//!
//! [`Policy`] is what a driver asks. Everything under it is pure (the time and random bytes are
//! arguments) but for reading the two files that hold secrets.

mod apps;
#[cfg(feature = "publish")]
mod challenge;
#[cfg(feature = "publish")]
mod failures;
mod files;
#[cfg(feature = "publish")]
mod login;
mod mirror;
mod networks;
#[cfg(feature = "publish")]
pub mod passwd;
mod policy;
#[cfg(feature = "publish")]
mod users;

pub use apps::Applications;
pub use files::{FileError, PrivateFile, give_to_server, read_private};
pub use mirror::{Secret, new_secret};
pub use networks::Networks;
pub use policy::{
    Connect, Contents, Decision, Identity, NewRules, Policy, PolicyConfig, Publishers, Reason,
    Refusal,
};
#[cfg(feature = "publish")]
pub use users::{Users, UsersError};
