//! The control socket's file: made with its mode, never over a living server's, and taken away again.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, lchown};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::{AT_FDCWD, Flock, FlockArg};
use nix::sys::stat::{FchmodatFlags, Mode, fchmod, fchmodat};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::system::RUN;

/// The owner and the group may talk to the server.
const MODE: nix::libc::mode_t = 0o660;
/// The folder of a usual place, where it has to be made.
const FOLDER_MODE: u32 = 0o750;
/// Connections that wait for the server.
const BACKLOG: i32 = 32;
/// Its name in every usual place.
const NAME: &str = "control.sock";
/// Two servers that start at once look at the same file one after the other, within so many steps
const LOCK_TRIES: u32 = 20;
/// of this length.
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Somebody answers there.
    #[error("the control socket {} belongs to a server that runs; stop it, or give this one another path (listen.control)", .0.display())]
    InUse(PathBuf),
    /// Something that is no socket is there.
    #[error("the control socket cannot be made: {} is there already and no socket; remove it, or choose another path (listen.control)", .0.display())]
    NoSocket(PathBuf),
    /// The system refuses.
    #[error("the control socket {} cannot be made: {error}{}", path.display(), hint(error))]
    System {
        /// What was asked for.
        path: PathBuf,
        /// What the system answered.
        error: io::Error,
    },
}

impl SocketError {
    /// The system's number, where it was the system.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::InUse(_) => Some(nix::errno::Errno::EADDRINUSE as i32),
            Self::NoSocket(_) => Some(nix::errno::Errno::EEXIST as i32),
            Self::System { error, .. } => error.raw_os_error(),
        }
    }
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "; its folder is not there (listen.control)",
        io::ErrorKind::PermissionDenied => {
            "; the server's user may not write to its folder (listen.control)"
        }
        _ => "",
    }
}

/// A socket that listens, and its file if this server made it.
#[derive(Debug)]
pub struct ControlSocket {
    listener: UnixListener,
    made: Option<Made>,
}

/// A file that goes when this is dropped, unless another server has put its own there.
#[derive(Debug)]
pub(super) struct Made {
    path: PathBuf,
    /// Device and inode.
    file: (u64, u64),
}

impl Drop for Made {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path).is_ok_and(|m| (m.dev(), m.ino()) == self.file);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(path = %self.path.display(), "the control socket stays behind: {error}");
        }
    }
}

impl ControlSocket {
    /// Makes the socket. What a dead server left is replaced.
    ///
    /// # Errors
    /// [`SocketError`] in a sentence for the operator.
    pub fn bind(path: &Path) -> Result<Self, SocketError> {
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
        let _lock = lock(folder.unwrap_or(Path::new(".")));
        clear(path)?;
        let system = |error| SocketError::System {
            path: path.to_owned(),
            error,
        };
        let listener = listen(path).map_err(system)?;
        let meta = fs::symlink_metadata(path).map_err(system)?;
        Ok(Self {
            listener,
            made: Some(Made {
                path: path.to_owned(),
                file: (meta.dev(), meta.ino()),
            }),
        })
    }

    /// Takes over what another process listens on (systemd's socket activation); the file is not ours.
    #[must_use]
    pub const fn inherit(listener: UnixListener) -> Self {
        Self {
            listener,
            made: None,
        }
    }

    /// Gives the file, and a folder that was made for it, to the user that the server will be.
    ///
    /// # Errors
    /// The system refuses.
    pub fn give_to(&self, uid: u32, gid: u32) -> io::Result<()> {
        let Some(made) = &self.made else {
            return Ok(());
        };
        lchown(&made.path, Some(uid), Some(gid))?;
        if let Some(folder) = made.path.parent()
            && folder == Path::new(RUN)
        {
            lchown(folder, Some(uid), Some(gid))?;
        }
        Ok(())
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> Option<PathBuf> {
        let address = self.listener.local_addr().ok()?;
        address.as_pathname().map(Path::to_owned)
    }

    /// For the runtime; the file goes with what is returned beside it.
    pub(super) fn listen(self) -> io::Result<(tokio::net::UnixListener, Option<Made>)> {
        self.listener.set_nonblocking(true)?;
        let listener = tokio::net::UnixListener::from_std(self.listener)?;
        Ok((listener, self.made))
    }
}

/// Keeps another server that starts at this moment away from the same folder. Without the lock it is
/// tried all the same: it only ever matters to two servers in one moment.
fn lock(folder: &Path) -> Option<Flock<File>> {
    let mut folder = File::open(folder).ok()?;
    for _ in 0..LOCK_TRIES {
        match Flock::lock(folder, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Some(lock),
            Err((back, _)) => folder = back,
        }
        #[expect(clippy::disallowed_methods, reason = "nothing runs yet")]
        std::thread::sleep(LOCK_PAUSE);
    }
    None
}

/// Removes what a dead server left.
fn clear(path: &Path) -> Result<(), SocketError> {
    let Ok(meta) = fs::symlink_metadata(path) else {
        return Ok(()); // nothing there; or making it will say what is wrong
    };
    if !meta.file_type().is_socket() {
        return Err(SocketError::NoSocket(path.to_owned()));
    }
    if is_alive(path) {
        return Err(SocketError::InUse(path.to_owned()));
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(SocketError::System {
            path: path.to_owned(),
            error,
        }),
        _ => Ok(()),
    }
}

/// Whether somebody listens there. Only a refused connection proves that nobody does.
fn is_alive(path: &Path) -> bool {
    let connect = || {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.connect(&SockAddr::unix(path)?)
    };
    match connect() {
        Ok(()) => true,
        Err(error) => !matches!(
            error.kind(),
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound
        ),
    }
}

fn listen(path: &Path) -> io::Result<UnixListener> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // The file gets the mode of the socket less the umask: at no moment may others connect.
    fchmod(&socket, Mode::from_bits_truncate(MODE))?;
    socket.bind(&SockAddr::unix(path)?)?;
    // Not through a link: the folder may be another user's.
    let mode = Mode::from_bits_truncate(MODE);
    fchmodat(AT_FDCWD, path, mode, FchmodatFlags::NoFollowSymlink)?;
    socket.listen(BACKLOG)?;
    Ok(UnixListener::from(std::os::fd::OwnedFd::from(socket)))
}

/// The socket where `status` and `ctl` look for it; `None` where there is no such place, or where
/// another server has it: one of the two goes without.
#[must_use]
pub fn usual(variable: impl Fn(&str) -> Option<OsString>, is_root: bool) -> Option<ControlSocket> {
    let place = place(variable, is_root)?;
    let folder = place.parent()?;
    if !folder.is_dir()
        && let Err(error) = DirBuilder::new().mode(FOLDER_MODE).create(folder)
    {
        tracing::debug!(
            folder = %folder.display(), code = "no-control",
            "no control socket: its folder cannot be made: {error}"
        );
        return None;
    }
    match ControlSocket::bind(&place) {
        Ok(socket) => Some(socket),
        Err(SocketError::InUse(path)) => {
            tracing::info!(
                path = %path.display(), code = "no-control",
                "no control socket: another server has the usual place; \
                 listen.control can name another one"
            );
            None
        }
        Err(error) => {
            tracing::warn!(code = "no-control", "no control socket: {error}");
            None
        }
    }
}

/// Where this process would have its socket.
fn place(variable: impl Fn(&str) -> Option<OsString>, is_root: bool) -> Option<PathBuf> {
    if let Some(folder) = runtime_folder(&variable) {
        return Some(folder.join(NAME));
    }
    if is_root {
        return Some(Path::new(RUN).join(NAME));
    }
    own_folder(&variable).map(|folder| folder.join(NAME))
}

/// Everywhere that a server may have it, in the order of [`usual`].
#[must_use]
pub(super) fn places(variable: impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let folders = [
        runtime_folder(&variable),
        Some(PathBuf::from(RUN)),
        own_folder(&variable),
    ];
    let mut places: Vec<PathBuf> = Vec::new();
    for folder in folders.into_iter().flatten() {
        let place = folder.join(NAME);
        if !places.contains(&place) {
            places.push(place);
        }
    }
    places
}

/// What systemd made for the service; the first, when there are several.
fn runtime_folder(variable: &impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let folders = variable("RUNTIME_DIRECTORY")?;
    let first = folders.to_str()?.split(':').next()?;
    first.starts_with('/').then(|| PathBuf::from(first))
}

/// An ordinary user's own.
fn own_folder(variable: &impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let folder = PathBuf::from(variable("XDG_RUNTIME_DIR")?);
    folder.is_absolute().then(|| folder.join("crtmpserver"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixStream;

    fn vars(pairs: &'static [(&str, &str)]) -> impl Fn(&str) -> Option<OsString> {
        move |name| {
            let found = pairs.iter().find(|(n, _)| *n == name);
            found.map(|(_, value)| OsString::from(value))
        }
    }

    #[test]
    fn the_usual_places_are_searched_as_they_are_made() {
        let both = &[
            ("RUNTIME_DIRECTORY", "/run/x:/run/y"),
            ("XDG_RUNTIME_DIR", "/run/user/7"),
        ];
        let user = &[("XDG_RUNTIME_DIR", "/run/user/7")];
        let text = |p: Option<PathBuf>| p.map(|p| p.to_str().unwrap().to_owned());
        let of = |place: &str| Some(place.to_owned());
        assert_eq!(text(place(vars(both), true)), of("/run/x/control.sock"));
        assert_eq!(text(place(vars(both), false)), of("/run/x/control.sock"));
        assert_eq!(
            text(place(vars(user), true)),
            of(&format!("{RUN}/control.sock"))
        );
        assert_eq!(
            text(place(vars(user), false)),
            of("/run/user/7/crtmpserver/control.sock")
        );
        assert_eq!(place(vars(&[]), false), None);
        assert_eq!(place(vars(&[("XDG_RUNTIME_DIR", "here")]), false), None);
        let all = places(vars(both));
        assert_eq!(all.len(), 3);
        for of in [both.as_slice(), user, &[]] {
            for root in [true, false] {
                let place = place(vars(of), root);
                assert!(place.is_none_or(|p| places(vars(of)).contains(&p)));
            }
        }
    }

    #[test]
    fn a_dead_servers_file_is_replaced_and_a_living_ones_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.sock");
        let first = ControlSocket::bind(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o660);
        UnixStream::connect(&path).unwrap();
        let error = ControlSocket::bind(&path).unwrap_err();
        assert!(matches!(error, SocketError::InUse(_)), "{error}");
        drop(first);
        assert!(!path.exists(), "it goes with its server");
        // As kill -9 leaves it.
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let second = ControlSocket::bind(&path).unwrap();
        UnixStream::connect(&path).unwrap();
        // Somebody else's file in its place is left alone.
        fs::remove_file(&path).unwrap();
        let other = UnixListener::bind(&path).unwrap();
        drop(second);
        assert!(path.exists());
        drop(other);
    }

    #[test]
    fn a_full_queue_is_a_living_server() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.sock");
        let _server = ControlSocket::bind(&path).unwrap();
        let waiting: Vec<_> = (0..100)
            .map_while(|_| {
                let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
                socket.set_nonblocking(true).unwrap();
                let done = socket.connect(&SockAddr::unix(&path).unwrap());
                done.is_ok().then_some(socket)
            })
            .collect();
        assert!(waiting.len() < 100, "its queue has a bound");
        let error = ControlSocket::bind(&path).unwrap_err();
        assert!(matches!(error, SocketError::InUse(_)), "{error}");
    }

    #[test]
    fn what_is_no_socket_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.sock");
        fs::write(&path, "precious").unwrap();
        let error = ControlSocket::bind(&path).unwrap_err().to_string();
        assert!(error.contains("no socket"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"precious");
        let error = ControlSocket::bind(&dir.path().join("a/b")).unwrap_err();
        assert!(error.to_string().contains("folder is not there"), "{error}");
    }

    #[test]
    fn what_was_inherited_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.sock");
        let socket = ControlSocket::inherit(UnixListener::bind(&path).unwrap());
        assert_eq!(socket.path().unwrap(), path);
        drop(socket);
        assert!(path.exists());
    }
}
