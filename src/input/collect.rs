//! Directories: every regular file below one, in a stable order.

use std::path::{Path, PathBuf};

use crate::note::Note;

/// How deep directories are followed. Deeper ones are named in a note.
const MAX_DEPTH: usize = 32;

/// Every regular file below `dir`, sorted by path. Symbolic links to files are followed, those to directories are not, and
/// FIFOs, sockets and devices are left out, so that neither a loop nor a pipe can hold the walk up.
pub fn files(dir: &Path, notes: &mut Vec<Note>) -> Vec<PathBuf> {
    Walk { enter: &|_| true, take: &|_| true }.files(dir, notes)
}

/// Directories of a process without reports: some hold links to its files, which need not answer.
const NOT_ENTERED: &[&str] = &["attr", "fd", "fdinfo", "map_files", "net", "ns"];

/// The files of a running kernel below `dir`, such as `/proc`, that `take` wants by their path. Nothing else is looked at: a file there may
/// wait for ever. What ends while the walk is on, as processes do, is no failure.
pub fn files_of_kernel(dir: &Path, take: &dyn Fn(&Path) -> bool, notes: &mut Vec<Note>) -> Vec<PathBuf> {
    let enter = |path: &Path| !path.file_name().is_some_and(|name| NOT_ENTERED.iter().any(|other| name == *other));
    let mut met = Vec::new();
    let found = Walk { enter: &enter, take }.files(dir, &mut met);
    notes.extend(met.into_iter().filter(|note| Path::new(&note.place).exists()));
    found
}

/// What of a directory is wanted, by its path.
struct Walk<'w> {
    enter: &'w dyn Fn(&Path) -> bool,
    take: &'w dyn Fn(&Path) -> bool,
}

impl Walk<'_> {
    fn files(&self, dir: &Path, notes: &mut Vec<Note>) -> Vec<PathBuf> {
        let mut found = Vec::new();
        self.walk(dir, 0, &mut found, notes);
        found.sort();
        found
    }

    fn walk(&self, dir: &Path, depth: usize, found: &mut Vec<PathBuf>, notes: &mut Vec<Note>) {
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
                Ok(kind) if kind.is_dir() && (self.enter)(&path) => self.walk(&path, depth + 1, found, notes),
                Ok(kind) if kind.is_file() && (self.take)(&path) => found.push(path),
                // Asking where a link leads may already wait.
                Ok(kind) if kind.is_symlink() && (self.take)(&path) && path.is_file() => found.push(path),
                _ => {}
            }
        }
    }
}
