//! `__bug_table`: where the code of a Linux kernel or module stops with BUG or WARN, and the source line that it prints then.
//!
//! An entry has 32-bit distances to the instruction and to the name of the source file, 16 bits of the line's number and 16 of flags; since
//! 6.18 some architectures have one more distance, to the format, in front of the file's (include/asm-generic/bug.h). Distances count from
//! their own field; on x86 before 5.18 all of them from the entry's beginning (`__BUG_REL` in arch/x86/include/asm/bug.h). In an unlinked
//! module the relocations of the fields name both places. Kernels without `CONFIG_DEBUG_BUGVERBOSE` have no files there; 32-bit ones, which
//! have addresses in place of distances, are not read.

use object::{Object, ObjectSection, ObjectSymbol, RelocationTarget, SectionIndex};
use rustc_hash::{FxHashMap, FxHashSet};

use super::BugLines;
use crate::model::addr::Svma;

/// Entries by which the form of a table is told.
const PROBED: usize = 64;
/// No path of a source file is longer.
const LONGEST: usize = 4096;

/// How entries are built: their size, where in them the file's field is and what that counts from, and where the line is.
#[derive(Clone, Copy)]
struct Form {
    size: usize,
    file: usize,
    from: usize,
    line: usize,
}

const FORMS: [Form; 3] = [
    Form { size: 12, file: 4, from: 4, line: 8 },
    Form { size: 12, file: 4, from: 0, line: 8 },
    Form { size: 16, file: 8, from: 8, line: 12 },
];

/// The source lines that code at link-time addresses `at` prints when it stops there; none for what is in no table.
pub fn lines(file: &object::File<'_>, base: &dyn Fn(SectionIndex) -> Option<u64>, at: &[Svma]) -> BugLines {
    let mut found = BugLines::default();
    let Some(section) = file.section_by_name("__bug_table").filter(|_| file.is_64() && !at.is_empty()) else { return found };
    let Ok(data) = section.data() else { return found };
    let table = match file.kind() {
        object::ObjectKind::Relocatable => Table::unlinked(file, &section, data, base),
        _ => Table { file, data, start: section.address(), targets: None },
    };
    let Some(form) = FORMS.into_iter().find(|form| table.has(*form)) else { return found };
    let wanted: FxHashSet<u64> = at.iter().map(|at| at.0).collect();
    for n in 0..data.len() / form.size {
        let Some(code) = table.code(form, n).filter(|code| wanted.contains(code)) else { continue };
        if let Some(source) = table.source(form, n) {
            found.entry(Svma(code)).or_insert(source);
        }
    }
    found
}

struct Table<'t, 'f> {
    file: &'t object::File<'f>,
    data: &'t [u8],
    start: u64,
    /// In an unlinked file, what the fields name.
    targets: Option<FxHashMap<u64, Target>>,
}

/// What the relocation of a field names.
struct Target {
    section: SectionIndex,
    offset: u64,
    /// Where that was laid out, if it is code.
    laid_out: Option<u64>,
}

impl<'t, 'f> Table<'t, 'f> {
    fn unlinked(
        file: &'t object::File<'f>,
        section: &object::Section<'f, '_>,
        data: &'t [u8],
        base: &dyn Fn(SectionIndex) -> Option<u64>,
    ) -> Table<'t, 'f> {
        let target = |(field, record): (u64, object::Relocation)| {
            let RelocationTarget::Symbol(symbol) = record.target() else { return None };
            let symbol = file.symbol_by_index(symbol).ok()?;
            let (section, offset) = (symbol.section_index()?, symbol.address().wrapping_add(record.addend() as u64));
            Some((field, Target { section, offset, laid_out: base(section).map(|base| base.wrapping_add(offset)) }))
        };
        Table { file, data, start: 0, targets: Some(section.relocations().filter_map(target).collect()) }
    }

    /// Whether the first entries of a table make sense in this form: each names a file, and most of the names begin a string. The linker may
    /// have made one name the end of another.
    fn has(&self, form: Form) -> bool {
        let count = (self.data.len() / form.size).min(PROBED);
        let whole = (0..count).map_while(|n| self.name(form, n)).map(|(_, begins)| usize::from(begins));
        let (named, whole) = whole.fold((0, 0), |(named, sum), begins| (named + 1, sum + begins));
        self.data.len().is_multiple_of(form.size) && count > 0 && named == count && whole * 2 > count
    }

    fn code(&self, form: Form, n: usize) -> Option<u64> {
        let at = n * form.size;
        match &self.targets {
            Some(targets) => targets.get(&(at as u64))?.laid_out,
            None => Some(self.distance(at, at)?),
        }
    }

    /// File and line of an entry.
    fn source(&self, form: Form, n: usize) -> Option<(String, u32)> {
        let line = self.bytes(n * form.size + form.line)?;
        let line = if self.file.is_little_endian() { u16::from_le_bytes(line) } else { u16::from_be_bytes(line) };
        Some((self.name(form, n)?.0, u32::from(line)))
    }

    /// The file of an entry, and whether a string begins there.
    fn name(&self, form: Form, n: usize) -> Option<(String, bool)> {
        let field = n * form.size + form.file;
        let (data, at) = match &self.targets {
            Some(targets) => {
                let target = targets.get(&(field as u64))?;
                (self.file.section_by_index(target.section).ok()?.data().ok()?, target.offset)
            }
            None => self.linked(self.distance(field, n * form.size + form.from)?)?,
        };
        path(data, usize::try_from(at).ok()?)
    }

    /// What the field at `field` points at, counted from `from`.
    fn distance(&self, field: usize, from: usize) -> Option<u64> {
        let bytes = self.bytes(field)?;
        let distance = if self.file.is_little_endian() { i32::from_le_bytes(bytes) } else { i32::from_be_bytes(bytes) };
        Some(self.start.wrapping_add(from as u64).wrapping_add_signed(i64::from(distance)))
    }

    fn bytes<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.data.get(at..at + N)?.try_into().ok()
    }

    /// The section that an address of a linked file lies in, and how far.
    fn linked(&self, address: u64) -> Option<(&'t [u8], u64)> {
        let holds = |section: &object::Section<'_, '_>| section.address() != 0 && address.wrapping_sub(section.address()) < section.size();
        let section = self.file.sections().find(holds)?;
        Some((section.data().ok()?, address - section.address()))
    }
}

/// The path of a source file at `at`, and whether a string begins there.
fn path(data: &[u8], at: usize) -> Option<(String, bool)> {
    let begins = at == 0 || data.get(at - 1) == Some(&0);
    let rest = data.get(at..data.len().min(at.saturating_add(LONGEST)))?;
    let name = &rest[..memchr::memchr(0, rest)?];
    let is_path = name.len() > 2 && name.contains(&b'.') && name.iter().all(u8::is_ascii_graphic);
    is_path.then(|| (String::from_utf8_lossy(name).into_owned(), begins))
}
