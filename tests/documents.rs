//! What the documents show is true: configurations pass `check`, commands run, links lead somewhere,
//! and `docs/limits.md` is what `src/limits.rs` says.
//!
//! `UPDATE_DOCS=1 cargo test --test documents` writes `docs/limits.md` anew.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may panic outside its test functions too"
)]

use std::fs;
use std::path::PathBuf;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The fenced blocks of a document that are in this language.
#[cfg(feature = "publish")]
fn blocks(text: &str, language: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once(&format!("```{language}\n")) {
        let (block, after) = after.split_once("```").unwrap();
        found.push(block.to_owned());
        rest = after;
    }
    found
}

/// Runs the README's shell blocks and checks its configurations, in a folder that stands for `/etc`.
#[cfg(feature = "publish")]
#[test]
fn the_readme_works_as_written() {
    use std::process::Command;

    let readme = read("README.md");
    let dir = tempfile::tempdir().unwrap();
    let etc = dir.path().to_str().unwrap();
    let here = |text: &str| text.replace("/etc/crtmpserver", etc);
    let binary = env!("CARGO_BIN_EXE_crtmpserver");
    let run = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (program, arguments) = words.split_first().unwrap();
        assert_eq!(*program, "crtmpserver", "{line}");
        let done = Command::new(binary).args(arguments).output().unwrap();
        assert!(done.status.success(), "{line}: {done:?}");
    };
    let file = dir.path().join("crtmpserver.toml");
    let configurations = blocks(&readme, "toml");
    assert_eq!(configurations.len(), 2);
    let commands: Vec<String> = blocks(&readme, "sh").iter().map(|b| here(b)).collect();
    assert_eq!(commands.len(), 2);
    let mut lines = commands.iter().flat_map(|block| block.lines());
    // Users and secret come first, as in the text; then each configuration is checked.
    for line in lines.by_ref().take(2) {
        run(line);
    }
    let check = lines.next().unwrap();
    for configuration in configurations {
        fs::write(&file, here(&configuration)).unwrap();
        run(check);
    }
    assert_eq!(lines.next(), None);
}

/// The tables of docs/ways-in.md pass the check.
#[cfg(feature = "publish")]
#[test]
fn the_other_ways_in_are_as_written() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("crtmpserver.toml");
    let configurations = blocks(&read("docs/ways-in.md"), "toml");
    assert!(!configurations.is_empty());
    for configuration in configurations {
        fs::write(&file, configuration).unwrap();
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_crtmpserver"));
        let done = command.arg("check").arg(&file).output().unwrap();
        assert!(done.status.success(), "{done:?}");
    }
}

#[test]
fn links_lead_somewhere() {
    let mut checked = 0;
    let mut documents = vec![
        "README.md".into(),
        "CHANGELOG.md".into(),
        "CONTRIBUTING.md".into(),
    ];
    for entry in fs::read_dir(root().join("docs")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".md") {
            documents.push(format!("docs/{name}"));
        }
    }
    for document in documents {
        let text = read(&document);
        let folder = root().join(&document).parent().unwrap().to_owned();
        for part in text.split("](").skip(1) {
            let target = part.split([')', '#']).next().unwrap();
            if !target.is_empty() && !target.starts_with("http") {
                assert!(folder.join(target).exists(), "{document}: {target}");
                checked += 1;
            }
        }
    }
    assert!(checked > 5);
}

/// The files and images that the documents name are of this version, so that they can be typed as they stand.
#[test]
fn files_are_of_this_version() {
    let version = env!("CARGO_PKG_VERSION");
    let mut checked = 0;
    for entry in fs::read_dir(root().join("docs")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if !name.ends_with(".md") {
            continue;
        }
        let text = read(&format!("docs/{name}"));
        for part in text.split("crtmpserver").skip(1) {
            let part = part.strip_prefix("-mirror").unwrap_or(part);
            let Some(told) = part.strip_prefix(['-', ':', ' ']) else {
                continue;
            };
            // A number with a dot in it; "crtmpserver 1" is the server of old.
            let number = told.trim_start_matches(|c: char| c.is_ascii_digit());
            let rest = number.strip_prefix('.').unwrap_or_default();
            if number.len() == told.len() || !rest.starts_with(|c: char| c.is_ascii_digit()) {
                continue;
            }
            let line = told.lines().next().unwrap();
            let after = line.strip_prefix(version);
            let whole = after.is_some_and(|after| {
                !after.starts_with("-alpha")
                    && !after.starts_with("-beta")
                    && !after.starts_with("-rc")
            });
            assert!(whole, "{name}: {line} is not of {version}");
            checked += 1;
        }
    }
    assert!(checked > 10, "{checked}");
}

/// One row: name, value as written, what it is for.
type Row = (String, String, String);

/// The constants of `src/limits.rs`, and the fields of `Limits` with their defaults.
fn limits() -> (Vec<Row>, Vec<Row>) {
    let source = read("src/limits.rs");
    let default_of = |field: &str| {
        let defaults = source.split("impl Default for Limits").nth(1).unwrap();
        let line = defaults
            .lines()
            .find(|l| l.trim().starts_with(&format!("{field}:")));
        let value = line.unwrap_or_else(|| panic!("no default of {field}"));
        value
            .split_once(':')
            .unwrap()
            .1
            .trim()
            .trim_end_matches(',')
            .to_owned()
    };
    let (mut fields, mut constants) = (Vec::new(), Vec::new());
    let mut comment = String::new();
    for line in source.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("///") {
            comment += text;
        } else {
            let about = std::mem::take(&mut comment).trim().to_owned();
            if let Some(rest) = line.strip_prefix("pub const ") {
                let (name, rest) = rest.split_once(':').unwrap();
                let value = rest.split_once('=').unwrap().1.trim().trim_end_matches(';');
                constants.push((name.to_owned(), plain(value), about));
            } else if let Some(rest) = line.strip_prefix("pub ")
                && let Some((name, _)) = rest.split_once(": ")
            {
                fields.push((name.to_owned(), plain(&default_of(name)), about));
            }
        }
    }
    (fields, constants)
}

/// `Duration::from_secs(10)` is `10 s`, `32 * 1024` is `32 KiB`, `0x00ff_ffff` stays as it is.
fn plain(value: &str) -> String {
    let number = |text: &str| text.trim_end_matches(')').replace('_', "");
    if let Some(n) = value.strip_prefix("Duration::from_secs(") {
        return format!("{} s", number(n));
    }
    if let Some(n) = value.strip_prefix("Duration::from_millis(") {
        return format!("{} ms", number(n));
    }
    if value == "None" {
        return "unlimited".to_owned();
    }
    if let Some(n) = value.strip_suffix(" * 1024") {
        return format!("{n} KiB");
    }
    if let Some(n) = value.strip_suffix(" << 20") {
        return format!("{n} MiB");
    }
    // 16_384 is for readers of the source; a name keeps its spelling.
    let digits = |c: char| c.is_ascii_digit() || c == '_';
    value
        .split(' ')
        .map(|word| {
            if word.chars().all(digits) {
                word.replace('_', "")
            } else {
                word.to_owned()
            }
        })
        .collect::<Vec<_>>()
        .join(" ")
}

fn table(out: &mut String, prefix: &str, rows: &[Row]) {
    *out += "| limit | value | what it bounds, and why so |\n|---|---|---|\n";
    for (name, value, about) in rows {
        // Links of the source's documentation mean nothing here.
        let about = about
            .replace("[`", "`")
            .replace("`]", "`")
            .replace('|', "\\|");
        *out += &format!("| `{prefix}{name}` | {value} | {about} |\n");
    }
}

#[test]
fn the_limits_are_those_of_the_source() {
    let (fields, constants) = limits();
    assert!(fields.len() >= 14 && constants.len() >= 40);
    for (name, value, about) in fields.iter().chain(&constants) {
        assert!(
            !about.is_empty() && !value.is_empty(),
            "{name} has no reason"
        );
    }
    let mut text = String::from(
        "# Limits

Every bound that a peer can meet. Memory and time grow only with bytes that really arrived, never with a number
that a peer wrote. This page is made from `src/limits.rs`; a test fails when they differ.

## Configurable

Keys of the table `[limits]`; the values are the defaults.

",
    );
    table(&mut text, "limits.", &fields);
    text += "\n## Fixed\n\nOnly a hostile or broken peer meets these.\n\n";
    table(&mut text, "", &constants);
    let path = root().join("docs/limits.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == text,
        "docs/limits.md is not what src/limits.rs says: run UPDATE_DOCS=1 cargo test --test documents"
    );
}

#[test]
fn the_changelog_knows_this_version() {
    let changes = read("CHANGELOG.md");
    let version = env!("CARGO_PKG_VERSION");
    assert!(changes.contains("## [Unreleased]") || changes.contains(&format!("## [{version}]")));
}

#[test]
fn values_are_written_for_people() {
    assert_eq!(plain("Duration::from_secs(10)"), "10 s");
    assert_eq!(plain("Duration::from_millis(100)"), "100 ms");
    assert_eq!(plain("32 * 1024"), "32 KiB");
    assert_eq!(plain("1 << 20"), "1 MiB");
    assert_eq!(plain("16_384"), "16384");
}

#[test]
fn the_metrics_are_those_of_the_program() {
    use crtmpserver::cluster::{Cluster, HostFigures};
    use crtmpserver::relay::{Hub, HubConfig};
    use crtmpserver::telemetry::metrics::{Metrics, Protocol};

    let cluster = Cluster::new(String::new(), false, std::time::Instant::now());
    let figures = Box::new(HostFigures(cluster));
    let remotes = Box::new(crtmpserver::remote::Figures(std::sync::Arc::default()));
    let metrics = Metrics::with(&Hub::new(HubConfig::default()), vec![figures, remotes]);
    // These are there from their first reason on.
    metrics.refused("test");
    metrics.sent_elsewhere("test");
    metrics.media_errors(Protocol::Ts, "test", 1);
    metrics.traffic(Protocol::Rtmp).closed("test");
    metrics.recordings.failed("test");
    metrics.shard(0, 0.5, std::time::Duration::ZERO);
    let page = metrics.render();
    let mut given: Vec<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .collect();
    let text = read("docs/metrics.md");
    let mut documented: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .collect();
    given.sort_unstable();
    documented.sort_unstable();
    assert_eq!(given, documented);
}

#[test]
fn the_verbs_are_those_of_the_program() {
    let text = read("docs/verbs.md");
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `"));
    let mut documented: Vec<&str> = rows
        .flat_map(|row| row.split(" | ").next().unwrap_or_default().split(", "))
        .map(|name| name.trim_matches('`'))
        .collect();
    let verbs = crtmpserver::control::verbs::VERBS;
    let mut given: Vec<&str> = verbs.iter().map(|(name, _)| *name).collect();
    given.sort_unstable();
    documented.sort_unstable();
    assert_eq!(given, documented);
}
