//! Who gets a stream, how long it lives, who hears of it.

use super::*;

#[test]
fn a_second_publisher_is_busy_until_the_first_is_silent() {
    let mut rig = Rig::new();
    let bell = Arc::new(Bell::default());
    let displaced = Arc::clone(&bell) as Arc<dyn Wake>;
    let first = Claim {
        displaced,
        ..claim(Some("user"), 1)
    };
    let mut first = rig.try_publish(first).unwrap();
    rig.pass(5_000);
    first.push(key(0, "k"), rig.now).unwrap();
    rig.pass(999);
    let again = || claim(Some("user"), 2);
    assert_eq!(rig.try_publish(again()).unwrap_err(), PublishError::Busy);
    first.push(data(1, "data is no media"), rig.now).unwrap();
    rig.pass(1);
    assert_eq!(
        rig.try_publish(claim(Some("other"), 2)).unwrap_err(),
        PublishError::Busy
    );
    assert_eq!(
        rig.try_publish(claim(None, 2)).unwrap_err(),
        PublishError::Busy
    );
    let mut second = rig.try_publish(again()).unwrap();
    assert_eq!(bell.rings(), 1);
    assert!(first.is_displaced());
    assert_eq!(first.push(key(2, "late"), rig.now), Err(Displaced));
    assert_eq!(first.epoch(EpochInfo::default()), Err(Displaced));
    second.push(key(0, "k"), rig.now).unwrap();
    first.finish(rig.now);
    assert_eq!(
        second.stream().state(),
        State::Live,
        "the first has no say any more"
    );
}

#[test]
fn streams_are_counted_at_the_limit_and_over_it() {
    let mut rig = Rig::with(HubConfig {
        max_streams: 2,
        ..HubConfig::default()
    });
    let publish = |rig: &Rig, text: &str| {
        let name = StreamName::new("live", text).unwrap();
        rig.hub.publish(&name, claim(None, 1), rig.now, WALL)
    };
    let _a = publish(&rig, "a").unwrap();
    let b = publish(&rig, "b").unwrap();
    assert_eq!(
        publish(&rig, "c").unwrap_err(),
        PublishError::TooManyStreams
    );
    b.finish(rig.now);
    assert_eq!(
        publish(&rig, "c").unwrap_err(),
        PublishError::TooManyStreams
    );
    rig.pass(30_000);
    rig.quiet_tick();
    assert!(publish(&rig, "c").is_ok());
    let names: Vec<_> = rig
        .hub
        .list(rig.now)
        .into_iter()
        .map(|i| i.name.to_string())
        .collect();
    assert_eq!(names, ["live/a", "live/c"]);
}

#[test]
fn a_stream_outlives_its_source_by_the_grace() {
    let grace = Some(Duration::from_secs(10));
    let clean_grace = Duration::from_secs(5);
    for (grace, clean, seconds) in [
        (grace, false, Some(10)),
        (grace, true, Some(5)),
        (None, true, Some(5)),
        (None, false, None),
    ] {
        let config = HubConfig {
            grace,
            clean_grace,
            ..HubConfig::default()
        };
        let mut rig = Rig::with(config);
        let publisher = rig.publish();
        rig.pass(1);
        if clean {
            publisher.finish(rig.now);
        } else {
            publisher.cut(rig.now);
        }
        let limit = seconds.unwrap_or(1_000_000) * 1000;
        rig.pass(limit - 1);
        rig.quiet_tick();
        assert!(rig.hub.get(&name()).is_some());
        rig.pass(1);
        rig.quiet_tick();
        assert_eq!(rig.hub.get(&name()).is_some(), seconds.is_none());
    }
}

#[test]
fn a_dropped_publisher_waits_from_the_last_tick() {
    let mut rig = Rig::new();
    let publisher = rig.publish();
    rig.pass(60_000);
    rig.quiet_tick();
    let stream = Arc::clone(publisher.stream());
    drop(publisher);
    assert_eq!(stream.state(), State::Waiting { since: rig.now });
}

#[test]
fn an_encoder_that_is_back_in_time_keeps_the_stream() {
    let mut rig = Rig::new();
    let publisher = rig.publish();
    let stream = Arc::clone(publisher.stream());
    publisher.finish(rig.now);
    rig.pass(29_000);
    rig.quiet_tick();
    let publisher = rig.publish();
    assert!(Arc::ptr_eq(publisher.stream(), &stream));
    rig.pass(100_000);
    rig.quiet_tick();
    assert_eq!(stream.state(), State::Live);
}

#[test]
fn whoever_ends_a_stream_ends_its_publisher_too() {
    let rig = Rig::new();
    let bell = Arc::new(Bell::default());
    let displaced = Arc::clone(&bell) as Arc<dyn Wake>;
    let mut publisher = rig
        .try_publish(Claim {
            displaced,
            ..claim(None, 1)
        })
        .unwrap();
    rig.hub.end(&name());
    assert_eq!(bell.rings(), 1);
    assert_eq!(publisher.push(key(0, "k"), rig.now), Err(Displaced));
    assert_eq!(publisher.stream().state(), State::Ended);
    // one of the same name is another stream, and the old publisher does not touch it
    let next = rig.publish();
    drop(publisher);
    assert_eq!(next.stream().state(), State::Live);
}

#[test]
fn an_old_publisher_does_not_end_the_stream_of_its_successor() {
    let mut rig = Rig::new();
    let first = rig.publish();
    rig.pass(1_000);
    let second = rig.publish();
    first.end();
    assert_eq!(second.stream().state(), State::Live);
    assert!(rig.hub.get(&name()).is_some());
}

#[test]
fn watchers_hear_of_streams_states_and_epochs_alone() {
    let mut rig = Rig::new();
    let bell = Arc::new(Bell::default());
    let watch = rig.hub.watch(Arc::clone(&bell) as Arc<dyn Wake>);
    let before = std::cell::Cell::new((0, 0));
    let heard = |rig: &Rig, what: &str, expected: bool| {
        let (rings, version) = before.replace((bell.rings(), rig.hub.version()));
        assert_eq!(bell.rings() > rings, expected, "{what}");
        assert_eq!(rig.hub.version() > version, expected, "{what}");
    };
    let mut publisher = rig.publish();
    heard(&rig, "publish", true);
    publisher.push(key(0, "k"), rig.now).unwrap();
    heard(&rig, "first frame", true);
    publisher.push(key(1, "k"), rig.now).unwrap();
    heard(&rig, "another frame", false);
    publisher.cut(rig.now);
    heard(&rig, "cut", true);
    rig.tick();
    heard(&rig, "tick", false);
    rig.pass(60_000);
    assert_eq!(rig.hub.tick(rig.now, &|_, _| None), [name()]);
    heard(&rig, "end", true);
    drop(watch);
    let before = bell.rings();
    let _publisher = rig.publish();
    assert_eq!(bell.rings(), before);
}

#[test]
fn a_tail_is_woken_once_until_it_looked() {
    let rig = Rig::new();
    let mut publisher = rig.publish();
    let bell = Arc::new(Bell::default());
    let waker = Arc::clone(&bell) as Arc<dyn Wake>;
    let mut tail = Tail::new(Arc::clone(publisher.stream()), waker);
    for time in 0..5 {
        publisher.push(key(time, "k"), rig.now).unwrap();
    }
    assert_eq!(bell.rings(), 1);
    tail.refresh();
    publisher.push(key(9, "k"), rig.now).unwrap();
    assert_eq!(bell.rings(), 2);
    tail.refresh();
    publisher.cut(rig.now);
    assert_eq!(bell.rings(), 3);
    drop(tail);
    rig.hub.end(&name());
    assert_eq!(bell.rings(), 3);
}

#[test]
fn the_memory_of_an_ended_stream_goes_with_its_last_tail() {
    let rig = Rig::new();
    let mut publisher = rig.publish();
    publisher.push(key(0, "k"), rig.now).unwrap();
    let stream = Arc::downgrade(publisher.stream());
    let (one, two) = (rig.tail(), rig.tail());
    let frame = Arc::downgrade(&one.stream().lock().log.since(0).next().unwrap().frame);
    publisher.end();
    drop(one);
    assert!(stream.upgrade().is_some());
    drop(two);
    assert!(stream.upgrade().is_none());
    assert!(frame.upgrade().is_none());
}

#[test]
fn the_figures_are_those_of_the_stream() {
    let mut rig = Rig::new();
    let mut publisher = rig.publish();
    publisher.push(inter(0, "dropped"), rig.now).unwrap();
    publisher.push(key(0, "1234"), rig.now).unwrap();
    rig.pass(5);
    publisher.push(audio(0, "56"), rig.now).unwrap();
    let stream = Arc::clone(publisher.stream());
    let viewing = [
        stream.viewing(Protocol::Rtmp),
        stream.viewing(Protocol::Flv),
        stream.viewing(Protocol::Flv),
    ];
    let info = stream.info(rig.now);
    assert_eq!((info.frames, info.bytes, info.dropped), (3, 13, 1));
    assert_eq!(info.video, Some(FourCc(*b"avc1")));
    assert_eq!(info.audio, Some(FourCc(*b"mp4a")));
    assert_eq!(info.last_media, Some(rig.now));
    assert_eq!(info.since, rig.start);
    assert_eq!(info.source, "192.0.2.1:5");
    assert_eq!(info.identity.as_deref(), Some("user"));
    assert_eq!(
        (info.rtmp_viewers, info.flv_viewers, info.mirror_viewers),
        (1, 2, 0)
    );
    assert_eq!(stream.viewers().total(), 3);
    drop(viewing);
    assert_eq!(stream.viewers().total(), 0);
}

#[test]
fn a_changed_configuration_reaches_the_streams_that_are_there() {
    let rig = Rig::new();
    let mut publisher = rig.publish();
    for time in 0..10 {
        publisher.push(key(time, "k"), rig.now).unwrap();
    }
    rig.hub.set_config(HubConfig {
        log_frames: 3,
        ..rig.hub.config()
    });
    rig.quiet_tick();
    publisher.push(key(10, "k"), rig.now).unwrap();
    assert_eq!(publisher.stream().lock().log.since(0).count(), 3);
}
