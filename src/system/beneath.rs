//! Opening a file that lies in a folder, whatever its name says: what leads outside, by `..` or by a
//! link, is not opened. The system itself keeps to that, so that no link that is put there between a
//! look and the opening leads elsewhere.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::Mode;

use super::os::{OUTSIDE, resolve_beneath};

/// Opens `name` in `folder` for reading. A pipe or a device does not block it; look what it is before it
/// is read.
///
/// # Errors
/// There is no such file in this folder (`NotFound`, for what lies outside too), or it cannot be opened.
pub fn open_beneath(folder: &Path, name: &Path) -> io::Result<File> {
    let inside = |part: Component<'_>| matches!(part, Component::Normal(_));
    if !name.components().all(inside) || name.as_os_str().is_empty() {
        return Err(io::ErrorKind::NotFound.into());
    }
    let at = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_RDONLY;
    let folder = open(folder, at, Mode::empty())?;
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let opened = match resolve_beneath(&folder, name, flags) {
        // A kernel before 5.6, or a container whose filter does not know the call.
        Err(Errno::ENOSYS | Errno::EPERM | Errno::EINVAL) => walk(folder, name, flags),
        opened => opened,
    };
    opened.map(File::from).map_err(|error| match error {
        // It leads outside, or round and round, or through a file.
        OUTSIDE | Errno::ELOOP | Errno::EMLINK | Errno::ENOTDIR => io::ErrorKind::NotFound.into(),
        error => error.into(),
    })
}

/// Reads a regular file of at most `most` bytes that lies in `folder`.
///
/// # Errors
/// As [`open_beneath`]; it is something else, or larger.
pub fn read_beneath(folder: &Path, name: &Path, most: usize) -> io::Result<Vec<u8>> {
    let wrong = |why: String| io::Error::new(io::ErrorKind::InvalidData, why);
    let file = open_beneath(folder, name)?;
    if !file.metadata()?.is_file() {
        return Err(wrong("it is not a regular file".to_owned()));
    }
    let limit = u64::try_from(most).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() > most {
        return Err(wrong(format!("it is larger than {most} bytes")));
    }
    Ok(bytes)
}

/// Goes there part by part, and follows no link at all.
fn walk(folder: OwnedFd, name: &Path, flags: OFlag) -> nix::Result<OwnedFd> {
    let mut at = folder;
    let mut parts = name.components().peekable();
    while let Some(part) = parts.next() {
        let more = if parts.peek().is_some() {
            OFlag::O_DIRECTORY
        } else {
            OFlag::empty()
        };
        let flags = flags | more | OFlag::O_NOFOLLOW;
        at = openat(at.as_fd(), part.as_os_str(), flags, Mode::empty())?;
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    use super::*;

    fn text(mut file: File) -> String {
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn nothing_leads_outside() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("media");
        fs::create_dir_all(folder.join("sub")).unwrap();
        fs::write(dir.path().join("secret"), "secret").unwrap();
        fs::write(folder.join("a"), "a").unwrap();
        fs::write(folder.join("sub/b"), "b").unwrap();
        symlink("../secret", folder.join("up")).unwrap();
        symlink(dir.path().join("secret"), folder.join("absolute")).unwrap();
        symlink("..", folder.join("out")).unwrap();
        symlink("/proc/self/cwd", folder.join("magic")).unwrap();
        symlink("round", folder.join("round")).unwrap();
        symlink("sub/b", folder.join("inside")).unwrap();
        let opened = |name: &str| open_beneath(&folder, Path::new(name)).map(text);
        assert_eq!(opened("a").unwrap(), "a");
        assert_eq!(opened("sub/b").unwrap(), "b");
        for name in [
            "",
            ".",
            "..",
            "../secret",
            "sub/../../secret",
            "up",
            "absolute",
            "out/secret",
            "magic/Cargo.toml",
            "round",
            "nothing",
            "a/b",
            "/etc/passwd",
        ] {
            let error = opened(name).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::NotFound, "{name}");
        }
        #[cfg(target_os = "linux")]
        assert_eq!(opened("inside").unwrap(), "b");
        let gone = open_beneath(&dir.path().join("gone"), Path::new("a"));
        assert_eq!(gone.unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn what_is_read_is_a_file_and_no_larger() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("sub")).unwrap();
        fs::write(dir.path().join("a"), "12345").unwrap();
        nix::unistd::mkfifo(&dir.path().join("pipe"), Mode::S_IRWXU).unwrap();
        let read = |name: &str, most| read_beneath(dir.path(), Path::new(name), most);
        assert_eq!(read("a", 5).unwrap(), b"12345");
        assert!(read("a", 4).is_err() && read("sub", 5).is_err() && read("pipe", 5).is_err());
        assert_eq!(read("b", 5).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn without_the_systems_help_no_link_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        let folder = || -> OwnedFd { File::open(dir.path()).unwrap().into() };
        fs::create_dir(dir.path().join("sub")).unwrap();
        fs::write(dir.path().join("sub/b"), "b").unwrap();
        symlink("sub/b", dir.path().join("file")).unwrap();
        symlink("sub", dir.path().join("folder")).unwrap();
        let walk = |name: &str| walk(folder(), &PathBuf::from(name), OFlag::O_RDONLY);
        assert_eq!(text(walk("sub/b").unwrap().into()), "b");
        assert!(walk("file").is_err() && walk("folder/b").is_err());
    }
}
