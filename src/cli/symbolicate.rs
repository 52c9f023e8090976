//! `kstack symbolicate`.

use super::exit::Exit;
use super::filters::FilterArgs;
use super::options::{InputArgs, OutputArgs, SymbolArgs, TitleArgs};
use super::session::Session;
use super::sources::SourceArgs;
use super::{output, term};
use crate::render::frames::IDIOMS;
use crate::render::summary::Summary;
use crate::render::{self, OUTPUTS, Report, Style};
use crate::title;

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
    sources: SourceArgs,
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
    /// Disassemble the `Code:` lines of an oops, as scripts/decodecode does: below each line in text, with the stack in JSON
    #[arg(long)]
    code: bool,
    /// Put nothing below lines with registers and codes (trap numbers, error codes, ESR), which are explained in words otherwise
    #[arg(long)]
    no_explain: bool,
    /// Exit with status 3 when a kernel frame stayed unresolved or unverified
    #[arg(long)]
    strict: bool,
}

pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let mut session = Session::open(&args.input, &args.symbols.mapped(&args.sources), &args.filters, &args.titles, !args.no_demangle)?;
    let idiom = args.frames.as_deref().and_then(|name| IDIOMS.iter().find(|(id, _)| *id == name)).map(|(_, idiom)| *idiom);
    let style = args.sources.style(Style { excerpt: session.filtered, explain: !args.no_explain, ..output::style(&args.output, idiom) });
    session.show_sources(&args.sources, style)?;
    if args.code {
        session.disassemble();
    }
    let reports = session.reports();
    let format = render::by_id(&args.format).unwrap_or(OUTPUTS[0]);
    let written = output::write(&args.output, |out| format.write(&reports, &session.notes, style, out));
    let failed = session.complain(args.output.quiet);
    let proven = summarize(args, &reports);
    written?;
    Ok(Exit::of(failed, args.strict && !proven))
}

/// Says how many frames were resolved; gives back whether all of them are proven.
fn summarize(args: &Args, reports: &[Report<'_>]) -> bool {
    let mut proven = true;
    for report in reports {
        let summary = Summary::of(report);
        proven &= summary.is_proven();
        if args.output.quiet {
            continue;
        }
        let source = if reports.len() > 1 { format!("{}: ", report.source) } else { String::new() };
        // A machine check or a panic in words has a title and no stack.
        if let Some(crash) = report.crash {
            term::complain(&format!("{source}{}", title::sentence(crash)));
        }
        if !report.capture.stacks.is_empty() {
            term::complain(&format!("{source}{}", summary.text()));
        }
    }
    proven
}
