//! Configuration: built-in defaults, the file, conf.d, the environment, flags; checked before anything is opened.

mod settings;
mod value;

pub use settings::{
    Join, Listen, Log, LogFormat, Mirror, Play, Publish, Relay, Role, Server, Settings, Takeover,
};
pub use value::{MasterUrl, Size, Span};
