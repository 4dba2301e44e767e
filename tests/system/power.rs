//! A loss of power while streams are recorded: what the disk has to have by then is what it said it had.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::daemon::Server;
use crate::media::{Packets, programme};
use crate::programs::publish;
use crate::recording::{Dice, keys, newest, preloaded, probe};
use crate::viewer::Viewer;
use crate::world::{World, pause, wait_for};

/// What was made safe: files with their last length, folders by their names with a slash at the end.
fn safe(notes: &Path) -> HashMap<PathBuf, u64> {
    let text = fs::read_to_string(notes).unwrap();
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    lines
        .map(|(length, path)| (PathBuf::from(path), length.parse().unwrap()))
        .collect()
}

/// Takes away whatever no `fsync` has made safe. A name is as safe as its folder, and that was to be
/// told of each.
fn lose_power(folder: &Path, safe: &HashMap<PathBuf, u64>) {
    let name = format!("{}/", folder.display());
    let is_told = safe.keys().any(|path| path.as_os_str() == name.as_str());
    assert!(is_told, "names in {name} are not safe: {safe:?}");
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            lose_power(&path, safe);
            continue;
        }
        match safe.get(&path) {
            Some(length) => {
                let file = fs::File::options().write(true).open(&path).unwrap();
                assert!(file.metadata().unwrap().len() >= *length);
                file.set_len(*length).unwrap();
            }
            None => fs::remove_file(&path).unwrap(),
        }
    }
}

/// At any moment.
pub(crate) fn lost(world: &World) {
    let source = Packets::of_file(world, "ffmpeg", "source", &programme());
    let (mut dice, seed) = Dice::new();
    for round in 0..6 {
        let format = if round % 2 == 0 { "flv" } else { "mp4" };
        // Each makes its folders anew.
        let folder = world.path(&format!("recordings-{round}"));
        fs::create_dir_all(&folder).unwrap();
        let folder = folder.canonicalize().unwrap();
        let notes = world.path(&format!("notes-{round}"));
        let program = preloaded(world, "note-syncs", "SYNC_NOTES", &notes);
        let rule =
            format!("streams = [\"*\"]\nformat = {format:?}\nname = \"{{app}}/{{stream}}\"\n");
        let name = format!("server-{round}");
        let mut server = Server::launch(world, &name, &program, &keys(&folder, &rule));
        server.wait_ready();
        let name = format!("encoder-{round}");
        let _encoder = publish(world, &name, &programme(), &server.rtmp_url("live/event"));
        server.wait_live("live/event");
        let viewer = Viewer::open(world, &format!("viewer-{round}"), server.http, "live/event");
        viewer.wait_pictures(50);
        pause(dice.roll(4000));
        let sent = newest(viewer.tags());
        server.process.kill();
        let what = format!("seed {seed}, round {round}");
        lose_power(&folder, &safe(&notes));
        let file = folder.join(format!("live/event.{format}"));
        assert!(file.exists(), "{what}: nothing of it was safe");

        let server = Server::start(world, &format!("again-{round}"), &keys(&folder, ""));
        wait_for("it is mended", || {
            let said = server.process.said();
            said.contains("recording-mended").then_some(())
        });
        let times = probe(world, &format!("probed-{round}"), &file);
        let whole = i64::from(sent.saturating_sub(1000) / 1000);
        let last = times.last().unwrap();
        assert!(
            last + 40 >= whole * 1000,
            "{what}: {last} ms is the last of {sent} ms"
        );
        assert!(times[0] < 100, "{what}: it begins at {} ms", times[0]);
        let gap = times.windows(2).find(|w| w[1] - w[0] > 50);
        assert!(gap.is_none(), "{what}: {gap:?} ms");
        let packets = Packets::of_file(world, "ffmpeg", &format!("mended-{round}"), &file);
        packets.assert_part_of(&source, 25);
        assert_eq!(packets.video.packets[0], source.video.packets[0], "{what}");
        let found = format!("{what} ({format}): {last} ms of {sent} ms\n");
        world.write(&format!("found-{round}"), &found);
    }
}
