//! The order of lines in what pstore kept of a dying kernel's log.
//!
//! ```text
//! Panic#1 Part2                                       the older half
//! <4>[   12.345678] Call Trace:
//! Panic#1 Part1                                       the younger half, which firmware can list first
//! <4>[   12.345679]  schedule+0x5a/0xd0
//! ```
//! Source: fs/pstore/platform.c (`pstore_dump`, 6.12): the log is written from its end, in pieces as large as the store takes, each with
//! such a heading. A stack can begin in one part and end in the next. What `cat` makes of the files in /sys/fs/pstore is read here.

use memchr::memmem;

use super::lex::{self, Line};

/// A heading and the lines below it.
struct Part<'t> {
    /// `Panic#1`.
    dump: &'t [u8],
    number: u64,
    /// Position of its dump among all.
    order: usize,
    first: Line<'t>,
    end: usize,
}

/// Calls `each` with every line in the order in which the kernel printed them: that of the text, unless it begins with a part's heading.
pub fn lines<'t>(text: &'t [u8], mut each: impl FnMut(&Line<'t>)) {
    if lex::lines(text).next().and_then(|line| heading(line.bytes)).is_none() {
        lex::lines(text).for_each(|line| each(&line));
        return;
    }
    for part in parts(text) {
        let start = part.first.start as usize;
        for line in lex::lines(&text[start..part.end]).skip(1) {
            let number = part.first.number.saturating_add(line.number - 1);
            each(&Line { number, start: line.start + part.first.start, bytes: line.bytes });
        }
    }
}

/// The parts of each dump, the last first.
fn parts(text: &[u8]) -> Vec<Part<'_>> {
    let mut parts: Vec<Part<'_>> = Vec::new();
    for line in lex::lines(text) {
        let Some((dump, number)) = heading(line.bytes) else { continue };
        let order = match parts.last_mut() {
            Some(last) => {
                last.end = line.start as usize;
                last.order + usize::from(last.dump != dump)
            }
            None => 0,
        };
        parts.push(Part { dump, number, order, first: line, end: text.len() });
    }
    parts.sort_by_key(|part| (part.order, std::cmp::Reverse(part.number)));
    parts
}

/// `Panic#1 Part2`: the dump and the number of the part.
fn heading(line: &[u8]) -> Option<(&[u8], u64)> {
    if !line.first()?.is_ascii_uppercase() || line.len() > 40 {
        return None;
    }
    let at = memmem::find(line, b" Part")?;
    let (dump, number) = (&line[..at], lex::decimal(line[at + 5..].trim_ascii_end())?);
    let count = dump.iter().position(|b| *b == b'#')?;
    lex::decimal(&dump[count + 1..])?;
    Some((dump, number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(text: &str) -> String {
        let mut seen = Vec::new();
        lines(text.as_bytes(), |line| {
            assert_eq!(lex::lines(text.as_bytes()).nth(line.number as usize - 1).unwrap().start, line.start);
            seen.push(lex::text(line.bytes));
        });
        seen.join(" ")
    }

    #[test]
    fn parts_are_read_from_the_last_to_the_first() {
        assert_eq!(order("Oops#1 Part1\nc\nd\nOops#1 Part2\na\nb\nPanic#2 Part1\nf\nPanic#2 Part10\ne"), "a b c d e f");
        assert_eq!(order("a\nOops#1 Part1\nb\n"), "a Oops#1 Part1 b");
        assert_eq!(order(""), "");
    }
}
