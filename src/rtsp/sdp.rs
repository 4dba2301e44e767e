//! Descriptions of what will be sent (RFC 8866), as far as encoders need it: media, their codings and
//! parameters, and by which name each is set up.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::general_purpose::{GeneralPurpose, PAD_INDIFFERENT};
use bytes::Bytes;

use super::latm;
use crate::elementary::Coding;
use crate::limits::{MAX_RTSP_TRACKS, MAX_SPS};

/// Cameras leave out what fills up the last group, and are understood without it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    PAD_INDIFFERENT.with_decode_allow_trailing_bits(true),
);

/// How a track is coded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Of {
    /// H.264 (RFC 6184) or H.265 (RFC 7798), with parameter sets that are known already.
    Video(Coding, Vec<Bytes>),
    /// AAC (RFC 3640) with its `AudioSpecificConfig`, and the bits of a size and of an index.
    Aac(Bytes, [u32; 2]),
    /// AAC as `MP4A-LATM` (RFC 6416) with its `AudioSpecificConfig`, and the frequency that its frames
    /// are counted by.
    Latm(Bytes, u32),
    /// Opus (RFC 7587), with its channels.
    Opus(u8),
    /// MP3 (RFC 2250).
    Mpeg,
    /// Something else, by its name.
    Other(String),
}

/// One `m=` line and what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Media {
    pub(super) payload_type: u8,
    /// Ticks a second of its times.
    pub(super) clock: u32,
    pub(super) of: Of,
    /// `a=control`
    pub(super) control: String,
}

/// Lines of one medium, before they are understood.
#[derive(Default)]
struct Lines<'a> {
    video: bool,
    payload_type: Option<u8>,
    map: Option<&'a str>,
    parameters: Vec<(String, &'a str)>,
    control: &'a str,
}

/// `a=control` of the session itself.
pub(super) fn control(text: &str) -> Option<&str> {
    let lines = text.lines().map(str::trim);
    let mut of_session = lines.take_while(|line| !line.starts_with("m="));
    of_session.find_map(|line| line.strip_prefix("a=control:").map(str::trim))
}

/// What an attribute says of a payload type.
fn of_type(text: &str, payload_type: Option<u8>) -> Option<&str> {
    let (number, rest) = text.trim_start().split_once(' ')?;
    (number.parse().ok() == payload_type).then_some(rest)
}

/// Reads the media of a description, in their order; those beyond [`MAX_RTSP_TRACKS`] are left out.
pub(super) fn read(text: &str) -> Vec<Media> {
    let mut all: Vec<Lines<'_>> = Vec::new();
    for line in text.lines().map(str::trim) {
        let Some((kind, value)) = line.split_once('=') else {
            continue;
        };
        if kind == "m" {
            if all.len() >= MAX_RTSP_TRACKS {
                break;
            }
            let mut words = value.split(' ');
            all.push(Lines {
                video: words.next() == Some("video"),
                payload_type: words.nth(2).and_then(|word| word.parse().ok()),
                ..Lines::default()
            });
            continue;
        }
        let Some(media) = all.last_mut() else {
            continue;
        };
        if kind != "a" {
            continue;
        }
        match value.split_once(':') {
            Some(("control", control)) => media.control = control.trim(),
            Some(("rtpmap", map)) => {
                // The others of a line with several types are not ours.
                media.map = of_type(map, media.payload_type).or(media.map);
            }
            Some(("fmtp", format)) => {
                let Some(parameters) = of_type(format, media.payload_type) else {
                    continue;
                };
                media.parameters = parameters
                    .split(';')
                    .filter_map(|pair| pair.trim().split_once('='))
                    .map(|(name, value)| (name.to_ascii_lowercase(), value.trim()))
                    .collect();
            }
            _ => {}
        }
    }
    all.iter().filter_map(Lines::understand).collect()
}

impl Lines<'_> {
    fn parameter(&self, name: &str) -> Option<&str> {
        let found = self.parameters.iter().find(|(known, _)| known == name)?;
        Some(found.1)
    }

    fn sets(&self, names: &[&str]) -> Vec<Bytes> {
        let lists = names.iter().filter_map(|name| self.parameter(name));
        lists
            .flat_map(|list| list.split(','))
            .filter_map(|text| BASE64.decode(text.trim()).ok())
            .filter(|set| set.len() <= MAX_SPS)
            .map(Bytes::from)
            .collect()
    }

    fn understand(&self) -> Option<Media> {
        let payload_type = self.payload_type?;
        // These numbers have a meaning without a map (RFC 3551 section 6).
        let map = self.map.unwrap_or(match payload_type {
            0 => "PCMU/8000",
            8 => "PCMA/8000",
            14 => "MPA/90000",
            26 => "JPEG/90000",
            33 => "MP2T/90000",
            _ => "",
        });
        let mut words = map.split('/');
        let name = words.next().unwrap_or_default().to_ascii_uppercase();
        let clock = words.next().and_then(|word| word.trim().parse().ok());
        let channels = words.next().and_then(|word| word.trim().parse::<u8>().ok());
        let of = match (self.video, name.as_str()) {
            (true, "H264") => Of::Video(Coding::Avc, self.sets(&["sprop-parameter-sets"])),
            (true, "H265") => {
                let names = ["sprop-vps", "sprop-sps", "sprop-pps"];
                Of::Video(Coding::Hevc, self.sets(&names))
            }
            (false, "MPEG4-GENERIC") => self.aac(),
            (false, "MP4A-LATM") => self.latm(),
            (false, "OPUS") => {
                let stereo = self.parameter("sprop-stereo") == Some("1");
                Of::Opus(if stereo || channels == Some(2) { 2 } else { 1 })
            }
            (false, "MPA") => Of::Mpeg,
            _ => Of::Other(name.chars().take(32).collect()),
        };
        Some(Media {
            payload_type,
            clock: clock.filter(|clock| *clock > 0).unwrap_or(90_000),
            of,
            control: self.control.to_owned(),
        })
    }

    fn aac(&self) -> Of {
        let number = |name: &str| {
            self.parameter(name)
                .and_then(|text| text.parse::<u32>().ok())
        };
        let config = self.parameter("config").and_then(bytes_of_hex);
        let bits = [number("sizelength"), number("indexlength")];
        match (config, bits) {
            (Some(config), [Some(size), Some(index)])
                if (1..=16).contains(&size) && index <= 8 && config.len() >= 2 =>
            {
                Of::Aac(config, [size, index])
            }
            _ => Of::Other("MPEG4-GENERIC without its configuration".to_owned()),
        }
    }

    fn latm(&self) -> Of {
        // Encoders that leave `cpresent` out mean 0, whatever it is then by the RFC.
        if self.parameter("cpresent").is_some_and(|value| value != "0") {
            return Of::Other("MP4A-LATM with its configuration among the sound".to_owned());
        }
        let config = self.parameter("config").and_then(bytes_of_hex);
        match config.and_then(|config| latm::configuration(&config)) {
            Some((config, frequency)) => Of::Latm(config, frequency),
            None => Of::Other("MP4A-LATM in another form than AAC alone".to_owned()),
        }
    }
}

/// Bytes that hexadecimal digits name; an `AudioSpecificConfig` has some.
fn bytes_of_hex(text: &str) -> Option<Bytes> {
    if text.len() > 128 || !text.len().is_multiple_of(2) {
        return None;
    }
    let pairs = (0..text.len()).step_by(2);
    let byte = |at: usize| {
        let pair = text.get(at..at.checked_add(2)?)?;
        u8::from_str_radix(pair, 16).ok()
    };
    pairs
        .map(byte)
        .collect::<Option<Vec<u8>>>()
        .map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cameras_descriptions_are_understood() {
        let text = "v=0\r\no=- 1 1 IN IP4 10.0.0.9\r\ns=Media\r\na=control:rtsp://10.0.0.9/a/ \r\nt=0 0\r\n\
            m=video 0 RTP/AVP 98 99\r\na=control:trackID=1\r\na=rtpmap:98 H265/90000\r\na=rtpmap:99 H264/90000\r\n\
            a=fmtp:98 sprop-vps=QAEMAf//AWAAAAMAsAAAAwAAAwBdqgJA; sprop-sps=QgEBAWA; sprop-pps=RAHA8vA\r\n\
            a=fmtp:99 packetization-mode=1\r\n\
            m=audio 0 RTP/AVP 0\r\na=control:trackID=2\r\n\
            m=video 0 RTP/AVP 26\r\n";
        assert_eq!(control(text), Some("rtsp://10.0.0.9/a/"));
        let media = read(text);
        let Of::Video(Coding::Hevc, sets) = &media[0].of else {
            panic!("{media:?}");
        };
        let sizes: Vec<usize> = sets.iter().map(Bytes::len).collect();
        assert_eq!(sizes, [24, 5, 5], "with what fills them up and without");
        assert_eq!(media[1].of, Of::Other("PCMU".into()));
        assert_eq!(media[2].of, Of::Other("JPEG".into()));
        assert_eq!(
            control("v=0\r\nm=video 0 RTP/AVP 96\r\na=control:x\r\n"),
            None
        );
    }

    #[test]
    fn ffmpegs_description_is_understood() {
        let text = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=No Name\r\nt=0 0\r\n\
            m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n\
            a=fmtp:96 packetization-mode=1; sprop-parameter-sets=Z00AHw==,aO4=; profile-level-id=4D001F\r\n\
            a=control:streamid=0\r\n\
            m=audio 0 RTP/AVP 97\r\nb=AS:128\r\na=rtpmap:97 MPEG4-GENERIC/44100/2\r\n\
            a=fmtp:97 profile-level-id=1;mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3; config=1210\r\n\
            a=control:streamid=1\r\n\
            m=audio 0 RTP/AVP 98\r\na=rtpmap:98 opus/48000/2\r\na=control:streamid=2\r\n\
            m=application 0 RTP/AVP 99\r\na=rtpmap:99 vnd.onvif.metadata/90000\r\n";
        let media = read(text);
        assert_eq!(media.len(), 4);
        let Of::Video(Coding::Avc, sets) = &media[0].of else {
            panic!("{media:?}");
        };
        assert_eq!(sets[1][..], [0x68, 0xee]);
        assert_eq!((media[0].payload_type, media[0].clock), (96, 90_000));
        assert_eq!(media[0].control, "streamid=0");
        assert_eq!(
            media[1].of,
            Of::Aac(Bytes::from_static(&[0x12, 0x10]), [13, 3])
        );
        assert_eq!(media[1].clock, 44_100);
        assert_eq!(media[2].of, Of::Opus(2));
        assert!(matches!(&media[3].of, Of::Other(name) if name == "VND.ONVIF.METADATA"));
        assert!(read(&"m=video 0 RTP/AVP 96\n".repeat(100)).len() <= MAX_RTSP_TRACKS);
        assert!(read("m=video\nm=audio x y z\na=fmtp:\nnonsense").is_empty());
        assert!(bytes_of_hex("é1").is_none() && bytes_of_hex("1").is_none());
    }
}
