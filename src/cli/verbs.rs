//! `ctl VERB key=value`: the verbs of crtmpserver's command line.

use std::process::ExitCode;

use super::asking::{AskingArgs, EX_NOT_WELL};
use super::{EX_USAGE, output};
use crate::control::model::Done;
use crate::control::protocol::Request;
use crate::control::verbs::{grammar, is_known};

pub(super) fn run(asking: &AskingArgs, words: &[String]) -> ExitCode {
    let line = match line(words) {
        Ok(line) => line,
        Err(why) => {
            output::error(&why);
            return ExitCode::from(EX_USAGE);
        }
    };
    let mut request = Request::new("line");
    request.line = Some(line);
    let answer = asking.connect().and_then(|mut server| server.ask(&request));
    let done = match answer {
        Ok(answer) => answer.done.unwrap_or_default(),
        Err(failure) => return failure.tell(asking.json),
    };
    let good = done.status == "SUCCESS";
    if asking.json {
        // Plain data is always JSON.
        output::line(&serde_json::to_string(&done).unwrap_or_default());
    } else if good {
        show(&done);
    } else {
        output::error(&done.description);
    }
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(EX_NOT_WELL)
    }
}

/// The words of a shell as a line, or what is wrong with them.
fn line(words: &[String]) -> Result<String, String> {
    let (verb, fields) = words.split_first().ok_or("which verb?")?;
    if !is_known(verb) {
        return Err(format!(
            "there is no command {verb:?}: see `crtmpserver ctl --help`, and docs/verbs.md for the verbs"
        ));
    }
    for word in fields {
        if word.starts_with("--") {
            return Err(format!("{word}: options come in front of the verb"));
        }
        if !word.contains('=') {
            return Err(format!(
                "{word:?}: behind the verb come words of the form key=value"
            ));
        }
    }
    let words: Vec<String> = words.iter().map(|word| grammar::escape(word)).collect();
    Ok(words.join(" "))
}

/// For people: the sentence, and the data below it. What peers called themselves is escaped as JSON has
/// it.
fn show(done: &Done) {
    output::line(&done.description);
    if !done.data.is_null() {
        let text = serde_json::to_string_pretty(&done.data).unwrap_or_default();
        text.lines().for_each(output::line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(words: &[&str]) -> Result<String, String> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        line(&words)
    }

    #[test]
    fn words_make_a_line_that_is_read_as_they_are() {
        let text = of(&["pullStream", "uri=rtmp://h/a/b", r"swfUrl=one two\"]).unwrap();
        let line = grammar::parse(text.as_bytes()).unwrap().unwrap();
        assert_eq!(line.verb, "pullStream");
        assert_eq!(line.text("swfUrl").as_deref(), Some(r"one two\"));
        assert!(of(&[]).is_err());
        assert!(of(&["dance"]).unwrap_err().contains("dance"));
        assert!(of(&["version", "now"]).unwrap_err().contains("key=value"));
        let late = of(&["version", "--json"]).unwrap_err();
        assert!(late.contains("in front of the verb"), "{late}");
    }
}
