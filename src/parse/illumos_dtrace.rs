//! Stacks that DTrace printed or aggregated on illumos: `stack()`, `@[stack()] = count()`.
//!
//! ```text
//!
//!               unix`i86_mwait+0xd
//!               unix`cpu_idle_mwait+0x109
//!               genunix`thread_start+0x8
//!              4711
//! ```
//! Source: `dt_print_stack` and `dt_print_aggs` in usr/src/lib/libdtrace/common/dt_consume.c (illumos-gate). DTrace of other systems prints
//! the same; what tells illumos is that frames are in the modules `unix` or `genunix`.

use super::debugger_parts::Collector;
use super::illumos_line::{self, Form};
use super::lex::{self, Line};
use super::{Confidence, Format, Holds};
use crate::model::capture::{Capture, Os};
use crate::model::image::{Basis, ImageClaim};
use crate::model::stack::{RawFrame, Stack, StackKind};

/// The format.
pub struct IllumosDtrace;

impl Format for IllumosDtrace {
    fn id(&self) -> &'static str {
        "illumos-dtrace"
    }
    fn about(&self) -> &'static str {
        "illumos: DTrace's stack(), also aggregated (counts are kept)"
    }
    fn holds(&self) -> Holds {
        Holds::Stacks
    }

    fn sniff(&self, head: &[u8]) -> Confidence {
        let (mut own, mut frames, mut others) = (0, 0, 0);
        for line in lex::lines(head) {
            match frame(&line) {
                Some(frame) => {
                    frames += 1;
                    own += usize::from(matches!(frame.module.of(head, frame.line_start), b"unix" | b"genunix"));
                }
                // What mdb prints is not indented, and has headings.
                None => {
                    others += usize::from(illumos_line::frame(&line).is_some_and(|(form, _)| form != Form::Plain) || is_mdb(line.bytes))
                }
            }
        }
        if own > 0 && frames > 1 && others == 0 { Confidence::Certain } else { Confidence::No }
    }

    fn parse(&self, text: &[u8]) -> Capture {
        let mut reader = Reader { stacks: Collector::default(), done: Vec::new(), images: Vec::new() };
        lex::lines(text).for_each(|line| reader.line(text, &line));
        reader.end(None);
        Capture {
            format: self.id(),
            os: Some(Os::Illumos),
            basis: Some(Basis::Runtime),
            kernel_name: Some("unix".to_string()),
            stacks: reader.done,
            images: reader.images,
            ..Capture::default()
        }
    }
}

struct Reader {
    /// The stack that is being read.
    stacks: Collector,
    done: Vec<Stack>,
    images: Vec<ImageClaim>,
}

impl Reader {
    fn line(&mut self, text: &[u8], line: &Line<'_>) {
        if let Some(frame) = frame(line) {
            self.image(frame.module.of(text, frame.line_start), line.number);
            self.stacks.push(frame);
            return;
        }
        let mut words = lex::words(line.bytes);
        let count = words.next().and_then(lex::decimal).filter(|_| words.next().is_none());
        self.end(count.filter(|count| *count > 0));
    }

    fn image(&mut self, name: &[u8], line: u32) {
        if !name.is_empty() && !self.images.iter().any(|image| image.name.as_bytes() == name) {
            let name = lex::text(name);
            self.images.push(ImageClaim { kernel: name == "unix", name, basis: Basis::Runtime, line, ..ImageClaim::default() });
        }
    }

    /// Ends the stack; the number below it says how often it was seen.
    fn end(&mut self, count: Option<u64>) {
        let stacks = std::mem::take(&mut self.stacks).finish();
        self.done.extend(stacks.into_iter().map(|stack| Stack { kind: StackKind::Sample, count: count.unwrap_or(1), ..stack }));
    }
}

/// ``              unix`i86_mwait+0xd``.
fn frame(line: &Line<'_>) -> Option<RawFrame> {
    let (form, frame) = illumos_line::frame(line)?;
    let indented = lex::indent(line.bytes) >= 2 && form == Form::Plain;
    (indented && (!frame.module.is_empty() || !frame.location.is_empty())).then_some(frame)
}

/// The heading of mdb's `::stacks`, whose frames look the same.
fn is_mdb(line: &[u8]) -> bool {
    lex::words(line).eq([&b"THREAD"[..], b"STATE", b"SOBJ", b"COUNT"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_below_stacks_are_theirs() {
        let text = b"dtrace: description 'profile-997 ' matched 1 probe\n\n              unix`i86_mwait+0xd\n              genunix`thread_start+0x8\n             4711\n\n\
            \n              zfs`spa_sync+0x248\n              zfs`txg_sync_thread+0x1f7\n               12\n";
        assert_eq!(IllumosDtrace.sniff(text), Confidence::Certain);
        let capture = IllumosDtrace.parse(text);
        let seen: Vec<_> = capture.stacks.iter().map(|s| (s.count, s.frames.len(), s.line, s.kind)).collect();
        assert_eq!(seen, [(4711, 2, 3, StackKind::Sample), (12, 2, 8, StackKind::Sample)]);
        assert_eq!(IllumosDtrace.sniff(b"              kernel`vfs_write+0x10\n              kernel`f+0x1\n   4\n"), Confidence::No);
    }
}
