//! Plays of made-up films, on a clock that a test moves.

use super::super::sample::Found;
use super::super::{Format, Sample};
use super::*;

/// A minute at 25 pictures a second, a key frame every second, 50 kB/s.
fn film() -> Arc<Index> {
    let sample = |n: u64| {
        Sample::new(&Found {
            time: n * 40,
            offset: n * 2000,
            size: 2000,
            kind: Kind::Video,
            key: n.is_multiple_of(25),
            header: false,
            composition: 0,
        })
        .unwrap()
    };
    let samples = (0..1500).map(sample).collect();
    Arc::new(Index::new(Format::Mp4, samples, 60_000).unwrap())
}

fn feed(start: u64, length: Option<u64>, ahead: u64) -> (Feed, Instant) {
    let now = Instant::now();
    let wanted = Wanted {
        start,
        length,
        seek: Seek::Key,
        ahead: Duration::from_secs(ahead),
        holds: Duration::from_secs(ahead),
    };
    (Feed::new(film(), wanted, now), now)
}

/// Everything that is due, as positions, and what comes then.
fn surge(feed: &mut Feed, now: Instant) -> (Range<usize>, Due) {
    let mut all: Option<Range<usize>> = None;
    loop {
        match feed.poll(now) {
            Due::Batch(batch) => {
                let bytes = batch.samples.len() * 2000;
                assert!(bytes <= FILE_BATCH && !batch.samples.is_empty());
                let begin = all.as_ref().map_or(batch.samples.start, |all| {
                    assert_eq!(
                        all.end, batch.samples.start,
                        "nothing twice, nothing left out"
                    );
                    all.start
                });
                assert_eq!(
                    batch.begins,
                    all.is_none() && feed.sent.1 == bytes as u64 || batch.begins
                );
                all = Some(begin..batch.samples.end);
            }
            due => return (all.unwrap_or(0..0), due),
        }
    }
}

#[test]
fn it_runs_ahead_by_what_the_player_holds() {
    let (mut feed, begun) = feed(0, None, 8);
    let (first, due) = surge(&mut feed, begun);
    assert_eq!(first, 0..201, "8 s at once, and the picture at 8 s");
    let rest = Duration::from_secs(2);
    assert_eq!(due, Due::At(begun + rest));
    let early = begun + rest - Duration::from_millis(1);
    assert_eq!(surge(&mut feed, early), (0..0, Due::At(begun + rest)));
    let (second, _) = surge(&mut feed, begun + rest);
    assert_eq!(second, 201..251, "what was played meanwhile");
    feed.set_holds(Duration::from_secs(3600));
    let (last, due) = surge(&mut feed, begun + rest);
    assert_eq!((last, due), (251..1500, Due::End), "all of it");
    assert_eq!(feed.totals(), (59.96, 3_000_000.0));
}

#[test]
fn start_and_length_cut_out_a_part() {
    let (mut feed, now) = feed(10_500, Some(2000), 60);
    let (part, due) = surge(&mut feed, now);
    // From the key frame at 10 s to the last picture before 12.5 s.
    assert_eq!((part, due), (250..313, Due::End));
    let (mut feed, now) = self::feed(0, Some(0), 60);
    assert_eq!(surge(&mut feed, now), (0..1, Due::End), "a single picture");
    let (mut feed, now) = self::feed(100_000, None, 60);
    assert_eq!(
        surge(&mut feed, now).0,
        1475..1500,
        "beyond the end: its last key frame"
    );
}

#[test]
fn the_end_is_told_when_the_player_is_near_it() {
    let now = Instant::now();
    let second = Duration::from_secs(1);
    let wanted = Wanted {
        start: 55_000,
        length: None,
        seek: Seek::Key,
        ahead: 15 * second,
        holds: Duration::ZERO,
    };
    let mut feed = Feed::new(film(), wanted, now);
    let (part, due) = surge(&mut feed, now);
    let last = Duration::from_millis(4960);
    assert_eq!((part, due), (1375..1500, Due::At(now + last)));
    feed.pause(now + second);
    assert_eq!(feed.poll(now + 100 * second), Due::Paused);
    feed.resume(0, now + 100 * second);
    assert_eq!(
        feed.poll(now + 100 * second),
        Due::At(now + 99 * second + last)
    );
    feed.set_holds(3 * second);
    assert_eq!(
        feed.poll(now + 100 * second),
        Due::At(now + 96 * second + last)
    );
    assert_eq!(feed.poll(now + 101 * second), Due::End);
}

#[test]
fn a_pause_loses_nothing_and_repeats_nothing() {
    let (mut feed, begun) = feed(0, None, 4);
    let (first, _) = surge(&mut feed, begun);
    feed.pause(begun + Duration::from_secs(1));
    let later = begun + Duration::from_secs(1000);
    assert_eq!(surge(&mut feed, later), (0..0, Due::Paused));
    assert!(!feed.resume(1000, later));
    let (second, _) = surge(&mut feed, later);
    assert_eq!(second, first.end..126, "the clock stood at 1 s");
    // A player that is further than what it was given skips there.
    feed.pause(later);
    assert!(feed.resume(30_000, later));
    assert_eq!(surge(&mut feed, later).0.start, 750);
    assert!(!feed.resume(1, later), "it does not pause");
}

#[test]
fn a_seek_begins_anew_whenever_it_comes() {
    let (mut feed, now) = feed(0, None, 4);
    surge(&mut feed, now);
    assert_eq!(feed.seek(30_999, now), 30_000);
    let Due::Batch(batch) = feed.poll(now) else {
        panic!("nothing")
    };
    assert!(batch.begins && batch.samples.start == 750);
    // Behind the end, and in a pause, which stays.
    feed.seek(u64::MAX, now);
    surge(&mut feed, now);
    assert_eq!(feed.poll(now), Due::End);
    feed.pause(now);
    assert_eq!(feed.seek(0, now), 0);
    assert_eq!(feed.poll(now), Due::Paused);
    feed.resume(0, now);
    assert_eq!(surge(&mut feed, now).0.start, 0);
}

#[test]
fn a_clock_that_jumps_does_not_stop_the_play() {
    let sample = |time: u64| {
        let found = Found {
            time,
            offset: 0,
            size: 10,
            kind: Kind::Audio,
            key: false,
            header: false,
            composition: 0,
        };
        Sample::new(&found).unwrap()
    };
    let samples = vec![
        sample(0),
        sample(40),
        sample(9_000_000),
        sample(9_000_040),
        sample(80),
    ];
    let index = Arc::new(Index::new(Format::Flv, samples, 9_000_080).unwrap());
    let now = Instant::now();
    let wanted = Wanted {
        start: 0,
        length: None,
        seek: Seek::Key,
        ahead: Duration::from_secs(1),
        holds: Duration::from_secs(1),
    };
    let mut feed = Feed::new(index, wanted, now);
    assert!(matches!(feed.poll(now), Due::Batch(batch) if batch.samples == (0..5)));
    assert_eq!(feed.poll(now), Due::End);
}

#[test]
fn video_is_switched_on_with_a_key_frame() {
    let (mut feed, now) = feed(0, None, 4);
    feed.receive(Some(false), Some(false));
    let Due::Batch(batch) = feed.poll(now) else {
        panic!("nothing")
    };
    let sample = feed.index.sample(0).unwrap();
    assert!(!batch.wants(0, &sample) && !batch.audio);
    surge(&mut feed, now);
    feed.receive(None, Some(true));
    let Due::Batch(batch) = feed.poll(now + Duration::from_secs(3)) else {
        panic!("nothing")
    };
    assert_eq!(batch.samples.start, 101);
    let sample = feed.index.sample(125).unwrap();
    assert!(batch.wants(125, &sample) && !batch.wants(124, &sample));
}

/// A film's first pictures are asked for like this.
const WHOLE: Wanted = Wanted {
    start: 0,
    length: None,
    seek: Seek::Key,
    ahead: Duration::from_secs(10),
    holds: Duration::ZERO,
};

#[test]
fn a_file_follows_another_on_one_timeline() {
    let (mut first, begun) = feed(0, Some(4000), 10);
    assert_eq!(surge(&mut first, begun).0, 0..100);
    assert!(first.is_spent());
    assert_eq!(first.ends(), 4000, "the length that was asked for");
    let wanted = Wanted {
        start: 30_000,
        length: Some(20_000),
        ..WHOLE
    };
    let mut second = first.followed_by(film(), wanted, begun);
    let Due::Batch(batch) = second.poll(begun) else {
        panic!("nothing")
    };
    assert!(batch.begins);
    let time = second.index.sample(batch.samples.start).unwrap().time();
    assert_eq!(time.wrapping_add(batch.shift), 4000);
    // The player is at 0, and is given 10 s: 6 s of the second file.
    assert_eq!(surge(&mut second, begun).0.end, 750 + 151);
    let later = begun + Duration::from_secs(5);
    assert_eq!(surge(&mut second, later).0.end, 750 + 276);
    // What the player says is on its own timeline.
    assert_eq!(second.seek(9_500, later), 9_000, "a key frame");
    assert_eq!(surge(&mut second, later).0.start, 875);
    assert_eq!(second.seek(0, later), 0, "before it: as the file has it");
    assert_eq!(surge(&mut second, later).0.start, 650);
}

#[test]
fn the_last_picture_lasts_as_long_as_the_file_says() {
    let (mut first, now) = feed(59_000, None, 10);
    surge(&mut first, now);
    assert_eq!(first.ends(), 60_000);
    let (mut liar, now) = feed(0, None, 1000);
    let mut index = Arc::into_inner(film()).unwrap();
    index.duration = 3_600_000;
    liar.index = Arc::new(index);
    surge(&mut liar, now);
    assert_eq!(
        liar.ends(),
        59_961,
        "nobody waits an hour for what is not there"
    );
}

#[test]
fn a_list_of_short_files_runs_ahead_no_further_than_one() {
    let short = Wanted {
        length: Some(1000),
        ..WHOLE
    };
    let now = Instant::now();
    let mut feed = Feed::new(film(), short, now);
    let mut given = 0;
    while given < 1000 {
        let (part, due) = surge(&mut feed, now);
        given += part.len();
        if !feed.is_spent() {
            assert!(matches!(due, Due::At(until) if until > now), "{due:?}");
            break;
        }
        feed = feed.followed_by(film(), short, now);
    }
    assert_eq!(given, 251, "10 s, and the picture there");
}

#[test]
fn a_pause_and_what_is_switched_off_stay_from_file_to_file() {
    let (mut first, begun) = feed(0, Some(4000), 10);
    surge(&mut first, begun);
    first.receive(Some(false), None);
    first.pause(begun + Duration::from_secs(1));
    let much_later = begun + Duration::from_secs(100);
    let mut second = first.followed_by(film(), WHOLE, much_later);
    assert!(second.is_paused());
    assert_eq!(second.poll(much_later), Due::Paused);
    assert!(!second.resume(1000, much_later));
    let Due::Batch(batch) = second.poll(much_later) else {
        panic!("nothing")
    };
    assert!(!batch.audio && batch.begins);
    // The player is at 1 s: 7 s of the second file.
    assert_eq!(surge(&mut second, much_later).0.end, 176);
    // Back into the first, of which the list knows where it began.
    let again = second.of_another(film(), WHOLE, 0, much_later);
    assert!(again.shown(2000) == 2000 && !again.is_paused());
}
