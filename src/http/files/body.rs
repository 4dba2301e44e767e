//! Bodies of answers: a part of a file, of which one piece is read while the one before it is sent, and what
//! was made of one.

use std::convert::Infallible;
use std::fs::File;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::oneshot;

use super::super::pages::Life;
use crate::limits::FILE_BATCH;
use crate::vod::{Library, Made};

/// See the module.
pub(super) struct FileBody {
    library: Arc<Library>,
    file: Arc<File>,
    /// What is sent before anything is read.
    first: Bytes,
    /// What is read next.
    at: u64,
    /// What is to be read and sent.
    left: u64,
    reads: Option<oneshot::Receiver<io::Result<Bytes>>>,
    life: Life,
}

impl FileBody {
    /// So many bytes: these, and the rest from an offset.
    pub(super) const fn new(
        library: Arc<Library>,
        file: Arc<File>,
        first: Bytes,
        (at, left): (u64, u64),
        life: Life,
    ) -> Self {
        Self {
            library,
            file,
            first,
            at,
            left,
            reads: None,
            life,
        }
    }
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let this = &mut *self;
        if !this.first.is_empty() {
            let bytes = std::mem::take(&mut this.first);
            this.left = this.left.saturating_sub(bytes.len() as u64);
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        let reads = this.reads.get_or_insert_with(|| {
            let length = usize::try_from(this.left).unwrap_or(usize::MAX);
            let file = Arc::clone(&this.file);
            this.library
                .read_part(file, this.at, length.min(FILE_BATCH))
        });
        let read = ready!(Pin::new(reads).poll(cx));
        this.reads = None;
        let bytes = match read {
            Ok(Ok(bytes)) if !bytes.is_empty() => bytes,
            // The length was promised: the connection ends in the middle, which the client notices.
            Ok(Ok(_)) => return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into()))),
            Ok(Err(error)) => return Poll::Ready(Some(Err(error))),
            Err(lost) => return Poll::Ready(Some(Err(io::Error::other(lost)))),
        };
        let read = bytes.len() as u64;
        this.at = this.at.saturating_add(read);
        this.left = this.left.saturating_sub(read);
        this.life.extend();
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// What was made of a file, and counts against what may be until it is sent.
pub(super) struct MadeBody {
    made: Made,
    life: Life,
}

impl MadeBody {
    pub(super) const fn new(made: Made, life: Life) -> Self {
        Self { made, life }
    }
}

impl Body for MadeBody {
    type Data = Bytes;
    type Error = Infallible;

    /// A piece at a time: what is handed over is not counted any more.
    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let left = &mut self.made.bytes;
        if left.is_empty() {
            return Poll::Ready(None);
        }
        let piece = left.split_to(left.len().min(FILE_BATCH));
        self.life.extend();
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.made.bytes.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.made.bytes.len() as u64)
    }
}
