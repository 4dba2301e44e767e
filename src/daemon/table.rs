//! The table of services that crtmpserver has always printed at its start.

use std::fmt::Write;
use std::net::SocketAddr;

/// One row: an address, what is spoken there, and which application answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// `tcp` or `udp`
    pub carrier: &'static str,
    /// Where it listens.
    pub address: SocketAddr,
    /// The protocol in the original's words, such as `inboundRtmp`.
    pub protocol: &'static str,
    /// The applications.
    pub application: String,
}

/// Width of the column for addresses: an IPv6 address in full has 39 characters.
const MIN_IP: usize = 15;

/// The table, without a newline at its end. Columns widen for what does not fit.
#[must_use]
pub fn render(services: &[Service]) -> String {
    let widest = |of: &dyn Fn(&Service) -> usize, least: usize| {
        services.iter().map(of).max().unwrap_or(0).max(least)
    };
    let ip = widest(&|s| s.address.ip().to_string().len(), MIN_IP);
    let protocol = widest(&|s| s.protocol.len(), 25);
    let application = widest(&|s| s.application.len(), 25);
    let rule = format!(
        "+---+{}+-----+{}+{}+",
        "-".repeat(ip),
        "-".repeat(protocol),
        "-".repeat(application)
    );
    // Three columns of fixed width and the four rules between the five columns.
    let inner = rule.len().saturating_sub(2);
    let mut out = String::new();
    let mut line = |text: &str| {
        if !out.is_empty() {
            out.push('\n');
        }
        out.push_str(text);
    };
    line(&format!("+{}+", "-".repeat(inner)));
    line(&format!("|{:>inner$}|", "Services"));
    line(&rule);
    let mut head = String::new();
    // Writing to a String cannot fail.
    let _ = write!(
        head,
        "| c |{:^ip$}| port|{:^protocol$}|{:^application$}|",
        "ip", "protocol stack name", "application name"
    );
    line(&head);
    line(&rule);
    for s in services {
        line(&format!(
            "|{:>3}|{:>ip$}|{:>5}|{:>protocol$}|{:>application$}|",
            s.carrier,
            s.address.ip().to_string(),
            s.address.port(),
            s.protocol,
            s.application
        ));
        line(&rule);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_has_the_same_width_and_the_values_stand_right() {
        let rows = [
            Service {
                carrier: "tcp",
                address: "127.0.0.1:1935".parse().unwrap(),
                protocol: "inboundRtmp",
                application: "live".into(),
            },
            Service {
                carrier: "tcp",
                address: "[2001:db8:1111:2222:3333:4444:5555:6666]:8080"
                    .parse()
                    .unwrap(),
                protocol: "inboundHttpFlv",
                application: "a-very-long-list, of-applications, that-wants-room".into(),
            },
        ];
        let table = render(&rows);
        let widths: Vec<usize> = table.lines().map(str::len).collect();
        assert!(widths.iter().all(|w| *w == widths[0]), "{table}");
        assert!(table.contains("| 1935|"), "{table}");
        assert!(
            table.contains("|2001:db8:1111:2222:3333:4444:5555:6666|"),
            "{table}"
        );
    }

    #[test]
    fn looks_like_the_original() {
        let rows = [Service {
            carrier: "tcp",
            address: "127.0.0.1:1935".parse().unwrap(),
            protocol: "inboundRtmp",
            application: "live".into(),
        }];
        let expected = "\
+-----------------------------------------------------------------------------+
|                                                                     Services|
+---+---------------+-----+-------------------------+-------------------------+
| c |      ip       | port|   protocol stack name   |    application name     |
+---+---------------+-----+-------------------------+-------------------------+
|tcp|      127.0.0.1| 1935|              inboundRtmp|                     live|
+---+---------------+-----+-------------------------+-------------------------+";
        assert_eq!(render(&rows), expected);
    }
}
