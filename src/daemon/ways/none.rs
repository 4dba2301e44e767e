//! A mirror takes no encoder: there are no such listeners.

use std::io;
use std::sync::Arc;

use tokio::task::JoinSet;

use super::StartError;
use super::activation::ActivationError;
use super::table::Service;
use crate::auth::Policy;
use crate::config::{Problem, Settings, Way};
use crate::net::{Bound, Door, Listener};
use crate::relay::Hub;

/// There is none.
pub(super) enum Socket {}

/// Nothing is opened, so nothing fails.
#[derive(Debug, thiserror::Error)]
pub enum WayError {}

impl WayError {
    pub(super) const fn is_forbidden(&self) -> bool {
        match *self {}
    }

    pub(super) const fn errno(&self) -> Option<i32> {
        match *self {}
    }
}

pub(super) fn open(
    _: &Settings,
    passed: Vec<(&'static str, Listener)>,
) -> Result<Vec<(Way, Socket)>, StartError> {
    match passed.first() {
        Some((name, listener)) => Err(StartError::Activation(ActivationError::NoWay {
            name,
            address: listener.address(),
        })),
        None => Ok(Vec::new()),
    }
}

pub(super) fn services(_: &[(Way, Socket)]) -> impl Iterator<Item = Service> {
    std::iter::empty()
}

#[derive(Default)]
pub(super) struct Ways {}

pub(super) struct Exchange;

#[expect(
    clippy::unused_self,
    clippy::unnecessary_wraps,
    reason = "the other build has something to do here"
)]
impl Ways {
    pub(super) fn serve(
        &mut self,
        (_, socket): (Way, Socket),
        _: &Door,
        _: (&Arc<Hub>, &Arc<Policy>),
        _: &mut JoinSet<io::Result<()>>,
    ) -> io::Result<()> {
        match socket {}
    }

    pub(super) fn prepare(&self, _: &[Way], _: &[&Bound]) -> Result<Exchange, Vec<Problem>> {
        Ok(Exchange)
    }

    pub(super) fn exchange(
        &mut self,
        _: Exchange,
        _: &Door,
        _: (&Arc<Hub>, &Arc<Policy>),
        _: &mut JoinSet<io::Result<()>>,
    ) {
    }

    pub(super) fn addresses(&self) -> impl Iterator<Item = (String, String)> {
        std::iter::empty()
    }

    pub(super) fn close(&mut self) {}

    pub(super) fn bound(&self) -> impl Iterator<Item = &Bound> {
        std::iter::empty()
    }
}
