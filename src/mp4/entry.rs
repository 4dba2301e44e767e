//! Sample entries: what a decoder has to know of a track (ISO/IEC 14496-15, -14, AV1 and Opus in
//! ISOBMFF).

use std::num::NonZeroU16;

use shiguredo_mp4::bitstream::av1::{Av1SampleEntryConfig, build_av01_box_from_config_obus};
use shiguredo_mp4::boxes::{
    AudioSampleEntryFields, Av01Box, Av1cBox, Avc1Box, AvccBox, DopsBox, EsdsBox, Hvc1Box, HvccBox,
    Mp4aBox, OpusBox, SampleEntry, VisualSampleEntryFields,
};
use shiguredo_mp4::descriptors::{
    DecoderConfigDescriptor, DecoderSpecificInfo, EsDescriptor, SlConfigDescriptor,
};
use shiguredo_mp4::{Decode, FixedPointNumber, codec_string};

use crate::wire::Reader;

/// A configuration that cannot be put into MP4; in words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unsupported(String);

impl Unsupported {
    pub(super) fn new(why: impl std::fmt::Display) -> Self {
        Self(why.to_string())
    }
}

/// A track's sample entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub(super) sample: SampleEntry,
    /// Width and height, pixels; `None` for sound, or when they are not known.
    size: Option<(u16, u16)>,
}

impl Entry {
    /// Of an `AVCDecoderConfigurationRecord`.
    ///
    /// # Errors
    /// [`Unsupported`] says what is wrong with it.
    pub fn avc(record: &[u8], size: Option<(u32, u32)>) -> Result<Self, Unsupported> {
        let avcc_box: AvccBox = decode(*b"avcC", record)?;
        let size = pixels(size);
        Ok(Self {
            sample: SampleEntry::Avc1(Avc1Box {
                visual: visual(size),
                avcc_box,
                unknown_boxes: Vec::new(),
            }),
            size,
        })
    }

    /// Of an `HEVCDecoderConfigurationRecord`.
    ///
    /// # Errors
    /// As for [`Entry::avc`].
    pub fn hevc(record: &[u8], size: Option<(u32, u32)>) -> Result<Self, Unsupported> {
        let hvcc_box: HvccBox = decode(*b"hvcC", record)?;
        let size = pixels(size);
        Ok(Self {
            sample: SampleEntry::Hvc1(Hvc1Box {
                visual: visual(size),
                hvcc_box,
                unknown_boxes: Vec::new(),
            }),
            size,
        })
    }

    /// Of an `AV1CodecConfigurationRecord`.
    ///
    /// # Errors
    /// As for [`Entry::avc`].
    pub fn av1(record: &[u8]) -> Result<Self, Unsupported> {
        let av1c_box: Av1cBox = decode(*b"av1C", record)?;
        let config = Av1SampleEntryConfig {
            initial_presentation_delay_minus_one: None,
        };
        let read = build_av01_box_from_config_obus(&av1c_box.config_obus, &config).ok();
        let size = read.map(|read| (read.visual.width, read.visual.height));
        Ok(Self {
            sample: SampleEntry::Av01(Av01Box {
                visual: visual(size),
                av1c_box,
                unknown_boxes: Vec::new(),
            }),
            size,
        })
    }

    /// Of an `AudioSpecificConfig`; `rate` in Hz.
    ///
    /// # Errors
    /// As for [`Entry::avc`].
    pub fn aac(config: &[u8], rate: u32, channels: u8) -> Result<Self, Unsupported> {
        let entry = Self {
            sample: SampleEntry::Mp4a(Mp4aBox {
                audio: sound(rate, channels),
                esds_box: EsdsBox {
                    es: EsDescriptor {
                        es_id: EsDescriptor::MIN_ES_ID,
                        stream_priority: EsDescriptor::LOWEST_STREAM_PRIORITY,
                        depends_on_es_id: None,
                        url_string: None,
                        ocr_es_id: None,
                        dec_config_descr: DecoderConfigDescriptor {
                            object_type_indication:
                                DecoderConfigDescriptor::OBJECT_TYPE_INDICATION_AUDIO_ISO_IEC_14496_3,
                            stream_type: DecoderConfigDescriptor::STREAM_TYPE_AUDIO,
                            up_stream: DecoderConfigDescriptor::UP_STREAM_FALSE,
                            buffer_size_db: shiguredo_mp4::Uint::new(0),
                            max_bitrate: 0,
                            avg_bitrate: 0,
                            dec_specific_info: Some(DecoderSpecificInfo {
                                payload: config.to_vec(),
                            }),
                        },
                        sl_config_descr: SlConfigDescriptor,
                    },
                },
                unknown_boxes: Vec::new(),
            }),
            size: None,
        };
        entry.checked()
    }

    /// Of an identification header of Opus (RFC 7845 section 5.1); empty: stereo at 48 kHz.
    ///
    /// # Errors
    /// As for [`Entry::avc`]; more than two channels too.
    pub fn opus(header: &[u8]) -> Result<Self, Unsupported> {
        let dops_box = opus_header(header)?;
        Ok(Self {
            sample: SampleEntry::Opus(OpusBox {
                audio: sound(48_000, dops_box.output_channel_count),
                dops_box,
                unknown_boxes: Vec::new(),
            }),
            size: None,
        })
    }

    /// As a playlist's `CODECS` has it (RFC 6381).
    #[must_use]
    pub fn codec(&self) -> Option<String> {
        codec_string::from_sample_entry(&self.sample).ok()
    }

    /// Width and height, pixels.
    #[must_use]
    pub const fn size(&self) -> Option<(u16, u16)> {
        self.size
    }

    /// Whether it is of pictures.
    #[must_use]
    pub const fn is_video(&self) -> bool {
        matches!(
            self.sample,
            SampleEntry::Avc1(_) | SampleEntry::Hvc1(_) | SampleEntry::Av01(_)
        )
    }

    fn checked(self) -> Result<Self, Unsupported> {
        codec_string::from_sample_entry(&self.sample).map_err(Unsupported::new)?;
        Ok(self)
    }
}

/// A box of this kind with the record as its content, read.
fn decode<T: Decode>(kind: [u8; 4], record: &[u8]) -> Result<T, Unsupported> {
    let size = u32::try_from(record.len().saturating_add(8)).map_err(Unsupported::new)?;
    let bytes = [&size.to_be_bytes(), &kind, record].concat();
    let (read, _) = T::decode(&bytes).map_err(Unsupported::new)?;
    Ok(read)
}

fn pixels(size: Option<(u32, u32)>) -> Option<(u16, u16)> {
    let (width, height) = size?;
    Some((u16::try_from(width).ok()?, u16::try_from(height).ok()?))
}

fn visual(size: Option<(u16, u16)>) -> VisualSampleEntryFields {
    let (width, height) = size.unwrap_or_default();
    VisualSampleEntryFields {
        data_reference_index: VisualSampleEntryFields::DEFAULT_DATA_REFERENCE_INDEX,
        width,
        height,
        horizresolution: VisualSampleEntryFields::DEFAULT_HORIZRESOLUTION,
        vertresolution: VisualSampleEntryFields::DEFAULT_VERTRESOLUTION,
        frame_count: VisualSampleEntryFields::DEFAULT_FRAME_COUNT,
        compressorname: VisualSampleEntryFields::NULL_COMPRESSORNAME,
        depth: VisualSampleEntryFields::DEFAULT_DEPTH,
    }
}

fn sound(rate: u32, channels: u8) -> AudioSampleEntryFields {
    AudioSampleEntryFields {
        data_reference_index: NonZeroU16::MIN,
        channelcount: channels.max(1).into(),
        samplesize: AudioSampleEntryFields::DEFAULT_SAMPLESIZE,
        // The field has 16 bits; readers take the rate from the configuration.
        samplerate: FixedPointNumber::new(u16::try_from(rate).unwrap_or_default(), 0),
    }
}

fn opus_header(header: &[u8]) -> Result<DopsBox, Unsupported> {
    if header.is_empty() {
        return Ok(DopsBox {
            output_channel_count: 2,
            pre_skip: 312, // what libopus has
            input_sample_rate: 48_000,
            output_gain: 0,
        });
    }
    let mut r = Reader::new(header);
    let read = (|| {
        let magic: [u8; 8] = r.array().ok()?;
        let _version = r.u8().ok()?;
        let output_channel_count = r.u8().ok()?;
        let pre_skip = u16::from_le_bytes(r.array().ok()?);
        let input_sample_rate = u32::from_le_bytes(r.array().ok()?);
        let output_gain = i16::from_le_bytes(r.array().ok()?);
        let family = r.u8().ok()?;
        (magic == *b"OpusHead").then_some((
            DopsBox {
                output_channel_count,
                pre_skip,
                input_sample_rate,
                output_gain,
            },
            family,
        ))
    })();
    match read {
        None => Err(Unsupported::new("this is no header of Opus")),
        Some((_, family @ 1..)) => Err(Unsupported::new(format_args!(
            "Opus with more than two channels (mapping family {family})"
        ))),
        Some((dops, 0)) => Ok(dops),
    }
}
