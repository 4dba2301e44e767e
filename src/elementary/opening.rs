//! How a stream begins: with the headers of all its tracks in front.
//!
//! Encoders that speak no RTMP send no headers of their own, and the first sound may come well behind the
//! first picture. Whoever joins in between, or packs the first segment, would take the stream for one
//! without sound; so what comes first is held back until each track that is announced has shown what it is.

use std::collections::VecDeque;

use crate::codec;
use crate::flv::{AUDIO, Tag, VIDEO};
use crate::limits::{MAX_OPENING, MAX_OPENING_TAGS};

/// The beginning of one source.
#[derive(Debug, Default)]
pub(crate) struct Opening {
    held: VecDeque<Tag>,
    over: bool,
}

impl Opening {
    /// Takes the next tag and gives those that may go on. `awaits` says whether sound, and whether pictures
    /// are announced. What does not come within [`MAX_OPENING`] of media, or [`MAX_OPENING_TAGS`], is not
    /// waited for.
    pub(crate) fn push(&mut self, tag: Tag, awaits: (bool, bool), out: &mut impl FnMut(Tag)) {
        if self.over {
            return out(tag);
        }
        let now = tag.timestamp;
        self.held.push_back(tag);
        let has = |kind: u8| self.held.iter().any(|tag| tag.kind == kind);
        let (sound, pictures) = awaits;
        let complete = (!sound || has(AUDIO)) && (!pictures || has(VIDEO));
        let first = self.held.front().map_or(now, |tag| tag.timestamp);
        let late = u128::from(now.abs_diff(first)) >= MAX_OPENING.as_millis();
        if complete || late || self.held.len() >= MAX_OPENING_TAGS {
            self.end(out);
        }
    }

    /// Nothing is waited for any more.
    pub(crate) fn end(&mut self, out: &mut impl FnMut(Tag)) {
        self.over = true;
        let first = self.held.front().map(|tag| tag.timestamp);
        let sound = self.held.iter().position(|tag| tag.kind == AUDIO);
        if let (Some(first), Some(at)) = (first, sound)
            && self.held.get(at).is_some_and(is_header_of_sound)
            && let Some(mut header) = self.held.remove(at)
        {
            header.timestamp = first;
            out(header);
        }
        self.held.drain(..).for_each(out);
    }
}

fn is_header_of_sound(tag: &Tag) -> bool {
    codec::audio(&tag.payload).is_ok_and(|facts| facts.role.is_header())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn tag(kind: u8, timestamp: u32, payload: &'static [u8]) -> Tag {
        Tag {
            kind,
            timestamp,
            payload: Bytes::from_static(payload),
        }
    }

    fn pass(opening: &mut Opening, tag: Tag, awaits: (bool, bool)) -> Vec<(u8, u32)> {
        let mut out = Vec::new();
        opening.push(tag, awaits, &mut |tag| out.push((tag.kind, tag.timestamp)));
        out
    }

    #[test]
    fn the_header_of_the_sound_comes_before_the_first_picture() {
        let mut opening = Opening::default();
        let both = (true, true);
        assert!(pass(&mut opening, tag(VIDEO, 5, &[0x17, 0]), both).is_empty());
        assert!(pass(&mut opening, tag(VIDEO, 5, &[0x17, 1]), both).is_empty());
        let out = pass(&mut opening, tag(AUDIO, 9, &[0xaf, 0, 0x11]), both);
        assert_eq!(out, [(AUDIO, 5), (VIDEO, 5), (VIDEO, 5)]);
        assert_eq!(
            pass(&mut opening, tag(AUDIO, 9, &[0xaf, 1]), both),
            [(AUDIO, 9)]
        );
    }

    #[test]
    fn what_does_not_come_is_not_waited_for() {
        let mut opening = Opening::default();
        assert_eq!(
            pass(&mut opening, tag(VIDEO, 0, &[0x17, 0]), (false, true)).len(),
            1
        );
        let mut opening = Opening::default();
        let both = (true, true);
        assert!(pass(&mut opening, tag(VIDEO, 0, &[0x17, 0]), both).is_empty());
        assert!(pass(&mut opening, tag(VIDEO, 999, &[0x27, 1]), both).is_empty());
        assert_eq!(
            pass(&mut opening, tag(VIDEO, 1000, &[0x27, 1]), both).len(),
            3
        );
        let mut opening = Opening::default();
        for _ in 1..MAX_OPENING_TAGS {
            assert!(pass(&mut opening, tag(VIDEO, 0, &[0x27, 1]), both).is_empty());
        }
        let out = pass(&mut opening, tag(VIDEO, 0, &[0x27, 1]), both);
        assert_eq!(out.len(), MAX_OPENING_TAGS);
    }
}
