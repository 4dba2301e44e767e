//! Lists of networks, as the configuration names them.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

/// The networks of one list. An IPv4 peer on a dual-stack listener (`::ffff:a.b.c.d`) is the IPv4
/// peer that it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Networks(Vec<IpNet>);

impl Networks {
    /// No network at all.
    #[must_use]
    pub const fn none() -> Self {
        Self(Vec::new())
    }

    /// This machine.
    #[must_use]
    pub fn loopback() -> Self {
        Self::of_words(&["loopback"])
    }

    /// Everyone.
    #[must_use]
    pub fn any() -> Self {
        Self::of_words(&["any"])
    }

    fn of_words(words: &[&str]) -> Self {
        let mut list = Self::none();
        for word in words {
            // The two words are always understood (tested below).
            drop(list.add(word));
        }
        list
    }

    /// Adds what `text` names: a network (`10.0.0.0/8`), an address, `loopback` or `any`.
    ///
    /// # Errors
    /// Says what would be right.
    pub fn add(&mut self, text: &str) -> Result<(), String> {
        let wrong = || {
            format!(
                "{text:?} is no network; write one such as \"10.0.0.0/8\" or \"2001:db8::/32\", an address, \"loopback\" or \"any\""
            )
        };
        let nets: &[&str] = match text {
            "loopback" => &["127.0.0.0/8", "::1/128"],
            "any" => &["0.0.0.0/0", "::/0"],
            other => &[other],
        };
        for net in nets {
            let parsed = match net.parse::<IpAddr>() {
                Ok(address) => IpNet::from(address),
                Err(_) => net.parse::<IpNet>().map_err(|_| wrong())?,
            };
            self.0.push(unmap(parsed).trunc());
        }
        Ok(())
    }

    /// Whether `ip` is in one of the networks.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.0.iter().any(|net| net.contains(&ip))
    }

    /// Whether the list is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it holds every address there is.
    #[must_use]
    pub fn is_any(&self) -> bool {
        let all = |v4: bool| {
            self.0
                .iter()
                .any(|n| n.prefix_len() == 0 && n.addr().is_ipv4() == v4)
        };
        all(true) && all(false)
    }
}

impl std::fmt::Display for Networks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_any() {
            return f.write_str("everyone");
        }
        if self.is_empty() {
            return f.write_str("nobody");
        }
        if *self == Self::loopback() {
            return f.write_str("loopback");
        }
        for (i, net) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{net}")?;
        }
        Ok(())
    }
}

/// `::ffff:10.0.0.0/104` is `10.0.0.0/8`.
fn unmap(net: IpNet) -> IpNet {
    let IpNet::V6(v6) = net else { return net };
    match (v6.addr().to_ipv4_mapped(), v6.prefix_len().checked_sub(96)) {
        (Some(v4), Some(prefix)) => Ipv4Net::new(v4, prefix).map_or(net, IpNet::V4),
        _ => net,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn mapped_addresses_are_ipv4() {
        let mut list = Networks::none();
        list.add("10.1.2.3/8").unwrap();
        list.add("::ffff:192.168.0.0/112").unwrap();
        list.add("2001:db8::7").unwrap();
        for inside in [
            "10.255.0.1",
            "::ffff:10.9.9.9",
            "192.168.3.4",
            "::ffff:192.168.1.1",
            "2001:db8::7",
        ] {
            assert!(list.contains(ip(inside)), "{inside}");
        }
        for outside in [
            "11.0.0.1",
            "::ffff:11.0.0.1",
            "192.169.0.1",
            "2001:db8::8",
            "::",
        ] {
            assert!(!list.contains(ip(outside)), "{outside}");
        }
    }

    #[test]
    fn the_words_and_the_wrong() {
        assert!(Networks::loopback().contains(ip("127.0.0.9")));
        assert!(Networks::loopback().contains(ip("::ffff:127.0.0.1")));
        assert!(Networks::loopback().contains(ip("::1")));
        assert!(!Networks::loopback().contains(ip("10.0.0.1")));
        assert!(Networks::any().is_any() && Networks::any().contains(ip("2001:db8::1")));
        assert!(!Networks::none().contains(ip("127.0.0.1")));
        for bad in ["", "10.0.0.0/33", "localhost", "10.0.0", "all"] {
            assert!(Networks::none().add(bad).is_err(), "{bad}");
        }
    }
}
