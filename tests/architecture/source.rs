//! Reads Rust just well enough to tell which names a file uses.

use std::collections::BTreeSet;

/// Splits source into identifiers and single punctuation (`::` is one token); comments, strings and
/// characters are left out, so nothing in them counts.
pub(crate) fn tokens(source: &str) -> Vec<String> {
    let text: Vec<char> = source.chars().collect();
    let at = |i: usize| text.get(i).copied().unwrap_or('\0');
    let mut out = Vec::new();
    let mut i = 0;
    while i < text.len() {
        let c = at(i);
        if c == '/' && at(i + 1) == '/' {
            while i < text.len() && at(i) != '\n' {
                i += 1;
            }
        } else if c == '/' && at(i + 1) == '*' {
            i = skip_block_comment(&text, i);
        } else if let Some(end) = skip_string(&text, i) {
            out.push("\"\"".to_owned());
            i = end;
        } else if c == '\'' {
            // A character ('x', '\n', '\u{7f}') or a lifetime ('a).
            if at(i + 1) == '\\' {
                i += 3;
                while i < text.len() && at(i) != '\'' {
                    i += 1;
                }
                i += 1;
            } else if at(i + 2) == '\'' {
                i += 3;
            } else {
                i += 1;
            }
        } else if c.is_alphanumeric() || c == '_' {
            let start = i;
            while at(i).is_alphanumeric() || at(i) == '_' {
                i += 1;
            }
            out.push(text[start..i].iter().collect());
        } else if c == ':' && at(i + 1) == ':' {
            out.push("::".to_owned());
            i += 2;
        } else {
            if !c.is_whitespace() {
                out.push(c.to_string());
            }
            i += 1;
        }
    }
    out
}

fn skip_block_comment(text: &[char], mut i: usize) -> usize {
    let mut depth = 0;
    while i < text.len() {
        match (text[i], text.get(i + 1)) {
            ('/', Some('*')) => {
                depth += 1;
                i += 2;
            }
            ('*', Some('/')) => {
                depth -= 1;
                i += 2;
                if depth == 0 {
                    break;
                }
            }
            _ => i += 1,
        }
    }
    i
}

/// The end of the string that begins at `i`, with its prefix (`b`, `c`, `r`, `br`), if one does.
fn skip_string(text: &[char], i: usize) -> Option<usize> {
    let before = i.checked_sub(1).and_then(|j| text.get(j)).copied();
    if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
        return None;
    }
    let at = |j: usize| text.get(j).copied().unwrap_or('\0');
    let mut j = i;
    if matches!(at(j), 'b' | 'c') {
        j += 1;
    }
    if at(j) == 'r' {
        j += 1;
        let hashes = (j..).take_while(|&k| at(k) == '#').count();
        j += hashes;
        if at(j) != '"' {
            return None;
        }
        j += 1;
        while j < text.len() {
            if at(j) == '"' && (1..=hashes).all(|k| at(j + k) == '#') {
                return Some(j + 1 + hashes);
            }
            j += 1;
        }
        return Some(j);
    }
    if at(j) != '"' {
        return None;
    }
    j += 1;
    while j < text.len() && at(j) != '"' {
        j += if at(j) == '\\' { 2 } else { 1 };
    }
    Some(j + 1)
}

/// Takes out what is under `#[cfg(test)]` (or `#[test]`); the names of modules declared there in
/// files of their own go to `test_modules`.
pub(crate) fn without_tests(tokens: &[String], test_modules: &mut Vec<String>) -> Vec<String> {
    let mut out = Vec::new();
    let mut i = 0;
    while i < tokens.len() {
        if tokens[i] == "#" && tokens.get(i + 1).is_some_and(|t| t == "[") {
            let end = close(tokens, i + 1);
            let inside = &tokens[i + 2..end.saturating_sub(1).max(i + 2)];
            let test = match inside.first().map(String::as_str) {
                Some("cfg") => {
                    inside.iter().any(|t| t == "test") && !inside.iter().any(|t| t == "not")
                }
                Some("test") => true,
                _ => false,
            };
            if test {
                i = skip_item(tokens, end, test_modules);
            } else {
                out.extend_from_slice(&tokens[i..end]);
                i = end;
            }
        } else {
            out.push(tokens[i].clone());
            i += 1;
        }
    }
    out
}

/// The position behind the bracket that closes the one at `open`.
fn close(tokens: &[String], open: usize) -> usize {
    let mut depth = 0usize;
    for (i, token) in tokens.iter().enumerate().skip(open) {
        match token.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => {
                depth -= 1;
                if depth == 0 {
                    return i + 1;
                }
            }
            _ => {}
        }
    }
    tokens.len()
}

/// The position behind the item (or field, or statement) at `i`.
fn skip_item(tokens: &[String], mut i: usize, test_modules: &mut Vec<String>) -> usize {
    let mut previous = "";
    while i < tokens.len() {
        match tokens[i].as_str() {
            "{" => return close(tokens, i),
            "(" | "[" => i = close(tokens, i),
            ";" | "," => return i + 1,
            "}" => return i,
            word => {
                if previous == "mod" && tokens.get(i + 1).is_some_and(|t| t == ";") {
                    test_modules.push(word.to_owned());
                }
                previous = word;
                i += 1;
            }
        }
    }
    i
}

/// The top modules of this crate that the tokens of a file at `module` (`["rtmp", "chunk"]`) name,
/// by `crate::` or by climbing with `super::`.
pub(crate) fn arrows(tokens: &[String], module: &[String]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut i = 0;
    while i < tokens.len() {
        let root = match tokens[i].as_str() {
            "crate" | "crtmpserver" => Some(i + 1),
            "super" if i == 0 || tokens[i - 1] != "::" => {
                let mut ups = 1;
                let mut j = i + 1;
                while tokens.get(j).is_some_and(|t| t == "::")
                    && tokens.get(j + 1).is_some_and(|t| t == "super")
                {
                    ups += 1;
                    j += 2;
                }
                (ups >= module.len()).then_some(j)
            }
            _ => None,
        };
        i += 1;
        let Some(after) = root else { continue };
        if tokens.get(after).is_none_or(|t| t != "::") {
            continue;
        }
        match tokens.get(after + 1).map(String::as_str) {
            Some("{") => {
                // use crate::{wire::Reader, media::{Frame, Kind}}: names at depth one, behind `{` or `,`
                let end = close(tokens, after + 1);
                let mut depth = 0;
                for j in after + 1..end {
                    match tokens[j].as_str() {
                        "{" => depth += 1,
                        "}" => depth -= 1,
                        name if depth == 1 && matches!(tokens[j - 1].as_str(), "{" | ",") => {
                            found.insert(name.to_owned());
                        }
                        _ => {}
                    }
                }
            }
            Some(name) => {
                found.insert(name.to_owned());
            }
            None => {}
        }
    }
    found
}

pub(crate) fn has(tokens: &[String], pattern: &[&str]) -> bool {
    tokens
        .windows(pattern.len())
        .any(|w| w.iter().zip(pattern).all(|(a, b)| a == b))
}

/// `use std::{fs, net}` names `std::fs` too: writes out the first level of such lists.
pub(crate) fn flatten_std(tokens: &[String]) -> Vec<String> {
    let mut out = tokens.to_vec();
    for i in 0..tokens.len() {
        if tokens[i] == "std"
            && tokens.get(i + 1).is_some_and(|t| t == "::")
            && tokens.get(i + 2).is_some_and(|t| t == "{")
        {
            for j in i + 3..close(tokens, i + 2) {
                if matches!(tokens[j - 1].as_str(), "{" | ",") {
                    out.extend(["std", "::", &tokens[j], ";"].map(str::to_owned));
                }
            }
        }
    }
    out
}
