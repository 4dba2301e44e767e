//! The figures of the streams, read from the hub whenever `/metrics` is made.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::relay::{Hub, State, StreamInfo};

/// Collects from a hub.
#[derive(Debug)]
pub(super) struct Streams(pub(super) Arc<Hub>);

impl Collector for Streams {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let now = Instant::now();
        let list = self.0.list(now);
        let mut page = Page { encoder, list };
        page.states()?;
        page.gauge("stream_live", "Whether the stream has a source", |s| {
            i64::from(s.state == State::Live)
        })?;
        page.gauge(
            "stream_kbit_per_second",
            "What the source sent in the last seconds",
            |s| signed(s.kbit_per_second),
        )?;
        page.gauge(
            "stream_silence_seconds",
            "Time since the last audio or video of the source",
            |s| {
                s.last_media
                    .map_or(0.0, |at| now.saturating_duration_since(at).as_secs_f64())
            },
        )?;
        page.counter("stream_frames", "Frames that the source sent", |s| s.frames)?;
        page.counter("stream_bytes", "Payload bytes that the source sent", |s| {
            s.bytes
        })?;
        page.counter(
            "stream_dropped_frames",
            "Video frames dropped because no key frame had come",
            |s| s.dropped,
        )?;
        page.counter(
            "stream_skipped_frames",
            "Frames that late viewers were not given",
            |s| s.skipped,
        )?;
        page.counter("stream_epochs", "Sources that the stream has had", |s| {
            s.epochs
        })?;
        page.viewers()
    }
}

struct Page<'a> {
    encoder: DescriptorEncoder<'a>,
    list: Vec<StreamInfo>,
}

impl Page<'_> {
    fn states(&mut self) -> fmt::Result {
        let live = self.list.iter().filter(|s| s.state == State::Live).count();
        let waiting = self.list.len().saturating_sub(live);
        let gauge = ConstGauge::<i64>::new(0);
        let mut metric = self.encoder.encode_descriptor(
            "streams",
            "Streams, by state",
            None,
            gauge.metric_type(),
        )?;
        for (state, count) in [("live", live), ("waiting", waiting)] {
            let labels = [("state", state)];
            let metric = metric.encode_family(&labels)?;
            ConstGauge::new(signed(count as u64)).encode(metric)?;
        }
        Ok(())
    }

    fn gauge<N: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        of: impl Fn(&StreamInfo) -> N,
    ) -> fmt::Result
    where
        ConstGauge<N>: EncodeMetric,
    {
        let kind = ConstGauge::<i64>::new(0).metric_type();
        let mut metric = self.encoder.encode_descriptor(name, help, None, kind)?;
        for stream in &self.list {
            let labels = [("stream", stream.name.to_string())];
            let metric = metric.encode_family(&labels)?;
            ConstGauge::new(of(stream)).encode(metric)?;
        }
        Ok(())
    }

    fn counter(&mut self, name: &str, help: &str, of: impl Fn(&StreamInfo) -> u64) -> fmt::Result {
        let kind = ConstCounter::<u64>::new(0).metric_type();
        let mut metric = self.encoder.encode_descriptor(name, help, None, kind)?;
        for stream in &self.list {
            let labels = [("stream", stream.name.to_string())];
            let metric = metric.encode_family(&labels)?;
            ConstCounter::new(of(stream)).encode(metric)?;
        }
        Ok(())
    }

    fn viewers(&mut self) -> fmt::Result {
        let kind = ConstGauge::<i64>::new(0).metric_type();
        let mut metric = self.encoder.encode_descriptor(
            "stream_viewers",
            "Viewers of the stream",
            None,
            kind,
        )?;
        for stream in &self.list {
            for (protocol, count) in [
                ("rtmp", stream.rtmp_viewers),
                ("flv", stream.flv_viewers),
                ("hls", stream.hls_viewers),
                ("mirror", stream.mirror_viewers),
            ] {
                let labels = [
                    ("stream", stream.name.to_string()),
                    ("protocol", protocol.to_owned()),
                ];
                let metric = metric.encode_family(&labels)?;
                ConstGauge::new(signed(count as u64)).encode(metric)?;
            }
        }
        Ok(())
    }
}

fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::StreamName;
    use crate::relay::{Claim, HubConfig, Protocol};
    use crate::telemetry::metrics::Metrics;

    #[test]
    fn each_stream_has_its_lines() {
        let hub = Hub::new(HubConfig::default());
        let metrics = Metrics::of(&hub);
        assert!(
            metrics
                .render()
                .contains("crtmpserver_streams{state=\"live\"} 0")
        );
        let claim = Claim::of_a_test(1);
        let name = StreamName::new("live", "x").unwrap();
        let publisher = hub.publish(&name, claim, Instant::now(), 0).unwrap();
        let _viewing = publisher.stream().viewing(Protocol::Flv);
        let page = metrics.render();
        for line in [
            "crtmpserver_streams{state=\"live\"} 1",
            "crtmpserver_stream_live{stream=\"live/x\"} 1",
            "crtmpserver_stream_frames_total{stream=\"live/x\"} 0",
            "crtmpserver_stream_viewers{stream=\"live/x\",protocol=\"flv\"} 1",
        ] {
            assert!(page.contains(line), "{line} is not in\n{page}");
        }
    }
}
