//! Adobe (FMLE) authentication: the formulas and texts of both sides, without any policy.
//!
//! An encoder connects three times. First without anything: the server rejects with [`NEED_AUTH`].
//! Then with `?authmod=adobe&user=U` behind the application: the server rejects with
//! [`challenge_description`]. Then with the answer of [`answer`], which proves the password. No
//! value is percent-encoded by any known client, so none is decoded here: the base64 of the
//! challenges travels raw, `+` and `=` included.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};

/// Description of the first rejection. Encoders search it for `code=403 need auth` and
/// `authmod=adobe`.
pub const NEED_AUTH: &str = "[ AccessManager.Reject ] : [ code=403 need auth; authmod=adobe ] : ";

/// Description of the rejection of a wrong user or a wrong password; it never tells which.
pub const AUTH_FAILED: &str =
    "[ AccessManager.Reject ] : [ authmod=adobe ] : ?reason=authfailed&opaque=vgoAAA==";

/// Description of the second rejection: it carries the challenge.
#[must_use]
pub fn challenge_description(user: &str, salt: &str, challenge: &str, opaque: &str) -> String {
    format!(
        "[ AccessManager.Reject ] : [ authmod=adobe ] : ?reason=needauth&user={user}&salt={salt}\
         &challenge={challenge}&opaque={opaque}"
    )
}

/// `b64(md5(user + salt + password))`: all that a server must keep, with the salt fixed per user.
/// It is as good as the password for this login, but does not show it.
#[must_use]
pub fn verifier(user: &str, salt: &str, password: &str) -> String {
    digest(&[user, salt, password])
}

/// `b64(md5(verifier + opaque + client_challenge))`: what the client must send. `opaque` is the
/// server's challenge where the server sent no opaque.
#[must_use]
pub fn response(verifier: &str, opaque: &str, client_challenge: &str) -> String {
    digest(&[verifier, opaque, client_challenge])
}

fn digest(parts: &[&str]) -> String {
    let mut md5 = Md5::new();
    for part in parts {
        md5.update(part.as_bytes());
    }
    STANDARD.encode(md5.finalize())
}

/// What a client put behind the application's `?`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Query<'a> {
    /// `user`; an empty one counts as none.
    pub user: Option<&'a str>,
    /// The client's own challenge.
    pub challenge: Option<&'a str>,
    /// Its answer to the server's.
    pub response: Option<&'a str>,
    /// The server's opaque (or, for some clients, nothing), given back.
    pub opaque: Option<&'a str>,
}

impl<'a> Query<'a> {
    /// Reads the text behind the `?`; `None` when it does not ask for `authmod=adobe`. Of a repeated
    /// field the first counts.
    #[must_use]
    pub fn parse(query: &'a str) -> Option<Self> {
        if field(query, "authmod") != Some("adobe") {
            return None;
        }
        Some(Self {
            user: field(query, "user"),
            challenge: field(query, "challenge"),
            response: field(query, "response"),
            opaque: field(query, "opaque"),
        })
    }
}

/// The first value of `name` in `a=b&c=d`, split plainly; an empty value counts as none.
fn field<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query
        .split('&')
        .find_map(|pair| {
            let (key, value) = pair.split_once('=')?;
            (key == name).then_some(value)
        })
        .filter(|value| !value.is_empty())
}

/// The client's side: what to append to the application for the next connection, beginning with
/// `?`, after a rejection with this description.
///
/// `None` when the description asks for no Adobe login, when it says that the login failed (trying
/// again with the same password is pointless), or when the user's name cannot be sent (it is empty
/// or contains `&`, `?` or `#`).
#[must_use]
pub fn answer(
    user: &str,
    password: &str,
    description: &str,
    client_challenge: &str,
) -> Option<String> {
    if user.is_empty() || user.contains(['&', '?', '#']) || !description.contains("authmod=adobe") {
        return None;
    }
    let begin = format!("?authmod=adobe&user={user}");
    if description.contains("code=403 need auth") {
        return Some(begin);
    }
    let (_, query) = description.split_once('?')?;
    if field(query, "reason") != Some("needauth") {
        return None;
    }
    let salt = field(query, "salt").unwrap_or_default();
    let opaque = field(query, "opaque");
    let nonce = opaque.or_else(|| field(query, "challenge"))?;
    let answer = response(&verifier(user, salt, password), nonce, client_challenge);
    let end = opaque.map_or_else(String::new, |opaque| format!("&opaque={opaque}"));
    Some(format!(
        "{begin}&challenge={client_challenge}&response={answer}{end}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_formulas_are_md5_over_base64_of_md5() {
        // Computed with: printf %s alicesaltsecret1 | openssl md5 -binary | base64, and so on.
        let v = verifier("alice", "salt", "secret1");
        assert_eq!(v, "EaJBR7mXb2ShYhNDF2sl4w==");
        assert_eq!(
            response(&v, "b3BhcXVl", "Y2xpZW50"),
            "iDNmUJIjcwlcsCg/p5dLdQ=="
        );
    }

    #[test]
    fn the_three_steps_meet() {
        let first = answer("ann", "pw", NEED_AUTH, "Q2g=").unwrap();
        assert_eq!(first, "?authmod=adobe&user=ann");
        let query = Query::parse(first.strip_prefix('?').unwrap()).unwrap();
        assert_eq!((query.user, query.response), (Some("ann"), None));

        let second = challenge_description("ann", "SA+/==", "CH==", "OP+q==");
        let third = answer("ann", "pw", &second, "Q2g=").unwrap();
        let query = Query::parse(third.strip_prefix('?').unwrap()).unwrap();
        assert_eq!(query.opaque, Some("OP+q=="));
        assert_eq!(query.challenge, Some("Q2g="));
        let expected = response(&verifier("ann", "SA+/==", "pw"), "OP+q==", "Q2g=");
        assert_eq!(query.response, Some(expected.as_str()));
        let wrong = response(&verifier("ann", "SA+/==", "pW"), "OP+q==", "Q2g=");
        assert_ne!(query.response, Some(wrong.as_str()));
    }

    #[test]
    fn without_an_opaque_the_challenge_is_the_nonce() {
        let text = "[ AccessManager.Reject ] : [ authmod=adobe ] : ?reason=needauth&user=u&salt=s&challenge=c1";
        let got = answer("u", "p", text, "c2").unwrap();
        let want = response(&verifier("u", "s", "p"), "c1", "c2");
        assert_eq!(
            got,
            format!("?authmod=adobe&user=u&challenge=c2&response={want}")
        );
    }

    #[test]
    fn a_failed_login_and_foreign_texts_are_not_answered() {
        assert_eq!(answer("u", "p", AUTH_FAILED, "c"), None);
        assert_eq!(
            answer(
                "u",
                "p",
                "[ AccessManager.Reject ] : [ authmod=llnw ] : ?reason=needauth",
                "c"
            ),
            None
        );
        assert_eq!(answer("u", "p", "", "c"), None);
        assert_eq!(answer("", "p", NEED_AUTH, "c"), None);
        assert_eq!(answer("a&b", "p", NEED_AUTH, "c"), None);
        assert_eq!(
            answer("u", "p", "authmod=adobe ?reason=needauth&salt=s", "c"),
            None
        );
    }

    #[test]
    fn queries_are_split_plainly() {
        assert_eq!(Query::parse("user=u"), None);
        assert_eq!(Query::parse("authmod=llnw&user=u"), None);
        let q = Query::parse("x&authmod=adobe&user=u&user=v&opaque=&response=a=b+c").unwrap();
        assert_eq!(q.user, Some("u"));
        assert_eq!(q.opaque, None);
        assert_eq!(q.response, Some("a=b+c"));
    }
}
