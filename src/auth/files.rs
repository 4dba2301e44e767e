//! Reading the files that hold secrets: bounded, and with a word when others can read them.

use std::fs::{File, Permissions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use crate::limits::MAX_USERS_FILE;
use crate::system::how_to_open;

/// A file of users or a secret that cannot be used, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", path.display())]
pub struct FileError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it, and what would be right.
    pub message: String,
}

impl FileError {
    /// An error of `path`.
    #[must_use]
    pub fn new(path: &Path, message: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            message: message.into(),
        }
    }
}

/// What was read.
#[derive(Debug)]
pub struct PrivateFile {
    /// All of it.
    pub text: String,
    /// Set when more people than its owner and group can read or change it.
    pub warning: Option<String>,
    /// What tells this version of the file from another.
    #[cfg(feature = "publish")]
    pub(super) stamp: Stamp,
}

/// What tells one version of a file from another: a file that is replaced has another inode, one
/// that is written in place another time or size.
#[cfg(feature = "publish")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    inode: u64,
    size: u64,
    seconds: i64,
    nanoseconds: i64,
}

#[cfg(feature = "publish")]
impl Stamp {
    fn of(meta: &std::fs::Metadata) -> Self {
        Self {
            inode: meta.ino(),
            size: meta.size(),
            seconds: meta.mtime(),
            nanoseconds: meta.mtime_nsec(),
        }
    }

    /// The stamp of what is there now.
    pub(super) fn read(path: &Path) -> Option<Self> {
        std::fs::metadata(path).ok().map(|meta| Self::of(&meta))
    }
}

/// The group that the server runs as, in an installation.
const GROUP: &str = "crtmpserver";

/// Lets the server read a file that root has just made for it: root:crtmpserver, mode 0640. Without
/// that group, or made by someone else, it stays as it is.
///
/// # Errors
/// The system refuses.
pub fn give_to_server(file: &File) -> std::io::Result<()> {
    let group = nix::unistd::Group::from_name(GROUP).ok().flatten();
    if let Some(group) = group.filter(|_| nix::unistd::geteuid().is_root()) {
        fchown(file, None, Some(group.gid.as_raw()))?;
        file.set_permissions(Permissions::from_mode(0o640))?;
    }
    Ok(())
}

/// Reads a regular file of at most [`MAX_USERS_FILE`] bytes.
///
/// # Errors
/// It cannot be read, is larger, or no text.
pub fn read_private(path: &Path) -> Result<PrivateFile, FileError> {
    let fail = |e: std::io::Error| FileError::new(path, format!("{e}{}", how_to_open(path, &e)));
    // A FIFO in its place must not stop the server: do not wait for its writer.
    let mut file: File = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(nix::fcntl::OFlag::O_NONBLOCK.bits())
        .open(path)
        .map_err(fail)?;
    let meta = file.metadata().map_err(fail)?;
    if !meta.is_file() {
        return Err(FileError::new(path, "is not a regular file"));
    }
    let mut bytes = Vec::new();
    let limit = u64::try_from(MAX_USERS_FILE).unwrap_or(u64::MAX);
    (&mut file)
        .take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(fail)?;
    if bytes.len() > MAX_USERS_FILE {
        return Err(FileError::new(
            path,
            format!("is larger than {MAX_USERS_FILE} bytes"),
        ));
    }
    let text = String::from_utf8(bytes).map_err(|_| FileError::new(path, "is not UTF-8 text"))?;
    let mode = meta.mode() & 0o777;
    let warning = (mode & 0o027 != 0).then(|| {
        format!(
            "{}: mode {mode:04o} lets others read or change it; it should be 0640 or 0600",
            path.display()
        )
    });
    Ok(PrivateFile {
        text,
        warning,
        #[cfg(feature = "publish")]
        stamp: Stamp::of(&meta),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loose_modes_are_told_and_large_files_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, vec![b'x'; MAX_USERS_FILE]).unwrap();
        for (mode, loose) in [(0o600, false), (0o640, false), (0o644, true), (0o660, true)] {
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            assert_eq!(
                read_private(&path).unwrap().warning.is_some(),
                loose,
                "{mode:o}"
            );
        }
        std::fs::write(&path, vec![b'x'; MAX_USERS_FILE + 1]).unwrap();
        assert!(read_private(&path).is_err());
        assert!(read_private(dir.path()).is_err());
        assert!(read_private(&dir.path().join("none")).is_err());
    }
}
