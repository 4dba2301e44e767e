//! Servers, encoders and viewers for the tests.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use crtmpserver::auth::{Networks, passwd};
use crtmpserver::config::{self, Loaded, MasterUrl, Mirror, Role, Settings, Sources};
use crtmpserver::daemon::Server;
use crtmpserver::daemon::reload::{Outcome, Reloader};
use crtmpserver::limits::Limits;
use crtmpserver::relay::Hub;
use crtmpserver::rtmp::adobe;
use crtmpserver::rtmp::client::{ClientConfig, Event};
use crtmpserver::rtmp::handshake::ClientMode;
use crtmpserver::rtmp::server::PublishKind;
use crtmpserver::rtmp_client::{Ended, Session};
use crtmpserver::system::random;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// No step of a test may take longer; none takes nearly as long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
pub(crate) const USER: &str = "ann";
pub(crate) const PASSWORD: &str = "correct horse";

/// A folder with a users file and a secret.
pub(crate) fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    passwd::set(&folder.path().join("users"), USER, PASSWORD).unwrap();
    std::fs::write(
        folder.path().join("secret"),
        "0123456789abcdef0123456789abcdef\n",
    )
    .unwrap();
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(folder.path().join("secret"), private).unwrap();
    folder
}

pub(crate) fn settings(role: Role, folder: &Path) -> Settings {
    let mut settings = Settings::for_role(role);
    settings.listen.rtmp = vec!["127.0.0.1:0".parse().unwrap()];
    settings.listen.http = vec!["127.0.0.1:0".parse().unwrap()];
    settings.secret_file = Some(folder.join("secret"));
    settings.server.threads = std::num::NonZeroUsize::new(2);
    settings.server.stop_grace = Duration::from_secs(1);
    if role == Role::Master {
        settings.publish.users = Some(folder.join("users"));
        settings.publish.networks = Networks::none();
    }
    settings
}

pub(crate) fn mirror_of(master: SocketAddr, folder: &Path) -> Settings {
    let mut settings = settings(Role::Mirror, folder);
    settings.mirror = Some(Mirror {
        master: MasterUrl {
            host: master.ip().to_string(),
            port: master.port(),
            tls: false,
        },
        ca_file: None,
        streams: Vec::new(),
    });
    settings
}

/// A server that runs until it is stopped or dropped.
pub(crate) struct Running {
    pub(crate) rtmp: SocketAddr,
    pub(crate) http: SocketAddr,
    pub(crate) hub: Arc<Hub>,
    reloader: Reloader,
    stop: watch::Sender<bool>,
    task: Option<JoinHandle<std::io::Result<()>>>,
}

impl Running {
    pub(crate) fn start(settings: Settings) -> Self {
        Self::of(Server::open(settings).unwrap())
    }

    pub(crate) fn of(server: Server) -> Self {
        let rtmp = server.rtmp_addresses()[0];
        let http = server.http_addresses()[0];
        let hub = Arc::clone(server.hub());
        let reloader = server.reloader();
        let (stop, mut stopped) = watch::channel(false);
        let stopping = async move {
            let _ = stopped.wait_for(|s| *s).await;
        };
        let task = tokio::spawn(server.serve(|| {}, stopping));
        Self {
            rtmp,
            http,
            hub,
            reloader,
            stop,
            task: Some(task),
        }
    }

    pub(crate) fn reloader(&self) -> Reloader {
        self.reloader.clone()
    }

    /// As at SIGHUP, with these settings for those of the file.
    pub(crate) async fn reload(&self, settings: Settings) -> Outcome {
        let loaded = Loaded {
            settings,
            ..config::load(&Sources::default()).unwrap()
        };
        timeout(PATIENCE, self.reloader.apply(loaded))
            .await
            .unwrap()
    }

    /// What `/healthz` answers.
    pub(crate) async fn health(&self) -> String {
        self.get("/healthz").await
    }

    /// What a path answers, head and body.
    pub(crate) async fn get(&self, path: &str) -> String {
        let mut socket = TcpStream::connect(self.http).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        answer
    }

    /// It ends by itself, well.
    pub(crate) async fn ended(&mut self) {
        let task = self.task.take().unwrap();
        timeout(PATIENCE, task).await.unwrap().unwrap().unwrap();
    }

    pub(crate) async fn stop(mut self) {
        self.stop.send_replace(true);
        let task = self.task.take().unwrap();
        timeout(PATIENCE, task).await.unwrap().unwrap().unwrap();
    }
}

pub(crate) fn client(address: SocketAddr, app: &str, encoder: bool) -> ClientConfig {
    ClientConfig {
        limits: Limits::default(),
        app: app.to_owned(),
        tc_url: format!("rtmp://{address}/{app}"),
        flash_ver: "test".into(),
        swf_url: None,
        page_url: None,
        extra: Vec::new(),
        encoder,
        relay: false,
        subscribe: false,
        chunk_size: 4096,
        window: 2_500_000,
        handshake: ClientMode::Digest,
        random: random().unwrap(),
    }
}

/// Connects as an encoder that logs in when it is asked to. The answer is the last rejection.
pub(crate) async fn login(address: SocketAddr, password: &str) -> Result<Session, String> {
    let mut query = String::new();
    for _ in 0..3 {
        let app = format!("live{query}");
        let mut session = Session::dial(&address.to_string(), client(address, &app, true))
            .await
            .map_err(|e| e.to_string())?;
        loop {
            match session.next().await {
                Ok(Event::Connected { .. }) => return Ok(session),
                Ok(Event::Rejected { description, .. }) => {
                    let answer = adobe::answer(USER, password, &description, "clientnonce1");
                    let Some(answer) = answer else {
                        return Err(description);
                    };
                    query = format!("?{}", answer.trim_start_matches('?'));
                    break;
                }
                Ok(_) => {}
                Err(ended) => return Err(ended.to_string()),
            }
        }
    }
    Err("no end".into())
}

/// The payload of test frame `n`: video with a key frame each ten, marked with its number.
pub(crate) fn payload(n: u32) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u8(if n.is_multiple_of(10) { 0x17 } else { 0x27 });
    out.put_slice(&[1, 0, 0, 0]);
    out.put_u32(n);
    out.put_bytes(0xab, 300);
    out.freeze()
}

pub(crate) const VIDEO_HEADER: &[u8] =
    b"\x17\0\0\0\0\x01\x64\0\x1f\xff\xe1\0\x04\x67\x64\0\x1f\x01\0\x04\x68\xee\x3c\x80";

/// An encoder that sends a frame each 20 ms from its first number on, until it is cut or ended.
pub(crate) struct Encoder {
    task: JoinHandle<Session>,
    stop: watch::Sender<bool>,
    stream: u32,
}

impl Encoder {
    /// Publishes `live/event`, first frame `from`; its clock starts at 0 each time.
    pub(crate) async fn start(address: SocketAddr, from: u32) -> Self {
        Self::try_start(address, from).await.unwrap()
    }

    pub(crate) async fn try_start(address: SocketAddr, from: u32) -> Result<Self, String> {
        let session = login(address, PASSWORD).await?;
        Self::publish(session, from).await
    }

    pub(crate) async fn publish(mut session: Session, from: u32) -> Result<Self, String> {
        session.machine().publish("event", PublishKind::Live);
        let stream = loop {
            match session.next().await {
                Ok(Event::PublishStarted { stream }) => break stream,
                Ok(Event::PublishFailed { code, .. }) => return Err(code),
                Ok(_) => {}
                Err(ended) => return Err(ended.to_string()),
            }
        };
        let (stop, mut stopped) = watch::channel(false);
        let task = tokio::spawn(async move {
            let header = Bytes::from_static(VIDEO_HEADER);
            session.machine().send_media(stream, 9, 0, &header);
            for n in from.. {
                let time = (n - from) * 20;
                session.machine().send_media(stream, 9, time, &payload(n));
                let pause = sleep(Duration::from_millis(20));
                tokio::pin!(pause);
                loop {
                    tokio::select! {
                        event = session.next() => if event.is_err() {
                            return session;
                        },
                        () = &mut pause => break,
                        _ = stopped.wait_for(|s| *s) => return session,
                    }
                }
            }
            session
        });
        Ok(Self { task, stop, stream })
    }

    /// The connection breaks, as when a cable is pulled and the other end hears of it.
    pub(crate) async fn cut(self) {
        self.stop.send_replace(true);
        drop(self.task.await.unwrap());
    }

    /// Stops sending, but keeps the connection.
    pub(crate) async fn fall_silent(self) -> Session {
        self.stop.send_replace(true);
        self.task.await.unwrap()
    }

    /// An orderly end.
    pub(crate) async fn finish(self) {
        let stream = self.stream;
        let mut session = self.fall_silent().await;
        session.machine().delete_stream(stream);
        let _ = timeout(Duration::from_millis(200), session.next()).await;
    }
}

/// What a viewer has seen.
#[derive(Debug, Default, Clone)]
pub(crate) struct Seen {
    /// Frame numbers in order.
    pub(crate) numbers: Vec<u32>,
    /// Times of the frames, unwrapped by nobody: these tests are short.
    pub(crate) times: Vec<u32>,
    pub(crate) headers: usize,
    /// Status codes.
    pub(crate) codes: Vec<String>,
    pub(crate) ended: Option<String>,
}

/// A viewer that plays `live/event` until it is dropped.
pub(crate) struct Viewer {
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

impl Viewer {
    pub(crate) async fn start(address: SocketAddr) -> Self {
        let config = client(address, "live", false);
        let mut session = Session::dial(&address.to_string(), config).await.unwrap();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let shared = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            let ended = Self::watch(&mut session, &shared).await;
            shared.lock().unwrap().ended = Some(ended.to_string());
        });
        Self { seen, task }
    }

    async fn watch(session: &mut Session, seen: &Mutex<Seen>) -> Ended {
        loop {
            let event = match session.next().await {
                Ok(event) => event,
                Err(ended) => return ended,
            };
            let mut seen = seen.lock().unwrap();
            match event {
                Event::Connected { .. } => {
                    session.machine().play("event", -2.0);
                }
                Event::Media {
                    kind: 9,
                    timestamp,
                    payload: body,
                    ..
                } => {
                    if body[..] == *VIDEO_HEADER {
                        seen.headers += 1;
                        continue;
                    }
                    let number = u32::from_be_bytes(body[5..9].try_into().unwrap());
                    assert_eq!(body, payload(number), "byte for byte");
                    assert!(seen.headers > 0, "the header comes first");
                    assert!(
                        seen.times.last().is_none_or(|t| *t <= timestamp),
                        "time goes back"
                    );
                    seen.numbers.push(number);
                    seen.times.push(timestamp);
                }
                Event::Status { info, .. } => {
                    seen.codes
                        .push(crtmpserver::rtmp::status::code_of(&info).to_owned());
                }
                Event::PlayFailed { code, .. } => seen.codes.push(code),
                _ => {}
            }
        }
    }

    pub(crate) fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }

    /// Waits until something holds of what was seen.
    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&Seen) -> bool) -> Seen {
        let begin = Instant::now();
        loop {
            let seen = self.seen();
            if holds(&seen) {
                return seen;
            }
            assert!(
                !self.task.is_finished(),
                "{what}: the viewer ended: {seen:?}"
            );
            assert!(begin.elapsed() < PATIENCE, "{what}: {seen:?}");
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until frame `number` or a later one was seen.
    pub(crate) async fn until_frame(&self, number: u32) -> Seen {
        self.until(&format!("frame {number}"), |s| {
            s.numbers.last().is_some_and(|n| *n >= number)
        })
        .await
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Without a gap, and beginning with a key frame.
pub(crate) fn assert_unbroken(numbers: &[u32]) {
    assert_eq!(numbers[0] % 10, 0, "begins with a key frame: {numbers:?}");
    assert!(numbers.windows(2).all(|w| w[1] == w[0] + 1), "{numbers:?}");
}

/// Waits until something holds.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < PATIENCE, "{what}");
        sleep(Duration::from_millis(10)).await;
    }
}
