//! Applications, and what they say of files, logins and the log.

use super::Item;
use super::rules::{APPLICATION, AUTHENTICATION, LOG_APPENDER, LOGIN_RTMP, PARTS, Part, STORAGE};
use super::writer::{Scope, Writer};
use crate::limits::MAX_FILE_AHEAD;
use crate::lua::{Key, Table, Value};

/// Where Debian's package of the original had its configuration.
const USUAL_FOLDER: &str = "/etc/crtmpserver/";

/// `applications`
pub(super) fn applications(writer: &mut Writer<'_>, value: &Value, at: &str, _: &Scope) {
    let Value::Table(all) = value else {
        return writer.wrong(at, value, "a table");
    };
    let root = all.text("rootDirectory").unwrap_or(".");
    for (key, value) in &all.0 {
        match (key, value) {
            (Key::Name(name), _) if name == "rootDirectory" => writer.otherwise(
                &format!("{at}.rootDirectory"),
                "applications are no shared libraries here, there is nothing to load",
            ),
            (_, Value::Table(table)) => application(writer, table, at, key, root),
            (_, other) => writer.wrong(&format!("{at}.{key}"), other, "an application's table"),
        }
    }
}

fn application(writer: &mut Writer<'_>, table: &Table, at: &str, key: &Key, root: &str) {
    let Some(name) = table.text("name") else {
        return writer.without(&format!("{at}.{key}"), "has no name: left out");
    };
    let here = format!("{at}.{name}");
    let folder = match table.text("appDir") {
        Some(folder) => folder.to_owned(),
        None => format!("{}/{name}", root.trim_end_matches('/')),
    };
    let scope = Scope {
        application: name.to_owned(),
        folder,
    };
    let known = PARTS.iter().find(|(part, _)| *part == name);
    match known.map(|(_, part)| part) {
        Some(Part::Nothing(why)) => return writer.without(&here, *why),
        Some(Part::Acceptors) => {}
        Some(Part::Streams) => streams(writer, name, &here),
        None => {
            writer.without(
                &here,
                "is an application of one's own: streams are published and played under its name, what else it did is not here",
            );
            streams(writer, name, &here);
        }
    }
    writer.walk(table, APPLICATION, &here, &scope);
}

fn streams(writer: &mut Writer<'_>, name: &str, at: &str) {
    if writer.is_new_name(name, at) {
        writer.add("applications", name, at);
    }
    writer.publishes.get_or_insert_with(|| at.to_owned());
}

/// `aliases`
pub(super) fn aliases(writer: &mut Writer<'_>, value: &Value, at: &str, scope: &Scope) {
    for (place, alias) in writer.texts(value, at) {
        if !has_streams(writer, scope) {
            writer.without(&place, "is another name of what has no streams here");
        } else if writer.is_new_name(alias, &place) {
            writer.alias(alias, &scope.application, at);
        }
    }
}

/// Whether the application has streams here.
pub(super) fn has_streams(writer: &mut Writer<'_>, scope: &Scope) -> bool {
    match writer.find("applications").map(|s| &s.value) {
        Some(Item::List(names)) => names.contains(&scope.application),
        _ => false,
    }
}

/// `mediaFolder`
pub(super) fn media_folder(writer: &mut Writer<'_>, value: &Value, at: &str, _: &Scope) {
    match value {
        Value::Text(path) => writer.add("files.folders", path, at),
        other => writer.wrong(at, other, "the name of a folder"),
    }
}

/// `mediaStorage`
pub(super) fn media_storage(writer: &mut Writer<'_>, value: &Value, at: &str, scope: &Scope) {
    let Value::Table(all) = value else {
        return writer.wrong(at, value, "a table");
    };
    for (key, value) in &all.0 {
        let here = match key {
            Key::Place(n) => format!("{at}[{n}]"),
            Key::Name(name) => format!("{at}.{name}"),
        };
        match (key, value) {
            (Key::Name(name), value) if name == "recordedStreamsStorage" => {
                recordings(writer, value, &here, scope);
            }
            (Key::Name(name), _) if name == "hasTimers" => {
                writer.otherwise(&here, "nothing to be told");
            }
            (_, Value::Table(storage)) => writer.walk(storage, STORAGE, &here, scope),
            (_, other) => writer.wrong(&here, other, "a table"),
        }
    }
}

/// `recordedStreamsStorage`
fn recordings(writer: &mut Writer<'_>, value: &Value, at: &str, _: &Scope) {
    match value {
        Value::Text(path) => {
            writer.set("record.folder", Item::File(vec![path.clone()]), at);
            writer.set("record.publishers", Item::Flag(true), at);
        }
        other => writer.wrong(at, other, "the name of a folder"),
    }
}

/// `keyframeSeek`
pub(super) fn keyframe_seek(writer: &mut Writer<'_>, value: &Value, at: &str, _: &Scope) {
    match value {
        Value::Flag(key) => {
            let seek = if *key { "key" } else { "exact" };
            writer.set("files.seek", Item::Text(seek.to_owned()), at);
        }
        other => writer.wrong(at, other, "true or false"),
    }
}

/// `clientSideBuffer`
pub(super) fn client_side_buffer(writer: &mut Writer<'_>, value: &Value, at: &str, _: &Scope) {
    let most = MAX_FILE_AHEAD.as_secs();
    let seconds = match value {
        Value::Number(n) if *n >= 1.0 => *n,
        Value::Number(_) => return writer.without(at, "is less than a second: left out"),
        other => return writer.wrong(at, other, "a number of seconds"),
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "no less than 1; what is more than fits is the most that fits"
    )]
    let seconds = seconds as u64;
    if seconds > most {
        writer.otherwise(
            at,
            format!("{most} s are the most that a file runs ahead of its player"),
        );
    }
    let ahead = format!("{}s", seconds.min(most));
    writer.set("files.ahead", Item::Text(ahead), at);
}

/// `allowDuplicateInboundNetworkStreams`
pub(super) fn takeover(writer: &mut Writer<'_>, value: &Value, at: &str, _: &Scope) {
    match value {
        Value::Flag(true) => {
            writer.set("publish.takeover", Item::Text("always".to_owned()), at);
        }
        Value::Flag(false) => writer.otherwise(
            at,
            "a second publisher of a name wins only when it has the same login and the first is silent (publish.takeover)",
        ),
        other => writer.wrong(at, other, "true or false"),
    }
}

/// `authentication`
pub(super) fn authentication(writer: &mut Writer<'_>, value: &Value, at: &str, scope: &Scope) {
    match value {
        Value::Table(table) => writer.walk(table, AUTHENTICATION, at, scope),
        other => writer.wrong(at, other, "a table"),
    }
}

/// `authentication.rtmp`
pub(super) fn login_rtmp(writer: &mut Writer<'_>, value: &Value, at: &str, scope: &Scope) {
    match value {
        Value::Table(table) => {
            // Whatever is wrong with it: who asked for logins is not to be open without.
            writer.asks_login = true;
            writer.walk(table, LOGIN_RTMP, at, scope);
        }
        other => writer.wrong(at, other, "a table"),
    }
}

/// `authentication.rtmp.type`
pub(super) fn login_type(writer: &mut Writer<'_>, value: &Value, at: &str, _: &Scope) {
    match value {
        Value::Text(kind) if kind == "adobe" => {}
        _ => writer.without(at, "is none but \"adobe\", in the original too"),
    }
}

/// `usersFile`
pub(super) fn users_file(writer: &mut Writer<'_>, value: &Value, at: &str, scope: &Scope) {
    match value {
        Value::Text(path) => writer.set("publish.users", Item::File(places(path, scope)), at),
        other => writer.wrong(at, other, "the name of a file"),
    }
}

/// Where a file of an application may be: as it is named, in the application's own folder, beside the
/// configuration.
pub(super) fn places(path: &str, scope: &Scope) -> Vec<String> {
    let mut places = Vec::new();
    if path.starts_with('/') {
        places.push(path.to_owned());
        // The folder of the package may have been copied elsewhere.
        places.extend(path.strip_prefix(USUAL_FOLDER).map(str::to_owned));
    } else {
        let folder = scope.folder.trim_end_matches('/');
        places.push(format!("{folder}/{path}"));
        places.push(path.to_owned());
        let name = path.rsplit('/').next().unwrap_or(path);
        if name != path {
            places.push(name.to_owned());
        }
    }
    places
}

/// `logAppenders`
pub(super) fn log_appenders(writer: &mut Writer<'_>, value: &Value, at: &str, scope: &Scope) {
    let appenders = writer.each(value, at);
    // The one that tells most counts.
    let level = |appender: &Table| match appender.get("level") {
        Some(Value::Number(n)) => *n,
        _ => -1.0,
    };
    let most = appenders.iter().map(|(_, a)| level(a)).fold(-1.0, f64::max);
    let ours = match most {
        n if n < 0.0 => None,
        n if n < 2.0 => Some("error"),
        n if n < 3.0 => Some("warn"),
        _ => None,
    };
    if let Some(ours) = ours {
        writer.set("log.level", Item::Text(ours.to_owned()), at);
    }
    for (place, appender) in appenders {
        writer.walk(appender, LOG_APPENDER, &place, scope);
    }
}

/// `level` of an appender
pub(super) fn log_level(writer: &mut Writer<'_>, value: &Value, at: &str, _: &Scope) {
    match value {
        Value::Number(n) if *n > 3.0 => writer.otherwise(
            at,
            "the log tells what an operator needs; log.level = \"debug\" or \"trace\" tells more",
        ),
        Value::Number(_) => {}
        other => writer.wrong(at, other, "a number from 0 to 6"),
    }
}

/// Who may publish, where nobody said it.
pub(super) fn finish(writer: &mut Writer<'_>) {
    let Some(application) = writer.publishes.clone() else {
        return;
    };
    if writer.find("publish.users").is_some() {
        return;
    }
    if writer.asks_login {
        // Its users are not known: nobody, rather than everybody.
        writer.set("publish.networks", Item::List(Vec::new()), "authentication");
        return writer.without("authentication", "names no usersFile: nobody may publish");
    }
    writer.without(
        &application,
        "has no authentication: there everybody could publish, here this machine alone. `crtmpserver passwd NAME` and publish.users let in who has a password, publish.networks = [\"any\"] lets in everybody",
    );
}
