//! Frames as Fuchsia prints them: Zircon's own, the markup for its symbolizer, and what the symbolizer makes of it.
//!
//! ```text
//! bt#00: 0xffffffff00105e46                                             Zircon until 2019; a tool can add name and place
//! bt#02: [ inline ] fbl::Canary::Assert object/port_dispatcher.cpp:159
//! bt#01: pc 0x86ba135814ac sp 0x792246a96ca6 (libc.so,0x384ac)          programs
//! {{{bt:3:0xffffffff0010f0a8:ra}}}                                      markup; `ra` is a return address, `pc` the very instruction
//!    #1.1  0xffffffff0010f0a8 in Thread::Exit(int) ../../zircon/kernel/thread.cc:12 <kernel>+0xf0a8
//!   #19 starnix_core::syscalls::dispatch(…) • src/starnix/table.rs:38
//!   #30 0x078b39522d24 <VMO#354335>(5f6ac440)+0x85d24
//! ```
//! Sources: zircon/kernel/lib/debuglog, fuchsia.dev/fuchsia-src/reference/kernel/symbolizer_markup, logs of 2018 to 2024.

use memchr::memmem;

use super::debugger_parts;
use super::lex::{self, Line};
use super::linux_symbol::Cursor;
use crate::model::addr::Avma;
use crate::model::stack::{Lookup, RawFrame, Role, Span};

/// A frame, its number, and whether it is of a program.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) number: u32,
    pub(super) frame: RawFrame,
    pub(super) user: bool,
    /// How far the module of the frame was moved from where its file says that it lies, where the frame prints both.
    pub(super) moved: Option<u64>,
}

/// A piece of a line, and where it stands there.
#[derive(Clone, Copy)]
struct Piece<'t> {
    text: &'t [u8],
    at: usize,
}

impl<'t> Piece<'t> {
    fn skip(self, bytes: usize) -> Piece<'t> {
        let bytes = bytes.min(self.text.len());
        Piece { text: &self.text[bytes..], at: self.at + bytes }
    }

    fn trim(self) -> Piece<'t> {
        let piece = self.skip(lex::indent(self.text));
        Piece { text: piece.text.trim_ascii_end(), ..piece }
    }

    fn after(self, start: &[u8]) -> Option<Piece<'t>> {
        self.text.starts_with(start).then(|| self.skip(start.len()))
    }

    fn word(self) -> (Piece<'t>, Piece<'t>) {
        let len = self.text.iter().position(|b| matches!(b, b' ' | b'\t')).unwrap_or(self.text.len());
        (Piece { text: &self.text[..len], at: self.at }, self.skip(len).trim())
    }

    fn span(self) -> Span {
        Span { start: self.at as u32, end: (self.at + self.text.len()) as u32 }
    }
}

/// The frame whose message begins at byte `at` of `line`.
pub(super) fn frame(line: &Line<'_>, at: usize) -> Option<Found> {
    let piece = Piece { text: line.bytes.get(at..)?, at }.trim();
    let frame = RawFrame { line: line.number, line_start: line.start, reliable: true, ..RawFrame::default() };
    if let Some(piece) = piece.after(b"bt#") {
        return zircon(line, piece, frame);
    }
    match piece.after(b"#") {
        Some(piece) => symbolized(line, piece, frame),
        None => markup(line, piece, frame),
    }
}

/// Takes what an earlier run of kstack wrote behind `piece`; whether there is anything.
fn found_before(line: &Line<'_>, piece: Piece<'_>, frame: &mut RawFrame) -> bool {
    let record = debugger_parts::record(line);
    let had_name = !frame.symbol.is_empty();
    debugger_parts::found_before(&mut Cursor { record: &record, at: piece.at + piece.text.len() }, frame);
    !had_name && !frame.symbol.is_empty()
}

/// Whether the message ends a list of frames: `bt#12: end`.
pub(super) fn is_end(message: &[u8]) -> bool {
    let rest = message.trim_ascii().strip_prefix(b"bt#").and_then(|rest| rest.strip_suffix(b": end"));
    rest.is_some_and(|number| lex::decimal(number).is_some())
}

/// `02: [ inline ] NAME PLACE`, `00: 0xADDR NAME PLACE`, `01: pc 0xADDR sp 0xADDR (LIBRARY,0xOFFSET)`.
fn zircon(line: &Line<'_>, piece: Piece<'_>, mut frame: RawFrame) -> Option<Found> {
    let digits = piece.text.iter().take_while(|b| b.is_ascii_digit()).count();
    let number = small(&piece.text[..digits])?;
    let rest = piece.skip(digits).after(b": ")?.trim();
    frame.text = rest.span();
    if let Some(inline) = rest.after(b"[ inline ] ") {
        frame.role = Role::Inline;
        return named(inline.trim(), &mut frame).then_some(Found { number, frame, user: false, moved: None });
    }
    if let Some(user) = rest.after(b"pc ") {
        let (pc, rest) = user.word();
        frame.address = Some(address(pc.text)?).filter(|pc| pc.0 != 0);
        frame.text = pc.span();
        frame.lookup = if number <= 1 { Lookup::Exact } else { Lookup::Return };
        module(rest.text, rest.at, &mut frame);
        return frame.address.is_some().then_some(Found { number, frame, user: true, moved: None });
    }
    let (word, rest) = rest.word();
    let at = address(word.text)?;
    if found_before(line, word, &mut frame) {
        (frame.address, frame.text) = (Some(at), word.span());
        return Some(Found { number, frame, user: false, moved: None });
    }
    let has_name = named(rest, &mut frame);
    // A tool that adds names keeps only the lower half of addresses: what they were is not known.
    frame.address = Some(at).filter(|at| !has_name || at.0 >> 32 != 0);
    frame.text = if has_name { Span { start: word.at as u32, ..frame.symbol } } else { word.span() };
    (has_name || at.0 != 0 && rest.text.is_empty()).then_some(Found { number, frame, user: false, moved: None })
}

/// `sp 0x792246a96ca6 (libc.so,0x384ac)`.
fn module(text: &[u8], at: usize, frame: &mut RawFrame) {
    let Some(open) = memchr::memchr(b'(', text) else { return };
    let Some(comma) = memchr::memrchr(b',', text).filter(|comma| *comma > open + 1) else { return };
    frame.module = Piece { text: &text[open + 1..comma], at: at + open + 1 }.span();
}

/// `NAME FILE:LINE` or `NAME`; operators and template arguments have blanks in them.
fn named(piece: Piece<'_>, frame: &mut RawFrame) -> bool {
    let (name, place) = match memchr::memrchr(b' ', piece.text) {
        Some(blank) if is_place(&piece.text[blank + 1..]) => (&piece.text[..blank], Some(piece.skip(blank + 1))),
        _ => (piece.text, None),
    };
    frame.symbol = Piece { text: without_arguments(name.trim_ascii_end()), ..piece }.span();
    frame.location = place.map_or(Span::default(), Piece::span);
    !frame.symbol.is_empty() && !piece.text.starts_with(b"(")
}

/// `FILE:LINE` without blanks.
fn is_place(word: &[u8]) -> bool {
    let colon = memchr::memchr(b':', word).filter(|colon| *colon > 0);
    let numbers =
        |numbers: &[u8]| numbers.first().is_some_and(u8::is_ascii_digit) && numbers.iter().all(|b| b.is_ascii_digit() || *b == b':');
    colon.is_some_and(|colon| word[..colon].iter().any(|b| matches!(b, b'.' | b'/')) && numbers(&word[colon + 1..]))
}

/// `NAME` of `NAME(int, char) const`; a name without arguments is whole.
fn without_arguments(name: &[u8]) -> &[u8] {
    let end = name.strip_suffix(b" const").unwrap_or(name);
    let mut depth = 0usize;
    if end.last() != Some(&b')') {
        return name;
    }
    for (at, byte) in end.iter().enumerate().rev() {
        match byte {
            b')' => depth += 1,
            b'(' => depth -= 1,
            _ => continue,
        }
        // `operator()` is a name, and so is `(anonymous namespace)` in front of one.
        if depth == 0 {
            return if at == 0 || end[..at].ends_with(b"operator") { name } else { &name[..at] };
        }
    }
    name
}

/// `{{{bt:3:0xADDR:ra}}}`.
fn markup(line: &Line<'_>, piece: Piece<'_>, mut frame: RawFrame) -> Option<Found> {
    let start = memmem::find(piece.text, b"{{{bt:")?;
    let element = piece.skip(start);
    let end = memmem::find(element.text, b"}}}")?;
    let mut fields = element.text[6..end].split(|b| *b == b':');
    let number = fields.next().and_then(|number| lex::decimal(number).or_else(|| lex::hex(number)))?;
    frame.address = Some(address(fields.next()?)?);
    frame.lookup = match fields.next() {
        Some(b"pc") => Lookup::Exact,
        Some(b"ra") => Lookup::Return,
        _ if number == 0 => Lookup::Exact,
        _ => Lookup::Return,
    };
    let whole = Piece { text: &element.text[..end + 3], ..element };
    frame.text = whole.span();
    found_before(line, whole, &mut frame);
    Some(Found { number: u32::try_from(number).ok()?, frame, user: false, moved: None })
}

/// What the symbolizer made of a frame.
fn symbolized(line: &Line<'_>, piece: Piece<'_>, mut frame: RawFrame) -> Option<Found> {
    let (word, rest) = piece.word();
    let mut parts = word.text.split(|b| *b == b'.');
    let number = parts.next().and_then(small)?;
    let depth = parts.next().map(small);
    if depth == Some(None) || parts.next().is_some() || rest.text.is_empty() {
        return None;
    }
    frame.text = rest.span();
    let moved = if short(rest, &mut frame) { None } else { Some(long(line, rest, number, &mut frame)?) };
    // `#1.2` is inlined into `#1.1`, and that into `#1`.
    frame.role = if depth.is_some() { Role::Inline } else { Role::Call };
    Some(Found { number, frame, user: false, moved })
}

/// `NAME(…) • FILE:LINE`.
fn short(piece: Piece<'_>, frame: &mut RawFrame) -> bool {
    let dot = " \u{2022} ".as_bytes();
    let Some(at) = memmem::rfind(piece.text, dot) else { return false };
    let place = piece.skip(at + dot.len()).trim();
    frame.symbol = Piece { text: without_arguments(piece.text[..at].trim_ascii_end()), ..piece }.span();
    frame.location = if is_place(place.text) { place.span() } else { Span::default() };
    !frame.symbol.is_empty()
}

/// `0xADDR in NAME(int) FILE:LINE <MODULE>+0xOFFSET sp 0x…`; without symbols `0xADDR in <MODULE>+0xOFFSET`. Gives how far the module was
/// moved: the offset is the address in the file.
fn long(line: &Line<'_>, piece: Piece<'_>, number: u32, frame: &mut RawFrame) -> Option<u64> {
    let (word, rest) = piece.word();
    let at = address(word.text)?;
    frame.address = Some(at);
    frame.lookup = if number == 0 { Lookup::Exact } else { Lookup::Return };
    let rest = rest.after(b"in ").map_or(rest, Piece::trim);
    let close = memmem::find(rest.text, b">+0x").or_else(|| memmem::rfind(&rest.text[..memmem::find(rest.text, b")+0x")?], b">("))?;
    let open = memmem::rfind(&rest.text[..close], b"<")?;
    frame.module = Piece { text: &rest.text[open + 1..close], at: rest.at + open + 1 }.span();
    let name = Piece { text: rest.text[..open].trim_ascii_end(), ..rest };
    if !name.text.is_empty() {
        named(name, frame);
    }
    let (offset, behind) = rest.skip(close).word();
    let (sp, value) = behind.word();
    let last = if sp.text == b"sp" { value.word().0 } else { offset };
    frame.text = Span { start: word.at as u32, end: last.span().end };
    found_before(line, last, frame);
    let in_file = offset.text.rsplit(|b| *b == b'+').next().and_then(lex::hex)?;
    Some(at.0.wrapping_sub(in_file))
}

fn address(word: &[u8]) -> Option<Avma> {
    lex::hex(word).or_else(|| (word == b"0").then_some(0)).map(Avma)
}

fn small(word: &[u8]) -> Option<u32> {
    lex::decimal(word).filter(|_| word.len() <= 6).and_then(|number| u32::try_from(number).ok())
}

/// Where execution was when the kernel died.
#[derive(Debug)]
pub(super) enum Fault {
    /// ` RIP: 0x0039b3c9  NAME FILE:LINE`, to which a tool added the name.
    Named(RawFrame),
    /// ` CS: 0x10 RIP: 0xffffffff0039b3c9 EFL: …` of kernel mode.
    Register(RawFrame),
}

/// What a line of registers says about where execution was. Programs run in code segments whose lowest bits are 3.
pub(super) fn fault(line: &Line<'_>, at: usize) -> Option<Fault> {
    let piece = Piece { text: line.bytes.get(at..)?, at }.trim();
    let mut frame = RawFrame { line: line.number, line_start: line.start, reliable: true, ..RawFrame::default() };
    (frame.role, frame.lookup) = (Role::Fault, Lookup::Exact);
    if let Some(rest) = piece.after(b"RIP: ") {
        let inline = rest.trim().after(b"[ inline ] ");
        let (word, rest) = inline.map_or_else(|| rest.trim().word(), |rest| (rest, rest.trim()));
        let known = (inline.is_some() || address(word.text).is_some()) && named(rest, &mut frame);
        frame.text = frame.symbol;
        return known.then_some(Fault::Named(frame));
    }
    let (segment, rest) = piece.after(b"CS:")?.trim().word();
    address(segment.text).filter(|segment| segment.0 & 3 == 0 && segment.0 != 0)?;
    let (rip, _) = rest.after(b"RIP:")?.trim().word();
    frame.address = Some(address(rip.text)?);
    frame.text = rip.span();
    frame.label = Piece { text: b"RIP", at: rest.at }.span();
    Some(Fault::Register(frame))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(text: &str) -> Option<(u32, u64, String, String, String)> {
        let line = Line { number: 1, start: 0, bytes: text.as_bytes() };
        let found = frame(&line, 0)?;
        let part = |span: Span| lex::text(span.of(text.as_bytes(), 0));
        let f = found.frame;
        Some((found.number, f.address.map_or(0, |at| at.0), part(f.symbol), part(f.location), part(f.module)))
    }

    fn is(number: u32, address: u64, symbol: &str, place: &str, module: &str) -> Option<(u32, u64, String, String, String)> {
        Some((number, address, symbol.into(), place.into(), module.into()))
    }

    #[test]
    fn every_way_to_print_a_frame_is_read() {
        assert_eq!(seen("bt#00: 0xffffffff00105e46"), is(0, 0xffff_ffff_0010_5e46, "", "", ""));
        assert_eq!(seen("bt#07: 0x0039318e operator new a/b.cpp:70"), is(7, 0, "operator new", "a/b.cpp:70", ""));
        assert_eq!(seen("bt#02: [ inline ] fbl::Canary::Assert a/b.cpp:159"), is(2, 0, "fbl::Canary::Assert", "a/b.cpp:159", ""));
        assert_eq!(seen("bt#01: pc 0x86ba135814ac sp 0x792246a96ca6 (libc.so,0x384ac)"), is(1, 0x86ba_1358_14ac, "", "", "libc.so"));
        assert_eq!(seen("{{{bt:3:0xffffffff0010f0a8:ra}}}"), is(3, 0xffff_ffff_0010_f0a8, "", "", ""));
        assert_eq!(
            seen("   #1.1  0xffffffff0010f0a8 in Thread::Exit(int, (anonymous namespace)::T) const ../../a/t.cc:12 <kernel>+0xf0a8 sp 0x1"),
            is(1, 0xffff_ffff_0010_f0a8, "Thread::Exit", "../../a/t.cc:12", "kernel")
        );
        assert_eq!(seen("  #30 0x078b39522d24 <VMO#354335>(5f6ac440)+0x85d24"), is(30, 0x78b_3952_2d24, "", "", "VMO#354335"));
        assert_eq!(seen("  #19 a::b<&[u8]>::c(…) • src/d.rs:38"), is(19, 0, "a::b<&[u8]>::c", "src/d.rs:38", ""));
        assert_eq!(seen("  #5 T::operator()() • src/d.cc:3"), is(5, 0, "T::operator()", "src/d.cc:3", ""));
        for none in
            ["bt#12: end", "bt#13: pc 0 sp 0x1", "#0…7 «Rust library»", "#1 text", "{{{bt:x:0x1}}}", "{{{bt:1:0x1", "bt#1:", "", "# 1"]
        {
            assert_eq!(seen(none), None, "{none}");
        }
        assert!(is_end(b"bt#12: end") && !is_end(b"bt#: end"));
    }

    #[test]
    fn registers_tell_where_the_kernel_was() {
        let fault = |text: &'static str| fault(&Line { number: 1, start: 0, bytes: text.as_bytes() }, 0);
        let Some(Fault::Named(frame)) = fault(" RIP: 0x0039b3c9  A::B a/b.cpp:104") else { panic!() };
        assert_eq!(frame.symbol, Span { start: 18, end: 22 });
        let Some(Fault::Register(frame)) = fault(" CS:                0x10 RIP: 0xffffffff0039b3c9 EFL: 0x1") else { panic!() };
        assert_eq!((frame.address, frame.lookup), (Some(Avma(0xffff_ffff_0039_b3c9)), Lookup::Exact));
        assert!(fault(" CS:                0x33 RIP:     0x7c5e777a2e50 EFL: 0x1").is_none());
        assert!(fault(" RIP: 0x0039b3c9").is_none() && fault(" CS: ").is_none());
    }
}
