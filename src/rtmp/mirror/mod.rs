//! The mirrors' control protocol, version 1: what a mirror and its master say to each other inside
//! ordinary RTMP commands.
//!
//! 1. The mirror's `connect` carries [`Hello`] in its command object under [`FIELD`].
//! 2. The master's `_result` carries [`Welcome`] in its information object under [`FIELD`].
//! 3. The mirror calls [`PROVE`] with its proof; the master answers with its own.
//! 4. Either the mirror calls [`WATCH`] and the connection is its *control connection*: the master
//!    calls [`STREAMS`] with a [`Listing`] at once and after each change. Or it plays one stream, a
//!    *pull*, on which the master sends an [`EpochMark`] ahead of the frames of each epoch.
//!
//! Images are baked months before an event, so both sides ignore fields and commands that they do
//! not know, and a field that is missing has a meaning. What a mirror tells of itself, and its master of
//! all hosts, is [`host`].

pub mod host;

use crate::amf::{Value, object};

/// Whether a data message is an [`EPOCH`]: of any origin but a master it is a forgery.
#[must_use]
pub fn is_epoch(payload: &[u8]) -> bool {
    // The name as AMF0 has it: marker, length, text.
    let name = payload
        .strip_prefix(&[2, 0])
        .and_then(<[u8]>::split_first)
        .map(|(length, rest)| rest.get(..usize::from(*length)).unwrap_or_default());
    name == Some(EPOCH.as_bytes())
}

/// The version that this program speaks.
pub const VERSION: f64 = 1.0;
/// The field of `connect`'s command object and of its answer's information object.
pub const FIELD: &str = "crtmpMirror";
/// Command of the mirror: its proof.
pub const PROVE: &str = "crtmpProve";
/// Command of the mirror: tell me your streams from now on.
pub const WATCH: &str = "crtmpWatch";
/// Command of the master: a [`Listing`].
pub const STREAMS: &str = "crtmpStreams";
/// Data message of the master on a pull: an [`EpochMark`].
pub const EPOCH: &str = "crtmpEpoch";
/// Mirrors in a row behind a master. Each adds a little delay; a longer path is a mistake.
pub const MAX_DEPTH: usize = 8;
/// Streams in one listing; the rest is left out.
pub const MAX_LISTED: usize = 256;
/// Bytes of all names in one listing, so that it fits into [`MAX_COMMAND`](crate::limits::MAX_COMMAND)
/// with room for the rest: an entry costs some 40 bytes beside its names.
pub const MAX_LISTED_BYTES: usize = 16 * 1024;
/// Length of an id or a nonce: 128 bits in hexadecimal.
pub const ID_LENGTH: usize = 32;

/// Whether `text` has the form of an id or a nonce.
#[must_use]
pub fn is_id(text: &str) -> bool {
    text.len() == ID_LENGTH && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// An id or a nonce of random bytes.
#[must_use]
pub fn new_id(random: [u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(random))
}

fn id_field(value: &Value, key: &str) -> Option<String> {
    let text = value.get(key)?.as_str()?;
    is_id(text).then(|| text.to_owned())
}

fn id_list(value: &Value, key: &str, most: usize) -> Vec<String> {
    let Some(Value::StrictArray(items)) = value.get(key) else {
        return Vec::new();
    };
    items
        .iter()
        .filter_map(Value::as_str)
        .filter(|text| is_id(text))
        .take(most)
        .map(str::to_owned)
        .collect()
}

fn to_list(ids: &[String]) -> Value {
    Value::StrictArray(ids.iter().map(|id| id.as_str().into()).collect())
}

/// What a mirror says of itself in `connect`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// Made anew at each start, never stored: clones of one image differ.
    pub id: String,
    /// The mirror's half of what both proofs are made over.
    pub nonce: String,
}

impl Hello {
    /// As a field of the command object.
    #[must_use]
    pub fn to_value(&self) -> Value {
        object([
            ("v", VERSION.into()),
            ("id", self.id.as_str().into()),
            ("nonce", self.nonce.as_str().into()),
        ])
    }

    /// Reads it from `connect`'s command object; `None` for whoever is no mirror.
    #[must_use]
    pub fn find(command_object: &Value) -> Option<Self> {
        let value = command_object.get(FIELD)?;
        Some(Self {
            id: id_field(value, "id")?,
            nonce: id_field(value, "nonce")?,
        })
    }
}

/// What a master (or a mirror that serves other mirrors) answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// The master's half.
    pub nonce: String,
    /// The ids from the topmost server down to the one that answers. A mirror that finds its own id
    /// in it has been pointed at itself.
    pub path: Vec<String>,
}

impl Welcome {
    /// As a field of the information object.
    #[must_use]
    pub fn to_value(&self) -> Value {
        object([
            ("v", VERSION.into()),
            ("nonce", self.nonce.as_str().into()),
            ("path", to_list(&self.path)),
        ])
    }

    /// Reads it from the information object of the answer; `None` for a foreign server.
    #[must_use]
    pub fn find(information: &Value) -> Option<Self> {
        let value = information.get(FIELD)?;
        Some(Self {
            nonce: id_field(value, "nonce")?,
            path: id_list(value, "path", MAX_DEPTH.saturating_add(1)),
        })
    }
}

/// One stream of a [`Listing`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Application.
    pub app: String,
    /// Name within it.
    pub name: String,
    /// Whether a publisher sends at the moment; otherwise the stream waits for its source.
    pub live: bool,
}

/// What the master announces over the control connection.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listing {
    /// Ids from the topmost server down to the sender, see [`Welcome::path`].
    pub path: Vec<String>,
    /// All streams there are.
    pub streams: Vec<Listed>,
    /// The sender's clock, Unix time in milliseconds; older releases do not tell.
    pub clock_ms: Option<u64>,
}

impl Listing {
    /// As the argument of [`STREAMS`].
    #[must_use]
    pub fn to_value(&self) -> Value {
        let mut room = MAX_LISTED_BYTES;
        let fits = |s: &&Listed| match room.checked_sub(s.app.len().saturating_add(s.name.len())) {
            Some(left) => {
                room = left;
                true
            }
            None => false,
        };
        let listed = self.streams.iter().take(MAX_LISTED).take_while(fits);
        let streams = listed.map(|s| {
            object([
                ("app", s.app.as_str().into()),
                ("name", s.name.as_str().into()),
                ("live", s.live.into()),
            ])
        });
        #[expect(
            clippy::cast_precision_loss,
            reason = "milliseconds since 1970 stay below 2^53"
        )]
        let clock = self.clock_ms.map_or(Value::Null, |at| (at as f64).into());
        object([
            ("v", VERSION.into()),
            ("path", to_list(&self.path)),
            ("streams", Value::StrictArray(streams.collect())),
            ("clock", clock),
        ])
    }

    /// Reads the argument of [`STREAMS`]; entries that make no sense are left out.
    #[must_use]
    pub fn from_value(value: &Value) -> Option<Self> {
        let Some(Value::StrictArray(streams)) = value.get("streams") else {
            return None;
        };
        let entry = |v: &Value| {
            Some(Listed {
                app: v.get("app")?.as_str()?.to_owned(),
                name: v.get("name")?.as_str()?.to_owned(),
                live: v.get("live").and_then(Value::as_bool).unwrap_or(true),
            })
        };
        Some(Self {
            path: id_list(value, "path", MAX_DEPTH.saturating_add(1)),
            streams: streams.iter().take(MAX_LISTED).filter_map(entry).collect(),
            clock_ms: value.get("clock").and_then(whole),
        })
    }
}

/// What makes an epoch the same on all mirrors: its id, the wall-clock time of its timestamp 0, and
/// the ordinal of the next key frame that follows on the pull.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochMark {
    /// Random, made by the topmost server.
    pub id: u64,
    /// Unix time in milliseconds at timestamp 0 of the epoch.
    pub wall_ms: u64,
    /// How many key frames of the epoch came before the next one.
    pub ordinal: u64,
    /// Where the next frame is in the segments that packagers cut; older releases do not tell.
    pub segment: Option<SegmentMark>,
}

/// Where a frame is in the segments of a stream, so that all mirrors number and cut them alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentMark {
    /// Number of its segment, or of the last one before when `begun` is `None`.
    pub number: u64,
    /// Number of the last epoch that had a segment.
    pub discontinuity: u64,
    /// Unix time in milliseconds of the segment's first frame; `None` when the epoch has none yet.
    pub begun: Option<u64>,
    /// The longest segment so far, milliseconds.
    pub longest: u64,
    /// How long a segment is to be at least, milliseconds.
    pub target: u64,
}

impl SegmentMark {
    #[expect(
        clippy::cast_precision_loss,
        reason = "counts of seconds since 2026 and milliseconds since 1970 stay below 2^53"
    )]
    fn to_value(self) -> Value {
        let begun = self.begun.map_or(Value::Null, |at| (at as f64).into());
        object([
            ("number", (self.number as f64).into()),
            ("discontinuity", (self.discontinuity as f64).into()),
            ("begun", begun),
            ("longest", (self.longest as f64).into()),
            ("target", (self.target as f64).into()),
        ])
    }

    fn from_value(value: &Value) -> Option<Self> {
        Some(Self {
            number: whole(value.get("number")?)?,
            discontinuity: whole(value.get("discontinuity")?)?,
            begun: value.get("begun").and_then(whole),
            longest: whole(value.get("longest")?)?,
            target: whole(value.get("target")?)?,
        })
    }
}

impl EpochMark {
    /// As the argument of [`EPOCH`]. Numbers of AMF are doubles, so the id travels as text.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "milliseconds since 1970 and key frames of an event stay below 2^53"
    )]
    pub fn to_value(self) -> Value {
        object([
            ("v", VERSION.into()),
            ("id", format!("{:016x}", self.id).into()),
            ("wall", (self.wall_ms as f64).into()),
            ("ordinal", (self.ordinal as f64).into()),
            (
                "segment",
                self.segment.map_or(Value::Null, SegmentMark::to_value),
            ),
        ])
    }

    /// Reads the argument of [`EPOCH`].
    #[must_use]
    pub fn from_value(value: &Value) -> Option<Self> {
        Some(Self {
            id: u64::from_str_radix(value.get("id")?.as_str()?, 16).ok()?,
            wall_ms: whole(value.get("wall")?)?,
            ordinal: whole(value.get("ordinal")?)?,
            segment: value.get("segment").and_then(SegmentMark::from_value),
        })
    }
}

fn whole(value: &Value) -> Option<u64> {
    let number = value.as_f64()?;
    // 2^53: above it a double no longer counts by ones.
    let sane = (0.0..9_007_199_254_740_992.0).contains(&number);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the range was checked"
    )]
    sane.then_some(number as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(c: char) -> String {
        c.to_string().repeat(ID_LENGTH)
    }

    #[test]
    fn each_part_survives_the_journey() {
        let hello = Hello {
            id: id('a'),
            nonce: id('1'),
        };
        let connect = object([("app", "live".into()), (FIELD, hello.to_value())]);
        assert_eq!(Hello::find(&connect), Some(hello));
        let welcome = Welcome {
            nonce: id('2'),
            path: vec![id('b'), id('c')],
        };
        let info = object([(FIELD, welcome.to_value())]);
        assert_eq!(Welcome::find(&info), Some(welcome));
        let listing = Listing {
            path: vec![id('b')],
            streams: vec![Listed {
                app: "live".into(),
                name: "event".into(),
                live: false,
            }],
            clock_ms: Some(1_800_000_000_123),
        };
        assert_eq!(Listing::from_value(&listing.to_value()), Some(listing));
        let mark = EpochMark {
            id: u64::MAX - 1,
            wall_ms: 1_800_000_000_123,
            ordinal: 7,
            segment: None,
        };
        assert_eq!(EpochMark::from_value(&mark.to_value()), Some(mark));
        for begun in [None, Some(1_800_000_000_123)] {
            let segment = Some(SegmentMark {
                number: 28_000_000,
                discontinuity: 27_000_000,
                begun,
                longest: 8334,
                target: 2000,
            });
            let mark = EpochMark { segment, ..mark };
            assert_eq!(EpochMark::from_value(&mark.to_value()), Some(mark));
        }
    }

    #[test]
    fn what_a_newer_release_adds_is_ignored_and_what_is_missing_has_a_meaning() {
        let value = object([
            ("v", 9.0.into()),
            ("new", "thing".into()),
            (
                "streams",
                Value::StrictArray(vec![
                    object([("app", "live".into()), ("name", "x".into())]),
                    object([("name", "without an application".into())]),
                    Value::Null,
                ]),
            ),
        ]);
        let listing = Listing::from_value(&value).unwrap();
        assert_eq!(listing.streams.len(), 1);
        assert!(listing.streams[0].live && listing.clock_ms.is_none());
    }

    #[test]
    fn a_strange_hello_is_no_mirror() {
        for bad in [
            object([("id", "short".into()), ("nonce", id('1').as_str().into())]),
            object([
                ("id", id('g').as_str().into()),
                ("nonce", id('1').as_str().into()),
            ]),
            Value::Null,
        ] {
            assert_eq!(Hello::find(&object([(FIELD, bad)])), None);
        }
        for bad in [f64::NAN, -1.0, f64::INFINITY, 1e300] {
            let mark = object([
                ("id", "1".into()),
                ("wall", bad.into()),
                ("ordinal", 0.0.into()),
            ]);
            assert_eq!(EpochMark::from_value(&mark), None);
        }
    }

    #[test]
    fn a_mark_is_known_by_its_name_alone() {
        let mark = EpochMark {
            id: 1,
            wall_ms: 2,
            ordinal: 3,
            segment: None,
        };
        let data = |values: &[Value]| crate::rtmp::command::data(values);
        assert!(is_epoch(&data(&[EPOCH.into(), mark.to_value()])));
        assert!(is_epoch(&data(&[EPOCH.into()])));
        for other in ["", "crtmpEpoc", "crtmpEpochs", "onMetaData"] {
            assert!(
                !is_epoch(&data(&[other.into(), mark.to_value()])),
                "{other}"
            );
        }
        for cut in 0..data(&[EPOCH.into()]).len() {
            assert!(!is_epoch(data(&[EPOCH.into()]).get(..cut).unwrap()));
        }
    }

    #[test]
    fn a_listing_is_bounded() {
        let one = Listed {
            app: "live".into(),
            name: "x".into(),
            live: true,
        };
        let many = Listing {
            streams: vec![one; MAX_LISTED + 1],
            ..Listing::default()
        };
        let back = Listing::from_value(&many.to_value()).unwrap();
        assert_eq!(back.streams.len(), MAX_LISTED);
        let wide = Listed {
            app: "a".repeat(255),
            name: "n".repeat(255),
            live: true,
        };
        let many = Listing {
            streams: vec![wide; MAX_LISTED],
            path: vec![id('b'); MAX_DEPTH],
            clock_ms: Some(1),
        };
        let call = crate::rtmp::command::Command::notice(STREAMS, vec![many.to_value()]);
        let bytes = call.encode(crate::rtmp::message::kind::COMMAND_AMF0);
        assert!(bytes.len() < crate::limits::MAX_COMMAND, "{}", bytes.len());
        let back = Listing::from_value(&many.to_value()).unwrap();
        assert!(!back.streams.is_empty());
    }
}
