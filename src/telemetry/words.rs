//! Figures as people say them.

/// `1 stream`, `2 streams`.
#[must_use]
pub fn count(n: usize, what: &str) -> String {
    let s = if n == 1 { "" } else { "s" };
    format!("{n} {what}{s}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_no_plural() {
        let said = [0, 1, 2].map(|n| count(n, "viewer"));
        assert_eq!(said, ["0 viewers", "1 viewer", "2 viewers"]);
    }
}
