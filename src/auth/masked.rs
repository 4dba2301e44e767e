//! Names as the log may show them: a stream key comes where a name is expected, and is none.
//!
//! Every key that `crtmpserver key` makes begins with [`MARK`], so that it is known as one by a server
//! that has no keys, too: a mirror to which an encoder was pointed by mistake, or a master after the key
//! was revoked.

use std::borrow::Cow;

/// What a stream key begins with.
pub(super) const MARK: &str = "sk_";

/// A shorter name that begins with [`MARK`] is hardly a part of a key.
const SHORTEST: usize = 8;

/// A refused name that is as long as this is not shown: it may be the key of another make of server.
const LONGEST_SHOWN: usize = 20;

/// Whether a name is a stream key, right or wrong, or has one in it: it is never the name of a stream or
/// of an application.
#[must_use]
pub fn is_key(name: &str) -> bool {
    let ends = |c: char| !c.is_ascii_alphanumeric() && !"._~-".contains(c);
    name.match_indices(MARK).any(|(at, _)| {
        let (before, key) = name.split_at(at);
        let begins = !before.ends_with(|c: char| c.is_ascii_alphanumeric());
        begins && key.find(ends).unwrap_or(key.len()) >= SHORTEST
    })
}

/// A name for the log; something else stands for each part of it that is a key.
#[must_use]
pub fn masked(name: &str) -> Cow<'_, str> {
    if !is_key(name) {
        return Cow::Borrowed(name);
    }
    let shown = |part| {
        if is_key(part) { "(a stream key)" } else { part }
    };
    let parts: Vec<&str> = name.split('/').map(shown).collect();
    Cow::Owned(parts.join("/"))
}

/// The name of a publish that was refused, for the log. `keys` says that keys are used where it came
/// from; then it may be one that was mistyped, and nothing of it is shown.
#[must_use]
pub fn masked_refused(name: &str, keys: bool) -> Cow<'_, str> {
    if keys || is_key(name) || name.len() >= LONGEST_SHOWN {
        Cow::Owned(format!("(a name of {} characters)", name.chars().count()))
    } else {
        Cow::Borrowed(name)
    }
}

/// The same of an application that was refused. Behind its first part may stand a key that belongs into
/// another field, whole or mistyped.
#[must_use]
pub fn masked_app(app: &str, keys: bool) -> String {
    let parts = app.split('/').enumerate();
    let shown = |(at, part)| masked_refused(part, keys && at > 0);
    parts.map(shown).collect::<Vec<_>>().join("/")
}

/// `APP/STREAM` of a publish that was refused; on a mirror any application was let in.
#[must_use]
pub fn masked_stream(app: &str, name: &str, keys: bool) -> String {
    format!("{}/{}", masked_app(app, keys), masked_refused(name, keys))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_known_wherever_they_stand() {
        for key in [
            "sk_abcdefghijkmnpqrstuvwxyz23",
            "sk_abcde",
            "flv:sk_abcdefgh",
            "event?key=sk_abcdefgh",
            "event sk_abcdefgh",
            "event-sk_abcdefgh",
            "my_sk_abcdefgh",
        ] {
            assert!(is_key(key), "{key}");
            assert_eq!(masked(key), "(a stream key)");
        }
        assert_eq!(masked("live/sk_abcdefgh/a"), "live/(a stream key)/a");
        for name in ["event", "sk_1", "ask_me_anything", "desk_cam/1"] {
            assert!(!is_key(name), "{name}");
            assert_eq!(masked(name), name);
        }
    }

    #[test]
    fn what_may_be_a_mistyped_key_is_not_shown() {
        assert_eq!(masked_refused("event", false), "event");
        assert_eq!(masked_refused("event", true), "(a name of 5 characters)");
        let other = "0123456789abcdef0123";
        assert_eq!(masked_refused(other, false), "(a name of 20 characters)");
        assert_eq!(
            masked_refused("sk_abcdefgh", false),
            "(a name of 11 characters)"
        );
    }

    #[test]
    fn an_application_is_shown_but_for_what_may_be_a_key() {
        let shown = |app| [masked_app(app, false), masked_app(app, true)];
        assert_eq!(shown("vod"), ["vod", "vod"]);
        let masked = "live/(a name of 11 characters)";
        assert_eq!(shown("live/sk_abcdefgh"), [masked, masked]);
        assert_eq!(shown("sk_abcdefgh")[0], "(a name of 11 characters)");
        assert_eq!(shown("a/bc"), ["a/bc", "a/(a name of 2 characters)"]);
        assert_eq!(shown("live/"), ["live/", "live/(a name of 0 characters)"]);
        assert_eq!(
            masked_stream("live/mistyped", "x", true),
            "live/(a name of 8 characters)/(a name of 1 characters)"
        );
    }
}
