//! The table `[record]`: streams that are written into files.

use serde::Deserialize;

use super::build::{Build, set};
use super::file;
use super::settings::{Role, Settings};
use super::value::{Grace, MaxSize, Size};
use crate::auth::Applications;
use crate::bridge::recording::Format;
use crate::limits::MAX_RECORDING_TIME;
use crate::record::StreamPattern;

/// What a recording's file is.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Container {
    Flv,
    Mp4,
}

impl From<Container> for Format {
    fn from(container: Container) -> Self {
        match container {
            Container::Flv => Self::Flv,
            Container::Mp4 => Self::Mp4,
        }
    }
}

/// The least that a file is to have: a player takes as long to open many small ones.
const LEAST_SIZE: u64 = 1 << 20;

impl Build<'_> {
    pub(super) fn record(&mut self, file: file::Record, settings: &mut Settings) {
        let mut record = settings.record.clone();
        for item in file.streams.unwrap_or_default().0 {
            match item.parse().and_then(|pattern| meant(pattern, settings)) {
                Ok(pattern) => record.streams.push(pattern),
                Err(message) => self.wrong("record.streams", message),
            }
        }
        if settings.role == Role::Mirror {
            for key in ["record.publishers", "record.replace"] {
                if self.says(key) {
                    self.wrong(
                        key,
                        "has no meaning on a mirror, which takes no publisher; remove it",
                    );
                }
            }
        }
        set(&mut record.publishers, file.publishers);
        set(&mut record.replace, file.replace);
        if let Some(folder) = file.folder {
            if folder.as_os_str().is_empty() {
                self.wrong("record.folder", "is empty; name a folder");
            }
            record.folder = self.path(&folder);
        }
        set(&mut record.format, file.format.map(Format::from));
        if let Some(text) = file.name {
            match text.parse() {
                Ok(pattern) => record.name = pattern,
                Err(message) => self.wrong("record.name", message),
            }
        }
        if let Some(Grace(length)) = file.length {
            record.length = length;
        }
        if let Some(MaxSize(size)) = file.size {
            record.size = size;
        }
        if let Some(Size(bytes)) = file.min_free {
            record.min_free = bytes;
        }
        if let Some(length) = record.length {
            let most = MAX_RECORDING_TIME.as_secs();
            self.in_range("record.length", length, 10..=most);
        }
        if record.size.is_some_and(|size| size < LEAST_SIZE) {
            let least = Size(LEAST_SIZE);
            self.wrong("record.size", format!("is less than {least}"));
        }
        settings.record = record;
    }

    /// A folder that is not there may be mounted later.
    pub(super) fn missing_recordings(&self, settings: &Settings, warnings: &mut Vec<String>) {
        let record = &settings.record;
        // On a mirror they are called as on its master.
        let vain = |pattern: &&StreamPattern| {
            !is_of_an_application(pattern.fixed(), &settings.applications)
        };
        let all = record.streams.iter().filter(|_| !settings.role.is_mirror());
        warnings.extend(all.filter(vain).map(|pattern| {
            format!("record.streams: {pattern} begins with no application, nor with an alias of one and a slash; it means no stream")
        }));
        if record.is_used() && !record.folder.is_dir() {
            warnings.push(format!(
                "record.folder: {} is no folder that can be looked into; nothing is recorded until it is",
                record.folder.display()
            ));
        }
    }
}

/// What a pattern means: streams have the name of their application, whatever alias an encoder used.
fn meant(pattern: StreamPattern, settings: &Settings) -> Result<StreamPattern, String> {
    let text = pattern.to_string();
    let fixed = pattern.fixed();
    if begins_an_application(fixed, &settings.applications) {
        return Ok(pattern);
    }
    match settings.applications.split(fixed) {
        Some((app, rest)) => {
            let stars = text.get(fixed.len()..).unwrap_or_default();
            format!("{app}/{rest}{stars}").parse()
        }
        None => Ok(pattern),
    }
}

fn is_of_an_application(fixed: &str, all: &Applications) -> bool {
    all.split(fixed).is_some() || begins_an_application(fixed, all)
}

/// `tv/o*` may mean the application `tv/one`.
fn begins_an_application(fixed: &str, all: &Applications) -> bool {
    all.names().any(|name| name.starts_with(fixed))
}

#[cfg(test)]
mod tests {
    use crate::bridge::recording::Format;
    use crate::config::tests::with_flags as with;

    #[test]
    fn nothing_is_recorded_unless_it_is_said() {
        let (settings, _) = with(&[]).unwrap();
        assert!(!settings.record.is_used());
        let (settings, warnings) = with(&[
            ("record.streams", "[\"live/*\", \"*\"]"),
            ("record.folder", "/nonexistent/recordings"),
            ("record.format", "mp4"),
            ("record.name", "{stream}/{part}"),
            ("record.length", "1h"),
            ("record.size", "2GiB"),
            ("record.min_free", "10GiB"),
        ])
        .unwrap();
        let record = settings.record;
        assert!(record.is_used() && record.streams.len() == 2);
        assert_eq!(record.format, Format::Mp4);
        assert_eq!(record.name.to_string(), "{stream}/{part}");
        assert_eq!((record.size, record.min_free), (Some(2 << 30), 10 << 30));
        let told = |w: &String| w.starts_with("record.folder: /nonexistent/recordings");
        assert!(warnings.iter().any(told), "{warnings:?}");
        let (settings, _) = with(&[("record.length", "unlimited")]).unwrap();
        assert_eq!(settings.record.length, None);
    }

    // A mirror's aliases are its master's.
    #[cfg(feature = "publish")]
    #[test]
    fn a_pattern_may_begin_with_an_alias_and_one_that_means_nothing_is_told() {
        let record = |role: &str, patterns: &str| {
            let (settings, warnings) = with(&[
                ("role", role),
                ("applications", "[\"live\", \"tv/one\"]"),
                ("aliases", "{ old = \"live\" }"),
                ("record.folder", "/"),
                ("record.streams", patterns),
            ])
            .unwrap();
            let all = settings.record.streams.iter().map(ToString::to_string);
            let vain = warnings
                .into_iter()
                .filter(|w| w.starts_with("record.streams"));
            (all.collect::<Vec<_>>(), vain.collect::<Vec<_>>())
        };
        let (patterns, vain) = record(
            "standalone",
            "[\"old/*\", \"old/event\", \"live/old/*\", \"*\", \"tv/one/*\", \"tv/o*\"]",
        );
        let meant = [
            "live/*",
            "live/event",
            "live/old/*",
            "*",
            "tv/one/*",
            "tv/o*",
        ];
        assert_eq!(patterns, meant);
        assert!(vain.is_empty(), "{vain:?}");
        let unknown = "[\"nosuch/*\", \"tv/two\", \"live/a\", \"old*\", \"o*d/x\"]";
        let (_, vain) = record("standalone", unknown);
        assert_eq!(vain.len(), 4, "{vain:?}");
        assert!(vain[0].starts_with("record.streams: nosuch/* begins with no application"));
        assert!(record("mirror", unknown).1.is_empty());
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (key, value) in [
            ("record.streams", "live"),
            ("record.streams", "../*"),
            ("record.format", "avi"),
            ("record.name", "{date}"),
            ("record.name", "../{stream}"),
            ("record.name", "{stream}.flv"),
            ("record.length", "1s"),
            ("record.length", "30d"),
            ("record.size", "1KiB"),
            ("record.min_free", "some"),
            ("record.publishers", "maybe"),
            ("record.folders", "x"),
        ] {
            let problems = with(&[(key, value)]).unwrap_err();
            let mut keys: Vec<&str> = problems.iter().map(|p| p.key.as_str()).collect();
            // The mirror's program says of a publisher's key that it has none, too.
            keys.dedup();
            assert_eq!(keys, [key], "{value}");
        }
        let mirror = [
            ("role", "mirror"),
            ("record.streams", "*"),
            ("record.publishers", "true"),
        ];
        let problems = with(&mirror).unwrap_err();
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].key, "record.publishers");
    }
}
