//! What a program leaves behind: plain values, bounded in depth, number and size.

use mlua::{LuaString, Value as Given};

use crate::limits::{MAX_LUA_NESTING, MAX_LUA_TEXT, MAX_LUA_VALUES};

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `true` or `false`.
    Flag(bool),
    /// A number; all of Lua 5.1 are of this kind.
    Number(f64),
    /// A text; what is no UTF-8 in it is replaced.
    Text(String),
    /// A table.
    Table(Table),
    /// What no file could say, such as a function: its type.
    Other(&'static str),
}

/// A table: places in their order, then names in theirs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Table(pub Vec<(Key, Value)>);

/// The key of a table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// A place, from 1.
    Place(i64),
    /// A name.
    Name(String),
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Place(n) => write!(f, "{n}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl Table {
    /// What has this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        let is_it = |(key, _): &&(Key, Value)| matches!(key, Key::Name(key) if key == name);
        self.0.iter().find(is_it).map(|(_, value)| value)
    }

    /// The text that has this name.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.get(name) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }
}

impl Value {
    /// What it is, for whoever wrote something else.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Flag(_) => "true or false",
            Self::Number(_) => "a number",
            Self::Text(_) => "a text",
            Self::Table(_) => "a table",
            Self::Other(kind) => kind,
        }
    }
}

/// What is left of the bounds.
pub(super) struct Room {
    values: usize,
    text: usize,
}

impl Room {
    pub(super) const fn new() -> Self {
        Self {
            values: MAX_LUA_VALUES,
            text: MAX_LUA_TEXT,
        }
    }

    /// The same as a plain value; `None` is nil.
    ///
    /// # Errors
    /// Says which bound it does not keep.
    pub(super) fn value(&mut self, given: Given, depth: usize) -> Result<Option<Value>, String> {
        self.values = self
            .values
            .checked_sub(1)
            .ok_or_else(|| format!("the tables have more than {MAX_LUA_VALUES} values"))?;
        Ok(Some(match given {
            Given::Nil => return Ok(None),
            Given::Boolean(flag) => Value::Flag(flag),
            Given::Integer(n) => {
                // Lua 5.1 has made it of a double.
                #[expect(clippy::cast_precision_loss, reason = "it was a double")]
                Value::Number(n as f64)
            }
            Given::Number(n) => Value::Number(n),
            Given::String(text) => Value::Text(self.text(&text)?),
            Given::Table(table) => {
                if depth >= MAX_LUA_NESTING {
                    return Err(format!(
                        "tables lie more than {MAX_LUA_NESTING} deep in each other, or in themselves"
                    ));
                }
                let mut entries = Vec::new();
                for pair in table.pairs::<Given, Given>() {
                    let (key, value) = pair.map_err(|error| error.to_string())?;
                    let key = self.key(key)?;
                    if let Some(value) = self.value(value, depth + 1)? {
                        entries.push((key, value));
                    }
                }
                entries.sort_by(|(one, _), (other, _)| one.cmp(other));
                Value::Table(Table(entries))
            }
            other => Value::Other(other.type_name()),
        }))
    }

    fn key(&mut self, given: Given) -> Result<Key, String> {
        Ok(match given {
            Given::Integer(n) => Key::Place(n),
            Given::String(text) => Key::Name(self.text(&text)?),
            Given::Number(n) => Key::Name(n.to_string()),
            Given::Boolean(flag) => Key::Name(flag.to_string()),
            other => Key::Name(other.type_name().to_owned()),
        })
    }

    fn text(&mut self, text: &LuaString) -> Result<String, String> {
        let bytes = text.as_bytes();
        self.text = self
            .text
            .checked_sub(bytes.len())
            .ok_or_else(|| format!("the tables have more than {MAX_LUA_TEXT} bytes of text"))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}
