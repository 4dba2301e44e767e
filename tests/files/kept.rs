//! Indexes that are kept over a restart (`files.cache_dir`).

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use super::*;

/// The entries of the folder: where they are, and which file and when that is.
fn kept(daemon: &Daemon) -> Vec<(PathBuf, u64, i64)> {
    let entries = fs::read_dir(daemon.dir.path().join("kept")).unwrap();
    let mut all: Vec<_> = entries
        .map(|entry| {
            let path = entry.unwrap().path();
            let facts = fs::metadata(&path).unwrap();
            (path, facts.ino(), facts.mtime_nsec())
        })
        .collect();
    all.sort();
    all
}

/// All that a play of the film gives.
fn played(daemon: &Daemon) -> Vec<(u8, u32, Bytes)> {
    let mut player = Player::new(daemon);
    player.holds(3_600_000);
    player.play(vec!["film".into()]);
    player.until(code::PLAY_STOP);
    player.received()
}

/// The programme to this time.
fn shortened(until: u32) -> Vec<u8> {
    let mut reader = flv::Reader::new(flv::ReaderLimits::default());
    let mut rest = PROGRAMME;
    while let Some(tag) = reader.feed(&mut rest).unwrap() {
        if tag.timestamp >= until {
            // The tag, its head and the size behind it.
            let end = PROGRAMME.len() - rest.len() - tag.payload.len() - 15;
            return PROGRAMME[..end].to_vec();
        }
    }
    panic!("it is no longer than {until} ms")
}

#[test]
fn indexes_are_kept_over_a_restart_for_as_long_as_they_are_true() {
    let mut daemon = Daemon::start("cache_dir = \"kept\"\n");
    fs::create_dir(daemon.dir.path().join("kept")).unwrap();
    let all = tags();
    assert!(played(&daemon) == all);
    let first = kept(&daemon);
    assert_eq!(first.len(), 1, "{first:?}");
    // Had it not been used, another file would be in its place now.
    daemon.restart();
    assert!(played(&daemon) == all);
    assert_eq!(kept(&daemon), first);

    let mut damaged = fs::read(&first[0].0).unwrap();
    let whole = damaged.clone();
    damaged[whole.len() / 2] ^= 1;
    fs::write(&first[0].0, damaged).unwrap();
    daemon.restart();
    assert!(played(&daemon) == all, "the film is read anew");
    assert_eq!(fs::read(&first[0].0).unwrap(), whole);
    let log = fs::read_to_string(daemon.dir.path().join("log")).unwrap();
    assert!(log.contains("index-broken"), "{log}");

    // Another film of the name, also to a server that has the old one's index in memory.
    for (until, restart) in [(4000, false), (6000, true)] {
        fs::write(daemon.dir.path().join("film.flv"), shortened(until)).unwrap();
        if restart {
            daemon.restart();
        }
        let end = all.iter().position(|(_, time, _)| *time >= until).unwrap();
        assert!(played(&daemon) == all[..end], "to {until} ms");
    }
    assert_eq!(kept(&daemon).len(), 3, "one for each that was played");
}
