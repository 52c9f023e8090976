//! Records of macOS zone logging (`zlog=ZONE`), as a kernel debugger shows them: gdb with kgmacros (10.4 to 10.8), lldb with xnu's macros.
//!
//! ```text
//! oldest record is at log index 393:
//!
//! --------------- ALLOC  0xffffff8032787500 : index 393  :  ztime 21650505 -------------
//! 0xffffff80002077c5 <zalloc_canblock+53>:    movq   %rax, (%rbx)       x/i of gdb, with a tab before the instruction
//! --------ALLOC  0xffffff8032787500 : Index 393 --------                     lldb, 10.9
//! 0xffffff80002077c5 <mach_kernel`zalloc_canblock + 53>
//! --------ALLOC.  Stack Index 7 with active refs 12 of 40 --------           lldb, since 10.12: a stack for many elements
//! (gdb) countpcs 0xffffff7f80e50458
//! occurred 3999 times in log (100% of records)
//! ```
//! Sources: kgmacros' `zstack`, `findoldest`, `countpcs` and lldbmacros' memory.py of xnu. Innermost first, all return addresses, at run
//! time. A table of `zprint` in the same session is read too.

use std::ops::Range;

use memchr::memmem;
use rustc_hash::FxHashSet;

use super::darwin_zprint::ZoneTable;
use super::lex::{self, Line};
use super::{Confidence, Format, Holds, atos, darwin_showallstacks};
use crate::model::addr::{Arch, Avma};
use crate::model::capture::{Capture, Os};
use crate::model::image::{Basis, ImageClaim};
use crate::model::stack::{Lookup, RawFrame, Span, Stack, StackKind};
use crate::note::Note;

/// The format.
pub struct DarwinZoneLog;

impl Format for DarwinZoneLog {
    fn id(&self) -> &'static str {
        "darwin-zone-log"
    }
    fn about(&self) -> &'static str {
        "zone logging of macOS in a kernel debugger: findoldest, zstack and countpcs of gdb, zstack of lldb"
    }
    fn holds(&self) -> Holds {
        Holds::Stacks
    }
    fn marks(&self) -> &'static [&'static [u8]] {
        &[b"--ALLOC", b"--FREE", b"OP: ALLOC", b"OP: FREE"]
    }
    fn takes_in(&self) -> &'static [&'static str] {
        &["darwin-zprint"]
    }
    fn begins(&self, _: &[u8], rest: &[u8]) -> bool {
        lex::lines(rest).next().is_some_and(|line| heading(line.bytes.trim_ascii()).is_some())
    }

    fn sniff(&self, head: &[u8]) -> Confidence {
        let found = lex::lines(head).any(|line| heading(line.bytes.trim_ascii()).is_some());
        if found { Confidence::Certain } else { Confidence::No }
    }

    fn parse(&self, text: &[u8]) -> Capture {
        let mut reader = Reader::default();
        for line in lex::lines(text) {
            reader.line(&line);
        }
        reader.finish()
    }
}

/// What the line above a stack says.
#[derive(PartialEq, Eq, Debug)]
struct Heading {
    kind: StackKind,
    /// What tells the record from others: a table that is shown twice is counted once.
    record: Vec<u8>,
    /// How many elements it stands for.
    count: u64,
    /// Whether that number was too large.
    cut: bool,
}

/// `----- ALLOC  0x… : index N  :  ztime N -----` and its like of lldb.
fn heading(body: &[u8]) -> Option<Heading> {
    let inner = body.strip_prefix(b"--------")?.strip_suffix(b"--------")?;
    let dash = |b: &u8| *b == b'-';
    let from = inner.iter().position(|b| !dash(b))?;
    let to = inner.iter().rposition(|b| !dash(b))?;
    let inner = inner[from..=to].trim_ascii();
    let inner = inner.strip_prefix(b"OP: ").unwrap_or(inner);
    let word = lex::words(inner).next()?;
    let kind = match word.strip_suffix(b".").unwrap_or(word) {
        b"ALLOC" => StackKind::Alloc,
        b"FREE" => StackKind::Free,
        _ => return None,
    };
    let record = inner[word.len()..].trim_ascii().to_vec();
    if !record.starts_with(b"0x") && !record.starts_with(b"Stack Index") {
        return None;
    }
    let refs = memmem::find(&record, b"with active refs ").and_then(|at| lex::words(&record[at + 17..]).next());
    let (count, cut) = refs.and_then(lex::saturating).unwrap_or((1, false));
    Some(Heading { kind, record, count, cut })
}

#[derive(Default)]
struct Reader {
    stacks: Vec<Stack>,
    inside: bool,
    frame_line: u32,
    /// Records that were shown before.
    seen: FxHashSet<(StackKind, Vec<u8>)>,
    repeated: usize,
    /// The address that `countpcs` was asked for, until its answer.
    asked: Option<(RawFrame, u32)>,
    anchors: Vec<(String, Avma)>,
    anchored: FxHashSet<(String, Avma)>,
    kernel_name: Option<String>,
    zones: ZoneTable,
    notes: Vec<Note>,
}

/// More functions than this prove the kernel's place no better.
const MOST_ANCHORS: usize = 1000;

impl Reader {
    fn line(&mut self, line: &Line<'_>) {
        let body = line.bytes.trim_ascii();
        self.zones.line(line);
        if let Some(heading) = heading(body) {
            // kgmacros shows a slot of the log that was never used as a record of the element 0, without frames.
            self.inside = lex::words(&heading.record).next().is_none_or(|element| lex::hex(element) != Some(0));
            if self.inside {
                self.open(line, heading);
            }
        } else if let Some(asked) = countpcs(line) {
            (self.inside, self.asked) = (false, Some((asked, line.number)));
        } else if let Some((said, (asked, _))) = said(line).zip(self.asked.as_mut()) {
            *asked = said;
        } else if let Some(rest) = body.strip_prefix(b"occurred ") {
            self.answer(line, rest);
        } else if self.inside && line.number == self.frame_line + 1 && atos::is_location(line.bytes) {
            self.frame_line = line.number;
            let latest = self.stacks.last_mut().and_then(|stack| stack.frames.last_mut());
            latest.into_iter().for_each(|frame| frame.notes += 1);
        } else if self.inside && !body.is_empty() {
            match frame(line) {
                Some(frame) => self.frame(line, frame),
                None => self.inside = false,
            }
        }
    }

    fn open(&mut self, line: &Line<'_>, heading: Heading) {
        if heading.cut {
            self.notes.push(Note::warning("", format!("line {}: the count is too large; taken as {}", line.number, u64::MAX)));
        }
        let record = (heading.kind, heading.record);
        let title = Some(lex::text(&record.1));
        let aside = !self.seen.insert(record);
        self.repeated += usize::from(aside);
        self.frame_line = line.number;
        self.stacks.push(Stack { kind: heading.kind, title, count: heading.count, line: line.number, aside, ..Stack::default() });
    }

    fn frame(&mut self, line: &Line<'_>, mut frame: RawFrame) {
        let part = |span: Span| lex::text(span.of(line.bytes, 0));
        let (module, symbol) = (part(frame.module), part(frame.symbol));
        if super::darwin_bases::is_kernel(&module) {
            self.kernel_name.get_or_insert(module);
        } else if let (true, Some(offset), Some(address)) = (module.is_empty() && !symbol.is_empty(), frame.offset, frame.address) {
            let anchor = (symbol, Avma(address.0.wrapping_sub(offset)));
            if self.anchors.len() < MOST_ANCHORS && self.anchored.insert(anchor.clone()) {
                self.anchors.push(anchor);
            }
        }
        (frame.line, frame.line_start, frame.lookup) = (line.number, line.start, Lookup::Return);
        self.frame_line = line.number;
        self.stacks.last_mut().into_iter().for_each(|stack| stack.frames.push(frame));
    }

    /// `occurred N times in log (P% of records)`, the answer to `countpcs`.
    fn answer(&mut self, line: &Line<'_>, rest: &[u8]) {
        self.inside = false;
        let Some((frame, from)) = self.asked.take() else { return };
        let Some((count, cut)) = lex::words(rest).next().and_then(lex::saturating) else { return };
        if cut {
            self.notes.push(Note::warning("", format!("line {}: the count is too large; taken as {}", line.number, u64::MAX)));
        }
        let title = Some(lex::text(line.bytes.trim_ascii()));
        let frames = std::iter::once(frame).collect();
        self.stacks.push(Stack { kind: StackKind::Alloc, title, count, line: from, aside: true, frames, ..Stack::default() });
    }

    fn finish(mut self) -> Capture {
        if self.repeated > 0 {
            let text = format!("{} records are shown more than once; each is counted once", self.repeated);
            self.notes.push(Note::warning("", text));
        }
        let frames = self.stacks.iter().flat_map(|stack| &stack.frames);
        let arch = frames.filter_map(|frame| frame.address).find_map(Arch::of_darwin_address);
        let kernel_name = self.kernel_name.unwrap_or_else(|| "mach_kernel".to_string());
        let name = kernel_name.clone();
        // One function could be another build's of the same name; two that agree are a place.
        let anchors = Some(self.anchors).filter(|anchors| anchors.len() > 1);
        let kernel = anchors.map(|anchors| ImageClaim { name, kernel: true, anchors, basis: Basis::Runtime, ..ImageClaim::default() });
        Capture {
            format: DarwinZoneLog.id(),
            os: Some(Os::Darwin),
            arch,
            basis: Some(Basis::Runtime),
            kernel_name: Some(kernel_name),
            images: kernel.into_iter().collect(),
            stacks: self.stacks,
            zones: self.zones.finish(&mut self.notes),
            notes: self.notes,
            ..Capture::default()
        }
    }
}

/// `0xADDR <WHAT>:\tinsn`, `0xADDR <WHAT>`, or what kstack wrote in place of address and name.
fn frame(line: &Line<'_>) -> Option<RawFrame> {
    let bytes = line.bytes;
    let from = lex::indent(bytes);
    let from = from + if bytes[from..].starts_with(b"=> ") { 3 } else { 0 };
    let end = memmem::find(&bytes[from..], b":\t").map_or(bytes.trim_ascii_end().len(), |at| from + at);
    // Addresses of elements and times are decimal or stand alone in a heading: what begins a line here is code.
    let (frame, _) = darwin_showallstacks::address_and_name(bytes, from..end.max(from))?;
    frame.address.map(|_| frame)
}

/// The address in `(gdb) countpcs 0xADDR`.
fn countpcs(line: &Line<'_>) -> Option<RawFrame> {
    const COMMAND: &[u8] = b"countpcs ";
    let start = memmem::find(line.bytes, COMMAND)?;
    let from = start + COMMAND.len();
    let word = lex::words(&line.bytes[from..]).next()?;
    let from = from + lex::indent(&line.bytes[from..]);
    let span = |range: Range<usize>| Span { start: range.start as u32, end: range.end as u32 };
    Some(RawFrame {
        address: Some(Avma(lex::hex(word)?)),
        line: line.number,
        line_start: line.start,
        label: span(start..start + COMMAND.len() - 1),
        text: span(from..from + word.len()),
        reliable: true,
        ..RawFrame::default()
    })
}

/// The line that kstack wrote below `countpcs`: `countpcs: f (in kernel) + 24 (0xADDR) PLACE`. It stands for the address above it.
fn said(line: &Line<'_>) -> Option<RawFrame> {
    const LABEL: &[u8] = b"countpcs: ";
    let start = lex::indent(line.bytes);
    let from = start + LABEL.len();
    let rest = line.bytes[start..].strip_prefix(LABEL)?.trim_ascii_end();
    let open = memmem::find(rest, b" (0x")?;
    let close = open + memchr::memchr(b')', &rest[open..])?;
    let frame = atos::frame(&rest[..=close]).filter(|frame| frame.address.is_some() && !frame.module.is_empty())?;
    let moved = |span: Span| if span.is_empty() { span } else { Span { start: span.start + from as u32, end: span.end + from as u32 } };
    Some(RawFrame {
        line: line.number,
        line_start: line.start,
        label: Span { start: start as u32, end: from as u32 - 2 },
        text: Span { start: from as u32, end: (from + rest.len()) as u32 },
        symbol: moved(frame.symbol),
        module: moved(frame.module),
        ..frame
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(stack: &Stack, text: &str) -> Vec<(String, Option<u64>)> {
        let part = |frame: &RawFrame| (lex::text(frame.symbol.of(text.as_bytes(), frame.line_start)), frame.offset);
        stack.frames.iter().map(part).collect()
    }

    #[test]
    fn every_form_of_a_heading() {
        let read = |text: &str| heading(text.as_bytes()).map(|heading| (heading.kind, heading.count));
        assert_eq!(read("--------------- ALLOC  0x1 : index 3  :  ztime 4 -------------"), Some((StackKind::Alloc, 1)));
        assert_eq!(read("--------------- FREE   0x1 : index 3  :  ztime 4 -------------"), Some((StackKind::Free, 1)));
        assert_eq!(read("--------ALLOC  0x1 : Index 3 --------"), Some((StackKind::Alloc, 1)));
        assert_eq!(read("--------ALLOC.  Stack Index 7 with active refs 12 of 40 --------"), Some((StackKind::Alloc, 12)));
        assert_eq!(read("--------OP: FREE.  Stack Index 7 --------"), Some((StackKind::Free, 1)));
        assert_eq!(read("--------------- ALLOC -------------"), None);
        assert_eq!(read("----------------"), None);
        assert_eq!(read("--------"), None);
    }

    #[test]
    fn frames_of_gdb_and_lldb_and_counts() {
        let text = "--------ALLOC.  Stack Index 7 with active refs 99999999999999999999 of 40 --------\n\
                    0xffffff80002077c5 <mach_kernel`zalloc + 53>\n\n--------FREE.  Stack Index 8 with active refs 2 of 2 --------\n\
                    0xffffff80002077c5 <zalloc+53>:\tmovq   %rax, (%rbx)\n0xffffff7f80e50458:\tleave\n(gdb) countpcs 0xffffff7f80e50458\n\
                    occurred 12 times in log (1% of records)\n";
        let capture = DarwinZoneLog.parse(text.as_bytes());
        let counts: Vec<_> = capture.stacks.iter().map(|stack| (stack.kind, stack.count, stack.aside)).collect();
        assert_eq!(counts, [(StackKind::Alloc, u64::MAX, false), (StackKind::Free, 2, false), (StackKind::Alloc, 12, true)]);
        assert_eq!(named(&capture.stacks[0], text), [("zalloc".to_string(), Some(53))]);
        assert_eq!(named(&capture.stacks[1], text), [("zalloc".to_string(), Some(53)), (String::new(), None)]);
        assert_eq!(capture.notes.len(), 1, "the count that overflows is said: {:?}", capture.notes);
    }

    #[test]
    fn a_record_that_is_shown_twice_counts_once() {
        let one = "--------------- ALLOC  0x1 : index 3  :  ztime 4 -------------\n0xffffff80002077c5 <zalloc+53>:\tnop\n";
        let capture = DarwinZoneLog.parse(format!("{one}(gdb) zstack 3\n{one}").as_bytes());
        assert_eq!(capture.stacks.iter().map(|stack| stack.aside).collect::<Vec<_>>(), [false, true]);
        assert_eq!(capture.notes.len(), 1);
    }
}
