//! `kstack report`.

use std::io::IsTerminal;
use std::path::PathBuf;

use super::exit::Exit;
use super::filters::FilterArgs;
use super::group::plumbing;
use super::options::{InputArgs, OutputArgs, SymbolArgs, TitleArgs, Usage};
use super::output;
use super::session::Session;
use crate::group::naming::Naming;
use crate::group::{By, Groups};
use crate::render::html;

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
    output: OutputArgs,
    /// What makes stacks the same: functions, stack (offsets too), module, top:N functions from the interesting one on, wchan, state, process
    #[arg(long, value_name = "KEY", default_value = "functions")]
    by: By,
    /// Functions that only stand for waiting, one a line, instead of the list that is built in
    #[arg(long, value_name = "FILE")]
    plumbing: Option<PathBuf>,
    /// Disassemble the `Code:` lines of an oops, each in the note at its line
    #[arg(long)]
    code: bool,
}

pub fn run(args: &Args) -> anyhow::Result<Exit> {
    if args.output.output.is_none() && std::io::stdout().is_terminal() {
        return Err(Usage("the page is for a browser, not for a terminal; give it a file with -o FILE.html".to_string()).into());
    }
    let plumbing = plumbing(args.plumbing.as_deref())?;
    let mut session = Session::open(&args.input, &args.symbols, &args.filters, &args.titles, true)?;
    if args.code {
        session.disassemble();
    }
    let reports = session.reports();
    let groups = Groups::of(&reports, Naming::of(&reports, &plumbing), args.by);
    let written = output::write(&args.output, |out| html::write(&groups, &session.notes, out));
    drop(groups);
    drop(reports);
    let failed = session.complain(args.output.quiet);
    written?;
    Ok(Exit::of(failed, false))
}
