//! Changes to the file of users, as `crtmpserver passwd` makes them.

use std::path::Path;

use super::files::read_private;
use super::users::{ANYONE, SALT_BYTES, Users, check_user, name_of, salt_text};
use super::{FileError, edit};
use crate::original::Login;
use crate::rtmp::adobe;

/// Fewest characters of a password; what is shorter is guessed off line in no time.
const MIN_PASSWORD: usize = 8;
/// Most bytes of a password.
const MAX_PASSWORD: usize = 256;

/// What happened to the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// There is a new user.
    Added,
    /// The user has a new password.
    Changed,
    /// The user is no more.
    Deleted,
}

/// Gives a user a password, new or not; makes the file when there is none.
///
/// # Errors
/// The name or the password is none, or the file cannot be read or written.
pub fn set(path: &Path, user: &str, password: &str) -> Result<Done, FileError> {
    let fail = |message: String| FileError::new(path, message);
    check(user, password).map_err(fail)?;
    let salt = salt_text(random().map_err(fail)?);
    let line = format!(
        "{user}:adobe1:{salt}:{}",
        adobe::verifier(user, &salt, password)
    );
    let key = salt_text(random().map_err(fail)?);
    update(path, |text| {
        let (mut lines, found) = without(text, user);
        if !lines.iter().any(|l| name_of(l) == Some(ANYONE)) {
            lines.push(format!("{ANYONE}:adobe1:{key}:"));
        }
        lines.push(line);
        (lines, if found { Done::Changed } else { Done::Added })
    })
}

/// A whole file of users, and what is wrong with some of them. A password that is too short is one all the
/// same: it was chosen elsewhere.
///
/// # Errors
/// The system gives no random bytes.
pub fn file_of(logins: &[Login]) -> Result<(String, Vec<String>), String> {
    let mut text = format!("{ANYONE}:adobe1:{}:\n", salt_text(random()?));
    let mut warnings = Vec::new();
    for Login { name, password } in logins {
        if let Err(why) = check_user(name) {
            warnings.push(format!("the user {name:?} is left out: {why}"));
            continue;
        }
        if let Err(why) = check_password(password) {
            warnings.push(format!(
                "the password of {name} is taken as it is, but {why}"
            ));
        }
        let salt = salt_text(random()?);
        let verifier = adobe::verifier(name, &salt, password);
        text += &format!("{name}:adobe1:{salt}:{verifier}\n");
    }
    Ok((text, warnings))
}

/// Takes a user out.
///
/// # Errors
/// There is no such user, or the file cannot be read or written.
pub fn delete(path: &Path, user: &str) -> Result<Done, FileError> {
    let known = read_private(path)?
        .text
        .lines()
        .any(|l| name_of(l) == Some(user));
    if !known || user == ANYONE {
        return Err(FileError::new(path, "there is no such user in it"));
    }
    update(path, |text| (without(text, user).0, Done::Deleted))
}

/// A password of 100 random bits, in characters that survive reading aloud and any address.
///
/// # Errors
/// The system gives no random bytes.
pub fn generate() -> Result<String, String> {
    const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let bytes: [u8; 20] = random()?;
    let pick = |b: u8| ALPHABET.get(usize::from(b & 31)).copied().map(char::from);
    Ok(bytes.into_iter().filter_map(pick).collect())
}

/// Whether this can be a user with this password.
///
/// # Errors
/// Says what would be right.
pub fn check(user: &str, password: &str) -> Result<(), String> {
    check_user(user)?;
    check_password(password)
}

/// Whether this can be a password.
///
/// # Errors
/// Says what would be right.
pub fn check_password(password: &str) -> Result<(), String> {
    if password.len() > MAX_PASSWORD || password.chars().count() < MIN_PASSWORD {
        return Err(format!(
            "a password has {MIN_PASSWORD} to {MAX_PASSWORD} characters; --generate makes a good one"
        ));
    }
    if password.chars().any(char::is_control) {
        return Err("a password has no control characters".into());
    }
    Ok(())
}

/// The lines of a file without those of a user, and whether there were any.
fn without(text: &str, user: &str) -> (Vec<String>, bool) {
    let (own, rest): (Vec<&str>, Vec<&str>) =
        text.lines().partition(|line| name_of(line) == Some(user));
    (
        rest.into_iter().map(str::to_owned).collect(),
        !own.is_empty(),
    )
}

fn random<const N: usize>() -> Result<[u8; N], String> {
    crate::system::random().map_err(|e| format!("the system gives no random bytes: {e}"))
}

const _: () = assert!(
    SALT_BYTES == 12,
    "salts and keys are read back as 16 characters"
);

/// Changes the file as a whole, or not at all.
fn update(
    path: &Path,
    change: impl FnOnce(&str) -> (Vec<String>, Done),
) -> Result<Done, FileError> {
    edit::update(
        path,
        |text| Ok(change(text)),
        |text| {
            Users::parse(text).map(drop).map_err(|errors| {
                let all: Vec<String> = errors.iter().map(ToString::to_string).collect();
                all.join("; ")
            })
        },
    )
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use super::*;

    #[test]
    fn users_come_change_and_go_and_comments_stay() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users");
        assert_eq!(set(&path, "ann", "password1"), Ok(Done::Added));
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o007, 0);
        let text = format!("# ours\n{}", fs::read_to_string(&path).unwrap());
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        assert_eq!(set(&path, "bob", "password2"), Ok(Done::Added));
        let before = fs::read_to_string(&path).unwrap();
        assert_eq!(set(&path, "ann", "password3"), Ok(Done::Changed));
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("# ours\n") && !text.contains("password"));
        assert_ne!(before, text);
        assert_eq!(text.matches('*').count(), 1);
        assert_eq!(
            fs::metadata(&path).unwrap().mode() & 0o777,
            0o640,
            "a loose mode is tightened"
        );
        let (users, _) = Users::read(&path).unwrap();
        assert_eq!(users.len(), 2);
        let (ann, real) = users.credentials("ann");
        assert!(real && ann.verifier == adobe::verifier("ann", &ann.salt, "password3"));
        assert_eq!(delete(&path, "ann"), Ok(Done::Deleted));
        assert!(delete(&path, "ann").is_err() && delete(&path, "*").is_err());
        assert_eq!(Users::read(&path).unwrap().0.len(), 1);
        assert_eq!(
            fs::read_dir(dir.path()).unwrap().count(),
            1,
            "nothing is left behind"
        );
    }

    #[test]
    fn a_bad_file_or_name_or_password_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users");
        for (user, password) in [
            ("a b", "password"),
            ("", "password"),
            ("*", "password"),
            ("ann", "short"),
            ("ann", "pass\nword1"),
            ("a:b", "password"),
        ] {
            assert!(set(&path, user, password).is_err(), "{user} {password}");
        }
        assert!(!path.exists());
        fs::write(&path, "nonsense\n").unwrap();
        assert!(set(&path, "ann", "password").is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "nonsense\n");
        assert!(set(&dir.path().join("none/users"), "ann", "password").is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn users_of_the_original_become_lines() {
        let login = |name: &str, password: &str| Login {
            name: name.to_owned(),
            password: password.to_owned(),
        };
        let logins = [
            login("ann", "short"),
            login("b c", "long enough"),
            login("bob", "long enough"),
        ];
        let (text, warnings) = file_of(&logins).unwrap();
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        assert!(!text.contains("short") && !warnings.concat().contains("short\""));
        let users = Users::parse(&text).ok().unwrap();
        assert_eq!((users.len(), text.lines().count()), (2, 3));
        let (ann, real) = users.credentials("ann");
        assert!(real && ann.verifier == adobe::verifier("ann", &ann.salt, "short"));
    }

    #[test]
    fn a_link_stays_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().join("real");
        fs::write(&real, "").unwrap();
        let link = dir.path().join("users");
        std::os::unix::fs::symlink(&real, &link).unwrap();
        set(&link, "ann", "password").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert!(fs::read_to_string(&real).unwrap().contains("ann:adobe1:"));
    }

    #[test]
    fn made_passwords_are_long_and_differ() {
        let (a, b) = (generate().unwrap(), generate().unwrap());
        assert_ne!(a, b);
        assert_eq!(a.len(), 20, "5 bits each are 100");
        assert_eq!(check_password(&a), Ok(()));
    }
}
