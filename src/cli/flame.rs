//! `kstack flame`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::exit::Exit;
use super::filters::FilterArgs;
use super::options::{InputArgs, OutputArgs, SymbolArgs, TitleArgs, Usage, WeightArgs};
use super::output;
use super::profiles;
use super::session::{Session, incomparable};
use crate::group::weight::{Weight, size};
use crate::note::Note;
use crate::render::folded::{self, FRAME_STYLES, Folded};

/// The forms, by name.
#[cfg(feature = "flamegraph")]
const FORMATS: &[&str] = &["folded", "svg"];
#[cfg(not(feature = "flamegraph"))]
const FORMATS: &[&str] = &["folded"];

#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    input: InputArgs,
    #[command(flatten)]
    symbols: SymbolArgs,
    #[command(flatten)]
    filters: FilterArgs,
    #[command(flatten)]
    titles: TitleArgs,
    #[command(flatten)]
    weight: WeightArgs,
    #[command(flatten)]
    output: OutputArgs,
    /// Form of the output: lines for flamegraph.pl, inferno or speedscope, or the graph itself; svg when -o names a .svg file, else folded
    #[arg(long, value_name = "NAME", value_parser = clap::builder::PossibleValuesParser::new(FORMATS))]
    format: Option<String>,
    /// How frames are written: zio_wait_[k], zfs`zio_wait, or zio_wait; by default the first, and for profiles as their collapsers do
    ///
    /// Without it, perf script comes out as `inferno-collapse-perf` writes it, DTrace as `inferno-collapse-dtrace`, folded stacks as they are, and other profiles plain with the process as root. Names of symbol files take the place of the profile's.
    #[arg(long, value_name = "STYLE", value_parser = clap::builder::PossibleValuesParser::new(FRAME_STYLES.iter().map(|(name, _)| *name)))]
    pub(super) frames: Option<String>,
    /// Put the thread's name, or its process's, below its stacks as their root
    #[arg(long)]
    pub(super) by_thread: bool,
    /// Keep the stacks that run through this function, inlined or not; repeatable, one is enough
    #[arg(long, value_name = "FUNCTION")]
    pub(super) only: Vec<String>,
    /// Compare with this report: two counts for each stack, or a graph whose red frames grew and whose blue ones shrank
    #[arg(long, value_name = "OLD")]
    diff: Option<PathBuf>,
    /// Leave out the inlined calls that debug info knows
    #[arg(long)]
    pub(super) no_inline: bool,
    /// Heading of the graph
    #[cfg(feature = "flamegraph")]
    #[arg(long, value_name = "TEXT")]
    title: Option<String>,
}

/// One side of the graph.
struct Side {
    session: Session,
    folded: Folded,
}

impl Side {
    fn sources(&self) -> String {
        self.session.inputs.reports.iter().map(|input| input.source.name.as_str()).collect::<Vec<_>>().join(", ")
    }
}

pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let from_stdin = |path: &Path| path == Path::new("-");
    let reports = &args.input.reports;
    if args.diff.as_deref().is_some_and(from_stdin) && (reports.is_empty() || reports.iter().any(|path| from_stdin(path))) {
        return Err(Usage("--diff - and the report cannot both be standard input".to_string()).into());
    }
    let new = side(args, &args.input)?;
    let old = InputArgs { reports: args.diff.iter().cloned().collect(), format_in: args.input.format_in.clone(), ..InputArgs::default() };
    let old = if args.diff.is_some() { Some(side(args, &old)?) } else { None };
    if old.is_some() && incomparable(old.iter().chain([&new]).map(|side| &side.session), args.output.quiet) {
        return Ok(Exit::Unusable);
    }
    let lines = old.as_ref().map_or_else(|| new.folded.lines(), |old| new.folded.differences(&old.folded));
    let written = output::write(&args.output, |out| write(args, &new, old.as_ref(), &lines, out));
    let failed = old.into_iter().chain([new]).fold(false, |failed, side| side.session.complain(args.output.quiet) | failed);
    written?;
    Ok(Exit::of(failed, false))
}

fn side(args: &Args, input: &InputArgs) -> anyhow::Result<Side> {
    let by_text = args.frames.is_none() && args.symbols.is_empty() && !args.filters.any(&args.symbols);
    let input =
        &InputArgs { reports: input.reports.clone(), format_in: input.format_in.clone(), leave_profiles: by_text, ..InputArgs::default() };
    let session = Session::open(input, &args.symbols, &args.filters, &args.titles, true)?;
    let weight = args.weight.of(session.inputs.reports.iter().map(|input| &input.capture))?;
    let reports = session.reports();
    let folded = profiles::fold(&reports, args, by_text, weight);
    drop(reports);
    let note = note(&folded, &args.only, weight);
    let mut side = Side { session, folded };
    let sources = side.sources();
    side.session.notes.extend(note.map(|text| Note::warning(sources, text)));
    Ok(side)
}

/// What a user would otherwise wonder about.
fn note(folded: &Folded, only: &[String], weight: Weight) -> Option<String> {
    match (folded.stacks.is_empty(), folded.without_frames) {
        (true, _) if !only.is_empty() => Some(format!("no stack runs through {}", only.join(" or "))),
        (true, _) => Some("there is no stack to draw".to_string()),
        (false, 0) => None,
        (false, bytes) if weight == Weight::Bytes => Some(format!("{} of stacks without kernel frames are not in the graph", size(bytes))),
        (false, count) => Some(format!("{count} threads without kernel frames are not in the graph")),
    }
}

#[cfg(feature = "flamegraph")]
fn write(args: &Args, new: &Side, old: Option<&Side>, lines: &[String], out: &mut dyn Write) -> io::Result<()> {
    use crate::render::svg::{self, Graph};
    let to_svg = args.output.output.as_deref().is_some_and(|path| path.extension().is_some_and(|end| end == "svg"));
    if args.format.as_deref().map_or(!to_svg, |format| format == "folded") {
        return folded::write(lines, out);
    }
    let only = if args.only.is_empty() { String::new() } else { format!(" through {}", args.only.join(" or ")) };
    let title = args.title.clone().unwrap_or_else(|| format!("Kernel stacks{only}"));
    let subtitle = old.map_or(new.sources(), |old| format!("{}, against {}: red grew, blue shrank", new.sources(), old.sources()));
    svg::write(&Graph { lines, modules: &new.folded.modules, title: &title, subtitle: &subtitle }, out)
}

#[cfg(not(feature = "flamegraph"))]
fn write(_: &Args, _: &Side, _: Option<&Side>, lines: &[String], out: &mut dyn Write) -> io::Result<()> {
    folded::write(lines, out)
}
