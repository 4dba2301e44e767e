//! What Linux has its own way of; `freebsd.rs` has the counterparts.

use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd;
#[cfg(feature = "publish")]
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::SocketAddr;
use std::time::Duration;

use nix::errno::Errno;
#[cfg(feature = "publish")]
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::prctl;
use nix::sys::resource::rlim_t;
use nix::sys::socket::MsgFlags;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities,
};
use socket2::SockRef;

use super::privileges::{PrivilegeError, step};

/// Where the packages put the configuration.
pub const CONFIGURATION: &str = "/etc/crtmpserver";
/// The folder of what lives as long as the server does.
pub const RUN: &str = "/run/crtmpserver";
/// Where media files are.
pub const MEDIA: &str = "/var/lib/crtmpserver/media";
/// Where recordings are made.
pub const RECORDINGS: &str = "/var/lib/crtmpserver/recordings";
/// What shows who has a port.
pub const WHO_LISTENS: &str = "ss -ltnp";
/// Reads from a TCP socket what nobody looks at: the kernel drops it instead of copying it.
pub const THROW_AWAY: MsgFlags = MsgFlags::MSG_TRUNC;
/// What [`resolve_beneath`] says of what leads outside.
#[cfg(feature = "publish")]
pub(super) const OUTSIDE: Errno = Errno::EXDEV;

/// The bounding set, as far as it is allowed: it takes `CAP_SETPCAP`, and without any capability and with
/// `no_new_privs` the set has no effect any more.
pub(super) fn before_another_user() {
    for bit in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        if remove_capability_from_bounding_set(capability).is_err() {
            // EINVAL: the kernel knows no more of them. EPERM: it is not for us to do.
            return;
        }
    }
}

/// Gives up every capability, and whatever `exec` could give.
pub(super) fn confine() -> Result<(), PrivilegeError> {
    step("set no_new_privs", prctl::set_no_new_privs())?;
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    let held = || step("ask for capabilities", capabilities(None));
    // Where there is nothing to give up, a sandbox may forbid even that.
    if held()? != none {
        before_another_user();
        // The ambient set cannot hold more than the two emptied below; kernels before 4.3 have none.
        let _ = clear_ambient_capability_set();
        step("drop capabilities", set_capabilities(None, none))?;
    }
    if held()? != none {
        return Err(PrivilegeError::Left("there are capabilities"));
    }
    match step("ask for no_new_privs", prctl::get_no_new_privs())? {
        true => Ok(()),
        false => Err(PrivilegeError::Left("exec could give new ones")),
    }
}

/// No core dump, and nobody of the same user looks into this process.
pub(super) fn forbid_dumps() -> Result<(), PrivilegeError> {
    step("forbid core dumps", prctl::set_dumpable(false))
}

/// How many threads this process has; `None` when the system does not tell.
pub(super) fn threads() -> Option<usize> {
    let tasks = std::fs::read_dir("/proc/self/task").ok()?;
    Some(tasks.count())
}

/// A limit as the kernel writes it.
pub(super) const fn limit_written(limit: u64) -> rlim_t {
    limit
}

/// A limit as the kernel wrote it.
pub(super) const fn limit_read(limit: rlim_t) -> u64 {
    limit
}

/// Opens what lies beneath a folder, and nothing that a link or a name leads to elsewhere.
#[cfg(feature = "publish")]
pub(super) fn resolve_beneath(
    folder: &OwnedFd,
    name: &std::path::Path,
    flags: OFlag,
) -> nix::Result<OwnedFd> {
    let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    openat2(folder, name, OpenHow::new().flags(flags).resolve(resolve))
}

/// Lets the kernel hold at most this many bytes that it has not sent.
///
/// # Errors
/// The system refuses.
pub fn hold_unsent(socket: &impl AsFd, bytes: u32) -> io::Result<()> {
    SockRef::from(socket).set_tcp_notsent_lowat(bytes)
}

/// Lets the kernel give up a connection whose peer acknowledges nothing for this long.
///
/// # Errors
/// The system refuses.
pub fn give_up_after(socket: &impl AsFd, silence: Duration) -> io::Result<()> {
    SockRef::from(socket).set_tcp_user_timeout(Some(silence))
}

/// The unix socket of this name: a path or, with `@` in front, an abstract name.
///
/// # Errors
/// It is too long.
pub fn local_address(name: &OsStr) -> io::Result<SocketAddr> {
    match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(name),
    }
}

/// Whether `accept` says with this that the peer's network, not this machine, has a problem.
#[must_use]
pub const fn is_peers_network(error: Errno) -> bool {
    matches!(error, Errno::ENONET)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_patience_is_really_set() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        hold_unsent(&listener, 4096).unwrap();
        give_up_after(&listener, Duration::from_secs(20)).unwrap();
        let socket = SockRef::from(&listener);
        assert_eq!(socket.tcp_notsent_lowat().unwrap(), 4096);
        let patience = socket.tcp_user_timeout().unwrap();
        assert_eq!(patience, Some(Duration::from_secs(20)));
    }

    #[test]
    fn a_name_is_a_path_or_abstract() {
        let of = |name: &str| local_address(OsStr::new(name)).unwrap();
        assert_eq!(of("@x").as_abstract_name(), Some(b"x".as_slice()));
        assert!(of("/x").as_pathname().is_some());
    }
}
