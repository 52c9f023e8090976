//! `kstack symbolicate`.

use super::exit::Exit;
use super::inputs::Inputs;
use super::options::{InputArgs, OutputArgs, SymbolArgs, TitleArgs};
use super::output;
use super::term::{self, Progress};
use crate::note::Note;
use crate::render::frames::IDIOMS;
use crate::render::summary::Summary;
use crate::render::{self, OUTPUTS, Report};
use crate::resolve::{self, ResolveOptions, Resolved};
use crate::title::{self, Crash};

#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    input: InputArgs,
    #[command(flatten)]
    symbols: SymbolArgs,
    #[command(flatten)]
    titles: TitleArgs,
    #[command(flatten)]
    output: OutputArgs,
    /// Form of the output
    #[arg(long, value_name = "NAME", default_value = OUTPUTS[0].id(), value_parser = clap::builder::PossibleValuesParser::new(OUTPUTS.iter().map(|output| output.id())))]
    format: String,
    /// Idiom of the frames in text; by default that of the report's system
    #[arg(long, value_name = "IDIOM", value_parser = clap::builder::PossibleValuesParser::new(IDIOMS.iter().map(|(name, _)| *name)))]
    frames: Option<String>,
    /// Leave C++ and Rust names as they are in the symbol file
    #[arg(long)]
    no_demangle: bool,
    /// Exit with status 3 when a kernel frame stayed unresolved or unverified
    #[arg(long)]
    strict: bool,
}

pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let skip = args.titles.skip_list()?;
    let mut inputs = Inputs::open(&args.input, &args.symbols, true)?;
    let progress = Progress::new("resolving");
    let layouts = inputs.place(&args.symbols);
    let options = ResolveOptions { demangle: !args.no_demangle };
    let answered = inputs.reports.iter().zip(&layouts);
    let resolved: Vec<Resolved> =
        answered.map(|(input, layout)| resolve::resolve(&input.capture, &input.source.data, layout, options)).collect();
    drop(progress);
    let mut notes = std::mem::take(&mut inputs.notes);
    notes.extend(layouts.iter().flat_map(|layout| layout.notes.iter().cloned()));
    let programs = layouts.iter().flat_map(|layout| &layout.images).filter_map(|image| image.program.as_ref());
    notes.extend(programs.filter_map(|program| program.damage()));
    let mut reports: Vec<Report<'_>> = inputs
        .reports
        .iter()
        .zip(layouts.iter().zip(&resolved))
        .map(|(input, (layout, resolved))| Report {
            source: &input.source.name,
            text: &input.source.data,
            capture: &input.capture,
            layout,
            resolved,
            crash: None,
        })
        .collect();
    let crashes: Vec<Option<Crash>> = reports.iter().map(|report| title::of(report, &skip)).collect();
    for (report, crash) in reports.iter_mut().zip(&crashes) {
        report.crash = crash.as_ref();
    }
    write(args, &reports, &notes)?;
    let failed = term::report(&notes, args.output.quiet);
    let proven = summarize(args, &reports);
    drop(reports);
    // The process ends here; giving a million small pieces back one by one would only take time.
    std::mem::forget((inputs, layouts, resolved));
    Ok(Exit::of(failed, args.strict && !proven))
}

fn write(args: &Args, reports: &[Report<'_>], notes: &[Note]) -> anyhow::Result<()> {
    let format = render::by_id(&args.format).unwrap_or(OUTPUTS[0]);
    let idiom = args.frames.as_deref().and_then(|name| IDIOMS.iter().find(|(id, _)| *id == name)).map(|(_, idiom)| *idiom);
    let style = output::style(&args.output, idiom);
    output::write(&args.output, |out| format.write(reports, notes, style, out))
}

/// Says how many frames were resolved; gives back whether all of them are proven.
fn summarize(args: &Args, reports: &[Report<'_>]) -> bool {
    let mut proven = true;
    for report in reports.iter().filter(|report| !report.capture.stacks.is_empty()) {
        let summary = Summary::of(report);
        proven &= summary.is_proven();
        if !args.output.quiet {
            let source = if reports.len() > 1 { format!("{}: ", report.source) } else { String::new() };
            if let Some(crash) = report.crash {
                term::complain(&format!("{source}{}", title::sentence(crash)));
            }
            term::complain(&format!("{source}{}", summary.text()));
        }
    }
    proven
}
