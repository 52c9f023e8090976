//! Symbol files: opening them, and what every kind of them can answer.
//!
//! A new kind of file is one module that implements [`Opener`] and [`Symbols`], and one line in [`OPENERS`].

pub mod alias;
pub mod altlink;
pub mod bug_table;
mod bundle;
pub mod check;
pub mod code;
pub mod ctf;
pub mod debuginfod;
pub mod demangle;
pub mod depth;
pub mod disassemble;
pub mod dwarf;
pub mod elf;
pub mod elf_kind;
mod entry;
pub mod extent;
mod fileset;
pub mod find;
mod join;
pub mod kernel_sizes;
pub mod local;
pub mod locate;
pub mod looked;
pub mod macho;
mod opd;
mod packed;
pub mod parts;
pub mod patched;
mod prelinked;
mod program;
pub mod reloc;
mod remember;
mod skim;
pub mod split;
pub mod symtab;
pub mod text;
pub mod units;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::error::{Error, Result};
use crate::input::{self, Bytes};
use crate::model::addr::{Arch, Svma};
use crate::model::frame::Location;
use crate::model::image::ImageId;
use parts::{Missing, Places};
use symtab::{Near, SymbolTable};

/// What kind of program a symbol file describes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileKind {
    /// A kernel.
    Kernel,
    /// A linked kext.
    Kext,
    /// An unlinked kext (`MH_OBJECT`, 10.5): the kernel links it when it is loaded.
    Object,
    /// A dSYM companion: symbols and DWARF without code.
    Dsym,
    /// An unlinked kernel module (`ET_REL`), whose sections are laid out one by one when it is loaded.
    Module,
}

/// A part of a file that is mapped as a whole.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Segment {
    /// Name, such as `__TEXT_EXEC`.
    pub name: String,
    /// Link-time address.
    pub svma: Svma,
    /// Size in memory, in bytes.
    pub size: u64,
    /// Bytes up to the end of its last section. A kernel collection puts the next image's code right behind (arm64).
    pub used: u64,
    /// Alignment that it needs, in bytes.
    pub align: u64,
    /// Whether it holds code.
    pub executable: bool,
}

/// What a symbol file says about itself.
#[derive(Clone, Debug)]
pub struct FileInfo {
    /// Where it is.
    pub path: PathBuf,
    /// What it describes.
    pub kind: FileKind,
    /// Architecture of this file or slice.
    pub arch: Arch,
    /// UUID, the proof of identity.
    pub id: Option<ImageId>,
    /// Mapped segments, in the order of the file.
    pub segments: Vec<Segment>,
    /// Whether there is DWARF.
    pub has_debug_info: bool,
    /// Whether the addresses in it are the run-time ones already (`kextutil -s` output).
    pub linked_at_runtime: bool,
    /// Whether it is ELF or a list of symbols of a system that uses ELF.
    pub is_elf: bool,
    /// Whether its code is encrypted, so that only its symbols can be used.
    pub encrypted: bool,
    /// The kernel collection (`MH_FILESET`) that it is an entry of; its addresses are then the collection's.
    pub collection: Option<Collection>,
    /// The prelinked kernelcache (the kind that is no collection) that it is the kernel or a kext of; all of that moves as a whole.
    pub prelinked: Option<Prelinked>,
    /// Whether it is a module that was linked at 0 like a shared object, as FreeBSD's are on most architectures: it moves as a whole.
    pub shared: bool,
}

/// A kernel collection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Collection {
    /// UUID of the collection as a whole.
    pub id: Option<ImageId>,
    /// Where it is linked: its own `__TEXT`.
    pub base: Svma,
}

/// A prelinked kernelcache, known by its kernel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Prelinked {
    /// UUID of the kernel.
    pub id: Option<ImageId>,
    /// Where the kernel is linked: its `__TEXT`.
    pub base: Svma,
}

impl FileInfo {
    /// Whether the file holds a kernel together with its kexts, and this is one of them.
    pub fn is_entry(&self) -> bool {
        self.collection.is_some() || self.prelinked.is_some()
    }

    /// Where the file that it is an entry of is linked, as a whole.
    pub fn whole_base(&self) -> Option<Svma> {
        let collection = self.collection.as_ref().map(|collection| collection.base);
        collection.or(self.prelinked.as_ref().map(|cache| cache.base))
    }

    /// The segment of that name.
    pub fn segment(&self, name: &str) -> Option<&Segment> {
        self.segments.iter().find(|segment| segment.name == name)
    }

    /// Where the image starts: its `__TEXT`, or its first segment.
    pub fn base(&self) -> Svma {
        self.segment("__TEXT").or(self.segments.first()).map_or(Svma(0), |segment| segment.svma)
    }
}

/// Source files and lines that code prints when it stops with BUG or WARN, by its link-time address.
pub type BugLines = FxHashMap<Svma, (String, u32)>;

/// Where a direct call goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Callee {
    /// A place in the same file.
    At(Svma),
    /// A symbol of another file.
    Named(String),
}

/// One opened symbol file, or one slice of a fat one.
pub trait Symbols: Send + Sync {
    /// What the file says about itself.
    fn info(&self) -> &FileInfo;
    /// Its code symbols; read on first use.
    fn table(&self) -> &SymbolTable;
    /// A table that answers for `probes`: the whole one if it is there already, else the part that is needed. Sorting every symbol of
    /// a kernel for one address would take most of the time.
    fn near(&self, probes: &[Svma]) -> Near<'_>;
    /// How many code symbols there are, without reading their names.
    fn symbol_count(&self) -> usize;
    /// Bundle identifier, from inside the file.
    fn bundle_id(&self) -> Option<String>;
    /// Source locations of link-time addresses, in the order of `probes`: innermost inlined function first, names as in the
    /// file, empty where there is no debug info.
    fn locate(&self, probes: &[Svma]) -> Vec<Vec<Location>>;
    /// The file that has its debug info, where it says so by name: `.gnu_debuglink`.
    fn debug_link(&self) -> Option<DebugLink> {
        None
    }
    /// Says where parts of its debug info that are in other files are looked for, which then happens when they are needed.
    fn look_in(&self, _places: &Arc<Places>) {}
    /// Parts of its debug info that are in other files and not at hand: those that lookups needed so far, or with `all` every one.
    fn missing_parts(&self, _all: bool) -> Vec<Missing> {
        Vec::new()
    }
    /// What is wrong with the debug info that was met and could not be read, in words.
    fn damage(&self) -> Vec<String> {
        Vec::new()
    }
    /// Name and start of the function that debug info says covers an address.
    fn debug_function(&self, at: Svma) -> Option<(String, Svma)>;
    /// The link-time addresses whose bytes [`Symbols::code`] has, piece by piece: sections of ELF are all code, a segment of Mach-O has
    /// header and strings in it as well.
    fn code_parts(&self) -> Vec<std::ops::Range<u64>> {
        let code = self.info().segments.iter().filter(|segment| segment.executable);
        code.map(|segment| segment.svma.0..segment.svma.0.saturating_add(segment.size)).collect()
    }
    /// The bytes of code between two link-time addresses, when they lie in one section whose bytes the file has.
    fn code(&self, from: Svma, to: Svma) -> Option<&[u8]>;
    /// Places between two link-time addresses whose code in memory may differ from the file's.
    fn patched(&self, _from: Svma, _to: Svma) -> Vec<patched::Site> {
        Vec::new()
    }
    /// Where the direct call goes that ends at an address of an unlinked file.
    fn callee(&self, _end: Svma) -> Option<Callee> {
        None
    }
    /// The kernel release that a module was built for.
    fn release(&self) -> Option<String> {
        None
    }
    /// The source lines that Linux's code at link-time addresses prints when it stops there with BUG or WARN.
    fn bug_lines(&self, _at: &[Svma]) -> BugLines {
        BugLines::default()
    }
    /// How large the parts of a Linux kernel are, as it says when it boots.
    fn kernel_sizes(&self) -> kernel_sizes::KernelSizes {
        Default::default()
    }
    /// What the kernel says of itself when it boots.
    fn banners(&self) -> Vec<String> {
        Vec::new()
    }
}

/// What `.gnu_debuglink` says (gdb's manual, "Separate Debug Files").
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DebugLink {
    /// Name of the file with the debug info, without directory.
    pub name: String,
    /// CRC-32 of that whole file, the polynomial of zlib.
    pub crc: u32,
}

/// One kind of symbol file.
pub trait Opener: Sync {
    /// One line for `kstack formats`.
    fn about(&self) -> &'static str;
    /// Whether a file that begins with `head` is of this kind.
    fn sniff(&self, head: &[u8]) -> bool;
    /// Opens every slice of the file; what could not be opened goes to `refused`.
    fn open(&self, path: &Path, bytes: &Bytes, refused: &mut Vec<Error>) -> Vec<Box<dyn Symbols>>;
}

/// Every kind of symbol file that kstack reads.
pub static OPENERS: &[&dyn Opener] = &[&macho::MachOOpener, &elf::ElfOpener, &text::TextOpener];

/// Opens one file, compressed or not, as whatever kind its first bytes say. Slices that cannot be used are in `refused`.
///
/// # Errors
/// When it cannot be read, is empty, or is of no known kind.
pub fn open(path: &Path, refused: &mut Vec<Error>) -> Result<Vec<Box<dyn Symbols>>> {
    let source = input::open(path)?;
    if source.data.is_empty() {
        return Err(Error::bad(path, "is empty; copy the symbol file again"));
    }
    refused.extend(source.notes.iter().map(|note| Error::bad(path, note.text.clone())));
    match OPENERS.iter().find(|opener| opener.sniff(&source.data)) {
        Some(opener) => Ok(opener.open(path, &source.data, refused)),
        None => Err(Error::bad(path, unknown_kind(&source.data))),
    }
}

/// Says what a file that nobody opens looks like, and what to do.
fn unknown_kind(data: &[u8]) -> String {
    let first = &data[..data.len().min(64)];
    let text = first.iter().all(|b| b.is_ascii_graphic() || b.is_ascii_whitespace());
    let hint = if text { "; a load map is given with -l, a report without a flag" } else { "" };
    let begins: String = first[..first.len().min(8)].iter().flat_map(|b| b.escape_ascii()).map(char::from).collect();
    format!("is no symbol file that kstack reads (expected ELF, Mach-O, System.map or kallsyms): it begins with `{begins}`{hint}")
}
