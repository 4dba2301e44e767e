//! The figures of the hosts, for whoever adds and removes mirrors: what they carry against what they can,
//! each and in all. On the top of the tree alone, or each figure would be told by every mirror.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;

use super::Cluster;
use crate::limits::MAX_MIRRORS_MEASURED;
use crate::rtmp::mirror::host::{Host, HostState, Load};

/// Collects from a cluster.
#[derive(Debug)]
pub struct HostFigures(pub Arc<Cluster>);

/// One figure of a host.
type Figure = fn(&Load) -> Option<u32>;

/// Those of each host and, added up, of all: name, what it is, and the figure.
const FIGURES: [(&str, &str, Figure); 4] = [
    ("viewers", "Viewers that watch", |load| Some(load.viewers)),
    (
        "max_viewers",
        "Viewers that are taken (limits.max_viewers)",
        |load| load.max_viewers,
    ),
    ("kbit_per_second", "What goes out", |load| Some(load.kbit)),
    (
        "max_kbit_per_second",
        "What may go out before no more viewers are taken (limits.max_mbit_s)",
        |load| load.max_kbit,
    ),
];

impl Collector for HostFigures {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        if self.0.role() == "mirror" {
            return Ok(());
        }
        let hosts = self.0.hosts();
        let mut page = Page { encoder };
        page.states(&hosts)?;
        let total = Total::of(&hosts);
        for (name, help, figure) in FIGURES {
            let all = hosts.iter().filter_map(|host| figure(&host.load));
            let all = all.map(u64::from).fold(0, u64::saturating_add);
            page.one(
                &format!("cluster_{name}"),
                &format!("{help}, of all hosts"),
                all,
            )?;
        }
        page.ratio(total.used())?;
        let measured = named(&hosts);
        for (name, help, figure) in FIGURES {
            page.each(
                &format!("host_{name}"),
                &format!("{help}, of one host"),
                &measured,
                figure,
            )?;
        }
        page.each(
            "host_weight",
            "Its share of new viewers",
            &measured,
            |load| Some(load.weight.into()),
        )
    }
}

/// The hosts by what the public calls them: ids are others after each restart, and every one of them would
/// be a new series for good.
fn named(hosts: &[Host]) -> BTreeMap<&str, &Host> {
    let mut named = BTreeMap::new();
    for host in hosts {
        let authority = host.urls.iter().last().and_then(|u| u.split_once("://"));
        if let Some((_, authority)) = authority
            && named.len() < MAX_MIRRORS_MEASURED
        {
            named.entry(authority).or_insert(host);
        }
    }
    named
}

/// What the hosts that take viewers carry, and can.
#[derive(Debug, Default)]
struct Total {
    viewers: (u64, u64),
    kbit: (u64, u64),
}

impl Total {
    fn of(hosts: &[Host]) -> Self {
        let mut total = Self::default();
        let stay = |h: &&Host| h.load.state != HostState::Draining;
        for load in hosts.iter().filter(stay).map(|h| h.load) {
            for (sum, used, most) in [
                (&mut total.viewers, load.viewers, load.max_viewers),
                (&mut total.kbit, load.kbit, load.max_kbit),
            ] {
                if let Some(most) = most {
                    sum.0 = sum.0.saturating_add(used.into());
                    sum.1 = sum.1.saturating_add(most.into());
                }
            }
        }
        total
    }

    /// The greater of the two parts; `None` when nothing is bounded.
    fn used(&self) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "a part of a whole")]
        let part = |(used, most): (u64, u64)| (most > 0).then(|| used as f64 / most as f64);
        match (part(self.viewers), part(self.kbit)) {
            (Some(a), Some(b)) => Some(a.max(b)),
            (a, b) => a.or(b),
        }
    }
}

struct Page<'a> {
    encoder: DescriptorEncoder<'a>,
}

fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

impl Page<'_> {
    fn one(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let gauge = ConstGauge::new(signed(value));
        let kind = gauge.metric_type();
        gauge.encode(self.encoder.encode_descriptor(name, help, None, kind)?)
    }

    fn ratio(&mut self, used: Option<f64>) -> fmt::Result {
        let gauge = ConstGauge::new(used.unwrap_or(0.0));
        let kind = gauge.metric_type();
        let metric = self.encoder.encode_descriptor(
            "cluster_used",
            "Part of what the hosts that take viewers can carry, 0 to 1",
            None,
            kind,
        )?;
        // Without any bound there is no such part.
        if used.is_some() {
            gauge.encode(metric)?;
        }
        Ok(())
    }

    fn states(&mut self, hosts: &[Host]) -> fmt::Result {
        let kind = ConstGauge::<i64>::new(0).metric_type();
        let mut metric =
            self.encoder
                .encode_descriptor("cluster_hosts", "Hosts, by state", None, kind)?;
        for state in [HostState::Ready, HostState::Full, HostState::Draining] {
            let count = hosts.iter().filter(|h| h.load.state == state).count();
            let labels = [("state", state.as_str())];
            let metric = metric.encode_family(&labels)?;
            ConstGauge::new(signed(count as u64)).encode(metric)?;
        }
        Ok(())
    }

    fn each(
        &mut self,
        name: &str,
        help: &str,
        hosts: &BTreeMap<&str, &Host>,
        figure: Figure,
    ) -> fmt::Result {
        let kind = ConstGauge::<i64>::new(0).metric_type();
        let mut metric = self.encoder.encode_descriptor(name, help, None, kind)?;
        for (authority, host) in hosts {
            if let Some(value) = figure(&host.load) {
                let labels = [("host", *authority)];
                let metric = metric.encode_family(&labels)?;
                ConstGauge::new(i64::from(value)).encode(metric)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;
    use std::time::Instant;

    use super::super::{Mirror, Standing};
    use super::*;
    use crate::rtmp::mirror::host::{Hosts, Urls};

    fn host(n: u32, load: Load) -> Host {
        Host {
            id: format!("{n:032x}"),
            urls: Urls {
                rtmp: Some(format!("rtmp://m{n}.example:1935")),
                http: Some(format!("http://m{n}.example:8080")),
                https: None,
            },
            load,
        }
    }

    fn page(role: &'static str, hosts: Vec<Host>) -> String {
        let cluster = Cluster::new("f".repeat(32), false, Instant::now());
        cluster.set_standing(Standing {
            role,
            ..Standing::default()
        });
        let mirror = Mirror {
            peer: "203.0.113.1:9".parse().unwrap(),
            since: Instant::now(),
        };
        let member = cluster.join(&"e".repeat(32), mirror).unwrap();
        for part in hosts.chunks(100) {
            let told = Hosts {
                hosts: part.to_vec(),
                ..Hosts::default()
            };
            member.take_hosts(&told, "203.0.113.1".parse().unwrap());
        }
        let mut registry = Registry::with_prefix("crtmpserver");
        registry.register_collector(Box::new(HostFigures(Arc::clone(&cluster))));
        let mut page = String::new();
        encode(&mut page, &registry).unwrap();
        page
    }

    #[test]
    fn what_an_autoscaler_needs_is_on_one_page() {
        let load = |viewers, kbit, state| Load {
            state,
            weight: 50,
            viewers,
            kbit,
            max_viewers: Some(100),
            max_kbit: Some(1_000_000),
        };
        let page = page(
            "master",
            vec![
                host(1, load(80, 900_000, HostState::Ready)),
                host(2, load(20, 300_000, HostState::Full)),
                host(3, load(100, 1_000_000, HostState::Draining)),
            ],
        );
        for line in [
            "crtmpserver_cluster_hosts{state=\"ready\"} 1",
            "crtmpserver_cluster_hosts{state=\"full\"} 1",
            "crtmpserver_cluster_hosts{state=\"draining\"} 1",
            "crtmpserver_cluster_viewers 200",
            "crtmpserver_cluster_max_viewers 300",
            "crtmpserver_cluster_kbit_per_second 2200000",
            "crtmpserver_cluster_used 0.6",
            "crtmpserver_host_viewers{host=\"m1.example:8080\"} 80",
            "crtmpserver_host_max_kbit_per_second{host=\"m2.example:8080\"} 1000000",
            "crtmpserver_host_weight{host=\"m3.example:8080\"} 50",
        ] {
            assert!(page.lines().any(|l| l == line), "{line} is not in\n{page}");
        }
    }

    #[test]
    fn the_page_is_bounded_and_mirrors_have_none() {
        let hosts: Vec<_> = (0..1000).map(|n| host(n, Load::default())).collect();
        let of_master = page("master", hosts.clone());
        let rows = of_master.matches("crtmpserver_host_viewers{").count();
        assert_eq!(rows, MAX_MIRRORS_MEASURED);
        assert!(of_master.contains("crtmpserver_cluster_hosts{state=\"ready\"} 1000\n"));
        let used = |l: &str| l.starts_with("crtmpserver_cluster_used ");
        assert!(!of_master.lines().any(used), "nothing is bounded");
        assert!(!page("mirror", hosts).contains("cluster"));
    }
}
