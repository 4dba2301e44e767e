//! The cluster as its parts see it.

use std::sync::atomic::AtomicUsize;

use super::*;

#[derive(Default)]
struct Count(AtomicUsize);
impl Wake for Count {
    fn wake(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn mirror() -> Mirror {
    Mirror {
        peer: "127.0.0.1:4000".parse().unwrap(),
        since: Instant::now(),
    }
}

#[test]
fn a_mirror_is_there_as_long_as_its_connection() {
    let cluster = Cluster::new("m".into(), false, Instant::now());
    let count = Arc::new(Count::default());
    let watch = cluster.watch(count.clone());
    let member = cluster.join("a", mirror()).unwrap();
    assert!(!member.is_replaced());
    let again = cluster.join("a", mirror()).unwrap();
    assert!(member.is_replaced(), "the newer connection has its place");
    drop(member);
    assert_eq!(cluster.mirrors().len(), 1);
    drop(again);
    assert!(cluster.mirrors().is_empty());
    assert_eq!(count.0.load(Ordering::Relaxed), 2);
    drop(watch);
    let _again = cluster.join("a", mirror()).unwrap();
    assert_eq!(
        count.0.load(Ordering::Relaxed),
        2,
        "nobody watches any more"
    );
}

#[test]
fn the_table_is_bounded() {
    let cluster = Cluster::new("m".into(), false, Instant::now());
    let members: Vec<_> = (0..MAX_MIRRORS)
        .map(|n| cluster.join(&n.to_string(), mirror()).unwrap())
        .collect();
    assert_eq!(cluster.join("one more", mirror()).err(), Some(Full));
    drop(members);
    assert!(cluster.join("one more", mirror()).is_ok());
}

#[test]
fn a_server_that_is_its_own_master_is_noticed() {
    let cluster = Cluster::new("b".into(), true, Instant::now());
    assert!(!cluster.set_above(&["a".into()]));
    assert_eq!(cluster.path(), ["a", "b"]);
    assert!(cluster.set_above(&["a".into(), "b".into()]));
    assert_eq!(cluster.path(), ["a", "b"], "a loop changes nothing");
}

#[test]
fn another_master_has_said_nothing_yet() {
    let start = Instant::now();
    let cluster = Cluster::new("b".into(), true, start);
    cluster.set_above(&["a".into()]);
    cluster.link_up(start);
    let version = cluster.version();
    cluster.set_master(None, None, start);
    assert_eq!(
        (cluster.link(), cluster.path()),
        (Link::None, vec!["b".to_owned()])
    );
    assert_ne!(cluster.version(), version, "the mirrors below are told");
    cluster.set_master(Some("rtmp://c".into()), Some("not tried yet"), start);
    assert!(matches!(cluster.link(), Link::Down { .. }));
    assert_eq!(cluster.master().as_deref(), Some("rtmp://c"));
}

#[test]
fn an_outage_keeps_its_beginning() {
    let start = Instant::now();
    let cluster = Cluster::new("b".into(), true, start);
    let later = start + std::time::Duration::from_secs(5);
    cluster.link_down(later, "refused");
    assert_eq!(
        cluster.link(),
        Link::Down {
            since: start,
            error: "refused".into()
        }
    );
    cluster.link_up(later);
    assert_eq!(cluster.link(), Link::Up { since: later });
}

mod hosts {
    use std::net::IpAddr;
    use std::time::Duration;

    use super::*;
    use crate::rtmp::mirror::host::{Announcement, Host, HostState, Hosts, Load, Urls};

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

    /// Carries all that is new from one to the other, as their connection does; how many messages.
    fn carry(from: &Cluster, told: &mut Told, to: &Cluster, loads: bool) -> usize {
        let mut count = 0;
        while let Some(news) = from.news(told, Toward::Mirror, loads) {
            to.take_hosts(&news, Instant::now());
            count += 1;
        }
        count
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
        let (mut to_b, mut to_c) = (Told::default(), Told::default());
        carry(&master, &mut to_b, &b, false);
        carry(&master, &mut to_c, &c, false);
        for cluster in [&master, &b, &c] {
            assert_eq!(names(cluster), ["b", "c"]);
        }
        assert!(!to_b.is_behind(master.hosts_version()));
        assert_eq!(carry(&master, &mut to_b, &b, true), 0);

        // A load alone is no urgent news, and wakes nobody.
        let count = Arc::new(Count::default());
        let _watch = master.watch(count.clone());
        at_c.take_hosts(&own("c", 50), seen());
        assert_eq!(count.0.load(Ordering::Relaxed), 0);
        assert_eq!(carry(&master, &mut to_b, &b, false), 0);
        assert_eq!(carry(&master, &mut to_b, &b, true), 1);
        assert_eq!(b.hosts()[1].load.viewers, 50);

        drop(at_c);
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        assert_eq!(carry(&master, &mut to_b, &b, false), 1);
        assert_eq!(names(&b), ["b"]);
        assert_eq!(names(&master), ["b"]);
    }

    #[test]
    fn a_state_is_told_at_once() {
        let master = cluster("a", "master");
        let b = cluster("b", "mirror");
        let at_c = join(&master, "c");
        at_c.take_hosts(&own("c", 2), seen());
        let mut told = Told::default();
        carry(&master, &mut told, &b, false);
        let mut draining = own("c", 2);
        draining.own.as_mut().unwrap().1.state = HostState::Draining;
        at_c.take_hosts(&draining, seen());
        assert_eq!(carry(&master, &mut told, &b, false), 1);
        let hosts = b.hosts();
        assert_eq!(hosts.last().unwrap().load.state, HostState::Draining);
        assert!(b.sibling(|_| true).is_none(), "nobody takes viewers");
    }

    #[test]
    fn the_mirrors_of_a_mirror_are_listed_everywhere() {
        let master = cluster("a", "master");
        let middle = cluster("b", "mirror");
        let far = cluster("c", "mirror");
        let at_middle = join(&middle, "c");
        at_middle.take_hosts(&own("c", 1), seen());
        let (below, at_master) = (join(&master, "x"), join(&master, "b"));
        below.take_hosts(&own("x", 0), seen());
        // Up: the middle tells itself and who is below it.
        at_master.take_hosts(&own("b", 0), seen());
        let mut up = Told::default();
        let mut news = middle.news(&mut up, Toward::Master, false).unwrap();
        assert!(news.start && news.whole);
        assert_eq!(news.hosts.len(), 1, "{news:?}");
        news.own = own("b", 0).own;
        assert_eq!(at_master.take_hosts(&news, seen()), None);
        // Down, twice.
        let (mut down, mut further) = (Told::default(), Told::default());
        carry(&master, &mut down, &middle, false);
        carry(&middle, &mut further, &far, false);
        for cluster in [&master, &middle, &far] {
            assert_eq!(names(cluster), ["b", "c", "x"]);
        }
        assert_eq!(middle.news(&mut up, Toward::Master, true), None, "no echo");
        drop(at_middle);
        let news = middle.news(&mut up, Toward::Master, false).unwrap();
        assert_eq!(news.gone, [id("c")]);
        at_master.take_hosts(&news, seen());
        carry(&master, &mut down, &middle, false);
        assert_eq!(names(&master), ["b", "x"]);
        assert_eq!(names(&middle), ["b", "x"]);
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
        let (mut told, c) = (Told::default(), cluster("c", "mirror"));
        let mut parts = 0;
        while let Some(news) = master.news(&mut told, Toward::Mirror, false) {
            let cost: usize = news.hosts.iter().map(Host::cost).sum();
            assert!(cost <= crate::rtmp::mirror::host::MAX_HOSTS_BYTES);
            assert_eq!(news.start, parts == 0);
            let value = news.to_value();
            c.take_hosts(&Hosts::from_value(&value).unwrap(), Instant::now());
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
        let news = master.news(&mut told, Toward::Mirror, true).unwrap();
        assert!(news.hosts.len() <= 100);
        assert_eq!(news.gone, [id("9")]);
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
        carry(&master, &mut told, &c, false);
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
        let news = master.news(&mut told, Toward::Mirror, false).unwrap();
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
            let sibling = b.sibling(|_| true).unwrap();
            assert!(!sibling.id.ends_with("full") && sibling.id != id("b"));
            light += usize::from(sibling.id.ends_with("light"));
        }
        // A quarter of them; 5 standard deviations are 137.
        assert!((863..1137).contains(&light), "{light}");
        assert!(b.sibling(|h| h.urls.rtmp.is_some()).is_none());
    }
}
