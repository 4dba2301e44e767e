//! Which files there are.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::name::FileName;
use crate::limits::{MAX_LISTED_FILES, MAX_LISTED_FOLDERS};
use crate::system::open_beneath;

/// The files of all folders.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// Name and bytes of each, by name.
    pub files: Vec<(FileName, u64)>,
    /// There are more than are listed.
    pub more: bool,
}

/// Looks into the folders.
pub(super) fn list(folders: &[PathBuf]) -> Listing {
    let mut found = BTreeMap::new();
    let mut left = MAX_LISTED_FOLDERS;
    let mut more = false;
    for folder in folders {
        let mut open = vec![String::new()];
        while let Some(below) = open.pop() {
            if left == 0 {
                more = true;
                break;
            }
            left = left.saturating_sub(1);
            more |= !look(folder, &below, &mut open, &mut found);
        }
    }
    Listing {
        files: found.into_iter().collect(),
        more,
    }
}

/// Looks into one folder; false when there was more than is taken.
fn look(
    folder: &Path,
    below: &str,
    open: &mut Vec<String>,
    found: &mut BTreeMap<FileName, u64>,
) -> bool {
    // What cannot be read has nothing to list.
    let Ok(entries) = fs::read_dir(folder.join(below)) else {
        return true;
    };
    for entry in entries.flatten() {
        if found.len() >= MAX_LISTED_FILES {
            return false;
        }
        let name = entry.file_name();
        // A name that is no text cannot be asked for.
        let Some(name) = name.to_str().filter(|name| !name.starts_with('.')) else {
            continue;
        };
        let path = if below.is_empty() {
            name.to_owned()
        } else {
            format!("{below}/{name}")
        };
        // A link to a folder is not gone into: it may lead round and round.
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            if open.len() < MAX_LISTED_FOLDERS {
                open.push(path);
            }
            continue;
        }
        let Ok(name) = FileName::exact(&path) else {
            continue;
        };
        // Only what can be opened is there: a link may lead outside.
        let facts = open_beneath(folder, name.path()).and_then(|file| file.metadata());
        if let Ok(facts) = facts
            && facts.is_file()
        {
            found.entry(name).or_insert(facts.len());
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_can_be_played_is_listed_once() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let put = |path: &str, bytes: usize| {
            let path = first.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, vec![0; bytes]).unwrap();
        };
        put("b.mp4", 5);
        put("a.flv", 3);
        put("sub/deep/c.mov", 1);
        put("readme.txt", 1);
        put(".hidden/d.flv", 1);
        put(".e.flv", 1);
        fs::write(second.path().join("b.mp4"), "longer than the other").unwrap();
        fs::write(second.path().join("z.m4v"), "z").unwrap();
        symlink(
            second.path().join("z.m4v"),
            first.path().join("outside.m4v"),
        )
        .unwrap();
        symlink(second.path(), first.path().join("folder")).unwrap();
        symlink("..", first.path().join("sub/round")).unwrap();
        let folders = [first.path().to_owned(), second.path().to_owned()];
        let listing = list(&folders);
        let names: Vec<_> = listing
            .files
            .iter()
            .map(|(n, b)| (n.as_str(), *b))
            .collect();
        assert_eq!(
            names,
            [
                ("a.flv", 3),
                ("b.mp4", 5),
                ("sub/deep/c.mov", 1),
                ("z.m4v", 1)
            ]
        );
        assert!(!listing.more);
        assert_eq!(list(&[PathBuf::from("/nonexistent")]), Listing::default());
    }

    #[test]
    fn a_list_has_an_end() {
        let dir = tempfile::tempdir().unwrap();
        for n in 0..=MAX_LISTED_FILES {
            fs::write(dir.path().join(format!("{n}.flv")), "").unwrap();
        }
        let listing = list(&[dir.path().to_owned()]);
        assert!(listing.more && listing.files.len() == MAX_LISTED_FILES);
    }
}
