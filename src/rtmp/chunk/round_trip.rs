//! What is written is read, whatever it is and however it is cut.

use bytes::BytesMut;
use proptest::prelude::*;

use super::tests::{drain, message, reader, written};
use super::write_absolute;
use crate::rtmp::message::Message;

fn messages() -> impl Strategy<Value = Vec<Message>> {
    let kinds = prop_oneof![Just(8u8), Just(9), Just(18), Just(20)];
    let times = prop_oneof![
        0..100u32,
        0x00ff_fff0..0x0100_0010u32,
        0xffff_fff0..=u32::MAX,
        any::<u32>()
    ];
    let ids = prop_oneof![3..8u32, 60..70u32, 315..325u32];
    let one = (ids, kinds, times, 0..3u32, 0..700usize, any::<u8>());
    prop::collection::vec(
        one.prop_map(|(id, kind, time, stream, length, byte)| Message {
            stream,
            ..message(id, kind, time, &vec![byte; length])
        }),
        0..30,
    )
}

proptest! {
    /// Not in chunks of one byte: with a header of seven each that is refused (`Overhead`) once the
    /// list is long enough.
    #[test]
    fn what_is_written_is_read(
        list in messages(), size in 2..900u32, cut in 1..400usize, absolute: bool
    ) {
        let out = if absolute {
            let mut out = written(&[], size);
            list.iter().for_each(|m| write_absolute(&mut out, size, m));
            out
        } else {
            written(&list, size)
        };
        let mut r = reader();
        let got = drain(&mut r, out.chunks(cut)).unwrap();
        prop_assert_eq!(&got[1..], &list[..]);
        prop_assert_eq!(r.buffered(), 0);
    }

    /// Chunks of several writers, one for each chunk stream, shuffled into each other.
    #[test]
    fn interleaved_messages_come_out_whole(
        lists in prop::collection::vec(messages(), 1..4), picks in prop::collection::vec(0..4usize, 0..200)
    ) {
        let mut queues: Vec<Vec<Vec<u8>>> = Vec::new();
        let mut want: Vec<Vec<Message>> = Vec::new();
        for (i, list) in lists.iter().enumerate() {
            let id = 10 + u32::try_from(i).unwrap();
            let list: Vec<_> = list.iter().map(|m| Message { chunk_stream: id, ..m.clone() }).collect();
            let mut chunks = Vec::new();
            for m in &list {
                let mut out = BytesMut::new();
                write_absolute(&mut out, 128, m);
                let head = if m.timestamp >= 0x00ff_ffff { (16, 5) } else { (12, 1) };
                let mut rest = &out[..];
                let mut header = head.0;
                while !rest.is_empty() {
                    let (chunk, next) = rest.split_at(rest.len().min(header + 128));
                    chunks.push(chunk.to_vec());
                    rest = next;
                    header = head.1;
                }
            }
            chunks.reverse();
            queues.push(chunks);
            want.push(list);
        }
        let mut bytes = Vec::new();
        for pick in picks.into_iter().chain(0..4) {
            if let Some(chunk) = queues.get_mut(pick).and_then(Vec::pop) {
                bytes.extend(chunk);
            }
        }
        for queue in queues.iter_mut() {
            while let Some(chunk) = queue.pop() {
                bytes.extend(chunk);
            }
        }
        let got = drain(&mut reader(), [&bytes[..]]).unwrap();
        for (i, list) in want.iter().enumerate() {
            let id = 10 + u32::try_from(i).unwrap();
            let mine: Vec<_> = got.iter().filter(|m| m.chunk_stream == id).cloned().collect();
            prop_assert_eq!(&mine, list);
        }
    }

    #[test]
    fn no_bytes_panic_and_cuts_do_not_matter(
        bytes in prop::collection::vec(prop_oneof![any::<u8>(), 0..10u8], 0..600), cut in 1..50usize
    ) {
        let run = |cut: usize| {
            let mut r = reader();
            let mut got = Vec::new();
            for mut piece in bytes.chunks(cut) {
                loop {
                    match r.feed(&mut piece) {
                        Ok(Some(m)) => got.push(m),
                        Ok(None) => break,
                        Err(e) => return (got, Some(e)),
                    }
                }
            }
            (got, None)
        };
        prop_assert_eq!(run(cut), run(600));
    }
}
