//! From what the file says to what the program runs: every value checked, every problem noted.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::file::{self, File};
use super::layers::Layers;
use super::problem::Problem;
use super::publish::Holders;
use super::settings::{Lack, Mirror, Role, Settings};
use super::value::{List, MasterUrl, Most, Size, Span};
use crate::auth::{Applications, Networks};
use crate::limits::{Limits, MAX_CHUNK_SIZE};
use crate::media::StreamName;

/// Notes problems while it builds; what is wrong keeps its default, so that the rest is checked too.
pub(super) struct Build<'a> {
    pub(super) layers: &'a Layers,
    /// Where paths that are not absolute begin: the folder of the file, when there is one.
    base: Option<PathBuf>,
    pub(super) problems: Vec<Problem>,
}

impl<'a> Build<'a> {
    pub(super) const fn new(layers: &'a Layers, base: Option<PathBuf>) -> Self {
        Self {
            layers,
            base,
            problems: Vec::new(),
        }
    }

    pub(super) fn settings(&mut self, file: File) -> Settings {
        let role = file.role.unwrap_or_default();
        let mut settings = Settings::for_role(role);
        if role != Role::Mirror && !cfg!(feature = "publish") {
            self.wrong(
                "role",
                "this program was built without publishing; the one role it has is \"mirror\"",
            );
        }
        self.applications(&file, &mut settings);
        let mut listen = file.listen;
        let ways = listen.take_ways();
        self.listen(listen, &mut settings.listen);
        self.tls(file.tls, &mut settings);
        #[cfg(feature = "publish")]
        self.publish(file.publish, &mut settings);
        self.ways(ways, &mut settings);
        if let Some(list) = file.play.networks {
            settings.play.networks = self.networks("play.networks", &list);
        }
        set_span(&mut settings.play.wait, file.play.wait);
        self.in_range("play.wait", settings.play.wait, SECONDS_0_TO_3600);
        self.master(&file.master, &mut settings);
        self.mirror(file.mirror, &mut settings);
        settings.cluster = self.cluster(file.cluster, role);
        self.relay(&file.relay, &mut settings);
        self.hls(&file.hls, &mut settings);
        self.files(file.files, file.record, &mut settings);
        self.remotes(file.pull.is_some(), file.push.is_some(), &mut settings);
        self.limits(&file.limits, &mut settings.limits);
        let most = |given: Option<Most>| given.and_then(|most| most.0);
        settings.limits.max_viewers = most(file.limits.max_viewers);
        settings.limits.max_mbit_s = most(file.limits.max_mbit_s);
        if settings.relay.log_bytes < settings.limits.max_video {
            self.wrong(
                "relay.log_bytes",
                "must hold at least one message of limits.max_video",
            );
        }
        self.process(file.log, file.server, &mut settings);
        settings
    }

    /// Looks into the files that hold users, keys and secrets. Warnings, and how many there are.
    pub(super) fn inspect(&mut self, settings: &mut Settings) -> (Vec<String>, Holders) {
        let mut warnings = Vec::new();
        // An image or a package has the name of the file before it has the file.
        if settings.role.is_mirror()
            && let Some(path) = settings.secret_file.take_if(|path| is_missing(path))
        {
            settings.lack = Some(Lack::SecretFile(path));
        }
        warnings.extend(settings.lack().map(|lack| lack.to_string()));
        self.missing_folders(settings, &mut warnings);
        if !cfg!(feature = "publish") && self.layers.says("publish") {
            warnings.push("publish: left out, as this program was built without publishing".into());
        }
        let secret_key = match settings.role {
            Role::Mirror => "mirror.secret_file",
            Role::Standalone | Role::Master => "master.secret_file",
        };
        match settings.policy() {
            Ok((_, warning)) => warnings.extend(warning),
            Err(e) => {
                let path = settings.secret_file.as_deref();
                let missing = path.is_some_and(|path| !path.exists());
                let hint = if missing {
                    "; `crtmpserver secret FILE` makes it"
                } else {
                    ""
                };
                self.wrong(secret_key, format!("{e}{hint}"));
            }
        }
        self.inspect_tls(settings, &mut warnings);
        self.inspect_remotes(settings, &mut warnings);
        Self::inspect_ways(settings, &mut warnings);
        #[cfg(feature = "publish")]
        let holders = self.inspect_publish(settings, &mut warnings);
        #[cfg(not(feature = "publish"))]
        let holders = Holders::default();
        (warnings, holders)
    }

    /// Whether any layer says something of this key.
    pub(super) fn says(&self, key: &str) -> bool {
        self.layers.says(key)
    }

    pub(super) fn wrong(&mut self, key: &str, message: impl Into<String>) {
        let problem = self.layers.problem(key, message.into());
        self.problems.push(problem);
    }

    pub(super) fn path(&self, path: &Path) -> PathBuf {
        self.base
            .as_ref()
            .map_or_else(|| path.to_owned(), |base| base.join(path))
    }

    pub(super) fn networks(&mut self, key: &str, list: &List) -> Networks {
        let mut networks = Networks::none();
        for item in &list.0 {
            if let Err(message) = networks.add(item) {
                self.wrong(key, message);
            }
        }
        networks
    }

    fn applications(&mut self, file: &File, settings: &mut Settings) {
        if let Some(list) = &file.applications {
            settings.applications = Applications::none();
            if list.0.is_empty() {
                self.wrong(
                    "applications",
                    "is empty; write at least one, such as [\"live\"]",
                );
            }
            for name in &list.0 {
                if let Err(message) = settings.applications.add(name) {
                    self.wrong("applications", message);
                }
            }
        }
        // Whoever names some of his own has the usual ones too, where they are free.
        let usual = settings.role == Role::Standalone;
        if usual && file.applications.is_none() {
            settings.applications = Applications::default();
        }
        for (alias, name) in &file.aliases {
            if let Err(message) = settings.applications.add_alias(alias, name) {
                self.wrong(&format!("aliases.{alias}"), message);
            }
        }
        if usual {
            settings.applications.add_usual();
        }
    }

    fn master(&mut self, file: &file::Master, settings: &mut Settings) {
        match (&file.secret_file, settings.role) {
            (Some(_), Role::Mirror) => self.wrong(
                "master.secret_file",
                "has no meaning on a mirror; its secret is mirror.secret_file",
            ),
            (Some(path), _) => settings.secret_file = Some(self.path(path)),
            (None, Role::Master) if settings.play.networks.is_empty() => self.wrong(
                "master.secret_file",
                "nobody could play from this master; name the file with the secret shared with its mirrors (`crtmpserver secret FILE` makes one), or networks in play.networks",
            ),
            (None, _) => {}
        }
    }

    fn mirror(&mut self, file: file::Mirror, settings: &mut Settings) {
        if settings.role != Role::Mirror {
            for key in [
                "mirror.master",
                "mirror.secret_file",
                "mirror.ca_file",
                "mirror.streams",
            ] {
                if self.layers.says(key) {
                    self.wrong(
                        key,
                        format!(
                            "has no meaning on a {}; write role = \"mirror\" or remove it",
                            settings.role
                        ),
                    );
                }
            }
            return;
        }
        let master = file.master.filter(|text| !text.trim().is_empty());
        let master = match master.map(|text| text.parse::<MasterUrl>()).transpose() {
            Ok(master) => master,
            Err(message) => return self.wrong("mirror.master", message),
        };
        let mut streams = Vec::new();
        for item in file.streams.unwrap_or_default().0 {
            match self.stream(&item, &settings.applications) {
                Ok(stream) => streams.push(stream),
                Err(message) => self.wrong("mirror.streams", message),
            }
        }
        if file.secret_file.is_some() && !streams.is_empty() {
            self.wrong(
                "mirror.streams",
                "is for a foreign master, which knows no secret; remove it, or mirror.secret_file",
            );
        }
        settings.secret_file = match file.secret_file {
            Some(path) => Some(self.path(&path)),
            None if self.layers.says("mirror.streams") => None,
            None => self.base.as_ref().map(|base| base.join(MIRROR_SECRET)),
        };
        if settings.secret_file.is_none() && !self.layers.says("mirror.streams") {
            settings.lack = Some(Lack::Secret);
        }
        let ca_file = file.ca_file.map(|path| self.path(&path));
        if let (Some(master), Some(_)) = (&master, &ca_file)
            && !master.tls
        {
            self.wrong(
                "mirror.ca_file",
                format!(
                    "is for a master in TLS; write mirror.master = \"rtmps://{}\", or remove it",
                    master.host
                ),
            );
        }
        settings.mirror = master.map(|master| Mirror {
            master,
            ca_file,
            streams,
        });
    }

    fn stream(&self, text: &str, applications: &Applications) -> Result<StreamName, String> {
        let right = "write \"APPLICATION/STREAM\", such as \"live/event\"";
        let (app, name) = text
            .split_once('/')
            .ok_or_else(|| format!("{text:?} is no stream; {right}"))?;
        if applications
            .resolve(app)
            .is_none_or(|known| **known != *app)
        {
            return Err(format!(
                "{app:?} is not in the list of applications; add it there"
            ));
        }
        StreamName::new(app, name).map_err(|e| format!("{text:?}: {e}; {right}"))
    }

    fn relay(&mut self, file: &file::Relay, settings: &mut Settings) {
        let relay = &mut settings.relay;
        if let Some(Size(bytes)) = file.log_bytes {
            relay.log_bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        }
        set_span(&mut relay.log_time, file.log_time);
        set(&mut relay.log_frames, file.log_frames);
        set(&mut relay.join, file.join);
        set_span(&mut relay.join_max, file.join_max);
        if let Some(latency) = file.latency {
            relay.latency = latency.0;
        }
        if let Some(grace) = file.grace {
            relay.grace = grace.0;
        }
        let relay = settings.relay;
        self.size_in_range("relay.log_bytes", relay.log_bytes, (1 << 20)..=(4 << 30));
        self.in_range("relay.log_time", relay.log_time, 1..=600);
        if !(64..=1_000_000).contains(&relay.log_frames) {
            self.wrong(
                "relay.log_frames",
                format!("{} is not from 64 to 1000000", relay.log_frames),
            );
        }
        if relay.join_max > relay.log_time {
            self.wrong(
                "relay.join_max",
                "is longer than relay.log_time, and no more than that is kept",
            );
        }
    }

    fn limits(&mut self, file: &file::Limits, limits: &mut Limits) {
        // A limit that is added is not forgotten here.
        let Limits {
            max_connections: _,
            max_pending_per_address: _,
            max_pending: _,
            handshake_timeout: _,
            connect_timeout: _,
            idle_timeout: _,
            publish_timeout: _,
            ping_after: _,
            silence_timeout: _,
            send_timeout: _,
            min_chunk_size: _,
            max_audio: _,
            max_video: _,
            max_streams: _,
            max_viewers: _,
            max_mbit_s: _,
        } = limits;
        set(&mut limits.max_connections, file.max_connections);
        set(
            &mut limits.max_pending_per_address,
            file.max_pending_per_address,
        );
        set(&mut limits.max_pending, file.max_pending);
        set(&mut limits.max_streams, file.max_streams);
        set(&mut limits.min_chunk_size, file.min_chunk_size);
        for (key, value) in [
            ("limits.max_connections", limits.max_connections),
            (
                "limits.max_pending_per_address",
                limits.max_pending_per_address,
            ),
            ("limits.max_pending", limits.max_pending),
            ("limits.max_streams", limits.max_streams),
        ] {
            if !(1..=10_000_000).contains(&value) {
                self.wrong(key, format!("{value} is not from 1 to 10000000"));
            }
        }
        if !(1..=MAX_CHUNK_SIZE).contains(&limits.min_chunk_size) {
            self.wrong(
                "limits.min_chunk_size",
                format!(
                    "{} is not from 1 to {MAX_CHUNK_SIZE}",
                    limits.min_chunk_size
                ),
            );
        }
        for (key, size, value) in [
            ("limits.max_audio", &mut limits.max_audio, file.max_audio),
            ("limits.max_video", &mut limits.max_video, file.max_video),
        ] {
            if let Some(Size(bytes)) = value {
                *size = usize::try_from(bytes).unwrap_or(usize::MAX);
            }
            // A message has at most 2^24 - 1 bytes (RTMP 1.0, section 5.3.1.2).
            self.size_in_range(key, *size, 1024..=0x00ff_ffff);
        }
        for (key, time, value) in [
            (
                "limits.handshake_timeout",
                &mut limits.handshake_timeout,
                file.handshake_timeout,
            ),
            (
                "limits.connect_timeout",
                &mut limits.connect_timeout,
                file.connect_timeout,
            ),
            (
                "limits.idle_timeout",
                &mut limits.idle_timeout,
                file.idle_timeout,
            ),
            (
                "limits.publish_timeout",
                &mut limits.publish_timeout,
                file.publish_timeout,
            ),
            ("limits.ping_after", &mut limits.ping_after, file.ping_after),
            (
                "limits.silence_timeout",
                &mut limits.silence_timeout,
                file.silence_timeout,
            ),
            (
                "limits.send_timeout",
                &mut limits.send_timeout,
                file.send_timeout,
            ),
        ] {
            set_span(time, value);
            self.in_range(key, *time, 1..=86_400);
        }
        if limits.ping_after >= limits.silence_timeout {
            self.wrong(
                "limits.silence_timeout",
                "must be longer than limits.ping_after, or no ping could be answered",
            );
        }
    }

    pub(super) fn in_range(&mut self, key: &str, time: Duration, seconds: RangeInclusive<u64>) {
        let ends = [*seconds.start(), *seconds.end()].map(Duration::from_secs);
        let [least, most] = ends;
        if time < least || time > most {
            self.wrong(
                key,
                format!(
                    "{} is not from {} to {}",
                    Span(time),
                    Span(least),
                    Span(most)
                ),
            );
        }
    }

    fn size_in_range(&mut self, key: &str, size: usize, range: RangeInclusive<usize>) {
        if !range.contains(&size) {
            let text = |n: usize| Size(u64::try_from(n).unwrap_or(u64::MAX)).to_string();
            self.wrong(
                key,
                format!(
                    "{} is not from {} to {}",
                    text(size),
                    text(*range.start()),
                    text(*range.end())
                ),
            );
        }
    }
}

/// Where a mirror has its secret, beside the configuration, when nobody says where.
const MIRROR_SECRET: &str = "secret";

/// Whether there is nothing of that name, not even something that cannot be looked at.
fn is_missing(path: &Path) -> bool {
    matches!(path.try_exists(), Ok(false))
}

pub(super) const SECONDS_0_TO_3600: RangeInclusive<u64> = 0..=3600;

pub(super) fn set<T>(target: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *target = value;
    }
}

pub(super) fn set_span(target: &mut Duration, value: Option<Span>) {
    set(target, value.map(|span| span.0));
}
