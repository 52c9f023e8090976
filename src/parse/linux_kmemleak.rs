//! `/sys/kernel/debug/kmemleak`: objects that nothing in the kernel's memory points to any more.
//!
//! ```text
//! unreferenced object 0xffff88800f3a2c00 (size 944):
//!   comm "modprobe", pid 173, jiffies 4294893180 (age 103.212s)        the age up to 6.7
//!   hex dump (first 32 bytes):
//!     00 2c 3a 0f 80 88 ff ff 00 00 00 00 00 00 00 00  .,:.............
//!   backtrace (crc 5f1a2c33):                                          `backtrace:` up to 6.7
//!     [<000000001a2b3c4d>] kmem_cache_alloc+0x135/0x2f0                the address, hashed since 4.15, up to 6.7
//!     kmem_cache_alloc+0x135/0x2f0
//! unreferenced object (percpu) 0x607ee16 (size 16):                   or `(phys)`, since 6.14
//! ```
//! Source: `print_unreferenced` and `hex_dump_object` in mm/kmemleak.c (4.9, 6.12, 6.14). What the kernel says of the same objects in its log is
//! read with the log.

use memchr::memmem;

use super::lex::{self, Line};
use super::{Confidence, Format, Holds, linux_frame};
use crate::model::capture::{Capture, Os};
use crate::model::image::Basis;
use crate::model::stack::{RawFrame, Stack, StackKind};
use crate::note::Note;

/// The format.
pub struct Kmemleak;

impl Format for Kmemleak {
    fn id(&self) -> &'static str {
        "kmemleak"
    }
    fn about(&self) -> &'static str {
        "/sys/kernel/debug/kmemleak of Linux: unreferenced objects with their sizes and where they were allocated"
    }
    fn holds(&self) -> Holds {
        Holds::Stacks
    }
    fn marks(&self) -> &'static [&'static [u8]] {
        &[b"unreferenced object 0x"]
    }
    fn begins(&self, _: &[u8], rest: &[u8]) -> bool {
        let mut lines = lex::lines(rest);
        lines.next().is_some_and(|line| object(line.bytes).is_some()) && lines.next().is_none_or(|line| is_own(&line))
    }

    /// The file itself has no other lines in it; a log has.
    fn sniff(&self, head: &[u8]) -> Confidence {
        let mut objects = 0;
        // The last line may be cut.
        let whole = memchr::memrchr(b'\n', head).map_or(head, |end| &head[..end]);
        for line in lex::lines(whole) {
            objects += usize::from(object(line.bytes).is_some());
            if !is_own(&line) {
                return Confidence::No;
            }
        }
        if objects > 0 { Confidence::Certain } else { Confidence::No }
    }

    fn parse(&self, text: &[u8]) -> Capture {
        let mut reader = Reader::default();
        lex::lines(text).for_each(|line| reader.line(&line));
        Capture {
            format: Kmemleak.id(),
            os: Some(Os::Linux),
            basis: Some(Basis::Runtime),
            stacks: reader.stacks,
            notes: reader.notes,
            ..Capture::default()
        }
    }
}

/// Whether the file can have such a line, or the shell that showed it.
fn is_own(line: &Line<'_>) -> bool {
    let body = line.bytes.trim_ascii();
    let starts = |words: &[u8]| body.starts_with(words);
    body.is_empty()
        || object(line.bytes).is_some()
        || line.bytes.starts_with(b"# ")
        || line.bytes.starts_with(b"$ ")
        || (line.bytes.starts_with(b"  ") && (starts(b"comm \"") || starts(b"hex dump (") || starts(b"backtrace") || is_hex_row(body)))
        || (line.bytes.starts_with(b"    ") && linux_frame::alone(line, 0, line.bytes.len()).is_some())
}

/// `6b 6b …  kkkk`, of which a row has 16 or 32 bytes at most.
fn is_hex_row(body: &[u8]) -> bool {
    let byte = |word: &[u8]| matches!(word.len(), 2 | 4 | 8 | 16) && word.iter().all(u8::is_ascii_hexdigit);
    lex::words(body).next().is_some_and(byte)
}

/// Where an object is that no address of the kernel's own memory tells.
const OF_OTHERS: [&[u8]; 2] = [b"(percpu) ", b"(phys) "];

/// Everything behind `unreferenced object ` at the start of a line.
fn object(line: &[u8]) -> Option<&[u8]> {
    let rest = line.strip_prefix(b"unreferenced object ")?;
    OF_OTHERS.iter().find_map(|words| rest.strip_prefix(*words)).unwrap_or(rest).starts_with(b"0x").then_some(rest)
}

#[derive(Default)]
struct Reader {
    stacks: Vec<Stack>,
    /// Below `backtrace:`.
    inside: bool,
    notes: Vec<Note>,
}

impl Reader {
    fn line(&mut self, line: &Line<'_>) {
        let body = line.bytes.trim_ascii();
        if let Some(rest) = object(line.bytes) {
            self.object(line, rest);
        } else if let Some(rest) = body.strip_prefix(b"comm \"") {
            self.comm(rest);
        } else if body.starts_with(b"backtrace") && body.ends_with(b":") {
            self.inside = true;
        } else if self.inside {
            match linux_frame::alone(line, 0, line.bytes.len()) {
                Some(frame) => self.frame(frame),
                None => self.inside = false,
            }
        }
    }

    fn object(&mut self, line: &Line<'_>, rest: &[u8]) {
        let size = memmem::find(rest, b"(size ").map(|at| &rest[at + 6..]);
        let size = size.and_then(|rest| lex::saturating(rest.split(|b| *b == b')').next()?));
        if size.is_none_or(|(_, cut)| cut) {
            let bytes = size.map_or("no size can be read".to_string(), |(bytes, _)| format!("the size is too large; taken as {bytes}"));
            self.notes.push(Note::warning("", format!("line {}: {bytes}", line.number)));
        }
        let title = Some(lex::text(line.bytes.trim_ascii().strip_suffix(b":").unwrap_or(line.bytes)));
        let bytes = size.map(|(bytes, _)| bytes);
        self.stacks.push(Stack { kind: StackKind::Alloc, title, bytes, count: 1, line: line.number, ..Stack::default() });
        self.inside = false;
    }

    /// `C", pid N, jiffies N`. A name can have quotes and commas in it.
    fn comm(&mut self, rest: &[u8]) {
        let Some((stack, at)) = self.stacks.last_mut().zip(memmem::rfind(rest, b"\", pid ")) else { return };
        stack.process = Some(lex::text(&rest[..at]));
        let digits = rest[at + 7..].split(|b| *b == b',').next().unwrap_or_default();
        stack.pid = lex::decimal(digits).and_then(|pid| i64::try_from(pid).ok());
    }

    fn frame(&mut self, frame: RawFrame) {
        if let Some(stack) = self.stacks.last_mut() {
            stack.frames.push(frame);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::detect;

    const OBJECT: &str = "unreferenced object 0xffff88800f3a2c00 (size 944):\n  comm \"a\", pid \"b\", pid 173, jiffies 4294893180\n  \
                          hex dump (first 16 bytes):\n    00 2c 3a 0f 80 88 ff ff 00 00 00 00 00 00 00 00  .,:.............\n  \
                          backtrace (crc 5f1a2c33):\n    [<000000001a2b3c4d>] kmem_cache_alloc+0x135/0x2f0\n    spl_kmem_zalloc+0x36/0x70 [spl]\n";

    #[test]
    fn objects_sizes_and_names() {
        let capture = Kmemleak.parse(OBJECT.as_bytes());
        let stack = &capture.stacks[0];
        assert_eq!((stack.bytes, stack.pid, stack.process.as_deref()), (Some(944), Some(173), Some("a\", pid \"b")));
        assert_eq!((stack.frames.len(), capture.notes.len()), (2, 0));
        let capture = Kmemleak.parse(OBJECT.replace("944", "99999999999999999999").as_bytes());
        assert_eq!((capture.stacks[0].bytes, capture.notes.len()), (Some(u64::MAX), 1));
    }

    #[test]
    fn objects_of_each_cpu_and_of_physical_memory_are_objects() {
        for place in ["(percpu) 0x607ee16", "(phys) 0x00000001"] {
            let text = OBJECT.replace("0xffff88800f3a2c00", place);
            assert_eq!(detect(text.as_bytes()).map(|format| format.id()), Some("kmemleak"), "{place}");
            let stack = &Kmemleak.parse(text.as_bytes()).stacks[0];
            assert_eq!((stack.bytes, stack.pid, stack.frames.len()), (Some(944), Some(173), 2), "{place}");
        }
    }

    #[test]
    fn only_the_file_itself_is_one() {
        let format = |text: &str| detect(text.as_bytes()).map(|format| format.id());
        assert_eq!(format(OBJECT), Some("kmemleak"));
        assert_eq!(format(&format!("# cat /sys/kernel/debug/kmemleak\n{OBJECT}{OBJECT}")), Some("kmemleak"));
        assert_eq!(format(&format!("BUG: memory leak\n{OBJECT}")), Some("linux-log"));
        assert_eq!(format(&format!("Linux version 6.1.0\n{OBJECT}")), Some("linux-log"));
        let stamped: String = OBJECT.lines().map(|line| format!("[   55.614677] {line}\n")).collect();
        assert_eq!(format(&stamped), Some("linux-log"));
    }
}
