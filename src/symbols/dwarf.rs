//! DWARF: from an address to its source line and the chain of inlined functions.
//!
//! Only the compilation units that hold a looked-up address are read. `.debug_aranges` says which those are; the root entries of
//! units that it leaves out are scanned once. Units are worked on in parallel, each with a context of its own that
//! is dropped afterwards, so memory does not grow with the size of the file.

use std::borrow::Cow;
use std::cell::{Cell, OnceCell};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use addr2line::{LookupContinuation, LookupResult, SplitDwarfLoad};
use gimli::{EndianSlice, Reader as _, RunTimeEndian, Section};
use object::{Object, ObjectSection};
use rayon::prelude::*;
use rustc_hash::{FxHashMap, FxHashSet};

use crate::input::map::Bytes;
use crate::model::addr::Svma;
use crate::model::frame::Location;
use crate::symbols::parts::PartFile;
use crate::symbols::skim::{Skimmed, skim};
use crate::symbols::split::{self, Finder, Held, Skeleton};

type Reader<'d> = EndianSlice<'d, RunTimeEndian>;
type Dwarf<'d> = gimli::Dwarf<Reader<'d>>;
type Context<'d> = addr2line::Context<Reader<'d>>;

/// Up to this many addresses are looked for while `.debug_aranges` is read, rather than in a sorted copy of it.
const FEW: usize = 16;

/// Which unit covers which addresses, kept between lookups in one file.
#[derive(Default)]
pub struct UnitIndex {
    aranges: OnceLock<Vec<UnitRange>>,
    scanned: OnceLock<Vec<UnitRange>>,
    /// Offsets of units that could not be read.
    damaged: Mutex<BTreeSet<usize>>,
}

/// A half-open range of link-time addresses and the `.debug_info` offset of its unit.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct UnitRange {
    start: u64,
    end: u64,
    unit: usize,
}

/// The debug sections of one file, read in place or decompressed.
pub struct Sections<'d> {
    sections: gimli::DwarfSections<Cow<'d, [u8]>>,
    endian: RunTimeEndian,
    /// The supplementary file, where there is one.
    sup: Option<&'d PartFile>,
}

impl<'d> Sections<'d> {
    /// Finds the debug sections of `file`; one that cannot be read counts as absent.
    pub fn load(file: &object::File<'d>) -> Sections<'d> {
        Sections::load_with(file, |_| None)
    }

    /// The same with sections that were patched in the place of those in the file.
    pub fn patched(file: &object::File<'d>, patched: &'d FxHashMap<String, Vec<u8>>) -> Sections<'d> {
        Sections::load_with(file, |name| patched.get(name).map(|data| Cow::Borrowed(&data[..])))
    }

    fn load_with(file: &object::File<'d>, instead: impl Fn(&str) -> Option<Cow<'d, [u8]>>) -> Sections<'d> {
        let endian = if file.is_little_endian() { RunTimeEndian::Little } else { RunTimeEndian::Big };
        let in_file = |name: &str| file.section_by_name(name).and_then(|section| section.uncompressed_data().ok());
        let section = |id: gimli::SectionId| -> Result<Cow<'d, [u8]>, std::convert::Infallible> {
            Ok(instead(id.name()).or_else(|| in_file(id.name())).unwrap_or_default())
        };
        let Ok(sections) = gimli::DwarfSections::load(section);
        Sections { sections, endian, sup: None }
    }

    /// The same with what a supplementary file has.
    pub fn with_sup(self, sup: Option<&'d PartFile>) -> Sections<'d> {
        // Bytes in another order would be misread.
        Sections { sup: sup.filter(|sup| sup.endian == self.endian), ..self }
    }

    /// Readers over all sections.
    fn whole(&self) -> Dwarf<'_> {
        let mut dwarf = self.alone();
        if let Some(sup) = self.sup {
            let section = |id: gimli::SectionId| Ok::<_, std::convert::Infallible>(sup.reader(id.name()));
            let Ok(()) = dwarf.load_sup(section);
        }
        dwarf
    }

    /// Readers that see no supplementary file.
    fn alone(&self) -> Dwarf<'_> {
        self.sections.borrow(|section| EndianSlice::new(section, self.endian))
    }

    /// Readers that see a single unit of `.debug_info`, so that a context over them indexes nothing else; `skimmed` keeps what they read.
    fn unit<'s>(&'s self, unit: usize, skimmed: &'s mut Option<Skimmed>) -> Option<Dwarf<'s>> {
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
        dwarf.debug_info = gimli::DebugInfo::new(slice, self.endian);
        // Its offsets are those of the whole section; without it the context takes the ranges of the unit's root entry.
        dwarf.debug_aranges = gimli::DebugAranges::new(&[], self.endian);
        match skimmed {
            Some(skimmed) => skimmed.replace(&mut dwarf, self.endian),
            // Read once, here, for the question below and for the context.
            None => dwarf.populate_abbreviations_cache(gimli::AbbreviationsCacheStrategy::All),
        }
        let header = dwarf.debug_info.header_from_offset(gimli::DebugInfoOffset(0)).ok()?;
        // An offset into another unit would be read as one into this slice and name a wrong function.
        if refers_to_other_units(&dwarf, &header) {
            return None;
        }
        Some(dwarf)
    }
}

/// Whether a function or inlined call of the unit may have its name in another unit (LTO, dsymutil's merged C++ types, dwz).
fn refers_to_other_units(dwarf: &Dwarf<'_>, header: &gimli::UnitHeader<Reader<'_>>) -> bool {
    let Ok(abbreviations) = dwarf.abbreviations(header) else { return true };
    let crosses = |abbreviation: &gimli::Abbreviation| {
        let named = matches!(abbreviation.tag(), gimli::DW_TAG_subprogram | gimli::DW_TAG_inlined_subroutine);
        named
            && abbreviation.attributes().iter().any(|attribute| {
                matches!(attribute.name(), gimli::DW_AT_abstract_origin | gimli::DW_AT_specification)
                    && !matches!(
                        attribute.form(),
                        gimli::DW_FORM_ref1 | gimli::DW_FORM_ref2 | gimli::DW_FORM_ref4 | gimli::DW_FORM_ref8 | gimli::DW_FORM_ref_udata
                    )
            })
    };
    (1..).map_while(|code| abbreviations.get(code)).any(crosses)
}

/// Bytes of units after which the pages read so far are let go: a kernel has 180 MB of them, each read once.
const KEPT: usize = 96 << 20;

/// The locations of each probe, innermost inlined function first; empty where the file has none. Answers are in the order of `probes`.
/// `bytes` is the file that the sections were loaded from, `finder` knows its split parts.
pub fn locate(
    sections: &Sections<'_>,
    bytes: &Bytes,
    index: &UnitIndex,
    finder: Option<Finder<'_>>,
    probes: &[Svma],
) -> Vec<Vec<Location>> {
    let units = index.units_of(sections, probes);
    let mut by_unit: Vec<(usize, usize)> = units.iter().enumerate().filter_map(|(at, unit)| Some(((*unit)?, at))).collect();
    by_unit.sort_unstable();
    let units: Vec<&[(usize, usize)]> = by_unit.chunk_by(|a, b| a.0 == b.0).collect();
    let read = AtomicUsize::new(0);
    let found: Vec<Option<Vec<Vec<Location>>>> = units
        .par_iter()
        .map(|unit| {
            let (mut skimmed, held) = (None, OnceCell::new());
            let dwarf = sections.unit(unit[0].0, &mut skimmed)?;
            let length = dwarf.debug_info.reader().len();
            if read.fetch_add(length, Ordering::Relaxed) % KEPT + length >= KEPT {
                bytes.release();
            }
            let context = Context::from_dwarf(dwarf).ok()?;
            let (mut names, loader) = (Names::default(), Loader::new(finder, &held));
            let directories = directories(&context, probes[unit[0].1].0, &loader);
            unit.iter().map(|(_, at)| frames(&context, probes[*at].0, &directories, &loader, &mut names)).collect()
        })
        .collect();
    let nothing = OnceCell::new();
    let mut whole = None;
    let mut names = Names::default();
    let mut answers = vec![Vec::new(); probes.len()];
    for (unit, found) in units.iter().zip(found) {
        let found = found.unwrap_or_else(|| {
            // The unit needs its neighbours: the one context over the whole file, built once, answers for all of its kind.
            let context = whole.get_or_insert_with(|| Context::from_dwarf(sections.whole()).ok());
            // A split part that could be read would have answered.
            let loader = Loader::new(None, &nothing);
            let mut one = |at: usize| {
                let context = context.as_ref()?;
                let directories = directories(context, probes[at].0, &loader);
                frames(context, probes[at].0, &directories, &loader, &mut names)
            };
            let found: Vec<Option<Vec<Location>>> = unit.iter().map(|(_, at)| one(*at)).collect();
            if found.iter().any(Option::is_none) || loader.lacks.get() {
                index.damaged.lock().unwrap_or_else(PoisonError::into_inner).insert(unit[0].0);
            }
            found.into_iter().map(Option::unwrap_or_default).collect()
        });
        for ((_, at), locations) in unit.iter().zip(found) {
            answers[*at] = locations;
        }
    }
    answers
}

/// Names that were met before, each kept once.
#[derive(Default)]
struct Names(FxHashMap<Box<str>, Arc<str>>);

impl Names {
    fn share(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.0.get(name) {
            return known.clone();
        }
        let shared: Arc<str> = name.into();
        self.0.insert(name.into(), shared.clone());
        shared
    }
}

/// Locations of one address; `None` when the context cannot tell, as when a name lies outside of it.
fn frames<'h>(
    context: &Context<'h>,
    probe: u64,
    directories: &[String],
    loader: &Loader<'h, '_>,
    names: &mut Names,
) -> Option<Vec<Location>> {
    let mut frames = loader.finish(context.find_frames(probe)).ok()?;
    let mut locations = Vec::new();
    while let Some(frame) = frames.next().ok()? {
        let function = frame.function.as_ref().and_then(|function| function.raw_name().ok()).map(|name| names.share(&name));
        let place = frame.location.as_ref();
        locations.push(Location {
            function,
            file: place.and_then(|place| place.file).map(|file| names.share(file)),
            // Line 0 stands for code that belongs to no line; a column of it means nothing.
            line: place.and_then(|place| place.line).filter(|line| *line != 0),
            column: place.filter(|place| place.line != Some(0)).and_then(|place| place.column).filter(|column| *column != 0),
            inlined: true,
            ..Location::default()
        });
    }
    if let Some(owner) = locations.last_mut() {
        owner.inlined = false;
        owner.incomplete = loader.lacks.get();
    }
    let known = locations.iter().any(|location| location.file.is_some() || location.function.is_some());
    for location in &mut locations {
        let file = location.file.as_deref().unwrap_or_default();
        let rest = directories.iter().find_map(|directory| file.strip_prefix(directory.as_str())?.strip_prefix('/'));
        location.file_prefix = rest.map_or(0, |rest| file.len() - rest.len());
    }
    Some(if known { locations } else { Vec::new() })
}

/// Directories that text output leaves out of a unit's paths: where it was compiled, else where its source file lies (a module that was
/// built outside of the kernel tree).
fn directories<'h>(context: &Context<'h>, probe: u64, loader: &Loader<'h, '_>) -> Vec<String> {
    let Some(unit) = loader.finish(context.find_dwarf_and_unit(probe)) else { return Vec::new() };
    let compiled = unit.comp_dir.map(|directory| directory.to_string_lossy().into_owned()).or_else(|| loader.directory.get().cloned());
    let compiled = compiled.map(|directory| directory.trim_end_matches('/').to_string());
    let source = unit.name.and_then(|name| name.to_string_lossy().rsplit_once('/').map(|(directory, _)| directory.to_string()));
    compiled.into_iter().chain(source).filter(|directory| !directory.is_empty()).collect()
}

/// Gives one context what it asks for of split DWARF. Of files without it, nobody asks.
struct Loader<'h, 'f> {
    finder: Option<Finder<'f>>,
    /// Keeps the split part open as long as the context reads it.
    held: &'h OnceCell<Option<Held<'f>>>,
    /// Where the unit was compiled.
    directory: OnceCell<String>,
    /// Whether something asked for is not at hand: there are lines then, but no inlined calls.
    lacks: Cell<bool>,
}

impl<'h, 'f> Loader<'h, 'f> {
    fn new(finder: Option<Finder<'f>>, held: &'h OnceCell<Option<Held<'f>>>) -> Loader<'h, 'f> {
        Loader { finder, held, directory: OnceCell::new(), lacks: Cell::new(false) }
    }

    fn finish<L: LookupContinuation<Buf = Reader<'h>>>(&self, mut lookup: LookupResult<L>) -> L::Output {
        loop {
            lookup = match lookup {
                LookupResult::Output(found) => return found,
                LookupResult::Load { load, continuation } => {
                    let part = self.load(&load);
                    self.lacks.set(self.lacks.get() || part.is_none());
                    continuation.resume(part.map(Arc::new))
                }
            };
        }
    }

    fn load(&self, load: &SplitDwarfLoad<Reader<'h>>) -> Option<Dwarf<'h>> {
        let text = |part: &Option<Reader<'h>>| part.map_or(String::new(), |part| part.to_string_lossy().into_owned());
        let skeleton = Skeleton { id: load.dwo_id.0, name: text(&load.path), directory: text(&load.comp_dir) };
        let _ = self.directory.set(skeleton.directory.clone());
        let held = self.held.get_or_init(|| self.finder?.find(&skeleton));
        split::dwarf(held.as_ref()?.file(), skeleton.id, Some(&load.parent))
    }
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
fn entry_ranges<'d>(
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

impl UnitIndex {
    /// How many units were met that could not be read; their addresses have no file and line.
    pub fn damaged(&self) -> usize {
        self.damaged.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// The unit of each probe by `.debug_aranges`: few are looked for while reading it, many in a sorted copy.
    fn listed(&self, sections: &Sections<'_>, probes: &[Svma]) -> Vec<Option<usize>> {
        let whole = sections.whole();
        if probes.len() <= FEW && self.aranges.get().is_none() {
            let mut units = vec![None; probes.len()];
            aranges(&whole, |range| {
                for (probe, unit) in probes.iter().zip(&mut units) {
                    if (range.start..range.end).contains(&probe.0) {
                        *unit = Some(range.unit);
                    }
                }
            });
            return units;
        }
        let listed = self.aranges.get_or_init(|| {
            let mut ranges = Vec::new();
            aranges(&whole, |range| ranges.push(range));
            sorted(ranges)
        });
        probes.iter().map(|probe| find(listed, probe.0)).collect()
    }

    /// The unit of each probe.
    fn units_of(&self, sections: &Sections<'_>, probes: &[Svma]) -> Vec<Option<usize>> {
        let mut units = self.listed(sections, probes);
        for (probe, unit) in probes.iter().zip(&mut units).filter(|(_, unit)| unit.is_none()) {
            *unit = find(self.scanned.get_or_init(|| sorted(unlisted_ranges(&sections.whole()))), probe.0);
        }
        units
    }
}

fn sorted(mut ranges: Vec<UnitRange>) -> Vec<UnitRange> {
    ranges.retain(|range| range.start < range.end);
    ranges.sort_unstable();
    ranges
}

/// The unit whose range holds `probe`. Ranges rarely overlap, so a few neighbours below are enough to look at.
fn find(ranges: &[UnitRange], probe: u64) -> Option<usize> {
    const NEIGHBOURS: usize = 8;
    let above = ranges.partition_point(|range| range.start <= probe);
    ranges[..above].iter().rev().take(NEIGHBOURS).find(|range| probe < range.end).map(|range| range.unit)
}

/// Every range of `.debug_aranges`; reading stops at the first damage, and what it hides is found by the scan.
fn aranges(dwarf: &Dwarf<'_>, mut take: impl FnMut(UnitRange)) {
    let mut headers = dwarf.debug_aranges.headers();
    while let Ok(Some(header)) = headers.next() {
        let unit = header.debug_info_offset().0;
        let mut entries = header.entries();
        while let Ok(Some(entry)) = entries.next() {
            take(UnitRange { start: entry.address(), end: entry.address().saturating_add(entry.length()), unit });
        }
    }
}

/// The ranges of the root entries of units that `.debug_aranges` leaves out. A unit that it lists is taken to be listed whole, as
/// compilers and dsymutil do; reading the root entries of all units would take longer than a thousand lookups.
fn unlisted_ranges(dwarf: &Dwarf<'_>) -> Vec<UnitRange> {
    let mut listed = FxHashSet::default();
    let mut headers = dwarf.debug_aranges.headers();
    while let Ok(Some(header)) = headers.next() {
        listed.insert(header.debug_info_offset().0);
    }
    let mut found = Vec::new();
    let mut units = dwarf.units();
    while let Ok(Some(header)) = units.next() {
        let Some(offset) = header.debug_info_offset().filter(|offset| !listed.contains(&offset.0)) else { continue };
        let Ok(unit) = dwarf.unit(header) else { continue };
        let mut entries = unit.entries();
        let Ok(Some(root)) = entries.next_dfs() else { continue };
        let ranges = entry_ranges(dwarf, &unit, root).unwrap_or_default();
        found.extend(ranges.into_iter().map(|(start, end)| UnitRange { start, end, unit: offset.0 }));
    }
    found
}
