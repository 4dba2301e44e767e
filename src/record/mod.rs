//! Recordings: streams into files, as FLV or fragmented MP4.
//!
//! ```text
//! rule, publisher, operator --> Recorder --> Work (a thread each): Tail -> Source -> Muxer -> OutFile
//! ```
//!
//! A recording reads the log of its stream on a thread of its own, whole tags and fragments at a time; a
//! disk that is slow, full or gone costs the recording, never the stream. Everything that is made is
//! made beneath the folder, by names that were checked ([`NamePattern`]), and nothing that is there is
//! written over.

mod file;
mod mend;
mod name;
mod recording;
mod rule;
mod source;
#[cfg(test)]
mod tests;
mod trouble;
mod unfinished;
mod work;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

pub use self::name::{NamePattern, StreamPattern};
use self::recording::Recording;
pub use self::recording::{Handle, News, RecordingNow, State, Why};
use self::rule::Plan;
pub use self::rule::{RecordConfig, Wish};
use self::work::Work;
use crate::limits::MAX_RECORDINGS;
use crate::media::StreamName;
use crate::relay::{self, Hub, Stream, Wake};
use crate::system::wall_ms;
use crate::telemetry::health::Health;
use crate::telemetry::logging::limited;
use crate::telemetry::recordings::RecordFigures;

/// The key of its note among what is wrong.
const PART: &str = "recording";

/// What a publisher wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// No recording.
    Nothing,
    /// A file of the stream's name.
    File,
    /// The file of the stream's name goes on.
    Append,
}

/// What becomes of it.
#[derive(Debug)]
pub enum Published {
    /// It asked for none.
    Nothing,
    /// It is about to be recorded.
    Recording(Handle),
    /// It is not recorded; why.
    Refused(String),
}

/// Why there is no recording for an operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// An operator's recording of it goes on.
    #[error("an operator's recording of this stream goes on already")]
    Already,
    /// None that an operator could stop.
    #[error(
        "there is no recording of this stream that could be stopped; what the configuration records stops by record.streams"
    )]
    None,
    /// [`MAX_RECORDINGS`].
    #[error("there are {MAX_RECORDINGS} recordings, and no more at once")]
    Full,
    /// The server ends.
    #[error("the server stops")]
    Stops,
    /// The system gives no thread.
    #[error("the system refuses a thread: {0}")]
    Thread(String),
}

/// All recordings. One to a process.
pub struct Recorder {
    hub: Arc<Hub>,
    health: Arc<Health>,
    figures: RecordFigures,
    config: Mutex<Arc<RecordConfig>>,
    registry: Mutex<Registry>,
    /// A recording ended, or the configuration is another.
    changed: Arc<Notify>,
    ended: Condvar,
    me: Weak<Self>,
}

#[derive(Default)]
struct Registry {
    recordings: Vec<Arc<Recording>>,
    /// The number that was given last.
    last: u64,
    stopping: bool,
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Recorder({} recordings)",
            self.registry().recordings.len()
        )
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What may wait for a disk, on a thread of its own.
fn aside(work: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().name("record-look".to_owned());
    if let Err(error) = thread.spawn(work) {
        tracing::warn!(%error, code = "recording-mended", "nothing is mended, nor looked at: there is no thread");
    }
}

impl Recorder {
    /// Of the streams of a hub. Nothing is recorded before [`Recorder::run`].
    #[must_use]
    pub fn new(
        hub: &Arc<Hub>,
        figures: RecordFigures,
        health: &Arc<Health>,
        config: RecordConfig,
    ) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            hub: Arc::clone(hub),
            health: Arc::clone(health),
            figures,
            config: Mutex::new(Arc::new(config)),
            registry: Mutex::default(),
            changed: Arc::default(),
            ended: Condvar::new(),
            me: Weak::clone(me),
        })
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        lock(&self.registry)
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> Arc<RecordConfig> {
        Arc::clone(&lock(&self.config))
    }

    /// Another configuration, for what is recorded too: a file that is no longer right ends, and the next
    /// one begins, with the next key frame.
    pub fn set_config(&self, config: RecordConfig) {
        let config = Arc::new(config);
        let before = std::mem::replace(&mut *lock(&self.config), Arc::clone(&config));
        if before != config {
            aside(move || config.look_at_folder());
        }
        self.changed.notify_one();
    }

    /// Mends what a crash left, and records what the rule says, for ever.
    pub async fn run(self: Arc<Self>) {
        let config = self.config();
        aside(move || {
            config.look_at_folder();
            unfinished::mend_all(&config.folder);
        });
        let _watch = self.hub.watch(Arc::clone(&self.changed) as Arc<dyn Wake>);
        loop {
            self.look();
            self.changed.notified().await;
        }
    }

    /// Begins and ends what the rule says.
    fn look(&self) {
        let config = self.config();
        let running = self.registry().recordings.clone();
        let of_rule = || {
            running
                .iter()
                .filter(|recording| recording.why == Why::Rule)
        };
        for recording in of_rule() {
            if config.means(recording.stream.name()) {
                recording.set_plan(config.of_rule());
            } else {
                recording.stop();
            }
        }
        for stream in self.hub.streams() {
            let wanted = config.means(stream.name()) && stream.state() == relay::State::Live;
            let there = || of_rule().any(|r| Arc::ptr_eq(&r.stream, &stream));
            if wanted
                && !there()
                && let Err(error) = self.start(&stream, Why::Rule, config.of_rule())
            {
                limited("recording-refused", Instant::now(), || {
                    tracing::error!(stream = %stream.name(), code = "recording-refused", "not recorded: {error}");
                });
            }
        }
    }

    fn start(
        &self,
        stream: &Arc<Stream>,
        why: Why,
        plan: Plan,
    ) -> Result<Arc<Recording>, RecordError> {
        let recording = {
            let mut registry = self.registry();
            if registry.stopping {
                return Err(RecordError::Stops);
            }
            if registry.recordings.len() >= MAX_RECORDINGS {
                return Err(RecordError::Full);
            }
            registry.last = registry.last.saturating_add(1);
            let stream = Arc::clone(stream);
            let recording = Recording::new(registry.last, stream, why, wall_ms(), plan);
            let recording = Arc::new(recording);
            registry.recordings.push(Arc::clone(&recording));
            recording
        };
        let me = Weak::clone(&self.me);
        let work = Work {
            recording: Arc::clone(&recording),
            figures: self.figures.clone(),
            changed: Box::new(move || {
                if let Some(recorder) = me.upgrade() {
                    recorder.report();
                }
            }),
        };
        let listed = Listed(Weak::clone(&self.me), Arc::clone(&recording));
        let thread = std::thread::Builder::new().name(format!("record-{}", recording.id));
        let begun = thread.spawn(move || {
            let listed = listed;
            if catch_unwind(AssertUnwindSafe(|| work.run())).is_err() {
                tracing::error!(code = "defect", "a recording was lost to a defect");
            }
            work.over();
            drop(listed);
        });
        // What was not begun is no longer listed: `listed` went with the thread's work.
        begun.map_err(|error| RecordError::Thread(error.to_string()))?;
        Ok(recording)
    }

    /// A publisher has a stream. What it asked for before, and was cut from, goes on in the same file.
    pub fn published(&self, stream: &Arc<Stream>, asked: Asked, waker: Arc<dyn Wake>) -> Published {
        let goes_on = self.find(|recording| {
            recording.why == Why::Publisher
                && Arc::ptr_eq(&recording.stream, stream)
                && !recording.is_stopped()
                && !matches!(recording.shared().state, State::Failed(_))
        });
        match (asked, goes_on) {
            (Asked::Nothing, Some(recording)) => {
                recording.stop();
                Published::Nothing
            }
            (Asked::Nothing, None) => Published::Nothing,
            (Asked::File | Asked::Append, Some(recording)) => {
                Published::Recording(recording.belongs_to(waker))
            }
            (Asked::File | Asked::Append, None) => {
                let config = self.config();
                if !config.publishers {
                    let why = "this server records nothing for publishers (record.publishers)";
                    return Published::Refused(why.to_owned());
                }
                let plan = config.of_publisher(asked == Asked::Append);
                match self.start(stream, Why::Publisher, plan) {
                    Ok(recording) => Published::Recording(recording.belongs_to(waker)),
                    Err(error) => Published::Refused(error.to_string()),
                }
            }
        }
    }

    /// Records a stream on an operator's word, from its newest key frame on. Gives the recording's number.
    ///
    /// # Errors
    /// [`RecordError`].
    pub fn record(&self, stream: &Arc<Stream>, wish: &Wish) -> Result<u64, RecordError> {
        let already = self.find(|recording| {
            recording.why == Why::Operator
                && Arc::ptr_eq(&recording.stream, stream)
                && !recording.is_stopped()
        });
        if already.is_some() {
            return Err(RecordError::Already);
        }
        let plan = self.config().of_operator(wish);
        Ok(self.start(stream, Why::Operator, plan)?.id)
    }

    /// Ends what an operator or a publisher wanted to be recorded of a stream. Gives how many there were.
    ///
    /// # Errors
    /// [`RecordError::None`].
    pub fn stop(&self, stream: &StreamName) -> Result<usize, RecordError> {
        let running = self.registry().recordings.clone();
        let of_it = running
            .iter()
            .filter(|recording| recording.why != Why::Rule && recording.stream.name() == stream);
        let stopped = of_it.map(|recording| recording.stop()).count();
        if stopped == 0 {
            return Err(RecordError::None);
        }
        Ok(stopped)
    }

    /// Ends the recording with this number, unless it is the configuration's. Gives its stream.
    ///
    /// # Errors
    /// [`RecordError::None`].
    pub fn stop_one(&self, id: u64) -> Result<StreamName, RecordError> {
        let found = self.find(|recording| recording.id == id && recording.why != Why::Rule);
        let recording = found.ok_or(RecordError::None)?;
        recording.stop();
        Ok(recording.stream.name().clone())
    }

    /// What is recorded, by number.
    #[must_use]
    pub fn list(&self) -> Vec<RecordingNow> {
        let running = self.registry().recordings.clone();
        running.iter().map(|recording| recording.now()).collect()
    }

    /// Finishes all recordings; for the end of the server, off its threads. Gives how many did not end in
    /// time.
    pub fn finish(&self, within: Duration) -> usize {
        let mut registry = self.registry();
        registry.stopping = true;
        for recording in &registry.recordings {
            recording.stop();
        }
        let some = |registry: &mut Registry| !registry.recordings.is_empty();
        let waited = self.ended.wait_timeout_while(registry, within, some);
        let (registry, _) = waited.unwrap_or_else(PoisonError::into_inner);
        registry.recordings.len()
    }

    fn find(&self, is: impl Fn(&Recording) -> bool) -> Option<Arc<Recording>> {
        let registry = self.registry();
        registry.recordings.iter().find(|r| is(r)).map(Arc::clone)
    }

    /// Tells what is wrong, if anything.
    fn report(&self) {
        let mut failed = self.list().into_iter().filter_map(|now| match now.state {
            State::Failed(why) => Some(format!("{}: {why}", now.stream)),
            _ => None,
        });
        let first = failed.next();
        let more = match failed.count() {
            0 => String::new(),
            n => format!(" (and {n} more)"),
        };
        self.health
            .note(PART, first.map(|first| format!("{first}{more}")));
    }
}

/// Takes a recording off the list when it ends, however that comes.
struct Listed(Weak<Recorder>, Arc<Recording>);

impl Drop for Listed {
    fn drop(&mut self) {
        let Self(recorder, recording) = self;
        if let Some(recorder) = recorder.upgrade() {
            let same = |other: &Arc<Recording>| Arc::ptr_eq(other, recording);
            recorder.registry().recordings.retain(|r| !same(r));
            recorder.report();
            recorder.ended.notify_all();
            // A stream that came back meanwhile is recorded anew.
            recorder.changed.notify_one();
        }
    }
}
