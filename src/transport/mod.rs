//! The bytes of one connection: as they are on the wire, or in TLS.
//!
//! A [`Socket`] answers like one of the system's that does not block, whichever it is. Without TLS it
//! is the system's, and costs nothing beside it. With TLS what was taken may not have left yet:
//! [`Socket::flush`] tells, and at most [`TLS_BACKLOG`] bytes wait there.

mod certificate;
mod config;
mod stream;
#[cfg(test)]
mod tests;
mod why;

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection};
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;

pub use certificate::{Certificate, CertificateError};
pub use config::{Acceptor, CaError, Connector};
pub use why::{explain, is_gone};

use crate::limits::TLS_BACKLOG;

/// One connection.
#[derive(Debug)]
pub struct Socket {
    tcp: TcpStream,
    tls: Option<Box<Mutex<Tls>>>,
}

#[derive(Debug)]
struct Tls {
    connection: Connection,
    /// There may be more to read that came already.
    unread: bool,
    /// Our side said that nothing follows.
    closed: bool,
}

impl From<TcpStream> for Socket {
    fn from(tcp: TcpStream) -> Self {
        Self { tcp, tls: None }
    }
}

impl AsFd for Socket {
    /// For options; whoever reads or writes here by itself breaks TLS.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.tcp.as_fd()
    }
}

impl Socket {
    /// Waits until a client has made TLS of its connection.
    ///
    /// # Errors
    /// What the client sends is no TLS, or none that both speak; or the connection broke.
    pub(super) async fn accept(tcp: TcpStream, config: Arc<ServerConfig>) -> io::Result<Self> {
        let connection = ServerConnection::new(config).map_err(io::Error::other)?;
        Self::handshake(tcp, connection.into()).await
    }

    /// Makes TLS of a connection to a server of this name.
    ///
    /// # Errors
    /// The server's certificate is not good for the name; or as for [`Socket::accept`].
    pub(super) async fn connect(
        tcp: TcpStream,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> io::Result<Self> {
        let connection = ClientConnection::new(config, name).map_err(io::Error::other)?;
        Self::handshake(tcp, connection.into()).await
    }

    async fn handshake(tcp: TcpStream, mut connection: Connection) -> io::Result<Self> {
        connection.set_buffer_limit(Some(TLS_BACKLOG));
        let mut tls = Tls {
            connection,
            unread: false,
            closed: false,
        };
        loop {
            match tls.flush(&tcp) {
                Ok(()) if !tls.connection.is_handshaking() => break,
                Ok(()) => tcp.readable().await?,
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    tcp.writable().await?;
                    continue;
                }
                Err(e) => return Err(e),
            }
            match tls.take_in(&tcp) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                Err(e) => return Err(e),
            }
        }
        // The first bytes may have come with the last of the handshake.
        tls.unread = true;
        Ok(Self {
            tcp,
            tls: Some(Box::new(Mutex::new(tls))),
        })
    }

    /// Whether nobody between the two can read it.
    #[must_use]
    pub const fn is_secure(&self) -> bool {
        self.tls.is_some()
    }

    /// The other side.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.peer_addr()
    }

    /// This side.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    fn tls(&self) -> Option<MutexGuard<'_, Tls>> {
        let tls = self.tls.as_ref()?;
        Some(tls.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Ready when there may be something to read.
    ///
    /// # Errors
    /// The socket is broken.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.tls().is_some_and(|tls| tls.unread) {
            return Poll::Ready(Ok(()));
        }
        self.tcp.poll_read_ready(cx)
    }

    /// As [`Socket::poll_readable`].
    ///
    /// # Errors
    /// The socket is broken.
    pub async fn readable(&self) -> io::Result<()> {
        if self.tls().is_some_and(|tls| tls.unread) {
            return Ok(());
        }
        self.tcp.readable().await
    }

    /// Ready when the system may take bytes.
    ///
    /// # Errors
    /// The socket is broken.
    pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tcp.poll_write_ready(cx)
    }

    /// As [`Socket::poll_writable`].
    ///
    /// # Errors
    /// The socket is broken.
    pub async fn writable(&self) -> io::Result<()> {
        self.tcp.writable().await
    }

    /// Reads what there is; 0 is the end.
    ///
    /// # Errors
    /// `WouldBlock` when there is nothing; else the connection is broken.
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(mut tls) = self.tls() {
            return tls.read(&self.tcp, buffer);
        }
        let n = self.tcp.try_read(buffer)?;
        if (1..buffer.len()).contains(&n) {
            // That was all: what comes later is an event of its own. Told so, the runtime needs no
            // further call to find the socket empty.
            let empty = || Err::<(), _>(ErrorKind::WouldBlock.into());
            let _ = self.tcp.try_io(Interest::READABLE, empty);
        }
        Ok(n)
    }

    /// Sends as much as is taken at once. Without TLS by the socket's own call, which costs less than
    /// a file's: no file position to lock, and no vector to import for a single slice.
    ///
    /// # Errors
    /// `WouldBlock` when nothing was taken; else the connection is broken.
    pub fn send(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        if let Some(mut tls) = self.tls() {
            return tls.send(&self.tcp, slices);
        }
        self.tcp.try_io(Interest::WRITABLE, || {
            let socket = SockRef::from(&self.tcp);
            match slices {
                [one] => socket.send(one),
                many => socket.send_vectored(many),
            }
        })
    }

    /// Gives the system what was taken and has not left yet.
    ///
    /// # Errors
    /// `WouldBlock` when the system does not take all of it now; else the connection is broken.
    pub fn flush(&self) -> io::Result<()> {
        match self.tls() {
            Some(mut tls) => tls.flush(&self.tcp),
            None => Ok(()),
        }
    }

    /// Tells the other side that nothing follows, once all has left; it may still be read.
    ///
    /// # Errors
    /// `WouldBlock` when something has to leave first: to be called again.
    pub fn close(&self) -> io::Result<()> {
        if let Some(mut tls) = self.tls() {
            if !std::mem::replace(&mut tls.closed, true) {
                tls.connection.send_close_notify();
            }
            tls.flush(&self.tcp)?;
        }
        SockRef::from(&self.tcp).shutdown(Shutdown::Write)
    }
}

impl Tls {
    /// Decrypts what came; 0 is the end of the connection.
    fn take_in(&mut self, tcp: &TcpStream) -> io::Result<usize> {
        let n = self.connection.read_tls(&mut Raw(tcp))?;
        if let Err(error) = self.connection.process_new_packets() {
            // The other side is told why, as far as it listens.
            let _ = self.flush(tcp);
            return Err(io::Error::new(ErrorKind::InvalidData, error));
        }
        Ok(n)
    }

    fn read(&mut self, tcp: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.connection.reader().read(buffer) {
                Ok(n) => {
                    self.unread = n > 0;
                    return Ok(n);
                }
                // Whoever only closes its socket ends a stream all the same: RTMP and HTTP tell by
                // themselves whether a message is whole.
                Err(e) if e.kind() == ErrorKind::UnexpectedEof => return Ok(0),
                Err(e) if e.kind() == ErrorKind::WouldBlock => self.unread = false,
                Err(e) => return Err(e),
            }
            self.take_in(tcp)?;
            // An answer of TLS itself goes out with what is sent next if it does not now.
            match self.flush(tcp) {
                Err(e) if e.kind() != ErrorKind::WouldBlock => return Err(e),
                _ => {}
            }
        }
    }

    fn send(&mut self, tcp: &TcpStream, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.flush(tcp)?;
        let taken = self.connection.writer().write_vectored(slices)?;
        match self.flush(tcp) {
            Err(e) if e.kind() != ErrorKind::WouldBlock => Err(e),
            _ => Ok(taken),
        }
    }

    fn flush(&mut self, tcp: &TcpStream) -> io::Result<()> {
        while self.connection.wants_write() {
            self.connection.write_tls(&mut Raw(tcp))?;
        }
        Ok(())
    }
}

/// The system's socket for rustls, which does not wait.
struct Raw<'a>(&'a TcpStream);

impl Read for Raw<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buffer)
    }
}

impl Write for Raw<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
