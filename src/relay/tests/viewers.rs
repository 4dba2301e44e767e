//! Joining, falling behind, waiting.

use super::*;

/// A publisher that sent headers and GOPs of 1 s from 0 to `until`, one frame each 250 ms.
fn running(rig: &Rig, until: u32) -> Publisher {
    let mut publisher = rig.publish();
    for parts in headers(0, "") {
        publisher.push(parts, rig.now).unwrap();
    }
    go_on(rig, &mut publisher, 0, until);
    publisher
}

fn go_on(rig: &Rig, publisher: &mut Publisher, from: u32, until: u32) {
    for time in (from..until).step_by(250) {
        let parts = if time % 1000 == 0 {
            key(time, "k")
        } else {
            inter(time, "i")
        };
        publisher.push(parts, rig.now).unwrap();
    }
}

#[test]
fn a_viewer_gets_the_headers_then_the_gop_then_what_comes() {
    let rig = Rig::new();
    let mut publisher = running(&rig, 2_500);
    let mut tail = rig.tail();
    let mut cursor = tail.join(JoinMode::default(), rig.now);
    assert!(cursor.is_waiting());
    assert_eq!(
        drain(&tail, &mut cursor),
        ["M@2000", "V@2000", "A@0", "k@2000", "i@2250"],
        "the audio that follows may be as old as its header"
    );
    publisher.push(audio(2_300, "a"), rig.now).unwrap();
    assert!(
        drain(&tail, &mut cursor).is_empty(),
        "not before the refresh"
    );
    let change = tail.refresh();
    assert_eq!(
        change,
        Change {
            frames: 1,
            flush: false,
            state: false
        }
    );
    assert_eq!(drain(&tail, &mut cursor), ["a@2300"]);
    publisher.push(key(3_000, "k"), rig.now).unwrap();
    assert!(tail.refresh().flush);
    assert_eq!(drain(&tail, &mut cursor), ["k@3000"]);
    assert_eq!(tail.refresh(), Change::default());
}

#[test]
fn audio_rides_along_with_the_picture_unless_there_is_none() {
    let rig = Rig::new();
    let mut publisher = rig.publish();
    let mut tail = rig.tail();
    for (parts, flush) in [
        (audio(0, "a"), true),
        (key(0, "k"), true),
        (audio(200, "a"), false),
        (audio(201, "a"), true),
        (inter(240, "i"), true),
        (audio(250, "a"), false),
        (data(250, "d"), true),
    ] {
        let what = format!("{parts:?}");
        publisher.push(parts, rig.now).unwrap();
        assert_eq!(tail.refresh().flush, flush, "{what}");
    }
}

#[test]
fn who_looks_again_by_himself_is_not_woken_for_what_may_wait() {
    let rig = Rig::new();
    let mut publisher = rig.publish();
    let bell = Arc::new(Bell::default());
    let mut tail = Tail::new(
        Arc::clone(publisher.stream()),
        Arc::clone(&bell) as Arc<dyn Wake>,
    );
    let mut rings = |parts: FrameParts| {
        let before = bell.rings();
        publisher.push(parts, rig.now).unwrap();
        bell.rings() - before
    };
    assert_eq!(rings(key(0, "k")), 1);
    tail.refresh();
    assert_eq!(
        rings(audio(10, "a")),
        1,
        "the first sound tells that there is some"
    );
    assert_eq!(tail.aboard(), Some(rig.now));
    tail.refresh();
    assert_eq!(tail.aboard(), None);
    tail.ride();
    assert_eq!(rings(audio(20, "a")), 0);
    assert_eq!(rings(audio(30, "a")), 0);
    assert_eq!(tail.aboard(), Some(rig.now), "one waits");
    assert_eq!(rings(inter(40, "i")), 1, "a picture is worth it");
    assert_eq!(tail.refresh().frames, 3);
    assert_eq!(rings(audio(50, "a")), 1, "a refresh ends the ride");
    tail.refresh();
    tail.ride();
    assert_eq!(
        rings(audio(300, "a")),
        1,
        "no picture comes that it could ride with"
    );
    tail.refresh();
    tail.doze();
    assert_eq!(rings(inter(310, "i")), 0);
    assert_eq!(tail.refresh().frames, 1);
    assert_eq!(rings(inter(340, "i")), 1);
}

#[test]
fn many_frames_are_there_for_one_write() {
    let rig = Rig::new();
    let _publisher = running(&rig, 2_500);
    let tail = rig.tail();
    let mut cursor = tail.join(JoinMode::default(), rig.now);
    assert!(tail.settle(&mut cursor));
    let all: Vec<_> = tail.upcoming(&cursor).map(|f| text(f)).collect();
    assert_eq!(all.len(), 5);
    for taken in 0..5 {
        let rest: Vec<_> = tail.upcoming(&cursor).map(|f| text(f)).collect();
        assert_eq!(rest, all[taken..]);
        cursor.advance();
    }
    assert!(!tail.settle(&mut cursor));
    assert_eq!(tail.upcoming(&cursor).count(), 0);
}

#[test]
fn those_who_join_at_one_place_share_the_prelude() {
    let rig = Rig::new();
    let _publisher = running(&rig, 2_500);
    let tail = rig.tail();
    let mut first = tail.join(JoinMode::default(), rig.now);
    let mut second = tail.join(JoinMode::default(), rig.now);
    let (Next::Frame(a), Next::Frame(b)) = (tail.current(&mut first), tail.current(&mut second))
    else {
        panic!("nothing to read");
    };
    assert!(Arc::ptr_eq(a, b));
}

#[test]
fn a_gop_at_the_limit_is_sent_and_a_longer_one_waited_for() {
    let rig = Rig::new();
    let mut publisher = rig.publish();
    publisher.push(key(0, "k"), rig.now).unwrap();
    publisher.push(inter(4_000, "i"), rig.now).unwrap();
    let mut tail = rig.tail();
    let mut cursor = tail.join(JoinMode::default(), rig.now);
    assert_eq!(drain(&tail, &mut cursor), ["k@0", "i@4000"]);

    publisher.push(inter(4_001, "i"), rig.now).unwrap();
    tail.refresh();
    let mut cursor = tail.join(JoinMode::default(), rig.now);
    let long = JoinMode::Gop {
        max: Duration::from_secs(60),
    };
    let mut patient = tail.join(long, rig.now);
    assert!(drain(&tail, &mut cursor).is_empty());
    assert!(cursor.is_waiting());
    assert_eq!(drain(&tail, &mut patient).len(), 3);
    publisher.push(audio(4_100, "a"), rig.now).unwrap();
    publisher.push(key(4_200, "k"), rig.now).unwrap();
    tail.refresh();
    assert_eq!(drain(&tail, &mut cursor), ["k@4200"]);
    assert_eq!(drain(&tail, &mut patient), ["a@4100", "k@4200"]);
    assert_eq!(cursor.skipped(), 0, "waiting is not skipping");
}

#[test]
fn keyframe_mode_waits_for_the_next() {
    let rig = Rig::new();
    let mut publisher = running(&rig, 2_250);
    let mut tail = rig.tail();
    let mut cursor = tail.join(JoinMode::Keyframe, rig.now);
    assert!(drain(&tail, &mut cursor).is_empty());
    go_on(&rig, &mut publisher, 2_250, 3_500);
    tail.refresh();
    assert_eq!(
        drain(&tail, &mut cursor),
        ["M@3000", "V@3000", "A@0", "k@3000", "i@3250"]
    );
}

#[test]
fn a_stream_without_video_is_joined_at_its_end() {
    let rig = Rig::new();
    let mut publisher = rig.publish();
    publisher
        .push(header(Slot::AudioSequence(0), 0, "A"), rig.now)
        .unwrap();
    for time in (0..1_000).step_by(20) {
        publisher.push(audio(time, "a"), rig.now).unwrap();
    }
    let mut tail = rig.tail();
    let mut cursor = tail.join(JoinMode::default(), rig.now);
    assert!(
        drain(&tail, &mut cursor).is_empty(),
        "video might still come"
    );
    publisher.push(audio(1_000, "a"), rig.now).unwrap();
    assert!(tail.refresh().flush);
    assert_eq!(drain(&tail, &mut cursor), ["A@1000"]);
    publisher.push(audio(1_020, "a"), rig.now).unwrap();
    tail.refresh();
    assert_eq!(drain(&tail, &mut cursor), ["a@1020"]);
    // one that sleeps for long goes on at the end
    let mut sleeper = cursor.clone();
    for time in (1_040..=5_040).step_by(20) {
        publisher.push(audio(time, "a"), rig.now).unwrap();
    }
    tail.refresh();
    assert_eq!(
        drain(&tail, &mut cursor).len(),
        201,
        "4 s behind is not too late"
    );
    publisher.push(audio(5_041, "a"), rig.now).unwrap();
    tail.refresh();
    assert!(drain(&tail, &mut sleeper).is_empty());
    assert_eq!((sleeper.skipped(), sleeper.jumps()), (202, 2));
}

#[test]
fn a_slow_viewer_skips_to_the_newest_key_frame_after_the_headers_that_changed() {
    let rig = Rig::new();
    let mut publisher = running(&rig, 1_000);
    let mut tail = rig.tail();
    let mut cursor = tail.join(JoinMode::default(), rig.now);
    drain(&tail, &mut cursor);
    publisher.push(key(1_000, "k"), rig.now).unwrap();
    publisher
        .push(header(Slot::Metadata, 1_001, "M2"), rig.now)
        .unwrap();
    go_on(&rig, &mut publisher, 1_250, 5_250);
    tail.refresh();
    let mut punctual = cursor.clone();
    assert_eq!(tail.behind(&cursor), 4_000);
    assert_eq!(
        drain(&tail, &mut punctual).len(),
        18,
        "at 4 s it still gets all"
    );
    publisher.push(inter(5_001, "i"), rig.now).unwrap();
    tail.refresh();
    assert_eq!(drain(&tail, &mut cursor), ["M2@5000", "k@5000", "i@5001"]);
    assert_eq!((cursor.skipped(), cursor.jumps()), (17, 2));
    assert_eq!(publisher.stream().info(rig.now).skipped, 17);
}

#[test]
fn within_one_long_gop_nobody_skips() {
    let rig = Rig::new();
    let mut publisher = rig.publish();
    publisher.push(key(0, "k"), rig.now).unwrap();
    let mut tail = rig.tail();
    let mut cursor = tail.join(JoinMode::default(), rig.now);
    for time in (1_000..9_000).step_by(1_000) {
        publisher.push(inter(time, "i"), rig.now).unwrap();
    }
    tail.refresh();
    assert!(tail.settle(&mut cursor));
    publisher.push(key(9_000, "k"), rig.now).unwrap();
    tail.refresh();
    assert!(tail.settle(&mut cursor));
    assert_eq!(cursor.skipped(), 0, "9 s behind is one GOP, not more");
    publisher.push(inter(9_001, "i"), rig.now).unwrap();
    tail.refresh();
    assert_eq!(drain(&tail, &mut cursor), ["k@9000", "i@9001"]);
}

#[test]
fn a_lag_counts_what_fell_out_of_the_log() {
    let rig = Rig::with(HubConfig {
        log_frames: 4,
        ..HubConfig::default()
    });
    let mut publisher = running(&rig, 1_000);
    let mut tail = rig.tail();
    let mut cursor = tail.join(JoinMode::default(), rig.now);
    drain(&tail, &mut cursor);
    go_on(&rig, &mut publisher, 1_000, 2_000);
    tail.refresh();
    assert_eq!(tail.lag(&cursor), (4, 750));
    go_on(&rig, &mut publisher, 2_000, 10_000);
    tail.refresh();
    let (frames, ms) = tail.lag(&cursor);
    assert_eq!(frames, 36);
    assert!((6_000..9_000).contains(&ms), "{ms}");
}

#[test]
fn a_viewer_that_fell_out_of_the_log_goes_on_at_a_key_frame() {
    let rig = Rig::with(HubConfig {
        log_frames: 4,
        ..HubConfig::default()
    });
    let mut publisher = running(&rig, 250);
    let mut tail = rig.tail();
    let mut cursor = tail.join(JoinMode::default(), rig.now);
    assert_eq!(drain(&tail, &mut cursor).len(), 4);
    for time in 1..=4 {
        publisher.push(inter(time, "i"), rig.now).unwrap();
    }
    let mut within = cursor.clone();
    tail.refresh();
    assert_eq!(drain(&tail, &mut within).len(), 4);
    publisher.push(inter(5, "i"), rig.now).unwrap();
    tail.refresh();
    assert!(drain(&tail, &mut cursor).is_empty());
    assert!(cursor.is_waiting());
    publisher
        .push(header(Slot::VideoSequence(0), 6, "V2"), rig.now)
        .unwrap();
    publisher.push(key(7, "k"), rig.now).unwrap();
    tail.refresh();
    assert_eq!(drain(&tail, &mut cursor), ["V2@7", "k@7"]);
    assert_eq!(cursor.skipped(), 6);
}

#[test]
fn viewers_of_a_stream_that_waits_hear_so_once_each_time() {
    let mut rig = Rig::new();
    let publisher = running(&rig, 500);
    let mut tail = rig.tail();
    let mut cursor = tail.join(JoinMode::default(), rig.now);
    assert_eq!(drain(&tail, &mut cursor).len(), 5);
    rig.tick();
    tail.refresh();
    assert!(drain(&tail, &mut cursor).is_empty(), "it is live");
    publisher.cut(rig.now);
    assert!(tail.refresh().state);
    for second in 1..=3 {
        rig.pass(1_000);
        rig.tick();
        assert!(tail.refresh().flush);
        assert_eq!(drain(&tail, &mut cursor), [format!("{second}000@250")]);
    }
    let mut late = tail.join(JoinMode::default(), rig.now);
    assert_eq!(
        drain(&tail, &mut late),
        ["M@0", "V@0", "A@0", "k@0", "i@250", "3000@250"],
        "the last picture, then why it stands still"
    );
    let mut publisher = rig.publish();
    publisher.push(key(0, "k"), rig.now).unwrap();
    tail.refresh();
    assert_eq!(drain(&tail, &mut cursor), ["k@3250"]);
}

/// A stream that waits, its last frame having come so long ago.
fn paused(rig: &mut Rig, ms: u64) -> Tail {
    running(rig, 500).cut(rig.now);
    rig.pass(ms);
    rig.tail()
}

#[test]
fn who_comes_late_in_a_pause_begins_with_what_comes() {
    for (ms, had) in [(4_000, 5), (4_001, 0), (60_000, 0)] {
        let mut rig = Rig::new();
        let mut tail = paused(&mut rig, ms);
        let mut cursor = tail.join(JoinMode::default(), rig.now);
        assert_eq!(drain(&tail, &mut cursor).len(), had, "{ms} ms");
        assert_eq!(cursor.is_waiting(), had == 0);
        // The encoder is there again, and has sent nothing yet.
        let mut publisher = rig.try_publish(claim(Some("user"), 2)).unwrap();
        tail.refresh();
        let mut other = tail.join(JoinMode::default(), rig.now);
        assert_eq!(drain(&tail, &mut other).len(), had, "{ms} ms");
        for parts in headers(0, "2") {
            publisher.push(parts, rig.now).unwrap();
        }
        publisher.push(key(0, "k2"), rig.now).unwrap();
        tail.refresh();
        let at = 250 + ms;
        let expected = match had {
            // In the order of the encoder for who goes on, of the slots for who joins.
            0 => ["M2", "V2", "A2", "k2"],
            _ => ["A2", "V2", "M2", "k2"],
        };
        let expected = expected.map(|text| format!("{text}@{at}"));
        assert_eq!(drain(&tail, &mut cursor), expected, "{ms} ms");
        assert_eq!(drain(&tail, &mut other), expected, "{ms} ms");
        assert_eq!(cursor.skipped(), 0);
    }
}

#[test]
fn who_was_there_before_a_pause_gets_all_of_it() {
    let mut rig = Rig::new();
    let publisher = running(&rig, 500);
    let mut tail = rig.tail();
    let mut cursor = tail.join(JoinMode::default(), rig.now);
    publisher.cut(rig.now);
    rig.pass(60_000);
    tail.refresh();
    assert_eq!(drain(&tail, &mut cursor).len(), 5, "late, but it was there");
    let mut publisher = rig.publish();
    publisher.push(key(0, "k2"), rig.now).unwrap();
    tail.refresh();
    assert_eq!(drain(&tail, &mut cursor), ["k2@60250"]);
    assert_eq!((cursor.skipped(), cursor.jumps()), (0, 1));
}

#[test]
fn who_comes_late_in_a_pause_is_told_so_and_shown_nothing_old() {
    let mut rig = Rig::new();
    let mut tail = paused(&mut rig, 5_000);
    rig.tick();
    tail.refresh();
    for mode in [JoinMode::default(), JoinMode::Keyframe] {
        let mut cursor = tail.join(mode, rig.now);
        assert_eq!(drain(&tail, &mut cursor), ["5000@250"]);
    }
}

#[test]
fn a_publisher_whose_first_pictures_are_dropped_has_begun_nothing() {
    let mut rig = Rig::new();
    let mut tail = paused(&mut rig, 5_000);
    assert!(tail.is_begun(), "the one before was");
    let mut publisher = rig.publish();
    tail.refresh();
    assert!(!tail.is_begun());
    publisher.push(inter(0, "lost"), rig.now).unwrap();
    tail.refresh();
    assert_eq!(tail.state(), State::Live);
    assert!(!tail.is_begun());
    let mut cursor = tail.join(JoinMode::default(), rig.now);
    assert!(drain(&tail, &mut cursor).is_empty());
    publisher.push(key(40, "k"), rig.now).unwrap();
    tail.refresh();
    assert!(tail.is_begun());
}

#[test]
fn sound_whose_video_stopped_is_joined_without_it() {
    let rig = Rig::new();
    let mut publisher = running(&rig, 2_000);
    let mut tail = rig.tail();
    let mut sound = |tail: &mut Tail, from: u32, until: u32| {
        for time in (from..until).step_by(20) {
            publisher.push(audio(time, "a"), rig.now).unwrap();
        }
        tail.refresh();
    };
    // Pictures may come again at once: whoever comes waits for them.
    sound(&mut tail, 2_000, 6_500);
    let mut early = tail.join(JoinMode::default(), rig.now);
    assert!(drain(&tail, &mut early).is_empty());
    sound(&mut tail, 6_500, 7_000);
    let mut late = tail.join(JoinMode::default(), rig.now);
    // No picture that comes is earlier than the last one was.
    assert_eq!(drain(&tail, &mut early), ["M@1750", "V@1750", "A@6980"]);
    assert_eq!(drain(&tail, &mut late), ["M@1750", "V@1750", "A@6980"]);
    sound(&mut tail, 7_000, 7_020);
    assert_eq!(drain(&tail, &mut late), ["a@7000"]);
    publisher.push(key(7_040, "k"), rig.now).unwrap();
    tail.refresh();
    assert_eq!(drain(&tail, &mut late), ["k@7040"]);
    // From then on whoever comes begins there.
    let mut new = tail.join(JoinMode::default(), rig.now);
    assert_eq!(drain(&tail, &mut new).last().unwrap(), "k@7040");
}

#[test]
fn sound_alone_is_joined_in_a_pause_when_it_comes_again() {
    let mut rig = Rig::new();
    let sound = |publisher: &mut Publisher, mark: &str, now| {
        let parts = header(Slot::AudioSequence(0), 0, &format!("A{mark}"));
        publisher.push(parts, now).unwrap();
        for time in (0..=1_000).step_by(20) {
            let parts = audio(time, &format!("a{mark}"));
            publisher.push(parts, now).unwrap();
        }
    };
    let mut publisher = rig.publish();
    sound(&mut publisher, "1", rig.now);
    publisher.cut(rig.now);
    let mut tail = rig.tail();
    let mut soon = tail.join(JoinMode::default(), rig.now);
    assert_eq!(drain(&tail, &mut soon), ["A1@1000"]);
    // As a push does, which wants nothing of the source before.
    assert!(tail.is_between());
    let mut push = tail.join(JoinMode::Keyframe, rig.now);
    assert!(drain(&tail, &mut push).is_empty());
    rig.pass(5_000);
    let mut late = tail.join(JoinMode::default(), rig.now);
    assert!(drain(&tail, &mut late).is_empty());
    let mut publisher = rig.publish();
    sound(&mut publisher, "2", rig.now);
    tail.refresh();
    assert!(!tail.is_between());
    assert_eq!(drain(&tail, &mut late), ["A2@7000"]);
    assert_eq!(drain(&tail, &mut push), ["A2@7000"]);
    publisher.push(audio(1_020, "a2"), rig.now).unwrap();
    tail.refresh();
    assert_eq!(drain(&tail, &mut late), ["a2@7020"]);
}

#[test]
fn a_pull_that_resumes_after_a_long_time_shows_nothing_old() {
    let mut rig = Rig::new();
    let told = EpochInfo {
        id: 5,
        wall_ms: WALL,
        ..EpochInfo::default()
    };
    let mut publisher = rig.pull(told);
    publisher.push(key(0, "k0"), rig.now).unwrap();
    publisher.cut(rig.now);
    rig.pass(9_000);
    let mut tail = rig.tail();
    let mut cursor = tail.join(JoinMode::default(), rig.now);
    assert!(drain(&tail, &mut cursor).is_empty());
    let mut publisher = rig.pull(EpochInfo { ordinal: 8, ..told });
    publisher.push(key(8_000, "k8"), rig.now).unwrap();
    publisher.push(inter(8_900, "i"), rig.now).unwrap();
    tail.refresh();
    assert_eq!(drain(&tail, &mut cursor), ["k8@8000", "i@8900"]);
}

#[test]
fn a_notice_that_was_not_taken_is_no_frame_that_was() {
    let mut rig = Rig::new();
    let publisher = running(&rig, 250);
    let mut tail = rig.tail();
    let mut cursor = tail.join(JoinMode::default(), rig.now);
    drain(&tail, &mut cursor);
    publisher.cut(rig.now);
    rig.pass(1_000);
    rig.tick();
    tail.refresh();
    let Next::Frame(notice) = tail.current(&mut cursor) else {
        panic!("no notice");
    };
    assert_eq!(notice.kind, Kind::Notice);
    // while it is being sent the encoder comes back
    let mut publisher = rig.publish();
    publisher.push(key(0, "k"), rig.now).unwrap();
    tail.refresh();
    cursor.advance();
    assert_eq!(drain(&tail, &mut cursor), ["k@1000"]);
}

#[test]
fn the_end_comes_after_the_last_frame() {
    let rig = Rig::new();
    let mut publisher = running(&rig, 500);
    let mut tail = rig.tail();
    let mut cursor = tail.join(JoinMode::default(), rig.now);
    let mut waiting = tail.join(JoinMode::Keyframe, rig.now);
    drain(&tail, &mut cursor);
    publisher.push(inter(500, "last"), rig.now).unwrap();
    publisher.end();
    tail.refresh();
    assert_eq!(drain(&tail, &mut cursor), ["last@500"]);
    assert!(matches!(tail.current(&mut cursor), Next::Ended));
    assert!(matches!(tail.current(&mut waiting), Next::Ended));
    assert!(rig.hub.get(&name()).is_none());
}
