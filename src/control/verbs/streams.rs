//! The streams, in the words of the original.

use std::time::Instant;

use serde_json::{Value, json};

use super::grammar::Line;
use super::{Control, Done, number, switch};
use crate::auth::masked;
use crate::control::model::Stream;
use crate::control::protocol::{Page, Verb};
use crate::limits::{MAX_CONTROL_PAGE, MAX_VERB_ROWS};
use crate::media::StreamName;
use crate::remote::{Direction, Local, Phase, Row};
use crate::system::wall_ms;

/// What there is at one moment, each with its number.
struct Listed {
    inbound: Vec<(u64, Stream)>,
    /// Pushes that have a connection.
    outbound: Vec<(u64, Row)>,
    pulls: Vec<Row>,
}

/// One of them.
#[derive(Clone, Copy)]
enum Meant<'a> {
    In(u64, &'a Stream),
    Out(u64, &'a Row),
}

impl Control {
    /// All streams by name, at most [`MAX_VERB_ROWS`].
    async fn all_streams(&self) -> Vec<Stream> {
        let mut all = Vec::new();
        let mut after = None;
        while all.len() < MAX_VERB_ROWS {
            let page = Page {
                after,
                limit: MAX_CONTROL_PAGE,
            };
            let answer = self.answer(Verb::Streams(page)).await;
            all.extend(answer.streams.unwrap_or_default());
            after = answer.next;
            if after.is_none() {
                break;
            }
        }
        all
    }

    async fn listed(&self) -> Listed {
        let streams = self.all_streams().await;
        let rows = self.remotes.board().rows().into_iter();
        let (pulls, pushes): (Vec<Row>, Vec<Row>) =
            rows.partition(|row| row.spec.direction == Direction::Pull);
        let up = |row: &Row| matches!(row.progress.phase, Phase::Connected | Phase::Live);
        let pushes: Vec<Row> = pushes.into_iter().filter(up).collect();
        // No stream has a name with a space.
        let names = streams.iter().map(|stream| stream.name.clone());
        let more = pushes.iter().map(|row| format!("push {}", row.id));
        let mut ids = self.ids.of(names.chain(more).collect()).into_iter();
        Listed {
            inbound: ids.by_ref().zip(streams).collect(),
            outbound: ids.zip(pushes).collect(),
            pulls,
        }
    }

    pub(super) async fn list_streams(&self, out: bool) -> Done {
        let listed = self.listed().await;
        let inbound = listed.inbound.iter();
        let mut list: Vec<Value> = inbound
            .map(|(id, one)| listed.inbound_row(*id, one))
            .collect();
        if out {
            let outbound = listed.outbound.iter();
            list.extend(outbound.map(|(id, row)| listed.outbound_row(*id, row)));
        }
        Ok(("Available streams".to_owned(), list.into()))
    }

    pub(super) async fn list_streams_ids(&self) -> Done {
        let listed = self.listed().await;
        let inbound = listed.inbound.iter().map(|(id, _)| *id);
        let outbound = listed.outbound.iter().map(|(id, _)| *id);
        let ids: Vec<u64> = inbound.chain(outbound).collect();
        Ok(("Available stream IDs".to_owned(), ids.into()))
    }

    pub(super) fn list_stream_names(&self) -> Done {
        let streams = self.hub.streams();
        let mut names: Vec<&StreamName> = streams.iter().map(|stream| stream.name()).collect();
        names.sort();
        names.truncate(MAX_VERB_ROWS);
        let row = |name: &StreamName| json!({ "appName": name.app(), "name": name.name() });
        let list: Vec<Value> = names.into_iter().map(row).collect();
        Ok(("Available inbound streams".to_owned(), list.into()))
    }

    pub(super) fn streams_count(&self) -> Done {
        let count = self.hub.streams().len();
        let data = json!({ "streamCount": count });
        Ok(("Active streams count".to_owned(), data))
    }

    /// The stream that a line names.
    pub(super) fn named(&self, line: &Line) -> Result<Option<StreamName>, String> {
        let Some(text) = line.text("localStreamName") else {
            return Ok(None);
        };
        let text = self.full_name(&text);
        let (app, name) = text.split_once('/').unwrap_or(("", &text));
        let name = StreamName::new(app, name).map_err(|e| format!("localStreamName: {e}"))?;
        Ok(Some((self.applications)().meant(&name)))
    }

    /// Which of those a line means, by its name or its number.
    fn meant<'a>(&self, line: &Line, listed: &'a Listed) -> Result<Meant<'a>, String> {
        if let Some(name) = self.named(line)? {
            let name = name.to_string();
            let found = listed.inbound.iter().find(|(_, one)| one.name == name);
            let (id, one) = found.ok_or_else(|| format!("there is no stream {}", masked(&name)))?;
            return Ok(Meant::In(*id, one));
        }
        let wanted: u64 = number(line, "id")?.ok_or("id= or localStreamName= is missing")?;
        let inbound = listed.inbound.iter().find(|(id, _)| *id == wanted);
        let outbound = listed.outbound.iter().find(|(id, _)| *id == wanted);
        match (inbound, outbound) {
            (Some((id, one)), _) => Ok(Meant::In(*id, one)),
            (_, Some((id, row))) => Ok(Meant::Out(*id, row)),
            (None, None) => Err(format!("there is no stream {wanted}; see listStreamsIds")),
        }
    }

    pub(super) async fn stream_info(&self, line: &Line) -> Done {
        let listed = self.listed().await;
        let data = match self.meant(line, &listed)? {
            Meant::In(id, one) => listed.inbound_row(id, one),
            Meant::Out(id, row) => listed.outbound_row(id, row),
        };
        Ok(("Stream information".to_owned(), data))
    }

    pub(super) async fn is_stream_running(&self, line: &Line) -> Done {
        let there = match (self.named(line)?, number::<u64>(line, "id")?) {
            (Some(name), _) => self.hub.get(&name).is_some(),
            (None, Some(id)) => {
                let listed = self.listed().await;
                let inbound = listed.inbound.iter().any(|(other, _)| *other == id);
                inbound || listed.outbound.iter().any(|(other, _)| *other == id)
            }
            (None, None) => return Err("id= or localStreamName= is missing".to_owned()),
        };
        let data = json!({ "isRunning": there });
        Ok(("Stream status".to_owned(), data))
    }

    pub(super) async fn shutdown_stream(&self, line: &Line) -> Done {
        let permanently = switch(line, "permanently", true)?;
        let listed = self.listed().await;
        let stream = match self.meant(line, &listed)? {
            Meant::In(_, stream) => stream,
            Meant::Out(_, row) => {
                self.end_remote(row, permanently).await?;
                let what = format!("the push to {} is ended", row.spec.shown());
                return Ok((what, Value::Null));
            }
        };
        let name = &stream.name;
        if let Some(row) = listed.pull_of(stream) {
            self.end_remote(row, permanently).await?;
            return Ok((format!("the pull of {name} is ended"), Value::Null));
        }
        // An encoder's connection ends; who watches waits for the next one.
        let kicked = self.answer(Verb::KickPublisher(name.clone())).await;
        match kicked.error {
            None => Ok((format!("the publisher of {name} is gone"), Value::Null)),
            Some(refusal) => Err(refusal.message),
        }
    }

    /// Ends a pull or a push: for good, or until it has connected again.
    pub(super) async fn end_remote(&self, row: &Row, permanently: bool) -> Result<(), String> {
        if !permanently {
            return self.remotes.again(row.id).map_err(|e| e.to_string());
        }
        let removed = self.remotes.remove(row.id).await;
        removed.map_err(|e| e.to_string())?;
        // The stream does not wait for what does not come back. An encoder that has the name keeps it.
        if row.spec.direction == Direction::Pull
            && let Local::One(name) = &row.spec.local
            && let Some(stream) = self.hub.get(name)
            && stream.info(Instant::now()).identity == Some(Row::identity(row.id))
        {
            self.hub.end(name);
        }
        Ok(())
    }
}

impl Listed {
    /// The pull that a stream is from, if it is from one.
    fn pull_of(&self, stream: &Stream) -> Option<&Row> {
        if stream.publisher_id.is_some() {
            return None;
        }
        let of = |row: &&Row| {
            // One that waits for the name is not the source.
            let live = stream.state != "live" || row.progress.phase == Phase::Live;
            live && row.spec.local.to_string() == stream.name
        };
        self.pulls.iter().find(of)
    }

    fn inbound_row(&self, id: u64, stream: &Stream) -> Value {
        let (app, name) = stream.name.split_once('/').unwrap_or(("", &stream.name));
        let pushed = |row: &Row| row.spec.local.to_string() == stream.name;
        let outs = self.outbound.iter().filter(|(_, row)| pushed(row));
        let outs: Vec<u64> = outs.map(|(id, _)| *id).collect();
        let now = wall_ms();
        let mut value = json!({
            "appName": app,
            "audio": { "codec": stream.audio.as_deref().unwrap_or_default() },
            "bandwidth": stream.kbit_per_second,
            "bytesCount": stream.bytes,
            "creationTimestamp": stream.since_ms,
            "name": name,
            "outStreamsUniqueIds": outs,
            "packetsCount": stream.frames,
            "queryTimestamp": now,
            "source": stream.source,
            "state": stream.state,
            "type": "INR",
            "uniqueId": id,
            "upTime": now.saturating_sub(stream.since_ms),
            "userAgent": stream.encoder.as_deref().unwrap_or_default(),
            "video": {
                "codec": stream.video.as_deref().unwrap_or_default(),
                "droppedPacketsCount": stream.dropped,
                "framesPerSecond": stream.fps,
            },
            "viewers": {
                "flv": stream.viewers.flv,
                "hls": stream.viewers.hls,
                "mirrors": stream.viewers.mirror,
                "rtmp": stream.viewers.rtmp,
            },
        });
        let mut put = |key: &str, more: Value| {
            if let Some(map) = value.as_object_mut() {
                map.insert(key.to_owned(), more);
            }
        };
        if let Some((ip, port)) = stream.peer.as_deref().and_then(|p| p.rsplit_once(':')) {
            put("farIp", ip.trim_matches(['[', ']']).into());
            put("farPort", port.parse::<u16>().unwrap_or_default().into());
        }
        if let Some(row) = self.pull_of(stream) {
            put("pullSettings", super::configs::config(row));
        }
        value
    }

    fn outbound_row(&self, id: u64, row: &Row) -> Value {
        let local = row.spec.local.to_string();
        let source = self.inbound.iter().find(|(_, one)| one.name == local);
        let (app, name) = local.split_once('/').unwrap_or(("", &local));
        json!({
            "appName": app,
            "bytesCount": row.progress.bytes,
            "droppedPacketsCount": row.progress.skipped,
            "farIp": row.spec.address.host,
            "farPort": row.spec.address.port,
            "inStreamUniqueId": source.map(|(id, _)| *id),
            "name": name,
            "packetsCount": row.progress.frames,
            "pushSettings": super::configs::config(row),
            "state": row.progress.phase.as_str(),
            "type": "ONR",
            "uniqueId": id,
        })
    }
}
