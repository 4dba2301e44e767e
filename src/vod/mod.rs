//! Media files: the folders they are in, their indexes, and the threads that read them.
//!
//! Nothing here is done on a shard's thread: a [`Library`] is asked, and answers from a thread of its own.
//! Indexes are read by a few threads and media by others, so that a large file which is opened for the
//! first time holds up nobody who watches. Live streams pass none of this.

mod batch;
mod cache;
mod disk;
mod hls;
mod indexed;
mod library;
mod listing;
mod name;
mod opening;
mod pool;
mod slot;

pub use self::hls::{Made, NoPiece, Piece as HlsPiece};
pub use self::indexed::{Head, head as indexed_head};
pub use self::library::{Answer, Library, LibraryConfig, OpenError, Opened, Plain};
pub use self::listing::Listing;
pub use self::name::{BadName, FileName};
pub use self::slot::{Filler, Slot, slot};
