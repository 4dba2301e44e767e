//! What to type when a file of the administrator's cannot be read or made.

use std::io;
use std::path::Path;

use nix::unistd::{Group, getegid};

/// The group that the packages make.
const GROUP: &str = "crtmpserver";

/// Behind an error of opening `path`: the line that lets this process read it; empty for any other error
/// than that it may not.
#[must_use]
pub fn how_to_open(path: &Path, error: &io::Error) -> String {
    if error.kind() != io::ErrorKind::PermissionDenied {
        return String::new();
    }
    let named = |group: nix::Result<Option<Group>>| group.ok().flatten().map(|g| g.name);
    let group = named(Group::from_name(GROUP))
        .or_else(|| named(Group::from_gid(getegid())))
        .unwrap_or_else(|| getegid().to_string());
    // To look into a folder takes more than to read.
    let mode = if path.is_dir() { "0750" } else { "0640" };
    let path = path.display();
    format!(
        "; `chgrp {group} {path} && chmod {mode} {path}` lets the server read it, unless a folder above is closed"
    )
}

/// Behind an error of making `path`: the line that makes the folder that it lacks; empty for any other error.
#[must_use]
pub fn how_to_make(path: &Path, error: &io::Error) -> String {
    match path.parent() {
        Some(folder)
            if error.kind() == io::ErrorKind::NotFound
                && !folder.as_os_str().is_empty()
                && !folder.exists() =>
        {
            format!("; `install -d {}` makes the folder", folder.display())
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_denied_is_told_with_the_line_to_type() {
        let told = |kind, path: &str| how_to_open(Path::new(path), &io::Error::from(kind));
        let file = told(io::ErrorKind::PermissionDenied, "/nonexistent/users");
        assert!(
            file.contains("chgrp ") && file.contains("chmod 0640 /nonexistent/users`"),
            "{file}"
        );
        let folder = told(io::ErrorKind::PermissionDenied, "/");
        assert!(folder.contains("chmod 0750 /`"), "{folder}");
        assert_eq!(told(io::ErrorKind::NotFound, "/nonexistent/users"), "");
    }

    #[test]
    fn a_folder_that_is_missing_is_told_with_the_line_to_type() {
        let told = |kind, path: &str| how_to_make(Path::new(path), &io::Error::from(kind));
        assert_eq!(
            told(io::ErrorKind::NotFound, "/nonexistent/etc/users"),
            "; `install -d /nonexistent/etc` makes the folder"
        );
        assert_eq!(told(io::ErrorKind::NotFound, "/users"), "");
        assert_eq!(told(io::ErrorKind::NotFound, "users"), "");
        assert_eq!(told(io::ErrorKind::StorageFull, "/nonexistent/users"), "");
    }
}
