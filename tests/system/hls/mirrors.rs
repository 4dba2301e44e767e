//! Segments of several mirrors, compared byte by byte.

use std::process::Command;
use std::time::Duration;

use super::{Files, Playlist, collect, compare, fetch};
use crate::daemon::{Cluster, Server, mirror_binary, mirror_keys};
use crate::media::{Packets, programme};
use crate::programs::{publish, watch};
use crate::world::{World, pause, wait_within};

/// Servers that are looked at, and what each was seen to serve.
struct Watched {
    ports: Vec<u16>,
    files: Vec<Files>,
}

impl Watched {
    fn new(ports: &[u16]) -> Self {
        Self {
            ports: ports.to_vec(),
            files: ports.iter().map(|_| Files::new()).collect(),
        }
    }

    fn collect(&mut self, at: usize) -> Playlist {
        collect(self.ports[at], &mut self.files[at])
    }

    fn all(&mut self) -> Vec<Playlist> {
        (0..self.ports.len()).map(|at| self.collect(at)).collect()
    }

    /// Waits until one of them has so many segments more.
    fn until(&mut self, at: usize, more: u64) {
        let from = self.collect(at).last();
        wait_within(Duration::from_secs(60), "more segments", || {
            (self.collect(at).last() >= from + more).then_some(())
        });
    }

    /// How many segments the first has in common with each of the others, all of them the same.
    fn same(&self) -> Vec<usize> {
        let others = self.files.iter().skip(1);
        others.map(|files| compare(&self.files[0], files)).collect()
    }

    /// Waits until all have three segments of an epoch after this one, and agree.
    fn agree(&mut self, what: &str, after: u64) -> Vec<Playlist> {
        wait_within(Duration::from_secs(60), what, || {
            let lists = self.all();
            let first = (lists[0].last(), lists[0].discontinuity);
            let agree = lists.iter().all(|list| {
                let news = list.discontinuity > after && list.segments.len() > 2;
                news && (list.last(), list.discontinuity) == first
            });
            agree.then_some(lists)
        })
    }
}

/// One packages from the beginning, one on demand, one is started late.
pub(crate) fn whenever_they_began(world: &World) {
    let cluster = Cluster::start(world, 2);
    let url = cluster.master.login_url("live/event");
    let _encoder = publish(world, "encoder", &programme(), &url);
    for mirror in &cluster.mirrors {
        mirror.wait_live("live/event");
    }
    let mut watched = Watched::new(&[cluster.mirrors[0].http, cluster.mirrors[1].http]);
    watched.until(0, 4);
    let late = Server::launch(
        world,
        "mirror-3",
        &mirror_binary(),
        &mirror_keys(cluster.master.rtmp, &world.path("secret")),
    );
    late.wait_ready();
    late.wait_live("live/event");
    watched.collect(1);
    let same = watched.same();
    assert!(same[0] >= 3, "on demand, from the log: {same:?}");
    watched.ports.push(late.http);
    watched.files.push(Files::new());
    for _ in 0..3 {
        watched.until(0, 1);
        watched.all();
    }
    let same = watched.same();
    assert!(same[0] >= 5 && same[1] >= 2, "{same:?}");
    // Once all have enough, the playlists are the same to the letter.
    wait_within(Duration::from_secs(60), "the same playlist of all", || {
        let lists = watched.all();
        let full = lists[0].segments.len() == 6;
        (full && lists.iter().all(|list| list.text == lists[0].text)).then_some(())
    });
}

/// Over a reconnect of the encoder the numbers go on; over a restart of the master, whose memory is
/// lost, they are the same of all mirrors, and higher.
pub(crate) fn through_epochs(world: &World) {
    let mut cluster = Cluster::start(world, 2);
    let url = cluster.master.login_url("live/event");
    let mut encoder = publish(world, "encoder", &programme(), &url);
    for mirror in &cluster.mirrors {
        mirror.wait_live("live/event");
    }
    let mut watched = Watched::new(&[cluster.mirrors[0].http, cluster.mirrors[1].http]);
    watched.until(0, 2);
    let before = watched.collect(0);
    encoder.kill();
    pause(500);
    encoder = publish(world, "encoder-2", &programme(), &url);
    wait_within(
        Duration::from_secs(60),
        "both epochs in one playlist",
        || {
            let crossed = |list: &Playlist| list.text.contains("#EXT-X-DISCONTINUITY\n");
            watched.all().iter().all(crossed).then_some(())
        },
    );
    let lists = watched.agree("the second epoch alone", before.discontinuity);
    assert_eq!(lists[0].discontinuity, before.discontinuity + 1);
    let second = watched.same();
    cluster.master.kill_and_restart(world);
    cluster.master.wait_ready();
    encoder.kill();
    let _encoder = publish(world, "encoder-3", &programme(), &url);
    // Another mirror has not been there before.
    let new = Server::start(
        world,
        "mirror-3",
        &mirror_keys(cluster.master.rtmp, &world.path("secret")),
    );
    let lists = watched.agree("the third epoch", before.discontinuity + 1);
    assert!(lists[0].first > before.last(), "numbers went back");
    let third = watched.same();
    assert!(third[0] > second[0], "{second:?} {third:?}");
    new.wait_live("live/event");
    let mut files = Files::new();
    wait_within(
        Duration::from_secs(60),
        "the new mirror has them too",
        || {
            let list = collect(new.http, &mut files);
            watched.collect(0);
            let agrees = list.discontinuity == lists[0].discontinuity;
            (agrees && compare(&watched.files[0], &files) >= 3).then_some(())
        },
    );
}

/// A player that changes mirrors between two segments gets every packet.
pub(crate) fn a_player_may_change_mirrors(world: &World) {
    let source = Packets::of_file(world, "ffmpeg", "source", &programme());
    let cluster = Cluster::start(world, 2);
    let url = cluster.master.login_url("live/event");
    let _encoder = publish(world, "encoder", &programme(), &url);
    for mirror in &cluster.mirrors {
        mirror.wait_live("live/event");
    }
    let mut whole = Vec::new();
    let mut next: Option<u64> = None;
    for turn in 0..6_usize {
        let port = cluster.mirrors[turn % 2].http;
        let (init, segment, number) =
            wait_within(Duration::from_secs(30), "the next segment", || {
                let list = Playlist::read(port)?;
                let number = next.unwrap_or(list.first);
                let at = usize::try_from(number.checked_sub(list.first)?).ok()?;
                let (init, segment) = list.segments.get(at)?.clone();
                Some((init, segment, number))
            });
        if whole.is_empty() {
            whole = fetch(port, &format!("/live/event/{init}")).body;
        }
        // From the mirror whose playlist was not read: nobody has asked it before.
        let other = cluster.mirrors[(turn + 1) % 2].http;
        let answer = fetch(other, &format!("/live/event/{segment}"));
        assert_eq!(answer.status, 200, "{segment}");
        whole.extend(answer.body);
        next = Some(number + 1);
    }
    let file = world.path("whole.mp4");
    std::fs::write(&file, whole).unwrap();
    let packets = Packets::of_file(world, "ffmpeg", "whole", &file);
    packets.assert_part_of(&source, 280);
}

pub(crate) fn sound_alone(world: &World) {
    let source = Packets::of_file(world, "ffmpeg", "source", &programme());
    let cluster = Cluster::start(world, 2);
    let mut command = Command::new("ffmpeg");
    command
        .args(["-hide_banner", "-re", "-stream_loop", "-1", "-i"])
        .arg(programme())
        .args(["-t", "300", "-map", "0:a", "-c", "copy", "-f", "flv"])
        .arg(cluster.master.login_url("live/event"));
    let _encoder = world.start("encoder", &mut command);
    let (one, two) = (&cluster.mirrors[0], &cluster.mirrors[1]);
    one.wait_live("live/event");
    two.wait_live("live/event");
    let viewer = watch(world, "viewer", &one.hls_url("live/event"));
    let mut all = [Files::new(), Files::new()];
    wait_within(Duration::from_secs(60), "the same segments", || {
        collect(one.http, &mut all[0]);
        collect(two.http, &mut all[1]);
        (compare(&all[0], &all[1]) >= 4).then_some(())
    });
    wait_within(Duration::from_secs(60), "400 frames of sound", || {
        let packets = Packets::parse(&viewer.stdout());
        let mut sound = packets.audio;
        // ffmpeg tells the configuration before it says what the track is.
        sound.configuration.clone_from(&source.audio.configuration);
        (sound.packets.len() >= 400).then(|| sound.assert_run(&source.audio, "audio"))
    });
}
