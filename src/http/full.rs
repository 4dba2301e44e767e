//! What a new viewer hears of a server that is full, or about to go: 503, and who takes viewers instead.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde_json::json;

use super::flv::response;
use super::head::Method;
use crate::cluster::Refused;

/// A player that knows no other server asks again after this, seconds: someone may have left.
const RETRY_AFTER: &str = "2";
/// The base URL of a host that takes viewers.
const SIBLING: &str = "x-crtmpserver-sibling";
/// Says that pages of any origin may read it all.
const EXPOSED: &str = "Retry-After, X-Crtmpserver-Sibling";

/// The base URL by which the viewer is sent elsewhere.
fn sibling(refused: &Refused) -> Option<&str> {
    let urls = &refused.sibling.as_ref()?.urls;
    urls.http.as_deref().or(urls.https.as_deref())
}

fn body(refused: &Refused) -> String {
    let mut body = json!({
        "code": refused.why.code(),
        "message": match sibling(refused) {
            Some(_) => format!("{}; another one takes viewers.", refused.why),
            None => format!("{}, and no other one takes viewers just now.", refused.why),
        },
    });
    if let (Some(url), Some(fields)) = (sibling(refused), body.as_object_mut()) {
        fields.insert("sibling".to_owned(), url.into());
    }
    body.to_string()
}

/// The answer of the engine.
pub(super) fn bytes(refused: &Refused, method: Method) -> Bytes {
    let body = body(refused);
    let length = body.len().to_string();
    let mut fields = vec![
        ("Access-Control-Allow-Origin", "*"),
        ("Access-Control-Expose-Headers", EXPOSED),
        ("Content-Type", "application/json"),
        ("Content-Length", &*length),
        ("X-Content-Type-Options", "nosniff"),
        ("Retry-After", RETRY_AFTER),
    ];
    if let Some(url) = sibling(refused) {
        fields.push(("X-Crtmpserver-Sibling", url));
    }
    let shown = if method == Method::Head { "" } else { &body };
    response(503, &fields, shown)
}

/// The same as a page's answer.
#[expect(dead_code, reason = "for viewers that begin with a playlist")]
pub(super) fn answer(refused: &Refused) -> Response {
    let fields = [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED),
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
        (header::RETRY_AFTER, RETRY_AFTER),
    ];
    let mut answer = (StatusCode::SERVICE_UNAVAILABLE, fields, body(refused)).into_response();
    if let Some(url) = sibling(refused).and_then(|url| HeaderValue::from_str(url).ok()) {
        let name = HeaderName::from_static(SIBLING);
        answer.headers_mut().insert(name, url);
    }
    answer
}
