//! Time and headers through wraps, jumps, cuts and resumed pulls.

use super::*;

/// Pushes and gives the time the frame got.
fn put(publisher: &mut Publisher, parts: FrameParts, now: Instant) -> Option<u64> {
    let end = publisher.stream().lock().log.end();
    publisher.push(parts, now).unwrap();
    let inner = publisher.stream().lock();
    inner.log.since(end).next().map(|e| e.frame.time)
}

#[test]
fn the_first_epoch_passes_wire_times_through() {
    for start in [0, 1, 0x00ff_fff0, 3_000_000_000, u32::MAX - 1000] {
        let rig = Rig::new();
        let mut publisher = rig.publish();
        for parts in headers(start, "") {
            assert_eq!(put(&mut publisher, parts, rig.now), Some(start.into()));
        }
        for step in [0, 40, 33, 80, 81, 1000] {
            let wire = start + step;
            let parts = if step == 0 {
                key(wire, "k")
            } else {
                inter(wire, "i")
            };
            let expected = if step == 33 { start + 40 } else { wire };
            assert_eq!(put(&mut publisher, parts, rig.now), Some(expected.into()));
        }
    }
}

#[test]
fn headers_at_zero_before_media_far_from_zero_hurt_nobody() {
    let rig = Rig::new();
    let mut publisher = rig.publish();
    for parts in headers(0, "") {
        assert_eq!(put(&mut publisher, parts, rig.now), Some(0));
    }
    assert_eq!(
        put(&mut publisher, key(5_000_000, "k"), rig.now),
        Some(5_000_000)
    );
    let again = header(Slot::Metadata, 0, "m");
    assert_eq!(put(&mut publisher, again, rig.now), Some(5_000_000));
    assert_eq!(put(&mut publisher, data(7, "d"), rig.now), Some(5_000_000));
    assert_eq!(
        put(&mut publisher, audio(5_000_010, "a"), rig.now),
        Some(5_000_010)
    );
    let late = header(Slot::AudioSequence(0), 0, "a2");
    assert_eq!(put(&mut publisher, late, rig.now), Some(5_000_010));
    assert_eq!(
        put(&mut publisher, inter(5_000_040, "i"), rig.now),
        Some(5_000_040)
    );
}

#[test]
fn headers_with_a_time_of_their_own_do_not_hold_the_media_back() {
    let rig = Rig::new();
    let mut publisher = rig.publish();
    put(
        &mut publisher,
        header(Slot::AudioSequence(0), 700_000, "A"),
        rig.now,
    );
    assert_eq!(put(&mut publisher, audio(0, "a"), rig.now), Some(700_000));
    assert_eq!(put(&mut publisher, audio(23, "a"), rig.now), Some(700_023));
}

#[test]
fn the_wire_clock_turns_and_the_timeline_goes_on() {
    let mut rig = Rig::new();
    let mut publisher = rig.publish();
    let mut wire = u32::MAX - 100_000;
    let mut expected = u64::from(wire);
    put(&mut publisher, key(wire, "k"), rig.now);
    for _ in 0..100 {
        rig.pass(4_000);
        wire = wire.wrapping_add(4_000);
        expected += 4_000;
        assert_eq!(
            put(&mut publisher, inter(wire, "i"), rig.now),
            Some(expected)
        );
        // audio around the turn, a little behind
        let behind = audio(wire.wrapping_sub(15), "a");
        assert_eq!(put(&mut publisher, behind, rig.now), Some(expected - 15));
    }
    assert!(expected > 1 << 32);
}

#[test]
fn a_jump_over_the_limit_is_a_new_clock_and_one_at_the_limit_is_not() {
    let rig = Rig::new();
    let limit = 10_000;
    for (to, expected) in [
        (100_000 + limit, 110_000),
        (100_000 + limit + 1, 100_010),
        (100_000 - limit, 100_000), // held, not rebased
        (100_000 - limit - 1, 100_010),
    ] {
        let mut publisher = rig.try_publish(claim(Some("user"), 1)).unwrap();
        put(&mut publisher, key(100_000, "k"), rig.now);
        assert_eq!(
            put(&mut publisher, inter(to, "i"), rig.now),
            Some(expected),
            "{to}"
        );
        publisher.end();
    }
}

#[test]
fn a_pause_of_the_encoder_is_no_jump() {
    let mut rig = Rig::new();
    let mut publisher = rig.publish();
    put(&mut publisher, key(0, "k"), rig.now);
    rig.pass(60_000);
    assert_eq!(
        put(&mut publisher, inter(60_000, "i"), rig.now),
        Some(60_000)
    );
}

#[test]
fn audio_and_video_jump_one_after_the_other_and_stay_together() {
    let mut rig = Rig::new();
    let mut publisher = rig.publish();
    put(&mut publisher, key(500_000, "k"), rig.now);
    put(&mut publisher, audio(500_000, "a"), rig.now);
    rig.pass(20);
    // the audio starts anew, one video frame of the old clock comes behind it
    assert_eq!(put(&mut publisher, audio(0, "a"), rig.now), Some(500_020));
    assert_eq!(
        put(&mut publisher, inter(500_030, "i"), rig.now),
        Some(500_030)
    );
    assert_eq!(put(&mut publisher, inter(40, "i"), rig.now), Some(500_060));
    assert_eq!(put(&mut publisher, audio(46, "a"), rig.now), Some(500_066));
}

#[test]
fn clocks_that_have_nothing_in_common_do_not_run_away() {
    let mut rig = Rig::new();
    let mut publisher = rig.publish();
    put(&mut publisher, key(900_000, "k"), rig.now);
    for step in 0..1000 {
        rig.pass(20);
        put(&mut publisher, audio(step * 20, "a"), rig.now);
        put(&mut publisher, inter(900_020 + step * 20, "i"), rig.now);
    }
    assert_eq!(publisher.stream().lock().timeline.latest(), 920_000);
}

#[test]
fn a_new_epoch_goes_on_by_the_wall_clock_and_waits_for_its_key_frame() {
    let mut rig = Rig::new();
    let mut publisher = rig.publish();
    let stream = Arc::clone(publisher.stream());
    for parts in headers(0, "1") {
        put(&mut publisher, parts, rig.now);
    }
    put(&mut publisher, key(0, "k1"), rig.now);
    put(&mut publisher, inter(5_000, "i1"), rig.now);
    let mut tail = rig.tail();
    let long = JoinMode::Gop {
        max: Duration::from_secs(9),
    };
    let mut early = tail.join(long, rig.now);
    assert_eq!(drain(&tail, &mut early).len(), 5);
    let first = stream.epoch().unwrap();
    rig.pass(100);
    publisher.cut(rig.now);
    assert_eq!(stream.state(), State::Waiting { since: rig.now });

    rig.pass(3_000);
    let mut publisher = rig.try_publish(claim(Some("user"), 2)).unwrap();
    assert_eq!(put(&mut publisher, inter(7, "lost"), rig.now), None);
    for parts in headers(0, "2") {
        put(&mut publisher, parts, rig.now);
    }
    put(&mut publisher, audio(1, "a2"), rig.now);
    tail.refresh();
    let mut late = tail.join(JoinMode::default(), rig.now);
    assert!(
        drain(&tail, &mut late).is_empty(),
        "no key frame of this epoch yet"
    );
    assert_eq!(put(&mut publisher, inter(20, "lost"), rig.now), None);
    put(&mut publisher, key(41, "k2"), rig.now);
    tail.refresh();
    // the early viewer gets everything as it came, the new headers first
    assert_eq!(
        drain(&tail, &mut early),
        ["A2@8100", "V2@8100", "M2@8100", "a2@8100", "k2@8140"]
    );
    assert_eq!(
        drain(&tail, &mut late),
        ["M2@8140", "V2@8140", "A2@8100", "k2@8140"]
    );
    assert_eq!((early.skipped(), early.jumps()), (0, 1));
    let second = stream.epoch().unwrap();
    assert_ne!(first.id, second.id);
    assert_eq!(second.ordinal, 1);
    assert_eq!(
        first.wall_ms, WALL,
        "time 0 of the first epoch was at the start"
    );
    assert_eq!(second.wall_ms, WALL + 3_100 - 8_100);
    let info = stream.info(rig.now);
    assert_eq!((info.dropped, info.epochs), (2, 2));
}

#[test]
fn whoever_joins_a_new_epoch_gets_nothing_of_the_old_one() {
    let rig = Rig::new();
    let mut publisher = rig.publish();
    for parts in headers(0, "1") {
        put(&mut publisher, parts, rig.now);
    }
    put(&mut publisher, key(0, "k1"), rig.now);
    drop(publisher);
    let mut tail = rig.tail();
    let mut publisher = rig.publish();
    let mut before = tail.join(JoinMode::default(), rig.now);
    assert_eq!(
        drain(&tail, &mut before).len(),
        4,
        "the old one, as long as there is no other"
    );
    put(
        &mut publisher,
        header(Slot::VideoSequence(0), 0, "V2"),
        rig.now,
    );
    tail.refresh();
    let mut cursor = tail.join(JoinMode::default(), rig.now);
    assert!(
        drain(&tail, &mut cursor).is_empty(),
        "the old key frame is no place to join"
    );
    put(&mut publisher, key(0, "k2"), rig.now);
    tail.refresh();
    assert_eq!(
        drain(&tail, &mut cursor),
        ["V2@10", "k2@10"],
        "nor its metadata and audio"
    );
    assert_eq!(drain(&tail, &mut before), ["V2@10", "k2@10"]);
}

#[test]
fn a_header_that_is_sent_again_is_sent_again() {
    let rig = Rig::new();
    let mut publisher = rig.publish();
    put(
        &mut publisher,
        header(Slot::VideoSequence(0), 0, "V"),
        rig.now,
    );
    put(&mut publisher, key(0, "k"), rig.now);
    let again = header(Slot::VideoSequence(0), 40, "V");
    assert_eq!(put(&mut publisher, again, rig.now), Some(40));
}

#[test]
fn an_encoder_whose_clock_runs_through_keeps_it() {
    let mut rig = Rig::new();
    let mut publisher = rig.publish();
    put(&mut publisher, key(1_000, "k"), rig.now);
    drop(publisher);
    rig.pass(2_000);
    let mut publisher = rig.publish();
    assert_eq!(put(&mut publisher, key(3_123, "k"), rig.now), Some(3_123));
}

#[test]
fn mirrors_of_one_master_agree_on_dates_whatever_their_timelines() {
    let mut rig = Rig::new();
    // the master has run for two turns of the wire clock
    let begun = WALL - (2 << 32) - 5_000;
    let told = EpochInfo {
        id: 77,
        wall_ms: begun,
        ordinal: 12,
        ..EpochInfo::default()
    };
    let mut publisher = rig.pull(told);
    put(
        &mut publisher,
        header(Slot::VideoSequence(0), 5_000, "V"),
        rig.now,
    );
    assert_eq!(put(&mut publisher, key(5_000, "k"), rig.now), Some(5_000));
    let stream = Arc::clone(publisher.stream());
    let epoch = stream.epoch().unwrap();
    assert_eq!((epoch.id, epoch.ordinal), (77, 13));
    assert_eq!(epoch.wall_ms + 5_000, WALL, "the date of the key frame");
    let tail = rig.tail();
    let mut cursor = tail.join(JoinMode::default(), rig.now);
    assert_eq!(tail.epoch(&cursor), None);
    assert!(tail.settle(&mut cursor));
    assert_eq!(tail.epoch(&cursor).unwrap().ordinal, 12);

    // the master skipped for us, and tells the count anew; no epoch begins
    publisher
        .epoch(EpochInfo {
            ordinal: 20,
            ..told
        })
        .unwrap();
    put(&mut publisher, key(9_000, "k"), rig.now);
    assert_eq!(stream.epoch().unwrap().ordinal, 21);
    assert_eq!(stream.info(rig.now).epochs, 1);

    // its encoder came back: another epoch, on the same clock
    rig.pass(4_500);
    let next = EpochInfo {
        id: 78,
        wall_ms: begun,
        ordinal: 0,
        ..EpochInfo::default()
    };
    publisher.epoch(next).unwrap();
    assert_eq!(put(&mut publisher, key(9_500, "k"), rig.now), Some(9_500));
    let epoch = stream.epoch().unwrap();
    assert_eq!((epoch.id, epoch.ordinal), (78, 1));
    assert_eq!(epoch.wall_ms + 9_500, WALL + 4_500);
}

#[test]
fn a_pull_that_comes_back_repeats_nothing_and_loses_nothing() {
    let mut rig = Rig::new();
    let told = |ordinal| EpochInfo {
        id: 5,
        wall_ms: WALL,
        ordinal,
        ..EpochInfo::default()
    };
    let script = |from: usize, to: usize| -> Vec<FrameParts> {
        let all = (0..40).map(|n| {
            let text = format!("{n}");
            match n % 10 {
                0 => key(n * 100, &text),
                3 | 7 => audio(n * 100 - 150, &text),
                _ => inter(n * 100, &text),
            }
        });
        all.skip(from).take(to - from).collect()
    };
    let mut publisher = rig.pull(told(0));
    let mut tail = rig.tail();
    let mut viewer = tail.join(JoinMode::default(), rig.now);
    let mut seen = Vec::new();
    for parts in headers(0, "").into_iter().chain(script(0, 16)) {
        publisher.push(parts, rig.now).unwrap();
        tail.refresh();
        seen.extend(drain(&tail, &mut viewer));
    }
    drop(publisher);
    rig.pass(700);
    let mut publisher = rig.pull(told(1));
    for parts in headers(1_000, "").into_iter().chain(script(10, 32)) {
        publisher.push(parts, rig.now).unwrap();
        tail.refresh();
        seen.extend(drain(&tail, &mut viewer));
    }
    let payload = |s: &String| s.split('@').next().unwrap().parse::<u32>().ok();
    let numbers: Vec<_> = seen.iter().filter_map(payload).collect();
    assert_eq!(numbers, (0..32).collect::<Vec<_>>());
    assert_eq!(
        seen.iter().filter(|s| payload(s).is_none()).count(),
        3,
        "headers once"
    );
    let info = publisher.stream().info(rig.now);
    assert_eq!((info.repeated, info.epochs), (3 + 6, 1));
    assert_eq!(info.epoch.unwrap().ordinal, 4);

    // with a gap it goes on at the key frame
    drop(publisher);
    let mut publisher = rig.pull(told(3));
    publisher.push(inter(3_500, "x"), rig.now).unwrap();
    publisher.push(key(4_000, "40"), rig.now).unwrap();
    tail.refresh();
    assert_eq!(drain(&tail, &mut viewer), ["40@4000"]);
}

#[test]
fn a_pull_of_a_master_that_was_restarted_is_rebased() {
    let mut rig = Rig::new();
    let mut publisher = rig.pull(EpochInfo {
        id: 5,
        wall_ms: WALL,
        ordinal: 0,
        ..EpochInfo::default()
    });
    put(&mut publisher, key(50_000, "k"), rig.now);
    drop(publisher);
    rig.pass(2_000);
    let restarted = EpochInfo {
        id: 6,
        wall_ms: WALL + 1_000,
        ordinal: 3,
        ..EpochInfo::default()
    };
    let mut publisher = rig.pull(restarted);
    assert_eq!(put(&mut publisher, key(900, "k"), rig.now), Some(52_000));
    let epoch = publisher.stream().epoch().unwrap();
    assert_eq!((epoch.id, epoch.ordinal), (6, 4));
    assert_eq!(
        epoch.wall_ms + 52_000,
        WALL + 1_900,
        "dated by the master, not by us"
    );
}
