//! The secret that master and mirrors share, and the proofs of it. It never crosses the wire: each
//! side sends an HMAC-SHA-256 over both sides' nonces and the mirror's id.

use std::path::Path;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::files::{FileError, read_private};
use crate::limits::{MAX_SECRET, MIN_SECRET};

/// A shared secret. It has neither `Debug` nor `Display`, so that no log can show it.
#[derive(Clone)]
pub struct Secret(Box<[u8]>);

impl Secret {
    /// Takes a secret as text; white space around it does not count.
    ///
    /// # Errors
    /// Fewer than [`MIN_SECRET`] or more than [`MAX_SECRET`] bytes.
    pub fn new(text: &str) -> Result<Self, String> {
        let text = text.trim().as_bytes();
        if text.len() < MIN_SECRET || text.len() > MAX_SECRET {
            return Err(format!(
                "a secret has {MIN_SECRET} to {MAX_SECRET} bytes, this one has {}; `crtmpserver secret FILE` makes a good one",
                text.len()
            ));
        }
        Ok(Self(text.into()))
    }

    /// Reads a secret from a file, and a warning when others may read that too.
    ///
    /// # Errors
    /// The file cannot be read, or is no secret.
    pub fn read(path: &Path) -> Result<(Self, Option<String>), FileError> {
        let file = read_private(path)?;
        let secret = Self::new(&file.text).map_err(|message| FileError::new(path, message))?;
        Ok((secret, file.warning))
    }

    /// Whether both are the same; in constant time.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        bool::from(self.0.ct_eq(&other.0))
    }

    /// What a mirror sends: its nonce, the master's nonce, its id, all as 32 hex digits.
    #[must_use]
    pub fn mirror_proof(&self, mirror_nonce: &str, master_nonce: &str, id: &str) -> String {
        self.proof("crtmpserver mirror v1\n", [mirror_nonce, master_nonce, id])
    }

    /// What the master answers.
    #[must_use]
    pub fn master_proof(&self, mirror_nonce: &str, master_nonce: &str, id: &str) -> String {
        self.proof("crtmpserver master v1\n", [master_nonce, mirror_nonce, id])
    }

    /// Checks a mirror's proof, in constant time. False too when a nonce or the id is not 32 hex
    /// digits: the proof is over their plain concatenation.
    #[must_use]
    pub fn verify_mirror(
        &self,
        mirror_nonce: &str,
        master_nonce: &str,
        id: &str,
        proof: &str,
    ) -> bool {
        let right = self.mirror_proof(mirror_nonce, master_nonce, id);
        [mirror_nonce, master_nonce, id].into_iter().all(is_token)
            && bool::from(right.as_bytes().ct_eq(proof.as_bytes()))
    }

    /// Checks the master's proof, in constant time, like [`Self::verify_mirror`].
    #[must_use]
    pub fn verify_master(
        &self,
        mirror_nonce: &str,
        master_nonce: &str,
        id: &str,
        proof: &str,
    ) -> bool {
        let right = self.master_proof(mirror_nonce, master_nonce, id);
        [mirror_nonce, master_nonce, id].into_iter().all(is_token)
            && bool::from(right.as_bytes().ct_eq(proof.as_bytes()))
    }

    fn proof(&self, label: &str, parts: [&str; 3]) -> String {
        // HMAC takes a key of any length; the empty text is unreachable and proves nothing.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else {
            return String::new();
        };
        mac.update(label.as_bytes());
        for part in parts {
            mac.update(part.as_bytes());
        }
        hex(&mac.finalize().into_bytes())
    }
}

/// Whether `text` is a nonce or an id: 32 lower-case hex digits.
fn is_token(text: &str) -> bool {
    text.len() == 32
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// A new secret of 256 bits, from the system's random bytes, as text.
///
/// # Errors
/// The system gives none.
pub fn new_secret() -> Result<String, getrandom::Error> {
    let random: [u8; 32] = crate::system::random()?;
    Ok(hex(&random))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const C: &str = "00000000000000000000000000000001";
    const M: &str = "00000000000000000000000000000002";
    const ID: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn each_side_proves_to_the_other() {
        let secret = Secret::new(" correct horse battery \n").unwrap();
        let other = Secret::new("correct horse batterz").unwrap();
        let mirror = secret.mirror_proof(C, M, ID);
        let master = secret.master_proof(C, M, ID);
        assert_eq!(mirror.len(), 64);
        assert!(secret.verify_mirror(C, M, ID, &mirror));
        assert!(secret.verify_master(C, M, ID, &master));
        assert!(!other.verify_mirror(C, M, ID, &mirror));
        assert!(!secret.verify_mirror(M, C, ID, &mirror), "reflected");
        assert!(!secret.verify_mirror(C, M, ID, &master), "the other side's");
        assert!(!secret.verify_mirror(C, M, ID, ""));
        assert!(!secret.verify_mirror(C, M, ID, &mirror[..63]));
    }

    /// From Python: `hmac.new(b"0123456789abcdef", b"crtmpserver mirror v1\n"+C+M+ID, "sha256")`.
    #[test]
    fn the_proof_is_the_protocol_s() {
        let secret = Secret::new("0123456789abcdef").unwrap();
        assert_eq!(
            secret.mirror_proof(C, M, ID),
            "f3ccbf95e47ec47cc569afc1bb5eaa603f6382980e78a288eceb1195a75d5c3a"
        );
        assert_eq!(
            secret.master_proof(C, M, ID),
            "7fce262057dc9b80ded0b7e696803f705a04f3eb0f203bfecddb36168f30375c"
        );
    }

    #[test]
    fn what_is_no_token_is_never_proven() {
        let secret = Secret::new("0123456789abcdef").unwrap();
        for bad in [
            "",
            "0",
            &C[1..],
            &format!("{C}0"),
            &C.replace('1', "G"),
            &ID.to_uppercase(),
        ] {
            let proof = secret.mirror_proof(C, bad, ID);
            assert!(!secret.verify_mirror(C, bad, ID, &proof), "{bad}");
        }
    }

    #[test]
    fn short_and_long_secrets_are_refused() {
        assert!(Secret::new(&"x".repeat(MIN_SECRET)).is_ok());
        assert!(Secret::new(&"x".repeat(MIN_SECRET - 1)).is_err());
        assert!(Secret::new(&"x".repeat(MAX_SECRET)).is_ok());
        assert!(Secret::new(&"x".repeat(MAX_SECRET + 1)).is_err());
        assert_ne!(new_secret().unwrap(), new_secret().unwrap());
        assert!(Secret::new(&new_secret().unwrap()).is_ok());
    }
}
