//! Whole logins, step by step, with a virtual clock.

use std::time::Duration;

use super::*;

const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 9));

fn at(random: u8, now: Instant) -> Moment {
    Moment {
        peer: PEER,
        random: [random; 16],
        now,
    }
}

fn users() -> Users {
    let verifier = adobe::verifier("ann", "salt", "secret");
    Users::parse(&format!("ann:adobe1:salt:{verifier}\n"))
        .ok()
        .unwrap()
}

fn ask(book: &mut Book, user: &str, random: u8, now: Instant) -> (String, String) {
    let query = adobe::Query {
        user: Some(user),
        ..Default::default()
    };
    match book.step(&users(), &query, &at(random, now)) {
        Outcome::Challenge { salt, challenge } => (salt, challenge),
        other => panic!("{other:?}"),
    }
}

fn reply(book: &mut Book, user: &str, opaque: &str, response: &str, now: Instant) -> Outcome {
    let query = adobe::Query {
        user: Some(user),
        challenge: Some("mine"),
        response: Some(response),
        opaque: Some(opaque),
    };
    book.step(&users(), &query, &at(0, now))
}

fn right(salt: &str, opaque: &str) -> String {
    adobe::response(&adobe::verifier("ann", salt, "secret"), opaque, "mine")
}

#[test]
fn a_right_answer_is_welcome_once() {
    let now = Instant::now();
    let mut book = Book::new([1; 32], now);
    let (salt, opaque) = ask(&mut book, "ann", 1, now);
    let response = right(&salt, &opaque);
    assert_eq!(
        reply(&mut book, "ann", &opaque, &response, now),
        Outcome::Welcome("ann".into())
    );
    let replayed = reply(&mut book, "ann", &opaque, &response, now);
    assert!(matches!(
        replayed,
        Outcome::Stale {
            error: ChallengeError::Used,
            ..
        }
    ));
}

#[test]
fn late_forged_and_missing_challenges_fail() {
    let now = Instant::now();
    let mut book = Book::new([1; 32], now);
    let (salt, opaque) = ask(&mut book, "ann", 1, now);
    let late = now + Duration::from_secs(31);
    let outcome = reply(&mut book, "ann", &opaque, &right(&salt, &opaque), late);
    assert!(matches!(
        outcome,
        Outcome::Stale {
            error: ChallengeError::Expired,
            ..
        }
    ));
    for forged in ["vgoAAA==", ""] {
        let outcome = reply(&mut book, "ann", forged, &right(&salt, forged), late);
        assert!(matches!(
            outcome,
            Outcome::Stale {
                error: ChallengeError::Unknown,
                ..
            }
        ));
    }
}

#[test]
fn a_user_who_does_not_exist_gets_a_steady_salt_and_never_in() {
    let now = Instant::now();
    let mut book = Book::new([1; 32], now);
    let (salt, opaque) = ask(&mut book, "eve", 1, now);
    let (again, _) = ask(&mut Book::new([2; 32], now), "eve", 2, now);
    assert_eq!(salt, again);
    let made_up = users().credentials("eve").0.verifier;
    let response = adobe::response(&made_up, &opaque, "mine");
    let outcome = reply(&mut book, "eve", &opaque, &response, now);
    assert!(matches!(outcome, Outcome::Wrong { known: false, .. }));
}

#[test]
fn after_six_failures_even_the_right_password_waits() {
    let now = Instant::now();
    let mut book = Book::new([1; 32], now);
    for n in 0..6 {
        let (_, opaque) = ask(&mut book, "ann", n, now);
        let outcome = reply(&mut book, "ann", &opaque, "wrong", now);
        assert!(matches!(outcome, Outcome::Wrong { known: true, .. }), "{n}");
    }
    let (salt, opaque) = ask(&mut book, "ann", 9, now);
    let response = right(&salt, &opaque);
    assert_eq!(
        reply(&mut book, "ann", &opaque, &response, now),
        Outcome::Blocked { seconds: 2 }
    );
    let later = now + Duration::from_secs(1);
    assert!(matches!(
        reply(&mut book, "ann", &opaque, &response, later),
        Outcome::Welcome(_)
    ));
}

#[test]
fn an_endless_name_is_asked_for_another() {
    let now = Instant::now();
    let mut book = Book::new([1; 32], now);
    let long = "x".repeat(MAX_NAME + 1);
    let query = adobe::Query {
        user: Some(&long),
        ..Default::default()
    };
    assert_eq!(book.step(&users(), &query, &at(0, now)), Outcome::NeedUser);
}

#[test]
fn the_file_is_read_again_when_it_changes_and_a_bad_one_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("users");
    let line = |name: &str, salt: &str| {
        format!(
            "{name}:adobe1:{salt}:{}\n",
            adobe::verifier(name, salt, "secret")
        )
    };
    std::fs::write(&path, line("ann", "salt")).unwrap();
    let now = Instant::now();
    let logins = Logins::open(&path, None, now).unwrap();
    let salt_of_bob = || {
        let query = adobe::Query {
            user: Some("bob"),
            ..Default::default()
        };
        let (description, _) = logins.step(&query, PEER, now).unwrap_err();
        description.contains("salt=bobs&")
    };
    assert!(!salt_of_bob());
    std::fs::write(&path, line("ann", "salt") + &line("bob", "bobs")).unwrap();
    assert!(salt_of_bob());
    std::fs::write(&path, "nonsense").unwrap();
    assert!(salt_of_bob(), "a bad file keeps the users there were");
    std::fs::remove_file(&path).unwrap();
    assert!(salt_of_bob(), "a missing file too");
    assert!(Logins::open(&path, None, now).is_err());
}
