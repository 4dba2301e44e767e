//! A translation as a file of ours, for people: where each value comes from, and what became of the rest.

use std::fmt::Write;

use super::{Item, Note, NoteKind, Setting};

/// Columns of a comment.
const WIDTH: usize = 110;

/// The text of a file. `head` are the first lines, as comments; files and folders among the settings are
/// taken as they are.
#[must_use]
pub fn toml(head: &[String], settings: &[Setting], notes: &[Note]) -> String {
    let mut out = String::new();
    for line in head {
        comment(&mut out, "", line);
    }
    let table_of = |key: &'static str| match key.split_once('.') {
        Some((table, _)) => table,
        None if key == "aliases" => "aliases",
        None => "",
    };
    let mut tables: Vec<&str> = Vec::new();
    let is_list = |setting: &&Setting| matches!(setting.value, Item::Rows(_));
    for setting in settings.iter().filter(|s| !is_list(s)) {
        let table = table_of(setting.key);
        if !tables.contains(&table) {
            tables.push(table);
        }
    }
    // What belongs to no table comes before all of them; the others in the order of their keys.
    tables.sort_by_key(|table| !table.is_empty());
    for table in tables {
        out.push('\n');
        if !table.is_empty() {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "[{table}]");
        }
        for setting in settings.iter().filter(|s| !is_list(s)) {
            if table_of(setting.key) == table {
                comment(&mut out, "", &format!("from {}", setting.from));
                let key = setting.key.rsplit('.').next().unwrap_or(setting.key);
                pair(&mut out, key, &setting.value);
            }
        }
    }
    for setting in settings {
        let Item::Rows(rows) = &setting.value else {
            continue;
        };
        for (from, row) in rows {
            let _ = writeln!(out, "\n[[{}]]", setting.key);
            comment(&mut out, "", &format!("from {from}"));
            row.iter()
                .for_each(|(key, value)| pair(&mut out, key, value));
        }
    }
    section(
        &mut out,
        notes,
        NoteKind::Without,
        "What the original had, and this server has not:",
    );
    section(
        &mut out,
        notes,
        NoteKind::Otherwise,
        "What has another form here, or goes without saying:",
    );
    out
}

/// A key and its value.
fn pair(out: &mut String, key: &str, value: &Item) {
    // Writing to a String cannot fail.
    let _ = match value {
        Item::Text(text) => writeln!(out, "{key} = {}", quoted(text)),
        Item::Flag(flag) => writeln!(out, "{key} = {flag}"),
        Item::List(texts) | Item::File(texts) | Item::Folders(texts) => {
            let texts: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
            writeln!(out, "{key} = [{}]", texts.join(", "))
        }
        Item::Names(names) => names
            .iter()
            .try_for_each(|(alias, name)| writeln!(out, "{} = {}", quoted(alias), quoted(name))),
        Item::Rows(_) => Ok(()),
    };
}

/// The notes of a kind, those with the same words together.
fn section(out: &mut String, notes: &[Note], kind: NoteKind, title: &str) {
    let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
    for note in notes.iter().filter(|note| note.kind == kind) {
        match groups.iter_mut().find(|(text, _)| *text == note.text) {
            Some((_, keys)) => keys.push(&note.from),
            None => groups.push((&note.text, vec![&note.from])),
        }
    }
    if groups.is_empty() {
        return;
    }
    out.push('\n');
    comment(out, "", title);
    for (text, keys) in groups {
        comment(out, "  ", &format!("{}: {text}", keys.join(", ")));
    }
}

/// A comment on as many lines as it takes, those but the first set in further.
fn comment(out: &mut String, indent: &str, text: &str) {
    let mut line = format!("#{indent}");
    let mut is_empty = true;
    // A control character would end the comment, or the file.
    let text: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        if !is_empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
            out.push_str(&line);
            out.push('\n');
            line = format!("#{indent}   ");
        }
        line.push(' ');
        line.push_str(word);
        is_empty = false;
    }
    out.push_str(&line);
    out.push('\n');
}

/// A text as TOML has it.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
