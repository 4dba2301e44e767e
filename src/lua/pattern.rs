//! Lua's patterns (section 5.4.1 of its manual), by a matcher that counts its steps.
//!
//! The one in Lua's own library goes back as far as a pattern asks for, within one call that no limit of
//! instructions sees.

use std::cell::Cell;

use crate::limits::MAX_LUA_PATTERN_DEPTH;

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The pattern is none.
    Malformed(&'static str),
    /// It takes more steps than are left.
    Steps,
}

/// What is between a pattern's parentheses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Capture {
    /// From the first of these bytes up to the second.
    Text(usize, usize),
    /// `()`: a place, counted from 0.
    Position(usize),
    /// It has begun there.
    Open(usize),
}

/// A match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) begin: usize,
    pub(super) end: usize,
    pub(super) captures: Vec<Capture>,
}

/// Most captures of a pattern, as in Lua.
const MAX_CAPTURES: usize = 32;

/// The first match at `from` or behind it; `steps` are those that are left, for this call and later ones.
pub(super) fn find(
    text: &[u8],
    pattern: &[u8],
    from: usize,
    steps: &Cell<u64>,
) -> Result<Option<Found>, Fault> {
    let (pattern, anchored) = match pattern.strip_prefix(b"^") {
        Some(rest) => (rest, true),
        None => (pattern, false),
    };
    for begin in from..=text.len() {
        let mut matcher = Matcher {
            text,
            pattern,
            captures: Vec::new(),
            steps,
            depth: 0,
        };
        if let Some(end) = matcher.rest(begin, 0)? {
            let captures = matcher.captures;
            return Ok(Some(Found {
                begin,
                end,
                captures,
            }));
        }
        if anchored {
            break;
        }
    }
    Ok(None)
}

struct Matcher<'a> {
    text: &'a [u8],
    pattern: &'a [u8],
    captures: Vec<Capture>,
    steps: &'a Cell<u64>,
    depth: usize,
}

/// Where a match ends, when there is one.
type End = Result<Option<usize>, Fault>;

impl Matcher<'_> {
    fn step(&self) -> Result<(), Fault> {
        let left = self.steps.get().checked_sub(1).ok_or(Fault::Steps)?;
        self.steps.set(left);
        Ok(())
    }

    fn pattern_at(&self, p: usize) -> Option<u8> {
        self.pattern.get(p).copied()
    }

    /// The same, from within a match: as deep as the pattern has parts that may match more than once.
    fn deeper(&mut self, at: usize, p: usize) -> End {
        if self.depth >= MAX_LUA_PATTERN_DEPTH {
            return Err(Fault::Malformed("pattern too complex"));
        }
        self.depth = self.depth.saturating_add(1);
        let end = self.rest(at, p);
        self.depth = self.depth.saturating_sub(1);
        end
    }

    /// Matches the pattern from `p` on with the text from `at` on.
    fn rest(&mut self, mut at: usize, mut p: usize) -> End {
        loop {
            self.step()?;
            let Some(item) = self.pattern_at(p) else {
                return Ok(Some(at));
            };
            match (item, self.pattern_at(p + 1)) {
                (b'(', Some(b')')) => return self.open(Capture::Position(at), at, p + 2),
                (b'(', _) => return self.open(Capture::Open(at), at, p + 1),
                (b')', _) => return self.close(at, p + 1),
                (b'$', None) => return Ok((at == self.text.len()).then_some(at)),
                (b'%', Some(b'b')) => match self.balanced(at, p + 2)? {
                    Some(end) => (at, p) = (end, p + 4),
                    None => return Ok(None),
                },
                (b'%', Some(b'f')) => match self.frontier(at, p + 2)? {
                    Some(end) => p = end,
                    None => return Ok(None),
                },
                (b'%', Some(digit @ b'0'..=b'9')) => match self.again(at, digit)? {
                    Some(end) => (at, p) = (end, p + 2),
                    None => return Ok(None),
                },
                _ => {
                    let end = self.class_end(p)?;
                    let is_one = self.is_one(at, p, end);
                    match self.pattern_at(end) {
                        Some(b'?') => {
                            if is_one && let Some(end) = self.deeper(at + 1, end + 1)? {
                                return Ok(Some(end));
                            }
                            p = end + 1;
                        }
                        Some(b'*') => return self.most(at, p, end),
                        Some(b'+') if is_one => return self.most(at + 1, p, end),
                        Some(b'-') => return self.fewest(at, p, end),
                        Some(b'+') => return Ok(None),
                        _ if is_one => (at, p) = (at + 1, end),
                        _ => return Ok(None),
                    }
                }
            }
        }
    }

    /// As many as there are, and fewer until the rest fits.
    fn most(&mut self, at: usize, p: usize, end: usize) -> End {
        let mut n = 0;
        while self.is_one(at + n, p, end) {
            self.step()?;
            n += 1;
        }
        for n in (0..=n).rev() {
            if let Some(end) = self.deeper(at + n, end + 1)? {
                return Ok(Some(end));
            }
        }
        Ok(None)
    }

    /// None, and more until the rest fits.
    fn fewest(&mut self, mut at: usize, p: usize, end: usize) -> End {
        loop {
            if let Some(end) = self.deeper(at, end + 1)? {
                return Ok(Some(end));
            }
            if !self.is_one(at, p, end) {
                return Ok(None);
            }
            at += 1;
        }
    }

    fn open(&mut self, capture: Capture, at: usize, p: usize) -> End {
        if self.captures.len() >= MAX_CAPTURES {
            return Err(Fault::Malformed("too many captures"));
        }
        let before = self.captures.len();
        self.captures.push(capture);
        let end = self.deeper(at, p)?;
        if end.is_none() {
            self.captures.truncate(before);
        }
        Ok(end)
    }

    fn close(&mut self, at: usize, p: usize) -> End {
        let is_open = |capture: &Capture| matches!(capture, Capture::Open(_));
        let Some(n) = self.captures.iter().rposition(is_open) else {
            return Err(Fault::Malformed("invalid pattern capture"));
        };
        let Some(Capture::Open(begin)) = self.captures.get(n).copied() else {
            return Ok(None);
        };
        self.set(n, Capture::Text(begin, at));
        let end = self.deeper(at, p)?;
        if end.is_none() {
            self.set(n, Capture::Open(begin));
        }
        Ok(end)
    }

    fn set(&mut self, n: usize, capture: Capture) {
        if let Some(place) = self.captures.get_mut(n) {
            *place = capture;
        }
    }

    /// `%b()`: up to the one that closes what begins here.
    fn balanced(&self, at: usize, p: usize) -> End {
        let (Some(opens), Some(closes)) = (self.pattern_at(p), self.pattern_at(p + 1)) else {
            return Err(Fault::Malformed("unbalanced pattern"));
        };
        if self.text.get(at) != Some(&opens) {
            return Ok(None);
        }
        let mut depth = 1_usize;
        for (n, byte) in self.text.iter().enumerate().skip(at + 1) {
            self.step()?;
            if *byte == closes {
                depth -= 1;
                if depth == 0 {
                    return Ok(Some(n + 1));
                }
            } else if *byte == opens {
                depth += 1;
            }
        }
        Ok(None)
    }

    /// `%f[set]`: where the set begins to hold. The place in the pattern behind it.
    fn frontier(&self, at: usize, p: usize) -> End {
        if self.pattern_at(p) != Some(b'[') {
            return Err(Fault::Malformed("missing '[' after '%f' in pattern"));
        }
        let end = self.class_end(p)?;
        let before = at.checked_sub(1).and_then(|n| self.text.get(n));
        let before = before.copied().unwrap_or(0);
        let here = self.text.get(at).copied().unwrap_or(0);
        let holds = |byte| self.is_in_class(byte, p, end);
        Ok((!holds(before) && holds(here)).then_some(end))
    }

    /// `%1`: the same text as the first capture.
    fn again(&self, at: usize, digit: u8) -> End {
        let n = usize::from(digit.wrapping_sub(b'1'));
        let Some(Capture::Text(begin, end)) = self.captures.get(n).copied() else {
            return Err(Fault::Malformed("invalid capture index"));
        };
        let same = self.text.get(begin..end).unwrap_or_default();
        let rest = self.text.get(at..).unwrap_or_default();
        for _ in 0..same.len() / 64 {
            self.step()?;
        }
        Ok(rest.starts_with(same).then_some(at + same.len()))
    }

    /// Where the class that begins at `p` ends.
    fn class_end(&self, p: usize) -> Result<usize, Fault> {
        match self.pattern_at(p) {
            Some(b'%') if self.pattern_at(p + 1).is_none() => {
                Err(Fault::Malformed("malformed pattern (ends with '%')"))
            }
            Some(b'%') => Ok(p + 2),
            Some(b'[') => {
                let mut p = p + 1;
                if self.pattern_at(p) == Some(b'^') {
                    p += 1;
                }
                // A ']' that comes first is one of the set.
                let first = p;
                loop {
                    match self.pattern_at(p) {
                        None => return Err(Fault::Malformed("malformed pattern (missing ']')")),
                        Some(b']') if p != first => return Ok(p + 1),
                        Some(b'%') => p += 2,
                        Some(_) => p += 1,
                    }
                }
            }
            _ => Ok(p + 1),
        }
    }

    fn is_one(&self, at: usize, p: usize, end: usize) -> bool {
        let byte = self.text.get(at);
        byte.is_some_and(|byte| self.is_in_class(*byte, p, end))
    }

    fn is_in_class(&self, byte: u8, p: usize, end: usize) -> bool {
        match self.pattern.get(p..end) {
            Some([b'.']) => true,
            Some([b'%', class]) => is_of(byte, *class),
            Some([b'[', set @ .., b']']) => is_in_set(byte, set),
            Some([one]) => *one == byte,
            _ => false,
        }
    }
}

fn is_in_set(byte: u8, set: &[u8]) -> bool {
    let (mut set, negated) = match set {
        [b'^', rest @ ..] => (rest, true),
        set => (set, false),
    };
    loop {
        let is_there = match set {
            [] => return negated,
            [b'%', class, rest @ ..] => {
                set = rest;
                is_of(byte, *class)
            }
            [from, b'-', to, rest @ ..] => {
                set = rest;
                (*from..=*to).contains(&byte)
            }
            [one, rest @ ..] => {
                set = rest;
                *one == byte
            }
        };
        if is_there {
            return !negated;
        }
    }
}

/// `%a` and the like; a capital is the opposite; anything else is itself.
fn is_of(byte: u8, class: u8) -> bool {
    let is_there = match class.to_ascii_lowercase() {
        b'a' => byte.is_ascii_alphabetic(),
        b'c' => byte.is_ascii_control(),
        b'd' => byte.is_ascii_digit(),
        b'l' => byte.is_ascii_lowercase(),
        b'p' => byte.is_ascii_punctuation(),
        b's' => byte.is_ascii_whitespace() || byte == 0x0b,
        b'u' => byte.is_ascii_uppercase(),
        b'w' => byte.is_ascii_alphanumeric(),
        b'x' => byte.is_ascii_hexdigit(),
        b'z' => byte == 0,
        _ => return byte == class,
    };
    is_there != class.is_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, pattern: &str) -> Option<(usize, usize, Vec<Capture>)> {
        let steps = Cell::new(10_000);
        let found = find(text.as_bytes(), pattern.as_bytes(), 0, &steps).unwrap();
        found.map(|f| (f.begin, f.end, f.captures))
    }

    #[test]
    fn it_finds_what_lua_finds() {
        let place = |text, pattern| found(text, pattern).map(|(begin, end, _)| (begin, end));
        for (text, pattern, wanted) in [
            ("hello", "l+", Some((2, 4))),
            ("hello", "^l", None),
            ("hello", "o$", Some((4, 5))),
            ("a$b", "$b", Some((1, 3))),
            ("", "", Some((0, 0))),
            ("abc", ".-c", Some((0, 3))),
            ("key = value", "%s*=%s*", Some((3, 6))),
            ("x[1]", "%[%d%]", Some((1, 4))),
            ("a]b", "[]]", Some((1, 2))),
            ("a-b", "[%-]", Some((1, 2))),
            ("ab9", "[^a-z]", Some((2, 3))),
            ("f(a(b)c)d", "%b()", Some((1, 8))),
            ("THE (quick) fox", "%f[%a]%a+%f[%A]", Some((0, 3))),
            ("colour", "colou?r", Some((0, 6))),
            ("color", "colou?r", Some((0, 5))),
            ("aaa", "a-$", Some((0, 3))),
            ("# comment", "^#.*$", Some((0, 9))),
            ("flvplayback", "^#.*$", None),
            ("0xAf", "^0x%x+$", Some((0, 4))),
            ("ab", "%u", None),
        ] {
            assert_eq!(place(text, pattern), wanted, "{text:?} {pattern:?}");
        }
        let (_, _, captures) = found("  name  ", "^%s*(.-)%s*$").unwrap();
        assert_eq!(captures, [Capture::Text(2, 6)]);
        let (_, _, captures) = found("k=v", "()(%w)=(%w)()").unwrap();
        let wanted = [
            Capture::Position(0),
            Capture::Text(0, 1),
            Capture::Text(2, 3),
            Capture::Position(3),
        ];
        assert_eq!(captures, wanted);
        assert_eq!(place("say 'it' and \"it\"", "(['\"])it%1"), Some((4, 8)));
    }

    #[test]
    fn what_is_no_pattern_is_told() {
        for bad in ["%", "[a", "[^", "%b", "%bx", "%f", "%1", "a)", "[%", "%0"] {
            let steps = Cell::new(10_000);
            let fault = find(b"xaa)", bad.as_bytes(), 0, &steps);
            assert!(
                matches!(fault, Err(Fault::Malformed(_))),
                "{bad}: {fault:?}"
            );
        }
        let many = "a?".repeat(MAX_LUA_PATTERN_DEPTH + 5);
        let text = "a".repeat(many.len());
        let fault = find(text.as_bytes(), many.as_bytes(), 0, &Cell::new(1 << 20));
        assert_eq!(fault, Err(Fault::Malformed("pattern too complex")));
    }

    #[test]
    fn going_back_without_end_has_one() {
        let steps = Cell::new(100_000);
        let text = "a".repeat(60);
        let pattern = "a*".repeat(30) + "b";
        let fault = find(text.as_bytes(), pattern.as_bytes(), 0, &steps);
        assert_eq!((fault, steps.get()), (Err(Fault::Steps), 0));
    }
}
