//! Whether whoever asks speaks HTTPS, with something in front of this server.

use axum::http::HeaderMap;

use crate::cluster::Via;

/// Where proxies tell the scheme.
const FORWARDED: &str = "X-Forwarded-Proto";

/// By all fields of a request.
pub(super) fn via(fields: &HeaderMap) -> Via {
    told(fields.get(FORWARDED).map(|value| value.as_bytes()))
}

/// By those of a head that nothing else has read.
pub(super) fn via_of(fields: &[httparse::Header<'_>]) -> Via {
    let is_it = |field: &&httparse::Header<'_>| field.name.eq_ignore_ascii_case(FORWARDED);
    told(fields.iter().find(is_it).map(|field| field.value))
}

/// Of several proxies the first is the one that the player meets.
fn told(value: Option<&[u8]>) -> Via {
    let first = value.and_then(|value| value.split(|b| *b == b',').next());
    match first {
        Some(scheme) if scheme.trim_ascii().eq_ignore_ascii_case(b"https") => Via::Https,
        _ => Via::Http,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_proxy_tells() {
        for (value, via) in [
            (None, Via::Http),
            (Some("http"), Via::Http),
            (Some(""), Via::Http),
            (Some("https"), Via::Https),
            (Some(" HTTPS , http"), Via::Https),
            (Some("http, https"), Via::Http),
            (Some("httpsx"), Via::Http),
        ] {
            assert_eq!(told(value.map(str::as_bytes)), via, "{value:?}");
        }
    }
}
