//! What the settings come to for each part of the server.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use super::parts::Parts;
use super::room::Room;
use super::stack::Stack;
use crate::cluster::address::Rules;
use crate::cluster::{Capacity, Link, Standing};
use crate::config::{Role, Settings};
use crate::http::{Hls, HlsConfig, LastList, Missing, Web};
use crate::net::{AdmissionLimits, Latency};
use crate::rtmp::mirror::host::Announcement;
use crate::rtmp_server::{RtmpServer, Viewers};
#[cfg(feature = "publish")]
use crate::{config::FileSeek, index::Seek, vod::LibraryConfig};

/// When to ask again a mirror that has no link to its master.
const RETRY_AFTER: Duration = Duration::from_secs(2);

pub(super) fn latency(settings: &Settings) -> Latency {
    settings.relay.latency.map_or(Latency::Auto, Latency::Fixed)
}

pub(super) const fn viewers(settings: &Settings) -> Viewers {
    Viewers {
        join: settings.join_mode(),
        wait: settings.play.wait,
    }
}

/// What the server is to the public, with these ports.
pub(super) fn standing(settings: &Settings, port: impl Fn(Stack) -> Option<u16>) -> Standing {
    let cluster = &settings.cluster;
    let public = settings.role != Role::Master;
    Standing {
        role: settings.role.as_str(),
        public,
        announcement: Announcement {
            // A master's own is for its mirrors.
            host: if public {
                cluster.host.clone()
            } else {
                String::new()
            },
            ip: None,
            rtmp: port(Stack::Rtmp).map(|port| cluster.rtmp_port.unwrap_or(port)),
            http: port(Stack::Http).map(|port| cluster.http_port.unwrap_or(port)),
            // Something in front of this server may speak it too.
            https: cluster.https_port.or_else(|| port(Stack::Https)),
        },
        capacity: Capacity {
            viewers: settings.limits.max_viewers,
            kbit: settings.limits.max_mbit_s.map(|n| n.saturating_mul(1000)),
            weight: cluster.weight,
        },
        rules: Rules {
            host: cluster.host.clone(),
            allow: cluster.allow.clone(),
        },
    }
}

/// The bounds, as far as this process may have descriptors for them.
pub(super) fn admission(settings: &Settings) -> io::Result<AdmissionLimits> {
    let limits = settings.limits;
    Ok(AdmissionLimits {
        connections: limits.max_connections,
        descriptors: Room::make(settings)?.connections(),
        pending: limits.max_pending,
        pending_per_address: limits.max_pending_per_address,
    })
}

#[cfg(feature = "publish")]
pub(super) fn library(settings: &Settings) -> LibraryConfig {
    LibraryConfig {
        folders: settings.files.folders.clone(),
        seek: match settings.files.seek {
            FileSeek::Key => Seek::Key,
            FileSeek::Exact => Seek::Exact,
        },
        ahead: settings.files.ahead,
        list: settings.files.list,
        cache: settings.files.cache_dir.clone(),
    }
}

pub(super) const fn hls(settings: &Settings) -> HlsConfig {
    HlsConfig {
        enabled: settings.hls.enabled,
        window: settings.hls.window,
    }
}

pub(super) fn web(
    parts: &Parts,
    rtmp: &Arc<RtmpServer>,
    rtmp_port: &Arc<AtomicU16>,
    hls: HlsConfig,
) -> Web {
    let policy = Arc::clone(&parts.policy);
    let applications = Arc::clone(&parts.policy);
    let cluster = Arc::clone(&parts.cluster);
    let rtmp = Arc::clone(rtmp);
    let rtmp_port = Arc::clone(rtmp_port);
    Web {
        hub: Arc::clone(&parts.hub),
        cluster: Arc::clone(&parts.cluster),
        last_list: LastList::default(),
        #[cfg(feature = "publish")]
        files: None,
        metrics: Arc::clone(&parts.metrics),
        health: Arc::clone(&parts.health),
        access: Box::new(move |peer| policy.may_read(peer)),
        meant: Box::new(move |name| applications.meant(name)),
        missing: Box::new(move |_| match cluster.link() {
            Link::Down { .. } => Missing::NoMaster {
                retry_after: RETRY_AFTER,
            },
            Link::None | Link::Up { .. } => Missing::NotLive,
        }),
        hls: Hls::new(&parts.hub, &parts.metrics, hls),
        join: Box::new(move || rtmp.viewers().join),
        rtmp_port: Box::new(move || Some(rtmp_port.load(Ordering::Relaxed)).filter(|p| *p > 0)),
    }
}
