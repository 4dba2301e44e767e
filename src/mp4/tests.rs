//! Boxes read back, byte by byte where it matters. What other programs make of them is for the system
//! tests.

use bytes::Bytes;
use proptest::prelude::*;
use shiguredo_mp4::Decode;
use shiguredo_mp4::boxes::{MoofBox, MoovBox, SampleEntry};

use super::*;
use crate::wire::hex;

const AVC: &str =
    "0142c015ffe100196742c015da06c1f6ff88800080000003008000001e078b175001000468ce3c80";
const HEVC: &str = "01016000000090000000000078f000fcfdf8f800000f03200001001840010c01ffff016000000300900000030000030078959809210001002a420101016000000300900000030000030078a003c08010e596566924caf0168080000003008000000c8422000100074401c172b46240";
/// `AV1CodecConfigurationRecord` of 640x360, as libaom made it.
const AV1: &str = "81050c000a0b000000042cfffff1ffc0";

/// The top boxes of a file: kind and whole box.
fn boxes(mut bytes: &[u8]) -> Vec<([u8; 4], &[u8])> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let size = u32::from_be_bytes(bytes[..4].try_into().unwrap()) as usize;
        all.push((bytes[4..8].try_into().unwrap(), &bytes[..size]));
        bytes = &bytes[size..];
    }
    all
}

fn video() -> Entry {
    Entry::avc(&hex(AVC), Some((426, 240))).unwrap()
}

fn audio() -> Entry {
    Entry::aac(&[0x12, 0x10], 44_100, 2).unwrap()
}

#[test]
fn codecs_are_named_as_playlists_have_them() {
    let named = |entry: Entry| entry.codec().unwrap();
    assert_eq!(named(video()), "avc1.42c015");
    assert_eq!(named(audio()), "mp4a.40.2");
    let hevc = Entry::hevc(&hex(HEVC), Some((1920, 1080))).unwrap();
    assert_eq!(named(hevc), "hvc1.1.6.L120.90");
    let he_aac = Entry::aac(&hex("2b920800"), 44_100, 2).unwrap();
    assert_eq!(named(he_aac), "mp4a.40.5");
    assert_eq!(named(Entry::opus(&[]).unwrap()), "Opus");
    let opus = Entry::opus(b"OpusHead\x01\x01\x38\x01\x80\xbb\0\0\0\0\0").unwrap();
    assert_eq!(named(opus), "Opus");
    let av1 = Entry::av1(&hex(AV1)).unwrap();
    assert!(named(av1).starts_with("av01.0."));
}

#[test]
fn what_is_wrong_is_said_in_words() {
    for wrong in [
        Entry::avc(&[], None),
        Entry::avc(&hex(AVC)[..20], None),
        Entry::avc(&[2, 0, 0, 0, 0], None),
        Entry::hevc(&hex(HEVC)[..40], None),
        Entry::av1(&[0]),
        Entry::aac(&[], 44_100, 2),
        Entry::opus(b"OpusHeap\x01\x02\x38\x01\x80\xbb\0\0\0\0\0"),
        Entry::opus(b"OpusHead\x01\x06\x38\x01\x80\xbb\0\0\0\0\x01"),
    ] {
        assert!(!wrong.unwrap_err().to_string().is_empty());
    }
    assert!(init(&[]).is_err());
    let entry = audio();
    let track = Track {
        id: 1,
        timescale: 0,
        entry: &entry,
    };
    assert!(init(&[track]).is_err());
}

#[test]
fn the_initialization_segment_has_both_tracks() {
    let (video, audio) = (video(), audio());
    let tracks = [
        Track {
            id: 1,
            timescale: 1000,
            entry: &video,
        },
        Track {
            id: 2,
            timescale: 44_100,
            entry: &audio,
        },
    ];
    let bytes = init(&tracks).unwrap();
    assert_eq!(bytes, init(&tracks).unwrap(), "nothing but the arguments");
    let all = boxes(&bytes);
    assert_eq!(
        all.iter().map(|b| b.0).collect::<Vec<_>>(),
        [*b"ftyp", *b"moov"]
    );
    let (moov, _) = MoovBox::decode(all[1].1).unwrap();
    assert_eq!(moov.mvhd_box.next_track_id, 3);
    let trex: Vec<u32> = moov
        .mvex_box
        .iter()
        .flat_map(|m| &m.trex_boxes)
        .map(|t| t.track_id)
        .collect();
    assert_eq!(trex, [1, 2]);
    let read: Vec<_> = moov
        .trak_boxes
        .iter()
        .map(|t| {
            (
                t.tkhd_box.track_id,
                t.mdia_box.mdhd_box.timescale.get(),
                t.mdia_box.hdlr_box.handler_type,
            )
        })
        .collect();
    assert_eq!(read, [(1, 1000, *b"vide"), (2, 44_100, *b"soun")]);
    let entry = |at: usize| {
        &moov.trak_boxes[at]
            .mdia_box
            .minf_box
            .stbl_box
            .stsd_box
            .entries[0]
    };
    let SampleEntry::Avc1(avc) = entry(0) else {
        panic!("no AVC")
    };
    assert_eq!((avc.visual.width, avc.visual.height), (426, 240));
    assert_eq!(
        avc.avcc_box.sps_list,
        [hex("6742c015da06c1f6ff88800080000003008000001e078b1750")]
    );
    assert!(matches!(entry(1), SampleEntry::Mp4a(_)));
}

fn sample(duration: u32, composition: i32, key: bool, data: &'static [u8]) -> Sample {
    Sample {
        duration,
        composition,
        key,
        data: Bytes::from_static(data),
    }
}

#[test]
fn a_segment_says_where_each_sample_is() {
    let runs = [
        Run {
            track: 1,
            begin: 1_790_000_000_000,
            samples: vec![
                sample(40, 80, true, b"key"),
                sample(40, -40, false, b"a"),
                sample(41, 0, false, b"bb"),
            ],
        },
        Run {
            track: 2,
            begin: 78_939_000_000_000,
            samples: vec![
                sample(1024, 0, true, b"12345"),
                sample(1024, 0, true, b"67"),
            ],
        },
    ];
    let bytes = fragment(7, &runs).unwrap();
    let all = boxes(&bytes);
    assert_eq!(
        all.iter().map(|b| b.0).collect::<Vec<_>>(),
        [*b"moof", *b"mdat"]
    );
    assert_eq!(&all[1].1[8..], b"keyabb1234567");
    let (moof, _) = MoofBox::decode(all[0].1).unwrap();
    assert_eq!(moof.mfhd_box.sequence_number, 7);
    for (traf, run) in moof.traf_boxes.iter().zip(&runs) {
        assert_eq!(traf.tfhd_box.track_id, run.track);
        assert!(traf.tfhd_box.default_base_is_moof);
        assert_eq!(
            traf.tfdt_box.as_ref().unwrap().base_media_decode_time,
            run.begin
        );
        let [trun] = &traf.trun_boxes[..] else {
            panic!("one run")
        };
        let mut at = usize::try_from(trun.data_offset.unwrap()).unwrap();
        for (read, sample) in trun.samples.iter().zip(&run.samples) {
            let size = read.size.unwrap() as usize;
            assert_eq!(&bytes[at..at + size], &sample.data[..]);
            at += size;
            let duration = read.duration.or(traf.tfhd_box.default_sample_duration);
            assert_eq!(duration, Some(sample.duration));
            assert_eq!(
                read.composition_time_offset.unwrap_or(0),
                i64::from(sample.composition)
            );
            let flags = read.flags.or(traf.tfhd_box.default_sample_flags).unwrap();
            assert_eq!(flags.sample_is_non_sync_sample(), !sample.key);
        }
    }
}

proptest! {
    /// Whatever a peer calls a configuration: words or an entry, never a panic.
    #[test]
    fn any_configuration_may_arrive(
        record in proptest::collection::vec(any::<u8>(), 0..120),
        at in any::<prop::sample::Index>(),
        change in any::<u8>(),
    ) {
        for good in [hex(AVC), hex(HEVC), hex(AV1)] {
            let mut changed = good;
            let at = at.index(changed.len());
            changed[at] = change;
            for record in [&record, &changed, &changed[..at].to_vec()] {
                for entry in [
                    Entry::avc(record, Some((70_000, 1))),
                    Entry::hevc(record, None),
                    Entry::av1(record),
                    Entry::aac(record, 96_000, 8),
                    Entry::opus(record),
                ].into_iter().flatten() {
                    let track = Track { id: 1, timescale: 1000, entry: &entry };
                    let _ = init(&[track]);
                    let _ = entry.codec();
                }
            }
        }
    }
}
