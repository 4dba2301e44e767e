//! Giving up privileges for good.
//!
//! On Linux capabilities and `no_new_privs` belong to a thread, so all of this is for a process that has one
//! thread still: those that are started later inherit what is left.

use std::io;

use nix::unistd::{Gid, Uid, getgroups, getresgid, getresuid, setgroups, setresgid, setresuid};

use super::os;

/// Why privileges were not given up; the process must not go on.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegeError {
    /// The system refuses a step.
    #[error("cannot {step}: {source}")]
    Refused {
        /// What was tried.
        step: &'static str,
        /// What the system answered.
        source: io::Error,
    },
    /// All steps worked, and something is left nevertheless.
    #[error("privileges are not gone: {0}")]
    Left(&'static str),
}

/// A step that the system may refuse.
pub(super) fn step<T>(
    step: &'static str,
    done: Result<T, impl Into<io::Error>>,
) -> Result<T, PrivilegeError> {
    done.map_err(|e| PrivilegeError::Refused {
        step,
        source: e.into(),
    })
}

/// Whether this process is root in any way that it could come back to.
///
/// # Errors
/// The system does not tell.
pub fn is_root() -> io::Result<bool> {
    let ids = getresuid()?;
    Ok([ids.real, ids.effective, ids.saved]
        .iter()
        .any(|id| id.is_root()))
}

/// Becomes a user and a group and nothing else: no supplementary groups, no capabilities, nothing to
/// be had from `exec`, no core dump with secrets in it, and no way back, which is tried.
///
/// # Errors
/// [`PrivilegeError`]; the process may be anything in between then, and must end.
pub fn become_user(uid: u32, gid: u32) -> Result<(), PrivilegeError> {
    if os::threads().is_some_and(|n| n > 1) {
        return Err(PrivilegeError::Left("another thread runs already"));
    }
    if uid == 0 {
        return Err(PrivilegeError::Left("the user is root"));
    }
    let (user, group) = (Uid::from_raw(uid), Gid::from_raw(gid));
    os::before_another_user();
    step("drop the supplementary groups", setgroups(&[]))?;
    step("change the group", setresgid(group, group, group))?;
    step("change the user", setresuid(user, user, user))?;
    confine()?;
    // The kernel did this with the change of the user; it is no matter of settings here.
    os::forbid_dumps()?;

    let users = step("ask for the user", getresuid())?;
    if [users.real, users.effective, users.saved] != [user; 3] {
        return Err(PrivilegeError::Left("the user is another"));
    }
    let groups = step("ask for the group", getresgid())?;
    if [groups.real, groups.effective, groups.saved] != [group; 3] {
        return Err(PrivilegeError::Left("the group is another"));
    }
    if step("ask for the groups", getgroups())?
        .iter()
        .any(|g| *g != group)
    {
        return Err(PrivilegeError::Left("there are supplementary groups"));
    }
    let root = Uid::from_raw(0);
    if setresuid(root, root, root).is_ok() {
        return Err(PrivilegeError::Left("it can become root again"));
    }
    if gid != 0 && setgroups(&[Gid::from_raw(0)]).is_ok() {
        return Err(PrivilegeError::Left("it can join root's group again"));
    }
    Ok(())
}

/// Gives up every capability, and whatever `exec` could give, without a change of user.
///
/// # Errors
/// [`PrivilegeError`]; the process must end then.
pub fn confine() -> Result<(), PrivilegeError> {
    os::confine()
}

#[cfg(test)]
mod tests {
    use super::*;

    // Whether the steps work is seen from outside, in tests/privileges.rs: in here they would take the
    // privileges of every other test.

    #[test]
    fn root_is_no_user_to_become() {
        assert!(matches!(become_user(0, 0), Err(PrivilegeError::Left(_))));
    }

    #[test]
    fn a_process_with_threads_gives_up_nothing() {
        let (release, wait) = std::sync::mpsc::channel::<()>();
        let other = std::thread::spawn(move || wait.recv());
        let refused = become_user(65_534, 65_534).unwrap_err();
        assert!(refused.to_string().contains("thread"), "{refused}");
        drop(release);
        assert!(other.join().unwrap().is_err());
    }
}
