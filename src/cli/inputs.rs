//! From the options to opened reports, load maps and symbol files.

use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::debuginfod::Fetched;
use super::memory;
use super::options::{InputArgs, SymbolArgs, Usage};
use super::term::Progress;
use crate::capture::manifest::{self, Manifest};
use crate::collapse;
use crate::input::{self, Source, collect};
use crate::model::capture::Capture;
use crate::note::Note;
use crate::parse::blocks::{self, Block};
use crate::parse::linux_tree::{Tree, TreeReport};
use crate::parse::{self, Confidence, Format, Holds, Part};
use crate::place::{self, Layout};
use crate::symbols::find::Library;
use crate::symbols::local::Wanted;

/// A report or load map, read.
pub struct Input {
    /// The opened source.
    pub source: Source,
    /// What it says.
    pub capture: Capture,
    /// Number of the sample that it is, of a capture with several.
    pub sample: Option<u32>,
}

/// Everything that the options name.
#[derive(Default)]
pub struct Inputs {
    /// Reports with stacks, in the order given.
    pub reports: Vec<Input>,
    /// Load maps, those among the reports included.
    pub maps: Vec<(String, Capture)>,
    /// Symbol files.
    pub library: Library,
    /// What went wrong so far.
    pub notes: Vec<Note>,
    /// Archives within archives that are being read.
    depth: usize,
    /// Releases of kernels that trees name.
    pub(super) releases: BTreeSet<String>,
    /// What was looked for by build id.
    pub fetched: Fetched,
    /// What this machine's own folders were searched for, and which of it each report wanted; empty where they were not to be searched.
    pub(super) local: (Vec<Wanted>, Vec<usize>),
    /// Whether profiles that can be folded from their text are opened and not read.
    leave_profiles: bool,
    /// Whether of a capture with several samples the last alone is taken.
    last_samples: bool,
}

/// Archives within archives within archives are opened so far, and no further.
const MAX_DEPTH: usize = 3;

/// Files of a directory that are open at a time.
const AT_ONCE: usize = 256;

/// A larger profile that is folded from its text is taken to be nothing else, in bytes: looking for blocks in it would take longer than
/// folding it, and nobody pastes so much into a report.
const MOST_MIXED: usize = 16 << 20;

/// The format of a report that is in none that kstack knows.
pub const UNKNOWN: &str = "unknown";

/// More than this is not read of a file in a directory that says to have no size, in bytes. kallsyms has 15 MB.
const UNSIZED: u64 = 64 << 20;

/// What of a running kernel is a load map or a report of memory; the files of its threads are those that [`Tree::knows`].
const OF_KERNEL: &[&str] =
    &["modules", "kallsyms", "kmemleak", "page_owner", "alloc_traces", "free_traces", "alloc_calls", "free_calls", "trace"];

/// The directory itself, where it belongs to a running kernel: all that is not of `/proc` or `/sys` is files that somebody wrote.
fn of_kernel(dir: &Path) -> Option<PathBuf> {
    let dir = dir.canonicalize().ok()?;
    ["/proc", "/sys"].iter().any(|root| dir.starts_with(root)).then_some(dir)
}

/// Whether a file of a running kernel is worth opening. Others may wait for ever (`kmsg`, `trace_pipe`), or be as large as all memory
/// (`pagemap`, `kcore`).
fn is_of_kernel(file: &Path) -> bool {
    Tree::knows(&file.to_string_lossy()) || file.file_name().is_some_and(|name| OF_KERNEL.iter().any(|known| name == *known))
}

/// The path of `file` from the name of the directory on.
fn below(dir: &Path, file: &Path) -> String {
    let relative = file.strip_prefix(dir).unwrap_or(file).to_string_lossy();
    format!("{}/{relative}", dir.file_name().unwrap_or_default().to_string_lossy())
}

impl Inputs {
    /// Opens everything. `need_report` says whether standard input is read when no report is named, `filters` whether `-m` may name
    /// a module instead of a file.
    ///
    /// # Errors
    /// Only when the command line makes no sense; what cannot be opened becomes a note.
    pub fn open(input: &InputArgs, symbols: &SymbolArgs, need_report: bool, filters: bool) -> anyhow::Result<Inputs> {
        let mut inputs = Inputs { leave_profiles: input.leave_profiles, last_samples: input.last_samples, ..Inputs::default() };
        let progress = Progress::new("reading");
        let forced = input.format_in.as_deref().and_then(parse::by_id);
        if input.reports.is_empty() && need_report {
            if std::io::stdin().is_terminal() {
                return Err(Usage("no report given; name a file, or - to type one in".to_string()).into());
            }
            inputs.report(input::stdin(), forced, false);
        }
        for path in &input.reports {
            inputs.path(path, forced);
        }
        drop(progress);
        inputs.symbols(symbols, filters);
        inputs.local(symbols, !filters);
        Ok(inputs)
    }

    /// Opens load maps and symbol files.
    pub fn symbols(&mut self, args: &SymbolArgs, filters: bool) {
        let places = self.library.places();
        args.maps.iter().for_each(|(from, to)| places.add_map(from, to));
        if !args.is_local_off() {
            places.add_root(&args.local_root);
        }
        for path in &args.load_maps {
            self.load_map(path);
        }
        for folder in &args.symbols {
            let progress = Progress::new("symbol files");
            let known = memory::recall(folder);
            let news = self.library.index(folder, known.as_deref(), &mut self.notes, &|done, all| progress.at(done, all));
            news.iter().for_each(|news| memory::keep(folder, news));
        }
        self.library.add(args.given(filters), &mut self.notes);
    }

    fn path(&mut self, path: &Path, forced: Option<&'static dyn Format>) {
        if path == Path::new("-") {
            return self.report(input::stdin(), forced, false);
        }
        if !path.is_dir() {
            return self.report(input::open(path), forced, false);
        }
        let kernel = of_kernel(path);
        let files = match &kernel {
            Some(kernel) => collect::files_of_kernel(kernel, &is_of_kernel, &mut self.notes),
            None => collect::files(path, &mut self.notes),
        };
        let known = self.reports.len() + self.maps.len();
        let mut tree = Tree::default();
        // A tree of /proc is a hundred thousand small files: opening them is all the work.
        for some in files.chunks(AT_ONCE) {
            let opened: Vec<_> = some.par_iter().map(|file| input::open_within(file, UNSIZED)).collect();
            for (file, source) in some.iter().zip(opened) {
                let name = if kernel.is_some() { file.to_string_lossy().into_owned() } else { below(path, file) };
                match source {
                    Err(_) if kernel.is_some() && !file.exists() => {}
                    Ok(source) if Tree::knows(&name) => tree.take(&name, &source.data),
                    Ok(source) if self.manifest(&path.display().to_string(), &name, &source.data) => {}
                    Err(error) if Tree::knows(&name) => self.notes.push(error.into()),
                    source => self.report(source, forced, true),
                }
            }
        }
        self.tree(&path.display().to_string(), tree);
        if known == self.reports.len() + self.maps.len() {
            let text = format!(
                "none of the {} files in this directory is a report or load map that kstack knows (see `kstack formats`)",
                files.len()
            );
            self.notes.push(Note::failure(path.display().to_string(), text));
        }
    }

    /// Keeps what a tree of `/proc` or `/sys` files holds.
    pub(super) fn tree(&mut self, name: &str, mut tree: Tree) {
        self.releases.extend(tree.release().map(str::to_string));
        self.maps.extend(tree.map().map(|map| (name.to_string(), map)));
        let bare = tree.threads_without_stack();
        let reports = tree.reports();
        if reports.is_empty() && bare > 0 {
            let text = format!("{bare} threads, and none has a kernel stack: they are readable for root alone (`sudo kstack capture`)");
            self.notes.push(Note::failure(name, text));
        }
        let last = reports.iter().filter_map(|report| report.sample).max().filter(|_| self.last_samples);
        let passed: BTreeSet<u32> =
            reports.iter().filter_map(|report| report.sample).filter(|sample| last.is_some_and(|last| *sample < last)).collect();
        if !passed.is_empty() {
            let text =
                format!("has {} samples; the threads of the last one are counted (--all-samples: those of every one)", passed.len() + 1);
            self.notes.push(Note::warning(name, text));
        }
        for TreeReport { sample, text, capture } in
            reports.into_iter().filter(|report| report.sample.is_none_or(|sample| !passed.contains(&sample)))
        {
            let name = sample.map_or(name.to_string(), |sample| format!("{name}:sample-{sample}"));
            let source = Source { name, data: text.into(), notes: Vec::new() };
            self.reports.push(Input { source, capture, sample });
        }
    }

    /// Takes the manifest of a capture, which says what is not in it; gives back whether the file is one.
    fn manifest(&mut self, capture: &str, path: &str, bytes: &[u8]) -> bool {
        if path.rsplit('/').next() != Some("manifest.json") {
            return false;
        }
        let Ok(manifest) = serde_json::from_slice::<Manifest>(bytes) else { return false };
        let known = manifest.schema == manifest::SCHEMA;
        self.notes.extend(manifest.shortcomings().filter(|_| known).map(|text| Note::warning(capture, format!("in this capture {text}"))));
        known
    }

    /// Reads the members of a tar archive as the files of a directory.
    fn archive(&mut self, source: &Source, forced: Option<&'static dyn Format>) {
        if self.depth == MAX_DEPTH {
            let text = format!("an archive within {MAX_DEPTH} others is not opened; unpack it first");
            return self.notes.push(Note::failure(&source.name, text));
        }
        self.depth += 1;
        let mut tree = Tree::default();
        let mut budget = input::MAX_BYTES;
        for (path, data) in input::archive::members(&source.name, &source.data, &mut self.notes) {
            if Tree::knows(&path) {
                tree.take(&path, data);
            } else if !self.manifest(&source.name, &path, data) {
                let name = format!("{}:{path}", source.name);
                // All members together may unpack to what one file may.
                let opened = input::unpack::unpack_within(name, data.to_vec().into(), budget);
                budget -= opened.as_ref().map_or(0, |opened| opened.data.len() as u64).min(budget);
                self.report(opened, forced, true);
            }
        }
        self.depth -= 1;
        self.tree(&source.name, tree);
    }

    /// Reads one report; a load map among the reports counts as one. In a directory or archive, what is neither is passed over.
    fn report(&mut self, source: crate::Result<Source>, forced: Option<&'static dyn Format>, in_directory: bool) {
        let source = match source {
            Ok(source) => source,
            Err(error) => return self.notes.push(error.into()),
        };
        self.notes.extend(source.notes.iter().cloned());
        if input::archive::is_tar(&source.data) {
            return self.archive(&source, forced);
        }
        let whole = parse::detect(&source.data);
        let is_fold = |format: &dyn Format| self.leave_profiles && collapse::of(format.id(), &source.data).is_some();
        let is_profile = source.data.len() > MOST_MIXED && whole.is_some_and(is_fold);
        if forced.is_none()
            && !is_profile
            && let Some(blocks) = blocks::of(&source.data, whole)
        {
            return self.blocks(&source, blocks);
        }
        let detected = whole.filter(|format| !in_directory || format.sniff(&source.data) > Confidence::Fallback);
        match forced.or(detected) {
            Some(format) if format.holds() == Holds::LoadMap => {
                let capture = self.parse(format, &source);
                self.maps.push((source.name, capture));
            }
            Some(format) if is_fold(format) => {
                self.reports.push(Input { source, sample: None, capture: Capture { format: format.id(), ..Capture::default() } });
            }
            Some(format) => format.parts(&source.data).into_iter().for_each(|part| self.part(&source, part)),
            None if in_directory => {}
            // Not understood, but its text is still the user's: it comes out as it went in.
            None => {
                let what = if source.data.is_empty() { "is empty" } else { "is in no format that kstack knows, and has no kernel address" };
                self.notes.push(Note::failure(&source.name, format!("{what}; see `kstack formats`, or force one with --format-in")));
                self.reports.push(Input { source, capture: Capture { format: UNKNOWN, ..Capture::default() }, sample: None });
            }
        }
    }

    /// Keeps one of the reports of `source`.
    fn part(&mut self, source: &Source, part: Part) {
        self.placed_notes(&source.name, &part.capture);
        let name = part.source.unwrap_or_else(|| source.name.clone());
        let data = part.text.map_or_else(|| source.data.clone(), Into::into);
        let source = Source { name, data, notes: Vec::new() };
        self.reports.push(Input { source, capture: part.capture, sample: None });
    }

    /// Keeps the blocks of a text of several kinds as reports. A load map among them serves the others; its text stays where it is.
    fn blocks(&mut self, source: &Source, blocks: Vec<Block>) {
        for block in blocks {
            let maps = block.parts.iter().filter(|_| block.holds == Holds::LoadMap);
            self.maps.extend(maps.map(|part| (source.name.clone(), part.capture.clone())));
            for mut part in block.parts {
                // What a reader says of a line is said before the block is put in its place.
                let counted = part.capture.notes.iter_mut().filter(|note| block.line > 1 && note.text.contains("line"));
                counted.for_each(|note| note.text = format!("in the block from line {} on, counted from there: {}", block.line, note.text));
                self.part(source, part);
            }
        }
    }

    fn parse(&mut self, format: &dyn Format, source: &Source) -> Capture {
        let capture = format.parse(&source.data);
        self.placed_notes(&source.name, &capture);
        capture
    }

    /// Keeps what a reader says about `source`.
    fn placed_notes(&mut self, source: &str, capture: &Capture) {
        let placed = |note: &Note| Note { place: source.to_string(), ..note.clone() };
        self.notes.extend(capture.notes.iter().map(placed));
    }

    /// Reads a load map: a file, or a directory or archive with load maps and trees of `/sys/module` in it.
    fn load_map(&mut self, path: &Path) {
        let (reports, maps) = (self.reports.len(), self.maps.len());
        if path.is_dir() {
            self.path(path, None);
            // Stacks beside a load map are not what was asked for.
            self.reports.truncate(reports);
            if self.maps.len() == maps {
                self.notes.push(Note::failure(
                    path.display().to_string(),
                    "no load map in this directory; -l takes one file, or a tree of /sys/module/*/sections",
                ));
            }
            return;
        }
        let opened = if path == Path::new("-") { input::stdin() } else { input::open(path) };
        let source = match opened {
            Ok(source) => source,
            Err(error) => return self.notes.push(error.into()),
        };
        self.notes.extend(source.notes.iter().cloned());
        if input::archive::is_tar(&source.data) {
            self.archive(&source, None);
            return self.reports.truncate(reports);
        }
        match parse::detect(&source.data) {
            Some(format) if format.holds() == Holds::LoadMap => {
                let capture = self.parse(format, &source);
                if capture.images.is_empty() {
                    self.notes.push(Note::failure(&source.name, format!("looks like {} but lists no image", format.id())));
                }
                self.maps.push((source.name, capture));
            }
            other => {
                let before = self.maps.len();
                let blocks = blocks::of(&source.data, other).unwrap_or_default();
                self.blocks(&source, blocks);
                self.reports.truncate(reports);
                if self.maps.len() > before {
                    return;
                }
                let seen = other.map_or("in no format that kstack knows".to_string(), |format| format!("read as {}", format.id()));
                let known: Vec<&str> =
                    parse::FORMATS.iter().filter(|format| format.holds() == Holds::LoadMap).map(|format| format.id()).collect();
                let text = format!("is no load map ({seen}); -l takes {}", known.join(", "));
                self.notes.push(Note::failure(&source.name, text));
            }
        }
    }

    /// Places the images of each report, and once more when debug info that they lack was found by build id.
    pub fn place(&mut self, symbols: &SymbolArgs) -> Vec<Layout> {
        let options = symbols.place_options();
        let one = |inputs: &Inputs| -> Vec<Layout> {
            let place = |input: &Input| place::place(&input.capture, &input.source.data, &inputs.maps, &inputs.library, options);
            inputs.reports.iter().map(place).collect()
        };
        let mut layouts = one(self);
        self.prove(&mut layouts, options);
        if self.complete(&layouts, symbols) {
            layouts = one(self);
            self.prove(&mut layouts, options);
        }
        // Nobody has asked for a file that was found on this machine: that it does not fit is no failure.
        let locals: Vec<String> = self.library.local().iter().map(|path| path.display().to_string()).collect();
        for note in layouts.iter_mut().flat_map(|layout| &mut layout.notes).filter(|_| !locals.is_empty()) {
            note.failure &= !locals.iter().any(|path| note.text.contains(path.as_str()));
        }
        layouts
    }

    /// Looks debug info up that the images of `layouts` lack, by build id; gives back whether some was found.
    pub fn complete(&mut self, layouts: &[Layout], symbols: &SymbolArgs) -> bool {
        let found = symbols.debuginfod.find(layouts, &mut self.fetched, &mut self.notes);
        self.library.add_found(found, &mut self.notes)
    }
}
