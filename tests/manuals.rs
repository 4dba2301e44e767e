//! The manual pages tell all that the program knows: every option and command of `--help`, every key of
//! the configuration; and they are sound.
//!
//! `UPDATE_DOCS=1 cargo test --test manuals` writes the keys of crtmpserver.toml(5) anew.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may panic outside its test functions too"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

const PAGES: [&str; 3] = ["crtmpserver.8", "crtmpserver-ctl.1", "crtmpserver.toml.5"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn page(name: &str) -> String {
    let path = root().join("man").join(name);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// A page as its source says it, without the marks: `Fl -role` is `--role`.
fn options_of(page: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut words = page.split_whitespace().peekable();
    while let Some(word) = words.next() {
        if (word == "Fl" || word == ".Fl")
            && let Some(option) = words.peek()
        {
            found.insert(format!("-{option}"));
        }
    }
    found
}

/// The words marked as commands.
fn commands_of(page: &str) -> BTreeSet<&str> {
    let words: Vec<&str> = page.split_whitespace().collect();
    let is_mark = |word: &&str| matches!(*word, "Cm" | ".Cm");
    let pairs = words.windows(2);
    pairs
        .filter_map(|pair| match pair {
            [mark, word] if is_mark(mark) => Some(*word),
            _ => None,
        })
        .collect()
}

/// Every option, and every path of commands, below a command; those of `help` are the program's own.
fn walk(command: &clap::Command, options: &mut BTreeSet<String>, names: &mut BTreeSet<String>) {
    for argument in command.get_arguments().filter(|a| !a.is_hide_set()) {
        options.extend(argument.get_long().map(|long| format!("--{long}")));
        options.extend(argument.get_short().map(|short| format!("-{short}")));
    }
    for below in command.get_subcommands().filter(|c| !c.is_hide_set()) {
        names.insert(below.get_name().to_owned());
        walk(below, options, names);
    }
}

/// What a test says that finds something missing.
fn missing<'a>(wanted: impl Iterator<Item = &'a String>, there: impl Fn(&str) -> bool) -> String {
    let missing: Vec<&str> = wanted.map(String::as_str).filter(|w| !there(w)).collect();
    missing.join(" ")
}

#[test]
fn every_option_and_command_has_its_place() {
    let (eighth, first) = (page("crtmpserver.8"), page("crtmpserver-ctl.1"));
    for below in crtmpserver::cli::command().get_subcommands() {
        let (mut options, mut names) = (BTreeSet::new(), BTreeSet::new());
        walk(below, &mut options, &mut names);
        // What asks a running server has a page of its own.
        let page = match below.get_name() {
            "ctl" | "status" => &first,
            _ => &eighth,
        };
        let there = options_of(page);
        let lost = missing(options.iter(), |o| there.contains(o));
        assert_eq!(lost, "", "of {}", below.get_name());
        let there = commands_of(page);
        let lost = missing(names.iter(), |n| there.contains(n));
        assert_eq!(lost, "", "of {}", below.get_name());
        assert!(commands_of(&eighth).contains(below.get_name()));
    }
    let there = options_of(&eighth);
    let command = crtmpserver::cli::command();
    for argument in command.get_arguments() {
        if let Some(long) = argument.get_long() {
            assert!(there.contains(&format!("--{long}")), "--{long}");
        }
    }
}

/// Nothing that is told is gone.
#[cfg(feature = "publish")]
#[test]
fn no_page_tells_of_options_that_are_not_there() {
    let (mut options, mut names) = (BTreeSet::new(), BTreeSet::new());
    walk(&crtmpserver::cli::command(), &mut options, &mut names);
    options.extend(["-h", "--help", "-V", "--version"].map(String::from));
    for name in ["crtmpserver.8", "crtmpserver-ctl.1"] {
        let told = options_of(&page(name));
        assert_eq!(missing(told.iter(), |o| options.contains(o)), "", "{name}");
    }
}

/// A cell of the table in mdoc: code is bold, of a link there is the name of the document.
fn cell(text: &str) -> String {
    let mut out = String::new();
    let mut pieces = text.split('[');
    let first = pieces.next().unwrap().to_owned();
    let text = pieces.map(link).fold(first, |all, piece| all + &piece);
    for (n, part) in text.replace('\\', "\\e").split('`').enumerate() {
        match n % 2 {
            0 => out += part,
            _ => out += &format!("\\fB{}\\fR", part.replace('"', "\\(dq").replace('-', "\\-")),
        }
    }
    // A line that begins with one of these would be a macro.
    if out.starts_with(['.', '\'']) {
        out.insert_str(0, "\\&");
    }
    out
}

/// What was behind a `[`.
fn link(text: &str) -> String {
    let parts = text.split_once("](").map(|(_, rest)| rest.split_once(')'));
    match parts.flatten() {
        Some((target, rest)) => {
            let document = target.split('#').next().unwrap();
            format!("see {document}{rest}")
        }
        None => format!("[{text}"),
    }
}

/// The keys of docs/configuration.md as mdoc.
fn keys() -> String {
    let text = fs::read_to_string(root().join("docs/configuration.md")).unwrap();
    let table = text.split("## Keys").nth(1).unwrap();
    let mut out = String::new();
    for line in table.lines().skip_while(|l| !l.starts_with("| `")) {
        let Some(row) = line.strip_prefix("| `") else {
            break;
        };
        let row = row.strip_suffix(" |").unwrap();
        let (row, reload) = row.rsplit_once(" | ").unwrap();
        let mut cells = row.splitn(3, " | ");
        let mut next = || cells.next().unwrap().trim();
        let (key, default, meaning) = (next().trim_end_matches('`'), next(), next());
        out += &format!(".It Cm {key}\n{}\n", cell(meaning));
        let default = match default {
            "none" => String::new(),
            default => format!("default {}; ", cell(default)),
        };
        out += &format!("({default}a reload: {})\n", cell(reload));
    }
    out
}

#[test]
fn every_key_has_its_place() {
    let path = root().join("man/crtmpserver.toml.5");
    let text = page("crtmpserver.toml.5");
    let (begin, end) = (
        text.find(".\\\" The keys of").unwrap(),
        text.find(".\\\" end of the keys").unwrap(),
    );
    let begin = begin + text[begin..].find('\n').unwrap() + 1;
    let keys = keys();
    assert!(keys.matches(".It Cm").count() > 30);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, format!("{}{keys}{}", &text[..begin], &text[end..])).unwrap();
    } else {
        assert_eq!(
            text[begin..end],
            keys,
            "UPDATE_DOCS=1 cargo test --test manuals writes them"
        );
    }
}

/// By mandoc, where it is installed.
#[test]
fn the_pages_are_sound() {
    for name in PAGES {
        let mut command = Command::new("mandoc");
        let linted = command
            .args(["-T", "lint", "-W", "warning"])
            .arg(root().join("man").join(name));
        if let Ok(done) = linted.output() {
            let said = String::from_utf8_lossy(&done.stdout);
            assert!(done.status.success(), "{name}: {said}");
        }
    }
}

/// What the manual shows of the configuration is right.
#[cfg(feature = "publish")]
#[test]
fn the_examples_pass_the_check() {
    let dir = tempfile::tempdir().unwrap();
    let etc = dir.path().to_str().unwrap();
    fs::write(dir.path().join("users"), "").unwrap();
    fs::write(
        dir.path().join("secret"),
        "0123456789abcdef0123456789abcdef",
    )
    .unwrap();
    let text = page("crtmpserver.toml.5");
    let mut examples = 0;
    for part in text.split("\n.Bd -literal -offset indent\n").skip(1) {
        let block = part.split("\n.Ed").next().unwrap();
        let file = dir.path().join("example.toml");
        fs::write(&file, block.replace("/etc/crtmpserver", etc)).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_crtmpserver"));
        let done = command.arg("check").arg(&file).output().unwrap();
        assert!(done.status.success(), "{block}\n{done:?}");
        examples += 1;
    }
    assert_eq!(examples, 2);
}

/// The completions know every command; bash and fish find them sound, where they are installed.
#[test]
fn completions_are_sound() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = crtmpserver::cli::command();
    for (shell, program, arguments) in [
        (clap_complete::Shell::Bash, "bash", &["-n"][..]),
        (clap_complete::Shell::Zsh, "zsh", &["-n"]),
        (clap_complete::Shell::Fish, "fish", &["--no-execute"]),
    ] {
        let path =
            clap_complete::generate_to(shell, &mut command, "crtmpserver", dir.path()).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        for below in crtmpserver::cli::command().get_subcommands() {
            assert!(
                text.contains(below.get_name()),
                "{shell}: {}",
                below.get_name()
            );
        }
        if let Ok(done) = Command::new(program).args(arguments).arg(&path).output() {
            assert!(done.status.success(), "{program}: {done:?}");
        }
    }
}
