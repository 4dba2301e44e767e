//! Changes to a file that holds secrets: the new file is complete on the disk before it takes the old
//! one's place.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

use super::FileError;
use super::files::{give_to_server, read_private};
use crate::system::how_to_make;

/// Reads, changes, checks and replaces the file, alone: others wait. `change` gets the text, nothing
/// when there is no file, and gives the lines that there are to be; `check` says what is wrong with them.
pub(super) fn update<T>(
    path: &Path,
    change: impl FnOnce(&str) -> Result<(Vec<String>, T), String>,
    check: impl FnOnce(&str) -> Result<(), String>,
) -> Result<T, FileError> {
    let fail = |e: io::Error| {
        let hint = how_to_make(path, &e);
        FileError::new(path, format!("cannot be written: {e}{hint}"))
    };
    // A link stays a link.
    let path: PathBuf = match fs::canonicalize(path) {
        Ok(real) => real,
        Err(e) if e.kind() == io::ErrorKind::NotFound => path.to_owned(),
        Err(e) => return Err(fail(e)),
    };
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let lock = File::open(&folder).map_err(fail)?;
    let lock = Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, e)| fail(e.into()))?;
    let old = match fs::metadata(&path) {
        Ok(meta) => Some(meta),
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(e) => return Err(fail(e)),
    };
    let text = match &old {
        Some(_) => read_private(&path)?.text,
        None => String::new(),
    };
    let (lines, done) = change(&text).map_err(|message| FileError::new(&path, message))?;
    let text: String = lines.into_iter().map(|line| line + "\n").collect();
    // Never put a file in place that the server would refuse.
    check(&text).map_err(|message| FileError::new(&path, format!("not changed: {message}")))?;
    replace(&path, &folder, old.as_ref(), &text).map_err(fail)?;
    lock.sync_all().map_err(fail)?;
    Ok(done)
}

/// Writes the text beside the file and moves it in place, with the old one's owner and mode; a new
/// one belongs to root:crtmpserver where there is such a group, and to nobody else's eyes elsewhere.
fn replace(path: &Path, folder: &Path, old: Option<&fs::Metadata>, text: &str) -> io::Result<()> {
    let temporary = folder.join(format!(".crtmpserver-edit.{}", std::process::id()));
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(text.as_bytes())?;
        match old {
            Some(old) => {
                let mine = file.metadata()?;
                if (mine.uid(), mine.gid()) != (old.uid(), old.gid()) {
                    fchown(&file, Some(old.uid()), Some(old.gid()))?;
                }
                file.set_permissions(Permissions::from_mode(old.mode() & 0o640 | 0o600))?;
            }
            None => give_to_server(&file)?,
        }
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().inspect_err(|_| {
        // It may not even exist; the error before this one is what matters.
        drop(fs::remove_file(&temporary));
    })
}
