//! The hosts that servers know of each other.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use crtmpserver::auth::{Networks, Secret};
use crtmpserver::config::Role;
use crtmpserver::limits::Limits;
use crtmpserver::rtmp::client::{ClientConfig, Event};
use crtmpserver::rtmp::mirror::host::{Announcement, HOSTS, Host, Hosts, Load, MAX_WEIGHT};
use crtmpserver::rtmp::mirror::{self, Hello, Welcome};
use crtmpserver::rtmp_client::{Ended, Session};
use serde_json::Value;
use tokio::time::{sleep, timeout};

use crate::world::*;

/// `/cluster.json` of a server.
pub(crate) async fn list(server: &Running) -> Value {
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
pub(crate) fn master(folder: &Path) -> Running {
    let mut settings = settings(Role::Master, folder);
    settings.play.networks = Networks::loopback();
    Running::start(settings)
}

/// A mirror as the protocol has it, and nothing more.
pub(crate) struct Mirror {
    session: Session,
    /// Everything that it was told, put together.
    pub(crate) hosts: BTreeMap<String, Host>,
    pub(crate) messages: usize,
    pub(crate) hosts_told: usize,
}

/// What a mirror says of itself.
pub(crate) fn announcing(announcement: Announcement, load: Load) -> Hosts {
    Hosts {
        own: Some((announcement, load)),
        ..Hosts::default()
    }
}

/// How a mirror begins.
pub(crate) fn hello(address: SocketAddr, number: u32) -> (Hello, ClientConfig) {
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
    (hello, config)
}

impl Mirror {
    pub(crate) async fn join(
        address: SocketAddr,
        secret: &Secret,
        number: u32,
    ) -> Result<Self, Ended> {
        let (hello, config) = hello(address, number);
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
            session,
            hosts: BTreeMap::new(),
            messages: 0,
            hosts_told: 0,
        })
    }

    pub(crate) fn announce(&mut self, announcement: Announcement, load: Load) {
        let told = announcing(announcement, load);
        self.session.machine().notice(HOSTS, vec![told.to_value()]);
    }

    /// Listens for ever.
    pub(crate) async fn listen(&mut self) -> Ended {
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
pub(crate) fn patient(limits: Limits) -> Limits {
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

pub(crate) fn ports_of(number: u32) -> Announcement {
    Announcement {
        host: format!("m{number}.example.org"),
        rtmp: Some(1935),
        http: Some(8080),
        ..Announcement::default()
    }
}

pub(crate) fn secret(folder: &Path) -> Secret {
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

/// Two mirrors are each other's master: both see it, and say so.
#[tokio::test]
async fn mirrors_in_a_ring_are_refused() {
    let folder = folder();
    let master = master(folder.path());
    let one = Running::start(mirror_of(master.rtmp, folder.path()));
    let two = Running::start(mirror_of(one.rtmp, folder.path()));
    lists(&two, &[&one, &two]).await;
    let ring = mirror_of(two.rtmp, folder.path());
    one.reload(ring).await.unwrap();
    let begin = Instant::now();
    loop {
        let (a, b) = (one.health().await, two.health().await);
        if a.contains("is its own master") || b.contains("is its own master") {
            break;
        }
        assert!(begin.elapsed() < PATIENCE, "{a} {b}");
        sleep(Duration::from_millis(50)).await;
    }
    // Taken back, all is well.
    let right = mirror_of(master.rtmp, folder.path());
    one.reload(right).await.unwrap();
    let begin = Instant::now();
    while !two.health().await.starts_with("HTTP/1.1 200 ")
        || !one.health().await.starts_with("HTTP/1.1 200 ")
    {
        assert!(begin.elapsed() < PATIENCE);
        sleep(Duration::from_millis(50)).await;
    }
    lists(&two, &[&one, &two]).await;
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
