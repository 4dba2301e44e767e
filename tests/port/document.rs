//! What docs/freebsd.md says of the port, where it can be held to it.

use crate::{port, read, root};

pub(crate) fn it_says_which_tests_are_left_out() {
    let text = read(&root().join("docs/freebsd.md"));
    let script = read(&port("cross-build"));
    let line = |line: &&str| line.ends_with(") ;;") && line.contains("service |");
    let left_out = script.lines().find(line).unwrap().trim();
    let names: Vec<&str> = left_out.trim_end_matches(") ;;").split(" | ").collect();
    assert!(names.len() > 3, "{left_out}");
    for name in &names {
        assert!(root().join("tests").join(name).is_dir(), "{name}");
        assert!(text.contains(&format!("`tests/{name}`")), "{name}");
    }
}

pub(crate) fn it_says_where_things_are() {
    let text = read(&root().join("docs/freebsd.md"));
    let system = read(&root().join("src/system/freebsd.rs"));
    let constants = system.lines().filter(|l| l.starts_with("pub const "));
    let paths: Vec<&str> = constants
        .filter_map(|line| line.split('"').nth(1))
        .filter(|value| value.starts_with('/'))
        .collect();
    assert_eq!(paths.len(), 4, "{paths:?}");
    for path in paths {
        assert!(text.contains(&format!("| `{path}")), "{path}");
    }
}
