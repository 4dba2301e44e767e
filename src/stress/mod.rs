//! `crtmpserver stress`: many viewers and some publishers, and what they met.
//!
//! Publishers put a clock and a number into every frame (`stamp`); viewers that are checked find
//! what is lost, changed, out of order or late. Everything else is done to cost little: see
//! `viewer` and `load`.

mod check;
mod clock;
mod figures;
mod histogram;
mod load;
mod options;
mod parser;
mod picture;
mod programme;
mod publisher;
mod report;
mod stamp;
mod stop;
mod target;
mod usage;
mod viewer;

use std::path::PathBuf;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

pub use check::Findings;
pub use histogram::{Histogram, Summary};
pub use load::is_terminal;
pub use programme::{Due, Playhead, Programme, ProgrammeError, Synthetic};
pub use report::{Crowd, Publishing, Report, Server};
pub use stop::Stop;
pub use target::{Protocol, Target, TargetError};
pub use usage::Usage;

use clock::Clock;
use load::Load;
use publisher::Publishers;

use crate::limits::RESERVED_DESCRIPTORS;
use crate::system::raise_descriptor_limit;

/// How long the server may take to accept all publishers.
const PUBLISH_PATIENCE: Duration = Duration::from_secs(20);

/// What to do.
#[derive(Debug, Clone)]
pub struct Options {
    /// What the viewers watch.
    pub url: String,
    /// Where the publishers publish; what is watched, when that is RTMP.
    pub publish: Option<String>,
    /// Viewers.
    pub viewers: usize,
    /// Publishers; with more than one, `-1`, `-2` and so on is added to the stream's name.
    pub publishers: usize,
    /// Streams that somebody else publishes, named likewise.
    pub streams: usize,
    /// Viewers that connect in a second.
    pub ramp: u32,
    /// From the last viewer's first picture to the begin of the figures.
    pub settle: Duration,
    /// How long the figures are taken.
    pub duration: Duration,
    /// What is published.
    pub programme: Synthetic,
    /// Published instead.
    pub file: Option<PathBuf>,
    /// Viewers that read slowly.
    pub slow: usize,
    /// How slowly, bit/s.
    pub slow_rate: u64,
    /// Viewers that stop reading.
    pub stalled: usize,
    /// Viewers that are checked frame by frame.
    pub check: usize,
    /// Between two looks at the sockets.
    pub pause: Duration,
    /// Targets that are not on this machine are taken.
    pub allow_remote: bool,
    /// Processes of the server, whose CPU time and memory are told.
    pub pids: Vec<u32>,
    /// Progress overwrites itself.
    pub terminal: bool,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum StressError {
    /// The URL.
    #[error("{0}")]
    Target(#[from] TargetError),
    /// Options that cannot be done, or not together.
    #[error("{0}")]
    Options(String),
    /// The programme.
    #[error("{what}: {source}")]
    Programme {
        /// Its file, or a word for it.
        what: String,
        /// What is wrong.
        source: ProgrammeError,
    },
    /// Publishing needs RTMP.
    #[error("publishers speak RTMP: say where with --publish rtmp://HOST/APP/STREAM")]
    PublishWhere,
    /// More sockets than the process may have.
    #[error(
        "{needed} descriptors are needed and {limit} allowed: ask for fewer viewers, or raise the hard limit (ulimit -Hn)"
    )]
    Descriptors {
        /// What the viewers need.
        needed: u64,
        /// What the system gives.
        limit: u64,
    },
    /// No publisher, or not all.
    #[error("cannot publish: {0}")]
    Publisher(String),
    /// No viewer got anything.
    #[error("no viewer gets anything from {host}: {reason}")]
    NobodyIn {
        /// `host:port`
        host: String,
        /// The most frequent reason.
        reason: String,
    },
    /// The system.
    #[error("the system refuses: {0}")]
    System(#[from] std::io::Error),
}

impl StressError {
    /// The exit code, as sysexits has it.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Target(_) | Self::PublishWhere | Self::Options(_) => 64,
            Self::Programme { .. } => 66,
            Self::NobodyIn { .. } | Self::Publisher(_) => 69,
            Self::Descriptors { .. } | Self::System(_) => 71,
        }
    }
}

/// Runs it all; blocks the thread until it is done.
///
/// # Errors
/// [`StressError`] when there is nothing to report.
pub fn run(options: &Options) -> Result<Report, StressError> {
    run_until(options, &Stop::default())
}

/// The same, until `stop` is requested.
///
/// # Errors
/// [`StressError`] when there is nothing to report.
pub fn run_until(options: &Options, stop: &Stop) -> Result<Report, StressError> {
    options::check(options)?;
    let target = Target::new(&options.url, options.allow_remote)?;
    let publish = match (&options.publish, options.publishers) {
        (_, 0) => None,
        (Some(url), _) => Some(Target::new(url, options.allow_remote)?),
        (None, _) => Some(target.clone()),
    };
    if publish
        .as_ref()
        .is_some_and(|t| t.protocol != Protocol::Rtmp)
    {
        return Err(StressError::PublishWhere);
    }
    let needed = options.viewers.saturating_add(options.publishers);
    let needed = needed.saturating_add(RESERVED_DESCRIPTORS) as u64;
    let limit = raise_descriptor_limit(needed)?;
    if limit < needed {
        return Err(StressError::Descriptors { needed, limit });
    }
    let clock = Clock::new();
    let publishers = match publish {
        Some(target) => Some(begin(options, target, clock, stop)?),
        None => None,
    };
    let published = publishers
        .as_ref()
        .map(|p| std::sync::Arc::clone(&p.published));
    Load::new((options, stop), target, clock, published)?.run()
}

/// Starts the publishers and waits until the server has accepted all of them.
fn begin(
    options: &Options,
    target: Target,
    clock: Clock,
    stop: &Stop,
) -> Result<Publishers, StressError> {
    let programme = match &options.file {
        Some(path) => Programme::file(path).map_err(|source| StressError::Programme {
            what: path.display().to_string(),
            source,
        })?,
        None => {
            Programme::synthetic(&options.programme).map_err(|source| StressError::Programme {
                what: "the programme".to_owned(),
                source,
            })?
        }
    };
    let publishers = Publishers::start(target, options.publishers, programme, clock)?;
    let since = Instant::now();
    let published = &publishers.published;
    while published.started.load(Ordering::Relaxed) < options.publishers && stop.signal().is_none()
    {
        let failure = published
            .failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some(failure) = failure {
            return Err(StressError::Publisher(failure));
        }
        if since.elapsed() >= PUBLISH_PATIENCE {
            let seconds = PUBLISH_PATIENCE.as_secs();
            let message = format!("not all publishers were accepted within {seconds} s");
            return Err(StressError::Publisher(message));
        }
        load::sleep(Duration::from_millis(5));
    }
    Ok(publishers)
}
