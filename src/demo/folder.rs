//! A folder of the demo's own, for its two secrets; gone when the demo is.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::system::random;

/// See the module.
pub(super) struct Folder(PathBuf);

impl Folder {
    /// Makes a new one that only this user may enter.
    pub(super) fn new() -> io::Result<Self> {
        let number = u64::from_be_bytes(random().map_err(io::Error::from)?);
        let path = std::env::temp_dir().join(format!("crtmpserver-demo-{number:016x}"));
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn write(&self, name: &str, text: &str) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        options.open(self.0.join(name))?.write_all(text.as_bytes())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is in the folder for temporary files.
        let _ = fs::remove_dir_all(&self.0);
    }
}
