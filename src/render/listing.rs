//! Stacks one after the other, for reports whose own text is not for people.

use std::io::{self, Write};

use super::frames::{self, Idiom, Paint, Rewritten};
use super::sanitize::{painted, visible_line};
use super::{Report, Style, zones};
use crate::model::capture::Os;
use crate::model::stack::{Stack, StackKind};
use crate::parse::kstack_json::ID as JSON;
use crate::place::Image;

/// Writes every stack: a line that says whose it is, and its frames; and below them zones, where the report has some.
///
/// # Errors
/// When writing fails.
pub fn write(report: &Report<'_>, style: Style, out: &mut dyn Write) -> io::Result<()> {
    (0..report.capture.stacks.len()).try_for_each(|at| {
        lines(report, at, style, |_, line| writeln!(out, "{line}"))?;
        writeln!(out)
    })?;
    if report.capture.zones.is_empty() { Ok(()) } else { zones::titled(report, None, out) }
}

/// The lines of stack `at`, each with the number of its frame: none for the lines of the heading.
///
/// # Errors
/// Those of `each`.
pub fn lines<E>(report: &Report<'_>, at: usize, style: Style, mut each: impl FnMut(Option<usize>, &str) -> Result<(), E>) -> Result<(), E> {
    let stack = &report.capture.stacks[at];
    each(None, &visible_line(&heading(stack)))?;
    if let Some(wait) = waiting(stack) {
        each(None, &format!("    {}", visible_line(&wait)))?;
    }
    for (n, raw) in stack.frames.iter().enumerate().filter(|(_, raw)| !raw.is_end()) {
        let written = frame(report, at, n, style);
        each(Some(n), &format!("    {}{}", if raw.reliable { "" } else { "? " }, painted(&written.line, style)))?;
        written.below.iter().try_for_each(|below| each(Some(n), &format!("    {}", painted(below, style))))?;
    }
    Ok(())
}

/// What the report says that the stack's thread waits for: `waits for krwlock 0x5e for reading owned by thread 798645 (java)`.
fn waiting(stack: &Stack) -> Option<String> {
    let wait = stack.annotations.as_ref()?.waits_for.as_ref()?;
    let told = || wait.lock.address.map_or_else(|| wait.what.clone(), |address| format!("{} at {address}", wait.what));
    let mut text = format!("waits for {}", wait.words.clone().unwrap_or_else(told));
    let Some(owner) = &wait.owner else { return Some(text) };
    match (&owner.tid, owner.pid) {
        _ if wait.words.is_some() => {}
        (Some(tid), _) => text.push_str(&format!(", held by thread {tid}")),
        (None, Some(pid)) => text.push_str(&format!(", held by {pid}")),
        (None, None) => {}
    }
    if !owner.process.is_empty() {
        text.push_str(&format!(" ({})", owner.process));
    }
    Some(text)
}

/// Whose a stack is, as far as known: `thread dd pid 274 [D]`, `kernel_task pid 0 thread 109 [TH_WAIT]`.
pub fn heading(stack: &Stack) -> String {
    let named = stack.title.is_none() && stack.kind == StackKind::Thread && stack.tid.is_some();
    let kind = stack.title.as_deref().unwrap_or_else(|| stack.kind.name());
    let first = stack.process.as_deref().filter(|_| named);
    let mut text = first.unwrap_or(kind).to_string();
    text.extend(stack.process.iter().filter(|_| first.is_none()).map(|name| format!(" {name}")));
    text.extend(stack.pid.map(|pid| format!(" pid {pid}")));
    text.extend(stack.tid.iter().map(|tid| format!(" thread {tid}")));
    text.extend(stack.thread.iter().map(|name| format!(" \"{name}\"")));
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

/// Whether frames are written as Linux writes them: the report is of a system with ELF files, or of none and its symbols are.
pub fn is_linux(report: &Report<'_>) -> bool {
    let by_symbols = || report.layout.images.iter().any(Image::is_linux);
    report.capture.os.map_or_else(by_symbols, |os| os != Os::Darwin)
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
        None if report.capture.format == JSON || frame.text.is_empty() => own(report, stack, n),
        None => Rewritten { line: printed(), ..Rewritten::default() },
    }
}

/// A frame whose report has no words of its own for it (numbers in JSON, kcdata) in the words of its system, with the places that it tells.
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
        line.extend(address.as_deref().filter(|address| *address != symbol).map(|address| format!(" ({address})")));
    }
    let locations = &report.resolved.answer(stack, n).locations;
    let (inlined, owner): (Vec<_>, Vec<_>) = locations.iter().partition(|location| location.inlined);
    line.extend(owner.first().and_then(|location| frames::place(location)).map(|place| format!(" {place}")));
    let inline = |location: &&crate::model::frame::Location| {
        Some(format!(" {} {} [inline]", location.function.as_deref().unwrap_or("?"), frames::place(location)?))
    };
    Rewritten { line, place: None, below: inlined.iter().filter_map(inline).collect() }
}
