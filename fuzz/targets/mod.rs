//! What each fuzz target does with its bytes. The fuzzer runs these, and `tests/corpus.rs` replays
//! the committed corpus through them on every run.

mod chunk;
mod client;
mod control;
mod files;
mod formats;
#[cfg(feature = "publish")]
mod lua;
mod packager;
mod sessions;
mod values;
mod verbs;
mod ways;

/// A target's name, which is its corpus's folder too, and its body.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: &[Target] = &[
    ("amf", values::amf),
    ("command", values::command),
    ("control", control::lines),
    ("chunk", chunk::reader),
    ("chunk_pair", chunk::pair),
    ("handshake", formats::handshake),
    ("flv", formats::flv),
    ("codec", formats::codec),
    ("server_session", sessions::server_bytes),
    ("server_ops", sessions::server_ops),
    ("client_session", client::client_bytes),
    ("packager", packager::packager),
    ("index", files::index),
    ("mending", files::mending),
    #[cfg(feature = "publish")]
    ("lua", lua::program),
    ("mpegts", ways::mpegts),
    ("rtsp", ways::rtsp),
    ("verbs", verbs::lines),
];

/// Runs the target called `name`.
///
/// # Panics
/// When there is none, and whenever the target found what must not be.
pub fn run(name: &str, data: &[u8]) {
    let (_, body) = TARGETS
        .iter()
        .find(|(known, _)| *known == name)
        .expect("a target of that name");
    body(data);
}

/// Takes decisions out of the input: a byte where one is left, else zero.
pub struct Choices<'a>(pub &'a [u8]);

impl<'a> Choices<'a> {
    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        self.bytes(1).first().copied().unwrap_or(0)
    }

    /// The next two bytes.
    pub fn pair(&mut self) -> u16 {
        u16::from(self.byte()) << 8 | u16::from(self.byte())
    }

    /// The next four bytes.
    pub fn word(&mut self) -> u32 {
        u32::from(self.pair()) << 16 | u32::from(self.pair())
    }

    /// Up to `n` bytes.
    pub fn bytes(&mut self, n: usize) -> &'a [u8] {
        let (head, tail) = self.0.split_at(n.min(self.0.len()));
        self.0 = tail;
        head
    }

    /// Whether nothing is left to decide with.
    pub fn done(&self) -> bool {
        self.0.is_empty()
    }
}

/// The pieces in which `data` arrives, of sizes that `seed` decides.
pub fn pieces(mut data: &[u8], seed: u8) -> impl Iterator<Item = &[u8]> {
    let mut state = u32::from(seed);
    std::iter::from_fn(move || {
        if data.is_empty() {
            return None;
        }
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let size = match state >> 30 {
            0 => 1,
            1 => (state >> 16) as usize % 16 + 1,
            2 => (state >> 16) as usize % 300 + 1,
            _ => data.len(),
        };
        let (head, tail) = data.split_at(size.min(data.len()));
        data = tail;
        Some(head)
    })
}
