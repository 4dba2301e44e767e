//! What a driver keeps of a stream that its connection plays.

use std::rc::Rc;

use super::super::player::Player;
use super::Outlet;
use crate::relay;

/// A stream that a connection plays; dropping it ends that.
#[derive(Debug)]
pub struct Playing {
    pub(super) outlet: Rc<Outlet>,
    pub(super) id: u64,
    pub(super) watching: relay::Protocol,
}

impl Playing {
    /// RTMP's pause: while it is on nothing is sent. Switched off, it goes on where it was, or skips
    /// like a viewer that was too slow.
    pub fn set_paused(&self, on: bool) {
        self.change(|player| player.paused = on);
    }

    /// RTMP's receiveAudio. Headers are sent all the same.
    pub fn set_audio(&self, on: bool) {
        self.change(|player| player.set_audio(on));
    }

    /// RTMP's receiveVideo; switched on again, video begins with a key frame.
    pub fn set_video(&self, on: bool) {
        self.change(|player| player.set_video(on));
    }

    fn change(&self, change: impl FnOnce(&mut Player)) {
        let mut state = self.outlet.state.borrow_mut();
        let id = self.id;
        if let Some(player) = state.players.iter_mut().find(|p| p.id == id) {
            change(player);
        }
        self.outlet.hand_over(&mut state);
    }
}

impl Drop for Playing {
    fn drop(&mut self) {
        let mut state = self.outlet.state.borrow_mut();
        if let Some(at) = state.players.iter().position(|p| p.id == self.id) {
            let player = state.players.swap_remove(at);
            // What plays next on this message stream has not ended.
            let over = player.message_stream();
            state.ended.retain(|id| *id != over);
            drop(player);
            let metrics = self.outlet.shard.metrics();
            metrics.viewers(self.watching).dec();
        }
    }
}
