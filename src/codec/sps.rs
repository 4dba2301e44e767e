//! The picture size in a sequence parameter set (H.264 section 7.3.2.1.1, H.265 section 7.3.2.2).

use crate::limits::MAX_SPS;

/// Width and height of the picture that is shown, pixels.
pub(super) type Size = (u32, u32);

/// `profile_idc` values whose parameter sets tell the chroma format.
pub(super) const HIGH_PROFILES: [u32; 13] =
    [44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244];

/// Reads an H.264 parameter set, NAL unit header included.
pub(super) fn avc(nal: &[u8]) -> Option<Size> {
    let bytes = unescape(nal.get(1..)?)?;
    let mut b = Bits::new(&bytes);
    let profile = b.bits(8)?;
    b.skip(16)?; // constraints, level
    b.ue()?;
    let mut chroma = 1;
    if HIGH_PROFILES.contains(&profile) {
        chroma = b.ue()?;
        if chroma == 3 {
            b.skip(1)?;
        }
        b.ue()?;
        b.ue()?;
        b.skip(1)?;
        if b.flag()? {
            for list in 0..if chroma == 3 { 12 } else { 8 } {
                if b.flag()? {
                    skip_scaling_list(&mut b, if list < 6 { 16 } else { 64 })?;
                }
            }
        }
    }
    b.ue()?;
    match b.ue()? {
        0 => {
            b.ue()?;
        }
        1 => {
            b.skip(1)?;
            b.ue()?;
            b.ue()?;
            let cycle = b.ue()?;
            for _ in 0..cycle {
                b.ue()?; // each takes a bit, so the parameter set's length bounds the loop
            }
        }
        _ => {}
    }
    b.ue()?;
    b.skip(1)?;
    let width = b.ue()?.checked_add(1)?.checked_mul(16)?;
    let rows = b.ue()?.checked_add(1)?.checked_mul(16)?;
    let fields = if b.flag()? { 1 } else { 2 };
    if fields == 2 {
        b.skip(1)?;
    }
    b.skip(1)?;
    let (x, y) = chroma_unit(chroma);
    cropped(&mut b, (width, rows.checked_mul(fields)?), (x, y * fields))
}

/// Reads an H.265 parameter set, NAL unit header included.
pub(super) fn hevc(nal: &[u8]) -> Option<Size> {
    let bytes = unescape(nal.get(2..)?)?;
    let mut b = Bits::new(&bytes);
    b.skip(4)?;
    let layers = b.bits(3)?;
    b.skip(1 + 88 + 8)?; // nesting, general profile, general level
    let mut present = 0usize; // bits that the sub-layers' profiles and levels take
    if layers > 0 {
        for layer in 0..8 {
            let (profile, level) = (b.flag()?, b.flag()?);
            if layer < layers {
                present += if profile { 88 } else { 0 } + if level { 8 } else { 0 };
            }
        }
    }
    b.skip(present)?;
    b.ue()?;
    let chroma = b.ue()?;
    if chroma == 3 {
        b.skip(1)?;
    }
    let size = (b.ue()?, b.ue()?);
    cropped(&mut b, size, chroma_unit(chroma))
}

/// Reads the cropping offsets (left, right, top, bottom) in units of `unit`.
fn cropped(b: &mut Bits<'_>, (width, height): Size, (x, y): Size) -> Option<Size> {
    if !b.flag()? {
        return Some((width, height));
    }
    let horizontal = b.ue()?.checked_add(b.ue()?)?.checked_mul(x)?;
    let vertical = b.ue()?.checked_add(b.ue()?)?.checked_mul(y)?;
    Some((
        width.checked_sub(horizontal)?,
        height.checked_sub(vertical)?,
    ))
}

/// Luma samples per chroma sample.
const fn chroma_unit(format: u32) -> Size {
    match format {
        1 => (2, 2),
        2 => (2, 1),
        _ => (1, 1),
    }
}

pub(super) fn skip_scaling_list(b: &mut Bits<'_>, size: u32) -> Option<()> {
    let (mut last, mut next) = (8i64, 8i64);
    for _ in 0..size {
        if next != 0 {
            next = (last + b.se()?).rem_euclid(256);
        }
        if next != 0 {
            last = next;
        }
    }
    Some(())
}

/// Takes out the bytes that keep start codes from appearing in a parameter set.
pub(super) fn unescape(bytes: &[u8]) -> Option<Vec<u8>> {
    if bytes.len() > MAX_SPS {
        return None;
    }
    let mut out = Vec::with_capacity(bytes.len());
    let mut zeros = 0;
    for &b in bytes {
        if zeros >= 2 && b == 3 {
            zeros = 0;
            continue;
        }
        zeros = if b == 0 { zeros + 1 } else { 0 };
        out.push(b);
    }
    Some(out)
}

/// Bits, most significant first.
#[derive(Clone)]
pub(crate) struct Bits<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Bits<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// How many were read or passed over.
    pub(crate) const fn position(&self) -> usize {
        self.position
    }

    pub(crate) fn flag(&mut self) -> Option<bool> {
        let byte = self.bytes.get(self.position / 8)?;
        let set = (byte >> (7 - self.position % 8)) & 1 == 1;
        self.position += 1;
        Some(set)
    }

    /// A number of up to 32 bits.
    pub(crate) fn bits(&mut self, n: u32) -> Option<u32> {
        let mut value = 0;
        for _ in 0..n {
            value = (value << 1) | u32::from(self.flag()?);
        }
        Some(value)
    }

    pub(crate) fn skip(&mut self, n: usize) -> Option<()> {
        let end = self.position.checked_add(n)?;
        (end <= self.bytes.len() * 8).then(|| self.position = end)
    }

    /// `ue(v)`: an Exp-Golomb number.
    pub(crate) fn ue(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while !self.flag()? {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        Some(((1u32 << zeros) - 1).wrapping_add(self.bits(zeros)?))
    }

    /// `se(v)`: a signed one.
    fn se(&mut self) -> Option<i64> {
        let n = i64::from(self.ue()?);
        Some(if n % 2 == 0 { -(n / 2) } else { n / 2 + 1 })
    }
}
