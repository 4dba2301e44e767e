//! A pull over RTSP: its connection, the ports that its datagrams come to, and what comes of them.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use tokio::task::yield_now;
use tokio::time::{sleep_until, timeout};

use super::address::Address;
use super::board::Phase;
use super::connect::{PLAYER, Place, files};
use super::keep::Attempt;
use super::pull::{LOOK, Pull};
use super::trouble::Trouble;
use super::wish::Spec;
use crate::flv::{ReaderLimits, Tag};
use crate::limits::{Limits, MAX_RTP, READ_BUFFER, REMOTE_LOGIN};
use crate::media::StreamName;
use crate::net::{Came, Pair, canonical, poll_pairs};
use crate::rtmp_client::{Ended, dial, is_idle, still_held};
use crate::rtsp::{Client, Event, Figures, Order};
use crate::system::random;
use crate::telemetry::logging::Escaped;
use crate::telemetry::metrics::Protocol;
use crate::telemetry::repeats::repeated;
use crate::transport::Socket;

/// How long the last words may take.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// Unsent bytes above which nothing more is read: a server that only asks and reads no answers must not
/// grow them.
const MAX_UNSENT: usize = 64 * 1024;
/// Datagrams that are taken before others get their turn.
const DATAGRAMS_AT_ONCE: usize = 64;

/// The ports of a track, and where its datagrams come from.
struct Leg {
    track: usize,
    pair: Pair,
    from: IpAddr,
    /// The ports there.
    to: Option<[u16; 2]>,
}

/// One connection to a server.
pub(super) struct Session {
    socket: Socket,
    peer: SocketAddr,
    machine: Client,
    unsent: BytesMut,
    /// Something waits for the socket.
    held: bool,
    /// There may be more to read, but it is the turn of the thread's other tasks.
    pause: bool,
    legs: Vec<Leg>,
    buffer: Vec<u8>,
    datagram: Vec<u8>,
}

impl Session {
    fn new(socket: Socket, order: Order) -> io::Result<Self> {
        Ok(Self {
            peer: canonical(socket.peer_addr()?),
            socket,
            datagram: vec![0; if order.datagrams { MAX_RTP } else { 0 }],
            machine: Client::new(order, Instant::now()),
            unsent: BytesMut::new(),
            held: false,
            pause: false,
            legs: Vec::new(),
            buffer: vec![0; READ_BUFFER],
        })
    }

    /// What happens next. May be dropped and called again at any time without losing anything.
    async fn next(&mut self) -> Result<Event, Trouble> {
        loop {
            if let Some(event) = self.event()? {
                return Ok(event);
            }
            self.write().map_err(Ended::from)?;
            // Without this a server that never stops sending would have the thread alone.
            if std::mem::take(&mut self.pause) {
                yield_now().await;
            }
            let minute = || Instant::now() + Duration::from_secs(60);
            let due = self.machine.next_timeout().unwrap_or_else(minute);
            let pairs = self.legs.iter().map(|leg| &leg.pair);
            tokio::select! {
                ready = self.socket.readable(), if self.unsent.len() < MAX_UNSENT => {
                    ready.map_err(Ended::from)?;
                    self.read()?;
                }
                ready = self.socket.writable(), if self.held => ready.map_err(Ended::from)?,
                came = poll_fn(|cx| poll_pairs(pairs.clone(), &mut self.datagram, cx)) => {
                    self.datagrams(came).await;
                }
                () = sleep_until(due.into()) => self.machine.timeout(Instant::now()),
            }
        }
    }

    /// Does what the machine wants, up to what is for the driver.
    fn event(&mut self) -> Result<Option<Event>, Trouble> {
        while let Some(event) = self.machine.poll()? {
            match event {
                Event::Write(bytes) => self.unsent.extend_from_slice(&bytes),
                Event::Ports(track) => {
                    let here = self.socket.local_addr().map_err(Ended::from)?;
                    let pair = Pair::open(here.ip()).map_err(Ended::from)?;
                    self.machine.ports(pair.ports());
                    self.legs.push(Leg {
                        track,
                        pair,
                        from: self.peer.ip(),
                        to: None,
                    });
                }
                Event::From {
                    track,
                    source,
                    ports,
                } => {
                    let mut legs = self.legs.iter_mut();
                    if let Some(leg) = legs.find(|leg| leg.track == track) {
                        let source = source.filter(|ip| !ip.is_unspecified());
                        leg.from = source.map_or(leg.from, |ip| ip.to_canonical());
                        leg.to = ports;
                    }
                }
                Event::Send { track, rtcp, bytes } => {
                    let mut legs = self.legs.iter();
                    if let Some(leg) = legs.find(|leg| leg.track == track)
                        && let Some([first, second]) = leg.to
                    {
                        let port = if rtcp { second } else { first };
                        leg.pair.send(rtcp, &bytes, SocketAddr::new(leg.from, port));
                    }
                }
                event => return Ok(Some(event)),
            }
        }
        Ok(None)
    }

    fn read(&mut self) -> Result<(), Ended> {
        match self.socket.try_read(&mut self.buffer) {
            Ok(0) => Err(Ended::Eof),
            Ok(n) => {
                self.pause = true;
                let bytes = self.buffer.get(..n).unwrap_or_default();
                self.machine.feed(bytes, Instant::now());
                Ok(())
            }
            Err(error) if is_idle(&error) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes a datagram that came, and those behind it.
    async fn datagrams(&mut self, mut came: Came) {
        for _ in 1..DATAGRAMS_AT_ONCE {
            self.take(came);
            let pairs = self.legs.iter().map(|leg| &leg.pair);
            let next = poll_fn(|cx| {
                let next = poll_pairs(pairs.clone(), &mut self.datagram, cx);
                Poll::Ready(match next {
                    Poll::Ready(came) => Some(came),
                    Poll::Pending => None,
                })
            });
            match next.await {
                Some(next) => came = next,
                None => return,
            }
        }
        self.take(came);
        self.pause = true;
    }

    /// Only what comes from where it should is its own.
    fn take(&mut self, came: Came) {
        let from = canonical(came.from).ip();
        if let Some(leg) = self.legs.get(came.pair)
            && (from == leg.from || from == self.peer.ip())
        {
            let bytes = self.datagram.get(..came.size).unwrap_or_default();
            let now = Instant::now();
            self.machine.datagram(leg.track, came.rtcp, bytes, now);
        }
    }

    fn write(&mut self) -> io::Result<()> {
        self.held = true;
        while !self.unsent.is_empty() {
            match self.socket.send(&[IoSlice::new(&self.unsent)]) {
                Ok(n) => self.unsent.advance(n),
                Err(error) if is_idle(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        self.held = still_held(&self.socket)?;
        Ok(())
    }

    /// Ends the session as a player does, as far as the other server listens: one of datagrams would go on
    /// for a while without.
    pub(super) async fn farewell(&mut self) {
        self.machine.teardown();
        let _ = timeout(LAST_WORDS, async {
            // What is left of media is of no use to anyone.
            while let Ok(Some(_)) = self.event() {}
            while self.write().is_ok() && self.held {
                if self.socket.writable().await.is_err() {
                    return;
                }
            }
        })
        .await;
    }
}

/// Pulls, until something ends it.
pub(super) async fn pull(
    attempt: &Attempt<'_>,
    name: &StreamName,
    place: &Place,
    slot: &mut Option<Box<Session>>,
) -> Trouble {
    let limits = attempt.context.shards.limits();
    let opened = timeout(REMOTE_LOGIN, Box::pin(open(attempt, place, limits)));
    let (session, mut next) = match opened.await {
        Ok(Ok((session, first))) => (slot.insert(session), first),
        Ok(Err(trouble)) => return trouble,
        Err(_) => return Trouble::Silent(REMOTE_LOGIN),
    };
    attempt.job.enter(Phase::Connected);
    let mut pull = Pull::new(attempt, name);
    let displaced = pull.displaced();
    let mut counted = Figures::default();
    loop {
        if let Some(Tag {
            kind,
            timestamp,
            payload,
        }) = next.take()
            && let Err(trouble) = pull.media(kind, timestamp, payload)
        {
            return trouble;
        }
        let look = Instant::now().checked_add(LOOK);
        let look = look.unwrap_or_else(Instant::now);
        let event = tokio::select! {
            event = session.next() => event,
            () = displaced.notified() => return Trouble::Displaced,
            () = sleep_until(look.into()) => {
                if pull.is_silent(limits.publish_timeout) {
                    return Trouble::NoMedia(limits.publish_timeout);
                }
                continue;
            }
        };
        count(attempt, &mut counted, session.machine.figures());
        match event {
            Ok(Event::Tag(tag)) => next = Some(tag),
            Ok(event) => {
                if let Err(trouble) = beside(attempt, &session.peer, event) {
                    return trouble;
                }
            }
            Err(trouble) => return trouble,
        }
    }
}

/// Connects and agrees with the other server; media may come before its last answer.
async fn open(
    attempt: &Attempt<'_>,
    place: &Place,
    limits: Limits,
) -> Result<(Box<Session>, Option<Tag>), Trouble> {
    let spec = &attempt.job.spec;
    let files = files(spec, place.address.tls).await?;
    let order = order(spec, place, files.password, limits)?;
    let socket = dial(&place.address.place(), files.connector.as_ref()).await?;
    let mut session = Box::new(Session::new(socket, order).map_err(Ended::from)?);
    loop {
        match session.next().await? {
            Event::Playing => return Ok((session, None)),
            Event::Tag(tag) => return Ok((session, Some(tag))),
            event => beside(attempt, &session.peer, event)?,
        }
    }
}

fn order(
    spec: &Spec,
    place: &Place,
    password: Option<String>,
    limits: Limits,
) -> Result<Order, Trouble> {
    let user = spec.login.as_ref().map(|(user, _)| user.clone());
    let chance: [u8; 8] = random().map_err(Ended::from)?;
    Ok(Order {
        url: url(&place.address),
        login: user.zip(password),
        // A digest shows the password to nobody; a stranger must not ask for more.
        plain: place.address.host == spec.address.host,
        datagrams: spec.datagrams(),
        agent: PLAYER.to_owned(),
        limits: ReaderLimits::from(&limits),
        chance: u64::from_be_bytes(chance),
    })
}

/// The address as a request has it: without a login, and in ASCII.
fn url(address: &Address) -> String {
    let mut url = format!("{}/", address.server());
    let query = address.query.as_deref();
    let mark = query.map(|_| "?");
    let rest = [Some(address.path.as_str()), mark, query];
    for byte in rest.into_iter().flatten().flat_map(str::bytes) {
        if byte.is_ascii_graphic() {
            url.push(char::from(byte));
        } else {
            url.push_str(&format!("%{byte:02X}"));
        }
    }
    url
}

/// What comes that is no media.
fn beside(attempt: &Attempt<'_>, peer: &SocketAddr, event: Event) -> Result<(), Trouble> {
    match event {
        Event::Moved(to) => {
            let to = to.parse::<Address>().map_err(|_| Trouble::BadRedirect)?;
            Err(Trouble::Moved(Box::new(to)))
        }
        Event::LeftOut(what) => {
            let spec = &attempt.job.spec;
            repeated("left-out", peer.ip(), Instant::now(), || {
                tracing::warn!(
                    stream = %spec.local, remote = %spec.shown(), code = "left-out",
                    "{} is not passed on: taken are H.264, H.265, AAC, MP3 and Opus", Escaped(&what)
                );
            });
            Ok(())
        }
        _ => Ok(()),
    }
}

fn count(attempt: &Attempt<'_>, before: &mut Figures, now: Figures) {
    let Figures { gaps, broken } = std::mem::replace(before, now);
    for (kind, count) in [
        ("gap", now.gaps.saturating_sub(gaps)),
        ("broken", now.broken.saturating_sub(broken)),
    ] {
        attempt.metrics.media_errors(Protocol::Rtsp, kind, count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_asked_for_without_its_login_and_in_ascii() {
        for (text, asked) in [
            ("rtsp://ann:pw@h/a/b?c=1&d=2", "rtsp://h:554/a/b?c=1&d=2"),
            ("rtsps://[::1]:8322/é", "rtsps://[::1]:8322/%C3%A9"),
            ("RTSP://h", "rtsp://h:554/"),
        ] {
            assert_eq!(url(&text.parse().unwrap()), asked);
        }
    }
}
