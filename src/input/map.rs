//! Memory mapping, the only unsafe code of the crate.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

use crate::error::{Error, Result};

/// The bytes of one file, shared and read only.
#[derive(Clone)]
pub struct Bytes(Arc<Store>);

enum Store {
    Mapped(memmap2::Mmap),
    Owned(Vec<u8>),
}

impl Bytes {
    /// Tells the system that a few places of a mapped file will be read, such as its headers: with every one of them it would otherwise
    /// read megabytes around it, of hundreds of modules that nobody asks for a name.
    pub fn read_here_and_there(&self) {
        self.advise(false);
    }

    /// Tells the system that long parts of a mapped file will be read.
    pub fn read_along(&self) {
        self.advise(true);
    }

    fn advise(&self, along: bool) {
        #[cfg(unix)]
        if let Store::Mapped(map) = &*self.0 {
            // Failing changes nothing but the time that it takes.
            let _ = map.advise(if along { memmap2::Advice::Normal } else { memmap2::Advice::Random });
        }
    }

    /// Lets go of the pages read so far; a mapped file stays as it is, and pages come back from it when they are read again.
    pub fn release(&self) {
        #[cfg(unix)]
        if let Store::Mapped(map) = &*self.0 {
            // SAFETY: the map is of a file and never written, so that the pages that come back are the same. Failing changes nothing.
            let _ = unsafe { map.unchecked_advise(memmap2::UncheckedAdvice::DontNeed) };
        }
    }
}

impl Deref for Bytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match &*self.0 {
            Store::Mapped(map) => map,
            Store::Owned(bytes) => bytes,
        }
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Bytes {
        Bytes(Arc::new(Store::Owned(bytes)))
    }
}

impl std::fmt::Debug for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Bytes({})", self.len())
    }
}

/// Smaller files are read: a map of its own costs more than a copy.
const SMALL: u64 = 16 << 10;

/// Maps a regular file; small ones, and files of `/proc`, which have no size, are read instead.
///
/// # Errors
/// When it cannot be opened or is no regular file, and when one without a size has more than [`super::MAX_BYTES`].
pub fn map(path: &Path) -> Result<Bytes> {
    map_within(path, super::MAX_BYTES)
}

/// As [`map`], with another limit in bytes for a file that is read: what `/proc` makes up may have no end (`pagemap` has 8 bytes for each
/// page that a process could have).
///
/// # Errors
/// As for [`map`].
pub fn map_within(path: &Path, limit: u64) -> Result<Bytes> {
    // Asked before opening: opening a FIFO would wait for a writer.
    let meta = std::fs::metadata(path).map_err(|cause| Error::io(path, cause))?;
    if meta.is_dir() {
        return Err(Error::bad(path, "is a directory where a file was expected"));
    }
    if !meta.is_file() {
        return Err(Error::bad(path, "is no regular file; pipe it into standard input (`-`) if it is meant"));
    }
    if meta.len() < SMALL {
        return read_within(path, meta.len(), limit);
    }
    let file = File::open(path).map_err(|cause| Error::io(path, cause))?;
    // SAFETY: the map is read only and private. What cannot be promised is that no other process truncates the file while it is
    // mapped; such a run ends with SIGBUS, as with every tool that maps its input.
    let map = unsafe { memmap2::Mmap::map(&file) }.map_err(|cause| Error::io(path, cause))?;
    Ok(Bytes(Arc::new(Store::Mapped(map))))
}

/// Below this reading is about as fast, and takes no harm from whoever truncates or writes the file during the run.
pub const LARGE: u64 = 32 << 20;

/// Maps what an open regular file has from its position on, if that is at least `least` bytes, and moves that to its end, as reading would;
/// `None` for what is better read: pipes, terminals, the small, whatever cannot be mapped, and the file that is `output` too, as in
/// `kstack < f 1<> f`: what is written there would be seen as input.
pub fn map_rest(file: &mut File, least: u64, output: Option<&File>) -> Option<Bytes> {
    let meta = file.metadata().ok().filter(std::fs::Metadata::is_file)?;
    if output.is_some_and(|output| output.metadata().map_or(true, |output| is_same(&meta, &output))) {
        return None;
    }
    let start = file.stream_position().ok()?;
    let size = meta.len().checked_sub(start).filter(|size| *size >= least)?;
    // SAFETY: as in `map_within`.
    let map = unsafe { memmap2::MmapOptions::new().offset(start).len(usize::try_from(size).ok()?).map(&*file) }.ok()?;
    file.seek(SeekFrom::Start(meta.len())).ok()?;
    Some(Bytes(Arc::new(Store::Mapped(map))))
}

/// Whether two open files are one.
#[cfg(unix)]
fn is_same(one: &std::fs::Metadata, other: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// Whether two open files are one; where that cannot be asked, they are taken for one.
#[cfg(not(unix))]
fn is_same(_: &std::fs::Metadata, _: &std::fs::Metadata) -> bool {
    true
}

/// Reads a file that says to have `size` bytes and may have more, up to `limit`.
fn read_within(path: &Path, size: u64, limit: u64) -> Result<Bytes> {
    let mut bytes = Vec::with_capacity(usize::try_from(size + 1).unwrap_or(0));
    let file = File::open(path).map_err(|cause| Error::io(path, cause))?;
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(|cause| Error::io(path, cause))?;
    if bytes.len() as u64 > limit {
        return Err(Error::bad(path, format!("has no size and more than {limit} bytes, and is not read; copy what is meant to a file")));
    }
    Ok(Bytes::from(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_of_an_open_file_is_mapped_from_where_it_stands() {
        let path = std::env::temp_dir().join(format!("kstack-rest-{}", std::process::id()));
        let text: Vec<u8> = (0..3 * SMALL).map(|n| (n % 251) as u8).collect();
        std::fs::write(&path, &text).unwrap();
        let mut file = File::open(&path).unwrap();
        for start in [0, 1, 4099, 2 * SMALL] {
            file.seek(SeekFrom::Start(start)).unwrap();
            assert_eq!(&*map_rest(&mut file, SMALL, None).unwrap(), &text[start as usize..], "{start}");
            assert_eq!(file.stream_position().unwrap(), text.len() as u64);
        }
        // At and behind the end nothing is left, and a little is read.
        for start in [2 * SMALL + 1, 3 * SMALL, 4 * SMALL] {
            file.seek(SeekFrom::Start(start)).unwrap();
            assert!(map_rest(&mut file, SMALL, None).is_none() && file.stream_position().unwrap() == start);
        }
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn the_file_that_the_output_goes_to_is_not_mapped() {
        let path = std::env::temp_dir().join(format!("kstack-same-{}", std::process::id()));
        let (same, link) = (path.with_extension("in"), path.with_extension("link"));
        std::fs::write(&path, vec![b'x'; 100]).unwrap();
        std::fs::write(&same, vec![b'x'; 100]).unwrap();
        std::fs::hard_link(&same, &link).unwrap();
        let mut file = File::open(&same).unwrap();
        for (output, mapped) in [(&path, true), (&same, false), (&link, false)] {
            file.seek(SeekFrom::Start(0)).unwrap();
            let output = File::options().write(true).open(output).unwrap();
            assert_eq!(map_rest(&mut file, 1, Some(&output)).is_some(), mapped, "{output:?}");
            assert_eq!(file.stream_position().unwrap(), if mapped { 100 } else { 0 });
        }
        [path, same, link].iter().for_each(|path| std::fs::remove_file(path).unwrap());
    }

    #[test]
    fn a_file_that_grows_under_its_reader_is_read_to_a_limit() {
        let path = std::env::temp_dir().join(format!("kstack-map-{}", std::process::id()));
        std::fs::write(&path, "12345").unwrap();
        assert_eq!(&*read_within(&path, 0, 5).unwrap(), b"12345");
        let refused = read_within(&path, 0, 4).unwrap_err().to_string();
        std::fs::remove_file(&path).unwrap();
        assert!(refused.contains("more than 4 bytes"), "{refused}");
    }
}
