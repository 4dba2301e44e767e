//! Publishers: a thread of their own, so that what the viewers do does not delay them.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout};

use super::clock::Clock;
use super::histogram::Histogram;
use super::programme::Programme;
use super::target::Target;
use crate::limits::Limits;
use crate::rtmp::client::{ClientConfig, Event};
use crate::rtmp::handshake::ClientMode;
use crate::rtmp::server::PublishKind;
use crate::rtmp_client::{Ended, Session};
use crate::system::random;

/// Unsent bytes above which frames are held back: some seconds of any programme.
const MAX_UNSENT: usize = 4 << 20;

/// Publishers that log in at the same time: a server bounds unfinished logins of one address.
const LOGINS: usize = 16;

/// How long the server may take for the last words of a publisher, and for those of all.
const LAST_WORDS: Duration = Duration::from_secs(1);
const ALL_LAST_WORDS: Duration = Duration::from_secs(2);

/// What the publishers did so far; shared with their thread.
#[derive(Debug, Default)]
pub(super) struct Published {
    /// Publishers that the server accepted.
    pub(super) started: AtomicUsize,
    /// Publishers that ended before they were told to.
    pub(super) ended: AtomicUsize,
    /// Bytes of payload.
    pub(super) bytes: AtomicU64,
    /// Frames.
    pub(super) frames: AtomicU64,
    /// Frames held back because the server took none.
    pub(super) held: AtomicU64,
    /// How late frames left, µs: what this machine could not do.
    pub(super) late: Mutex<Histogram>,
    /// Why the first one ended.
    pub(super) failure: Mutex<Option<String>>,
}

/// The running publishers; dropping it ends them.
pub(super) struct Publishers {
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
    /// What they did.
    pub(super) published: Arc<Published>,
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Ended(#[from] Ended),
    #[error("the server refuses {stream}: {code} {description}")]
    Refused {
        stream: String,
        code: String,
        description: String,
    },
}

impl Publishers {
    /// Starts `count` publishers of the target's streams.
    ///
    /// # Errors
    /// When the system gives no thread or no event queue.
    pub(super) fn start(
        target: Target,
        count: usize,
        programme: Programme,
        clock: Clock,
    ) -> std::io::Result<Self> {
        let published = Arc::new(Published::default());
        let (stop, stopped) = watch::channel(false);
        let shared = Arc::clone(&published);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let thread = std::thread::Builder::new()
            .name("publishers".to_owned())
            .spawn(move || {
                let all = All {
                    target,
                    count,
                    programme,
                    clock,
                    published: shared,
                    logins: Semaphore::new(LOGINS),
                };
                runtime.block_on(all.run(stopped));
            })?;
        Ok(Self {
            stop,
            thread: Some(thread),
            published,
        })
    }
}

impl Drop for Publishers {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            // A publisher that panicked has been counted as ended.
            let _ = thread.join();
        }
    }
}

struct All {
    target: Target,
    count: usize,
    programme: Programme,
    clock: Clock,
    published: Arc<Published>,
    logins: Semaphore,
}

impl All {
    async fn run(self, mut stopped: watch::Receiver<bool>) {
        let all = Arc::new(self);
        let mut tasks = JoinSet::new();
        for index in 0..all.count {
            let (all, stopped) = (Arc::clone(&all), stopped.clone());
            tasks.spawn(async move { all.one(index, stopped).await });
        }
        tokio::select! {
            // The sender going away means the same.
            _ = stopped.wait_for(|stop| *stop) => {}
            () = async {
                while tasks.join_next().await.is_some() {
                    all.published.ended.fetch_add(1, Ordering::Relaxed);
                }
                std::future::pending::<()>().await;
            } => {}
        }
        // A server told that they end frees their streams at once.
        let _ = timeout(ALL_LAST_WORDS, async {
            while tasks.join_next().await.is_some() {}
        })
        .await;
    }

    async fn one(&self, index: usize, stopped: watch::Receiver<bool>) {
        let Err(failure) = self.publish(index, stopped).await else {
            return;
        };
        let mut first = self
            .published
            .failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert_with(|| failure.to_string());
    }

    async fn publish(
        &self,
        index: usize,
        mut stopped: watch::Receiver<bool>,
    ) -> Result<(), Failure> {
        let name = self.target.stream(index, self.count);
        let begin = async {
            // Nothing closes the semaphore.
            let _turn = self.logins.acquire().await.ok();
            self.begin(&name).await
        };
        let (mut session, stream) = tokio::select! {
            begun = begin => begun?,
            _ = stopped.wait_for(|stop| *stop) => return Ok(()),
        };
        self.published.started.fetch_add(1, Ordering::Relaxed);
        for (kind, payload) in self.programme.headers() {
            session.machine().send_media(stream, kind, 0, &payload);
        }
        // Encoders do not send in step: they are spread over one picture of 25 a second.
        let share = u32::try_from(index.saturating_mul(40_000) / self.count.max(1));
        let begin = Instant::now() + Duration::from_micros(share.unwrap_or_default().into());
        for due in self.programme.play() {
            let at = begin + due.at;
            while Instant::now() < at && !*stopped.borrow() {
                tokio::select! {
                    event = session.next() => refusal(event?, &name)?,
                    () = sleep_until(at.into()) => {}
                    _ = stopped.wait_for(|stop| *stop) => {}
                }
            }
            if *stopped.borrow() {
                say_goodbye(&mut session, stream).await;
                return Ok(());
            }
            if session.unsent() > MAX_UNSENT {
                self.published.held.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            let payload = due.payload(self.clock.now());
            let machine = session.machine();
            machine.send_media(stream, due.kind, due.timestamp(), &payload);
            self.count(payload.len(), at);
        }
        Err(Failure::Ended(Ended::Eof)) // a programme has no end
    }

    fn count(&self, bytes: usize, due: Instant) {
        let published = &self.published;
        published.frames.fetch_add(1, Ordering::Relaxed);
        published.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        let late = Instant::now().saturating_duration_since(due).as_micros();
        published
            .late
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .add(u64::try_from(late).unwrap_or(u64::MAX));
    }

    async fn begin(&self, name: &str) -> Result<(Session, u32), Failure> {
        let query = &self.target.query;
        let app = &self.target.app;
        let config = ClientConfig {
            encoder: true,
            ..client(app, &format!("rtmp://{}/{app}", self.target.host))
        };
        let config = ClientConfig {
            random: random().map_err(Ended::from)?,
            ..config
        };
        let mut session = Session::dial(&self.target.address.to_string(), config).await?;
        loop {
            match session.next().await? {
                Event::Connected { .. } => {
                    let full = format!("{name}{query}");
                    session.machine().publish(&full, PublishKind::Live);
                }
                Event::PublishStarted { stream } => return Ok((session, stream)),
                event => refusal(event, name)?,
            }
        }
    }
}

/// Ends the stream in so many words, so that the server need not wonder whether the encoder comes back.
async fn say_goodbye(session: &mut Session, stream: u32) {
    session.machine().delete_stream(stream);
    let _ = timeout(LAST_WORDS, async {
        // `next` takes what the machine has written; there is nothing more to hear.
        while let Ok(Ok(_)) = timeout(Duration::from_millis(1), session.next()).await {}
        session.flush().await
    })
    .await;
}

/// An error when the event is one.
fn refusal(event: Event, stream: &str) -> Result<(), Failure> {
    match event {
        Event::Rejected {
            code, description, ..
        }
        | Event::PublishFailed {
            code, description, ..
        }
        | Event::StreamFailed {
            code, description, ..
        } => Err(Failure::Refused {
            stream: stream.to_owned(),
            code,
            description,
        }),
        _ => Ok(()),
    }
}

/// A client of an application; the random bytes are for the caller to fill in.
pub(super) fn client(app: &str, tc_url: &str) -> ClientConfig {
    ClientConfig {
        limits: Limits::default(),
        app: app.to_owned(),
        tc_url: tc_url.to_owned(),
        flash_ver: "LNX 9,0,124,2 (crtmpserver stress)".to_owned(),
        swf_url: None,
        page_url: None,
        extra: Vec::new(),
        encoder: false,
        relay: false,
        subscribe: false,
        chunk_size: 4096,
        window: 2_500_000,
        handshake: ClientMode::Simple,
        random: [0; 32],
    }
}
