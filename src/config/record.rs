//! The table `[record]`: streams that are written into files.

use serde::Deserialize;

use super::build::{Build, set};
use super::file;
use super::settings::{Role, Settings};
use super::value::{Grace, MaxSize, Size};
use crate::bridge::recording::Format;
use crate::limits::MAX_RECORDING_TIME;

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
            match item.parse() {
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
        if record.is_used() && !record.folder.is_dir() {
            warnings.push(format!(
                "record.folder: {} is no folder that can be looked into; nothing is recorded until it is",
                record.folder.display()
            ));
        }
    }
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
