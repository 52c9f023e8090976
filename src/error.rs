//! Errors: what went wrong, where, and what to try.

use std::path::{Path, PathBuf};

/// An input or symbol file that could not be used. Everything else goes on without it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system refused to open or read it.
    #[error("{path}: {cause}", path = .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// It was read but is not what was expected.
    #[error("{path}: {what}", path = .path.display())]
    Bad {
        /// The file.
        path: PathBuf,
        /// What was found, what was expected, and what to try.
        what: String,
    },
}

impl Error {
    /// An error about the content of `path`.
    pub fn bad(path: impl AsRef<Path>, what: impl Into<String>) -> Error {
        Error::Bad { path: path.as_ref().to_path_buf(), what: what.into() }
    }

    /// An error of the system about `path`.
    pub fn io(path: impl AsRef<Path>, cause: std::io::Error) -> Error {
        Error::Io { path: path.as_ref().to_path_buf(), cause }
    }

    /// The file that it is about.
    pub fn path(&self) -> &Path {
        match self {
            Error::Io { path, .. } | Error::Bad { path, .. } => path,
        }
    }
}

/// The library's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;
