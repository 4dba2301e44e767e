//! systemd's credentials: files in `$CREDENTIALS_DIRECTORY`, for images and for what a machine is told
//! when it boots.
//!
//! | credential | is |
//! |---|---|
//! | `crtmpserver.master` | the address of a mirror's master, as in `mirror.master` |
//! | `crtmpserver.secret` | the secret that a master and its mirrors share, itself |
//! | `crtmpserver.certificate` | the certificate for RTMPS and HTTPS, with those that vouch for it (PEM) |
//! | `crtmpserver.key` | its key (PEM) |
//! | `crtmpserver.note` | what is wrong with the machine, a sentence for `/healthz`; it sets nothing |
//! | `crtmpserver.users` | the users that may publish, as `crtmpserver passwd` writes them |
//!
//! One that is empty, or not there, is not given: units have an empty default. systemd hands them out
//! when a service starts; a reload finds the same ones.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use super::{Problem, Role};
use crate::limits::{MAX_NOTE, MAX_USERS_FILE};

/// The variable that names the folder.
pub const DIRECTORY: &str = "CREDENTIALS_DIRECTORY";

/// One that is given: its name, the key that it sets, and the value.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) name: String,
    pub(super) key: &'static str,
    pub(super) value: String,
}

/// What a folder has of use for a server of this role, and what it has in vain.
pub(super) fn read(folder: &Path, role: Role) -> Result<(Vec<Given>, Vec<String>), Vec<Problem>> {
    let secret = if role.is_mirror() {
        "mirror.secret_file"
    } else {
        "master.secret_file"
    };
    let wanted = [
        ("crtmpserver.master", "mirror.master", role.is_mirror()),
        ("crtmpserver.secret", secret, true),
        ("crtmpserver.users", "publish.users", !role.is_mirror()),
        ("crtmpserver.certificate", "tls.certificate", true),
        ("crtmpserver.key", "tls.key", true),
    ];
    let (mut given, mut vain, mut problems) = (Vec::new(), Vec::new(), Vec::new());
    for (credential, key, is_of_use) in wanted {
        let path = folder.join(credential);
        let name = format!("credential {credential}");
        match contents(&path) {
            Ok(text) if text.trim().is_empty() => {}
            Ok(_) if !is_of_use => {
                vain.push(format!("{name} has no meaning on a {role}: it is left out"));
            }
            Ok(text) => given.push(Given {
                name,
                key,
                value: if key == "mirror.master" {
                    text.trim().to_owned()
                } else {
                    // Such a key names a file, and this is one.
                    path.display().to_string()
                },
            }),
            Err(message) => problems.push(Problem {
                place: name,
                key: String::new(),
                message,
            }),
        }
    }
    if problems.is_empty() {
        Ok((given, vain))
    } else {
        Err(problems)
    }
}

/// What the machine says of itself; nothing when it cannot be read, since nothing depends on it.
pub(super) fn note(folder: &Path) -> Option<String> {
    let file = File::open(folder.join("crtmpserver.note")).ok()?;
    let mut bytes = Vec::new();
    let limit = u64::try_from(MAX_NOTE).unwrap_or(u64::MAX);
    file.take(limit).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let words: Vec<&str> = text.split_whitespace().collect();
    (!words.is_empty()).then(|| words.join(" "))
}

/// The text; empty when there is no such file.
fn contents(path: &PathBuf) -> Result<String, String> {
    let cannot = |e: std::io::Error| format!("cannot be read: {e} ({})", path.display());
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(String::new()),
        Err(e) => return Err(cannot(e)),
    };
    let mut text = String::new();
    let limit = u64::try_from(MAX_USERS_FILE).unwrap_or(u64::MAX);
    file.take(limit.saturating_add(1))
        .read_to_string(&mut text)
        .map_err(cannot)?;
    if text.len() > MAX_USERS_FILE {
        return Err(format!("is larger than {MAX_USERS_FILE} bytes"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_may_say_a_sentence_of_itself() {
        let folder = tempfile::tempdir().unwrap();
        let put =
            |text: &[u8]| std::fs::write(folder.path().join("crtmpserver.note"), text).unwrap();
        assert_eq!(note(folder.path()), None);
        put(b" \n");
        assert_eq!(note(folder.path()), None);
        put(b"user-data\ncannot be read\xff\n");
        let wanted = "user-data cannot be read\u{fffd}";
        assert_eq!(note(folder.path()).as_deref(), Some(wanted));
        put(&[b'x'; 5000]);
        assert_eq!(note(folder.path()).unwrap().len(), MAX_NOTE);
    }

    #[test]
    fn what_is_there_is_given_and_what_is_empty_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &[u8]| std::fs::write(folder.path().join(name), text).unwrap();
        let none = || (Vec::new(), Vec::new());
        assert_eq!(read(Path::new("/nonexistent"), Role::Mirror), Ok(none()));
        assert_eq!(read(folder.path(), Role::Mirror), Ok(none()));
        put("crtmpserver.master", b"\n");
        put("crtmpserver.users", b"");
        put("another", b"x");
        assert_eq!(read(folder.path(), Role::Mirror), Ok(none()));

        put("crtmpserver.master", b" rtmp://m\n");
        put("crtmpserver.secret", b"a secret");
        put("crtmpserver.users", b"# users");
        let keys = |role| {
            let (given, vain) = read(folder.path(), role).unwrap();
            let keys: Vec<_> = given.into_iter().map(|g| (g.key, g.value)).collect();
            (keys, vain.len())
        };
        let path = |name: &str| folder.path().join(name).display().to_string();
        assert_eq!(
            keys(Role::Mirror),
            (
                vec![
                    ("mirror.master", "rtmp://m".to_owned()),
                    ("mirror.secret_file", path("crtmpserver.secret")),
                ],
                1
            )
        );
        assert_eq!(
            keys(Role::Master),
            (
                vec![
                    ("master.secret_file", path("crtmpserver.secret")),
                    ("publish.users", path("crtmpserver.users")),
                ],
                1
            )
        );

        put("crtmpserver.master", &[0xff]);
        put("crtmpserver.users", &vec![b'x'; MAX_USERS_FILE + 1]);
        let problems = read(folder.path(), Role::Mirror).unwrap_err();
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(
            problems[0]
                .to_string()
                .starts_with("credential crtmpserver.master: ")
        );
    }
}
