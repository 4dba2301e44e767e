//! Logins as a client: Digest with SHA-256 (RFC 7616) or MD5 (RFC 2617), else Basic (RFC 7617).

use std::fmt;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest as _, Md5};
use sha2::Sha256;

/// What a digest is made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hash {
    Sha256,
    Md5,
}

impl Hash {
    /// Of the parts with colons between them, in hexadecimal digits.
    fn of(self, parts: &[&str]) -> String {
        let text = parts.join(":");
        match self {
            Self::Sha256 => hex(Sha256::digest(text.as_bytes()).as_slice()),
            Self::Md5 => hex(Md5::digest(text.as_bytes()).as_slice()),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().saturating_mul(2));
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// How a server asks for a login.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Challenge {
    Digest(Digest),
    Basic,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Digest {
    hash: Hash,
    /// The server's word for it, if it said one.
    algorithm: Option<String>,
    /// The password is hashed once more, with the numbers of this session.
    session: bool,
    realm: String,
    nonce: String,
    opaque: Option<String>,
    /// It knows `qop=auth`.
    counts: bool,
}

/// One offer: a scheme, and what it comes with.
type Offer = (String, Vec<(String, String)>);

/// Takes a `WWW-Authenticate` apart, which may have several of them.
fn offers(text: &str) -> Vec<Offer> {
    const BETWEEN: [char; 3] = [',', ' ', '\t'];
    let mut all: Vec<Offer> = Vec::new();
    let mut rest = text.trim_start_matches(BETWEEN);
    while !rest.is_empty() {
        let end = rest.find([',', ' ', '\t', '=']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        let word = word.to_ascii_lowercase();
        let after = after.trim_start_matches([' ', '\t']);
        rest = match after.strip_prefix('=') {
            // There is at least the = less.
            Some(given) => {
                let (given, more) = value(given.trim_start_matches([' ', '\t']));
                if let Some((_, parameters)) = all.last_mut() {
                    parameters.push((word, given));
                }
                more
            }
            // There is at least the word less: what stands between was taken away before.
            None => {
                all.push((word, Vec::new()));
                after
            }
        };
        rest = rest.trim_start_matches(BETWEEN);
    }
    all
}

/// A value, in quotes or not, and what is behind it.
fn value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        let (value, rest) = text.split_at(end);
        return (value.to_owned(), rest);
    };
    let mut value = String::new();
    let mut chars = quoted.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => return (value, chars.as_str()),
            '\\' => value.extend(chars.next()),
            c => value.push(c),
        }
    }
    (value, "")
}

impl Challenge {
    /// `None` when it is none that is known here.
    fn of((scheme, parameters): &Offer) -> Option<Self> {
        let get = |name: &str| {
            let found = parameters.iter().find(|(known, _)| known == name)?;
            Some(found.1.as_str())
        };
        match scheme.as_str() {
            "basic" => return Some(Self::Basic),
            "digest" => {}
            _ => return None,
        }
        let algorithm = get("algorithm").filter(|name| !name.is_empty());
        let name = algorithm.unwrap_or("MD5").to_ascii_uppercase();
        let (name, session) = match name.strip_suffix("-SESS") {
            Some(name) => (name, true),
            None => (name.as_str(), false),
        };
        let hash = match name {
            "SHA-256" => Hash::Sha256,
            "MD5" => Hash::Md5,
            _ => return None,
        };
        let qop = get("qop").filter(|list| !list.is_empty());
        let mut kinds = qop.iter().flat_map(|list| list.split(','));
        let counts = kinds.any(|kind| kind.trim().eq_ignore_ascii_case("auth"));
        if qop.is_some() && !counts {
            return None; // it wants bodies signed
        }
        Some(Self::Digest(Digest {
            hash,
            algorithm: algorithm.map(str::to_owned),
            session,
            realm: get("realm")?.to_owned(),
            nonce: get("nonce")?.to_owned(),
            opaque: get("opaque").map(str::to_owned),
            counts,
        }))
    }

    /// The lower, the better.
    const fn rank(&self) -> u8 {
        match self {
            Self::Digest(Digest {
                hash: Hash::Sha256, ..
            }) => 0,
            Self::Digest(_) => 1,
            Self::Basic => 2,
        }
    }
}

impl Digest {
    /// The proof for one request.
    fn response(
        &self,
        (user, password): (&str, &str),
        (method, url): (&str, &str),
        (count, own): (&str, &str),
    ) -> String {
        let (hash, nonce) = (self.hash, self.nonce.as_str());
        let mut who = hash.of(&[user, &self.realm, password]);
        if self.session {
            who = hash.of(&[&who, nonce, own]);
        }
        let what = hash.of(&[method, url]);
        if self.counts {
            hash.of(&[&who, nonce, count, own, "auth", &what])
        } else {
            hash.of(&[&who, nonce, &what])
        }
    }
}

/// A user, and how the server wants to be shown the password.
pub(super) struct Login {
    user: String,
    password: String,
    /// The password may be shown to this server where it asks for it.
    plain: bool,
    /// Our part of the proofs.
    own: String,
    challenge: Option<Challenge>,
    /// Proofs made for this challenge.
    count: u32,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login")
    }
}

impl Login {
    /// `plain`: it may be Basic; `chance`: a random number.
    pub(super) fn new((user, password): (String, String), plain: bool, chance: u64) -> Self {
        Self {
            user,
            password,
            plain,
            own: format!("{chance:016x}"),
            challenge: None,
            count: 0,
        }
    }

    /// Takes what the server offers; whether anything of it can be used.
    pub(super) fn challenged<'a>(&mut self, fields: impl Iterator<Item = &'a str>) -> bool {
        let known = fields.flat_map(offers).filter_map(|o| Challenge::of(&o));
        let usable = known.filter(|challenge| self.plain || *challenge != Challenge::Basic);
        self.challenge = usable.min_by_key(Challenge::rank);
        self.count = 0;
        self.challenge.is_some()
    }

    /// The `Authorization` of a request; `None` before the server asked.
    pub(super) fn answer(&mut self, method: &str, url: &str) -> Option<String> {
        let (user, password) = (self.user.as_str(), self.password.as_str());
        let digest = match self.challenge.as_ref()? {
            Challenge::Basic => {
                return Some(format!(
                    "Basic {}",
                    STANDARD.encode(format!("{user}:{password}"))
                ));
            }
            Challenge::Digest(digest) => digest,
        };
        self.count = self.count.saturating_add(1);
        let count = format!("{:08x}", self.count);
        let proof = (count.as_str(), self.own.as_str());
        let response = digest.response((user, password), (method, url), proof);
        let mut out = format!(
            "Digest username=\"{}\", realm=\"{}\", nonce=\"{}\", uri=\"{}\", response=\"{response}\"",
            quoted(user),
            quoted(&digest.realm),
            quoted(&digest.nonce),
            quoted(url)
        );
        if let Some(algorithm) = &digest.algorithm {
            let _ = write!(out, ", algorithm={algorithm}");
        }
        if let Some(opaque) = &digest.opaque {
            let _ = write!(out, ", opaque=\"{}\"", quoted(opaque));
        }
        if digest.counts {
            let _ = write!(out, ", qop=auth, nc={count}, cnonce=\"{}\"", self.own);
        }
        Some(out)
    }
}

/// As it may stand between quotes.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars().filter(|c| !c.is_control()) {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn digest(text: &str) -> Digest {
        let all = offers(text);
        match Challenge::of(&all[0]) {
            Some(Challenge::Digest(digest)) => digest,
            other => panic!("{other:?} of {all:?}"),
        }
    }

    /// The examples of RFC 2617 section 3.5 and of RFC 7616 section 3.9.1, and of RFC 2069 with its erratum.
    #[test]
    fn the_examples_of_the_specifications() {
        let what = ("GET", "/dir/index.html");
        let old = digest(
            "Digest realm=\"testrealm@host.com\", qop=\"auth,auth-int\", \
             nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", opaque=\"5ccc069c403ebaf9f0171e9517f40e41\"",
        );
        assert_eq!(
            old.response(("Mufasa", "Circle Of Life"), what, ("00000001", "0a4f113b")),
            "6629fae49393a05397450978507c4ef1"
        );
        let who = ("Mufasa", "Circle of Life");
        let own = ("00000001", "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ");
        for (algorithm, expected) in [
            ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
            (
                "SHA-256",
                "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
            ),
            (
                "SHA-256-sess",
                "2fd51b3a77ad75bad6afad6003e818d767133c46d9e2749e7f5232ae1ea3efd7",
            ),
        ] {
            let new = digest(&format!(
                "Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", algorithm={algorithm}, \
                 nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", \
                 opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""
            ));
            assert_eq!(new.response(who, what, own), expected, "{algorithm}");
        }
        let oldest = digest(
            "Digest realm=\"testrealm@host.com\",nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\"",
        );
        assert_eq!(
            oldest.response(("Mufasa", "CircleOfLife"), what, ("", "")),
            "1949323746fe6a43ef61f9606e7febea"
        );
    }

    fn answers(fields: &[&str], plain: bool) -> Option<String> {
        let who = ("an\"n".to_owned(), "hunter2".to_owned());
        let mut login = Login::new(who, plain, 0xab);
        assert_eq!(login.answer("PLAY", "rtsp://h/x"), None);
        let usable = login.challenged(fields.iter().copied());
        let first = login.answer("PLAY", "rtsp://h/x");
        assert_eq!(usable, first.is_some());
        assert_eq!(format!("{login:?}"), "Login");
        let second = login.answer("PLAY", "rtsp://h/x");
        if first.as_ref().is_some_and(|text| text.contains("qop=auth")) {
            assert!(second.unwrap().contains("nc=00000002"));
        } else {
            assert_eq!(first, second);
        }
        first
    }

    #[test]
    fn the_best_offer_is_taken() {
        let basic = "Basic realm=\"x\"";
        let md5 = "Digest realm=\"a \\\"b\\\"\", nonce=n0nce==, stale=FALSE";
        let sha = "Digest realm=\"r\", nonce=\"n\", algorithm=SHA-256, qop=\"auth\", opaque=\"\"";
        let said = answers(&[basic], true).unwrap();
        assert_eq!(said, "Basic YW4ibjpodW50ZXIy");
        assert_eq!(answers(&[basic], false), None, "not to a stranger");
        let said = answers(&[basic, md5], true).unwrap();
        assert!(
            said.starts_with("Digest username=\"an\\\"n\", realm=\"a \\\"b\\\"\", nonce=\"n0nce==\", uri=\"rtsp://h/x\", response=\""),
            "{said}"
        );
        assert!(!said.contains("algorithm") && !said.contains("qop"));
        let both = format!("{md5}, {basic}, {sha}");
        let said = answers(&[&both], true).unwrap();
        for part in [
            "algorithm=SHA-256",
            "opaque=\"\"",
            "qop=auth, nc=00000001, cnonce=\"00000000000000ab\"",
        ] {
            assert!(said.contains(part), "{said}");
        }
        for unknown in [
            "",
            "Negotiate",
            "Digest realm=\"r\"",
            "Digest nonce=\"n\"",
            "Digest realm=r, nonce=n, qop=\"auth-int\"",
            "Digest realm=r, nonce=n, algorithm=SHA-512-256",
            "=,==,\"",
        ] {
            assert_eq!(answers(&[unknown], true), None, "{unknown}");
        }
    }

    proptest! {
        #[test]
        fn anything_may_be_offered(text in "(Digest |Basic |realm=|nonce=\"|[a-z=,\" \\\\é])*") {
            let all = offers(&text);
            prop_assert!(all.len() <= text.len());
            let mut login = Login::new((String::new(), String::new()), true, 1);
            login.challenged(std::iter::once(text.as_str()));
            if let Some(said) = login.answer("PLAY", &text) {
                prop_assert!(!said.contains('\n'));
            }
        }
    }
}
