//! The initialization segment: `ftyp` and `moov`.

use std::num::NonZeroU32;

use bytes::Bytes;
use shiguredo_mp4::boxes::{
    Brand, DinfBox, FtypBox, HdlrBox, MdhdBox, MdiaBox, MediaHeader, MehdBox, MinfBox, MoovBox,
    MvexBox, MvhdBox, SmhdBox, StblBox, StcoBox, StscBox, StsdBox, StszBox, SttsBox, TkhdBox,
    TrakBox, TrexBox, VmhdBox,
};
use shiguredo_mp4::{
    Either, Encode, FixedPointNumber, LanguageCode, Mp4FileTime, SampleFlags, Utf8String,
};

use super::entry::{Entry, Unsupported};

/// Milliseconds, for the movie as such; each track counts by its own.
const MOVIE_SCALE: NonZeroU32 = NonZeroU32::new(1000).expect("it is not 0");

/// One track of an initialization segment.
#[derive(Debug, Clone, Copy)]
pub struct Track<'a> {
    /// Its number, from 1.
    pub id: u32,
    /// Units of time a second.
    pub timescale: u32,
    /// What its samples are.
    pub entry: &'a Entry,
}

/// An initialization segment.
///
/// # Errors
/// [`Unsupported`], when there is no track, or one without a time scale.
pub fn init(tracks: &[Track<'_>]) -> Result<Bytes, Unsupported> {
    make(tracks, None)
}

/// The head of a file of fragments, and where in it the duration of all of them is to be put once it is
/// known: a number of 32 bits, milliseconds.
///
/// # Errors
/// As [`init`].
pub fn file_head(tracks: &[Track<'_>]) -> Result<(Bytes, u64), Unsupported> {
    let extends = MehdBox {
        fragment_duration: 0,
    };
    let head = make(tracks, Some(extends))?;
    // Behind its name are its version and flags.
    let found = head.windows(4).rposition(|w| w == MehdBox::TYPE.as_bytes());
    let at = found.ok_or_else(|| Unsupported::new("there is no mehd"))?;
    Ok((head, (at as u64).saturating_add(8)))
}

fn make(tracks: &[Track<'_>], mehd_box: Option<MehdBox>) -> Result<Bytes, Unsupported> {
    let mut out = FtypBox {
        major_brand: Brand::ISO6,
        minor_version: 0,
        compatible_brands: vec![Brand::ISO6, Brand::MP41],
    }
    .encode_to_vec()
    .map_err(Unsupported::new)?;
    let trak_boxes = tracks.iter().map(trak).collect::<Result<Vec<_>, _>>()?;
    if trak_boxes.is_empty() {
        return Err(Unsupported::new("there is no track"));
    }
    let last = tracks.iter().map(|t| t.id).max().unwrap_or_default();
    let moov = MoovBox {
        mvhd_box: MvhdBox {
            creation_time: NEVER,
            modification_time: NEVER,
            timescale: MOVIE_SCALE,
            duration: 0,
            rate: MvhdBox::DEFAULT_RATE,
            volume: MvhdBox::DEFAULT_VOLUME,
            matrix: MvhdBox::DEFAULT_MATRIX,
            next_track_id: last.saturating_add(1),
        },
        trak_boxes,
        mvex_box: Some(MvexBox {
            mehd_box,
            trex_boxes: tracks.iter().map(trex).collect(),
            unknown_boxes: Vec::new(),
        }),
        unknown_boxes: Vec::new(),
    };
    out.extend(moov.encode_to_vec().map_err(Unsupported::new)?);
    Ok(out.into())
}

/// No time of creation: it would differ from server to server.
const NEVER: Mp4FileTime = Mp4FileTime::from_secs(0);

fn trex(track: &Track<'_>) -> TrexBox {
    TrexBox {
        track_id: track.id,
        default_sample_description_index: 1,
        default_sample_duration: 0,
        default_sample_size: 0,
        default_sample_flags: SampleFlags::new(0),
    }
}

fn trak(track: &Track<'_>) -> Result<TrakBox, Unsupported> {
    let video = track.entry.is_video();
    let (width, height) = track.entry.size().unwrap_or_default();
    let side = |pixels: u16| FixedPointNumber::new(i16::try_from(pixels).unwrap_or(i16::MAX), 0);
    let timescale =
        NonZeroU32::new(track.timescale).ok_or_else(|| Unsupported::new("the rate is 0"))?;
    let stbl_box = StblBox {
        stsd_box: StsdBox {
            entries: vec![track.entry.sample.clone()],
        },
        stts_box: SttsBox {
            entries: Vec::new(),
        },
        ctts_box: None,
        cslg_box: None,
        stsc_box: StscBox {
            entries: Vec::new(),
        },
        stsz_box: StszBox::Variable {
            entry_sizes: Vec::new(),
        },
        stco_or_co64_box: Either::A(StcoBox {
            chunk_offsets: Vec::new(),
        }),
        stss_box: None,
        sdtp_box: None,
        unknown_boxes: Vec::new(),
    };
    Ok(TrakBox {
        tkhd_box: TkhdBox {
            flag_track_enabled: true,
            flag_track_in_movie: true,
            flag_track_in_preview: false,
            flag_track_size_is_aspect_ratio: false,
            creation_time: NEVER,
            modification_time: NEVER,
            track_id: track.id,
            duration: 0,
            layer: TkhdBox::DEFAULT_LAYER,
            alternate_group: TkhdBox::DEFAULT_ALTERNATE_GROUP,
            volume: if video {
                TkhdBox::DEFAULT_VIDEO_VOLUME
            } else {
                TkhdBox::DEFAULT_AUDIO_VOLUME
            },
            matrix: TkhdBox::DEFAULT_MATRIX,
            width: side(width),
            height: side(height),
        },
        edts_box: None,
        mdia_box: MdiaBox {
            mdhd_box: MdhdBox {
                creation_time: NEVER,
                modification_time: NEVER,
                timescale,
                duration: 0,
                language: LanguageCode::UNDEFINED,
            },
            hdlr_box: HdlrBox {
                handler_type: if video {
                    HdlrBox::HANDLER_TYPE_VIDE
                } else {
                    HdlrBox::HANDLER_TYPE_SOUN
                },
                name: Utf8String::EMPTY.into_null_terminated_bytes(),
            },
            minf_box: MinfBox {
                media_header: Some(if video {
                    MediaHeader::Vmhd(VmhdBox::default())
                } else {
                    MediaHeader::Smhd(SmhdBox::default())
                }),
                dinf_box: DinfBox::LOCAL_FILE,
                stbl_box,
                unknown_boxes: Vec::new(),
            },
            unknown_boxes: Vec::new(),
        },
        unknown_boxes: Vec::new(),
    })
}
