//! Viewers that are late, stalled, over or broken, and that others do not notice it.

use super::*;
use crate::limits::STOP_STALL;

#[tokio::test]
async fn a_viewer_that_is_late_skips_whole_gops_and_others_do_not_notice() {
    let world = World::new(Limits::default());
    let mut publisher = world.publish();
    let form = Rendition::Flv;
    let mut all = vec![push(
        &mut publisher,
        parts(Kind::Video, Role::Key, 0, 50_000),
        0,
        form,
    )];
    let (mut late, _told) = world.view(publisher.stream(), flv).await;
    let (mut good, _told_too) = world.view(publisher.stream(), flv).await;
    expect(&mut good, b"HEAD").await;
    expect(&mut good, &all[0]).await;
    // Ten seconds of two-second GOPs while the late one reads nothing.
    for n in 1..250_u32 {
        let role = if n % 50 == 0 { Role::Key } else { Role::Inter };
        let frame = push(
            &mut publisher,
            parts(Kind::Video, role, n * 40, 50_000),
            (n * 40).into(),
            form,
        );
        expect(&mut good, &frame).await;
        all.push(frame);
    }
    // Now it reads: what it gets is frames in order, with a gap to a key frame.
    expect(&mut late, b"HEAD").await;
    let mut at = 0;
    let mut gaps = 0;
    while at < all.len() {
        let mut got = vec![0; all[at].len()];
        timeout(PATIENCE, late.read_exact(&mut got))
            .await
            .unwrap()
            .unwrap();
        if got != all[at] {
            let to = all.iter().position(|f| *f == got).expect("a broken frame");
            assert!(to > at && to % 50 == 0, "from {at} to {to}");
            at = to;
            gaps += 1;
        }
        at += 1;
    }
    assert_eq!(gaps, 1);
    let traffic = world.metrics.traffic(Protocol::Flv);
    assert!(traffic.frames_skipped.get() >= 100);
    nothing_more(&mut late).await;
}

#[tokio::test]
async fn a_stalled_viewer_is_closed_and_the_rest_go_on() {
    let limits = Limits {
        send_timeout: Duration::from_millis(300),
        ..Limits::default()
    };
    let world = World::new(limits);
    let mut publisher = world.publish();
    let form = Rendition::Flv;
    let first = push(
        &mut publisher,
        parts(Kind::Video, Role::Key, 0, 4_000_000),
        0,
        form,
    );
    let (mut stalled, told) = world.view(publisher.stream(), flv).await;
    let (mut good, _told) = world.view(publisher.stream(), flv).await;
    expect(&mut good, b"HEAD").await;
    expect(&mut good, &first).await;
    let start = Instant::now();
    let ended = timeout(PATIENCE, told).await.unwrap().unwrap();
    assert_eq!(ended, OutletEvent::Closed(Ending::TooSlow));
    assert!(start.elapsed() < Duration::from_secs(3));
    // It hears so behind what it has, and the kernel keeps nothing for it.
    let mut rest = Vec::new();
    let heard = timeout(PATIENCE, stalled.read_to_end(&mut rest))
        .await
        .unwrap();
    let reset = heard.unwrap_err().kind();
    assert_eq!(reset, std::io::ErrorKind::ConnectionReset);
    assert!(rest.len() < first.len());
    until("the viewer is gone", || {
        publisher.stream().viewers().total() == 1
    })
    .await;
    let frame = push(
        &mut publisher,
        parts(Kind::Video, Role::Inter, 40, 100),
        40,
        form,
    );
    expect(&mut good, &frame).await;
}

#[tokio::test]
async fn a_viewer_that_sips_at_one_frame_does_not_keep_it() {
    let limits = Limits {
        send_timeout: Duration::from_millis(400),
        ..Limits::default()
    };
    let world = World::new(limits);
    let mut publisher = world.publish();
    let frame = parts(Kind::Video, Role::Key, 0, 12_000_000);
    let first = push(&mut publisher, frame, 0, Rendition::Flv);
    let (mut sipping, told) = world.view(publisher.stream(), flv).await;
    let (mut good, _told) = world.view(publisher.stream(), flv).await;
    expect(&mut good, b"HEAD").await;
    expect(&mut good, &first).await;
    // Never without a byte for as long as it may be, and far from the end when its time is over.
    let sip = async {
        let (mut part, mut had) = (vec![0; 40_000], 0);
        while let Ok(n @ 1..) = sipping.read(&mut part).await {
            had += n;
            sleep(Duration::from_millis(20)).await;
        }
        had
    };
    let (ended, had) = timeout(PATIENCE, async { tokio::join!(told, sip) })
        .await
        .unwrap();
    assert_eq!(ended.unwrap(), OutletEvent::Closed(Ending::TooSlow));
    assert!((1..first.len()).contains(&had), "{had}");
    let inter = parts(Kind::Video, Role::Inter, 40, 100);
    let frame = push(&mut publisher, inter, 40, Rendition::Flv);
    expect(&mut good, &frame).await;
}

#[tokio::test]
async fn the_end_of_a_stream_is_told_when_all_of_it_was_sent() {
    let world = World::new(Limits::default());
    let mut publisher = world.publish();
    let form = Rendition::Flv;
    let mut expected = b"HEAD".to_vec();
    expected.extend(push(
        &mut publisher,
        parts(Kind::Video, Role::Key, 0, 2_000_000),
        0,
        form,
    ));
    let (mut client, told) = world.view(publisher.stream(), flv).await;
    until("it plays", || publisher.stream().viewers().total() == 1).await;
    publisher.end();
    expect(&mut client, &expected).await;
    let ended = timeout(PATIENCE, told).await.unwrap().unwrap();
    assert_eq!(ended, OutletEvent::Ended { message_stream: 1 });
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_defect_in_the_walk_costs_one_viewer() {
    let world = World::new(Limits::default());
    let mut publisher = world.publish();
    let form = Rendition::Rtmp;
    let first = push(
        &mut publisher,
        parts(Kind::Video, Role::Key, 0, 10),
        0,
        form,
    );
    let (mut good, _told) = world
        .view(publisher.stream(), |outlet, stream| {
            vec![outlet.play(stream, play(Rendition::Rtmp, 1)).unwrap()]
        })
        .await;
    let (mut bad, told) = world
        .view(publisher.stream(), |outlet, stream| {
            let announce: Announce = Box::new(|e| {
                assert_eq!(e.id, 1, "on purpose");
                Bytes::from_static(b"<1>")
            });
            let pull = Play {
                announce: Some(announce),
                ..play(Rendition::Rtmp, 1)
            };
            vec![outlet.play(stream, pull).unwrap()]
        })
        .await;
    expect(&mut good, &first).await;
    expect(&mut bad, b"<1>").await;
    expect(&mut bad, &first).await;
    // A second epoch makes the pull's announcement panic.
    publisher.cut(Instant::now());
    let mut publisher = world.publish_as(2);
    let parts = parts(Kind::Video, Role::Key, 0, 10);
    let payload = parts.payload.clone();
    publisher.push(parts, Instant::now()).unwrap();
    let ended = timeout(PATIENCE, told).await.unwrap().unwrap();
    assert_eq!(ended, OutletEvent::Closed(Ending::Defect));
    assert_eq!(world.metrics.panics.get(), 1);
    let mut got = vec![0; 12 + payload.len()];
    timeout(PATIENCE, good.read_exact(&mut got))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(got[12..], payload);
}

#[tokio::test]
async fn control_goes_between_frames_and_is_bounded() {
    let world = World::new(Limits::default());
    let publisher = world.publish();
    let (tell, told) = oneshot::channel();
    let (mut client, ended) = world
        .view(publisher.stream(), |outlet, _| {
            for n in 0..200_u8 {
                outlet.control(Bytes::from(vec![n; 100]));
            }
            assert!(outlet.has_room());
            outlet.control(Bytes::from(vec![
                200;
                crate::limits::MAX_CONTROL_QUEUE - 20_000
            ]));
            assert!(!outlet.has_room());
            tell.send(()).unwrap();
            Vec::new()
        })
        .await;
    told.await.unwrap();
    for n in 0..200_u8 {
        expect(&mut client, &[n; 100]).await;
    }
    assert_eq!(ended.await.unwrap(), OutletEvent::Room);
    let (_client, ended) = world
        .view(publisher.stream(), |outlet, _| {
            let most = crate::limits::MAX_CONTROL_BACKLOG;
            outlet.control(Bytes::from(vec![0; most]));
            assert!(!outlet.is_closed());
            outlet.control(Bytes::from_static(b"x"));
            Vec::new()
        })
        .await;
    assert_eq!(ended.await.unwrap(), OutletEvent::Closed(Ending::Overflow));
}

#[tokio::test]
async fn nothing_is_left_of_viewers_that_went() {
    let world = World::new(Limits::default());
    let mut publisher = world.publish();
    push(
        &mut publisher,
        parts(Kind::Video, Role::Key, 0, 10),
        0,
        Rendition::Flv,
    );
    for _ in 0..3 {
        let mut ends = Vec::new();
        for _ in 0..20 {
            ends.push(world.view(publisher.stream(), flv).await);
        }
        let stream = Arc::clone(publisher.stream());
        until("they play", || stream.viewers().total() == 20).await;
        drop(ends);
        let mut time = 0_u32;
        while stream.viewers().total() > 0 {
            time += 40;
            push(
                &mut publisher,
                parts(Kind::Video, Role::Inter, time, 10),
                time.into(),
                Rendition::Flv,
            );
            sleep(Duration::from_millis(2)).await;
        }
        let (tell, told) = oneshot::channel();
        world
            .shards
            .spawn(0, |shard| async move {
                for _ in 0..500 {
                    if shard.fanout().count() == 0 {
                        break;
                    }
                    sleep(Duration::from_millis(2)).await;
                }
                tell.send(shard.fanout().count()).unwrap();
            })
            .await
            .unwrap();
        assert_eq!(told.await.unwrap(), 0);
    }
    assert_eq!(world.metrics.traffic(Protocol::Flv).viewers.get(), 0);
}

#[tokio::test]
async fn a_paused_viewer_hears_the_end_too() {
    let world = World::new(Limits::default());
    let mut publisher = world.publish();
    push(
        &mut publisher,
        parts(Kind::Video, Role::Key, 0, 10),
        0,
        Rendition::Flv,
    );
    let (mut client, told) = world
        .view(publisher.stream(), |outlet, stream| {
            let playing = flv(outlet, stream);
            playing.iter().for_each(|p| p.set_paused(true));
            playing
        })
        .await;
    expect(&mut client, b"HEAD").await;
    let stream = Arc::clone(publisher.stream());
    publisher.end();
    let ended = timeout(PATIENCE, told).await.unwrap().unwrap();
    assert_eq!(ended, OutletEvent::Ended { message_stream: 1 });
    until("nothing holds its log", || Arc::strong_count(&stream) == 1).await;
}

#[tokio::test]
async fn the_end_of_a_stream_does_not_end_what_was_played_instead() {
    let world = World::new(Limits::default());
    let over = {
        let publisher = world.publish();
        let stream = Arc::clone(publisher.stream());
        publisher.end();
        stream
    };
    let publisher = world.publish_as(2);
    let live = Arc::clone(publisher.stream());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let _client = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let socket = listener.accept().await.unwrap().0.into_std().unwrap();
    let (tell, told) = oneshot::channel();
    let test = move |shard: Rc<Shard>| async move {
        let socket = TcpStream::from_std(socket).unwrap();
        let outlet = Outlet::new(socket.into(), &shard, Protocol::Rtmp);
        let start = |stream, id| outlet.play(stream, play(Rendition::Rtmp, id)).unwrap();
        let (_first, second) = (start(&over, 1), start(&over, 2));
        let heard = outlet.drive().await;
        drop(second);
        let _instead = start(&live, 2);
        let more = timeout(Duration::from_millis(100), outlet.drive()).await;
        tell.send((heard, more.ok())).unwrap();
    };
    world.shards.spawn(0, test).await.unwrap();
    let first = OutletEvent::Ended { message_stream: 1 };
    assert_eq!(told.await.unwrap(), (first, None));
}

#[tokio::test]
async fn a_stop_waits_for_those_who_take_something_and_not_for_the_stuck() {
    let world = World::new(Limits::default());
    let mut publisher = world.publish();
    let form = Rendition::Flv;
    let mut expected = b"HEAD".to_vec();
    expected.extend(push(
        &mut publisher,
        parts(Kind::Video, Role::Key, 0, 4_000_000),
        0,
        form,
    ));
    let farewell = |outlet: Rc<Outlet>| async move {
        // Far beyond the test's patience.
        outlet.catch_up(Instant::now() + 3 * PATIENCE).await
    };
    let (_stuck, caught_up) = world.leave(publisher.stream(), farewell).await;
    assert!(!timeout(PATIENCE, caught_up).await.unwrap().unwrap());
    let (mut slow, caught_up) = world.leave(publisher.stream(), farewell).await;
    let begun = Instant::now();
    for part in expected.chunks(expected.len() / 8) {
        expect(&mut slow, part).await;
        sleep(STOP_STALL / 4).await;
    }
    assert!(timeout(PATIENCE, caught_up).await.unwrap().unwrap());
    assert!(begun.elapsed() > STOP_STALL, "it proves nothing");
}
