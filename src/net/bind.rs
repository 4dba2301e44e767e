//! Listening sockets: bound by us, inherited, or exchanged while they serve.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::limits::LISTEN_BACKLOG;
use crate::system::WHO_LISTENS;

/// A socket that could not be made to listen.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {}", reason(.address, .source))]
pub struct BindError {
    /// What was asked for.
    pub address: SocketAddr,
    /// What the system answered.
    pub source: io::Error,
}

impl BindError {
    /// Whether this process may have no socket of this family at all, now or later.
    #[must_use]
    pub fn is_forbidden(&self) -> bool {
        is_forbidden(&self.source)
    }
}

/// The system has no sockets of this family for this process.
fn is_forbidden(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::EAFNOSUPPORT as i32)
}

/// What the system answered, in words that help.
fn reason(address: &SocketAddr, error: &io::Error) -> String {
    if is_forbidden(error) {
        let reason = if address.is_ipv6() && !address.ip().is_unspecified() {
            "this machine has no IPv6, or this service may open no network socket itself"
        } else {
            "this service may open no network socket itself (RestrictAddressFamilies=); enable the unit that passes it one, crtmpserver.socket for listen.rtmp or crtmpserver-http.socket for listen.http, or write [] there"
        };
        return reason.to_owned();
    }
    let hint = match error.kind() {
        io::ErrorKind::AddrInUse => {
            return format!("{error}; another program has this port (see: {WHO_LISTENS})");
        }
        io::ErrorKind::PermissionDenied => {
            "; ports below 1024 need CAP_NET_BIND_SERVICE, or a socket unit"
        }
        io::ErrorKind::AddrNotAvailable => "; this machine does not have that address",
        _ => "",
    };
    format!("{error}{hint}")
}

/// A socket that listens already, but accepts nothing before [`Listener::serve`].
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    /// What was asked for, and whether without IPv4; `None`: another process bound it.
    asked: Option<Asked>,
}

/// An address of a list, and whether it is IPv6 only because another one of the list is its IPv4.
type Asked = (SocketAddr, bool);

/// A listener that serves, as a later list of addresses sees it.
#[derive(Debug)]
pub struct Bound {
    /// For the options of the socket alone.
    socket: TcpListener,
    asked: Option<Asked>,
}

impl Bound {
    /// Whether another process bound it.
    #[must_use]
    pub const fn is_inherited(&self) -> bool {
        self.asked.is_none()
    }
}

/// What a list of addresses asks for beside the listeners that there are.
#[derive(Debug)]
pub struct Rebound {
    /// Which of those there were are in the list, too.
    pub kept: Vec<bool>,
    /// Those that are new. They listen already.
    pub opened: Vec<Listener>,
}

impl Listener {
    /// Binds and listens. `[::]` takes IPv4 too unless `v6_only`; on a machine without IPv6 it is
    /// `0.0.0.0`.
    ///
    /// # Errors
    /// [`BindError`] with the address and the system's reason.
    pub fn bind(address: SocketAddr, v6_only: bool) -> Result<Self, BindError> {
        let made = match Self::try_bind(address, v6_only, false) {
            Err(e)
                if is_forbidden(&e)
                    && address.is_ipv6()
                    && address.ip().is_unspecified()
                    && !v6_only =>
            {
                Self::try_bind((Ipv4Addr::UNSPECIFIED, address.port()).into(), false, false)
            }
            other => other,
        };
        made.map(|listener| Self {
            asked: Some((address, v6_only)),
            ..listener
        })
        .map_err(|source| BindError { address, source })
    }

    /// Binds all, or none: `[::]:P` is IPv6 only where `0.0.0.0:P` is in the list too.
    ///
    /// # Errors
    /// [`BindError`] of the first that failed.
    pub fn bind_all(addresses: &[SocketAddr]) -> Result<Vec<Self>, BindError> {
        Self::rebind(addresses, &[], &[]).map(|all| all.opened)
    }

    /// Binds what the list has and `bound` has not, or nothing. An address may overlap one of `bound`
    /// (`127.0.0.1:P` and `[::]:P`) or of `others`: both listen then until the old one is closed.
    ///
    /// # Errors
    /// As [`Listener::bind_all`].
    pub fn rebind(
        addresses: &[SocketAddr],
        bound: &[&Bound],
        others: &[&Bound],
    ) -> Result<Rebound, BindError> {
        let mut kept = vec![false; bound.len()];
        let mut missing = Vec::new();
        for address in addresses {
            let v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
            let v6_only = address.is_ipv6() && address.port() != 0 && addresses.contains(&v4);
            let asked = (*address, v6_only);
            let same = |(b, kept): &(&&Bound, &mut bool)| !**kept && b.asked == Some(asked);
            match bound.iter().zip(&mut kept).find(same) {
                Some((_, kept)) => *kept = true,
                None => missing.push(asked),
            }
        }
        let shared = Shared([bound, others]);
        let opened: Result<Vec<_>, _> = missing
            .into_iter()
            .map(|(address, v6_only)| match Self::bind(address, v6_only) {
                Err(e) if e.source.kind() == io::ErrorKind::AddrInUse && shared.with(address) => {
                    Self::bind_shared(address, v6_only).map_err(|_| e)
                }
                other => other,
            })
            .collect();
        drop(shared);
        let opened = opened?;
        Ok(Rebound { kept, opened })
    }

    /// What [`Listener::rebind`] wants to know of it later, while it serves.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn bound(&self) -> io::Result<Bound> {
        Ok(Bound {
            socket: self.socket.try_clone()?,
            asked: self.asked,
        })
    }

    /// Takes over a socket that another process bound (systemd's socket activation).
    ///
    /// # Errors
    /// When it is no listening TCP socket.
    pub fn inherit(fd: OwnedFd) -> io::Result<Self> {
        let socket = Socket::from(fd);
        if socket.r#type()? != Type::STREAM || !socket.is_listener()? {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the inherited descriptor is no listening TCP socket",
            ));
        }
        socket.set_cloexec(true)?;
        Self::ready(socket)
    }

    /// The address that it really has: the port is never 0.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Beside a socket of ours that has the port already, and allows it.
    fn bind_shared(address: SocketAddr, v6_only: bool) -> io::Result<Self> {
        let listener = Self::try_bind(address, v6_only, true)?;
        // From now on a second server fails again.
        SockRef::from(&listener.socket).set_reuse_port(false)?;
        Ok(Self {
            asked: Some((address, v6_only)),
            ..listener
        })
    }

    fn try_bind(address: SocketAddr, v6_only: bool, shared: bool) -> io::Result<Self> {
        let domain = Domain::for_address(address);
        let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
        if address.is_ipv6() {
            socket.set_only_v6(v6_only)?;
        }
        // A restart must not wait for old connections to time out. Not SO_REUSEPORT: a second
        // server on the same port shall fail loudly.
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(shared)?;
        socket.bind(&address.into())?;
        socket.listen(LISTEN_BACKLOG)?;
        Self::ready(socket)
    }

    fn ready(socket: Socket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let socket = TcpListener::from(socket);
        let address = socket.local_addr()?;
        Ok(Self {
            socket,
            address,
            asked: None,
        })
    }

    /// The socket alone.
    #[must_use]
    pub fn into_socket(self) -> TcpListener {
        self.socket
    }
}

/// Sockets of ours that let another one of ours have their port, until this is dropped.
struct Shared<'a>([&'a [&'a Bound]; 2]);

impl Shared<'_> {
    /// Whether the port of `address` is ours, and shared from now on.
    fn with(&self, address: SocketAddr) -> bool {
        let ours = self.0.into_iter().flatten().filter(|bound| {
            let port = bound.socket.local_addr().map(|a| a.port());
            bound.asked.is_some() && port.is_ok_and(|port| port == address.port())
        });
        ours.filter(|bound| SockRef::from(&bound.socket).set_reuse_port(true).is_ok())
            .count()
            > 0
    }
}

impl Drop for Shared<'_> {
    fn drop(&mut self) {
        for bound in self.0.into_iter().flatten() {
            // It was allowed to set it: it may take it back.
            let _ = SockRef::from(&bound.socket).set_reuse_port(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn a_port_in_use_is_named() {
        let first = Listener::bind("127.0.0.1:0".parse().unwrap(), false).unwrap();
        let error = Listener::bind(first.address(), false).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(&first.address().to_string()), "{text}");
        assert!(text.contains("another program"), "{text}");
    }

    #[test]
    fn a_service_without_the_network_is_told_what_to_enable() {
        let error = |address: &str| BindError {
            address: address.parse().unwrap(),
            source: io::Error::from_raw_os_error(Errno::EAFNOSUPPORT as i32),
        };
        let everywhere = error("[::]:1935");
        assert!(everywhere.is_forbidden());
        assert!(everywhere.to_string().contains("crtmpserver.socket"));
        assert!(error("[::1]:1935").to_string().contains("no IPv6"));
    }

    #[test]
    fn both_wildcards_can_be_listed() {
        let port = Listener::bind("127.0.0.1:0".parse().unwrap(), false)
            .unwrap()
            .address()
            .port();
        let both = [
            SocketAddr::from(([0, 0, 0, 0], port)),
            format!("[::]:{port}").parse().unwrap(),
        ];
        assert_eq!(Listener::bind_all(&both).unwrap().len(), 2);
    }

    #[test]
    fn only_a_listening_socket_is_inherited() {
        let good = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = good.local_addr().unwrap();
        assert_eq!(Listener::inherit(good.into()).unwrap().address(), address);
        let file = File::open("/dev/null").unwrap();
        assert!(Listener::inherit(file.into()).is_err());
        let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(Listener::inherit(udp.into()).is_err());
    }

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn what_both_lists_have_is_kept_and_what_overlaps_is_opened_beside_it() {
        let listener = Listener::bind(address("0.0.0.0:0"), false).unwrap();
        let port = listener.address().port();
        let list = |texts: &[&str]| -> Vec<SocketAddr> {
            let real = |text: &&str| address(&text.replace("PORT", &port.to_string()));
            texts.iter().map(real).collect()
        };
        let mut wide = listener.bound().unwrap();
        wide.asked = Some((address(&format!("0.0.0.0:{port}")), false));
        let same = Listener::rebind(&list(&["0.0.0.0:PORT"]), &[&wide], &[]).unwrap();
        assert_eq!((same.kept, same.opened.len()), (vec![true], 0));

        // Someone else's port is a failure all the same, and opens nothing.
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let both = [
            list(&["127.0.0.1:PORT"]).remove(0),
            other.local_addr().unwrap(),
        ];
        assert!(Listener::rebind(&both, &[&wide], &[]).is_err());

        let narrow = Listener::rebind(&list(&["127.0.0.1:PORT"]), &[&wide], &[]).unwrap();
        assert_eq!((narrow.kept, narrow.opened.len()), (vec![false], 1));
        let narrow = &narrow.opened[0];
        assert_eq!(narrow.address().port(), port);
        assert!(
            Listener::bind(narrow.address(), false).is_err(),
            "a second server fails as before"
        );
        drop((listener, wide));
        TcpStream::connect(narrow.address()).unwrap();
        assert!(narrow.socket.accept().is_ok(), "the old one is gone");
    }
}
