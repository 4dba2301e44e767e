//! `pullStream`, `pushStream`, and what became of them.

use serde_json::{Map, Value, json};

use super::grammar::Line;
use super::{Control, Done, check_keys, number, switch};
use crate::media::check_name;
use crate::remote::{Direction, Origin, Password, Row, Spec, Wish};

/// What both have.
const COMMON: &[&str] = &[
    "uri",
    "localStreamName",
    "keepAlive",
    "tcUrl",
    "pageUrl",
    "swfUrl",
    "emulateUserAgent",
    "user",
    "password",
    "caFile",
];
/// What only a pull has.
const OF_PULL: &[&str] = &["transport"];
/// What only a push has.
const OF_PUSH: &[&str] = &["targetStreamName", "targetStreamType"];
/// What the original's users write, and what has no meaning for RTMP, or no other than what is done anyway;
/// RTSP is over TCP unless `transport` says otherwise.
const IGNORED: &[&str] = &[
    "forceTcp",
    "ttl",
    "tos",
    "rtcpDetectionInterval",
    "rangeStart",
    "rangeEnd",
    "isAudio",
    "audioCodecBytes",
    "spsBytes",
    "ppsBytes",
    "ssmIp",
    "sendRenewStream",
    "rtmpAbsoluteTimestamps",
    "sendChunkSizeRequest",
    "useSourcePts",
    "saveMetadata",
    "groupName",
    "operationType",
];

/// What `emulateUserAgent` may say in short.
fn agent(word: String) -> String {
    match word.to_ascii_lowercase().as_str() {
        "fmle" => "FMLE/3.0 (compatible; FMSc/1.0)".to_owned(),
        "wirecast" => "Wirecast/FM 1.0 (compatible; FMSc/1.0)".to_owned(),
        "flash" => "MAC 11,3,300,265".to_owned(),
        "evo" => concat!("crtmpserver/", env!("CARGO_PKG_VERSION")).to_owned(),
        _ => word,
    }
}

impl Control {
    pub(super) async fn pull_stream(&self, line: &Line) -> Done {
        check_keys(line, &[COMMON, OF_PULL], IGNORED)?;
        let uri = line.text("uri").ok_or("uri= is missing")?;
        let stream = match line.text("localStreamName") {
            Some(name) => name,
            None => name_there(&uri)?,
        };
        let rtmp = wish(line, uri);
        let wish = Wish {
            stream: self.full_name(&stream),
            transport: line.text("transport"),
            ..match is_rtsp(&rtmp.uri) {
                false => rtmp,
                // They say nothing over RTSP.
                true => Wish {
                    tc_url: None,
                    page_url: None,
                    swf_url: None,
                    flash_ver: None,
                    ..rtmp
                },
            }
        };
        self.remote(Direction::Pull, wish, line).await
    }

    pub(super) async fn push_stream(&self, line: &Line) -> Done {
        check_keys(line, &[COMMON, OF_PUSH], IGNORED)?;
        let uri = line.text("uri").ok_or("uri= is missing")?;
        let stream = line.text("localStreamName");
        let stream = self.full_name(stream.as_deref().unwrap_or("*"));
        // The original took the whole path for the application, so that there is always a name.
        let own = stream.split_once('/').map(|(_, name)| name.to_owned());
        let own = own.filter(|name| name != "*");
        let target = line.text("targetStreamName").or(own);
        let wish = Wish {
            stream,
            target: target.map(Password::new),
            kind: line.text("targetStreamType"),
            ..wish(line, uri)
        };
        self.remote(Direction::Push, wish, line).await
    }

    async fn remote(&self, direction: Direction, wish: Wish, line: &Line) -> Done {
        let keep = switch(line, "keepAlive", true)?;
        let known = (self.applications)();
        let spec = Spec::new(direction, wish, &known)
            .map_err(|wrong| format!("{}: {}", key(wrong.key), wrong.message))?;
        let shown = spec.to_string();
        let added = self.remotes.add(spec, keep).await;
        let id = added.map_err(|e| e.to_string())?;
        let rows = self.remotes.board().rows();
        let row = rows.iter().find(|row| row.id == id);
        let data = row.map_or(Value::Null, config);
        let kept = match (keep, self.remotes.remembers()) {
            (true, false) => "; it ends with this process, which has no folder for its state",
            _ => "",
        };
        Ok((format!("{shown} is number {id}{kept}"), data))
    }

    /// A name without an application is one of the first application.
    pub(super) fn full_name(&self, name: &str) -> String {
        if name.contains('/') {
            return name.to_owned();
        }
        let known = (self.applications)();
        let first = known.names().next().map_or("live", |app| &**app);
        format!("{first}/{name}")
    }

    pub(super) fn list_config(&self) -> (String, Value) {
        let rows = self.remotes.board().rows();
        let of = |direction: Direction| {
            let rows = rows.iter().filter(|row| row.spec.direction == direction);
            let own = rows.filter(|row| !matches!(row.origin, Origin::Each(_)));
            own.map(config).collect::<Vec<_>>()
        };
        let none: [Value; 0] = [];
        let data = json!({
            "dash": none,
            "hds": none,
            "hls": none,
            "mss": none,
            "process": none,
            "pull": of(Direction::Pull),
            "push": of(Direction::Push),
            "record": self.record_configs(),
        });
        ("Run-time configuration".to_owned(), data)
    }

    fn config_row(&self, line: &Line) -> Result<Option<Row>, String> {
        let id: u64 = number(line, "id")?.ok_or("id= is missing; listConfig has it")?;
        let rows = self.remotes.board().rows().into_iter();
        Ok(rows.into_iter().find(|row| u64::from(row.id) == id))
    }

    pub(super) fn config_info(&self, line: &Line) -> Done {
        let data = match self.config_row(line)? {
            Some(row) => config(&row),
            None => self.record_config(line)?,
        };
        Ok(("Configuration Info".to_owned(), data))
    }

    pub(super) async fn remove_config(&self, line: &Line) -> Done {
        let Some(row) = self.config_row(line)? else {
            return self.remove_record(line);
        };
        self.end_remote(&row, true).await?;
        Ok((format!("Configuration {} removed", row.id), config(&row)))
    }
}

fn is_rtsp(uri: &str) -> bool {
    let scheme = uri.split("://").next().unwrap_or_default();
    ["rtsp", "rtsps"]
        .iter()
        .any(|s| s.eq_ignore_ascii_case(scheme))
}

/// The name that a source has on its server. What is none is not repeated: cameras have passwords there.
fn name_there(uri: &str) -> Result<String, String> {
    let path = uri.split('?').next().unwrap_or_default();
    let name = path.rsplit('/').next().unwrap_or_default();
    check_name(name)
        .map_err(|_| "localStreamName= is missing, and the uri has no name at its end")?;
    Ok(name.to_owned())
}

/// What a pull and a push have in common.
fn wish(line: &Line, uri: String) -> Wish {
    Wish {
        uri,
        user: line.text("user"),
        password: line.text("password").map(Password::new),
        tc_url: line.text("tcUrl"),
        page_url: line.text("pageUrl"),
        swf_url: line.text("swfUrl"),
        flash_ver: line.text("emulateUserAgent").map(agent),
        ca_file: line.text("caFile").map(Into::into),
        ..Wish::default()
    }
}

/// A key of the configuration as a line has it.
fn key(key: &'static str) -> &'static str {
    match key {
        "stream" => "localStreamName",
        "target" => "targetStreamName",
        "type" => "targetStreamType",
        "tc_url" => "tcUrl",
        "page_url" => "pageUrl",
        "swf_url" => "swfUrl",
        "flash_ver" => "emulateUserAgent",
        "ca_file" => "caFile",
        other => other,
    }
}

/// One of them in the names that its users know. What is secret is left out.
pub(super) fn config(row: &Row) -> Value {
    let spec = &row.spec;
    let wish = &spec.wish;
    let local = spec.local.to_string();
    let (app, name) = local.split_once('/').unwrap_or(("", &local));
    // A query may be a secret, and so may what is in front of an @.
    let text = |text: &Option<String>| {
        let text = text.as_deref().unwrap_or_default();
        let text = spec.without_secrets(text.split('?').next().unwrap_or_default());
        match text.split_once("://") {
            Some((scheme, rest)) if rest.contains('@') => {
                let rest = rest.rsplit('@').next().unwrap_or_default();
                format!("{scheme}://***@{rest}")
            }
            _ => text,
        }
    };
    let address = &spec.address;
    let server = address.server();
    let scheme = server.split("://").next().unwrap_or_default();
    let mut map = Map::new();
    let mut put = |key: &str, value: Value| drop(map.insert(key.to_owned(), value));
    put("appName", app.into());
    put("configId", row.id.into());
    put("emulateUserAgent", text(&wish.flash_ver).into());
    put("fromConfigurationFile", (row.origin == Origin::File).into());
    put("keepAlive", row.keep.into());
    put("localStreamName", name.into());
    put("pageUrl", text(&wish.page_url).into());
    put(
        "splitURI",
        json!({
            "host": address.host,
            "port": address.port,
            "scheme": scheme,
            "userName": spec.login.as_ref().map_or("", |(user, _)| user.as_str()),
        }),
    );
    put("status", status(row));
    put("swfUrl", text(&wish.swf_url).into());
    if spec.direction == Direction::Push {
        put("targetStreamType", spec.kind.as_str().into());
    }
    put("tcUrl", text(&wish.tc_url).into());
    put("uri", spec.shown().into());
    Value::Object(map)
}

fn status(row: &Row) -> Value {
    let progress = &row.progress;
    let failure = progress.failure.as_ref();
    json!({
        "connections": progress.connections,
        "current": {
            "code": failure.map_or("", |f| f.code),
            "description": failure.map_or("", |f| f.text.as_str()),
            "state": progress.phase.as_str(),
        },
        "failures": progress.failures,
    })
}
