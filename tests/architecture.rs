//! Keeps the arrows between the layers: reads `src/**/*.rs` and fails when a module uses what its
//! layer may not, when a file grows past 600 lines, or when it does not begin with its purpose.
//!
//! Code under `#[cfg(test)]` may use anything, but counts for the length of its file.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic outside its test functions too"
)]

#[path = "architecture/layers.rs"]
mod layers;
#[path = "architecture/source.rs"]
mod source;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use layers::ARROWS;
use source::{arrows, flatten_std, has, tokens, without_tests};

/// Longest source file, lines, tests included.
const MAX_LINES: usize = 600;

/// The layers without I/O, clock, log or chance.
const PURE: &[&str] = &[
    "wire",
    "limits",
    "amf",
    "codec",
    "flv",
    "mp4",
    "hls",
    "index",
    "elementary",
    "ts",
    "rtsp",
    "rtmp",
    "media",
    "relay",
    "bridge",
    "lua",
    "original",
];

/// What a pure module must not name, as sequences of tokens.
const IMPURE: &[&[&str]] = &[
    &["tokio"],
    &["tracing"],
    &["hyper"],
    &["axum"],
    &["socket2"],
    &["nix"],
    &["figment"],
    &["clap"],
    &["serde"],
    &["getrandom"],
    &["TcpStream"],
    &["TcpListener"],
    &["UdpSocket"],
    &["UnixStream"],
    &["std", "::", "fs"],
    &["std", "::", "env"],
    &["std", "::", "thread"],
    &["std", "::", "process"],
    &["std", "::", "os"],
    &["Instant", "::", "now"],
    &["SystemTime"],
    &[".", "elapsed", "(", ")"],
    &["println"],
    &["eprintln"],
];

// ---- the rules ----

/// What is wrong with one file; `path` is relative to `src`.
fn check(path: &str, source: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if !source.starts_with("//!") && !is_test_file(path) {
        wrong.push(format!("{path}: does not begin with `//!`, its purpose"));
    }
    let lines = source.lines().count();
    if lines > MAX_LINES {
        wrong.push(format!("{path}: {lines} lines, more than {MAX_LINES}"));
    }
    let module = module_of(path);
    let Some(top) = module.first().cloned() else {
        return wrong; // lib.rs only declares
    };
    if is_test_file(path) {
        return wrong;
    }
    let code = flatten_std(&without_tests(&tokens(source), &mut Vec::new()));
    match ARROWS.iter().find(|(name, _)| *name == top) {
        None => wrong.push(format!(
            "{path}: `{top}` has no row in tests/architecture.rs"
        )),
        Some((_, allowed)) => {
            for used in arrows(&code, &module) {
                let known = ARROWS.iter().any(|(name, _)| *name == used);
                if known
                    && used != top
                    && used != "limits"
                    && !allowed.contains(&used.as_str())
                    && !(top == "main" && used == "cli")
                {
                    wrong.push(format!("{path}: `{top}` must not use `{used}`"));
                }
            }
        }
    }
    if PURE.contains(&top.as_str()) {
        for pattern in IMPURE {
            if has(&code, pattern) {
                let what = pattern.concat();
                wrong.push(format!("{path}: `{top}` is pure and must not use `{what}`"));
            }
        }
    }
    if top != "system" && has(&code, &["unsafe"]) {
        wrong.push(format!("{path}: `unsafe` outside `system`"));
    }
    wrong
}

/// `rtmp/chunk/mod.rs` and `rtmp/chunk.rs` are both `["rtmp", "chunk"]`; `lib.rs` is empty.
fn module_of(path: &str) -> Vec<String> {
    let stem = path.trim_end_matches(".rs");
    let stem = stem.strip_suffix("/mod").unwrap_or(stem);
    if stem == "lib" {
        return Vec::new();
    }
    stem.split('/').map(str::to_owned).collect()
}

fn is_test_file(path: &str) -> bool {
    path.trim_end_matches(".rs")
        .split('/')
        .any(|part| part == "tests")
}

fn sources(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
}

#[test]
fn the_layers_keep_their_arrows() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    files.sort();
    assert!(files.len() > 20, "the sources were not found");
    let texts: Vec<(String, String)> = files
        .iter()
        .map(|f| {
            let name = f.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(f).unwrap())
        })
        .collect();
    // Files that are declared under #[cfg(test)] elsewhere (`#[cfg(test)] mod pair;`).
    let mut test_files = BTreeSet::new();
    for (name, text) in &texts {
        let mut modules = Vec::new();
        without_tests(&tokens(text), &mut modules);
        let here = module_of(name);
        test_files.extend(
            modules
                .into_iter()
                .map(|m| here.iter().cloned().chain([m]).collect::<Vec<_>>()),
        );
    }
    let mut wrong = Vec::new();
    for (name, text) in &texts {
        let module = module_of(name);
        let of_tests = (1..=module.len()).any(|n| test_files.contains(&module[..n]));
        wrong.extend(
            check(name, text)
                .into_iter()
                .filter(|w| !of_tests || w.contains(" lines, ") || w.contains("begin with")),
        );
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn the_other_sources_are_short_and_say_what_they_are_for() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut wrong = Vec::new();
    for dir in ["tests", "fuzz", "benches", "examples"] {
        let mut files = Vec::new();
        if root.join(dir).is_dir() {
            sources(&root.join(dir), &mut files);
        }
        for file in files {
            let path = file.strip_prefix(root).unwrap().to_str().unwrap();
            if path.starts_with("fuzz/target/") || path.starts_with("tests/.cache/") {
                continue;
            }
            let text = fs::read_to_string(&file).unwrap();
            let lines = text.lines().count();
            if !text.starts_with("//!") || lines > MAX_LINES {
                wrong.push(format!("{path}: {lines} lines, or no `//!` at its head"));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

// ---- the checker itself must be able to fail ----

/// The complaints about a made-up file.
fn complaints(path: &str, body: &str) -> usize {
    check(path, &format!("//! Made up.\n{body}\n")).len()
}

#[test]
fn forbidden_arrows_are_found_in_every_spelling() {
    for body in [
        "use crate::relay::Hub;",
        "use crate::{wire::Reader, relay::{Hub, Tail}};",
        "use crate::{\n    amf,\n    relay,\n};",
        "fn f() { crate::relay::Hub::new(); }",
        "use super::super::relay::Hub;",
        "pub(crate) use crate::relay as r;",
    ] {
        assert_eq!(complaints("rtmp/server.rs", body), 1, "{body}");
    }
    assert_eq!(complaints("relay/hub.rs", "use crate::rtmp::message;"), 1);
    assert_eq!(complaints("relay/mod.rs", "use super::flv::Tag;"), 1);
    assert_eq!(complaints("http/mod.rs", "use crate::edge::Pull;"), 1);
    assert_eq!(complaints("http/mod.rs", "use crate::config::Settings;"), 1);
    assert_eq!(complaints("brand_new/mod.rs", ""), 1);
}

#[test]
fn impurity_is_found() {
    for body in [
        "use tokio::time::sleep;",
        "use std::net::TcpStream;",
        "use std::fs;",
        "use std::{fmt, fs};",
        "fn f() { std::fs::read(\"x\"); }",
        "fn f() -> Instant { Instant::now() }",
        "fn f() { std::time::SystemTime::now(); }",
        "fn f(t: Instant) { t.elapsed(); }",
        "fn f() { tracing::info!(\"x\"); }",
        "fn f() { unsafe { g() } }",
    ] {
        assert_eq!(complaints("rtmp/server.rs", body), 1, "{body}");
    }
    assert_eq!(complaints("net/mod.rs", "fn f() { unsafe { g() } }"), 1);
    assert_eq!(complaints("system/fd.rs", "fn f() { unsafe { g() } }"), 0);
}

#[test]
fn what_is_allowed_is_left_alone() {
    for body in [
        "use crate::{amf::Value, wire::{Reader, Short}};",
        "use super::message::Message;",
        "use super::super::wire::Reader;",
        "// tokio, std::fs, Instant::now and crate::relay in a comment",
        "/* crate::relay /* nested */ unsafe */",
        "const X: &str = \"tokio crate::relay unsafe\"; const Y: &str = r#\"\" crate::relay\"#;",
        "fn f<'a>(c: char, x: &'a str) -> bool { c == '\"' || c == '\\'' || x == \"tokio\" }",
        "#[cfg(test)]\nmod tests { use crate::relay::Hub; fn f() { Instant::now(); } }",
        "#[cfg(test)]\nuse crate::relay::Hub;",
        "#[test]\nfn f() { std::fs::read(\"x\"); }",
    ] {
        assert_eq!(complaints("rtmp/server.rs", body), 0, "{body}");
    }
    // What follows a test item is read again.
    let body = "#[cfg(test)]\nmod tests { fn f() {} }\nuse crate::relay::Hub;";
    assert_eq!(complaints("rtmp/server.rs", body), 1);
    let body = "#[cfg(not(test))]\nuse crate::relay::Hub;";
    assert_eq!(complaints("rtmp/server.rs", body), 1);
}

#[test]
fn long_and_nameless_files_are_found() {
    assert_eq!(check("wire.rs", "use bytes::BufMut;").len(), 1);
    let long = format!("//! Long.\n{}", "\n".repeat(MAX_LINES));
    assert_eq!(check("wire.rs", &long).len(), 1);
    let just = format!("//! Just.\n{}", "\n".repeat(MAX_LINES - 1));
    assert_eq!(check("wire.rs", &just).len(), 0);
}
