//! Playing, several streams, calls.

use bytes::{Bytes, BytesMut};

use super::{Pair, client_config, server_config};
use crate::limits::{MAX_MESSAGE_STREAMS, MAX_PENDING_CALLS};
use crate::rtmp::chunk::write_absolute;
use crate::rtmp::client::{ClientConfig, Event};
use crate::rtmp::message::Message;
use crate::rtmp::server::{self, PublishKind};
use crate::rtmp::session::reason::CloseReason;
use crate::rtmp::status::{self, Level, code};

/// Shared bytes as the fan-out sends them.
fn shared(kind: u8, stream: u32, timestamp: u32, payload: &Bytes) -> Vec<u8> {
    let mut out = BytesMut::new();
    let message = Message {
        chunk_stream: 6,
        kind,
        timestamp,
        stream,
        payload: payload.clone(),
    };
    write_absolute(&mut out, 65_536, &message);
    out.to_vec()
}

fn player() -> Pair {
    let mut pair = Pair::with(|client, event| {
        if let Event::Connected { .. } = event {
            client.play("event", -1.0).unwrap();
        }
    });
    pair.run();
    pair
}

#[test]
fn a_player_gets_the_shared_media_between_the_machine_s_own_messages() {
    let mut pair = player();
    let started = Event::PlayStarted { stream: 1 };
    assert_eq!(
        pair.client_events.iter().filter(|e| **e == started).count(),
        1
    );

    pair.client_events.clear();
    let payload = Bytes::from(vec![0x17; 200_000]);
    for time in [0, 40, 0x00ff_fffe, 0x0100_0010, u32::MAX, 10] {
        pair.send_down(&shared(9, 1, time, &payload));
        // A status in between must not disturb the chunk streams of media, nor they it.
        pair.server.call("note", vec![time.into()]);
        pair.run();
    }
    let media = |e: &Event| match e {
        Event::Media {
            timestamp,
            payload: got,
            ..
        } if *got == payload => Some(*timestamp),
        _ => None,
    };
    let times: Vec<u32> = pair.client_events.iter().filter_map(media).collect();
    assert_eq!(times, [0, 40, 0x00ff_fffe, 0x0100_0010, u32::MAX, 10]);
    let notes = pair
        .client_events
        .iter()
        .filter(|e| matches!(e, Event::Call { .. }));
    assert_eq!(notes.count(), 6);

    pair.client_events.clear();
    pair.server.end_play(1);
    pair.run();
    let [
        Event::Status { .. },
        Event::Status { .. },
        Event::StreamEof { stream: 1 },
    ] = &pair.client_events[..]
    else {
        panic!("{:?}", pair.client_events);
    };
}

#[test]
fn only_flash_is_told_what_its_scripts_may_read() {
    let access = Event::Media {
        stream: 1,
        kind: 18,
        timestamp: 0,
        payload: status::sample_access(false, false),
    };
    let told = |swf_url: Option<&str>| {
        let config = ClientConfig {
            swf_url: swf_url.map(str::to_owned),
            ..client_config()
        };
        let mut pair = Pair::new(config, server_config());
        pair.on_client = Box::new(|client, event| {
            if let Event::Connected { .. } = event {
                client.play("event", -1.0).unwrap();
            }
        });
        pair.run();
        let started = Event::PlayStarted { stream: 1 };
        assert!(pair.client_events.contains(&started));
        pair.client_events.last() == Some(&access)
    };
    assert!(told(Some("http://host/player.swf")));
    assert!(!told(None), "others take it for a track of subtitles");
    assert!(!told(Some("")));
}

#[test]
fn media_is_a_start_and_a_stream_may_start_again() {
    let mut pair = player();
    pair.server.end_play(1);
    pair.run();
    pair.client_events.clear();
    // A foreign server goes on when its publisher is back, with or without a status.
    pair.send_down(&shared(8, 1, 5, &Bytes::from_static(b"a")));
    assert_eq!(pair.client_events[0], Event::PlayStarted { stream: 1 });
    let start = status::on_status(status::info(Level::Status, code::PLAY_START, "again"));
    pair.server.send_command(0, &start);
    pair.run();
    assert!(matches!(
        pair.client_events[2],
        Event::Status { stream: 1, .. }
    ));
}

#[test]
fn a_refused_play_and_a_refused_publish() {
    let mut pair = Pair::with(|client, event| {
        if let Event::Connected { .. } = event {
            client.play("gone", -1.0).unwrap();
            client.publish("taken", PublishKind::Record).unwrap();
        }
    });
    pair.on_server = Box::new(|server, event| match event {
        server::Event::Play { stream, .. } => {
            server.reject_play(*stream, code::PLAY_STREAM_NOT_FOUND, "no such stream");
        }
        server::Event::Publish { stream, kind, .. } => {
            assert_eq!(*kind, PublishKind::Record);
            server.reject_publish(*stream, code::PUBLISH_BAD_NAME, "taken is taken");
        }
        _ => super::accept(server, event),
    });
    pair.run();
    let failed = Event::PlayFailed {
        stream: 1,
        code: code::PLAY_STREAM_NOT_FOUND.into(),
        description: "no such stream".into(),
    };
    assert!(pair.client_events.contains(&failed));
    let failed = Event::PublishFailed {
        stream: 2,
        code: code::PUBLISH_BAD_NAME.into(),
        description: "taken is taken".into(),
    };
    assert!(pair.client_events.contains(&failed));
    let nothing = Bytes::from_static(b"x");
    assert!(
        !pair.client.send_media(2, 9, 0, &nothing),
        "sent without a publish"
    );
    assert_eq!(pair.client.queued(), 0);
}

#[test]
fn streams_of_one_connection_do_not_mix() {
    let mut pair = Pair::with(|client, event| match event {
        Event::Connected { .. } => {
            client.publish("a", PublishKind::Live).unwrap();
            client.publish("b", PublishKind::Append).unwrap();
            client.play("c", -2.0).unwrap();
        }
        Event::PublishStarted { stream } => {
            let payload = Bytes::from(vec![u8::try_from(*stream).unwrap(); 9000]);
            for time in 0..5 {
                assert!(client.send_media(*stream, 9, time * 40 + *stream, &payload));
                assert!(client.send_media(*stream, 8, time * 40 + *stream, &payload));
            }
        }
        _ => {}
    });
    pair.run();
    let got = pair.received();
    for stream in [1u32, 2] {
        let own: Vec<_> = got.iter().filter(|m| m.0 == stream).collect();
        assert_eq!(own.len(), 10);
        for (n, (_, kind, time, payload)) in own.into_iter().enumerate() {
            assert_eq!(*kind, if n % 2 == 0 { 9 } else { 8 });
            assert_eq!(*time as usize, n / 2 * 40 + stream as usize);
            assert!(payload.len() == 9000 && payload.iter().all(|b| u32::from(*b) == stream));
        }
    }
    // Ending one leaves the other.
    pair.client.delete_stream(1);
    pair.run();
    assert_eq!(
        pair.server_events.last(),
        Some(&server::Event::Unpublish { stream: 1 })
    );
    assert!(
        pair.client
            .send_media(2, 9, 900, &Bytes::from_static(b"on"))
    );
    assert!(
        !pair
            .client
            .send_media(1, 9, 900, &Bytes::from_static(b"off"))
    );
    pair.run();
    assert_eq!(pair.received().last().unwrap().2, 900);
    assert_eq!(pair.server_closed, None);
}

#[test]
fn closing_the_client_ends_its_streams_first() {
    let mut pair = Pair::with(|client, event| {
        if let Event::Connected { .. } = event {
            client.publish("a", PublishKind::Live).unwrap();
        }
    });
    pair.run();
    let reason = CloseReason::Driver("stopped", "the demo ends".into());
    pair.client.close(reason.clone());
    pair.run();
    assert_eq!(pair.client_closed, Some(reason));
    assert_eq!(
        pair.server_events.last(),
        Some(&server::Event::Unpublish { stream: 1 })
    );
}

#[test]
fn a_client_asks_for_no_more_streams_than_there_are() {
    let mut pair = Pair::new(client_config(), server_config());
    assert_eq!(pair.client.play("early", -1.0), None);
    pair.run();
    for _ in 0..MAX_MESSAGE_STREAMS {
        assert!(pair.client.play("event", -1.0).is_some());
    }
    assert_eq!(pair.client.play("event", -1.0), None);
    pair.run();
    assert_eq!(pair.client.play("event", -1.0), None);
    let plays = |e: &&server::Event| matches!(e, server::Event::Play { .. });
    assert_eq!(
        pair.server_events.iter().filter(plays).count(),
        MAX_MESSAGE_STREAMS
    );
    pair.client.delete_stream(4);
    assert!(pair.client.play("event", -1.0).is_some());
    pair.run();
    assert_eq!(
        pair.server_events.iter().filter(plays).count(),
        MAX_MESSAGE_STREAMS + 1
    );
}

#[test]
fn calls_go_both_ways_and_are_bounded() {
    let mut pair = Pair::new(client_config(), server_config());
    pair.run();
    pair.on_server = Box::new(|server, event| {
        if let server::Event::Call {
            name, transaction, ..
        } = event
        {
            match name.as_str() {
                "good" => server.result(*transaction, vec![5.0.into()]),
                _ => server.unknown_call(*transaction, name),
            }
        }
    });
    let good = pair.client.call("good", vec![]).unwrap();
    let bad = pair.client.call("bad", vec![]).unwrap();
    pair.run();
    let [
        ..,
        Event::Result {
            transaction: first,
            values,
            ..
        },
        Event::Error { transaction, info },
    ] = &pair.client_events[..]
    else {
        panic!("{:?}", pair.client_events);
    };
    assert_eq!((*first, &values[..]), (good, &[5.0.into()][..]));
    assert_eq!(
        (*transaction, status::code_of(info)),
        (bad, code::CALL_FAILED)
    );

    pair.server.call("crtmpStreams", vec![1.0.into()]);
    pair.run();
    assert!(
        matches!(pair.client_events.last(), Some(Event::Call { name, .. }) if name == "crtmpStreams")
    );

    pair.on_server = Box::new(|_, _| {});
    for _ in 0..MAX_PENDING_CALLS {
        assert!(pair.client.call("slow", vec![]).is_some());
    }
    assert_eq!(pair.client.call("slow", vec![]), None);
}

#[test]
fn a_content_network_is_subscribed_first() {
    let config = ClientConfig {
        subscribe: true,
        ..client_config()
    };
    let mut pair = Pair::new(config, server_config());
    pair.on_client = Box::new(|client, event| {
        if let Event::Connected { .. } = event {
            client.play("event", -1.0).unwrap();
        }
    });
    pair.run();
    let at = |word: &[u8]| pair.upstream.windows(word.len()).position(|w| w == word);
    assert!(at(b"FCSubscribe").unwrap() < at(b"\x00\x04play").unwrap());
    assert!(
        pair.client_events
            .contains(&Event::PlayStarted { stream: 1 })
    );
}
