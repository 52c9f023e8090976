//! `kstack completions` and `kstack man`: from the same definition as the parser.

use std::io::{self, Write};
use std::path::Path;

use anyhow::Context;

use super::exit::Exit;
use super::output;

pub fn completions(shell: clap_complete::Shell) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut super::command(), "kstack", &mut script);
    io::stdout().lock().write_all(&script)?;
    Ok(Exit::Done)
}

pub fn man(dir: Option<&Path>) -> anyhow::Result<Exit> {
    let command = super::command().disable_help_subcommand(true);
    match dir {
        Some(dir) => {
            std::fs::create_dir_all(dir).with_context(|| format!("{}: cannot be created", dir.display()))?;
            clap_mangen::generate_to(command, dir).with_context(|| format!("{}: cannot be written", dir.display()))?;
        }
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(command).render(&mut page)?;
            io::stdout().lock().write_all(&page).context(output::TO_STDOUT)?;
        }
    }
    Ok(Exit::Done)
}
