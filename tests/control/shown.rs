//! The samples of `docs/operating.md`: a master with one mirror, an encoder and viewers, asked with
//! the commands that the page shows.

use std::net::SocketAddr;

use bytes::Bytes;
use crtmpserver::rtmp::server::PublishKind;
use crtmpserver::rtmp_client::Session;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::Server;

#[path = "../event/world.rs"]
#[expect(dead_code, reason = "this needs only a part of it")]
mod world;

const PAGE: &str = include_str!("../../docs/operating.md");
/// What the page's encoder calls itself.
const ENCODER: &str = "FMLE/3.0 (compatible; FMSc/1.0)";

struct Event {
    master: Server,
    mirror: Server,
    tasks: Vec<JoinHandle<()>>,
    _folder: tempfile::TempDir,
}

impl Drop for Event {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Event {
    async fn start() -> Self {
        let folder = world::folder();
        let dir = folder.path().to_owned();
        let master = Server::start(
            &dir,
            "master",
            &[
                "--role",
                "master",
                "--set",
                "publish.users=users",
                "--set",
                "master.secret_file=secret",
            ],
        );
        let upstream = master.address("rtmp");
        let mirror = Server::start(
            &dir,
            "mirror",
            &[
                "--role",
                "mirror",
                "--master",
                &format!("rtmp://{upstream}"),
                "--set",
                "mirror.secret_file=secret",
            ],
        );
        let mut event = Self {
            tasks: vec![tokio::spawn(publish(upstream))],
            master,
            mirror,
            _folder: folder,
        };
        let live = |_, out: &str| out.contains(" live ") && out.contains(" 25.0 ");
        for server in [&event.master, &event.mirror] {
            server.until("it is live", &["ctl", "streams"], live);
        }
        for _ in 0..2 {
            event
                .tasks
                .push(tokio::spawn(play(event.mirror.address("rtmp"))));
        }
        let http = event.mirror.address("http");
        event.tasks.push(tokio::spawn(watch(http)));
        event
            .mirror
            .until("three watch", &["ctl", "viewers"], |_, out| {
                out.lines().filter(|l| l.ends_with("playing")).count() == 3
            });
        event
    }

    fn server(&self, name: &str) -> &Server {
        match name {
            "master" => &self.master,
            "mirror" => &self.mirror,
            other => panic!("no server {other}"),
        }
    }
}

/// An encoder with a picture each 40 ms and audio between them.
async fn publish(address: SocketAddr) {
    let mut query = String::new();
    let mut session = loop {
        let mut config = world::client(address, &format!("live{query}"), true);
        config.flash_ver = ENCODER.into();
        let mut session = Session::dial(&address.to_string(), config).await.unwrap();
        let event = loop {
            match session.next().await.unwrap() {
                crtmpserver::rtmp::client::Event::Connected { .. } => break None,
                crtmpserver::rtmp::client::Event::Rejected { description, .. } => {
                    break Some(description);
                }
                _ => {}
            }
        };
        let Some(description) = event else {
            break session;
        };
        let (user, password) = (world::USER, world::PASSWORD);
        let answer =
            crtmpserver::rtmp::adobe::answer(user, password, &description, "nonce123").unwrap();
        query = format!("?{}", answer.trim_start_matches('?'));
    };
    session.machine().publish("event", PublishKind::Live);
    let stream = loop {
        if let crtmpserver::rtmp::client::Event::PublishStarted { stream } =
            session.next().await.unwrap()
        {
            break stream;
        }
    };
    let header = Bytes::from_static(world::VIDEO_HEADER);
    session.machine().send_media(stream, 9, 0, &header);
    let audio = Bytes::from_static(&[0xaf, 0, 0x12, 0x10]);
    session.machine().send_media(stream, 8, 0, &audio);
    for n in 0.. {
        let picture = world::payload(n);
        session.machine().send_media(stream, 9, n * 40, &picture);
        let sound = Bytes::from_static(&[0xaf, 1, 0x21, 0x10, 0x04]);
        session.machine().send_media(stream, 8, n * 40, &sound);
        let pause = tokio::time::sleep(std::time::Duration::from_millis(40));
        tokio::pin!(pause);
        loop {
            tokio::select! {
                event = session.next() => if event.is_err() { return },
                () = &mut pause => break,
            }
        }
    }
}

/// A player; it is done when the server has done with it.
async fn play(address: SocketAddr) {
    let config = world::client(address, "live", false);
    let mut session = Session::dial(&address.to_string(), config).await.unwrap();
    while let Ok(event) = session.next().await {
        if matches!(event, crtmpserver::rtmp::client::Event::Connected { .. }) {
            session.machine().play("event", -2.0);
        }
    }
}

async fn watch(http: SocketAddr) {
    let mut socket = TcpStream::connect(http).await.unwrap();
    let request = b"GET /live/event.flv HTTP/1.1\r\nHost: x\r\n\r\n";
    socket.write_all(request).await.unwrap();
    let mut bytes = [0; 4096];
    while socket.read(&mut bytes).await.is_ok_and(|n| n > 0) {}
}

/// The page's samples: the server, the command, and what it printed.
fn samples() -> Vec<(&'static str, &'static str, Vec<&'static str>)> {
    let mut samples: Vec<(&str, &str, Vec<&str>)> = Vec::new();
    for block in PAGE.split("```console\n").skip(1) {
        for line in block.split("```").next().unwrap().lines() {
            match line.split_once("$ crtmpserver ") {
                Some((server, command)) => samples.push((server, command, Vec::new())),
                None => samples.last_mut().unwrap().2.push(line),
            }
        }
    }
    samples
}

/// Behind a command of the page that prints JSON.
const JQ: &str = " | jq -S";

/// A line with every word that has a digit replaced: times, addresses, figures and numbers differ.
fn shape(line: &str) -> Vec<String> {
    let digits = |word: &str| word.contains(|c: char| c.is_ascii_digit());
    line.split_whitespace()
        .map(|word| {
            if digits(word) || word == "-" {
                "#".to_owned()
            } else {
                word.to_owned()
            }
        })
        // `1.2 MB` on one machine is `12 kB` on another.
        .filter(|word| !["B", "kB", "MB", "ms", "s"].contains(&word.as_str()))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_shows_what_the_program_prints() {
    let event = Event::start().await;
    let samples = samples();
    assert!(samples.len() >= 6, "{samples:?}");
    let mut page = PAGE.to_owned();
    let mut wrong = Vec::new();
    for (name, command, shown) in samples {
        let server = event.server(name);
        // A connection of the page is one of this moment.
        // jq puts a line for each field, in their order, as this test does.
        let (plain, jq) = match command.strip_suffix(JQ) {
            Some(plain) => (plain, JQ),
            None => (command, ""),
        };
        let words: Vec<String> = plain
            .split(' ')
            .map(|word| match word.parse::<u64>() {
                Ok(_) => first_viewer(server),
                Err(_) => word.to_owned(),
            })
            .collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let (code, mut out, err) = server.say(&words);
        assert_eq!(code, Some(0), "{command}: {out}{err}");
        let same = if words.contains(&"--json") {
            let value: Value = serde_json::from_str(&out).unwrap();
            out = format!("{value:#}\n");
            serde_json::from_str(&shown.concat()).is_ok_and(|page| paths(&value) == paths(&page))
        } else {
            let shapes =
                |lines: &mut dyn Iterator<Item = &str>| -> Vec<_> { lines.map(shape).collect() };
            shapes(&mut out.lines()) == shapes(&mut shown.iter().copied())
        };
        if !same {
            wrong.push(format!("{name}$ crtmpserver {command}\n{out}"));
        }
        let prompt = format!("```console\n{name}$ crtmpserver ");
        let sample = format!("{prompt}{command}\n{}\n```", shown.join("\n"));
        assert!(page.contains(&sample), "{sample}");
        page = page.replace(
            &sample,
            &format!("{prompt}{}{jq}\n{out}```", words.join(" ")),
        );
    }
    if !wrong.is_empty() && std::env::var_os("UPDATE_DOCS").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operating.md");
        std::fs::write(path, page).unwrap();
    } else {
        let how = "UPDATE_DOCS=1 cargo test --test control writes the samples anew";
        assert!(wrong.is_empty(), "{how}:\n{}", wrong.join("\n"));
    }
}

fn first_viewer(server: &Server) -> String {
    server.json(&["ctl", "viewers"])["viewers"][0]["id"].to_string()
}

/// The names of all fields, lists as `name[]`.
fn paths(value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    collect(value, "", &mut found);
    found.sort();
    found.dedup();
    found
}

fn collect(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let dot = if path.is_empty() { "" } else { "." };
                collect(value, &format!("{path}{dot}{name}"), found);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            for item in items {
                collect(item, &format!("{path}[]"), found);
            }
        }
        _ => found.push(path.to_owned()),
    }
}

/// The page's tables of fields.
fn documented() -> Vec<String> {
    let part = PAGE.split("## JSON").nth(1).unwrap();
    let rows = part.lines().filter_map(|l| l.strip_prefix("| `"));
    let mut fields: Vec<String> = rows
        .map(|row| row.split('`').next().unwrap().to_owned())
        .collect();
    fields.sort();
    fields
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_field_is_documented() {
    let documented = documented();
    // Everything that there can be,
    let all = serde_json::to_value(everything()).unwrap();
    assert_eq!(paths(&all), documented);
    // and what a real server says is a part of it.
    let event = Event::start().await;
    for server in [&event.master, &event.mirror] {
        for words in [
            &["status"][..],
            &["ctl", "status"],
            &["ctl", "streams"],
            &["ctl", "viewers"],
            &["ctl", "mirrors"],
            &["ctl", "remotes"],
            &["ctl", "health"],
            &["ctl", "version"],
            &["ctl", "kick", "0"],
            &["ctl", "kick", &first_viewer(server)],
        ] {
            for path in paths(&server.json(words)) {
                // An empty list stands for its entries.
                let known = |d: &String| *d == path || d.starts_with(&format!("{path}[]"));
                assert!(documented.iter().any(known), "{path} of {words:?}");
            }
        }
    }
}

/// An answer with everything in it that there can be.
fn everything() -> crtmpserver::control::model::Answer {
    use crtmpserver::control::model::*;
    let some = || Some("x".to_owned());
    Answer {
        error: Some(crtmpserver::control::protocol::Refusal::new("x", "x")),
        next: some(),
        remotes: Some(vec![Remote {
            of: Some(0),
            code: some(),
            error: some(),
            error_ms: Some(0),
            ..Remote::default()
        }]),
        silent_shards: vec![0],
        status: Some(Status {
            listeners: vec![Listener::default()],
            master: Some(Master {
                since_ms: Some(0),
                error: some(),
                ..Master::default()
            }),
            shards: vec![Shard::default()],
            drain: Some(Drain::default()),
            max_viewers: Some(0),
            max_kbit_per_second: Some(0),
            ..Status::default()
        }),
        health: Some(Health {
            notes: vec!["disk: full".into()],
            ..Health::default()
        }),
        program: Some(Program::default()),
        rates: Some(Rates {
            in_kbit_per_second: Some(0),
            out_kbit_per_second: Some(0),
        }),
        streams: Some(vec![Stream {
            waiting_since_ms: Some(0),
            publisher_id: Some(0),
            peer: some(),
            user: some(),
            encoder: some(),
            video: some(),
            audio: some(),
            fps: Some(0.0),
            silent_ms: Some(0),
            ..Stream::default()
        }]),
        viewers: Some(vec![Viewer {
            kbit_per_second: Some(0),
            ..Viewer::default()
        }]),
        mirrors: Some(vec![Mirror {
            state: some(),
            urls: vec![String::new()],
            weight: Some(0),
            viewers: Some(0),
            max_viewers: Some(0),
            kbit_per_second: Some(0),
            max_kbit_per_second: Some(0),
            ..Mirror::default()
        }]),
        drain: Some(Drain::default()),
        kicked: Some(Kicked::default()),
        done: Some(Done::default()),
        reloaded: Some(Vec::new()),
        ..Answer::default()
    }
}
