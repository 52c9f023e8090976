//! Soft failures: said once on standard error and in the JSON's `warnings`, never fatal.

use std::fmt;

/// Something a user should know about a result.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Note {
    /// Where: `FILE`, `FILE:LINE`, or an image's name. Empty when it concerns the whole run.
    pub place: String,
    /// What, and what to try.
    pub text: String,
    /// Whether a report or symbol file could not be used because of it, which makes the exit status 1.
    pub failure: bool,
}

impl Note {
    /// A note that changes no exit status.
    pub fn warning(place: impl Into<String>, text: impl Into<String>) -> Note {
        Note { place: place.into(), text: text.into(), failure: false }
    }

    /// A note about a file that could not be used.
    pub fn failure(place: impl Into<String>, text: impl Into<String>) -> Note {
        Note { place: place.into(), text: text.into(), failure: true }
    }
}

impl From<crate::Error> for Note {
    fn from(error: crate::Error) -> Note {
        Note::failure("", error.to_string())
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.place.is_empty() {
            write!(f, "{}: ", self.place)?;
        }
        f.write_str(&self.text)
    }
}
