//! The answers: collected from the parts of the server when somebody asks, and nothing kept.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::task::JoinSet;

use super::model::{
    Answer, Health, Kicked, Listener, Master, Mirror, Shard, Status, Stream, Watching,
};
use super::protocol::{Page, REFUSED, Refusal, VERSION, Verb};
use super::rows::{self, Clock};
use super::verbs::Ids;
use crate::auth::{Applications, masked};
use crate::cluster::{Cluster, Link};
use crate::limits::SHARD_ANSWER;
use crate::media::StreamName;
use crate::net::{self, Admission, PublisherNow, Shards, Target, ViewerNow, Wanted};
use crate::record::Recorder;
use crate::relay::{self, Hub, State, millis};
use crate::remote::Remotes;
use crate::telemetry::health;
use crate::telemetry::metrics::Metrics;

/// What `reload` calls: what is different now, or why nothing is.
pub type Reload = Box<
    dyn Fn() -> Pin<Box<dyn Future<Output = Result<Vec<String>, String>> + Send>> + Send + Sync,
>;

/// Gives the viewers that are no connections.
pub type Others = Box<dyn Fn(&Wanted) -> Vec<ViewerNow> + Send + Sync>;

/// Gives the applications.
pub type KnownApplications = Box<dyn Fn() -> Applications + Send + Sync>;

/// Everything that can be asked.
pub struct Control {
    /// The streams.
    pub hub: Arc<Hub>,
    /// What is recorded.
    pub recorder: Arc<Recorder>,
    /// The other servers.
    pub cluster: Arc<Cluster>,
    /// The counters.
    pub metrics: Arc<Metrics>,
    /// What is wrong.
    pub health: Arc<health::Health>,
    /// The connections.
    pub shards: Arc<Shards>,
    /// Viewers that are no connections: those of HLS.
    pub others: Others,
    /// How many there are.
    pub admission: Arc<Admission>,
    /// Pulls and pushes.
    pub remotes: Arc<Remotes>,
    /// The applications that there are now.
    pub applications: KnownApplications,
    /// Numbers of streams for the command line.
    pub ids: Ids,
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

impl Control {
    /// It listens elsewhere from now on.
    pub fn listens(&self, listeners: Vec<(String, String)>) {
        *self.listening() = listeners;
    }

    pub(super) fn listening(&self) -> MutexGuard<'_, Vec<(String, String)>> {
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
                program: Some(rows::program()),
                ..answer
            }),
            Verb::Streams(page) => Ok(self.streams(answer, clock, &page).await),
            Verb::Viewers(stream, page) => self.viewers(answer, clock, stream, &page).await,
            Verb::Mirrors(page) => Ok(self.mirrors(answer, clock, &page)),
            Verb::Remotes => Ok(self.remotes(answer, clock)),
            Verb::KickConnection(id) => self.kick(answer, Target::Connection(id)).await,
            Verb::KickPublisher(name) => match self.stream_name(&name) {
                Ok(name) => self.kick(answer, Target::Publisher(name)).await,
                Err(refusal) => Err(refusal),
            },
            Verb::Drain(time, exit) => self.drain(answer, clock, time, exit),
            Verb::Undrain => self.undrain(answer),
            Verb::Reload => self.reload(answer).await,
            Verb::Recordings => Ok(self.recordings(answer)),
            Verb::Record(stream, wanted) => self.record(answer, &stream, &wanted),
            // It is made of the others, by Control::line.
            Verb::Line(_) => Err(Refusal::new("bad-verb", "this is no place for a line")),
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
        let load = self.cluster.load();
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
                hls: watching(relay::Protocol::Hls),
                mirror: watching(relay::Protocol::Mirror),
            },
            mirrors: gauge(self.metrics.mirrors.get()),
            state: load.state.as_str().to_owned(),
            drain: self.draining(clock),
            max_viewers: load.max_viewers,
            max_kbit_per_second: load.max_kbit,
            connections: self.admission.connections(),
            bytes_in: self.metrics.bytes_in(),
            bytes_out: self.metrics.bytes_out(),
            shards: (0..self.shards.count())
                .map(|index| Shard {
                    index,
                    connections: self.shards.load(index),
                    answers: answers.contains_key(&index),
                })
                .collect(),
        };
        Answer {
            program: Some(rows::program()),
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
            notes: self.health.notes(),
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
                rows::stream(
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
        let stream = stream.map(|text| self.stream_name(&text)).transpose()?;
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
        let mut rows = (self.others)(&wanted);
        let (found, silent_shards) = self
            .ask_all(move |shard| {
                let wanted = wanted.clone();
                async move { shard.viewers(wanted).await }
            })
            .await;
        rows.extend(found.into_values().flatten());
        rows.sort_by(|a, b| (a.id, &a.what).cmp(&(b.id, &b.what)));
        let mut ids: Vec<u64> = rows.iter().map(|row| row.id).collect();
        ids.dedup();
        let last = ids.get(page.limit.saturating_sub(1)).copied();
        let more = ids.len() > page.limit || last.is_some();
        if let Some(last) = last {
            rows.retain(|row| row.id <= last);
        }
        Ok(Answer {
            next: last.filter(|_| more).map(|id| id.to_string()),
            viewers: Some(
                rows.into_iter()
                    .map(|row| rows::viewer(row, clock))
                    .collect(),
            ),
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
            .map(|(id, mirror)| {
                let host = self.cluster.host(&id);
                rows::mirror(id, &mirror, host.as_ref(), clock)
            })
            .collect();
        let next = rows.last().map(|row| row.id.clone());
        Answer {
            next: next.filter(|_| rest.next().is_some()),
            mirrors: Some(rows),
            ..answer
        }
    }

    fn remotes(&self, answer: Answer, clock: Clock) -> Answer {
        let rows = self.remotes.board().rows();
        Answer {
            remotes: Some(rows.iter().map(|row| rows::remote(row, clock)).collect()),
            ..answer
        }
    }

    /// Whether this is a viewer without a connection.
    fn is_other(&self, id: u64) -> bool {
        let wanted = Wanted {
            stream: None,
            after: id.saturating_sub(1),
            limit: 1,
        };
        let found = (self.others)(&wanted);
        found.first().is_some_and(|row| row.id == id)
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
            Target::Connection(id) if self.is_other(id) => Refusal::new(
                "no-connection",
                format!("viewer {id} watches over HLS and has no connection that could be ended"),
            ),
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
            Err(why) => Err(Refusal::new(REFUSED, why)),
        }
    }

    /// The stream that an operator names.
    pub(super) fn stream_name(&self, text: &str) -> Result<StreamName, Refusal> {
        Ok((self.applications)().meant(&stream_name(text)?))
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

/// The name goes into the log, and an operator may have taken a stream key for it.
pub(super) fn no_stream(name: &StreamName) -> Refusal {
    let name = name.to_string();
    Refusal::new("no-stream", format!("there is no stream {}", masked(&name)))
}

fn stream_name(text: &str) -> Result<StreamName, Refusal> {
    let bad = |why: String| Refusal::new("bad-request", why);
    let (app, name) = text
        .split_once('/')
        .ok_or_else(|| bad("a stream is named APP/STREAM, such as live/event".to_owned()))?;
    StreamName::new(app, name).map_err(|e| bad(format!("no name of a stream: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::protocol::RecordAs;
    use crate::limits::Limits;
    use crate::net::{AdmissionLimits, Latency};
    use crate::relay::{Claim, HubConfig};

    fn control(shards: usize) -> Control {
        let hub = Hub::new(HubConfig::default());
        let metrics = Arc::new(Metrics::of(&hub));
        let shards = Shards::start(shards, Limits::default(), Latency::default(), &metrics);
        let shards = shards.unwrap();
        let health = Arc::new(health::Health::new());
        health.clear("start");
        Control {
            recorder: Recorder::new(
                &hub,
                metrics.recordings.clone(),
                &health,
                crate::record::RecordConfig::nothing("/nonexistent".into()),
            ),
            cluster: Cluster::new("id".into(), false, Instant::now()),
            remotes: Remotes::new(Arc::default(), Arc::clone(&hub), Arc::clone(&shards), true),
            applications: Box::new(Applications::usual),
            ids: Ids::default(),
            shards,
            others: Box::new(|_| Vec::new()),
            admission: Admission::new(AdmissionLimits {
                connections: 1,
                descriptors: usize::MAX,
                pending: 1,
                pending_per_address: 1,
            }),
            role: "standalone",
            listeners: Mutex::default(),
            started: Instant::now(),
            reload: Box::new(|| Box::pin(async { Err("not here".to_owned()) })),
            hub,
            metrics,
            health,
        }
    }

    fn page(after: Option<&str>, limit: usize) -> Page {
        Page {
            after: after.map(str::to_owned),
            limit,
        }
    }

    #[tokio::test]
    async fn a_stuck_thread_is_told_and_does_not_hold_the_answer() {
        let control = control(2);
        assert!(control.answer(Verb::Health).await.health.unwrap().healthy);
        let (release, stuck) = std::sync::mpsc::channel::<()>();
        control
            .shards
            .spawn(1, |_| async move { stuck.recv().unwrap_or_default() })
            .await
            .unwrap();
        let answer = control.answer(Verb::Status).await;
        assert_eq!(answer.silent_shards, [1]);
        let health = answer.health.unwrap();
        assert!(!health.healthy);
        assert!(
            health.troubles[0].starts_with("shard: thread 1 "),
            "{health:?}"
        );
        let shards = answer.status.unwrap().shards;
        assert_eq!([shards[0].answers, shards[1].answers], [true, false]);
        // What is not found may be where nobody answers.
        let error = control.answer(Verb::KickConnection(7)).await.error.unwrap();
        assert_eq!(error.code, "silent-shard");
        release.send(()).unwrap();
        while !control.answer(Verb::Health).await.health.unwrap().healthy {}
        let error = control.answer(Verb::KickConnection(7)).await.error.unwrap();
        assert_eq!(error.code, "no-connection");
    }

    #[tokio::test]
    async fn a_stream_is_found_by_its_alias_and_a_key_is_not_told() {
        let control = control(1);
        let name = stream_name("live/a").unwrap();
        let claim = Claim::of_a_test(1);
        let publisher = control.hub.publish(&name, claim, Instant::now(), 0);
        let _publisher = publisher.unwrap();
        let viewers = |name: &str| Verb::Viewers(Some(name.to_owned()), page(None, 1));
        for known in ["live/a", "vod/a", "simpleLive/a"] {
            assert_eq!(control.answer(viewers(known)).await.error, None, "{known}");
            let kick = control.answer(Verb::KickPublisher(known.to_owned())).await;
            assert_eq!(kick.error.unwrap().code, "no-publisher");
        }
        let error = control.answer(viewers("nosuch/a")).await.error.unwrap();
        assert_eq!(error.message, "there is no stream nosuch/a");
        let key = "live/sk_abcdefghijk".to_owned();
        let record = Verb::Record(key.clone(), RecordAs::default());
        for verb in [Verb::KickPublisher(key.clone()), viewers(&key), record] {
            let error = control.answer(verb).await.error.unwrap();
            assert_eq!(error.message, "there is no stream live/(a stream key)");
        }
    }

    #[tokio::test]
    async fn streams_come_part_after_part() {
        let control = control(1);
        let names = ["live/a", "live/b", "live/c"];
        let claim = || Claim::of_a_test(1);
        let _publishers: Vec<_> = names
            .iter()
            .map(|name| {
                let name = stream_name(name).unwrap();
                control
                    .hub
                    .publish(&name, claim(), Instant::now(), 0)
                    .unwrap()
            })
            .collect();
        let mut found = Vec::new();
        let mut after = None;
        loop {
            let page = page(after.as_deref(), 2);
            let part = control.answer(Verb::Streams(page)).await;
            let rows = part.streams.unwrap();
            assert!(rows.len() <= 2);
            found.extend(rows.into_iter().map(|row| row.name));
            after = part.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(found, names);
        let wrong = Verb::Viewers(None, page(Some("x"), 1));
        assert_eq!(
            control.answer(wrong).await.error.unwrap().code,
            "bad-request"
        );
        let refused = control.answer(Verb::Reload).await.error.unwrap();
        assert_eq!(
            (&*refused.code, &*refused.message),
            ("reload-refused", "not here")
        );
    }
}
