//! The tracks of a session, however it came about, and the tags that come of them.

use std::time::Instant;

use super::sdp::{Media, Of};
use super::track::{FIRST, Line, Track};
use crate::elementary::Opening;
use crate::flv::{ReaderLimits, Tag};

/// What went wrong so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Packets missing or late.
    pub gaps: u64,
    /// Packets that are not what they should be.
    pub broken: u64,
}

/// A track, and how its media come.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) track: Track,
    /// The channels of RTP and RTCP on the connection.
    pub(super) channels: Option<[u8; 2]>,
    /// Whether it was set up.
    pub(super) set_up: bool,
    /// Whether its sender said that nothing follows.
    pub(super) over: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Reception {
    pub(super) places: Vec<Place>,
    line: Line,
    opening: Opening,
    begun: Instant,
}

impl Reception {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            places: Vec::new(),
            line: Line::default(),
            opening: Opening::default(),
            begun: now,
        }
    }

    /// These are the tracks from now on; the names of those that cannot be passed on.
    pub(super) fn describe(&mut self, media: Vec<Media>, limits: ReaderLimits) -> Vec<String> {
        let mut left_out = Vec::new();
        self.places.clear();
        for media in media {
            if let Of::Other(name) = &media.of {
                left_out.push(name.clone());
            }
            self.places.push(Place {
                track: Track::new(media, limits),
                channels: None,
                set_up: false,
                over: false,
            });
        }
        left_out
    }

    /// Whether any track can be passed on.
    pub(super) fn is_any_taken(&self) -> bool {
        self.places.iter().any(|place| place.track.is_taken())
    }

    /// Whether a track is passed on: of two of a kind the first is.
    pub(super) fn wants(&self, track: usize) -> bool {
        let is_video = |place: &Place| place.track.is_video();
        let wanted = self.places.get(track).map(is_video);
        let mut all = self.places.iter();
        let first = all.position(|p| p.track.is_taken() && Some(is_video(p)) == wanted);
        first == Some(track)
    }

    /// The track of a channel, and whether that is the one of its reports.
    pub(super) fn of_channel(&self, channel: u8) -> Option<(usize, bool)> {
        self.places.iter().enumerate().find_map(|(n, place)| {
            let at = place.channels?.iter().position(|c| *c == channel)?;
            Some((n, at == 1))
        })
    }

    /// Takes a packet of a track, or a report, that comes at `now`.
    pub(super) fn take(
        &mut self,
        (track, rtcp): (usize, bool),
        bytes: &[u8],
        now: Instant,
        out: &mut impl FnMut(Tag),
    ) {
        if !self.wants(track) {
            return;
        }
        let since = now.saturating_duration_since(self.begun).as_millis();
        let now = i64::try_from(since).unwrap_or(i64::MAX / 100);
        let now = now.saturating_mul(90).saturating_add(FIRST);
        let awaits = |is: bool| {
            let mut all = self.places.iter().filter(|place| place.set_up);
            all.any(|place| place.track.is_taken() && place.track.is_video() == is)
        };
        let awaits = (awaits(false), awaits(true));
        let (line, opening) = (&mut self.line, &mut self.opening);
        let Some(place) = self.places.get_mut(track).filter(|p| p.set_up) else {
            return;
        };
        if rtcp {
            place.track.report(bytes, line, now);
        } else {
            let mut put = |tag| opening.push(tag, awaits, out);
            place.track.packet(bytes, now, &mut put);
        }
    }

    /// Nothing follows: what is begun counts as whole.
    pub(super) fn finish(&mut self, out: &mut impl FnMut(Tag)) {
        let opening = &mut self.opening;
        for place in &mut self.places {
            let mut put = |tag| opening.push(tag, (true, true), out);
            place.track.finish(&mut put);
        }
        opening.end(out);
    }

    pub(super) fn figures(&self) -> Figures {
        let of = |what: fn(&Track) -> u64| self.places.iter().map(|p| what(&p.track)).sum();
        Figures {
            gaps: of(|track| track.gaps),
            broken: of(|track| track.broken),
        }
    }
}
