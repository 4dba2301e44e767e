//! Who may publish, who may play, and who is no mirror.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use crtmpserver::auth::{Networks, Secret};
use crtmpserver::config::{Role, Settings};
use crtmpserver::limits::Limits;
use crtmpserver::media::StreamName;
use crtmpserver::relay::{Claim, NoWake, State};
use crtmpserver::rtmp::client::Event;
use crtmpserver::rtmp::mirror::{self, Hello, Listing, Welcome};
use crtmpserver::rtmp::server::Event as ServerEvent;
use crtmpserver::rtmp_client::Session;
use tokio::time::timeout;

use crate::world::*;

#[tokio::test]
async fn the_right_password_publishes_and_the_wrong_one_is_told_so() {
    let folder = folder();
    let master = Running::start(settings(Role::Master, folder.path()));
    assert!(login(master.rtmp, PASSWORD).await.is_ok());
    let refused = login(master.rtmp, "wrong").await.err().unwrap();
    assert!(refused.contains("reason=authfailed"), "{refused}");
}

#[tokio::test]
async fn a_mirror_takes_no_publisher() {
    let folder = folder();
    let master = Running::start(settings(Role::Master, folder.path()));
    let mirror = Running::start(mirror_of(master.rtmp, folder.path()));
    let config = client(mirror.rtmp, "live", true);
    let mut session = Session::dial(&mirror.rtmp.to_string(), config)
        .await
        .unwrap();
    loop {
        if let Event::Connected { .. } = session.next().await.unwrap() {
            break;
        }
    }
    let refused = Encoder::publish(session, 0).await.err();
    assert_eq!(refused.as_deref(), Some("NetStream.Publish.BadName"));
}

#[tokio::test]
async fn a_master_plays_to_nobody_but_mirrors() {
    let folder = folder();
    let master = Running::start(settings(Role::Master, folder.path()));
    let _encoder = Encoder::start(master.rtmp, 0).await;
    let config = client(master.rtmp, "live", false);
    let mut session = Session::dial(&master.rtmp.to_string(), config)
        .await
        .unwrap();
    let refused = loop {
        match session.next().await {
            Ok(Event::Connected { .. }) => panic!("a stranger was connected"),
            Ok(Event::Rejected { .. }) => break true,
            Ok(_) => {}
            Err(_) => break false,
        }
    };
    assert!(refused);
}

#[tokio::test]
async fn a_mirror_with_a_wrong_secret_gets_nothing() {
    let (right, wrong) = (folder(), folder());
    std::fs::write(
        wrong.path().join("secret"),
        "another secret, as long as that",
    )
    .unwrap();
    let master = Running::start(settings(Role::Master, right.path()));
    let mirror = Running::start(mirror_of(master.rtmp, wrong.path()));
    let _encoder = Encoder::start(master.rtmp, 0).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(mirror.hub.streams().is_empty());
    let streams = master.hub.streams();
    assert!(streams.iter().all(|s| s.viewers().total() == 0));
}

#[tokio::test]
async fn a_server_that_is_its_own_master_pulls_nothing() {
    let folder = folder();
    let address = {
        let probe = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        probe.local_addr().unwrap()
    };
    let mut settings = mirror_of(address, folder.path());
    settings.listen.rtmp = vec![address];
    let mirror = Running::start(settings);
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(mirror.hub.streams().is_empty());
    mirror.stop().await;
}

#[tokio::test]
async fn a_foreign_server_can_be_the_master() {
    let folder = folder();
    let mut config: Settings = settings(Role::Standalone, folder.path());
    config.secret_file = None;
    config.publish.networks = Networks::loopback();
    let origin = Running::start(config);
    let mut config = mirror_of(origin.rtmp, folder.path());
    config.secret_file = None;
    let name = StreamName::new("live", "event").unwrap();
    config.mirror.as_mut().unwrap().streams = vec![name.clone()];
    let mirror = Running::start(config);
    let encoder = Encoder::start(origin.rtmp, 0).await;
    let viewer = Viewer::start(mirror.rtmp).await;
    assert_unbroken(&viewer.until_frame(40).await.numbers);
    encoder.cut().await;
    let stream = mirror.hub.get(&name).unwrap();
    eventually("it waits", || stream.state() != State::Live).await;
    let _encoder = Encoder::start(origin.rtmp, 700).await;
    viewer.until_frame(740).await;
}

#[tokio::test]
async fn an_unknown_stream_and_an_unknown_application_are_refused_in_words() {
    let folder = folder();
    let mut config = settings(Role::Standalone, folder.path());
    config.play.wait = Duration::from_millis(100);
    let server = Running::start(config);
    let viewer = Viewer::start(server.rtmp).await;
    viewer
        .until("refused", |s| {
            s.codes.iter().any(|c| c == "NetStream.Play.StreamNotFound")
        })
        .await;
    let config = client(server.rtmp, "nosuch", false);
    let mut session = Session::dial(&server.rtmp.to_string(), config)
        .await
        .unwrap();
    let code = timeout(PATIENCE, async {
        loop {
            if let Event::Rejected { code, .. } = session.next().await.unwrap() {
                return code;
            }
        }
    });
    assert_eq!(code.await.unwrap(), "NetConnection.Connect.InvalidApp");
}

#[tokio::test]
async fn a_mirror_is_told_of_many_changes_together() {
    let folder = folder();
    let master = Running::start(settings(Role::Master, folder.path()));
    let (secret, _) = Secret::read(&folder.path().join("secret")).unwrap();
    let hello = Hello {
        id: mirror::new_id([1; 16]),
        nonce: mirror::new_id([2; 16]),
    };
    let mut config = client(master.rtmp, "live", false);
    config
        .extra
        .push((mirror::FIELD.to_owned(), hello.to_value()));
    let mut session = Session::dial(&master.rtmp.to_string(), config)
        .await
        .unwrap();
    let begin = Instant::now();
    let (mut calls, mut last) = (0, Listing::default());
    let listened = timeout(Duration::from_millis(1500), async {
        loop {
            match session.next().await.unwrap() {
                Event::Connected { info, .. } => {
                    let nonce = Welcome::find(&info).unwrap().nonce;
                    let proof = secret.mirror_proof(&hello.nonce, &nonce, &hello.id);
                    session.machine().call(mirror::PROVE, vec![proof.into()]);
                    session.machine().call(mirror::WATCH, Vec::new());
                }
                Event::Call { name, args, .. } if name == mirror::STREAMS => {
                    calls += 1;
                    last = args.iter().find_map(Listing::from_value).unwrap();
                }
                _ => {}
            }
        }
    });
    let changes = async {
        let mut kept = Vec::new();
        while begin.elapsed() < Duration::from_millis(1000) {
            tokio::time::sleep(Duration::from_millis(5)).await;
            let claim = Claim {
                identity: None,
                source: "test".into(),
                displaced: Arc::new(NoWake),
                id: 1,
                epoch: None,
            };
            let name = StreamName::new("live", &format!("s{}", kept.len())).unwrap();
            let published = master.hub.publish(&name, claim, Instant::now(), 0);
            kept.push(published.unwrap());
        }
        kept
    };
    let (listened, kept) = tokio::join!(listened, changes);
    assert!(listened.is_err());
    assert_eq!(last.streams.len(), kept.len(), "the last change is told");
    assert!((5..=16).contains(&calls), "{calls} for {}", kept.len());
}

/// A master of another make that plays `live/event` and never stops sending the smallest frames.
fn flooding_master() -> SocketAddr {
    use crtmpserver::rtmp::chunk::write_absolute;
    use crtmpserver::rtmp::message::{Message, kind};
    use crtmpserver::rtmp::server::{Output, Server, ServerConfig};
    use std::io::{Read, Write};

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = |mut socket: std::net::TcpStream| -> std::io::Result<()> {
        let config = ServerConfig {
            limits: Limits::default().into(),
            chunk_size: 4096,
            window: 2_500_000,
            random: [7; 32],
            client: 1,
        };
        let mut machine = Server::new(config, Instant::now());
        let mut plays = false;
        let mut buffer = [0; 4096];
        while !plays {
            let n = socket.read(&mut buffer)?;
            machine.feed(&buffer[..n], Instant::now());
            while let Some(output) = machine.poll() {
                match output {
                    Output::Write(bytes) => socket.write_all(&bytes)?,
                    Output::Event(ServerEvent::Connect(_)) => machine.accept_connect(vec![]),
                    Output::Event(ServerEvent::Play { stream, .. }) => {
                        machine.accept_play(stream);
                        plays = true;
                    }
                    _ => {}
                }
            }
        }
        let mut flood = BytesMut::new();
        for time in 0..5000 {
            let frame = Message {
                chunk_stream: 6,
                kind: kind::VIDEO,
                timestamp: time,
                stream: 1,
                payload: Bytes::from_static(b"\x17\x01\0\0\0"),
            };
            write_absolute(&mut flood, 4096, &frame);
        }
        loop {
            socket.write_all(&flood)?;
        }
    };
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            std::thread::spawn(move || serve(socket));
        }
    });
    address
}

#[tokio::test]
async fn a_master_that_floods_its_mirror_does_not_stop_it() {
    let folder = folder();
    let master = flooding_master();
    let mut config = mirror_of(master, folder.path());
    config.secret_file = None;
    config.server.threads = std::num::NonZeroUsize::new(1);
    let name = StreamName::new("live", "event").unwrap();
    config.mirror.as_mut().unwrap().streams = vec![name.clone()];
    let mirror = Running::start(config);
    eventually("it pulls", || mirror.hub.get(&name).is_some()).await;
    for _ in 0..3 {
        let connect = async {
            let config = client(mirror.rtmp, "live", false);
            let address = mirror.rtmp.to_string();
            let mut session = Session::dial(&address, config).await.unwrap();
            while !matches!(session.next().await, Ok(Event::Connected { .. })) {}
        };
        let connected = timeout(Duration::from_secs(3), connect).await;
        connected.expect("nobody else is served");
    }
    mirror.stop().await;
}
