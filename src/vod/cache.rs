//! The indexes that are in memory: those in use, and as many of the others as there is room for.

use std::collections::HashMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use crate::index::{Index, IndexError};
use crate::limits::{MAX_BAD_FILES, MAX_FILE_INDEXES};

/// One state of one file: another file in its place, or a change of it, is another key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    device: u64,
    inode: u64,
    pub(super) length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Key {
    pub(super) fn of(file: &Metadata) -> Self {
        Self {
            device: file.dev(),
            inode: file.ino(),
            length: file.len(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        }
    }
}

#[derive(Debug)]
struct Entry {
    index: Arc<Index>,
    memory: usize,
    used: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Cache {
    entries: HashMap<Key, Entry>,
    /// Files that cannot be played, so that nobody makes the server read a large one again and again.
    bad: HashMap<Key, IndexError>,
    memory: usize,
    most: usize,
    clock: u64,
}

impl Default for Cache {
    fn default() -> Self {
        Self::new(MAX_FILE_INDEXES)
    }
}

impl Cache {
    fn new(most: usize) -> Self {
        Self {
            entries: HashMap::new(),
            bad: HashMap::new(),
            memory: 0,
            most,
            clock: 0,
        }
    }

    /// What is known of a file.
    pub(super) fn get(&mut self, key: &Key) -> Option<Result<Arc<Index>, IndexError>> {
        self.clock = self.clock.saturating_add(1);
        if let Some(entry) = self.entries.get_mut(key) {
            entry.used = self.clock;
            return Some(Ok(Arc::clone(&entry.index)));
        }
        self.bad.get(key).copied().map(Err)
    }

    /// Takes in an index; `None` when those in use leave no room for it.
    pub(super) fn put(&mut self, key: Key, index: Index) -> Option<Arc<Index>> {
        let memory = index.memory();
        while self.memory.saturating_add(memory) > self.most && self.give_up() {}
        // One alone is taken whatever it has: the bounds of a file are bounds enough.
        if self.memory.saturating_add(memory) > self.most && !self.entries.is_empty() {
            return None;
        }
        self.clock = self.clock.saturating_add(1);
        let index = Arc::new(index);
        let entry = Entry {
            index: Arc::clone(&index),
            memory,
            used: self.clock,
        };
        self.memory = self.memory.saturating_add(memory);
        if let Some(old) = self.entries.insert(key, entry) {
            self.memory = self.memory.saturating_sub(old.memory);
        }
        Some(index)
    }

    /// Remembers that a file cannot be played.
    pub(super) fn put_bad(&mut self, key: Key, error: IndexError) {
        if self.bad.len() >= MAX_BAD_FILES {
            self.bad.clear();
        }
        self.bad.insert(key, error);
    }

    /// Forgets the index that was used least recently and is not in use; false when there is none.
    fn give_up(&mut self) -> bool {
        let idle = self
            .entries
            .iter()
            .filter(|(_, e)| Arc::strong_count(&e.index) == 1);
        let Some(key) = idle.min_by_key(|(_, e)| e.used).map(|(key, _)| *key) else {
            return false;
        };
        if let Some(entry) = self.entries.remove(&key) {
            self.memory = self.memory.saturating_sub(entry.memory);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(inode: u64) -> Key {
        Key {
            device: 1,
            inode,
            length: 1,
            modified: (0, 0),
            changed: (0, 0),
        }
    }

    fn index() -> Index {
        let file =
            b"FLV\x01\x01\0\0\0\x09\0\0\0\0\x09\0\0\x06\0\0\0\0\0\0\0\x17\x01\0\0\0\x01\0\0\0\x11";
        Index::of(file)
    }

    #[test]
    fn what_is_in_use_stays_and_the_rest_makes_room() {
        let each = index().memory();
        let mut cache = Cache::new(3 * each);
        let first = cache.put(key(1), index()).unwrap();
        for n in 2..10 {
            assert!(cache.put(key(n), index()).is_some());
        }
        assert!(cache.memory <= 3 * each);
        let known: Vec<u64> = (1..10).filter(|n| cache.get(&key(*n)).is_some()).collect();
        assert_eq!(known, [1, 8, 9], "in use, and the last ones");
        let second = cache.get(&key(8)).unwrap().unwrap();
        let third = cache.get(&key(9)).unwrap().unwrap();
        assert!(cache.put(key(10), index()).is_none(), "all are in use");
        drop((first, second, third));
        assert!(cache.put(key(10), index()).is_some());
        cache.put_bad(key(11), IndexError::Truncated);
        assert!(matches!(
            cache.get(&key(11)),
            Some(Err(IndexError::Truncated))
        ));
    }
}
