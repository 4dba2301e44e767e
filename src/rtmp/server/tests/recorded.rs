//! Plays of recordings: the driver answers what it answers by itself for what is live.

use super::*;

/// A peer that plays a recording on message stream 1.
fn playing() -> Peer {
    let mut peer = Peer::connected();
    peer.answer = false;
    let id = peer.stream();
    let args = vec!["film".into(), 5000.0.into(), 2000.0.into(), false.into()];
    peer.say(id, &Command::call("play", 0.0, args));
    let [
        Event::Play {
            stream: 1,
            start,
            duration,
            reset: false,
            ..
        },
    ] = &peer.events[..]
    else {
        panic!("no play: {:?}", peer.events);
    };
    assert_eq!((*start, *duration), (5000.0, 2000.0));
    peer.server.accept_recorded(1);
    peer.drain();
    peer
}

/// The user control messages written since the last look: type and stream.
fn controls(peer: &Peer) -> Vec<(u8, u8)> {
    let controls = peer.written.iter().filter(|m| m.kind == kind::USER_CONTROL);
    controls.map(|m| (m.payload[1], m.payload[5])).collect()
}

#[test]
fn a_recording_says_that_it_is_one() {
    let mut peer = playing();
    assert_eq!(controls(&peer), [(4, 1), (0, 1)]);
    assert_eq!(peer.codes(), [code::PLAY_START], "it replaces nothing");
}

#[test]
fn a_seek_is_answered_by_the_driver() {
    let mut peer = playing();
    peer.events.clear();
    peer.written.clear();
    let answers = peer.ask(1, "seek", vec![7000.0.into()]);
    assert!(answers.is_empty());
    assert!(matches!(
        peer.events[..],
        [Event::Seek {
            stream: 1,
            position_ms: 7000.0
        }]
    ));
    peer.server.seeked(1, 6960);
    peer.drain();
    assert_eq!(controls(&peer), [(4, 1), (0, 1)]);
    let answers = peer.commands();
    let text = answers[0].args[0].get("description").unwrap();
    assert!(text.as_str().unwrap().contains("6960"));
    assert_eq!(code_of(&answers[0].args[0]), code::SEEK_NOTIFY);
    assert_eq!(code_of(&answers[1].args[0]), code::PLAY_START);
}

#[test]
fn at_its_end_it_completes_and_may_be_sought() {
    let mut peer = playing();
    peer.written.clear();
    peer.server.complete_play(1, 2.0, 1000.0);
    peer.drain();
    assert_eq!(controls(&peer), [(1, 1)]);
    let data = peer.written.iter().find(|m| m.kind == kind::DATA_AMF0);
    let values = crate::rtmp::command::data_values(18, &data.unwrap().payload).unwrap();
    assert_eq!(values[0], "onPlayStatus".into());
    assert_eq!(code_of(&values[1]), code::PLAY_COMPLETE);
    assert_eq!(values[1].get("duration"), Some(&2.0.into()));
    assert_eq!(peer.codes(), [code::PLAY_STOP]);
    peer.ask(1, "seek", vec![0.0.into()]);
    assert!(matches!(peer.events.last(), Some(Event::Seek { .. })));
    peer.server.seeked(1, 0);
    peer.drain();
    assert_eq!(peer.codes().len(), 2);
    // It is over for good when the peer plays something else.
    peer.say(1, &Command::call("play", 0.0, vec![false.into()]));
    peer.written.clear();
    peer.server.seeked(1, 0);
    peer.server.complete_play(1, 2.0, 1000.0);
    peer.server.fail_play(1, "x");
    peer.drain();
    assert!(peer.written.is_empty());
}

#[test]
fn one_that_cannot_go_on_says_so() {
    let mut peer = playing();
    peer.written.clear();
    peer.server.fail_play(1, "The disk is gone.");
    peer.drain();
    assert_eq!(controls(&peer), [(1, 1)]);
    assert_eq!(peer.codes(), [code::PLAY_FAILED, code::PLAY_STOP]);
}

#[test]
fn buffer_and_length_are_for_the_driver() {
    let mut peer = Peer::connected();
    peer.send(
        kind::USER_CONTROL,
        0,
        0,
        vec![0, 3, 0, 0, 0, 1, 0, 0, 0x0b, 0xb8],
    );
    assert!(matches!(peer.events[..], [Event::Buffer { ms: 3000 }]));
    peer.events.clear();
    assert!(
        peer.ask(0, "getStreamLength", vec!["film?k=1".into()])
            .is_empty()
    );
    let [
        Event::StreamLength {
            transaction: 9.0,
            name,
        },
    ] = &peer.events[..]
    else {
        panic!("no question");
    };
    assert_eq!(name, "film");
    // Transaction 0 wants no answer.
    peer.events.clear();
    peer.say(0, &Command::notice("getStreamLength", vec!["film".into()]));
    // A buffer without its length says nothing.
    peer.send(kind::USER_CONTROL, 0, 0, vec![0, 3, 0, 0, 0, 1]);
    assert!(peer.events.is_empty() && peer.closed.is_none());
}

#[test]
fn a_play_that_keeps_the_list_stops_nothing() {
    for keep in [false.into(), 0.0.into(), 2.0.into()] {
        let mut peer = playing();
        peer.events.clear();
        peer.written.clear();
        let next = vec!["next?k=1".into(), (-2.0).into(), 3000.0.into(), keep];
        peer.say(1, &Command::call("play", 0.0, next));
        let [
            Event::PlayNext {
                stream: 1,
                name,
                query: Some(query),
                duration,
                ..
            },
        ] = &peer.events[..]
        else {
            panic!("{:?}", peer.events);
        };
        assert_eq!((&**name, &**query, *duration), ("next", "k=1", 3000.0));
        assert!(peer.written.is_empty(), "its turn comes later");
        // When it does.
        peer.server.switch_play(1, "next", Some((2.0, 1000.0)));
        peer.drain();
        assert_eq!(controls(&peer), [(4, 1), (0, 1)]);
        let data = peer.written.iter().find(|m| m.kind == kind::DATA_AMF0);
        let values = crate::rtmp::command::data_values(18, &data.unwrap().payload).unwrap();
        assert_eq!(code_of(&values[1]), code::PLAY_SWITCH);
        let told = peer.commands();
        assert_eq!(code_of(&told[0].args[0]), code::PLAY_START);
        assert_eq!(told[0].args[0].get("details"), Some(&"next".into()));
    }
    for anew in [true.into(), 1.0.into(), 3.0.into(), Value::Null] {
        let mut peer = playing();
        peer.events.clear();
        let next = vec!["next".into(), (-2.0).into(), (-1.0).into(), anew];
        peer.say(1, &Command::call("play", 0.0, next));
        assert!(matches!(
            peer.events[..],
            [
                Event::StopPlay { stream: 1 },
                Event::Play { reset: true, .. }
            ]
        ));
    }
}

#[test]
fn what_a_list_leaves_out_is_told_under_its_own_name() {
    let mut peer = playing();
    peer.written.clear();
    peer.server
        .skip_play(1, "gone", code::PLAY_STREAM_NOT_FOUND, "There is none.");
    peer.drain();
    let told = peer.commands();
    assert_eq!(code_of(&told[0].args[0]), code::PLAY_STREAM_NOT_FOUND);
    assert_eq!(told[0].args[0].get("details"), Some(&"gone".into()));
    // It plays on, under the name that it had.
    peer.written.clear();
    peer.server.complete_play(1, 2.0, 1000.0);
    peer.drain();
    let told = peer.commands();
    assert_eq!(told[0].args[0].get("details"), Some(&"film".into()));
    // Nothing of the kind where nothing plays.
    peer.say(1, &Command::call("closeStream", 0.0, vec![]));
    peer.written.clear();
    peer.server.skip_play(1, "x", code::PLAY_FAILED, "x");
    peer.server.switch_play(1, "x", None);
    peer.server.play_instead(1, "x");
    peer.server.accept_recorded(1);
    peer.drain();
    assert!(peer.written.is_empty());
}

#[test]
fn a_play_in_place_of_a_pending_one_takes_its_answer() {
    let mut peer = Peer::connected();
    peer.answer = false;
    let id = peer.stream();
    peer.say(id, &Command::call("play", 0.0, vec!["first".into()]));
    let next = vec!["next".into(), 0.0.into(), (-1.0).into(), false.into()];
    peer.say(id, &Command::call("play", 0.0, next));
    assert!(matches!(
        peer.events[..],
        [.., Event::Play { .. }, Event::PlayNext { .. }]
    ));
    peer.written.clear();
    peer.server.play_instead(1, "next");
    peer.server.accept_recorded(1);
    peer.drain();
    let told = peer.commands();
    let details = |n: usize| told[n].args[0].get("details").cloned();
    assert_eq!(code_of(&told[0].args[0]), code::PLAY_RESET);
    assert_eq!(code_of(&told[1].args[0]), code::PLAY_START);
    assert_eq!(
        (details(0), details(1)),
        (Some("next".into()), Some("next".into()))
    );
}
