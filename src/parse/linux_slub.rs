//! `alloc_traces` and `free_traces` of Linux's slab caches (`slab_debug=U`), below `/sys/kernel/debug/slab/CACHE`; before 5.14
//! `alloc_calls` and `free_calls` below `/sys/kernel/slab/CACHE`.
//!
//! ```text
//! ==> /sys/kernel/debug/slab/kmalloc-1k/alloc_traces <==                head, tail: which cache, and how large its objects are
//!    1209 spl_kmem_alloc_impl+0x92/0xe0 [spl] waste=309504/256 age=1203/40122/88123 pid=1-812 cpus=0-3
//!         __kmalloc_node+0x4c/0x150                                      the stack, since 5.16
//!         spl_kmem_alloc_impl+0x92/0xe0 [spl]
//!
//!      12 <not-available> age=4294893180 pid=0
//! ```
//! Source: `slab_debugfs_show` in mm/slub.c (5.10, 6.12).

use memchr::memmem;

use super::lex::{self, Line};
use super::{Confidence, Format, Holds, linux_frame};
use crate::model::capture::{Capture, Os};
use crate::model::image::Basis;
use crate::model::stack::{RawFrame, Stack, StackKind};
use crate::note::Note;

/// The format.
pub struct SlubTraces;

impl Format for SlubTraces {
    fn id(&self) -> &'static str {
        "slub-traces"
    }
    fn about(&self) -> &'static str {
        "alloc_traces and free_traces of Linux's slab caches, one file or many with head's or tail's headings"
    }
    fn holds(&self) -> Holds {
        Holds::Stacks
    }
    fn marks(&self) -> &'static [&'static [u8]] {
        &[b" age=", b"/alloc_traces", b"/free_traces", b"/alloc_calls", b"/free_calls"]
    }
    fn begins(&self, _: &[u8], rest: &[u8]) -> bool {
        let mut lines = lex::lines(rest);
        let Some(first) = lines.next() else { return false };
        Row::of(&first).is_some() || Cache::of(first.bytes).is_some() && lines.take(3).any(|line| Row::of(&line).is_some())
    }

    fn sniff(&self, head: &[u8]) -> Confidence {
        let found = lex::lines(head).any(|line| Row::of(&line).is_some());
        if found { Confidence::Certain } else { Confidence::No }
    }

    fn parse(&self, text: &[u8]) -> Capture {
        let mut reader = Reader::default();
        lex::lines(text).for_each(|line| reader.line(&line));
        Capture {
            format: SlubTraces.id(),
            os: Some(Os::Linux),
            basis: Some(Basis::Runtime),
            stacks: reader.stacks,
            notes: reader.notes,
            ..Capture::default()
        }
    }
}

/// `N SYM [waste=…] age=… pid=…`.
struct Row {
    count: u64,
    /// Whether the count was too large.
    cut: bool,
    caller: Option<RawFrame>,
    pid: Option<i64>,
}

impl Row {
    fn of(line: &Line<'_>) -> Option<Row> {
        let bytes = line.bytes;
        let start = lex::indent(bytes);
        let digits = bytes[start..].iter().take_while(|b| b.is_ascii_digit()).count();
        let from = start + digits + 1;
        let (count, cut) = lex::saturating(&bytes[start..start + digits])?;
        let age = memmem::find(bytes, b" age=").filter(|age| *age > from && bytes[from - 1] == b' ')?;
        let end = memmem::find(&bytes[..age], b" waste=").unwrap_or(age).max(from);
        let caller = linux_frame::alone(line, from, end);
        if caller.is_none() && &bytes[from..end] != b"<not-available>" {
            return None;
        }
        let pid = lex::words(&bytes[age..]).find_map(|word| lex::decimal(word.strip_prefix(b"pid=")?));
        Some(Row { count, cut, caller, pid: pid.and_then(|pid| i64::try_from(pid).ok()) })
    }
}

/// A cache, as a heading of `head` or a path in front names it.
#[derive(Default)]
struct Cache {
    name: String,
    freed: bool,
    /// Bytes of one of its objects, where its name says so.
    object: Option<u64>,
}

impl Cache {
    /// `==> …/slab/CACHE/alloc_traces <==` and other lines with that path.
    fn of(line: &[u8]) -> Option<Cache> {
        let (at, freed) = [(&b"/alloc_traces"[..], false), (b"/free_traces", true), (b"/alloc_calls", false), (b"/free_calls", true)]
            .into_iter()
            .find_map(|(file, freed)| Some((memmem::find(line, file)?, freed)))?;
        let path = &line[..at];
        let name = &path[path.iter().rposition(|b| matches!(b, b'/' | b' ')).map_or(0, |at| at + 1)..];
        Some(Cache { name: lex::text(name), freed, object: object_size(name) })
    }
}

/// 1024 of `kmalloc-1k`, `kmalloc-cg-1k`, `dma-kmalloc-1024`: the caches whose names are sizes.
fn object_size(name: &[u8]) -> Option<u64> {
    memmem::find(name, b"kmalloc-")?;
    let size = name.rsplit(|b| *b == b'-').next()?;
    let (digits, unit) = match size.split_last()? {
        (b'k', digits) => (digits, 1 << 10),
        (b'M', digits) => (digits, 1 << 20),
        _ => (size, 1),
    };
    lex::decimal(digits)?.checked_mul(unit)
}

#[derive(Default)]
struct Reader {
    stacks: Vec<Stack>,
    cache: Cache,
    /// Below a row, before the blank line.
    inside: bool,
    notes: Vec<Note>,
}

impl Reader {
    fn line(&mut self, line: &Line<'_>) {
        if let Some(row) = Row::of(line) {
            self.row(line, row);
        } else if let Some(cache) = Cache::of(line.bytes) {
            (self.cache, self.inside) = (cache, false);
        } else if self.inside {
            match linux_frame::alone(line, 0, line.bytes.len()) {
                Some(frame) if line.bytes.starts_with(b" ") => self.frame(frame),
                _ => self.inside = false,
            }
        }
    }

    fn row(&mut self, line: &Line<'_>, row: Row) {
        if row.cut {
            self.notes.push(Note::warning("", format!("line {}: the count is too large; taken as {}", line.number, row.count)));
        }
        self.inside = true;
        self.stacks.push(Stack {
            kind: if self.cache.freed { StackKind::Free } else { StackKind::Alloc },
            title: Some(self.cache.name.clone()).filter(|name| !name.is_empty()),
            pid: row.pid,
            count: row.count,
            bytes: self.cache.object.map(|object| object.saturating_mul(row.count)),
            line: line.number,
            frames: row.caller.into_iter().collect(),
            ..Stack::default()
        });
    }

    /// A frame below a row, whose own function is then one of the stack and stands in it once more.
    fn frame(&mut self, frame: RawFrame) {
        let Some(stack) = self.stacks.last_mut() else { return };
        let line = stack.line;
        stack.frames.iter_mut().filter(|caller| caller.line == line).for_each(|caller| caller.reliable = false);
        stack.frames.push(frame);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_with_and_without_stacks() {
        let text = "==> /sys/kernel/debug/slab/kmalloc-cg-1k/alloc_traces <==\n   1209 f+0x92/0xe0 [spl] waste=309504/256 age=1/2/3 pid=7-812 cpus=0-3\n        \
                    g+0x4c/0x150\n        f+0x92/0xe0 [spl]\n\n     12 <not-available> age=4294893180 pid=0\n\n\
                    ==> /sys/kernel/debug/slab/zio_cache/free_traces <==\n      3 h+0x1/0x2 age=5\n";
        let capture = SlubTraces.parse(text.as_bytes());
        let seen: Vec<_> = capture.stacks.iter().map(|stack| (stack.kind, stack.count, stack.bytes, stack.frames.len())).collect();
        let (alloc, free) = (StackKind::Alloc, StackKind::Free);
        assert_eq!(seen, [(alloc, 1209, Some(1209 << 10), 3), (alloc, 12, Some(12 << 10), 0), (free, 3, None, 1)]);
        let reliable: Vec<bool> = capture.stacks[0].frames.iter().map(|frame| frame.reliable).collect();
        assert_eq!(reliable, [false, true, true], "the row's own function stands in the stack");
    }

    #[test]
    fn what_is_too_large_saturates_and_is_said() {
        let text = "/slab/kmalloc-8/alloc_traces\n 99999999999999999999 f+0x1/0x2 age=1 pid=1\n";
        let capture = SlubTraces.parse(text.as_bytes());
        assert_eq!((capture.stacks[0].count, capture.stacks[0].bytes, capture.notes.len()), (u64::MAX, Some(u64::MAX), 1));
        assert!(Row::of(&lex::lines(b"1209").next().unwrap()).is_none());
    }
}
