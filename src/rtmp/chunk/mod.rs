//! The chunk stream (RTMP 1.0 section 5.3).
//!
//! [`ChunkReader`] puts messages together from bytes that may be cut anywhere, [`ChunkWriter`] takes
//! them apart with headers as short as the last ones allow, and [`write_absolute`] does so without
//! any memory, for bytes that many peers share.

mod bounds;
mod header;
mod pending;
mod reader;
mod writer;

pub use bounds::{ChunkError, ReaderLimits, ReaderPhase};
pub use reader::ChunkReader;
pub use writer::{ChunkWriter, Envelope, write_absolute, write_joined, write_payload};

#[cfg(test)]
mod round_trip;
#[cfg(test)]
mod tests;
