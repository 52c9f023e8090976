//! How deep debug info nests inlined calls in one another, which has to be known before it is read.
//!
//! addr2line 0.27 reads a function with a call of itself for each level (`InlinedFunction::parse` in its function.rs), and a stack that is
//! used up ends the program. Compilers nest some thirty levels; a damaged or hostile file has as many as it has bytes.

use gimli::{Abbreviations, EndianSlice, RunTimeEndian, Section, UnitHeader};

use super::dwarf::Dwarf;

type Header<'d> = UnitHeader<EndianSlice<'d, RunTimeEndian>>;

/// Levels that are read. A level takes up to 2 KB of a stack of 2 MB.
pub const DEEPEST: usize = 500;

/// What is known of the table of abbreviations of a unit without reading entries.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// Where it ends, behind its last zero.
    pub end: usize,
    /// The highest code in it.
    pub highest: u64,
    /// How many abbreviations there are.
    pub count: u64,
}

impl Table {
    /// All its abbreviations; `None` where codes are left out, so that not all can be had by counting.
    pub fn all<'a>(&self, abbreviations: &'a Abbreviations) -> Option<impl Iterator<Item = &'a gimli::Abbreviation>> {
        (self.highest == self.count).then(|| (1..=self.highest).filter_map(|code| abbreviations.get(code)))
    }
}

/// The fewest bytes of entries that can be too deep; `None` where there are no inlined calls that hold others.
pub fn least(address_size: u8, abbreviations: &Abbreviations, table: Table) -> Option<usize> {
    let Some(all) = table.all(abbreviations) else { return Some(DEEPEST) };
    let nests = |one: &&gimli::Abbreviation| one.tag() == gimli::DW_TAG_inlined_subroutine && one.has_children();
    let size = |one: &gimli::Abbreviation| 1 + one.attributes().iter().map(|part| shortest(part.form(), address_size)).sum::<usize>();
    all.filter(nests).map(size).min().map(|size| size.saturating_mul(DEEPEST))
}

/// The fewest bytes of an attribute; those of which nothing is said here have one at least. Not gimli's own sizes: asking it for them here
/// makes its reading of entries slower, as it is then no longer inlined there.
fn shortest(form: gimli::DwForm, address_size: u8) -> usize {
    match form {
        gimli::DW_FORM_flag_present | gimli::DW_FORM_implicit_const => 0,
        gimli::DW_FORM_addr => address_size.into(),
        gimli::DW_FORM_data2 | gimli::DW_FORM_ref2 => 2,
        gimli::DW_FORM_data4 | gimli::DW_FORM_ref4 | gimli::DW_FORM_sec_offset | gimli::DW_FORM_strp => 4,
        gimli::DW_FORM_data8 | gimli::DW_FORM_ref8 => 8,
        _ => 1,
    }
}

/// Whether inlined calls lie too deep in one another in a unit, which is read entry by entry. `None` when it cannot be read.
pub fn too_deep(header: &Header<'_>, abbreviations: &Abbreviations) -> Option<bool> {
    let mut entries = header.entries_raw(abbreviations, None).ok()?;
    let mut open: Vec<isize> = Vec::new();
    while !entries.is_empty() {
        let depth = entries.next_depth();
        let Some(abbreviation) = entries.read_abbreviation().ok()? else { continue };
        while open.last().is_some_and(|last| *last >= depth) {
            open.pop();
        }
        if abbreviation.tag() == gimli::DW_TAG_inlined_subroutine {
            open.push(depth);
        }
        if open.len() > DEEPEST {
            return Some(true);
        }
        entries.skip_attributes(abbreviation.attributes()).ok()?;
    }
    Some(false)
}

/// The same of a whole unit.
pub fn unit_too_deep(dwarf: &Dwarf<'_>, header: &Header<'_>) -> Option<bool> {
    let abbreviations = dwarf.abbreviations(header).ok()?;
    let table = table_of(dwarf, header)?;
    let length = header.length_including_self();
    match least(header.address_size(), &abbreviations, table) {
        Some(least) if length >= least => too_deep(header, &abbreviations),
        _ => Some(false),
    }
}

/// The table of abbreviations of a unit.
pub fn table_of(dwarf: &Dwarf<'_>, header: &Header<'_>) -> Option<Table> {
    table(dwarf.debug_abbrev.reader().slice().get(header.debug_abbrev_offset().0..)?)
}

/// The table of abbreviations at the start of `bytes`. DWARF 5, section 7.5.3.
pub fn table(bytes: &[u8]) -> Option<Table> {
    let (mut at, mut highest, mut count) = (0, 0, 0);
    let mut number = || {
        let (mut value, mut shift) = (0u64, 0);
        loop {
            let byte = *bytes.get(at)?;
            at += 1;
            value |= if shift < 64 { u64::from(byte & 0x7f) << shift } else { 0 };
            shift += 7;
            if byte < 0x80 {
                return Some((value, at));
            }
        }
    };
    loop {
        let (code, end) = number()?;
        if code == 0 {
            return Some(Table { end, highest, count });
        }
        (highest, count) = (highest.max(code), count + 1);
        // The tag, and whether there are children: a byte that is its own number.
        let _ = (number()?, number()?);
        loop {
            let (name, form) = (number()?.0, number()?.0);
            if form == u64::from(gimli::DW_FORM_implicit_const.0) {
                number()?;
            }
            if name == 0 && form == 0 {
                break;
            }
        }
    }
}
