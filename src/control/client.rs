//! The other end of the control socket, for `status` and `ctl`; it waits for nothing for ever.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::unistd::{Gid, Group};
use socket2::{Domain, SockAddr, Socket, Type};

use super::model::Answer;
use super::protocol::{Request, VERSION};
use super::socket::places;
use crate::limits::{CONTROL_ANSWER, MAX_CONTROL_ANSWER};

/// How long a server whose queue is full is waited for.
const CONNECT: Duration = Duration::from_secs(2);

/// Why nobody answers.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreachable {
    /// No server, or none that lets this user in.
    #[error("{0}")]
    Nobody(String),
    /// It takes the connection and says nothing.
    #[error("the server at {} has not answered for {} s; it hangs or is overloaded", .0.display(), CONTROL_ANSWER.as_secs())]
    Silent(PathBuf),
    /// It ended in the middle.
    #[error("the server at {} closed the connection", .0.display())]
    Gone(PathBuf),
    /// What it says makes no sense.
    #[error("what answers at {} is no crtmpserver of this age: {}", .0.display(), .1)]
    Odd(PathBuf, String),
}

/// A connection to a server.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    path: PathBuf,
    rest: Vec<u8>,
}

/// Where a server may have its socket, in the order in which they are tried.
#[must_use]
pub fn usual_places(variable: impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    places(variable)
}

/// The first of these places where a server answers.
///
/// # Errors
/// [`Unreachable::Nobody`] with every place and what is wrong there.
pub fn find(places: &[PathBuf]) -> Result<Client, Unreachable> {
    let mut tried = Vec::new();
    let mut denied = None;
    for place in places {
        match connect(place) {
            Ok(stream) => {
                return Ok(Client {
                    stream,
                    path: place.clone(),
                    rest: Vec::new(),
                });
            }
            Err(error) => {
                if error.kind() == io::ErrorKind::PermissionDenied {
                    denied.get_or_insert(place);
                }
                tried.push(format!("{}: {}", place.display(), reason(&error)));
            }
        }
    }
    let tried = tried.join("; ");
    Err(Unreachable::Nobody(match denied {
        Some(place) => format!(
            "this user may not talk to the server: be root{} (tried {tried})",
            group(place)
        ),
        None => format!(
            "no server answers: it is not running, or its socket is elsewhere (--socket PATH); \
             tried {tried}"
        ),
    }))
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "is not there".to_owned(),
        io::ErrorKind::ConnectionRefused => "is left of a server that ended".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::WouldBlock => "its queue is full; it hangs or is overloaded".to_owned(),
        _ => error.to_string(),
    }
}

/// The group that may, as far as this user can see.
fn group(place: &Path) -> String {
    let gid = fs::metadata(place).map(|meta| meta.gid()).or_else(|_| {
        let folder = place.parent().unwrap_or(place);
        fs::metadata(folder).map(|meta| meta.gid())
    });
    let group = gid
        .ok()
        .and_then(|gid| Group::from_gid(Gid::from_raw(gid)).ok()?);
    match group {
        Some(group) if group.name != "root" => format!(", or in the group {}", group.name),
        _ => String::new(),
    }
}

fn connect(path: &Path) -> io::Result<UnixStream> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // It bounds connect, too (unix(7)).
    socket.set_write_timeout(Some(CONNECT))?;
    socket.connect(&SockAddr::unix(path)?)?;
    Ok(UnixStream::from(OwnedFd::from(socket)))
}

impl Client {
    /// Where the server is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Sends a request and waits for its answer; a refusal is an answer, too.
    ///
    /// # Errors
    /// [`Unreachable`], and the connection is of no more use.
    pub fn ask(&mut self, request: &Request) -> Result<Answer, Unreachable> {
        let until = Instant::now()
            .checked_add(CONTROL_ANSWER)
            .unwrap_or_else(Instant::now);
        let odd = |path: &Path, e: &dyn std::fmt::Display| {
            Unreachable::Odd(path.to_owned(), e.to_string())
        };
        let mut line = serde_json::to_vec(request).map_err(|e| odd(&self.path, &e))?;
        line.push(b'\n');
        // One that closes right after its answer (too many clients) still has one to be read.
        let sent = self.stream.write_all(&line);
        let answer = match self.line(until) {
            Err(Unreachable::Gone(path)) if sent.is_err() => return Err(Unreachable::Gone(path)),
            other => other?,
        };
        let answer: Answer = serde_json::from_slice(&answer).map_err(|e| odd(&self.path, &e))?;
        if answer.v != VERSION {
            let why = format!(
                "it speaks version {} of the protocol, not {VERSION}",
                answer.v
            );
            return Err(odd(&self.path, &why));
        }
        Ok(answer)
    }

    fn line(&mut self, until: Instant) -> Result<Vec<u8>, Unreachable> {
        let mut bytes = vec![0; 64 * 1024];
        loop {
            if let Some(end) = self.rest.iter().position(|b| *b == b'\n') {
                let rest = self.rest.split_off(end.saturating_add(1));
                return Ok(std::mem::replace(&mut self.rest, rest));
            }
            if self.rest.len() > MAX_CONTROL_ANSWER {
                let why = "its answer does not end".to_owned();
                return Err(Unreachable::Odd(self.path.clone(), why));
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || self.stream.set_read_timeout(Some(left)).is_err() {
                return Err(Unreachable::Silent(self.path.clone()));
            }
            match self.stream.read(&mut bytes) {
                Ok(0) => return Err(Unreachable::Gone(self.path.clone())),
                Ok(n) => self
                    .rest
                    .extend_from_slice(bytes.get(..n).unwrap_or_default()),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    return Err(Unreachable::Silent(self.path.clone()));
                }
                Err(_) => return Err(Unreachable::Gone(self.path.clone())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    /// A server that says this to whoever comes.
    fn says(text: &'static [u8]) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.sock");
        let listener = UnixListener::bind(&path).unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                drop(stream.unwrap().write_all(text));
            }
        });
        (dir, path)
    }

    fn ask(text: &'static [u8]) -> Result<Answer, Unreachable> {
        let (_dir, path) = says(text);
        find(&[path]).unwrap().ask(&Request::new("status"))
    }

    #[test]
    fn an_answer_is_read_whatever_else_is_in_it() {
        let answer = ask(b"{\"v\":1,\"ok\":true,\"new\":[1]}\n").unwrap();
        assert!(answer.ok && answer.status.is_none());
        let answer = ask(b"{\"v\":1,\"error\":{\"code\":\"busy\",\"message\":\"x\"}}\n").unwrap();
        assert_eq!(answer.error.unwrap().code, "busy");
    }

    #[test]
    fn nonsense_is_told_from_silence() {
        for text in [
            &b"HTTP/1.1 400 Bad Request\r\n"[..],
            b"{\"v\":2}\n",
            b"{}\n",
        ] {
            assert!(matches!(ask(text), Err(Unreachable::Odd(..))));
        }
        for text in [&b""[..], b"{\"v\":1"] {
            assert!(matches!(ask(text), Err(Unreachable::Gone(_))));
        }
    }

    #[test]
    fn every_place_that_was_tried_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let dead = dir.path().join("dead.sock");
        drop(UnixListener::bind(&dead).unwrap());
        let missing = dir.path().join("missing.sock");
        let error = find(&[missing.clone(), dead.clone()]).unwrap_err();
        let text = error.to_string();
        for part in [
            format!("{}: is not there", missing.display()),
            format!("{}: is left of a server that ended", dead.display()),
        ] {
            assert!(text.contains(&part), "{text}");
        }
        let (_live, live) = says(b"");
        assert_eq!(find(&[missing, live.clone()]).unwrap().path(), live);
    }
}
