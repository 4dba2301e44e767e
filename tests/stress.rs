//! `stress` against a server in this process, and what it says when there is nothing to load.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic outside its test functions too"
)]

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use crtmpserver::config::{Role, Settings};
use crtmpserver::daemon::Server;
use crtmpserver::stress::{Options, Report, StressError, Synthetic, run};
#[cfg(feature = "publish")]
use crtmpserver::stress::{Stop, run_until};
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
#[cfg(feature = "publish")]
fn programme() -> Synthetic {
    Synthetic {
        bitrate: 400_000,
        fps: 25,
        gop: Duration::from_millis(400),
        audio: 48_000,
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the threads of these tests have nothing else to do"
)]
fn wait(milliseconds: u64) {
    std::thread::sleep(Duration::from_millis(milliseconds));
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

#[cfg(feature = "publish")]
#[tokio::test(flavor = "multi_thread")]
async fn viewers_who_get_nothing_any_more_are_starved() {
    beside_a_server(|rtmp, _| {
        let url = format!("rtmp://{rtmp}/live/a");
        let encoder = Options {
            viewers: 0,
            publishers: 1,
            programme: programme(),
            duration: Duration::from_millis(1500),
            ..options(url.clone())
        };
        let encoder = std::thread::spawn(move || run(&encoder));
        // Its first frames are there soon; who comes before them waits.
        let report = run(&Options {
            duration: Duration::from_secs(5),
            stalled: 1,
            ..options(url)
        });
        let report = report.unwrap();
        // The one that does not read could not know.
        assert_eq!(report.starved, 11, "{report}");
        assert!(report.longest_silence_s > 2.0 && !report.is_good());
        assert!(report.to_string().contains("11 viewers got nothing"));
        assert!(report.faults()[0].starts_with("11 of 12 viewers got nothing"));
        assert_eq!((report.stalled.asked, report.disconnected), (1, 0));
        assert!(encoder.join().unwrap().unwrap().is_good());
    })
    .await;
}

#[cfg(feature = "publish")]
#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_run_tells_what_there_is() {
    beside_a_server(|rtmp, _| {
        let options = Options {
            publishers: 1,
            programme: programme(),
            duration: Duration::from_secs(600),
            ..options(format!("rtmp://{rtmp}/live/a"))
        };
        let stop = Stop::default();
        let report = std::thread::scope(|scope| {
            let run = scope.spawn(|| run_until(&options, &stop));
            wait(1500);
            stop.request(2);
            run.join().unwrap().unwrap()
        });
        let early = report.ended_early.clone().unwrap();
        assert_eq!(early, "interrupted after 1 s");
        assert!(report.seconds > 0.3 && report.mbit_per_second > 0.5);
        assert!(report.is_good(), "{report}");
        assert!(report.to_string().starts_with("ended early"));
    })
    .await;
}

/// The sender closes all connections after a second.
#[test]
fn a_run_whose_viewers_are_all_gone_ends() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let sender = std::thread::spawn(move || {
        let mut all: Vec<_> = (0..3).map(|_| listener.accept().unwrap().0).collect();
        for _ in 0..10 {
            for socket in &mut all {
                socket.write_all(&[7; 5000]).unwrap();
            }
            wait(100);
        }
    });
    let run = run(&Options {
        viewers: 3,
        stalled: 1,
        duration: Duration::from_secs(600),
        ..options(format!("raw://{address}"))
    });
    let report = run.unwrap();
    sender.join().unwrap();
    let early = report.ended_early.clone().unwrap();
    assert!(early.starts_with("no viewer was left"), "{early}");
    assert!((0.5..1.5).contains(&report.seconds), "{report}");
    // Of the three one was to stall: that it was closed is no fault.
    assert_eq!((report.disconnected, report.stalled.disconnected), (3, 1));
    assert_eq!(report.faults(), ["2 of 3 viewers lost their connection"]);
}

#[test]
fn the_program_refuses_with_a_sentence() {
    let said = |arguments: &[&str]| {
        let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_crtmpserver"));
        let done = program.arg("stress").args(arguments).output().unwrap();
        (done.status.code(), String::from_utf8(done.stderr).unwrap())
    };
    let url = "rtmp://127.0.0.1:1/live/a";
    let (code, text) = said(&[url, "--json", "/nonexistent/x.json"]);
    assert_eq!(code, Some(73));
    assert!(
        text.contains("/nonexistent/x.json: cannot be written"),
        "{text}"
    );
    let (code, text) = said(&[url, "--duration", "0"]);
    assert_eq!(code, Some(64));
    assert!(text.contains("--duration 0 measures nothing"), "{text}");
    // There was no report, and nothing is left of its file.
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.json");
    let (code, _) = said(&[url, "-n", "1", "--json", file.to_str().unwrap()]);
    assert_eq!((code, file.exists()), (Some(69), false));
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

/// The keys of the report, and the commands, are in docs/stress.md as the program has them.
#[test]
fn the_page_is_of_this_program() {
    let text = include_str!("../docs/stress.md");
    let json = text.split("## JSON").nth(1).unwrap();
    let json = json.split("## Exit").next().unwrap();
    let mut told: Vec<&str> = json
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split(" | ").next())
        .flat_map(|cell| cell.split(", ").map(|key| key.trim_matches('`')))
        .collect();
    let report = Report {
        ended_early: Some(String::new()),
        server: Some(crtmpserver::stress::Server::default()),
        ..Report::default()
    };
    let value = serde_json::to_value(&report).unwrap();
    let mut given: Vec<&str> = value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    told.sort_unstable();
    given.sort_unstable();
    assert_eq!(told, given);
    let mut commands = 0;
    for line in text.lines().filter(|l| l.starts_with("crtmpserver stress")) {
        let words = line.split_whitespace();
        crtmpserver::cli::command()
            .try_get_matches_from(words)
            .unwrap();
        commands += 1;
    }
    assert_eq!(commands, 3);
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
