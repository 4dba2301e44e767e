//! One file that is being recorded: made in its folder, written in whole pieces, safe from a loss of
//! power up to the last moment, and finished.

use std::ffi::{OsStr, OsString};
use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

use bytes::Bytes;

use super::mend::mend;
use super::unfinished::Mark;
use crate::bridge::recording::{End, Format, Patch};
use crate::limits::{MAX_RECORDING_NUMBER, RECORDING_SYNC};
use crate::system::Folder;

/// See the module.
pub(super) struct OutFile {
    file: File,
    root: Folder,
    /// Its path within the folder of recordings.
    pub(super) path: String,
    /// Bytes that are written, all of them whole.
    pub(super) length: u64,
    synced: Instant,
    dirty: bool,
    mark: Option<Mark>,
}

/// The name of a file with a number; 0 is none.
fn numbered(base: &str, number: u32, format: Format) -> String {
    let extension = format.as_str();
    match number {
        0 => format!("{base}.{extension}"),
        n => format!("{base}.{n}.{extension}"),
    }
}

fn is_taken(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AlreadyExists
}

fn no_name() -> io::Error {
    io::Error::new(
        io::ErrorKind::AlreadyExists,
        "all numbers of this name are taken",
    )
}

/// Takes the file for this recording alone.
fn lock(file: File) -> io::Result<File> {
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(io::Error::new(
            io::ErrorKind::ResourceBusy,
            "another recording writes to the file of this name",
        )),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

impl OutFile {
    /// A new file: `base` with the extension of the format, and a number when that is taken.
    pub(super) fn create(folder: &Path, base: &str, format: Format) -> io::Result<Self> {
        let root = Folder::open(folder)?;
        for number in 0..=MAX_RECORDING_NUMBER {
            let path = numbered(base, number, format);
            let (within, name) = root.within(Path::new(&path))?;
            match within.create(name) {
                Ok(file) => return Self::begun(file, root, &within, path.clone()),
                Err(error) if is_taken(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Err(no_name())
    }

    /// A new file of just this name. What has it gets a number, or goes.
    pub(super) fn in_place(
        folder: &Path,
        base: &str,
        format: Format,
        keep: bool,
    ) -> io::Result<Self> {
        let root = Folder::open(folder)?;
        let path = numbered(base, 0, format);
        let (within, name) = root.within(Path::new(&path))?;
        match within.open_file(name) {
            Ok(file) => {
                let _ours = lock(file)?;
                if keep {
                    move_aside(&within, name, base, format)?;
                } else {
                    within.remove(name)?;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let file = within.create(name)?;
        Self::begun(file, root, &within, path.clone())
    }

    /// The file of this name, to go on with behind its last whole tag or fragment. The second part is `None`
    /// when the file is new: of FLV when there is none, or when what has the name is no FLV, which is kept under a
    /// number; of MP4 also when what has the name does not begin with `head`, and then the new one gets the number.
    pub(super) fn append(
        folder: &Path,
        base: &str,
        format: Format,
        head: Option<&(Bytes, Patch)>,
    ) -> io::Result<(Self, Option<End>)> {
        let root = Folder::open(folder)?;
        let path = numbered(base, 0, format);
        let (within, name) = root.within(Path::new(&path))?;
        match within.open_file(name) {
            Ok(file) => {
                let file = lock(file)?;
                if format == Format::Mp4 && !begins_with(&file, head)? {
                    return Ok((Self::create(folder, base, format)?, None));
                }
                if let Some(end) = mend(&file, format)? {
                    let mut this = Self::begun(file, root, &within, path.clone())?;
                    this.length = end.length;
                    return Ok((this, Some(end)));
                }
                drop(file);
                drop(root);
                let new = Self::in_place(folder, base, format, true)?;
                Ok((new, None))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let file = within.create(name)?;
                let new = Self::begun(file, root, &within, path.clone())?;
                Ok((new, None))
            }
            Err(error) => Err(error),
        }
    }

    fn begun(file: File, root: Folder, within: &Folder, path: String) -> io::Result<Self> {
        let file = lock_ours(file)?;
        // A folder that cannot be made safe is no reason to record nothing.
        let _ = within.sync();
        let mark = Mark::set(&root, &path);
        Ok(Self {
            file,
            root,
            path,
            length: 0,
            synced: Instant::now(),
            dirty: false,
            mark,
        })
    }

    /// Whether it has another name than it was to have.
    pub(super) fn is_numbered(&self, base: &str) -> bool {
        let plain = [Format::Flv, Format::Mp4].map(|format| numbered(base, 0, format));
        !plain.contains(&self.path)
    }

    /// Appends whole tags or fragments. When that fails, none of them is in the file.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.file.write_all_at(bytes, self.length) {
            // If this fails too, who reads the file finds a tag that is cut off at its end.
            let _ = self.file.set_len(self.length);
            return Err(error);
        }
        self.length = self.length.saturating_add(bytes.len() as u64);
        self.dirty = true;
        Ok(())
    }

    /// Makes safe what was written, every now and then.
    pub(super) fn sync(&mut self, now: Instant) -> io::Result<()> {
        if self.dirty && now.saturating_duration_since(self.synced) >= RECORDING_SYNC {
            self.file.sync_data()?;
            self.synced = now;
            self.dirty = false;
        }
        Ok(())
    }

    /// Bytes that are left on its disk.
    pub(super) fn free(&self) -> io::Result<u64> {
        self.root.free()
    }

    /// Whether the file can still be found under its name.
    pub(super) fn is_there(&self, folder: &Path) -> bool {
        use std::os::unix::fs::MetadataExt;
        let found = Folder::open(folder).and_then(|root| {
            let (within, name) = root.within(Path::new(&self.path))?;
            within.open_file(name)?.metadata()
        });
        let same =
            |a: &std::fs::Metadata, b: &std::fs::Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
        matches!((found, self.file.metadata()), (Ok(a), Ok(b)) if same(&a, &b))
    }

    /// Writes what belongs in front, and is done with it. A file into which nothing was written goes.
    pub(super) fn finish(mut self, patches: &[Patch]) -> io::Result<()> {
        let written = patches
            .iter()
            .filter(|patch| patch.offset < self.length)
            .try_for_each(|patch| self.file.write_all_at(&patch.bytes, patch.offset))
            .and_then(|()| self.file.sync_all());
        if let Some(mark) = self.mark.take() {
            mark.clear(&self.root);
        }
        if self.length == 0
            && let Ok((within, name)) = self.root.within(Path::new(&self.path))
        {
            let _ = within.remove(name);
        }
        written
    }
}

/// Whether a file has this head, whatever duration is in it.
fn begins_with(file: &File, head: Option<&(Bytes, Patch)>) -> io::Result<bool> {
    let Some((head, nothing)) = head else {
        return Ok(false);
    };
    let mut found = vec![0; head.len()];
    match file.read_exact_at(&mut found, 0) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
        read => read?,
    }
    let at = usize::try_from(nothing.offset).unwrap_or(usize::MAX);
    let until = at.saturating_add(nothing.bytes.len());
    if let Some(duration) = found.get_mut(at..until) {
        duration.copy_from_slice(&nothing.bytes);
    }
    Ok(found == *head)
}

/// A file that was locked by this very recording already, or is new.
fn lock_ours(file: File) -> io::Result<File> {
    match file.try_lock() {
        // A file system without locks.
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => Ok(file),
        Err(TryLockError::WouldBlock) => lock(file),
        Err(TryLockError::Error(error)) => Err(error),
        Ok(()) => Ok(file),
    }
}

/// Gives what has this name the first number that is free.
fn move_aside(within: &Folder, name: &OsStr, base: &str, format: Format) -> io::Result<()> {
    let last = base.rsplit('/').next().unwrap_or(base);
    for number in 1..=MAX_RECORDING_NUMBER {
        let other: OsString = numbered(last, number, format).into();
        match within.rename_to_free(name, &other) {
            Err(error) if is_taken(&error) => {}
            done => return done,
        }
    }
    Err(no_name())
}
