//! Any text with kernel addresses in it: the fallback for what no other format claims.
//!
//! The first kernel address of a line is a frame; a blank line ends a stack. Only values in the upper half of a 64-bit
//! address space count, so that sizes, counters and user addresses stay what they are.
//!
//! `panic: WORDS`, as the BSDs begin what they print last, is taken as the title of a text that was cut off behind it. Which of them
//! it was, nobody can tell then. What programs in Go print when they die looks alike and is no kernel's.

use memchr::memmem;

use super::{Confidence, Format, Holds, lex};
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
        let mut open = false;
        for line in lex::lines(text) {
            capture.headlines.extend(panic(&line));
            let Some((text, value)) = address(line.bytes) else {
                open &= !line.bytes.trim_ascii().is_empty();
                continue;
            };
            if !open {
                capture.stacks.push(Stack { line: line.number, count: 1, ..Stack::default() });
                open = true;
            }
            let frame = RawFrame {
                address: Some(value),
                line_start: line.start,
                line: line.number,
                text,
                lookup: Lookup::Exact,
                reliable: true,
                ..RawFrame::default()
            };
            capture.arch = capture.arch.or_else(|| Arch::of_darwin_address(value));
            capture.stacks.last_mut().expect("opened above").frames.push(frame);
        }
        if is_of_go(text) {
            capture.headlines.clear();
        }
        capture
    }
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
    fn only_kernel_addresses_count_and_blank_lines_end_stacks() {
        let text = b"at 0xffffff8000202c78, size 0x1000\n  ffffff8000202d34\nuser 0x7fff00001234\n\n0xffffff7f80e4f90c\n";
        let capture = Addresses.parse(text);
        assert_eq!(capture.stacks.iter().map(|s| s.frames.len()).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(capture.stacks[0].frames[0].text.of(text, 0), b"0xffffff8000202c78");
    }
}
