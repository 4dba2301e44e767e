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
                // Where publishers come in, too, it is known with the play alone.
                Event::PlayFailed { code, .. } if code == code::CONNECT_REJECTED => return None,
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
async fn traffic_fills_a_server_too_and_publishers_are_no_viewers() {
    let folder = folder();
    let mut config = settings(Role::Standalone, folder.path());
    config.limits.max_mbit_s = Some(1);
    let server = Running::start(config);
    let encoder = Encoder::start(server.rtmp, 0).await;
    // Its frames are 50 a second of 308 bytes: 123 kbit/s, and eight viewers are not quite a megabit.
    let mut viewers = Vec::new();
    let first = Viewer::start(server.rtmp).await;
    first.until_frame(150).await;
    loop {
        let (socket, head) = open_flv(server.http).await;
        if !head.starts_with("HTTP/1.1 200 ") {
            assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
            assert!(!head.contains("\nX-Crtmpserver-Sibling:"), "there is none");
            break;
        }
        viewers.push(socket);
        assert!(viewers.len() < 20, "nothing bounds them");
    }
    // An encoder that is held up sends less than it should.
    assert!(viewers.len() >= 4, "{}", viewers.len());
    assert_eq!(turned_away(server.rtmp).await, None);
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
async fn a_master_has_nobody_to_drain() {
    let folder = folder();
    let path = folder.path().join("control.sock");
    let mut settings = settings(Role::Master, folder.path());
    settings.listen.control = ControlAt::Path(path.clone());
    let _master = Running::start(settings);
    let answer = drain(&path, Duration::from_secs(1), false).await;
    assert_eq!(answer.error.unwrap().code, "role");
}
