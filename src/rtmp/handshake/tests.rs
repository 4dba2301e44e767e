use proptest::prelude::*;

use super::digest::{DIGEST, HALF, Side, find, hmac, is_answer};
use super::*;

const SEED: [u8; 32] = [7; 32];
const MODES: [(ClientMode, Option<Scheme>); 3] = [
    (ClientMode::Simple, None),
    (ClientMode::Digest, Some(Scheme::Zero)),
    (ClientMode::DigestSchemeOne, Some(Scheme::One)),
];

fn half(bytes: &[u8]) -> &[u8; HALF] {
    bytes.try_into().unwrap()
}

/// Feeds in pieces and returns all output; the pieces must be used up or the handshake done.
fn serve(server: &mut ServerHandshake, bytes: &[u8], cut: usize) -> (Vec<u8>, Vec<u8>, Step) {
    let (mut out, mut rest, mut step) = (Vec::new(), Vec::new(), Step::More);
    for mut piece in bytes.chunks(cut) {
        step = server.feed(&mut piece).unwrap();
        assert!(step == Step::Done || piece.is_empty());
        out.extend(server.output());
        rest.extend(piece);
    }
    (out, rest, step)
}

#[test]
fn hmac_is_rfc_4231() {
    let digest = hmac(b"Jefe", &[b"what do ya want ", b"for nothing?"]);
    let want = [0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e];
    assert_eq!(digest[..8], want);
}

#[test]
fn both_sides_meet_in_each_form() {
    for (mode, scheme) in MODES {
        let mut client = ClientHandshake::new(SEED, 11, mode);
        let mut server = ServerHandshake::new([8; 32], 22);
        let c0c1 = client.output();
        assert_eq!(c0c1[..5], [3, 0, 0, 0, 11]);
        let (reply, _, step) = serve(&mut server, &c0c1, 5000);
        assert_eq!((reply.len(), step), (1 + 2 * HALF, Step::More));
        assert_eq!(reply[..5], [3, 0, 0, 0, 22]);
        assert_eq!(reply[5..9] == [0; 4], scheme.is_none());
        let mut input = &reply[..];
        assert_eq!(client.feed(&mut input), Ok(Step::Done));
        assert!(input.is_empty());
        let c2 = client.output();
        assert_eq!(c2.len(), HALF);
        assert_eq!(serve(&mut server, &c2, 5000).2, Step::Done);
        assert_eq!((client.scheme(), server.scheme()), (scheme, scheme));
        assert_eq!(client.verified(), scheme.is_some());
        if scheme.is_none() {
            assert_eq!(reply[1 + HALF..], c0c1[1..], "S2 echoes C1");
            assert_eq!(c2, reply[1..=HALF], "C2 echoes S1");
        } else {
            let (found, digest) = find(half(&reply[1..=HALF]), Side::Server).unwrap();
            assert_eq!(Some(found), scheme);
            assert!(is_answer(half(&c2), Side::Client, &digest));
        }
    }
}

/// The formulas once more, written as other implementations write them.
#[test]
fn the_digests_are_where_adobe_wants_them() {
    let c0c1 = ClientHandshake::new(SEED, 0, ClientMode::Digest).output();
    let c1 = &c0c1[1..];
    let sum: usize = c1[8..12].iter().map(|b| usize::from(*b)).sum();
    let at = sum % 728 + 12;
    let mut text = c1[..at].to_vec();
    text.extend(&c1[at + DIGEST..]);
    let key: Vec<u8> = [
        0x47, 0x65, 0x6e, 0x75, 0x69, 0x6e, 0x65, 0x20, 0x41, 0x64, 0x6f, 0x62, 0x65, 0x20, 0x46,
        0x6c, 0x61, 0x73, 0x68, 0x20, 0x50, 0x6c, 0x61, 0x79, 0x65, 0x72, 0x20, 0x30, 0x30, 0x31,
    ]
    .into();
    assert_eq!(c1[at..at + DIGEST], hmac(&key, &[&text]));

    let c0c1 = ClientHandshake::new(SEED, 0, ClientMode::DigestSchemeOne).output();
    let c1 = &c0c1[1..];
    let sum: usize = c1[772..776].iter().map(|b| usize::from(*b)).sum();
    let at = sum % 728 + 776;
    let mut text = c1[..at].to_vec();
    text.extend(&c1[at + DIGEST..]);
    assert_eq!(c1[at..at + DIGEST], hmac(&key, &[&text]));
}

#[test]
fn the_largest_digest_offsets_fit() {
    for (at, scheme, last) in [(8, Scheme::Zero, 12 + 727), (772, Scheme::One, 776 + 727)] {
        let mut c1 = [0; HALF];
        c1[at..at + 4].copy_from_slice(&[255, 255, 217, 0]); // 727
        let digest = digest::sign(&mut c1, Side::Client, scheme);
        assert_eq!(c1[last..last + DIGEST], digest);
        assert_eq!(find(&c1, Side::Client), Some((scheme, digest)));
    }
}

#[test]
fn pipelined_bytes_stay_in_the_input_wherever_it_is_cut() {
    for (mode, _) in MODES {
        let mut bytes = ClientHandshake::new(SEED, 0, mode).output().to_vec();
        bytes.extend([0xc2; HALF]); // any C2 will do
        bytes.extend(b"chunk stream");
        for cut in [1, 7, 1535, 1536, 1537, 1538, 3073, 3080, 9999] {
            let mut server = ServerHandshake::new([8; 32], 22);
            let (out, rest, step) = serve(&mut server, &bytes, cut);
            assert_eq!(step, Step::Done);
            assert_eq!(rest, b"chunk stream", "{cut}");
            assert_eq!(out.len(), 1 + 2 * HALF);
        }
        let mut server = ServerHandshake::new([8; 32], 22);
        let c0c1 = ClientHandshake::new(SEED, 0, mode).output();
        let mut reply = serve(&mut server, &c0c1, 9999).0;
        reply.extend(b"chunk stream");
        for at in 0..reply.len() {
            let mut client = ClientHandshake::new(SEED, 0, mode);
            let (mut a, mut b) = reply.split_at(at);
            let early = client.feed(&mut a).unwrap();
            assert_eq!(early == Step::Done, at > 2 * HALF);
            assert_eq!(client.feed(&mut b), Ok(Step::Done));
            assert_eq!([a, b].concat(), b"chunk stream");
            assert_eq!(client.output().len(), 1 + 2 * HALF);
        }
    }
}

#[test]
fn a_version_without_a_digest_is_answered_by_an_echo() {
    let mut bytes = vec![3; 1 + HALF];
    bytes[1..9].copy_from_slice(&[0, 0, 0, 1, 9, 0, 124, 2]);
    let mut server = ServerHandshake::new(SEED, 5);
    let reply = serve(&mut server, &bytes, 9999).0;
    assert_eq!(reply[1..9], [0, 0, 0, 5, 0, 0, 0, 0]);
    assert_eq!(reply[1 + HALF..], bytes[1..]);
    assert_eq!(server.scheme(), None);
}

#[test]
fn a_client_gets_along_with_servers_that_get_it_wrong() {
    // Version but no digest; simple; digest in S1 and nonsense in S2.
    let mut server = ServerHandshake::new(SEED, 5);
    let c0c1 = ClientHandshake::new(SEED, 0, ClientMode::Digest).output();
    let good = serve(&mut server, &c0c1, 9999).0;
    let mut no_digest = good.clone();
    no_digest[1530] ^= 1;
    let mut bad_answer = good.clone();
    bad_answer[1 + HALF] ^= 1;
    let mut simple = vec![3; 1 + 2 * HALF];
    simple[5..9].fill(0);
    for (reply, scheme, echo) in [
        (no_digest, None, true),
        (bad_answer, Some(Scheme::Zero), false),
        (simple, None, true),
    ] {
        let mut client = ClientHandshake::new(SEED, 0, ClientMode::Digest);
        client.output();
        assert_eq!(client.feed(&mut &reply[..]), Ok(Step::Done));
        assert_eq!((client.scheme(), client.verified()), (scheme, false));
        assert_eq!(client.output() == reply[1..=HALF], echo);
    }
}

#[test]
fn other_protocols_and_rtmpe_are_refused_by_the_first_byte() {
    for (byte, error) in [
        (6, HandshakeError::Encrypted(6)),
        (8, HandshakeError::Encrypted(8)),
        (9, HandshakeError::Encrypted(9)),
        (0, HandshakeError::Version(0)),
        (0x53, HandshakeError::Version(0x53)),
        (0x16, HandshakeError::Tls),
        (b'G', HandshakeError::Http),
        (b'P', HandshakeError::Http),
        (b'H', HandshakeError::Http),
    ] {
        let mut server = ServerHandshake::new(SEED, 0);
        assert_eq!(server.feed(&mut &[byte][..]), Err(error));
        assert_eq!(server.feed(&mut &[3][..]), Err(error), "it is final");
        assert!(server.output().is_empty());
        let mut client = ClientHandshake::new(SEED, 0, ClientMode::Simple);
        assert_eq!(client.feed(&mut &[byte][..]), Err(error));
    }
    let text = HandshakeError::Encrypted(6).to_string();
    assert!(text.contains("RTMPE"), "{text}");
}

#[test]
fn random_bytes_come_from_the_seed_and_differ() {
    let halves = |seed| {
        let mut random = Random::new(seed);
        (random.half(), random.half())
    };
    let (a, b) = halves(SEED);
    assert_eq!(halves(SEED), (a.clone(), b.clone()));
    assert_ne!(a, b);
    assert_ne!(halves([8; 32]).0, a);
    assert_ne!(a[..32], a[32..64]);
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..4000), cut in 1..2000usize) {
        let mut server = ServerHandshake::new(SEED, 0);
        let mut client = ClientHandshake::new(SEED, 0, ClientMode::Digest);
        let versioned = [&[3], &bytes[..]].concat();
        for piece in versioned.chunks(cut) {
            let (mut a, mut b) = (piece, piece);
            prop_assert!(server.feed(&mut a).is_ok());
            prop_assert!(client.feed(&mut b).is_ok());
        }
    }
}
