//! The file of stream keys: `LABEL APP/NAME sha256:VERIFIER made=DATE [until=DATE]`, one on a line, made
//! by `crtmpserver key`.
//!
//! VERIFIER is the SHA-256 of the key: 130 random bits cannot be searched for, so nothing slower is
//! needed, and the file alone lets nobody publish. It belongs to root:crtmpserver, mode 0640, all the
//! same: it tells who may publish what.

use std::path::Path;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::files::{FileError, Stamp, read_private};
use super::masked::MARK;
use super::users::check_user;
use crate::calendar;
use crate::limits::MAX_STREAM_KEYS;
use crate::media::StreamName;

/// Random characters of a key, 5 bits each, behind [`MARK`].
const RANDOM: usize = 26;

/// What a key is compared by.
pub(super) type Verifier = [u8; 32];

/// What is known of one key: everything but the key.
#[derive(Clone, PartialEq, Eq)]
pub struct StreamKey {
    /// What the operator calls it; one label has one key.
    pub label: Arc<str>,
    /// The stream that it publishes.
    pub stream: StreamName,
    /// When it was made, Unix time in ms.
    pub made: u64,
    /// From when on it begins nothing any more, Unix time in ms.
    pub until: Option<u64>,
    pub(super) verifier: Verifier,
}

impl StreamKey {
    /// Whether a publisher can begin with it at `wall_ms`, Unix time.
    #[must_use]
    pub fn is_good(&self, wall_ms: u64) -> bool {
        self.until.is_none_or(|until| wall_ms < until)
    }

    /// The line of the file.
    pub(super) fn line(&self) -> String {
        let hex: String = self.verifier.iter().map(|b| format!("{b:02x}")).collect();
        let made = calendar::rfc3339(self.made);
        let until = self.until.map(calendar::rfc3339);
        let until = until.map_or_else(String::new, |until| format!(" until={until}"));
        format!(
            "{} {} sha256:{hex} made={made}{until}",
            self.label, self.stream
        )
    }
}

/// The keys of one file. It has no `Debug`: there is nothing in it that a log needs.
#[derive(Default, PartialEq, Eq)]
pub struct StreamKeys(Vec<StreamKey>);

impl StreamKeys {
    /// Reads a file of keys, and a warning when others may read that too.
    ///
    /// # Errors
    /// The file cannot be read, or has bad lines: all of them are named.
    pub fn read(path: &Path) -> Result<(Self, Option<String>), FileError> {
        Self::read_stamped(path).map(|(keys, warning, _)| (keys, warning))
    }

    pub(super) fn read_stamped(path: &Path) -> Result<(Self, Option<String>, Stamp), FileError> {
        let file = read_private(path)?;
        let keys = Self::parse(&file.text).map_err(|errors| FileError::new(path, errors))?;
        Ok((keys, file.warning, file.stamp))
    }

    /// Reads the text of a file of keys.
    ///
    /// # Errors
    /// All lines that are wrong, without any part of them but labels.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut keys: Vec<StreamKey> = Vec::new();
        let mut errors = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let mut wrong = |message: &str| {
                errors.push(format!("line {}: {message}", number.saturating_add(1)));
            };
            match parse_line(line) {
                Ok(None) => {}
                Ok(Some(key)) if keys.iter().any(|k| k.label == key.label) => {
                    wrong(&format!("the label {} is there twice", key.label));
                }
                Ok(Some(_)) if keys.len() >= MAX_STREAM_KEYS => {
                    wrong(&format!("there are more than {MAX_STREAM_KEYS} keys"));
                    break;
                }
                Ok(Some(key)) => keys.push(key),
                Err(message) => wrong(&message),
            }
        }
        if errors.is_empty() {
            Ok(Self(keys))
        } else {
            Err(errors.join("; "))
        }
    }

    /// All of them, in the order of the file.
    pub fn iter(&self) -> std::slice::Iter<'_, StreamKey> {
        self.0.iter()
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The key that this is. Every key is compared whatever comes of the others, so that the time tells
    /// nothing.
    pub(super) fn find(&self, key: &str) -> Option<&StreamKey> {
        let verifier = verifier(key);
        let mut found = None;
        for known in &self.0 {
            if bool::from(known.verifier.ct_eq(&verifier)) {
                found = Some(known);
            }
        }
        found
    }

    /// Whether a key with this verifier is there.
    pub(super) fn has(&self, verifier: &Verifier) -> bool {
        self.0.iter().any(|key| key.verifier == *verifier)
    }
}

/// A new key.
///
/// # Errors
/// The system gives no random bytes.
pub(super) fn new_key() -> Result<String, getrandom::Error> {
    const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let bytes: [u8; RANDOM] = crate::system::random()?;
    let pick = |b: u8| ALPHABET.get(usize::from(b & 31)).copied().map(char::from);
    Ok(MARK
        .chars()
        .chain(bytes.into_iter().filter_map(pick))
        .collect())
}

/// What is kept of a key.
pub(super) fn verifier(key: &str) -> Verifier {
    let mut hash = Sha256::new();
    hash.update(b"crtmpserver stream key\n");
    hash.update(key.as_bytes());
    hash.finalize().into()
}

/// Whether this can be a label.
///
/// # Errors
/// Says what would be right.
pub(super) fn check_label(label: &str) -> Result<(), String> {
    check_user(label).map_err(|message| message.replace("a user's name", "a key's label"))
}

/// `APP/NAME` as the name of a stream.
///
/// # Errors
/// Says what would be right.
pub(super) fn check_stream(text: &str) -> Result<StreamName, String> {
    let (app, name) = text
        .split_once('/')
        .ok_or("a public name is APP/NAME, such as live/event")?;
    if super::masked::is_key(name) {
        return Err(format!("a public name does not begin with {MARK}"));
    }
    StreamName::new(app, name).map_err(|e| e.to_string())
}

/// The label of a line, when it is a line of a key at all.
pub(super) fn label_of(line: &str) -> Option<&str> {
    let line = line.trim();
    if line.starts_with('#') {
        return None;
    }
    line.split_whitespace().next()
}

fn parse_line(line: &str) -> Result<Option<StreamKey>, String> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let mut fields = line.split_whitespace();
    let (Some(label), Some(stream), Some(scheme)) = (fields.next(), fields.next(), fields.next())
    else {
        return Err(
            "is not LABEL APP/NAME sha256:VERIFIER; make it with `crtmpserver key add`".into(),
        );
    };
    check_label(label)?;
    let stream = check_stream(stream)?;
    let verifier = scheme.strip_prefix("sha256:").and_then(unhex);
    let verifier = verifier.ok_or("has no usable verifier; make it with `crtmpserver key add`")?;
    let (mut made, mut until) = (0, None);
    for field in fields {
        let date = |text: &str| calendar::parse(text).ok_or("has a date that is none");
        match field.split_once('=') {
            Some(("made", text)) => made = date(text)?,
            Some(("until", text)) => until = Some(date(text)?),
            _ => return Err("has a field other than made= and until=".into()),
        }
    }
    Ok(Some(StreamKey {
        label: label.into(),
        stream,
        made,
        until,
        verifier,
    }))
}

fn unhex(text: &str) -> Option<Verifier> {
    let mut verifier = Verifier::default();
    if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    for (at, byte) in verifier.iter_mut().enumerate() {
        let from = at.checked_mul(2)?;
        *byte = u8::from_str_radix(text.get(from..from.checked_add(2)?)?, 16).ok()?;
    }
    Some(verifier)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(label: &str, stream: &str, secret: &str, until: Option<u64>) -> StreamKey {
        StreamKey {
            label: label.into(),
            stream: check_stream(stream).unwrap(),
            made: 1_795_348_800_000,
            until,
            verifier: verifier(secret),
        }
    }

    #[test]
    fn lines_are_read_as_they_are_written() {
        let one = key("studio-1", "live/event", "sk_one", None);
        let two = key("truck", "live/a/b", "sk_two", Some(1_795_435_200_000));
        let text = format!("# keys\n\n{}\n  {}\n", one.line(), two.line());
        let keys = StreamKeys::parse(&text).unwrap();
        assert_eq!(keys.len(), 2);
        assert!(keys.find("sk_one").is_some_and(|found| *found == one));
        assert!(keys.find("sk_two").is_some_and(|found| *found == two));
        assert!(keys.find("sk_three").is_none() && keys.find("").is_none());
        assert!(two.is_good(1_795_435_199_999) && !two.is_good(1_795_435_200_000));
        assert!(!text.contains("sk_"), "{text}");
    }

    #[test]
    fn each_bad_line_is_named_without_its_secret() {
        let good = key("studio", "live/event", "sk_one", None).line();
        let hex = "ab".repeat(32);
        let text = [
            good.clone(),
            "short live/event".to_owned(),
            format!("a:b live/event sha256:{hex}"),
            format!("x event sha256:{hex}"),
            format!("x live/../y sha256:{hex}"),
            format!("x live/event md5:{hex}"),
            "x live/event sha256:secret".to_owned(),
            format!("x live/event sha256:{hex} until=tomorrow"),
            format!("x live/event sha256:{hex} {hex}"),
            format!("x live/sk_abcdefgh sha256:{hex}"),
            good,
        ];
        let errors = StreamKeys::parse(&text.join("\n")).err().unwrap();
        for line in 2..=11 {
            assert!(
                errors.contains(&format!("line {line}: ")),
                "{line}: {errors}"
            );
        }
        assert!(
            !errors.contains("line 1: ") && !errors.contains("secret"),
            "{errors}"
        );
        assert!(
            !errors.contains(&hex) && errors.ends_with("studio is there twice"),
            "{errors}"
        );
    }

    #[test]
    fn there_is_room_for_so_many() {
        let line = |n: usize| format!("k{n} live/event sha256:{}\n", "ab".repeat(32));
        let text: String = (0..MAX_STREAM_KEYS).map(line).collect();
        assert!(StreamKeys::parse(&text).is_ok_and(|keys| keys.len() == MAX_STREAM_KEYS));
        let more = text + &line(MAX_STREAM_KEYS);
        assert!(StreamKeys::parse(&more).is_err());
        assert!(more.len() < crate::limits::MAX_USERS_FILE);
    }

    #[test]
    fn made_keys_are_names_that_differ() {
        let (a, b) = (new_key().unwrap(), new_key().unwrap());
        assert_ne!(a, b);
        assert_eq!(a.len(), MARK.len() + RANDOM);
        assert!(crate::media::check_name(&a).is_ok() && super::super::masked::is_key(&a));
    }
}
