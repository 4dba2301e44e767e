//! Tags made by hand after the specification, every cut of them, and random ones.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::limits::{MAX_MODEX, MAX_TRACKS};
use crate::media::Slot::{self, *};
use crate::wire::hex;

const HEADER: fn(Slot) -> Role = Role::Header;

fn facts(role: Role, codec: &[u8; 4], extended: bool) -> Facts {
    Facts {
        role,
        codec: Some(FourCc(*codec)),
        extended,
    }
}

/// `parts` one after the other.
fn cat(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// A `ModEx` prefix of `size` zero bytes of data, leading to packet type `next`.
fn mod_ex(size: usize, next: u8) -> Vec<u8> {
    let mut out = Vec::new();
    if size < 256 {
        out.push(u8::try_from(size - 1).unwrap());
    } else {
        out.push(255);
        out.extend(u16::try_from(size - 1).unwrap().to_be_bytes());
    }
    out.resize(out.len() + size, 0);
    out.push(next);
    out
}

fn plain(kind: Kind, payload: &[u8]) -> Option<Vec<u8>> {
    unwrap_plain(kind, &Bytes::copy_from_slice(payload)).map(|b| b.to_vec())
}

#[test]
fn legacy_video() {
    use Role::{Inter, Key};
    for (tag, role, codec) in [
        (
            &[0x17, 0, 0, 0, 0, 1][..],
            HEADER(VideoSequence(0)),
            b"avc1",
        ),
        (&[0x17, 1, 0, 0, 0, 9], Key, b"avc1"),
        (&[0x27, 1, 0xff, 0xff, 0xff, 9], Inter, b"avc1"),
        (&[0x17, 2, 0, 0, 0], Inter, b"avc1"),
        (&[0x17, 2], Inter, b"avc1"),
        (&[0x17, 0, 0, 0, 0], Inter, b"avc1"), // configures nothing
        (&[0x1c, 0, 0, 0, 0, 1], HEADER(VideoSequence(0)), b"hvc1"),
        (&[0x1c, 1, 0, 0, 0, 1], Key, b"hvc1"),
        (&[0x1d, 1, 0, 0, 0, 1], Key, b"av01"),
        (&[0x12, 0], Key, b"FLV1"),
        (&[0x22], Inter, b"FLV1"),
        (&[0x32], Inter, b"FLV1"),
        (&[0x14, 7], Key, b"VP6F"),
    ] {
        assert_eq!(video(tag), Ok(facts(role, codec, false)), "{tag:x?}");
        assert_eq!(plain(Kind::Video, tag).as_deref(), Some(tag));
    }
    assert_eq!(video(&[0x57, 0]), Ok(Facts::inter(None)), "a command frame");
    assert_eq!(video(&[0x28]), Ok(Facts::inter(None)), "a reserved codec");
    for short in [&[][..], &[0x17], &[0x17, 1, 0, 0], &[0x17, 0], &[0x57]] {
        assert_eq!(video(short), Err(Malformed::Short), "{short:x?}");
    }
}

#[test]
fn legacy_audio() {
    use Role::Inter;
    for (tag, role, codec) in [
        (&[0xaf, 0, 0x12, 8][..], HEADER(AudioSequence(0)), b"mp4a"),
        (&[0xaf, 1, 1, 2], Inter, b"mp4a"),
        (&[0xaf, 0], Inter, b"mp4a"), // configures nothing
        (&[0x2f, 0, 1], Inter, b".mp3"),
        (&[0xe0], Inter, b".mp3"),
        (&[0xb6, 0, 1], Inter, b"spex"),
        (&[0x72, 1], Inter, b"alaw"),
    ] {
        assert_eq!(audio(tag), Ok(facts(role, codec, false)), "{tag:x?}");
        assert_eq!(plain(Kind::Audio, tag).as_deref(), Some(tag));
    }
    assert_eq!(audio(&[]), Ok(Facts::inter(None)), "silence");
    assert_eq!(plain(Kind::Audio, &[]), Some(Vec::new()));
    assert_eq!(audio(&[0xf0]), Ok(Facts::inter(None)));
    assert_eq!(audio(&[0xaf]), Err(Malformed::Short));
}

#[test]
fn enhanced_video_of_one_track() {
    use Role::{Inter, Key};
    for (head, codec, body, role) in [
        (0x90, b"hvc1", &[1, 2][..], HEADER(VideoSequence(0))),
        (0x91, b"hvc1", &[0, 0, 0, 5], Key),
        (0xa1, b"avc1", &[0, 0, 40, 5], Inter),
        (0x91, b"av01", &[5], Key), // no composition time
        (0x93, b"hvc1", &[5], Key),
        (0xa3, b"vvc1", &[5], Inter),
        (0x92, b"hvc1", &[], Inter),
        (0x94, b"hvc1", &[2, 0, 9], HEADER(VideoColor(0))),
        (0xd4, b"hvc1", &[2, 0, 9], HEADER(VideoColor(0))), // its frame type means nothing
        (0x95, b"av01", &[7], HEADER(VideoSequence(0))),
        (0x90, b"hvc1", &[], Inter),
        (0x91, b"vp09", &[1], Key),
        (0x91, b"what", &[1], Key),
    ] {
        let tag = cat(&[&[head], codec, body]);
        assert_eq!(video(&tag), Ok(facts(role, codec, false)), "{tag:x?}");
        assert_eq!(plain(Kind::Video, &tag), Some(tag));
    }
    assert_eq!(video(&[0xd1, 0]), Ok(Facts::inter(None)), "a command frame");
    assert_eq!(video(b"\x91hvc1\0\0"), Err(Malformed::Short));
}

#[test]
fn enhanced_audio_of_one_track() {
    use Role::Inter;
    for (head, codec, body, role) in [
        (0x90, b"mp4a", &[0x12, 8][..], HEADER(AudioSequence(0))),
        (0x90, b"mp4a", &[], Inter),
        (0x90, b"Opus", &[], HEADER(AudioSequence(0))), // legal: mono or stereo
        (0x91, b"Opus", &[9], Inter),
        (0x92, b"fLaC", &[], Inter),
        (0x94, b"ac-3", &[0, 6], HEADER(AudioChannels(0))),
    ] {
        let tag = cat(&[&[head], codec, body]);
        assert_eq!(audio(&tag), Ok(facts(role, codec, false)), "{tag:x?}");
        assert_eq!(plain(Kind::Audio, &tag), Some(tag));
    }
}

#[test]
fn prefixes_are_skipped_and_stripped() {
    for size in [1, 3, 255, 256, 65_536] {
        let tag = cat(&[&[0x97], &mod_ex(size, 1), b"hvc1\0\0\0x"]);
        assert_eq!(video(&tag), Ok(facts(Role::Key, b"hvc1", true)), "{size}");
        assert_eq!(
            plain(Kind::Video, &tag).as_deref(),
            Some(&b"\x91hvc1\0\0\0x"[..])
        );
    }
    let tag = cat(&[&[0x97], &mod_ex(3, 0x10), b"mp4a\x12\x08"]);
    let expected = facts(HEADER(AudioSequence(0)), b"mp4a", true);
    assert_eq!(audio(&tag), Ok(expected), "a prefix of an unknown kind");
    assert_eq!(
        plain(Kind::Audio, &tag).as_deref(),
        Some(&b"\x90mp4a\x12\x08"[..])
    );
    let command = cat(&[&[0xd7], &mod_ex(3, 1), &[1]]);
    let got = video(&command).unwrap();
    assert_eq!((got.codec, got.extended), (None, true));
    assert_eq!(plain(Kind::Video, &command), Some(vec![0xd1, 1]));
}

#[test]
fn the_number_of_prefixes_has_a_limit() {
    for (count, good) in [(MAX_MODEX, true), (MAX_MODEX + 1, false)] {
        let mut tag = vec![0x97];
        for left in (0..count).rev() {
            tag.extend(mod_ex(3, if left == 0 { 1 } else { 7 }));
        }
        tag.extend(b"av01x");
        let expected = if good {
            Ok(facts(Role::Key, b"av01", true))
        } else {
            Err(Malformed::TooManyModEx)
        };
        assert_eq!(video(&tag), expected, "{count}");
        assert_eq!(plain(Kind::Video, &tag).is_some(), good);
    }
}

#[test]
fn one_track_of_several() {
    let tag = b"\x96\x00avc1\x00\x01\x64";
    let expected = facts(HEADER(VideoSequence(0)), b"avc1", true);
    assert_eq!(video(tag), Ok(expected));
    assert_eq!(
        plain(Kind::Video, tag).as_deref(),
        Some(&b"\x90avc1\x01\x64"[..])
    );

    let other = b"\x96\x00avc1\x07\x01\x64";
    let expected = facts(HEADER(VideoSequence(7)), b"avc1", true);
    assert_eq!(video(other), Ok(expected));
    assert_eq!(plain(Kind::Video, other), None);

    // A key frame of another track is no place to join.
    assert_eq!(
        video(b"\x96\x03avc1\x00x"),
        Ok(facts(Role::Key, b"avc1", true))
    );
    assert_eq!(
        video(b"\x96\x03avc1\x01x"),
        Ok(facts(Role::Inter, b"avc1", true))
    );

    let expected = facts(HEADER(AudioChannels(2)), b"Opus", true);
    assert_eq!(audio(b"\x95\x04Opus\x02\x01\x02"), Ok(expected));
    assert_eq!(
        plain(Kind::Audio, b"\x95\x01Opus\x00ab").as_deref(),
        Some(&b"\x91Opusab"[..])
    );
}

/// Tracks of a tag of type `ManyTracks`.
fn tracks(list: &[(u8, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (id, body) in list {
        out.push(*id);
        crate::wire::put_u24(&mut out, u32::try_from(body.len()).unwrap());
        out.extend(*body);
    }
    out
}

#[test]
fn many_tracks_in_any_order() {
    let body = tracks(&[(2, b"two"), (0, b"zero"), (1, b"")]);
    let tag = cat(&[&[0x96, 0x13], b"hvc1", &body]);
    assert_eq!(video(&tag), Ok(facts(Role::Key, b"hvc1", true)));
    assert_eq!(
        plain(Kind::Video, &tag).as_deref(),
        Some(&b"\x93hvc1zero"[..])
    );

    let body = tracks(&[(2, b"two"), (1, b"one")]);
    let tag = cat(&[&[0x95, 0x10], b"mp4a", &body]);
    let expected = facts(HEADER(AudioSequence(1)), b"mp4a", true);
    assert_eq!(audio(&tag), Ok(expected));
    assert_eq!(plain(Kind::Audio, &tag), None);
}

#[test]
fn many_codecs() {
    let tag = cat(&[
        b"\x96\x21",
        b"av01\x01\0\0\x01b",
        b"avc1\x00\0\0\x05\0\0\0aa",
    ]);
    assert_eq!(video(&tag), Ok(facts(Role::Key, b"avc1", true)));
    assert_eq!(
        plain(Kind::Video, &tag).as_deref(),
        Some(&b"\x91avc1\0\0\0aa"[..])
    );
    let prefixed = cat(&[&[0x97], &mod_ex(3, 5), &[0x21], b"Opus\x00\0\0\x01o"]);
    assert_eq!(audio(&prefixed), Ok(facts(Role::Inter, b"Opus", true)));
    assert_eq!(
        plain(Kind::Audio, &prefixed).as_deref(),
        Some(&b"\x91Opuso"[..])
    );
}

#[test]
fn the_number_of_tracks_has_a_limit() {
    let list: Vec<(u8, &[u8])> = (0u8..=255).map(|id| (id, &b"x"[..])).collect();
    for (count, good) in [(MAX_TRACKS, true), (MAX_TRACKS + 1, false)] {
        let tag = cat(&[&[0x96, 0x13], b"hvc1", &tracks(&list[..count])]);
        let expected = if good {
            Ok(facts(Role::Key, b"hvc1", true))
        } else {
            Err(Malformed::TooManyTracks)
        };
        assert_eq!(video(&tag), expected, "{count}");
    }
}

#[test]
fn broken_multitrack() {
    assert_eq!(video(b"\x96\x11hvc1"), Err(Malformed::NoTrack));
    assert_eq!(video(b"\x96\x16hvc1"), Err(Malformed::Nested));
    assert_eq!(video(b"\x96\x07hvc1"), Err(Malformed::Nested));
    assert_eq!(audio(b"\x95\x15hvc1"), Err(Malformed::Nested));
    let beyond = b"\x96\x13hvc1\x00\xff\xff\xffx";
    assert_eq!(video(beyond), Err(Malformed::Short));
    assert_eq!(plain(Kind::Video, beyond), None);
}

#[test]
fn forms_of_tomorrow_pass_but_not_to_plain_viewers() {
    let unknown = Facts {
        role: Role::Inter,
        codec: None,
        extended: true,
    };
    for tag in [&b"\x98rest"[..], b"\x9f", b"\x96\x31hvc1x"] {
        assert_eq!(video(tag), Ok(unknown), "{tag:x?}");
        assert_eq!(plain(Kind::Video, tag), None);
    }
    for tag in [&b"\x93rest"[..], b"\x96", b"\x95\xf1Opus"] {
        assert_eq!(audio(tag), Ok(unknown), "{tag:x?}");
        assert_eq!(plain(Kind::Audio, tag), None);
    }
}

/// The framing of each form, without media: no cut of it is a tag.
#[test]
fn no_cut_of_a_header_is_a_tag() {
    let many = cat(&[
        &[0x97],
        &mod_ex(3, 7),
        &mod_ex(256, 6),
        &[0x20],
        b"avc1\x00\0\0\x02ab",
    ]);
    for tag in [&many[..], b"\x91hvc1\0\0\0", b"\x96\x01avc1\x00\0\0\0"] {
        assert!(video(tag).is_ok(), "{tag:x?}");
        for end in 0..tag.len() {
            assert!(video(&tag[..end]).is_err(), "{end} {tag:x?}");
        }
    }
    let tag = cat(&[&[0x97], &mod_ex(1, 5), &[0x01], b"Opus\x00"]);
    assert!(audio(&tag).is_ok());
    for end in 1..tag.len() {
        assert_eq!(audio(&tag[..end]), Err(Malformed::Short), "{end}");
    }
}

const AVC: [(&str, &str); 3] = [
    (
        "170000000001640028ffe1001b67640028acd940780227e5c044000003000400000300c83c60c65801000668ebe3cb22c0fdf8f800",
        "avc1 profile 100 level 4.0 1920x1080",
    ),
    (
        "170000000001640015ffe1001a67640015acd941b1fe4f011000000300100000030320f162d96001000668ebe3cb22c0fdf8f800",
        "avc1 profile 100 level 2.1 426x240",
    ),
    (
        // interlaced, 4:2:2
        "1700000000017a0028ffe1001b677a0028bcd94078044fcb808800000300080000030190f8b16cb001000668fba3cb22c0fef8f800",
        "avc1 profile 122 level 4.0 1920x1080",
    ),
];

const HEVC: [(&str, &str); 2] = [
    (
        "0101600000009000000000003cf000fcfdf8f800000f03200001001840010c01ffff01600000030090000003000003003c959809210001002b42010101600000030090000003000003003ca00d880f1c9e5959a4932bc05a02000003000200000300321022000100074401c172b46240",
        "hvc1 profile 1 level 2.0 426x240",
    ),
    (
        "01016000000090000000000078f000fcfdf8f800000f03200001001840010c01ffff016000000300900000030000030078959809210001002a420101016000000300900000030000030078a003c08010e596566924caf0168080000003008000000c8422000100074401c172b46240",
        "hvc1 profile 1 level 4.0 1920x1080",
    ),
];

#[test]
fn sequence_headers_are_described() {
    let says = |kind, tag: &[u8]| describe(kind, tag).map(|d| d.to_string());
    for (tag, expected) in AVC {
        let tag = hex(tag);
        assert_eq!(says(Kind::Video, &tag).as_deref(), Some(expected));
        let enhanced = cat(&[b"\x96\x00avc1\x00", &tag[5..]]);
        assert_eq!(says(Kind::Video, &enhanced).as_deref(), Some(expected));
    }
    for (record, expected) in HEVC {
        let tag = cat(&[b"\x90hvc1", &hex(record)]);
        assert_eq!(says(Kind::Video, &tag).as_deref(), Some(expected));
    }
    assert_eq!(
        says(Kind::Audio, &hex("af00120856e500")).as_deref(),
        Some("mp4a profile 2 44100 Hz, 1 channels")
    );
    // HE-AAC: the rate that is heard is the second one.
    assert_eq!(
        says(Kind::Audio, &hex("af002b920800")).as_deref(),
        Some("mp4a profile 5 44100 Hz, 2 channels")
    );
    assert_eq!(says(Kind::Audio, &[0xaf, 1, 0x12, 8]), None, "no header");
    assert_eq!(says(Kind::Video, b"\x91hvc1\0\0\0x"), None, "no header");
}

#[test]
fn a_cut_or_changed_header_is_described_without_harm() {
    let mut all: Vec<Vec<u8>> = AVC.iter().map(|(tag, _)| hex(tag)).collect();
    all.extend(HEVC.map(|(record, _)| cat(&[b"\x90hvc1", &hex(record)])));
    for tag in all {
        for i in 0..tag.len() {
            let _ = describe(Kind::Video, &tag[..i]);
            for bit in 0..8 {
                let mut changed = tag.clone();
                changed[i] ^= 1 << bit;
                let _ = describe(Kind::Video, &changed);
            }
        }
    }
}

#[test]
fn a_parameter_set_is_read_up_to_its_limit() {
    let set = hex(AVC[0].0)[13..13 + 27].to_vec();
    for (size, good) in [
        (crate::limits::MAX_SPS, true),
        (crate::limits::MAX_SPS + 1, false),
    ] {
        let mut padded = set.clone();
        padded.resize(size + 1, 0); // one byte of NAL unit header is not counted
        assert_eq!(sps::avc(&padded).is_some(), good, "{size}");
    }
}

proptest! {
    /// Whatever arrives: no panic, and what plain viewers get is never wrapped.
    #[test]
    fn anything_may_arrive(
        head in any::<u8>(),
        second in 0u8..4,
        rest in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        for payload in [cat(&[&[head], &rest]), cat(&[&[head, second], &rest])] {
            for (kind, read) in [
                (Kind::Audio, audio as fn(&[u8]) -> Result<Facts, Malformed>),
                (Kind::Video, video),
            ] {
                let _ = describe(kind, &payload);
                let plain = plain(kind, &payload);
                if let Ok(facts) = read(&payload) {
                    if !facts.extended {
                        prop_assert_eq!(plain.as_deref(), Some(&payload[..]));
                    } else if let Some(plain) = plain {
                        let again = read(&plain).unwrap();
                        prop_assert!(!again.extended);
                        prop_assert_eq!(again.role, facts.role);
                        prop_assert_eq!(again.codec, facts.codec);
                    }
                }
            }
        }
    }

    /// The same for tags that get past the first bytes.
    #[test]
    fn well_begun_tags(
        video_tag in any::<bool>(),
        prefixes in 0usize..4,
        form in 0u8..4,
        packet in 0u8..16,
        list in proptest::collection::vec((0u8..4, proptest::collection::vec(any::<u8>(), 0..9)), 0..5),
        cut in any::<prop::sample::Index>(),
    ) {
        let multitrack = if video_tag { 6 } else { 5 };
        let mut tag = vec![0x90 | if prefixes == 0 { multitrack } else { 7 }];
        for left in (0..prefixes).rev() {
            tag.extend(mod_ex(3, if left == 0 { multitrack } else { 7 }));
        }
        tag.push(form << 4 | packet);
        tag.extend(b"hvc1");
        for (id, body) in &list {
            tag.extend(tracks(&[(*id, body)]));
        }
        let whole = Bytes::from(tag);
        let cut = whole.slice(..cut.index(whole.len() + 1));
        let kind = if video_tag { Kind::Video } else { Kind::Audio };
        for payload in [whole, cut] {
            let read = if video_tag { video(&payload) } else { audio(&payload) };
            let plain = unwrap_plain(kind, &payload);
            if let (Err(_), Some(_)) = (read, plain) {
                prop_assert!(payload.is_empty(), "a broken tag is unwrapped");
            }
        }
    }
}
