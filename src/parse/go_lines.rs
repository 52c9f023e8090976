//! What stands on the lines that a Go program writes when it dies: stamps, what went wrong, headings of goroutines, calls and their places.
//!
//! ```text
//! W0622 12:13:40.568842    9726 error.go:48] FATAL ERROR: EOF             gVisor's log (glog); 2022/04/21 07:35:27 is package log's
//! panic: no such process                                                  what went wrong
//! goroutine 172 [select, 9 minutes, locked to thread]:                    heading
//! example.org/x/pkg/kernel.(*Task).run(0xc00078e000, 0x1)                 call; `(...)` where it was inlined
//!         pkg/kernel/task_run.go:93 +0x31d fp=0xc000073fb0 sp=0xc000073dd6 pc=0xae90fb
//! created by example.org/x/pkg/kernel.(*Task).Start in goroutine 1
//! ```
//! Sources: runtime/traceback.go, runtime/panic.go, runtime/signal_unix.go (Go 1.10 to 1.24), the report of the race detector
//! (go.dev/doc/articles/race_detector), pkg/log of gVisor. `+0x31d` is the distance of the pc from the function's start.

use memchr::memmem;

use super::lex::{self, Line};
use crate::model::addr::Avma;
use crate::model::stack::{RawFrame, Role, Span};

/// How a message begins that says what went wrong.
const HEADLINES: &[&[u8]] = &[
    b"panic: ",
    b"Panic: ",
    b"fatal error: ",
    b"FATAL ERROR: ",
    b"SIGSEGV: ",
    b"SIGBUS: ",
    b"SIGILL: ",
    b"SIGFPE: ",
    b"WARNING: DATA RACE",
    b"Invalid request partialResult ",
    b"SYZFATAL: ",
    b"SYZFAIL: ",
];

/// Where the message begins behind a stamp; 0 without one.
pub(super) fn stamp(line: &[u8]) -> usize {
    glog(line).or_else(|| log(line)).unwrap_or(0)
}

/// `W0622 12:13:40.568842    9726 error.go:48] `: level, month and day, time, process, place.
pub(super) fn glog(line: &[u8]) -> Option<usize> {
    let digits = |range: std::ops::Range<usize>| line.get(range).is_some_and(|part| part.iter().all(u8::is_ascii_digit));
    let stamped = matches!(line.first()?, b'D' | b'I' | b'W' | b'E' | b'F') && digits(1..5) && line.get(5) == Some(&b' ') && digits(6..8);
    let end = memmem::find(line.get(..line.len().min(160))?, b"] ").filter(|_| stamped)?;
    Some(end + 2)
}

/// `2022/04/21 07:35:27 `, also with a fraction of a second.
fn log(line: &[u8]) -> Option<usize> {
    const FORM: &[u8] = b"0000/00/00 00:00:00";
    let fits = |(form, byte): (&u8, &u8)| if *form == b'0' { byte.is_ascii_digit() } else { form == byte };
    if line.len() <= FORM.len() || !FORM.iter().zip(line).all(fits) {
        return None;
    }
    let fraction = line[FORM.len()..].iter().take_while(|b| b.is_ascii_digit() || **b == b'.').count();
    (line.get(FORM.len() + fraction) == Some(&b' ')).then_some(FORM.len() + fraction + 1)
}

/// Where in `line` a message begins that says what went wrong. Consoles tear lines, so it can stand behind other words; but not in
/// quotes, and not as part of a longer word (`skb_panic:`).
pub(super) fn headline(line: &[u8]) -> Option<usize> {
    let start = stamp(line);
    let starts = HEADLINES.iter().filter_map(|words| Some(start + memmem::find(&line[start..], words)?));
    starts.filter(|at| *at == start || !matches!(line[at - 1], b'_' | b'"' | b'\'' | b'`' | b'(' | b'=')).min()
}

/// Whether what a line says behind its stamp begins with it: what no other program says.
pub(super) fn is_plain_headline(line: &[u8], words: &[&[u8]]) -> bool {
    let message = &line[stamp(line)..];
    words.iter().any(|words| message.starts_with(words))
}

/// The heading of a goroutine.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Goroutine<'t> {
    pub(super) id: &'t [u8],
    /// What stands in the brackets.
    pub(super) state: &'t [u8],
}

/// `goroutine 172 [select, 9 minutes]:`; since Go 1.23 with `gp=0x… m=nil` before the bracket.
pub(super) fn goroutine(line: &[u8]) -> Option<Goroutine<'_>> {
    let rest = line.trim_ascii().strip_prefix(b"goroutine ")?;
    let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    let (id, rest) = rest.split_at(digits);
    let rest = rest.strip_suffix(b":")?.strip_suffix(b"]")?;
    let open = memmem::find(rest, b" [")?;
    let between = lex::words(&rest[..open]).all(|word| [&b"gp="[..], b"m=", b"mp="].iter().any(|name| word.starts_with(name)));
    (digits > 0 && between).then_some(Goroutine { id, state: &rest[open + 2..] })
}

/// What a heading of a report about a data race says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Race {
    /// `Read at 0xADDR by goroutine 7:`, `Previous write at 0xADDR by main goroutine:`.
    Access,
    /// `Goroutine 7 (running) created at:`.
    Created,
}

/// A heading of a report about a data race, and which goroutine it is about; the main one has no number.
pub(super) fn race(line: &[u8]) -> Option<(Race, Option<&[u8]>)> {
    let line = line.trim_ascii().strip_suffix(b":")?;
    let number = |rest: &[u8]| rest.iter().take_while(|b| b.is_ascii_digit()).count();
    if let Some(rest) = line.strip_prefix(b"Goroutine ") {
        let digits = number(rest);
        return (digits > 0 && rest.ends_with(b" created at")).then_some((Race::Created, Some(&rest[..digits])));
    }
    let access = [&b"Read "[..], b"Write ", b"Previous read ", b"Previous write ", b"Atomic ", b"Previous atomic "];
    let at = memmem::find(line, b" at 0x").filter(|_| access.iter().any(|words| line.starts_with(words)))?;
    let by = &line[at + memmem::find(&line[at..], b" by ")? + 4..];
    let who = by.strip_prefix(b"goroutine ");
    (who.is_some() || by == b"main goroutine").then_some((Race::Access, who.map(|who| &who[..number(who)])))
}

/// `NAME(ARGUMENTS)`, `NAME()` of race reports, `created by NAME in goroutine 1`.
pub(super) fn call(line: &Line<'_>) -> Option<RawFrame> {
    let start = lex::indent(line.bytes);
    let text = line.bytes[start..].trim_ascii_end();
    let whole = Span { start: start as u32, end: (start + text.len()) as u32 };
    let mut frame =
        RawFrame { line: line.number, line_start: line.start, text: whole, symbol: whole, reliable: true, ..RawFrame::default() };
    if let Some(creator) = text.strip_prefix(b"created by ") {
        let name = memmem::find(creator, b" in goroutine ").unwrap_or(creator.len());
        frame.symbol = Span { start: whole.start + 11, end: whole.start + 11 + name as u32 };
        // It started the goroutine and does not wait for it.
        frame.reliable = false;
        return is_name(&creator[..name]).then_some(frame);
    }
    let open = arguments(text)?;
    if &text[open..] == b"(...)" {
        frame.role = Role::Inline;
    }
    frame.symbol.end = whole.start + open as u32;
    is_name(&text[..open]).then_some(frame)
}

/// Where the parenthesis opens that the last one of `text` closes.
fn arguments(text: &[u8]) -> Option<usize> {
    let mut depth = 0usize;
    if text.last() != Some(&b')') {
        return None;
    }
    for (at, byte) in text.iter().enumerate().rev() {
        match byte {
            b')' => depth += 1,
            b'(' => depth = depth.checked_sub(1)?,
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

/// Whether `name` can be a function's: `main.main`, `a.org/b.(*T).F.func1`, `panic`.
fn is_name(name: &[u8]) -> bool {
    let first = name.first().is_some_and(|b| b.is_ascii_alphabetic() || *b == b'_' || *b >= 0x80);
    let count = |wanted: u8| name.iter().filter(|b| **b == wanted).count();
    first
        && count(b'(') == count(b')')
        && !name.iter().any(|b| matches!(b, b' ' | b'\t' | b'"' | b'\'' | b'=' | b'<' | b'>') || b.is_ascii_control())
}

/// The line below a call: where the pc stands.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// `FILE:LINE`.
    pub(super) location: Span,
    pub(super) offset: Option<u64>,
    pub(super) pc: Option<Avma>,
}

/// `\tFILE:LINE +0x31d fp=0xc000073fb0 sp=0xc000073dd6 pc=0xae90fb`.
pub(super) fn place(line: &[u8]) -> Option<Place> {
    let start = lex::indent(line);
    let mut text = line[start..].trim_ascii_end();
    let mut found = Place { location: Span::default(), offset: None, pc: None };
    loop {
        let at = text.iter().rposition(|b| *b == b' ').map_or(0, |at| at + 1);
        let word = &text[at..];
        if let Some(offset) = word.strip_prefix(b"+").and_then(lex::hex) {
            found.offset = Some(offset);
        } else if let Some(pc) = word.strip_prefix(b"pc=").and_then(lex::hex) {
            found.pc = Some(Avma(pc));
        } else if !(word.starts_with(b"fp=0x") || word.starts_with(b"sp=0x")) {
            break;
        }
        text = text[..at].trim_ascii_end();
    }
    let colon = memchr::memrchr(b':', text).filter(|colon| *colon > 0)?;
    lex::decimal(&text[colon + 1..])?;
    found.location = Span { start: start as u32, end: (start + text.len()) as u32 };
    let path = &text[..colon];
    (start > 0 && path.iter().any(|b| matches!(b, b'.' | b'/')) && !path.contains(&b'(')).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_wrong_stands_behind_stamps_and_torn_words() {
        assert_eq!(headline(b"panic: no such process"), Some(0));
        assert_eq!(headline(b"W0622 12:13:40.568842    9726 x:0] FATAL ERROR: EOF"), Some(35));
        assert_eq!(headline(b"2022/04/21 07:35:27 SYZFATAL: executor 0 failed"), Some(20));
        assert_eq!(headline(b"executing programpanic: a"), Some(17));
        for none in [&b"skb_panic: x"[..], b"write(1, \"panic: x\")", b"panics: none", b""] {
            assert_eq!(headline(none), None);
        }
    }

    #[test]
    fn headings_tell_the_goroutine() {
        let is = |id: &'static str, state: &'static str| Some(Goroutine { id: id.as_bytes(), state: state.as_bytes() });
        assert_eq!(goroutine(b"goroutine 172 [select, 9 minutes]:"), is("172", "select, 9 minutes"));
        assert_eq!(goroutine(b"goroutine 7 gp=0xc000002380 m=nil [chan receive (nil chan)]:"), is("7", "chan receive (nil chan)"));
        assert_eq!(goroutine(b"goroutine x [running]:"), None);
        assert_eq!(goroutine(b"goroutine 1 of 2 [running]:"), None);
        assert_eq!(race(b"Read at 0x00c970d5e3a6 by goroutine 185:"), Some((Race::Access, Some(&b"185"[..]))));
        assert_eq!(race(b"Previous write at 0x00c970d5e3a6 by main goroutine:"), Some((Race::Access, None)));
        assert_eq!(race(b"Goroutine 221 (finished) created at:"), Some((Race::Created, Some(&b"221"[..]))));
        assert_eq!(race(b"Read of size 8 at 0x1 by thread T1:"), None);
    }

    #[test]
    fn calls_and_places_are_taken_apart() {
        let name = |text: &str| {
            let line = Line { number: 1, start: 0, bytes: text.as_bytes() };
            call(&line).map(|frame| (lex::text(frame.symbol.of(text.as_bytes(), 0)), frame.role, frame.reliable))
        };
        let is = |name: &str, role, reliable| Some((name.to_string(), role, reliable));
        assert_eq!(name("a.org/b/c.(*T).F(0xc0, {0x1, 0x2?}, ...)"), is("a.org/b/c.(*T).F", Role::Call, true));
        assert_eq!(name("  a.org/b/c.(*T).F()"), is("a.org/b/c.(*T).F", Role::Call, true));
        assert_eq!(name("main.(*T[...]).F(...)"), is("main.(*T[...]).F", Role::Inline, true));
        assert_eq!(name("created by main.main in goroutine 1"), is("main.main", Role::Call, false));
        assert_eq!(name("created by main.(*T).Start"), is("main.(*T).Start", Role::Call, false));
        for none in ["exit status 2", "a b(c)", "()", "f(()", "created by \"x\""] {
            assert_eq!(name(none), None, "{none}");
        }
        let found = place(b"\tpkg/a b/c.go:93 +0x31d fp=0xc0 sp=0xc1 pc=0xae90fb").unwrap();
        assert_eq!((found.location, found.offset, found.pc), (Span { start: 1, end: 16 }, Some(0x31d), Some(Avma(0xae_90fb))));
        assert_eq!(place(b"      pkg/c.go:93").unwrap().offset, None);
        for none in [&b"pkg/c.go:93 +0x1"[..], b"\tpkg/c.go", b"\t:93", b"\tf(0x1):2", b"", b"\t+0x1"] {
            assert_eq!(place(none), None);
        }
    }
}
