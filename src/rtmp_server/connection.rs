//! The task of one connection: a single loop that reads, waits and drains the machine.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::task::yield_now;
use tokio::time::sleep_until;

use super::RtmpServer;
use super::budget::Share;
use super::mirrors::{Control, Login};
#[cfg(feature = "publish")]
use super::publishing::Publishing;
use super::viewing::Viewing;
use crate::auth::Identity;
use crate::bridge::OUT_CHUNK_SIZE;
use crate::cluster::Via;
use crate::limits::{READ_BUFFER, READ_TURN};
use crate::net::{Admitted, Bell, Ending, Incoming, Outlet, OutletEvent, Registered, Shard, Timer};
use crate::relay;
use crate::rtmp::server::{Output, Server, ServerConfig};
use crate::rtmp::session::reason::CloseReason;
use crate::system::random;
use crate::telemetry::logging::{Escaped, limited};
use crate::telemetry::metrics::Protocol;

/// Window acknowledgement size that we announce, bytes: the original's.
const WINDOW: u32 = 2_500_000;
/// How long the reading of one socket keeps the shard before others get their turn; looked at after
/// each read.
const READ_SLICE: Duration = Duration::from_millis(1);
/// How long the last words to a peer may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// Everything of one connection.
pub(super) struct Connection {
    pub(super) server: Arc<RtmpServer>,
    pub(super) shard: Rc<Shard>,
    pub(super) machine: Server,
    pub(super) outlet: Rc<Outlet>,
    pub(super) peer: SocketAddr,
    /// How a viewer came.
    pub(super) via: Via,
    pub(super) admitted: Admitted,
    /// Rung by whatever may concern this connection; then it looks at everything once.
    pub(super) bell: Arc<Bell>,
    /// The application, once connected.
    pub(super) app: Option<Arc<str>>,
    pub(super) identity: Identity,
    /// A mirror that has not proved itself yet.
    pub(super) login: Option<Box<Login>>,
    /// A mirror's control connection.
    pub(super) control: Option<Box<Control>>,
    /// The id of a mirror that proved itself.
    pub(super) mirror_id: Option<String>,
    /// Rings while a player waits for a stream.
    pub(super) hub_watch: Option<relay::Watch>,
    pub(super) viewing: Vec<Viewing>,
    /// Its place among those who are connected.
    pub(super) registered: Registered,
    /// What the peer calls itself, until it plays.
    #[cfg(feature = "publish")]
    pub(super) agent: Option<Box<str>>,
    /// Files that it plays.
    pub(super) files: super::files::Files,
    share: Share,
    /// Frames that had been sent at the last look.
    sent: u64,
    /// When its socket was read last.
    pub(super) heard: Instant,
    #[cfg(feature = "publish")]
    pub(super) publishing: Vec<Publishing>,
}

/// Serves one connection until it ends, and logs and counts how it ended. No `async fn`: its future
/// would hold the arguments beside what is made of them, for as long as the connection lasts.
pub(super) fn serve(
    server: Arc<RtmpServer>,
    shard: Rc<Shard>,
    incoming: Incoming,
    number: u64,
) -> impl Future<Output = ()> + 'static {
    let mut connection = Connection::new(server, shard, incoming, number);
    async move {
        // Used in place, for the same reason.
        if let Some(connection) = &mut connection {
            let end = connection.run().await;
            connection.finish(&end);
        }
    }
}

/// What a connection waits for, in this order.
enum Next {
    Stop,
    Outlet(OutletEvent),
    Rung,
    Readable(io::Result<()>),
    Due,
}

/// Whether there is more to read.
enum Rest {
    /// Everything that came was read.
    None,
    /// There may be more, but it is the others' turn.
    Some,
}

/// How a connection ended.
pub(super) enum End {
    /// The machine closed it.
    Machine(CloseReason),
    /// The peer closed the socket.
    Eof,
    /// The socket failed.
    Socket(io::Error),
    /// The fan-out gave it up.
    Outlet(Ending),
    /// The server stops.
    Stopping,
}

impl Connection {
    /// `None` when the system gives no random bytes.
    fn new(
        server: Arc<RtmpServer>,
        shard: Rc<Shard>,
        incoming: Incoming,
        number: u64,
    ) -> Option<Self> {
        let random = random()
            .inspect_err(|error| {
                tracing::error!(%error, code = "no-random", "the system gives no random bytes; connection dropped");
            })
            .ok()?;
        let config = ServerConfig {
            limits: shard.limits(),
            chunk_size: OUT_CHUNK_SIZE,
            window: WINDOW,
            random,
            client: number,
        };
        let via = if incoming.socket.is_secure() {
            Via::Rtmps
        } else {
            Via::Rtmp
        };
        let outlet = Outlet::new(incoming.socket, &shard, Protocol::Rtmp);
        Some(Self {
            registered: outlet.register(incoming.peer),
            #[cfg(feature = "publish")]
            agent: None,
            machine: Server::new(config, incoming.at),
            peer: incoming.peer,
            via,
            admitted: incoming.admitted,
            bell: Arc::default(),
            app: None,
            identity: Identity::Nobody,
            login: None,
            control: None,
            mirror_id: None,
            hub_watch: None,
            viewing: Vec::new(),
            files: super::files::Files::default(),
            share: server.budget.share(),
            sent: 0,
            heard: incoming.at,
            #[cfg(feature = "publish")]
            publishing: Vec::new(),
            server,
            shard,
            outlet,
        })
    }

    async fn run(&mut self) -> End {
        let outlet = Rc::clone(&self.outlet);
        let shard = Rc::clone(&self.shard);
        let bell = Arc::clone(&self.bell);
        let mut stopping = pin!(shard.stopping());
        let sleep = pin!(sleep_until(Instant::now().into()));
        let mut timer = Timer::new(sleep);
        let mut began = false;
        loop {
            let due = self.deadline();
            let reads = self.machine.wants_input() && outlet.has_room();
            let next = poll_fn(|cx| {
                // It need not be asked again: the first time it learned whom to wake.
                if (!began || shard.is_stopping()) && stopping.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Next::Stop);
                }
                began = true;
                if let Poll::Ready(event) = outlet.poll_drive(cx) {
                    return Poll::Ready(Next::Outlet(event));
                }
                if bell.poll_rung(cx).is_ready() {
                    return Poll::Ready(Next::Rung);
                }
                if reads && let Poll::Ready(ready) = outlet.poll_readable(cx) {
                    return Poll::Ready(Next::Readable(ready));
                }
                timer.poll_until(due, cx).map(|()| Next::Due)
            });
            match next.await {
                Next::Stop => {
                    if Box::pin(outlet.catch_up(shard.due_until())).await {
                        self.say_goodbye();
                        // Whatever else the machine wants, the connection ends here.
                        let _ = self.drain();
                        Box::pin(outlet.finish(GOODBYE)).await;
                    }
                    return End::Stopping;
                }
                Next::Outlet(event) => {
                    if let Some(end) = self.outlet_event(event) {
                        return end;
                    }
                }
                Next::Rung => self.look(Instant::now()),
                Next::Readable(Err(error)) => return End::Socket(error),
                Next::Readable(Ok(())) => {
                    match self.read() {
                        Ok(Rest::None) => {}
                        // Without this a peer that never stops sending would have the shard alone.
                        Ok(Rest::Some) => yield_now().await,
                        Err(end) => {
                            if matches!(end, End::Machine(_)) {
                                Box::pin(outlet.finish(GOODBYE)).await;
                            }
                            return end;
                        }
                    }
                    // Nor may it outlive its deadlines; but what it sent in time counts first.
                    if due <= self.heard {
                        self.tick(self.heard);
                    }
                }
                Next::Due => self.tick(Instant::now()),
            }
            if let Err(reason) = self.drain() {
                Box::pin(outlet.finish(GOODBYE)).await;
                return End::Machine(reason);
            }
        }
    }

    /// A time came.
    fn tick(&mut self, now: Instant) {
        // Some players answer no ping. What the socket took of a stream counts as life: a peer that is
        // gone is found by TCP_USER_TIMEOUT or by the send time-out.
        let sent = self.outlet.totals().frames;
        if sent > self.sent {
            self.sent = sent;
            self.machine.progress(now);
            self.files_progress(now);
        }
        if self.has_patient_files(now) {
            self.machine.progress(now);
        }
        self.machine.timeout(now);
        self.look(now);
    }

    /// Reads at most one turn, so that a fast publisher leaves time for others.
    fn read(&mut self) -> Result<Rest, End> {
        let shard = Rc::clone(&self.shard);
        let outlet = Rc::clone(&self.outlet);
        let mut left = READ_TURN;
        while left > 0 && self.machine.wants_input() && outlet.has_room() {
            let now = Instant::now();
            self.heard = now;
            let read = shard.read(outlet.socket(), |bytes| {
                self.machine.feed(bytes, now);
                bytes.len()
            });
            match read {
                Ok(0) => return Err(End::Eof),
                Ok(n) => {
                    left = left.saturating_sub(n);
                    shard
                        .metrics()
                        .traffic(Protocol::Rtmp)
                        .bytes_in
                        .inc_by(n as u64);
                    self.drain().map_err(End::Machine)?;
                    if self.share.exceeds(self.machine.buffered()) && !self.is_known() {
                        return Err(End::Machine(CloseReason::Driver(
                            "memory-budget",
                            "all partial messages together take too much memory".to_owned(),
                        )));
                    }
                    if n < READ_BUFFER {
                        return Ok(Rest::None); // that was all
                    }
                    if now.elapsed() >= READ_SLICE {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Rest::None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(End::Socket(error)),
            }
        }
        Ok(Rest::Some)
    }

    /// Does what the machine wants until it wants nothing more.
    fn drain(&mut self) -> Result<(), CloseReason> {
        loop {
            while let Some(output) = self.machine.poll() {
                match output {
                    Output::Write(bytes) => self.outlet.control(bytes),
                    Output::Event(event) => self.event(event),
                    Output::Close(reason) => return Err(reason),
                }
            }
            self.play_accepted();
            if !self.drive_files() {
                return Ok(());
            }
        }
    }

    /// Whether it has shown who it is.
    fn is_known(&self) -> bool {
        self.identity != Identity::Nobody
    }

    fn deadline(&self) -> Instant {
        let machine = self.machine.next_timeout();
        let waits = self.viewing.iter().filter_map(Viewing::deadline).min();
        let control = self.control.as_ref().map(|control| control.next());
        let far = || Instant::now() + Duration::from_secs(3600);
        let files = self.files_deadline();
        [machine, waits, control, files]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or_else(far)
    }
}

impl Connection {
    /// Logs and counts how it ended. What it published or played ends by being dropped.
    fn finish(&mut self, end: &End) {
        let (code, text) = match end {
            End::Machine(reason) => (reason.code(), reason.to_string()),
            End::Eof => ("peer-closed", "the peer closed the connection".to_owned()),
            End::Socket(error) => ("connection-broken", error.to_string()),
            End::Outlet(ending) => (ending.label(), ending.meaning().to_owned()),
            End::Stopping => ("stopping", "the server stops".to_owned()),
        };
        let metrics = self.shard.metrics();
        metrics.traffic(Protocol::Rtmp).closed(code);
        let totals = self.outlet.totals();
        let (id, peer) = (self.registered.id(), self.peer);
        // A peer that broke a rule, or was too slow, is worth a line that an operator sees; the rest
        // happens a thousand times an event.
        let notable = match end {
            End::Machine(
                CloseReason::ByPeer
                | CloseReason::Rejected(_)
                // These were logged where they were decided.
                | CloseReason::Driver(
                    "mirror-refused" | "mirror-replaced" | "displaced" | "kicked" | "drained"
                    | "key-revoked" | "full",
                    _,
                ),
            ) => false,
            End::Machine(_) => true,
            End::Outlet(ending) => ending.is_notable(),
            End::Eof | End::Socket(_) | End::Stopping => false,
        };
        let stream = self.viewing.first().map(Viewing::name);
        let stream = stream.map(tracing::field::display);
        if notable {
            limited(code, Instant::now(), || {
                tracing::warn!(
                    stream, id, %peer, code, sent = totals.bytes, skipped = totals.skipped,
                    "connection closed: {}", Escaped(&text)
                );
            });
        } else {
            tracing::debug!(
                stream, id, %peer, code, sent = totals.bytes, skipped = totals.skipped,
                "connection closed: {}", Escaped(&text)
            );
        }
        let was_mirror = self.control.take().is_some();
        if was_mirror {
            metrics.mirrors.dec();
        }
        if let (true, Some(id)) = (was_mirror, &self.mirror_id)
            && !matches!(end, End::Stopping)
        {
            tracing::warn!(%peer, mirror = %id, code, "mirror gone: {}", Escaped(&text));
        }
        #[cfg(feature = "publish")]
        self.drop_publishing(matches!(end, End::Stopping));
    }
}
