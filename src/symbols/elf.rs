//! ELF: `vmlinux` and its `.debug`, kernel modules (`ET_REL`) and their `.debug`.
//!
//! An unlinked module has several code sections that all start at 0, so an offset alone says nothing. They are laid out here one
//! behind the other at addresses of their own; symbols and relocated DWARF follow that layout, and a load map moves each section
//! to where it really is.

use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use object::{Object, ObjectSection, ObjectSymbol, SectionFlags, elf};

use super::alias;
use super::altlink;
use super::bug_table;
use super::dwarf::{self, Sections};
use super::elf_kind::{GAP, arch, is_bsd_kernel, is_kld};
use super::kernel_sizes::{self, KernelSizes};
use super::locate::locate;
use super::opd::Descriptors;
use super::parts::{Missing, PartFile, Places};
use super::patched;
use super::reloc;
use super::split::{Finder, Splits};
use super::symtab::{Near, RawSymbol, SymbolTable};
use super::units::UnitIndex;
use super::{BugLines, Callee, DebugLink, FileInfo, FileKind, Opener, Segment, Symbols};
use crate::error::Error;
use crate::input::Bytes;
use crate::model::addr::{Arch, Svma};
use crate::model::frame::Location;
use crate::model::image::ImageId;

/// Recognises and opens ELF files.
pub struct ElfOpener;

impl Opener for ElfOpener {
    fn about(&self) -> &'static str {
        "ELF vmlinux, .debug and .ko files, also compressed"
    }
    fn sniff(&self, head: &[u8]) -> bool {
        head.starts_with(b"\x7fELF")
    }
    fn open(&self, path: &Path, bytes: &Bytes, refused: &mut Vec<Error>) -> Vec<Box<dyn Symbols>> {
        match Elf::open(path, bytes) {
            Ok(file) => vec![Box::new(file)],
            Err(what) => {
                refused.push(Error::bad(path, what));
                Vec::new()
            }
        }
    }
}

/// Where an allocated section is taken to lie.
#[derive(Clone, Copy, Debug)]
struct Placed {
    base: u64,
    size: u64,
    code: bool,
    /// Offset of its bytes in the file; `None` when it has none (`.bss`, and everything in a `.debug` file).
    file: Option<u64>,
}

struct Elf {
    bytes: Bytes,
    info: FileInfo,
    /// By section index.
    sections: Vec<Option<Placed>>,
    /// Whether symbol values count from the start of their section.
    relocatable: bool,
    /// Where the code of functions is, if their symbols do not say.
    descriptors: Option<Descriptors>,
    table: OnceLock<SymbolTable>,
    units: UnitIndex,
    /// Debug sections that cannot be read, in words.
    unread: OnceLock<Vec<String>>,
    /// Debug sections with relocations applied.
    relocated: OnceLock<reloc::Patched>,
    elsewhere: Elsewhere,
}

/// Debug info of the file that lies in others.
#[derive(Default)]
struct Elsewhere {
    places: OnceLock<Arc<Places>>,
    splits: Splits,
    sup: OnceLock<PartFile>,
    /// Why `sup` is empty although there should be one.
    no_sup: Mutex<Option<Missing>>,
}

impl Elf {
    fn open(path: &Path, bytes: &Bytes) -> Result<Elf, String> {
        bytes.read_here_and_there();
        let file = object::File::parse(&bytes[..]).map_err(|cause| format!("damaged or truncated ELF file: {cause}; copy it again"))?;
        let relocatable = file.kind() == object::ObjectKind::Relocatable;
        let shared = is_kld(&file);
        let arch = arch(&file)?;
        let mut sections = Vec::new();
        let mut segments = Vec::new();
        let mut next = GAP;
        for section in file.sections() {
            let SectionFlags::Elf { sh_flags, .. } = section.flags() else { continue };
            let size = section.size();
            if sh_flags.0 & elf::SHF_ALLOC.0 == 0 || size == 0 {
                continue;
            }
            let base = if relocatable { next } else { section.address() };
            // Per-CPU data is linked at 0 and lies nowhere.
            if !relocatable && !shared && base < GAP {
                continue;
            }
            next = (base.saturating_add(size).saturating_add(2 * GAP)) & !(GAP - 1);
            let code = sh_flags.0 & elf::SHF_EXECINSTR.0 != 0;
            let file_range = section.file_range().filter(|(_, length)| *length == size);
            if let Some((start, length)) = file_range
                && start.saturating_add(length) > bytes.len() as u64
            {
                let name = section.name().unwrap_or("?");
                return Err(format!("truncated ELF file: section {name} ends behind the end of the file; copy it again"));
            }
            sections.resize(section.index().0, None);
            sections.push(Some(Placed { base, size, code, file: file_range.map(|(start, _)| start) }));
            let name = section.name().unwrap_or_default().to_string();
            segments.push(Segment { name, svma: Svma(base), size, used: size, align: section.align().max(1), executable: code });
        }
        let kind = if relocatable || shared { FileKind::Module } else { FileKind::Kernel };
        // What no program in user space has.
        let linux = || [".init.text", "__ksymtab", "__ex_table", ".SUNW_ctf"].iter().any(|name| file.section_by_name(name).is_some());
        if kind == FileKind::Kernel && !linux() && !is_bsd_kernel(&file) {
            return Err("is a program or library of user space, not a kernel or module".to_string());
        }
        let has_debug_info = file.section_by_name(".debug_info").is_some();
        let info = FileInfo {
            path: path.to_path_buf(),
            kind,
            arch,
            id: file.build_id().ok().flatten().and_then(ImageId::build),
            segments,
            has_debug_info,
            linked_at_runtime: false,
            is_elf: true,
            encrypted: false,
            collection: None,
            prelinked: None,
            shared,
        };
        let base = |section: object::SectionIndex| Some(sections.get(section.0)?.as_ref()?.base);
        let descriptors = if arch == Arch::Ppc64 { Descriptors::read(&file, base) } else { None };
        let (table, units, relocated) = (OnceLock::new(), UnitIndex::default(), OnceLock::new());
        let elsewhere = Elsewhere::default();
        Ok(Elf {
            bytes: bytes.clone(),
            info,
            sections,
            relocatable,
            descriptors,
            table,
            units,
            unread: OnceLock::new(),
            relocated,
            elsewhere,
        })
    }

    fn file(&self) -> Option<object::File<'_>> {
        object::File::parse(&self.bytes[..]).ok()
    }

    /// Every symbol with the address that its section has here.
    fn symbols<'f>(&'f self, file: &'f object::File<'_>) -> impl Iterator<Item = (u64, object::Symbol<'f, 'f>)> {
        // Of most files the answer is at hand, and a kernel has 200,000 symbols.
        let plain = !self.relocatable && self.descriptors.is_none() && self.info.arch != Arch::Arm;
        file.symbols().map(move |symbol| (if plain { symbol.address() } else { self.address_of(&symbol) }, symbol))
    }

    /// Where a symbol lies whose section was laid out here, or which stands for a descriptor.
    #[inline(never)]
    fn address_of(&self, symbol: &object::Symbol<'_, '_>) -> u64 {
        let base = || Some(self.place(symbol.section_index()?)?.base);
        let base = if self.relocatable { base().unwrap_or(0) } else { 0 };
        // The lowest bit of an Arm function's value says that it is Thumb code; its first byte lies at the even address.
        let thumb = u64::from(self.info.arch == Arch::Arm && symbol.kind() == object::SymbolKind::Text);
        let address = base.wrapping_add(symbol.address() & !thumb);
        let code = self.descriptors.as_ref().and_then(|opd| opd.code(symbol.section_index(), address));
        code.unwrap_or(address)
    }

    fn place(&self, section: object::SectionIndex) -> Option<&Placed> {
        self.sections.get(section.0)?.as_ref()
    }

    /// The code section of a symbol; a descriptor's code is in another section than its symbol.
    fn code_at(&self, section: object::SectionIndex, address: u64) -> Option<&Placed> {
        let own = self.place(section).filter(|place| place.code);
        let holds = |place: &&Placed| place.code && address.wrapping_sub(place.base) < place.size;
        own.or_else(|| self.descriptors.as_ref().and_then(|_| self.sections.iter().flatten().find(holds)))
    }

    /// A code symbol as the kernel's own table has them: a function, a label or data among the code, but no mapping symbol.
    fn code_symbol<'f>(&self, address: u64, symbol: &object::Symbol<'f, 'f>) -> Option<RawSymbol<'f>> {
        let place = self.code_at(symbol.section_index()?, address)?;
        let object::SymbolFlags::Elf { st_info, .. } = symbol.flags() else { return None };
        if matches!(st_info.st_type(), elf::STT_SECTION | elf::STT_FILE) {
            return None;
        }
        let name = symbol.name_bytes().ok()?;
        if name.is_empty() || name.starts_with(b"$") || name.starts_with(b".L") || name.starts_with(b"L0\x01") {
            return None;
        }
        // The code of a descriptor can have a symbol of its own, with a dot in front.
        let name = name.strip_prefix(b".").filter(|name| self.descriptors.is_some() && !name.is_empty()).unwrap_or(name);
        let rank = alias::rank(name, symbol.is_weak()) | if self.relocatable { 0 } else { alias::BY_NAME };
        let limit = place.base + place.size;
        (address < limit).then(|| RawSymbol { address, name, global: symbol.is_global(), limit, size: symbol.size(), rank })
    }

    fn debug(&self) -> Option<Sections<'_>> {
        let file = self.file().filter(|_| self.info.has_debug_info)?;
        self.bytes.read_along();
        if !self.relocatable {
            return Some(self.remark(Sections::load(&file)).with_sup(self.sup(&file)));
        }
        let bases = |section: usize| self.place(object::SectionIndex(section)).map(|place| place.base);
        if self.relocated.get().is_none() {
            // Not inside `get_or_init`: a thread that waits there for parallel work may be handed work that waits for it.
            let _ = self.relocated.set(reloc::apply(&file, bases));
        }
        Some(self.remark(Sections::patched(&file, self.relocated.get()?)).with_sup(self.sup(&file)))
    }

    /// Keeps what cannot be read, which is the same every time.
    fn remark<'d>(&self, sections: Sections<'d>) -> Sections<'d> {
        self.unread.get_or_init(|| sections.unread().to_vec());
        sections
    }

    fn places(&self) -> &Places {
        self.elsewhere.places.get_or_init(Arc::default)
    }

    /// The supplementary file. One that is missing is looked for again the next time: it may have been fetched.
    fn sup(&self, file: &object::File<'_>) -> Option<&PartFile> {
        let known = &self.elsewhere;
        let mut missing = known.no_sup.lock().unwrap_or_else(PoisonError::into_inner);
        if known.sup.get().is_none()
            && let Some(link) = altlink::link(file)
        {
            match altlink::find(&link, &self.info.path, self.places()) {
                Ok(part) => {
                    let _ = known.sup.set(part);
                    *missing = None;
                }
                Err(what) => *missing = Some(*what),
            }
        }
        known.sup.get()
    }

    fn finder(&self) -> Option<Finder<'_>> {
        Some(Finder { splits: &self.elsewhere.splits, file: &self.info.path, places: self.places() })
    }
}

impl Symbols for Elf {
    fn info(&self) -> &FileInfo {
        &self.info
    }

    fn table(&self) -> &SymbolTable {
        self.table.get_or_init(|| {
            self.bytes.read_along();
            let Some(file) = self.file() else { return SymbolTable::default() };
            SymbolTable::new(self.symbols(&file).filter_map(|(address, symbol)| self.code_symbol(address, &symbol)), Vec::new())
        })
    }

    fn near(&self, probes: &[Svma]) -> Near<'_> {
        if let Some(file) = self.file().filter(|_| self.table.get().is_none()) {
            self.bytes.read_along();
            let symbols = || self.symbols(&file).map(|(address, symbol)| (address, (address, symbol)));
            return Near::Part(SymbolTable::around(symbols, |(address, symbol)| self.code_symbol(*address, symbol), Vec::new(), probes));
        }
        Near::Whole(self.table())
    }

    fn symbol_count(&self) -> usize {
        self.bytes.read_along();
        self.file().map_or(0, |file| self.symbols(&file).filter(|(address, symbol)| self.code_symbol(*address, symbol).is_some()).count())
    }

    /// `name=` of `.modinfo`, which is what the kernel calls the module (since 4.13).
    fn bundle_id(&self) -> Option<String> {
        let file = self.file()?;
        let info = file.section_by_name(".modinfo")?.data().ok()?;
        let name = info.split(|b| *b == 0).find_map(|entry| entry.strip_prefix(b"name="))?;
        Some(String::from_utf8_lossy(name).into_owned())
    }

    fn locate(&self, probes: &[Svma]) -> Vec<Vec<Location>> {
        let sections = self.debug();
        sections
            .map_or_else(|| vec![Vec::new(); probes.len()], |sections| locate(&sections, &self.bytes, &self.units, self.finder(), probes))
    }

    fn debug_link(&self) -> Option<DebugLink> {
        let file = self.file()?;
        let (name, crc) = file.gnu_debuglink().ok()??;
        let name = std::str::from_utf8(name).ok().filter(|name| !name.is_empty() && !name.contains('/'))?;
        Some(DebugLink { name: name.to_string(), crc })
    }

    fn look_in(&self, places: &Arc<Places>) {
        let _ = self.elsewhere.places.set(places.clone());
    }

    fn missing_parts(&self, all: bool) -> Vec<Missing> {
        let Some(file) = self.file().filter(|_| self.info.has_debug_info) else { return Vec::new() };
        self.sup(&file);
        if let (true, Some(sections), Some(finder)) = (all, self.debug(), self.finder()) {
            dwarf::skeletons(&sections).iter().for_each(|skeleton| drop(finder.find(skeleton)));
        }
        let sup = self.elsewhere.no_sup.lock().unwrap_or_else(PoisonError::into_inner).clone();
        sup.into_iter().chain(self.elsewhere.splits.missing()).collect()
    }

    fn damage(&self) -> Vec<String> {
        self.units.damage().into_iter().chain(self.unread.get().cloned().unwrap_or_default()).collect()
    }

    fn debug_function(&self, at: Svma) -> Option<(String, Svma)> {
        dwarf::function_at(&self.debug()?, &self.units, self.finder(), at)
    }

    fn code(&self, from: Svma, to: Svma) -> Option<&[u8]> {
        let holds = |place: &&Placed| place.code && place.base <= from.0 && to.0 <= place.base + place.size;
        let place = self.sections.iter().flatten().find(holds)?;
        let start = place.file? + (from.0 - place.base);
        self.bytes.get(start as usize..(start + to.0.checked_sub(from.0)?) as usize)
    }

    fn patched(&self, from: Svma, to: Svma) -> Vec<patched::Site> {
        let Some(file) = self.file() else { return Vec::new() };
        let base = |section| Some(self.place(section)?.base);
        let code = |at: u64, count: usize| self.code(Svma(at), Svma(at.saturating_add(count as u64)));
        patched::sites(&file, &base, &code, from.0..to.0)
    }

    fn callee(&self, end: Svma) -> Option<Callee> {
        let base = |section| Some(self.place(section)?.base);
        patched::callee(&self.file()?, &base, end.0)
    }

    fn banners(&self) -> Vec<String> {
        self.file().map_or_else(Vec::new, |file| patched::banners(&file))
    }

    fn bug_lines(&self, at: &[Svma]) -> BugLines {
        let base = |section| Some(self.place(section)?.base);
        self.file().map_or_else(BugLines::default, |file| bug_table::lines(&file, &base, at))
    }

    fn kernel_sizes(&self) -> KernelSizes {
        let Some(file) = self.file() else { return KernelSizes::default() };
        kernel_sizes::of(file.symbols().filter_map(|symbol| Some((symbol.address(), symbol.name_bytes().ok()?))))
    }

    fn release(&self) -> Option<String> {
        patched::release(&self.file()?)
    }
}
