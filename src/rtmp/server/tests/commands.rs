//! Commands and their answers.

use super::*;

#[test]
fn connect_is_answered_in_the_order_that_clients_know() {
    let mut peer = Peer::new();
    peer.connect(vec![("objectEncoding".into(), 3.0.into())]);
    let kinds: Vec<u8> = peer.written.iter().map(|m| m.kind).collect();
    assert_eq!(kinds, [5, 6, 1, 4, 20, 20]);
    assert_eq!(peer.written[0].payload[..], 2_500_000u32.to_be_bytes());
    assert_eq!(peer.written[1].payload[4], 2);
    assert_eq!(peer.written[3].payload[..], [0, 0, 0, 0, 0, 0]);
    let commands = peer.commands();
    assert_eq!(
        (&*commands[0].name, commands[0].transaction),
        ("_result", 1.0)
    );
    let info = &commands[0].args[0];
    assert_eq!(code_of(info), code::CONNECT_SUCCESS);
    assert_eq!(info.get("objectEncoding"), Some(&3.0.into()));
    assert_eq!(info.get("capsEx"), None, "only for who asks");
    assert_eq!(commands[1].name, "onBWDone");
}

#[test]
fn enhanced_rtmp_is_negotiated() {
    let mut peer = Peer::new();
    peer.connect(vec![("capsEx".into(), 1.0.into())]);
    let info = peer.commands().remove(0).args.remove(0);
    assert_eq!(info.get("capsEx"), Some(&15.0.into()));
    assert!(peer.server.caps().reconnect());
    assert!(
        peer.server
            .request_reconnect(Some("rtmp://other/live"), "draining")
    );
    peer.drain();
    let request = peer.commands().remove(0);
    assert_eq!(
        request.args[0].get("tcUrl"),
        Some(&"rtmp://other/live".into())
    );

    let mut old = Peer::connected();
    assert!(!old.server.request_reconnect(None, "draining"));
    old.drain();
    assert!(old.written.is_empty());
}

#[test]
fn app_and_name_lose_their_queries() {
    let mut peer = Peer::new();
    let object = object([("app", "/live/?authmod=adobe&user=a?b".into())]);
    let connect = Command {
        object,
        ..Command::call("connect", 1.0, vec!["more".into()])
    };
    peer.say(0, &connect);
    let Event::Connect(request) = &peer.events[0] else {
        panic!("no connect");
    };
    assert_eq!(request.app, "live");
    assert_eq!(request.query.as_deref(), Some("authmod=adobe&user=a?b"));
    assert_eq!(request.arguments, ["more".into()]);
    peer.written.clear();

    let id = peer.stream();
    peer.ask(
        id,
        "play",
        vec!["mp4:a?t=1".into(), (-1.0).into(), 5.0.into(), false.into()],
    );
    let play = Event::Play {
        stream: id,
        name: "mp4:a".into(),
        query: Some("t=1".into()),
        start: -1.0,
        duration: 5.0,
        reset: false,
    };
    assert_eq!(peer.events.last(), Some(&play));
}

#[test]
fn a_second_connect_and_play2_fail_and_the_session_goes_on() {
    let mut peer = Peer::connected();
    for name in ["connect", "play2"] {
        let answers = peer.ask(0, name, vec![]);
        assert_eq!((&*answers[0].name, answers[0].transaction), ("_error", 9.0));
    }
    assert_eq!(peer.stream(), 1);
}

#[test]
fn small_commands_get_their_answers() {
    let mut peer = Peer::connected();
    let names =
        |answers: Vec<Command>| -> Vec<String> { answers.into_iter().map(|c| c.name).collect() };
    let name = || vec!["event?k=1".into()];
    assert_eq!(names(peer.ask(0, "releaseStream", name())), ["_result"]);
    assert_eq!(
        names(peer.ask(0, "FCPublish", name())),
        ["_result", "onFCPublish"]
    );
    assert_eq!(
        names(peer.ask(0, "FCUnpublish", name())),
        ["_result", "onFCUnpublish"]
    );
    let subscribed = peer.ask(0, "FCSubscribe", name());
    let description = subscribed[1].args[0].get("description");
    assert_eq!(description, Some(&"event".into()));
    assert_eq!(names(peer.ask(0, "_checkbw", vec![])), ["_result"]);
    assert_eq!(names(peer.ask(0, "checkBandwidth", vec![])), ["_result"]);
    // Transaction 0 wants no answer.
    peer.say(0, &Command::notice("releaseStream", name()));
    assert!(peer.written.is_empty());
    assert!(peer.events.is_empty());
}

#[test]
fn an_unknown_call_is_the_drivers() {
    let mut peer = Peer::connected();
    let answers = peer.ask(0, "crtmpProve", vec!["aa".into()]);
    assert!(answers.is_empty());
    let Event::Call {
        name,
        transaction,
        args,
        ..
    } = peer.events.remove(0)
    else {
        panic!("no call");
    };
    assert_eq!(
        (&*name, transaction, args),
        ("crtmpProve", 9.0, vec!["aa".into()])
    );
    peer.server.unknown_call(transaction, &name);
    peer.server.result(8.0, vec![1.0.into()]);
    peer.server.result(0.0, vec![1.0.into()]);
    peer.drain();
    let answers = peer.commands();
    assert_eq!(code_of(&answers[0].args[0]), code::CALL_FAILED);
    assert_eq!((answers[1].transaction, answers.len()), (8.0, 2));
}

#[test]
fn amf3_is_answered_as_amf3() {
    let mut peer = Peer::connected();
    let payload = Command::call("createStream", 2.0, vec![]).encode(kind::COMMAND_AMF3);
    peer.send(kind::COMMAND_AMF3, 0, 0, payload);
    assert_eq!(peer.written[0].kind, kind::COMMAND_AMF3);
    assert_eq!(peer.commands()[0].number(0), Some(1.0));
}

#[test]
fn play_pause_seek_receive_stop() {
    let mut peer = Peer::connected();
    let id = peer.stream();
    assert_eq!(peer.ask(id, "pause", vec![true.into()])[0].name, "_error");
    peer.say(id, &Command::call("play", 0.0, vec!["event".into()]));
    let kinds: Vec<u8> = peer.written.iter().map(|m| m.kind).collect();
    assert_eq!(kinds, [4, 20, 20]);
    assert_eq!(peer.written[0].payload[..], [0, 0, 0, 0, 0, 1]);
    assert!(
        peer.written[1..]
            .iter()
            .all(|m| m.stream == id && m.chunk_stream == 3)
    );
    assert_eq!(peer.codes(), [code::PLAY_RESET, code::PLAY_START]);

    peer.events.clear();
    let paused = peer.ask(id, "pause", vec![true.into(), 5.0.into()]);
    assert_eq!(code_of(&paused[0].args[0]), code::PAUSE_NOTIFY);
    let sought = peer.ask(id, "seek", vec![7.0.into()]);
    assert_eq!(code_of(&sought[0].args[0]), code::SEEK_NOTIFY);
    peer.ask(id, "receiveVideo", vec![false.into()]);
    peer.ask(id, "closeStream", vec![]);
    let (stream, video, audio) = (id, Some(false), None);
    assert_eq!(
        peer.events,
        [
            Event::Pause {
                stream,
                on: true,
                position_ms: 5.0
            },
            Event::Seek {
                stream,
                position_ms: 7.0
            },
            Event::Receive {
                stream,
                video,
                audio
            },
            Event::StopPlay { stream },
        ]
    );
    assert_eq!(peer.ask(id, "seek", vec![7.0.into()])[0].name, "_error");
}

#[test]
fn end_of_play() {
    let mut peer = Peer::connected();
    let id = peer.stream();
    peer.ask(id, "play", vec!["event".into()]);
    peer.server.end_play(id);
    peer.server.end_play(id);
    peer.drain();
    assert_eq!(peer.written.last().unwrap().payload[..], [0, 1, 0, 0, 0, 1]);
    assert_eq!(peer.codes(), [code::PLAY_UNPUBLISH_NOTIFY, code::PLAY_STOP]);
}

#[test]
fn play_false_and_new_names_end_what_was() {
    let mut peer = Peer::connected();
    let id = peer.stream();
    peer.ask(id, "play", vec!["a".into()]);
    peer.ask(id, "play", vec!["b".into()]);
    peer.ask(id, "play", vec![false.into()]);
    let plays = |e: &Event| matches!(e, Event::Play { .. });
    let shape: Vec<bool> = peer.events.iter().map(plays).collect();
    assert_eq!(shape, [true, false, true, false]);
    // A missing name is no order to stop.
    assert_eq!(
        code_of(&peer.ask(id, "play", vec![])[0].args[0]),
        code::PLAY_FAILED
    );
    assert_eq!(
        code_of(&peer.ask(id, "publish", vec![1.0.into()])[0].args[0]),
        code::PUBLISH_BAD_NAME
    );
    assert_eq!(
        code_of(&peer.ask(77, "publish", vec!["a".into()])[0].args[0]),
        code::PUBLISH_BAD_NAME
    );
}

#[test]
fn rejected_and_ended_publishers_stay_connected() {
    let mut peer = Peer::connected();
    peer.answer = false;
    let id = peer.stream();
    peer.ask(id, "publish", vec!["event".into()]);
    // What is behind the question waits for its answer.
    peer.send(kind::VIDEO, id, 0, &b"v"[..]);
    assert_eq!(peer.events.len(), 1);
    peer.server
        .reject_publish(id, code::PUBLISH_BAD_NAME, "event is taken");
    peer.drain();
    assert_eq!(peer.codes(), [code::PUBLISH_BAD_NAME]);
    assert_eq!((peer.events.len(), &peer.closed), (1, &None));

    peer.ask(id, "publish", vec!["event".into()]);
    peer.server.accept_publish(id);
    peer.server
        .end_publish(id, code::PUBLISH_BAD_NAME, "another took over");
    peer.server.accept_publish(id);
    peer.drain();
    let told = peer.codes();
    assert_eq!(told, [code::PUBLISH_START, code::PUBLISH_BAD_NAME]);
}

#[test]
fn closing_ends_the_publisher_in_order() {
    let mut peer = Peer::connected();
    let id = peer.stream();
    peer.ask(id, "publish", vec!["event".into()]);
    peer.say(0, &Command::notice("close", vec![]));
    assert_eq!(peer.events.last(), Some(&Event::Unpublish { stream: id }));
    assert_eq!(peer.closed, Some(CloseReason::ByPeer));
    assert_eq!(peer.server.next_timeout(), None);
    // And that was the last word.
    peer.feed(&[0; 100]);
    peer.tick(Duration::from_secs(1000));
    assert_eq!(peer.server.poll(), None);
}
