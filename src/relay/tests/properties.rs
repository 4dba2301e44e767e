//! Whatever a source sends and however viewers read: what each viewer gets can be decoded, is in
//! order, and its time never goes back.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::limits::MAX_JOIN_GOP;

/// What may happen.
#[derive(Debug, Clone)]
enum Step {
    /// A frame so many milliseconds after the one before it on its wire.
    Push(What, i32),
    /// The clock of the wire moves.
    Jump(u32),
    Pass(u64),
    Cut,
    Publish {
        id: u64,
        wire: u32,
    },
    /// A pull that knows its epoch and begins again a little earlier.
    Resume {
        back: u32,
    },
    Tick,
    Refresh,
    Join(bool),
    Read {
        viewer: usize,
        frames: usize,
    },
}

#[derive(Debug, Clone, Copy)]
enum What {
    Key,
    Inter,
    Audio,
    Data,
    Header(Slot),
}

fn step() -> impl Strategy<Value = Step> {
    let slot = prop_oneof![
        Just(Slot::Metadata),
        Just(Slot::VideoSequence(0)),
        Just(Slot::AudioSequence(0)),
        Just(Slot::AudioSequence(1)),
    ];
    let what = prop_oneof![
        2 => Just(What::Key),
        8 => Just(What::Inter),
        8 => Just(What::Audio),
        1 => Just(What::Data),
        2 => slot.prop_map(What::Header),
    ];
    prop_oneof![
        40 => (what, -30..300i32).prop_map(|(what, dt)| Step::Push(what, dt)),
        1 => any::<u32>().prop_map(Step::Jump),
        4 => (0..3_000u64).prop_map(Step::Pass),
        1 => Just(Step::Cut),
        1 => (2..5u64, any::<u32>()).prop_map(|(id, wire)| Step::Publish { id, wire }),
        1 => (0..3_000u32).prop_map(|back| Step::Resume { back }),
        2 => Just(Step::Tick),
        15 => Just(Step::Refresh),
        3 => any::<bool>().prop_map(Step::Join),
        25 => (0..4usize, 1..30usize).prop_map(|(viewer, frames)| Step::Read { viewer, frames }),
    ]
}

/// A frame as the log took it.
#[derive(Debug, Clone)]
struct Taken {
    kind: Kind,
    role: Role,
    /// The headers of its epoch that whoever decodes it must have.
    headers: BTreeMap<Slot, String>,
    /// Video had come in its epoch.
    video: bool,
    /// Behind it one may join without a key frame: there was no video, or it had stopped.
    sound: bool,
}

#[derive(Debug)]
struct Viewer {
    cursor: Cursor,
    has: BTreeMap<Slot, String>,
    times: BTreeMap<u8, u64>,
    /// Its last frame of the log.
    last: Option<usize>,
    /// What was there when it came is too old for it, up to this place.
    not_before: usize,
    /// Headers of the prelude it is in, and which jump that belongs to.
    prelude: (u64, Vec<(Slot, String)>),
    jumps: u64,
}

/// What of the source counts for who joins.
#[derive(Debug, Clone, Copy, Default)]
struct Source {
    /// Its publisher is there, and has pushed.
    pushes: bool,
    /// Its epoch has media.
    media: bool,
    /// When the newest media of all came.
    came: Option<Instant>,
    /// Frames in all.
    taken: usize,
}

struct World {
    rig: Rig,
    publisher: Option<Publisher>,
    tail: Option<Tail>,
    viewers: Vec<Viewer>,
    taken: Vec<Taken>,
    headers: BTreeMap<Slot, String>,
    epochs: u64,
    video: bool,
    source: Source,
    /// As of the last refresh.
    known: Source,
    wire: u32,
    count: usize,
}

const CONFIG: fn() -> HubConfig = || HubConfig {
    log_bytes: 400,
    log_frames: 60,
    log_time: Duration::from_secs(8),
    grace: None,
    ..HubConfig::default()
};

impl World {
    fn new() -> Self {
        Self {
            rig: Rig::with(CONFIG()),
            publisher: None,
            tail: None,
            viewers: Vec::new(),
            taken: Vec::new(),
            headers: BTreeMap::new(),
            epochs: 0,
            video: false,
            source: Source::default(),
            known: Source::default(),
            wire: 0,
            count: 0,
        }
    }

    fn publish(&mut self, claim: Claim) {
        self.publisher = None;
        self.source.pushes = false;
        let publisher = self.rig.try_publish(claim).unwrap();
        if self.tail.is_none() {
            self.tail = Some(self.rig.tail());
        }
        self.publisher = Some(publisher);
    }

    fn push(&mut self, what: What, dt: i32) {
        let Some(publisher) = &mut self.publisher else {
            return;
        };
        self.wire = self.wire.wrapping_add_signed(dt);
        self.count += 1;
        let payload = format!("{}", self.count);
        let parts = match what {
            What::Key => key(self.wire, &payload),
            What::Inter => inter(self.wire, &payload),
            What::Audio => audio(self.wire, &payload),
            What::Data => data(self.wire, &payload),
            What::Header(slot) => header(slot, self.wire, &payload),
        };
        let (kind, role) = (parts.kind, parts.role);
        let stream = Arc::clone(publisher.stream());
        let end = stream.lock().log.end();
        publisher.push(parts, self.rig.now).unwrap();
        let inner = stream.lock();
        assert!(inner.log.bytes() <= 400);
        assert!(inner.log.since(0).count() <= 60);
        let times: Vec<_> = inner.log.since(0).map(|e| e.frame.time).collect();
        if let (Some(first), Some(last)) = (times.first(), times.last()) {
            assert!(last.saturating_sub(*first) <= 8_000);
        }
        let taken = inner.log.end() > end;
        let sound = inner.is_sound();
        drop(inner);
        let epochs = stream.info(self.rig.now).epochs;
        if epochs != self.epochs {
            self.epochs = epochs;
            self.headers.clear();
            self.video = false;
            self.source.media = false;
        }
        self.source.pushes = true;
        self.video |= kind == Kind::Video;
        if taken && matches!(kind, Kind::Audio | Kind::Video) && !role.is_header() {
            self.source.media = true;
            self.source.came = Some(self.rig.now);
        }
        if let (false, Some(last)) = (taken, self.taken.last_mut()) {
            last.sound |= sound;
        }
        if taken {
            self.source.taken += 1;
            self.taken.push(Taken {
                kind,
                role,
                headers: self.headers.clone(),
                video: self.video,
                sound,
            });
            if let Role::Header(slot) = role {
                self.headers.insert(slot, payload);
            }
        }
    }

    fn read(&mut self, viewer: usize, frames: usize) {
        let (Some(tail), Some(viewer)) = (&self.tail, self.viewers.get_mut(viewer)) else {
            return;
        };
        for _ in 0..frames {
            if !tail.settle(&mut viewer.cursor) {
                break;
            }
            let in_prelude = viewer.cursor.prelude.is_some();
            let pos = usize::try_from(viewer.cursor.pos).unwrap();
            let frame = Arc::clone(tail.upcoming(&viewer.cursor).next().unwrap());
            viewer.cursor.advance();
            if frame.kind == Kind::Notice {
                continue;
            }
            viewer.got(&frame, &self.taken, (!in_prelude).then_some(pos));
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Push(what, dt) => self.push(what, dt),
            Step::Jump(by) => self.wire = self.wire.wrapping_add(by),
            Step::Pass(ms) => self.rig.pass(ms),
            Step::Cut => {
                self.publisher = None;
                self.source.pushes = false;
            }
            Step::Publish { id, wire } => {
                self.publish(claim(None, id));
                self.wire = wire;
            }
            Step::Resume { back } => {
                self.publish(Claim {
                    epoch: Some(EpochInfo {
                        id: 1,
                        wall_ms: WALL,
                        ordinal: 0,
                        ..EpochInfo::default()
                    }),
                    ..claim(None, 1)
                });
                self.wire = self.wire.wrapping_sub(back);
            }
            Step::Tick => self.rig.tick(),
            Step::Refresh => {
                if let Some(tail) = &mut self.tail {
                    tail.refresh();
                    self.known = self.source;
                }
            }
            Step::Join(gop) => {
                let mode = if gop {
                    JoinMode::default()
                } else {
                    JoinMode::Keyframe
                };
                if let Some(tail) = &self.tail
                    && self.viewers.len() < 4
                {
                    let known = self.known;
                    let old = |came| self.rig.now - came > MAX_JOIN_GOP;
                    let away = !known.pushes || !known.media;
                    let not_before = if !gop || away && known.came.is_some_and(old) {
                        known.taken
                    } else {
                        0
                    };
                    self.viewers.push(Viewer {
                        cursor: tail.join(mode, self.rig.now),
                        not_before,
                        has: BTreeMap::new(),
                        times: BTreeMap::new(),
                        last: None,
                        prelude: (0, Vec::new()),
                        jumps: 0,
                    });
                }
            }
            Step::Read { viewer, frames } => self.read(viewer, frames),
        }
    }
}

impl Viewer {
    fn got(&mut self, frame: &Frame, taken: &[Taken], pos: Option<usize>) {
        let payload = String::from_utf8(frame.payload.to_vec()).unwrap();
        if matches!(frame.kind, Kind::Audio | Kind::Video) {
            let time = self.times.entry(frame.kind as u8).or_insert(frame.time);
            assert!(frame.time >= *time, "{:?} went back", frame.kind);
            *time = frame.time;
        }
        let Some(pos) = pos else {
            assert!(frame.role.is_header(), "a prelude of headers");
            assert!(
                self.cursor.jumps() > self.jumps,
                "a prelude before a jump alone"
            );
            if let Role::Header(slot) = frame.role {
                if self.prelude.0 != self.cursor.jumps() {
                    self.prelude = (self.cursor.jumps(), Vec::new());
                }
                self.prelude.1.push((slot, payload.clone()));
                self.has.insert(slot, payload);
            }
            return;
        };
        let model = &taken[pos];
        assert!(pos >= self.not_before, "old pictures");
        assert_eq!((frame.kind, frame.role), (model.kind, model.role));
        let jumped = self.cursor.jumps() > self.jumps;
        self.jumps = self.cursor.jumps();
        let key = frame.kind == Kind::Video && frame.role == Role::Key;
        if jumped {
            // Without video one joins at the end; the next frame may be the first video there is.
            let before = pos.checked_sub(1).map(|before| &taken[before]);
            assert!(
                key || !model.video || before.is_some_and(|before| !before.video || before.sound),
                "joined or went on at {frame:?}"
            );
            assert!(self.last.is_none_or(|last| pos > last));
        } else {
            assert_eq!(
                Some(pos),
                self.last.map(|last| last + 1),
                "a gap without a jump"
            );
        }
        self.last = Some(pos);
        // One that joined at the end without video may have the headers of the epoch before.
        let before = pos.checked_sub(1).map(|before| &taken[before]);
        let at_end = before.is_some_and(|before| !before.video || before.sound);
        // One that skipped again before it was through has had headers for nothing.
        let left = self.prelude.0 != self.cursor.jumps();
        for (slot, payload) in self.prelude.1.drain(..) {
            let newest = model.headers.get(&slot);
            assert!(
                at_end || left || newest == Some(&payload),
                "{slot:?} of another epoch"
            );
        }
        for (slot, newest) in &model.headers {
            assert_eq!(self.has.get(slot), Some(newest), "{slot:?} at {pos}");
        }
        if let Role::Header(slot) = frame.role {
            self.has.insert(slot, payload);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn every_viewer_gets_what_it_can_decode(steps in prop::collection::vec(step(), 1..400)) {
        let mut world = World::new();
        world.publish(claim(None, 1));
        for step in steps {
            world.step(step);
        }
        // in the end everybody who reads has all there is
        if let Some(tail) = &mut world.tail {
            tail.refresh();
        }
        for viewer in 0..world.viewers.len() {
            world.read(viewer, usize::MAX);
        }
        for viewer in &world.viewers {
            let end = world.taken.len() as u64;
            prop_assert!(viewer.cursor.is_waiting() || viewer.cursor.pos == end);
        }
    }
}
