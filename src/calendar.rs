//! Unix time as people and players read it (RFC 3339, UTC).

use std::fmt::Write as _;

/// Milliseconds since 1970 as `2026-11-22T12:00:00Z`.
#[must_use]
pub fn rfc3339(unix_ms: u64) -> String {
    let mut out = String::with_capacity(20);
    push(&mut out, unix_ms);
    out.push('Z');
    out
}

/// Appends milliseconds since 1970 as `2026-11-22T12:00:00.000Z`.
pub fn push_rfc3339_ms(out: &mut String, unix_ms: u64) {
    push(out, unix_ms);
    let _ = write!(out, ".{:03}Z", unix_ms % 1000);
}

fn push(out: &mut String, unix_ms: u64) {
    let seconds = unix_ms / 1000;
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let _ = write!(
        out,
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"
    );
}

/// Year, month and day, so many days after 1 January 1970, in the Gregorian calendar. The year is
/// counted from March, so that the leap day is its last and the months' lengths repeat by five.
fn civil(days: u64) -> (u64, u64, u64) {
    const ERA: u64 = 146_097; // days of 400 years
    let since = days.saturating_add(719_468); // from 1 March of year 0
    let (era, day) = (since / ERA, since % ERA);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    (era * 400 + year + next, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (1_709_251_200, "2024-03-01T00:00:00Z"),
            (1_795_348_800, "2026-11-22T12:00:00Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(seconds * 1000 + 999), text);
        }
        let mut last = (1969, 12, 31);
        for day in 0..100_000 {
            let date = civil(day);
            assert!(date > last, "{date:?} after {last:?}");
            last = date;
        }
    }
}
