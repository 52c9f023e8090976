//! Kernel collections (`MH_FILESET`, macOS 11 and later): one file with the kernel and hundreds of kexts.
//!
//! Each `LC_FILESET_ENTRY` names a complete Mach-O header inside the file. The segments of an entry carry the collection's addresses and file
//! offsets, and the symbol tables of all entries lie in one `__LINKEDIT`. Opening reads load commands only; symbols are read on demand.

use std::path::Path;
use std::sync::OnceLock;

use object::Endianness;
use object::macho::{self, MachHeader64, SymtabCommand};
use object::read::macho::{LoadCommandVariant as Command, MachHeader, Nlist, Section, Segment as _};

use super::symtab::{Near, SymbolTable};
use super::{Collection, FileInfo, FileKind, Segment, Symbols, macho as thin};
use crate::error::Error;
use crate::input::Bytes;
use crate::model::addr::Svma;
use crate::model::frame::Location;
use crate::model::image::ImageId;

type Header = MachHeader64<Endianness>;

/// Entries beyond this are not read; a boot collection has about 700.
const MAX_ENTRIES: usize = 4096;
/// Load commands of one entry beyond this many bytes are damage: a kernel has about 4 KiB of them.
const MAX_COMMANDS: u32 = 64 << 10;
/// The entry that is the kernel.
const KERNEL: &str = "com.apple.kernel";

/// Whether a slice is a kernel collection. They are 64-bit and little endian.
pub fn is_fileset(slice: &[u8]) -> bool {
    let word = |at: usize| slice.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes);
    word(0) == Some(macho::MH_MAGIC_64) && word(12) == Some(macho::MH_FILESET.0)
}

/// Opens every entry of the collection in `bytes[start..end]`. What cannot be used goes to `refused`.
///
/// # Errors
/// When the collection's own load commands cannot be read, or the file ends before its segments do.
pub fn open(path: &Path, bytes: &Bytes, start: usize, end: usize, refused: &mut Vec<Error>) -> Result<Vec<Box<dyn Symbols>>, String> {
    let data = bytes.get(start..end).ok_or("ends before this slice does")?;
    let outer = Commands::read(data, 0)?;
    outer.check_complete(data.len() as u64)?;
    let collection = Collection { id: outer.id, base: outer.base() };
    let mut files: Vec<Box<dyn Symbols>> = Vec::new();
    let mut damaged = outer.entries.len().saturating_sub(MAX_ENTRIES);
    for (offset, name) in outer.entries.iter().take(MAX_ENTRIES) {
        match Commands::read(data, *offset).and_then(|commands| Entry::new(path, bytes, (start, end), commands, name, &collection)) {
            Ok(entry) => files.push(Box::new(entry)),
            Err(_) => damaged += 1,
        }
    }
    if files.is_empty() {
        return Err(format!(
            "is a kernel collection (MH_FILESET) of {} entries, none of which can be read; copy it again",
            outer.entries.len()
        ));
    }
    if damaged > 0 {
        let all = outer.entries.len();
        refused.push(Error::bad(
            path,
            format!("{damaged} of the {all} entries of this kernel collection cannot be read; the others are used"),
        ));
    }
    Ok(files)
}

/// The load commands of the collection or of one entry.
struct Commands {
    cpu: macho::CpuType,
    subtype: u32,
    filetype: macho::FileType,
    id: Option<ImageId>,
    /// Mapped segments with the end of their bytes in the file.
    segments: Vec<(Segment, u64)>,
    /// Code sections: link-time start, end, and offset in the file.
    code: Vec<(u64, u64, u64)>,
    symtab: Option<SymtabCommand<Endianness>>,
    starts: Option<macho::LinkeditDataCommand<Endianness>>,
    /// Offset and name of each entry.
    entries: Vec<(u64, String)>,
}

impl Commands {
    fn read(data: &[u8], offset: u64) -> Result<Commands, String> {
        let bad = |cause: object::Error| format!("damaged or truncated kernel collection: {cause}; copy it again");
        let header = Header::parse(data, offset).map_err(bad)?;
        let endian = header.endian().map_err(bad)?;
        if offset > 0 && header.sizeofcmds(endian) > MAX_COMMANDS {
            return Err("its load commands are longer than any".to_string());
        }
        let mut read = Commands {
            cpu: header.cputype(endian),
            subtype: header.cpusubtype(endian).0,
            filetype: header.filetype(endian),
            id: None,
            segments: Vec::new(),
            code: Vec::new(),
            symtab: None,
            starts: None,
            entries: Vec::new(),
        };
        let mut commands = header.load_commands(endian, data, offset).map_err(bad)?;
        while let Some(command) = commands.next().map_err(bad)? {
            match command.variant().map_err(bad)? {
                Command::Segment64(segment, sections) => read.segment(segment, sections, endian),
                Command::Uuid(uuid) => read.id = ImageId::uuid(uuid.uuid),
                Command::Symtab(symtab) => read.symtab = Some(*symtab),
                Command::LinkeditData(list) if list.cmd.get(endian) == macho::LC_FUNCTION_STARTS => read.starts = Some(*list),
                Command::FilesetEntry(entry) => {
                    let name = command.string(endian, entry.entry_id).map_err(bad)?;
                    read.entries.push((entry.fileoff.get(endian), String::from_utf8_lossy(name).into_owned()));
                }
                _ => {}
            }
        }
        Ok(read)
    }

    fn segment(&mut self, segment: &macho::SegmentCommand64<Endianness>, sections: &[u8], endian: Endianness) {
        let name = String::from_utf8_lossy(segment.name()).into_owned();
        let (start, size) = (segment.vmaddr.get(endian), segment.vmsize.get(endian));
        let Some(end) = start.checked_add(size).filter(|_| size > 0) else { return };
        let mut used = None;
        for section in segment.sections(endian, sections).unwrap_or_default() {
            let (from, size) = (section.addr.get(endian), section.size.get(endian));
            let code = section.flags(endian).0 & (macho::S_ATTR_PURE_INSTRUCTIONS.0 | macho::S_ATTR_SOME_INSTRUCTIONS.0) != 0;
            used = used.max(Some(from.saturating_add(size).clamp(start, end)));
            if let Some(to) = from.checked_add(size).filter(|_| code || section.name() == b"__text") {
                self.code.push((from, to, section.offset.get(endian).into()));
            }
        }
        let executable = self.code.iter().any(|(from, to, _)| start <= *from && *to <= end);
        let file_end = segment.fileoff.get(endian).saturating_add(segment.filesize.get(endian));
        self.segments.push((
            Segment { name, svma: Svma(start), size, used: used.map_or(size, |last| last - start), align: 1, executable },
            file_end,
        ));
    }

    fn base(&self) -> Svma {
        let text = self.segments.iter().find(|(segment, _)| segment.name == "__TEXT").or(self.segments.first());
        text.map_or(Svma(0), |(segment, _)| segment.svma)
    }

    fn check_complete(&self, len: u64) -> Result<(), String> {
        let cut = self.segments.iter().find(|(_, end)| *end > len);
        cut.map_or(Ok(()), |(segment, end)| {
            Err(format!("truncated kernel collection: segment {} ends at byte {end} but there are {len}; copy it again", segment.name))
        })
    }
}

/// One kernel or kext of a collection.
struct Entry {
    bytes: Bytes,
    /// The collection inside the file: all of it, or a slice of a fat file.
    range: (usize, usize),
    info: FileInfo,
    bundle_id: Option<String>,
    commands: Commands,
    table: OnceLock<SymbolTable>,
}

impl Entry {
    fn new(
        path: &Path,
        bytes: &Bytes,
        range: (usize, usize),
        commands: Commands,
        name: &str,
        collection: &Collection,
    ) -> Result<Entry, String> {
        commands.check_complete((range.1 - range.0) as u64)?;
        let kind = match commands.filetype {
            macho::MH_EXECUTE => FileKind::Kernel,
            macho::MH_KEXT_BUNDLE => FileKind::Kext,
            other => return Err(format!("is a Mach-O file of type {}, not a kernel or kext", other.0)),
        };
        let mapped = |segment: &&(Segment, u64)| segment.0.name != "__LINKEDIT";
        let info = FileInfo {
            path: path.to_path_buf(),
            kind,
            arch: thin::arch(commands.cpu, commands.subtype)?,
            id: commands.id,
            segments: commands.segments.iter().filter(mapped).map(|(segment, _)| segment.clone()).collect(),
            has_debug_info: false,
            linked_at_runtime: false,
            is_elf: false,
            encrypted: false,
            collection: Some(collection.clone()),
            prelinked: None,
            shared: false,
        };
        let bundle_id = (name != KERNEL).then(|| name.to_string());
        Ok(Entry { bytes: bytes.clone(), range, info, bundle_id, commands, table: OnceLock::new() })
    }

    fn data(&self) -> &[u8] {
        &self.bytes[self.range.0..self.range.1]
    }

    fn read_table(&self) -> Option<SymbolTable> {
        let (data, endian) = (self.data(), Endianness::Little);
        let symbols = self.commands.symtab.as_ref()?.symbols::<Header, _>(endian, data).ok()?;
        let raw = |symbol: &macho::Nlist64<Endianness>| {
            let name = symbol.name(endian, symbols.strings()).ok()?;
            let global = symbol.n_type().contains(macho::N_EXT);
            thin::raw_symbol(symbol.n_value(endian), name, global, &self.commands.code).filter(|_| symbol.is_definition())
        };
        let starts = self.commands.starts.as_ref().and_then(|list| list.function_starts(endian, data, self.commands.base().0).ok());
        let starts = starts.into_iter().flatten().map_while(|start| start.ok()).collect();
        Some(SymbolTable::new(symbols.iter().filter_map(raw), starts))
    }
}

impl Symbols for Entry {
    fn info(&self) -> &FileInfo {
        &self.info
    }
    fn table(&self) -> &SymbolTable {
        self.table.get_or_init(|| self.read_table().unwrap_or_default())
    }
    fn near(&self, _: &[Svma]) -> Near<'_> {
        Near::Whole(self.table())
    }
    fn symbol_count(&self) -> usize {
        self.table().len()
    }
    fn bundle_id(&self) -> Option<String> {
        self.bundle_id.clone()
    }
    fn locate(&self, probes: &[Svma]) -> Vec<Vec<Location>> {
        vec![Vec::new(); probes.len()]
    }
    fn debug_function(&self, _: Svma) -> Option<(String, Svma)> {
        None
    }
    fn code_parts(&self) -> Vec<std::ops::Range<u64>> {
        self.commands.code.iter().map(|(start, end, _)| *start..*end).collect()
    }
    fn code(&self, from: Svma, to: Svma) -> Option<&[u8]> {
        let (start, _, offset) = self.commands.code.iter().find(|(start, end, _)| *start <= from.0 && to.0 <= *end)?;
        let at = |svma: Svma| usize::try_from(offset.checked_add(svma.0.checked_sub(*start)?)?).ok();
        self.data().get(at(from)?..at(to)?)
    }
}
