//! System calls; the only place where `unsafe` may be.

mod access;
#[cfg(feature = "publish")]
mod beneath;
mod clock;
mod descriptors;
mod disk;
#[cfg(target_os = "freebsd")]
mod freebsd;
mod inherited;
mod inside;
#[cfg(target_os = "linux")]
mod linux;
mod privileges;
mod random;
mod terminal;

#[cfg(target_os = "freebsd")]
use freebsd as os;
#[cfg(target_os = "linux")]
use linux as os;
#[cfg(not(any(target_os = "linux", target_os = "freebsd")))]
compile_error!("give this system a file like src/system/freebsd.rs");

pub use access::{how_to_make, how_to_open};
#[cfg(feature = "publish")]
pub use beneath::{open_beneath, read_beneath};
pub use clock::{monotonic_us, thread_cpu_time, wall_ms};
pub use descriptors::raise_descriptor_limit;
pub use disk::is_full;
pub use inherited::{Passed, PassedError, forget_variables, passed_descriptors};
pub use inside::Folder;
pub use os::{
    CONFIGURATION, MEDIA, RECORDINGS, RUN, THROW_AWAY, WHO_LISTENS, give_up_after, hold_unsent,
    is_peers_network, local_address,
};
pub use privileges::{PrivilegeError, become_user, confine, is_root};
pub use random::{random, random_number};
pub use terminal::NoEcho;
