//! Recordings, as an operator sees and orders them.

use std::time::Duration;

use super::facts::{Control, no_stream};
use super::model::{Answer, Recording};
use super::protocol::{RecordAs, Refusal};
use crate::media::StreamName;
use crate::record::{NamePattern, RecordingNow, State, Wish};

impl Control {
    pub(super) fn recordings(&self, answer: Answer) -> Answer {
        let recordings = self.recorder.list().into_iter().map(row).collect();
        Answer {
            recordings: Some(recordings),
            ..answer
        }
    }

    /// Begins or ends the recording of a stream.
    pub(super) fn record(
        &self,
        answer: Answer,
        stream: &str,
        wanted: &RecordAs,
    ) -> Result<Answer, Refusal> {
        let name = self.stream_name(stream)?;
        let refused = |why: &dyn std::fmt::Display| Refusal::new("not-recorded", why.to_string());
        if wanted.stop {
            let stopped = self.recorder.stop(&name).map_err(|e| refused(&e))?;
            tracing::info!(stream = %name, stopped, code = "control", "an operator ended a recording");
        } else {
            let wish = wish(wanted).map_err(|why| Refusal::new("bad-request", why))?;
            let stream = self.hub.get(&name).ok_or_else(|| no_stream(&name))?;
            let id = self.recorder.record(&stream, &wish);
            let id = id.map_err(|e| refused(&e))?;
            tracing::info!(stream = %name, id, code = "control", "an operator began a recording");
        }
        Ok(self.of_stream(answer, &name))
    }

    fn of_stream(&self, answer: Answer, name: &StreamName) -> Answer {
        let all = self.recorder.list().into_iter();
        let of_it = all.filter(|now| now.stream == *name);
        Answer {
            recordings: Some(of_it.map(row).collect()),
            ..answer
        }
    }
}

fn wish(wanted: &RecordAs) -> Result<Wish, String> {
    let format = wanted.format.as_deref().map(str::parse).transpose()?;
    let name = wanted
        .name
        .as_deref()
        .map(NamePattern::of_one)
        .transpose()?;
    if wanted.length_ms.is_some_and(|ms| ms < 10_000) {
        return Err("a file is at least 10 s long".to_owned());
    }
    if wanted.size.is_some_and(|bytes| bytes < 1 << 20) {
        return Err("a file has at least 1 MiB".to_owned());
    }
    Ok(Wish {
        format,
        name,
        length: wanted.length_ms.map(Duration::from_millis),
        size: wanted.size,
    })
}

fn row(now: RecordingNow) -> Recording {
    let state = now.state.as_str().to_owned();
    Recording {
        id: now.id,
        stream: now.stream.to_string(),
        why: now.why.as_str().to_owned(),
        state,
        error: match now.state {
            State::Failed(why) => Some(why),
            _ => None,
        },
        file: now.file,
        since_ms: now.since_ms,
        bytes: now.bytes,
        files: now.files,
        lost: now.lost,
    }
}
