//! `kstack script`.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::exit::Exit;
use super::filters::FilterArgs;
use super::inputs::Inputs;
use super::options::{InputArgs, OutputArgs, SymbolArgs, TitleArgs, Usage};
use super::session::Session;
use super::{output, term};
use crate::input;
use crate::model::capture::Capture;
use crate::note::Note;
use crate::place::{self, Layout};
use crate::render::json::SCHEMA;
use crate::report::Report;
use crate::resolve::{self, ResolveOptions};
use crate::script::facts::{BreakpointFacts, Facts, StackFacts};
use crate::script::{self, DEBUGGERS, Options};

#[derive(clap::Args, Debug)]
pub struct Args {
    /// The debugger, or kextutil for the commands that make symbol files of loaded kexts
    #[arg(value_name = "DEBUGGER", value_parser = clap::builder::PossibleValuesParser::new(DEBUGGERS.iter().map(|one| one.name())))]
    debugger: String,
    #[command(flatten)]
    input: InputArgs,
    #[command(flatten)]
    symbols: SymbolArgs,
    #[command(flatten)]
    filters: FilterArgs,
    #[command(flatten)]
    output: OutputArgs,
    /// Look up every frame of stack N of the first report too, counted from 0 as in the JSON form; with filters, of the stacks that are left
    #[arg(long, value_name = "N")]
    stack: Option<usize>,
    /// gdb, lldb: stop in every function of these names, with commas between them
    #[arg(long = "breakpoints", value_name = "FUNC", value_delimiter = ',')]
    breakpoints: Vec<String>,
    /// gdb: write for Apple's gdb of Mac OS X, with add-kext and add-dsym
    #[arg(long)]
    apple: bool,
    /// Unpack symbol files for the debugger, which reads no packed ones, into this directory
    #[arg(long, value_name = "DIR")]
    unpack: Option<PathBuf>,
    /// lldb: use the macros that come with xnu, with addkext -F
    #[arg(long)]
    xnu: bool,
    /// Form of the output: the script, or what it says as JSON
    #[arg(long, value_name = "NAME", default_value = "text", value_parser = ["text", "json"])]
    format: String,
}

impl Args {
    /// What only some debuggers take.
    fn check(&self) -> anyhow::Result<()> {
        let wrong = |flag: &str, only: &str| Err(Usage(format!("{flag} goes with {only}, not with {}", self.debugger)).into());
        match self.debugger.as_str() {
            debugger if self.apple && debugger != "gdb" => wrong("--apple", "gdb"),
            debugger if self.xnu && debugger != "lldb" => wrong("--xnu", "lldb"),
            debugger if !self.breakpoints.is_empty() && !matches!(debugger, "gdb" | "lldb") => wrong("--breakpoints", "gdb and lldb"),
            "kextutil" if self.unpack.is_some() => wrong("--unpack", "the debuggers"),
            "kextutil" if self.stack.is_some() => wrong("--stack", "the debuggers"),
            _ => Ok(()),
        }
    }

    /// Everything that the command line names, in its words.
    fn sources(&self) -> Vec<String> {
        let shown = |flag: &str, path: &PathBuf| format!("{flag}{}", path.display());
        let reports = self.input.reports.iter().map(|path| shown("", path));
        let maps = self.symbols.load_maps.iter().map(|path| shown("-l ", path));
        let kernel = self.symbols.kernel.iter().map(|file| format!("-k {file}"));
        let modules = self.symbols.modules.iter().map(|file| format!("-m {file}"));
        let folders = self.symbols.symbols.iter().map(|path| shown("-S ", path));
        reports.chain(maps).chain(kernel).chain(modules).chain(folders).collect()
    }

    /// Whether a report or load map is read from standard input: only when nothing else names an image.
    fn needs_report(&self) -> bool {
        self.symbols.load_maps.is_empty() && self.symbols.given(false).iter().all(|file| file.address.is_none())
    }
}

pub fn run(args: &Args) -> anyhow::Result<Exit> {
    args.check()?;
    let debugger = script::by_name(&args.debugger).context("no such debugger")?;
    let (inputs, layout, stack, mut notes) = if args.filters.any(&args.symbols) { filtered(args)? } else { opened(args)? };
    let root = std::env::current_dir().context("the working directory is gone")?;
    let mut facts = Facts::of(&layout, args.sources(), inputs.library.folders(), &root);
    facts.stack = stack;
    if let Some(dir) = &args.unpack {
        unpack(&root.join(dir), &mut facts, &mut notes);
    }
    facts.breakpoints = args.breakpoints.iter().map(|function| BreakpointFacts::of(&layout, function)).collect();
    let unknown = facts.breakpoints.iter().filter(|breakpoint| breakpoint.places.is_empty());
    notes.extend(unknown.map(|breakpoint| {
        Note::failure("--breakpoints", format!("no function `{}` in a symbol file whose place is known", breakpoint.function))
    }));
    let script = script::write(debugger, &facts, Options { apple: args.apple, xnu: args.xnu });
    notes.extend(script.notes);
    let written = output::write(&args.output, |out| match args.format.as_str() {
        "json" => {
            serde_json::to_writer(&mut *out, &serde_json::json!({ "schema": SCHEMA, "debugger": args.debugger, "script": facts }))?;
            out.write_all(b"\n")
        }
        _ => out.write_all(script.text.as_bytes()),
    });
    let failed = term::report(&notes, args.output.quiet);
    // The process ends here; giving everything back piece by piece would only take time.
    std::mem::forget((inputs, layout));
    written?;
    Ok(Exit::of(failed, false))
}

/// Writes the packed symbol files of the images unpacked into `dir`.
fn unpack(dir: &Path, facts: &mut Facts, notes: &mut Vec<Note>) {
    let mut taken = BTreeSet::new();
    for image in facts.images.iter_mut().filter(|image| image.packed.is_some()) {
        let Some(packed) = image.file.clone() else { continue };
        let to = dir.join(free_name(&packed, &mut taken));
        match unpack_file(&packed, &to) {
            Ok(()) => image.use_unpacked(to),
            Err(cause) => notes.push(Note::failure(packed.display().to_string(), format!("not unpacked: {cause:#}"))),
        }
    }
}

/// The name of the file without what its packing adds; numbered when another file of this run has it.
fn free_name(packed: &Path, taken: &mut BTreeSet<OsString>) -> OsString {
    let packing = packed.extension().is_some_and(|extension| ["gz", "xz", "zst"].iter().any(|known| extension == *known));
    let plain = if packing { packed.file_stem() } else { packed.file_name() }.unwrap_or_default().to_os_string();
    let numbered = |n: usize| {
        let mut name = OsString::from(format!("{n}-"));
        name.push(&plain);
        name
    };
    let name = std::iter::once(plain.clone()).chain((2..).map(numbered)).find(|name| !taken.contains(name)).unwrap_or(plain);
    taken.insert(name.clone());
    name
}

/// A damaged file is not used: what a debugger would make of it nobody knows.
fn unpack_file(packed: &Path, to: &Path) -> anyhow::Result<()> {
    let source = input::open(packed)?;
    if let Some(note) = source.notes.first() {
        anyhow::bail!("{}", note.text);
    }
    let dir = to.parent().context("no directory")?;
    std::fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
    if packed.canonicalize()? == to.canonicalize().unwrap_or_default() {
        anyhow::bail!("it would take the place of the packed file; give another directory");
    }
    output::to_file(to, |out| out.write_all(&source.data)).with_context(|| to.display().to_string())
}

/// What the script is about: the inputs, the images, the frames of `--stack`, and what went wrong.
type Opened = (Inputs, Layout, Option<StackFacts>, Vec<Note>);

fn opened(args: &Args) -> anyhow::Result<Opened> {
    let mut inputs = Inputs::open(&args.input, &args.symbols, args.needs_report(), false)?;
    let mut placed = vec![layout(args, &inputs)];
    if inputs.complete(&placed, &args.symbols) {
        placed = vec![layout(args, &inputs)];
    }
    let layout = placed.remove(0);
    let mut notes = std::mem::take(&mut inputs.notes);
    one_report(&inputs, &mut notes);
    notes.extend(layout.notes.iter().cloned());
    let stack = stack(args, &inputs, &layout)?;
    Ok((inputs, layout, stack, notes))
}

/// With filters: the images that the remaining stacks of the first report run through.
fn filtered(args: &Args) -> anyhow::Result<Opened> {
    args.filters.need_report(&args.input, &args.symbols)?;
    let mut session = Session::open(&args.input, &args.symbols, &args.filters, &TitleArgs::default(), true)?;
    one_report(&session.inputs, &mut session.notes);
    let stack = match (args.stack, session.reports().first()) {
        (Some(number), Some(report)) => Some(stack_of(report, number)?),
        _ => None,
    };
    let layout = session.images_of_stacks().into_iter().next().unwrap_or_default();
    Ok((std::mem::take(&mut session.inputs), layout, stack, std::mem::take(&mut session.notes)))
}

/// Says that only the first of several reports counts.
fn one_report(inputs: &Inputs, notes: &mut Vec<Note>) {
    if let Some(other) = inputs.reports.get(1) {
        let text = format!("{} reports are given; the script is for the first, {}", inputs.reports.len(), inputs.reports[0].source.name);
        notes.push(Note::warning(&other.source.name, text));
    }
}

/// The images of the first report, or without one those of the load maps and of the files given.
fn layout(args: &Args, inputs: &Inputs) -> Layout {
    let options = args.symbols.place_options();
    match inputs.reports.first() {
        Some(input) => place::place(&input.capture, &input.source.data, &inputs.maps, &inputs.library, options),
        None => place::place(&Capture::default(), b"", &inputs.maps, &inputs.library, options),
    }
}

/// The frames of `--stack`.
fn stack(args: &Args, inputs: &Inputs, layout: &Layout) -> anyhow::Result<Option<StackFacts>> {
    let Some(number) = args.stack else { return Ok(None) };
    let Some(input) = inputs.reports.first() else {
        return Err(Usage("--stack needs a report; load maps have no stacks".to_string()).into());
    };
    let resolved = resolve::resolve(&input.capture, &input.source.data, layout, ResolveOptions { demangle: true });
    let (source, text, capture) = (input.source.name.as_str(), &input.source.data[..], &input.capture);
    let report = Report { source, text, capture, layout, resolved: &resolved, crash: None };
    stack_of(&report, number).map(Some)
}

fn stack_of(report: &Report<'_>, number: usize) -> anyhow::Result<StackFacts> {
    let (source, count) = (report.source, report.capture.stacks.len());
    StackFacts::of(report, number).ok_or_else(|| Usage(format!("--stack {number}: {source} has {count} stacks, counted from 0")).into())
}
