//! Where results go: standard output, or a file that appears whole or not at all.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::options::OutputArgs;
use super::term;
use crate::render::Style;
use crate::render::frames::Idiom;

/// Calls `write` with the place that the options name.
///
/// # Errors
/// When the file cannot be made or written; then no file is left, and an old one of that name is as it was.
pub fn write(args: &OutputArgs, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> anyhow::Result<()> {
    match &args.output {
        Some(path) if path != Path::new("-") => to_file(path, write).with_context(|| format!("{}: cannot be written", path.display())),
        _ => {
            let mut out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
            write(&mut out)?;
            Ok(out.flush()?)
        }
    }
}

/// The style for the place that the options name.
pub fn style(args: &OutputArgs, frames: Option<Idiom>) -> Style {
    let file = args.output.as_deref().is_some_and(|path| path != Path::new("-"));
    Style { frames, excerpt: false, explain: false, colour: term::colour(&args.color, file), terminal: !file && io::stdout().is_terminal() }
}

fn to_file(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    // A device or pipe is written to as it is: with a file in the place of `/dev/null` the machine would be broken for everybody.
    if std::fs::metadata(path).is_ok_and(|about| !about.is_file() && !about.is_dir()) {
        let mut out = BufWriter::new(File::options().write(true).open(path)?);
        write(&mut out)?;
        return out.flush();
    }
    // A link stays one: `/dev/stdout` is.
    let path = &std::fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let part = part_name(path);
    let result = (|| {
        let mut out = BufWriter::new(File::create_new(&part)?);
        write(&mut out)?;
        out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        std::fs::rename(&part, path)
    })();
    if result.is_err() {
        let _ = std::fs::remove_file(&part);
    }
    result
}

/// A name beside `path`, so that the rename stays on one file system.
fn part_name(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".part-{}", std::process::id()));
    path.with_file_name(name)
}
