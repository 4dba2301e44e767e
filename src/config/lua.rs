//! A configuration of the original, `FILE.lua`: what it comes to here, in memory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use figment::value::{Dict, Value};

use super::Problem;
use crate::auth::Applications;
use crate::original::{self, Item, Setting, Translation};
use crate::script;

/// A file, translated.
#[derive(Debug, Clone, PartialEq)]
pub struct Original {
    /// What it comes to.
    pub translation: Translation,
    /// Its folder, where paths begin.
    folder: PathBuf,
}

impl Original {
    /// Runs a file and translates what it leaves behind.
    ///
    /// # Errors
    /// It cannot be read, or is none.
    pub fn read(path: &Path) -> Result<Self, Problem> {
        let problem = |place: String, message: String| Problem {
            place,
            key: String::new(),
            message,
        };
        let outcome =
            script::run(path, &["configuration"]).map_err(|e| problem(e.place, e.message))?;
        let table = original::configuration(&outcome.globals, &outcome.printed);
        let table = table.map_err(|message| problem(path.display().to_string(), message))?;
        let check = |name: &str| Applications::none().add(name);
        Ok(Self {
            translation: original::translate(table, &check),
            folder: script::folder_of(path),
        })
    }

    /// A path of the file, as it is meant from its folder on.
    #[must_use]
    pub fn path(&self, path: &str) -> PathBuf {
        self.folder.join(path)
    }

    /// The first place where a file is; the likeliest when there is none.
    #[must_use]
    pub fn file(&self, places: &[String]) -> PathBuf {
        let paths = || places.iter().map(|place| self.path(place));
        let found = paths().find(|path| path.is_file());
        found.or_else(|| paths().next()).unwrap_or_default()
    }

    /// Our keys, with absolute paths in the place of files and folders: what those are beside is this
    /// file, wherever the settings are taken to.
    #[must_use]
    pub fn settings(&self) -> Vec<Setting> {
        let absolute = |path: PathBuf| {
            let path = std::path::absolute(&path).unwrap_or(path);
            path.display().to_string()
        };
        let resolved = |setting: &Setting| Setting {
            value: match &setting.value {
                Item::File(places) => Item::Text(absolute(self.file(places))),
                Item::Folders(paths) => {
                    let paths = paths.iter().map(|path| absolute(self.path(path)));
                    Item::List(paths.collect())
                }
                other => other.clone(),
            },
            ..setting.clone()
        };
        self.translation.settings.iter().map(resolved).collect()
    }

    /// A layer of the configuration, and which of the file's keys said each of ours.
    pub(super) fn layer(&self) -> (Dict, BTreeMap<String, String>) {
        let mut values = Dict::new();
        let mut from = BTreeMap::new();
        for Setting {
            key,
            value,
            from: said,
        } in self.settings()
        {
            from.insert(key.to_owned(), said);
            let value = value_of(value);
            match key.split_once('.') {
                None => {
                    values.insert(key.to_owned(), value);
                }
                Some((table, key)) => {
                    let table = values.entry(table.to_owned());
                    let table = table.or_insert_with(|| Value::from(Dict::new()));
                    if let Value::Dict(_, table) = table {
                        table.insert(key.to_owned(), value);
                    }
                }
            }
        }
        (values, from)
    }
}

/// The same for the configuration's layers.
fn value_of(item: Item) -> Value {
    match item {
        Item::Text(text) => Value::from(text),
        Item::Flag(flag) => Value::from(flag),
        Item::List(texts) | Item::File(texts) | Item::Folders(texts) => Value::from(texts),
        Item::Names(names) => {
            let names = names.into_iter();
            let names = names.map(|(alias, name)| (alias, Value::from(name)));
            Value::from(names.collect::<Dict>())
        }
        Item::Rows(rows) => {
            let row = |row: original::Row| {
                let pairs = row.into_iter();
                let pairs = pairs.map(|(key, item)| (key.to_owned(), value_of(item)));
                Value::from(pairs.collect::<Dict>())
            };
            let rows = rows.into_iter().map(|(_, pairs)| row(pairs));
            Value::from(rows.collect::<Vec<_>>())
        }
    }
}
