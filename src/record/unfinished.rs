//! Which files are being recorded, so that a start after a crash knows whose end nobody saw.
//!
//! Each has a mark in a hidden folder of the folder of recordings: a small file with its path. A start
//! mends what the marks name and takes them away. What another server is recording is locked, and left.

use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::path::Path;

use super::mend::mend;
use crate::bridge::recording::Format;
use crate::limits::{MAX_RECORDING_NAME, MAX_UNFINISHED};
use crate::system::{Folder, random};

/// The hidden folder.
const PLACE: &str = ".unfinished";
/// The longest path that is believed, bytes.
const MAX_PATH: u64 = 4 * MAX_RECORDING_NAME as u64;

/// One mark.
pub(super) struct Mark(String);

impl Mark {
    /// Marks a file. A recording goes on without it.
    pub(super) fn set(root: &Folder, path: &str) -> Option<Self> {
        let number: [u8; 8] = random().ok()?;
        let name = format!("{PLACE}/{:016x}", u64::from_be_bytes(number));
        let (within, last) = root.within(Path::new(&name)).ok()?;
        let mut file = within.create(last).ok()?;
        file.write_all(path.as_bytes()).ok()?;
        // It is read after a crash of the whole machine, too.
        file.sync_data().ok()?;
        within.sync().ok()?;
        Some(Self(name))
    }

    /// The file is finished.
    pub(super) fn clear(self, root: &Folder) {
        if let Ok((within, name)) = root.within(Path::new(&self.0)) {
            // A mark that stays costs a look at the next start.
            let _ = within.remove(name);
        }
    }
}

/// Mends every file that is marked; each gets a line in the log.
pub(super) fn mend_all(folder: &Path) {
    let Ok(root) = Folder::open(folder) else {
        return; // it is told once something is recorded
    };
    let Ok(marks) = fs::read_dir(folder.join(PLACE)) else {
        return;
    };
    for mark in marks.flatten().take(MAX_UNFINISHED) {
        let mark = mark.file_name();
        if mend_one(&root, &mark).is_none() {
            continue; // somebody else's, or gone
        }
        let path = Path::new(PLACE).join(&mark);
        if let Ok((within, name)) = root.within(&path) {
            let _ = within.remove(name);
        }
    }
}

/// `None` when the mark is to stay.
fn mend_one(root: &Folder, mark: &OsStr) -> Option<()> {
    let at = Path::new(PLACE).join(mark);
    let (within, name) = root.within(&at).ok()?;
    let mut path = String::new();
    let file = within.open_file(name).ok()?;
    if file.take(MAX_PATH).read_to_string(&mut path).is_err() {
        return Some(());
    }
    let format = match path.rsplit_once('.') {
        Some((_, "flv")) => Format::Flv,
        Some((_, "mp4")) => Format::Mp4,
        _ => return Some(()),
    };
    let Ok((within, name)) = root.within(Path::new(&path)) else {
        return Some(());
    };
    let Ok(file) = within.open_file(name) else {
        return Some(());
    };
    file.try_lock().ok()?;
    let before = file.metadata().map_or(0, |facts| facts.len());
    match mend(&file, format) {
        Ok(Some(end)) => {
            let cut = before.saturating_sub(end.length);
            tracing::info!(
                code = "recording-mended", file = %path, cut,
                "a recording whose end was not written is whole now: {cut} bytes were cut off"
            );
        }
        // Nothing of it ever was on the disk.
        Ok(None) if before == 0 => drop(within.remove(name)),
        Ok(None) => {
            tracing::warn!(code = "recording-mended", file = %path, "a recording cannot be mended: nothing of it is whole");
        }
        Err(error) => {
            tracing::warn!(code = "recording-mended", file = %path, "a recording cannot be mended: {error}");
        }
    }
    Some(())
}
