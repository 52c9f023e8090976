//! From the options to opened reports, load maps and symbol files.

use std::io::IsTerminal;
use std::path::Path;

use super::options::{InputArgs, SymbolArgs, Usage};
use super::term::Progress;
use crate::input::{self, Source, collect};
use crate::model::capture::Capture;
use crate::note::Note;
use crate::parse::{self, Format, Holds};
use crate::place::{self, Layout};
use crate::symbols::find::Library;

/// A report or load map, read.
pub struct Input {
    /// The opened source.
    pub source: Source,
    /// What it says.
    pub capture: Capture,
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
}

impl Inputs {
    /// Opens everything. `need_report` says whether standard input is read when no report is named.
    ///
    /// # Errors
    /// Only when the command line makes no sense; what cannot be opened becomes a note.
    pub fn open(input: &InputArgs, symbols: &SymbolArgs, need_report: bool) -> anyhow::Result<Inputs> {
        let mut inputs = Inputs::default();
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
        inputs.symbols(symbols);
        Ok(inputs)
    }

    /// Opens load maps and symbol files.
    pub fn symbols(&mut self, args: &SymbolArgs) {
        for path in &args.load_maps {
            self.load_map(path);
        }
        for folder in &args.symbols {
            let progress = Progress::new("symbol files");
            self.library.index(folder, &mut self.notes, &|done, all| progress.at(done, all));
        }
        self.library.add(args.given(), &mut self.notes);
    }

    fn path(&mut self, path: &Path, forced: Option<&'static dyn Format>) {
        if path == Path::new("-") {
            return self.report(input::stdin(), forced, false);
        }
        if !path.is_dir() {
            return self.report(input::open(path), forced, false);
        }
        let files = collect::files(path, &mut self.notes);
        let known = self.reports.len() + self.maps.len();
        for file in &files {
            self.report(input::open(file), forced, true);
        }
        if known == self.reports.len() + self.maps.len() {
            let text = format!(
                "none of the {} files in this directory is a report or load map that kstack knows (see `kstack formats`)",
                files.len()
            );
            self.notes.push(Note::failure(path.display().to_string(), text));
        }
    }

    /// Reads one report; a load map among the reports counts as one. In a directory, what is neither is passed over.
    fn report(&mut self, source: crate::Result<Source>, forced: Option<&'static dyn Format>, in_directory: bool) {
        let source = match source {
            Ok(source) => source,
            Err(error) => return self.notes.push(error.into()),
        };
        self.notes.extend(source.notes.iter().cloned());
        match forced.or_else(|| parse::detect(&source.data)) {
            Some(format) => {
                let capture = self.parse(format, &source);
                match format.holds() {
                    Holds::LoadMap => self.maps.push((source.name, capture)),
                    Holds::Stacks => self.reports.push(Input { source, capture }),
                }
            }
            None if in_directory => {}
            // Not understood, but its text is still the user's: it comes out as it went in.
            None => {
                let what = if source.data.is_empty() { "is empty" } else { "is in no format that kstack knows, and has no kernel address" };
                self.notes.push(Note::failure(&source.name, format!("{what}; see `kstack formats`, or force one with --format-in")));
                self.reports.push(Input { source, capture: Capture { format: "unknown", ..Capture::default() } });
            }
        }
    }

    fn parse(&mut self, format: &dyn Format, source: &Source) -> Capture {
        let capture = format.parse(&source.data);
        let placed = |note: &Note| Note { place: source.name.clone(), ..note.clone() };
        self.notes.extend(capture.notes.iter().map(placed));
        capture
    }

    fn load_map(&mut self, path: &Path) {
        let opened = if path == Path::new("-") { input::stdin() } else { input::open(path) };
        let source = match opened {
            Ok(source) => source,
            Err(error) => return self.notes.push(error.into()),
        };
        self.notes.extend(source.notes.iter().cloned());
        match parse::detect(&source.data) {
            Some(format) if format.holds() == Holds::LoadMap => {
                let capture = self.parse(format, &source);
                if capture.images.is_empty() {
                    self.notes.push(Note::failure(&source.name, format!("looks like {} but lists no image", format.id())));
                }
                self.maps.push((source.name, capture));
            }
            other => {
                let seen = other.map_or("in no format that kstack knows".to_string(), |format| format!("read as {}", format.id()));
                let known: Vec<&str> =
                    parse::FORMATS.iter().filter(|format| format.holds() == Holds::LoadMap).map(|format| format.id()).collect();
                let text = format!("is no load map ({seen}); -l takes {}", known.join(", "));
                self.notes.push(Note::failure(&source.name, text));
            }
        }
    }

    /// Places the images of each report.
    pub fn place(&self, symbols: &SymbolArgs) -> Vec<Layout> {
        let one = |input: &Input| place::place(&input.capture, &input.source.data, &self.maps, &self.library, symbols.place_options());
        self.reports.iter().map(one).collect()
    }
}
