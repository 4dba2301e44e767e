//! Who is connected, in the words of the original.

use serde_json::{Value, json};

use super::grammar::Line;
use super::{Control, Done, number};
use crate::control::model::{Stream, Viewer};
use crate::control::protocol::{Page, Verb};
use crate::limits::{MAX_CONTROL_PAGE, MAX_VERB_ROWS};

impl Control {
    /// Publishers and viewers, at most [`MAX_VERB_ROWS`].
    async fn connected(&self) -> (Vec<Stream>, Vec<Viewer>) {
        let page = |after| Page {
            after,
            limit: MAX_CONTROL_PAGE,
        };
        let (mut streams, mut viewers) = (Vec::new(), Vec::new());
        let mut after = None;
        while streams.len() < MAX_VERB_ROWS {
            let answer = self.answer(Verb::Streams(page(after))).await;
            let found = answer.streams.unwrap_or_default().into_iter();
            streams.extend(found.filter(|stream| stream.publisher_id.is_some()));
            after = answer.next;
            if after.is_none() {
                break;
            }
        }
        let mut after = None;
        while viewers.len() < MAX_VERB_ROWS {
            let answer = self.answer(Verb::Viewers(None, page(after))).await;
            viewers.extend(answer.viewers.unwrap_or_default());
            after = answer.next;
            if after.is_none() {
                break;
            }
        }
        viewers.truncate(MAX_VERB_ROWS);
        (streams, viewers)
    }

    async fn rows(&self) -> Vec<(u64, Value)> {
        let (streams, viewers) = self.connected().await;
        let publisher = |stream: Stream| {
            let id = stream.publisher_id.unwrap_or_default();
            let row = json!({
                "id": id,
                "peer": stream.peer.unwrap_or_default(),
                "role": "publisher",
                "since": stream.since_ms,
                "stream": stream.name,
                "userAgent": stream.encoder.unwrap_or_default(),
            });
            (id, row)
        };
        let viewer = |viewer: Viewer| {
            let row = json!({
                "bytes": viewer.bytes,
                "id": viewer.id,
                "peer": viewer.peer,
                "protocol": viewer.protocol,
                "role": "viewer",
                "since": viewer.since_ms,
                "state": viewer.state,
                "stream": viewer.stream,
            });
            (viewer.id, row)
        };
        let publishers = streams.into_iter().map(publisher);
        let mut rows: Vec<_> = publishers.chain(viewers.into_iter().map(viewer)).collect();
        rows.sort_by_key(|(id, _)| *id);
        rows
    }

    pub(super) async fn list_connections(&self) -> Done {
        let rows: Vec<Value> = self.rows().await.into_iter().map(|(_, row)| row).collect();
        Ok(("Available connections".to_owned(), rows.into()))
    }

    pub(super) async fn list_connections_ids(&self) -> Done {
        let mut ids: Vec<u64> = self.rows().await.into_iter().map(|(id, _)| id).collect();
        ids.dedup();
        Ok(("Available connection IDs".to_owned(), ids.into()))
    }

    pub(super) async fn connection_info(&self, line: &Line) -> Done {
        let wanted: u64 =
            number(line, "id")?.ok_or("id= is missing; listConnectionsIds has them")?;
        let rows = self.rows().await;
        let found = rows.into_iter().find(|(id, _)| *id == wanted);
        let (_, row) = found.ok_or_else(|| format!("there is no connection {wanted}"))?;
        Ok(("Connection information".to_owned(), row))
    }

    pub(super) fn connections_count(&self) -> Done {
        let count = self.admission.connections();
        Ok((
            "Active connections count".to_owned(),
            json!({ "connectionsCount": count }),
        ))
    }

    pub(super) fn clients_connected(&self, line: &Line) -> Done {
        let wanted = self.named(line)?;
        let streams = self.hub.streams();
        let meant = |name| wanted.as_ref().is_none_or(|wanted| wanted == name);
        let of_it = streams.iter().filter(|stream| meant(stream.name()));
        let count: usize = of_it.map(|stream| stream.viewers().total()).sum();
        Ok((
            "Number of clients connected".to_owned(),
            json!({ "clientCount": count }),
        ))
    }

    pub(super) fn list_services(&self) -> (String, Value) {
        let listeners = self.listening().clone();
        let row = |(protocol, address): &(String, String)| {
            let place = address.strip_prefix("udp://").unwrap_or(address);
            let (ip, port) = place.rsplit_once(':').unwrap_or((place, ""));
            json!({
                "ip": ip.trim_matches(['[', ']']),
                "port": port.parse::<u16>().unwrap_or_default(),
                "protocol": protocol,
            })
        };
        let rows: Vec<Value> = listeners.iter().map(row).collect();
        ("Available services".to_owned(), rows.into())
    }
}
