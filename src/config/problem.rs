//! What is wrong with a configuration, where, and what would be right.

use std::fmt;

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file and line, the variable or the flag that said it; empty when nobody did and a value
    /// is missing.
    pub place: String,
    /// The key, with dots; empty when it is about a file as a whole.
    pub key: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl Problem {
    /// One of a key that nobody gave where it is wrong; of none, when `key` is empty.
    #[must_use]
    pub fn of(key: &str, message: impl Into<String>) -> Self {
        Self {
            place: String::new(),
            key: key.to_owned(),
            message: message.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in [&self.place, &self.key] {
            if !part.is_empty() {
                write!(f, "{part}: ")?;
            }
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Problem {}
