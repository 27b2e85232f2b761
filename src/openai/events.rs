//! Server-sent events: the lines of a body become the data of its events, however the network cut them up.
//!
//! Only `data` matters here; comments, which servers send to keep a line open, and other fields are passed over. They do
//! not count as progress either: a server that sends nothing else is silent.

use std::io::{ErrorKind, Read};
use std::mem;
use std::time::{Duration, Instant};

/// A line longer than this is no event of a text.
const LONGEST_LINE: usize = 4 * 1024 * 1024;

pub(super) struct Events<R> {
    body: R,
    silence: Duration,
    /// When something useful came last.
    since: Instant,
    /// Read and not yet taken apart; `taken` bytes of it are.
    buffer: Vec<u8>,
    taken: usize,
    /// The data of the event that is being read.
    data: Option<Vec<u8>>,
    ended: bool,
}

/// Why no more events come.
#[derive(Debug)]
pub(super) enum Broken {
    /// The connection failed.
    Failed(std::io::Error),
    /// Nothing useful for as long as we wait.
    Silent,
    /// What came are no events of text.
    Garbage(&'static str),
}

impl<R: Read> Events<R> {
    pub fn new(body: R, silence: Duration) -> Self {
        let since = Instant::now();
        Self { body, silence, since, buffer: Vec::new(), taken: 0, data: None, ended: false }
    }

    /// The data of the next event; `None` at the end of the body.
    pub fn next(&mut self) -> Result<Option<String>, Broken> {
        loop {
            while let Some(line) = self.line()? {
                if let Some(data) = self.take(&line) {
                    self.since = Instant::now();
                    return text(data).map(Some);
                }
            }
            if self.ended {
                // An event needs a blank line after it, and some servers forget the last one.
                return self.data.take().map(text).transpose();
            }
            self.read()?;
        }
    }

    /// Whether the body is over: what came last may be half of something.
    pub fn at_end(&self) -> bool {
        self.ended
    }

    /// Reads the end of a body of which nothing else is wanted.
    pub fn finish(&mut self) {
        if !self.ended {
            let _ = self.read();
        }
    }

    /// The next whole line, or what is left at the end.
    fn line(&mut self) -> Result<Option<Vec<u8>>, Broken> {
        let rest = &self.buffer[self.taken..];
        let (line, length) = match rest.iter().position(|&byte| byte == b'\n') {
            Some(end) => (&rest[..end], end + 1),
            None if self.ended && !rest.is_empty() => (rest, rest.len()),
            None if rest.len() > LONGEST_LINE => return Err(Broken::Garbage("a line without an end")),
            None => return Ok(None),
        };
        let line = line.strip_suffix(b"\r").unwrap_or(line).to_vec();
        self.taken += length;
        Ok(Some(line))
    }

    /// Takes a line; gives the data of an event when the line ends one.
    fn take(&mut self, line: &[u8]) -> Option<Vec<u8>> {
        if line.is_empty() {
            return self.data.take();
        }
        let value = line.strip_prefix(b"data:")?;
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match &mut self.data {
            Some(data) => {
                data.push(b'\n');
                data.extend_from_slice(value);
            }
            None => self.data = Some(value.to_vec()),
        }
        None
    }

    fn read(&mut self) -> Result<(), Broken> {
        drop(self.buffer.drain(..mem::take(&mut self.taken)));
        let mut piece = [0; 16 * 1024];
        match self.body.read(&mut piece) {
            Ok(0) => self.ended = true,
            Ok(n) => self.buffer.extend_from_slice(&piece[..n]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(Broken::Failed(error)),
        }
        if self.since.elapsed() > self.silence && !self.ended {
            return Err(Broken::Silent);
        }
        Ok(())
    }
}

fn text(data: Vec<u8>) -> Result<String, Broken> {
    String::from_utf8(data).map_err(|_| Broken::Garbage("bytes that are not UTF-8"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Hands out its bytes in pieces of the given sizes, over and over.
    struct Pieces<'a> {
        bytes: &'a [u8],
        sizes: Vec<usize>,
        next: usize,
    }

    impl Read for Pieces<'_> {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            let size = self.sizes[self.next % self.sizes.len()].min(self.bytes.len()).min(into.len());
            self.next += 1;
            into[..size].copy_from_slice(&self.bytes[..size]);
            self.bytes = &self.bytes[size..];
            Ok(size)
        }
    }

    fn all(bytes: &[u8], sizes: &[usize]) -> Result<Vec<String>, Broken> {
        let body = Pieces { bytes, sizes: sizes.to_vec(), next: 0 };
        let mut events = Events::new(body, Duration::from_secs(60));
        std::iter::from_fn(|| events.next().transpose()).collect()
    }

    #[test]
    fn only_data_counts_and_any_line_end_will_do() {
        let body = ": hello\r\nevent: x\r\ndata: one\r\n\r\ndata:two\ndata: 2\n\n\n\nid: 3\n\ndata: three";
        assert_eq!(all(body.as_bytes(), &[1000]).unwrap(), ["one", "two\n2", "three"]);
        assert!(all(b"", &[1]).unwrap().is_empty());
    }

    #[test]
    fn bytes_that_are_no_text_are_an_error() {
        assert!(matches!(all(b"data: \xff\xfe\n\n", &[3]), Err(Broken::Garbage(_))));
    }

    #[test]
    fn a_line_without_an_end_is_given_up() {
        let mut events = Events::new(std::io::repeat(b'a'), Duration::from_secs(60));
        assert!(matches!(events.next(), Err(Broken::Garbage(_))));
    }

    #[test]
    fn keeping_the_line_open_is_no_answer() {
        struct Pings;
        impl Read for Pings {
            fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
                std::thread::sleep(Duration::from_millis(5));
                into[..7].copy_from_slice(b": ping\n");
                Ok(7)
            }
        }
        let mut events = Events::new(Pings, Duration::from_millis(50));
        assert!(matches!(events.next(), Err(Broken::Silent)));
    }

    proptest! {
        #[test]
        fn the_events_are_the_same_however_the_network_cut_them(
            texts in prop::collection::vec("[a-zé ]{1,9}", 0..6), sizes in prop::collection::vec(1_usize..7, 1..5),
        ) {
            let body: String = texts.iter().map(|text| format!("data: {text}\n\n")).collect();
            prop_assert_eq!(all(body.as_bytes(), &sizes).unwrap(), texts);
        }

        #[test]
        fn nothing_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), size in 1_usize..9) {
            let _ = all(&bytes, &[size]);
        }
    }
}
