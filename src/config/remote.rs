//! The tables `[[pull]]` and `[[push]]`: streams from other servers, and to them.
//!
//! Each file has as many as it likes, and those of all files add up: they are taken out of the layers,
//! in which a later list would replace an earlier one.

use std::path::{Path, PathBuf};

use figment::error::Kind;
use figment::value::{Dict, Value};
use serde::Deserialize;

use super::build::Build;
use super::layers::explain;
use super::problem::Problem;
use super::settings::{Role, Settings};
use crate::limits::MAX_REMOTES;
use crate::remote::{self, Direction, Spec, Wish};

/// One of them, as a file has it.
pub(super) struct Table {
    /// `pull` or `push`
    pub(super) key: &'static str,
    direction: Direction,
    value: Value,
    file: PathBuf,
    /// The line of its head, and what follows it up to the next table.
    lines: Option<(usize, String)>,
}

impl Table {
    /// Takes them out of what a file says.
    pub(super) fn take(file: &Path, text: &str, values: &mut Dict) -> Vec<Self> {
        let mut tables = Vec::new();
        for direction in [Direction::Pull, Direction::Push] {
            let key = direction.as_str();
            // Anything else is wrong, and told as what it is.
            if !matches!(values.get(key), Some(Value::Array(..))) {
                continue;
            }
            let Some(Value::Array(_, found)) = values.remove(key) else {
                continue;
            };
            for (nth, value) in found.into_iter().enumerate() {
                tables.push(Self {
                    key,
                    direction,
                    value,
                    file: file.to_owned(),
                    lines: lines(text, key, nth),
                });
            }
        }
        tables
    }

    /// Where it is, or where in it this key is.
    pub(super) fn place(&self, key: &str) -> String {
        let file = self.file.display();
        let Some((head, text)) = &self.lines else {
            return file.to_string();
        };
        let is_key = |line: &str| line.split_once('=').is_some_and(|(k, _)| k.trim() == key);
        let below = text
            .lines()
            .position(is_key)
            .map_or(0, |n| n.saturating_add(1));
        format!("{file}:{}", head.saturating_add(below))
    }

    fn problem(&self, key: &str, message: String) -> Problem {
        let dot = if key.is_empty() { "" } else { "." };
        Problem {
            place: self.place(key),
            key: format!("{}{dot}{key}", self.key),
            message,
        }
    }

    fn wish(&self) -> Result<Wish, Problem> {
        Wish::deserialize(&self.value).map_err(|error| {
            let mut path = error.path.clone();
            if let Kind::UnknownField(name, _) = &error.kind
                && path.last() != Some(name)
            {
                path.push(name.clone());
            }
            let key = path.join(".");
            // Never the value: it may be a password.
            let message = match &error.kind {
                Kind::InvalidType(_, wanted) | Kind::InvalidValue(_, wanted) => {
                    format!("is something else than {wanted}")
                }
                kind => explain(kind, &key),
            };
            self.problem(&key, message)
        })
    }
}

/// The line of the head of the `nth` table of this name, and the text behind it.
fn lines(text: &str, key: &str, nth: usize) -> Option<(usize, String)> {
    let head = |line: &str| {
        let inner = line.trim().strip_prefix("[[")?.split_once("]]")?.0;
        Some(inner.trim().trim_matches('"') == key)
    };
    let mut heads = text.lines().enumerate();
    let (at, _) = heads
        .by_ref()
        .filter(|(_, line)| head(line) == Some(true))
        .nth(nth)?;
    let body: Vec<&str> = heads
        .map(|(_, line)| line)
        .take_while(|line| !line.trim_start().starts_with('['))
        .collect();
    Some((at.saturating_add(1), body.join("\n")))
}

impl Build<'_> {
    /// What is there of these keys in another form than tables of a file is wrong.
    pub(super) fn remotes(&mut self, pull: bool, push: bool, settings: &mut Settings) {
        for (key, given) in [("pull", pull), ("push", push)] {
            if given {
                self.wrong(key, format!("is written as tables in a file: [[{key}]]"));
            }
        }
        let layers = self.layers;
        for table in &layers.tables {
            match self.remote(table, settings) {
                Ok(spec) => settings.remotes.push(spec),
                Err(problem) => self.problems.push(problem),
            }
        }
    }

    fn remote(&self, table: &Table, settings: &Settings) -> Result<Spec, Problem> {
        let mut wish = table.wish()?;
        let problem = |key: &str, message: String| table.problem(key, message);
        if table.direction == Direction::Pull && settings.role == Role::Mirror {
            let why = "a mirror takes its streams from its master; remove it";
            return Err(problem("", why.to_owned()));
        }
        if settings.remotes.len() >= MAX_REMOTES {
            let why = format!("there are more than {MAX_REMOTES} pulls and pushes");
            return Err(problem("", why));
        }
        wish.password_file = wish.password_file.map(|path| self.path(&path));
        wish.ca_file = wish.ca_file.map(|path| self.path(&path));
        let spec = Spec::new(table.direction, wish, &settings.applications)
            .map_err(|wrong| problem(wrong.key, wrong.message))?;
        for other in settings.remotes.iter().filter(|o| o.local == spec.local) {
            if spec.direction == Direction::Pull && other.direction == Direction::Pull {
                let why = format!("{} is pulled already; take another name", spec.local);
                return Err(problem("stream", why));
            }
            if *other == spec {
                return Err(problem("", "is there twice; remove one".to_owned()));
            }
        }
        Ok(spec)
    }

    /// Looks into their files.
    pub(super) fn inspect_remotes(&mut self, settings: &Settings, warnings: &mut Vec<String>) {
        let mut wrong = Vec::new();
        for spec in &settings.remotes {
            if let Err(problem) = remote::inspect(spec) {
                let key = format!("{}.{}", spec.direction.as_str(), problem.key);
                wrong.push(Problem::of(
                    &key,
                    format!("{}: {}", spec.local, problem.message),
                ));
            }
        }
        self.problems.append(&mut wrong);
        if settings.role == Role::Master && !settings.remotes.is_empty() {
            warnings.push(
                "pull, push: they open connections, which a master under the profile master.conf may not; take the profile away, or let a mirror push"
                    .into(),
            );
        }
    }
}

#[cfg(test)]
#[cfg(feature = "publish")]
mod tests {
    use crate::config::{Settings, Sources, load};

    fn read(text: &str) -> Result<Settings, Vec<String>> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("c.toml");
        std::fs::write(&file, text).unwrap();
        let folder = dir.path().display().to_string();
        let loaded = load(&Sources {
            file: Some(file),
            ..Sources::default()
        });
        loaded.map(|loaded| loaded.settings).map_err(|problems| {
            let said = problems
                .iter()
                .map(|p| p.to_string().replace(&format!("{folder}/"), ""));
            said.collect()
        })
    }

    #[test]
    fn tables_of_all_files_add_up() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("c.toml");
        std::fs::create_dir(dir.path().join("conf.d")).unwrap();
        let table = |n: u8| format!("[[pull]]\nstream = \"live/{n}\"\nuri = \"rtmp://h/a/{n}\"\n");
        std::fs::write(&file, table(1) + &table(2)).unwrap();
        let more = table(3) + "[[push]]\nstream = \"live/*\"\nuri = \"rtmp://h/b\"\n";
        std::fs::write(dir.path().join("conf.d/x.toml"), more).unwrap();
        let loaded = load(&Sources {
            file: Some(file),
            ..Sources::default()
        })
        .unwrap();
        let all: Vec<String> = loaded
            .settings
            .remotes
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            all,
            [
                "live/1 <- rtmp://h:1935/a/1",
                "live/2 <- rtmp://h:1935/a/2",
                "live/3 <- rtmp://h:1935/a/3",
                "live/* -> rtmp://h:1935/b",
            ]
        );
        let places: Vec<&str> = loaded
            .origins
            .iter()
            .filter(|(key, _)| key == "pull" || key == "push")
            .map(|(_, place)| place.rsplit('/').next().unwrap())
            .collect();
        assert_eq!(places, ["c.toml:1", "c.toml:4", "x.toml:1", "x.toml:4"]);
    }

    #[test]
    fn what_is_wrong_has_its_line_and_no_secret() {
        let bad = "# pulls\n[[pull]]\nstream = \"live/a\"\nuri = \"rtmp://ann:hunter2@h\"\n";
        let told = read(bad).unwrap_err().join("\n");
        assert!(
            told.starts_with("c.toml:4: pull.uri: names no stream"),
            "{told}"
        );
        assert!(!told.contains("hunter2"), "{told}");
        let good = "[[pull]]\nstream = \"live/a\"\nuri = \"rtmp://h/a/b\"\n";
        assert!(read(good).is_ok());
        for (text, begins) in [
            (
                format!("{good}[[pull]]\nstream = \"live/b\"\n"),
                "c.toml:4: pull.uri: is missing",
            ),
            (
                format!("{good}{good}"),
                "c.toml:5: pull.stream: live/a is pulled already",
            ),
            (
                format!("{good}colour = 1\n"),
                "c.toml:4: pull.colour: is not known",
            ),
            (
                format!("{good}password = 17\n"),
                "c.toml:4: pull.password: is something else",
            ),
            (
                format!("{good}user = \"ann\"\n"),
                "c.toml:4: pull.user: has no password",
            ),
            (
                format!("{good}user = \"a\"\npassword_file = \"no\"\n"),
                "pull.password_file: live/a: ",
            ),
            (
                format!("role = \"mirror\"\n{good}"),
                "c.toml:2: pull: a mirror takes",
            ),
            (
                "pull = 7\n".to_owned(),
                "c.toml:1: pull: is written as tables",
            ),
            (
                format!("{good}transport = \"udp\"\n"),
                "c.toml:4: pull.transport: is for a pull of an rtsp:// address",
            ),
            (
                format!("{good}type = \"live\"\n"),
                "c.toml:4: pull.type: is for a push",
            ),
        ] {
            let told = read(&text).unwrap_err().join("\n");
            assert!(told.starts_with(begins), "{told}\nis not {begins}");
        }
    }
}
