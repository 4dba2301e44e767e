//! What a recording's file is called, and which streams are meant.
//!
//! A name from the network is only ever a name: it was checked when the stream was published
//! ([`crate::media::StreamName`]), and a pattern puts it into a path whose parts are checked again.

use std::fmt;
use std::str::FromStr;

use crate::calendar::rfc3339;
use crate::limits::{MAX_RECORDING_NAME, MAX_RECORDING_PART};
use crate::media::{StreamName, check_name};

/// A piece of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    App,
    Stream,
    Date,
    Time,
    Part,
}

/// A name with places for what differs: `{app}/{stream}-{date}-{time}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamePattern(Vec<Piece>);

/// What may stand in a pattern.
const PLACES: &str = "{app}, {stream}, {date}, {time} and {part}";

impl Default for NamePattern {
    fn default() -> Self {
        let text = |text: &str| Piece::Text(text.to_owned());
        Self(vec![
            Piece::App,
            text("/"),
            Piece::Stream,
            text("-"),
            Piece::Date,
            text("-"),
            Piece::Time,
        ])
    }
}

impl NamePattern {
    /// What a publisher that asks for a recording gets, as the original named it: the stream's own name.
    #[must_use]
    pub fn of_publishers() -> Self {
        Self(vec![Piece::Stream])
    }

    /// Just this path within the folder, without an extension.
    ///
    /// # Errors
    /// It has other characters than letters, digits and `._~-` in parts that do not begin with a dot.
    pub fn just(path: &str) -> Result<Self, String> {
        check_name(path).map_err(|_| {
            format!("{path:?} is no name of a file: write letters, digits and . _ ~ - only, / between folders")
        })?;
        Ok(Self(vec![Piece::Text(path.to_owned())]))
    }

    /// The path within the folder, without its extension: parts of letters, digits and `._~-` and what
    /// the pattern says, none empty and none beginning with a dot. `wall_ms` is Unix time.
    #[must_use]
    pub fn path(&self, stream: &StreamName, wall_ms: u64, part: u64) -> String {
        let date = rfc3339(wall_ms);
        let (day, clock) = date.split_once('T').unwrap_or((&date, ""));
        let clock = clock.trim_end_matches('Z').replace(':', "-");
        let mut path = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => path.push_str(text),
                Piece::App => path.push_str(stream.app()),
                Piece::Stream => path.push_str(stream.name()),
                Piece::Date => path.push_str(day),
                Piece::Time => path.push_str(&clock),
                Piece::Part => path.push_str(&part.to_string()),
            }
        }
        // A file system takes 255 bytes; a number and the extension follow.
        let short = |part: &str| {
            let end = part.floor_char_boundary(MAX_RECORDING_PART);
            part.get(..end).unwrap_or_default().to_owned()
        };
        let parts: Vec<String> = path.split('/').map(short).collect();
        parts.join("/")
    }
}

impl FromStr for NamePattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let pattern = Self::of_one(text)?;
        if !pattern.0.contains(&Piece::Stream) {
            return Err(format!(
                "{text:?} lacks {{stream}}; write it as \"{{app}}/{{stream}}-{{date}}-{{time}}\""
            ));
        }
        Ok(pattern)
    }
}

impl NamePattern {
    /// A pattern for the recording of one stream, which it need not name.
    ///
    /// # Errors
    /// It has other places than there are, leads out of the folder, or ends with an extension.
    pub fn of_one(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("{text:?} {why}");
        if text.len() > MAX_RECORDING_NAME {
            return Err(wrong("is too long"));
        }
        let mut pieces = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (before, place) = match rest.split_once('{') {
                Some((before, place)) => (before, Some(place)),
                None => (rest, None),
            };
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            let Some(place) = place else { break };
            let (name, behind) = place
                .split_once('}')
                .ok_or_else(|| wrong("has a { without its }"))?;
            pieces.push(match name {
                "app" => Piece::App,
                "stream" => Piece::Stream,
                "date" => Piece::Date,
                "time" => Piece::Time,
                "part" => Piece::Part,
                _ => return Err(wrong(&format!("has {{{name}}}; there are {PLACES}"))),
            });
            rest = behind;
        }
        let pattern = Self(pieces);
        let example = StreamName::new("a", "a").map_err(|e| e.to_string())?;
        let good = |part: &str| {
            let plain = |c: char| c.is_control() || "\\{}".contains(c);
            !part.is_empty() && !part.starts_with('.') && !part.chars().any(plain)
        };
        let example = pattern.path(&example, 0, 1);
        if !example.split('/').all(good) || example.trim() != example {
            return Err(wrong(
                "leaves the folder or has a part that is empty, begins with a dot or has control characters",
            ));
        }
        let lower = text.to_ascii_lowercase();
        if lower.ends_with(".flv") || lower.ends_with(".mp4") {
            return Err(wrong("ends with an extension, which record.format adds"));
        }
        Ok(pattern)
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for piece in &self.0 {
            f.write_str(match piece {
                Piece::Text(text) => text,
                Piece::App => "{app}",
                Piece::Stream => "{stream}",
                Piece::Date => "{date}",
                Piece::Time => "{time}",
                Piece::Part => "{part}",
            })?;
        }
        Ok(())
    }
}

/// Which streams: `live/event`, `live/*`, `*`. A star stands for any text, slashes too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamPattern(String);

impl StreamPattern {
    /// What stands before the first star.
    #[must_use]
    pub fn fixed(&self) -> &str {
        self.0.split('*').next().unwrap_or_default()
    }

    /// Whether a stream is meant.
    #[must_use]
    pub fn matches(&self, stream: &StreamName) -> bool {
        let name = stream.to_string();
        let mut parts = self.0.split('*');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = name.strip_prefix(first) else {
            return false;
        };
        let Some(last) = parts.next_back() else {
            return rest.is_empty(); // there is no star
        };
        for part in parts {
            match rest.split_once(part) {
                Some((_, behind)) => rest = behind,
                None => return false,
            }
        }
        rest.ends_with(last)
    }
}

impl FromStr for StreamPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let right = "write \"live/event\", \"live/*\", or \"*\" for all";
        let plain = text.replace('*', "x");
        let (app, name) = match plain.split_once('/') {
            Some(parts) => parts,
            None if text.contains('*') => (&*plain, "x"),
            None => return Err(format!("{text:?} is no stream; {right}")),
        };
        check_name(app)
            .and_then(|()| check_name(name))
            .map_err(|e| format!("{text:?}: {e}; {right}"))?;
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for StreamPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 22 November 2026, 12:34:56.
    const WALL: u64 = 1_795_350_896_000;

    fn stream(app: &str, name: &str) -> StreamName {
        StreamName::new(app, name).unwrap()
    }

    #[test]
    fn places_are_filled() {
        let path = |pattern: &str, name: &str| {
            let pattern: NamePattern = pattern.parse().unwrap();
            pattern.path(&stream("live", name), WALL, 3)
        };
        assert_eq!(
            path("{app}/{stream}-{date}-{time}", "event"),
            "live/event-2026-11-22-12-34-56"
        );
        assert_eq!(path("{stream}.{part}", "a/b"), "a/b.3");
        assert_eq!(path("all of {date}/{stream}", "x"), "all of 2026-11-22/x");
        let long = path("{stream}-{date}", &"x".repeat(255));
        assert_eq!(long.len(), MAX_RECORDING_PART);
        let usual = NamePattern::default();
        assert_eq!(usual.to_string().parse(), Ok(usual));
    }

    #[test]
    fn a_pattern_never_leaves_its_folder() {
        for bad in [
            "",
            "fixed",
            "../{stream}",
            "/{stream}",
            "{stream}/",
            "{app}//{stream}",
            ".{stream}",
            "a/.{stream}",
            "{stream}/..",
            "{stream}\n",
            "{stream}\\x",
            "{stream}{",
            "{stream}}",
            "{name}-{stream}",
            "{stream}.flv",
            "{stream}.MP4",
            " {stream}",
        ] {
            assert!(bad.parse::<NamePattern>().is_err(), "{bad:?}");
            // Where one stream is meant, it need not be named; all else holds.
            assert_eq!(NamePattern::of_one(bad).is_ok(), bad == "fixed", "{bad:?}");
        }
        let long = format!("{{stream}}{}", "x".repeat(MAX_RECORDING_NAME));
        assert!(long.parse::<NamePattern>().is_err());
    }

    #[test]
    fn stars_stand_for_anything() {
        let matches = |pattern: &str, app: &str, name: &str| {
            let pattern: StreamPattern = pattern.parse().unwrap();
            pattern.matches(&stream(app, name))
        };
        assert!(matches("live/event", "live", "event"));
        assert!(!matches("live/event", "live", "event2"));
        assert!(!matches("live/event", "live", "my-event"));
        assert!(matches("*", "live", "a/b"));
        assert!(matches("live/*", "live", "a/b"));
        assert!(!matches("live/*", "live2", "a"));
        assert!(matches("*/event", "live", "event"));
        assert!(matches("live/cam*-hd", "live", "cam7-hd"));
        assert!(!matches("live/cam*-hd", "live", "cam7"));
        assert!(!matches("live/ab*ba", "live", "aba"));
        assert!(matches("*/c*m*", "live", "cam"));
        for bad in ["", "live", "/", "live/", "../*", "live/a b", ".*"] {
            assert!(bad.parse::<StreamPattern>().is_err(), "{bad:?}");
        }
    }
}
