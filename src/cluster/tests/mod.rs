//! The cluster as its parts see it.

mod hosts;

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
    // Once, for the one whose place was taken.
    assert_eq!(count.0.load(Ordering::Relaxed), 1);
    let first = cluster.join("a", mirror()).unwrap();
    drop(watch);
    let _again = cluster.join("a", mirror()).unwrap();
    assert!(first.is_replaced());
    assert_eq!(
        count.0.load(Ordering::Relaxed),
        1,
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
