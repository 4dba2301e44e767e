//! Boxes in bytes: head and content, never more than is there.

use crate::wire::Reader;

/// The head of a box.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) kind: [u8; 4],
    /// Bytes of the head.
    pub(super) length: u64,
    /// Bytes of the box, its head included.
    pub(super) size: u64,
}

/// Reads a head; `left` is what there is from its first byte to the end of what contains it. `None` when
/// it is no box.
pub(super) fn header(bytes: &[u8], left: u64) -> Option<Head> {
    let mut r = Reader::new(bytes);
    let size = r.u32().ok()?;
    let kind = r.array().ok()?;
    let (length, size) = match size {
        0 => (8, left),
        1 => (16, u64::from_be_bytes(r.array().ok()?)),
        size => (8, u64::from(size)),
    };
    (size >= length).then_some(Head { kind, length, size })
}

/// The boxes in a content, each with its own; ends at the first that does not fit.
#[derive(Debug, Clone)]
pub(super) struct Boxes<'a>(&'a [u8]);

impl<'a> Boxes<'a> {
    pub(super) const fn of(content: &'a [u8]) -> Self {
        Self(content)
    }
}

impl<'a> Iterator for Boxes<'a> {
    type Item = ([u8; 4], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let head = header(self.0, self.0.len() as u64)?;
        let size = usize::try_from(head.size).ok()?;
        let length = usize::try_from(head.length).ok()?;
        let content = self.0.get(length..size)?;
        self.0 = self.0.get(size..).unwrap_or_default();
        Some((head.kind, content))
    }
}

/// The content of the first box of a kind.
pub(super) fn child<'a>(content: &'a [u8], kind: &[u8; 4]) -> Option<&'a [u8]> {
    let mut all = Boxes::of(content);
    all.find(|(found, _)| found == kind)
        .map(|(_, content)| content)
}

/// Version, flags and what follows, of a full box.
pub(super) fn full(content: &[u8]) -> Option<(u8, u32, Reader<'_>)> {
    let mut r = Reader::new(content);
    let version = r.u8().ok()?;
    let flags = r.u24().ok()?;
    Some((version, flags, r))
}

/// A number of 32 or, from version 1 on, 64 bits.
pub(super) fn wide(r: &mut Reader<'_>, version: u8) -> Option<u64> {
    if version == 0 {
        return r.u32().ok().map(u64::from);
    }
    r.array().ok().map(u64::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_is_never_larger_than_what_is_there() {
        let bytes = b"\0\0\0\x0afreeab\0\0\0\x09moovc\0\0\0\xffmdat";
        let all: Vec<_> = Boxes::of(bytes).collect();
        assert_eq!(all, [(*b"free", &b"ab"[..]), (*b"moov", &b"c"[..])]);
        assert_eq!(child(bytes, b"moov"), Some(&b"c"[..]));
        let to_the_end = b"\0\0\0\0mdatabc";
        assert_eq!(Boxes::of(to_the_end).next(), Some((*b"mdat", &b"abc"[..])));
        let large = b"\0\0\0\x01mdat\0\0\0\0\0\0\0\x12ab";
        assert_eq!(Boxes::of(large).next(), Some((*b"mdat", &b"ab"[..])));
        for wrong in [
            &b"\0\0\0\x07free"[..],
            b"\0\0\0\x01mdat\0\0\0\0\0\0\0\x0f",
            b"\0\0\0\x01mdat\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\0\0\0\x08fre",
            b"",
        ] {
            assert_eq!(Boxes::of(wrong).next(), None);
        }
    }
}
