//! Which zones of the kernel's allocator are suspect, and which grew.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::top::tenths;
use super::weight::size;
use crate::model::zone::Zone;

/// A zone and why it may be the one that leaks.
#[derive(Clone, Debug)]
pub struct Suspect<'a> {
    /// The zone.
    pub zone: &'a Zone,
    /// Its part of the memory of all zones, in tenths of a percent.
    pub share: u64,
    /// Why it is suspect, the strongest reason first; none for most.
    pub reasons: Vec<String>,
}

/// Below this part of all memory, in tenths of a percent, nothing about a zone is suspicious: most zones are full, and small.
const LEAST_SHARE: u64 = 10;
/// From this part on, the size alone is.
const LARGE_SHARE: u64 = 200;

/// The zones, those with most reasons first, of those the largest.
pub fn ranked(zones: &[Zone]) -> Vec<Suspect<'_>> {
    let all: u128 = zones.iter().map(|zone| u128::from(zone.bytes)).sum();
    let suspect = |zone| {
        let zone: &Zone = zone;
        let share = tenths(zone.bytes, all);
        let reasons = if share < LEAST_SHARE { Vec::new() } else { reasons(zone, share) };
        Suspect { zone, share, reasons }
    };
    let mut list: Vec<Suspect<'_>> = zones.iter().map(suspect).collect();
    list.sort_by(|a, b| {
        let key = |suspect: &Suspect<'_>| Reverse((suspect.reasons.len(), suspect.zone.bytes));
        key(a).cmp(&key(b)).then_with(|| a.zone.name.cmp(&b.zone.name))
    });
    list
}

fn reasons(zone: &Zone, share: u64) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(most) = zone.most_bytes.filter(|most| *most > 0 && zone.bytes >= *most) {
        found.push(format!("has reached its maximum of {}", size(most)));
    }
    if share >= LARGE_SHARE {
        found.push(format!("holds {}.{}% of the memory of all zones", share / 10, share % 10));
    }
    if let Some(percent) = full(zone).filter(|percent| *percent >= 95) {
        found.push(format!("{percent}% of its elements are in use"));
    }
    // A trait of many sound zones: it makes a suspicion stronger and is none.
    if let Some(flags) = zone.flags.as_deref().filter(|_| !found.is_empty()) {
        let has = |flag| flags.contains(flag);
        if !has('C') {
            found.push("gives no memory back (not collectable)".to_string());
        }
        if has('X') && !has('H') {
            found.push("grows beyond its maximum (expandable, not exhaustible)".to_string());
        }
    }
    found
}

/// Elements in use, in percent of those for which there is memory.
fn full(zone: &Zone) -> Option<u64> {
    let capacity = zone.capacity.filter(|capacity| *capacity > 0)?;
    Some((u128::from(zone.elements) * 100 / u128::from(capacity)).min(100) as u64)
}

/// A zone in two tables; 0 in the one that does not have it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ZoneGrowth {
    /// Name of the zone.
    pub name: String,
    /// Bytes that it held, and holds now.
    pub bytes: (u64, u64),
    /// Elements that were in use, and are now.
    pub elements: (u64, u64),
}

impl ZoneGrowth {
    /// How many bytes more.
    pub fn more_bytes(&self) -> i128 {
        i128::from(self.bytes.1) - i128::from(self.bytes.0)
    }

    /// How many elements more.
    pub fn more_elements(&self) -> i128 {
        i128::from(self.elements.1) - i128::from(self.elements.0)
    }
}

/// Every zone of either table, what grew most first, what shrank most last. Zones of one name are one.
pub fn growth<'a>(old: impl Iterator<Item = &'a Zone>, new: impl Iterator<Item = &'a Zone>) -> Vec<ZoneGrowth> {
    let mut all: BTreeMap<&str, ZoneGrowth> = BTreeMap::new();
    for zone in old {
        let entry = all.entry(&zone.name).or_default();
        entry.bytes.0 = entry.bytes.0.saturating_add(zone.bytes);
        entry.elements.0 = entry.elements.0.saturating_add(zone.elements);
    }
    for zone in new {
        let entry = all.entry(&zone.name).or_default();
        entry.bytes.1 = entry.bytes.1.saturating_add(zone.bytes);
        entry.elements.1 = entry.elements.1.saturating_add(zone.elements);
    }
    let named = |(name, growth): (&str, ZoneGrowth)| ZoneGrowth { name: name.to_string(), ..growth };
    let mut list: Vec<ZoneGrowth> = all.into_iter().map(named).collect();
    list.sort_by_key(|growth| Reverse((growth.more_bytes(), growth.more_elements())));
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(name: &str, bytes: u64, elements: u64) -> Zone {
        Zone { name: name.to_string(), bytes, elements, capacity: Some(100), flags: Some("C".to_string()), ..Zone::default() }
    }

    #[test]
    fn the_full_and_large_come_first_with_their_reasons() {
        let zones = [zone("small", 5, 100), zone("sound", 400, 10), Zone { most_bytes: Some(600), ..zone("leak", 600, 99) }];
        let found = ranked(&zones);
        assert_eq!(found.iter().map(|suspect| suspect.zone.name.as_str()).collect::<Vec<_>>(), ["leak", "sound", "small"]);
        let reasons = ["has reached its maximum of 600 B", "holds 59.7% of the memory of all zones", "99% of its elements are in use"];
        assert_eq!(found[0].reasons, reasons);
        assert!(found[2].reasons.is_empty(), "a small zone may be full");
        assert!(ranked(&[zone("none", 0, 0)])[0].reasons.is_empty());
    }

    #[test]
    fn growth_is_exact_beyond_all_bounds() {
        let (old, new) = ([zone("a", u64::MAX, 3), zone("gone", 5, 1)], [zone("a", 0, 5), zone("b", 7, 1)]);
        let found = growth(old.iter(), new.iter());
        let seen: Vec<_> = found.iter().map(|growth| (growth.name.as_str(), growth.more_bytes(), growth.more_elements())).collect();
        assert_eq!(seen, [("b", 7, 1), ("gone", -5, -1), ("a", -i128::from(u64::MAX), 2)]);
    }
}
