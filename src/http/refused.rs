//! What a viewer is told who is not taken, and where to go instead.

use crate::cluster::Refused;

/// Says where to go instead; beside the body, for whoever does not read that.
pub(super) const SIBLING: &str = "X-Crtmpserver-Sibling";
/// Seconds until it is worth asking again.
pub(super) const RETRY_AFTER: &str = "2";

/// The body, JSON, and the base of the sibling's URLs. `secure` when the viewer speaks HTTPS with
/// something in front: it must not be sent to plain HTTP.
pub(super) fn refused(why: &Refused, secure: bool) -> (String, Option<String>) {
    let sibling = why.sibling.as_ref().and_then(|host| {
        let urls = &host.urls;
        let base = if secure { &urls.https } else { &urls.http };
        base.clone()
    });
    let mut body = serde_json::json!({
        "code": why.why.code(),
        "message": match &sibling {
            Some(_) => format!("{}; another one takes you.", why.why),
            None => format!("{}; ask again soon.", why.why),
        },
    });
    if let (Some(sibling), Some(fields)) = (&sibling, body.as_object_mut()) {
        fields.insert("sibling".to_owned(), sibling.clone().into());
    }
    (body.to_string(), sibling)
}
