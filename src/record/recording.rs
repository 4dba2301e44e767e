//! One recording as others see it: what it does, and how it is told to stop.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::rule::Plan;
use crate::media::StreamName;
use crate::relay::{Stream, Wake};

/// Who wants a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The configuration.
    Rule,
    /// The stream's publisher.
    Publisher,
    /// An operator.
    Operator,
}

impl Why {
    /// For people and programs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rule => "rule",
            Self::Publisher => "publisher",
            Self::Operator => "operator",
        }
    }
}

/// What a recording does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It waits for a picture to begin with.
    Waiting,
    /// It writes.
    Recording,
    /// It cannot write; why.
    Failed(String),
    /// It ended.
    Over,
}

impl State {
    /// For people and programs.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Recording => "recording",
            Self::Failed(_) => "failed",
            Self::Over => "over",
        }
    }
}

/// What a publisher is told of its recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// It began.
    Started,
    /// It cannot go on; why.
    Failed(String),
    /// It did not begin; why.
    NoAccess(String),
}

/// A recording as of now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordingNow {
    /// Its number.
    pub id: u64,
    /// What it records.
    pub stream: StreamName,
    /// Who wanted it.
    pub why: Why,
    /// What it does.
    pub state: State,
    /// The present file, or the last one, within the folder.
    pub file: Option<String>,
    /// When it began (Unix, ms).
    pub since_ms: u64,
    /// Bytes that it wrote, in all its files.
    pub bytes: u64,
    /// Files that it made.
    pub files: u64,
    /// Frames that it missed because the disk was too slow.
    pub lost: u64,
}

/// What changes while it records.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) plan: Arc<Plan>,
    pub(super) state: State,
    pub(super) file: Option<String>,
    pub(super) bytes: u64,
    pub(super) files: u64,
    pub(super) lost: u64,
    stop: bool,
    /// Which publisher's connection it belongs to; another number is another one.
    owner: u64,
    news: VecDeque<News>,
}

/// News that nobody took; there is one at the beginning and one at the end.
const MAX_NEWS: usize = 4;

/// See the module.
pub(super) struct Recording {
    pub(super) id: u64,
    pub(super) stream: Arc<Stream>,
    pub(super) why: Why,
    since_ms: u64,
    shared: Mutex<Shared>,
    stopped: Condvar,
    /// Woken when there are news.
    waker: Mutex<Option<Arc<dyn Wake>>>,
}

impl Recording {
    pub(super) fn new(id: u64, stream: Arc<Stream>, why: Why, since_ms: u64, plan: Plan) -> Self {
        Self {
            id,
            stream,
            why,
            since_ms,
            shared: Mutex::new(Shared {
                plan: Arc::new(plan),
                state: State::Waiting,
                file: None,
                bytes: 0,
                files: 0,
                lost: 0,
                stop: false,
                owner: 0,
                news: VecDeque::new(),
            }),
            stopped: Condvar::new(),
            waker: Mutex::default(),
        }
    }

    pub(super) fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn plan(&self) -> Arc<Plan> {
        Arc::clone(&self.shared().plan)
    }

    /// Another plan; what differs counts from the next file on, or at once where it can.
    pub(super) fn set_plan(&self, plan: Plan) {
        let mut shared = self.shared();
        if *shared.plan != plan {
            shared.plan = Arc::new(plan);
        }
    }

    /// Ends it behind what the stream has by now.
    pub(super) fn stop(&self) {
        self.shared().stop = true;
        self.stopped.notify_all();
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.shared().stop
    }

    /// Rests for a while, or until it is stopped.
    pub(super) fn pause(&self, time: Duration) {
        let shared = self.shared();
        let rest = self
            .stopped
            .wait_timeout_while(shared, time, |shared| !shared.stop);
        drop(rest);
    }

    pub(super) fn tell(&self, news: News) {
        {
            let mut shared = self.shared();
            if shared.news.len() >= MAX_NEWS {
                shared.news.pop_front();
            }
            shared.news.push_back(news);
        }
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(waker) = waker.as_ref() {
            waker.wake();
        }
    }

    /// Belongs to another connection from now on; whoever had it lets go without a consequence.
    pub(super) fn belongs_to(self: &Arc<Self>, waker: Arc<dyn Wake>) -> Handle {
        *self.waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(waker);
        let mut shared = self.shared();
        shared.owner = shared.owner.saturating_add(1);
        let owner = shared.owner;
        if shared.state == State::Recording {
            shared.news.push_back(News::Started);
        }
        drop(shared);
        Handle {
            recording: Arc::clone(self),
            owner,
        }
    }

    pub(super) fn now(&self) -> RecordingNow {
        let shared = self.shared();
        RecordingNow {
            id: self.id,
            stream: self.stream.name().clone(),
            why: self.why,
            state: shared.state.clone(),
            file: shared.file.clone(),
            since_ms: self.since_ms,
            bytes: shared.bytes,
            files: shared.files,
            lost: shared.lost,
        }
    }
}

/// A publisher's hold on its recording. Dropping it is a cut: the recording goes on for as long as the
/// stream waits for its source, and with the next one that asks for it.
pub struct Handle {
    recording: Arc<Recording>,
    owner: u64,
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Handle({}, {})",
            self.recording.id,
            self.recording.stream.name()
        )
    }
}

impl Handle {
    /// What is to be told since the last time; to be asked when the waker was woken.
    #[must_use]
    pub fn news(&self) -> Vec<News> {
        let mut shared = self.recording.shared();
        if shared.owner != self.owner {
            return Vec::new();
        }
        shared.news.drain(..).collect()
    }

    /// The publisher ended its stream. Whether there was a recording that ends with it.
    pub fn finish(self) -> bool {
        let shared = self.recording.shared();
        let ours = shared.owner == self.owner;
        let was = shared.state == State::Recording;
        drop(shared);
        if ours {
            self.recording.stop();
        }
        ours && was
    }
}
