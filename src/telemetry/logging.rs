//! Log lines on standard error: one event, one line, whatever a peer wrote.
//!
//! On a terminal with colours, in a file without, under systemd as fields for journald
//! (`telemetry::journal`), or with its priority prefix and without the time that it adds. Text from a
//! peer goes through [`Escaped`]; refusals that a peer can repeat at will go through [`limited`].

use std::collections::HashMap;
use std::fmt;
use std::io::IsTerminal;
use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::{Format, Full, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

use super::journal::{self, Journal};
use crate::limits::{MAX_LOG_FIELD, MAX_LOG_LINES, MAX_LOG_REASONS, MAX_SHOWN_SENTENCE};

/// A peer's text for a log field: control characters, quotes, backslashes and what is not UTF-8
/// appear as `\xNN`, and no more than [`MAX_LOG_FIELD`] bytes of it appear at all.
#[derive(Clone, Copy)]
pub struct Escaped<'a>(pub &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        escape(self.0.as_bytes(), MAX_LOG_FIELD, is_trap_in_quotes, f)
    }
}

impl fmt::Debug for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        escape(self.0.as_bytes(), MAX_LOG_FIELD, is_trap_in_quotes, f)
    }
}

/// Like [`Escaped`], for bytes that may not be text.
#[derive(Clone, Copy)]
pub struct EscapedBytes<'a>(pub &'a [u8]);

impl fmt::Display for EscapedBytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        escape(self.0, MAX_LOG_FIELD, is_trap_in_quotes, f)
    }
}

impl fmt::Debug for EscapedBytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        escape(self.0, MAX_LOG_FIELD, is_trap_in_quotes, f)
    }
}

/// Like [`Escaped`], for a sentence of the server that may have a peer's words in it. It stands in no quotes
/// and keeps its own.
#[derive(Clone, Copy)]
pub struct Sentence<'a>(pub &'a str);

impl fmt::Display for Sentence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        escape(self.0.as_bytes(), MAX_SHOWN_SENTENCE, is_trap, f)
    }
}

/// Writes at most this many bytes, `...` at the end when that was not all. `is_trap` are the characters to be
/// escaped besides controls.
fn escape(
    bytes: &[u8],
    most: usize,
    is_trap: fn(char) -> bool,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    let mut room = most.saturating_sub("...".len());
    let mut put = |piece: &str, f: &mut fmt::Formatter<'_>| -> Result<bool, fmt::Error> {
        match room.checked_sub(piece.len()) {
            Some(rest) => {
                room = rest;
                f.write_str(piece)?;
                Ok(true)
            }
            None => {
                f.write_str("...")?;
                Ok(false)
            }
        }
    };
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            let mut buffer = [0; 4];
            let fits = if c.is_control() || is_trap(c) {
                let mut fits = true;
                for b in c.encode_utf8(&mut buffer).bytes() {
                    fits = fits && put(&format!("\\x{b:02x}"), f)?;
                }
                fits
            } else {
                put(c.encode_utf8(&mut buffer), f)?
            };
            if !fits {
                return Ok(());
            }
        }
        for b in chunk.invalid() {
            if !put(&format!("\\x{b:02x}"), f)? {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The same within quotes, which quotes would end.
const fn is_trap_in_quotes(c: char) -> bool {
    matches!(c, '"' | '\'') || is_trap(c)
}

/// Characters that are no controls but would let text pretend to be something else: the escape itself,
/// line separators, and those that turn the direction of what follows.
const fn is_trap(c: char) -> bool {
    matches!(c, '\\' | '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}'
        | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// Whether a line may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// Write it.
    Yes,
    /// Write it, and that this many were not written before it.
    After(u64),
    /// Do not write it.
    No,
}

struct Second {
    since: Instant,
    lines: u32,
    suppressed: u64,
}

/// Counts lines for each reason: at most [`MAX_LOG_LINES`] within a second.
#[derive(Default)]
pub struct LineLimit {
    reasons: HashMap<&'static str, Second>,
}

impl LineLimit {
    /// Asks for one more line for `reason`.
    pub fn pass(&mut self, reason: &'static str, now: Instant) -> Pass {
        if !self.reasons.contains_key(reason) && self.reasons.len() >= MAX_LOG_REASONS {
            // Reasons are names in this program; more of them than that is a mistake of ours.
            return Pass::No;
        }
        let second = self.reasons.entry(reason).or_insert(Second {
            since: now,
            lines: 0,
            suppressed: 0,
        });
        if now.saturating_duration_since(second.since) >= Duration::from_secs(1) {
            let suppressed = second.suppressed;
            *second = Second {
                since: now,
                lines: 1,
                suppressed: 0,
            };
            return if suppressed == 0 {
                Pass::Yes
            } else {
                Pass::After(suppressed)
            };
        }
        if second.lines < MAX_LOG_LINES {
            second.lines = second.lines.saturating_add(1);
            Pass::Yes
        } else {
            second.suppressed = second.suppressed.saturating_add(1);
            Pass::No
        }
    }

    /// The reasons whose second is over with lines suppressed, which now count as told.
    pub fn overdue(&mut self, now: Instant) -> Vec<(&'static str, u64)> {
        let second = Duration::from_secs(1);
        self.reasons
            .iter_mut()
            .filter(|(_, s)| s.suppressed > 0 && now.saturating_duration_since(s.since) >= second)
            .map(|(reason, s)| (*reason, std::mem::take(&mut s.suppressed)))
            .collect()
    }
}

/// One for the process, as all lines go to one place.
static LIMIT: Mutex<Option<LineLimit>> = Mutex::new(None);

/// Says what was suppressed where no further line came to say it; to be called about once a second.
pub fn tell_suppressed(now: Instant) {
    let overdue = LIMIT
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get_or_insert_default()
        .overdue(now);
    for (reason, suppressed) in overdue {
        tracing::warn!(
            code = "suppressed",
            reason,
            suppressed,
            "suppressed {suppressed} lines"
        );
    }
}

/// Writes a line (by calling `write`) unless there were too many for this reason within a second;
/// the first line after that, or [`tell_suppressed`], says how many are missing.
pub fn limited(reason: &'static str, now: Instant, write: impl FnOnce()) {
    let pass = LIMIT
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get_or_insert_default()
        .pass(reason, now);
    match pass {
        Pass::Yes => write(),
        Pass::After(suppressed) => {
            tracing::warn!(
                code = "suppressed",
                reason,
                suppressed,
                "suppressed {suppressed} lines"
            );
            write();
        }
        Pass::No => {}
    }
}

/// The form of the lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// [`Form::Journal`] when journald reads standard error, else [`Form::Text`].
    Auto,
    /// Time, level, text.
    Text,
    /// Fields for journald; where it does not listen, its priority prefix and no time.
    Journal,
}

/// Whether journald reads standard error, so that a line there may begin with a priority.
#[must_use]
pub fn journal_reads_stderr() -> bool {
    journal::reads_stderr()
}

/// Begins to log. `filter` is a level or a filter such as `info,crtmpserver::edge=debug`. A second
/// call changes nothing (tests share a process).
///
/// # Errors
/// The filter is none.
pub fn init(filter: &str, form: Form) -> Result<(), String> {
    let filter = parse_filter(filter)?;
    let journal = match form {
        Form::Auto => journal::reads_stderr(),
        Form::Text => false,
        Form::Journal => true,
    };
    let (filter, handle) = reload::Layer::new(filter);
    let terminal = std::io::stderr().is_terminal();
    let begun = if !journal {
        let look = if terminal {
            Look::Coloured
        } else {
            Look::Plain
        };
        begin(subscriber(filter, look, std::io::stderr))
    } else if let Ok(journal) = Journal::to(Path::new(journal::SOCKET), std::io::stderr) {
        begin(subscriber(filter, Look::Fields, journal))
    } else {
        begin(subscriber(filter, Look::Prefix, std::io::stderr))
    };
    if begun {
        drop(FILTER.set(handle));
    }
    Ok(())
}

/// Fails only when there is one already.
fn begin(subscriber: impl Subscriber + Send + Sync) -> bool {
    tracing::subscriber::set_global_default(subscriber).is_ok()
}

/// The filter of the process, to be exchanged.
static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// Logs by another filter from now on, where [`init`] began to log.
///
/// # Errors
/// The filter is none.
pub fn set_filter(filter: &str) -> Result<(), String> {
    let filter = parse_filter(filter)?;
    match FILTER.get() {
        Some(handle) => handle.reload(filter).map_err(|e| e.to_string()),
        None => Ok(()),
    }
}

pub(super) fn subscriber<W>(
    filter: impl Layer<Registry> + Send + Sync,
    look: Look,
    writer: W,
) -> impl Subscriber
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(writer)
        .with_ansi(false)
        // A full disk behind standard error costs lines. To complain of it there would end the thread.
        .log_internal_errors(false)
        .event_format(Lines { look });
    tracing_subscriber::registry().with(filter).with(lines)
}

/// Whether `filter` is one that [`init`] takes.
///
/// # Errors
/// Says what would be right.
pub fn check_filter(filter: &str) -> Result<(), String> {
    parse_filter(filter).map(drop)
}

pub(super) fn parse_filter(filter: &str) -> Result<EnvFilter, String> {
    let wrong = || {
        format!(
            "{filter:?} is no log level; write error, warn, info, debug or trace, or a filter such as \"info,crtmpserver::edge=debug\""
        )
    };
    // A word that is no level would be taken for the name of a module, and log nothing.
    let first = filter.split(',').next().unwrap_or_default().trim();
    let level = |word: &str| word.parse::<tracing::level_filters::LevelFilter>().is_ok();
    if first.is_empty() || !(first.contains('=') || level(first)) {
        return Err(wrong());
    }
    EnvFilter::try_new(filter).map_err(|_| wrong())
}

/// What stands in front of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// Time and level.
    Plain,
    /// The same with a coloured level.
    Coloured,
    /// journald's priority prefix.
    Prefix,
    /// An entry for journald.
    Fields,
}

struct Lines {
    look: Look,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        ctx: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let plain: Format<Full, SystemTime> = Format::default().with_target(false);
        let mut line = String::new();
        plain
            .without_time()
            .with_level(false)
            .format_event(ctx, Writer::new(&mut line), event)?;
        let level = *event.metadata().level();
        match self.look {
            Look::Fields => return journal::event(event, &line, priority(level), &mut writer),
            Look::Prefix => write!(writer, "<{}>", priority(level))?,
            Look::Plain => {
                SystemTime.format_time(&mut writer)?;
                write!(writer, " {level:>5} ")?;
            }
            Look::Coloured => {
                SystemTime.format_time(&mut writer)?;
                write!(writer, " \x1b[{}m{level:>5}\x1b[0m ", colour(level))?;
            }
        }
        one_line(&line, &mut writer)?;
        writeln!(writer)
    }
}

/// The second wall behind [`Escaped`]: whatever got into an event, it stays one line without a
/// control character. (The subscriber escapes some of them, but not in fields that are displayed.)
pub(super) fn one_line(line: &str, out: &mut impl fmt::Write) -> fmt::Result {
    for c in line.trim_end_matches('\n').chars() {
        if c.is_control() {
            write!(out, "\\x{:02x}", u32::from(c))?;
        } else {
            out.write_char(c)?;
        }
    }
    Ok(())
}

/// Colours of a terminal.
const fn colour(level: Level) -> u8 {
    match level {
        Level::ERROR => 31,
        Level::WARN => 33,
        Level::INFO => 32,
        Level::DEBUG => 34,
        Level::TRACE => 35,
    }
}

/// syslog's priorities.
const fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn no_peer_writes_a_line_of_its_own() {
        let forged = "live\r\n2026-01-01 INFO logged in\x1b[31m\u{85}\u{9b}31m\"'\\\u{7f}\u{202e}";
        assert_eq!(
            Escaped(forged).to_string(),
            r"live\x0d\x0a2026-01-01 INFO logged in\x1b[31m\xc2\x85\xc2\x9b31m\x22\x27\x5c\x7f\xe2\x80\xae"
        );
        assert_eq!(EscapedBytes(b"a\xff\xc3z").to_string(), r"a\xff\xc3z");
        assert_eq!(Escaped("Grüße ✓").to_string(), "Grüße ✓");
    }

    #[test]
    fn a_sentence_keeps_its_quotes_and_nothing_else() {
        let text = "the server's \"user\"\n\u{2028}\\";
        assert_eq!(
            Sentence(text).to_string(),
            "the server's \"user\"\\x0a\\xe2\\x80\\xa8\\x5c"
        );
        assert_eq!(Escaped("'\"").to_string(), "\\x27\\x22");
    }

    #[test]
    fn long_text_is_cut() {
        let fits = "x".repeat(MAX_LOG_FIELD - 3);
        assert_eq!(Escaped(&fits).to_string(), fits);
        let long = "x".repeat(100_000);
        assert_eq!(Escaped(&long).to_string().len(), MAX_LOG_FIELD);
        assert!(Escaped(&"\n".repeat(1000)).to_string().len() <= MAX_LOG_FIELD);
    }

    proptest! {
        #[test]
        fn escaped_is_bounded_and_printable(bytes: Vec<u8>) {
            let text = EscapedBytes(&bytes).to_string();
            prop_assert!(text.len() <= MAX_LOG_FIELD);
            prop_assert!(!text.chars().any(|c| c.is_control() || c == '"'));
        }
    }

    #[test]
    fn twenty_lines_a_second_then_one_that_tells_the_rest() {
        let mut limit = LineLimit::default();
        let t0 = Instant::now();
        for _ in 0..MAX_LOG_LINES {
            assert_eq!(limit.pass("a", t0), Pass::Yes);
        }
        for _ in 0..7 {
            assert_eq!(limit.pass("a", t0), Pass::No);
        }
        assert_eq!(limit.pass("b", t0), Pass::Yes);
        assert_eq!(limit.overdue(t0), [], "its second is not over");
        let next = t0 + Duration::from_secs(1);
        assert_eq!(limit.pass("a", next), Pass::After(7));
        assert_eq!(limit.pass("a", next), Pass::Yes);
        while limit.pass("a", next) == Pass::Yes {}
        let last = next + Duration::from_secs(1);
        assert_eq!(limit.overdue(last), [("a", 1)]);
        assert_eq!(limit.overdue(last), []);
        assert_eq!(limit.pass("a", last), Pass::Yes);
    }

    /// What an event becomes.
    fn logged(look: Look, write: impl FnOnce()) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        let writer = Mutex::new(file.reopen().unwrap());
        let filter = parse_filter("debug").unwrap();
        tracing::subscriber::with_default(subscriber(filter, look, writer), write);
        std::fs::read_to_string(file.path()).unwrap()
    }

    #[test]
    fn an_event_is_one_line_whatever_is_in_it() {
        let text = "x\r\n2026-01-01 ERROR forged\x1b[31m\u{9b}";
        let event = || tracing::warn!(name = text, other = %text, "said {text}");
        let plain = logged(Look::Plain, event);
        assert_eq!(plain.lines().count(), 1, "{plain:?}");
        assert!(!plain.trim_end().chars().any(char::is_control), "{plain:?}");
        assert!(
            plain.contains(" WARN said x") && plain.starts_with("20"),
            "{plain:?}"
        );
        let coloured = logged(Look::Coloured, event);
        assert_eq!(coloured.lines().count(), 1, "{coloured:?}");
        assert_eq!(coloured.matches('\x1b').count(), 2, "{coloured:?}");
        let journal = logged(Look::Prefix, event);
        assert_eq!(journal.lines().count(), 1, "{journal:?}");
        assert!(journal.starts_with("<4>said x"), "{journal:?}");
    }

    #[test]
    fn filters() {
        for good in [
            "info",
            "WARN",
            "off",
            "info,crtmpserver::edge=debug",
            "crtmpserver=trace",
        ] {
            assert_eq!(check_filter(good), Ok(()), "{good}");
        }
        for bad in ["", "loud", "verbose,info", "info,=,"] {
            assert!(check_filter(bad).is_err(), "{bad}");
        }
    }
}
