//! The fan-out with real sockets: a shard, viewers, and frames that the test pushes.

mod serving;
mod trouble;

use std::future::{Future as _, poll_fn};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use super::*;
use crate::bridge::render;
use crate::limits::Limits;
use crate::media::{Frame, FrameParts, Kind, Rendition, Role, Slot, StreamName};
use crate::relay::{Claim, Hub, HubConfig, JoinMode, Protocol as Watching, Publisher, Stream};
use crate::telemetry::metrics::{Metrics, Protocol};

const PATIENCE: Duration = Duration::from_secs(10);

struct World {
    hub: Arc<Hub>,
    shards: Arc<Shards>,
    metrics: Arc<Metrics>,
    /// How often the tasks of viewers ran.
    polls: Arc<AtomicU64>,
}

impl World {
    fn new(limits: Limits) -> Self {
        Self::paced(limits, Latency::default())
    }

    fn paced(limits: Limits, latency: Latency) -> Self {
        let metrics = Arc::new(Metrics::default());
        Self {
            hub: Hub::new(HubConfig::default()),
            shards: Shards::start(1, limits, latency, &metrics).unwrap(),
            metrics,
            polls: Arc::default(),
        }
    }

    fn publish(&self) -> Publisher {
        self.publish_as(1)
    }

    fn publish_as(&self, id: u64) -> Publisher {
        let claim = Claim::of_a_test(id);
        let name = StreamName::new("live", "x").unwrap();
        self.hub.publish(&name, claim, Instant::now(), 0).unwrap()
    }

    /// A viewer's end of a connection that plays `stream`; how it ended comes through the other.
    async fn view(
        &self,
        stream: &Arc<Stream>,
        setup: impl FnOnce(&Rc<Outlet>, &Arc<Stream>) -> Vec<Playing> + Send + 'static,
    ) -> (TcpStream, oneshot::Receiver<OutletEvent>) {
        let stream = Arc::clone(stream);
        let polls = Arc::clone(&self.polls);
        self.connect(move |outlet| async move {
            let playing = setup(&outlet, &stream);
            let mut drive = std::pin::pin!(outlet.drive());
            let event = poll_fn(|cx| {
                polls.fetch_add(1, Ordering::Relaxed);
                drive.as_mut().poll(cx)
            })
            .await;
            drop(playing);
            event
        })
        .await
    }

    /// A viewer's end of a connection that begins to play `stream` as an FLV and does `then`.
    async fn leave<T: Send + 'static, F: Future<Output = T>>(
        &self,
        stream: &Arc<Stream>,
        then: impl FnOnce(Rc<Outlet>) -> F + Send + 'static,
    ) -> (TcpStream, oneshot::Receiver<T>) {
        let stream = Arc::clone(stream);
        self.connect(move |outlet| async move {
            let _playing = flv(&outlet, &stream);
            then(outlet).await
        })
        .await
    }

    /// A client's end of a connection that is served by `serve`; what that gives comes through the other.
    async fn connect<T: Send + 'static, F: Future<Output = T>>(
        &self,
        serve: impl FnOnce(Rc<Outlet>) -> F + Send + 'static,
    ) -> (TcpStream, oneshot::Receiver<T>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let small = socket2::SockRef::from(&listener);
        small.set_send_buffer_size(16 * 1024).unwrap();
        let client = tokio::net::TcpSocket::new_v4().unwrap();
        client.set_recv_buffer_size(16 * 1024).unwrap();
        let address = listener.local_addr().unwrap();
        let (client, accepted) = tokio::join!(client.connect(address), listener.accept());
        let socket = accepted.unwrap().0.into_std().unwrap();
        let (tell, told) = oneshot::channel();
        self.shards
            .spawn(0, move |shard| async move {
                let socket = TcpStream::from_std(socket).unwrap();
                let outlet = Outlet::new(socket.into(), &shard, Protocol::Flv);
                let _ = tell.send(serve(outlet).await);
            })
            .await
            .unwrap();
        (client.unwrap(), told)
    }
}

fn play(form: Rendition, message_stream: u32) -> Play {
    Play {
        form,
        message_stream,
        join: JoinMode::default(),
        watching: Watching::Flv,
        asked: Instant::now(),
        announce: None,
    }
}

fn flv(outlet: &Rc<Outlet>, stream: &Arc<Stream>) -> Vec<Playing> {
    outlet.control(Bytes::from_static(b"HEAD"));
    vec![outlet.play(stream, play(Rendition::Flv, 1)).unwrap()]
}

fn parts(kind: Kind, role: Role, timestamp: u32, size: usize) -> FrameParts {
    // The payloads differ from each other, so that no mix-up stays unseen.
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let mut payload = count.to_be_bytes().to_vec();
    payload.resize(size.max(8), count.to_le_bytes()[0]);
    FrameParts {
        kind,
        role,
        codec: None,
        extended: false,
        timestamp,
        payload: payload.into(),
    }
}

/// Pushes one and gives the bytes that a viewer of this form must get for it at `time`.
fn push(publisher: &mut Publisher, parts: FrameParts, time: u64, form: Rendition) -> Vec<u8> {
    let frame: Frame = parts.clone().into_frame(time);
    publisher.push(parts, Instant::now()).unwrap();
    render(&frame, form).to_vec()
}

async fn expect(client: &mut TcpStream, expected: &[u8]) {
    let mut got = vec![0; expected.len()];
    timeout(PATIENCE, client.read_exact(&mut got))
        .await
        .expect("too little came")
        .unwrap();
    let differs = got.iter().zip(expected).position(|(a, b)| a != b);
    assert_eq!(differs, None, "other bytes came, of {}", got.len());
}

async fn nothing_more(client: &mut TcpStream) {
    let mut byte = [0];
    let more = timeout(Duration::from_millis(100), client.read(&mut byte)).await;
    assert!(more.is_err(), "more came: {more:?}");
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "never: {what}");
        sleep(Duration::from_millis(2)).await;
    }
}
