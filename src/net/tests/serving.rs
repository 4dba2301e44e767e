//! What each viewer gets, byte for byte.

use super::*;

#[tokio::test]
async fn a_viewer_gets_control_prelude_gop_and_live_frames_byte_for_byte() {
    let world = World::new(Limits::default());
    let mut publisher = world.publish();
    let form = Rendition::Flv;
    let mut send = |kind, role, time: u32, size| {
        push(
            &mut publisher,
            parts(kind, role, time, size),
            time.into(),
            form,
        )
    };
    let header = Role::Header(Slot::VideoSequence(0));
    let mut expected = b"HEAD".to_vec();
    expected.extend(send(Kind::Video, header, 0, 30));
    expected.extend(send(Kind::Video, Role::Key, 0, 100_000));
    for n in 1..50 {
        expected.extend(send(Kind::Audio, Role::Inter, n * 40 - 20, 200));
        expected.extend(send(Kind::Video, Role::Inter, n * 40, 3000));
    }
    let stream = world
        .hub
        .get(&StreamName::new("live", "x").unwrap())
        .unwrap();
    let (mut client, _told) = world.view(&stream, flv).await;
    expect(&mut client, &expected).await;
    for n in 50..100 {
        let mut live = send(Kind::Audio, Role::Inter, n * 40 - 20, 200);
        live.extend(send(Kind::Video, Role::Inter, n * 40, 3000));
        expect(&mut client, &live).await;
    }
    nothing_more(&mut client).await;
    let traffic = world.metrics.traffic(Protocol::Flv);
    assert_eq!(traffic.frames_out.get(), 200);
    assert_eq!(traffic.frames_skipped.get(), 0);
    assert_eq!((traffic.joins.get(), traffic.viewers.get()), (1, 1));
    assert_eq!(stream.viewers().total(), 1);
    assert!(
        world
            .metrics
            .render()
            .contains("join_seconds_count{protocol=\"flv\"} 1")
    );
}

#[tokio::test]
async fn audio_rides_along_but_never_waits_long() {
    // With a picture that waits for a short time, too.
    for ms in [0, 5, 20] {
        audio_rides_along(Latency::Fixed(Duration::from_millis(ms))).await;
    }
}

async fn audio_rides_along(latency: Latency) {
    let world = World::paced(Limits::default(), latency);
    let mut publisher = world.publish();
    let form = Rendition::Flv;
    let mut expected = b"HEAD".to_vec();
    expected.extend(push(
        &mut publisher,
        parts(Kind::Video, Role::Key, 0, 10),
        0,
        form,
    ));
    let (mut client, _told) = world.view(publisher.stream(), flv).await;
    expect(&mut client, &expected).await;
    let start = Instant::now();
    let audio = push(
        &mut publisher,
        parts(Kind::Audio, Role::Inter, 20, 10),
        20,
        form,
    );
    expect(&mut client, &audio).await;
    let waited = start.elapsed();
    assert!(
        waited >= Duration::from_millis(30),
        "sent alone after {waited:?}"
    );
    assert!(waited < Duration::from_secs(2), "{waited:?}");
}

#[tokio::test]
async fn two_streams_on_one_connection_keep_their_message_streams() {
    let world = World::new(Limits::default());
    let mut publisher = world.publish();
    let form = Rendition::Rtmp;
    // Larger than what the socket takes at once: both are cut somewhere.
    let key = push(
        &mut publisher,
        parts(Kind::Video, Role::Key, 0, 900_000),
        0,
        form,
    );
    let (mut client, _told) = world
        .view(publisher.stream(), |outlet, stream| {
            vec![
                outlet.play(stream, play(Rendition::Rtmp, 1)).unwrap(),
                outlet.play(stream, play(Rendition::Rtmp, 7)).unwrap(),
            ]
        })
        .await;
    let mut other = key.clone();
    other[8] = 7;
    assert_eq!(key[8], 1);
    expect(&mut client, &key).await;
    expect(&mut client, &other).await;
    let mut live = push(
        &mut publisher,
        parts(Kind::Video, Role::Inter, 40, 10),
        40,
        form,
    );
    let mut again = live.clone();
    again[8] = 7;
    // Which of the two comes first is whose turn it is.
    let mut got = vec![0; live.len()];
    timeout(PATIENCE, client.read_exact(&mut got))
        .await
        .unwrap()
        .unwrap();
    if got == again {
        std::mem::swap(&mut live, &mut again);
    }
    assert_eq!(got, live);
    expect(&mut client, &again).await;
}

#[tokio::test]
async fn a_pull_hears_of_the_epoch_before_its_frames() {
    let world = World::new(Limits::default());
    let mut publisher = world.publish();
    let form = Rendition::Rtmp;
    let first = push(
        &mut publisher,
        parts(Kind::Video, Role::Key, 0, 10),
        0,
        form,
    );
    let (mut client, _told) = world
        .view(publisher.stream(), |outlet, stream| {
            let announce: Announce = Box::new(|e| Bytes::from(format!("<{}>", e.id)));
            let pull = Play {
                announce: Some(announce),
                ..play(Rendition::Rtmp, 1)
            };
            vec![outlet.play(stream, pull).unwrap()]
        })
        .await;
    expect(&mut client, b"<1>").await;
    expect(&mut client, &first).await;
    let live = push(
        &mut publisher,
        parts(Kind::Video, Role::Inter, 40, 10),
        40,
        form,
    );
    expect(&mut client, &live).await;
    nothing_more(&mut client).await;
}

#[tokio::test]
async fn a_viewer_that_is_up_to_date_is_served_without_waking_its_task() {
    let world = World::new(Limits::default());
    let mut publisher = world.publish();
    let form = Rendition::Flv;
    let first = push(
        &mut publisher,
        parts(Kind::Video, Role::Key, 0, 10),
        0,
        form,
    );
    let (mut client, _told) = world.view(publisher.stream(), flv).await;
    expect(&mut client, b"HEAD").await;
    expect(&mut client, &first).await;
    let mut before = None;
    for n in 1..200_u32 {
        let frame = push(
            &mut publisher,
            parts(Kind::Video, Role::Inter, n * 40, 1000),
            (n * 40).into(),
            form,
        );
        expect(&mut client, &frame).await;
        if n == 100 {
            before = Some(world.polls.load(Ordering::Relaxed));
        }
    }
    assert_eq!(before, Some(world.polls.load(Ordering::Relaxed)));
}

#[tokio::test]
async fn muted_video_comes_back_with_a_key_frame() {
    let world = World::new(Limits::default());
    let mut publisher = world.publish();
    let form = Rendition::Flv;
    let first = push(
        &mut publisher,
        parts(Kind::Video, Role::Key, 0, 10),
        0,
        form,
    );
    let (share, shared) = oneshot::channel::<std::sync::mpsc::Receiver<bool>>();
    let (switch, switched) = std::sync::mpsc::channel::<bool>();
    share.send(switched).unwrap();
    let mut shared = Some(shared.await.unwrap());
    let (mut client, _told) = world
        .view(publisher.stream(), move |outlet, stream| {
            let playing = outlet.play(stream, play(Rendition::Flv, 1)).unwrap();
            let switched = shared.take().unwrap();
            let shard = Rc::clone(outlet.shard());
            shard.run(async move {
                loop {
                    match switched.try_recv() {
                        Ok(on) => playing.set_video(on),
                        Err(std::sync::mpsc::TryRecvError::Disconnected) => return,
                        Err(std::sync::mpsc::TryRecvError::Empty) => {}
                    }
                    sleep(Duration::from_millis(1)).await;
                }
            });
            Vec::new()
        })
        .await;
    expect(&mut client, &first).await;
    let mut push_video = |role, time: u32| {
        push(
            &mut publisher,
            parts(Kind::Video, role, time, 10),
            time.into(),
            form,
        )
    };
    switch.send(false).unwrap();
    sleep(Duration::from_millis(50)).await;
    push_video(Role::Inter, 40);
    nothing_more(&mut client).await;
    switch.send(true).unwrap();
    sleep(Duration::from_millis(50)).await;
    push_video(Role::Inter, 80);
    nothing_more(&mut client).await;
    let key = push_video(Role::Key, 120);
    expect(&mut client, &key).await;
    let inter = push_video(Role::Inter, 160);
    expect(&mut client, &inter).await;
}

#[tokio::test]
async fn with_a_merge_time_every_viewer_gets_every_frame_in_order() {
    for ms in [1, 5, 20, 40, 160] {
        gets_every_frame_in_order(Latency::Fixed(Duration::from_millis(ms))).await;
    }
}

async fn gets_every_frame_in_order(latency: Latency) {
    let world = World::paced(Limits::default(), latency);
    let mut publisher = world.publish();
    let mut expected = b"HEAD".to_vec();
    let key = parts(Kind::Video, Role::Key, 0, 300);
    expected.extend(push(&mut publisher, key, 0, Rendition::Flv));
    let stream = Arc::clone(publisher.stream());
    let mut viewers = Vec::new();
    for _ in 0..20 {
        viewers.push(world.view(&stream, flv).await.0);
    }
    for n in 1..20_u32 {
        let frame = parts(Kind::Video, Role::Inter, n * 20, 300);
        expected.extend(push(
            &mut publisher,
            frame,
            u64::from(n) * 20,
            Rendition::Flv,
        ));
        sleep(Duration::from_millis(5)).await;
    }
    for viewer in &mut viewers {
        expect(viewer, &expected).await;
    }
    // And what ends is told at once, to all of them.
    publisher.end();
    for viewer in &mut viewers {
        let end = timeout(PATIENCE, viewer.read(&mut [0; 16])).await;
        assert_eq!(end.unwrap().unwrap(), 0);
    }
}

#[tokio::test]
async fn video_that_stopped_is_shown_from_its_next_key_frame_on() {
    let world = World::new(Limits::default());
    let mut publisher = world.publish();
    let stream = Arc::clone(publisher.stream());
    let form = Rendition::Flv;
    let mut push = |kind, role, time: u32| {
        let frame = parts(kind, role, time, 10);
        push(&mut publisher, frame, time.into(), form)
    };
    push(Kind::Video, Role::Key, 0);
    for time in (20..=6_000).step_by(20) {
        push(Kind::Audio, Role::Inter, time);
    }
    let (mut client, _told) = world.view(&stream, flv).await;
    expect(&mut client, b"HEAD").await;
    let audio = push(Kind::Audio, Role::Inter, 6_020);
    expect(&mut client, &audio).await;
    // Nobody could show this.
    push(Kind::Video, Role::Inter, 6_040);
    nothing_more(&mut client).await;
    let key = push(Kind::Video, Role::Key, 6_080);
    expect(&mut client, &key).await;
    let inter = push(Kind::Video, Role::Inter, 6_120);
    expect(&mut client, &inter).await;
}
