//! The fan-out with real sockets: what each viewer gets, byte for byte.

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
use crate::relay::{
    Claim, Hub, HubConfig, JoinMode, NoWake, Protocol as Watching, Publisher, Stream,
};
use crate::telemetry::metrics::{Metrics, Protocol};

const PATIENCE: Duration = Duration::from_secs(10);

struct World {
    hub: Arc<Hub>,
    shards: Arc<Shards>,
    metrics: Arc<Metrics>,
}

impl World {
    fn new(limits: Limits) -> Self {
        let metrics = Arc::new(Metrics::default());
        Self {
            hub: Hub::new(HubConfig::default()),
            shards: Shards::start(1, limits, &metrics).unwrap(),
            metrics,
        }
    }

    fn publish(&self) -> Publisher {
        let claim = Claim {
            identity: None,
            source: "test".into(),
            displaced: Arc::new(NoWake),
            id: 1,
            epoch: None,
        };
        let name = StreamName::new("live", "x").unwrap();
        self.hub.publish(&name, claim, Instant::now(), 0).unwrap()
    }

    /// A viewer's end of a connection that plays `stream`; how it ended comes through the other.
    async fn view(
        &self,
        stream: &Arc<Stream>,
        setup: impl FnOnce(&Rc<Outlet>, &Arc<Stream>) -> Vec<Playing> + Send + 'static,
    ) -> (TcpStream, oneshot::Receiver<OutletEvent>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let small = socket2::SockRef::from(&listener);
        small.set_send_buffer_size(16 * 1024).unwrap();
        let client = tokio::net::TcpSocket::new_v4().unwrap();
        client.set_recv_buffer_size(16 * 1024).unwrap();
        let address = listener.local_addr().unwrap();
        let (client, accepted) = tokio::join!(client.connect(address), listener.accept());
        let socket = accepted.unwrap().0.into_std().unwrap();
        let (tell, told) = oneshot::channel();
        let stream = Arc::clone(stream);
        self.shards
            .spawn(0, move |shard| async move {
                let socket = TcpStream::from_std(socket).unwrap();
                let outlet = Outlet::new(socket, &shard, Protocol::Flv);
                let playing = setup(&outlet, &stream);
                let event = outlet.drive().await;
                drop(playing);
                let _ = tell.send(event);
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

#[tokio::test]
async fn a_viewer_gets_control_prelude_gop_and_live_frames_byte_for_byte() {
    let world = World::new(Limits::default());
    let mut publisher = world.publish();
    let form = Rendition::Flv;
    let mut send = |kind, role, time: u32, size| {
        push(
            &mut publisher,
            parts(kind, role, time, size),
            time.into(),
            form,
        )
    };
    let header = Role::Header(Slot::VideoSequence(0));
    let mut expected = b"HEAD".to_vec();
    expected.extend(send(Kind::Video, header, 0, 30));
    expected.extend(send(Kind::Video, Role::Key, 0, 100_000));
    for n in 1..50 {
        expected.extend(send(Kind::Audio, Role::Inter, n * 40 - 20, 200));
        expected.extend(send(Kind::Video, Role::Inter, n * 40, 3000));
    }
    let stream = world
        .hub
        .get(&StreamName::new("live", "x").unwrap())
        .unwrap();
    let (mut client, _told) = world.view(&stream, flv).await;
    expect(&mut client, &expected).await;
    for n in 50..100 {
        let mut live = send(Kind::Audio, Role::Inter, n * 40 - 20, 200);
        live.extend(send(Kind::Video, Role::Inter, n * 40, 3000));
        expect(&mut client, &live).await;
    }
    nothing_more(&mut client).await;
    let traffic = world.metrics.traffic(Protocol::Flv);
    assert_eq!(traffic.frames_out.get(), 200);
    assert_eq!(traffic.frames_skipped.get(), 0);
    assert_eq!((traffic.joins.get(), traffic.viewers.get()), (1, 1));
    assert_eq!(stream.viewers().total(), 1);
    assert!(
        world
            .metrics
            .render()
            .contains("join_seconds_count{protocol=\"flv\"} 1")
    );
}

#[tokio::test]
async fn audio_rides_along_but_never_waits_long() {
    let world = World::new(Limits::default());
    let mut publisher = world.publish();
    let form = Rendition::Flv;
    let mut expected = b"HEAD".to_vec();
    expected.extend(push(
        &mut publisher,
        parts(Kind::Video, Role::Key, 0, 10),
        0,
        form,
    ));
    let (mut client, _told) = world.view(publisher.stream(), flv).await;
    expect(&mut client, &expected).await;
    let start = Instant::now();
    let audio = push(
        &mut publisher,
        parts(Kind::Audio, Role::Inter, 20, 10),
        20,
        form,
    );
    expect(&mut client, &audio).await;
    let waited = start.elapsed();
    assert!(
        waited >= Duration::from_millis(30),
        "sent alone after {waited:?}"
    );
    assert!(waited < Duration::from_secs(2), "{waited:?}");
}

#[tokio::test]
async fn a_viewer_that_is_late_skips_whole_gops_and_others_do_not_notice() {
    let world = World::new(Limits::default());
    let mut publisher = world.publish();
    let form = Rendition::Flv;
    let mut all = vec![push(
        &mut publisher,
        parts(Kind::Video, Role::Key, 0, 50_000),
        0,
        form,
    )];
    let (mut late, _told) = world.view(publisher.stream(), flv).await;
    let (mut good, _told_too) = world.view(publisher.stream(), flv).await;
    expect(&mut good, b"HEAD").await;
    expect(&mut good, &all[0]).await;
    // Ten seconds of two-second GOPs while the late one reads nothing.
    for n in 1..250_u32 {
        let role = if n % 50 == 0 { Role::Key } else { Role::Inter };
        let frame = push(
            &mut publisher,
            parts(Kind::Video, role, n * 40, 50_000),
            (n * 40).into(),
            form,
        );
        expect(&mut good, &frame).await;
        all.push(frame);
    }
    // Now it reads: what it gets is frames in order, with a gap to a key frame.
    expect(&mut late, b"HEAD").await;
    let mut at = 0;
    let mut gaps = 0;
    while at < all.len() {
        let mut got = vec![0; all[at].len()];
        timeout(PATIENCE, late.read_exact(&mut got))
            .await
            .unwrap()
            .unwrap();
        if got != all[at] {
            let to = all.iter().position(|f| *f == got).expect("a broken frame");
            assert!(to > at && to % 50 == 0, "from {at} to {to}");
            at = to;
            gaps += 1;
        }
        at += 1;
    }
    assert_eq!(gaps, 1);
    let traffic = world.metrics.traffic(Protocol::Flv);
    assert!(traffic.frames_skipped.get() >= 100);
    nothing_more(&mut late).await;
}

#[tokio::test]
async fn a_stalled_viewer_is_closed_and_the_rest_go_on() {
    let limits = Limits {
        send_timeout: Duration::from_millis(300),
        ..Limits::default()
    };
    let world = World::new(limits);
    let mut publisher = world.publish();
    let form = Rendition::Flv;
    let first = push(
        &mut publisher,
        parts(Kind::Video, Role::Key, 0, 4_000_000),
        0,
        form,
    );
    let (_stalled, told) = world.view(publisher.stream(), flv).await;
    let (mut good, _told) = world.view(publisher.stream(), flv).await;
    expect(&mut good, b"HEAD").await;
    expect(&mut good, &first).await;
    let start = Instant::now();
    let ended = timeout(PATIENCE, told).await.unwrap().unwrap();
    assert_eq!(ended, OutletEvent::Closed(Ending::TooSlow));
    assert!(start.elapsed() < Duration::from_secs(3));
    until("the viewer is gone", || {
        publisher.stream().viewers().total() == 1
    })
    .await;
    let frame = push(
        &mut publisher,
        parts(Kind::Video, Role::Inter, 40, 100),
        40,
        form,
    );
    expect(&mut good, &frame).await;
}

#[tokio::test]
async fn the_end_of_a_stream_is_told_when_all_of_it_was_sent() {
    let world = World::new(Limits::default());
    let mut publisher = world.publish();
    let form = Rendition::Flv;
    let mut expected = b"HEAD".to_vec();
    expected.extend(push(
        &mut publisher,
        parts(Kind::Video, Role::Key, 0, 2_000_000),
        0,
        form,
    ));
    let (mut client, told) = world.view(publisher.stream(), flv).await;
    until("it plays", || publisher.stream().viewers().total() == 1).await;
    publisher.end();
    expect(&mut client, &expected).await;
    let ended = timeout(PATIENCE, told).await.unwrap().unwrap();
    assert_eq!(ended, OutletEvent::Ended { message_stream: 1 });
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test]
async fn two_streams_on_one_connection_keep_their_message_streams() {
    let world = World::new(Limits::default());
    let mut publisher = world.publish();
    let form = Rendition::Rtmp;
    // Larger than what the socket takes at once: both are cut somewhere.
    let key = push(
        &mut publisher,
        parts(Kind::Video, Role::Key, 0, 900_000),
        0,
        form,
    );
    let (mut client, _told) = world
        .view(publisher.stream(), |outlet, stream| {
            vec![
                outlet.play(stream, play(Rendition::Rtmp, 1)).unwrap(),
                outlet.play(stream, play(Rendition::Rtmp, 7)).unwrap(),
            ]
        })
        .await;
    let mut other = key.clone();
    other[8] = 7;
    assert_eq!(key[8], 1);
    expect(&mut client, &key).await;
    expect(&mut client, &other).await;
    let mut live = push(
        &mut publisher,
        parts(Kind::Video, Role::Inter, 40, 10),
        40,
        form,
    );
    let mut again = live.clone();
    again[8] = 7;
    // Which of the two comes first is whose turn it is.
    let mut got = vec![0; live.len()];
    timeout(PATIENCE, client.read_exact(&mut got))
        .await
        .unwrap()
        .unwrap();
    if got == again {
        std::mem::swap(&mut live, &mut again);
    }
    assert_eq!(got, live);
    expect(&mut client, &again).await;
}

#[tokio::test]
async fn a_pull_hears_of_the_epoch_before_its_frames() {
    let world = World::new(Limits::default());
    let mut publisher = world.publish();
    let form = Rendition::Rtmp;
    let first = push(
        &mut publisher,
        parts(Kind::Video, Role::Key, 0, 10),
        0,
        form,
    );
    let (mut client, _told) = world
        .view(publisher.stream(), |outlet, stream| {
            let announce: Announce = Box::new(|e| Bytes::from(format!("<{}>", e.id)));
            let pull = Play {
                announce: Some(announce),
                ..play(Rendition::Rtmp, 1)
            };
            vec![outlet.play(stream, pull).unwrap()]
        })
        .await;
    expect(&mut client, b"<1>").await;
    expect(&mut client, &first).await;
    let live = push(
        &mut publisher,
        parts(Kind::Video, Role::Inter, 40, 10),
        40,
        form,
    );
    expect(&mut client, &live).await;
    nothing_more(&mut client).await;
}

#[tokio::test]
async fn control_goes_between_frames_and_is_bounded() {
    let world = World::new(Limits::default());
    let publisher = world.publish();
    let (tell, told) = oneshot::channel();
    let (mut client, ended) = world
        .view(publisher.stream(), |outlet, _| {
            for n in 0..200_u8 {
                outlet.control(Bytes::from(vec![n; 100]));
            }
            assert!(outlet.has_room());
            outlet.control(Bytes::from(vec![
                200;
                crate::limits::MAX_CONTROL_QUEUE - 20_000
            ]));
            assert!(!outlet.has_room());
            tell.send(()).unwrap();
            Vec::new()
        })
        .await;
    told.await.unwrap();
    for n in 0..200_u8 {
        expect(&mut client, &[n; 100]).await;
    }
    assert_eq!(ended.await.unwrap(), OutletEvent::Room);
    let (_client, ended) = world
        .view(publisher.stream(), |outlet, _| {
            let most = crate::limits::MAX_CONTROL_BACKLOG;
            outlet.control(Bytes::from(vec![0; most]));
            assert!(!outlet.is_closed());
            outlet.control(Bytes::from_static(b"x"));
            Vec::new()
        })
        .await;
    assert_eq!(ended.await.unwrap(), OutletEvent::Closed(Ending::Overflow));
}

#[tokio::test]
async fn muted_video_comes_back_with_a_key_frame() {
    let world = World::new(Limits::default());
    let mut publisher = world.publish();
    let form = Rendition::Flv;
    let first = push(
        &mut publisher,
        parts(Kind::Video, Role::Key, 0, 10),
        0,
        form,
    );
    let (share, shared) = oneshot::channel::<std::sync::mpsc::Receiver<bool>>();
    let (switch, switched) = std::sync::mpsc::channel::<bool>();
    share.send(switched).unwrap();
    let mut shared = Some(shared.await.unwrap());
    let (mut client, _told) = world
        .view(publisher.stream(), move |outlet, stream| {
            let playing = outlet.play(stream, play(Rendition::Flv, 1)).unwrap();
            let switched = shared.take().unwrap();
            let shard = Rc::clone(outlet.shard());
            shard.run(async move {
                loop {
                    match switched.try_recv() {
                        Ok(on) => playing.set_video(on),
                        Err(std::sync::mpsc::TryRecvError::Disconnected) => return,
                        Err(std::sync::mpsc::TryRecvError::Empty) => {}
                    }
                    sleep(Duration::from_millis(1)).await;
                }
            });
            Vec::new()
        })
        .await;
    expect(&mut client, &first).await;
    let mut push_video = |role, time: u32| {
        push(
            &mut publisher,
            parts(Kind::Video, role, time, 10),
            time.into(),
            form,
        )
    };
    switch.send(false).unwrap();
    sleep(Duration::from_millis(50)).await;
    push_video(Role::Inter, 40);
    nothing_more(&mut client).await;
    switch.send(true).unwrap();
    sleep(Duration::from_millis(50)).await;
    push_video(Role::Inter, 80);
    nothing_more(&mut client).await;
    let key = push_video(Role::Key, 120);
    expect(&mut client, &key).await;
    let inter = push_video(Role::Inter, 160);
    expect(&mut client, &inter).await;
}

#[tokio::test]
async fn nothing_is_left_of_viewers_that_went() {
    let world = World::new(Limits::default());
    let mut publisher = world.publish();
    push(
        &mut publisher,
        parts(Kind::Video, Role::Key, 0, 10),
        0,
        Rendition::Flv,
    );
    for _ in 0..3 {
        let mut ends = Vec::new();
        for _ in 0..20 {
            ends.push(world.view(publisher.stream(), flv).await);
        }
        let stream = Arc::clone(publisher.stream());
        until("they play", || stream.viewers().total() == 20).await;
        drop(ends);
        let mut time = 0_u32;
        while stream.viewers().total() > 0 {
            time += 40;
            push(
                &mut publisher,
                parts(Kind::Video, Role::Inter, time, 10),
                time.into(),
                Rendition::Flv,
            );
            sleep(Duration::from_millis(2)).await;
        }
        let (tell, told) = oneshot::channel();
        world
            .shards
            .spawn(0, |shard| async move {
                for _ in 0..500 {
                    if shard.fanout().count() == 0 {
                        break;
                    }
                    sleep(Duration::from_millis(2)).await;
                }
                tell.send(shard.fanout().count()).unwrap();
            })
            .await
            .unwrap();
        assert_eq!(told.await.unwrap(), 0);
    }
    assert_eq!(world.metrics.traffic(Protocol::Flv).viewers.get(), 0);
}
