//! What publishers are told of the recordings that they asked for. Compiled out of a mirror.

use std::sync::Arc;
use std::time::Instant;

use super::connection::Connection;
use crate::record::{Asked, Handle, News, Published};
use crate::relay::{Stream, Wake};
use crate::rtmp::server::PublishKind;
use crate::rtmp::status::{Level, code};
use crate::telemetry::repeats::repeated;

impl Connection {
    /// Sees to the recording that a publisher asks for, or to the end of the one that it had.
    pub(super) fn begin_recording(
        &mut self,
        id: u32,
        stream: &Arc<Stream>,
        kind: PublishKind,
    ) -> Option<Handle> {
        let asked = match kind {
            PublishKind::Live => Asked::Nothing,
            PublishKind::Record => Asked::File,
            PublishKind::Append => Asked::Append,
        };
        let bell = Arc::clone(&self.bell) as Arc<dyn Wake>;
        match self.server.recorder()?.published(stream, asked, bell) {
            Published::Nothing => None,
            Published::Recording(handle) => {
                // There may be news already.
                self.bell.wake();
                Some(handle)
            }
            Published::Refused(why) => {
                self.not_recorded(id, stream, &why);
                None
            }
        }
    }

    /// The bell rang: perhaps a recording began or failed.
    pub(super) fn tell_recordings(&mut self) {
        let news: Vec<(u32, Arc<Stream>, News)> = self
            .publishing
            .iter()
            .flat_map(|publishing| {
                let of_it = publishing.recording.iter().flat_map(Handle::news);
                of_it.map(|news| {
                    let stream = Arc::clone(publishing.publisher.stream());
                    (publishing.id, stream, news)
                })
            })
            .collect();
        for (id, stream, news) in news {
            match news {
                News::Started => self.machine.tell_publisher(
                    id,
                    Level::Status,
                    code::RECORD_START,
                    &format!("{} is being recorded", stream.name()),
                ),
                // What is wrong with the disk is the operator's matter.
                News::Failed(_) => self.machine.tell_publisher(
                    id,
                    Level::Warning,
                    code::RECORD_FAILED,
                    "The recording cannot go on; the stream does.",
                ),
                News::NoAccess(_) => self.machine.tell_publisher(
                    id,
                    Level::Warning,
                    code::RECORD_NO_ACCESS,
                    "The recording cannot begin; the stream does.",
                ),
            }
        }
    }

    fn not_recorded(&mut self, id: u32, stream: &Stream, why: &str) {
        repeated("recording-refused", self.peer.ip(), Instant::now(), || {
            tracing::warn!(
                stream = %stream.name(), peer = %self.peer, code = "recording-refused",
                "published, and not recorded as the publisher asked: {why}"
            );
        });
        let text = format!("{} is published and not recorded: {why}", stream.name());
        self.machine
            .tell_publisher(id, Level::Warning, code::RECORD_NO_ACCESS, &text);
    }

    /// The publisher ended its stream.
    pub(super) fn end_recording(&mut self, id: u32, handle: Option<Handle>) {
        if handle.is_some_and(Handle::finish) {
            self.machine.tell_publisher(
                id,
                Level::Status,
                code::RECORD_STOP,
                "The recording has ended",
            );
        }
    }
}
