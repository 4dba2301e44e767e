//! Random bytes.

/// A random number where nothing breaks without one, such as for the id of an epoch or for jitter: 0 when
/// the system gives none.
#[must_use]
pub fn random_number() -> u64 {
    random().map_or(0, u64::from_be_bytes)
}

/// New random bytes from the system, for an id, a nonce or the seed of a machine.
///
/// # Errors
/// When the system gives none.
pub fn random<const N: usize>() -> Result<[u8; N], getrandom::Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}
