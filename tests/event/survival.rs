//! Streams outlive their sources: viewers stay connected and go on.

use std::time::Duration;

use crtmpserver::config::Role;

use crate::world::*;

#[tokio::test]
async fn frames_travel_through_master_and_mirrors_unchanged() {
    let folder = folder();
    let master = Running::start(settings(Role::Master, folder.path()));
    let mirror = Running::start(mirror_of(master.rtmp, folder.path()));
    let below = Running::start(mirror_of(mirror.rtmp, folder.path()));
    let encoder = Encoder::start(master.rtmp, 0).await;
    let near = Viewer::start(mirror.rtmp).await;
    let far = Viewer::start(below.rtmp).await;
    for viewer in [&near, &far] {
        assert_unbroken(&viewer.until_frame(60).await.numbers);
    }
    let late = Viewer::start(below.rtmp).await;
    assert_unbroken(&late.until_frame(100).await.numbers);
    encoder.finish().await;
}

#[tokio::test]
async fn an_encoder_that_was_cut_comes_back_to_its_viewers() {
    let folder = folder();
    let master = Running::start(settings(Role::Master, folder.path()));
    let mirror = Running::start(mirror_of(master.rtmp, folder.path()));
    let encoder = Encoder::start(master.rtmp, 0).await;
    let viewer = Viewer::start(mirror.rtmp).await;
    viewer.until_frame(30).await;
    encoder.cut().await;
    let waiting = "NetStream.Play.Waiting";
    viewer
        .until("told that the stream waits", |s| {
            s.codes.iter().any(|c| c == waiting)
        })
        .await;
    let _encoder = Encoder::start(master.rtmp, 1000).await;
    let seen = viewer.until_frame(1050).await;
    let back = seen.numbers.iter().position(|n| *n >= 1000).unwrap();
    assert_unbroken(&seen.numbers[..back]);
    assert_unbroken(&seen.numbers[back..]);
    assert_eq!(seen.numbers[back], 1000, "nothing of the new run is lost");
}

#[tokio::test]
async fn a_mirror_that_comes_long_into_a_pause_has_the_stream() {
    let folder = folder();
    let mut settings = settings(Role::Master, folder.path());
    // The pictures of before are too old for anybody at once.
    settings.relay.join_max = Duration::from_millis(200);
    let master = Running::start(settings);
    let encoder = Encoder::start(master.rtmp, 0).await;
    let other = Running::start(mirror_of(master.rtmp, folder.path()));
    Viewer::start(other.rtmp).await.until_frame(10).await;
    encoder.cut().await;
    tokio::time::sleep(Duration::from_millis(600)).await;

    let mirror = Running::start(mirror_of(master.rtmp, folder.path()));
    let begun = tokio::time::Instant::now();
    while !mirror.get("/live/event.json").await.contains("\"waiting\"") {
        assert!(begun.elapsed() < PATIENCE, "it is not there");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let viewer = Viewer::start(mirror.rtmp).await;
    let _encoder = Encoder::start(master.rtmp, 1000).await;
    let seen = viewer.until_frame(1050).await;
    assert_eq!(
        seen.numbers[0], 1000,
        "nothing old, and nothing new is lost"
    );
    assert_unbroken(&seen.numbers);
}

#[tokio::test]
async fn viewers_of_a_mirror_outlive_its_master() {
    let folder = folder();
    let master = Running::start(settings(Role::Master, folder.path()));
    let address = master.rtmp;
    let mirror = Running::start(mirror_of(address, folder.path()));
    let encoder = Encoder::start(address, 0).await;
    let viewer = Viewer::start(mirror.rtmp).await;
    viewer.until_frame(30).await;
    encoder.fall_silent().await;
    master.stop().await;
    tokio::time::sleep(Duration::from_millis(300)).await;

    let mut again = settings(Role::Master, folder.path());
    again.listen.rtmp = vec![address];
    let _master = Running::start(again);
    let _encoder = Encoder::start(address, 2000).await;
    let seen = viewer.until_frame(2050).await;
    let back = seen.numbers.iter().position(|n| *n >= 2000).unwrap();
    assert_unbroken(&seen.numbers[..back]);
    assert_unbroken(&seen.numbers[back..]);
}

#[tokio::test]
async fn a_silent_encoder_is_taken_over_with_the_same_credentials() {
    let folder = folder();
    let master = Running::start(settings(Role::Master, folder.path()));
    let mirror = Running::start(mirror_of(master.rtmp, folder.path()));
    let first = Encoder::start(master.rtmp, 0).await;
    let viewer = Viewer::start(mirror.rtmp).await;
    viewer.until_frame(30).await;
    let busy = Encoder::try_start(master.rtmp, 500).await.err();
    assert_eq!(
        busy.as_deref(),
        Some("NetStream.Publish.BadName"),
        "the first one sends"
    );

    let half_open = first.fall_silent().await;
    tokio::time::sleep(Duration::from_millis(1200)).await;
    let _second = Encoder::start(master.rtmp, 3000).await;
    let seen = viewer.until_frame(3050).await;
    let back = seen.numbers.iter().position(|n| *n >= 3000).unwrap();
    assert_unbroken(&seen.numbers[back..]);
    drop(half_open);
}

#[tokio::test]
async fn a_stream_that_ended_ends_for_viewers_after_the_grace() {
    let folder = folder();
    let mut config = settings(Role::Master, folder.path());
    config.relay.grace = Some(Duration::from_secs(1));
    let master = Running::start(config);
    let mirror = Running::start(mirror_of(master.rtmp, folder.path()));
    let encoder = Encoder::start(master.rtmp, 0).await;
    let viewer = Viewer::start(mirror.rtmp).await;
    viewer.until_frame(30).await;
    encoder.finish().await;
    let over = "NetStream.Play.UnpublishNotify";
    viewer
        .until("told that the stream is over", |s| {
            s.codes.iter().any(|c| c == over)
        })
        .await;
    eventually("the mirror forgets it", || mirror.hub.streams().is_empty()).await;
    eventually("the master forgets it", || master.hub.streams().is_empty()).await;

    let _encoder = Encoder::start(master.rtmp, 0).await;
    let viewer = Viewer::start(mirror.rtmp).await;
    viewer.until_frame(20).await;
}

#[tokio::test]
async fn a_player_that_comes_before_the_encoder_gets_the_picture() {
    let folder = folder();
    let master = Running::start(settings(Role::Master, folder.path()));
    let mirror = Running::start(mirror_of(master.rtmp, folder.path()));
    let early = Viewer::start(mirror.rtmp).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let _encoder = Encoder::start(master.rtmp, 0).await;
    let seen = early.until_frame(20).await;
    assert_eq!(seen.numbers[0], 0, "from the first frame on");
}

#[tokio::test]
async fn a_stop_is_clean() {
    let folder = folder();
    let master = Running::start(settings(Role::Master, folder.path()));
    let mirror = Running::start(mirror_of(master.rtmp, folder.path()));
    let _encoder = Encoder::start(master.rtmp, 0).await;
    let viewer = Viewer::start(mirror.rtmp).await;
    viewer.until_frame(20).await;
    mirror.stop().await;
    eventually("the viewer's connection ends", || {
        viewer.seen().ended.is_some()
    })
    .await;
    let codes = viewer.seen().codes;
    assert!(
        codes.iter().any(|c| c == "NetStream.Play.UnpublishNotify"),
        "{codes:?}"
    );
    master.stop().await;
}
