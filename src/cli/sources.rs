//! Options about source files, shared by the commands that show frames.

use std::path::{Path, PathBuf};

use super::options::Usage;
use super::term;
use crate::render::Style;
use crate::source::{SourceMap, Sources};

/// What is shown of source files.
#[derive(clap::Args, Debug)]
pub struct SourceArgs {
    /// Show the source of each location, N lines above and below it, where the file is found
    ///
    /// It is looked for where --source-map says, under the path that the symbol file gives, and in the git checkout around the current directory.
    #[arg(long, value_name = "N", num_args = 0..=1, require_equals = true, default_missing_value = "2")]
    source: Option<u32>,
    /// Where sources lie: TO instead of FROM at the beginning of a path; without FROM, a checkout to look in
    #[arg(long = "source-map", value_name = "[FROM=]TO")]
    source_maps: Vec<String>,
    /// Make locations links to their source files, for terminals that know OSC 8
    #[arg(long, value_name = "WHEN", default_value = "auto", value_parser = ["auto", "always", "never"])]
    links: String,
}

impl SourceArgs {
    /// Adds the wish for links to `style`.
    pub fn style(&self, style: Style) -> Style {
        let links = match self.links.as_str() {
            "always" => true,
            "never" => false,
            _ => style.terminal && term::knows_links(),
        };
        Style { links, ..style }
    }

    /// Which beginning of a path is which directory here.
    pub fn maps(&self) -> Vec<(String, PathBuf)> {
        let pairs = self.source_maps.iter().filter_map(|spec| spec.split_once('='));
        pairs.map(|(from, to)| (from.to_string(), to.into())).collect()
    }

    /// What finds the sources, when `style` or the options wish for them.
    ///
    /// # Errors
    /// When a map leads nowhere.
    pub fn open(&self, style: Style) -> anyhow::Result<Option<Sources>> {
        let (mut maps, mut checkouts) = (Vec::new(), Vec::new());
        for spec in &self.source_maps {
            let (from, to) = spec.split_once('=').map_or((None, spec.as_str()), |(from, to)| (Some(from), to));
            if !Path::new(to).is_dir() {
                return Err(
                    Usage(format!("--source-map {spec}: {to} is no directory; FROM=TO wants the directory that FROM became here")).into()
                );
            }
            match from {
                Some(from) => maps.push(SourceMap { from: from.to_string(), to: to.into() }),
                None => checkouts.push(to.into()),
            }
        }
        if self.source.is_none() && !style.links {
            return Ok(None);
        }
        checkouts.extend(std::env::current_dir().ok().and_then(|here| checkout(&here)));
        Ok(Some(Sources::new(self.source, maps, checkouts)))
    }
}

/// The git checkout that `here` lies in.
fn checkout(here: &Path) -> Option<PathBuf> {
    here.ancestors().find(|dir| dir.join(".git").exists()).map(Path::to_path_buf)
}
