//! AMF0 and AMF3, with limits of depth, count and size.
//!
//! Decoding costs what arrived, never what a length or a reference promises: no capacity comes from
//! a count field, and what a reference repeats is charged like what it repeats (see [`AmfError`]).
//! One budget covers a whole message, AMF0 and AMF3 together.

pub mod amf0;
pub mod amf3;
#[cfg(test)]
mod tests;

use crate::limits::{AMF_MAX_BYTES, AMF_MAX_DEPTH, AMF_MAX_KEYS, AMF_MAX_VALUES};
use crate::wire::Short;

/// Named values in the order of the wire. A name may occur twice; [`Value::get`] takes the last.
pub type Fields = Vec<(String, Value)>;

/// One AMF value. AMF3 decodes to the same set: its integers are [`Value::Number`].
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A double; AMF has no other number on the AMF0 side.
    Number(f64),
    /// True or false.
    Boolean(bool),
    /// Text. Bytes that are not UTF-8 arrive as U+FFFD.
    String(String),
    /// An anonymous object.
    Object(Fields),
    /// An object with the name of its class.
    TypedObject(String, Fields),
    /// An array with names for keys (`onMetaData`).
    EcmaArray(Fields),
    /// An array with positions for keys.
    StrictArray(Vec<Value>),
    /// Milliseconds since 1970-01-01 UTC. The time zone of the wire is reserved and dropped.
    Date(f64),
    /// Nothing, said explicitly.
    Null,
    /// No value.
    Undefined,
    /// An XML document, not parsed.
    Xml(String),
    /// A value its sender could not serialise, or (from AMF3) a byte array, whose bytes no command
    /// needs and which AMF0 cannot carry.
    Unsupported,
}

impl Value {
    /// The text of a [`Value::String`].
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The number of a [`Value::Number`].
    #[must_use]
    pub const fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// The truth of a [`Value::Boolean`].
    #[must_use]
    pub const fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Boolean(truth) => Some(*truth),
            _ => None,
        }
    }

    /// The fields of any of the three kinds that have names.
    #[must_use]
    pub fn fields(&self) -> Option<&[(String, Self)]> {
        match self {
            Self::Object(fields) | Self::TypedObject(_, fields) | Self::EcmaArray(fields) => {
                Some(fields)
            }
            _ => None,
        }
    }

    /// The elements of a [`Value::StrictArray`].
    #[must_use]
    pub fn elements(&self) -> Option<&[Self]> {
        match self {
            Self::StrictArray(elements) => Some(elements),
            _ => None,
        }
    }

    /// The field `name`; of several, the last, as when each was assigned in turn.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Self> {
        let fields = self.fields()?;
        let (_, value) = fields.iter().rfind(|(key, _)| key == name)?;
        Some(value)
    }

    /// Whether this is [`Value::Null`] or [`Value::Undefined`].
    #[must_use]
    pub const fn is_nothing(&self) -> bool {
        matches!(self, Self::Null | Self::Undefined)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Number(f64::from(number))
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Self::Boolean(truth)
    }
}

/// An anonymous object: `object([("level", "status".into()), ("code", code.into())])`.
pub fn object<K: Into<String>>(fields: impl IntoIterator<Item = (K, Value)>) -> Value {
    Value::Object(named(fields))
}

/// An ECMA array, as `onMetaData` carries it.
pub fn ecma_array<K: Into<String>>(fields: impl IntoIterator<Item = (K, Value)>) -> Value {
    Value::EcmaArray(named(fields))
}

fn named<K: Into<String>>(fields: impl IntoIterator<Item = (K, Value)>) -> Fields {
    fields.into_iter().map(|(k, v)| (k.into(), v)).collect()
}

/// Why bytes are no AMF, or more AMF than is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AmfError {
    /// The input ends inside a value.
    #[error("the AMF value is cut off")]
    Short,
    /// A marker that the specification reserves or does not know.
    #[error("AMF marker {0:#04x} is not supported")]
    Marker(u8),
    /// A reference to nothing, or to an object that contains it.
    #[error("an AMF reference leads nowhere")]
    Reference,
    /// An AMF3 object whose class serialises itself in a way nobody here knows.
    #[error("an AMF3 class serialises itself in an unknown way")]
    Externalizable,
    /// More than [`AMF_MAX_DEPTH`] objects and arrays inside each other.
    #[error("AMF values are nested deeper than {AMF_MAX_DEPTH}")]
    Depth,
    /// More than [`AMF_MAX_VALUES`] values in one message.
    #[error("an AMF message has more than {AMF_MAX_VALUES} values")]
    Values,
    /// More than [`AMF_MAX_KEYS`] keys in one object.
    #[error("an AMF object has more than {AMF_MAX_KEYS} keys")]
    Keys,
    /// More than [`AMF_MAX_BYTES`] of text in one message, repetitions by reference included.
    #[error("an AMF message has more than {AMF_MAX_BYTES} bytes of text")]
    Bytes,
}

impl From<Short> for AmfError {
    fn from(Short: Short) -> Self {
        Self::Short
    }
}

/// What one message may still cost.
#[derive(Debug, Default)]
struct Budget {
    depth: usize,
    values: usize,
    bytes: usize,
}

impl Budget {
    fn value(&mut self) -> Result<(), AmfError> {
        if self.values >= AMF_MAX_VALUES {
            return Err(AmfError::Values);
        }
        self.values += 1;
        Ok(())
    }

    /// Every `enter` that succeeds needs its `leave`, unless an error ends the whole message.
    fn enter(&mut self) -> Result<(), AmfError> {
        if self.depth >= AMF_MAX_DEPTH {
            return Err(AmfError::Depth);
        }
        self.depth += 1;
        Ok(())
    }

    fn leave(&mut self) {
        self.depth = self.depth.saturating_sub(1);
    }

    fn text(&mut self, bytes: &[u8]) -> Result<String, AmfError> {
        let text = String::from_utf8_lossy(bytes);
        self.bytes = self.bytes.saturating_add(text.len());
        if self.bytes > AMF_MAX_BYTES {
            return Err(AmfError::Bytes);
        }
        Ok(text.into_owned())
    }
}

/// Appends a field unless the object has all the keys it may have.
fn push(fields: &mut Fields, name: String, value: Value) -> Result<(), AmfError> {
    if fields.len() >= AMF_MAX_KEYS {
        return Err(AmfError::Keys);
    }
    fields.push((name, value));
    Ok(())
}
