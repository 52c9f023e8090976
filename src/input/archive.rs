//! Members of a tar archive, read where they are: nothing is ever written to disk, so names like `../x` and links mean nothing.

use std::io::Read;

use super::Bytes;
use crate::note::Note;

/// Whether `data` is a tar archive: `ustar` at byte 257.
pub fn is_tar(data: &[u8]) -> bool {
    data.get(257..262) == Some(b"ustar")
}

/// Path and bytes of every regular member. Reading stops at the first damage, with a note.
pub fn members(name: &str, data: &[u8], notes: &mut Vec<Note>) -> Vec<(String, Bytes)> {
    let mut archive = tar::Archive::new(data);
    let mut found = Vec::new();
    let damaged = |cause: std::io::Error| Note::failure(name, format!("this tar archive is damaged: {cause}; what stood before is used"));
    let entries = match archive.entries() {
        Ok(entries) => entries,
        Err(cause) => {
            notes.push(damaged(cause));
            return found;
        }
    };
    for entry in entries {
        let read = entry.and_then(|mut entry| {
            if !entry.header().entry_type().is_file() {
                return Ok(None);
            }
            let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            // A header may promise any size; more than the archive holds cannot come.
            let mut bytes = Vec::with_capacity(usize::try_from(entry.size()).unwrap_or(0).min(data.len()));
            entry.read_to_end(&mut bytes)?;
            Ok(Some((path, Bytes::from(bytes))))
        });
        match read {
            Ok(member) => found.extend(member),
            Err(cause) => {
                notes.push(damaged(cause));
                break;
            }
        }
    }
    found
}
