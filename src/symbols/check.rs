//! What a symbol file can and cannot do for a stack: names, lines, inlined calls, and what a debugger will make of it.

use object::{Architecture, Object, ObjectSection, ObjectSymbol, SymbolKind};

use super::ctf::{self, CtfTypes};
use super::{FileInfo, macho, packed};
use crate::input;
use crate::model::image::ImageId;

/// What was found in one file.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Facts {
    /// Functions in its symbol table.
    pub functions: usize,
    /// Version of DWARF of its first unit; `None` without debug info.
    pub dwarf: Option<u16>,
    /// Whether there are line tables.
    pub lines: bool,
    /// Whether some unit tells inlined calls from others.
    pub inlines: bool,
    /// Whether functions and inlined calls are in split DWARF.
    pub split: bool,
    /// How debug sections are compressed: `zlib` or `zstd`.
    pub compressed: Option<&'static str>,
    /// How the kernel can walk stacks in its code, as far as the file shows it.
    pub unwinding: Unwinding,
    /// Types for `dtrace` and `mdb`, or what is wrong with them.
    pub ctf: Option<Result<CtfTypes, String>>,
    /// Whether there are BTF types.
    pub btf: bool,
}

/// How stacks can be walked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Unwinding {
    /// Tables of the Linux kernel for x86 and LoongArch (`.orc_unwind`): `?` frames are rare.
    Orc,
    /// Nearly all functions keep a frame pointer.
    FramePointers,
    /// Neither was seen: stacks of this code are guessed from what lies on them, with `?` frames among the real ones.
    #[default]
    None,
    /// The file has no code to look at.
    Unknown,
}

impl Unwinding {
    /// What it is called in output.
    pub fn name(self) -> &'static str {
        match self {
            Unwinding::Orc => "ORC",
            Unwinding::FramePointers => "frame pointers",
            Unwinding::None => "none seen",
            Unwinding::Unknown => "no code in this file",
        }
    }
}

/// Looks into the file that `info` is of; of a fat one, into the slice of its UUID.
///
/// # Errors
/// When it cannot be read, or is no object file.
pub fn of(info: &FileInfo) -> Result<Facts, String> {
    let bytes = input::open(&info.path).map_err(|error| error.to_string())?.data;
    let id = |slice: &[u8]| object::File::parse(slice).ok()?.mach_uuid().ok().flatten().and_then(ImageId::uuid);
    let slices = macho::fat_slices(&bytes);
    let slice = slices.iter().find(|slice| info.id.is_some() && id(slice) == info.id);
    facts(slice.copied().unwrap_or(&bytes))
}

/// Looks into one object file.
///
/// # Errors
/// When it is none.
pub fn facts(bytes: &[u8]) -> Result<Facts, String> {
    let file = object::File::parse(bytes).map_err(|cause| format!("cannot be looked into: {cause}"))?;
    let has = |name: &str| file.section_by_name(name).is_some_and(|section| section.size() > 0);
    let ctf = [".SUNW_ctf", ".ctf", "__ctf"].iter().find_map(|name| file.section_by_name(name));
    let ctf = ctf.map(|section| {
        let data = packed::data(&section).map_err(|cause| format!("cannot be read: {cause}"))?;
        ctf::types(&data, file.is_little_endian())
    });
    let (inlines, split) = tells_inlines(&file);
    Ok(Facts {
        functions: file.symbols().filter(|symbol| symbol.is_definition() && symbol.kind() == SymbolKind::Text).count(),
        dwarf: dwarf_version(&file),
        lines: has(".debug_line"),
        inlines,
        split,
        compressed: compression(&file),
        unwinding: unwinding(&file),
        ctf,
        btf: has(".BTF"),
    })
}

/// How the debug sections are packed.
fn compression(file: &object::File<'_>) -> Option<&'static str> {
    let packed = |section: object::Section<'_, '_>| section.compressed_file_range().ok().map(|range| range.format);
    let format = [".debug_info", ".debug_line"].iter().find_map(|name| packed(file.section_by_name(name)?))?;
    match format {
        object::CompressionFormat::Zlib => Some("zlib"),
        object::CompressionFormat::Zstandard => Some("zstd"),
        _ => None,
    }
}

/// The version in the header of the first unit.
fn dwarf_version(file: &object::File<'_>) -> Option<u16> {
    let data = packed::data(&file.section_by_name(".debug_info")?).ok()?;
    let endian = if file.is_little_endian() { gimli::RunTimeEndian::Little } else { gimli::RunTimeEndian::Big };
    let info = gimli::DebugInfo::new(&data, endian);
    info.units().next().ok().flatten().map(|unit| unit.version())
}

/// Whether the abbreviations speak of inlined calls, and of split DWARF. They are small and read as a whole.
fn tells_inlines(file: &object::File<'_>) -> (bool, bool) {
    let (mut inlines, mut split) = (false, false);
    if let Some(data) = file.section_by_name(".debug_abbrev").and_then(|section| packed::data(&section).ok()) {
        let mut rest = gimli::EndianSlice::new(&data[..], gimli::LittleEndian);
        let _ = abbreviations(|| gimli::Reader::read_uleb128(&mut rest).ok(), &mut inlines, &mut split);
    }
    (inlines, split)
}

/// Code, tag, children, then attribute pairs to (0, 0); a code of 0 ends a table and another may follow.
fn abbreviations(mut word: impl FnMut() -> Option<u64>, inlines: &mut bool, split: &mut bool) -> Option<()> {
    while !*inlines {
        if word()? == 0 {
            continue;
        }
        *inlines |= word()? == u64::from(gimli::DW_TAG_inlined_subroutine.0);
        // One byte, 0 or 1: as good as a number.
        word()?;
        loop {
            let (name, form) = (word()?, word()?);
            *split |= [gimli::DW_AT_dwo_name, gimli::DW_AT_GNU_dwo_name].iter().any(|known| u64::from(known.0) == name);
            if form == u64::from(gimli::DW_FORM_implicit_const.0) {
                word()?;
            }
            if (name, form) == (0, 0) {
                break;
            }
        }
    }
    Some(())
}

/// Functions that are looked at to see whether they keep a frame pointer.
const SAMPLE: usize = 2000;

/// By its tables, else by how its functions begin.
fn unwinding(file: &object::File<'_>) -> Unwinding {
    if [".orc_unwind", ".orc_unwind_ip"].iter().any(|name| file.section_by_name(name).is_some_and(|section| section.size() > 0)) {
        return Unwinding::Orc;
    }
    let keeps: fn(&[u8]) -> bool = match file.architecture() {
        Architecture::X86_64 => x86_frame,
        Architecture::Aarch64 => arm64_frame,
        _ => return Unwinding::Unknown,
    };
    let begins = file.symbols().filter(|symbol| symbol.is_definition() && symbol.kind() == SymbolKind::Text).filter_map(|symbol| {
        let section = file.section_by_index(symbol.section_index()?).ok()?;
        section.data_range(symbol.address(), 24).ok()?
    });
    let (mut all, mut kept) = (0, 0);
    for begin in begins.take(SAMPLE) {
        all += 1;
        kept += usize::from(keeps(begin));
    }
    match all {
        0 => Unwinding::Unknown,
        // Leaf functions, and those in assembler, need none.
        _ if kept * 2 > all => Unwinding::FramePointers,
        _ => Unwinding::None,
    }
}

/// `push %rbp; mov %rsp,%rbp`, behind the landing pad and the call or no-op for ftrace.
fn x86_frame(begin: &[u8]) -> bool {
    let rest = begin.strip_prefix(&[0xf3, 0x0f, 0x1e, 0xfa]).unwrap_or(begin);
    let traced = matches!(rest, [0xe8, ..] | [0x0f, 0x1f, 0x44, 0x00, 0x00, ..]);
    let rest = if traced { &rest[5.min(rest.len())..] } else { rest };
    rest.starts_with(&[0x55, 0x48, 0x89, 0xe5]) || rest.starts_with(&[0x55, 0x48, 0x8b, 0xec])
}

/// `stp x29, x30, [sp, …]` among the first instructions.
fn arm64_frame(begin: &[u8]) -> bool {
    begin.chunks_exact(4).any(|word| {
        let word = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
        // Pre-indexed or with an offset; first register 29, second 30, base 31.
        word & 0xfe40_7fff == 0xa800_7bfd
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_told_by_how_functions_begin() {
        assert!(x86_frame(&[0xf3, 0x0f, 0x1e, 0xfa, 0xe8, 0, 0, 0, 0, 0x55, 0x48, 0x89, 0xe5]));
        assert!(!x86_frame(&[0x53, 0x48, 0x89, 0xfb]));
        // stp x29, x30, [sp, #-32]!
        assert!(arm64_frame(&0xa9be_7bfd_u32.to_le_bytes()));
        assert!(!arm64_frame(&0xd503_201f_u32.to_le_bytes()));
        assert!(facts(b"\x7fELF").is_err());
    }
}
