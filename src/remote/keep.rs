//! Keeping a pull or a push alive: waiting for what it needs, trying, and trying again, for ever.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::address::Address;
use super::board::{Failure, Job, Phase};
use super::connect::{Place, connect};
#[cfg(feature = "publish")]
use super::pull::Pull;
use super::push::{End, Push, farewell};
#[cfg(feature = "publish")]
use super::rtsp;
use super::trouble::Trouble;
use super::wish::{Direction, Local};
use super::{Context, Remotes};
use crate::limits::{MAX_REDIRECTS, REMOTE_LOGIN, REMOTE_RETRY};
use crate::media::StreamName;
use crate::net::Shard;
use crate::relay::{State, Stream};
use crate::rtmp_client::{Backoff, Complaint, Session};
use crate::system::random_number;
use crate::telemetry::logging::{Sentence, limited};
use crate::telemetry::metrics::Metrics;

/// One connection of a job, from the moment that it is there.
pub(super) struct Attempt<'a> {
    pub(super) context: &'a Context,
    pub(super) job: &'a Job,
    #[cfg_attr(not(feature = "publish"), expect(dead_code, reason = "of pulls alone"))]
    pub(super) metrics: &'a Metrics,
    /// Media has gone over.
    flowed: Cell<bool>,
    /// How long there had been none, if there ever was.
    complaint: &'a std::cell::RefCell<Complaint>,
}

impl Attempt<'_> {
    /// Media goes over.
    pub(super) fn flows(&self) {
        if self.flowed.replace(true) {
            // A source may have been away in between.
            return self.job.enter(Phase::Live);
        }
        self.job.enter(Phase::Live);
        let now = Instant::now();
        let away = self.complaint.borrow_mut().over(now);
        let (spec, what) = (&self.job.spec, self.job.spec.direction.as_str());
        let (stream, remote) = (&spec.local, spec.shown());
        limited("remote-live", now, || match away {
            Some(away) => tracing::info!(
                %stream, %remote, away_ms = away.as_millis(), code = "remote-live",
                "the {what} is there again"
            ),
            None => tracing::info!(%stream, %remote, code = "remote-live", "the {what} is there"),
        });
    }
}

/// The connection that there is, for its last words.
#[derive(Default)]
struct Link {
    rtmp: Option<Session>,
    #[cfg(feature = "publish")]
    rtsp: Option<Box<rtsp::Session>>,
}

impl Link {
    async fn farewell(&mut self, why: &str) {
        if let Some(mut session) = self.rtmp.take() {
            farewell(&mut session, why).await;
        }
        #[cfg(feature = "publish")]
        if let Some(mut session) = self.rtsp.take() {
            session.farewell().await;
        }
    }
}

/// Does one job until nobody wants it any more.
pub(super) async fn keep(remotes: Arc<Remotes>, shard: Rc<Shard>, job: Arc<Job>) {
    let Local::One(name) = job.spec.local.clone() else {
        return; // the others are its work
    };
    let context = &remotes.context;
    let mut over = job.over.subscribe();
    let mut link = Link::default();
    let work = async {
        let mut keeper = Keeper::new(context, &job, &name, shard.metrics());
        while keeper.turn(&mut link).await {}
        remotes.gone(job.id);
    };
    tokio::select! {
        // First: whoever let it go may have ended its stream too, and that is no trouble.
        biased;
        _ = over.wait_for(|over| *over) => {}
        () = shard.stopping() => {}
        () = work => {}
    }
    link.farewell("it is not wanted any more").await;
}

/// What outlives a connection.
struct Keeper<'a> {
    context: &'a Context,
    job: &'a Job,
    name: &'a StreamName,
    metrics: &'a Metrics,
    place: Place,
    /// Servers that sent elsewhere since media flowed.
    hops: usize,
    backoff: Backoff,
    complaint: std::cell::RefCell<Complaint>,
}

impl<'a> Keeper<'a> {
    fn new(context: &'a Context, job: &'a Job, name: &'a StreamName, metrics: &'a Metrics) -> Self {
        Self {
            context,
            job,
            name,
            metrics,
            place: Place::of(&job.spec),
            hops: 0,
            backoff: Backoff::default(),
            complaint: std::cell::RefCell::default(),
        }
    }

    /// One connection, and the pause behind it; false when there is to be no other.
    async fn turn(&mut self, link: &mut Link) -> bool {
        let stream = self.ready().await;
        self.job.enter(Phase::Connecting);
        let attempt = Attempt {
            context: self.context,
            job: self.job,
            metrics: self.metrics,
            flowed: Cell::new(false),
            complaint: &self.complaint,
        };
        let again = self.job.again.notified();
        let end = tokio::select! {
            end = live(&attempt, self.name, stream, &self.place, link) => end,
            () = again => None,
        };
        if matches!(end, Some(End::Away)) {
            *link = Link::default(); // its last words are said
        }
        link.farewell("it begins anew").await;
        let flowed = attempt.flowed.get();
        if flowed {
            self.backoff.reset();
            self.hops = 0;
        }
        let trouble = match end {
            None | Some(End::Away) => {
                self.place = Place::of(&self.job.spec);
                return self.job.keep;
            }
            Some(End::Trouble(Trouble::Moved(to))) => match self.follow(*to) {
                Ok(()) => {
                    if flowed {
                        self.pause().await;
                    }
                    return true;
                }
                Err(trouble) => trouble,
            },
            Some(End::Trouble(trouble)) => trouble,
        };
        self.place = Place::of(&self.job.spec);
        self.hops = 0;
        self.complain(&trouble);
        if !self.job.keep {
            return false;
        }
        self.pause().await;
        true
    }

    async fn pause(&mut self) {
        let pause = self.backoff.delay(REMOTE_RETRY, random_number());
        tokio::select! {
            () = sleep(pause) => {}
            () = self.job.again.notified() => {}
        }
    }

    fn follow(&mut self, to: Address) -> Result<(), Trouble> {
        self.hops = self.hops.saturating_add(1);
        if self.hops > MAX_REDIRECTS {
            return Err(Trouble::TooFar);
        }
        self.place = self.place.elsewhere(to, &self.job.spec)?;
        let (spec, to) = (&self.job.spec, &self.place.address);
        limited("remote-moved", Instant::now(), || {
            tracing::info!(
                stream = %spec.local, remote = %spec.shown(), code = "remote-moved",
                "the other server sends elsewhere, to {}", to.server()
            );
        });
        Ok(())
    }

    fn complain(&self, trouble: &Trouble) {
        let (spec, at) = (&self.job.spec, Instant::now());
        let text = spec.without_secrets(&trouble.to_string());
        let code = trouble.code();
        let mut complaint = self.complaint.borrow_mut();
        if complaint.is_new(&text, at) {
            let what = spec.direction.as_str();
            limited(code, at, || {
                tracing::warn!(
                    stream = %spec.local, remote = %spec.shown(), code,
                    "the {what} is not there, trying on: {}", Sentence(&text)
                );
            });
        }
        let text = Sentence(&text).to_string();
        self.job.failed(Failure { code, text, at });
    }

    /// Waits until there is something to do: of a push the stream is there, of a pull the name is free.
    async fn ready(&self) -> Option<Arc<Stream>> {
        let bell = Arc::<Notify>::default();
        let _watch = self.context.hub.watch(Arc::clone(&bell) as _);
        let mut said = false;
        loop {
            let stream = self.context.hub.get(self.name);
            let live = stream.as_ref().is_some_and(|s| s.state() == State::Live);
            match self.job.spec.direction {
                Direction::Push if live => return stream,
                Direction::Pull if !live => return None,
                Direction::Push => self.job.enter(Phase::Waiting),
                Direction::Pull => {
                    if !std::mem::replace(&mut said, true) {
                        let taken = Trouble::Taken;
                        self.job.waits(Failure {
                            code: taken.code(),
                            text: taken.to_string(),
                            at: Instant::now(),
                        });
                        tracing::info!(
                            stream = %self.name, remote = %self.job.spec.shown(), code = taken.code(),
                            "the pull waits: {taken}"
                        );
                    }
                }
            }
            bell.notified().await;
        }
    }
}

/// Connects, and does what the job is.
async fn live(
    attempt: &Attempt<'_>,
    name: &StreamName,
    stream: Option<Arc<Stream>>,
    place: &Place,
    link: &mut Link,
) -> Option<End> {
    let limits = attempt.context.shards.limits();
    let spec = &attempt.job.spec;
    #[cfg(feature = "publish")]
    if place.address.rtsp {
        let pulled = rtsp::pull(attempt, name, place, &mut link.rtsp);
        return Some(End::Trouble(Box::pin(pulled).await));
    }
    let connected = timeout(REMOTE_LOGIN, connect(spec, place, limits)).await;
    let (session, caps) = match connected {
        Ok(Ok(connected)) => connected,
        Ok(Err(trouble)) => return Some(End::Trouble(trouble)),
        Err(_) => return Some(End::Trouble(Trouble::Silent(REMOTE_LOGIN))),
    };
    let session = link.rtmp.insert(session);
    Some(match stream {
        Some(stream) => {
            let push = Push::new(attempt, stream, &caps);
            push.run(session, limits.send_timeout).await
        }
        None => pulled(attempt, name, session, limits.publish_timeout).await,
    })
}

#[cfg(feature = "publish")]
async fn pulled(
    attempt: &Attempt<'_>,
    name: &StreamName,
    session: &mut Session,
    patience: Duration,
) -> End {
    let pull = Pull::new(attempt, name);
    End::Trouble(pull.run(session, patience).await)
}

/// This program takes no streams in.
#[cfg(not(feature = "publish"))]
async fn pulled(_: &Attempt<'_>, _: &StreamName, _: &mut Session, _: Duration) -> End {
    std::future::ready(End::Trouble(Trouble::Displaced)).await
}
