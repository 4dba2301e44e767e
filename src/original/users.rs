//! `users.lua`: names and passwords.

use crate::lua::{Key, Value};

/// A user of the original. It has no `Debug`: it has a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The name.
    pub name: String,
    /// The password.
    pub password: String,
}

/// The table `users`, and what is wrong with the others of it.
///
/// # Errors
/// It is no table.
pub fn logins(users: Option<&Value>) -> Result<(Vec<Login>, Vec<String>), String> {
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
    Ok((logins, wrong))
}
