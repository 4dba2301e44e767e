//! Files played by the program to a client that says exactly what a test wants: pause, seek, length, end.
//! What other people's players make of it is for the system tests.

#![cfg(feature = "publish")]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may panic outside its test functions too"
)]

#[path = "files/kept.rs"]
mod kept;
#[cfg(target_os = "linux")]
#[path = "files/large.rs"]
mod large;
#[path = "files/list.rs"]
mod list;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command as Program, Stdio};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use crtmpserver::amf::Value;
use crtmpserver::flv;
use crtmpserver::rtmp::chunk::{ChunkReader, ChunkWriter, ReaderLimits, ReaderPhase};
use crtmpserver::rtmp::command::{Command, data_values};
use crtmpserver::rtmp::message::{Message, kind};
use crtmpserver::rtmp::status::{code, code_of};

const PATIENCE: Duration = Duration::from_secs(30);
const PROGRAMME: &[u8] = include_bytes!("../src/demo/programme.flv");

struct Daemon {
    child: Child,
    dir: tempfile::TempDir,
    rtmp: u16,
}

impl Daemon {
    fn start(keys: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("film.flv"), PROGRAMME).unwrap();
        let rtmp = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let config = dir.path().join("c.toml");
        let text = format!(
            "[listen]\nrtmp = [\"127.0.0.1:{rtmp}\"]\nhttp = []\ncontrol = \"c.sock\"\n[files]\nfolders = [\".\"]\n{keys}"
        );
        fs::write(&config, text).unwrap();
        let child = Self::spawn(&dir);
        Self { child, dir, rtmp }
    }

    fn spawn(dir: &tempfile::TempDir) -> Child {
        let log = File::create(dir.path().join("log")).unwrap();
        Program::new(env!("CARGO_BIN_EXE_crtmpserver"))
            .arg(dir.path().join("c.toml"))
            .arg("--allow-root")
            .env_remove("CREDENTIALS_DIRECTORY")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    /// Kills it and starts it again, on the same port and with what is in its folder.
    fn restart(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = Self::spawn(&self.dir);
    }

    fn connect(&self) -> TcpStream {
        let begun = Instant::now();
        loop {
            match TcpStream::connect(("127.0.0.1", self.rtmp)) {
                Ok(socket) => return socket,
                Err(_) if begun.elapsed() < PATIENCE => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                Err(error) => {
                    let said = fs::read_to_string(self.dir.path().join("log")).unwrap();
                    panic!("{error}: {said}")
                }
            }
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A player that does nothing by itself.
struct Player {
    socket: TcpStream,
    reader: ChunkReader,
    writer: ChunkWriter,
    input: BytesMut,
    media: Vec<Message>,
    codes: Vec<String>,
}

impl Player {
    /// Connected, with message stream 1.
    fn new(daemon: &Daemon) -> Self {
        let mut socket = daemon.connect();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut hello = vec![3; 1 + 1536];
        hello[1..9].fill(0);
        socket.write_all(&hello).unwrap();
        let mut answer = vec![0; 1 + 2 * 1536];
        socket.read_exact(&mut answer).unwrap();
        socket.write_all(&answer[1..=1536]).unwrap();
        let mut reader = ChunkReader::new(ReaderLimits::default());
        reader.set_phase(ReaderPhase::Publishing);
        let mut player = Self {
            socket,
            reader,
            writer: ChunkWriter::new(),
            input: BytesMut::new(),
            media: Vec::new(),
            codes: Vec::new(),
        };
        let connect = Command {
            object: crtmpserver::amf::object([("app", "flvplayback".into())]),
            ..Command::call("connect", 1.0, vec![])
        };
        player.say(0, &connect);
        assert_eq!(player.answer(1.0).name, "_result");
        player.say(0, &Command::call("createStream", 2.0, vec![]));
        assert_eq!(player.answer(2.0).number(0), Some(1.0));
        player
    }

    fn say(&mut self, stream: u32, command: &Command) {
        let payload = command.encode(kind::COMMAND_AMF0);
        self.send(kind::COMMAND_AMF0, stream, payload);
    }

    fn send(&mut self, kind: u8, stream: u32, payload: Bytes) {
        let mut out = BytesMut::new();
        let message = Message {
            chunk_stream: if kind < 7 { 2 } else { 3 },
            kind,
            timestamp: 0,
            stream,
            payload,
        };
        self.writer.write(&mut out, &message);
        self.socket.write_all(&out).unwrap();
    }

    fn play(&mut self, args: Vec<Value>) {
        self.say(1, &Command::call("play", 0.0, args));
    }

    fn tell(&mut self, name: &str, args: Vec<Value>) {
        self.say(1, &Command::call(name, 0.0, args));
    }

    /// The player's buffer.
    fn holds(&mut self, ms: u32) {
        let payload = [&[0, 3, 0, 0, 0, 1][..], &ms.to_be_bytes()].concat();
        self.send(kind::USER_CONTROL, 1, payload.into());
    }

    /// The next message; `None` when nothing comes for so long.
    fn next(&mut self, patience: Duration) -> Option<Message> {
        self.socket.set_read_timeout(Some(patience)).unwrap();
        loop {
            let mut rest: &[u8] = &self.input;
            let message = self.reader.feed(&mut rest).unwrap();
            let used = self.input.len() - rest.len();
            let _ = self.input.split_to(used);
            if let Some(message) = message {
                if message.kind == kind::SET_CHUNK_SIZE {
                    let size = u32::from_be_bytes(message.payload[..].try_into().unwrap());
                    self.reader.set_chunk_size(size).unwrap();
                }
                return Some(message);
            }
            let mut buffer = [0; 65_536];
            match self.socket.read(&mut buffer) {
                Ok(0) => panic!("the server closed; so far {:?}", self.codes),
                Ok(n) => self.input.extend_from_slice(&buffer[..n]),
                Err(_) => return None,
            }
        }
    }

    /// Takes a message: media is kept, status codes too.
    fn take(&mut self, message: Message) -> Option<Command> {
        match message.kind {
            kind::AUDIO | kind::VIDEO => self.media.push(message),
            kind::DATA_AMF0 => {
                let values = data_values(message.kind, &message.payload).unwrap();
                let name = values[0].as_str().unwrap();
                self.codes.push(name.to_owned());
                if name == "onPlayStatus" {
                    self.codes.push(code_of(&values[1]).to_owned());
                }
            }
            kind::COMMAND_AMF0 => {
                let command = Command::decode(message.kind, &message.payload).unwrap();
                if command.name == "onStatus" {
                    self.codes.push(code_of(&command.args[0]).to_owned());
                }
                return Some(command);
            }
            _ => {}
        }
        None
    }

    fn answer(&mut self, transaction: f64) -> Command {
        loop {
            let message = self.next(PATIENCE).expect("an answer");
            if let Some(command) = self.take(message)
                && command.transaction == transaction
            {
                return command;
            }
        }
    }

    /// Takes messages until this status comes.
    fn until(&mut self, wanted: &str) {
        while self.codes.last().is_none_or(|code| code != wanted) {
            let Some(message) = self.next(PATIENCE) else {
                panic!("no {wanted}; so far {:?}", self.codes)
            };
            self.take(message);
        }
    }

    /// Takes messages until nothing has come for this long.
    fn until_quiet(&mut self, ms: u64) {
        while let Some(message) = self.next(Duration::from_millis(ms)) {
            self.take(message);
        }
    }

    /// What was received since the last look: kind, time, body; without sequence headers.
    fn received(&mut self) -> Vec<(u8, u32, Bytes)> {
        let all = std::mem::take(&mut self.media).into_iter();
        let all = all.map(|m| (m.kind, m.timestamp, m.payload));
        all.filter(|(_, _, body)| body[1] != 0).collect()
    }
}

/// The file's own tags, without sequence headers.
fn tags() -> Vec<(u8, u32, Bytes)> {
    let mut reader = flv::Reader::new(flv::ReaderLimits::default());
    let mut rest = PROGRAMME;
    let mut tags = Vec::new();
    while let Some(tag) = reader.feed(&mut rest).unwrap() {
        if tag.kind != flv::SCRIPT && tag.payload[1] != 0 {
            tags.push((tag.kind, tag.timestamp, tag.payload));
        }
    }
    tags
}

fn key(tags: &[(u8, u32, Bytes)], time: u32) -> usize {
    let is = |(kind, at, body): &(u8, u32, Bytes)| *kind == 9 && *at <= time && body[0] == 0x17;
    tags.iter().rposition(is).unwrap()
}

#[test]
fn a_pause_loses_nothing_and_repeats_nothing() {
    let daemon = Daemon::start("ahead = \"2s\"\n");
    let mut player = Player::new(&daemon);
    player.play(vec!["film".into()]);
    player.until(code::PLAY_START);
    while player.media.len() < 20 {
        let message = player.next(PATIENCE).unwrap();
        player.take(message);
    }
    player.tell("pause", vec![true.into(), 500.0.into()]);
    player.until(code::PAUSE_NOTIFY);
    player.until_quiet(2500);
    let paused = player.media.len();
    assert!(paused < 450, "2 s and a little more: {paused}");
    assert!(
        player.next(Duration::from_millis(500)).is_none(),
        "it is paused"
    );
    player.tell("pause", vec![false.into(), 500.0.into()]);
    player.until(code::UNPAUSE_NOTIFY);
    player.holds(60_000);
    player.until(code::PLAY_STOP);
    assert_eq!(player.received(), tags());
    assert!(player.codes.contains(&"onMetaData".to_owned()));
    assert!(player.codes.contains(&"onPlayStatus".to_owned()));
}

#[test]
fn a_seek_goes_on_from_a_key_frame_even_behind_the_end() {
    let daemon = Daemon::start("");
    let tags = tags();
    let mut player = Player::new(&daemon);
    player.holds(3_600_000);
    player.play(vec![
        "flv:film".into(),
        2500.0.into(),
        2000.0.into(),
        true.into(),
    ]);
    player.until(code::PLAY_STOP);
    let part = player.received();
    let from = key(&tags, 2500);
    let until = tags.iter().position(|(_, time, _)| *time >= 4500).unwrap();
    assert_eq!(part, tags[from..until]);

    let mut player = Player::new(&daemon);
    player.holds(3_600_000);
    player.play(vec!["film".into(), (-2000.0).into()]);
    player.until(code::PLAY_STOP);
    assert_eq!(player.received(), tags);
    for time in [5999_u32, 0, 100_000] {
        player.tell("seek", vec![f64::from(time).into()]);
        player.until(code::SEEK_NOTIFY);
        player.media.clear();
        player.until(code::PLAY_STOP);
        let from = if time == 0 { 0 } else { key(&tags, time) };
        assert!(player.received() == tags[from..], "from {time} ms");
    }
    // One behind the other: the last one counts.
    for time in [1000.0, 3000.0, 5000.0, 2000.0] {
        player.tell("seek", vec![time.into()]);
    }
    for _ in 0..4 {
        player.codes.push(String::new());
        player.until(code::SEEK_NOTIFY);
        player.media.clear();
    }
    player.until(code::PLAY_STOP);
    assert_eq!(player.received(), tags[key(&tags, 2000)..]);
}

#[test]
fn exact_is_exact() {
    let daemon = Daemon::start("seek = \"exact\"\n");
    let tags = tags();
    let mut player = Player::new(&daemon);
    player.holds(3_600_000);
    player.play(vec!["film".into(), 2500.0.into()]);
    player.until(code::PLAY_STOP);
    let from = tags.iter().position(|(_, time, _)| *time >= 2500).unwrap();
    assert_eq!(player.received(), tags[from..]);
    // Beyond the end is the last frame.
    player.tell("seek", vec![100_000.0.into()]);
    player.until(code::SEEK_NOTIFY);
    player.media.clear();
    player.until(code::PLAY_STOP);
    assert_eq!(player.received(), tags[tags.len() - 1..]);
}

#[test]
fn lengths_and_what_is_not_there() {
    let daemon = Daemon::start("[play]\nwait = \"0s\"\n");
    let mut player = Player::new(&daemon);
    for (number, (name, seconds)) in [
        ("film", 8.0),
        ("flv:film.flv?x=1", 8.0),
        ("nothing", 0.0),
        ("../film", 0.0),
    ]
    .into_iter()
    .enumerate()
    {
        let transaction = 10.0 + f64::from(u8::try_from(number).unwrap());
        player.say(
            0,
            &Command::call("getStreamLength", transaction, vec![name.into()]),
        );
        let told = player.answer(transaction).number(0).unwrap();
        assert!((told - seconds).abs() < 0.1, "{name}: {told}");
    }
    for name in ["nothing", "../film", "mp4:film", "c.toml", ".", "log"] {
        player.codes.clear();
        player.play(vec![name.into(), 0.0.into()]);
        player.until(code::PLAY_STREAM_NOT_FOUND);
    }
    // What is live alone is no file.
    player.codes.clear();
    player.play(vec!["film".into(), (-1000.0).into()]);
    player.until(code::PLAY_STREAM_NOT_FOUND);
    // And the connection plays on.
    player.play(vec!["film".into()]);
    player.until(code::PLAY_START);
    player.play(vec![false.into()]);
    player.until_quiet(300);
    player.holds(60_000);
    player.received();
    player.play(vec!["film".into()]);
    player.until(code::PLAY_STOP);
    assert_eq!(player.received(), tags());
}

#[test]
fn several_files_on_one_connection() {
    let daemon = Daemon::start("");
    let mut player = Player::new(&daemon);
    player.holds(3_600_000);
    player.say(0, &Command::call("createStream", 3.0, vec![]));
    assert_eq!(player.answer(3.0).number(0), Some(2.0));
    let play = Command::call("play", 0.0, vec!["film".into()]);
    player.say(1, &play);
    player.say(2, &play);
    while player
        .codes
        .iter()
        .filter(|code| *code == code::PLAY_STOP)
        .count()
        < 2
    {
        let message = player.next(PATIENCE).unwrap();
        player.take(message);
    }
    let (first, second): (Vec<_>, Vec<_>) = std::mem::take(&mut player.media)
        .into_iter()
        .partition(|message| message.stream == 1);
    for all in [first, second] {
        player.media = all;
        assert_eq!(player.received(), tags());
    }
}

/// What `ctl viewers` shows, as JSON.
fn viewers(daemon: &Daemon) -> serde_json::Value {
    let done = Program::new(env!("CARGO_BIN_EXE_crtmpserver"))
        .args(["ctl", "viewers", "--json", "--socket"])
        .arg(daemon.dir.path().join("c.sock"))
        .output()
        .unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    answer["viewers"].clone()
}

#[test]
fn an_operator_sees_who_plays_what() {
    let daemon = Daemon::start("");
    let mut player = Player::new(&daemon);
    assert_eq!(viewers(&daemon).as_array().map(Vec::len), Some(0));
    player.play(vec!["film".into()]);
    player.until(code::PLAY_START);
    let shown = viewers(&daemon);
    assert_eq!(shown.as_array().map(Vec::len), Some(1), "{shown}");
    assert_eq!(shown[0]["stream"], "film.flv");
    assert_eq!(shown[0]["protocol"], "file");
    let id = shown[0]["id"].to_string();
    let kicked = Program::new(env!("CARGO_BIN_EXE_crtmpserver"))
        .args(["ctl", "kick", &id, "--socket"])
        .arg(daemon.dir.path().join("c.sock"))
        .output()
        .unwrap();
    let said = String::from_utf8(kicked.stdout).unwrap();
    assert!(
        kicked.status.success() && said.contains("film.flv"),
        "{said}"
    );
    let begun = Instant::now();
    while viewers(&daemon)
        .as_array()
        .is_some_and(|all| !all.is_empty())
    {
        assert!(begun.elapsed() < PATIENCE, "it is still listed");
        std::thread::sleep(Duration::from_millis(20));
    }
}
