//! Files made by hand, cut at every place, and at every limit.

use proptest::prelude::*;

use super::*;
use crate::limits::MAX_FLV_HEADER;

fn tag(kind: u8, timestamp: u32, payload: &[u8]) -> Tag {
    Tag {
        kind,
        timestamp,
        payload: Bytes::copy_from_slice(payload),
    }
}

fn file(tags: &[Tag]) -> Vec<u8> {
    let header = FileHeader {
        audio: true,
        video: true,
    };
    let mut out = header.encode().to_vec();
    for tag in tags {
        put_tag(&mut out, tag.kind, tag.timestamp, &tag.payload).unwrap();
    }
    out
}

fn reader() -> Reader {
    Reader::new(ReaderLimits::default()).strict()
}

/// Feeds all of `bytes` and returns the tags that come out.
fn feed(reader: &mut Reader, mut bytes: &[u8]) -> Result<Vec<Tag>, FlvError> {
    let mut out = Vec::new();
    while let Some(tag) = reader.feed(&mut bytes)? {
        out.push(tag);
    }
    assert!(bytes.is_empty(), "`None` means that all was used");
    Ok(out)
}

fn sample() -> Vec<Tag> {
    vec![
        tag(SCRIPT, 0, b"\x02\x00\x0aonMetaData"),
        tag(VIDEO, 0x00ff_fffe, b"\x17\x01\0\0\0picture"),
        tag(AUDIO, 0x0100_0001, b""),
        tag(15, 0xffff_ffff, b"skip me"),
        tag(AUDIO, 0, &[0xaf; 300]),
    ]
}

#[test]
fn a_tag_has_the_bytes_of_the_specification() {
    let mut out = Vec::new();
    put_tag(&mut out, VIDEO, 0x1234_5678, &[1, 2]).unwrap();
    assert_eq!(
        out,
        [
            9, 0, 0, 2, 0x34, 0x56, 0x78, 0x12, 0, 0, 0, 1, 2, 0, 0, 0, 13
        ]
    );
    let video = FileHeader {
        audio: false,
        video: true,
    };
    assert_eq!(&video.encode(), b"FLV\x01\x01\0\0\0\x09\0\0\0\0");
}

#[test]
fn a_file_may_arrive_in_any_pieces() {
    let bytes = file(&sample());
    for cut in 0..=bytes.len() {
        let (head, tail) = bytes.split_at(cut);
        let mut reader = reader();
        let mut tags = feed(&mut reader, head).unwrap();
        tags.extend(feed(&mut reader, tail).unwrap());
        assert_eq!(tags, sample(), "cut at {cut}");
        assert!(reader.at_boundary());
        assert_eq!(
            reader.header(),
            Some(FileHeader {
                audio: true,
                video: true
            })
        );
    }
    let mut reader = reader();
    let mut tags = Vec::new();
    for byte in bytes {
        tags.extend(feed(&mut reader, &[byte]).unwrap());
    }
    assert_eq!(tags, sample(), "byte by byte");
}

#[test]
fn the_end_may_come_between_tags_only() {
    let one = tag(AUDIO, 1, b"ab");
    let bytes = file(std::slice::from_ref(&one));
    let with_body = bytes.len() - TAG_TRAILER;
    for end in 0..=bytes.len() {
        let mut reader = reader();
        feed(&mut reader, &bytes[..end]).unwrap();
        let expected = [9, FILE_HEADER, with_body, bytes.len()].contains(&end);
        assert_eq!(reader.at_boundary(), expected, "{end}");
    }
}

#[test]
fn a_wrong_size_behind_a_tag_matters_to_the_strict_only() {
    let mut bytes = file(&sample());
    let end = FILE_HEADER + TAG_HEADER + 13 + TAG_TRAILER;
    bytes[end - 1] ^= 1;
    assert_eq!(
        feed(&mut reader(), &bytes),
        Err(FlvError::Trailer {
            expected: 24,
            found: 25
        })
    );
    let mut lenient = Reader::new(ReaderLimits::default());
    assert_eq!(feed(&mut lenient, &bytes), Ok(sample()));
}

#[test]
fn what_is_no_flv_is_refused_for_good() {
    let mut r = reader();
    assert_eq!(feed(&mut r, b"HTTP/1.1 404"), Err(FlvError::NotFlv));
    assert_eq!(feed(&mut r, &file(&[])), Err(FlvError::NotFlv));

    let mut encrypted = file(&sample());
    encrypted[FILE_HEADER] |= 0x20;
    assert_eq!(feed(&mut reader(), &encrypted), Err(FlvError::Encrypted));
}

#[test]
fn the_header_may_be_longer_up_to_a_limit() {
    for (size, good) in [
        (8, false),
        (9, true),
        (10, true),
        (MAX_FLV_HEADER, true),
        (MAX_FLV_HEADER + 1, false),
        (u32::MAX, false),
    ] {
        let mut bytes = b"FLV\x01\x05".to_vec();
        bytes.extend(size.to_be_bytes());
        if good {
            bytes.resize(bytes.len() + usize::try_from(size).unwrap() - 9, 7);
        }
        bytes.extend(&file(&sample())[9..]);
        let expected = if good {
            Ok(sample())
        } else {
            Err(FlvError::NotFlv)
        };
        assert_eq!(feed(&mut reader(), &bytes), expected, "{size}");
    }
}

#[test]
fn each_type_has_its_limit() {
    let limits = ReaderLimits {
        audio: 2,
        video: 3,
        other: 1,
    };
    for (kind, limit) in [(AUDIO, 2), (VIDEO, 3), (SCRIPT, 1), (0, 1)] {
        for (size, good) in [(limit, true), (limit + 1, false)] {
            let tags = [tag(kind, 0, &vec![0; size])];
            let expected = if good {
                Ok(tags.to_vec())
            } else {
                Err(FlvError::TooLarge {
                    kind,
                    size: u32::try_from(size).unwrap(),
                })
            };
            let mut reader = Reader::new(limits);
            assert_eq!(feed(&mut reader, &file(&tags)), expected);
        }
    }
}

#[test]
fn a_claim_costs_no_memory() {
    let mut bytes = file(&[]);
    bytes.extend([9, 0x7f, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 1]);
    let limits = ReaderLimits {
        video: usize::MAX,
        ..ReaderLimits::default()
    };
    let mut reader = Reader::new(limits);
    assert_eq!(feed(&mut reader, &bytes), Ok(vec![]));
    assert!(reader.memory() < 4096);
}

#[test]
fn a_body_has_24_bits_of_length() {
    let body = vec![0; MAX_BODY + 1];
    let mut out = Vec::new();
    assert_eq!(put_tag(&mut out, VIDEO, 0, &body), Err(TooLong));
    assert!(out.is_empty());
    assert_eq!(put_tag(&mut out, VIDEO, 0, &body[1..]), Ok(()));
    assert_eq!(out.len(), TAG_HEADER + MAX_BODY + TAG_TRAILER);
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        list in proptest::collection::vec(
            (0u8..32, any::<u32>(), proptest::collection::vec(any::<u8>(), 0..50)), 0..8),
        piece in 1usize..40,
    ) {
        let tags: Vec<Tag> = list.iter().map(|(k, t, p)| tag(*k, *t, p)).collect();
        let mut reader = reader();
        let mut got = Vec::new();
        for part in file(&tags).chunks(piece) {
            got.extend(feed(&mut reader, part).unwrap());
        }
        prop_assert_eq!(got, tags);
    }

    #[test]
    fn anything_may_arrive(
        begun in any::<bool>(),
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let mut reader = Reader::new(ReaderLimits { audio: 64, video: 64, other: 64 });
        if begun {
            feed(&mut reader, &file(&sample()[..1])).unwrap();
        }
        let _ = feed(&mut reader, &bytes);
        prop_assert!(reader.memory() <= 4096);
    }
}
