//! The port to FreeBSD, as far as it can be seen on Linux: its Makefile under a stand-in for the framework,
//! its list of crates, what it installs, its rc.d script at work. What a missing program would be needed
//! for is skipped.
//!
//! `UPDATE_PORT=1 cargo test --test port` writes `Makefile.crates` and `distinfo` of `Cargo.lock`.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may panic outside its test functions too"
)]

mod asked;
mod crates;
mod document;
mod makefile;
mod script;

use std::path::PathBuf;
use std::process::{Command, Stdio};

use libtest_mimic::{Arguments, Completion, Trial};

type Test = (&'static str, &'static str, fn());

/// Name, the program that it needs, and the test.
const TESTS: &[Test] = &[
    (
        "asked::what_is_wrong_is_said_before_anything_is_made",
        "dpkg",
        asked::what_is_wrong_is_said_before_anything_is_made,
    ),
    (
        "crates::the_list_is_that_of_cargo_lock",
        "sh",
        crates::the_list_is_that_of_cargo_lock,
    ),
    (
        "makefile::it_says_what_the_framework_wants",
        "bmake",
        makefile::it_says_what_the_framework_wants,
    ),
    (
        "makefile::what_is_wrong_is_seen",
        "bmake",
        makefile::what_is_wrong_is_seen,
    ),
    (
        "makefile::the_list_of_files_is_what_is_installed",
        "bmake",
        makefile::the_list_of_files_is_what_is_installed,
    ),
    (
        "script::it_starts_tells_reloads_and_stops",
        "bash",
        script::it_starts_tells_reloads_and_stops,
    ),
    (
        "script::it_refuses_what_cannot_run",
        "bash",
        script::it_refuses_what_cannot_run,
    ),
    (
        "document::it_says_which_tests_are_left_out",
        "sh",
        document::it_says_which_tests_are_left_out,
    ),
    (
        "document::it_says_where_things_are",
        "sh",
        document::it_says_where_things_are,
    ),
    ("script::it_is_sound", "shellcheck", script::it_is_sound),
];

fn main() {
    let tests = TESTS.iter().map(|&(name, needed, test)| {
        Trial::ignorable_test(name, move || {
            let there = Command::new("sh")
                .args(["-c", "command -v \"$1\"", "sh", needed])
                .stdout(Stdio::null())
                .status();
            if !there.is_ok_and(|status| status.success()) {
                return Ok(Completion::ignored_with(format!("needs {needed}")));
            }
            test();
            Ok(Completion::Completed)
        })
    });
    libtest_mimic::run(&Arguments::from_args(), tests.collect()).exit();
}

/// The project.
fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A file of the port.
fn port(name: &str) -> PathBuf {
    root().join("packaging/freebsd").join(name)
}

fn read(path: &PathBuf) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Runs a program that must succeed, and gives what it says.
fn run(command: &mut Command) -> String {
    let done = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&done.stdout), text(&done.stderr));
    assert!(done.status.success(), "{command:?}: {out}{err}");
    out
}
