//! What a viewer is told who is not taken, and where to go instead.

use crate::cluster::Refused;

/// Says where to go instead; beside the body, for whoever does not read that.
pub(super) const SIBLING: &str = "X-Crtmpserver-Sibling";
/// Seconds until it is worth asking again.
pub(super) const RETRY_AFTER: &str = "2";

/// The body, JSON, and the base of the sibling's URLs.
pub(super) fn refused(why: &Refused) -> (String, Option<&str>) {
    let sibling = why.sibling.as_ref().map(|sibling| sibling.base.as_str());
    let mut body = serde_json::json!({
        "code": why.why.code(),
        "message": match &sibling {
            Some(_) => format!("{}; another one takes you.", why.why),
            None => format!("{}; ask again soon.", why.why),
        },
    });
    if let (Some(sibling), Some(fields)) = (sibling, body.as_object_mut()) {
        fields.insert("sibling".to_owned(), sibling.into());
    }
    (body.to_string(), sibling)
}
