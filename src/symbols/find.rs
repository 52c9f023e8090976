//! The symbol files of one run: those given by name, and those found in symbol folders by UUID first and by name second.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use rayon::prelude::*;

use super::bundle::{self, Bundle};
use super::{FileInfo, FileKind, OPENERS, Symbols};
use crate::error::Error;
use crate::input::collect;
use crate::model::addr::{Arch, Avma, Svma};
use crate::model::frame::Location;
use crate::model::image::ImageId;
use crate::note::Note;

/// Everything known about one build of one image for one architecture: its binary and its dSYM, in either order or alone.
pub struct Program {
    files: Vec<Box<dyn Symbols>>,
    /// Index of the file with the most symbols.
    fullest: OnceLock<usize>,
    /// Bundle identifier, from Info.plist or from inside the binary.
    pub bundle_id: Option<String>,
    /// File or bundle name without extension.
    pub stem: String,
}

impl Program {
    /// The file that says where things are: the binary, else the dSYM.
    pub fn info(&self) -> &FileInfo {
        self.binary().unwrap_or(&*self.files[0]).info()
    }

    /// The UUID, which all its files share.
    pub fn id(&self) -> Option<ImageId> {
        self.info().id
    }

    fn binary(&self) -> Option<&dyn Symbols> {
        self.files.iter().map(|file| &**file).find(|file| file.info().kind != FileKind::Dsym)
    }

    /// The file with the most symbols: a stripped binary leaves that to its dSYM.
    pub fn symbols(&self) -> &dyn Symbols {
        let fullest = || (0..self.files.len()).max_by_key(|at| (self.files[*at].symbol_count(), std::cmp::Reverse(*at))).unwrap_or(0);
        let at = if self.files.len() == 1 { 0 } else { *self.fullest.get_or_init(fullest) };
        &*self.files[at]
    }

    /// The file with DWARF, if there is one.
    fn debug(&self) -> Option<&dyn Symbols> {
        self.files.iter().map(|file| &**file).find(|file| file.info().has_debug_info)
    }

    /// Whether another file of the same UUID could add to what is known: DWARF to a binary, or code to a dSYM.
    fn is_incomplete(&self) -> bool {
        self.id().is_some() && (self.debug().is_none() || self.binary().is_none())
    }

    /// What could not be read of its debug info in the lookups so far.
    pub fn damage(&self) -> Option<Note> {
        let debug = self.debug()?;
        let count = debug.damaged_units();
        let text = format!("{count} units of its debug info are damaged; their frames have names, but no file and line");
        (count > 0).then(|| Note::warning(debug.info().path.display().to_string(), text))
    }

    /// The file with DWARF that is not [`Program::info`]'s own: a dSYM's inner file, as a rule.
    pub fn companion(&self) -> Option<&FileInfo> {
        self.debug().map(|debug| debug.info()).filter(|debug| debug.path != self.info().path)
    }

    /// Whether source lines can be had.
    pub fn has_debug_info(&self) -> bool {
        self.debug().is_some()
    }

    /// Code bytes between two addresses of [`Program::info`]'s file.
    pub fn code(&self, from: Svma, to: Svma) -> Option<&[u8]> {
        self.binary()?.code(from, to)
    }

    /// Source locations, as [`Symbols::locate`], for addresses of [`Program::info`]'s file.
    pub fn locate(&self, probes: &[Svma]) -> Vec<Vec<Location>> {
        let Some(debug) = self.debug() else { return vec![Vec::new(); probes.len()] };
        let probes: Vec<Svma> = probes.iter().map(|probe| translate(self.info(), debug.info(), *probe)).collect();
        debug.locate(&probes)
    }

    /// The function that debug info says covers an address of [`Program::info`]'s file, its start as such an address too.
    pub fn debug_function(&self, at: Svma) -> Option<(String, Svma)> {
        let debug = self.debug()?;
        let (name, start) = debug.debug_function(translate(self.info(), debug.info(), at))?;
        Some((name, translate(debug.info(), self.info(), start)))
    }

    /// `at` in the file that [`Program::symbols`] answers from.
    pub fn in_symbols(&self, at: Svma) -> Svma {
        translate(self.info(), self.symbols().info(), at)
    }

    /// The inverse of [`Program::in_symbols`].
    pub fn from_symbols(&self, at: Svma) -> Svma {
        translate(self.symbols().info(), self.info(), at)
    }
}

/// An address of one file of a program in another, which a `kextutil -s` file and its dSYM state differently: segment by segment.
fn translate(from: &FileInfo, to: &FileInfo, at: Svma) -> Svma {
    let holds = |segment: &&super::Segment| at.0.wrapping_sub(segment.svma.0) < segment.size;
    let target = from.segments.iter().find(holds).and_then(|segment| Some((segment.svma, to.segment(&segment.name)?.svma)));
    target.map_or(at, |(old, new)| Svma(at.0.wrapping_sub(old.0).wrapping_add(new.0)))
}

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
    index: Vec<Entry>,
    opened: Mutex<BTreeMap<Vec<PathBuf>, Vec<Arc<Program>>>>,
    folders: Vec<PathBuf>,
    local: Vec<PathBuf>,
}

/// What the index of the symbol folders keeps of a file; the file itself is opened when an image wants it.
struct Entry {
    path: PathBuf,
    ids: Vec<Option<ImageId>>,
    kernel: bool,
    bundle_id: Option<String>,
    stem: String,
}

impl Library {
    /// Opens given files, in parallel; a companion with its UUID is taken from the folders indexed before. What cannot be used is said in
    /// `notes`, as failures.
    pub fn add(&mut self, files: Vec<GivenFile>, notes: &mut Vec<Note>) {
        let open = |file: &GivenFile| match bundle::find(&file.path) {
            Ok(bundle) => open(&[bundle], &self.index),
            Err(error) => (Vec::new(), vec![error]),
        };
        let opened: Vec<(Vec<Arc<Program>>, Vec<Error>)> = files.par_iter().map(open).collect();
        files.into_iter().zip(opened).for_each(|(file, (programs, refused))| self.keep(file, programs, refused, notes));
    }

    fn keep(&mut self, file: GivenFile, programs: Vec<Arc<Program>>, refused: Vec<Error>, notes: &mut Vec<Note>) {
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

    /// Reads UUID and name of every symbol file below `folder`. `progress` is called with the number of files done and to do.
    pub fn index(&mut self, folder: &Path, notes: &mut Vec<Note>, progress: &(dyn Fn(u64, u64) + Sync)) {
        match std::fs::metadata(folder) {
            Ok(meta) if meta.is_dir() => {}
            Ok(_) => {
                return notes
                    .push(Note::failure(folder.display().to_string(), "is a file where -S expects a directory; give it with -m or -k"));
            }
            Err(cause) => return notes.push(Note::from(Error::io(folder, cause))),
        }
        let files = collect::files(folder, notes);
        let done = std::sync::atomic::AtomicU64::new(0);
        let entries: Vec<Entry> = files
            .par_iter()
            .filter_map(|path| {
                progress(done.fetch_add(1, std::sync::atomic::Ordering::Relaxed), files.len() as u64);
                entry(path)
            })
            .collect();
        self.index.extend(entries);
        self.folders.push(folder.to_path_buf());
    }

    /// The symbol folders that were searched.
    pub fn folders(&self) -> &[PathBuf] {
        &self.folders
    }

    /// Takes one file as if it lay in a symbol folder, unless it is no symbol file or of another build than `id`.
    pub(super) fn take(&mut self, path: &Path, id: Option<ImageId>) -> bool {
        let Some(mut entry) = entry(path) else { return false };
        if id.is_some() && entry.ids.is_empty() {
            // Packed: opened now, and kept open.
            entry.ids = self.open_entries(&[&entry]).iter().map(|program| program.id()).collect();
        }
        let fits = id.is_none() || entry.ids.contains(&id);
        if fits {
            self.local.push(entry.path.clone());
            self.index.push(entry);
        }
        fits
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

    /// Kernels in the symbol folders.
    pub fn kernels(&self, arch: Option<Arch>) -> Vec<Arc<Program>> {
        let entries: Vec<&Entry> = self.index.iter().filter(|entry| entry.kernel).collect();
        let mut programs = self.open_entries(&entries);
        programs.retain(|program| arch.is_none_or(|arch| program.info().arch.fits(arch)));
        programs
    }

    /// Opens the files of some entries together, so that a binary finds its dSYM; opened ones are kept.
    fn open_entries(&self, entries: &[&Entry]) -> Vec<Arc<Program>> {
        let key: Vec<PathBuf> = entries.iter().map(|entry| entry.path.clone()).collect();
        let mut opened = self.opened.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let open_now = || {
            let one = |entry: &&Entry| Bundle {
                files: vec![entry.path.clone()],
                companions: Vec::new(),
                bundle_id: entry.bundle_id.clone(),
                stem: entry.stem.clone(),
            };
            open(&entries.iter().map(one).collect::<Vec<_>>(), &self.index).0
        };
        opened.entry(key.clone()).or_insert_with(open_now).clone()
    }
}

fn hinted(error: Error, kernel: bool) -> Note {
    let flag = if kernel { "-k" } else { "-m" };
    Note::failure("", format!("{error} (given with {flag}; everything else goes on without it)"))
}

/// Opens the files of bundles and puts those of one build together. A companion counts only by UUID, never by name.
fn open(bundles: &[Bundle], index: &[Entry]) -> (Vec<Arc<Program>>, Vec<Error>) {
    let mut refused = Vec::new();
    let mut builds: Vec<Program> = Vec::new();
    for (bundle, path) in bundles.iter().flat_map(|bundle| bundle.files.iter().map(move |path| (bundle, path))) {
        match super::open(path, &mut refused) {
            Ok(files) => files.into_iter().for_each(|file| join(&mut builds, file, Some(bundle))),
            Err(error) => refused.push(error),
        }
    }
    let ids: Vec<Option<ImageId>> = builds.iter().filter(|build| build.is_incomplete()).map(Program::id).collect();
    let indexed = index.iter().filter(|entry| entry.ids.iter().any(|id| ids.contains(id))).map(|entry| &entry.path);
    let beside = bundles.iter().flat_map(|bundle| &bundle.companions);
    let known = |path: &&PathBuf| bundles.iter().any(|bundle| bundle.files.contains(path));
    let companions: BTreeSet<&PathBuf> = beside.chain(indexed).filter(|path| !known(path)).collect();
    for path in companions {
        // A damaged companion is no reason to complain about the file that the user gave.
        let files = super::open(path, &mut Vec::new()).unwrap_or_default();
        files.into_iter().for_each(|file| join(&mut builds, file, None));
    }
    for build in builds.iter_mut().filter(|build| build.files.len() > 1) {
        // Of two binaries of one build, the one that was not stripped speaks for it.
        build.files.sort_by_key(|file| (file.info().kind == FileKind::Dsym, std::cmp::Reverse(file.symbol_count())));
    }
    (builds.into_iter().map(Arc::new).collect(), refused)
}

fn join(builds: &mut Vec<Program>, file: Box<dyn Symbols>, bundle: Option<&Bundle>) {
    let (id, arch) = (file.info().id, file.info().arch);
    let same = builds.iter_mut().find(|build| id.is_some() && build.id() == id && build.info().arch == arch);
    match (same, bundle) {
        (Some(build), _) => {
            build.bundle_id = build.bundle_id.take().or_else(|| file.bundle_id());
            build.files.push(file);
        }
        (None, Some(bundle)) => {
            let bundle_id = bundle.bundle_id.clone().or_else(|| file.bundle_id());
            builds.push(Program { files: vec![file], fullest: OnceLock::new(), bundle_id, stem: bundle.stem.clone() });
        }
        (None, None) => {}
    }
}

/// What the index keeps of one file, if it is a symbol file at all. Only its first bytes are read unless it is.
fn entry(path: &Path) -> Option<Entry> {
    let name = path.file_name()?.to_string_lossy();
    // Unpacking every module of a system to learn its build id would take minutes; it is checked when an image wants the file.
    if [".ko.xz", ".ko.gz", ".ko.zst"].iter().any(|packed| name.ends_with(packed)) {
        return Some(Entry { path: path.to_path_buf(), ids: Vec::new(), kernel: false, bundle_id: None, stem: bundle::stem(path) });
    }
    let mut head = [0; 64];
    let count = std::fs::File::open(path).ok()?.read(&mut head).ok()?;
    if !OPENERS.iter().any(|opener| opener.sniff(&head[..count])) {
        return None;
    }
    let files = super::open(path, &mut Vec::new()).ok()?;
    let first = files.first()?.info();
    let kernel = first.kind == FileKind::Kernel || (first.kind == FileKind::Dsym && first.base().0 >> 63 == 1);
    let around = bundle::find(path).ok()?;
    let ids = files.iter().map(|file| file.info().id).collect();
    // A module's own name needs its sections; its file name is as good until it is opened.
    let inside = || files.iter().filter(|file| file.info().kind != FileKind::Module).find_map(|file| file.bundle_id());
    Some(Entry { path: path.to_path_buf(), ids, kernel, bundle_id: around.bundle_id.or_else(inside), stem: around.stem })
}
