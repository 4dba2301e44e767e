//! The values people write: sizes, times, lists, the master's address. Each error says what would
//! be right.

use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::limits::MAX_MERGE;

/// A number of bytes: `16MiB`, `64 KiB`, `1GB`, or a bare number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is no size; write bytes or a number with B, KiB, MiB or GiB, such as \"16MiB\""
            )
        };
        let (number, unit) = split_unit(text).ok_or_else(wrong)?;
        let factor: u64 = match unit.to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "kb" => 1000,
            "mb" => 1_000_000,
            "gb" => 1_000_000_000,
            "kib" => 1 << 10,
            "mib" => 1 << 20,
            "gib" => 1 << 30,
            _ => return Err(wrong()),
        };
        number
            .checked_mul(factor)
            .map(Self)
            .ok_or_else(|| format!("{text:?} is too large a size"))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (shift, unit) in [(30u32, "GiB"), (20, "MiB"), (10, "KiB")] {
            if self.0 != 0 && self.0.trailing_zeros() >= shift {
                return write!(f, "{}{unit}", self.0 >> shift);
            }
        }
        write!(f, "{}B", self.0)
    }
}

/// A length of time: a number with `ms`, `s`, `m`, `h` or `d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is no length of time; write a number with ms, s, m, h or d, such as \"20s\""
            )
        };
        let (number, unit) = split_unit(text).ok_or_else(wrong)?;
        let factor: u64 = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(wrong()),
        };
        number
            .checked_mul(factor)
            // Deadlines are computed as "now + span": a century is more than anyone means.
            .filter(|ms| *ms <= 100 * 366 * 86_400_000)
            .map(|ms| Self(Duration::from_millis(ms)))
            .ok_or_else(|| format!("{text:?} is too long; the most is 100 years"))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_millis();
        for (factor, unit) in [
            (86_400_000, "d"),
            (3_600_000, "h"),
            (60_000, "m"),
            (1000, "s"),
        ] {
            if ms != 0 && ms.is_multiple_of(factor) {
                return write!(f, "{}{unit}", ms / factor);
            }
        }
        write!(f, "{ms}ms")
    }
}

/// How long a stream waits for its source: a length of time, or `unlimited`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Grace(pub(super) Option<Duration>);

impl FromStr for Grace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "unlimited" {
            return Ok(Self(None));
        }
        text.parse::<Span>()
            .map(|span| Self(Some(span.0)))
            .map_err(|e| format!("{e}, or \"unlimited\""))
    }
}

/// A number of bytes, or `unlimited`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MaxSize(pub(super) Option<u64>);

impl FromStr for MaxSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "unlimited" {
            return Ok(Self(None));
        }
        text.parse::<Size>()
            .map(|size| Self(Some(size.0)))
            .map_err(|e| format!("{e}, or \"unlimited\""))
    }
}

/// How long frames may collect before they are written: a length of time, or `auto`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Merge(pub(super) Option<Duration>);

impl FromStr for Merge {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self(None));
        }
        let span = text.parse::<Span>();
        let span = span.map_err(|e| format!("{e}, or \"auto\""))?;
        if span.0 > MAX_MERGE {
            return Err(format!("{text:?} is longer than {}", Span(MAX_MERGE)));
        }
        Ok(Self(Some(span.0)))
    }
}

/// A number of threads, or `auto`: one for each core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Threads(pub(super) Option<NonZeroUsize>);

impl FromStr for Threads {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self(None));
        }
        text.parse::<NonZeroUsize>()
            .ok()
            .filter(|n| n.get() <= 1024)
            .map(|n| Self(Some(n)))
            .ok_or_else(|| format!("{text:?} is no number of threads; write \"auto\" or 1 to 1024"))
    }
}

/// A number, or `unlimited`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Most(pub(super) Option<u32>);

impl FromStr for Most {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "unlimited" {
            return Ok(Self(None));
        }
        text.parse::<u32>()
            .ok()
            .filter(|n| (1..=4_000_000).contains(n))
            .map(|n| Self(Some(n)))
            .ok_or_else(|| {
                format!("{text:?} is no bound; write a number from 1 to 4000000, or \"unlimited\"")
            })
    }
}

/// Where a mirror asks for its public address.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Metadata {
    /// At the place where clouds have their metadata service, when the mirror is on a private network.
    #[default]
    Auto,
    /// Nowhere.
    Off,
    /// At this `host:port`, in any case.
    At(String),
}

impl FromStr for Metadata {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => return Ok(Self::Auto),
            "off" => return Ok(Self::Off),
            _ => {}
        }
        let wrong = || {
            format!(
                "{text:?} is no place of a metadata service; write \"auto\", \"off\" or \"http://169.254.169.254\""
            )
        };
        let rest = text.strip_prefix("http://").ok_or_else(wrong)?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        // It has the form of a master's address but for the port that goes without saying.
        let with_port = match rest.rsplit_once(':') {
            Some((_, port)) if port.parse::<u16>().is_ok() => rest.to_owned(),
            _ => format!("{rest}:80"),
        };
        let place = format!("rtmp://{with_port}").parse::<MasterUrl>();
        place.map(|p| Self::At(p.address())).map_err(|_| wrong())
    }
}

impl fmt::Display for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Off => f.write_str("off"),
            Self::At(address) => write!(f, "http://{address}"),
        }
    }
}

/// Splits `16MiB` into 16 and `MiB`; a space between the two is allowed.
fn split_unit(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end)?;
    Some((number.parse().ok()?, unit.trim_start()))
}

/// Deserializes from a string or a bare number through [`FromStr`], so that TOML, the environment
/// and flags follow one rule and give one error.
struct FromText<T>(std::marker::PhantomData<T>, &'static str);

impl<T: FromStr<Err = String>> Visitor<'_> for FromText<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.1)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, n: i64) -> Result<T, E> {
        n.to_string().parse().map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, n: u64) -> Result<T, E> {
        n.to_string().parse().map_err(E::custom)
    }

    fn visit_u128<E: de::Error>(self, n: u128) -> Result<T, E> {
        n.to_string().parse().map_err(E::custom)
    }

    fn visit_i128<E: de::Error>(self, n: i128) -> Result<T, E> {
        n.to_string().parse().map_err(E::custom)
    }
}

macro_rules! deserialize_from_text {
    ($($type:ty: $expecting:literal),+ $(,)?) => {$(
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(FromText(std::marker::PhantomData, $expecting))
            }
        }
    )+};
}

deserialize_from_text! {
    Size: "a size such as \"16MiB\"",
    Span: "a length of time such as \"20s\"",
    MaxSize: "a size such as \"1GiB\", or \"unlimited\"",
    Merge: "a length of time such as \"40ms\", or \"auto\"",
    Grace: "a length of time such as \"30s\", or \"unlimited\"",
    Threads: "\"auto\" or a number of threads",
    Most: "a number, or \"unlimited\"",
    Metadata: "\"auto\", \"off\" or the URL of a metadata service",
}

/// A list of strings; one string alone is a list of one, which is how the environment and flags
/// like it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct List(pub(super) Vec<String>);

impl<'de> Deserialize<'de> for List {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items;
        impl<'de> Visitor<'de> for Items {
            type Value = List;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of strings such as [\"one\", \"two\"]")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<List, E> {
                Ok(List(vec![text.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<List, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element::<String>()? {
                    items.push(item);
                }
                Ok(List(items))
            }
        }
        deserializer.deserialize_any(Items)
    }
}

/// Where a mirror's master is: `rtmp://HOST[:PORT]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct MasterUrl {
    /// A name or an address, without the brackets of IPv6.
    pub host: String,
    /// When it was not given, 1935, or 443 in TLS.
    pub port: u16,
    /// `rtmps://`
    pub tls: bool,
}

impl MasterUrl {
    /// `host:port`, for dialling.
    #[must_use]
    pub fn address(&self) -> String {
        let url = self.to_string();
        let place = url.split_once("://").map(|(_, place)| place.to_owned());
        place.unwrap_or(url)
    }
}

impl FromStr for MasterUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| {
            format!(
                "{text:?} {why}; write \"rtmp://HOST\" or \"rtmp://HOST:PORT\", such as \"rtmp://master.example.org\""
            )
        };
        let (rest, tls) = match (text.strip_prefix("rtmp://"), text.strip_prefix("rtmps://")) {
            (Some(rest), _) => (rest, false),
            (_, Some(rest)) => (rest, true),
            _ => return Err(wrong("is not an rtmp:// or rtmps:// address")),
        };
        let usual = if tls { "443" } else { "1935" };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains('/') || rest.contains('?') {
            return Err(wrong(
                "names more than a host; streams have a key of their own",
            ));
        }
        if rest.contains('@') {
            return Err(wrong("carries a login, which a mirror does not use"));
        }
        let (host, port) = match rest.strip_prefix('[') {
            Some(v6) => {
                let (host, port) = v6.split_once(']').ok_or_else(|| wrong("lacks a ]"))?;
                if host.parse::<std::net::Ipv6Addr>().is_err() {
                    return Err(wrong("has no IPv6 address in its brackets"));
                }
                (
                    host,
                    port.strip_prefix(':')
                        .or((port.is_empty()).then_some(usual)),
                )
            }
            None => match rest.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (rest, Some(usual)),
            },
        };
        let good = |c: char| c.is_ascii_alphanumeric() || "-._:".contains(c);
        if host.is_empty() || host.len() > 255 || !host.chars().all(good) {
            return Err(wrong("has no usable host"));
        }
        match port.and_then(|p| p.parse::<u16>().ok()) {
            Some(port) if port != 0 => Ok(Self {
                host: host.to_owned(),
                port,
                tls,
            }),
            _ => Err(wrong("has no port from 1 to 65535")),
        }
    }
}

impl fmt::Display for MasterUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "rtmps" } else { "rtmp" };
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{scheme}://{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_read_and_written_alike() {
        for (text, bytes) in [
            ("16MiB", 16 << 20),
            ("64 KiB", 65536),
            ("1GB", 1_000_000_000),
            ("7", 7),
        ] {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
            assert_eq!(Size(bytes).to_string().parse(), Ok(Size(bytes)));
        }
        for (text, ms) in [
            ("20s", 20_000),
            ("250ms", 250),
            ("2 m", 120_000),
            ("1h", 3_600_000),
            ("0s", 0),
        ] {
            let span = Span(Duration::from_millis(ms));
            assert_eq!(text.parse(), Ok(span), "{text}");
            assert_eq!(span.to_string().parse(), Ok(span));
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_what_is_right() {
        for bad in ["", "MiB", "16M", "-1", "1.5MiB", "99999999999GiB"] {
            assert!(bad.parse::<Size>().is_err(), "{bad}");
        }
        assert!("16M".parse::<Size>().unwrap_err().contains("\"16MiB\""));
        for bad in ["", "20", "s", "20 sec", "-5s", "99999999999d"] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
        assert!("20".parse::<Span>().unwrap_err().contains("\"20s\""));
        assert_eq!("auto".parse(), Ok(Merge(None)));
        assert_eq!("350ms".parse(), Ok(Merge(Some(MAX_MERGE))));
        assert!("351ms".parse::<Merge>().is_err());
        assert!("soon".parse::<Merge>().unwrap_err().contains("auto"));
        assert_eq!("unlimited".parse(), Ok(Grace(None)));
        assert!("never".parse::<Grace>().unwrap_err().contains("unlimited"));
        assert_eq!("auto".parse(), Ok(Threads(None)));
        assert!("0".parse::<Threads>().is_err());
    }

    #[test]
    fn the_master_is_a_host_and_nothing_else() {
        let url = |text: &str| text.parse::<MasterUrl>().map(|u| u.to_string());
        assert_eq!(url("rtmp://m.example"), Ok("rtmp://m.example:1935".into()));
        assert_eq!(
            url("rtmp://10.0.0.1:1936/"),
            Ok("rtmp://10.0.0.1:1936".into())
        );
        assert_eq!(url("rtmp://[::1]:7"), Ok("rtmp://[::1]:7".into()));
        assert_eq!(url("rtmp://[::1]"), Ok("rtmp://[::1]:1935".into()));
        for bad in [
            "m.example",
            "http://m",
            "rtmp://",
            "rtmp://m/live",
            "rtmp://u:p@m",
            "rtmp://m:0",
            "rtmp://m:70000",
            "rtmp://[::1",
            "rtmp://[nope]",
            "rtmp://[::1]x",
            "rtmp://m?x",
            "rtmp://a b",
        ] {
            assert!(url(bad).is_err(), "{bad}");
        }
    }
}
