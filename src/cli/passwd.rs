//! `crtmpserver passwd`.

use std::io::{self, BufRead, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::{EX_IOERR, EX_USAGE, output};
use crate::auth::passwd::{self, Done};
use crate::system::{CONFIGURATION, NoEcho};

/// What `passwd` is to do.
#[derive(Debug, Args)]
pub(super) struct PasswdArgs {
    /// The publisher's name
    user: String,
    /// The file of users
    #[arg(long, default_value_os_t = users())]
    file: PathBuf,
    /// Make a password of 100 random bits and print it, once
    #[arg(long, conflicts_with = "delete")]
    generate: bool,
    /// Take the publisher out
    #[arg(long)]
    delete: bool,
}

/// Where the packages' configurations look for it.
fn users() -> PathBuf {
    Path::new(CONFIGURATION).join("users")
}

pub(super) fn run(args: &PasswdArgs) -> ExitCode {
    let (user, path) = (&args.user, &args.file);
    if args.delete {
        return finish(args, passwd::delete(path, user));
    }
    let password = if args.generate {
        passwd::generate()
    } else {
        read_password(user)
    };
    let checked = password.and_then(|p| passwd::check(user, &p).map(|()| p));
    let password = match checked {
        Ok(password) => password,
        Err(message) => {
            output::error(&message);
            return ExitCode::from(EX_USAGE);
        }
    };
    let done = passwd::set(path, user, &password);
    if args.generate && done.is_ok() {
        output::line(&password);
    }
    finish(args, done)
}

fn finish(args: &PasswdArgs, done: Result<Done, crate::auth::FileError>) -> ExitCode {
    match done {
        Ok(done) => {
            let what = match done {
                Done::Added => "added to",
                Done::Changed => "has a new password in",
                Done::Deleted => "deleted from",
            };
            output::error(&format!("{} {what} {}", args.user, args.file.display()));
            ExitCode::SUCCESS
        }
        Err(e) => {
            output::error(&e.to_string());
            ExitCode::from(EX_IOERR)
        }
    }
}

/// Asks twice on a terminal, without showing what is typed; reads one line from anything else.
fn read_password(user: &str) -> Result<String, String> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return line(stdin.lock());
    }
    let quiet =
        NoEcho::on(&stdin).ok_or("the terminal cannot hide what is typed; use --generate")?;
    output::ask(&format!("Password for {user}: "));
    let first = line(stdin.lock())?;
    // Say what is wrong before asking again.
    passwd::check_password(&first)?;
    output::ask("Again: ");
    let second = line(stdin.lock())?;
    drop(quiet);
    if first == second {
        Ok(first)
    } else {
        Err("the two were not the same; nothing was changed".into())
    }
}

/// One line without its end; a password is never longer.
fn line(input: impl BufRead) -> Result<String, String> {
    let mut text = String::new();
    input
        .take(4096)
        .read_line(&mut text)
        .map_err(|e| format!("the password cannot be read: {e}"))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}
