use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;

fn segment(number: u64, discontinuity: u64) -> Arc<Segment> {
    let init = Init {
        name: Name::Init {
            epoch: discontinuity,
            hash: 0xabc,
        },
        bytes: Bytes::new(),
        codecs: vec!["avc1.42c015".into(), "mp4a.40.2".into()],
        size: Some((426, 240)),
    };
    Arc::new(Segment {
        epoch: discontinuity,
        number,
        discontinuity,
        date: 1_790_000_000_000 + number * 2000,
        duration: 2000,
        longest: 2000,
        target: 2000,
        pictures: 50,
        init: Arc::new(init),
        bytes: Bytes::from(vec![0; 1000]),
    })
}

const BOUNDS: Bounds = Bounds {
    listed: 3,
    grace: 2,
    bytes: 1_000_000,
};

#[test]
fn names_are_read_as_they_are_written_and_in_no_other_way() {
    for name in [
        Name::Segment {
            epoch: 1,
            number: 0,
        },
        Name::Segment {
            epoch: u64::MAX,
            number: u64::MAX,
        },
        Name::Init { epoch: 7, hash: 9 },
    ] {
        assert_eq!(Name::parse(&name.to_string()), Some(name));
    }
    for other in [
        "",
        "1-1.m4s",
        "0000000000000001-01.m4s",
        "0000000000000001-+1.m4s",
        "000000000000000A-1.m4s",
        "0000000000000001-1.mp4",
        "0000000000000001-i1.mp4",
        "0000000000000001-1.m4s.m4s",
    ] {
        assert_eq!(Name::parse(other), None, "{other}");
    }
}

#[test]
fn paths_name_files() {
    let name = Name::Segment {
        epoch: 1,
        number: 2,
    };
    let segment = "0000000000000001-2.m4s";
    for (path, expected) in [
        ("live/event.m3u8", Some(("live/event", File::Multivariant))),
        ("live/a/b.m3u8", Some(("live/a/b", File::Multivariant))),
        ("live/event/media.m3u8", Some(("live/event", File::Media))),
        // A stream of that name.
        ("live/media.m3u8", Some(("live/media", File::Multivariant))),
        (
            &format!("live/event/{segment}"),
            Some(("live/event", File::Fixed(name))),
        ),
        (&format!("live/{segment}"), None),
        ("live/event", None),
        ("event.m3u8", None),
        ("", None),
    ] {
        // Whether there are an application and a stream is for the stream's name to tell.
        let found = file(path).filter(|(stream, _)| stream.contains('/'));
        assert_eq!(found, expected, "{path}");
    }
}

#[test]
fn a_media_playlist_in_full() {
    let list = [segment(7, 3), segment(8, 3), segment(9, 4)];
    assert_eq!(
        media(&list, true),
        "#EXTM3U
#EXT-X-VERSION:7
#EXT-X-TARGETDURATION:2
#EXT-X-MEDIA-SEQUENCE:7
#EXT-X-DISCONTINUITY-SEQUENCE:3
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-MAP:URI=\"0000000000000003-i0000000000000abc.mp4\"
#EXT-X-PROGRAM-DATE-TIME:2026-09-21T14:13:34.000Z
#EXTINF:2.000,
0000000000000003-7.m4s
#EXT-X-PROGRAM-DATE-TIME:2026-09-21T14:13:36.000Z
#EXTINF:2.000,
0000000000000003-8.m4s
#EXT-X-DISCONTINUITY
#EXT-X-MAP:URI=\"0000000000000004-i0000000000000abc.mp4\"
#EXT-X-PROGRAM-DATE-TIME:2026-09-21T14:13:38.000Z
#EXTINF:2.000,
0000000000000004-9.m4s
#EXT-X-ENDLIST
"
    );
    assert!(!media(&list, false).contains("ENDLIST"));
}

#[test]
fn the_target_duration_covers_the_longest_segment_of_the_stream() {
    let with = |duration, longest| {
        Arc::new(Segment {
            duration,
            longest,
            ..(*segment(1, 1)).clone()
        })
    };
    for (list, expected) in [
        (vec![with(1500, 0)], 2),
        (vec![with(2001, 2001)], 3),
        (vec![with(1500, 8334), with(2000, 8334)], 9),
        (vec![with(5000, 2000)], 5),
    ] {
        let text = media(&list, false);
        assert!(
            text.contains(&format!("TARGETDURATION:{expected}\n")),
            "{text}"
        );
    }
}

#[test]
fn a_multivariant_playlist_in_full() {
    let list = [segment(7, 3), segment(8, 3)];
    let pathway = |id: &str, uri: &str| Pathway {
        id: id.into(),
        uri: uri.into(),
    };
    let pathways = [
        pathway("a", "event/media.m3u8?s=1"),
        pathway("b", "http://b/live/event/media.m3u8?s=1"),
    ];
    let rest = "BANDWIDTH=4000,AVERAGE-BANDWIDTH=4000,CODECS=\"avc1.42c015,mp4a.40.2\",RESOLUTION=426x240,FRAME-RATE=25.000";
    assert_eq!(
        multivariant(&list, &pathways, Some("../steering.json")),
        format!(
            "#EXTM3U
#EXT-X-VERSION:7
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-CONTENT-STEERING:SERVER-URI=\"../steering.json\",PATHWAY-ID=\"a\"
#EXT-X-STREAM-INF:{rest},PATHWAY-ID=\"a\"
event/media.m3u8?s=1
#EXT-X-STREAM-INF:{rest},PATHWAY-ID=\"b\"
http://b/live/event/media.m3u8?s=1
"
        )
    );
    let plain = multivariant(&list, &[pathway("", "event/media.m3u8")], None);
    assert!(!plain.contains("PATHWAY") && !plain.contains("STEERING"));
}

#[test]
fn a_playlist_begins_behind_a_missing_number() {
    let mut window = Window::new(BOUNDS);
    assert!(window.is_empty() && window.listed().is_empty());
    let numbers = |window: &Window| window.listed().iter().map(|s| s.number).collect::<Vec<_>>();
    for number in [1, 2, 3, 4] {
        window.push(segment(number, 1));
    }
    assert_eq!(numbers(&window), [2, 3, 4]);
    window.push(segment(6, 1));
    assert_eq!(numbers(&window), [6]);
    assert!(
        window.segment(segment(4, 1).name()).is_some(),
        "kept for late players"
    );
    window.push(segment(7, 2));
    assert_eq!(numbers(&window), [6, 7], "the next epoch goes on");
    // A master without memory, whose clock went back too.
    window.push(segment(3, 9));
    assert_eq!((numbers(&window), window.len()), (vec![3], 1));
}

#[test]
fn the_window_is_bounded_by_count_and_bytes() {
    let mut window = Window::new(Bounds {
        bytes: 2500,
        ..BOUNDS
    });
    for number in 0..9 {
        window.push(segment(number, 1));
        assert!(window.bytes() <= 2500);
    }
    assert_eq!(window.len(), 2);
    let mut window = Window::new(Bounds {
        bytes: 10,
        ..BOUNDS
    });
    window.push(segment(1, 1));
    window.push(segment(2, 1));
    assert_eq!(
        window.listed().len(),
        1,
        "the newest is kept whatever it has"
    );
    let mut window = Window::new(BOUNDS);
    (0..99).for_each(|number| window.push(segment(number, 1)));
    assert_eq!(window.len(), BOUNDS.listed + BOUNDS.grace);
    assert!(window.init(segment(98, 1).init.name).is_some());
}

proptest! {
    /// Dates are those of the Gregorian calendar, back and forth.
    #[test]
    fn dates_are_right(days in 0u64..200_000, ms in 0u64..86_400_000) {
        let at = days * 86_400_000 + ms;
        let list = [Arc::new(Segment { date: at, ..(*segment(1, 1)).clone() })];
        let text = media(&list, false);
        let date = text.split("DATE-TIME:").nth(1).unwrap().lines().next().unwrap();
        let number = |from: usize, to: usize| date[from..to].parse::<u64>().unwrap();
        let (year, month, day) = (number(0, 4), number(5, 7), number(8, 10));
        let leap = |y: u64| y.is_multiple_of(4) && (!y.is_multiple_of(100) || y.is_multiple_of(400));
        let lengths = [31, if leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        prop_assert!(day >= 1 && day <= lengths[usize::try_from(month - 1).unwrap()]);
        let before: u64 = (1970..year).map(|y| if leap(y) { 366 } else { 365 }).sum();
        let months: u64 = lengths.iter().take(usize::try_from(month - 1).unwrap()).sum();
        prop_assert_eq!(before + months + day - 1, days);
        let time = (number(11, 13) * 3600 + number(14, 16) * 60 + number(17, 19)) * 1000 + number(20, 23);
        prop_assert_eq!(time, ms);
    }

    /// What is asked for is read without harm.
    #[test]
    fn any_path_may_be_asked_for(path in "[a-z0-9./-]{0,60}") {
        if let Some((stream, _)) = file(&path) {
            prop_assert!(path.starts_with(stream));
        }
    }
}
