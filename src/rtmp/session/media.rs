//! Audio, video and data messages as frames: aggregates split, data in one form.

use bytes::Bytes;

use crate::limits::MAX_AGGREGATE_PARTS;
use crate::rtmp::command;
use crate::rtmp::message::{Message, kind};
use crate::wire::Reader;

/// One audio, video or data message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Media {
    /// 8, 9 or 18.
    pub(crate) kind: u8,
    /// Milliseconds, wrapping.
    pub(crate) timestamp: u32,
    /// The body.
    pub(crate) payload: Bytes,
}

/// AMF0 string `@setDataFrame`: a publisher's order to keep what follows.
const SET_DATA_FRAME: &[u8] = b"\x02\x00\x0d@setDataFrame";
/// AMF0 string `@clearDataFrame`: nothing that a relay would pass on.
const CLEAR_DATA_FRAME: &[u8] = b"\x02\x00\x0f@clearDataFrame";
/// AMF0 string `onMetaData`.
const ON_META_DATA: &[u8] = b"\x02\x00\x0aonMetaData";

/// Gives the frames of a message of kind 8, 9, 15, 18 or 22 to `take`; false, and nothing given, when
/// an aggregate's parts do not fit. Other kinds, and data that is no AMF, have no frames.
#[must_use]
pub(crate) fn frames(message: Message, take: impl FnMut(Media)) -> bool {
    if message.kind != kind::AGGREGATE {
        single(message.kind, message.timestamp, message.payload)
            .into_iter()
            .for_each(take);
        return true;
    }
    split(&message)
        .map(|parts| parts.into_iter().for_each(take))
        .is_some()
}

/// What a publisher must put around data: metadata goes out behind `@setDataFrame`.
pub(crate) fn published_data(payload: &Bytes) -> Bytes {
    if payload.starts_with(ON_META_DATA) {
        [SET_DATA_FRAME, payload].concat().into()
    } else {
        payload.clone()
    }
}

fn single(kind: u8, timestamp: u32, payload: Bytes) -> Option<Media> {
    let (kind, payload) = match kind {
        kind::AUDIO | kind::VIDEO => (kind, payload),
        kind::DATA_AMF0 | kind::DATA_AMF3 => {
            let data = command::data_as_amf0(kind, &payload).ok()?;
            if data.starts_with(CLEAR_DATA_FRAME) {
                return None;
            }
            let body = data
                .strip_prefix(SET_DATA_FRAME)
                .map(|body| data.slice_ref(body));
            (kind::DATA_AMF0, body.unwrap_or(data))
        }
        _ => return None,
    };
    Some(Media {
        kind,
        timestamp,
        payload,
    })
}

/// Splits an aggregate (RTMP 1.0 section 7.1.6): FLV tags with their back pointers. The first part
/// has the time of the message, the others keep their distance to it.
fn split(message: &Message) -> Option<Vec<Media>> {
    let mut input = Reader::new(&message.payload);
    let mut parts = Vec::new();
    let mut first = None;
    let mut count = 0;
    while !input.is_empty() {
        count += 1;
        if count > MAX_AGGREGATE_PARTS {
            return None;
        }
        let kind = input.u8().ok()?;
        let length = usize::try_from(input.u24().ok()?).ok()?;
        let low = input.u24().ok()?;
        let time = u32::from(input.u8().ok()?) << 24 | low;
        input.u24().ok()?; // stream id; the message's own counts
        let body = message.payload.slice_ref(input.take(length).ok()?);
        // The back pointer says nothing new, and some senders leave out the last one.
        if !input.is_empty() {
            input.u32().ok()?;
        }
        let offset = time.wrapping_sub(*first.get_or_insert(time));
        parts.extend(single(kind, message.timestamp.wrapping_add(offset), body));
    }
    Some(parts)
}

#[cfg(test)]
mod tests {
    use bytes::{BufMut, BytesMut};

    use super::*;
    use crate::wire::put_u24;

    fn frames(message: &Message) -> Option<Vec<Media>> {
        let mut all = Vec::new();
        let whole = super::frames(message.clone(), |frame| all.push(frame));
        assert!(whole || all.is_empty());
        whole.then_some(all)
    }

    fn tag(out: &mut BytesMut, kind: u8, time: u32, body: &[u8]) {
        out.put_u8(kind);
        put_u24(out, u32::try_from(body.len()).unwrap());
        put_u24(out, time & 0x00ff_ffff);
        out.put_u8((time >> 24) as u8);
        put_u24(out, 0);
        out.put_slice(body);
        out.put_u32(u32::try_from(11 + body.len()).unwrap());
    }

    fn message(kind: u8, timestamp: u32, payload: impl Into<Bytes>) -> Message {
        Message {
            chunk_stream: 6,
            kind,
            timestamp,
            stream: 1,
            payload: payload.into(),
        }
    }

    #[test]
    fn an_aggregate_is_split_in_order_with_its_distances() {
        let mut out = BytesMut::new();
        tag(&mut out, 9, 0x00ff_fff0, b"key");
        tag(&mut out, 8, 0x0100_0005, b"");
        tag(&mut out, 1, 0x0100_0005, b"not media");
        tag(&mut out, 9, 0x00ff_ffe0, b"earlier");
        let got = frames(&message(22, 10, out.freeze())).unwrap();
        let seen: Vec<_> = got
            .iter()
            .map(|m| (m.kind, m.timestamp, &m.payload[..]))
            .collect();
        assert_eq!(
            seen,
            [
                (9, 10, &b"key"[..]),
                (8, 10 + 0x15, &b""[..]),
                (9, 10u32.wrapping_sub(0x10), &b"earlier"[..])
            ]
        );
    }

    #[test]
    fn a_cut_aggregate_is_refused_but_for_its_last_back_pointer() {
        let mut out = BytesMut::new();
        tag(&mut out, 9, 5, b"one");
        let end_of_first = out.len();
        tag(&mut out, 8, 6, b"two");
        let whole = out.freeze();
        for cut in 0..whole.len() {
            let good = [0, end_of_first - 4, end_of_first, whole.len() - 4].contains(&cut);
            let got = frames(&message(22, 0, whole.slice(..cut)));
            assert_eq!(got.is_some(), good, "cut at {cut}");
        }
    }

    #[test]
    fn the_number_of_parts_is_bounded_and_nothing_nests() {
        let parts = |n: usize| {
            let mut out = BytesMut::new();
            for _ in 0..n {
                tag(&mut out, 8, 0, b"");
            }
            frames(&message(22, 0, out.freeze())).map(|parts| parts.len())
        };
        assert_eq!(parts(MAX_AGGREGATE_PARTS), Some(MAX_AGGREGATE_PARTS));
        assert_eq!(parts(MAX_AGGREGATE_PARTS + 1), None);

        let mut inner = BytesMut::new();
        tag(&mut inner, 8, 0, b"x");
        let mut outer = BytesMut::new();
        tag(&mut outer, 22, 0, &inner);
        assert_eq!(frames(&message(22, 0, outer.freeze())), Some(vec![]));
    }

    #[test]
    fn data_markers_go_and_come_back() {
        let meta = Bytes::from_static(b"\x02\x00\x0aonMetaData\x05");
        let sent = published_data(&meta);
        assert!(sent.starts_with(SET_DATA_FRAME));
        let got = frames(&message(18, 7, sent.clone())).unwrap();
        assert_eq!(got[0].payload, meta);
        let amf3: Bytes = [b"\0", &sent[..]].concat().into();
        let got = frames(&message(15, 7, amf3)).unwrap();
        assert_eq!((got[0].kind, &got[0].payload), (18, &meta));

        let cue = Bytes::from_static(b"\x02\x00\x05onCue\x05");
        assert_eq!(published_data(&cue), cue);
        assert_eq!(
            frames(&message(18, 7, cue.clone())).unwrap()[0].payload,
            cue
        );
        let clear = Bytes::from_static(b"\x02\x00\x0f@clearDataFrame\x02\x00\x0aonMetaData");
        assert_eq!(frames(&message(18, 7, clear)), Some(vec![]));
        assert_eq!(frames(&message(20, 7, meta)), Some(vec![]));
    }
}
