//! What a mirror tells its master over the control connection: itself, and the hosts below it.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::time::sleep_until;

use super::metadata::{Cloud, public_ip};
use crate::cluster::address::wants_ip;
use crate::cluster::{self, Cluster, Told};
use crate::rtmp::mirror::host::{Announcement, HOSTS, Load};
use crate::rtmp_client::Session;

/// Changes that come faster than this are told together.
const PAUSE: Duration = Duration::from_millis(250);
/// The load is told this often, changed or not: a master that hears nothing of a mirror takes it for dead.
const LOADS: Duration = Duration::from_secs(1);
/// Messages that wait for the master to take them; then nothing is added.
const MAX_UNSENT: usize = 128 * 1024;

/// The public address, when the cloud has answered; nothing when it has none, or there is none.
type Asking = Pin<Box<dyn Future<Output = Option<IpAddr>> + Send>>;

/// One connection's.
pub(super) struct Uplink {
    cluster: Arc<Cluster>,
    told: Told,
    said: Option<(Announcement, Load)>,
    /// Nothing before this.
    soonest: Instant,
    /// No load before this.
    loads: Instant,
    asking: Option<Asking>,
    /// Something changed.
    rung: bool,
    bell: Arc<Notify>,
    watch: cluster::Watch,
}

impl Uplink {
    /// `local` is this end of the connection.
    pub(super) fn new(cluster: &Arc<Cluster>, cloud: &Cloud, local: Option<IpAddr>) -> Self {
        let now = Instant::now();
        let bell = Arc::new(Notify::new());
        let (own, _) = cluster.own();
        let service = local
            .and_then(|local| cloud.to_ask(local))
            .filter(|_| wants_ip(&own.host));
        Self {
            cluster: Arc::clone(cluster),
            told: Told::default(),
            said: None,
            soonest: now,
            loads: now,
            asking: service
                .map(|service| -> Asking { Box::pin(async move { public_ip(&service).await }) }),
            rung: false,
            watch: cluster.watch(bell.clone()),
            bell,
        }
    }

    /// Waits until there may be something to say. May be dropped and called again.
    pub(super) async fn wait(&mut self) {
        if let Some(asking) = &mut self.asking {
            // Until then it is not said where this server is: it would be listed with an address that is
            // of no use to anyone.
            let ip = asking.await;
            self.asking = None;
            if let Some(ip) = ip {
                self.cluster.set_public_ip(Some(ip));
            }
            return;
        }
        if !self.rung {
            tokio::select! {
                () = self.bell.notified() => self.rung = true,
                () = sleep_until(self.loads.into()) => {}
            }
        }
        // What else changes until then is told with it.
        sleep_until(self.soonest.into()).await;
    }

    /// Says what is new.
    pub(super) fn speak(&mut self, session: &mut Session) {
        let now = Instant::now();
        if self.asking.is_some() || now < self.soonest {
            return;
        }
        self.rung = false;
        self.soonest = now.checked_add(PAUSE).unwrap_or(now);
        if session.unsent() > MAX_UNSENT {
            return;
        }
        let loads = now >= self.loads;
        if loads {
            self.loads = now.checked_add(LOADS).unwrap_or(now);
        }
        self.watch.looks();
        let own = self.cluster.own();
        let own_is_news = match &self.said {
            None => true,
            Some((announcement, load)) => {
                loads || *announcement != own.0 || load.state != own.1.state
            }
        };
        let news = self.cluster.news(&mut self.told, loads);
        // More of it goes with the next look.
        self.rung = self.told.is_behind(self.cluster.hosts_version());
        if news.is_none() && !own_is_news {
            return;
        }
        let mut message = news.unwrap_or_default();
        if own_is_news || message.start {
            message.own = Some(own.clone());
            self.said = Some(own);
        }
        session.machine().notice(HOSTS, vec![message.to_value()]);
    }
}
