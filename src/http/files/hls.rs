//! HLS of files: `/files/NAME.m3u8`, and what it names below `/files/NAME/`.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse;
use tokio::sync::Notify;

use super::body::MadeBody;
use super::busy;
use crate::hls::{CONTENT_TYPE, Name};
use crate::http::pages::{Life, not_found};
use crate::relay::Wake;
use crate::vod::{FileName, HlsPiece, Library, Made, NoPiece, OpenError, Opened, slot};

const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// The file and the part of its HLS that a path is, without its `/files/`; `encoded` is the same as it was
/// written in the request.
pub(super) fn asked(path: &str, encoded: &str) -> Option<(FileName, HlsPiece)> {
    if let Some(name) = path.strip_suffix(".m3u8") {
        let name = FileName::exact(name).ok()?;
        let own = encoded.rsplit('/').next()?.strip_suffix(".m3u8")?;
        return Some((name, HlsPiece::Playlist(format!("{own}/"))));
    }
    let (folder, file) = path.rsplit_once('/')?;
    Some((
        FileName::exact(folder).ok()?,
        HlsPiece::Fixed(Name::parse(file)?),
    ))
}

/// Answers with that.
pub(super) async fn answer(
    library: &Arc<Library>,
    name: FileName,
    wanted: HlsPiece,
    life: Life,
) -> Response<Body> {
    let opened = match opened(library, name).await {
        Ok(opened) => opened,
        Err(refused) => return *refused,
    };
    let is_playlist = matches!(wanted, HlsPiece::Playlist(_));
    match library.hls(&opened, wanted).await {
        Ok(Ok(made)) => send(made, is_playlist, life),
        Ok(Err(NoPiece::Busy)) => busy(),
        Ok(Err(error @ NoPiece::NotFound)) => say(StatusCode::NOT_FOUND, &error),
        Ok(Err(error @ NoPiece::Unsupported(_))) => say(StatusCode::UNPROCESSABLE_ENTITY, &error),
        Ok(Err(error @ NoPiece::Unreadable(_))) => say(StatusCode::INTERNAL_SERVER_ERROR, &error),
        Err(_) => busy(),
    }
}

/// The file with its index, or the answer that says why not.
pub(super) async fn opened(
    library: &Library,
    name: FileName,
) -> Result<Arc<Opened>, Box<Response<Body>>> {
    let bell = Arc::new(Notify::new());
    let (filler, answer) = slot(Arc::clone(&bell) as Arc<dyn Wake>);
    library.open(name, filler);
    let opened = loop {
        match answer.take() {
            Some(opened) => break opened,
            None if answer.is_lost() => return Err(Box::new(busy())),
            None => bell.notified().await,
        }
    };
    match opened {
        Ok(opened) => Ok(opened),
        Err(OpenError::NotFound) => Err(Box::new(not_found().await.into_response())),
        Err(OpenError::Busy) => Err(Box::new(busy())),
        Err(error @ OpenError::Unreadable(_)) => Err(Box::new(say(StatusCode::FORBIDDEN, &error))),
        Err(error @ OpenError::Bad(_)) => {
            Err(Box::new(say(StatusCode::UNPROCESSABLE_ENTITY, &error)))
        }
    }
}

fn send(made: Made, is_playlist: bool, life: Life) -> Response<Body> {
    let mut answer = Response::new(Body::new(MadeBody::new(made, life)));
    let (kind, keep) = if is_playlist {
        (CONTENT_TYPE, "no-cache")
    } else {
        ("video/mp4", FOR_EVER)
    };
    let fields = answer.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static(keep));
    fields.insert(
        header::ACCESS_CONTROL_ALLOW_ORIGIN,
        HeaderValue::from_static("*"),
    );
    answer
}

fn say(status: StatusCode, error: &dyn std::fmt::Display) -> Response<Body> {
    let mut answer = (status, format!("{error}\n")).into_response();
    answer.headers_mut().insert(
        header::ACCESS_CONTROL_ALLOW_ORIGIN,
        HeaderValue::from_static("*"),
    );
    answer
}
