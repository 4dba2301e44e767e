//! The figures of pulls and pushes for `/metrics`.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::board::{Board, Phase, Row};

/// Collects from a board.
#[derive(Debug)]
pub struct Figures(pub Arc<Board>);

/// A counter of one of them.
type Figure = fn(&Row) -> u64;

const COUNTERS: [(&str, &str, Figure); 4] = [
    (
        "remote_failures",
        "Tries that failed, and connections that were lost",
        |row| row.progress.failures,
    ),
    (
        "remote_connections",
        "Times that media began to flow",
        |row| row.progress.connections,
    ),
    ("remote_bytes", "Payload bytes that went over", |row| {
        row.progress.bytes
    }),
    (
        "remote_skipped_frames",
        "Frames that a slow target was not given",
        |row| row.progress.skipped,
    ),
];

fn labels(row: &Row) -> [(&'static str, String); 3] {
    [
        ("direction", row.spec.direction.as_str().to_owned()),
        ("id", row.id.to_string()),
        ("stream", row.spec.local.to_string()),
    ]
}

/// The same and one more.
fn with(row: &Row, name: &'static str, value: &str) -> [(&'static str, String); 4] {
    let [direction, id, stream] = labels(row);
    [direction, id, stream, (name, value.to_owned())]
}

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let rows: Vec<Row> = self
            .0
            .rows()
            .into_iter()
            .filter(|row| row.progress.phase != Phase::Each)
            .collect();
        let gauge = ConstGauge::new(0_i64);
        let kind = gauge.metric_type();
        let mut up = encoder.encode_descriptor(
            "remote_live",
            "Whether media flows over a pull or a push",
            None,
            kind,
        )?;
        for row in &rows {
            let live = i64::from(row.progress.phase == Phase::Live);
            ConstGauge::new(live).encode(up.encode_family(&labels(row))?)?;
        }
        let mut states = encoder.encode_descriptor(
            "remote_state",
            "How far a pull or a push is: 1 for its state, 0 for the others",
            None,
            kind,
        )?;
        for row in &rows {
            for phase in Phase::OF_ONE {
                let labels = with(row, "state", phase.as_str());
                let is = i64::from(row.progress.phase == phase);
                ConstGauge::new(is).encode(states.encode_family(&labels)?)?;
            }
        }
        let mut troubles = encoder.encode_descriptor(
            "remote_trouble",
            "What went wrong last, by its code: 1 until media flows again",
            None,
            kind,
        )?;
        for row in &rows {
            // The sentence is for people: another server has a part in it, and labels must be few.
            if let Some(failure) = &row.progress.failure {
                let labels = with(row, "code", failure.code);
                let holds = i64::from(row.progress.failing);
                ConstGauge::new(holds).encode(troubles.encode_family(&labels)?)?;
            }
        }
        for (name, help, figure) in COUNTERS {
            let kind = ConstCounter::new(0_u64).metric_type();
            let mut all = encoder.encode_descriptor(name, help, None, kind)?;
            for row in &rows {
                ConstCounter::new(figure(row)).encode(all.encode_family(&labels(row))?)?;
            }
        }
        Ok(())
    }
}
