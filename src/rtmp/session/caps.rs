//! What a peer declared of Enhanced RTMP (v1: `fourCcList`, v2: the rest), and what we answer.

use crate::amf::Value;
use crate::limits::MAX_FOURCCS;

/// `capsEx`: the peer follows `NetConnection.Connect.ReconnectRequest`.
pub const RECONNECT: u32 = 0x01;
/// `capsEx`: the peer understands multitrack messages.
pub const MULTITRACK: u32 = 0x02;
/// `capsEx`: the peer understands `ModEx` prefixes.
pub const MODEX: u32 = 0x04;
/// `capsEx`: the peer understands the nanosecond offset `ModEx`.
pub const NANO_OFFSET: u32 = 0x08;

/// `FourCC` information: can decode.
const CAN_DECODE: u32 = 1;

/// The `FourCC`s of one medium with their bits (decode 1, encode 2, forward 4).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FourCcs {
    any: u32,
    each: Vec<([u8; 4], u32)>,
}

impl FourCcs {
    /// The bits for one code; `*` counts for every code.
    #[must_use]
    pub fn bits(&self, code: [u8; 4]) -> u32 {
        let own = self.each.iter().find(|(known, _)| *known == code);
        self.any | own.map_or(0, |(_, bits)| *bits)
    }

    /// Whether nothing was declared.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.any == 0 && self.each.is_empty()
    }

    fn add(&mut self, code: &str, bits: u32) {
        if code == "*" {
            self.any |= bits;
        } else if let Ok(code) = <[u8; 4]>::try_from(code.as_bytes()) {
            if let Some((_, known)) = self.each.iter_mut().find(|(known, _)| *known == code) {
                *known |= bits;
            } else if self.each.len() < MAX_FOURCCS {
                self.each.push((code, bits));
            }
        }
    }

    fn add_map(&mut self, map: Option<&Value>) {
        for (code, bits) in map.and_then(Value::fields).unwrap_or_default() {
            self.add(code, bits.as_f64().map_or(0, to_bits));
        }
    }
}

/// The peer's side of the negotiation in `connect`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Caps {
    /// Whether the peer said anything of Enhanced RTMP at all.
    pub declared: bool,
    /// `capsEx`, see [`RECONNECT`] and the others.
    pub caps_ex: u32,
    /// `videoFunction`: seek 1, HDR 2, metadata packets 4, large-scale tile 8.
    pub video_function: u32,
    /// Video codecs.
    pub video: FourCcs,
    /// Audio codecs.
    pub audio: FourCcs,
}

impl Caps {
    /// Reads a command object (client) or an information object (server).
    #[must_use]
    pub fn parse(info: &Value) -> Self {
        let mut caps = Self {
            caps_ex: info
                .get("capsEx")
                .and_then(Value::as_f64)
                .map_or(0, to_bits),
            video_function: info
                .get("videoFunction")
                .and_then(Value::as_f64)
                .map_or(0, to_bits),
            ..Self::default()
        };
        caps.video.add_map(info.get("videoFourCcInfoMap"));
        caps.audio.add_map(info.get("audioFourCcInfoMap"));
        if let Some(Value::StrictArray(list)) = info.get("fourCcList") {
            for code in list.iter().filter_map(Value::as_str) {
                // One list for both: version 1 knew video alone, later senders put audio into it too.
                caps.video.add(code, CAN_DECODE);
                caps.audio.add(code, CAN_DECODE);
            }
        }
        caps.declared = caps.caps_ex != 0 || !caps.video.is_empty() || !caps.audio.is_empty();
        caps
    }

    /// Whether messages of several tracks may be sent to this peer.
    #[must_use]
    pub const fn multitrack(&self) -> bool {
        self.caps_ex & MULTITRACK != 0
    }

    /// Whether `ModEx` prefixes may be sent to this peer.
    #[must_use]
    pub const fn modex(&self) -> bool {
        self.caps_ex & MODEX != 0
    }

    /// Whether this peer follows a reconnect request.
    #[must_use]
    pub const fn reconnect(&self) -> bool {
        self.caps_ex & RECONNECT != 0
    }
}

/// Bit fields come as doubles; what is no small whole number declares nothing.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the range is checked, and fractions of a bit field mean nothing"
)]
fn to_bits(number: f64) -> u32 {
    if (0.0..=65_535.0).contains(&number) {
        number as u32
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amf::object;
    use crate::rtmp::status::{FOURCC_CAN_FORWARD, enhanced_answer};

    #[test]
    fn what_nobody_declares_is_not_there() {
        let caps = Caps::parse(&object([
            ("app", "live".into()),
            ("videoFunction", 1.0.into()),
        ]));
        assert!(!caps.declared);
        assert!(!caps.multitrack() && !caps.modex() && !caps.reconnect());
        assert_eq!(caps.video.bits(*b"hvc1"), 0);
        assert_eq!(caps.video_function, 1);
        assert_eq!(Caps::parse(&Value::Null), Caps::default());
    }

    #[test]
    fn both_versions_are_read() {
        let v1 = Caps::parse(&object([(
            "fourCcList",
            Value::StrictArray(vec![
                "av01".into(),
                "hvc1".into(),
                "toolong".into(),
                3.0.into(),
            ]),
        )]));
        assert!(v1.declared && !v1.multitrack());
        assert_eq!(v1.video.bits(*b"hvc1"), CAN_DECODE);
        assert_eq!(v1.video.bits(*b"vp09"), 0);

        let v2 = Caps::parse(&object([
            ("capsEx", 6.0.into()),
            (
                "videoFourCcInfoMap",
                object([
                    ("*", 4.0.into()),
                    ("hvc1", 1.0.into()),
                    ("vp09", Value::Null),
                ]),
            ),
            ("audioFourCcInfoMap", object([("Opus", 3.0.into())])),
        ]));
        assert!(v2.declared && v2.multitrack() && v2.modex() && !v2.reconnect());
        assert_eq!(v2.video.bits(*b"hvc1"), 5);
        assert_eq!(v2.video.bits(*b"vp09"), 4);
        assert_eq!(v2.audio.bits(*b"Opus"), 3);
    }

    #[test]
    fn ours_is_what_a_relay_declares() {
        let ours = Caps::parse(&Value::Object(enhanced_answer()));
        assert!(ours.multitrack() && ours.modex() && ours.reconnect());
        assert_eq!(ours.caps_ex, 0x0f);
        let bits = ours.video.bits(*b"hvc1");
        assert_eq!(bits & FOURCC_CAN_FORWARD, FOURCC_CAN_FORWARD);
    }

    #[test]
    fn the_list_and_the_numbers_are_bounded() {
        let codes = |n: usize| {
            let map = (0..n).map(|i| (format!("{i:04}"), 1.0.into())).collect();
            Caps::parse(&object([("videoFourCcInfoMap", Value::Object(map))]))
        };
        let last = |n: usize| format!("{:04}", n - 1).into_bytes().try_into().unwrap();
        assert_eq!(codes(MAX_FOURCCS).video.bits(last(MAX_FOURCCS)), 1);
        assert_eq!(codes(MAX_FOURCCS + 1).video.bits(last(MAX_FOURCCS + 1)), 0);
        for odd in [-1.0, f64::NAN, f64::INFINITY, 1e300] {
            assert_eq!(Caps::parse(&object([("capsEx", odd.into())])).caps_ex, 0);
        }
    }
}
