//! What the process was started with and nobody else shall get: descriptors that a service manager
//! passes (the protocol of `sd_listen_fds(3)`), and variables that were meant for this process alone.

#![expect(
    unsafe_code,
    reason = "a number becomes a descriptor that is owned, and the environment is changed"
)]

use std::ffi::OsString;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use nix::libc;

use super::os::threads;

/// The first descriptor that is passed.
const FIRST: RawFd = 3;

/// A descriptor that was passed to this process, closed in its children.
#[derive(Debug)]
pub struct Passed {
    /// What `LISTEN_FDNAMES` calls it; `unknown` when it does not.
    pub name: String,
    /// The descriptor.
    pub descriptor: OwnedFd,
}

/// Why what was passed cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PassedError {
    /// A variable is not what it should be.
    #[error("the environment says {variable}={value:?}, which is no number")]
    NoNumber {
        /// Its name.
        variable: &'static str,
        /// Its value.
        value: OsString,
    },
    /// Fewer descriptors than promised.
    #[error(
        "the environment says LISTEN_FDS={count}, but descriptor {descriptor} was not passed; whoever starts this program must leave those descriptors open"
    )]
    NotPassed {
        /// How many were promised.
        count: u32,
        /// The first that is missing.
        descriptor: RawFd,
    },
}

/// Takes the descriptors that a service manager passed: none when there is no `LISTEN_PID`, or when it
/// means another process. A second call finds nothing left to take.
///
/// # Errors
/// The variables are wrong, or promise more than there is.
pub fn passed_descriptors() -> Result<Vec<Passed>, PassedError> {
    let number = |variable: &'static str| match std::env::var_os(variable) {
        None => Ok(None),
        Some(value) => match value.to_str().and_then(|v| v.parse::<u32>().ok()) {
            Some(number) => Ok(Some(number)),
            None => Err(PassedError::NoNumber { variable, value }),
        },
    };
    if number("LISTEN_PID")? != Some(std::process::id()) {
        return Ok(Vec::new());
    }
    let count = number("LISTEN_FDS")?.unwrap_or(0);
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':').filter(|_| !names.is_empty());
    let mut passed = Vec::new();
    // A number that promises too much ends at the first descriptor that is not there.
    for descriptor in (FIRST..).take(usize::try_from(count).unwrap_or(usize::MAX)) {
        let name = names.next().unwrap_or("unknown").to_owned();
        match take(descriptor) {
            Some(descriptor) => passed.push(Passed { name, descriptor }),
            None => return Err(PassedError::NotPassed { count, descriptor }),
        }
    }
    Ok(passed)
}

/// Owns a descriptor that came over `exec`; `None` when it did not.
fn take(descriptor: RawFd) -> Option<OwnedFd> {
    // SAFETY: F_GETFD touches no memory, and any number may be asked for.
    let flags = unsafe { libc::fcntl(descriptor, libc::F_GETFD) };
    // What this process opens itself has FD_CLOEXEC, and what has it does not come over exec.
    if flags < 0 || flags & libc::FD_CLOEXEC != 0 {
        return None;
    }
    // SAFETY: as above; this is a flag of the descriptor, which is open.
    let set = unsafe { libc::fcntl(descriptor, libc::F_SETFD, flags | libc::FD_CLOEXEC) };
    if set < 0 {
        return None;
    }
    // SAFETY: it is open, and nobody in this process owns it: it was without FD_CLOEXEC, as only
    // inherited descriptors are, and from now on it has that flag, so that it is not taken twice.
    Some(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Takes variables out of the environment, so that no child process believes that they mean it.
/// Returns whether that was done: not once a second thread runs, as another thread may read the
/// environment at any time.
pub fn forget_variables(names: &[&str]) -> bool {
    if threads() != Some(1) {
        return false;
    }
    for name in names {
        // SAFETY: no other thread exists that could read or change the environment meanwhile.
        #[expect(clippy::disallowed_methods, reason = "no other thread runs")]
        unsafe {
            std::env::remove_var(name);
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn nothing_is_taken_that_the_process_opened_itself() {
        let own = std::fs::File::open("/dev/null").unwrap();
        assert!(take(own.as_raw_fd()).is_none());
        assert!(take(RawFd::MAX).is_none());
        // Tests are started by nobody who passes descriptors.
        assert!(passed_descriptors().unwrap().is_empty());
    }

    #[test]
    fn what_was_passed_is_taken_once() {
        let file = std::fs::File::open("/dev/null").unwrap();
        // dup(2), other than the standard library, leaves FD_CLOEXEC off: as exec would.
        // SAFETY: a plain system call on an open descriptor.
        let copy = unsafe { libc::dup(file.as_raw_fd()) };
        let taken = take(copy).unwrap();
        assert_eq!(taken.as_raw_fd(), copy);
        assert!(take(copy).is_none());
    }

    #[test]
    fn the_environment_stays_while_threads_run() {
        let (release, wait) = std::sync::mpsc::channel::<()>();
        let other = std::thread::spawn(move || wait.recv());
        assert_ne!(threads(), Some(1));
        assert!(!forget_variables(&["LISTEN_FDS"]));
        drop(release);
        assert!(other.join().unwrap().is_err());
    }
}
