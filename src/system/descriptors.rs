//! How many descriptors this process may have.

use std::io;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::os;

/// Raises the limit of open descriptors to `wanted` and gives what holds now: the soft limit up to the
/// hard one, and the hard one too where that is allowed. It never lowers a limit.
///
/// # Errors
/// The system refuses to tell or to set.
pub fn raise_descriptor_limit(wanted: u64) -> io::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let (soft, hard) = (os::limit_read(soft), os::limit_read(hard));
    let set = |soft, hard| {
        let (soft, hard) = (os::limit_written(soft), os::limit_written(hard));
        setrlimit(Resource::RLIMIT_NOFILE, soft, hard)
    };
    if wanted > hard && set(wanted, wanted).is_ok() {
        return Ok(wanted);
    }
    let target = wanted.min(hard);
    if soft >= target {
        return Ok(soft);
    }
    set(target, hard)?;
    Ok(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_goes_up_and_never_down() {
        let before = raise_descriptor_limit(0).unwrap();
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        let hard = os::limit_read(hard);
        let raised = raise_descriptor_limit(before.saturating_add(1)).unwrap();
        assert_eq!(raised, before.saturating_add(1).min(hard));
        assert_eq!(raise_descriptor_limit(1).unwrap(), raised);
    }
}
