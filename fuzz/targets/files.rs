//! Media files: whatever is in one, its index ends, is no larger than the file allows, and points
//! nowhere else.

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
