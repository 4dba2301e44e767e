//! journald's own protocol: an event is one datagram with a field for everything it says, so that
//! `journalctl STREAM=live/event` finds it.
//!
//! `MESSAGE` is the whole line as it would stand in a file; beside it stand `PRIORITY`, and each field of
//! the event in capitals: `STREAM`, `PEER`, `CODE` and so on. `REASON` is the sentence alone, for every
//! event with a code. Values have no control characters and are as short as they are in a file.
//!
//! When journald cannot be reached, or is late, the line goes to standard error, as without it.

use std::fmt::{self, Write as _};
use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use nix::sys::stat::fstat;
use tracing::Event;
use tracing::field::{Field, Visit};
use tracing_subscriber::fmt::MakeWriter;

use super::logging::one_line;

/// Where journald listens.
pub(super) const SOCKET: &str = "/run/systemd/journal/socket";
/// Longest name of a field that journald takes.
const MAX_NAME: usize = 64;
/// What says who writes.
const IDENTIFIER: &str = "crtmpserver";
/// Fields with a meaning of their own, and not to be given twice.
const RESERVED: [&str; 3] = ["MESSAGE", "PRIORITY", "SYSLOG_IDENTIFIER"];

/// Whether journald reads standard error: `JOURNAL_STREAM` names the very file that it is.
pub(super) fn reads_stderr() -> bool {
    let Some(stream) = std::env::var_os("JOURNAL_STREAM") else {
        return false;
    };
    let Ok(stat) = fstat(io::stderr()) else {
        return false;
    };
    stream.to_str() == Some(format!("{}:{}", stat.st_dev, stat.st_ino).as_str())
}

/// Sends what [`event`] makes; a datagram for each call of `write`.
pub(super) struct Journal<E> {
    socket: UnixDatagram,
    path: PathBuf,
    /// Makes what is written to when journald is not there.
    fallback: E,
}

impl<E> Journal<E> {
    /// Where `path` is; an error when nobody listens there now.
    pub(super) fn to(path: &Path, fallback: E) -> io::Result<Self> {
        UnixDatagram::unbound()?.connect(path)?;
        let socket = UnixDatagram::unbound()?;
        // A journald that stands still must not hold up a stream.
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            path: path.to_owned(),
            fallback,
        })
    }
}

impl<'a, E, W: Write> MakeWriter<'a> for Journal<E>
where
    E: Fn() -> W + 'a,
{
    type Writer = Entry<'a, E>;

    fn make_writer(&'a self) -> Entry<'a, E> {
        Entry(self)
    }
}

/// One event on its way.
pub(super) struct Entry<'a, E>(&'a Journal<E>);

impl<E, W: Write> Write for Entry<'_, E>
where
    E: Fn() -> W,
{
    fn write(&mut self, entry: &[u8]) -> io::Result<usize> {
        let Journal {
            socket,
            path,
            fallback,
        } = self.0;
        // The name is looked up each time: journald may have been restarted with another socket.
        if socket.send_to(entry, path).is_err() {
            fallback().write_all(plain(entry).as_bytes())?;
        }
        Ok(entry.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The entry as a line with journald's priority prefix.
fn plain(entry: &[u8]) -> String {
    let entry = String::from_utf8_lossy(entry);
    let of = |name: &str| {
        entry
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
            .unwrap_or_default()
    };
    format!("<{}>{}\n", of("PRIORITY"), of("MESSAGE"))
}

/// Writes an event as an entry. `line` is what a file would have, without time and level.
pub(super) fn event(
    event: &Event<'_>,
    line: &str,
    priority: u8,
    out: &mut impl fmt::Write,
) -> fmt::Result {
    assign(out, "MESSAGE", line)?;
    assign(out, "PRIORITY", &priority.to_string())?;
    assign(out, "SYSLOG_IDENTIFIER", IDENTIFIER)?;
    assign(out, "TARGET", event.metadata().target())?;
    let mut fields = Fields::default();
    event.record(&mut fields);
    let has = |wanted: &str| fields.list.iter().any(|(name, _)| name == wanted);
    if has("CODE") && !has("REASON") {
        assign(out, "REASON", &fields.message)?;
    }
    for (name, value) in &fields.list {
        assign(out, name, value)?;
    }
    Ok(())
}

/// A value is one line, so that the form without a length will do.
fn assign(out: &mut impl fmt::Write, name: &str, value: &str) -> fmt::Result {
    write!(out, "{name}=")?;
    one_line(value, out)?;
    out.write_char('\n')
}

#[derive(Default)]
struct Fields {
    message: String,
    list: Vec<(String, String)>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: String) {
        if field.name() == "message" {
            self.message = value;
        } else if let Some(name) = name(field.name()) {
            self.list.push((name, value));
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = String::new();
        // Only a broken implementation of Debug fails; what it wrote is kept.
        let _ = write!(text, "{value:?}");
        self.put(field, text);
    }
}

/// A field's name as journald has it: capitals, digits and `_`, a capital first.
fn name(field: &str) -> Option<String> {
    let name: String = field
        .chars()
        .map(|c| match c {
            'a'..='z' => c.to_ascii_uppercase(),
            'A'..='Z' | '0'..='9' => c,
            _ => '_',
        })
        .collect();
    let good = name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.len() <= MAX_NAME
        && !RESERVED.contains(&name.as_str());
    good.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::logging::{Look, parse_filter, subscriber};

    #[test]
    fn names_are_what_journald_takes() {
        assert_eq!(name("stream").as_deref(), Some("STREAM"));
        assert_eq!(name("away_ms").as_deref(), Some("AWAY_MS"));
        assert_eq!(name("log.target").as_deref(), Some("LOG_TARGET"));
        for bad in ["", "_pid", "9lives", "message", "Priority", "ä"] {
            assert_eq!(name(bad), None, "{bad}");
        }
        assert_eq!(name(&"x".repeat(65)), None);
    }

    #[test]
    fn an_entry_becomes_a_line_when_journald_is_away() {
        let entry = b"MESSAGE=publish refused: no=1\nPRIORITY=4\nCODE=x\n";
        assert_eq!(plain(entry), "<4>publish refused: no=1\n");
    }

    #[test]
    fn nobody_listens_where_nothing_is() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Journal::to(&dir.path().join("socket"), io::stderr).is_err());
    }

    /// The datagrams that an event becomes, and what standard error has of it.
    fn journalled(there: bool, write: impl FnOnce()) -> (Vec<String>, String) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        let name = file.path().to_owned();
        let stderr = move || std::fs::File::options().append(true).open(&name).unwrap();
        let journal = Journal::to(&path, stderr).unwrap();
        if !there {
            std::fs::remove_file(&path).unwrap();
        }
        let filter = parse_filter("debug").unwrap();
        tracing::subscriber::with_default(subscriber(filter, Look::Fields, journal), write);
        let mut entries = Vec::new();
        let mut buffer = [0; 8192];
        while let Ok(n) = socket.recv(&mut buffer) {
            entries.push(String::from_utf8(buffer[..n].to_vec()).unwrap());
        }
        (entries, std::fs::read_to_string(file.path()).unwrap())
    }

    #[test]
    fn journald_gets_a_field_for_everything_that_is_said() {
        let peer: std::net::SocketAddr = "10.0.0.1:7".parse().unwrap();
        let write = || {
            tracing::warn!(stream = "live/x", %peer, code = "taken", sent = 3, "publish refused: no");
            tracing::info!(pid = 7, "ready");
        };
        let (entries, stderr) = journalled(true, write);
        assert_eq!(
            entries,
            [
                "MESSAGE=publish refused: no stream=\"live/x\" peer=10.0.0.1:7 code=\"taken\" sent=3\n\
                 PRIORITY=4\nSYSLOG_IDENTIFIER=crtmpserver\n\
                 TARGET=crtmpserver::telemetry::journal::tests\nREASON=publish refused: no\n\
                 STREAM=live/x\nPEER=10.0.0.1:7\nCODE=taken\nSENT=3\n",
                "MESSAGE=ready pid=7\nPRIORITY=6\nSYSLOG_IDENTIFIER=crtmpserver\n\
                 TARGET=crtmpserver::telemetry::journal::tests\nPID=7\n",
            ]
        );
        assert_eq!(stderr, "");
        let (entries, stderr) = journalled(false, write);
        assert!(entries.is_empty(), "{entries:?}");
        assert!(stderr.starts_with("<4>publish refused: no "), "{stderr}");
        assert!(stderr.ends_with("\n<6>ready pid=7\n"), "{stderr}");
    }

    #[test]
    fn nobody_forges_a_field() {
        let text = "x\nMESSAGE=logged in\n_UID=0\r\x1b[31m";
        let (entries, _) = journalled(true, || {
            tracing::warn!(code = text, other = %text, third = ?text, "said {text}");
        });
        let [entry] = entries.as_slice() else {
            panic!("{entries:?}")
        };
        let names: Vec<&str> = entry
            .lines()
            .map(|line| line.split('=').next().unwrap())
            .collect();
        assert_eq!(
            names,
            [
                "MESSAGE",
                "PRIORITY",
                "SYSLOG_IDENTIFIER",
                "TARGET",
                "REASON",
                "CODE",
                "OTHER",
                "THIRD"
            ]
        );
        assert!(!entry.contains(['\r', '\x1b']), "{entry:?}");
    }
}
