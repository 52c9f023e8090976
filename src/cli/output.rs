//! Where results go: standard output, or a file that appears whole or not at all.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::options::OutputArgs;
use super::term;
use crate::render::Style;
use crate::render::frames::Idiom;

/// Calls `write` with the place that the options name. What is to be said about the inputs is said before its error is handed on: a full
/// disk makes no missing file good. A reader that goes away (`| head`) has seen what it wanted: then this counts as
/// written, so that what is said about inputs and the exit status come as without it.
///
/// # Errors
/// When the file cannot be made or written; then no file is left, and an old one of that name is as it was.
pub fn write(args: &OutputArgs, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> anyhow::Result<()> {
    let written = match &args.output {
        Some(path) if path != Path::new("-") => to_file(path, write).with_context(|| cannot_write(path)),
        _ => to_stdout(write).context(TO_STDOUT),
    };
    written.or_else(|error| if is_closed_pipe(&error) { Ok(()) } else { Err(error) })
}

/// As [`write`] for what must arrive whole and is not for everybody: a file that its owner alone can read, or `-`.
///
/// # Errors
/// As for [`write`], and when a reader goes away.
pub fn write_private(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> anyhow::Result<()> {
    match path == Path::new("-") {
        true => to_stdout(write).context(TO_STDOUT),
        false => to_file_for(path, true, write).with_context(|| cannot_write(path)),
    }
}

/// What is said where standard output takes nothing.
pub const TO_STDOUT: &str = "standard output: cannot be written";

fn cannot_write(path: &Path) -> String {
    format!("{}: cannot be written", path.display())
}

fn to_stdout(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    write(&mut out)?;
    out.flush()
}

/// Whether somebody stopped reading.
pub fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let io = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        let json = cause.downcast_ref::<serde_json::Error>().and_then(serde_json::Error::io_error_kind);
        io.or(json) == Some(io::ErrorKind::BrokenPipe)
    })
}

/// The style for the place that the options name.
pub fn style(args: &OutputArgs, frames: Option<Idiom>) -> Style {
    let file = args.output.as_deref().is_some_and(|path| path != Path::new("-"));
    Style { frames, colour: term::colour(&args.color, file), terminal: !file && io::stdout().is_terminal(), ..Style::default() }
}

/// The columns that a table may have, where the output goes to a terminal.
pub fn columns(args: &OutputArgs) -> Option<u16> {
    style(args, None).terminal.then(|| term::width().unwrap_or(100))
}

/// Calls `write` with a new file, which takes the place of an old one once it is whole, and its permissions.
///
/// # Errors
/// When it cannot be made or written; then an old one is as it was.
pub fn to_file(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    to_file_for(path, false, write)
}

/// As [`to_file`]; a `private` file can be read by its owner alone, whatever an old one allowed.
fn to_file_for(path: &Path, private: bool, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
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
        let mut out = BufWriter::new(create(&part, path, private)?);
        write(&mut out)?;
        out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        std::fs::rename(&part, path)
    })();
    if result.is_err() {
        let _ = std::fs::remove_file(&part);
    }
    result
}

/// Makes `part`, which shall take the place of `path`. From its first byte on it can be read by nobody who may not read it in the end.
#[cfg(unix)]
fn create(part: &Path, path: &Path, private: bool) -> io::Result<File> {
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
    const OWNER_ALONE: u32 = 0o600;
    let old = std::fs::metadata(path).ok().filter(|about| about.is_file() && !private).map(|about| about.permissions());
    let mode = if private || old.is_some() { OWNER_ALONE } else { 0o666 };
    let file = File::options().write(true).create_new(true).mode(mode).open(part)?;
    // Without the bits that would let a program run as somebody else.
    old.map_or(Ok(()), |old| file.set_permissions(PermissionsExt::from_mode(old.mode() & 0o777)))?;
    Ok(file)
}

#[cfg(not(unix))]
fn create(part: &Path, _: &Path, _: bool) -> io::Result<File> {
    File::create_new(part)
}

/// A name beside `path`, so that the rename stays on one file system.
fn part_name(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".part-{}", std::process::id()));
    path.with_file_name(name)
}
