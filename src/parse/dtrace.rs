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
//!
//! ```text
//!               zfs`zio_wait+0x6b                 quantize(): the rows of the histogram count
//!            value  ------------- Distribution ------------- count
//!              512 |@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@ 4
//!   3  60123                  zio_done:entry      stack() in a probe: once for each row
//!               zfs`zio_execute+0xb1
//!
//! FUNCTION                             COUNT   PCNT
//! unix`swtch                               1   0.1%       hotkernel: a function is a stack of its own
//! ```
//! With `-q` stacks of probes have no rows: `dtrace_quiet.rs` says where each begins.
//!
//! What `sum`, `min`, `max`, `avg` and `stddev` say of a stack stands where its count would, in the same columns: nothing in the text
//! tells them apart, so all are taken for counts.
//!
//! Source: `dt_print_quantize`, `dt_print_average` and `dt_print_stack` in lib/libdtrace/common/dt_consume.c (illumos-gate); hotkernel of the DTrace toolkit.

use super::dtrace_quiet::{Sides, is_quiet};
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
pub(super) const HEADING: &[u8] = b"FUNCTION:NAME";

/// Blanks before each frame (`dt_options.c`, `stackindent`).
pub(super) const INDENT: usize = 14;

/// What the heading of a histogram has.
pub const DISTRIBUTION: &[u8] = b" Distribution ---";

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

    /// A count has to end a list of frames, or a row of a probe begin it: mdb prints frames of the same form.
    fn sniff(&self, head: &[u8]) -> Confidence {
        let (mut named, mut raw, mut heading, mut event) = (0, 0, false, false);
        for line in lex::lines(head) {
            heading |= line.bytes.trim_ascii_end().ends_with(HEADING);
            let counted = line.bytes.starts_with(b" ") && (count(line.bytes).is_some() || is_distribution(line.bytes));
            if (counted && (named > 0 || (heading && raw > 0))) || table(line.bytes).is_some() {
                return Confidence::Certain;
            }
            if heading && is_row(line.bytes) {
                event = true;
            } else if counted {
            } else if let Some(frame) = frame(line.bytes) {
                let own = memchr::memmem::find(line.bytes, b" (in ").is_some();
                named += usize::from(line.bytes.contains(&b'`'));
                raw += usize::from(frame.address.is_some() || own);
                if event {
                    return Confidence::Certain;
                }
                continue;
            } else if named + raw > 0 && atos::is_location(line.bytes) {
                continue;
            } else {
                event = false;
            }
            (named, raw) = (0, 0);
        }
        if is_quiet(head) { Confidence::Likely } else { Confidence::No }
    }

    fn parse(&self, text: &[u8]) -> Capture {
        let mut reader = Reader { text, quiet: is_quiet(text), ..Reader::default() };
        for line in lex::lines(text) {
            reader.line(&line);
        }
        reader.finish()
    }
}

/// The count of a stack, alone in its line.
pub(super) fn count(line: &[u8]) -> Option<u64> {
    lex::decimal(line.trim_ascii())
}

/// Whether a line is the heading of a histogram.
pub(super) fn is_distribution(line: &[u8]) -> bool {
    memchr::memmem::find(line, DISTRIBUTION).is_some() && line.trim_ascii_end().ends_with(b"count")
}

/// The count of a histogram's row: `             1024 |@@@@@      4`, `            >= 10 |  0`.
fn bar(line: &[u8]) -> Option<u64> {
    let rest = line[memchr::memchr(b'|', line)? + 1..].trim_ascii();
    let bars = rest.iter().take_while(|b| matches!(b, b'@' | b' ')).count();
    lex::decimal(&rest[bars..])
}

/// Whether a line says that a probe fired: `  3  60123     f:entry`, CPU, id and the probe's function and name.
pub fn is_row(line: &[u8]) -> bool {
    let mut words = lex::words(line);
    let numbers = words.by_ref().take(2).filter(|word| lex::decimal(word).is_some()).count();
    numbers == 2 && words.next().is_some_and(|probe| probe.contains(&b':') && !probe.contains(&b'`')) && words.next().is_none()
}

/// A row of hotkernel, ``unix`swtch      1   0.1%``: the function and how often it was on CPU.
pub(super) fn table(line: &[u8]) -> Option<(&[u8], u64)> {
    let body = line.trim_ascii();
    let percent = body.strip_suffix(b"%")?;
    let at = memchr::memrchr(b' ', percent)?;
    let (whole, part) = percent[at + 1..].split_at(memchr::memchr(b'.', &percent[at + 1..])?);
    lex::decimal(whole).and(lex::decimal(&part[1..]))?;
    let rest = percent[..at].trim_ascii_end();
    let at = memchr::memrchr(b' ', rest)?;
    let name = rest[..at].trim_ascii_end();
    let count = lex::decimal(&rest[at + 1..])?;
    let own = memchr::memmem::find(name, b" (in ").is_some();
    (own || name.contains(&b'`') && !name.contains(&b' ')).then_some((name, count))
}

/// Reads a frame: ``module`function+0xHEX``, an address, or what kstack wrote in their place.
pub(super) fn frame(line: &[u8]) -> Option<RawFrame> {
    let body = line.trim_ascii();
    if !line.starts_with(b" ") || body.is_empty() || table(line).is_some() {
        return None;
    }
    named(line, body)
}

/// What `body`, a part of `line`, names.
fn named(line: &[u8], body: &[u8]) -> Option<RawFrame> {
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

/// A function of hotkernel, which gives no place in it.
fn function(line: &[u8], body: &[u8]) -> Option<RawFrame> {
    let frame = named(line, body)?;
    Some(RawFrame { offset: frame.offset.filter(|offset| *offset > 0), ..frame })
}

/// A frame as kstack writes it, which ends in ` (file 0xADDR)` where the image lies nowhere; or an address.
fn rewritten(line: &[u8], body: &[u8]) -> Option<RawFrame> {
    let file = memchr::memmem::rfind(line, b" (file 0x").filter(|_| body.ends_with(b")"));
    let frame = atos::frame(file.map_or(line, |at| &line[..at]))?;
    Some(RawFrame { text: atos::span(line, body), ..frame })
}

/// Modules whose names say which system it is.
pub(super) const KERNELS: &[(&[u8], Os)] = &[(b"mach_kernel", Os::Darwin), (b"unix", Os::Illumos), (b"genunix", Os::Illumos)];

#[derive(Default)]
struct Reader<'t> {
    text: &'t [u8],
    stacks: Vec<Stack>,
    frames: Vec<RawFrame>,
    /// Line of the latest frame or of the location lines below it.
    frame_line: u32,
    /// What the rows of a histogram come to so far.
    sum: Option<u64>,
    /// Stacks of probes without rows: an empty line begins one.
    quiet: bool,
    /// Whose they are.
    sides: Sides<'t>,
    /// Line of the row of a probe. Right below it stands what the probe printed itself, which no count follows.
    event: Option<u32>,
}

impl Reader<'_> {
    fn line(&mut self, line: &Line<'_>) {
        if let Some(sum) = self.sum {
            match bar(line.bytes) {
                Some(count) => return self.sum = Some(sum.saturating_add(count)),
                None => self.close(sum),
            }
        }
        if let Some(count) = count(line.bytes) {
            return self.close(count);
        }
        if is_distribution(line.bytes) {
            return self.sum = Some(0);
        }
        if is_row(line.bytes) {
            self.event();
            return self.event = Some(line.number);
        }
        if !self.frames.is_empty() && line.number == self.frame_line + 1 && atos::is_location(line.bytes) {
            self.frame_line = line.number;
            self.frames.iter_mut().last().into_iter().for_each(|frame| frame.notes += 1);
            return;
        }
        let row = table(line.bytes).and_then(|(name, count)| Some((function(line.bytes, name)?, Some(count))));
        let Some((frame, alone)) = row.or_else(|| Some((frame(line.bytes)?, None))) else { return };
        if alone.is_some() {
            self.event();
        }
        self.next(line);
        self.frame_line = line.number;
        self.event = self.event.filter(|row| !self.frames.is_empty() || row + 1 == line.number);
        let lookup = if self.frames.is_empty() { Lookup::Exact } else { Lookup::Return };
        self.frames.push(RawFrame { line: line.number, line_start: line.start, lookup, ..frame });
        alone.into_iter().for_each(|count| self.close(count));
    }

    /// Ends the stack of a probe without a row where another begins.
    fn next(&mut self, line: &Line<'_>) {
        if self.quiet && line.number != self.frame_line + 1 {
            self.close(1);
        }
    }

    /// Ends a stack that a probe printed, once. The program's frames follow the kernel's behind an empty line, so that ends nothing.
    fn event(&mut self) {
        if self.event.take().is_some() {
            self.close(1);
        }
    }

    fn close(&mut self, count: u64) {
        let mut frames = std::mem::take(&mut self.frames);
        (self.sum, self.event) = (None, None);
        let Some(first) = frames.first() else { return };
        let stack = Stack { kind: StackKind::Sample, line: first.line, count, ..Stack::default() };
        if !self.quiet || !self.sides.are_programs(self.text, &frames, self.stacks.last()) {
            return self.stacks.push(Stack { frames: frames.into(), ..stack });
        }
        match self.stacks.last_mut().filter(|above| above.user_frames.is_empty()) {
            Some(above) => {
                // It went into the kernel from there.
                frames[0].lookup = Lookup::Return;
                above.user_frames = frames.into();
            }
            None => self.stacks.push(Stack { user_frames: frames.into(), ..stack }),
        }
    }

    fn finish(mut self) -> Capture {
        self.event();
        if self.quiet {
            self.close(1);
        }
        if let Some(sum) = self.sum {
            self.close(sum);
        }
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
    fn histograms_are_summed() {
        let text = b"\n              zfs`a+0x1\n              zfs`b+0x2\n\n           value  ------------- Distribution ------------- count    \n\
            \x20            256 |                                         0        \n             512 |@@@@@@@@@@@@@@@@@@@@                     4        \n\
            \x20           >= 9 |@                                        3        \n\n              zfs`c+0x1\n                7\n";
        assert_eq!(Dtrace.sniff(text), Confidence::Certain);
        let seen: Vec<_> = Dtrace.parse(text).stacks.iter().map(|stack| (stack.count, stack.frames.len())).collect();
        assert_eq!(seen, [(7, 2), (7, 1)]);
    }

    #[test]
    fn a_probe_prints_its_stack_once() {
        let text = b"CPU     ID                    FUNCTION:NAME\n  3  60123                  zio_done:entry \n              zfs`a+0x1\n\
            \x20             unix`thread_start+0x8\n\n  3  60123                  zio_done:entry \n              zfs`b\n\n";
        assert_eq!(Dtrace.sniff(text), Confidence::Certain);
        let capture = Dtrace.parse(text);
        let seen: Vec<_> = capture.stacks.iter().map(|stack| (stack.count, stack.frames.len(), stack.line)).collect();
        assert_eq!((seen, capture.notes.len()), (vec![(1, 2, 3), (1, 1, 7)], 0));
    }

    #[test]
    fn hotkernel_counts_functions() {
        let text = b"FUNCTION                                                COUNT   PCNT\nunix`swtch                                                  1   0.1%\n\
            zfs`zio_wait+0x4                                           12  99.9%\n";
        assert_eq!(Dtrace.sniff(text), Confidence::Certain);
        let capture = Dtrace.parse(text);
        let name = |stack: &Stack| lex::text(stack.frames[0].symbol.of(text, stack.frames[0].line_start));
        let seen: Vec<_> = capture.stacks.iter().map(|stack| (name(stack), stack.frames[0].offset, stack.count)).collect();
        assert_eq!(seen, [("swtch".to_string(), None, 1), ("zio_wait".to_string(), Some(4), 12)]);
    }

    #[test]
    fn stacks_of_mdb_have_no_count() {
        assert_eq!(Dtrace.sniff(b"  fffff zfs`spa_sync+0x5a6()\n                 zfs`spa_sync+0x5a6\n\n"), Confidence::No);
    }
}
