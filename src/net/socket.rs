//! What is set on every socket that was accepted.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

use crate::limits::{KEEPALIVE_AFTER, KEEPALIVE_INTERVAL, NOTSENT_LOWAT};
use crate::system::{give_up_after, hold_unsent};

/// Prepares an accepted socket: small packets go out at once, the kernel holds at most
/// [`NOTSENT_LOWAT`] unsent bytes, and a peer that vanished is noticed by the kernel within
/// `vanished` when something is under way, and by keepalive when nothing is.
///
/// # Errors
/// Whatever the kernel answers; a socket that refuses these options is not worth keeping.
pub(super) fn prepare(socket: &impl std::os::fd::AsFd, vanished: Duration) -> io::Result<()> {
    hold_unsent(socket, NOTSENT_LOWAT)?;
    give_up_after(socket, vanished)?;
    let socket = SockRef::from(socket);
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(
        &TcpKeepalive::new()
            .with_time(KEEPALIVE_AFTER)
            .with_interval(KEEPALIVE_INTERVAL),
    )
}

/// Closing it from now on forgets what the peer has not taken, and tells it so at once: the kernel would
/// keep those bytes, and their memory, for as long as a peer that takes nothing lets it.
pub(super) fn forget_on_close(socket: &impl std::os::fd::AsFd) {
    // One that is gone already has nothing to forget.
    let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
}

/// The address as people and access lists write it: an IPv4 peer of a dual-stack socket is IPv4.
#[must_use]
pub fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// What one owner of addresses has: an IPv4 address, or the /64 of an IPv6 one.
#[must_use]
pub fn owner(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) & (u128::MAX << 64)).into()),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_options_are_really_set() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (socket, _) = listener.accept().unwrap();
        prepare(&socket, Duration::from_secs(20)).unwrap();
        let socket = SockRef::from(&socket);
        assert!(socket.tcp_nodelay().unwrap());
        #[cfg(target_os = "linux")]
        {
            assert_eq!(socket.tcp_notsent_lowat().unwrap(), NOTSENT_LOWAT);
            let vanished = socket.tcp_user_timeout().unwrap();
            assert_eq!(vanished, Some(Duration::from_secs(20)));
        }
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), KEEPALIVE_AFTER);
    }

    #[test]
    fn an_owner_is_an_address_or_a_64() {
        let owner = |text: &str| owner(text.parse().unwrap()).to_string();
        assert_eq!(owner("192.0.2.7"), "192.0.2.7");
        assert_eq!(owner("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(owner("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(
            canonical("[::ffff:192.0.2.7]:5".parse().unwrap()).to_string(),
            "192.0.2.7:5"
        );
    }
}
