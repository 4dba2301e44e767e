//! What FreeBSD has its own way of; `linux.rs` has the counterparts. What is absent here says so, and
//! `docs/freebsd.md` says it to the operator.

#![expect(
    unsafe_code,
    reason = "procctl, one socket option and one sysctl that no crate wraps"
)]

use std::ffi::OsStr;
use std::io;
use std::mem::MaybeUninit;
#[cfg(feature = "publish")]
use std::os::fd::OwnedFd;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::SocketAddr;
use std::ptr;
use std::time::Duration;

use nix::errno::Errno;
#[cfg(feature = "publish")]
use nix::fcntl::{OFlag, openat};
use nix::libc;
use nix::sys::resource::rlim_t;
use nix::sys::socket::MsgFlags;

use super::privileges::{PrivilegeError, step};

/// Where the port puts the configuration.
pub const CONFIGURATION: &str = "/usr/local/etc/crtmpserver";
/// The folder of what lives as long as the server does.
pub const RUN: &str = "/var/run/crtmpserver";
/// Where media files are.
pub const MEDIA: &str = "/var/db/crtmpserver/media";
/// Where recordings are made.
pub const RECORDINGS: &str = "/var/db/crtmpserver/recordings";
/// What shows who has a port.
pub const WHO_LISTENS: &str = "sockstat -l";
/// Reads from a TCP socket what nobody looks at: there is nothing cheaper than copying it.
pub const THROW_AWAY: MsgFlags = MsgFlags::empty();
/// What [`resolve_beneath`] says of what leads outside.
#[cfg(feature = "publish")]
pub(super) const OUTSIDE: Errno = Errno::ENOTCAPABLE;

/// Nothing: privileges belong to root's user alone, and go with it.
pub(super) const fn before_another_user() {}

/// Gives up whatever `exec` could give. There are no capabilities of the kind that another user keeps.
pub(super) fn confine() -> Result<(), PrivilegeError> {
    let set = control(libc::PROC_NO_NEW_PRIVS_CTL, libc::PROC_NO_NEW_PRIVS_ENABLE);
    step("set no_new_privs", set)?;
    let held = control(libc::PROC_NO_NEW_PRIVS_STATUS, 0);
    match step("ask for no_new_privs", held)? {
        libc::PROC_NO_NEW_PRIVS_ENABLE => Ok(()),
        _ => Err(PrivilegeError::Left("exec could give new ones")),
    }
}

/// No core dump, and no debugger looks into this process.
pub(super) fn forbid_dumps() -> Result<(), PrivilegeError> {
    let done = control(libc::PROC_TRACE_CTL, libc::PROC_TRACE_CTL_DISABLE);
    step("forbid core dumps", done.map(drop))
}

/// procctl(2) of this process with one number, which it may change.
fn control(command: libc::c_int, mut value: libc::c_int) -> io::Result<libc::c_int> {
    // SAFETY: each of the commands above reads or writes one int, and `value` lives through the call.
    let done = unsafe { libc::procctl(libc::P_PID, 0, command, ptr::from_mut(&mut value).cast()) };
    if done == 0 {
        Ok(value)
    } else {
        Err(io::Error::last_os_error())
    }
}

/// How many threads this process has; `None` when the system does not tell.
pub(super) fn threads() -> Option<usize> {
    let own = libc::pid_t::try_from(std::process::id()).ok()?;
    let name = [libc::CTL_KERN, libc::KERN_PROC, libc::KERN_PROC_PID, own];
    let mut facts = MaybeUninit::<libc::kinfo_proc>::zeroed();
    let mut size = size_of::<libc::kinfo_proc>();
    // SAFETY: the name has four parts, the kernel writes at most `size` bytes to `facts`, which has as
    // many, and nothing is set.
    let done = unsafe {
        let into = facts.as_mut_ptr().cast();
        libc::sysctl(name.as_ptr(), 4, into, &raw mut size, ptr::null(), 0)
    };
    if done != 0 || size != size_of::<libc::kinfo_proc>() {
        return None;
    }
    // SAFETY: all of it was written, and every field is a number, an address that is not followed, or
    // an array of numbers.
    let facts = unsafe { facts.assume_init() };
    usize::try_from(facts.ki_numthreads).ok()
}

/// A limit as the kernel writes it, with a sign; the largest means that there is none.
pub(super) fn limit_written(limit: u64) -> rlim_t {
    rlim_t::try_from(limit).unwrap_or(rlim_t::MAX)
}

/// A limit as the kernel wrote it.
pub(super) fn limit_read(limit: rlim_t) -> u64 {
    u64::try_from(limit).unwrap_or(u64::MAX)
}

/// Opens what lies beneath a folder, and nothing that a link or a name leads to elsewhere.
#[cfg(feature = "publish")]
pub(super) fn resolve_beneath(
    folder: &OwnedFd,
    name: &std::path::Path,
    flags: OFlag,
) -> nix::Result<OwnedFd> {
    let beneath = OFlag::from_bits_retain(libc::O_RESOLVE_BENEATH);
    let none = nix::sys::stat::Mode::empty();
    openat(folder, name, flags | beneath, none)
}

/// Nothing: the kernel has no such bound. What it may hold for a viewer is its send buffer
/// (`net.inet.tcp.sendbuf_max`).
///
/// # Errors
/// None.
#[expect(clippy::unnecessary_wraps, reason = "Linux may refuse")]
pub const fn hold_unsent(_socket: &impl AsFd, _bytes: u32) -> io::Result<()> {
    Ok(())
}

/// Lets the kernel give up a connection whose peer acknowledges nothing for this long, by the second.
///
/// # Errors
/// The system refuses.
pub fn give_up_after(socket: &impl AsFd, silence: Duration) -> io::Result<()> {
    let up = u64::from(silence.subsec_nanos() > 0);
    let seconds = silence.as_secs().saturating_add(up);
    let seconds = libc::c_uint::try_from(seconds).unwrap_or(libc::c_uint::MAX);
    let size = libc::socklen_t::try_from(size_of::<libc::c_uint>()).unwrap_or_default();
    // SAFETY: the option is one unsigned int, which lives through the call, and the descriptor is open.
    let done = unsafe {
        let value = ptr::from_ref(&seconds).cast();
        let descriptor = socket.as_fd().as_raw_fd();
        libc::setsockopt(
            descriptor,
            libc::IPPROTO_TCP,
            libc::TCP_MAXUNACKTIME,
            value,
            size,
        )
    };
    match done {
        0 => Ok(()),
        _ => match io::Error::last_os_error() {
            // Another of the kernel's TCP stacks; limits.send_timeout finds such a peer, too.
            error if error.raw_os_error() == Some(libc::ENOPROTOOPT) => Ok(()),
            error => Err(error),
        },
    }
}

/// The unix socket of this path; there are no abstract names.
///
/// # Errors
/// It is too long.
pub fn local_address(name: &OsStr) -> io::Result<SocketAddr> {
    SocketAddr::from_pathname(name)
}

/// Whether `accept` says with this that the peer's network, not this machine, has a problem; there is no
/// error here but those that POSIX knows.
#[must_use]
pub const fn is_peers_network(_error: Errno) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_counted() {
        let (release, wait) = std::sync::mpsc::channel::<()>();
        let other = std::thread::spawn(move || wait.recv());
        assert!(threads().is_some_and(|n| n > 1));
        drop(release);
        assert!(other.join().unwrap().is_err());
    }

    #[test]
    fn the_kernels_patience_can_be_set() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        give_up_after(&listener, Duration::from_millis(20_500)).unwrap();
    }
}
