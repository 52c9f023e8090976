//! `kstack diff`.

use std::path::PathBuf;

use super::exit::Exit;
use super::filters::FilterArgs;
use super::options::{InputArgs, OutputArgs, SymbolArgs, TitleArgs};
use super::output;
use super::session::Session;
use crate::group::naming::Naming;
use crate::group::plumbing::Plumbing;
use crate::group::{By, Groups, diff};
use crate::render;

#[derive(clap::Args, Debug)]
pub struct Args {
    /// The earlier capture: a file, or a directory
    old: PathBuf,
    /// The later capture of the same machine
    new: PathBuf,
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
        let input = InputArgs { reports: vec![path.clone()], format_in: args.format_in.clone(), leave_profiles: false };
        Session::open(&input, &args.symbols, &args.filters, &args.titles, true)
    };
    let (old, new) = (open(&args.old)?, open(&args.new)?);
    let reports = [old.reports(), new.reports()].concat();
    let groups = Groups::of(&reports, Naming::of(&reports, &Plumbing::default()), By::Functions);
    let diff = diff::diff(&groups, old.reports().len());
    output::write(&args.output, |out| match args.format.as_str() {
        "json" => render::diff::json(&groups, &diff, out),
        _ => render::diff::text(&groups, &diff, args.all_members, out),
    })?;
    let failed = [old.complain(args.output.quiet), new.complain(args.output.quiet)];
    Ok(Exit::of(failed.contains(&true), false))
}
