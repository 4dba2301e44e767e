//! Where the public finds a mirror: from what it says of itself and what its master sees.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::rtmp::mirror::host::{Announcement, MAX_HOST_NAME, Urls, host_in, is_name};

/// In a template: the address, as a URL has it.
const IP: &str = "{ip}";
/// In a template: the address as one label of a name.
const IP_DASHED: &str = "{ip-dashed}";

/// Whether the address can be reached from anywhere. What is set aside for documents counts: it is public
/// in form, and nobody has it.
#[must_use]
pub fn is_public(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            let shared = a == 100 && (64..128).contains(&b); // RFC 6598
            !(v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_unspecified()
                || v4.is_multicast()
                || a >= 240
                || a == 0
                || shared)
        }
        IpAddr::V6(v6) => {
            !(v6.is_loopback()
                || v6.is_unspecified()
                || v6.is_multicast()
                || v6.is_unique_local()
                || v6.is_unicast_link_local())
        }
    }
}

/// An address as one label: `203-0-113-5`, `2001-db8--5`.
#[must_use]
pub fn dashed(ip: IpAddr) -> String {
    match ip.to_canonical() {
        IpAddr::V4(v4) => v4.to_string().replace('.', "-"),
        IpAddr::V6(v6) => {
            // A label neither begins nor ends with a dash.
            let text = v6.to_string().replace(':', "-");
            let head = if text.starts_with('-') { "0" } else { "" };
            let tail = if text.ends_with('-') { "0" } else { "" };
            format!("{head}{text}{tail}")
        }
    }
}

/// An address as a URL has it.
fn in_url(ip: IpAddr) -> String {
    match ip.to_canonical() {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("[{v6}]"),
    }
}

/// Whether a template says something about the address, so that one is needed.
#[must_use]
pub fn wants_ip(host: &str) -> bool {
    host.is_empty() || host.contains(IP) || host.contains(IP_DASHED)
}

/// What `host` means: `{ip}` and `{ip-dashed}` filled in; without anything, the address.
fn fill(host: &str, ip: Option<IpAddr>) -> Option<String> {
    if host.is_empty() {
        return ip.map(in_url);
    }
    if let Ok(ip) = host.parse() {
        return Some(in_url(ip));
    }
    let name = match ip {
        Some(ip) => host
            .replace(IP_DASHED, &dashed(ip))
            .replace(IP, &in_url(ip)),
        None => host.to_owned(),
    };
    let v6 = name.strip_prefix('[').and_then(|n| n.strip_suffix(']'));
    let fits = is_name(&name) || v6.is_some_and(|v6| v6.parse::<Ipv6Addr>().is_ok());
    fits.then_some(name)
}

/// Whether `host` can be a name, an address or a template for one.
///
/// # Errors
/// What would be right.
pub fn check_template(host: &str) -> Result<(), String> {
    let one = fill(host, Some(Ipv4Addr::new(203, 0, 113, 5).into()));
    if host.is_empty() || (one.is_some() && host.len() <= MAX_HOST_NAME) {
        return Ok(());
    }
    Err(format!(
        "{host:?} is no name, address or template; write \"mirror-1.example.org\", \"203.0.113.5\" or \"{{ip-dashed}}.m.example.org\""
    ))
}

/// The host that a template gives, for people: with an address of documents (RFC 5737). IPv6 has no
/// brackets.
#[must_use]
pub fn sample(template: &str) -> Option<String> {
    fill(template, Some(Ipv4Addr::new(192, 0, 2, 1).into())).map(without_brackets)
}

/// Whether a template gives this name, or this address, at some address.
#[must_use]
pub fn can_give(template: &str, name: &str) -> bool {
    let template = if template.is_empty() { IP } else { template };
    let (template, name) = (template.to_ascii_lowercase(), name.to_ascii_lowercase());
    let parts = template.split_once(IP_DASHED);
    let Some((before, after)) = parts.or_else(|| template.split_once(IP)) else {
        return false;
    };
    let rest = name.strip_prefix(before);
    let Some(address) = rest.and_then(|rest| rest.strip_suffix(after)) else {
        return false;
    };
    let spelled = [
        address.to_owned(),
        address.replace('-', "."),
        address.replace('-', ":"),
    ];
    let mut ips = spelled.iter().filter_map(|text| text.parse().ok());
    // Only what the template makes of it tells how it has to be spelled.
    ips.any(|ip| fill(&template, Some(ip)).map(without_brackets) == Some(name.clone()))
}

/// The template with the address as one label, and the wildcard that is for all of its names; `None`
/// when there is none, as the address is not in the first label alone.
#[must_use]
pub fn wildcard(template: &str) -> Option<(String, String)> {
    let dashed = template.replace(IP, IP_DASHED);
    let (first, rest) = dashed.split_once('.')?;
    let fits = first.contains(IP_DASHED) && !rest.contains(IP_DASHED);
    fits.then(|| (dashed.clone(), format!("*.{rest}")))
}

fn without_brackets(host: String) -> String {
    let v6 = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    v6.map(ToOwned::to_owned).unwrap_or(host)
}

/// What an announcement comes to at this address. `None` when that is nothing: a template and no address
/// to fill in, or no port.
#[must_use]
pub fn urls(announcement: &Announcement, ip: Option<IpAddr>) -> Option<Urls> {
    let host = fill(&announcement.host, ip)?;
    let base = |scheme: &str, port: Option<u16>, usual: u16| {
        let port = port?;
        if port == usual {
            Some(format!("{scheme}://{host}"))
        } else {
            Some(format!("{scheme}://{host}:{port}"))
        }
    };
    let urls = Urls {
        // 1935 is spelled out: some players know no default.
        rtmp: base("rtmp", announcement.rtmp, 0),
        http: base("http", announcement.http, 80),
        https: base("https", announcement.https, 443),
    };
    (!urls.is_empty()).then_some(urls)
}

/// What a master allows its mirrors to be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rules {
    /// The template for mirrors that announce no name.
    pub host: String,
    /// Names (`*.m.example.org` for all below), addresses and networks that a mirror may announce; with
    /// none, its own address, a name, and what [`place`] makes of the rest.
    pub allow: Vec<Allowed>,
}

/// One entry of [`Rules::allow`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Allowed {
    /// One name.
    Name(String),
    /// Every name with this ending, the dot included.
    Below(String),
    /// Every address of this network.
    Network(ipnet::IpNet),
}

impl std::str::FromStr for Allowed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let lower = text.to_ascii_lowercase();
        if let Ok(network) = text.parse::<ipnet::IpNet>() {
            return Ok(Self::Network(network));
        }
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Ok(Self::Network(ip.into()));
        }
        match lower.strip_prefix("*.") {
            Some(rest) if is_name(rest) => Ok(Self::Below(format!(".{rest}"))),
            None if is_name(&lower) => Ok(Self::Name(lower)),
            _ => Err(format!(
                "{text:?} is no name, address or network; write \"*.m.example.org\", \"203.0.113.5\" or \"203.0.113.0/24\""
            )),
        }
    }
}

impl std::fmt::Display for Allowed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Below(ending) => write!(f, "*{ending}"),
            Self::Network(network) => write!(f, "{network}"),
        }
    }
}

impl Rules {
    /// Whether the list says nothing against this host, a name or an address.
    fn allows(&self, host: &str) -> bool {
        if self.allow.is_empty() {
            return true;
        }
        self.lists(host)
    }

    fn lists(&self, host: &str) -> bool {
        let lower = host.to_ascii_lowercase();
        let ip = host.parse::<IpAddr>().ok();
        self.allow.iter().any(|allowed| match allowed {
            Allowed::Name(name) => *name == lower,
            Allowed::Below(ending) => lower.ends_with(ending.as_str()),
            Allowed::Network(network) => ip.is_some_and(|ip| network.contains(&ip)),
        })
    }
}

/// What a master made of an announcement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Where the mirror is listed; nothing when it is not.
    pub urls: Option<Urls>,
    /// What was not taken over, in words for the master's log.
    pub objection: Option<String>,
}

/// Where a mirror is listed that announces itself over a connection from `seen`.
///
/// An address that it names must be one that makes sense: its own, or the public one of a mirror that is
/// seen on a private network (its cloud told it). A private one counts only among private ones. A name is
/// believed, as far as [`Rules::allow`] does not say otherwise.
#[must_use]
pub fn place(announcement: &Announcement, seen: IpAddr, rules: &Rules) -> Placed {
    let seen = seen.to_canonical();
    let mut announcement = announcement.clone();
    let mut objection = None;
    if announcement.host.is_empty() {
        announcement.host.clone_from(&rules.host);
    }
    // An address in the place of the name is one that the operator of the mirror wrote.
    let literal = announcement.host.parse::<IpAddr>().ok();
    let said = literal.or(announcement.ip).map(|ip| ip.to_canonical());
    let mut ip = seen;
    if let Some(said) = said.filter(|said| *said != seen) {
        let own = is_public(said) && !is_public(seen);
        let among = !is_public(said) && !is_public(seen) && is_loopback(said) == is_loopback(seen);
        if rules.lists(&said.to_string()) || own || among {
            ip = said;
        } else {
            let what = if is_public(said) {
                "a foreign"
            } else {
                "a private"
            };
            objection = Some(format!(
                "it announces {what} address, {said}; it is listed with {seen}, where it comes from (cluster.allow can allow the other)"
            ));
        }
    }
    if literal.is_some() {
        announcement.host.clear();
    }
    // Of use on its own link alone, and there with the name of an interface.
    let linked = matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local());
    if announcement.host.is_empty() && linked {
        let why = format!("it has only {ip} yet, which viewers cannot reach; it is not listed");
        objection.get_or_insert(why);
    }
    let ip = Some(ip).filter(|_| !linked);
    let Some(urls) = urls(&announcement, ip) else {
        return Placed {
            urls: None,
            objection,
        };
    };
    match forbidden(&urls, rules) {
        None => Placed {
            urls: Some(urls),
            objection,
        },
        Some(host) => Placed {
            urls: None,
            objection: Some(format!(
                "it announces {host}, which cluster.allow does not have; it is not listed"
            )),
        },
    }
}

fn is_loopback(ip: IpAddr) -> bool {
    ip.is_loopback()
}

/// A host of these that the rules forbid.
fn forbidden<'a>(urls: &'a Urls, rules: &Rules) -> Option<&'a str> {
    hosts(urls).find(|host| !rules.allows(host))
}

fn hosts(urls: &Urls) -> impl Iterator<Item = &str> {
    urls.iter().filter_map(|url| {
        let (scheme, _) = url.split_once("://")?;
        host_in(scheme, url)
    })
}

/// Whether a host that a mirror knows below itself may be listed here; `seen` is where that mirror comes
/// from. In words why not.
///
/// # Errors
/// The objection.
pub fn passes(urls: &Urls, seen: IpAddr, rules: &Rules) -> Result<(), String> {
    if let Some(host) = forbidden(urls, rules) {
        return Err(format!(
            "it passes on {host}, which cluster.allow does not have; it is not listed"
        ));
    }
    let private = hosts(urls)
        .filter_map(|host| host.parse().ok())
        .find(|ip: &IpAddr| !is_public(*ip));
    match private {
        Some(ip) if is_public(seen) => Err(format!(
            "it passes on {ip}, an address of a private network of its own; it is not listed"
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn announcement(host: &str, ip: Option<&str>) -> Announcement {
        Announcement {
            host: host.into(),
            ip: ip.map(|ip| ip.parse().unwrap()),
            rtmp: Some(1935),
            http: Some(8080),
            https: None,
        }
    }

    fn http(host: &str, said: Option<&str>, seen: &str, rules: &Rules) -> (String, bool) {
        let placed = place(&announcement(host, said), ip(seen), rules);
        let url = placed.urls.and_then(|u| u.http).unwrap_or_default();
        (url, placed.objection.is_some())
    }

    #[test]
    fn what_is_public() {
        for public in ["203.0.113.5", "8.8.8.8", "2001:db8::1", "100.63.0.1"] {
            assert!(is_public(ip(public)), "{public}");
        }
        for private in [
            "10.0.0.1",
            "172.16.9.9",
            "192.168.1.1",
            "127.0.0.1",
            "169.254.1.1",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "fe80::1",
            "fd00::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(!is_public(ip(private)), "{private}");
        }
    }

    #[test]
    fn a_template_is_filled_in() {
        let of = |template: &str, at: &str| fill(template, Some(ip(at)));
        for (template, at, host) in [
            ("", "203.0.113.5", "203.0.113.5"),
            ("", "2001:db8::5", "[2001:db8::5]"),
            (
                "{ip-dashed}.m.example.org",
                "203.0.113.5",
                "203-0-113-5.m.example.org",
            ),
            (
                "{ip-dashed}.m.example.org",
                "2001:db8::",
                "2001-db8--0.m.example.org",
            ),
            (
                "{ip-dashed}.example",
                "::ffff:203.0.113.5",
                "203-0-113-5.example",
            ),
            ("{ip}.nip.example", "203.0.113.5", "203.0.113.5.nip.example"),
            ("{ip}", "2001:db8::5", "[2001:db8::5]"),
            ("a.example.org", "203.0.113.5", "a.example.org"),
            ("198.51.100.1", "203.0.113.5", "198.51.100.1"),
        ] {
            assert_eq!(of(template, at).as_deref(), Some(host), "{template}");
        }
        assert_eq!(dashed(ip("::1")), "0--1");
        for bad in ["a b", "{nothing}.example", "http://a", "a/b", "-a", "a..b"] {
            assert!(check_template(bad).is_err(), "{bad}");
            assert_eq!(of(bad, "203.0.113.5"), None, "{bad}");
        }
        for good in ["", "a", "{ip}", "{ip-dashed}.m.example.org", "2001:db8::5"] {
            assert_eq!(check_template(good), Ok(()), "{good}");
        }
        assert_eq!(fill("{ip-dashed}.example", None), None);
        assert_eq!(fill("a.example", None).as_deref(), Some("a.example"));
    }

    #[test]
    fn a_template_tells_which_hosts_it_gives() {
        for (template, host) in [
            ("", "192.0.2.1"),
            ("{ip}", "192.0.2.1"),
            ("{ip-dashed}.m.example", "192-0-2-1.m.example"),
            ("a.example", "a.example"),
            ("[2001:db8::5]", "2001:db8::5"),
        ] {
            assert_eq!(sample(template).as_deref(), Some(host), "{template}");
        }
        for (template, name, gives) in [
            ("", "203.0.113.5", true),
            ("", "2001:db8::5", true),
            ("", "a.example", false),
            ("{ip}", "2001:db8::5", true),
            ("{ip}.example", "203.0.113.5.example", true),
            ("{ip}.example", "203-0-113-5.example", false),
            ("m-{ip-dashed}.Example", "M-203-0-113-5.example", true),
            ("{ip-dashed}.example", "2001-db8--0.example", true),
            ("{ip-dashed}.example", "203.0.113.5.example", false),
            ("{ip-dashed}.example", "www.example", false),
            ("{ip-dashed}.example", "*.example", false),
            ("{ip-dashed}.example", "example", false),
            ("a.example", "a.example", false),
        ] {
            assert_eq!(can_give(template, name), gives, "{template} {name}");
        }
        let of = |template| wildcard(template).map(|(dashed, all)| format!("{dashed} {all}"));
        for (template, all) in [
            ("{ip-dashed}.m.example", "{ip-dashed}.m.example *.m.example"),
            ("m-{ip}.example", "m-{ip-dashed}.example *.example"),
        ] {
            assert_eq!(of(template).as_deref(), Some(all), "{template}");
        }
        for template in ["", "{ip}", "a.example", "a.{ip-dashed}.example"] {
            assert_eq!(of(template), None, "{template}");
        }
    }

    #[test]
    fn ports_are_left_out_where_they_are_the_usual_ones() {
        let mut announcement = announcement("a.example", None);
        announcement.http = Some(80);
        announcement.https = Some(443);
        let urls = urls(&announcement, None).unwrap();
        let all: Vec<_> = urls.iter().collect();
        assert_eq!(
            all,
            [
                "rtmp://a.example:1935",
                "http://a.example",
                "https://a.example"
            ]
        );
        let none = Announcement::default();
        assert_eq!(super::urls(&none, Some(ip("203.0.113.5"))), None);
    }

    #[test]
    fn the_master_sees_where_a_mirror_is() {
        let rules = Rules::default();
        let ok = |host, said, seen| {
            let (url, objection) = http(host, said, seen, &rules);
            assert!(!objection, "{url}");
            url
        };
        let corrected = |host, said, seen| {
            let (url, objection) = http(host, said, seen, &rules);
            assert!(objection, "{url}");
            url
        };
        assert_eq!(corrected("", None, "fe80::5"), "");
        assert_eq!(ok("m.example", None, "fe80::5"), "http://m.example:8080");
        assert_eq!(ok("", None, "203.0.113.5"), "http://203.0.113.5:8080");
        assert_eq!(ok("", None, "::ffff:10.0.0.2"), "http://10.0.0.2:8080");
        // The cloud told it, and the master is in the same private network.
        assert_eq!(
            ok("", Some("203.0.113.5"), "10.0.0.2"),
            "http://203.0.113.5:8080"
        );
        assert_eq!(
            ok("{ip-dashed}.m.example", Some("203.0.113.5"), "10.0.0.2"),
            "http://203-0-113-5.m.example:8080"
        );
        // Written by its operator.
        assert_eq!(ok("10.0.0.9", None, "10.0.0.2"), "http://10.0.0.9:8080");
        assert_eq!(
            ok("mirror.example", None, "203.0.113.5"),
            "http://mirror.example:8080"
        );
        // A private address is of no use to those who see it on a public one; a foreign one is foreign.
        for said in ["10.0.0.2", "127.0.0.1", "198.51.100.7"] {
            for (host, said) in [("", Some(said)), (said, None)] {
                assert_eq!(
                    corrected(host, said, "203.0.113.5"),
                    "http://203.0.113.5:8080"
                );
            }
        }
        assert_eq!(
            corrected("127.0.0.1", None, "10.0.0.2"),
            "http://10.0.0.2:8080"
        );
        assert_eq!(
            corrected("{ip-dashed}.m.example", Some("198.51.100.7"), "203.0.113.5"),
            "http://203-0-113-5.m.example:8080"
        );
    }

    #[test]
    fn the_list_of_what_is_allowed_decides() {
        let allow = |list: &[&str]| Rules {
            host: String::new(),
            allow: list.iter().map(|a| a.parse().unwrap()).collect(),
        };
        let rules = allow(&["*.m.example.org", "198.51.100.0/24"]);
        let of = |host, said, seen| http(host, said, seen, &rules);
        assert_eq!(
            of("198.51.100.7", None, "203.0.113.5"),
            ("http://198.51.100.7:8080".into(), false)
        );
        assert_eq!(
            of("X.m.Example.org", None, "203.0.113.5"),
            ("http://X.m.Example.org:8080".into(), false)
        );
        for host in ["evil.example", "m.example.org", "xm.example.org", ""] {
            assert_eq!(
                of(host, None, "203.0.113.5"),
                (String::new(), true),
                "{host}"
            );
        }
        let rules = Rules {
            host: "{ip-dashed}.m.example.org".into(),
            ..allow(&["*.m.example.org"])
        };
        assert_eq!(
            http("", None, "203.0.113.5", &rules),
            ("http://203-0-113-5.m.example.org:8080".into(), false)
        );
        for bad in ["", "*", "*.", "a b", "203.0.113.0/40", "*.*.example"] {
            assert!(bad.parse::<Allowed>().is_err(), "{bad}");
        }
    }

    #[test]
    fn private_hosts_stay_in_their_network() {
        let rules = Rules::default();
        let of = |address: &str| urls(&announcement(address, None), None).unwrap();
        assert_eq!(passes(&of("10.0.0.7"), ip("10.0.0.1"), &rules), Ok(()));
        assert!(passes(&of("10.0.0.7"), ip("203.0.113.1"), &rules).is_err());
        assert_eq!(
            passes(&of("203.0.113.9"), ip("203.0.113.1"), &rules),
            Ok(())
        );
        assert_eq!(passes(&of("a.example"), ip("203.0.113.1"), &rules), Ok(()));
    }
}
