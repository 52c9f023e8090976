//! The list of functions that are never guilty themselves, and of those that are guilty wherever they stand.
//!
//! The list that everybody gets is `skip-list.txt`; its head says how it is written.

use std::path::Path;

use rustc_hash::FxHashSet;

use super::kind::SETS;
use super::{glob, kind_others};
use crate::error::{Error, Result};

/// The list that everybody gets.
const BUILT_IN: &str = include_str!("skip-list.txt");

/// What a section's patterns mean.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Meaning {
    /// Functions to pass over.
    Skip,
    /// Functions that are guilty wherever they stand.
    Blame,
    /// Functions behind which nothing can be guilty.
    Outermost,
    /// Files that are too general to be a crash's own.
    Files,
}

/// The words for a section that does not skip functions.
const MEANINGS: &[(&str, Meaning)] = &[("blame", Meaning::Blame), ("outermost", Meaning::Outermost), ("files", Meaning::Files)];

#[derive(Clone, Debug)]
struct Section {
    meaning: Meaning,
    /// The class of functions, for the reader: `locking`.
    class: String,
    /// Sets of crashes that the section is for; none for all.
    sets: Vec<String>,
    /// Patterns without `*`.
    exact: FxHashSet<String>,
    /// Patterns with it.
    globs: Vec<String>,
    /// What functions count as, by pattern.
    names: Vec<(String, String)>,
}

impl Section {
    fn holds(&self, name: &str) -> bool {
        self.exact.contains(name) || self.globs.iter().any(|pattern| glob::matches(pattern, name))
    }

    /// Systems with functions of their own have sections of their own: `arch_spin_lock` tells nothing in Linux and much in Zircon.
    fn counts(&self, meaning: Meaning, set: &str) -> bool {
        let general = self.sets.is_empty() && !kind_others::is_own(set);
        self.meaning == meaning && (general || self.sets.iter().any(|own| own == set))
    }

    fn add(&mut self, pattern: &str) {
        if !pattern.contains('*') {
            self.exact.insert(pattern.to_string());
        } else if !self.globs.iter().any(|own| own == pattern) {
            self.globs.push(pattern.to_string());
        }
    }

    /// Gives back whether the pattern was there.
    fn remove(&mut self, pattern: &str) -> bool {
        let before = self.globs.len();
        self.globs.retain(|own| own != pattern);
        self.exact.remove(pattern) || self.globs.len() < before
    }
}

/// Which functions and files are never guilty.
#[derive(Clone, Debug)]
pub struct SkipList {
    sections: Vec<Section>,
}

impl Default for SkipList {
    /// The list that everybody gets.
    fn default() -> SkipList {
        let mut list = SkipList { sections: Vec::new() };
        // A test says that nothing is wrong with it.
        let _ = list.add(Path::new("skip-list.txt"), BUILT_IN);
        list
    }
}

impl SkipList {
    /// Adds what a user's file says; `path` is for messages alone.
    ///
    /// # Errors
    /// When a line makes no sense. The message names file and line.
    pub fn add(&mut self, path: &Path, text: &str) -> Result<()> {
        let mut section = None;
        for (number, line) in text.lines().enumerate() {
            let wrong = |what: String| Error::bad(path, format!("line {}: {what}", number + 1));
            let line = line.split('#').next().unwrap_or_default().trim();
            if let Some(head) = line.strip_prefix('[') {
                section = Some(self.section(head).map_err(wrong)?);
            } else if !line.is_empty() {
                let at = section.ok_or_else(|| wrong("a pattern before the first section; try `[plumbing]` above it".to_string()))?;
                change(&mut self.sections[at], line).map_err(wrong)?;
            }
        }
        Ok(())
    }

    /// The section with the head `locking in hang, stall]`, made if it is new.
    fn section(&mut self, head: &str) -> Result<usize, String> {
        let head = head.strip_suffix(']').ok_or("a section without `]`")?;
        let (class, sets) = head.split_once(" in ").unwrap_or((head, ""));
        let class = class.trim();
        if class.is_empty() {
            return Err("a section without a name".to_string());
        }
        let sets: Vec<String> = sets.split(',').map(|set| set.trim().to_string()).filter(|set| !set.is_empty()).collect();
        if let Some(unknown) = sets.iter().find(|set| !SETS.contains(&set.as_str())) {
            return Err(format!("no crashes are called `{unknown}`; there are {}", SETS.join(", ")));
        }
        if let Some(at) = self.sections.iter().position(|section| section.class == class && section.sets == sets) {
            return Ok(at);
        }
        let meaning = MEANINGS.iter().find(|(word, _)| *word == class).map_or(Meaning::Skip, |(_, meaning)| *meaning);
        self.sections.push(Section {
            meaning,
            class: class.to_string(),
            sets,
            exact: FxHashSet::default(),
            globs: Vec::new(),
            names: Vec::new(),
        });
        Ok(self.sections.len() - 1)
    }

    /// The class for which `function`, without compiler suffixes, is passed over in crashes of `set`.
    pub fn class(&self, function: &str, set: &str) -> Option<&str> {
        self.holding(Meaning::Skip, function, set).map(|section| section.class.as_str())
    }

    /// What `function` is called if it is guilty in crashes of `set`, wherever it stands.
    pub fn blamed<'s>(&'s self, function: &'s str, set: &str) -> Option<&'s str> {
        let section = self.holding(Meaning::Blame, function, set)?;
        let name = section.names.iter().find(|(pattern, _)| glob::matches(pattern, function));
        Some(name.map_or(function, |(_, name)| name))
    }

    /// Whether nothing behind `function` can be guilty in crashes of `set`.
    pub fn is_outermost(&self, function: &str, set: &str) -> bool {
        self.holding(Meaning::Outermost, function, set).is_some()
    }

    /// Whether any function is the outermost one in crashes of `set`.
    pub fn has_outermost(&self, set: &str) -> bool {
        self.sections.iter().any(|section| section.counts(Meaning::Outermost, set))
    }

    /// Whether `file` is too general to be a crash's own.
    pub fn is_general(&self, file: &str) -> bool {
        self.holding(Meaning::Files, file.trim_start_matches("./"), "").is_some()
    }

    fn holding(&self, meaning: Meaning, name: &str, set: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.counts(meaning, set) && section.holds(name))
    }
}

/// Adds the pattern of a line to a section, or takes it back.
fn change(section: &mut Section, line: &str) -> Result<(), String> {
    let (pattern, removed) = line.strip_prefix('!').map_or((line, false), |pattern| (pattern.trim(), true));
    let (pattern, name) = pattern.split_once(" = ").map_or((pattern, None), |(pattern, name)| (pattern.trim(), Some(name.trim())));
    if let Some(name) = name.filter(|_| section.meaning == Meaning::Blame && !removed) {
        section.names.push((pattern.to_string(), name.to_string()));
    } else if name.is_some() {
        return Err(format!("`{line}`: only functions of [blame] count as others"));
    }
    if pattern.is_empty() || (section.meaning != Meaning::Files && pattern.contains(' ') && !pattern.contains("::")) {
        return Err(format!("`{line}` is no pattern; one function name a line, `*` for any text"));
    }
    if !removed {
        section.add(pattern);
    } else if !section.remove(pattern) {
        return Err(format!("no pattern `{pattern}` in [{}] that could be taken back", section.class));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(text: &str) -> Result<SkipList> {
        let mut list = SkipList::default();
        list.add(Path::new("mine.txt"), text).map(|()| list)
    }

    #[test]
    fn the_built_in_list_is_well_formed_and_has_classes() {
        let mut list = SkipList { sections: Vec::new() };
        list.add(Path::new("skip-list.txt"), BUILT_IN).unwrap();
        assert_eq!(list.class("dump_stack_lvl", ""), Some("reporting"));
        assert_eq!(list.class("_raw_spin_lock_irqsave", ""), Some("locking"));
        assert_eq!(list.class("txg_sync_thread", ""), None);
        assert!(list.is_general("include/linux/list.h") && list.is_general("./lib/refcount.c"));
        assert!(!list.is_general("fs/kernfs/dir.c"));
    }

    #[test]
    fn some_sections_are_for_some_crashes() {
        let list = SkipList::default();
        assert_eq!((list.class("zio_buf_alloc", "leak"), list.class("zio_buf_alloc", "")), (Some("allocator"), None));
        assert_eq!((list.blamed("rtnl_lock", "hang"), list.blamed("rtnl_lock", "")), (Some("rtnl_lock"), None));
        assert_eq!(list.blamed("synchronize_rcu_expedited", "hang"), Some("synchronize_rcu"));
        assert!(list.is_outermost("do_syscall_64", "stall") && list.has_outermost("stall") && !list.has_outermost("hang"));
    }

    #[test]
    fn a_users_file_adds_and_takes_back() {
        let list = with("[plumbing]  # mine\nspl_*\n\n[my own in hang]\nzio_execute\n[locking]\n!mutex_lock*\n").unwrap();
        assert_eq!((list.class("spl_assert", ""), list.class("zio_execute", "hang")), (Some("plumbing"), Some("my own")));
        assert_eq!((list.class("zio_execute", ""), list.class("mutex_lock_nested", "")), (None, None));
    }

    #[test]
    fn mistakes_name_their_line() {
        let wrong = |text: &str| with(text).unwrap_err().to_string();
        assert_eq!(wrong("\nspl_*\n"), "mine.txt: line 2: a pattern before the first section; try `[plumbing]` above it");
        assert!(wrong("[locking\n").contains("line 1: a section without `]`"));
        assert!(wrong("[x in foo]\n").starts_with("mine.txt: line 1: no crashes are called `foo`; there are hang, "));
        assert!(wrong("[locking]\n!nothing_like_it\n").contains("line 2: no pattern `nothing_like_it` in [locking]"));
        assert!(wrong("[locking]\na = b\n").contains("only functions of [blame]"));
        assert!(wrong("[locking]\na b\n").contains("is no pattern"));
    }
}
