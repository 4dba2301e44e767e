//! `crtmpserver ctl record` and `ctl recordings`.

use clap::Args;

use super::grid::{Align, Table};
use super::tables::{size, span, text};
use crate::config::{Size, Span};
use crate::control::model::Recording;
use crate::control::protocol::{RecordAs, Request};

/// What is to be recorded.
#[derive(Debug, Args)]
pub(super) struct RecordArgs {
    /// The stream
    #[arg(value_name = "APP/STREAM")]
    stream: String,
    /// End what an operator or its publisher began
    #[arg(long, conflicts_with_all = ["format", "name", "length", "size"])]
    stop: bool,
    /// flv or mp4; without it as the configuration says (record.format)
    #[arg(long)]
    format: Option<String>,
    /// What the file is called: a name, or a pattern such as {stream}-{date}-{time} (record.name)
    #[arg(long)]
    name: Option<String>,
    /// A new file after so long, such as 1h (record.length)
    #[arg(long, value_name = "TIME")]
    length: Option<Span>,
    /// A new file after so much, such as 1GiB (record.size)
    #[arg(long)]
    size: Option<Size>,
    /// The verb of the same name has words of the form key=value.
    #[arg(hide = true)]
    more: Vec<String>,
}

impl RecordArgs {
    /// Whether the verb `record` is meant, with its keys: no stream has a name with `=`.
    pub(super) fn is_line(&self) -> bool {
        self.stream.contains('=') || !self.more.is_empty()
    }

    /// The words of the verb.
    pub(super) fn line(&self) -> Vec<String> {
        let words = ["record", &self.stream].into_iter();
        let words = words.chain(self.more.iter().map(String::as_str));
        words.map(str::to_owned).collect()
    }

    pub(super) fn request(&self) -> Request {
        let mut request = Request::new("record");
        request.stream = Some(self.stream.clone());
        let ms = |time: &Span| u64::try_from(time.0.as_millis()).unwrap_or(u64::MAX);
        request.record = Some(RecordAs {
            stop: self.stop,
            format: self.format.clone(),
            name: self.name.clone(),
            length_ms: self.length.as_ref().map(ms),
            size: self.size.map(|size| size.0),
        });
        request
    }
}

/// What is recorded, as a table.
pub(super) fn table(recordings: &[Recording], now: u64) -> Vec<String> {
    if recordings.is_empty() {
        return vec!["nothing is recorded".to_owned()];
    }
    let mut table = Table::new(&[
        ("STREAM", Align::Left),
        ("BY", Align::Left),
        ("STATE", Align::Left),
        ("FOR", Align::Right),
        ("SIZE", Align::Right),
        ("LOST", Align::Right),
        ("FILE", Align::Left),
    ]);
    for one in recordings {
        let cells = vec![
            text(&one.stream),
            text(&one.why),
            text(&one.state),
            span(now.saturating_sub(one.since_ms)),
            size(one.bytes),
            one.lost.to_string(),
            text(one.file.as_deref().unwrap_or("-")),
        ];
        table.row(cells, one.error.as_deref().map(super::tables::sentence));
    }
    table.lines()
}
