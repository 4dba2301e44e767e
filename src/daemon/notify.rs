//! What is told to the service manager: the protocol of `sd_notify(3)`, one datagram for each event.
//!
//! Nothing here waits: a service manager that reads slowly must not hold up a stream. What could not be
//! sent is sent before the next event.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::limits::MAX_NOTICES;
use crate::system::{forget_variables, local_address, monotonic_us};

/// How long what fails at the start waits before it ends.
const HOLD: Duration = Duration::from_secs(3);

/// Tells the service manager, if there is one, how this process is doing. Clones tell the same one.
#[derive(Debug, Clone, Default)]
pub struct Notifier {
    /// `None`: nobody listens.
    told: Option<Arc<Told>>,
    watchdog: Option<Duration>,
}

#[derive(Debug)]
struct Told {
    socket: UnixDatagram,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The last status.
    status: String,
    /// Since then each status begins with this word.
    stopping: bool,
    /// What the socket did not take yet.
    owed: VecDeque<String>,
}

impl Notifier {
    /// The service manager of the environment, which is emptied of it, and why it cannot be reached.
    #[must_use]
    pub fn from_environment() -> (Self, Option<String>) {
        let variable = |name| std::env::var_os(name);
        let watchdog = watchdog(
            variable("WATCHDOG_USEC").as_deref(),
            variable("WATCHDOG_PID").as_deref(),
        );
        let socket = variable("NOTIFY_SOCKET");
        forget_variables(&["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"]);
        let Some(socket) = socket else {
            return (Self::default(), None);
        };
        match Self::to(&socket, watchdog) {
            Ok(notifier) => (notifier, None),
            Err(error) => {
                let socket = Path::new(&socket).display();
                let why = format!("the service manager at {socket} cannot be reached: {error}");
                (Self::default(), Some(why))
            }
        }
    }

    /// The one that listens at `socket`, a path or, with `@` in front, an abstract name; it wants to
    /// hear from the watchdog within `watchdog`.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn to(socket: &OsStr, watchdog: Option<Duration>) -> io::Result<Self> {
        let address = local_address(socket)?;
        let socket = UnixDatagram::unbound()?;
        socket.connect_addr(&address)?;
        socket.set_nonblocking(true)?;
        Ok(Self {
            told: Some(Arc::new(Told {
                socket,
                state: Mutex::default(),
            })),
            watchdog,
        })
    }

    /// How long the service manager waits for [`Notifier::alive`] before it ends this process; `None`
    /// when it does not.
    #[must_use]
    pub const fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// Everything is served; also the end of [`Notifier::reloading`], whether that worked or not.
    pub fn ready(&self) {
        self.tell(|state| (!state.stopping).then(|| "READY=1".to_owned()));
    }

    /// The configuration is being read again; [`Notifier::ready`] must follow.
    pub fn reloading(&self) {
        self.tell(|state| {
            let text = || format!("RELOADING=1\nMONOTONIC_USEC={}", monotonic_us());
            (!state.stopping).then(text)
        });
    }

    /// The end has begun and may take this long. Whatever the status says from now on, it says that
    /// too.
    pub fn stopping(&self, within: Duration) {
        self.tell(|state| {
            state.stopping = true;
            state.status.clear();
            Some(format!(
                "STOPPING=1\nSTATUS=stopping\nEXTEND_TIMEOUT_USEC={}",
                within.as_micros()
            ))
        });
    }

    /// One line that tells people how things stand; told when it is another than before.
    pub fn status(&self, line: &str) {
        self.tell(|state| {
            if state.status == line {
                return None;
            }
            line.clone_into(&mut state.status);
            let prefix = if state.stopping { "stopping; " } else { "" };
            Some(format!("STATUS={prefix}{}", one_line(line)))
        });
    }

    /// All that must make progress has made progress.
    pub fn alive(&self) {
        self.tell(|_| Some("WATCHDOG=1".to_owned()));
    }

    /// The process ends because of this; `errno` when the system had a number for it.
    pub fn failed(&self, why: &str, errno: Option<i32>) {
        self.tell(|_| {
            let mut text = format!("STATUS={}", one_line(why));
            if let Some(errno) = errno {
                text.push_str(&format!("\nERRNO={errno}"));
            }
            Some(text)
        });
    }

    /// A service manager tries again and again. What fails at the start holds on for a moment first, so
    /// that this is no tight loop, its journal stays readable and what was said is there to be read.
    #[expect(
        clippy::disallowed_methods,
        reason = "the process ends here; there is nothing else to do, and SIGTERM still ends it"
    )]
    pub fn hold(&self) {
        if self.told.is_some() {
            std::thread::sleep(HOLD);
        }
    }

    fn tell(&self, make: impl FnOnce(&mut State) -> Option<String>) {
        let Some(told) = &self.told else { return };
        let mut state = told.lock();
        let Some(text) = make(&mut state) else { return };
        if state.owed.len() >= MAX_NOTICES {
            state.owed.pop_front();
        }
        state.owed.push_back(text);
        while let Some(text) = state.owed.front() {
            match told.socket.send(text.as_bytes()) {
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                // Nobody is there, or it is refused for good: nothing would be won by keeping it.
                Err(_) => {}
            }
            state.owed.pop_front();
        }
    }
}

impl Told {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An end of line would begin another assignment.
fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

/// The time within which the watchdog wants to be fed; `None` when it means another process.
fn watchdog(usec: Option<&OsStr>, pid: Option<&OsStr>) -> Option<Duration> {
    let number = |value: &OsStr| value.to_str()?.parse::<u64>().ok();
    let own = u64::from(std::process::id());
    if pid.is_some_and(|pid| number(pid) != Some(own)) {
        return None;
    }
    number(usec?).filter(|n| *n > 0).map(Duration::from_micros)
}

/// A place where a test listens in the service manager's stead.
#[cfg(test)]
pub(super) mod listening {
    use std::ffi::OsString;

    use super::*;

    pub(in crate::daemon) struct Manager {
        socket: UnixDatagram,
        dir: tempfile::TempDir,
    }

    impl Manager {
        pub(in crate::daemon) fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let socket = UnixDatagram::bind(dir.path().join("notify")).unwrap();
            socket.set_nonblocking(true).unwrap();
            Self { socket, dir }
        }

        pub(in crate::daemon) fn path(&self) -> OsString {
            self.dir.path().join("notify").into_os_string()
        }

        pub(in crate::daemon) fn notifier(&self, watchdog: Option<Duration>) -> Notifier {
            Notifier::to(&self.path(), watchdog).unwrap()
        }

        /// The datagrams so far.
        pub(in crate::daemon) fn heard(&self) -> Vec<String> {
            let mut all = Vec::new();
            let mut buffer = [0; 4096];
            while let Ok(n) = self.socket.recv(&mut buffer) {
                all.push(String::from_utf8(buffer[..n].to_vec()).unwrap());
            }
            all
        }
    }
}

#[cfg(test)]
mod tests {
    use super::listening::Manager;
    use super::*;

    #[test]
    fn each_event_is_one_datagram() {
        let manager = Manager::new();
        let notifier = manager.notifier(None);
        notifier.status("standalone: 0 streams");
        notifier.status("standalone: 0 streams");
        notifier.ready();
        notifier.clone().alive();
        notifier.failed("a\nREADY=1", Some(98));
        notifier.stopping(Duration::from_secs(7));
        notifier.status("3 viewers");
        notifier.ready();
        notifier.reloading();
        assert_eq!(
            manager.heard(),
            [
                "STATUS=standalone: 0 streams",
                "READY=1",
                "WATCHDOG=1",
                "STATUS=a READY=1\nERRNO=98",
                "STOPPING=1\nSTATUS=stopping\nEXTEND_TIMEOUT_USEC=7000000",
                "STATUS=stopping; 3 viewers",
            ]
        );
    }

    #[test]
    fn a_reload_tells_its_time() {
        let manager = Manager::new();
        let before = monotonic_us();
        manager.notifier(None).reloading();
        let heard = manager.heard();
        let [text] = heard.as_slice() else {
            panic!("{heard:?}")
        };
        let time = text.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        let time: u64 = time.parse().unwrap();
        assert!(before <= time && time <= monotonic_us());
    }

    #[test]
    fn a_service_manager_that_reads_slowly_holds_nothing_up_and_misses_no_event() {
        let manager = Manager::new();
        let notifier = manager.notifier(None);
        // Until its queue is full, and beyond.
        for n in 0..10_000 {
            notifier.status(&n.to_string());
        }
        let full = manager.heard().len();
        assert!(full < 10_000, "the queue had no end: {full}");
        notifier.ready();
        let heard = manager.heard();
        assert_eq!(heard.last().unwrap(), "READY=1");
        assert_eq!(heard.len(), MAX_NOTICES);
        assert_eq!(heard[MAX_NOTICES - 2], "STATUS=9999");
    }

    #[test]
    fn nobody_there_is_no_trouble() {
        let manager = Manager::new();
        let notifier = manager.notifier(None);
        let path = manager.path();
        drop(manager);
        notifier.ready();
        Notifier::default().ready();
        assert!(Notifier::to(&path, None).is_err());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn abstract_names_are_reached() {
        let name = format!("crtmpserver-notify-{}", std::process::id());
        let address = local_address(OsStr::new(&format!("@{name}"))).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        let notifier = Notifier::to(OsStr::new(&format!("@{name}")), None).unwrap();
        notifier.ready();
        let mut buffer = [0; 16];
        assert_eq!(socket.recv(&mut buffer).unwrap(), 7);
    }

    #[test]
    fn a_watchdog_for_another_process_is_none() {
        let own = std::process::id().to_string();
        let of = |usec: &str, pid: &str| watchdog(Some(OsStr::new(usec)), Some(OsStr::new(pid)));
        let second = Some(Duration::from_secs(1));
        assert_eq!(of("1000000", &own), second);
        assert_eq!(watchdog(Some(OsStr::new("1000000")), None), second);
        assert_eq!(of("1000000", "1"), None);
        assert_eq!(of("0", &own), None);
        assert_eq!(of("soon", &own), None);
        assert_eq!(watchdog(None, None), None);
    }
}
