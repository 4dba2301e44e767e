//! The lines of the original's command line: `verb key=value key=value`, and the answers to them.
//!
//! A line ends with CR or LF and has at most [`MAX_VERB_LINE`] bytes. A backslash takes the meaning off a
//! space, `=`, comma or backslash that follows it; commas that have theirs make a list of a value. An
//! answer is an object of JSON with `data`, `description` and `status`, in this order, `/` written `\/`,
//! and ends with an empty line. Pure: bytes in, values out.

use serde_json::{Value, json};

use crate::limits::{MAX_VERB_FIELDS, MAX_VERB_LINE};

/// One line that was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The first word, as it was written.
    pub verb: String,
    /// Keys in small letters, and their values; of a key that is there twice, both.
    pub fields: Vec<(String, Vec<String>)>,
}

impl Line {
    /// The value of a key, lists put together again; `None` when it is not there or empty.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<String> {
        let mut found = self
            .fields
            .iter()
            .filter(|(k, _)| k.eq_ignore_ascii_case(key));
        let value = found.next().map(|(_, values)| values.join(","))?;
        (!value.is_empty()).then_some(value)
    }
}

/// Why a line is not understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// Longer than [`MAX_VERB_LINE`].
    #[error("a line has at most {MAX_VERB_LINE} bytes")]
    TooLong,
    /// Not UTF-8, or with control characters.
    #[error("the line is no text")]
    NoText,
    /// A word behind the verb has no `=`.
    #[error("behind the verb come words of the form key=value")]
    NoValue,
    /// More than [`MAX_VERB_FIELDS`].
    #[error("a line has at most {MAX_VERB_FIELDS} keys")]
    TooMany,
    /// HTTP.
    #[error("this is no place for HTTP")]
    Http,
}

/// Reads one line without its end; `None` for one with nothing on it.
///
/// # Errors
/// [`LineError`].
pub fn parse(line: &[u8]) -> Result<Option<Line>, LineError> {
    if line.len() > MAX_VERB_LINE {
        return Err(LineError::TooLong);
    }
    let text = std::str::from_utf8(line).map_err(|_| LineError::NoText)?;
    if text.chars().any(char::is_control) {
        return Err(LineError::NoText);
    }
    if is_http(text) {
        return Err(LineError::Http);
    }
    let words = split(text, |c| c == ' ');
    let mut words = words.into_iter().filter(|word| !word.is_empty());
    let Some(verb) = words.next() else {
        return Ok(None);
    };
    let mut fields = Vec::new();
    for word in words {
        if fields.len() >= MAX_VERB_FIELDS {
            return Err(LineError::TooMany);
        }
        let (key, value) = at_first(&word, '=').ok_or(LineError::NoValue)?;
        let values = split(value, |c| c == ',')
            .iter()
            .map(|v| plain(v))
            .collect();
        fields.push((plain(key).to_ascii_lowercase(), values));
    }
    Ok(Some(Line {
        verb: plain(&verb),
        fields,
    }))
}

/// A browser can be made to send this to a port of its own machine, with lines of a stranger's behind it.
fn is_http(text: &str) -> bool {
    let first = text.split(' ').next().unwrap_or_default();
    text.contains(" HTTP/") || (first.ends_with(':') && first.len() > 1)
}

/// The pieces between separators that have their meaning; escapes are left in.
fn split(text: &str, is_separator: impl Fn(char) -> bool) -> Vec<String> {
    let mut pieces = vec![String::new()];
    let mut escaped = false;
    for c in text.chars() {
        let separates = !escaped && is_separator(c);
        escaped = !escaped && c == '\\';
        if separates {
            pieces.push(String::new());
        } else if let Some(last) = pieces.last_mut() {
            last.push(c);
        }
    }
    pieces
}

/// What is before and behind the first one that has its meaning.
fn at_first(text: &str, separator: char) -> Option<(&str, &str)> {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        if !escaped && c == separator {
            let rest = text.get(at.saturating_add(c.len_utf8())..)?;
            return text.get(..at).map(|head| (head, rest));
        }
        escaped = !escaped && c == '\\';
    }
    None
}

/// The escapes done: a backslash in front of anything else stays.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match rest.peek() {
            Some(next @ ('\\' | ' ' | '=' | ',')) if c == '\\' => {
                out.push(*next);
                rest.next();
            }
            _ => out.push(c),
        }
    }
    out
}

/// A word of a shell as a word of a line: what [`parse`] makes of it is `key=value` with the same value,
/// commas apart, which a list joins again.
#[must_use]
pub fn escape(word: &str) -> String {
    let mut out = String::with_capacity(word.len());
    for c in word.chars() {
        if matches!(c, '\\' | ' ') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// Status, description and data of what came of a line.
#[must_use]
pub fn parts(done: Result<(String, Value), String>) -> (&'static str, String, Value) {
    match done {
        Ok((description, data)) => ("SUCCESS", description, data),
        Err(why) => ("FAIL", why, Value::Null),
    }
}

/// An answer as it goes over the wire.
#[must_use]
pub fn answer(done: Result<(String, Value), String>) -> String {
    let (status, description, data) = parts(done);
    let object = json!({ "data": data, "description": description, "status": status });
    // In JSON a slash is only ever in a text.
    format!("{}\r\n\r\n", object.to_string().replace('/', "\\/"))
}

/// Cuts what arrives into lines; what is too long is not kept.
#[derive(Debug, Default)]
pub struct Cutter {
    bytes: Vec<u8>,
    overlong: bool,
}

impl Cutter {
    /// Takes a byte; a line when it ends one.
    ///
    /// # Errors
    /// [`LineError::TooLong`]: what follows cannot be told apart.
    pub fn push(&mut self, byte: u8) -> Result<Option<Vec<u8>>, LineError> {
        if self.overlong || (self.bytes.len() >= MAX_VERB_LINE && !matches!(byte, b'\r' | b'\n')) {
            self.overlong = true;
            self.bytes = Vec::new();
            return Err(LineError::TooLong);
        }
        if matches!(byte, b'\r' | b'\n') {
            let line = std::mem::take(&mut self.bytes);
            return Ok((!line.is_empty()).then_some(line));
        }
        self.bytes.push(byte);
        Ok(None)
    }

    /// Bytes that are held.
    #[must_use]
    pub const fn held(&self) -> usize {
        self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(text: &str) -> Line {
        parse(text.as_bytes()).unwrap().unwrap()
    }

    #[test]
    fn lines_are_read_as_they_always_were() {
        let l = line("pullStream uri=rtmp://h/live/a?x=1 localStreamName=b");
        assert_eq!(l.verb, "pullStream");
        assert_eq!(l.text("uri").unwrap(), "rtmp://h/live/a?x=1");
        assert_eq!(l.text("localstreamname").unwrap(), "b");
        assert_eq!(l.text("other"), None);
        let l = line(r"  v  a=one\ two b=x\,y,z c\=d=\\ e= ");
        assert_eq!(l.text("a").unwrap(), "one two");
        assert_eq!(l.fields[1].1, ["x,y", "z"]);
        assert_eq!(l.fields[2], ("c=d".to_owned(), vec!["\\".to_owned()]));
        assert_eq!(l.text("e"), None);
        assert_eq!(line(r"v p=C:\dir").text("p").unwrap(), r"C:\dir");
        assert_eq!(parse(b"   "), Ok(None));
    }

    #[test]
    fn what_is_no_line_is_refused() {
        assert_eq!(parse(b"v word"), Err(LineError::NoValue));
        assert_eq!(parse(b"v a=\x01"), Err(LineError::NoText));
        assert_eq!(parse(b"v a=\xff"), Err(LineError::NoText));
        assert_eq!(parse(b"POST / HTTP/1.1"), Err(LineError::Http));
        assert_eq!(parse(b"Host: 127.0.0.1:1112"), Err(LineError::Http));
        let longest = [b'v'; MAX_VERB_LINE];
        assert!(parse(&longest).is_ok());
        assert_eq!(parse(&[b'v'; MAX_VERB_LINE + 1]), Err(LineError::TooLong));
        let many = |n: usize| format!("v{}", " a=b".repeat(n));
        assert!(parse(many(MAX_VERB_FIELDS).as_bytes()).is_ok());
        let more = parse(many(MAX_VERB_FIELDS + 1).as_bytes());
        assert_eq!(more, Err(LineError::TooMany));
    }

    #[test]
    fn answers_are_written_as_they_always_were() {
        let done = Ok(("a/b".to_owned(), json!({ "z": 1, "a": "x/y" })));
        assert_eq!(
            answer(done),
            "{\"data\":{\"a\":\"x\\/y\",\"z\":1},\"description\":\"a\\/b\",\"status\":\"SUCCESS\"}\r\n\r\n"
        );
        assert_eq!(
            answer(Err("no".to_owned())),
            "{\"data\":null,\"description\":\"no\",\"status\":\"FAIL\"}\r\n\r\n"
        );
    }

    #[test]
    fn a_line_without_end_is_not_kept() {
        let mut cutter = Cutter::default();
        for _ in 0..MAX_VERB_LINE {
            assert_eq!(cutter.push(b'x'), Ok(None));
        }
        assert!(cutter.push(b'x').is_err());
        assert!(cutter.push(b'\n').is_err());
        assert_eq!(cutter.held(), 0);
        let mut cutter = Cutter::default();
        let mut found = Vec::new();
        for byte in b"one\r\n\r\ntwo\rthree" {
            found.extend(cutter.push(*byte).unwrap());
        }
        assert_eq!(found, [b"one", b"two"]);
    }

    proptest! {
        #[test]
        fn words_survive(values in proptest::collection::vec("[ -~é]{0,20}", 0..5)) {
            let mut text = "verb".to_owned();
            for (n, value) in values.iter().enumerate() {
                text += &format!(" {}", escape(&format!("k{n}={value}")));
            }
            match parse(text.as_bytes()) {
                Ok(line) => {
                    let line = line.unwrap();
                    for (n, value) in values.iter().enumerate() {
                        let got = line.text(&format!("k{n}")).unwrap_or_default();
                        prop_assert_eq!(&got, value);
                    }
                }
                Err(error) => prop_assert_eq!(error, LineError::Http),
            }
        }

        #[test]
        fn no_bytes_panic_and_answers_are_one_object(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let done = match parse(&bytes) {
                Ok(line) => Ok((line.map_or_else(String::new, |l| l.verb), Value::Null)),
                Err(error) => Err(error.to_string()),
            };
            let text = answer(done);
            let ended = text.ends_with("}\r\n\r\n");
            prop_assert!(ended);
            prop_assert_eq!(text.matches('\n').count(), 2);
            let value: Value = serde_json::from_str(&text).unwrap();
            prop_assert!(value["status"] == "SUCCESS" || value["status"] == "FAIL");
        }
    }
}
