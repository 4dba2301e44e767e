//! System calls; the only place where `unsafe` may be.

mod descriptors;
mod terminal;

pub use descriptors::raise_descriptor_limit;
pub use terminal::NoEcho;
