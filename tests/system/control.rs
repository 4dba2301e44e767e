//! `crtmpserver status` and `ctl`, with ffmpeg as encoder and viewers.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::daemon::binary;
use crate::media::{Packets, programme};
use crate::programs::{publish, watch, watched};
use crate::viewer::Viewer;
use crate::world::{PATIENCE, Process, World, free_ports, wait_for, wait_within};

struct Asked {
    process: Process,
    socket: PathBuf,
    rtmp: u16,
    http: u16,
    _folder: tempfile::TempDir,
}

impl Asked {
    fn start(world: &World) -> Self {
        Self::start_with(world, &[])
    }

    /// With these keys, each `KEY=VALUE`.
    fn start_with(world: &World, keys: &[String]) -> Self {
        let [rtmp, http] = free_ports();
        // The system's address of a socket has no room for the folder of the logs.
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("c.sock");
        let mut command = Command::new(binary());
        command
            .args(["--allow-root", "--log=debug"])
            .arg(format!("--rtmp=127.0.0.1:{rtmp}"))
            .arg(format!("--http=127.0.0.1:{http}"))
            .args(["--set", &format!("listen.control={}", socket.display())])
            .args(keys.iter().flat_map(|key| ["--set", key.as_str()]))
            .env("NO_COLOR", "1");
        let asked = Self {
            process: world.start("server", &mut command),
            socket,
            rtmp,
            http,
            _folder: folder,
        };
        wait_for("it answers", || {
            (asked.say(&["status"]).0 == Some(0)).then_some(())
        });
        asked
    }

    fn say(&self, words: &[&str]) -> (Option<i32>, String) {
        let mut command = Command::new(binary());
        let done = command.args(words).arg("--socket").arg(&self.socket);
        let done = done.output().expect("it runs");
        let text = String::from_utf8_lossy(&done.stdout).into_owned();
        (done.status.code(), text)
    }

    fn json(&self, words: &[&str]) -> Value {
        let (_, text) = self.say(&[words, &["--json"]].concat());
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"))
    }

    fn stream(&self) -> Value {
        self.json(&["ctl", "streams"])["streams"][0].clone()
    }
}

pub(crate) fn an_operator_sees_and_ends_them(world: &World) {
    let server = Asked::start(world);
    let url = format!("rtmp://127.0.0.1:{}/live/event", server.rtmp);
    let mut encoder = publish(world, "encoder", &programme(), &url);
    wait_for("the rate is known", || {
        let stream = server.stream();
        let known = stream["fps"].is_number() && stream["kbit_per_second"].as_u64() > Some(0);
        known.then_some(())
    });
    let mut rtmp = watch(world, "rtmp", &url);
    let flv = Viewer::open(world, "flv", server.http, "live/event");
    flv.wait_pictures(40);
    watched(&rtmp, 25);

    let stream = server.stream();
    assert_eq!(stream["state"], "live");
    assert!(
        stream["encoder"].as_str().unwrap().contains("Lavf"),
        "{stream}"
    );
    assert_eq!(
        (&stream["video"], &stream["audio"]),
        (&"avc1".into(), &"mp4a".into())
    );
    let fps = stream["fps"].as_f64().unwrap();
    assert!((24.0..=26.0).contains(&fps), "{fps}");
    let (code, text) = server.say(&["status"]);
    assert_eq!(code, Some(0));
    for word in [
        "healthy",
        "live/event",
        "Lavf",
        "2 (1 rtmp, 1 http-flv, 0 mirror)",
    ] {
        assert!(text.contains(word), "{word} in {text}");
    }
    let viewers = server.json(&["ctl", "viewers", "live/event"])["viewers"].clone();
    let of = |protocol: &str| {
        let all = viewers.as_array().unwrap().iter();
        let found = all.clone().find(|v| v["protocol"] == protocol);
        found.unwrap_or_else(|| panic!("{protocol} in {viewers}"))["id"].to_string()
    };
    for viewer in viewers.as_array().unwrap() {
        assert!(viewer["kbit_per_second"].as_u64() > Some(10), "{viewer}");
        assert!(viewer["lag_ms"].as_u64() < Some(4000), "{viewer}");
    }

    // A player hears the end as such, and goes with what it has.
    assert_eq!(server.say(&["ctl", "kick", &of("rtmp")]).0, Some(0));
    rtmp.wait(PATIENCE);
    flv.wait_more(25);
    // The encoder is told why, and its viewers wait for the next one.
    let (code, text) = server.say(&["ctl", "kick", "live/event"]);
    assert!(
        code == Some(0) && text.contains("published live/event"),
        "{text}"
    );
    encoder.wait(PATIENCE);
    assert!(encoder.said().contains("An operator ended the stream"));
    wait_for("it waits", || {
        (server.stream()["state"] == "waiting").then_some(())
    });
    let _encoder = publish(world, "encoder-again", &programme(), &url);
    flv.wait_more(25);
    flv.assert_sane();
    assert_eq!(server.stream()["epochs"], 2);
    assert_eq!(server.say(&["ctl", "kick", &of("http-flv")]).0, Some(0));
    wait_within(PATIENCE, "nobody watches", || {
        (server.stream()["viewers"]["flv"] == 0).then_some(())
    });
    let log = server.process.said();
    assert_eq!(log.matches("an operator ended a connection").count(), 3);
}

/// An operator begins and ends one.
pub(crate) fn recordings(world: &World) {
    let folder = world.path("recordings");
    std::fs::create_dir_all(&folder).unwrap();
    let keys = [
        format!("record.folder={}", folder.display()),
        "record.min_free=0B".to_owned(),
    ];
    let server = Asked::start_with(world, &keys);
    let (code, text) = server.say(&["ctl", "recordings"]);
    assert!(code == Some(0) && text.contains("nothing is recorded"));
    let (code, _) = server.say(&["ctl", "record", "live/event"]);
    assert_eq!(code, Some(1), "there is no such stream");

    let url = format!("rtmp://127.0.0.1:{}/live/event", server.rtmp);
    let mut encoder = publish(world, "encoder", &programme(), &url);
    wait_for("it is live", || {
        (server.stream()["state"] == "live").then_some(())
    });
    let (code, _) = server.say(&["ctl", "record", "live/event", "--length=9s"]);
    assert_eq!(code, Some(1), "a file has 10 s at least");
    let asked = [
        "--format=mp4",
        "--name=talks/{stream}-{part}",
        "--length=10s",
    ];
    let (code, text) = server.say(&[&["ctl", "record", "live/event"], &asked[..]].concat());
    assert!(code == Some(0) && text.contains("operator"), "{text}");
    let list = || server.json(&["ctl", "recordings"])["recordings"].clone();
    let begun = wait_for("the second file has begun", || {
        let now = list()[0].clone();
        let bytes = now["bytes"].as_u64()?;
        (now["files"].as_u64() == Some(2)).then_some(bytes)
    });
    wait_for("something is in it", || {
        (list()[0]["bytes"].as_u64()? > begun + 100_000).then_some(())
    });
    let now = list()[0].clone();
    assert_eq!(
        (&now["stream"], &now["why"], &now["state"]),
        (
            &"live/event".into(),
            &"operator".into(),
            &"recording".into()
        )
    );
    let (_, text) = server.say(&["ctl", "recordings"]);
    assert!(
        text.contains("talks/event-") && text.contains("operator"),
        "{text}"
    );
    let (code, _) = server.say(&["ctl", "record", "live/event", "--stop"]);
    assert_eq!(code, Some(0));
    wait_for("nothing is recorded", || {
        list().as_array()?.is_empty().then_some(())
    });
    let (code, _) = server.say(&["ctl", "record", "live/event", "--stop"]);
    assert_eq!(code, Some(1), "there is none");
    // The stream goes on; the files are whole, and one goes on where the other ends.
    assert!(encoder.running());
    assert_eq!(server.stream()["state"], "live");
    let file = |number: u32| folder.join(format!("talks/event-{number}.mp4"));
    let source = Packets::of_file(world, "ffmpeg", "source", &programme());
    let of = |number| Packets::of_file(world, "ffmpeg", &format!("{number}"), &file(number));
    let (first, second) = (of(1), of(2));
    first.assert_part_of(&source, 250);
    second.assert_part_of(&source, 10);
    assert_eq!(first.video.packets.len(), 250, "ten seconds");
    let at = |packet: &String| source.video.packets.iter().position(|p| p == packet);
    let last = at(first.video.packets.last().unwrap()).unwrap();
    let next = at(&second.video.packets[0]).unwrap();
    assert_eq!(next, (last + 1) % source.video.packets.len());
    assert!(!file(3).exists());
}
