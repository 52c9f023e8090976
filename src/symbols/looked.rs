//! Which files a library has for an image, used or not: for those who ask why none was taken. Built only when somebody asks; looking files up
//! for a report keeps none of this.

use std::path::{Path, PathBuf};

use rustc_hash::{FxHashMap, FxHashSet};

use super::bundle;
use super::entry::Entry;
use super::find::{Library, Program};
use super::{FileInfo, FileKind};
use crate::model::addr::Arch;
use crate::model::image::ImageId;

/// What the symbol folders and this machine have, by everything that an image can be looked up by.
pub struct Looked<'l> {
    library: &'l Library,
    by_id: FxHashMap<ImageId, Vec<&'l Entry>>,
    by_bundle: FxHashMap<&'l str, Vec<&'l Entry>>,
    by_stem: FxHashMap<&'l str, Vec<&'l Entry>>,
    kernels: Vec<&'l Entry>,
}

/// A file that has an image's UUID or name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// The file.
    pub path: PathBuf,
    /// The UUIDs or build ids in it; none where it has none, or is packed.
    pub ids: Vec<ImageId>,
    /// Why it could not be used, where opening it said so.
    pub refused: Option<String>,
    /// Whether the user named it, and nothing in it can be used.
    pub given: bool,
}

impl<'l> Looked<'l> {
    /// Sorts what `library` has.
    pub fn of(library: &'l Library) -> Looked<'l> {
        let (by_id, by_bundle, by_stem) = Default::default();
        let mut looked = Looked { library, by_id, by_bundle, by_stem, kernels: Vec::new() };
        for entry in &library.index {
            entry.ids.iter().flatten().for_each(|id| looked.by_id.entry(*id).or_default().push(entry));
            match &entry.bundle_id {
                Some(id) => looked.by_bundle.entry(id).or_default().push(entry),
                None => looked.by_stem.entry(&entry.stem).or_default().push(entry),
            }
            looked.kernels.extend(entry.kernel.then_some(entry));
        }
        looked
    }

    /// The files that come into question for an image, those of its UUID first, by the rules of [`Library::by_id`], [`Library::by_name`] and
    /// [`Library::kernels`]; and those of this machine that did not fit.
    pub fn candidates(&self, name: &str, kernel: bool, id: Option<ImageId>) -> Vec<Candidate> {
        let by_id = id.and_then(|id| self.by_id.get(&id)).into_iter().flatten();
        let by_name = if kernel { self.kernels.clone() } else { self.named(name) };
        let mut seen: FxHashSet<&Path> = FxHashSet::default();
        let entries = by_id.copied().chain(by_name).filter(|entry| seen.insert(&entry.path));
        let known = |entry: &Entry| Candidate {
            path: entry.path.clone(),
            ids: entry.ids.iter().flatten().copied().collect(),
            refused: self.why(&entry.path),
            given: false,
        };
        let mut found: Vec<Candidate> = entries.map(known).collect();
        let passed = self.library.passed.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let own = passed.iter().filter(|passed| if kernel { passed.kernel } else { !passed.kernel && bundle::stem(&passed.path) == name });
        for passed in own {
            if !found.iter().any(|known| known.path == passed.path) {
                let refused = Some(own_words(&passed.path, &passed.why));
                found.push(Candidate { path: passed.path.clone(), ids: Vec::new(), refused, given: passed.given });
            }
        }
        found
    }

    fn named(&self, name: &str) -> Vec<&'l Entry> {
        let last = name.rsplit('.').next().unwrap_or(name);
        let plain = name.replace('-', "_");
        let exact = self.by_bundle.get(name).cloned().unwrap_or_default();
        if !exact.is_empty() {
            return exact;
        }
        let mut found: Vec<&Entry> =
            [name, &plain, last].into_iter().flat_map(|stem| self.by_stem.get(stem).into_iter().flatten().copied()).collect();
        found.dedup_by(|one, other| std::ptr::eq(*one, *other));
        found
    }

    /// Why a file was not used.
    pub fn why(&self, path: &Path) -> Option<String> {
        let passed = self.library.passed.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        passed.iter().find(|passed| passed.path == path).map(|passed| own_words(path, &passed.why))
    }

    /// Whether a file was taken from where this machine has it installed.
    pub fn is_local(&self, path: &Path) -> bool {
        self.library.local().iter().any(|local| local == path)
    }

    /// The library.
    pub fn library(&self) -> &'l Library {
        self.library
    }
}

/// What is wrong with a file, without its path: an error says that itself.
fn own_words(path: &Path, why: &str) -> String {
    why.strip_prefix(&format!("{}: ", path.display())).unwrap_or(why).to_string()
}

/// The architectures that a file is for.
pub fn architectures(path: &Path) -> Vec<Arch> {
    super::open(path, &mut Vec::new()).unwrap_or_default().iter().map(|file| file.info().arch).collect()
}

/// Where the debug info of a program is looked for that its own file lacks, and whether `.gnu_debuglink` says so: its dSYM beside it or
/// beside its kext, or the file that the link names, beside it and in `.debug` there.
pub fn beside(program: &Program) -> Vec<(PathBuf, bool)> {
    let info = program.info();
    if info.has_debug_info || info.is_entry() || info.kind == FileKind::Dsym {
        return Vec::new();
    }
    if info.is_elf { by_link(program, info) } else { bundle::dsym_places(&info.path).into_iter().map(|path| (path, false)).collect() }
}

fn by_link(program: &Program, info: &FileInfo) -> Vec<(PathBuf, bool)> {
    let name = program.files.iter().find_map(|file| file.debug_link()).map(|link| link.name);
    let Some((name, folder)) = name.zip(info.path.parent()) else { return Vec::new() };
    vec![(folder.join(&name), true), (folder.join(".debug").join(&name), true)]
}
