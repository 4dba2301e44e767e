//! The field `Range` (RFC 9110 section 14.2).

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Everything: nothing else is asked for, or in a way that may be ignored.
    All,
    /// From this byte to before that one.
    Of(u64, u64),
    /// What the file does not have.
    Beyond,
}

/// Reads the field, for a file of so many bytes. Several ranges at once are answered with everything: no
/// player asks so.
pub(super) fn part(field: &str, length: u64) -> Part {
    let Some(range) = field.trim().strip_prefix("bytes=") else {
        return Part::All;
    };
    let Some((from, to)) = range.trim().split_once('-') else {
        return Part::All;
    };
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        // More than a number can be is more than any file has.
        digits.then(|| text.parse::<u64>().unwrap_or(u64::MAX))
    };
    match (from.trim(), to.trim()) {
        ("", last) => match number(last) {
            None => Part::All,
            Some(0) => Part::Beyond,
            Some(_) if length == 0 => Part::Beyond,
            Some(count) => Part::Of(length.saturating_sub(count), length),
        },
        (from, to) => match (number(from), number(to)) {
            (Some(from), _) if from >= length && (to.is_empty() || number(to).is_some()) => {
                Part::Beyond
            }
            (Some(from), None) if to.is_empty() => Part::Of(from, length),
            (Some(from), Some(to)) if from <= to => {
                Part::Of(from, to.saturating_add(1).min(length))
            }
            _ => Part::All,
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parts_are_read_as_the_standard_has_them() {
        for (field, expected) in [
            ("bytes=0-", Part::Of(0, 100)),
            ("bytes=0-0", Part::Of(0, 1)),
            ("bytes=10-19", Part::Of(10, 20)),
            ("bytes=90-1000", Part::Of(90, 100)),
            ("bytes=99-", Part::Of(99, 100)),
            ("bytes=-1", Part::Of(99, 100)),
            ("bytes=-1000", Part::Of(0, 100)),
            ("bytes=100-", Part::Beyond),
            ("bytes=100-200", Part::Beyond),
            ("bytes=-0", Part::Beyond),
            ("bytes=99999999999999999999999-", Part::Beyond),
            ("bytes=20-10", Part::All),
            ("bytes=-", Part::All),
            ("bytes=a-b", Part::All),
            ("bytes=0-1,5-6", Part::All),
            ("bytes=+1-2", Part::All),
            ("lines=1-2", Part::All),
            ("", Part::All),
        ] {
            assert_eq!(part(field, 100), expected, "{field:?}");
        }
        for field in ["bytes=0-", "bytes=0-0", "bytes=-5"] {
            assert_eq!(part(field, 0), Part::Beyond, "{field:?} of nothing");
        }
    }

    proptest! {
        #[test]
        fn a_part_is_within_the_file(field in "bytes=[0-9]{0,22}-[0-9]{0,22}", length: u64) {
            if let Part::Of(from, until) = part(&field, length) {
                prop_assert!(from < until && until <= length);
            }
        }
    }
}
