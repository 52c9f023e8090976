//! `kstack formats`.

use std::io::{self, Write};

use super::exit::Exit;
use crate::parse::{FORMATS, Holds};
use crate::render::OUTPUTS;
use crate::render::groups::GROUP_OUTPUTS;
use crate::symbols::OPENERS;

pub fn run() -> anyhow::Result<Exit> {
    let mut out = io::stdout().lock();
    let width = FORMATS.iter().map(|format| format.id().len()).max().unwrap_or(0);
    for (heading, holds) in [("Reports", Holds::Stacks), ("Load maps", Holds::LoadMap)] {
        writeln!(out, "{heading} (detected from the content; forced with --format-in):")?;
        for format in FORMATS.iter().filter(|format| format.holds() == holds) {
            writeln!(out, "  {:width$}  {}", format.id(), format.about())?;
        }
    }
    writeln!(out, "Symbol files:")?;
    OPENERS.iter().try_for_each(|opener| writeln!(out, "  {}", opener.about()))?;
    writeln!(out, "Outputs of symbolicate (--format):")?;
    OUTPUTS.iter().try_for_each(|output| writeln!(out, "  {:width$}  {}", output.id(), output.about()))?;
    writeln!(out, "Outputs of group (--format):")?;
    GROUP_OUTPUTS.iter().try_for_each(|output| writeln!(out, "  {:width$}  {}", output.id(), output.about()))?;
    writeln!(out, "Outputs of other commands (--format):")?;
    let described = ["symbolicate", "group"];
    let others = outputs().into_iter().filter(|(command, _)| !described.contains(&command.as_str()));
    others.map(|(command, ids)| writeln!(out, "  {command:width$}  {}", ids.join(", "))).collect::<io::Result<()>>()?;
    Ok(Exit::Done)
}

/// Every command that takes `--format`, with what it takes.
fn outputs() -> Vec<(String, Vec<String>)> {
    let of = |command: &clap::Command| {
        let format = command.get_arguments().find(|argument| argument.get_id() == "format")?;
        let ids = format.get_possible_values().iter().map(|value| value.get_name().to_string()).collect();
        Some((command.get_name().to_string(), ids))
    };
    super::command().get_subcommands().filter_map(of).collect()
}
