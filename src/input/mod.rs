//! Opening what the user names: files, directories, `-`, and anything compressed with gzip, xz or zstd.

pub mod archive;
pub mod collect;
mod kernelcache;
pub mod map;
pub mod unpack;

use std::io::Read;
use std::path::Path;

use crate::error::{Error, Result};
use crate::note::Note;
pub use map::Bytes;

/// Upper bound of what one input may hold after unpacking, in bytes. A file that unpacks to more is refused.
pub const MAX_BYTES: u64 = 4 << 30;

/// One input, unpacked.
#[derive(Debug)]
pub struct Source {
    /// How messages and the JSON form name it: the path, or `<stdin>`.
    pub name: String,
    /// Its bytes, mapped or in memory.
    pub data: Bytes,
    /// What was lost on the way, such as the rest of a truncated archive.
    pub notes: Vec<Note>,
}

/// Opens a regular file, unpacking it when its first bytes say that it is compressed.
///
/// # Errors
/// When the file cannot be opened or is no regular file, or unpacks to nothing or to more than [`MAX_BYTES`].
pub fn open(path: &Path) -> Result<Source> {
    let name = path.display().to_string();
    unpack::unpack(name, map::map(path)?)
}

/// As [`open`], with a limit in bytes for a file that has no size of its own, as those of `/proc`.
///
/// # Errors
/// As for [`open`].
pub fn open_within(path: &Path, limit: u64) -> Result<Source> {
    unpack::unpack(path.display().to_string(), map::map_within(path, limit)?)
}

/// Takes standard input to its end; a large file is mapped.
///
/// # Errors
/// When reading fails or there is more than [`MAX_BYTES`].
pub fn stdin() -> Result<Source> {
    let name = "<stdin>".to_string();
    if let Some(data) =
        file_of(&std::io::stdin()).and_then(|mut file| map::map_rest(&mut file, map::LARGE, file_of(&std::io::stdout()).as_ref()))
    {
        return unpack::unpack(name, data);
    }
    let mut data = Vec::new();
    std::io::stdin().lock().take(MAX_BYTES + 1).read_to_end(&mut data).map_err(|cause| Error::io(&name, cause))?;
    if data.len() as u64 > MAX_BYTES {
        return Err(Error::bad(&name, format!("more than {MAX_BYTES} bytes; split the input")));
    }
    unpack::unpack(name, Bytes::from(data))
}

/// Standard input or output as a file, with the position that it shares with whoever reads or writes on behind this process.
#[cfg(unix)]
fn file_of(stream: &impl std::os::fd::AsFd) -> Option<std::fs::File> {
    stream.as_fd().try_clone_to_owned().ok().map(std::fs::File::from)
}

#[cfg(not(unix))]
fn file_of<T>(_: &T) -> Option<std::fs::File> {
    None
}
