//! The playlists (RFC 8216 section 4, and section 4.4 of its successor for content steering).

use std::fmt::Write as _;
use std::sync::Arc;

use super::Segment;
use crate::calendar::push_rfc3339_ms;

/// The MIME type of playlists.
pub const CONTENT_TYPE: &str = "application/vnd.apple.mpegurl";

/// Movie fragments and their initialization segments (`EXT-X-MAP`) came with this version.
const VERSION: u32 = 7;

/// Where else the media playlist is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pathway {
    /// The name by which content steering knows it; of the characters `[A-Za-z0-9._-]`.
    pub id: String,
    /// The media playlist's address, with its query; relative to the multivariant playlist or absolute.
    pub uri: String,
}

/// The media playlist of segments whose numbers are consecutive; `over` when no more will come.
#[must_use]
pub fn media(segments: &[Arc<Segment>], over: bool) -> String {
    let mut out = String::with_capacity(256 + segments.len() * 128);
    let _ = write!(
        out,
        "#EXTM3U\n#EXT-X-VERSION:{VERSION}\n#EXT-X-TARGETDURATION:{}\n",
        target_seconds(segments)
    );
    let Some(first) = segments.first() else {
        out.push_str("#EXT-X-MEDIA-SEQUENCE:0\n");
        return out;
    };
    let _ = write!(
        out,
        "#EXT-X-MEDIA-SEQUENCE:{}\n#EXT-X-DISCONTINUITY-SEQUENCE:{}\n#EXT-X-INDEPENDENT-SEGMENTS\n",
        first.number, first.discontinuity
    );
    let mut before: Option<&Segment> = None;
    for segment in segments {
        let breaks = before.is_some_and(|b| b.discontinuity != segment.discontinuity);
        if breaks {
            out.push_str("#EXT-X-DISCONTINUITY\n");
        }
        if breaks || before.is_none_or(|b| b.init.name != segment.init.name) {
            let _ = writeln!(out, "#EXT-X-MAP:URI=\"{}\"", segment.init.name);
        }
        out.push_str("#EXT-X-PROGRAM-DATE-TIME:");
        push_rfc3339_ms(&mut out, segment.date);
        let _ = write!(
            out,
            "\n#EXTINF:{}.{:03},\n{}\n",
            segment.duration / 1000,
            segment.duration % 1000,
            segment.name()
        );
        before = Some(segment);
    }
    if over {
        out.push_str("#EXT-X-ENDLIST\n");
    }
    out
}

/// `EXT-X-TARGETDURATION`: no segment that is listed is longer, and it does not go down while an
/// epoch lasts.
pub(super) fn target_seconds(segments: &[Arc<Segment>]) -> u64 {
    let longest = |s: &Arc<Segment>| s.duration.max(s.longest).max(s.target);
    let most = segments.iter().map(longest).max().unwrap_or(1000);
    most.div_ceil(1000).max(1)
}

/// The multivariant playlist: the one rendition there is, once for each pathway, of which the first
/// is the one to begin with; `steering` is the address of the steering manifest.
#[must_use]
pub fn multivariant(
    segments: &[Arc<Segment>],
    pathways: &[Pathway],
    steering: Option<&str>,
) -> String {
    let mut out = format!("#EXTM3U\n#EXT-X-VERSION:{VERSION}\n#EXT-X-INDEPENDENT-SEGMENTS\n");
    if let (Some(steering), Some(first)) = (steering, pathways.first()) {
        let _ = writeln!(
            out,
            "#EXT-X-CONTENT-STEERING:SERVER-URI=\"{steering}\",PATHWAY-ID=\"{}\"",
            first.id
        );
    }
    let rates = Rates::of(segments);
    let mut attributes = format!("BANDWIDTH={},AVERAGE-BANDWIDTH={}", rates.peak, rates.mean);
    if let Some(last) = segments.last() {
        let _ = write!(attributes, ",CODECS=\"{}\"", last.init.codecs.join(","));
        if let Some((width, height)) = last.init.size {
            let _ = write!(attributes, ",RESOLUTION={width}x{height}");
        }
        if let Some(rate) = frame_rate(segments) {
            let _ = write!(attributes, ",FRAME-RATE={}.{:03}", rate / 1000, rate % 1000);
        }
    }
    for pathway in pathways {
        let _ = write!(out, "#EXT-X-STREAM-INF:{attributes}");
        if !pathway.id.is_empty() {
            let _ = write!(out, ",PATHWAY-ID=\"{}\"", pathway.id);
        }
        let _ = write!(out, "\n{}\n", pathway.uri);
    }
    out
}

/// Bits a second, as far as the kept segments tell.
struct Rates {
    peak: u64,
    mean: u64,
}

impl Rates {
    fn of(segments: &[Arc<Segment>]) -> Self {
        let rate = |bytes: u64, ms: u64| {
            let bits = bytes.saturating_mul(8000).checked_div(ms).unwrap_or(0);
            bits.div_ceil(1000).saturating_mul(1000).max(1000)
        };
        let bytes = |s: &Arc<Segment>| s.bytes.len() as u64;
        Self {
            peak: segments
                .iter()
                .map(|s| rate(bytes(s), s.duration))
                .max()
                .unwrap_or(1000),
            mean: rate(
                segments.iter().map(bytes).sum(),
                segments.iter().map(|s| s.duration).sum(),
            ),
        }
    }
}

/// Thousandths of pictures a second, of the segments together.
fn frame_rate(segments: &[Arc<Segment>]) -> Option<u64> {
    let pictures: u64 = segments.iter().map(|s| u64::from(s.pictures)).sum();
    let ms: u64 = segments.iter().map(|s| s.duration).sum();
    (pictures > 0 && ms > 0).then(|| pictures.saturating_mul(1_000_000) / ms)
}
