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

/// A date as `2026-11-22` (its beginning), `2026-11-22T18:30Z` or `2026-11-22T18:30:15Z`, in milliseconds
/// since 1970; `None` for anything else, and for days that no calendar has.
#[must_use]
pub fn parse(text: &str) -> Option<u64> {
    let full = match text.len() {
        10 => format!("{text}T00:00:00Z"),
        17 => format!("{}:00Z", text.strip_suffix('Z')?),
        _ => text.to_owned(),
    };
    let number = |from: usize, to: usize| full.get(from..to)?.parse::<u64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let days = days_to(year, month, day);
    let ms = (days * 86_400 + hour * 3600 + minute * 60 + second) * 1000;
    // Whatever is not written as we write it is another date, or none.
    (rfc3339(ms) == full).then_some(ms)
}

/// The reverse of [`civil`], for a month from 1 to 12 and a day from 1 to 31 since 1970.
const fn days_to(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let (era, year) = (year / 400, year % 400);
    let of_year = (153 * month + 2) / 5 + day - 1;
    era * 146_097 + year * 365 + year / 4 - year / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_as_they_are_written() {
        for (text, seconds) in [
            ("1970-01-01", 0),
            ("2000-02-29T00:00Z", 951_782_400),
            ("2026-11-22T12:00:00Z", 1_795_348_800),
            ("2100-02-28T23:59:59Z", 4_107_542_399),
        ] {
            assert_eq!(parse(text), Some(seconds * 1000), "{text}");
        }
        for day in (0..100_000_u64).step_by(7) {
            let ms = day * 86_400_000;
            assert_eq!(parse(&rfc3339(ms)), Some(ms));
        }
        for bad in [
            "",
            "2026",
            "2026-02-29",
            "2026-13-01",
            "2026-11-22T24:00Z",
            "2026-11-22T12:00:60Z",
            "2026-11-22 12:00:00Z",
            "2026-11-22T12:00",
            "1969-12-31",
            "+026-11-22",
            "2026-11-2\u{e9}",
            "99999-01-01",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

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
