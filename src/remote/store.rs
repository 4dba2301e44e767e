//! The file of the pulls and pushes that were asked for at run time: private, written whole or not at
//! all, and set aside when it cannot be read.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::wish::Wish;
use crate::limits::{MAX_REMOTES, MAX_STATE_FILE};

/// Its name in the folder.
const NAME: &str = "remotes.json";
/// Its version; a file of another one is set aside.
const VERSION: u32 = 1;

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) id: u32,
    /// `pull` or `push`
    pub(super) direction: String,
    #[serde(default = "yes")]
    pub(super) keep: bool,
    pub(super) wish: Wish,
}

const fn yes() -> bool {
    true
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Content {
    version: u32,
    remotes: Vec<Entry>,
}

/// Where it is.
#[derive(Debug, Clone)]
pub(super) struct Store {
    path: PathBuf,
}

impl Store {
    pub(super) fn new(folder: &Path) -> Self {
        Self {
            path: folder.join(NAME),
        }
    }

    /// What is there. What cannot be read is moved out of the way, and an operator hears of it.
    pub(super) fn load(&self) -> Vec<Entry> {
        let why = match self.read() {
            Ok(None) => return Vec::new(),
            Ok(Some(text)) => match serde_json::from_str::<Content>(&text) {
                Ok(content) if content.version == VERSION => {
                    let mut entries = content.remotes;
                    entries.truncate(MAX_REMOTES);
                    return entries;
                }
                Ok(content) => format!("it is of version {}", content.version),
                // Not the error itself: it may repeat what is in the file.
                Err(error) => format!("line {} is not understood", error.line()),
            },
            Err(error) => error.to_string(),
        };
        let aside = self.path.with_extension("json.broken");
        let moved = fs::rename(&self.path, &aside);
        let what = match moved {
            Ok(()) => format!("it is kept as {}", aside.display()),
            Err(error) => format!("it stays there: {error}"),
        };
        tracing::error!(
            code = "remotes-state", path = %self.path.display(),
            "the pulls and pushes that were asked for at run time cannot be read, {why}; {what}"
        );
        Vec::new()
    }

    fn read(&self) -> io::Result<Option<String>> {
        let opened = OpenOptions::new()
            .read(true)
            // A FIFO in its place must not hold up the start.
            .custom_flags((nix::fcntl::OFlag::O_NONBLOCK | nix::fcntl::OFlag::O_NOFOLLOW).bits())
            .open(&self.path);
        let file = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        let mut text = String::new();
        file.take(MAX_STATE_FILE.saturating_add(1))
            .read_to_string(&mut text)?;
        if text.len() as u64 > MAX_STATE_FILE {
            return Err(io::Error::other(format!(
                "it has more than {MAX_STATE_FILE} bytes"
            )));
        }
        Ok(Some(text))
    }

    /// Replaces it: after a power loss there is the old one or the new one.
    ///
    /// # Errors
    /// The system refuses; the old one is there.
    pub(super) fn save(&self, remotes: Vec<Entry>) -> io::Result<()> {
        let content = Content {
            version: VERSION,
            remotes,
        };
        let mut text = serde_json::to_vec_pretty(&content).map_err(io::Error::other)?;
        text.push(b'\n');
        let new = self.path.with_extension("json.new");
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&new, &self.path)?;
        match self.path.parent() {
            Some(folder) => File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::remote::secret::Password;

    fn entry(id: u32) -> Entry {
        Entry {
            id,
            direction: "pull".to_owned(),
            keep: true,
            wish: Wish {
                stream: "live/a".to_owned(),
                uri: "rtmp://ann:pw@h/app/x".to_owned(),
                password: Some(Password::new("hunter2".to_owned())),
                ..Wish::default()
            },
        }
    }

    #[test]
    fn what_was_saved_is_loaded_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        assert_eq!(store.load(), []);
        store.save(vec![entry(1), entry(7)]).unwrap();
        assert_eq!(store.load(), [entry(1), entry(7)]);
        let mode = fs::metadata(&store.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        store.save(Vec::new()).unwrap();
        assert_eq!(store.load(), []);
        assert_eq!(
            fs::read_dir(dir.path()).unwrap().count(),
            1,
            "nothing is left behind"
        );
    }

    #[test]
    fn what_is_broken_is_set_aside() {
        for broken in [
            b"{".as_slice(),
            b"[]",
            b"{\"version\":2,\"remotes\":[]}",
            b"{\"version\":1,\"remotes\":[{\"id\":1}]}",
            b"\xff",
            &vec![b' '; usize::try_from(MAX_STATE_FILE).unwrap() + 1],
        ] {
            let dir = tempfile::tempdir().unwrap();
            let store = Store::new(dir.path());
            fs::write(&store.path, broken).unwrap();
            assert_eq!(store.load(), []);
            let aside = dir.path().join("remotes.json.broken");
            assert_eq!(fs::read(aside).unwrap(), broken);
            store.save(vec![entry(1)]).unwrap();
            assert_eq!(store.load(), [entry(1)]);
        }
    }

    #[test]
    fn a_folder_that_is_gone_is_an_error_and_no_crash() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(&dir.path().join("none"));
        assert_eq!(store.load(), []);
        assert!(store.save(vec![entry(1)]).is_err());
    }
}
