//! The configuration changes while a stream runs: nobody who watches or publishes notices.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use crtmpserver::auth::{Networks, passwd};
use crtmpserver::config::{Effect, MasterUrl, Mirror, Role, Settings};
use crtmpserver::daemon::Server;
use crtmpserver::daemon::Stack;
use crtmpserver::daemon::activation::Inherited;
use crtmpserver::media::StreamName;
use crtmpserver::net::Listener;

use crate::world::*;

fn free() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

/// Frames that both have come from before to after something happened, without a gap.
async fn unbroken_until(viewers: &[&Viewer], number: u32) {
    for viewer in viewers {
        let seen = viewer.until_frame(number).await;
        assert_unbroken(&seen.numbers);
        assert_eq!(seen.headers, 1, "no second beginning");
        assert_eq!(
            seen.codes,
            seen_codes(&viewer.seen().codes),
            "no word of it"
        );
    }
}

/// The codes of a viewer that has only begun to play.
fn seen_codes(codes: &[String]) -> Vec<String> {
    let begun = |code: &&String| !code.contains("Waiting") && !code.contains("Unpublish");
    codes.iter().filter(begun).cloned().collect()
}

#[tokio::test]
async fn nobody_notices_a_reload_that_changes_everything_else() {
    let folder = folder();
    let old = settings(Role::Master, folder.path());
    let master = Running::start(old.clone());
    let below = mirror_of(master.rtmp, folder.path());
    let mirror = Running::start(below.clone());
    let _encoder = Encoder::start(master.rtmp, 0).await;
    let viewer = Viewer::start(mirror.rtmp).await;
    viewer.until_frame(20).await;

    passwd::set(&folder.path().join("users"), USER, "another password").unwrap();
    let mut new = old.clone();
    new.limits.send_timeout = Duration::from_secs(7);
    new.limits.max_connections = 50;
    new.limits.max_video = 1 << 20;
    new.relay.log_frames = 64;
    new.relay.grace = Some(Duration::from_secs(1));
    new.relay.latency = Some(Duration::ZERO);
    new.play.networks = Networks::none();
    new.applications.add("more").unwrap();
    let changes = master.reload(new).await.unwrap();
    let keys: Vec<&str> = changes.iter().map(|c| c.key.as_str()).collect();
    assert_eq!(keys.len(), 8, "{keys:?}");
    assert!(keys.contains(&"publish.users"), "{keys:?}");
    let mut new = below;
    new.relay.latency = Some(Duration::from_millis(100));
    new.play.wait = Duration::from_secs(1);
    new.limits.send_timeout = Duration::from_secs(7);
    assert_eq!(mirror.reload(new).await.unwrap().len(), 3);

    let late = Viewer::start(mirror.rtmp).await;
    unbroken_until(&[&viewer, &late], 120).await;
    assert!(
        login(master.rtmp, PASSWORD).await.is_err(),
        "the old password"
    );
    assert!(login(master.rtmp, "another password").await.is_ok());
}

#[tokio::test]
async fn a_listener_moves_and_its_connections_stay() {
    let folder = folder();
    let old = settings(Role::Standalone, folder.path());
    let server = Running::start(old.clone());
    let _encoder = Encoder::start(server.rtmp, 0).await;
    let viewer = Viewer::start(server.rtmp).await;
    viewer.until_frame(20).await;

    // Taken by someone else: nothing of it happens.
    let taken = TcpListener::bind(free()).unwrap();
    let mut bad = old.clone();
    bad.listen.rtmp = vec![taken.local_addr().unwrap()];
    bad.publish.networks = Networks::none();
    let problems = server.reload(bad).await.unwrap_err();
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].key, "listen.rtmp");
    assert!(problems[0].message.contains("another program"));
    assert!(login(server.rtmp, "any").await.is_ok(), "who published may");

    let moved = taken.local_addr().unwrap();
    drop(taken);
    let mut new = old.clone();
    new.listen.rtmp = vec![moved];
    let changes = server.reload(new).await.unwrap();
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].effect, Effect::Listener);
    let late = Viewer::start(moved).await;
    unbroken_until(&[&viewer, &late], 100).await;
    eventually("the old address is free", || {
        TcpListener::bind(server.rtmp).is_ok()
    })
    .await;
}

#[tokio::test]
async fn a_socket_that_was_passed_stays_whatever_the_configuration_says() {
    let folder = folder();
    let old = settings(Role::Standalone, folder.path());
    let passed = TcpListener::bind(free()).unwrap();
    let inherited = Inherited {
        listeners: vec![(Stack::Rtmp, Listener::inherit(passed.into()).unwrap())],
        ..Inherited::default()
    };
    let server = Running::of(Server::open_with(old.clone(), inherited).unwrap());
    let _encoder = Encoder::start(server.rtmp, 0).await;
    let mut new = old;
    new.listen.rtmp = vec!["127.0.0.1:1".parse().unwrap()];
    new.play.wait = Duration::from_secs(9);
    let changes = server.reload(new).await.unwrap();
    let effects: Vec<_> = changes.iter().map(|c| (&*c.key, c.effect)).collect();
    let expected = [
        ("listen.rtmp", Effect::Passed),
        ("play.wait", Effect::ForNew),
    ];
    assert_eq!(effects, expected);
    let viewer = Viewer::start(server.rtmp).await;
    assert_unbroken(&viewer.until_frame(30).await.numbers);
}

#[tokio::test]
async fn another_secret_is_for_mirrors_that_come() {
    let folder = folder();
    let old = settings(Role::Master, folder.path());
    let master = Running::start(old.clone());
    let first = Running::start(mirror_of(master.rtmp, folder.path()));
    let _encoder = Encoder::start(master.rtmp, 0).await;
    let viewer = Viewer::start(first.rtmp).await;
    viewer.until_frame(20).await;
    let secret = folder.path().join("secret");
    let text = std::fs::read_to_string(&secret).unwrap();
    std::fs::write(&secret, text.replace('0', "1")).unwrap();
    let changes = master.reload(old).await.unwrap();
    assert_eq!(changes.len(), 1);
    assert_eq!(
        changes[0].to_string(),
        "master.secret_file has another secret"
    );

    // One with the old secret does not come in; after its own reload it does.
    std::fs::write(&secret, text.clone()).unwrap();
    let late = Running::start(mirror_of(master.rtmp, folder.path()));
    let begun = std::time::Instant::now();
    while !late.health().await.contains("secret") {
        assert!(begun.elapsed() < PATIENCE, "{}", late.health().await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    std::fs::write(&secret, text.replace('0', "1")).unwrap();
    late.reload(mirror_of(master.rtmp, folder.path()))
        .await
        .unwrap();
    let other = Viewer::start(late.rtmp).await;
    unbroken_until(&[&other, &viewer], 150).await;
}

#[tokio::test]
async fn what_waits_for_a_restart_is_told_each_time_and_another_role_is_refused() {
    let folder = folder();
    let old = settings(Role::Standalone, folder.path());
    let server = Running::start(old.clone());
    let mut new = old;
    new.server.threads = std::num::NonZeroUsize::new(7);
    for _ in 0..2 {
        let changes = server.reload(new.clone()).await.unwrap();
        assert_eq!(changes.len(), 1);
        assert_eq!(
            (changes[0].key.as_str(), changes[0].effect),
            ("server.threads", Effect::Restart)
        );
    }
    let problems = server.reload(settings(Role::Master, folder.path())).await;
    assert_eq!(problems.unwrap_err()[0].key, "role");
}

#[tokio::test]
async fn a_mirror_without_a_master_says_so_and_finds_it_by_a_reload() {
    let folder = folder();
    let master = Running::start(settings(Role::Master, folder.path()));
    let _encoder = Encoder::start(master.rtmp, 0).await;
    let mut without = mirror_of(master.rtmp, folder.path());
    without.mirror = None;
    let mirror = Running::start(without);
    let health = mirror.health().await;
    assert!(
        health.starts_with("HTTP/1.1 503") && health.contains("this mirror has no master yet"),
        "{health}"
    );
    let viewer = Viewer::start(mirror.rtmp).await;
    let found = mirror_of(master.rtmp, folder.path());
    let changes = mirror.reload(found).await.unwrap();
    assert_eq!(changes[0].key, "mirror.master");
    assert_unbroken(&viewer.until_frame(50).await.numbers);
    let health = mirror.health().await;
    assert!(health.starts_with("HTTP/1.1 200"), "{health}");
}

#[tokio::test]
async fn a_mirror_changes_its_master_and_its_viewers_stay() {
    let folder = folder();
    let first = Running::start(settings(Role::Master, folder.path()));
    let second = Running::start(settings(Role::Master, folder.path()));
    let _one = Encoder::start(first.rtmp, 0).await;
    let _two = Encoder::start(second.rtmp, 5000).await;
    let mirror = Running::start(mirror_of(first.rtmp, folder.path()));
    let viewer = Viewer::start(mirror.rtmp).await;
    viewer.until_frame(30).await;
    mirror
        .reload(mirror_of(second.rtmp, folder.path()))
        .await
        .unwrap();
    let seen = viewer.until_frame(5050).await;
    let other = seen.numbers.iter().position(|n| *n >= 5000).unwrap();
    assert_unbroken(&seen.numbers[..other]);
    assert_unbroken(&seen.numbers[other..]);
    eventually("the first master has no mirror", || {
        first.hub.streams().iter().all(|s| s.viewers().total() == 0)
    })
    .await;
}

/// A server of another make in place of the master: it knows no secret.
fn foreign(master: SocketAddr, names: &[&str]) -> Settings {
    let mut settings = Settings::for_role(Role::Mirror);
    settings.listen.rtmp = vec![free()];
    settings.listen.http = vec![free()];
    let name = |name: &&str| StreamName::new("live", name).unwrap();
    settings.mirror = Some(Mirror {
        master: MasterUrl {
            host: master.ip().to_string(),
            port: master.port(),
            tls: false,
        },
        ca_file: None,
        streams: names.iter().map(name).collect(),
    });
    settings
}

#[tokio::test]
async fn streams_of_a_foreign_master_come_and_go() {
    let folder = folder();
    let mut open = settings(Role::Standalone, folder.path());
    open.secret_file = None;
    let source = Running::start(open);
    let _encoder = Encoder::start(source.rtmp, 0).await;
    let mirror = Running::start(foreign(source.rtmp, &["event", "other"]));
    let viewer = Viewer::start(mirror.rtmp).await;
    viewer.until_frame(20).await;

    // The one that nobody publishes is not wanted any more; the other one does not notice.
    mirror
        .reload(foreign(source.rtmp, &["event"]))
        .await
        .unwrap();
    unbroken_until(&[&viewer], 100).await;
    let health = mirror.health().await;
    assert!(health.starts_with("HTTP/1.1 200"), "{health}");
    mirror
        .reload(foreign(source.rtmp, &["another"]))
        .await
        .unwrap();
    viewer
        .until("the end of a stream that is not wanted", |s| {
            s.codes.iter().any(|c| c.contains("UnpublishNotify"))
        })
        .await;
    eventually("the stream is gone", || mirror.hub.streams().is_empty()).await;
}

#[tokio::test]
async fn a_server_that_stops_is_not_reloaded() {
    let folder = folder();
    let server = Running::start(settings(Role::Standalone, folder.path()));
    let reloader = server.reloader();
    // Nothing was read from anywhere, so there is nothing to read again.
    assert!(reloader.reload().await.is_err());
    server.stop().await;
    let loaded = crtmpserver::config::load(&crtmpserver::config::Sources {
        flags: vec![crtmpserver::config::Flag {
            name: "--role".into(),
            key: "role".into(),
            value: "standalone".into(),
        }],
        ..Default::default()
    });
    let problems = reloader.apply(loaded.unwrap()).await.unwrap_err();
    assert_eq!(problems[0].to_string(), "the server stops");
}

#[tokio::test]
async fn a_stop_gives_viewers_what_has_come_by_then() {
    let folder = folder();
    let mut merging = settings(Role::Standalone, folder.path());
    // Without that, up to a third of a second would be lost.
    merging.relay.latency = Some(Duration::from_millis(350));
    merging.server.stop_grace = Duration::from_secs(4);
    let server = Running::start(merging);
    let _encoder = Encoder::start(server.rtmp, 0).await;
    let viewers = [
        Viewer::start(server.rtmp).await,
        Viewer::start(server.rtmp).await,
    ];
    for viewer in &viewers {
        viewer.until_frame(30).await;
    }
    let stream = server.hub.streams().remove(0);
    server.stop().await;
    // The sequence header is one of them.
    let came = stream.info(std::time::Instant::now()).frames - 1;
    for viewer in &viewers {
        let seen = viewer.seen();
        assert_unbroken(&seen.numbers);
        assert_eq!(seen.numbers.last().map(|n| u64::from(*n) + 1), Some(came));
    }
}
