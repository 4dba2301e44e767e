//! Indexes on a disk, so that a restart need not read large files anew.
//!
//! One file for each state of each media file, named by what tells it from others, written beside and moved
//! in place. Whatever goes wrong here costs a reading of the media file and nothing else.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime};

use sha2::{Digest, Sha256};

use super::cache::Key;
use crate::index::Index;
use crate::limits::{MAX_CACHED_INDEXES, MAX_INDEX_CACHE, MAX_KEPT_INDEX};
use crate::telemetry::logging::limited;

/// The end of the names of files here; nothing else is touched.
const END: &str = ".index";
/// Bytes of the digest in front of an index.
const DIGEST: usize = 32;

/// Tells one temporary file of this process from another.
static NUMBER: AtomicU64 = AtomicU64::new(0);

/// The index of a file in this state, when it is there and whole.
pub(super) fn get(folder: &Path, key: &Key) -> Option<Index> {
    let path = folder.join(name(key));
    let mut bytes = Vec::new();
    let most = u64::try_from(MAX_KEPT_INDEX).unwrap_or(u64::MAX);
    let file = File::open(&path).ok().filter(|file| {
        let facts = file.metadata();
        facts.is_ok_and(|facts| facts.is_file() && facts.len() <= most)
    })?;
    file.take(most).read_to_end(&mut bytes).ok()?;
    let index = bytes.split_at_checked(DIGEST).and_then(|(digest, index)| {
        let is_whole = *digest == *self::digest(key, index);
        is_whole.then(|| Index::load(index, key.length)).flatten()
    });
    if index.is_none() {
        limited("index-broken", Instant::now(), || {
            tracing::warn!(
                code = "index-broken", file = %path.display(),
                "a kept index is damaged; it is made anew"
            );
        });
        let _ = fs::remove_file(&path); // if it stays, it is found damaged again
    }
    index
}

/// Keeps an index, and gives up the oldest ones for which there is no room.
pub(super) fn put(folder: &Path, key: &Key, index: &Index) {
    let bytes = index.store();
    if bytes.len() > MAX_KEPT_INDEX {
        return;
    }
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let temporary = folder.join(format!(".{}-{number}.tmp", std::process::id()));
    let write = || -> io::Result<()> {
        make_room(folder, bytes.len() as u64)?;
        let mut file = File::create_new(&temporary)?;
        file.write_all(&*digest(key, &bytes))?;
        file.write_all(&bytes)?;
        drop(file);
        fs::rename(&temporary, folder.join(name(key)))
    };
    if let Err(error) = write() {
        let _ = fs::remove_file(&temporary); // it may not even exist
        limited("index-cache", Instant::now(), || {
            tracing::warn!(
                code = "index-cache", folder = %folder.display(),
                "an index cannot be kept (files.cache_dir): {error}"
            );
        });
    }
}

/// The name of the file for a state of a media file.
fn name(key: &Key) -> String {
    let hash = digest(key, &[]);
    let hex: String = hash.iter().take(16).map(|b| format!("{b:02x}")).collect();
    hex + END
}

/// Of an index and of the state that it belongs to: a file that was renamed is none of another's.
fn digest(key: &Key, index: &[u8]) -> Box<[u8; DIGEST]> {
    let mut hash = Sha256::new();
    hash.update(format!("{key:?}\n"));
    hash.update(index);
    Box::new(hash.finalize().into())
}

/// Deletes the oldest until so many bytes more fit.
fn make_room(folder: &Path, bytes: u64) -> io::Result<()> {
    let mut kept: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
    for entry in fs::read_dir(folder)?.flatten() {
        let is_ours = entry.file_name().to_str().is_some_and(|n| n.ends_with(END));
        let facts = entry.metadata().ok().filter(|facts| facts.is_file());
        if let (true, Some(facts)) = (is_ours, facts) {
            let age = facts.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            kept.push((age, facts.len(), entry.path()));
        }
    }
    kept.sort_unstable();
    let mut all: u64 = kept.iter().map(|(_, length, _)| length).sum();
    let mut count = kept.len();
    for (_, length, path) in kept {
        if all.saturating_add(bytes) <= MAX_INDEX_CACHE && count < MAX_CACHED_INDEXES {
            break;
        }
        fs::remove_file(path)?;
        all = all.saturating_sub(length);
        count = count.saturating_sub(1);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROGRAMME: &[u8] = include_bytes!("../demo/programme.flv");

    fn index() -> Index {
        Index::of(PROGRAMME)
    }

    fn key(path: &Path) -> Key {
        Key::of(&fs::metadata(path).unwrap())
    }

    #[test]
    fn what_was_kept_is_found_until_the_file_changes() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("index");
        let film = dir.path().join("film.flv");
        fs::write(&film, PROGRAMME).unwrap();
        let before = key(&film);
        put(&folder, &before, &index()); // there is no such folder: a word in the log
        assert!(get(&folder, &before).is_none());
        fs::create_dir(&folder).unwrap();
        put(&folder, &before, &index());
        let found = get(&folder, &before).unwrap();
        assert_eq!(found.store(), index().store());
        fs::write(&film, &PROGRAMME[..PROGRAMME.len() / 2]).unwrap();
        assert!(get(&folder, &key(&film)).is_none());
        // Another file's entry under this one's name is none of it.
        let (old, new) = (folder.join(name(&before)), folder.join(name(&key(&film))));
        fs::copy(old, &new).unwrap();
        assert!(get(&folder, &key(&film)).is_none() && !new.exists());
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "nothing else");
    }

    #[test]
    fn what_is_damaged_goes() {
        let dir = tempfile::tempdir().unwrap();
        let film = dir.path().join("film.flv");
        fs::write(&film, PROGRAMME).unwrap();
        let key = key(&film);
        put(dir.path(), &key, &index());
        let path = dir.path().join(name(&key));
        let whole = fs::read(&path).unwrap();
        for damage in [
            whole[..whole.len() - 1].to_vec(),
            whole[..10].to_vec(),
            Vec::new(),
            whole.iter().map(|b| b ^ 1).collect(),
        ] {
            fs::write(&path, damage).unwrap();
            assert!(get(dir.path(), &key).is_none() && !path.exists());
        }
        put(dir.path(), &key, &index());
        assert!(get(dir.path(), &key).is_some());
    }

    #[test]
    fn the_oldest_make_room() {
        let dir = tempfile::tempdir().unwrap();
        for n in 0..4_u64 {
            let path = dir.path().join(format!("{n}{END}"));
            let file = File::create(path).unwrap();
            file.set_len(MAX_INDEX_CACHE / 4).unwrap();
            let age = std::time::Duration::from_secs(1000 - n);
            file.set_modified(SystemTime::now() - age).unwrap();
        }
        fs::write(dir.path().join("readme"), "not ours").unwrap();
        make_room(dir.path(), 1).unwrap();
        let left = |name: &str| dir.path().join(name).exists();
        assert!(!left("0.index") && left("1.index") && left("3.index") && left("readme"));
        make_room(dir.path(), MAX_INDEX_CACHE / 4).unwrap();
        assert!(left("1.index"), "there is room already");
    }
}
