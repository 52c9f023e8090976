//! The source lines that a Linux kernel prints when its code stops with BUG or WARN, held against the file's table of them.
//!
//! ```text
//! kernel BUG at mm/slub.c:305!                                      and then RIP: 0010:__slab_free+0x1c2/0x2d0
//! WARNING: CPU: 1 PID: 941 at fs/dcache.c:365 dentry_free+0x7a/0xa0     up to 6.17
//! WARNING: fs/dcache.c:365 at dentry_free+0x7a/0xa0, CPU#1: cat/941     since then
//! ```
//! Source: `report_bug` in lib/bug.c and `__warn` in kernel/panic.c, 6.1 to 6.18. A line that was added anywhere above in the same source file
//! makes another number, so that even builds whose functions are all the same are told apart.

use super::code_bytes::{is_in, places};
use super::proof::{Evidence, EvidenceKind};
use super::{Image, Placer};
use crate::model::capture::Os;
use crate::model::stack::{Lookup, Role};
use crate::parse::lex;

/// Lines of the report between such a line and the frame where it happened: registers, modules, what other CPUs print.
const NEAR: u32 = 60;
/// Places beyond these prove nothing more.
const MOST: usize = 1_000;

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

impl Placer<'_> {
    /// Puts a file aside whose code stops with other source lines than the report says.
    pub(super) fn check_bug_lines(&mut self, image: &mut Image) {
        let (Some(program), Some(Os::Linux), false) = (image.program.clone(), self.capture.os, image.matched) else { return };
        let said = said(self.text);
        let (mut agree, mut wrong) = (0, None);
        if said.is_empty() {
            return;
        }
        let frames = self.capture.stacks.iter().filter_map(|stack| stack.frames.first());
        let stopped = frames.filter(|frame| frame.role == Role::Fault && frame.lookup == Lookup::Exact && is_in(image, frame, self.text));
        for frame in stopped.take(MOST) {
            let near = said.partition_point(|said| said.number <= frame.line);
            let Some(printed) = said[..near].last().filter(|said| said.number + NEAR >= frame.line) else { continue };
            let built: Vec<(String, u32)> =
                places(image, &program, frame, self.text).into_iter().filter_map(|place| program.bug_line(place)).collect();
            if built.iter().any(|built| said.iter().any(|said| said.is(built))) {
                agree += 1;
            } else if let [(file, line)] = &built[..] {
                let printed = format!("{}:{}", lex::text(printed.file), printed.line);
                wrong.get_or_insert((0, format!("{printed} in the report, {file}:{line} in the file"))).0 += 1;
            }
        }
        let count = wrong.as_ref().map_or(0, |(count, _)| *count);
        if agree + count == 0 {
            return;
        }
        let mut evidence = Evidence::counted(EvidenceKind::Lines, "source lines of BUG and WARN", agree, agree + count);
        let Some((_, first)) = wrong else { return image.evidence.push(evidence) };
        evidence.text.push_str(&format!("; {first}"));
        evidence.contradicts = true;
        let why = format!("{}: {} is another build", evidence.text, program.info().path.display());
        image.evidence.push(evidence);
        self.refuse(image, why);
    }
}

/// The lines of a report that name a source line, in its order.
fn said(text: &[u8]) -> Vec<Said<'_>> {
    let mut found: Vec<(usize, &[u8])> = Vec::new();
    for mark in [&b"ernel BUG at "[..], b"WARNING: "] {
        let place = |at: usize| Some((at, source(text[at + mark.len()..].split(|b| matches!(b, b'\n' | b'\r')).next()?)?));
        found.extend(memchr::memmem::find_iter(text, mark).filter_map(place).take(MOST));
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
    let word = lex::words(rest).next()?;
    let word = word.strip_suffix(b"!").unwrap_or(word);
    memchr::memrchr(b':', word).filter(|colon| word[..*colon].contains(&b'.')).map(|_| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_the_line_is_read() {
        let text = b"x\n[ 1.0] kernel BUG at mm/slub.c:305!\r\n[ 2.0] WARNING: CPU: 1 PID: 941 at fs/dcache.c:365 dentry_free+0x7a/0xa0\n\
            WARNING: fs/super.c:7 at f+0x1/0x2, CPU#1: cat/941\nWARNING: possible circular locking\nKernel BUG at c0100000 [verbose debug info unavailable]\n";
        let found: Vec<_> = said(text).iter().map(|said| (said.number, lex::text(said.file), said.line)).collect();
        assert_eq!(found, [(2, "mm/slub.c".into(), 305), (3, "fs/dcache.c".into(), 365), (4, "fs/super.c".into(), 7)]);
    }
}
