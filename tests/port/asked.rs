//! What makes releases and packages refuses what it is asked for wrongly before it compiles anything.

use std::fs;
use std::process::Command;

use crate::root;

pub(crate) fn what_is_wrong_is_said_before_anything_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let full = folder.path().join("full");
    fs::create_dir(&full).unwrap();
    fs::write(full.join("file"), "").unwrap();
    let (full, file) = (full.display().to_string(), full.join("file"));
    let file = file.display().to_string();
    for (line, code, wanted) in [
        ("release --output", 64, "--output DIR"),
        ("release --architectures", 64, "amd64 arm64"),
        ("release --output FULL", 73, "is not empty"),
        ("release --output FILE", 73, "is not empty"),
        ("build-debs --version bogus_1", 64, "2.0.0~alpha.1-1"),
        ("build-debs --version 1_2", 64, "2.0.0~alpha.1-1"),
    ] {
        let mut words = line.split(' ');
        let program = words.next().unwrap();
        let done = Command::new(root().join("packaging").join(program))
            .args(words.map(|word| match word {
                "FULL" => &full,
                "FILE" => &file,
                other => other,
            }))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(code), "{line}: {said}");
        assert!(said.contains(wanted), "{line}: {said}");
    }
}
