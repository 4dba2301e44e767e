//! What a peer may not do, and how long it may take.

use proptest::prelude::*;

use super::*;

#[test]
fn nothing_comes_before_connect() {
    let mut peer = Peer::new();
    let answers = peer.ask(0, "createStream", vec![]);
    assert_eq!(answers[0].name, "_error");
    assert_eq!(peer.closed, Some(CloseReason::BeforeConnect));

    let mut peer = Peer::new();
    peer.send(kind::AUDIO, 1, 0, &b"x"[..]);
    assert_eq!(peer.closed, Some(CloseReason::BeforeConnect));
}

#[test]
fn streams_are_bounded_and_their_ids_come_back() {
    let mut peer = Peer::connected();
    for n in 1..=MAX_MESSAGE_STREAMS {
        assert_eq!(peer.stream() as usize, n);
    }
    assert_eq!(peer.ask(0, "createStream", vec![])[0].name, "_error");
    peer.ask(0, "deleteStream", vec![3.0.into()]);
    peer.ask(0, "deleteStream", vec![99.0.into()]);
    assert_eq!(peer.stream(), 3);
}

#[test]
fn media_only_where_it_is_published() {
    let mut peer = Peer::connected();
    let id = peer.stream();
    peer.ask(id, "publish", vec!["event".into(), "append".into()]);
    peer.send(kind::VIDEO, id, 5, &b"v"[..]);
    assert!(matches!(
        peer.events.last(),
        Some(Event::Media { timestamp: 5, .. })
    ));
    let ended = peer.ask(0, "FCUnpublish", vec!["event?x".into()]);
    assert_eq!(code_of(&ended[2].args[0]), code::UNPUBLISH_SUCCESS);
    assert_eq!(peer.events.last(), Some(&Event::Unpublish { stream: id }));

    // Late packets are dropped, and the end is told once.
    let told = peer.events.len();
    peer.send(kind::VIDEO, id, 6, &b"v"[..]);
    peer.ask(0, "deleteStream", vec![id.into()]);
    peer.send(kind::AUDIO, id, 7, &b"a"[..]);
    assert_eq!((peer.events.len(), &peer.closed), (told, &None));

    peer.now += LATE_MEDIA;
    peer.send(kind::DATA_AMF0, id, 7, &b"d"[..]);
    assert_eq!(peer.closed, None);
    peer.send(kind::AUDIO, id, 7, &b"a"[..]);
    assert_eq!(peer.closed, Some(CloseReason::NotPublishing));
}

#[test]
fn a_viewer_that_sends_media_is_closed() {
    let mut peer = Peer::connected();
    let id = peer.stream();
    peer.ask(id, "play", vec!["event".into()]);
    peer.send(kind::VIDEO, id, 0, &b"v"[..]);
    assert_eq!(peer.closed, Some(CloseReason::NotPublishing));
}

#[test]
fn garbage_is_closed_with_its_reason() {
    let reason = |kind: u8, payload: &[u8]| {
        let mut peer = Peer::connected();
        peer.send(kind, 0, 0, payload.to_vec());
        peer.closed.map(|reason| reason.code())
    };
    assert_eq!(
        reason(kind::COMMAND_AMF0, b"\x0a\xff\xff"),
        Some("bad-command")
    );
    assert_eq!(
        reason(kind::SET_CHUNK_SIZE, &[0, 0, 0, 0]),
        Some("bad-chunk")
    );
    assert_eq!(
        reason(kind::SET_CHUNK_SIZE, &[0x80, 0, 0, 1]),
        Some("bad-chunk")
    );
    assert_eq!(
        reason(kind::SET_CHUNK_SIZE, &[0, 0, 1]),
        Some("bad-control-message")
    );
    assert_eq!(
        reason(kind::ACK, &[0, 0, 1, 0, 0]),
        Some("bad-control-message")
    );
    assert_eq!(reason(kind::PEER_BANDWIDTH, &[0, 0, 0, 0, 2]), None);
    assert_eq!(
        reason(kind::PEER_BANDWIDTH, &[0; 6]),
        Some("bad-control-message")
    );
    assert_eq!(
        reason(kind::USER_CONTROL, &[0]),
        Some("bad-control-message")
    );
    assert_eq!(
        reason(kind::USER_CONTROL, &[0, 6, 0, 0]),
        Some("bad-control-message")
    );
    assert_eq!(reason(kind::USER_CONTROL, &[0, 99]), None);
    assert_eq!(reason(kind::SHARED_OBJECT_AMF0, b"x"), None);
    let mut nested = b"\x02\x00\x01x\x00".to_vec();
    nested.extend_from_slice(&[0; 8]);
    nested.extend(b"\x0a\x00\x00\x00\x01".repeat(10_000));
    assert_eq!(reason(kind::COMMAND_AMF0, &nested), Some("bad-command"));
}

#[test]
fn a_bad_aggregate_is_closed() {
    let mut peer = Peer::connected();
    let id = peer.stream();
    peer.ask(id, "publish", vec!["event".into()]);
    peer.send(kind::AGGREGATE, id, 0, &b"\x09\x00\x00\xff"[..]);
    assert_eq!(peer.closed, Some(CloseReason::Aggregate));
}

#[test]
fn pings_are_answered_but_no_flood_of_them() {
    let mut peer = Peer::connected();
    for _ in 0..1000 {
        peer.send(kind::USER_CONTROL, 0, 0, &[0u8, 6, 0, 0, 0, 7][..]);
    }
    assert_eq!(peer.written.len(), 1);
    assert_eq!(peer.written[0].payload[..], [0, 7, 0, 0, 0, 7]);
    peer.now += Duration::from_millis(100);
    peer.send(kind::USER_CONTROL, 0, 0, &[0u8, 6, 0, 0, 0, 8][..]);
    assert_eq!(peer.written.len(), 2);
}

#[test]
fn acknowledgements_follow_the_window_but_stay_few() {
    let mut peer = Peer::connected();
    let publish = |peer: &mut Peer| {
        let id = peer.stream();
        peer.ask(id, "publish", vec!["event".into()]);
        id
    };
    let id = publish(&mut peer);
    // A window of one byte would cost an acknowledgement for each.
    peer.send(kind::WINDOW_ACK, 0, 0, &[0u8, 0, 0, 1][..]);
    let sent = 40 * 16_384;
    for _ in 0..40 {
        peer.send(kind::VIDEO, id, 0, vec![0; 16_384]);
    }
    let acks: Vec<_> = peer
        .written
        .iter()
        .filter(|m| m.kind == kind::ACK)
        .collect();
    assert!((5..=10).contains(&acks.len()), "{} acks", acks.len());
    let last = u32::from_be_bytes(acks.last().unwrap().payload[..].try_into().unwrap());
    assert!(last as usize > sent - 2 * 65_536, "acknowledged {last}");

    // Before any window is named it is that of the original.
    let mut peer = Peer::connected();
    let id = publish(&mut peer);
    for _ in 0..ACK_INTERVAL / 16_384 {
        peer.send(kind::VIDEO, id, 0, vec![0; 16_384]);
    }
    assert_eq!(
        peer.written.iter().filter(|m| m.kind == kind::ACK).count(),
        1
    );
    peer.send(kind::ACK, 0, 0, &[0u8, 0, 1, 2][..]);
    assert_eq!(peer.server.acknowledged(), 0x102);
}

#[test]
fn input_behind_a_question_is_bounded() {
    let mut peer = Peer::new();
    peer.answer = false;
    peer.connect(vec![]);
    assert!(peer.server.wants_input());
    peer.feed(&vec![0; READ_TURN]);
    assert!(!peer.server.wants_input());
    assert_eq!(peer.closed, None);
    peer.feed(&vec![0; MAX_SESSION_INPUT - READ_TURN]);
    assert_eq!(peer.closed, None);
    peer.feed(&[0]);
    assert_eq!(peer.closed, Some(CloseReason::Overrun));
}

#[test]
fn answers_to_one_turn_come_in_pieces() {
    let mut peer = Peer::connected();
    let mut out = BytesMut::new();
    let payload = Command::call("_checkbw", 5.0, vec![]).encode(kind::COMMAND_AMF0);
    for _ in 0..MAX_FLOOD_MESSAGES - 100 {
        let message = Message {
            chunk_stream: 3,
            kind: kind::COMMAND_AMF0,
            timestamp: 0,
            stream: 0,
            payload: payload.clone(),
        };
        peer.writer.write(&mut out, &message);
    }
    peer.server.feed(&out, peer.now);
    let mut sizes = vec![];
    while let Some(Output::Write(bytes)) = peer.server.poll() {
        sizes.push(bytes.len());
    }
    assert!(sizes.len() > 5);
    assert!(sizes.iter().all(|size| *size < 9000), "{sizes:?}");
}

#[test]
fn every_deadline_closes_with_its_own_reason() {
    let limits = Limits::default();
    let close_after = |peer: &mut Peer| {
        let mut waited = Duration::ZERO;
        while peer.closed.is_none() {
            let next = peer.server.next_timeout().unwrap();
            waited += next - peer.now;
            peer.now = next;
            peer.tick(Duration::ZERO);
        }
        (peer.closed.clone().unwrap().code(), waited)
    };
    let mut fresh = Peer::new();
    fresh.server = Server::new(config(), fresh.now);
    fresh.feed(&[3, 0, 0]);
    assert_eq!(
        close_after(&mut fresh),
        ("handshake-timeout", limits.handshake_timeout)
    );
    assert_eq!(
        close_after(&mut Peer::new()),
        ("connect-timeout", limits.connect_timeout)
    );
    assert_eq!(
        close_after(&mut Peer::connected()),
        ("idle-timeout", limits.idle_timeout)
    );

    let mut publisher = Peer::connected();
    let id = publisher.stream();
    publisher.ask(id, "publish", vec!["event".into()]);
    assert_eq!(
        close_after(&mut publisher),
        ("publisher-silent", limits.publish_timeout)
    );

    let mut viewer = Peer::connected();
    let id = viewer.stream();
    viewer.ask(id, "play", vec!["event".into()]);
    viewer.written.clear();
    assert_eq!(
        close_after(&mut viewer),
        ("peer-silent", limits.silence_timeout)
    );
    let pings = viewer
        .written
        .iter()
        .filter(|m| m.payload.starts_with(&[0, 6]));
    assert_eq!(pings.count(), 1);
}

#[test]
fn a_dripping_peer_gains_no_time() {
    let mut peer = Peer::new();
    for _ in 0..10 {
        peer.tick(Duration::from_millis(999));
        peer.feed(&[0x03]);
    }
    peer.tick(Duration::from_millis(10));
    assert_eq!(peer.closed, Some(CloseReason::ConnectTimeout));
}

#[test]
fn what_keeps_a_viewer_alive() {
    let mut peer = Peer::connected();
    peer.server.allow_idle();
    for n in 0..20u32 {
        peer.tick(Duration::from_secs(40));
        assert_eq!(peer.closed, None, "in round {n}");
        if n % 2 == 0 {
            peer.server.progress(peer.now);
        } else {
            peer.send(kind::USER_CONTROL, 0, 0, &[0u8, 7, 0, 0, 0, 0][..]);
        }
    }
    peer.tick(Duration::from_secs(60));
    assert_eq!(peer.closed, Some(CloseReason::Silent));
}

#[test]
fn a_refused_play_does_not_stop_the_clock() {
    let mut peer = Peer::connected();
    peer.answer = false;
    let id = peer.stream();
    for _ in 0..4 {
        peer.ask(id, "play", vec!["nothing".into()]);
        peer.tick(Duration::from_secs(9));
        assert_eq!(peer.closed, None);
        peer.server
            .reject_play(id, code::PLAY_STREAM_NOT_FOUND, "no such stream");
        peer.drain();
        assert_eq!(peer.codes(), [code::PLAY_STREAM_NOT_FOUND]);
    }
    peer.tick(Duration::ZERO);
    assert_eq!(peer.closed, Some(CloseReason::IdleTimeout));
}

proptest! {
    #[test]
    fn any_bytes_of_a_peer_are_survived(
        bytes in prop::collection::vec(any::<u8>(), 0..3000),
        connected: bool,
    ) {
        let mut peer = if connected { Peer::connected() } else { Peer::new() };
        peer.bytes = 0;
        peer.feed(&bytes);
        prop_assert!(peer.events.len() <= bytes.len());
        peer.tick(Duration::from_secs(3600));
        prop_assert!(peer.closed.is_some());
    }

    /// Every command there is with arguments that fit or do not, on streams that exist or do not.
    #[test]
    fn any_order_of_commands_keeps_questions_and_ends_apart(
        steps in prop::collection::vec((0usize..18, 0u32..4, 0usize..6, any::<bool>()), 0..60)
    ) {
        const NAMES: [&str; 18] = [
            "connect", "createStream", "deleteStream", "closeStream", "publish", "publish", "play",
            "play", "FCPublish", "FCUnpublish", "releaseStream", "pause", "seek", "receiveAudio",
            "FCSubscribe", "play2", "getStreamLength", "other",
        ];
        let argument = |n: usize| -> Option<Value> {
            [Some("a".into()), Some(false.into()), Some(1.0.into()), Some(2.0.into()), Some(Value::Null), None]
                .get(n).cloned().flatten()
        };
        let mut peer = Peer::connected();
        let mut publishes = vec![];
        let mut plays = vec![];
        for (name, stream, first, media) in steps {
            let args = argument(first).into_iter().collect();
            peer.say(stream, &Command::call(NAMES[name], 3.0, args));
            for event in peer.events.drain(..) {
                match event {
                    Event::Publish { stream, .. } => {
                        prop_assert!(!publishes.contains(&stream) && !plays.contains(&stream));
                        publishes.push(stream);
                    }
                    Event::Unpublish { stream } => {
                        prop_assert!(publishes.contains(&stream));
                        publishes.retain(|s| *s != stream);
                    }
                    Event::Play { stream, .. } => {
                        prop_assert!(!publishes.contains(&stream) && !plays.contains(&stream));
                        plays.push(stream);
                    }
                    Event::StopPlay { stream } => {
                        prop_assert!(plays.contains(&stream));
                        plays.retain(|s| *s != stream);
                    }
                    Event::Pause { stream, .. } | Event::Seek { stream, .. }
                    | Event::Receive { stream, .. } => prop_assert!(plays.contains(&stream)),
                    _ => {}
                }
            }
            if media && publishes.contains(&stream) {
                peer.send(kind::AUDIO, stream, 0, &b"a"[..]);
                let got = matches!(peer.events.pop(), Some(Event::Media { .. }));
                prop_assert!(got);
            }
            prop_assert_eq!(&peer.closed, &None);
        }
    }
}

#[test]
fn a_flood_of_what_is_no_media_ends_the_connection() {
    let ping = [0, 6, 0, 0, 0, 1];
    let data = Bytes::from_static(b"\x02\x00\x01x");
    for (kind, payload) in [
        (kind::USER_CONTROL, Bytes::copy_from_slice(&ping)),
        (kind::ACK, Bytes::from_static(&[0; 4])),
        (kind::DATA_AMF0, data.clone()),
        (77, data),
        (
            kind::COMMAND_AMF0,
            Command::call("createStream", 2.0, vec![]).encode(kind::COMMAND_AMF0),
        ),
    ] {
        let mut peer = Peer::connected();
        peer.now += FLOOD_WINDOW;
        for _ in 0..MAX_FLOOD_MESSAGES {
            peer.send(kind, 1, 0, payload.clone());
        }
        assert_eq!(peer.closed, None, "type {kind}");
        peer.now += FLOOD_WINDOW;
        peer.send(kind, 1, 0, payload.clone());
        assert_eq!(peer.closed, None, "type {kind} in the next window");
        for _ in 0..MAX_FLOOD_MESSAGES {
            peer.send(kind, 1, 0, payload.clone());
        }
        assert_eq!(peer.closed, Some(CloseReason::Flood), "type {kind}");
    }
}

#[test]
fn bytes_are_counted_only_while_nothing_is_published() {
    let mut peer = Peer::connected();
    let id = peer.stream();
    peer.ask(id, "publish", vec!["event".into()]);
    let picture = Bytes::from(vec![0; READ_TURN / 2]);
    for n in 0..200 {
        peer.send(kind::VIDEO, id, n, picture.clone());
    }
    assert_eq!(peer.closed, None);
    peer.ask(id, "closeStream", vec![]);
    peer.now += FLOOD_WINDOW / 4;
    // What was on its way still comes, and is nobody's fault.
    let bound = u32::try_from(MAX_FLOOD_BYTES / picture.len()).unwrap();
    let mut sent = 0;
    while peer.closed.is_none() {
        peer.send(kind::VIDEO, id, sent, picture.clone());
        sent += 1;
    }
    // The headers count too.
    assert!((bound - 3..=bound).contains(&sent), "{sent} of {bound}");
    assert_eq!(peer.closed, Some(CloseReason::Flood));
}
