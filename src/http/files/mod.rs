//! `/files`: the list of media files, a page for each, and the files themselves, in parts for who wants
//! them so (RFC 9110 section 14), or as HLS.

mod body;
mod hls;
mod range;

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
use tokio::sync::oneshot;

use self::body::FileBody;
use self::range::{Part, part};
use super::pages::{Life, Local, links, not_found};
use super::{Web, assets, page};
use crate::vod::{FileName, Library, OpenError, Plain};

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
    let opened = match library.open_plain(name.clone()).await {
        Ok(Ok(opened)) => opened,
        Ok(Err(OpenError::NotFound)) => return not_found().await.into_response(),
        Ok(Err(error)) => return (StatusCode::FORBIDDEN, format!("{error}\n")).into_response(),
        Err(oneshot::error::RecvError { .. }) => return busy(),
    };
    let query = request.uri().query().unwrap_or_default();
    if query
        .split('&')
        .any(|part| part.split('=').next() == Some("play"))
    {
        let links = links(&web, local, request.headers());
        return Html(page::file(&name, opened.length, &links)).into_response();
    }
    send(library, &name, opened, &request, life)
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
    opened: Plain,
    request: &Request<Body>,
    life: Life,
) -> Response<Body> {
    let (method, fields) = (request.method(), request.headers());
    let tag = tag(&opened);
    let length = opened.length;
    let mut answer = Response::new(Body::empty());
    let set = |answer: &mut Response<Body>, name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            answer.headers_mut().insert(name, value);
        }
    };
    set(&mut answer, header::ETAG, &tag);
    set(&mut answer, header::ACCEPT_RANGES, "bytes");
    set(&mut answer, header::CACHE_CONTROL, "no-cache");
    set(&mut answer, header::ACCESS_CONTROL_ALLOW_ORIGIN, "*");
    if assets::has_tag(fields, &tag) {
        *answer.status_mut() = StatusCode::NOT_MODIFIED;
        return answer;
    }
    let text = |name: HeaderName| fields.get(name).and_then(|value| value.to_str().ok());
    // A part of another state of the file is of no use to whoever has the rest of this one.
    let fresh = text(header::IF_RANGE).is_none_or(|given| given == tag);
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
        *answer.body_mut() = Body::new(FileBody::new(library, opened.file, (from, left), life));
    }
    answer
}

/// What tells one state of a file from another.
fn tag(opened: &Plain) -> String {
    let since = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).ok();
    let modified = opened.modified.and_then(since).unwrap_or_default();
    format!(
        "\"{:x}-{:x}-{:x}\"",
        opened.inode,
        opened.length,
        modified.as_nanos()
    )
}
