//! `kstack formats`.

use std::io::{self, Write};

use super::exit::Exit;
use crate::parse::{FORMATS, Holds};
use crate::render::OUTPUTS;
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
    writeln!(out, "Outputs (--format):")?;
    OUTPUTS.iter().try_for_each(|output| writeln!(out, "  {:width$}  {}", output.id(), output.about()))?;
    Ok(Exit::Done)
}
