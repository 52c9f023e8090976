//! Frames after resolution: symbol, offset, source lines, and how far each is to be trusted.

use std::sync::Arc;

use super::addr::Svma;

/// A place in source code, one level of inlining. Names are shared: thousands of addresses lie in the same few files.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Location {
    /// Function that the line is in, demangled unless that was turned off.
    pub function: Option<Arc<str>>,
    /// Source file as DWARF gives it, joined with the compilation directory.
    pub file: Option<Arc<str>>,
    /// Length of the compilation directory and its slash at the start of `file`, which text output leaves out.
    pub file_prefix: usize,
    /// Line, from 1.
    pub line: Option<u32>,
    /// Column, from 1.
    pub column: Option<u32>,
    /// Whether this function was inlined into the next location's.
    pub inlined: bool,
    /// Whether debug info that could tell inlined calls is missing: the line may be in a function that was inlined here.
    pub incomplete: bool,
    /// What the source file says there, when it was asked for and is at hand.
    pub source: Option<Arc<Excerpt>>,
}

/// Lines of a source file around a location.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Excerpt {
    /// Where the file lies on this machine.
    pub path: Arc<str>,
    /// Number of the first line in `lines`, from 1.
    pub first: u32,
    /// Number of the line that is meant, from 1.
    pub line: u32,
    /// The lines without their ends; none when only the path was asked for.
    pub lines: Vec<String>,
}

impl Location {
    /// `file` without the compilation directory.
    pub fn short_file(&self) -> Option<&str> {
        self.file.as_deref().map(|file| file.get(self.file_prefix..).filter(|f| !f.is_empty()).unwrap_or(file))
    }
}

/// A symbol that covers an address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SymbolHit {
    /// Name without the leading underscore of Mach-O, otherwise as in the file.
    pub name: Arc<str>,
    /// Where the symbol starts.
    pub start: Svma,
    /// Bytes from the symbol's start to the next symbol or the end of its section; `None` when unknown.
    pub size: Option<u64>,
    /// Whether the symbol's function is known to reach the address. If not, the symbol is only the nearest one below.
    pub contains: bool,
}

/// How far a frame's name is to be trusted. The names are those of the JSON form.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trust {
    /// Resolved in a file whose UUID is the one that the report or load map states.
    Verified,
    /// Resolved, or named by the report itself, but nothing could be compared.
    Unverified,
    /// Resolved in a file that is known to be another build, because the user allowed it.
    Mismatched,
    /// Not resolved.
    Unresolved,
}

impl Trust {
    /// The trust of that JSON name.
    pub fn by_name(name: &str) -> Option<Trust> {
        [Trust::Verified, Trust::Unverified, Trust::Mismatched, Trust::Unresolved].into_iter().find(|trust| trust.name() == name)
    }

    /// The JSON name.
    pub fn name(self) -> &'static str {
        match self {
            Trust::Verified => "verified",
            Trust::Unverified => "unverified",
            Trust::Mismatched => "mismatched",
            Trust::Unresolved => "unresolved",
        }
    }
}

/// Why a frame has no symbol.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Unresolved {
    /// No image covers the address.
    NoImage,
    /// The image has no symbol file.
    NoFile,
    /// The image's symbol file is another build and was not used.
    OtherBuild,
    /// Two images claim the address.
    Overlap,
    /// Inside the image but outside its code sections, or before the first symbol.
    OutsideSymbols,
    /// Behind a symbol that cannot be shown to reach the address: its file is stripped.
    AfterSymbol,
    /// The kernel made the code while it ran, for BPF, ftrace or kprobes: no file has it.
    Generated,
    /// The frame has neither address nor a symbol that a file knows.
    NoAddress,
    /// No symbol of the printed name has the printed size: the file is of another build.
    OtherSize,
    /// The printed symbol occurs more than once, or may be one of a kernel without a file, and the report does not say which is meant.
    Ambiguous,
}

/// What became of one distinct address or printed symbol.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Index of the image in the layout.
    pub image: Option<usize>,
    /// The symbol that covers it, or with `contains` false the nearest below.
    pub symbol: Option<SymbolHit>,
    /// Bytes from the symbol's start to the printed address.
    pub offset: Option<u64>,
    /// Source locations, innermost inlined function first; the last is the symbol's own. Empty without debug info.
    pub locations: Vec<Location>,
    /// How far the name is to be trusted.
    pub trust: Trust,
    /// Why there is no name.
    pub reason: Option<Unresolved>,
    /// The places that an ambiguous symbol may mean, each as `locations`; empty otherwise.
    pub candidates: Vec<Vec<Location>>,
}

impl Answer {
    /// An answer without a name.
    pub fn unresolved(image: Option<usize>, reason: Unresolved) -> Answer {
        Answer {
            image,
            symbol: None,
            offset: None,
            locations: Vec::new(),
            trust: Trust::Unresolved,
            reason: Some(reason),
            candidates: Vec::new(),
        }
    }

    /// The symbol, if it is known to contain the address.
    pub fn named(&self) -> Option<&SymbolHit> {
        self.symbol.as_ref().filter(|symbol| symbol.contains)
    }
}
