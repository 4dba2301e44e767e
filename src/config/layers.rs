//! Reading the layers and putting them on each other; every problem of types and keys is found, not
//! just the first.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use figment::error::Kind;
use figment::providers::{Format, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Error, Figment, Metadata, Profile, Provider, Source};
use serde::Deserialize;

use super::file::File;
use super::remote::Table;
use super::{ENV_PREFIX, Problem, Sources, credentials};
use crate::limits::{MAX_CONFIG_FILE, MAX_CONFIG_PROBLEMS};
use crate::system::how_to_open;

/// One layer: a parsed file, a variable, a flag.
struct Layer {
    name: String,
    file: Option<PathBuf>,
    values: Dict,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        match &self.file {
            Some(path) => Metadata::from(self.name.clone(), path.as_path()),
            None => Metadata::named(self.name.clone()),
        }
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        Ok(Profile::Default.collect(self.values.clone()))
    }
}

/// All layers on each other, and the texts of the files, to name lines.
pub(super) struct Layers {
    figment: Figment,
    texts: BTreeMap<PathBuf, String>,
    /// Which keys of an original's file said each of ours.
    translated: BTreeMap<String, String>,
    /// What every file has of `[[pull]]` and `[[push]]`: they add up.
    pub(super) tables: Vec<Table>,
    /// What is there in vain.
    pub(super) warnings: Vec<String>,
}

impl Layers {
    /// Reads the files and takes the environment and the flags as they are given.
    pub(super) fn read(sources: &Sources) -> Result<Self, Vec<Problem>> {
        let mut layers = Self {
            figment: Figment::new(),
            texts: BTreeMap::new(),
            translated: BTreeMap::new(),
            tables: Vec::new(),
            warnings: Vec::new(),
        };
        let mut problems = Vec::new();
        if let Some(main) = &sources.file {
            let mut files = Vec::new();
            if is_lua(main) {
                problems.extend(layers.read_original(main).err());
            } else {
                files.push(main.clone());
            }
            match beside(main) {
                Ok(more) => files.extend(more),
                Err(problem) => problems.push(problem),
            }
            for path in files {
                match read_file(&path) {
                    Ok((text, mut values)) => {
                        layers.tables.extend(Table::take(&path, &text, &mut values));
                        layers.put(Layer {
                            name: path.display().to_string(),
                            file: Some(path.clone()),
                            values,
                        });
                        layers.texts.insert(path, text);
                    }
                    Err(problem) => problems.push(problem),
                }
            }
        }
        let mut last = Vec::new();
        for (name, text) in &sources.environment {
            let Some(key) = name.strip_prefix(ENV_PREFIX) else {
                continue;
            };
            let key = key.to_ascii_lowercase().replace("__", ".");
            // Units and images have it with an empty default.
            if key != "mirror.master" || !text.trim().is_empty() {
                last.push(single(name, &key, text));
            }
        }
        for flag in &sources.flags {
            last.push(single(&flag.name, &flag.key, &flag.value));
        }
        if let Some(folder) = &sources.credentials {
            // What they set depends on the role, which anyone may have said.
            let all = last
                .iter()
                .fold(layers.figment.clone(), |all, layer| all.merge(layer));
            let role = all.extract_inner("role").unwrap_or_default();
            match credentials::read(folder, role) {
                Ok((given, vain)) => {
                    layers.warnings.extend(vain);
                    for one in given {
                        layers.put(of_value(&one.name, one.key, Value::from(one.value)));
                    }
                }
                Err(mut more) => problems.append(&mut more),
            }
        }
        for layer in last {
            layers.put(layer);
        }
        if problems.is_empty() {
            Ok(layers)
        } else {
            Err(problems)
        }
    }

    /// A file of the original is a layer as any other.
    #[cfg(feature = "publish")]
    fn read_original(&mut self, path: &Path) -> Result<(), Problem> {
        let original = super::Original::read(path)?;
        let (mut values, translated) = original.layer();
        self.tables.extend(Table::take(path, "", &mut values));
        let place = path.display();
        let warnings = original.translation.warnings();
        self.warnings
            .extend(warnings.map(|warning| format!("{place}: {warning}")));
        self.translated = translated;
        self.put(Layer {
            name: place.to_string(),
            file: Some(path.to_owned()),
            values,
        });
        Ok(())
    }

    #[cfg(not(feature = "publish"))]
    #[expect(clippy::unused_self, reason = "the other one has a use for it")]
    fn read_original(&mut self, path: &Path) -> Result<(), Problem> {
        Err(Problem {
            place: path.display().to_string(),
            key: String::new(),
            message:
                "is of a server that takes publishers; this program was built without publishing"
                    .to_owned(),
        })
    }

    fn put(&mut self, layer: Layer) {
        self.figment = std::mem::take(&mut self.figment).merge(layer);
    }

    /// The file's structs with what is right, and the problems of the rest: a key that does not fit
    /// is noted, taken out, and the whole is tried again.
    pub(super) fn extract(&self) -> (File, Vec<Problem>) {
        let mut problems = Vec::new();
        let mut values = self
            .figment
            .data()
            .ok()
            .and_then(|mut data| data.remove(&Profile::Default))
            .unwrap_or_default();
        // Whoever put the mirror's program in the place of the other keeps his configuration.
        if !cfg!(feature = "publish") {
            values.remove("publish");
        }
        while problems.len() < MAX_CONFIG_PROBLEMS {
            let error = match File::deserialize(&Value::from(values.clone())) {
                Ok(file) => return (file, problems),
                Err(error) => error,
            };
            let mut path = error.path.clone();
            if let Kind::UnknownField(name, _) = &error.kind
                && path.last() != Some(name)
            {
                path.push(name.clone());
            }
            let key = path.join(".");
            problems.push(self.problem(&key, explain(&error.kind, &key)));
            if !remove(&mut values, &path) {
                break;
            }
        }
        (File::default(), problems)
    }

    /// A problem with a key, placed where its value was written.
    pub(super) fn problem(&self, key: &str, message: String) -> Problem {
        Problem {
            place: self.place(key),
            key: key.to_owned(),
            message,
        }
    }

    /// Whether any layer says something of this key.
    pub(super) fn says(&self, key: &str) -> bool {
        self.figment.contains(key)
    }

    /// Each key that a layer says something of, and the place of what counts.
    pub(super) fn origins(&self) -> Vec<(String, String)> {
        let mut keys = Vec::new();
        if let Ok(data) = self.figment.data() {
            for dict in data.values() {
                leaves(dict, "", &mut keys);
            }
        }
        let placed = |key: String| {
            let place = self.place(&key);
            (key, place)
        };
        let mut origins: Vec<_> = keys.into_iter().map(placed).collect();
        let tables = self.tables.iter();
        origins.extend(tables.map(|table| (table.key.to_owned(), table.place(""))));
        origins
    }

    /// What of an original's file said a key, or the table that it is in.
    fn said_so(&self, key: &str) -> Option<&str> {
        let of_table = || self.translated.get(key.rsplit_once('.')?.0);
        self.translated
            .get(key)
            .or_else(of_table)
            .map(String::as_str)
    }

    fn place(&self, key: &str) -> String {
        // A key inside a list has no place of its own.
        let mut key = key;
        let metadata = loop {
            match (self.figment.find_metadata(key), key.rsplit_once('.')) {
                (Some(metadata), _) => break metadata,
                (None, Some((parent, _))) => key = parent,
                (None, None) => return String::new(),
            }
        };
        match &metadata.source {
            Some(Source::File(path)) => match self.texts.get(path).and_then(|t| line_of(t, key)) {
                Some(line) => format!("{}:{line}", path.display()),
                None => match self.said_so(key).filter(|_| is_lua(path)) {
                    Some(from) => format!("{}: {from}", path.display()),
                    None => path.display().to_string(),
                },
            },
            _ => metadata.name.to_string(),
        }
    }
}

/// Whether it is a file of the original, by its name.
fn is_lua(path: &Path) -> bool {
    path.extension()
        .is_some_and(|e| e.eq_ignore_ascii_case("lua"))
}

/// `conf.d/*.toml` beside a file, by name.
fn beside(main: &Path) -> Result<Vec<PathBuf>, Problem> {
    let folder = main.parent().unwrap_or(Path::new("")).join("conf.d");
    let cannot = |e: std::io::Error| Problem {
        place: folder.display().to_string(),
        key: String::new(),
        message: format!("cannot be read: {e}{}", how_to_open(&folder, &e)),
    };
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(cannot(e)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(cannot)?.path();
        let hidden = path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && path.extension().is_some_and(|e| e == "toml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn read_file(path: &Path) -> Result<(String, Dict), Problem> {
    let problem = |place: String, message: String| Problem {
        place,
        key: String::new(),
        message,
    };
    let name = || path.display().to_string();
    let cannot = |e: std::io::Error| {
        let help = how_to_open(path, &e);
        problem(name(), format!("cannot be read: {e}{help}"))
    };
    let meta = fs::metadata(path).map_err(cannot)?;
    if !meta.is_file() || meta.len() > MAX_CONFIG_FILE {
        let message = format!("is not a regular file of at most {MAX_CONFIG_FILE} bytes");
        return Err(problem(name(), message));
    }
    let text = fs::read_to_string(path).map_err(cannot)?;
    let mut data = Toml::string(&text).data().map_err(|e| {
        let (line, message) = toml_error(&e.to_string());
        let place = line.map_or_else(name, |line| format!("{}:{line}", name()));
        problem(place, message)
    })?;
    Ok((text, data.remove(&Profile::Default).unwrap_or_default()))
}

/// The line and the reason from the TOML parser's text, which spans several lines and shows the
/// place by an arrow.
fn toml_error(text: &str) -> (Option<usize>, String) {
    let line = text
        .split_once("at line ")
        .and_then(|(_, rest)| rest.split(|c: char| !c.is_ascii_digit()).next())
        .and_then(|digits| digits.parse().ok());
    let reason: Vec<&str> = text
        .lines()
        .skip_while(|l| !l.trim_start_matches([' ', '|']).starts_with('^'))
        .skip(1)
        .map(str::trim)
        .filter(|l| !l.is_empty())
        .collect();
    let reason = if reason.is_empty() {
        text.lines().next().unwrap_or(text).to_owned()
    } else {
        reason.join("; ")
    };
    (line, format!("is not TOML: {reason}"))
}

/// A layer of one key. The text is read as TOML-like value where it is one, else as a string.
fn single(name: &str, key: &str, text: &str) -> Layer {
    // Addresses begin with a bracket too, but are no lists.
    let value = if text.parse::<std::net::SocketAddr>().is_ok() {
        Value::from(text)
    } else {
        text.parse().unwrap_or_else(|e| match e {})
    };
    of_value(name, key, value)
}

fn of_value(name: &str, key: &str, value: Value) -> Layer {
    let values = figment::util::nest(key, value).into_dict();
    Layer {
        name: name.to_owned(),
        file: None,
        values: values.unwrap_or_default(),
    }
}

/// The keys with dots of all that is no table.
fn leaves(dict: &Dict, under: &str, keys: &mut Vec<String>) {
    for (name, value) in dict {
        let key = if under.is_empty() {
            name.clone()
        } else {
            format!("{under}.{name}")
        };
        match value {
            Value::Dict(_, inner) => leaves(inner, &key, keys),
            _ => keys.push(key),
        }
    }
}

/// What is wrong with a key, for people who write the file.
pub(super) fn explain(kind: &Kind, key: &str) -> String {
    let list = |words: &[&str]| words.join(", ");
    match kind {
        Kind::UnknownField(_, []) => "is not known here".to_owned(),
        Kind::UnknownField(_, known) => format!("is not known; what is known: {}", list(known)),
        Kind::UnknownVariant(word, known) => format!("{word:?} is none of {}", list(known)),
        Kind::InvalidType(found, wanted) | Kind::InvalidValue(found, wanted) => {
            let is_table = wanted.starts_with("struct ") || wanted == "a map";
            let wanted = if let Some(list) = list_of_tables(key, is_table) {
                format!("a table for each: write [[{list}]]")
            } else if is_table {
                format!("a table: write [{key}]")
            } else if matches!(wanted.as_str(), "usize" | "u32" | "u64") {
                "a whole number".to_owned()
            } else {
                wanted.clone()
            };
            format!("found {found}, expected {wanted}")
        }
        other => other.to_string(),
    }
}

/// The list of tables that a key is, or whose entry it is.
fn list_of_tables(key: &str, is_table: bool) -> Option<&str> {
    const LISTS: [&str; 5] = ["listen.liveflv", "listen.ts", "listen.rtsp", "pull", "push"];
    match key.rsplit_once('.') {
        Some((list, entry)) if entry.parse::<usize>().is_ok() => is_table.then_some(list),
        _ => LISTS.contains(&key).then_some(key),
    }
}

/// Takes a key out; one inside a list takes the list with it. False when there is nothing.
fn remove(dict: &mut Dict, path: &[String]) -> bool {
    let Some((first, rest)) = path.split_first() else {
        return false;
    };
    match dict.get_mut(first) {
        Some(Value::Dict(_, inner)) if !rest.is_empty() => {
            remove(inner, rest) || dict.remove(first).is_some()
        }
        Some(_) => dict.remove(first).is_some(),
        None => false,
    }
}

/// The line on which a key is set; a plain search, as the parser keeps no places. `a.b.c` may be
/// written `c` under `[a.b]` or `b.c` under `[a]`.
fn line_of(text: &str, key: &str) -> Option<usize> {
    let mut table = String::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(header) = line.strip_prefix('[') {
            table = header
                .split(']')
                .next()
                .unwrap_or_default()
                .trim_matches(['[', ' '])
                .to_owned();
            if table == key {
                return Some(number.saturating_add(1));
            }
            continue;
        }
        let Some((name, _)) = line.split_once('=') else {
            continue;
        };
        let name = name.trim().trim_matches('"');
        let full = if table.is_empty() {
            name.to_owned()
        } else {
            format!("{table}.{name}")
        };
        if full == key {
            return Some(number.saturating_add(1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_tables_is_told_from_a_table() {
        for (key, is_table, list) in [
            ("listen.rtsp.0", true, Some("listen.rtsp")),
            ("listen.rtsp", false, Some("listen.rtsp")),
            ("pull", false, Some("pull")),
            ("listen.rtmp.0", false, None),
            ("listen.rtmp", false, None),
            ("mirror", true, None),
        ] {
            assert_eq!(list_of_tables(key, is_table), list, "{key}");
        }
    }

    #[test]
    fn lines_are_found_however_a_key_is_written() {
        let text = "a = 1\n[relay]\n# log_time = 3\nlog_time = 2\n[x.y]\n\"z\" = 1\n[w]\nv.u = 2\n";
        for (key, line) in [
            ("a", 1),
            ("relay", 2),
            ("relay.log_time", 4),
            ("x.y.z", 6),
            ("w.v.u", 8),
        ] {
            assert_eq!(line_of(text, key), Some(line), "{key}");
        }
        assert_eq!(line_of(text, "log_time"), None);
    }

    #[test]
    fn the_parser_s_text_becomes_one_line() {
        let error = Toml::string("a = 1\nb = = 2\n")
            .data()
            .unwrap_err()
            .to_string();
        let (line, message) = toml_error(&error);
        assert_eq!(line, Some(2));
        assert!(
            message.starts_with("is not TOML: ") && !message.contains('\n'),
            "{message}"
        );
        assert_eq!(toml_error("odd\nmore"), (None, "is not TOML: odd".into()));
    }
}
