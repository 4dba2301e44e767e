//! `record`: an operator's recordings, by the original's keys.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::grammar::Line;
use super::{Control, Done, check_keys, number};
use crate::record::{NamePattern, RecordingNow, State, Why, Wish};

const KEYS: &[&str] = &["localStreamName", "pathToFile", "type", "chunkLength"];
/// A recording always begins with a key frame and ends with its stream, and writes nothing over.
const IGNORED: &[&str] = &["keepAlive", "overwrite", "waitForIDR", "winQtCompat"];

/// Numbers of recordings as configurations: those of pulls and pushes begin with 1, and nobody sees so many.
const FIRST: u64 = 2_000_000_000;

impl Control {
    pub(super) fn record_stream(&self, line: &Line) -> Done {
        check_keys(line, &[KEYS], IGNORED)?;
        let name = self.named(line)?.ok_or("localStreamName= is missing")?;
        let stream = self.hub.get(&name);
        let stream = stream.ok_or_else(|| format!("there is no stream {name}"))?;
        let wish = wish(line, &self.recorder.config().folder)?;
        let id = self.recorder.record(&stream, &wish);
        let id = id.map_err(|e| e.to_string())?;
        let all = self.recorder.list();
        let data = all.iter().find(|now| now.id == id).map_or(Value::Null, row);
        let said = format!("{name} is recorded, number {}", FIRST.saturating_add(id));
        Ok((said, data))
    }

    pub(super) fn record_configs(&self) -> Vec<Value> {
        self.recorder.list().iter().map(row).collect()
    }

    pub(super) fn record_config(&self, line: &Line) -> Result<Value, String> {
        let id = recording(line)?;
        let all = self.recorder.list();
        let found = all.iter().find(|now| now.id == id);
        found.map(row).ok_or_else(|| nothing(line))
    }

    pub(super) fn remove_record(&self, line: &Line) -> Done {
        let id = recording(line)?;
        let all = self.recorder.list();
        let now = all.iter().find(|now| now.id == id);
        let now = now.ok_or_else(|| nothing(line))?;
        if now.why == Why::Rule {
            return Err("it is from the configuration: record.streams ends it".to_owned());
        }
        let stream = self.recorder.stop_one(id).map_err(|e| e.to_string())?;
        Ok((format!("the recording of {stream} is ended"), row(now)))
    }
}

/// The recording whose number as a configuration a line has.
fn recording(line: &Line) -> Result<u64, String> {
    let id: Option<u64> = number(line, "id")?;
    let id = id.and_then(|id| id.checked_sub(FIRST));
    id.ok_or_else(|| nothing(line))
}

fn nothing(line: &Line) -> String {
    let id = line.text("id").unwrap_or_default();
    format!("there is no pull, push or recording {id}")
}

fn wish(line: &Line, folder: &Path) -> Result<Wish, String> {
    let mut wish = Wish::default();
    if let Some(path) = line.text("pathToFile") {
        let (name, extension) = place(&path, folder)?;
        wish.name = Some(name);
        wish.format = extension.map(str::parse).transpose()?;
    }
    if let Some(kind) = line.text("type") {
        wish.format = Some(kind.to_ascii_lowercase().parse()?);
    }
    match number::<u64>(line, "chunkLength")? {
        None | Some(0) => {}
        Some(1..10) => return Err("chunkLength: a file is at least 10 s long".to_owned()),
        Some(seconds) => wish.length = Some(Duration::from_secs(seconds)),
    }
    Ok(wish)
}

/// A name within the folder, and the extension that says what is in the file.
fn place<'a>(path: &'a str, folder: &Path) -> Result<(NamePattern, Option<&'a str>), String> {
    let within = match Path::new(path) {
        absolute if absolute.is_absolute() => {
            let within = absolute.strip_prefix(folder).ok();
            within.and_then(Path::to_str).ok_or_else(|| {
                let folder = folder.display();
                format!("pathToFile: files are made in {folder} (record.folder) alone; write a name there")
            })?
        }
        _ => path,
    };
    let (stem, extension) = match within.rsplit_once('.') {
        Some((stem, extension @ ("flv" | "mp4"))) => (stem, Some(extension)),
        _ => (within, None),
    };
    let name = NamePattern::just(stem).map_err(|e| format!("pathToFile: {e}"))?;
    Ok((name, extension))
}

fn row(now: &RecordingNow) -> Value {
    let failed = match &now.state {
        State::Failed(why) => why.as_str(),
        _ => "",
    };
    json!({
        "appName": now.stream.app(),
        "bytesCount": now.bytes,
        "configId": FIRST.saturating_add(now.id),
        "creationTimestamp": now.since_ms,
        "fromConfigurationFile": now.why == Why::Rule,
        "localStreamName": now.stream.name(),
        "pathToFile": now.file.as_deref().unwrap_or_default(),
        "status": {
            "current": { "code": "", "description": failed, "state": now.state.as_str() },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::verbs::grammar;
    use crate::media::StreamName;

    fn wished(keys: &str) -> Result<Wish, String> {
        let line = grammar::parse(format!("record {keys}").as_bytes());
        wish(&line.unwrap().unwrap(), Path::new("/var/rec"))
    }

    #[test]
    fn a_path_is_only_ever_a_name_in_the_folder() {
        let stream = StreamName::new("live", "event").unwrap();
        for (path, name, format) in [
            ("talk", "talk", None),
            ("talks/one.mp4", "talks/one", Some("mp4")),
            ("/var/rec/talks/one.flv", "talks/one", Some("flv")),
            ("v1.2", "v1.2", None),
        ] {
            let wish = wished(&format!("pathToFile={path}")).unwrap();
            assert_eq!(wish.name.unwrap().path(&stream, 0, 1), name);
            assert_eq!(wish.format.map(|f| f.as_str()), format, "{path}");
        }
        for path in [
            "../x",
            "/etc/passwd",
            "/var/rec",
            "/var/rec/../x",
            "/var/recording/x",
            "a/../b",
            "a//b",
            ".hidden",
            "a/.b",
            ".mp4",
            r"a\ b",
            r"a\\b",
            "a,b",
            "{stream}",
            "é",
        ] {
            let error = wished(&format!("pathToFile={path}")).unwrap_err();
            assert!(error.starts_with("pathToFile: "), "{path}: {error}");
        }
    }

    #[test]
    fn formats_and_lengths() {
        let wish = wished("type=MP4 chunkLength=60").unwrap();
        assert_eq!(wish.format.map(|f| f.as_str()), Some("mp4"));
        assert_eq!(wish.length, Some(Duration::from_secs(60)));
        assert_eq!(wished("chunkLength=0").unwrap(), Wish::default());
        let both = wished("pathToFile=a.mp4 type=flv").unwrap();
        assert_eq!(both.format.map(|f| f.as_str()), Some("flv"));
        for bad in [
            "type=ts",
            "chunkLength=9",
            "chunkLength=x",
            "chunkLength=-1",
        ] {
            assert!(wished(bad).is_err(), "{bad}");
        }
    }
}
