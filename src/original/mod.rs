//! What a configuration of the original server comes to here: its tables in, settings and notes out.
//!
//! `rules` has a line for each key that the original knew: what takes it up, what it is here instead, or
//! why there is nothing of the kind. A key that is none of them is told too.

mod acceptors;
mod applications;
mod remote;
mod rules;
#[cfg(test)]
mod tests;
mod toml;
mod users;
mod writer;

use std::collections::BTreeMap;

pub use toml::toml;
pub use users::{GLOBALS as LOGIN_GLOBALS, Login, logins};
use writer::Writer;

use crate::lua::{Table, Value};

/// What it comes to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Translation {
    /// Our keys.
    pub settings: Vec<Setting>,
    /// What is to be known of the others.
    pub notes: Vec<Note>,
}

/// One key of ours.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// With dots, as our configuration has it.
    pub key: &'static str,
    /// Its value.
    pub value: Item,
    /// Which keys of the original said so.
    pub from: String,
}

/// A value of ours.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// A text, or a number with its unit.
    Text(String),
    /// A list of texts.
    List(Vec<String>),
    /// Names that stand for others.
    Names(BTreeMap<String, String>),
    /// A file: where the original may have had it, the likeliest first. What is not absolute begins
    /// beside the configuration.
    File(Vec<String>),
    /// Folders, in their order.
    Folders(Vec<String>),
    /// `true` or `false`.
    Flag(bool),
    /// Tables of a list, each with what it comes from.
    Rows(Vec<(String, Row)>),
}

/// The keys of a table in a list.
pub type Row = Vec<(&'static str, Item)>;

/// A word about a key of the original.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The key: `applications.flvplayback.acceptors[2]`.
    pub from: String,
    /// Whether something is lost.
    pub kind: NoteKind,
    /// What is here instead, or why there is nothing.
    pub text: String,
}

/// What a note is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoteKind {
    /// It has another form here, or goes without saying.
    Otherwise,
    /// There is nothing of the kind here.
    Without,
}

impl Translation {
    /// What is lost, one line each.
    pub fn warnings(&self) -> impl Iterator<Item = String> {
        let lost = self.notes.iter().filter(|n| n.kind == NoteKind::Without);
        lost.map(|note| format!("{}: {}", note.from, note.text))
    }
}

/// Translates the table `configuration`. `check_name` says what is wrong with a name as one of an
/// application here.
#[must_use]
pub fn translate(
    configuration: &Table,
    check_name: &dyn Fn(&str) -> Result<(), String>,
) -> Translation {
    let mut writer = Writer::new(check_name);
    writer.walk(configuration, rules::TOP, "", &writer::Scope::default());
    acceptors::finish(&mut writer);
    applications::finish(&mut writer);
    writer.into_translation()
}

/// The table of a file, or what to write.
///
/// # Errors
/// There is none; `printed` is what the file said instead.
pub fn configuration<'a>(
    globals: &'a BTreeMap<String, Value>,
    printed: &str,
) -> Result<&'a Table, String> {
    match globals.get("configuration") {
        Some(Value::Table(table)) => Ok(table),
        Some(other) => Err(format!("`configuration` is {}, not a table", other.kind())),
        None => {
            let said = printed.split_whitespace().collect::<Vec<_>>().join(" ");
            let said = match said.as_str() {
                "" => String::new(),
                said => format!("; it said: {said}"),
            };
            Err(format!("leaves no table `configuration` behind{said}"))
        }
    }
}
