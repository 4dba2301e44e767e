//! System calls; the only place where `unsafe` may be.

mod clock;
mod descriptors;
mod random;
mod terminal;

pub use clock::{thread_cpu_time, wall_ms};
pub use descriptors::raise_descriptor_limit;
pub use random::random;
pub use terminal::NoEcho;
