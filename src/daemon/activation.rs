//! Sockets that a service manager bound for this process, told apart by their names (systemd's
//! `FileDescriptorName=`), and without one by their port or family.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;

use socket2::{Domain, SockRef, Type};

use crate::config::{ControlAt, Listen, Loaded};
use crate::net::Listener;
use crate::system::{Passed, PassedError, forget_variables, passed_descriptors};
use crate::telemetry::logging::Escaped;

/// What was inherited. Each list may be empty; whatever is not there, the server binds itself.
#[derive(Debug, Default)]
pub struct Inherited {
    /// `rtmp`
    pub rtmp: Vec<Listener>,
    /// `http`
    pub http: Vec<Listener>,
    /// `control`; not blocking
    pub control: Vec<UnixListener>,
}

/// A socket that was passed and cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ActivationError {
    /// The environment promises what is not there.
    #[error(transparent)]
    Passed(#[from] PassedError),
    /// A name that means nothing here.
    #[error(
        "a socket named \"{}\" was passed, and nothing here has that name; write FileDescriptorName= rtmp, http or control in the [Socket] section of its unit", Escaped(.0)
    )]
    Unknown(String),
    /// A socket without a name, on a port that says nothing.
    #[error(
        "a socket without a name was passed, on {0}, which may be for anything; write FileDescriptorName= rtmp or http in the [Socket] section of its unit"
    )]
    Unnamed(SocketAddr),
    /// TLS is not spoken yet.
    #[error(
        "a socket for {name} was passed, and this version speaks no TLS; `systemctl disable --now {unit}` takes it away"
    )]
    Tls {
        /// The name, or what the port stands for.
        name: &'static str,
        /// The unit that has this name in the packages.
        unit: &'static str,
    },
    /// The wrong kind of socket.
    #[error("the socket passed as {name} is not usable: {source}; its unit needs {wanted}")]
    Kind {
        /// What it was to be.
        name: &'static str,
        /// What is wrong with it.
        source: io::Error,
        /// What would be right.
        wanted: &'static str,
    },
}

/// What a socket is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Rtmp,
    Http,
    Rtmps,
    Https,
    Control,
}

/// Every name there is, and its unit in the packages.
const NAMES: [(Purpose, &str, &str); 5] = [
    (Purpose::Rtmp, "rtmp", "crtmpserver.socket"),
    (Purpose::Http, "http", "crtmpserver-http.socket"),
    (Purpose::Rtmps, "rtmps", "crtmpserver-rtmps.socket"),
    (Purpose::Https, "https", "crtmpserver-https.socket"),
    (Purpose::Control, "control", "crtmpserver-control.socket"),
];

impl Purpose {
    const fn row(self) -> (Self, &'static str, &'static str) {
        let [rtmp, http, rtmps, https, control] = NAMES;
        match self {
            Self::Rtmp => rtmp,
            Self::Http => http,
            Self::Rtmps => rtmps,
            Self::Https => https,
            Self::Control => control,
        }
    }

    fn named(name: &str) -> Option<Self> {
        NAMES.iter().find(|row| row.1 == name).map(|row| row.0)
    }

    /// The configuration knows its ports; the others have a usual meaning.
    fn of_port(port: u16, listen: &Listen) -> Option<Self> {
        let says = |list: &[SocketAddr]| list.iter().any(|a| a.port() == port);
        match port {
            _ if says(&listen.rtmp) => Some(Self::Rtmp),
            _ if says(&listen.http) => Some(Self::Http),
            1935 => Some(Self::Rtmp),
            80 | 8080 => Some(Self::Http),
            443 | 8443 => Some(Self::Https),
            1936 => Some(Self::Rtmps),
            _ => None,
        }
    }
}

/// Whether systemd gave this name because the unit gives none: `unknown`, or the unit's own.
fn says_nothing(name: &str) -> bool {
    name.is_empty() || name == "unknown" || name.ends_with(".socket")
}

impl Inherited {
    /// Takes what was passed to this process; to be called once, before anything else is opened.
    /// `listen` tells ports of sockets that have no name.
    ///
    /// # Errors
    /// [`ActivationError`], for the administrator; nothing stays open then.
    pub fn take(listen: &Listen) -> Result<Self, ActivationError> {
        let passed = passed_descriptors()?;
        forget_variables(&["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"]);
        Self::sort(passed, listen)
    }

    /// What is to be said of a configuration that names other addresses than were inherited; its
    /// defaults are not worth a word.
    #[must_use]
    pub fn overruled(&self, loaded: &Loaded) -> Vec<String> {
        let (listen, said) = (&loaded.settings.listen, loaded.listen_said);
        let of = |name, said: bool, addresses: &[SocketAddr], given: &[Listener]| {
            let given: Vec<SocketAddr> = given.iter().map(Listener::address).collect();
            (said && !given.is_empty())
                .then(|| overruled(name, addresses, &given))
                .flatten()
        };
        let rtmp = of("rtmp", said.rtmp, &listen.rtmp, &self.rtmp);
        let http = of("http", said.http, &listen.http, &self.http);
        let control = match &listen.control {
            ControlAt::Path(path) if !self.control.is_empty() => Some(format!(
                "listen.control says {}, but crtmpserver-control.socket gave its own, and that counts; \
                 to change it: `systemctl edit crtmpserver-control.socket`, lines [Socket] \
                 ListenStream= ListenStream={}, then `systemctl stop crtmpserver.service \
                 crtmpserver-control.socket; systemctl start crtmpserver.service`",
                path.display(),
                path.display()
            )),
            _ => None,
        };
        rtmp.into_iter().chain(http).chain(control).collect()
    }

    fn sort(passed: Vec<Passed>, listen: &Listen) -> Result<Self, ActivationError> {
        let mut all = Self::default();
        for Passed { name, descriptor } in passed {
            let purpose = match Purpose::named(&name) {
                Some(purpose) => purpose,
                None if says_nothing(&name) => guess(&descriptor, listen)?,
                None => return Err(ActivationError::Unknown(name)),
            };
            let (_, name, unit) = purpose.row();
            match purpose {
                Purpose::Rtmp => all.rtmp.push(tcp(descriptor, name)?),
                Purpose::Http => all.http.push(tcp(descriptor, name)?),
                Purpose::Control => all.control.push(unix(descriptor, name)?),
                Purpose::Rtmps | Purpose::Https => {
                    return Err(ActivationError::Tls { name, unit });
                }
            }
        }
        Ok(all)
    }
}

/// What a socket without a name is for.
fn guess(descriptor: &OwnedFd, listen: &Listen) -> Result<Purpose, ActivationError> {
    let wrong = |source| ActivationError::Kind {
        name: "a socket without a name",
        source,
        wanted: "ListenStream=",
    };
    let address = SockRef::from(descriptor).local_addr().map_err(wrong)?;
    if address.is_unix() {
        return Ok(Purpose::Control);
    }
    let address = address
        .as_socket()
        .ok_or_else(|| wrong(io::Error::other("it is of no internet family")))?;
    Purpose::of_port(address.port(), listen).ok_or(ActivationError::Unnamed(address))
}

fn tcp(descriptor: OwnedFd, name: &'static str) -> Result<Listener, ActivationError> {
    Listener::inherit(descriptor).map_err(|source| ActivationError::Kind {
        name,
        source,
        wanted: "ListenStream= with a port, and Accept=no",
    })
}

fn unix(descriptor: OwnedFd, name: &'static str) -> Result<UnixListener, ActivationError> {
    let check = || -> io::Result<()> {
        let socket = SockRef::from(&descriptor);
        let good = socket.local_addr()?.domain() == Domain::UNIX
            && socket.r#type()? == Type::STREAM
            && socket.is_listener()?;
        if !good {
            return Err(io::Error::other("it is no listening unix stream socket"));
        }
        socket.set_nonblocking(true)
    };
    match check() {
        Ok(()) => Ok(UnixListener::from(descriptor)),
        Err(source) => Err(ActivationError::Kind {
            name,
            source,
            wanted: "ListenStream= with a path, and Accept=no",
        }),
    }
}

/// One warning for each protocol whose inherited sockets are others than the configuration says, with
/// what to type to change them.
fn overruled(name: &'static str, said: &[SocketAddr], given: &[SocketAddr]) -> Option<String> {
    let same = said.len() == given.len() && said.iter().all(|a| given.contains(a));
    if same {
        return None;
    }
    let unit = Purpose::named(name)?.row().2;
    let list = |addresses: &[SocketAddr]| {
        let words: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        if words.is_empty() {
            "nothing".to_owned()
        } else {
            words.join(", ")
        }
    };
    let lines: String = said
        .iter()
        .map(|address| format!(" ListenStream={}", stream(*address)))
        .collect();
    let change = if said.is_empty() {
        format!("`systemctl disable --now {unit}` takes them away")
    } else {
        format!(
            "to change them: `systemctl edit {unit}`, lines [Socket] ListenStream={lines}, then `systemctl stop crtmpserver.service {unit}; systemctl start crtmpserver.service`"
        )
    };
    Some(format!(
        "listen.{name} says {}, but {unit} gave {}, and that counts; {change}",
        list(said),
        list(given)
    ))
}

/// An address as `ListenStream=` has it; a bare port is `[::]` and IPv4 too.
fn stream(address: SocketAddr) -> String {
    if address.is_ipv6() && address.ip().is_unspecified() {
        address.port().to_string()
    } else {
        address.to_string()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    fn listen(rtmp: &[&str], http: &[&str]) -> Listen {
        let parse = |list: &[&str]| list.iter().map(|a| a.parse().unwrap()).collect();
        Listen {
            rtmp: parse(rtmp),
            http: parse(http),
            control: ControlAt::Off,
        }
    }

    fn passed(name: &str, descriptor: impl Into<OwnedFd>) -> Passed {
        Passed {
            name: name.into(),
            descriptor: descriptor.into(),
        }
    }

    fn any() -> TcpListener {
        TcpListener::bind("127.0.0.1:0").unwrap()
    }

    fn control() -> (tempfile::TempDir, UnixListener) {
        let dir = tempfile::tempdir().unwrap();
        let socket = UnixListener::bind(dir.path().join("control.sock")).unwrap();
        (dir, socket)
    }

    #[test]
    fn names_tell_what_a_socket_is_for_whatever_its_port() {
        let (_dir, socket) = control();
        let inherited = Inherited::sort(
            vec![
                passed("http", any()),
                passed("rtmp", any()),
                passed("control", socket),
                passed("rtmp", any()),
            ],
            &listen(&[], &[]),
        )
        .unwrap();
        let counts = (
            inherited.rtmp.len(),
            inherited.http.len(),
            inherited.control.len(),
        );
        assert_eq!(counts, (2, 1, 1));
    }

    #[test]
    fn without_a_name_the_port_tells_and_the_configuration_knows_ports() {
        let of = |port| Purpose::of_port(port, &listen(&["[::]:443"], &["[::]:7777"]));
        for (port, purpose) in [
            (1935, Some(Purpose::Rtmp)),
            (443, Some(Purpose::Rtmp)),
            (7777, Some(Purpose::Http)),
            (80, Some(Purpose::Http)),
            (8080, Some(Purpose::Http)),
            (8443, Some(Purpose::Https)),
            (4711, None),
        ] {
            assert_eq!(of(port), purpose, "{port}");
        }
        let socket = any();
        let address = socket.local_addr().unwrap().to_string();
        let (_dir, unix) = control();
        let inherited = Inherited::sort(
            vec![passed("unknown", socket), passed("mine.socket", unix)],
            &listen(&[], &[&address]),
        )
        .unwrap();
        assert_eq!((inherited.http.len(), inherited.control.len()), (1, 1));
        let told = Inherited::sort(vec![passed("unknown", any())], &listen(&[], &[]));
        assert!(matches!(told, Err(ActivationError::Unnamed(_))));
    }

    #[test]
    fn what_cannot_be_used_is_told_with_what_would_be_right() {
        let nothing = listen(&[], &[]);
        let told = |passed| {
            Inherited::sort(vec![passed], &nothing)
                .unwrap_err()
                .to_string()
        };
        let text = told(passed("rtpm\n", any()));
        assert!(
            text.contains(r"rtpm\x0a") && text.contains("rtmp, http or control"),
            "{text}"
        );
        let text = told(passed("https", any()));
        assert!(
            text.contains("disable --now crtmpserver-https.socket"),
            "{text}"
        );
        let udp = || UdpSocket::bind("127.0.0.1:0").unwrap();
        for name in ["rtmp", "http", "control"] {
            let text = told(passed(name, udp()));
            assert!(text.contains("ListenStream="), "{text}");
        }
        let (_dir, unix) = control();
        let text = told(passed("rtmp", unix));
        assert!(text.contains("passed as rtmp"), "{text}");
        let text = told(passed("control", any()));
        assert!(text.contains("with a path"), "{text}");
    }

    #[test]
    fn sockets_that_overrule_the_configuration_are_told_with_the_way_to_change_them() {
        let all = |list: &[&str]| -> Vec<SocketAddr> {
            list.iter().map(|a| a.parse().unwrap()).collect()
        };
        let given = all(&["[::]:1935"]);
        assert_eq!(overruled("rtmp", &given, &given), None);
        let text = overruled("rtmp", &all(&["[::]:1936", "10.0.0.1:443"]), &given).unwrap();
        assert!(
            text.contains("`systemctl edit crtmpserver.socket`, lines [Socket] ListenStream= ListenStream=1936 ListenStream=10.0.0.1:443,"),
            "{text}"
        );
        let text = overruled("http", &[], &given).unwrap();
        assert!(
            text.contains("disable --now crtmpserver-http.socket"),
            "{text}"
        );
    }
}
