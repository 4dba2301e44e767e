//! Files that are played one behind the other on one message stream: `play` with `reset` false.
//!
//! The next file is opened when everything of the one before it was given out, which is seconds before the
//! player is there, and goes on with its times. What was played stays known for as far back as the list may be
//! long, so that a player may seek back into it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::{Answer, Connection, LIVE_ONLY, Plays, Seat, State, opened, status_of, whole};
use crate::auth::is_key;
use crate::index::Wanted;
use crate::limits::MAX_FILE_LIST;
use crate::rtmp::status::code;
use crate::vod::{FileName, Slot};

/// One file of a list.
pub(super) struct Item {
    /// As the player called it.
    pub(super) asked: String,
    /// ms; negative is the beginning.
    pub(super) start: f64,
    /// ms; negative is to the end.
    pub(super) length: f64,
    /// Where it began on the player's timeline, ms.
    begins: u64,
}

impl Item {
    pub(super) const fn new(asked: String, (start, length): (f64, f64)) -> Self {
        Self {
            asked,
            start,
            length,
            begins: 0,
        }
    }
}

/// What plays, what was played before it, and what waits.
pub(super) struct List {
    items: VecDeque<Item>,
    /// The one that plays; there is always one.
    at: usize,
}

impl List {
    pub(super) fn of(item: Item) -> Self {
        Self {
            items: VecDeque::from([item]),
            at: 0,
        }
    }

    /// The one that plays.
    pub(super) fn current(&self) -> Option<&Item> {
        self.items.get(self.at)
    }

    /// Whether something waits.
    pub(super) fn has_next(&self) -> bool {
        self.next() < self.items.len()
    }

    const fn next(&self) -> usize {
        self.at.saturating_add(1)
    }

    /// Puts one behind the others; false when too many wait.
    fn push(&mut self, item: Item) -> bool {
        let room = self.items.len().saturating_sub(self.next()) < MAX_FILE_LIST;
        if room {
            self.items.push_back(item);
        }
        room
    }

    /// The one that plays is left out: the next one takes its place. `None` when there is none.
    pub(super) fn leave_out(&mut self) -> Option<&Item> {
        self.items.remove(self.at);
        self.items.get(self.at)
    }

    /// The one that plays at a time of the player, of those that have begun.
    fn at_time(&self, ms: u64) -> usize {
        let begun = self.items.iter().take(self.next());
        let later = begun.take_while(|item| item.begins <= ms).count();
        later.saturating_sub(1)
    }

    /// The one at this place plays now, and began there.
    fn goes_on(&mut self, at: usize, begins: u64) {
        self.at = at;
        if let Some(item) = self.items.get_mut(at) {
            item.begins = begins;
        }
        while self.at > MAX_FILE_LIST {
            self.items.pop_front();
            self.at = self.at.saturating_sub(1);
        }
    }
}

/// Another file of the list that is being opened.
pub(super) struct Coming {
    slot: Slot<Answer>,
    at: usize,
    /// Where the player sought to, ms of its time; else it follows what plays.
    pub(super) sought: Option<u64>,
}

/// What of a play goes on from file to file.
pub(super) struct Through<'a> {
    pub(super) stream: u32,
    pub(super) list: &'a mut List,
    pub(super) seat: &'a mut Option<Seat>,
}

impl Connection {
    /// Whether there are folders with files.
    pub(in crate::rtmp_server) fn plays_files(&self) -> bool {
        self.library().is_some()
    }

    /// Puts a file behind those that a message stream plays; false when it plays none.
    pub(in super::super) fn queue_file(
        &mut self,
        stream: u32,
        asked: &str,
        part: (f64, f64),
    ) -> bool {
        let allowed = self.server.policy.may_play(&self.identity, self.peer.ip());
        let mut plays = self.files.some.iter_mut().flat_map(|some| &mut some.plays);
        let Some(play) = plays.find(|play| play.stream == stream) else {
            return false;
        };
        let refused = if let Err(refusal) = allowed {
            Some((refusal.code, refusal.description))
        } else if LIVE_ONLY.contains(&part.0) || is_key(asked) {
            let why = "A list goes on with files alone, not with what is live.";
            Some((code::PLAY_FAILED, why.to_owned()))
        } else if let Err(error) = FileName::asked(asked) {
            Some((code::PLAY_STREAM_NOT_FOUND, error.to_string()))
        } else if play.list.push(Item::new(asked.to_owned(), part)) {
            None
        } else {
            let why = format!("No more than {MAX_FILE_LIST} files may wait in a list.");
            Some((code::PLAY_FAILED, why))
        };
        if let Some((code, why)) = refused {
            self.machine.skip_play(stream, asked, code, &why);
        } else if let State::Plays(plays) = &mut play.state {
            plays.rests = None; // it need not wait for its end
        }
        true
    }

    /// Opens a file of the list.
    fn open_next(&self, list: &List, at: usize, sought: Option<u64>) -> Option<Coming> {
        let library = self.library().cloned()?;
        let name = FileName::asked(&list.items.get(at)?.asked).ok()?;
        let (filler, slot) = self.answer();
        library.open(name, filler);
        Some(Coming { slot, at, sought })
    }

    /// Seeks on the player's timeline; where it goes on, unless a file that was played before has to be opened
    /// again.
    pub(super) fn seek_in_list(
        &self,
        list: &List,
        plays: &mut Plays,
        ms: u64,
        now: Instant,
    ) -> Option<u64> {
        let at = list.at_time(ms);
        plays.coming = match at == list.at {
            true => None,
            false => self.open_next(list, at, Some(ms)),
        };
        match plays.coming {
            Some(_) => None,
            None => Some(plays.feed.seek(ms, now)),
        }
    }

    /// Sees to the file that comes next, if one does; whether there is nothing else to be done until it is there.
    pub(super) fn go_through_list(
        &mut self,
        plays: &mut Plays,
        through: &mut Through<'_>,
        now: Instant,
        wrote: &mut bool,
    ) -> bool {
        let stream = through.stream;
        let list = &mut *through.list;
        if plays.coming.is_none() {
            let wanted = plays.feed.is_spent() || plays.broken;
            if !wanted || !list.has_next() || plays.feed.is_paused() {
                return false;
            }
            plays.coming = self.open_next(list, list.next(), None);
        }
        let Some(coming) = plays.coming.take() else {
            list.items.truncate(list.next()); // the folders went
            return false;
        };
        if coming.sought.is_none() && plays.feed.is_paused() {
            plays.coming = Some(coming);
            return false;
        }
        let Some(answer) = opened(&coming.slot) else {
            plays.coming = Some(coming);
            return true;
        };
        *wrote = true;
        match answer {
            Ok(file) => self.goes_on_with(plays, through, (&coming, &file), now),
            Err(error) => {
                if let Some(item) = list.items.remove(coming.at) {
                    self.log_unplayed(&item.asked, &error, now);
                    let text = format!("{}: {error}.", item.asked);
                    let status = status_of(&error);
                    self.machine.skip_play(stream, &item.asked, status, &text);
                }
                if coming.at < list.at {
                    list.at = list.at.saturating_sub(1);
                }
                if coming.sought.is_some() {
                    // What can be played begins here.
                    let begins = list.current().map_or(0, |item| item.begins);
                    let at = plays.feed.seek(begins, now);
                    self.machine.seeked(stream, at);
                }
            }
        }
        true
    }

    fn goes_on_with(
        &mut self,
        plays: &mut Plays,
        through: &mut Through<'_>,
        (coming, file): (&Coming, &Arc<crate::vod::Opened>),
        now: Instant,
    ) {
        let stream = through.stream;
        let list = &mut *through.list;
        let (Some(item), Some(library)) = (list.items.get(coming.at), self.library()) else {
            return;
        };
        let config = library.config();
        let wanted = Wanted {
            start: whole(item.start),
            length: (item.length >= 0.0).then(|| whole(item.length)),
            seek: config.seek,
            ahead: config.ahead,
            holds: self.holds(),
        };
        let index = Arc::clone(&file.index);
        let name = item.asked.clone();
        let ended = (!plays.over).then(|| plays.feed.totals());
        let begins = match coming.sought {
            None => plays.feed.ends(),
            Some(_) => item.begins,
        };
        match coming.sought {
            None => {
                plays.feed = plays.feed.followed_by(index, wanted, now);
                self.machine.switch_play(stream, &name, ended);
            }
            Some(sought) => {
                plays.feed = plays.feed.of_another(index, wanted, begins, now);
                let at = plays.feed.seek(sought, now);
                self.machine.rename_play(stream, &name);
                self.machine.seeked(stream, at);
            }
        }
        list.goes_on(coming.at, begins);
        plays.opened = Arc::clone(file);
        plays.over = false;
        plays.broken = false;
        plays.rests = None;
        if let Some(seat) = through.seat {
            seat.listed = None; // before the same message stream is listed anew
            seat.listed = Some(self.registered.plays_file(stream, file.name.as_str()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(number: usize) -> Item {
        Item::new(number.to_string(), (-2.0, -1.0))
    }

    fn list(begins: &[u64]) -> List {
        let mut list = List::of(item(0));
        for (number, begins) in begins.iter().enumerate() {
            if number > 0 {
                assert!(list.push(item(number)));
            }
            list.goes_on(number, *begins);
        }
        list
    }

    #[test]
    fn a_time_is_in_the_last_file_that_had_begun_then() {
        let mut list = list(&[0, 4000, 9000]);
        assert!(list.push(item(3)));
        for (ms, at) in [(0, 0), (3999, 0), (4000, 1), (9000, 2), (u64::MAX, 2)] {
            assert_eq!(list.at_time(ms), at, "{ms}");
        }
        // Back in the first: the others wait again.
        list.goes_on(0, 0);
        assert!(list.has_next());
        assert_eq!(list.at_time(5000), 0);
    }

    #[test]
    fn a_list_holds_so_many_and_remembers_as_many() {
        let mut list = List::of(item(0));
        for number in 1..=MAX_FILE_LIST {
            assert!(list.push(item(number)));
        }
        assert!(!list.push(item(0)), "it is full");
        for number in 1..=1000 {
            list.goes_on(list.next(), number * 100);
            assert!(list.push(item(0)), "one has begun");
            assert!(list.items.len() <= 2 * MAX_FILE_LIST + 1);
        }
        // What is forgotten is not found; the oldest that is known begins there.
        assert_eq!(list.at_time(0), 0);
        assert!(list.items[0].begins > 0);
    }

    #[test]
    fn what_is_left_out_makes_way() {
        let mut list = List::of(item(0));
        assert!(list.push(item(1)));
        assert_eq!(list.leave_out().map(|item| &*item.asked), Some("1"));
        assert!(list.current().is_some() && !list.has_next());
        assert!(list.leave_out().is_none());
    }
}
