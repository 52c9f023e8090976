//! Mach-O: kernels, kexts (`MH_KEXT_BUNDLE`, and `MH_OBJECT` of 10.5), dSYM companions, `kextutil -s` files, thin or fat.

use std::path::Path;
use std::sync::OnceLock;

use object::macho;
use object::read::macho::{FatArch, MachHeader, MachOFatFile32, MachOFatFile64};
use object::{Endianness, Object, ObjectSection, ObjectSegment, ObjectSymbol};

use super::dwarf::{self, Sections};
use super::locate::locate;
use super::symtab::{Near, RawSymbol, SymbolTable};
use super::units::UnitIndex;
use super::{FileInfo, FileKind, Opener, Prelinked, Segment, Symbols, fileset, prelinked};
use crate::error::Error;
use crate::input::Bytes;
use crate::model::addr::{Arch, Svma};
use crate::model::frame::Location;
use crate::model::image::ImageId;

/// Recognises and opens Mach-O files.
pub struct MachOOpener;

/// More slices than this in a "fat file" mean that it is a Java class, which has the same magic and a version in place of the count.
const MAX_SLICES: usize = 30;

impl Opener for MachOOpener {
    fn about(&self) -> &'static str {
        "Mach-O kernels, kexts, dSYMs, .sym files and kernel collections, thin or fat"
    }

    fn sniff(&self, head: &[u8]) -> bool {
        let Some(magic) = head.first_chunk::<4>().map(|magic| u32::from_be_bytes(*magic)) else { return false };
        matches!(magic, 0xfeed_face | 0xcefa_edfe | 0xfeed_facf | 0xcffa_edfe) || (is_fat(magic) && slice_count(head) <= MAX_SLICES)
    }

    fn open(&self, path: &Path, bytes: &Bytes, refused: &mut Vec<Error>) -> Vec<Box<dyn Symbols>> {
        let slices = match slices(bytes) {
            Ok(slices) => slices,
            Err(what) => {
                refused.push(Error::bad(path, what));
                return Vec::new();
            }
        };
        let mut files: Vec<Box<dyn Symbols>> = Vec::new();
        let mut foreign = Vec::new();
        for (start, size) in slices {
            let (from, to) = (start as usize, start.saturating_add(size).min(bytes.len() as u64) as usize);
            if fileset::is_fileset(bytes.get(from..to).unwrap_or_default()) {
                match fileset::open(path, bytes, from, to, refused) {
                    Ok(entries) => files.extend(entries),
                    Err(what) => refused.push(Error::bad(path, what)),
                }
                continue;
            }
            match MachO::open(path, bytes, start, size) {
                Ok(file) if file.info.prelinked.is_some() => files.extend(prelinked::open(path, bytes, file, refused)),
                Ok(file) => files.push(Box::new(file)),
                Err(Refusal::Foreign(what)) => foreign.push(Error::bad(path, what)),
                Err(Refusal::Bad(what)) => refused.push(Error::bad(path, what)),
            }
        }
        // A ppc slice beside one that can be used is nothing to complain about.
        if files.is_empty() {
            refused.append(&mut foreign);
        }
        files
    }
}

fn is_fat(magic: u32) -> bool {
    matches!(magic, macho::FAT_MAGIC | macho::FAT_MAGIC_64)
}

fn slice_count(head: &[u8]) -> usize {
    head.get(4..8).and_then(|bytes| bytes.try_into().ok()).map_or(usize::MAX, |bytes| u32::from_be_bytes(bytes) as usize)
}

/// The slices of a fat file; none for any other.
pub fn fat_slices(bytes: &[u8]) -> Vec<&[u8]> {
    let magic = bytes.first_chunk::<4>().map_or(0, |magic| u32::from_be_bytes(*magic));
    let ranges = if is_fat(magic) { slices(bytes).unwrap_or_default() } else { Vec::new() };
    ranges.into_iter().filter_map(|(start, size)| bytes.get(start as usize..start.checked_add(size)? as usize)).collect()
}

/// Offset and size of every slice; a thin file is one slice.
fn slices(bytes: &[u8]) -> Result<Vec<(u64, u64)>, String> {
    let magic = bytes.first_chunk::<4>().map_or(0, |magic| u32::from_be_bytes(*magic));
    let list = match magic {
        macho::FAT_MAGIC => MachOFatFile32::parse(bytes).map(|fat| fat.arches().iter().map(FatArch::file_range).collect()),
        macho::FAT_MAGIC_64 => MachOFatFile64::parse(bytes).map(|fat| fat.arches().iter().map(FatArch::file_range).collect()),
        _ => Ok(vec![(0, bytes.len() as u64)]),
    };
    list.map_err(|cause| format!("the list of architectures of this fat file is damaged: {cause}"))
}

/// Why a slice cannot be used.
enum Refusal {
    /// Of an architecture that is not resolved.
    Foreign(String),
    /// Damaged, or no kernel, kext or dSYM.
    Bad(String),
}

/// One Mach-O image, a whole file or a slice of one.
pub(super) struct MachO {
    bytes: Bytes,
    start: usize,
    end: usize,
    info: FileInfo,
    /// Bundle identifier that a prelinked kernelcache gives it.
    listed_as: Option<String>,
    /// Code sections: link-time start, end, and offset in the slice.
    code: Vec<(u64, u64, u64)>,
    table: OnceLock<SymbolTable>,
    units: UnitIndex,
}

impl MachO {
    fn open(path: &Path, bytes: &Bytes, start: u64, size: u64) -> Result<MachO, Refusal> {
        let end = start.checked_add(size).filter(|end| *end <= bytes.len() as u64);
        let Some(end) = end else {
            let (end, len) = (start.saturating_add(size), bytes.len());
            return Err(Refusal::Bad(format!(
                "a slice of this fat file ends at {end} but the file has {len} bytes: it is truncated, copy it again"
            )));
        };
        let (start, end) = (start as usize, end as usize);
        let data = &bytes[start..end];
        let file =
            object::File::parse(data).map_err(|cause| Refusal::Bad(format!("damaged or truncated Mach-O file: {cause}; copy it again")))?;
        let header = Header::of(&file);
        check_complete(&file, &header, data.len() as u64).map_err(Refusal::Bad)?;
        let arch = arch(header.cpu, header.subtype).map_err(Refusal::Foreign)?;
        let kind = header.kind(&file).map_err(Refusal::Bad)?;
        let code = code_sections(&file);
        let segments: Vec<Segment> = file.segments().filter_map(|segment| placed_segment(&file, &segment, &code)).collect();
        let text = segments.iter().find(|segment| segment.name == "__TEXT").or(segments.first());
        let linked_at_runtime = kind == FileKind::Kext && text.is_some_and(|text| text.svma.0 != 0);
        let id = file.mach_uuid().ok().flatten().and_then(ImageId::uuid);
        let has_kexts = file.segments().any(|segment| segment.name() == Ok(Some("__PRELINK_TEXT")) && segment.size() > 0);
        let base = text.map_or(Svma(0), |text| text.svma);
        let info = FileInfo {
            path: path.to_path_buf(),
            kind,
            arch,
            id,
            segments,
            has_debug_info: file.section_by_name(".debug_info").is_some_and(|section| section.size() > 0),
            linked_at_runtime,
            is_elf: false,
            encrypted: header.encrypted,
            collection: None,
            prelinked: (kind == FileKind::Kernel && has_kexts).then_some(Prelinked { id, base }),
            shared: false,
        };
        Ok(MachO { bytes: bytes.clone(), start, end, info, listed_as: None, code, table: OnceLock::new(), units: UnitIndex::default() })
    }

    /// The kext at an offset of this kernel, which lists it under that name. `None` if there is none that can be read.
    pub(super) fn part(&self, path: &Path, bytes: &Bytes, start: u64, size: u64, listed_as: Option<String>) -> Option<MachO> {
        let start = start.checked_add(self.start as u64)?;
        start.checked_add(size).filter(|end| *end <= self.end as u64)?;
        let mut kext = MachO::open(path, bytes, start, size).ok()?;
        kext.info.prelinked.clone_from(&self.info.prelinked);
        Some(MachO { listed_as, ..kext })
    }

    fn data(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// The parsed file. Parsing reads the load commands only and is repeated rather than kept, because it borrows the bytes.
    pub(super) fn file(&self) -> Option<object::File<'_>> {
        object::File::parse(self.data()).ok()
    }
}

impl Symbols for MachO {
    fn info(&self) -> &FileInfo {
        &self.info
    }

    fn table(&self) -> &SymbolTable {
        self.table.get_or_init(|| {
            let file = self.file();
            file.map(|file| {
                SymbolTable::new(file.symbols().filter_map(|symbol| code_symbol(&symbol, &self.code)), Header::of(&file).starts)
            })
            .unwrap_or_default()
        })
    }

    fn near(&self, probes: &[Svma]) -> Near<'_> {
        if let Some(file) = self.file().filter(|_| self.table.get().is_none()) {
            let symbols = || file.symbols().map(|symbol| (symbol.address(), symbol));
            return Near::Part(SymbolTable::around(symbols, |symbol| code_symbol(symbol, &self.code), Header::of(&file).starts, probes));
        }
        Near::Whole(self.table())
    }

    fn symbol_count(&self) -> usize {
        self.file().map_or(0, |file| file.symbols().filter(|symbol| code_symbol(symbol, &self.code).is_some()).count())
    }

    fn bundle_id(&self) -> Option<String> {
        self.listed_as.clone().or_else(|| kmod_name(&self.file()?))
    }

    fn locate(&self, probes: &[Svma]) -> Vec<Vec<Location>> {
        match self.file().filter(|_| self.info.has_debug_info) {
            Some(file) => locate(&Sections::load(&file), &self.bytes, &self.units, None, probes),
            None => vec![Vec::new(); probes.len()],
        }
    }

    fn damage(&self) -> Vec<String> {
        self.units.damage()
    }

    fn debug_function(&self, at: Svma) -> Option<(String, Svma)> {
        let file = self.file().filter(|_| self.info.has_debug_info)?;
        dwarf::function_at(&Sections::load(&file), &self.units, None, at)
    }

    fn code_parts(&self) -> Vec<std::ops::Range<u64>> {
        self.code.iter().map(|(start, end, _)| *start..*end).collect()
    }
    fn code(&self, from: Svma, to: Svma) -> Option<&[u8]> {
        let (start, _, offset) = self.code.iter().find(|(start, end, _)| *start <= from.0 && to.0 <= *end)?;
        if self.info.encrypted || self.info.kind == FileKind::Dsym {
            return None;
        }
        self.data().get((offset + from.0 - start) as usize..(offset + to.0.checked_sub(*start)?) as usize)
    }
}

/// What the unified interface of `object` does not tell.
struct Header {
    cpu: macho::CpuType,
    subtype: u32,
    filetype: macho::FileType,
    encrypted: bool,
    /// Whether all load commands could be read.
    whole: bool,
    starts: Vec<u64>,
}

impl Header {
    fn of(file: &object::File<'_>) -> Header {
        match file {
            object::File::MachO32(file) => Header::read(file),
            object::File::MachO64(file) => Header::read(file),
            _ => Header {
                cpu: macho::CpuType(0),
                subtype: 0,
                filetype: macho::FileType(0),
                encrypted: false,
                whole: false,
                starts: Vec::new(),
            },
        }
    }

    fn read<Mach: MachHeader<Endian = Endianness>>(file: &object::read::macho::MachOFile<'_, Mach>) -> Header {
        use object::read::macho::LoadCommandVariant as Command;
        let (raw, endian) = (file.macho_header(), file.endian());
        let (cpu, subtype, filetype) = (raw.cputype(endian), raw.cpusubtype(endian).0, raw.filetype(endian));
        let mut header = Header { cpu, subtype, filetype, encrypted: false, whole: false, starts: Vec::new() };
        let text = file.segments().find(|segment| segment.name() == Ok(Some("__TEXT"))).map_or(0, |segment| segment.address());
        let Ok(mut commands) = file.macho_load_commands() else { return header };
        let mut count = 0;
        while let Ok(Some(command)) = commands.next() {
            count += 1;
            match command.variant() {
                Ok(Command::EncryptionInfo32(info)) => header.encrypted |= info.cryptid.get(endian) != 0,
                Ok(Command::EncryptionInfo64(info)) => header.encrypted |= info.cryptid.get(endian) != 0,
                Ok(Command::LinkeditData(list)) if list.cmd.get(endian) == macho::LC_FUNCTION_STARTS => {
                    if let Ok(starts) = list.function_starts(endian, file.data(), text) {
                        header.starts = starts.map_while(|start| start.ok()).collect();
                    }
                }
                _ => {}
            }
        }
        header.whole = count == raw.ncmds(endian);
        header
    }

    fn kind(&self, file: &object::File<'_>) -> Result<FileKind, String> {
        match self.filetype {
            macho::MH_KEXT_BUNDLE => Ok(FileKind::Kext),
            macho::MH_OBJECT => Ok(FileKind::Object),
            macho::MH_DSYM => Ok(FileKind::Dsym),
            macho::MH_EXECUTE if file.segments().any(|segment| segment.address() >> 63 == 1 || !file.is_64()) => Ok(FileKind::Kernel),
            macho::MH_EXECUTE => Err("is a user-space program, not a kernel or kext".to_string()),
            other => Err(format!("is a Mach-O file of type {}, not a kernel, kext or dSYM", other.0)),
        }
    }
}

/// The architecture of a header.
pub(super) fn arch(cpu: macho::CpuType, subtype: u32) -> Result<Arch, String> {
    // The subtype's upper bits are flags (0x80000000) and the pointer-authentication version.
    match (cpu, subtype & 0xff) {
        (macho::CPU_TYPE_X86_64, _) => Ok(Arch::X86_64),
        (macho::CPU_TYPE_X86, _) => Ok(Arch::I386),
        (macho::CPU_TYPE_ARM64, 2) => Ok(Arch::Arm64e),
        (macho::CPU_TYPE_ARM64, _) => Ok(Arch::Arm64),
        (macho::CPU_TYPE_POWERPC, _) => Err(unsupported("ppc")),
        (macho::CPU_TYPE_POWERPC64, _) => Err(unsupported("ppc64")),
        (macho::CPU_TYPE_ARM, _) => Err(unsupported("arm")),
        (other, _) => Err(unsupported(&format!("CPU type {:#x}", other.0))),
    }
}

/// Refuses what was cut off: a part of it would look like a file without symbols.
fn check_complete(file: &object::File<'_>, header: &Header, len: u64) -> Result<(), String> {
    if !header.whole {
        return Err("truncated Mach-O file: its load commands end early; copy it again".to_string());
    }
    for segment in file.segments() {
        let (offset, size) = segment.file_range();
        let end = offset.saturating_add(size);
        if end > len {
            let name = segment.name().ok().flatten().unwrap_or_default();
            return Err(format!("truncated Mach-O file: segment {name} ends at byte {end} but there are {len}; copy it again"));
        }
    }
    Ok(())
}

fn unsupported(arch: &str) -> String {
    format!("is for {arch}, which kstack does not resolve; give the file or slice for x86_64, i386 or arm64")
}

/// Segments that are mapped where code or data is; those of the linker and of DWARF are never at an address, and what `__PRELINK_TEXT` holds
/// are kexts, which are images of their own.
fn placed_segment(file: &object::File<'_>, segment: &object::Segment<'_, '_>, code: &[(u64, u64, u64)]) -> Option<Segment> {
    let name = segment.name().ok().flatten().unwrap_or_default();
    if matches!(name, "__LINKEDIT" | "__DWARF" | "__PAGEZERO" | "__PRELINK_TEXT") || segment.size() == 0 {
        return None;
    }
    // The one segment of an MH_OBJECT has no name; its code is what `__TEXT` holds elsewhere.
    let name = if name.is_empty() { "__TEXT" } else { name };
    let (start, end) = (segment.address(), segment.address().checked_add(segment.size())?);
    let executable = code.iter().any(|(from, to, _)| start <= *from && *to <= end);
    let ends = file
        .sections()
        .filter(|section| (start..end).contains(&section.address()))
        .map(|section| section.address().saturating_add(section.size()));
    let used = ends.max().map_or(segment.size(), |last| last.min(end) - start);
    Some(Segment { name: name.to_string(), svma: Svma(start), size: segment.size(), used, align: 1, executable })
}

fn code_sections(file: &object::File<'_>) -> Vec<(u64, u64, u64)> {
    const INSTRUCTIONS: u32 = macho::S_ATTR_PURE_INSTRUCTIONS.0 | macho::S_ATTR_SOME_INSTRUCTIONS.0;
    let is_code = |section: &object::Section<'_, '_>| {
        let flagged = matches!(section.flags(), object::SectionFlags::MachO { flags, .. } if flags.0 & INSTRUCTIONS != 0);
        flagged || section.name() == Ok("__text")
    };
    let range = |section: object::Section<'_, '_>| {
        let end = section.address().checked_add(section.size())?;
        Some((section.address(), end, section.file_range().map_or(0, |(offset, _)| offset)))
    };
    file.sections().filter(is_code).filter_map(range).collect()
}

/// A code symbol. Labels of the assembler, which stand inside functions, are none.
fn code_symbol<'f>(symbol: &object::Symbol<'f, 'f>, code: &[(u64, u64, u64)]) -> Option<RawSymbol<'f>> {
    if !symbol.is_definition() {
        return None;
    }
    raw_symbol(symbol.address(), symbol.name_bytes().ok()?, symbol.is_global(), code)
}

/// A symbol that lies in one of the code sections.
pub(super) fn raw_symbol<'n>(address: u64, name: &'n [u8], global: bool, code: &[(u64, u64, u64)]) -> Option<RawSymbol<'n>> {
    let (_, limit, _) = code.iter().find(|(start, end, _)| (*start..*end).contains(&address))?;
    let label = name.is_empty() || name.starts_with(b"ltmp") || name.starts_with(b"L");
    let rank = if global { 0 } else { 2 } + u16::from(plain(name).starts_with(b"_"));
    (global || !label).then(|| RawSymbol { address, name: plain(name), global, limit: *limit, size: 0, rank })
}

/// A name without the underscore that Mach-O puts before every C name.
fn plain(name: &[u8]) -> &[u8] {
    name.strip_prefix(b"_").unwrap_or(name)
}

/// The bundle identifier inside a kext's `kmod_info` structure: `next`, `info_version`, `id`, then 64 bytes of name (xnu, osfmk/mach/kmod.h).
fn kmod_name(file: &object::File<'_>) -> Option<String> {
    let symbol = file.symbols().find(|symbol| symbol.name_bytes() == Ok(b"_kmod_info"))?;
    let section = file.section_by_index(symbol.section_index()?).ok()?;
    let name_offset = if file.is_64() { 16 } else { 12 };
    let bytes = section.data_range(symbol.address().checked_add(name_offset)?, 64).ok()??;
    let name = bytes.split(|b| *b == 0).next()?;
    let plausible = name.contains(&b'.') && name.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
    plausible.then(|| String::from_utf8_lossy(name).into_owned())
}
