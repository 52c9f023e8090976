//! The code symbols of one file, sorted by address.

use std::cmp::Ordering;
use std::ops::Deref;
use std::sync::OnceLock;

use rustc_hash::FxHashMap;

use super::alias::BY_NAME;
use super::demangle::demangle;
use crate::model::addr::Svma;

/// One symbol as a reader hands it over.
#[derive(Clone, Copy, Debug)]
pub struct RawSymbol<'n> {
    /// Link-time address.
    pub address: u64,
    /// Name as users say it: for Mach-O without the leading underscore.
    pub name: &'n [u8],
    /// Whether other files can refer to it.
    pub global: bool,
    /// End of the section that it lies in: no symbol reaches beyond.
    pub limit: u64,
    /// Size that the file states, as ELF does; 0 when it states none.
    pub size: u64,
    /// Of several names at one address the one with the lowest rank answers, among equals the first, or with [`BY_NAME`] the first by name.
    pub rank: u16,
}

/// How sure it is that a symbol's function reaches an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reach {
    /// The next symbol or function start lies above the address, and the file kept its local symbols, or a list of functions, or states
    /// a size that reaches the address.
    Contains,
    /// Nothing in the symbol table says where the function ends: the local symbols are gone.
    Unknown,
    /// A function without a symbol starts in between, or the file states a size that ends before.
    Behind,
}

/// A symbol found for an address or name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Found<'t> {
    /// Name, not demangled.
    pub name: &'t str,
    /// Where it starts.
    pub start: Svma,
    /// Bytes to the next symbol, function start or end of the section.
    pub size: u64,
    /// Whether it is the last symbol of its section.
    pub last: bool,
    /// Whether it reaches the address; `Contains` for a lookup by name.
    pub reach: Reach,
}

struct Entry {
    start: u64,
    /// End of the section.
    limit: u64,
    /// Next symbol, next function, or end of the section.
    end: u64,
    /// Where the function ends by its own account; its start when it gives none.
    own_end: u64,
    name: (u32, u32),
    rank: u16,
}

impl Found<'_> {
    /// Whether a kernel that prints `size` can mean this symbol. It prints the distance to the next symbol, whatever the section:
    /// the last symbol of a section then reaches into what follows (kernel/module/kallsyms.c, `find_kallsyms_symbol`).
    pub fn fits(&self, size: u64) -> bool {
        self.size == size || (self.last && size > self.size)
    }
}

/// A table that answers for some addresses.
pub enum Near<'t> {
    /// The table of the whole file.
    Whole(&'t SymbolTable),
    /// A table of what is needed.
    Part(SymbolTable),
}

impl Deref for Near<'_> {
    type Target = SymbolTable;
    fn deref(&self) -> &SymbolTable {
        match self {
            Near::Whole(table) => table,
            Near::Part(table) => table,
        }
    }
}

/// Sorted code symbols. Several names at one address are kept; the preferred one answers for the address.
#[derive(Default)]
pub struct SymbolTable {
    names: String,
    entries: Vec<Entry>,
    /// Addresses where functions start, from `LC_FUNCTION_STARTS`; empty when the file has no such list.
    starts: Vec<u64>,
    has_locals: bool,
    by_name: OnceLock<FxHashMap<String, Vec<u32>>>,
}

impl SymbolTable {
    /// Sorts `symbols`, which may come in any order and repeat addresses. `starts` lists all functions of the file, or is empty.
    pub fn new<'n>(symbols: impl Iterator<Item = RawSymbol<'n>>, mut starts: Vec<u64>) -> SymbolTable {
        starts.sort_unstable();
        let mut table = SymbolTable { starts, ..SymbolTable::default() };
        for symbol in symbols {
            let from = table.names.len();
            table.names.push_str(&String::from_utf8_lossy(symbol.name));
            let Ok(to) = u32::try_from(table.names.len()) else { break };
            table.has_locals |= !symbol.global;
            table.entries.push(Entry {
                start: symbol.address,
                limit: symbol.limit,
                end: symbol.limit,
                own_end: symbol.address.saturating_add(symbol.size),
                name: (from as u32, to),
                rank: symbol.rank,
            });
        }
        let names = &table.names;
        let name = |entry: &Entry| &names[entry.name.0 as usize..entry.name.1 as usize];
        let tie = |a: &Entry, b: &Entry| if a.rank & BY_NAME == 0 { Ordering::Equal } else { name(a).cmp(name(b)) };
        table.entries.sort_by(|a, b| (a.start, a.rank).cmp(&(b.start, b.rank)).then_with(|| tie(a, b)));
        table.set_ends();
        table
    }

    fn set_ends(&mut self) {
        let mut next = u64::MAX;
        for at in (0..self.entries.len()).rev() {
            let start = self.entries[at].start;
            if self.entries.get(at + 1).is_some_and(|later| later.start != start) {
                next = self.entries[at + 1].start;
            }
            let function = self.starts.partition_point(|s| *s <= start);
            let bound = self.starts.get(function).copied().unwrap_or(u64::MAX).min(next);
            self.entries[at].end = self.entries[at].end.min(bound).max(start);
        }
    }

    /// A table of what decides about `probes` alone: for each the symbols at the nearest address below it and at the next above.
    /// `symbols` gives addresses and is gone through twice; `load` reads the few that matter, or says that one is no code symbol.
    pub fn around<'n, S, I: Iterator<Item = (u64, S)>>(
        symbols: impl Fn() -> I,
        load: impl Fn(&S) -> Option<RawSymbol<'n>>,
        starts: Vec<u64>,
        probes: &[Svma],
    ) -> SymbolTable {
        let mut probes: Vec<u64> = probes.iter().map(|probe| probe.0).collect();
        probes.sort_unstable();
        probes.dedup();
        // Between two probes only the lowest and the highest symbol can be next to one of them.
        let mut between: Vec<Option<(u64, u64)>> = vec![None; probes.len() + 1];
        let mut has_locals = false;
        for (address, symbol) in symbols() {
            has_locals = has_locals || load(&symbol).is_some_and(|symbol| !symbol.global);
            let gap = &mut between[probes.partition_point(|probe| *probe < address)];
            let (low, high) = gap.unwrap_or((u64::MAX, 0));
            if (address < low || address > high || gap.is_none()) && load(&symbol).is_some() {
                *gap = Some((low.min(address), high.max(address)));
            }
        }
        let needed: Vec<u64> = between.iter().flatten().flat_map(|(low, high)| [*low, *high]).collect();
        let part = symbols().filter(|(address, _)| needed.binary_search(address).is_ok()).filter_map(|(_, symbol)| load(&symbol));
        SymbolTable { has_locals, ..SymbolTable::new(part, starts) }
    }

    /// How many symbols there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The nearest symbol at or below `at`, in the same section.
    pub fn at(&self, at: Svma) -> Option<Found<'_>> {
        let above = self.entries.partition_point(|entry| entry.start <= at.0);
        let start = self.entries.get(above.checked_sub(1)?)?.start;
        let first = self.entries[..above].partition_point(|entry| entry.start < start);
        let entry = Some(&self.entries[first]).filter(|entry| at.0 < entry.limit)?;
        let reach = if at.0 >= entry.end {
            Reach::Behind
        } else if self.has_locals || !self.starts.is_empty() || at.0 < entry.own_end {
            Reach::Contains
        } else if entry.own_end > entry.start {
            Reach::Behind
        } else {
            Reach::Unknown
        };
        Some(Found { reach, ..self.found(first) })
    }

    /// Every symbol of that name, which may be given demangled.
    pub fn named(&self, name: &str) -> Vec<Found<'_>> {
        let index = self.by_name.get_or_init(|| {
            let mut index: FxHashMap<String, Vec<u32>> = FxHashMap::default();
            for at in 0..self.entries.len() {
                let name = self.found(at).name;
                index.entry(name.to_string()).or_default().push(at as u32);
                let readable = demangle(name);
                if readable != name {
                    index.entry(readable.into_owned()).or_default().push(at as u32);
                }
            }
            index
        });
        index.get(name).into_iter().flatten().map(|at| self.found(*at as usize)).collect()
    }

    /// Every symbol whose name begins so.
    pub fn beginning(&self, start: &str) -> Vec<Found<'_>> {
        (0..self.entries.len()).map(|at| self.found(at)).filter(|found| found.name.starts_with(start)).collect()
    }

    /// Every symbol that a compiler split off a function of that name: `NAME.cold`, `NAME.isra.0`, `NAME.part.0.constprop.1`.
    pub fn split_off(&self, name: &str) -> Vec<Found<'_>> {
        let is_part = |found: &Found<'_>| found.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
        (0..self.entries.len()).map(|at| self.found(at)).filter(is_part).collect()
    }

    fn found(&self, at: usize) -> Found<'_> {
        let entry = &self.entries[at];
        let name = &self.names[entry.name.0 as usize..entry.name.1 as usize];
        Found { name, start: Svma(entry.start), size: entry.end - entry.start, last: entry.end == entry.limit, reach: Reach::Contains }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn table(symbols: &[(u64, &str, bool)], starts: &[u64]) -> SymbolTable {
        let raw = symbols.iter().map(|(address, name, global)| {
            let (address, global) = (*address, *global);
            RawSymbol { address, name: name.as_bytes(), global, limit: 100, size: 0, rank: u16::from(!global) }
        });
        SymbolTable::new(raw, starts.to_vec())
    }

    #[test]
    fn aliases_prefer_global_names_and_sizes_end_at_the_next_symbol() {
        let table = table(&[(20, "b", false), (10, "local", false), (10, "shared", true)], &[]);
        let found = table.at(Svma(15)).unwrap();
        assert_eq!((found.name, found.size, found.reach), ("shared", 10, Reach::Contains));
        assert_eq!(table.at(Svma(99)).unwrap().size, 80);
        assert_eq!(table.at(Svma(100)), None);
        assert_eq!(table.at(Svma(9)), None);
        assert_eq!(table.named("local")[0].start, Svma(10));
    }

    #[test]
    fn without_local_symbols_the_extent_is_unknown_unless_function_starts_tell() {
        assert_eq!(table(&[(10, "f", true)], &[]).at(Svma(50)).unwrap().reach, Reach::Unknown);
        let with_starts = table(&[(10, "f", true)], &[10, 40]);
        assert_eq!(with_starts.at(Svma(39)).unwrap().reach, Reach::Contains);
        assert_eq!(with_starts.at(Svma(50)).unwrap().reach, Reach::Behind);
    }

    #[test]
    fn a_stated_size_ends_a_function_of_a_file_without_local_symbols() {
        let raw = |global| {
            [(10, "f", 17), (50, "asm", 0)].map(|(address, name, size)| RawSymbol {
                address,
                name: name.as_bytes(),
                global,
                limit: 100,
                size,
                rank: 0,
            })
        };
        let reach = |global, at| SymbolTable::new(raw(global).into_iter(), Vec::new()).at(Svma(at)).unwrap().reach;
        assert_eq!(
            [26, 27, 40, 50, 60].map(|at| reach(true, at)),
            [Reach::Contains, Reach::Behind, Reach::Behind, Reach::Unknown, Reach::Unknown]
        );
        assert_eq!(reach(false, 40), Reach::Contains, "with all symbols there the rest is padding, as the kernel has it");
    }

    #[test]
    fn the_last_symbol_of_a_section_may_reach_further_and_parts_and_cut_names_are_found() {
        let table = table(&[(10, "f", false), (20, "f.cold", false), (30, "f.isra.0", false)], &[]);
        assert!(table.named("f")[0].fits(10) && !table.named("f")[0].fits(11));
        let last = table.named("f.isra.0")[0];
        assert!(last.fits(70) && last.fits(4000) && !last.fits(69));
        let names = |found: Vec<Found<'_>>| found.iter().map(|found| found.name.to_string()).collect::<Vec<_>>();
        assert_eq!(names(table.split_off("f")), ["f.cold", "f.isra.0"]);
        assert_eq!(names(table.beginning("f.is")), ["f.isra.0"]);
    }

    proptest! {
        #[test]
        fn agrees_with_a_linear_search(
            addresses in prop::collection::vec(0u64..100, 1..40),
            probe in 0u64..120,
            others in prop::collection::vec(0u64..120, 0..6),
        ) {
            let symbols: Vec<(u64, &'static str, bool)> = addresses.iter().map(|address| (*address, "s", false)).collect();
            let table = table(&symbols, &[]);
            let raw = |(address, name, global): &(u64, &'static str, bool)| {
                Some(RawSymbol { address: *address, name: name.as_bytes(), global: *global, limit: 100, size: 0, rank: u16::from(!*global) })
            };
            let probes: Vec<Svma> = others.into_iter().chain([probe]).map(Svma).collect();
            let part = SymbolTable::around(|| symbols.iter().map(|symbol| (symbol.0, *symbol)), raw, Vec::new(), &probes);
            prop_assert_eq!(part.at(Svma(probe)), table.at(Svma(probe)));
            let nearest = addresses.iter().filter(|a| **a <= probe).max();
            prop_assert_eq!(table.at(Svma(probe)).map(|f| f.start.0), nearest.copied().filter(|_| probe < 100));
            if let Some(found) = table.at(Svma(probe)) {
                let next = addresses.iter().filter(|a| **a > found.start.0).min().copied().unwrap_or(100).min(100);
                prop_assert_eq!(found.size, next - found.start.0);
                prop_assert_eq!(found.reach == Reach::Contains, probe < next);
            }
        }
    }
}
