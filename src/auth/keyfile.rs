//! Changes to the file of stream keys, as `crtmpserver key` makes them.

use std::path::Path;

use super::stream_keys::{
    StreamKey, StreamKeys, check_label, check_stream, label_of, new_key, verifier,
};
use super::{FileError, edit};
use crate::system::wall_ms;

/// A key that was just made: the only time that it is there.
pub struct NewKey {
    /// What it is called.
    pub label: String,
    /// The key.
    pub key: String,
}

/// Makes a key for the stream `APP/NAME`. Without a label it is called after the stream, with a number
/// when that is taken. Makes the file when there is none.
///
/// # Errors
/// The name or the label is none or taken, or the file cannot be read or written.
pub fn add(
    path: &Path,
    stream: &str,
    label: Option<&str>,
    until: Option<u64>,
) -> Result<NewKey, FileError> {
    let fail = |message: String| FileError::new(path, message);
    let stream = check_stream(stream).map_err(fail)?;
    if let Some(label) = label {
        check_label(label).map_err(fail)?;
    }
    let key = new_key().map_err(|e| fail(format!("the system gives no random bytes: {e}")))?;
    let verifier = verifier(&key);
    let label = edit::update(
        path,
        |text| {
            let taken = |label: &str| text.lines().any(|l| label_of(l) == Some(label));
            let label = match label {
                Some(label) if taken(label) => {
                    return Err(format!(
                        "there is a key {label}; revoke it, or give this one another --label"
                    ));
                }
                Some(label) => label.to_owned(),
                None => free_label(stream.name(), taken)?,
            };
            let line = StreamKey {
                label: label.as_str().into(),
                stream: stream.clone(),
                made: wall_ms(),
                until,
                verifier,
            };
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            lines.push(line.line());
            Ok((lines, label))
        },
        check,
    )?;
    Ok(NewKey { label, key })
}

/// Takes a key out. Whoever publishes by it is ended when the server reads the file.
///
/// # Errors
/// There is no such key, or the file cannot be read or written.
pub fn revoke(path: &Path, label: &str) -> Result<(), FileError> {
    if !path.exists() {
        return Err(FileError::new(path, "there is no such file"));
    }
    edit::update(
        path,
        |text| {
            let (own, rest): (Vec<&str>, Vec<&str>) =
                text.lines().partition(|line| label_of(line) == Some(label));
            if own.is_empty() {
                return Err("there is no such key in it".to_owned());
            }
            Ok((rest.into_iter().map(str::to_owned).collect(), ()))
        },
        check,
    )
}

fn check(text: &str) -> Result<(), String> {
    StreamKeys::parse(text).map(drop)
}

/// A label made of the stream's name.
fn free_label(name: &str, taken: impl Fn(&str) -> bool) -> Result<String, String> {
    let plain = name.replace(['/', '~'], "-");
    let cut = plain.get(..plain.floor_char_boundary(56)).unwrap_or(&plain);
    let numbered = (2..=9999).map(|n| format!("{cut}-{n}"));
    let mut all = std::iter::once(cut.to_owned()).chain(numbered);
    let free = all.find(|label| !taken(label));
    free.ok_or_else(|| "give it a --label".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_and_go_and_comments_stay() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys");
        let first = add(&path, "live/event", None, None).unwrap();
        let second = add(&path, "live/event", None, Some(1_795_348_800_000)).unwrap();
        let third = add(&path, "live/a/b", Some("truck"), None).unwrap();
        assert_eq!(
            [&*first.label, &*second.label, &*third.label],
            ["event", "event-2", "truck"]
        );
        let text = format!("# ours\n{}", std::fs::read_to_string(&path).unwrap());
        std::fs::write(&path, &text).unwrap();
        for key in [&first.key, &second.key, &third.key] {
            assert!(!text.contains(&key[3..]), "a key in the file");
        }
        assert!(add(&path, "live/other", Some("truck"), None).is_err());
        let keys = StreamKeys::read(&path).unwrap().0;
        assert_eq!(keys.len(), 3);
        let found = keys.find(&second.key).unwrap();
        assert_eq!(
            (&*found.label, found.until),
            ("event-2", Some(1_795_348_800_000))
        );
        revoke(&path, "event").unwrap();
        assert!(revoke(&path, "event").is_err() && revoke(&path, "#").is_err());
        let keys = StreamKeys::read(&path).unwrap().0;
        assert!(keys.find(&first.key).is_none() && keys.find(&third.key).is_some());
        assert!(
            std::fs::read_to_string(&path)
                .unwrap()
                .starts_with("# ours\n")
        );
        assert!(revoke(&dir.path().join("none"), "event").is_err());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn bad_names_and_labels_change_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys");
        for (stream, label) in [
            ("event", None),
            ("live/", None),
            ("live/../x", None),
            ("live/sk_abcdefgh", None),
            ("live/event", Some("a b")),
            ("live/event", Some("")),
            ("live/event", Some("#a")),
        ] {
            assert!(
                add(&path, stream, label, None).is_err(),
                "{stream} {label:?}"
            );
        }
        assert!(!path.exists());
        let long = "x".repeat(255);
        let made = add(&path, &format!("live/{long}"), None, None).unwrap();
        assert!(check_label(&made.label).is_ok(), "{}", made.label);
    }
}
