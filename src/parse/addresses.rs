//! Any text with kernel addresses in it: the fallback for what no other format claims.
//!
//! The first kernel address of a line is a frame; a blank line ends a stack. Only values in the upper half of a 64-bit
//! address space count, so that sizes, counters and user addresses stay what they are. What an earlier run of kstack wrote to an address
//! is read with it: `0xADDR SYM FILE:LINE`, `NAME (in IMAGE) + N (0xADDR)`, and the lines below.
//!
//! `panic: WORDS`, as the BSDs begin what they print last, is taken as the title of a text that was cut off behind it. Which of them
//! it was, nobody can tell then. What programs in Go print when they die looks alike and is no kernel's.

use memchr::memmem;

use super::linux_symbol::{Cursor, located};
use super::{Confidence, Format, Holds, atos, debugger_parts, lex};
use crate::model::addr::{Arch, Avma};
use crate::model::capture::{Capture, Headline};
use crate::model::stack::{Lookup, RawFrame, Span, Stack};

/// The format.
pub struct Addresses;

/// Below this nothing is taken for a kernel address: x86_64's and arm64's kernels live in the upper 16 TiB and above.
const LOWEST: u64 = 0xffff_0000_0000_0000;

impl Format for Addresses {
    fn id(&self) -> &'static str {
        "addresses"
    }
    fn about(&self) -> &'static str {
        "any text with kernel addresses in it, one frame a line, or the line of a panic (fallback); addresses are taken as exact"
    }
    fn holds(&self) -> Holds {
        Holds::Stacks
    }

    fn sniff(&self, head: &[u8]) -> Confidence {
        let found = lex::lines(head).any(|line| address(line.bytes).is_some() || panic(&line).is_some() && !is_of_go(head));
        if found { Confidence::Fallback } else { Confidence::No }
    }

    fn parse(&self, text: &[u8]) -> Capture {
        let mut capture = Capture { format: self.id(), ..Capture::default() };
        let (mut open, mut latest) = (false, 0);
        for line in lex::lines(text) {
            capture.headlines.extend(panic(&line));
            let Some(frame) = frame(&line) else {
                if open && line.number == latest + 1 && is_note(line.bytes) {
                    latest = line.number;
                    capture.stacks.last_mut().and_then(|stack| stack.frames.last_mut()).expect("opened with one").notes += 1;
                }
                open &= !line.bytes.trim_ascii().is_empty();
                continue;
            };
            latest = line.number;
            if !open {
                capture.stacks.push(Stack { line: line.number, count: 1, ..Stack::default() });
                open = true;
            }
            capture.arch = capture.arch.or_else(|| frame.address.and_then(Arch::of_darwin_address));
            capture.stacks.last_mut().expect("opened above").frames.push(frame);
        }
        if is_of_go(text) {
            capture.headlines.clear();
        }
        capture
    }
}

/// The first kernel address of a line, with what an earlier run found out about it.
fn frame(line: &lex::Line<'_>) -> Option<RawFrame> {
    let (text, value) = address(line.bytes)?;
    let named = named(line.bytes, text).filter(|frame| frame.address == Some(value));
    let frame = named.unwrap_or_else(|| followed(line, RawFrame { address: Some(value), text, reliable: true, ..RawFrame::default() }));
    Some(RawFrame { line_start: line.start, line: line.number, lookup: Lookup::Exact, ..frame })
}

/// `0xADDR SYM [MODULE] FILE:LINE`.
fn followed(line: &lex::Line<'_>, mut frame: RawFrame) -> RawFrame {
    let record = debugger_parts::record(line);
    let cursor = &mut Cursor { record: &record, at: frame.text.end as usize };
    cursor.blanks();
    if let Some(found) = cursor.symbol() {
        frame = RawFrame { symbol: found.symbol, offset: found.offset, size: found.size, module: found.module, ..frame };
        frame.text.end = found.text.end;
        located(cursor, &mut frame);
    }
    frame
}

/// `NAME (in IMAGE) + N (0xADDR)` around the address that stands at `address`, in words of other people.
fn named(line: &[u8], address: Span) -> Option<RawFrame> {
    let (start, end) = (address.start as usize, address.end as usize);
    let before = line[..start].strip_suffix(b" (").filter(|_| line.get(end) == Some(&b')'))?;
    let name = &before[..memmem::rfind(before, b" (in ")?];
    atos::rewritten(line, &line[name_start(name)..=end]).filter(|frame| !frame.module.is_empty())
}

/// Where the name begins that `text` ends with: names of C++ have blanks within parentheses and templates, and behind `operator`.
fn name_start(text: &[u8]) -> usize {
    let (mut at, mut depth) = (text.len(), 0usize);
    while at > 0 {
        match text[at - 1] {
            b')' | b'>' => depth += 1,
            b' ' | b'(' | b'<' if depth == 0 && !text[..at - 1].ends_with(b"operator") => break,
            b'(' | b'<' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at -= 1;
    }
    let after = text[..at].strip_suffix(atos::AFTER);
    after.map_or(at, <[u8]>::len)
}

/// Whether an earlier run wrote a line below a frame.
fn is_note(line: &[u8]) -> bool {
    atos::is_location(line) || line.trim_ascii_end().ends_with(b" [inline]")
}

/// What the line says that a kernel died of.
fn panic(line: &lex::Line<'_>) -> Option<Headline> {
    let said = line.bytes.trim_ascii_end();
    let own = said.strip_prefix(b"panic: ").is_some_and(|words| !words.trim_ascii().is_empty());
    own.then_some(Headline { line: line.number, line_start: line.start, text: Span { start: 0, end: said.len() as u32 } })
}

/// Whether a program in Go wrote the text.
fn is_of_go(text: &[u8]) -> bool {
    memmem::find(text, b"\ngoroutine ").is_some()
}

/// The first word of hex digits in `line` that is a kernel address, and where it stands.
fn address(line: &[u8]) -> Option<(Span, Avma)> {
    let mut at = 0;
    while at < line.len() {
        let end = line[at..].iter().position(|b| !b.is_ascii_alphanumeric()).map_or(line.len(), |n| at + n);
        let word = &line[at..end];
        let value = if word.len() == 16 { lex::bare_hex(word) } else { lex::hex(word) };
        if let Some(value) = value.filter(|value| *value >= LOWEST) {
            return Some((Span { start: at as u32, end: end as u32 }, Avma(value)));
        }
        at = end + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_of_which_nothing_else_is_left_is_the_title() {
        let text = b"executing program\npanic: vop_loop: send disconnect: Broken pipe\n";
        assert_eq!(Addresses.sniff(text), Confidence::Fallback);
        let headlines = Addresses.parse(text).headlines;
        let said: Vec<&[u8]> = headlines.iter().map(|headline| headline.text.of(text, headline.line_start)).collect();
        assert_eq!(said, [b"panic: vop_loop: send disconnect: Broken pipe"]);
        let go = b"panic: no result\n\ngoroutine 1 [running]:\nmain.main()\n";
        assert_eq!((Addresses.sniff(go), Addresses.sniff(b"panic: \n")), (Confidence::No, Confidence::No));
    }

    #[test]
    fn what_an_earlier_run_wrote_is_read_with_its_address() {
        let text = b"at foo (in mach_kernel) + 24 (0xffffff8000202c78), then\n    at a.c:1 in foo\n\
            int a::f(int, b<c, d>) (in x) + 1 (0xffffff8000202c79)\nafter bar (in x) (0xffffff8000202c80)\n(0xffffff8000202c81)\n\
            0xffffffff81200010 g+0x1/0x2 [m] a.c:1 or so\n h a.c:2 [inline]\n(in x) (0xffffff8000202c82)\n";
        let capture = Addresses.parse(text);
        let of = |frame: &RawFrame, span: Span| lex::text(span.of(text, frame.line_start));
        let seen: Vec<_> = capture.stacks[0].frames.iter().map(|f| (of(f, f.text), of(f, f.symbol), f.notes)).collect();
        let row = |text: &str, symbol: &str, notes| (text.to_string(), symbol.to_string(), notes);
        assert_eq!(
            seen,
            [
                row("foo (in mach_kernel) + 24 (0xffffff8000202c78)", "foo", 1),
                row("a::f(int, b<c, d>) (in x) + 1 (0xffffff8000202c79)", "a::f(int, b<c, d>)", 0),
                row("after bar (in x) (0xffffff8000202c80)", "", 0),
                row("0xffffff8000202c81", "", 0),
                row("0xffffffff81200010 g+0x1/0x2 [m]", "g", 1),
                row("0xffffff8000202c82", "", 0),
            ]
        );
        let located = capture.stacks[0].frames[4];
        assert_eq!((of(&located, located.location), located.offset, of(&located, located.module)), ("a.c:1".into(), Some(1), "m".into()));
    }

    #[test]
    fn only_kernel_addresses_count_and_blank_lines_end_stacks() {
        let text = b"at 0xffffff8000202c78, size 0x1000\n  ffffff8000202d34\nuser 0x7fff00001234\n\n0xffffff7f80e4f90c\n";
        let capture = Addresses.parse(text);
        assert_eq!(capture.stacks.iter().map(|s| s.frames.len()).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(capture.stacks[0].frames[0].text.of(text, 0), b"0xffffff8000202c78");
    }
}
