//! Which unit of debug info covers an address.
//!
//! `.debug_aranges` says it; the root entries of units that it leaves out are scanned once.

use std::collections::BTreeSet;
use std::sync::{Mutex, OnceLock, PoisonError};

use rustc_hash::FxHashSet;

use super::dwarf::{Dwarf, Sections, entry_ranges};
use crate::model::addr::Svma;

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

impl UnitIndex {
    /// How many units were met that could not be read; their addresses have no file and line.
    pub fn damaged(&self) -> usize {
        self.damaged.lock().unwrap_or_else(PoisonError::into_inner).len()
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
