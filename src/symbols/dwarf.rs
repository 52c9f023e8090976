//! DWARF: the debug sections of a file, and what their entries say without a line being looked up.
//!
//! [`units`](super::units) finds the unit of an address, [`locate`](super::locate) its source lines.

use std::borrow::Cow;

use gimli::{EndianSlice, RunTimeEndian, Section};
use object::Object;
use rustc_hash::FxHashMap;

use crate::model::addr::Svma;
use crate::symbols::depth;
use crate::symbols::packed;
use crate::symbols::parts::PartFile;
use crate::symbols::skim::{Skimmed, skim};
use crate::symbols::split::{self, Finder, Skeleton};
use crate::symbols::units::UnitIndex;

pub(super) type Reader<'d> = EndianSlice<'d, RunTimeEndian>;
pub(super) type Dwarf<'d> = gimli::Dwarf<Reader<'d>>;

/// The debug sections of one file, read in place or decompressed.
pub struct Sections<'d> {
    sections: gimli::DwarfSections<Cow<'d, [u8]>>,
    endian: RunTimeEndian,
    /// The supplementary file, where there is one.
    sup: Option<&'d PartFile>,
    /// Sections that cannot be read, and why.
    unread: Vec<String>,
}

impl<'d> Sections<'d> {
    /// Finds the debug sections of `file`; one that cannot be read counts as absent, and [`Sections::unread`] says so.
    pub fn load(file: &object::File<'d>) -> Sections<'d> {
        Sections::load_with(file, |_| None)
    }

    /// The same with sections that were patched in the place of those in the file.
    pub fn patched(file: &object::File<'d>, patched: &'d FxHashMap<String, Vec<u8>>) -> Sections<'d> {
        Sections::load_with(file, |name| patched.get(name).map(|data| Cow::Borrowed(&data[..])))
    }

    fn load_with(file: &object::File<'d>, instead: impl Fn(&str) -> Option<Cow<'d, [u8]>>) -> Sections<'d> {
        let endian = if file.is_little_endian() { RunTimeEndian::Little } else { RunTimeEndian::Big };
        let mut unread = Vec::new();
        let mut in_file = |name: &str| {
            let data = packed::data(&file.section_by_name(name)?);
            data.map_err(|why| unread.push(format!("its section {name} cannot be read ({why}); lines or inlined calls are missing"))).ok()
        };
        let section = |id: gimli::SectionId| -> Result<Cow<'d, [u8]>, std::convert::Infallible> {
            Ok(instead(id.name()).or_else(|| in_file(id.name())).unwrap_or_default())
        };
        let Ok(sections) = gimli::DwarfSections::load(section);
        Sections { sections, endian, sup: None, unread }
    }

    /// The sections that cannot be read, each with the reason, in words.
    pub fn unread(&self) -> &[String] {
        &self.unread
    }

    /// The same with what a supplementary file has.
    pub fn with_sup(self, sup: Option<&'d PartFile>) -> Sections<'d> {
        // Bytes in another order would be misread.
        Sections { sup: sup.filter(|sup| sup.endian == self.endian), ..self }
    }

    /// Readers over all sections.
    pub(super) fn whole(&self) -> Dwarf<'_> {
        let mut dwarf = self.alone();
        if let Some(sup) = self.sup {
            let section = |id: gimli::SectionId| Ok::<_, std::convert::Infallible>(sup.reader(id.name()));
            let Ok(()) = dwarf.load_sup(section);
        }
        dwarf
    }

    /// The same for who reads many units: abbreviations that several of them share are read once.
    pub(super) fn of_many_units(&self) -> Dwarf<'_> {
        let mut dwarf = self.whole();
        dwarf.populate_abbreviations_cache(gimli::AbbreviationsCacheStrategy::Duplicates);
        dwarf
    }

    /// Readers that see no supplementary file.
    fn alone(&self) -> Dwarf<'_> {
        self.sections.borrow(|section| EndianSlice::new(section, self.endian))
    }

    /// Readers that see a single unit of `.debug_info`, so that a context over them indexes nothing else; `skimmed` keeps what they read.
    /// `None` where the unit needs its neighbours, or is damaged.
    pub(super) fn unit<'s>(&'s self, unit: usize, skimmed: &'s mut Option<Skimmed>) -> Option<Unit<'s>> {
        let mut dwarf = self.alone();
        if let Some(sup) = self.sup {
            // Its strings alone: references to its entries need the context over the whole file.
            let strings = |id: gimli::SectionId| if id == gimli::SectionId::DebugStr { sup.section(id.name()) } else { &[] };
            let Ok(()) = dwarf.load_sup(|id| Ok::<_, std::convert::Infallible>(EndianSlice::new(strings(id), self.endian)));
        }
        let info = dwarf.debug_info.reader().slice();
        let header = dwarf.debug_info.header_from_offset(gimli::DebugInfoOffset(unit)).ok()?;
        let slice = info.get(unit..unit.checked_add(header.length_including_self())?)?;
        let abbreviations = dwarf.debug_abbrev.reader().slice().get(header.debug_abbrev_offset().0..)?;
        *skimmed = skim(slice, abbreviations, self.endian);
        let skimmed_known = skimmed.as_ref().map(|skimmed| (skimmed.known, skimmed.too_deep));
        dwarf.debug_info = gimli::DebugInfo::new(slice, self.endian);
        // Its offsets are those of the whole section; without it the context takes the ranges of the unit's root entry.
        dwarf.debug_aranges = gimli::DebugAranges::new(&[], self.endian);
        match skimmed {
            Some(skimmed) => skimmed.replace(&mut dwarf, self.endian),
            // Read once, here, for the question below and for the context.
            None => dwarf.populate_abbreviations_cache(gimli::AbbreviationsCacheStrategy::All),
        }
        let header = dwarf.debug_info.header_from_offset(gimli::DebugInfoOffset(0)).ok()?;
        let measured = || Some((depth::table_of(&dwarf, &header)?, depth::unit_too_deep(&dwarf, &header)?));
        let (table, too_deep) = skimmed_known.or_else(measured)?;
        if too_deep {
            return Some(Unit::TooDeep);
        }
        // An offset into another unit would be read as one into this slice and name a wrong function.
        let alone = !refers_to_other_units(&dwarf, &header, table)?;
        alone.then_some(Unit::Alone(Box::new(dwarf)))
    }
}

/// What a unit is read from.
pub(super) enum Unit<'d> {
    /// Itself.
    Alone(Box<Dwarf<'d>>),
    /// Nothing: it nests inlined calls too deep.
    TooDeep,
}

/// Whether a function or inlined call of the unit may have its name in another unit (LTO, dsymutil's merged C++ types, dwz).
fn refers_to_other_units(dwarf: &Dwarf<'_>, header: &gimli::UnitHeader<Reader<'_>>, table: depth::Table) -> Option<bool> {
    use gimli::{DW_FORM_ref_udata, DW_FORM_ref1, DW_FORM_ref2, DW_FORM_ref4, DW_FORM_ref8};
    let abbreviations = dwarf.abbreviations(header).ok()?;
    let crosses = |abbreviation: &gimli::Abbreviation| {
        let named = matches!(abbreviation.tag(), gimli::DW_TAG_subprogram | gimli::DW_TAG_inlined_subroutine);
        named
            && abbreviation.attributes().iter().any(|attribute| {
                let inside = [DW_FORM_ref1, DW_FORM_ref2, DW_FORM_ref4, DW_FORM_ref8, DW_FORM_ref_udata];
                matches!(attribute.name(), gimli::DW_AT_abstract_origin | gimli::DW_AT_specification) && !inside.contains(&attribute.form())
            })
    };
    Some(table.all(&abbreviations)?.any(crosses))
}

/// Name and start of the function whose DWARF entry covers `probe`, for addresses that the symbol table does not name.
pub fn function_at(sections: &Sections<'_>, index: &UnitIndex, finder: Option<Finder<'_>>, probe: Svma) -> Option<(String, Svma)> {
    let dwarf = sections.whole();
    let header = dwarf.debug_info.header_from_offset(gimli::DebugInfoOffset(index.units_of(sections, &[probe])[0]?)).ok()?;
    let unit = dwarf.unit(header).ok()?;
    let Some(skeleton) = skeleton(&dwarf, &unit) else { return function_in(&dwarf, &unit, probe) };
    let held = finder?.find(&skeleton)?;
    let split = split::dwarf(held.file(), skeleton.id, Some(&dwarf))?;
    let mut whole = split.unit(split.units().next().ok()??).ok()?;
    whole.copy_relocated_attributes(&unit);
    function_in(&split, &whole, probe)
}

/// What a unit says of its split part, if it has one.
fn skeleton(dwarf: &Dwarf<'_>, unit: &gimli::Unit<Reader<'_>>) -> Option<Skeleton> {
    let id = unit.dwo_id?.0;
    let name = unit.dwo_name().ok().flatten().and_then(|name| dwarf.attr_string(unit, name).ok());
    let text = |part: Option<Reader<'_>>| part.map_or(String::new(), |part| part.to_string_lossy().into_owned());
    Some(Skeleton { id, name: text(name), directory: text(unit.comp_dir) })
}

/// The split parts that the units of a file name.
pub fn skeletons(sections: &Sections<'_>) -> Vec<Skeleton> {
    let dwarf = sections.whole();
    let mut units = dwarf.units();
    let headers = std::iter::from_fn(|| units.next().ok().flatten());
    headers.filter_map(|header| skeleton(&dwarf, &dwarf.unit(header).ok()?)).collect()
}

fn function_in<'d>(dwarf: &Dwarf<'d>, unit: &gimli::Unit<Reader<'d>>, probe: Svma) -> Option<(String, Svma)> {
    let mut entries = unit.entries();
    while let Some(entry) = entries.next_dfs().ok()? {
        if entry.tag() != gimli::DW_TAG_subprogram {
            continue;
        }
        let ranges = entry_ranges(dwarf, unit, entry)?;
        if ranges.iter().any(|(start, end)| (*start..*end).contains(&probe.0)) {
            let name = entry.attr_value(gimli::DW_AT_linkage_name).or_else(|| entry.attr_value(gimli::DW_AT_name))?;
            let name = dwarf.attr_string(unit, name).ok()?.to_string_lossy().into_owned();
            return Some((name, Svma(ranges.first()?.0)));
        }
    }
    None
}

/// The half-open ranges of an entry. gimli 0.34 adds `DW_AT_high_pc` to `DW_AT_low_pc` without minding that a damaged file may have them
/// meet the end of all addresses.
pub(super) fn entry_ranges<'d>(
    dwarf: &Dwarf<'d>,
    unit: &gimli::Unit<Reader<'d>>,
    entry: &gimli::DebuggingInformationEntry<Reader<'d>>,
) -> Option<Vec<(u64, u64)>> {
    if let Some(list) = entry.attr_value(gimli::DW_AT_ranges) {
        let mut ranges = dwarf.attr_ranges(unit, list).ok()??;
        let mut found = Vec::new();
        while let Ok(Some(range)) = ranges.next() {
            found.push((range.begin, range.end));
        }
        return Some(found);
    }
    let address = |name| dwarf.attr_address(unit, entry.attr_value(name)?).ok().flatten();
    let Some(start) = address(gimli::DW_AT_low_pc) else { return Some(Vec::new()) };
    let size = || entry.attr_value(gimli::DW_AT_high_pc)?.udata_value();
    let end = address(gimli::DW_AT_high_pc).or_else(|| start.checked_add(size()?));
    Some(end.map(|end| (start, end)).into_iter().collect())
}
