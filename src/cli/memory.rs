//! Where kstack keeps what it learned about symbol folders: in the user's cache directory, a file for each folder.

use std::io::Write;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// What an earlier run kept for `folder`.
pub fn recall(folder: &Path) -> Option<Vec<u8>> {
    std::fs::read(place(folder)?).ok()
}

/// Keeps `bytes` for `folder`. Nothing depends on that it succeeds.
pub fn keep(folder: &Path, bytes: &[u8]) {
    let Some(path) = place(folder) else { return };
    let part = path.with_extension(format!("part-{}", std::process::id()));
    let write = || -> std::io::Result<()> {
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
        std::fs::File::create_new(&part)?.write_all(bytes)?;
        // Another run of kstack sees the old file or the new one.
        std::fs::rename(&part, &path)
    };
    if write().is_err() {
        let _ = std::fs::remove_file(&part);
    }
}

fn place(folder: &Path) -> Option<PathBuf> {
    let folder = std::fs::canonicalize(folder).ok()?;
    let name: String = Sha256::digest(folder.as_os_str().as_encoded_bytes()).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    Some(caches()?.join("kstack/folders").join(name + ".json"))
}

/// The user's cache directory, as the XDG base directory specification has it.
pub fn caches() -> Option<PathBuf> {
    set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")))
}

/// The path in an environment variable that is set and not empty.
pub fn set(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}
