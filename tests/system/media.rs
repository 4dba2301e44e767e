//! Media files, their packets, and what a receiver must have got of them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::world::{World, wait_within};

/// The demo's programme: 8 s, 200 pictures, a key frame every 25, 375 audio frames.
pub(crate) fn programme() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/demo/programme.flv")
}

/// Pictures from one key frame to the next, in all files of these tests.
pub(crate) const GOP: usize = 25;

/// The hashes of one track's packets, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Track {
    /// Codec configuration: sequence header as the demuxer gives it.
    pub(crate) configuration: Option<String>,
    pub(crate) packets: Vec<String>,
    /// Decoding time of each, ms.
    pub(crate) times: Vec<i64>,
}

/// The packets of a file or of a reception: video and audio.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Packets {
    pub(crate) video: Track,
    pub(crate) audio: Track,
}

/// Arguments that make ffmpeg write one line for each packet, at once and unchanged.
pub(crate) const FRAME_HASHES: [&str; 14] = [
    "-map",
    "0:v?",
    "-map",
    "0:a?",
    "-c",
    "copy",
    "-copyts",
    "-flush_packets",
    "1",
    "-f",
    "framehash",
    "-hash",
    "md5",
    "-y",
];

impl Packets {
    /// Reads what ffmpeg's `framehash` wrote.
    pub(crate) fn parse(text: &str) -> Self {
        let mut packets = Self::default();
        let mut kinds = Vec::new();
        let mut bases = Vec::new();
        for line in text.lines() {
            let line = line.trim();
            let of = |i: usize, kinds: &[bool]| kinds.get(i).copied().unwrap_or(i == 0);
            if let Some(rest) = line.strip_prefix("#media_type ") {
                kinds.push(rest.ends_with("video"));
            } else if let Some(rest) = line.strip_prefix("#tb ") {
                let base = rest.split_once(": ").and_then(|(_, fraction)| {
                    let (num, den) = fraction.split_once('/')?;
                    Some((num.parse::<i64>().ok()?, den.parse::<i64>().ok()?))
                });
                bases.push(base.unwrap_or((1, 1000)));
            } else if let Some(rest) = line.strip_prefix("#extradata ") {
                let mut fields = rest.split([':', ',']).map(str::trim);
                let index = fields.next().and_then(|f| f.parse().ok()).unwrap_or(0);
                let hash = fields.next_back().map(str::to_owned);
                packets.track(of(index, &kinds)).configuration = hash;
            } else if !line.is_empty() && !line.starts_with('#') {
                let fields: Vec<&str> = line.split(',').map(str::trim).collect();
                let (Some(Ok(index)), Some(hash)) =
                    (fields.first().map(|f| f.parse::<usize>()), fields.get(5))
                else {
                    continue; // a line that is still being written
                };
                if hash.len() != 32 {
                    continue;
                }
                let (num, den) = bases.get(index).copied().unwrap_or((1, 1000));
                let time = fields[1].parse::<i64>().unwrap_or(-1) * 1000 * num / den;
                let track = packets.track(of(index, &kinds));
                track.packets.push((*hash).to_owned());
                track.times.push(time);
            }
        }
        packets
    }

    fn track(&mut self, video: bool) -> &mut Track {
        if video {
            &mut self.video
        } else {
            &mut self.audio
        }
    }

    /// The packets of a file.
    pub(crate) fn of_file(world: &World, ffmpeg: &str, name: &str, file: &Path) -> Self {
        let mut command = Command::new(ffmpeg);
        command
            .args(["-hide_banner", "-loglevel", "warning", "-i"])
            .arg(file)
            .args(FRAME_HASHES)
            .arg("-");
        let ended = world.run(name, &mut command, Duration::from_secs(60));
        let packets = Self::parse(&ended.out);
        assert!(
            !packets.video.packets.is_empty() || !packets.audio.packets.is_empty(),
            "no packet in {}:\n{}",
            file.display(),
            ended.err
        );
        packets
    }

    /// Panics unless these packets are a gapless part of `source` (sent in a loop): the same
    /// configuration, the video from a key frame on, at least `least` pictures, times that never go
    /// back.
    pub(crate) fn assert_part_of(&self, source: &Self, least: usize) {
        let first = self.video.assert_run(&source.video, "video");
        assert_eq!(first % GOP, 0, "the video does not begin at a key frame");
        if !source.audio.packets.is_empty() {
            self.audio.assert_run(&source.audio, "audio");
        }
        assert!(
            self.video.packets.len() >= least,
            "only {} pictures, not {least}",
            self.video.packets.len()
        );
    }
}

impl Track {
    /// The index in `source` of the first packet; every next one must be the next one there.
    pub(crate) fn assert_run(&self, source: &Self, what: &str) -> usize {
        assert_eq!(
            self.configuration, source.configuration,
            "{what}: another configuration"
        );
        let Some(first) = self.packets.first() else {
            panic!("{what}: no packet arrived");
        };
        // A sound that repeats has the same bytes at several places: the one that goes on as this does.
        let next = |begin: usize| {
            source.packets[begin..]
                .iter()
                .chain(source.packets.iter().cycle())
        };
        let same = |begin: &usize| {
            let pairs = self.packets.iter().zip(next(*begin));
            pairs.take_while(|(ours, theirs)| ours == theirs).count()
        };
        let begin = (0..source.packets.len())
            .filter(|i| source.packets[*i] == *first)
            .max_by_key(same)
            .unwrap_or_else(|| panic!("{what}: the first packet is none of the source"));
        for (i, (ours, theirs)) in self.packets.iter().zip(next(begin)).enumerate() {
            assert_eq!(
                ours, theirs,
                "{what}: packet {i} is not the one that follows in the source"
            );
        }
        self.assert_never_back(what);
        begin
    }

    pub(crate) fn assert_never_back(&self, what: &str) {
        for pair in self.times.windows(2) {
            assert!(pair[0] <= pair[1], "{what}: time went back: {pair:?}");
        }
    }
}

/// Waits until a growing `framehash` file has `least` pictures.
pub(crate) fn wait_packets(what: &str, least: usize, read: impl Fn() -> String) -> Packets {
    wait_within(
        Duration::from_secs(60),
        &format!("{what}: {least} pictures"),
        || {
            let packets = Packets::parse(&read());
            (packets.video.packets.len() >= least).then_some(packets)
        },
    )
}

/// The numbers that the pictures of the demo's programme show in their bit pattern, in order, after
/// decoding a file; `None` is a picture that shows none.
pub(crate) fn picture_numbers(world: &World, name: &str, file: &Path) -> Vec<Option<u8>> {
    const WIDTH: usize = 640;
    const HEIGHT: usize = 360;
    const SQUARE: usize = 64;
    let raw = world.path(&format!("{name}.gray"));
    let mut command = Command::new("ffmpeg");
    command
        .args(["-hide_banner", "-loglevel", "warning", "-y", "-i"])
        .arg(file)
        .args([
            "-map", "0:v", "-vsync", "0", "-pix_fmt", "gray", "-f", "rawvideo",
        ])
        .arg(&raw);
    world.run(name, &mut command, Duration::from_secs(120));
    let bytes = std::fs::read(&raw).unwrap_or_default();
    let _ = std::fs::remove_file(&raw);
    bytes
        .chunks_exact(WIDTH * HEIGHT)
        .map(|picture| {
            let white = |square: usize| {
                picture[(HEIGHT - SQUARE / 2) * WIDTH + square * SQUARE + SQUARE / 2] > 128
            };
            let ones = (1..10).filter(|&s| white(s)).count();
            let number = (1..9).fold(0u8, |n, s| n << 1 | u8::from(white(s)));
            (white(0) && ones % 2 == 1).then_some(number)
        })
        .collect()
}
