//! As whom the daemon serves: decided before anything is bound, done before anything is served.

use std::fs::File;
use std::io;
use std::path::Path;

use nix::unistd::{Gid, Group, Uid, User, getgid, getuid};

use crate::config::Settings;
use crate::system::{self, PrivilegeError};

/// The user that the packages make.
const OWN_USER: &str = "crtmpserver";
/// The user that every system has.
const ANY_USER: &str = "nobody";

/// What the command line says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish {
    /// `--uid`, a name or a number
    pub uid: Option<String>,
    /// `--gid`, a name or a number
    pub gid: Option<String>,
    /// `--allow-root`
    pub allow_root: bool,
}

/// What to do about privileges once everything is bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// Become this user.
    Become {
        /// The user's number.
        uid: u32,
        /// The group's number.
        gid: u32,
        /// The user as it was given.
        name: String,
    },
    /// No root: stay who this is, without any capability.
    Stay,
    /// Root, and that was said.
    StayRoot,
}

/// A wish that cannot be fulfilled; each says what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WishError {
    /// Neither `--uid` nor `--allow-root`.
    #[error(
        "started as root, which is not safe and not needed; type: {line} (it takes its ports as root and is that user from then on); in a container, --allow-root stays root"
    )]
    Root {
        /// What to type.
        line: String,
    },
    /// Such a user is not known.
    #[error("--uid={0}: there is no such user; `getent passwd` lists them, and a number works too")]
    NoUser(String),
    /// Such a group is not known.
    #[error("--gid={0}: there is no such group; `getent group` lists them, and a number works too")]
    NoGroup(String),
    /// The user database cannot be read.
    #[error("--{flag}={value}: cannot be looked up: {error}")]
    Lookup {
        /// `uid` or `gid`
        flag: &'static str,
        /// Its value.
        value: String,
        /// What the system answered.
        error: io::ErrorKind,
    },
    /// That is no user to become.
    #[error("--uid={0} is root; to stay root, leave it out and write --allow-root")]
    IsRoot(String),
    /// Only root becomes another.
    #[error(
        "--{flag}={value}: only root can become another, and this runs as uid {uid}, gid {gid}; start it as root or leave --uid out"
    )]
    NotRoot {
        /// `uid` or `gid`
        flag: &'static str,
        /// Its value.
        value: String,
        /// Who this is.
        uid: u32,
        /// Who this is.
        gid: u32,
    },
}

/// Decides; `line` makes the line to type, from the user that it should name.
///
/// # Errors
/// [`WishError`], for the administrator.
pub fn plan(wish: &Wish, line: impl FnOnce(&str) -> String) -> Result<Plan, WishError> {
    // A system that does not tell is taken for the worst.
    let root = system::is_root().unwrap_or(true);
    let who = Who {
        root,
        uid: getuid().as_raw(),
        gid: getgid().as_raw(),
    };
    who.plan(wish, line)
}

/// Who this process is.
struct Who {
    root: bool,
    uid: u32,
    gid: u32,
}

impl Who {
    fn plan(&self, wish: &Wish, line: impl FnOnce(&str) -> String) -> Result<Plan, WishError> {
        let Some(name) = &wish.uid else {
            return match (self.root, wish.allow_root) {
                (false, _) => Ok(Plan::Stay),
                (true, true) => Ok(Plan::StayRoot),
                (true, false) => {
                    let own = User::from_name(OWN_USER).ok().flatten();
                    let line = line(own.map_or(ANY_USER, |_| OWN_USER));
                    Err(WishError::Root { line })
                }
            };
        };
        let (uid, usual) = user(name)?;
        let gid = wish.gid.as_deref().map(group).transpose()?;
        if self.root {
            if uid == 0 {
                return Err(WishError::IsRoot(name.clone()));
            }
            return Ok(Plan::Become {
                uid,
                gid: gid.unwrap_or(usual),
                name: name.clone(),
            });
        }
        let refuse = |flag, value: &str| WishError::NotRoot {
            flag,
            value: value.to_owned(),
            uid: self.uid,
            gid: self.gid,
        };
        match (gid, wish.gid.as_deref()) {
            _ if uid != self.uid => Err(refuse("uid", name)),
            (Some(gid), Some(text)) if gid != self.gid => Err(refuse("gid", text)),
            _ => Ok(Plan::Stay),
        }
    }
}

/// A user's number and its group. A number needs no entry in the user database; its group is then the
/// same number.
fn user(text: &str) -> Result<(u32, u32), WishError> {
    let lookup = |e: nix::Error| WishError::Lookup {
        flag: "uid",
        value: text.to_owned(),
        error: io::Error::from(e).kind(),
    };
    if let Some(uid) = number(text) {
        // A database that is not there has no entry either.
        let entry = User::from_uid(Uid::from_raw(uid)).ok().flatten();
        return Ok((uid, entry.map_or(uid, |user| user.gid.as_raw())));
    }
    match User::from_name(text).map_err(lookup)? {
        Some(user) => Ok((user.uid.as_raw(), user.gid.as_raw())),
        None => Err(WishError::NoUser(text.to_owned())),
    }
}

fn group(text: &str) -> Result<u32, WishError> {
    let lookup = |e: nix::Error| WishError::Lookup {
        flag: "gid",
        value: text.to_owned(),
        error: io::Error::from(e).kind(),
    };
    if let Some(gid) = number(text) {
        return Ok(Gid::from_raw(gid).as_raw());
    }
    match Group::from_name(text).map_err(lookup)? {
        Some(group) => Ok(group.gid.as_raw()),
        None => Err(WishError::NoGroup(text.to_owned())),
    }
}

/// A number in digits alone; the largest one means "no change" to the kernel, and is none.
fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|n| digits && *n != u32::MAX)
}

impl Plan {
    /// Does it, once everything is bound and before the first thread is started.
    ///
    /// # Errors
    /// [`PrivilegeError`]; the process must end then.
    pub fn apply(&self) -> Result<(), PrivilegeError> {
        match self {
            Self::Become { uid, gid, .. } => system::become_user(*uid, *gid),
            Self::Stay => system::confine(),
            Self::StayRoot => Ok(()),
        }
    }

    /// What is to be said of it; `Err` is a warning.
    pub fn note(&self) -> Result<Option<String>, String> {
        match self {
            Self::Become { uid, gid, name } => Ok(Some(format!(
                "runs as {name} from here on (uid {uid}, gid {gid}), without capabilities"
            ))),
            Self::Stay => Ok(None),
            Self::StayRoot => Err(
                "RUNS AS ROOT (--allow-root): a defect that a peer can use would give the whole machine away; --uid=USER is safer".to_owned(),
            ),
        }
    }

    /// Files that were read as root and that the new user cannot read again, one warning each.
    #[must_use]
    pub fn unreadable(&self, settings: &Settings) -> Vec<String> {
        let Self::Become { gid, name, .. } = self else {
            return Vec::new();
        };
        let files = [
            &settings.publish.users,
            &settings.publish.keys,
            &settings.secret_file,
        ];
        let denied = |path: &&Path| {
            File::open(path).is_err_and(|e| e.kind() == io::ErrorKind::PermissionDenied)
        };
        files
            .into_iter()
            .flatten()
            .map(AsRef::as_ref)
            .filter(denied)
            .map(|path| {
                let path = path.display();
                format!(
                    "{path}: {name} cannot read it, so a change needs a restart; `chown root:{gid} {path} && chmod 0640 {path}` helps, unless its folder is closed too"
                )
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: Who = Who {
        root: true,
        uid: 0,
        gid: 0,
    };
    const SOMEBODY: Who = Who {
        root: false,
        uid: 4711,
        gid: 4712,
    };

    fn wish(uid: Option<&str>, gid: Option<&str>, allow_root: bool) -> Wish {
        Wish {
            uid: uid.map(Into::into),
            gid: gid.map(Into::into),
            allow_root,
        }
    }

    fn plan(who: &Who, wish: &Wish) -> Result<Plan, WishError> {
        who.plan(wish, |user| format!("crtmpserver --uid={user}"))
    }

    #[test]
    fn root_is_refused_with_the_line_to_type_unless_it_is_said() {
        let refused = plan(&ROOT, &Wish::default()).unwrap_err().to_string();
        assert!(refused.contains("type: crtmpserver --uid="), "{refused}");
        assert!(refused.contains("--allow-root"), "{refused}");
        assert_eq!(plan(&ROOT, &wish(None, None, true)), Ok(Plan::StayRoot));
        assert!(Plan::StayRoot.note().unwrap_err().contains("ROOT"));
        assert_eq!(plan(&SOMEBODY, &Wish::default()), Ok(Plan::Stay));
        assert_eq!(plan(&SOMEBODY, &wish(None, None, true)), Ok(Plan::Stay));
    }

    #[test]
    fn names_and_numbers_are_users_and_groups() {
        let become_of =
            |uid: &str, gid: Option<&str>| match plan(&ROOT, &wish(Some(uid), gid, false)) {
                Ok(Plan::Become { uid, gid, .. }) => (uid, gid),
                other => panic!("{other:?}"),
            };
        // Nobody has these numbers.
        assert_eq!(
            become_of("3999999999", None),
            (3_999_999_999, 3_999_999_999)
        );
        assert_eq!(become_of("3999999999", Some("7")), (3_999_999_999, 7));
        let daemon = User::from_name("daemon").unwrap().unwrap();
        let (uid, gid) = (daemon.uid.as_raw(), daemon.gid.as_raw());
        assert_eq!(become_of("daemon", None), (uid, gid));
        assert_eq!(become_of(&uid.to_string(), None), (uid, gid));
        assert_eq!(become_of("daemon", Some("sys")), (uid, 3));
    }

    #[test]
    fn what_cannot_be_is_told() {
        let of = |uid, gid| plan(&ROOT, &wish(Some(uid), gid, false)).unwrap_err();
        assert_eq!(
            of("no such user", None),
            WishError::NoUser("no such user".into())
        );
        assert_eq!(of("", None), WishError::NoUser(String::new()));
        assert_eq!(
            of("4294967295", None),
            WishError::NoUser("4294967295".into())
        );
        assert_eq!(of("-1", None), WishError::NoUser("-1".into()));
        assert_eq!(
            of("daemon", Some("no such group")),
            WishError::NoGroup("no such group".into())
        );
        for root in ["root", "0", "00"] {
            assert_eq!(of(root, None), WishError::IsRoot(root.into()));
        }
    }

    #[test]
    fn who_is_not_root_may_name_only_itself() {
        let of = |uid, gid| plan(&SOMEBODY, &wish(Some(uid), gid, false));
        assert_eq!(of("4711", None), Ok(Plan::Stay));
        assert_eq!(of("4711", Some("4712")), Ok(Plan::Stay));
        for (uid, gid, words) in [
            ("4712", None, "--uid=4712: only root"),
            ("4711", Some("7"), "--gid=7: only root"),
            ("root", None, "--uid=root: only root"),
        ] {
            let text = of(uid, gid).unwrap_err().to_string();
            assert!(text.contains(words), "{text}");
        }
    }

    #[test]
    fn only_a_change_of_user_makes_files_unreadable() {
        assert_eq!(
            Plan::Stay.unreadable(&Settings::default()),
            Vec::<String>::new()
        );
    }
}
