//! `kstack diff`.

use std::path::PathBuf;

use super::exit::Exit;
use super::filters::FilterArgs;
use super::options::{InputArgs, OutputArgs, SymbolArgs, TitleArgs, Usage};
use super::session::{Session, incomparable};
use super::{output, zones};
use crate::group::naming::Naming;
use crate::group::plumbing::Plumbing;
use crate::group::{By, Groups, diff};
use crate::render::{self, Report};

#[derive(clap::Args, Debug)]
pub struct Args {
    /// The earlier capture: a file, or a directory
    old: PathBuf,
    /// The later capture of the same machine; without it, the first and the last sample in OLD are compared (`kstack capture --samples 2`)
    new: Option<PathBuf>,
    /// Read both as this format instead of detecting it (see `kstack formats`)
    #[arg(long, value_name = "NAME", value_parser = clap::builder::PossibleValuesParser::new(super::options::format_ids()))]
    format_in: Option<String>,
    #[command(flatten)]
    symbols: SymbolArgs,
    #[command(flatten)]
    filters: FilterArgs,
    #[command(flatten)]
    titles: TitleArgs,
    #[command(flatten)]
    output: OutputArgs,
    /// Form of the output
    #[arg(long, value_name = "NAME", default_value = "text", value_parser = ["text", "json"])]
    format: String,
    /// Name every thread, not the first few of each place
    #[arg(long)]
    all_members: bool,
}

pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let open = |path: &PathBuf| {
        let input = InputArgs { reports: vec![path.clone()], format_in: args.format_in.clone(), ..InputArgs::default() };
        Session::open(&input, &args.symbols, &args.filters, &args.titles, true)
    };
    let sessions: Vec<Session> = std::iter::once(&args.old).chain(&args.new).map(open).collect::<anyhow::Result<_>>()?;
    if incomparable(sessions.iter(), args.output.quiet) {
        return Ok(Exit::Unusable);
    }
    let (old, new) = match &sessions[..] {
        [old, new] => (old.reports(), new.reports()),
        [both, ..] => samples(both, args)?,
        [] => (Vec::new(), Vec::new()),
    };
    let reports = [&old[..], &new[..]].concat();
    let groups = Groups::of(&reports, Naming::of(&reports, &Plumbing::default()), By::Functions);
    let diff = diff::diff(&groups, old.len());
    let growth = zones::growth(&old, &new);
    let columns = output::columns(&args.output);
    let written = output::write(&args.output, |out| match args.format.as_str() {
        "json" => render::diff::json(&groups, &diff, &growth, out),
        _ if zones::alone(&reports) => render::zones::growth_text(&growth, columns, out),
        _ => {
            render::diff::text(&groups, &diff, args.all_members, columns, out)?;
            if growth.is_empty() { Ok(()) } else { writeln!(out).and_then(|()| render::zones::growth_text(&growth, columns, out)) }
        }
    });
    let failed: Vec<bool> = sessions.iter().map(|session| session.complain(args.output.quiet)).collect();
    written?;
    Ok(Exit::of(failed.contains(&true), false))
}

/// The first and the last sample of one capture.
fn samples<'s>(session: &'s Session, args: &Args) -> anyhow::Result<(Vec<Report<'s>>, Vec<Report<'s>>)> {
    let numbers = || session.inputs.reports.iter().filter_map(|input| input.sample);
    let (Some(first), Some(last)) = (numbers().min(), numbers().max()) else { return Err(alone(args)) };
    if first == last {
        return Err(alone(args));
    }
    let of = |number: u32| {
        let reports = session.reports().into_iter().zip(&session.inputs.reports);
        reports.filter(|(_, input)| input.sample == Some(number)).map(|(report, _)| report).collect()
    };
    Ok((of(first), of(last)))
}

fn alone(args: &Args) -> anyhow::Error {
    let text = format!("{} does not hold two samples, and no second capture is given", args.old.display());
    Usage(format!("{text}; name one, or capture with `kstack capture --samples 2`")).into()
}
