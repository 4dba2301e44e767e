//! Files by their names: found, opened, indexed, read.

use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use tokio::sync::{Semaphore, oneshot};

use super::cache::{Cache, Key};
use super::hls::{self, Made, NoPiece};
use super::listing::{self, Listing};
use super::name::FileName;
use super::pool::Pool;
use super::slot::Filler;
use super::{batch, disk};
use crate::index::{Batch, Index, IndexError, Indexer, Seek, Step};
use crate::limits::{FILE_INDEXERS, FILE_READERS, MAX_MADE_BYTES};
use crate::system::open_beneath;
use crate::telemetry::logging::{Escaped, limited};

/// Where files are and how they are played.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LibraryConfig {
    /// The folders; the first that has a file of a name counts.
    pub folders: Vec<PathBuf>,
    /// Where a seek begins.
    pub seek: Seek,
    /// How far a play runs ahead of its player.
    pub ahead: Duration,
    /// Whether the files are listed for everybody.
    pub list: bool,
    /// Where indexes are kept over a restart.
    pub cache: Option<PathBuf>,
}

/// A file of which nobody looked at the content.
#[derive(Debug)]
pub struct Plain {
    /// The file.
    pub file: Arc<File>,
    /// Bytes.
    pub length: u64,
    /// When it was changed last.
    pub modified: Option<SystemTime>,
    /// Its number in its file system.
    pub inode: u64,
}

/// A file that can be played.
#[derive(Debug)]
pub struct Opened {
    /// The file.
    pub file: Arc<File>,
    /// What is in it.
    pub index: Arc<Index>,
    /// Its name.
    pub name: FileName,
    /// Bytes.
    pub length: u64,
    /// When it was changed last.
    pub modified: Option<SystemTime>,
}

impl Opened {
    /// What it takes to send, kbit/s.
    #[must_use]
    pub fn kbit_per_second(&self) -> u64 {
        let ms = self.index.duration.max(1);
        self.length.saturating_mul(8).checked_div(ms).unwrap_or(0)
    }
}

/// Why a file cannot be played.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// No folder has it.
    #[error("there is no such file")]
    NotFound,
    /// It is there and cannot be read; why.
    #[error("the file cannot be read: {0}")]
    Unreadable(io::ErrorKind),
    /// Its content.
    #[error(transparent)]
    Bad(#[from] IndexError),
    /// The server has too much to do.
    #[error("too many files are played at once")]
    Busy,
}

impl OpenError {
    /// The field `code` of the log.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "no-file",
            Self::Unreadable(_) => "file-unreadable",
            Self::Bad(_) => "file-bad",
            Self::Busy => "files-busy",
        }
    }
}

/// The answer to [`Library::open`].
pub type Answer = Result<Arc<Opened>, OpenError>;

/// See the module.
#[derive(Debug)]
pub struct Library {
    config: Mutex<Arc<LibraryConfig>>,
    known: Arc<Known>,
    indexers: Pool,
    readers: Pool,
    /// Room for what was made, KiB.
    room: Arc<Semaphore>,
}

/// What is known of files, and who waits to know.
#[derive(Debug, Default)]
struct Known {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    cache: Cache,
    waiting: HashMap<Key, Vec<Asker>>,
}

/// Somebody who opened a file and waits for its index.
#[derive(Debug)]
struct Asker {
    file: File,
    facts: Metadata,
    name: FileName,
    filler: Filler<Answer>,
    /// Of the configuration.
    config: Arc<LibraryConfig>,
}

impl Library {
    /// Of these folders. Nothing is read yet.
    #[must_use]
    pub fn new(config: LibraryConfig) -> Self {
        Self {
            config: Mutex::new(Arc::new(config)),
            known: Arc::default(),
            indexers: Pool::new("file-index", FILE_INDEXERS),
            readers: Pool::new("file-read", FILE_READERS),
            room: Arc::new(Semaphore::new(MAX_MADE_BYTES >> 10)),
        }
    }

    /// How files are played from now on.
    #[must_use]
    pub fn config(&self) -> Arc<LibraryConfig> {
        Arc::clone(&self.config.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Another configuration, for plays that begin from now on.
    pub fn set_config(&self, config: LibraryConfig) {
        *self.config.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
    }

    /// Whether there can be any file.
    #[must_use]
    pub fn has_folders(&self) -> bool {
        !self.config().folders.is_empty()
    }

    /// Opens a file and reads its index, if that is not known already.
    pub fn open(&self, name: FileName, filler: Filler<Answer>) {
        let config = self.config();
        let known = Arc::clone(&self.known);
        let work = move || {
            if !filler.is_unwanted() {
                match find(&config.folders, &name) {
                    Ok((file, facts)) => known.index(Asker {
                        file,
                        facts,
                        name,
                        filler,
                        config,
                    }),
                    Err(error) => filler.fill(Err(error)),
                }
            }
        };
        // A full queue drops the job, and with it whoever was to answer: the asker notices.
        let _ = self.indexers.submit(work);
    }

    /// Opens a file as it is. Nobody answers when too much waits.
    pub fn open_plain(&self, name: FileName) -> oneshot::Receiver<Result<Plain, OpenError>> {
        let config = self.config();
        ask(&self.indexers, move || {
            let (file, facts) = find(&config.folders, &name)?;
            Ok(Plain {
                file: Arc::new(file),
                length: facts.len(),
                modified: facts.modified().ok(),
                inode: facts.ino(),
            })
        })
    }

    /// Which files there are.
    pub fn list(&self) -> oneshot::Receiver<Listing> {
        let config = self.config();
        ask(&self.indexers, move || listing::list(&config.folders))
    }

    /// Reads a part of a file; less than was asked for only at its end.
    pub fn read_part(
        &self,
        file: Arc<File>,
        offset: u64,
        length: usize,
    ) -> oneshot::Receiver<io::Result<Bytes>> {
        ask(&self.readers, move || {
            let mut bytes = vec![0; length];
            let mut read = 0;
            while let Some(rest) = bytes.get_mut(read..).filter(|rest| !rest.is_empty()) {
                match file.read_at(rest, offset.saturating_add(read as u64)) {
                    Ok(0) => break,
                    Ok(n) => read = read.saturating_add(n),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            bytes.truncate(read);
            Ok(bytes.into())
        })
    }

    /// Makes a playlist or a segment of a file. Nobody answers when too much waits.
    pub fn hls(
        &self,
        opened: &Arc<Opened>,
        wanted: hls::Piece,
    ) -> oneshot::Receiver<Result<Made, NoPiece>> {
        let (opened, room) = (Arc::clone(opened), Arc::clone(&self.room));
        ask(&self.readers, move || {
            Made::of(hls::make(&opened, &wanted)?, room)
        })
    }

    /// Reads a batch and makes RTMP messages of it, for this message stream.
    pub fn read(
        &self,
        opened: &Arc<Opened>,
        what: Batch,
        stream: u32,
        filler: Filler<io::Result<Bytes>>,
    ) {
        let opened = Arc::clone(opened);
        let work = move || {
            if !filler.is_unwanted() {
                let read = batch::messages(&opened, &what, stream);
                filler.fill(read);
            }
        };
        let _ = self.readers.submit(work);
    }
}

/// Lets a thread answer; nobody does when too much waits already.
fn ask<T: Send + 'static>(
    pool: &Pool,
    work: impl FnOnce() -> T + Send + 'static,
) -> oneshot::Receiver<T> {
    let (tell, told) = oneshot::channel();
    let job = move || {
        if !tell.is_closed() {
            let _ = tell.send(work());
        }
    };
    let _ = pool.submit(job); // what is not taken is dropped, and with it who would have told
    told
}

/// The first folder's file of this name.
fn find(folders: &[PathBuf], name: &FileName) -> Result<(File, Metadata), OpenError> {
    let mut trouble = None;
    for folder in folders {
        let opened = open_beneath(folder, name.path()).and_then(|file| {
            let facts = file.metadata()?;
            Ok((file, facts))
        });
        match opened {
            Ok((file, facts)) if facts.is_file() => return Ok((file, facts)),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if !folder.exists() {
                    limited("folder-missing", Instant::now(), || {
                        tracing::warn!(
                            code = "folder-missing", folder = %folder.display(),
                            "a folder of files is not there (files.folders)"
                        );
                    });
                }
            }
            Err(error) => {
                limited("file-unreadable", Instant::now(), || {
                    let help = crate::system::how_to_open(&folder.join(name.path()), &error);
                    tracing::warn!(
                        code = "file-unreadable", folder = %folder.display(),
                        file = %Escaped(name.as_str()), "a file cannot be opened: {error}{help}"
                    );
                });
                trouble = Some(error.kind());
            }
        }
    }
    Err(trouble.map_or(OpenError::NotFound, OpenError::Unreadable))
}

/// While it lives, others who want the same index wait for it.
struct Building<'a> {
    known: &'a Known,
    key: Key,
    done: bool,
}

impl Drop for Building<'_> {
    fn drop(&mut self) {
        // Reading was lost to a defect: those who wait notice that nobody answers.
        if !self.done {
            self.known.state().waiting.remove(&self.key);
        }
    }
}

impl Known {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers with the index, which is read if it is not known.
    fn index(&self, asker: Asker) {
        let key = Key::of(&asker.facts);
        let mut state = self.state();
        if let Some(known) = state.cache.get(&key) {
            drop(state);
            return asker.answer(known.map_err(OpenError::Bad));
        }
        if let Some(waiting) = state.waiting.get_mut(&key) {
            return waiting.push(asker);
        }
        state.waiting.insert(key, Vec::new());
        drop(state);
        let mut building = Building {
            known: self,
            key,
            done: false,
        };
        let begun = Instant::now();
        let cache = asker.config.cache.as_deref();
        let read = match cache.and_then(|folder| disk::get(folder, &key)) {
            Some(kept) => Ok(kept),
            None => read_index(&asker.file, key.length).inspect(|index| {
                if let Some(folder) = cache {
                    disk::put(folder, &key, index);
                }
            }),
        };
        let took = begun.elapsed();
        let mut state = self.state();
        let answer = match read {
            Ok(index) => {
                tracing::debug!(
                    file = %Escaped(asker.name.as_str()), samples = index.len(), cut = index.cut,
                    memory = index.memory(), us = took.as_micros(), "the index of a file was read"
                );
                state.cache.put(key, index).ok_or(OpenError::Busy)
            }
            Err(OpenError::Bad(error)) => {
                state.cache.put_bad(key, error);
                Err(OpenError::Bad(error))
            }
            Err(error) => Err(error),
        };
        let waiting = state.waiting.remove(&key).unwrap_or_default();
        drop(state);
        building.done = true;
        for other in waiting {
            other.answer(answer.clone());
        }
        asker.answer(answer);
    }
}

impl Asker {
    fn answer(self, index: Result<Arc<Index>, OpenError>) {
        let opened = index.map(|index| {
            Arc::new(Opened {
                length: self.facts.len(),
                modified: self.facts.modified().ok(),
                file: Arc::new(self.file),
                index,
                name: self.name,
            })
        });
        self.filler.fill(opened);
    }
}

/// Does what an [`Indexer`] asks for.
fn read_index(file: &File, length: u64) -> Result<Index, OpenError> {
    let mut indexer = Indexer::new(length);
    let mut buffer = Vec::new();
    loop {
        match indexer.step(&buffer)? {
            Step::Done(index) => return Ok(*index),
            Step::Read { offset, length } => {
                buffer.clear();
                buffer.resize(length, 0);
                match file.read_exact_at(&mut buffer, offset) {
                    Ok(()) => {}
                    // Somebody shortened it meanwhile.
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                        return Err(IndexError::Truncated.into());
                    }
                    Err(error) => return Err(OpenError::Unreadable(error.kind())),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::sync::mpsc;

    use super::super::slot::{Slot, slot};
    use super::*;
    use crate::relay::Wake;

    struct Ring(mpsc::Sender<()>);

    impl Wake for Ring {
        fn wake(&self) {
            let _ = self.0.send(());
        }
    }

    fn library(folders: &[&Path]) -> Library {
        Library::new(LibraryConfig {
            folders: folders.iter().map(|folder| folder.to_path_buf()).collect(),
            seek: Seek::Key,
            ahead: Duration::from_secs(15),
            list: true,
            cache: None,
        })
    }

    fn wait<T>(ask: impl FnOnce(Filler<T>)) -> T {
        let (tell, told) = mpsc::channel();
        let (filler, slot): (_, Slot<T>) = slot(Arc::new(Ring(tell)));
        ask(filler);
        told.recv().unwrap();
        slot.take().unwrap()
    }

    fn open(library: &Library, name: &str) -> Answer {
        let name = FileName::asked(name).unwrap();
        wait(|filler| library.open(name, filler))
    }

    const PROGRAMME: &[u8] = include_bytes!("../demo/programme.flv");

    #[test]
    fn a_file_is_found_read_once_and_read_anew_when_it_changed() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let library = library(&[first.path(), second.path()]);
        assert_eq!(open(&library, "film").unwrap_err(), OpenError::NotFound);
        fs::write(second.path().join("film.flv"), PROGRAMME).unwrap();
        let film = open(&library, "film").unwrap();
        assert_eq!(film.length, PROGRAMME.len() as u64);
        assert_eq!(film.index.keys(), 8);
        let again = open(&library, "flv:film").unwrap();
        assert!(Arc::ptr_eq(&film.index, &again.index), "read once");
        // The first folder counts, and a changed file is another one.
        fs::write(
            first.path().join("film.flv"),
            &PROGRAMME[..PROGRAMME.len() / 2],
        )
        .unwrap();
        let half = open(&library, "film").unwrap();
        assert!(half.index.len() < film.index.len() && half.index.cut);
        fs::write(first.path().join("film.flv"), "nothing of the kind").unwrap();
        let unknown = OpenError::Bad(IndexError::Unknown);
        assert_eq!(open(&library, "film").unwrap_err(), unknown);
        assert_eq!(open(&library, "film").unwrap_err(), unknown);
        // A folder that vanishes leaves the others.
        drop(first);
        assert_eq!(open(&library, "film").unwrap().index.keys(), 8);
        drop(second);
        assert_eq!(open(&library, "film").unwrap_err(), OpenError::NotFound);
        assert_eq!(film.index.keys(), 8, "who plays has it open");
    }

    #[test]
    fn what_is_no_file_is_not_opened() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("folder.flv")).unwrap();
        nix::unistd::mkfifo(&dir.path().join("pipe.flv"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("link.flv")).unwrap();
        let library = library(&[dir.path()]);
        for name in ["folder", "pipe", "link"] {
            assert_eq!(
                open(&library, name).unwrap_err(),
                OpenError::NotFound,
                "{name}"
            );
        }
    }

    #[test]
    fn many_who_ask_at_once_share_one_index() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("film.flv"), PROGRAMME).unwrap();
        let library = library(&[dir.path()]);
        let all: Vec<Answer> = std::thread::scope(|scope| {
            let ask = || scope.spawn(|| open(&library, "film"));
            let asked: Vec<_> = (0..20).map(|_| ask()).collect();
            asked.into_iter().map(|t| t.join().unwrap()).collect()
        });
        let first = &all[0].as_ref().unwrap().index;
        for other in &all {
            assert!(Arc::ptr_eq(first, &other.as_ref().unwrap().index));
        }
    }

    #[test]
    fn a_batch_becomes_messages_of_the_files_own_bytes() {
        use crate::limits::Limits;
        use crate::rtmp::chunk::{ChunkReader, ReaderLimits, ReaderPhase};

        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("film.flv"), PROGRAMME).unwrap();
        let library = library(&[dir.path()]);
        let film = open(&library, "film").unwrap();
        let what = Batch {
            begins: true,
            samples: 2..40,
            audio: true,
            video: Some(0),
            shift: 0,
        };
        let bytes = wait(|filler| library.read(&film, what, 3, filler)).unwrap();
        let mut reader = ChunkReader::new(ReaderLimits::from(&Limits::default()));
        reader.set_phase(ReaderPhase::Publishing);
        reader
            .set_chunk_size(crate::bridge::OUT_CHUNK_SIZE)
            .unwrap();
        let mut rest: &[u8] = &bytes;
        let mut messages = Vec::new();
        while let Some(message) = reader.feed(&mut rest).unwrap() {
            assert_eq!(message.stream, 3);
            messages.push(message);
        }
        assert_eq!(messages[0].kind, 18);
        assert!(messages[0].payload.starts_with(b"\x02\0\x0aonMetaData"));
        let headers = film.index.headers_at(2).len();
        assert_eq!(messages.len(), 1 + headers + 38);
        for (message, at) in messages[1 + headers..].iter().zip(2..) {
            let sample = film.index.sample(at).unwrap();
            let begin = usize::try_from(sample.offset()).unwrap();
            assert_eq!(message.payload, PROGRAMME[begin..begin + sample.size()]);
            assert_eq!(message.timestamp, sample.time());
        }
        // A file that was shortened is an error, no rubbish.
        let path = dir.path().join("film.flv");
        File::options()
            .write(true)
            .open(path)
            .unwrap()
            .set_len(100)
            .unwrap();
        let what = Batch {
            begins: false,
            samples: 100..110,
            audio: true,
            video: Some(0),
            shift: 0,
        };
        assert!(wait(|filler| library.read(&film, what, 1, filler)).is_err());
    }
}
