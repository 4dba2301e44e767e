//! Checked big-endian reading; the only place that walks bytes by position.
//!
//! Writing needs no counterpart: [`bytes::BufMut`] already appends big-endian numbers, and
//! [`put_u24`] adds the one width it lacks.

use bytes::BufMut;

/// The input ended inside a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the input ends inside a value")]
pub struct Short;

/// A cursor over borrowed bytes. Every read is checked; nothing is ever indexed.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the first byte of `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What has not been read yet.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// How many bytes have not been read yet.
    #[must_use]
    pub const fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Whether everything has been read.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next byte, without consuming it.
    #[must_use]
    pub fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// Consumes `n` bytes.
    ///
    /// # Errors
    /// [`Short`] when fewer than `n` bytes are left; nothing is consumed then.
    pub const fn take(&mut self, n: usize) -> Result<&'a [u8], Short> {
        match self.rest.split_at_checked(n) {
            Some((head, tail)) => {
                self.rest = tail;
                Ok(head)
            }
            None => Err(Short),
        }
    }

    /// Consumes `N` bytes as an array.
    ///
    /// # Errors
    /// [`Short`] when fewer than `N` bytes are left; nothing is consumed then.
    pub const fn array<const N: usize>(&mut self) -> Result<[u8; N], Short> {
        match self.rest.split_first_chunk::<N>() {
            Some((head, tail)) => {
                self.rest = tail;
                Ok(*head)
            }
            None => Err(Short),
        }
    }

    /// An unsigned byte.
    ///
    /// # Errors
    /// [`Short`] at the end of the input.
    pub fn u8(&mut self) -> Result<u8, Short> {
        self.array::<1>().map(|[b]| b)
    }

    /// A 16-bit unsigned number.
    ///
    /// # Errors
    /// [`Short`] at the end of the input.
    pub fn u16(&mut self) -> Result<u16, Short> {
        self.array().map(u16::from_be_bytes)
    }

    /// A 16-bit signed number.
    ///
    /// # Errors
    /// [`Short`] at the end of the input.
    pub fn i16(&mut self) -> Result<i16, Short> {
        self.array().map(i16::from_be_bytes)
    }

    /// A 24-bit unsigned number.
    ///
    /// # Errors
    /// [`Short`] at the end of the input.
    pub fn u24(&mut self) -> Result<u32, Short> {
        self.array()
            .map(|[a, b, c]| u32::from_be_bytes([0, a, b, c]))
    }

    /// A 24-bit signed number (composition times).
    ///
    /// # Errors
    /// [`Short`] at the end of the input.
    pub fn i24(&mut self) -> Result<i32, Short> {
        self.array()
            .map(|[a, b, c]| i32::from_be_bytes([a, b, c, 0]) >> 8)
    }

    /// A 32-bit unsigned number.
    ///
    /// # Errors
    /// [`Short`] at the end of the input.
    pub fn u32(&mut self) -> Result<u32, Short> {
        self.array().map(u32::from_be_bytes)
    }

    /// A 32-bit unsigned number in little-endian order: RTMP's message stream id is the one there is.
    ///
    /// # Errors
    /// [`Short`] at the end of the input.
    pub fn u32_le(&mut self) -> Result<u32, Short> {
        self.array().map(u32::from_le_bytes)
    }

    /// An IEEE 754 double.
    ///
    /// # Errors
    /// [`Short`] at the end of the input.
    pub fn f64(&mut self) -> Result<f64, Short> {
        self.array().map(f64::from_be_bytes)
    }
}

/// Appends the low 24 bits of `value`, big-endian.
pub fn put_u24(out: &mut impl BufMut, value: u32) {
    out.put_uint(u64::from(value & 0x00ff_ffff), 3);
}

/// The bytes that hexadecimal digits name.
#[cfg(test)]
pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digits = |at| u8::from_str_radix(text.get(at..at + 2).unwrap(), 16).unwrap();
    (0..text.len()).step_by(2).map(digits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_each_width_and_refuses_what_is_not_there() {
        let bytes = [1, 0, 2, 0xff, 0xff, 0xfe, 0, 0, 3, 4, 0, 0, 0];
        let mut r = Reader::new(&bytes);
        assert_eq!(r.u8(), Ok(1));
        assert_eq!(r.u16(), Ok(2));
        assert_eq!(r.i24(), Ok(-2));
        assert_eq!(r.u24(), Ok(3));
        assert_eq!(r.u32_le(), Ok(4));
        assert!(r.is_empty());
        assert_eq!(r.u8(), Err(Short));
        assert_eq!(r.f64(), Err(Short));
    }

    #[test]
    fn a_failed_read_consumes_nothing() {
        let mut r = Reader::new(&[7, 8]);
        assert_eq!(r.u32(), Err(Short));
        assert_eq!(r.take(3), Err(Short));
        assert_eq!(r.take(2), Ok(&[7u8, 8][..]));
    }

    #[test]
    fn u24_round_trips() {
        let mut out = Vec::new();
        put_u24(&mut out, 0x00ab_cdef);
        assert_eq!(out, [0xab, 0xcd, 0xef]);
        assert_eq!(Reader::new(&out).u24(), Ok(0x00ab_cdef));
    }
}
