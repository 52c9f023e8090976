//! The source lines that a Linux kernel prints when its code stops with BUG or WARN, held against the file's table of them.
//!
//! ```text
//! kernel BUG at mm/slub.c:305!                                      and then RIP: 0010:__slab_free+0x1c2/0x2d0
//! WARNING: CPU: 1 PID: 941 at fs/dcache.c:365 dentry_free+0x7a/0xa0     up to 6.17
//! WARNING: fs/dcache.c:365 at dentry_free+0x7a/0xa0, CPU#1: cat/941     since then
//! ```
//! Source: `report_bug` in lib/bug.c and `__warn` in kernel/panic.c, 6.1 to 6.18. A line that was added anywhere above in the same source file
//! makes another number, so that even builds whose functions are all the same are told apart.

use std::ops::RangeInclusive;

use super::code_bytes::{is_in, places};
use super::proof::{Evidence, EvidenceKind};
use super::{Image, Placer};
use crate::model::addr::Svma;
use crate::model::capture::Os;
use crate::model::stack::{RawFrame, Role};
use crate::parse::lex;

/// Places beyond these prove nothing more.
const MOST: usize = 1_000;
/// Lines beyond these are not read.
const MOST_SAID: usize = 10_000;
/// The part of a line that is read, in bytes.
const LONGEST: usize = 512;

/// A line of the report that names a place in the source.
struct Said<'t> {
    number: u32,
    file: &'t [u8],
    line: u32,
}

impl Said<'_> {
    fn is(&self, (file, line): &(String, u32)) -> bool {
        self.file == file.as_bytes() && self.line == *line
    }
}

/// A place where the report's kernel stopped.
struct Stopped<B> {
    /// Lines of the report from the beginning of the stack's text to the frame.
    lines: RangeInclusive<u32>,
    /// Where that may be in the file; then what the file prints there.
    built: Vec<B>,
}

impl Placer<'_> {
    /// Puts a file aside whose code stops with other source lines than the report says.
    pub(super) fn check_bug_lines(&mut self, image: &mut Image) {
        let (Some(program), Some(Os::Linux), false) = (image.program.clone(), self.capture.os, image.matched) else { return };
        let frames = self.capture.stacks.iter().filter_map(|stack| Some((stack.line, stack.frames.first()?)));
        let faults = frames.filter(|(_, frame)| frame.role == Role::Fault && is_in(image, frame, self.text)).take(MOST);
        let place =
            |(from, frame): (u32, &RawFrame)| Stopped { lines: from..=frame.line, built: places(image, &program, frame, self.text) };
        let faults: Vec<Stopped<Svma>> = faults.map(place).collect();
        let printed = program.bug_lines(&faults.iter().flat_map(|fault| &fault.built).copied().collect::<Vec<_>>());
        let built = |fault: Stopped<Svma>| Stopped {
            lines: fault.lines,
            built: fault.built.iter().filter_map(|place| printed.get(place).cloned()).collect(),
        };
        let stopped: Vec<Stopped<(String, u32)>> = faults.into_iter().map(built).filter(|fault| !fault.built.is_empty()).collect();
        if stopped.is_empty() {
            return;
        }
        let Some(evidence) = compared(&stopped, &said(self.text)) else { return };
        let (contradicts, text) = (evidence.contradicts, evidence.text.clone());
        image.evidence.push(evidence);
        if contradicts {
            self.refuse(image, format!("{text}: {} is another build", program.info().path.display()));
        }
    }
}

/// What the places say for or against the file; `None` where the report has no line for any of them.
fn compared(stopped: &[Stopped<(String, u32)>], said: &[Said<'_>]) -> Option<Evidence> {
    let (mut agree, mut wrong, mut first) = (0, 0, None);
    for Stopped { lines, built } in stopped {
        // A stack whose own line is lost is not judged by another's.
        let latest = said[..said.partition_point(|said| said.number <= *lines.end())].last();
        let Some(latest) = latest.filter(|said| lines.contains(&said.number)) else { continue };
        if built.iter().any(|built| said.iter().any(|said| said.is(built))) {
            agree += 1;
        } else if let Some((file, line)) = built.first().filter(|(file, _)| built.len() == 1 && file.as_bytes() == latest.file) {
            wrong += 1;
            first.get_or_insert_with(|| format!("; {}:{} in the report, {file}:{line} in the file", lex::text(latest.file), latest.line));
        }
    }
    let evidence = Evidence::counted(EvidenceKind::Lines, "source lines of BUG and WARN", agree, agree + wrong);
    let text = evidence.text.clone() + &first.unwrap_or_default();
    // As with sizes: one torn digit in a long report is no other build.
    (agree + wrong > 0).then_some(Evidence { contradicts: wrong * 10 > agree, text, ..evidence })
}

/// The lines of a report that name a source line, in its order.
fn said(text: &[u8]) -> Vec<Said<'_>> {
    let mut found: Vec<(usize, &[u8])> = Vec::new();
    for mark in [&b"ernel BUG at "[..], b"WARNING: "] {
        let rest = |at: usize| &text[at + mark.len()..text.len().min(at + LONGEST)];
        let place = |at: usize| Some((at, source(rest(at).split(|b| matches!(b, b'\n' | b'\r' | 0x1b)).next()?)?));
        found.extend(memchr::memmem::find_iter(text, mark).filter_map(place).take(MOST_SAID));
    }
    found.sort_unstable();
    // Counting lines from the last one on: a report can have many.
    let (mut number, mut counted) = (1, 0);
    let said = found.into_iter().filter_map(|(at, place)| {
        number += memchr::memchr_iter(b'\n', &text[counted..at]).count() as u32;
        counted = at;
        let colon = memchr::memrchr(b':', place)?;
        Some(Said { number, file: &place[..colon], line: lex::decimal(&place[colon + 1..])? as u32 })
    });
    said.collect()
}

/// `mm/slub.c:305` of what follows the mark.
fn source(rest: &[u8]) -> Option<&[u8]> {
    let rest = if rest.starts_with(b"CPU: ") { &rest[memchr::memmem::find(rest, b" at ")? + 4..] } else { rest };
    let mut words = lex::words(rest);
    let word = words.next()?;
    // What another CPU tore has neither the mark behind it nor the function.
    let word = word.strip_suffix(b"!").or(words.next().map(|_| word))?;
    memchr::memrchr(b':', word).filter(|colon| word[..*colon].contains(&b'.')).map(|_| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_line_of_the_same_source_file_speaks_against_a_file() {
        let said = |file: &'static str, line| Said { number: 5, file: file.as_bytes(), line };
        let stopped = |lines| [Stopped { lines, built: vec![("mm/slub.c".to_string(), 305)] }];
        let ask = |said: &[Said<'_>]| compared(&stopped(4..=9), said).map(|evidence| evidence.contradicts);
        assert_eq!(ask(&[said("mm/slub.c", 305)]), Some(false));
        assert_eq!(ask(&[said("mm/slub.c", 304)]), Some(true));
        assert_eq!(ask(&[said("fs/dcache.c", 365)]), None, "its own line is lost");
        assert_eq!(ask(&[]), None);
        assert_eq!(compared(&stopped(6..=9), &[said("mm/slub.c", 304)]), None, "of the stack above");
    }

    #[test]
    fn every_form_of_the_line_is_read() {
        let text = b"x\n[ 1.0] kernel BUG at mm/slub.c:305!\x1b[0m\r\n[ 2.0] WARNING: CPU: 1 PID: 941 at fs/dcache.c:365 dentry_free+0x7a/0xa0\n\
            WARNING: fs/super.c:7 at f+0x1/0x2, CPU#1: cat/941\nWARNING: possible circular locking\nkernel BUG at mm/slu.c:3\nKernel BUG at c0100000 [verbose debug info unavailable]\n";
        let found: Vec<_> = said(text).iter().map(|said| (said.number, lex::text(said.file), said.line)).collect();
        assert_eq!(found, [(2, "mm/slub.c".into(), 305), (3, "fs/dcache.c".into(), 365), (4, "fs/super.c".into(), 7)]);
    }
}
