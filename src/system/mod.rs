//! System calls; the only place where `unsafe` may be.

mod clock;
mod descriptors;
mod inherited;
mod random;
mod terminal;

pub use clock::{thread_cpu_time, wall_ms};
pub use descriptors::raise_descriptor_limit;
pub use inherited::{
    Passed, PassedError, forget_variables, is_single_threaded, passed_descriptors,
};
pub use random::random;
pub use terminal::NoEcho;
