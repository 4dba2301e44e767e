//! The control socket of a server in this process: what it tells, what it ends, and that nobody who
//! is connected to it can hold anything.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crtmpserver::config::{ControlAt, Role};
use crtmpserver::control::model::{Answer, Stream};
use crtmpserver::control::protocol::Request;
use crtmpserver::control::{Unreachable, find};
use crtmpserver::limits::{MAX_CONTROL_CLIENTS, MAX_CONTROL_REQUEST};
use tokio::net::TcpStream;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::world::*;

/// A standalone server with a control socket beside its other files.
fn with_control(role: Role, folder: &Path) -> (Running, PathBuf) {
    let path = folder.join("control.sock");
    let mut settings = settings(role, folder);
    settings.listen.control = ControlAt::Path(path.clone());
    (Running::start(settings), path)
}

pub(crate) async fn ask(path: &Path, request: Request) -> Answer {
    let path = path.to_owned();
    let asked = spawn_blocking(move || find(&[path]).unwrap().ask(&request).unwrap());
    timeout(PATIENCE, asked).await.unwrap().unwrap()
}

pub(crate) async fn tell(path: &Path, verb: &str) -> Answer {
    ask(path, Request::new(verb)).await
}

async fn viewers_of(path: &Path, stream: &str) -> Answer {
    let mut request = Request::new("viewers");
    request.stream = Some(stream.into());
    ask(path, request).await
}

/// Asks until something holds of the one stream.
async fn stream(path: &Path, what: &str, holds: impl Fn(&Stream) -> bool) -> Stream {
    for _ in 0..1000 {
        let found = tell(path, "streams").await.streams.unwrap().pop();
        if let Some(stream) = found
            && holds(&stream)
        {
            return stream;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{what}");
}

#[tokio::test]
async fn it_tells_what_is_live_and_who_watches() {
    let folder = folder();
    let (server, path) = with_control(Role::Standalone, folder.path());
    assert_eq!(tell(&path, "streams").await.streams.unwrap(), []);
    let session = login(server.rtmp, PASSWORD).await.unwrap();
    let encoder = Encoder::publish(session, 0).await.unwrap();
    let first = Viewer::start(server.rtmp).await;
    let second = Viewer::start(server.rtmp).await;
    let flv = flv_viewer(server.http, "live/event").await;
    first.until_frame(60).await;
    second.until_frame(60).await;

    let stream = stream(&path, "a rate", |s| {
        s.kbit_per_second > 0 && s.fps.is_some() && s.viewers.total() == 3
    })
    .await;
    assert_eq!((&*stream.name, &*stream.state), ("live/event", "live"));
    assert_eq!((stream.viewers.rtmp, stream.viewers.flv), (2, 1));
    assert_eq!(stream.video.as_deref(), Some("avc1"));
    assert_eq!(stream.encoder.as_deref(), Some("test"));
    assert_eq!(stream.epochs, 1);
    let peer = stream.peer.unwrap();
    assert_eq!(stream.source, format!("rtmp {peer}"));
    // 50 pictures a second are sent, less what the machine was busy for.
    let fps = stream.fps.unwrap();
    assert!(fps > 49.0 && fps < 51.0, "by the stream's own clock: {fps}");

    let viewers = viewers_of(&path, "live/event").await.viewers.unwrap();
    assert_eq!(viewers.len(), 3);
    assert!(viewers.windows(2).all(|w| w[0].id < w[1].id));
    assert!(viewers.iter().all(|v| Some(v.id) != stream.publisher_id));
    for viewer in &viewers {
        assert!(viewer.bytes > 1000 && viewer.frames > 10, "{viewer:?}");
        assert_eq!((&*viewer.stream, viewer.skipped), ("live/event", 0));
        assert!(viewer.lag_ms < 4000, "{viewer:?}");
    }
    let via: Vec<&str> = viewers.iter().map(|v| &*v.protocol).collect();
    assert_eq!(via.iter().filter(|p| **p == "http-flv").count(), 1);

    let answer = tell(&path, "status").await;
    let status = answer.status.unwrap();
    assert_eq!((status.live, status.publishers, status.waiting), (1, 1, 0));
    assert_eq!(status.viewers.total(), 3);
    assert_eq!(status.connections, 4);
    assert_eq!(status.shards.len(), 2);
    assert!(status.shards.iter().all(|s| s.answers));
    assert!(answer.health.unwrap().healthy);
    assert!(
        status
            .listeners
            .iter()
            .any(|l| l.address == server.rtmp.to_string())
    );

    // Part after part it is the same list.
    let mut request = Request::new("viewers");
    request.limit = Some(1);
    let mut ids = Vec::new();
    loop {
        let part = ask(&path, request.clone()).await;
        ids.extend(part.viewers.unwrap().iter().map(|v| v.id));
        match part.next {
            Some(next) => request.after = Some(next),
            None => break,
        }
    }
    assert_eq!(ids, viewers.iter().map(|v| v.id).collect::<Vec<_>>());
    drop((first, second, flv));
    encoder.finish().await;
    server.stop().await;
    assert!(!path.exists(), "the socket goes with the server");
}

async fn flv_viewer(http: std::net::SocketAddr, stream: &str) -> TcpStream {
    use tokio::io::AsyncWriteExt;
    let mut socket = TcpStream::connect(http).await.unwrap();
    let request = format!("GET /{stream}.flv HTTP/1.1\r\nHost: x\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    socket
}

#[tokio::test]
async fn an_operator_ends_a_viewer_and_a_publisher() {
    let folder = folder();
    let (server, path) = with_control(Role::Standalone, folder.path());
    let session = login(server.rtmp, PASSWORD).await.unwrap();
    let encoder = Encoder::publish(session, 0).await.unwrap();
    let stays = Viewer::start(server.rtmp).await;
    stays.until_frame(10).await;
    let goes = Viewer::start(server.rtmp).await;
    goes.until_frame(20).await;
    let mut flv = flv_viewer(server.http, "live/event").await;
    stream(&path, "three viewers", |s| s.viewers.total() == 3).await;
    let viewers = viewers_of(&path, "live/event").await.viewers.unwrap();

    let mut kick = Request::new("kick");
    kick.id = Some(viewers[1].id);
    let kicked = ask(&path, kick.clone()).await.kicked.unwrap();
    assert_eq!(
        (kicked.id, &*kicked.peer),
        (viewers[1].id, &*viewers[1].peer)
    );
    assert_eq!(
        (kicked.played, kicked.published),
        (vec!["live/event".to_owned()], vec![])
    );
    eventually("the viewer has gone", || goes.seen().ended.is_some()).await;
    let said = goes.seen().codes;
    assert!(
        said.iter()
            .any(|c| c == "NetStream.Play.Stop" || c == "NetStream.Play.UnpublishNotify"),
        "{said:?}"
    );
    assert_eq!(ask(&path, kick).await.error.unwrap().code, "no-connection");

    let mut kick = Request::new("kick");
    kick.id = Some(viewers[2].id);
    ask(&path, kick).await.kicked.unwrap();
    let mut all = Vec::new();
    let read = tokio::io::AsyncReadExt::read_to_end(&mut flv, &mut all);
    assert!(timeout(PATIENCE, read).await.is_ok(), "it was closed");

    let mut kick = Request::new("kick");
    kick.stream = Some("live/event".into());
    let kicked = ask(&path, kick.clone()).await.kicked.unwrap();
    assert_eq!(kicked.published, ["live/event"]);
    let session = encoder.fall_silent().await;
    drop(session);
    let after = stream(&path, "it waits", |s| s.state == "waiting").await;
    assert_eq!((after.publisher_id, after.viewers.total()), (None, 1));
    assert_eq!(ask(&path, kick).await.error.unwrap().code, "no-publisher");
    assert!(
        stays.seen().ended.is_none(),
        "it waits for the next publisher"
    );

    // The next one is as welcome as ever.
    let session = login(server.rtmp, PASSWORD).await.unwrap();
    let _encoder = Encoder::publish(session, 1000).await.unwrap();
    stays.until_frame(1010).await;
    let mut kick = Request::new("kick");
    kick.stream = Some("live/other".into());
    assert_eq!(ask(&path, kick).await.error.unwrap().code, "no-stream");
}

#[tokio::test]
async fn a_master_and_its_mirror_tell_of_each_other() {
    let folder = folder();
    let (master, path) = with_control(Role::Master, folder.path());
    let below = tempfile::tempdir().unwrap();
    let mirror_path = below.path().join("m.sock");
    let mut settings = mirror_of(master.rtmp, folder.path());
    settings.listen.control = ControlAt::Path(mirror_path.clone());
    let mirror = Running::start(settings);
    let encoder = Encoder::start(master.rtmp, 0).await;
    let viewer = Viewer::start(mirror.rtmp).await;
    viewer.until_frame(10).await;

    let listed = tell(&path, "mirrors").await.mirrors.unwrap();
    let answer = tell(&mirror_path, "status").await;
    let status = answer.status.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].id, status.server_id);
    assert_eq!((&*status.role, status.pulls), ("mirror", 1));
    let link = status.master.unwrap();
    assert_eq!((&*link.state, link.error), ("up", None));
    assert!(link.url.contains(&master.rtmp.to_string()));
    assert!(answer.health.unwrap().healthy);
    let pulled = stream(&mirror_path, "pulled", |s| s.state == "live").await;
    assert!(
        pulled.source.starts_with("pull rtmp://"),
        "{}",
        pulled.source
    );
    assert_eq!((pulled.publisher_id, pulled.encoder), (None, None));
    let user = stream(&path, "published", |s| s.state == "live").await.user;
    assert_eq!(user.as_deref(), Some(USER));
    let pulls = viewers_of(&path, "live/event").await.viewers.unwrap();
    assert_eq!(
        pulls.iter().map(|v| &*v.protocol).collect::<Vec<_>>(),
        ["mirror"]
    );
    let mut kick = Request::new("kick");
    kick.stream = Some("live/event".into());
    let refused = ask(&mirror_path, kick).await.error.unwrap();
    assert!(
        refused.message.contains("pulled from the master"),
        "{refused}"
    );

    encoder.fall_silent().await;
    let place = master.rtmp.to_string();
    master.stop().await;
    for _ in 0..1000 {
        let answer = tell(&mirror_path, "health").await;
        let health = answer.health.unwrap();
        // Where it is, the operator is told, and not everybody.
        if health.troubles.concat().contains(&place) {
            assert!(!health.healthy);
            assert!(health.troubles[0].starts_with("master: "), "{health:?}");
            let public = mirror.health().await;
            assert!(
                public.contains("master: cannot connect to the master: "),
                "{public}"
            );
            assert!(!public.contains(&place), "{public}");
            let status = tell(&mirror_path, "status").await.status.unwrap();
            let link = status.master.unwrap();
            assert_eq!(link.state, "down");
            assert!(link.error.is_some());
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("a mirror without its master is not healthy");
}

/// What somebody says who has only a socket and a text.
fn raw(path: &Path, text: &[u8]) -> String {
    let mut socket = UnixStream::connect(path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.write_all(text).unwrap();
    let mut line = String::new();
    BufReader::new(socket).read_line(&mut line).unwrap();
    line
}

#[tokio::test]
async fn nobody_holds_it_up() {
    let folder = folder();
    let (_server, path) = with_control(Role::Standalone, folder.path());
    tell(&path, "version").await;
    let done = spawn_blocking(move || {
        assert!(raw(&path, b"rubbish\n").contains("\"bad-request\""));
        assert!(raw(&path, b"{\"verb\":\"dance\"}\n").contains("\"bad-verb\""));
        assert!(raw(&path, &vec![b'x'; MAX_CONTROL_REQUEST * 4]).contains("at most"));
        // One connection, many requests at once.
        let mut socket = UnixStream::connect(&path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
            .write_all(&b"{\"verb\":\"version\"}\n".repeat(100))
            .unwrap();
        let lines = BufReader::new(&socket).lines().take(100);
        assert_eq!(
            lines
                .map(|l| assert!(l.unwrap().contains("\"ok\":true")))
                .count(),
            100
        );
        drop(socket);
        // Those who say nothing take the places that there are, and no more.
        let mut silent = Vec::new();
        let mut refused = loop {
            assert!(silent.len() <= MAX_CONTROL_CLIENTS + 1);
            let mut socket = UnixStream::connect(&path).unwrap();
            socket
                .set_read_timeout(Some(Duration::from_millis(300)))
                .unwrap();
            let mut line = String::new();
            if BufReader::new(&mut socket)
                .read_line(&mut line)
                .is_ok_and(|n| n > 0)
            {
                assert!(line.contains("\"busy\""), "{line}");
                break socket;
            }
            silent.push(socket);
        };
        assert!(
            refused.read(&mut [0; 8]).is_ok_and(|n| n == 0),
            "and closed"
        );
        // A client hears so, too.
        let busy = find(std::slice::from_ref(&path))
            .unwrap()
            .ask(&Request::new("version"));
        match busy {
            Ok(answer) => assert_eq!(answer.error.unwrap().code, "busy"),
            Err(Unreachable::Gone(_)) => {}
            Err(other) => panic!("{other}"),
        }
        drop(silent);
        // Their places are free again.
        let begun = std::time::Instant::now();
        loop {
            let answer = find(std::slice::from_ref(&path))
                .unwrap()
                .ask(&Request::new("version"));
            if answer.is_ok_and(|a| a.ok) {
                break;
            }
            assert!(begun.elapsed() < PATIENCE);
        }
    });
    timeout(PATIENCE * 3, done).await.unwrap().unwrap();
}
