//! Chunk headers: basic header, message header, extended timestamp (sections 5.3.1.1 to 5.3.1.3).

use bytes::BufMut;

use crate::wire::{Reader, Short, put_u24};

/// The value of the three-byte time field which says that four more bytes hold the time.
pub(super) const EXTENDED: u32 = 0x00ff_ffff;
/// The smallest and largest chunk stream id that can be written.
pub(super) const CHUNK_STREAMS: std::ops::RangeInclusive<u32> = 2..=65_599;
/// The longest header up to and including an extended timestamp.
pub(super) const MAX_HEADER: usize = 3 + 11 + 4;

/// Which of the four message headers follows the basic header (section 5.3.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Type 0: absolute time, length, type, message stream.
    Full,
    /// Type 1: time delta, length, type.
    SameStream,
    /// Type 2: time delta.
    SameShape,
    /// Type 3: nothing.
    Same,
}

impl Form {
    const fn of(first: u8) -> Self {
        match first >> 6 {
            0 => Self::Full,
            1 => Self::SameStream,
            2 => Self::SameShape,
            _ => Self::Same,
        }
    }

    const fn size(self) -> usize {
        match self {
            Self::Full => 11,
            Self::SameStream => 7,
            Self::SameShape => 3,
            Self::Same => 0,
        }
    }

    const fn bits(self) -> u8 {
        match self {
            Self::Full => 0x00,
            Self::SameStream => 0x40,
            Self::SameShape => 0x80,
            Self::Same => 0xc0,
        }
    }

    /// The number that the specification gives this form.
    pub(super) const fn number(self) -> u8 {
        self.bits() >> 6
    }
}

/// A header as it was read. Of length, type and stream only those count that the form has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) form: Form,
    pub(super) chunk_stream: u32,
    /// Time or delta; already the extended one if there is one.
    pub(super) time: u32,
    /// Whether the time was in an extended timestamp.
    pub(super) extended: bool,
    pub(super) length: u32,
    pub(super) kind: u8,
    pub(super) stream: u32,
}

/// How many bytes the header has that begins with `bytes`, as far as these tell: call it again once
/// that many are there, until it asks for no more. The extended timestamp of [`Form::Same`] does not
/// count: whether there is one only its chunk stream knows.
pub(super) fn size(bytes: &[u8]) -> usize {
    let Some(&first) = bytes.first() else {
        return 1;
    };
    let basic = match first & 0x3f {
        0 => 2,
        1 => 3,
        _ => 1,
    };
    let form = Form::of(first);
    let plain = basic + form.size();
    if form == Form::Same || bytes.len() < plain {
        return plain;
    }
    match bytes.get(basic..) {
        Some([0xff, 0xff, 0xff, ..]) => plain + 4,
        _ => plain,
    }
}

/// Reads a header of which [`size`] bytes are there.
pub(super) fn parse(bytes: &[u8]) -> Result<Header, Short> {
    let mut r = Reader::new(bytes);
    let first = r.u8()?;
    let chunk_stream = match first & 0x3f {
        0 => 64 + u32::from(r.u8()?),
        1 => 64 + u32::from(u16::from_le_bytes(r.array()?)),
        id => u32::from(id),
    };
    let form = Form::of(first);
    let mut header = Header {
        form,
        chunk_stream,
        time: 0,
        extended: false,
        length: 0,
        kind: 0,
        stream: 0,
    };
    if form == Form::Same {
        return Ok(header);
    }
    header.time = r.u24()?;
    if form != Form::SameShape {
        header.length = r.u24()?;
        header.kind = r.u8()?;
    }
    if form == Form::Full {
        header.stream = r.u32_le()?;
    }
    if header.time == EXTENDED {
        header.time = r.u32()?;
        header.extended = true;
    }
    Ok(header)
}

/// The header at the front of `bytes` and its length, if all of it is there.
pub(super) fn whole(bytes: &[u8]) -> Option<(Header, usize)> {
    let mut used = 1;
    loop {
        let known = bytes.get(..used)?;
        let size = size(known);
        if size == used {
            return parse(known).ok().map(|header| (header, used));
        }
        used = size;
    }
}

/// Appends the basic header. An id outside of [`CHUNK_STREAMS`] is brought into it.
pub(super) fn put_basic(out: &mut impl BufMut, form: Form, chunk_stream: u32) {
    let id = chunk_stream.clamp(*CHUNK_STREAMS.start(), *CHUNK_STREAMS.end());
    // The clamp keeps each number in its width; `to_le_bytes` takes them without a cast.
    let [low, high, ..] = id.saturating_sub(64).to_le_bytes();
    match id {
        2..=63 => {
            let [id, ..] = id.to_le_bytes();
            out.put_u8(form.bits() | id);
        }
        64..=319 => out.put_slice(&[form.bits(), low]),
        _ => out.put_slice(&[form.bits() | 1, low, high]),
    }
}

/// Appends a header. `header.extended` says whether its time is beyond the three bytes.
pub(super) fn put(out: &mut impl BufMut, header: &Header) {
    put_basic(out, header.form, header.chunk_stream);
    if header.form == Form::Same {
        return;
    }
    put_u24(
        out,
        if header.extended {
            EXTENDED
        } else {
            header.time
        },
    );
    if header.form != Form::SameShape {
        put_u24(out, header.length);
        out.put_u8(header.kind);
    }
    if header.form == Form::Full {
        out.put_u32_le(header.stream);
    }
    if header.extended {
        out.put_u32(header.time);
    }
}
