//! A master, mirrors that come and go, mirrors of mirrors, packagers that begin anywhere: whoever has
//! a segment of a name has the same one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use proptest::prelude::*;

use super::super::{Following, inspect, wire_time};
use super::*;
use crate::media::StreamName;
use crate::relay::{
    Claim, Cursor, EpochInfo, Hub, HubConfig, JoinMode, NoWake, Publisher, Stream, Tail,
};
use crate::rtmp::message::kind;
use crate::wire::hex;

const WALL: u64 = 1_790_000_000_000;
/// `AVCDecoderConfigurationRecord` of 426x240, as x264 made it, behind the tag's own five bytes.
const AVC: &str =
    "17000000000142c015ffe100196742c015da06c1f6ff88800080000003008000001e078b175001000468ce3c80";

fn name() -> StreamName {
    StreamName::new("live", "event").unwrap()
}

/// A packager, and what it made, by epoch and number.
type Packaging = (Tail, Following, BTreeMap<(u64, u64), hls::Segment>);

/// One server: its streams, and the packagers that follow one of them.
struct Server {
    hub: Arc<Hub>,
    source: Option<Publisher>,
    /// What its packagers made, each for itself.
    packagers: Vec<Packaging>,
    lost: usize,
}

impl Server {
    fn new(config: HubConfig) -> Self {
        Self {
            hub: Hub::new(config),
            source: None,
            packagers: Vec::new(),
            lost: 0,
        }
    }

    fn stream(&self) -> Option<Arc<Stream>> {
        self.hub.get(&name())
    }

    fn begin_packaging(&mut self) {
        if let Some(stream) = self.stream() {
            let tail = Tail::new(stream, Arc::new(NoWake));
            self.packagers
                .push((tail, Following::default(), BTreeMap::new()));
        }
    }

    fn package(&mut self) {
        for (tail, following, made) in &mut self.packagers {
            tail.refresh();
            let mut more = true;
            while more {
                more = following.turn(tail, 7, |segment| match segment {
                    Ok(segment) => {
                        let before = made.insert((segment.epoch, segment.number), segment);
                        assert!(before.is_none(), "made twice");
                    }
                    Err(NoSegment::Incomplete) => self.lost += 1,
                    Err(other) => panic!("{other}"),
                });
            }
        }
    }
}

/// A mirror's pull: what the wire would carry, carried at once.
struct Pull {
    tail: Tail,
    cursor: Cursor,
    told: Option<(u64, EpochInfo)>,
    mark: Option<EpochInfo>,
    went_on: bool,
}

impl Pull {
    fn new(above: &Server, now: Instant) -> Option<Self> {
        let tail = Tail::new(above.stream()?, Arc::new(NoWake));
        let long = JoinMode::Gop {
            max: Duration::from_secs(60),
        };
        let cursor = tail.join(long, now);
        Some(Self {
            tail,
            cursor,
            told: None,
            mark: None,
            went_on: false,
        })
    }

    /// Carries up to `most` frames down.
    fn carry(&mut self, to: &mut Server, most: usize, (now, wall): (Instant, u64), id: u64) {
        self.tail.refresh();
        for _ in 0..most {
            if !self.tail.settle(&mut self.cursor) {
                break;
            }
            if let Some(info) = self.tail.epoch(&self.cursor) {
                let jumps = self.cursor.jumps();
                let same = self.told.is_some_and(|(at, told)| {
                    at == jumps
                        && told.id == info.id
                        && told.wall_ms == info.wall_ms
                        && told.run == info.run
                });
                if !same {
                    self.told = Some((jumps, info));
                    let info = EpochInfo { run: 0, ..info }; // it does not travel
                    self.mark = Some(info);
                    if let Some(publisher) = &mut to.source {
                        publisher.epoch(info).unwrap();
                    }
                }
            }
            let Some(frame) = self.tail.upcoming(&self.cursor).next().map(Arc::clone) else {
                break;
            };
            self.cursor.advance();
            let message = match frame.kind {
                Kind::Audio => kind::AUDIO,
                Kind::Video => kind::VIDEO,
                Kind::Data => kind::DATA_AMF0,
                Kind::Notice => continue,
            };
            let parts = inspect(message, wire_time(frame.time), frame.payload.clone()).unwrap();
            if to.source.is_none() {
                let claim = Claim {
                    epoch: self.mark,
                    ..Claim::of_a_test(id)
                };
                let mut publisher = to.hub.publish(&name(), claim, now, wall).unwrap();
                if std::mem::replace(&mut self.went_on, true) {
                    publisher.goes_on();
                }
                to.source = Some(publisher);
            }
            to.source.as_mut().unwrap().push(parts, now).unwrap();
        }
    }
}

/// What happens next.
#[derive(Debug, Clone)]
enum Step {
    /// The encoder sends on for so many ms, with key frames so far apart.
    Send { ms: u64, gop: u64 },
    /// The encoder is cut and comes back after so many ms, with another clock.
    Reconnect { away: u64, clock: u32 },
    /// The master's memory is gone.
    Restart { away: u64 },
    /// The pull of a mirror is cut.
    Cut(usize),
    /// The pull of a mirror begins.
    Join(usize),
    /// So many frames go over each link, in bits and pieces or all.
    Carry(usize),
    /// A packager begins on a server.
    Package(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (200u64..4000, prop_oneof![Just(400u64), Just(1000), Just(2000), 300u64..5000])
            .prop_map(|(ms, gop)| Step::Send { ms, gop }),
        1 => (0u64..3000, any::<u32>()).prop_map(|(away, clock)| Step::Reconnect { away, clock }),
        1 => (0u64..3000).prop_map(|away| Step::Restart { away }),
        2 => (0usize..3).prop_map(Step::Cut),
        3 => (0usize..3).prop_map(Step::Join),
        4 => prop_oneof![0usize..40, Just(10_000)].prop_map(Step::Carry),
        3 => (0usize..4).prop_map(Step::Package),
    ]
}

/// The whole: server 0 is the master; 1 and 2 pull from it, 3 from 1.
struct World {
    begin: Instant,
    ms: u64,
    servers: Vec<Server>,
    pulls: [Option<Pull>; 3],
    ids: u64,
    /// The encoder: its clock less the world's, the next picture's number, what came last.
    clock: u32,
    picture: u64,
    since_key: u64,
    sound: u64,
    video: bool,
    config: HubConfig,
}

impl World {
    fn new(config: HubConfig, video: bool) -> Self {
        Self {
            begin: Instant::now(),
            ms: 0,
            servers: (0..4).map(|_| Server::new(config)).collect(),
            pulls: [const { None }; 3],
            ids: 1,
            clock: 0,
            picture: 0,
            since_key: u64::MAX,
            sound: 0,
            video,
            config,
        }
    }

    fn now(&self) -> Instant {
        self.begin + Duration::from_millis(self.ms)
    }

    fn publish(&mut self) {
        self.ids += 1;
        let claim = Claim::of_a_test(self.ids);
        let (now, wall) = (self.now(), WALL + self.ms);
        let master = &mut self.servers[0];
        master.source = Some(master.hub.publish(&name(), claim, now, wall).unwrap());
        if self.video {
            self.push(kind::VIDEO, hex(AVC), 0);
        }
        self.push(kind::AUDIO, hex("af001210"), 0);
        self.since_key = u64::MAX;
    }

    fn push(&mut self, message: u8, payload: Vec<u8>, early: u32) {
        let wire = u32::try_from(self.ms & 0xffff_ffff).unwrap();
        let wire = wire.wrapping_add(self.clock).wrapping_sub(early);
        let parts = inspect(message, wire, Bytes::from(payload)).unwrap();
        let now = self.now();
        let publisher = self.servers[0].source.as_mut().unwrap();
        publisher.push(parts, now).unwrap();
    }

    fn send(&mut self, ms: u64, gop: u64) {
        if self.servers[0].source.is_none() {
            self.publish();
        }
        for _ in 0..ms / 20 {
            self.ms += 20;
            if self.video && self.ms.is_multiple_of(40) {
                let key = self.since_key >= gop;
                self.since_key = if key { 40 } else { self.since_key + 40 };
                self.picture += 1;
                let mut tag = vec![if key { 0x17 } else { 0x27 }, 1, 0, 0, 40];
                tag.extend(self.picture.to_be_bytes());
                self.push(kind::VIDEO, tag, 0);
            }
            self.sound += 1;
            let mut tag = vec![0xaf, 1];
            tag.extend(self.sound.to_be_bytes());
            // Sound is a little behind the pictures among which it is sent, and not evenly.
            let early = u32::try_from(self.sound * 7 % 30).unwrap();
            self.push(kind::AUDIO, tag, if self.video { early } else { 0 });
        }
    }

    /// The encoder sends and all links carry, as it is in good times.
    fn flow(&mut self, ms: u64, gop: u64) {
        for _ in 0..ms / 200 {
            self.send(200, gop);
            self.step(&Step::Carry(10_000));
        }
    }

    fn carry(&mut self, most: usize) {
        let (now, wall) = (self.now(), WALL + self.ms);
        for at in 0..3 {
            self.ids += 1;
            let Some(pull) = &mut self.pulls[at] else {
                continue;
            };
            // No two clocks on the wall agree.
            let wall = wall + 1_700 * at as u64;
            pull.carry(&mut self.servers[at + 1], most, (now, wall), self.ids);
        }
    }

    fn cut(&mut self, at: usize) {
        if self.pulls[at].take().is_some()
            && let Some(publisher) = self.servers[at + 1].source.take()
        {
            publisher.cut(self.begin + Duration::from_millis(self.ms));
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Send { ms, gop } => self.send(ms, gop),
            Step::Reconnect { away, clock } => {
                if let Some(publisher) = self.servers[0].source.take() {
                    publisher.cut(self.now());
                    self.ms += away;
                    self.clock = clock;
                    self.publish();
                }
            }
            Step::Restart { away } => {
                // The pulls are cut; the packagers on the master are gone with it, and what they made
                // is kept to be compared.
                self.cut(0);
                self.cut(1);
                self.ms += away;
                let made = std::mem::take(&mut self.servers[0].packagers);
                let lost = self.servers[0].lost;
                self.servers[0] = Server::new(self.config);
                self.servers[0].lost = lost;
                self.servers.push(Server::new(self.config));
                self.servers.last_mut().unwrap().packagers = made;
            }
            Step::Cut(at) => self.cut(at),
            Step::Join(at) => {
                if self.pulls[at].is_none() {
                    let above = if at == 2 { 1 } else { 0 };
                    self.pulls[at] = Pull::new(&self.servers[above], self.now());
                }
            }
            Step::Carry(most) => self.carry(most),
            Step::Package(at) => self.servers[at].begin_packaging(),
        }
        for server in self.servers.iter_mut().take(4) {
            server.package();
        }
    }

    /// Everything made, by all: each name must have one content. Gives how many there were.
    fn compare(&self) -> BTreeMap<(u64, u64), usize> {
        let mut all: BTreeMap<(u64, u64), (&hls::Segment, usize)> = BTreeMap::new();
        for (_, _, made) in self.servers.iter().flat_map(|s| &s.packagers) {
            let mut before: Option<&hls::Segment> = None;
            for segment in made.values() {
                let key = (segment.epoch, segment.number);
                let (first, count) = all.entry(key).or_insert((segment, 0));
                *count += 1;
                let same = *first == segment;
                assert!(
                    same,
                    "one name, two contents: {} {}",
                    first.duration, segment.duration
                );
                if let Some(b) = before.filter(|b| b.epoch == segment.epoch) {
                    assert!(b.number < segment.number && b.date < segment.date);
                    if b.number + 1 == segment.number {
                        assert_eq!(b.date + b.duration, segment.date, "no gap, no overlap");
                    }
                }
                before = Some(segment);
            }
        }
        all.into_iter().map(|(key, (_, n))| (key, n)).collect()
    }
}

fn small() -> HubConfig {
    HubConfig {
        log_time: Duration::from_secs(12),
        ..HubConfig::default()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn whoever_has_a_segment_has_the_same(
        steps in proptest::collection::vec(step(), 1..60),
        video in proptest::bool::weighted(0.8),
    ) {
        let mut world = World::new(small(), video);
        for step in &steps {
            world.step(step);
        }
        world.compare();
    }
}

/// What can be said of the count: a mirror whose pull is not cut lacks nothing.
#[test]
fn a_mirror_that_is_not_cut_has_all_and_late_packagers_have_what_the_log_holds() {
    for video in [true, false] {
        let mut world = World::new(small(), video);
        // Sound alone is known as such after a second, and joined in the middle.
        world.send(if video { 200 } else { 1400 }, 2000);
        world.step(&Step::Package(0));
        world.step(&Step::Join(0));
        world.send(40, 2000);
        world.step(&Step::Carry(100));
        world.step(&Step::Package(1));
        for _ in 0..10 {
            world.flow(2000, 2000);
        }
        world.step(&Step::Join(1));
        world.step(&Step::Carry(10_000));
        world.step(&Step::Package(1));
        world.flow(6000, 2000);
        world.step(&Step::Package(2));
        world.step(&Step::Carry(1));
        let counts: Vec<usize> = world.compare().values().copied().collect();
        let made =
            |server: usize, packager: usize| world.servers[server].packagers[packager].2.len();
        assert_eq!(world.servers.iter().map(|s| s.lost).sum::<usize>(), 0);
        let all = counts.len();
        assert!(all >= 11, "{all}");
        assert_eq!(made(0, 0), all, "the master itself");
        assert_eq!(made(1, 0), all - usize::from(!video), "from the beginning");
        assert!(made(1, 1) >= 7, "a log of 12 s: {}", made(1, 1));
        assert!(made(2, 0) >= 2, "pulled late: {}", made(2, 0));
    }
}

/// A cut of the pull that the master's cached group of pictures bridges costs no segment; a longer one
/// costs those that it tore, and a new epoch goes on with the numbers.
#[test]
fn a_cut_costs_what_it_tore_and_an_epoch_goes_on_with_the_numbers() {
    let mut world = World::new(small(), true);
    world.send(200, 2000);
    for server in 0..3 {
        if server > 0 {
            world.step(&Step::Join(server - 1));
            world.step(&Step::Carry(10_000));
        }
        world.step(&Step::Package(server));
    }
    world.flow(5000, 2000);
    // Within one group of pictures.
    world.cut(0);
    world.send(200, 2000);
    world.step(&Step::Join(0));
    world.step(&Step::Carry(10_000));
    world.flow(8000, 2000);
    assert_eq!(world.servers[1].lost, 0, "bridged");
    let before = world.compare().len();
    assert_eq!(world.servers[1].packagers[0].2.len(), before);
    // Over two.
    world.cut(0);
    world.flow(5000, 2000);
    world.step(&Step::Join(0));
    world.step(&Step::Carry(10_000));
    world.flow(4000, 2000);
    assert_eq!(world.servers[1].lost, 1, "torn");
    // The encoder comes back with another clock: the tail of the epoch is a segment too.
    world.step(&Step::Reconnect {
        away: 700,
        clock: 4_000_000_000,
    });
    world.flow(6000, 2000);
    world.step(&Step::Carry(0));
    world.compare();
    let made: Vec<&hls::Segment> = world.servers[2].packagers[0].2.values().collect();
    let mut made = made;
    made.sort_by_key(|s| s.number);
    for pair in made.windows(2) {
        assert_eq!(pair[1].number, pair[0].number + 1, "no number is missing");
        let step = u64::from(pair[0].epoch != pair[1].epoch);
        assert_eq!(pair[1].discontinuity, pair[0].discontinuity + step);
    }
    let epochs = made.iter().filter(|s| s.epoch != made[0].epoch).count();
    assert!(epochs >= 2, "{epochs}");
    // The master's memory is lost: the numbers go on higher.
    let last = made.last().unwrap().number;
    world.step(&Step::Restart { away: 1000 });
    world.send(200, 2000);
    world.step(&Step::Join(1));
    world.step(&Step::Carry(10_000));
    world.flow(6000, 2000);
    let made = &world.servers[2].packagers[0].2;
    let newest = made.values().map(|s| s.number).max().unwrap();
    assert!(newest > last + 1);
    world.compare();
}

/// A group of pictures may be as large as an encoder likes: what is collected of it is bounded, and the next
/// one is a segment again.
#[test]
fn a_segment_that_is_too_large_is_none_and_the_next_one_is() {
    let mut world = World::new(small(), true);
    world.send(200, 2000);
    let mut tail = Tail::new(world.servers[0].stream().unwrap(), Arc::new(NoWake));
    let mut following = Following::default();
    let mut made = Vec::new();
    for group in 0..4 {
        for picture in 0..50 {
            world.ms += 40;
            let mut tag = vec![if picture == 0 { 0x17 } else { 0x27 }, 1, 0, 0, 40];
            tag.resize(if group == 1 { 1 << 20 } else { 1000 }, 7);
            world.push(kind::VIDEO, tag, 0);
            tail.refresh();
            while following.turn(&tail, 7, |segment| made.push(segment)) {}
        }
    }
    let [Ok(before), Err(why), Ok(after)] = &made[..] else {
        panic!("{made:?}")
    };
    assert_eq!(*why, NoSegment::TooLarge);
    assert_eq!(after.number, before.number + 2, "its number is missing");
}
