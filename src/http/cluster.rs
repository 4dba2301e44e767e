//! `/cluster.json` and `/steering.json`: where players find the hosts, and which one to use.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{Extension, Query, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Deserialize;

use super::Web;
use super::page::host_of;
use super::pages::{Local, host};
use super::via::via;
use crate::cluster::Via;
use crate::rtmp::mirror::host::{Urls, is_base};
use crate::system::wall_ms;

/// A list is made anew at most this often, however many players ask: with a thousand hosts it is long.
const FRESH: Duration = Duration::from_millis(500);
/// Players of other origins ask, and there is nothing here that a cookie could open.
const ANY_ORIGIN: HeaderValue = HeaderValue::from_static("*");
const SHORT: HeaderValue = HeaderValue::from_static("public, max-age=2");
const NONE: HeaderValue = HeaderValue::from_static("no-store");

/// The last list, for a little while.
#[derive(Debug, Default)]
pub struct LastList(Mutex<Option<(Instant, Bytes)>>);

impl LastList {
    fn get(&self, now: Instant, make: impl FnOnce() -> String) -> Bytes {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some((at, list)) if now.saturating_duration_since(*at) < FRESH => list.clone(),
            _ => {
                let list = Bytes::from(make());
                *last = Some((now, list.clone()));
                list
            }
        }
    }
}

/// `/cluster.json`
pub(super) async fn list(
    State(web): State<Arc<Web>>,
    Extension(Local(local)): Extension<Local>,
    fields: HeaderMap,
) -> Response {
    let (now, wall) = (Instant::now(), wall_ms());
    let cluster = &web.cluster;
    let knows_itself = cluster.own_host().is_none_or(|own| !own.urls.is_empty());
    let body = if knows_itself {
        let make = || cluster.render(None, wall, now);
        web.last_list.get(now, make)
    } else {
        // Nobody told it where it is; whoever asks has found it somewhere.
        let field = fields.get(header::HOST).and_then(|h| h.to_str().ok());
        let (name, authority) = field
            .and_then(host_of)
            .unwrap_or_else(|| (host(local), local.to_string()));
        let checked = |scheme: &str, rest: String| {
            let url = format!("{scheme}://{rest}");
            is_base(scheme, &url).then_some(url)
        };
        let secure = via(&fields) == Via::Https;
        let here = Urls {
            rtmp: (web.rtmp_port)().and_then(|port| checked("rtmp", format!("{name}:{port}"))),
            http: checked("http", authority.clone()).filter(|_| !secure),
            https: checked("https", authority).filter(|_| secure),
        };
        cluster.render(Some(&here), wall, now).into()
    };
    let mut answer = json(body, SHORT);
    if !knows_itself {
        // What it says of itself depends on how it was asked.
        let vary = HeaderValue::from_static("Host, X-Forwarded-Proto");
        answer.headers_mut().insert(header::VARY, vary);
    }
    answer
}

/// What HLS players add to the address of a steering document (RFC 8216bis, section 7.1).
#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    #[serde(rename = "_HLS_pathway")]
    pathway: Option<String>,
}

/// `/steering.json`
pub(super) async fn steering(
    State(web): State<Arc<Web>>,
    Query(asked): Query<Asked>,
    fields: HeaderMap,
) -> Response {
    // hls.js sends the pathway in quotes.
    let pathway = asked.pathway.as_deref().map(|p| p.trim_matches('"'));
    let body = web.cluster.steering(pathway, via(&fields));
    json(body.into(), NONE)
}

fn json(body: Bytes, cache: HeaderValue) -> Response {
    let kind = HeaderValue::from_static("application/json");
    let fields = [
        (header::CONTENT_TYPE, kind),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, ANY_ORIGIN),
        (header::CACHE_CONTROL, cache),
    ];
    (fields, body).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_made_once_for_many() {
        let last = LastList::default();
        let now = Instant::now();
        let mut made = 0;
        for ms in [0, 100, 499, 500, 600, 1100] {
            let at = now + Duration::from_millis(ms);
            last.get(at, || {
                made += 1;
                made.to_string()
            });
        }
        assert_eq!(made, 3);
    }
}
