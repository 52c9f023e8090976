//! Stacks one after the other, for reports whose own text is not for people.

use std::io::{self, Write};

use super::frames::{self, Idiom, Paint, Rewritten};
use super::sanitize::{painted, visible_line};
use super::{Report, Style};
use crate::model::capture::Os;
use crate::model::stack::Stack;
use crate::parse::kstack_json::ID as JSON;
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
            writeln!(out, "    {}{}", if raw.reliable { "" } else { "? " }, painted(&written.line, style))?;
            written.below.iter().try_for_each(|below| writeln!(out, "    {}", painted(below, style)))?;
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
        frames::rewrite(frame.address, answer, image, idiom(report, style), Paint::of(style))
    } else {
        None
    };
    match written {
        Some(written) if written.line.is_empty() => Rewritten { line: printed() + written.place.as_deref().unwrap_or_default(), ..written },
        Some(written) => written,
        None if report.capture.format == JSON => own(report, stack, n),
        None => Rewritten { line: printed(), ..Rewritten::default() },
    }
}

/// A frame of kstack's JSON in the words of its system, with the places that it tells.
fn own(report: &Report<'_>, stack: usize, n: usize) -> Rewritten {
    let named = report.named(stack, n);
    let address = report.capture.stacks[stack].frames[n].address.map(|address| address.to_string());
    let symbol = named.symbol.as_deref().or(address.as_deref()).unwrap_or("?");
    let mut line = symbol.to_string();
    if is_linux(report) {
        line.extend(named.offset.map(|offset| format!("+{offset:#x}")));
        line.extend(named.size.map(|size| format!("/{size:#x}")));
        line.extend(named.module.map(|module| format!(" [{module}]")));
    } else {
        line.extend(named.module.map(|module| format!(" (in {module})")));
        line.extend(named.offset.map(|offset| format!(" + {offset}")));
        line.extend(address.as_deref().map(|address| format!(" ({address})")));
    }
    let locations = &report.resolved.answer(stack, n).locations;
    let (inlined, owner): (Vec<_>, Vec<_>) = locations.iter().partition(|location| location.inlined);
    line.extend(owner.first().and_then(|location| frames::place(location)).map(|place| format!(" {place}")));
    let inline = |location: &&crate::model::frame::Location| {
        Some(format!(" {} {} [inline]", location.function.as_deref().unwrap_or("?"), frames::place(location)?))
    };
    Rewritten { line, place: None, below: inlined.iter().filter_map(inline).collect() }
}
