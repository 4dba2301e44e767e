//! The table `[listen]`: addresses, and the control socket.

use std::net::SocketAddr;
use std::path::Path;

use super::build::Build;
use super::file;
use super::settings::{ControlAt, Listen};
use super::value::List;
use crate::limits::MAX_SOCKET_PATH;

impl file::Listen {
    /// The lists of tables, which are looked at by themselves.
    pub(super) fn take_ways(&mut self) -> file::Ways {
        file::Ways {
            liveflv: std::mem::take(&mut self.liveflv),
            ts: std::mem::take(&mut self.ts),
            rtsp: std::mem::take(&mut self.rtsp),
        }
    }
}

impl Build<'_> {
    pub(super) fn listen(&mut self, file: file::Listen, listen: &mut Listen) {
        if let Some(list) = file.rtmp {
            listen.rtmp = self.addresses("listen.rtmp", &list);
        }
        if let Some(list) = file.http {
            listen.http = self.addresses("listen.http", &list);
        }
        if let Some(list) = file.rtmps {
            listen.rtmps = self.addresses("listen.rtmps", &list);
        }
        if let Some(list) = file.https {
            listen.https = self.addresses("listen.https", &list);
        }
        listen.control = match file.control {
            None => ControlAt::Usual,
            Some(path) if path.as_os_str().is_empty() => ControlAt::Off,
            Some(path) => self.control(&path),
        };
        if let Some(list) = file.cli {
            listen.cli = self.addresses("listen.cli", &list);
            if let Some(open) = listen.cli.iter().find(|a| !a.ip().is_loopback()) {
                let why = format!(
                    "{open} is not of this machine alone, and whoever reaches the command line may do everything; write \"127.0.0.1:1112\" or \"[::1]:1112\""
                );
                self.wrong("listen.cli", why);
            }
        }
        let lists = [
            ("listen.rtmp", &listen.rtmp),
            ("listen.http", &listen.http),
            ("listen.rtmps", &listen.rtmps),
            ("listen.https", &listen.https),
            ("listen.cli", &listen.cli),
        ];
        if lists
            .iter()
            .all(|(key, list)| list.is_empty() || *key == "listen.cli")
        {
            self.wrong(
                "listen",
                "nothing to listen on; write rtmp = [\"[::]:1935\"] or http = [\"[::]:8080\"]",
            );
        }
        for (i, (key, list)) in lists.iter().enumerate() {
            let before = lists.iter().take(i);
            for address in list.iter().filter(|a| a.port() != 0) {
                if let Some((other, _)) = before.clone().find(|(_, l)| l.contains(address)) {
                    self.wrong(key, format!("{address} is an address of {other} already"));
                }
            }
        }
    }

    fn control(&mut self, path: &Path) -> ControlAt {
        let path = self.path(path);
        // The system's address of a socket has no room for more (unix(7)).
        if path.as_os_str().len() > MAX_SOCKET_PATH {
            self.wrong(
                "listen.control",
                format!("is longer than the {MAX_SOCKET_PATH} bytes that a socket's path may have"),
            );
        }
        ControlAt::Path(path)
    }

    fn addresses(&mut self, key: &str, list: &List) -> Vec<SocketAddr> {
        let mut addresses: Vec<SocketAddr> = Vec::new();
        for item in &list.0 {
            match item.parse::<SocketAddr>() {
                Ok(a) if a.port() != 0 && addresses.contains(&a) => {
                    self.wrong(key, format!("{item:?} is there twice"));
                }
                Ok(address) => addresses.push(address),
                Err(_) => self.wrong(
                    key,
                    format!("{item:?} is no address and port; write \"[::]:1935\" for all, \"127.0.0.1:1935\" or \"[2001:db8::1]:1935\" for one"),
                ),
            }
        }
        addresses
    }
}
