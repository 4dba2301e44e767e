//! `users.lua`: names and passwords, and what else is in it.

use std::collections::BTreeMap;

use crate::lua::{Key, Value};

/// A user of the original. It has no `Debug`: it has a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The name.
    pub name: String,
    /// The password.
    pub password: String,
}

/// The globals of the file that are looked at.
pub const GLOBALS: &[&str] = &["users", REALMS];

/// Who could log in over RTSP, and how.
const REALMS: &str = "realms";

/// The table `users`, and what is wrong with the others of it, or not taken up.
///
/// # Errors
/// It is no table.
pub fn logins(globals: &BTreeMap<String, Value>) -> Result<(Vec<Login>, Vec<String>), String> {
    let users = globals.get("users");
    let table = match users {
        Some(Value::Table(table)) => table,
        Some(other) => return Err(format!("`users` is {}, not a table", other.kind())),
        None => return Err("leaves no table `users` behind".to_owned()),
    };
    let (mut logins, mut wrong) = (Vec::new(), Vec::new());
    for (key, value) in &table.0 {
        let name = match key {
            Key::Name(name) => name.clone(),
            // A name of digits may have been written without its quotes.
            Key::Place(n) => n.to_string(),
        };
        match value {
            Value::Text(password) => logins.push(Login {
                name,
                password: password.clone(),
            }),
            other => wrong.push(format!("users.{name}: is {}, not a password", other.kind())),
        }
    }
    let is_empty = |value: &Value| matches!(value, Value::Table(table) if table.0.is_empty());
    if globals.get(REALMS).is_some_and(|realms| !is_empty(realms)) {
        wrong.push(format!(
            "{REALMS}: are left out, as nobody logs in by name over RTSP here: networks of [[listen.rtsp]] and stream keys say who may publish there (docs/ways-in.md)"
        ));
    }
    Ok((logins, wrong))
}
