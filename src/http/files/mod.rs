//! `/files`: the list of media files, a page for each, and the files themselves, in parts for who wants
//! them so (RFC 9110 section 14), or as HLS.

mod body;
mod hls;
mod range;

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::SystemTime;

use axum::Router;
use axum::body::Body;
use axum::extract::{Extension, Path, State};
use axum::http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header,
};
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use bytes::Bytes;
use tokio::sync::oneshot;

use self::body::FileBody;
use self::range::{Part, part};
use super::pages::{Life, Local, links, not_found};
use super::{Web, assets, page};
use crate::vod::{FileName, Library, OpenError, Opened, indexed_head};

/// The paths of files.
pub(super) fn routes() -> Router<Arc<Web>> {
    Router::new()
        .route("/files", get(list))
        .route("/files/", get(list))
        .route("/files/{*name}", get(one))
}

fn library(web: &Web) -> Option<&Arc<Library>> {
    web.files.as_ref().filter(|files| files.has_folders())
}

/// The list, where the configuration shows it.
async fn list(
    State(web): State<Arc<Web>>,
    Extension(Local(local)): Extension<Local>,
    fields: HeaderMap,
) -> Response<Body> {
    let Some(library) = library(&web) else {
        return no_files(&web);
    };
    if !library.config().list {
        return not_found().await.into_response();
    }
    match library.list().await {
        Ok(listing) => {
            let links = links(&web, local, &fields);
            Html(page::files(&listing, &links)).into_response()
        }
        Err(oneshot::error::RecvError { .. }) => busy(),
    }
}

/// A file, or with `?play` the page that plays it.
async fn one(
    State(web): State<Arc<Web>>,
    Extension(Local(local)): Extension<Local>,
    Extension(life): Extension<Life>,
    Path(name): Path<String>,
    request: Request<Body>,
) -> Response<Body> {
    let Some(library) = library(&web) else {
        return no_files(&web);
    };
    if let Some((name, wanted)) = hls::asked(&name, request.uri().path()) {
        return hls::answer(library, name, wanted, life).await;
    }
    let Ok(name) = FileName::exact(&name) else {
        return not_found().await.into_response();
    };
    let query = request.uri().query().unwrap_or_default();
    let asks = |what: &str| {
        query
            .split('&')
            .any(|part| part.split('=').next() == Some(what))
    };
    if asks("indexed") {
        return match hls::opened(library, name.clone()).await {
            Ok(opened) => match indexed(&opened) {
                Some(whole) => send(library, &name, whole, &request, life),
                None => not_found().await.into_response(),
            },
            Err(refused) => *refused,
        };
    }
    let opened = match library.open_plain(name.clone()).await {
        Ok(Ok(opened)) => opened,
        Ok(Err(OpenError::NotFound)) => return not_found().await.into_response(),
        Ok(Err(error)) => return (StatusCode::FORBIDDEN, format!("{error}\n")).into_response(),
        Err(oneshot::error::RecvError { .. }) => return busy(),
    };
    if asks("play") {
        let links = links(&web, local, request.headers());
        return Html(page::file(&name, opened.length, &links)).into_response();
    }
    let whole = Whole {
        tag: tag(opened.inode, opened.length, opened.modified, ""),
        length: opened.length,
        file: opened.file,
        head: Bytes::new(),
        skips: 0,
    };
    send(library, &name, whole, &request, life)
}

/// What is sent as one file, or parts of it.
struct Whole {
    file: Arc<File>,
    /// What is in front of the file, in place of so many of its bytes.
    head: Bytes,
    skips: u64,
    /// Bytes of both.
    length: u64,
    /// What tells one state of it from another.
    tag: String,
}

/// An FLV file with an index in front.
fn indexed(opened: &Opened) -> Option<Whole> {
    let head = indexed_head(opened)?;
    let rest = opened.length.checked_sub(head.skips)?;
    let inode = opened.file.metadata().ok()?.ino();
    Some(Whole {
        tag: tag(inode, opened.length, opened.modified, "-i"),
        length: rest.checked_add(head.bytes.len() as u64)?,
        file: Arc::clone(&opened.file),
        head: head.bytes,
        skips: head.skips,
    })
}

/// Why there are none here, whatever the name.
fn no_files(web: &Web) -> Response<Body> {
    let why = match web.cluster.role() {
        "standalone" => "This server has no folder with files (files.folders).".to_owned(),
        role => format!("A {role} has no files; a standalone has."),
    };
    let page = page::message("No files here", &why);
    (StatusCode::NOT_FOUND, Html(page)).into_response()
}

fn busy() -> Response<Body> {
    let text = "The server has too much to do with files just now.\n";
    (
        StatusCode::SERVICE_UNAVAILABLE,
        [(header::RETRY_AFTER, "5")],
        text,
    )
        .into_response()
}

/// The file or the part of it that is asked for.
fn send(
    library: &Arc<Library>,
    name: &FileName,
    whole: Whole,
    request: &Request<Body>,
    life: Life,
) -> Response<Body> {
    let (method, fields) = (request.method(), request.headers());
    let Whole { tag, length, .. } = &whole;
    let length = *length;
    let mut answer = Response::new(Body::empty());
    let set = |answer: &mut Response<Body>, name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            answer.headers_mut().insert(name, value);
        }
    };
    set(&mut answer, header::ETAG, tag);
    set(&mut answer, header::ACCEPT_RANGES, "bytes");
    set(&mut answer, header::CACHE_CONTROL, "no-cache");
    set(&mut answer, header::ACCESS_CONTROL_ALLOW_ORIGIN, "*");
    if assets::has_tag(fields, tag) {
        *answer.status_mut() = StatusCode::NOT_MODIFIED;
        return answer;
    }
    let text = |name: HeaderName| fields.get(name).and_then(|value| value.to_str().ok());
    // A part of another state of the file is of no use to whoever has the rest of this one.
    let fresh = text(header::IF_RANGE).is_none_or(|given| given == *tag);
    let wanted = text(header::RANGE).filter(|_| fresh && *method == Method::GET);
    let (from, until) = match wanted.map_or(Part::All, |text| part(text, length)) {
        Part::All => (0, length),
        Part::Of(from, until) => {
            *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
            let last = until.saturating_sub(1);
            let value = format!("bytes {from}-{last}/{length}");
            set(&mut answer, header::CONTENT_RANGE, &value);
            (from, until)
        }
        Part::Beyond => {
            *answer.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
            set(
                &mut answer,
                header::CONTENT_RANGE,
                &format!("bytes */{length}"),
            );
            return answer;
        }
    };
    set(&mut answer, header::CONTENT_TYPE, name.content_type());
    let left = until.saturating_sub(from);
    if *method == Method::HEAD {
        set(&mut answer, header::CONTENT_LENGTH, &left.to_string());
    } else {
        let library = Arc::clone(library);
        let head = whole.head.len() as u64;
        let in_head = |at: u64| usize::try_from(at.min(head)).unwrap_or_default();
        let first = whole.head.slice(in_head(from)..in_head(until));
        let at = from.saturating_sub(head).saturating_add(whole.skips);
        *answer.body_mut() = Body::new(FileBody::new(library, whole.file, first, (at, left), life));
    }
    answer
}

/// What tells one state of a file from another.
fn tag(inode: u64, length: u64, modified: Option<SystemTime>, form: &str) -> String {
    let since = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).ok();
    let modified = modified.and_then(since).unwrap_or_default();
    format!("\"{inode:x}-{length:x}-{:x}{form}\"", modified.as_nanos())
}
