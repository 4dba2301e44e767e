//! HTTP end to end: a listener, real clients, and frames that the test pushes.

mod cluster;
mod ending;
mod reserve;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::*;
use crate::bridge::{flv_file_header, render};
use crate::limits::Limits;
use crate::media::{FrameParts, Kind, Rendition, Role, Slot};
use crate::net::{Admission, AdmissionLimits, Door, Listener, Shards};
use crate::relay::{Claim, HubConfig, Publisher};

const PATIENCE: Duration = Duration::from_secs(10);

struct Site {
    address: SocketAddr,
    web: Arc<Web>,
    door: Door,
    open: Arc<AtomicBool>,
    master: Arc<AtomicBool>,
}

impl Site {
    fn new(limits: Limits) -> Self {
        let hub = Hub::new(HubConfig::default());
        let metrics = Arc::new(Metrics::of(&hub));
        let open = Arc::new(AtomicBool::new(true));
        let master = Arc::new(AtomicBool::new(true));
        let (gate, link) = (Arc::clone(&open), Arc::clone(&master));
        let web = Arc::new(Web {
            metrics: Arc::clone(&metrics),
            cluster: Cluster::new("c".repeat(32), false, Instant::now()),
            last_list: LastList::default(),
            health: Arc::new(Health::new()),
            access: Box::new(move |_| gate.load(Ordering::Relaxed)),
            meant: Box::new(|name| crate::auth::Applications::usual().meant(name)),
            missing: Box::new(move |_| {
                if link.load(Ordering::Relaxed) {
                    Missing::NotLive
                } else {
                    Missing::NoMaster {
                        retry_after: Duration::from_millis(400),
                    }
                }
            }),
            hls: Hls::new(
                &hub,
                &metrics,
                HlsConfig {
                    enabled: true,
                    window: 6,
                },
            ),
            #[cfg(feature = "publish")]
            files: None,
            join: Box::new(JoinMode::default),
            rtmp_port: Box::new(|| Some(1935)),
            hub,
        });
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), false).unwrap();
        let address = listener.address();
        let door = Door {
            shards: Shards::start(2, limits, crate::net::Latency::default(), &metrics).unwrap(),
            admission: Admission::new(AdmissionLimits {
                connections: 100,
                descriptors: usize::MAX,
                pending: 50,
                pending_per_address: 50,
            }),
            metrics,
        };
        let served = Arc::clone(&web);
        tokio::spawn(listener.serve(
            Protocol::Http,
            door.clone(),
            move |shard, incoming| connection(shard, incoming, Arc::clone(&served)),
            std::future::pending(),
        ));
        Self {
            address,
            web,
            door,
            open,
            master,
        }
    }

    fn publish(&self, name: &str) -> Source {
        let claim = Claim::of_a_test(1);
        let name = StreamName::new("live", name).unwrap();
        Source(
            self.web
                .hub
                .publish(&name, claim, Instant::now(), 0)
                .unwrap(),
        )
    }

    async fn send(&self, request: &str) -> TcpStream {
        let mut client = TcpStream::connect(self.address).await.unwrap();
        client.write_all(request.as_bytes()).await.unwrap();
        client
    }

    /// Everything that comes until the server closes.
    async fn ask(&self, request: &str) -> String {
        let mut client = self.send(request).await;
        let mut answer = Vec::new();
        timeout(PATIENCE, client.read_to_end(&mut answer))
            .await
            .expect("the server does not close")
            .unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    async fn get(&self, path: &str) -> String {
        self.ask(&format!(
            "GET {path} HTTP/1.1\r\nHost: a.example:8080\r\nConnection: close\r\n\r\n"
        ))
        .await
    }

    async fn watch(&self, name: &str) -> TcpStream {
        self.watch_at(&format!("/live/{name}.flv")).await
    }

    async fn watch_at(&self, path: &str) -> TcpStream {
        let mut client = self
            .send(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"))
            .await;
        let head = read_head(&mut client).await;
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        client
    }
}

/// A closing is counted once the last bytes are gone, which the client may see before.
async fn closed(traffic: &crate::telemetry::metrics::Traffic, reason: &'static str) {
    let start = Instant::now();
    while traffic.closes(reason) == 0 {
        assert!(start.elapsed() < PATIENCE, "{reason} is not counted");
        sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(traffic.closes(reason), 1);
}

async fn read_head(client: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let byte = timeout(PATIENCE, client.read_u8()).await.unwrap().unwrap();
        head.push(byte);
    }
    String::from_utf8(head).unwrap()
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

struct Source(Publisher);

impl Source {
    /// Pushes a frame and gives the tag that viewers must get.
    fn push(&mut self, kind: Kind, role: Role, time: u32, payload: &[u8]) -> Vec<u8> {
        let parts = FrameParts {
            kind,
            role,
            codec: None,
            extended: false,
            timestamp: time,
            payload: payload.to_vec().into(),
        };
        let frame = parts.clone().into_frame(time.into());
        self.0.push(parts, Instant::now()).unwrap();
        render(&frame, Rendition::FlvPlain).to_vec()
    }

    fn video(&mut self, role: Role, time: u32, payload: &[u8]) -> Vec<u8> {
        self.push(Kind::Video, role, time, payload)
    }
}

#[tokio::test]
async fn a_viewer_gets_header_prelude_gop_and_live_frames_byte_for_byte() {
    let site = Site::new(Limits::default());
    let mut source = site.publish("x");
    let mut expected = flv_file_header(true, true).to_vec();
    expected.extend(source.push(Kind::Data, Role::Header(Slot::Metadata), 0, b"meta"));
    expected.extend(source.video(Role::Header(Slot::VideoSequence(0)), 0, b"sequence"));
    expected.extend(source.video(Role::Key, 0, &[1; 200_000]));
    expected.extend(source.video(Role::Inter, 40, b"inter"));
    let mut first = site.watch("x").await;
    expect(&mut first, &expected).await;
    let mut live = source.push(Kind::Audio, Role::Inter, 60, b"audio");
    live.extend(source.video(Role::Inter, 80, b"live"));
    expect(&mut first, &live).await;
    let mut second = site.watch("x").await;
    expected.extend(live);
    expect(&mut second, &expected).await;

    source.0.end();
    for client in [&mut first, &mut second] {
        let end = timeout(PATIENCE, client.read(&mut [0])).await.unwrap();
        assert_eq!(end.unwrap(), 0, "the end of the stream ends the answer");
    }
    let flv = site.web.metrics.traffic(Protocol::Flv);
    let start = Instant::now();
    while flv.closes("stream-ended") < 2 {
        assert!(start.elapsed() < PATIENCE);
        drop((first.try_write(b""), second.try_write(b"")));
        sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(flv.viewers.get(), 0);
}

#[tokio::test]
async fn a_stalled_viewer_is_closed_and_another_is_not_disturbed() {
    let site = Site::new(Limits {
        send_timeout: Duration::from_millis(400),
        ..Limits::default()
    });
    let mut source = site.publish("x");
    let mut expected = flv_file_header(true, true).to_vec();
    // More than the buffers of two kernels: loopback gives a reader up to 6 MiB.
    expected.extend(source.video(Role::Key, 0, &vec![1; 12_000_000]));
    let stalled = site.watch("x").await;
    let mut good = site.watch("x").await;
    expect(&mut good, &expected).await;
    let flv = site.web.metrics.traffic(Protocol::Flv);
    let start = Instant::now();
    let mut time = 0;
    while flv.closes("too-slow") == 0 {
        assert!(start.elapsed() < PATIENCE);
        time += 10;
        let frame = source.video(Role::Inter, time, b"live");
        expect(&mut good, &frame).await;
        sleep(Duration::from_millis(10)).await;
    }
    drop(stalled);
    let frame = source.video(Role::Inter, time + 10, b"live");
    expect(&mut good, &frame).await;
}

#[tokio::test]
async fn what_cannot_be_watched_says_why() {
    let site = Site::new(Limits::default());
    let _source = site.publish("x");
    let answer = site.get("/live/none.flv").await;
    assert!(answer.starts_with("HTTP/1.1 404 Not Found\r\n"), "{answer}");
    assert!(answer.contains("\r\nAccess-Control-Allow-Origin: *\r\n"));
    assert!(answer.ends_with("\r\n\r\nThe stream live/none is not live.\n"));
    let answer = site.get("/live/a%20b.flv").await;
    assert!(
        answer.starts_with("HTTP/1.1 400 Bad Request\r\n"),
        "{answer}"
    );
    let answer = site
        .ask("POST /live/x.flv HTTP/1.1\r\nHost: x\r\n\r\n")
        .await;
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
    let answer = site
        .ask("HEAD /live/none.flv HTTP/1.1\r\nHost: x\r\n\r\n")
        .await;
    assert!(answer.starts_with("HTTP/1.1 404 ") && answer.ends_with("\r\n\r\n"));
    let answer = site
        .ask("HEAD /live/x.flv HTTP/1.1\r\nHost: x\r\n\r\n")
        .await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\n"));
    assert!(answer.contains("\r\nContent-Type: video/x-flv\r\n"));
    let answer = site
        .ask("OPTIONS /live/x.flv HTTP/1.1\r\nHost: x\r\n\r\n")
        .await;
    assert!(answer.starts_with("HTTP/1.1 204 "), "{answer}");
    assert!(answer.contains("\r\nAccess-Control-Allow-Methods: GET, HEAD, OPTIONS\r\n"));

    site.master.store(false, Ordering::Relaxed);
    let answer = site.get("/live/none.flv").await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("\r\nRetry-After: 1\r\n"), "{answer}");
}

#[tokio::test]
async fn pages_health_and_metrics() {
    let site = Site::new(Limits::default());
    let _source = site.publish("x");
    let answer = site.get("/").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(
        answer.contains("href=\"http://a.example:8080/live/x.flv\""),
        "{answer}"
    );
    assert!(
        answer.contains("href=\"rtmp://a.example/live/x\""),
        "{answer}"
    );
    assert!(answer.contains("content-security-policy: default-src 'none'"));
    let answer = site.get("/metrics").await;
    assert!(
        answer.contains("crtmpserver_streams{state=\"live\"} 1"),
        "{answer}"
    );
    let answer = site.get("/healthz").await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.ends_with("{\"ready\":false,\"troubles\":[\"start: starting\"]}"));
    site.web.health.clear("start");
    let answer = site.get("/healthz").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    // Everybody may know that the master is away, and nobody where it is.
    for (master, told) in [
        (
            "203.0.113.7:1935",
            "cannot connect to 203.0.113.7:1935: refused",
        ),
        (
            "[2001:db8::7]:1935",
            "cannot connect to [2001:db8::7]:1935: refused",
        ),
        (
            "master.example.org:443",
            "no TLS with master.example.org:443: not valid for master.example.org",
        ),
    ] {
        let cluster = &site.web.cluster;
        let url = format!("rtmp://{master}");
        cluster.set_master(Some(url), None, Instant::now());
        site.web.health.trouble("master", told);
        for path in ["/healthz", "/"] {
            let answer = site.get(path).await;
            assert_eq!(
                answer.contains(" the master: "),
                path == "/healthz",
                "{answer}"
            );
            for part in ["203.0.113", "2001:db8", "example.org"] {
                assert!(!answer.contains(part), "{answer}");
            }
        }
    }
    site.web.health.clear("master");
    let answer = site.get("/nothing").await;
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    assert!(answer.contains("nothing at this address"));
    let answer = site
        .ask("HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\n"));
    let answer = site
        .ask("POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await;
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
}

#[tokio::test]
async fn a_stream_has_a_page_whether_it_is_live_or_not() {
    let site = Site::new(Limits::default());
    let _source = site.publish("x");
    for (path, badge) in [
        ("/watch/live/x", ">live</b>"),
        ("/watch/live/y", ">not live</b>"),
    ] {
        let answer = site.get(path).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains(badge), "{answer}");
        assert!(answer.contains("frame-ancestors 'none'"), "{answer}");
    }
    let answer = site.get("/watch/live/x?embed").await;
    assert!(
        answer.contains("frame-ancestors *") && !answer.contains("<footer>"),
        "{answer}"
    );
    let answer = site.get("/watch/live/a%20b").await;
    assert!(
        answer.starts_with("HTTP/1.1 404 ") && answer.contains("no name of a stream"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_stream_has_the_addresses_of_its_aliases_too() {
    let site = Site::new(Limits::default());
    let _source = site.publish("x");
    drop(site.watch_at("/vod/x.flv").await);
    let answer = site.get("/simpleLive/x.json").await;
    assert!(answer.contains("\"state\":\"live\""), "{answer}");
    let answer = site.get("/watch/vod/x").await;
    assert!(answer.contains(">live</b>"), "{answer}");
    let answer = site.get("/vod/nothing.m3u8").await;
    assert!(answer.contains("is not live"), "{answer}");
    let hls = timeout(Duration::from_millis(300), site.get("/vod/x.m3u8"));
    assert!(hls.await.is_err(), "it waits for the first segment");
    for path in ["/nosuch/x.flv", "/nosuch/x.json", "/Vod/x.flv"] {
        let answer = site.get(path).await;
        assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    }
    // What is the server's own is no alias of a stream.
    let answer = site.get("/files/x.flv").await;
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
}

#[tokio::test]
async fn the_player_comes_with_the_server() {
    let site = Site::new(Limits::default());
    let answer = site.get("/player/nothing.js").await;
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    if assets::site().is_none() {
        return; // built without npm: the browser's own player is on the pages
    }
    let answer = site.get("/player/player.js").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains("access-control-allow-origin: *") && answer.contains("max-age=300"));
    assert!(answer.contains("export * from './module-"), "{answer}");
    let tag = answer
        .split("etag: ")
        .nth(1)
        .unwrap()
        .lines()
        .next()
        .unwrap()
        .to_owned();
    let again = format!(
        "GET /player/player.js HTTP/1.1\r\nHost: x\r\nIf-None-Match: {tag}\r\nConnection: close\r\n\r\n"
    );
    let answer = site.ask(&again).await;
    assert!(
        answer.starts_with("HTTP/1.1 304 ") && answer.ends_with("\r\n\r\n"),
        "{answer}"
    );
    let page = site.get("/").await;
    let script = page
        .split("src=\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    let answer = site.get(script).await;
    assert!(
        answer.contains("immutable") && answer.contains("text/javascript"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_stream_can_follow_a_page_on_one_connection() {
    let site = Site::new(Limits::default());
    let mut source = site.publish("x");
    let mut expected = flv_file_header(true, true).to_vec();
    expected.extend(source.video(Role::Key, 0, b"key"));
    let mut client = site.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let head = read_head(&mut client).await;
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    let body = b"{\"ready\":false,\"troubles\":[\"start: starting\"]}";
    expect(&mut client, body).await;
    client
        .write_all(b"GET /live/x.flv HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let head = read_head(&mut client).await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    expect(&mut client, &expected).await;
}

#[tokio::test]
async fn others_are_forbidden_everything() {
    let site = Site::new(Limits::default());
    let _source = site.publish("x");
    site.open.store(false, Ordering::Relaxed);
    for path in ["/", "/live/x.flv", "/healthz", "/metrics"] {
        let answer = site.get(path).await;
        assert!(answer.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{answer}");
        assert!(
            answer.contains("Access-Control-Allow-Origin: *\r\n"),
            "{answer}"
        );
    }
    site.open.store(true, Ordering::Relaxed);
    for path in ["/player/none.js", "/live/x/media-0-x.m4s"] {
        let answer = site.get(path).await.to_ascii_lowercase();
        assert!(answer.starts_with("http/1.1 404 "), "{answer}");
        assert!(
            answer.contains("access-control-allow-origin: *\r\n"),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn heads_that_are_none_are_refused() {
    let site = Site::new(Limits::default());
    let answer = site.ask("nonsense\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let long = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(20_000));
    let answer = site.ask(&long).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    assert_eq!(site.ask("\x03\x00\x00\x00\x00").await, "");
    let http = site.web.metrics.traffic(Protocol::Http);
    closed(http, "rtmp-on-http").await;
    closed(http, "bad-request").await;
    closed(http, "head-too-large").await;
}

#[tokio::test]
async fn a_viewer_that_leaves_is_noticed_and_one_that_talks_is_closed() {
    let site = Site::new(Limits::default());
    let mut source = site.publish("x");
    source.video(Role::Key, 0, b"key");
    drop(site.watch("x").await);
    let flv = site.web.metrics.traffic(Protocol::Flv);
    let start = Instant::now();
    while flv.closes("peer-gone") == 0 {
        assert!(start.elapsed() < PATIENCE);
        sleep(Duration::from_millis(2)).await;
    }
    let mut talker = site.watch("x").await;
    talker.write_all(&vec![0; 100_000]).await.unwrap();
    while flv.closes("unasked-input") == 0 {
        assert!(start.elapsed() < PATIENCE);
        sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(site.door.admission.pending(), 0);
}

#[tokio::test]
async fn a_flood_of_pipelined_requests_holds_nobody_up() {
    let site = Site::new(Limits::default());
    let request = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(500);
    let mut floods = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (mut answers, mut requests) = site.send("").await.into_split();
        let request = request.clone();
        floods.spawn(async move { while requests.write_all(request.as_bytes()).await.is_ok() {} });
        floods.spawn(async move {
            let mut buffer = vec![0; 64 * 1024];
            while matches!(answers.read(&mut buffer).await, Ok(1..)) {}
        });
    }
    sleep(Duration::from_millis(300)).await;
    for _ in 0..5 {
        let begun = Instant::now();
        assert!(site.get("/healthz").await.contains("HTTP/1.1"));
        assert!(begun.elapsed() < Duration::from_secs(1), "{begun:?}");
    }
}
