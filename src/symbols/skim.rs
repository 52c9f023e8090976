//! A copy of a C unit's DWARF in which everything between its functions is one entry that is passed over in a step.
//!
//! Nine tenths of a kernel unit are types of headers, which no lookup of an address needs, but which a reader of the entries has to walk
//! through. GCC and clang link each entry with its next sibling (`DW_AT_sibling`), so that finding them costs little. References from
//! functions to types lead nowhere in the copy; offsets of functions are as they were. DWARF 5, sections 2.3 and 7.5.

use std::sync::Arc;

use gimli::{
    Abbreviations, AbbreviationsCache, AttributeValue, DebugAbbrev, DebugAbbrevOffset, DebugInfo, DebugInfoOffset, Dwarf, EndianSlice,
    RunTimeEndian, UnitHeader, UnitOffset,
};

use super::depth;

type Reader<'d> = EndianSlice<'d, RunTimeEndian>;

/// The copy: one unit of `.debug_info`, and the abbreviations that it uses, with one for what is passed over.
pub struct Skimmed {
    /// Begins with the unit's header.
    info: Vec<u8>,
    /// The unit's abbreviations, at offset 0.
    table: Vec<u8>,
    /// The same, read.
    cache: AbbreviationsCache,
    /// What is known of its table.
    pub known: depth::Table,
    /// Whether a function has inlined calls too deep in one another.
    pub too_deep: bool,
}

/// Bytes that a run of entries must have to be worth an entry of its own.
const WORTH: usize = 64;

/// The copy of `unit`, whose abbreviations are at the start of `abbreviations`; `None` for units of other languages than C, of the 64-bit
/// form, or that cannot be read.
pub fn skim(unit: &[u8], abbreviations: &[u8], endian: RunTimeEndian) -> Option<Skimmed> {
    let known = depth::table(abbreviations)?;
    let code = uleb(known.highest.checked_add(1)?);
    // Code, no tag that means anything, no children, one attribute that is a block, end of attributes.
    let mut table = [&code[..], &uleb(u64::from(gimli::DW_TAG_lo_user.0)), &[gimli::DW_CHILDREN_no.0]].concat();
    table.extend([&uleb(u64::from(gimli::DW_AT_lo_user.0))[..], &uleb(u64::from(gimli::DW_FORM_block4.0)), &[0, 0]].concat());
    table.extend(&abbreviations[..known.end]);
    let place = abbreviations_place(unit, endian)?;
    // Of what is passed over nothing is copied: most of it is never looked at.
    let mut info = vec![0; unit.len()];
    let section = DebugAbbrev::new(&table, endian);
    let abbreviations = Arc::new(section.abbreviations(DebugAbbrevOffset(0)).ok()?);
    let header = DebugInfo::new(unit, endian).header_from_offset(DebugInfoOffset(0)).ok()?;
    info[..place.header.len()].copy_from_slice(place.header);
    info[place.abbreviations..place.abbreviations + 4].fill(0);
    let mut from = place.header.len();
    let mut read = unit.len();
    for (start, end) in runs(&header, &abbreviations)? {
        read -= end - start;
        info.get_mut(from..start)?.copy_from_slice(unit.get(from..start)?);
        info.get_mut(start..start + code.len())?.copy_from_slice(&code);
        let length = word(end - start - code.len() - 4, endian)?;
        info.get_mut(start + code.len()..start + code.len() + 4)?.copy_from_slice(&length);
        from = end;
    }
    info.get_mut(from..)?.copy_from_slice(unit.get(from..)?);
    // Of the copy, entry by entry, as it will be read: what entries say of their siblings need not be true.
    let least = depth::least(header.address_size(), &abbreviations, known);
    let too_deep = match least.is_some_and(|least| read >= least) {
        true => depth::too_deep(&DebugInfo::new(&info, endian).header_from_offset(DebugInfoOffset(0)).ok()?, &abbreviations)?,
        false => false,
    };
    // Read once, for this and for who reads the copy.
    let mut cache = AbbreviationsCache::new();
    cache.set::<Reader<'_>>(DebugAbbrevOffset(0), abbreviations);
    let known = depth::Table { end: table.len(), highest: known.highest + 1, count: known.count + 1 };
    Some(Skimmed { info, table, cache, known, too_deep })
}

impl Skimmed {
    /// Makes `dwarf` read the copy.
    pub fn replace<'s>(&'s mut self, dwarf: &mut Dwarf<Reader<'s>>, endian: RunTimeEndian) {
        dwarf.debug_info = DebugInfo::new(&self.info, endian);
        dwarf.debug_abbrev = DebugAbbrev::new(&self.table, endian);
        dwarf.abbreviations_cache = std::mem::take(&mut self.cache);
    }
}

/// The header of a unit.
struct Header<'u> {
    /// All of it.
    header: &'u [u8],
    /// Where it says where the abbreviations are.
    abbreviations: usize,
}

/// The header of a 32-bit unit: the abbreviations stand behind length and version, since version 5 behind type and address size too.
fn abbreviations_place(unit: &[u8], endian: RunTimeEndian) -> Option<Header<'_>> {
    let version: [u8; 2] = unit.get(4..6)?.try_into().ok()?;
    let version = if endian == RunTimeEndian::Little { u16::from_le_bytes(version) } else { u16::from_be_bytes(version) };
    let (abbreviations, length) = match version {
        _ if unit[..4] == [0xff; 4] => return None,
        2..=4 => (6, 11),
        5 => (8, 12),
        _ => return None,
    };
    Some(Header { header: unit.get(..length)?, abbreviations })
}

fn word(value: usize, endian: RunTimeEndian) -> Option<[u8; 4]> {
    let value = u32::try_from(value).ok()?;
    Some(if endian == RunTimeEndian::Little { value.to_le_bytes() } else { value.to_be_bytes() })
}

/// The ranges of the unit that hold entries between functions, without their last ends.
fn runs(header: &UnitHeader<Reader<'_>>, abbreviations: &Abbreviations) -> Option<Vec<(usize, usize)>> {
    let mut entries = header.entries_raw(abbreviations, None).ok()?;
    let root = entries.read_abbreviation().ok()??;
    let mut is_c = false;
    for specification in root.attributes() {
        let attribute = entries.read_attribute(*specification).ok()?;
        is_c |= attribute.name() == gimli::DW_AT_language
            && matches!(attribute.value(), AttributeValue::Language(language) if C.contains(&language));
    }
    if !is_c || !root.has_children() {
        return None;
    }
    let (mut runs, mut from) = (Vec::new(), None);
    let mut close = |from: &mut Option<usize>, at: usize| runs.extend(from.take().filter(|from| at - from >= WORTH).map(|from| (from, at)));
    // Depth below the root's children, for entries that do not tell their sibling.
    let mut depth = 0;
    while !entries.is_empty() {
        let at = entries.next_offset().0;
        let Some(abbreviation) = entries.read_abbreviation().ok()? else {
            if depth == 0 {
                close(&mut from, at);
                break;
            }
            depth -= 1;
            continue;
        };
        if depth == 0 && abbreviation.tag() == gimli::DW_TAG_subprogram {
            close(&mut from, at);
        } else if depth == 0 {
            from = from.or(Some(at));
        }
        let specifications = abbreviation.attributes();
        let sibling = specifications.iter().position(|specification| specification.name() == gimli::DW_AT_sibling);
        let Some(sibling) = sibling.filter(|_| abbreviation.has_children()) else {
            entries.skip_attributes(specifications).ok()?;
            depth += usize::from(abbreviation.has_children());
            continue;
        };
        entries.skip_attributes(&specifications[..sibling]).ok()?;
        let AttributeValue::UnitRef(next) = entries.read_attribute(specifications[sibling]).ok()?.value() else { return None };
        if next.0 <= at {
            return None;
        }
        entries = header.entries_raw(abbreviations, Some(UnitOffset(next.0))).ok()?;
    }
    Some(runs)
}

/// Languages in which functions stand beside types, not in them.
const C: &[gimli::DwLang] = &[gimli::DW_LANG_C89, gimli::DW_LANG_C, gimli::DW_LANG_C99, gimli::DW_LANG_C11, gimli::DW_LANG_C17];

fn uleb(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}
