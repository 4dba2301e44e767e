//! The file of users: `NAME:adobe1:SALT:VERIFIER`, one on a line, made by `crtmpserver passwd`.
//!
//! VERIFIER is `base64(md5(NAME + SALT + password))`, all that an Adobe login needs. It does not show
//! the password, but whoever has it can log in: the file belongs to root:crtmpserver, mode 0640.
//!
//! The line of the user `*` holds the key from which the salts of users that do not exist are made,
//! so that these stay the same over restarts as real ones do.
//!
//! A file of the original, `users.lua`, has passwords in the clear. Verifiers are made of them in memory, with
//! salts that hold as long as the process.

use std::collections::HashMap;
use std::path::Path;
use std::sync::OnceLock;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use super::files::{FileError, Stamp, read_private};
use crate::limits::MAX_USER;
use crate::original::{self, Login};
use crate::rtmp::adobe;
use crate::script;

/// The name of the line that holds the key of made-up salts.
pub(super) const ANYONE: &str = "*";

/// What is kept of a user.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Credentials {
    pub(super) salt: String,
    pub(super) verifier: String,
}

/// The lines of a users file that are wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct UsersError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong; never any part of a secret.
    pub message: String,
}

/// The users of one file. It has no `Debug`: verifiers are as good as passwords.
pub struct Users {
    by_name: HashMap<String, Credentials>,
    salt_key: [u8; 32],
}

impl Users {
    /// Reads a users file, and a warning when others may read that too.
    ///
    /// # Errors
    /// The file cannot be read, or has bad lines: all of them are named.
    pub fn read(path: &Path) -> Result<(Self, Option<String>), FileError> {
        Self::read_stamped(path).map(|(users, warning, _)| (users, warning))
    }

    pub(super) fn read_stamped(path: &Path) -> Result<(Self, Option<String>, Stamp), FileError> {
        let file = read_private(path)?;
        if script::is_lua(path) {
            let (users, mut warnings) = Self::of_lua(path)?;
            warnings.extend(file.warning);
            let warning = (!warnings.is_empty()).then(|| warnings.join("; "));
            return Ok((users, warning, file.stamp));
        }
        let users = Self::parse(&file.text).map_err(|errors| {
            let all: Vec<String> = errors.iter().map(ToString::to_string).collect();
            FileError::new(path, all.join("; "))
        })?;
        Ok((users, file.warning, file.stamp))
    }

    /// Runs a file of the original; what is wrong with some of its users are warnings.
    fn of_lua(path: &Path) -> Result<(Self, Vec<String>), FileError> {
        let fail = |message: String| FileError::new(path, message);
        let (logins, mut warnings) = read_logins(path)?;
        static KEY: OnceLock<[u8; 32]> = OnceLock::new();
        let salt_key = match KEY.get() {
            Some(key) => *key,
            None => {
                let key = crate::system::random();
                let key =
                    key.map_err(|e| fail(format!("the system gives no random bytes: {e}")))?;
                *KEY.get_or_init(|| key)
            }
        };
        let mut users = Self {
            by_name: HashMap::new(),
            salt_key,
        };
        for Login { name, password } in logins {
            if let Err(why) = check_user(&name) {
                warnings.push(format!("{}: users.{name}: {why}", path.display()));
                continue;
            }
            // The salt that it would have if there were no such user.
            let salt = users.made_up(&name).salt;
            let verifier = adobe::verifier(&name, &salt, &password);
            users.by_name.insert(name, Credentials { salt, verifier });
        }
        Ok((users, warnings))
    }

    /// Reads the text of a users file.
    ///
    /// # Errors
    /// All lines that are wrong.
    pub fn parse(text: &str) -> Result<Self, Vec<UsersError>> {
        let mut by_name = HashMap::new();
        let mut anyone = None;
        let mut errors = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let mut wrong = |message: String| {
                errors.push(UsersError {
                    line: number.saturating_add(1),
                    message,
                });
            };
            match parse_line(line) {
                Ok(None) => {}
                Ok(Some((ANYONE, credentials))) => anyone = Some(credentials.salt),
                Ok(Some((name, credentials))) => {
                    if by_name.insert(name.to_owned(), credentials).is_some() {
                        wrong(format!("the user {name} is there twice"));
                    }
                }
                Err(message) => wrong(message),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let mut key = Sha256::new();
        key.update(b"crtmpserver made-up salts\n");
        match anyone {
            Some(salt) => key.update(salt.as_bytes()),
            // Without the line of `*`, anything that stays the same while the file does.
            None => key.update(text.as_bytes()),
        }
        Ok(Self {
            by_name,
            salt_key: key.finalize().into(),
        })
    }

    /// Whether the same users have the same verifiers.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.by_name == other.by_name
    }

    /// One user with a password, in memory alone.
    ///
    /// # Errors
    /// The name is none.
    pub fn one(user: &str, password: &str) -> Result<Self, String> {
        check_user(user)?;
        let salt = "in-memory".to_owned();
        let verifier = adobe::verifier(user, &salt, password);
        Ok(Self {
            by_name: HashMap::from([(user.to_owned(), Credentials { salt, verifier })]),
            salt_key: Sha256::digest(user).into(),
        })
    }

    /// How many users there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether there is no user.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// What is kept of a user. For a name that does not exist it is a made-up salt that is always
    /// the same, and a verifier that nothing fulfils; the flag is false then.
    pub(super) fn credentials(&self, name: &str) -> (Credentials, bool) {
        // Made in either case, so that the time tells nothing.
        let made_up = self.made_up(name);
        match self.by_name.get(name) {
            Some(real) => (real.clone(), true),
            None => (made_up, false),
        }
    }

    fn made_up(&self, name: &str) -> Credentials {
        let mut bytes = [0u8; 28];
        // HMAC takes a key of any length.
        if let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.salt_key) {
            mac.update(name.as_bytes());
            let full = mac.finalize().into_bytes();
            bytes.iter_mut().zip(full).for_each(|(b, f)| *b = f);
        }
        let (salt, verifier) = bytes.split_at(SALT_BYTES);
        Credentials {
            salt: URL_SAFE_NO_PAD.encode(salt),
            verifier: STANDARD.encode(verifier),
        }
    }
}

/// The users of a file of the original, and what is wrong with some of it.
///
/// # Errors
/// It cannot be read, or has no table of users.
pub fn read_logins(path: &Path) -> Result<(Vec<Login>, Vec<String>), FileError> {
    let fail = |message: String| FileError::new(path, message);
    let outcome = script::run(path, original::LOGIN_GLOBALS).map_err(|e| {
        let place = path.display().to_string();
        // The error names the file by itself.
        let line = e
            .place
            .strip_prefix(&place)
            .map(|rest| rest.trim_start_matches(':'));
        match line {
            Some("") => fail(e.message),
            Some(line) => fail(format!("line {line}: {}", e.message)),
            None => fail(e.to_string()),
        }
    })?;
    let (logins, wrong) = original::logins(&outcome.globals).map_err(fail)?;
    let named = |what: String| format!("{}: {what}", path.display());
    Ok((logins, wrong.into_iter().map(named).collect()))
}

/// Random bytes of a salt; 16 characters in the file.
pub(super) const SALT_BYTES: usize = 12;

/// A salt from random bytes.
pub(super) fn salt_text(random: [u8; SALT_BYTES]) -> String {
    URL_SAFE_NO_PAD.encode(random)
}

/// Whether a user can have this name.
///
/// # Errors
/// Says what would be right.
pub(super) fn check_user(name: &str) -> Result<(), String> {
    let good = |b: u8| b.is_ascii_alphanumeric() || b"._@-".contains(&b);
    if !name.is_empty() && name.len() <= MAX_USER && name.bytes().all(good) {
        Ok(())
    } else {
        Err(format!(
            "a user's name has 1 to {MAX_USER} letters, digits and . _ @ -"
        ))
    }
}

/// The user of a line, when it is a line of a user at all.
pub(super) fn name_of(line: &str) -> Option<&str> {
    let line = line.trim();
    if line.starts_with('#') {
        return None;
    }
    line.split_once(':').map(|(name, _)| name)
}

fn parse_line(line: &str) -> Result<Option<(&str, Credentials)>, String> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let mut fields = line.split(':');
    let (Some(name), Some(scheme), Some(salt), Some(verifier), None) = (
        fields.next(),
        fields.next(),
        fields.next(),
        fields.next(),
        fields.next(),
    ) else {
        return Err("is not NAME:adobe1:SALT:VERIFIER; make it with `crtmpserver passwd`".into());
    };
    if scheme != "adobe1" {
        return Err("has another scheme than adobe1; make it with `crtmpserver passwd`".into());
    }
    // The salt travels between '&' and '=' of a query.
    let good_salt = |b: u8| b.is_ascii_alphanumeric() || b"+/=-_.".contains(&b);
    if salt.is_empty() || salt.len() > 64 || !salt.bytes().all(good_salt) {
        return Err("has no usable salt; make it with `crtmpserver passwd`".into());
    }
    let credentials = Credentials {
        salt: salt.to_owned(),
        verifier: verifier.to_owned(),
    };
    if name == ANYONE {
        return Ok(Some((name, credentials)));
    }
    check_user(name)?;
    if STANDARD.decode(verifier).map(|v| v.len()) != Ok(16) {
        return Err("has no usable verifier; make it with `crtmpserver passwd`".into());
    }
    Ok(Some((name, credentials)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str, salt: &str, password: &str) -> String {
        format!(
            "{name}:adobe1:{salt}:{}\n",
            adobe::verifier(name, salt, password)
        )
    }

    #[test]
    fn users_comments_and_empty_lines() {
        let text = format!(
            "# users\n\n{}  {}*:adobe1:key:\n",
            line("ann", "s1", "a"),
            line("bob@x", "s2", "b")
        );
        let users = Users::parse(&text).ok().unwrap();
        assert_eq!(users.len(), 2);
        let (ann, real) = users.credentials("ann");
        assert!(real);
        assert_eq!(
            (ann.salt.as_str(), ann.verifier),
            ("s1", adobe::verifier("ann", "s1", "a"))
        );
    }

    #[test]
    fn users_of_the_original_log_in() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users.lua");
        let write = |text: &str| {
            std::fs::write(&path, text).unwrap();
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        };
        write("users = { ann = 'secret', ['bob'] = \"more secret\" }\nrealms = {}\n");
        let (users, warning) = Users::read(&path).ok().unwrap();
        assert_eq!((users.len(), warning), (2, None));
        let (ann, real) = users.credentials("ann");
        assert!(real && ann.verifier == adobe::verifier("ann", &ann.salt, "secret"));
        let (again, _) = Users::read(&path).ok().unwrap();
        assert!(users.is_same(&again), "read again it is the same");
        write("users = { ann = 'secret', ['c d'] = 'x', eve = 7 }");
        let (users, warning) = Users::read(&path).ok().unwrap();
        let warning = warning.unwrap();
        assert_eq!(users.len(), 1);
        assert!(warning.contains("users.c d: ") && warning.contains("users.eve: is a number"));
        for bad in ["x = 1", "users = 'ann'", "users = {", "\nos.execute('x')"] {
            write(bad);
            let error = Users::read(&path).err().unwrap();
            assert!(!error.message.contains(path.to_str().unwrap()), "{error}");
        }
    }

    #[test]
    fn each_bad_line_is_named_without_its_secret() {
        let good = line("ann", "s", "p");
        let verifier = adobe::verifier("x", "s", "p");
        let text = format!(
            "{good}plain:password\nx:md5:s:{verifier}\nx:adobe1::{verifier}\nx y:adobe1:s:{verifier}\nx:adobe1:s:short\n{good}x:adobe1:a&b:{verifier}\n"
        );
        let errors = Users::parse(&text).err().unwrap();
        let lines: Vec<usize> = errors.iter().map(|e| e.line).collect();
        assert_eq!(lines, [2, 3, 4, 5, 6, 7, 8]);
        for error in errors {
            assert!(!error.message.contains("password\n") && !error.message.contains(&verifier));
        }
    }

    #[test]
    fn made_up_salts_look_real_and_stay() {
        let with_key = |more: &str| Users::parse(&format!("*:adobe1:k:\n{more}")).ok().unwrap();
        let before = with_key("");
        let after = with_key(&line("ann", "s", "p"));
        let (eve, real) = before.credentials("eve");
        assert!(!real);
        assert!(
            eve == after.credentials("eve").0,
            "adding a user changes no made-up salt"
        );
        assert!(eve.salt != before.credentials("mallory").0.salt);
        assert_eq!(eve.salt.len(), salt_text([0; SALT_BYTES]).len());
        assert_eq!(eve.verifier.len(), adobe::verifier("a", "b", "c").len());
        let other = Users::parse("*:adobe1:other:\n").ok().unwrap();
        assert!(eve.salt != other.credentials("eve").0.salt);
    }
}
