//! `stress` against a server in this process, and what it says when there is nothing to load.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic outside its test functions too"
)]

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use crtmpserver::config::{Role, Settings};
use crtmpserver::daemon::Server;
use crtmpserver::stress::{Options, StressError, Synthetic, run};
use tokio::sync::oneshot;

fn options(url: String) -> Options {
    Options {
        url,
        publish: None,
        viewers: 12,
        publishers: 0,
        streams: 1,
        ramp: 1000,
        settle: Duration::ZERO,
        duration: Duration::from_millis(800),
        programme: Synthetic::default(),
        file: None,
        slow: 0,
        slow_rate: 50_000,
        stalled: 0,
        check: 4,
        pause: Duration::from_millis(1),
        allow_remote: false,
        pids: vec![std::process::id()],
        terminal: false,
    }
}

/// What a test publishes: with key pictures at short intervals, as it has little time.
fn programme() -> Synthetic {
    Synthetic {
        bitrate: 400_000,
        fps: 25,
        gop: Duration::from_millis(400),
        audio: 48_000,
    }
}

/// Runs `test` beside a server; it gets the addresses for RTMP and HTTP.
async fn beside_a_server(test: impl FnOnce(SocketAddr, SocketAddr) + Send + 'static) {
    let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let mut settings = Settings::for_role(Role::Standalone);
    settings.listen.rtmp = vec![free];
    settings.listen.http = vec![free];
    settings.server.threads = std::num::NonZeroUsize::new(1);
    let server = Server::open(settings).unwrap();
    let (rtmp, http) = (server.rtmp_addresses()[0], server.http_addresses()[0]);
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(server.serve(|| {}, async move {
        let _ = stopped.await;
    }));
    tokio::task::spawn_blocking(move || test(rtmp, http))
        .await
        .unwrap();
    drop(stop);
    serving.await.unwrap().unwrap();
}

#[cfg(feature = "publish")]
#[tokio::test(flavor = "multi_thread")]
async fn viewers_of_both_kinds_get_every_frame_of_every_stream() {
    beside_a_server(|rtmp, http| {
        let over_rtmp = Options {
            publishers: 3,
            programme: programme(),
            ..options(format!("rtmp://{rtmp}/live/a"))
        };
        let over_http = Options {
            publish: Some(format!("rtmp://{rtmp}/live/b")),
            publishers: 2,
            programme: programme(),
            stalled: 2,
            slow: 2,
            ..options(format!("http://{http}/live/b.flv"))
        };
        for options in [over_rtmp, over_http] {
            let report = run(&options).unwrap();
            assert!(report.is_good(), "{report}");
            assert_eq!((report.connected, report.failed), (12, 0));
            assert_eq!(report.publishers.started, options.publishers);
            let checked = report.checked;
            assert_eq!((checked.viewers, checked.unstamped), (4, 0));
            assert!(checked.frames > 4 * 20, "{report}");
            assert_eq!(report.key_frame_ms.count, 12);
            assert!(report.video_late_ms.unwrap().count > 0 && report.mbit_per_second > 0.5);
            assert!(report.server.unwrap().end.pss_kib > 0);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_gets_nothing_is_told_why() {
    beside_a_server(|rtmp, http| {
        let said = |options: &Options| run(options).unwrap_err().to_string();
        let refused = options(format!("rtmp://{rtmp}/nowhere/a"));
        assert!(said(&refused).contains("NetConnection.Connect.InvalidApp"));
        let publish = Options {
            publishers: 1,
            ..refused
        };
        assert!(said(&publish).starts_with("cannot publish: the server refuses a: NetConnection"));
        let missing = options(format!("http://{http}/nowhere/a.flv"));
        assert!(said(&missing).contains("404"), "{}", said(&missing));
    })
    .await;
}

#[test]
fn what_cannot_be_done_is_told_first() {
    let at = |url: &str| options(url.to_owned());
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let error = run(&at(&format!("rtmp://{closed}/live/a"))).unwrap_err();
    assert!(matches!(error, StressError::NobodyIn { .. }), "{error}");
    assert!(error.to_string().contains("refused"), "{error}");
    let publish = Options {
        publishers: 1,
        ..at(&format!("rtmp://{closed}/live/a"))
    };
    assert!(matches!(run(&publish), Err(StressError::Publisher(_))));
    let many = Options {
        viewers: usize::MAX / 2,
        ..at("rtmp://127.0.0.1/live/a")
    };
    assert!(matches!(run(&many), Err(StressError::Descriptors { .. })));
    let remote = run(&at("rtmp://192.0.2.1/live/a")).unwrap_err();
    assert!(remote.to_string().contains("--allow-remote"), "{remote}");
    let flv = Options {
        publishers: 1,
        ..at("http://127.0.0.1/live/a.flv")
    };
    assert!(matches!(run(&flv), Err(StressError::PublishWhere)));
}
