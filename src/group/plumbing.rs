//! Which functions only stand for waiting: lists of names, readable beside this file.

use rustc_hash::FxHashSet;

use crate::names::base_name;
use crate::title::SkipList;

/// Functions that fingerprints pass over, because some reports leave them out.
const SCHEDULER: &str = include_str!("scheduler.txt");
/// Functions below the one that made a thread wait.
const PLUMBING: &str = include_str!("plumbing.txt");
/// Functions below the one that asked for memory, beside those of the skip list.
const ALLOCATORS: &str = include_str!("allocators.txt");

/// A list of function names, some with any rest.
#[derive(Clone, Debug, Default)]
pub struct NameList {
    exact: FxHashSet<String>,
    /// Sorted beginnings.
    begins: Vec<String>,
}

impl NameList {
    /// Reads one name a line; `#` begins a comment, `*` at the end of a name stands for any rest. The star of Go's `(*T)` is itself.
    ///
    /// # Errors
    /// The line, from 1, that holds more than a name, or a `*` elsewhere.
    pub fn parse(text: &str) -> Result<NameList, (usize, String)> {
        let mut list = NameList::default();
        let stars = |name: &str| name.replace("(*", "(").contains('*');
        for (at, line) in text.lines().enumerate() {
            let name = line.split('#').next().unwrap_or_default().trim();
            match name.strip_suffix('*') {
                _ if name.is_empty() => {}
                _ if name.contains(char::is_whitespace) => return Err((at + 1, format!("`{name}` is more than one name"))),
                Some(begin) if !stars(begin) => list.begins.push(begin.to_string()),
                None if !stars(name) => _ = list.exact.insert(name.to_string()),
                _ => return Err((at + 1, format!("`{name}` has a `*` before its end"))),
            }
        }
        list.begins.sort_unstable();
        Ok(list)
    }

    /// Whether `name`, a base name, is in the list.
    pub fn holds(&self, name: &str) -> bool {
        // Few begin with the same letters: a linear look at the neighbours below is enough.
        self.exact.contains(name) || self.begins.iter().any(|begin| name.starts_with(begin.as_str()))
    }
}

/// Tells the functions that stand for waiting, or for reporting a crash, from those that tell something.
#[derive(Clone, Debug)]
pub struct Plumbing {
    scheduler: NameList,
    plumbing: NameList,
    allocators: NameList,
    skip: SkipList,
}

impl Default for Plumbing {
    fn default() -> Plumbing {
        Plumbing::new(NameList::parse(PLUMBING).unwrap_or_default())
    }
}

impl Plumbing {
    /// The scheduler's functions and those of `list`.
    pub fn new(list: NameList) -> Plumbing {
        let read = |text| NameList::parse(text).unwrap_or_default();
        Plumbing { scheduler: read(SCHEDULER), plumbing: list, allocators: read(ALLOCATORS), skip: SkipList::default() }
    }

    /// Whether some kinds of report leave the function out.
    pub fn is_scheduler(&self, function: &str) -> bool {
        self.scheduler.holds(base_name(function))
    }

    /// Whether the function belongs to the report of a crash rather than to the crash.
    pub fn is_reporting(&self, function: &str) -> bool {
        matches!(self.skip.class(base_name(function), ""), Some("reporting" | "exception"))
    }

    /// Whether the function belongs to the allocator rather than to who asked it for memory.
    pub fn is_allocator(&self, function: &str) -> bool {
        self.allocators.holds(base_name(function)) || self.skip.class(base_name(function), "") == Some("allocator")
    }

    /// Whether the function says only that a thread waits.
    pub fn is_plumbing(&self, function: &str) -> bool {
        self.is_scheduler(function) || self.plumbing.holds(base_name(function))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_of_the_repository_are_well_formed() {
        for text in [SCHEDULER, PLUMBING, ALLOCATORS] {
            let list = NameList::parse(text).unwrap();
            assert!(list.exact.len() + list.begins.len() > 20);
        }
        let plumbing = Plumbing::default();
        assert!(plumbing.is_scheduler("rwsem_down_write_slowpath.isra.0"));
        assert!(plumbing.is_plumbing("__cv_wait_sig") && !plumbing.is_scheduler("__cv_wait_sig"));
        assert!(!plumbing.is_plumbing("txg_wait_synced"));
        assert!(
            plumbing.is_allocator("__kmalloc_node") && plumbing.is_allocator("zalloc_canblock") && !plumbing.is_allocator("zio_create")
        );
    }

    #[test]
    fn a_bad_line_is_named() {
        assert_eq!(NameList::parse("a\nb c\n").unwrap_err().0, 2);
        assert_eq!(NameList::parse("a*b").unwrap_err().0, 1);
    }
}
