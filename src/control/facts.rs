//! The answers: collected from the parts of the server when somebody asks, and nothing kept.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::model::{
    Answer, Health, Kicked, Listener, Master, Mirror, Program, Shard, Status, Stream, Viewer,
    Watching,
};
use super::protocol::{Page, Refusal, VERSION, Verb};
use crate::cluster::{Cluster, Link};
use crate::limits::SHARD_ANSWER;
use crate::media::StreamName;
use crate::net::{self, Admission, PublisherNow, Shards, Target, ViewerNow, ViewerState, Wanted};
use crate::relay::{self, Hub, State, StreamInfo};
use crate::system::wall_ms;
use crate::telemetry::health;
use crate::telemetry::metrics::{Metrics, Protocol};

/// What `reload` calls: what is different now, or why nothing is.
pub type Reload = Box<
    dyn Fn() -> Pin<Box<dyn Future<Output = Result<Vec<String>, String>> + Send>> + Send + Sync,
>;

/// Everything that can be asked.
pub struct Control {
    /// The streams.
    pub hub: Arc<Hub>,
    /// The other servers.
    pub cluster: Arc<Cluster>,
    /// The counters.
    pub metrics: Arc<Metrics>,
    /// What is wrong.
    pub health: Arc<health::Health>,
    /// The connections.
    pub shards: Arc<Shards>,
    /// How many there are.
    pub admission: Arc<Admission>,
    /// `standalone`, `master` or `mirror`
    pub role: &'static str,
    /// Protocol and address of each listener.
    pub listeners: Mutex<Vec<(String, String)>>,
    /// When the server started.
    pub started: Instant,
    /// Reads the configuration again.
    pub reload: Reload,
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Control({:?})", self.hub)
    }
}

/// Both clocks at the same moment.
#[derive(Clone, Copy)]
struct Clock {
    now: Instant,
    wall: u64,
}

impl Clock {
    fn read() -> Self {
        Self {
            now: Instant::now(),
            wall: wall_ms(),
        }
    }

    fn date(&self, at: Instant) -> u64 {
        let ago = self.now.saturating_duration_since(at);
        self.wall.saturating_sub(millis(ago))
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Control {
    /// It listens elsewhere from now on.
    pub fn listens(&self, listeners: Vec<(String, String)>) {
        *self.listening() = listeners;
    }

    fn listening(&self) -> MutexGuard<'_, Vec<(String, String)>> {
        self.listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Does what is asked.
    pub async fn answer(&self, verb: Verb) -> Answer {
        let clock = Clock::read();
        let answer = Answer {
            v: VERSION,
            ok: true,
            at_ms: clock.wall,
            uptime_ms: millis(clock.now.saturating_duration_since(self.started)),
            ..Answer::default()
        };
        let done = match verb {
            Verb::Status => Ok(self.status(answer, clock).await),
            Verb::Health => Ok(self.health(answer).await),
            Verb::Version => Ok(Answer {
                program: Some(program()),
                ..answer
            }),
            Verb::Streams(page) => Ok(self.streams(answer, clock, &page).await),
            Verb::Viewers(stream, page) => self.viewers(answer, clock, stream, &page).await,
            Verb::Mirrors(page) => Ok(self.mirrors(answer, clock, &page)),
            Verb::KickConnection(id) => self.kick(answer, Target::Connection(id)).await,
            Verb::KickPublisher(name) => match stream_name(&name) {
                Ok(name) => self.kick(answer, Target::Publisher(name)).await,
                Err(refusal) => Err(refusal),
            },
            Verb::Reload => self.reload(answer).await,
        };
        done.unwrap_or_else(Answer::refused)
    }

    async fn status(&self, answer: Answer, clock: Clock) -> Answer {
        let (answers, silent_shards) = self.ask_all(|_| std::future::ready(())).await;
        let list = self.hub.list(clock.now);
        let live = list.iter().filter(|s| s.state == State::Live).count();
        let listeners = self.listening().clone();
        let gauge = |n: i64| usize::try_from(n).unwrap_or(0);
        let watching = |kind| gauge(self.metrics.viewers(kind).get());
        let protocols = [Protocol::Rtmp, Protocol::Flv, Protocol::Http];
        let all = |of: fn(&Metrics, Protocol) -> u64| {
            let sum = protocols.iter().map(|p| of(&self.metrics, *p));
            sum.fold(0, u64::saturating_add)
        };
        let status = Status {
            role: self.role.to_owned(),
            server_id: self.cluster.id().to_owned(),
            started_ms: clock.date(self.started),
            listeners: listeners
                .into_iter()
                .map(|(protocol, address)| Listener { protocol, address })
                .collect(),
            master: self.cluster.master().map(|url| self.master(url, clock)),
            live,
            waiting: list.len().saturating_sub(live),
            publishers: gauge(self.metrics.publishers.get()),
            pulls: gauge(self.metrics.pulls.get()),
            viewers: Watching {
                rtmp: watching(relay::Protocol::Rtmp),
                flv: watching(relay::Protocol::Flv),
                mirror: watching(relay::Protocol::Mirror),
            },
            mirrors: gauge(self.metrics.mirrors.get()),
            connections: self.admission.connections(),
            bytes_in: all(|m, p| m.traffic(p).bytes_in.get()),
            bytes_out: all(|m, p| m.traffic(p).bytes_out.get()),
            shards: (0..self.shards.count())
                .map(|index| Shard {
                    index,
                    connections: self.shards.load(index),
                    answers: answers.contains_key(&index),
                })
                .collect(),
        };
        Answer {
            program: Some(program()),
            health: Some(self.judge(&silent_shards)),
            status: Some(status),
            silent_shards,
            ..answer
        }
    }

    fn master(&self, url: String, clock: Clock) -> Master {
        let (state, since, error) = match self.cluster.link() {
            Link::None => ("none", None, None),
            Link::Up { since } => ("up", Some(since), None),
            Link::Down { since, error } => ("down", Some(since), Some(error)),
        };
        Master {
            url,
            state: state.to_owned(),
            since_ms: since.map(|at| clock.date(at)),
            error,
        }
    }

    async fn health(&self, answer: Answer) -> Answer {
        let (_, silent_shards) = self.ask_all(|_| std::future::ready(())).await;
        Answer {
            health: Some(self.judge(&silent_shards)),
            silent_shards,
            ..answer
        }
    }

    fn judge(&self, silent_shards: &[usize]) -> Health {
        let mut troubles = self.health.troubles();
        troubles.extend(silent_shards.iter().map(|index| {
            let seconds = SHARD_ANSWER.as_secs();
            format!(
                "shard: thread {index} has not answered for {seconds} s; its connections stand still"
            )
        }));
        Health {
            healthy: troubles.is_empty(),
            troubles,
        }
    }

    async fn streams(&self, answer: Answer, clock: Clock, page: &Page) -> Answer {
        let (publishers, silent_shards) = self
            .ask_all(|shard| async move { shard.publishers().await })
            .await;
        let publishers: HashMap<StreamName, PublisherNow> = publishers
            .into_values()
            .flatten()
            .map(|p| (p.stream.clone(), p))
            .collect();
        let mut streams = self.hub.streams();
        streams.sort_by(|a, b| a.name().cmp(b.name()));
        let after = page
            .after
            .as_deref()
            .and_then(|text| stream_name(text).ok());
        let mut rest = streams
            .into_iter()
            .filter(|s| after.as_ref().is_none_or(|after| s.name() > after));
        let rows: Vec<Stream> = rest
            .by_ref()
            .take(page.limit)
            .map(|stream| {
                let publisher = publishers.get(stream.name());
                row_of(
                    &stream.info(clock.now),
                    stream.frame_rate(),
                    publisher,
                    clock,
                )
            })
            .collect();
        let next = rows.last().map(|row| row.name.clone());
        Answer {
            next: next.filter(|_| rest.next().is_some()),
            streams: Some(rows),
            silent_shards,
            ..answer
        }
    }

    async fn viewers(
        &self,
        answer: Answer,
        clock: Clock,
        stream: Option<String>,
        page: &Page,
    ) -> Result<Answer, Refusal> {
        let stream = stream.as_deref().map(stream_name).transpose()?;
        if let Some(name) = &stream
            && self.hub.get(name).is_none()
        {
            return Err(no_stream(name));
        }
        let after = page.after.as_deref().unwrap_or("0").parse().map_err(|_| {
            Refusal::new(
                "bad-request",
                "`after` of viewers is the number of a connection",
            )
        })?;
        let wanted = Wanted {
            stream,
            after,
            limit: page.limit,
        };
        let (found, silent_shards) = self
            .ask_all(move |shard| {
                let wanted = wanted.clone();
                async move { shard.viewers(wanted).await }
            })
            .await;
        let mut rows: Vec<ViewerNow> = found.into_values().flatten().collect();
        rows.sort_by(|a, b| (a.id, &a.stream).cmp(&(b.id, &b.stream)));
        let mut ids: Vec<u64> = rows.iter().map(|row| row.id).collect();
        ids.dedup();
        let last = ids.get(page.limit.saturating_sub(1)).copied();
        let more = ids.len() > page.limit || last.is_some();
        if let Some(last) = last {
            rows.retain(|row| row.id <= last);
        }
        Ok(Answer {
            next: last.filter(|_| more).map(|id| id.to_string()),
            viewers: Some(rows.into_iter().map(|row| viewer(row, clock)).collect()),
            silent_shards,
            ..answer
        })
    }

    fn mirrors(&self, answer: Answer, clock: Clock, page: &Page) -> Answer {
        let after = page.after.as_deref().unwrap_or_default();
        let mirrors = self.cluster.mirrors(); // by id
        let mut rest = mirrors.into_iter().filter(|(id, _)| id.as_str() > after);
        let rows: Vec<Mirror> = rest
            .by_ref()
            .take(page.limit)
            .map(|(id, mirror)| Mirror {
                id,
                peer: mirror.peer.to_string(),
                since_ms: clock.date(mirror.since),
                link: "up".to_owned(),
            })
            .collect();
        let next = rows.last().map(|row| row.id.clone());
        Answer {
            next: next.filter(|_| rest.next().is_some()),
            mirrors: Some(rows),
            ..answer
        }
    }

    async fn kick(&self, answer: Answer, target: Target) -> Result<Answer, Refusal> {
        let asked = target.clone();
        let (kicked, silent_shards) = self
            .ask_all(move |shard| {
                let target = asked.clone();
                async move { shard.kick(target).await }
            })
            .await;
        if let Some(kicked) = kicked.into_values().flatten().next() {
            return Ok(Answer {
                kicked: Some(Kicked {
                    id: kicked.id,
                    peer: kicked.peer.to_string(),
                    published: kicked.published.iter().map(ToString::to_string).collect(),
                    played: kicked.played.iter().map(ToString::to_string).collect(),
                }),
                silent_shards,
                ..answer
            });
        }
        if !silent_shards.is_empty() {
            return Err(Refusal::new(
                "silent-shard",
                "not found, but a thread of the server does not answer: see health",
            ));
        }
        Err(match target {
            Target::Connection(id) => Refusal::new(
                "no-connection",
                format!("there is no connection {id}; see streams and viewers"),
            ),
            Target::Publisher(name) => match self.hub.get(&name) {
                None => no_stream(&name),
                Some(stream) if stream.state() == State::Live => Refusal::new(
                    "no-publisher",
                    format!("{name} is pulled from the master; kick its publisher there"),
                ),
                Some(_) => Refusal::new(
                    "no-publisher",
                    format!("{name} has no publisher just now; it waits for one"),
                ),
            },
        })
    }

    async fn reload(&self, answer: Answer) -> Result<Answer, Refusal> {
        match (self.reload)().await {
            Ok(changes) => Ok(Answer {
                reloaded: Some(changes),
                ..answer
            }),
            Err(why) => Err(Refusal::new("reload-refused", why)),
        }
    }

    /// Asks every shard at the same time. The answers by shard, and who gave none.
    async fn ask_all<F, A, T>(&self, question: F) -> (HashMap<usize, T>, Vec<usize>)
    where
        F: Fn(std::rc::Rc<net::Shard>) -> A + Clone + Send + 'static,
        A: Future<Output = T> + 'static,
        T: Send + 'static,
    {
        let mut asked = JoinSet::new();
        for index in 0..self.shards.count() {
            let shards = Arc::clone(&self.shards);
            let question = question.clone();
            asked.spawn(async move { (index, shards.ask(index, SHARD_ANSWER, question).await) });
        }
        let mut answers = HashMap::new();
        while let Some(done) = asked.join_next().await {
            if let Ok((index, Some(answer))) = done {
                answers.insert(index, answer);
            }
        }
        let silent = (0..self.shards.count())
            .filter(|index| !answers.contains_key(index))
            .collect();
        (answers, silent)
    }
}

fn program() -> Program {
    Program {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        publish: cfg!(feature = "publish"),
        pid: std::process::id(),
    }
}

fn no_stream(name: &StreamName) -> Refusal {
    Refusal::new("no-stream", format!("there is no stream {name}"))
}

fn stream_name(text: &str) -> Result<StreamName, Refusal> {
    let bad = |why: String| Refusal::new("bad-request", why);
    let (app, name) = text
        .split_once('/')
        .ok_or_else(|| bad("a stream is named APP/STREAM, such as live/event".to_owned()))?;
    StreamName::new(app, name).map_err(|e| bad(format!("no name of a stream: {e}")))
}

fn row_of(
    info: &StreamInfo,
    fps: Option<f64>,
    publisher: Option<&PublisherNow>,
    clock: Clock,
) -> Stream {
    let live = info.state == State::Live;
    Stream {
        name: info.name.to_string(),
        state: if live { "live" } else { "waiting" }.to_owned(),
        since_ms: clock.date(info.since),
        waiting_since_ms: match info.state {
            State::Waiting { since } => Some(clock.date(since)),
            State::Live | State::Ended => None,
        },
        source: info.source.clone(),
        publisher_id: publisher.map(|p| p.id),
        peer: publisher.map(|p| p.peer.to_string()),
        user: info.identity.clone(),
        encoder: publisher
            .filter(|p| !p.encoder.is_empty())
            .map(|p| p.encoder.to_string()),
        video: info.video.map(|c| c.to_string()),
        audio: info.audio.map(|c| c.to_string()),
        // One digit is what can be told from millisecond timestamps.
        fps: fps.filter(|_| live).map(|f| (f * 10.0).round() / 10.0),
        kbit_per_second: info.kbit_per_second,
        frames: info.frames,
        bytes: info.bytes,
        dropped: info.dropped,
        skipped: info.skipped,
        epochs: info.epochs,
        silent_ms: info
            .last_media
            .map(|at| millis(clock.now.saturating_duration_since(at))),
        viewers: Watching {
            rtmp: info.rtmp_viewers,
            flv: info.flv_viewers,
            mirror: info.mirror_viewers,
        },
    }
}

fn viewer(now: ViewerNow, clock: Clock) -> Viewer {
    Viewer {
        id: now.id,
        protocol: match now.watching {
            relay::Protocol::Rtmp => "rtmp",
            relay::Protocol::Flv => "http-flv",
            relay::Protocol::Mirror => "mirror",
        }
        .to_owned(),
        peer: now.peer.to_string(),
        stream: now.stream.to_string(),
        since_ms: clock.date(now.since),
        state: match now.state {
            ViewerState::Playing => "playing",
            ViewerState::Waiting => "waiting",
            ViewerState::Paused => "paused",
            ViewerState::Slow => "slow",
        }
        .to_owned(),
        bytes: now.totals.bytes,
        kbit_per_second: None,
        frames: now.totals.frames,
        skipped: now.totals.skipped,
        lag_ms: now.lag_ms,
        lag_frames: now.lag_frames,
    }
}
