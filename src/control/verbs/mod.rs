//! The verbs of crtmpserver's command line, as its users know them: grammar, JSON and names of the
//! original and of what came of it.
//!
//! ```text
//! ctl VERB key=value -----control socket--> Control::line --> hub, remotes, recorder, shards
//! telnet 127.0.0.1 1112 --serve-------------^
//! ```
//!
//! What this server has no use for is refused by name, with the place where it is had here.

pub mod grammar;

mod configs;
mod connections;
mod recordings;
mod serve;
mod streams;

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

use self::grammar::Line;
use super::Control;
use super::model::{self, Answer};
use super::protocol::VERSION;
use super::rows::Clock;
use crate::relay::millis;

pub use serve::serve;

/// What a verb comes to: a sentence and its data, or why not.
type Done = Result<(String, Value), String>;

/// The verbs that are done, each with what it is for.
pub const VERBS: &[(&str, &str)] = &[
    ("clientsConnected", "how many watch: [localStreamName=]"),
    ("getConfigInfo", "one pull, push or recording: id="),
    ("getConnectionInfo", "one connection: id="),
    ("getConnectionsCount", "how many connections there are"),
    ("getStreamInfo", "one stream: id= or localStreamName="),
    ("getStreamsCount", "how many streams there are"),
    ("help", "this list"),
    (
        "isStreamRunning",
        "whether a stream is there: id= or localStreamName=",
    ),
    ("listConfig", "what is pulled, pushed and recorded"),
    ("listConnections", "who is connected"),
    ("listConnectionsIds", "the numbers of the connections"),
    (
        "listInboundStreamNames",
        "the names of the streams that come in",
    ),
    ("listInboundStreams", "the streams that come in"),
    ("listServices", "where this server listens"),
    (
        "listStreams",
        "the streams that come in, and those that are pushed",
    ),
    ("listStreamsIds", "their numbers"),
    (
        "pullStream",
        "take a stream from another server: uri= [localStreamName= keepAlive=1 tcUrl= pageUrl= swfUrl= emulateUserAgent= user= password= caFile= transport=tcp|udp]",
    ),
    (
        "pushStream",
        "give a stream to another server: uri= [localStreamName= targetStreamName= targetStreamType=live keepAlive=1 tcUrl= pageUrl= swfUrl= emulateUserAgent= user= password= caFile=]",
    ),
    ("quit", "end this connection"),
    (
        "record",
        "write a stream into files: localStreamName= [pathToFile= type=flv|mp4 chunkLength=]",
    ),
    (
        "removeConfig",
        "end a pull, a push or a recording for good: id=",
    ),
    ("setLogLevel", "how much the log says: level=0..6"),
    (
        "shutdownStream",
        "end a stream: id= or localStreamName= [permanently=1]",
    ),
    ("version", "which program this is"),
];

/// Verbs of others, and where the same is had here.
const ELSEWHERE: &[(&[&str], &str)] = &[
    (
        &["shutdownServer"],
        "stop it with `systemctl stop crtmpserver`, or send it SIGTERM",
    ),
    (
        &["createService", "enableService", "shutdownService"],
        "listeners are under [listen] of the configuration, which a reload takes up",
    ),
    (
        &[
            "addStreamAlias",
            "removeStreamAlias",
            "listStreamAliases",
            "flushStreamAliases",
        ],
        "names of streams have no aliases; applications have, under [aliases] of the configuration",
    ),
    (
        &["createIngestPoint", "removeIngestPoint", "listIngestPoints"],
        "a secret name for a public one is a stream key: `crtmpserver key add`, `key revoke`, `key list`",
    ),
    (
        &["addStorage", "removeStorage", "listStorage"],
        "media folders are files.folders of the configuration",
    ),
    (
        &["setAuthentication"],
        "who may publish is a matter of publish.users and publish.networks",
    ),
    (
        &[
            "setConnectionsCountLimit",
            "getConnectionsCountLimit",
            "setBandwidthLimit",
            "getBandwidthLimit",
        ],
        "bounds are under [limits] of the configuration, which a reload takes up",
    ),
    (
        &[
            "createHLSStream",
            "createHDSStream",
            "createMSSStream",
            "createDASHStream",
        ],
        "HLS is there for every stream by itself: /APP/STREAM.m3u8",
    ),
];

/// Numbers of streams for who wants numbers; a name keeps its own for as long as it is there.
#[derive(Debug, Default)]
pub struct Ids(Mutex<Numbers>);

#[derive(Debug, Default)]
struct Numbers {
    last: u64,
    known: HashMap<String, u64>,
}

impl Ids {
    /// The numbers of these, in order; all others are forgotten.
    fn of(&self, names: Vec<String>) -> Vec<u64> {
        let mut numbers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Numbers { last, known } = &mut *numbers;
        let there: HashSet<&String> = names.iter().collect();
        known.retain(|name, _| there.contains(name));
        let number = |name: String| {
            *known.entry(name).or_insert_with(|| {
                *last = last.saturating_add(1);
                *last
            })
        };
        names.into_iter().map(number).collect()
    }
}

/// Whether there is a verb of this name, in whatever case; for who wants to know before he asks.
#[must_use]
pub fn is_known(verb: &str) -> bool {
    let own = VERBS.iter().map(|(name, _)| *name);
    let others = ELSEWHERE
        .iter()
        .flat_map(|(names, _)| names.iter().copied());
    own.chain(others)
        .any(|name| name.eq_ignore_ascii_case(verb))
}

/// Whether a verb only looks.
fn looks(verb: &str) -> bool {
    let changes = [
        "pullstream",
        "pushstream",
        "record",
        "removeconfig",
        "setloglevel",
        "shutdownstream",
    ];
    !changes.contains(&verb.to_ascii_lowercase().as_str())
}

impl Control {
    /// Does what a line says that came over the control socket.
    pub(super) async fn line(&self, text: &str, by: &str) -> Answer {
        let done = match grammar::parse(text.as_bytes()) {
            Ok(Some(line)) => self.verb(&line, by).await,
            Ok(None) => Err("the line has no verb".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        let clock = Clock::read();
        let (status, description, data) = grammar::parts(done);
        Answer {
            v: VERSION,
            ok: true,
            at_ms: clock.wall,
            uptime_ms: millis(clock.now.saturating_duration_since(self.started)),
            done: Some(model::Done {
                status: status.to_owned(),
                description,
                data,
            }),
            ..Answer::default()
        }
    }

    /// Does what a line says. `by` is who said it, for the log.
    pub(super) async fn verb(&self, line: &Line, by: &str) -> Done {
        let done = self.do_verb(line).await;
        if !looks(&line.verb) {
            let verb = line.verb.as_str();
            match &done {
                Ok((what, _)) => tracing::info!(code = "control", by, verb, "asked for: {what}"),
                Err(why) => tracing::warn!(
                    code = "control-refused",
                    by,
                    verb,
                    "an operator's wish was not done: {why}"
                ),
            }
        }
        done
    }

    async fn do_verb(&self, line: &Line) -> Done {
        match line.verb.to_ascii_lowercase().as_str() {
            "help" => Ok(help()),
            "version" => Ok(version()),
            "quit" | "exit" => Ok(("Bye!".to_owned(), Value::Null)),
            "pullstream" => self.pull_stream(line).await,
            "pushstream" => self.push_stream(line).await,
            "listconfig" => Ok(self.list_config()),
            "getconfiginfo" => self.config_info(line),
            "removeconfig" => self.remove_config(line).await,
            "liststreams" => self.list_streams(true).await,
            "listinboundstreams" => self.list_streams(false).await,
            "liststreamsids" => self.list_streams_ids().await,
            "listinboundstreamnames" => self.list_stream_names(),
            "getstreamscount" => self.streams_count(),
            "getstreaminfo" => self.stream_info(line).await,
            "isstreamrunning" => self.is_stream_running(line).await,
            "record" => self.record_stream(line),
            "shutdownstream" => self.shutdown_stream(line).await,
            "listconnections" => self.list_connections().await,
            "listconnectionsids" => self.list_connections_ids().await,
            "getconnectioninfo" => self.connection_info(line).await,
            "getconnectionscount" => self.connections_count(),
            "clientsconnected" => self.clients_connected(line),
            "listservices" => Ok(self.list_services()),
            "setloglevel" => set_log_level(line),
            other => Err(elsewhere(other)),
        }
    }
}

fn elsewhere(verb: &str) -> String {
    let same = |name: &str| name.eq_ignore_ascii_case(verb);
    let row = ELSEWHERE
        .iter()
        .find(|(names, _)| names.iter().any(|name| same(name)));
    match row {
        Some((_, place)) => format!("not done here: {place}"),
        None => "no such verb; help lists them".to_owned(),
    }
}

fn help() -> (String, Value) {
    let row = |(name, what): &(&str, &str)| json!({ "command": name, "description": what });
    let list: Vec<Value> = VERBS.iter().map(row).collect();
    ("Available commands".to_owned(), list.into())
}

fn version() -> (String, Value) {
    let banner = concat!("crtmpserver ", env!("CARGO_PKG_VERSION"));
    let data = json!({
        "banner": banner,
        "codeName": "",
        "publish": cfg!(feature = "publish"),
        "releaseNumber": env!("CARGO_PKG_VERSION"),
    });
    ("Version".to_owned(), data)
}

/// Levels of the original: 0 fatal, 1 error, 2 warning, 3 info, 4 debug, 5 fine, 6 finest.
fn set_log_level(line: &Line) -> Done {
    let level = line.text("level").ok_or("level= is missing; 0 to 6")?;
    let filter = match level.as_str() {
        "-1" | "0" | "1" => "error",
        "2" => "warn",
        "3" => "info",
        "4" => "debug",
        "5" | "6" => "trace",
        _ => return Err("level is none of -1 to 6".to_owned()),
    };
    crate::telemetry::logging::set_filter(filter)?;
    let said = format!("the log has level {filter} until the next start");
    Ok((said, json!({ "level": level })))
}

/// Refuses a key that is none of these.
fn check_keys(line: &Line, known: &[&[&str]], ignored: &[&str]) -> Result<(), String> {
    let all = || known.iter().flat_map(|keys| keys.iter().copied());
    let is_known = |key: &str| {
        let mut both = all().chain(ignored.iter().copied());
        both.any(|name| name.eq_ignore_ascii_case(key))
    };
    match line.fields.iter().find(|(key, _)| !is_known(key)) {
        None => Ok(()),
        Some((key, _)) => {
            let all: Vec<&str> = all().collect();
            Err(format!("{key} is not known; known are {}", all.join(", ")))
        }
    }
}

/// A number of a line.
fn number<T: std::str::FromStr>(line: &Line, key: &str) -> Result<Option<T>, String> {
    let Some(text) = line.text(key) else {
        return Ok(None);
    };
    text.parse()
        .map(Some)
        .map_err(|_| format!("{key} is no number"))
}

/// A switch of a line, 1 or 0.
fn switch(line: &Line, key: &str, otherwise: bool) -> Result<bool, String> {
    match line.text(key).as_deref() {
        None => Ok(otherwise),
        Some("1" | "true") => Ok(true),
        Some("0" | "false") => Ok(false),
        Some(_) => Err(format!("{key} is 1 or 0")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_are_known_in_any_case() {
        assert!(is_known("PullStream") && is_known("createingestpoint"));
        assert!(!is_known("dance"));
        assert!(elsewhere("shutdownServer").contains("SIGTERM"));
        assert!(elsewhere("dance").contains("no such verb"));
        let mut names: Vec<String> = VERBS.iter().map(|(n, _)| n.to_ascii_lowercase()).collect();
        names.dedup();
        assert_eq!(names.len(), VERBS.len());
        assert!(names.is_sorted(), "help is read by people");
    }

    #[test]
    fn a_name_keeps_its_number_while_it_is_there() {
        let ids = Ids::default();
        let names = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(ids.of(names("a b")), [1, 2]);
        assert_eq!(ids.of(names("b c")), [2, 3]);
        assert_eq!(ids.of(names("a b")), [4, 2]);
    }
}
