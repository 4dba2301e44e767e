//! Fragmented MP4 (ISO/IEC 14496-12): an initialization segment, and media segments of one fragment.
//!
//! The boxes are those of `shiguredo_mp4`; here is which of them go into a segment and with what in
//! them. Everything is a function of its arguments: no clock, no counter, no chance, so that whoever
//! has the same frames makes the same bytes.

mod entry;
mod fragment;
mod init;
#[cfg(test)]
mod tests;

pub use entry::{Entry, Unsupported};
pub use fragment::{Run, Sample, TooLarge, fragment};
pub use init::{Track, file_head, init};
