//! Making files in a folder, whatever their names say: nothing is made outside, no link is followed, and
//! nothing that is there is written over.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat};
use nix::sys::stat::{Mode, mkdirat};
use nix::sys::statvfs::fstatvfs;
use nix::unistd::{AccessFlags, UnlinkatFlags, faccessat, fsync, linkat, unlinkat};

/// A folder in which files are made.
#[derive(Debug)]
pub struct Folder(OwnedFd);

const FOLDER: OFlag = OFlag::O_DIRECTORY
    .union(OFlag::O_CLOEXEC)
    .union(OFlag::O_RDONLY);
const FILE: OFlag = OFlag::O_RDWR
    .union(OFlag::O_CLOEXEC)
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_NONBLOCK)
    .union(OFlag::O_NOCTTY);

impl Folder {
    /// Opens a folder that is there.
    ///
    /// # Errors
    /// It is not there, or no folder, or not for this process.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(open(path, FOLDER, Mode::empty())?))
    }

    /// Whether this process may make files here; none is made for it.
    ///
    /// # Errors
    /// It may not, or the file system takes none.
    pub fn may_make(&self) -> io::Result<()> {
        let wanted = AccessFlags::W_OK | AccessFlags::X_OK;
        Ok(faccessat(&self.0, ".", wanted, AtFlags::AT_EACCESS)?)
    }

    /// The folder of `path` within this one, which is made where it is missing, and the file's own name.
    ///
    /// # Errors
    /// `path` leads elsewhere (`InvalidInput`), something in the way is no folder, or the system refuses.
    pub fn within<'p>(&self, path: &'p Path) -> io::Result<(Self, &'p OsStr)> {
        let mut at = self.0.try_clone()?;
        let mut parts = path.components().peekable();
        while let Some(part) = parts.next() {
            let Component::Normal(name) = part else { break };
            if parts.peek().is_none() {
                return Ok((Self(at), name));
            }
            let below = |at: &OwnedFd| openat(at, name, FOLDER | OFlag::O_NOFOLLOW, Mode::empty());
            at = match below(&at) {
                Err(Errno::ENOENT) => {
                    match mkdirat(&at, name, Mode::from_bits_truncate(0o750)) {
                        // A file in it is safe from a loss of power when the folder's own name is, too.
                        Ok(()) => drop(fsync(&at)),
                        Err(Errno::EEXIST) => {}
                        Err(error) => return Err(error.into()),
                    }
                    below(&at)?
                }
                opened => opened?,
            };
        }
        Err(io::ErrorKind::InvalidInput.into())
    }

    /// Makes a file for reading and writing.
    ///
    /// # Errors
    /// There is something of that name (`AlreadyExists`), or the system refuses.
    pub fn create(&self, name: &OsStr) -> io::Result<File> {
        let flags = FILE | OFlag::O_CREAT | OFlag::O_EXCL;
        let made = openat(&self.0, name, flags, Mode::from_bits_truncate(0o640))?;
        Ok(made.into())
    }

    /// Opens a regular file for reading and writing.
    ///
    /// # Errors
    /// There is none, or what is there is something else (`InvalidInput`).
    pub fn open_file(&self, name: &OsStr) -> io::Result<File> {
        let file = File::from(openat(&self.0, name, FILE, Mode::empty())?);
        if !file.metadata()?.is_file() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(file)
    }

    /// Gives a file another name, unless that is taken (`AlreadyExists`).
    ///
    /// # Errors
    /// As it says, or the system refuses.
    pub fn rename_to_free(&self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        linkat(&self.0, from, &self.0, to, AtFlags::empty())?;
        Ok(self.remove(from)?)
    }

    /// Takes a file away.
    ///
    /// # Errors
    /// There is none, or the system refuses.
    pub fn remove(&self, name: &OsStr) -> nix::Result<()> {
        unlinkat(&self.0, name, UnlinkatFlags::NoRemoveDir)
    }

    /// Sees to it that what is in it is there after a loss of power.
    ///
    /// # Errors
    /// The system refuses.
    pub fn sync(&self) -> io::Result<()> {
        Ok(fsync(&self.0)?)
    }

    /// Bytes that are left for this process on its file system.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn free(&self) -> io::Result<u64> {
        free_of(&self.0)
    }
}

fn free_of(descriptor: &impl AsFd) -> io::Result<u64> {
    let facts = fstatvfs(descriptor)?;
    #[expect(
        clippy::useless_conversion,
        reason = "their widths differ from system to system"
    )]
    let (blocks, size) = (
        u64::from(facts.blocks_available()),
        u64::from(facts.fragment_size()),
    );
    Ok(blocks.saturating_mul(size))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn nothing_is_made_outside() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("in");
        fs::create_dir(&root).unwrap();
        fs::create_dir(dir.path().join("out")).unwrap();
        symlink("../out", root.join("link")).unwrap();
        symlink("../out/new", root.join("file")).unwrap();
        fs::write(root.join("plain"), "x").unwrap();
        let folder = Folder::open(&root).unwrap();
        let make = |path: &str| {
            let (within, name) = folder.within(Path::new(path))?;
            within.create(name)
        };
        make("a").unwrap();
        make("b/c/d").unwrap();
        make("b/c/e").unwrap();
        assert!(root.join("b/c/d").is_file());
        for bad in [
            "",
            ".",
            "..",
            "../x",
            "b/../../x",
            "/x",
            "/etc/x",
            "link/x",
            "file",
            "plain",
            "plain/x",
        ] {
            assert!(make(bad).is_err(), "{bad}");
        }
        assert_eq!(make("a").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_dir(dir.path().join("out")).unwrap().count(), 0);
        assert!(folder.open_file(OsStr::new("plain")).is_ok());
        assert!(folder.open_file(OsStr::new("b")).is_err());
        assert!(folder.open_file(OsStr::new("file")).is_err());
        let (from, to) = (OsStr::new("plain"), OsStr::new("moved"));
        folder.rename_to_free(from, to).unwrap();
        assert_eq!(fs::read(root.join("moved")).unwrap(), b"x");
        fs::write(root.join("plain"), "y").unwrap();
        let taken = folder.rename_to_free(from, to).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(root.join("plain")).unwrap(), b"y");
        assert!(folder.free().unwrap() > 0);
        folder.sync().unwrap();
    }
}
