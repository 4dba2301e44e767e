//! Sockets that a service manager bound for this process, told apart by their names (systemd's
//! `FileDescriptorName=`), and without one by their port or family.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;

use socket2::{Domain, SockRef, Type};

use super::stack::Stack;
use crate::config::{ControlAt, Listen, Loaded, Settings, Tls};
use crate::net::Listener;
use crate::system::{Passed, PassedError, forget_variables, passed_descriptors};
use crate::telemetry::logging::Escaped;

/// What was inherited. Each list may be empty; whatever is not there, the server binds itself.
#[derive(Debug, Default)]
pub struct Inherited {
    /// `rtmp`, `http`, `rtmps` and `https`
    pub listeners: Vec<(Stack, Listener)>,
    /// `liveflv`, `ts`, `rtsp`: for the tables of these names
    pub ways: Vec<(&'static str, Listener)>,
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
        "a socket named \"{}\" was passed, and nothing here has that name; write FileDescriptorName= rtmp, http, rtmps, https or control, or liveflv, ts or rtsp for a listener of these tables, in the [Socket] section of its unit", Escaped(.0)
    )]
    Unknown(String),
    /// A socket without a name, on a port that says nothing.
    #[error(
        "a socket without a name was passed, on {0}, which may be for anything; write FileDescriptorName= rtmp, http, rtmps or https in the [Socket] section of its unit"
    )]
    Unnamed(SocketAddr),
    /// There is no table for it.
    #[error(
        "a socket named {name} was passed, on {address}, and no [[listen.{name}]] of the configuration has that port; write one, or take the socket away"
    )]
    NoWay {
        /// Its name.
        name: &'static str,
        /// Where it listens.
        address: SocketAddr,
    },
    /// There is no certificate for it.
    #[error(
        "a socket for {name} was passed, and there is no certificate; name its file with tls.certificate, and that of its key with tls.key, or take the socket away: `systemctl disable --now {unit}`"
    )]
    NoCertificate {
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
    Serve(Stack),
    Way(&'static str),
    Control,
}

/// Names of sockets for the tables of [`crate::config::Way`]; an administrator writes their units.
const WAYS: [&str; 3] = ["liveflv", "ts", "rtsp"];

/// Every purpose, and its unit in the packages.
const UNITS: [(Purpose, &str); 5] = [
    (Purpose::Serve(Stack::Rtmp), "crtmpserver.socket"),
    (Purpose::Serve(Stack::Http), "crtmpserver-http.socket"),
    (Purpose::Serve(Stack::Rtmps), "crtmpserver-rtmps.socket"),
    (Purpose::Serve(Stack::Https), "crtmpserver-https.socket"),
    (Purpose::Control, "crtmpserver-control.socket"),
];

impl Purpose {
    const fn name(self) -> &'static str {
        match self {
            Self::Serve(stack) => stack.name(),
            Self::Way(name) => name,
            Self::Control => "control",
        }
    }

    fn unit(self) -> &'static str {
        let row = UNITS.iter().find(|row| row.0 == self);
        row.map_or("crtmpserver.socket", |row| row.1)
    }

    fn named(name: &str) -> Option<Self> {
        let ways = WAYS.into_iter().map(Self::Way);
        let mut all = UNITS.iter().map(|row| row.0).chain(ways);
        all.find(|purpose| purpose.name() == name)
    }

    /// The configuration knows its ports; the others have a usual meaning.
    fn of_port(port: u16, listen: &Listen) -> Option<Self> {
        let says = |stack: &Stack| stack.of(listen).iter().any(|a| a.port() == port);
        let usual = match port {
            1935 => Some(Stack::Rtmp),
            80 | 8080 => Some(Stack::Http),
            443 | 8443 => Some(Stack::Https),
            1936 => Some(Stack::Rtmps),
            _ => None,
        };
        let said = Stack::ALL.into_iter().find(says);
        said.or(usual).map(Self::Serve)
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
        let serving = Stack::ALL.into_iter().filter_map(|stack| {
            let given: Vec<SocketAddr> = self.of(stack).map(Listener::address).collect();
            (stack.is_said(said) && !given.is_empty())
                .then(|| overruled(stack, stack.of(listen), &given))
                .flatten()
        });
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
        serving.chain(control).collect()
    }

    /// What is to be said of the certificate when HTTPS is on a socket of which the configuration knows
    /// nothing.
    #[must_use]
    pub fn refused_by_browsers(&self, settings: &Settings) -> Option<String> {
        let unknown = settings.listen.https.is_empty() && self.of(Stack::Https).next().is_some();
        // One that cannot be read ends the start by itself.
        let read = unknown.then(|| settings.certificate().ok()).flatten();
        let (certificate, _) = read.flatten()?;
        settings.refused_by_browsers(&certificate)
    }

    fn of(&self, stack: Stack) -> impl Iterator<Item = &Listener> {
        let all = self.listeners.iter();
        all.filter(move |(of, _)| *of == stack).map(|(_, l)| l)
    }

    /// That there is a certificate for what needs one.
    ///
    /// # Errors
    /// [`ActivationError::NoCertificate`].
    pub fn check(&self, tls: &Tls) -> Result<(), ActivationError> {
        let needs = self.listeners.iter().find(|(stack, _)| stack.is_tls());
        match needs {
            Some((stack, _)) if tls.certificate.is_none() => Err(ActivationError::NoCertificate {
                name: stack.name(),
                unit: Purpose::Serve(*stack).unit(),
            }),
            _ => Ok(()),
        }
    }

    fn sort(passed: Vec<Passed>, listen: &Listen) -> Result<Self, ActivationError> {
        let mut all = Self::default();
        for Passed { name, descriptor } in passed {
            let purpose = match Purpose::named(&name) {
                Some(purpose) => purpose,
                None if says_nothing(&name) => guess(&descriptor, listen)?,
                None => return Err(ActivationError::Unknown(name)),
            };
            let name = purpose.name();
            match purpose {
                Purpose::Serve(stack) => all.listeners.push((stack, tcp(descriptor, name)?)),
                Purpose::Way(name) => all.ways.push((name, tcp(descriptor, name)?)),
                Purpose::Control => all.control.push(unix(descriptor, name)?),
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
fn overruled(stack: Stack, said: &[SocketAddr], given: &[SocketAddr]) -> Option<String> {
    let same = said.len() == given.len() && said.iter().all(|a| given.contains(a));
    if same {
        return None;
    }
    let unit = Purpose::Serve(stack).unit();
    let name = stack.name();
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
    use crate::config::Role;

    fn listen(rtmp: &[&str], http: &[&str]) -> Listen {
        let parse = |list: &[&str]| list.iter().map(|a| a.parse().unwrap()).collect();
        Listen {
            rtmp: parse(rtmp),
            http: parse(http),
            rtmps: Vec::new(),
            https: Vec::new(),
            control: ControlAt::Off,
            cli: Vec::new(),
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
                passed("https", any()),
                passed("control", socket),
                passed("rtmp", any()),
            ],
            &listen(&[], &[]),
        )
        .unwrap();
        let count = |stack| inherited.of(stack).count();
        let counts = (count(Stack::Rtmp), count(Stack::Http), count(Stack::Https));
        assert_eq!(counts, (2, 1, 1));
        assert_eq!(inherited.control.len(), 1);
        let tls = |certificate: Option<&str>| Tls {
            certificate: certificate.map(Into::into),
            key: None,
        };
        assert!(inherited.check(&tls(Some("c.pem"))).is_ok());
        let told = inherited.check(&tls(None)).unwrap_err().to_string();
        assert!(
            told.contains("disable --now crtmpserver-https.socket")
                && told.contains("tls.certificate"),
            "{told}"
        );
    }

    #[test]
    fn a_passed_socket_for_https_has_its_certificate_looked_at() {
        let tls = |name: &str| format!("{}/tests/tls/{name}", env!("CARGO_MANIFEST_DIR"));
        let mut settings = Settings::for_role(Role::Mirror);
        settings.tls.certificate = Some(tls("other.pem").into());
        settings.tls.key = Some(tls("other.key").into());
        settings.cluster.host = "mirror-1.example.org".into();
        let said = |name: &str, settings: &Settings| {
            let passed = vec![passed(name, any())];
            let inherited = Inherited::sort(passed, &settings.listen).unwrap();
            inherited.refused_by_browsers(settings)
        };
        let warning = said("https", &settings).unwrap();
        assert!(warning.contains("mirror-1.example.org"), "{warning}");
        assert_eq!(said("rtmps", &settings), None);
        // What the configuration knows of was looked at with it.
        settings.listen.https = vec![any().local_addr().unwrap()];
        assert_eq!(said("https", &settings), None);
    }

    #[test]
    fn without_a_name_the_port_tells_and_the_configuration_knows_ports() {
        let of = |port| Purpose::of_port(port, &listen(&["[::]:443"], &["[::]:7777"]));
        for (port, purpose) in [
            (1935, Some(Stack::Rtmp)),
            (443, Some(Stack::Rtmp)),
            (7777, Some(Stack::Http)),
            (80, Some(Stack::Http)),
            (8080, Some(Stack::Http)),
            (8443, Some(Stack::Https)),
            (4711, None),
        ] {
            assert_eq!(of(port), purpose.map(Purpose::Serve), "{port}");
        }
        let socket = any();
        let address = socket.local_addr().unwrap().to_string();
        let (_dir, unix) = control();
        let inherited = Inherited::sort(
            vec![passed("unknown", socket), passed("mine.socket", unix)],
            &listen(&[], &[&address]),
        )
        .unwrap();
        let http = inherited.of(Stack::Http).count();
        assert_eq!((http, inherited.control.len()), (1, 1));
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
            text.contains(r"rtpm\x0a")
                && text.contains("rtmp, http, rtmps, https or control, or liveflv"),
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
        assert_eq!(overruled(Stack::Rtmp, &given, &given), None);
        let text = overruled(Stack::Rtmp, &all(&["[::]:1936", "10.0.0.1:443"]), &given).unwrap();
        assert!(
            text.contains("`systemctl edit crtmpserver.socket`, lines [Socket] ListenStream= ListenStream=1936 ListenStream=10.0.0.1:443,"),
            "{text}"
        );
        let text = overruled(Stack::Http, &[], &given).unwrap();
        assert!(
            text.contains("disable --now crtmpserver-http.socket"),
            "{text}"
        );
    }
}
