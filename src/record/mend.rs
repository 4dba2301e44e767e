//! Files whose end nobody saw are cut to where they are whole, and told how long they are.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::bridge::recording::{End, Format, whole};

/// Cuts off what is not whole and writes the duration at its place. `None`: this is no file of ours.
///
/// # Errors
/// The system refuses.
pub(super) fn mend(file: &File, format: Format) -> io::Result<Option<End>> {
    let length = file.metadata()?.len();
    let read = |at: u64, into: &mut [u8]| file.read_exact_at(into, at);
    let Some(end) = whole(format, length, read)? else {
        return Ok(None);
    };
    if end.length < length {
        file.set_len(end.length)?;
    }
    for patch in &end.patches {
        file.write_all_at(&patch.bytes, patch.offset)?;
    }
    file.sync_data()?;
    Ok(Some(end))
}
