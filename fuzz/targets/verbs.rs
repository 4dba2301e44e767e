//! The lines of the command line, and the answers to them.

use crtmpserver::control::verbs::grammar::{Cutter, LineError, answer, escape, parse};
use crtmpserver::limits::{MAX_VERB_FIELDS, MAX_VERB_LINE};
use serde_json::Value;

/// Nothing is kept beyond one line; what is understood is within its bounds and understood again when it
/// is written anew; each answer is one object and an empty line.
pub fn lines(data: &[u8]) {
    let mut cutter = Cutter::default();
    for byte in data {
        match cutter.push(*byte) {
            Ok(Some(line)) => check(&line),
            Ok(None) => {}
            Err(error) => {
                assert_eq!(error, LineError::TooLong);
                assert_eq!(cutter.held(), 0);
                return;
            }
        }
        assert!(cutter.held() <= MAX_VERB_LINE, "kept too much");
    }
}

fn check(line: &[u8]) {
    assert!(line.len() <= MAX_VERB_LINE && !line.is_empty());
    let done = match parse(line) {
        Ok(None) => return,
        Err(error) => Err(error.to_string()),
        Ok(Some(line)) => {
            assert!(line.fields.len() <= MAX_VERB_FIELDS && !line.verb.is_empty());
            for (key, _) in &line.fields {
                let value = line.text(key).unwrap_or_default();
                let again = format!("v {}", escape(&format!("k={value}")));
                // Escapes make it longer; and a value may look like HTTP.
                if let Ok(Some(again)) = parse(again.as_bytes()) {
                    assert_eq!(again.text("k").unwrap_or_default(), value);
                }
            }
            Ok((line.verb, Value::Null))
        }
    };
    let text = answer(done);
    let object = text.strip_suffix("\r\n\r\n").expect("an empty line");
    assert!(!object.contains('\n'));
    let value: Value = serde_json::from_str(object).expect("JSON");
    assert!(value.get("status").is_some());
}
