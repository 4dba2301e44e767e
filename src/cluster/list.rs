//! What players are told of the hosts: `/cluster.json`, and the steering document of HLS.

use serde::Serialize;

use crate::calendar::rfc3339;
use crate::rtmp::mirror::host::{Host, HostState};

/// The version of `/cluster.json`. New fields do not count.
const VERSION: u32 = 1;
/// After this many seconds a player asks again; more where the list is long, so that the answers together
/// stay a small part of what players get.
const TTL: usize = 5;
/// One second more for each so many hosts.
const TTL_HOSTS: usize = 50;
/// Hosts in a steering document: it is read by a player that needs the next one or two.
const STEERED: usize = 16;
/// After this many seconds an HLS player asks for the steering document again.
const STEERING_TTL: u32 = 5;
/// The same while this server asks its viewers to move.
const DRAINING_TTL: u32 = 1;

/// What the list is made of.
#[derive(Debug)]
pub struct Page<'a> {
    /// Of the server that answers.
    pub id: &'a str,
    /// `standalone`, `master` or `mirror`
    pub role: &'a str,
    /// Unix time, ms.
    pub wall_ms: u64,
    /// For how long the master has not been heard, seconds.
    pub stale: Option<u64>,
    /// All of them.
    pub hosts: &'a [Host],
}

#[derive(Serialize)]
struct Body<'a> {
    version: u32,
    generated: String,
    ttl: usize,
    id: &'a str,
    role: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    stale: Option<u64>,
    hosts: Vec<Entry<'a>>,
}

#[derive(Serialize)]
struct Entry<'a> {
    id: &'a str,
    state: &'static str,
    weight: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    rtmp: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    http: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    https: Option<&'a str>,
    viewers: u32,
    mbit_s: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_viewers: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_mbit_s: Option<f64>,
}

fn mbit(kbit: u32) -> f64 {
    f64::from(kbit / 100) / 10.0
}

/// The hosts in the order of the list: those that take viewers first.
pub fn sort(hosts: &mut [Host]) {
    hosts.sort_by(|a, b| (a.load.state, &a.id).cmp(&(b.load.state, &b.id)));
}

/// The body of `/cluster.json`.
#[must_use]
pub fn render(page: &Page<'_>) -> String {
    let hosts = page.hosts.iter().map(|host| Entry {
        id: &host.id,
        state: host.load.state.as_str(),
        weight: host.load.weight,
        rtmp: host.urls.rtmp.as_deref(),
        http: host.urls.http.as_deref(),
        https: host.urls.https.as_deref(),
        viewers: host.load.viewers,
        mbit_s: mbit(host.load.kbit),
        max_viewers: host.load.max_viewers,
        max_mbit_s: host.load.max_kbit.map(mbit),
    });
    let body = Body {
        version: VERSION,
        generated: rfc3339(page.wall_ms),
        ttl: TTL.saturating_add(page.hosts.len() / TTL_HOSTS),
        id: page.id,
        role: page.role,
        stale: page.stale,
        hosts: hosts.collect(),
    };
    // Plain data is always JSON.
    serde_json::to_string(&body).unwrap_or_default()
}

/// A steering document (the manifest of RFC 8216bis, section 7).
#[derive(Serialize)]
struct Steering<'a> {
    #[serde(rename = "VERSION")]
    version: u32,
    #[serde(rename = "TTL")]
    ttl: u32,
    /// Where the next document is: not here, when the player goes elsewhere, as this server may be gone then.
    #[serde(rename = "RELOAD-URI", skip_serializing_if = "Option::is_none")]
    reload: Option<String>,
    #[serde(rename = "PATHWAY-PRIORITY")]
    priority: Vec<&'a str>,
    #[serde(rename = "PATHWAY-CLONES", skip_serializing_if = "Vec::is_empty")]
    clones: Vec<Clone<'a>>,
}

/// A pathway that the playlist of the player need not know.
#[derive(Serialize)]
struct Clone<'a> {
    #[serde(rename = "BASE-ID")]
    base: &'a str,
    #[serde(rename = "ID")]
    id: &'a str,
    #[serde(rename = "URI-REPLACEMENT")]
    uri: Replacement<'a>,
}

#[derive(Serialize)]
struct Replacement<'a> {
    #[serde(rename = "HOST")]
    host: &'a str,
}

/// The base URL of a host for HLS.
fn base(host: &Host, secure: bool) -> Option<&str> {
    if secure {
        host.urls.https.as_deref()
    } else {
        host.urls.http.as_deref()
    }
}

/// The steering document for a player that is on `pathway`, or has said nothing of that. `own` is the id of
/// this server. The player stays where it is as long as that host is ready; after it come the others in the
/// order of `pick`, which gives one of those that are left.
#[must_use]
pub fn steering(
    hosts: &[Host],
    own: &str,
    pathway: Option<&str>,
    secure: bool,
    mut pick: impl FnMut(&[&Host]) -> usize,
) -> String {
    let usable = |host: &&Host| host.id == own || base(host, secure).is_some();
    let known: Vec<&Host> = hosts.iter().filter(usable).collect();
    let current = pathway.unwrap_or(own);
    let draining = known
        .iter()
        .any(|h| h.id == own && h.load.state == HostState::Draining);
    // A full host is no place to go to, but none to leave either.
    let stays = |h: &&&Host| h.id == current && h.load.state != HostState::Draining;
    let mut priority: Vec<&Host> = known.iter().filter(stays).copied().collect();
    let ready = |h: &&&Host| h.load.state == HostState::Ready && h.id != current;
    let mut rest: Vec<&Host> = known.iter().filter(ready).copied().collect();
    while !rest.is_empty() && priority.len() < STEERED {
        let next = pick(&rest).min(rest.len().saturating_sub(1));
        priority.push(rest.swap_remove(next));
    }
    // Somebody has to be on it.
    if priority.is_empty() {
        priority.extend(known.iter().filter(|h| h.id == current || h.id == own));
    }
    let mut ids: Vec<&str> = priority.iter().map(|h| h.id.as_str()).collect();
    // A master is in no list, and who watches there has a reason.
    let unlisted = current == own && !hosts.iter().any(|h| h.id == own);
    if ids.is_empty() || unlisted {
        ids.insert(0, own);
    }
    let leaves = priority.first().filter(|h| !unlisted && h.id != own);
    let reload = leaves.and_then(|host| Some(format!("{}/steering.json", base(host, secure)?)));
    let clones = priority.iter().filter(|h| h.id != own).filter_map(|host| {
        let (_, authority) = base(host, secure)?.split_once("://")?;
        Some(Clone {
            base: own,
            id: &host.id,
            uri: Replacement { host: authority },
        })
    });
    let document = Steering {
        version: 1,
        ttl: if draining { DRAINING_TTL } else { STEERING_TTL },
        reload,
        clones: clones.collect(),
        priority: ids,
    };
    serde_json::to_string(&document).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtmp::mirror::host::{Load, Urls};

    fn host(id: &str, state: HostState) -> Host {
        Host {
            id: id.into(),
            urls: Urls {
                rtmp: Some(format!("rtmp://{id}.example:1935")),
                http: Some(format!("http://{id}.example:8080")),
                https: None,
            },
            load: Load {
                state,
                weight: 100,
                viewers: 12,
                kbit: 34_567,
                max_viewers: Some(1000),
                max_kbit: None,
            },
        }
    }

    #[test]
    fn the_list_is_what_players_expect() {
        let mut hosts = [host("b", HostState::Draining), host("a", HostState::Ready)];
        sort(&mut hosts);
        let page = Page {
            id: "me",
            role: "mirror",
            wall_ms: 1_795_348_800_123,
            stale: None,
            hosts: &hosts,
        };
        let body: serde_json::Value = serde_json::from_str(&render(&page)).unwrap();
        assert_eq!(
            body,
            serde_json::json!({
                "version": 1, "generated": "2026-11-22T12:00:00Z", "ttl": 5, "id": "me", "role": "mirror",
                "hosts": [
                    { "id": "a", "state": "ready", "weight": 100, "rtmp": "rtmp://a.example:1935",
                      "http": "http://a.example:8080", "viewers": 12, "mbit_s": 34.5, "max_viewers": 1000 },
                    { "id": "b", "state": "draining", "weight": 100, "rtmp": "rtmp://b.example:1935",
                      "http": "http://b.example:8080", "viewers": 12, "mbit_s": 34.5, "max_viewers": 1000 },
                ]
            })
        );
    }

    fn steered(hosts: &[Host], pathway: Option<&str>) -> serde_json::Value {
        let text = steering(hosts, "a", pathway, false, |_| 0);
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn a_player_stays_where_it_is_as_long_as_it_may() {
        let mut hosts = vec![
            host("a", HostState::Ready),
            host("b", HostState::Ready),
            host("c", HostState::Full),
        ];
        let priority =
            |hosts: &[Host], pathway| steered(hosts, pathway)["PATHWAY-PRIORITY"].clone();
        assert_eq!(priority(&hosts, None), serde_json::json!(["a", "b"]));
        assert_eq!(priority(&hosts, Some("b")), serde_json::json!(["b", "a"]));
        assert_eq!(
            priority(&hosts, Some("c")),
            serde_json::json!(["c", "a", "b"])
        );
        let first = steered(&hosts, None);
        assert!(first.get("RELOAD-URI").is_none(), "{first}");
        assert_eq!((&first["VERSION"], &first["TTL"]), (&1.into(), &5.into()));
        assert_eq!(
            first["PATHWAY-CLONES"],
            serde_json::json!([{ "BASE-ID": "a", "ID": "b", "URI-REPLACEMENT": { "HOST": "b.example:8080" } }])
        );
        hosts[0].load.state = HostState::Draining;
        let draining = steered(&hosts, Some("a"));
        assert_eq!(draining["PATHWAY-PRIORITY"], serde_json::json!(["b"]));
        assert_eq!(draining["TTL"], 1);
        // Whoever goes asks there from then on, as this one may be gone.
        assert_eq!(
            draining["RELOAD-URI"],
            "http://b.example:8080/steering.json"
        );
        hosts.truncate(1);
        assert_eq!(
            priority(&hosts, Some("a")),
            serde_json::json!(["a"]),
            "there is nowhere else"
        );
        assert_eq!(priority(&[], Some("x")), serde_json::json!(["a"]));
        // On a master, which is in no list.
        let mirrors = [host("b", HostState::Ready)];
        assert_eq!(priority(&mirrors, Some("a")), serde_json::json!(["a", "b"]));
        assert!(steered(&mirrors, None).get("RELOAD-URI").is_none());
    }

    #[test]
    fn a_steering_document_is_short() {
        let hosts: Vec<_> = (0..1000)
            .map(|n| host(&format!("{n:04}"), HostState::Ready))
            .collect();
        let all = steered(&hosts, Some("0007"));
        let priority = all["PATHWAY-PRIORITY"].as_array().unwrap();
        assert_eq!((priority.len(), &priority[0]), (STEERED, &"0007".into()));
    }
}
