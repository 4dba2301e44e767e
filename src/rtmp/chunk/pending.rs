//! Bytes between two inputs: a header that is not whole, and what must be read again.

use super::header::{self, Header, MAX_HEADER};
use crate::wire::Short;

/// A header that is not whole yet.
#[derive(Debug, Default)]
pub(super) struct HeaderBytes {
    bytes: [u8; MAX_HEADER],
    len: usize,
}

impl HeaderBytes {
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    pub(super) fn missing(&self) -> bool {
        self.len < header::size(self.as_slice())
    }

    pub(super) fn push(&mut self, byte: u8) {
        if let Some(slot) = self.bytes.get_mut(self.len) {
            *slot = byte;
            self.len += 1;
        }
    }

    pub(super) fn take(&mut self) -> Result<Header, Short> {
        let header = header::parse(self.as_slice());
        self.len = 0;
        header
    }
}

/// Up to three bytes to be read again: a fourth match would have been a timestamp.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Carry {
    bytes: [u8; 3],
    len: usize,
}

impl Carry {
    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    pub(super) fn first(&self) -> Option<u8> {
        self.as_slice().first().copied()
    }

    pub(super) fn pop(&mut self) -> Option<u8> {
        self.take(1).first()
    }

    /// Takes up to `n` bytes off the front.
    pub(super) fn take(&mut self, n: usize) -> Self {
        let all = *self;
        let (head, tail) = all
            .as_slice()
            .split_at_checked(n)
            .unwrap_or((all.as_slice(), &[]));
        *self = Self::of(tail, &[]);
        Self::of(head, &[])
    }

    /// Puts bytes back in front. They have just been read, so there is room for them.
    pub(super) fn unread(&mut self, bytes: &[u8]) {
        let rest = *self;
        *self = Self::of(bytes, rest.as_slice());
    }

    pub(super) fn of(head: &[u8], tail: &[u8]) -> Self {
        let mut carry = Self::default();
        for (slot, byte) in carry.bytes.iter_mut().zip(head.iter().chain(tail)) {
            *slot = *byte;
            carry.len += 1;
        }
        carry
    }
}
