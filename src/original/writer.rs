//! Walking through the original's tables, and keeping what they come to.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::rules::Rule;
use super::{Item, Note, NoteKind, Row, Setting, Translation};
use crate::lua::{Key, Table, Value};

/// Where in the original's tables a key is.
#[derive(Debug, Clone, Default)]
pub(super) struct Scope {
    /// The application's name.
    pub(super) application: String,
    /// Where the application's own files are.
    pub(super) folder: String,
}

/// What was written so far.
pub(super) struct Writer<'a> {
    check_name: &'a dyn Fn(&str) -> Result<(), String>,
    out: Translation,
    /// Ports that are taken, with the key that took each.
    pub(super) taken: Vec<(SocketAddr, &'static str)>,
    /// Whether an application takes streams, and whether one asks for a login.
    pub(super) publishes: Option<String>,
    pub(super) asks_login: bool,
}

impl<'a> Writer<'a> {
    pub(super) fn new(check_name: &'a dyn Fn(&str) -> Result<(), String>) -> Self {
        Self {
            check_name,
            out: Translation::default(),
            taken: Vec::new(),
            publishes: None,
            asks_login: false,
        }
    }

    pub(super) fn into_translation(self) -> Translation {
        self.out
    }

    /// Follows the rule of each key of a table.
    pub(super) fn walk(&mut self, table: &Table, rules: &[(&str, Rule)], at: &str, scope: &Scope) {
        for (key, value) in &table.0 {
            let here = below(at, key);
            let rule = match key {
                Key::Name(name) => rules.iter().find(|(known, _)| known == name),
                Key::Place(_) => None,
            };
            match rule.map(|(_, rule)| rule) {
                Some(Rule::Read) => {}
                Some(Rule::Otherwise(text)) => self.otherwise(&here, *text),
                // Whoever left it off misses nothing.
                Some(Rule::Without(text)) if *value == Value::Flag(false) => {
                    self.otherwise(&here, *text);
                }
                Some(Rule::Without(text)) => self.without(&here, *text),
                Some(Rule::Take(take)) => take(self, value, &here, scope),
                None => self.without(&here, "is no key of the original; is it misspelt?"),
            }
        }
    }

    /// The tables of a list, each with its place.
    pub(super) fn each<'v>(&mut self, value: &'v Value, at: &str) -> Vec<(String, &'v Table)> {
        let mut all = Vec::new();
        for (place, value) in self.items(value, at) {
            match value {
                Value::Table(table) => all.push((place, table)),
                other => self.wrong(&place, other, "a table"),
            }
        }
        all
    }

    /// The texts of a list, each with its place.
    pub(super) fn texts<'v>(&mut self, value: &'v Value, at: &str) -> Vec<(String, &'v str)> {
        let mut all = Vec::new();
        for (place, value) in self.items(value, at) {
            match value {
                Value::Text(text) => all.push((place, text.as_str())),
                other => self.wrong(&place, other, "a text"),
            }
        }
        all
    }

    fn items<'v>(&mut self, value: &'v Value, at: &str) -> Vec<(String, &'v Value)> {
        match value {
            Value::Table(table) => {
                let item = |(key, value): &'v (Key, Value)| (below(at, key), value);
                table.0.iter().map(item).collect()
            }
            other => {
                self.wrong(at, other, "a table");
                Vec::new()
            }
        }
    }

    /// Sets a key of ours; there is one for the whole server, and the first one counts.
    pub(super) fn set(&mut self, key: &'static str, value: Item, from: &str) {
        match self.find(key) {
            None => self.out.settings.push(Setting {
                key,
                value,
                from: from.to_owned(),
            }),
            Some(before) if before.value == value => {}
            Some(before) => {
                let text = format!(
                    "is one for the whole server here ({key}), and {} has it",
                    before.from
                );
                self.without(from, text);
            }
        }
    }

    /// Adds to a list of ours, once.
    pub(super) fn add(&mut self, key: &'static str, text: &str, from: &str) {
        let folders = key == "files.folders";
        let Some(setting) = self.find(key) else {
            let list = vec![text.to_owned()];
            let value = if folders {
                Item::Folders(list)
            } else {
                Item::List(list)
            };
            return self.set(key, value, from);
        };
        if let Item::List(list) | Item::Folders(list) = &mut setting.value
            && !list.iter().any(|known| known == text)
        {
            list.push(text.to_owned());
            setting.from = format!("{}, {from}", setting.from);
        }
    }

    /// One more table of a list of ours; false when it is there already.
    pub(super) fn row(&mut self, key: &'static str, row: Row, from: &str) -> bool {
        let Some(setting) = self.find(key) else {
            let rows = vec![(from.to_owned(), row)];
            self.set(key, Item::Rows(rows), from);
            return true;
        };
        let Item::Rows(rows) = &mut setting.value else {
            return false;
        };
        // What it is called, or where it is.
        let first = rows.iter().find(|(_, known)| known.first() == row.first());
        if let Some((other, _)) = first.filter(|_| key != "push") {
            let text = format!("is there already, by {other}: left out");
            self.without(from, text);
            return false;
        }
        rows.push((from.to_owned(), row));
        setting.from = format!("{}, {from}", setting.from);
        true
    }

    /// Another name of an application.
    pub(super) fn alias(&mut self, alias: &str, name: &str, from: &str) {
        let Some(setting) = self.find("aliases") else {
            let names = BTreeMap::from([(alias.to_owned(), name.to_owned())]);
            return self.set("aliases", Item::Names(names), from);
        };
        if let Item::Names(names) = &mut setting.value {
            names.insert(alias.to_owned(), name.to_owned());
        }
    }

    pub(super) fn find(&mut self, key: &str) -> Option<&mut Setting> {
        self.out.settings.iter_mut().find(|s| s.key == key)
    }

    /// Whether a name can be one of an application or an alias, and is none yet; else it is told.
    pub(super) fn is_new_name(&mut self, name: &str, at: &str) -> bool {
        if let Err(why) = (self.check_name)(name) {
            self.without(at, why);
            return false;
        }
        let is_there = self
            .out
            .settings
            .iter()
            .any(|setting| match &setting.value {
                Item::List(names) => {
                    setting.key == "applications" && names.iter().any(|n| n == name)
                }
                Item::Names(names) => names.contains_key(name),
                _ => false,
            });
        if is_there {
            self.without(at, format!("{name:?} is there twice; the first one counts"));
        }
        !is_there
    }

    pub(super) fn otherwise(&mut self, from: &str, text: impl Into<String>) {
        self.note(from, NoteKind::Otherwise, text.into());
    }

    pub(super) fn without(&mut self, from: &str, text: impl Into<String>) {
        self.note(from, NoteKind::Without, text.into());
    }

    /// A value of the wrong kind.
    pub(super) fn wrong(&mut self, from: &str, value: &Value, wanted: &str) {
        self.without(from, format!("is {}, not {wanted}: left out", value.kind()));
    }

    fn note(&mut self, from: &str, kind: NoteKind, text: String) {
        self.out.notes.push(Note {
            from: from.to_owned(),
            kind,
            text,
        });
    }
}

/// The place of a key in a table.
fn below(at: &str, key: &Key) -> String {
    match key {
        Key::Place(n) => format!("{at}[{n}]"),
        Key::Name(name) if at.is_empty() => name.clone(),
        Key::Name(name) => format!("{at}.{name}"),
    }
}
