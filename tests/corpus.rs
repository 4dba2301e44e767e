//! Replays the fuzzer's committed corpus through the targets' bodies on every run, without the fuzzer.
#![expect(
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "the bodies of the fuzz targets are tests, and public for the fuzzer"
)]

#[path = "../fuzz/targets/mod.rs"]
mod targets;

use std::fs;
use std::path::Path;

#[test]
fn the_corpus_holds() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let mut replayed = 0;
    for (name, _) in targets::TARGETS {
        let files: Vec<_> = fs::read_dir(corpus.join(name))
            .unwrap_or_else(|e| panic!("no corpus for {name}: {e}"))
            .map(|entry| entry.unwrap().path())
            .collect();
        assert!(files.len() >= 3, "hardly a corpus for {name}");
        for file in files {
            let data = fs::read(&file).unwrap();
            let quiet = std::panic::AssertUnwindSafe(|| targets::run(name, &data));
            if std::panic::catch_unwind(quiet).is_err() {
                panic!("{name} fails with {}", file.display());
            }
            replayed += 1;
        }
    }
    assert!(replayed > 50, "only {replayed} inputs");
}

/// Inputs that are no corpus: nothing, and every length of zeros and ones up to a few.
#[test]
fn plain_inputs_hold() {
    for (name, _) in targets::TARGETS {
        for length in 0..64 {
            targets::run(name, &vec![0; length]);
            targets::run(name, &vec![0xff; length]);
        }
    }
}

#[test]
fn each_target_has_its_program() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/fuzz_targets");
    let mut programs: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    let mut targets: Vec<&str> = targets::TARGETS.iter().map(|(name, _)| *name).collect();
    // The program without publishing has none of it.
    programs.retain(|program| cfg!(feature = "publish") || program != "lua");
    programs.sort();
    targets.sort_unstable();
    assert_eq!(programs, targets);
}
