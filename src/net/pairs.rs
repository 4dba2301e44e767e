//! Ports beside each other, for RTP and its reports (RFC 3550 section 11).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll};

use tokio::io::ReadBuf;
use tokio::net::UdpSocket;

use crate::limits::DATAGRAM_BUFFER;

/// Pairs that are tried.
const TRIES: usize = 16;

/// Two sockets whose ports are beside each other, the first of them even.
#[derive(Debug)]
pub struct Pair {
    sockets: [UdpSocket; 2],
    ports: [u16; 2],
}

impl Pair {
    /// Two of this address that nobody has.
    ///
    /// # Errors
    /// The system's reason; there may be no two beside each other.
    pub fn open(ip: IpAddr) -> io::Result<Self> {
        let bind = |port: u16| {
            let socket = std::net::UdpSocket::bind(SocketAddr::new(ip, port))?;
            socket.set_nonblocking(true)?;
            // What the system does not give costs datagrams when the machine is busy, and nothing else.
            let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(DATAGRAM_BUFFER);
            Ok::<_, io::Error>(socket)
        };
        let mut last = io::Error::other("no port is free");
        for _ in 0..TRIES {
            let first = bind(0)?;
            let port = first.local_addr()?.port();
            match bind(port ^ 1) {
                Ok(second) => {
                    let (rtp, rtcp) = if port.is_multiple_of(2) {
                        (first, second)
                    } else {
                        (second, first)
                    };
                    return Ok(Self {
                        sockets: [UdpSocket::from_std(rtp)?, UdpSocket::from_std(rtcp)?],
                        ports: [port & !1, port | 1],
                    });
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Of RTP, and of its reports.
    #[must_use]
    pub const fn ports(&self) -> [u16; 2] {
        self.ports
    }

    /// Sends a datagram, if that can be done at once.
    pub fn send(&self, rtcp: bool, bytes: &[u8], to: SocketAddr) {
        let [first, second] = &self.sockets;
        let socket = if rtcp { second } else { first };
        // One that is lost here is as good as one that is lost on its way.
        let _ = socket.try_send_to(bytes, to);
    }
}

/// A datagram that came.
#[derive(Debug, Clone, Copy)]
pub struct Came {
    /// The place of its pair.
    pub pair: usize,
    /// It came to the second port.
    pub rtcp: bool,
    /// Its bytes in the buffer.
    pub size: usize,
    /// Its sender.
    pub from: SocketAddr,
}

/// The next datagram of any of them, put into `buffer`.
pub fn poll_pairs<'a>(
    pairs: impl IntoIterator<Item = &'a Pair>,
    buffer: &mut [u8],
    cx: &mut Context<'_>,
) -> Poll<Came> {
    for (pair, sockets) in pairs.into_iter().enumerate() {
        for (socket, rtcp) in sockets.sockets.iter().zip([false, true]) {
            let mut room = ReadBuf::new(buffer);
            // An error is about one datagram that nobody will see.
            if let Poll::Ready(Ok(from)) = socket.poll_recv_from(cx, &mut room) {
                return Poll::Ready(Came {
                    pair,
                    rtcp,
                    size: room.filled().len(),
                    from,
                });
            }
        }
    }
    Poll::Pending
}
