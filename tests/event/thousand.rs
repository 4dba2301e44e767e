//! A thousand mirrors of one master, each of which announces itself.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crtmpserver::auth::Secret;
use crtmpserver::config::Role;
use crtmpserver::rtmp::client::{Client, Event, Output};
use crtmpserver::rtmp::mirror::host::Load;
use crtmpserver::rtmp::mirror::{self, Welcome};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::cluster::{Mirror, announcing, hello, list, patient, ports_of, secret};
use crate::world::*;

const COUNT: u32 = 1000;
/// Each so many-th reads what it is told. The others take the bytes: a thousand mirrors on one machine
/// would have it read a million hosts.
const READS: u32 = 50;
/// Less than one host has in a message.
const HOST_BYTES: u64 = 120;

fn load(turn: u32) -> Load {
    Load {
        weight: 100,
        viewers: turn,
        ..Load::default()
    }
}

/// A connection that has logged in; what comes behind it is for nobody.
async fn log_in(address: SocketAddr, secret: &Secret, number: u32) -> Option<TcpStream> {
    let (hello, config) = hello(address, number);
    let mut socket = TcpStream::connect(address).await.ok()?;
    let mut machine = Client::new(config, Instant::now());
    let mut watching = None;
    let mut buffer = vec![0; 16 * 1024];
    loop {
        while let Some(output) = machine.poll() {
            match output {
                Output::Write(bytes) => socket.write_all(&bytes).await.ok()?,
                Output::Close(reason) => panic!("{reason}"),
                Output::Event(Event::Connected { info, .. }) => {
                    let nonce = Welcome::find(&info).unwrap().nonce;
                    let proof = secret.mirror_proof(&hello.nonce, &nonce, &hello.id);
                    machine.call(mirror::PROVE, vec![proof.into()]);
                    watching = machine.call(mirror::WATCH, Vec::new());
                }
                Output::Event(Event::Result { transaction, .. })
                    if Some(transaction) == watching =>
                {
                    return Some(socket);
                }
                Output::Event(Event::Error { info, .. }) => panic!("{info:?}"),
                Output::Event(_) => {}
            }
        }
        let n = socket.read(&mut buffer).await.ok().filter(|n| *n > 0)?;
        machine.feed(&buffer[..n], Instant::now());
    }
}

/// What all of them share.
struct Crowd {
    address: SocketAddr,
    secret: Secret,
    /// So many log in at the same time.
    places: Semaphore,
    /// Who has been told as much as a whole list has, and who reads and knows all.
    told: AtomicU32,
    know: AtomicU32,
    /// Connections that ended: on a machine that has too much to do one may fall silent.
    ends: AtomicU32,
    over: watch::Sender<bool>,
}

impl Crowd {
    /// Lives as a mirror does: it announces itself each second, and comes again when its connection ends.
    async fn takes(self: Arc<Self>, number: u32) {
        let mut over = self.over.subscribe();
        let mut counted = false;
        loop {
            let place = self.places.acquire().await.unwrap();
            let socket = log_in(self.address, &self.secret, number).await;
            drop(place);
            let lives = async {
                let mut socket = socket?;
                let mut buffer = vec![0; 16 * 1024];
                let mut seconds = interval(Duration::from_secs(1));
                seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
                let (mut bytes, mut turn) = (0_u64, 0);
                loop {
                    tokio::select! {
                        n = socket.read(&mut buffer) => {
                            bytes += n.ok().filter(|n| *n > 0)? as u64;
                            if bytes > u64::from(COUNT) * HOST_BYTES && !counted {
                                counted = true;
                                self.told.fetch_add(1, Ordering::Relaxed);
                            }
                        }
                        _ = seconds.tick() => {
                            turn += 1;
                            let told = announcing(ports_of(number), load(turn));
                            socket.write_all(&told.message(4096)).await.ok()?;
                        }
                    }
                }
            };
            tokio::select! {
                _ = over.wait_for(|over| *over) => return,
                () = async { let _: Option<()> = lives.await; } => {}
            }
            self.ends.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The same with ears. What it was told: messages, hosts, and within how many seconds.
    async fn reads(self: Arc<Self>, number: u32) -> (usize, usize, usize) {
        let mut over = self.over.subscribe();
        let place = self.places.acquire().await.unwrap();
        let joined = Mirror::join(self.address, &self.secret, number).await;
        drop(place);
        let (mut mirror, begin) = (joined.unwrap(), Instant::now());
        let mut counted = false;
        for turn in 0.. {
            mirror.announce(ports_of(number), load(turn));
            tokio::select! {
                ended = timeout(Duration::from_secs(1), mirror.listen()) => {
                    assert!(ended.is_err(), "{ended:?}");
                }
                _ = over.wait_for(|over| *over) => break,
            }
            if !counted && mirror.hosts.len() == COUNT as usize {
                counted = true;
                self.know.fetch_add(1, Ordering::Relaxed);
            }
        }
        let seconds = usize::try_from(begin.elapsed().as_secs()).unwrap() + 2;
        (mirror.messages, mirror.hosts_told, seconds)
    }
}

/// They come, all of them learn of all others, and what each is told stays a list and its changes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_mirrors() {
    let folder = folder();
    let mut settings = settings(Role::Master, folder.path());
    settings.play.networks = crtmpserver::auth::Networks::loopback();
    settings.limits = patient(settings.limits);
    let master = Running::start(settings);
    let crowd = Arc::new(Crowd {
        address: master.rtmp,
        secret: secret(folder.path()),
        places: Semaphore::new(32),
        told: AtomicU32::new(0),
        know: AtomicU32::new(0),
        ends: AtomicU32::new(0),
        over: watch::channel(false).0,
    });
    let (mut taking, mut reading) = (JoinSet::new(), JoinSet::new());
    for number in 0..COUNT {
        if number.is_multiple_of(READS) {
            reading.spawn(crowd.clone().reads(number));
        } else {
            taking.spawn(crowd.clone().takes(number));
        }
    }
    let readers = COUNT / READS;
    let begin = Instant::now();
    loop {
        let told = crowd.told.load(Ordering::Relaxed);
        let know = crowd.know.load(Ordering::Relaxed);
        if (told, know) == (COUNT - readers, readers) {
            break;
        }
        if let Some(failed) = reading.try_join_next() {
            panic!("{failed:?}");
        }
        let ends = crowd.ends.load(Ordering::Relaxed);
        assert!(
            begin.elapsed() < 15 * PATIENCE,
            "{told} were told, {know} know all, {ends} connections ended"
        );
        sleep(Duration::from_millis(50)).await;
    }
    let listed = list(&master).await["hosts"].as_array().unwrap().len();
    let ends = crowd.ends.load(Ordering::Relaxed) as usize;
    let all = COUNT as usize;
    assert!(listed + ends >= all, "{listed} listed, {ends} ended");
    crowd.over.send_replace(true);
    while let Some(told) = reading.join_next().await {
        let (messages, hosts, seconds) = told.unwrap();
        // The whole list, then each that came later, once, and some loads.
        let most = 2 * all + 25 * seconds + 2 * ends;
        assert!(hosts <= most, "{hosts} hosts in {seconds} s, {ends} ended");
        // Twice a second, and the loads, and more where they are more than a message holds.
        let most = 3 * seconds + hosts / 100 + 20;
        assert!(messages <= most, "{messages} messages in {seconds} s");
    }
    while let Some(took) = taking.join_next().await {
        took.unwrap();
    }
    // They go as they came.
    let begin = Instant::now();
    while !list(&master).await["hosts"].as_array().unwrap().is_empty() {
        assert!(begin.elapsed() < PATIENCE);
        sleep(Duration::from_millis(100)).await;
    }
}
