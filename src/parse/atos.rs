//! The frame line that `symstacks.rb` and `atos` write, with everything around it optional.
//!
//! ```text
//! machine_switch_context (in mach_kernel) + 366 (0xffffff80002b3d3e)       named
//! 0xffffff800022e711 (in mach_kernel) + 1281 (0xffffff800022e711)          image known, symbol stripped
//! 0xffffff7f80e52a76 (0xffffff7f80e52a76)                                  raw
//! spl_cv_wait (in spl) (spl-condvar.c:12)                                  atos with a dSYM: no address left
//! ```
//! Sources: the OpenZFS on OS X wiki's sample (10.7); atos(1). kstack's own output is of the first form.

use memchr::memmem;

use super::lex;
use crate::model::addr::Avma;
use crate::model::stack::{RawFrame, Span};

/// What kstack writes instead of a name when a symbol cannot be shown to reach the address.
pub const AFTER: &[u8] = b"after ";

/// Reads a frame from one line. The caller sets line, lookup and role.
pub fn frame(line: &[u8]) -> Option<RawFrame> {
    let start = lex::indent(line);
    let body = line[start..].trim_ascii_end();
    let (head, address) = split_address(body);
    let mut frame = RawFrame { reliable: true, text: span(line, body), ..RawFrame::default() };
    if let Some(printed) = lex::hex(head) {
        // `0xA (0xB)` with A unlike B is damage, and neither can be believed.
        frame.address = Some(Avma(printed));
        return (address.is_none() || address == Some(printed)).then_some(frame);
    }
    frame.address = address.map(Avma);
    let (name, tail) = match memmem::rfind(head, b" (in ") {
        Some(at) => {
            let rest = &head[at + 5..];
            let close = memmem::find(rest, b")")?;
            frame.module = span(line, &rest[..close]);
            (&head[..at], rest[close + 1..].trim_ascii())
        }
        None => split_offset(head)?,
    };
    frame.offset = tail.strip_prefix(b"+").and_then(|digits| lex::decimal(digits.trim_ascii_start()));
    let located = tail.starts_with(b"(") && tail.ends_with(b")");
    if frame.offset.is_none() && !tail.is_empty() && !located {
        return None;
    }
    match lex::hex(name) {
        Some(value) if address.is_none() => frame.address = Some(Avma(value)),
        Some(_) => {}
        None if name.is_empty() || name.starts_with(AFTER) => {}
        None => frame.symbol = span(line, name),
    }
    let useful = frame.address.is_some() || (!frame.symbol.is_empty() && (frame.offset.is_some() || located));
    useful.then_some(frame)
}

/// A row of Apple's reports, `NUMBER IMAGE 0xADDR NAME + OFFSET`, and its number; the offset is decimal, or hexadecimal behind `0x`.
/// From the address on it can be what kstack wrote instead. The caller sets line and lookup.
///
/// Sample: `   1 mach_kernel   0xffffff800350475c panic + 0xec`.
pub fn row(line: &[u8]) -> Option<(u32, RawFrame)> {
    let body = line.trim_ascii();
    let mut words = lex::words(body);
    let (number, image, third) = (words.next()?, words.next()?, words.next()?);
    let number = u32::try_from(lex::decimal(number).filter(|_| number.len() < 6)?).ok()?;
    let rest = &body[third.as_ptr() as usize - body.as_ptr() as usize..];
    let named = image.iter().any(u8::is_ascii_alphabetic) && lex::hex(image).is_none();
    let Some(address) = lex::hex(third).filter(|_| named && third.len() > 9) else {
        let is_own = named && memmem::find(rest, b" (in ").is_some();
        return rewritten(line, rest).filter(|frame| is_own && frame.address.is_some()).map(|frame| (number, frame));
    };
    let mut frame = RawFrame { address: Some(Avma(address)), text: span(line, rest), reliable: true, ..RawFrame::default() };
    frame.module = span(line, image);
    let name = rest[third.len()..].trim_ascii();
    if !name.is_empty() {
        let (name, tail) = split_offset(name)?;
        let digits = tail[1..].trim_ascii();
        frame.offset = Some(lex::hex(digits).or_else(|| lex::decimal(digits))?);
        frame.symbol = span(line, name);
    }
    Some((number, frame))
}

/// The frame in `rest`, the end of `line`, as kstack writes it.
pub(super) fn rewritten(line: &[u8], rest: &[u8]) -> Option<RawFrame> {
    let at = span(line, rest).start;
    let mut frame = frame(rest)?;
    for span in [&mut frame.text, &mut frame.symbol, &mut frame.module] {
        if !span.is_empty() {
            (span.start, span.end) = (span.start + at, span.end + at);
        }
    }
    Some(frame)
}

/// Takes ` (0xADDR)` off the end.
fn split_address(body: &[u8]) -> (&[u8], Option<u64>) {
    let found = body.strip_suffix(b")").and_then(|rest| {
        let open = memmem::rfind(rest, b"(0x")?;
        Some((rest[..open].trim_ascii_end(), lex::hex(&rest[open + 1..])?))
    });
    found.map_or((body, None), |(head, address)| (head, Some(address)))
}

/// Splits `NAME + DEC`, the form without an image.
fn split_offset(head: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = memmem::rfind(head, b" + ")?;
    Some((&head[..at], &head[at + 1..]))
}

/// Where `part`, a piece of `line`, lies in it.
pub(super) fn span(line: &[u8], part: &[u8]) -> Span {
    let start = part.as_ptr() as usize - line.as_ptr() as usize;
    Span { start: start as u32, end: (start + part.len()) as u32 }
}

/// Whether a line below a frame is a location that kstack wrote: `at FILE:LINE[:COLUMN] in FUNCTION[ (inlined)]`.
pub fn is_location(line: &[u8]) -> bool {
    let body = line.trim_ascii();
    (body.starts_with(b"at ") && memmem::find(body, b" in ").is_some()) || is_excerpt(body)
}

/// Whether a line is one of source code as kstack writes it below a location: `> 17 | return x;`.
fn is_excerpt(body: &[u8]) -> bool {
    let number = body.strip_prefix(b">").unwrap_or(body).trim_ascii_start();
    let digits = number.iter().take_while(|byte| byte.is_ascii_digit()).count();
    digits > 0 && number[digits..].starts_with(b" |")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads `line` and gives back symbol, module, offset and address.
    fn read(line: &str) -> Option<(String, String, Option<u64>, Option<u64>)> {
        let frame = frame(line.as_bytes())?;
        let part = |span: Span| lex::text(span.of(line.as_bytes(), 0));
        Some((part(frame.symbol), part(frame.module), frame.offset, frame.address.map(|a| a.0)))
    }

    #[test]
    fn every_form_of_the_module_doc() {
        let a = 0xffff_ff80_002b_3d3e;
        let cases = [
            ("    foo (in mach_kernel) + 366 (0xffffff80002b3d3e)", ("foo", "mach_kernel", Some(366), Some(a))),
            ("0xffffff80002b3d3e (in mach_kernel) + 12 (0xffffff80002b3d3e) ", ("", "mach_kernel", Some(12), Some(a))),
            ("\t0xffffff80002b3d3e (0xffffff80002b3d3e)", ("", "", None, Some(a))),
            ("0xffffff80002b3d3e", ("", "", None, Some(a))),
            ("spl_cv_wait (in spl) (spl-condvar.c:12)", ("spl_cv_wait", "spl", None, None)),
            ("spl_cv_wait (in spl) + 54", ("spl_cv_wait", "spl", Some(54), None)),
            ("after f (in spl) + 131 (0xffffff80002b3d3e)", ("", "spl", Some(131), Some(a))),
            ("A::run(int (*)(B*, void*), C) (in k) + 8 (0xffffff80002b3d3e)", ("A::run(int (*)(B*, void*), C)", "k", Some(8), Some(a))),
        ];
        for (line, (symbol, module, offset, address)) in cases {
            assert_eq!(read(line), Some((symbol.into(), module.into(), offset, address)), "{line}");
        }
    }

    #[test]
    fn damage_is_no_frame() {
        let lines = [
            "foo (in mach_kernel) + 366 (0xffffff80002b",
            "0xffffff80002b3d3e (0xffffff80002b3d3f)",
            "foo (in mach_ker",
            "Thread state: 0x9 == TH_WAIT |TH_UNINT",
            "",
            "()",
            "foo (in bar) baz (0x1)",
        ];
        for line in lines {
            assert_eq!(read(line), None, "{line}");
        }
    }
}
