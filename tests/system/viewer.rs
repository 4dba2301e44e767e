//! A viewer over HTTP-FLV that looks at every tag as it arrives. It reads FLV by itself: what the
//! program writes is judged by somebody else's eyes.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::media::picture_numbers;
use crate::world::{World, connect, wait_within};

/// One tag.
#[derive(Debug, Clone)]
pub(crate) struct Tag {
    pub(crate) kind: u8,
    pub(crate) time: u32,
    pub(crate) body: Vec<u8>,
}

impl Tag {
    pub(crate) fn is_video(&self) -> bool {
        self.kind == 9
    }

    /// An AVC or AAC sequence header.
    pub(crate) fn is_header(&self) -> bool {
        matches!(
            (self.kind, self.body.first(), self.body.get(1)),
            (9, Some(0x17), Some(0)) | (8, Some(0xaf), Some(0))
        )
    }

    pub(crate) fn is_key(&self) -> bool {
        self.is_video() && self.body.first() == Some(&0x17) && self.body.get(1) == Some(&1)
    }

    /// A coded picture.
    pub(crate) fn is_picture(&self) -> bool {
        self.is_video() && self.body.get(1) == Some(&1)
    }

    /// The server's word that the stream waits.
    pub(crate) fn is_notice(&self) -> bool {
        self.kind == 18 && self.body.windows(8).any(|w| w == b"onStatus")
    }
}

#[derive(Debug, Default)]
struct Seen {
    tags: Vec<Tag>,
    ended: Option<String>,
}

/// A viewer; it watches until it is dropped or the server ends it.
pub(crate) struct Viewer {
    seen: Arc<Mutex<Seen>>,
    socket: TcpStream,
    file: PathBuf,
    name: String,
}

impl Viewer {
    /// Asks for `/STREAM.flv` and reads on in a thread of its own. Panics when the answer is not 200.
    pub(crate) fn open(world: &World, name: &str, port: u16, stream: &str) -> Self {
        Self::over(world, name, connect(port), stream)
    }

    /// The same over a connection that is there.
    pub(crate) fn over(world: &World, name: &str, mut socket: TcpStream, stream: &str) -> Self {
        write!(
            socket,
            "GET /{stream}.flv HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://elsewhere\r\n\r\n"
        )
        .expect("a request");
        let file = world.path(&format!("{name}.flv"));
        let seen = Arc::new(Mutex::new(Seen::default()));
        let viewer = Self {
            seen: Arc::clone(&seen),
            socket: socket.try_clone().expect("a second handle"),
            file: file.clone(),
            name: name.to_owned(),
        };
        let mut reader = BufReader::new(socket);
        let chunked = read_head(&mut reader).unwrap_or_else(|e| panic!("{name}: {e}"));
        std::thread::spawn(move || {
            let body: Box<dyn Read> = if chunked {
                Box::new(Dechunk { reader, left: 0 })
            } else {
                Box::new(reader)
            };
            let mut body = Copy {
                body,
                file: File::create(file).expect("a file"),
            };
            let end = read_tags(&mut body, |tag| {
                seen.lock().expect("no poison").tags.push(tag);
            });
            seen.lock().expect("no poison").ended = Some(end.to_string());
        });
        viewer
    }

    pub(crate) fn tags(&self) -> Vec<Tag> {
        self.seen.lock().expect("no poison").tags.clone()
    }

    pub(crate) fn count(&self, wanted: impl Fn(&Tag) -> bool) -> usize {
        let seen = self.seen.lock().expect("no poison");
        seen.tags.iter().filter(|tag| wanted(tag)).count()
    }

    pub(crate) fn pictures(&self) -> usize {
        self.count(Tag::is_picture)
    }

    /// Why it ended, if it did.
    pub(crate) fn ended(&self) -> Option<String> {
        self.seen.lock().expect("no poison").ended.clone()
    }

    /// Waits for `more` pictures from now on.
    pub(crate) fn wait_more(&self, more: usize) {
        let wanted = self.pictures() + more;
        self.wait_pictures(wanted);
    }

    pub(crate) fn wait_pictures(&self, wanted: usize) {
        wait_within(
            Duration::from_secs(60),
            &format!("{}: {wanted} pictures", self.name),
            || {
                assert_eq!(self.ended(), None, "{}: ended", self.name);
                (self.pictures() >= wanted).then_some(())
            },
        );
    }

    /// Headers first, then a key frame; then times that never go back.
    pub(crate) fn assert_sane(&self) {
        let tags = self.tags();
        let mut video = tags.iter().filter(|t| t.is_video());
        assert!(
            video.next().is_some_and(Tag::is_header),
            "{}: the first video tag is no sequence header",
            self.name
        );
        assert!(
            video.next().is_some_and(Tag::is_key),
            "{}: the first picture is no key frame",
            self.name
        );
        for kind in [8, 9] {
            let times: Vec<u32> = tags
                .iter()
                .filter(|t| t.kind == kind && !t.is_header())
                .map(|t| t.time)
                .collect();
            for pair in times.windows(2) {
                assert!(
                    pair[0] <= pair[1],
                    "{}: time of {kind} went back: {pair:?}",
                    self.name
                );
            }
        }
        // What is sent again after a gap: sequence headers stand in front of a key frame.
        let mut fresh = true;
        for tag in tags.iter().filter(|t| t.is_video()) {
            if fresh && tag.is_picture() {
                assert!(tag.is_key(), "{}: no key frame behind a header", self.name);
            }
            fresh = tag.is_header();
        }
    }

    /// The numbers in the pictures so far, after decoding; each must be readable, and in each run
    /// from key frame to key frame they count up. Returns them.
    pub(crate) fn numbers(&self, world: &World) -> Vec<u8> {
        let name = format!("{}-numbers", self.name);
        let numbers: Option<Vec<u8>> = picture_numbers(world, &name, &self.file)
            .into_iter()
            .collect();
        let numbers = numbers.unwrap_or_else(|| panic!("{}: an unreadable picture", self.name));
        for pair in numbers.windows(2) {
            let next = (pair[0] + 1) % 200;
            assert!(
                pair[1] == next || pair[1] % 25 == 0,
                "{}: picture {} after {}",
                self.name,
                pair[1],
                pair[0]
            );
        }
        numbers
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

/// Reads the answer's head: whether the body is chunked.
fn read_head(reader: &mut impl BufRead) -> Result<bool, String> {
    let mut head = String::new();
    loop {
        let mut line = String::new();
        let n = reader.read_line(&mut line).map_err(|e| e.to_string())?;
        if n == 0 || line.trim().is_empty() {
            break;
        }
        head += &line;
    }
    let lower = head.to_lowercase();
    if !lower.starts_with("http/1.1 200") {
        return Err(format!("answered {head:?}"));
    }
    if !lower.contains("access-control-allow-origin: *") {
        return Err(format!("no CORS in {head:?}"));
    }
    Ok(lower.contains("transfer-encoding: chunked"))
}

struct Dechunk<R> {
    reader: R,
    left: usize,
}

impl<R: BufRead> Read for Dechunk<R> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        while self.left == 0 {
            let mut line = String::new();
            if self.reader.read_line(&mut line)? == 0 {
                return Ok(0);
            }
            if !line.trim().is_empty() {
                self.left = usize::from_str_radix(line.trim(), 16).unwrap_or(0);
                if self.left == 0 {
                    return Ok(0);
                }
            }
        }
        let n = out.len().min(self.left);
        let n = self.reader.read(&mut out[..n])?;
        self.left -= n;
        Ok(n)
    }
}

/// Keeps what is read in a file too.
struct Copy {
    body: Box<dyn Read>,
    file: File,
}

impl Read for Copy {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let n = self.body.read(out)?;
        self.file.write_all(&out[..n])?;
        Ok(n)
    }
}

fn read_tags(body: &mut impl Read, mut each: impl FnMut(Tag)) -> std::io::Error {
    let mut one = |body: &mut dyn Read| -> std::io::Result<()> {
        let mut head = [0; 11];
        body.read_exact(&mut head)?;
        let word = |a: u8, b: u8, c: u8| u32::from_be_bytes([0, a, b, c]);
        let size = word(head[1], head[2], head[3]) as usize;
        let time = word(head[4], head[5], head[6]) | u32::from(head[7]) << 24;
        let mut rest = vec![0; size + 4];
        body.read_exact(&mut rest)?;
        let trailer = rest.split_off(size);
        let wanted = u32::try_from(size + 11).unwrap_or(0).to_be_bytes();
        if trailer != wanted {
            return Err(std::io::Error::other("the size behind a tag is wrong"));
        }
        each(Tag {
            kind: head[0],
            time,
            body: rest,
        });
        Ok(())
    };
    let mut header = [0; 13];
    if let Err(e) = body.read_exact(&mut header) {
        return e;
    }
    if header[..4] != *b"FLV\x01" || header[5..] != [0, 0, 0, 9, 0, 0, 0, 0] {
        return std::io::Error::other("no FLV header");
    }
    loop {
        if let Err(e) = one(body) {
            return e;
        }
    }
}
