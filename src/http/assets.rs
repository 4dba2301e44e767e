//! `/player/*`: the player, built in by `build.rs`.
//!
//! A name with a hash never changes what it holds, so it may be kept for ever; the others lead to
//! those. Any page of any origin may load them: that is how the player is embedded elsewhere.

use axum::body::Body;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse;

/// One file.
struct Asset {
    name: &'static str,
    kind: &'static str,
    /// Its `ETag`; two forms of a file are two representations (RFC 9110 section 8.8.3).
    tag: &'static str,
    packed_tag: &'static str,
    /// It is named by its hash.
    immutable: bool,
    plain: &'static [u8],
    /// The same by gzip.
    packed: &'static [u8],
}

// `SITE`, the script of the pages, `PRELOAD`, what it will need at once, and `ASSETS`; without npm there
// is none.
include!(concat!(env!("OUT_DIR"), "/player.rs"));

const FOR_EVER: &str = "public, max-age=31536000, immutable";
/// An upgrade of the server is seen within minutes.
const A_WHILE: &str = "public, max-age=300";
/// The longest list of validators that is looked at.
const MAX_TAGS: usize = 16;

/// The path of the pages' script; `None` when the program was built without npm.
pub(super) const fn site() -> Option<&'static str> {
    SITE
}

/// What the script will need at once.
pub(super) const fn preload() -> &'static [&'static str] {
    PRELOAD
}

/// Answers `/player/NAME`.
pub(super) async fn serve(Path(name): Path<String>, fields: HeaderMap) -> Response<Body> {
    let Some(asset) = ASSETS.iter().find(|a| a.name == name) else {
        return super::pages::not_found().await.into_response();
    };
    let packed = accepts_gzip(&fields);
    let (tag, bytes) = if packed {
        (asset.packed_tag, asset.packed)
    } else {
        (asset.tag, asset.plain)
    };
    let known = has_tag(&fields, tag);
    let mut answer = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        bytes.into_response()
    };
    let keep = if asset.immutable { FOR_EVER } else { A_WHILE };
    let mut set = |name: HeaderName, value: &'static str| {
        answer
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    };
    set(header::CACHE_CONTROL, keep);
    set(header::ETAG, tag);
    set(header::VARY, "Accept-Encoding");
    set(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*");
    set(header::CONTENT_TYPE, asset.kind);
    if packed && !known {
        set(header::CONTENT_ENCODING, "gzip");
    }
    answer
}

/// Whether the client has this very form already.
pub(super) fn has_tag(fields: &HeaderMap, tag: &str) -> bool {
    let given = fields.get_all(header::IF_NONE_MATCH);
    let mut tags = given
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','));
    tags.by_ref().take(MAX_TAGS).any(|t| {
        let t = t.trim();
        t == "*" || t.strip_prefix("W/").unwrap_or(t) == tag
    })
}

/// Whether gzip is welcome (RFC 9110 section 12.5.3): named, and not with a weight of nothing.
fn accepts_gzip(fields: &HeaderMap) -> bool {
    let given = fields.get_all(header::ACCEPT_ENCODING);
    let mut codings = given
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','));
    codings.any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let none = weight
            .trim()
            .strip_prefix("q=")
            .and_then(|q| q.trim().parse::<f32>().ok())
            == Some(0.0);
        name.trim().eq_ignore_ascii_case("gzip") && !none
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(name: HeaderName, values: &[&'static str]) -> HeaderMap {
        values
            .iter()
            .map(|v| (name.clone(), HeaderValue::from_static(v)))
            .collect()
    }

    #[test]
    fn gzip_is_sent_to_those_who_take_it() {
        let takes = |values| accepts_gzip(&fields(header::ACCEPT_ENCODING, values));
        assert!(takes(&["gzip, deflate, br"]));
        assert!(takes(&["br;q=1.0, GZIP;q=0.5"]));
        assert!(takes(&["br", "gzip"]));
        for values in [
            &[][..],
            &["identity"],
            &["gzip;q=0"],
            &["gzip; q=0.0"],
            &["x-gzippy"],
        ] {
            assert!(!takes(values), "{values:?}");
        }
    }

    #[test]
    fn a_form_that_is_known_is_not_sent_again() {
        let known = |values| has_tag(&fields(header::IF_NONE_MATCH, values), "\"a\"");
        assert!(known(&["\"a\""]) && known(&["\"b\", W/\"a\""]) && known(&["*"]));
        assert!(!known(&[]) && !known(&["\"a-gzip\""]) && !known(&["a"]));
    }

    #[test]
    fn what_leads_to_others_may_change() {
        for asset in ASSETS {
            let hashed = asset.name.rsplit_once('-').is_some();
            assert_eq!(asset.immutable, hashed, "{}", asset.name);
            assert!(!asset.plain.is_empty() && !asset.packed.is_empty());
        }
        if let Some(site) = site() {
            for name in [site, "player.js", "NOTICE.txt"].iter().chain(PRELOAD) {
                assert!(ASSETS.iter().any(|a| a.name == *name), "{name}");
            }
        }
    }
}
