//! Viewers who are sent to another server: because one is full, or because it is drained.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crtmpserver::config::{ControlAt, Role, Settings};
use crtmpserver::control::model::Answer;
use crtmpserver::control::protocol::Request;
use crtmpserver::rtmp::client::{ClientConfig, Event};
use crtmpserver::rtmp::status::code;
use crtmpserver::rtmp_client::Session;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::control::{ask, tell};
use crate::world::*;

/// A master and two mirrors; the first one is as the settings say, and listens to orders.
struct Site {
    _folder: tempfile::TempDir,
    master: Running,
    one: Running,
    two: Running,
    control: PathBuf,
}

impl Site {
    async fn new(change: impl FnOnce(&mut Settings)) -> Self {
        let folder = folder();
        let control = folder.path().join("control.sock");
        let master = Running::start(settings(Role::Master, folder.path()));
        let mut first = mirror_of(master.rtmp, folder.path());
        first.listen.control = ControlAt::Path(control.clone());
        change(&mut first);
        let one = Running::start(first);
        let two = Running::start(mirror_of(master.rtmp, folder.path()));
        let site = Self {
            _folder: folder,
            master,
            one,
            two,
            control,
        };
        site.until("both know each other", |list| {
            list.matches("\"id\"").count() == 3
        })
        .await;
        site
    }

    /// Waits until something holds of the first mirror's list.
    async fn until(&self, what: &str, holds: impl Fn(&str) -> bool) {
        let begin = Instant::now();
        loop {
            let list = self.one.get("/cluster.json").await;
            if holds(&list) {
                return;
            }
            assert!(begin.elapsed() < PATIENCE, "{what}: {list}");
            sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Connects and plays until it is rejected; where it is sent.
async fn turned_away(address: SocketAddr) -> Option<String> {
    let mut session = Session::dial(&address.to_string(), client(address, "live", false))
        .await
        .unwrap();
    let heard = async {
        loop {
            match session.next().await.unwrap() {
                Event::Connected { .. } => {
                    session.machine().play("event", -2.0);
                }
                Event::Rejected { code, redirect, .. } => {
                    assert_eq!(code, code::CONNECT_REJECTED);
                    return redirect;
                }
                Event::PlayFailed { code, .. } => panic!("{code} without a word before"),
                Event::Media { .. } => panic!("it plays"),
                _ => {}
            }
        }
    };
    timeout(PATIENCE, heard).await.unwrap()
}

/// An HTTP-FLV viewer that has its answer.
async fn open_flv(address: SocketAddr) -> (TcpStream, String) {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let request = b"GET /live/event.flv HTTP/1.1\r\nHost: x\r\n\r\n";
    socket.write_all(request).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(timeout(PATIENCE, socket.read_u8()).await.unwrap().unwrap());
    }
    (socket, String::from_utf8(head).unwrap())
}

/// Watches, and looks at nothing.
async fn read_for_ever(mut socket: TcpStream) {
    let mut piece = vec![0; 65_536];
    while socket.read(&mut piece).await.is_ok_and(|n| n > 0) {}
}

/// Reads until these bytes were there.
async fn read_until(socket: &mut TcpStream, what: &str) -> Vec<u8> {
    let mut read = Vec::new();
    let reading = async {
        let mut piece = vec![0; 65_536];
        while !read.windows(what.len()).any(|w| w == what.as_bytes()) {
            let n = socket.read(&mut piece).await.unwrap();
            assert!(n > 0, "closed before {what}");
            read.extend_from_slice(&piece[..n]);
        }
    };
    timeout(PATIENCE, reading).await.expect(what);
    read
}

#[tokio::test]
async fn a_full_mirror_names_another_one_and_keeps_its_viewers() {
    let site = Site::new(|settings| settings.limits.max_viewers = Some(1)).await;
    let encoder = Encoder::start(site.master.rtmp, 0).await;
    let viewer = Viewer::start(site.one.rtmp).await;
    viewer.until_frame(20).await;

    let there = format!("rtmp://127.0.0.1:{}/live", site.two.rtmp.port());
    assert_eq!(turned_away(site.one.rtmp).await, Some(there));

    let (mut socket, head) = open_flv(site.one.http).await;
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    for field in ["Retry-After: 2", "Access-Control-Allow-Origin: *"] {
        assert!(head.contains(field), "{head}");
    }
    let sibling = format!("http://127.0.0.1:{}", site.two.http.port());
    assert!(
        head.contains(&format!("X-Crtmpserver-Sibling: {sibling}\r\n")),
        "{head}"
    );
    let mut body = String::new();
    socket.read_to_string(&mut body).await.unwrap();
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["code"], "full");
    assert_eq!(body["sibling"], *sibling);

    // The list says so, the other one takes them, and whoever was there has missed nothing.
    site.until("it is listed as full", |list| {
        list.contains("\"state\":\"full\",\"weight\":0")
    })
    .await;
    let other = Viewer::start(site.two.rtmp).await;
    let last = other.until_frame(40).await.numbers;
    let seen = viewer.until_frame(*last.last().unwrap()).await;
    assert_unbroken(&seen.numbers);

    // The place is free again.
    drop(viewer);
    site.until("it takes viewers again", |list| !list.contains("full"))
        .await;
    let viewer = Viewer::start(site.one.rtmp).await;
    viewer.until("it plays", |s| !s.numbers.is_empty()).await;
    encoder.finish().await;
}

#[tokio::test]
async fn a_mirror_without_connections_left_is_listed_as_full() {
    let site = Site::new(|settings| settings.limits.max_connections = 40).await;
    let encoder = Encoder::start(site.master.rtmp, 0).await;
    Viewer::start(site.two.rtmp).await.until_frame(1).await;
    let mut viewers = Vec::new();
    loop {
        let (socket, head) = open_flv(site.one.http).await;
        if head.starts_with("HTTP/1.1 503 ") {
            break;
        }
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        viewers.push(socket);
        assert!(viewers.len() < 40, "nothing bounds them");
    }
    site.until("it is listed as full", |list| {
        list.contains("\"state\":\"full\",\"weight\":0")
    })
    .await;
    viewers.truncate(20);
    site.until("it takes viewers again", |list| !list.contains("full"))
        .await;
    encoder.finish().await;
}

#[tokio::test]
async fn traffic_fills_a_server_too_and_publishers_are_no_viewers() {
    let folder = folder();
    let mut config = settings(Role::Standalone, folder.path());
    config.limits.max_mbit_s = Some(1);
    let server = Running::start(config);
    let encoder = Encoder::start(server.rtmp, 0).await;
    // Its frames are 50 a second of 308 bytes: 123 kbit/s, so that eight viewers are not quite a megabit; as
    // many more as an encoder is held up on a machine that has too much to do. Whoever comes watches on.
    let (mut over_http, mut over_rtmp) = (Vec::new(), Vec::new());
    let first = Viewer::start(server.rtmp).await;
    first.until_frame(150).await;
    let begin = Instant::now();
    loop {
        assert!(begin.elapsed() < PATIENCE, "nothing bounds them");
        // Each counts as much as the stream has when it comes: one that stands still has nothing.
        sleep(Duration::from_millis(50)).await;
        let (socket, head) = open_flv(server.http).await;
        if head.starts_with("HTTP/1.1 200 ") {
            over_http.push(tokio::spawn(read_for_ever(socket)));
            continue;
        }
        assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
        assert!(!head.contains("\nX-Crtmpserver-Sibling:"), "there is none");
        // It may have been a peak, and RTMP find room again.
        let viewer = Viewer::start(server.rtmp).await;
        let answered = |s: &Seen| s.ended.is_some() || !s.numbers.is_empty();
        let begin = Instant::now();
        while !answered(&viewer.seen()) {
            assert!(begin.elapsed() < PATIENCE);
            sleep(Duration::from_millis(10)).await;
        }
        if let Some(ended) = viewer.seen().ended {
            assert!(ended.contains(code::CONNECT_REJECTED), "{ended}");
            break;
        }
        over_rtmp.push(viewer);
    }
    assert!(over_http.len() > 1, "{}", over_http.len());
    // A full server still takes what it is there for.
    encoder.finish().await;
    assert!(Encoder::try_start(server.rtmp, 500).await.is_ok());
}

/// What an answer says of the drain.
fn left(answer: &Answer) -> Option<u32> {
    let drain = answer.status.as_ref()?.drain.as_ref()?;
    Some(drain.viewers)
}

async fn drain(path: &Path, time: Duration, exit: bool) -> Answer {
    let mut request = Request::new("drain");
    request.deadline_ms = Some(u64::try_from(time.as_millis()).unwrap());
    request.exit = Some(exit);
    ask(path, request).await
}

/// A player that follows a reconnect request, as Enhanced RTMP has it.
fn modern(address: SocketAddr) -> ClientConfig {
    ClientConfig {
        relay: true,
        ..client(address, "live", false)
    }
}

#[tokio::test]
async fn a_drained_mirror_sends_its_viewers_on() {
    let site = Site::new(|_| ()).await;
    let encoder = Encoder::start(site.master.rtmp, 0).await;
    let viewer = Viewer::start(site.one.rtmp).await;
    viewer.until_frame(10).await;
    let (mut flv, head) = open_flv(site.one.http).await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let address = site.one.rtmp;
    let mut player = Session::dial(&address.to_string(), modern(address))
        .await
        .unwrap();
    timeout(PATIENCE, async {
        loop {
            match player.next().await.unwrap() {
                Event::Connected { .. } => {
                    player.machine().play("event", -2.0);
                }
                Event::Media { .. } => return,
                _ => {}
            }
        }
    })
    .await
    .unwrap();

    let begin = Instant::now();
    let answer = drain(&site.control, Duration::from_secs(300), false).await;
    assert!(answer.ok, "{answer:?}");
    assert_eq!(answer.drain.unwrap().viewers, 3);
    // Each hears it in its own way, at once.
    let there = format!("rtmp://127.0.0.1:{}/live", site.two.rtmp.port());
    viewer
        .until("it is asked to move", |s| {
            s.codes.iter().any(|c| c == "NetStream.Play.Move")
        })
        .await;
    let sibling = format!("http://127.0.0.1:{}", site.two.http.port());
    let heard = read_until(&mut flv, &sibling).await;
    let text = String::from_utf8_lossy(&heard);
    assert!(text.contains("onStatus") && text.contains("NetStream.Play.Move"));
    let asked = timeout(PATIENCE, async {
        loop {
            if let Event::ReconnectRequest { tc_url, .. } = player.next().await.unwrap() {
                return tc_url;
            }
        }
    });
    assert_eq!(asked.await.unwrap().as_ref(), Some(&there));
    assert!(begin.elapsed() < Duration::from_secs(5), "in good time");

    // Nobody new comes in; who is there goes on watching without a gap.
    assert_eq!(turned_away(site.one.rtmp).await, Some(there));
    let (_, head) = open_flv(site.one.http).await;
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    site.until("it is listed as draining", |list| {
        list.contains("\"state\":\"draining\"")
    })
    .await;
    let begin = Instant::now();
    while !site.two.get("/cluster.json").await.contains("draining") {
        assert!(begin.elapsed() < PATIENCE);
        sleep(Duration::from_millis(20)).await;
    }
    assert!(site.one.health().await.contains("drain: "));
    let seen = viewer.until("it goes on", |s| s.numbers.len() > 100).await;
    assert_unbroken(&seen.numbers);

    // They leave, and it is done; it stays there until it is told otherwise.
    drop((viewer, flv, player));
    let begin = Instant::now();
    while left(&tell(&site.control, "status").await) != Some(0) {
        assert!(begin.elapsed() < PATIENCE);
        sleep(Duration::from_millis(20)).await;
    }
    assert!(tell(&site.control, "undrain").await.ok);
    let again = tell(&site.control, "undrain").await;
    assert_eq!(again.error.unwrap().code, "not-draining");
    let viewer = Viewer::start(site.one.rtmp).await;
    viewer.until("it plays", |s| !s.numbers.is_empty()).await;
    site.until("it is ready", |list| !list.contains("draining"))
        .await;
    assert!(!site.one.health().await.contains("drain"));
    encoder.finish().await;
}

#[tokio::test]
async fn the_deadline_of_a_drain_is_the_end() {
    let mut site = Site::new(|_| ()).await;
    let _encoder = Encoder::start(site.master.rtmp, 0).await;
    let viewer = Viewer::start(site.one.rtmp).await;
    viewer.until_frame(10).await;
    let (mut flv, _) = open_flv(site.one.http).await;
    let answer = drain(&site.control, Duration::from_millis(1500), true).await;
    assert!(answer.ok, "{answer:?}");
    // Both are there until then, and hear the end of it.
    let mut all = Vec::new();
    timeout(PATIENCE, flv.read_to_end(&mut all))
        .await
        .unwrap()
        .unwrap();
    let begin = Instant::now();
    while viewer.seen().ended.is_none() {
        assert!(begin.elapsed() < PATIENCE);
        sleep(Duration::from_millis(20)).await;
    }
    let codes = viewer.seen().codes;
    assert!(
        codes.iter().any(|c| c == code::PLAY_UNPUBLISH_NOTIFY),
        "{codes:?}"
    );
    // It was to end the server as well.
    site.one.ended().await;
    assert!(TcpStream::connect(site.one.rtmp).await.is_err());
}

#[tokio::test]
async fn viewers_behind_a_drained_mirror_are_asked_to_move_too() {
    let site = Site::new(|_| ()).await;
    let folder = folder();
    let far = Running::start(mirror_of(site.one.rtmp, folder.path()));
    let _encoder = Encoder::start(site.master.rtmp, 0).await;
    let state_of = async |server: &Running, port: u16| {
        let answer = server.get("/cluster.json").await;
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let list: serde_json::Value = serde_json::from_str(body).unwrap();
        let ours = format!("rtmp://127.0.0.1:{port}");
        let hosts = list["hosts"].as_array().unwrap();
        let host = hosts.iter().find(|host| host["rtmp"] == *ours)?;
        Some(host["state"].as_str().unwrap().to_owned())
    };
    let until = async |server: &Running, wanted: &str| {
        let begin = Instant::now();
        while state_of(server, far.rtmp.port()).await.as_deref() != Some(wanted) {
            assert!(begin.elapsed() < PATIENCE, "{wanted}");
            sleep(Duration::from_millis(20)).await;
        }
    };
    until(&site.two, "ready").await;
    let viewer = Viewer::start(far.rtmp).await;
    viewer.until_frame(10).await;
    let (mut flv, head) = open_flv(far.http).await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");

    assert!(
        drain(&site.control, Duration::from_secs(300), false)
            .await
            .ok
    );
    until(&site.two, "draining").await;
    viewer
        .until("it is asked to move", |s| {
            s.codes.iter().any(|c| c == "NetStream.Play.Move")
        })
        .await;
    let sibling = format!("http://127.0.0.1:{}", site.two.http.port());
    read_until(&mut flv, &sibling).await;
    assert!(far.health().await.contains("source: "));
    // It takes who comes all the same, and nobody is ended.
    let other = Viewer::start(far.rtmp).await;
    other.until("it plays", |s| !s.numbers.is_empty()).await;
    let last = viewer.seen().numbers.len();
    let seen = viewer
        .until("it goes on", |s| s.numbers.len() > last + 50)
        .await;
    assert_unbroken(&seen.numbers);

    assert!(tell(&site.control, "undrain").await.ok);
    until(&site.two, "ready").await;
    assert!(!far.health().await.contains("source"));
}

#[tokio::test]
async fn a_full_standalone_names_another_server_at_the_play() {
    let folder = folder();
    let mut config = settings(Role::Standalone, folder.path());
    config.limits.max_viewers = Some(1);
    let server = Running::start(config);
    let mirror = Running::start(mirror_of(server.rtmp, folder.path()));
    let begin = Instant::now();
    let there = format!("rtmp://127.0.0.1:{}", mirror.rtmp.port());
    while !server.get("/cluster.json").await.contains(&there) {
        assert!(begin.elapsed() < PATIENCE);
        sleep(Duration::from_millis(20)).await;
    }
    let encoder = Encoder::start(server.rtmp, 0).await;
    let viewer = Viewer::start(server.rtmp).await;
    viewer.until_frame(10).await;
    let there = format!("{there}/live");
    assert_eq!(turned_away(server.rtmp).await, Some(there.clone()));
    // Enhanced RTMP has its own word, which comes first.
    let mut player = Session::dial(&server.rtmp.to_string(), modern(server.rtmp))
        .await
        .unwrap();
    let asked = timeout(PATIENCE, async {
        loop {
            match player.next().await.unwrap() {
                Event::Connected { .. } => {
                    player.machine().play("event", -2.0);
                }
                Event::ReconnectRequest { tc_url, .. } => return tc_url,
                _ => {}
            }
        }
    });
    assert_eq!(asked.await.unwrap(), Some(there));
    // Its mirror takes them; an encoder is no viewer.
    let other = Viewer::start(mirror.rtmp).await;
    other.until("it plays", |s| !s.numbers.is_empty()).await;
    encoder.finish().await;
    assert!(Encoder::try_start(server.rtmp, 500).await.is_ok());
}

#[tokio::test]
async fn viewers_never_lock_out_the_encoder() {
    let folder = folder();
    let mut settings = settings(Role::Standalone, folder.path());
    settings.limits.max_connections = 16; // of which viewers may have 14
    let server = Running::start(settings);
    let encoder = Encoder::start(server.rtmp, 0).await;
    let mut viewers = Vec::new();
    for _ in 0..13 {
        let viewer = Viewer::start(server.rtmp).await;
        viewer.until_frame(0).await;
        viewers.push(viewer);
    }
    // Each is refused in its own protocol, and does not stay in the reserve: two could.
    for _ in 0..5 {
        assert_eq!(turned_away(server.rtmp).await, None);
    }
    let late = Viewer::start(server.rtmp).await;
    eventually("who was turned away is closed", || {
        late.seen().ended.is_some()
    })
    .await;
    assert!(open_flv(server.http).await.1.starts_with("HTTP/1.1 503 "));

    // The encoder is cut, and viewers have its place at once.
    encoder.cut().await;
    let watching = || {
        let streams = server.hub.list(Instant::now());
        streams.iter().map(|s| s.rtmp_viewers).sum::<usize>()
    };
    let wait = async {
        loop {
            let last = Viewer::start(server.rtmp).await;
            eventually("it is taken or not", || {
                last.seen().ended.is_some() || watching() == 14
            })
            .await;
            if last.seen().ended.is_none() {
                break last;
            }
        }
    };
    viewers.push(timeout(PATIENCE, wait).await.unwrap());
    assert!(server.health().await.starts_with("HTTP/1.1 200 "));
    let _encoder = Encoder::start(server.rtmp, 500).await;
    for viewer in &viewers {
        viewer.until_frame(520).await;
    }
}

#[tokio::test]
async fn a_page_with_https_is_never_sent_to_plain_http() {
    let secured = |settings: &mut Settings| {
        settings.cluster.host = "secure.example.org".to_owned();
        settings.cluster.https_port = Some(443);
    };
    let site = Site::new(|settings| settings.limits.max_viewers = Some(0)).await;
    let _encoder = Encoder::start(site.master.rtmp, 0).await;
    let ask = async |path: &str, fields: &str| {
        let begin = Instant::now();
        loop {
            let mut socket = TcpStream::connect(site.one.http).await.unwrap();
            let request =
                format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{fields}\r\n");
            socket.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            socket.read_to_string(&mut answer).await.unwrap();
            if !answer.starts_with("HTTP/1.1 404 ") {
                assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
                return answer.to_lowercase();
            }
            assert!(begin.elapsed() < PATIENCE, "{answer}");
            sleep(Duration::from_millis(20)).await;
        }
    };
    let https = "X-Forwarded-Proto: https\r\n";
    let field = "\nx-crtmpserver-sibling: ";
    for path in ["/live/event.flv", "/live/event.m3u8"] {
        let plain = format!("{field}http://127.0.0.1:{}\r", site.two.http.port());
        assert!(ask(path, "").await.contains(&plain));
        let answer = ask(path, https).await;
        assert!(!answer.contains(field), "{answer}");
    }
    // Another one comes, with something in front that speaks HTTPS.
    let folder = folder();
    let mut third = mirror_of(site.master.rtmp, folder.path());
    secured(&mut third);
    let _third = Running::start(third);
    site.until("it is listed", |list| list.contains("https://secure"))
        .await;
    let secure = format!("{field}https://secure.example.org\r");
    for path in ["/live/event.flv", "/live/event.m3u8"] {
        for _ in 0..8 {
            let answer = ask(path, https).await;
            assert!(answer.contains(&secure), "{answer}");
        }
    }
}

#[tokio::test]
async fn a_master_has_nobody_to_drain() {
    let folder = folder();
    let path = folder.path().join("control.sock");
    let mut settings = settings(Role::Master, folder.path());
    settings.listen.control = ControlAt::Path(path.clone());
    let _master = Running::start(settings);
    let answer = drain(&path, Duration::from_secs(1), false).await;
    assert_eq!(answer.error.unwrap().code, "role");
}
