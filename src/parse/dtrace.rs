//! Aggregations of DTrace's `stack()`, as illumos, FreeBSD and macOS print them.
//!
//! ```text
//! CPU     ID                    FUNCTION:NAME
//!   1  75195                      :tick-60s
//!
//!               mach_kernel`thread_invoke+0x74
//!               0xffffff7f8684f90c
//!              3891
//! ```
//! Frames stand innermost first; there is no `+` at the start of a function, and an address where no symbol is known; the count ends the
//! stack. The innermost frame is the pc itself. Sample: FlameGraph's `example-dtrace-stacks.txt`.

use super::lex::{self, Line};
use super::{Confidence, Format, Holds, atos};
use crate::model::addr::{Arch, Avma};
use crate::model::capture::{Capture, Os};
use crate::model::image::Basis;
use crate::model::stack::{Lookup, RawFrame, Span, Stack, StackKind};
use crate::note::Note;

/// The format.
pub struct Dtrace;

/// The heading that dtrace writes without `-q`.
const HEADING: &[u8] = b"FUNCTION:NAME";

impl Format for Dtrace {
    fn id(&self) -> &'static str {
        "dtrace"
    }
    fn about(&self) -> &'static str {
        "DTrace aggregations of stack(): illumos, FreeBSD, macOS; flame writes the lines of stackcollapse.pl"
    }
    fn holds(&self) -> Holds {
        Holds::Stacks
    }
    fn marks(&self) -> &'static [&'static [u8]] {
        &[b"FUNCTION:NAME", b"dtrace: description "]
    }
    fn begins(&self, _: &[u8], rest: &[u8]) -> bool {
        lex::lines(rest)
            .next()
            .is_some_and(|line| line.bytes.trim_ascii_end().ends_with(HEADING) || line.bytes.starts_with(b"dtrace: description "))
    }

    /// A count has to end a list of frames: mdb prints frames of the same form.
    fn sniff(&self, head: &[u8]) -> Confidence {
        let (mut named, mut raw, mut heading) = (0, 0, false);
        for line in lex::lines(head) {
            heading |= line.bytes.trim_ascii_end().ends_with(HEADING);
            if count(line.bytes).is_some() && line.bytes.starts_with(b" ") {
                if named > 0 || (heading && raw > 0) {
                    return Confidence::Certain;
                }
            } else if let Some(frame) = frame(line.bytes) {
                let own = memchr::memmem::find(line.bytes, b" (in ").is_some();
                named += usize::from(line.bytes.contains(&b'`'));
                raw += usize::from(frame.address.is_some() || own);
                continue;
            } else if named + raw > 0 && atos::is_location(line.bytes) {
                continue;
            }
            (named, raw) = (0, 0);
        }
        Confidence::No
    }

    fn parse(&self, text: &[u8]) -> Capture {
        let mut reader = Reader { text, ..Reader::default() };
        for line in lex::lines(text) {
            reader.line(&line);
        }
        reader.finish()
    }
}

/// The count of a stack, alone in its line.
fn count(line: &[u8]) -> Option<u64> {
    lex::decimal(line.trim_ascii())
}

/// Reads a frame: ``module`function+0xHEX``, an address, or what kstack wrote in their place.
fn frame(line: &[u8]) -> Option<RawFrame> {
    let body = line.trim_ascii();
    if !line.starts_with(b" ") || body.is_empty() {
        return None;
    }
    let Some(tick) = memchr::memchr(b'`', body).filter(|tick| !body[..*tick].contains(&b' ')) else { return rewritten(line, body) };
    let (module, rest) = (&body[..tick], &body[tick + 1..]);
    let plus = memchr::memrchr(b'+', rest).and_then(|at| Some((at, lex::hex(&rest[at + 1..])?)));
    let (name, offset) = plus.map_or((rest, 0), |(at, offset)| (&rest[..at], offset));
    let span = |part: &[u8]| if part.is_empty() { Span::default() } else { atos::span(line, part) };
    // illumos prints an address behind the tick where a module has no symbol.
    let address = lex::hex(name);
    Some(RawFrame {
        address: address.map(Avma),
        offset: address.is_none().then_some(offset),
        text: span(body),
        symbol: if address.is_some() { Span::default() } else { span(name) },
        module: span(module),
        reliable: true,
        ..RawFrame::default()
    })
}

/// A frame as kstack writes it, which ends in ` (file 0xADDR)` where the image lies nowhere; or an address.
fn rewritten(line: &[u8], body: &[u8]) -> Option<RawFrame> {
    let file = memchr::memmem::rfind(line, b" (file 0x").filter(|_| body.ends_with(b")"));
    let frame = atos::frame(file.map_or(line, |at| &line[..at]))?;
    Some(RawFrame { text: atos::span(line, body), ..frame })
}

/// Modules whose names say which system it is.
const KERNELS: &[(&[u8], Os)] = &[(b"mach_kernel", Os::Darwin), (b"unix", Os::Illumos), (b"genunix", Os::Illumos)];

#[derive(Default)]
struct Reader<'t> {
    text: &'t [u8],
    stacks: Vec<Stack>,
    frames: Vec<RawFrame>,
    /// Line of the latest frame or of the location lines below it.
    frame_line: u32,
}

impl Reader<'_> {
    fn line(&mut self, line: &Line<'_>) {
        if let Some(count) = count(line.bytes) {
            return self.close(count);
        }
        if !self.frames.is_empty() && line.number == self.frame_line + 1 && atos::is_location(line.bytes) {
            self.frame_line = line.number;
            self.frames.iter_mut().last().into_iter().for_each(|frame| frame.notes += 1);
            return;
        }
        let Some(frame) = frame(line.bytes) else { return };
        self.frame_line = line.number;
        let lookup = if self.frames.is_empty() { Lookup::Exact } else { Lookup::Return };
        self.frames.push(RawFrame { line: line.number, line_start: line.start, lookup, ..frame });
    }

    fn close(&mut self, count: u64) {
        let frames = std::mem::take(&mut self.frames);
        if let Some(first) = frames.first() {
            self.stacks.push(Stack { kind: StackKind::Sample, line: first.line, count, frames: frames.into(), ..Stack::default() });
        }
    }

    fn finish(mut self) -> Capture {
        let cut = self.frames.first().map(|frame| frame.line);
        let notes = cut
            .map(|line| Note::warning("", format!("the stack in line {line} has no count, as if the end were missing; counted 0 times")));
        // Its frames are worth a name all the same.
        self.close(0);
        let frames = || self.stacks.iter().flat_map(|stack| &stack.frames);
        let arch = frames().filter_map(|frame| frame.address).find_map(Arch::of_darwin_address);
        let module = |frame: &RawFrame| frame.module.of(self.text, frame.line_start);
        let found = frames().find_map(|frame| KERNELS.iter().find(|(name, _)| *name == module(frame)).copied());
        let kernel = frames().map(module).find(|name| name.ends_with(b"kernel"));
        Capture {
            format: Dtrace.id(),
            os: found.map(|(_, os)| os),
            arch,
            basis: Some(Basis::Runtime),
            kernel_name: kernel.map(lex::text),
            notes: notes.into_iter().collect(),
            stacks: self.stacks,
            ..Capture::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &[u8] = b"CPU     ID                    FUNCTION:NAME\n  1  75195                      :tick-60s\n\n\
        \n              genunix`syscall_mstate\n              unix`sys_syscall+0x10e\n                1\n\n              0xfffffffff7e40010\n               12\n";

    #[test]
    fn counts_end_stacks() {
        assert_eq!(Dtrace.sniff(SAMPLE), Confidence::Certain);
        let capture = Dtrace.parse(SAMPLE);
        let seen: Vec<_> = capture.stacks.iter().map(|stack| (stack.count, stack.frames.len(), stack.line)).collect();
        assert_eq!(seen, [(1, 2, 5), (12, 1, 9)]);
        assert_eq!(capture.stacks[0].frames.iter().map(|frame| frame.offset).collect::<Vec<_>>(), [Some(0), Some(0x10e)]);
        assert_eq!(capture.os, Some(Os::Illumos));
    }

    #[test]
    fn a_cut_stack_is_said() {
        let capture = Dtrace.parse(&SAMPLE[..SAMPLE.len() - 17]);
        assert_eq!(capture.stacks.iter().map(|stack| stack.count).collect::<Vec<_>>(), [1, 0]);
        assert!(capture.notes[0].text.starts_with("the stack in line 9"), "{:?}", capture.notes);
    }

    #[test]
    fn stacks_of_mdb_have_no_count() {
        assert_eq!(Dtrace.sniff(b"  fffff zfs`spa_sync+0x5a6()\n                 zfs`spa_sync+0x5a6\n\n"), Confidence::No);
    }
}
