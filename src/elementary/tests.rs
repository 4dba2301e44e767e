//! Streams made by hand, cut at every place.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::codec::{self, Body};
use crate::media::{Kind, Role, Slot};
use crate::wire::hex;

const SPS: &str = "67640028acd940780227e5c044000003000400000300c83c60c658";
const PPS: &str = "68ebe3cb22c0";

/// NAL units with start codes, alternately of four bytes and of three.
fn annex_b(nals: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    for (i, nal) in nals.iter().enumerate() {
        out.extend_from_slice(if i % 2 == 0 {
            &[0, 0, 0, 1]
        } else {
            &[0, 0, 1]
        });
        out.extend_from_slice(nal);
    }
    out
}

fn unit(video: &mut Video, nals: &[&[u8]], decoded: i64, shown: i64) -> Vec<Tag> {
    let mut out = Vec::new();
    let bytes = annex_b(nals);
    video.unit(nal_units(&bytes), (decoded, shown), |tag| out.push(tag));
    out
}

#[test]
fn start_codes_of_both_lengths_are_found_and_zeros_belong_to_nobody() {
    let bytes = hex("99000000016500000141aabb000000000001680000");
    let nals: Vec<&[u8]> = nal_units(&bytes).collect();
    assert_eq!(nals, [&hex("65")[..], &hex("41aabb"), &hex("68")]);
    assert_eq!(nal_units(&[]).count() + nal_units(&[0, 0, 1]).count(), 0);
    assert_eq!(nal_units(b"no start code at all").count(), 0);
}

#[test]
fn an_h264_stream_becomes_tags() {
    let (sps, pps) = (hex(SPS), hex(PPS));
    let mut video = Video::new(Coding::Avc);
    let early = unit(&mut video, &[&[0x41, 1, 2]], 0, 0);
    assert!(early.is_empty(), "nobody could decode it");
    assert_eq!(video.counted.early, 1);
    let tags = unit(
        &mut video,
        &[
            &[9, 0xf0],
            &sps,
            &pps,
            &[6, 5, 1, 0, 0x80],
            &[0x65, 7, 8],
            &[12, 255],
        ],
        90_000,
        90_000 + 80 * 90,
    );
    assert_eq!(tags.len(), 2, "a header and a frame");
    assert_eq!(
        codec::video(&tags[0].payload).unwrap().role,
        Role::Header(Slot::VideoSequence(0))
    );
    assert_eq!(tags[1].timestamp, 1000);
    let frame = "1701000050000000050605010080000000036507 08".replace(' ', "");
    assert_eq!(tags[1].payload, hex(&frame));
    assert_eq!(codec::video(&tags[1].payload).unwrap().role, Role::Key);
    // The same sets again are no news; others are.
    let tags = unit(&mut video, &[&sps, &pps, &[0x65, 9]], 93_600, 93_600);
    assert_eq!(tags.len(), 1);
    let other = [&pps[..], &[1]].concat();
    let tags = unit(&mut video, &[&other, &[0x65, 9]], 97_200, 97_200);
    assert_eq!(tags.len(), 1, "so soon it costs more than it is worth");
    let tags = unit(&mut video, &[&[0x65; 100]], 97_200, 97_200);
    assert_eq!(tags.len(), 2);
    let tags = unit(&mut video, &[&[0x41, 3]], 100_800, 97_200);
    assert_eq!(
        &tags[0].payload[..5],
        hex("2701ffffd8"),
        "shown 40 ms earlier"
    );
    // An encoder without other key frames says so in its own way.
    let tags = unit(
        &mut video,
        &[&sps, &[6, 6, 1, 0xc4, 0x80], &[0x41, 3]],
        0,
        0,
    );
    assert_eq!(codec::video(&tags[0].payload).unwrap().role, Role::Key);
    assert!(unit(&mut video, &[&[9, 0xf0]], 0, 0).is_empty());
    assert_eq!(video.counted.malformed, 1);
}

#[test]
fn an_h265_stream_becomes_enhanced_tags() {
    let sets: Vec<Vec<u8>> = [
        "40010c01ffff016000000300900000030000030078959809",
        "420101016000000300900000030000030078a003c08010e596566924caf0168080000003008000000c84",
        "4401c172b46240",
    ]
    .iter()
    .map(|set| hex(set))
    .collect();
    let mut video = Video::new(Coding::Hevc);
    for set in &sets {
        video.set(set);
    }
    let tags = unit(&mut video, &[&[0x26, 1, 5]], 0, 180);
    assert_eq!(tags.len(), 2);
    let configuration = codec::body(Kind::Video, &tags[0].payload).unwrap();
    assert!(matches!(configuration, Body::Configuration(codec, _) if &codec.0 == b"hvc1"));
    assert_eq!(
        codec::body(Kind::Video, &tags[1].payload).unwrap(),
        Body::Media {
            codec: crate::media::FourCc(*b"hvc1"),
            data: Bytes::from(hex("00000003260105")),
            composition: 2,
        }
    );
}

/// A frame of AAC-LC, 44100 Hz, stereo.
fn adts(data: &[u8]) -> Vec<u8> {
    let size = u16::try_from(data.len() + 7).unwrap();
    let [high, low] = (size << 5).to_be_bytes();
    let mut out = vec![
        0xff,
        0xf1,
        0x50,
        0x80 | u8::try_from(size >> 11).unwrap(),
        high,
        low | 0x1f,
        0xfc,
    ];
    out.extend_from_slice(data);
    out
}

#[test]
fn aac_in_adts_may_lie_across_packets() {
    let frames: Vec<Vec<u8>> = (1..5u8)
        .map(|n| adts(&vec![n; usize::from(n) * 20]))
        .collect();
    let all = frames.concat();
    for cut in 0..=all.len() {
        let mut machine = Adts::default();
        let mut tags = Vec::new();
        let (head, tail) = all.split_at(cut);
        machine.packet(head, Some(90_000), |tag| tags.push(tag));
        machine.packet(tail, None, |tag| tags.push(tag));
        assert_eq!(&tags[0].payload[..], hex("af001210"), "{cut}");
        let data: Vec<Vec<u8>> = tags[1..].iter().map(|t| t.payload[2..].to_vec()).collect();
        let expected: Vec<Vec<u8>> = frames.iter().map(|f| f[7..].to_vec()).collect();
        assert_eq!(data, expected, "{cut}");
        let times: Vec<u32> = tags[1..].iter().map(|t| t.timestamp).collect();
        assert_eq!(times, [1000, 1023, 1046, 1069], "{cut}");
        assert_eq!(machine.counted, Counted::default());
    }
}

#[test]
fn a_time_is_that_of_the_frame_that_begins_behind_it() {
    let mut machine = Adts::default();
    let mut tags = Vec::new();
    let (one, two) = (adts(&[1; 50]), adts(&[2; 50]));
    machine.packet(&one[..30], Some(0), |tag| tags.push(tag));
    machine.packet(&[&one[30..], &two[..]].concat(), Some(900_000), |tag| {
        tags.push(tag);
    });
    let times: Vec<u32> = tags[1..].iter().map(|t| t.timestamp).collect();
    assert_eq!(times, [0, 10_000]);
    // Rubbish is one mistake, and what follows it is found.
    machine.packet(
        &[&[1, 2, 3, 0xff, 4][..], &two].concat(),
        Some(1_800_000),
        |tag| {
            tags.push(tag);
        },
    );
    assert_eq!(tags.last().unwrap().timestamp, 20_000);
    assert_eq!(machine.counted.malformed, 1);
}

/// MPEG-1 layer III, 128 kbit/s, 44100 Hz, stereo: 417 bytes.
fn mp3(fill: u8) -> Vec<u8> {
    let mut frame = vec![0xff, 0xfb, 0x90, 0x00];
    frame.resize(417, fill);
    frame
}

#[test]
fn mp3_frames_are_split() {
    let all = [mp3(1), mp3(2), mp3(3)].concat();
    for cut in [0, 1, 3, 4, 300, 417, 418, 900] {
        let mut machine = Mp3::default();
        let mut tags = Vec::new();
        let (head, tail) = all.split_at(cut);
        machine.packet(head, Some(0), |tag| tags.push(tag));
        machine.packet(tail, None, |tag| tags.push(tag));
        assert_eq!(tags.len(), 3, "{cut}");
        assert_eq!(tags[2].payload[0], 0x2f);
        assert_eq!(tags[2].payload[1..], mp3(3));
        assert_eq!([tags[1].timestamp, tags[2].timestamp], [26, 52]);
    }
    let mut machine = Mp3::default();
    machine.packet(&[0xff, 0xfd, 0x90, 0, 0, 0], Some(0), |_| {
        panic!("it is layer II")
    });
    assert_eq!(machine.counted.unsupported, 1);
}

#[test]
fn times_wrap_as_those_of_flv() {
    assert_eq!(flv_time(0), 0);
    assert_eq!(flv_time((1 << 32) * 90 + 90), 1);
    assert_eq!(flv_time(-90), u32::MAX);
}

#[test]
fn opus_has_its_header() {
    let mut tags = Vec::new();
    opus_header(2, 0, |tag| tags.push(tag));
    opus(&[0xfc, 1, 2], 90, |tag| tags.push(tag));
    assert!(tags[0].payload.starts_with(b"\x90OpusOpusHead\x01\x02"));
    assert_eq!(
        codec::audio(&tags[0].payload).unwrap().role,
        Role::Header(Slot::AudioSequence(0))
    );
    assert_eq!(&tags[1].payload[..], b"\x91Opus\xfc\x01\x02");
}

proptest! {
    #[test]
    fn anything_is_taken(bytes in prop::collection::vec(any::<u8>(), 0..3000), cut in 0..3000usize) {
        let cut = cut.min(bytes.len());
        let (head, tail) = bytes.split_at(cut);
        for coding in [Coding::Avc, Coding::Hevc] {
            let mut video = Video::new(coding);
            let mut size = 0;
            for part in [head, tail] {
                video.unit(nal_units(part), (0, 0), |tag| size += tag.payload.len());
            }
            prop_assert!(size <= 2 * bytes.len() + 200 + 8 * bytes.len());
        }
        let mut adts = Adts::default();
        let mut mp3 = Mp3::default();
        for part in [head, tail] {
            adts.packet(part, Some(5), |_| ());
            mp3.packet(part, None, |_| ());
        }
    }
}
