//! The table `[cluster]`: what the public is told of this server, and what its mirrors may say.

use super::build::Build;
use super::file;
use super::settings::{Cluster, Role};
use crate::cluster::address::check_template;
use crate::rtmp::mirror::host::MAX_WEIGHT;

impl Build<'_> {
    pub(super) fn cluster(&mut self, file: file::Cluster, role: Role) -> Cluster {
        for key in [
            "cluster.metadata",
            "cluster.rtmp_port",
            "cluster.http_port",
            "cluster.https_port",
            "cluster.weight",
        ] {
            if role == Role::Master && self.says(key) {
                self.wrong(
                    key,
                    "has no meaning on a master, which the public does not meet; remove it",
                );
            }
        }
        let mut cluster = Cluster {
            host: file.host.unwrap_or_default(),
            metadata: file.metadata.unwrap_or_default(),
            ..Cluster::default()
        };
        if let Err(message) = check_template(&cluster.host) {
            self.wrong("cluster.host", message);
            cluster.host.clear();
        }
        for (key, port, said) in [
            ("cluster.rtmp_port", &mut cluster.rtmp_port, file.rtmp_port),
            ("cluster.http_port", &mut cluster.http_port, file.http_port),
            (
                "cluster.https_port",
                &mut cluster.https_port,
                file.https_port,
            ),
        ] {
            *port = said;
            if said == Some(0) {
                self.wrong(key, "0 is not from 1 to 65535");
            }
        }
        cluster.weight = file.weight;
        if let Some(weight) = file.weight
            && !(1..=MAX_WEIGHT).contains(&weight)
        {
            self.wrong(
                "cluster.weight",
                format!("{weight} is not from 1 to {MAX_WEIGHT}"),
            );
        }
        for item in file.allow.unwrap_or_default().0 {
            match item.parse() {
                Ok(allowed) => cluster.allow.push(allowed),
                Err(message) => self.wrong("cluster.allow", message),
            }
        }
        cluster
    }
}
