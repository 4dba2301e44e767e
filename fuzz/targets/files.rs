//! Media files: whatever is in one, its index ends, is no larger than the file allows, and points
//! nowhere else. And what a crash left of a recording, which is mended at the next start.

use std::convert::Infallible;

use crtmpserver::bridge::recording::{End, Format, whole};
use crtmpserver::index::{Indexer, Seek, Step};
use crtmpserver::limits::MAX_FILE_INDEX;

/// The input is a file.
pub fn index(data: &[u8]) {
    let mut indexer = Indexer::new(data.len() as u64);
    let mut given: &[u8] = &[];
    let mut steps = 0;
    let index = loop {
        steps += 1;
        assert!(steps <= 2 * data.len() + 10, "no end");
        match indexer.step(given) {
            Ok(Step::Read { offset, length }) => {
                let begin = usize::try_from(offset).expect("within the file");
                assert!(length > 0 && length <= MAX_FILE_INDEX);
                given = &data[begin..begin + length];
            }
            Ok(Step::Done(index)) => break index,
            Err(_) => return,
        }
    };
    assert!(!index.is_empty() && index.len() <= data.len());
    assert!(index.memory() <= 4096 + 64 * data.len());
    for at in 0..index.len() {
        let sample = index.sample(at).expect("there are so many");
        let end = sample.offset() + sample.size() as u64;
        assert!(sample.size() > 0 && end <= data.len() as u64);
        assert!(index.head(sample).bytes().len() <= 8);
    }
    for time in [0, 40, 1000, u64::MAX] {
        for seek in [Seek::Key, Seek::Exact] {
            let at = index.position(time, seek);
            assert!(at < index.len());
            assert!(index.headers_at(at).iter().all(|header| *header < at));
        }
    }
    assert!(index.configurations().count() <= 2);
}

/// The first byte says of which format a recording was, the rest is what is left of it.
pub fn mending(data: &[u8]) {
    let Some((format, file)) = data.split_first() else {
        return;
    };
    let format = match format & 1 {
        0 => Format::Flv,
        _ => Format::Mp4,
    };
    let Some(end) = ends(format, file) else {
        return;
    };
    let length = usize::try_from(end.length).expect("within the file");
    assert!(length <= file.len(), "a file grew");
    let mut mended = file[..length].to_vec();
    for patch in &end.patches {
        let at = usize::try_from(patch.offset).expect("within the file");
        mended[at..at + patch.bytes.len()].copy_from_slice(&patch.bytes);
    }
    let again = ends(format, &mended).expect("it is still one");
    assert_eq!(again.length, end.length, "mended twice");
}

fn ends(format: Format, file: &[u8]) -> Option<End> {
    let read = |at: u64, into: &mut [u8]| {
        let at = usize::try_from(at).expect("within the file");
        into.copy_from_slice(&file[at..at + into.len()]);
        Ok::<(), Infallible>(())
    };
    let Ok(end) = whole(format, file.len() as u64, read);
    end
}
