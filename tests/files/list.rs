//! Files one behind the other: `play` with `reset` false.

use super::*;

/// What comes of one file of a list: the same tags, so much later.
fn later(tags: &[(u8, u32, Bytes)], shift: u32) -> Vec<(u8, u32, Bytes)> {
    let shifted = |(kind, time, body): &(u8, u32, Bytes)| (*kind, time + shift, body.clone());
    tags.iter().map(shifted).collect()
}

/// All of it without the first two words of a play.
fn codes_after_start(player: &Player) -> Vec<&str> {
    let codes: Vec<&str> = player.codes.iter().map(String::as_str).collect();
    assert_eq!(codes[..2], [code::PLAY_RESET, code::PLAY_START]);
    codes[2..].to_vec()
}

#[test]
fn a_list_goes_on_by_itself_and_its_time_goes_on_too() {
    let daemon = Daemon::start("");
    let tags = tags();
    let mut player = Player::new(&daemon);
    player.holds(3_600_000);
    player.play(vec!["film".into()]);
    player.until(code::PLAY_START);
    for name in ["nothing", "flv:film.flv"] {
        let whole = vec![
            name.into(),
            (-2000.0).into(),
            (-1.0).into(),
            Value::Boolean(false),
        ];
        player.play(whole);
    }
    // As ActionScript has it: 2 keeps the list, too.
    let part = vec!["film".into(), 2500.0.into(), 2000.0.into(), 2.0.into()];
    player.play(part);
    player.until(code::PLAY_STOP);
    assert_eq!(
        codes_after_start(&player),
        [
            "onMetaData",
            code::PLAY_STREAM_NOT_FOUND,
            "onPlayStatus",
            code::PLAY_SWITCH,
            code::PLAY_START,
            "onMetaData",
            "onPlayStatus",
            code::PLAY_SWITCH,
            code::PLAY_START,
            "onMetaData",
            "onPlayStatus",
            code::PLAY_COMPLETE,
            code::PLAY_STOP,
        ]
    );
    let received = player.received();
    let (first, rest) = received.split_at(tags.len());
    let (second, third) = rest.split_at(tags.len());
    assert!(first == tags, "as if it were alone");
    let length = second[0].1 - tags[0].1;
    assert!(
        length > first.last().unwrap().1 && length < 8200,
        "{length}"
    );
    assert!(second == later(&tags, length), "the whole file again");
    let from = key(&tags, 2500);
    let until = tags.iter().position(|(_, time, _)| *time >= 4500).unwrap();
    let begins = 2 * length;
    assert!(third == later(&tags[from..until], begins - tags[from].1));

    // Its time is one: what was played before is found again, and what follows comes again.
    player.tell("seek", vec![f64::from(length + 3000).into()]);
    player.until(code::SEEK_NOTIFY);
    player.until(code::PLAY_STOP);
    let again = key(&tags, 3000);
    let received = player.received();
    let (second, third_again) = received.split_at(tags.len() - again);
    assert!(second == later(&tags[again..], length));
    assert!(third_again == third);
    for (time, from) in [(0, 0), (1000, key(&tags, 1000))] {
        player.tell("seek", vec![f64::from(time).into()]);
        player.until(code::SEEK_NOTIFY);
        player.until(code::PLAY_STOP);
        let received = player.received();
        assert!(received[..tags.len() - from] == tags[from..], "{time}");
        assert_eq!(received.last(), third.last());
    }
}

#[test]
fn what_comes_behind_the_end_goes_on_there() {
    let daemon = Daemon::start("");
    let tags = tags();
    let mut player = Player::new(&daemon);
    player.holds(3_600_000);
    player.play(vec!["film".into()]);
    player.until(code::PLAY_STOP);
    player.received();
    player.codes.clear();
    let next = vec![
        "film".into(),
        0.0.into(),
        (-1.0).into(),
        Value::Boolean(false),
    ];
    player.play(next.clone());
    player.until(code::PLAY_STOP);
    assert_eq!(player.codes[0], code::PLAY_START, "the end was told before");
    let received = player.received();
    let length = received[0].1 - tags[0].1;
    assert!(length > tags.last().unwrap().1);
    assert!(received == later(&tags, length));
    // A play that begins a new list begins a new time.
    player.play(vec!["film".into()]);
    player.until(code::PLAY_START);
    player.until(code::PLAY_STOP);
    assert!(player.received() == tags);
}

#[test]
fn a_list_begins_with_what_is_there() {
    let daemon = Daemon::start("");
    let mut player = Player::new(&daemon);
    player.holds(3_600_000);
    player.play(vec!["nothing".into()]);
    for name in ["film", "film"] {
        let args = vec![name.into(), 0.0.into(), (-1.0).into(), false.into()];
        player.play(args);
    }
    player.until(code::PLAY_STOP);
    assert_eq!(player.codes[0], code::PLAY_STREAM_NOT_FOUND);
    assert_eq!(player.codes[1..3], [code::PLAY_RESET, code::PLAY_START]);
    assert_eq!(player.received().len(), 2 * tags().len());
}

#[test]
fn a_list_is_bounded_and_has_files_alone() {
    let daemon = Daemon::start("");
    let mut player = Player::new(&daemon);
    player.play(vec!["film".into()]);
    player.until(code::PLAY_START);
    player.tell("pause", vec![true.into(), 0.0.into()]);
    player.until(code::PAUSE_NOTIFY);
    let next = |name: &str, start: f64| {
        vec![
            name.into(),
            start.into(),
            (-1.0).into(),
            Value::Boolean(false),
        ]
    };
    player.codes.clear();
    player.play(next("film", -1000.0));
    player.until(code::PLAY_FAILED);
    player.codes.clear();
    player.play(next("../film", 0.0));
    player.until(code::PLAY_STREAM_NOT_FOUND);
    player.codes.clear();
    for _ in 0..=crtmpserver::limits::MAX_FILE_LIST {
        player.play(next("film", 0.0));
    }
    player.until(code::PLAY_FAILED);
    player.say(
        0,
        &Command::call("getStreamLength", 9.0, vec!["film".into()]),
    );
    player.answer(9.0);
    let refused = |code: &&String| *code == code::PLAY_FAILED;
    assert_eq!(player.codes.iter().filter(refused).count(), 1);
    // It plays on.
    player.tell("pause", vec![false.into(), 0.0.into()]);
    player.holds(3_600_000);
    player.until(code::PLAY_START);
}
