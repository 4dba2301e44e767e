//! The hosts that servers tell each other.

use std::net::IpAddr;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use super::super::*;
use super::{Count, mirror};
use crate::rtmp::command::Command;
use crate::rtmp::message::kind;
use crate::rtmp::mirror::host::{Announcement, HOSTS, Host, HostState, Hosts, Load, Urls};

fn id(name: &str) -> String {
    format!("{name:0>32}")
}

fn load(viewers: u32) -> Load {
    Load {
        weight: 100,
        viewers,
        ..Load::default()
    }
}

fn host(name: &str, viewers: u32) -> Host {
    Host {
        id: id(name),
        urls: Urls {
            http: Some(format!("http://{name}.example:8080")),
            ..Urls::default()
        },
        load: load(viewers),
    }
}

fn announcement(name: &str) -> Announcement {
    Announcement {
        host: format!("{name}.example"),
        http: Some(8080),
        ..Announcement::default()
    }
}

fn own(name: &str, viewers: u32) -> Hosts {
    Hosts {
        own: Some((announcement(name), load(viewers))),
        ..Hosts::default()
    }
}

fn cluster(name: &str, role: &'static str) -> Arc<Cluster> {
    let cluster = Cluster::new(id(name), role == "mirror", Instant::now());
    cluster.set_standing(Standing {
        role,
        public: role != "master",
        announcement: announcement(name),
        ..Standing::default()
    });
    cluster
}

fn seen() -> IpAddr {
    "203.0.113.1".parse().unwrap()
}

fn join(at: &Arc<Cluster>, name: &str) -> Membership {
    at.join(&id(name), mirror()).unwrap()
}

fn names(cluster: &Cluster) -> Vec<String> {
    let hosts = cluster.hosts().into_iter();
    hosts
        .map(|h| h.id.trim_start_matches('0').to_owned())
        .collect()
}

/// Bytes of a type 0 chunk header.
const HEADER: usize = 12;

/// The next part, read as a mirror reads it.
fn part(from: &Cluster, reader: &mut Reader, now: Instant) -> Option<Hosts> {
    let part = from.part(reader, now, |hosts| hosts.message(65_536))?;
    let command = Command::decode(kind::COMMAND_AMF0, &part[HEADER..]).unwrap();
    assert_eq!(command.name, HOSTS);
    Hosts::from_value(&command.args[0])
}

/// Carries all that is new from one to the other, as their connection does; how many messages.
fn carry(from: &Cluster, reader: &mut Reader, to: &Cluster, now: Instant) -> usize {
    let mut count = 0;
    while let Some(news) = part(from, reader, now) {
        to.take_hosts(&news, now);
        count += 1;
    }
    count
}

/// Changes are told twice a second, loads once.
fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn a_standalone_lists_itself_and_a_master_does_not() {
    assert_eq!(names(&cluster("a", "standalone")), ["a"]);
    assert!(names(&cluster("a", "master")).is_empty());
}

#[test]
fn mirrors_learn_of_each_other_and_of_who_left() {
    let master = cluster("a", "master");
    let (b, c) = (cluster("b", "mirror"), cluster("c", "mirror"));
    let (at_b, at_c) = (join(&master, "b"), join(&master, "c"));
    assert_eq!(at_b.take_hosts(&own("b", 1), seen()), None);
    at_c.take_hosts(&own("c", 2), seen());
    let (mut to_b, mut to_c) = (Reader::default(), Reader::default());
    let start = Instant::now();
    carry(&master, &mut to_b, &b, start);
    carry(&master, &mut to_c, &c, start);
    for cluster in [&master, &b, &c] {
        assert_eq!(names(cluster), ["b", "c"]);
    }
    assert_eq!(carry(&master, &mut to_b, &b, start), 0);

    // A load alone is no urgent news, and wakes nobody.
    let count = Arc::new(Count::default());
    let _watch = master.watch(count.clone());
    at_c.take_hosts(&own("c", 50), seen());
    assert_eq!(count.0.load(Ordering::Relaxed), 0);
    assert_eq!(carry(&master, &mut to_b, &b, start + ms(900)), 0);
    assert_eq!(master.part_due(start + ms(900)), start + ms(1000));
    assert_eq!(carry(&master, &mut to_b, &b, start + ms(1000)), 1);
    assert_eq!(b.hosts()[1].load.viewers, 50);

    drop(at_c);
    assert_eq!(count.0.load(Ordering::Relaxed), 1);
    assert_eq!(carry(&master, &mut to_b, &b, start + ms(1001)), 1);
    assert_eq!(names(&b), ["b"]);
    assert_eq!(names(&master), ["b"]);
}

#[test]
fn a_state_is_told_at_once() {
    let master = cluster("a", "master");
    let b = cluster("b", "mirror");
    let at_c = join(&master, "c");
    at_c.take_hosts(&own("c", 2), seen());
    let (mut told, start) = (Reader::default(), Instant::now());
    carry(&master, &mut told, &b, start);
    let mut draining = own("c", 2);
    draining.own.as_mut().unwrap().1.state = HostState::Draining;
    at_c.take_hosts(&draining, seen());
    assert_eq!(carry(&master, &mut told, &b, start + ms(1)), 0);
    assert_eq!(master.part_due(start + ms(1)), start + ms(500));
    assert_eq!(carry(&master, &mut told, &b, start + ms(500)), 1);
    let hosts = b.hosts();
    assert_eq!(hosts.last().unwrap().load.state, HostState::Draining);
    assert_eq!(b.sibling(Via::Http), None, "nobody takes viewers");
}

#[test]
fn the_mirrors_of_a_mirror_are_listed_everywhere() {
    let master = cluster("a", "master");
    let middle = cluster("b", "mirror");
    let far = cluster("c", "mirror");
    let at_middle = join(&middle, "c");
    at_middle.take_hosts(&own("c", 1), seen());
    let (below, at_master) = (join(&master, "d"), join(&master, "b"));
    below.take_hosts(&own("d", 0), seen());
    // Up: the middle tells itself and who is below it.
    at_master.take_hosts(&own("b", 0), seen());
    let mut up = Told::default();
    let mut news = middle.news(&mut up, false).unwrap();
    assert!(news.start && news.whole);
    assert_eq!(news.hosts.len(), 1, "{news:?}");
    news.own = own("b", 0).own;
    assert_eq!(at_master.take_hosts(&news, seen()), None);
    // Down, twice.
    let (mut down, mut further) = (Reader::default(), Reader::default());
    let start = Instant::now();
    carry(&master, &mut down, &middle, start);
    carry(&middle, &mut further, &far, start);
    for cluster in [&master, &middle, &far] {
        assert_eq!(names(cluster), ["b", "c", "d"]);
    }
    assert_eq!(middle.news(&mut up, true), None, "no echo");
    drop(at_middle);
    let news = middle.news(&mut up, false).unwrap();
    assert_eq!(news.gone, [id("c")]);
    at_master.take_hosts(&news, seen());
    carry(&master, &mut down, &middle, start + ms(500));
    assert_eq!(names(&master), ["b", "d"]);
    assert_eq!(names(&middle), ["b", "d"]);
}

#[test]
fn a_restarted_master_forgets_nobody_at_once() {
    let b = cluster("b", "mirror");
    let start = Instant::now();
    let told = |hosts: Vec<Host>| Hosts {
        start: true,
        whole: true,
        hosts,
        ..Hosts::default()
    };
    b.set_above(&[id("a")]);
    b.take_hosts(&told(vec![host("c", 1), host("d", 1)]), start);
    b.link_down(start, "gone");
    assert_eq!(names(&b), ["b", "c", "d"], "as long as nobody knows better");
    // The same one, after a moment: it knows.
    b.take_hosts(&told(vec![host("c", 1)]), start);
    assert_eq!(names(&b), ["b", "c"]);
    // Another one, to which not all have come back yet.
    b.set_above(&[id("e")]);
    b.take_hosts(&told(vec![]), start);
    assert_eq!(names(&b), ["b", "c"]);
    b.tick(0, start + Duration::from_secs(9));
    assert_eq!(names(&b), ["b", "c"]);
    b.tick(0, start + Duration::from_secs(11));
    assert_eq!(names(&b), ["b"]);
}

#[test]
fn a_thousand_hosts_come_in_parts_that_fit() {
    let master = cluster("a", "master");
    let at_b = join(&master, "b");
    for n in 0..1000 {
        let hosts = Hosts {
            hosts: vec![host(&format!("{n}"), n)],
            ..Hosts::default()
        };
        at_b.take_hosts(&hosts, seen());
    }
    let (mut told, c) = (Reader::default(), cluster("c", "mirror"));
    let (mut parts, start) = (0, Instant::now());
    while let Some(news) = part(&master, &mut told, start) {
        let cost: usize = news.hosts.iter().map(Host::cost).sum();
        assert!(cost <= crate::rtmp::mirror::host::MAX_HOSTS_BYTES);
        assert_eq!(news.start, parts == 0);
        c.take_hosts(&news, start);
        parts += 1;
    }
    assert!((8..20).contains(&parts), "{parts}");
    assert_eq!(c.hosts().len(), 1001);
    // What changes meanwhile is told as well, and only that.
    let hosts = Hosts {
        hosts: vec![host("7", 8)],
        gone: vec![id("9"), id("nobody")],
        ..Hosts::default()
    };
    at_b.take_hosts(&hosts, seen());
    let news = part(&master, &mut told, start + ms(500)).unwrap();
    assert_eq!((news.hosts.len(), &news.gone[..]), (0, &[id("9")][..]));
    assert_eq!(part(&master, &mut told, start + ms(500)), None);
    // Loads have their turns: each of a thousand within 40 s, whatever the others do.
    let mut heard = std::collections::BTreeSet::new();
    for second in 1..=40 {
        for n in 0..1000 {
            if n != 9 {
                let hosts = vec![host(&format!("{n}"), 1000 + second)];
                let told = Hosts {
                    hosts,
                    ..Hosts::default()
                };
                at_b.take_hosts(&told, seen());
            }
        }
        let news = part(&master, &mut told, start + ms(1000) * second).unwrap();
        assert!(news.hosts.len() <= 25, "{}", news.hosts.len());
        heard.extend(news.hosts.into_iter().map(|h| h.id));
    }
    assert_eq!(heard.len(), 999);
}

#[test]
fn a_thousand_mirrors_are_told_the_same_bytes() {
    static MADE: AtomicUsize = AtomicUsize::new(0);
    fn encode(hosts: &Hosts) -> bytes::Bytes {
        MADE.fetch_add(1, Ordering::Relaxed);
        hosts.message(65_536)
    }
    let master = cluster("a", "master");
    let start = Instant::now();
    let mut members = Vec::new();
    let mut readers: Vec<Reader> = Vec::new();
    // They come within ten seconds, and each of them is a change for all.
    let mut parts = 0;
    for n in 0..1000_u32 {
        let now = start + ms(10) * n;
        let member = join(&master, &format!("{n}"));
        member.take_hosts(&own(&format!("{n}"), 1), seen());
        members.push(member);
        readers.push(Reader::default());
        for reader in &mut readers {
            parts += std::iter::from_fn(|| master.part(reader, now, encode)).count();
        }
    }
    let made = MADE.load(Ordering::Relaxed);
    assert!(made < 500, "{made} messages were made for {parts}");
    let last = start + ms(10_500);
    for reader in &mut readers {
        parts += std::iter::from_fn(|| master.part(reader, last, encode)).count();
    }
    // Two changes and a load in a second, and the whole list.
    assert!(parts < 40 * 1000, "{parts} messages to a thousand");
    // The very same: nothing is copied for each of them.
    members.truncate(990);
    let later = last + ms(500);
    let mut all = readers.iter_mut();
    let mut next = || all.next().and_then(|r| master.part(r, later, encode));
    let first = next().unwrap();
    for _ in 1..1000 {
        assert_eq!(next().unwrap().as_ptr(), first.as_ptr());
    }
}

#[test]
fn news_rings_once_until_somebody_looks() {
    let master = cluster("a", "master");
    let count = Arc::new(Count::default());
    let watch = master.watch(count.clone());
    let rung = || count.0.load(Ordering::Relaxed);
    let members: Vec<_> = (0..100).map(|n| join(&master, &format!("{n}"))).collect();
    for (n, member) in members.iter().enumerate() {
        member.take_hosts(&own(&format!("{n}"), 1), seen());
    }
    assert_eq!(rung(), 1);
    watch.looks();
    drop(members);
    assert_eq!(rung(), 2);
}

#[test]
fn a_mirror_that_is_far_behind_is_told_the_whole_list() {
    let master = cluster("a", "master");
    let (start, c) = (Instant::now(), cluster("c", "mirror"));
    let at_b = join(&master, "b");
    let (mut slow, mut quick) = (Reader::default(), Reader::default());
    let put = |state: HostState| Hosts {
        hosts: (0..100)
            .map(|n| {
                let mut host = host(&format!("{n}"), 1);
                host.load.state = state;
                host
            })
            .collect(),
        ..Hosts::default()
    };
    at_b.take_hosts(&put(HostState::Ready), seen());
    carry(&master, &mut slow, &c, start);
    let mut starts = 0;
    for turn in 1..=150_u32 {
        let full = turn.is_multiple_of(2);
        let state = if full {
            HostState::Full
        } else {
            HostState::Ready
        };
        at_b.take_hosts(&put(state), seen());
        while let Some(news) = part(&master, &mut quick, start + ms(500) * turn) {
            starts += usize::from(news.start);
        }
    }
    assert_eq!(starts, 1, "who keeps up is told what changed");
    let news = part(&master, &mut slow, start + ms(500) * 150).unwrap();
    assert!(news.start, "{news:?}");
    c.take_hosts(&news, start);
    assert_eq!(c.sibling(Via::Http), None, "all are full");
}

#[test]
fn whoever_missed_too_much_is_told_everything_anew() {
    let master = cluster("a", "master");
    let c = cluster("c", "mirror");
    let at_b = join(&master, "b");
    let put = |name: &str| Hosts {
        hosts: vec![host(name, 1)],
        ..Hosts::default()
    };
    at_b.take_hosts(&put("first"), seen());
    at_b.take_hosts(&put("stays"), seen());
    let mut told = Told::default();
    c.take_hosts(&master.news(&mut told, false).unwrap(), Instant::now());
    let gone = |name: &str| Hosts {
        gone: vec![id(name)],
        ..Hosts::default()
    };
    at_b.take_hosts(&gone("first"), seen());
    for n in 0..2 * MAX_MIRRORS {
        let name = format!("{n}");
        at_b.take_hosts(&put(&name), seen());
        at_b.take_hosts(&gone(&name), seen());
    }
    let news = master.news(&mut told, false).unwrap();
    assert!(news.start && news.whole && news.gone.is_empty(), "{news:?}");
    c.take_hosts(&news, Instant::now());
    assert_eq!(names(&c), ["c", "stays"]);
}

#[test]
fn a_newer_connection_keeps_what_it_told() {
    let master = cluster("a", "master");
    let (one, two) = (join(&master, "b"), join(&master, "c"));
    let put = |viewers| Hosts {
        hosts: vec![host("x", viewers)],
        ..Hosts::default()
    };
    one.take_hosts(&put(1), seen());
    two.take_hosts(&put(2), seen());
    drop(one);
    assert_eq!(master.hosts().len(), 1, "it is below the other one now");
    let mut gone = put(0);
    gone.gone = vec![id("x")];
    gone.hosts.clear();
    two.take_hosts(&gone, seen());
    assert!(master.hosts().is_empty());
}

#[test]
fn a_liar_is_corrected_and_told_of_once() {
    let master = cluster("a", "master");
    let at_b = join(&master, "b");
    let mut lie = own("b", 1);
    let (announcement, load) = lie.own.as_mut().unwrap();
    announcement.host = "198.51.100.9".into();
    load.weight = 1000;
    let objection = at_b.take_hosts(&lie, seen()).unwrap();
    assert!(objection.contains("198.51.100.9"), "{objection}");
    let hosts = master.hosts();
    assert_eq!(
        hosts[0].urls.http.as_deref(),
        Some("http://203.0.113.1:8080")
    );
    // Nor can it speak for this server.
    let standalone = cluster("s", "standalone");
    let at_s = join(&standalone, "b");
    let forged = Hosts {
        hosts: vec![host("s", 9)],
        ..Hosts::default()
    };
    at_s.take_hosts(&forged, seen());
    assert_eq!(standalone.own_host().unwrap().load.viewers, 0);
}

#[test]
fn a_mirror_takes_the_address_that_its_master_sees() {
    let b = cluster("b", "mirror");
    let mut standing = Standing {
        role: "mirror",
        public: true,
        announcement: Announcement {
            http: Some(8080),
            ..Announcement::default()
        },
        ..Standing::default()
    };
    b.set_standing(standing.clone());
    assert!(b.hosts().is_empty(), "nobody told it where it is");
    let here = Urls {
        http: Some("http://page.example".into()),
        ..Urls::default()
    };
    let body = b.render(Some(&here), 0, Instant::now());
    assert!(body.contains("http://page.example"), "{body}");
    b.take_hosts(
        &Hosts {
            hosts: vec![host("b", 0)],
            ..Hosts::default()
        },
        Instant::now(),
    );
    assert_eq!(names(&b), ["b"]);
    let body = b.render(Some(&here), 0, Instant::now());
    assert!(body.contains("http://b.example:8080"), "{body}");
    standing.announcement.http = Some(9090);
    b.set_standing(standing);
    assert!(b.hosts().is_empty(), "it has to be told anew");
}

#[test]
fn siblings_are_drawn_by_weight() {
    let b = cluster("b", "mirror");
    let mut hosts = vec![host("light", 0), host("heavy", 0), host("full", 0)];
    hosts[0].load.weight = 10;
    hosts[1].load.weight = 30;
    hosts[2].load.state = HostState::Full;
    b.take_hosts(
        &Hosts {
            hosts,
            ..Hosts::default()
        },
        Instant::now(),
    );
    let mut light = 0;
    for _ in 0..4000 {
        let sibling = b.sibling(Via::Http).unwrap();
        assert!(!sibling.id.ends_with("full") && sibling.id != id("b"));
        light += usize::from(sibling.id.ends_with("light"));
    }
    // A quarter of them; 5 standard deviations are 137.
    assert!((863..1137).contains(&light), "{light}");
    assert_eq!(b.sibling(Via::Rtmp), None);
}

#[test]
fn a_sibling_speaks_what_the_viewer_speaks() {
    let b = cluster("b", "mirror");
    let with = |name: &str, urls: Urls| Host {
        urls,
        ..host(name, 0)
    };
    let some = |text: &str| Some(text.to_owned());
    let rtmp = with(
        "1",
        Urls {
            rtmp: some("rtmp://r.example:1935"),
            ..Urls::default()
        },
    );
    let secure = with(
        "2",
        Urls {
            https: some("https://s.example"),
            ..Urls::default()
        },
    );
    let tell = |hosts: Vec<Host>| {
        let told = Hosts {
            start: true,
            whole: true,
            hosts,
            ..Hosts::default()
        };
        b.take_hosts(&told, Instant::now());
    };
    let base = |via| b.sibling(via).map(|sibling| sibling.base);
    tell(vec![rtmp, host("3", 0)]);
    for _ in 0..50 {
        assert_eq!(base(Via::Rtmp), some("rtmp://r.example:1935"));
        assert_eq!(base(Via::Http), some("http://3.example:8080"));
        assert_eq!(base(Via::Https), None, "not to plain HTTP");
    }
    tell(vec![secure, host("3", 0)]);
    for _ in 0..50 {
        assert_eq!(base(Via::Https), some("https://s.example"));
        assert_eq!(base(Via::Rtmp), None);
    }
    b.drain(Instant::now(), false, Instant::now());
    let refused = b.admit(0, Via::Https).unwrap_err();
    assert_eq!(refused.sibling.unwrap().base, "https://s.example");
    let refused = b.is_over(Via::Rtmp, Instant::now()).unwrap_err();
    assert_eq!(refused.sibling, None);
}
