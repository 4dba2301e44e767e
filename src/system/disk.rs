//! Whether there is room for files.

use std::path::Path;

use nix::sys::statvfs::{FsFlags, statvfs};

/// Whether a folder, or the nearest one above it that there is, can take no more: the file system has no
/// block left for this user. One that cannot be written to anyway is not full.
#[must_use]
pub fn is_full(folder: &Path) -> bool {
    let found = folder.ancestors().find_map(|folder| statvfs(folder).ok());
    found.is_some_and(|system| {
        !system.flags().contains(FsFlags::ST_RDONLY)
            && system.blocks() > 0
            && system.blocks_available() == 0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_files_is_not_full_and_what_counts_no_blocks_is_not_either() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!is_full(folder.path()));
        assert!(!is_full(&folder.path().join("not/there/yet")));
        assert!(!is_full(Path::new("/proc/self")));
        assert!(!is_full(Path::new("nowhere")));
    }
}
