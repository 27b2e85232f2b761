//! A file written aside as `NAME.part`, hashed on the way, and moved to its name only when it is what it should be.
//!
//! So a file under its own name is always whole. A part left behind by an interrupted download is where the next one
//! goes on; a part with wrong bytes is removed, since nothing good can follow from it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::catalogue::Pinned;
use crate::error::{Error, IoContext, Result};

pub(super) struct Aside<'a> {
    pinned: &'a Pinned,
    target: PathBuf,
    part: PathBuf,
    file: File,
    hash: Sha256,
    len: u64,
}

impl<'a> Aside<'a> {
    /// Starts over, whatever was there.
    pub fn create(pinned: &'a Pinned, target: &Path) -> Result<Self> {
        Self::open(pinned, target, true)
    }

    /// Goes on where an interrupted transfer stopped; [`Aside::len`] says where that is.
    pub fn resume(pinned: &'a Pinned, target: &Path) -> Result<Self> {
        let too_long = fs::metadata(part_of(target)).is_ok_and(|meta| meta.len() > pinned.size);
        Self::open(pinned, target, too_long)
    }

    fn open(pinned: &'a Pinned, target: &Path, truncate: bool) -> Result<Self> {
        let part = part_of(target);
        if let Some(dir) = target.parent() {
            fs::create_dir_all(dir).at("create", dir)?;
        }
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(truncate)
            .open(&part)
            .at("write", &part)?;
        let mut hash = Sha256::new();
        // Reading to the end also leaves the cursor where writing goes on.
        let len = feed(&mut file, &mut hash).at("read", &part)?;
        Ok(Self { pinned, target: target.to_owned(), part, file, hash, len })
    }

    /// Bytes written so far.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Forgets what was written.
    pub fn restart(&mut self) -> Result<()> {
        self.file.rewind().and_then(|()| self.file.set_len(0)).at("write", &self.part)?;
        (self.hash, self.len) = (Sha256::new(), 0);
        Ok(())
    }

    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).at("write", &self.part)?;
        self.hash.update(bytes);
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Copies all of `from`, stopping one read past the pinned size: a longer source is a wrong one.
    pub fn write_all(&mut self, mut from: impl Read, source: &str) -> Result<()> {
        let mut buffer = vec![0; 128 * 1024];
        while self.len <= self.pinned.size {
            match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => self.write(&buffer[..n])?,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => {
                    return Err(Error::io(format!("cannot read `{}` from {source}", self.pinned.path), e));
                }
            }
        }
        Ok(())
    }

    /// Checks size and sha256, makes the bytes durable, and gives the file its name.
    ///
    /// # Errors
    /// `Corrupt` when these are not the pinned bytes; the part is removed.
    pub fn finish(self) -> Result<()> {
        let Pinned { path, size, sha256 } = *self.pinned;
        let found = hex(self.hash);
        if self.len != size || found != sha256 {
            fs::remove_file(&self.part).at("remove", &self.part)?;
            return Err(Error::corrupt(if self.len == size {
                format!("`{path}` has sha256 {found}, not {sha256}")
            } else {
                let longer = if self.len > size { "at least " } else { "" };
                format!("`{path}` has {longer}{} bytes, not {size}", self.len)
            }));
        }
        self.file.sync_all().at("write", &self.part)?;
        drop(self.file);
        fs::rename(&self.part, &self.target).at("write", &self.target)
    }
}

/// The sha256 of a file, in lower-case hex.
pub(super) fn sha256_of(path: &Path) -> Result<String> {
    let mut hash = Sha256::new();
    File::open(path).and_then(|mut file| feed(&mut file, &mut hash)).at("read", path)?;
    Ok(hex(hash))
}

fn feed(file: &mut File, hash: &mut Sha256) -> io::Result<u64> {
    let mut buffer = vec![0; 1 << 20];
    let mut len = 0;
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(len),
            Ok(n) => {
                hash.update(&buffer[..n]);
                len += n as u64;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `dir/model.gguf` -> `dir/model.gguf.part`.
pub(super) fn part_of(target: &Path) -> PathBuf {
    let mut name = target.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELLO: Pinned = Pinned {
        path: "hello.txt",
        size: 5,
        sha256: "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
    };

    #[test]
    fn an_interrupted_file_goes_on_where_it_stopped() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("sub/hello.txt");
        Aside::create(&HELLO, &target).unwrap().write(b"hel").unwrap();
        assert!(!target.exists());

        let mut aside = Aside::resume(&HELLO, &target).unwrap();
        assert_eq!(aside.len(), 3);
        aside.write(b"lo").unwrap();
        aside.finish().unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"hello");
        assert!(!part_of(&target).exists());
    }

    #[test]
    fn wrong_bytes_never_get_the_name_and_leave_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("hello.txt");
        for (wrong, word) in [(&b"jello"[..], "sha256"), (b"hell", "4 bytes"), (b"hello world", "11 bytes")] {
            let mut aside = Aside::create(&HELLO, &target).unwrap();
            aside.write_all(wrong, "a test").unwrap();
            let error = aside.finish().unwrap_err();
            assert!(matches!(error, Error::Corrupt(_)));
            assert!(error.to_string().contains(word), "{error}");
            assert!(!target.exists() && !part_of(&target).exists());
        }
    }

    #[test]
    fn a_part_that_is_already_too_long_is_started_over() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("hello.txt");
        fs::write(part_of(&target), "hello hello").unwrap();
        assert_eq!(Aside::resume(&HELLO, &target).unwrap().len(), 0);
    }
}
