//! Writing results: the report again with its frames rewritten, or JSON. Nothing here knows input or symbol file formats.
//!
//! A new output is one file that implements [`Output`] and one line in [`OUTPUTS`].

pub mod check;
mod code;
pub mod diff;
pub mod folded;
pub mod frames;
pub mod groups;
pub mod html;
pub mod json;
mod json_frame;
mod link;
pub mod listing;
mod locks;
pub mod modules;
pub mod sanitize;
pub mod searched;
pub mod summary;
#[cfg(feature = "flamegraph")]
pub mod svg;
pub mod table;
pub mod text;
pub mod wrap;
pub mod zones;

use std::io::{self, Write};

use crate::note::Note;
pub use crate::report::Report;

/// How text is written; decided once, by the binary.
#[derive(Clone, Copy, Default, Debug)]
pub struct Style {
    /// Idiom of the frames; `None` for that of the report's system.
    pub frames: Option<frames::Idiom>,
    /// Whether only the stacks that are left are written, and not the text between them.
    pub excerpt: bool,
    /// Whether registers and codes are put in words below their lines.
    pub explain: bool,
    /// Whether to use colour.
    pub colour: bool,
    /// Whether locations are links to their source files.
    pub links: bool,
    /// Whether the text goes to a terminal, which must not obey control characters in it.
    pub terminal: bool,
}

/// One output format of `symbolicate`.
pub trait Output: Sync {
    /// The name that `--format` takes.
    fn id(&self) -> &'static str;
    /// One line for the help.
    fn about(&self) -> &'static str;
    /// Writes all reports; `warnings` are those of the whole run.
    ///
    /// # Errors
    /// When writing fails.
    fn write(&self, reports: &[Report<'_>], warnings: &[Note], style: Style, out: &mut dyn Write) -> io::Result<()>;
}

/// Every output format of `symbolicate`; the first is the default.
pub static OUTPUTS: &[&dyn Output] = &[&text::Text, &json::Json, &json::NdJson];

/// The output of that id.
pub fn by_id(id: &str) -> Option<&'static dyn Output> {
    OUTPUTS.iter().copied().find(|output| output.id() == id)
}
