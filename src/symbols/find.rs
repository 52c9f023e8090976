//! The symbol files of one run: those given by name, and those found in symbol folders by UUID first and by name second.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use rayon::prelude::*;
use rustc_hash::{FxHashMap, FxHashSet};

use super::altlink;
use super::bundle::{self, Bundle};
use super::entry::{Entry, entry, is_kernel};
use super::parts::{PartFile, Places};
pub use super::program::Program;
use super::remember;
use super::{FileKind, Symbols};
use crate::error::Error;
use crate::input::collect;
use crate::model::addr::{Arch, Avma};
use crate::model::image::ImageId;
use crate::note::Note;

/// A file that the user names.
#[derive(Clone, Debug)]
pub struct GivenFile {
    /// `NAME=` before it: the image that it is for.
    pub name: Option<String>,
    /// The file or bundle.
    pub path: PathBuf,
    /// `@ADDR` behind it: where it is loaded.
    pub address: Option<GivenAddress>,
    /// Whether it was given as the kernel.
    pub kernel: bool,
}

/// `@ADDR` or `@SEGMENT=ADDR`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GivenAddress {
    /// The segment that lies there; without one, the start of the image, and all of it moves alike.
    pub segment: Option<String>,
    /// Where, in the world of the load map: unslid for a kext, as kextstat prints it.
    pub at: Avma,
}

/// A given file with what came out of it.
pub struct Given {
    /// What the user wrote.
    pub file: GivenFile,
    /// One program for each build and architecture in it.
    pub programs: Vec<Arc<Program>>,
}

/// All symbol files of a run.
#[derive(Default)]
pub struct Library {
    /// Files given by name.
    pub given: Vec<Given>,
    pub(super) index: Vec<Entry>,
    opened: Mutex<BTreeMap<Vec<PathBuf>, Vec<Arc<Program>>>>,
    /// The entries of kernel collections and caches met so far: each of hundreds of kexts asks for the same file.
    pub(super) collections: Mutex<BTreeMap<PathBuf, Vec<Arc<dyn Symbols>>>>,
    folders: Vec<PathBuf>,
    local: Vec<PathBuf>,
    /// What was met and could not be used, for those who ask why.
    pub(super) passed: Mutex<Vec<Passed>>,
    guesses: Vec<PathBuf>,
    pub(super) places: Arc<Places>,
}

/// A file that was looked at and not taken.
pub(super) struct Passed {
    pub(super) path: PathBuf,
    pub(super) why: String,
    /// Whether it was looked at as a kernel.
    pub(super) kernel: bool,
    /// Whether the user named it, and nothing in it can be used.
    pub(super) given: bool,
}

/// Files of the index that are left out for a while.
pub struct Aside(Vec<Entry>);

impl Library {
    /// Opens given files, in parallel; a companion with its UUID is taken from the folders indexed before. What cannot be used is said in
    /// `notes`, as failures.
    pub fn add(&mut self, files: Vec<GivenFile>, notes: &mut Vec<Note>) {
        let open = |file: &GivenFile| match bundle::find(&file.path) {
            Ok(bundle) => self.open(&[bundle]),
            Err(error) => (Vec::new(), vec![error]),
        };
        let opened: Vec<(Vec<Arc<Program>>, Vec<Error>)> = files.par_iter().map(open).collect();
        files.into_iter().zip(opened).for_each(|(file, (programs, refused))| self.keep(file, programs, refused, notes));
        self.unite();
    }

    /// Adds to the entries of given kernel collections and caches what is given besides under their UUIDs: a dSYM has the lines that a collection lacks.
    fn unite(&mut self) {
        let apart = |program: &&Arc<Program>| !program.info().is_entry();
        let programs = self.given.iter().flat_map(|given| &given.programs).filter(apart);
        let loose: FxHashMap<(Option<ImageId>, Arch), Arc<Program>> = programs
            .filter(|program| program.id().is_some())
            .map(|program| ((program.id(), program.info().arch), program.clone()))
            .collect();
        let entries = self.given.iter_mut().flat_map(|given| &mut given.programs).filter(|program| program.info().is_entry());
        for entry in entries {
            let Some(other) = loose.get(&(entry.id(), entry.info().arch)) else { continue };
            let known: Vec<&PathBuf> = entry.files.iter().map(|file| &file.info().path).collect();
            let more = other.files.iter().filter(|file| !known.contains(&&file.info().path));
            let files = entry.files.iter().chain(more).cloned().collect();
            let (bundle_id, stem) = (entry.bundle_id.clone(), entry.stem.clone());
            *entry = Arc::new(Program { files, fullest: OnceLock::new(), bundle_id, stem });
        }
    }

    fn keep(&mut self, file: GivenFile, programs: Vec<Arc<Program>>, refused: Vec<Error>, notes: &mut Vec<Note>) {
        refused.iter().for_each(|error| self.pass(error.path(), error.to_string(), file.kernel, programs.is_empty()));
        // One unusable slice of a fat file does not matter while another can be used.
        if programs.is_empty() {
            notes.extend(refused.into_iter().map(|error| hinted(error, file.kernel)));
        } else {
            notes.extend(refused.into_iter().map(|error| Note::warning("", error.to_string())));
        }
        for info in programs.iter().flat_map(|program| &program.files).map(|file| file.info()) {
            let path = info.path.display().to_string();
            if info.encrypted {
                notes.push(Note::warning(&path, "its code is encrypted: its symbols are used, its code is not looked at"));
            }
            if info.kind == FileKind::Dsym && !info.has_debug_info {
                notes.push(Note::warning(
                    &path,
                    "this dSYM has no DWARF: it gives names, but no files and lines; make it again with dsymutil",
                ));
            }
        }
        if !programs.is_empty() {
            self.given.push(Given { file, programs });
        }
    }

    /// Reads UUID and name of every symbol file below `folder`. `known` is what this gave back for the folder the last time: bytes to keep,
    /// if there is anything new. `progress` is called with the number of files done and to do.
    pub fn index(
        &mut self,
        folder: &Path,
        known: Option<&[u8]>,
        notes: &mut Vec<Note>,
        progress: &(dyn Fn(u64, u64) + Sync),
    ) -> Option<Vec<u8>> {
        match std::fs::metadata(folder) {
            Ok(meta) if meta.is_dir() => {}
            Ok(_) => {
                let text = "is a file where -S expects a directory; give it with -m or -k";
                notes.push(Note::failure(folder.display().to_string(), text));
                return None;
            }
            Err(cause) => {
                notes.push(Note::from(Error::io(folder, cause)));
                return None;
            }
        }
        let files = collect::files(folder, notes);
        let done = std::sync::atomic::AtomicU64::new(0);
        let each = || progress(done.fetch_add(1, std::sync::atomic::Ordering::Relaxed), files.len() as u64);
        let (entries, memory) = remember::entries(&files, known, each);
        self.index.extend(entries);
        self.folders.push(folder.to_path_buf());
        self.places.add_folder(folder, &files);
        memory
    }

    /// Where the parts of debug info are looked for that lie in files of their own.
    pub fn places(&self) -> &Places {
        &self.places
    }

    /// Adds files that were looked up by build id, and opens given files again that they complete. Gives back whether any is of use: a
    /// file that is of another build than was asked for is not, and said so.
    pub fn add_found(&mut self, files: Vec<(ImageId, PathBuf)>, notes: &mut Vec<Note>) -> bool {
        let mut added = Vec::new();
        for (id, path) in files {
            let found = super::open(&path, &mut Vec::new()).unwrap_or_default();
            // A supplementary file looks like an empty module, or like nothing that frames lie in.
            if PartFile::open(&path).is_ok_and(|part| altlink::ids(&part).any(|has| has == id)) {
                self.places.add_fetched(id, &path);
                if found.iter().all(|file| file.info().segments.is_empty()) {
                    added.push(Some(id));
                    continue;
                }
            }
            if !found.iter().any(|file| file.info().id == Some(id)) {
                let has = found.iter().find_map(|file| file.info().id).map_or("no build id".to_string(), |id| format!("build id {id}"));
                let text = format!("was to be of build id {id} but has {has}; not used: remove it from the cache, or ask another server");
                self.pass(&path, text.clone(), false, false);
                notes.push(Note::failure(path.display().to_string(), text));
                continue;
            }
            // No name: whoever has no build id to ask by must not get it.
            self.index.push(Entry { path, ids: vec![Some(id)], kernel: false, bundle_id: None, stem: String::new() });
            added.push(Some(id));
        }
        let completed = |program: &Arc<Program>| program.is_incomplete() && added.contains(&program.id());
        for at in 0..self.given.len() {
            if self.given[at].programs.iter().any(completed)
                && let Ok(bundle) = bundle::find(&self.given[at].file.path)
            {
                self.given[at].programs = self.open(&[bundle]).0;
            }
        }
        // What was opened without them is opened again.
        self.opened.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner).clear();
        !added.is_empty()
    }

    /// The symbol folders that were searched.
    pub fn folders(&self) -> &[PathBuf] {
        &self.folders
    }

    /// Takes one file as if it lay in a symbol folder, unless it is no symbol file or of another build than `id`.
    pub(super) fn take(&mut self, path: &Path, id: Option<ImageId>) -> bool {
        let Some(mut entry) = entry(path).into_iter().next() else { return false };
        if id.is_some() && entry.ids.is_empty() {
            // Packed: opened now, and kept open.
            entry.ids = self.open_entries(&[&entry]).iter().map(|program| program.id()).collect();
        }
        let fits = id.is_none() || entry.ids.contains(&id);
        if fits && !self.local.contains(&entry.path) {
            self.local.push(entry.path.clone());
            self.index.push(entry);
        } else {
            let why = id.map_or(String::new(), |id| format!("of another build: its {} is not {id}", id.kind()));
            self.pass(path, why, entry.kernel, false);
        }
        fits
    }

    /// Keeps why a file is not used.
    pub(super) fn pass(&self, path: &Path, why: String, kernel: bool, given: bool) {
        let mut passed = self.passed.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        passed.push(Passed { path: path.to_path_buf(), why, kernel, given });
    }

    /// Whether a module of that name or build id was given or lies in the symbol folders.
    pub fn has(&self, name: &str, id: Option<ImageId>) -> bool {
        let given = self.given.iter().any(|given| {
            let named = given.file.name.as_deref() == Some(name);
            named || given.programs.iter().any(|program| program.stem == name || (id.is_some() && program.id() == id))
        });
        let by_name = |entry: &Entry| (id.is_none() || entry.ids.is_empty()) && entry.stem == name;
        given || self.index.iter().any(|entry| (id.is_some() && entry.ids.contains(&id)) || by_name(entry))
    }

    /// Whether a kernel was given or lies in the symbol folders; one of build id `id` where that is known.
    pub fn has_kernel(&self, id: Option<ImageId>) -> bool {
        let fits = |entry: &Entry| entry.kernel && (id.is_none() || entry.ids.contains(&id));
        self.given.iter().any(|given| given.file.kernel) || self.index.iter().any(fits)
    }

    /// The files of this machine that [`local::search`](super::local::search) took.
    pub fn local(&self) -> &[PathBuf] {
        &self.local
    }

    /// Calls the files of this machine from the `from`th on guesses: nothing but evidence may make use of them.
    pub(super) fn guessed(&mut self, from: usize) {
        self.guesses.extend_from_slice(&self.local[from..]);
    }

    /// Whether a file is only here because it is the running kernel's, and nobody knows what the report is of.
    pub fn is_guess(&self, path: &Path) -> bool {
        self.guesses.iter().any(|guess| guess == path)
    }

    /// Leaves files of the index out, until [`Library::put_back`].
    pub fn set_aside(&mut self, paths: &[PathBuf]) -> Aside {
        let (aside, kept) = std::mem::take(&mut self.index).into_iter().partition(|entry| paths.contains(&entry.path));
        self.index = kept;
        Aside(aside)
    }

    /// Takes files back that were set aside.
    pub fn put_back(&mut self, aside: Aside) {
        self.index.extend(aside.0);
    }

    /// The program of that UUID in the symbol folders, its binary and dSYM together.
    pub fn by_id(&self, id: ImageId) -> Option<Arc<Program>> {
        let paths: Vec<&Entry> = self.index.iter().filter(|entry| entry.ids.contains(&Some(id))).collect();
        self.open_entries(&paths).into_iter().find(|program| program.id() == Some(id))
    }

    /// Programs in the symbol folders that carry an image's name: bundle identifier first, then bundle or file name.
    pub fn by_name(&self, name: &str, arch: Option<Arch>) -> Vec<Arc<Program>> {
        let last = name.rsplit('.').next().unwrap_or(name);
        let plain = name.replace('-', "_");
        let exact: Vec<&Entry> = self.index.iter().filter(|entry| entry.bundle_id.as_deref() == Some(name)).collect();
        let entries = if exact.is_empty() {
            self.index.iter().filter(|e| e.bundle_id.is_none() && (e.stem == name || e.stem == plain || e.stem == last)).collect()
        } else {
            exact
        };
        let mut programs = self.open_entries(&entries);
        programs.retain(|program| arch.is_none_or(|arch| program.info().arch.fits(arch)));
        programs
    }

    /// UUIDs of every kernel at hand.
    pub fn kernel_ids(&self) -> FxHashSet<ImageId> {
        let given = self.given.iter().flat_map(|given| &given.programs).filter(|program| is_kernel(program.info()));
        let indexed = self.index.iter().filter(|entry| entry.kernel).flat_map(|entry| &entry.ids);
        given.map(|program| program.id()).chain(indexed.copied()).flatten().collect()
    }

    /// Kernels in the symbol folders.
    pub fn kernels(&self, arch: Option<Arch>) -> Vec<Arc<Program>> {
        let entries: Vec<&Entry> = self.index.iter().filter(|entry| entry.kernel).collect();
        let mut programs = self.open_entries(&entries);
        programs.retain(|program| arch.is_none_or(|arch| program.info().arch.fits(arch)));
        programs
    }

    /// Opens the files of some entries together, so that a binary finds its dSYM; opened ones are kept.
    fn open_entries(&self, entries: &[&Entry]) -> Vec<Arc<Program>> {
        let mut key: Vec<PathBuf> = entries.iter().map(|entry| entry.path.clone()).collect();
        key.dedup();
        let mut opened = self.opened.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let open_now = || {
            let one = |entry: &&Entry| Bundle {
                files: vec![entry.path.clone()],
                companions: Vec::new(),
                bundle_id: entry.bundle_id.clone(),
                stem: entry.stem.clone(),
            };
            let mut bundles: Vec<Bundle> = entries.iter().map(one).collect();
            bundles.dedup_by(|one, other| one.files == other.files);
            let (programs, refused) = self.open(&bundles);
            refused.iter().for_each(|error| self.pass(error.path(), error.to_string(), false, false));
            programs
        };
        let mut programs = opened.entry(key.clone()).or_insert_with(open_now).clone();
        // Of a collection or cache only what was asked for.
        let is = |entry: &&Entry, program: &Program| program.id().is_some() || entry.bundle_id == program.bundle_id;
        let asked = |program: &Program| entries.iter().any(|entry| entry.ids.contains(&program.id()) && is(entry, program));
        programs.retain(|program| !program.info().is_entry() || asked(program));
        programs
    }
}

fn hinted(error: Error, kernel: bool) -> Note {
    let flag = if kernel { "-k" } else { "-m" };
    Note::failure("", format!("{error} (given with {flag}; everything else goes on without it)"))
}
