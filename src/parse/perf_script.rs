//! What `perf script` writes of a profile: a heading for each sample, then its frames, innermost first, then an empty line.
//!
//! Lines are read by [`super::perf_line`]. The first frame is where the CPU was, the others are return addresses. Frames of programs are
//! kept apart and never resolved against the kernel's images. Each sample counts as much as its period.

use super::lex::{self, Line};
use super::perf_line::{self, Heading, Owner};
use super::samples::{self, Offset};
use super::{Confidence, Format, Holds, atos};
use crate::model::addr::{Arch, Avma};
use crate::model::capture::{Capture, Os};
use crate::model::image::Basis;
use crate::model::stack::{Lookup, RawFrame, Role, Span, Stack, StackKind};

/// The format.
pub struct PerfScript;

impl Format for PerfScript {
    fn id(&self) -> &'static str {
        "perf-script"
    }
    fn about(&self) -> &'static str {
        "perf script: samples with their stacks, kernel and user frames; flame writes the lines of stackcollapse-perf"
    }
    fn holds(&self) -> Holds {
        Holds::Stacks
    }
    fn marks(&self) -> &'static [&'static [u8]] {
        &[
            b"cpu-clock",
            b"cycles:",
            b"task-clock",
            b"# captured on",
            b"sched:sched_",
            b"probe:",
            b"page-faults:",
            b"instructions:",
            b"syscalls:sys_",
        ]
    }

    /// Certain when a frame follows a heading: neither alone is unlike all logs.
    fn sniff(&self, head: &[u8]) -> Confidence {
        let mut headed = false;
        for line in lex::lines(head) {
            let Ok(text) = std::str::from_utf8(line.bytes) else { continue };
            let text = text.trim_end();
            match heading(text) {
                Some(Heading { frame: Some(only), .. }) if is_frame(only) => return Confidence::Certain,
                found => {
                    if headed && text.starts_with([' ', '\t']) && is_frame(text) {
                        return Confidence::Certain;
                    }
                    headed = found.is_some() || (headed && text.starts_with('#'));
                }
            }
        }
        Confidence::No
    }

    fn parse(&self, text: &[u8]) -> Capture {
        let mut reader = Reader::default();
        for line in lex::lines(text) {
            reader.line(&line);
        }
        reader.finish()
    }
}

/// A heading with an event and a time, which no frame and hardly any other line has, or with nothing else.
fn heading(line: &str) -> Option<Heading<'_>> {
    let timed = |heading: &Heading<'_>| {
        let time = heading.place.split(' ').next_back().unwrap_or_default();
        time.split_once('.').is_some_and(|(whole, part)| [whole, part].iter().all(|part| !part.is_empty() && is_decimal(part)))
    };
    let whole = perf_line::heading(line).filter(|heading| heading.event.is_some_and(|event| !event.is_empty()) && timed(heading));
    whole.or_else(|| perf_line::untimed(line))
}

fn is_decimal(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit())
}

/// Whether a line is a frame with an address.
fn is_frame(line: &str) -> bool {
    perf_line::frame(line).is_some_and(|frame| lex::bare_hex(frame.address.as_bytes()).is_some())
}

#[derive(Default)]
struct Reader {
    stacks: Vec<Stack>,
    current: Option<Stack>,
    kernel: Vec<RawFrame>,
    user: Vec<RawFrame>,
    /// Line of the latest kernel frame or of what stands below it.
    below: u32,
    arch: Option<Arch>,
}

impl Reader {
    fn line(&mut self, line: &Line<'_>) {
        let text = String::from_utf8_lossy(line.bytes);
        let text = text.trim_end();
        if text.starts_with('#') {
            return;
        }
        if text.is_empty() {
            self.close();
        } else if self.current.is_some() && text.starts_with([' ', '\t']) && self.frame(line, line.bytes) {
        } else if let Some(heading) = heading(text) {
            self.head(line, &heading);
            if heading.frame.is_some_and(is_frame) {
                self.only_frame(line, &heading);
            }
        }
    }

    fn head(&mut self, line: &Line<'_>, heading: &Heading<'_>) {
        self.close();
        let cpu = heading.place.split(['[', ']']).nth(1).and_then(|cpu| cpu.parse().ok());
        self.current = Some(Stack {
            kind: StackKind::Sample,
            title: Some(heading.name.to_string()),
            pid: heading.pid.unwrap_or(heading.tid).parse().ok(),
            tid: Some(heading.tid.to_string()),
            process: Some(heading.command.to_string()),
            cpu,
            line: line.number,
            count: heading.period.unwrap_or(1),
            ..Stack::default()
        });
    }

    /// The frame of a heading, which has no line of its own.
    fn only_frame(&mut self, line: &Line<'_>, heading: &Heading<'_>) {
        let length = heading.frame.map_or(0, str::len);
        let end = line.bytes.trim_ascii_end().len();
        // Only where bytes and characters are the same is it known where the frame stands.
        if line.bytes.is_ascii() && length <= end {
            self.frame(line, &line.bytes[end - length..]);
        }
        self.close();
    }

    /// Takes `part` of a line as a frame.
    fn frame(&mut self, line: &Line<'_>, part: &[u8]) -> bool {
        let Some((frame, kernel)) = frame(line.bytes, part) else { return self.inlined(line) };
        let frame = RawFrame { line: line.number, line_start: line.start, ..frame };
        if kernel {
            let lookup = if self.kernel.is_empty() && self.user.is_empty() { Lookup::Exact } else { Lookup::Return };
            self.arch = self.arch.or_else(|| arch(frame.address?));
            self.kernel.push(RawFrame { lookup, ..frame });
            self.below = line.number;
        } else {
            self.user.push(frame);
        }
        true
    }

    /// What an earlier run of kstack wrote below a frame: ` FUNCTION FILE:LINE [inline]`.
    fn inlined(&mut self, line: &Line<'_>) -> bool {
        let note = line.bytes.trim_ascii_end().ends_with(b" [inline]") && self.below + 1 == line.number;
        if let Some(frame) = self.kernel.last_mut().filter(|_| note) {
            frame.notes += 1;
            self.below = line.number;
        }
        note
    }

    fn close(&mut self) {
        let (kernel, user) = (std::mem::take(&mut self.kernel), std::mem::take(&mut self.user));
        if let Some(stack) = self.current.take() {
            self.stacks.push(Stack { frames: kernel.into(), user_frames: user.into(), ..stack });
        }
    }

    fn finish(mut self) -> Capture {
        self.close();
        Capture {
            format: PerfScript.id(),
            os: Some(Os::Linux),
            arch: self.arch,
            basis: Some(Basis::Runtime),
            stacks: self.stacks,
            ..Capture::default()
        }
    }
}

/// Only these two can be told from a kernel address: x86_64's text lies in the last 2 GiB.
fn arch(address: Avma) -> Option<Arch> {
    (address.0 >= 0xffff_ffff_8000_0000).then_some(Arch::X86_64)
}

/// Reads a frame from `part` of `line`, and whether it is the kernel's.
fn frame(line: &[u8], part: &[u8]) -> Option<(RawFrame, bool)> {
    let text = std::str::from_utf8(part).ok()?.trim_end();
    let (text, added) = split_added(text);
    let frame = perf_line::frame(text)?;
    let address = lex::bare_hex(frame.address.as_bytes())?;
    let span = |part: &str| atos::span(line, part.as_bytes());
    let (mut name, inlined) = (frame.function(), frame.module == "inlined");
    let offset = frame.name.get(name.len() + 3..).and_then(|digits| lex::bare_hex(digits.as_bytes()));
    let (mut offset, mut size) = (offset, None);
    if matches!(name, "[unknown]" | " ") {
        name = &text[..0];
        if let Some(found) = added.split_once(' ').and_then(|(word, _)| samples::symbol(line, word.as_bytes(), Offset::Hex)) {
            (offset, size) = (found.offset, found.size);
            name = std::str::from_utf8(found.symbol.of(line, 0)).ok()?;
        }
    }
    let owner = perf_line::owner(frame.module, Some(address));
    let module = match owner {
        Owner::Kernel => Span::default(),
        Owner::Module(name) => span(name),
        Owner::User => span(frame.module),
    };
    let raw = RawFrame {
        address: (!inlined).then_some(Avma(address)),
        offset: offset.filter(|_| !name.is_empty()),
        text: span(text.trim_start()),
        symbol: if name.is_empty() { Span::default() } else { atos::span(line, name.as_bytes()) },
        module: if inlined { Span::default() } else { module },
        size,
        location: added.rsplit(' ').next().filter(|place| !place.is_empty()).map_or(Span::default(), span),
        role: if inlined { Role::Inline } else { Role::Call },
        reliable: true,
        ..RawFrame::default()
    };
    Some((raw, owner != Owner::User))
}

/// Takes off what kstack appends: ` FILE:LINE`, before it the function where perf named none.
fn split_added(text: &str) -> (&str, &str) {
    let is_place = |word: &str| word.rsplit_once(':').is_some_and(|(_, line)| !line.is_empty() && is_decimal(line));
    if text.ends_with(')') || !text.rsplit(' ').next().is_some_and(is_place) {
        return (text, "");
    }
    let cut = text.match_indices(") ").map(|(at, _)| at + 1).find(|at| is_frame(&text[..*at]));
    cut.map_or((text, ""), |at| (&text[..at], text[at..].trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &[u8] = b"# captured on: today\ntxg sync   257/300 [002]    54.100216:     250000 cpu-clock:pppH: \n\
        \tffffffffc0a1b2c3 zio_wait+0x63 ([zfs])\n\tffffffff8103ce3b do_syscall_64+0xb ([kernel.kallsyms])\n\
        \t    7f533952bc77 _start+0x17 (/usr/lib/ld-2.28.so)\n\nswapper     0 [001] 54.2: cycles: \n\tffffffff8103ce3b [unknown] ([unknown])\n";

    #[test]
    fn samples_have_owner_weight_and_both_kinds_of_frames() {
        assert_eq!(PerfScript.sniff(SAMPLE), Confidence::Certain);
        let capture = PerfScript.parse(SAMPLE);
        let [first, second] = &capture.stacks[..] else { panic!("{:?}", capture.stacks) };
        assert_eq!(
            (first.process.as_deref(), first.pid, first.tid.as_deref(), first.cpu),
            (Some("txg sync"), Some(257), Some("300"), Some(2))
        );
        assert_eq!((first.count, first.frames.len(), first.user_frames.len(), first.line), (250_000, 2, 1, 2));
        let said = |frame: &RawFrame, span: Span| String::from_utf8_lossy(span.of(SAMPLE, frame.line_start)).into_owned();
        let frames: Vec<_> =
            first.frames.iter().map(|frame| (said(frame, frame.module), said(frame, frame.symbol), frame.offset, frame.lookup)).collect();
        let want = |module: &str, symbol: &str, offset, lookup| (module.to_string(), symbol.to_string(), Some(offset), lookup);
        assert_eq!(frames, [want("zfs", "zio_wait", 0x63, Lookup::Exact), want("", "do_syscall_64", 0xb, Lookup::Return)]);
        assert_eq!((second.count, second.frames.len(), second.frames[0].symbol.is_empty()), (1, 1, true));
    }

    #[test]
    fn samples_without_a_time_are_read_among_others() {
        let text = b"java  3257 cpu-clock: \n\tffffffff8103ce3b f ([kernel.kallsyms])\n\nzpool 7 [001] 54.2: sched:sched_switch: a=b \n\
            \tffffffff8103ce3b g ([kernel.kallsyms])\n\nx 1 [003] 100 cycles:u: \n\tffffffff8103ce3b h ([kernel.kallsyms])\n";
        assert_eq!(PerfScript.sniff(text), Confidence::Certain);
        let capture = PerfScript.parse(text);
        let row =
            |stack: &Stack| (stack.process.clone().unwrap(), stack.title.clone().unwrap(), stack.cpu, stack.count, stack.frames.len());
        let want = |process: &str, title: &str, cpu, count| (process.to_string(), title.to_string(), cpu, count, 1);
        let seen: Vec<_> = capture.stacks.iter().map(row).collect();
        assert_eq!(
            seen,
            [want("java", "cpu-clock", None, 1), want("zpool", "sched:sched_switch", Some(1), 1), want("x", "cycles", Some(3), 100)]
        );
    }

    #[test]
    fn logs_are_no_samples() {
        for log in ["[    1.0] Call Trace:\n f+0x1/0x2\n", "Nov 21 15:00:00 host kernel: 12 ok\n\tffffffff81 f ([x])\n", "a;b 3\n"] {
            assert_eq!(PerfScript.sniff(log.as_bytes()), Confidence::No, "{log}");
        }
    }
}
