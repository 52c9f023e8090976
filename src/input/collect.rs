//! Directories: every regular file below one, in a stable order.

use std::path::{Path, PathBuf};

use crate::note::Note;

/// How deep directories are followed. Deeper ones are named in a note.
const MAX_DEPTH: usize = 32;

/// Every regular file below `dir`, sorted by path. Symbolic links to files are followed, those to directories are not, and
/// FIFOs, sockets and devices are left out, so that neither a loop nor a pipe can hold the walk up.
pub fn files(dir: &Path, notes: &mut Vec<Note>) -> Vec<PathBuf> {
    let mut found = Vec::new();
    walk(dir, 0, &mut found, notes);
    found.sort();
    found
}

fn walk(dir: &Path, depth: usize, found: &mut Vec<PathBuf>, notes: &mut Vec<Note>) {
    if depth > MAX_DEPTH {
        notes.push(Note::warning(dir.display().to_string(), format!("more than {MAX_DEPTH} directories deep; not searched")));
        return;
    }
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(cause) => return notes.push(Note::failure(dir.display().to_string(), cause.to_string())),
    };
    for entry in entries.flatten() {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => walk(&path, depth + 1, found, notes),
            Ok(kind) if kind.is_file() => found.push(path),
            Ok(kind) if kind.is_symlink() && path.is_file() => found.push(path),
            _ => {}
        }
    }
}
