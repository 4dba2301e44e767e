//! Drives [`crate::rtmp`] client machines over sockets: a mirror's pulls, the demo's encoder.

mod backoff;
mod complaint;

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use tokio::net::TcpStream;
use tokio::task::yield_now;
use tokio::time::{sleep_until, timeout};

use crate::rtmp::client::{Client, ClientConfig, Event, Output};
use crate::rtmp::session::reason::CloseReason;
use crate::system::give_up_after;
use crate::transport::{Connector, Socket, explain};

pub use backoff::Backoff;
pub use complaint::Complaint;

/// Resolving and connecting together.
const DIAL_TIMEOUT: Duration = Duration::from_secs(5);
/// A server whose kernel acknowledges nothing for this long is gone.
const VANISHED: Duration = Duration::from_secs(8);
/// What one read takes at most.
const READ_BUFFER: usize = 64 * 1024;
/// Unsent bytes above which nothing more is read: a server that only sends requests and reads no
/// answers must not grow this queue.
const MAX_UNSENT: usize = 4 << 20;
/// How long the last words may take.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// Why there is no connection, or none any more.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    /// The host has no address, or nobody answers there.
    #[error("cannot connect to {address}: {source}")]
    Dial {
        /// `host:port`
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// The connection is there, but TLS is not.
    #[error("no TLS with {address}: {}", explain(.source))]
    Tls {
        /// `host:port`
        address: String,
        /// What is wrong.
        source: io::Error,
    },
    /// The machine ended it.
    #[error("{0}")]
    Closed(CloseReason),
    /// The server closed the connection.
    #[error("the server closed the connection")]
    Eof,
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Socket(#[from] io::Error),
    /// The system gives no random bytes.
    #[error("the system gives no random bytes: {0}")]
    Random(#[from] getrandom::Error),
}

/// Connects to `host:port`, in TLS when there is a `connector`.
///
/// # Errors
/// [`Ended::Dial`], [`Ended::Tls`].
pub async fn dial(address: &str, connector: Option<&Connector>) -> Result<Socket, Ended> {
    let failed = |source| Ended::Dial {
        address: address.to_owned(),
        source,
    };
    let socket = match timeout(DIAL_TIMEOUT, TcpStream::connect(address)).await {
        Ok(connected) => connected.map_err(failed)?,
        Err(_) => return Err(failed(io::ErrorKind::TimedOut.into())),
    };
    socket.set_nodelay(true)?;
    // Best effort: the machine's pings find a dead server, too.
    let _ = give_up_after(&socket, VANISHED);
    Ok(match connector {
        None => socket.into(),
        Some(connector) => {
            let failed = |source| Ended::Tls {
                address: address.to_owned(),
                source,
            };
            let made = connector.connect(socket, host(address));
            match timeout(DIAL_TIMEOUT, made).await {
                Ok(made) => made.map_err(failed)?,
                Err(_) => return Err(failed(io::ErrorKind::TimedOut.into())),
            }
        }
    })
}

fn is_of_link(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

/// One connection to a server.
pub struct Session {
    socket: Socket,
    machine: Client,
    unsent: VecDeque<Bytes>,
    unsent_bytes: usize,
    /// Bytes that the server's socket took.
    sent: u64,
    buffer: Box<[u8]>,
    /// There may be more to read, but it is the turn of the thread's other tasks.
    pause: bool,
    /// Something waits for the socket.
    held: bool,
}

impl Session {
    /// Connects to `host:port` and starts the machine. The first [`Session::next`] does the rest.
    ///
    /// # Errors
    /// [`Ended::Dial`].
    pub async fn dial(address: &str, config: ClientConfig) -> Result<Self, Ended> {
        Self::dial_with(address, None, config).await
    }

    /// The same in TLS (RTMPS), when there is a `connector`.
    ///
    /// # Errors
    /// [`Ended::Dial`], [`Ended::Tls`].
    pub async fn dial_with(
        address: &str,
        connector: Option<&Connector>,
        config: ClientConfig,
    ) -> Result<Self, Ended> {
        let socket = dial(address, connector).await?;
        Ok(Self {
            socket,
            machine: Client::new(config, Instant::now()),
            unsent: VecDeque::new(),
            unsent_bytes: 0,
            sent: 0,
            buffer: vec![0; READ_BUFFER].into_boxed_slice(),
            pause: false,
            held: false,
        })
    }

    /// The machine, for orders; what they make it write goes out in the next [`Session::next`].
    pub const fn machine(&mut self) -> &mut Client {
        &mut self.machine
    }

    /// This end of the connection.
    #[must_use]
    pub fn local_ip(&self) -> Option<IpAddr> {
        self.socket.local_addr().ok().map(|address| address.ip())
    }

    /// Whether this end has an address of its link alone, though the server has not: a machine that has just
    /// begun has no other one yet.
    #[must_use]
    pub fn is_early(&self) -> bool {
        let ends = (self.socket.local_addr(), self.socket.peer_addr());
        matches!(ends, (Ok(own), Ok(peer)) if is_of_link(own.ip()) && !is_of_link(peer.ip()))
    }

    /// Whether the system would take another address by now than one of the link.
    #[must_use]
    pub fn could_be_better(&self) -> bool {
        let look = || {
            let peer = self.socket.peer_addr()?;
            let any: IpAddr = match peer {
                SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
                SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
            };
            // Nothing is sent: the system chooses an address when it hears of the peer.
            let socket = UdpSocket::bind((any, 0))?;
            socket.connect(peer)?;
            socket.local_addr()
        };
        look().is_ok_and(|own: SocketAddr| !is_of_link(own.ip()))
    }

    /// Bytes that the server has yet to take.
    #[must_use]
    pub fn unsent(&self) -> usize {
        self.unsent_bytes.saturating_add(self.machine.queued())
    }

    /// Bytes that the server's system has taken so far.
    #[must_use]
    pub const fn sent(&self) -> u64 {
        self.sent
    }

    /// What happens next. May be dropped and called again at any time without losing anything.
    ///
    /// # Errors
    /// [`Ended`]; the session is of no use after it.
    pub async fn next(&mut self) -> Result<Event, Ended> {
        loop {
            while let Some(output) = self.machine.poll() {
                match output {
                    Output::Write(bytes) => {
                        self.unsent_bytes = self.unsent_bytes.saturating_add(bytes.len());
                        self.unsent.push_back(bytes);
                    }
                    Output::Event(event) => return Ok(event),
                    Output::Close(reason) => {
                        let _ = timeout(LAST_WORDS, self.flush()).await;
                        return Err(Ended::Closed(reason));
                    }
                }
            }
            self.write()?;
            // Without this a server that never stops sending would have the thread alone.
            if std::mem::take(&mut self.pause) {
                yield_now().await;
            }
            let due = self.machine.next_timeout();
            let due = due.unwrap_or_else(|| Instant::now() + Duration::from_secs(60));
            tokio::select! {
                ready = self.socket.readable(), if self.unsent_bytes < MAX_UNSENT => {
                    ready?;
                    match self.socket.try_read(&mut self.buffer) {
                        Ok(0) => return Err(Ended::Eof),
                        Ok(n) => {
                            self.pause = true;
                            let bytes = self.buffer.get(..n).unwrap_or_default();
                            self.machine.feed(bytes, Instant::now());
                        }
                        Err(error) if is_idle(&error) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                ready = self.socket.writable(), if self.held => ready?,
                () = sleep_until(due.into()) => self.machine.timeout(Instant::now()),
            }
        }
    }

    /// Sends what the machine has written so far, waiting for the server to take it.
    ///
    /// # Errors
    /// [`Ended::Socket`].
    pub async fn flush(&mut self) -> Result<(), Ended> {
        loop {
            self.write()?;
            if !self.held {
                return Ok(());
            }
            self.socket.writable().await?;
        }
    }

    fn write(&mut self) -> io::Result<()> {
        self.held = true;
        while let Some(front) = self.unsent.front_mut() {
            match self.socket.send(&[IoSlice::new(front)]) {
                Ok(n) => {
                    front.advance(n);
                    self.unsent_bytes = self.unsent_bytes.saturating_sub(n);
                    self.sent = self.sent.saturating_add(n as u64);
                    if front.is_empty() {
                        self.unsent.pop_front();
                    }
                }
                Err(error) if is_idle(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        self.held = still_held(&self.socket)?;
        Ok(())
    }
}

/// Sends on what the socket's TLS holds back; whether some of it stays there for now.
pub(crate) fn still_held(socket: &Socket) -> io::Result<bool> {
    match socket.flush() {
        Ok(()) => Ok(false),
        Err(error) if is_idle(&error) => Ok(true),
        Err(error) => Err(error),
    }
}

/// The host of `host:port`, without the brackets of IPv6.
fn host(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host)
}

/// Whether there is nothing wrong, but nothing to be had for the moment.
pub(crate) fn is_idle(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}
