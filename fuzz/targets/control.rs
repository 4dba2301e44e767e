//! The lines of the control socket, in pieces of any size.

use crtmpserver::control::protocol::{Lines, Request, Verb, parse};
use crtmpserver::limits::{MAX_CONTROL_PAGE, MAX_CONTROL_REQUEST};

use super::pieces;

/// What the pieces are cut into does not depend on where they were cut, and nothing is kept beyond
/// one line. What is refused has a reason, and what is understood is within its bounds.
pub fn lines(data: &[u8]) {
    let Some((&seed, data)) = data.split_first() else {
        return;
    };
    let whole = cut(std::iter::once(data));
    assert_eq!(whole, cut(pieces(data, seed)));
    for line in whole.iter().flatten() {
        check(line);
    }
}

/// The lines, and `None` where one is too long.
fn cut<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Vec<Option<Vec<u8>>> {
    let mut lines = Lines::default();
    let mut found = Vec::new();
    for piece in pieces {
        lines.feed(piece);
        loop {
            match lines.next_line() {
                Ok(Some(line)) => found.push(Some(line)),
                Ok(None) => break,
                Err(_) => {
                    found.push(None);
                    return found;
                }
            }
        }
        assert!(lines.held() <= MAX_CONTROL_REQUEST, "kept too much");
    }
    found
}

fn check(line: &[u8]) {
    assert!(line.len() <= MAX_CONTROL_REQUEST && !line.is_empty());
    let page = match parse(line) {
        Ok(Verb::Streams(page) | Verb::Viewers(_, page) | Verb::Mirrors(page)) => page,
        Ok(_) => return,
        Err(refusal) => {
            assert!(!refusal.code.is_empty() && !refusal.message.is_empty());
            // Whoever wrote it gets it back in a line.
            assert!(
                !serde_json::to_string(&refusal)
                    .expect("text")
                    .contains('\n')
            );
            return;
        }
    };
    assert!((1..=MAX_CONTROL_PAGE).contains(&page.limit));
    // What was understood is understood again when it is written anew.
    let request: Request = serde_json::from_slice(line).expect("it was read before");
    let again = serde_json::to_vec(&request).expect("plain data");
    assert_eq!(parse(&again), parse(line));
}
