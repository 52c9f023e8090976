//! Frames of the BSD kernels, as their debuggers and panics print them.
//!
//! ```text
//! #7 0xffffffff810302fc at zio_wait+0xc                          FreeBSD, stack_print
//! vpanic() at vpanic+0x1e0/frame 0xfffffe004b9db6b0              FreeBSD, ddb
//! vpanic() at netbsd:vpanic+0x140                                NetBSD; the module stands before the colon
//! ffs_vget(ffff80000e400558,1) at ffs_vget+0xc1                  OpenBSD; +193 after `set $radix 10`
//! fffffd802ea85278(b,1) at 0xfffffd802ea85278                    no symbol covers the address
//! #0  witness_checkorder+0x65e                                   OpenBSD, stacktrace_print
//! sy_call() at sy_call+0xf5 sy_invoke sys/kern/x.c:77 [inline]   located by a tool before
//! ```
//! Sources: `stack_print`, `stack_print_short` in sys/kern/subr_stack.c and `db_print_stack_entry` in sys/amd64/amd64/db_trace.c
//! (FreeBSD), `db_print_address` and `db_stack_trace_print` in sys/arch/x86/x86/db_trace.c (NetBSD), `db_stack_trace_print` in
//! sys/arch/amd64/amd64/db_trace.c and `stacktrace_print` in sys/ddb/db_sym.c (OpenBSD).

use memchr::memmem;

use super::bsd_frame_ports;
use super::lex;
use super::linux_prefix::Record;
use crate::model::addr::Avma;
use crate::model::stack::{RawFrame, Role, Span};

/// How a frame is written, which tells the systems apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Style {
    /// `#N 0xADDR at NAME`.
    Numbered,
    /// `NAME() at NAME/frame 0xH`.
    WithFrame,
    /// `NAME() at MODULE:NAME`.
    WithModule,
    /// `NAME(...) at NAME`.
    Plain,
    /// `#N NAME+0xH`.
    Short,
    /// One of a machine that several systems have.
    Port,
}

/// A frame, and what else its line tells.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// The frame.
    pub frame: RawFrame,
    /// How it is written.
    pub style: Style,
    /// The number before it.
    pub number: Option<u64>,
    /// The function that was called from there, where the line names it and its place stands elsewhere.
    pub inner: Option<RawFrame>,
}

/// The longest line that is looked at: names of C++ are long, and no line of a kernel is longer.
const LONGEST: usize = 4096;

/// The frame that the message of a line is.
pub fn frame(record: &Record<'_>) -> Option<Found> {
    read(record, |body| if body.starts_with(b"#") { numbered(body) } else { called(body).or_else(|| bsd_frame_ports::frame(body)) })
}

/// The frame that `form` takes the message of a line for, its blanks left out.
pub fn read(record: &Record<'_>, form: impl Fn(&[u8]) -> Option<Found>) -> Option<Found> {
    let text = record.text.get(..LONGEST.min(record.text.len()))?;
    let indent = lex::indent(text);
    let body = text[indent..].trim_ascii_end();
    let at = record.at + indent as u32;
    let mut found = form(body)?;
    let shift = |span: &mut Span| {
        if !span.is_empty() {
            *span = Span { start: span.start + at, end: span.end + at };
        }
    };
    for frame in std::iter::once(&mut found.frame).chain(&mut found.inner) {
        for span in [&mut frame.text, &mut frame.symbol, &mut frame.module, &mut frame.location] {
            shift(span);
        }
        (frame.line, frame.line_start, frame.reliable) = (record.line, record.line_start, true);
    }
    Some(found)
}

/// A span of a line, or of its message before that is known.
pub fn span(start: usize, end: usize) -> Span {
    Span { start: start as u32, end: end as u32 }
}

/// `#N 0xADDR at NAME+0xH` or `#N  NAME+0xH`.
fn numbered(body: &[u8]) -> Option<Found> {
    let digits = body[1..].iter().take_while(|b| b.is_ascii_digit()).count();
    let number = lex::decimal(&body[1..1 + digits])?;
    let at = 1 + digits + lex::indent(&body[1 + digits..]);
    let blank = at > 1 + digits;
    let word = body[at..].split(|b| *b == b' ').next().filter(|_| blank)?;
    if let Some(address) = lex::hex(word) {
        let name = at + word.len() + 4;
        if body.get(at + word.len()..name)? != b" at " {
            return None;
        }
        let mut frame = target(body, name)?;
        frame.address = Some(Avma(address));
        return Some(Found { frame, style: Style::Numbered, number: Some(number), inner: None });
    }
    // Without an offset it could be anything: gdb numbers its frames like this.
    let frame = target(body, at).filter(|_| word.contains(&b'+'))?;
    Some(Found { frame: inlined(body, at, frame), style: Style::Short, number: Some(number), inner: None })
}

/// `NAME(ARGUMENTS) at PLACE`.
fn called(body: &[u8]) -> Option<Found> {
    let open = body.iter().position(|b| *b == b'(')?;
    let close = open + memmem::find(&body[open..], b") at ")?;
    if open == 0 || !is_name(&body[..open]) || !are_arguments(&body[open + 1..close]) {
        return None;
    }
    let place = close + 5;
    let mut frame = target(body, place)?;
    // After a wrapped line the name before the arguments is whole; both are the same in a line that is no prose.
    let (named, called) = (piece(body, frame.symbol), &body[..open]);
    let style = match (frame.module.is_empty(), has_frame_pointer(body, place)) {
        (false, _) => Style::WithModule,
        (true, true) => Style::WithFrame,
        (true, false) => Style::Plain,
    };
    if !named.is_empty() && named != called {
        return None;
    }
    if frame.role != Role::Inline {
        frame.symbol = if named.is_empty() { Span::default() } else { span(0, open) };
    }
    Some(Found { frame: inlined(body, place, frame), style, number: None, inner: None })
}

fn has_frame_pointer(body: &[u8], place: usize) -> bool {
    memmem::find(&body[place..], b"/frame 0x").is_some()
}

fn piece(body: &[u8], span: Span) -> &[u8] {
    body.get(span.start as usize..span.end as usize).unwrap_or_default()
}

/// The place of a frame from `at`, spans relative to the start of `body`: `MODULE:NAME+OFFSET/frame 0xH`, or an address.
pub fn target(body: &[u8], at: usize) -> Option<RawFrame> {
    let rest = body.get(at..)?;
    let word = rest.split(|b| matches!(b, b' ' | b'\t')).next().filter(|word| !word.is_empty())?;
    let plain = word.strip_suffix(b"/frame").unwrap_or(word);
    let end = at + word.len() + frame_pointer(&rest[word.len()..]).filter(|_| plain.len() < word.len()).unwrap_or(0);
    let mut frame = RawFrame { text: span(0, end), ..RawFrame::default() };
    // A jump to nowhere: of all addresses, 0 is printed without `0x`.
    if let Some(address) = lex::hex(plain).or((plain == b"0").then_some(0)) {
        frame.address = Some(Avma(address));
        return Some(frame);
    }
    let module = module_len(plain);
    let named = &plain[module..];
    let plus = named.iter().rposition(|b| *b == b'+').unwrap_or(named.len());
    frame.offset = match named.get(plus + 1..) {
        Some(digits) => Some(lex::hex(digits).or_else(|| lex::decimal(digits))?),
        // A zero is not printed.
        None => Some(0),
    };
    if plus == 0 || !is_name(&named[..plus]) {
        return None;
    }
    if module > 0 {
        frame.module = span(at, at + module - 1);
    }
    frame.symbol = span(at + module, at + module + plus);
    Some(located(body, end, frame))
}

/// How long the ` 0xfffffe004b9db6b0` behind `/frame` is.
fn frame_pointer(rest: &[u8]) -> Option<usize> {
    let word = rest.strip_prefix(b" ")?.split(|b| *b == b' ').next()?;
    lex::hex(word).map(|_| word.len() + 1)
}

/// How long the `zfs:` before a name is; C++ has two colons.
fn module_len(word: &[u8]) -> usize {
    let colon = word.iter().position(|b| *b == b':').filter(|at| *at > 0 && word.get(at + 1).is_some_and(|b| *b != b':'));
    colon.filter(|at| word[..*at].iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))).map_or(0, |at| at + 1)
}

/// The ` sys/kern/x.c:77` that a tool wrote behind a frame.
fn located(body: &[u8], end: usize, frame: RawFrame) -> RawFrame {
    let start = end + lex::indent(body.get(end..).unwrap_or_default());
    let word = body.get(start..).unwrap_or_default();
    if start > end && is_place(word) && !word.contains(&b' ') {
        return RawFrame { location: span(start, start + word.len()), ..frame };
    }
    frame
}

/// `sy_call sys/sys/syscallvar.h:65 [inline]` behind the frame: the function named is the one inlined.
fn inlined(body: &[u8], place: usize, frame: RawFrame) -> RawFrame {
    let Some(inner) = body.strip_suffix(b" [inline]") else { return frame };
    let words: Vec<&[u8]> = lex::words(inner.get(place..).unwrap_or_default()).collect();
    let [.., name, source] = words[..] else { return frame };
    if words.len() < 3 || !is_name(name) || !is_place(source) {
        return frame;
    }
    let source_at = inner.len() - source.len();
    let name_end = inner[..source_at].trim_ascii_end().len();
    RawFrame {
        address: None,
        offset: None,
        module: Span::default(),
        symbol: span(name_end - name.len(), name_end),
        location: span(source_at, inner.len()),
        text: span(0, body.len()),
        role: Role::Inline,
        ..frame
    }
}

/// `path:line`; a tool that knows no line writes -1.
pub fn is_place(word: &[u8]) -> bool {
    let Some(colon) = word.iter().rposition(|b| *b == b':') else { return false };
    let line = word[colon + 1..].strip_prefix(b"-").unwrap_or(&word[colon + 1..]);
    colon > 0 && lex::decimal(line).is_some() && word[..colon].contains(&b'.')
}

/// Whether `word` can be the name of a function, `??` for an unknown one included.
pub fn is_name(word: &[u8]) -> bool {
    let letter = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'$' | b'@' | b'~' | b'<' | b'>' | b':' | b',' | b'?');
    !word.is_empty() && word.iter().all(letter)
}

/// Whether that can be the arguments of a call: numbers, or `name=number`.
fn are_arguments(bytes: &[u8]) -> bool {
    let letter = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b',' | b'=' | b'_' | b' ' | b'.' | b'-' | b'?');
    bytes.iter().all(letter)
}

/// Whether `text` looks like the beginning of a frame that goes on in the next line.
pub fn is_cut(text: &[u8]) -> bool {
    is_called_cut(text) || bsd_frame_ports::is_cut(text)
}

fn is_called_cut(text: &[u8]) -> bool {
    let Some(open) = text.iter().position(|b| *b == b'(') else { return false };
    let letters = |b: &u8| b.is_ascii_hexdigit() || *b == b',';
    if open == 0 || !is_name(&text[..open]) {
        return false;
    }
    match text[open..].iter().position(|b| *b == b')') {
        Some(close) => {
            let rest = &text[open + close + 1..];
            b" at ".starts_with(rest) || rest.starts_with(b" at ")
        }
        None => text[open + 1..].iter().all(letters),
    }
}

#[cfg(test)]
mod tests {
    use super::super::linux_prefix::Context;
    use super::*;

    fn read(text: &str) -> Option<(Style, String, Option<u64>)> {
        let record = Record { context: Context::Bare, line: 1, line_start: 0, at: 0, text: text.as_bytes() };
        let found = frame(&record)?;
        let of = |span: Span| lex::text(span.of(text.as_bytes(), 0));
        let frame = found.frame;
        let address = frame.address.map_or(String::new(), |address| format!("{:#x} ", address.0));
        let module = if frame.module.is_empty() { String::new() } else { of(frame.module) + ":" };
        let location = if frame.location.is_empty() { String::new() } else { format!(" {}", of(frame.location)) };
        Some((found.style, format!("{address}{module}{}{location}", of(frame.symbol)), frame.offset))
    }

    #[test]
    fn each_system_has_its_own_form() {
        let is = |style, name: &str, offset| Some((style, name.to_string(), offset));
        assert_eq!(read("#7 0xffffffff810302fc at zio_wait+0xc"), is(Style::Numbered, "0xffffffff810302fc zio_wait", Some(0xc)));
        assert_eq!(read("vpanic() at vpanic+0x1e0/frame 0xfffffe004b9db6b0"), is(Style::WithFrame, "vpanic", Some(0x1e0)));
        assert_eq!(read("vpanic() at netbsd:vpanic+0x140"), is(Style::WithModule, "netbsd:vpanic", Some(0x140)));
        assert_eq!(read("snprintf() at netbsd:snprintf"), is(Style::WithModule, "netbsd:snprintf", Some(0)));
        assert_eq!(read("zio_wait(fff,1) at zfs:zio_wait+0x1"), is(Style::WithModule, "zfs:zio_wait", Some(1)));
        assert_eq!(read("ffs_vget(ffff80000e400558,1) at ffs_vget+193"), is(Style::Plain, "ffs_vget", Some(193)));
        assert_eq!(read("f7(b,83) at 0xf7"), is(Style::Plain, "0xf7 ", None));
        assert_eq!(read("0(ffff800000023080,0) at 0"), is(Style::Plain, "0x0 ", None));
        assert_eq!(read("#0  witness_lock+0x52e"), is(Style::Short, "witness_lock", Some(0x52e)));
        assert_eq!(read("??() at ??+0/frame 0xfffffe004b9db6b0"), is(Style::WithFrame, "??", Some(0)));
    }

    #[test]
    fn frames_that_a_tool_located_keep_their_places() {
        let is = |style, name: &str, offset| Some((style, name.to_string(), offset));
        assert_eq!(read("g(1) at g+0x2 sys/kern/g.c:12"), is(Style::Plain, "g sys/kern/g.c:12", Some(2)));
        assert_eq!(read("g(1) at g+0x2 f sys/kern/g.h:-1 [inline]"), is(Style::Plain, "f sys/kern/g.h:-1", None));
    }

    #[test]
    fn prose_is_no_frame() {
        for text in
            ["panic (cpu 0) at home", "f(1) at g+0x1", "#0 main () at x.c:1", "#0  kern_reboot", "(1) at f+0x1", "f(1) at f+0xzz", "#1"]
        {
            assert_eq!(read(text), None, "{text}");
        }
        assert!(is_cut(b"soreceive(38a,0,ffff) at sorece") && is_cut(b"f(ffff80002117de48,ffff") && is_cut(b"f(1) a"));
        assert!(!is_cut(b"panic: x (1)") && !is_cut(b"f(1) and so on"));
    }
}
