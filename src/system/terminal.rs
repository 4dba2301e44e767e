//! Reading a password from a terminal without showing it.

use std::os::fd::AsFd;

use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};

/// While this lives, the terminal shows nothing of what is typed but the end of the line.
pub struct NoEcho<T: AsFd> {
    terminal: T,
    before: Termios,
}

impl<T: AsFd> NoEcho<T> {
    /// Turns the echo off; `None` when this is no terminal.
    #[must_use]
    pub fn on(terminal: T) -> Option<Self> {
        let before = tcgetattr(&terminal).ok()?;
        let mut quiet = before.clone();
        quiet.local_flags.remove(LocalFlags::ECHO);
        quiet.local_flags.insert(LocalFlags::ECHONL);
        tcsetattr(&terminal, SetArg::TCSAFLUSH, &quiet).ok()?;
        Some(Self { terminal, before })
    }
}

impl<T: AsFd> Drop for NoEcho<T> {
    fn drop(&mut self) {
        // Nothing can be done about a terminal that went away.
        let _ = tcsetattr(&self.terminal, SetArg::TCSAFLUSH, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_terminal_is_said_so() {
        assert!(NoEcho::on(std::fs::File::open("/dev/null").unwrap()).is_none());
    }
}
