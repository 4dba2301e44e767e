//! Words that are never shown.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A password or a stream key. It is written to the private state file, and to nothing else.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Password(String);

impl Password {
    /// Takes it.
    #[must_use]
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    /// The word itself, for the login alone.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A sentence in which the other server may have repeated a secret, without it.
pub(super) fn without<'a>(text: &str, secrets: impl IntoIterator<Item = &'a str>) -> String {
    let mut text = text.to_owned();
    for secret in secrets {
        // A word of a letter or two would take the sentence apart, and is none.
        if secret.len() >= SHORTEST && text.contains(secret) {
            text = text.replace(secret, "***");
        }
    }
    text
}

const SHORTEST: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_loses_its_secrets() {
        let said = without("key abcd-1234 is bad (abcd-1234)", ["abcd-1234", "", "a"]);
        assert_eq!(said, "key *** is bad (***)");
        assert_eq!(format!("{:?}", Password::new("x".to_owned())), "***");
    }
}
