//! Stacks one after the other, for reports whose own text is not for people.

use std::io::{self, Write};

use super::frames::{self, Idiom, Paint, Rewritten};
use super::sanitize::visible_line;
use super::{Report, Style};
use crate::model::capture::Os;
use crate::model::stack::Stack;
use crate::place::Image;

/// Writes every stack: a line that says whose it is, and its frames.
///
/// # Errors
/// When writing fails.
pub fn write(report: &Report<'_>, style: Style, out: &mut dyn Write) -> io::Result<()> {
    for (at, stack) in report.capture.stacks.iter().enumerate() {
        writeln!(out, "{}", visible_line(&heading(stack)))?;
        for (n, raw) in stack.frames.iter().enumerate() {
            let written = frame(report, at, n, style);
            writeln!(out, "    {}{}", if raw.reliable { "" } else { "? " }, written.line)?;
            written.below.iter().try_for_each(|below| writeln!(out, "    {below}"))?;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// Whose a stack is, as far as known: `thread dd pid 274 [D]`.
pub fn heading(stack: &Stack) -> String {
    let mut text = stack.title.clone().unwrap_or_else(|| stack.kind.name().to_string());
    text.extend(stack.process.iter().map(|name| format!(" {name}")));
    text.extend(stack.pid.map(|pid| format!(" pid {pid}")));
    text.extend(stack.tid.iter().map(|tid| format!(" thread {tid}")));
    text.extend(stack.cpu.map(|cpu| format!(" cpu {cpu}")));
    text.extend(stack.state.iter().map(|state| format!(" [{state}]")));
    text.extend(stack.wait_channel.iter().map(|channel| format!(" waiting on {channel}")));
    if stack.count > 1 {
        text.push_str(&format!(" ×{}", stack.count));
    }
    text
}

/// The idiom of a report's system, unless another is wished for.
pub fn idiom(report: &Report<'_>, style: Style) -> Idiom {
    style.frames.unwrap_or(if is_linux(report) { Idiom::Linux } else { Idiom::Atos })
}

/// Whether the report is of Linux, or of no system and its symbols are.
pub fn is_linux(report: &Report<'_>) -> bool {
    let by_symbols = || report.layout.images.iter().any(Image::is_linux);
    report.capture.os.map_or_else(by_symbols, |os| os == Os::Linux)
}

/// Frame `n` of stack `stack` as one line and lines below it.
pub fn frame(report: &Report<'_>, stack: usize, n: usize, style: Style) -> Rewritten {
    let frame = &report.capture.stacks[stack].frames[n];
    let answer = report.resolved.answer(stack, n);
    let image = answer.image.map(|image| &report.layout.images[image]);
    let printed = || String::from_utf8_lossy(frame.text.of(report.text, frame.line_start)).trim().to_string();
    // A name without an image is the report's own, or an earlier run's.
    let written = if image.is_some() && frames::improves(frame, answer) {
        frames::rewrite(frame.address, answer, image, idiom(report, style), Paint::new(style.colour))
    } else {
        None
    };
    match written {
        Some(written) if written.line.is_empty() => Rewritten { line: printed() + written.place.as_deref().unwrap_or_default(), ..written },
        Some(written) => written,
        None => own(report, stack, n).unwrap_or_else(|| Rewritten { line: printed(), ..Rewritten::default() }),
    }
}

/// A frame in the words of the report, without what it prints around them: `zio_wait+0x12/0x2f0 [zfs] zio.c:12`.
fn own(report: &Report<'_>, stack: usize, n: usize) -> Option<Rewritten> {
    let named = report.named(stack, n);
    let mut line = named.symbol?.into_owned();
    line.extend(named.offset.map(|offset| format!("+{offset:#x}")));
    line.extend(named.size.map(|size| format!("/{size:#x}")));
    line.extend(named.module.map(|module| format!(" [{module}]")));
    let place = report.printed_location(&report.capture.stacks[stack].frames[n]);
    line.extend(place.map(|(file, at)| at.map_or(format!(" {file}"), |at| format!(" {file}:{at}"))));
    let locations = &report.resolved.answer(stack, n).locations;
    let (inlined, owner): (Vec<_>, Vec<_>) = locations.iter().partition(|location| location.inlined);
    line.extend(owner.first().and_then(|location| frames::place(location)).map(|place| format!(" {place}")));
    let inline = |location: &&crate::model::frame::Location| {
        Some(format!(" {} {} [inline]", location.function.as_deref().unwrap_or("?"), frames::place(location)?))
    };
    Some(Rewritten { line, place: None, below: inlined.iter().filter_map(inline).collect() })
}
