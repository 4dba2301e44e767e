//! Configurations of the original: whatever a program does, it ends, and what it comes to is a file that
//! says nothing but that.

use std::time::{Duration, Instant};

use crtmpserver::lua::{Host, Unread, run};
use crtmpserver::original::{configuration, logins, toml, translate};

/// One other file: the program itself.
struct Itself {
    source: Vec<u8>,
    begun: Instant,
}

impl Host for Itself {
    fn read(&self, name: &str) -> Result<Vec<u8>, Unread> {
        match name {
            "self" => Ok(self.source.clone()),
            "" => Err(Unread::Refused("is no name".to_owned())),
            _ => Err(Unread::Missing),
        }
    }

    fn time(&self) -> Duration {
        // A quarter of what a server gives.
        self.begun.elapsed() * 4
    }
}

/// The input is a program.
pub fn program(data: &[u8]) {
    let host = Itself {
        source: data.to_vec(),
        begun: Instant::now(),
    };
    let outcome = match run("c.lua", data, &["configuration", "users", "realms"], host) {
        Ok(outcome) => outcome,
        Err(error) => {
            assert!(!error.place.is_empty() && !error.message.is_empty());
            return;
        }
    };
    if let Ok((all, _)) = logins(&outcome.globals) {
        assert!(
            all.iter()
                .all(|login| !login.name.is_empty() || login.password.len() < data.len())
        );
    }
    let Ok(table) = configuration(&outcome.globals, &outcome.printed) else {
        return;
    };
    let all = translate(table, &|name| match name.len() {
        0 => Err("is empty".to_owned()),
        _ => Ok(()),
    });
    let text = toml(&["head".to_owned()], &all.settings, &all.notes);
    for line in text.lines() {
        let says = line.is_empty() || line.starts_with(['#', '[']);
        assert!(says || line.contains(" = "), "{line:?}");
        assert!(!line.chars().any(char::is_control), "{line:?}");
    }
}
