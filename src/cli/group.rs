//! `kstack group`.

use std::path::{Path, PathBuf};

use super::exit::Exit;
use super::filters::FilterArgs;
use super::options::{InputArgs, OutputArgs, SampleArgs, SymbolArgs, TitleArgs, Usage, WeightArgs};
use super::session::Session;
use super::sources::SourceArgs;
use super::{output, term, zones};
use crate::group::naming::Naming;
use crate::group::plumbing::{NameList, Plumbing};
use crate::group::{By, Groups};
use crate::render::groups::{self, GROUP_OUTPUTS, View};
use crate::triage;

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
    weight: WeightArgs,
    #[command(flatten)]
    samples: SampleArgs,
    #[command(flatten)]
    output: OutputArgs,
    /// What makes stacks the same: functions, stack (offsets too), module, top:N functions from the interesting one on, wchan, state, process
    #[arg(long, value_name = "KEY", default_value = "functions")]
    by: By,
    /// Form of the output
    #[arg(long, value_name = "NAME", default_value = GROUP_OUTPUTS[0].id(), value_parser = clap::builder::PossibleValuesParser::new(GROUP_OUTPUTS.iter().map(|output| output.id())))]
    format: String,
    /// List every member of a group, not the first few
    #[arg(long)]
    all_members: bool,
    /// Show the frames of waiting and the unreliable ones too
    #[arg(long)]
    all_frames: bool,
    /// Say what the report looks like (crash, lockup, deadlock, storage, userspace) and on which lines that rests
    #[arg(long)]
    triage: bool,
    /// Write who waits for whom as a graph for Graphviz, a deadlock in red, and nothing else
    #[arg(long, conflicts_with_all = ["triage", "format"])]
    dot: bool,
    /// Put groups that differ in one or two frames under one heading, the differing frames marked
    #[arg(long)]
    similar: bool,
    /// Functions that only stand for waiting, one a line, instead of the list that is built in
    #[arg(long, value_name = "FILE")]
    plumbing: Option<PathBuf>,
}

pub fn run(args: &Args) -> anyhow::Result<Exit> {
    for (wish, option, able) in
        [(args.triage, "--triage", &["text", "json", "markdown"][..]), (args.similar, "--similar", &["text", "json", "ndjson", "markdown"])]
    {
        if wish && !able.contains(&args.format.as_str()) {
            return Err(Usage(format!("{option} goes with --format {}, not with {}", able.join(" or "), args.format)).into());
        }
    }
    let plumbing = plumbing(args.plumbing.as_deref())?;
    let input = args.input.with_samples(args.samples.all_samples);
    let mut session = Session::open(&input, &args.symbols.mapped(&args.sources), &args.filters, &args.titles, true)?;
    let style = args.sources.style(output::style(&args.output, None));
    session.show_sources(&args.sources, style)?;
    let reports = session.reports();
    let weight = args.weight.of(reports.iter().map(|report| report.capture))?;
    let mut groups = Groups::of(&reports, Naming::of(&reports, &plumbing), args.by);
    groups.sort_by_weight(weight);
    let view = View {
        style,
        width: term::width().unwrap_or(100),
        triage: args.triage,
        similar: args.similar,
        all_members: args.all_members,
        all_frames: args.all_frames,
    };
    let columns = view.style.terminal.then_some(view.width);
    let format = groups::by_id(&args.format).unwrap_or(GROUP_OUTPUTS[0]);
    let written = output::write(&args.output, |out| match args.dot {
        true => triage::graphs(&groups).try_for_each(|graph| write!(out, "{}", graph.dot())),
        false if zones::alone(&reports) && args.format != "json" => zones::write(&reports, &args.format, columns, out),
        false => {
            format.write(&groups, &session.notes, view, out)?;
            // A debugger's session can show both.
            if zones::any(&reports) && args.format == "text" {
                writeln!(out).and_then(|()| zones::write(&reports, "text", columns, out))
            } else {
                Ok(())
            }
        }
    });
    std::mem::forget(groups);
    let failed = session.complain(args.output.quiet);
    written?;
    Ok(Exit::of(failed, false))
}

/// The functions that only stand for waiting.
///
/// # Errors
/// When the user's list cannot be read.
pub fn plumbing(path: Option<&Path>) -> anyhow::Result<Plumbing> {
    let Some(path) = path else { return Ok(Plumbing::default()) };
    let text = std::fs::read_to_string(path).map_err(|error| Usage(format!("--plumbing {}: {error}", path.display())))?;
    let list = NameList::parse(&text).map_err(|(line, why)| Usage(format!("{}:{line}: {why}", path.display())))?;
    Ok(Plumbing::new(list))
}
