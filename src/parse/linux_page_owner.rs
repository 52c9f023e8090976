//! `/sys/kernel/debug/page_owner` and `page_owner_stacks/show_stacks`: who allocated every page that is in use.
//!
//! ```text
//! Page allocated via order 2, mask 0x52dc0(GFP_KERNEL|…), pid 173, tgid 173 (modprobe), ts 1234567 ns
//! PFN 0x10a2c type Unmovable Block 133 type Unmovable Flags 0x200000000000200(workingset|node=0|zone=2)
//!  post_alloc_hook+0x8a/0xa0
//!  vmem_alloc+0x2a/0x50 [spl]
//! Charged to memcg system.slice                               other lines between the stack and the blank one
//!
//! 3 times, 12 pages:                                          page_owner_sort, before a record or, sorted by stack, only its frames
//! 3 times, 12 pages, PID 173, TGID 173, task_comm_name: modprobe:      with -c or --cull
//!
//!  vmem_alloc+0x2a/0x50 [spl]                                 show_stacks: each stack once, since 6.9
//! nr_base_pages: 1024                                         `stack_count:` in 6.9
//! ```
//! Source: `print_page_owner` and `stack_print` in mm/page_owner.c (5.10, 6.9, 6.12), tools/mm/page_owner_sort.c (6.1).

use memchr::memmem;

use super::lex::{self, Line};
use super::{Confidence, Format, Holds, linux_frame, linux_symbol};
use crate::model::addr::Arch;
use crate::model::capture::{Capture, Os};
use crate::model::image::Basis;
use crate::model::stack::{RawFrame, Stack, StackKind};
use crate::note::Note;

/// The format.
pub struct PageOwner;

const RECORD: &[u8] = b"Page allocated via order ";
const PAGES: &[u8] = b"nr_base_pages: ";
const COUNT: &[u8] = b"stack_count: ";
/// Bytes of a page where nothing tells otherwise: those of x86, and of most kernels of the others.
const PAGE: u64 = 4096;

impl Format for PageOwner {
    fn id(&self) -> &'static str {
        "page-owner"
    }
    fn about(&self) -> &'static str {
        "page_owner and page_owner_stacks of Linux's debugfs, sorted by page_owner_sort or not: pages with where they were allocated"
    }
    fn holds(&self) -> Holds {
        Holds::Stacks
    }
    fn marks(&self) -> &'static [&'static [u8]] {
        &[b"Page allocated via order", b"nr_base_pages:", b"stack_count:", b" times, "]
    }
    fn reach(&self, rest: &[u8]) -> Option<usize> {
        Some(rest.len())
    }
    fn begins(&self, _: &[u8], rest: &[u8]) -> bool {
        let first = super::first_line(rest);
        first.starts_with(PAGES) || first.starts_with(COUNT) || times(first).is_some() || self.sniff(rest) == Confidence::Certain
    }
    /// `show_stacks` has the number of a stack below its frames.
    fn begins_above(&self, above: &[u8], rest: &[u8]) -> usize {
        if rest.starts_with(RECORD) || times(super::first_line(rest)).is_some() {
            return above.len();
        }
        let mut at = above.len();
        while at > 0 {
            let start = memchr::memrchr(b'\n', &above[..at - 1]).map_or(0, |n| n + 1);
            let line = Line { number: 1, start: 0, bytes: above[start..at - 1].trim_ascii_end() };
            if !line.bytes.starts_with(b" ") || linux_frame::alone(&line, 0, line.bytes.len()).is_none_or(|frame| frame.size.is_none()) {
                break;
            }
            at = start;
        }
        at
    }

    /// The kernel's log words both otherwise, and puts no record at the start of a line without its stamp.
    fn sniff(&self, head: &[u8]) -> Confidence {
        let (mut record, mut sorted) = (false, false);
        for line in lex::lines(head) {
            let is_record = line.bytes.starts_with(RECORD);
            let below = record && line.bytes.starts_with(b"PFN ");
            let counted = sorted && (is_record || frame(&line).is_some());
            if line.bytes.starts_with(PAGES) || line.bytes.starts_with(COUNT) || below || counted {
                return Confidence::Certain;
            }
            (record, sorted) = (is_record, times(line.bytes).is_some());
        }
        Confidence::No
    }

    fn parse(&self, text: &[u8]) -> Capture {
        let mut reader = Reader { text, ..Reader::default() };
        lex::lines(text).for_each(|line| reader.line(&line));
        reader.finish()
    }
}

#[derive(Default)]
struct Reader<'t> {
    text: &'t [u8],
    stacks: Vec<Stack>,
    /// The stack whose lines are read; of `show_stacks`, whose number comes last, it has no title.
    current: Option<Stack>,
    /// What page_owner_sort says of the next record, as a stack without frames.
    sorted: Option<Stack>,
    /// Lines whose numbers were too large.
    cut: Vec<u32>,
    pages: bool,
    arch: Option<Arch>,
}

impl Reader<'_> {
    fn line(&mut self, line: &Line<'_>) {
        let body = line.bytes;
        if body.trim_ascii().is_empty() {
            self.close();
        } else if let Some(rest) = body.strip_prefix(RECORD) {
            self.close();
            self.record(line, rest);
        } else if let Some(number) = body.strip_prefix(PAGES) {
            self.total(line, number, Some(PAGE));
        } else if let Some(number) = body.strip_prefix(COUNT) {
            self.total(line, number, None);
        } else if let Some([times, pages]) = times(body) {
            self.close();
            self.sorted(line, times, pages);
        } else if let Some(frame) = frame(line) {
            self.pages |= self.sorted.is_some();
            let sorted = self.sorted.take();
            let start = || sorted.unwrap_or(Stack { kind: StackKind::Alloc, count: 1, line: line.number, ..Stack::default() });
            self.arch = self.arch.or_else(|| linux_symbol::arch_of_entry(frame.symbol.of(self.text, line.start)));
            self.current.get_or_insert_with(start).frames.push(frame);
        }
    }

    fn number(&mut self, line: &Line<'_>, word: &[u8]) -> Option<u64> {
        let (value, cut) = lex::saturating(word)?;
        if cut {
            self.cut.push(line.number);
        }
        Some(value)
    }

    /// Takes how often and how many pages, and what may follow: `, PID 173, TGID 170, task_comm_name: a (b):`.
    fn sorted(&mut self, line: &Line<'_>, times: &[u8], pages: &[u8]) {
        let (Some(count), Some(pages)) = (self.number(line, times), self.number(line, pages)) else { return };
        let after = |key: &[u8]| memmem::find(line.bytes, key).map(|at| &line.bytes[at + key.len()..]);
        let pid = after(b", PID ").and_then(|rest| lex::decimal(rest.split(|b| !b.is_ascii_digit()).next()?));
        let name = after(b", task_comm_name: ").map(|rest| rest.trim_ascii_end()).map(|rest| rest.strip_suffix(b":").unwrap_or(rest));
        self.sorted = Some(Stack {
            kind: StackKind::Alloc,
            count,
            bytes: Some(pages.saturating_mul(PAGE)),
            pid: pid.and_then(|pid| i64::try_from(pid).ok()),
            process: name.map(lex::text),
            line: line.number,
            ..Stack::default()
        });
    }

    /// `2, mask 0x…(…), pid 173, tgid 173 (modprobe), ts …`.
    fn record(&mut self, line: &Line<'_>, rest: &[u8]) {
        let order = rest.split(|b| *b == b',').next().and_then(lex::decimal).and_then(|order| u32::try_from(order).ok());
        let one = order.and_then(|order| PAGE.checked_shl(order)).filter(|bytes| *bytes >= PAGE);
        if one.is_none() {
            self.cut.push(line.number);
        }
        let sorted = self.sorted.take().unwrap_or_default();
        let bytes = sorted.bytes.or(Some(one.unwrap_or(u64::MAX)));
        let after = |key: &[u8]| memmem::find(rest, key).map(|at| &rest[at + key.len()..]);
        let pid = after(b", pid ").and_then(|rest| lex::decimal(rest.split(|b| !b.is_ascii_digit()).next()?));
        let end = memmem::rfind(rest, b"), ts ").or_else(|| memmem::rfind(rest, b")"));
        let process = memmem::find(rest, b", tgid ").and_then(|at| {
            let open = at + memchr::memchr(b'(', &rest[at..])? + 1;
            Some(lex::text(rest.get(open..end?)?))
        });
        let title = Some(lex::text(line.bytes.split(|b| *b == b',').next().unwrap_or_default()));
        self.pages = true;
        self.current = Some(Stack {
            kind: StackKind::Alloc,
            title,
            count: sorted.count.max(1),
            bytes,
            pid: pid.and_then(|pid| i64::try_from(pid).ok()).or(sorted.pid),
            process: process.or(sorted.process),
            line: line.number,
            ..Stack::default()
        });
    }

    /// The line below a stack of `show_stacks`.
    fn total(&mut self, line: &Line<'_>, word: &[u8], each: Option<u64>) {
        let Some(count) = self.number(line, word.trim_ascii()) else { return };
        if let Some(stack) = &mut self.current {
            (stack.count, stack.bytes) = (count, each.map(|each| count.saturating_mul(each)));
            self.pages |= each.is_some();
        }
        self.close();
    }

    fn close(&mut self) {
        self.stacks.extend(self.current.take());
    }

    fn finish(mut self) -> Capture {
        self.close();
        let mut notes = Vec::new();
        if let Some(first) = self.cut.first() {
            let text = format!("line {first}: a number that is too large; the largest possible is taken ({} such lines)", self.cut.len());
            notes.push(Note::warning("", text));
        }
        if self.pages && !matches!(self.arch, Some(Arch::X86_64 | Arch::I386)) {
            notes.push(Note::warning("", format!("bytes count pages of {PAGE} bytes; the report does not say how large its kernel's are")));
        }
        Capture {
            format: PageOwner.id(),
            os: Some(Os::Linux),
            arch: self.arch,
            basis: Some(Basis::Runtime),
            stacks: self.stacks,
            notes,
            ..Capture::default()
        }
    }
}

/// A frame of a stack, which is indented by one blank.
fn frame(line: &Line<'_>) -> Option<RawFrame> {
    if line.bytes.starts_with(b" ") { linux_frame::alone(line, 0, line.bytes.len()) } else { None }
}

/// The numbers of `3 times, 12 pages` and what may follow.
fn times(line: &[u8]) -> Option<[&[u8]; 2]> {
    if !line.first()?.is_ascii_digit() {
        return None;
    }
    let mut words = lex::words(line);
    let mut next = || words.next();
    let (times, b"times,", pages, what) = (next()?, next()?, next()?, next()?) else { return None };
    (what.starts_with(b"pages") && lex::saturating(times).is_some() && lex::saturating(pages).is_some()).then_some([times, pages])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_sorted_records_and_stacks() {
        let text = "2 times, 8 pages:\nPage allocated via order 2, mask 0x52dc0(GFP_KERNEL|__GFP_ZERO), pid 173, tgid 170 (a (b)), ts 12 ns\n\
                    PFN 0x10a2c type Unmovable Block 133 type Unmovable Flags 0x200(workingset)\n post_alloc_hook+0x8a/0xa0\n \
                    entry_SYSCALL_64_after_hwframe+0x6e/0xd8\nCharged to memcg x\n\n vmem_alloc+0x2a/0x50 [spl]\nnr_base_pages: 1024\n\n \
                    f+0x1/0x2\nstack_count: 7\n";
        let capture = PageOwner.parse(text.as_bytes());
        let seen: Vec<_> = capture.stacks.iter().map(|stack| (stack.count, stack.bytes, stack.frames.len())).collect();
        assert_eq!(seen, [(2, Some(8 * 4096), 2), (1024, Some(4 << 20), 1), (7, None, 1)]);
        assert_eq!((capture.stacks[0].pid, capture.stacks[0].process.as_deref()), (Some(173), Some("a (b)")));
        assert!(capture.notes.is_empty(), "x86 has pages of one size: {:?}", capture.notes);
    }

    #[test]
    fn what_was_sorted_and_culled_keeps_its_counts() {
        let text = "12 times, 48 pages, PID 173, TGID 170, task_comm_name: a (b):\nPage allocated via order 2, mask 0x0()\n f+0x1/0x2\n\n\
                    3 times, 5 pages:\n g+0x1/0x2\n h+0x1/0x2\n\n i+0x1/0x2\n";
        assert_eq!(PageOwner.sniff(text.as_bytes()), Confidence::Certain);
        assert_eq!(PageOwner.sniff(&text.as_bytes()[memmem::find(text.as_bytes(), b"3 times").unwrap()..]), Confidence::Certain);
        assert_eq!(PageOwner.sniff(b"3 times, 5 pages:\nof text\n"), Confidence::No);
        let capture = PageOwner.parse(text.as_bytes());
        let seen: Vec<_> = capture.stacks.iter().map(|stack| (stack.count, stack.bytes, stack.pid, stack.process.as_deref())).collect();
        let want = [(12, Some(48 * 4096), Some(173), Some("a (b)")), (3, Some(5 * 4096), None, None), (1, None, None, None)];
        assert_eq!(seen, want);
    }

    #[test]
    fn what_is_too_large_saturates_and_is_said() {
        let text = "Page allocated via order 99, mask 0x0(), pid 1\nPFN 0x1 type x\n f+0x1/0x2\n\n g+0x1/0x2\nnr_base_pages: 99999999999999999999\n";
        let capture = PageOwner.parse(text.as_bytes());
        assert_eq!(capture.stacks.iter().map(|stack| stack.bytes).collect::<Vec<_>>(), [Some(u64::MAX), Some(u64::MAX)]);
        assert_eq!(capture.notes.len(), 2, "{:?}", capture.notes);
    }
}
