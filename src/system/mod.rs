//! System calls; the only place where `unsafe` may be.

mod access;
mod clock;
mod descriptors;
mod inherited;
mod privileges;
mod random;
mod terminal;

pub use access::how_to_open;
pub use clock::{monotonic_us, thread_cpu_time, wall_ms};
pub use descriptors::raise_descriptor_limit;
pub use inherited::{Passed, PassedError, forget_variables, passed_descriptors};
pub use privileges::{PrivilegeError, become_user, confine, is_root};
pub use random::random;
pub use terminal::NoEcho;
