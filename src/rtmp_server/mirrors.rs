//! Mirrors: the proof of the shared secret, and the control connection that announces streams.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::connection::Connection;
use crate::amf::{Value, object};
use crate::auth::Identity;
use crate::bridge::OUT_CHUNK_SIZE;
use crate::cluster::{self, Membership, Reader};
use crate::relay;
use crate::rtmp::mirror::host::Hosts;
use crate::rtmp::mirror::{self, Hello, Listed, Listing, Welcome};
use crate::rtmp::session::reason::CloseReason;
use crate::rtmp::status::{self, Level, code};
use crate::system::{random, wall_ms};
use crate::telemetry::logging::Escaped;
use crate::telemetry::repeats::repeated;

/// The master shows its mirrors that it is there at least this often.
const HEARTBEAT: Duration = Duration::from_secs(2);

/// Changes that come faster than this are told together: when all mirrors come back at once, each of
/// them changes what all the others are told.
const ANNOUNCE_PAUSE: Duration = Duration::from_millis(100);

/// A mirror that announces itself tells its load every second; one that did not for this long is gone, or
/// cut off, and no place to send viewers to.
const SILENCE: Duration = Duration::from_secs(5);

/// Messages of hosts that are written in one go, and when the next ones follow.
const HOSTS_AT_ONCE: usize = 2;
/// See [`HOSTS_AT_ONCE`].
const HOSTS_NEXT: Duration = Duration::from_millis(20);

/// Between `connect` and the proof.
pub(super) struct Login {
    hello: Hello,
    nonce: String,
}

impl Login {
    /// Draws the master's nonce.
    pub(super) fn begin(
        hello: Hello,
        path: Vec<String>,
    ) -> Result<(Self, Welcome), getrandom::Error> {
        let nonce = mirror::new_id(random()?);
        let welcome = Welcome {
            nonce: nonce.clone(),
            path,
        };
        Ok((Self { hello, nonce }, welcome))
    }
}

/// A mirror's control connection: it is told the streams whenever they change.
pub(super) struct Control {
    hub_version: u64,
    cluster_version: u64,
    next: Instant,
    /// Not before this, whatever changes.
    soonest: Instant,
    hosts: Option<Downlink>,
    _streams: relay::Watch,
    watch: cluster::Watch,
    member: Membership,
}

/// What a mirror was told of the hosts, once it has shown that it understands.
struct Downlink {
    reader: Reader,
    /// When to look next.
    next: Instant,
    /// When it told something last, and when it was last looked at.
    heard: Instant,
    looked: Instant,
    /// What was wrong with what it announced, as the log has it already.
    objection: Option<String>,
}

impl Control {
    pub(super) fn next(&self) -> Instant {
        let hosts = self.hosts.as_ref().map(|hosts| hosts.next);
        hosts.map_or(self.next, |at| at.min(self.next))
    }
}

impl Connection {
    /// A mirror shows that it knows the secret, and learns that we do.
    pub(super) fn prove(&mut self, transaction: f64, args: &[Value]) {
        let (Some(login), Some(secret)) = (self.login.take(), self.server.policy.secret()) else {
            return self.machine.unknown_call(transaction, mirror::PROVE);
        };
        let proof = args.first().and_then(Value::as_str).unwrap_or_default();
        let Hello { id, nonce } = &login.hello;
        if !secret.verify_mirror(nonce, &login.nonce, id, proof) {
            self.shard.metrics().logins_failed.inc();
            if self.server.is_new_wrong(id) {
                repeated("mirror-secret", self.peer.ip(), Instant::now(), || {
                    tracing::warn!(
                        peer = %self.peer, mirror = %id, code = "mirror-secret",
                        "mirror refused: its secret is another one; compare secret_file on both \
                         machines (said once, however often it tries)"
                    );
                });
            }
            return self.refuse_mirror(
                transaction,
                "the secrets differ; compare secret_file on both machines",
            );
        }
        self.server.is_right(id);
        let answer = secret.master_proof(nonce, &login.nonce, id);
        let fields = [("proof", answer.into())];
        self.machine.result(transaction, vec![object(fields)]);
        self.now_is(Identity::Mirror);
        tracing::debug!(peer = %self.peer, mirror = %id, "mirror proved itself");
        self.mirror_id = Some(login.hello.id);
    }

    fn refuse_mirror(&mut self, transaction: f64, why: &str) {
        let info = status::info(Level::Error, code::CONNECT_REJECTED, why);
        self.machine.error(transaction, info);
        self.machine
            .close(CloseReason::Driver("mirror-refused", why.to_owned()));
    }

    /// From now on this is a control connection.
    pub(super) fn watch(&mut self, transaction: f64) {
        let Some(id) = self.mirror_id.clone() else {
            return self.machine.unknown_call(transaction, mirror::WATCH);
        };
        let server = Arc::clone(&self.server);
        let member = cluster::Mirror {
            peer: self.peer,
            since: Instant::now(),
        };
        let member = match server.cluster.join(&id, member) {
            Ok(member) => member,
            Err(error) => {
                repeated("mirror-refused", self.peer.ip(), Instant::now(), || {
                    tracing::warn!(
                        peer = %self.peer, code = "mirror-refused", "mirror refused: {error}"
                    );
                });
                return self.refuse_mirror(transaction, &error.to_string());
            }
        };
        tracing::info!(peer = %self.peer, mirror = %id, "mirror connected");
        if self.control.is_none() {
            self.shard.metrics().mirrors.inc();
        }
        self.machine.allow_idle();
        self.machine.result(transaction, vec![Value::Null]);
        let streams = server.hub.watch(self.bell.clone());
        let cluster = server.cluster.watch(self.bell.clone());
        // Versions that cannot be the present ones: the first look announces.
        self.control = Some(Box::new(Control {
            hub_version: server.hub.version().wrapping_sub(1),
            cluster_version: server.cluster.version().wrapping_sub(1),
            next: Instant::now(),
            soonest: Instant::now(),
            hosts: None,
            _streams: streams,
            watch: cluster,
            member,
        }));
        self.announce(Instant::now());
    }

    /// What a mirror tells of itself and of the hosts below it.
    pub(super) fn hosts(&mut self, args: &[Value]) {
        let now = Instant::now();
        let (Some(control), Some(told)) =
            (&mut self.control, args.iter().find_map(Hosts::from_value))
        else {
            return;
        };
        let objection = control.member.take_hosts(&told, self.peer.ip());
        let hosts = control.hosts.get_or_insert_with(|| Downlink {
            reader: Reader::default(),
            next: now,
            heard: now,
            looked: now,
            objection: None,
        });
        hosts.heard = now;
        if let Some(objection) = objection
            && hosts.objection.as_ref() != Some(&objection)
        {
            repeated("mirror-address", self.peer.ip(), now, || {
                tracing::warn!(
                    peer = %self.peer, mirror = self.mirror_id.as_deref().unwrap_or_default(),
                    code = "mirror-address", "a mirror is elsewhere: {}", Escaped(&objection)
                );
            });
            hosts.objection = Some(objection);
        }
        self.tell_hosts(now);
    }

    /// Tells a mirror the hosts that are new or gone at once, their loads in turn.
    pub(super) fn tell_hosts(&mut self, now: Instant) {
        let Some(control) = self.control.as_mut() else {
            return;
        };
        let Some(hosts) = control.hosts.as_mut() else {
            return;
        };
        // Each control connection is looked at with its heartbeat; after a longer pause it was this server
        // that stood still, and there may be much to read yet.
        let paused = now.saturating_duration_since(hosts.looked) > HEARTBEAT.saturating_mul(2);
        hosts.looked = now;
        if paused {
            hosts.heard = now;
        }
        if now.saturating_duration_since(hosts.heard) > SILENCE {
            return self.machine.close(CloseReason::Driver(
                "mirror-silent",
                format!("the mirror has told nothing for {} s", SILENCE.as_secs()),
            ));
        }
        let cluster = &self.server.cluster;
        let due = cluster.part_due(now);
        if now < hosts.next && now < due {
            // It is not rung again until then, whatever changes.
            hosts.next = hosts.next.min(due);
            return;
        }
        control.watch.looks();
        for _ in 0..HOSTS_AT_ONCE {
            // A whole list waits for the mirror to take it, part after part.
            if !self.outlet.has_room() {
                break;
            }
            let encode = |hosts: &Hosts| hosts.message(OUT_CHUNK_SIZE);
            let Some(part) = cluster.part(&mut hosts.reader, now, encode) else {
                hosts.next = cluster.part_due(now);
                return;
            };
            self.outlet.control(part);
        }
        hosts.next = now.checked_add(HOSTS_NEXT).unwrap_or(now);
    }

    /// Tells a mirror the streams when they changed, and that the master lives.
    pub(super) fn announce(&mut self, now: Instant) {
        let Some(control) = &mut self.control else {
            return;
        };
        if control.member.is_replaced() {
            return self.machine.close(CloseReason::Driver(
                "mirror-replaced",
                "the same mirror has connected anew".to_owned(),
            ));
        }
        let (hub, cluster) = (&self.server.hub, &self.server.cluster);
        let versions = (hub.version(), cluster.version());
        let changed = versions != (control.hub_version, control.cluster_version);
        if changed {
            control.next = control.next.min(control.soonest);
        }
        if now < control.next {
            return;
        }
        (control.hub_version, control.cluster_version) = versions;
        control.next = now.checked_add(HEARTBEAT).unwrap_or(now);
        control.soonest = now.checked_add(ANNOUNCE_PAUSE).unwrap_or(now);
        // A whole listing as the heartbeat, too: whatever was lost is mended within two seconds.
        let streams = hub.list(now).into_iter().map(|s| Listed {
            app: s.name.app().to_owned(),
            name: s.name.name().to_owned(),
            live: s.state == relay::State::Live,
        });
        let listing = Listing {
            path: cluster.path(),
            streams: streams.collect(),
            clock_ms: Some(wall_ms()),
        };
        self.machine.call(mirror::STREAMS, vec![listing.to_value()]);
    }
}
