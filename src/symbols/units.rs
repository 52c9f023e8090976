//! Which unit of debug info covers an address.
//!
//! `.debug_aranges` says it; the root entries of units that it leaves out are scanned once.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::{Mutex, OnceLock, PoisonError};

use rayon::prelude::*;
use rustc_hash::{FxHashMap, FxHashSet};

use super::depth::{self, DEEPEST};
use super::dwarf::{Dwarf, Reader, Sections, entry_ranges};
use crate::model::addr::Svma;

/// Up to this many addresses are looked for while `.debug_aranges` is read, rather than in a sorted copy of it.
const FEW: usize = 16;

/// Which unit covers which addresses, kept between lookups in one file.
#[derive(Default)]
pub struct UnitIndex {
    aranges: OnceLock<Vec<UnitRange>>,
    scanned: OnceLock<Vec<UnitRange>>,
    /// The ranges of all units, as whoever reads the whole file sees them.
    everywhere: OnceLock<Vec<UnitRange>>,
    /// Offsets of units that could not be read.
    damaged: Mutex<BTreeSet<usize>>,
    /// Offsets of units that nest inlined calls too deep.
    too_deep: Mutex<BTreeSet<usize>>,
}

/// A half-open range of link-time addresses and the `.debug_info` offset of its unit.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct UnitRange {
    start: u64,
    end: u64,
    unit: usize,
}

impl UnitIndex {
    /// What is wrong with the units that were met and not read, in words; their addresses have no file and line.
    pub fn damage(&self) -> Vec<String> {
        let damaged = self.damaged.lock().unwrap_or_else(PoisonError::into_inner).len();
        let too_deep = self.too_deep.lock().unwrap_or_else(PoisonError::into_inner);
        let lost = "their frames have names, but no file and line";
        let damaged = (damaged > 0).then(|| format!("{damaged} units of its debug info are damaged; {lost}"));
        let too_deep = too_deep.first().map(|first| {
            let count = too_deep.len();
            format!(
                "{count} units of its debug info are damaged, or made to do harm: inlined calls lie more than {DEEPEST} deep in one another, \
                 first in the unit at {first:#x} of .debug_info; such units are not read, and of their frames lines or inlined calls are missing"
            )
        });
        damaged.into_iter().chain(too_deep).collect()
    }

    /// Remembers that the unit at that offset, or its split part, nests inlined calls too deep.
    pub(super) fn is_too_deep(&self, unit: usize) {
        self.too_deep.lock().unwrap_or_else(PoisonError::into_inner).insert(unit);
    }

    /// Those of `probes` that may lie in a unit that nests inlined calls too deep, or that cannot be measured, when all units are read as one.
    pub(super) fn refused_at(&self, sections: &Sections<'_>, mut probes: Vec<u64>) -> FxHashSet<u64> {
        probes.sort_unstable();
        let dwarf = sections.of_many_units();
        if self.everywhere.get().is_none() {
            // Not inside `get_or_init`: a thread that waits there for parallel work may be handed work that waits for it.
            let _ = self.everywhere.set(everywhere(&dwarf));
        }
        // Places in `probes`: of many ranges with many probes in each, the probes themselves would be too many.
        let mut units: FxHashMap<usize, Vec<Range<usize>>> = FxHashMap::default();
        for range in self.everywhere.get().into_iter().flatten() {
            let asked = [range.start, range.end].map(|end| probes.partition_point(|probe| *probe < end));
            if asked[0] < asked[1] {
                units.entry(range.unit).or_default().push(asked[0]..asked[1]);
            }
        }
        let refused = |(unit, asked): (usize, Vec<Range<usize>>)| {
            let header = dwarf.debug_info.header_from_offset(gimli::DebugInfoOffset(unit)).ok()?;
            match depth::unit_too_deep(&dwarf, &header) {
                Some(false) => return None,
                Some(true) => self.is_too_deep(unit),
                None => self.is_damaged(unit),
            }
            Some(asked)
        };
        let mut refused: Vec<Range<usize>> = units.into_par_iter().filter_map(refused).flatten_iter().collect();
        refused.sort_unstable_by_key(|asked| asked.start);
        let mut done = 0;
        let mut rest = |asked: Range<usize>| {
            let from = asked.start.max(done);
            done = done.max(asked.end);
            from..asked.end.max(from)
        };
        refused.into_iter().flat_map(&mut rest).map(|at| probes[at]).collect()
    }

    /// Remembers that the unit at that offset could not be read.
    pub(super) fn is_damaged(&self, unit: usize) {
        self.damaged.lock().unwrap_or_else(PoisonError::into_inner).insert(unit);
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
    pub(super) fn units_of(&self, sections: &Sections<'_>, probes: &[Svma]) -> Vec<Option<usize>> {
        let mut units = self.listed(sections, probes);
        for (probe, unit) in probes.iter().zip(&mut units).filter(|(_, unit)| unit.is_none()) {
            *unit = find(self.scanned.get_or_init(|| sorted(unlisted_ranges(&sections.of_many_units()))), probe.0);
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
        let ranges = root_ranges(dwarf, header).unwrap_or_default();
        found.extend(ranges.into_iter().map(|(start, end)| UnitRange { start, end, unit: offset.0 }));
    }
    found
}

/// The ranges of all units, by their root entries and `.debug_aranges`; one without any is taken to lie everywhere, as its line table
/// may say anything.
fn everywhere(dwarf: &Dwarf<'_>) -> Vec<UnitRange> {
    let mut units = dwarf.units();
    // Types have no addresses, nor has what other units share.
    let code = |header: &gimli::UnitHeader<_>| {
        !matches!(header.type_(), gimli::UnitType::Type { .. } | gimli::UnitType::SplitType { .. } | gimli::UnitType::Partial)
    };
    let headers: Vec<_> = std::iter::from_fn(|| units.next().ok().flatten()).filter(code).collect();
    let known: FxHashSet<usize> = headers.iter().filter_map(|header| Some(header.debug_info_offset()?.0)).collect();
    let mut found = Vec::new();
    // What begins in the middle of a unit is none.
    aranges(dwarf, |range| found.extend(known.contains(&range.unit).then_some(range)));
    let listed: FxHashSet<usize> = found.iter().map(|range| range.unit).collect();
    let of_root = |header: gimli::UnitHeader<_>| {
        let unit = header.debug_info_offset().map_or(0, |offset| offset.0);
        let ranges = root_ranges(dwarf, header).unwrap_or_default();
        let anywhere = ranges.is_empty() && !listed.contains(&unit);
        ranges.into_iter().chain(anywhere.then_some((0, u64::MAX))).map(move |(start, end)| UnitRange { start, end, unit })
    };
    let roots: Vec<UnitRange> = headers.into_par_iter().flat_map_iter(of_root).collect();
    sorted(found.into_iter().chain(roots).collect())
}

fn root_ranges<'d>(dwarf: &Dwarf<'d>, header: gimli::UnitHeader<Reader<'d>>) -> Option<Vec<(u64, u64)>> {
    let unit = dwarf.unit(header).ok()?;
    let mut entries = unit.entries();
    entry_ranges(dwarf, &unit, entries.next_dfs().ok()??)
}
