//! A good configuration in a few lines, for `crtmpserver check`.

use std::path::{Path, PathBuf};

use super::{ControlAt, Loaded, Role, Span};
use crate::record::RecordConfig;
use crate::remote::Direction;

impl Loaded {
    /// The lines of the summary that the table at start does not show: the master, who may publish,
    /// who may play, how long streams wait, what is recorded, pulled and pushed.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let shown = [
            "role",
            "rtmp",
            "http",
            "rtmps",
            "https",
            "applications",
            "liveflv",
            "ts",
            "rtsp",
        ];
        // The usual folder is none of those who have no files.
        let files = self.settings.files.folders.iter().any(|path| path.is_dir());
        self.summary()
            .into_iter()
            .filter(|(name, _)| !shown.contains(name) && (files || *name != "files"))
            .map(|(name, what)| format!("{name}: {what}"))
            .collect()
    }

    /// Lines of a name and what it comes to: role, listeners, who may publish, who may play, where files
    /// are, what is recorded, pulled and pushed.
    #[must_use]
    pub fn summary(&self) -> Vec<(&'static str, String)> {
        let s = &self.settings;
        let all = |addresses: &[std::net::SocketAddr]| {
            let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            if texts.is_empty() {
                "off".to_owned()
            } else {
                texts.join(", ")
            }
        };
        let mut lines = vec![("role", s.role.to_string())];
        if let Some(mirror) = &s.mirror {
            let streams: Vec<String> = mirror.streams.iter().map(ToString::to_string).collect();
            let what = match (streams.is_empty(), &s.secret_file) {
                _ if s.lack.is_some() => "no link yet".to_owned(),
                (false, _) => format!("a foreign server; streams {}", streams.join(", ")),
                (true, Some(path)) => format!("secret in {}", path.display()),
                (true, None) => "no stream yet".to_owned(),
            };
            lines.push(("master", format!("{}, {what}", mirror.master)));
        } else if s.role.is_mirror() {
            lines.push(("master", "none yet (mirror.master)".to_owned()));
        }
        lines.push(("rtmp", all(&s.listen.rtmp)));
        lines.push(("http", all(&s.listen.http)));
        for (name, list) in [("rtmps", &s.listen.rtmps), ("https", &s.listen.https)] {
            if !list.is_empty() {
                lines.push((name, all(list)));
            }
        }
        if let Ok(Some((certificate, _))) = s.certificate() {
            lines.push(("certificate", certificate.summary()));
        }
        match &s.listen.control {
            ControlAt::Usual => {}
            ControlAt::Off => lines.push(("control", "off".to_owned())),
            ControlAt::Path(path) => lines.push(("control", path.display().to_string())),
        }
        if !s.listen.cli.is_empty() {
            lines.push(("cli", all(&s.listen.cli)));
        }
        let applications: Vec<&str> = s.applications.names().map(|n| &**n).collect();
        lines.push(("applications", applications.join(", ")));
        lines.extend(s.ways.iter().map(|way| (way.kind.name(), way.to_string())));
        lines.push(("publish", self.publishers()));
        lines.push(("play", self.players()));
        let grace = s.relay.grace.map_or_else(
            || "until their source is back".to_owned(),
            |d| format!("{} for their source", Span(d)),
        );
        lines.push(("streams wait", grace));
        if !s.files.folders.is_empty() {
            lines.push(("files", folders(&s.files.folders)));
        }
        if s.record.is_used() {
            lines.push(("recordings", recordings(&s.record)));
        }
        for spec in &s.remotes {
            let name = match spec.direction {
                Direction::Pull => "pull",
                Direction::Push => "push",
            };
            lines.push((name, spec.to_string()));
        }
        lines
    }

    fn publishers(&self) -> String {
        let publish = &self.settings.publish;
        if self.settings.role == Role::Mirror {
            return "nobody: this is a mirror".to_owned();
        }
        let open = &publish.networks;
        let of = |path: &Option<PathBuf>, n: Option<usize>, what: &str| {
            let path = path.as_ref()?.display();
            n.map(|n| format!("the {what} of {path} ({n})"))
        };
        let all = [
            of(&publish.users, self.holders.users, "users"),
            of(&publish.keys, self.holders.keys, "stream keys"),
        ];
        let all: Vec<String> = all.into_iter().flatten().collect();
        match all.as_slice() {
            [_, ..] => format!("{}; without a login: {open}", all.join(", ")),
            _ if open.is_any() => "everyone, without a login".to_owned(),
            _ if open.is_empty() => "nobody: there are no users (publish.users)".to_owned(),
            _ => format!("{open} alone, without a login: there are no users (publish.users)"),
        }
    }

    fn players(&self) -> String {
        let networks = &self.settings.play.networks;
        match (&self.settings.secret_file, self.settings.role) {
            (Some(path), Role::Master | Role::Standalone) if !networks.is_any() => {
                format!(
                    "mirrors with the secret in {}; without it: {networks}",
                    path.display()
                )
            }
            _ => networks.to_string(),
        }
    }
}

/// A folder, and that it is missing.
fn folder(path: &Path) -> String {
    let gone = if path.is_dir() { "" } else { " (is not there)" };
    format!("{}{gone}", path.display())
}

fn folders(all: &[PathBuf]) -> String {
    let all: Vec<String> = all.iter().map(|path| folder(path)).collect();
    all.join(", ")
}

/// What is recorded without an operator's word, and where.
fn recordings(record: &RecordConfig) -> String {
    let mut what: Vec<String> = record.streams.iter().map(ToString::to_string).collect();
    if record.publishers {
        what.push("what publishers ask for".to_owned());
    }
    let (what, format) = (what.join(", "), record.format.as_str());
    format!("{what}; as {format} in {}", folder(&record.folder))
}
