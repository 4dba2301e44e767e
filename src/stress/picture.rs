//! The smallest H.264 there is: a grey picture, and pictures that repeat it.
//!
//! Constrained baseline, CAVLC, 320x180. Filler data (NAL unit type 12) makes a frame as large as is
//! wanted; decoders skip it.

/// Macroblocks of a picture: 20 x 12, the last row cropped.
const MACROBLOCKS: u32 = 20 * 12;

/// Bits, most significant first.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    used: u32,
}

impl Bits {
    fn put(&mut self, value: u32, width: u32) {
        for bit in (0..width).rev() {
            if self.used.is_multiple_of(8) {
                self.bytes.push(0);
            }
            let one = value.wrapping_shr(bit) & 1 == 1;
            if let Some(last) = self.bytes.last_mut().filter(|_| one) {
                *last |= 0x80_u8.wrapping_shr(self.used % 8);
            }
            self.used = self.used.wrapping_add(1);
        }
    }

    /// Exp-Golomb, unsigned (section 9.1).
    fn ue(&mut self, value: u32) {
        let width = u32::BITS - value.saturating_add(1).leading_zeros();
        self.put(0, width - 1);
        self.put(value.saturating_add(1), width);
    }

    /// A NAL unit: its header, and the bits with the stop bit behind them, escaped.
    fn nal(mut self, header: u8) -> Vec<u8> {
        self.put(1, 1);
        let mut out = vec![header];
        let mut zeros = 0;
        for byte in self.bytes {
            if zeros == 2 && byte <= 3 {
                out.push(3);
                zeros = 0;
            }
            zeros = if byte == 0 { zeros + 1 } else { 0 };
            out.push(byte);
        }
        out
    }
}

fn sequence_parameters() -> Vec<u8> {
    let mut b = Bits::default();
    b.put(66, 8); // baseline
    b.put(0b1100_0000, 8); // constrained
    b.put(30, 8); // level 3
    b.ue(0); // id
    b.ue(0); // frame_num has 4 bits
    b.ue(2); // pictures are shown in the order they are coded
    b.ue(1); // one reference frame
    b.put(0, 1); // no gaps in frame_num
    b.ue(19); // width 20 macroblocks
    b.ue(11); // height 12
    b.put(1, 1); // frames only
    b.put(1, 1); // direct_8x8_inference
    b.put(1, 1); // cropped:
    b.ue(0);
    b.ue(0);
    b.ue(0);
    b.ue(6); // 12 lines below, in units of two
    b.put(0, 1); // no VUI
    b.nal(0x67)
}

fn picture_parameters() -> Vec<u8> {
    let mut b = Bits::default();
    b.ue(0); // id
    b.ue(0); // of sequence parameters 0
    b.put(0, 1); // CAVLC
    b.put(0, 1); // no picture order in slices
    b.ue(0); // one slice group
    b.ue(0); // one reference in list 0
    b.ue(0); // and in list 1
    b.put(0, 3); // no weighted prediction
    b.ue(0); // pic_init_qp 26
    b.ue(0);
    b.ue(0); // chroma_qp_index_offset
    b.put(0, 3); // no deblocking control, no constrained intra, no redundant pictures
    b.nal(0x68)
}

/// The `AVCDecoderConfigurationRecord` (ISO 14496-15) with four bytes of length for each NAL unit.
pub(super) fn configuration() -> Vec<u8> {
    let (sps, pps) = (sequence_parameters(), picture_parameters());
    let mut out = vec![1, 66, 0b1100_0000, 30, 0xff, 0xe1];
    for (between, nal) in [(None, sps), (Some(1), pps)] {
        out.extend(between);
        out.extend_from_slice(&u16::try_from(nal.len()).unwrap_or_default().to_be_bytes());
        out.extend_from_slice(&nal);
    }
    out
}

/// An IDR picture; `odd` alternates, as two in a row must differ.
pub(super) fn key(odd: bool) -> Vec<u8> {
    let mut b = Bits::default();
    b.ue(0); // from the first macroblock on
    b.ue(7); // nothing but I
    b.ue(0); // picture parameters 0
    b.put(0, 4); // frame_num
    b.ue(odd.into()); // idr_pic_id
    b.put(0, 2); // show what came before; no long-term reference
    b.ue(0); // slice_qp_delta
    for _ in 0..MACROBLOCKS {
        b.ue(3); // I_16x16_2_0_0: DC prediction, no coefficients
        b.ue(0); // chroma DC
        b.ue(0); // mb_qp_delta
        b.put(1, 1); // no DC coefficient
    }
    b.nal(0x65)
}

/// A picture that repeats the one before; `number` counts from the key picture (which is 0).
pub(super) fn repeat(number: u32) -> Vec<u8> {
    let mut b = Bits::default();
    b.ue(0);
    b.ue(5); // nothing but P
    b.ue(0);
    b.put(number & 15, 4); // frame_num
    b.put(0, 2); // references as they are, not reordered
    b.put(0, 1); // no marking
    b.ue(0); // slice_qp_delta
    b.ue(MACROBLOCKS); // skip all
    b.nal(0x61)
}

/// Appends a NAL unit with its length in front.
pub(super) fn put_nal(out: &mut Vec<u8>, nal: &[u8]) {
    out.extend_from_slice(&u32::try_from(nal.len()).unwrap_or_default().to_be_bytes());
    out.extend_from_slice(nal);
}

/// Appends filler data of `size` bytes in all, if that is enough for it to be one.
pub(super) fn put_filler(out: &mut Vec<u8>, size: usize) {
    // Four bytes of length, the header, the stop bit.
    let Some(content) = size.checked_sub(6) else {
        return;
    };
    let mut nal = vec![0xff; content + 2];
    if let [first, .., last] = nal.as_mut_slice() {
        *first = 12;
        *last = 0x80;
    }
    put_nal(out, &nal);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_those_of_the_specification() {
        let mut b = Bits::default();
        for n in [0, 1, 2, 3, 7] {
            b.ue(n);
        }
        // 1 010 011 00100 0001000, then the stop bit
        assert_eq!(b.nal(9), [9, 0b1010_0110, 0b0100_0001, 0b0001_0000]);
    }

    #[test]
    fn zeros_are_escaped() {
        let mut b = Bits::default();
        b.put(0, 24);
        b.put(1, 8);
        assert_eq!(b.nal(1), [1, 0, 0, 3, 0, 1, 0x80]);
    }

    #[test]
    fn filler_has_the_size_that_was_asked_for() {
        for size in [6, 7, 100] {
            let mut out = Vec::new();
            put_filler(&mut out, size);
            assert_eq!(out.len(), size);
            assert_eq!(out[4], 12);
        }
        let mut out = Vec::new();
        put_filler(&mut out, 5);
        assert!(out.is_empty());
    }
}
