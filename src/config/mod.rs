//! Configuration: built-in defaults, files, credentials, the environment, flags; checked before anything is opened.
//!
//! Each layer replaces single keys of the one before it:
//!
//! 1. the built-in defaults, [`Settings::for_role`];
//! 2. the TOML file that is the one positional argument, or a file of the original, `FILE.lua`
//!    (`docs/from-crtmpserver.md`);
//! 3. `conf.d/*.toml` beside that file, in the order of their names;
//! 4. systemd's credentials ([`credentials`]), where there are any;
//! 5. the environment: `CRTMPSERVER_` and the key in capitals, two underscores for a dot
//!    (`CRTMPSERVER_RELAY__LOG_TIME=10s` is `relay.log_time`); lists in brackets
//!    (`CRTMPSERVER_APPLICATIONS=[live, test]`), a list of one without;
//! 6. flags; `--set relay.log_time=10s` sets any key.
//!
//! A path that is not absolute is meant beside the file of the first argument. Sizes are written
//! `16MiB`, times `20s`. Unknown keys are errors, and every problem is told at once: where, which
//! key, what would be right.

mod build;
mod changes;
pub mod credentials;
mod file;
mod files;
mod hls;
mod hosts;
mod layers;
mod listen;
#[cfg(feature = "publish")]
mod lua;
mod problem;
mod process;
mod public;
mod publish;
mod record;
mod remote;
mod settings;
mod summary;
mod tls;
mod value;
mod ways;

use std::path::PathBuf;

use crate::limits::MAX_CONFIG_PROBLEMS;

pub use changes::{Change, Effect, KEYS, Key, changes};
#[cfg(feature = "publish")]
pub use lua::Original;
pub use problem::Problem;
pub use publish::Holders;
pub use settings::{
    Cluster, ControlAt, FileSeek, Files, Join, Lack, Listen, Log, LogFormat, Mirror, Play, Publish,
    Relay, Role, Server, Settings, Takeover,
};
pub use tls::{Tls, Wrong};
pub use value::{MasterUrl, Metadata, Size, Span};
pub use ways::{Way, WayInterface, WayKind};

/// Where settings come from, beside the defaults.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources {
    /// The positional argument.
    pub file: Option<PathBuf>,
    /// The folder of systemd's credentials.
    pub credentials: Option<PathBuf>,
    /// The environment: names and values; only names with [`ENV_PREFIX`] count.
    pub environment: Vec<(String, String)>,
    /// Flags, in order.
    pub flags: Vec<Flag>,
}

impl Sources {
    /// What the machine says of itself, for the operator: the credential `crtmpserver.note`.
    #[must_use]
    pub fn note(&self) -> Option<String> {
        self.credentials.as_deref().and_then(credentials::note)
    }
}

/// One flag that sets a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flag {
    /// The flag as it was written, for the error: `--role`.
    pub name: String,
    /// The key, with dots.
    pub key: String,
    /// The value, read like one from the environment.
    pub value: String,
}

/// What every variable of the environment that is a setting begins with.
pub const ENV_PREFIX: &str = "CRTMPSERVER_";

/// A good configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// What to run.
    pub settings: Settings,
    /// What is allowed but should be known, one line each, said at start.
    pub warnings: Vec<String>,
    /// How many users and stream keys there are.
    pub holders: Holders,
    /// Which listeners are not just the defaults.
    pub listen_said: ListenSaid,
    /// Each key that is not left to its default, and the file, credential, variable or flag that said
    /// it.
    pub origins: Vec<(String, String)>,
    /// Where all this came from, to be read again.
    pub sources: Sources,
}

/// Whether a file, a variable or a flag names listeners.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ListenSaid {
    /// `listen.rtmp`
    pub rtmp: bool,
    /// `listen.http`
    pub http: bool,
    /// `listen.rtmps`
    pub rtmps: bool,
    /// `listen.https`
    pub https: bool,
}

/// Reads all layers, checks every value and the files that hold secrets. Opens no socket.
///
/// # Errors
/// All problems, not just the first.
pub fn load(sources: &Sources) -> Result<Loaded, Vec<Problem>> {
    let layers = layers::Layers::read(sources)?;
    let (file, mut problems) = layers.extract();
    if problems.len() >= MAX_CONFIG_PROBLEMS {
        return Err(problems);
    }
    let base = sources
        .file
        .as_deref()
        .and_then(std::path::Path::parent)
        .map(std::path::Path::to_owned);
    let mut build = build::Build::new(&layers, base);
    let mut settings = build.settings(file);
    let (more, holders) = build.inspect(&mut settings);
    problems.append(&mut build.problems);
    if problems.is_empty() {
        let mut warnings = layers.warnings.clone();
        warnings.extend(more);
        Ok(Loaded {
            settings,
            warnings,
            holders,
            listen_said: ListenSaid {
                rtmp: layers.says("listen.rtmp"),
                http: layers.says("listen.http"),
                rtmps: layers.says("listen.rtmps"),
                https: layers.says("listen.https"),
            },
            origins: layers.origins(),
            sources: sources.clone(),
        })
    } else {
        Err(problems)
    }
}

#[cfg(test)]
mod tests;
