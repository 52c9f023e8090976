//! Where the code of a running Linux kernel may differ from its file: what the module loader relocates, and what the kernel patches
//! at boot and later. The kernel's own tables of such places are in the file.
//!
//! | table | entry | source (6.1, 6.12) |
//! | --- | --- | --- |
//! | `.altinstructions` | two 32-bit offsets, CPU feature, two lengths: 12, 13 or 14 bytes | arch/x86, arch/arm64 `alt_instr` |
//! | `__jump_table` | offsets of code and target, key: 16 bytes | include/linux/jump_label.h |
//! | `.static_call_sites` | offsets of code and key: 8 bytes | include/linux/static_call_types.h |
//! | `.retpoline_sites`, `.return_sites`, `.call_sites`, `.ibt_endbr_seal`, `.cfi_sites`, `.smp_locks` | an offset: 4 bytes | tools/objtool/check.c, arch/x86 `LOCK_PREFIX` |
//! | `.parainstructions` | address, type, length: 16 bytes | arch/x86 `paravirt_patch_site`, up to 6.7 |
//! | `__mcount_loc` | address: 8 bytes | scripts/recordmcount.c |
//!
//! On 32-bit x86 addresses and keys have four bytes. An offset counts from its own field. In an unlinked module the relocation of that field names the place.

use std::ops::Range;

use object::{Object, ObjectSection, ObjectSymbol, RelocationTarget, SectionIndex};
use rustc_hash::FxHashMap;

use super::Callee;
use crate::model::addr::Svma;

/// Why a place may differ.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Patch {
    /// The module loader writes an address here.
    Relocated,
    /// Another instruction for this kind of CPU.
    Alternative,
    /// A branch that is switched on and off.
    JumpLabel,
    /// A call whose target changes.
    StaticCall,
    /// The tracer's call at the entry of a function.
    Ftrace,
    /// An indirect branch, a return, or the mark of a branch target, which mitigations rewrite.
    Branch,
    /// A paravirtual operation.
    Paravirt,
    /// A `lock` prefix, taken out on machines with one CPU.
    Lock,
}

impl Patch {
    /// In words.
    pub const fn name(self) -> &'static str {
        match self {
            Patch::Relocated => "relocated",
            Patch::Alternative => "alternative",
            Patch::JumpLabel => "jump label",
            Patch::StaticCall => "static call",
            Patch::Ftrace => "ftrace",
            Patch::Branch => "branch mitigation",
            Patch::Paravirt => "paravirt",
            Patch::Lock => "lock prefix",
        }
    }
}

/// A place whose bytes may differ: link-time addresses, as the file was laid out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Site {
    /// First byte, and one past the last.
    pub range: Range<u64>,
    /// Why.
    pub why: Patch,
}

/// How the entries of a table name their places.
#[derive(Clone, Copy)]
enum Entry {
    /// An offset from the field itself, in entries of that many bytes and so many addresses.
    Offset(usize, usize),
    /// An address, in entries of so many addresses.
    Address(usize),
    /// An offset; the entry's size is the one that makes every place one of code.
    Alternative,
}

struct Table {
    section: &'static str,
    /// Symbols around the table in a linked kernel, where it is part of a larger section.
    bounds: Option<(&'static str, &'static str)>,
    entry: Entry,
    why: Patch,
}

const fn table(section: &'static str, entry: Entry, why: Patch) -> Table {
    Table { section, bounds: None, entry, why }
}

const TABLES: &[Table] = &[
    table(".altinstructions", Entry::Alternative, Patch::Alternative),
    Table { bounds: Some(("__start___jump_table", "__stop___jump_table")), ..table("__jump_table", Entry::Offset(8, 1), Patch::JumpLabel) },
    Table {
        bounds: Some(("__start_static_call_sites", "__stop_static_call_sites")),
        ..table(".static_call_sites", Entry::Offset(8, 0), Patch::StaticCall)
    },
    Table { bounds: Some(("__start_mcount_loc", "__stop_mcount_loc")), ..table("__mcount_loc", Entry::Address(1), Patch::Ftrace) },
    table(".retpoline_sites", Entry::Offset(4, 0), Patch::Branch),
    table(".return_sites", Entry::Offset(4, 0), Patch::Branch),
    table(".call_sites", Entry::Offset(4, 0), Patch::Branch),
    table(".ibt_endbr_seal", Entry::Offset(4, 0), Patch::Branch),
    table(".cfi_sites", Entry::Offset(4, 0), Patch::Branch),
    table(".parainstructions", Entry::Address(2), Patch::Paravirt),
    table(".smp_locks", Entry::Offset(4, 0), Patch::Lock),
];

/// The places in `window` of a file whose sections lie at `base`. `code` gives bytes of code from an address on.
pub fn sites<'f>(
    file: &'f object::File<'f>,
    base: &dyn Fn(SectionIndex) -> Option<u64>,
    code: &dyn Fn(u64, usize) -> Option<&'f [u8]>,
    window: Range<u64>,
) -> Vec<Site> {
    let x86 = matches!(file.architecture(), object::Architecture::X86_64 | object::Architecture::I386);
    let mut found = Vec::new();
    if file.kind() == object::ObjectKind::Relocatable {
        found.extend(relocated(file, base, &window, x86));
    }
    let bounds = bounds(file);
    for table in TABLES {
        let Some(read) = Rows::read(file, base, table, &bounds) else { continue };
        let size = match table.entry {
            Entry::Offset(size, addresses) => size + addresses * read.word,
            Entry::Address(addresses) => addresses * read.word,
            Entry::Alternative => match [12, 14, 13].into_iter().find(|size| read.all_code(*size, code)) {
                Some(size) => size,
                None => continue,
            },
        };
        for (at, row) in read.places(size) {
            // No patched place is longer than an alternative, whose length is a byte.
            if at >= window.end || at.saturating_add(0x100) <= window.start {
                continue;
            }
            let length = length(
                table.why,
                size,
                &row[if table.why == Patch::Paravirt { read.word } else { 0 }..],
                code(at, 1).map_or(0, |byte| byte[0]),
                x86,
            );
            let end = at.saturating_add(length);
            if end > window.start {
                found.push(Site { range: at..end, why: table.why });
            }
        }
    }
    found
}

/// How many bytes are patched at a place whose first byte in the file is `first`.
fn length(why: Patch, size: usize, row: &[u8], first: u8, x86: bool) -> u64 {
    match why {
        Patch::Alternative => u64::from(row[if size == 14 { 12 } else { 10 }]),
        // Behind the address: the type, then this.
        Patch::Paravirt => u64::from(row[1]),
        Patch::Lock => 1,
        // Two words behind the entry, and before it one of eight bytes and a branch target.
        Patch::Ftrace if !x86 => 20,
        _ if !x86 => 4,
        // Short jumps and two-byte no-operations.
        Patch::JumpLabel if matches!(first, 0xeb | 0x66) => 2,
        // A prefix, or a conditional branch.
        Patch::Branch | Patch::StaticCall if matches!(first, 0x2e | 0x0f) => 6,
        _ => 5,
    }
}

/// The addresses of the symbols that stand around tables in a linked kernel.
fn bounds(file: &object::File<'_>) -> FxHashMap<&'static str, u64> {
    if file.kind() == object::ObjectKind::Relocatable {
        return FxHashMap::default();
    }
    let names: Vec<&'static str> = TABLES.iter().filter_map(|table| table.bounds).flat_map(|(from, to)| [from, to]).collect();
    let named = |symbol: object::Symbol<'_, '_>| {
        let name = symbol.name_bytes().ok().filter(|name| name.starts_with(b"__st"))?;
        Some((*names.iter().find(|known| known.as_bytes() == name)?, symbol.address()))
    };
    file.symbols().filter_map(named).collect()
}

/// What the module loader writes into the code of `window`.
fn relocated(file: &object::File<'_>, base: &dyn Fn(SectionIndex) -> Option<u64>, window: &Range<u64>, x86: bool) -> Vec<Site> {
    let holds = |section: &object::Section<'_, '_>| {
        base(section.index()).is_some_and(|start| start < window.end && window.start < start.saturating_add(section.size()))
    };
    let mut found = Vec::new();
    for section in file.sections().filter(holds) {
        let start = base(section.index()).unwrap_or(0);
        for (offset, record) in section.relocations() {
            let at = start.saturating_add(offset);
            // Where instructions are words, the field is some of an instruction's bits.
            let length = if x86 { u64::from(record.size() / 8) } else { 4 };
            let end = at.saturating_add(length);
            if at < window.end && end > window.start {
                found.push(Site { range: at..end, why: Patch::Relocated });
            }
        }
    }
    found
}

/// The bytes of a table, and what its fields point at.
struct Rows<'f> {
    data: &'f [u8],
    /// Where the table lies.
    start: u64,
    absolute: bool,
    little: bool,
    /// Bytes of an address.
    word: usize,
    /// In an unlinked file: the place that the field at an offset names.
    targets: Option<FxHashMap<u64, u64>>,
}

impl<'f> Rows<'f> {
    fn read(
        file: &'f object::File<'f>,
        base: &dyn Fn(SectionIndex) -> Option<u64>,
        table: &Table,
        bounds: &FxHashMap<&'static str, u64>,
    ) -> Option<Rows<'f>> {
        let (absolute, little) = (matches!(table.entry, Entry::Address(_)), file.is_little_endian());
        let word = if file.is_64() { 8 } else { 4 };
        if let Some(section) = file.section_by_name(table.section) {
            let targets = (file.kind() == object::ObjectKind::Relocatable).then(|| targets(file, &section, base));
            return Some(Rows { data: section.data().ok()?, start: base(section.index())?, absolute, little, word, targets });
        }
        let (from, to) = table.bounds?;
        let (from, to) = (*bounds.get(from)?, *bounds.get(to)?);
        let section =
            file.sections().find(|section| section.address() <= from && to <= section.address().saturating_add(section.size()))?;
        let inside = |at: u64| (at - section.address()) as usize;
        Some(Rows { data: section.data().ok()?.get(inside(from)..inside(to))?, start: from, absolute, little, word, targets: None })
    }

    /// Each place with its entry, for entries of `size` bytes.
    fn places(&self, size: usize) -> impl Iterator<Item = (u64, &[u8])> {
        self.data.chunks_exact(size).enumerate().filter_map(move |(n, row)| {
            let offset = (n * size) as u64;
            let place = match &self.targets {
                Some(targets) => *targets.get(&offset)?,
                None if self.absolute => number(&row[..self.word], self.little),
                None => self.start.wrapping_add(offset).wrapping_add(number(&row[..4], self.little) as u32 as i32 as u64),
            };
            Some((place, row))
        })
    }

    /// Whether entries of that size fill the table and all name code.
    fn all_code(&self, size: usize, code: &dyn Fn(u64, usize) -> Option<&'f [u8]>) -> bool {
        self.data.len().is_multiple_of(size) && self.places(size).count() == self.data.len() / size && {
            self.places(size).all(|(at, _)| code(at, 1).is_some())
        }
    }
}

/// What each relocated field of a section points at.
fn targets(file: &object::File<'_>, section: &object::Section<'_, '_>, base: &dyn Fn(SectionIndex) -> Option<u64>) -> FxHashMap<u64, u64> {
    let target = |(offset, record): (u64, object::Relocation)| {
        let RelocationTarget::Symbol(symbol) = record.target() else { return None };
        let symbol = file.symbol_by_index(symbol).ok()?;
        let place = base(symbol.section_index()?)?.wrapping_add(symbol.address()).wrapping_add(record.addend() as u64);
        Some((offset, place))
    };
    section.relocations().filter_map(target).collect()
}

fn number(field: &[u8], little: bool) -> u64 {
    let step = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
    if little { field.iter().rev().fold(0, step) } else { field.iter().fold(0, step) }
}

/// Where the call goes that ends at `end` in an unlinked x86 file: its last four bytes are relocated.
pub fn callee(file: &object::File<'_>, base: &dyn Fn(SectionIndex) -> Option<u64>, end: u64) -> Option<Callee> {
    let at = end.checked_sub(4)?;
    let holds = |section: &object::Section<'_, '_>| base(section.index()).is_some_and(|start| at.wrapping_sub(start) < section.size());
    let section = file.sections().find(holds)?;
    let offset = at - base(section.index())?;
    let (_, record) = section.relocations().find(|(one, record)| *one == offset && record.size() == 32)?;
    let RelocationTarget::Symbol(symbol) = record.target() else { return None };
    let symbol = file.symbol_by_index(symbol).ok()?;
    match symbol.section_index().and_then(base) {
        // The field counts from its own end.
        Some(start) => Some(Callee::At(Svma(start.wrapping_add(symbol.address()).wrapping_add(record.addend() as u64).wrapping_add(4)))),
        None => Some(Callee::Named(String::from_utf8_lossy(symbol.name_bytes().ok()?).into_owned())),
    }
}

/// The release that a module was built for, from its `vermagic=`.
pub fn release(file: &object::File<'_>) -> Option<String> {
    let info = file.section_by_name(".modinfo")?.data().ok()?;
    let magic = info.split(|b| *b == 0).find_map(|entry| entry.strip_prefix(b"vermagic="))?;
    let word = magic.split(u8::is_ascii_whitespace).next().filter(|word| !word.is_empty())?;
    Some(String::from_utf8_lossy(word).into_owned())
}

/// The banners of a kernel: what it prints when it boots, from `Linux version` on, with the number and date of the build. Some builds have
/// a second one without the number.
pub fn banners(file: &object::File<'_>) -> Vec<String> {
    const LONGEST: usize = 1024;
    let Some(text) = file.section_by_name(".rodata").and_then(|section| section.data().ok()) else { return Vec::new() };
    let banner = |at: usize| {
        let rest = &text[at..text.len().min(at + LONGEST)];
        // `linux_proc_banner` has conversions in place of the values.
        let version = rest.get(BANNER.len()).is_some_and(u8::is_ascii_digit);
        let end = rest.iter().position(|b| matches!(b, 0 | b'\n')).filter(|_| version)?;
        Some(String::from_utf8_lossy(rest[..end].trim_ascii()).into_owned())
    };
    memchr::memmem::find_iter(text, BANNER).filter_map(banner).take(4).collect()
}

/// What a kernel's banner begins with.
pub const BANNER: &[u8] = b"Linux version ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_as_long_as_what_is_patched_there() {
        let row = [0, 0, 0, 0, 0, 0, 0, 0, 1, 7, 5, 3, 9, 2];
        assert_eq!(length(Patch::Alternative, 12, &row, 0, true), 5);
        assert_eq!(length(Patch::Alternative, 14, &row, 0, true), 9);
        assert_eq!(length(Patch::Paravirt, 16, &row[8..], 0, true), 7);
        assert_eq!([0xeb, 0x66, 0xe9, 0x0f].map(|first| length(Patch::JumpLabel, 16, &row, first, true)), [2, 2, 5, 5]);
        assert_eq!([0xe8, 0x2e, 0x0f].map(|first| length(Patch::Branch, 4, &row, first, true)), [5, 6, 6]);
        assert_eq!((length(Patch::Ftrace, 8, &row, 0xe8, true), length(Patch::Ftrace, 8, &row, 0x1f, false)), (5, 20));
    }
}
