//! The hosts that servers know of each other.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crtmpserver::auth::{Networks, Secret};
use crtmpserver::config::Role;
use crtmpserver::limits::Limits;
use crtmpserver::rtmp::client::Event;
use crtmpserver::rtmp::mirror::host::{Announcement, HOSTS, Host, Hosts, Load, MAX_WEIGHT, Urls};
use crtmpserver::rtmp::mirror::{self, Hello, Welcome};
use crtmpserver::rtmp_client::{Ended, Session};
use serde_json::Value;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::world::*;

/// `/cluster.json` of a server.
async fn list(server: &Running) -> Value {
    let answer = server.get("/cluster.json").await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    serde_json::from_str(body).unwrap()
}

/// The hosts' RTMP ports as a server lists them, in order.
async fn ports(server: &Running) -> Vec<u16> {
    let list = list(server).await;
    let hosts = list["hosts"].as_array().unwrap();
    let port = |host: &Value| {
        let url = host["rtmp"].as_str().unwrap();
        url.rsplit(':').next().unwrap().parse().unwrap()
    };
    let mut ports: Vec<u16> = hosts.iter().map(port).collect();
    ports.sort_unstable();
    ports
}

async fn lists(server: &Running, of: &[&Running]) {
    let mut wanted: Vec<u16> = of.iter().map(|server| server.rtmp.port()).collect();
    wanted.sort_unstable();
    let begin = Instant::now();
    loop {
        let found = ports(server).await;
        if found == wanted {
            return;
        }
        assert!(begin.elapsed() < PATIENCE, "{found:?} and not {wanted:?}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// A master whose pages this machine may read.
fn master(folder: &Path) -> Running {
    let mut settings = settings(Role::Master, folder);
    settings.play.networks = Networks::loopback();
    Running::start(settings)
}

/// A mirror as the protocol has it, and nothing more.
struct Mirror {
    number: u32,
    session: Session,
    /// Everything that it was told, put together.
    hosts: BTreeMap<String, Host>,
    whole: bool,
    messages: usize,
    hosts_told: usize,
}

impl Mirror {
    async fn join(address: SocketAddr, secret: &Secret, number: u32) -> Result<Self, Ended> {
        let mut random = [0x5a; 16];
        random[..4].copy_from_slice(&number.to_be_bytes());
        let hello = Hello {
            id: mirror::new_id(random),
            nonce: mirror::new_id([2; 16]),
        };
        let mut config = client(address, "live", false);
        config.limits = patient(config.limits);
        config
            .extra
            .push((mirror::FIELD.to_owned(), hello.to_value()));
        let mut session = Session::dial(&address.to_string(), config).await?;
        let nonce = loop {
            if let Event::Connected { info, .. } = session.next().await? {
                break Welcome::find(&info).unwrap().nonce;
            }
        };
        let proof = secret.mirror_proof(&hello.nonce, &nonce, &hello.id);
        session.machine().call(mirror::PROVE, vec![proof.into()]);
        let watching = session.machine().call(mirror::WATCH, Vec::new());
        loop {
            match session.next().await? {
                Event::Result { transaction, .. } if Some(transaction) == watching => break,
                Event::Error { info, .. } => panic!("{info:?}"),
                _ => {}
            }
        }
        Ok(Self {
            number,
            session,
            hosts: BTreeMap::new(),
            whole: false,
            messages: 0,
            hosts_told: 0,
        })
    }

    /// Of the present release, in the test of many.
    fn is_new(&self) -> bool {
        self.number.is_multiple_of(5)
    }

    fn announce(&mut self, announcement: Announcement, load: Load) {
        self.tell(announcement, load, Vec::new());
    }

    fn tell(&mut self, announcement: Announcement, load: Load, hosts: Vec<Host>) {
        let told = Hosts {
            own: Some((announcement, load)),
            hosts,
            ..Hosts::default()
        };
        self.session.machine().notice(HOSTS, vec![told.to_value()]);
    }

    /// Listens for ever.
    async fn listen(&mut self) -> Ended {
        loop {
            let event = match self.session.next().await {
                Ok(event) => event,
                Err(ended) => return ended,
            };
            let Event::Call { name, args, .. } = event else {
                continue;
            };
            if name != HOSTS {
                continue;
            }
            let told = args.iter().find_map(Hosts::from_value).unwrap();
            self.messages += 1;
            self.hosts_told += told.hosts.len();
            if told.start {
                self.hosts.clear();
            }
            self.whole |= told.whole;
            for id in &told.gone {
                self.hosts.remove(id);
            }
            for host in told.hosts {
                self.hosts.insert(host.id.clone(), host);
            }
        }
    }

    async fn listen_until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let begin = Instant::now();
        while !holds(self) {
            assert!(begin.elapsed() < PATIENCE, "{what}: {:?}", self.hosts.len());
            let heard = timeout(Duration::from_millis(50), self.listen()).await;
            assert!(heard.is_err(), "{what}: {heard:?}");
        }
    }
}

/// A thousand of them on one machine that builds something beside: what must not matter takes long.
fn patient(limits: Limits) -> Limits {
    let long = Duration::from_secs(120);
    Limits {
        handshake_timeout: long,
        connect_timeout: long,
        idle_timeout: long,
        silence_timeout: long,
        send_timeout: long,
        ..limits
    }
}

fn ports_of(number: u32) -> Announcement {
    Announcement {
        host: format!("m{number}.example.org"),
        rtmp: Some(1935),
        http: Some(8080),
        ..Announcement::default()
    }
}

/// A host that a mirror passes on.
fn host_behind(number: u32) -> Host {
    let mut id = [0xb5; 16];
    id[..4].copy_from_slice(&number.to_be_bytes());
    Host {
        id: mirror::new_id(id),
        urls: Urls {
            http: Some(format!("http://m{number}.example.org:8080")),
            ..Urls::default()
        },
        load: Load::default(),
    }
}

fn secret(folder: &Path) -> Secret {
    Secret::read(&folder.join("secret")).unwrap().0
}

#[tokio::test]
async fn every_server_of_the_tree_lists_the_same_hosts() {
    let folder = folder();
    let master = master(folder.path());
    let one = Running::start(mirror_of(master.rtmp, folder.path()));
    let two = Running::start(mirror_of(master.rtmp, folder.path()));
    let far = Running::start(mirror_of(two.rtmp, folder.path()));
    for server in [&master, &one, &two, &far] {
        lists(server, &[&one, &two, &far]).await;
    }
    assert_eq!(list(&master).await["role"], "master");
    let own = list(&far).await;
    assert_eq!(own["role"], "mirror");
    // One that is added during the event is in every list within two seconds.
    let begin = Instant::now();
    let late = Running::start(mirror_of(master.rtmp, folder.path()));
    for server in [&far, &late, &one, &two, &master] {
        lists(server, &[&one, &two, &far, &late]).await;
    }
    let took = begin.elapsed();
    // One second, half of it a list that is kept, on a machine that has nothing else to do.
    assert!(took < Duration::from_secs(10), "{took:?}");
    // And one that goes is not, soon; nor is the one behind it.
    two.stop().await;
    for server in [&master, &one, &late] {
        lists(server, &[&one, &late]).await;
    }
    // Without its master a mirror still knows what it was told.
    master.stop().await;
    let begin = Instant::now();
    while !list(&one).await["stale"].is_u64() {
        assert!(begin.elapsed() < PATIENCE);
        sleep(Duration::from_millis(50)).await;
    }
    lists(&one, &[&one, &late]).await;
}

#[tokio::test]
async fn a_standalone_lists_itself_and_its_mirrors() {
    let folder = folder();
    let alone = Running::start(settings(Role::Standalone, folder.path()));
    lists(&alone, &[&alone]).await;
    let mirror = Running::start(mirror_of(alone.rtmp, folder.path()));
    lists(&alone, &[&alone, &mirror]).await;
}

#[tokio::test]
async fn a_mirror_of_the_release_before_works_and_is_not_listed() {
    let folder = folder();
    let master = master(folder.path());
    let secret = secret(folder.path());
    // It never says where it is.
    let mut old = Mirror::join(master.rtmp, &secret, 1).await.unwrap();
    let mut new = Mirror::join(master.rtmp, &secret, 2).await.unwrap();
    new.announce(ports_of(2), Load::default());
    new.listen_until("itself", |m| m.hosts.len() == 1).await;
    let heard = timeout(Duration::from_millis(700), old.listen()).await;
    assert!(heard.is_err(), "{heard:?}");
    assert_eq!(old.messages, 0, "it is told nothing that it does not know");
    assert_eq!(list(&master).await["hosts"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_liar_is_put_in_its_place() {
    let folder = folder();
    let master = master(folder.path());
    let secret = secret(folder.path());
    let mut liar = Mirror::join(master.rtmp, &secret, 1).await.unwrap();
    let load = Load {
        weight: u16::MAX,
        viewers: u32::MAX,
        ..Load::default()
    };
    let foreign = Announcement {
        host: "198.51.100.66".into(),
        rtmp: Some(1935),
        ..Announcement::default()
    };
    // From loopback a public address is one that a cloud may have told; a private one is none.
    liar.announce(foreign.clone(), load);
    liar.listen_until("listed", |m| m.hosts.len() == 1).await;
    let host = liar.hosts.values().next().unwrap();
    assert_eq!(host.load.weight, MAX_WEIGHT);
    let private = Announcement {
        host: "10.66.66.66".into(),
        ..foreign
    };
    liar.announce(private, load);
    liar.listen_until("corrected", |m| {
        let host = m.hosts.values().next().unwrap();
        host.urls.rtmp.as_deref() == Some("rtmp://127.0.0.1:1935")
    })
    .await;
}

#[tokio::test]
async fn only_what_the_master_allows_is_listed() {
    let folder = folder();
    let mut settings = settings(Role::Master, folder.path());
    settings.play.networks = Networks::loopback();
    settings.cluster.allow = vec!["*.example.org".parse().unwrap()];
    let master = Running::start(settings);
    let secret = secret(folder.path());
    let mut good = Mirror::join(master.rtmp, &secret, 1).await.unwrap();
    let mut bad = Mirror::join(master.rtmp, &secret, 2).await.unwrap();
    let evil = Announcement {
        host: "example.net".into(),
        ..ports_of(2)
    };
    bad.announce(evil, Load::default());
    good.announce(ports_of(1), Load::default());
    good.listen_until("listed", |m| !m.hosts.is_empty()).await;
    assert_eq!(good.hosts.len(), 1, "{:?}", good.hosts);
}

/// A thousand mirrors of one master, and a thousand hosts: each fifth mirror announces itself and four that
/// are behind it, the others are of the release before. They come within seconds, whoever listens learns of
/// all, and what they are told stays a list and its changes, not a list for each change.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_mirrors() {
    const COUNT: u32 = 1000;
    const NEW: u32 = COUNT / 5;
    let folder = folder();
    let mut settings = settings(Role::Master, folder.path());
    settings.play.networks = Networks::loopback();
    settings.limits = patient(settings.limits);
    let master = Running::start(settings);
    let secret = secret(folder.path());
    let address = master.rtmp;
    let places = Arc::new(Semaphore::new(32));
    let mut joining = JoinSet::new();
    for number in 0..COUNT {
        let (secret, places) = (secret.clone(), places.clone());
        joining.spawn(async move {
            let _place = places.acquire_owned().await.unwrap();
            let mut mirror = Mirror::join(address, &secret, number).await.unwrap();
            if mirror.is_new() {
                let behind = (1..5).map(|n| host_behind(number + n)).collect();
                mirror.tell(ports_of(number), Load::default(), behind);
            }
            mirror
        });
    }
    let mut listening = JoinSet::new();
    let (over, _) = watch::channel(false);
    let full = Arc::new(AtomicU32::new(0));
    while let Some(mirror) = joining.join_next().await {
        let mut mirror: Mirror = mirror.unwrap();
        let (mut over, full) = (over.subscribe(), full.clone());
        listening.spawn(async move {
            let mut counted = false;
            let mut turn = 0_u32;
            loop {
                tokio::select! {
                    ended = timeout(Duration::from_millis(500), mirror.listen()) => {
                        assert!(ended.is_err(), "{ended:?}");
                    }
                    _ = over.wait_for(|over| *over) => return mirror,
                }
                if !counted && mirror.hosts.len() == COUNT as usize {
                    counted = true;
                    full.fetch_add(1, Ordering::Relaxed);
                }
                if !mirror.is_new() {
                    continue;
                }
                // Its load changes all the time.
                turn += 1;
                mirror.announce(
                    ports_of(mirror.number),
                    Load {
                        weight: 100,
                        viewers: turn,
                        ..Load::default()
                    },
                );
            }
        });
    }
    let begin = Instant::now();
    while full.load(Ordering::Relaxed) < NEW {
        let known = full.load(Ordering::Relaxed);
        assert!(begin.elapsed() < 15 * PATIENCE, "{known} know all others");
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(
        list(&master).await["hosts"].as_array().unwrap().len(),
        COUNT as usize
    );
    over.send_replace(true);
    let mut told = 0;
    while let Some(mirror) = listening.join_next().await {
        let mirror = mirror.unwrap();
        assert_eq!(mirror.whole, mirror.is_new());
        told += mirror.hosts_told;
    }
    // Each was told of each once, and of some loads.
    let pairs = (NEW * COUNT) as usize;
    assert!(told < 3 * pairs, "{told} hosts for {pairs} pairs");
    // They go as they came.
    let begin = Instant::now();
    while !list(&master).await["hosts"].as_array().unwrap().is_empty() {
        assert!(begin.elapsed() < PATIENCE);
        sleep(Duration::from_millis(100)).await;
    }
}
