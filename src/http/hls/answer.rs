//! Requests for playlists and segments, and their answers.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, HttpBody as _};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use bytes::Bytes;

use super::viewers::{Key, Visit};
use super::{Live, State};
use crate::auth::RESERVED;
use crate::bridge::NoSegment;
use crate::cluster::Refused;
use crate::hls::{self, CONTENT_TYPE, File, Name, Pathway, Segment, file};
use crate::http::head::{METHODS, Method};
use crate::http::refused::{RETRY_AFTER, SIBLING, refused};
use crate::http::via::via;
use crate::http::{Missing, Web};
use crate::limits::{HLS_FIRST_WAIT, HLS_NEXT_WAIT};
use crate::media::{NameError, StreamName};
use crate::net::Shard;

/// A request of which the path is one of HLS.
pub(in crate::http) struct Asked {
    name: Result<StreamName, NameError>,
    file: File,
}

/// The rest of the request.
pub(in crate::http) struct Request {
    pub(in crate::http) method: Method,
    pub(in crate::http) query: Option<String>,
    pub(in crate::http) fields: HeaderMap,
    pub(in crate::http) peer: SocketAddr,
}

/// Whether a path is one of HLS.
pub(in crate::http) fn asked(path: &str) -> Option<Asked> {
    let (stream, file) = file(path.strip_prefix('/')?)?;
    let (app, name) = stream.split_once('/')?;
    if RESERVED.contains(&app) {
        return None;
    }
    Some(Asked {
        name: StreamName::new(app, name),
        file,
    })
}

/// Answers; may wait for a segment.
pub(in crate::http) async fn answer(
    web: Arc<Web>,
    shard: Rc<Shard>,
    asked: Asked,
    request: Request,
) -> Response<Body> {
    let mut response = match request.method {
        Method::Get | Method::Head => get(&web, &shard, asked, &request).await,
        Method::Options => preflight(),
        Method::Other => {
            let mut refused = refusal(StatusCode::METHOD_NOT_ALLOWED, "HLS can only be read.");
            set(&mut refused, header::ALLOW, METHODS);
            refused
        }
    };
    set(&mut response, header::ACCESS_CONTROL_ALLOW_ORIGIN, "*");
    let shown = "Content-Length, Content-Range, Date, ETag, Retry-After, X-Crtmpserver-Sibling";
    set(&mut response, header::ACCESS_CONTROL_EXPOSE_HEADERS, shown);
    set(&mut response, CROSS_ORIGIN, "cross-origin");
    set(&mut response, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    if request.method == Method::Head {
        let length = response.body().size_hint().exact().unwrap_or_default();
        *response.body_mut() = Body::empty();
        set(&mut response, header::CONTENT_LENGTH, &length.to_string());
    }
    response
}

/// Pages of other origins that isolate themselves may use what anybody may read.
const CROSS_ORIGIN: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

async fn get(web: &Web, shard: &Rc<Shard>, asked: Asked, request: &Request) -> Response<Body> {
    if !web.hls.config().enabled {
        return refusal(StatusCode::NOT_FOUND, "This server has no HLS.");
    }
    let name = match asked.name {
        Ok(name) => name,
        Err(e) => return refusal(StatusCode::BAD_REQUEST, &format!("No such stream: {e}.")),
    };
    let Some(live) = web.hls.live(shard, &(web.meant)(&name)) else {
        return missing(web, &name);
    };
    let via = via(&request.fields);
    match asked.file {
        File::Multivariant => {
            if let Err(why) = web.cluster.would_admit(via) {
                return refuse(web, &why);
            }
            multivariant(web, &live, &name).await
        }
        File::Media => {
            // Other viewers are ended then; of these nobody holds a connection.
            let now = Instant::now();
            if let Err(why) = web.cluster.is_over(via, now) {
                return refuse(web, &why);
            }
            if request.method == Method::Head {
                return media(&live).await; // whoever only looks is no viewer
            }
            let visit = Visit {
                key: Key::of(request.query.as_deref(), request.peer.ip()),
                peer: request.peer,
                via,
                now,
            };
            let number = || shard.new_number();
            let cluster = &web.cluster;
            let seen = live
                .lock()
                .viewers
                .saw(visit, &live.stream, cluster, number);
            match seen {
                Ok(()) => media(&live).await,
                Err(why) => refuse(web, &why),
            }
        }
        File::Fixed(file) => fixed(&live, file, &request.fields).await,
    }
}

/// A viewer is not taken.
pub(in crate::http) fn refuse(web: &Web, why: &Refused) -> Response<Body> {
    web.metrics.sent_elsewhere(why.why.code());
    let (body, sibling) = refused(why);
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    set(&mut response, header::CONTENT_TYPE, "application/json");
    set(&mut response, header::CACHE_CONTROL, "no-store");
    set(&mut response, header::RETRY_AFTER, RETRY_AFTER);
    if let (Some(sibling), Ok(name)) = (sibling, HeaderName::try_from(SIBLING)) {
        set(&mut response, name, sibling);
    }
    response
}

async fn multivariant(web: &Web, live: &Live, name: &StreamName) -> Response<Body> {
    let (listed, _) = match segments(live).await {
        Ok(found) => found,
        Err(refusal) => return *refusal,
    };
    // Relative addresses, as something in front may serve this below another path.
    let last = name.name().rsplit('/').next().unwrap_or_default();
    let query = Key::new().map_or_else(String::new, Key::query);
    let here = Pathway {
        id: web.cluster.id().to_owned(),
        uri: format!("{last}/media.m3u8{query}"),
    };
    let depth = name.to_string().matches('/').count();
    let steering = format!("{}steering.json", "../".repeat(depth));
    let text = hls::multivariant(&listed, &[here], Some(&steering));
    playlist(text, &listed)
}

async fn media(live: &Live) -> Response<Body> {
    match segments(live).await {
        Ok((listed, over)) => playlist(hls::media(&listed, over), &listed),
        Err(refusal) => *refusal,
    }
}

/// What a playlist names now, and whether it is over; waits for the first segment.
async fn segments(live: &Live) -> Result<(Vec<Arc<Segment>>, bool), Box<Response<Body>>> {
    let ready = |state: &State| {
        let listed = state.window.listed();
        let settled = !listed.is_empty() || state.over || is_hopeless(state);
        // What the log holds makes several at once.
        (settled && state.caught_up).then(|| (listed, state.over, state.trouble.clone()))
    };
    let Some((listed, over, trouble)) = live.until(HLS_FIRST_WAIT, ready).await else {
        let mut late = refusal(
            StatusCode::SERVICE_UNAVAILABLE,
            "The stream has no segment yet: no key frame has ended one.",
        );
        set(&mut late, header::RETRY_AFTER, "1");
        return Err(Box::new(late));
    };
    if listed.is_empty() {
        let why = trouble.map_or_else(String::new, |why| format!(" {why}."));
        let text = format!("There is no HLS of this stream.{why}");
        return Err(Box::new(refusal(StatusCode::NOT_FOUND, &text)));
    }
    Ok((listed, over))
}

/// It is asked for again and again: whoever keeps it, keeps it for about half a segment.
fn playlist(text: String, listed: &[Arc<Segment>]) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    set(&mut response, header::CONTENT_TYPE, CONTENT_TYPE);
    let target = listed.last().map_or(1000, |segment| segment.target);
    let cache = format!("public, max-age={}", (target / 2000).max(1));
    set(&mut response, header::CACHE_CONTROL, &cache);
    response
}

/// Whether waiting is no use: the stream's codec cannot be packaged.
const fn is_hopeless(state: &State) -> bool {
    matches!(state.trouble, Some(NoSegment::Unsupported(_)))
}

async fn fixed(live: &Live, name: Name, fields: &HeaderMap) -> Response<Body> {
    let bytes = |state: &State| match name {
        Name::Segment { .. } => state.window.segment(name).map(|s| s.bytes.clone()),
        Name::Init { .. } => state.window.init(name).map(|i| i.bytes.clone()),
    };
    // A player that comes from another mirror may be a moment ahead of this one.
    let soon = |newest: &Arc<Segment>| match name {
        Name::Segment { number, .. } => number > newest.number && number <= newest.number + 2,
        Name::Init { .. } => false,
    };
    let settled = |state: &State| {
        if let Some(bytes) = bytes(state) {
            return Some(Some(bytes));
        }
        let newest = state.window.newest();
        let wait = !state.over && (!state.caught_up || newest.is_none_or(soon));
        (!wait).then_some(None)
    };
    match live.until(HLS_NEXT_WAIT, settled).await.flatten() {
        Some(bytes) => file_answer(name, &bytes, fields),
        None => refusal(
            StatusCode::NOT_FOUND,
            "This segment is not kept any more, or never was.",
        ),
    }
}

/// The answer with a file that never changes, or a part of it.
fn file_answer(name: Name, bytes: &Bytes, fields: &HeaderMap) -> Response<Body> {
    let tag = format!("\"{name}\"");
    let field = |name: HeaderName| fields.get(name).and_then(|v| v.to_str().ok());
    let known = field(header::IF_NONE_MATCH).is_some_and(|list| {
        let mut tags = list.split(',').map(|t| t.trim().trim_start_matches("W/"));
        tags.any(|t| t == "*" || t == tag)
    });
    let unchanged = field(header::IF_RANGE).is_none_or(|t| t == tag);
    let range = field(header::RANGE).filter(|_| unchanged);
    let mut response = if known {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        match range.map_or(Part::All, |range| part(range, bytes.len())) {
            Part::All => Response::new(Body::from(bytes.clone())),
            Part::Some(from, to) => {
                let body = bytes.slice(from..to);
                let mut response = Response::new(Body::from(body));
                *response.status_mut() = StatusCode::PARTIAL_CONTENT;
                let last = to.saturating_sub(1);
                let text = format!("bytes {from}-{last}/{}", bytes.len());
                set(&mut response, header::CONTENT_RANGE, &text);
                response
            }
            Part::None => {
                let mut response = refusal(
                    StatusCode::RANGE_NOT_SATISFIABLE,
                    "The file is not that long.",
                );
                let text = format!("bytes */{}", bytes.len());
                set(&mut response, header::CONTENT_RANGE, &text);
                return response;
            }
        }
    };
    set(&mut response, header::CONTENT_TYPE, name.content_type());
    set(&mut response, header::ETAG, &tag);
    set(&mut response, header::ACCEPT_RANGES, "bytes");
    let cache = "public, max-age=31536000, immutable";
    set(&mut response, header::CACHE_CONTROL, cache);
    response
}

/// What of a file is asked for.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    All,
    /// From the first byte up to before the second.
    Some(usize, usize),
    /// Nothing that it has.
    None,
}

/// Reads a `Range` (RFC 9110 section 14.2). What is not understood, and several ranges at once, mean
/// the whole file, as it is allowed to.
fn part(range: &str, length: usize) -> Part {
    let spec = range.strip_prefix("bytes=").map(str::trim);
    let Some((from, to)) = spec.and_then(|spec| spec.split_once('-')) else {
        return Part::All;
    };
    let number = |text: &str| text.parse::<usize>().ok();
    match (from, to) {
        ("", suffix) => match number(suffix) {
            Some(0) => Part::None,
            Some(n) if length > 0 => Part::Some(length.saturating_sub(n), length),
            Some(_) => Part::None,
            None => Part::All,
        },
        (from, to) => {
            let last = if to.is_empty() {
                Some(usize::MAX)
            } else {
                number(to)
            };
            match (number(from), last) {
                (Some(from), Some(last)) if from <= last => {
                    let to = last.saturating_add(1).min(length);
                    if from < to {
                        Part::Some(from, to)
                    } else {
                        Part::None
                    }
                }
                _ => Part::All,
            }
        }
    }
}

pub(in crate::http) fn preflight() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    set(&mut response, header::ALLOW, METHODS);
    set(&mut response, header::ACCESS_CONTROL_ALLOW_ORIGIN, "*");
    set(&mut response, header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    set(&mut response, header::ACCESS_CONTROL_ALLOW_HEADERS, "*");
    set(&mut response, header::ACCESS_CONTROL_MAX_AGE, "86400");
    response
}

fn missing(web: &Web, name: &StreamName) -> Response<Body> {
    match (web.missing)(name) {
        Missing::NotLive => refusal(
            StatusCode::NOT_FOUND,
            &format!("The stream {name} is not live."),
        ),
        Missing::NoMaster { retry_after } => {
            let mut response = refusal(
                StatusCode::SERVICE_UNAVAILABLE,
                "This mirror has no connection to its master just now.",
            );
            let seconds = retry_after.max(Duration::from_secs(1)).as_secs();
            set(&mut response, header::RETRY_AFTER, &seconds.to_string());
            response
        }
    }
}

/// A small answer of text that nobody keeps.
fn refusal(status: StatusCode, text: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(format!("{text}\n")));
    *response.status_mut() = status;
    set(
        &mut response,
        header::CONTENT_TYPE,
        "text/plain; charset=utf-8",
    );
    set(&mut response, header::CACHE_CONTROL, "no-store");
    response
}

fn set(response: &mut Response<Body>, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}
