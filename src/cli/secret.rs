//! `crtmpserver secret`.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::{EX_IOERR, output};
use crate::auth::{give_to_server, new_secret};
use crate::system::how_to_make;

/// Where the secret goes.
#[derive(Debug, Args)]
pub(super) struct SecretArgs {
    /// The file to make; one that is there already is left alone
    file: PathBuf,
}

pub(super) fn run(args: &SecretArgs) -> ExitCode {
    match make(&args.file) {
        Ok(()) => {
            output::error(&format!(
                "wrote {}; give each mirror a copy",
                args.file.display()
            ));
            ExitCode::SUCCESS
        }
        Err(message) => {
            output::error(&format!("{}: {message}", args.file.display()));
            ExitCode::from(EX_IOERR)
        }
    }
}

/// Writes a new secret, for the eyes of its owner and the server.
fn make(path: &Path) -> Result<(), String> {
    let secret = new_secret().map_err(|e| format!("the system gives no random bytes: {e}"))?;
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(|e| format!("cannot be made: {e}{}", how_to_make(path, &e)))?;
    writeln!(file, "{secret}")
        .and_then(|()| give_to_server(&file))
        .and_then(|()| file.sync_all())
        .map_err(|e| format!("cannot be written: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Secret;

    #[test]
    fn a_secret_is_made_once_and_can_be_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        make(&path).unwrap();
        let (_, warning) = Secret::read(&path).ok().unwrap();
        assert_eq!(warning, None);
        let before = std::fs::read(&path).unwrap();
        assert!(make(&path).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }
}
